/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that block, awaited by flows. The job runs on a thread of the os's pool and its result
 * comes back to the reactor that queued it.
 */
#ifndef CORE_WORKER_H
#define CORE_WORKER_H

#include "core/flow.h"

struct worker_job {
	struct os_work work;
	struct message message;
	struct reactor *reactor;
	int (*fn)(struct worker_job *job); /* on a worker; 0 or -errno */
	done_fn done;
	void *arg;
	int rc;
};

/* Own reactor's thread. job is embedded in the caller's op and borrowed until done; several jobs
 * run in no order. */
void worker_run(struct worker_job *job, struct reactor *reactor, int (*fn)(struct worker_job *job),
	done_fn done, void *arg);

#endif
