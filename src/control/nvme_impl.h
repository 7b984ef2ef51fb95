/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files about NVMe drives share:
 *
 *	nvme.c		attach, detach, reset
 *	nvme_list.c	what there is, and how it is
 *	nvme_options.c	options of all drives, and the configuration that is told
 */
#ifndef CONTROL_NVME_IMPL_H
#define CONTROL_NVME_IMPL_H

#include "backend/nvme_drives.h"
#include "control/config_impl.h"

#define NVME_IO_QUEUES_DEFAULT 1024u

/* Of that name, attached and not on its way out; NULL: there is none. */
struct nvme_attachment *nvme_attached(struct control *control, const char *name);
/* With the options that were set. */
void nvme_options_fill(const struct control *control, struct nvme_options *ret_options);

#endif
