/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unix sockets: where they appear, what goes through them.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int listen_at(struct fixture *f, const char *path)
{
	struct reason reason = {0};
	int fd = -1;

	assert_int_equal(f->os->ops->socket_listen(f->os, path, 0600, &reason, &fd), 0);
	return fd;
}

/* A connection: pair[0] has connected, pair[1] was accepted. */
static void connect_pair(struct fixture *f, int pair[2])
{
	int listener = listen_at(f, fixture_path(f, "socket"));

	assert_int_equal(f->os->ops->socket_connect(f->os, f->path, &pair[0]), 0);
	assert_int_equal(f->os->ops->socket_accept(f->os, listener, &pair[1]), 0);
	f->os->ops->close(f->os, listener);
	unlink(f->path);
}

static void close_pair(struct fixture *f, const int pair[2])
{
	f->os->ops->close(f->os, pair[0]);
	f->os->ops->close(f->os, pair[1]);
}

static void a_socket_has_its_mode_and_nothing_blocks(void **state)
{
	struct fixture *f = *state;
	struct reason reason = {0};
	struct stat st;
	int listener;
	int pair[2];
	int fd;

	assert_int_equal(f->os->ops->socket_listen(
				 f->os, fixture_path(f, "socket"), 0640, &reason, &listener),
		0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(f->os->ops->socket_accept(f->os, listener, &fd), -EAGAIN);
	assert_int_equal(f->os->ops->socket_connect(f->os, f->path, &pair[0]), 0);
	assert_int_equal(f->os->ops->socket_accept(f->os, listener, &pair[1]), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fcntl(pair[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(pair[i], F_GETFD) & FD_CLOEXEC);
	}
	close_pair(f, pair);
	f->os->ops->close(f->os, listener);
}

static void a_socket_that_somebody_listens_on_is_kept(void **state)
{
	struct fixture *f = *state;
	struct reason reason = {0};
	int listener = listen_at(f, fixture_path(f, "socket"));
	int fd;

	assert_int_equal(
		f->os->ops->socket_listen(f->os, f->path, 0600, &reason, &fd), -EADDRINUSE);
	assert_non_null(strstr(reason.text, f->path));
	assert_non_null(strstr(reason.text, "stop it"));
	assert_int_equal(f->os->ops->socket_connect(f->os, f->path, &fd), 0);
	f->os->ops->close(f->os, fd);
	f->os->ops->close(f->os, listener);
}

static void a_socket_left_by_a_dead_daemon_is_replaced(void **state)
{
	struct fixture *f = *state;
	int listener = listen_at(f, fixture_path(f, "socket"));
	int fd;

	f->os->ops->close(f->os, listener);
	assert_int_equal(f->os->ops->socket_connect(f->os, f->path, &fd), -ECONNREFUSED);
	listener = listen_at(f, f->path);
	assert_int_equal(f->os->ops->socket_connect(f->os, f->path, &fd), 0);
	f->os->ops->close(f->os, fd);
	f->os->ops->close(f->os, listener);
}

static void what_is_not_a_socket_is_never_replaced(void **state)
{
	struct fixture *f = *state;
	struct reason reason = {0};
	struct stat st;
	char byte = 0;
	int fd = fixture_file(f, "socket", 0);
	int listener;

	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(
		f->os->ops->socket_listen(f->os, f->path, 0600, &reason, &listener), -EEXIST);
	assert_non_null(strstr(reason.text, "not a socket"));
	assert_int_equal(f->os->ops->file_read(f->os, fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	f->os->ops->close(f->os, fd);
	/* Nor is a link followed or replaced. */
	assert_int_equal(symlink("elsewhere", fixture_path(f, "link")), 0);
	reason.text[0] = '\0';
	assert_int_equal(
		f->os->ops->socket_listen(f->os, f->path, 0600, &reason, &listener), -EEXIST);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void paths_that_cannot_be_are_explained(void **state)
{
	struct fixture *f = *state;
	struct reason reason = {0};
	char path[200];
	int fd;

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(f->os->ops->socket_listen(f->os, path, 0600, &reason, &fd), -ENAMETOOLONG);
	assert_non_null(strstr(reason.text, "107"));
	assert_int_equal(f->os->ops->socket_connect(f->os, path, &fd), -ENAMETOOLONG);
	reason.text[0] = '\0';
	assert_int_equal(f->os->ops->socket_listen(f->os, "", 0600, &reason, &fd), -EINVAL);
	reason.text[0] = '\0';
	assert_int_equal(f->os->ops->socket_listen(
				 f->os, fixture_path(f, "no/such/directory"), 0600, &reason, &fd),
		-ENOENT);
	assert_non_null(strstr(reason.text, f->path));
	assert_int_equal(f->os->ops->socket_connect(f->os, f->path, &fd), -ENOENT);
}

static void a_path_of_full_length_works(void **state)
{
	struct fixture *f = *state;
	char name[108];
	size_t len = 107 - strlen(f->directory) - 1;
	int listener;
	int fd;

	memset(name, 'n', len);
	name[len] = '\0';
	listener = listen_at(f, fixture_path(f, name));
	assert_int_equal(strlen(f->path), 107);
	assert_int_equal(f->os->ops->socket_connect(f->os, f->path, &fd), 0);
	f->os->ops->close(f->os, fd);
	f->os->ops->close(f->os, listener);
	/* Stale, and replaced. */
	listener = listen_at(f, f->path);
	f->os->ops->close(f->os, listener);
}

/* A client that connects as soon as it sees the path: 0 when it was let in. */
static int eager_client(struct fixture *f)
{
	int rc;
	int fd;

	do
		rc = f->os->ops->socket_connect(f->os, f->path, &fd);
	while (rc == -ENOENT);
	return rc == 0 ? 0 : 1;
}

static void a_socket_appears_at_once_ready(void **state)
{
	struct fixture *f = *state;

	fixture_path(f, "socket");
	for (unsigned i = 0; i < 30; i++) {
		pid_t pid = fork();
		int listener;
		int status;

		if (pid == 0)
			_exit(eager_client(f));
		usleep(i * 100);
		listener = listen_at(f, f->path);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(f->os->ops->file_unlink(f->os, f->path), 0);
		f->os->ops->close(f->os, listener);
	}
}

static void of_two_at_the_same_moment_one_wins(void **state)
{
	struct fixture *f = *state;

	fixture_path(f, "socket");
	for (unsigned i = 0; i < 30; i++) {
		struct reason reason = {0};
		int go[2];
		int won[2];
		int listener = -1;
		int status;
		bool ours;
		char byte;
		pid_t pid;

		assert_int_equal(pipe(go), 0);
		assert_int_equal(pipe(won), 0);
		pid = fork();
		if (pid == 0) {
			int rc;

			close(won[0]);
			close(go[1]);
			rc = f->os->ops->socket_listen(f->os, f->path, 0600, NULL, &listener);
			byte = rc == 0;
			/* Held until the parent has seen the outcome. */
			_exit(write(won[1], &byte, 1) != 1 || read(go[0], &byte, 1) < 0);
		}
		usleep(i * 20);
		ours = f->os->ops->socket_listen(f->os, f->path, 0600, &reason, &listener) == 0;
		assert_int_equal(read(won[0], &byte, 1), 1);
		assert_int_equal(ours + byte, 1);
		close(go[1]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (ours)
			f->os->ops->close(f->os, listener);
		unlink(f->path);
		close(go[0]);
		close(won[0]);
		close(won[1]);
	}
}

static void bytes_go_through_and_the_end_is_zero(void **state)
{
	struct fixture *f = *state;
	unsigned nfds = 7;
	char buf[8];
	int fds[1];
	int pair[2];

	connect_pair(f, pair);
	assert_int_equal(
		f->os->ops->socket_receive(f->os, pair[1], buf, sizeof(buf), fds, 1, &nfds),
		-EAGAIN);
	assert_int_equal(nfds, 0);
	assert_int_equal(f->os->ops->socket_send(f->os, pair[0], "hello", 5, NULL, 0), 5);
	assert_int_equal(f->os->ops->socket_receive(f->os, pair[1], buf, 3, fds, 1, &nfds), 3);
	assert_int_equal(f->os->ops->socket_receive(f->os, pair[1], buf + 3, 5, NULL, 0, &nfds), 2);
	assert_memory_equal(buf, "hello", 5);
	f->os->ops->socket_shutdown(f->os, pair[0]);
	assert_int_equal(
		f->os->ops->socket_receive(f->os, pair[1], buf, sizeof(buf), fds, 1, &nfds), 0);
	assert_int_equal(f->os->ops->socket_send(f->os, pair[1], "x", 1, NULL, 0), -EPIPE);
	close_pair(f, pair);
}

static void a_full_socket_takes_a_part_and_then_nothing(void **state)
{
	struct fixture *f = *state;
	static char buf[1 << 20];
	int64_t n = 1;
	int pair[2];

	connect_pair(f, pair);
	for (unsigned i = 0; n > 0; i++) {
		n = f->os->ops->socket_send(f->os, pair[0], buf, sizeof(buf), NULL, 0);
		assert_true(i < 100);
	}
	assert_int_equal(n, -EAGAIN);
	close_pair(f, pair);
}

static void the_peer_is_known(void **state)
{
	struct fixture *f = *state;
	struct os_peer peer;
	int pair[2];

	connect_pair(f, pair);
	assert_int_equal(f->os->ops->socket_peer(f->os, pair[1], &peer), 0);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.uid, getuid());
	assert_int_equal(peer.gid, getgid());
	close_pair(f, pair);
}

static void send_fds(struct fixture *f, int fd, unsigned nfds)
{
	int fds[OS_FDS_MAX];

	for (unsigned i = 0; i < nfds; i++)
		fds[i] = STDIN_FILENO + (int)(i % 2);
	assert_int_equal(f->os->ops->socket_send(f->os, fd, "headbody", 8, fds, nfds), 8);
}

static void descriptors_come_with_the_first_byte(void **state)
{
	struct fixture *f = *state;
	struct stat sent;
	struct stat got;
	unsigned nfds;
	char buf[8];
	int fds[8];
	int pair[2];
	int file = fixture_file(f, "file", 0);

	connect_pair(f, pair);
	assert_int_equal(f->os->ops->socket_send(f->os, pair[0], "headbody", 8, &file, 1), 8);
	assert_int_equal(f->os->ops->socket_receive(f->os, pair[1], buf, 4, fds, 8, &nfds), 4);
	assert_int_equal(nfds, 1);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fstat(file, &sent), 0);
	assert_int_equal(fstat(fds[0], &got), 0);
	assert_int_equal(sent.st_ino, got.st_ino);
	assert_int_equal(f->os->ops->socket_receive(f->os, pair[1], buf, 4, fds + 1, 7, &nfds), 4);
	assert_int_equal(nfds, 0);
	f->os->ops->close(f->os, fds[0]);
	f->os->ops->close(f->os, file);
	close_pair(f, pair);
}

static void as_many_descriptors_as_the_kernel_sends_arrive(void **state)
{
	struct fixture *f = *state;
	int fds[OS_FDS_MAX + 1];
	unsigned nfds;
	char buf[8];
	int pair[2];

	connect_pair(f, pair);
	send_fds(f, pair[0], OS_FDS_MAX);
	assert_int_equal(
		f->os->ops->socket_receive(f->os, pair[1], buf, 8, fds, OS_FDS_MAX, &nfds), 8);
	assert_int_equal(nfds, OS_FDS_MAX);
	for (unsigned i = 0; i < nfds; i++)
		f->os->ops->close(f->os, fds[i]);
	assert_int_equal(
		f->os->ops->socket_send(f->os, pair[0], "x", 1, fds, OS_FDS_MAX + 1), -EINVAL);
	close_pair(f, pair);
}

static void of_too_many_descriptors_none_is_kept(void **state)
{
	struct fixture *f = *state;
	unsigned before;
	unsigned nfds;
	char buf[8];
	int fds[2];
	int pair[2];

	connect_pair(f, pair);
	before = fixture_count_fds();
	send_fds(f, pair[0], 3);
	assert_int_equal(
		f->os->ops->socket_receive(f->os, pair[1], buf, 8, fds, 2, &nfds), -EMSGSIZE);
	assert_int_equal(nfds, 0);
	assert_int_equal(fixture_count_fds(), before);
	close_pair(f, pair);
}

static void descriptors_that_the_kernel_dropped_are_an_error(void **state)
{
	struct fixture *f = *state;
	struct rlimit before;
	struct rlimit limit;
	unsigned fds_before;
	unsigned nfds;
	int64_t n;
	char buf[8];
	int fds[8];
	int pair[2];

	connect_pair(f, pair);
	send_fds(f, pair[0], 8);
	fds_before = fixture_count_fds();
	/* Room for one or two more. */
	getrlimit(RLIMIT_NOFILE, &before);
	limit = before;
	limit.rlim_cur = (rlim_t)pair[1] + 3;
	setrlimit(RLIMIT_NOFILE, &limit);
	n = f->os->ops->socket_receive(f->os, pair[1], buf, 8, fds, 8, &nfds);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(n, -EMSGSIZE);
	assert_int_equal(nfds, 0);
	assert_int_equal(fixture_count_fds(), fds_before);
	close_pair(f, pair);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_socket_has_its_mode_and_nothing_blocks),
		FIXTURE_TEST(a_socket_that_somebody_listens_on_is_kept),
		FIXTURE_TEST(a_socket_left_by_a_dead_daemon_is_replaced),
		FIXTURE_TEST(what_is_not_a_socket_is_never_replaced),
		FIXTURE_TEST(paths_that_cannot_be_are_explained),
		FIXTURE_TEST(a_path_of_full_length_works),
		FIXTURE_TEST(a_socket_appears_at_once_ready),
		FIXTURE_TEST(of_two_at_the_same_moment_one_wins),
		FIXTURE_TEST(bytes_go_through_and_the_end_is_zero),
		FIXTURE_TEST(a_full_socket_takes_a_part_and_then_nothing),
		FIXTURE_TEST(the_peer_is_known),
		FIXTURE_TEST(descriptors_come_with_the_first_byte),
		FIXTURE_TEST(as_many_descriptors_as_the_kernel_sends_arrive),
		FIXTURE_TEST(of_too_many_descriptors_none_is_kept),
		FIXTURE_TEST(descriptors_that_the_kernel_dropped_are_an_error),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
