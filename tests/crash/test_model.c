/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the crash tests hold for right (model.h), by histories of a few writes: each test names what
 * is allowed, and what next to it is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crash/model.h"

#define CLUSTER_SECTORS 8u
#define CLUSTERS        4u

struct desk {
	struct model model;
	struct model_volume *volume;
	uint64_t now;
	uint32_t ids[CLUSTER_SECTORS * CLUSTERS];
};

static struct model_volume *desk_add(
	struct desk *desk, struct model_volume *origin, struct model_volume *base)
{
	struct model_volume *volume =
		model_volume_add(&desk->model, CLUSTERS, 1, origin, base, ++desk->now);

	model_span_end(&volume->created, ++desk->now, 0);
	return volume;
}

static void desk_start(struct desk *desk)
{
	memset(desk, 0, sizeof(*desk));
	model_init(&desk->model, CLUSTER_SECTORS, CLUSTERS);
	desk->volume = desk_add(desk, NULL, NULL);
}

static uint32_t desk_begin(struct desk *desk, struct model_volume *volume, uint32_t sector)
{
	return model_write_begin(
		&desk->model, volume, MODEL_WRITE, sector, sector + 1, ++desk->now);
}

static void desk_end_write(struct desk *desk, uint32_t number)
{
	model_write_end(&desk->model, number, false, ++desk->now);
}

/* Its id. */
static uint32_t desk_write(struct desk *desk, struct model_volume *volume, uint32_t sector)
{
	uint32_t number = desk_begin(desk, volume, sector);

	desk_end_write(desk, number);
	return number + 1;
}

static void desk_flush(struct desk *desk, struct model_volume *volume)
{
	uint64_t called = ++desk->now;

	model_flush(&desk->model, volume, called, ++desk->now);
}

static void desk_cut(struct desk *desk)
{
	model_seal(&desk->model);
	model_set_cut(&desk->model, ++desk->now);
}

/* After the cut: the volume holds ids, and that in this sector. */
static bool desk_allows(
	struct desk *desk, const struct model_volume *volume, uint32_t sector, uint32_t id)
{
	char text[400];
	uint32_t old = desk->ids[sector];
	int rc;

	desk->ids[sector] = id;
	rc = model_check_volume(&desk->model, volume, CLUSTERS, desk->ids, text, sizeof(text));
	desk->ids[sector] = old;
	return rc == 0;
}

static void desk_end(struct desk *desk)
{
	model_fini(&desk->model);
}

static void the_last_flushed_write_or_a_later_one_is_there(void **state)
{
	struct desk desk;
	uint32_t first, second, third, fourth;

	desk_start(&desk);
	first = desk_write(&desk, desk.volume, 3);
	second = desk_write(&desk, desk.volume, 3);
	desk_flush(&desk, desk.volume);
	third = desk_write(&desk, desk.volume, 3);
	fourth = desk_begin(&desk, desk.volume, 3) + 1;
	desk_cut(&desk);
	assert_false(desk_allows(&desk, desk.volume, 3, MODEL_ZERO));
	assert_false(desk_allows(&desk, desk.volume, 3, first));
	assert_true(desk_allows(&desk, desk.volume, 3, second));
	assert_true(desk_allows(&desk, desk.volume, 3, third));
	assert_true(desk_allows(&desk, desk.volume, 3, fourth));
	assert_false(desk_allows(&desk, desk.volume, 3, MODEL_GARBAGE));
	desk_end(&desk);
}

static void writes_at_the_same_time_have_no_order(void **state)
{
	struct desk desk;
	uint32_t one, other;

	desk_start(&desk);
	one = desk_begin(&desk, desk.volume, 0);
	other = desk_begin(&desk, desk.volume, 0);
	desk_end_write(&desk, one);
	desk_end_write(&desk, other);
	desk_flush(&desk, desk.volume);
	desk_cut(&desk);
	assert_true(desk_allows(&desk, desk.volume, 0, one + 1));
	assert_true(desk_allows(&desk, desk.volume, 0, other + 1));
	assert_false(desk_allows(&desk, desk.volume, 0, MODEL_ZERO));
	desk_end(&desk);
}

static void a_flush_covers_what_was_acknowledged_when_it_was_called(void **state)
{
	struct desk desk;
	uint32_t write;
	uint64_t called;

	desk_start(&desk);
	write = desk_begin(&desk, desk.volume, 0);
	called = ++desk.now;
	desk_end_write(&desk, write);
	model_flush(&desk.model, desk.volume, called, ++desk.now);
	desk_cut(&desk);
	assert_true(desk_allows(&desk, desk.volume, 0, MODEL_ZERO));
	assert_true(desk_allows(&desk, desk.volume, 0, write + 1));
	desk_end(&desk);
}

static void another_volume_s_data_is_never_right(void **state)
{
	struct desk desk;
	struct model_volume *other;
	uint32_t foreign;

	desk_start(&desk);
	other = desk_add(&desk, NULL, NULL);
	foreign = desk_write(&desk, other, 0);
	desk_cut(&desk);
	assert_true(desk_allows(&desk, other, 0, foreign));
	assert_false(desk_allows(&desk, desk.volume, 0, foreign));
	desk_end(&desk);
}

static void a_sector_tells_its_write_and_its_place(void **state)
{
	struct desk desk;
	uint8_t data[MODEL_SECTOR];
	uint32_t id;

	desk_start(&desk);
	id = desk_write(&desk, desk.volume, 5);
	model_fill(&desk.model, id - 1, 5, data);
	assert_int_equal(model_recognize(&desk.model, 5, data), id);
	assert_int_equal(model_recognize(&desk.model, 6, data), MODEL_GARBAGE);
	data[511] ^= 1;
	assert_int_equal(model_recognize(&desk.model, 5, data), MODEL_GARBAGE);
	memset(data, 0, sizeof(data));
	assert_int_equal(model_recognize(&desk.model, 5, data), MODEL_ZERO);
	data[300] = 1;
	assert_int_equal(model_recognize(&desk.model, 5, data), MODEL_GARBAGE);
	desk_end(&desk);
}

static void a_snapshot_has_what_was_acknowledged_before_and_nothing_called_after(void **state)
{
	struct desk desk;
	struct model_volume *snapshot;
	uint32_t before, after;

	desk_start(&desk);
	before = desk_write(&desk, desk.volume, 0);
	snapshot = desk_add(&desk, desk.volume, NULL);
	after = desk_write(&desk, desk.volume, 0);
	desk_flush(&desk, desk.volume);
	desk_cut(&desk);
	assert_true(desk_allows(&desk, snapshot, 0, before));
	assert_false(desk_allows(&desk, snapshot, 0, after));
	assert_false(desk_allows(&desk, snapshot, 0, MODEL_ZERO));
	assert_false(desk_allows(&desk, desk.volume, 0, before));
	desk_end(&desk);
}

static void a_snapshot_is_of_one_moment(void **state)
{
	struct desk desk;
	struct model_volume *snapshot;
	uint32_t earlier, later;

	desk_start(&desk);
	snapshot = model_volume_add(&desk.model, CLUSTERS, 2, desk.volume, NULL, ++desk.now);
	earlier = desk_write(&desk, desk.volume, 0);
	later = desk_write(&desk, desk.volume, 9);
	model_span_end(&snapshot->created, ++desk.now, 0);
	desk_cut(&desk);
	assert_true(desk_allows(&desk, snapshot, 0, earlier));
	assert_false(desk_allows(&desk, snapshot, 9, later)); /* without the earlier one */
	desk.ids[0] = earlier;
	assert_true(desk_allows(&desk, snapshot, 9, later));
	desk_end(&desk);
}

static void a_clone_shows_its_snapshot_until_it_is_written(void **state)
{
	struct desk desk;
	struct model_volume *snapshot, *clone;
	uint32_t below, own, after;

	desk_start(&desk);
	below = desk_write(&desk, desk.volume, 0);
	snapshot = desk_add(&desk, desk.volume, NULL);
	clone = desk_add(&desk, NULL, snapshot);
	after = desk_write(&desk, desk.volume, 1);
	own = desk_write(&desk, clone, 1);
	desk_flush(&desk, clone);
	desk_cut(&desk);
	desk.ids[0] = below;
	desk.ids[1] = own;
	assert_true(desk_allows(&desk, clone, 0, below));
	assert_false(desk_allows(&desk, clone, 0, MODEL_ZERO));
	assert_false(desk_allows(&desk, clone, 1, MODEL_ZERO));
	assert_false(desk_allows(&desk, clone, 1, after));
	desk_end(&desk);
}

static void what_a_shrink_has_cut_off_is_zero_once_it_was_answered(void **state)
{
	struct desk desk;
	struct model_span *span;
	uint32_t lost;

	desk_start(&desk);
	lost = desk_write(&desk, desk.volume, 30);
	desk_flush(&desk, desk.volume);
	span = model_versions_add(&desk.volume->sizes, 2, ++desk.now);
	model_span_end(span, ++desk.now, 0);
	model_trim(&desk.model, desk.volume, 2, span);
	model_span_end(
		model_versions_add(&desk.volume->sizes, CLUSTERS, desk.now + 1), desk.now + 2, 0);
	desk.now += 2;
	desk_cut(&desk);
	assert_true(model_size_is_right(&desk.model, desk.volume, CLUSTERS, desk.now));
	assert_false(model_size_is_right(&desk.model, desk.volume, 2, desk.now));
	assert_true(desk_allows(&desk, desk.volume, 30, MODEL_ZERO));
	assert_false(desk_allows(&desk, desk.volume, 30, lost));
	desk_end(&desk);
}

static void a_shrink_under_way_leaves_all_or_takes_all(void **state)
{
	struct desk desk;
	struct model_span *span;
	uint32_t kept;
	uint64_t cut;

	desk_start(&desk);
	kept = desk_write(&desk, desk.volume, 30);
	desk_flush(&desk, desk.volume);
	span = model_versions_add(&desk.volume->sizes, 2, ++desk.now);
	cut = ++desk.now;
	model_span_end(span, ++desk.now, 0);
	model_trim(&desk.model, desk.volume, 2, span);
	model_seal(&desk.model);
	model_set_cut(&desk.model, cut);
	assert_true(model_size_is_right(&desk.model, desk.volume, CLUSTERS, cut));
	assert_true(model_size_is_right(&desk.model, desk.volume, 2, cut));
	assert_true(desk_allows(&desk, desk.volume, 30, kept));
	assert_false(desk_allows(&desk, desk.volume, 30, MODEL_ZERO));
	desk_end(&desk);
}

static void a_new_parent_takes_all_sectors_or_none(void **state)
{
	struct desk desk;
	struct model_volume *snapshot, *orphan;
	uint32_t one, other;
	uint64_t cut;

	desk_start(&desk);
	one = desk_write(&desk, desk.volume, 0);
	other = desk_write(&desk, desk.volume, 1);
	snapshot = desk_add(&desk, desk.volume, NULL);
	orphan = desk_add(&desk, NULL, NULL);
	(void)model_versions_add(&orphan->bases, snapshot->tag, ++desk.now);
	cut = ++desk.now;
	model_seal(&desk.model);
	model_set_cut(&desk.model, cut);
	assert_true(desk_allows(&desk, orphan, 2, MODEL_ZERO));
	assert_false(desk_allows(&desk, orphan, 0, one));
	desk.ids[1] = other;
	assert_true(desk_allows(&desk, orphan, 0, one));
	assert_false(desk_allows(&desk, orphan, 0, MODEL_ZERO));
	desk_end(&desk);
}

static void an_operation_is_there_once_it_was_answered(void **state)
{
	struct model_span span = {.called = 10};

	assert_false(model_span_may(&span, 9));
	assert_true(model_span_may(&span, 10));
	assert_false(model_span_must(&span, 10));
	model_span_end(&span, 20, 0);
	assert_false(model_span_must(&span, 19));
	assert_true(model_span_must(&span, 20));
	model_span_end(&span, 20, -1);
	assert_true(model_span_may(&span, 19));
	assert_false(model_span_may(&span, 20));
}

static void what_a_thick_volume_had_stays_with_who_takes_its_clusters(void **state)
{
	struct desk desk;
	struct model_volume *snapshot, *clone;

	desk_start(&desk);
	desk.volume->was_thick = true;
	snapshot = desk_add(&desk, desk.volume, NULL);
	clone = desk_add(&desk, NULL, snapshot);
	clone->had_parent = true;
	assert_true(model_may_have_cluster(desk.volume, MODEL_THICK_MAX - 1));
	assert_true(model_may_have_cluster(snapshot, MODEL_THICK_MAX - 1));
	assert_true(model_may_have_cluster(clone, MODEL_THICK_MAX - 1));
	assert_false(model_may_have_cluster(clone, MODEL_THICK_MAX));
	desk_end(&desk);
}

static void a_thin_volume_has_no_cluster_that_nobody_writes(void **state)
{
	struct desk desk;

	desk_start(&desk);
	assert_true(model_may_have_cluster(desk.volume, 0));
	assert_true(model_may_have_cluster(desk.volume, 1024));
	assert_false(model_may_have_cluster(desk.volume, MODEL_HOT_FIRST));
	assert_false(model_may_have_cluster(desk.volume, 513));
	desk_end(&desk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_flushed_write_or_a_later_one_is_there),
		cmocka_unit_test(writes_at_the_same_time_have_no_order),
		cmocka_unit_test(a_flush_covers_what_was_acknowledged_when_it_was_called),
		cmocka_unit_test(another_volume_s_data_is_never_right),
		cmocka_unit_test(a_sector_tells_its_write_and_its_place),
		cmocka_unit_test(
			a_snapshot_has_what_was_acknowledged_before_and_nothing_called_after),
		cmocka_unit_test(a_snapshot_is_of_one_moment),
		cmocka_unit_test(a_clone_shows_its_snapshot_until_it_is_written),
		cmocka_unit_test(what_a_shrink_has_cut_off_is_zero_once_it_was_answered),
		cmocka_unit_test(a_shrink_under_way_leaves_all_or_takes_all),
		cmocka_unit_test(a_new_parent_takes_all_sectors_or_none),
		cmocka_unit_test(an_operation_is_there_once_it_was_answered),
		cmocka_unit_test(what_a_thick_volume_had_stays_with_who_takes_its_clusters),
		cmocka_unit_test(a_thin_volume_has_no_cluster_that_nobody_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
