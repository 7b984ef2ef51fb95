/* SPDX-License-Identifier: BSD-2-Clause */
#include "nvme_world.h"

#include <stdlib.h>
#include <string.h>

#define AREA_BLOCKS 512u
#define IOV_MAX_OWN 24u

struct load_side;

struct load_worker {
	struct nvme_request request;
	struct load_side *side;
	struct load_worker *next; /* ready */
	uint64_t first_block;
	uint64_t block; /* of the request, in the area */
	uint64_t blocks;
	uint64_t pattern;
	uint8_t *buffer; /* AREA and a page */
	bool busy;
	uint64_t holds[AREA_BLOCKS]; /* pattern of each block; 0: zeroes */
	bool known[AREA_BLOCKS];
	struct iovec iov[IOV_MAX_OWN];
};

/* The load of one queue pair, on its reactor. */
struct load_side {
	struct message message;
	struct nvme_load *load;
	struct reactor *reactor;
	struct nvme_qpair *qpair;
	struct deferred resubmit;
	struct load_worker *workers;
	struct load_worker *ready;
	unsigned left;
	unsigned busy;
	unsigned failed;
	uint64_t random;
	atomic_bool ended;
};

struct nvme_load {
	struct nvme_world *world;
	struct nvme_load_options options;
	struct load_side sides[NVME_WORLD_REACTORS];
	uint8_t *buffers; /* where they are not in the world's memory */
};

static uint64_t load_random(struct load_side *side, uint64_t below)
{
	side->random ^= side->random << 13;
	side->random ^= side->random >> 7;
	side->random ^= side->random << 17;
	return (side->random >> 11) % below;
}

/* ---- contents ----------------------------------------------------------- */

static size_t load_block_size(const struct load_worker *worker)
{
	return (size_t)1 << worker->side->load->world->ns.block_shift;
}

static uint64_t load_word(uint64_t pattern, uint64_t block, size_t word)
{
	return pattern ? pattern * UINT64_C(0x9e3779b97f4a7c15) + (block << 16) + word : 0;
}

/* The nth byte of the request's data, wherever its buffer is. */
struct load_cursor {
	const struct iovec *iov;
	size_t skip;
};

static void load_copy(struct load_cursor *at, void *words, size_t bytes, bool to_iov)
{
	uint8_t *own = words;

	while (bytes > 0) {
		size_t part = u64_min(bytes, at->iov->iov_len - at->skip);
		uint8_t *other = (uint8_t *)at->iov->iov_base + at->skip;

		if (part && to_iov)
			memcpy(other, own, part);
		else if (part)
			memcpy(own, other, part);
		own += part;
		bytes -= part;
		at->skip += part;
		if (at->skip == at->iov->iov_len) {
			at->iov++;
			at->skip = 0;
		}
	}
}

/* A few words of each block say which it is; comparing all would be most of the test's time. */
static void load_fill(struct load_worker *worker)
{
	struct load_cursor at = {worker->request.iov, 0};
	size_t words = load_block_size(worker) / 8;
	uint64_t block[8192];

	for (uint64_t i = 0; i < worker->blocks; i++) {
		for (size_t w = 0; w < words; w++)
			block[w] = load_word(worker->pattern, worker->block + i, w);
		load_copy(&at, block, words * 8, true);
	}
}

static void load_check(struct load_worker *worker)
{
	struct load_cursor at = {worker->request.iov, 0};
	size_t words = load_block_size(worker) / 8;
	uint64_t block[8192];

	for (uint64_t i = 0; i < worker->blocks; i++) {
		uint64_t index = worker->block + i;

		load_copy(&at, block, words * 8, false);
		for (size_t w = 0; worker->known[index] && w < words; w++)
			invariant(block[w] == load_word(worker->holds[index], index, w));
	}
}

/* ---- requests ----------------------------------------------------------- */

static void load_choose_buffers(struct load_worker *worker)
{
	struct load_side *side = worker->side;
	const struct nvme_load_options *options = &side->load->options;
	uint64_t left = worker->blocks * load_block_size(worker);
	unsigned count = options->aligned ? 1 : 1 + (unsigned)load_random(side, IOV_MAX_OWN);
	uint8_t *at = worker->buffer;
	unsigned n = 0;

	if (!options->aligned && load_random(side, 2))
		at += load_random(side, 2) ? load_random(side, 1024) * 4 : load_random(side, 4096);
	while (left > 0) {
		uint64_t part = left;

		if (n + 1 < count)
			part = load_random(side, 3)
				       ? u64_min(left, 4096 * (1 + load_random(side, 4)))
				       : load_random(side, left + 1);
		worker->iov[n++] = (struct iovec){at, part};
		at += part;
		left -= part;
	}
	worker->request.iov = worker->iov;
	worker->request.iovcnt = (uint16_t)n;
}

static void load_done(struct nvme_request *request);

static enum nvme_request_type load_choose_type(struct load_side *side)
{
	static const enum nvme_request_type types[] = {NVME_REQUEST_READ, NVME_REQUEST_READ,
		NVME_REQUEST_READ, NVME_REQUEST_WRITE, NVME_REQUEST_WRITE, NVME_REQUEST_WRITE,
		NVME_REQUEST_FLUSH, NVME_REQUEST_ZEROES, NVME_REQUEST_DEALLOCATE};

	return types[load_random(side, ARRAY_SIZE(types))];
}

static void load_submit(struct load_worker *worker)
{
	struct load_side *side = worker->side;
	struct nvme_world *world = side->load->world;
	uint64_t longest = load_random(side, 64) ? 16 : AREA_BLOCKS;

	worker->block = load_random(side, AREA_BLOCKS);
	worker->blocks = 1 + load_random(side, u64_min(longest, AREA_BLOCKS - worker->block));
	worker->pattern = side->random | 1;
	worker->request = (struct nvme_request){
		.ns = &world->ns,
		.offset = (worker->first_block + worker->block) << world->ns.block_shift,
		.length = worker->blocks << world->ns.block_shift,
		.type = (uint8_t)load_choose_type(side),
		.flags = (uint8_t)load_random(side, 4),
		.done = load_done,
	};
	if (worker->request.type == NVME_REQUEST_READ || worker->request.type == NVME_REQUEST_WRITE)
		load_choose_buffers(worker);
	if (worker->request.type == NVME_REQUEST_WRITE)
		load_fill(worker);
	worker->busy = true;
	side->busy++;
	side->left--;
	nvme_qpair_submit(side->qpair, &worker->request);
}

static void load_note(struct load_worker *worker)
{
	bool known = worker->request.status == 0 &&
		     worker->request.type != NVME_REQUEST_DEALLOCATE; /* need not be done */
	uint64_t holds = worker->request.type == NVME_REQUEST_WRITE ? worker->pattern : 0;

	for (uint64_t i = 0; i < worker->blocks; i++) {
		uint64_t index = worker->block + i;

		worker->known[index] = known;
		worker->holds[index] = holds;
	}
}

static void load_done(struct nvme_request *request)
{
	struct load_worker *worker = container_of(request, struct load_worker, request);
	struct load_side *side = worker->side;

	invariant(worker->busy); /* once */
	worker->busy = false;
	side->busy--;
	if (request->status)
		side->failed++;
	if (request->type == NVME_REQUEST_READ && !request->status)
		load_check(worker);
	else if (request->type != NVME_REQUEST_READ && request->type != NVME_REQUEST_FLUSH)
		load_note(worker);
	worker->next = side->ready;
	side->ready = worker;
	reactor_defer(side->reactor, DEFER_COMPLETE, &side->resubmit);
}

/* A write's pattern depends on its block in the area: so does what is read. */
static void load_resubmit(struct deferred *deferred)
{
	struct load_side *side = container_of(deferred, struct load_side, resubmit);

	while (side->ready && side->left > 0) {
		struct load_worker *worker = side->ready;

		side->ready = worker->next;
		load_submit(worker);
	}
	if (side->left == 0 && side->busy == 0)
		atomic_store(&side->ended, true);
}

static void load_begin(struct message *message)
{
	struct load_side *side = container_of(message, struct load_side, message);

	load_resubmit(&side->resubmit);
}

/* ---- life --------------------------------------------------------------- */

static void load_side_init(struct nvme_load *load, unsigned index)
{
	struct nvme_world *world = load->world;
	struct load_side *side = &load->sides[index];
	unsigned count = load->options.workers;
	uint8_t *memory = load->options.mapped ? world->memory : load->buffers;
	size_t share = (load->options.mapped ? NVME_WORLD_MEMORY / NVME_WORLD_REACTORS / count
					     : (AREA_BLOCKS << world->ns.block_shift) + 4096);

	side->load = load;
	side->reactor = world->data[index];
	side->qpair = world->qpairs[index];
	side->left = load->options.requests;
	side->random = (load->options.seed + index + 1) * UINT64_C(0x2545f4914f6cdd1d);
	side->resubmit.run = load_resubmit;
	side->message.run = load_begin;
	side->workers = calloc(count, sizeof(side->workers[0]));
	for (unsigned i = 0; i < count; i++) {
		struct load_worker *worker = &side->workers[i];

		worker->side = side;
		worker->first_block = (uint64_t)(index * count + i) * AREA_BLOCKS;
		worker->buffer = memory + (index * count + i) * align_down(share, 4096);
		worker->next = side->ready;
		side->ready = worker;
	}
}

struct nvme_load *nvme_load_start(struct nvme_world *world, const struct nvme_load_options *options)
{
	struct nvme_load *load = calloc(1, sizeof(*load));
	size_t area = (AREA_BLOCKS << world->ns.block_shift) + 4096;
	unsigned workers = NVME_WORLD_REACTORS * options->workers;

	assert_true(workers * AREA_BLOCKS <= world->ns.blocks);
	load->world = world;
	load->options = *options;
	if (options->mapped)
		assert_true(workers * area <= NVME_WORLD_MEMORY);
	else
		load->buffers = aligned_alloc(4096, workers * area);
	for (unsigned i = 0; i < NVME_WORLD_REACTORS; i++)
		load_side_init(load, i);
	for (unsigned i = 0; i < NVME_WORLD_REACTORS; i++)
		reactor_send(load->sides[i].reactor, &load->sides[i].message);
	return load;
}

bool nvme_load_has_ended(void *arg)
{
	struct nvme_load *load = arg;

	for (unsigned i = 0; i < NVME_WORLD_REACTORS; i++)
		if (!atomic_load(&load->sides[i].ended))
			return false;
	return true;
}

unsigned nvme_load_finish(struct nvme_load *load)
{
	unsigned failed = 0;

	for (unsigned tries = 0; !nvme_load_has_ended(load) && tries < 100; tries++)
		host_wait(&load->world->host, nvme_load_has_ended, load);
	assert_true(nvme_load_has_ended(load));
	for (unsigned i = 0; i < NVME_WORLD_REACTORS; i++) {
		failed += load->sides[i].failed;
		free(load->sides[i].workers);
	}
	free(load->buffers);
	free(load);
	return failed;
}
