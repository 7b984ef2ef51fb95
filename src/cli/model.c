/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block devices and controllers as the daemon lists them, and the questions the commands ask.
 */
#include <string.h>

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

	if (strcmp(json_member_text(bdev, "name"), name) == 0)
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

const char *bdev_filename(const json_t *bdev)
{
	const json_t *specific = json_object_get(bdev, "driver_specific");
	const json_t *file = json_object_get(specific, "aio");

	return json_member_text(file ? file : json_object_get(specific, "uring"), "filename");
}

const json_t *model_bdev_of_file(const struct model *model, const char *filename)
{
	size_t i;
	json_t *bdev;

	json_array_foreach(model->bdevs, i, bdev)
	{
		if (strcmp(bdev_filename(bdev), filename) == 0)
			return bdev;
	}
	return NULL;
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
