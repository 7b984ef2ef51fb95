/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that requests use and that is not mapped: the data reactor copies it and tells the control
 * reactor, whose owner may map it (nvme_memory_add). One message there and back, and a pause behind
 * it: memory that nobody can map stays as it is, and is asked about a hundred times a second at
 * most.
 */
#include "nvme/qpair_impl.h"

#define NVME_WANT_PAUSE_NS (10 * MSEC_NS)

static void nvme_want_back(struct message *message)
{
	struct nvme_qpair *qpair = container_of(message, struct nvme_qpair, want.message);

	qpair->want.busy = false;
	qpair->want.after_ns = reactor_now(qpair->reactor) + NVME_WANT_PAUSE_NS;
}

static void nvme_want_heard(struct message *message)
{
	struct nvme_qpair *qpair = container_of(message, struct nvme_qpair, want.message);
	struct nvme_controller *controller = qpair->controller;

	if (controller->ops->unmapped)
		controller->ops->unmapped(controller->owner, qpair->want.addr);
	qpair->want.message.run = nvme_want_back;
	reactor_send(qpair->reactor, &qpair->want.message);
}

void nvme_want(struct nvme_qpair *qpair, const void *addr)
{
	struct nvme_want *want = &qpair->want;

	if (want->busy || reactor_now(qpair->reactor) < want->after_ns)
		return;
	want->busy = true;
	want->addr = addr;
	want->message.run = nvme_want_heard;
	reactor_send(qpair->controller->control, &want->message);
}
