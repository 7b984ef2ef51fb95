/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logical units.
 *
 * A scsi_lun is the logical unit itself: one for each block device that SCSI serves, counted,
 * shared by all targets of all controllers that have it. It holds what all initiators see alike:
 * the identity, derived from the device's uuid and so stable for ever, and the mode parameters.
 *
 * A scsi_attachment is that unit under a number behind one target of one controller. A controller
 * has one initiator at a time, so an attachment is what SAM calls an I_T_L nexus: it holds the unit
 * attentions that this initiator has yet to hear of.
 *
 * A scsi_lun_channel is an attachment on one data reactor: its channel to the block device, its
 * tasks in flight, its counters. No two reactors write the same cache line for a READ or WRITE.
 *
 *	scsi_lun --- bdev
 *	   |  one per target that has it          control reactor
 *	scsi_attachment --- bdev_user
 *	   |  one per reactor with rings          control reactor; attention: any
 *	scsi_lun_channel --- bdev_channel         its reactor
 *
 * All functions: control reactor, unless they say otherwise. Claims are taken and given up by the
 * owner of the attachment, through its bdev_user.
 */
#ifndef SCSI_LUN_H
#define SCSI_LUN_H

#include "bdev/bdev.h"
#include "scsi/reservation.h"
#include "scsi/visit.h"

#define SCSI_SERIAL_BYTES 32 /* hexadecimal digits of the uuid */

/* What a LUN accepts in one command; told in VPD page B0h. */
#define SCSI_TRANSFER_BYTES_MAX    (UINT64_C(32) << 20)
#define SCSI_WRITE_SAME_BYTES_MAX  (UINT64_C(1) << 30)
#define SCSI_COMPARE_BLOCKS_MAX    255 /* what the field holds */
#define SCSI_UNMAP_BLOCKS_MAX      (UINT32_C(1) << 20)
#define SCSI_UNMAP_DESCRIPTORS_MAX 255
/* READ BUFFER and WRITE BUFFER: also the most that an echo buffer may have. */
#define SCSI_DATA_BUFFER_BYTES 4096
/* Space of a pool is told in units of so much (SBC-4 6.4.5.2.2). */
#define SCSI_THRESHOLD_SET_SHIFT 20
#define SCSI_THRESHOLD_SET_BYTES (UINT64_C(1) << SCSI_THRESHOLD_SET_SHIFT)

struct scsi_attachment;
struct scsi_store;
struct scsi_target_view;
struct scsi_task;
struct scsi_wipe;

/* lun_reservation.h's; control reactor. */
struct scsi_lun_reservation {
	struct scsi_reservation *now; /* the persistent ones */
	bool reserved; /* by RESERVE (6) or (10) */
	struct scsi_nexus reserver;
	struct bdev_gate gate; /* changes, one at a time */
	const char *state_dir; /* NULL: nothing is kept on disk, or it has not been loaded yet */
};

struct scsi_lun {
	struct bdev *bdev; /* not counted: every attachment has it open */
	struct reactor *control;
	unsigned attachment_count;
	struct list attachments;
	struct scsi_lun_reservation reservation;
	bool removable; /* its medium may be ejected; constant */
	/* What is unusual about it, told to all attachments (lun_state.h): bits of
	 * scsi_attachment.attention. */
	uint32_t conditions;
	_Atomic uint32_t mode; /* current values of mode parameters (lun_mode.h) */
	_Atomic uint32_t mode_saved;
	/* timestamp.c: the clock's reading, in ns, at which its time stamp would be 0. */
	_Atomic int64_t timestamp_zero_ns;
	_Atomic uint8_t timestamp_origin;
	struct scsi_store *store; /* for what outlives the daemon; NULL: nothing does */
	_Atomic uint16_t low_power; /* additional sense code of the condition; 0: active */
	char serial[SCSI_SERIAL_BYTES + 1];
	uint8_t naa[8];
	struct scsi_wipe *wipe; /* under way */
	_Atomic uint8_t wipe_state; /* enum scsi_wipe_state */
	_Atomic uint16_t wipe_progress; /* of 65536 */
	uint8_t *data_buffer; /* data_buffer.c; NULL: not written yet */
};

/* Unit attentions: one bit each in scsi_attachment.attention, the lowest is told first. */
enum scsi_unit_attention {
	SCSI_UA_POWER_ON,
	SCSI_UA_DEVICE_RESET,
	SCSI_UA_I_T_NEXUS_LOSS,
	SCSI_UA_COMMANDS_CLEARED,
	SCSI_UA_RESERVATIONS_PREEMPTED,
	SCSI_UA_RESERVATIONS_RELEASED,
	SCSI_UA_REGISTRATIONS_PREEMPTED,
	SCSI_UA_LUNS_CHANGED,
	SCSI_UA_CAPACITY_CHANGED,
	SCSI_UA_MODE_CHANGED,
	SCSI_UA_SOFT_THRESHOLD, /* little space is left in the pool */
	SCSI_UA_MEDIUM_CHANGED,
	SCSI_UA_ACCESS_CHANGED,
	SCSI_UA_TIMESTAMP_CHANGED,
	SCSI_UA_IDENTIFIER_CHANGED,
	SCSI_UA_DEFERRED_ERROR, /* no attention, but told like one: IMMED, and it failed */
	SCSI_UA_COUNT,
};

/* Not an attention but tested together with them: the write claim was refused, so commands that
 * need the medium end with NOT READY. */
#define SCSI_ATTENTION_NOT_READY (UINT32_C(1) << 31)
/* Nor is this: a SANITIZE or FORMAT UNIT runs or has failed (wipe.h). */
#define SCSI_ATTENTION_WIPED (UINT32_C(1) << 30)
/* Nor are these, which are about the logical unit (lun_state.h). */
#define SCSI_ATTENTION_NO_MEDIUM     (UINT32_C(1) << 24) /* it has been ejected */
#define SCSI_ATTENTION_STOPPED       (UINT32_C(1) << 23) /* by START STOP UNIT */
#define SCSI_ATTENTION_LOW_POWER     (UINT32_C(1) << 22) /* the next access ends that */
#define SCSI_ATTENTION_WRITE_PROTECT (UINT32_C(1) << 21) /* SWP of the control mode page */
#define SCSI_ATTENTION_WRITE_THROUGH (UINT32_C(1) << 20) /* WCE of the caching page is 0 */
/* Of one attachment (port.h). */
#define SCSI_ATTENTION_PORT_STANDBY     (UINT32_C(1) << 19)
#define SCSI_ATTENTION_PORT_UNAVAILABLE (UINT32_C(1) << 18)
#define SCSI_ATTENTION_CONDITIONS       ((UINT32_C(1) << SCSI_UA_COUNT) - 1)

struct scsi_attachment_ops {
	/* The block device goes: stop, close the channels, close the attachment. */
	void (*removed)(struct scsi_attachment *attachment);
	/* The unit attention has been raised. */
	void (*resized)(struct scsi_attachment *attachment);
	/* Its medium has been ejected, or loaded again. Optional. */
	void (*medium_changed)(struct scsi_attachment *attachment);
};

struct scsi_attachment {
	struct bdev_user user; /* for claims; opened and closed here */
	const struct scsi_attachment_ops *ops;
	struct scsi_lun *lun;
	void *owner; /* the caller's */
	uint16_t number; /* the LUN under which this target has it */
	struct scsi_nexus nexus;
	uint8_t restriction; /* enum scsi_restriction of that nexus */
	bool read_only; /* this initiator may not write */
	bool short_cdbs; /* and has no commands of more than 16 bytes; constant */
	uint16_t relative_port; /* of the target port among the unit's (port.h); constant */
	uint8_t port_naa[8]; /* the target port's name; constant */
	_Atomic uint8_t access; /* enum scsi_access_state */
	bool access_was_set;
	_Atomic bool prevents; /* this initiator has prevented the removal of the medium */
	struct list link; /* lun->attachments */
	struct list channels;
	struct list copies; /* records of EXTENDED COPY (copy.h) */
	uint8_t *echo_buffer; /* data_buffer.c; NULL: not written yet */
	uint32_t echo_bytes; /* of the last write */

	/* Any thread; read by every command, written only when something happens. */
	CACHE_ALIGNED _Atomic uint32_t attention;
};

struct scsi_lun_stats {
	uint64_t commands;
	uint64_t check_conditions;
};

/* Tasks that may not begin yet (order.h). */
struct scsi_order {
	struct list waiting;
	const struct scsi_task *running; /* the ORDERED one that has begun, or NULL */
	unsigned active;
};

/* What the end of a task has to look at: bits of scsi_lun_channel.watched. */
#define SCSI_WATCHED_VISITS 0x01 /* there are visits that wait */
#define SCSI_WATCHED_ORDER  0x02 /* order is kept */

struct scsi_lun_channel {
	/* constant while published to the reactor */
	struct bdev_channel *bdev_channel;
	struct bdev *bdev;
	struct reactor *reactor;
	struct scsi_attachment *attachment;
	/* For the straight path: transfer_bytes_max, or 0 when somebody else's reservation forbids
	 * something; the control reactor writes it. */
	_Atomic uint64_t straight_bytes_max;
	uint8_t block_shift;
	bool read_only;
	uint16_t number;
	unsigned iovs_max;

	/* the reactor's */
	uint8_t watched;
	uint32_t sequence;
	struct list tasks; /* in flight, oldest first */
	struct list visits; /* of aborts that wait for tasks (abort.c) */
	struct scsi_lun_stats stats;
	struct scsi_order order;

	/* constant */
	uint64_t transfer_bytes_max;
	/* enum scsi_restriction; the control reactor writes it */
	_Atomic uint8_t restriction;

	/* Takes over what the initiator has sent already; may be NULL. */
	void (*fetch)(void *arg);
	void *fetch_arg;
	/* Which units EXTENDED COPY finds here: targets by their numbers, NULL where there is none;
	 * set by the owner before the channel is opened, the entries change between tasks' steps.
	 */
	const struct scsi_target_view *const *targets;
	unsigned target_count; /* 0: only this one */

	/* control reactor's */
	struct list link; /* attachment->channels, from open to close */
	struct scsi_visit close_visit;
	done_fn done;
	void *arg;
};

struct scsi_attachment_options {
	uint16_t number;
	bool read_only;
	bool removable; /* all attachments of a logical unit agree about it */
	bool short_cdbs; /* no commands of more than 16 bytes */
	const char *controller; /* by whose name the target port is known; NULL: "" */
	unsigned target; /* the port's number on it */
	struct scsi_store *store; /* borrowed for the life of the logical unit; may be NULL */
};

/* Opens the device and makes or joins its logical unit. The attachment starts with no unit
 * attention. -EINVAL for a block size that is no power of two of at least 512 and for a unit that
 * is removable elsewhere and not here, or the reverse, and what bdev_open returns. */
int scsi_attachment_open(struct bdev *bdev, const struct scsi_attachment_options *options,
	const struct scsi_attachment_ops *ops, void *owner, struct reason *reason,
	struct scsi_attachment **ret_attachment) MUST_CHECK;
/* No channel, no claim. Frees the attachment. */
void scsi_attachment_close(struct scsi_attachment *attachment);
/* For what goes on without attachments (wipe.h): the unit itself, with the last of both. */
void scsi_lun_destroy(struct scsi_lun *lun);

/* fetch(fetch_arg), which may be NULL, is called on the reactor when a task management function
 * needs all that was sent before it. -ENOMEM. */
int scsi_channel_create(struct scsi_attachment *attachment, struct reactor *reactor,
	void (*fetch)(void *arg), void *fetch_arg,
	struct scsi_lun_channel **ret_channel) MUST_CHECK;
/* Not open. */
void scsi_channel_destroy(struct scsi_lun_channel *channel);
/* Usable on its reactor after done(0). */
void scsi_channel_open(struct scsi_lun_channel *channel, done_fn done, void *arg);
/* No new task comes any more; done when those in flight have ended. Frees the channel. rc is 0. */
void scsi_channel_close(struct scsi_lun_channel *channel, done_fn done, void *arg);

/* Any thread. */
static inline void scsi_attention_raise(
	struct scsi_attachment *attachment, enum scsi_unit_attention attention)
{
	atomic_fetch_or_explicit(
		&attachment->attention, UINT32_C(1) << attention, memory_order_release);
}

/* A new initiator: forgets what was raised for the one before it, and what that one had asked for,
 * and raises power on. No command runs. */
void scsi_attention_restart(struct scsi_attachment *attachment);

/* All attachments of the unit but that one (NULL: all). */
void scsi_lun_raise_others(struct scsi_lun *lun, const struct scsi_attachment *except,
	enum scsi_unit_attention attention);

/* Any thread: takes the first pending unit attention; false when there is none. */
bool scsi_attention_take(
	struct scsi_attachment *attachment, enum scsi_unit_attention *ret_attention);
/* Any thread: forgets that one. */
void scsi_attention_clear(struct scsi_attachment *attachment, enum scsi_unit_attention attention);

#endif
