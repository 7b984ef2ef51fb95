/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random command sequences against a simple model of a disk: an array of blocks, and rules of a few
 * lines for what each command does to it. Lengths, addresses, buffers, segments and flags are
 * drawn; half the addresses lie near an edge. Copies are within the disk, of up to three segments,
 * one after the other: later ones read what earlier ones have written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi_world.h"

#define BLOCK    512
#define BLOCKS   700
#define COMMANDS 400

static struct scsi_world w;
static uint8_t model[BLOCKS * BLOCK];
static uint8_t out[256 * BLOCK];
static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (random_state >> 33) % below;
}

/* What the model says: the sense (0: GOOD), the response, the bytes moved. */
struct answer {
	uint32_t sense;
	enum scsi_response response;
	uint32_t moved;
	const uint8_t *in; /* data-in */
};

struct operation {
	const struct kind *kind;
	uint8_t opcode;
	uint8_t flags;
	uint64_t lba;
	uint32_t blocks;
	uint32_t out_len;
	uint32_t in_len;
};

static struct answer sense(uint32_t code)
{
	return (struct answer){.sense = code};
}

static bool out_of_range(const struct operation *op)
{
	return op->lba >= BLOCKS || op->blocks > BLOCKS - op->lba;
}

static struct answer overrun(void)
{
	return (struct answer){.response = SCSI_RESPONSE_OVERRUN};
}

static struct answer model_read(const struct operation *op)
{
	if (out_of_range(op))
		return sense(0x052100);
	if (op->in_len < op->blocks * BLOCK)
		return overrun();
	return (struct answer){.moved = op->blocks * BLOCK, .in = model + op->lba * BLOCK};
}

static struct answer model_write(const struct operation *op)
{
	if (out_of_range(op))
		return sense(0x052100);
	if (op->out_len < op->blocks * BLOCK)
		return overrun();
	memcpy(model + op->lba * BLOCK, out, op->blocks * BLOCK);
	return (struct answer){.moved = op->blocks * BLOCK};
}

static struct answer model_verify(const struct operation *op)
{
	unsigned check = op->flags >> 1 & 3;
	uint32_t need = check == 0 ? 0 : check == 1 ? op->blocks * BLOCK : BLOCK;

	if (out_of_range(op))
		return sense(0x052100);
	if (check == 2)
		return sense(0x052400);
	if (op->blocks == 0)
		return sense(0);
	if (op->out_len < need)
		return overrun();
	for (uint32_t i = 0; check && i < op->blocks; i++) {
		if (memcmp(model + (op->lba + i) * BLOCK, out + (check == 1 ? i * BLOCK : 0),
			    BLOCK) != 0)
			return sense(0x0e1d00);
	}
	return (struct answer){.moved = need};
}

static struct answer model_write_same(const struct operation *op)
{
	bool no_data = op->opcode != SCSI_WRITE_SAME_10 && op->flags & 1;

	if (op->blocks == 0)
		return sense(0x052400);
	if (out_of_range(op))
		return sense(0x052100);
	if (!no_data && op->out_len < BLOCK)
		return overrun();
	for (uint32_t i = 0; i < op->blocks; i++) {
		if (no_data)
			memset(model + (op->lba + i) * BLOCK, 0, BLOCK);
		else
			memcpy(model + (op->lba + i) * BLOCK, out, BLOCK);
	}
	return (struct answer){.moved = no_data ? 0 : BLOCK};
}

static struct answer model_compare_and_write(const struct operation *op)
{
	uint32_t half = op->blocks * BLOCK;
	uint8_t *at;

	if (out_of_range(op))
		return sense(0x052100);
	if (op->out_len < 2 * half)
		return overrun();
	at = model + op->lba * BLOCK;
	if (memcmp(at, out, half) != 0)
		return sense(0x0e1d00);
	memcpy(at, out + half, half);
	return (struct answer){.moved = 2 * half};
}

static struct answer model_orwrite(const struct operation *op)
{
	if (out_of_range(op))
		return sense(0x052100);
	if (op->out_len < op->blocks * BLOCK)
		return overrun();
	for (uint32_t i = 0; i < op->blocks * BLOCK; i++)
		model[op->lba * BLOCK + i] |= out[i];
	return (struct answer){.moved = op->blocks * BLOCK};
}

/* One descriptor, put into out by the caller. */
static struct answer model_unmap(const struct operation *op)
{
	if (op->out_len < 24)
		return overrun();
	if (out_of_range(op) && !(op->lba == BLOCKS && op->blocks == 0))
		return sense(0x052100);
	memset(model + op->lba * BLOCK, 0, op->blocks * BLOCK);
	return (struct answer){.moved = 24};
}

/* From the disk to itself, without descriptors of others. */
#define COPY_SEGMENTS 3
#define COPY_LIST(n)  (16 + 28u * (n))

static unsigned copy_segments(const struct operation *op)
{
	return (op->out_len - COPY_LIST(0)) / 28;
}

/* What was copied before a segment that is refused stays so. */
static struct answer model_copy(const struct operation *op)
{
	for (unsigned i = 0; i < copy_segments(op); i++) {
		const uint8_t *segment = out + COPY_LIST(i);
		uint64_t blocks = be16_get(segment + 10), from = be64_get(segment + 12),
			 to = be64_get(segment + 20);

		if (from + blocks > BLOCKS || to + blocks > BLOCKS)
			return sense(0x0a0000);
		memmove(model + to * BLOCK, model + from * BLOCK, blocks * BLOCK);
	}
	return (struct answer){.moved = op->out_len};
}

static struct answer model_flush(const struct operation *op)
{
	return sense(out_of_range(op) ? 0x052100 : 0);
}

static const struct kind {
	uint8_t opcode;
	uint8_t flags; /* that are drawn */
	struct answer (*run)(const struct operation *op);
	bool out;
	bool in;
	uint16_t action; /* of the 32-byte commands */
} kinds[] = {
	{SCSI_VARIABLE_LENGTH, 0x18, model_read, false, true, SCSI_SA_READ_32},
	{SCSI_VARIABLE_LENGTH, 0x18, model_write, true, false, SCSI_SA_WRITE_32},
	{SCSI_VARIABLE_LENGTH, 0x02, model_write, true, false, SCSI_SA_WRITE_AND_VERIFY_32},
	{SCSI_VARIABLE_LENGTH, 0x06, model_verify, true, false, SCSI_SA_VERIFY_32},
	{SCSI_VARIABLE_LENGTH, 0x09, model_write_same, true, false, SCSI_SA_WRITE_SAME_32},
	{SCSI_VARIABLE_LENGTH, 0x18, model_orwrite, true, false, SCSI_SA_ORWRITE_32},
	{SCSI_EXTENDED_COPY, 0, model_copy, true, false},
	{SCSI_READ_6, 0, model_read, false, true},
	{SCSI_READ_10, 0x18, model_read, false, true},
	{SCSI_READ_12, 0x18, model_read, false, true},
	{SCSI_READ_16, 0x18, model_read, false, true},
	{SCSI_WRITE_6, 0, model_write, true, false},
	{SCSI_WRITE_10, 0x18, model_write, true, false},
	{SCSI_WRITE_12, 0x18, model_write, true, false},
	{SCSI_WRITE_16, 0x18, model_write, true, false},
	{SCSI_WRITE_AND_VERIFY_10, 0x02, model_write, true, false},
	{SCSI_WRITE_AND_VERIFY_16, 0x02, model_write, true, false},
	{SCSI_VERIFY_10, 0x06, model_verify, true, false},
	{SCSI_VERIFY_12, 0x06, model_verify, true, false},
	{SCSI_VERIFY_16, 0x06, model_verify, true, false},
	{SCSI_WRITE_SAME_10, 0x08, model_write_same, true, false},
	{SCSI_WRITE_SAME_16, 0x09, model_write_same, true, false},
	{SCSI_UNMAP, 0, model_unmap, true, false},
	{SCSI_COMPARE_AND_WRITE, 0x18, model_compare_and_write, true, false},
	{SCSI_ORWRITE_16, 0x18, model_orwrite, true, false},
	{SCSI_SYNCHRONIZE_CACHE_10, 0x02, model_flush, false, false},
	{SCSI_SYNCHRONIZE_CACHE_16, 0x02, model_flush, false, false},
};

/* Short enough to be read whole before it is written: they may overlap. */
static void copy_draw(struct operation *op)
{
	unsigned segments = 1 + (unsigned)draw(COPY_SEGMENTS);

	memset(out, 0, COPY_LIST(COPY_SEGMENTS));
	op->out_len = COPY_LIST(segments);
	out[1] = 3 << 3; /* no list identifier */
	be32_put(out + 8, 28 * segments);
	for (unsigned i = 0; i < segments; i++) {
		uint8_t *segment = out + COPY_LIST(i);

		segment[0] = SCSI_SEGMENT_BLOCK_BLOCK;
		segment[3] = 24;
		be32_put(segment + 4, UINT32_MAX); /* both this disk */
		be16_put(segment + 10, (uint16_t)(1 + draw(60)));
		be64_put(segment + 12, draw(BLOCKS));
		be64_put(segment + 20, draw(BLOCKS));
	}
}

static void operation_draw(struct operation *op, const struct kind *kind)
{
	uint32_t need;

	op->kind = kind;
	op->opcode = kind->opcode;
	op->flags = kind->flags & (uint8_t)draw(256);
	op->blocks = (uint32_t)(draw(4) ? draw(9) : draw(256));
	op->lba = draw(2) ? draw(BLOCKS) : BLOCKS - 5 + draw(10);
	if (kind->opcode == SCSI_READ_6 || kind->opcode == SCSI_WRITE_6)
		op->blocks = op->blocks ? op->blocks : 1;
	need = op->blocks * BLOCK * (kind->run == model_compare_and_write ? 2 : 1);
	if (draw(8) == 0)
		need = need ? need - 1 - (uint32_t)draw(need < 300 ? need : 300) : 0;
	else if (draw(4) == 0)
		need += (uint32_t)draw(1000);
	need = need < sizeof(out) ? need : (uint32_t)sizeof(out);
	op->out_len = kind->out ? need : 0;
	op->in_len = kind->in ? need : 0;
	fill_pattern(out, sizeof(out), (unsigned)draw(1000));
	if (draw(3) == 0)
		memset(out, 0, sizeof(out));
	if ((kind->run == model_verify || kind->run == model_compare_and_write) && draw(2) &&
		op->lba + op->blocks <= BLOCKS)
		memcpy(out, model + op->lba * BLOCK, op->blocks * BLOCK);
	if (op->opcode == SCSI_UNMAP) {
		memset(out, 0, 24);
		out[1] = 22;
		out[3] = 16;
		be64_put(out + 8, op->lba);
		be32_put(out + 16, op->blocks);
		op->out_len = draw(10) ? 24 : 20;
	}
	if (kind->run == model_copy)
		copy_draw(op);
}

static struct command *operation_encode(const struct operation *op)
{
	struct command *command = COMMAND(&w, op->opcode, op->flags);
	uint8_t *cdb = command->cdb;

	if (op->opcode == SCSI_UNMAP) {
		be16_put(cdb + 7, 24);
	} else if (op->opcode == SCSI_EXTENDED_COPY) {
		be32_put(cdb + 10, op->out_len);
	} else if (op->opcode == SCSI_VARIABLE_LENGTH) {
		cdb[1] = 0;
		cdb[7] = 24;
		be16_put(cdb + 8, op->kind->action);
		cdb[10] = op->flags;
		be64_put(cdb + 12, op->lba);
		be32_put(cdb + 28, op->blocks);
	} else if (op->opcode < 0x20) {
		be32_put(cdb, (uint32_t)op->opcode << 24 | (uint32_t)op->lba);
		cdb[4] = (uint8_t)op->blocks;
	} else if (op->opcode < 0x80) {
		be32_put(cdb + 2, (uint32_t)op->lba);
		be16_put(cdb + 7, (uint16_t)op->blocks);
	} else if (op->opcode == SCSI_COMPARE_AND_WRITE) {
		be64_put(cdb + 2, op->lba);
		cdb[13] = (uint8_t)op->blocks;
	} else if (op->opcode >= 0xa0) {
		be32_put(cdb + 2, (uint32_t)op->lba);
		be32_put(cdb + 6, op->blocks);
	} else {
		be64_put(cdb + 2, op->lba);
		be32_put(cdb + 10, op->blocks);
	}
	command->out = out;
	command->out_len = op->out_len;
	command->in_len = op->in_len;
	if (draw(3) == 0)
		command->segment = 100 + (unsigned)draw(3000);
	return command;
}

static void play_one(void)
{
	struct operation op;
	const struct kind *kind = &kinds[draw(ARRAY_SIZE(kinds))];
	struct command *command;
	struct answer answer;

	operation_draw(&op, kind);
	answer = kind->run(&op);
	command = operation_encode(&op);
	command_run(command);
	assert_int_equal(command->task.response, answer.response);
	if (answer.response == SCSI_RESPONSE_OK)
		assert_int_equal(command_sense(command), answer.sense);
	assert_int_equal(command->task.transferred, answer.moved);
	if (answer.in)
		assert_memory_equal(command->in, answer.in, answer.moved);
	command_free(command);
}

static void play(uint64_t seed, const struct disk_options *options)
{
	random_state = seed * 7919 + 17;
	scsi_world_start(&w, options);
	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < COMMANDS; i++)
		play_one();
	assert_memory_equal(w.disk.bytes, model, sizeof(model));
	scsi_world_end(&w);
}

static void a_disk_behaves_like_the_model(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.blocks = BLOCKS;
	HOST_FOR_EACH_SEED(seed, 12)
	play(seed, &options);
}

static void a_poor_disk_behaves_like_the_model(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.blocks = BLOCKS;
	options.max_iovcnt = 3;
	options.no_write_zeroes = true;
	HOST_FOR_EACH_SEED(seed, 12)
	play(seed + 1000, &options);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_behaves_like_the_model),
		cmocka_unit_test(a_poor_disk_behaves_like_the_model),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
