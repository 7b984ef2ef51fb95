/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A simulated NVMe controller: a thread of the simulated host (or of the real kernel) behind the
 * driver's transport (src/nvme/transport.h). It reads queues and PRPs from memory as a real one
 * does, through a table of what was mapped; takes a while for each command, and ends them in an
 * order of its own; moves data when a command ends, or when the controller is disabled before that.
 *
 * It is strict. What the specification forbids a host is a complaint, counted by nvme_sim_destroy:
 * doorbells of queues that are not there, PRPs that are no such, memory that is not mapped, two
 * commands with one cid, commands longer than MDTS or across the boundary.
 *
 * And it does wrong what it is told to: by script (the nth command of a kind) or by chance.
 *
 * Left out: SGLs, metadata, fused commands, arbitration, power states.
 */
#ifndef SIM_NVME_SIM_H
#define SIM_NVME_SIM_H

#include "nvme/transport.h"
#include "spec/nvme.h"

struct nvme_sim;

#define NVME_SIM_NAMESPACES 4

struct nvme_sim_options {
	uint64_t seed;
	unsigned namespaces; /* ids from 1 on */
	uint8_t block_shift; /* 0: 9 */
	uint16_t metadata; /* bytes a block, of the last namespace */
	uint64_t blocks; /* of each; 0: 16384 */
	uint8_t mdts;
	uint16_t boundary; /* NOIOB */
	uint16_t queues; /* I/O queue pairs; 0: 8 */
	unsigned vectors; /* 0: one more */
	uint16_t entries; /* of a queue; 0: 1024 */
	bool no_cache;
	bool no_zeroes; /* neither WRITE ZEROES nor DATASET MANAGEMENT */
	uint64_t latency_min_ns; /* both 0: 5 to 100 us */
	uint64_t latency_max_ns;
};

struct nvme_sim *nvme_sim_create(struct os *os, const struct nvme_sim_options *options);
/* The driver has closed the transport. Complaints, each printed; a test asserts 0. */
unsigned nvme_sim_destroy(struct nvme_sim *sim) MUST_CHECK;
struct nvme_transport *nvme_sim_transport(struct nvme_sim *sim);

/* Contents of a namespace, as long as nothing is under way. */
uint8_t *nvme_sim_data(struct nvme_sim *sim, uint32_t nsid);
/* Another size, and the event that tells it. */
void nvme_sim_resize(struct nvme_sim *sim, uint32_t nsid, uint64_t blocks);
/* Comes (as it was at the beginning) or goes, and the event. */
void nvme_sim_attach(struct nvme_sim *sim, uint32_t nsid, bool attached);

/* ---- doing wrong --------------------------------------------------------- */

enum nvme_sim_fault {
	NVME_SIM_WELL,
	NVME_SIM_STATUS, /* ends with a status */
	NVME_SIM_LOSE, /* never ends, may be aborted */
	NVME_SIM_KEEP, /* never ends and cannot be aborted */
	NVME_SIM_CID, /* completed with another cid */
	NVME_SIM_HEAD, /* with a sq head beyond the queue */
	NVME_SIM_PHASE, /* with the phase of before */
	NVME_SIM_TWICE, /* twice */
	NVME_SIM_FATAL, /* the controller fails: CSTS.CFS, nothing ends any more */
	NVME_SIM_GONE, /* the controller is pulled out */
	NVME_SIM_FAULTS,
};

#define NVME_SIM_ANY   0x100u /* opcode: of any I/O command */
#define NVME_SIM_ADMIN 0x200u /* or'ed to an admin opcode */

/* The nth (1: the next) command of that opcode, and count - 1 behind it. One order at a time; count
 * 0 takes it back. status (with NVME_CQE_DNR) is of NVME_SIM_STATUS. */
void nvme_sim_order(struct nvme_sim *sim, enum nvme_sim_fault fault, unsigned opcode, unsigned nth,
	unsigned count, uint16_t status);
/* One in so many I/O commands does one of the faults of the mask (1 << fault); 0: none any more. */
void nvme_sim_chance(struct nvme_sim *sim, unsigned faults, unsigned one_in, uint16_t status);
void nvme_sim_do(struct nvme_sim *sim, enum nvme_sim_fault fault); /* FATAL or GONE, now */
/* It cannot be enabled, or disabled, any more, or can again. */
void nvme_sim_set_stuck(struct nvme_sim *sim, bool enabling, bool disabling);
void nvme_sim_tell_health(struct nvme_sim *sim, uint8_t warning); /* an event */
/* The nth call of dma_map from now fails with -ENOMEM. */
void nvme_sim_fail_map(struct nvme_sim *sim, unsigned nth);

struct nvme_sim_counts {
	uint64_t commands[256]; /* of I/O queues, by opcode */
	uint64_t admin[256];
	uint64_t enables;
	uint64_t shutdowns;
	uint64_t bells; /* of I/O submission queues */
	uint64_t interrupts; /* of I/O vectors */
	uint64_t faults;
	unsigned mapped; /* dma_map less dma_unmap */
};

struct nvme_sim_counts nvme_sim_counts(struct nvme_sim *sim);

#endif
