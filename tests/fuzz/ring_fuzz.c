/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile driver: the input is what a guest writes into its ring and memory, and when. The queue
 * is a virtio-blk one over a memory disk, so that the requests are parsed as well. All on the
 * simulated host. What must hold: no crash, no undefined behaviour, no touch outside the guest's
 * memory (the sanitizers watch), and the queue always stops.
 *
 * Input: byte 0 the options (bits 0-3 the ring's size: log2 up to 8, packed: times 6 plus 1; bit 4
 * EVENT_IDX, bit 5 INDIRECT, bit 6 FLUSH and the other blk features acknowledged), byte 1 more of
 * them (bit 0 a packed ring, bit 1 with an in-flight region, which is hostile as well; bits 2-7 how
 * many steps come before the start, and so before recovery), then steps: a tag and arguments.
 *	tag % 4 == 0	write: u16 offset, u8 length, bytes (wraps within memory)
 *	tag % 4 == 1	a well-formed request: u8 slot (packed: id), u8 type, u16 sector, u8
 *			length / 16; packed: made available at the driver's position
 *	tag % 4 == 2	set the available index (packed: position): i8 how far it moves
 *	tag % 4 == 3	kick, and let the device run
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_host.h"
#include "spec/virtio_blk.h"
#include "spec/virtio_ring.h"
#include "vhost/blk.h"

#define FUZZ_MEMORY 65536u
#define FUZZ_GPA    UINT64_C(0x40000)

/* Where things are in memory: descriptors, avail, used, in-flight region, then data. */
#define FUZZ_AVAIL  4096u
#define FUZZ_USED   8192u
#define FUZZ_REGION 12288u /* room for packed rings of 126 and split ones of 254 */
#define FUZZ_DATA   16384u

#define FUZZ_STEPS_MAX 64u

struct fuzz {
	struct fuzz_host host;
	struct vhost_device *device;
	struct guest_memory *table;
	uint8_t *memory;
	int kick_fd, call_fd;
};

static void fuzz_create_device(void *arg)
{
	struct fuzz *fuzz = arg;
	const struct blk_device_options options = {.control = fuzz->host.control, .name = "fuzz"};

	must(blk_device_create(fuzz->host.bdev, &options, NULL, &fuzz->device) == 0);
	fuzz_host_done(&fuzz->host, 0);
}

static struct virtqueue *fuzz_vq;
static const struct virtqueue_ops *fuzz_ops;
static void *fuzz_context;
static uint64_t fuzz_features;

/* Of a packed ring's driver. */
static uint16_t fuzz_position;
static bool fuzz_wrap;

static void fuzz_ring_open(void *arg)
{
	struct fuzz *fuzz = arg;

	fuzz->device->ops->ring_open(fuzz->device, 0, fuzz->host.data, fuzz_features, &fuzz_ops,
		&fuzz_context, fuzz_host_done, &fuzz->host);
}

static void fuzz_ring_start(void *arg)
{
	struct fuzz *fuzz = arg;

	virtqueue_start(fuzz_vq, fuzz->host.data, fuzz_host_done, &fuzz->host);
}

static void fuzz_ring_repeat(void *arg)
{
	struct fuzz *fuzz = arg;

	virtqueue_repeat(fuzz_vq, fuzz_host_done, &fuzz->host);
}

static void fuzz_ring_release(void *arg)
{
	struct fuzz *fuzz = arg;

	virtqueue_release(fuzz_vq, fuzz_host_done, &fuzz->host);
}

static void fuzz_ring_stop(void *arg)
{
	struct fuzz *fuzz = arg;

	virtqueue_stop(fuzz_vq, fuzz_host_done, &fuzz->host);
}

static void fuzz_ring_close(void *arg)
{
	struct fuzz *fuzz = arg;

	fuzz->device->ops->ring_close(fuzz->device, 0, fuzz_context, fuzz_host_done, &fuzz->host);
}

static struct fuzz *fuzz_create(void)
{
	static struct fuzz fuzz;
	const struct sim_options options = {.seed = 1, .allow_blocking = true};

	if (fuzz.host.sim)
		return &fuzz;
	fuzz_host_create(&fuzz.host, &options);
	must(fuzz.host.os->ops->event_create(fuzz.host.os, &fuzz.kick_fd) == 0);
	must(fuzz.host.os->ops->event_create(fuzz.host.os, &fuzz.call_fd) == 0);
	fuzz.memory = aligned_alloc(4096, FUZZ_MEMORY); /* exact: beyond it the sanitizer reports */
	fuzz.table = calloc(1, sizeof(*fuzz.table) + 2 * sizeof(struct guest_region));
	/* Two regions, so that buffers and tables cross a border. */
	fuzz.table->count = 2;
	fuzz.table->regions[0] = (struct guest_region){
		.gpa = FUZZ_GPA, .size = FUZZ_MEMORY / 2, .addr = fuzz.memory};
	fuzz.table->regions[1] = (struct guest_region){.gpa = FUZZ_GPA + FUZZ_MEMORY / 2,
		.size = FUZZ_MEMORY / 2,
		.addr = fuzz.memory + FUZZ_MEMORY / 2};
	fuzz_host_await(&fuzz.host, fuzz_create_device, &fuzz);
	return &fuzz;
}

static bool fuzz_is_packed(void)
{
	return fuzz_features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
}

static uint16_t fuzz_size(uint8_t flags)
{
	unsigned n = flags & 15;

	return (uint16_t)(fuzz_is_packed() ? 1 + n * 6 : 1u << n % 9);
}

static void fuzz_queue_create(struct fuzz *fuzz, uint8_t flags, bool region)
{
	const struct virtqueue_config config = {
		.features = fuzz_features,
		.size = fuzz_size(flags),
		.base = fuzz_is_packed() ? VRING_PACKED_BASE_0 : 0,
		.inflight = region ? fuzz->memory + FUZZ_REGION : NULL,
		.inflight_size = fuzz_size(flags),
		.descriptors = fuzz->memory,
		.driver_area = fuzz->memory + FUZZ_AVAIL,
		.device_area = fuzz->memory + FUZZ_USED,
		.memory = fuzz->table,
		.kick_fd = fuzz->kick_fd,
		.call_fd = fuzz->call_fd,
		.err_fd = -1,
		.name = "fuzz",
		.device = fuzz_context,
	};

	if (virtqueue_create(fuzz_ops, &config, NULL, &fuzz_vq))
		abort();
}

static void fuzz_write(struct fuzz *fuzz, struct input *in)
{
	uint16_t offset = input_u16(in);

	for (uint8_t len = input_u8(in); len; len--)
		fuzz->memory[offset++] = input_u8(in);
}

static void fuzz_advance(uint16_t slots)
{
	fuzz_position = (uint16_t)(fuzz_position + slots);
	while (fuzz_position >= virtqueue_size(fuzz_vq)) {
		fuzz_position = (uint16_t)(fuzz_position - virtqueue_size(fuzz_vq));
		fuzz_wrap = !fuzz_wrap;
	}
}

static void fuzz_place_packed(
	struct fuzz *fuzz, uint64_t gpa, uint32_t len, uint16_t id, uint16_t flags)
{
	struct vring_packed_desc *desc = (struct vring_packed_desc *)(void *)fuzz->memory;

	flags |= fuzz_wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED;
	desc[fuzz_position] = (struct vring_packed_desc){gpa, len, id, flags};
	fuzz_advance(1);
}

static void fuzz_request(struct fuzz *fuzz, struct input *in)
{
	struct vring_desc *desc = (struct vring_desc *)(void *)fuzz->memory;
	uint8_t id = input_u8(in);
	uint16_t slot = (uint16_t)(id * 3 % 250);
	struct virtio_blk_outhdr header = {.type = input_u8(in) % 16, .sector = input_u16(in)};
	uint32_t len = input_u8(in) * 16u;
	uint16_t direction = header.type == 0 || header.type == 8 ? VRING_DESC_F_WRITE : 0;
	uint64_t data = FUZZ_DATA + slot * 128u;

	memcpy(fuzz->memory + data, &header, sizeof(header));
	if (fuzz_is_packed()) {
		fuzz_place_packed(fuzz, FUZZ_GPA + data, 16, id, VRING_DESC_F_NEXT);
		fuzz_place_packed(fuzz, FUZZ_GPA + data + 16, len, id,
			(uint16_t)(VRING_DESC_F_NEXT | direction));
		fuzz_place_packed(fuzz, FUZZ_GPA + data + 8, 1, id, VRING_DESC_F_WRITE);
		return;
	}
	desc[slot] =
		(struct vring_desc){FUZZ_GPA + data, 16, VRING_DESC_F_NEXT, (uint16_t)(slot + 1)};
	desc[slot + 1] = (struct vring_desc){FUZZ_GPA + data + 16, len,
		(uint16_t)(VRING_DESC_F_NEXT | direction), (uint16_t)(slot + 2)};
	desc[slot + 2] = (struct vring_desc){FUZZ_GPA + data + 8, 1, VRING_DESC_F_WRITE, 0};
}

static void fuzz_move(struct fuzz *fuzz, int8_t distance)
{
	struct vring_avail *avail = (struct vring_avail *)(void *)(fuzz->memory + FUZZ_AVAIL);

	if (fuzz_is_packed())
		fuzz_advance((uint8_t)distance);
	else
		avail->idx = (uint16_t)(avail->idx + distance);
}

static void fuzz_steps(struct fuzz *fuzz, struct input *in, unsigned steps_max)
{
	for (unsigned steps = 0; in->left && steps < steps_max; steps++) {
		switch (input_u8(in) % 4) {
		case 0:
			fuzz_write(fuzz, in);
			break;
		case 1:
			fuzz_request(fuzz, in);
			break;
		case 2:
			fuzz_move(fuzz, (int8_t)input_u8(in));
			break;
		case 3:
			fuzz->host.os->ops->event_signal(fuzz->host.os, fuzz->kick_fd);
			sim_run_for(fuzz->host.sim, 20 * USEC_NS);
			break;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_set_features(uint8_t flags, bool packed)
{
	fuzz_features = VIRTIO_BIT(VIRTIO_F_VERSION_1);
	if (packed)
		fuzz_features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (flags & 16)
		fuzz_features |= VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	if (flags & 32)
		fuzz_features |= VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
	if (flags & 64)
		fuzz_features |= VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) |
				 VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
}

/* From the start, or the refusal of its records, to the stop. */
static void fuzz_run(struct fuzz *fuzz, struct input *in)
{
	if (virtqueue_recover(fuzz_vq, NULL))
		return;
	fuzz_host_await(&fuzz->host, fuzz_ring_start, fuzz);
	if (virtqueue_recovered(fuzz_vq)) {
		fuzz_host_await(&fuzz->host, fuzz_ring_repeat, fuzz);
		fuzz_host_await(&fuzz->host, fuzz_ring_release, fuzz);
	}
	fuzz_steps(fuzz, in, FUZZ_STEPS_MAX);
	fuzz_host_await(&fuzz->host, fuzz_ring_stop, fuzz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz *fuzz = fuzz_create();
	struct input in = {data, size};
	uint8_t flags = input_u8(&in);
	uint8_t more = input_u8(&in);

	memset(fuzz->memory, 0, FUZZ_MEMORY);
	fuzz_position = 0;
	fuzz_wrap = true;
	fuzz_set_features(flags, more & 1);
	fuzz_host_await(&fuzz->host, fuzz_ring_open, fuzz);
	fuzz_queue_create(fuzz, flags, more & 2);
	fuzz_steps(fuzz, &in, more >> 2);
	fuzz_run(fuzz, &in);
	virtqueue_destroy(fuzz_vq);
	fuzz_host_await(&fuzz->host, fuzz_ring_close, fuzz);
	return 0;
}
