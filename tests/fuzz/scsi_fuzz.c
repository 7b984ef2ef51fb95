/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two hostile initiators: CDBs and parameter lists. A logical unit over a memory disk, on the
 * simulated host; each command's buffers are allocated to the byte, so that the sanitizers see any
 * touch beyond them. What must hold: no crash, no undefined behaviour, every command ends, its
 * sense data and byte count are within bounds, and what the target says it moved is initialised.
 * What they reserve is given up after each input, so that inputs do not depend on each other.
 *
 * Input: commands, each of
 *	u8	bits 0-1 the logical unit (0, 1: the disk, from the first or the second initiator,
 *		2: absent, 3: the well-known one),
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
#include "base/endian.h"
#include "scsi/command.h"
#include "scsi/lun_reservation.h"

#define FUZZ_SEGMENTS 64
#define FUZZ_FILL     0xa5
#define FUZZ_NEXUSES  2

struct fuzz {
	struct fuzz_host host;
	struct scsi_attachment *attachments[FUZZ_NEXUSES];
	struct scsi_lun_channel *channels[FUZZ_NEXUSES];
	struct scsi_target_view *view;
	const struct scsi_target_view *targets[1];
	unsigned opened;
};

/* ---- the world ---------------------------------------------------------------------------- */

static void fuzz_removed(struct scsi_attachment *attachment)
{
}

static const struct scsi_attachment_ops fuzz_ops = {
	.removed = fuzz_removed, .resized = fuzz_removed};

static void fuzz_open(void *arg)
{
	static const struct scsi_attachment_options options;
	struct fuzz *fuzz = arg;
	unsigned i = fuzz->opened++;
	const struct scsi_nexus nexus = {.initiator = i, .port = 1};

	must(scsi_attachment_open(
		     fuzz->host.bdev, &options, &fuzz_ops, NULL, NULL, &fuzz->attachments[i]) == 0);
	scsi_attachment_set_nexus(fuzz->attachments[i], &nexus);
	must(scsi_channel_create(
		     fuzz->attachments[i], fuzz->host.data, NULL, NULL, &fuzz->channels[i]) == 0);
	scsi_channel_open(fuzz->channels[i], fuzz_host_done, &fuzz->host);
}

static struct fuzz *fuzz_create(void)
{
	static struct fuzz fuzz;
	const struct sim_options options = {.seed = 1, .allow_blocking = true};

	if (fuzz.view)
		return &fuzz;
	fuzz_host_create(&fuzz.host, &options);
	for (unsigned i = 0; i < FUZZ_NEXUSES; i++)
		fuzz_host_await(&fuzz.host, fuzz_open, &fuzz);
	fuzz.view = malloc(sizeof(*fuzz.view) + sizeof(fuzz.view->luns[0]));
	fuzz.view->lun_count = 1;
	fuzz.view->luns[0] = fuzz.channels[0];
	fuzz.targets[0] = fuzz.view;
	for (unsigned i = 0; i < FUZZ_NEXUSES; i++) {
		fuzz.channels[i]->targets = fuzz.targets;
		fuzz.channels[i]->target_count = 1;
	}
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
	task->channel = (flags & 3) < FUZZ_NEXUSES ? fuzz->channels[flags & 3] : NULL;
	task->reactor = fuzz->host.data;
	task->done = command_done;
	task->out = command->out;
	task->in = command->in;
	task->out_iovs = cut(command->out, command->out_bytes, task->out_bytes, segments);
	task->in_iovs = cut(command->in, command->in_bytes, task->in_bytes, segments);
	if (flags & 0x20)
		scsi_attention_raise(fuzz->attachments[0], task->cdb[1] % SCSI_UA_COUNT);
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

static void command_run(struct fuzz *fuzz, struct fuzz_command *command)
{
	command->message.run = command_submit;
	reactor_send(fuzz->host.data, &command->message);
	if (!sim_run(fuzz->host.sim, command_ended, command, 10 * SEC_NS))
		abort();
	command_check(command);
	free(command->out_bytes);
	free(command->in_bytes);
}

/* ---- giving up ---------------------------------------------------------------------------- */

static void send(struct fuzz *fuzz, unsigned nexus, uint8_t opcode, uint8_t action, uint64_t key,
	uint64_t action_key)
{
	uint8_t bytes[6 + 32 + 24] = {(uint8_t)nexus, 32, 0x80, 0, 0, 0, opcode, action};
	struct input in = {bytes, sizeof(bytes)};
	struct fuzz_command command;

	if (opcode == SCSI_PERSISTENT_OUT) {
		uint16_t out_len = 0x8000 | 24;

		memcpy(bytes + 2, &out_len, 2);
		bytes[6 + 8] = 24;
	}
	be64_put(bytes + 38, key);
	be64_put(bytes + 46, action_key);
	command_take(fuzz, &command, &in);
	command_run(fuzz, &command);
}

static void listen(struct fuzz *fuzz)
{
	for (unsigned i = 0; i < FUZZ_NEXUSES * SCSI_UA_COUNT; i++)
		send(fuzz, i % FUZZ_NEXUSES, SCSI_REQUEST_SENSE, 0, 0, 0);
}

static void give_up(struct fuzz *fuzz)
{
	const struct scsi_lun *lun = fuzz->attachments[0]->lun;

	listen(fuzz);
	for (unsigned i = 0; i < FUZZ_NEXUSES; i++)
		send(fuzz, i, SCSI_RELEASE_6, 0, 0, 0);
	if (lun->reservation.now) {
		send(fuzz, 0, SCSI_PERSISTENT_OUT, SCSI_SA_REGISTER_AND_IGNORE, 0, 1);
		send(fuzz, 0, SCSI_PERSISTENT_OUT, SCSI_SA_CLEAR, 1, 0);
		listen(fuzz);
	}
	if (lun->reservation.reserved)
		abort();
	/* Where there is no room to register there is no way to clear. */
	if (scsi_lun_has_registrations(lun) && lun->reservation.now->count < SCSI_REGISTRATIONS_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz *fuzz = fuzz_create();
	struct fuzz_command command;
	struct input in = {data, size};

	for (unsigned count = 0; in.left && count < 32; count++) {
		command_take(fuzz, &command, &in);
		command_run(fuzz, &command);
	}
	give_up(fuzz);
	return 0;
}
