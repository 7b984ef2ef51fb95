/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsi_device_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_GPA  UINT64_C(0x100000)
#define MEMORY_SIZE (UINT64_C(4) << 20)
#define RING_SIZE   64

/* ---- calls on the control reactor ------------------------------------------------------------ */

struct device_call {
	struct world_call call;
	struct device_world *dw;
	unsigned ring;
	void (*fn)(struct device_call *op);
};

static void device_call_run(struct world_call *call)
{
	struct device_call *op = container_of(call, struct device_call, call);

	op->fn(op);
}

static int device_call(struct device_world *dw, unsigned ring, void (*fn)(struct device_call *op))
{
	struct device_call op = {.call.run = device_call_run, .dw = dw, .ring = ring, .fn = fn};

	return world_run(&dw->world, dw->world.control, &op.call);
}

static void create_run(struct device_call *op)
{
	const struct scsi_device_options options = {
		.name = "c",
		.registry = op->dw->world.registry,
		.state_dir = op->dw->state_dir,
		.request_queues = DW_RINGS - 2,
	};

	world_done(&op->call, scsi_device_create(&options, NULL, &op->dw->device));
}

static void destroy_run(struct device_call *op)
{
	op->dw->device->ops->destroy(op->dw->device, world_done, &op->call);
}

static void session_begin_run(struct device_call *op)
{
	/* The device asks no more of a session than whether there is one. */
	op->dw->device->ops->session_begin(op->dw->device, (struct vhost_session *)op->dw);
	world_done(&op->call, 0);
}

static void session_end_run(struct device_call *op)
{
	op->dw->device->ops->session_end(op->dw->device);
	world_done(&op->call, 0);
}

static void reset_run(struct device_call *op)
{
	op->dw->device->ops->reset(op->dw->device);
	world_done(&op->call, 0);
}

static void claim_run(struct device_call *op)
{
	op->dw->device->ops->claim(op->dw->device, NULL, world_done, &op->call);
}

static void release_run(struct device_call *op)
{
	op->dw->device->ops->release(op->dw->device, world_done, &op->call);
}

void dw_session_begin(struct device_world *dw)
{
	assert_int_equal(device_call(dw, 0, session_begin_run), 0);
}

void dw_session_end(struct device_world *dw)
{
	assert_int_equal(device_call(dw, 0, session_end_run), 0);
}

void dw_reset(struct device_world *dw)
{
	assert_int_equal(device_call(dw, 0, reset_run), 0);
}

void dw_claim(struct device_world *dw)
{
	assert_int_equal(device_call(dw, 0, claim_run), 0);
	dw->claimed = true;
}

void dw_release(struct device_world *dw)
{
	assert_int_equal(device_call(dw, 0, release_run), 0);
	dw->claimed = false;
}

/* ---- life -------------------------------------------------------------------------------- */

void dw_disk_start(struct device_world *dw, unsigned disk)
{
	static const char *const names[DW_DISKS] = {"disk0", "disk1", "disk2"};
	const struct disk_options options = {.name = names[disk], .blocks = 256, .block_size = 512};

	disk_start(&dw->world, &dw->disks[disk], &options);
}

static void memory_start(struct device_world *dw)
{
	const struct fe_region_spec spec = {
		.gpa = MEMORY_GPA, .size = MEMORY_SIZE, .fd = FE_NEW_FILE};
	uint32_t slot;

	fe_memory_init(&dw->memory);
	assert_int_equal(fe_memory_add(&dw->memory, &spec, &slot), 0);
	dw->table = calloc(1, sizeof(*dw->table) + sizeof(struct guest_region));
	assert_non_null(dw->table);
	dw->table->count = 1;
	dw->table->regions[0] = (struct guest_region){
		.gpa = spec.gpa, .size = spec.size, .addr = dw->memory.region[slot].ptr};
}

static void start(struct device_world *dw, uint64_t seed, const char *state_dir)
{
	const struct fe_ring_options options = {.size = RING_SIZE};
	struct os *os;

	memset(dw, 0, sizeof(*dw));
	world_start(&dw->world, seed);
	os = dw->world.host.os;
	dw->state_dir = state_dir;
	if (state_dir)
		assert_int_equal(os->ops->directory_create(os, state_dir, 0700), 0);
	memory_start(dw);
	for (unsigned i = 0; i < DW_DISKS; i++)
		dw_disk_start(dw, i);
	for (unsigned i = 0; i < DW_RINGS; i++) {
		assert_int_equal(fe_ring_create(&dw->memory, &options, &dw->rings[i].driver), 0);
		assert_int_equal(os->ops->event_create(os, &dw->rings[i].kick_fd), 0);
	}
	assert_int_equal(device_call(dw, 0, create_run), 0);
	dw->features = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG) |
		       VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE) | VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
}

void dw_start(struct device_world *dw, uint64_t seed)
{
	start(dw, seed, NULL);
}

void dw_start_with_state(struct device_world *dw, uint64_t seed)
{
	start(dw, seed, "/state");
}

void dw_end(struct device_world *dw)
{
	struct os *os = dw->world.host.os;

	assert_int_equal(device_call(dw, 0, destroy_run), 0);
	for (unsigned i = 0; i < DW_DISKS; i++)
		disk_end(&dw->world, &dw->disks[i]);
	for (unsigned i = 0; i < DW_RINGS; i++) {
		fe_ring_destroy(dw->rings[i].driver);
		os->ops->close(os, dw->rings[i].kick_fd);
	}
	fe_memory_fini(&dw->memory);
	free(dw->table);
	world_end(&dw->world);
}

/* ---- rings ------------------------------------------------------------------------------- */

static void ring_open_run(struct device_call *op)
{
	struct device_ring *ring = &op->dw->rings[op->ring];

	op->dw->device->ops->ring_open(op->dw->device, op->ring, op->dw->world.data[ring->reactor],
		op->dw->features, &ring->ops, &ring->context, world_done, &op->call);
}

static void ring_create_run(struct device_call *op)
{
	struct device_ring *ring = &op->dw->rings[op->ring];
	const struct virtqueue_config config = {
		.features = op->dw->features,
		.size = RING_SIZE,
		.descriptors = ring->driver->desc,
		.driver_area = ring->driver->avail,
		.device_area = ring->driver->used,
		.memory = op->dw->table,
		.kick_fd = ring->kick_fd,
		.call_fd = -1,
		.err_fd = -1,
		.name = "ring",
		.device = ring->context,
	};

	assert_int_equal(virtqueue_create(ring->ops, &config, NULL, &ring->vq), 0);
	virtqueue_start(ring->vq, op->dw->world.data[ring->reactor], world_done, &op->call);
}

static void ring_started_run(struct device_call *op)
{
	struct device_ring *ring = &op->dw->rings[op->ring];

	op->dw->device->ops->ring_started(op->dw->device, ring->context, ring->vq);
	world_done(&op->call, 0);
}

static void ring_stopping_run(struct device_call *op)
{
	op->dw->device->ops->ring_stopping(
		op->dw->device, op->dw->rings[op->ring].context, world_done, &op->call);
}

static void ring_stop_run(struct device_call *op)
{
	virtqueue_stop(op->dw->rings[op->ring].vq, world_done, &op->call);
}

static void ring_close_run(struct device_call *op)
{
	struct device_ring *ring = &op->dw->rings[op->ring];

	virtqueue_destroy(ring->vq);
	ring->vq = NULL;
	op->dw->device->ops->ring_close(
		op->dw->device, op->ring, ring->context, world_done, &op->call);
}

void dw_ring_run(struct device_world *dw, unsigned ring, unsigned reactor)
{
	fe_ring_reset(dw->rings[ring].driver);
	dw->rings[ring].reactor = reactor;
	assert_int_equal(device_call(dw, ring, ring_open_run), 0);
	assert_int_equal(device_call(dw, ring, ring_create_run), 0);
	assert_int_equal(device_call(dw, ring, ring_started_run), 0);
}

void dw_ring_halt(struct device_world *dw, unsigned ring)
{
	assert_int_equal(device_call(dw, ring, ring_stopping_run), 0);
	assert_int_equal(device_call(dw, ring, ring_stop_run), 0);
	assert_int_equal(device_call(dw, ring, ring_close_run), 0);
}

void dw_run_all(struct device_world *dw)
{
	dw_claim(dw);
	for (unsigned i = 0; i < DW_RINGS; i++)
		dw_ring_run(dw, i, i < 3 ? 0 : i - 2);
}

void dw_halt_all(struct device_world *dw)
{
	for (unsigned i = 0; i < DW_RINGS; i++) {
		if (dw->rings[i].vq)
			dw_ring_halt(dw, i);
	}
	if (dw->claimed)
		dw_release(dw);
}

/* ---- targets ----------------------------------------------------------------------------- */

static void add_run(struct world_call *call)
{
	struct target_call *op = container_of(call, struct target_call, call);

	op->options.removable = op->dw->removable;
	scsi_device_add_lun(op->dw->device, op->target, op->lun, &op->dw->disks[op->disk].bdev,
		&op->options, &op->reason, world_done, call);
}

static void remove_run(struct world_call *call)
{
	struct target_call *op = container_of(call, struct target_call, call);

	scsi_device_remove_lun(op->dw->device, op->target, op->lun, &op->reason, world_done, call);
}

static void call_begin(
	struct device_world *dw, struct target_call *op, unsigned target, int lun, unsigned disk)
{
	memset(op, 0, sizeof(*op));
	op->dw = dw;
	op->target = target;
	op->lun = lun;
	op->disk = disk;
	op->begun = true;
}

void dw_add_begin(
	struct device_world *dw, struct target_call *op, unsigned target, int lun, unsigned disk)
{
	call_begin(dw, op, target, lun, disk);
	op->call.run = add_run;
	world_begin(&dw->world, dw->world.control, &op->call);
}

void dw_remove_begin(struct device_world *dw, struct target_call *op, unsigned target, int lun)
{
	call_begin(dw, op, target, lun, 0);
	op->call.run = remove_run;
	world_begin(&dw->world, dw->world.control, &op->call);
}

bool dw_call_has_ended(const struct target_call *op)
{
	return atomic_load(&op->call.ended);
}

int dw_call_finish(struct target_call *op)
{
	op->begun = false;
	return world_finish(&op->dw->world, &op->call);
}

int dw_add_lun(struct device_world *dw, unsigned target, int lun, unsigned disk)
{
	struct target_call op;

	dw_add_begin(dw, &op, target, lun, disk);
	return dw_call_finish(&op);
}

int dw_remove_lun(struct device_world *dw, unsigned target, int lun)
{
	struct target_call op;

	dw_remove_begin(dw, &op, target, lun);
	return dw_call_finish(&op);
}

int dw_add(struct device_world *dw, unsigned target, unsigned disk)
{
	return dw_add_lun(dw, target, SCSI_DEVICE_LUN_UNSAID, disk);
}

int dw_remove(struct device_world *dw, unsigned target)
{
	return dw_remove_lun(dw, target, SCSI_DEVICE_LUN_UNSAID);
}

/* ---- the driver -------------------------------------------------------------------------- */

void dw_publish(struct device_world *dw, unsigned ring)
{
	struct os *os = dw->world.host.os;

	fe_ring_publish(dw->rings[ring].driver);
	if (fe_ring_kick(dw->rings[ring].driver) == 1)
		os->ops->event_signal(os, dw->rings[ring].kick_fd);
}

void dw_submit(struct device_world *dw, unsigned ring, struct fe_io *io)
{
	assert_int_equal(fe_io_submit(dw->rings[ring].driver, io), 0);
	dw_publish(dw, ring);
}

struct dw_wait {
	struct fe_ring *ring;
	struct fe_io *io;
};

static bool io_is_done(void *arg)
{
	struct dw_wait *wait = arg;
	struct fe_io *ended;
	int rc;

	while ((rc = fe_io_reap(wait->ring, &ended)) == 1)
		;
	if (rc < 0)
		fail_msg("%s", wait->ring->fault);
	return wait->io->done;
}

void dw_finish(struct device_world *dw, unsigned ring, struct fe_io *io)
{
	struct dw_wait wait = {dw->rings[ring].driver, io};

	assert_true(host_wait(&dw->world.host, io_is_done, &wait));
	assert_int_equal(io->stray, 0);
}

void dw_run(struct device_world *dw, unsigned ring, struct fe_io *io)
{
	dw_submit(dw, ring, io);
	dw_finish(dw, ring, io);
}

uint32_t dw_probe_lun(
	struct device_world *dw, unsigned ring, uint8_t opcode, uint8_t target, uint16_t lun)
{
	const uint8_t cdb[6] = {opcode, 0, 0, 0, 36, 0};
	struct fe_scsi request;
	uint8_t in[36];

	fe_scsi_init(&request, target, lun, cdb, sizeof(cdb), NULL, 0, opcode == 0x12 ? in : NULL,
		opcode == 0x12 ? sizeof(in) : 0);
	dw_run(dw, ring, &request.io);
	return fe_scsi_sense(&request.response) << 8 | request.response.response;
}

uint32_t dw_probe(struct device_world *dw, unsigned ring, uint8_t opcode, uint8_t target)
{
	return dw_probe_lun(dw, ring, opcode, target, 0);
}

void dw_tmf_begin(struct device_world *dw, struct dw_tmf *tmf, uint32_t subtype, uint8_t target,
	uint16_t lun, uint64_t tag)
{
	memset(tmf, 0, sizeof(*tmf));
	tmf->request.subtype = subtype;
	tmf->request.tag = tag;
	fe_scsi_lun(tmf->request.lun, target, lun);
	tmf->response = 0xee;
	tmf->io.head = &tmf->request;
	tmf->io.head_len = sizeof(tmf->request);
	tmf->io.in_first = &tmf->response;
	tmf->io.in_first_len = 1;
	tmf->io.direct = FE_IO_ALL_DIRECT;
	dw_submit(dw, 0, &tmf->io);
}

uint8_t dw_tmf_lun(struct device_world *dw, uint32_t subtype, uint8_t target, uint16_t lun)
{
	struct dw_tmf tmf;

	dw_tmf_begin(dw, &tmf, subtype, target, lun, 0);
	dw_finish(dw, 0, &tmf.io);
	return tmf.response;
}

uint8_t dw_tmf(struct device_world *dw, uint32_t subtype, uint8_t target, uint64_t tag)
{
	struct dw_tmf tmf;

	dw_tmf_begin(dw, &tmf, subtype, target, 0, tag);
	dw_finish(dw, 0, &tmf.io);
	return tmf.response;
}

/* ---- events ------------------------------------------------------------------------------ */

void dw_post_buffers(struct device_world *dw, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct fe_scsi_event *buffer = fe_memory_alloc(&dw->memory, sizeof(*buffer), 16);
		struct fe_segment segment = {
			fe_memory_gpa(&dw->memory, buffer), sizeof(*buffer), true};
		struct fe_chain chain = {
			.segments = &segment, .count = 1, .direct = 1, .token = buffer};

		assert_non_null(buffer);
		assert_true(dw->buffer_count < DW_EVENT_BUFFERS);
		dw->buffers[dw->buffer_count++] = buffer;
		assert_int_equal(fe_ring_add(dw->rings[1].driver, &chain, NULL), 0);
	}
	dw_publish(dw, 1);
}

void dw_end_session(struct device_world *dw)
{
	dw_halt_all(dw);
	dw_session_end(dw);
	while (dw->buffer_count)
		fe_memory_free(&dw->memory, dw->buffers[--dw->buffer_count]);
}

struct event_wait {
	struct fe_ring *ring;
	struct fe_completion completion;
};

static bool event_is_there(void *arg)
{
	struct event_wait *wait = arg;

	return fe_ring_pop(wait->ring, &wait->completion) == 1;
}

void dw_wants_event(
	struct device_world *dw, uint32_t event, uint32_t reason, uint8_t target, uint16_t lun)
{
	struct event_wait wait = {.ring = dw->rings[1].driver};
	const uint8_t address[8] = {1, target, (uint8_t)(lun >> 8), (uint8_t)lun};
	const struct fe_scsi_event *got;

	assert_true(host_wait(&dw->world.host, event_is_there, &wait));
	assert_int_equal(wait.completion.len, sizeof(*got));
	got = wait.completion.token;
	assert_int_equal(got->event, event);
	assert_int_equal(got->reason, reason);
	assert_memory_equal(got->lun, address, 8);
}

void dw_wants_no_event(struct device_world *dw)
{
	host_sleep(&dw->world.host, 2 * SEC_NS);
	assert_false(fe_ring_ready(dw->rings[1].driver));
}
