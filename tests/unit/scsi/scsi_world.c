/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsi_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/lun_reservation.h"

#define GUARD 64

/* ---- life ---------------------------------------------------------------------------------- */

static void world_removed(struct scsi_attachment *attachment)
{
	atomic_fetch_add(&((struct scsi_world *)attachment->owner)->removed, 1);
}

static void world_resized(struct scsi_attachment *attachment)
{
	atomic_fetch_add(&((struct scsi_world *)attachment->owner)->resized, 1);
}

static const struct scsi_attachment_ops attachment_ops = {
	.removed = world_removed,
	.resized = world_resized,
};

struct attach_call {
	struct world_call call;
	struct scsi_world *w;
	struct disk *disk;
	uint16_t number;
	struct scsi_attachment *attachment;
	struct reactor *reactor;
	struct scsi_lun_channel *channel;
};

static void attach_run(struct world_call *call)
{
	struct attach_call *op = container_of(call, struct attach_call, call);

	const struct scsi_attachment_options options = {
		.number = op->number,
		.read_only = op->disk->options.attach_read_only,
		.removable = op->disk->options.removable,
		.store = op->disk->options.store,
	};

	assert_int_equal(scsi_attachment_open(&op->disk->bdev, &options, &attachment_ops, op->w,
				 NULL, &op->attachment),
		0);
	scsi_attachment_set_nexus(op->attachment,
		&(struct scsi_nexus){.initiator = WORLD_INITIATOR(op->number), .port = 1});
	scsi_attachment_load_reservation(op->attachment, op->w->state_dir, NULL, world_done, call);
}

struct scsi_attachment *scsi_world_attach(struct scsi_world *w, uint16_t number)
{
	return scsi_world_attach_disk(w, &w->disk, number);
}

struct scsi_attachment *scsi_world_attach_disk(
	struct scsi_world *w, struct disk *disk, uint16_t number)
{
	struct attach_call op = {.call.run = attach_run, .w = w, .disk = disk, .number = number};

	assert_int_equal(world_run(&w->world, w->world.control, &op.call), 0);
	return op.attachment;
}

static void open_run(struct world_call *call)
{
	struct attach_call *op = container_of(call, struct attach_call, call);

	assert_int_equal(
		scsi_channel_create(op->attachment, op->reactor, NULL, NULL, &op->channel), 0);
	scsi_channel_open(op->channel, world_done, call);
}

struct scsi_lun_channel *scsi_world_open(
	struct scsi_world *w, struct scsi_attachment *attachment, unsigned reactor)
{
	struct attach_call op = {.call.run = open_run,
		.w = w,
		.attachment = attachment,
		.reactor = w->world.data[reactor]};

	assert_int_equal(world_run(&w->world, w->world.control, &op.call), 0);
	return op.channel;
}

static void close_run(struct world_call *call)
{
	struct attach_call *op = container_of(call, struct attach_call, call);

	scsi_channel_close(op->channel, world_done, call);
}

void scsi_world_close(struct scsi_world *w, struct scsi_lun_channel *channel)
{
	struct attach_call op = {.call.run = close_run, .w = w, .channel = channel};

	assert_int_equal(world_run(&w->world, w->world.control, &op.call), 0);
}

static void detach_run(struct world_call *call)
{
	scsi_attachment_close(container_of(call, struct attach_call, call)->attachment);
	world_done(call, 0);
}

void scsi_world_detach(struct scsi_world *w, struct scsi_attachment *attachment)
{
	struct attach_call op = {.call.run = detach_run, .w = w, .attachment = attachment};

	assert_int_equal(world_run(&w->world, w->world.control, &op.call), 0);
}

void scsi_world_start(struct scsi_world *w, const struct disk_options *options)
{
	memset(w, 0, sizeof(*w));
	world_start(&w->world, 1);
	disk_start(&w->world, &w->disk, options);
	w->attachment = scsi_world_attach(w, 0);
	w->channel = scsi_world_open(w, w->attachment, 0);
	w->view = malloc(sizeof(*w->view) + sizeof(w->view->luns[0]));
	assert_non_null(w->view);
	w->view->lun_count = 1;
	w->view->luns[0] = w->channel;
}

void scsi_world_end(struct scsi_world *w)
{
	scsi_world_close(w, w->channel);
	scsi_world_detach(w, w->attachment);
	disk_end(&w->world, &w->disk);
	free(w->view);
	world_end(&w->world);
}

/* ---- commands ------------------------------------------------------------------------------ */

void fill_pattern(void *buf, size_t len, unsigned seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
		((uint8_t *)buf)[i] = (uint8_t)(x >> 56);
	}
}

struct command *command_new(struct scsi_world *w, const uint8_t *cdb, size_t cdb_len)
{
	struct command *command = calloc(1, sizeof(*command));

	assert_non_null(command);
	command->w = w;
	memcpy(command->cdb, cdb, cdb_len);
	return command;
}

static struct iovec *cut(uint8_t *buf, uint32_t len, unsigned segment, uint16_t *ret_count)
{
	unsigned count = segment ? (len + segment - 1) / segment : 1;
	struct iovec *iov = calloc(count + 1, sizeof(*iov));

	assert_non_null(iov);
	if (len == 0) {
		*ret_count = 0;
		return iov;
	}
	for (unsigned i = 0; i < count; i++) {
		size_t at = segment ? (size_t)i * segment : 0;

		iov[i].iov_base = buf + at;
		iov[i].iov_len = segment && len - at > segment ? segment : len - at;
	}
	*ret_count = (uint16_t)count;
	return iov;
}

static void command_done(struct scsi_task *task)
{
	atomic_store(&container_of(task, struct command, task)->ended, true);
}

static void command_submit(struct message *message)
{
	struct command *command = container_of(message, struct command, message);

	scsi_submit(&command->task);
	assert_false(atomic_load(&command->ended)); /* never from inside submit */
}

void command_begin(struct command *command)
{
	struct scsi_world *w = command->w;
	struct scsi_lun_channel *channel = command->channel ? command->channel : w->channel;
	struct scsi_task *task = &command->task;

	assert_true(command->in_len <= IN_MAX);
	command->out_copy = malloc(command->out_len + 1);
	command->in_buffer = malloc(command->in_len + 2 * GUARD);
	assert_true(command->out_copy && command->in_buffer);
	if (command->out_len)
		memcpy(command->out_copy, command->out, command->out_len);
	memset(command->in_buffer, IN_PATTERN, command->in_len + 2 * GUARD);
	command->out_iov =
		cut(command->out_copy, command->out_len, command->segment, &task->out_iovs);
	command->in_iov =
		cut(command->in_buffer + GUARD, command->in_len, command->segment, &task->in_iovs);

	command->targets[0] = w->view;
	task->channel = command->absent || command->well_known ? NULL : channel;
	task->targets = command->targets;
	task->target_count = command->well_known ? ARRAY_SIZE(command->targets) : 1;
	task->well_known = command->well_known;
	task->recovered = command->recovered;
	task->reactor = channel->reactor;
	task->done = command_done;
	task->out = command->out_iov;
	task->in = command->in_iov;
	task->out_bytes = command->out_len;
	task->in_bytes = command->in_len;
	task->tag = command->tag;
	task->attribute = command->attribute;
	memcpy(task->cdb, command->cdb, sizeof(task->cdb));
	atomic_store(&command->ended, false);
	command->message.run = command_submit;
	reactor_send(channel->reactor, &command->message);
}

bool command_has_ended(const struct command *command)
{
	return atomic_load(&command->ended);
}

void command_finish(struct command *command)
{
	const struct scsi_task *task = &command->task;
	uint32_t moved = command->in_len ? task->transferred : 0;

	assert_true(host_wait_flag(&command->w->world.host, &command->ended));
	moved = command->in_len ? task->transferred : 0;
	assert_true(task->transferred <= command->in_len + command->out_len);
	memcpy(command->in, command->in_buffer + GUARD, command->in_len);
	for (unsigned i = 0; i < GUARD; i++) {
		assert_int_equal(command->in_buffer[i], IN_PATTERN);
		assert_int_equal(command->in_buffer[GUARD + command->in_len + i], IN_PATTERN);
	}
	if (task->status == SCSI_STATUS_GOOD && task->response == SCSI_RESPONSE_OK) {
		for (uint32_t i = moved; i < command->in_len; i++)
			assert_int_equal(command->in[i], IN_PATTERN);
	}
	assert_true(task->sense_len == 0 || task->status == SCSI_STATUS_CHECK_CONDITION);
	free(command->out_iov);
	free(command->in_iov);
	free(command->out_copy);
	free(command->in_buffer);
}

void command_run(struct command *command)
{
	command_begin(command);
	command_finish(command);
}

void command_free(struct command *command)
{
	free(command);
}

/* ---- sense ---------------------------------------------------------------------------------- */

uint32_t command_sense(const struct command *command)
{
	const struct scsi_task *task = &command->task;
	const uint8_t *sense = task->sense;

	if (task->status == SCSI_STATUS_GOOD)
		return 0;
	assert_int_equal(task->status, SCSI_STATUS_CHECK_CONDITION);
	if ((sense[0] & 0x7e) == 0x70) { /* current or deferred */
		assert_int_equal(task->sense_len, sense[7] + 8);
		return (uint32_t)(sense[2] & 15) << 16 | be16_get(sense + 12);
	}
	assert_int_equal(sense[0] & 0xfe, 0x72);
	assert_int_equal(task->sense_len, sense[7] + 8);
	return (uint32_t)sense[1] << 16 | be16_get(sense + 2);
}

static const uint8_t *descriptor_find(const uint8_t *sense, uint8_t type)
{
	for (unsigned at = 8; at < sense[7] + 8u; at += sense[at + 1] + 2u) {
		if (sense[at] == type)
			return sense + at;
	}
	return NULL;
}

bool command_information(const struct command *command, uint64_t *ret_information)
{
	const uint8_t *sense = command->task.sense;
	const uint8_t *descriptor;

	if ((sense[0] & 0x7f) == 0x70) {
		*ret_information = be32_get(sense + 3);
		return sense[0] & 0x80;
	}
	descriptor = descriptor_find(sense, 0);
	if (!descriptor)
		return false;
	*ret_information = be64_get(descriptor + 4);
	return descriptor[2] & 0x80;
}

static const uint8_t *field_pointer(const struct command *command)
{
	const uint8_t *sense = command->task.sense;
	const uint8_t *descriptor;

	if ((sense[0] & 0x7f) == 0x70)
		return sense + 15;
	descriptor = descriptor_find(sense, 2);
	assert_non_null(descriptor);
	return descriptor + 4;
}

/* ---- expectations --------------------------------------------------------------------------- */

static void expect(struct command *command, uint32_t sense)
{
	command_run(command);
	assert_int_equal(command->task.response, SCSI_RESPONSE_OK);
	if (command_sense(command) != sense)
		fail_msg("command %02x: sense %06x, not %06x", command->cdb[0],
			command_sense(command), sense);
}

void wants_good(struct command *command)
{
	expect(command, 0);
	command_free(command);
}

void wants_sense(struct command *command, uint32_t sense)
{
	expect(command, sense);
	assert_int_equal(command->task.transferred, 0);
	command_free(command);
}

void wants_bad_cdb(struct command *command, unsigned byte, int bit)
{
	const uint8_t *field;

	expect(command, 0x052400);
	field = field_pointer(command);
	assert_int_equal(field[0], 0xc0 | (bit >= 0 ? 8 | bit : 0));
	assert_int_equal(be16_get(field + 1), byte);
	command_free(command);
}

void wants_bad_parameters(struct command *command, unsigned byte)
{
	const uint8_t *field;

	expect(command, 0x052600);
	field = field_pointer(command);
	assert_int_equal(field[0] & 0xc0, 0x80);
	assert_int_equal(be16_get(field + 1), byte);
	command_free(command);
}

void wants_response(struct command *command, enum scsi_response response)
{
	command_run(command);
	assert_int_equal(command->task.response, response);
	assert_int_equal(command->task.transferred, 0);
	command_free(command);
}
