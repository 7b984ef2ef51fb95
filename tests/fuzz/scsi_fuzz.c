/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile initiator: CDBs and parameter lists. A logical unit over a memory disk, on the
 * simulated host; each command's buffers are allocated to the byte, so that the sanitizers see any
 * touch beyond them. What must hold: no crash, no undefined behaviour, every command ends, its
 * sense data and byte count are within bounds, and what the target says it moved is initialised.
 *
 * Input: commands, each of
 *	u8	bits 0-1 the logical unit (0, 1: the disk, 2: absent, 3: the well-known one),
 *		bits 2-4 segments of the buffers, bit 5: an attention is pending, bit 6: the
 *		operation code is an index into the command table
 *	u8	CDB bytes that follow, up to 32
 *	u16	data-out length, up to 8191; bit 15: the data is in the input, else zeroes
 *	u16	data-in length, up to 8191
 *	...	the CDB, the data
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_host.h"
#include "scsi/command.h"

#define FUZZ_SEGMENTS 64
#define FUZZ_FILL     0xa5

struct fuzz {
	struct fuzz_host host;
	struct scsi_attachment *attachment;
	struct scsi_lun_channel *channel;
	struct scsi_target_view *view;
};

/* ---- the world ---------------------------------------------------------------------------- */

static void fuzz_removed(struct scsi_attachment *attachment)
{
}

static const struct scsi_attachment_ops fuzz_ops = {
	.removed = fuzz_removed, .resized = fuzz_removed};

static void fuzz_open(void *arg)
{
	struct fuzz *fuzz = arg;

	must(scsi_attachment_open(fuzz->host.bdev, 0, &fuzz_ops, NULL, NULL, &fuzz->attachment) ==
		0);
	must(scsi_channel_create(fuzz->attachment, fuzz->host.data, NULL, NULL, &fuzz->channel) ==
		0);
	scsi_channel_open(fuzz->channel, fuzz_host_done, &fuzz->host);
}

static struct fuzz *fuzz_create(void)
{
	static struct fuzz fuzz;
	const struct sim_options options = {.seed = 1, .allow_blocking = true};

	if (fuzz.view)
		return &fuzz;
	fuzz_host_create(&fuzz.host, &options);
	fuzz_host_await(&fuzz.host, fuzz_open, &fuzz);
	fuzz.view = malloc(sizeof(*fuzz.view) + sizeof(fuzz.view->luns[0]));
	fuzz.view->lun_count = 1;
	fuzz.view->luns[0] = fuzz.channel;
	return &fuzz;
}

/* ---- a command ---------------------------------------------------------------------------- */

struct fuzz_command {
	struct scsi_task task;
	struct message message;
	const struct scsi_target_view *targets[4];
	struct iovec out[FUZZ_SEGMENTS], in[FUZZ_SEGMENTS];
	uint8_t *out_bytes, *in_bytes;
	bool ended;
};

static void command_done(struct scsi_task *task)
{
	container_of(task, struct fuzz_command, task)->ended = true;
}

static bool command_ended(void *arg)
{
	return ((struct fuzz_command *)arg)->ended;
}

static void command_submit(struct message *message)
{
	scsi_submit(&container_of(message, struct fuzz_command, message)->task);
}

static uint16_t cut(struct iovec *iov, uint8_t *bytes, uint32_t len, unsigned segments)
{
	uint16_t count = 0;
	uint32_t at = 0;

	while (at < len) {
		uint32_t part = (len - at) / (segments - count) + 1;

		if (part > len - at || count + 1u == segments)
			part = len - at;
		iov[count++] = (struct iovec){.iov_base = bytes + at, .iov_len = part};
		at += part;
	}
	return count;
}

static void command_take(struct fuzz *fuzz, struct fuzz_command *command, struct input *in)
{
	struct scsi_task *task = &command->task;
	uint8_t flags = input_u8(in), cdb_len = input_u8(in) % 33;
	uint16_t out_len = input_u16(in), in_len = input_u16(in);
	unsigned segments = 1u << (flags >> 2 & 7) % 7;

	memset(command, 0, sizeof(*command));
	task->out_bytes = out_len & 0x1fff;
	task->in_bytes = in_len & 0x1fff;
	input_take(in, task->cdb, cdb_len);
	if (flags & 0x40)
		task->cdb[0] = scsi_commands[task->cdb[0] % scsi_command_count].opcode;
	command->out_bytes = calloc(1, task->out_bytes + 1);
	command->in_bytes = malloc(task->in_bytes + 1);
	if (out_len & 0x8000)
		input_take(in, command->out_bytes, task->out_bytes);
	memset(command->in_bytes, FUZZ_FILL, task->in_bytes);
	command->targets[0] = fuzz->view;
	task->targets = command->targets;
	task->well_known = (flags & 3) == 3;
	task->target_count = task->well_known ? 4 : 1;
	task->channel = (flags & 3) < 2 ? fuzz->channel : NULL;
	task->reactor = fuzz->host.data;
	task->done = command_done;
	task->out = command->out;
	task->in = command->in;
	task->out_iovs = cut(command->out, command->out_bytes, task->out_bytes, segments);
	task->in_iovs = cut(command->in, command->in_bytes, task->in_bytes, segments);
	if (flags & 0x20)
		scsi_attention_raise(fuzz->attachment, task->cdb[1] % SCSI_UA_COUNT);
}

static void command_check(const struct fuzz_command *command)
{
	const struct scsi_task *task = &command->task;
	uint32_t buffer = task->in_bytes ? task->in_bytes : task->out_bytes;
	uint8_t sum = 0;

	if (task->transferred > buffer || task->sense_len > SCSI_SENSE_BYTES ||
		task->response > SCSI_RESPONSE_FAILURE)
		abort();
	if ((task->sense_len != 0) != (task->status == SCSI_STATUS_CHECK_CONDITION))
		abort();
	if (task->status == SCSI_STATUS_CHECK_CONDITION && task->transferred)
		abort();
	/* Memory that was never written is for the sanitizer to find. */
	for (uint32_t i = 0; task->in_bytes && i < task->transferred; i++)
		sum ^= command->in_bytes[i];
	for (unsigned i = 0; i < task->sense_len; i++)
		sum ^= task->sense[i];
	__asm__ volatile("" : : "r"(sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz *fuzz = fuzz_create();
	struct fuzz_command command;
	struct input in = {data, size};

	for (unsigned count = 0; in.left && count < 32; count++) {
		command_take(fuzz, &command, &in);
		command.message.run = command_submit;
		reactor_send(fuzz->host.data, &command.message);
		if (!sim_run(fuzz->host.sim, command_ended, &command, 10 * SEC_NS))
			abort();
		command_check(&command);
		free(command.out_bytes);
		free(command.in_bytes);
	}
	return 0;
}
