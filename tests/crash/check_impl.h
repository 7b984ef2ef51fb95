/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check.c says what happens after a cut, check_read.c reads the volumes of a store that is open,
 * check_model.c compares what was found with what must be, check_use.c goes on with it.
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
	uint32_t *ids; /* of each sector of hot clusters: what is there (model_recognize) */
	/* while it is read */
	struct flow flow;
	struct volume volume;
	uint8_t *buf;
	struct check_read reads[CHECK_READS];
	unsigned pending;
	int status;
	done_fn done;
	void *arg;
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
/* All that is in blobs and store, against the model. */
int check_against_model(struct check *check);
/* What the closed image says is what the daemon said. */
int check_against_image(struct check *check);

#endif
