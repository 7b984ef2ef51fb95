/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 54 and 56, with sections 5 and 13.1: configuration space and back
 * channel; and what is refused because a later issue brings it. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

static void item_54(void **state)
{
	struct server server;
	struct fe *fe;
	uint8_t whole[256], part[256];

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_ok(fe, fe_get_config(fe, 0, sizeof(whole), whole));
	{
		struct fe_blk_config config;

		memcpy(&config, whole, sizeof(config));
		assert_int_equal(config.capacity, SERVER_DISK_BYTES / 512);
		assert_int_equal(config.blk_size, 512);
	}
	for (unsigned i = 96; i < sizeof(whole); i++)
		assert_int_equal(whole[i], 0);
	for (uint32_t offset = 0; offset < 256; offset += 5) {
		for (uint32_t size = 0; size <= 256 - offset; size += 13) {
			assert_ok(fe, fe_get_config(fe, offset, size, part));
			assert_memory_equal(part, whole + offset, size);
		}
	}
	/* Absurd, but answered: with zeroes, or not at all. */
	assert_ok(fe, fe_get_config(fe, 0xfffffff0, 32, part));
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(part[i], 0);
	{
		static const struct fe_config_header bad[] = {
			{.size = 4096}, {.size = UINT32_MAX}, {.offset = UINT32_MAX, .size = 57}};
		struct fe_msg msg;

		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			fe_msg_init(&msg, FE_GET_CONFIG, FE_FLAG_VERSION, NULL, 12 + 8);
			msg.config = bad[i];
			assert_ok(fe, fe_msg_send(&fe->conn, &msg));
			assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_CONFIG, 0, 0, &msg));
		}
		/* Too short for its own header. */
		fe_msg_init(&msg, FE_GET_CONFIG, FE_FLAG_VERSION, NULL, 4);
		assert_ok(fe, fe_msg_send(&fe->conn, &msg));
		assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_CONFIG, 0, 0, &msg));
	}
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* CONFIG is not offered for scsi; a front-end that asks all the same is answered with nothing. */
static void item_54_scsi(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_msg msg;

	server_start(&server, FE_BUS_SCSI);
	fe = server_open(&server);
	fe_msg_init(&msg, FE_GET_CONFIG, FE_FLAG_VERSION, NULL, 12 + 36);
	msg.config.size = 36;
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_CONFIG, 0, 0, &msg));
	check_io(fe, 2, 3);
	server_close(fe);
	server_stop(&server);
}

/* ---- resize and the back channel --------------------------------------------------------- */

static void resize(struct server *server, void *arg)
{
	bdev_set_size(held_bdev_bdev(server->disk), *(uint64_t *)arg);
}

static void resize_disk(struct server *server, uint64_t size)
{
	server_call(server, resize, &size);
}

static void config_change(void **state)
{
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_true(fe->back.fd >= 0);
	assert_int_equal(fe_back_serve(fe, 20), 0);
	resize_disk(&server, SERVER_DISK_BYTES / 2);
	assert_int_equal(fe_back_serve(fe, 5000), 1);
	assert_int_equal(fe->config_changes, 1);
	assert_int_equal(fe->config.capacity, SERVER_DISK_BYTES / 2 / 512);
	assert_int_equal(fe_back_serve(fe, 20), 0);
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* Takes the message as QEMU does while its device is not started: answers, and reads nothing. */
static void ignore_config_change(struct fe *fe)
{
	struct fe_msg msg;
	uint64_t status = 0;

	assert_ok(&(struct fe){.conn = fe->back}, fe_msg_recv(&fe->back, &msg));
	assert_int_equal(msg.header.id, FE_BACK_CONFIG_CHANGE);
	assert_true(msg.header.flags & FE_FLAG_NEED_REPLY);
	fe_msg_init(&msg, FE_BACK_CONFIG_CHANGE, FE_FLAGS_OF_REPLY, &status, sizeof(status));
	assert_int_equal(fe_msg_send(&fe->back, &msg), 0);
}

static void config_change_while_stopped(void **state)
{
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_ok(fe, fe_stop(fe));
	resize_disk(&server, SERVER_DISK_BYTES / 4);
	ignore_config_change(fe);
	assert_int_equal(fe_back_serve(fe, 50), 0);
	/* Told again when the device runs. */
	assert_ok(fe, fe_start(fe));
	assert_int_equal(fe_back_serve(fe, 5000), 1);
	assert_int_equal(fe->config.capacity, SERVER_DISK_BYTES / 4 / 512);
	assert_ok(fe, fe_stop(fe));
	assert_ok(fe, fe_start(fe));
	assert_int_equal(fe_back_serve(fe, 50), 0);
	server_close(fe);
	server_stop(&server);
}

static void item_56(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_msg msg;
	unsigned messages = 0;
	struct pollfd entry;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	/* Nobody reads the back channel, however often something changes. */
	for (unsigned i = 0; i < 1000; i++)
		resize_disk(&server, SERVER_DISK_BYTES - i % 7 * 4096);
	check_io(fe, 0, 10);
	assert_ok(fe, fe_get_config(fe, 0, 57, &fe->config));
	/* They coalesce: one is outstanding, one more may follow its answer. */
	entry = (struct pollfd){.fd = fe->back.fd, .events = POLLIN};
	while (poll(&entry, 1, 50) == 1) {
		uint64_t status = 0;

		assert_int_equal(fe_msg_recv(&fe->back, &msg), 0);
		messages++;
		/* An answer is awaited: the main channel goes on meanwhile. */
		check_io(fe, 0, 3);
		assert_ok(fe, fe_get_config(fe, 0, 57, &fe->config));
		fe_msg_init(&msg, FE_BACK_CONFIG_CHANGE, FE_FLAGS_OF_REPLY, &status, 8);
		assert_int_equal(fe_msg_send(&fe->back, &msg), 0);
	}
	assert_in_range(messages, 1, 2);
	/* Its loss, and rubbish on it, are no errors of the device. */
	assert_int_equal(send(fe->back.fd, "rubbish rubbish rubbish", 23, 0), 23);
	usleep(5000);
	resize_disk(&server, SERVER_DISK_BYTES / 2);
	check_io(fe, 0, 3);
	assert_ok(fe, fe_back_open(fe));
	fe_conn_close(&fe->back);
	resize_disk(&server, SERVER_DISK_BYTES);
	check_io(fe, 0, 3);
	/* A new one is told what was missed. */
	assert_ok(fe, fe_back_open(fe));
	assert_int_equal(fe_back_serve(fe, 5000), 1);
	assert_int_equal(fe->config.capacity, SERVER_DISK_BYTES / 512);
	/* Something that is no socket. */
	{
		int file = memfd_create("no socket", MFD_CLOEXEC);

		assert_int_not_equal(ask(fe, FE_SET_BACKEND_REQ_FD, NULL, 0, file), 0);
		close(file);
	}
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* ---- later issues ------------------------------------------------------------------------ */

/* 4 and 6.2: not offered, so refused, by the means that each message has. */
static void not_offered(void **state)
{
	static const uint32_t closing[] = {FE_IOTLB_MSG, FE_POSTCOPY_ADVISE, FE_POSTCOPY_END,
		FE_GET_STATUS, FE_GET_SHARED_OBJECT, FE_SET_DEVICE_STATE_FD, FE_CHECK_DEVICE_STATE,
		FE_GET_SHMEM_CONFIG, FE_GET_VRING_BASE_SKIP_DRAIN};
	static const uint32_t sizes[] = {32, 0, 0, 0, 16, 8, 0, 0, 8};
	struct server server;
	struct fe *fe;
	uint8_t payload[64] = {0};
	int fd = memfd_create("memory", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 4096), 0);
	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_false(fe->protocol_offered & (FE_PF_PAGEFAULT | FE_PF_DEVICE_STATE));
	assert_int_not_equal(ask(fe, FE_POSTCOPY_LISTEN, NULL, 0, -1), 0);
	check_io(fe, 0, 3);
	server_close(fe);
	for (unsigned i = 0; i < ARRAY_SIZE(closing); i++) {
		fe = server_connect(&server);
		assert_closed(fe, closing[i], payload, sizes[i],
			closing[i] == FE_SET_DEVICE_STATE_FD ? fd : -1);
		fe_destroy(fe);
	}
	close(fd);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.54 GET_CONFIG is answered at every offset and size", item_54, NULL, NULL,
			NULL},
		{"24.54 GET_CONFIG of a scsi device is answered with nothing", item_54_scsi, NULL,
			NULL, NULL},
		{"13.1 a resize is told on the back channel and read", config_change, NULL, NULL,
			NULL},
		{"13.1 a change that was ignored while stopped is told again after the start",
			config_change_while_stopped, NULL, NULL, NULL},
		{"24.56 the main channel is served whatever the back channel does", item_56, NULL,
			NULL, NULL},
		{"4 what is not offered is refused by the rules", not_offered, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
