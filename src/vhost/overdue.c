/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests older than a limit, told in the log. A look every quarter of the limit names those that
 * have passed it since the look before, by their age alone, so that nothing is remembered of them.
 * The data reactors answer a little later than they are asked: for that there is a slack, in which
 * one is rather named twice than not at all. What waits for space is not meant: the log says that
 * elsewhere.
 *
 * A look under way knows nothing of vhost, which may go meanwhile.
 */
#include "vhost/overdue_impl.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "vhost/controller_impl.h"
#include "vhost/requests.h"

#define OVERDUE_LIMIT_NS (30 * SEC_NS)
#define OVERDUE_SLACK    16 /* a part of the limit */
#define OVERDUE_OF_QUEUE 64
#define OVERDUE_LINES    16 /* of one look */

struct overdue_look {
	uint64_t below_ns; /* older ones have been named */
	unsigned named;
	uint64_t others;
};

static void request_name(
	const char *controller, unsigned queue, const struct vq_request_info *request)
{
	const struct bdev_io_place *place = &request->place;
	uint64_t age_s = request->age_ns / SEC_NS;

	if (request->state != VQ_REQUEST_PLACED) {
		log_warning("%s queue %u: a command is %" PRIu64 " s old, between two of its steps",
			controller, queue, age_s);
		return;
	}
	log_warning("%s queue %u: a %s of %s, block %" PRIu64 ", %" PRIu64 " bytes, is %" PRIu64
		    " s old: %s %s has it",
		controller, queue, bdev_io_type_name(place->type), place->disk,
		place->offset / place->block_size, place->length, age_s,
		place->hold == BDEV_HELD_BY_DEVICE ? place->module : bdev_io_hold_name(place->hold),
		place->hold == BDEV_HELD_BY_DEVICE ? place->device : "before it");
}

static void queue_name(const char *controller, unsigned queue,
	const struct vq_request_info *requests, unsigned count, uint64_t more, void *arg)
{
	struct overdue_look *look = arg;

	for (unsigned i = 0; i < count; i++) {
		if (requests[i].age_ns >= look->below_ns)
			continue;
		if (look->named < OVERDUE_LINES) {
			look->named++;
			request_name(controller, queue, &requests[i]);
		} else {
			look->others++;
		}
	}
}

static void look_ended(void *arg, int rc)
{
	struct overdue_look *look = arg;

	if (look->others)
		log_warning("and %" PRIu64 " requests more are as old: sluice io lists them",
			look->others);
	free(look);
}

static void overdue_arm(struct overdue *overdue)
{
	timer_start(overdue->vhost->control, &overdue->timer, overdue->limit_ns / 4);
}

static void overdue_fired(struct timer *timer)
{
	struct overdue *overdue = container_of(timer, struct overdue, timer);
	struct overdue_look *look = alloc_op(sizeof(*look));
	uint64_t now_ns = reactor_now(overdue->vhost->control);
	const struct vhost_requests_query query = {
		.older_than_ns = overdue->limit_ns,
		.max_of_queue = OVERDUE_OF_QUEUE,
		.queue = queue_name,
		.arg = look,
	};

	look->below_ns = overdue->limit_ns + (now_ns - overdue->looked_ns) +
			 overdue->limit_ns / OVERDUE_SLACK;
	overdue->looked_ns = now_ns;
	vhost_query_requests(overdue->vhost, &query, look_ended, look);
	overdue_arm(overdue);
}

void overdue_init(struct overdue *overdue, struct vhost *vhost, uint64_t limit_ns)
{
	overdue->vhost = vhost;
	overdue->limit_ns = limit_ns ? limit_ns : OVERDUE_LIMIT_NS;
	overdue->timer.fired = overdue_fired;
}

void overdue_start(struct overdue *overdue)
{
	overdue->looked_ns = reactor_now(overdue->vhost->control);
	overdue_arm(overdue);
}

void overdue_stop(struct overdue *overdue)
{
	timer_stop(overdue->vhost->control, &overdue->timer);
}
