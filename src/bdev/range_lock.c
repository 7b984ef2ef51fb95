/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Range locks: order, grant and release. All decisions are made on the control reactor; lock and
 * unlock come there by message from the owner's reactor, and the answers go back the same way.
 *
 *	WAITING --no earlier lock overlaps--> DRAINING --all channels have drained--> HELD
 *	   |                                     | unlocked meanwhile                  | unlock
 *	   +--unlock--> IDLE                     +----------------------------> RELEASING --> IDLE
 *
 * DRAINING sends a hold to every channel (range_hold.c), RELEASING sends it there again. A channel
 * that is opened while a lock is DRAINING or HELD gets a hold before anybody can use it, by the
 * order of messages; the release of a HELD lock waits for such a hold to come back first. A channel
 * that is closed lets go of its holds; those that are not on their way just then are freed here.
 */
#include <errno.h>
#include <stdlib.h>

#include "bdev/bdev_impl.h"

enum bdev_range_state { RANGE_IDLE, RANGE_WAITING, RANGE_DRAINING, RANGE_HELD, RANGE_RELEASING };

static void bdev_range_lock_progress(struct bdev_range_lock *lock);

/* ---- holds -------------------------------------------------------------- */

static void bdev_range_hold_returned(struct message *message)
{
	struct bdev_range_hold *hold = container_of(message, struct bdev_range_hold, message);
	struct bdev_range_lock *lock = hold->lock;

	hold->under_way = false;
	lock->waiting_for--;
	if (lock->state == RANGE_RELEASING) {
		list_remove(&hold->lock_link);
		free(hold);
	}
	bdev_range_lock_progress(lock);
}

void bdev_range_hold_return(struct bdev_range_hold *hold)
{
	struct reactor *control = hold->lock->bdev->registry->control;

	hold->message.run = bdev_range_hold_returned;
	reactor_send(control, &hold->message);
}

static void bdev_range_hold_send(struct bdev_range_hold *hold, void (*run)(struct message *message))
{
	hold->under_way = true;
	hold->lock->waiting_for++;
	hold->message.run = run;
	reactor_send(hold->reactor, &hold->message);
}

static void bdev_range_hold_create(struct bdev_range_lock *lock, struct bdev_channel *channel)
{
	struct bdev_range_hold *hold = alloc_op(sizeof(*hold));

	hold->lock = lock;
	hold->reactor = channel->reactor;
	hold->channel = channel;
	hold->offset = lock->offset;
	hold->length = lock->length;
	list_init(&hold->link);
	list_add_tail(&lock->holds, &hold->lock_link);
	bdev_range_hold_send(hold, bdev_range_hold_run);
}

/* ---- states ------------------------------------------------------------- */

static void bdev_range_lock_answered(struct message *message)
{
	struct bdev_range_lock *lock = container_of(message, struct bdev_range_lock, message);

	lock->done(lock->arg, lock->rc);
}

static void bdev_range_unlock_answered(struct message *message)
{
	struct bdev_range_lock *lock =
		container_of(message, struct bdev_range_lock, unlock_message);

	lock->unlock_done(lock->unlock_arg, 0);
}

static void bdev_range_lock_answer(struct bdev_range_lock *lock, int rc)
{
	if (lock->answered)
		return;
	lock->answered = true;
	lock->rc = rc;
	lock->message.run = bdev_range_lock_answered;
	reactor_send(lock->owner, &lock->message);
}

static void bdev_range_unlock_answer(struct bdev_range_lock *lock)
{
	lock->unlock_message.run = bdev_range_unlock_answered;
	reactor_send(lock->owner, &lock->unlock_message);
}

static uint64_t bdev_range_end(const struct bdev_range_lock *lock)
{
	return lock->length == BDEV_RANGE_ALL ? UINT64_MAX : lock->offset + lock->length;
}

static bool bdev_range_lock_must_wait(const struct bdev_range_lock *lock)
{
	const struct bdev_range_lock *earlier;

	list_for_each_entry (earlier, &lock->bdev->range_locks, link) {
		if (earlier == lock)
			break;
		if (earlier->offset < bdev_range_end(lock) &&
			lock->offset < bdev_range_end(earlier))
			return true;
	}
	return false;
}

static void bdev_range_lock_drain(struct bdev_range_lock *lock)
{
	struct bdev_channel *channel;

	lock->state = RANGE_DRAINING;
	list_for_each_entry (channel, &lock->bdev->channels, link)
		bdev_range_hold_create(lock, channel);
	bdev_range_lock_progress(lock);
}

/* Those that waited for a lock that has gone. */
static void bdev_range_locks_start(struct bdev *bdev)
{
	struct bdev_range_lock *lock;

	list_for_each_entry (lock, &bdev->range_locks, link)
		if (lock->state == RANGE_WAITING && !bdev_range_lock_must_wait(lock))
			bdev_range_lock_drain(lock);
}

/* The owner may free the lock as soon as both answers have been sent. */
static void bdev_range_lock_finish(struct bdev_range_lock *lock)
{
	struct bdev *bdev = lock->bdev;

	list_remove(&lock->link);
	lock->state = RANGE_IDLE;
	bdev_range_lock_answer(lock, -ECANCELED);
	bdev_range_unlock_answer(lock);
	bdev_range_locks_start(bdev);
	bdev_removal_check(bdev);
}

static void bdev_range_lock_release(struct bdev_range_lock *lock)
{
	struct bdev_range_hold *hold;

	lock->state = RANGE_RELEASING;
	list_for_each_entry (hold, &lock->holds, lock_link)
		bdev_range_hold_send(hold, bdev_range_release_run);
	if (lock->waiting_for == 0)
		bdev_range_lock_finish(lock);
}

static void bdev_range_lock_progress(struct bdev_range_lock *lock)
{
	if (lock->waiting_for > 0)
		return;
	if (lock->state == RANGE_RELEASING) {
		bdev_range_lock_finish(lock);
		return;
	}
	if (lock->unlock_asked) {
		bdev_range_lock_release(lock);
		return;
	}
	lock->state = RANGE_HELD;
	bdev_range_lock_answer(lock, 0);
}

void bdev_range_locks_join(struct bdev_channel *channel)
{
	struct bdev_range_lock *lock;

	list_for_each_entry (lock, &channel->bdev->range_locks, link)
		if (lock->state == RANGE_DRAINING || lock->state == RANGE_HELD)
			bdev_range_hold_create(lock, channel);
}

void bdev_range_locks_leave(struct bdev *bdev, struct reactor *reactor)
{
	struct bdev_range_lock *lock;
	struct bdev_range_hold *hold, *next;

	list_for_each_entry (lock, &bdev->range_locks, link)
		list_for_each_entry_safe (hold, next, &lock->holds, lock_link) {
			if (hold->reactor != reactor || hold->under_way)
				continue;
			list_remove(&hold->lock_link);
			free(hold);
		}
}

/* ---- asked for ---------------------------------------------------------- */

static void bdev_range_lock_asked(struct message *message)
{
	struct bdev_range_lock *lock = container_of(message, struct bdev_range_lock, message);

	lock->state = RANGE_WAITING;
	list_add_tail(&lock->bdev->range_locks, &lock->link);
	if (!bdev_range_lock_must_wait(lock))
		bdev_range_lock_drain(lock);
}

static void bdev_range_unlock_asked(struct message *message)
{
	struct bdev_range_lock *lock =
		container_of(message, struct bdev_range_lock, unlock_message);

	lock->unlock_asked = true;
	switch ((enum bdev_range_state)lock->state) {
	case RANGE_WAITING:
		bdev_range_lock_finish(lock);
		break;
	case RANGE_DRAINING:
	case RANGE_HELD:
		bdev_range_lock_progress(lock);
		break;
	case RANGE_IDLE:
	case RANGE_RELEASING:
		invariant(!"unlocked twice");
	}
}

void bdev_range_lock(struct bdev_range_lock *lock, struct bdev *bdev, struct reactor *owner,
	uint64_t offset, uint64_t length, done_fn done, void *arg)
{
	invariant(length > 0 && (length == BDEV_RANGE_ALL || offset + length > offset));
	invariant(length != BDEV_RANGE_ALL || offset == 0);
	lock->bdev = bdev;
	lock->offset = align_down(offset, bdev->io_unit_size);
	lock->length = length;
	if (length != BDEV_RANGE_ALL)
		lock->length = align_up(offset + length, bdev->io_unit_size) - lock->offset;
	lock->owner = owner;
	lock->done = done;
	lock->arg = arg;
	lock->rc = 0;
	lock->state = RANGE_IDLE;
	lock->answered = false;
	lock->unlock_asked = false;
	lock->waiting_for = 0;
	list_init(&lock->holds);
	list_init(&lock->link);
	lock->message.run = bdev_range_lock_asked;
	reactor_send(bdev->registry->control, &lock->message);
}

void bdev_range_unlock(struct bdev_range_lock *lock, done_fn done, void *arg)
{
	lock->unlock_done = done;
	lock->unlock_arg = arg;
	lock->unlock_message.run = bdev_range_unlock_asked;
	reactor_send(lock->bdev->registry->control, &lock->unlock_message);
}
