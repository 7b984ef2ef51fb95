/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers: what a controller is, and how it is disabled, enabled and shut down (base 3.5.1,
 * 3.6.1, 3.7.2).
 *
 *	disable		when EN is set while RDY is not yet, RDY is awaited first, as EN must not be
 *			cleared before; then EN = 0, until RDY = 0
 *	enable		AQA, ASQ, ACQ, CC, then EN = 1, until RDY = 1
 *	shut down	SHN = normal, until SHST = complete
 *
 * How long: CAP.TO; where CRTO is there, to enable, the longer of both. One more unit is waited
 * than that, as CAP.TO may be 0. All ones mean at any time that the controller is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "nvme/controller_impl.h"

#define NVME_STATUS_POLL_NS (1 * MSEC_NS)
#define NVME_SHUTDOWN_MS    10000u

bool nvme_is_gone(const struct nvme_controller *controller)
{
	return nvme_read32(controller, NVME_REG_CSTS) == NVME_GONE_32;
}

/* ---- waiting for CSTS --------------------------------------------------- */

static void nvme_status_poll(struct timer *timer)
{
	struct nvme_status_wait *wait = container_of(timer, struct nvme_status_wait, timer);
	struct nvme_controller *controller = container_of(wait, struct nvme_controller, wait);
	uint32_t csts = nvme_read32(controller, NVME_REG_CSTS);

	if (csts == NVME_GONE_32)
		wait->done(wait->arg, -ENODEV);
	else if ((csts & wait->mask) == wait->value)
		wait->done(wait->arg, 0);
	else if (csts & NVME_CSTS_CFS && wait->value == NVME_CSTS_RDY)
		wait->done(wait->arg, -EIO);
	else if (reactor_now(controller->control) >= wait->deadline_ns)
		wait->done(wait->arg, -ETIMEDOUT);
	else
		timer_start(controller->control, &wait->timer, NVME_STATUS_POLL_NS);
}

static void nvme_status_await(struct nvme_controller *controller, uint32_t mask, uint32_t value,
	unsigned timeout_ms, done_fn done, void *arg)
{
	struct nvme_status_wait *wait = &controller->wait;

	wait->timer.fired = nvme_status_poll;
	wait->mask = mask;
	wait->value = value;
	wait->deadline_ns = reactor_now(controller->control) + timeout_ms * MSEC_NS;
	wait->done = done;
	wait->arg = arg;
	timer_start(controller->control, &wait->timer, 0);
}

static unsigned nvme_ready_ms(const struct nvme_controller *controller)
{
	unsigned units = NVME_CAP_TO(controller->cap);

	if (NVME_CAP_CRMS(controller->cap)) {
		uint32_t crto = nvme_read32(controller, NVME_REG_CRTO);

		units = (unsigned)u64_max(units, NVME_CRTO_CRWMT(crto));
	}
	return (units + 1) * NVME_TO_MS;
}

/* ---- what it is --------------------------------------------------------- */

int nvme_read_capabilities(struct nvme_controller *controller, struct reason *reason)
{
	struct nvme_transport *transport = controller->transport;

	controller->cap = transport->ops->read64(transport, NVME_REG_CAP);
	controller->version = nvme_read32(controller, NVME_REG_VS);
	if (controller->cap == NVME_GONE_64)
		return reason_set(reason, -ENODEV,
			"%s does not answer: is the drive still in its slot?", transport->address);
	if (!(NVME_CAP_CSS(controller->cap) & NVME_CAP_CSS_NVM))
		return reason_set(reason, -EOPNOTSUPP,
			"%s has no NVM command set: only drives of blocks can be used",
			transport->address);
	if (NVME_CAP_MPSMIN(controller->cap) > 0)
		return reason_set(reason, -EOPNOTSUPP,
			"%s wants pages of %u KiB, this driver has such of 4", transport->address,
			4u << NVME_CAP_MPSMIN(controller->cap));
	return 0;
}

/* ---- disable, enable, shut down ----------------------------------------- */

struct nvme_enable_op {
	struct flow flow;
	struct nvme_controller *controller;
	uint32_t cc;
	done_fn done;
	void *arg;
};

static void nvme_enable_start(struct nvme_controller *controller, const char *name,
	enum flow_result (*run)(struct flow *flow), done_fn done, void *arg)
{
	struct nvme_enable_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, controller->control, name, run);
}

static enum flow_result nvme_disable_run(struct flow *f)
{
	struct nvme_enable_op *op = container_of(f, struct nvme_enable_op, flow);

	FLOW_BEGIN(f);
	op->cc = nvme_read32(op->controller, NVME_REG_CC);
	if (op->cc == NVME_GONE_32) {
		flow_fail(f, -ENODEV);
		goto finish;
	}
	if (op->cc & NVME_CC_EN && !(nvme_read32(op->controller, NVME_REG_CSTS) & NVME_CSTS_CFS))
		AWAIT(f, nvme_status_await(op->controller, NVME_CSTS_RDY, NVME_CSTS_RDY,
				 nvme_ready_ms(op->controller), flow_resume, f));
	if (f->rc == -ENODEV)
		goto finish;
	f->error = 0; /* what does not become ready, or has failed, is disabled all the same */
	f->rc = 0;
	nvme_write32(op->controller, NVME_REG_CC, op->cc & ~(NVME_CC_EN | NVME_CC_SHN_MASK));
	AWAIT(f, nvme_status_await(op->controller, NVME_CSTS_RDY, 0, nvme_ready_ms(op->controller),
			 flow_resume, f));
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_disable(struct nvme_controller *controller, done_fn done, void *arg)
{
	nvme_enable_start(controller, "nvme_disable", nvme_disable_run, done, arg);
}

static void nvme_write_queues(struct nvme_controller *controller)
{
	struct nvme_transport *transport = controller->transport;
	struct nvme_admin *admin = &controller->admin;

	memset(admin->area.addr, 0, admin->area.size);
	nvme_write32(controller, NVME_REG_AQA, NVME_AQA(NVME_ADMIN_ENTRIES, NVME_ADMIN_ENTRIES));
	transport->ops->write64(transport, NVME_REG_ASQ,
		admin->area.iova + (uint64_t)((uint8_t *)admin->sq - admin->area.addr));
	transport->ops->write64(transport, NVME_REG_ACQ,
		admin->area.iova + (uint64_t)((uint8_t *)admin->cq - admin->area.addr));
}

static enum flow_result nvme_enable_run(struct flow *f)
{
	struct nvme_enable_op *op = container_of(f, struct nvme_enable_op, flow);

	FLOW_BEGIN(f);
	nvme_write_queues(op->controller);
	op->cc = NVME_SQE_SHIFT << NVME_CC_IOSQES_SHIFT | NVME_CQE_SHIFT << NVME_CC_IOCQES_SHIFT;
	nvme_write32(op->controller, NVME_REG_CC, op->cc);
	nvme_write32(op->controller, NVME_REG_CC, op->cc | NVME_CC_EN);
	AWAIT(f, nvme_status_await(op->controller, NVME_CSTS_RDY, NVME_CSTS_RDY,
			 nvme_ready_ms(op->controller), flow_resume, f));
	if (!flow_failed(f))
		nvme_admin_start(op->controller);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_enable(struct nvme_controller *controller, done_fn done, void *arg)
{
	nvme_enable_start(controller, "nvme_enable", nvme_enable_run, done, arg);
}

static unsigned nvme_shutdown_ms(const struct nvme_controller *controller)
{
	return (unsigned)u64_max(controller->identity.rtd3e / 1000, NVME_SHUTDOWN_MS);
}

static enum flow_result nvme_shut_down_run(struct flow *f)
{
	struct nvme_enable_op *op = container_of(f, struct nvme_enable_op, flow);

	FLOW_BEGIN(f);
	op->cc = nvme_read32(op->controller, NVME_REG_CC);
	if (op->cc == NVME_GONE_32) {
		flow_fail(f, -ENODEV);
		goto finish;
	}
	if (!(op->cc & NVME_CC_EN))
		goto finish;
	nvme_write32(
		op->controller, NVME_REG_CC, (op->cc & ~NVME_CC_SHN_MASK) | NVME_CC_SHN_NORMAL);
	AWAIT(f, nvme_status_await(op->controller, 3u << 2, NVME_CSTS_SHST_COMPLETE << 2,
			 nvme_shutdown_ms(op->controller), flow_resume, f));
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_shut_down(struct nvme_controller *controller, done_fn done, void *arg)
{
	nvme_enable_start(controller, "nvme_shut_down", nvme_shut_down_run, done, arg);
}
