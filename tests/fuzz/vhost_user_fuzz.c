/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile front-end: the input is what it sends on its socket, in which pieces and with which
 * descriptors, and what it does to the memory that it has shared. The whole back-end runs on the
 * simulated host: listener, session, memory, rings, a blk or a scsi device over a memory disk. What
 * must hold: no crash, no undefined behaviour, no descriptor or mapping left when the controller is
 * deleted, no rule of the os table broken, and the next front-end is served.
 *
 * Input: byte 0 the device (bit 0: scsi), then steps, a tag and arguments each:
 *	tag % 8 == 0	raw bytes: u8 length, bytes; u8 descriptors
 *	tag % 8 == 1	a message: u8 id, u8 flags, u8 length, bytes; u8 descriptors
 *	tag % 8 == 2, 3	a sensible message: u8 which, u8 ring, u8 value
 *	tag % 8 == 4	a run of sensible messages that starts ring u8 with a request in it, and
 *			with bit 7 an in-flight region
 *	tag % 8 == 5	guest memory: u16 offset, u8 length, bytes
 *	tag % 8 == 6	u8: bit 0 the disk changes its size, bit 1 the back channel gets an answer,
 *			bit 2 rubbish; kick, and let the back-end run
 *	tag % 8 == 7	hang up, and connect again
 * Descriptors: low two bits how many, then two bits each for the kind: guest memory, eventfd,
 * socket, regular file.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_host.h"
#include "spec/vhost_user.h"
#include "spec/virtio_ring.h"
#include "vhost/controller.h"

#define FUZZ_STEPS  64
#define FUZZ_MEMORY UINT64_C(65536)
#define FUZZ_UVA    UINT64_C(0x7f0000000000)
#define FUZZ_SOCKET "/run/fuzz"

/* Where a sensible ring is in guest memory: one page each, ring by ring. */
#define FUZZ_RING(i) (((i) % 3) * 16384u)
#define FUZZ_AVAIL   4096u
#define FUZZ_USED    8192u
#define FUZZ_DATA    12288u

/* Behind the rings, in the same file: so what is written there is forged records. */
#define FUZZ_INFLIGHT      49152u
#define FUZZ_INFLIGHT_SIZE 16384u

struct fuzz {
	struct fuzz_host host;
	struct vhost *vhost;
	struct vhost_controller *controller;
	bool scsi;

	/* the front-end, a process of its own */
	struct os *fe;
	int socket;
	int memory_fd;
	uint8_t *memory;
	int kick_fd;
	int file_fd;
	int pair_fd; /* of a listener of its own, for sockets to give away */
};

/* ---- the back-end ------------------------------------------------------------------------ */

static void fuzz_create_vhost(void *arg)
{
	struct fuzz *fuzz = arg;
	const struct vhost_options options = {
		.os = fuzz->host.os,
		.control = fuzz->host.control,
		.data_reactors = &fuzz->host.data,
		.data_reactor_count = 1,
		.registry = fuzz->host.registry,
		.socket_dir = "/run",
		.guest_memory_max_bytes = UINT64_C(1) << 24,
	};
	const struct vhost_blk_options blk = {.name = "fuzz", .bdev_name = "disk"};
	const struct vhost_scsi_options scsi = {.name = "fuzz"};

	must(vhost_create(&options, NULL, &fuzz->vhost) == 0);
	if (!fuzz->scsi) {
		must(vhost_blk_create(fuzz->vhost, &blk, NULL, &fuzz->controller) == 0);
		fuzz_host_done(&fuzz->host, 0);
		return;
	}
	must(vhost_scsi_create(fuzz->vhost, &scsi, NULL, &fuzz->controller) == 0);
	vhost_scsi_add_target(fuzz->controller, 0, VHOST_SCSI_LUN_UNSAID, "disk", NULL,
		fuzz_host_done, &fuzz->host);
}

static void fuzz_destroy_vhost(void *arg)
{
	struct fuzz *fuzz = arg;

	vhost_destroy(fuzz->vhost, fuzz_host_done, &fuzz->host);
}

static void fuzz_resize_disk(void *arg)
{
	struct fuzz *fuzz = arg;

	bdev_set_size(fuzz->host.bdev,
		bdev_size(fuzz->host.bdev) == FUZZ_DISK ? FUZZ_DISK / 2 : FUZZ_DISK);
	fuzz_host_done(&fuzz->host, 0);
}

static void fuzz_create(struct fuzz *fuzz, bool scsi)
{
	const struct sim_options options = {.seed = 1};

	memset(fuzz, 0, sizeof(*fuzz));
	fuzz->scsi = scsi;
	fuzz_host_create(&fuzz->host, &options);
	fuzz_host_await(&fuzz->host, fuzz_create_vhost, fuzz);
}

static void fuzz_destroy(struct fuzz *fuzz)
{
	fuzz_host_await(&fuzz->host, fuzz_destroy_vhost, fuzz);
	fuzz_host_destroy(&fuzz->host);
}

/* ---- the front-end ----------------------------------------------------------------------- */

static void front_end_connect(struct fuzz *fuzz)
{
	must(fuzz->fe->ops->socket_connect(fuzz->fe, FUZZ_SOCKET, &fuzz->socket) == 0);
}

static void front_end_hang_up(struct fuzz *fuzz)
{
	fuzz->fe->ops->close(fuzz->fe, fuzz->socket);
	sim_run_for(fuzz->host.sim, MSEC_NS);
}

static void front_end_create(struct fuzz *fuzz)
{
	const struct os_ops *ops;
	void *memory;

	sim_file_create(fuzz->host.sim, "/file", 4096);
	fuzz->fe = sim_process_start(fuzz->host.sim, "front-end");
	ops = fuzz->fe->ops;
	must(ops->memfd_create(fuzz->fe, "guest", FUZZ_MEMORY, &fuzz->memory_fd) == 0);
	must(ops->map(fuzz->fe, fuzz->memory_fd, 0, FUZZ_MEMORY, false, &memory) == 0);
	fuzz->memory = memory;
	must(ops->event_create(fuzz->fe, &fuzz->kick_fd) == 0);
	must(ops->file_open(fuzz->fe, "/file", OS_OPEN_WRITE, 0, &fuzz->file_fd) == 0);
	must(ops->socket_listen(fuzz->fe, "/run/peer", 0600, NULL, &fuzz->pair_fd) == 0);
	front_end_connect(fuzz);
}

static void front_end_destroy(struct fuzz *fuzz)
{
	const struct os_ops *ops = fuzz->fe->ops;

	front_end_hang_up(fuzz);
	ops->unmap(fuzz->fe, fuzz->memory, FUZZ_MEMORY);
	ops->close(fuzz->fe, fuzz->memory_fd);
	ops->close(fuzz->fe, fuzz->kick_fd);
	ops->close(fuzz->fe, fuzz->file_fd);
	ops->close(fuzz->fe, fuzz->pair_fd);
}

/* A connection to the front-end's own listener: a socket like that of a back channel. */
static int front_end_socket(struct fuzz *fuzz)
{
	int fd;

	if (fuzz->fe->ops->socket_connect(fuzz->fe, "/run/peer", &fd) < 0)
		return -1;
	return fd;
}

/* The other end of a socket that was given away says something, and goes away. */
static void front_end_answer(struct fuzz *fuzz, bool rubbish)
{
	const struct {
		struct vhost_user_header header;
		uint32_t status[2];
	} answer = {{VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_REPLY_FLAGS,
			    rubbish ? UINT32_MAX : 8},
		{0, 0}};
	int fd;

	if (fuzz->fe->ops->socket_accept(fuzz->fe, fuzz->pair_fd, &fd) < 0)
		return;
	fuzz->fe->ops->socket_send(fuzz->fe, fd, &answer, sizeof(answer), NULL, 0);
	sim_run_for(fuzz->host.sim, 100 * USEC_NS);
	fuzz->fe->ops->close(fuzz->fe, fd);
}

/* Sends what fits; the rest of a message that does not is lost, which is one more attack. */
static void front_end_send(struct fuzz *fuzz, const void *bytes, size_t len, uint8_t kinds)
{
	unsigned count = kinds & 3;
	int socket = front_end_socket(fuzz);
	int64_t sent = 0;
	int fds[3];

	for (unsigned i = 0; i < count; i++) {
		const int choice[4] = {fuzz->memory_fd, fuzz->kick_fd,
			socket >= 0 ? socket : fuzz->kick_fd, fuzz->file_fd};

		fds[i] = choice[kinds >> (2 + 2 * i) & 3];
	}
	for (size_t at = 0; at < len && sent >= 0; at += sent > 0 ? (size_t)sent : 0)
		sent = fuzz->fe->ops->socket_send(fuzz->fe, fuzz->socket,
			(const uint8_t *)bytes + at, len - at, fds, at ? 0 : count);
	if (socket >= 0)
		fuzz->fe->ops->close(fuzz->fe, socket);
}

/* Replies are thrown away, so that the back-end is never blocked for long. */
static void front_end_drain(struct fuzz *fuzz)
{
	uint8_t bytes[512];
	int fds[4];
	unsigned nfds;

	for (unsigned i = 0; i < 16; i++) {
		nfds = 0;
		if (fuzz->fe->ops->socket_receive(
			    fuzz->fe, fuzz->socket, bytes, sizeof(bytes), fds, 4, &nfds) <= 0)
			return;
		while (nfds)
			fuzz->fe->ops->close(fuzz->fe, fds[--nfds]);
	}
}

static void front_end_message(struct fuzz *fuzz, uint32_t id, uint32_t flags, const void *payload,
	uint32_t size, uint8_t kinds)
{
	struct {
		struct vhost_user_header header;
		uint8_t payload[256];
	} message = {{id, VHOST_USER_VERSION | flags, size}, {0}};

	memcpy(message.payload, payload, size);
	front_end_send(fuzz, &message, sizeof(message.header) + size, kinds);
}

#define ONE_MEMORY 0x01
#define ONE_EVENT  0x05
#define ONE_SOCKET 0x09

static void send_u64(struct fuzz *fuzz, uint32_t id, uint64_t word, uint8_t kinds)
{
	front_end_message(fuzz, id, VHOST_USER_NEED_REPLY, &word, sizeof(word), kinds);
}

static void send_state(struct fuzz *fuzz, uint32_t id, uint8_t ring, uint32_t num)
{
	const struct vhost_user_vring_state state = {ring % 4, num};

	front_end_message(fuzz, id, VHOST_USER_NEED_REPLY, &state, sizeof(state), 0);
}

static void send_addr(struct fuzz *fuzz, uint8_t ring, uint8_t skew)
{
	uint64_t base = FUZZ_UVA + FUZZ_RING(ring) + skew;
	const struct vhost_user_vring_addr addr = {.index = ring % 4,
		.descriptors = base,
		.driver_area = base + FUZZ_AVAIL,
		.device_area = base + FUZZ_USED};

	front_end_message(
		fuzz, VHOST_USER_SET_VRING_ADDR, VHOST_USER_NEED_REPLY, &addr, sizeof(addr), 0);
}

/* Regions of the one memfd, at different places. */
static void send_region(struct fuzz *fuzz, uint32_t id, uint8_t value)
{
	uint64_t shift = value % 4 * FUZZ_MEMORY;
	const struct vhost_user_single_region region = {
		.region = {.gpa = shift,
			.size = FUZZ_MEMORY >> (value >> 2 & 3),
			.uva = FUZZ_UVA + shift,
			.offset = value & 0x40 ? 123 : 0}};

	front_end_message(fuzz, id, VHOST_USER_NEED_REPLY, &region, sizeof(region),
		id == VHOST_USER_ADD_MEM_REG ? ONE_MEMORY : 0);
}

static void send_table(struct fuzz *fuzz, uint8_t value)
{
	struct {
		uint32_t count, zero;
		struct vhost_user_region regions[3];
	} table = {.count = value % 4};

	for (unsigned i = 0; i < 3; i++)
		table.regions[i] = (struct vhost_user_region){.gpa = i * FUZZ_MEMORY,
			.size = value & 0x10 ? FUZZ_MEMORY : 4096,
			.uva = FUZZ_UVA + i * FUZZ_MEMORY,
			.offset = value & 0x20 ? i * 4096 : 0};
	front_end_message(fuzz, VHOST_USER_SET_MEM_TABLE, VHOST_USER_NEED_REPLY, &table,
		8 + 32 * (value % 4), value % 4);
}

static void send_config(struct fuzz *fuzz, uint32_t id, uint8_t offset, uint8_t size)
{
	uint8_t bytes[12 + 64] = {0};
	const struct vhost_user_config config = {.offset = offset, .size = size % 64};

	memcpy(bytes, &config, sizeof(config));
	front_end_message(fuzz, id, VHOST_USER_NEED_REPLY, bytes, 12 + size % 64, 0);
}

static void send_empty(struct fuzz *fuzz, uint32_t id)
{
	front_end_message(fuzz, id, VHOST_USER_NEED_REPLY, "", 0, 0);
}

static void send_features(struct fuzz *fuzz, uint8_t value)
{
	uint64_t features = VIRTIO_BIT(VIRTIO_F_VERSION_1);

	if (value & 1)
		features |= VIRTIO_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	if (value & 2)
		features |= VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	if (value & 4)
		features |= VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
	if (value & 8)
		features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	send_u64(fuzz, VHOST_USER_SET_FEATURES, features, 0);
}

static void send_inflight(struct fuzz *fuzz, uint32_t id, uint8_t value)
{
	const struct vhost_user_inflight layout = {
		.mmap_size = FUZZ_INFLIGHT_SIZE >> (value & 3),
		.mmap_offset = FUZZ_INFLIGHT + (value & 4 ? 8 : 0),
		.queues = 3 - (value >> 3 & 1),
		.queue_size = (uint16_t)(8 + (value >> 4) * 8),
	};

	front_end_message(fuzz, id, VHOST_USER_NEED_REPLY, &layout,
		value & 0x80 ? 20 : sizeof(layout),
		id == VHOST_USER_SET_INFLIGHT_FD ? ONE_MEMORY : 0);
}

static void send_sensible(struct fuzz *fuzz, uint8_t which, uint8_t ring, uint8_t value)
{
	static const uint32_t empty[] = {VHOST_USER_GET_FEATURES, VHOST_USER_SET_OWNER,
		VHOST_USER_RESET_OWNER, VHOST_USER_GET_PROTOCOL_FEATURES, VHOST_USER_GET_QUEUE_NUM,
		VHOST_USER_RESET_DEVICE, VHOST_USER_GET_MAX_MEM_SLOTS};
	uint8_t none = value & 1 ? 0 : ONE_EVENT;
	uint64_t word = (ring % 4) | (none ? 0 : VHOST_USER_VRING_NOFD);

	switch (which % 20) {
	case 0:
		send_features(fuzz, value);
		break;
	case 1: /* what blk offers, or less */
		send_u64(fuzz, VHOST_USER_SET_PROTOCOL_FEATURES,
			(value & 1 ? 0xb029 : 0xb229) & ~(uint64_t)(value & 0x28), 0);
		break;
	case 2:
		send_table(fuzz, value);
		break;
	case 3:
		send_region(fuzz, VHOST_USER_ADD_MEM_REG, value);
		break;
	case 4:
		send_region(fuzz, VHOST_USER_REM_MEM_REG, value);
		break;
	case 5:
		send_state(fuzz, VHOST_USER_SET_VRING_NUM, ring, 1u << value % 9);
		break;
	case 6:
		send_state(fuzz, VHOST_USER_SET_VRING_BASE, ring, value);
		break;
	case 7:
		send_addr(fuzz, ring, value & 0x80 ? 0 : value);
		break;
	case 8:
		send_u64(fuzz, VHOST_USER_SET_VRING_KICK, word, none);
		break;
	case 9:
		send_u64(fuzz, VHOST_USER_SET_VRING_CALL, word, none);
		break;
	case 10:
		send_u64(fuzz, VHOST_USER_SET_VRING_ERR, word, none);
		break;
	case 11:
		send_state(fuzz, VHOST_USER_SET_VRING_ENABLE, ring, value & 1);
		break;
	case 12:
		send_state(fuzz, VHOST_USER_GET_VRING_BASE, ring, value);
		break;
	case 13:
		send_config(fuzz, VHOST_USER_GET_CONFIG, ring, value);
		break;
	case 14:
		send_config(fuzz, VHOST_USER_SET_CONFIG, ring, value);
		break;
	case 15:
		front_end_message(fuzz, VHOST_USER_SET_BACKEND_REQ_FD, VHOST_USER_NEED_REPLY, "", 0,
			ONE_SOCKET);
		break;
	case 16:
		send_inflight(fuzz, VHOST_USER_GET_INFLIGHT_FD, value);
		break;
	case 17:
		send_inflight(fuzz, VHOST_USER_SET_INFLIGHT_FD, value);
		break;
	default:
		send_empty(fuzz, empty[value % ARRAY_SIZE(empty)]);
	}
}

/* A read of blk, which is a short command for scsi. */
static void place_request(struct fuzz *fuzz, uint8_t ring)
{
	uint32_t at = FUZZ_RING(ring);
	struct vring_desc *desc = (struct vring_desc *)(void *)(fuzz->memory + at);
	struct vring_avail *avail = (struct vring_avail *)(void *)(fuzz->memory + at + FUZZ_AVAIL);

	desc[0] = (struct vring_desc){at + FUZZ_DATA, 16, VRING_DESC_F_NEXT, 1};
	desc[1] = (struct vring_desc){
		at + FUZZ_DATA + 64, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2};
	desc[2] = (struct vring_desc){at + FUZZ_DATA + 1024, 1, VRING_DESC_F_WRITE, 0};
	avail->idx++;
}

static void start_ring(struct fuzz *fuzz, uint8_t ring)
{
	place_request(fuzz, ring);
	send_features(fuzz, 7 | (ring & 0x40 ? 8 : 0));
	send_u64(fuzz, VHOST_USER_SET_PROTOCOL_FEATURES, fuzz->scsi ? 0xb029 : 0xb229, 0);
	send_region(fuzz, VHOST_USER_ADD_MEM_REG, 0);
	if (ring & 0x80)
		send_inflight(fuzz, VHOST_USER_SET_INFLIGHT_FD, 0);
	send_state(fuzz, VHOST_USER_SET_VRING_NUM, ring, 8);
	send_state(fuzz, VHOST_USER_SET_VRING_BASE, ring, 0);
	send_addr(fuzz, ring, 0);
	send_u64(fuzz, VHOST_USER_SET_VRING_CALL, ring % 4, ONE_EVENT);
	send_u64(fuzz, VHOST_USER_SET_VRING_KICK, ring % 4, ONE_EVENT);
	send_state(fuzz, VHOST_USER_SET_VRING_ENABLE, ring, 1);
}

/* ---- input ------------------------------------------------------------------------------- */

static void step_raw(struct fuzz *fuzz, struct input *in)
{
	uint8_t bytes[256];
	uint8_t len = input_u8(in);

	for (unsigned i = 0; i < len; i++)
		bytes[i] = input_u8(in);
	front_end_send(fuzz, bytes, len, input_u8(in));
}

static void step_message(struct fuzz *fuzz, struct input *in)
{
	uint8_t payload[256] = {0};
	uint32_t id = input_u8(in) % (VHOST_USER_REQUESTS + 2);
	uint32_t flags = input_u8(in) & ~VHOST_USER_VERSION_MASK;
	uint8_t len = input_u8(in);

	for (unsigned i = 0; i < len; i++)
		payload[i] = input_u8(in);
	front_end_message(fuzz, id, flags, payload, len, input_u8(in));
}

static void step_memory(struct fuzz *fuzz, struct input *in)
{
	uint16_t offset = input_u16(in);

	for (uint8_t len = input_u8(in); len; len--)
		fuzz->memory[offset++] = input_u8(in);
}

static void step_run(struct fuzz *fuzz, uint8_t what)
{
	if (what & 1)
		fuzz_host_await(&fuzz->host, fuzz_resize_disk, fuzz);
	if (what & 2)
		front_end_answer(fuzz, what & 4);
	fuzz->fe->ops->event_signal(fuzz->fe, fuzz->kick_fd);
	sim_run_for(fuzz->host.sim, 100 * USEC_NS);
	front_end_drain(fuzz);
}

static void run_steps(struct fuzz *fuzz, struct input *in)
{
	for (unsigned steps = 0; in->left && steps < FUZZ_STEPS; steps++) {
		uint8_t which, ring;

		switch (input_u8(in) % 8) {
		case 0:
			step_raw(fuzz, in);
			break;
		case 1:
			step_message(fuzz, in);
			break;
		case 2:
		case 3:
			which = input_u8(in);
			ring = input_u8(in);
			send_sensible(fuzz, which, ring, input_u8(in));
			break;
		case 4:
			start_ring(fuzz, input_u8(in));
			break;
		case 5:
			step_memory(fuzz, in);
			break;
		case 6:
			step_run(fuzz, input_u8(in));
			break;
		case 7:
			front_end_hang_up(fuzz);
			front_end_connect(fuzz);
			break;
		}
	}
	sim_run_for(fuzz->host.sim, MSEC_NS);
}

static bool has_reply(void *arg)
{
	struct fuzz *fuzz = arg;
	uint8_t byte;
	int fds[1];
	unsigned nfds = 0;

	return fuzz->fe->ops->socket_receive(fuzz->fe, fuzz->socket, &byte, 1, fds, 1, &nfds) == 1;
}

/* Whatever happened, the next front-end is answered. */
static void check_next_front_end(struct fuzz *fuzz)
{
	front_end_hang_up(fuzz);
	front_end_connect(fuzz);
	send_empty(fuzz, VHOST_USER_GET_FEATURES);
	must(sim_run(fuzz->host.sim, has_reply, fuzz, 60 * SEC_NS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz;
	struct input in = {data, size};

	fuzz_create(&fuzz, input_u8(&in) & 1);
	front_end_create(&fuzz);
	run_steps(&fuzz, &in);
	check_next_front_end(&fuzz);
	front_end_destroy(&fuzz);
	fuzz_destroy(&fuzz);
	return 0;
}
