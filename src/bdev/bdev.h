/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block devices: what they are, who has them, how they come and go.
 *
 * Everything here runs on the control reactor unless it says otherwise. A device is made by a
 * backend or a filter, registered under a name, opened by users (a vhost controller, a filter, a
 * volume store), and reached from data reactors through channels (io.h).
 *
 *	REGISTERED --bdev_unregister--> REMOVING --all users closed, channels gone--> freed
 *
 * Removing tells each user once (user_ops.removed) and waits for it to close; meanwhile requests
 * end with -ENODEV.
 *
 * Claims. A device is attached by everyone who opened it; it is written only by holders of its
 * write claim. Kinds as SPDK names them for bdev_get_bdevs (claim_type):
 *  - none: several users of this daemon may take the shared write claim at once (two controllers
 *    over one disk: a cluster);
 *  - exclusive write: a filter that owns the device below it;
 *  - read many, write one: the same of a volume store, under the name that clients know;
 *  - read many, write none: any number of holders who rely on the contents; nobody writes.
 * The first writer of a device also takes the backend's claim (ops->claim): for a file or a block
 * device flock() on the very open file that does the I/O, so that another daemon, or the other end
 * of a live migration, may have it attached but not written. It is given up with the last writer.
 */
#ifndef BDEV_BDEV_H
#define BDEV_BDEV_H

#include <jansson.h>
#include <uuid/uuid.h>

#include "bdev/gate.h"
#include "bdev/io.h"

struct bdev_registry;
struct bdev_user;

/* Of a device that takes its space from a pool as it is written. */
struct bdev_space {
	uint64_t used_bytes; /* by this device */
	uint64_t available_bytes; /* to it, and to others */
	uint64_t total_bytes; /* of the pool */
};

struct bdev_ops {
	const char *product_name; /* "Malloc disk": scripts match on it */
	const char *module; /* "malloc": SPDK's key in driver_specific */

	/* Data reactors. Straight path; ends in bdev_io_complete, at once or later. */
	void (*submit)(struct bdev_channel *channel, struct bdev_io *io);

	/* Per-reactor state, in channel->backend. Called on the channel's reactor. Optional. */
	size_t channel_size;
	int (*channel_init)(struct bdev_channel *channel);
	void (*channel_fini)(struct bdev_channel *channel);

	/* Channel's reactor: the device goes; what would be held for long ends now. Optional. */
	void (*channel_removed)(struct bdev_channel *channel);

	/* Control reactor: what takes a while before channel_init, such as channels of devices
	 * below, and its undo after channel_fini. prepare may fail, and is not undone then.
	 * Optional, both or none. */
	void (*channel_prepare)(struct bdev_channel *channel, done_fn done, void *arg);
	void (*channel_release)(struct bdev_channel *channel, done_fn done, void *arg);

	bool (*supports)(const struct bdev *bdev, enum bdev_io_type type);

	/* The backend's write claim; -EBUSY and a sentence that names the holder. Optional. */
	void (*claim)(struct bdev *bdev, struct reason *reason, done_fn done, void *arg);
	void (*release)(struct bdev *bdev, done_fn done, void *arg);

	/* Looks at the size again (bdev_aio_rescan); calls bdev_set_size. Optional. */
	void (*rescan)(struct bdev *bdev, struct reason *reason, done_fn done, void *arg);

	/* What it has of its pool, about; control reactor. Optional: there is none. */
	void (*space)(const struct bdev *bdev, struct bdev_space *ret_space);

	/* The whole driver_specific of bdev_get_bdevs ({"aio":{...}}); a new reference, NULL when
	 * out of memory. Optional: {}. */
	json_t *(*describe)(const struct bdev *bdev);

	/* Last call: no user, no channel. Frees the backend's part; bdev itself is inside it. */
	void (*destroy)(struct bdev *bdev, done_fn done, void *arg);
};

enum bdev_claim {
	BDEV_CLAIM_NONE,
	BDEV_CLAIM_SHARED_WRITE,
	BDEV_CLAIM_EXCLUSIVE_WRITE,
	BDEV_CLAIM_READ_MANY_WRITE_ONE,
	BDEV_CLAIM_READ_MANY_WRITE_NONE,
};

/* Does it exclude every other writer? */
static inline bool bdev_claim_excludes(enum bdev_claim claim)
{
	return claim > BDEV_CLAIM_SHARED_WRITE;
}

/* Embedded in the backend's own struct. The first part is filled by the backend before
 * bdev_register and constant afterwards, except size_bytes. */
struct bdev {
	const struct bdev_ops *ops;
	const char *name; /* the registry copies it */
	const char *alias; /* one that it has from the beginning, or NULL; copied and cleared */
	uuid_t uuid; /* null: the registry makes a random one */
	uint32_t block_size;
	/* The backend's: its requests are of whole ones, whatever the users' are (sectors.c), and
	 * so is the size. 0: block_size. */
	uint32_t io_unit_size;
	uint32_t physical_block_size; /* 0: io_unit_size */
	uint32_t optimal_io_bytes; /* 0: not said */
	uint32_t unmap_granularity; /* bytes; 0: io_unit_size */
	/* A WRITE up to so long that is alone on its range is never found in part, whatever happens
	 * to this daemon or its host. 0: nothing is promised. */
	uint32_t atomic_write_bytes;
	bool unmap_reads_zeroes;
	_Atomic bool read_only; /* may become true while it is in use */
	bool rotational;
	bool may_be_empty; /* a size of 0 is none of a mistake */
	uint16_t max_iovcnt; /* 0: no limit; callers with more must split. A larger io_unit_size
			      * takes two of them. */
	/* It takes space from a pool as it is written, of which less than so many percent is
	 * little; 0: it does not, or nobody is told. Read by data reactors. */
	_Atomic uint8_t low_water_percent;
	_Atomic uint64_t size_bytes; /* read by data reactors; written by bdev_set_size */

	/* the registry's */
	struct bdev_registry *registry;
	bool removing;
	struct list link;
	struct list names; /* first the name, then the uuid as text, then aliases */
	struct list users;
	struct list channels;
	struct list range_locks; /* held or waited for, in the order they were asked for */
	enum bdev_claim claim; /* the strongest that a user holds */
	const struct bdev_user *claim_holder; /* one that excludes other writers */
	unsigned claims; /* users that hold one */
	unsigned writers; /* of these, those that may write */
	struct bdev_gate claim_gate; /* claims and releases, one at a time */
	struct bdev_gate channel_gate; /* opening and closing channels, statistics */
	struct bdev_io_stats closed_stats; /* of channels that are gone */
	struct bdev_qos *qos; /* NULL: there are no limits */
	struct bdev_histogram *histogram; /* of channels that are gone; NULL: nothing is counted */
	unsigned operations; /* under way that look at this device */
	struct bdev_remove_op *remove_op;
};

struct bdev_user_ops {
	const char *name; /* "vhost_blk": for error sentences */
	/* The device goes: stop I/O, close channels, bdev_close. */
	void (*removed)(struct bdev_user *user);
	void (*resized)(struct bdev_user *user); /* optional */
	void (*low_water_changed)(struct bdev_user *user); /* optional */
	/* Little is left of what it takes space from; once until there was more again. Optional. */
	void (*low_space)(struct bdev_user *user);
};

/* One share of a device, embedded in its user. */
struct bdev_user {
	const struct bdev_user_ops *ops;
	struct bdev *bdev;
	enum bdev_claim claim;
	bool removed_told;
	struct list link;
};

/* ---- registry ----------------------------------------------------------- */

struct bdev_event {
	enum { BDEV_REGISTERED, BDEV_UNREGISTERED, BDEV_RESIZED } kind;
	struct bdev *bdev;
};

int bdev_registry_create(
	struct os *os, struct reactor *control, struct bdev_registry **ret_registry) MUST_CHECK;
/* All devices must be gone. */
void bdev_registry_destroy(struct bdev_registry *registry);
struct os *bdev_registry_os(struct bdev_registry *registry);
struct reactor *bdev_registry_control(struct bdev_registry *registry);
/* fn is called at each event, after it happened: an unregistered device is in no list any more and
 * is freed after fn. For the life of the registry; -ENOMEM. For RPC notifications. */
int bdev_registry_subscribe(struct bdev_registry *registry,
	void (*fn)(const struct bdev_event *event, void *arg), void *arg) MUST_CHECK;

/* -EEXIST when name, uuid or alias is taken, -EINVAL for impossible sizes; bdev is the caller's
 * again. */
int bdev_register(
	struct bdev_registry *registry, struct bdev *bdev, struct reason *reason) MUST_CHECK;
/* Removes from every user, then ops->destroy, then done. -EALREADY when already going. */
void bdev_unregister(struct bdev *bdev, done_fn done, void *arg);
/* By name, alias or lower-case uuid; NULL when there is none. One that is REMOVING is found until
 * it is destroyed. */
struct bdev *bdev_find(struct bdev_registry *registry, const char *name);
/* A further name; -EEXIST when it is taken. Goes with the device. */
int bdev_alias_add(struct bdev *bdev, const char *alias, struct reason *reason) MUST_CHECK;
/* -ENOENT when the device has no such alias; its name and uuid stay. */
int bdev_alias_remove(struct bdev *bdev, const char *alias, struct reason *reason) MUST_CHECK;
/* The uuid (unless it is the name) and the aliases. */
void bdev_alias_for_each(
	const struct bdev *bdev, void (*fn)(const char *alias, void *arg), void *arg);
/* In registration order; fn must not change the list. */
void bdev_for_each(
	struct bdev_registry *registry, void (*fn)(struct bdev *bdev, void *arg), void *arg);

/* ---- use ---------------------------------------------------------------- */

/* user->ops is set by the caller. -ENODEV while it is going. */
int bdev_open(struct bdev *bdev, struct bdev_user *user, struct reason *reason) MUST_CHECK;
/* All channels and claims taken through this user have been given back. */
void bdev_close(struct bdev_user *user);

/* -EPERM when somebody's claim keeps others from ever using it, as it is for a store's own device:
 * told before a disk is made of it. Control reactor. */
int bdev_check_usable(const struct bdev *bdev, bool read_only, struct reason *reason) MUST_CHECK;

/* -EPERM when somebody else's claim excludes it, -EROFS on a read-only device (but for WRITE_NONE),
 * -EBUSY with the holder's name when another process has it, -ENODEV on a device that goes. The
 * user has no claim yet. reason is borrowed until done. */
void bdev_claim(struct bdev_user *user, enum bdev_claim claim, struct reason *reason, done_fn done,
	void *arg);
/* Gives back what bdev_claim gave; without a claim it does nothing. A failure of the backend is
 * reported, the claim is gone all the same. */
void bdev_release(struct bdev_user *user, done_fn done, void *arg);

/* The channel of this device on that reactor; *ret_channel is set before done(0). Usable on that
 * reactor from then on. */
void bdev_channel_open(struct bdev_user *user, struct reactor *reactor,
	struct bdev_channel **ret_channel, done_fn done, void *arg);
/* No request of this user is in flight on it. */
void bdev_channel_close(struct bdev_channel *channel, done_fn done, void *arg);

/* Between the two the device is not destroyed, even if it is unregistered meanwhile: for operations
 * that look at it again after a wait, of backends (rescan) and of those who only looked it up. */
void bdev_operation_begin(struct bdev *bdev);
void bdev_operation_end(struct bdev *bdev);

/* New size: users are told. Shrinking makes requests beyond the end fail from now on. */
void bdev_set_size(struct bdev *bdev, uint64_t size_bytes);

/* Another mark; users are told. */
void bdev_set_low_water(struct bdev *bdev, unsigned percent);
/* Users are told that little space is left. */
void bdev_tell_low_space(struct bdev *bdev);

/* What is done with a device's channels; all but run on the control reactor, all but run optional.
 * No channel is opened or closed between enter and leave. */
struct bdev_each_channel {
	int (*enter)(struct bdev *bdev, void *arg); /* not 0: it ends with that, without leave */
	void (*before)(struct bdev_channel *channel, void *arg);
	void (*run)(struct bdev_channel *channel, void *arg); /* on the channel's reactor */
	void (*after)(struct bdev_channel *channel, void *arg);
	void (*leave)(struct bdev *bdev, void *arg);
};

/* each is static, arg lives until done. */
void bdev_for_each_channel(struct bdev *bdev, const struct bdev_each_channel *each, void *arg,
	done_fn done, void *done_arg);

enum bdev_stats_reset {
	BDEV_STATS_KEEP,
	BDEV_STATS_RESET_ALL,
	BDEV_STATS_RESET_EXTREMES,
	BDEV_STATS_RESET_ERRORS,
};

/* What is asked of all channels by messages; each is reset as it is asked. */
struct bdev_stats_query {
	struct bdev_io_stats *sum; /* with channels that are gone; or NULL */
	/* One channel's, on the control reactor; or NULL. */
	void (*each)(const struct reactor *reactor, const struct bdev_io_stats *stats, void *arg);
	void *arg;
	enum bdev_stats_reset reset;
};

/* query is copied. */
void bdev_query_stats(
	struct bdev *bdev, const struct bdev_stats_query *query, done_fn done, void *arg);
/* Only the sum. */
void bdev_get_stats(struct bdev *bdev, struct bdev_io_stats *ret_stats, done_fn done, void *arg);

/*
 * Latency histograms. Times from 0 to 2^granularity - 1 ns are range 0, one to a bucket; range r
 * has the times from 2^(granularity + r - 1) on up to twice that, in 2^granularity buckets. Those
 * below min_range are in the first bucket, those above max_range in the last.
 */
#define BDEV_HISTOGRAM_GRANULARITY_MAX 12

struct bdev_histogram_options {
	unsigned granularity;
	uint64_t min_ns; /* each is in the range that is the first, the last */
	uint64_t max_ns;
	unsigned types; /* 1 << BDEV_IO_READ ... */
};

struct bdev_histogram {
	struct bdev_histogram_options options;
	unsigned min_range;
	unsigned max_range;
	unsigned buckets; /* of one type */
	uint64_t counts[]; /* type by type */
};

/* Begins to count, anew if it counts already; options NULL: no more. -ENOMEM. */
void bdev_set_histogram(
	struct bdev *bdev, const struct bdev_histogram_options *options, done_fn done, void *arg);
/* *ret_histogram is the caller's, to be freed; set before done. -ENOENT: nothing is counted. */
void bdev_get_histogram(
	struct bdev *bdev, struct bdev_histogram **ret_histogram, done_fn done, void *arg);
uint64_t bdev_histogram_count(
	const struct bdev_histogram *histogram, unsigned type, unsigned bucket);
/* The time, in ns, that is the first beyond the bucket. */
uint64_t bdev_histogram_bucket_end(const struct bdev_histogram *histogram, unsigned bucket);

/* What all users of a device may do together in a second; 0: no limit. Requests are READ, WRITE,
 * UNMAP and WRITE_ZEROES, bytes those of READ and WRITE. After a pause so much comes at once as
 * fits in a millisecond, and one request in any case. */
struct bdev_limits {
	uint64_t rw_ios;
	uint64_t rw_bytes;
	uint64_t r_bytes;
	uint64_t w_bytes;
};

/* From done on; what waits for the old ones goes by the new ones. limits is copied. -ENOMEM. */
void bdev_set_limits(struct bdev *bdev, const struct bdev_limits *limits, done_fn done, void *arg);
struct bdev_limits bdev_get_limits(const struct bdev *bdev);

static inline uint64_t bdev_size(const struct bdev *bdev) /* any thread */
{
	return atomic_load_explicit(&bdev->size_bytes, memory_order_relaxed);
}

static inline bool bdev_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return bdev->ops->supports(bdev, type);
}

/* ---- range locks (any reactor that has a channel) ----------------------- */

/*
 * Alone on a range: from done on no other request overlapping it is in flight on any channel of
 * the device, and new ones wait, until unlocked. Requests whose io->lock is this lock pass. Locks
 * are granted in the order they were asked for where they overlap. A FLUSH overlaps only a lock of
 * the whole device (BDEV_RANGE_ALL). lock is the caller's and borrowed until the done of unlock.
 * On a device with a larger io_unit_size a lock is of whole units, around what was asked for; and
 * of the requests under one lock only one at a time may write to a part of the same unit.
 *
 * The caller's user stays open until the done of unlock. Removal of the device changes nothing:
 * locks are granted as before and must be unlocked; only requests under them end with -ENODEV.
 */
#define BDEV_RANGE_ALL UINT64_MAX /* length, with offset 0 */

struct bdev_range_lock {
	struct bdev *bdev;
	uint64_t offset;
	uint64_t length;

	/* the block layer's */
	struct reactor *owner;
	done_fn done;
	void *arg;
	struct message message; /* lock: to the control reactor and, granted, back */
	int rc;
	done_fn unlock_done;
	void *unlock_arg;
	struct message unlock_message; /* unlock: there and back */
	uint8_t state;
	bool answered; /* message is on its way back */
	bool unlock_asked;
	unsigned waiting_for; /* holds under way */
	struct list holds; /* one for each channel */
	struct list link; /* bdev's range_locks */
};

/* On owner, which done is called on. -ECANCELED when unlock came first. */
void bdev_range_lock(struct bdev_range_lock *lock, struct bdev *bdev, struct reactor *owner,
	uint64_t offset, uint64_t length, done_fn done, void *arg);
/* On owner. May be called before the lock was granted, to give it up: the lock's done is called
 * first then, with -ECANCELED or, when the grant was on its way, 0. */
void bdev_range_unlock(struct bdev_range_lock *lock, done_fn done, void *arg);

#endif
