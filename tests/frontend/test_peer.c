/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front-end against a target that we did not write: qemu-storage-daemon's vhost-user-blk export
 * on a file. What works there and fails against ours is ours. Skipped when it is not installed.
 *
 * (It refuses descriptors of length 0, does not know direct descriptors with an indirect one behind
 * them, and does not record in-flight requests, so none of these is tried.)
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "frontend/frontend.h"

#define DISK_BYTES (8 << 20)
#define WAIT_MS    5000

struct peer {
	char folder[64], image[96], socket[96], pidfile[96];
	pid_t pid;
};

static struct peer peer;

/* ---- the target ---- */

static void exec_peer(void)
{
	char disk[256], export[256];

	snprintf(disk, sizeof(disk), "driver=file,filename=%s,node-name=disk", peer.image);
	snprintf(export, sizeof(export),
		"type=vhost-user-blk,id=e,node-name=disk,writable=on,num-queues=2,addr.type=unix,"
		"addr.path=%s",
		peer.socket);
	execlp("qemu-storage-daemon", "qemu-storage-daemon", "--blockdev", disk, "--export", export,
		"--pidfile", peer.pidfile, (char *)NULL);
	_exit(77);
}

static int start_peer(void **state)
{
	struct stat status;
	int fd, waited;

	strcpy(peer.folder, "/tmp/frontend-XXXXXX");
	if (!mkdtemp(peer.folder))
		return -1;
	snprintf(peer.image, sizeof(peer.image), "%s/disk", peer.folder);
	snprintf(peer.socket, sizeof(peer.socket), "%s/sock", peer.folder);
	snprintf(peer.pidfile, sizeof(peer.pidfile), "%s/pid", peer.folder);
	fd = open(peer.image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0)
		return -1;
	close(fd);
	peer.pid = fork();
	if (peer.pid == 0)
		exec_peer();
	for (waited = 0; waited < WAIT_MS; waited += 5) {
		/* The socket is there before it listens; this file comes after that. */
		if (stat(peer.pidfile, &status) == 0)
			return 0;
		usleep(5000);
	}
	return -1;
}

static int stop_peer(void **state)
{
	int status;

	kill(peer.pid, SIGTERM);
	waitpid(peer.pid, &status, 0);
	unlink(peer.socket);
	unlink(peer.image);
	unlink(peer.pidfile);
	return rmdir(peer.folder);
}

/* ---- the work ---- */

struct style {
	enum fe_order order;
	bool notified, indirect, event_idx;
};

static void write_and_read_back(struct fe_ring *ring, const struct style *style, uint32_t round)
{
	/* Header, data and status cut in places that move with the round. */
	const uint32_t out_cuts[] = {3, 5, 1 + round % 13};
	const uint32_t in_cuts[] = {1 + round * 7 % 4096, 1};
	uint8_t written[8192], read[8192];
	struct fe_blk request;

	memset(written, (int)round + 1, sizeof(written));
	fe_blk_init(&request, FE_BLK_OUT, round % 64 * 16, written, sizeof(written));
	request.io.out_cuts = out_cuts;
	request.io.out_cut_count = 3;
	request.io.direct = style->indirect ? 0 : FE_IO_ALL_DIRECT;
	request.io.skew = round % 7;
	assert_int_equal(fe_io_run(ring, &request.io, WAIT_MS), 0);
	assert_int_equal(request.status, FE_BLK_OK);

	memset(read, 0, sizeof(read));
	fe_blk_init(&request, FE_BLK_IN, round % 64 * 16, read, sizeof(read));
	request.io.in_cuts = in_cuts;
	request.io.in_cut_count = 2;
	request.io.direct = style->indirect ? 0 : FE_IO_ALL_DIRECT;
	request.io.skew = round % 5;
	assert_int_equal(fe_io_run(ring, &request.io, WAIT_MS), 0);
	assert_int_equal(request.status, FE_BLK_OK);
	assert_memory_equal(read, written, sizeof(read));
}

static void check(struct fe *fe, int rc)
{
	if (rc)
		fail_msg("%d: %s", rc, fe->conn.why);
}

static void run_style(const struct style *style)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, peer.socket);
	uint8_t id[20], status = 0xee;
	struct fe *fe;
	uint32_t round;

	options.order = style->order;
	options.notified = style->notified;
	options.ring_count = 2;
	if (!style->event_idx)
		options.features &= ~FE_F_EVENT_IDX;
	if (fe_open(&options, &fe))
		fail_msg("%s", options.why);
	assert_int_equal(!!(fe->features & FE_F_EVENT_IDX), style->event_idx);
	assert_int_equal(fe->config.capacity, DISK_BYTES / 512);
	for (round = 0; round < 200; round++) {
		write_and_read_back(fe->ring[round % 2], style, round);
		if (round == 50) {
			check(fe, fe_stop(fe));
			check(fe, fe_start(fe));
		} else if (round == 100) {
			check(fe, fe_reset(fe));
			check(fe, fe_create_rings(fe));
			check(fe, fe_start(fe));
		} else if (round == 150) {
			check(fe, fe_reconnect(fe));
		}
	}
	assert_int_equal(
		fe_blk_run(fe->ring[0], FE_BLK_GET_ID, 0, id, sizeof(id), &status, WAIT_MS), 0);
	assert_int_equal(status, FE_BLK_OK);
	assert_int_equal(fe_blk_run(fe->ring[1], FE_BLK_FLUSH, 0, NULL, 0, &status, WAIT_MS), 0);
	assert_int_equal(status, FE_BLK_OK);
	assert_int_equal(
		fe_blk_run_range(fe->ring[0], FE_BLK_WRITE_ZEROES, 0, 16, 0, &status, WAIT_MS), 0);
	assert_int_equal(status, FE_BLK_OK);
	assert_int_equal(fe_close(fe), 0);
}

static void every_order_and_style_works(void **state)
{
	uint32_t bits;

	for (bits = 0; bits < 32; bits++) {
		struct style style = {
			.order = (enum fe_order)(bits >> 3),
			.notified = bits & 1,
			.indirect = bits & 2,
			.event_idx = bits & 4,
		};

		print_message("order %d notified %d indirect %d event_idx %d\n", style.order,
			style.notified, style.indirect, style.event_idx);
		run_style(&style);
	}
}

static void regions_of_odd_offsets_are_reached(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, peer.socket);
	struct style style = {.order = FE_QEMU_10};
	/* Rings must be aligned for us too, so the offset is odd in pages only. */
	struct fe_region_spec low = {
		.gpa = 0x10000, .size = 1 << 20, .fd_offset = 0x3000, .fd = FE_NEW_FILE};
	struct fe_region_spec high = {.gpa = UINT64_C(1) << 40, .size = 1 << 20, .fd = FE_NEW_FILE};
	uint32_t slot, round;
	struct fe *fe;

	options.memory_size = 0;
	fe = fe_create(&options);
	assert_non_null(fe);
	assert_int_equal(fe_memory_add(&fe->memory, &low, &slot), 0);
	assert_int_equal(fe_memory_add(&fe->memory, &high, &slot), 0);
	check(fe, fe_conn_connect(&fe->conn, peer.socket, WAIT_MS));
	check(fe, fe_negotiate(fe));
	check(fe, fe_create_rings(fe));
	check(fe, fe_start(fe));
	for (round = 0; round < 20; round++)
		write_and_read_back(fe->ring[0], &style, round);
	/* One more while it runs, and used by the next request alone. */
	high.gpa = UINT64_C(1) << 41;
	assert_int_equal(fe_memory_add(&fe->memory, &high, &slot), 0);
	check(fe, fe_memory_announce(fe));
	while (fe_memory_alloc_in(&fe->memory, 0, 4096, 16) ||
		fe_memory_alloc_in(&fe->memory, 1, 4096, 16))
		;
	for (round = 0; round < 20; round++)
		write_and_read_back(fe->ring[0], &style, round);
	assert_int_equal(fe_close(fe), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_order_and_style_works),
		cmocka_unit_test(regions_of_odd_offsets_are_reached),
	};

	if (system("qemu-storage-daemon --version >/dev/null 2>&1")) {
		printf("qemu-storage-daemon (Debian package qemu-system-common) is missing\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
