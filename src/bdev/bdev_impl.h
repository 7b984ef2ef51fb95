/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of this folder:
 *
 *	registry.c	names, events, sizes, opens
 *	unregister.c	the end of a device
 *	claim.c		who may write
 *	channel.c	a device on a reactor: submit and complete, open and close
 *	channels.c	something with each channel of a device
 *	histogram.c	how long requests took
 *	stats.c		counters of all channels
 *	place.c		where a request is
 *	qos.c		limits on requests and bytes a second
 *	sectors.c	sectors smaller than what the backend takes
 *	range_lock.c	range locks, control reactor's side: order, grant, release
 *	range_hold.c	range locks, channel's side: who waits, when it has drained
 *	gate.c		one at a time
 *	memory.c	memory that devices may reach by themselves
 *	call.c		a function on another reactor, awaited
 */
#ifndef BDEV_BDEV_IMPL_H
#define BDEV_BDEV_IMPL_H

/* Its default hash falls through cases in a way that clang warns about. */
#define HASH_FUNCTION(key, length, value) HASH_SAX(key, length, value)
#include <uthash.h>

#include "base/alloc.h"
#include "bdev/bdev.h"
#include "bdev/memory.h"
#include "core/call.h"

struct bdev_subscriber {
	struct list link;
	void (*fn)(const struct bdev_event *event, void *arg);
	void *arg;
};

/* A name, uuid text or alias. bdev is NULL while its device is being destroyed: the name is taken
 * until that has ended. */
struct bdev_name {
	struct bdev *bdev;
	struct list link; /* bdev's names */
	UT_hash_handle hh;
	char text[];
};

struct bdev_registry {
	struct os *os;
	struct reactor *control;
	struct list bdevs; /* in registration order */
	struct list subscribers;
	struct bdev_name *names; /* hash */
	struct list memories;
	bdev_memory_leave_fn memory_leave; /* NULL: no device reaches memory */
	void *memory_user;
};

/* ---- registry.c --------------------------------------------------------- */

void bdev_names_free(struct bdev_registry *registry, struct list *names);
void bdev_notify(struct bdev *bdev, int kind);

/* ---- unregister.c ------------------------------------------------------- */

/* Something that a removal waits for may have gone. */
void bdev_removal_check(struct bdev *bdev);

/* ---- channel.c ---------------------------------------------------------- */

/* Ends a request that was never handed to the backend. */
void bdev_channel_refuse(struct bdev_channel *channel, struct bdev_io *io, int status);
/* Channel's reactor: requests end with -ENODEV from now on. */
void bdev_channel_set_removed(struct bdev_channel *channel);

/* io->epoch of what waits before the device, in none: for place.c. */
enum bdev_epoch { BDEV_EPOCH_LIMIT = 2, BDEV_EPOCH_RANGE_LOCK };

static inline void bdev_io_list_init(struct bdev_io_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static inline void bdev_io_list_add(struct bdev_io_list *list, struct bdev_io *io)
{
	io->next = NULL;
	*list->tail = io;
	list->tail = &io->next;
}

/* Channel's reactor, in a request's done: it is nobody's and stays out of the statistics. */
void bdev_channel_uncount(struct bdev_channel *channel, const struct bdev_io *io);

/* Channel's reactor: what bdev_submit_detour does with a request that no limit holds back. */
void bdev_submit_admitted(struct bdev_channel *channel, struct bdev_io *io);
/* Channel's reactor: one of the reasons for detours has come or gone. */
static inline void bdev_channel_set_detour(struct bdev_channel *channel)
{
	channel->detour = channel->removed || channel->qos || !list_is_empty(&channel->range_holds);
}

/* ---- stats.c ---------------------------------------------------------------------------- */

void bdev_stats_add(struct bdev_io_stats *sum, const struct bdev_io_stats *part);

/* ---- histogram.c ------------------------------------------------------------------------- */

/* Of a channel that is being made; -ENOMEM. */
/* Channel's reactor, or before that: whatever ends next is slower and faster than all before. */
void bdev_channel_note_all(struct bdev_channel *channel);
int bdev_channel_histogram_create(struct bdev_channel *channel) MUST_CHECK;
/* Of one that has been used; what it has counted is kept. */
void bdev_channel_histogram_free(struct bdev_channel *channel);

/* ---- qos.c ------------------------------------------------------------------------------ */

/* Channel's reactor, channel->qos is set: it waits there until its time. */
bool bdev_qos_holds_back(struct bdev_channel *channel, struct bdev_io *io);
/* Channel's reactor: all that waits, a list by next. */
struct bdev_io *bdev_qos_take_waiting(struct bdev_channel *channel);
/* Control reactor: bdev->qos is set. Freed with free(). */
struct bdev_channel_qos *bdev_channel_qos_create(struct bdev_channel *channel);

/* ---- sectors.c ---------------------------------------------------------- */

/* channel->submit where io_unit_size is larger than block_size. */
void bdev_sectors_submit(struct bdev_channel *channel, struct bdev_io *io);

/* ---- range_lock.c, control reactor -------------------------------------- */

/* One lock at one channel. The message goes to the channel's reactor to hold, comes back when the
 * channel has drained, goes again to release and comes back. */
struct bdev_range_hold {
	struct message message;
	struct bdev_range_lock *lock;
	struct reactor *reactor;
	uint64_t offset;
	uint64_t length;

	/* control reactor's */
	struct list lock_link; /* lock's holds */
	bool under_way; /* the message is */

	/* channel's reactor's */
	struct bdev_channel *channel; /* NULL: closed meanwhile */
	struct list link; /* channel's range_holds */
	uint8_t phase;
};

/* The channel was opened and nobody uses it yet: it honours what is locked. */
void bdev_range_locks_join(struct bdev_channel *channel);
/* The channel on that reactor has been closed. */
void bdev_range_locks_leave(struct bdev *bdev, struct reactor *reactor);
/* The message has done on the channel's reactor what it went for. */
void bdev_range_hold_return(struct bdev_range_hold *hold);

/* ---- range_hold.c, channel's reactor ------------------------------------ */

void bdev_range_hold_run(struct message *message);
void bdev_range_release_run(struct message *message);
/* Must this request wait? */
bool bdev_range_holds_back(const struct bdev_channel *channel, const struct bdev_io *io);
/* The old epoch may have become empty. */
void bdev_range_holds_check(struct bdev_channel *channel);
/* The channel closes. */
void bdev_range_holds_detach(struct bdev_channel *channel);

#endif
