/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a power cut leaves of a file device: after it every block holds the last write that was
 * promised to be stable, or one that came later. Promised: written with FUA, or completed before a
 * FLUSH that completed.
 */
#include "file_world.h"

#include <stdlib.h>
#include <string.h>

/* What a process that a power cut killed had allocated is nobody's: no leak. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

#define BLOCKS      64
#define BLOCK_BYTES 512
#define STEPS       80
#define WRITERS     4

struct power {
	struct file_world fw;
	uint64_t random;
	uint32_t written[BLOCKS]; /* newest that was submitted */
	uint32_t completed[BLOCKS];
	uint32_t stable[BLOCKS]; /* promised */
	uint32_t next;
};

static uint64_t power_draw(struct power *power, uint64_t below)
{
	power->random = power->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (power->random >> 33) % below;
}

/* One request of the crowd; blocks of different slots do not meet. */
struct slot {
	struct world_call call;
	bool busy;
	enum bdev_io_type type;
	uint8_t flags;
	unsigned first, count;
	uint32_t version;
	struct iovec iov;
	uint32_t completed_before[BLOCKS]; /* of a flush */
	uint8_t *memory;
};

static void slot_begin(struct power *power, struct slot *slot, unsigned index)
{
	unsigned share = BLOCKS / WRITERS;

	slot->busy = true;
	slot->flags = power_draw(power, 4) ? 0 : BDEV_IO_FUA;
	slot->count = 1 + (unsigned)power_draw(power, 6);
	slot->first = index * share + (unsigned)power_draw(power, share - slot->count);
	slot->version = ++power->next;
	slot->type = BDEV_IO_WRITE;
	if (power_draw(power, 5) == 0) {
		slot->type = BDEV_IO_FLUSH;
		memcpy(slot->completed_before, power->completed, sizeof(power->completed));
	}
	slot->call = (struct world_call){.channel = power->fw.channel};
	slot->call.io.type = (uint8_t)slot->type;
	if (slot->type == BDEV_IO_WRITE) {
		uint8_t *data = slot->memory + power_draw(power, 2); /* aligned, or not */

		for (unsigned i = 0; i < slot->count; i++) {
			for (unsigned j = 0; j < BLOCK_BYTES; j += 4)
				memcpy(data + i * BLOCK_BYTES + j, &slot->version, 4);
			power->written[slot->first + i] = slot->version;
		}
		slot->iov = (struct iovec){
			.iov_base = data, .iov_len = (size_t)slot->count * BLOCK_BYTES};
		slot->call.io.iov = &slot->iov;
		slot->call.io.iovcnt = 1;
		slot->call.io.flags = slot->flags;
		slot->call.io.offset = (uint64_t)slot->first * BLOCK_BYTES;
		slot->call.io.length = slot->iov.iov_len;
	}
	world_io_begin(&power->fw.world, &slot->call);
}

static void slot_reap(struct power *power, struct slot *slot)
{
	if (!slot->busy || !atomic_load(&slot->call.ended))
		return;
	slot->busy = false;
	assert_int_equal(slot->call.rc, 0);
	if (slot->type == BDEV_IO_FLUSH) {
		for (unsigned i = 0; i < BLOCKS; i++)
			if (slot->completed_before[i] > power->stable[i])
				power->stable[i] = slot->completed_before[i];
		return;
	}
	for (unsigned i = slot->first; i < slot->first + slot->count; i++) {
		power->completed[i] = slot->version;
		if (slot->flags & BDEV_IO_FUA)
			power->stable[i] = slot->version;
	}
}

static void power_check(struct power *power)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		uint32_t block[BLOCK_BYTES / 4];

		sim_file_peek(power->fw.file, (uint64_t)i * BLOCK_BYTES, block, sizeof(block));
		for (unsigned j = 1; j < ARRAY_SIZE(block); j++)
			assert_int_equal(block[j], block[0]);
		if (block[0] < power->stable[i] || block[0] > power->written[i])
			fail_msg("block %u holds version %u: %u was stable, %u written", i,
				block[0], power->stable[i], power->written[i]);
	}
}

/* A daemon that was killed frees nothing: its memory here is lost as it would be there. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
	return "detect_leaks=0";
}

static void what_was_flushed_or_forced_survives_a_power_cut(void **state)
{
	SIM_FOR_EACH_SEED(seed, 150)
	{
		static struct slot slots[WRITERS];
		struct power power = {.random = seed * 31 + 7};

		file_world_prepare(&power.fw, seed, (uint64_t)BLOCKS * BLOCK_BYTES);
		if (seed % 2)
			sim_file_set_direct(power.fw.file, 1, 0);
		file_world_attach(&power.fw, 512);
		memset(slots, 0, sizeof(slots));
		for (unsigned i = 0; i < WRITERS; i++)
			slots[i].memory = aligned_alloc(4096, 8192);
		for (uint64_t steps = power_draw(&power, STEPS); steps > 0; steps--) {
			unsigned index = (unsigned)power_draw(&power, WRITERS);

			if (!slots[index].busy)
				slot_begin(&power, &slots[index], index);
			host_sleep(&power.fw.world.host, power_draw(&power, 100 * USEC_NS));
			for (unsigned i = 0; i < WRITERS; i++)
				slot_reap(&power, &slots[i]);
		}
		sim_power_cut(power.fw.world.host.sim);
		power_check(&power);
		assert_int_equal(sim_destroy(power.fw.world.host.sim), 0);
		for (unsigned i = 0; i < WRITERS; i++)
			free(slots[i].memory);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_flushed_or_forced_survives_a_power_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
