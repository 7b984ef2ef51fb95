/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /sys/bus/pci: what a function is, who drives it, which IOMMU group it is in; and of drives that
 * the kernel's driver has, their names (nvme/nvmeN/model) and block devices.
 *
 * A block device is in use when it, or a partition of it, cannot be opened with O_EXCL: file
 * systems, RAID, device mapper and swap hold theirs that way.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/nvme_impl.h"

#define PCI_DEVICES "/sys/bus/pci/devices"
#define NVME_CLASS  "0x010802"
#define PATH_SIZE   512

/* ---- files --------------------------------------------------------------------------------- */

static void text_read(const char *path, char *ret_text, size_t size)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, ret_text, size - 1);

	if (len < 0)
		len = 0;
	while (len > 0 && (ret_text[len - 1] == '\n' || ret_text[len - 1] == ' '))
		len--;
	ret_text[len] = '\0';
}

static int text_write(const char *path, const char *text)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* The last part of what a link points to; "" when it is none. */
static void link_read(const char *path, char *ret_text, size_t size)
{
	char target[PATH_SIZE];
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	if (len < 0)
		len = 0;
	target[len] = '\0';
	slash = strrchr(target, '/');
	snprintf(ret_text, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

int nvme_function_write(const struct nvme_function *function, const char *file, const char *text)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", function->address, file);
	return text_write(path, text);
}

void pci_bus_probe(const char *address)
{
	int rc = text_write("/sys/bus/pci/drivers_probe", address);

	(void)rc; /* it also fails when no driver takes the function */
}

bool pci_has_driver(const char *driver)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s", driver);
	return access(path, F_OK) == 0;
}

/* ---- a folder's first member of that beginning --------------------------------------------- */

/* Calls fn with each name that begins so, until it says true. */
static bool folder_each(const char *path, const char *begin,
	bool (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	bool found = false;

	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, begin, strlen(begin)) == 0)
			found = fn(path, entry->d_name, arg);
	}
	closedir(dir);
	return found;
}

/* ---- a function ---------------------------------------------------------------------------- */

static bool controller_read(const char *path, const char *name, void *arg)
{
	struct nvme_function *function = arg;
	char file[PATH_SIZE];

	snprintf(file, sizeof(file), "%.300s/%.100s/model", path, name);
	text_read(file, function->model, sizeof(function->model));
	snprintf(file, sizeof(file), "%.300s/%.100s/serial", path, name);
	text_read(file, function->serial, sizeof(function->serial));
	snprintf(file, sizeof(file), "%.300s/%.100s/firmware_rev", path, name);
	text_read(file, function->firmware, sizeof(function->firmware));
	return true;
}

bool nvme_function_read(const char *address, struct nvme_function *ret_function, bool *ret_is_nvme)
{
	char path[PATH_SIZE];
	char class[NVME_TEXT];

	memset(ret_function, 0, sizeof(*ret_function));
	snprintf(ret_function->address, sizeof(ret_function->address), "%s", address);
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/class", address);
	text_read(path, class, sizeof(class));
	*ret_is_nvme = strcmp(class, NVME_CLASS) == 0;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", address);
	link_read(path, ret_function->driver, sizeof(ret_function->driver));
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/iommu_group", address);
	link_read(path, ret_function->group, sizeof(ret_function->group));
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/nvme", address);
	folder_each(path, "nvme", controller_read, ret_function);
	return class[0] != '\0';
}

struct functions {
	struct nvme_function *all;
	unsigned count;
};

static bool function_add(const char *path, const char *name, void *arg)
{
	struct functions *functions = arg;
	struct nvme_function function;
	struct nvme_function *grown;
	char address[PCI_ADDRESS_SIZE];
	bool is_nvme;

	if (pci_address_parse(name, address) || !nvme_function_read(address, &function, &is_nvme) ||
		!is_nvme)
		return false;
	grown = realloc(functions->all, (functions->count + 1) * sizeof(*grown));
	if (!grown)
		return true;
	functions->all = grown;
	functions->all[functions->count++] = function;
	return false;
}

static int function_compare(const void *a, const void *b)
{
	return strcmp(((const struct nvme_function *)a)->address,
		((const struct nvme_function *)b)->address);
}

unsigned nvme_functions_find(struct nvme_function **ret_functions)
{
	struct functions functions = {0};

	folder_each(PCI_DEVICES, "", function_add, &functions);
	if (functions.count > 1)
		qsort(functions.all, functions.count, sizeof(*functions.all), function_compare);
	*ret_functions = functions.all;
	return functions.count;
}

/* ---- who uses it --------------------------------------------------------------------------- */

static bool block_is_used(const char *name)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/dev/%.100s", name);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	return fd < 0 && errno == EBUSY;
}

static bool block_look(const char *path, const char *name, void *arg)
{
	char inside[PATH_SIZE];

	if (block_is_used(name)) {
		snprintf(arg, NVME_TEXT, "/dev/%.50s", name);
		return true;
	}
	snprintf(inside, sizeof(inside), "%.300s/%.100s", path, name);
	return strchr(name, 'p') ? false : folder_each(inside, name, block_look, arg);
}

static bool controller_look(const char *path, const char *name, void *arg)
{
	char inside[PATH_SIZE];

	snprintf(inside, sizeof(inside), "%.300s/%.100s", path, name);
	return folder_each(inside, "nvme", block_look, arg);
}

void nvme_function_find_user(const struct nvme_function *function, char ret_name[NVME_TEXT])
{
	char path[PATH_SIZE];

	ret_name[0] = '\0';
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/nvme", function->address);
	folder_each(path, "nvme", controller_look, ret_name);
}
