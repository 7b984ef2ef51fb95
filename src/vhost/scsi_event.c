/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event queue: VIRTIO 1.2 section 5.6.6.3, reference 16.7.
 *
 * Events wait on the control reactor, a bounded number of them, oldest first; when there is no room
 * the newest is lost and the next one delivered says MISSED, on which drivers rescan. They wait
 * while the ring does not run and while it has no buffer. A device reset forgets them.
 *
 * A driver that rescans finds what has come, since it is told after that. What goes it is told
 * before, so that it may finish with it, and finds it still there. So a removal whose event was
 * lost is told once more, by an event that says no more than MISSED, when the unit is gone: once
 * for all that go at the same time.
 *
 * One event at a time travels to the ring's reactor, which takes a buffer for it, and comes back
 * delivered or not. Nobody tells us that a driver has put a buffer into the ring (taking kicks
 * would mean holding buffers), so an event without one is tried again later, ever more slowly.
 */
#include <string.h>

#include "vhost/scsi_impl.h"

#define RETRY_MIN_NS (1 * MSEC_NS)
#define RETRY_MAX_NS (500 * MSEC_NS)

static void event_delivered(void *arg, int rc);

/* On the ring's reactor. */
static void event_deliver(struct scsi_call *call)
{
	struct scsi_events *events = container_of(call, struct scsi_events, call);
	struct vq_request *buffer = virtqueue_pop(events->vq);

	events->delivered = buffer != NULL;
	if (!buffer)
		return;
	if (buffer->faulty || buffer->in_bytes < sizeof(events->current)) {
		virtqueue_break(buffer, "an event buffer is too short or outside memory");
		return;
	}
	vq_iov_write(buffer->iov + buffer->out_iovs, buffer->in_iovs, 0, &events->current,
		sizeof(events->current));
	virtqueue_push(buffer, sizeof(events->current));
}

/* Does the driver want to hear of it? */
static bool event_is_wanted(const struct scsi_device *device, uint32_t event)
{
	if (event == VIRTIO_SCSI_T_TRANSPORT_RESET || event == VIRTIO_SCSI_T_NO_EVENT)
		return device->features & VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG);
	if (event == VIRTIO_SCSI_T_PARAM_CHANGE)
		return device->features & VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE);
	return true;
}

static void events_drop_first(struct scsi_events *events)
{
	events->count--;
	memmove(events->waiting, events->waiting + 1, events->count * sizeof(events->waiting[0]));
}

static void events_send(struct scsi_device *device)
{
	struct scsi_events *events = &device->events;

	if (!events->vq || events->sending || events->stopped || timer_is_started(&events->retry))
		return;
	while (events->count && !event_is_wanted(device, events->waiting[0].event))
		events_drop_first(events);
	if (events->count == 0)
		return;
	events->sending = true;
	events->current = events->waiting[0];
	if (events->missed)
		events->current.event |= VIRTIO_SCSI_T_EVENTS_MISSED;
	scsi_call(&events->call, device->control, virtqueue_reactor(events->vq), event_deliver,
		event_delivered, device);
}

static void events_stopped(struct scsi_events *events)
{
	done_fn done = events->stopped;

	events->vq = NULL;
	events->stopped = NULL;
	done(events->stopped_arg, 0);
}

static void event_delivered(void *arg, int rc)
{
	struct scsi_device *device = arg;
	struct scsi_events *events = &device->events;

	events->sending = false;
	if (events->delivered) {
		events->retry_ns = RETRY_MIN_NS;
		if (events->current.event & VIRTIO_SCSI_T_EVENTS_MISSED)
			events->missed = false;
		events_drop_first(events);
	}
	if (events->stopped) {
		events_stopped(events);
		return;
	}
	if (!events->delivered) {
		timer_start(device->control, &events->retry, events->retry_ns);
		events->retry_ns = u64_min(events->retry_ns * 2, RETRY_MAX_NS);
		return;
	}
	events_send(device);
}

static void events_retry(struct timer *timer)
{
	struct scsi_events *events = container_of(timer, struct scsi_events, retry);

	events_send(container_of(events, struct scsi_device, events));
}

bool scsi_event_post(
	struct scsi_device *device, uint32_t event, uint32_t reason, unsigned target, uint16_t lun)
{
	struct scsi_events *events = &device->events;
	uint16_t encoded = scsi_lun_encode(lun);
	struct virtio_scsi_event *entry;

	if (!device->device.session)
		return true;
	if (events->count == SCSI_EVENTS_MAX) {
		events->missed = true;
		return false;
	}
	entry = &events->waiting[events->count++];
	*entry = (struct virtio_scsi_event){
		.event = event,
		.lun = {1, (uint8_t)target, (uint8_t)(encoded >> 8), (uint8_t)encoded},
		.reason = reason,
	};
	events_send(device);
	return true;
}

/* If there is no room, one of those that wait will say it. */
void scsi_events_rescan(struct scsi_device *device)
{
	struct scsi_events *events = &device->events;

	if (!device->device.session)
		return;
	events->missed = true;
	if (events->count < SCSI_EVENTS_MAX)
		events->waiting[events->count++] =
			(struct virtio_scsi_event){.event = VIRTIO_SCSI_T_NO_EVENT, .lun = {1}};
	events_send(device);
}

void scsi_events_start(struct scsi_device *device, struct virtqueue *vq)
{
	device->events.vq = vq;
	device->events.retry_ns = RETRY_MIN_NS;
	events_send(device);
}

static void events_stop_idle(struct scsi_call *call)
{
}

static void events_stop_done(void *arg, int rc)
{
	events_stopped(arg);
}

void scsi_events_stop(struct scsi_device *device, done_fn done, void *arg)
{
	struct scsi_events *events = &device->events;

	timer_stop(device->control, &events->retry);
	events->stopped = done;
	events->stopped_arg = arg;
	if (!events->sending) /* only so that done is called later */
		scsi_call(&events->call, device->control, device->control, events_stop_idle,
			events_stop_done, events);
}

/* No ring runs, so none is travelling. */
void scsi_events_forget(struct scsi_device *device)
{
	invariant(!device->events.sending);
	device->events.count = 0;
	device->events.missed = false;
}

void scsi_events_init(struct scsi_device *device)
{
	device->events.retry.fired = events_retry;
}

void scsi_events_fini(struct scsi_device *device)
{
	invariant(!device->events.vq);
	timer_stop(device->control, &device->events.retry);
}

/* Without handle: buffers are taken only when there is something to say (reference 8.3). */
const struct virtqueue_ops scsi_event_queue_ops = {
	.request_size = sizeof(struct vq_request),
};
