/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice volume import: what is in a file into a volume.
 *
 * A whole image makes a new thin volume, of which only what is not zero is written. An increment
 * (volume_export.c) is replayed on a volume that is there: what it holds is remembered in an
 * attribute of the volume, so that one left out, or taken twice, is noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/endian.h"
#include "cli/cli_impl.h"

#define HOLDS_XATTR    "sluice.holds" /* UUID of the snapshot whose contents were imported */
#define INCREMENT_MAX  (64 * MIB) /* of what is said behind the data */
#define IMPORT_GRANULE (64 * KIB)
#define ERROR_NO_XATTR -32603

const char volume_import_help[] =
	"usage: sluice volume import [OPTION...] STORE/VOLUME FILE\n"
	"\n"
	"Makes a thin volume of what is in FILE: a raw image or block device, or with qemu-img an\n"
	"image of another format. Of an export with --since what changed is replayed on a volume\n"
	"that is there and holds what the snapshot held.\n"
	"\n"
	"  -f, --force            replay it on a volume that is said to hold something else\n"
	"      --sector-size SIZE of a new volume: 512 or 4096. As a GPT in the image was made "
	"for,\n"
	"                         else 512\n";

struct importing {
	struct volume_work *work;
	const char *path; /* raw data */
	char *converted; /* removed in the end; NULL: none */
	json_t *increment; /* NULL: a whole image */
	uint64_t size_bytes;
	uint32_t sector_bytes; /* that the image was made for */
	struct cluster_set set;
	char *alias; /* of the volume */
	bool made_volume;
	char bdev[256];
};

/* ---- the file -------------------------------------------------------------------------------- */

/* NULL: it is none, or after a sentence when *ret_ok is false. */
static json_t *increment_read(int fd, const char *path, uint64_t file_bytes, bool *ret_ok)
{
	uint8_t footer[INCREMENT_FOOTER_BYTES];
	json_t *increment = NULL;
	uint64_t length;
	char *text;

	*ret_ok = true;
	if (file_bytes < sizeof(footer) ||
		pread(fd, footer, sizeof(footer), (off_t)(file_bytes - sizeof(footer))) !=
			(ssize_t)sizeof(footer) ||
		memcmp(footer, INCREMENT_SIGNATURE, 16) != 0)
		return NULL;
	length = le64_get(footer + 16);
	text = length < INCREMENT_MAX && length <= file_bytes - sizeof(footer) ? malloc(length)
									       : NULL;
	if (text && pread(fd, text, length, (off_t)(file_bytes - sizeof(footer) - length)) ==
			    (ssize_t)length)
		increment = json_loadb(text, length, 0, NULL);
	free(text);
	*ret_ok = json_is_object(increment) &&
		  json_integer_value(json_object_get(increment, "version")) == 1;
	if (!*ret_ok)
		cli_error("%s is an increment that cannot be read: export it again", path);
	return increment;
}

static bool set_from_increment(struct importing *importing)
{
	const json_t *increment = importing->increment;
	json_int_t size = json_integer_value(json_object_get(increment, "size_bytes"));
	json_int_t cluster = json_integer_value(json_object_get(increment, "cluster_bytes"));
	struct cluster_set *set = &importing->set;

	if (size <= 0 || cluster < 4096 || size % 512 || (uint64_t)size / 4096 > UINT32_MAX) {
		cli_error(
			"%s is an increment that cannot be read: export it again", importing->path);
		return false;
	}
	importing->size_bytes = (uint64_t)size;
	if (!cluster_set_init(set, (uint64_t)cluster, importing->size_bytes))
		return false;
	if (base64_decode(json_member_text(increment, "clusters"), set->bits, set->count / 8 + 1) >=
		0)
		return true;
	cli_error("%s is an increment that cannot be read: export it again", importing->path);
	return false;
}

/* Where the file is not a hole. */
static bool set_from_data(struct importing *importing, int fd)
{
	off_t data = 0, hole, size = (off_t)importing->size_bytes;

	if (!cluster_set_init(&importing->set, IMPORT_GRANULE, importing->size_bytes))
		return false;
	while (data < size) {
		off_t next = lseek(fd, data, SEEK_DATA);

		if (next < 0 && errno == ENXIO)
			break;
		data = next < 0 ? data : next;
		hole = lseek(fd, data, SEEK_HOLE);
		hole = hole < 0 ? size : hole;
		cluster_set_add(&importing->set, (uint64_t)data, (uint64_t)(hole - data));
		data = hole;
	}
	return true;
}

/* The header of a GPT is the second sector. */
static bool file_has_gpt(int fd, uint32_t sector_bytes)
{
	char signature[8];

	return pread(fd, signature, sizeof(signature), sector_bytes) == sizeof(signature) &&
	       memcmp(signature, "EFI PART", sizeof(signature)) == 0;
}

static uint32_t file_sector_bytes(int fd)
{
	if (!file_has_gpt(fd, SECTOR_BYTES_DEFAULT) && file_has_gpt(fd, SECTOR_BYTES_LARGE))
		return SECTOR_BYTES_LARGE;
	return SECTOR_BYTES_DEFAULT;
}

static bool file_read(struct importing *importing)
{
	int fd = open(importing->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	bool ok = end > 0;

	if (!ok)
		cli_error("%s cannot be read: %s", importing->path,
			end == 0 ? "it is empty" : strerror(errno));
	if (ok)
		importing->increment = increment_read(fd, importing->path, (uint64_t)end, &ok);
	importing->size_bytes = (uint64_t)end;
	importing->sector_bytes = file_sector_bytes(fd);
	if (ok)
		ok = importing->increment ? set_from_increment(importing)
					  : set_from_data(importing, fd);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool file_convert(struct importing *importing)
{
	const char *format = image_format_of(importing->path);
	const char *convert[] = {
		"qemu-img", "convert", "-f", format, "-O", "raw", importing->path, NULL, NULL};

	if (!format)
		return true;
	if (asprintf(&importing->converted, "%s.raw-%d", importing->path, (int)getpid()) < 0) {
		importing->converted = NULL;
		return false;
	}
	convert[7] = importing->converted;
	importing->path = importing->converted;
	return qemu_img_run(convert);
}

/* ---- the volume ------------------------------------------------------------------------------ */

/* Ours has sectors as asked, others those of the device below. */
static bool file_check_sectors(struct importing *importing, const json_t *store)
{
	json_int_t block = json_integer_value(json_object_get(store, "block_size"));

	if (client_is_ours(importing->work->client))
		block = importing->work->sector_bytes ? importing->work->sector_bytes
						      : importing->sector_bytes;
	if (block <= 0 || importing->size_bytes % (uint64_t)block == 0)
		return true;
	cli_error("%s has %" PRIu64 " bytes, and a volume has whole sectors of %d: "
		  "make it longer with 'truncate -s %%%d %s'",
		importing->path, importing->size_bytes, (int)block, (int)block, importing->path);
	return false;
}

static bool volume_make(struct importing *importing)
{
	struct volume_work *work = importing->work;
	const char *slash = strchr(work->words[0], '/');
	char *name = slash ? strndup(work->words[0], (size_t)(slash - work->words[0])) : NULL;
	const json_t *store = NULL;
	json_t *params;

	if (slash)
		store = name ? store_find(work, name) : NULL;
	else
		cli_error("%s does not say in which store: say STORE/VOLUME", work->words[0]);
	free(name);
	if (!store || !file_check_sectors(importing, store) ||
		!volume_new_name(work->words[0], json_member_text(store, "name")))
		return false;
	params = json_pack("{s:s, s:s, s:b}", "lvol_name", slash + 1, "uuid",
		json_member_text(store, "uuid"), "thin_provision", 1);
	volume_size_set(params, importing->size_bytes);
	if (!volume_sectors_set(work, params, store, importing->sector_bytes)) {
		json_decref(params);
		return false;
	}
	importing->made_volume = volume_do(work, work->words[0], "bdev_lvol_create", params);
	importing->alias = strdup(work->words[0]);
	return importing->made_volume && importing->alias;
}

/* "" when nothing is remembered; NULL after a sentence. The caller frees it. */
static char *volume_holds(struct importing *importing)
{
	json_t *value = client_call(importing->work->client, "bdev_lvol_get_xattr",
		json_pack("{s:s, s:s}", "name", importing->alias, "xattr_name", HOLDS_XATTR));
	char *holds = NULL;

	if (value)
		holds = strdup(json_is_string(value) ? json_string_value(value) : "");
	else if (client_error_code(importing->work->client) == ERROR_NO_XATTR)
		holds = strdup("");
	else
		cli_error("%s: %s", importing->alias, client_error_text(importing->work->client));
	json_decref(value);
	return holds;
}

static bool volume_check_holds(struct importing *importing)
{
	const char *since = json_member_text(importing->increment, "since");
	char *holds = volume_holds(importing);
	bool ok = holds && (!holds[0] || strcmp(holds, since) == 0 || importing->work->force);

	if (holds && !ok)
		cli_error("%s holds what snapshot %s held, and %s is what changed since %s (%s): "
			  "import those in between first, or say --force",
			importing->alias, holds, importing->path,
			json_member_text(importing->increment, "since_name"), since);
	free(holds);
	return ok;
}

static bool volume_check_size(struct importing *importing, const json_t *volume)
{
	uint64_t size = (uint64_t)json_integer_value(volume_size(volume));
	json_t *params;

	if (size >= importing->size_bytes)
		return true;
	params = json_pack("{s:s}", "name", importing->alias);
	volume_size_set(params, importing->size_bytes);
	return volume_do(importing->work, importing->alias, "bdev_lvol_resize", params);
}

static bool volume_take(struct importing *importing)
{
	const json_t *volume = volume_find(importing->work, importing->work->words[0]);

	if (!volume)
		return false;
	importing->alias = strdup(json_member_text(volume, "alias"));
	return importing->alias && volume_check_holds(importing) &&
	       bdev_check_unattached(
		       importing->work, volume_bdev(importing->work, volume), importing->alias) &&
	       volume_check_size(importing, volume);
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool import_copy(struct importing *importing)
{
	struct volume_work *work = importing->work;
	bool ok;

	if (!copy_file_open(
		    work, importing->path, true, 0, importing->bdev, sizeof(importing->bdev)))
		return false;
	ok = cluster_set_copy(work, &importing->set, importing->size_bytes, importing->bdev,
		importing->alias, !importing->increment,
		"the store is full: make it larger with 'sluice store grow', or delete what is not "
		"needed");
	return copy_file_close(work, importing->bdev) && ok;
}

static bool import_remember(struct importing *importing)
{
	return !importing->increment ||
	       volume_do(importing->work, importing->alias, "bdev_lvol_set_xattr",
		       json_pack("{s:s, s:s, s:s}", "name", importing->alias, "xattr_name",
			       HOLDS_XATTR, "xattr_value",
			       json_member_text(importing->increment, "holds")));
}

bool volume_import_run(struct volume_work *work)
{
	struct importing importing = {.work = work, .path = work->words[1]};
	bool ok = file_convert(&importing) && file_read(&importing);

	ok = ok && (importing.increment ? volume_take(&importing) : volume_make(&importing)) &&
	     import_copy(&importing) && import_remember(&importing);
	if (!ok && importing.made_volume)
		json_decref(client_call(work->client, "bdev_lvol_delete",
			json_pack("{s:s}", "name", importing.alias)));
	if (importing.converted)
		unlink(importing.converted);
	cluster_set_fini(&importing.set);
	json_decref(importing.increment);
	free(importing.converted);
	free(importing.alias);
	return ok;
}
