/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PERSISTENT RESERVE OUT: its parameter list (SPC-4 6.16.3, 6.16.4) and what each service action
 * makes of the state (reservation.h). Every action begins with a copy of the state and changes
 * that; nothing is changed by one that is refused.
 *
 * What is refused, beside a key that is not that of the nexus (RESERVATION CONFLICT, except by
 * REGISTER AND IGNORE EXISTING KEY):
 *
 *	REGISTER, with SPEC_I_PT	of a registrant: INVALID FIELD IN CDB; one of those named is
 *					registered already: RESERVATION CONFLICT
 *	RESERVE				another holds one, or the holder asks for another type:
 *					RESERVATION CONFLICT
 *	RELEASE				of the holder, with another type: INVALID RELEASE
 *	PREEMPT (AND ABORT)		nobody has that key: RESERVATION CONFLICT; key 0 where not
 *					all registrants hold: INVALID FIELD IN PARAMETER LIST
 *	REGISTER AND MOVE		there is none: INVALID FIELD IN CDB; it is another's, or all
 *					registrants': RESERVATION CONFLICT; to the initiator itself
 *					or with key 0: INVALID FIELD IN PARAMETER LIST
 *	what adds registrations		too many: INSUFFICIENT REGISTRATION RESOURCES
 *
 * A registrant that is not the holder may RELEASE: nothing happens, and that is GOOD.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/reservation.h"

static struct scsi_verdict good(void)
{
	return (struct scsi_verdict){.status = SCSI_STATUS_GOOD};
}

static struct scsi_verdict conflict(void)
{
	return (struct scsi_verdict){.status = SCSI_STATUS_RESERVATION_CONFLICT};
}

static struct scsi_verdict refuse(uint16_t code, int byte, int bit)
{
	return (struct scsi_verdict){.status = SCSI_STATUS_CHECK_CONDITION,
		.code = code,
		.byte = (int16_t)byte,
		.bit = (int8_t)bit};
}

static struct scsi_verdict bad_parameter(unsigned byte, int bit)
{
	return refuse(SCSI_ASC_INVALID_FIELD_IN_PARAMETERS, (int)byte, bit);
}

static struct scsi_verdict bad_cdb(unsigned byte, int bit)
{
	return refuse(SCSI_ASC_INVALID_FIELD_IN_CDB, (int)byte, bit);
}

static struct scsi_verdict bad_length(void)
{
	return refuse(SCSI_ASC_PARAMETER_LIST_LENGTH, -1, -1);
}

static bool is_good(const struct scsi_verdict *verdict)
{
	return verdict->status == SCSI_STATUS_GOOD;
}

/* ---- the parameter list -------------------------------------------------------------------- */

/* The only kind that names one of our initiators. */
static struct scsi_verdict check_transport_id(const uint8_t *list, unsigned at)
{
	if (list[at] != SCSI_TRANSPORT_SAS)
		return bad_parameter(at, -1);
	return good();
}

static struct scsi_verdict parse_transport_ids(
	struct scsi_persistent_out *out, const uint8_t *list, uint32_t len)
{
	struct scsi_verdict verdict;
	uint32_t additional;

	if (len < SCSI_PERSISTENT_OUT_BYTES + 4)
		return bad_length();
	additional = be32_get(list + 24);
	if (additional != len - 28)
		return bad_length();
	if (additional % SCSI_TRANSPORT_ID_BYTES)
		return bad_parameter(24, -1);
	for (uint32_t at = 28; at < len; at += SCSI_TRANSPORT_ID_BYTES) {
		verdict = check_transport_id(list, at);
		if (!is_good(&verdict))
			return verdict;
	}
	out->transport_ids = list + 28;
	out->transport_id_count = additional / SCSI_TRANSPORT_ID_BYTES;
	return good();
}

static struct scsi_verdict parse_move(
	struct scsi_persistent_out *out, const uint8_t *list, uint32_t len)
{
	struct scsi_verdict verdict;

	if (be32_get(list + 20) != len - SCSI_PERSISTENT_OUT_BYTES)
		return bad_length();
	if (len != SCSI_PERSISTENT_OUT_BYTES + SCSI_TRANSPORT_ID_BYTES)
		return bad_parameter(20, -1);
	verdict = check_transport_id(list, SCSI_PERSISTENT_OUT_BYTES);
	if (!is_good(&verdict))
		return verdict;
	out->unreg = list[17] & 0x02;
	out->aptpl = list[17] & 0x01;
	out->move_to.port = be16_get(list + 18);
	out->move_to.initiator = scsi_transport_id_initiator(list + SCSI_PERSISTENT_OUT_BYTES);
	if (!out->move_to.port)
		return bad_parameter(18, -1);
	return good();
}

struct scsi_verdict scsi_persistent_out_parse(struct scsi_persistent_out *ret_out, uint8_t action,
	uint8_t scope_type, const uint8_t *list, uint32_t len)
{
	struct scsi_persistent_out *out = ret_out;
	bool registers = action == SCSI_SA_REGISTER || action == SCSI_SA_REGISTER_AND_IGNORE;

	memset(out, 0, sizeof(*out));
	if (len < SCSI_PERSISTENT_OUT_BYTES)
		return bad_length();
	out->action = action;
	out->scope = scope_type >> 4;
	out->type = scope_type & 0x0f;
	out->key = be64_get(list);
	out->action_key = be64_get(list + 8);
	if (action == SCSI_SA_REGISTER_AND_MOVE)
		return parse_move(out, list, len);
	if (registers) {
		out->spec_i_pt = list[20] & 0x08;
		out->all_tg_pt = list[20] & 0x04;
		out->aptpl = list[20] & 0x01;
	}
	if (out->spec_i_pt && action == SCSI_SA_REGISTER_AND_IGNORE)
		return bad_parameter(20, 3);
	if (out->spec_i_pt)
		return parse_transport_ids(out, list, len);
	return len == SCSI_PERSISTENT_OUT_BYTES ? good() : bad_length();
}

/* ---- changes of a state that is being made -------------------------------------------------- */

/* It has room. */
static void nexus_register(
	struct scsi_reservation *next, const struct scsi_nexus *nexus, uint64_t key)
{
	const struct scsi_registration *found = scsi_reservation_find(next, nexus);

	if (found)
		next->registrations[found - next->registrations].key = key;
	else
		next->registrations[next->count++] =
			(struct scsi_registration){.nexus = *nexus, .key = key};
}

/* A reservation that nobody holds any more has ended. */
static void reservation_settle(struct scsi_reservation *next)
{
	bool of_all = scsi_reservation_is_of_all(next);

	if (of_all ? next->count == 0 : !scsi_reservation_find(next, &next->holder))
		next->type = 0;
	if (of_all || !next->type)
		memset(&next->holder, 0, sizeof(next->holder));
}

static void nexus_unregister(struct scsi_reservation *next, const struct scsi_nexus *nexus)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < next->count; i++) {
		if (!scsi_nexus_equals(&next->registrations[i].nexus, nexus))
			next->registrations[kept++] = next->registrations[i];
	}
	next->count = kept;
	reservation_settle(next);
}

/* Of every nexus with that key (0: whatever it is) but the one that is spared; how many. */
static unsigned keys_unregister(
	struct scsi_reservation *next, uint64_t key, const struct scsi_nexus *spared)
{
	unsigned kept = 0, count = next->count;

	for (unsigned i = 0; i < count; i++) {
		const struct scsi_registration *each = &next->registrations[i];

		if ((key && each->key != key) ||
			(spared && scsi_nexus_equals(&each->nexus, spared)))
			next->registrations[kept++] = *each;
	}
	next->count = kept;
	return count - kept;
}

static void reservation_make(
	struct scsi_reservation *next, const struct scsi_nexus *holder, uint8_t type)
{
	next->type = type;
	next->holder = *holder;
	reservation_settle(next);
}

/* ---- REGISTER, REGISTER AND IGNORE EXISTING KEY: SPC-4 5.12.7 -------------------------------- */

static bool others_conflict(
	const struct scsi_reservation *now, const struct scsi_persistent_out *out)
{
	for (unsigned i = 0; i < out->other_count; i++) {
		const struct scsi_registration *other = scsi_reservation_find(now, &out->others[i]);

		if (other && other->key != out->key)
			return true;
	}
	return false;
}

static struct scsi_verdict register_check(const struct scsi_reservation *now,
	const struct scsi_nexus *nexus, const struct scsi_persistent_out *out)
{
	const struct scsi_registration *own = scsi_reservation_find(now, nexus);

	if (out->action == SCSI_SA_REGISTER_AND_IGNORE)
		return good();
	if (own ? own->key != out->key : out->key != 0)
		return conflict();
	if (own && out->spec_i_pt)
		return bad_cdb(1, 4);
	return others_conflict(now, out) ? conflict() : good();
}

static struct scsi_verdict register_apply(struct scsi_reservation *next,
	const struct scsi_nexus *nexus, const struct scsi_persistent_out *out)
{
	struct scsi_verdict verdict = register_check(next, nexus, out);

	if (!is_good(&verdict))
		return verdict;
	next->generation++;
	next->aptpl = out->aptpl;
	if (!out->action_key) {
		nexus_unregister(next, nexus);
		for (unsigned i = 0; i < out->other_count; i++)
			nexus_unregister(next, &out->others[i]);
		return verdict;
	}
	nexus_register(next, nexus, out->action_key);
	for (unsigned i = 0; i < out->other_count; i++)
		nexus_register(next, &out->others[i], out->action_key);
	if (next->count > SCSI_REGISTRATIONS_MAX)
		return refuse(SCSI_ASC_REGISTRATION_RESOURCES, -1, -1);
	return verdict;
}

/* ---- RESERVE, RELEASE, CLEAR: 5.12.9, 5.12.11.2, 5.12.11.4 ----------------------------------- */

static struct scsi_verdict reserve_apply(struct scsi_reservation *next,
	const struct scsi_nexus *nexus, const struct scsi_persistent_out *out)
{
	if (next->type) {
		bool same = scsi_reservation_is_holder(next, nexus) && next->type == out->type;

		return same ? good() : conflict();
	}
	reservation_make(next, nexus, out->type);
	return good();
}

static struct scsi_verdict release_apply(struct scsi_reservation *next,
	const struct scsi_nexus *nexus, const struct scsi_persistent_out *out)
{
	if (!scsi_reservation_is_holder(next, nexus))
		return good();
	if (next->type != out->type || out->scope)
		return refuse(SCSI_ASC_INVALID_RELEASE, -1, -1);
	reservation_make(next, nexus, 0);
	return good();
}

static struct scsi_verdict clear_apply(struct scsi_reservation *next)
{
	next->generation++;
	next->count = 0;
	reservation_settle(next);
	return good();
}

/* ---- PREEMPT, PREEMPT AND ABORT: 5.12.11.3 --------------------------------------------------- */

/* Does the key name whoever holds the reservation? */
static bool preempts_holder(const struct scsi_reservation *next, uint64_t key)
{
	if (!next->type)
		return false;
	if (scsi_reservation_is_of_all(next))
		return key == 0;
	return key && scsi_reservation_find(next, &next->holder)->key == key;
}

static struct scsi_verdict preempt_apply(struct scsi_reservation *next,
	const struct scsi_nexus *nexus, const struct scsi_persistent_out *out)
{
	if (preempts_holder(next, out->action_key)) {
		if (out->scope || !scsi_reservation_type_is_valid(out->type))
			return bad_cdb(2, -1);
		keys_unregister(next, out->action_key, nexus);
		reservation_make(next, nexus, out->type);
	} else {
		if (!out->action_key)
			return bad_parameter(8, -1);
		if (!keys_unregister(next, out->action_key, NULL))
			return conflict();
		reservation_settle(next);
	}
	next->generation++;
	return good();
}

/* ---- REGISTER AND MOVE: 5.12.8 --------------------------------------------------------------- */

static struct scsi_verdict move_apply(struct scsi_reservation *next, const struct scsi_nexus *nexus,
	const struct scsi_persistent_out *out)
{
	if (!next->type)
		return bad_cdb(1, 4);
	if (scsi_reservation_is_of_all(next) || !scsi_reservation_is_holder(next, nexus))
		return conflict();
	if (!out->action_key)
		return bad_parameter(8, -1);
	if (out->move_to.initiator == nexus->initiator)
		return bad_parameter(SCSI_PERSISTENT_OUT_BYTES, -1);
	next->generation++;
	next->aptpl = out->aptpl;
	nexus_register(next, &out->move_to, out->action_key);
	reservation_make(next, &out->move_to, next->type);
	if (out->unreg)
		nexus_unregister(next, nexus);
	if (next->count > SCSI_REGISTRATIONS_MAX)
		return refuse(SCSI_ASC_REGISTRATION_RESOURCES, -1, -1);
	return good();
}

/* ---- all of them ----------------------------------------------------------------------------- */

static struct scsi_verdict action_apply(struct scsi_reservation *next,
	const struct scsi_nexus *nexus, const struct scsi_persistent_out *out)
{
	const struct scsi_registration *own = scsi_reservation_find(next, nexus);

	if (out->action == SCSI_SA_REGISTER || out->action == SCSI_SA_REGISTER_AND_IGNORE)
		return register_apply(next, nexus, out);
	if (!own || own->key != out->key)
		return conflict();
	switch (out->action) {
	case SCSI_SA_RESERVE:
		if (out->scope || !scsi_reservation_type_is_valid(out->type))
			return bad_cdb(2, -1);
		return reserve_apply(next, nexus, out);
	case SCSI_SA_RELEASE:
		return release_apply(next, nexus, out);
	case SCSI_SA_CLEAR:
		return clear_apply(next);
	case SCSI_SA_PREEMPT:
	case SCSI_SA_PREEMPT_AND_ABORT:
		return preempt_apply(next, nexus, out);
	default:
		return move_apply(next, nexus, out);
	}
}

/* What adds, changes or removes a registration counts the generation up. */
static bool state_is_same(const struct scsi_reservation *now, const struct scsi_reservation *next)
{
	static const struct scsi_reservation none;

	now = now ? now : &none;
	return now->generation == next->generation && now->type == next->type &&
	       now->aptpl == next->aptpl && now->count == next->count &&
	       scsi_nexus_equals(&now->holder, &next->holder);
}

int scsi_reservation_apply(const struct scsi_reservation *now, const struct scsi_nexus *nexus,
	const struct scsi_persistent_out *out, struct scsi_verdict *ret_verdict,
	struct scsi_reservation **ret_next)
{
	struct scsi_reservation *next = scsi_reservation_copy(now, out->other_count + 1);

	if (!next)
		return -ENOMEM;
	*ret_verdict = action_apply(next, nexus, out);
	if (is_good(ret_verdict) && !state_is_same(now, next)) {
		*ret_next = next;
		return 0;
	}
	free(next);
	*ret_next = NULL;
	return 0;
}

/* ---- who hears of it: 5.12.11 ---------------------------------------------------------------- */

uint16_t scsi_reservation_attention(const struct scsi_reservation *before,
	const struct scsi_reservation *after, const struct scsi_registration *registration,
	uint8_t action)
{
	bool gone = !scsi_reservation_find(after, &registration->nexus);
	bool preempts = action == SCSI_SA_PREEMPT || action == SCSI_SA_PREEMPT_AND_ABORT;

	if (gone && action == SCSI_SA_CLEAR)
		return SCSI_ASC_RESERVATIONS_PREEMPTED;
	if (gone)
		return preempts ? SCSI_ASC_REGISTRATIONS_PREEMPTED : 0;
	if (!before->type || before->type == after->type)
		return 0;
	if (preempts || (scsi_reservation_is_for_registrants(before) && !after->type))
		return SCSI_ASC_RESERVATIONS_RELEASED;
	return 0;
}
