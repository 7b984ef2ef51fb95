/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device whose requests go wrong when it is told so: for tests of what stands on it, and of the
 * guests.
 *
 * What is to go wrong is an injection for each type of request, made by the control reactor and not
 * changed any more but for its count, which data reactors take from. One that has been replaced is
 * freed with the filter: a reactor may be looking at it.
 *
 * Data that is corrupted on its way down is not the guest's: the byte is taken from a place of our
 * own, between what is before and behind it.
 *
 * Pending requests stay where they are until they are told to go on; or until the device goes or
 * the daemon stops, when they fail. What finds no memory is tried again RETRY_NS later.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filter/filter_impl.h"

#define RETRY_NS MSEC_NS

struct error_rule {
	struct error_rule *older;
	struct error_injection injection;
	_Atomic uint64_t count;
};

#define ERROR_TYPES (BDEV_IO_UNMAP + 1) /* READ, WRITE, FLUSH, UNMAP */

struct error_disk {
	struct filter filter;
	struct error_rule *_Atomic rules[ERROR_TYPES];
	struct error_rule *made; /* the last one; all of them are freed from here */
	atomic_bool closing;
};

struct error_list {
	struct bdev_io *head;
	struct bdev_io **tail;
};

struct error_channel {
	struct filter_channel filter;
	struct bdev_channel *channel;
	uint64_t in_flight; /* below */
	struct error_list pending;
	struct error_list dry;
	struct timer retry;
};

/* A write with another byte in it. */
struct error_copy {
	struct bdev_io *of;
	struct bdev_io io;
	uint8_t byte;
	struct iovec *iov;
	enum slab_class class; /* of iov */
};

/* In the backend's part of a request. */
struct error_io {
	uint8_t sending[FILTER_SEND_SIZE];
	const struct error_rule *corrupts; /* a READ: NULL: nothing */
};

_Static_assert(sizeof(struct error_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");
_Static_assert(sizeof(struct error_copy) <= 512, "fits in a SLAB_512");

static struct error_disk *error_of(const struct filter *filter)
{
	return container_of((struct filter *)(uintptr_t)filter, struct error_disk, filter);
}

static struct error_disk *error_disk_of(const struct bdev_channel *channel)
{
	return error_of(filter_part_of(channel->bdev)->filter);
}

static struct error_channel *error_channel_of(struct bdev_channel *channel)
{
	return (struct error_channel *)channel->backend;
}

static struct error_io *error_io_of(struct bdev_io *io)
{
	return (struct error_io *)io->backend.bytes;
}

static void error_list_init(struct error_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void error_list_add(struct error_list *list, struct bdev_io *io)
{
	io->next = NULL;
	*list->tail = io;
	list->tail = &io->next;
}

/* ---- which of them, and in what way -------------------------------------------------------- */

static bool error_take(struct error_rule *rule)
{
	uint64_t count = atomic_load_explicit(&rule->count, memory_order_relaxed);

	while (count && !atomic_compare_exchange_weak_explicit(&rule->count, &count, count - 1,
				memory_order_relaxed, memory_order_relaxed))
		;
	return count > 0;
}

/* NULL: it passes. */
static const struct error_rule *error_find(struct bdev_channel *channel, const struct bdev_io *io)
{
	struct error_rule *rule;

	if (io->type >= ERROR_TYPES)
		return NULL;
	rule = atomic_load_explicit(&error_disk_of(channel)->rules[io->type], memory_order_acquire);
	if (!rule || error_channel_of(channel)->in_flight < rule->injection.queue_depth)
		return NULL;
	return error_take(rule) ? rule : NULL;
}

/* ---- down ---------------------------------------------------------------------------------- */

static void error_corrupt(const struct bdev_io *io, const struct error_injection *injection)
{
	uint64_t offset = injection->corrupt_offset;

	if (offset >= io->length)
		return;
	for (const struct iovec *iov = io->iov;; iov++) {
		if (offset < iov->iov_len) {
			((uint8_t *)iov->iov_base)[offset] ^= injection->corrupt_value;
			return;
		}
		offset -= iov->iov_len;
	}
}

static void error_ended(struct bdev_io *io, int status)
{
	const struct error_rule *rule = error_io_of(io)->corrupts;

	error_channel_of(io->channel)->in_flight--;
	if (rule && !status)
		error_corrupt(io, &rule->injection);
	bdev_io_complete(io, status);
}

static void error_pass(struct bdev_channel *channel, struct bdev_io *io)
{
	error_channel_of(channel)->in_flight++;
	filter_send(channel, io, error_ended);
}

static void error_copy_done(struct bdev_io *io)
{
	struct error_copy *copy = container_of(io, struct error_copy, io);
	struct bdev_io *of = copy->of;
	struct reactor *reactor = of->channel->reactor;
	int status = io->status;

	slab_put(reactor, copy->class, copy->iov);
	slab_put(reactor, SLAB_512, copy);
	error_channel_of(of->channel)->in_flight--;
	bdev_io_complete(of, status);
}

/* The vectors of io with that byte from elsewhere. */
static unsigned error_copy_vectors(
	struct error_copy *copy, const struct bdev_io *io, const struct error_injection *injection)
{
	uint64_t offset = injection->corrupt_offset;
	unsigned count = 0;

	for (unsigned i = 0; i < io->iovcnt; i++) {
		uint8_t *base = io->iov[i].iov_base;
		size_t len = io->iov[i].iov_len;

		if (offset >= len) {
			offset -= len;
			copy->iov[count++] = io->iov[i];
			continue;
		}
		copy->byte = base[offset] ^ injection->corrupt_value;
		if (offset)
			copy->iov[count++] = (struct iovec){base, offset};
		copy->iov[count++] = (struct iovec){&copy->byte, 1};
		if (offset + 1 < len)
			copy->iov[count++] = (struct iovec){base + offset + 1, len - offset - 1};
		offset = UINT64_MAX; /* no other one */
	}
	return count;
}

/* false: there is no memory just now. */
static bool error_write_corrupt(
	struct bdev_channel *channel, struct bdev_io *io, const struct error_injection *injection)
{
	enum slab_class class = slab_class_for((io->iovcnt + 2u) * sizeof(struct iovec));
	struct error_copy *copy = slab_get(channel->reactor, SLAB_512);
	struct iovec *iov = copy ? slab_get(channel->reactor, class) : NULL;

	if (!iov) {
		if (copy)
			slab_put(channel->reactor, SLAB_512, copy);
		return false;
	}
	*copy = (struct error_copy){.of = io, .iov = iov, .class = class};
	copy->io = (struct bdev_io){
		.type = BDEV_IO_WRITE,
		.flags = io->flags,
		.iov = iov,
		.offset = io->offset,
		.length = io->length,
		.done = error_copy_done,
	};
	copy->io.iovcnt = (uint16_t)error_copy_vectors(copy, io, injection);
	error_channel_of(channel)->in_flight++;
	bdev_submit(error_channel_of(channel)->filter.base, &copy->io);
	return true;
}

/* ---- the channel's reactor ----------------------------------------------------------------- */

static void error_keep_dry(struct bdev_channel *channel, struct bdev_io *io)
{
	struct error_channel *own = error_channel_of(channel);

	if (!own->dry.head)
		timer_start(channel->reactor, &own->retry, RETRY_NS);
	error_list_add(&own->dry, io);
}

static void error_corrupt_on_way(
	struct bdev_channel *channel, struct bdev_io *io, const struct error_rule *rule)
{
	if (io->type == BDEV_IO_READ) {
		error_io_of(io)->corrupts = rule;
		error_pass(channel, io);
	} else if (io->type != BDEV_IO_WRITE || rule->injection.corrupt_offset >= io->length) {
		error_pass(channel, io);
	} else if (!error_write_corrupt(channel, io, &rule->injection)) {
		error_keep_dry(channel, io);
	}
}

static void error_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	const struct error_rule *rule = error_find(channel, io);

	error_io_of(io)->corrupts = NULL;
	if (likely(!rule)) {
		error_pass(channel, io);
		return;
	}
	switch (rule->injection.kind) {
	case ERROR_FAILURE:
		bdev_io_complete(io, -EIO);
		break;
	case ERROR_PENDING:
		if (channel->removed || atomic_load(&error_disk_of(channel)->closing))
			bdev_io_complete(io, -ENODEV);
		else
			error_list_add(&error_channel_of(channel)->pending, io);
		break;
	case ERROR_CORRUPT_DATA:
		error_corrupt_on_way(channel, io, rule);
		break;
	case ERROR_NOMEM:
		error_keep_dry(channel, io);
		break;
	}
}

static void error_list_end(struct bdev_channel *channel, struct error_list *list,
	void (*end)(struct bdev_channel *, struct bdev_io *io))
{
	struct bdev_io *io = list->head;

	error_list_init(list);
	while (io) {
		struct bdev_io *next = io->next;

		end(channel, io);
		io = next;
	}
}

static void error_retry(struct timer *timer)
{
	struct error_channel *own = container_of(timer, struct error_channel, retry);

	error_list_end(own->channel, &own->dry, error_submit);
}

static void error_refuse(struct bdev_channel *channel, struct bdev_io *io)
{
	bdev_io_complete(io, -ENODEV);
}

static void error_let_go_channel(struct bdev_channel *channel)
{
	struct error_channel *own = error_channel_of(channel);

	timer_stop(channel->reactor, &own->retry);
	error_list_end(channel, &own->pending, error_refuse);
	error_list_end(channel, &own->dry, error_refuse);
}

static void error_resume_channel(struct bdev_channel *channel)
{
	error_list_end(channel, &error_channel_of(channel)->pending, error_pass);
}

static int error_channel_init(struct bdev_channel *channel)
{
	struct error_channel *own = error_channel_of(channel);

	own->channel = channel;
	own->retry.fired = error_retry;
	error_list_init(&own->pending);
	error_list_init(&own->dry);
	return 0;
}

/* ---- the control reactor ------------------------------------------------------------------- */

static void error_rule_set(struct error_disk *disk, unsigned type, struct error_rule *rule)
{
	atomic_store_explicit(&disk->rules[type], rule, memory_order_release);
}

void error_inject(struct filter *filter, int type, const struct error_injection *injection)
{
	struct error_disk *disk = error_of(filter);

	for (unsigned i = 0; i < ERROR_TYPES; i++) {
		struct error_rule *rule;

		if (type != ERROR_ALL_TYPES && (int)i != type)
			continue;
		rule = alloc_op(sizeof(*rule));
		rule->injection = *injection;
		atomic_init(&rule->count, injection->count);
		rule->older = disk->made;
		disk->made = rule;
		error_rule_set(disk, i, rule);
	}
}

void error_clear(struct filter *filter)
{
	for (unsigned i = 0; i < ERROR_TYPES; i++)
		error_rule_set(error_of(filter), i, NULL);
}

void error_resume(struct filter *filter, done_fn done, void *arg)
{
	filter_call_channels(filter, error_resume_channel, done, arg);
}

static void error_ignore(void *arg, int rc)
{
}

static void error_let_go(struct filter *filter)
{
	atomic_store(&error_of(filter)->closing, true);
	error_clear(filter);
	filter_call_channels(filter, error_let_go_channel, error_ignore, NULL);
}

static void error_fini(struct filter *filter)
{
	struct error_disk *disk = error_of(filter);

	while (disk->made) {
		struct error_rule *older = disk->made->older;

		free(disk->made);
		disk->made = older;
	}
}

/* A write with a corrupted byte has two vectors more. */
static int error_fit(struct filter *filter, const struct bdev *base, struct reason *reason)
{
	if (base->max_iovcnt && base->max_iovcnt < 4)
		return reason_set(reason, -EINVAL,
			"%s takes too few vectors for a filter of errors", base->name);
	return filter_fit_all(filter, base, reason);
}

static json_t *error_describe(const struct bdev *bdev)
{
	return json_pack("{s:{s:s}}", "error_disk", "base_bdev",
		filter_part_of(bdev)->filter->base.bdev->name);
}

static const struct bdev_ops error_ops = {
	.product_name = "Error Injection Disk",
	.module = "error_disk",
	.submit = error_submit,
	.channel_size = sizeof(struct error_channel),
	.channel_init = error_channel_init,
	.channel_prepare = filter_channel_prepare,
	.channel_release = filter_channel_release,
	.channel_removed = error_let_go_channel,
	.supports = filter_supports,
	.describe = error_describe,
	.destroy = filter_part_destroy,
};

static const struct bdev_user_ops error_user_ops = FILTER_USER_OPS("error");

static const struct filter_kind error_kind = {
	.type = FILTER_ERROR,
	.namespace = "976b899e-3e1e-4d71-ab69-c2b08e9df8b8",
	.text = "error",
	.ops = &error_ops,
	.user_ops = &error_user_ops,
	.spare_iovcnt = 2,
	.fit = error_fit,
	.let_go = error_let_go,
	.fini = error_fini,
};

void error_create(struct filters *filters, const struct filter_options *options,
	struct reason *reason, done_fn done, void *arg)
{
	struct filter_options named = *options;
	struct filter *filter = NULL;
	char name[512];
	int rc = 0;

	if (snprintf(name, sizeof(name), "EE_%s", options->base) >= (int)sizeof(name))
		rc = reason_set(reason, -ENAMETOOLONG, "the name of the device is too long");
	named.name = name;
	if (!rc) {
		filter = filter_alloc(filters, &error_kind, sizeof(struct error_disk), &named, 1);
		rc = filter ? filter_name_part(filter, 0, name, reason) : -ENOMEM;
	}
	filter_start(filters, filter, rc, reason, done, arg);
}
