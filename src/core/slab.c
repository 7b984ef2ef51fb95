/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One pool a reactor, one free list a class. Objects come from and go back to the allocator on
 * workers only, in batches; the data thread only links and unlinks them.
 *
 *	dry:  slab_get finds nothing -> a grow job is queued (one at a time for a class); when it
 *	      comes back its objects are on the free list and the waiters are called in order.
 *	idle: while a class owns more than its base, a timer looks once a second at the least number
 *	      of objects that were free in that second; half of them go back.
 *
 * Large ones are mappings of their own, so that what goes back is the system's again at once: the
 * heap would keep it for as long as something small lies behind.
 */
#include "core/slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/worker.h"

#define SLAB_TRIM_NS    SEC_NS
#define SLAB_PAGES_FROM (128 * KIB)
#define SLAB_RETRY_NS   (10 * MSEC_NS) /* after the allocator had nothing */

struct slab_object {
	struct slab_object *next;
};

struct slab {
	struct slab_pool *pool;
	enum slab_class class;
	struct slab_object *free;
	unsigned free_count;
	unsigned free_min; /* since the last trim */
	unsigned owned;
	struct list waiters;
	struct deferred wakeup; /* calls the waiters, not from inside somebody's slab_put */
	bool busy; /* a grow or trim job is under way */
	struct worker_job job;
	struct slab_object *batch; /* of the job */
	unsigned batch_count;
	struct timer retry;
};

struct slab_pool {
	struct reactor *reactor;
	struct slab slabs[SLAB_CLASSES];
	struct timer trim;
};

static const struct slab_kind {
	size_t size;
	size_t align;
	unsigned base; /* made at the start, kept for ever */
	unsigned batch; /* of one grow job */
} slab_kinds[SLAB_CLASSES] = {
	[SLAB_512] = {512, CACHE_LINE, 64, 64},
	[SLAB_4K] = {4 * KIB, 4 * KIB, 8, 32},
	[SLAB_32K] = {32 * KIB, 4 * KIB, 0, 8},
	[SLAB_128K] = {128 * KIB, 4 * KIB, 0, 8},
	[SLAB_1M] = {1 * MIB, 4 * KIB, 0, 1},
};

size_t slab_object_size(enum slab_class class)
{
	return slab_kinds[class].size;
}

enum slab_class slab_class_for(size_t bytes)
{
	enum slab_class class = SLAB_512;

	while (class < SLAB_CLASSES && slab_object_size(class) < bytes)
		class ++;
	return class;
}

static bool slab_maps_pages(const struct slab_kind *kind)
{
	return kind->size >= SLAB_PAGES_FROM;
}

static struct slab_object *slab_object_allocate(const struct slab_kind *kind)
{
	return slab_maps_pages(kind) ? alloc_pages(kind->size)
				     : aligned_alloc(kind->align, kind->size);
}

static unsigned slab_batch_allocate(
	enum slab_class class, unsigned count, struct slab_object **ret_list)
{
	const struct slab_kind *kind = &slab_kinds[class];
	struct slab_object *list = NULL;
	unsigned made;

	for (made = 0; made < count; made++) {
		struct slab_object *object = slab_object_allocate(kind);

		if (!object)
			break;
		memset(object, 0, kind->size); /* fault the pages in here, not on the data thread */
		object->next = list;
		list = object;
	}
	*ret_list = list;
	return made;
}

static void slab_batch_free(enum slab_class class, struct slab_object *list)
{
	const struct slab_kind *kind = &slab_kinds[class];

	while (list) {
		struct slab_object *next = list->next;

		if (slab_maps_pages(kind))
			free_pages(list, kind->size);
		else
			free(list);
		list = next;
	}
}

static int slab_grow_job(struct worker_job *job)
{
	struct slab *slab = container_of(job, struct slab, job);

	slab->batch_count =
		slab_batch_allocate(slab->class, slab_kinds[slab->class].batch, &slab->batch);
	return slab->batch_count ? 0 : -ENOMEM;
}

static void slab_take_batch(struct slab *slab)
{
	while (slab->batch) {
		struct slab_object *object = slab->batch;

		slab->batch = object->next;
		object->next = slab->free;
		slab->free = object;
	}
	slab->free_count += slab->batch_count;
	slab->owned += slab->batch_count;
	slab->batch_count = 0;
}

static void slab_call_waiters(struct deferred *deferred)
{
	struct slab *slab = container_of(deferred, struct slab, wakeup);
	struct list waiters;

	/* Who finds it dry again waits again, on the new list. */
	list_init(&waiters);
	list_move_all(&waiters, &slab->waiters);
	while (!list_is_empty(&waiters)) {
		struct slab_waiter *waiter = list_first_entry(&waiters, struct slab_waiter, link);

		list_remove(&waiter->link);
		waiter->ready(waiter);
	}
}

static void slab_grow_done(void *arg, int rc)
{
	struct slab *slab = arg;
	struct reactor *reactor = slab->pool->reactor;

	slab->busy = false;
	if (rc) {
		if (!reactor->stopping)
			timer_start(reactor, &slab->retry, SLAB_RETRY_NS);
		return;
	}
	slab_take_batch(slab);
	if (!timer_is_started(&slab->pool->trim))
		timer_start(reactor, &slab->pool->trim, SLAB_TRIM_NS);
	reactor_defer(reactor, DEFER_SUBMIT, &slab->wakeup);
}

static void slab_grow(struct slab *slab)
{
	if (slab->busy || timer_is_started(&slab->retry))
		return;
	slab->busy = true;
	worker_run(&slab->job, slab->pool->reactor, slab_grow_job, slab_grow_done, slab);
}

static void slab_retry_fired(struct timer *timer)
{
	slab_grow(container_of(timer, struct slab, retry));
}

static int slab_free_job(struct worker_job *job)
{
	struct slab *slab = container_of(job, struct slab, job);

	slab_batch_free(slab->class, slab->batch);
	slab->batch = NULL;
	return 0;
}

static void slab_free_done(void *arg, int rc)
{
	struct slab *slab = arg;

	slab->busy = false;
	if (!list_is_empty(&slab->waiters))
		slab_grow(slab);
}

static void slab_trim(struct slab *slab)
{
	unsigned base = slab_kinds[slab->class].base;
	unsigned surplus = slab->owned > base ? slab->owned - base : 0;
	unsigned count = (unsigned)u64_min((slab->free_min + 1) / 2, surplus);

	slab->free_min = slab->free_count;
	if (count == 0 || slab->busy)
		return;
	for (unsigned i = 0; i < count; i++) {
		struct slab_object *object = slab->free;

		slab->free = object->next;
		object->next = slab->batch;
		slab->batch = object;
	}
	slab->free_count -= count;
	slab->free_min = slab->free_count;
	slab->owned -= count;
	slab->busy = true;
	worker_run(&slab->job, slab->pool->reactor, slab_free_job, slab_free_done, slab);
}

static void slab_trim_fired(struct timer *timer)
{
	struct slab_pool *pool = container_of(timer, struct slab_pool, trim);
	bool surplus = false;

	for (unsigned class = 0; class < SLAB_CLASSES; class ++) {
		slab_trim(&pool->slabs[class]);
		surplus |= pool->slabs[class].owned > slab_kinds[class].base;
	}
	if (surplus && !pool->reactor->stopping)
		timer_start(pool->reactor, &pool->trim, SLAB_TRIM_NS);
}

void *slab_get(struct reactor *reactor, enum slab_class class)
{
	struct slab *slab = &reactor->slabs->slabs[class];
	struct slab_object *object = slab->free;

	if (unlikely(!object)) {
		slab_grow(slab);
		return NULL;
	}
	slab->free = object->next;
	slab->free_count--;
	if (slab->free_count < slab->free_min)
		slab->free_min = slab->free_count;
	return object;
}

void slab_put(struct reactor *reactor, enum slab_class class, void *object)
{
	struct slab *slab = &reactor->slabs->slabs[class];
	struct slab_object *freed = object;

	freed->next = slab->free;
	slab->free = freed;
	slab->free_count++;
	if (unlikely(!list_is_empty(&slab->waiters)))
		reactor_defer(reactor, DEFER_SUBMIT, &slab->wakeup);
}

void slab_wait(struct reactor *reactor, enum slab_class class, struct slab_waiter *waiter)
{
	struct slab *slab = &reactor->slabs->slabs[class];

	list_add_tail(&slab->waiters, &waiter->link);
	slab_grow(slab);
}

void slab_wait_cancel(struct slab_waiter *waiter)
{
	list_remove(&waiter->link);
}

int slab_pool_create(struct reactor *reactor, struct slab_pool **ret_pool)
{
	struct slab_pool *pool = alloc_lines(sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->reactor = reactor;
	pool->trim.fired = slab_trim_fired;
	for (unsigned class = 0; class < SLAB_CLASSES; class ++) {
		struct slab *slab = &pool->slabs[class];

		slab->pool = pool;
		slab->class = class;
		slab->retry.fired = slab_retry_fired;
		slab->wakeup.run = slab_call_waiters;
		list_init(&slab->waiters);
		slab->batch_count =
			slab_batch_allocate(class, slab_kinds[class].base, &slab->batch);
		slab_take_batch(slab);
		slab->free_min = slab->free_count;
		if (slab->owned < slab_kinds[class].base) {
			slab_pool_destroy(pool);
			return -ENOMEM;
		}
	}
	*ret_pool = pool;
	return 0;
}

void slab_pool_destroy(struct slab_pool *pool)
{
	for (unsigned class = 0; class < SLAB_CLASSES; class ++)
		slab_batch_free(class, pool->slabs[class].free);
	free(pool);
}
