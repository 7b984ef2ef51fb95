/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue pair from inside; qpair.c tells how it works.
 */
#ifndef NVME_QPAIR_IMPL_H
#define NVME_QPAIR_IMPL_H

#include "core/poller.h"
#include "nvme/controller_impl.h"
#include "nvme/qpair.h"

#define NVME_SLOTS_MAX    (NVME_QPAIR_ENTRIES - 1)
#define NVME_LIST_ENTRIES 128u /* PRPs behind the first: of any NVME_TRANSFER_MAX bytes */
#define NVME_LIST_BYTES   (NVME_LIST_ENTRIES * 8)
#define NVME_BOUNCE_PAGES 256u /* at least those of one command */
#define NVME_BOUNCE_NONE  UINT16_MAX
#define NVME_VECTOR_NONE  UINT32_MAX

/* A place in a request's buffers. */
struct nvme_place {
	unsigned index;
	size_t skip;
};

/* A command. */
struct nvme_slot {
	struct nvme_request *request; /* NULL: free */
	uint64_t started_ns;
	uint64_t offset; /* in the request */
	uint64_t length;
	struct nvme_place place; /* READ, WRITE: where its data begins */
	uint16_t bounces; /* the first page that it uses, or NVME_BOUNCE_NONE */
	uint16_t next_free;
	uint8_t generation;
	uint8_t tries;
	bool aborted; /* has been asked for */
};

/* What a bounce page is used for. */
struct nvme_bounce {
	struct nvme_place place;
	uint16_t next; /* of the slot, or free */
	uint16_t page_offset;
	uint16_t length;
};

enum nvme_qpair_state {
	QPAIR_STOPPED, /* nothing is in it */
	QPAIR_RUNNING,
	QPAIR_PAUSED, /* for a reset: requests wait */
	QPAIR_FAILED, /* requests end with error */
};

/* What a data reactor tells the control reactor, one at a time: alarm.c. */
struct nvme_alarm {
	struct message message;
	enum { ALARM_LATE, ALARM_ABORT, ALARM_RESET, ALARM_WRONG } kind;
	uint16_t cid;
	bool busy; /* the data reactor's: until it has come back */
	bool wrong; /* ALARM_WRONG is to be told next */
	struct nvme_admin_command abort; /* the control reactor's */
};

/* What of its memory a data reactor wants to be mapped: want.c. */
struct nvme_want {
	struct message message;
	const void *addr;
	uint64_t after_ns; /* not earlier again */
	bool busy; /* until the message has come back */
};

/* What a data reactor knows of its controller; taken over by nvme_qpair_run. */
struct nvme_limits {
	bool write_cache;
	uint32_t transfer_max;
	unsigned retries;
	uint64_t timeout_ns;
	enum nvme_timeout_action action;
};

struct nvme_qpair {
	/* the data reactor's */
	struct nvme_transport *transport;
	struct nvme_limits limits;
	struct reactor *reactor;
	enum nvme_qpair_state state;
	int error;
	struct nvme_sqe *sq;
	struct nvme_cqe *cq;
	uint16_t entries;
	uint16_t sq_tail;
	uint16_t cq_head;
	uint16_t phase;
	unsigned in_flight;
	uint32_t sq_doorbell;
	uint32_t cq_doorbell;
	struct deferred ring; /* the submission doorbell, once a turn */
	struct poller poller;
	struct os_watch watch;
	unsigned vector;
	uint16_t free_slot; /* or NVME_SLOTS_MAX */
	uint16_t free_bounce;
	struct nvme_request *queue; /* without a slot; of the first a part may have one */
	struct nvme_request **queue_tail;
	const struct nvme_table *table;
	unsigned region_hint;
	struct timer timer; /* only while commands are under way */
	struct nvme_alarm alarm;
	struct nvme_want want;
	struct nvme_slot slots[NVME_SLOTS_MAX];
	struct nvme_bounce bounces[NVME_BOUNCE_PAGES];

	/* the control reactor's, or constant */
	struct nvme_controller *controller;
	struct list link;
	unsigned qid;
	struct nvme_area area;
	uint8_t *lists; /* NVME_LIST_BYTES a slot */
	uint8_t *pages;
	struct nvme_admin_command command;
};

static inline uint64_t nvme_qpair_iova(const struct nvme_qpair *qpair, const void *addr)
{
	return qpair->area.iova + (uint64_t)((const uint8_t *)addr - qpair->area.addr);
}

static inline uint64_t *nvme_slot_list(const struct nvme_qpair *qpair, unsigned slot)
{
	return (uint64_t *)(qpair->lists + (size_t)slot * NVME_LIST_BYTES);
}

/* ---- qpair.c ---- */

void nvme_qpair_init(struct nvme_qpair *qpair);
/* The rings are as new; STOPPED or PAUSED becomes RUNNING, what was in flight is repeated. */
void nvme_qpair_run(struct nvme_qpair *qpair);
/* The controller does not answer: completions are not looked at any more. */
void nvme_qpair_pause(struct nvme_qpair *qpair);
/* The controller can touch no memory any more: everything ends with error, from now on too. */
void nvme_qpair_fail(struct nvme_qpair *qpair, int error);
/* Nothing is in it: no more polls. -EBUSY while a message is under way. */
int nvme_qpair_stop(struct nvme_qpair *qpair);

/* ---- qpair_open.c, on the control reactor ---- */

void nvme_cq_create(struct nvme_qpair *qpair, done_fn done, void *arg);
void nvme_sq_create(struct nvme_qpair *qpair, done_fn done, void *arg);

/* The head of a for that goes, in a flow, through the queue pairs of op->controller by
 * op->qpair. */
#define NVME_EACH_QPAIR(op)                                                                        \
	(op)->qpair = list_first_entry(&(op)->controller->qpairs, struct nvme_qpair, link);        \
	list_member((op)->qpair, link) != &(op)->controller->qpairs;                               \
	(op)->qpair = list_first_entry(&(op)->qpair->link, struct nvme_qpair, link)

/* ---- prp.c ---- */

/* Makes the PRPs of a READ's or WRITE's command and copies what is written through bounce pages;
 * false, and nothing has changed, when there are not enough of them. Pages that the slot had from
 * an earlier try are used again. */
bool nvme_prp_build(struct nvme_qpair *qpair, struct nvme_slot *slot, struct nvme_sqe *sqe);
/* Copies what was read, unless it failed, and gives the bounce pages back. */
void nvme_prp_end(struct nvme_qpair *qpair, struct nvme_slot *slot, bool copy);
void nvme_place_advance(const struct iovec *iov, struct nvme_place *place, uint64_t bytes);

static inline uint16_t nvme_slot_cid(const struct nvme_qpair *qpair, const struct nvme_slot *slot)
{
	return (uint16_t)((unsigned)(slot - qpair->slots) | (unsigned)slot->generation << 8);
}

/* ---- want.c ---- */

void nvme_want(struct nvme_qpair *qpair, const void *addr);

/* ---- alarm.c ---- */

void nvme_alarm_init(struct nvme_qpair *qpair);
/* A command was just sent, the first for a while. */
void nvme_alarm_watch(struct nvme_qpair *qpair);
/* The controller completes what it was not given: it wants a reset. */
void nvme_alarm_wrong(struct nvme_qpair *qpair);

#endif
