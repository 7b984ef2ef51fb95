/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files, locks and mappings.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void what_was_written_is_read_back(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	char buf[16] = {0};

	assert_int_equal(f->os->ops->file_write(f->os, fd, "hello", 5, 4096), 5);
	assert_int_equal(f->os->ops->file_sync(f->os, fd), 0);
	assert_int_equal(f->os->ops->file_read(f->os, fd, buf, sizeof(buf), 4096), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(f->os->ops->file_read(f->os, fd, buf, sizeof(buf), 10000), 0);
	assert_int_equal(f->os->ops->file_truncate(f->os, fd, 4097), 0);
	assert_int_equal(f->os->ops->file_read(f->os, fd, buf, sizeof(buf), 4096), 1);
	assert_int_equal(f->os->ops->file_truncate(f->os, fd, UINT64_MAX), -EFBIG);
	f->os->ops->close(f->os, fd);
}

static void descriptors_close_on_exec_and_block(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);

	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	f->os->ops->close(f->os, fd);
}

static void open_flags_mean_what_they_say(void **state)
{
	struct fixture *f = *state;
	const char *path = fixture_path(f, "file");
	struct stat st;
	int fd;

	assert_int_equal(f->os->ops->file_open(f->os, path, OS_OPEN_READ, 0, &fd), -ENOENT);
	assert_int_equal(f->os->ops->file_open(f->os, path,
				 OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, 0600, &fd),
		0);
	assert_int_equal(f->os->ops->file_write(f->os, fd, "x", 1, 0), 1);
	f->os->ops->close(f->os, fd);
	assert_int_equal(f->os->ops->file_open(f->os, path,
				 OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, 0600, &fd),
		-EEXIST);
	assert_int_equal(
		f->os->ops->file_open(f->os, path, OS_OPEN_READ | OS_OPEN_DIRECTORY, 0, &fd),
		-ENOTDIR);
	assert_int_equal(f->os->ops->file_open(f->os, path, OS_OPEN_READ, 0, &fd), 0);
	assert_int_equal(f->os->ops->file_write(f->os, fd, "x", 1, 0), -EBADF);
	f->os->ops->close(f->os, fd);
	assert_int_equal(
		f->os->ops->file_open(f->os, path, OS_OPEN_WRITE | OS_OPEN_TRUNCATE, 0, &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	f->os->ops->close(f->os, fd);
}

static void a_fifo_without_a_writer_does_not_hold_up(void **state)
{
	struct fixture *f = *state;
	const char *path = fixture_path(f, "fifo");
	int fd;

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(f->os->ops->file_open(f->os, path, OS_OPEN_READ, 0, &fd), 0);
	f->os->ops->close(f->os, fd);
}

static void names_are_changed_and_removed(void **state)
{
	struct fixture *f = *state;
	char from[128];
	int fd = fixture_file(f, "a", 0);

	f->os->ops->close(f->os, fd);
	strcpy(from, f->path);
	assert_int_equal(f->os->ops->file_rename(f->os, from, fixture_path(f, "b")), 0);
	assert_int_equal(access(from, F_OK), -1);
	assert_int_equal(f->os->ops->file_rename(f->os, from, f->path), -ENOENT);
	assert_int_equal(f->os->ops->file_unlink(f->os, f->path), 0);
	assert_int_equal(f->os->ops->file_unlink(f->os, f->path), -ENOENT);
	assert_int_equal(f->os->ops->directory_create(f->os, fixture_path(f, "d"), 0700), 0);
	assert_int_equal(f->os->ops->directory_create(f->os, f->path, 0700), -EEXIST);
}

static void a_memfd_keeps_its_size(void **state)
{
	struct fixture *f = *state;
	char byte = 1;
	int fd;

	assert_int_equal(f->os->ops->memfd_create(f->os, "test", 8192, &fd), 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(f->os->ops->file_read(f->os, fd, &byte, 1, 8191), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(f->os->ops->file_truncate(f->os, fd, 4096), -EPERM);
	assert_int_equal(f->os->ops->file_truncate(f->os, fd, 16384), -EPERM);
	assert_int_equal(f->os->ops->file_write(f->os, fd, &byte, 1, 8192), -EPERM);
	assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	f->os->ops->close(f->os, fd);
}

/* Has the mapping that starts at addr this flag in /proc/self/smaps? */
static bool mapping_has_flag(const void *addr, const char *flag)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char start[32];
	char line[512];
	bool inside = false;
	bool found = false;

	assert_non_null(file);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)addr);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, start, strlen(start)) == 0)
			inside = true;
		if (inside && strncmp(line, "VmFlags:", 8) == 0) {
			found = strstr(line, flag) != NULL;
			break;
		}
	}
	fclose(file);
	return found;
}

static void a_mapping_is_shared_and_not_dumped(void **state)
{
	struct fixture *f = *state;
	unsigned char resident[2];
	char byte = 0;
	void *addr;
	int fd;

	assert_int_equal(f->os->ops->memfd_create(f->os, "test", 12288, &fd), 0);
	assert_int_equal(f->os->ops->file_write(f->os, fd, "m", 1, 4096), 1);
	assert_int_equal(f->os->ops->map(f->os, fd, 4096, 8192, true, &addr), 0);
	assert_int_equal(*(char *)addr, 'm');
	((char *)addr)[1] = 'w';
	assert_int_equal(f->os->ops->file_read(f->os, fd, &byte, 1, 4097), 1);
	assert_int_equal(byte, 'w');
	assert_true(mapping_has_flag(addr, " dd"));
	/* Populated: the page that nobody touched is there as well. */
	assert_int_equal(mincore(addr, 8192, resident), 0);
	assert_true(resident[1] & 1);
	f->os->ops->unmap(f->os, addr, 8192);
	assert_int_equal(f->os->ops->map(f->os, fd, 1, 4096, false, &addr), -EINVAL);
	assert_int_equal(f->os->ops->map(f->os, fd, 0, 0, false, &addr), -EINVAL);
	assert_int_equal(f->os->ops->map(f->os, 9999, 0, 4096, false, &addr), -EBADF);
	f->os->ops->close(f->os, fd);
}

static void the_holder_of_a_lock_is_named(void **state)
{
	struct fixture *f = *state;
	struct reason reason = {0};
	int fd = fixture_file(f, "file", 0);
	char expected[64];
	int ready[2];
	int status;
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int mine = open(f->path, O_RDWR);

		if (mine < 0 || flock(mine, LOCK_EX) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(f->os->ops->file_lock(f->os, fd, true, &reason), -EWOULDBLOCK);
	snprintf(expected, sizeof(expected), "test_os_file (process %d)", (int)pid);
	if (!strstr(reason.text, expected)) {
		/* Built by hand the program has another name. */
		snprintf(expected, sizeof(expected), "(process %d)", (int)pid);
		assert_non_null(strstr(reason.text, expected));
	}
	assert_int_equal(f->os->ops->file_lock(f->os, fd, false, NULL), -EWOULDBLOCK);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(f->os->ops->file_lock(f->os, fd, true, &reason), 0);
	f->os->ops->close(f->os, fd);
	close(ready[0]);
	close(ready[1]);
}

static void a_lock_belongs_to_the_open_file(void **state)
{
	struct fixture *f = *state;
	struct reason reason = {0};
	int a = fixture_file(f, "file", 0);
	int b = fixture_file(f, "file", 0);

	assert_int_equal(f->os->ops->file_lock(f->os, a, true, &reason), 0);
	assert_int_equal(f->os->ops->file_lock(f->os, b, true, &reason), -EWOULDBLOCK);
	assert_non_null(strstr(reason.text, "this process"));
	assert_int_equal(f->os->ops->file_unlock(f->os, a), 0);
	assert_int_equal(f->os->ops->file_lock(f->os, b, false, NULL), 0);
	assert_int_equal(f->os->ops->file_lock(f->os, a, false, NULL), 0);
	f->os->ops->close(f->os, a);
	assert_int_equal(f->os->ops->file_lock(f->os, b, true, NULL), 0);
	f->os->ops->close(f->os, b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(what_was_written_is_read_back),
		FIXTURE_TEST(descriptors_close_on_exec_and_block),
		FIXTURE_TEST(open_flags_mean_what_they_say),
		FIXTURE_TEST(a_fifo_without_a_writer_does_not_hold_up),
		FIXTURE_TEST(names_are_changed_and_removed),
		FIXTURE_TEST(a_memfd_keeps_its_size),
		FIXTURE_TEST(a_mapping_is_shared_and_not_dumped),
		FIXTURE_TEST(the_holder_of_a_lock_is_named),
		FIXTURE_TEST(a_lock_belongs_to_the_open_file),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
