/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulated disk: what a power cut takes, faults, alignment, locks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sim.h"

#define DISK_BYTES (64 * KIB)
#define BLOCKS     16 /* of 4 KiB */

struct bench {
	struct sim *sim;
	struct os *os;
	struct sim_file *file;
	struct os_ring *ring;
	int fd;
	unsigned done;
	unsigned char *block; /* aligned, 4 KiB */
};

struct op {
	struct os_io io;
	struct iovec iov;
	struct bench *bench;
	unsigned char data[4096];
};

static void bench_start(struct bench *bench, uint64_t seed, unsigned flags)
{
	const struct os_ring_options options = {.entries = 8};

	*bench = (struct bench){.sim = sim_create(seed)};
	bench->os = sim_os(bench->sim);
	bench->file = sim_file_create(bench->sim, "/disk", DISK_BYTES);
	bench->block = aligned_alloc(4096, 4096);
	assert_int_equal(bench->os->ops->ring_create(bench->os, &options, &bench->ring), 0);
	assert_int_equal(
		bench->os->ops->file_open(bench->os, "/disk", OS_OPEN_WRITE | flags, 0, &bench->fd),
		0);
}

static void bench_end(struct bench *bench)
{
	bench->os->ops->ring_destroy(bench->ring);
	bench->os->ops->close(bench->os, bench->fd);
	free(bench->block);
	assert_int_equal(sim_destroy(bench->sim), 0);
}

static void op_done(struct os_io *io)
{
	container_of(io, struct op, io)->bench->done++;
}

static void op_submit(struct bench *bench, struct op *op, enum os_io_op kind, unsigned flags,
	uint64_t offset, unsigned char fill)
{
	op->bench = bench;
	memset(op->data, fill, sizeof(op->data));
	op->iov = (struct iovec){op->data, sizeof(op->data)};
	op->io = (struct os_io){.op = kind,
		.flags = flags,
		.fd = bench->fd,
		.offset = offset,
		.length = sizeof(op->data),
		.iov = &op->iov,
		.iovcnt = 1,
		.done = op_done};
	bench->os->ops->ring_submit(bench->ring, &op->io);
}

static void bench_wait(struct bench *bench, unsigned count)
{
	while (bench->done < count)
		bench->os->ops->ring_enter(bench->ring, OS_WAIT_FOREVER);
	bench->done -= count;
}

static int64_t op_run(struct bench *bench, enum os_io_op kind, unsigned flags, uint64_t offset,
	unsigned char fill, unsigned char *ret_first)
{
	struct op op;

	op_submit(bench, &op, kind, flags, offset, fill);
	bench_wait(bench, 1);
	if (ret_first)
		*ret_first = op.data[0];
	return op.io.result;
}

static unsigned char first_byte(const struct bench *bench, unsigned block)
{
	unsigned char byte;

	sim_file_peek(bench->file, block * 4096u, &byte, 1);
	return byte;
}

/* ---- power ---- */

static void what_was_flushed_survives_and_the_rest_may_not(void **state)
{
	unsigned kept = 0, lost = 0, torn = 0;

	SIM_FOR_EACH_SEED(seed, 200)
	{
		unsigned char block[4096];
		struct bench bench;
		unsigned ones = 0;

		bench_start(&bench, seed, 0);
		assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 0, 1, NULL), 4096);
		assert_int_equal(op_run(&bench, OS_IO_FDATASYNC, 0, 0, 0, NULL), 0);
		assert_int_equal(op_run(&bench, OS_IO_WRITEV, OS_IO_DSYNC, 4096, 2, NULL), 4096);
		assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 8192, 3, NULL), 4096);
		assert_int_equal(sim_file_unflushed(bench.file), 1);
		sim_power_cut(bench.sim);
		assert_int_equal(first_byte(&bench, 0), 1);
		assert_int_equal(first_byte(&bench, 1), 2);
		sim_file_peek(bench.file, 8192, block, sizeof(block));
		for (unsigned i = 0; i < 4096; i += 512) {
			assert_true(block[i] == 0 || block[i] == 3);
			assert_memory_equal(block + i, block + i + 1, 511);
			ones += block[i] == 3;
		}
		kept += ones == 8;
		lost += ones == 0;
		torn += ones > 0 && ones < 8;
		bench_end(&bench);
	}
	if (!sim_seeds_are_given()) {
		assert_true(kept > 20);
		assert_true(lost > 20);
		assert_true(torn > 2);
	}
}

/* Every write carries the number of its block's last write; a flush sets the least that must be
 * found, the last submitted the most. */
static void random_writes_and_flushes_agree_with_a_model_after_a_cut(void **state)
{
	SIM_FOR_EACH_SEED(seed, 200)
	{
		unsigned char least[BLOCKS] = {0}, done[BLOCKS] = {0}, most[BLOCKS] = {0};
		struct bench bench;
		struct op last;

		bench_start(&bench, seed, 0);
		for (unsigned i = 0; i < 60; i++) {
			unsigned block = (unsigned)sim_random(bench.sim, BLOCKS);
			bool dsync = sim_random(bench.sim, 4) == 0;

			if (sim_random(bench.sim, 8) == 0) {
				assert_int_equal(op_run(&bench, OS_IO_FDATASYNC, 0, 0, 0, NULL), 0);
				memcpy(least, done, sizeof(least));
				continue;
			}
			assert_int_equal(op_run(&bench, OS_IO_WRITEV, dsync ? OS_IO_DSYNC : 0,
						 block * 4096u, (unsigned char)(i + 1), NULL),
				4096);
			done[block] = most[block] = (unsigned char)(i + 1);
			if (dsync)
				least[block] = done[block];
		}
		op_submit(&bench, &last, OS_IO_WRITEV, 0, 0, 100); /* in flight at the cut */
		bench.os->ops->ring_enter(bench.ring, 0);
		most[0] = 100;
		sim_power_cut(bench.sim);
		for (unsigned i = 0; i < BLOCKS; i++)
			assert_in_range(first_byte(&bench, i), least[i], most[i]);
		bench_end(&bench);
	}
}

static void a_sync_covers_only_what_had_ended_when_it_was_submitted(void **state)
{
	bool lost = false;

	SIM_FOR_EACH_SEED(seed, 200)
	{
		struct bench bench;
		struct op write, sync;

		bench_start(&bench, seed, 0);
		op_submit(&bench, &write, OS_IO_WRITEV, 0, 0, 7);
		op_submit(&bench, &sync, OS_IO_FDATASYNC, 0, 0, 0);
		bench_wait(&bench, 2);
		sim_power_cut(bench.sim);
		lost |= first_byte(&bench, 0) == 0;
		bench_end(&bench);
	}
	assert_true(lost || sim_seeds_are_given());
}

static void tearing_respects_the_atomic_size(void **state)
{
	SIM_FOR_EACH_SEED(seed, 200)
	{
		const struct sim_options options = {.seed = seed, .atomic_bytes = 4096};
		struct sim *sim = sim_create_with(&options);
		struct sim_file *file = sim_file_create(sim, "/disk", DISK_BYTES);
		unsigned char buf[16384];
		int fd;

		assert_int_equal(
			sim_os(sim)->ops->file_open(sim_os(sim), "/disk", OS_OPEN_WRITE, 0, &fd),
			0);
		memset(buf, 9, sizeof(buf));
		assert_int_equal(sim_os(sim)->ops->file_write(sim_os(sim), fd, buf, sizeof(buf), 0),
			sizeof(buf));
		sim_power_cut(sim);
		sim_file_peek(file, 0, buf, sizeof(buf));
		for (unsigned i = 0; i < sizeof(buf); i += 4096)
			assert_memory_equal(buf + i, buf + i + 1, 4095);
		assert_int_equal(sim_destroy(sim), 0);
	}
}

/* ---- order and holding ---- */

static void operations_in_flight_end_in_any_order(void **state)
{
	unsigned second_wins = 0;

	SIM_FOR_EACH_SEED(seed, 50)
	{
		struct bench bench;
		struct op one, two;

		bench_start(&bench, seed, 0);
		op_submit(&bench, &one, OS_IO_WRITEV, 0, 0, 1);
		op_submit(&bench, &two, OS_IO_WRITEV, 0, 0, 2);
		bench_wait(&bench, 2);
		second_wins += first_byte(&bench, 0) == 2;
		bench_end(&bench);
	}
	assert_true(sim_seeds_are_given() || (second_wins > 5 && second_wins < 45));
}

static void a_held_file_ends_nothing_until_it_is_released(void **state)
{
	struct bench bench;
	struct op op;

	bench_start(&bench, 1, 0);
	sim_file_hold(bench.file);
	op_submit(&bench, &op, OS_IO_WRITEV, 0, 0, 1);
	bench.os->ops->ring_enter(bench.ring, 0);
	sim_run_for(bench.sim, 100 * SEC_NS);
	assert_int_equal(bench.os->ops->ring_enter(bench.ring, 0), 0);
	assert_int_equal(bench.os->ops->ring_pending(bench.ring), 1);
	assert_int_equal(sim_file_in_flight(bench.file), 1);
	assert_int_equal(first_byte(&bench, 0), 0);
	sim_file_release(bench.file);
	bench_wait(&bench, 1);
	assert_int_equal(first_byte(&bench, 0), 1);
	bench_end(&bench);
}

/* ---- faults ---- */

static void scripted_faults_arrive_as_what_they_are(void **state)
{
	struct bench bench;
	unsigned char byte;

	bench_start(&bench, 1, 0);
	sim_file_fail_range(bench.file, 8192, 512, EIO, 1);
	assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 4096, 1, NULL), 4096);
	assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 8192, 1, NULL), -EIO);
	assert_int_equal(first_byte(&bench, 2), 0);
	assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 8192, 1, NULL), 4096);

	sim_file_limit(bench.file, 4096 + 1024);
	assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 0, 1, NULL), 4096);
	assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 0, 1, NULL), 1024);
	assert_int_equal(op_run(&bench, OS_IO_WRITEV, 0, 0, 1, NULL), -ENOSPC);
	sim_file_limit(bench.file, UINT64_MAX);

	sim_file_shorten(bench.file, 1);
	assert_in_range(op_run(&bench, OS_IO_READV, 0, 0, 0, &byte), 512, 4095);
	assert_int_equal(byte, 1);
	sim_fail_call(bench.sim, SIM_CALL_IO_FDATASYNC, 1, EIO);
	assert_int_equal(op_run(&bench, OS_IO_FDATASYNC, 0, 0, 0, NULL), -EIO);

	assert_int_equal(op_run(&bench, OS_IO_PUNCH_HOLE, 0, 8192, 0, NULL), 0);
	assert_int_equal(first_byte(&bench, 2), 0);
	assert_int_equal(op_run(&bench, OS_IO_ZERO_RANGE, 0, 4096, 0, NULL), 0);
	assert_int_equal(first_byte(&bench, 1), 0);
	sim_file_set_discard(bench.file, 0);
	assert_int_equal(op_run(&bench, OS_IO_PUNCH_HOLE, 0, 0, 0, NULL), -EOPNOTSUPP);

	sim_file_resize(bench.file, 1024);
	assert_int_equal(op_run(&bench, OS_IO_READV, 0, 0, 0, NULL), 1024);
	assert_int_equal(op_run(&bench, OS_IO_READV, 0, 4096, 0, NULL), 0);
	sim_file_resize(bench.file, 4096);
	sim_file_peek(bench.file, 1024, &byte, 1);
	assert_int_equal(byte, 0);
	bench_end(&bench);
}

static void direct_io_must_be_aligned(void **state)
{
	struct bench bench;
	struct op op;

	bench_start(&bench, 1, OS_OPEN_DIRECT);
	op_submit(&bench, &op, OS_IO_READV, 0, 0, 1);
	op.iov = (struct iovec){bench.block, 4096};
	bench_wait(&bench, 1);
	assert_int_equal(op.io.result, 4096);

	op_submit(&bench, &op, OS_IO_READV, 0, 0, 1);
	op.iov = (struct iovec){bench.block + 1, 512};
	bench_wait(&bench, 1);
	assert_int_equal(op.io.result, -EINVAL);

	op_submit(&bench, &op, OS_IO_READV, 0, 100, 1);
	op.iov = (struct iovec){bench.block, 512};
	bench_wait(&bench, 1);
	assert_int_equal(op.io.result, -EINVAL);
	bench_end(&bench);
}

static void a_device_refuses_what_is_beyond_its_end(void **state)
{
	struct sim *sim = sim_create(1);
	struct os *os = sim_os(sim);
	struct os_file_info info;
	char buf[8192] = {0};
	int fd;

	(void)sim_device_create(sim, "/dev/sdx", 8192, 4096);
	assert_int_equal(os->ops->file_open(os, "/dev/sdx", OS_OPEN_WRITE, 0, &fd), 0);
	assert_int_equal(os->ops->file_info(os, fd, &info), 0);
	assert_int_equal(info.kind, OS_FILE_BLOCK);
	assert_int_equal(info.block_size, 4096);
	assert_int_equal(os->ops->file_write(os, fd, buf, 8192, 4096), 4096);
	assert_int_equal(os->ops->file_write(os, fd, buf, 4096, 8192), -ENOSPC);
	os->ops->close(os, fd);
	assert_int_equal(sim_destroy(sim), 0);
}

/* ---- locks ---- */

static void a_lock_is_kept_until_the_last_io_of_a_killed_process_has_ended(void **state)
{
	struct reason reason = {0};
	struct os *successor;
	struct bench bench;
	struct op op;
	int fd;

	bench_start(&bench, 1, 0);
	assert_int_equal(bench.os->ops->file_lock(bench.os, bench.fd, true, NULL), 0);
	sim_file_hold(bench.file);
	op_submit(&bench, &op, OS_IO_WRITEV, 0, 0, 1);
	bench.os->ops->ring_enter(bench.ring, 0);

	successor = sim_process_start(bench.sim, "successor");
	assert_int_equal(successor->ops->file_open(successor, "/disk", OS_OPEN_WRITE, 0, &fd), 0);
	assert_int_equal(successor->ops->file_lock(successor, fd, true, &reason), -EWOULDBLOCK);
	assert_non_null(strstr(reason.text, "(test)"));
	sim_process_kill(bench.os);
	memset(&op, 0xaa, sizeof(op)); /* the dead process's memory is gone */
	assert_int_equal(successor->ops->file_lock(successor, fd, true, NULL), -EWOULDBLOCK);
	sim_file_release(bench.file);
	sim_run_for(bench.sim, SEC_NS);
	assert_int_equal(successor->ops->file_lock(successor, fd, true, NULL), 0);
	assert_int_equal(first_byte(&bench, 0), 1);
	successor->ops->close(successor, fd);
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_flushed_survives_and_the_rest_may_not),
		cmocka_unit_test(random_writes_and_flushes_agree_with_a_model_after_a_cut),
		cmocka_unit_test(a_sync_covers_only_what_had_ended_when_it_was_submitted),
		cmocka_unit_test(tearing_respects_the_atomic_size),
		cmocka_unit_test(operations_in_flight_end_in_any_order),
		cmocka_unit_test(a_held_file_ends_nothing_until_it_is_released),
		cmocka_unit_test(scripted_faults_arrive_as_what_they_are),
		cmocka_unit_test(direct_io_must_be_aligned),
		cmocka_unit_test(a_device_refuses_what_is_beyond_its_end),
		cmocka_unit_test(a_lock_is_kept_until_the_last_io_of_a_killed_process_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
