/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The in-flight region of a front-end: made for GET_INFLIGHT_FD, mapped for SET_INFLIGHT_FD.
 * Reference 11.1, 11.5.
 *
 * What SET brings is another file than the one made last, when the front-end had it from a back-end
 * before us: all of it is checked. One that is not sealed can shrink under us, as guest memory can:
 * the mapping is in the SIGBUS table, and whoever touches what is gone loses its session, no more.
 *
 * No more is mapped than the counts can need. Before the first ring starts it is not known whether
 * rings are split or packed, so a region is made large enough for packed, and one that is set is
 * checked again for each ring that starts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/session_impl.h"

static_assert(INFLIGHT_QUEUES_MAX == VHOST_QUEUES_MAX, "every ring can have records");

static struct session_inflight *inflight_of_job(struct worker_job *job)
{
	return container_of(job, struct session_inflight, job);
}

static uint64_t inflight_stride(uint16_t queue_size, bool packed)
{
	return packed ? vhost_inflight_packed_stride(queue_size)
		      : vhost_inflight_split_stride(queue_size);
}

/* ---- making ------------------------------------------------------------------------------ */

static int inflight_create_job(struct worker_job *job)
{
	struct session_inflight *inflight = inflight_of_job(job);
	struct vhost_user_inflight *layout = &inflight->layout;
	int rc;

	layout->mmap_offset = 0;
	layout->mmap_size = layout->queues * inflight_stride(layout->queue_size, true);
	rc = inflight->os->ops->memfd_create(
		inflight->os, "sluice-inflight", layout->mmap_size, &inflight->fd);
	return rc ? reason_set(inflight->reason, rc, "no memory for an in-flight region: %s",
			    strerror(-rc))
		  : 0;
}

void inflight_create(struct vhost_session *s, done_fn done, void *arg)
{
	worker_run(&s->inflight.job, s->control, inflight_create_job, done, arg);
}

/* ---- mapping ----------------------------------------------------------------------------- */

static int inflight_check_file(
	const struct session_inflight *inflight, const struct os_file_info *info)
{
	const struct vhost_user_inflight *layout = &inflight->layout;

	if (info->kind != OS_FILE_REGULAR)
		return reason_set(
			inflight->reason, -EINVAL, "the in-flight region is not in a file");
	if (layout->mmap_offset > info->size_bytes ||
		layout->mmap_size > info->size_bytes - layout->mmap_offset)
		return reason_set(inflight->reason, -EINVAL,
			"the file of the in-flight region has %" PRIu64 " bytes, 0x%" PRIx64
			" + 0x%" PRIx64 " are announced",
			info->size_bytes, layout->mmap_offset, layout->mmap_size);
	return 0;
}

static int inflight_map_file(struct session_inflight *inflight, struct inflight_region *region,
	const struct os_file_info *info)
{
	const struct vhost_user_inflight *layout = &inflight->layout;
	uint64_t page = info->map_page_size ? info->map_page_size : 4096;
	uint64_t before = layout->mmap_offset & (page - 1);
	int rc;

	region->queues = layout->queues;
	region->queue_size = layout->queue_size;
	region->bytes = u64_min(
		layout->mmap_size, layout->queues * inflight_stride(layout->queue_size, true));
	region->map_len = (size_t)align_up(before + region->bytes, page);
	rc = inflight->os->ops->map(inflight->os, inflight->fd, layout->mmap_offset - before,
		region->map_len, false, &region->map_addr);
	if (rc)
		return reason_set(inflight->reason, rc, "the in-flight region cannot be mapped: %s",
			strerror(-rc));
	region->start = (uint8_t *)region->map_addr + before;
	return 0;
}

static int inflight_map_job(struct worker_job *job)
{
	struct session_inflight *inflight = inflight_of_job(job);
	struct inflight_region *region;
	struct os_file_info info;
	int rc = inflight->os->ops->file_info(inflight->os, inflight->fd, &info);

	if (rc)
		return reason_set(inflight->reason, rc,
			"the descriptor of the in-flight region cannot be used: %s", strerror(-rc));
	rc = inflight_check_file(inflight, &info);
	if (rc)
		return rc;
	region = calloc(1, sizeof(*region));
	rc = region ? inflight_map_file(inflight, region, &info) : -ENOMEM;
	if (rc) {
		free(region);
		return rc;
	}
	inflight->subject = region;
	return 0;
}

static int inflight_unmap_job(struct worker_job *job)
{
	struct session_inflight *inflight = inflight_of_job(job);
	struct inflight_region *region = inflight->subject;

	inflight->subject = NULL;
	if (!region)
		return 0;
	inflight->os->ops->unmap(inflight->os, region->map_addr, region->map_len);
	free(region);
	return 0;
}

/* The mapped subject becomes the region; what has to go is the subject afterwards. */
static int inflight_exchange(struct vhost_session *s)
{
	struct session_inflight *inflight = &s->inflight;
	struct inflight_region *fresh = inflight->subject;
	struct inflight_region *old = inflight->region;
	int rc = sigbus_add(fresh->map_addr, fresh->map_len, &s->sigbus, &fresh->sigbus);

	if (rc)
		return rc;
	if (old)
		sigbus_remove(old->sigbus);
	inflight->region = fresh;
	inflight->subject = old;
	inflight->looked = false;
	return 0;
}

static enum flow_result inflight_set_run(struct flow *f)
{
	struct vhost_session *s = container_of(f, struct vhost_session, inflight_flow);

	FLOW_BEGIN(f);
	AWAIT(f, worker_run(&s->inflight.job, s->control, inflight_map_job, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, inflight_exchange(s));
	AWAIT(f, worker_run(&s->inflight.job, s->control, inflight_unmap_job, flow_resume, f));
finish:
	s->inflight_done(s->inflight_arg, f->error);
	FLOW_END(f);
}

void inflight_set(struct vhost_session *s, done_fn done, void *arg)
{
	s->inflight_done = done;
	s->inflight_arg = arg;
	flow_start(&s->inflight_flow, s->control, "inflight_set", inflight_set_run);
}

void inflight_forget(struct vhost_session *s, done_fn done, void *arg)
{
	struct session_inflight *inflight = &s->inflight;

	inflight->subject = inflight->region;
	inflight->region = NULL;
	if (inflight->subject)
		sigbus_remove(inflight->subject->sigbus);
	worker_run(&inflight->job, s->control, inflight_unmap_job, done, arg);
}

/* ---- a ring's part ----------------------------------------------------------------------- */

/* NULL: beyond the region. */
static void *inflight_queue(const struct inflight_region *region, unsigned index, bool packed)
{
	uint64_t stride = inflight_stride(region->queue_size, packed);

	if (index >= region->queues || (index + 1) * stride > region->bytes)
		return NULL;
	return region->start + index * stride;
}

int inflight_find_queue(
	const struct vhost_session *s, unsigned index, struct reason *reason, void **ret_queue)
{
	const struct inflight_region *region = s->inflight.region;

	*ret_queue = NULL;
	if (!region)
		return 0;
	*ret_queue = inflight_queue(region, index, session_has_packed_rings(s));
	if (!*ret_queue)
		return reason_set(reason, -EINVAL,
			"ring %u has no place in the in-flight region, which has %" PRIu64
			" bytes for %u rings of %u entries",
			index, region->bytes, region->queues, region->queue_size);
	return 0;
}

/* Both formats have their version at the same place. */
static_assert(offsetof(struct vhost_inflight_split, version) ==
		      offsetof(struct vhost_inflight_packed, version),
	"version");

/* Of rings that are closed: what it told of them is no longer there. */
void inflight_reset(struct vhost_session *s)
{
	const struct inflight_region *region = s->inflight.region;
	bool running = false;

	for (unsigned i = 0; region && i < region->queues; i++) {
		struct vhost_inflight_split *queue =
			inflight_queue(region, i, session_has_packed_rings(s));

		if (i < s->ring_count && s->rings[i].vq)
			running = true;
		else if (queue)
			queue->version = 0;
	}
	if (running)
		recovery_forget_closed(s);
	else
		s->inflight.looked = false;
}

/* ---- looking for records ----------------------------------------------------------------- */

static bool inflight_queue_has_records(const void *queue, uint16_t queue_size, bool packed)
{
	const struct vhost_inflight_split *split = queue;
	const struct vhost_inflight_packed *packed_queue = queue;

	if (split->version == 0)
		return false;
	for (unsigned i = 0; i < queue_size; i++) {
		if (packed ? packed_queue->entries[i].inflight : split->entries[i].inflight)
			return true;
	}
	return false;
}

static int inflight_look_job(struct worker_job *job)
{
	struct session_inflight *inflight = inflight_of_job(job);
	const struct inflight_region *region = inflight->region;

	inflight->used = false;
	for (unsigned i = 0; i < INFLIGHT_QUEUES_MAX; i++) {
		const void *queue = inflight_queue(region, i, inflight->packed);

		if (queue && ((const struct vhost_inflight_split *)queue)->version != 0)
			inflight->used = true;
		inflight->records[i] = queue && inflight_queue_has_records(queue,
							region->queue_size, inflight->packed);
	}
	return 0;
}

void inflight_look(struct vhost_session *s, done_fn done, void *arg)
{
	s->inflight.packed = session_has_packed_rings(s);
	worker_run(&s->inflight.job, s->control, inflight_look_job, done, arg);
}
