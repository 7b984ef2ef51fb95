/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of this folder:
 *
 *	filters.c	all of them: names, and what comes and goes below
 *	filter.c	the life of one
 *	filter_io.c	requests on their way down
 *	passthru.c split.c delay.c error.c crypto.c	the kinds
 *	crypto_key.c	keys of encryption
 */
#ifndef FILTER_FILTER_IMPL_H
#define FILTER_FILTER_IMPL_H

#include "base/alloc.h"
#include "core/slab.h"
#include "filter/filters.h"

enum filter_state {
	FILTER_WAITING, /* base is not open */
	FILTER_RAISING,
	FILTER_STANDING, /* base is open and claimed; all parts are registered */
	FILTER_SINKING, /* parts are being unregistered */
};

/* A device of a filter. */
struct filter_part {
	struct bdev bdev;
	struct filter *filter;
	char *name;
	uint64_t offset; /* bytes of the base */
	bool absent; /* there is no room for it on this base */
	bool registered;
};

struct filter_kind {
	enum filter_type type;
	const char *namespace; /* uuid of the kind, for those that are made from the base's */
	const char *text; /* "passthru": claim holders' name, messages */
	const struct bdev_ops *ops;
	const struct bdev_user_ops *user_ops;
	/* The base is open: may it stand on it? Sets the offset and size of each part. */
	int (*fit)(struct filter *filter, const struct bdev *base, struct reason *reason);
	/* Nothing is held back from now on, and what is goes on. Optional. */
	void (*let_go)(struct filter *filter);
	void (*fini)(struct filter *filter); /* it is freed; optional */
	uint32_t cuts_bytes; /* not 0: pieces and memory of its own; UNMAP promises nothing */
	uint16_t spare_iovcnt; /* vectors that it adds to a request's */
};

/* The first member of each kind's struct, freed with free(). */
struct filter {
	const struct filter_kind *kind;
	struct filters *filters;
	struct list link;
	char *name;
	char *base_name;
	uuid_t uuid; /* asked for, or null */
	enum filter_state state;
	struct bdev_gate gate; /* raising and deleting, one at a time */
	unsigned users; /* operations that will look at it again */
	bool deleted; /* freed with the last of these */
	struct bdev_user base; /* from RAISING to SINKING */
	done_fn sunk; /* who waits for the end of SINKING, or NULL */
	void *sunk_arg;
	unsigned parts_count;
	struct filter_part *parts;
};

struct filters {
	struct bdev_registry *registry;
	struct reactor *control;
	struct list all;
	struct list keys;
	unsigned raising;
	struct list waiters; /* for raising to be 0 */
	bool closing;
};

/* ---- filters.c ----------------------------------------------------------------------------- */

void filters_raise_ended(struct filters *filters);
/* -EEXIST when a device or a waiting filter has that name. */
int filters_check_name(struct filters *filters, const char *name, struct reason *reason) MUST_CHECK;

static inline struct filter_part *filter_part_of(const struct bdev *bdev)
{
	return container_of((struct bdev *)(uintptr_t)bdev, struct filter_part, bdev);
}

/* ---- filter.c ------------------------------------------------------------------------------ */

/* size: of the kind's struct, zeroed but for its filter. NULL: out of memory. Each part gets its
 * name from filter_name_part: -EEXIST when that is taken. */
struct filter *filter_alloc(struct filters *filters, const struct filter_kind *kind, size_t size,
	const struct filter_options *options, unsigned parts);
int filter_name_part(
	struct filter *filter, unsigned index, const char *name, struct reason *reason) MUST_CHECK;
void filter_free(struct filter *filter);
/* From one to the other it is not freed. */
void filter_get(struct filter *filter);
void filter_put(struct filter *filter);
/* Takes the filter, whatever becomes of it. rc: what was wrong so far; the filter may be NULL then.
 * It is raised if its base is there. */
void filter_start(struct filters *filters, struct filter *filter, int rc, struct reason *reason,
	done_fn done, void *arg);
/* The base has come. */
void filter_awaken(struct filter *filter);

/* For kinds: the whole base. */
int filter_fit_all(struct filter *filter, const struct bdev *base, struct reason *reason);

void filter_base_removed(struct bdev_user *user);
void filter_base_resized(struct bdev_user *user);
void filter_base_low_water_changed(struct bdev_user *user);
void filter_base_low_space(struct bdev_user *user);

#define FILTER_USER_OPS(text_)                                                                     \
	{                                                                                          \
		.name = text_, .removed = filter_base_removed, .resized = filter_base_resized,     \
		.low_water_changed = filter_base_low_water_changed,                                \
		.low_space = filter_base_low_space,                                                \
	}

/* Of bdev_ops. */
bool filter_supports(const struct bdev *bdev, enum bdev_io_type type);
void filter_part_destroy(struct bdev *bdev, done_fn done, void *arg);

/* ---- crypto_key.c -------------------------------------------------------------------------- */

struct crypto_key {
	struct list link;
	char *name;
	unsigned users;
	unsigned length; /* of both halves together, bytes */
	uint8_t bytes[64];
};

struct crypto_key *crypto_key_find(struct filters *filters, const char *name);
/* All are unused. */
void crypto_keys_free(struct filters *filters);

/* ---- filter_io.c --------------------------------------------------------------------------- */

/* The beginning of channel->backend of each kind. */
struct filter_channel {
	struct bdev_channel *base;
	uint64_t offset;
	bool takes_passed;
};

static inline struct filter_channel *filter_channel_of(struct bdev_channel *channel)
{
	return (struct filter_channel *)channel->backend;
}

/* On each channel of all of its devices, by their reactors; done is called when all have. */
void filter_call_channels(
	struct filter *filter, void (*fn)(struct bdev_channel *channel), done_fn done, void *arg);

void filter_channel_prepare(struct bdev_channel *channel, done_fn done, void *arg);
void filter_channel_release(struct bdev_channel *channel, done_fn done, void *arg);
int filter_channel_init(struct bdev_channel *channel);

/* ops->submit of who changes nothing but the offset: down, and up when it has ended. */
void filter_forward(struct bdev_channel *channel, struct bdev_io *io);

/* The same by a request of its own over the same data; done is called in place of
 * bdev_io_complete(io, status). It may wait for memory, in the first FILTER_SEND_SIZE bytes of
 * io->backend. */
#define FILTER_SEND_SIZE 40
void filter_send(struct bdev_channel *channel, struct bdev_io *io,
	void (*done)(struct bdev_io *io, int status));

#endif
