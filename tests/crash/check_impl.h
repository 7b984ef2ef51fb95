/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check.c says what happens after a cut, check_read.c reads the volumes of a store that is open,
 * check_found.c remembers what was found, check_model.c compares that with what must be,
 * check_use.c goes on with it.
 */
#ifndef CRASH_CHECK_IMPL_H
#define CRASH_CHECK_IMPL_H

#include "crash/check.h"

#define CHECK_READS 3u /* runs of hot clusters */

struct check_read {
	struct check_blob *blob;
	struct bdev_io io;
	struct iovec iov;
};

struct check_blob {
	struct check *check;
	struct blob *blob;
	struct blob_info info;
	uint64_t parent; /* id, BLOBSTORE_NO_BLOB: none */
	uint8_t *buf; /* its hot clusters, MODEL_HOT of them */
	uint32_t *ids; /* of each of their sectors: what is there (model_recognize) */
	/* while it is read */
	struct flow flow;
	struct volume volume;
	struct check_read reads[CHECK_READS];
	unsigned pending;
	int status;
	done_fn done;
	void *arg;
};

/* What a disk was found to be: all that there is to say about it before it is compared with what
 * was promised. */
struct check_found {
	uint64_t sum; /* of the disk (crash_image_sum) */
	enum { CHECK_FINE, CHECK_NOT_LOADED, CHECK_BROKEN } verdict;
	char *fault; /* NULL: fine */
	unsigned num_blobs;
	struct store_image_blob *blobs; /* without clusters */
	uint32_t *ids; /* of each of them MODEL_HOT * cluster_sectors */
};

/* All of a scenario, a table with open addressing. */
struct check_seen {
	struct check_found **list;
	uint32_t count, room;
};

struct check {
	struct scenario *scenario;
	struct store_world world;
	struct crash_image disk; /* after the cut */
	struct crash_image *image; /* that, or what it is after another one */
	struct check_blob blobs[STORE_IMAGE_BLOBS_MAX];
	unsigned num_blobs;
	unsigned reading;
	struct store_call *read_call;
	struct blob_store_info info;
	struct store_image store; /* once it is closed */
	struct check_seen seen;
	uint64_t now; /* of the cut */
	struct chance chance;
	char fault[1200];
};

/* Sets the first fault; -1. */
int check_fault(struct check *check, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Every blob of the open store into blobs, with what it shows. */
int check_read_all(struct check *check);
/* check_use.c: loads it, fills it, empties it. */
int check_use(struct check *check);
/* Lists them only. */
int check_list(struct check *check);
/* What was found, against the model. */
int check_against_model(struct check *check, const struct check_found *found);
/* What the closed image says is what the daemon said. */
int check_against_image(struct check *check);

/* check_found.c: what is in blobs and store, which agree, or the fault. */
struct check_found *check_found_create(struct check *check, uint64_t sum);
void check_found_free(struct check_found *found);
/* NULL: such a disk was not seen in this scenario. */
struct check_found *check_seen_find(const struct check *check, uint64_t sum);
void check_seen_add(struct check *check, struct check_found *found);
void check_seen_fini(struct check *check);

#endif
