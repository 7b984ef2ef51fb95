/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests' memory that a drive reaches by itself. It is mapped when the first request with buffers
 * there comes: so only memory of guests that use the drive is pinned. That first request, and those
 * until a worker has mapped it, are copied.
 *
 *	WANTED	the gate is waited for, or a worker maps it
 *	MAPPED
 *	REFUSED	it could not be mapped (memlock, a file whose pages cannot be pinned): it is copied
 *
 * Its teller lets it go with a wait (bdev/memory.h); what is still WANTED then is not mapped any
 * more. A drive that is being closed unmaps all, so that is waited for instead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/nvme_impl.h"
#include "base/alloc.h"
#include "bdev/memory.h"

enum nvme_span_state { NVME_SPAN_WANTED, NVME_SPAN_MAPPED, NVME_SPAN_REFUSED };

struct nvme_span {
	struct list link; /* drive's */
	uint8_t *addr;
	size_t len;
	enum nvme_span_state state;
	bool leaving;
};

struct nvme_span_op {
	struct flow flow;
	struct list link; /* drive's leavers */
	struct nvme_drive *drive;
	struct nvme_span *span;
	struct bdev_gate_turn turn;
	done_fn done;
	void *arg;
};

static struct nvme_span *nvme_span_find(const struct nvme_drive *drive, const uint8_t *addr)
{
	struct nvme_span *span;

	list_for_each_entry (span, &drive->spans, link) {
		if (span->addr == addr)
			return span;
	}
	return NULL;
}

static struct nvme_span_op *nvme_span_op_create(
	struct nvme_drive *drive, struct nvme_span *span, done_fn done, void *arg)
{
	struct nvme_span_op *op = alloc_op(sizeof(*op));

	op->drive = drive;
	op->span = span;
	op->done = done;
	op->arg = arg;
	return op;
}

static void nvme_span_op_end(struct nvme_span_op *op)
{
	struct nvme_drive *drive = op->drive;

	bdev_gate_leave(&drive->gate);
	if (op->done)
		op->done(op->arg, 0);
	free(op);
	drive->busy--;
	nvme_drive_check_idle(drive);
}

/* ---- mapping ------------------------------------------------------------------------------- */

static void nvme_span_mapped(struct nvme_span_op *op, int rc)
{
	op->span->state = rc ? NVME_SPAN_REFUSED : NVME_SPAN_MAPPED;
	if (rc)
		log_warning("drive %s: %zu MiB of a machine's memory cannot be mapped for it, so "
			    "its data is copied: %s%s",
			op->drive->name, op->span->len / MIB, strerror(-rc),
			rc == -ENOMEM ? " (raise the limit memlock)" : "");
}

static enum flow_result nvme_span_map_run(struct flow *f)
{
	struct nvme_span_op *op = container_of(f, struct nvme_span_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	if (!op->span->leaving && !op->drive->detaching) {
		AWAIT(f, nvme_memory_add(op->drive->controller, op->span->addr, op->span->len,
				 flow_resume, f));
		nvme_span_mapped(op, f->rc);
	}
	nvme_span_op_end(op);
	FLOW_END(f);
}

void nvme_drive_unmapped(void *owner, const void *addr)
{
	struct nvme_drive *drive = owner;
	const struct bdev_memory *memory = bdev_memory_find(drive->registry, addr);
	struct nvme_span *span;
	struct nvme_span_op *op;

	if (!memory || drive->detaching || nvme_span_find(drive, memory->addr))
		return;
	span = alloc_op(sizeof(*span));
	span->addr = memory->addr;
	span->len = memory->len;
	list_add_tail(&drive->spans, &span->link);
	op = nvme_span_op_create(drive, span, NULL, NULL);
	drive->busy++;
	flow_start(&op->flow, drive->control, "nvme_span_map", nvme_span_map_run);
}

/* ---- letting go ---------------------------------------------------------------------------- */

static void nvme_span_free(struct nvme_span *span)
{
	list_remove(&span->link);
	free(span);
}

static enum flow_result nvme_span_leave_run(struct flow *f)
{
	struct nvme_span_op *op = container_of(f, struct nvme_span_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	if (op->span->state == NVME_SPAN_MAPPED)
		AWAIT(f, nvme_memory_remove(op->drive->controller, op->span->addr, flow_resume, f));
	nvme_span_free(op->span);
	nvme_span_op_end(op);
	FLOW_END(f);
}

bool nvme_drive_has_memory(const struct nvme_drive *drive, const void *addr)
{
	return nvme_span_find(drive, addr) != NULL;
}

void nvme_drive_leave_memory(struct nvme_drive *drive, const void *addr, done_fn done, void *arg)
{
	struct nvme_span *span = nvme_span_find(drive, addr);
	struct nvme_span_op *op = nvme_span_op_create(drive, span, done, arg);

	invariant(span && !span->leaving);
	span->leaving = true;
	if (drive->closing) {
		list_add_tail(&drive->leavers, &op->link);
		return;
	}
	drive->busy++;
	flow_start(&op->flow, drive->control, "nvme_span_leave", nvme_span_leave_run);
}

void nvme_drive_free_memory(struct nvme_drive *drive, struct list *ret_leavers)
{
	struct nvme_span *span, *next;

	list_for_each_entry_safe (span, next, &drive->spans, link)
		nvme_span_free(span);
	list_init(ret_leavers);
	list_move_all(ret_leavers, &drive->leavers);
}

void nvme_leavers_end(struct list *leavers)
{
	struct nvme_span_op *op, *next;

	list_for_each_entry_safe (op, next, leavers, link) {
		list_remove(&op->link);
		op->done(op->arg, 0);
		free(op);
	}
}
