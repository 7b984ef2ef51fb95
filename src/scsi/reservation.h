/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Persistent reservations of a logical unit: who is registered, who holds what, what a service
 * action makes of it (SPC-4 5.12, 6.15, 6.16). Values and rules only: no I/O, no waiting, any
 * thread. What is in force on a logical unit, and how it comes to be, is lun_reservation.h.
 */
#ifndef SCSI_RESERVATION_H
#define SCSI_RESERVATION_H

#include "base/util.h"
#include "spec/scsi.h"

#define SCSI_REGISTRATIONS_MAX 512 /* of a logical unit */

/* An I_T nexus. */
struct scsi_nexus {
	uint64_t initiator; /* the initiator port: a SAS address (identity.h) */
	uint16_t port; /* the target port: its relative identifier, from 1 */
};

static inline bool scsi_nexus_equals(const struct scsi_nexus *a, const struct scsi_nexus *b)
{
	return a->initiator == b->initiator && a->port == b->port;
}

struct scsi_registration {
	struct scsi_nexus nexus;
	uint64_t key; /* never 0 */
};

/*
 * A whole state. It is made, and then no longer changed: a service action makes another one. NULL
 * stands for that of a new logical unit, wherever a const pointer to one is asked for.
 */
struct scsi_reservation {
	uint32_t generation; /* PRGENERATION */
	uint8_t type; /* SCSI_WRITE_EXCLUSIVE...; 0: no persistent reservation */
	bool aptpl; /* persists through power loss */
	struct scsi_nexus holder; /* of a type that has one */
	unsigned count;
	struct scsi_registration registrations[];
};

/* A copy with room for that many registrations more; NULL without memory. free() it. */
struct scsi_reservation *scsi_reservation_copy(const struct scsi_reservation *from, unsigned room);

/* NULL: not registered. */
const struct scsi_registration *scsi_reservation_find(
	const struct scsi_reservation *reservation, const struct scsi_nexus *nexus);
bool scsi_reservation_is_holder(
	const struct scsi_reservation *reservation, const struct scsi_nexus *nexus);
bool scsi_reservation_type_is_valid(unsigned type);
/* Registrants only, or all registrants. */
bool scsi_reservation_is_for_registrants(const struct scsi_reservation *reservation);
bool scsi_reservation_is_of_all(const struct scsi_reservation *reservation);

/* What a nexus may not do. */
enum scsi_restriction {
	SCSI_UNRESTRICTED,
	SCSI_RESTRICTED_WRITES,
	SCSI_RESTRICTED_ACCESS,
	SCSI_RESTRICTED_ALL, /* reserved by RESERVE (6) or (10) of another nexus */
};

enum scsi_restriction scsi_reservation_restricts(
	const struct scsi_reservation *reservation, const struct scsi_nexus *nexus);

/* ---- PERSISTENT RESERVE OUT ---------------------------------------------------------------- */

/* How a command that is checked here ends. */
struct scsi_verdict {
	uint8_t status;
	uint16_t code; /* with CHECK CONDITION: SCSI_ASC_..., key ILLEGAL REQUEST */
	int16_t byte; /* field pointer; -1: none */
	int8_t bit;
};

#define SCSI_PERSISTENT_OUT_BYTES 24 /* the parameter list without TransportIDs */
#define SCSI_PERSISTENT_OUT_BYTES_MAX                                                              \
	(SCSI_PERSISTENT_OUT_BYTES + 4 + SCSI_REGISTRATIONS_MAX * SCSI_TRANSPORT_ID_BYTES)

struct scsi_persistent_out {
	uint8_t action; /* SCSI_SA_REGISTER... */
	uint8_t scope;
	uint8_t type;
	bool spec_i_pt;
	bool all_tg_pt;
	bool aptpl;
	bool unreg;
	uint64_t key; /* RESERVATION KEY */
	uint64_t action_key; /* SERVICE ACTION RESERVATION KEY */
	struct scsi_nexus move_to;
	const uint8_t *transport_ids; /* of SPEC_I_PT, in the list; all are valid */
	unsigned transport_id_count;

	/* REGISTER and REGISTER AND IGNORE: further nexuses for which the same is asked, because of
	 * SPEC_I_PT or ALL_TG_PT. Whoever knows the target's ports fills them in. */
	const struct scsi_nexus *others;
	unsigned other_count;
};

/* The list of that length, whole, for the service action and SCOPE/TYPE byte of the CDB.
 * transport_ids points into it. */
struct scsi_verdict scsi_persistent_out_parse(struct scsi_persistent_out *ret_out, uint8_t action,
	uint8_t scope_type, const uint8_t *list, uint32_t len);

uint64_t scsi_transport_id_initiator(const uint8_t *transport_id);
void scsi_transport_id_put(uint8_t *transport_id, uint64_t initiator);

/* What the action of that nexus makes of the state. *ret_next is the new one, the caller's to free,
 * or NULL: it stays as it is. -ENOMEM. */
int scsi_reservation_apply(const struct scsi_reservation *now, const struct scsi_nexus *nexus,
	const struct scsi_persistent_out *out, struct scsi_verdict *ret_verdict,
	struct scsi_reservation **ret_next) MUST_CHECK;

/* The additional sense code of the unit attention that this has for a registrant other than the one
 * that acted; 0: none. */
uint16_t scsi_reservation_attention(const struct scsi_reservation *before,
	const struct scsi_reservation *after, const struct scsi_registration *registration,
	uint8_t action);

/* ---- PERSISTENT RESERVE IN ----------------------------------------------------------------- */

#define SCSI_PERSISTENT_IN_BYTES_MAX (8 + SCSI_REGISTRATIONS_MAX * (24 + SCSI_TRANSPORT_ID_BYTES))

/* Parameter data of a service action into a buffer of that size; its length. durable: the state
 * can persist through power loss. */
unsigned scsi_reservation_read(
	const struct scsi_reservation *reservation, uint8_t action, bool durable, uint8_t *buf);

#endif
