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

static int memory_change_begin(struct vhost_session *s, unsigned count)
{
	struct memory_change *change = &s->change;

	change->os = s->os;
	change->reason = &s->reason;
	change->old = s->memory;
	change->count = count;
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

/* The new table holds the mapped requests and all of base but skip. */
static int memory_change_build(
	struct vhost_session *s, const struct guest_memory *base, unsigned skip)
{
	struct memory_change *change = &s->change;

	change->table = guest_memory_build(base, skip, change->requests, change->count);
	return change->table ? 0 : -ENOMEM;
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

static int mem_table_read(struct vhost_session *s)
{
	const struct vhost_user_mem_table *table = (const void *)s->conn.payload.bytes;
	uint64_t size = sizeof(*table) + (uint64_t)table->count * sizeof(table->regions[0]);
	int rc;

	s->change.requests = NULL;
	if (s->conn.header.size != size)
		return reason_set(&s->reason, -EINVAL,
			"a memory table of %u regions in a payload of %u bytes", table->count,
			s->conn.header.size);
	if (s->conn.fd_count != table->count)
		return reason_set(&s->reason, -EINVAL, "%u descriptors for %u memory regions",
			s->conn.fd_count, table->count);
	rc = memory_change_begin(s, table->count);
	return rc ? rc : mem_table_take_requests(s, table);
}

enum flow_result message_set_mem_table_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	flow_fail(f, mem_table_read(s));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, memory_map(&s->change, s->control, &s->sigbus, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, memory_change_build(s, &no_memory, UINT_MAX));
	if (flow_failed(f))
		goto unmap;
	AWAIT(f, session_memory_switch(s, flow_resume, f));
	goto finish;

unmap:
	AWAIT(f, memory_map_undo(&s->change, s->control, flow_resume, f));
finish:
	free(s->change.requests);
	message_done(s, f->error);
	FLOW_END(f);
}

/* ---- ADD_MEM_REG ------------------------------------------------------------------------- */

static int add_mem_reg_read(struct vhost_session *s)
{
	const struct vhost_user_region *region = &s->conn.payload.single.region;
	int rc;

	s->change.requests = NULL;
	rc = guest_memory_check_region(s->memory, region, &s->reason);
	if (rc)
		return rc;
	rc = memory_check_total(
		s, guest_memory_bytes(s->memory) + region->size, s->memory->count + 1);
	if (rc)
		return rc;
	rc = memory_change_begin(s, 1);
	if (rc)
		return rc;
	s->change.requests[0].region = *region;
	s->change.requests[0].fd = s->conn.fds[0];
	return 0;
}

enum flow_result message_add_mem_reg_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	flow_fail(f, add_mem_reg_read(s));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, memory_map(&s->change, s->control, &s->sigbus, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, memory_change_build(s, s->memory, UINT_MAX));
	if (flow_failed(f))
		goto unmap;
	AWAIT(f, session_memory_switch(s, flow_resume, f));
	goto finish;

unmap:
	AWAIT(f, memory_map_undo(&s->change, s->control, flow_resume, f));
finish:
	free(s->change.requests);
	message_done(s, f->error);
	FLOW_END(f);
}

/* ---- REM_MEM_REG ------------------------------------------------------------------------- */

/* The offset is ignored: it is not part of what names a region. */
static int rem_mem_reg_read(struct vhost_session *s)
{
	const struct vhost_user_region *gone = &s->conn.payload.single.region;
	unsigned i;
	int rc;

	s->change.requests = NULL;
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
	rc = memory_change_begin(s, 0);
	return rc ? rc : memory_change_build(s, s->memory, i);
}

enum flow_result message_rem_mem_reg_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	flow_fail(f, rem_mem_reg_read(s));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, session_memory_switch(s, flow_resume, f));
finish:
	free(s->change.requests);
	message_done(s, f->error);
	FLOW_END(f);
}
