/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands that take too long, and what a controller does wrong. The data reactor sees it, the
 * control reactor acts; between them goes one message a queue pair, there and back.
 *
 *	data reactor	a timer, only while commands are under way, looks for the oldest
 *	LATE	a command is older than a tick: does the controller still stand?
 *	ABORT	it is older than the timeout: ABORT is sent for it, once
 *	RESET	it is twice as old, or an abort was not asked for: the controller is BROKEN
 *	WRONG	a completion that makes no sense: BROKEN as well
 *
 * With each of them the control reactor reads CSTS: all ones are a controller that is gone, fatal
 * status one that has failed; both are BROKEN at once, however long the timeout.
 */
#include <string.h>

#include "nvme/qpair_impl.h"

#define NVME_TICK_MAX_NS (500 * MSEC_NS)

/* ---- the control reactor ------------------------------------------------ */

static void nvme_alarm_back(struct message *message);

static void nvme_alarm_return(void *arg, int rc)
{
	struct nvme_qpair *qpair = arg;

	qpair->alarm.message.run = nvme_alarm_back;
	reactor_send(qpair->reactor, &qpair->alarm.message);
}

static void nvme_alarm_abort(struct nvme_qpair *qpair)
{
	struct nvme_alarm *alarm = &qpair->alarm;

	log_warning("%s: a command takes too long and is aborted",
		qpair->controller->transport->address);
	alarm->abort = (struct nvme_admin_command){
		.sqe = {.opcode = NVME_ADMIN_ABORT,
			.cdw10 = (uint32_t)alarm->cid << 16 | qpair->qid},
	};
	nvme_admin_submit(qpair->controller, &alarm->abort, nvme_alarm_return, qpair);
}

/* What of it is the controller's end, or NULL. */
static const char *nvme_alarm_judge(const struct nvme_alarm *alarm, uint32_t csts)
{
	if (csts == NVME_GONE_32)
		return "does not answer any more: it is gone";
	if (csts & NVME_CSTS_CFS)
		return "says that it has failed";
	if (alarm->kind == ALARM_RESET)
		return "does not end a command";
	if (alarm->kind == ALARM_WRONG)
		return "completed a command that it was not given";
	return NULL;
}

static void nvme_alarm_heard(struct message *message)
{
	struct nvme_qpair *qpair = container_of(message, struct nvme_qpair, alarm.message);
	struct nvme_controller *controller = qpair->controller;
	const char *what = nvme_alarm_judge(&qpair->alarm, nvme_read32(controller, NVME_REG_CSTS));

	if (what && controller->state == NVME_LIVE)
		nvme_controller_break(controller, what);
	else if (what && controller->state == NVME_RESETTING)
		controller->break_again = true; /* perhaps of before; once more does no harm */
	if (controller->state == NVME_LIVE && qpair->alarm.kind == ALARM_ABORT)
		nvme_alarm_abort(qpair);
	else
		nvme_alarm_return(qpair, 0);
}

/* ---- the data reactor --------------------------------------------------- */

static void nvme_alarm_send(struct nvme_qpair *qpair, int kind, uint16_t cid)
{
	struct nvme_alarm *alarm = &qpair->alarm;

	alarm->busy = true;
	alarm->kind = kind;
	alarm->cid = cid;
	alarm->message.run = nvme_alarm_heard;
	reactor_send(qpair->controller->control, &alarm->message);
}

static void nvme_alarm_back(struct message *message)
{
	struct nvme_qpair *qpair = container_of(message, struct nvme_qpair, alarm.message);

	bool wrong = qpair->alarm.wrong && qpair->state == QPAIR_PAUSED;

	qpair->alarm.busy = false;
	qpair->alarm.wrong = false;
	if (wrong)
		nvme_alarm_send(qpair, ALARM_WRONG, 0);
}

void nvme_alarm_wrong(struct nvme_qpair *qpair)
{
	if (qpair->alarm.busy)
		qpair->alarm.wrong = true;
	else
		nvme_alarm_send(qpair, ALARM_WRONG, 0);
}

/* The oldest of those that are aborted, or not; NULL when there is none. */
static struct nvme_slot *nvme_oldest(struct nvme_qpair *qpair, bool aborted)
{
	struct nvme_slot *oldest = NULL;

	for (unsigned i = 0; i + 1u < qpair->entries; i++) {
		struct nvme_slot *slot = &qpair->slots[i];

		if (slot->request && slot->aborted == aborted &&
			(!oldest || slot->started_ns < oldest->started_ns))
			oldest = slot;
	}
	return oldest;
}

static uint64_t nvme_age(const struct nvme_qpair *qpair, const struct nvme_slot *slot)
{
	return slot ? qpair->reactor->now_ns - slot->started_ns : 0;
}

static uint64_t nvme_tick_ns(const struct nvme_qpair *qpair)
{
	return u64_min(qpair->limits.timeout_ns / 2, NVME_TICK_MAX_NS);
}

static void nvme_alarm_look(struct nvme_qpair *qpair)
{
	const struct nvme_limits *limits = &qpair->limits;
	struct nvme_slot *fresh = nvme_oldest(qpair, false);
	struct nvme_slot *aborted = nvme_oldest(qpair, true);
	uint64_t age_ns = nvme_age(qpair, fresh);

	if (nvme_age(qpair, aborted) > 2 * limits->timeout_ns) {
		nvme_alarm_send(qpair, ALARM_RESET, 0);
	} else if (age_ns > limits->timeout_ns && limits->action == NVME_TIMEOUT_RESET) {
		nvme_alarm_send(qpair, ALARM_RESET, 0);
	} else if (age_ns > limits->timeout_ns && limits->action == NVME_TIMEOUT_ABORT) {
		fresh->aborted = true;
		nvme_alarm_send(qpair, ALARM_ABORT, nvme_slot_cid(qpair, fresh));
	} else if (u64_max(age_ns, nvme_age(qpair, aborted)) > nvme_tick_ns(qpair)) {
		nvme_alarm_send(qpair, ALARM_LATE, 0);
	}
}

static void nvme_alarm_tick(struct timer *timer)
{
	struct nvme_qpair *qpair = container_of(timer, struct nvme_qpair, timer);

	if (qpair->in_flight == 0 || qpair->state != QPAIR_RUNNING)
		return;
	if (!qpair->alarm.busy)
		nvme_alarm_look(qpair);
	poller_wake(&qpair->poller); /* should an interrupt have been lost */
	timer_start(qpair->reactor, &qpair->timer, nvme_tick_ns(qpair));
}

void nvme_alarm_watch(struct nvme_qpair *qpair)
{
	if (!timer_is_started(&qpair->timer))
		timer_start(qpair->reactor, &qpair->timer, nvme_tick_ns(qpair));
}

void nvme_alarm_init(struct nvme_qpair *qpair)
{
	qpair->timer.fired = nvme_alarm_tick;
}
