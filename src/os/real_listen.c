/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listening and connecting Unix sockets.
 *
 * A socket appears at its path at once ready: bound under a name of its own beside it, given its
 * permissions, listening, and then renamed to the path. So a client that sees it can connect, and
 * nobody can connect while its mode is still wrong.
 *
 * What stands at the path already: nothing; a socket that nobody listens on any more (connect is
 * refused), left by a daemon that was killed, which the rename replaces; a socket that somebody
 * listens on: -EADDRINUSE; anything else is never touched: -EEXIST. Two daemons that start
 * at the same moment take turns through a lock on the directory, so that neither renames over the
 * fresh socket of the other.
 *
 * The socket of a killed process takes connections for some time still: what its io_uring polled is
 * let go of by the kernel later than the process ends. Whom a socket belongs to is told by
 * SO_PEERCRED of a connection to it: the process that called listen(). Where that is dead, the
 * socket is waited for a little.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG         256
#define DIRECTORY_TRIES 200
#define DEAD_TRIES      200

static int address_set(struct sockaddr_un *address, const char *path)
{
	size_t len = strlen(path);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len == 0)
		return -EINVAL;
	if (len >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, len);
	return 0;
}

/* The descriptor or -errno. */
static int socket_create(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int real_socket_connect(struct os *os, const char *path, int *ret_fd)
{
	struct sockaddr_un address;
	int fd;
	int rc = address_set(&address, path);

	if (rc)
		return rc;
	fd = socket_create();
	if (fd < 0)
		return fd;
	do
		rc = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	while (rc == -EINTR);
	if (rc) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

bool socket_listener_is_dead(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	/* 0: of another pid namespace */
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0 &&
	       kill(peer.pid, 0) < 0 && errno == ESRCH;
}

/* Connects; while that meets the socket of a dead process it tries again, for 200 ms. */
static int path_probe(struct os *os, const char *path)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	bool dead;
	int fd;
	int rc;

	for (int i = 0;; i++) {
		rc = real_socket_connect(os, path, &fd);
		if (rc)
			return rc;
		dead = socket_listener_is_dead(fd);
		close(fd);
		if (!dead || i == DEAD_TRIES)
			return 0;
		nanosleep(&pause, NULL);
	}
}

/* 0: free, or a socket without a listener. */
static int path_check(struct os *os, const char *path, struct reason *reason)
{
	struct stat st;
	int rc;

	if (lstat(path, &st) < 0)
		return 0; /* what else may be wrong with it, bind tells */
	if (!S_ISSOCK(st.st_mode))
		return reason_set(reason, -EEXIST,
			"%s exists and is not a socket: remove it or choose another path", path);
	rc = path_probe(os, path);
	if (rc == -ECONNREFUSED || rc == -ENOENT)
		return 0;
	if (rc == -EACCES || rc == -EPERM)
		return reason_set(reason, rc,
			"%s belongs to somebody else: remove it or choose another path", path);
	return reason_set(reason, -EADDRINUSE,
		"another process listens on %s: stop it or choose another path", path);
}

int directory_lock(const char *directory)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	for (int i = 0; i < DIRECTORY_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	close(fd);
	return -1;
}

static int socket_bind(int fd, const char *path, unsigned mode)
{
	struct sockaddr_un address;
	int rc = address_set(&address, path);

	if (rc)
		return rc;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (chmod(path, (mode_t)mode) < 0 || listen(fd, BACKLOG) < 0) {
		rc = -errno;
		unlink(path);
	}
	return rc;
}

/* Directory locked, path free or stale. */
static int socket_place(int fd, const char *path, unsigned mode)
{
	char fresh[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 16];
	int rc;

	snprintf(fresh, sizeof(fresh), "%s.%d", path, getpid());
	if (strlen(fresh) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		/* No room for a second name: there is a moment without a socket. */
		unlink(path);
		return socket_bind(fd, path, mode);
	}
	unlink(fresh);
	rc = socket_bind(fd, fresh, mode);
	if (rc)
		return rc;
	if (rename(fresh, path) < 0) {
		rc = -errno;
		unlink(fresh);
	}
	return rc;
}

int real_socket_listen(
	struct os *os, const char *path, unsigned mode, struct reason *reason, int *ret_fd)
{
	CLEANUP_FD int directory = -1;
	char copy[PATH_MAX];
	struct sockaddr_un address;
	int fd;
	int rc = address_set(&address, path);

	if (rc == -ENAMETOOLONG)
		return reason_set(reason, rc,
			"a socket path may have %zu characters and this one has %zu, use a shorter "
			"one: %s",
			sizeof(address.sun_path) - 1, strlen(path), path);
	if (rc)
		return reason_set(reason, rc, "the socket path is empty: give one");
	/* Without the lock all the same: only a start at the very same moment is at stake. */
	snprintf(copy, sizeof(copy), "%s", path);
	directory = directory_lock(dirname(copy));
	rc = path_check(os, path, reason);
	if (rc)
		return rc;
	fd = socket_create();
	if (fd < 0)
		return reason_set(reason, fd, "cannot create a socket: %s", strerror(-fd));
	snprintf(copy, sizeof(copy), "%s", path);
	sockets_record(os_real_of(os), directory, basename(copy));
	rc = socket_place(fd, path, mode);
	if (rc) {
		close(fd);
		return reason_set(
			reason, rc, "cannot create the socket %s: %s", path, strerror(-rc));
	}
	*ret_fd = fd;
	return 0;
}
