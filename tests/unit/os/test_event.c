/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eventfds of ours, and whatever a front-end sends in place of one.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_nonblocking(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static void a_signal_adds_one(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 0;
	int fd;

	assert_int_equal(f->os->ops->event_create(f->os, &fd), 0);
	assert_true(is_nonblocking(fd));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(f->os->ops->event_signal(f->os, fd), 0);
	assert_int_equal(f->os->ops->event_signal(f->os, fd), 0);
	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 2);
	f->os->ops->close(f->os, fd);
}

static void a_saturated_counter_is_success(void **state)
{
	struct fixture *f = *state;
	const uint64_t most = UINT64_MAX - 1;
	int fd;

	assert_int_equal(f->os->ops->event_create(f->os, &fd), 0);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(f->os->ops->event_signal(f->os, fd), 0);
	f->os->ops->close(f->os, fd);
}

static void an_adopted_eventfd_no_longer_blocks(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_false(is_nonblocking(fd));
	assert_int_equal(f->os->ops->event_adopt(f->os, fd), 0);
	assert_true(is_nonblocking(fd));
	close(fd);
}

static void a_full_pipe_is_success_and_a_broken_one_an_error(void **state)
{
	struct fixture *f = *state;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(f->os->ops->event_adopt(f->os, ends[0]), 0);
	assert_int_equal(f->os->ops->event_adopt(f->os, ends[1]), 0);
	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(f->os->ops->event_signal(f->os, ends[1]), 0);
	close(ends[0]);
	assert_int_equal(f->os->ops->event_signal(f->os, ends[1]), -EPIPE);
	close(ends[1]);
}

static void a_socket_is_adopted(void **state)
{
	struct fixture *f = *state;
	int pair[2];
	uint64_t value = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(f->os->ops->event_adopt(f->os, pair[0]), 0);
	assert_int_equal(f->os->ops->event_signal(f->os, pair[0]), 0);
	assert_int_equal(read(pair[1], &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 1);
	close(pair[0]);
	close(pair[1]);
}

static void assert_refused(struct fixture *f, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return; /* no such device here */
	assert_int_equal(f->os->ops->event_adopt(f->os, fd), -EPERM);
	assert_false(is_nonblocking(fd));
	close(fd);
}

static void files_directories_and_devices_that_never_block_are_refused(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);

	assert_int_equal(f->os->ops->event_adopt(f->os, fd), -EPERM);
	f->os->ops->close(f->os, fd);
	assert_refused(f, f->path, O_RDWR);
	assert_refused(f, f->directory, O_RDONLY | O_DIRECTORY);
	assert_refused(f, "/dev/zero", O_RDWR);
	assert_refused(f, "/dev/null", O_RDWR);
	assert_refused(f, "/dev/loop0", O_RDONLY);
	assert_int_equal(f->os->ops->memfd_create(f->os, "m", 4096, &fd), 0);
	assert_int_equal(f->os->ops->event_adopt(f->os, fd), -EPERM);
	f->os->ops->close(f->os, fd);
	assert_int_equal(f->os->ops->event_adopt(f->os, 9999), -EBADF);
}

static void a_path_only_descriptor_is_refused(void **state)
{
	struct fixture *f = *state;
	int fd = open("/dev/tty", O_PATH | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/null", O_PATH | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(f->os->ops->event_adopt(f->os, fd) < 0);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_signal_adds_one),
		FIXTURE_TEST(a_saturated_counter_is_success),
		FIXTURE_TEST(an_adopted_eventfd_no_longer_blocks),
		FIXTURE_TEST(a_full_pipe_is_success_and_a_broken_one_an_error),
		FIXTURE_TEST(a_socket_is_adopted),
		FIXTURE_TEST(files_directories_and_devices_that_never_block_are_refused),
		FIXTURE_TEST(a_path_only_descriptor_is_refused),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
