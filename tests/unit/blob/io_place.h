/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store on a gated device full of garbage (a former tenant's), for tests of its data path.
 */
#ifndef UNIT_BLOB_IO_PLACE_H
#define UNIT_BLOB_IO_PLACE_H

#include "sim/gate_bdev.h"
#include "volumes.h"

#define IO_GARBAGE 0xee

struct io_place_options {
	uint64_t base_bytes; /* 0: 16 MiB */
	uint64_t begin_bytes; /* of these the store knows at first; 0: all */
	uint32_t cluster_size; /* 0: 16 KiB */
	uint32_t block_size; /* of the base; 0: 512 */
	uint16_t max_iovcnt; /* of the base */
	unsigned unsupported; /* of the base: 1 << enum bdev_io_type */
	uint32_t md_percent; /* metadata pages for 100 clusters; 0: 100 */
};

struct io_place {
	struct world world;
	struct gate_bdev *gate;
	struct volumes volumes;
	uint64_t cluster;
};

void io_place_open(struct io_place *place, uint64_t seed, const struct io_place_options *options);
/* Closes the store and opens it again; all blobs are hidden. */
void io_place_reload(struct io_place *place);
void io_place_close(struct io_place *place);

struct blob *io_place_find(struct io_place *place, uint64_t id); /* shown, if it was not */
uint64_t io_place_id(struct io_place *place, struct blob *blob);
uint64_t io_place_allocated(struct io_place *place, struct blob *blob);
/* Once what was released is free. */
uint64_t io_place_free(struct io_place *place);

/* A request under way, over a buffer of its own. */
struct io_request {
	struct world_call call;
	struct iovec iov;
	bool used;
};

void io_request_begin(struct io_place *place, struct io_request *request, struct blob *blob,
	unsigned reactor, enum bdev_io_type type, uint8_t flags, uint64_t offset, uint64_t length,
	int byte);
int io_request_finish(struct io_place *place, struct io_request *request);
/* Both. */
int io_request(struct io_place *place, struct blob *blob, unsigned reactor, enum bdev_io_type type,
	uint8_t flags, uint64_t offset, uint64_t length, int byte);

/* What the base device was asked since gate_bdev_forget, metadata left out. */
unsigned io_place_count(struct io_place *place, enum bdev_io_type type);
/* The nth of them. */
struct gate_record io_place_record(struct io_place *place, enum bdev_io_type type, unsigned nth);

#endif
