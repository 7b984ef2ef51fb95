/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A death at every store. A function runs in a child process, one instruction at a time; whenever
 * one has changed the memory that it shares with us, a copy of that memory is looked at: it is what
 * a kill at that point would have left behind, since a killed process leaves a prefix of its stores
 * in program order.
 *
 * Only what runs between stepped_begin and stepped_end is stepped through.
 */
#ifndef UNIT_VHOST_STEPPED_H
#define UNIT_VHOST_STEPPED_H

#include <stdbool.h>
#include <stddef.h>

/* The engine: step is called in the parent after each instruction, while the child stands still. */
struct stepped_child {
	void (*run)(void *arg); /* in the child */
	void *arg;
	void (*step)(void *step_arg);
	void *step_arg;
};

/* 0, or -errno: -EPERM where processes may not be traced. The child's failure is a failure of the
 * test. */
int stepped_child_run(const struct stepped_child *child);

/* What is usually wanted of it: a look at each state of one piece of memory. */
struct stepped {
	void *memory; /* from stepped_alloc */
	size_t size;
	void (*run)(void *memory); /* in the child */
	/* In the parent, with a private copy that lives until it returns. */
	void (*look)(void *copy, void *arg);
	void *arg;
};

/* Shared with children, zeroed. */
void *stepped_alloc(size_t size);
void stepped_free(void *memory, size_t size);

/* As stepped_child_run. */
int stepped_run(const struct stepped *stepped);

/* In the child. */
void stepped_begin(void);
void stepped_end(void);

#endif
