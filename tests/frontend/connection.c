/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes and file descriptors over a Unix stream socket, always with a deadline. The socket is
 * non-blocking and every wait is a poll(), so that no back-end, however broken, can hang a test.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <fcntl.h>
#include <unistd.h>

#include "frontend/connection.h"
#include "frontend/frontend_impl.h"

int fe_conn_fail(struct fe_conn *conn, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(conn->why, sizeof(conn->why), format, args);
	va_end(args);
	return rc;
}

static int fill_address(struct sockaddr_un *address, const char *path)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

void fe_conn_adopt(struct fe_conn *conn, int fd, int timeout_ms)
{
	memset(conn, 0, sizeof(*conn));
	conn->fd = fd;
	conn->timeout_ms = timeout_ms;
	if (fd >= 0)
		set_nonblocking(fd);
}

int fe_conn_connect(struct fe_conn *conn, const char *path, int timeout_ms)
{
	struct sockaddr_un address;
	int rc = fill_address(&address, path);
	int fd;

	fe_conn_adopt(conn, -1, timeout_ms);
	if (rc)
		return fe_conn_fail(conn, rc, "%s: path is too long for a socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fe_conn_fail(conn, -errno, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		rc = fe_conn_fail(conn, -errno, "connect to %s: %s", path, strerror(errno));
		close(fd);
		return rc;
	}
	conn->fd = fd;
	rc = set_nonblocking(fd);
	if (rc)
		fe_conn_close(conn);
	return rc;
}

int fe_conn_listen(const char *path)
{
	struct sockaddr_un address;
	int rc = fill_address(&address, path);
	int fd;

	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* 0 once `events` or a hang-up is there. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
	for (;;) {
		int64_t left_ms = deadline_ms - fe_now_ms();
		struct pollfd entry = {.fd = fd, .events = events};
		int rc = poll(&entry, 1, left_ms > 0 ? (int)left_ms : 0);

		if (rc > 0)
			return 0;
		if (rc == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

int fe_conn_accept(struct fe_conn *conn, int listen_fd, int timeout_ms)
{
	int rc = wait_for(listen_fd, POLLIN, fe_now_ms() + timeout_ms);
	int fd;

	fe_conn_adopt(conn, -1, timeout_ms);
	if (rc)
		return fe_conn_fail(conn, rc, "the back-end did not connect in %d ms", timeout_ms);
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return fe_conn_fail(conn, -errno, "accept: %s", strerror(errno));
	conn->fd = fd;
	return 0;
}

void fe_conn_close(struct fe_conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
}

/* One sendmsg; the number of bytes it took, or -errno. */
static ssize_t send_part(
	int fd, const uint8_t *bytes, size_t len, const int *fds, uint32_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(FE_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (fd_count > FE_MAX_FDS)
		return -EINVAL;
	if (fd_count) {
		struct cmsghdr *header;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		header = CMSG_FIRSTHDR(&msg);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	sent = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	return sent < 0 ? -errno : sent;
}

static int send_all(struct fe_conn *conn, const uint8_t *bytes, size_t len, const int *fds,
	uint32_t fd_count, size_t step)
{
	int64_t deadline_ms = fe_now_ms() + conn->timeout_ms;

	if (conn->fd < 0)
		return fe_conn_fail(conn, -ENOTCONN, "not connected");
	while (len) {
		ssize_t sent = send_part(conn->fd, bytes, len < step ? len : step, fds, fd_count);
		int rc;

		if (sent > 0) {
			bytes += sent;
			len -= (size_t)sent;
			fd_count = 0;
			continue;
		}
		if (sent == -EPIPE || sent == -ECONNRESET)
			return fe_conn_fail(
				conn, -ECONNRESET, "the back-end closed while we were sending");
		if (sent < 0 && sent != -EAGAIN && sent != -EINTR)
			return fe_conn_fail(conn, (int)sent, "send: %s", strerror((int)-sent));
		rc = wait_for(conn->fd, POLLOUT, deadline_ms);
		if (rc)
			return fe_conn_fail(conn, rc, "the back-end takes no bytes");
	}
	return 0;
}

int fe_conn_send(
	struct fe_conn *conn, const void *bytes, size_t len, const int *fds, uint32_t fd_count)
{
	return send_all(conn, bytes, len, fds, fd_count, len);
}

int fe_conn_send_slowly(
	struct fe_conn *conn, const void *bytes, size_t len, const int *fds, uint32_t fd_count)
{
	return send_all(conn, bytes, len, fds, fd_count, 1);
}

static void take_fds(struct msghdr *msg, struct fe_msg *into)
{
	struct cmsghdr *header;

	for (header = CMSG_FIRSTHDR(msg); header; header = CMSG_NXTHDR(msg, header)) {
		size_t count, i;

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
			if (into->fd_count < FE_MAX_FDS)
				into->fds[into->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

static ssize_t recv_part(int fd, void *bytes, size_t len, struct fe_msg *into)
{
	union {
		char bytes[CMSG_SPACE(FE_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = bytes, .iov_len = len};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (got < 0)
		return -errno;
	take_fds(&msg, into);
	return got;
}

int fe_conn_recv(struct fe_conn *conn, void *bytes, size_t len, struct fe_msg *msg)
{
	int64_t deadline_ms = fe_now_ms() + conn->timeout_ms;
	size_t have = 0;

	if (conn->fd < 0)
		return fe_conn_fail(conn, -ENOTCONN, "not connected");
	while (have < len) {
		ssize_t got;
		int rc = wait_for(conn->fd, POLLIN, deadline_ms);

		if (rc)
			return fe_conn_fail(conn, rc, "no answer in %d ms (%zu of %zu bytes came)",
				conn->timeout_ms, have, len);
		got = recv_part(conn->fd, (uint8_t *)bytes + have, len - have, msg);
		if (got == 0 || got == -ECONNRESET)
			return fe_conn_fail(
				conn, -ECONNRESET, "the back-end closed the connection");
		if (got < 0 && got != -EAGAIN && got != -EINTR)
			return fe_conn_fail(conn, (int)got, "recv: %s", strerror((int)-got));
		if (got > 0)
			have += (size_t)got;
	}
	return 0;
}

int fe_conn_wait_close(struct fe_conn *conn, int timeout_ms)
{
	int rc = wait_for(conn->fd, POLLIN, fe_now_ms() + timeout_ms);
	uint8_t byte;
	ssize_t got;

	if (rc)
		return fe_conn_fail(conn, rc, "still open after %d ms", timeout_ms);
	got = recv(conn->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
	if (got == 0 || (got < 0 && errno == ECONNRESET))
		return 0;
	if (got < 0)
		return fe_conn_fail(conn, -errno, "recv: %s", strerror(errno));
	return fe_conn_fail(conn, -EPROTO, "the back-end sent bytes instead of closing");
}

int fe_conn_expect_silence(struct fe_conn *conn, int quiet_ms)
{
	int rc = fe_conn_wait_close(conn, quiet_ms);

	if (rc == -ETIMEDOUT)
		return 0;
	if (rc == -EPROTO)
		return fe_conn_fail(conn, rc, "the back-end sent bytes that nobody asked for");
	return rc ? rc : fe_conn_fail(conn, -ECONNRESET, "the back-end closed the connection");
}
