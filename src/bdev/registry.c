/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices of a daemon: one space of names for names, uuids and aliases; who has a device open;
 * events.
 *
 * A name is taken from bdev_register until the device has been destroyed, so that a new device of
 * the same name cannot meet the old one's file or socket still open. bdev->name is the text of the
 * first entry of bdev->names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_impl.h"

#define BDEV_BLOCK_SIZE_MIN 512u
#define BDEV_BLOCK_SIZE_MAX 65536u

int bdev_registry_create(
	struct os *os, struct reactor *control, struct bdev_registry **ret_registry)
{
	struct bdev_registry *registry = calloc(1, sizeof(*registry));

	if (!registry)
		return -ENOMEM;
	registry->os = os;
	registry->control = control;
	list_init(&registry->bdevs);
	list_init(&registry->subscribers);
	list_init(&registry->memories);
	*ret_registry = registry;
	return 0;
}

void bdev_registry_destroy(struct bdev_registry *registry)
{
	struct bdev_subscriber *subscriber, *next;

	invariant(list_is_empty(&registry->bdevs));
	invariant(registry->names == NULL);
	list_for_each_entry_safe (subscriber, next, &registry->subscribers, link)
		free(subscriber);
	free(registry);
}

struct os *bdev_registry_os(struct bdev_registry *registry)
{
	return registry->os;
}

struct reactor *bdev_registry_control(struct bdev_registry *registry)
{
	return registry->control;
}

int bdev_registry_subscribe(struct bdev_registry *registry,
	void (*fn)(const struct bdev_event *event, void *arg), void *arg)
{
	struct bdev_subscriber *subscriber = malloc(sizeof(*subscriber));

	if (!subscriber)
		return -ENOMEM;
	subscriber->fn = fn;
	subscriber->arg = arg;
	list_add_tail(&registry->subscribers, &subscriber->link);
	return 0;
}

void bdev_notify(struct bdev *bdev, int kind)
{
	const struct bdev_event event = {.kind = kind, .bdev = bdev};
	struct bdev_subscriber *subscriber;

	list_for_each_entry (subscriber, &bdev->registry->subscribers, link)
		subscriber->fn(&event, subscriber->arg);
}

/* ---- names -------------------------------------------------------------- */

static struct bdev_name *bdev_name_find(struct bdev_registry *registry, const char *text)
{
	struct bdev_name *name;

	HASH_FIND_STR(registry->names, text, name);
	return name;
}

static int bdev_name_add(
	struct bdev_registry *registry, struct bdev *bdev, const char *text, struct reason *reason)
{
	size_t length = strlen(text);
	struct bdev_name *name;

	if (bdev_name_find(registry, text))
		return reason_set(reason, -EEXIST,
			"%s is the name, alias or uuid of a device already: choose another", text);
	name = malloc(sizeof(*name) + length + 1);
	if (!name)
		return -ENOMEM;
	name->bdev = bdev;
	memcpy(name->text, text, length + 1);
	HASH_ADD_KEYPTR(hh, registry->names, name->text, length, name);
	list_add_tail(&bdev->names, &name->link);
	return 0;
}

static void bdev_name_free(struct bdev_registry *registry, struct bdev_name *name)
{
	HASH_DEL(registry->names, name);
	list_remove(&name->link);
	free(name);
}

void bdev_names_free(struct bdev_registry *registry, struct list *names)
{
	struct bdev_name *name, *next;

	list_for_each_entry_safe (name, next, names, link)
		bdev_name_free(registry, name);
}

struct bdev *bdev_find(struct bdev_registry *registry, const char *name)
{
	const struct bdev_name *entry = bdev_name_find(registry, name);

	return entry ? entry->bdev : NULL;
}

int bdev_alias_add(struct bdev *bdev, const char *alias, struct reason *reason)
{
	if (!*alias)
		return reason_set(reason, -EINVAL, "an alias cannot be empty");
	return bdev_name_add(bdev->registry, bdev, alias, reason);
}

static bool bdev_name_is_fixed(const struct bdev *bdev, const char *text)
{
	char uuid[UUID_STR_LEN];

	uuid_unparse_lower(bdev->uuid, uuid);
	return strcmp(text, bdev->name) == 0 || strcmp(text, uuid) == 0;
}

int bdev_alias_remove(struct bdev *bdev, const char *alias, struct reason *reason)
{
	struct bdev_name *name = bdev_name_find(bdev->registry, alias);

	if (!name || name->bdev != bdev || bdev_name_is_fixed(bdev, alias))
		return reason_set(
			reason, -ENOENT, "%s is not an alias of device %s", alias, bdev->name);
	bdev_name_free(bdev->registry, name);
	return 0;
}

void bdev_alias_for_each(
	const struct bdev *bdev, void (*fn)(const char *alias, void *arg), void *arg)
{
	const struct bdev_name *name;

	list_for_each_entry (name, &bdev->names, link)
		if (name->text != bdev->name)
			fn(name->text, arg);
}

/* ---- registration ------------------------------------------------------- */

static int bdev_check_units(const struct bdev *bdev, struct reason *reason)
{
	uint32_t unit = bdev->io_unit_size;

	if (!unit || unit == bdev->block_size)
		return 0;
	if (!is_power_of_two(unit) || unit < bdev->block_size || unit > BDEV_BLOCK_SIZE_MAX)
		return reason_set(reason, -EINVAL,
			"the I/O unit of %s is %u: it must be a power of two from the block size "
			"of %u to 65536",
			bdev->name, unit, bdev->block_size);
	if (bdev_size(bdev) % unit)
		return reason_set(reason, -EINVAL,
			"the size of %s is %llu bytes: it must be a multiple of its I/O unit of %u",
			bdev->name, (unsigned long long)bdev_size(bdev), unit);
	if (bdev->max_iovcnt == 1 || bdev->max_iovcnt == 2)
		return reason_set(reason, -EINVAL,
			"%s takes %u buffers in a request: with an I/O unit of %u it needs 3",
			bdev->name, bdev->max_iovcnt, unit);
	return 0;
}

static int bdev_check(const struct bdev *bdev, struct reason *reason)
{
	uint64_t size = bdev_size(bdev);

	if (!bdev->name || !*bdev->name)
		return reason_set(reason, -EINVAL, "a device needs a name");
	if (!is_power_of_two(bdev->block_size) || bdev->block_size < BDEV_BLOCK_SIZE_MIN ||
		bdev->block_size > BDEV_BLOCK_SIZE_MAX)
		return reason_set(reason, -EINVAL,
			"the block size of %s is %u: it must be a power of two from 512 to 65536",
			bdev->name, bdev->block_size);
	if (bdev->physical_block_size && (!is_power_of_two(bdev->physical_block_size) ||
						 bdev->physical_block_size < bdev->block_size))
		return reason_set(reason, -EINVAL,
			"the physical block size of %s is %u: it must be a power of two not below "
			"the block size of %u",
			bdev->name, bdev->physical_block_size, bdev->block_size);
	if ((size == 0 && !bdev->may_be_empty) || size % bdev->block_size || size > INT64_MAX)
		return reason_set(reason, -EINVAL,
			"the size of %s is %llu bytes: it must be a multiple of its block size "
			"of %u and not 0",
			bdev->name, (unsigned long long)size, bdev->block_size);
	return bdev_check_units(bdev, reason);
}

static void bdev_init_units(struct bdev *bdev)
{
	if (!bdev->io_unit_size)
		bdev->io_unit_size = bdev->block_size;
	if (bdev->physical_block_size < bdev->io_unit_size)
		bdev->physical_block_size = bdev->io_unit_size;
	if (bdev->unmap_granularity < bdev->io_unit_size)
		bdev->unmap_granularity = bdev->io_unit_size;
	if (bdev->io_unit_size > bdev->block_size && bdev->max_iovcnt)
		bdev->max_iovcnt -= 2;
}

static void bdev_init(struct bdev *bdev, struct bdev_registry *registry)
{
	bdev->registry = registry;
	bdev->removing = false;
	bdev->remove_op = NULL;
	bdev->claim = BDEV_CLAIM_NONE;
	bdev->claim_holder = NULL;
	bdev->claims = 0;
	bdev->writers = 0;
	bdev->operations = 0;
	memset(&bdev->closed_stats, 0, sizeof(bdev->closed_stats));
	bdev->qos = NULL;
	bdev->histogram = NULL;
	if (uuid_is_null(bdev->uuid))
		uuid_generate_random(bdev->uuid);
	bdev_init_units(bdev);
	list_init(&bdev->names);
	list_init(&bdev->users);
	list_init(&bdev->channels);
	list_init(&bdev->range_locks);
	bdev_gate_init(&bdev->claim_gate, registry->control);
	bdev_gate_init(&bdev->channel_gate, registry->control);
}

static int bdev_names_init(struct bdev *bdev, struct reason *reason)
{
	struct bdev_registry *registry = bdev->registry;
	char uuid[UUID_STR_LEN];
	int rc = bdev_name_add(registry, bdev, bdev->name, reason);

	if (rc)
		return rc;
	uuid_unparse_lower(bdev->uuid, uuid);
	if (strcmp(uuid, bdev->name) != 0)
		rc = bdev_name_add(registry, bdev, uuid, reason);
	if (!rc && bdev->alias)
		rc = bdev_name_add(registry, bdev, bdev->alias, reason);
	if (rc) {
		bdev_names_free(registry, &bdev->names);
		return rc;
	}
	bdev->name = list_first_entry(&bdev->names, struct bdev_name, link)->text;
	bdev->alias = NULL;
	return 0;
}

int bdev_register(struct bdev_registry *registry, struct bdev *bdev, struct reason *reason)
{
	int rc = bdev_check(bdev, reason);

	if (rc)
		return rc;
	bdev_init(bdev, registry);
	rc = bdev_names_init(bdev, reason);
	if (rc)
		return rc;
	list_add_tail(&registry->bdevs, &bdev->link);
	bdev_notify(bdev, BDEV_REGISTERED);
	return 0;
}

void bdev_for_each(
	struct bdev_registry *registry, void (*fn)(struct bdev *bdev, void *arg), void *arg)
{
	struct bdev *bdev;

	list_for_each_entry (bdev, &registry->bdevs, link)
		fn(bdev, arg);
}

/* ---- users -------------------------------------------------------------- */

int bdev_open(struct bdev *bdev, struct bdev_user *user, struct reason *reason)
{
	if (bdev->removing)
		return reason_set(reason, -ENODEV, "device %s is being removed", bdev->name);
	user->bdev = bdev;
	user->claim = BDEV_CLAIM_NONE;
	user->removed_told = false;
	list_add_tail(&bdev->users, &user->link);
	return 0;
}

void bdev_close(struct bdev_user *user)
{
	struct bdev *bdev = user->bdev;

	invariant(user->claim == BDEV_CLAIM_NONE);
	list_remove(&user->link);
	user->bdev = NULL;
	bdev_removal_check(bdev);
}

void bdev_set_size(struct bdev *bdev, uint64_t size_bytes)
{
	struct bdev_user *user, *next;

	if (bdev_size(bdev) == size_bytes)
		return;
	atomic_store_explicit(&bdev->size_bytes, size_bytes, memory_order_relaxed);
	if (bdev->removing)
		return;
	bdev_notify(bdev, BDEV_RESIZED);
	list_for_each_entry_safe (user, next, &bdev->users, link)
		if (user->ops->resized)
			user->ops->resized(user);
}

void bdev_set_low_water(struct bdev *bdev, unsigned percent)
{
	struct bdev_user *user, *next;

	if (atomic_load_explicit(&bdev->low_water_percent, memory_order_relaxed) == percent)
		return;
	atomic_store_explicit(&bdev->low_water_percent, (uint8_t)percent, memory_order_relaxed);
	list_for_each_entry_safe (user, next, &bdev->users, link)
		if (user->ops->low_water_changed)
			user->ops->low_water_changed(user);
}

void bdev_tell_low_space(struct bdev *bdev)
{
	struct bdev_user *user, *next;

	if (bdev->removing)
		return;
	list_for_each_entry_safe (user, next, &bdev->users, link)
		if (user->ops->low_space)
			user->ops->low_space(user);
}
