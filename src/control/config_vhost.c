/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls that make the vhost controllers again: the controller, what is on it, what is set for
 * it. A SCSI controller gets its socket after all its targets, so that a front-end that waits for
 * it finds them there.
 *
 * Parameters of our own appear only where they differ from what a client that does not know them
 * gets. In the state a CPU mask is left out when it says no more than "all of the daemon's".
 *
 * A blk controller whose block device has gone is left out: it cannot be made without.
 */
#include "control/config_impl.h"

/* NULL where nothing is to be said. */
static json_t *cpumask_config(const struct config_writer *writer, const struct cpu_set *cpus)
{
	char mask[CPUS_MAX / 4 + 1];

	if (!cpus && writer->stored)
		return NULL;
	cpu_set_format(cpus ? cpus : &writer->control->options.cpus, mask, sizeof(mask));
	return json_string(mask);
}

static void coalescing_write_config(
	struct config_writer *writer, const struct vhost_controller_info *info)
{
	if (info->delay_base_us == 0 && info->iops_threshold == VHOST_IOPS_THRESHOLD_DEFAULT)
		return;
	config_add(writer, "vhost_controller_set_coalescing",
		json_pack("{s:s, s:I, s:I}", "ctrlr", info->name, "delay_base_us",
			(json_int_t)info->delay_base_us, "iops_threshold",
			(json_int_t)info->iops_threshold));
}

struct queue_writer {
	struct config_writer *writer;
	const char *ctrlr;
};

static void queue_write_config(const struct vhost_queue_info *info, void *arg)
{
	struct queue_writer *queues = arg;

	if (info->pinned)
		config_add(queues->writer, "vhost_controller_set_queue_placement",
			json_pack("{s:s, s:i, s:i}", "ctrlr", queues->ctrlr, "queue",
				(int)info->queue, "cpu", info->cpu));
}

/* What both kinds have. */
static void settings_write_config(struct config_writer *writer, struct vhost_controller *controller,
	const struct vhost_controller_info *info)
{
	struct queue_writer queues = {writer, info->name};

	coalescing_write_config(writer, info);
	vhost_controller_for_each_queue(controller, queue_write_config, &queues);
}

/* ---- blk ----------------------------------------------------------------------------------- */

static void blk_write_config(struct vhost_controller *controller, void *arg)
{
	struct config_writer *writer = arg;
	struct vhost_controller_info info;
	const char *when_full;

	vhost_controller_get_info(controller, &info);
	if (info.kind != VHOST_BLK || !info.bdev_name)
		return;
	when_full = info.waits_for_space ? NULL : "error";
	config_add(writer, "vhost_create_blk_controller",
		json_pack("{s:s, s:s, s:o*, s:b, s:s, s:s*}", "ctrlr", info.name, "dev_name",
			info.bdev_name, "cpumask", cpumask_config(writer, info.cpus), "readonly",
			(int)info.read_only, "transport", "vhost_user_blk", "when_full",
			when_full));
	settings_write_config(writer, controller, &info);
}

void vhost_blk_write_config(struct config_writer *writer)
{
	vhost_controller_for_each(writer->control->options.vhost, blk_write_config, writer);
}

/* ---- scsi ---------------------------------------------------------------------------------- */

struct target_writer {
	struct config_writer *writer;
	const char *ctrlr;
};

static json_t *true_or_unsaid(bool value)
{
	return value ? json_true() : NULL;
}

/* LUN 0 is what a target has when no LUN is said; the others are added to it. */
static void lun_write_config(const struct vhost_lun_info *info, void *arg)
{
	struct target_writer *targets = arg;

	config_add(targets->writer, "vhost_scsi_controller_add_target",
		json_pack("{s:s, s:i, s:s, s:o*, s:o*, s:o*, s:o*}", "ctrlr", targets->ctrlr,
			"scsi_target_num", (int)info->target, "bdev_name", info->bdev_name, "lun",
			info->lun ? json_integer(info->lun) : NULL, "readonly",
			true_or_unsaid(info->read_only), "removable",
			true_or_unsaid(info->removable), "short_cdbs",
			true_or_unsaid(info->short_cdbs)));
}

static void scsi_write_config(struct vhost_controller *controller, void *arg)
{
	struct config_writer *writer = arg;
	struct vhost_controller_info info;
	struct target_writer targets;
	const char *when_full;

	vhost_controller_get_info(controller, &info);
	if (info.kind != VHOST_SCSI)
		return;
	when_full = info.waits_for_space ? "wait" : NULL;
	config_add(writer, "vhost_create_scsi_controller",
		json_pack("{s:s, s:o*, s:b, s:s*}", "ctrlr", info.name, "cpumask",
			cpumask_config(writer, info.cpus), "delay", 1, "when_full", when_full));
	targets = (struct target_writer){writer, info.name};
	vhost_scsi_for_each_lun(controller, lun_write_config, &targets);
	if (!info.delayed)
		config_add(writer, "vhost_start_scsi_controller",
			json_pack("{s:s}", "ctrlr", info.name));
	settings_write_config(writer, controller, &info);
}

void vhost_scsi_write_config(struct config_writer *writer)
{
	vhost_controller_for_each(writer->control->options.vhost, scsi_write_config, writer);
}
