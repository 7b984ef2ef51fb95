/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mode parameters of a logical unit that initiators may change, shared by all of them: SPC-4 6.12,
 * 5.8 (current, saved, default). Each is a flag; where it stands in the mode pages is the business
 * of mode_pages.c.
 *
 * Current values are read on data reactors; those that commands must heed are also bits in the
 * attention of every attachment (lun_state.h). Saved values are in the store, under "mode"; without
 * a store there are none. A unit begins, and goes on after a reset, with its saved values.
 */
#ifndef SCSI_LUN_MODE_H
#define SCSI_LUN_MODE_H

#include "core/flow.h"
#include "scsi/lun.h"

enum scsi_mode_flags {
	SCSI_MODE_WCE = 1 << 0, /* writes may stay in a cache */
	SCSI_MODE_D_SENSE = 1 << 1, /* sense data in descriptor format */
	SCSI_MODE_SWP = 1 << 2, /* nobody may write */
};

#define SCSI_MODE_DEFAULTS  SCSI_MODE_WCE
#define SCSI_MODE_ALL_FLAGS (SCSI_MODE_WCE | SCSI_MODE_D_SENSE | SCSI_MODE_SWP)

/* Any thread. */
static inline uint32_t scsi_lun_mode(const struct scsi_lun *lun)
{
	return atomic_load_explicit(&lun->mode, memory_order_relaxed);
}

static inline uint32_t scsi_lun_mode_saved(const struct scsi_lun *lun)
{
	return atomic_load_explicit(&lun->mode_saved, memory_order_relaxed);
}

/* For lun.c: the lun has its serial number and its store, and no attachment. */
void scsi_lun_mode_init(struct scsi_lun *lun);

/* Control reactor: the current values become these. False: they were so already. */
bool scsi_lun_mode_set(struct scsi_lun *lun, uint32_t flags);
/* Control reactor: the saved values, which there are; done when that is stable. */
void scsi_lun_mode_save(struct scsi_lun *lun, uint32_t flags, done_fn done, void *arg);

#endif
