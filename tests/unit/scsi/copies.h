/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two disks behind two targets of one controller, and EXTENDED COPY commands between them.
 */
#ifndef UNIT_SCSI_COPIES_H
#define UNIT_SCSI_COPIES_H

#include "scsi_world.h"

#define COPY_HEADER   16
#define COPY_CSCD     32
#define COPY_FLAG_CAT 0x01
#define COPY_FLAG_DC  0x02

struct copies {
	struct scsi_world w; /* its disk is the first, LUN 0 of target 0 */
	struct disk other; /* LUN 1 of target 2 */
	struct scsi_attachment *attachment;
	struct scsi_lun_channel *channel;
	struct scsi_target_view *view;
	const struct scsi_target_view *targets[4];
};

void copies_start(
	struct copies *c, const struct disk_options *first, const struct disk_options *other);
void copies_end(struct copies *c);

/* A parameter list that grows. */
struct copy_list {
	uint8_t bytes[2048];
	unsigned cscds;
	unsigned segments;
};

void copy_list_begin(struct copy_list *list, uint8_t list_id, uint8_t usage);
/* By NAA, 512-byte blocks unless the disk has others. Returns the descriptor. */
uint8_t *copy_list_disk(struct copy_list *list, struct scsi_attachment *attachment, bool pad);
/* After all disks. */
uint8_t *copy_list_segment(struct copy_list *list, uint8_t flags, uint16_t source,
	uint16_t destination, uint16_t blocks, uint64_t source_lba, uint64_t destination_lba);
unsigned copy_list_len(const struct copy_list *list);

/* To the first disk. */
struct command *copy_command(struct copies *c, const struct copy_list *list);
/* The first disk is 0, the other 1; one segment. */
struct command *copy_simply(struct copies *c, uint16_t source, uint16_t destination,
	uint16_t blocks, uint64_t source_lba, uint64_t destination_lba);
struct command *copy_results(struct copies *c, uint8_t action, uint8_t list_id, uint32_t len);

/* Run and free: COPY ABORTED with that code; the segment; the pointer's byte, relative to the
 * segment descriptor or to the list, or -1. */
void wants_copy_aborted(
	struct command *command, uint16_t code, unsigned segment, bool in_segment, int byte);

#endif
