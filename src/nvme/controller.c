/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a controller: open, reset, close. Each is a flow; they never overlap (controller.h).
 *
 * Reset, in the order that keeps requests safe:
 *	1. all queue pairs pause: completions are not looked at any more
 *	2. the controller is disabled; from then on it touches no memory. When it cannot be, it is
 *	   cut off from memory and reset as a whole.
 *	3. it is enabled, must be the drive that it was, and gets its queues again
 *	4. queue pairs run: what was in flight is sent again
 * Where 2 to 4 fail the controller is cut off and DEAD, and only then requests end with an error: a
 * drive that is slow to understand could otherwise write into a guest that has long been answered.
 * A later reset may make it LIVE again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "nvme/qpair_impl.h"

/* ---- a controller that is not what it should be ------------------------- */

void nvme_controller_break(struct nvme_controller *controller, const char *what)
{
	if (controller->state == NVME_BROKEN || controller->state == NVME_DEAD)
		return;
	log_warning("%s %s", controller->transport->address, what);
	nvme_admin_stop(controller, -EIO);
	if (controller->state != NVME_LIVE)
		return; /* an operation is under way, and fails */
	controller->state = NVME_BROKEN;
	controller->ops->broken(controller->owner);
}

/* ---- what several of them do -------------------------------------------- */

struct nvme_life_op {
	struct flow flow;
	struct nvme_controller *controller;
	struct nvme_transport *transport;
	struct nvme_qpair *qpair; /* at hand */
	struct reactor_call call;
	struct worker_job job;
	int error; /* of requests */
	struct reason *reason;
	struct nvme_controller **ret_controller;
	done_fn done;
	void *arg;
};

static int nvme_bus_master_on_job(struct worker_job *job)
{
	struct nvme_transport *transport = container_of(job, struct nvme_life_op, job)->transport;

	return transport->ops->set_bus_master(transport, true);
}

static int nvme_cut_off_job(struct worker_job *job)
{
	struct nvme_transport *transport = container_of(job, struct nvme_life_op, job)->transport;

	return transport->ops->set_bus_master(transport, false);
}

/* For one that cannot be disabled. */
static int nvme_reset_job(struct worker_job *job)
{
	struct nvme_transport *transport = container_of(job, struct nvme_life_op, job)->transport;
	int rc = transport->ops->set_bus_master(transport, false);

	if (!rc)
		rc = transport->ops->reset(transport);
	return rc ? rc : transport->ops->set_bus_master(transport, true);
}

static int nvme_close_job(struct worker_job *job)
{
	struct nvme_transport *transport = container_of(job, struct nvme_life_op, job)->transport;

	transport->ops->close(transport);
	return 0;
}

static void nvme_life_start(struct nvme_controller *controller, const char *name,
	enum flow_result (*run)(struct flow *flow), struct reason *reason, done_fn done, void *arg)
{
	struct nvme_life_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->transport = controller->transport;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, controller->control, name, run);
}

/* ---- open --------------------------------------------------------------- */

static struct nvme_controller *nvme_controller_alloc(struct nvme_transport *transport,
	struct reactor *control, const struct nvme_options *options,
	const struct nvme_owner_ops *ops, void *owner)
{
	struct nvme_controller *controller = alloc_op(sizeof(*controller));

	controller->transport = transport;
	controller->control = control;
	controller->options = *options;
	controller->ops = ops;
	controller->owner = owner;
	controller->state = NVME_OPENING;
	list_init(&controller->qpairs);
	nvme_admin_init(controller);
	return controller;
}

static size_t nvme_admin_layout(struct nvme_admin *admin, uint8_t *addr)
{
	_Static_assert(NVME_ADMIN_ENTRIES * sizeof(struct nvme_sqe) <= NVME_PAGE, "a page each");

	if (addr) {
		admin->sq = (struct nvme_sqe *)addr;
		admin->cq = (struct nvme_cqe *)(addr + NVME_PAGE);
		admin->pages = addr + 2 * NVME_PAGE;
	}
	return (2 + NVME_ADMIN_SLOTS) * (size_t)NVME_PAGE;
}

static void nvme_controller_free(struct nvme_controller *controller)
{
	bitmap_fini(&controller->qids);
	free(controller->namespaces);
	free(controller->table);
	free(controller);
}

static void nvme_open_explain(struct nvme_life_op *op, int rc)
{
	const char *address = op->transport->address;

	if (rc == -ETIMEDOUT)
		reason_set(op->reason, rc,
			"%s does not become ready in the time that it says it needs", address);
	else
		reason_set(op->reason, rc, "%s cannot be used: %s", address, strerror(-rc));
}

static enum flow_result nvme_open_run(struct flow *f)
{
	struct nvme_life_op *op = container_of(f, struct nvme_life_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, nvme_read_capabilities(op->controller, op->reason));
	if (flow_failed(f))
		goto close_transport;
	AWAIT(f, nvme_disable(op->controller, flow_resume, f));
	if (flow_failed(f))
		goto close_transport;
	AWAIT(f, nvme_area_create(&op->controller->admin.area, f->reactor, op->transport,
			 nvme_admin_layout(&op->controller->admin, NULL), flow_resume, f));
	if (flow_failed(f))
		goto close_transport;
	nvme_admin_layout(&op->controller->admin, op->controller->admin.area.addr);
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_bus_master_on_job, flow_resume, f));
	if (flow_failed(f))
		goto destroy_area;
	AWAIT(f, nvme_enable(op->controller, flow_resume, f));
	if (flow_failed(f))
		goto cut_off;
	AWAIT(f, nvme_configure(op->controller, op->reason, flow_resume, f));
	if (flow_failed(f))
		goto cut_off;
	flow_fail(f, bitmap_init(&op->controller->qids, op->controller->io_queues + 1));
	if (flow_failed(f))
		goto cut_off;
	AWAIT(f, nvme_controller_scan(op->controller, flow_resume, f));
	if (flow_failed(f))
		goto cut_off;
	op->controller->state = NVME_LIVE;
	*op->ret_controller = op->controller;
	goto finish;

cut_off:
	nvme_admin_stop(op->controller, -ECANCELED);
	AWAIT(f, nvme_disable(op->controller, flow_resume, f));
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_cut_off_job, flow_resume, f));
destroy_area:
	AWAIT(f, nvme_area_destroy(&op->controller->admin.area, f->reactor, flow_resume, f));
close_transport:
	nvme_open_explain(op, f->error);
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_close_job, flow_resume, f));
	nvme_controller_free(op->controller);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_controller_open(struct nvme_transport *transport, struct reactor *control,
	const struct nvme_options *options, const struct nvme_owner_ops *ops, void *owner,
	struct reason *reason, struct nvme_controller **ret_controller, done_fn done, void *arg)
{
	struct nvme_life_op *op = alloc_op(sizeof(*op));

	op->controller = nvme_controller_alloc(transport, control, options, ops, owner);
	op->transport = transport;
	op->reason = reason;
	op->ret_controller = ret_controller;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, control, "nvme_controller_open", nvme_open_run);
}

/* ---- reset -------------------------------------------------------------- */

static int nvme_pause_call(struct reactor_call *call)
{
	nvme_qpair_pause(container_of(call, struct nvme_life_op, call)->qpair);
	return 0;
}

static int nvme_run_call(struct reactor_call *call)
{
	nvme_qpair_run(container_of(call, struct nvme_life_op, call)->qpair);
	return 0;
}

static int nvme_fail_call(struct reactor_call *call)
{
	struct nvme_life_op *op = container_of(call, struct nvme_life_op, call);

	nvme_qpair_fail(op->qpair, op->error);
	return 0;
}

/* The rest of a reset that has failed, in op->error. */
static enum flow_result nvme_give_up_run(struct flow *f)
{
	struct nvme_life_op *op = container_of(f, struct nvme_life_op, flow);

	FLOW_BEGIN(f);
	nvme_admin_stop(op->controller, -EIO);
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_cut_off_job, flow_resume, f));
	op->controller->state = NVME_DEAD;
	if (nvme_is_gone(op->controller))
		op->error = -ENODEV;
	for (NVME_EACH_QPAIR(op))
		AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor, nvme_fail_call,
				 flow_resume, f));
	nvme_open_explain(op, op->error);
	log_error("%s is given up: %s", op->transport->address, strerror(-op->error));
	op->done(op->arg, op->error);
	free(op);
	FLOW_END(f);
}

static void nvme_give_up(struct nvme_life_op *failed, int rc)
{
	struct nvme_life_op *op = alloc_op(sizeof(*op));

	op->controller = failed->controller;
	op->transport = failed->transport;
	op->reason = failed->reason;
	op->error = rc;
	op->done = failed->done;
	op->arg = failed->arg;
	flow_start(&op->flow, op->controller->control, "nvme_give_up", nvme_give_up_run);
}

static void nvme_reset_finish(struct nvme_life_op *op)
{
	struct nvme_controller *controller = op->controller;

	controller->state = controller->break_again ? NVME_BROKEN : NVME_LIVE;
	log_notice("%s was reset", op->transport->address);
	op->done(op->arg, 0);
	if (controller->state == NVME_BROKEN)
		controller->ops->broken(controller->owner);
}

static enum flow_result nvme_reset_run(struct flow *f)
{
	struct nvme_life_op *op = container_of(f, struct nvme_life_op, flow);

	FLOW_BEGIN(f);
	op->controller->state = NVME_RESETTING;
	op->controller->break_again = false;
	for (NVME_EACH_QPAIR(op))
		AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor, nvme_pause_call,
				 flow_resume, f));
	nvme_admin_stop(op->controller, -EIO);
	AWAIT(f, nvme_disable(op->controller, flow_resume, f));
	if (f->rc == -ENODEV)
		goto give_up;
	if (flow_failed(f))
		AWAIT(f, worker_run(&op->job, f->reactor, nvme_reset_job, flow_resume, f));
	else
		AWAIT(f, worker_run(&op->job, f->reactor, nvme_bus_master_on_job, flow_resume, f));
	if (flow_failed(f))
		goto give_up;
	AWAIT(f, nvme_enable(op->controller, flow_resume, f));
	if (flow_failed(f))
		goto give_up;
	AWAIT(f, nvme_configure(op->controller, op->reason, flow_resume, f));
	if (flow_failed(f))
		goto give_up;
	for (NVME_EACH_QPAIR(op)) {
		AWAIT(f, nvme_cq_create(op->qpair, flow_resume, f));
		if (flow_failed(f))
			goto give_up;
		AWAIT(f, nvme_sq_create(op->qpair, flow_resume, f));
		if (flow_failed(f))
			goto give_up;
	}
	for (NVME_EACH_QPAIR(op))
		AWAIT(f, reactor_call(&op->call, f->reactor, op->qpair->reactor, nvme_run_call,
				 flow_resume, f));
	nvme_reset_finish(op);
	goto finish;

give_up:
	nvme_give_up(op, f->rc);
finish:
	free(op);
	FLOW_END(f);
}

void nvme_controller_reset(
	struct nvme_controller *controller, struct reason *reason, done_fn done, void *arg)
{
	nvme_life_start(controller, "nvme_controller_reset", nvme_reset_run, reason, done, arg);
}

/* ---- close -------------------------------------------------------------- */

static enum flow_result nvme_close_run(struct flow *f)
{
	struct nvme_life_op *op = container_of(f, struct nvme_life_op, flow);

	FLOW_BEGIN(f);
	invariant(list_is_empty(&op->controller->qpairs));
	op->controller->state = NVME_CLOSING;
	AWAIT(f, nvme_shut_down(op->controller, flow_resume, f));
	if (flow_failed(f))
		log_warning("%s does not shut down: %s", op->transport->address, strerror(-f->rc));
	nvme_admin_stop(op->controller, -ECANCELED);
	AWAIT(f, nvme_disable(op->controller, flow_resume, f));
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_cut_off_job, flow_resume, f));
	AWAIT(f, nvme_tables_unmap(op->controller, flow_resume, f));
	AWAIT(f, nvme_area_destroy(&op->controller->admin.area, f->reactor, flow_resume, f));
	AWAIT(f, worker_run(&op->job, f->reactor, nvme_close_job, flow_resume, f));
	nvme_controller_free(op->controller);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void nvme_controller_close(struct nvme_controller *controller, done_fn done, void *arg)
{
	nvme_life_start(controller, "nvme_controller_close", nvme_close_run, NULL, done, arg);
}

/* ---- what it is --------------------------------------------------------- */

enum nvme_state nvme_controller_state(const struct nvme_controller *controller)
{
	return controller->state;
}

struct nvme_transport *nvme_controller_transport(const struct nvme_controller *controller)
{
	return controller->transport;
}

const struct nvme_identify_controller *nvme_controller_identity(
	const struct nvme_controller *controller)
{
	return &controller->identity;
}

uint32_t nvme_controller_version(const struct nvme_controller *controller)
{
	return controller->version;
}

const struct nvme_namespace *nvme_controller_namespaces(
	const struct nvme_controller *controller, unsigned *ret_count)
{
	*ret_count = controller->namespace_count;
	return controller->namespaces;
}
