/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Persistent reservations (reservation.h): the state, and what follows from it.
 *
 * A nexus is one of these to a logical unit:
 *
 *	            REGISTER, REGISTER AND IGNORE,       RESERVE, PREEMPT,
 *	            destination of a move                destination of a move
 *	unregistered -----------------------> registrant -----------------> holder
 *	     ^                                  |    ^                         |
 *	     +--key 0; CLEAR, PREEMPT of others-+    +---RELEASE; moved away---+
 *	     +-----key 0, CLEAR, PREEMPT by another: the reservation ends------+
 *
 * With the two types for all registrants every registrant is a holder. A reservation ends with its
 * holder's registration, with the last one of all where all are holders.
 *
 * What a nexus may do while there is a reservation (SPC-4 tables 63 and 64, SBC-3 table 13), for
 * the three kinds of commands of command.h:
 *
 *	                          reads     writes     unrestricted
 *	holder                    yes       yes        yes
 *	registrant, types 5 to 8  yes       yes        yes
 *	others, types 1, 5, 7     yes       conflict   yes
 *	others, types 3, 6, 8     conflict  conflict   yes
 *
 * The rules of each service action are in reservation_out.c.
 */
#include "scsi/reservation.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

struct scsi_reservation *scsi_reservation_copy(const struct scsi_reservation *from, unsigned room)
{
	unsigned count = from ? from->count : 0;
	struct scsi_reservation *copy =
		calloc(1, sizeof(*copy) + (count + room) * sizeof(copy->registrations[0]));

	if (copy && from)
		memcpy(copy, from, sizeof(*from) + count * sizeof(from->registrations[0]));
	return copy;
}

const struct scsi_registration *scsi_reservation_find(
	const struct scsi_reservation *reservation, const struct scsi_nexus *nexus)
{
	for (unsigned i = 0; reservation && i < reservation->count; i++) {
		if (scsi_nexus_equals(&reservation->registrations[i].nexus, nexus))
			return &reservation->registrations[i];
	}
	return NULL;
}

bool scsi_reservation_type_is_valid(unsigned type)
{
	switch (type) {
	case SCSI_WRITE_EXCLUSIVE:
	case SCSI_EXCLUSIVE_ACCESS:
	case SCSI_WRITE_EXCLUSIVE_REGISTRANTS:
	case SCSI_EXCLUSIVE_ACCESS_REGISTRANTS:
	case SCSI_WRITE_EXCLUSIVE_ALL_REGISTRANTS:
	case SCSI_EXCLUSIVE_ACCESS_ALL_REGISTRANTS:
		return true;
	default:
		return false;
	}
}

bool scsi_reservation_is_of_all(const struct scsi_reservation *reservation)
{
	return reservation && reservation->type >= SCSI_WRITE_EXCLUSIVE_ALL_REGISTRANTS;
}

bool scsi_reservation_is_for_registrants(const struct scsi_reservation *reservation)
{
	return reservation && reservation->type >= SCSI_WRITE_EXCLUSIVE_REGISTRANTS;
}

bool scsi_reservation_is_holder(
	const struct scsi_reservation *reservation, const struct scsi_nexus *nexus)
{
	if (!reservation || !reservation->type)
		return false;
	if (scsi_reservation_is_of_all(reservation))
		return scsi_reservation_find(reservation, nexus) != NULL;
	return scsi_nexus_equals(&reservation->holder, nexus);
}

enum scsi_restriction scsi_reservation_restricts(
	const struct scsi_reservation *reservation, const struct scsi_nexus *nexus)
{
	if (!reservation || !reservation->type)
		return SCSI_UNRESTRICTED;
	if (scsi_reservation_is_holder(reservation, nexus))
		return SCSI_UNRESTRICTED;
	if (scsi_reservation_is_for_registrants(reservation) &&
		scsi_reservation_find(reservation, nexus))
		return SCSI_UNRESTRICTED;
	switch (reservation->type) {
	case SCSI_WRITE_EXCLUSIVE:
	case SCSI_WRITE_EXCLUSIVE_REGISTRANTS:
	case SCSI_WRITE_EXCLUSIVE_ALL_REGISTRANTS:
		return SCSI_RESTRICTED_WRITES;
	default:
		return SCSI_RESTRICTED_ACCESS;
	}
}

/* ---- PERSISTENT RESERVE IN: SPC-4 6.15 ----------------------------------------------------- */

uint64_t scsi_transport_id_initiator(const uint8_t *transport_id)
{
	return be64_get(transport_id + 4);
}

void scsi_transport_id_put(uint8_t *transport_id, uint64_t initiator)
{
	memset(transport_id, 0, SCSI_TRANSPORT_ID_BYTES);
	transport_id[0] = SCSI_TRANSPORT_SAS;
	be64_put(transport_id + 4, initiator);
}

static unsigned read_keys(const struct scsi_reservation *reservation, uint8_t *buf)
{
	unsigned len = 0;

	for (unsigned i = 0; reservation && i < reservation->count; i++, len += 8)
		be64_put(buf + len, reservation->registrations[i].key);
	return len;
}

static unsigned read_reservation(const struct scsi_reservation *reservation, uint8_t *buf)
{
	if (!reservation || !reservation->type)
		return 0;
	memset(buf, 0, 16);
	if (!scsi_reservation_is_of_all(reservation))
		be64_put(buf, scsi_reservation_find(reservation, &reservation->holder)->key);
	buf[13] = reservation->type;
	return 16;
}

static unsigned read_full_status(const struct scsi_reservation *reservation, uint8_t *buf)
{
	unsigned len = 0;

	for (unsigned i = 0; reservation && i < reservation->count; i++) {
		const struct scsi_registration *registration = &reservation->registrations[i];
		uint8_t *at = buf + len;

		memset(at, 0, 24);
		be64_put(at, registration->key);
		if (scsi_reservation_is_holder(reservation, &registration->nexus)) {
			at[12] = 0x01; /* R_HOLDER */
			at[13] = reservation->type;
		}
		be16_put(at + 18, registration->nexus.port);
		be32_put(at + 20, SCSI_TRANSPORT_ID_BYTES);
		scsi_transport_id_put(at + 24, registration->nexus.initiator);
		len += 24 + SCSI_TRANSPORT_ID_BYTES;
	}
	return len;
}

static unsigned report_capabilities(
	const struct scsi_reservation *reservation, bool durable, uint8_t *buf)
{
	memset(buf, 0, 8);
	be16_put(buf, 8);
	buf[2] = 0x10 | 0x08 | 0x04; /* CRH, SIP_C, ATP_C */
	if (durable)
		buf[2] |= 0x01; /* PTPL_C */
	buf[3] = 0x80 | 0x10; /* TMV; ALLOW COMMANDS 001b: TEST UNIT READY */
	if (reservation && reservation->aptpl)
		buf[3] |= 0x01; /* PTPL_A */
	buf[4] = 0x80 | 0x40 | 0x20 | 0x08 | 0x02; /* types 7, 6, 5, 3, 1 */
	buf[5] = 0x01; /* type 8 */
	return 8;
}

unsigned scsi_reservation_read(
	const struct scsi_reservation *reservation, uint8_t action, bool durable, uint8_t *buf)
{
	unsigned len = 0;

	switch (action) {
	case SCSI_SA_READ_KEYS:
		len = read_keys(reservation, buf + 8);
		break;
	case SCSI_SA_READ_RESERVATION:
		len = read_reservation(reservation, buf + 8);
		break;
	case SCSI_SA_READ_FULL_STATUS:
		len = read_full_status(reservation, buf + 8);
		break;
	default:
		return report_capabilities(reservation, durable, buf);
	}
	be32_put(buf, reservation ? reservation->generation : 0);
	be32_put(buf + 4, len);
	return 8 + len;
}
