/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of drives. Each attachment is one flow at its beginning and one at its end; names and
 * addresses are compared before the first wait, so that two of one name never get as far as the
 * device.
 */
#include "backend/nvme_drives.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "bdev/memory.h"
#include "core/worker.h"
#include "nvme/vfio.h"

const struct nvme_kind nvme_kinds_real[] = {
	{"PCIe", nvme_vfio_open},
	{0},
};

struct nvme_drives {
	struct os *os;
	struct reactor *control;
	struct bdev_registry *registry;
	const struct nvme_kind *kinds;
	struct list attachments;
};

struct nvme_attachment_op {
	struct flow flow;
	struct nvme_drives *drives;
	struct nvme_attachment *attachment;
	struct worker_job job;
	struct nvme_transport *transport;
	const void *addr; /* of memory */
	struct reason *reason;
	struct nvme_attachment **ret_attachment;
	done_fn done;
	void *arg;
};

/* ---- the list ------------------------------------------------------------------------------ */

static void nvme_drives_leave_memory(
	void *user, const struct bdev_memory *memory, done_fn done, void *arg);

struct nvme_drives *nvme_drives_create(
	struct os *os, struct bdev_registry *registry, const struct nvme_kind *kinds)
{
	struct nvme_drives *drives = alloc_op(sizeof(*drives));

	drives->os = os;
	drives->control = bdev_registry_control(registry);
	drives->registry = registry;
	drives->kinds = kinds;
	list_init(&drives->attachments);
	bdev_memory_set_user(registry, nvme_drives_leave_memory, drives);
	return drives;
}

void nvme_drives_destroy(struct nvme_drives *drives)
{
	if (!drives)
		return;
	invariant(list_is_empty(&drives->attachments));
	bdev_memory_set_user(drives->registry, NULL, NULL);
	free(drives);
}

const struct nvme_kind *nvme_drives_kind(const struct nvme_drives *drives, const char *type)
{
	for (const struct nvme_kind *kind = drives->kinds; kind->type; kind++) {
		if (strcasecmp(kind->type, type) == 0)
			return kind;
	}
	return NULL;
}

bool nvme_drives_is_empty(const struct nvme_drives *drives)
{
	return list_is_empty(&drives->attachments);
}

struct nvme_attachment *nvme_drives_find(struct nvme_drives *drives, const char *name)
{
	struct nvme_attachment *attachment;

	list_for_each_entry (attachment, &drives->attachments, link) {
		if (strcmp(attachment->name, name) == 0)
			return attachment;
	}
	return NULL;
}

static const struct nvme_attachment *nvme_drives_find_address(
	const struct nvme_drives *drives, const struct nvme_kind *kind, const char *address)
{
	const struct nvme_attachment *attachment;

	list_for_each_entry (attachment, &drives->attachments, link) {
		if (attachment->kind == kind && strcasecmp(attachment->address, address) == 0)
			return attachment;
	}
	return NULL;
}

void nvme_drives_for_each(struct nvme_drives *drives,
	void (*fn)(struct nvme_attachment *attachment, void *arg), void *arg)
{
	struct nvme_attachment *attachment, *next;

	list_for_each_entry_safe (attachment, next, &drives->attachments, link)
		fn(attachment, arg);
}

static void nvme_attachment_free(struct nvme_attachment *attachment)
{
	list_remove(&attachment->link);
	free(attachment->address);
	free(attachment->name);
	free(attachment);
}

/* ---- attach -------------------------------------------------------------------------------- */

static int nvme_attachment_open_job(struct worker_job *job)
{
	struct nvme_attachment_op *op = container_of(job, struct nvme_attachment_op, job);
	const struct nvme_attachment *attachment = op->attachment;

	return attachment->kind->open(
		op->drives->os, attachment->address, op->reason, &op->transport);
}

static void nvme_attachment_end(struct nvme_attachment_op *op, int rc)
{
	if (rc) {
		if (op->attachment)
			nvme_attachment_free(op->attachment);
	} else {
		op->attachment->state = NVME_ATTACHED;
		*op->ret_attachment = op->attachment;
	}
	op->done(op->arg, rc);
	free(op);
}

static enum flow_result nvme_attachment_attach_run(struct flow *f)
{
	struct nvme_attachment_op *op = container_of(f, struct nvme_attachment_op, flow);

	FLOW_BEGIN(f);
	if (!op->attachment) { /* refused, and told in the flow's way */
		flow_fail(f, -EALREADY);
		goto finish;
	}
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_attachment_open_job, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, nvme_drive_attach(op->drives->registry, op->transport, op->attachment->name,
			 &op->attachment->options, op->reason, &op->attachment->drive, flow_resume,
			 f));
finish:
	nvme_attachment_end(op, f->error);
	FLOW_END(f);
}

static char *nvme_text_copy(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(alloc_op(size), text, size);
}

static struct nvme_attachment *nvme_attachment_create(struct nvme_drives *drives,
	const struct nvme_kind *kind, const char *name, const char *address,
	const struct nvme_options *options, struct reason *reason)
{
	const struct nvme_attachment *other = nvme_drives_find_address(drives, kind, address);
	struct nvme_attachment *attachment;

	if (nvme_drives_find(drives, name)) {
		reason_set(reason, -EALREADY, "there is a drive %s already", name);
		return NULL;
	}
	if (other) {
		reason_set(reason, -EALREADY, "%s is the drive %s already", address, other->name);
		return NULL;
	}
	attachment = alloc_op(sizeof(*attachment));
	attachment->drives = drives;
	attachment->name = nvme_text_copy(name);
	attachment->address = nvme_text_copy(address);
	attachment->kind = kind;
	attachment->options = *options;
	attachment->state = NVME_ATTACHING;
	list_add_tail(&drives->attachments, &attachment->link);
	return attachment;
}

void nvme_drives_attach(struct nvme_drives *drives, const struct nvme_kind *kind, const char *name,
	const char *address, const struct nvme_options *options, struct reason *reason,
	struct nvme_attachment **ret_attachment, done_fn done, void *arg)
{
	struct nvme_attachment_op *op = alloc_op(sizeof(*op));

	op->drives = drives;
	op->attachment = nvme_attachment_create(drives, kind, name, address, options, reason);
	op->reason = reason;
	op->ret_attachment = ret_attachment;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, drives->control, "nvme_drives_attach", nvme_attachment_attach_run);
}

/* ---- detach -------------------------------------------------------------------------------- */

static void nvme_attachment_detached(void *arg, int rc)
{
	struct nvme_attachment_op *op = arg;

	nvme_attachment_free(op->attachment);
	op->done(op->arg, rc);
	free(op);
}

void nvme_drives_detach(struct nvme_attachment *attachment, done_fn done, void *arg)
{
	struct nvme_attachment_op *op = alloc_op(sizeof(*op));

	attachment->state = NVME_DETACHING;
	op->attachment = attachment;
	op->done = done;
	op->arg = arg;
	nvme_drive_detach(attachment->drive, nvme_attachment_detached, op);
}

static enum flow_result nvme_drives_close_run(struct flow *f)
{
	struct nvme_attachment_op *op = container_of(f, struct nvme_attachment_op, flow);

	FLOW_BEGIN(f);
	while (!list_is_empty(&op->drives->attachments)) {
		op->attachment =
			list_first_entry(&op->drives->attachments, struct nvme_attachment, link);
		AWAIT(f, nvme_drives_detach(op->attachment, flow_resume, f));
	}
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void nvme_drives_close(struct nvme_drives *drives, done_fn done, void *arg)
{
	struct nvme_attachment_op *op = alloc_op(sizeof(*op));

	op->drives = drives;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, drives->control, "nvme_drives_close", nvme_drives_close_run);
}

/* ---- memory -------------------------------------------------------------------------------- */

static struct nvme_attachment *nvme_drives_find_memory(struct nvme_drives *drives, const void *addr)
{
	struct nvme_attachment *attachment;

	list_for_each_entry (attachment, &drives->attachments, link) {
		if (attachment->drive && nvme_drive_has_memory(attachment->drive, addr))
			return attachment;
	}
	return NULL;
}

/* Those that have it one after the other; drives may come and go meanwhile. */
static enum flow_result nvme_drives_leave_run(struct flow *f)
{
	struct nvme_attachment_op *op = container_of(f, struct nvme_attachment_op, flow);

	FLOW_BEGIN(f);
	while ((op->attachment = nvme_drives_find_memory(op->drives, op->addr)))
		AWAIT(f, nvme_drive_leave_memory(op->attachment->drive, op->addr, flow_resume, f));
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

static void nvme_drives_leave_memory(
	void *user, const struct bdev_memory *memory, done_fn done, void *arg)
{
	struct nvme_attachment_op *op = alloc_op(sizeof(*op));

	op->drives = user;
	op->addr = memory->addr;
	op->done = done;
	op->arg = arg;
	flow_start(
		&op->flow, op->drives->control, "nvme_drives_leave_memory", nvme_drives_leave_run);
}
