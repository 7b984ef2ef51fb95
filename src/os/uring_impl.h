/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Engine "io_uring", shared by uring.c, uring_watch.c and uring_file.c.
 *
 * user_data says what a completion is about: the low three bits are a tag, the rest is the address
 * of the os_io, or index and generation of a watch slot. A watch itself may be gone by the time
 * the kernel answers, a slot never is.
 */
#ifndef OS_URING_IMPL_H
#define OS_URING_IMPL_H

#include <liburing.h>

#include "os/real_impl.h"

enum uring_tag {
	URING_IO, /* address of an os_io */
	URING_WATCH, /* slot of a poll */
	URING_WAKE, /* the read of the ring's own eventfd */
	URING_CANCEL, /* nobody waits for it */
	URING_TAG_MASK = 7,
};

enum slot_state {
	SLOT_FREE,
	SLOT_WANTED, /* todo: the poll is to be queued */
	SLOT_POLLED, /* queued or in the kernel; its completion will come */
	SLOT_CANCEL_WANTED, /* the same, and todo: the cancel is to be queued */
	SLOT_CANCELLED, /* the same, and the cancel is queued */
};

/* One poll request of the kernel. */
struct watch_slot {
	struct os_watch *watch; /* NULL: unwatched, its completion is dropped */
	enum slot_state state;
	uint32_t generation;
	uint32_t next_free;
	bool on_todo;
	uint32_t next_todo;
};

#define SLOT_NONE UINT32_MAX

struct watch_table {
	struct watch_slot *slots;
	uint32_t count;
	uint32_t first_free;
	/* Slots that found the submission queue full, first in first out. */
	uint32_t todo_first;
	uint32_t todo_last;
};

/* Registered files: which descriptors the kernel's table has, each at its own index, and which of
 * them have their operations done by the kernel's threads (uring_file.c). */
struct file_table {
	uint64_t *bits;
	uint64_t *slow_bits;
	unsigned size; /* descriptors; 0: no table yet, or refused */
	bool refused;
};

static inline bool file_table_has(const struct file_table *table, int fd)
{
	return (unsigned)fd < table->size && (table->bits[fd / 64] >> (fd % 64) & 1);
}

/* Of one that it has. */
static inline bool file_table_is_slow(const struct file_table *table, int fd)
{
	return table->slow_bits[fd / 64] >> (fd % 64) & 1;
}

struct uring {
	struct os_ring ring;
	struct io_uring uring;
	struct watch_table watches;
	struct file_table files;
	struct os_io_list overflow; /* found the queue full or too many in the kernel */
	unsigned in_kernel; /* os_ios in the submission queue or in the kernel */
	unsigned in_kernel_max;
	unsigned with_threads; /* of in_kernel, those that the kernel's threads do */
	bool enabled; /* bound to its thread */
	bool wake_armed;
	uint64_t wake_value;
};

static inline struct uring *uring_of(struct os_ring *ring)
{
	return container_of(ring, struct uring, ring);
}

void watch_table_init(struct watch_table *table);
void watch_table_fini(struct watch_table *table);
/* Queues what was left over while there is room; true when something is still left. */
bool watch_table_fill(struct uring *uring);
/* Returns 1 when it called ready. */
unsigned watch_complete(struct uring *uring, uint64_t user_data, int32_t res);

void file_table_fini(struct file_table *table);
void uring_file_keep(struct os_ring *ring, int fd);
void uring_file_drop(struct os_ring *ring, int fd);

void uring_watch(struct os_ring *ring, struct os_watch *watch);
void uring_unwatch(struct os_ring *ring, struct os_watch *watch);

#endif
