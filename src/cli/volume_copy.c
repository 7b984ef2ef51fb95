/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What export and import share. The daemon copies, since the store is its own: it gets a block
 * device over the file for as long as that takes (bdev_copy). Only what is in a set of clusters is
 * copied; the set is asked for in parts, so that progress can be shown and no request of the daemon
 * takes long.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli_impl.h"

#define PART_BYTES  (64 * MIB)
#define PART_RANGES 1000

extern char **environ;

/* ---- sets ------------------------------------------------------------------------------------ */

bool cluster_set_init(struct cluster_set *set, uint64_t cluster_bytes, uint64_t size_bytes)
{
	set->cluster_bytes = cluster_bytes;
	set->count = (size_bytes + cluster_bytes - 1) / cluster_bytes;
	set->bits = calloc(set->count / 8 + 1, 1);
	if (!set->bits)
		cli_error("not enough memory for a volume so large");
	return set->bits != NULL;
}

void cluster_set_fini(struct cluster_set *set)
{
	free(set->bits);
}

static bool cluster_set_has(const struct cluster_set *set, uint64_t cluster)
{
	return set->bits[cluster / 8] >> (cluster % 8) & 1;
}

void cluster_set_add(struct cluster_set *set, uint64_t offset, uint64_t length)
{
	uint64_t first = offset / set->cluster_bytes;
	uint64_t end = (offset + length + set->cluster_bytes - 1) / set->cluster_bytes;

	for (uint64_t i = first; i < u64_min(end, set->count); i++)
		set->bits[i / 8] |= (uint8_t)(1 << (i % 8));
}

/* ---- copying --------------------------------------------------------------------------------- */

struct copying {
	struct volume_work *work;
	const struct cluster_set *set;
	uint64_t size_bytes;
	uint64_t total_bytes;
	uint64_t done_bytes;
	uint64_t next; /* cluster */
};

static void copying_show(const struct copying *copying, bool last)
{
	char total[32];

	if (!isatty(STDERR_FILENO))
		return;
	size_format(copying->total_bytes, total, sizeof(total));
	fprintf(stderr, "\r%3u %% of %s%s",
		(unsigned)(copying->total_bytes ? copying->done_bytes * 100 / copying->total_bytes
						: 100),
		total, last ? "\n" : "");
}

/* The next ranges, neighbours as one; none are left: an empty array. */
static json_t *copying_take(struct copying *copying, uint64_t *ret_bytes)
{
	const struct cluster_set *set = copying->set;
	uint64_t most = u64_max(1, PART_BYTES / set->cluster_bytes);
	json_t *ranges = json_array();

	*ret_bytes = 0;
	while (copying->next < set->count && json_array_size(ranges) < PART_RANGES &&
		*ret_bytes < PART_BYTES) {
		uint64_t first = copying->next, end, offset, length;

		if (!cluster_set_has(set, first)) {
			copying->next++;
			continue;
		}
		for (end = first; end < set->count && end - first < most; end++) {
			if (!cluster_set_has(set, end))
				break;
		}
		copying->next = end;
		offset = first * set->cluster_bytes;
		length = u64_min(end * set->cluster_bytes, copying->size_bytes) - offset;
		*ret_bytes += length;
		json_array_append_new(
			ranges, json_pack("[I, I]", (json_int_t)offset, (json_int_t)length));
	}
	return ranges;
}

static bool copying_do(const struct copying *copying, json_t *params, const char *when_full)
{
	const char *word = copying->work->words[0];
	struct client *client = copying->work->client;
	json_t *result = client_call(client, "bdev_copy", params);

	json_decref(result);
	if (!result && client_error_code(client) == -ENOSPC)
		cli_error("%s: %s: %s", word, client_error_text(client), when_full);
	else if (!result)
		cli_error("%s: %s", word, client_error_text(client));
	return result != NULL;
}

bool cluster_set_copy(struct volume_work *work, const struct cluster_set *set, uint64_t size_bytes,
	const char *source, const char *target, bool skip_zeroes, const char *when_full)
{
	struct copying copying = {.work = work, .set = set, .size_bytes = size_bytes};
	uint64_t bytes = 0;
	bool ok = true;

	for (uint64_t i = 0; i < set->count; i++) {
		if (cluster_set_has(set, i))
			copying.total_bytes += set->cluster_bytes;
	}
	while (ok) {
		json_t *ranges = copying_take(&copying, &bytes);

		if (json_array_size(ranges) == 0) {
			json_decref(ranges);
			break;
		}
		copying_show(&copying, false);
		ok = copying_do(&copying,
			json_pack("{s:s, s:s, s:o, s:b}", "source", source, "target", target,
				"ranges", ranges, "skip_zeroes", (int)skip_zeroes),
			when_full);
		copying.done_bytes += bytes;
	}
	if (ok)
		copying_show(&copying, true);
	return ok;
}

/* ---- the file -------------------------------------------------------------------------------- */

bool copy_file_open(struct volume_work *work, const char *path, bool readonly, uint32_t block_size,
	char *ret_bdev, size_t size)
{
	char *file = realpath(path, NULL);
	json_t *params;
	bool ok = file && cli_text_is_utf8(file);

	if (!ok) {
		cli_error("%s cannot be used: %s", path,
			file ? "its path is not UTF-8" : strerror(errno));
		free(file);
		return false;
	}
	bdev_name_choose(&work->model, file, ret_bdev, size);
	params = json_pack(
		"{s:s, s:s, s:b}", "name", ret_bdev, "filename", file, "readonly", (int)readonly);
	if (block_size)
		json_object_set_new(params, "block_size", json_integer(block_size));
	ok = volume_do(work, path, "bdev_aio_create", params);
	free(file);
	return ok;
}

bool copy_file_close(struct volume_work *work, const char *bdev)
{
	return volume_do(work, bdev, "bdev_aio_delete", json_pack("{s:s}", "name", bdev));
}

/* ---- qemu-img -------------------------------------------------------------------------------- */

bool qemu_img_run(const char *const *arguments)
{
	pid_t pid;
	int status = 0;
	int rc = posix_spawnp(
		&pid, "qemu-img", NULL, NULL, (char *const *)(uintptr_t)arguments, environ);

	if (rc == ENOENT) {
		cli_error("qemu-img is not installed, and only it knows that format: install it "
			  "(package qemu-utils), or use raw");
		return false;
	}
	while (rc == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc || status)
		cli_error("qemu-img has failed%s%s", rc ? ": " : "", rc ? strerror(rc) : "");
	return !rc && !status;
}
