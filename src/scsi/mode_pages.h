/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mode pages: SPC-4 7.5, SBC-3 6.4. Built when asked for, from what is true at the moment; the only
 * thing an initiator can change is D_SENSE of the control page.
 */
#ifndef SCSI_MODE_PAGES_H
#define SCSI_MODE_PAGES_H

#include "scsi/lun.h"

#define MODE_PAGE_BYTES_MAX 32

struct mode_page {
	uint8_t code;
	uint8_t subpage; /* 0: page_0 format */
	uint8_t len; /* in all */
	/* Bytes after the two or four of the header, into a zeroed page. */
	void (*current)(const struct scsi_lun_channel *channel, uint8_t *page);
	void (*defaults)(const struct scsi_lun_channel *channel, uint8_t *page);
	void (*changeable)(uint8_t *page); /* NULL: nothing is */
};

/* In rising order of code and subpage. */
extern const struct mode_page mode_pages[];
extern const unsigned mode_page_count;

enum mode_values { MODE_CURRENT, MODE_CHANGEABLE, MODE_DEFAULT };

/* The whole page with its header into a buffer of MODE_PAGE_BYTES_MAX. */
void mode_page_build(const struct mode_page *page, const struct scsi_lun_channel *channel,
	enum mode_values values, uint8_t *buf);

#define MODE_CONTROL_D_SENSE_BYTE 2
#define MODE_CONTROL_D_SENSE      0x04

/* Device-specific parameter of the header: write protected, DPO and FUA. */
uint8_t mode_device_specific(const struct scsi_lun_channel *channel);

#endif
