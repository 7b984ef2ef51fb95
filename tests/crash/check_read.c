/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/check_impl.h"

static const struct {
	uint32_t first, end; /* clusters: model_is_hot */
} hot_runs[CHECK_READS] = {{0, 6}, {511, 513}, {1023, 1025}};

/* ---- one blob -------------------------------------------------------------------------------- */

static void recognize(struct check_read *read)
{
	const struct model *model = &read->blob->check->scenario->model;
	uint32_t first = (uint32_t)(read->io.offset / MODEL_SECTOR);
	const uint8_t *data = read->iov.iov_base;
	uint32_t *ids = read->blob->ids + (size_t)(data - read->blob->buf) / MODEL_SECTOR;

	for (uint32_t i = 0; i < read->io.length / MODEL_SECTOR; i++)
		ids[i] = model_recognize(model, first + i, data + (uint64_t)i * MODEL_SECTOR);
}

static void read_done(struct bdev_io *io)
{
	struct check_read *read = container_of(io, struct check_read, io);
	struct check_blob *blob = read->blob;

	if (io->status)
		blob->status = io->status;
	else
		recognize(read);
	if (--blob->pending == 0)
		blob->done(blob->arg, blob->status);
}

/* A sector that is not read after all is recognized as garbage. */
static void spoil(uint8_t *buf, size_t length)
{
	for (size_t at = 0; at < length; at += MODEL_SECTOR)
		memset(buf + at, 0xee, sizeof(uint64_t));
}

/* Every blob has its first cluster. */
static void blob_read(struct check_blob *blob, done_fn done, void *arg)
{
	uint32_t cluster_size = blob->check->scenario->cluster_size;
	uint8_t *buf = blob->buf;

	blob->done = done;
	blob->arg = arg;
	blob->status = 0;
	for (unsigned i = 0; i < CHECK_READS; i++) {
		struct check_read *read = &blob->reads[i];
		uint64_t end = u64_min(hot_runs[i].end, blob->info.num_clusters);

		if (hot_runs[i].first >= end)
			continue;
		read->blob = blob;
		read->iov.iov_base = buf;
		read->iov.iov_len = (end - hot_runs[i].first) * cluster_size;
		buf += read->iov.iov_len;
		spoil(read->iov.iov_base, read->iov.iov_len);
		read->io = (struct bdev_io){.type = BDEV_IO_READ,
			.iov = &read->iov,
			.iovcnt = 1,
			.offset = (uint64_t)hot_runs[i].first * cluster_size,
			.length = read->iov.iov_len,
			.done = read_done};
		blob->pending++;
	}
	for (unsigned i = 0; i < CHECK_READS; i++)
		if (hot_runs[i].first < blob->info.num_clusters)
			bdev_submit(blob->volume.channels[0], &blob->reads[i].io);
}

static enum flow_result blob_read_run(struct flow *f)
{
	struct check_blob *blob = container_of(f, struct check_blob, flow);

	FLOW_BEGIN(f);
	AWAIT(f, volume_open(&blob->volume, &blob->check->world, blob->blob,
			 &blob->check->world.control, 1, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, blob_read(blob, flow_resume, f));
	AWAIT(f, volume_close(&blob->volume, flow_resume, f));
finish:
	if (f->error)
		check_fault(blob->check, "blob %llx cannot be read: %d",
			(unsigned long long)blob->info.id, f->error);
	if (--blob->check->reading == 0)
		store_call_done(blob->check->read_call, 0);
	FLOW_END(f);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void blob_list(struct blob *of, void *arg)
{
	struct check *check = arg;
	const struct scenario *s = check->scenario;
	struct check_blob *blob = &check->blobs[check->num_blobs++];
	struct blob_info parent;

	assert_true(check->num_blobs <= STORE_IMAGE_BLOBS_MAX);
	blob->check = check;
	blob->blob = of;
	blob_get_info(of, &blob->info);
	store_world_lend_foreign(&check->world, of);
	blob->parent = BLOBSTORE_NO_BLOB;
	if (blob->info.parent) {
		blob_get_info(blob->info.parent, &parent);
		blob->parent = parent.id;
	}
	if (blob->ids)
		return;
	blob->ids = calloc(MODEL_HOT * s->model.cluster_sectors, sizeof(*blob->ids));
	blob->buf = aligned_alloc(4096, (size_t)MODEL_HOT * s->cluster_size);
	assert_non_null(blob->ids);
	assert_non_null(blob->buf);
}

static void list_all(struct check *check)
{
	check->num_blobs = 0;
	blob_store_get_info(check->world.store, &check->info);
	blob_for_each(check->world.store, blob_list, check);
}

static void list_run(struct store_call *call)
{
	list_all(call->arg);
	store_call_done(call, 0);
}

static void read_run(struct store_call *call)
{
	struct check *check = call->arg;

	list_all(check);
	check->reading = 1;
	check->read_call = call;
	for (unsigned i = 0; i < check->num_blobs; i++) {
		check->reading++;
		check->blobs[i].flow = (struct flow){0};
		flow_start(
			&check->blobs[i].flow, check->world.control, "check_read", blob_read_run);
	}
	if (--check->reading == 0)
		store_call_done(call, 0);
}

static int check_call(struct check *check, void (*run)(struct store_call *call), const char *what)
{
	struct store_call call = {.run = run, .arg = check};

	store_call_begin(&check->world, &call);
	if (store_call_wait(&call))
		return check->fault[0] ? -1 : 0;
	fprintf(stderr, "%s does not end\n", what);
	assert_true(false);
	return -1;
}

int check_list(struct check *check)
{
	return check_call(check, list_run, "listing");
}

int check_read_all(struct check *check)
{
	return check_call(check, read_run, "reading");
}
