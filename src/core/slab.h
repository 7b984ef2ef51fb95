/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of a reactor's data path: objects of a few fixed sizes, unshared, last in first out.
 * Taking one never allocates: when the slab is dry slab_get returns NULL, a worker is asked for
 * more, and whoever asked tries again in a later turn (a ring is simply not popped) or queues a
 * slab_waiter. Never an error towards a guest. Shrinks when idle.
 */
#ifndef CORE_SLAB_H
#define CORE_SLAB_H

#include "core/reactor.h"

enum slab_class {
	SLAB_512, /* child requests, filters' state */
	/* aligned to 4096: also bounce buffers */
	SLAB_4K, /* iovecs of middle chains: 256 */
	SLAB_32K, /* iovecs of the longest chains: 2,048 */
	SLAB_128K,
	SLAB_1M, /* iovecs of chains that fill a ring of 32,768 */
	SLAB_CLASSES,
};

struct slab_waiter {
	struct list link;
	void (*ready)(struct slab_waiter *waiter); /* objects are there; called from a message */
};

/* Own reactor's thread, all of them. Contents of an object are undefined. */
void *slab_get(struct reactor *reactor, enum slab_class class) MUST_CHECK;
void slab_put(struct reactor *reactor, enum slab_class class, void *object);
void slab_wait(struct reactor *reactor, enum slab_class class, struct slab_waiter *waiter);
void slab_wait_cancel(struct slab_waiter *waiter);
size_t slab_object_size(enum slab_class class);
/* The smallest that holds so many bytes; SLAB_CLASSES: none does. Any thread. */
enum slab_class slab_class_for(size_t bytes);

/* For reactor_create and reactor_destroy. */
int slab_pool_create(struct reactor *reactor, struct slab_pool **ret_pool) MUST_CHECK;
void slab_pool_destroy(struct slab_pool *pool);

#endif
