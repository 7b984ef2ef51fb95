/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Vital product data: SPC-4 7.8, SBC-3 6.5. One function for each page fills a zeroed buffer beyond
 * its four bytes of header and returns the length.
 *
 * Where a target has no such logical unit there is no page (SPC-4 6.6.2: only standard data with
 * peripheral qualifier 011b). The well-known unit has the two pages SPC-4 8.1 asks of it.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/copy.h"
#include "scsi/identity.h"
#include "scsi/range.h"
#include "scsi/sense.h"

#define PAGE_BYTES_MAX 256
#define HEADER_BYTES   4

struct vpd_page {
	uint8_t code;
	bool well_known; /* the well-known unit has it too */
	unsigned (*fill)(const struct scsi_lun_channel *channel, uint8_t *data);
};

static unsigned fill_supported_pages(const struct scsi_lun_channel *channel, uint8_t *data);

static unsigned fill_serial_number(const struct scsi_lun_channel *channel, uint8_t *data)
{
	memcpy(data, channel->attachment->lun->serial, SCSI_SERIAL_BYTES);
	return SCSI_SERIAL_BYTES;
}

/* SPC-4 7.8.6.1: code set, association and type, length, designator. */
static unsigned designator_put(
	uint8_t *data, uint8_t code_set, uint8_t type, const void *designator, unsigned len)
{
	data[0] = code_set;
	data[1] = type;
	data[3] = (uint8_t)len;
	memcpy(data + 4, designator, len);
	return 4 + len;
}

/* association: target port */
#define TYPE_PORT_NAA      0x13
#define TYPE_RELATIVE_PORT 0x14
#define TYPE_PORT_GROUP    0x15

static unsigned port_designators_put(const struct scsi_attachment *attachment, uint8_t *data)
{
	uint8_t relative_port[4] = {0};
	unsigned len;

	be16_put(relative_port + 2, attachment->relative_port);
	len = designator_put(data, SCSI_CODE_BINARY, TYPE_PORT_NAA, attachment->port_naa, 8);
	len += designator_put(data + len, SCSI_CODE_BINARY, TYPE_RELATIVE_PORT, relative_port, 4);
	len += designator_put(data + len, SCSI_CODE_BINARY, TYPE_PORT_GROUP, relative_port, 4);
	return len;
}

/* The well-known unit is of no port in particular. The unit's NAA name is the first of all: who
 * does not look at the association means the unit by it. */
static unsigned fill_device_identification(const struct scsi_lun_channel *channel, uint8_t *data)
{
	static const uint8_t relative_port[4] = {0, 0, 0, 1};
	const struct scsi_lun *lun = channel ? channel->attachment->lun : NULL;
	char t10[8 + SCSI_SERIAL_BYTES];
	char name[SCSI_NAME_BYTES];
	uint8_t eui[8];
	unsigned len;

	if (!lun)
		return designator_put(data, SCSI_CODE_BINARY, TYPE_RELATIVE_PORT, relative_port, 4);
	memcpy(t10, SCSI_VENDOR, 8);
	memcpy(t10 + 8, lun->serial, SCSI_SERIAL_BYTES);
	scsi_identity_make_name(lun->naa, name);
	scsi_identity_make_eui_64(lun->naa, eui);
	len = designator_put(data, SCSI_CODE_BINARY, SCSI_DESIGNATOR_NAA, lun->naa, 8);
	len += designator_put(data + len, SCSI_CODE_ASCII, SCSI_DESIGNATOR_T10, t10, sizeof(t10));
	len += designator_put(data + len, SCSI_CODE_UTF8, SCSI_DESIGNATOR_NAME, name, sizeof(name));
	len += designator_put(data + len, SCSI_CODE_BINARY, SCSI_DESIGNATOR_EUI, eui, 8);
	return len + port_designators_put(channel->attachment, data + len);
}

/* SPC-4 7.8.8: none, it is managed through the daemon. */
static unsigned fill_management_addresses(const struct scsi_lun_channel *channel, uint8_t *data)
{
	return 0;
}

static unsigned fill_extended_inquiry(const struct scsi_lun_channel *channel, uint8_t *data)
{
	data[1] = 0x07; /* HEADSUP, ORDSUP, SIMPSUP */
	data[2] = 0x01; /* V_SUP: there is a cache */
	return 60;
}

static unsigned fill_mode_page_policy(const struct scsi_lun_channel *channel, uint8_t *data)
{
	data[0] = SCSI_MODE_ALL; /* all pages and subpages: shared by all initiators */
	data[1] = 0xff;
	return 4;
}

/* SPC-4 7.8.17: one descriptor, its length a multiple of four. */
static unsigned copy_descriptor_put(
	uint8_t *data, uint16_t type, const uint8_t *contents, unsigned len)
{
	be16_put(data, type);
	be16_put(data + 2, (uint16_t)align_up(len, 4));
	memcpy(data + 4, contents, len);
	return 4 + (unsigned)align_up(len, 4);
}

/* What copy.h has: no tokens. */
static unsigned fill_third_party_copy(const struct scsi_lun_channel *channel, uint8_t *data)
{
	static const uint8_t commands[] = {8, SCSI_EXTENDED_COPY, 1, SCSI_SA_EXTENDED_COPY_LID1,
		SCSI_RECEIVE_COPY_RESULTS, 3, SCSI_SA_COPY_STATUS, SCSI_SA_OPERATING_PARAMETERS,
		SCSI_SA_FAILED_SEGMENT_DETAILS};
	static const uint8_t descriptors[] = {
		2, SCSI_SEGMENT_BLOCK_BLOCK, SCSI_CSCD_IDENTIFICATION};
	static const uint8_t cscd_ids[] = {0, 2, SCSI_CSCD_SELF >> 8, SCSI_CSCD_SELF & 0xff};
	uint8_t parameters[28] = {0}, operations[32] = {0};
	unsigned len;

	be16_put(parameters + 4, SCSI_COPY_CSCDS_MAX);
	be16_put(parameters + 6, SCSI_COPY_SEGMENTS_MAX);
	be32_put(parameters + 8, SCSI_COPY_DESCRIPTORS_BYTES_MAX);
	be32_put(operations, SCSI_COPY_CONCURRENT_MAX);
	be32_put(operations + 4, SCSI_COPY_CONCURRENT_MAX);
	be32_put(operations + 8, SCSI_COPY_SEGMENT_BYTES);
	operations[12] = channel->block_shift;
	len = copy_descriptor_put(data, 0x0001, commands, sizeof(commands));
	len += copy_descriptor_put(data + len, 0x0004, parameters, sizeof(parameters));
	len += copy_descriptor_put(data + len, 0x0008, descriptors, sizeof(descriptors));
	len += copy_descriptor_put(data + len, 0x000c, cscd_ids, sizeof(cscd_ids));
	return len + copy_descriptor_put(data + len, 0x8001, operations, sizeof(operations));
}

static uint32_t blocks_u32(const struct scsi_lun_channel *channel, uint64_t bytes)
{
	return (uint32_t)u64_min(bytes >> channel->block_shift, UINT32_MAX);
}

static unsigned fill_block_limits(const struct scsi_lun_channel *channel, uint8_t *data)
{
	const struct bdev *bdev = channel->bdev;
	uint8_t *page = data - HEADER_BYTES; /* offsets below are the standard's */
	uint32_t physical =
		bdev->physical_block_size ? bdev->physical_block_size : bdev->block_size;

	page[4] = 0x01; /* WSNZ */
	page[5] = SCSI_COMPARE_BLOCKS_MAX;
	be16_put(page + 6, (uint16_t)u64_min(physical >> channel->block_shift, UINT16_MAX));
	be32_put(page + 8, blocks_u32(channel, channel->transfer_bytes_max));
	be32_put(page + 12,
		blocks_u32(channel, u64_min(bdev->optimal_io_bytes, channel->transfer_bytes_max)));
	if (bdev_supports(bdev, BDEV_IO_UNMAP)) {
		uint32_t granularity =
			bdev->unmap_granularity ? bdev->unmap_granularity : bdev->block_size;

		be32_put(page + 20, SCSI_UNMAP_BLOCKS_MAX);
		be32_put(page + 24, SCSI_UNMAP_DESCRIPTORS_MAX);
		be32_put(page + 28, blocks_u32(channel, granularity));
		be32_put(page + 32, UINT32_C(0x80000000)); /* UGAVALID, alignment 0 */
	}
	be64_put(page + 36, SCSI_WRITE_SAME_BYTES_MAX >> channel->block_shift);
	be32_put(page + 44, blocks_u32(channel, scsi_atomic_write_bytes_max(channel)));
	return 60;
}

static unsigned fill_block_characteristics(const struct scsi_lun_channel *channel, uint8_t *data)
{
	be16_put(data, channel->bdev->rotational ? 0 : 1); /* not said; 1: no rotation */
	data[3] = 0x40; /* WABEREQ 01b: blocks can be read after SANITIZE, BLOCK ERASE */
	return 60;
}

static unsigned fill_logical_block_provisioning(
	const struct scsi_lun_channel *channel, uint8_t *data)
{
	if (bdev_supports(channel->bdev, BDEV_IO_UNMAP)) {
		data[1] = 0x80 | 0x40 | 0x20; /* LBPU, LBPWS, LBPWS10 */
		if (channel->bdev->unmap_reads_zeroes)
			data[1] |= 0x04; /* LBPRZ 001b */
		data[2] = 0x02; /* thin */
		if (channel->bdev->ops->space && channel->block_shift < SCSI_THRESHOLD_SET_SHIFT)
			data[0] = SCSI_THRESHOLD_SET_SHIFT - channel->block_shift;
		/* The range of its threshold, in tenths of a percent: until half as much again. */
		data[3] = (uint8_t)u64_min(channel->bdev->low_water_percent * 10U, UINT8_MAX);
	}
	return 4;
}

static const struct vpd_page pages[] = {
	{SCSI_VPD_SUPPORTED_PAGES, true, fill_supported_pages},
	{SCSI_VPD_UNIT_SERIAL_NUMBER, false, fill_serial_number},
	{SCSI_VPD_DEVICE_IDENTIFICATION, true, fill_device_identification},
	{SCSI_VPD_MANAGEMENT_ADDRESSES, false, fill_management_addresses},
	{SCSI_VPD_EXTENDED_INQUIRY, false, fill_extended_inquiry},
	{SCSI_VPD_MODE_PAGE_POLICY, false, fill_mode_page_policy},
	{SCSI_VPD_THIRD_PARTY_COPY, false, fill_third_party_copy},
	{SCSI_VPD_BLOCK_LIMITS, false, fill_block_limits},
	{SCSI_VPD_BLOCK_CHARACTERISTICS, false, fill_block_characteristics},
	{SCSI_VPD_LOGICAL_BLOCK_PROVISIONING, false, fill_logical_block_provisioning},
};

static unsigned fill_supported_pages(const struct scsi_lun_channel *channel, uint8_t *data)
{
	unsigned len = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (channel || pages[i].well_known)
			data[len++] = pages[i].code;
	}
	return len;
}

enum scsi_run scsi_run_inquiry_vpd(struct scsi_task *task, uint8_t page, size_t allocation_length)
{
	uint8_t data[PAGE_BYTES_MAX] = {0};
	unsigned len;

	if (!task->channel && !task->well_known)
		return scsi_task_check_cdb(task, 1, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].code != page || (task->well_known && !pages[i].well_known))
			continue;
		len = pages[i].fill(task->channel, data + HEADER_BYTES);
		data[0] = task->well_known ? SCSI_PERIPHERAL_WELL_KNOWN : SCSI_PERIPHERAL_DISK;
		data[1] = page;
		be16_put(data + 2, (uint16_t)len);
		return scsi_reply(task, allocation_length, data, HEADER_BYTES + len);
	}
	return scsi_task_check_cdb(task, 2, -1);
}
