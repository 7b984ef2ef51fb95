/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 1 to 10: framing, connections, when a reply is due. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

/* ---- 1 ----------------------------------------------------------------------------------- */

static size_t message_bytes(const struct fe_msg *msg, uint8_t *bytes)
{
	memcpy(bytes, &msg->header, sizeof(msg->header));
	memcpy(bytes + sizeof(msg->header), msg->bytes, msg->header.size);
	return sizeof(msg->header) + msg->header.size;
}

static void item_1(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_msg msg;
	uint8_t bytes[64];
	uint64_t word = 0;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	/* The new call descriptor is signalled once: so it has arrived. */
	fe_msg_init(&msg, FE_SET_VRING_CALL, FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, &word, 8);
	assert_ok(fe, fe_conn_send_slowly(&fe->conn, bytes, message_bytes(&msg, bytes), &fd, 1));
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_SET_VRING_CALL, 8, 0, &msg));
	assert_int_equal(msg.u64, 0);
	assert_int_equal(fe_eventfd_wait(fd, 5000), 0);
	server_close(fe);
	close(fd);
	server_stop(&server);
}

/* ---- 2 ----------------------------------------------------------------------------------- */

static struct fe *open_two_rings(struct server *server)
{
	struct fe_options options = server_options(server);

	options.ring_count = 2;
	return server_open_with(server, &options);
}

/* While the server waits for a request to end, two messages come in, each with its descriptor. */
static void item_2(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_msg msg;
	struct fe_blk read;
	uint8_t data[512];
	uint64_t words[2] = {0, 1};
	int fds[2];

	server_start(&server, FE_BUS_BLK);
	fe = open_two_rings(&server);
	held_bdev_hold(server.disk);
	fe_blk_init(&read, FE_BLK_IN, 0, data, sizeof(data));
	submit(fe, 0, &read.io);
	assert_true(held_bdev_await(server.disk, 1));
	fe_msg_init(&msg, FE_SET_VRING_ENABLE, FE_FLAG_VERSION, &(uint64_t){0}, 8);
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		fe_msg_init(&msg, FE_SET_VRING_CALL, FE_FLAG_VERSION, &words[i], 8);
		fe_msg_add_fd(&msg, fds[i]);
		assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	}
	held_bdev_release(server.disk);
	finish(fe, 0, &read.io);
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fe_eventfd_wait(fds[i], 5000), 0);
		fe_eventfd_drain(fds[i]);
	}
	/* A request on ring 1 is heard of through the second alone. */
	fe_ring_interrupts(fe->ring[1], true);
	check_io(fe, 1, 1);
	fe_ring_interrupts(fe->ring[1], true);
	fe_blk_init(&read, FE_BLK_IN, 0, data, sizeof(data));
	submit(fe, 1, &read.io);
	assert_int_equal(fe_eventfd_wait(fds[1], 5000), 0);
	finish(fe, 1, &read.io);
	assert_int_equal(fe_eventfd_drain(fds[0]), 0);
	fe_destroy(fe);
	close(fds[0]);
	close(fds[1]);
	server_stop(&server);
}

/* ---- 3, 6 -------------------------------------------------------------------------------- */

struct case_message {
	uint32_t id;
	uint32_t size;
	uint32_t reply; /* size of its own reply, FE_NO_REPLY: none */
	bool fd; /* takes an eventfd */
	bool bad; /* refused; never in messages of its own reply here */
	uint8_t payload[60];
};

/* Little-endian. In an order that leaves the session as it is needed by the next. */
static const struct case_message cases[] = {
	{.id = FE_GET_FEATURES, .reply = 8},
	{.id = FE_SET_OWNER, .reply = FE_NO_REPLY},
	{.id = FE_RESET_OWNER, .reply = FE_NO_REPLY},
	{.id = FE_SET_FEATURES, .size = 8, .reply = FE_NO_REPLY, .payload = {[3] = 0x40}},
	{.id = FE_SET_FEATURES, .size = 8, .reply = FE_NO_REPLY, .bad = true, .payload = {[7] = 1}},
	{.id = FE_GET_PROTOCOL_FEATURES, .reply = 8},
	{.id = FE_GET_QUEUE_NUM, .reply = 8},
	{.id = FE_GET_MAX_MEM_SLOTS, .reply = 8},
	{.id = FE_SET_VRING_NUM, .size = 8, .reply = FE_NO_REPLY, .payload = {[5] = 1}},
	{.id = FE_SET_VRING_NUM,
		.size = 8,
		.reply = FE_NO_REPLY,
		.bad = true,
		.payload = {[4] = 3}},
	{.id = FE_SET_VRING_BASE, .size = 8, .reply = FE_NO_REPLY, .payload = {[4] = 7}},
	{.id = FE_SET_VRING_BASE,
		.size = 8,
		.reply = FE_NO_REPLY,
		.bad = true,
		.payload = {[6] = 1}},
	{.id = FE_SET_VRING_ADDR, .size = 40, .reply = FE_NO_REPLY},
	{.id = FE_SET_VRING_ADDR,
		.size = 40,
		.reply = FE_NO_REPLY,
		.bad = true,
		.payload = {[8] = 1}},
	{.id = FE_SET_VRING_ENABLE, .size = 8, .reply = FE_NO_REPLY},
	{.id = FE_SET_VRING_ENABLE, .size = 8, .reply = FE_NO_REPLY, .payload = {[4] = 1}},
	{.id = FE_SET_VRING_ENABLE,
		.size = 8,
		.reply = FE_NO_REPLY,
		.bad = true,
		.payload = {[4] = 2}},
	{.id = FE_SET_VRING_CALL, .size = 8, .reply = FE_NO_REPLY, .fd = true},
	{.id = FE_SET_VRING_CALL, .size = 8, .reply = FE_NO_REPLY, .payload = {[1] = 1}},
	{.id = FE_SET_VRING_ERR, .size = 8, .reply = FE_NO_REPLY, .fd = true},
	{.id = FE_SET_VRING_KICK, .size = 8, .reply = FE_NO_REPLY, .fd = true},
	{.id = FE_GET_VRING_BASE, .size = 8, .reply = 8},
	{.id = FE_SET_MEM_TABLE, .size = 8, .reply = FE_NO_REPLY},
	{.id = FE_REM_MEM_REG, .size = 40, .reply = FE_NO_REPLY, .bad = true},
	{.id = FE_ADD_MEM_REG, .size = 40, .reply = FE_NO_REPLY, .bad = true, .fd = true},
	{.id = FE_GET_CONFIG, .size = 12 + 8, .reply = 12 + 8, .payload = {[4] = 8}},
	{.id = FE_SET_CONFIG,
		.size = 12 + 1,
		.reply = FE_NO_REPLY,
		.bad = true,
		.payload = {[0] = 4, [4] = 1}},
	{.id = FE_RESET_DEVICE, .reply = FE_NO_REPLY},
	{.id = FE_SET_LOG_FD, .reply = FE_NO_REPLY, .fd = true},
	{.id = FE_SEND_RARP, .size = 8, .reply = FE_NO_REPLY, .bad = true},
	{.id = FE_NET_SET_MTU, .size = 8, .reply = FE_NO_REPLY, .bad = true},
	{.id = FE_SET_VRING_ENDIAN, .size = 8, .reply = FE_NO_REPLY, .bad = true},
	{.id = FE_SET_INFLIGHT_FD, .size = 24, .reply = FE_NO_REPLY, .bad = true, .fd = true},
	{.id = FE_SET_STATUS, .size = 8, .reply = FE_NO_REPLY, .bad = true},
	{.id = FE_VRING_KICK, .size = 8, .reply = FE_NO_REPLY, .bad = true},
	{.id = 9999, .reply = FE_NO_REPLY, .bad = true},
};

static struct fe *connect_with_ack(struct server *server)
{
	struct fe *fe = server_connect(server);

	assert_ok(fe, fe_negotiate(fe));
	assert_true(fe->protocol_features & FE_PF_REPLY_ACK);
	return fe;
}

/* Sends the case; whatever is due afterwards is the caller's. */
static void send_case(struct fe *fe, const struct case_message *c, uint32_t flags)
{
	struct fe_msg msg;
	int fd = c->fd ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;

	fe_msg_init(&msg, c->id, FE_FLAG_VERSION | flags, c->payload, c->size);
	if (c->fd)
		fe_msg_add_fd(&msg, fd);
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	if (c->fd)
		close(fd);
}

static void item_3(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_msg reply;

	server_start(&server, FE_BUS_BLK);
	fe = connect_with_ack(&server);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct case_message *c = &cases[i];
		uint32_t size = c->reply == FE_NO_REPLY ? 8 : c->reply;

		send_case(fe, c, FE_FLAG_NEED_REPLY);
		/* Checks flags exactly 5, the id, the size, no descriptors. */
		assert_ok(fe, fe_msg_recv_reply(&fe->conn, c->id, size, 0, &reply));
		if (c->reply == FE_NO_REPLY && (reply.u64 != 0) != c->bad)
			fail_msg("case %u (%s): status %llu", i, fe_msg_name(c->id),
				(unsigned long long)reply.u64);
	}
	fe_destroy(fe);
	server_stop(&server);
}

static void item_6(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_msg reply;

	server_start(&server, FE_BUS_BLK);
	fe = connect_with_ack(&server);
	/* One reply each with NEED_REPLY: the next answer is already that of GET_FEATURES. */
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct case_message *c = &cases[i];

		send_case(fe, c, FE_FLAG_NEED_REPLY);
		send_case(fe, &cases[0], FE_FLAG_NEED_REPLY);
		assert_ok(fe, fe_msg_recv_reply(&fe->conn, c->id,
				      c->reply == FE_NO_REPLY ? 8 : c->reply, 0, &reply));
		assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_FEATURES, 8, 0, &reply));
	}
	/* Without NEED_REPLY: none but their own. Those that are refused close: not here. */
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct case_message *c = &cases[i];

		if (c->bad)
			continue;
		send_case(fe, c, 0);
		send_case(fe, &cases[0], 0);
		if (c->reply != FE_NO_REPLY)
			assert_ok(fe, fe_msg_recv_reply(&fe->conn, c->id, c->reply, 0, &reply));
		assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_FEATURES, 8, 0, &reply));
	}
	assert_ok(fe, fe_conn_expect_silence(&fe->conn, 20));
	fe_destroy(fe);
	server_stop(&server);
}

/* Without REPLY_ACK the flag has no meaning. */
static void item_6_no_ack(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_msg reply;

	server_start(&server, FE_BUS_BLK);
	fe = server_connect(&server);
	send_case(fe, &cases[1], FE_FLAG_NEED_REPLY);
	send_case(fe, &cases[0], FE_FLAG_NEED_REPLY);
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_FEATURES, 8, 0, &reply));
	fe_destroy(fe);
	server_stop(&server);
}

/* ---- 4, 5 -------------------------------------------------------------------------------- */

static void check_closed_by(struct server *server, const struct fe_header *header, unsigned fds)
{
	struct fe *fe = connect_with_ack(server);
	int fd_list[2];

	for (unsigned i = 0; i < fds; i++)
		fd_list[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_ok(fe, fe_conn_send(&fe->conn, header, sizeof(*header), fd_list, fds));
	for (unsigned i = 0; i < fds; i++)
		close(fd_list[i]);
	assert_ok(fe, fe_conn_wait_close(&fe->conn, 5000));
	fe_destroy(fe);
	assert_true(server_await_idle(server));
}

static void item_4(void **state)
{
	static const struct fe_header headers[] = {
		{.id = FE_GET_FEATURES, .flags = 0},
		{.id = FE_GET_FEATURES, .flags = 2},
		{.id = FE_GET_FEATURES, .flags = 3},
		{.id = FE_GET_FEATURES, .flags = FE_FLAG_VERSION | FE_FLAG_REPLY},
		{.id = FE_SET_MEM_TABLE, .flags = FE_FLAG_VERSION, .size = 4097},
		{.id = FE_SET_MEM_TABLE, .flags = FE_FLAG_VERSION, .size = UINT32_MAX},
		{.id = 12345, .flags = FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, .size = 1 << 20},
	};
	struct server server;
	struct fe *fe;
	unsigned fds;

	server_start(&server, FE_BUS_BLK);
	fds = count_fds();
	for (unsigned i = 0; i < ARRAY_SIZE(headers); i++) {
		check_closed_by(&server, &headers[i], 0);
		check_closed_by(&server, &headers[i], 2);
	}
	assert_int_equal(count_fds(), fds);

	/* Descriptors in the middle of a message. */
	{
		struct fe_header header = {.id = FE_SET_VRING_CALL, .flags = 9, .size = 8};
		uint64_t word = 0;
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		fe = connect_with_ack(&server);
		assert_ok(fe, fe_conn_send(&fe->conn, &header, sizeof(header), NULL, 0));
		assert_ok(fe, fe_conn_send(&fe->conn, &word, sizeof(word), &fd, 1));
		assert_ok(fe, fe_conn_wait_close(&fe->conn, 5000));
		close(fd);
		fe_destroy(fe);
	}
	assert_true(server_await_idle(&server));
	assert_int_equal(count_fds(), fds);

	/* A connection that ends in the middle of a message with descriptors. */
	{
		struct fe_header header = {.id = FE_SET_VRING_CALL, .flags = 9, .size = 8};
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		fe = connect_with_ack(&server);
		assert_ok(fe, fe_conn_send(&fe->conn, &header, 5, &fd, 1));
		fe_destroy(fe);
		close(fd);
	}
	assert_true(server_await_idle(&server));
	assert_int_equal(count_fds(), fds);
	server_stop(&server);
}

static void item_5(void **state)
{
	static const uint32_t ids[] = {0, 26, 27, 46, 9999, UINT32_MAX};
	struct server server;
	struct fe *fe;
	struct fe_msg msg;

	server_start(&server, FE_BUS_BLK);
	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		uint8_t payload[24] = {0};

		fe = connect_with_ack(&server);
		fe_msg_init(&msg, ids[i], FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, payload, 24);
		assert_ok(fe, fe_msg_send(&fe->conn, &msg));
		assert_ok(fe, fe_msg_recv_reply(&fe->conn, ids[i], 8, 0, &msg));
		assert_true(msg.u64 != 0);
		fe_msg_init(&msg, ids[i], FE_FLAG_VERSION, payload, 24);
		assert_ok(fe, fe_msg_send(&fe->conn, &msg));
		assert_ok(fe, fe_conn_wait_close(&fe->conn, 5000));
		fe_destroy(fe);
	}
	server_stop(&server);
}

/* ---- 7 ----------------------------------------------------------------------------------- */

static void check_refused(struct fe *fe, uint32_t id, const void *payload, uint32_t size,
	const int *fds, uint32_t fd_count)
{
	struct fe_msg msg;

	fe_msg_init(&msg, id, FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, payload, size);
	for (uint32_t i = 0; i < fd_count; i++)
		fe_msg_add_fd(&msg, fds[i]);
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, id, 8, 0, &msg));
	if (msg.u64 == 0)
		fail_msg("%s with %u bytes and %u descriptors was accepted", fe_msg_name(id), size,
			fd_count);
}

static void check_wrong_forms(struct fe *fe, const int *fds)
{
	uint8_t payload[4096] = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct case_message *c = &cases[i];
		bool variable = c->id == FE_SET_MEM_TABLE || c->id == FE_SET_CONFIG;

		if (c->reply != FE_NO_REPLY)
			continue; /* check_own_replies */
		if (c->size)
			check_refused(fe, c->id, c->payload, c->size - 1, fds, c->fd);
		if (!variable)
			check_refused(fe, c->id, payload, c->size + 1, fds, c->fd);
		check_refused(fe, c->id, payload, 4096, fds, c->fd);
		check_refused(fe, c->id, c->payload, c->size, fds, 2);
		if (c->fd)
			check_refused(fe, c->id, c->payload, c->size, NULL, 0);
	}
}

static void check_wrong_ring(struct fe *fe, const int *fds, uint32_t index)
{
	struct fe_vring_addr addr = {.index = index};
	struct fe_vring_state on = {.index = index, .num = 1};
	uint64_t word = index;

	check_refused(fe, FE_SET_VRING_NUM, &on, sizeof(on), NULL, 0);
	check_refused(fe, FE_SET_VRING_BASE, &on, sizeof(on), NULL, 0);
	check_refused(fe, FE_SET_VRING_ENABLE, &on, sizeof(on), NULL, 0);
	check_refused(fe, FE_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	if (index > 255)
		return; /* the others have a byte for it */
	check_refused(fe, FE_SET_VRING_KICK, &word, sizeof(word), fds, 1);
	check_refused(fe, FE_SET_VRING_CALL, &word, sizeof(word), fds, 1);
	check_refused(fe, FE_SET_VRING_ERR, &word, sizeof(word), fds, 1);
}

/* A descriptor where the payload says there is none, the other way round, and one that cannot
 * kick. */
static void check_wrong_descriptors(struct fe *fe, const int *fds)
{
	uint64_t none = FE_NO_FD, word = 0;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	check_refused(fe, FE_SET_VRING_CALL, &none, sizeof(none), fds, 1);
	check_refused(fe, FE_SET_VRING_CALL, &word, sizeof(word), NULL, 0);
	check_refused(fe, FE_SET_VRING_KICK, &word, sizeof(word), &file, 1);
	close(file);
}

/* No way to refuse them but to close; GET_CONFIG has one (24.54). */
static void check_own_replies(struct server *server)
{
	uint8_t payload[64] = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct case_message *c = &cases[i];
		struct fe *fe;

		if (c->reply == FE_NO_REPLY || c->id == FE_GET_CONFIG)
			continue;
		fe = server_connect(server);
		assert_closed(fe, c->id, payload, c->size + 1, -1);
		fe_destroy(fe);
	}
}

static void item_7(void **state)
{
	struct server server;
	struct fe *fe;
	unsigned fd_count;
	int fds[2];

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	check_io(fe, 0, 5);
	fds[0] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fd_count = count_fds();
	check_wrong_forms(fe, fds);
	check_wrong_ring(fe, fds, (uint32_t)fe->queue_num);
	check_wrong_ring(fe, fds, 255);
	check_wrong_ring(fe, fds, 256);
	check_wrong_ring(fe, fds, UINT32_MAX);
	check_wrong_descriptors(fe, fds);
	assert_int_equal(count_fds(), fd_count);
	/* Nothing of it changed anything. */
	check_io(fe, 0, 5);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[0], 20);
	fe_destroy(fe);
	check_own_replies(&server);
	close(fds[0]);
	close(fds[1]);
	server_stop(&server);
}

/* ---- 8 ----------------------------------------------------------------------------------- */

/* All of a start in one go, without reading a reply; then the replies. */
static void item_8(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_options options;
	struct fe_msg msg;
	struct fe_vring_state num = {.num = 128}, base = {0}, on = {.num = 1};
	struct fe_vring_addr addr = {0};
	struct fe_mem_single region = {0};
	uint64_t word = 0, features;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = fe_create(&options);
	assert_int_equal(fe_conn_connect(&fe->conn, server.path, 5000), 0);
	assert_ok(fe, fe_negotiate(fe));
	{
		struct fe_region_spec spec = {.size = 64 << 20, .fd = FE_NEW_FILE};
		uint32_t slot;

		assert_int_equal(fe_memory_add(&fe->memory, &spec, &slot), 0);
	}
	assert_ok(fe, fe_create_rings(fe));
	features = fe->offered & ~FE_F_PACKED; /* its ring is split */
	region.entry = (struct fe_mem_entry){.gpa = fe->memory.region[0].gpa,
		.size = fe->memory.region[0].size,
		.user = fe->memory.region[0].user,
		.fd_offset = fe->memory.region[0].fd_offset};
	addr.desc = fe_memory_user(&fe->memory, fe->ring[0]->desc);
	addr.avail = fe_memory_user(&fe->memory, fe->ring[0]->avail);
	addr.used = fe_memory_user(&fe->memory, fe->ring[0]->used);

#define SEND(id, flags, payload, size, fd)                                                         \
	do {                                                                                       \
		fe_msg_init(&msg, id, FE_FLAG_VERSION | (flags), payload, size);                   \
		if ((fd) >= 0)                                                                     \
			fe_msg_add_fd(&msg, fd);                                                   \
		assert_ok(fe, fe_msg_send(&fe->conn, &msg));                                       \
	} while (0)
	SEND(FE_SET_FEATURES, 0, &features, 8, -1);
	SEND(FE_ADD_MEM_REG, FE_FLAG_NEED_REPLY, &region, sizeof(region), fe->memory.region[0].fd);
	SEND(FE_SET_VRING_NUM, 0, &num, 8, -1);
	SEND(FE_SET_VRING_BASE, 0, &base, 8, -1);
	SEND(FE_SET_VRING_ADDR, 0, &addr, sizeof(addr), -1);
	SEND(FE_SET_VRING_CALL, 0, &word, 8, fe->ring[0]->call_fd);
	SEND(FE_SET_VRING_KICK, 0, &word, 8, fe->ring[0]->kick_fd);
	SEND(FE_SET_VRING_ENABLE, FE_FLAG_NEED_REPLY, &on, 8, -1);
	SEND(FE_GET_QUEUE_NUM, 0, NULL, 0, -1);
#undef SEND
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_ADD_MEM_REG, 8, 0, &msg));
	assert_int_equal(msg.u64, 0);
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_SET_VRING_ENABLE, 8, 0, &msg));
	assert_int_equal(msg.u64, 0);
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_QUEUE_NUM, 8, 0, &msg));
	check_io(fe, 0, 10);
	fe_destroy(fe);
	server_stop(&server);
}

/* ---- 9 ----------------------------------------------------------------------------------- */

static void item_9(void **state)
{
	struct server server;
	struct fe *first, *second;
	uint64_t features;

	server_start(&server, FE_BUS_BLK);
	first = server_open(&server);
	second = server_connect(&server);
	check_io(first, 0, 10);
	/* It is not served while the first lives ... */
	assert_ok(second, fe_set_empty(second, FE_GET_FEATURES));
	assert_ok(second, fe_conn_expect_silence(&second->conn, 50));
	check_io(first, 0, 10);
	fe_destroy(first);
	/* ... and is after it has gone. */
	{
		struct fe_msg reply;

		assert_ok(second, fe_msg_recv_reply(&second->conn, FE_GET_FEATURES, 8, 0, &reply));
	}
	assert_ok(second, fe_get_u64(second, FE_GET_FEATURES, &features));
	fe_destroy(second);
	/* Connecting and leaving in a loop does no harm. */
	for (unsigned i = 0; i < 30; i++)
		fe_destroy(server_connect(&server));
	first = server_open(&server);
	check_io(first, 0, 10);
	server_close(first);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.1 a message delivered one byte at a time is handled like a whole one", item_1,
			NULL, NULL, NULL},
		{"24.2 messages with descriptors that wait together each keep their own", item_2,
			NULL, NULL, NULL},
		{"24.3 every reply has flags 5, the request's id and the exact size", item_3, NULL,
			NULL, NULL},
		{"24.4 framing violations close the connection and leak no descriptor", item_4,
			NULL, NULL, NULL},
		{"24.5 an unknown id is refused with NEED_REPLY and closes without", item_5, NULL,
			NULL, NULL},
		{"24.6 each request gets exactly the replies that are due", item_6, NULL, NULL,
			NULL},
		{"24.6 NEED_REPLY means nothing before REPLY_ACK", item_6_no_ack, NULL, NULL, NULL},
		{"24.7 wrong sizes, descriptor counts and ring indices change nothing", item_7,
			NULL, NULL, NULL},
		{"24.8 messages sent without waiting give the same result", item_8, NULL, NULL,
			NULL},
		{"24.9 a second connection waits until the first is gone", item_9, NULL, NULL,
			NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
