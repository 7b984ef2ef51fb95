/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Admin commands of the simulated controller.
 */
#include <stdio.h>
#include <string.h>

#include "sim/nvme_sim_impl.h"

#define ATOMIC_BLOCKS 8

/* ---- identify ----------------------------------------------------------- */

static void nvme_sim_identify_controller(
	const struct nvme_sim *sim, struct nvme_identify_controller *id)
{
	id->vid = 0x1b36;
	memcpy(id->sn, "SIM0001             ", sizeof(id->sn));
	memset(id->mn, ' ', sizeof(id->mn));
	memcpy(id->mn, "Simulated drive", 15);
	memcpy(id->fr, "1.0     ", sizeof(id->fr));
	id->mdts = sim->options.mdts;
	id->cntlid = 1;
	id->ver = 0x00020000;
	id->oaes = NVME_EVENTS_NAMESPACES;
	id->aerl = 3;
	id->acl = 3;
	id->sqes = NVME_SQE_SHIFT << 4 | NVME_SQE_SHIFT;
	id->cqes = NVME_CQE_SHIFT << 4 | NVME_CQE_SHIFT;
	id->nn = sim->options.namespaces;
	id->oncs = sim->options.no_zeroes ? 0 : NVME_ONCS_DEALLOCATE | NVME_ONCS_WRITE_ZEROES;
	id->vwc = sim->options.no_cache ? 0 : NVME_VWC_PRESENT;
	id->awupf = ATOMIC_BLOCKS - 1;
	snprintf(id->subnqn, sizeof(id->subnqn), "nqn.2026-01.org.example:sim");
}

static void nvme_sim_identify_namespace(
	const struct nvme_sim *sim, uint32_t nsid, struct nvme_identify_namespace *id)
{
	const struct nvme_sim_namespace *ns = &sim->namespaces[nsid - 1];

	id->nsze = id->ncap = id->nuse = ns->blocks;
	id->dlfeat = NVME_DLFEAT_READ_ZEROES | NVME_DLFEAT_ZEROES_DEALLOCATE;
	id->noiob = sim->options.boundary;
	id->lbaf[0].lbads = sim->options.block_shift;
	if (nsid == sim->options.namespaces)
		id->lbaf[0].ms = sim->options.metadata;
	id->eui64[7] = (uint8_t)nsid;
}

static void nvme_sim_identify_list(const struct nvme_sim *sim, uint32_t after, uint32_t *ids)
{
	for (uint32_t nsid = after + 1; nsid <= sim->options.namespaces; nsid++)
		if (sim->namespaces[nsid - 1].attached)
			*ids++ = nsid;
}

static bool nvme_sim_has_namespace(const struct nvme_sim *sim, uint32_t nsid)
{
	return nsid - 1 < sim->options.namespaces && sim->namespaces[nsid - 1].attached;
}

static void nvme_sim_identify_descriptors(uint32_t nsid, uint8_t *descriptors)
{
	descriptors[0] = NVME_DESCRIPTOR_CSI;
	descriptors[1] = 1;
	descriptors[5] = NVME_DESCRIPTOR_UUID;
	descriptors[6] = 16;
	memset(descriptors + 9, 0x5a, 15);
	descriptors[24] = (uint8_t)nsid;
}

static uint16_t nvme_sim_identify(struct nvme_sim *sim, const struct nvme_sqe *sqe)
{
	uint64_t data[NVME_IDENTIFY_BYTES / 8] = {0};

	switch (sqe->cdw10 & 0xff) {
	case NVME_CNS_CONTROLLER:
		nvme_sim_identify_controller(sim, (void *)data);
		break;
	case NVME_CNS_NSIDS:
		nvme_sim_identify_list(sim, sqe->nsid, (void *)data);
		break;
	case NVME_CNS_NAMESPACE:
		if (!nvme_sim_has_namespace(sim, sqe->nsid))
			return NVME_SC_INVALID_NAMESPACE;
		nvme_sim_identify_namespace(sim, sqe->nsid, (void *)data);
		break;
	case NVME_CNS_DESCRIPTORS:
		if (!nvme_sim_has_namespace(sim, sqe->nsid))
			return NVME_SC_INVALID_NAMESPACE;
		nvme_sim_identify_descriptors(sqe->nsid, (void *)data);
		break;
	default:
		return NVME_SC_INVALID_FIELD;
	}
	return nvme_sim_transfer(sim, sqe, data, sizeof(data), true) ? NVME_SC_SUCCESS
								     : NVME_SC_TRANSFER_ERROR;
}

/* ---- queues ------------------------------------------------------------- */

static bool nvme_sim_qid_is_bad(const struct nvme_sim *sim, unsigned qid)
{
	return qid == 0 || qid > sim->options.queues;
}

static uint16_t nvme_sim_create_cq(struct nvme_sim *sim, const struct nvme_sqe *sqe)
{
	unsigned qid = sqe->cdw10 & 0xffff;

	if (nvme_sim_qid_is_bad(sim, qid) || sim->cqs[qid].exists)
		return NVME_SC_INVALID_QUEUE;
	sim->cqs[qid] = (struct nvme_sim_cq){
		.exists = true,
		.iova = sqe->prp1,
		.entries = (sqe->cdw10 >> 16) + 1,
		.phase = true,
		.interrupts = sqe->cdw11 & NVME_CQ_INTERRUPTS,
		.vector = sqe->cdw11 >> 16,
	};
	if (sim->cqs[qid].vector >= sim->options.vectors || sqe->prp1 & 4095) {
		sim->cqs[qid].exists = false;
		return NVME_SC_INVALID_FIELD;
	}
	return NVME_SC_SUCCESS;
}

static uint16_t nvme_sim_create_sq(struct nvme_sim *sim, const struct nvme_sqe *sqe)
{
	unsigned qid = sqe->cdw10 & 0xffff;
	unsigned cqid = sqe->cdw11 >> 16;

	if (nvme_sim_qid_is_bad(sim, qid) || sim->sqs[qid].exists || cqid >= NVME_SIM_QUEUES ||
		!sim->cqs[cqid].exists)
		return NVME_SC_INVALID_QUEUE;
	sim->sqs[qid] = (struct nvme_sim_sq){
		.exists = true,
		.iova = sqe->prp1,
		.entries = (sqe->cdw10 >> 16) + 1,
		.cqid = cqid,
	};
	return NVME_SC_SUCCESS;
}

static uint16_t nvme_sim_delete_queue(struct nvme_sim *sim, const struct nvme_sqe *sqe)
{
	unsigned qid = sqe->cdw10 & 0xffff;
	bool is_sq = sqe->opcode == NVME_ADMIN_DELETE_SQ;

	if (nvme_sim_qid_is_bad(sim, qid) || !(is_sq ? sim->sqs[qid].exists : sim->cqs[qid].exists))
		return NVME_SC_INVALID_QUEUE;
	if (!is_sq && sim->sqs[qid].exists)
		nvme_sim_complain(sim, "is to delete a completion queue in use");
	if (!is_sq) {
		sim->cqs[qid].exists = false;
		return NVME_SC_SUCCESS;
	}
	for (unsigned i = 0; i < sim->flight_count;) {
		if (sim->flight[i].qid == qid)
			nvme_sim_end(sim, i, NVME_SC_ABORT_SQ_DELETED, 0);
		else
			i++;
	}
	sim->sqs[qid].exists = false;
	return NVME_SC_SUCCESS;
}

/* It may come too late, or be refused. */
static uint32_t nvme_sim_abort(struct nvme_sim *sim, const struct nvme_sqe *sqe)
{
	unsigned qid = sqe->cdw10 & 0xffff;
	unsigned index = nvme_sim_flight_find(sim, qid, (uint16_t)(sqe->cdw10 >> 16));

	if (index == sim->flight_count || qid == 0 || sim->flight[index].fault == NVME_SIM_KEEP ||
		nvme_sim_random(sim, 4) == 0)
		return NVME_ABORT_NOT_DONE;
	sim->flight[index].fault = NVME_SIM_WELL;
	nvme_sim_end(sim, index, NVME_SC_ABORT_REQUESTED, 0);
	return 0;
}

/* ---- features, log pages, events ---------------------------------------- */

static uint16_t nvme_sim_log_page(struct nvme_sim *sim, const struct nvme_sqe *sqe)
{
	uint64_t data[NVME_IDENTIFY_BYTES / 8] = {0};
	size_t bytes = ((sqe->cdw10 >> 16) + 1) * 4u;
	struct nvme_health *health = (void *)data;

	if (bytes > sizeof(data))
		return NVME_SC_INVALID_FIELD;
	switch (sqe->cdw10 & 0xff) {
	case NVME_LOG_HEALTH:
		health->critical_warning = sim->health_warning;
		health->temperature[0] = 0x3f; /* 319 K */
		health->temperature[1] = 0x01;
		health->available_spare = 98;
		health->available_spare_threshold = 10;
		health->percentage_used = 3;
		health->power_cycles[0] = sim->counts.enables;
		break;
	case NVME_LOG_ERRORS:
	case NVME_LOG_FIRMWARE:
	case NVME_LOG_CHANGED_NAMESPACES:
		break;
	default:
		return NVME_SC_INVALID_FIELD;
	}
	return nvme_sim_transfer(sim, sqe, data, bytes, true) ? NVME_SC_SUCCESS
							      : NVME_SC_TRANSFER_ERROR;
}

static uint16_t nvme_sim_set_feature(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, uint32_t *ret_dw0)
{
	uint32_t most = sim->options.queues - 1u;

	switch (sqe->cdw10 & 0xff) {
	case NVME_FEATURE_QUEUES:
		*ret_dw0 = most << 16 | most;
		return NVME_SC_SUCCESS;
	case NVME_FEATURE_ASYNC_EVENTS:
		return NVME_SC_SUCCESS;
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

void nvme_sim_add_event(struct nvme_sim *sim, uint32_t dw0)
{
	if (sim->event_count < NVME_SIM_EVENTS)
		sim->events[sim->event_count++] = dw0;
}

void nvme_sim_deliver_events(struct nvme_sim *sim)
{
	for (unsigned i = 0; i < sim->flight_count && sim->event_count > 0;) {
		const struct nvme_sim_command *command = &sim->flight[i];

		if (command->qid == 0 && command->due_ns == UINT64_MAX &&
			command->sqe.opcode == NVME_ADMIN_ASYNC_EVENT)
			nvme_sim_end(sim, i, NVME_SC_SUCCESS, sim->events[--sim->event_count]);
		else
			i++;
	}
}

bool nvme_sim_admin(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, uint16_t *ret_status, uint32_t *ret_dw0)
{
	struct nvme_sqe own = *sqe; /* what is in flight may move */

	*ret_status = NVME_SC_SUCCESS;
	switch (own.opcode) {
	case NVME_ADMIN_IDENTIFY:
		*ret_status = nvme_sim_identify(sim, &own);
		return true;
	case NVME_ADMIN_CREATE_CQ:
		*ret_status = nvme_sim_create_cq(sim, &own);
		return true;
	case NVME_ADMIN_CREATE_SQ:
		*ret_status = nvme_sim_create_sq(sim, &own);
		return true;
	case NVME_ADMIN_DELETE_CQ:
	case NVME_ADMIN_DELETE_SQ:
		*ret_status = nvme_sim_delete_queue(sim, &own);
		return true;
	case NVME_ADMIN_ABORT:
		*ret_dw0 = nvme_sim_abort(sim, &own);
		return true;
	case NVME_ADMIN_GET_LOG_PAGE:
		*ret_status = nvme_sim_log_page(sim, &own);
		return true;
	case NVME_ADMIN_SET_FEATURES:
		*ret_status = nvme_sim_set_feature(sim, &own, ret_dw0);
		return true;
	case NVME_ADMIN_ASYNC_EVENT:
		return false;
	default:
		*ret_status = NVME_SC_INVALID_OPCODE;
		return true;
	}
}
