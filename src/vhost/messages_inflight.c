/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GET_INFLIGHT_FD and SET_INFLIGHT_FD: reference 3, 11.1, 19. Both come in 20 bytes or, padded, in
 * 24; the answer has the size of the question.
 *
 * A region is set between starts. QEMU 7.2's virtio-scsi asks for one before SET_FEATURES, others
 * after it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vhost/session_impl.h"

static int inflight_read_layout(struct vhost_session *s)
{
	struct vhost_user_inflight *layout = &s->inflight.layout;

	memset(layout, 0, sizeof(*layout));
	memcpy(layout, s->conn.payload.bytes, s->conn.header.size);
	layout->padding = 0;
	if (layout->queues == 0 || layout->queues > s->ring_count)
		return reason_set(&s->reason, -EINVAL,
			"an in-flight region for %u rings of a device with %u", layout->queues,
			s->ring_count);
	if (layout->queue_size == 0 || layout->queue_size > INFLIGHT_QUEUE_SIZE_MAX)
		return reason_set(&s->reason, -EINVAL,
			"an in-flight region for rings of %u entries", layout->queue_size);
	return 0;
}

/* ---- GET --------------------------------------------------------------------------------- */

static void get_inflight_fd_reply(struct vhost_session *s)
{
	memcpy(message_reply_init(s, s->conn.header.size), &s->inflight.layout,
		s->conn.header.size);
	s->reply_fd = s->inflight.fd;
}

enum flow_result message_get_inflight_fd_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	flow_fail(f, inflight_read_layout(s));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, inflight_create(s, flow_resume, f));
	if (!flow_failed(f))
		get_inflight_fd_reply(s);
finish:
	message_done(s, f->error);
	FLOW_END(f);
}

/* ---- SET --------------------------------------------------------------------------------- */

/* Entries are read and written as 64-bit words. */
#define INFLIGHT_OFFSET_ALIGN 8

static int set_inflight_fd_check(struct vhost_session *s)
{
	const struct vhost_user_inflight *layout = &s->inflight.layout;
	int rc = inflight_read_layout(s);

	if (rc)
		return rc;
	if (layout->mmap_offset % INFLIGHT_OFFSET_ALIGN)
		return reason_set(&s->reason, -EINVAL,
			"the in-flight region is misaligned: 0x%" PRIx64, layout->mmap_offset);
	if (layout->mmap_size < layout->queues * vhost_inflight_split_stride(layout->queue_size))
		return reason_set(&s->reason, -EINVAL,
			"an in-flight region of %" PRIu64 " bytes is too small for %u rings of %u "
			"entries",
			layout->mmap_size, layout->queues, layout->queue_size);
	for (unsigned i = 0; i < s->ring_count; i++) {
		if (s->rings[i].vq || (s->rings[i].started && ring_is_complete(&s->rings[i])))
			return reason_set(&s->reason, -EBUSY,
				"the in-flight region cannot change while ring %u is started", i);
	}
	s->inflight.fd = s->conn.fds[0];
	return 0;
}

enum flow_result message_set_inflight_fd_run(struct flow *f)
{
	struct vhost_session *s = session_of_message_flow(f);

	FLOW_BEGIN(f);
	flow_fail(f, set_inflight_fd_check(s));
	if (!flow_failed(f))
		AWAIT(f, inflight_set(s, flow_resume, f));
	message_done(s, f->error);
	FLOW_END(f);
}
