/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A namespace as a block device: its requests are the driver's (nvme/qpair.h), which cuts and
 * repeats them. What the drive says of itself is what users are told: block size, deallocation, and
 * how much of a write a power failure cannot tear. A store whose pages are larger than that is
 * warned about. What an UNMAP leaves is not told, whatever DLFEAT says of deallocated blocks: a
 * drive need not deallocate what it is asked to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/nvme_impl.h"
#include "base/alloc.h"

#define NVME_STORE_PAGE 4096u

_Static_assert(sizeof(struct nvme_request) <= BDEV_IO_BACKEND_SIZE, "fits in the request");

/* ---- requests ----------------------------------------------------------- */

static void nvme_request_done(struct nvme_request *request)
{
	struct bdev_io *io = container_of(request, struct bdev_io, backend.bytes);

	bdev_io_complete(io, request->status);
}

static const uint8_t nvme_request_types[BDEV_IO_TYPES] = {
	[BDEV_IO_READ] = NVME_REQUEST_READ,
	[BDEV_IO_WRITE] = NVME_REQUEST_WRITE,
	[BDEV_IO_FLUSH] = NVME_REQUEST_FLUSH,
	[BDEV_IO_UNMAP] = NVME_REQUEST_DEALLOCATE,
	[BDEV_IO_WRITE_ZEROES] = NVME_REQUEST_ZEROES,
};

static void nvme_bdev_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	const struct nvme_bdev *own = nvme_bdev_of(channel->bdev);
	struct nvme_request *request = (struct nvme_request *)io->backend.bytes;
	uint64_t size = bdev_size(channel->bdev);

	if (unlikely(io->type >= BDEV_IO_EXTENT)) {
		bdev_io_complete(io, -EOPNOTSUPP);
		return;
	}
	if (unlikely(io->type != BDEV_IO_FLUSH &&
		     (io->offset > size || io->length > size - io->offset))) {
		bdev_io_complete(io, -EIO); /* it has shrunk since the request was checked */
		return;
	}
	request->iov = io->iov;
	request->iovcnt = io->iovcnt;
	request->ns = &own->ns;
	request->offset = io->offset;
	request->length = io->length;
	request->done = nvme_request_done;
	request->type = nvme_request_types[io->type];
	request->flags = (io->flags & BDEV_IO_FUA ? NVME_REQUEST_FUA : 0) |
			 (io->flags & BDEV_IO_NO_UNMAP ? NVME_REQUEST_KEEP : 0);
	nvme_qpair_submit(nvme_channel_of(channel)->qpair, request);
}

/* ---- what it is --------------------------------------------------------- */

static const struct nvme_identify_controller *nvme_bdev_identity(const struct bdev *bdev)
{
	return nvme_controller_identity(nvme_bdev_of(bdev)->drive->controller);
}

static bool nvme_bdev_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	switch (type) {
	case BDEV_IO_READ:
	case BDEV_IO_WRITE:
	case BDEV_IO_FLUSH:
		return true;
	case BDEV_IO_UNMAP:
		return nvme_bdev_identity(bdev)->oncs & NVME_ONCS_DEALLOCATE;
	case BDEV_IO_WRITE_ZEROES:
		return nvme_bdev_identity(bdev)->oncs & NVME_ONCS_WRITE_ZEROES;
	case BDEV_IO_EXTENT:
	case BDEV_IO_TYPES:
		break;
	}
	return false;
}

json_t *nvme_text(const char *text, size_t size)
{
	char copy[64];

	while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\0'))
		size--;
	for (size_t i = 0; i < size; i++)
		copy[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	return json_stringn(copy, size);
}

static json_t *nvme_controller_describe(const struct nvme_identify_controller *id)
{
	char vendor[8];

	snprintf(vendor, sizeof(vendor), "0x%04x", id->vid);
	return json_pack("{si ss so so so s{sb sb sb sb} sb sb}", "cntlid", id->cntlid, "vendor_id",
		vendor, "model_number", nvme_text(id->mn, sizeof(id->mn)), "serial_number",
		nvme_text(id->sn, sizeof(id->sn)), "firmware_revision",
		nvme_text(id->fr, sizeof(id->fr)), "oacs", "security",
		(id->oacs & NVME_OACS_SECURITY) != 0, "format", (id->oacs & NVME_OACS_FORMAT) != 0,
		"firmware", (id->oacs & NVME_OACS_FIRMWARE) != 0, "ns_manage",
		(id->oacs & NVME_OACS_NAMESPACES) != 0, "multi_ctrlr",
		(id->cmic & NVME_CMIC_MULTI_CONTROLLER) != 0, "ana_reporting", false);
}

static json_t *nvme_bdev_describe(const struct bdev *bdev)
{
	const struct nvme_bdev *own = nvme_bdev_of(bdev);
	const struct nvme_controller *controller = own->drive->controller;
	const struct nvme_transport *transport = nvme_controller_transport(controller);
	uint32_t version = nvme_controller_version(controller);
	char text[16];

	snprintf(text, sizeof(text), "%u.%u", version >> 16, version >> 8 & 0xff);
	return json_pack("{s[{ss s{ss ss} so s{ss} s{si sb}}] ss}", "nvme", "pci_address",
		transport->address, "trid", "trtype", transport->ops->type, "traddr",
		transport->address, "ctrlr_data",
		nvme_controller_describe(nvme_controller_identity(controller)), "vs",
		"nvme_version", text, "ns_data", "id", (int)own->ns.nsid, "can_share",
		own->ns.shared, "mp_policy", "active_passive");
}

/* ---- life --------------------------------------------------------------- */

static void nvme_bdev_destroy_run(struct deferred *deferred)
{
	struct nvme_bdev *own = container_of(deferred, struct nvme_bdev, destroy);
	struct nvme_drive *drive = own->drive;
	done_fn done = own->destroyed;
	void *arg = own->arg;

	list_remove(&own->link);
	free(own->name);
	free(own);
	done(arg, 0);
	nvme_drive_check_idle(drive);
}

static void nvme_bdev_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct nvme_bdev *own = nvme_bdev_of(bdev);

	own->destroy.run = nvme_bdev_destroy_run;
	own->destroyed = done;
	own->arg = arg;
	reactor_defer(own->drive->control, DEFER_COMPLETE, &own->destroy);
}

static const struct bdev_ops nvme_bdev_ops = {
	.product_name = "NVMe disk",
	.module = "nvme",
	.submit = nvme_bdev_submit,
	.channel_size = sizeof(struct nvme_channel),
	.channel_prepare = nvme_channel_prepare,
	.channel_release = nvme_channel_release,
	.supports = nvme_bdev_supports,
	.describe = nvme_bdev_describe,
	.destroy = nvme_bdev_destroy,
};

bool bdev_is_nvme(const struct bdev *bdev)
{
	return bdev->ops == &nvme_bdev_ops;
}

static void nvme_bdev_fill(struct nvme_bdev *own)
{
	const struct nvme_namespace *ns = &own->ns;
	struct bdev *bdev = &own->bdev;

	bdev->ops = &nvme_bdev_ops;
	bdev->name = own->name;
	uuid_copy(bdev->uuid, ns->uuid);
	bdev->block_size = UINT32_C(1) << ns->block_shift;
	bdev->size_bytes = ns->blocks << ns->block_shift;
	bdev->optimal_io_bytes = ns->boundary << ns->block_shift;
	bdev->atomic_write_bytes = ns->atomic_blocks << ns->block_shift;
}

void nvme_bdev_create(struct nvme_drive *drive, const struct nvme_namespace *ns)
{
	struct nvme_bdev *own = alloc_op(sizeof(*own));
	struct reason reason = {0};
	int rc;

	own->drive = drive;
	own->ns = *ns;
	own->seen = true;
	if (asprintf(&own->name, "%sn%u", drive->name, ns->nsid) < 0)
		own->name = NULL;
	nvme_bdev_fill(own);
	rc = own->name ? bdev_register(drive->registry, &own->bdev, &reason) : -ENOMEM;
	if (rc) {
		log_warning("namespace %u of %s is no block device: %s", ns->nsid, drive->name,
			reason_text(&reason, rc));
		free(own->name);
		free(own);
		return;
	}
	list_add_tail(&drive->bdevs, &own->link);
	if (own->bdev.atomic_write_bytes < NVME_STORE_PAGE)
		log_notice("%s promises to write no more than %u bytes in one piece: a power cut "
			   "can tear the pages of a volume store on it",
			own->bdev.name, own->bdev.atomic_write_bytes);
}
