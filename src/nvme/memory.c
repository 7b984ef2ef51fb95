/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other people's memory that a controller may reach: it comes and goes while requests run.
 *
 *	add	a worker maps it; a new table goes to the queue pairs one by one
 *	remove	a table without it goes to the queue pairs; when all have it a worker unmaps
 *
 * A queue pair that does not have the new table yet copies what it could transfer straight, or
 * transfers straight what is still mapped. The old table is freed when all have the new one.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "nvme/qpair_impl.h"

struct nvme_memory_op {
	struct flow flow;
	struct nvme_controller *controller;
	struct nvme_qpair *qpair;
	struct reactor_call call;
	struct worker_job job;
	struct nvme_region region;
	struct nvme_table *table;
	done_fn done;
	void *arg;
};

static int nvme_region_map_job(struct worker_job *job)
{
	struct nvme_memory_op *op = container_of(job, struct nvme_memory_op, job);
	struct nvme_transport *transport = op->controller->transport;

	return transport->ops->dma_map(
		transport, op->region.addr, op->region.size, &op->region.iova);
}

static int nvme_region_unmap_job(struct worker_job *job)
{
	struct nvme_memory_op *op = container_of(job, struct nvme_memory_op, job);
	struct nvme_transport *transport = op->controller->transport;

	transport->ops->dma_unmap(transport, op->region.iova, op->region.size);
	return 0;
}

static int nvme_table_call(struct reactor_call *call)
{
	struct nvme_memory_op *op = container_of(call, struct nvme_memory_op, call);

	op->qpair->table = op->table;
	return 0;
}

static void nvme_table_switch(struct nvme_memory_op *op)
{
	free(op->controller->table);
	op->controller->table = op->table;
}

static struct nvme_memory_op *nvme_memory_op_create(
	struct nvme_controller *controller, done_fn done, void *arg)
{
	struct nvme_memory_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->done = done;
	op->arg = arg;
	return op;
}

static enum flow_result nvme_memory_add_run(struct flow *f)
{
	struct nvme_memory_op *op = container_of(f, struct nvme_memory_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_region_map_job, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	op->table = nvme_table_with(op->controller->table, &op->region);
	for (NVME_EACH_QPAIR(op))
		AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor, nvme_table_call,
				 flow_resume, f));
	nvme_table_switch(op);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_memory_add(
	struct nvme_controller *controller, void *addr, size_t len, done_fn done, void *arg)
{
	struct nvme_memory_op *op = nvme_memory_op_create(controller, done, arg);

	op->region = (struct nvme_region){.addr = addr, .size = len};
	flow_start(&op->flow, controller->control, "nvme_memory_add", nvme_memory_add_run);
}

/* False: nothing begins there. */
static bool nvme_memory_find(struct nvme_memory_op *op)
{
	const struct nvme_region *region = nvme_table_find(op->controller->table, op->region.addr);

	if (!region || region->addr != op->region.addr)
		return false;
	op->region = *region;
	return true;
}

static enum flow_result nvme_memory_remove_run(struct flow *f)
{
	struct nvme_memory_op *op = container_of(f, struct nvme_memory_op, flow);

	FLOW_BEGIN(f);
	if (!nvme_memory_find(op))
		goto finish;
	op->table = nvme_table_without(op->controller->table, op->region.addr);
	for (NVME_EACH_QPAIR(op))
		AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor, nvme_table_call,
				 flow_resume, f));
	nvme_table_switch(op);
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_region_unmap_job, flow_resume, f));
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_memory_remove(struct nvme_controller *controller, void *addr, done_fn done, void *arg)
{
	struct nvme_memory_op *op = nvme_memory_op_create(controller, done, arg);

	op->region.addr = addr;
	flow_start(&op->flow, controller->control, "nvme_memory_remove", nvme_memory_remove_run);
}

static int nvme_tables_unmap_job(struct worker_job *job)
{
	struct nvme_memory_op *op = container_of(job, struct nvme_memory_op, job);
	struct nvme_transport *transport = op->controller->transport;
	const struct nvme_table *table = op->controller->table;

	for (unsigned i = 0; table && i < table->count; i++)
		transport->ops->dma_unmap(
			transport, table->regions[i].iova, table->regions[i].size);
	return 0;
}

static void nvme_tables_unmapped(void *arg, int rc)
{
	struct nvme_memory_op *op = arg;

	op->done(op->arg, rc);
	free(op);
}

void nvme_tables_unmap(struct nvme_controller *controller, done_fn done, void *arg)
{
	struct nvme_memory_op *op = nvme_memory_op_create(controller, done, arg);

	worker_run(&op->job, controller->control, nvme_tables_unmap_job, nvme_tables_unmapped, op);
}
