/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device for tests, over memory, whose requests can be held, released in any order and
 * failed, and which remembers what it was asked and what of it a flush has made stable. For tests
 * of everything above the block layer; works on the simulated host and on the real kernel.
 *
 *	struct gate_bdev *gate = gate_bdev_create(&(struct gate_bdev_options){
 *		.name = "gate0", .size_bytes = MIB, .block_size = 512});
 *	gate_bdev_register(gate, registry, NULL);	-- on the control reactor
 *	gate_bdev_hold(gate, true);
 *	... the guest writes; the test waits until gate_bdev_held(gate) == 2 ...
 *	gate_bdev_release(gate, 1, 0);			-- the younger first
 *	gate_bdev_release(gate, 0, -EIO);		-- fails, has no effect
 *	...
 *	bdev_unregister(gate_bdev_of(gate), done, arg);
 *	gate_bdev_destroy(gate);			-- after done
 *
 * All functions but register may be called from any thread. A release is carried out by a message
 * to the reactor of the request's channel. A request that breaks the contract of bdev/io.h (not
 * of whole units, beyond the end, iovecs of another length) ends the test at once.
 */
#ifndef SIM_GATE_BDEV_H
#define SIM_GATE_BDEV_H

#include "bdev/bdev.h"

struct gate_bdev;

struct gate_bdev_options {
	const char *name;
	uint64_t size_bytes;
	uint32_t block_size;
	uint32_t io_unit_size; /* what requests are of; 0: block_size */
	uint32_t physical_block_size; /* 0: block_size */
	uint16_t max_iovcnt; /* 0: no limit */
	bool read_only;
	bool unmap_leaves_garbage; /* UNMAP: 0xa5 instead of zeroes, and bdev says so */
	unsigned unsupported; /* 1 << enum bdev_io_type */
};

struct gate_record {
	enum bdev_io_type type;
	uint8_t flags;
	uint64_t offset;
	uint64_t length;
	const struct reactor *reactor;
	bool ended;
	int status; /* once it has ended */
	unsigned end_order; /* 1: the first that ended */
};

struct gate_bdev *gate_bdev_create(const struct gate_bdev_options *options) MUST_CHECK;
/* Not registered, or destroyed through bdev_unregister. */
void gate_bdev_destroy(struct gate_bdev *gate);
/* On the control reactor. */
int gate_bdev_register(
	struct gate_bdev *gate, struct bdev_registry *registry, struct reason *reason) MUST_CHECK;
struct bdev *gate_bdev_of(struct gate_bdev *gate);

/* From now on requests wait for their release, or no longer; those that wait go on waiting. */
void gate_bdev_hold(struct gate_bdev *gate, bool hold);
/* Only requests of these types are held (1 << enum bdev_io_type); at first all. */
void gate_bdev_hold_types(struct gate_bdev *gate, unsigned types);
unsigned gate_bdev_held(struct gate_bdev *gate);
/* Which request the nth that waits is, oldest first. */
void gate_bdev_held_at(struct gate_bdev *gate, unsigned nth, struct gate_record *ret_record);
/* 0: it is carried out; -errno: it ends so, without effect. */
void gate_bdev_release(struct gate_bdev *gate, unsigned nth, int status);
void gate_bdev_release_all(struct gate_bdev *gate, int status);

/* The next count requests that touch the range and are of one of the types end with status, without
 * effect and without being held. */
void gate_bdev_fail(struct gate_bdev *gate, unsigned types, uint64_t offset, uint64_t length,
	int status, unsigned count);
/* Whatever was still to fail does not. */
void gate_bdev_fail_no_more(struct gate_bdev *gate);

/* Of the requests of these types to come, the nth (0: the next) ends so. One such order at a time;
 * true: the one before has been carried out. types 0: no order. */
bool gate_bdev_fail_nth(struct gate_bdev *gate, unsigned types, unsigned nth, int status);

/* Everything that was submitted, in that order. */
unsigned gate_bdev_record_count(struct gate_bdev *gate);
void gate_bdev_record_at(struct gate_bdev *gate, unsigned nth, struct gate_record *ret_record);
void gate_bdev_forget(struct gate_bdev *gate); /* of what has ended */

void gate_bdev_peek(struct gate_bdev *gate, uint64_t offset, void *buf, size_t len);
void gate_bdev_poke(struct gate_bdev *gate, uint64_t offset, const void *buf, size_t len);
/* Is every write to the range that has ended stable: by FUA, or by a FLUSH that was submitted after
 * its end and has ended? */
bool gate_bdev_is_stable(struct gate_bdev *gate, uint64_t offset, uint64_t length);

#endif
