/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice volume export: what is in a volume into a file.
 *
 * A volume that can be written is exported as it is at one moment: through a snapshot that goes
 * again. Only clusters are copied that the volume, or a snapshot that it stands on, has; the file
 * is sparse elsewhere. With --since only those count that were written after that snapshot, and
 * which they are is said behind the data (cli_impl.h), so that import can replay them.
 *
 * What was made is taken back when something fails: the file, the block device, the snapshot.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/endian.h"
#include "cli/cli_impl.h"

#define MAP_CLUSTERS (UINT64_C(1) << 24) /* of one answer */

const char volume_export_help[] =
	"usage: sluice volume export [OPTION...] STORE/VOLUME FILE\n"
	"\n"
	"Copies what is in a volume or snapshot to a new FILE, sparse. A volume that can be\n"
	"written is copied as it is now, whoever goes on writing it.\n"
	"\n"
	"      --format raw|qcow2 what FILE becomes (default: qcow2 if it ends in .qcow2); qcow2\n"
	"                         takes qemu-img\n"
	"      --since SNAPSHOT   only what was written after that snapshot of it; 'sluice volume\n"
	"                         import' replays it on a copy that holds what SNAPSHOT held\n"
	"  -f, --force            replace FILE if it exists\n";

struct exporting {
	struct volume_work *work;
	char *source; /* "store/name" */
	char *temporary; /* the snapshot that goes again; NULL: none */
	const json_t *since;
	const json_t *volume; /* that is read */
	uint64_t size_bytes;
	struct cluster_set set;
	char *path; /* of raw data */
	bool made_file;
	bool qcow2;
	char bdev[256];
	bool made_bdev;
};

/* ---- what is read ---------------------------------------------------------------------------- */

static bool volume_is_read_only(const struct exporting *exporting, const json_t *volume)
{
	return bdev_is_read_only(volume_bdev(exporting->work, volume));
}

static char *text_join(const char *a, const char *between, const char *b)
{
	json_t *text = json_sprintf("%s%s%s", a, between, b);
	char *copy = strdup(json_string_value(text));

	json_decref(text);
	return copy;
}

static bool snapshot_make(struct exporting *exporting, const json_t *volume)
{
	char *name = text_join("export", ".", json_member_text(volume, "uuid"));
	bool ok = volume_do(exporting->work, exporting->work->words[0], "bdev_lvol_snapshot",
		json_pack("{s:s, s:s}", "lvol_name", json_member_text(volume, "alias"),
			"snapshot_name", name));

	if (ok)
		exporting->temporary = text_join(volume_store_name(volume), "/", name);
	free(name);
	return ok && volumes_reload(exporting->work);
}

static bool source_find(struct exporting *exporting)
{
	struct volume_work *work = exporting->work;
	const json_t *volume = volume_find(work, work->words[0]);

	if (!volume)
		return false;
	if (json_is_true(json_object_get(volume, "is_degraded"))) {
		cli_error("%s is degraded, so it cannot be read: bring back the device that it is "
			  "a clone of",
			work->words[0]);
		return false;
	}
	if (!volume_is_read_only(exporting, volume) && !snapshot_make(exporting, volume))
		return false;
	volume = volume_find(work, exporting->temporary ? exporting->temporary : work->words[0]);
	exporting->volume = volume;
	exporting->size_bytes = (uint64_t)json_integer_value(volume ? volume_size(volume) : NULL);
	return volume != NULL;
}

/* ---- which clusters -------------------------------------------------------------------------- */

static bool map_add(struct exporting *exporting, const json_t *map, uint64_t first)
{
	struct cluster_set *set = &exporting->set;
	uint8_t *bits = malloc(MAP_CLUSTERS / 8);
	int64_t bytes =
		bits ? base64_decode(json_member_text(map, "fragmap"), bits, MAP_CLUSTERS / 8)
		     : -ENOMEM;

	for (int64_t i = 0; i < bytes * 8; i++) {
		if (bits[i / 8] >> (i % 8) & 1)
			cluster_set_add(set, (first + (uint64_t)i) * set->cluster_bytes, 1);
	}
	free(bits);
	if (bytes < 0)
		cli_error("the daemon's answer cannot be read: is it another program?");
	return bytes >= 0;
}

static bool volume_add(struct exporting *exporting, const json_t *volume)
{
	uint64_t cluster = exporting->set.cluster_bytes;
	uint64_t size = (uint64_t)json_integer_value(volume_size(volume));
	bool ok = true;

	for (uint64_t first = 0; ok && first * cluster < size; first += MAP_CLUSTERS) {
		uint64_t length = u64_min(MAP_CLUSTERS * cluster, size - first * cluster);
		json_t *map = volume_call(exporting->work, exporting->work->words[0],
			"bdev_lvol_get_fragmap",
			json_pack("{s:s, s:I, s:I}", "name", json_member_text(volume, "alias"),
				"offset", (json_int_t)(first * cluster), "size",
				(json_int_t)length));

		ok = map && map_add(exporting, map, first);
		json_decref(map);
	}
	return ok;
}

static const json_t *parent_of(const struct exporting *exporting, const json_t *volume)
{
	char *alias = text_join(volume_store_name(volume), "/", volume_parent(volume));
	size_t i;
	json_t *each, *found = NULL;

	json_array_foreach(exporting->work->volumes, i, each)
	{
		if (volume_parent(volume)[0] && strcmp(json_member_text(each, "alias"), alias) == 0)
			found = each;
	}
	free(alias);
	return found;
}

/* From the volume down to the snapshot that it is since, or to the last. */
static bool set_collect(struct exporting *exporting)
{
	const json_t *volume = exporting->volume;
	size_t depth = 0;
	bool foreign = false;

	while (volume && volume != exporting->since &&
		depth++ <= json_array_size(exporting->work->volumes)) {
		if (!volume_add(exporting, volume))
			return false;
		foreign = json_is_string(json_object_get(volume, "external_parent"));
		volume = parent_of(exporting, volume);
	}
	if (exporting->since && volume != exporting->since) {
		cli_error("%s does not stand on %s: name a snapshot that sluice volume list shows "
			  "above it",
			exporting->work->words[0], exporting->work->since);
		return false;
	}
	if (foreign)
		cluster_set_add(&exporting->set, 0, exporting->size_bytes);
	return true;
}

static bool since_find(struct exporting *exporting)
{
	const char *word = exporting->work->since;
	char *alias;

	if (!word)
		return true;
	alias = strchr(word, '/') ? strdup(word)
				  : text_join(volume_store_name(exporting->volume), "/", word);
	exporting->since = volume_find(exporting->work, alias);
	free(alias);
	return exporting->since != NULL;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool file_make(struct exporting *exporting)
{
	const char *file = exporting->work->words[1];
	const char *suffix = strrchr(file, '.');
	const char *format = exporting->work->format;
	int fd;

	exporting->qcow2 =
		format ? strcmp(format, "qcow2") == 0 : suffix && strcmp(suffix, ".qcow2") == 0;
	if (exporting->qcow2 && exporting->since) {
		cli_error("what is only a part of a volume is no qcow2 image: say --format raw");
		return false;
	}
	if (!exporting->work->force && access(file, F_OK) == 0) {
		cli_error("%s exists already: name another, or say --force to replace it", file);
		return false;
	}
	exporting->path = text_join(file, ".", exporting->qcow2 ? "raw" : "part");
	fd = open(exporting->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	exporting->made_file = fd >= 0;
	if (fd < 0 || ftruncate(fd, (off_t)exporting->size_bytes) < 0) {
		cli_error("%s cannot be made: %s", exporting->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	close(fd);
	return true;
}

/* Which snapshots, how large, which clusters. */
static json_t *increment_describe(const struct exporting *exporting)
{
	const struct cluster_set *set = &exporting->set;
	size_t bytes = set->count / 8 + 1;
	char *text = malloc(base64_length(bytes) + 1);
	json_t *described;

	if (!text)
		return NULL;
	base64_encode(set->bits, bytes, text);
	described = json_pack("{s:i, s:I, s:I, s:s, s:s, s:s, s:s, s:s}", "version", 1,
		"size_bytes", (json_int_t)exporting->size_bytes, "cluster_bytes",
		(json_int_t)set->cluster_bytes, "since", json_member_text(exporting->since, "uuid"),
		"since_name", json_member_text(exporting->since, "name"), "holds",
		json_member_text(exporting->volume, "uuid"), "holds_name",
		json_member_text(exporting->volume, "name"), "clusters", text);
	free(text);
	return described;
}

/* With spaces, so that the file has whole blocks. */
static bool increment_append(const struct exporting *exporting)
{
	json_t *described = increment_describe(exporting);
	char *text = described ? json_dumps(described, JSON_COMPACT) : NULL;
	uint8_t footer[INCREMENT_FOOTER_BYTES];
	FILE *file = text ? fopen(exporting->path, "ab") : NULL;
	uint64_t length = text ? strlen(text) + sizeof(footer) : 0, padded = align_up(length, 4096);
	bool ok = file != NULL;

	if (ok) {
		memcpy(footer, INCREMENT_SIGNATURE, 16);
		le64_put(footer + 16, padded - sizeof(footer));
		ok = fprintf(file, "%s%*s", text, (int)(padded - length), "") >= 0 &&
		     fwrite(footer, 1, sizeof(footer), file) == sizeof(footer);
		ok = fclose(file) == 0 && ok;
	}
	if (!ok)
		cli_error("%s cannot be finished: %s", exporting->path, strerror(errno));
	free(text);
	json_decref(described);
	return ok;
}

/* Until here nobody could take what is there for the whole. */
static bool file_finish(struct exporting *exporting)
{
	const char *file = exporting->work->words[1];
	const char *const convert[] = {
		"qemu-img", "convert", "-f", "raw", "-O", "qcow2", exporting->path, file, NULL};

	if (exporting->since && !increment_append(exporting))
		return false;
	if (exporting->qcow2)
		return qemu_img_run(convert);
	if (rename(exporting->path, file) == 0) {
		exporting->made_file = false;
		return true;
	}
	cli_error("%s cannot be named %s: %s", exporting->path, file, strerror(errno));
	return false;
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool export_copy(struct exporting *exporting)
{
	const json_t *bdev = volume_bdev(exporting->work, exporting->volume);
	uint32_t block = (uint32_t)json_integer_value(json_object_get(bdev, "block_size"));
	bool ok;

	exporting->made_bdev = copy_file_open(exporting->work, exporting->path, false, block,
		exporting->bdev, sizeof(exporting->bdev));
	ok = exporting->made_bdev &&
	     cluster_set_copy(exporting->work, &exporting->set, exporting->size_bytes,
		     json_member_text(exporting->volume, "alias"), exporting->bdev,
		     !exporting->since,
		     "the file's disk is full: make room there, or name a file elsewhere");
	if (exporting->made_bdev && !copy_file_close(exporting->work, exporting->bdev))
		ok = false;
	return ok;
}

bool volume_export_run(struct volume_work *work)
{
	struct exporting exporting = {.work = work};
	bool ok = source_find(&exporting) && since_find(&exporting) &&
		  cluster_set_init(&exporting.set,
			  store_cluster_bytes(work, volume_store_name(exporting.volume)),
			  exporting.size_bytes) &&
		  set_collect(&exporting) && file_make(&exporting) && export_copy(&exporting) &&
		  file_finish(&exporting);

	if (exporting.made_file)
		unlink(exporting.path);
	if (exporting.temporary && !volume_do(work, exporting.temporary, "bdev_lvol_delete",
					   json_pack("{s:s}", "name", exporting.temporary)))
		ok = false;
	cluster_set_fini(&exporting.set);
	free(exporting.temporary);
	free(exporting.path);
	return ok;
}
