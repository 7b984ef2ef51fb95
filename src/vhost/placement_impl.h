/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which data reactor serves a ring at first: the one with the fewest rings among those a controller
 * may use. Later it may be moved, by hand or by load (balance.c). Control reactor.
 */
#ifndef VHOST_PLACEMENT_IMPL_H
#define VHOST_PLACEMENT_IMPL_H

#include "base/text.h"

struct reactor;

struct placement {
	struct reactor **reactors; /* borrowed */
	unsigned *rings; /* placed on each */
	unsigned count;
};

int placement_init(
	struct placement *placement, struct reactor **reactors, unsigned count) MUST_CHECK;
void placement_fini(struct placement *placement);

/* Is at least one reactor allowed by the set (NULL: all are), and does the set name no CPU that
 * has none? */
bool placement_allows(const struct placement *placement, const struct cpu_set *cpus);
/* cpus as accepted by placement_allows. */
struct reactor *placement_take(struct placement *placement, const struct cpu_set *cpus);
/* The reactor that answers to that CPU, if the set allows it; NULL: there is none. */
struct reactor *placement_find(
	const struct placement *placement, const struct cpu_set *cpus, unsigned cpu);
unsigned placement_index(const struct placement *placement, const struct reactor *reactor);
bool placement_is_allowed(
	const struct placement *placement, unsigned index, const struct cpu_set *cpus);
unsigned placement_cpu_of(const struct placement *placement, const struct reactor *reactor);
/* One more on that reactor. */
void placement_add(struct placement *placement, struct reactor *reactor);
void placement_give(struct placement *placement, struct reactor *reactor);

#endif
