/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REPORT TARGET PORT GROUPS, SET TARGET PORT GROUPS: SPC-4 6.37, 6.45. Which ports there are is
 * known on the control reactor, which writes the answer into a buffer of ours.
 */
#include "scsi/port.h"

#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/identity.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define GROUP_BYTES    12 /* with its one port */
#define STATES_SUP     0x0f /* active optimized and not, standby, unavailable */
#define SET_LIST_BYTES 1024
#define SET_HEADER     4
#define SET_DESCRIPTOR 4

/* ---- ports ----------------------------------------------------------------------------------- */

static bool relative_port_is_taken(const struct scsi_lun *lun, uint16_t port)
{
	const struct scsi_attachment *attachment;

	list_for_each_entry (attachment, &lun->attachments, link) {
		if (attachment->relative_port == port)
			return true;
	}
	return false;
}

void scsi_port_init(struct scsi_attachment *attachment, const char *controller, unsigned target)
{
	uint64_t name = scsi_identity_of_port(controller, target, attachment->port_naa);
	uint16_t port = (uint16_t)(name % UINT16_MAX + 1);

	while (relative_port_is_taken(attachment->lun, port))
		port = port == UINT16_MAX ? 1 : port + 1;
	attachment->relative_port = port;
	atomic_store_explicit(&attachment->access, SCSI_ACCESS_OPTIMIZED, memory_order_relaxed);
}

void scsi_port_set_access(struct scsi_attachment *attachment, enum scsi_access_state state)
{
	uint32_t bits = state == SCSI_ACCESS_STANDBY       ? SCSI_ATTENTION_PORT_STANDBY
			: state == SCSI_ACCESS_UNAVAILABLE ? SCSI_ATTENTION_PORT_UNAVAILABLE
							   : 0;

	atomic_store_explicit(&attachment->access, (uint8_t)state, memory_order_relaxed);
	atomic_fetch_and_explicit(&attachment->attention,
		~(SCSI_ATTENTION_PORT_STANDBY | SCSI_ATTENTION_PORT_UNAVAILABLE),
		memory_order_relaxed);
	atomic_fetch_or_explicit(&attachment->attention, bits, memory_order_release);
}

/* SPC-4 5.15.2.4.4, 5.15.2.4.5. */
static bool runs_when_unavailable(const struct scsi_command *command)
{
	switch (command->opcode) {
	case SCSI_INQUIRY:
	case SCSI_REPORT_LUNS:
	case SCSI_REQUEST_SENSE:
		return true;
	case SCSI_MAINTENANCE_IN:
		return command->service_action == SCSI_SA_REPORT_TARGET_PORT_GROUPS;
	case SCSI_MAINTENANCE_OUT:
		return command->service_action == SCSI_SA_SET_TARGET_PORT_GROUPS;
	default:
		return false;
	}
}

static bool runs_in_standby(const struct scsi_command *command)
{
	switch (command->opcode) {
	case SCSI_LOG_SELECT:
	case SCSI_LOG_SENSE:
	case SCSI_MODE_SELECT_6:
	case SCSI_MODE_SELECT_10:
	case SCSI_MODE_SENSE_6:
	case SCSI_MODE_SENSE_10:
	case SCSI_RECEIVE_DIAGNOSTIC:
	case SCSI_SEND_DIAGNOSTIC:
	case SCSI_PERSISTENT_IN:
	case SCSI_PERSISTENT_OUT:
		return true;
	default:
		return runs_when_unavailable(command);
	}
}

uint16_t scsi_port_refuses(uint32_t attention, const struct scsi_command *command)
{
	if (attention & SCSI_ATTENTION_PORT_UNAVAILABLE && !runs_when_unavailable(command))
		return SCSI_ASC_PORT_UNAVAILABLE;
	if (attention & SCSI_ATTENTION_PORT_STANDBY && !runs_in_standby(command))
		return SCSI_ASC_PORT_STANDBY;
	return 0;
}

/* ---- REPORT TARGET PORT GROUPS --------------------------------------------------------------- */

/* On the control reactor, into the task's buffer. */
static void groups_fill(struct scsi_task *task)
{
	const struct scsi_attachment *attachment;
	bool extended = task->cdb[1] >> 5;
	uint8_t *data = task->buffer;
	unsigned len = extended ? 8 : 4;
	unsigned room = (unsigned)slab_object_size(SLAB_4K);

	memset(data, 0, room);
	if (extended)
		data[4] = 0x10;
	list_for_each_entry (attachment, &task->channel->attachment->lun->attachments, link) {
		uint8_t *group = data + len;

		if (len + GROUP_BYTES > room)
			break;
		group[0] = atomic_load_explicit(&attachment->access, memory_order_relaxed);
		group[1] = STATES_SUP;
		be16_put(group + 2, attachment->relative_port);
		group[5] = attachment->access_was_set; /* by SET TARGET PORT GROUPS */
		group[7] = 1;
		be16_put(group + 10, attachment->relative_port);
		len += GROUP_BYTES;
	}
	be32_put(data, len - 4);
	task->count = (uint16_t)len;
}

static enum scsi_run groups_reply(struct scsi_task *task)
{
	return scsi_reply(task, be32_get(task->cdb + 6), task->buffer, task->count);
}

static enum scsi_run groups_ask(struct scsi_task *task)
{
	return scsi_task_on_control(task, groups_fill, groups_reply);
}

enum scsi_run scsi_run_report_target_port_groups(struct scsi_task *task)
{
	if (task->cdb[1] >> 5 > 1)
		return scsi_task_check_cdb(task, 1, 7);
	return scsi_task_get_buffer(task, SLAB_4K, groups_ask);
}

/* ---- SET TARGET PORT GROUPS ------------------------------------------------------------------ */

static struct scsi_attachment *group_find(const struct scsi_lun *lun, uint16_t group)
{
	struct scsi_attachment *attachment;

	list_for_each_entry (attachment, &lun->attachments, link) {
		if (attachment->relative_port == group)
			return attachment;
	}
	return NULL;
}

/* On the control reactor: the list is in the task's buffer, task->count bytes of it. Leaves in
 * task->index where it is wrong, 0 if nowhere. */
static void groups_set(struct scsi_task *task)
{
	struct scsi_lun *lun = task->channel->attachment->lun;
	const uint8_t *list = task->buffer;
	bool changed = false;

	task->index = 0;
	for (unsigned at = SET_HEADER; at < task->count; at += SET_DESCRIPTOR) {
		if ((list[at] & 0x0f) > SCSI_ACCESS_UNAVAILABLE)
			task->index = (uint16_t)at;
		else if (!group_find(lun, be16_get(list + at + 2)))
			task->index = (uint16_t)(at + 2);
		if (task->index)
			return;
	}
	for (unsigned at = SET_HEADER; at < task->count; at += SET_DESCRIPTOR) {
		struct scsi_attachment *port = group_find(lun, be16_get(list + at + 2));
		uint8_t before = atomic_load_explicit(&port->access, memory_order_relaxed);

		scsi_port_set_access(port, list[at] & 0x0f);
		port->access_was_set = true;
		changed = changed || before != (list[at] & 0x0f);
	}
	if (changed)
		scsi_lun_raise_others(lun, task->channel->attachment, SCSI_UA_ACCESS_CHANGED);
}

static enum scsi_run groups_were_set(struct scsi_task *task)
{
	if (task->index)
		return scsi_task_check_parameters(task, task->index, -1);
	task->moved = task->count;
	return scsi_task_good(task);
}

static enum scsi_run groups_read(struct scsi_task *task)
{
	scsi_iov_read(task->out, task->out_iovs, 0, task->buffer, task->count);
	return scsi_task_on_control(task, groups_set, groups_were_set);
}

enum scsi_run scsi_run_set_target_port_groups(struct scsi_task *task)
{
	uint32_t len = be32_get(task->cdb + 6);

	if (len == 0)
		return SCSI_ENDED;
	if (len < SET_HEADER || len % SET_DESCRIPTOR || len > SET_LIST_BYTES)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	if (task->out_bytes < len) {
		task->response = SCSI_RESPONSE_OVERRUN;
		return SCSI_ENDED;
	}
	task->count = (uint16_t)len;
	return scsi_task_get_buffer(task, SLAB_4K, groups_read);
}
