/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The admin queue, on the control reactor. Commands wait in order for a slot; each slot has a page
 * that answers come through. Event requests have slots of their own, since they stay with the
 * controller for as long as nothing happens, and no deadline.
 *
 * Completions are told by interrupt. A timer runs only while a command other than those is under
 * way: it looks for a completion whose interrupt was lost, and for a deadline that has passed,
 * which is the end of this queue (nvme_controller_break).
 *
 * A cid is a slot and its generation, so that a completion that comes twice or for nothing is seen.
 */
#include <errno.h>
#include <string.h>

#include "nvme/controller_impl.h"

#define NVME_ADMIN_TICK_NS (100 * MSEC_NS)

static void nvme_admin_fill(struct nvme_controller *controller);

static bool nvme_admin_is_event(const struct nvme_admin_command *command)
{
	return command->sqe.opcode == NVME_ADMIN_ASYNC_EVENT;
}

/* ---- ends --------------------------------------------------------------- */

static void nvme_admin_end_run(struct deferred *deferred)
{
	struct nvme_admin *admin = container_of(deferred, struct nvme_admin, end);
	struct list ended;

	list_init(&ended);
	list_move_all(&ended, &admin->ended);
	while (!list_is_empty(&ended)) {
		struct nvme_admin_command *command =
			list_first_entry(&ended, struct nvme_admin_command, link);

		list_remove(&command->link);
		command->done(command->arg, command->rc);
	}
}

static void nvme_admin_end_later(
	struct nvme_controller *controller, struct nvme_admin_command *command, int rc)
{
	command->rc = rc;
	list_add_tail(&controller->admin.ended, &command->link);
	reactor_defer(controller->control, DEFER_COMPLETE, &controller->admin.end);
}

void nvme_admin_stop(struct nvme_controller *controller, int rc)
{
	struct nvme_admin *admin = &controller->admin;
	struct nvme_admin_command *command, *next;

	if (!admin->running)
		return;
	admin->running = false;
	if (admin->watch.armed)
		reactor_unwatch(controller->control, &admin->watch);
	timer_stop(controller->control, &admin->timer);
	for (unsigned i = 0; i < ARRAY_SIZE(admin->slots); i++) {
		if (admin->slots[i])
			nvme_admin_end_later(controller, admin->slots[i], rc);
		admin->slots[i] = NULL;
	}
	list_for_each_entry_safe (command, next, &admin->waiting, link) {
		list_remove(&command->link);
		nvme_admin_end_later(controller, command, rc);
	}
}

/* ---- submission --------------------------------------------------------- */

static unsigned nvme_admin_find_slot(const struct nvme_admin *admin, bool event)
{
	unsigned slot = event ? NVME_ADMIN_SLOTS : 0;
	unsigned end = event ? ARRAY_SIZE(admin->slots) : NVME_ADMIN_SLOTS;

	while (slot < end && admin->slots[slot])
		slot++;
	return slot < end ? slot : ARRAY_SIZE(admin->slots);
}

static void nvme_admin_send(
	struct nvme_controller *controller, struct nvme_admin_command *command, unsigned slot)
{
	struct nvme_admin *admin = &controller->admin;
	struct nvme_sqe *sqe = &command->sqe;

	admin->slots[slot] = command;
	sqe->cid = (uint16_t)(slot | (unsigned)++admin->generations[slot] << 8);
	if (command->data_bytes)
		sqe->prp1 = admin->area.iova +
			    (uint64_t)(admin->pages + (size_t)slot * NVME_PAGE - admin->area.addr);
	command->deadline_ns =
		reactor_now(controller->control) + controller->options.admin_timeout_ns;
	admin->sq[admin->tail] = *sqe;
	admin->tail = (uint16_t)((admin->tail + 1) % NVME_ADMIN_ENTRIES);
	nvme_write32(
		controller, nvme_pci_sq_doorbell(0, NVME_CAP_DSTRD(controller->cap)), admin->tail);
	if (!nvme_admin_is_event(command) && !timer_is_started(&admin->timer))
		timer_start(controller->control, &admin->timer, NVME_ADMIN_TICK_NS);
}

static void nvme_admin_fill(struct nvme_controller *controller)
{
	struct nvme_admin *admin = &controller->admin;
	struct nvme_admin_command *command, *next;

	list_for_each_entry_safe (command, next, &admin->waiting, link) {
		unsigned slot = nvme_admin_find_slot(admin, nvme_admin_is_event(command));

		if (slot == ARRAY_SIZE(admin->slots))
			continue;
		list_remove(&command->link);
		nvme_admin_send(controller, command, slot);
	}
}

void nvme_admin_submit(struct nvme_controller *controller, struct nvme_admin_command *command,
	done_fn done, void *arg)
{
	command->done = done;
	command->arg = arg;
	memset(&command->cqe, 0, sizeof(command->cqe));
	if (!controller->admin.running) {
		nvme_admin_end_later(controller, command, -EIO);
		return;
	}
	list_add_tail(&controller->admin.waiting, &command->link);
	nvme_admin_fill(controller);
}

/* ---- completion --------------------------------------------------------- */

static struct nvme_admin_command *nvme_admin_take(
	struct nvme_admin *admin, const struct nvme_cqe *cqe)
{
	unsigned slot = cqe->cid & 0xff;
	struct nvme_admin_command *command;

	if (cqe->sq_id || cqe->sq_head >= NVME_ADMIN_ENTRIES || slot >= ARRAY_SIZE(admin->slots))
		return NULL;
	command = admin->slots[slot];
	if (!command || command->sqe.cid != cqe->cid)
		return NULL;
	if (command->data_bytes)
		memcpy(command->data, admin->pages + (size_t)slot * NVME_PAGE, command->data_bytes);
	admin->slots[slot] = NULL;
	return command;
}

static void nvme_admin_poll(struct nvme_controller *controller)
{
	struct nvme_admin *admin = &controller->admin;

	while (admin->running) {
		struct nvme_cqe *cqe = &admin->cq[admin->head];
		uint16_t status = __atomic_load_n(&cqe->status, __ATOMIC_ACQUIRE);
		struct nvme_cqe copy;
		struct nvme_admin_command *command;

		if ((status & NVME_CQE_PHASE) != admin->phase)
			return;
		copy = *cqe;
		copy.status = status;
		command = nvme_admin_take(admin, &copy);
		if (!command) {
			nvme_controller_break(
				controller, "completed an admin command that it was not given");
			return;
		}
		admin->head = (uint16_t)((admin->head + 1) % NVME_ADMIN_ENTRIES);
		if (admin->head == 0)
			admin->phase ^= NVME_CQE_PHASE;
		nvme_write32(controller, nvme_pci_cq_doorbell(0, NVME_CAP_DSTRD(controller->cap)),
			admin->head);
		nvme_admin_fill(controller);
		command->cqe = copy;
		command->done(command->arg, status & NVME_STATUS_CODE ? -EIO : 0);
	}
}

static void nvme_admin_interrupted(struct os_watch *watch)
{
	struct nvme_admin *admin = container_of(watch, struct nvme_admin, watch);
	struct nvme_controller *controller = container_of(admin, struct nvme_controller, admin);

	nvme_admin_poll(controller);
	if (admin->running && !admin->watch.armed)
		reactor_watch(controller->control, &admin->watch);
}

static void nvme_admin_tick(struct timer *timer)
{
	struct nvme_admin *admin = container_of(timer, struct nvme_admin, timer);
	struct nvme_controller *controller = container_of(admin, struct nvme_controller, admin);
	uint64_t now_ns = reactor_now(controller->control);
	bool busy = false;

	nvme_admin_poll(controller);
	for (unsigned i = 0; admin->running && i < NVME_ADMIN_SLOTS; i++) {
		if (!admin->slots[i])
			continue;
		busy = true;
		if (now_ns >= admin->slots[i]->deadline_ns)
			nvme_controller_break(controller, "does not answer an admin command");
	}
	if (admin->running && busy)
		timer_start(controller->control, &admin->timer, NVME_ADMIN_TICK_NS);
}

/* ---- life --------------------------------------------------------------- */

void nvme_admin_init(struct nvme_controller *controller)
{
	struct nvme_admin *admin = &controller->admin;

	list_init(&admin->waiting);
	list_init(&admin->ended);
	admin->end.run = nvme_admin_end_run;
	admin->timer.fired = nvme_admin_tick;
}

void nvme_admin_start(struct nvme_controller *controller)
{
	struct nvme_admin *admin = &controller->admin;
	struct nvme_transport *transport = controller->transport;

	admin->tail = 0;
	admin->head = 0;
	admin->phase = NVME_CQE_PHASE;
	admin->running = true;
	admin->watch.fd = transport->ops->interrupt_fd(transport, 0);
	admin->watch.kind = OS_WATCH_EVENT;
	admin->watch.ready = nvme_admin_interrupted;
	reactor_watch(controller->control, &admin->watch);
}
