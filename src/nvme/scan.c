/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the namespaces of a controller are (base 5.17.2, nvm 4.1.5).
 *
 * A namespace is used when it has the NVM command set, blocks of 512 to 65536 bytes and no
 * metadata; of another one `problem` says why it is not. Up to NVME_NSIDS_MAX namespaces are looked
 * at. One that is gone between the list and the look at it counts as not there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "nvme/controller_impl.h"

#define NVME_BLOCK_SHIFT_MIN 9
#define NVME_BLOCK_SHIFT_MAX 16

struct nvme_scan_op {
	struct flow flow;
	struct nvme_controller *controller;
	struct nvme_admin_command command;
	uint32_t nsids[NVME_NSIDS_MAX]; /* ends with 0 */
	struct nvme_identify_namespace identity;
	uint8_t descriptors[NVME_IDENTIFY_BYTES];
	struct nvme_namespace *found;
	unsigned count;
	unsigned index;
	done_fn done;
	void *arg;
};

/* ---- one namespace ------------------------------------------------------ */

/* The descriptor of that type, or NULL. */
static const uint8_t *nvme_descriptor_find(
	const uint8_t *descriptors, unsigned type, unsigned length)
{
	size_t at = 0;

	while (at + sizeof(struct nvme_descriptor) + length <= NVME_IDENTIFY_BYTES) {
		const struct nvme_descriptor *descriptor = (const void *)(descriptors + at);

		if (descriptor->length == 0)
			return NULL;
		if (descriptor->type == type && descriptor->length == length)
			return descriptors + at + sizeof(*descriptor);
		at += sizeof(*descriptor) + descriptor->length;
	}
	return NULL;
}

/* The first that it has; an EUI-64 makes a UUID only together with zeroes. */
static void nvme_namespace_set_uuid(struct nvme_namespace *ns,
	const struct nvme_identify_namespace *id, const uint8_t *descriptors)
{
	const uint8_t *uuid =
		nvme_descriptor_find(descriptors, NVME_DESCRIPTOR_UUID, sizeof(uuid_t));
	static const uint8_t none[16];

	uuid_clear(ns->uuid);
	if (uuid)
		memcpy(ns->uuid, uuid, sizeof(ns->uuid));
	else if (memcmp(id->nguid, none, sizeof(id->nguid)) != 0)
		memcpy(ns->uuid, id->nguid, sizeof(ns->uuid));
	else
		memcpy(ns->uuid + 8, id->eui64, sizeof(id->eui64));
}

static const char *nvme_namespace_problem(
	const struct nvme_identify_namespace *id, const uint8_t *descriptors, uint32_t transfer_max)
{
	const struct nvme_lba_format *format = &id->lbaf[NVME_FLBAS_FORMAT(id->flbas)];
	const uint8_t *csi = nvme_descriptor_find(descriptors, NVME_DESCRIPTOR_CSI, 1);

	if (csi && *csi != NVME_CSI_NVM)
		return "it is zoned, or has another command set than that of blocks";
	if (format->lbads < NVME_BLOCK_SHIFT_MIN || format->lbads > NVME_BLOCK_SHIFT_MAX)
		return "its blocks have a size that is not from 512 to 65536";
	if (UINT64_C(1) << format->lbads > transfer_max)
		return "its blocks are larger than what the drive transfers at once";
	if (format->ms)
		return "its blocks have metadata: format it without";
	if (id->nsze == 0 || id->nsze > (uint64_t)INT64_MAX >> format->lbads)
		return "its size makes no sense";
	return NULL;
}

static void nvme_namespace_take(struct nvme_scan_op *op)
{
	const struct nvme_identify_controller *controller = &op->controller->identity;
	const struct nvme_identify_namespace *id = &op->identity;
	struct nvme_namespace *ns = &op->found[op->count++];
	bool own_atomic = id->nsfeat & NVME_NSFEAT_ATOMIC;

	*ns = (struct nvme_namespace){
		.nsid = op->nsids[op->index],
		.blocks = id->nsze,
		.block_shift = id->lbaf[NVME_FLBAS_FORMAT(id->flbas)].lbads,
		.shared = id->nmic & NVME_NMIC_SHARED,
		.zeroes_deallocate = id->dlfeat & NVME_DLFEAT_ZEROES_DEALLOCATE,
		.boundary = id->noiob,
		.atomic_blocks = (own_atomic ? id->nawupf : controller->awupf) + 1u,
		.problem =
			nvme_namespace_problem(id, op->descriptors, op->controller->transfer_max),
	};
	nvme_namespace_set_uuid(ns, id, op->descriptors);
}

/* ---- all of them -------------------------------------------------------- */

static uint32_t nvme_nsid_at(const struct nvme_scan_op *op)
{
	return op->index < NVME_NSIDS_MAX ? op->nsids[op->index] : 0;
}

static int nvme_scan_alloc(struct nvme_scan_op *op)
{
	unsigned count = 0;

	while (count < NVME_NSIDS_MAX && op->nsids[count])
		count++;
	op->found = calloc(count + 1, sizeof(op->found[0]));
	return op->found ? 0 : -ENOMEM;
}

static enum flow_result nvme_scan_run(struct flow *f)
{
	struct nvme_scan_op *op = container_of(f, struct nvme_scan_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, nvme_identify(op->controller, &op->command, NVME_CNS_NSIDS, 0, op->nsids,
			 flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, nvme_scan_alloc(op));
	if (flow_failed(f))
		goto finish;
	for (op->index = 0; nvme_nsid_at(op); op->index++) {
		memset(op->descriptors, 0, sizeof(op->descriptors));
		AWAIT(f, nvme_identify(op->controller, &op->command, NVME_CNS_DESCRIPTORS,
				 nvme_nsid_at(op), op->descriptors, flow_resume, f));
		AWAIT(f, nvme_identify(op->controller, &op->command, NVME_CNS_NAMESPACE,
				 nvme_nsid_at(op), &op->identity, flow_resume, f));
		f->error = op->controller->admin.running ? 0 : -EIO;
		if (f->error)
			goto free_found;
		if (!flow_failed(f))
			nvme_namespace_take(op);
	}
	free(op->controller->namespaces);
	op->controller->namespaces = op->found;
	op->controller->namespace_count = op->count;
	goto finish;

free_found:
	free(op->found);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_controller_scan(struct nvme_controller *controller, done_fn done, void *arg)
{
	struct nvme_scan_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, controller->control, "nvme_scan", nvme_scan_run);
}
