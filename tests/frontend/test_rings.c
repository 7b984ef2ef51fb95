/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Property test of the driver side: random chains, batches, orders of completion and notification
 * wishes, on split and packed rings of many sizes, against a device model of its own. A seed fixes
 * a run; FRONTEND_SEED=n repeats one.
 *
 * What must hold: the model sees every published chain once, in order, with exactly the segments
 * that were added; every completion comes back once with its token and length; no chain is visible
 * before its publish; and whoever sleeps is woken: a device that asked for kicks and found nothing
 * gets one with the next publish, a driver that enabled interrupts and found nothing gets one with
 * the next used entry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>

#include "frontend/device_model.h"
#include "frontend/io.h"

#define MAX_LIVE   512u
#define STEPS      6000u
#define MAX_PIECES 12u

struct live { /* one chain, from add to pop */
	bool published, taken, given;
	uint64_t number;
	uint32_t count, len;
	struct fe_segment segments[MAX_PIECES];
	struct model_chain chain; /* as the model saw it */
};

struct run {
	uint64_t random;
	struct fe_memory memory;
	struct fe_ring *ring;
	struct model model;
	struct live live[MAX_LIVE];
	uint64_t added, published, taken, popped;
	bool model_sleeps, driver_sleeps;
};

static uint32_t pick(struct run *run, uint32_t below)
{
	run->random ^= run->random << 13;
	run->random ^= run->random >> 7;
	run->random ^= run->random << 17;
	return (uint32_t)(run->random >> 20) % below;
}

/* ---- driver's steps ---- */

static void step_add(struct run *run)
{
	struct live *live = NULL;
	struct fe_chain chain = {.segments = NULL};
	uint32_t i, writable, needed;
	uint32_t free_before = run->ring->free_count;
	int rc;

	for (i = 0; i < MAX_LIVE && !live; i++)
		if (!run->live[i].count)
			live = &run->live[i];
	if (!live)
		return;
	live->count = 1 + pick(run, MAX_PIECES);
	writable = pick(run, live->count + 1);
	for (i = 0; i < live->count; i++)
		live->segments[i] = (struct fe_segment){
			.gpa = run->random & 0xffffffffffff,
			.len = pick(run, 3) ? pick(run, 100000) : 0,
			.write = i >= live->count - writable,
		};
	chain.segments = live->segments;
	chain.count = live->count;
	chain.direct = pick(run, 2) ? live->count : run->ring->packed ? 0 : pick(run, live->count);
	chain.indirect_write = pick(run, 2);
	chain.token = live;
	needed = chain.direct + (chain.direct < chain.count);
	rc = fe_ring_add(run->ring, &chain, NULL);
	if (rc) {
		assert_int_equal(rc, -ENOSPC);
		assert_true(needed > free_before);
		live->count = 0;
		return;
	}
	assert_true(needed <= free_before);
	live->published = live->taken = live->given = false;
	live->number = run->added++;
}

static void step_publish(struct run *run)
{
	bool news = run->published != run->added;
	uint32_t i;
	int kicked;

	fe_ring_publish(run->ring);
	run->published = run->added;
	for (i = 0; i < MAX_LIVE; i++)
		run->live[i].published = run->live[i].count != 0;
	kicked = fe_ring_kick(run->ring);
	assert_int_equal(fe_eventfd_drain(run->ring->kick_fd) != 0, kicked);
	if (news && run->model_sleeps)
		assert_true(kicked);
	if (kicked)
		run->model_sleeps = false;
}

static void step_pop(struct run *run)
{
	struct fe_completion completion;
	int rc = fe_ring_pop(run->ring, &completion);
	struct live *live;

	if (rc == -EPROTO)
		fail_msg("%s", run->ring->fault);
	if (!rc)
		return;
	live = completion.token;
	assert_true(live->given);
	assert_int_equal(completion.len, live->len);
	live->count = 0;
	run->popped++;
}

static void step_driver_sleep(struct run *run)
{
	run->driver_sleeps = !fe_ring_interrupts(run->ring, true);
}

/* ---- device's steps ---- */

static void step_take(struct run *run)
{
	struct model_chain chain;
	int rc = model_take(&run->model, &chain);
	struct live *live = NULL;
	uint32_t i;

	assert_true(rc >= 0);
	assert_int_equal(rc, run->taken < run->published);
	if (!rc)
		return;
	for (i = 0; i < MAX_LIVE; i++)
		if (run->live[i].count && run->live[i].number == run->taken)
			live = &run->live[i];
	assert_non_null(live);
	assert_true(live->published && !live->taken);
	assert_int_equal(chain.count, live->count);
	for (i = 0; i < chain.count; i++) {
		assert_int_equal(chain.segments[i].gpa, live->segments[i].gpa);
		assert_int_equal(chain.segments[i].len, live->segments[i].len);
		assert_int_equal(chain.segments[i].write, live->segments[i].write);
	}
	live->taken = true;
	live->chain = chain;
	run->taken++;
}

static uint64_t writable_bytes(const struct live *live)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < live->count; i++)
		if (live->segments[i].write)
			bytes += live->segments[i].len;
	return bytes;
}

static void step_give(struct run *run)
{
	const struct model_chain *chains[8];
	uint32_t lens[8], count = 0, want = 1 + pick(run, 8), at = pick(run, MAX_LIVE), i;
	bool interrupt;

	for (i = 0; i < MAX_LIVE && count < want; i++) {
		struct live *live = &run->live[(at + i) % MAX_LIVE];

		if (!live->count || !live->taken || live->given)
			continue;
		live->len = pick(run, (uint32_t)writable_bytes(live) + 1);
		live->given = true;
		chains[count] = &live->chain;
		lens[count++] = live->len;
	}
	if (!count)
		return;
	interrupt = model_give(&run->model, chains, lens, count);
	if (run->driver_sleeps)
		assert_true(interrupt);
	if (interrupt)
		run->driver_sleeps = false;
}

static void step_model_sleep(struct run *run)
{
	run->model_sleeps = !model_want_kicks(&run->model, true);
}

static void step(struct run *run)
{
	switch (pick(run, 16)) {
	case 0 ... 4:
		step_add(run);
		break;
	case 5 ... 6:
		step_publish(run);
		break;
	case 7 ... 9:
		step_take(run);
		break;
	case 10 ... 11:
		step_give(run);
		break;
	case 12 ... 13:
		step_pop(run);
		break;
	case 14:
		/* Nobody enables what it sleeps on already: one wish stands until it is met. */
		if (!run->driver_sleeps)
			step_driver_sleep(run);
		else if (!run->ring->event_idx)
			run->driver_sleeps = (fe_ring_interrupts(run->ring, false), false);
		break;
	default:
		if (!run->model_sleeps)
			step_model_sleep(run);
		else if (!run->ring->event_idx)
			run->model_sleeps = (model_want_kicks(&run->model, false), false);
	}
}

static void run_ring(const struct fe_ring_options *options, uint16_t start, uint64_t seed)
{
	struct run *run = test_calloc(1, sizeof(*run));
	struct fe_region_spec spec = {.gpa = 0x40000000, .size = 16 << 20, .fd = FE_NEW_FILE};
	uint32_t slot, i;

	run->random = seed * 0x9e3779b97f4a7c15 + 1;
	fe_memory_init(&run->memory);
	assert_int_equal(fe_memory_add(&run->memory, &spec, &slot), 0);
	assert_int_equal(fe_ring_create(&run->memory, options, &run->ring), 0);
	fe_ring_reset_at(run->ring, start);
	model_init(&run->model, &run->memory, run->ring, fe_ring_base(run->ring));
	for (i = 0; i < STEPS; i++)
		step(run);
	/* To the end: everything added comes back. */
	step_publish(run);
	for (i = 0; i < 8 * MAX_LIVE; i++) {
		step_take(run);
		step_give(run);
		step_pop(run);
	}
	assert_int_equal(run->popped, run->added);
	assert_int_equal(run->ring->outstanding, 0);
	assert_int_equal(run->ring->free_count, run->ring->size);
	assert_true(options->size == 1 || run->popped > STEPS / 100);
	fe_ring_destroy(run->ring);
	/* Tables and areas are all given back: the region is one free piece again. */
	assert_int_equal(run->memory.region[slot].taken_count, 0);
	assert_int_equal(run->memory.region[slot].free_count, 1);
	fe_memory_fini(&run->memory);
	test_free(run);
}

static void test_ring(const uint32_t *sizes, uint32_t count, bool packed)
{
	const char *wish = getenv("FRONTEND_SEED");
	uint64_t first = wish ? strtoull(wish, NULL, 0) : 1, last = wish ? first : 6, seed;
	uint32_t i, event_idx;

	for (seed = first; seed <= last; seed++) {
		for (i = 0; i < count; i++) {
			for (event_idx = 0; event_idx < 2; event_idx++) {
				struct fe_ring_options options = {
					.size = sizes[i],
					.packed = packed,
					.event_idx = event_idx,
					.notified = true,
					.tight = seed & 1,
				};
				uint16_t position = (uint16_t)(sizes[i] - 1);
				uint16_t start = packed ? (seed & 2 ? 0x8000 : position)
							: (seed & 2 ? 0 : 65400);

				print_message("%s size %u event_idx %u seed %llu\n",
					packed ? "packed" : "split", sizes[i], event_idx,
					(unsigned long long)seed);
				run_ring(&options, start, seed);
			}
		}
	}
}

static void split_rings_agree_with_the_model(void **state)
{
	static const uint32_t sizes[] = {1, 2, 4, 16, 128, 1024, 32768};

	test_ring(sizes, sizeof(sizes) / sizeof(sizes[0]), false);
}

static void packed_rings_agree_with_the_model(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 100, 128, 1000, 32768};

	test_ring(sizes, sizeof(sizes) / sizeof(sizes[0]), true);
}

/* ---- what a lying device is told ---- */

struct small { /* a split ring with one published chain of two descriptors, 100 writable bytes */
	struct fe_memory memory;
	struct fe_ring *ring;
	uint16_t id;
};

static void small_open(struct small *small)
{
	struct fe_region_spec spec = {.gpa = 0, .size = 1 << 20, .fd = FE_NEW_FILE};
	struct fe_ring_options options = {.size = 8};
	struct fe_segment segments[] = {{0x1000, 16, false}, {0x2000, 100, true}};
	struct fe_chain chain = {.segments = segments, .count = 2, .direct = 2, .token = small};
	uint32_t slot;

	fe_memory_init(&small->memory);
	assert_int_equal(fe_memory_add(&small->memory, &spec, &slot), 0);
	assert_int_equal(fe_ring_create(&small->memory, &options, &small->ring), 0);
	assert_int_equal(fe_ring_add(small->ring, &chain, &small->id), 0);
	fe_ring_publish(small->ring);
}

static void lie(uint32_t id, uint32_t len, uint16_t used_idx, const char *expected)
{
	struct fe_completion completion;
	struct small small;

	small_open(&small);
	small.ring->used->ring[0] = (struct fe_used_elem){id, len};
	small.ring->used->idx = used_idx;
	assert_int_equal(fe_ring_pop(small.ring, &completion), expected ? -EPROTO : 1);
	if (expected && !strstr(small.ring->fault, expected))
		fail_msg("'%s' does not say '%s'", small.ring->fault, expected);
	fe_ring_destroy(small.ring);
	fe_memory_fini(&small.memory);
}

static void lies_of_a_device_are_found(void **state)
{
	lie(0, 100, 1, NULL);
	lie(0, 101, 1, "101 bytes written of 100");
	lie(3, 0, 1, "not outstanding");
	lie(8, 0, 1, "of a ring of 8");
	lie(0, 0, 2, "ahead");
	lie(0, 0, 65535, "ahead");
}

static void *complete_silently(void *arg)
{
	struct small *small = arg;

	usleep(10000);
	small->ring->used->ring[0] = (struct fe_used_elem){0, 1};
	__atomic_store_n(&small->ring->used->idx, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void a_call_that_never_comes_is_reported(void **state)
{
	struct small small;
	pthread_t device;

	small_open(&small);
	small.ring->notified = true;
	assert_int_equal(fe_ring_wait(small.ring, 10), -ETIMEDOUT);
	assert_int_equal(pthread_create(&device, NULL, complete_silently, &small), 0);
	assert_int_equal(fe_ring_wait(small.ring, 100), -ENOMSG);
	assert_int_equal(pthread_join(device, NULL), 0);
	/* The look behind the next enabling finds the entry, so that is no missed call. */
	assert_int_equal(fe_ring_wait(small.ring, 10), 0);
	fe_ring_destroy(small.ring);
	fe_memory_fini(&small.memory);
}

/* ---- streams ---- */

static void streams_survive_any_cut(void **state)
{
	struct small small;
	uint32_t out_cut, in_cut;

	for (out_cut = 0; out_cut <= 24; out_cut++) {
		for (in_cut = 0; in_cut <= 24; in_cut++) {
			uint8_t head[16], out[8], first[20], last[4], bytes[24];
			const uint32_t out_cuts[] = {out_cut, 0}, in_cuts[] = {in_cut};
			struct fe_io *done, io = {
						    .head = head,
						    .head_len = 16,
						    .out = out,
						    .out_len = 8,
						    .in_first = first,
						    .in_first_len = 20,
						    .in_last = last,
						    .in_last_len = 4,
						    .out_cuts = out_cuts,
						    .out_cut_count = 2,
						    .in_cuts = in_cuts,
						    .in_cut_count = 1,
						    .direct = FE_IO_ALL_DIRECT,
						    .skew = 3,
						    .fill = 0x55,
					    };
			struct model model;
			struct model_chain chain;
			const struct model_chain *chains[] = {&chain};
			uint32_t i, j, at = 0, len = 24;

			small_open(&small);
			fe_ring_reset(small.ring);
			model_init(&model, &small.memory, small.ring, 0);
			for (i = 0; i < 24; i++)
				*(i < 16 ? &head[i] : &out[i - 16]) = (uint8_t)i;
			assert_int_equal(fe_io_submit(small.ring, &io), 0);
			fe_io_publish(small.ring);
			assert_int_equal(model_take(&model, &chain), 1);
			for (i = 0; i < chain.count; i++) {
				struct fe_segment *piece = &chain.segments[i];

				if (piece->write)
					continue;
				fe_memory_read(&small.memory, piece->gpa, bytes + at, piece->len);
				at += piece->len;
			}
			assert_int_equal(at, 24);
			for (i = 0; i < 24; i++)
				assert_int_equal(bytes[i], i);
			for (i = 0, at = 0; i < chain.count; i++)
				for (j = 0; chain.segments[i].write && j < chain.segments[i].len;
					j++, at++) {
					uint8_t byte = (uint8_t)(100 + at);

					fe_memory_write(
						&small.memory, chain.segments[i].gpa + j, &byte, 1);
				}
			model_give(&model, chains, &len, 1);
			assert_int_equal(fe_io_reap(small.ring, &done), 1);
			assert_ptr_equal(done, &io);
			assert_int_equal(io.used_len, 24);
			assert_int_equal(io.stray, 0);
			for (i = 0; i < 24; i++)
				assert_int_equal(i < 20 ? first[i] : last[i - 20], 100 + i);
			fe_ring_destroy(small.ring);
			fe_memory_fini(&small.memory);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_rings_agree_with_the_model),
		cmocka_unit_test(packed_rings_agree_with_the_model),
		cmocka_unit_test(lies_of_a_device_are_found),
		cmocka_unit_test(a_call_that_never_comes_is_reported),
		cmocka_unit_test(streams_survive_any_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
