/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mode pages: SPC-4 7.5, SBC-3 6.4. Built when asked for, from what is true at the moment. What an
 * initiator can change are the flags of lun_mode.h: a table says where each stands.
 */
#ifndef SCSI_MODE_PAGES_H
#define SCSI_MODE_PAGES_H

#include "scsi/lun_mode.h"

#define MODE_PAGE_BYTES_MAX 40

struct mode_page {
	uint8_t code;
	uint8_t subpage; /* 0: page_0 format */
	uint8_t len; /* in all */
	/* What is constant of the bytes after the two or four of the header, into a zeroed page. */
	void (*fill)(const struct scsi_lun_channel *channel, uint8_t *page);
};

/* In rising order of code and subpage. */
extern const struct mode_page mode_pages[];
extern const unsigned mode_page_count;

enum mode_values { MODE_CURRENT, MODE_CHANGEABLE, MODE_DEFAULT, MODE_SAVED };

/* The whole page with its header into a buffer of MODE_PAGE_BYTES_MAX. */
void mode_page_build(const struct mode_page *page, const struct scsi_lun_channel *channel,
	enum mode_values values, uint8_t *buf);

/* The flags that stand in the page; *ret_flags: those of them that are set in its bytes. */
uint32_t mode_page_flags(const struct mode_page *page, const struct scsi_lun_channel *channel,
	const uint8_t *bytes, uint32_t *ret_flags);

/* Device-specific parameter of the header: write protected, DPO and FUA. */
uint8_t mode_device_specific(const struct scsi_lun_channel *channel);

#endif
