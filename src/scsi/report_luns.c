/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REPORT LUNS: SPC-4 6.33. Any LUN of a target answers it, also one that does not exist.
 *
 * A LUN below 256 is told with addressing method 00, others with method 01 (flat space). The
 * well-known unit of the controller lists all targets: then an entry is the eight bytes by which a
 * command addresses the unit (VIRTIO 1.2 section 5.6.6.1).
 *
 * Who has asked knows: the unit attention "reported LUNs data has changed" ends on all units that
 * the answer is about. Not when a LUN that does not exist was asked: then SPC-4 keeps it.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/sense.h"

#define ENTRY_BYTES   8
#define CHUNK_ENTRIES 256

/* SELECT REPORT */
#define SELECT_USUAL      0x00
#define SELECT_WELL_KNOWN 0x01
#define SELECT_ALL        0x02

struct lun_list {
	struct scsi_reply reply;
	unsigned used;
	uint8_t chunk[CHUNK_ENTRIES * ENTRY_BYTES];
};

static void list_flush(struct lun_list *list)
{
	scsi_reply_put(&list->reply, list->chunk, (size_t)list->used * ENTRY_BYTES);
	list->used = 0;
}

static uint8_t *list_entry_add(struct lun_list *list)
{
	uint8_t *entry;

	if (list->used == CHUNK_ENTRIES)
		list_flush(list);
	entry = list->chunk + (size_t)list->used++ * ENTRY_BYTES;
	memset(entry, 0, ENTRY_BYTES);
	return entry;
}

static void list_target(struct lun_list *list, const struct scsi_task *task, unsigned index)
{
	const struct scsi_target_view *view = task->targets[index];

	for (unsigned i = 0; i < view->lun_count; i++) {
		uint8_t *entry = list_entry_add(list);

		if (task->well_known) {
			entry[0] = 1;
			entry[1] = (uint8_t)index;
			entry += 2;
		}
		be16_put(entry, scsi_lun_encode(view->luns[i]->number));
	}
}

static void clear_luns_changed(const struct scsi_task *task)
{
	for (unsigned i = 0; i < task->target_count; i++) {
		const struct scsi_target_view *view = task->targets[i];

		for (unsigned lun = 0; view && lun < view->lun_count; lun++)
			scsi_attention_clear(view->luns[lun]->attachment, SCSI_UA_LUNS_CHANGED);
	}
}

enum scsi_run scsi_run_report_luns(struct scsi_task *task)
{
	size_t allocation_length = be32_get(task->cdb + 6);
	uint8_t select = task->cdb[2];
	uint8_t header[8] = {0};
	struct lun_list list;
	uint32_t count = 0;

	if (select > SELECT_ALL)
		return scsi_task_check_cdb(task, 2, -1);
	if (allocation_length < 16)
		return scsi_task_check_cdb(task, 6, -1);
	for (unsigned i = 0; i < task->target_count; i++) {
		if (task->targets[i] && select != SELECT_WELL_KNOWN)
			count += task->targets[i]->lun_count;
	}
	if (select != SELECT_USUAL && task->well_known)
		count++;

	list.used = 0;
	scsi_reply_begin(&list.reply, task, allocation_length);
	be32_put(header, count * ENTRY_BYTES);
	scsi_reply_put(&list.reply, header, sizeof(header));
	if (select != SELECT_USUAL && task->well_known)
		be16_put(list_entry_add(&list), SCSI_WELL_KNOWN_REPORT_LUNS);
	for (unsigned i = 0; i < task->target_count; i++) {
		if (task->targets[i] && select != SELECT_WELL_KNOWN)
			list_target(&list, task, i);
	}
	list_flush(&list);
	if (task->channel || task->well_known)
		clear_luns_changed(task);
	return scsi_reply_end(&list.reply);
}
