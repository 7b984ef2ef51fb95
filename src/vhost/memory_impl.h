/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of guest memory: mappings, the job that makes them on a worker, and the change of a
 * session's table. Reference section 9.
 */
#ifndef VHOST_MEMORY_IMPL_H
#define VHOST_MEMORY_IMPL_H

#include "bdev/memory.h"
#include "core/worker.h"
#include "spec/vhost_user.h"
#include "vhost/guest_memory.h"
#include "vhost/sigbus_impl.h"

struct vhost_session;

/* One mmap of one region's part of a file. Counted by the tables that use it; what identifies it
 * tells whether an announced region is the same memory. */
struct guest_mapping {
	unsigned refs;
	struct guest_mapping *next; /* to be unmapped, by the same job */
	void *addr; /* of the mmap: aligned down to the file's page size */
	size_t len;
	uint8_t *start; /* of the region */
	uint64_t device;
	uint64_t inode;
	uint64_t offset;
	uint64_t size;
	struct sigbus_slot *sigbus;
	struct bdev_memory told; /* while it is in a table */
	bool is_told;
};

/* A region as announced, and what became of it. */
struct memory_request {
	struct vhost_user_region region;
	int fd; /* borrowed until done */
	struct guest_mapping *mapping;
	bool reused; /* of the old table; else new */
};

/* One at a time in a session: part of the message at hand. */
struct memory_change {
	struct worker_job job;
	struct os *os;
	struct bdev_registry *registry; /* told of memory; NULL: nobody is */
	struct reason *reason;
	const struct guest_memory *old; /* for mappings to use again */
	struct memory_request *requests;
	unsigned count;
	const struct guest_memory *base; /* what the new table takes over: all of it but skip */
	unsigned skip;
	struct guest_memory *table; /* the new one */
	struct guest_memory *put; /* the old one, or a new one that is not used */
	struct guest_mapping *unmaps;
	struct sigbus_owner *owner;
	done_fn job_done;
	void *job_arg;
	struct guest_mapping *leaving; /* of unmaps, at hand */
	struct flow put_flow;
	done_fn put_done;
	void *put_arg;

	struct flow flow;
	done_fn done;
	void *arg;
};

/* ---- memory.c ---------------------------------------------------------------------------- */

struct guest_memory *guest_memory_empty(void);
/* Copies the entries of old but skip (or UINT_MAX) and adds the mapped requests; sorted, each
 * mapping counted. NULL: out of memory. */
struct guest_memory *guest_memory_build(const struct guest_memory *old, unsigned skip,
	const struct memory_request *requests, unsigned count);
/* -EINVAL with a sentence: wraps, empty, overlaps one of the table in GPA or user range. */
int guest_memory_check_region(const struct guest_memory *memory,
	const struct vhost_user_region *region, struct reason *reason) MUST_CHECK;
/* The same for all regions of a new table among themselves. */
int guest_memory_check_requests(
	const struct memory_request *requests, unsigned count, struct reason *reason) MUST_CHECK;
uint64_t guest_memory_bytes(const struct guest_memory *memory);

/* s->change.table becomes the session's table: pauses the rings, switches, resolves their areas
 * again, lets them go on, and gives the old table back. */
void session_memory_switch(struct vhost_session *s, done_fn done, void *arg);

/* ---- memory_map.c ------------------------------------------------------------------------ */

/* Maps change->requests on a worker, sharing mappings of change->old where they are the same
 * memory. On failure nothing stays mapped. New mappings have no reference yet: guest_memory_build
 * gives them their first. */
void memory_map(struct memory_change *change, struct reactor *reactor, struct sigbus_owner *owner,
	done_fn done, void *arg);
/* Unmaps what memory_map has mapped, when no table can be made of it. */
void memory_map_undo(
	struct memory_change *change, struct reactor *reactor, done_fn done, void *arg);
/* What is new is in a table now: devices may reach it by themselves. */
void memory_tell(struct memory_change *change);
/* Drops the table's reference; takes what nobody uses any more away from devices that reach it and
 * unmaps it, on a worker. NULL is allowed. */
void memory_put(struct memory_change *change, struct reactor *reactor, struct guest_memory *memory,
	done_fn done, void *arg);

#endif
