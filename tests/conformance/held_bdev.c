/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All of it under one mutex: tests are not in a hurry. A held request is on the list of its
 * channel; release sends every channel's reactor a message, since completions belong there.
 */
#include "conformance/held_bdev.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct held_channel {
	struct held_bdev *held;
	struct bdev_channel *channel;
	struct message release;
	bool sent;
	struct bdev_io_list waiting;
	struct held_channel *next;
};

struct held_bdev {
	struct bdev bdev;
	pthread_mutex_t mutex;
	bool holding;
	unsigned waiting;
	int error;
	unsigned error_count;
	uint64_t room;
	uint64_t counts[BDEV_IO_TYPES];
	struct held_channel *channels;
	uint64_t size;
	uint8_t *data;
	uint8_t *stable;
	_Atomic unsigned cost_us;
};

static struct held_bdev *held_of(const struct bdev *bdev)
{
	return container_of(bdev, struct held_bdev, bdev);
}

static void held_copy(struct held_bdev *held, struct bdev_io *io)
{
	uint64_t offset = io->offset;

	for (unsigned i = 0; i < io->iovcnt; i++) {
		if (io->type == BDEV_IO_READ)
			memcpy(io->iov[i].iov_base, held->data + offset, io->iov[i].iov_len);
		else
			memcpy(held->data + offset, io->iov[i].iov_base, io->iov[i].iov_len);
		offset += io->iov[i].iov_len;
	}
}

static bool held_takes_room(struct held_bdev *held, const struct bdev_io *io)
{
	if (io->type == BDEV_IO_READ || io->type == BDEV_IO_FLUSH || held->room == HELD_BDEV_ROOMY)
		return true;
	if (held->room == 0)
		return false;
	held->room--;
	return true;
}

/* The mutex is held. */
static int held_execute(struct held_bdev *held, struct bdev_io *io)
{
	if (held->error_count) {
		held->error_count--;
		return -held->error;
	}
	if (io->offset > held->size || io->length > held->size - io->offset)
		return -EIO;
	if (!held_takes_room(held, io))
		return -ENOSPC;
	switch (io->type) {
	case BDEV_IO_READ:
	case BDEV_IO_WRITE:
		held_copy(held, io);
		break;
	case BDEV_IO_FLUSH:
		memcpy(held->stable, held->data, held->size);
		return 0;
	default:
		memset(held->data + io->offset, 0, io->length);
	}
	if (io->type != BDEV_IO_READ && io->flags & BDEV_IO_FUA)
		memcpy(held->stable + io->offset, held->data + io->offset, io->length);
	return 0;
}

static struct held_channel *held_channel_of(struct bdev_channel *channel)
{
	return (struct held_channel *)(void *)channel->backend;
}

static void held_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct held_channel *hc = held_channel_of(channel);
	struct held_bdev *held = hc->held;
	unsigned cost_us = atomic_load_explicit(&held->cost_us, memory_order_relaxed);
	bool wait;
	int rc = 0;

	if (cost_us)
		usleep(cost_us);
	pthread_mutex_lock(&held->mutex);
	held->counts[io->type]++;
	wait = held->holding;
	if (wait) {
		held->waiting++;
		io->next = NULL;
		*hc->waiting.tail = io;
		hc->waiting.tail = &io->next;
	} else {
		rc = held_execute(held, io);
	}
	pthread_mutex_unlock(&held->mutex);
	if (!wait)
		bdev_io_complete(io, rc);
}

static void held_channel_release(struct message *message)
{
	struct held_channel *hc = container_of(message, struct held_channel, release);
	struct held_bdev *held = hc->held;
	struct bdev_io *io;

	pthread_mutex_lock(&held->mutex);
	hc->sent = false;
	io = held->holding ? NULL : hc->waiting.head;
	if (io) {
		hc->waiting.head = NULL;
		hc->waiting.tail = &hc->waiting.head;
	}
	while (io) {
		struct bdev_io *next = io->next;

		held->waiting--;
		bdev_io_complete(io, held_execute(held, io));
		io = next;
	}
	pthread_mutex_unlock(&held->mutex);
}

static int held_channel_init(struct bdev_channel *channel)
{
	struct held_channel *hc = held_channel_of(channel);

	hc->held = held_of(channel->bdev);
	hc->channel = channel;
	hc->release.run = held_channel_release;
	hc->waiting.tail = &hc->waiting.head;
	pthread_mutex_lock(&hc->held->mutex);
	hc->next = hc->held->channels;
	hc->held->channels = hc;
	pthread_mutex_unlock(&hc->held->mutex);
	return 0;
}

static void held_channel_fini(struct bdev_channel *channel)
{
	struct held_channel *hc = held_channel_of(channel);
	struct held_channel **link = &hc->held->channels;

	pthread_mutex_lock(&hc->held->mutex);
	while (*link != hc)
		link = &(*link)->next;
	*link = hc->next;
	pthread_mutex_unlock(&hc->held->mutex);
}

static bool held_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return true;
}

static void held_free(struct held_bdev *held)
{
	pthread_mutex_destroy(&held->mutex);
	free(held->data);
	free(held->stable);
	free(held);
}

struct held_destroy_op {
	struct deferred step;
	struct held_bdev *held;
	done_fn done;
	void *arg;
};

static void held_destroyed(struct deferred *step)
{
	struct held_destroy_op *op = container_of(step, struct held_destroy_op, step);

	held_free(op->held);
	op->done(op->arg, 0);
	free(op);
}

static void held_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct held_destroy_op *op = calloc(1, sizeof(*op));

	op->step.run = held_destroyed;
	op->held = held_of(bdev);
	op->done = done;
	op->arg = arg;
	reactor_defer(reactor_self(), DEFER_COMPLETE, &op->step);
}

static const struct bdev_ops held_ops = {
	.product_name = "Held disk",
	.module = "held",
	.submit = held_submit,
	.channel_size = sizeof(struct held_channel),
	.channel_init = held_channel_init,
	.channel_fini = held_channel_fini,
	.supports = held_supports,
	.destroy = held_destroy,
};

void held_bdev_set_cost(struct held_bdev *held, unsigned cost_us)
{
	atomic_store_explicit(&held->cost_us, cost_us, memory_order_relaxed);
}

int held_bdev_create(struct bdev_registry *registry, const char *name, uint64_t size_bytes,
	struct held_bdev **ret_held)
{
	struct held_bdev *held = calloc(1, sizeof(*held));
	char *copy = strdup(name);
	int rc;

	held->data = calloc(1, size_bytes);
	held->stable = calloc(1, size_bytes);
	held->size = size_bytes;
	held->room = HELD_BDEV_ROOMY;
	pthread_mutex_init(&held->mutex, NULL);
	held->bdev.ops = &held_ops;
	held->bdev.name = copy;
	held->bdev.block_size = 512;
	held->bdev.size_bytes = size_bytes;
	rc = bdev_register(registry, &held->bdev, NULL);
	free(copy);
	if (rc)
		held_free(held);
	else
		*ret_held = held;
	return rc;
}

struct bdev *held_bdev_bdev(struct held_bdev *held)
{
	return &held->bdev;
}

void held_bdev_hold(struct held_bdev *held)
{
	pthread_mutex_lock(&held->mutex);
	held->holding = true;
	pthread_mutex_unlock(&held->mutex);
}

void held_bdev_release(struct held_bdev *held)
{
	pthread_mutex_lock(&held->mutex);
	held->holding = false;
	for (struct held_channel *hc = held->channels; hc; hc = hc->next) {
		if (hc->sent || !hc->waiting.head)
			continue;
		hc->sent = true;
		reactor_send(hc->channel->reactor, &hc->release);
	}
	pthread_mutex_unlock(&held->mutex);
}

unsigned held_bdev_waiting(struct held_bdev *held)
{
	unsigned waiting;

	pthread_mutex_lock(&held->mutex);
	waiting = held->waiting;
	pthread_mutex_unlock(&held->mutex);
	return waiting;
}

bool held_bdev_await(struct held_bdev *held, unsigned count)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (held_bdev_waiting(held) >= count)
			return true;
		usleep(1000);
	}
	return false;
}

void held_bdev_fail(struct held_bdev *held, int error, unsigned count)
{
	pthread_mutex_lock(&held->mutex);
	held->error = error;
	held->error_count = count;
	pthread_mutex_unlock(&held->mutex);
}

void held_bdev_set_room(struct held_bdev *held, uint64_t requests)
{
	pthread_mutex_lock(&held->mutex);
	held->room = requests;
	pthread_mutex_unlock(&held->mutex);
}

uint64_t held_bdev_count(struct held_bdev *held, enum bdev_io_type type)
{
	uint64_t count;

	pthread_mutex_lock(&held->mutex);
	count = held->counts[type];
	pthread_mutex_unlock(&held->mutex);
	return count;
}

uint8_t *held_bdev_data(struct held_bdev *held)
{
	return held->data;
}

const uint8_t *held_bdev_stable(struct held_bdev *held)
{
	return held->stable;
}
