/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What file_info says about files and devices.
 */
#include "fixture.h"
#include "loop_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct os_file_info info_of(struct fixture *f, int fd)
{
	struct os_file_info info;

	assert_int_equal(f->os->ops->file_info(f->os, fd, &info), 0);
	return info;
}

static void a_regular_file_has_size_identity_and_alignment(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	struct os_file_info info;
	struct stat st;

	assert_int_equal(f->os->ops->file_truncate(f->os, fd, 12345), 0);
	assert_int_equal(fstat(fd, &st), 0);
	info = info_of(f, fd);
	assert_int_equal(info.kind, OS_FILE_REGULAR);
	assert_int_equal(info.size_bytes, 12345);
	assert_int_equal(info.device, st.st_dev);
	assert_int_equal(info.inode, st.st_ino);
	assert_int_equal(info.block_size, 512);
	assert_int_equal(info.map_page_size, sysconf(_SC_PAGESIZE));
	assert_true(info.discard_granularity > 0);
	assert_false(info.read_only);
	f->os->ops->close(f->os, fd);
}

/* The alignment is a promise: I/O that keeps to it works. */
static void direct_io_with_the_alignment_told_works(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	struct os_file_info info = info_of(f, fd);
	char *buf;

	f->os->ops->close(f->os, fd);
	if (info.dio_offset_align == 0)
		skip();
	assert_true(is_power_of_two(info.dio_memory_align));
	assert_true(is_power_of_two(info.dio_offset_align));
	fd = fixture_file(f, "file", OS_OPEN_DIRECT);
	buf = aligned_alloc(4096, 65536);
	buf[info.dio_memory_align] = 'd';
	assert_int_equal(f->os->ops->file_write(f->os, fd, buf + info.dio_memory_align,
				 info.dio_offset_align, info.dio_offset_align),
		info.dio_offset_align);
	buf[0] = 0;
	assert_int_equal(
		f->os->ops->file_read(f->os, fd, buf, info.dio_offset_align, info.dio_offset_align),
		info.dio_offset_align);
	assert_int_equal(buf[0], 'd');
	free(buf);
	f->os->ops->close(f->os, fd);
}

static void memory_files_have_no_direct_io(void **state)
{
	struct fixture *f = *state;
	struct os_file_info info;
	int fd;

	assert_int_equal(f->os->ops->memfd_create(f->os, "m", 4096, &fd), 0);
	info = info_of(f, fd);
	assert_int_equal(info.kind, OS_FILE_REGULAR);
	assert_int_equal(info.size_bytes, 4096);
	assert_int_equal(info.dio_offset_align, 0);
	f->os->ops->close(f->os, fd);
}

static void huge_pages_set_the_granularity_of_mappings(void **state)
{
	struct fixture *f = *state;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	struct os_file_info info;

	if (fd < 0)
		skip();
	info = info_of(f, fd);
	assert_int_equal(info.kind, OS_FILE_REGULAR);
	assert_int_equal(info.map_page_size, 2 * MIB);
	assert_int_equal(info.dio_offset_align, 0);
	close(fd);
}

static void assert_kind(struct fixture *f, int fd, enum os_file_kind kind)
{
	assert_true(fd >= 0);
	assert_int_equal(info_of(f, fd).kind, kind);
	close(fd);
}

static void every_kind_of_descriptor_is_told_apart(void **state)
{
	struct fixture *f = *state;
	struct os_file_info info;
	int ends[2];
	int fd;

	assert_int_equal(f->os->ops->event_create(f->os, &fd), 0);
	assert_kind(f, fd, OS_FILE_ANON);
	assert_int_equal(pipe(ends), 0);
	assert_kind(f, ends[0], OS_FILE_PIPE);
	close(ends[1]);
	assert_kind(f, socket(AF_UNIX, SOCK_STREAM, 0), OS_FILE_SOCKET);
	assert_kind(f, open("/dev/zero", O_RDONLY), OS_FILE_CHAR);
	assert_kind(f, open(f->directory, O_RDONLY | O_DIRECTORY), OS_FILE_DIRECTORY);
	assert_int_equal(f->os->ops->file_info(f->os, 9999, &info), -EBADF);
}

static void a_block_device_tells_its_capacity_and_sectors(void **state)
{
	struct fixture *f = *state;
	int fd = loop_device_open(f, 8 * MIB, 4096, false);
	struct os_file_info info;

	if (fd < 0)
		skip();
	info = info_of(f, fd);
	assert_int_equal(info.kind, OS_FILE_BLOCK);
	assert_int_equal(info.size_bytes, 8 * MIB);
	assert_int_equal(info.block_size, 4096);
	assert_true(info.physical_block_size >= 4096);
	assert_int_equal(info.dio_offset_align, 4096);
	assert_false(info.read_only);
	close(fd);
}

static void a_block_device_tells_that_it_is_read_only(void **state)
{
	struct fixture *f = *state;
	int fd = loop_device_open(f, MIB, 512, true);
	struct os_file_info info;

	if (fd < 0)
		skip();
	info = info_of(f, fd);
	assert_int_equal(info.block_size, 512);
	assert_true(info.read_only);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_regular_file_has_size_identity_and_alignment),
		FIXTURE_TEST(direct_io_with_the_alignment_told_works),
		FIXTURE_TEST(memory_files_have_no_direct_io),
		FIXTURE_TEST(huge_pages_set_the_granularity_of_mappings),
		FIXTURE_TEST(every_kind_of_descriptor_is_told_apart),
		FIXTURE_TEST(a_block_device_tells_its_capacity_and_sectors),
		FIXTURE_TEST(a_block_device_tells_that_it_is_read_only),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
