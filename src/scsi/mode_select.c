/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MODE SELECT (6) and (10): SPC-4 6.12, 6.13.
 *
 * The list is copied once, checked whole, and only then applied: a refused MODE SELECT has changed
 * nothing. A page must be one that MODE SENSE tells, of the same length, and differ from it only
 * where MODE SENSE says that it may. Applying runs on the control reactor, since all other
 * initiators of the logical unit must hear of it by a unit attention.
 *
 * Where the cache is switched off, what it holds is made stable before the status (SBC-3 6.4.5).
 * With SP the values are in the store before that; when they cannot be stored, they are current
 * and the status says that saving has failed.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/mode_pages.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define LIST_BYTES_MAX 1024 /* several times all our pages */

struct mode_list {
	const uint8_t *bytes;
	unsigned len;
	unsigned at;
	bool ten;
	uint32_t there; /* flags (lun_mode.h) that the list says something about */
	uint32_t flags; /* and those of them that it sets */
};

static enum scsi_run list_too_short(struct scsi_task *task)
{
	return scsi_task_check(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
}

/* Block length and number of blocks may only be said as they are. */
static enum scsi_run check_descriptor(struct scsi_task *task, struct mode_list *list, unsigned len)
{
	const uint8_t *at = list->bytes + list->at;
	bool long_lba = len == 16;
	uint64_t blocks, all_ones = long_lba ? UINT64_MAX : UINT32_MAX;
	uint64_t capacity = scsi_lun_blocks(task->channel);
	uint32_t block_size;

	if (list->len - list->at < len)
		return list_too_short(task);
	blocks = long_lba ? be64_get(at) : be32_get(at);
	block_size = long_lba ? be32_get(at + 12) : be32_get(at + 4) & 0xffffff;
	if (blocks != 0 && blocks != all_ones && blocks != capacity)
		return scsi_task_check_parameters(task, list->at, -1);
	if (block_size != task->channel->bdev->block_size)
		return scsi_task_check_parameters(task, list->at + (long_lba ? 12 : 5), -1);
	list->at += len;
	return SCSI_GOES_ON;
}

static enum scsi_run check_header(struct scsi_task *task, struct mode_list *list)
{
	unsigned header = list->ten ? 8 : 4;
	unsigned descriptors;
	bool long_lba;

	if (list->len < header)
		return list_too_short(task);
	descriptors = list->ten ? be16_get(list->bytes + 6) : list->bytes[3];
	long_lba = list->ten && list->bytes[4] & 0x01;
	list->at = header;
	if (descriptors == 0)
		return SCSI_GOES_ON;
	if (descriptors != (long_lba ? 16u : 8u))
		return scsi_task_check_parameters(task, list->ten ? 6 : 3, -1);
	return check_descriptor(task, list, descriptors);
}

static const struct mode_page *page_find(uint8_t code, uint8_t subpage)
{
	for (unsigned i = 0; i < mode_page_count; i++) {
		if (mode_pages[i].code == code && mode_pages[i].subpage == subpage)
			return &mode_pages[i];
	}
	return NULL;
}

static enum scsi_run check_page(struct scsi_task *task, struct mode_list *list)
{
	uint8_t current[MODE_PAGE_BYTES_MAX], changeable[MODE_PAGE_BYTES_MAX];
	const uint8_t *bytes = list->bytes + list->at;
	unsigned rest = list->len - list->at;
	bool has_subpage = bytes[0] & 0x40;
	unsigned header = has_subpage ? 4 : 2;
	const struct mode_page *page;
	uint32_t there, flags;

	if (rest < header)
		return list_too_short(task);
	page = page_find(bytes[0] & 0x3f, has_subpage ? bytes[1] : 0);
	if (!page || !page->subpage == has_subpage)
		return scsi_task_check_parameters(task, list->at, 5);
	if ((has_subpage ? be16_get(bytes + 2) : bytes[1]) != page->len - header)
		return scsi_task_check_parameters(task, list->at + (has_subpage ? 2 : 1), -1);
	if (rest < page->len)
		return list_too_short(task);

	mode_page_build(page, task->channel, MODE_CURRENT, current);
	mode_page_build(page, task->channel, MODE_CHANGEABLE, changeable);
	for (unsigned i = header; i < page->len; i++) {
		if ((bytes[i] ^ current[i]) & ~changeable[i])
			return scsi_task_check_parameters(task, list->at + i, -1);
	}
	there = mode_page_flags(page, task->channel, bytes, &flags);
	list->there |= there;
	list->flags = (list->flags & ~there) | flags;
	list->at += page->len;
	return SCSI_GOES_ON;
}

/* ---- applying: there in task->offset, flags in task->left, SP in task->index --------------- */

static uint32_t changed(const struct scsi_task *task, uint32_t flags)
{
	return (flags & ~(uint32_t)task->offset) | (uint32_t)task->left;
}

static void saved(void *arg, int rc)
{
	struct scsi_task *task = arg;

	task->index = rc != 0;
	scsi_task_leave_control(task);
}

/* On the control reactor. Leaves in task->index: saving has failed; count: the cache is off now. */
static void apply(struct scsi_task *task)
{
	struct scsi_attachment *attachment = task->channel->attachment;
	struct scsi_lun *lun = attachment->lun;
	uint32_t before = scsi_lun_mode(lun), now = changed(task, before);
	bool save = task->index;

	if (scsi_lun_mode_set(lun, now))
		scsi_lun_raise_others(lun, attachment, SCSI_UA_MODE_CHANGED);
	task->count = before & ~now & SCSI_MODE_WCE;
	task->index = 0;
	if (save)
		scsi_lun_mode_save(lun, changed(task, scsi_lun_mode_saved(lun)), saved, task);
	else
		scsi_task_leave_control(task);
}

static enum scsi_run stable(struct scsi_task *task)
{
	if (task->index)
		return scsi_task_check(
			task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	return scsi_task_good(task);
}

static enum scsi_run applied(struct scsi_task *task)
{
	return task->count ? scsi_task_flush(task, stable) : stable(task);
}

static enum scsi_run mode_apply(struct scsi_task *task, const struct mode_list *list)
{
	bool save = task->cdb[1] & 0x01;

	task->moved = list->len;
	if (!list->there)
		return scsi_task_good(task);
	task->offset = list->there;
	task->left = list->flags;
	task->index = save;
	return scsi_task_keep_on_control(task, apply, applied);
}

enum scsi_run scsi_run_mode_select(struct scsi_task *task)
{
	uint8_t bytes[LIST_BYTES_MAX];
	struct mode_list list = {.bytes = bytes, .ten = task->cdb[0] == SCSI_MODE_SELECT_10};

	list.len = list.ten ? be16_get(task->cdb + 7) : task->cdb[4];
	if (!(task->cdb[1] & 0x10)) /* PF: pages are the standard's */
		return scsi_task_check_cdb(task, 1, 4);
	if (task->cdb[1] & 0x01 && !task->channel->attachment->lun->store) /* SP */
		return scsi_task_check_cdb(task, 1, 0);
	if (list.len == 0)
		return SCSI_ENDED;
	if (list.len > sizeof(bytes))
		return list_too_short(task);
	if (task->out_bytes < list.len)
		return scsi_task_overrun(task);

	scsi_iov_read(task->out, task->out_iovs, 0, bytes, list.len);
	if (check_header(task, &list) == SCSI_ENDED)
		return SCSI_ENDED;
	while (list.at < list.len) {
		if (check_page(task, &list) == SCSI_ENDED)
			return SCSI_ENDED;
	}
	return mode_apply(task, &list);
}
