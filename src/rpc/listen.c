/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket's place in the file system. PATH.lock is locked (flock) for the whole life of the
 * process: who has the lock owns PATH and may replace a socket that a dead process left there.
 *
 * Both files are removed at the end, the lock file while its lock is held. A process that opened
 * the lock file just before it was removed would then lock a file that nobody else can see, so
 * whoever gets the lock looks whether the file is still the one at the path, and tries again if
 * not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc_impl.h"

#define SOCKET_PATH_MAX 107 /* sun_path without its NUL */
#define LOCK_ATTEMPTS   16

/* Is the file open as fd the one at path? */
static bool file_is_at(struct os *os, int fd, const char *path)
{
	struct os_file_info mine, there;
	int other;
	int rc;

	if (os->ops->file_open(os, path, OS_OPEN_READ, 0, &other))
		return false;
	rc = os->ops->file_info(os, other, &there);
	os->ops->close(os, other);
	return !rc && !os->ops->file_info(os, fd, &mine) && mine.inode == there.inode &&
	       mine.device == there.device;
}

static int lock_take(struct os *os, const char *path, struct reason *reason, int *ret_fd)
{
	for (unsigned i = 0; i < LOCK_ATTEMPTS; i++) {
		struct reason holder = {0};
		int fd;
		int rc = os->ops->file_open(os, path, OS_OPEN_WRITE | OS_OPEN_CREATE, 0600, &fd);

		if (rc)
			return reason_set(reason, rc,
				"cannot make the lock file %s (%s): choose another place with "
				"--rpc-socket",
				path, strerror(-rc));
		rc = os->ops->file_lock(os, fd, true, &holder);
		if (rc) {
			os->ops->close(os, fd);
			return reason_set(reason, rc == -EWOULDBLOCK ? -EBUSY : rc,
				"the RPC socket path is in use (%s): %s; --rpc-socket chooses "
				"another",
				path, reason_text(&holder, rc));
		}
		if (file_is_at(os, fd, path)) {
			*ret_fd = fd;
			return 0;
		}
		os->ops->close(os, fd);
	}
	return reason_set(reason, -EBUSY,
		"the lock file %s is removed again and again: is another daemon starting there?",
		path);
}

/* What is at the path goes if it is a socket: its owner is dead, since we have the lock. Opening a
 * socket as a file is refused by the kernel with ENXIO. */
static int stale_remove(struct os *os, const char *path, struct reason *reason)
{
	int fd;
	int rc = os->ops->file_open(os, path, OS_OPEN_READ, 0, &fd);

	if (rc == -ENOENT)
		return 0;
	if (rc == -ENXIO)
		return os->ops->file_unlink(os, path);
	if (!rc)
		os->ops->close(os, fd);
	return reason_set(reason, -EEXIST,
		"%s exists and is not a socket: remove it or choose another path with --rpc-socket",
		path);
}

int rpc_listener_open(
	struct rpc_listener *listener, struct os *os, const char *path, struct reason *reason)
{
	char lock_path[SOCKET_PATH_MAX + sizeof(".lock")];
	int rc;

	if (strlen(path) > SOCKET_PATH_MAX || path[0] == '\0')
		return reason_set(reason, -ENAMETOOLONG,
			"an RPC socket path has 1 to %d characters: choose another with "
			"--rpc-socket",
			SOCKET_PATH_MAX);
	snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	rc = lock_take(os, lock_path, reason, &listener->lock_fd);
	if (rc)
		return rc;
	rc = stale_remove(os, path, reason);
	if (!rc)
		rc = os->ops->socket_listen(os, path, 0700, reason, &listener->fd);
	if (!rc) {
		snprintf(listener->path, sizeof(listener->path), "%s", path);
		return 0;
	}
	os->ops->file_unlink(os, lock_path);
	os->ops->close(os, listener->lock_fd);
	listener->lock_fd = -1;
	return rc;
}

void rpc_listener_close(struct rpc_listener *listener, struct os *os)
{
	char lock_path[sizeof(listener->path) + sizeof(".lock")];

	if (listener->fd < 0)
		return;
	snprintf(lock_path, sizeof(lock_path), "%s.lock", listener->path);
	os->ops->close(os, listener->fd);
	os->ops->file_unlink(os, listener->path);
	os->ops->file_unlink(os, lock_path);
	os->ops->close(os, listener->lock_fd);
	listener->fd = -1;
	listener->lock_fd = -1;
}
