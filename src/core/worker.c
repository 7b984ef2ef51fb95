/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/worker.h"

static void worker_job_run(struct os_work *work)
{
	struct worker_job *job = container_of(work, struct worker_job, work);

	job->rc = job->fn(job);
}

static void worker_job_finished(struct os_work *work)
{
	struct worker_job *job = container_of(work, struct worker_job, work);

	reactor_send(job->reactor, &job->message);
}

static void worker_job_done(struct message *message)
{
	struct worker_job *job = container_of(message, struct worker_job, message);

	job->reactor->jobs--;
	job->done(job->arg, job->rc); /* may free the job */
}

void worker_run(struct worker_job *job, struct reactor *reactor, int (*fn)(struct worker_job *job),
	done_fn done, void *arg)
{
	job->work.run = worker_job_run;
	job->work.finished = worker_job_finished;
	job->message.run = worker_job_done;
	job->reactor = reactor;
	job->fn = fn;
	job->done = done;
	job->arg = arg;
	reactor->jobs++; /* the reactor does not end before its jobs have come back */
	reactor->os->ops->work_queue(reactor->os, &job->work);
}
