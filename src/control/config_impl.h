/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the files of this folder tell their part of the configuration: the calls that make again what
 * is there, in an order that works. The same writers serve framework_get_config and the state that
 * the daemon keeps; the latter leaves out what nobody has chosen, so that it suits a daemon with
 * other threads or another place to start in as well.
 */
#ifndef CONTROL_CONFIG_IMPL_H
#define CONTROL_CONFIG_IMPL_H

#include "control/control_impl.h"

struct config_writer {
	const struct control *control;
	json_t *entries; /* array; owned by whoever runs the writers */
	bool stored; /* for the state, not for a client */
	bool failed; /* no memory: entries is not complete */
};

/* Of all subsystems, for the state, without what is missing. NULL: no memory. */
json_t *config_collect(const struct control *control);

/* One call. The reference to params is taken; NULL: there was no memory for it. */
void config_add(struct config_writer *writer, const char *method, json_t *params);

/* One for each subsystem, or part of it. */
void iobuf_write_config(struct config_writer *writer);
void accel_write_config(struct config_writer *writer);
void bdev_options_write_config(struct config_writer *writer);
void vhost_blk_write_config(struct config_writer *writer);
void vhost_scsi_write_config(struct config_writer *writer);

/* Block devices, each by the file that has its methods: true when it is of that kind. */
bool memory_bdev_write_config(struct config_writer *writer, const struct bdev *bdev);
bool file_bdev_write_config(struct config_writer *writer, const struct bdev *bdev);
/* Drives and the options of all of them. */
void nvme_write_config(struct config_writer *writer);
void filters_write_config(struct config_writer *writer);
/* What is set for a device of any kind; nothing where nothing is. */
void limits_write_config(struct config_writer *writer, const struct bdev *bdev);
/* What is told from now on: the stop is about to lift the limits, which is no change. */
void limits_note_all(struct control *control);
void histogram_write_config(struct config_writer *writer, const struct bdev *bdev);

#endif
