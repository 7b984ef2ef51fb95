/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each function has a container, and so an address space, of its own. A group whose functions are
 * not all in our hands, or bound to no driver, is not viable: the kernel keeps it from us.
 */
#include "os/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define VFIO_BARS 6

struct vfio_function {
	int container;
	int group;
	int device;
	off_t config_offset;
	struct vfio_range ranges[VFIO_RANGES_MAX];
	unsigned range_count;
	void *bars[VFIO_BARS];
	size_t bar_sizes[VFIO_BARS];
};

/* ---- opening ------------------------------------------------------------ */

static int vfio_open_container(struct vfio_function *function, struct reason *reason)
{
	function->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (function->container < 0)
		return reason_set(reason, -errno,
			"/dev/vfio/vfio cannot be opened (%s): load the module vfio-pci, and let "
			"this user open it",
			strerror(errno));
	if (ioctl(function->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
		ioctl(function->container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1)
		return reason_set(reason, -EOPNOTSUPP,
			"this kernel has no VFIO of type 1: is there an IOMMU, and is it on "
			"(intel_iommu=on)?");
	return 0;
}

/* The number of the group, from its link in sysfs. */
static int vfio_find_group(const char *address, struct reason *reason, char *ret_path, size_t size)
{
	char link[128], target[PATH_MAX];
	ssize_t length;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s", address);
	if (access(link, F_OK) < 0)
		return reason_set(reason, -ENOENT,
			"there is no PCI function %s: addresses are like 0000:01:00.0", address);
	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", address);
	length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return reason_set(reason, -EOPNOTSUPP,
			"no IOMMU is in front of %s: switch it on in the firmware and the kernel "
			"(intel_iommu=on)",
			address);
	target[length] = '\0';
	snprintf(ret_path, size, "/dev/vfio/%s", basename(target));
	return 0;
}

static int vfio_open_group(
	struct vfio_function *function, const char *address, struct reason *reason)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};
	char path[64];
	int rc = vfio_find_group(address, reason, path, sizeof(path));

	if (rc)
		return rc;
	function->group = open(path, O_RDWR | O_CLOEXEC);
	if (function->group < 0 && errno == ENOENT)
		return reason_set(reason, -ENODEV, "%s is not bound to vfio-pci", address);
	if (function->group < 0)
		return reason_set(reason, -errno, "%s of %s cannot be opened: %s", path, address,
			errno == EBUSY ? "another process has the drive" : strerror(errno));
	if (ioctl(function->group, VFIO_GROUP_GET_STATUS, &status) < 0)
		return -errno;
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return reason_set(reason, -EPERM,
			"others of the IOMMU group of %s have drivers of the kernel: bind them to "
			"vfio-pci as well",
			address);
	if (ioctl(function->group, VFIO_GROUP_SET_CONTAINER, &function->container) < 0 ||
		ioctl(function->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
		return reason_set(reason, -errno, "the IOMMU group of %s cannot be used: %s",
			address, strerror(errno));
	return 0;
}

static int vfio_open_device(
	struct vfio_function *function, const char *address, struct reason *reason)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX};

	function->device = ioctl(function->group, VFIO_GROUP_GET_DEVICE_FD, address);
	if (function->device < 0)
		return reason_set(reason, -ENODEV, "%s is not bound to vfio-pci (%s)", address,
			strerror(errno));
	if (ioctl(function->device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
		return -errno;
	function->config_offset = (off_t)info.offset;
	return 0;
}

/* ---- addresses ---------------------------------------------------------- */

static void vfio_take_ranges(
	struct vfio_function *function, const uint8_t *info, uint32_t size, uint32_t offset)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap = (const void *)(info + offset);

	if (offset + sizeof(*cap) > size ||
		cap->nr_iovas > (size - offset - sizeof(*cap)) / sizeof(cap->iova_ranges[0]))
		return;
	for (uint32_t i = 0; i < cap->nr_iovas && function->range_count < VFIO_RANGES_MAX; i++)
		function->ranges[function->range_count++] =
			(struct vfio_range){cap->iova_ranges[i].start, cap->iova_ranges[i].end};
}

static int vfio_read_ranges(struct vfio_function *function)
{
	uint8_t info[4096] __attribute__((aligned(8))) = {0};
	struct vfio_iommu_type1_info *head = (void *)info;
	uint32_t at;

	head->argsz = sizeof(info);
	if (ioctl(function->container, VFIO_IOMMU_GET_INFO, info) < 0)
		return -errno;
	at = head->flags & VFIO_IOMMU_INFO_CAPS ? head->cap_offset : 0;
	for (unsigned i = 0;
		i < 16 && at && at + sizeof(struct vfio_info_cap_header) <= sizeof(info); i++) {
		const struct vfio_info_cap_header *cap = (const void *)(info + at);

		if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
			vfio_take_ranges(function, info, sizeof(info), at);
		at = cap->next;
	}
	if (function->range_count == 0) /* an old kernel: what every IOMMU can */
		function->ranges[function->range_count++] =
			(struct vfio_range){0, (UINT64_C(1) << 39) - 1};
	return 0;
}

unsigned vfio_ranges(const struct vfio_function *function, const struct vfio_range **ret_ranges)
{
	*ret_ranges = function->ranges;
	return function->range_count;
}

int vfio_dma_map(struct vfio_function *function, void *addr, size_t len, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)addr,
		.iova = iova,
		.size = len,
	};

	return ioctl(function->container, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

void vfio_dma_unmap(struct vfio_function *function, uint64_t iova, size_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = len};

	ioctl(function->container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

/* ---- life --------------------------------------------------------------- */

int vfio_open(const char *address, struct reason *reason, struct vfio_function **ret_function)
{
	struct vfio_function *function = calloc(1, sizeof(*function));
	int rc;

	if (!function)
		return -ENOMEM;
	function->container = function->group = function->device = -1;
	rc = vfio_open_container(function, reason);
	if (!rc)
		rc = vfio_open_group(function, address, reason);
	if (!rc)
		rc = vfio_open_device(function, address, reason);
	if (!rc)
		rc = vfio_read_ranges(function);
	if (rc) {
		vfio_close(function);
		return rc;
	}
	*ret_function = function;
	return 0;
}

static void vfio_close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vfio_close(struct vfio_function *function)
{
	for (unsigned i = 0; i < VFIO_BARS; i++)
		if (function->bars[i])
			munmap(function->bars[i], function->bar_sizes[i]);
	vfio_close_fd(function->device);
	vfio_close_fd(function->group);
	vfio_close_fd(function->container);
	free(function);
}

/* ---- the function ------------------------------------------------------- */

int vfio_map_bar(struct vfio_function *function, unsigned bar, void **ret_addr, size_t *ret_size)
{
	struct vfio_region_info info = {.argsz = sizeof(info), .index = bar};
	void *addr;

	if (ioctl(function->device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
		return -errno;
	if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return -EOPNOTSUPP;
	addr = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, function->device,
		(off_t)info.offset);
	if (addr == MAP_FAILED)
		return -errno;
	function->bars[bar] = addr;
	function->bar_sizes[bar] = info.size;
	*ret_addr = addr;
	*ret_size = info.size;
	return 0;
}

int vfio_config_read(struct vfio_function *function, unsigned offset, void *buf, size_t len)
{
	ssize_t count = pread(function->device, buf, len, function->config_offset + offset);

	return count == (ssize_t)len ? 0 : count < 0 ? -errno : -EIO;
}

int vfio_config_write(struct vfio_function *function, unsigned offset, const void *buf, size_t len)
{
	ssize_t count = pwrite(function->device, buf, len, function->config_offset + offset);

	return count == (ssize_t)len ? 0 : count < 0 ? -errno : -EIO;
}

int vfio_reset(struct vfio_function *function)
{
	if (ioctl(function->device, VFIO_DEVICE_RESET) == 0)
		return 0;
	return errno == ENOTTY || errno == EINVAL ? -EOPNOTSUPP : -errno;
}

unsigned vfio_vectors(struct vfio_function *function)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_MSIX_IRQ_INDEX};

	if (ioctl(function->device, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0)
		return 0;
	return info.count;
}

int vfio_set_vectors(struct vfio_function *function, const int *eventfds, unsigned count)
{
	size_t size = sizeof(struct vfio_irq_set) + count * sizeof(int32_t);
	struct vfio_irq_set *set = calloc(1, size);
	int rc = 0;

	if (!set)
		return -ENOMEM;
	set->argsz = (uint32_t)size;
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = count;
	memcpy(set->data, eventfds, count * sizeof(int32_t));
	if (ioctl(function->device, VFIO_DEVICE_SET_IRQS, set) < 0)
		rc = -errno;
	free(set);
	return rc;
}
