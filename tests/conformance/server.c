/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance/server.h"

#include <dirent.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/held_bdev.h"

/* ---- the thread sanitizer ---------------------------------------------------------------- */

/*
 * Driver and device see guest memory at different addresses, so the thread sanitizer cannot see
 * that the ring's indices order what the two of them do there. It is told to leave the device's
 * mappings alone, and the disk, which is only in order because the rings are; everything else it
 * watches. Without it the function is not there.
 */
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *mem, size_t size,
	const char *description) __attribute__((weak));

static int (*map_of_kernel)(
	struct os *os, int fd, uint64_t offset, size_t len, bool populate, void **ret_addr);

static int map_guest_memory(
	struct os *os, int fd, uint64_t offset, size_t len, bool populate, void **ret_addr)
{
	int rc = map_of_kernel(os, fd, offset, len, populate, ret_addr);

	if (rc == 0)
		AnnotateBenignRaceSized(__FILE__, __LINE__, *ret_addr, len, "guest memory");
	return rc;
}

static void leave_disk_alone(struct held_bdev *disk)
{
	if (!AnnotateBenignRaceSized)
		return;
	AnnotateBenignRaceSized(
		__FILE__, __LINE__, held_bdev_data(disk), SERVER_DISK_BYTES, "disk");
	AnnotateBenignRaceSized(
		__FILE__, __LINE__, held_bdev_stable(disk), SERVER_DISK_BYTES, "disk");
}

static void tell_sanitizer(struct server *server)
{
	if (!AnnotateBenignRaceSized)
		return;
	server->os_ops = *server->os->ops;
	map_of_kernel = server->os_ops.map;
	server->os_ops.map = map_guest_memory;
	server->os->ops = &server->os_ops;
}

/* ---- calls on the control reactor -------------------------------------------------------- */

struct server_call_op {
	struct message message;
	struct server *server;
	void (*fn)(struct server *server, void *arg);
	void (*start)(struct server *server, void *arg, done_fn done, void *done_arg);
	void *arg;
	int rc;
	sem_t over;
};

static void server_call_done(void *arg, int rc)
{
	struct server_call_op *op = arg;

	op->rc = rc;
	sem_post(&op->over);
}

static void server_call_run(struct message *message)
{
	struct server_call_op *op = container_of(message, struct server_call_op, message);

	if (op->start) {
		op->start(op->server, op->arg, server_call_done, op);
		return;
	}
	op->fn(op->server, op->arg);
	sem_post(&op->over);
}

static int server_call_wait(struct server_call_op *op)
{
	sem_init(&op->over, 0, 0);
	op->message.run = server_call_run;
	reactor_send(op->server->control, &op->message);
	while (sem_wait(&op->over))
		;
	sem_destroy(&op->over);
	return op->rc;
}

void server_call(struct server *server, void (*fn)(struct server *server, void *arg), void *arg)
{
	struct server_call_op op = {.server = server, .fn = fn, .arg = arg};

	server_call_wait(&op);
}

int server_await(struct server *server,
	void (*start)(struct server *server, void *arg, done_fn done, void *done_arg), void *arg)
{
	struct server_call_op op = {.server = server, .start = start, .arg = arg};

	return server_call_wait(&op);
}

/* ---- start ------------------------------------------------------------------------------- */

static struct reactor *start_reactor(struct server *server, const char *name)
{
	const struct reactor_options options = {.name = name, .cpu = -1};
	struct reactor *reactor;

	assert_int_equal(reactor_create(server->os, &options, NULL, &reactor), 0);
	assert_int_equal(reactor_start(reactor, NULL), 0);
	return reactor;
}

static void make_controller(struct server *server, void *arg)
{
	const struct vhost_options vhost_options = {
		.os = server->os,
		.control = server->control,
		.data_reactors = server->data,
		.data_reactor_count = SERVER_DATA_REACTORS,
		.registry = server->registry,
		.socket_dir = server->dir,
		.drain_limit_ns = server->drain_limit_ns,
		.overdue_limit_ns = server->overdue_limit_ns,
	};
	const struct vhost_blk_options blk = {
		.name = "c",
		.bdev_name = "disk",
		.read_only = server->read_only,
		.fails_when_full = server->fails_when_full,
	};
	const struct vhost_scsi_options scsi = {
		.name = "c", .waits_for_space = server->waits_for_space};
	int *rc = arg;

	*rc = vhost_create(&vhost_options, NULL, &server->vhost);
	if (*rc == 0)
		*rc = held_bdev_create(server->registry, "disk", SERVER_DISK_BYTES, &server->disk);
	if (*rc)
		return;
	leave_disk_alone(server->disk);
	if (server->bus == FE_BUS_BLK)
		*rc = vhost_blk_create(server->vhost, &blk, NULL, &server->controller);
	else
		*rc = vhost_scsi_create(server->vhost, &scsi, NULL, &server->controller);
}

static void add_target(struct server *server, void *arg, done_fn done, void *done_arg)
{
	vhost_scsi_add_target(
		server->controller, 0, VHOST_SCSI_LUN_UNSAID, "disk", NULL, done, done_arg);
}

void server_start_with(struct server *server, enum fe_bus bus)
{
	const struct os_real_options os_options = {
		.io_uring = !getenv("SLUICE_TEST_NO_IO_URING"), .workers = 2};
	int rc = 0;

	server->bus = bus;
	strcpy(server->dir, "/tmp/sluice-test-XXXXXX");
	assert_non_null(mkdtemp(server->dir));
	snprintf(server->path, sizeof(server->path), "%s/c", server->dir);
	assert_int_equal(os_real_create(&os_options, NULL, &server->os), 0);
	tell_sanitizer(server);
	server->control = start_reactor(server, "control");
	for (unsigned i = 0; i < SERVER_DATA_REACTORS; i++)
		server->data[i] = start_reactor(server, "data");
	assert_int_equal(bdev_registry_create(server->os, server->control, &server->registry), 0);
	server_call(server, make_controller, &rc);
	assert_int_equal(rc, 0);
	if (bus == FE_BUS_SCSI)
		assert_int_equal(server_await(server, add_target, NULL), 0);
}

void server_start(struct server *server, enum fe_bus bus)
{
	memset(server, 0, sizeof(*server));
	server_start_with(server, bus);
}

/* ---- stop -------------------------------------------------------------------------------- */

static void destroy_vhost(struct server *server, void *arg, done_fn done, void *done_arg)
{
	vhost_destroy(server->vhost, done, done_arg);
}

static void destroy_disk(struct server *server, void *arg, done_fn done, void *done_arg)
{
	bdev_unregister(held_bdev_bdev(server->disk), done, done_arg);
}

void server_remove_disk(struct server *server)
{
	assert_int_equal(server_await(server, destroy_disk, NULL), 0);
	server->disk = NULL;
}

void server_stop(struct server *server)
{
	assert_int_equal(server_await(server, destroy_vhost, NULL), 0);
	if (server->disk)
		server_remove_disk(server);
	for (unsigned i = 0; i < SERVER_DATA_REACTORS; i++)
		reactor_stop(server->data[i]);
	reactor_stop(server->control);
	for (unsigned i = 0; i < SERVER_DATA_REACTORS; i++)
		reactor_destroy(server->data[i]);
	bdev_registry_destroy(server->registry);
	reactor_destroy(server->control);
	os_real_destroy(server->os);
	/* The socket is gone, or this fails. */
	assert_int_equal(remove(server->dir), 0);
}

/* ---- front-ends -------------------------------------------------------------------------- */

struct fe_options server_options(const struct server *server)
{
	return fe_options_default(server->bus, server->path);
}

struct fe *server_open_with(struct server *server, struct fe_options *options)
{
	struct fe *fe;

	if (fe_open(options, &fe))
		fail_msg("no running device: %s", options->why);
	return fe;
}

struct fe *server_open(struct server *server)
{
	struct fe_options options = server_options(server);

	return server_open_with(server, &options);
}

struct fe *server_connect(struct server *server)
{
	struct fe_options options = server_options(server);
	struct fe *fe = fe_create(&options);

	assert_non_null(fe);
	assert_int_equal(fe_conn_connect(&fe->conn, server->path, options.timeout_ms), 0);
	return fe;
}

void server_close(struct fe *fe)
{
	assert_ok(fe, fe_stop(fe));
	fe_destroy(fe);
}

/* ---- helpers ----------------------------------------------------------------------------- */

unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

bool await(bool (*condition)(void *arg), void *arg)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (condition(arg))
			return true;
		usleep(1000);
	}
	return false;
}

static void look_for_session(struct server *server, void *arg)
{
	struct vhost_controller_info *info = malloc(sizeof(*info));

	vhost_controller_get_info(server->controller, info);
	*(bool *)arg = !info->connected;
	free(info);
}

bool server_is_idle(struct server *server)
{
	bool idle;

	server_call(server, look_for_session, &idle);
	return idle;
}

static bool is_idle(void *arg)
{
	return server_is_idle(arg);
}

bool server_await_idle(struct server *server)
{
	return await(is_idle, server);
}

static void check_io_blk(struct fe *fe, unsigned ring, unsigned i)
{
	uint8_t out[4096], in[4096], status = 0xff;

	memset(out, (int)(i * 7 + 1), sizeof(out));
	assert_ok(fe, fe_blk_run(fe->ring[ring], FE_BLK_OUT, i % 64 * 8, out, sizeof(out), &status,
			      5000));
	assert_int_equal(status, FE_BLK_OK);
	assert_ok(fe,
		fe_blk_run(fe->ring[ring], FE_BLK_IN, i % 64 * 8, in, sizeof(in), &status, 5000));
	assert_int_equal(status, FE_BLK_OK);
	assert_memory_equal(in, out, sizeof(in));
}

static void check_io_scsi(struct fe *fe, unsigned ring, unsigned i)
{
	uint8_t out[4096], in[4096];
	struct fe_scsi request;

	memset(out, (int)(i * 5 + 3), sizeof(out));
	fe_scsi_init_write(&request, 0, 0, i % 64 * 8, 8, out, sizeof(out));
	assert_ok(fe, fe_scsi_run(fe->ring[ring], &request, 5000));
	/* The first command of a session may meet a unit attention. */
	if (request.response.status == 2) {
		fe_scsi_init_write(&request, 0, 0, i % 64 * 8, 8, out, sizeof(out));
		assert_ok(fe, fe_scsi_run(fe->ring[ring], &request, 5000));
	}
	assert_int_equal(request.response.response, FE_SCSI_OK);
	assert_int_equal(request.response.status, 0);
	fe_scsi_init_read(&request, 0, 0, i % 64 * 8, 8, in, sizeof(in));
	assert_ok(fe, fe_scsi_run(fe->ring[ring], &request, 5000));
	assert_int_equal(request.response.status, 0);
	assert_memory_equal(in, out, sizeof(in));
}

void check_io(struct fe *fe, unsigned ring, unsigned requests)
{
	for (unsigned i = 0; i < requests; i++) {
		if (fe->options.bus == FE_BUS_BLK)
			check_io_blk(fe, ring, i);
		else
			check_io_scsi(fe, ring, i);
	}
}

/* ---- requests ---------------------------------------------------------------------------- */

void submit(struct fe *fe, unsigned ring, struct fe_io *io)
{
	assert_int_equal(fe_io_submit(fe->ring[ring], io), 0);
	fe_io_publish(fe->ring[ring]);
}

void finish(struct fe *fe, unsigned ring, struct fe_io *io)
{
	struct fe_io *ended;
	int rc = fe_io_wait(fe->ring[ring], &ended, 5000);

	if (rc)
		fail_msg("a request did not end: %d %s", rc, fe->ring[ring]->fault);
	assert_ptr_equal(ended, io);
}

#define LOAD_DEPTH_MAX 128
#define LOAD_BLOCK     4096
#define LOAD_BLOCKS    512

struct load_slot {
	struct fe_blk blk;
	bool busy;
	bool write;
	unsigned block;
	uint8_t data[LOAD_BLOCK];
};

struct load {
	struct fe *fe;
	unsigned ring;
	unsigned seed;
	struct load_slot slots[LOAD_DEPTH_MAX];
	bool busy[LOAD_BLOCKS]; /* one request at a time for each block */
	uint8_t value[LOAD_BLOCKS];
	bool known[LOAD_BLOCKS];
};

static bool load_submit(struct load *load, struct load_slot *slot)
{
	slot->block = (unsigned)rand_r(&load->seed) % LOAD_BLOCKS;
	if (load->busy[slot->block])
		return false;
	slot->write = !load->known[slot->block] || rand_r(&load->seed) % 2;
	if (slot->write)
		memset(slot->data, rand_r(&load->seed), sizeof(slot->data));
	/* Rings share the disk: each has its own part. */
	fe_blk_init(&slot->blk, slot->write ? FE_BLK_OUT : FE_BLK_IN,
		(load->ring % 4 * LOAD_BLOCKS + slot->block) * 8, slot->data, LOAD_BLOCK);
	slot->blk.io.user = slot;
	if (fe_io_submit(load->fe->ring[load->ring], &slot->blk.io))
		return false;
	slot->busy = true;
	load->busy[slot->block] = true;
	return true;
}

static void load_ended(struct load *load, struct fe_io *io)
{
	struct load_slot *slot = io->user;

	assert_int_equal(slot->blk.status, FE_BLK_OK);
	assert_int_equal(io->stray, 0);
	if (slot->write)
		load->value[slot->block] = slot->data[0];
	for (unsigned i = 0; i < LOAD_BLOCK; i += 511)
		assert_int_equal(slot->data[i], load->value[slot->block]);
	load->known[slot->block] = true;
	load->busy[slot->block] = false;
	slot->busy = false;
}

void run_load(struct fe *fe, unsigned ring, unsigned total, unsigned depth, unsigned seed)
{
	struct load *load = calloc(1, sizeof(*load));
	unsigned started = 0, ended = 0;
	struct fe_io *io;

	assert_non_null(load);
	assert_true(depth <= LOAD_DEPTH_MAX);
	load->fe = fe;
	load->ring = ring;
	load->seed = seed;
	while (ended < total) {
		for (unsigned i = 0; i < depth && started < total; i++) {
			if (!load->slots[i].busy && load_submit(load, &load->slots[i]))
				started++;
		}
		fe_io_publish(fe->ring[ring]);
		if (fe_io_wait(fe->ring[ring], &io, 5000))
			fail_msg("no completion: %s", fe->ring[ring]->fault);
		load_ended(load, io);
		ended++;
	}
	free(load);
}

/* ---- messages ---------------------------------------------------------------------------- */

uint32_t add_region(struct fe *fe, uint64_t gpa, uint64_t size)
{
	struct fe_region_spec spec = {.gpa = gpa, .size = size, .fd = FE_NEW_FILE};
	uint32_t slot;

	assert_int_equal(fe_memory_add(&fe->memory, &spec, &slot), 0);
	return slot;
}

struct fe *server_prepare(struct server *server, struct fe_options *options)
{
	struct fe *fe = fe_create(options);

	assert_non_null(fe);
	assert_int_equal(fe_conn_connect(&fe->conn, server->path, options->timeout_ms), 0);
	assert_ok(fe, fe_negotiate(fe));
	if (options->memory_size)
		add_region(fe, options->memory_gpa, options->memory_size);
	assert_ok(fe, fe_set_features(fe, options->features & fe->offered));
	assert_ok(fe, fe_memory_announce(fe));
	assert_ok(fe, fe_create_rings(fe));
	return fe;
}

uint64_t ask(struct fe *fe, uint32_t id, const void *payload, uint32_t size, int fd)
{
	struct fe_msg msg;

	fe_msg_init(&msg, id, FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, payload, size);
	if (fd >= 0)
		fe_msg_add_fd(&msg, fd);
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, id, 8, 0, &msg));
	return msg.u64;
}

void assert_closed(struct fe *fe, uint32_t id, const void *payload, uint32_t size, int fd)
{
	struct fe_msg msg;

	fe_msg_init(&msg, id, FE_FLAG_VERSION, payload, size);
	if (fd >= 0)
		fe_msg_add_fd(&msg, fd);
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_conn_wait_close(&fe->conn, 5000));
}

uint64_t memory_sum(const struct fe *fe)
{
	uint64_t sum = 0;

	for (uint32_t slot = 0; slot < fe->memory.region_end; slot++) {
		const struct fe_region *region = &fe->memory.region[slot];

		for (uint64_t i = 0; region->present && i + 8 <= region->size; i += 8) {
			uint64_t word;

			memcpy(&word, region->ptr + i, 8);
			sum = (sum ^ word) * UINT64_C(0x100000001b3);
		}
	}
	return sum;
}
