/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The controller's thread, its registers, and what a test orders.
 *
 * The thread sleeps in a ring of its own until a doorbell or register is written or the next
 * command is due. What is written to CC takes effect a while later; a controller that is being
 * disabled may still carry out what it has fetched.
 */
#include "sim/nvme_sim_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGE_MAX_NS (3 * MSEC_NS)
#define READY_UNITS   2 /* of 500 ms */
#define FIRST_IOVA    UINT64_C(0x4000000000)

void nvme_sim_complain(struct nvme_sim *sim, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "the simulated controller (seed %llu) ",
		(unsigned long long)sim->options.seed);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	sim->complaints++;
}

uint64_t nvme_sim_random(struct nvme_sim *sim, uint64_t below)
{
	sim->random ^= sim->random << 13;
	sim->random ^= sim->random >> 7;
	sim->random ^= sim->random << 17;
	return (sim->random >> 11) % below;
}

void nvme_sim_wake(struct nvme_sim *sim)
{
	sim->os->ops->ring_wake(sim->ring);
}

/* ---- registers ---------------------------------------------------------- */

static uint64_t nvme_sim_cap(const struct nvme_sim *sim)
{
	return (sim->options.entries - 1u) | UINT64_C(1) << 16 /* CQR */ |
	       (uint64_t)READY_UNITS << 24 | (uint64_t)NVME_CAP_CSS_NVM << 37;
}

static uint32_t nvme_sim_read32(struct nvme_transport *transport, uint32_t offset)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	if (sim->gone)
		return NVME_GONE_32;
	switch (offset) {
	case NVME_REG_VS:
		return 0x00020000;
	case NVME_REG_CC:
		return sim->cc;
	case NVME_REG_CSTS:
		return sim->csts;
	default:
		nvme_sim_complain(sim, "has no register at 0x%x", offset);
		return 0;
	}
}

static uint64_t nvme_sim_read64(struct nvme_transport *transport, uint32_t offset)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	if (offset != NVME_REG_CAP)
		nvme_sim_complain(sim, "has no register of 64 bits to read at 0x%x", offset);
	return sim->gone ? NVME_GONE_64 : nvme_sim_cap(sim);
}

static void nvme_sim_doorbell(struct nvme_sim *sim, uint32_t offset, uint32_t value)
{
	unsigned index = (offset - NVME_PCI_DOORBELLS) / 4;
	unsigned qid = index / 2;
	struct nvme_sim_sq *sq = &sim->sqs[qid];
	struct nvme_sim_cq *cq = &sim->cqs[qid];

	if (qid >= NVME_SIM_QUEUES || !(index & 1 ? cq->exists : sq->exists)) {
		if (sim->csts & NVME_CSTS_RDY)
			nvme_sim_complain(sim, "has no queue %u that a bell could ring for", qid);
	} else if (value >= (index & 1 ? cq->entries : sq->entries)) {
		nvme_sim_complain(sim, "is told %u of queue %u", value, qid);
	} else if (index & 1) {
		cq->head = value;
	} else {
		sq->tail = value;
		sim->counts.bells += qid > 0;
	}
}

static void nvme_sim_write_cc(struct nvme_sim *sim, uint32_t value)
{
	uint32_t changed = sim->cc ^ value;

	sim->cc = value;
	if (changed & NVME_CC_EN)
		sim->change_ns =
			sim->os->ops->now_ns(sim->os) + nvme_sim_random(sim, CHANGE_MAX_NS);
	if (changed & NVME_CC_SHN_MASK && value & NVME_CC_SHN_MASK) {
		sim->counts.shutdowns++;
		sim->csts |= NVME_CSTS_SHST_COMPLETE << 2;
	}
}

static void nvme_sim_write32(struct nvme_transport *transport, uint32_t offset, uint32_t value)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	if (sim->gone)
		return;
	if (offset >= NVME_PCI_DOORBELLS)
		nvme_sim_doorbell(sim, offset, value);
	else if (offset == NVME_REG_CC)
		nvme_sim_write_cc(sim, value);
	else if (offset == NVME_REG_AQA)
		sim->aqa = value;
	else
		nvme_sim_complain(sim, "has no register to write at 0x%x", offset);
	nvme_sim_wake(sim);
}

static void nvme_sim_write64(struct nvme_transport *transport, uint32_t offset, uint64_t value)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	if (offset == NVME_REG_ASQ)
		sim->asq = value;
	else if (offset == NVME_REG_ACQ)
		sim->acq = value;
	else
		nvme_sim_complain(sim, "has no register of 64 bits to write at 0x%x", offset);
}

/* ---- the other calls of a transport ------------------------------------- */

static int nvme_sim_set_bus_master(struct nvme_transport *transport, bool on)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	sim->bus_master = on;
	return 0;
}

void nvme_sim_reset_state(struct nvme_sim *sim)
{
	memset(sim->sqs, 0, sizeof(sim->sqs));
	memset(sim->cqs, 0, sizeof(sim->cqs));
	sim->flight_count = 0;
	sim->event_count = 0;
}

static int nvme_sim_reset(struct nvme_transport *transport)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	if (sim->gone)
		return -ENODEV;
	nvme_sim_reset_state(sim);
	sim->cc = 0;
	sim->csts = 0;
	sim->change_ns = 0;
	return 0;
}

static int nvme_sim_interrupt_fd(struct nvme_transport *transport, unsigned vector)
{
	return nvme_sim_of(transport)->vector_fds[vector];
}

static void nvme_sim_interrupt_set(struct nvme_transport *transport, unsigned vector, bool on)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	sim->vector_off[vector] = !on;
	if (on && sim->vector_pending[vector])
		nvme_sim_wake(sim);
}

static void nvme_sim_close(struct nvme_transport *transport)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	if (sim->counts.mapped)
		nvme_sim_complain(sim, "has %u mappings left", sim->counts.mapped);
	if (!sim->gone && sim->csts & NVME_CSTS_RDY && sim->bus_master)
		nvme_sim_complain(sim, "is left running");
	sim->closed = true;
}

static const struct nvme_transport_ops nvme_sim_ops = {
	.type = "PCIe",
	.read32 = nvme_sim_read32,
	.read64 = nvme_sim_read64,
	.write32 = nvme_sim_write32,
	.write64 = nvme_sim_write64,
	.set_bus_master = nvme_sim_set_bus_master,
	.reset = nvme_sim_reset,
	.dma_map = nvme_sim_dma_map,
	.dma_unmap = nvme_sim_dma_unmap,
	.interrupt_fd = nvme_sim_interrupt_fd,
	.interrupt_set = nvme_sim_interrupt_set,
	.close = nvme_sim_close,
};

/* ---- the thread --------------------------------------------------------- */

static void nvme_sim_become_ready(struct nvme_sim *sim)
{
	nvme_sim_reset_state(sim);
	sim->sqs[0] = (struct nvme_sim_sq){
		.exists = true, .iova = sim->asq, .entries = (sim->aqa & 0xfff) + 1};
	sim->cqs[0] = (struct nvme_sim_cq){
		.exists = true,
		.iova = sim->acq,
		.entries = (sim->aqa >> 16 & 0xfff) + 1,
		.phase = true,
		.interrupts = true,
	};
	sim->csts = NVME_CSTS_RDY;
	sim->counts.enables++;
}

/* Some of what was fetched is still carried out, and nobody hears of it. */
static void nvme_sim_become_idle(struct nvme_sim *sim)
{
	for (unsigned i = 0; i < sim->flight_count; i++)
		if (sim->flight[i].qid && nvme_sim_random(sim, 2))
			nvme_sim_execute(sim, &sim->flight[i].sqe);
	nvme_sim_reset_state(sim);
	sim->csts = 0;
}

static void nvme_sim_change(struct nvme_sim *sim)
{
	sim->change_ns = 0;
	if (sim->cc & NVME_CC_EN && !sim->cannot_enable)
		nvme_sim_become_ready(sim);
	else if (!(sim->cc & NVME_CC_EN) && !sim->cannot_disable)
		nvme_sim_become_idle(sim);
}

/* When to look again. */
static uint64_t nvme_sim_work(struct nvme_sim *sim, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	if (sim->gone)
		return next_ns;
	if (sim->change_ns && now_ns >= sim->change_ns)
		nvme_sim_change(sim);
	if (sim->csts & NVME_CSTS_RDY && !(sim->csts & NVME_CSTS_CFS)) {
		nvme_sim_fetch(sim, now_ns);
		next_ns = nvme_sim_complete_due(sim, now_ns);
	}
	return sim->change_ns ? u64_min(next_ns, sim->change_ns) : next_ns;
}

static uint64_t nvme_sim_take_vectors(struct nvme_sim *sim)
{
	uint64_t vectors = 0;

	for (unsigned i = 0; i < sim->options.vectors; i++) {
		if (!sim->vector_pending[i] || sim->vector_off[i])
			continue;
		sim->vector_pending[i] = false;
		sim->counts.interrupts += i > 0;
		vectors |= UINT64_C(1) << i;
	}
	return vectors;
}

static bool nvme_sim_step(void *arg)
{
	struct nvme_sim *sim = arg;
	struct os *os = sim->os;
	uint64_t now_ns = os->ops->now_ns(os);
	uint64_t next_ns, vectors;
	bool stopping;

	pthread_mutex_lock(&sim->mutex);
	next_ns = nvme_sim_work(sim, now_ns);
	vectors = nvme_sim_take_vectors(sim);
	stopping = sim->stopping;
	pthread_mutex_unlock(&sim->mutex);
	for (unsigned i = 0; i < sim->options.vectors; i++)
		if (vectors >> i & 1)
			os->ops->event_signal(os, sim->vector_fds[i]);
	if (stopping)
		return false;
	os->ops->ring_enter(sim->ring, next_ns == UINT64_MAX ? OS_WAIT_FOREVER
				       : next_ns > now_ns    ? next_ns - now_ns
							     : 0);
	return true;
}

/* ---- life --------------------------------------------------------------- */

static void nvme_sim_choose(struct nvme_sim *sim, const struct nvme_sim_options *options)
{
	struct nvme_sim_options *own = &sim->options;

	*own = *options;
	own->block_shift = own->block_shift ? own->block_shift : 9;
	own->blocks = own->blocks ? own->blocks : 16384;
	own->queues = own->queues ? own->queues : 8;
	own->vectors = own->vectors ? own->vectors : own->queues + 1u;
	own->entries = own->entries ? own->entries : 1024;
	if (!own->latency_max_ns) {
		own->latency_min_ns = 5 * USEC_NS;
		own->latency_max_ns = 100 * USEC_NS;
	}
	sim->random = (own->seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	sim->next_iova = FIRST_IOVA;
}

static void nvme_sim_make_namespaces(struct nvme_sim *sim)
{
	for (unsigned i = 0; i < sim->options.namespaces; i++) {
		struct nvme_sim_namespace *ns = &sim->namespaces[i];

		ns->attached = true;
		ns->blocks = sim->options.blocks;
		ns->room = 2 * ns->blocks;
		ns->data = calloc(ns->room, (size_t)1 << sim->options.block_shift);
	}
}

struct nvme_sim *nvme_sim_create(struct os *os, const struct nvme_sim_options *options)
{
	const struct os_ring_options ring_options = {.entries = 8};
	struct nvme_sim *sim = calloc(1, sizeof(*sim));
	struct os_thread_options thread = {
		.name = "nvme-sim", .cpu = -1, .step = nvme_sim_step, .arg = sim};
	int rc;

	sim->os = os;
	nvme_sim_choose(sim, options);
	pthread_mutex_init(&sim->mutex, NULL);
	nvme_sim_make_namespaces(sim);
	sim->transport = (struct nvme_transport){
		.ops = &nvme_sim_ops,
		.address = "0000:5a:00.0",
		.vectors = sim->options.vectors,
		.doorbells_bytes = 4096,
	};
	rc = os->ops->ring_create(os, &ring_options, &sim->ring);
	for (unsigned i = 0; !rc && i < sim->options.vectors; i++)
		rc = os->ops->event_create(os, &sim->vector_fds[i]);
	if (!rc)
		rc = os->ops->thread_start(os, &thread, &sim->thread);
	if (rc) {
		fprintf(stderr, "no simulated controller: %s\n", strerror(-rc));
		abort();
	}
	return sim;
}

unsigned nvme_sim_destroy(struct nvme_sim *sim)
{
	struct os *os = sim->os;
	unsigned complaints;

	pthread_mutex_lock(&sim->mutex);
	sim->stopping = true;
	pthread_mutex_unlock(&sim->mutex);
	nvme_sim_wake(sim);
	os->ops->thread_join(os, sim->thread);
	if (!sim->closed)
		nvme_sim_complain(sim, "was not closed");
	for (unsigned i = 0; i < sim->options.vectors; i++)
		os->ops->close(os, sim->vector_fds[i]);
	os->ops->ring_destroy(sim->ring);
	for (unsigned i = 0; i < sim->options.namespaces; i++)
		free(sim->namespaces[i].data);
	pthread_mutex_destroy(&sim->mutex);
	complaints = sim->complaints;
	free(sim);
	return complaints;
}

struct nvme_transport *nvme_sim_transport(struct nvme_sim *sim)
{
	return &sim->transport;
}

uint8_t *nvme_sim_data(struct nvme_sim *sim, uint32_t nsid)
{
	return sim->namespaces[nsid - 1].data;
}
