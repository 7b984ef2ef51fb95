/* SPDX-License-Identifier: BSD-2-Clause */
/* What filters do with requests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "filter_world.h"

#define SIZE  (4 * MIB)
#define BLOCK 4096u

static void fill(uint8_t *buf, unsigned seed)
{
	for (unsigned i = 0; i < BLOCK; i++)
		buf[i] = (uint8_t)(i * 31 + seed * 97 + i / 251);
}

/* ---- passed ------------------------------------------------------------------------------- */

/* The second passthru cannot pass down what the first does. */
static void data_arrives_at_its_place_on_the_device_below(void **state)
{
	static const char *const tops[] = {"basep0", "basep1", "again"};
	struct filter_world fw;
	struct opened top;
	uint8_t wrote[BLOCK], found[BLOCK];

	filter_world_start(&fw, 1);
	malloc_make(&fw, "base", SIZE);
	assert_int_equal(split_make(&fw, "base", 4, 0), 0);
	assert_int_equal(passthru_make(&fw, "over", "basep2", NULL), 0);
	assert_int_equal(passthru_make(&fw, "again", "over", NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(tops); i++) {
		fill(wrote, i);
		opened_start(&fw, &top, tops[i], i);
		assert_int_equal(world_write(&fw.world, top.channel, wrote, BLOCK, BLOCK), 0);
		opened_end(&fw, &top);
	}
	opened_start(&fw, &top, "base", 0);
	for (unsigned i = 0; i < ARRAY_SIZE(tops); i++) {
		fill(wrote, i);
		assert_int_equal(
			world_read(&fw.world, top.channel, found, i * (SIZE / 4) + BLOCK, BLOCK),
			0);
		assert_memory_equal(wrote, found, BLOCK);
	}
	opened_end(&fw, &top);
	/* Of the last one only: the rest has not been written. */
	opened_start(&fw, &top, "again", 0);
	assert_int_equal(
		world_io(&fw.world, top.channel, BDEV_IO_FLUSH, 0, NULL, 0, 0, SIZE / 4), 0);
	assert_int_equal(
		world_io(&fw.world, top.channel, BDEV_IO_UNMAP, 0, NULL, 0, BLOCK, BLOCK), 0);
	assert_int_equal(world_read(&fw.world, top.channel, found, BLOCK, BLOCK), 0);
	memset(wrote, 0, BLOCK);
	assert_memory_equal(wrote, found, BLOCK);
	opened_end(&fw, &top);
	filter_world_end(&fw);
}

static void both_devices_count_what_passes(void **state)
{
	struct bdev_io_stats above, below;
	struct filter_world fw;
	struct opened top;
	uint8_t buf[BLOCK] = {0};

	filter_world_start(&fw, 1);
	malloc_make(&fw, "base", SIZE);
	assert_int_equal(passthru_make(&fw, "over", "base", NULL), 0);
	opened_start(&fw, &top, "over", 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_write(&fw.world, top.channel, buf, i * BLOCK, BLOCK), 0);
	opened_end(&fw, &top);
	world_stats(&fw.world, device_named(&fw, "over"), &above);
	world_stats(&fw.world, device_named(&fw, "base"), &below);
	assert_int_equal(above.of[BDEV_IO_WRITE].ops, 3);
	assert_int_equal(below.of[BDEV_IO_WRITE].ops, 3);
	assert_int_equal(below.of[BDEV_IO_WRITE].bytes, 3 * BLOCK);
	filter_world_end(&fw);
}

/* ---- delayed ------------------------------------------------------------------------------ */

struct timed {
	struct world_call call;
	struct iovec iov;
	uint8_t buf[BLOCK];
};

static void timed_begin(
	struct filter_world *fw, struct timed *timed, struct opened *top, enum bdev_io_type type)
{
	memset(timed, 0, sizeof(*timed));
	timed->iov = (struct iovec){timed->buf, BLOCK};
	timed->call.channel = top->channel;
	timed->call.io = (struct bdev_io){
		.type = (uint8_t)type, .iov = &timed->iov, .iovcnt = 1, .length = BLOCK};
	world_io_begin(&fw->world, &timed->call);
}

static uint64_t now_ns(struct filter_world *fw)
{
	return fw->world.host.os->ops->now_ns(fw->world.host.os);
}

static void a_delayed_request_takes_as_long_as_it_is_told(void **state)
{
	static const uint64_t latency_us[] = {2000, 2000, 20000, 20000};
	struct filter_world fw;
	struct opened top;
	uint8_t buf[BLOCK] = {0};
	uint64_t start;

	filter_world_start(&fw, 1);
	malloc_make(&fw, "base", SIZE);
	assert_int_equal(delay_make(&fw, "slow", "base", latency_us), 0);
	opened_start(&fw, &top, "slow", 0);
	start = now_ns(&fw);
	assert_int_equal(world_read(&fw.world, top.channel, buf, 0, BLOCK), 0);
	assert_true(now_ns(&fw) - start >= 2 * MSEC_NS);
	start = now_ns(&fw);
	assert_int_equal(world_write(&fw.world, top.channel, buf, 0, BLOCK), 0);
	assert_true(now_ns(&fw) - start >= 20 * MSEC_NS);
	opened_end(&fw, &top);
	filter_world_end(&fw);
}

static void one_request_in_a_hundred_is_slow(void **state)
{
	static const uint64_t latency_us[] = {0, 1000, 0, 0};
	unsigned slow = 0, requests = host_is_simulated() ? 5000 : 500;
	struct filter_world fw;
	struct opened top;
	uint8_t buf[BLOCK];

	filter_world_start(&fw, 1);
	malloc_make(&fw, "base", SIZE);
	assert_int_equal(delay_make(&fw, "slow", "base", latency_us), 0);
	opened_start(&fw, &top, "slow", 0);
	for (unsigned i = 0; i < requests; i++) {
		uint64_t start = now_ns(&fw);

		assert_int_equal(world_read(&fw.world, top.channel, buf, 0, BLOCK), 0);
		slow += now_ns(&fw) - start >= MSEC_NS;
	}
	/* The expected number is requests / 100, its deviation about the root of that. */
	assert_in_range(slow, requests / 1000 + 1, requests / 30);
	opened_end(&fw, &top);
	filter_world_end(&fw);
}

/* An hour: nobody waits that long. */
static void what_is_delayed_ends_when_the_device_goes(void **state)
{
	static const uint64_t latency_us[] = {3600000000, 3600000000, 3600000000, 3600000000};
	struct world_call gone = {.run = world_unregister_run};
	struct filter_world fw;
	struct timed first, second;
	struct opened top;

	filter_world_start(&fw, 1);
	gone.bdev = malloc_make(&fw, "base", SIZE);
	assert_int_equal(delay_make(&fw, "slow", "base", latency_us), 0);
	opened_start(&fw, &top, "slow", 0);
	timed_begin(&fw, &first, &top, BDEV_IO_READ);
	timed_begin(&fw, &second, &top, BDEV_IO_WRITE);
	world_settle(&fw.world);
	assert_false(atomic_load(&first.call.ended));
	world_begin(&fw.world, fw.world.control, &gone);
	assert_int_equal(world_finish(&fw.world, &first.call), 0);
	assert_int_equal(world_finish(&fw.world, &second.call), 0);
	opened_end(&fw, &top);
	assert_int_equal(world_finish(&fw.world, &gone), 0);
	filter_world_end(&fw);
}

/* ---- errors ------------------------------------------------------------------------------- */

struct inject_call {
	struct world_call call;
	struct filter *filter;
	int type;
	const struct error_injection *injection;
};

static void inject_run(struct world_call *call)
{
	struct inject_call *inject = container_of(call, struct inject_call, call);

	error_inject(inject->filter, inject->type, inject->injection);
	world_done(call, 0);
}

static void resume_run(struct world_call *call)
{
	error_resume(container_of(call, struct inject_call, call)->filter, world_done, call);
}

static void clear_run(struct world_call *call)
{
	error_clear(container_of(call, struct inject_call, call)->filter);
	world_done(call, 0);
}

static void errors_tell(struct filter_world *fw, void (*run)(struct world_call *call), int type,
	const struct error_injection *injection)
{
	struct inject_call inject = {
		.call.run = run,
		.filter = filter_get_named(fw, FILTER_ERROR, "EE_base"),
		.type = type,
		.injection = injection,
	};

	assert_non_null(inject.filter);
	assert_int_equal(world_run(&fw->world, fw->world.control, &inject.call), 0);
}

static void errors_start(struct filter_world *fw, struct opened *top)
{
	filter_world_start(fw, 1);
	malloc_make(fw, "base", SIZE);
	assert_int_equal(error_make(fw, "base"), 0);
	opened_start(fw, top, "EE_base", 0);
}

static void errors_end(struct filter_world *fw, struct opened *top)
{
	opened_end(fw, top);
	filter_world_end(fw);
}

static void as_many_requests_fail_as_were_asked_for(void **state)
{
	static const struct error_injection two = {.kind = ERROR_FAILURE, .count = 2};
	struct filter_world fw;
	struct opened top;
	uint8_t buf[BLOCK] = {0};

	errors_start(&fw, &top);
	errors_tell(&fw, inject_run, BDEV_IO_READ, &two);
	assert_int_equal(world_write(&fw.world, top.channel, buf, 0, BLOCK), 0);
	assert_int_equal(world_read(&fw.world, top.channel, buf, 0, BLOCK), -EIO);
	assert_int_equal(world_read(&fw.world, top.channel, buf, 0, BLOCK), -EIO);
	assert_int_equal(world_read(&fw.world, top.channel, buf, 0, BLOCK), 0);
	errors_tell(&fw, inject_run, ERROR_ALL_TYPES, &two);
	assert_int_equal(
		world_io(&fw.world, top.channel, BDEV_IO_FLUSH, 0, NULL, 0, 0, SIZE), -EIO);
	assert_int_equal(
		world_io(&fw.world, top.channel, BDEV_IO_UNMAP, 0, NULL, 0, 0, BLOCK), -EIO);
	errors_tell(&fw, clear_run, 0, NULL);
	assert_int_equal(world_write(&fw.world, top.channel, buf, 0, BLOCK), 0);
	errors_end(&fw, &top);
}

static void pending_requests_stay_until_they_are_told_to_go_on(void **state)
{
	static const struct error_injection one = {.kind = ERROR_PENDING, .count = 1};
	struct filter_world fw;
	struct opened top;
	struct timed held;
	uint8_t buf[BLOCK];

	errors_start(&fw, &top);
	fill(buf, 1);
	assert_int_equal(world_write(&fw.world, top.channel, buf, 0, BLOCK), 0);
	errors_tell(&fw, inject_run, BDEV_IO_READ, &one);
	timed_begin(&fw, &held, &top, BDEV_IO_READ);
	assert_int_equal(world_read(&fw.world, top.channel, buf, 0, BLOCK), 0);
	assert_false(atomic_load(&held.call.ended));
	errors_tell(&fw, resume_run, 0, NULL);
	assert_int_equal(world_finish(&fw.world, &held.call), 0);
	assert_memory_equal(held.buf, buf, BLOCK);
	errors_end(&fw, &top);
}

static void pending_requests_fail_when_the_device_goes_or_all_is_closed(void **state)
{
	static const struct error_injection one = {.kind = ERROR_PENDING, .count = 1};

	for (unsigned removes = 0; removes < 2; removes++) {
		struct world_call gone = {.run = world_unregister_run};
		struct filter_world fw;
		struct opened top;
		struct timed held;

		errors_start(&fw, &top);
		errors_tell(&fw, inject_run, BDEV_IO_WRITE, &one);
		timed_begin(&fw, &held, &top, BDEV_IO_WRITE);
		world_settle(&fw.world);
		assert_false(atomic_load(&held.call.ended));
		if (removes) {
			gone.bdev = device_named(&fw, "base");
			world_begin(&fw.world, fw.world.control, &gone);
		} else {
			filter_world_close(&fw);
		}
		assert_int_equal(world_finish(&fw.world, &held.call), -ENODEV);
		opened_end(&fw, &top);
		if (removes)
			assert_int_equal(world_finish(&fw.world, &gone), 0);
		filter_world_end(&fw);
	}
}

static void one_byte_is_corrupted_on_its_way_and_the_guests_data_is_not(void **state)
{
	static const unsigned offsets[] = {0, 511, 512, 700, BLOCK - 1};

	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
		const struct error_injection one = {.kind = ERROR_CORRUPT_DATA,
			.count = 1,
			.corrupt_offset = offsets[i],
			.corrupt_value = 0x81};
		uint8_t data[BLOCK], copy[BLOCK], found[BLOCK];
		struct iovec iov[] = {{data, 512}, {data + 512, 188}, {data + 700, BLOCK - 700}};
		struct filter_world fw;
		struct opened top;

		errors_start(&fw, &top);
		fill(data, i);
		memcpy(copy, data, BLOCK);
		errors_tell(&fw, inject_run, BDEV_IO_WRITE, &one);
		assert_int_equal(
			world_io(&fw.world, top.channel, BDEV_IO_WRITE, 0, iov, 3, 0, BLOCK), 0);
		assert_memory_equal(data, copy, BLOCK);
		assert_int_equal(world_read(&fw.world, top.channel, found, 0, BLOCK), 0);
		copy[offsets[i]] ^= 0x81;
		assert_memory_equal(found, copy, BLOCK);
		/* And back: the same byte on the way up. */
		errors_tell(&fw, inject_run, BDEV_IO_READ, &one);
		assert_int_equal(world_read(&fw.world, top.channel, found, 0, BLOCK), 0);
		assert_memory_equal(found, data, BLOCK);
		errors_end(&fw, &top);
	}
}

static void what_finds_no_memory_is_tried_again(void **state)
{
	static const struct error_injection three = {.kind = ERROR_NOMEM, .count = 3};
	struct filter_world fw;
	struct opened top;
	uint8_t buf[BLOCK];
	uint64_t start;

	errors_start(&fw, &top);
	errors_tell(&fw, inject_run, BDEV_IO_READ, &three);
	start = now_ns(&fw);
	assert_int_equal(world_read(&fw.world, top.channel, buf, 0, BLOCK), 0);
	assert_true(now_ns(&fw) - start >= 3 * MSEC_NS);
	errors_end(&fw, &top);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_arrives_at_its_place_on_the_device_below),
		cmocka_unit_test(both_devices_count_what_passes),
		cmocka_unit_test(a_delayed_request_takes_as_long_as_it_is_told),
		cmocka_unit_test(one_request_in_a_hundred_is_slow),
		cmocka_unit_test(what_is_delayed_ends_when_the_device_goes),
		cmocka_unit_test(as_many_requests_fail_as_were_asked_for),
		cmocka_unit_test(pending_requests_stay_until_they_are_told_to_go_on),
		cmocka_unit_test(pending_requests_fail_when_the_device_goes_or_all_is_closed),
		cmocka_unit_test(one_byte_is_corrupted_on_its_way_and_the_guests_data_is_not),
		cmocka_unit_test(what_finds_no_memory_is_tried_again),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
