/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The directory of sockets: what a daemon that was killed has left there goes when the next one
 * starts.
 *
 * DIRECTORY/.sluice-sockets, the record, holds the names of sockets that daemons have made there,
 * one a line: what is not in it is not ours, and is never touched. Each daemon that uses the
 * directory holds a shared lock (flock) on the record for its life. Who starts and gets the lock
 * exclusively is alone: no daemon lives that could own one of those names, and what gives
 * ECONNREFUSED (the kernel's word that nobody listens), or takes a connection for a process that is
 * dead (real_listen.c), is removed. So a daemon beside others never
 * even connects to their sockets, to which that would be the visit of a front-end. What it cannot
 * remove for their sake waits until somebody is alone.
 *
 * The record is opened, locked, changed and removed with the directory locked (real_listen.c), so
 * that it is always the file at its path whose lock is held. A name is written before its socket
 * appears, and stays after it has gone; now and then names of what is gone are dropped. All of this
 * is a service: where it does not work (no room, no right, somebody else's directory), sockets are
 * made all the same. Whoever may write the directory may write a record too: it can make us remove
 * nothing but our own sockets in that directory that nobody listens on.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_NAME ".sluice-sockets"
#define RECORD_MAX  (16 * MIB) /* what is longer was not written by us */
#define RECORD_KEPT (64 * KIB) /* beyond, names of what is gone are dropped */

/* The text of the record, with a newline before its first name; NULL: it cannot be read. */
static char *record_read(int fd)
{
	struct stat st;
	char *text;
	ssize_t len;

	if (fstat(fd, &st) < 0 || st.st_size > (off_t)RECORD_MAX)
		return NULL;
	text = malloc((size_t)st.st_size + 2);
	if (!text)
		return NULL;
	text[0] = '\n';
	len = pread(fd, text + 1, (size_t)st.st_size, 0);
	text[1 + (len > 0 ? len : 0)] = '\0';
	return text;
}

static bool record_has(const char *text, const char *name)
{
	char line[NAME_MAX + 3];

	snprintf(line, sizeof(line), "\n%s\n", name);
	return strstr(text, line) != NULL;
}

static void record_append(const struct os_real *real, const char *name)
{
	char line[NAME_MAX + 2];
	int len = snprintf(line, sizeof(line), "%s\n", name);

	if (write(real->sockets.record_fd, line, (size_t)len) != len)
		log_notice("the socket %s/%s is not recorded and stays if this process is killed",
			real->sockets.directory, name);
}

/* Is it still there? With remove, what nobody listens on is removed. */
static bool socket_remains(struct os_real *real, const char *name, bool remove)
{
	char path[PATH_MAX];
	struct stat st;
	bool dead;
	int fd;
	int rc;

	if (strchr(name, '/') || snprintf(path, sizeof(path), "%s/%s", real->sockets.directory,
					 name) >= (int)sizeof(path))
		return false;
	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
		return false;
	if (!remove)
		return true;
	rc = real_socket_connect(&real->os, path, &fd);
	dead = rc == -ECONNREFUSED;
	if (rc == 0) {
		dead = socket_listener_is_dead(fd);
		close(fd);
	}
	if (!dead)
		return true;
	log_notice("removing the socket %s, which a daemon that was killed has left", path);
	return unlink(path) < 0;
}

/* Writes the record anew with what remains; how many names that is. */
static unsigned record_clean(struct os_real *real, bool remove)
{
	CLEANUP_FREE char *text = record_read(real->sockets.record_fd);
	unsigned count = 0;
	char *rest = text;
	char *name;

	if (!text || ftruncate(real->sockets.record_fd, 0) < 0)
		return 1;
	while ((name = strsep(&rest, "\n"))) {
		if (!*name || !socket_remains(real, name, remove))
			continue;
		record_append(real, name);
		count++;
	}
	return count;
}

static int record_open(int directory)
{
	struct stat st;
	int fd = openat(directory, RECORD_NAME,
		O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid())
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

void os_real_sockets_open(struct os *os, const char *directory)
{
	struct os_real *real = os_real_of(os);
	CLEANUP_FD int lock = directory_lock(directory);
	struct stat st;

	if (lock < 0 || fstat(lock, &st) < 0)
		return;
	real->sockets.record_fd = record_open(lock);
	real->sockets.record_limit = RECORD_KEPT;
	real->sockets.directory = strdup(directory);
	real->sockets.device = st.st_dev;
	real->sockets.inode = st.st_ino;
	if (real->sockets.record_fd < 0 || !real->sockets.directory) {
		log_notice("sockets in %s are not recorded and stay if this process is killed",
			directory);
		return;
	}
	if (flock(real->sockets.record_fd, LOCK_EX | LOCK_NB) == 0)
		record_clean(real, true);
	flock(real->sockets.record_fd, LOCK_SH | LOCK_NB);
}

void os_real_sockets_close(struct os *os)
{
	struct os_real *real = os_real_of(os);
	CLEANUP_FD int lock = -1;

	if (real->sockets.record_fd >= 0)
		lock = directory_lock(real->sockets.directory);
	if (lock >= 0 && flock(real->sockets.record_fd, LOCK_EX | LOCK_NB) == 0 &&
		record_clean(real, true) == 0)
		unlinkat(lock, RECORD_NAME, 0);
	if (real->sockets.record_fd >= 0)
		close(real->sockets.record_fd);
	free(real->sockets.directory);
	real->sockets.record_fd = -1;
	real->sockets.directory = NULL;
}

void sockets_record(struct os_real *real, int directory, const char *name)
{
	CLEANUP_FREE char *text = NULL;
	struct stat st;

	if (real->sockets.record_fd < 0 || directory < 0 || fstat(directory, &st) < 0 ||
		st.st_dev != real->sockets.device || st.st_ino != real->sockets.inode)
		return;
	text = record_read(real->sockets.record_fd);
	if (!text || strchr(name, '\n') || record_has(text, name))
		return;
	record_append(real, name);
	if (strlen(text) < real->sockets.record_limit)
		return;
	record_clean(real, false);
	if (fstat(real->sockets.record_fd, &st) == 0)
		real->sockets.record_limit = 2 * (size_t)st.st_size + RECORD_KEPT;
}
