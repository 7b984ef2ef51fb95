/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segments of an EXTENDED COPY, one after the other: SPC-4 6.4.6, and 6.4.3.4 for what they
 * report. Data go through the task's buffer in pieces, each read and then written.
 *
 * Where the blocks of source and destination differ in size, a segment may leave bytes behind. DC
 * says whose blocks are counted: with 0 what is left lacks a block of the destination (residual
 * destination data), with 1 it is of a source block beyond what was asked for (residual source
 * data). PAD of the destination fills up the former, PAD of the source drops the latter; with CAT,
 * or where only the other PAD is set, they go before the data of the next segment, of which there
 * must be one. Otherwise they end the copy.
 *
 * What a segment says wrongly is COPY ABORTED with a pointer into its descriptor; a range that does
 * not end on its device has no additional sense code. What a device refuses is THIRD PARTY DEVICE
 * FAILURE with its status and sense data.
 *
 * Source and destination may be one unit; ranges that overlap are copied upwards.
 */
#include "base/endian.h"
#include "scsi/command.h"
#include "scsi/copy.h"
#include "scsi/identity.h"
#include "scsi/range.h"
#include "scsi/sense.h"
#include "scsi/task_impl.h"

#define FLAG_CAT 0x01
#define FLAG_DC  0x02
#define FLAG_PAD 0x04 /* of a CSCD, byte 28 */

#define BLOCK_SHIFT_MAX 15 /* a block beside another one fits into the buffer */

/* In a segment descriptor */
#define BYTE_SOURCE          4
#define BYTE_DESTINATION     6
#define BYTE_BLOCKS          10
#define BYTE_SOURCE_LBA      12
#define BYTE_DESTINATION_LBA 20

static const uint8_t *current_descriptor(const struct scsi_copy *copy)
{
	return scsi_copy_descriptor(copy, copy->segment);
}

static uint8_t *copy_data(struct scsi_copy *copy)
{
	return (uint8_t *)copy + SCSI_COPY_STATE_BYTES;
}

static uint32_t copy_room(void)
{
	return (uint32_t)slab_object_size(SLAB_128K) - SCSI_COPY_STATE_BYTES;
}

/* ---- what goes wrong --------------------------------------------------------------------- */

static enum scsi_run copy_abort(struct scsi_task *task, struct scsi_sense sense)
{
	sense.key = SCSI_KEY_COPY_ABORTED;
	sense.segment_valid = true;
	sense.segment = (uint16_t)scsi_copy_of(task)->segment;
	return scsi_task_check_sense(task, &sense);
}

static enum scsi_run abort_at_segment(struct scsi_task *task, uint16_t code, unsigned byte)
{
	return copy_abort(task, (struct scsi_sense){.code = code,
					.field_valid = true,
					.field_in_segment = true,
					.field_bit = -1,
					.field_byte = (uint16_t)byte});
}

/* At a byte of the descriptor of a source or destination. */
static enum scsi_run abort_at_cscd(
	struct scsi_task *task, uint16_t code, const struct scsi_copy_end *end, unsigned byte)
{
	const struct scsi_copy *copy = scsi_copy_of(task);
	const uint8_t *cscd = scsi_copy_cscd(copy, end->index);

	return copy_abort(task, (struct scsi_sense){.code = code,
					.field_valid = true,
					.field_bit = -1,
					.field_byte = (uint16_t)(cscd - copy->list + byte)});
}

static enum scsi_run abort_unreachable(struct scsi_task *task, const struct scsi_copy_end *end)
{
	bool is_source = end == &scsi_copy_of(task)->source;

	return abort_at_segment(task, SCSI_ASC_COPY_TARGET_NOT_REACHABLE,
		is_source ? BYTE_SOURCE : BYTE_DESTINATION);
}

static enum scsi_run child_failed(struct scsi_task *task)
{
	const struct scsi_copy *copy = scsi_copy_of(task);
	const struct scsi_task *child = &copy->child;

	return copy_abort(
		task, (struct scsi_sense){.code = SCSI_ASC_THIRD_PARTY_FAILURE,
			      .forwarded = {
				      .from = child->in_bytes ? SCSI_FORWARDED_SOURCE
							      : SCSI_FORWARDED_DESTINATION,
				      .status = child->status,
				      .sense_len = child->sense_len,
				      .sense = child->sense,
			      }});
}

/* ---- finding units ----------------------------------------------------------------------- */

static bool channel_is(const struct scsi_lun_channel *channel, const struct scsi_copy_end *end)
{
	return memcmp(channel->attachment->lun->naa, end->naa, sizeof(end->naa)) == 0;
}

/* Of a unit behind several targets of this controller the addressed one is the best. */
static const struct scsi_lun_channel *find_anew(
	const struct scsi_task *task, struct scsi_copy_end *end)
{
	const struct scsi_lun_channel *found = NULL;

	for (unsigned i = 0; i < task->channel->target_count; i++) {
		const struct scsi_target_view *view = task->channel->targets[i];

		for (unsigned j = 0; view && j < view->lun_count; j++) {
			const struct scsi_lun_channel *channel = view->luns[j];

			if ((found && channel != task->channel) || !channel_is(channel, end))
				continue;
			found = channel;
			end->target = (uint16_t)i;
			end->number = channel->number;
		}
	}
	return found;
}

/* Where it was found before, if that is still so. */
static struct scsi_lun_channel *find_again(
	const struct scsi_task *task, const struct scsi_copy_end *end)
{
	const struct scsi_target_view *view;
	struct scsi_lun_channel *channel;

	if (task->channel->target_count == 0)
		return channel_is(task->channel, end) ? task->channel : NULL;
	view = task->channel->targets[end->target];
	channel = view ? scsi_target_view_find(view, end->number) : NULL;
	if (!channel || !channel_is(channel, end) || channel->block_shift != end->block_shift)
		return NULL;
	return channel;
}

static const struct scsi_lun_channel *end_find(
	const struct scsi_task *task, struct scsi_copy_end *end)
{
	const struct scsi_copy *copy = scsi_copy_of(task);

	if (end->index == SCSI_CSCD_SELF)
		memcpy(end->naa, task->channel->attachment->lun->naa, sizeof(end->naa));
	else if (!scsi_identity_parse(scsi_copy_cscd(copy, end->index) + 4, end->naa))
		return NULL;
	if (task->channel->target_count == 0)
		return channel_is(task->channel, end) ? task->channel : NULL;
	return find_anew(task, end);
}

/* Index, unit, device type and block length. */
static enum scsi_run end_open(struct scsi_task *task, struct scsi_copy_end *end, unsigned byte)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	const struct scsi_lun_channel *channel;
	const uint8_t *cscd = NULL;

	end->index = be16_get(current_descriptor(copy) + byte);
	if (end->index >= copy->cscd_count && end->index != SCSI_CSCD_SELF)
		return abort_at_segment(task, SCSI_ASC_UNREACHABLE_COPY_TARGET, byte);
	if (end->index != SCSI_CSCD_SELF)
		cscd = scsi_copy_cscd(copy, end->index);
	if (cscd && cscd[1] & 0x1f)
		return abort_at_cscd(task, SCSI_ASC_INCORRECT_COPY_TARGET_TYPE, end, 1);
	channel = end_find(task, end);
	if (!channel || channel->block_shift > BLOCK_SHIFT_MAX)
		return abort_unreachable(task, end);
	if (cscd && be24_get(cscd + 29) != channel->bdev->block_size)
		return abort_at_cscd(task, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS, end, 29);
	end->block_shift = channel->block_shift;
	return SCSI_GOES_ON;
}

static bool end_pads(const struct scsi_copy *copy, const struct scsi_copy_end *end)
{
	return end->index != SCSI_CSCD_SELF && scsi_copy_cscd(copy, end->index)[28] & FLAG_PAD;
}

/* ---- moving ------------------------------------------------------------------------------ */

static enum scsi_run segment_go_on(struct scsi_task *task);
static enum scsi_run segment_begin(struct scsi_task *task);

static void child_done(struct scsi_task *child)
{
	struct scsi_task *task = container_of(child, struct scsi_copy, child)->task;

	if (child->response != SCSI_RESPONSE_OK || child->status != SCSI_STATUS_GOOD)
		task->step = child_failed;
	scsi_task_next_step(task);
}

/* READ (16) or WRITE (16) of so many bytes; next when that was good. At the head of the queue: an
 * ORDERED copy is not to wait for itself. */
static enum scsi_run child_submit(struct scsi_task *task, struct scsi_copy_end *end, uint8_t opcode,
	uint32_t bytes, scsi_step_fn next)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	struct scsi_task *child = &copy->child;
	struct scsi_lun_channel *channel = find_again(task, end);

	if (!channel)
		return abort_unreachable(task, end);
	memset(child, 0, sizeof(*child));
	copy->iov = (struct iovec){copy_data(copy), bytes};
	if (opcode == SCSI_READ_16) {
		copy->iov.iov_base = copy_data(copy) + copy->held;
		child->in = &copy->iov;
		child->in_iovs = 1;
		child->in_bytes = bytes;
	} else {
		child->out = &copy->iov;
		child->out_iovs = 1;
		child->out_bytes = bytes;
	}
	child->channel = channel;
	child->reactor = task->reactor;
	child->done = child_done;
	child->attribute = SCSI_TASK_HEAD;
	child->of_copy = true;
	child->cdb[0] = opcode;
	be64_put(child->cdb + 2, end->lba);
	be32_put(child->cdb + 10, bytes >> end->block_shift);
	task->step = next;
	scsi_submit(child);
	return SCSI_GOES_ON;
}

static void end_advance(struct scsi_copy_end *end, uint32_t bytes)
{
	end->lba += bytes >> end->block_shift;
	end->left -= bytes;
}

static enum scsi_run piece_read(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	uint32_t bytes = copy->child.in_bytes;

	copy->held += bytes;
	end_advance(&copy->source, bytes);
	return segment_go_on(task);
}

static enum scsi_run piece_written(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	uint32_t bytes = copy->child.out_bytes;

	copy->held -= bytes;
	memmove(copy_data(copy), copy_data(copy) + bytes, copy->held);
	end_advance(&copy->destination, bytes);
	copy->written += bytes;
	scsi_copy_tell_progress(task, copy->segment, copy->written);
	return segment_go_on(task);
}

static enum scsi_run write_piece(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	struct scsi_copy_end *end = &copy->destination;
	uint64_t bytes = u64_min(copy->held, end->left);

	return child_submit(task, end, SCSI_WRITE_16,
		(uint32_t)align_down(bytes, UINT64_C(1) << end->block_shift), piece_written);
}

static enum scsi_run read_piece(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	struct scsi_copy_end *end = &copy->source;
	uint64_t bytes = u64_min(copy_room() - copy->held, end->left);

	return child_submit(task, end, SCSI_READ_16,
		(uint32_t)align_down(bytes, UINT64_C(1) << end->block_shift), piece_read);
}

/* ---- a segment ---------------------------------------------------------------------------- */

static enum scsi_run segment_next(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);

	copy->segment++;
	scsi_copy_tell_progress(task, copy->segment, copy->written);
	return segment_begin(task);
}

/* To a whole block, which is still to be written. */
static enum scsi_run residue_pad(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	uint32_t block = UINT32_C(1) << copy->destination.block_shift;

	memset(copy_data(copy) + copy->held, 0, block - copy->held);
	copy->held = block;
	copy->destination.left = block;
	return segment_go_on(task);
}

/* All has been read and written but for copy->held bytes. */
static enum scsi_run segment_end(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	uint8_t flags = current_descriptor(copy)[1];
	bool of_source = flags & FLAG_DC;
	bool source_pads = end_pads(copy, &copy->source);
	bool destination_pads = end_pads(copy, &copy->destination);

	if (!copy->held)
		return segment_next(task);
	if (!(flags & FLAG_CAT) && of_source && source_pads)
		copy->held = 0;
	else if (!(flags & FLAG_CAT) && !of_source && destination_pads)
		return residue_pad(task);
	else if ((!(flags & FLAG_CAT) && !source_pads && !destination_pads) ||
		 copy->segment + 1 == copy->segment_count)
		return abort_at_segment(task, SCSI_ASC_INEXACT_SEGMENT, BYTE_BLOCKS);
	return segment_next(task);
}

static enum scsi_run segment_go_on(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);

	if (copy->destination.left && copy->held >> copy->destination.block_shift)
		return write_piece(task);
	return copy->source.left ? read_piece(task) : segment_end(task);
}

/* How much is read and written: whole blocks. */
static void segment_measure(struct scsi_copy *copy)
{
	struct scsi_copy_end *source = &copy->source, *destination = &copy->destination;
	const uint8_t *descriptor = current_descriptor(copy);
	uint64_t blocks = be16_get(descriptor + BYTE_BLOCKS);

	source->lba = be64_get(descriptor + BYTE_SOURCE_LBA);
	destination->lba = be64_get(descriptor + BYTE_DESTINATION_LBA);
	if (descriptor[1] & FLAG_DC) {
		destination->left = blocks << destination->block_shift;
		source->left = destination->left > copy->held ? destination->left - copy->held : 0;
		source->left = align_up(source->left, UINT64_C(1) << source->block_shift);
	} else {
		source->left = blocks << source->block_shift;
		destination->left = align_down(
			source->left + copy->held, UINT64_C(1) << destination->block_shift);
	}
}

static enum scsi_run end_check_range(
	struct scsi_task *task, struct scsi_copy_end *end, unsigned byte)
{
	const struct scsi_lun_channel *channel = find_again(task, end);
	uint64_t capacity, blocks = end->left >> end->block_shift;

	if (!channel)
		return abort_unreachable(task, end);
	capacity = scsi_lun_blocks(channel);
	if (blocks && (end->lba >= capacity || blocks > capacity - end->lba))
		return abort_at_segment(task, SCSI_ASC_NONE, byte);
	return SCSI_GOES_ON;
}

static enum scsi_run segment_begin(struct scsi_task *task)
{
	struct scsi_copy *copy = scsi_copy_of(task);
	struct scsi_copy_end *source = &copy->source, *destination = &copy->destination;

	if (copy->segment == copy->segment_count)
		return scsi_task_good(task);
	if (end_open(task, source, BYTE_SOURCE) == SCSI_ENDED ||
		end_open(task, destination, BYTE_DESTINATION) == SCSI_ENDED)
		return SCSI_ENDED;
	segment_measure(copy);
	if (u64_max(source->left, destination->left) > SCSI_COPY_SEGMENT_BYTES)
		return abort_at_segment(task, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS, BYTE_BLOCKS);
	if (end_check_range(task, source, BYTE_SOURCE_LBA) == SCSI_ENDED ||
		end_check_range(task, destination, BYTE_DESTINATION_LBA) == SCSI_ENDED)
		return SCSI_ENDED;
	return segment_go_on(task);
}

enum scsi_run scsi_copy_segments(struct scsi_task *task)
{
	return segment_begin(task);
}
