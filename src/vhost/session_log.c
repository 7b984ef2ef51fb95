/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log of what is written to a guest's memory, as its session has it: SET_LOG_BASE, and what
 * LOG_ALL and the log flag of a ring make of it. Reference section 10. Control reactor; mapping on
 * workers. Who marks what is in dirty_ring.c.
 *
 * A ring's writes are logged as soon as there is a bitmap: buffers while LOG_ALL is acknowledged,
 * the ring itself while its addresses say so. The three come in any order, also while rings run; a
 * message is answered when every ring goes by what it said (virtqueue_set_logging). So after the
 * answer to a SET_LOG_BASE the bitmap before it is not touched any more.
 *
 * Nobody says that a bitmap is no longer needed: it stays until another comes or the session ends.
 * It is another process's memory: a file that is too small is refused, pages that it has no bit for
 * are passed over, and one that shrinks ends the session (sigbus.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/dirty_log.h"
#include "vhost/session_impl.h"

static struct session_log *session_log_of_job(struct worker_job *job)
{
	return container_of(job, struct session_log, job);
}

/* ---- mapping ----------------------------------------------------------------------------- */

static int log_check_file(const struct session_log *log, const struct os_file_info *info)
{
	const struct vhost_user_log *layout = &log->layout;
	uint64_t page = info->map_page_size ? info->map_page_size : 4096;

	if (info->kind != OS_FILE_REGULAR)
		return reason_set(log->reason, -EINVAL, "the dirty log is not in a file");
	if (layout->offset % page)
		return reason_set(log->reason, -EINVAL,
			"the dirty log is misaligned in its file: 0x%" PRIx64, layout->offset);
	if (layout->offset > info->size_bytes || layout->size > info->size_bytes - layout->offset)
		return reason_set(log->reason, -EINVAL,
			"the file of the dirty log has %" PRIu64 " bytes, 0x%" PRIx64
			" + 0x%" PRIx64 " are announced",
			info->size_bytes, layout->offset, layout->size);
	return 0;
}

static int log_map_file(
	struct session_log *log, struct dirty_log *fresh, const struct os_file_info *info)
{
	uint64_t page = info->map_page_size ? info->map_page_size : 4096;
	int rc;

	fresh->bytes = log->layout.size;
	fresh->map_len = (size_t)align_up(log->layout.size, page);
	rc = log->os->ops->map(
		log->os, log->fd, log->layout.offset, fresh->map_len, false, &fresh->map_addr);
	if (rc)
		return reason_set(
			log->reason, rc, "the dirty log cannot be mapped: %s", strerror(-rc));
	fresh->bits = fresh->map_addr;
	return 0;
}

static int log_map_job(struct worker_job *job)
{
	struct session_log *log = session_log_of_job(job);
	struct dirty_log *fresh;
	struct os_file_info info;
	int rc = log->os->ops->file_info(log->os, log->fd, &info);

	if (rc)
		return reason_set(log->reason, rc,
			"the descriptor of the dirty log cannot be used: %s", strerror(-rc));
	rc = log_check_file(log, &info);
	if (rc)
		return rc;
	fresh = calloc(1, sizeof(*fresh));
	rc = fresh ? log_map_file(log, fresh, &info) : -ENOMEM;
	if (rc) {
		free(fresh);
		return rc;
	}
	log->subject = fresh;
	return 0;
}

static int log_unmap_job(struct worker_job *job)
{
	struct session_log *log = session_log_of_job(job);
	struct dirty_log *old = log->subject;

	log->subject = NULL;
	if (!old)
		return 0;
	log->os->ops->unmap(log->os, old->map_addr, old->map_len);
	free(old);
	return 0;
}

/* The mapped subject becomes the log; what has to go is the subject afterwards. */
static int log_exchange(struct vhost_session *s)
{
	struct session_log *log = &s->log;
	struct dirty_log *fresh = log->subject;
	int rc = sigbus_add(fresh->map_addr, fresh->map_len, &s->sigbus, &fresh->sigbus);

	if (rc)
		return rc;
	log->subject = log->log;
	log->log = fresh;
	return 0;
}

/* No ring marks there any more. */
static void log_release_subject(struct vhost_session *s, done_fn done, void *arg)
{
	if (s->log.subject)
		sigbus_remove(s->log.subject->sigbus);
	worker_run(&s->log.job, s->control, log_unmap_job, done, arg);
}

void session_log_forget(struct vhost_session *s, done_fn done, void *arg)
{
	s->log.subject = s->log.log;
	s->log.log = NULL;
	log_release_subject(s, done, arg);
}

/* ---- rings ------------------------------------------------------------------------------- */

struct virtqueue_logging session_ring_logging(const struct ring *ring)
{
	const struct vhost_session *s = ring->session;

	return (struct virtqueue_logging){
		.log = s->log.log,
		.buffers = s->features & VIRTIO_BIT(VHOST_F_LOG_ALL),
		.ring = ring->addr.flags & VHOST_USER_VRING_F_LOG,
		.ring_gpa = ring->addr.log,
	};
}

static bool logging_is_same(const struct virtqueue_logging *a, const struct virtqueue_logging *b)
{
	return a->log == b->log && a->buffers == b->buffers && a->ring == b->ring &&
	       (!a->ring || a->ring_gpa == b->ring_gpa);
}

/* The next ring that goes by something else. NULL: none. */
static struct ring *log_next_ring(struct vhost_session *s)
{
	for (; s->log.next < s->ring_count; s->log.next++) {
		struct ring *ring = &s->rings[s->log.next];
		struct virtqueue_logging logging = session_ring_logging(ring);

		if (!ring->vq || logging_is_same(&logging, &ring->logging))
			continue;
		ring->logging = logging;
		return ring;
	}
	return NULL;
}

static enum flow_result session_log_relog_run(struct flow *f)
{
	struct vhost_session *s = container_of(f, struct vhost_session, log.flow);

	FLOW_BEGIN(f);
	for (s->log.next = 0; log_next_ring(s); s->log.next++)
		AWAIT(f, virtqueue_set_logging(s->rings[s->log.next].vq,
				 &s->rings[s->log.next].logging, flow_resume, f));
	s->log.done(s->log.arg, 0);
	FLOW_END(f);
}

/* Every ring goes by what was told last; rc is 0. */
static void session_log_relog(struct vhost_session *s, done_fn done, void *arg)
{
	s->log.done = done;
	s->log.arg = arg;
	flow_start(&s->log.flow, s->control, "session_log_relog", session_log_relog_run);
}

enum flow_result message_relog_rings_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	AWAIT(f, rings_settle(s, true, flow_resume, f));
	AWAIT(f, session_log_relog(s, flow_resume, f));
	message_done(s, f->error);
	FLOW_END(f);
}

/* ---- SET_LOG_BASE ------------------------------------------------------------------------ */

/* The last byte of memory must have its bit. */
static int log_check_size(struct vhost_session *s, const struct vhost_user_log *layout)
{
	const struct guest_memory *memory = s->memory;
	const struct guest_region *last =
		memory->count ? &memory->regions[memory->count - 1] : NULL;
	uint64_t page = last ? (last->gpa + (last->size - 1)) >> DIRTY_LOG_PAGE_SHIFT : 0;

	if (layout->size == 0 || layout->size > SIZE_MAX / 2 || page / 8 >= layout->size)
		return reason_set(&s->reason, -EINVAL,
			"a dirty log of %" PRIu64 " bytes has no bit for page 0x%" PRIx64
			" of the guest's memory",
			layout->size, page);
	return 0;
}

int message_set_log_base(struct vhost_session *s)
{
	int rc = log_check_size(s, &s->conn.payload.log);

	if (rc)
		return rc;
	s->log.layout = s->conn.payload.log;
	s->log.fd = s->conn.fds[0];
	return 0;
}

static void set_log_base_reply(struct vhost_session *s)
{
	memcpy(message_reply_init(s, sizeof(s->log.layout)), &s->log.layout, sizeof(s->log.layout));
}

enum flow_result message_set_log_base_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	AWAIT(f, worker_run(&s->log.job, s->control, log_map_job, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, log_exchange(s));
	if (!flow_failed(f))
		AWAIT(f, session_log_relog(s, flow_resume, f));
	AWAIT(f, log_release_subject(s, flow_resume, f));
	if (!flow_failed(f))
		set_log_base_reply(s);
finish:
	message_done(s, f->error);
	FLOW_END(f);
}
