/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes and descriptors through Unix stream sockets; nothing here blocks. The control buffer has
 * room for as many descriptors as the kernel puts into one message, so it discards some only when
 * this process may open no more (vhost-user reference 2.3). Then all are closed: which ones are
 * missing cannot be told.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(OS_FDS_MAX * sizeof(int))];
};

int real_socket_accept(struct os *os, int fd, int *ret_fd)
{
	int accepted;

	do
		accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (accepted < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (accepted < 0)
		return -errno;
	*ret_fd = accepted;
	return 0;
}

static void fds_close(const int *fds, unsigned nfds)
{
	for (unsigned i = 0; i < nfds; i++)
		close(fds[i]);
}

/* How many the message brought, at most OS_FDS_MAX. */
static unsigned fds_extract(struct msghdr *message, int *fds)
{
	unsigned nfds = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg;
		cmsg = CMSG_NXTHDR(message, cmsg)) {
		size_t bytes = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		invariant(nfds + bytes / sizeof(int) <= OS_FDS_MAX);
		memcpy(fds + nfds, CMSG_DATA(cmsg), bytes);
		nfds += (unsigned)(bytes / sizeof(int));
	}
	return nfds;
}

int64_t real_socket_receive(struct os *os, int fd, void *buf, size_t len, int *fds,
	unsigned fds_max, unsigned *ret_nfds)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	union control control;
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	int received[OS_FDS_MAX];
	unsigned nfds;
	ssize_t n;

	*ret_nfds = 0;
	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	nfds = fds_extract(&message, received);
	if ((message.msg_flags & MSG_CTRUNC) || nfds > fds_max) {
		fds_close(received, nfds);
		return -EMSGSIZE;
	}
	if (nfds > 0)
		memcpy(fds, received, nfds * sizeof(int));
	*ret_nfds = nfds;
	return n;
}

int64_t real_socket_send(
	struct os *os, int fd, const void *buf, size_t len, const int *fds, unsigned nfds)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	ssize_t n;

	if (nfds > OS_FDS_MAX)
		return -EINVAL;
	if (nfds > 0) {
		memset(&control, 0, CMSG_SPACE(nfds * sizeof(int)));
		message.msg_control = control.buf;
		message.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int real_socket_peer(struct os *os, int fd, struct os_peer *ret_peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	ret_peer->pid = (uint32_t)cred.pid;
	ret_peer->uid = cred.uid;
	ret_peer->gid = cred.gid;
	return 0;
}

void real_socket_shutdown(struct os *os, int fd)
{
	shutdown(fd, SHUT_RDWR);
}
