/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Results of EXTENDED COPY commands and RECEIVE COPY RESULTS: SPC-4 6.18, 6.20, 6.21.
 *
 * A record is made when a copy with a list identifier begins. While it runs it tells how far it is;
 * afterwards it is kept, if the initiator asked for that or it failed, until it has been told (the
 * details of a failure by FAILED SEGMENT DETAILS), another copy takes its list identifier, the
 * initiator goes or the unit is reset. What was not asked for is the oldest first given up beyond
 * KEPT_MAX.
 *
 * Records are the control reactor's; progress is written by the copy's reactor.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/copy.h"
#include "scsi/sense.h"
#include "scsi/task_impl.h"

#define KEPT_MAX 32 /* of one attachment */

_Static_assert((uint64_t)SCSI_COPY_SEGMENTS_MAX *SCSI_COPY_SEGMENT_BYTES <= UINT32_MAX,
	"a transfer count has its place");

enum record_state {
	RECORD_RUNS = 0,
	RECORD_GOOD = 1,
	RECORD_FAILED = 2
}; /* as COPY STATUS has it */

struct scsi_copy_record {
	struct list link; /* attachment->copies, the oldest first */
	bool listed;
	bool keep;
	bool told; /* COPY STATUS has, and there is more to tell */
	uint8_t list_id;
	enum record_state state;
	_Atomic uint32_t segments;
	_Atomic uint64_t bytes;
	uint8_t status;
	uint8_t sense_len;
	uint8_t sense[SCSI_SENSE_BYTES];
};

/* ---- records ------------------------------------------------------------------------------ */

static void record_unlist(struct scsi_copy_record *record)
{
	list_remove(&record->link);
	record->listed = false;
	if (record->state != RECORD_RUNS)
		free(record);
}

void scsi_copy_forget(struct scsi_attachment *attachment)
{
	struct scsi_copy_record *record, *next;

	list_for_each_entry_safe (record, next, &attachment->copies, link)
		record_unlist(record);
}

static struct scsi_copy_record *record_find(
	const struct scsi_attachment *attachment, uint8_t list_id)
{
	struct scsi_copy_record *record;

	list_for_each_entry (record, &attachment->copies, link) {
		if (record->list_id == list_id)
			return record;
	}
	return NULL;
}

static void give_up_oldest(struct scsi_attachment *attachment)
{
	struct scsi_copy_record *record, *oldest = NULL;
	unsigned count = 0;

	list_for_each_entry (record, &attachment->copies, link) {
		if (record->state == RECORD_RUNS)
			continue;
		count++;
		if (!oldest)
			oldest = record;
	}
	if (count > KEPT_MAX)
		record_unlist(oldest);
}

void scsi_copy_tell_progress(struct scsi_task *task, unsigned segments, uint64_t bytes)
{
	if (!task->copy)
		return;
	atomic_store_explicit(&task->copy->segments, segments, memory_order_relaxed);
	atomic_store_explicit(&task->copy->bytes, bytes, memory_order_relaxed);
}

/* ---- the life of a copy ------------------------------------------------------------------- */

/* On the control reactor. The list identifier is in task->index, keep in task->count; task->copy
 * stays NULL when the identifier is in use. */
static void record_begin(struct scsi_task *task)
{
	struct scsi_attachment *attachment = task->channel->attachment;
	uint8_t list_id = (uint8_t)task->index;
	struct scsi_copy_record *record = record_find(attachment, list_id);

	if (record && record->state == RECORD_RUNS)
		return;
	if (record)
		record_unlist(record);
	record = alloc_op(sizeof(*record));
	record->list_id = list_id;
	record->keep = task->count;
	record->listed = true;
	list_add_tail(&attachment->copies, &record->link);
	task->copy = record;
}

static enum scsi_run record_begun(struct scsi_task *task)
{
	if (!task->copy)
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_OPERATION_IN_PROGRESS);
	return task->after(task);
}

enum scsi_run scsi_copy_begin(struct scsi_task *task, uint8_t list_id, bool keep, scsi_step_fn next)
{
	task->index = list_id;
	task->count = keep;
	task->after = next;
	return scsi_task_on_control(task, record_begin, record_begun);
}

static void record_ended(struct message *message)
{
	struct scsi_task *task = container_of(message, struct scsi_task, message);

	task->copy = NULL;
	scsi_task_finish(task);
}

/* On the control reactor. */
static void record_end(struct message *message)
{
	struct scsi_task *task = container_of(message, struct scsi_task, message);
	struct scsi_copy_record *record = task->copy;
	bool good = task->status == SCSI_STATUS_GOOD && task->ending == SCSI_RESPONSE_OK;

	record->state = good ? RECORD_GOOD : RECORD_FAILED;
	record->status = task->status;
	record->sense_len = task->sense_len;
	memcpy(record->sense, task->sense, task->sense_len);
	if (!record->listed)
		free(record);
	else if (!record->keep && good)
		record_unlist(record);
	else
		give_up_oldest(task->channel->attachment);
	task->message.run = record_ended;
	reactor_send(task->reactor, &task->message);
}

void scsi_copy_end(struct scsi_task *task)
{
	task->message.run = record_end;
	reactor_send(task->channel->attachment->lun->control, &task->message);
}

/* ---- RECEIVE COPY RESULTS ------------------------------------------------------------------ */

/* In the task's buffer. */
struct results {
	uint32_t len; /* 0: there is nothing under that list identifier */
	uint8_t data[60 + SCSI_SENSE_BYTES];
};

_Static_assert(sizeof(struct results) <= 512, "fits in its slab");

static enum scsi_run results_reply(struct scsi_task *task)
{
	const struct results *results = task->buffer;

	if (!results->len)
		return scsi_task_check_cdb(task, 2, -1);
	return scsi_reply(task, be32_get(task->cdb + 10), results->data, results->len);
}

static void fill_status(const struct scsi_copy_record *record, struct results *results)
{
	uint64_t bytes = atomic_load_explicit(&record->bytes, memory_order_relaxed);
	uint8_t *data = results->data;

	results->len = 12;
	be32_put(data, 8);
	data[4] = (uint8_t)record->state;
	be16_put(data + 5, (uint16_t)atomic_load_explicit(&record->segments, memory_order_relaxed));
	be32_put(data + 8, (uint32_t)bytes); /* unit: bytes, of which there are never more */
}

static void fill_details(const struct scsi_copy_record *record, struct results *results)
{
	uint8_t *data = results->data;

	results->len = 60u + record->sense_len;
	be32_put(data, results->len - 4);
	data[56] = record->status;
	be16_put(data + 58, record->sense_len);
	memcpy(data + 60, record->sense, record->sense_len);
}

/* On the control reactor. */
static void results_find(struct scsi_task *task)
{
	struct scsi_attachment *attachment = task->channel->attachment;
	struct scsi_copy_record *record = record_find(attachment, task->cdb[2]);
	bool details = task->command->service_action == SCSI_SA_FAILED_SEGMENT_DETAILS;
	struct results *results = task->buffer;

	memset(results, 0, sizeof(*results));
	if (!record || (details ? record->state != RECORD_FAILED : record->told))
		return;
	if (details)
		fill_details(record, results);
	else
		fill_status(record, results);
	if (details || record->state == RECORD_GOOD)
		record_unlist(record);
	else
		record->told = record->state == RECORD_FAILED;
}

static enum scsi_run results_ask(struct scsi_task *task)
{
	return scsi_task_on_control(task, results_find, results_reply);
}

static enum scsi_run operating_parameters(struct scsi_task *task)
{
	uint8_t data[46] = {0};

	be32_put(data, sizeof(data) - 4);
	data[4] = 0x01; /* SNLID */
	be16_put(data + 8, SCSI_COPY_CSCDS_MAX);
	be16_put(data + 10, SCSI_COPY_SEGMENTS_MAX);
	be32_put(data + 12, SCSI_COPY_DESCRIPTORS_BYTES_MAX);
	be32_put(data + 16, SCSI_COPY_SEGMENT_BYTES);
	be16_put(data + 34, SCSI_COPY_CONCURRENT_MAX);
	data[36] = SCSI_COPY_CONCURRENT_MAX;
	data[37] = task->channel->block_shift;
	data[43] = 2; /* descriptors */
	data[44] = SCSI_SEGMENT_BLOCK_BLOCK;
	data[45] = SCSI_CSCD_IDENTIFICATION;
	return scsi_reply(task, be32_get(task->cdb + 10), data, sizeof(data));
}

enum scsi_run scsi_run_receive_copy_results(struct scsi_task *task)
{
	if (task->command->service_action == SCSI_SA_OPERATING_PARAMETERS)
		return operating_parameters(task);
	return scsi_task_get_buffer(task, SLAB_512, results_ask);
}
