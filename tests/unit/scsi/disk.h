/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device of the tests: memory, which fails, holds and counts as it is told. Requests end
 * later in the same turn unless held. Its members are read and set while nothing is in flight, or
 * are atomic.
 */
#ifndef UNIT_SCSI_DISK_H
#define UNIT_SCSI_DISK_H

#include "world.h"

#define DISK_HELD_MAX 64

struct disk_options {
	const char *name;
	const char *uuid;
	uint64_t blocks;
	uint32_t block_size;
	uint32_t physical_block_size;
	uint32_t optimal_io_bytes;
	uint32_t unmap_granularity;
	uint16_t max_iovcnt;
	bool read_only;
	bool rotational;
	bool no_unmap;
	bool no_write_zeroes;
	bool no_flush;
	bool no_extents;
	uint32_t atomic_write_bytes;
	struct bdev_space space; /* total_bytes 0: it takes none from a pool */
	/* of the logical unit over it */
	bool removable;
	bool attach_read_only;
	struct scsi_store *store;
};

struct disk {
	struct bdev bdev;
	struct bdev_ops ops;
	uint8_t *bytes;
	uint8_t *touched; /* a byte for each block: 1 written, 2 zeroed, 3 unmapped */
	struct disk_options options;

	atomic_int fail_with; /* -errno of requests of fail_type while fail_count > 0 */
	atomic_int fail_type;
	atomic_int fail_count;
	atomic_bool hold;
	atomic_uint held_count;
	struct bdev_io *held[DISK_HELD_MAX]; /* by one reactor, or on the simulated host */
	atomic_uint counts[BDEV_IO_TYPES];
	atomic_uint last_flags[BDEV_IO_TYPES];
	atomic_uint iovcnt_max; /* the most segments seen */
	atomic_int claim_status;
	atomic_uint claims;
	atomic_bool destroyed;
};

void disk_start(struct world *world, struct disk *disk, const struct disk_options *options);
/* Unregisters and checks that it was destroyed. */
void disk_end(struct world *world, struct disk *disk);
/* The next so many requests of that type end with -error. */
void disk_fail(struct disk *disk, enum bdev_io_type type, int error, int count);
/* Ends what is held of that reactor's, and holds nothing more. */
void disk_release(struct world *world, struct disk *disk, struct reactor *reactor);
/* Ends the oldest that is held, of that reactor, and goes on holding. */
void disk_release_one(struct world *world, struct disk *disk, struct reactor *reactor);
/* Waits until that many are held. */
void disk_wait_held(struct world *world, struct disk *disk, unsigned count);

#endif
