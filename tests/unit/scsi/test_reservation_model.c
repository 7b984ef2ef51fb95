/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random commands of three initiators against a simple model of reservations: three keys, a holder,
 * a type, whom RESERVE has given the disk, and what each has yet to hear. Written from the
 * standard's tables, in another form than the target's rules: the model asks "may this one?" where
 * those make the next state.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "nexuses.h"

#define COMMANDS 350
#define CONFLICT 1 /* an answer; others are sense, 0: GOOD */
#define NOBODY   (-1)

static struct nexuses n;
static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (random_state >> 33) % below;
}

/* ---- the model ----------------------------------------------------------------------------- */

static struct {
	uint64_t key[NEXUSES]; /* 0: not registered */
	int holder;
	unsigned type;
	uint32_t generation;
	int reserver;
	bool hears[NEXUSES][3]; /* of 2A03h, 2A04h, 2A05h */
} m;

enum news { PREEMPTED, RELEASED, REMOVED };

static unsigned registered(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < NEXUSES; i++)
		count += m.key[i] != 0;
	return count;
}

static bool holds(unsigned i)
{
	if (m.type >= 7)
		return m.key[i] != 0;
	return m.type && m.holder == (int)i;
}

static void tell_registrants(unsigned but, enum news news)
{
	for (unsigned i = 0; i < NEXUSES; i++) {
		if (i != but && m.key[i])
			m.hears[i][news] = true;
	}
}

static void forget(unsigned i)
{
	bool last_hold = holds(i) && (m.type < 7 || registered() == 1);

	m.key[i] = 0;
	if (last_hold)
		m.type = 0;
}

struct operation {
	unsigned nexus;
	uint8_t action;
	uint8_t type;
	uint64_t key;
	uint64_t action_key;
	unsigned to; /* of a move */
	bool unreg;
	bool spec_i_pt; /* and for the other two as well */
};

static uint32_t model_register(const struct operation *op)
{
	unsigned i = op->nexus, type = m.type;

	if (op->action == SCSI_SA_REGISTER && op->key != m.key[i])
		return CONFLICT;
	if (op->spec_i_pt && m.key[i])
		return 0x052400;
	if (op->spec_i_pt && registered())
		return CONFLICT;
	m.generation++;
	for (unsigned j = 0; j < NEXUSES; j++) {
		if (op->action_key && (j == i || op->spec_i_pt))
			m.key[j] = op->action_key;
	}
	if (!op->action_key && m.key[i]) {
		forget(i);
		if ((type == 5 || type == 6) && !m.type)
			tell_registrants(i, RELEASED);
	}
	return 0;
}

static uint32_t model_reserve(const struct operation *op)
{
	if (m.type)
		return holds(op->nexus) && m.type == op->type ? 0 : CONFLICT;
	m.type = op->type;
	m.holder = (int)op->nexus;
	return 0;
}

static uint32_t model_release(const struct operation *op)
{
	if (!holds(op->nexus))
		return 0;
	if (op->type != m.type)
		return 0x052604;
	if (m.type >= 5)
		tell_registrants(op->nexus, RELEASED);
	m.type = 0;
	return 0;
}

static uint32_t model_clear(const struct operation *op)
{
	tell_registrants(op->nexus, PREEMPTED);
	memset(m.key, 0, sizeof(m.key));
	m.type = 0;
	m.generation++;
	return 0;
}

static bool key_is_there(uint64_t key)
{
	for (unsigned i = 0; i < NEXUSES; i++) {
		if (key && m.key[i] == key)
			return true;
	}
	return false;
}

static uint32_t model_preempt(const struct operation *op)
{
	bool all = m.type >= 7 && !op->action_key;
	bool takes = all || (m.type && m.type < 7 && m.key[m.holder] == op->action_key);
	unsigned type = m.type;

	if (!op->action_key && !all)
		return 0x052600;
	if (!all && !key_is_there(op->action_key))
		return CONFLICT;
	m.generation++;
	for (unsigned i = 0; i < NEXUSES; i++) {
		if (!m.key[i] || (!all && m.key[i] != op->action_key))
			continue;
		if (i == op->nexus) {
			if (!takes)
				forget(i);
			continue;
		}
		m.hears[i][REMOVED] = true;
		forget(i);
	}
	if (!takes)
		return 0;
	m.type = op->type;
	m.holder = (int)op->nexus;
	if (type != op->type)
		tell_registrants(op->nexus, RELEASED);
	return 0;
}

static uint32_t model_move(const struct operation *op)
{
	if (!m.type)
		return 0x052400;
	if (m.type >= 7 || m.holder != (int)op->nexus)
		return CONFLICT;
	if (!op->action_key || op->to == op->nexus)
		return 0x052600;
	m.generation++;
	m.key[op->to] = op->action_key;
	m.holder = (int)op->to;
	if (op->unreg)
		m.key[op->nexus] = 0;
	return 0;
}

static uint32_t model_persistent_out(const struct operation *op)
{
	if (m.reserver != NOBODY)
		return CONFLICT;
	if (op->action == SCSI_SA_REGISTER || op->action == SCSI_SA_REGISTER_AND_IGNORE)
		return model_register(op);
	if (!m.key[op->nexus] || m.key[op->nexus] != op->key)
		return CONFLICT;
	switch (op->action) {
	case SCSI_SA_RESERVE:
		return model_reserve(op);
	case SCSI_SA_RELEASE:
		return model_release(op);
	case SCSI_SA_CLEAR:
		return model_clear(op);
	case SCSI_SA_REGISTER_AND_MOVE:
		return model_move(op);
	default:
		return model_preempt(op);
	}
}

static bool may_always(unsigned i)
{
	if (m.reserver != NOBODY)
		return m.reserver == (int)i;
	return !m.type || holds(i) || (m.type >= 5 && m.key[i]);
}

static uint32_t model_read(unsigned i)
{
	bool shared = m.type == 1 || m.type == 5 || m.type == 7;

	return may_always(i) || (m.reserver == NOBODY && shared) ? 0 : CONFLICT;
}

/* RESERVE and RELEASE (6). */
static uint32_t model_legacy(unsigned i, bool release)
{
	if (registered())
		return m.type && may_always(i) ? 0 : CONFLICT;
	if (release) {
		m.reserver = m.reserver == (int)i ? NOBODY : m.reserver;
		return 0;
	}
	if (m.reserver != NOBODY && m.reserver != (int)i)
		return CONFLICT;
	m.reserver = (int)i;
	return 0;
}

/* What comes before anything else, and is told once. 0: nothing. */
static uint32_t model_attention(unsigned i)
{
	for (unsigned news = 0; news < 3; news++) {
		if (m.hears[i][news]) {
			m.hears[i][news] = false;
			return 0x062a03 + news;
		}
	}
	return 0;
}

/* ---- play ---------------------------------------------------------------------------------- */

static void expect_answer(struct command *command, uint32_t answer)
{
	command_run(command);
	assert_int_equal(command->task.response, SCSI_RESPONSE_OK);
	if (answer == CONFLICT)
		assert_int_equal(command->task.status, SCSI_STATUS_RESERVATION_CONFLICT);
	else
		assert_int_equal(command_sense(command), answer);
	command_free(command);
}

static struct command *operation_encode(const struct operation *op)
{
	uint64_t ids[NEXUSES];

	for (unsigned i = 0; i < NEXUSES; i++)
		ids[i] = WORLD_INITIATOR(i);
	if (op->spec_i_pt)
		return register_for(&n, op->nexus, op->action_key, 0, ids, NEXUSES);
	if (op->action == SCSI_SA_REGISTER_AND_MOVE)
		return register_and_move(&n, op->nexus, op->key, op->action_key, op->unreg,
			WORLD_INITIATOR(op->to), 1);
	return persistent_out(&n, op->nexus, op->action, op->type, op->key, op->action_key, 0);
}

static void play_persistent_out(unsigned nexus)
{
	static const uint8_t types[] = {1, 3, 5, 6, 7, 8};
	struct operation op = {
		.nexus = nexus,
		.action = (uint8_t)(draw(3) ? draw(8) : draw(2)),
		.type = types[draw(ARRAY_SIZE(types))],
		.key = draw(8) ? m.key[nexus] : draw(4),
		.action_key = draw(5),
		.to = (unsigned)draw(NEXUSES),
		.unreg = draw(2),
	};
	uint32_t answer = model_attention(nexus);

	if (draw(3) && m.type)
		op.type = (uint8_t)m.type;
	if (op.action == SCSI_SA_REGISTER && draw(4) == 0) {
		op.spec_i_pt = true;
		op.key = 0;
		op.action_key = op.action_key ? op.action_key : 1;
	}
	expect_answer(operation_encode(&op), answer ? answer : model_persistent_out(&op));
}

static void play_other(unsigned nexus)
{
	uint32_t attention = model_attention(nexus);
	unsigned kind = (unsigned)draw(5);

	switch (kind) {
	case 0:
		expect_answer(read_one(&n, nexus), attention ? attention : model_read(nexus));
		break;
	case 1:
		expect_answer(write_one(&n, nexus), attention           ? attention
						    : may_always(nexus) ? 0
									: CONFLICT);
		break;
	case 2:
		expect_answer(FROM(&n, nexus, SCSI_TEST_UNIT_READY),
			attention                                          ? attention
			: m.reserver == NOBODY || m.reserver == (int)nexus ? 0
									   : CONFLICT);
		break;
	default:
		expect_answer(FROM(&n, nexus, kind == 3 ? SCSI_RESERVE_6 : SCSI_RELEASE_6),
			attention ? attention : model_legacy(nexus, kind == 4));
	}
}

/* What PERSISTENT RESERVE IN says is what the model is. */
static void compare(void)
{
	static struct registrations found;
	uint64_t key;

	if (m.reserver != NOBODY)
		return;
	for (unsigned i = 0; i < NEXUSES; i++) {
		while (model_attention(i))
			wants_status(
				FROM(&n, i, SCSI_TEST_UNIT_READY), SCSI_STATUS_CHECK_CONDITION);
	}
	assert_int_equal(read_reservation(&n, 0, &key), m.type);
	assert_int_equal(key, m.type && m.type < 7 ? m.key[m.holder] : 0);
	read_full_status(&n, 1, &found);
	assert_int_equal(found.generation, m.generation);
	assert_int_equal(found.count, registered());
	for (unsigned i = 0; i < found.count; i++) {
		unsigned nexus = (unsigned)(found.list[i].initiator - WORLD_INITIATOR(0));

		assert_true(nexus < NEXUSES);
		assert_int_equal(found.list[i].key, m.key[nexus]);
		assert_int_equal(found.list[i].port, 1);
		assert_int_equal(found.list[i].holder, holds(nexus));
		assert_int_equal(found.list[i].type, holds(nexus) ? m.type : 0);
	}
}

static void play(uint64_t seed, const char *state_dir)
{
	random_state = seed * 7919 + 17;
	memset(&m, 0, sizeof(m));
	m.reserver = NOBODY;
	nexuses_start(&n, state_dir);
	for (unsigned i = 0; i < COMMANDS; i++) {
		unsigned nexus = (unsigned)draw(NEXUSES);

		if (draw(2))
			play_persistent_out(nexus);
		else
			play_other(nexus);
		if (draw(8) == 0)
			compare();
		if (state_dir && m.reserver == NOBODY && draw(60) == 0) {
			memset(m.hears, 0, sizeof(m.hears)); /* they begin anew */
			nexuses_restart(&n);
			compare();
		}
	}
	nexuses_end(&n);
}

static void reservations_behave_like_the_model(void **state)
{
	HOST_FOR_EACH_SEED(seed, 12)
	play(seed, NULL);
}

static void reservations_behave_like_the_model_over_restarts(void **state)
{
	HOST_FOR_EACH_SEED(seed, 6)
	play(seed + 1000, "state");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reservations_behave_like_the_model),
		cmocka_unit_test(reservations_behave_like_the_model_over_restarts),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
