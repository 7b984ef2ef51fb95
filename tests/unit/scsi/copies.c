/* SPDX-License-Identifier: BSD-2-Clause */
#include "copies.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

static struct scsi_target_view *view_of(struct scsi_lun_channel *channel)
{
	struct scsi_target_view *view = malloc(sizeof(*view) + sizeof(view->luns[0]));

	assert_non_null(view);
	view->lun_count = 1;
	view->luns[0] = channel;
	return view;
}

void copies_start(
	struct copies *c, const struct disk_options *first, const struct disk_options *other)
{
	memset(c, 0, sizeof(*c));
	scsi_world_start(&c->w, first);
	disk_start(&c->w.world, &c->other, other);
	c->attachment = scsi_world_attach_disk(&c->w, &c->other, 1);
	c->channel = scsi_world_open(&c->w, c->attachment, 0);
	c->view = view_of(c->channel);
	c->targets[0] = c->w.view;
	c->targets[2] = c->view;
	c->w.channel->targets = c->targets;
	c->w.channel->target_count = ARRAY_SIZE(c->targets);
	c->channel->targets = c->targets;
	c->channel->target_count = ARRAY_SIZE(c->targets);
}

void copies_end(struct copies *c)
{
	scsi_world_close(&c->w, c->channel);
	scsi_world_detach(&c->w, c->attachment);
	disk_end(&c->w.world, &c->other);
	free(c->view);
	scsi_world_end(&c->w);
}

void copy_list_begin(struct copy_list *list, uint8_t list_id, uint8_t usage)
{
	memset(list, 0, sizeof(*list));
	list->bytes[0] = list_id;
	list->bytes[1] = (uint8_t)(usage << 3);
}

uint8_t *copy_list_disk(struct copy_list *list, struct scsi_attachment *attachment, bool pad)
{
	uint8_t *cscd = list->bytes + COPY_HEADER + list->cscds++ * COPY_CSCD;

	assert_int_equal(list->segments, 0);
	cscd[0] = 0xe4;
	cscd[4] = 1;
	cscd[5] = 3;
	cscd[7] = 8;
	memcpy(cscd + 8, attachment->lun->naa, 8);
	cscd[28] = pad ? 0x04 : 0;
	be32_put(cscd + 28, be32_get(cscd + 28) | attachment->lun->bdev->block_size);
	be16_put(list->bytes + 2, (uint16_t)(list->cscds * COPY_CSCD));
	return cscd;
}

uint8_t *copy_list_segment(struct copy_list *list, uint8_t flags, uint16_t source,
	uint16_t destination, uint16_t blocks, uint64_t source_lba, uint64_t destination_lba)
{
	uint8_t *segment = list->bytes + copy_list_len(list);

	segment[0] = 0x02;
	segment[1] = flags;
	segment[3] = 24;
	be16_put(segment + 4, source);
	be16_put(segment + 6, destination);
	be16_put(segment + 10, blocks);
	be64_put(segment + 12, source_lba);
	be64_put(segment + 20, destination_lba);
	list->segments++;
	be32_put(list->bytes + 8, list->segments * 28);
	return segment;
}

unsigned copy_list_len(const struct copy_list *list)
{
	return COPY_HEADER + list->cscds * COPY_CSCD + list->segments * 28;
}

struct command *copy_command(struct copies *c, const struct copy_list *list)
{
	struct command *command = COMMAND(&c->w, SCSI_EXTENDED_COPY);

	be32_put(command->cdb + 10, copy_list_len(list));
	command->out = list->bytes;
	command->out_len = copy_list_len(list);
	return command;
}

struct command *copy_simply(struct copies *c, uint16_t source, uint16_t destination,
	uint16_t blocks, uint64_t source_lba, uint64_t destination_lba)
{
	static struct copy_list list; /* copied when the command begins */

	copy_list_begin(&list, 0, 3);
	copy_list_disk(&list, c->w.attachment, false);
	copy_list_disk(&list, c->attachment, false);
	copy_list_segment(&list, 0, source, destination, blocks, source_lba, destination_lba);
	return copy_command(c, &list);
}

struct command *copy_results(struct copies *c, uint8_t action, uint8_t list_id, uint32_t len)
{
	struct command *command = COMMAND(&c->w, SCSI_RECEIVE_COPY_RESULTS, action, list_id);

	be32_put(command->cdb + 10, len);
	command->in_len = len;
	return command;
}

void wants_copy_aborted(
	struct command *command, uint16_t code, unsigned segment, bool in_segment, int byte)
{
	const uint8_t *sense = command->task.sense;

	command_run(command);
	assert_int_equal(command->task.response, SCSI_RESPONSE_OK);
	assert_int_equal(command_sense(command), 0x0a << 16 | code);
	assert_int_equal(command->task.transferred, 0);
	assert_int_equal(be16_get(sense + 10), segment);
	if (byte >= 0) {
		assert_int_equal(sense[15], in_segment ? 0xa0 : 0x80);
		assert_int_equal(be16_get(sense + 16), byte);
		assert_int_equal(be16_get(sense + 8), 0); /* no device said so */
	}
	command_free(command);
}
