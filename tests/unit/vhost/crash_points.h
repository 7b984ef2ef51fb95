/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a process leaves behind when it is killed, for every moment at which it could be: a piece of
 * code runs in a child, instruction by instruction (stepped.h), and each state that the memory
 * shared with it goes through is kept. No store of the compiler's making is missed, and nothing in
 * the code under test knows of it.
 */
#ifndef UNIT_VHOST_CRASH_POINTS_H
#define UNIT_VHOST_CRASH_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRASH_AREAS_MAX  6
#define CRASH_POINTS_MAX 4096

/* Pieces of MAP_SHARED memory; what is outside does not survive. */
struct crash_areas {
	unsigned count;
	struct {
		void *addr;
		size_t len;
	} area[CRASH_AREAS_MAX];
};

/* The states in their order, from that before the first store to that after the last. */
struct crash_points {
	size_t bytes; /* of each */
	unsigned count;
	uint8_t *states;
};

/* Runs fn(arg) in a child and collects. The memory is as the child left it afterwards. Returns 0,
 * or -EPERM where ptrace is forbidden. */
int crash_points_collect(const struct crash_areas *areas, void (*fn)(void *arg), void *arg,
	struct crash_points *ret_points);
void crash_points_free(struct crash_points *points);

/* Makes the memory what it was at that point. */
void crash_points_restore(
	const struct crash_areas *areas, const struct crash_points *points, unsigned point);
/* The memory as it is, into a buffer of points->bytes. */
size_t crash_areas_bytes(const struct crash_areas *areas);
void crash_areas_save(const struct crash_areas *areas, uint8_t *state);
void crash_areas_load(const struct crash_areas *areas, const uint8_t *state);

#endif
