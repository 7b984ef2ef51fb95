/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of numbers against an array of bools, and what they take of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"

#define BITS_MAX 1000

struct model {
	bool set[BITS_MAX];
	uint32_t bits;
};

static uint32_t model_find(const struct model *model, uint32_t from, bool set)
{
	for (uint32_t i = from; i < model->bits; i++) {
		if (model->set[i] == set)
			return i;
	}
	return BITMAP_NONE;
}

static void model_check(const struct model *model, const struct bitmap *map)
{
	uint32_t count = 0;

	assert_int_equal(map->bits, model->bits);
	for (uint32_t i = 0; i < model->bits; i++) {
		assert_int_equal(bitmap_test(map, i), model->set[i]);
		count += model->set[i];
		assert_int_equal(bitmap_find_set(map, i), model_find(model, i, true));
		assert_int_equal(bitmap_find_clear(map, i), model_find(model, i, false));
	}
	assert_int_equal(map->count, count);
	assert_int_equal(bitmap_find_set(map, model->bits), BITMAP_NONE);
	assert_int_equal(bitmap_find_clear(map, model->bits), BITMAP_NONE);
}

static void model_step(struct model *model, struct bitmap *map)
{
	uint32_t bit = (uint32_t)random() % model->bits, count, more;

	switch (random() % 4) {
	case 0:
		assert_int_equal(bitmap_set(map, bit), !model->set[bit]);
		model->set[bit] = true;
		break;
	case 1:
		assert_int_equal(bitmap_clear(map, bit), model->set[bit]);
		model->set[bit] = false;
		break;
	case 2:
		count = (uint32_t)random() % (model->bits - bit + 1);
		bitmap_set_range(map, bit, count);
		memset(model->set + bit, true, count);
		break;
	default:
		more = (uint32_t)random() % 20;
		if (model->bits + more > BITS_MAX)
			break;
		assert_int_equal(bitmap_grow(map, model->bits + more), 0);
		model->bits += more;
	}
}

static void a_set_agrees_with_a_model(void **state)
{
	for (unsigned seed = 0; seed < 20; seed++) {
		struct model model = {.bits = 1 + seed * 37 % 300};
		struct bitmap map;

		srandom(seed);
		assert_int_equal(bitmap_init(&map, model.bits), 0);
		for (int step = 0; step < 60; step++) {
			model_step(&model, &map);
			model_check(&model, &map);
		}
		bitmap_fini(&map);
	}
}

static void bytes_hold_the_least_significant_bit_first_and_zeroes_past_the_end(void **state)
{
	uint8_t bytes[4] = {0xff, 0xff, 0xff, 0xff};
	struct bitmap map;

	assert_int_equal(bitmap_init(&map, 100), 0);
	bitmap_set_range(&map, 0, 3);
	bitmap_set_range(&map, 9, 10);
	bitmap_export(&map, 17, bytes);
	assert_int_equal(bytes[0], 0x07);
	assert_int_equal(bytes[1], 0xfe);
	assert_int_equal(bytes[2], 0x01); /* bit 17 and 18 lie past the end */
	assert_int_equal(bytes[3], 0xff);
	bitmap_fini(&map);
}

static void what_was_exported_is_imported_and_nothing_else(void **state)
{
	for (uint32_t bits = 0; bits < 200; bits++) {
		struct bitmap from, to;
		uint8_t bytes[25];

		memset(bytes, 0xff, sizeof(bytes));
		srandom(bits);
		assert_int_equal(bitmap_init(&from, 200), 0);
		assert_int_equal(bitmap_init(&to, 200), 0);
		bitmap_set_range(&to, 0, 200);
		for (uint32_t i = 0; i < 200; i++) {
			if (random() & 1)
				bitmap_set(&from, i);
		}
		bitmap_export(&from, bits, bytes);
		if (bits % 8)
			bytes[bits / 8] |= (uint8_t)(0xff << bits % 8);
		bitmap_import(&to, bytes, bits);
		for (uint32_t i = 0; i < 200; i++)
			assert_int_equal(bitmap_test(&to, i), i < bits ? bitmap_test(&from, i) : 1);
		assert_int_equal(to.count + bitmap_find_clear(&to, bits) + 1,
			to.count); /* all set from there */
		bitmap_fini(&from);
		bitmap_fini(&to);
	}
}

static size_t resident_pages(void)
{
	unsigned long total, resident = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	assert_non_null(statm);
	assert_int_equal(fscanf(statm, "%lu %lu", &total, &resident), 2);
	fclose(statm);
	return resident;
}

static void the_largest_set_takes_memory_only_where_it_was_written(void **state)
{
	size_t before = resident_pages();
	struct bitmap map;

	assert_int_equal(bitmap_init(&map, 10), 0);
	bitmap_set(&map, 9);
	assert_int_equal(bitmap_grow(&map, UINT32_MAX), 0);
	assert_true(bitmap_set(&map, UINT32_MAX - 1));
	assert_int_equal(map.count, 2);
	assert_int_equal(bitmap_find_set(&map, UINT32_MAX - 100), UINT32_MAX - 1);
	assert_int_equal(bitmap_find_clear(&map, UINT32_MAX - 1), BITMAP_NONE);
	assert_true(resident_pages() - before < 1000); /* all of it would be 131072 */
	bitmap_fini(&map);
}

static void an_empty_set_and_one_that_never_was_are_no_trouble(void **state)
{
	struct bitmap map, never = {0};

	bitmap_fini(&never);
	assert_int_equal(bitmap_init(&map, 0), 0);
	assert_int_equal(bitmap_find_clear(&map, 0), BITMAP_NONE);
	assert_int_equal(bitmap_find_set(&map, 0), BITMAP_NONE);
	assert_int_equal(bitmap_grow(&map, 65), 0);
	assert_int_equal(bitmap_find_clear(&map, 64), 64);
	bitmap_fini(&map);
	bitmap_fini(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_agrees_with_a_model),
		cmocka_unit_test(
			bytes_hold_the_least_significant_bit_first_and_zeroes_past_the_end),
		cmocka_unit_test(what_was_exported_is_imported_and_nothing_else),
		cmocka_unit_test(the_largest_set_takes_memory_only_where_it_was_written),
		cmocka_unit_test(an_empty_set_and_one_that_never_was_are_no_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
