/* SPDX-License-Identifier: BSD-2-Clause */
#include "nvme_world.h"

#include <string.h>

#include "nvme/vfio.h"

/* ---- operations --------------------------------------------------------- */

struct world_op {
	struct message message;
	struct nvme_world *world;
	void (*run)(struct world_op *op);
	struct nvme_qpair *qpair;
	struct reactor *reactor;
	unsigned number;
	void *buf;
	unsigned bytes;
	int rc;
	atomic_bool ended;
};

static void world_op_done(void *arg, int rc)
{
	struct world_op *op = arg;

	op->rc = rc;
	atomic_store(&op->ended, true);
}

static void world_op_run(struct message *message)
{
	struct world_op *op = container_of(message, struct world_op, message);

	op->run(op);
}

bool nvme_world_is_settled(void *world)
{
	return !atomic_load(&((struct nvme_world *)world)->resetting);
}

static int world_op(struct nvme_world *world, struct world_op *op)
{
	assert_true(host_wait(&world->host, nvme_world_is_settled, world));
	op->world = world;
	op->message.run = world_op_run;
	reactor_send(world->control, &op->message);
	assert_true(host_wait_flag(&world->host, &op->ended));
	return op->rc;
}

/* ---- the owner ---------------------------------------------------------- */

static void world_was_reset(void *arg, int rc)
{
	struct nvme_world *world = arg;

	atomic_store(&world->reset_rc, rc);
	atomic_fetch_add(&world->resets, 1);
	atomic_store(&world->resetting, false);
}

static void world_broken(void *owner)
{
	struct nvme_world *world = owner;

	atomic_fetch_add(&world->broken, 1);
	atomic_store(&world->resetting, true);
	nvme_controller_reset(world->controller, &world->reason, world_was_reset, world);
}

static void world_changed(void *owner)
{
	atomic_fetch_add(&((struct nvme_world *)owner)->changed, 1);
}

static const struct nvme_owner_ops world_owner_ops = {
	.broken = world_broken, .changed = world_changed};

/* ---- life --------------------------------------------------------------- */

static void open_run(struct world_op *op)
{
	struct nvme_world *world = op->world;

	nvme_controller_open(world->transport, world->control, &world->options, &world_owner_ops,
		world, &world->reason, &world->controller, world_op_done, op);
}

static void close_run(struct world_op *op)
{
	nvme_controller_close(op->world->controller, world_op_done, op);
}

static void world_host_start(
	struct nvme_world *world, uint64_t seed, const struct nvme_options *options)
{
	static const struct nvme_options defaults = NVME_OPTIONS_DEFAULT;
	struct os *os;

	memset(world, 0, sizeof(*world));
	world->options = options ? *options : defaults;
	host_start(&world->host, seed);
	os = world->host.os;
	world->control = host_reactor(&world->host, "control", POLL_ADAPTIVE);
	world->data[0] = host_reactor(&world->host, "data0", POLL_ADAPTIVE);
	world->data[1] = host_reactor(&world->host, "data1", POLL_ADAPTIVE);
	assert_int_equal(
		os->ops->memfd_create(os, "guest", NVME_WORLD_MEMORY, &world->memory_fd), 0);
	assert_int_equal(os->ops->map(os, world->memory_fd, 0, NVME_WORLD_MEMORY, false,
				 (void **)&world->memory),
		0);
}

int nvme_world_try(struct nvme_world *world, uint64_t seed,
	const struct nvme_sim_options *sim_options, const struct nvme_options *options,
	void (*before)(struct nvme_sim *sim))
{
	struct nvme_sim_options own = {.namespaces = 1};
	struct world_op op = {.run = open_run};

	world_host_start(world, seed, options);
	if (sim_options)
		own = *sim_options;
	own.seed = seed;
	world->sim = nvme_sim_create(world->host.os, &own);
	world->transport = nvme_sim_transport(world->sim);
	if (before)
		before(world->sim);
	return world_op(world, &op);
}

static void world_open_qpairs(struct nvme_world *world)
{
	unsigned count;

	for (unsigned i = 0; i < NVME_WORLD_REACTORS; i++)
		assert_int_equal(nvme_world_qpair_open(world, i, &world->qpairs[i]), 0);
	world->ns = nvme_controller_namespaces(world->controller, &count)[0];
	assert_true(count > 0);
	assert_null(world->ns.problem);
}

void nvme_world_start(struct nvme_world *world, uint64_t seed,
	const struct nvme_sim_options *sim_options, const struct nvme_options *options)
{
	assert_int_equal(nvme_world_try(world, seed, sim_options, options, NULL), 0);
	world_open_qpairs(world);
}

void nvme_world_start_real(struct nvme_world *world, const char *address)
{
	struct world_op op = {.run = open_run};
	int rc;

	world_host_start(world, 1, NULL);
	rc = nvme_vfio_open(world->host.os, address, &world->reason, &world->transport);
	if (!rc)
		rc = world_op(world, &op);
	if (rc)
		fail_msg("%s", reason_text(&world->reason, rc));
	world_open_qpairs(world);
}

void nvme_world_let_go(struct nvme_world *world)
{
	struct world_op op = {.run = close_run};

	for (unsigned i = 0; i < NVME_WORLD_REACTORS; i++) {
		if (world->qpairs[i])
			nvme_world_qpair_close(world, world->qpairs[i]);
		world->qpairs[i] = NULL;
	}
	if (world->controller)
		assert_int_equal(world_op(world, &op), 0);
	world->controller = NULL;
}

void nvme_world_end(struct nvme_world *world)
{
	struct os *os = world->host.os;

	nvme_world_let_go(world);
	for (unsigned i = 0; i < NVME_WORLD_REACTORS; i++)
		host_stop_reactor(world->data[i]);
	host_stop_reactor(world->control);
	if (world->sim)
		assert_int_equal(nvme_sim_destroy(world->sim), 0);
	os->ops->unmap(os, world->memory, NVME_WORLD_MEMORY);
	os->ops->close(os, world->memory_fd);
	host_end(&world->host);
}

/* ---- what a test calls -------------------------------------------------- */

static void qpair_open_run(struct world_op *op)
{
	nvme_qpair_open(op->world->controller, op->reactor, &op->qpair, world_op_done, op);
}

int nvme_world_qpair_open(struct nvme_world *world, unsigned reactor, struct nvme_qpair **ret)
{
	struct world_op op = {.run = qpair_open_run, .reactor = world->data[reactor]};
	int rc = world_op(world, &op);

	*ret = op.qpair;
	return rc;
}

static void qpair_close_run(struct world_op *op)
{
	nvme_qpair_close(op->qpair, world_op_done, op);
}

int nvme_world_qpair_close(struct nvme_world *world, struct nvme_qpair *qpair)
{
	struct world_op op = {.run = qpair_close_run, .qpair = qpair};

	return world_op(world, &op);
}

static void reset_run(struct world_op *op)
{
	nvme_controller_reset(op->world->controller, &op->world->reason, world_op_done, op);
}

int nvme_world_reset(struct nvme_world *world)
{
	struct world_op op = {.run = reset_run};

	return world_op(world, &op);
}

static void scan_run(struct world_op *op)
{
	nvme_controller_scan(op->world->controller, world_op_done, op);
}

int nvme_world_scan(struct nvme_world *world)
{
	struct world_op op = {.run = scan_run};

	return world_op(world, &op);
}

static void read_log_run(struct world_op *op)
{
	nvme_controller_read_log(
		op->world->controller, op->number, op->buf, op->bytes, world_op_done, op);
}

int nvme_world_read_log(struct nvme_world *world, unsigned page, void *buf, unsigned bytes)
{
	struct world_op op = {.run = read_log_run, .number = page, .buf = buf, .bytes = bytes};

	return world_op(world, &op);
}

static void memory_run(struct world_op *op)
{
	struct nvme_world *world = op->world;

	if (op->number)
		nvme_memory_add(
			world->controller, world->memory, NVME_WORLD_MEMORY, world_op_done, op);
	else
		nvme_memory_remove(world->controller, world->memory, world_op_done, op);
}

int nvme_world_memory(struct nvme_world *world, bool add)
{
	struct world_op op = {.run = memory_run, .number = add};

	return world_op(world, &op);
}

/* ---- one request -------------------------------------------------------- */

struct world_io {
	struct message message;
	struct nvme_qpair *qpair;
	struct nvme_request request;
	atomic_bool ended;
};

static void world_io_done(struct nvme_request *request)
{
	atomic_store(&container_of(request, struct world_io, request)->ended, true);
}

static void world_io_run(struct message *message)
{
	struct world_io *io = container_of(message, struct world_io, message);

	nvme_qpair_submit(io->qpair, &io->request);
}

int nvme_world_io(struct nvme_world *world, unsigned reactor, enum nvme_request_type type,
	unsigned flags, const struct iovec *iov, unsigned iovcnt, uint64_t offset, uint64_t length)
{
	struct world_io io = {
		.message.run = world_io_run,
		.qpair = world->qpairs[reactor],
		.request =
			{
				.iov = iov,
				.iovcnt = (uint16_t)iovcnt,
				.ns = &world->ns,
				.offset = offset,
				.length = length,
				.type = (uint8_t)type,
				.flags = (uint8_t)flags,
				.done = world_io_done,
			},
	};

	reactor_send(world->data[reactor], &io.message);
	assert_true(host_wait_flag(&world->host, &io.ended));
	return io.request.status;
}
