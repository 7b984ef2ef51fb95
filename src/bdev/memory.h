/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that many requests will have their buffers in: a guest's. It is told here by whoever has
 * mapped it, so that a backend whose device reaches memory by itself can make it reachable (and
 * need not copy), and lets go of it before it is unmapped. Nothing happens for devices that nobody
 * sends such requests to. Control reactor.
 */
#ifndef BDEV_MEMORY_H
#define BDEV_MEMORY_H

#include "core/flow.h"

struct bdev_registry;

/* Embedded in the teller's; whole pages of 4096 bytes. */
struct bdev_memory {
	struct list link;
	uint8_t *addr;
	size_t len;
};

void bdev_memory_add(struct bdev_registry *registry, struct bdev_memory *memory);
/* No request has buffers there any more. At done no device reaches it. */
void bdev_memory_remove(
	struct bdev_registry *registry, struct bdev_memory *memory, done_fn done, void *arg);

/* The memory that has this byte, or NULL. */
const struct bdev_memory *bdev_memory_find(struct bdev_registry *registry, const void *addr);

/* The backend whose devices reach memory; one. It is asked to let go of what it may have, which
 * bdev_memory_find does not find any more. */
typedef void (*bdev_memory_leave_fn)(
	void *user, const struct bdev_memory *memory, done_fn done, void *arg);
void bdev_memory_set_user(struct bdev_registry *registry, bdev_memory_leave_fn leave, void *user);

#endif
