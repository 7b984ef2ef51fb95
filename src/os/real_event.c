/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eventfds, ours and those of others. A front-end may send any descriptor as kick or call
 * (vhost-user reference, "hostile or broken front-end"): a pipe or socket works like an eventfd;
 * anything else must neither block us, nor be written into as if it were a bell.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int real_event_create(struct os *os, int *ret_fd)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int real_event_signal(struct os *os, int fd)
{
	const uint64_t one = 1;

	/* EAGAIN: full, the other side has more than enough to wake up for. EINTR: it was made to
	 * block, and the watchdog has freed us; a descriptor that does not block knows no EINTR. */
	if (write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	return 0;
}

/* Neither a file that would be written into, nor one that always polls as ready. */
static int event_check_kind(int fd)
{
	CLEANUP_FD int epoll_fd = -1;
	struct epoll_event event = {.events = EPOLLIN};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
		return -EPERM;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return -errno;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return 0;
}

int real_event_adopt(struct os *os, int fd)
{
	int rc = event_check_kind(fd);
	int flags;

	if (rc)
		return rc;
	/* This changes the open file that we share with the sender; KVM's eventfds tolerate it. */
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* Whoever sent the descriptor shares its flags and may have made it block again: ask not to wait in
 * the call itself, where the kernel knows how. */
static ssize_t event_read(int fd, void *buf, size_t len)
{
	const struct iovec iov = {.iov_base = buf, .iov_len = len};
	ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	return n < 0 && errno == EOPNOTSUPP ? read(fd, buf, len) : n;
}

bool event_drain(int fd)
{
	char buf[512];
	ssize_t n;

	do
		n = event_read(fd, buf, sizeof(buf));
	while (n < 0 && errno == EINTR);
	/* Nothing there: another watch of the same event was faster. It was meant for both. */
	return n > 0 || (n < 0 && errno == EAGAIN);
}
