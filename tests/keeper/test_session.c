/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a successor is told of a session whose features have changed since its rings were told of:
 * nothing that it would refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "keeper/session.h"
#include "spec/virtio_ring.h"

#define QUEUES    2
#define PACKED    VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define LOG_ALL   VIRTIO_BIT(VHOST_F_LOG_ALL)
#define TOLD_MAX  32
#define BASE_LEFT 0x80008000u /* of a packed ring that nobody has used */

struct told {
	uint32_t request;
	union {
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
	} payload;
};

struct session {
	struct kept_state state;
	struct told told[TOLD_MAX];
	unsigned count;
};

static struct session *session_open(void)
{
	struct session *session = calloc(1, sizeof(*session));

	assert_non_null(session);
	assert_int_equal(kept_state_init(&session->state, QUEUES), 0);
	return session;
}

static void session_close(struct session *session)
{
	kept_state_fini(&session->state);
	free(session);
}

static void tell(struct session *session, uint32_t request, const void *payload, uint32_t size,
	const void *answer)
{
	struct kept_message message = {.header = {.request = request, .size = size}};
	struct kept_message reply = message;

	memcpy(message.payload.bytes, payload, size);
	if (answer)
		memcpy(reply.payload.bytes, answer, size);
	kept_state_record(&session->state, &message, answer ? &reply : NULL);
}

static void tell_features(struct session *session, uint64_t features)
{
	tell(session, VHOST_USER_SET_FEATURES, &features, sizeof(features), NULL);
}

static void tell_state(struct session *session, uint32_t request, unsigned index, uint32_t num)
{
	const struct vhost_user_vring_state state = {.index = index, .num = num};

	tell(session, request, &state, sizeof(state), NULL);
}

static void tell_ring(struct session *session, unsigned index, uint32_t num, uint32_t flags)
{
	const struct vhost_user_vring_addr addr = {.index = index,
		.flags = flags,
		.descriptors = 0x1000,
		.driver_area = 0x2002,
		.device_area = 0x3000};

	tell_state(session, VHOST_USER_SET_VRING_NUM, index, num);
	tell_state(session, VHOST_USER_SET_VRING_BASE, index, 0);
	tell(session, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL);
}

/* GET_VRING_BASE and its answer. */
static void stop_ring(struct session *session, unsigned index, uint32_t base)
{
	const struct vhost_user_vring_state asked = {.index = index};
	const struct vhost_user_vring_state answer = {.index = index, .num = base};

	tell(session, VHOST_USER_GET_VRING_BASE, &asked, sizeof(asked), &answer);
}

static int told_add(void *arg, uint32_t request, const void *payload, uint32_t size, const int *fds,
	unsigned fd_count)
{
	struct session *session = arg;
	struct told *told = &session->told[session->count++];

	assert_true(session->count <= TOLD_MAX && size <= sizeof(told->payload));
	told->request = request;
	if (size)
		memcpy(&told->payload, payload, size);
	return 0;
}

static void replay(struct session *session)
{
	unsigned replies;

	session->count = 0;
	assert_int_equal(kept_state_replay(&session->state, told_add, session, &replies), 0);
	assert_int_equal(replies, 0);
}

/* NULL: the successor is not told this of the ring. */
static const struct told *told_find(const struct session *session, uint32_t request, unsigned index)
{
	for (unsigned i = 0; i < session->count; i++) {
		if (session->told[i].request == request &&
			session->told[i].payload.state.index == index)
			return &session->told[i];
	}
	return NULL;
}

static void a_ring_that_stays_unused_after_packed_rings_is_not_told(void **state)
{
	struct session *session = session_open();

	tell_features(session, PACKED);
	for (unsigned i = 0; i < QUEUES; i++) {
		tell_ring(session, i, 100, 0);
		stop_ring(session, i, BASE_LEFT);
	}
	tell_features(session, 0);
	tell_ring(session, 0, 128, 0);
	replay(session);
	assert_int_equal(told_find(session, VHOST_USER_SET_VRING_NUM, 0)->payload.state.num, 128);
	assert_non_null(told_find(session, VHOST_USER_SET_VRING_BASE, 0));
	assert_null(told_find(session, VHOST_USER_SET_VRING_NUM, 1));
	assert_null(told_find(session, VHOST_USER_SET_VRING_BASE, 1));
	session_close(session);
}

static void addresses_of_split_rings_are_not_told_to_packed_ones(void **state)
{
	struct session *session = session_open();

	tell_features(session, 0);
	tell_ring(session, 1, 128, 0);
	replay(session);
	assert_non_null(told_find(session, VHOST_USER_SET_VRING_ADDR, 1));
	tell_features(session, PACKED);
	replay(session);
	assert_null(told_find(session, VHOST_USER_SET_VRING_ADDR, 1));
	session_close(session);
}

static void a_ring_is_told_to_be_logged_only_while_there_is_a_log(void **state)
{
	struct session *session = session_open();

	tell_features(session, LOG_ALL);
	tell_ring(session, 0, 128, VHOST_USER_VRING_F_LOG);
	replay(session);
	assert_int_equal(told_find(session, VHOST_USER_SET_VRING_ADDR, 0)->payload.addr.flags,
		VHOST_USER_VRING_F_LOG);
	tell_features(session, 0);
	replay(session);
	assert_int_equal(told_find(session, VHOST_USER_SET_VRING_ADDR, 0)->payload.addr.flags, 0);
	session_close(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_that_stays_unused_after_packed_rings_is_not_told),
		cmocka_unit_test(addresses_of_split_rings_are_not_told_to_packed_ones),
		cmocka_unit_test(a_ring_is_told_to_be_logged_only_while_there_is_a_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
