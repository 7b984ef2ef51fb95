/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Drives: NVMe controllers whose namespaces are block devices, named after drive and namespace
 * ("Nvme0n1"). Control reactor.
 *
 * Namespaces that come, go or change in size while the drive is attached do so as block devices.
 * A drive that is gone takes its block devices with it and stays as a name until it is detached.
 */
#ifndef BACKEND_NVME_H
#define BACKEND_NVME_H

#include "bdev/bdev.h"
#include "nvme/controller.h"

struct nvme_drive;

/* Takes the transport over. options and name are copied, reason is borrowed. *ret_drive is set
 * before done(0). -errno as nvme_controller_open. */
void nvme_drive_attach(struct bdev_registry *registry, struct nvme_transport *transport,
	const char *name, const struct nvme_options *options, struct reason *reason,
	struct nvme_drive **ret_drive, done_fn done, void *arg);
/* Its block devices are unregistered, it is shut down and freed. Once. */
void nvme_drive_detach(struct nvme_drive *drive, done_fn done, void *arg);
/* While it is not being detached. */
void nvme_drive_reset(struct nvme_drive *drive, struct reason *reason, done_fn done, void *arg);
/* While it is not being detached: NVME_LOG_HEALTH. -ENODEV when it is gone. */
void nvme_drive_read_health(
	struct nvme_drive *drive, struct nvme_health *ret_health, done_fn done, void *arg);

/* Is memory that begins at addr (bdev/memory.h) mapped for it, or about to be? Lets go of that. */
bool nvme_drive_has_memory(const struct nvme_drive *drive, const void *addr);
void nvme_drive_leave_memory(struct nvme_drive *drive, const void *addr, done_fn done, void *arg);

/* Its block devices, in the order in which they came; NULL behind the last. */
struct bdev *nvme_drive_bdev(const struct nvme_drive *drive, unsigned index);
const struct nvme_controller *nvme_drive_controller(const struct nvme_drive *drive);
bool bdev_is_nvme(const struct bdev *bdev);

/* Text of a drive, padded with spaces and of any bytes, as a JSON string. */
json_t *nvme_text(const char *text, size_t size);

#endif
