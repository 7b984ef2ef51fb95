/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG: what is announced is checked, mapped by a worker, made
 * into a new table with what stays of the old one, and the session switches to it (memory.c). A
 * refused message leaves the table and its mappings as they were. Reference sections 4 and 9.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "vhost/session_impl.h"

static const struct guest_memory no_memory;

/* A change that maps count regions and takes over base but skip (UINT_MAX: all of it). */
static int memory_change_begin(
	struct vhost_session *s, unsigned count, const struct guest_memory *base, unsigned skip)
{
	struct memory_change *change = &s->change;

	change->os = s->os;
	change->reason = &s->reason;
	change->old = s->memory;
	change->count = count;
	change->base = base;
	change->skip = skip;
	change->table = NULL;
	change->put = NULL;
	change->unmaps = NULL;
	change->requests = calloc(count ? count : 1, sizeof(*change->requests));
	return change->requests ? 0 : -ENOMEM;
}

static int memory_check_total(struct vhost_session *s, uint64_t bytes, unsigned regions)
{
	if (regions > GUEST_REGIONS_MAX)
		return reason_set(
			&s->reason, -ENOSPC, "more than %u memory regions", GUEST_REGIONS_MAX);
	if (bytes > s->options.limits.memory_bytes)
		return reason_set(&s->reason, -ENOSPC,
			"0x%" PRIx64 " bytes of guest memory are above the limit of 0x%" PRIx64,
			bytes, s->options.limits.memory_bytes);
	return 0;
}

/* ---- SET_MEM_TABLE ----------------------------------------------------------------------- */

static int mem_table_take_requests(
	struct vhost_session *s, const struct vhost_user_mem_table *table)
{
	uint64_t bytes = 0;
	int rc;

	for (unsigned i = 0; i < table->count; i++) {
		s->change.requests[i].region = table->regions[i];
		s->change.requests[i].fd = s->conn.fds[i];
	}
	rc = guest_memory_check_requests(s->change.requests, table->count, &s->reason);
	for (unsigned i = 0; i < table->count && rc == 0; i++) {
		bytes += table->regions[i].size;
		if (bytes < table->regions[i].size)
			bytes = UINT64_MAX;
		rc = memory_check_total(s, bytes, table->count);
	}
	return rc;
}

int message_set_mem_table(struct vhost_session *s)
{
	const struct vhost_user_mem_table *table = (const void *)s->conn.payload.bytes;
	uint64_t size = sizeof(*table) + (uint64_t)table->count * sizeof(table->regions[0]);
	int rc;

	if (s->conn.header.size != size)
		return reason_set(&s->reason, -EINVAL,
			"a memory table of %u regions in a payload of %u bytes", table->count,
			s->conn.header.size);
	if (s->conn.fd_count != table->count)
		return reason_set(&s->reason, -EINVAL, "%u descriptors for %u memory regions",
			s->conn.fd_count, table->count);
	rc = memory_change_begin(s, table->count, &no_memory, UINT_MAX);
	if (rc)
		return rc;
	rc = mem_table_take_requests(s, table);
	if (rc)
		free(s->change.requests);
	return rc;
}

/* ---- ADD_MEM_REG ------------------------------------------------------------------------- */

int message_add_mem_reg(struct vhost_session *s)
{
	const struct vhost_user_region *region = &s->conn.payload.single.region;
	int rc;

	rc = guest_memory_check_region(s->memory, region, &s->reason);
	if (rc)
		return rc;
	rc = memory_check_total(
		s, guest_memory_bytes(s->memory) + region->size, s->memory->count + 1);
	if (rc)
		return rc;
	rc = memory_change_begin(s, 1, s->memory, UINT_MAX);
	if (rc)
		return rc;
	s->change.requests[0].region = *region;
	s->change.requests[0].fd = s->conn.fds[0];
	return 0;
}

/* ---- REM_MEM_REG ------------------------------------------------------------------------- */

/* The offset is ignored: it is not part of what names a region. */
int message_rem_mem_reg(struct vhost_session *s)
{
	const struct vhost_user_region *gone = &s->conn.payload.single.region;
	unsigned i;

	for (i = 0; i < s->memory->count; i++) {
		const struct guest_region *region = &s->memory->regions[i];

		if (region->gpa == gone->gpa && region->uva == gone->uva &&
			region->size == gone->size)
			break;
	}
	if (i == s->memory->count)
		return reason_set(&s->reason, -ENOENT,
			"no memory region of 0x%" PRIx64 " bytes at 0x%" PRIx64, gone->size,
			gone->gpa);
	return memory_change_begin(s, 0, s->memory, i);
}

/* ---- the change -------------------------------------------------------------------------- */

static int memory_change_build(struct memory_change *change)
{
	change->table =
		guest_memory_build(change->base, change->skip, change->requests, change->count);
	return change->table ? 0 : -ENOMEM;
}

enum flow_result message_change_memory_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	AWAIT(f, memory_map(&s->change, s->control, &s->sigbus, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, memory_change_build(&s->change));
	if (flow_failed(f))
		goto unmap;
	memory_tell(&s->change);
	AWAIT(f, session_memory_switch(s, flow_resume, f));
	goto finish;

unmap:
	AWAIT(f, memory_map_undo(&s->change, s->control, flow_resume, f));
finish:
	free(s->change.requests);
	message_done(s, f->error);
	FLOW_END(f);
}
