/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pages Linux, Windows and FreeBSD ask for (mode_pages.h). The caching page tells the truth:
 * what was written is stable after a flush or with FUA, and not before.
 */
#include "scsi/mode_pages.h"

#include <string.h>

#include "base/endian.h"
#include "spec/scsi.h"

#define CONTROL_GLTSD     0x02 /* log parameters are not saved */
#define CONTROL_REORDER   0x10 /* byte 3: unrestricted reordering */
#define RECOVERY_LBPERE   0x80 /* byte 7: thresholds of the provisioning page are told */
#define EXTENSION_SCSIP   0x02 /* SET TIMESTAMP goes before other clocks */
#define EXCEPTIONS_DEXCPT 0x08 /* nothing is reported by exceptions */
#define PAGE_SAVABLE      0x80

/* Where the flags stand. */
static const struct {
	uint8_t code;
	uint8_t byte;
	uint8_t mask;
	uint32_t flag;
} bits[] = {
	{SCSI_MODE_CACHING, 2, 0x04, SCSI_MODE_WCE},
	{SCSI_MODE_CONTROL, 2, 0x04, SCSI_MODE_D_SENSE},
	{SCSI_MODE_CONTROL, 4, 0x08, SCSI_MODE_SWP},
};

static void fill_nothing(const struct scsi_lun_channel *channel, uint8_t *page)
{
}

static void fill_control(const struct scsi_lun_channel *channel, uint8_t *page)
{
	page[2] = CONTROL_GLTSD;
	page[3] = CONTROL_REORDER;
	be16_put(page + 8, UINT16_MAX); /* busy for as long as it takes */
}

static void fill_control_extension(const struct scsi_lun_channel *channel, uint8_t *page)
{
	page[4] = EXTENSION_SCSIP;
}

static void fill_exceptions(const struct scsi_lun_channel *channel, uint8_t *page)
{
	page[2] = EXCEPTIONS_DEXCPT;
}

static unsigned low_water_percent(const struct scsi_lun_channel *channel)
{
	return atomic_load_explicit(&channel->bdev->low_water_percent, memory_order_relaxed);
}

static void fill_error_recovery(const struct scsi_lun_channel *channel, uint8_t *page)
{
	if (low_water_percent(channel))
		page[7] = RECOVERY_LBPERE;
}

/* SBC-4 6.5.9: one threshold, the low-water mark of the pool, told to every initiator. */
static void fill_provisioning(const struct scsi_lun_channel *channel, uint8_t *page)
{
	uint8_t *threshold = page + SCSI_MODE_THRESHOLD_BYTE;
	unsigned percent = low_water_percent(channel);

	if (!percent)
		return;
	threshold[0] = SCSI_THRESHOLD_ENABLED | SCSI_THRESHOLD_PERCENT;
	threshold[1] = SCSI_THRESHOLD_OF_PROVISIONING;
	be32_put(threshold + 4, percent);
}

const struct mode_page mode_pages[] = {
	{SCSI_MODE_ERROR_RECOVERY, 0, 12, fill_error_recovery},
	{SCSI_MODE_DISCONNECT_RECONNECT, 0, 16, fill_nothing},
	{SCSI_MODE_CACHING, 0, 20, fill_nothing},
	{SCSI_MODE_CONTROL, 0, 12, fill_control},
	{SCSI_MODE_CONTROL, 1, 32, fill_control_extension},
	{SCSI_MODE_POWER_CONDITION, 0, 40, fill_nothing},
	{SCSI_MODE_INFORMATIONAL_EXCEPTIONS, 0, 12, fill_exceptions},
	{SCSI_MODE_INFORMATIONAL_EXCEPTIONS, SCSI_MODE_SUB_PROVISIONING, 24, fill_provisioning},
};

const unsigned mode_page_count = ARRAY_SIZE(mode_pages);

/* A cache that cannot be flushed is none; who may not write has no need of it. */
static bool bit_exists(
	unsigned i, const struct mode_page *page, const struct scsi_lun_channel *channel)
{
	if (bits[i].code != page->code || page->subpage)
		return false;
	return bits[i].flag != SCSI_MODE_WCE ||
	       (!channel->read_only && bdev_supports(channel->bdev, BDEV_IO_FLUSH));
}

uint32_t mode_page_flags(const struct mode_page *page, const struct scsi_lun_channel *channel,
	const uint8_t *bytes, uint32_t *ret_flags)
{
	uint32_t there = 0;

	*ret_flags = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
		if (!bit_exists(i, page, channel))
			continue;
		there |= bits[i].flag;
		if (bytes[bits[i].byte] & bits[i].mask)
			*ret_flags |= bits[i].flag;
	}
	return there;
}

static uint32_t values_flags(enum mode_values values, const struct scsi_lun *lun)
{
	switch (values) {
	case MODE_CURRENT:
		return scsi_lun_mode(lun);
	case MODE_SAVED:
		return scsi_lun_mode_saved(lun);
	case MODE_DEFAULT:
		return SCSI_MODE_DEFAULTS;
	default:
		return SCSI_MODE_ALL_FLAGS; /* MODE_CHANGEABLE: of nothing but the flags */
	}
}

void mode_page_build(const struct mode_page *page, const struct scsi_lun_channel *channel,
	enum mode_values values, uint8_t *buf)
{
	const struct scsi_lun *lun = channel->attachment->lun;
	uint32_t flags = values_flags(values, lun);
	bool savable = false;

	memset(buf, 0, MODE_PAGE_BYTES_MAX);
	if (values != MODE_CHANGEABLE)
		page->fill(channel, buf);
	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
		if (!bit_exists(i, page, channel))
			continue;
		savable = lun->store;
		if (flags & bits[i].flag)
			buf[bits[i].byte] |= bits[i].mask;
	}

	buf[0] = page->code | (savable ? PAGE_SAVABLE : 0);
	if (page->subpage) {
		buf[0] |= 0x40; /* SPF */
		buf[1] = page->subpage;
		be16_put(buf + 2, (uint16_t)(page->len - 4));
	} else {
		buf[1] = (uint8_t)(page->len - 2);
	}
}

uint8_t mode_device_specific(const struct scsi_lun_channel *channel)
{
	bool protected =
		channel->read_only || scsi_lun_mode(channel->attachment->lun) & SCSI_MODE_SWP;

	return (protected ? 0x80 : 0x00) | 0x10;
}
