/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * os_ios of one ring that threads of a pool do with blocking calls. A fixed number of jobs, made
 * with the ring; more os_ios than jobs wait in a list of the ring's thread, so submitting neither
 * allocates nor fails.
 *
 *	ring's thread: free job -> pool -> worker: runs it, pushes it on ended, notifies the ring
 *	ring's thread: offload_reap takes ended, calls done, frees the job, starts one that waits
 *
 * After a worker has pushed a job, the ring may see it, become idle and be destroyed while that
 * worker is still about to notify it: busy counts the workers in between, and fini waits for them.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

struct offload_job {
	struct os_work work;
	struct mpsc_node ended;
	struct offload *offload;
	struct os_io *io;
	struct offload_job *next; /* free */
};

static void job_run(struct os_work *work)
{
	struct offload_job *job = container_of(work, struct offload_job, work);

	job->io->result = blocking_io_run(job->io);
}

static void job_finished(struct os_work *work)
{
	struct offload_job *job = container_of(work, struct offload_job, work);
	struct offload *offload = job->offload;

	atomic_fetch_add_explicit(&offload->busy, 1, memory_order_relaxed);
	mpsc_push(&offload->ended, &job->ended);
	ring_notify(offload->ring);
	/* Release: all that this thread did to the ring comes before fini goes on. */
	atomic_fetch_sub_explicit(&offload->busy, 1, memory_order_release);
}

int offload_init(struct offload *offload, struct os_ring *ring, struct pool *pool, unsigned jobs)
{
	offload->pool = pool;
	offload->ring = ring;
	offload->jobs = calloc(jobs, sizeof(*offload->jobs));
	if (!offload->jobs)
		return -ENOMEM;
	for (unsigned i = 0; i < jobs; i++) {
		struct offload_job *job = &offload->jobs[i];

		job->offload = offload;
		job->work.run = job_run;
		job->work.finished = job_finished;
		job->next = offload->free;
		offload->free = job;
	}
	os_io_list_init(&offload->waiting);
	return 0;
}

void offload_fini(struct offload *offload)
{
	invariant(!offload->waiting.head);
	while (atomic_load_explicit(&offload->busy, memory_order_acquire) > 0)
		sched_yield();
	free(offload->jobs);
}

static void job_start(struct offload *offload, struct os_io *io)
{
	struct offload_job *job = offload->free;

	offload->free = job->next;
	job->io = io;
	pool_queue(offload->pool, &job->work);
}

void offload_submit(struct offload *offload, struct os_io *io)
{
	if (offload->free)
		job_start(offload, io);
	else
		os_io_list_add(&offload->waiting, io);
}

unsigned offload_reap(struct offload *offload)
{
	struct mpsc_node *node = mpsc_take_all(&offload->ended);
	unsigned count = 0;

	while (node) {
		struct offload_job *job = container_of(node, struct offload_job, ended);
		struct os_io *io = job->io;

		node = node->next;
		job->next = offload->free;
		offload->free = job;
		if (offload->waiting.head)
			job_start(offload, os_io_list_take(&offload->waiting));
		ring_complete(offload->ring, io);
		count++;
	}
	return count;
}
