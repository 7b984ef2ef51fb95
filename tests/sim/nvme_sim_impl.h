/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the simulated controller share:
 *  nvme_sim.c        the thread, registers, what a test orders
 *  nvme_sim_memory.c what the controller sees of memory: mappings, PRPs
 *  nvme_sim_admin.c  admin commands
 *  nvme_sim_io.c     commands on namespaces; fetching and completing
 *
 * One mutex over everything, so that it can run on the real kernel as well. It is never held while
 * an eventfd is signalled: the simulated host may run others there.
 */
#ifndef SIM_NVME_SIM_IMPL_H
#define SIM_NVME_SIM_IMPL_H

#include <pthread.h>

#include "base/cleanup.h"
#include "sim/nvme_sim.h"
#include "spec/nvme_pci.h"

#define NVME_SIM_QUEUES   33 /* with the admin queue */
#define NVME_SIM_VECTORS  33
#define NVME_SIM_MAPPINGS 1024
#define NVME_SIM_FLIGHT   4096
#define NVME_SIM_EVENTS   8

struct nvme_sim_namespace {
	bool attached;
	uint64_t blocks;
	uint64_t room; /* blocks that data has */
	uint8_t *data;
};

struct nvme_sim_mapping {
	uint8_t *addr;
	size_t len; /* 0: free */
	uint64_t iova;
};

struct nvme_sim_sq {
	bool exists;
	uint64_t iova;
	unsigned entries;
	unsigned head;
	unsigned tail; /* doorbell */
	unsigned cqid;
};

struct nvme_sim_cq {
	bool exists;
	uint64_t iova;
	unsigned entries;
	unsigned head; /* doorbell */
	unsigned tail;
	bool phase;
	bool interrupts;
	unsigned vector;
};

/* A command that was fetched and has not ended. */
struct nvme_sim_command {
	struct nvme_sqe sqe;
	unsigned qid;
	uint64_t due_ns;
	enum nvme_sim_fault fault;
};

struct nvme_sim_order {
	enum nvme_sim_fault fault;
	unsigned opcode;
	unsigned nth;
	unsigned count;
	uint16_t status;
};

struct nvme_sim {
	struct nvme_transport transport;
	struct os *os;
	struct nvme_sim_options options;
	uint64_t random;
	pthread_mutex_t mutex;
	struct os_ring *ring;
	void *thread;
	bool stopping;
	unsigned complaints;
	bool closed;

	/* registers */
	uint32_t cc;
	uint32_t csts;
	uint32_t aqa;
	uint64_t asq;
	uint64_t acq;
	uint64_t change_ns; /* when what was written to CC takes effect; 0: nothing was */
	bool bus_master;
	bool gone;
	bool cannot_enable;
	bool cannot_disable;

	struct nvme_sim_mapping mappings[NVME_SIM_MAPPINGS];
	unsigned mapping_hint;
	uint64_t next_iova;
	unsigned fail_map;

	struct nvme_sim_sq sqs[NVME_SIM_QUEUES];
	struct nvme_sim_cq cqs[NVME_SIM_QUEUES];
	struct nvme_sim_command flight[NVME_SIM_FLIGHT];
	unsigned flight_count;
	struct nvme_sim_namespace namespaces[NVME_SIM_NAMESPACES];

	int vector_fds[NVME_SIM_VECTORS];
	bool vector_off[NVME_SIM_VECTORS];
	bool vector_pending[NVME_SIM_VECTORS];

	uint32_t events[NVME_SIM_EVENTS]; /* that wait for a request */
	unsigned event_count;
	uint8_t health_warning;

	struct nvme_sim_order order;
	unsigned chance_faults;
	unsigned chance_one_in;
	uint16_t chance_status;
	struct nvme_sim_counts counts;
};

void nvme_sim_complain(struct nvme_sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);
uint64_t nvme_sim_random(struct nvme_sim *sim, uint64_t below);
void nvme_sim_wake(struct nvme_sim *sim);
void nvme_sim_reset_state(struct nvme_sim *sim); /* queues and commands are gone */

/* ---- memory ---- */

int nvme_sim_dma_map(struct nvme_transport *transport, void *addr, size_t len, uint64_t *ret_iova);
void nvme_sim_dma_unmap(struct nvme_transport *transport, uint64_t iova, size_t len);
/* Our address of that memory, NULL and a complaint when it is not mapped whole. */
void *nvme_sim_reach(struct nvme_sim *sim, uint64_t iova, size_t len);
/* Between buf and what the PRPs say. */
bool nvme_sim_transfer(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, void *buf, size_t len, bool to_host);

/* ---- commands ---- */

/* nvme_sim.c: of a mutex that is held. */
void nvme_sim_do_locked(struct nvme_sim *sim, enum nvme_sim_fault fault);
/* flight_count: it is not there. */
unsigned nvme_sim_flight_find(const struct nvme_sim *sim, unsigned qid, uint16_t cid);

void nvme_sim_fetch(struct nvme_sim *sim, uint64_t now_ns);
/* Ends what is due; when the next is, UINT64_MAX for none. */
uint64_t nvme_sim_complete_due(struct nvme_sim *sim, uint64_t now_ns);
/* The status of the command, that has been done; dw0 of the answer. */
uint16_t nvme_sim_execute(struct nvme_sim *sim, const struct nvme_sqe *sqe);
/* False: it stays with the controller. */
bool nvme_sim_admin(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, uint16_t *ret_status, uint32_t *ret_dw0);
/* The nth of those in flight ends with that status. */
void nvme_sim_end(struct nvme_sim *sim, unsigned index, uint16_t status, uint32_t dw0);
void nvme_sim_add_event(struct nvme_sim *sim, uint32_t dw0);
void nvme_sim_deliver_events(struct nvme_sim *sim);

static inline struct nvme_sim *nvme_sim_of(struct nvme_transport *transport)
{
	return container_of(transport, struct nvme_sim, transport);
}

#endif
