/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables of guest memory: lookups that are not on the data path, building, checking, and the switch
 * from one to the next while rings run (reference 9.3):
 *
 *	1. all virtqueues of the session pause: nothing is fetched, and what was in flight, with
 *	   addresses of the old table, has ended. Rings whose areas are gone are closed.
 *	2. the new table, and the areas of the rings as it has them, are given to the virtqueues
 *	3. they go on and look once; rings whose areas have come are opened
 *	4. the old table is put; what is not part of the new one is unmapped by a worker
 *
 * An address that is in no region for a moment (QEMU removes a region that changes in size before
 * it adds it again) is retried by the virtqueue for a grace time after a switch.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/session_impl.h"

void *guest_memory_from_user(const struct guest_memory *memory, uint64_t uva, uint64_t len)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];
		uint64_t offset = uva - region->uva; /* below it wraps to a large number */

		if (offset < region->size)
			return len <= region->size - offset ? region->addr + offset : NULL;
	}
	return NULL;
}

uint64_t guest_memory_bytes(const struct guest_memory *memory)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < memory->count; i++)
		bytes += memory->regions[i].size;
	return bytes;
}

static struct guest_memory *guest_memory_alloc(unsigned count)
{
	struct guest_memory *memory =
		calloc(1, sizeof(*memory) + count * sizeof(memory->regions[0]));

	if (memory)
		memory->refs = 1;
	return memory;
}

struct guest_memory *guest_memory_empty(void)
{
	return guest_memory_alloc(0);
}

static int guest_region_compare(const void *a, const void *b)
{
	const struct guest_region *left = a;
	const struct guest_region *right = b;

	return left->gpa < right->gpa ? -1 : left->gpa > right->gpa;
}

struct guest_memory *guest_memory_build(const struct guest_memory *old, unsigned skip,
	const struct memory_request *requests, unsigned count)
{
	struct guest_memory *memory = guest_memory_alloc(old->count + count);

	if (!memory)
		return NULL;
	for (unsigned i = 0; i < old->count; i++) {
		if (i != skip)
			memory->regions[memory->count++] = old->regions[i];
	}
	for (unsigned i = 0; i < count; i++) {
		memory->regions[memory->count++] = (struct guest_region){
			.gpa = requests[i].region.gpa,
			.size = requests[i].region.size,
			.uva = requests[i].region.uva,
			.addr = requests[i].mapping->start,
			.mapping = requests[i].mapping,
		};
	}
	for (unsigned i = 0; i < memory->count; i++)
		memory->regions[i].mapping->refs++;
	qsort(memory->regions, memory->count, sizeof(memory->regions[0]), guest_region_compare);
	return memory;
}

/* ---- checks (reference 9.2) -------------------------------------------------------------- */

static bool range_wraps(uint64_t start, uint64_t size)
{
	return start + size < start && start + size != 0;
}

/* Neither range wraps. */
static bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return b - a < a_size || a - b < b_size;
}

int guest_memory_check_region(const struct guest_memory *memory,
	const struct vhost_user_region *region, struct reason *reason)
{
	if (region->size == 0)
		return reason_set(reason, -EINVAL, "a memory region of no bytes");
	if (range_wraps(region->gpa, region->size) || range_wraps(region->uva, region->size) ||
		region->offset + region->size < region->offset)
		return reason_set(reason, -EINVAL,
			"a memory region of 0x%" PRIx64 " bytes goes past the end of its addresses",
			region->size);
	for (unsigned i = 0; i < memory->count; i++) {
		const struct guest_region *other = &memory->regions[i];

		if (ranges_overlap(region->gpa, region->size, other->gpa, other->size))
			return reason_set(reason, -EINVAL,
				"the memory region at 0x%" PRIx64 " overlaps the one at 0x%" PRIx64,
				region->gpa, other->gpa);
		if (ranges_overlap(region->uva, region->size, other->uva, other->size))
			return reason_set(reason, -EINVAL,
				"the user addresses of the memory regions at 0x%" PRIx64
				" and 0x%" PRIx64 " overlap",
				region->gpa, other->gpa);
	}
	return 0;
}

int guest_memory_check_requests(
	const struct memory_request *requests, unsigned count, struct reason *reason)
{
	struct guest_memory *memory = guest_memory_alloc(count);
	int rc = memory ? 0 : -ENOMEM;

	for (unsigned i = 0; i < count && rc == 0; i++) {
		const struct vhost_user_region *region = &requests[i].region;

		rc = guest_memory_check_region(memory, region, reason);
		memory->regions[memory->count++] = (struct guest_region){
			.gpa = region->gpa, .size = region->size, .uva = region->uva};
	}
	free(memory);
	return rc;
}

/* ---- the switch -------------------------------------------------------------------------- */

static void session_memory_publish(struct vhost_session *s)
{
	s->change.put = s->memory;
	s->memory = s->change.table;
	s->memory_switching = false;
	for (unsigned i = 0; i < s->ring_count; i++) {
		struct ring *ring = &s->rings[i];

		bool resolved;

		if (!ring->vq)
			continue;
		resolved = ring_resolve(ring, s->memory);
		invariant(ring->paused && resolved); /* else it was closed */
		virtqueue_set_memory(ring->vq, s->memory, ring->descriptors, ring->driver_area,
			ring->device_area);
	}
}

static enum flow_result session_memory_switch_run(struct flow *f)
{
	struct vhost_session *s = container_of(f, struct vhost_session, change.flow);

	FLOW_BEGIN(f);
	s->memory_switching = true;
	AWAIT(f, rings_settle(s, false, flow_resume, f));
	session_memory_publish(s);
	AWAIT(f, rings_settle(s, true, flow_resume, f));
	AWAIT(f, memory_put(&s->change, s->control, s->change.put, flow_resume, f));
	s->change.done(s->change.arg, f->error);
	FLOW_END(f);
}

void session_memory_switch(struct vhost_session *s, done_fn done, void *arg)
{
	s->change.done = done;
	s->change.arg = arg;
	flow_start(&s->change.flow, s->control, "session_memory_switch", session_memory_switch_run);
}
