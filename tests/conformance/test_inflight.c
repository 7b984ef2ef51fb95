/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The in-flight region: checklist items 47, 49, 50, 51 and what 22 and 40 say about it; reference
 * section 11. A back-end that is lost is played by a connection that is: what ends after that is
 * dropped, and the next session finds the records. (Killed at every store: unit tests; killed under
 * a guest: system tests.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define REQUESTS_MAX 8

struct requests {
	struct fe_blk blks[REQUESTS_MAX];
	uint8_t data[REQUESTS_MAX][512];
	unsigned count;
};

/* The fields of a queue region, by the offsets of section 11.1. */
static uint16_t *region_u16(struct fe *fe, unsigned ring, unsigned offset)
{
	return (uint16_t *)(void *)(fe->inflight.ptr + ring * fe_inflight_stride(fe, false) +
				    offset);
}

static uint8_t *entry_mark(struct fe *fe, unsigned ring, unsigned head)
{
	return fe->inflight.ptr + ring * fe_inflight_stride(fe, false) + 16 + 16 * head;
}

static uint64_t entry_counter(struct fe *fe, unsigned ring, unsigned head)
{
	uint64_t counter;

	memcpy(&counter, entry_mark(fe, ring, head) + 8, sizeof(counter));
	return counter;
}

static unsigned count_marks(struct fe *fe, unsigned ring)
{
	unsigned marks = 0;

	for (unsigned head = 0; head < fe->inflight.desc.queue_size; head++)
		marks += *entry_mark(fe, ring, head);
	return marks;
}

static void put_writes(struct fe *fe, unsigned ring, struct requests *requests, unsigned count,
	unsigned sector, uint8_t value)
{
	requests->count = count;
	for (unsigned i = 0; i < count; i++) {
		memset(requests->data[i], value + (int)i, sizeof(requests->data[i]));
		fe_blk_init(&requests->blks[i], FE_BLK_OUT, sector + i, requests->data[i],
			sizeof(requests->data[i]));
		submit(fe, ring, &requests->blks[i].io);
	}
}

/* All of them, each once, in any order, and good. */
static void finish_all(struct fe *fe, unsigned ring, struct requests *requests)
{
	for (unsigned i = 0; i < requests->count; i++) {
		struct fe_io *ended;
		int rc = fe_io_wait(fe->ring[ring], &ended, 10000);

		if (rc)
			fail_msg("request %u did not end: %d %s", i, rc, fe->ring[ring]->fault);
	}
	for (unsigned i = 0; i < requests->count; i++) {
		assert_true(requests->blks[i].io.done);
		assert_int_equal(requests->blks[i].status, FE_BLK_OK);
	}
	assert_false(fe_ring_ready(fe->ring[ring]));
	assert_int_equal(fe->ring[ring]->outstanding, 0);
}

static void no_call(struct server *server, void *arg)
{
}

/* As the back-end's death looks from here: what it still does is for nobody. The control reactor
 * has to have seen the end before any request ends. */
static void lose_connection(struct server *server, struct fe *fe)
{
	fe_disconnect(fe);
	for (unsigned turn = 0; turn < 3; turn++) {
		usleep(1000);
		server_call(server, no_call, NULL);
	}
	held_bdev_release(server->disk);
	assert_true(server_await_idle(server));
}

/* ---- the region -------------------------------------------------------------------------- */

static void check_fresh_region(struct fe *fe, unsigned rings)
{
	const struct fe_inflight_desc *desc = &fe->inflight.desc;

	assert_int_equal(desc->queue_count, rings);
	assert_int_equal(desc->queue_size, 128);
	assert_int_equal(desc->mmap_offset, 0);
	assert_true(desc->mmap_size >= rings * fe_inflight_stride(fe, true));
	for (uint64_t i = 0; i < desc->mmap_size; i++)
		assert_int_equal(fe->inflight.ptr[i], 0);
	/* Sealed: nobody can take it away. */
	assert_int_equal(ftruncate(fe->inflight.fd, 0), -1);
	assert_int_equal(ftruncate(fe->inflight.fd, (off_t)desc->mmap_size * 2), -1);
}

/* The reply has the size of the question. */
static void check_short_question(struct fe *fe)
{
	const struct fe_inflight_desc wish = {.queue_count = 1, .queue_size = 1};
	struct fe_msg request, reply;

	fe_msg_init(&request, FE_GET_INFLIGHT_FD, FE_FLAG_VERSION, &wish, 20);
	assert_ok(fe, fe_call(fe, &request, 20, 1, &reply));
	assert_true(reply.inflight.mmap_size >= 64);
	close(reply.fds[0]);
}

/* Before SET_FEATURES too, as QEMU 7.2's scsi asks. */
static void item_47(void **state)
{
	struct server server;
	struct fe_options options;
	struct requests requests;
	struct fe *fe;

	server_start(&server, FE_BUS_SCSI);
	options = server_options(&server);
	fe = server_prepare(&server, &options);
	assert_ok(fe, fe_inflight_get(fe));
	check_fresh_region(fe, fe->ring_count);
	check_short_question(fe);
	fe_destroy(fe);
	server_stop(&server);

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_int_equal(*region_u16(fe, 0, 8), 1); /* version */
	assert_int_equal(*region_u16(fe, 0, 10), 128); /* desc_num */
	check_io(fe, 0, 3);
	assert_int_equal(*region_u16(fe, 0, 14), 6); /* used_idx */
	assert_int_equal(count_marks(fe, 0), 0);
	held_bdev_hold(server.disk);
	put_writes(fe, 0, &requests, 3, 0, 1);
	assert_true(held_bdev_await(server.disk, 3));
	assert_int_equal(count_marks(fe, 0), 3);
	for (unsigned i = 1; i < 3; i++)
		assert_true(entry_counter(fe, 0, requests.blks[i].io.id) >
			    entry_counter(fe, 0, requests.blks[i - 1].io.id));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(*entry_mark(fe, 0, requests.blks[i].io.id), 1);
	held_bdev_release(server.disk);
	finish_all(fe, 0, &requests);
	usleep(1000);
	assert_int_equal(count_marks(fe, 0), 0);
	assert_int_equal(*region_u16(fe, 0, 14), 9);
	server_close(fe);
	server_stop(&server);
}

/* 22: when GET_VRING_BASE has been answered the region does not change any more. */
static void item_22(void **state)
{
	struct server server;
	struct requests requests;
	uint8_t *copy;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	put_writes(fe, 0, &requests, 5, 0, 7);
	assert_ok(fe, fe_stop(fe));
	copy = malloc(fe->inflight.desc.mmap_size);
	memcpy(copy, fe->inflight.ptr, fe->inflight.desc.mmap_size);
	assert_int_equal(count_marks(fe, 0), 0);
	assert_int_equal(*region_u16(fe, 0, 14), fe_ring_peek_used_idx(fe->ring[0]));
	fe_ring_kick_always(fe->ring[0]);
	usleep(50000);
	assert_memory_equal(copy, fe->inflight.ptr, fe->inflight.desc.mmap_size);
	free(copy);
	assert_ok(fe, fe_start(fe)); /* with the same region, what was left is served */
	finish_all(fe, 0, &requests);
	check_io(fe, 0, 2);
	server_close(fe);
	server_stop(&server);
}

/* ---- recovery ---------------------------------------------------------------------------- */

static void check_recovery(enum fe_order order, bool notified)
{
	struct server server;
	struct fe_options options;
	struct requests requests;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.order = order;
	options.notified = notified;
	fe = server_open_with(&server, &options);
	check_io(fe, 0, 2);
	held_bdev_hold(server.disk);
	put_writes(fe, 0, &requests, 5, 100, 0x30);
	assert_true(held_bdev_await(server.disk, 5));
	lose_connection(&server, fe);
	assert_int_equal(fe_ring_peek_used_idx(fe->ring[0]), 4);
	assert_int_equal(count_marks(fe, 0), 5);
	memset(held_bdev_data(server.disk) + 100 * 512, 0, 5 * 512);
	assert_ok(fe, fe_reconnect(fe));
	finish_all(fe, 0, &requests);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(held_bdev_data(server.disk)[(100 + i) * 512], 0x30 + i);
	assert_int_equal(count_marks(fe, 0), 0);
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* SET_VRING_BASE says the used index (QEMU), or the available one (cloud-hypervisor). */
static void item_49(void **state)
{
	check_recovery(FE_QEMU_7_2, true);
	check_recovery(FE_QEMU_10, false);
	check_recovery(FE_CLOUD_HYPERVISOR, true);
}

/* What was completed just before the end, and not signalled, is signalled. */
static void signal_after_restart(void **state)
{
	struct server server;
	struct fe_options options;
	struct requests requests;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.notified = true;
	fe = server_open_with(&server, &options);
	put_writes(fe, 0, &requests, 2, 0, 1);
	while (fe_ring_peek_used_idx(fe->ring[0]) != 2)
		usleep(1000);
	lose_connection(&server, fe);
	fe_eventfd_drain(fe->ring[0]->call_fd); /* as if it had never come */
	/* The used index was published, the marks were not yet cleared. */
	*entry_mark(fe, 0, requests.blks[0].io.id) = 1;
	*entry_mark(fe, 0, requests.blks[1].io.id) = 1;
	*region_u16(fe, 0, 14) = 0;
	assert_ok(fe, fe_reconnect(fe));
	finish_all(fe, 0, &requests);
	assert_int_equal(held_bdev_count(server.disk, BDEV_IO_WRITE), 2);
	assert_int_equal(count_marks(fe, 0), 0);
	check_io(fe, 0, 2);
	server_close(fe);
	server_stop(&server);
}

static bool new_one_was_taken(struct server *server, unsigned old)
{
	usleep(50000);
	return held_bdev_waiting(server->disk) > old;
}

/* Two rings that start one after the other; new requests wait in both. */
static void check_order(enum fe_order order)
{
	struct server server;
	struct fe_options options;
	struct requests old[2], new[2];
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_count = 2;
	options.order = order;
	fe = server_open_with(&server, &options);
	held_bdev_hold(server.disk);
	put_writes(fe, 0, &old[0], 2, 0, 1);
	put_writes(fe, 1, &old[1], 3, 8, 1);
	assert_true(held_bdev_await(server.disk, 5));
	lose_connection(&server, fe);
	/* The same sectors again: the last word. */
	put_writes(fe, 0, &new[0], 2, 8, 0x80);
	put_writes(fe, 1, &new[1], 3, 0, 0x90);
	held_bdev_hold(server.disk);
	assert_ok(fe, fe_reconnect(fe));
	assert_true(held_bdev_await(server.disk, 5));
	assert_false(new_one_was_taken(&server, 5));
	held_bdev_release(server.disk);
	old[0].count += new[0].count;
	for (unsigned ring = 0; ring < 2; ring++) {
		unsigned count = ring == 0 ? old[0].count : old[1].count + new[1].count;

		for (unsigned i = 0; i < count; i++) {
			struct fe_io *ended;

			assert_int_equal(fe_io_wait(fe->ring[ring], &ended, 10000), 0);
		}
		assert_int_equal(fe->ring[ring]->outstanding, 0);
		assert_int_equal(count_marks(fe, ring), 0);
	}
	assert_int_equal(held_bdev_data(server.disk)[0], 0x90);
	assert_int_equal(held_bdev_data(server.disk)[8 * 512], 0x80);
	server_close(fe);
	server_stop(&server);
}

static void item_50(void **state)
{
	check_order(FE_QEMU_10);
	check_order(FE_CLOUD_HYPERVISOR);
}

/* A ring that has records and does not start again: the other waits for it, but not for ever. */
static void late_ring(void **state)
{
	struct server server;
	struct fe_options options;
	struct requests old[2];
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_count = 2;
	fe = server_open_with(&server, &options);
	held_bdev_hold(server.disk);
	put_writes(fe, 0, &old[0], 2, 0, 1);
	put_writes(fe, 1, &old[1], 2, 8, 1);
	assert_true(held_bdev_await(server.disk, 4));
	lose_connection(&server, fe);
	fe->ring_count = 1; /* which hides the other */
	assert_ok(fe, fe_reconnect(fe));
	finish_all(fe, 0, &old[0]); /* what was recovered waits for nobody */
	put_writes(fe, 0, &old[0], 1, 0, 2);
	usleep(500000);
	assert_false(fe_ring_ready(fe->ring[0]));
	finish_all(fe, 0, &old[0]);
	fe->ring_count = 2;
	assert_ok(fe, fe_setup_ring(fe, 1));
	assert_ok(fe, fe_enable_ring(fe, 1, true));
	finish_all(fe, 1, &old[1]);
	check_io(fe, 0, 1);
	check_io(fe, 1, 1);
	server_close(fe);
	server_stop(&server);
}

/* The same, but its driver is gone: the one that begins anew does not wait for records that were
 * wiped. With RESET_DEVICE and without. */
static void check_new_driver_waits_for_nobody(bool reset)
{
	struct server server;
	struct fe_options options;
	struct requests old[2], new;
	struct fe_io *ended;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_count = 2;
	fe = server_open_with(&server, &options);
	held_bdev_hold(server.disk);
	put_writes(fe, 0, &old[0], 2, 0, 1);
	put_writes(fe, 1, &old[1], 2, 8, 1);
	assert_true(held_bdev_await(server.disk, 4));
	lose_connection(&server, fe);
	fe->ring_count = 1;
	assert_ok(fe, fe_reconnect(fe));
	finish_all(fe, 0, &old[0]);
	assert_ok(fe, fe_stop(fe));
	if (reset)
		assert_ok(fe, fe_set_empty(fe, FE_RESET_DEVICE));
	fe_ring_destroy(fe->ring[0]);
	fe->ring[0] = NULL;
	fe->base[0] = 0;
	assert_ok(fe, fe_create_rings(fe));
	assert_ok(fe, fe_setup_ring(fe, 0)); /* the region is not sent again */
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	put_writes(fe, 0, &new, 1, 0, 2);
	/* (Half of what a ring is waited for.) */
	assert_int_equal(fe_io_wait(fe->ring[0], &ended, 2500), 0);
	fe_io_drop(fe->ring[1], &old[1].blks[0].io);
	fe_io_drop(fe->ring[1], &old[1].blks[1].io);
	fe->ring_count = 2;
	server_close(fe);
	server_stop(&server);
}

static void new_driver_waits_for_nobody(void **state)
{
	check_new_driver_waits_for_nobody(true);
	check_new_driver_waits_for_nobody(false);
}

/* A ring is stopped, or its connection lost again, before all has been repeated. */
static void interrupted_recovery(void **state)
{
	struct server server;
	struct requests requests;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	put_writes(fe, 0, &requests, 8, 0, 1);
	assert_true(held_bdev_await(server.disk, 8));
	for (unsigned i = 0; i < 5; i++) {
		lose_connection(&server, fe);
		held_bdev_hold(server.disk);
		assert_ok(fe, fe_reconnect(fe));
		assert_true(held_bdev_await(server.disk, 8));
		assert_int_equal(held_bdev_waiting(server.disk), 8);
		assert_int_equal(count_marks(fe, 0), 8);
	}
	held_bdev_release(server.disk);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[0], 8);
	finish_all(fe, 0, &requests);
	assert_ok(fe, fe_start(fe));
	check_io(fe, 0, 2);
	server_close(fe);
	server_stop(&server);
}

/* ---- what a front-end can do to it ------------------------------------------------------- */

struct forgery {
	const char *name;
	void (*forge)(struct fe *fe);
	bool refused;
};

static void forge_version(struct fe *fe)
{
	*region_u16(fe, 0, 8) = 2;
}

static void forge_features(struct fe *fe)
{
	*region_u16(fe, 0, 0) = 1;
}

static void forge_desc_num(struct fe *fe)
{
	*region_u16(fe, 0, 10) = 64;
}

static void forge_used_idx(struct fe *fe)
{
	*region_u16(fe, 0, 14) = (uint16_t)(*region_u16(fe, 0, 14) - 200);
}

static void forge_last_head(struct fe *fe)
{
	*region_u16(fe, 0, 14) = (uint16_t)(*region_u16(fe, 0, 14) - 1);
	*region_u16(fe, 0, 12) = 0xffff;
}

static void forge_next(struct fe *fe)
{
	*region_u16(fe, 0, 14) = (uint16_t)(*region_u16(fe, 0, 14) - 3);
	*region_u16(fe, 0, 12) = 5;
	*(uint16_t *)(void *)(entry_mark(fe, 0, 5) + 6) = 128;
}

static void forge_loop(struct fe *fe)
{
	*region_u16(fe, 0, 14) = (uint16_t)(*region_u16(fe, 0, 14) - 100);
	*region_u16(fe, 0, 12) = 5;
	*(uint16_t *)(void *)(entry_mark(fe, 0, 5) + 6) = 5;
}

static void forge_marks(struct fe *fe)
{
	for (unsigned head = 0; head < 128; head++)
		*entry_mark(fe, 0, head) = 0xff;
}

static void forge_counters(struct fe *fe)
{
	for (unsigned head = 0; head < 128; head++)
		memset(entry_mark(fe, 0, head) + 8, 0xff, 8);
}

static const struct forgery forgeries[] = {
	{"a version of the future", forge_version, true},
	{"features of the future", forge_features, true},
	{"another number of entries", forge_desc_num, true},
	{"a used index far behind", forge_used_idx, true},
	{"a list that begins outside", forge_last_head, true},
	{"a list that leads outside", forge_next, true},
	{"a list that is a loop", forge_loop, false},
	{"marks everywhere", forge_marks, false},
	{"counters at their end", forge_counters, false},
};

/* Refused, or served as far as it goes; the next front-end finds a good disk. */
static void item_51(void **state)
{
	struct server server;
	struct requests requests;
	struct fe *fe;
	int rc;

	server_start(&server, FE_BUS_BLK);
	for (unsigned i = 0; i < ARRAY_SIZE(forgeries); i++) {
		print_message("             %s\n", forgeries[i].name);
		fe = server_open(&server);
		check_io(fe, 0, 3);
		held_bdev_hold(server.disk);
		put_writes(fe, 0, &requests, 3, 0, 1);
		assert_true(held_bdev_await(server.disk, 3));
		lose_connection(&server, fe);
		forgeries[i].forge(fe);
		rc = fe_reconnect(fe);
		if (forgeries[i].refused)
			assert_int_not_equal(rc, 0);
		else
			assert_ok(fe, rc);
		usleep(20000);
		for (unsigned j = 0; j < 3; j++)
			fe_io_drop(fe->ring[0], &requests.blks[j].io);
		fe_destroy(fe);
		assert_true(server_await_idle(&server));
		fe = server_open(&server);
		check_io(fe, 0, 3);
		server_close(fe);
	}
	server_stop(&server);
}

static uint64_t ask_region(struct fe *fe, struct fe_inflight_desc desc, int fd)
{
	return ask(fe, FE_SET_INFLIGHT_FD, &desc, sizeof(desc), fd);
}

/* 11.1, 19: everything about the message is checked before anything is mapped. */
static void bad_regions(void **state)
{
	struct fe_inflight_desc good = {.mmap_size = 8192, .queue_count = 1, .queue_size = 128};
	struct fe_inflight_desc desc;
	struct server server;
	struct fe_options options;
	struct fe *fe;
	int fd = memfd_create("inflight", MFD_CLOEXEC);
	int pipes[2];

	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(pipe(pipes), 0);
	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = server_prepare(&server, &options);
	desc = good, desc.queue_count = 0;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.queue_count = 257;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.queue_size = 0;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.queue_size = 32769, desc.mmap_size = 16 * MIB;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.mmap_size = 16 + 16 * 128 - 1;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.mmap_size = 8193;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.mmap_offset = 4096;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.mmap_offset = UINT64_MAX - 4095;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	desc = good, desc.mmap_offset = 4, desc.mmap_size = 4096;
	assert_int_not_equal(ask_region(fe, desc, fd), 0);
	assert_int_not_equal(ask_region(fe, good, pipes[0]), 0);
	/* An offset that is no page's is fine. */
	desc = good, desc.mmap_offset = 4096 - 64, desc.mmap_size = 4096 + 64;
	assert_int_equal(ask_region(fe, desc, fd), 0);
	assert_int_equal(ask_region(fe, good, fd), 0);
	fe->options.skip_inflight = true;
	assert_ok(fe, fe_start(fe));
	check_io(fe, 0, 3);
	assert_int_not_equal(ask_region(fe, good, fd), 0); /* while it runs */
	check_io(fe, 0, 3);
	server_close(fe);
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
	server_stop(&server);
}

/* Rings that do not fit into the region: larger ones, and more of them. */
static void small_regions(void **state)
{
	struct fe_inflight_desc desc = {.mmap_size = 8192, .queue_count = 1, .queue_size = 64};
	struct server server;
	struct fe_options options;
	struct fe *fe;
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 8192), 0);
	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.skip_inflight = true;
	fe = server_prepare(&server, &options);
	assert_int_equal(ask_region(fe, desc, fd), 0);
	assert_int_not_equal(fe_start(fe), 0);
	fe_destroy(fe);
	assert_true(server_await_idle(&server));

	options.ring_count = 2;
	fe = server_prepare(&server, &options);
	desc.queue_size = 128;
	assert_int_equal(ask_region(fe, desc, fd), 0);
	assert_int_not_equal(fe_start(fe), 0);
	fe_destroy(fe);
	assert_true(server_await_idle(&server));

	/* Smaller rings are fine: SeaBIOS uses 256 of 1024. */
	options.ring_count = 1;
	options.ring_size = 32;
	fe = server_prepare(&server, &options);
	assert_int_equal(ask_region(fe, desc, fd), 0);
	assert_ok(fe, fe_start(fe));
	check_io(fe, 0, 100);
	server_close(fe);
	close(fd);
	server_stop(&server);
}

/* 40: what is not sealed can be taken away. */
static void item_40(void **state)
{
	struct fe_inflight_desc desc = {.mmap_size = 8192, .queue_count = 1, .queue_size = 128};
	struct server server;
	struct fe_options options;
	struct requests requests;
	struct fe *fe;
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 8192), 0);
	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.skip_inflight = true;
	fe = server_prepare(&server, &options);
	assert_int_equal(ask_region(fe, desc, fd), 0);
	assert_ok(fe, fe_start(fe));
	check_io(fe, 0, 3);
	assert_int_equal(ftruncate(fd, 0), 0);
	put_writes(fe, 0, &requests, 1, 0, 1);
	assert_ok(fe, fe_conn_wait_close(&fe->conn, 5000));
	assert_true(server_await_idle(&server));
	fe_io_drop(fe->ring[0], &requests.blks[0].io);
	fe_destroy(fe);
	close(fd);
	fe = server_open(&server);
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.47 the in-flight region is laid out and filled by the rules", item_47, NULL,
			NULL, NULL},
		{"24.22 a stopped ring leaves its records alone", item_22, NULL, NULL, NULL},
		{"24.49 recovery does not believe SET_VRING_BASE", item_49, NULL, NULL, NULL},
		{"11.2 what was completed last is done, and signalled again", signal_after_restart,
			NULL, NULL, NULL},
		{"24.50 nothing new is taken before all that was in flight is repeated", item_50,
			NULL, NULL, NULL},
		{"11.4 a ring that does not start again holds the others for a while only",
			late_ring, NULL, NULL, NULL},
		{"11.4 a new driver does not wait for records of the one before it",
			new_driver_waits_for_nobody, NULL, NULL, NULL},
		{"11.2 a recovery that is interrupted begins again", interrupted_recovery, NULL,
			NULL, NULL},
		{"24.51 forged records are refused or harmless", item_51, NULL, NULL, NULL},
		{"11.1 impossible regions are refused", bad_regions, NULL, NULL, NULL},
		{"11.1 a ring that does not fit into its region is refused", small_regions, NULL,
			NULL, NULL},
		{"24.40 an in-flight region that is truncated ends its session only", item_40, NULL,
			NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
