/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rings are counted, not measured: a ring stays where it was put until it stops. A reactor that is
 * not pinned answers to its number in the order of the daemon's list, so that masks mean something
 * without pinning too.
 */
#include "vhost/placement_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "core/reactor.h"

int placement_init(struct placement *placement, struct reactor **reactors, unsigned count)
{
	placement->reactors = reactors;
	placement->count = count;
	placement->rings = calloc(count, sizeof(*placement->rings));
	return placement->rings ? 0 : -ENOMEM;
}

void placement_fini(struct placement *placement)
{
	free(placement->rings);
	placement->rings = NULL;
}

static unsigned placement_cpu(const struct placement *placement, unsigned i)
{
	int cpu = placement->reactors[i]->cpu;

	return cpu >= 0 ? (unsigned)cpu : i;
}

static bool placement_is_allowed(
	const struct placement *placement, unsigned i, const struct cpu_set *cpus)
{
	return !cpus || cpu_set_has(cpus, placement_cpu(placement, i));
}

bool placement_allows(const struct placement *placement, const struct cpu_set *cpus)
{
	unsigned allowed = 0;

	if (!cpus)
		return placement->count > 0;
	for (unsigned i = 0; i < placement->count; i++)
		allowed += placement_is_allowed(placement, i, cpus);
	return allowed > 0 && allowed == cpu_set_count(cpus);
}

struct reactor *placement_find(
	const struct placement *placement, const struct cpu_set *cpus, unsigned cpu)
{
	for (unsigned i = 0; i < placement->count; i++) {
		if (placement_cpu(placement, i) == cpu)
			return placement_is_allowed(placement, i, cpus) ? placement->reactors[i]
									: NULL;
	}
	return NULL;
}

unsigned placement_cpu_of(const struct placement *placement, const struct reactor *reactor)
{
	unsigned i = 0;

	while (i + 1 < placement->count && placement->reactors[i] != reactor)
		i++;
	return placement_cpu(placement, i);
}

struct reactor *placement_take(struct placement *placement, const struct cpu_set *cpus)
{
	unsigned best = placement->count;

	for (unsigned i = 0; i < placement->count; i++) {
		if (!placement_is_allowed(placement, i, cpus))
			continue;
		if (best == placement->count || placement->rings[i] < placement->rings[best])
			best = i;
	}
	invariant(best < placement->count);
	placement->rings[best]++;
	return placement->reactors[best];
}

void placement_add(struct placement *placement, struct reactor *reactor)
{
	for (unsigned i = 0; i < placement->count; i++) {
		if (placement->reactors[i] == reactor)
			placement->rings[i]++;
	}
}

void placement_give(struct placement *placement, struct reactor *reactor)
{
	for (unsigned i = 0; i < placement->count; i++) {
		if (placement->reactors[i] == reactor) {
			invariant(placement->rings[i] > 0);
			placement->rings[i]--;
			return;
		}
	}
}
