/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flock() on the very open file that does the I/O: the kernel keeps the lock until the last
 * operation of a dead process has ended, which is what a successor must wait for (design, Claims).
 *
 * Who holds it is read from /proc/locks, whose lines are
 *	1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
 * with device and inode of the file that the lock is on (of a block device: of its node). The
 * process is the one that took the lock; "->" marks those that wait. In another pid namespace, or
 * on file systems whose stat() tells another device number, nobody is found and the sentence
 * names nobody.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void program_name(int pid, char *ret_name, size_t size)
{
	char path[64];
	FILE *file;

	snprintf(ret_name, size, "a program");
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(ret_name, (int)size, file))
		ret_name[strcspn(ret_name, "\n")] = '\0';
	fclose(file);
}

/* Process id, 0 when not told. */
static int lock_holder(int fd)
{
	unsigned long long inode;
	unsigned major_number;
	unsigned minor_number;
	struct stat st;
	char line[256];
	FILE *file;
	int holder = 0;
	int pid;

	if (fstat(fd, &st) < 0)
		return 0;
	file = fopen("/proc/locks", "re");
	if (!file)
		return 0;
	while (holder == 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*u: FLOCK %*s %*s %d %x:%x:%llu", &pid, &major_number,
			    &minor_number, &inode) != 4)
			continue;
		if (inode == st.st_ino && major_number == major(st.st_dev) &&
			minor_number == minor(st.st_dev) && pid > 0)
			holder = pid;
	}
	fclose(file);
	return holder;
}

static int holder_tell(int fd, struct reason *reason)
{
	char name[32];
	int pid = lock_holder(fd);

	if (pid == 0)
		return reason_set(reason, -EWOULDBLOCK,
			"another process has it locked: stop that one, or use another file");
	if (pid == getpid())
		return reason_set(reason, -EWOULDBLOCK,
			"this process (%d) has it open for another device: delete that one first, "
			"or use another file",
			pid);
	program_name(pid, name, sizeof(name));
	return reason_set(reason, -EWOULDBLOCK,
		"%s (process %d) has it locked: stop that one, or use another file", name, pid);
}

int real_file_lock(struct os *os, int fd, bool exclusive, struct reason *reason)
{
	int rc;

	do
		rc = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return holder_tell(fd, reason);
	rc = -errno;
	return reason_set(reason, rc, "cannot lock it: %s", strerror(-rc));
}

int real_file_unlock(struct os *os, int fd)
{
	return flock(fd, LOCK_UN) < 0 ? -errno : 0;
}
