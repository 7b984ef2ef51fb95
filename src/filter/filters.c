/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All filters of a daemon: their names, and the devices that come below them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "filter/filter_impl.h"

static void filters_bdev_event(const struct bdev_event *event, void *arg)
{
	struct filters *filters = arg;
	struct filter *filter;

	if (event->kind != BDEV_REGISTERED || filters->closing)
		return;
	list_for_each_entry (filter, &filters->all, link)
		if (bdev_find(filters->registry, filter->base_name) == event->bdev)
			filter_awaken(filter);
}

int filters_create(struct bdev_registry *registry, struct filters **ret_filters)
{
	struct filters *filters = calloc(1, sizeof(*filters));
	int rc;

	if (!filters)
		return -ENOMEM;
	filters->registry = registry;
	filters->control = bdev_registry_control(registry);
	list_init(&filters->all);
	list_init(&filters->keys);
	list_init(&filters->waiters);
	rc = bdev_registry_subscribe(registry, filters_bdev_event, filters);
	if (rc) {
		free(filters);
		return rc;
	}
	*ret_filters = filters;
	return 0;
}

void filters_close(struct filters *filters)
{
	struct filter *filter;

	filters->closing = true;
	list_for_each_entry (filter, &filters->all, link)
		if (filter->kind->let_go)
			filter->kind->let_go(filter);
}

void filters_destroy(struct filters *filters)
{
	struct filter *filter, *next;

	list_for_each_entry_safe (filter, next, &filters->all, link) {
		invariant(filter->state == FILTER_WAITING && !filter->users);
		list_remove(&filter->link);
		filter_free(filter);
	}
	crypto_keys_free(filters);
	free(filters);
}

/* ---- waiting until all have been raised ---------------------------------------------------- */

struct settled_waiter {
	struct list link;
	struct deferred deferred;
	done_fn done;
	void *arg;
};

static void settled_run(struct deferred *deferred)
{
	struct settled_waiter *waiter = container_of(deferred, struct settled_waiter, deferred);

	waiter->done(waiter->arg, 0);
	free(waiter);
}

static void settled_wake(struct filters *filters)
{
	struct settled_waiter *waiter, *next;

	list_for_each_entry_safe (waiter, next, &filters->waiters, link) {
		list_remove(&waiter->link);
		reactor_defer(filters->control, DEFER_COMPLETE, &waiter->deferred);
	}
}

void filters_raise_ended(struct filters *filters)
{
	if (--filters->raising == 0)
		settled_wake(filters);
}

void filters_wait_settled(struct filters *filters, done_fn done, void *arg)
{
	struct settled_waiter *waiter = alloc_op(sizeof(*waiter));

	waiter->deferred.run = settled_run;
	waiter->done = done;
	waiter->arg = arg;
	list_add_tail(&filters->waiters, &waiter->link);
	if (filters->raising == 0)
		settled_wake(filters);
}

/* ---- found --------------------------------------------------------------------------------- */

static bool filter_has_name(const struct filter *filter, const char *name)
{
	for (unsigned i = 0; i < filter->parts_count; i++)
		if (filter->parts[i].name && strcmp(filter->parts[i].name, name) == 0)
			return true;
	return false;
}

int filters_check_name(struct filters *filters, const char *name, struct reason *reason)
{
	const struct filter *filter;

	if (bdev_find(filters->registry, name))
		return reason_set(reason, -EEXIST,
			"there is a block device %s already: choose another name", name);
	list_for_each_entry (filter, &filters->all, link)
		if (filter_has_name(filter, name))
			return reason_set(reason, -EEXIST,
				"%s is the name of a %s that waits for %s: choose another", name,
				filter->kind->text, filter->base_name);
	return 0;
}

struct filter *filter_find(struct filters *filters, enum filter_type type, const char *name)
{
	struct filter *filter;

	list_for_each_entry (filter, &filters->all, link)
		if (filter->kind->type == type && strcmp(filter->name, name) == 0)
			return filter;
	return NULL;
}

bool filters_want(struct filters *filters, const struct bdev *bdev)
{
	const struct filter *filter;

	list_for_each_entry (filter, &filters->all, link)
		if (bdev_find(filters->registry, filter->base_name) == bdev)
			return true;
	return false;
}

void filter_for_each(
	struct filters *filters, void (*fn)(struct filter *filter, void *arg), void *arg)
{
	struct filter *filter;

	list_for_each_entry (filter, &filters->all, link)
		fn(filter, arg);
}

/* ---- told ---------------------------------------------------------------------------------- */

enum filter_type filter_type(const struct filter *filter)
{
	return filter->kind->type;
}

const char *filter_name(const struct filter *filter)
{
	return filter->name;
}

const char *filter_base_name(const struct filter *filter)
{
	return filter->base_name;
}

void filter_get_uuid(const struct filter *filter, uuid_t ret_uuid)
{
	uuid_copy(ret_uuid, filter->uuid);
}

struct bdev *filter_device(const struct filter *filter, unsigned index)
{
	if (filter->state != FILTER_STANDING || index >= filter->parts_count ||
		!filter->parts[index].registered)
		return NULL;
	return &filter->parts[index].bdev;
}

const struct bdev *filter_bdev_below(const struct bdev *bdev)
{
	return bdev->ops->destroy == filter_part_destroy ? filter_part_of(bdev)->filter->base.bdev
							 : NULL;
}

static bool filter_stands_on(const struct filter *filter, const struct bdev *bdev)
{
	const struct bdev *below = filter->base.bdev;

	while (below && below != bdev)
		below = filter_bdev_below(below);
	return below != NULL;
}

struct bdev *filter_bdev_above(struct filters *filters, const struct bdev *bdev, unsigned index)
{
	const struct filter *filter;

	list_for_each_entry (filter, &filters->all, link) {
		if (filter->state != FILTER_STANDING || !filter_stands_on(filter, bdev))
			continue;
		for (unsigned i = 0; i < filter->parts_count; i++)
			if (filter->parts[i].registered && index-- == 0)
				return &filter->parts[i].bdev;
	}
	return NULL;
}
