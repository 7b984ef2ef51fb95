/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asynchronous events (base 5.2). Some requests for them are always with the controller; each is a
 * flow that goes round: the request ends with an event; the event's log page is read, since only
 * that lets the controller tell the next of its kind; what it means is done; the request goes back.
 * It ends with the admin queue, or when the controller refuses the request.
 */
#include <errno.h>
#include <string.h>

#include "nvme/controller_impl.h"

/* Little of a page is needed: reading it is what counts. */
static unsigned nvme_event_log_bytes(uint32_t dw0)
{
	switch (NVME_EVENT_LOG(dw0)) {
	case NVME_LOG_ERRORS:
		return 64;
	case NVME_LOG_HEALTH:
	case NVME_LOG_FIRMWARE:
		return sizeof(struct nvme_health);
	case NVME_LOG_CHANGED_NAMESPACES:
		return NVME_IDENTIFY_BYTES;
	default:
		return 0;
	}
}

static void nvme_event_await(struct nvme_event *event, done_fn done, void *arg)
{
	event->request = (struct nvme_admin_command){.sqe = {.opcode = NVME_ADMIN_ASYNC_EVENT}};
	nvme_admin_submit(event->controller, &event->request, done, arg);
}

static void nvme_event_act(struct nvme_event *event)
{
	struct nvme_controller *controller = event->controller;
	const struct nvme_health *health = (const void *)event->log;
	uint32_t dw0 = event->request.cqe.dw0;
	const char *address = controller->transport->address;

	switch (NVME_EVENT_TYPE(dw0)) {
	case NVME_EVENT_ERROR:
		log_warning("%s reports an error of its own (0x%x)", address, NVME_EVENT_INFO(dw0));
		return;
	case NVME_EVENT_HEALTH:
		log_warning("%s reports bad health: warnings 0x%x, spare %u %% of %u %%", address,
			health->critical_warning, health->available_spare,
			health->available_spare_threshold);
		return;
	case NVME_EVENT_NOTICE:
		if (NVME_EVENT_INFO(dw0) == NVME_NOTICE_NAMESPACES)
			controller->ops->changed(controller->owner);
		return;
	default:
		return;
	}
}

static enum flow_result nvme_event_run(struct flow *f)
{
	struct nvme_event *event = container_of(f, struct nvme_event, flow);

	FLOW_BEGIN(f);
	for (;;) {
		AWAIT(f, nvme_event_await(event, flow_resume, f));
		if (flow_failed(f))
			break;
		memset(event->log, 0, sizeof(event->log));
		if (nvme_event_log_bytes(event->request.cqe.dw0))
			AWAIT(f, nvme_read_log(event->controller, &event->read,
					 NVME_EVENT_LOG(event->request.cqe.dw0), event->log,
					 nvme_event_log_bytes(event->request.cqe.dw0), flow_resume,
					 f));
		if (event->controller->state == NVME_LIVE)
			nvme_event_act(event);
	}
	event->running = false;
	FLOW_END(f);
}

void nvme_events_start(struct nvme_controller *controller)
{
	unsigned count = (unsigned)u64_min(NVME_EVENT_SLOTS, controller->identity.aerl + 1u);

	for (unsigned i = 0; i < count; i++) {
		struct nvme_event *event = &controller->events[i];

		invariant(!event->running); /* the queue was stopped long ago */
		event->controller = controller;
		event->running = true;
		memset(&event->flow, 0, sizeof(event->flow));
		flow_start(&event->flow, controller->control, "nvme_event", nvme_event_run);
	}
}
