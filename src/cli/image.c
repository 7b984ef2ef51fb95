/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files and devices that are to become disks, as far as the user who types the command can see
 * them: made when they are to be made, and looked at for mistakes that would cost data. What cannot
 * be opened here is not judged: the daemon may be allowed more, and says what it finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_impl.h"

/* The same command again, after a restart say, finds the file that it has made. */
static bool image_check_size(const char *path, uint64_t size_bytes)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size_bytes)
		return true;
	if (stat(path, &st) < 0)
		cli_error("%s is a link to %s: remove it, or name the file itself", path,
			errno == ENOENT ? "what does not exist" : "what cannot be reached");
	else
		cli_error("%s exists already and has another size: leave out --size to attach it "
			  "as it is",
			path);
	return false;
}

bool image_make(const char *path, uint64_t size_bytes, bool *ret_made)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc;

	*ret_made = false;
	if (fd < 0 && errno == EEXIST)
		return image_check_size(path, size_bytes);
	if (fd < 0) {
		cli_error("cannot make %s: %s", path, strerror(errno));
		return false;
	}
	rc = ftruncate(fd, (off_t)size_bytes) < 0 ? -errno : 0;
	close(fd);
	*ret_made = true;
	if (rc)
		cli_error("cannot give %s its size: %s", path, strerror(-rc));
	return rc == 0;
}

/* A kind of image file whose bytes are not those of the disk, or NULL. */
static const char *image_format(int fd)
{
	static const struct {
		const char *name;
		unsigned offset, len;
		const char *magic;
	} formats[] = {
		{"qcow2", 0, 4, "QFI\xfb"},
		{"vmdk", 0, 4, "KDMV"},
		{"vmdk", 0, 21, "# Disk DescriptorFile"},
		{"vhdx", 0, 8, "vhdxfile"},
		{"vpc", 0, 8, "conectix"},
		{"vdi", 64, 4, "\x7f\x10\xda\xbe"},
		{"qed", 0, 4, "QED"},
	};
	char start[512] = {0};

	if (pread(fd, start, sizeof(start), 0) <= 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (memcmp(start + formats[i].offset, formats[i].magic, formats[i].len) == 0)
			return formats[i].name;
	}
	return NULL;
}

const char *image_format_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *format = fd < 0 ? NULL : image_format(fd);

	if (fd >= 0)
		close(fd);
	return format;
}

static bool image_check_format(const char *path)
{
	const char *format = image_format_of(path);

	if (format)
		cli_error("%s is a %s image and a machine would see it as it is: make a raw one of "
			  "it with 'qemu-img convert -O raw', or say --raw",
			path, format);
	return !format;
}

/* Mounted, swapped to, part of a RAID: whoever has opened it exclusively. */
static bool image_check_idle(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_EXCL);
	bool busy = fd < 0 && errno == EBUSY;

	if (fd >= 0)
		close(fd);
	if (busy)
		cli_error("%s is in use on this host (mounted, say): take it out of use first, or "
			  "say --readonly",
			path);
	return !busy;
}

bool image_check(const char *path, bool readonly, bool raw)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return true;
	if (S_ISDIR(st.st_mode)) {
		cli_error("%s is a directory: name a file or a device", path);
		return false;
	}
	if (S_ISBLK(st.st_mode))
		return readonly || image_check_idle(path);
	return !S_ISREG(st.st_mode) || raw || image_check_format(path);
}

bool image_check_blank(const char *path)
{
	static char start[1 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t length = fd < 0 ? 0 : pread(fd, start, sizeof(start), 0);
	bool store = length >= 8 && memcmp(start, "SPDKBLOB", 8) == 0;
	bool blank = true;

	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < length && blank; i++)
		blank = start[i] == 0;
	if (store)
		cli_error("there is a volume store on %s already: open it with 'sluice store "
			  "open', or say --force and lose it",
			path);
	else if (!blank)
		cli_error("%s is not empty: name another, or say --force and lose what is on it",
			path);
	return blank;
}
