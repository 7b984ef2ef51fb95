/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What daemons that were killed leave in the directory of sockets, and who removes it.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORD ".sluice-sockets"

static bool is_there(struct fixture *f, const char *name)
{
	struct stat st;

	return lstat(fixture_path(f, name), &st) == 0;
}

static int listen_at(struct fixture *f, const char *name)
{
	int fd = -1;

	assert_int_equal(
		f->os->ops->socket_listen(f->os, fixture_path(f, name), 0600, NULL, &fd), 0);
	return fd;
}

/* A process that uses the directory and has made sockets "NAME0"... in it. */
static pid_t daemon_start(struct fixture *f, const char *name, unsigned count)
{
	char byte = 0, full[32];
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		os_real_sockets_open(f->os, f->directory);
		for (unsigned i = 0; i < count; i++) {
			snprintf(full, sizeof(full), "%s%u", name, i);
			listen_at(f, full);
		}
		if (write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void daemon_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* Bound and closed: nobody listens on it, and it was never ours. */
static void foreign_socket(struct fixture *f, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture_path(f, name));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void sockets_of_a_killed_daemon_go_when_the_next_starts(void **state)
{
	struct fixture *f = *state;

	foreign_socket(f, "foreign");
	daemon_kill(daemon_start(f, "vm", 3));
	assert_true(is_there(f, "vm0") && is_there(f, "vm2") && is_there(f, RECORD));
	os_real_sockets_open(f->os, f->directory);
	assert_false(is_there(f, "vm0") || is_there(f, "vm1") || is_there(f, "vm2"));
	assert_true(is_there(f, "foreign"));
	os_real_sockets_close(f->os);
	assert_true(is_there(f, "foreign"));
	assert_false(is_there(f, RECORD));
	unlink(fixture_path(f, "foreign"));
}

/*
 * A killed daemon whose socket takes connections still: the kernel keeps it until all I/O of the
 * dead process has ended. Here its listening descriptor is kept by us, who never called listen().
 */
static int daemon_killed_with_listener_kept(struct fixture *f, const char *name)
{
	int pair[2], fd, status;
	unsigned nfds = 0;
	char byte = 0;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		os_real_sockets_open(f->os, f->directory);
		fd = listen_at(f, name);
		_exit(f->os->ops->socket_send(f->os, pair[1], &byte, 1, &fd, 1) == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(f->os->ops->socket_receive(f->os, pair[0], &byte, 1, &fd, 1, &nfds), 1);
	assert_int_equal(nfds, 1);
	close(pair[0]);
	close(pair[1]);
	return fd;
}

static void a_socket_that_outlives_its_killed_daemon_goes_as_well(void **state)
{
	struct fixture *f = *state;
	int kept = daemon_killed_with_listener_kept(f, "vm0");
	int fd;

	assert_int_equal(f->os->ops->socket_connect(f->os, fixture_path(f, "vm0"), &fd), 0);
	f->os->ops->close(f->os, fd);
	os_real_sockets_open(f->os, f->directory);
	assert_false(is_there(f, "vm0"));
	os_real_sockets_close(f->os);
	close(kept);
}

static void *listener_close_later(void *arg)
{
	usleep(30000);
	close(*(int *)arg);
	return NULL;
}

static void a_path_is_waited_for_while_a_dead_process_lets_go_of_it(void **state)
{
	struct fixture *f = *state;
	int kept = daemon_killed_with_listener_kept(f, "vm0");
	struct reason reason = {0};
	pthread_t thread;
	int fd;

	/* Somebody has it from the dead process, and keeps it. */
	assert_int_equal(
		f->os->ops->socket_listen(f->os, fixture_path(f, "vm0"), 0600, &reason, &fd),
		-EADDRINUSE);
	assert_int_equal(pthread_create(&thread, NULL, listener_close_later, &kept), 0);
	fd = listen_at(f, "vm0");
	pthread_join(thread, NULL);
	f->os->ops->close(f->os, fd);
	os_real_sockets_open(f->os, f->directory);
	os_real_sockets_close(f->os);
}

static void nothing_is_touched_while_another_daemon_lives_there(void **state)
{
	struct fixture *f = *state;
	pid_t living = daemon_start(f, "live", 1);

	daemon_kill(daemon_start(f, "dead", 1));
	os_real_sockets_open(f->os, f->directory);
	assert_true(is_there(f, "live0") && is_there(f, "dead0"));
	os_real_sockets_close(f->os);
	assert_true(is_there(f, "live0") && is_there(f, RECORD));
	daemon_kill(living);
	/* Now we are alone, and the record knows both. */
	os_real_sockets_open(f->os, f->directory);
	assert_false(is_there(f, "live0") || is_there(f, "dead0"));
	os_real_sockets_close(f->os);
	assert_false(is_there(f, RECORD));
}

static void a_name_that_has_a_listener_again_stays(void **state)
{
	struct fixture *f = *state;
	int fd;

	daemon_kill(daemon_start(f, "vm", 1));
	/* By a program that keeps no record. */
	fd = listen_at(f, "vm0");
	os_real_sockets_open(f->os, f->directory);
	assert_true(is_there(f, "vm0"));
	os_real_sockets_close(f->os);
	assert_true(is_there(f, "vm0") && is_there(f, RECORD));
	f->os->ops->close(f->os, fd);
	os_real_sockets_open(f->os, f->directory);
	assert_false(is_there(f, "vm0"));
	os_real_sockets_close(f->os);
}

/* Whoever may write the directory may write a record. */
static void a_record_can_name_nothing_but_sockets_in_its_directory(void **state)
{
	static const char text[] = "file\n../outside\n/etc/passwd\n\n.\nlink\nno newline";
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);

	close(fd);
	assert_int_equal(symlink("file", fixture_path(f, "link")), 0);
	fd = fixture_file(f, RECORD, 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	os_real_sockets_open(f->os, f->directory);
	os_real_sockets_close(f->os);
	assert_true(is_there(f, "file") && is_there(f, "link") && !is_there(f, RECORD));
	/* Nor is it written through a link. */
	assert_int_equal(symlink("file", fixture_path(f, RECORD)), 0);
	os_real_sockets_open(f->os, f->directory);
	fd = listen_at(f, "vm0");
	os_real_sockets_close(f->os);
	f->os->ops->close(f->os, fd);
	fd = fixture_file(f, "file", 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	close(fd);
}

static void a_record_does_not_grow_with_what_comes_and_goes(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char name[80];

	os_real_sockets_open(f->os, f->directory);
	for (unsigned i = 0; i < 4000; i++) {
		int fd;

		snprintf(name, sizeof(name), "a-name-of-no-use-but-to-be-long-enough-%u", i / 2);
		fd = listen_at(f, name);
		f->os->ops->close(f->os, fd);
		assert_int_equal(unlink(f->path), 0);
	}
	assert_int_equal(stat(fixture_path(f, RECORD), &st), 0);
	assert_in_range(st.st_size, 1, 80 * 1024);
	os_real_sockets_close(f->os);
	assert_false(is_there(f, RECORD));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(sockets_of_a_killed_daemon_go_when_the_next_starts),
		FIXTURE_TEST(a_socket_that_outlives_its_killed_daemon_goes_as_well),
		FIXTURE_TEST(a_path_is_waited_for_while_a_dead_process_lets_go_of_it),
		FIXTURE_TEST(nothing_is_touched_while_another_daemon_lives_there),
		FIXTURE_TEST(a_name_that_has_a_listener_again_stays),
		FIXTURE_TEST(a_record_can_name_nothing_but_sockets_in_its_directory),
		FIXTURE_TEST(a_record_does_not_grow_with_what_comes_and_goes),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
