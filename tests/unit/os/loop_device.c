/* SPDX-License-Identifier: BSD-2-Clause */
#include "loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int loop_configure(int number, int file, uint32_t block_size, bool read_only)
{
	struct loop_config config = {
		.fd = (uint32_t)file,
		.block_size = block_size,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0),
	};
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int loop_device_open(
	struct fixture *fixture, uint64_t size_bytes, uint32_t block_size, bool read_only)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int file;
	int fd = -1;

	if (control < 0)
		return -1;
	file = fixture_file(fixture, "disk", 0);
	assert_int_equal(fixture->os->ops->file_truncate(fixture->os, file, size_bytes), 0);
	/* Another program may take the number first. */
	for (int i = 0; i < 10 && fd < 0; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			break;
		fd = loop_configure(number, file, block_size, read_only);
	}
	close(file);
	close(control);
	return fd;
}
