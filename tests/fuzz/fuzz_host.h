/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzzers of devices stand on: a simulated host with a control and a data reactor and a
 * memory disk "disk" of FUZZ_DISK bytes; and the reader of an input, which gives zeroes past its
 * end.
 */
#ifndef TESTS_FUZZ_HOST_H
#define TESTS_FUZZ_HOST_H

#include "bdev/bdev.h"
#include "sim/sim.h"

#define FUZZ_DISK (UINT64_C(1) << 20)

/* What a fuzzer looks for. */
#define must(condition) invariant(condition)

struct fuzz_host {
	struct sim *sim;
	struct os *os;
	struct reactor *control, *data;
	struct bdev_registry *registry;
	struct bdev *bdev;

	/* fuzz_host_await */
	struct message message;
	void (*call)(void *arg);
	void *arg;
	bool answered;
	int rc;
};

void fuzz_host_create(struct fuzz_host *host, const struct sim_options *options);
/* Everything must come back, and nothing be left. */
void fuzz_host_destroy(struct fuzz_host *host);

/* Runs call on the control reactor and waits for fuzz_host_done, which must come with rc 0. */
void fuzz_host_await(struct fuzz_host *host, void (*call)(void *arg), void *arg);
/* A done_fn: arg is the host. */
void fuzz_host_done(void *arg, int rc);

/* ---- the input --------------------------------------------------------------------------- */

struct input {
	const uint8_t *p;
	size_t left;
};

void input_take(struct input *in, void *buf, size_t len);
uint8_t input_u8(struct input *in);
uint16_t input_u16(struct input *in); /* little endian */

#endif
