/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions of before are read at the start, all of them, and wait here until their controllers are
 * made. One whose controller does not come back waits for as long as this process lives: somebody
 * may make it by RPC.
 *
 * Nothing here waits for the keeper but the start: datagrams that find no room are lost, and a
 * connection that cannot be given to it is served directly, as without one.
 */
#include "daemon/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/service.h"
#include "spec/keeper.h"

struct kept_session {
	char name[256];
	int fd; /* -1: taken */
};

struct kept {
	struct vhost_keeper vhost_keeper;
	int fd;
	struct kept_session *sessions;
	size_t count;
};

/* ---- datagrams --------------------------------------------------------------------------- */

union kept_control {
	char bytes[CMSG_SPACE(2 * sizeof(int))];
	struct cmsghdr align;
};

static int kept_send(
	struct kept *kept, const struct keeper_message *message, const int *fds, unsigned count)
{
	union kept_control control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	return sendmsg(kept->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int kept_receive(struct kept *kept, struct keeper_message *ret_message, int *ret_fd)
{
	union kept_control control;
	struct iovec iov = {.iov_base = ret_message, .iov_len = sizeof(*ret_message)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	const struct cmsghdr *c;
	ssize_t got;

	do
		got = recvmsg(kept->fd, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got != sizeof(*ret_message))
		return got < 0 ? -errno : -ECONNRESET;
	*ret_fd = -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	ret_message->text[sizeof(ret_message->text) - 1] = '\0';
	return 0;
}

/* ---- for vhost --------------------------------------------------------------------------- */

static int kept_take(void *arg, const char *name)
{
	struct kept *kept = arg;

	for (size_t i = 0; i < kept->count; i++) {
		struct kept_session *session = &kept->sessions[i];
		int fd = session->fd;

		if (fd < 0 || strcmp(session->name, name) != 0)
			continue;
		session->fd = -1;
		return fd;
	}
	return -1;
}

static int kept_give(void *arg, const char *name, unsigned queues, int front_fd)
{
	struct keeper_message message = {.kind = KEEPER_SESSION, .queues = queues};
	int fds[2] = {front_fd, -1};
	int pair[2];
	int rc;

	if (strlen(name) >= sizeof(message.text))
		return -ENAMETOOLONG;
	strcpy(message.text, name);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	fds[1] = pair[1];
	rc = kept_send(arg, &message, fds, 2);
	close(pair[1]);
	if (rc) {
		close(pair[0]);
		return rc;
	}
	close(front_fd);
	return pair[0];
}

/* ---- life -------------------------------------------------------------------------------- */

static struct kept *relayed; /* of service_tell, which any part of the daemon may call */

static void kept_tell(const char *text)
{
	struct keeper_message message = {.kind = KEEPER_TELL};

	if (strlen(text) >= sizeof(message.text))
		return;
	strcpy(message.text, text);
	kept_send(relayed, &message, NULL, 0);
}

void kept_tell_ready(struct kept *kept)
{
	const struct keeper_message message = {.kind = KEEPER_READY};

	if (kept)
		kept_send(kept, &message, NULL, 0);
}

static int kept_add(struct kept *kept, const struct keeper_message *message, int fd)
{
	struct kept_session *more =
		realloc(kept->sessions, (kept->count + 1) * sizeof(*kept->sessions));

	if (!more) {
		close(fd);
		return -ENOMEM;
	}
	kept->sessions = more;
	memcpy(more[kept->count].name, message->text, sizeof(message->text));
	more[kept->count++].fd = fd;
	return 0;
}

static int kept_read_sessions(struct kept *kept)
{
	struct keeper_message message;
	int fd = -1;
	int rc;

	for (;;) {
		rc = kept_receive(kept, &message, &fd);
		if (rc || message.kind == KEEPER_SESSIONS_END)
			return rc;
		rc = fd < 0 ? -EPROTO : kept_add(kept, &message, fd);
		if (rc)
			return rc;
	}
}

int kept_open(struct kept **ret_kept)
{
	const char *number = getenv(KEEPER_FD_VARIABLE);
	struct kept *kept;
	int rc;

	*ret_kept = NULL;
	if (!number)
		return 0;
	kept = calloc(1, sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	kept->fd = atoi(number);
	unsetenv(KEEPER_FD_VARIABLE);
	rc = fcntl(kept->fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : kept_read_sessions(kept);
	if (rc) {
		kept_close(kept);
		return rc;
	}
	kept->vhost_keeper =
		(struct vhost_keeper){.take = kept_take, .give = kept_give, .arg = kept};
	relayed = kept;
	service_set_relay(kept_tell);
	*ret_kept = kept;
	return 0;
}

void kept_close(struct kept *kept)
{
	if (!kept)
		return;
	service_set_relay(NULL);
	for (size_t i = 0; i < kept->count; i++) {
		if (kept->sessions[i].fd >= 0)
			close(kept->sessions[i].fd);
	}
	close(kept->fd);
	free(kept->sessions);
	free(kept);
}

const struct vhost_keeper *kept_get_vhost_keeper(struct kept *kept)
{
	return kept ? &kept->vhost_keeper : NULL;
}
