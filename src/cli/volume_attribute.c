/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice volume attribute, sluice volume shallow-copy: what scripts for backups want of a volume
 * beside its contents.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli_impl.h"

const char volume_attribute_help[] =
	"usage: sluice volume attribute [OPTION...] STORE/VOLUME NAME [VALUE]\n"
	"\n"
	"Prints the attribute NAME of a volume, or gives it VALUE. Attributes are text that is "
	"kept\n"
	"with the volume; a snapshot begins without its volume's.\n";

const char volume_shallow_copy_help[] =
	"usage: sluice volume shallow-copy [OPTION...] STORE/VOLUME DISK\n"
	"\n"
	"Writes the clusters that a snapshot or read-only volume has itself, and not its parents,\n"
	"to the same places of another block device of the daemon, which nobody may be using. All\n"
	"else on that device stays as it is: copied oldest first, snapshots add up to the "
	"volume.\n";

/* ---- attributes ------------------------------------------------------------------------------ */

static json_t *attribute_params(const struct volume_work *work, const json_t *volume)
{
	return json_pack("{s:s, s:s}", "name", json_member_text(volume, "alias"), "xattr_name",
		work->words[1]);
}

static bool attribute_print(struct volume_work *work, const json_t *volume)
{
	json_t *value = volume_call(
		work, work->words[0], "bdev_lvol_get_xattr", attribute_params(work, volume));

	if (!value)
		return false;
	printf("%s\n", json_is_string(value) ? json_string_value(value) : "");
	json_decref(value);
	return true;
}

bool volume_attribute_run(struct volume_work *work)
{
	const json_t *volume = volume_find(work, work->words[0]);
	json_t *params;

	if (!volume)
		return false;
	if (work->num_words == 2)
		return attribute_print(work, volume);
	params = attribute_params(work, volume);
	json_object_set_new(params, "xattr_value", json_string(work->words[2]));
	return volume_do(work, work->words[0], "bdev_lvol_set_xattr", params);
}

/* ---- shallow copies -------------------------------------------------------------------------- */

static void shallow_show(const json_t *status, bool last)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%lld of %lld clusters%s",
			(long long)json_integer_value(json_object_get(status, "copied_clusters")),
			(long long)json_integer_value(json_object_get(status, "total_clusters")),
			last ? "\n" : "");
}

static void shallow_tell(const struct volume_work *work, const json_t *status)
{
	const char *reason = json_member_text(status, "reason");

	cli_error("%s: %s", work->words[0], *reason ? reason : json_member_text(status, "error"));
}

static bool shallow_wait(struct volume_work *work, json_int_t id)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
	bool complete = false, ended = false;

	while (!ended) {
		json_t *status = volume_call(work, work->words[0], "bdev_lvol_check_shallow_copy",
			json_pack("{s:I}", "operation_id", id));

		if (!status)
			return false;
		complete = strcmp(json_member_text(status, "state"), "complete") == 0;
		ended = complete || strcmp(json_member_text(status, "state"), "error") == 0;
		shallow_show(status, ended);
		if (ended && !complete)
			shallow_tell(work, status);
		json_decref(status);
		if (!ended)
			nanosleep(&pause, NULL);
	}
	return complete;
}

bool volume_shallow_copy_run(struct volume_work *work)
{
	const json_t *volume = volume_find(work, work->words[0]);
	const json_t *target = volume ? model_bdev(&work->model, work->words[1]) : NULL;
	json_t *started;
	json_int_t id;

	if (!volume)
		return false;
	if (!target) {
		cli_error("there is no block device %s: see sluice disk list", work->words[1]);
		return false;
	}
	if (!bdev_check_unattached(work, target, work->words[1]))
		return false;
	started = volume_call(work, work->words[0], "bdev_lvol_start_shallow_copy",
		json_pack("{s:s, s:s}", "src_lvol_name", json_member_text(volume, "alias"),
			"dst_bdev_name", json_member_text(target, "name")));
	if (!started)
		return false;
	id = json_integer_value(json_object_get(started, "operation_id"));
	json_decref(started);
	return shallow_wait(work, id);
}
