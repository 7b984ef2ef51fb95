/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block devices and controllers as the daemon lists them, and the questions the commands ask.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli_impl.h"

bool model_load(struct client *client, struct model *model)
{
	*model = (struct model){0};
	model->bdevs = client_call(client, "bdev_get_bdevs", NULL);
	if (model->bdevs)
		model->controllers = client_call(client, "vhost_get_controllers", NULL);
	if (model->controllers)
		return true;
	cli_error("%s", client_error_text(client));
	model_free(model);
	return false;
}

void model_free(struct model *model)
{
	json_decref(model->bdevs);
	json_decref(model->controllers);
	*model = (struct model){0};
}

const char *json_member_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static bool bdev_has_name(const json_t *bdev, const char *name)
{
	size_t i;
	json_t *alias;

	if (strcmp(json_member_text(bdev, "name"), name) == 0 ||
		strcmp(json_member_text(bdev, "uuid"), name) == 0)
		return true;
	json_array_foreach(json_object_get(bdev, "aliases"), i, alias)
	{
		if (json_is_string(alias) && strcmp(json_string_value(alias), name) == 0)
			return true;
	}
	return false;
}

const json_t *model_bdev(const struct model *model, const char *name)
{
	size_t i;
	json_t *bdev;

	json_array_foreach(model->bdevs, i, bdev)
	{
		if (bdev_has_name(bdev, name))
			return bdev;
	}
	return NULL;
}

const char *bdev_label(const json_t *bdev)
{
	const json_t *lvol = json_object_get(json_object_get(bdev, "driver_specific"), "lvol");
	const char *alias = json_string_value(json_array_get(json_object_get(bdev, "aliases"), 0));

	return lvol && alias ? alias : json_member_text(bdev, "name");
}

void name_make_plain(char *name)
{
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("-._", *name))
			*name = '_';
	}
}

void bdev_name_choose(const struct model *model, const char *file, char *ret_name, size_t size)
{
	const char *base = strrchr(file, '/') + 1;
	const char *suffix = strrchr(base, '.');
	char name[96];

	snprintf(name, sizeof(name), "%.*s",
		(int)(suffix && suffix > base ? (size_t)(suffix - base) : strlen(base)), base);
	name_make_plain(name);
	snprintf(ret_name, size, "%s", name);
	for (unsigned i = 2; model_bdev(model, ret_name); i++)
		snprintf(ret_name, size, "%s-%u", name, i);
}

const char *bdev_filename(const json_t *bdev)
{
	const json_t *specific = json_object_get(bdev, "driver_specific");
	const json_t *file = json_object_get(specific, "aio");

	return json_member_text(file ? file : json_object_get(specific, "uring"), "filename");
}

bool bdev_is_read_only(const json_t *bdev)
{
	return json_is_false(json_object_get(json_object_get(bdev, "supported_io_types"), "write"));
}

/* By the daemon's name of it, or, with links, by what it is. */
static bool bdev_is_of_file(const json_t *bdev, const char *filename, const struct stat *st)
{
	const char *other = bdev_filename(bdev);
	struct stat other_st;

	if (strcmp(other, filename) == 0)
		return true;
	return st && other[0] == '/' && stat(other, &other_st) == 0 &&
	       other_st.st_dev == st->st_dev && other_st.st_ino == st->st_ino;
}

const json_t *model_bdev_of_file(const struct model *model, const char *filename)
{
	struct stat st;
	bool exists = stat(filename, &st) == 0;
	size_t i;
	json_t *bdev;

	json_array_foreach(model->bdevs, i, bdev)
	{
		if (bdev_is_of_file(bdev, filename, exists ? &st : NULL))
			return bdev;
	}
	return NULL;
}

/* Also of a file that has been removed: its directory is still there. NULL: neither. */
static char *path_of_removed(const char *word)
{
	const char *slash = strrchr(word, '/');
	char *directory = slash ? strndup(word, (size_t)(slash - word) + 1) : strdup(".");
	char *real = directory ? realpath(directory, NULL) : NULL;
	char *path = NULL;

	if (real && asprintf(&path, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
			    slash ? slash + 1 : word) < 0)
		path = NULL;
	free(real);
	free(directory);
	return path;
}

static bool path_is_disk(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

bool disk_word_find(const struct model *model, const char *word, bool file_is_open,
	const json_t **ret_bdev, char **ret_file)
{
	const json_t *named = model_bdev(model, word);
	char *file = realpath(word, NULL);
	const json_t *opened;

	if (!file && file_is_open)
		file = path_of_removed(word);
	if (file && !cli_text_is_utf8(file)) {
		cli_error("the path of %s is not UTF-8, and JSON carries nothing else: rename what "
			  "is on it",
			word);
		free(file);
		return false;
	}
	opened = file ? model_bdev_of_file(model, file) : NULL;
	if (named && opened != named && (opened || (!file_is_open && file && path_is_disk(file)))) {
		cli_error("%s is both a disk of the daemon and a file here: say ./%s for the file, "
			  "or the disk's UUID %s",
			word, word, json_member_text(named, "uuid"));
		free(file);
		return false;
	}
	if (named) {
		free(file);
		file = NULL;
	}
	*ret_bdev = named ? named : opened;
	*ret_file = file;
	return true;
}

const json_t *model_controller(const struct model *model, const char *name)
{
	size_t i;
	json_t *controller;

	json_array_foreach(model->controllers, i, controller)
	{
		if (strcmp(json_member_text(controller, "ctrlr"), name) == 0)
			return controller;
	}
	return NULL;
}

const json_t *controller_targets(const json_t *controller)
{
	return json_object_get(json_object_get(controller, "backend_specific"), "scsi");
}

const char *controller_bdev(const json_t *controller)
{
	const json_t *specific = json_object_get(controller, "backend_specific");

	return json_member_text(json_object_get(specific, "block"), "bdev");
}

bool controller_is_connected(const json_t *controller)
{
	return json_array_size(json_object_get(controller, "sessions")) > 0;
}

bool controller_is_empty(const json_t *controller)
{
	const json_t *targets = controller_targets(controller);

	return targets ? json_array_size(targets) == 0 : !controller_bdev(controller)[0];
}

/* ---- places ------------------------------------------------------------------------------ */

json_t *place_of_controller(const json_t *controller, const json_t *target, const json_t *lun)
{
	json_t *place = json_pack("{s:s, s:s, s:s, s:b}", "bus",
		controller_targets(controller) ? "scsi" : "blk", "controller",
		json_member_text(controller, "ctrlr"), "socket",
		json_member_text(controller, "socket"), "connected",
		(int)controller_is_connected(controller));

	if (target) {
		json_object_set(place, "target", json_object_get(target, "scsi_dev_num"));
		json_object_set(place, "lun", json_object_get(lun, "id"));
	}
	return place;
}

static bool controller_is_read_only(const json_t *controller)
{
	const json_t *specific = json_object_get(controller, "backend_specific");

	return json_is_true(json_object_get(json_object_get(specific, "block"), "readonly"));
}

static void places_append(json_t *places, const json_t *bdev, const json_t *controller,
	const json_t *target, const json_t *lun)
{
	json_t *place = place_of_controller(controller, target, lun);

	json_object_set_new(place, "readonly",
		json_boolean(bdev_is_read_only(bdev) || controller_is_read_only(controller) ||
			     json_is_true(json_object_get(lun, "readonly"))));
	json_array_append_new(places, place);
}

static void places_append_luns(
	json_t *places, const json_t *bdev, const json_t *controller, const json_t *target)
{
	const char *name = json_member_text(bdev, "name");
	size_t i;
	json_t *lun;

	json_array_foreach(json_object_get(target, "luns"), i, lun)
	{
		if (strcmp(json_member_text(lun, "bdev_name"), name) == 0)
			places_append(places, bdev, controller, target, lun);
	}
}

json_t *places_of_bdev(const struct model *model, const json_t *bdev)
{
	const char *name = json_member_text(bdev, "name");
	json_t *places = json_array();
	size_t i, j;
	json_t *controller, *target;

	json_array_foreach(model->controllers, i, controller)
	{
		const json_t *targets = controller_targets(controller);

		if (!targets && strcmp(controller_bdev(controller), name) == 0)
			places_append(places, bdev, controller, NULL, NULL);
		json_array_foreach(targets, j, target)
			places_append_luns(places, bdev, controller, target);
	}
	return places;
}
