/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three initiators of one logical unit, the second on a reactor of its own, and the commands about
 * reservations that they send.
 */
#ifndef UNIT_SCSI_NEXUSES_H
#define UNIT_SCSI_NEXUSES_H

#include "scsi_world.h"

#define NEXUSES 3

/* What a parameter list of PERSISTENT RESERVE OUT says beside its keys. */
#define LIST_APTPL     0x01
#define LIST_ALL_TG_PT 0x04
#define LIST_SPEC_I_PT 0x08

struct nexuses {
	struct scsi_world w;
	struct scsi_attachment *attachments[NEXUSES]; /* the first is the world's */
	struct scsi_lun_channel *channels[NEXUSES];
};

/* state_dir: a name, made by state_dir_make, or NULL. */
void nexuses_start(struct nexuses *n, const char *state_dir);
void nexuses_end(struct nexuses *n);
/* All initiators go, and the logical unit with them; then they come back, as after a restart. */
void nexuses_restart(struct nexuses *n);

/* A folder on the world's host, and its end with what is in it. */
const char *state_dir_make(struct host *host);
void state_dir_remove(struct host *host);

/* A command of that nexus. */
#define FROM(n, nexus, ...) command_from((n), (nexus), COMMAND(&(n)->w, __VA_ARGS__))
struct command *command_from(struct nexuses *n, unsigned nexus, struct command *command);

/* PERSISTENT RESERVE OUT; flags are byte 20 of the list. */
struct command *persistent_out(struct nexuses *n, unsigned nexus, uint8_t action, uint8_t type,
	uint64_t key, uint64_t action_key, uint8_t flags);
/* REGISTER with SPEC_I_PT: ids are initiators. */
struct command *register_for(struct nexuses *n, unsigned nexus, uint64_t key, uint8_t flags,
	const uint64_t *ids, unsigned count);
struct command *register_and_move(struct nexuses *n, unsigned nexus, uint64_t key,
	uint64_t action_key, bool unreg, uint64_t initiator, uint16_t port);
/* PERSISTENT RESERVE IN with a buffer that is long enough. */
struct command *persistent_in(struct nexuses *n, unsigned nexus, uint8_t action);

struct command *read_one(struct nexuses *n, unsigned nexus);
struct command *write_one(struct nexuses *n, unsigned nexus);

/* Run and free. */
void wants_status(struct command *command, uint8_t status);
void wants_conflict(struct command *command);

void registers(struct nexuses *n, unsigned nexus, uint64_t key);
void reserves(struct nexuses *n, unsigned nexus, uint64_t key, uint8_t type);
/* All three with their number plus 1 as key. */
void all_register(struct nexuses *n);
/* Takes every attention that waits. */
void listens(struct nexuses *n, unsigned nexus);

/* What PERSISTENT RESERVE IN says. */
struct registrations {
	uint32_t generation;
	unsigned count;
	struct {
		uint64_t key;
		uint64_t initiator;
		uint16_t port;
		bool holder;
		uint8_t type;
	} list[SCSI_REGISTRATIONS_MAX];
};
void read_full_status(struct nexuses *n, unsigned nexus, struct registrations *ret);
/* Type of the reservation, 0: none, and its key. */
uint8_t read_reservation(struct nexuses *n, unsigned nexus, uint64_t *ret_key);

#endif
