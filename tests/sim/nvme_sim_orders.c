/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a test has the controller do.
 */
#include "sim/nvme_sim_impl.h"

#define EVENT_NAMESPACES                                                                           \
	(NVME_EVENT_NOTICE | NVME_NOTICE_NAMESPACES << 8 | NVME_LOG_CHANGED_NAMESPACES << 16)
#define EVENT_HEALTH (NVME_EVENT_HEALTH | NVME_LOG_HEALTH << 16)

static void nvme_sim_tell(struct nvme_sim *sim, uint32_t event)
{
	nvme_sim_add_event(sim, event);
	nvme_sim_wake(sim);
}

void nvme_sim_resize(struct nvme_sim *sim, uint32_t nsid, uint64_t blocks)
{
	SCOPED_LOCK(&sim->mutex);
	sim->namespaces[nsid - 1].blocks = u64_min(blocks, sim->namespaces[nsid - 1].room);
	nvme_sim_tell(sim, EVENT_NAMESPACES);
}

void nvme_sim_attach(struct nvme_sim *sim, uint32_t nsid, bool attached)
{
	SCOPED_LOCK(&sim->mutex);
	sim->namespaces[nsid - 1].attached = attached;
	nvme_sim_tell(sim, EVENT_NAMESPACES);
}

void nvme_sim_tell_health(struct nvme_sim *sim, uint8_t warning)
{
	SCOPED_LOCK(&sim->mutex);
	sim->health_warning = warning;
	nvme_sim_tell(sim, EVENT_HEALTH);
}

void nvme_sim_order(struct nvme_sim *sim, enum nvme_sim_fault fault, unsigned opcode, unsigned nth,
	unsigned count, uint16_t status)
{
	SCOPED_LOCK(&sim->mutex);
	sim->order = (struct nvme_sim_order){fault, opcode, nth, count, status};
}

void nvme_sim_chance(struct nvme_sim *sim, unsigned faults, unsigned one_in, uint16_t status)
{
	SCOPED_LOCK(&sim->mutex);
	sim->chance_faults = faults;
	sim->chance_one_in = faults ? one_in : 0;
	sim->chance_status = status;
}

void nvme_sim_do_locked(struct nvme_sim *sim, enum nvme_sim_fault fault)
{
	if (fault == NVME_SIM_FATAL)
		sim->csts |= NVME_CSTS_CFS;
	if (fault == NVME_SIM_GONE) {
		nvme_sim_reset_state(sim);
		sim->gone = true;
	}
}

void nvme_sim_do(struct nvme_sim *sim, enum nvme_sim_fault fault)
{
	SCOPED_LOCK(&sim->mutex);
	nvme_sim_do_locked(sim, fault);
}

void nvme_sim_set_stuck(struct nvme_sim *sim, bool enabling, bool disabling)
{
	SCOPED_LOCK(&sim->mutex);
	sim->cannot_enable = enabling;
	sim->cannot_disable = disabling;
}

void nvme_sim_fail_map(struct nvme_sim *sim, unsigned nth)
{
	SCOPED_LOCK(&sim->mutex);
	sim->fail_map = nth;
}

struct nvme_sim_counts nvme_sim_counts(struct nvme_sim *sim)
{
	SCOPED_LOCK(&sim->mutex);
	return sim->counts;
}
