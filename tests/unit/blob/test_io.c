/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What requests for volumes cost on the device below, and what they leave there.
 */
#include "io_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER (16 * KIB)
#define ALL     ((unsigned)((1u << BDEV_IO_TYPES) - 1))

static const struct io_place_options usual;

static struct blob *thin(struct io_place *place, uint64_t clusters)
{
	struct blob *blob;

	assert_int_equal(volume_create(&place->volumes, clusters, true, &blob), 0);
	/* The channel is there and the reserve has been asked for once. */
	assert_int_equal(volume_write(&place->volumes, blob, 0, 0, place->cluster, 'x'), 0);
	gate_bdev_forget(place->gate);
	return blob;
}

static bool holds(struct io_place *place, struct blob *blob, uint64_t from, uint64_t to, int byte)
{
	return volume_holds(&place->volumes, blob, from, to - from, byte);
}

static void assert_requests(
	struct io_place *place, unsigned reads, unsigned writes, unsigned zeroes)
{
	assert_int_equal(io_place_count(place, BDEV_IO_READ), reads);
	assert_int_equal(io_place_count(place, BDEV_IO_WRITE), writes);
	assert_int_equal(io_place_count(place, BDEV_IO_WRITE_ZEROES), zeroes);
}

/* ---- allocated ---------------------------------------------------------- */

static void a_request_for_an_allocated_cluster_is_one_request_below(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 4);
	assert_int_equal(io_request(&place, blob, 0, BDEV_IO_WRITE, 0, 512, 1024, 'y'), 0);
	assert_requests(&place, 0, 1, 0);
	assert_int_equal(io_place_record(&place, BDEV_IO_WRITE, 0).length, 1024);
	assert_int_equal(io_place_record(&place, BDEV_IO_WRITE, 0).offset % CLUSTER, 512);
	assert_true(holds(&place, blob, 512, 1536, 'y'));
	assert_requests(&place, 1, 1, 0);
	assert_int_equal(io_request(&place, blob, 0, BDEV_IO_FLUSH, 0, 0, 0, 0), 0);
	assert_int_equal(io_place_count(&place, BDEV_IO_FLUSH), 1);
	io_place_close(&place);
}

static void what_was_never_written_is_not_read_below(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 600);
	assert_true(holds(&place, blob, CLUSTER, 600 * CLUSTER, 0));
	assert_requests(&place, 0, 0, 0);
	io_place_close(&place);
}

/* ---- first writes ------------------------------------------------------- */

/* What a first write on reactor 0 made the device do, in order: D data, M metadata, by pages, F a
 * flush. */
static void requests_in_order(struct io_place *place, char *ret_text, size_t size)
{
	size_t at = 0;

	for (unsigned i = 0; i < gate_bdev_record_count(place->gate) && at + 8 < size; i++) {
		struct gate_record record;

		gate_bdev_record_at(place->gate, i, &record);
		if (record.type == BDEV_IO_FLUSH)
			at += (size_t)snprintf(ret_text + at, size - at, "F ");
		else if (record.type == BDEV_IO_WRITE && record.reactor == place->world.data[0])
			at += (size_t)snprintf(ret_text + at, size - at, "D ");
		else if (record.type == BDEV_IO_WRITE)
			at += (size_t)snprintf(
				ret_text + at, size - at, "M%u ", (unsigned)(record.length / 4096));
	}
}

static void assert_first_write(
	struct io_place *place, struct blob *blob, uint64_t slot, const char *wanted)
{
	char found[256] = "";

	gate_bdev_forget(place->gate);
	assert_int_equal(
		io_request(place, blob, 0, BDEV_IO_WRITE, 0, slot * 512 * CLUSTER, 512, 'y'), 0);
	requests_in_order(place, found, sizeof(found));
	assert_string_equal(found, wanted);
}

/* Data and fresh extent pages, a flush for both, and what refers to them: the root. */
static void a_first_write_anywhere_costs_one_flush(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, UINT64_C(200) * 512);
	assert_first_write(&place, blob, 7, "D M1 F M1 ");
	assert_first_write(&place, blob, 11, "D M1 F M1 ");
	io_place_close(&place);
}

static void extent_pages_come_with_those_of_their_neighbours(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(
		&place, 1, &(struct io_place_options){.base_bytes = 64 * MIB, .md_percent = 200});
	blob = thin(&place, UINT64_C(200) * 512);
	assert_first_write(&place, blob, 100, "D M16 M16 M16 M16 F M1 ");
	assert_first_write(&place, blob, 101, "D F M1 ");
	io_place_close(&place);
}

static void overwriting_a_whole_cluster_writes_only_that(void **state)
{
	struct io_place place;
	struct blob *blob, *snapshot;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 4);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	gate_bdev_forget(place.gate);
	assert_int_equal(io_request(&place, blob, 0, BDEV_IO_WRITE, 0, 0, CLUSTER, 'y'), 0);
	assert_requests(&place, 0, 1, 0);
	assert_true(holds(&place, blob, 0, CLUSTER, 'y'));
	assert_true(holds(&place, snapshot, 0, CLUSTER, 'x'));
	io_place_close(&place);
}

static void a_first_write_over_nothing_is_one_write_of_zeroes_and_data(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 4);
	assert_int_equal(
		io_request(&place, blob, 0, BDEV_IO_WRITE, 0, CLUSTER + 4096, 1024, 'y'), 0);
	assert_requests(&place, 0, 1, 0);
	assert_int_equal(io_place_record(&place, BDEV_IO_WRITE, 0).length, CLUSTER);
	assert_true(holds(&place, blob, CLUSTER, CLUSTER + 4096, 0));
	assert_true(holds(&place, blob, CLUSTER + 4096, CLUSTER + 5120, 'y'));
	assert_true(holds(&place, blob, CLUSTER + 5120, 4 * CLUSTER, 0));
	io_place_close(&place);
}

static void a_first_write_over_data_reads_the_rest_and_writes_once(void **state)
{
	struct io_place place;
	struct blob *blob, *snapshot;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 4);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	gate_bdev_forget(place.gate);
	assert_int_equal(io_request(&place, blob, 0, BDEV_IO_WRITE, 0, 4096, 1024, 'y'), 0);
	assert_requests(&place, 2, 1, 0);
	assert_int_equal(io_place_record(&place, BDEV_IO_READ, 0).length, 4096);
	assert_int_equal(io_place_record(&place, BDEV_IO_READ, 1).length, CLUSTER - 5120);
	assert_int_equal(io_place_record(&place, BDEV_IO_WRITE, 0).length, CLUSTER);
	/* One that ends with the cluster has one part to read. */
	gate_bdev_forget(place.gate);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	assert_int_equal(io_request(&place, blob, 0, BDEV_IO_WRITE, 0, CLUSTER - 512, 512, 'z'), 0);
	assert_requests(&place, 1, 1, 0);
	assert_true(holds(&place, blob, 0, 4096, 'x'));
	assert_true(holds(&place, blob, 4096, 5120, 'y'));
	assert_true(holds(&place, blob, 5120, CLUSTER - 512, 'x'));
	assert_true(holds(&place, blob, CLUSTER - 512, CLUSTER, 'z'));
	io_place_close(&place);
}

static void a_large_cluster_over_nothing_is_zeroed_beside_its_data(void **state)
{
	const struct io_place_options options = {.cluster_size = 512 * KIB, .base_bytes = 32 * MIB};
	struct io_place place;
	struct blob *blob;
	uint64_t end = 2 * 512 * KIB;

	io_place_open(&place, 1, &options);
	blob = thin(&place, 2);
	assert_int_equal(
		io_request(&place, blob, 0, BDEV_IO_WRITE, 0, end / 2 + 8192, 4096, 'y'), 0);
	assert_requests(&place, 0, 1, 2);
	assert_true(holds(&place, blob, end / 2, end / 2 + 8192, 0));
	assert_true(holds(&place, blob, end / 2 + 8192, end / 2 + 12288, 'y'));
	assert_true(holds(&place, blob, end / 2 + 12288, end, 0));
	io_place_close(&place);
}

/* Zeroes are written out where the device has no WRITE_ZEROES, data is copied a step at a time. */
static void clusters_larger_than_a_step_are_allocated(void **state)
{
	const struct io_place_options options = {
		.cluster_size = 3 * MIB,
		.base_bytes = 64 * MIB,
		.md_percent = 1000,
		.unsupported = 1u << BDEV_IO_WRITE_ZEROES | 1u << BDEV_IO_UNMAP,
	};
	struct io_place place;
	struct blob *blob, *snapshot;
	const uint64_t at = 3 * MIB + MIB - 8192;

	io_place_open(&place, 1, &options);
	blob = thin(&place, 2);
	for (unsigned i = 0; i < 2; i++) {
		int byte = i ? 'z' : 'y';

		gate_bdev_forget(place.gate);
		assert_int_equal(io_request(&place, blob, 0, BDEV_IO_WRITE, 0, at, 16384, byte), 0);
		assert_requests(&place, i ? 3 : 0, i ? 3 : 12, 0);
		assert_true(holds(&place, blob, 3 * MIB, at, 0));
		assert_true(holds(&place, blob, at, at + 16384, byte));
		assert_true(holds(&place, blob, at + 16384, 6 * MIB, 0));
		assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	}
	assert_true(holds(&place, blob, 0, 3 * MIB, 'x'));
	io_place_close(&place);
}

static void requests_for_a_cluster_that_is_being_allocated_wait_for_it(void **state)
{
	HOST_FOR_EACH_SEED(seed, 30)
	{
		struct io_request requests[16];
		struct io_place place;
		struct blob *blob;

		io_place_open(&place, seed, &usual);
		blob = thin(&place, 4);
		gate_bdev_hold(place.gate, true);
		gate_bdev_hold_types(place.gate, 1u << BDEV_IO_WRITE);
		for (unsigned i = 0; i < 16; i++)
			io_request_begin(&place, &requests[i], blob, i % 2, BDEV_IO_WRITE, 0,
				CLUSTER + i * 1024, 1024, 'a' + (int)i);
		host_sleep(&place.world.host, MSEC_NS);
		assert_int_equal(gate_bdev_held(place.gate), 2); /* one a channel */
		gate_bdev_hold(place.gate, false);
		gate_bdev_release_all(place.gate, 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(io_request_finish(&place, &requests[i]), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_true(holds(&place, blob, CLUSTER + i * 1024,
				CLUSTER + i * 1024 + 1024, 'a' + (int)i));
		assert_int_equal(io_place_allocated(&place, blob), 2);
		io_place_close(&place);
	}
}

/* ---- shapes ------------------------------------------------------------- */

/* Vectors of odd lengths over many clusters whose size is no power of two. */
static void long_requests_are_cut_at_clusters_wherever_vectors_end(void **state)
{
	const struct io_place_options options = {.cluster_size = 20 * KIB};
	const uint64_t length = 45 * 20 * KIB - 1024;
	struct io_place place;
	struct blob *blob;
	uint8_t *out = malloc(length), *in = malloc(length);
	struct iovec iov[1200];
	uint64_t at = 0;
	unsigned count = 0;

	assert_non_null(out);
	assert_non_null(in);
	for (; at < length; count++) {
		uint64_t part = u64_min(length - at, count % 3 ? 1537 + count : 11);

		iov[count] = (struct iovec){.iov_base = out + at, .iov_len = part};
		at += part;
	}
	for (uint64_t i = 0; i < length; i++)
		out[i] = (uint8_t)(i * 7 + i / 512);
	io_place_open(&place, 1, &options);
	blob = thin(&place, 46);
	assert_int_equal(world_io(&place.world, volume_channel(&place.volumes, blob, 0),
				 BDEV_IO_WRITE, 0, iov, count, 512, length),
		0);
	for (unsigned i = 0; i < count; i++)
		iov[i].iov_base = in + ((uint8_t *)iov[i].iov_base - out);
	assert_int_equal(world_io(&place.world, volume_channel(&place.volumes, blob, 1),
				 BDEV_IO_READ, 0, iov, count, 512, length),
		0);
	assert_memory_equal(in, out, length);
	io_place_close(&place);
	free(in);
	free(out);
}

/* The volume takes as many vectors as the device below; what is around the guest's needs more. */
static void a_first_write_of_as_many_vectors_as_may_be_is_gathered(void **state)
{
	const struct io_place_options options = {.max_iovcnt = 4};
	uint8_t buf[4096];
	struct iovec iov[4];
	struct io_place place;
	struct blob *blob, *snapshot;

	io_place_open(&place, 1, &options);
	blob = thin(&place, 4);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)('a' + i / 1024);
	for (unsigned i = 0; i < 4; i++)
		iov[i] = (struct iovec){.iov_base = buf + 1024 * i, .iov_len = 1024};
	for (uint64_t at = 8192; at < 2 * CLUSTER; at += CLUSTER) { /* over data, over nothing */
		int below = at < CLUSTER ? 'x' : 0;

		assert_int_equal(world_io(&place.world, volume_channel(&place.volumes, blob, 0),
					 BDEV_IO_WRITE, 0, iov, 4, at, 4096),
			0);
		assert_true(holds(&place, blob, at - 8192, at, below));
		for (unsigned i = 0; i < 4; i++)
			assert_true(holds(
				&place, blob, at + i * 1024, at + i * 1024 + 1024, 'a' + (int)i));
		assert_true(holds(&place, blob, at + 4096, at + 8192, below));
	}
	io_place_close(&place);
}

static void a_shorter_parent_reads_zeroes_beyond_its_end(void **state)
{
	struct io_place place;
	struct blob *blob, *first, *second;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 8);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 0, 8 * CLUSTER, 'a'), 0);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &first), 0);
	assert_int_equal(volume_resize(&place.volumes, blob, 4), 0);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &second), 0);
	assert_int_equal(volume_resize(&place.volumes, blob, 12), 0);
	assert_true(holds(&place, blob, 0, 4 * CLUSTER, 'a'));
	assert_true(holds(&place, blob, 4 * CLUSTER, 12 * CLUSTER, 0));
	assert_int_equal(volume_write(&place.volumes, blob, 0, 5 * CLUSTER + 512, 512, 'b'), 0);
	assert_true(holds(&place, blob, 5 * CLUSTER, 5 * CLUSTER + 512, 0));
	assert_true(holds(&place, blob, 5 * CLUSTER + 1024, 6 * CLUSTER, 0));
	io_place_close(&place);
}

static void a_read_only_volume_refuses_to_change(void **state)
{
	struct io_place place;
	struct blob *blob, *snapshot;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 4);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	assert_int_equal(volume_write(&place.volumes, snapshot, 0, 0, 512, 'b'), -EROFS);
	assert_int_equal(volume_write(&place.volumes, snapshot, 0, CLUSTER, 512, 'b'), -EROFS);
	assert_int_equal(
		volume_clear(&place.volumes, snapshot, 0, BDEV_IO_UNMAP, 0, CLUSTER), -EROFS);
	assert_int_equal(
		volume_clear(&place.volumes, snapshot, 0, BDEV_IO_WRITE_ZEROES, 0, 512), -EROFS);
	assert_int_equal(volume_clear(&place.volumes, snapshot, 0, BDEV_IO_FLUSH, 0, 0), 0);
	assert_true(holds(&place, snapshot, 0, CLUSTER, 'x'));
	io_place_close(&place);
}

/* ---- what is stable ----------------------------------------------------- */

static void fua_is_stable_with_the_entry_of_its_cluster(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 8);
	/* Allocates by itself. */
	assert_int_equal(
		io_request(&place, blob, 0, BDEV_IO_WRITE, BDEV_IO_FUA, CLUSTER, 512, 'y'), 0);
	assert_true(gate_bdev_is_stable(place.gate, 0, 16 * MIB));
	/* Another write has allocated before, on another channel. */
	assert_int_equal(volume_write(&place.volumes, blob, 1, 2 * CLUSTER, 512, 'y'), 0);
	assert_false(gate_bdev_is_stable(place.gate, 0, 16 * MIB));
	assert_int_equal(
		io_request(&place, blob, 0, BDEV_IO_WRITE, BDEV_IO_FUA, 2 * CLUSTER, 512, 'z'), 0);
	assert_true(gate_bdev_is_stable(place.gate, 0, 16 * MIB));
	/* Nothing was allocated since: the data alone, and no flush. */
	gate_bdev_forget(place.gate);
	assert_int_equal(
		io_request(&place, blob, 0, BDEV_IO_WRITE, BDEV_IO_FUA, 2 * CLUSTER, 512, 'w'), 0);
	assert_int_equal(io_place_count(&place, BDEV_IO_FLUSH), 0);
	assert_true(gate_bdev_is_stable(place.gate, 0, 16 * MIB));
	io_place_close(&place);
}

/* ---- discards ----------------------------------------------------------- */

static void unmapped_clusters_are_free_and_read_zeroes(void **state)
{
	const enum bdev_io_type types[] = {BDEV_IO_UNMAP, BDEV_IO_WRITE_ZEROES};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct io_place place;
		struct blob *blob;
		uint64_t before;

		io_place_open(&place, 1, &usual);
		assert_int_equal(volume_create(&place.volumes, 8, true, &blob), 0);
		before = io_place_free(&place);
		assert_int_equal(volume_write(&place.volumes, blob, 0, 0, 8 * CLUSTER, 'x'), 0);
		assert_int_equal(io_place_free(&place), before - 8);
		assert_int_equal(volume_clear(&place.volumes, blob, 1, types[i], CLUSTER - 512,
					 3 * CLUSTER + 1024),
			0);
		assert_int_equal(io_place_allocated(&place, blob), 5);
		assert_int_equal(io_place_free(&place), before - 5);
		assert_true(holds(&place, blob, 0, CLUSTER - 512, 'x'));
		assert_true(holds(&place, blob, CLUSTER - 512, 4 * CLUSTER + 512, 0));
		assert_true(holds(&place, blob, 4 * CLUSTER + 512, 8 * CLUSTER, 'x'));
		assert_int_equal(
			volume_clear(&place.volumes, blob, 1, types[i], 0, 8 * CLUSTER), 0);
		assert_int_equal(io_place_free(&place), before);
		assert_true(holds(&place, blob, 0, 8 * CLUSTER, 0));
		io_place_close(&place);
	}
}

static void a_range_that_must_stay_allocated_does(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 4);
	assert_int_equal(
		io_request(&place, blob, 0, BDEV_IO_WRITE_ZEROES, BDEV_IO_NO_UNMAP, 0, CLUSTER, 0),
		0);
	assert_int_equal(io_place_allocated(&place, blob), 1);
	assert_true(holds(&place, blob, 0, CLUSTER, 0));
	io_place_close(&place);
}

/* Neither what the clone had itself nor what the snapshot has comes back. */
static void discards_of_a_clone_never_show_older_data(void **state)
{
	struct io_place place;
	struct blob *blob, *snapshot;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 8);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 0, 4 * CLUSTER, 'a'), 0);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 0, 2 * CLUSTER, 'b'), 0);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 6 * CLUSTER, CLUSTER, 'b'), 0);
	assert_int_equal(io_place_allocated(&place, blob), 3);
	assert_int_equal(volume_clear(&place.volumes, blob, 1, BDEV_IO_UNMAP, 0, 8 * CLUSTER), 0);
	assert_true(holds(&place, blob, 0, 2 * CLUSTER, 0));
	assert_true(holds(&place, blob, 2 * CLUSTER, 4 * CLUSTER, 'a')); /* was not its own */
	assert_true(holds(&place, blob, 4 * CLUSTER, 8 * CLUSTER, 0));
	assert_int_equal(io_place_allocated(&place, blob), 2); /* 6 had nothing below */
	assert_int_equal(
		volume_clear(&place.volumes, blob, 1, BDEV_IO_WRITE_ZEROES, 0, 8 * CLUSTER), 0);
	assert_true(holds(&place, blob, 0, 8 * CLUSTER, 0));
	assert_int_equal(io_place_allocated(&place, blob), 4);
	assert_true(holds(&place, snapshot, 0, 4 * CLUSTER, 'a'));
	io_place_close(&place);
}

static void assert_extent(struct io_place *place, struct blob *blob, uint64_t offset,
	uint64_t wanted, enum bdev_extent_state state)
{
	struct bdev_extent extent = world_extent(&place->world,
		volume_channel(&place->volumes, blob, 0), offset, 8 * CLUSTER - offset);

	assert_int_equal(extent.length, wanted);
	assert_int_equal(extent.state, state);
}

/* Also what it has from its parent. */
static void a_volume_tells_which_clusters_have_data(void **state)
{
	struct io_place place;
	struct blob *blob, *snapshot;

	io_place_open(&place, 1, &usual);
	assert_int_equal(volume_create(&place.volumes, 8, true, &blob), 0);
	assert_extent(&place, blob, 0, 8 * CLUSTER, BDEV_EXTENT_DEALLOCATED);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 2 * CLUSTER + 512, 512, 'a'), 0);
	assert_extent(&place, blob, 512, 2 * CLUSTER - 512, BDEV_EXTENT_DEALLOCATED);
	assert_extent(&place, blob, 2 * CLUSTER + 512, CLUSTER - 512, BDEV_EXTENT_MAPPED);
	assert_extent(&place, blob, 3 * CLUSTER, 5 * CLUSTER, BDEV_EXTENT_DEALLOCATED);
	assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 3 * CLUSTER, CLUSTER, 'b'), 0);
	assert_extent(&place, blob, 2 * CLUSTER, 2 * CLUSTER, BDEV_EXTENT_MAPPED);
	assert_extent(&place, snapshot, 3 * CLUSTER, 5 * CLUSTER, BDEV_EXTENT_DEALLOCATED);
	assert_int_equal(
		volume_clear(&place.volumes, blob, 0, BDEV_IO_UNMAP, 3 * CLUSTER, CLUSTER), 0);
	assert_extent(&place, blob, 3 * CLUSTER, 5 * CLUSTER, BDEV_EXTENT_DEALLOCATED);
	io_place_close(&place);
}

static void a_thick_volume_keeps_its_clusters(void **state)
{
	struct io_place place;
	struct blob *blob;

	io_place_open(&place, 1, &usual);
	assert_int_equal(volume_create(&place.volumes, 8, false, &blob), 0);
	assert_int_equal(volume_write(&place.volumes, blob, 0, 0, 8 * CLUSTER, 'x'), 0);
	assert_int_equal(volume_clear(&place.volumes, blob, 0, BDEV_IO_UNMAP, 0, 4 * CLUSTER), 0);
	assert_int_equal(volume_clear(&place.volumes, blob, 0, BDEV_IO_WRITE_ZEROES, 4 * CLUSTER,
				 4 * CLUSTER),
		0);
	assert_int_equal(io_place_allocated(&place, blob), 8);
	assert_true(holds(&place, blob, 0, 8 * CLUSTER, 0));
	io_place_close(&place);
}

/* Nobody reads through a cluster that has become another's. */
static void a_discard_waits_for_requests_that_are_under_way(void **state)
{
	HOST_FOR_EACH_SEED(seed, 30)
	{
		struct io_request read, unmap;
		struct io_place place;
		struct blob *blob;

		io_place_open(&place, seed, &usual);
		blob = thin(&place, 4);
		volume_channel(&place.volumes, blob, 1);
		gate_bdev_hold(place.gate, true);
		gate_bdev_hold_types(place.gate, 1u << BDEV_IO_READ);
		io_request_begin(&place, &read, blob, 0, BDEV_IO_READ, 0, 0, CLUSTER, 0);
		host_sleep(&place.world.host, MSEC_NS);
		io_request_begin(&place, &unmap, blob, 1, BDEV_IO_UNMAP, 0, 0, CLUSTER, 0);
		host_sleep(&place.world.host, 10 * MSEC_NS);
		assert_false(atomic_load(&unmap.call.ended));
		assert_int_equal(io_place_allocated(&place, blob), 1);
		gate_bdev_hold(place.gate, false);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(io_request_finish(&place, &unmap), 0);
		assert_int_equal(io_request_finish(&place, &read), 0);
		assert_int_equal(io_place_allocated(&place, blob), 0);
		io_place_close(&place);
	}
}

/* ---- failures ----------------------------------------------------------- */

/* Each request of a first write over data fails once; then it works, and nothing has been lost. */
static void a_failed_first_write_leaves_what_was_there(void **state)
{
	const unsigned types[] = {1u << BDEV_IO_READ, 1u << BDEV_IO_WRITE};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct io_place place;
		struct blob *blob, *snapshot;
		uint64_t before, id;

		io_place_open(&place, 1, &usual);
		blob = thin(&place, 4);
		assert_int_equal(volume_snapshot(&place.volumes, blob, &snapshot), 0);
		before = io_place_free(&place);
		gate_bdev_fail(place.gate, types[i], 0, 16 * MIB, -EIO, 1);
		assert_int_equal(volume_write(&place.volumes, blob, 0, 4096, 512, 'y'), -EIO);
		assert_true(holds(&place, blob, 0, CLUSTER, 'x'));
		assert_int_equal(io_place_free(&place), before);
		assert_int_equal(volume_write(&place.volumes, blob, 0, 4096, 512, 'y'), 0);
		assert_true(holds(&place, blob, 4096, 4608, 'y'));
		assert_int_equal(io_place_free(&place), before - 1);
		id = io_place_id(&place, blob);
		io_place_reload(&place);
		assert_int_equal(io_place_free(&place), before - 1);
		assert_true(holds(&place, io_place_find(&place, id), 4096, 4608, 'y'));
		io_place_close(&place);
	}
}

/* The metadata's writes come from the engine: the second write of a first write. */
static void a_record_that_cannot_be_written_fails_the_write(void **state)
{
	struct io_place place;
	struct blob *blob;
	uint64_t before;

	io_place_open(&place, 1, &usual);
	blob = thin(&place, 4);
	before = io_place_free(&place);
	gate_bdev_fail(place.gate, 1u << BDEV_IO_FLUSH, 0, 16 * MIB, -EIO, 1);
	assert_int_equal(volume_write(&place.volumes, blob, 0, CLUSTER, 512, 'y'), -EIO);
	assert_true(holds(&place, blob, CLUSTER, 2 * CLUSTER, 0));
	assert_int_equal(io_place_free(&place), before);
	assert_int_equal(volume_write(&place.volumes, blob, 0, CLUSTER, 512, 'y'), 0);
	assert_int_equal(io_place_free(&place), before - 1);
	io_place_close(&place);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_for_an_allocated_cluster_is_one_request_below),
		cmocka_unit_test(what_was_never_written_is_not_read_below),
		cmocka_unit_test(a_first_write_anywhere_costs_one_flush),
		cmocka_unit_test(extent_pages_come_with_those_of_their_neighbours),
		cmocka_unit_test(overwriting_a_whole_cluster_writes_only_that),
		cmocka_unit_test(a_first_write_over_nothing_is_one_write_of_zeroes_and_data),
		cmocka_unit_test(a_first_write_over_data_reads_the_rest_and_writes_once),
		cmocka_unit_test(a_large_cluster_over_nothing_is_zeroed_beside_its_data),
		cmocka_unit_test(clusters_larger_than_a_step_are_allocated),
		cmocka_unit_test(requests_for_a_cluster_that_is_being_allocated_wait_for_it),
		cmocka_unit_test(long_requests_are_cut_at_clusters_wherever_vectors_end),
		cmocka_unit_test(a_first_write_of_as_many_vectors_as_may_be_is_gathered),
		cmocka_unit_test(a_shorter_parent_reads_zeroes_beyond_its_end),
		cmocka_unit_test(a_read_only_volume_refuses_to_change),
		cmocka_unit_test(fua_is_stable_with_the_entry_of_its_cluster),
		cmocka_unit_test(unmapped_clusters_are_free_and_read_zeroes),
		cmocka_unit_test(a_range_that_must_stay_allocated_does),
		cmocka_unit_test(discards_of_a_clone_never_show_older_data),
		cmocka_unit_test(a_volume_tells_which_clusters_have_data),
		cmocka_unit_test(a_thick_volume_keeps_its_clusters),
		cmocka_unit_test(a_discard_waits_for_requests_that_are_under_way),
		cmocka_unit_test(a_failed_first_write_leaves_what_was_there),
		cmocka_unit_test(a_record_that_cannot_be_written_fails_the_write),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
