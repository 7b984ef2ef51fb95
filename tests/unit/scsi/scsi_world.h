/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A target with one logical unit over a disk of the tests, on one data reactor, and the commands
 * that a test sends to it. Every command's data-in is surrounded and preset by a pattern: what the
 * target says it moved is what has changed, and nothing else has.
 */
#ifndef UNIT_SCSI_SCSI_WORLD_H
#define UNIT_SCSI_SCSI_WORLD_H

#include "disk.h"
#include "scsi/abort.h"
#include "scsi/sense.h"
#include "scsi/task.h"

#define IN_MAX     (256 * 1024)
#define IN_PATTERN 0xee

#define SMALL_DISK                                                                                 \
	(struct disk_options)                                                                      \
	{                                                                                          \
		.name = "disk", .uuid = "5157ce00-0123-4567-89ab-cdef01234567", .blocks = 4096,    \
		.block_size = 512                                                                  \
	}

struct scsi_world {
	struct world world;
	struct disk disk;
	struct scsi_attachment *attachment;
	struct scsi_lun_channel *channel;
	struct scsi_target_view *view;
	const char *state_dir; /* that attachments load reservations from, or NULL */
	atomic_uint resized;
	atomic_uint removed;
};

void scsi_world_start(struct scsi_world *w, const struct disk_options *options);
void scsi_world_end(struct scsi_world *w);

/* The initiator that the attachment of that number belongs to, through target port 1. */
#define WORLD_INITIATOR(number) (UINT64_C(0x3000000000000100) + (number))

/* Another initiator's attachment and channel to the same disk, on that reactor. */
struct scsi_attachment *scsi_world_attach(struct scsi_world *w, uint16_t number);
/* The same of another disk. */
struct scsi_attachment *scsi_world_attach_disk(
	struct scsi_world *w, struct disk *disk, uint16_t number);
struct scsi_lun_channel *scsi_world_open(
	struct scsi_world *w, struct scsi_attachment *attachment, unsigned reactor);
void scsi_world_close(struct scsi_world *w, struct scsi_lun_channel *channel);
void scsi_world_detach(struct scsi_world *w, struct scsi_attachment *attachment);

/* A command: what is sent, and what came back. */
struct command {
	uint8_t cdb[32];
	const void *out;
	uint32_t out_len;
	uint32_t in_len;
	unsigned segment; /* 0: one; else bytes of each segment of the buffers */
	uint64_t tag;
	uint8_t attribute;
	struct scsi_lun_channel *channel; /* NULL: the world's */
	bool absent; /* to a LUN that does not exist */
	bool well_known; /* to the REPORT LUNS well-known LUN */
	bool recovered; /* a daemon before us had it */

	uint8_t in[IN_MAX];
	struct scsi_task task;

	/* the world's */
	struct scsi_world *w;
	struct message message;
	const struct scsi_target_view *targets[4];
	struct iovec *out_iov;
	struct iovec *in_iov;
	void *out_copy;
	uint8_t *in_buffer;
	atomic_bool ended;
};

/* Zeroed, with the CDB given as bytes. */
struct command *command_new(struct scsi_world *w, const uint8_t *cdb, size_t cdb_len);
#define COMMAND(w, ...)                                                                            \
	command_new(w, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

void command_begin(struct command *command);
bool command_has_ended(const struct command *command);
/* Waits, copies data-in, checks that nothing else was written. */
void command_finish(struct command *command);
void command_run(struct command *command);
void command_free(struct command *command);

/* Runs and frees: for answers that need no look. */
void wants_good(struct command *command);
/* key and code, as 0x052400. */
void wants_sense(struct command *command, uint32_t sense);
/* ... with a field pointer into the CDB; bit -1: none. */
void wants_bad_cdb(struct command *command, unsigned byte, int bit);
void wants_bad_parameters(struct command *command, unsigned byte);
void wants_response(struct command *command, enum scsi_response response);

/* 0xKKAAQQ of a command that has run; 0: GOOD. Both formats; checks the format's own rules. */
uint32_t command_sense(const struct command *command);
/* The information field; false when it is not valid. */
bool command_information(const struct command *command, uint64_t *ret_information);

void fill_pattern(void *buf, size_t len, unsigned seed);

#endif
