/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pages Linux, Windows and FreeBSD ask for (mode_pages.h). The caching page tells the truth:
 * what was written is stable after a flush or with FUA, and not before.
 */
#include "scsi/mode_pages.h"

#include <string.h>

#include "base/endian.h"
#include "spec/scsi.h"

#define CACHING_WCE       0x04
#define CONTROL_GLTSD     0x02 /* log parameters are not saved */
#define CONTROL_REORDER   0x10 /* byte 3: unrestricted reordering */
#define RECOVERY_LBPERE   0x80 /* byte 7: thresholds of the provisioning page are told */
#define EXCEPTIONS_DEXCPT 0x08 /* nothing is reported by exceptions */

static void fill_nothing(const struct scsi_lun_channel *channel, uint8_t *page)
{
}

static void fill_caching(const struct scsi_lun_channel *channel, uint8_t *page)
{
	if (!channel->read_only && bdev_supports(channel->bdev, BDEV_IO_FLUSH))
		page[2] = CACHING_WCE;
}

static void fill_control_defaults(const struct scsi_lun_channel *channel, uint8_t *page)
{
	page[2] = CONTROL_GLTSD;
	page[3] = CONTROL_REORDER;
	be16_put(page + 8, UINT16_MAX); /* busy for as long as it takes */
}

static void fill_control(const struct scsi_lun_channel *channel, uint8_t *page)
{
	fill_control_defaults(channel, page);
	if (atomic_load_explicit(&channel->attachment->lun->descriptor_sense, memory_order_relaxed))
		page[MODE_CONTROL_D_SENSE_BYTE] |= MODE_CONTROL_D_SENSE;
}

static void fill_control_changeable(uint8_t *page)
{
	page[MODE_CONTROL_D_SENSE_BYTE] = MODE_CONTROL_D_SENSE;
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
	{SCSI_MODE_ERROR_RECOVERY, 0, 12, fill_error_recovery, fill_error_recovery, NULL},
	{SCSI_MODE_DISCONNECT_RECONNECT, 0, 16, fill_nothing, fill_nothing, NULL},
	{SCSI_MODE_CACHING, 0, 20, fill_caching, fill_caching, NULL},
	{SCSI_MODE_CONTROL, 0, 12, fill_control, fill_control_defaults, fill_control_changeable},
	{SCSI_MODE_CONTROL, 1, 32, fill_nothing, fill_nothing, NULL},
	{SCSI_MODE_INFORMATIONAL_EXCEPTIONS, 0, 12, fill_exceptions, fill_exceptions, NULL},
	{SCSI_MODE_INFORMATIONAL_EXCEPTIONS, SCSI_MODE_SUB_PROVISIONING, 24, fill_provisioning,
		fill_provisioning, NULL},
};

const unsigned mode_page_count = ARRAY_SIZE(mode_pages);

void mode_page_build(const struct mode_page *page, const struct scsi_lun_channel *channel,
	enum mode_values values, uint8_t *buf)
{
	memset(buf, 0, MODE_PAGE_BYTES_MAX);
	if (values == MODE_CURRENT)
		page->current(channel, buf);
	else if (values == MODE_DEFAULT)
		page->defaults(channel, buf);
	else if (page->changeable)
		page->changeable(buf);

	buf[0] = page->code;
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
	return (channel->read_only ? 0x80 : 0x00) | 0x10;
}
