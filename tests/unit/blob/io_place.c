/* SPDX-License-Identifier: BSD-2-Clause */
#include "io_place.h"

#include <stdlib.h>
#include <string.h>

static void place_register(void *arg)
{
	struct io_place *place = arg;

	assert_int_equal(gate_bdev_register(place->gate, place->world.registry, NULL), 0);
}

void io_place_open(struct io_place *place, uint64_t seed, const struct io_place_options *options)
{
	const struct gate_bdev_options gate = {
		.name = "base",
		.size_bytes = options->base_bytes ? options->base_bytes : 16 * MIB,
		.block_size = options->block_size ? options->block_size : 512,
		.physical_block_size = 4096,
		.max_iovcnt = options->max_iovcnt,
		.unsupported = options->unsupported,
	};
	const struct blob_store_create_options create = {
		.bstype = "TEST",
		.cluster_size = options->cluster_size ? options->cluster_size : 16 * KIB,
		.clear_method = BLOBSTORE_CLEAR_NONE,
		.md_pages_per_cluster_percent = options->md_percent,
	};
	unsigned char garbage[4096];

	memset(place, 0, sizeof(*place));
	memset(garbage, IO_GARBAGE, sizeof(garbage));
	place->cluster = create.cluster_size;
	world_start(&place->world, seed);
	place->gate = gate_bdev_create(&gate);
	for (uint64_t at = 0; at < gate.size_bytes; at += sizeof(garbage))
		gate_bdev_poke(place->gate, at, garbage, sizeof(garbage));
	host_call(&place->world.host, place->world.control, place_register, place);
	if (options->begin_bytes)
		world_set_size(&place->world, gate_bdev_of(place->gate), options->begin_bytes);
	assert_int_equal(
		volumes_create(&place->volumes, &place->world, gate_bdev_of(place->gate), &create),
		0);
}

void io_place_reload(struct io_place *place)
{
	assert_int_equal(volumes_close(&place->volumes), 0);
	assert_int_equal(
		volumes_load(&place->volumes, &place->world, gate_bdev_of(place->gate)), 0);
}

void io_place_close(struct io_place *place)
{
	assert_int_equal(volumes_close(&place->volumes), 0);
	assert_int_equal(world_unregister(&place->world, gate_bdev_of(place->gate)), 0);
	gate_bdev_destroy(place->gate);
	world_end(&place->world);
}

struct blob *io_place_find(struct io_place *place, uint64_t id)
{
	struct blob *blob = volumes_find(&place->volumes, id);

	assert_non_null(blob);
	if (!volume_is_shown(&place->volumes, blob))
		assert_int_equal(volume_show(&place->volumes, blob), 0);
	return blob;
}

uint64_t io_place_id(struct io_place *place, struct blob *blob)
{
	struct blob_info info;

	volume_info(&place->volumes, blob, &info);
	return info.id;
}

uint64_t io_place_allocated(struct io_place *place, struct blob *blob)
{
	struct blob_info info;

	volume_info(&place->volumes, blob, &info);
	return info.num_allocated;
}

uint64_t io_place_free(struct io_place *place)
{
	struct blob_store_info info;

	host_sleep(&place->world.host, 20 * MSEC_NS);
	volumes_info(&place->volumes, &info);
	return info.free_clusters;
}

/* ---- requests ----------------------------------------------------------- */

void io_request_begin(struct io_place *place, struct io_request *request, struct blob *blob,
	unsigned reactor, enum bdev_io_type type, uint8_t flags, uint64_t offset, uint64_t length,
	int byte)
{
	bool data = type == BDEV_IO_READ || type == BDEV_IO_WRITE;

	memset(request, 0, sizeof(*request));
	request->used = true;
	request->call.channel = volume_channel(&place->volumes, blob, reactor);
	request->call.io.type = type;
	request->call.io.flags = flags;
	request->call.io.offset = offset;
	request->call.io.length = length;
	if (data) {
		request->iov.iov_len = length;
		request->iov.iov_base = malloc(length);
		assert_non_null(request->iov.iov_base);
		memset(request->iov.iov_base, byte, length);
		request->call.io.iov = &request->iov;
		request->call.io.iovcnt = 1;
	}
	world_io_begin(&place->world, &request->call);
}

int io_request_finish(struct io_place *place, struct io_request *request)
{
	int rc = world_finish(&place->world, &request->call);

	free(request->iov.iov_base);
	request->iov.iov_base = NULL;
	request->used = false;
	return rc;
}

int io_request(struct io_place *place, struct blob *blob, unsigned reactor, enum bdev_io_type type,
	uint8_t flags, uint64_t offset, uint64_t length, int byte)
{
	struct io_request request;

	io_request_begin(place, &request, blob, reactor, type, flags, offset, length, byte);
	return io_request_finish(place, &request);
}

/* ---- what the base was asked -------------------------------------------- */

/* Requests of data reactors; metadata is the engine's. */
static bool record_counts(
	const struct io_place *place, const struct gate_record *record, enum bdev_io_type type)
{
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		if (record->reactor == place->world.data[i])
			return record->type == type;
	return false;
}

unsigned io_place_count(struct io_place *place, enum bdev_io_type type)
{
	struct gate_record record;
	unsigned count = 0;

	for (unsigned i = 0; i < gate_bdev_record_count(place->gate); i++) {
		gate_bdev_record_at(place->gate, i, &record);
		count += record_counts(place, &record, type);
	}
	return count;
}

struct gate_record io_place_record(struct io_place *place, enum bdev_io_type type, unsigned nth)
{
	struct gate_record record;

	for (unsigned i = 0; i < gate_bdev_record_count(place->gate); i++) {
		gate_bdev_record_at(place->gate, i, &record);
		if (record_counts(place, &record, type) && nth-- == 0)
			return record;
	}
	fail_msg("there is no such request");
	return record;
}
