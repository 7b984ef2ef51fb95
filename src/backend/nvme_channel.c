/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A drive on a reactor. All namespaces of a drive share one queue pair there: it is opened with the
 * first channel and closed with the last, both while the drive's gate is held. Opening fails with
 * -ENOSPC where the drive has fewer queue pairs than there are reactors that use it.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/nvme_impl.h"
#include "base/alloc.h"

struct nvme_channel_op {
	struct flow flow;
	struct bdev_channel *channel;
	struct nvme_drive *drive;
	struct nvme_seat *seat;
	struct bdev_gate_turn turn;
	done_fn done;
	void *arg;
};

static struct nvme_seat *nvme_seat_find(struct nvme_drive *drive, const struct reactor *reactor)
{
	struct nvme_seat *seat;

	list_for_each_entry (seat, &drive->seats, link)
		if (seat->reactor == reactor)
			return seat;
	return NULL;
}

static struct nvme_seat *nvme_seat_create(struct nvme_drive *drive, struct reactor *reactor)
{
	struct nvme_seat *seat = alloc_op(sizeof(*seat));

	seat->reactor = reactor;
	list_add_tail(&drive->seats, &seat->link);
	return seat;
}

static void nvme_seat_free(struct nvme_seat *seat)
{
	list_remove(&seat->link);
	free(seat);
}

static void nvme_seat_take(struct nvme_channel_op *op)
{
	struct nvme_channel *own = nvme_channel_of(op->channel);

	op->seat->users++;
	own->seat = op->seat;
	own->qpair = op->seat->qpair;
}

static enum flow_result nvme_channel_prepare_run(struct flow *f)
{
	struct nvme_channel_op *op = container_of(f, struct nvme_channel_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	op->seat = nvme_seat_find(op->drive, op->channel->reactor);
	if (!op->seat) {
		op->seat = nvme_seat_create(op->drive, op->channel->reactor);
		AWAIT(f, nvme_qpair_open(op->drive->controller, op->channel->reactor,
				 &op->seat->qpair, flow_resume, f));
		if (flow_failed(f)) {
			nvme_seat_free(op->seat);
			goto leave;
		}
	}
	nvme_seat_take(op);
leave:
	bdev_gate_leave(&op->drive->gate);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static enum flow_result nvme_channel_release_run(struct flow *f)
{
	struct nvme_channel_op *op = container_of(f, struct nvme_channel_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	op->seat = nvme_channel_of(op->channel)->seat;
	if (--op->seat->users == 0) {
		AWAIT(f, nvme_qpair_close(op->seat->qpair, flow_resume, f));
		nvme_seat_free(op->seat);
	}
	bdev_gate_leave(&op->drive->gate);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void nvme_channel_start(struct bdev_channel *channel, const char *name,
	enum flow_result (*run)(struct flow *flow), done_fn done, void *arg)
{
	struct nvme_channel_op *op = alloc_op(sizeof(*op));

	op->channel = channel;
	op->drive = nvme_bdev_of(channel->bdev)->drive;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->drive->control, name, run);
}

void nvme_channel_prepare(struct bdev_channel *channel, done_fn done, void *arg)
{
	nvme_channel_start(channel, "nvme_channel_prepare", nvme_channel_prepare_run, done, arg);
}

void nvme_channel_release(struct bdev_channel *channel, done_fn done, void *arg)
{
	nvme_channel_start(channel, "nvme_channel_release", nvme_channel_release_run, done, arg);
}
