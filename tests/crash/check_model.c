/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "crash/check_impl.h"

#define DATA_ONE_IN 4u /* blobs whose data is read by two readers */

int check_fault(struct check *check, const char *fmt, ...)
{
	va_list args;

	if (check->fault[0])
		return -1;
	va_start(args, fmt);
	vsnprintf(check->fault, sizeof(check->fault), fmt, args);
	va_end(args);
	return -1;
}

/* ---- the daemon and the image ---------------------------------------------------------------- */

static const struct check_blob *check_find(const struct check *check, uint64_t id)
{
	for (unsigned i = 0; i < check->num_blobs; i++)
		if (check->blobs[i].info.id == id)
			return &check->blobs[i];
	return NULL;
}

static int blob_against_image(
	struct check *check, const struct check_blob *blob, const struct store_image_blob *image)
{
	const struct blob_info *info = &blob->info;

	if (info->num_clusters != image->num_clusters ||
		info->num_allocated != image->num_allocated)
		return check_fault(check,
			"blob %" PRIx64 " has %" PRIu64 " clusters, %" PRIu64
			" allocated; on the disk %" PRIu64 " and %" PRIu64,
			info->id, info->num_clusters, info->num_allocated, image->num_clusters,
			image->num_allocated);
	if (info->thin != !!(image->invalid_flags & BLOBSTORE_THIN) ||
		info->read_only != !!(image->data_ro_flags & BLOBSTORE_READ_ONLY) ||
		info->esnap != !!(image->invalid_flags & BLOBSTORE_ESNAP) || info->broken)
		return check_fault(check, "the flags of blob %" PRIx64 " are others on the disk%s",
			info->id, info->broken ? ", and it is broken" : "");
	if (blob->parent != image->parent)
		return check_fault(
			check, "the parent of blob %" PRIx64 " is another on the disk", info->id);
	return 0;
}

/* A blob that is nobody's is told of elsewhere. */
static int check_cold(struct check *check, const struct store_image_blob *image)
{
	const struct model *model = &check->scenario->model;

	if (image->tag == 0 || image->tag > model->num_volumes)
		return 0;
	for (uint64_t i = 0; i < image->num_clusters; i++)
		if (image->clusters[i] &&
			!model_may_have_cluster(model->volumes[image->tag - 1], i))
			return check_fault(check,
				"cluster %" PRIu64 " of blob %" PRIx64 " was never written", i,
				image->id);
	return 0;
}

/* Where the daemon read, the independent reader sees the same bytes. */
static int cluster_against_image(struct check *check, const struct check_blob *blob,
	const struct store_image_blob *image, unsigned nth)
{
	const struct scenario *s = check->scenario;
	uint32_t first = model_hot_cluster(nth) * s->model.cluster_sectors;
	const uint8_t *buf = blob->buf + (size_t)nth * s->cluster_size;

	for (uint32_t at = 0; at < s->cluster_size; at += CRASH_PAGE_BYTES)
		if (memcmp(buf + at,
			    store_image_at(&check->store, image, first + at / MODEL_SECTOR),
			    CRASH_PAGE_BYTES) != 0)
			return check_fault(check,
				"one of the 8 sectors from %u of blob %" PRIx64
				" was read otherwise",
				first + at / MODEL_SECTOR, image->id);
	return 0;
}

static int data_against_image(
	struct check *check, const struct check_blob *blob, const struct store_image_blob *image)
{
	for (unsigned nth = 0; nth < MODEL_HOT; nth++)
		if (model_hot_cluster(nth) < image->num_clusters &&
			cluster_against_image(check, blob, image, nth))
			return -1;
	return 0;
}

int check_against_image(struct check *check)
{
	if (check->num_blobs != check->store.num_blobs)
		return check_fault(check, "%u blobs are listed, %u are on the disk",
			check->num_blobs, check->store.num_blobs);
	if (check->info.free_clusters != check->store.free_clusters)
		return check_fault(check,
			"%" PRIu64 " clusters are said to be free, %" PRIu64 " are",
			check->info.free_clusters, check->store.free_clusters);
	for (unsigned i = 0; i < check->store.num_blobs; i++) {
		const struct store_image_blob *image = &check->store.blobs[i];
		const struct check_blob *blob = check_find(check, image->id);

		if (!blob)
			return check_fault(
				check, "blob %" PRIx64 " is on the disk and not listed", image->id);
		if (blob_against_image(check, blob, image) || check_cold(check, image) ||
			data_against_image(check, blob, image))
			return -1;
	}
	return 0;
}

/* ---- what was found and the model ------------------------------------------------------------ */

static const struct store_image_blob *found_of_tag(const struct check_found *found, uint32_t tag)
{
	for (unsigned i = 0; i < found->num_blobs; i++)
		if (found->blobs[i].tag == tag)
			return &found->blobs[i];
	return NULL;
}

static const struct store_image_blob *found_of_id(const struct check_found *found, uint64_t id)
{
	for (unsigned i = 0; i < found->num_blobs; i++)
		if (found->blobs[i].id == id)
			return &found->blobs[i];
	return NULL;
}

static uint64_t found_facts(const struct check_found *found, const struct store_image_blob *image)
{
	const struct store_image_blob *parent = found_of_id(found, image->parent);

	return model_facts(parent ? parent->tag : 0, image->invalid_flags & BLOBSTORE_THIN,
		image->data_ro_flags & BLOBSTORE_READ_ONLY, image->invalid_flags & BLOBSTORE_ESNAP);
}

/* Told with all the values that it ever had. */
static int versions_fault(struct check *check, const struct model_volume *volume, const char *what,
	uint64_t value, const struct model_versions *versions)
{
	char text[300];
	size_t length = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < versions->count && length < sizeof(text); i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
			" %" PRIx64 " (%" PRIu64 "-%" PRIu64 ": %d)", versions->list[i].value,
			versions->list[i].span.called, versions->list[i].span.done,
			versions->list[i].span.rc);
	return check_fault(
		check, "volume %u has %s %" PRIx64 "; ever:%s", volume->tag, what, value, text);
}

static int volume_against_model(struct check *check, const struct check_found *found,
	const struct model_volume *volume, const struct store_image_blob *image)
{
	const struct model *model = &check->scenario->model;
	const uint32_t *ids =
		found->ids + (image - found->blobs) * MODEL_HOT * model->cluster_sectors;
	uint64_t now = check->now;
	char text[1000];

	if (!model_size_is_right(model, volume, image->num_clusters, now))
		return versions_fault(check, volume, "size", image->num_clusters,
			volume->origin ? &volume->origin->sizes : &volume->sizes);
	if (!model_versions_allow(&volume->names, image->name, now))
		return versions_fault(check, volume, "name", image->name, &volume->names);
	if (!model_versions_allow(&volume->facts, found_facts(found, image), now))
		return versions_fault(check, volume, "parent, thin, read-only",
			found_facts(found, image), &volume->facts);
	if (model_check_volume(model, volume, image->num_clusters, ids, text, sizeof(text)))
		return check_fault(check, "%s", text);
	return 0;
}

/* Of a store that is being replaced all volumes are there or none. */
static bool went_alone(const struct check *check, const struct check_found *found,
	const struct model_volume *volume)
{
	const struct scenario *s = check->scenario;

	return found->num_blobs > 0 && !model_span_must(&s->remade, check->now) &&
	       ((s->remade.called && volume->deleted.called == s->remade.called) ||
		       (s->destroyed.called && volume->deleted.called == s->destroyed.called));
}

static int model_against_found(
	struct check *check, const struct check_found *found, const struct model_volume *volume)
{
	const struct store_image_blob *image = found_of_tag(found, volume->tag);
	uint64_t now = check->now;

	if (!image && model_span_must(&volume->created, now) &&
		(!model_span_may(&volume->deleted, now) || went_alone(check, found, volume)))
		return check_fault(check, "volume %u is not there", volume->tag);
	if (!image)
		return 0;
	if (!model_span_may(&volume->created, now) || model_span_must(&volume->deleted, now))
		return check_fault(check, "volume %u is there", volume->tag);
	return volume_against_model(check, found, volume, image);
}

int check_against_model(struct check *check, const struct check_found *found)
{
	const struct model *model = &check->scenario->model;

	for (unsigned i = 0; i < found->num_blobs; i++) {
		uint32_t tag = found->blobs[i].tag;

		if (tag == 0 || tag > model->num_volumes ||
			found_of_tag(found, tag) != &found->blobs[i])
			return check_fault(check, "blob %" PRIx64 " is nobody's, its tag is %u",
				found->blobs[i].id, tag);
	}
	for (unsigned i = 0; i < model->num_volumes; i++)
		if (model_against_found(check, found, model->volumes[i]))
			return -1;
	return 0;
}
