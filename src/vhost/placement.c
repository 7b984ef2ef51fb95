/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rings are counted, not measured. A reactor that is not pinned answers to its number in the order
 * of the daemon's list, so that masks mean something without pinning too.
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

bool placement_is_allowed(const struct placement *placement, unsigned i, const struct cpu_set *cpus)
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

unsigned placement_index(const struct placement *placement, const struct reactor *reactor)
{
	unsigned i = 0;

	while (i < placement->count && placement->reactors[i] != reactor)
		i++;
	invariant(i < placement->count);
	return i;
}

unsigned placement_cpu_of(const struct placement *placement, const struct reactor *reactor)
{
	return placement_cpu(placement, placement_index(placement, reactor));
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
	placement->rings[placement_index(placement, reactor)]++;
}

void placement_give(struct placement *placement, struct reactor *reactor)
{
	unsigned i = placement_index(placement, reactor);

	invariant(placement->rings[i] > 0);
	placement->rings[i]--;
}
