/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 35 to 40: guest memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

/* ---- 34, 35, 36 ------------------------------------------------------------------------------ */

/* A request all of whose buffers lie in that region. */
static void check_region_io(struct server *server, struct fe *fe, uint32_t region, uint8_t value)
{
	uint8_t data[2048];
	struct fe_blk blk;

	memset(held_bdev_data(server->disk), 0, sizeof(data));
	memset(data, value, sizeof(data));
	fe_blk_init(&blk, FE_BLK_OUT, 0, data, sizeof(data));
	blk.io.one_region = true;
	blk.io.region = region;
	submit(fe, 0, &blk.io);
	finish(fe, 0, &blk.io);
	assert_int_equal(blk.status, FE_BLK_OK);
	assert_memory_equal(held_bdev_data(server->disk), data, sizeof(data));
	memset(data, 0, sizeof(data));
	fe_blk_init(&blk, FE_BLK_IN, 0, data, sizeof(data));
	blk.io.one_region = true;
	blk.io.region = region;
	submit(fe, 0, &blk.io);
	finish(fe, 0, &blk.io);
	assert_int_equal(blk.status, FE_BLK_OK);
	assert_memory_equal(data, held_bdev_data(server->disk), sizeof(data));
}

static void check_offset(struct server *server, bool huge, uint64_t offset, uint64_t size)
{
	struct fe *fe = server_open(server);
	struct fe_region_spec spec = {
		.gpa = UINT64_C(1) << 32,
		.size = size,
		.fd_offset = offset,
		.fd = FE_NEW_FILE,
		.huge = huge,
	};
	uint32_t slot;
	int rc = fe_memory_add(&fe->memory, &spec, &slot);

	if (huge && rc == -ENOMEM) {
		print_message("             no huge pages on this host: not tried\n");
	} else {
		assert_int_equal(rc, 0);
		assert_ok(fe, fe_add_mem_reg(fe, slot));
		check_region_io(server, fe, slot, 0x35);
		assert_ok(fe, fe_rem_mem_reg(fe, slot));
		fe_memory_remove(&fe->memory, slot);
	}
	server_close(fe);
}

static void item_35(void **state)
{
	struct server server;

	server_start(&server, FE_BUS_BLK);
	check_offset(&server, false, 0x1000, 0x10000);
	check_offset(&server, false, 0x234, 0x10000);
	check_offset(&server, false, 0xfff, 0x12345);
	check_offset(&server, false, 0x123457, 0x54321);
	check_offset(&server, true, 0x1000, 0x200000);
	check_offset(&server, true, 0x201234, 0x54321);
	server_stop(&server);
}

/* What QEMU makes of a guest with VGA and more than 3 GiB: three parts of one file. */
static void item_34(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct fe_region_spec specs[] = {
		{.gpa = 0, .size = 640 * KIB, .fd_offset = 0},
		{.gpa = 768 * KIB, .size = 32 * MIB - 768 * KIB, .fd_offset = 768 * KIB},
		{.gpa = 4 * GIB, .size = 32 * MIB, .fd_offset = 32 * MIB},
	};
	int fd = memfd_create("guest", MFD_CLOEXEC);
	uint32_t slot;

	assert_int_equal(ftruncate(fd, 64 * MIB), 0);
	server_start(&server, FE_BUS_BLK);
	for (unsigned mem_table = 0; mem_table < 2; mem_table++) {
		options = server_options(&server);
		options.memory_size = 0;
		options.mem_table = mem_table;
		fe = fe_create(&options);
		assert_int_equal(fe_conn_connect(&fe->conn, server.path, 5000), 0);
		assert_ok(fe, fe_negotiate(fe));
		for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
			specs[i].fd = fd;
			assert_int_equal(fe_memory_add(&fe->memory, &specs[i], &slot), 0);
		}
		assert_ok(fe, fe_create_rings(fe));
		assert_ok(fe, fe_start(fe));
		for (uint32_t i = 0; i < ARRAY_SIZE(specs); i++)
			check_region_io(&server, fe, i, (uint8_t)(0x34 + i));
		server_close(fe);
	}
	close(fd);
	server_stop(&server);
}

static void item_36(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_ring *ring;
	struct fe_blk_header *header;
	uint8_t *status;
	uint64_t border = 64 * MIB;
	uint8_t bytes[4096], back[4096];
	uint32_t slot;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	slot = add_region(fe, border, MIB);
	assert_ok(fe, fe_add_mem_reg(fe, slot));
	ring = fe->ring[0];
	header = fe_memory_alloc_in(&fe->memory, 0, sizeof(*header), 16);
	status = fe_memory_alloc_in(&fe->memory, 0, 1, 1);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13 + i / 256);
	for (unsigned write = 2; write-- > 0;) {
		const struct fe_segment segments[] = {
			{.gpa = fe_memory_gpa(&fe->memory, header), .len = sizeof(*header)},
			{.gpa = border - 1000, .len = sizeof(bytes), .write = !write},
			{.gpa = fe_memory_gpa(&fe->memory, status), .len = 1, .write = true},
		};
		const struct fe_chain chain = {.segments = segments, .count = 3, .direct = 3};
		struct fe_completion completion;

		*header = (struct fe_blk_header){.type = write ? FE_BLK_OUT : FE_BLK_IN};
		*status = 0xee;
		if (write)
			assert_int_equal(
				fe_memory_write(&fe->memory, border - 1000, bytes, sizeof(bytes)),
				0);
		assert_int_equal(fe_ring_add(ring, &chain, NULL), 0);
		fe_ring_publish(ring);
		fe_ring_kick(ring);
		assert_int_equal(fe_ring_wait(ring, 5000), 0);
		assert_int_equal(fe_ring_pop(ring, &completion), 1);
		assert_int_equal(*status, FE_BLK_OK);
		if (write) {
			assert_memory_equal(held_bdev_data(server.disk), bytes, sizeof(bytes));
			memset(back, 0, sizeof(back));
			fe_memory_write(&fe->memory, border - 1000, back, sizeof(back));
		}
	}
	assert_int_equal(fe_memory_read(&fe->memory, border - 1000, back, sizeof(back)), 0);
	assert_memory_equal(back, bytes, sizeof(back));
	server_close(fe);
	server_stop(&server);
}

/* ---- 37 ---------------------------------------------------------------------------------- */

struct loader {
	pthread_t thread;
	struct fe *fe;
	_Atomic bool stop;
	unsigned ring;
};

static void *loader_run(void *arg)
{
	struct loader *loader = arg;
	unsigned seed = 37;

	while (!atomic_load(&loader->stop))
		run_load(loader->fe, loader->ring, 200, 16, seed++);
	return NULL;
}

/* The front-end's own list of regions may not change while rings are driven, so the regions that
 * come and go are told by hand. */
static void tell_region(struct fe *fe, uint32_t id, uint64_t gpa, uint64_t size, int fd)
{
	struct fe_mem_single region = {
		.entry = {.gpa = gpa, .size = size, .user = gpa + (UINT64_C(1) << 40)}};

	assert_int_equal(ask(fe, id, &region, sizeof(region), fd), 0);
}

static void tell_table(struct fe *fe, unsigned extra, int fd)
{
	const struct fe_region *own = &fe->memory.region[0];
	struct {
		uint32_t count, zero;
		struct fe_mem_entry entries[2];
	} table = {.count = 1 + extra,
		.entries = {{own->gpa, own->size, own->user, own->fd_offset},
			{UINT64_C(1) << 33, MIB, UINT64_C(1) << 41, 0}}};
	struct fe_msg msg;

	fe_msg_init(&msg, FE_SET_MEM_TABLE, FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, &table,
		8 + 32 * table.count);
	fe_msg_add_fd(&msg, own->fd);
	if (extra)
		fe_msg_add_fd(&msg, fd);
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_SET_MEM_TABLE, 8, 0, &msg));
	assert_int_equal(msg.u64, 0);
}

static void item_37(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct loader loaders[2] = {{.ring = 0}, {.ring = 1}};
	int fd = memfd_create("extra", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, MIB), 0);
	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_count = 2;
	fe = server_open_with(&server, &options);
	for (unsigned i = 0; i < 2; i++) {
		loaders[i].fe = fe;
		assert_int_equal(
			pthread_create(&loaders[i].thread, NULL, loader_run, &loaders[i]), 0);
	}
	for (unsigned i = 0; i < 50; i++) {
		tell_region(fe, FE_ADD_MEM_REG, UINT64_C(1) << 33, MIB, fd);
		tell_region(fe, FE_REM_MEM_REG, UINT64_C(1) << 33, MIB, -1);
		tell_table(fe, 1, fd);
		tell_table(fe, 0, -1);
	}
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&loaders[i].stop, true);
		pthread_join(loaders[i].thread, NULL);
	}
	check_io(fe, 0, 3);
	close(fd);
	server_close(fe);
	server_stop(&server);
}

/* A region that requests in flight use goes away only after they have ended. */
static void item_37_in_flight(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_blk blk;
	struct fe_msg msg;
	struct fe_mem_single region = {0};
	uint8_t data[2048];
	uint32_t slot;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	slot = add_region(fe, UINT64_C(1) << 33, MIB);
	assert_ok(fe, fe_add_mem_reg(fe, slot));
	memset(held_bdev_data(server.disk), 0x42, sizeof(data));
	held_bdev_hold(server.disk);
	fe_blk_init(&blk, FE_BLK_IN, 0, data, sizeof(data));
	blk.io.one_region = true;
	blk.io.region = slot;
	submit(fe, 0, &blk.io);
	assert_true(held_bdev_await(server.disk, 1));
	region.entry = (struct fe_mem_entry){.gpa = fe->memory.region[slot].gpa,
		.size = fe->memory.region[slot].size,
		.user = fe->memory.region[slot].user,
		.fd_offset = 12345}; /* to be ignored */
	fe_msg_init(&msg, FE_REM_MEM_REG, FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, &region,
		sizeof(region));
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_conn_expect_silence(&fe->conn, 50));
	held_bdev_release(server.disk);
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_REM_MEM_REG, 8, 0, &msg));
	assert_int_equal(msg.u64, 0);
	finish(fe, 0, &blk.io);
	assert_int_equal(blk.status, FE_BLK_OK);
	assert_int_equal(data[2047], 0x42);
	server_close(fe);
	server_stop(&server);
}

/* 7.8: a region that changes in size is removed and added again; what the guest asks for meanwhile
 * is retried and not failed. */
static void resized_region(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_blk blk;
	uint8_t data[2048];
	uint32_t slot;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	slot = add_region(fe, UINT64_C(1) << 33, MIB);
	assert_ok(fe, fe_add_mem_reg(fe, slot));
	for (unsigned i = 0; i < 10; i++) {
		fe_blk_init(&blk, FE_BLK_IN, 0, data, sizeof(data));
		blk.io.one_region = true;
		blk.io.region = slot;
		assert_ok(fe, fe_rem_mem_reg(fe, slot));
		submit(fe, 0, &blk.io);
		usleep(2000);
		assert_ok(fe, fe_add_mem_reg(fe, slot));
		finish(fe, 0, &blk.io);
		assert_int_equal(blk.status, FE_BLK_OK);
	}
	server_close(fe);
	server_stop(&server);
}

/* ---- 38 ---------------------------------------------------------------------------------- */

/* Start addresses of mappings of that file in this process but the front-end's own. */
static uintptr_t find_mapping(int fd, const struct fe_region *own)
{
	struct stat st;
	char line[512];
	uintptr_t found = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	assert_non_null(maps);
	assert_int_equal(fstat(fd, &st), 0);
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, inode;

		if (sscanf(line, "%" SCNx64 "-%*x %*s %*x %*s %" SCNu64, &start, &inode) != 2)
			continue;
		if (inode == st.st_ino && start != (uintptr_t)own->mapping)
			found = start;
	}
	fclose(maps);
	return found;
}

static void item_38(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct fe_region *own;
	uintptr_t before;
	int other;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.mem_table = true;
	fe = server_open_with(&server, &options);
	own = &fe->memory.region[0];
	check_io(fe, 0, 3);
	before = find_mapping(own->fd, own);
	assert_true(before != 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_ok(fe, fe_set_mem_table(fe));
		assert_true(find_mapping(own->fd, own) == before);
	}
	check_io(fe, 0, 3);
	/* Another file under the same numbers. */
	assert_ok(fe, fe_stop(fe));
	other = memfd_create("other", MFD_CLOEXEC);
	assert_int_equal(ftruncate(other, (off_t)own->size), 0);
	{
		int old = own->fd;

		own->fd = other;
		assert_ok(fe, fe_set_mem_table(fe));
		assert_true(find_mapping(other, own) != 0);
		assert_true(find_mapping(old, own) == 0);
		own->fd = old;
		assert_ok(fe, fe_set_mem_table(fe));
		assert_true(find_mapping(other, own) == 0);
	}
	assert_ok(fe, fe_start(fe));
	check_io(fe, 0, 3);
	close(other);
	server_close(fe);
	server_stop(&server);
}

/* ---- 39 ---------------------------------------------------------------------------------- */

static void refuse_region(
	struct fe *fe, int fd, uint64_t gpa, uint64_t size, uint64_t user, uint64_t offset)
{
	struct fe_mem_single region = {.entry = {gpa, size, user, offset}};
	struct {
		uint32_t count, zero;
		struct fe_mem_entry entry;
	} table = {.count = 1, .entry = region.entry};

	assert_int_not_equal(ask(fe, FE_ADD_MEM_REG, &region, sizeof(region), fd), 0);
	/* A table of it alone: not where it only collides with what is there. */
	if (gpa != 0x1000 && user != 0x1000)
		assert_int_not_equal(ask(fe, FE_SET_MEM_TABLE, &table, sizeof(table), fd), 0);
}

#define FREE_USER (UINT64_C(1) << 44)
#define FREE_GPA  (UINT64_C(1) << 36)

/* With the one region that is there. */
static void refuse_collisions(struct fe *fe, int fd)
{
	const struct fe_region *own = &fe->memory.region[0];
	struct fe_mem_single region = {.entry = {FREE_GPA, 0x1000, own->user + 0x1000, 0}};

	assert_int_equal(own->gpa, 0);
	refuse_region(fe, fd, 0x1000, 0x1000, FREE_USER, 0);
	assert_int_not_equal(ask(fe, FE_ADD_MEM_REG, &region, sizeof(region), fd), 0);
	region.entry = (struct fe_mem_entry){own->gpa, own->size, own->user, own->fd_offset};
	assert_int_not_equal(ask(fe, FE_ADD_MEM_REG, &region, sizeof(region), own->fd), 0);
	region.entry.size--;
	assert_int_not_equal(ask(fe, FE_REM_MEM_REG, &region, sizeof(region), -1), 0);
}

static void refuse_numbers(struct fe *fe, int fd)
{
	refuse_region(fe, fd, FREE_GPA, 0, FREE_USER, 0);
	refuse_region(fe, fd, UINT64_MAX - 0xfff, 0x2000, FREE_USER, 0);
	refuse_region(fe, fd, FREE_GPA, 0x2000, UINT64_MAX - 0xfff, 0);
	refuse_region(fe, fd, FREE_GPA, 0x2000, FREE_USER, UINT64_MAX - 0xfff);
	refuse_region(fe, fd, FREE_GPA, MIB + 1, FREE_USER, 0);
	refuse_region(fe, fd, FREE_GPA, MIB, FREE_USER, 1);
	refuse_region(fe, fd, FREE_GPA, UINT64_MAX / 2, FREE_USER, 0);
}

static void refuse_files(struct fe *fe)
{
	int pipes[2];
	int path_only = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int read_only = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_int_equal(pipe(pipes), 0);
	refuse_region(fe, pipes[0], FREE_GPA, 0x1000, FREE_USER, 0);
	refuse_region(fe, fe->conn.fd, FREE_GPA, 0x1000, FREE_USER, 0);
	refuse_region(fe, path_only, FREE_GPA, 0x1000, FREE_USER, 0);
	refuse_region(fe, directory, FREE_GPA, 0x1000, FREE_USER, 0);
	refuse_region(fe, read_only, FREE_GPA, 0x1000, FREE_USER, 0);
	close(path_only);
	close(directory);
	close(read_only);
	close(pipes[0]);
	close(pipes[1]);
}

/* Two that overlap, and one descriptor too few. */
static void refuse_tables(struct fe *fe, int fd)
{
	struct {
		uint32_t count, zero;
		struct fe_mem_entry entries[2];
	} table = {.count = 2, .entries = {{0, 0x2000, 0x10000, 0}, {0x1fff, 0x1000, 0x20000, 0}}};
	struct fe_msg msg;

	for (unsigned fds = 1; fds <= 2; fds++) {
		fe_msg_init(&msg, FE_SET_MEM_TABLE, FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, &table,
			sizeof(table));
		for (unsigned i = 0; i < fds; i++)
			fe_msg_add_fd(&msg, fd);
		assert_ok(fe, fe_msg_send(&fe->conn, &msg));
		assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_SET_MEM_TABLE, 8, 0, &msg));
		assert_true(msg.u64 != 0);
	}
}

/* As many as were announced, and not one more. */
static void refuse_too_many(struct fe *fe, int fd)
{
	struct fe_mem_single region = {.entry = {FREE_GPA - MIB, 0x1000, FREE_USER, 0}};

	for (uint64_t i = 1; i < fe->mem_slots; i++)
		tell_region(fe, FE_ADD_MEM_REG, FREE_GPA + i * 0x1000, 0x1000, fd);
	assert_int_not_equal(ask(fe, FE_ADD_MEM_REG, &region, sizeof(region), fd), 0);
}

static void item_39(void **state)
{
	struct server server;
	struct fe *fe;
	int fd = memfd_create("regions", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, MIB), 0);
	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	refuse_collisions(fe, fd);
	refuse_numbers(fe, fd);
	refuse_files(fe);
	refuse_tables(fe, fd);
	check_io(fe, 0, 3);
	refuse_too_many(fe, fd);
	check_io(fe, 0, 3);
	server_close(fe);
	close(fd);
	server_stop(&server);
}

/* ---- 40 ---------------------------------------------------------------------------------- */

/* The server runs into the missing pages: of data buffers, and of the ring itself. */
static void check_truncation(struct server *server, struct fe *other, bool ring)
{
	struct fe_options options = server_options(server);
	struct fe *fe = server_prepare(server, &options); /* its memory is not sealed */
	struct fe_region *own = &fe->memory.region[0];
	struct fe_region_spec spec = {.gpa = UINT64_C(1) << 33, .size = MIB, .fd = FE_NEW_FILE};
	struct fe_blk blk;
	uint8_t data[2048] = {0};
	uint32_t slot;

	assert_ok(fe, fe_setup_ring(fe, 0));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	check_io(fe, 0, 3);
	if (ring) {
		/* Nothing of ours touches the memory from here on but through the kick. */
		assert_int_equal(ftruncate(own->fd, 0), 0);
		fe_ring_kick_always(fe->ring[0]);
	} else {
		assert_int_equal(fe_memory_add(&fe->memory, &spec, &slot), 0);
		assert_ok(fe, fe_add_mem_reg(fe, slot));
		fe_blk_init(&blk, FE_BLK_OUT, 0, data, sizeof(data));
		blk.io.one_region = true;
		blk.io.region = slot;
		assert_int_equal(fe_io_submit(fe->ring[0], &blk.io), 0);
		assert_int_equal(ftruncate(fe->memory.region[slot].fd, 0), 0);
		fe_io_publish(fe->ring[0]);
	}
	assert_ok(fe, fe_conn_wait_close(&fe->conn, 5000));
	assert_true(server_await_idle(server));
	check_io(other, 0, 3);
	if (ring)
		assert_int_equal(ftruncate(own->fd, (off_t)own->size), 0);
	else
		fe_io_drop(fe->ring[0], &blk.io);
	fe_destroy(fe);
}

static void item_40(void **state)
{
	struct server server, neighbour;
	struct fe *other, *fe;

	server_start(&server, FE_BUS_BLK);
	server_start(&neighbour, FE_BUS_BLK);
	other = server_open(&neighbour);
	check_truncation(&server, other, false);
	check_truncation(&server, other, true);
	fe = server_open(&server);
	check_io(fe, 0, 3);
	server_close(fe);
	check_io(other, 0, 3);
	server_close(other);
	server_stop(&neighbour);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.34 parts of one file at several places of the guest are mapped right", item_34,
			NULL, NULL, NULL},
		{"24.35 regions at unaligned offsets are mapped right", item_35, NULL, NULL, NULL},
		{"24.36 a buffer across two regions is read and written right", item_36, NULL, NULL,
			NULL},
		{"24.37 memory changes under load cause no error", item_37, NULL, NULL, NULL},
		{"24.37 a region is not unmapped before requests that use it have ended",
			item_37_in_flight, NULL, NULL, NULL},
		{"7.8 addresses of a region that is being resized are retried", resized_region,
			NULL, NULL, NULL},
		{"24.38 an identical table does not map again, another file does", item_38, NULL,
			NULL, NULL},
		{"24.39 impossible regions are refused and change nothing", item_39, NULL, NULL,
			NULL},
		{"24.40 truncated memory ends its session, others do not notice", item_40, NULL,
			NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
