/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The requests of all front-ends that are in flight, or postponed because there is no space, with
 * their age and who has them. Control reactor; the data reactors are asked, each for its own
 * queues. Queues on their way to another reactor are left out: they arrive soon.
 */
#ifndef VHOST_REQUESTS_H
#define VHOST_REQUESTS_H

#include "vhost/controller.h"
#include "vhost/virtqueue.h"

struct vhost_requests_query {
	uint64_t older_than_ns; /* others are passed over */
	unsigned max_of_queue; /* and how many more there are is told */
	/* One queue, when its reactor has answered; queries are in no order. */
	void (*queue)(const char *controller, unsigned queue,
		const struct vq_request_info *requests, unsigned count, uint64_t more, void *arg);
	void *arg;
};

/* query is copied. done gets 0. */
void vhost_query_requests(
	struct vhost *vhost, const struct vhost_requests_query *query, done_fn done, void *arg);

#endif
