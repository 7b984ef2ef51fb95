/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool of threads for calls that block. Threads are started while there is more queued than
 * threads wait, up to a maximum, and stay until the pool is destroyed; a daemon that never needs
 * one has none. One mutex: what comes here takes microseconds to minutes.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work_queued;
	struct list queue; /* of os_work */
	unsigned queued;
	unsigned idle;
	unsigned started;
	unsigned max;
	bool stopping;
	const char *name;
	pthread_t threads[];
};

/* Lock held; NULL when the pool is stopping and the queue is empty. */
static struct os_work *pool_take(struct pool *pool)
{
	struct os_work *work;

	while (list_is_empty(&pool->queue)) {
		if (pool->stopping)
			return NULL;
		pool->idle++;
		pthread_cond_wait(&pool->work_queued, &pool->lock);
		pool->idle--;
	}
	work = list_first_entry(&pool->queue, struct os_work, link);
	list_remove(&work->link);
	pool->queued--;
	return work;
}

static void *pool_run(void *arg)
{
	struct pool *pool = arg;
	struct os_work *work;

	pthread_mutex_lock(&pool->lock);
	while ((work = pool_take(pool)) != NULL) {
		pthread_mutex_unlock(&pool->lock);
		work->run(work);
		work->finished(work); /* work may be gone from here */
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int pool_create(const char *name, unsigned max, struct pool **ret_pool)
{
	struct pool *pool = calloc(1, sizeof(*pool) + max * sizeof(pool->threads[0]));

	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work_queued, NULL);
	list_init(&pool->queue);
	pool->name = name;
	pool->max = max;
	*ret_pool = pool;
	return 0;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work_queued);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->started; i++)
		pthread_join(pool->threads[i], NULL);
	invariant(list_is_empty(&pool->queue));
	pthread_cond_destroy(&pool->work_queued);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* Lock held. False: no thread could be had and none is there. */
static bool pool_grow(struct pool *pool)
{
	static struct log_limit limit;
	int rc;

	if (pool->queued <= pool->idle || pool->started == pool->max)
		return true;
	rc = thread_create(pool->name, -1, pool_run, pool, &pool->threads[pool->started]);
	if (rc == 0) {
		pool->started++;
		return true;
	}
	log_limited(&limit, LOG_WARNING, "cannot start a %s thread: %s; going on with %u",
		pool->name, strerror(-rc), pool->started);
	return pool->started > 0;
}

void pool_queue(struct pool *pool, struct os_work *work)
{
	bool taken;

	pthread_mutex_lock(&pool->lock);
	list_add_tail(&pool->queue, &work->link);
	pool->queued++;
	taken = pool_grow(pool);
	if (!taken) {
		list_remove(&work->link);
		pool->queued--;
	}
	pthread_cond_signal(&pool->work_queued);
	pthread_mutex_unlock(&pool->lock);
	if (taken)
		return;
	/* The system gives no thread at all: late is better than never. */
	work->run(work);
	work->finished(work);
}

void real_work_queue(struct os *os, struct os_work *work)
{
	pool_queue(os_real_of(os)->workers, work);
}
