/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory: regions that are shared with the back-end as file descriptors, and buffers in them.
 *
 * A region has three addresses: ours (a pointer), the guest-physical one (in descriptors) and the
 * user address (in SET_VRING_ADDR). They are chosen apart from each other by default, so that a
 * back-end which mixes them up fails at once.
 *
 * Functions here change only our side; fe_memory_announce() and its neighbours in frontend.h tell
 * the back-end. Allocation takes a lock: rings of one session may be driven by several threads.
 * Adding and removing regions is for the thread that owns the session, with no ring being driven.
 */
#ifndef FRONTEND_MEMORY_H
#define FRONTEND_MEMORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FE_MAX_REGIONS 512u
#define FE_NEW_FILE    (-1)

struct fe_region_spec {
	uint64_t gpa;
	uint64_t user; /* user address told to the back-end; 0: one is made up from gpa */
	uint64_t size; /* bytes, not zero; any alignment */
	uint64_t fd_offset; /* of the region's first byte in the file; any alignment */
	int fd; /* FE_NEW_FILE: a new memfd; else a file to share, which is duplicated */
	bool sealed; /* new file only: seal it against shrinking, as QEMU does */
	bool huge; /* new file only: 2 MiB pages; -ENOMEM when the host has none free */
};

struct fe_extent {
	uint64_t start, size; /* relative to the region */
};

struct fe_region {
	bool present;
	uint64_t gpa, user, size, fd_offset;
	int fd; /* owned */
	uint8_t *ptr; /* first byte of the region */
	/* ours alone */
	void *mapping;
	size_t mapping_size;
	struct fe_extent *free, *taken; /* sorted by start */
	uint32_t free_count, taken_count, free_room, taken_room;
};

struct fe_memory {
	struct fe_region region[FE_MAX_REGIONS];
	uint32_t region_end; /* slots in use lie below */
	pthread_mutex_t lock;
};

void fe_memory_init(struct fe_memory *memory);
void fe_memory_fini(struct fe_memory *memory);

/* Creates or shares the file and maps it. Nothing is checked: tests want overlaps and wraps.
 * Returns 0, or -errno of memfd_create, ftruncate or mmap, or -ENOSPC without a free slot. */
int fe_memory_add(struct fe_memory *memory, const struct fe_region_spec *spec, uint32_t *ret_slot);

/* Unmaps. Buffers in the region are gone; whoever holds one may only fe_memory_free() it. */
void fe_memory_remove(struct fe_memory *memory, uint32_t slot);

/* A zeroed buffer of `size` bytes at a multiple of `align` (a power of two, counted in
 * guest-physical addresses) from any region or one. NULL when there is no room. */
void *fe_memory_alloc(struct fe_memory *memory, size_t size, size_t align);
void *fe_memory_alloc_in(struct fe_memory *memory, uint32_t slot, size_t size, size_t align);
void fe_memory_free(struct fe_memory *memory, void *buffer);

/* Translations. The pointer must lie in a region (asserted); fe_memory_ptr() returns NULL when
 * [gpa, gpa + len) does not lie in one region. */
uint64_t fe_memory_gpa(const struct fe_memory *memory, const void *ptr);
uint64_t fe_memory_user(const struct fe_memory *memory, const void *ptr);
void *fe_memory_ptr(const struct fe_memory *memory, uint64_t gpa, size_t len);

/* Copy to and from guest-physical addresses, across region borders. -EFAULT where none is. */
int fe_memory_write(struct fe_memory *memory, uint64_t gpa, const void *bytes, size_t len);
int fe_memory_read(const struct fe_memory *memory, uint64_t gpa, void *bytes, size_t len);

#endif
