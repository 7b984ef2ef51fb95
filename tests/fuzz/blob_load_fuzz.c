/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any changes to the metadata of a volume store: the loader takes what is left of it or refuses it
 * with a reason, and neither hangs nor touches what it must not. What it takes can be listed, read
 * and closed, and opens again as it was closed.
 *
 * The stores are those that the power-cut tests make, with snapshots, clones and a clone of a
 * foreign device. An input begins with a byte that says which store and how it is treated; then
 * come changes: a page of the metadata, the place in it, how many bytes, and these. Checksums of
 * changed pages are made right, unless the first byte says otherwise, since nobody guesses one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "blob/format.h"
#include "crash/scenario.h"
#include "crash/store_image.h"
#include "crash/volume.h"
#include "md_model.h"

#define STORES    4u
#define BLOBS_MAX 64u
#define READ_MAX  (64 * KIB)

enum treat {
	TREAT_STORE = 0x03,
	TREAT_UNCLEAN = 0x04,
	TREAT_CHECKSUMS = 0x08, /* they are left wrong */
};

struct load {
	struct store_world world;
	struct scenario *scenario;
	struct crash_image image;
	uint32_t pages; /* up to the end of the metadata */
	uint32_t md_start;
};

struct listed {
	struct blob *blobs[BLOBS_MAX];
	unsigned count;
};

static struct load loads[STORES];
static uint8_t memory[READ_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the stores ------------------------------------------------------------------------------ */

static void loads_end(void)
{
	for (unsigned i = 0; i < STORES; i++) {
		if (!loads[i].scenario)
			continue;
		store_world_end(&loads[i].world);
		crash_image_fini(&loads[i].image);
		scenario_fini(loads[i].scenario);
		free(loads[i].scenario);
	}
}

static struct load *load_get(unsigned which)
{
	static bool ends;
	/* A snapshot, a deleted one, a foreign clone; alone. And the first beside I/O. */
	static const uint64_t numbers[STORES] = {SCENARIO_SNAPSHOT, SCENARIO_DELETE_SNAPSHOT,
		SCENARIO_CREATE_ESNAP, SCENARIO_OPS + SCENARIO_SNAPSHOT};
	struct load *load = &loads[which];
	struct blobstore_super super;

	if (load->scenario)
		return load;
	log_set_level(LOG_ERROR);
	load->scenario = calloc(1, sizeof(*load->scenario));
	invariant(load->scenario);
	scenario_run(load->scenario, numbers[which], CRASH_HONEST, 0, 1);
	invariant(!load->scenario->fault[0]);
	crash_image_read(&load->scenario->image, 0, &super, sizeof(super));
	load->md_start = le32toh(super.md_start);
	load->pages = (uint32_t)(store_image_md_end(&load->scenario->image) / CRASH_PAGE_BYTES);
	crash_image_init(&load->image, &load->scenario->image, load->scenario->size_bytes);
	store_world_start(&load->world, which, &load->scenario->disk_options, &load->image,
		&load->scenario->foreign, 0);
	if (!ends)
		invariant(atexit(loads_end) == 0);
	ends = true;
	return load;
}

/* ---- the changes ----------------------------------------------------------------------------- */

static void page_make_right(struct load *load, uint32_t index)
{
	struct blobstore_page page;

	if (index && index < load->md_start)
		return;
	crash_image_read(&load->image, (uint64_t)index * CRASH_PAGE_BYTES, &page, sizeof(page));
	page.crc = htole32(page_checksum(&page));
	crash_image_write(&load->image, (uint64_t)index * CRASH_PAGE_BYTES, &page, sizeof(page));
}

static void super_make_unclean(struct load *load)
{
	static const uint32_t unclean;

	crash_image_write(
		&load->image, offsetof(struct blobstore_super, clean), &unclean, sizeof(unclean));
	page_make_right(load, 0);
}

static void changes_make(struct load *load, uint8_t treat, const uint8_t *data, size_t size)
{
	while (size > 4) {
		uint32_t index = data[0] % load->pages;
		uint32_t within = (data[1] | (uint32_t)data[2] << 8) % CRASH_PAGE_BYTES;
		size_t bytes =
			u64_min(u64_min(data[3] % 64 + 1u, size - 4), CRASH_PAGE_BYTES - within);

		crash_image_write(
			&load->image, (uint64_t)index * CRASH_PAGE_BYTES + within, data + 4, bytes);
		if (!(treat & TREAT_CHECKSUMS))
			page_make_right(load, index);
		data += 4 + bytes;
		size -= 4 + bytes;
	}
	if (treat & TREAT_UNCLEAN)
		super_make_unclean(load);
}

/* ---- what can be loaded ---------------------------------------------------------------------- */

static void blob_add(struct blob *blob, void *arg)
{
	struct listed *listed = arg;

	if (listed->count < BLOBS_MAX)
		listed->blobs[listed->count++] = blob;
}

static void list_run(struct store_call *call)
{
	blob_for_each(call->world->store, blob_add, call->arg);
	store_call_done(call, 0);
}

struct reading {
	struct store_call call;
	struct volume volume;
	struct blob *blob;
	struct bdev_io io;
	struct iovec iov;
};

static struct reading *reading_of(struct store_call *call)
{
	return container_of(call, struct reading, call);
}

static void open_run(struct store_call *call)
{
	struct reading *reading = reading_of(call);

	store_world_lend_foreign(call->world, reading->blob);
	volume_open(&reading->volume, call->world, reading->blob, &call->world->control, 1,
		store_call_done, call);
}

static void read_done(struct bdev_io *io)
{
	store_call_done(&container_of(io, struct reading, io)->call, io->status);
}

static void read_run(struct store_call *call)
{
	struct reading *reading = reading_of(call);

	bdev_submit(reading->volume.channels[0], &reading->io);
}

static void close_run(struct store_call *call)
{
	volume_close(&reading_of(call)->volume, store_call_done, call);
}

static void blob_read(struct load *load, struct blob *blob)
{
	struct reading reading = {.call.run = open_run, .blob = blob};
	struct blob_info info;

	blob_get_info(blob, &info);
	if (!info.num_clusters || store_call_run(&load->world, &reading.call))
		return;
	reading.iov = (struct iovec){memory, u64_min(READ_MAX, reading.volume.bdev.size_bytes)};
	reading.io = (struct bdev_io){.type = BDEV_IO_READ,
		.iov = &reading.iov,
		.iovcnt = 1,
		.length = reading.iov.iov_len,
		.done = read_done};
	reading.call.run = read_run;
	(void)store_call_run(&load->world, &reading.call);
	reading.call.run = close_run;
	invariant(store_call_run(&load->world, &reading.call) == 0);
}

/* False: it was refused. */
static bool store_visit(struct load *load)
{
	struct reason reason = {0};
	struct listed listed = {0};
	struct store_call list = {.run = list_run, .arg = &listed};

	if (store_world_load(&load->world, &reason) != 0) {
		invariant(reason.text[0]);
		load->world.store = NULL;
		return false;
	}
	invariant(store_call_run(&load->world, &list) == 0);
	for (unsigned i = 0; i < listed.count; i++)
		blob_read(load, listed.blobs[i]);
	invariant(store_world_close(&load->world) == 0);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct load *load;

	if (size < 1)
		return -1;
	load = load_get(data[0] & TREAT_STORE);
	crash_image_reset(&load->image, &load->scenario->image);
	crash_disk_set(&load->world.disk, &load->image, NULL, 0);
	changes_make(load, data[0], data + 1, size - 1);
	if (store_visit(load))
		invariant(store_visit(load));
	return 0;
}
