/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Queue pairs seen from the control reactor: made (CREATE CQ, then SQ; base 5.4, 5.5), ended
 * (DELETE SQ, then CQ; 5.6, 5.7), and what a reset and a change of mapped memory have to tell them.
 *
 * Vector n is queue pair n's; those beyond what the transport has do without interrupts and are
 * polled while commands are under way. The memory of one that could not be deleted goes all the
 * same: nothing of it is with the controller any more, and the IOMMU forgets it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "nvme/qpair_impl.h"

#define NVME_STOP_RETRY_NS (1 * MSEC_NS)

/* ---- commands ----------------------------------------------------------- */

void nvme_cq_create(struct nvme_qpair *qpair, done_fn done, void *arg)
{
	bool interrupts = qpair->vector != NVME_VECTOR_NONE;

	memset(qpair->cq, 0, qpair->entries * sizeof(qpair->cq[0]));
	qpair->command = (struct nvme_admin_command){
		.sqe = {.opcode = NVME_ADMIN_CREATE_CQ,
			.prp1 = nvme_qpair_iova(qpair, qpair->cq),
			.cdw10 = (qpair->entries - 1u) << 16 | qpair->qid,
			.cdw11 = NVME_QUEUE_CONTIGUOUS |
				 (interrupts ? qpair->vector << 16 | NVME_CQ_INTERRUPTS : 0)},
	};
	nvme_admin_submit(qpair->controller, &qpair->command, done, arg);
}

void nvme_sq_create(struct nvme_qpair *qpair, done_fn done, void *arg)
{
	qpair->command = (struct nvme_admin_command){
		.sqe = {.opcode = NVME_ADMIN_CREATE_SQ,
			.prp1 = nvme_qpair_iova(qpair, qpair->sq),
			.cdw10 = (qpair->entries - 1u) << 16 | qpair->qid,
			.cdw11 = qpair->qid << 16 | NVME_QUEUE_CONTIGUOUS},
	};
	nvme_admin_submit(qpair->controller, &qpair->command, done, arg);
}

static void nvme_queue_delete(struct nvme_qpair *qpair, uint8_t opcode, done_fn done, void *arg)
{
	qpair->command = (struct nvme_admin_command){
		.sqe = {.opcode = opcode, .cdw10 = qpair->qid},
	};
	nvme_admin_submit(qpair->controller, &qpair->command, done, arg);
}

/* ---- open and close ----------------------------------------------------- */

struct nvme_qpair_op {
	struct flow flow;
	struct nvme_controller *controller;
	struct nvme_qpair *qpair;
	struct reactor_call call;
	struct timer timer;
	struct nvme_qpair **ret_qpair;
	done_fn done;
	void *arg;
};

static int nvme_qpair_run_call(struct reactor_call *call)
{
	nvme_qpair_run(container_of(call, struct nvme_qpair_op, call)->qpair);
	return 0;
}

static int nvme_qpair_fail_call(struct reactor_call *call)
{
	nvme_qpair_fail(container_of(call, struct nvme_qpair_op, call)->qpair, -EIO);
	return 0;
}

static int nvme_qpair_stop_call(struct reactor_call *call)
{
	return nvme_qpair_stop(container_of(call, struct nvme_qpair_op, call)->qpair);
}

static struct nvme_qpair *nvme_qpair_alloc(struct nvme_controller *controller, unsigned qid)
{
	struct nvme_qpair *qpair = alloc_lines(sizeof(*qpair));
	unsigned dstrd = NVME_CAP_DSTRD(controller->cap);

	if (!qpair)
		return NULL;
	qpair->controller = controller;
	qpair->transport = controller->transport;
	qpair->qid = qid;
	qpair->entries = (uint16_t)controller->entries;
	qpair->sq_doorbell = nvme_pci_sq_doorbell(qid, dstrd);
	qpair->cq_doorbell = nvme_pci_cq_doorbell(qid, dstrd);
	qpair->vector = qid < controller->transport->vectors ? qid : NVME_VECTOR_NONE;
	return qpair;
}

static int nvme_qpair_reserve(struct nvme_qpair_op *op, struct reactor *reactor)
{
	struct nvme_controller *controller = op->controller;
	unsigned qid = 1;

	while (qid <= controller->io_queues && bitmap_test(&controller->qids, qid))
		qid++;
	if (qid > controller->io_queues)
		return -ENOSPC;
	op->qpair = nvme_qpair_alloc(controller, qid);
	if (!op->qpair)
		return -ENOMEM;
	op->qpair->reactor = reactor;
	bitmap_set(&controller->qids, qid);
	return 0;
}

/* Queues, then lists, then pages: each begins with a page. */
static size_t nvme_qpair_layout(struct nvme_qpair *qpair, uint8_t *addr)
{
	size_t sq = align_up(qpair->entries * sizeof(struct nvme_sqe), NVME_PAGE);
	size_t cq = align_up(qpair->entries * sizeof(struct nvme_cqe), NVME_PAGE);
	size_t lists = align_up((size_t)qpair->entries * NVME_LIST_BYTES, NVME_PAGE);

	if (addr) {
		qpair->sq = (struct nvme_sqe *)addr;
		qpair->cq = (struct nvme_cqe *)(addr + sq);
		qpair->lists = addr + sq + cq;
		qpair->pages = addr + sq + cq + lists;
	}
	return sq + cq + lists + (size_t)NVME_BOUNCE_PAGES * NVME_PAGE;
}

static void nvme_qpair_place(struct nvme_qpair *qpair)
{
	struct nvme_transport *transport = qpair->transport;

	nvme_qpair_layout(qpair, qpair->area.addr);
	nvme_qpair_init(qpair);
	qpair->table = qpair->controller->table;
	if (qpair->vector != NVME_VECTOR_NONE)
		qpair->watch.fd = transport->ops->interrupt_fd(transport, qpair->vector);
}

static void nvme_qpair_free(struct nvme_qpair *qpair)
{
	bitmap_clear(&qpair->controller->qids, qpair->qid);
	free(qpair);
}

static enum flow_result nvme_qpair_open_run(struct flow *f)
{
	struct nvme_qpair_op *op = container_of(f, struct nvme_qpair_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, nvme_area_create(&op->qpair->area, f->reactor, op->controller->transport,
			 nvme_qpair_layout(op->qpair, NULL), flow_resume, f));
	if (flow_failed(f))
		goto free_qpair;
	nvme_qpair_place(op->qpair);
	if (op->controller->state == NVME_DEAD) { /* a later reset makes its queues */
		AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor,
				 nvme_qpair_fail_call, flow_resume, f));
		goto opened;
	}
	AWAIT(f, nvme_cq_create(op->qpair, flow_resume, f));
	if (flow_failed(f))
		goto destroy_area;
	AWAIT(f, nvme_sq_create(op->qpair, flow_resume, f));
	if (flow_failed(f))
		goto delete_cq;
	AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor, nvme_qpair_run_call,
			 flow_resume, f));
opened:
	list_add_tail(&op->controller->qpairs, &op->qpair->link);
	*op->ret_qpair = op->qpair;
	goto finish;

delete_cq:
	AWAIT(f, nvme_queue_delete(op->qpair, NVME_ADMIN_DELETE_CQ, flow_resume, f));
destroy_area:
	AWAIT(f, nvme_area_destroy(&op->qpair->area, f->reactor, flow_resume, f));
free_qpair:
	nvme_qpair_free(op->qpair);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static enum flow_result nvme_qpair_refuse_run(struct flow *f)
{
	struct nvme_qpair_op *op = container_of(f, struct nvme_qpair_op, flow);

	FLOW_BEGIN(f);
	op->done(op->arg, -ENOSPC);
	free(op);
	FLOW_END(f);
}

void nvme_qpair_open(struct nvme_controller *controller, struct reactor *reactor,
	struct nvme_qpair **ret_qpair, done_fn done, void *arg)
{
	struct nvme_qpair_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->ret_qpair = ret_qpair;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, controller->control, "nvme_qpair_open",
		nvme_qpair_reserve(op, reactor) ? nvme_qpair_refuse_run : nvme_qpair_open_run);
}

static void nvme_stop_again(struct timer *timer)
{
	flow_resume(&container_of(timer, struct nvme_qpair_op, timer)->flow, 0);
}

static void nvme_stop_wait(struct nvme_qpair_op *op)
{
	op->timer.fired = nvme_stop_again;
	timer_start(op->controller->control, &op->timer, NVME_STOP_RETRY_NS);
}

static enum flow_result nvme_qpair_close_run(struct flow *f)
{
	struct nvme_qpair_op *op = container_of(f, struct nvme_qpair_op, flow);

	FLOW_BEGIN(f);
	for (;;) {
		AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor,
				 nvme_qpair_stop_call, flow_resume, f));
		if (!flow_failed(f))
			break;
		AWAIT(f, nvme_stop_wait(op)); /* a message is under way */
	}
	list_remove(&op->qpair->link);
	AWAIT(f, nvme_queue_delete(op->qpair, NVME_ADMIN_DELETE_SQ, flow_resume, f));
	AWAIT(f, nvme_queue_delete(op->qpair, NVME_ADMIN_DELETE_CQ, flow_resume, f));
	AWAIT(f, nvme_area_destroy(&op->qpair->area, f->reactor, flow_resume, f));
	nvme_qpair_free(op->qpair);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void nvme_qpair_close(struct nvme_qpair *qpair, done_fn done, void *arg)
{
	struct nvme_qpair_op *op = alloc_op(sizeof(*op));

	op->controller = qpair->controller;
	op->qpair = qpair;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, qpair->controller->control, "nvme_qpair_close", nvme_qpair_close_run);
}
