/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a doorbell to a completion: commands are fetched as soon as the thread runs, each is given
 * the time at which it ends and perhaps a fault, and those that are due end in any order.
 */
#include <stdlib.h>
#include <string.h>

#include "sim/nvme_sim_impl.h"

/* ---- fetching ----------------------------------------------------------- */

static enum nvme_sim_fault nvme_sim_choose_fault(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, bool admin)
{
	struct nvme_sim_order *order = &sim->order;
	bool any = order->opcode == NVME_SIM_ANY && !admin;

	if (order->count &&
		(any || order->opcode == (sqe->opcode | (admin ? NVME_SIM_ADMIN : 0u)))) {
		if (order->nth > 1) {
			order->nth--;
		} else {
			order->count--;
			return order->fault;
		}
	}
	if (!admin && sim->chance_one_in && nvme_sim_random(sim, sim->chance_one_in) == 0) {
		unsigned fault = (unsigned)nvme_sim_random(sim, NVME_SIM_FAULTS);

		if (sim->chance_faults >> fault & 1)
			return (enum nvme_sim_fault)fault;
	}
	return NVME_SIM_WELL;
}

static void nvme_sim_check_cid(struct nvme_sim *sim, const struct nvme_sqe *sqe, unsigned qid)
{
	for (unsigned i = 0; i < sim->flight_count; i++)
		if (sim->flight[i].qid == qid && sim->flight[i].sqe.cid == sqe->cid)
			nvme_sim_complain(sim, "has two commands with cid %u", sqe->cid);
}

static void nvme_sim_take_command(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, unsigned qid, uint64_t now_ns)
{
	uint64_t span = sim->options.latency_max_ns - sim->options.latency_min_ns;
	struct nvme_sim_command *command = &sim->flight[sim->flight_count];

	nvme_sim_check_cid(sim, sqe, qid);
	sim->flight_count++;
	*command = (struct nvme_sim_command){
		.sqe = *sqe,
		.qid = qid,
		.due_ns = now_ns + sim->options.latency_min_ns + nvme_sim_random(sim, span + 1),
		.fault = nvme_sim_choose_fault(sim, sqe, qid == 0),
	};
	(qid ? sim->counts.commands : sim->counts.admin)[sqe->opcode]++;
	if (command->fault != NVME_SIM_WELL)
		sim->counts.faults++;
}

void nvme_sim_fetch(struct nvme_sim *sim, uint64_t now_ns)
{
	for (unsigned qid = 0; qid < NVME_SIM_QUEUES; qid++) {
		struct nvme_sim_sq *sq = &sim->sqs[qid];

		while (sq->exists && sq->head != sq->tail && sim->bus_master) {
			const struct nvme_sqe *sqe = nvme_sim_reach(
				sim, sq->iova + sq->head * sizeof(*sqe), sizeof(*sqe));

			if (!sqe || sim->flight_count == NVME_SIM_FLIGHT)
				return;
			sq->head = (sq->head + 1) % sq->entries;
			nvme_sim_take_command(sim, sqe, qid, now_ns);
		}
	}
}

/* ---- completing --------------------------------------------------------- */

static bool nvme_sim_cq_is_full(const struct nvme_sim_cq *cq)
{
	return (cq->tail + 1) % cq->entries == cq->head;
}

/* The phase bit is written last: who sees it sees the rest. */
static void nvme_sim_post(struct nvme_sim *sim, struct nvme_sim_cq *cq, struct nvme_cqe cqe)
{
	struct nvme_cqe *place =
		nvme_sim_reach(sim, cq->iova + cq->tail * sizeof(*place), sizeof(*place));

	if (!place || !sim->bus_master)
		return;
	cqe.status ^= cq->phase; /* a spoilt one has it turned already */
	place->dw0 = cqe.dw0;
	place->dw1 = cqe.dw1;
	place->sq_head = cqe.sq_head;
	place->sq_id = cqe.sq_id;
	place->cid = cqe.cid;
	__atomic_store_n(&place->status, cqe.status, __ATOMIC_RELEASE);
	if (++cq->tail == cq->entries) {
		cq->tail = 0;
		cq->phase = !cq->phase;
	}
	if (cq->interrupts)
		sim->vector_pending[cq->vector] = true;
}

static void nvme_sim_spoil(struct nvme_sim *sim, const struct nvme_sim_command *command,
	struct nvme_sim_cq *cq, struct nvme_cqe *cqe)
{
	switch (command->fault) {
	case NVME_SIM_CID:
		cqe->cid = (uint16_t)(cqe->cid + 1 + nvme_sim_random(sim, UINT16_MAX - 1));
		for (unsigned i = 0; i < sim->flight_count; i++) /* not by chance a right one */
			if (sim->flight[i].sqe.cid == cqe->cid)
				cqe->cid = UINT16_MAX;
		return;
	case NVME_SIM_HEAD:
		cqe->sq_head = UINT16_MAX;
		return;
	case NVME_SIM_PHASE:
		cqe->status ^= NVME_CQE_PHASE;
		return;
	case NVME_SIM_TWICE:
		if (!nvme_sim_cq_is_full(cq))
			nvme_sim_post(sim, cq, *cqe);
		return;
	default:
		return;
	}
}

void nvme_sim_end(struct nvme_sim *sim, unsigned index, uint16_t status, uint32_t dw0)
{
	struct nvme_sim_command command = sim->flight[index];
	struct nvme_sim_sq *sq = &sim->sqs[command.qid];
	struct nvme_sim_cq *cq = &sim->cqs[sq->cqid];
	struct nvme_cqe cqe = {
		.dw0 = dw0,
		.sq_head = (uint16_t)sq->head,
		.sq_id = (uint16_t)command.qid,
		.cid = command.sqe.cid,
		.status = status,
	};

	sim->flight[index] = sim->flight[--sim->flight_count];
	if (!sq->exists || !cq->exists)
		return;
	if (nvme_sim_cq_is_full(cq)) {
		nvme_sim_complain(sim, "finds a completion queue that is too small");
		return;
	}
	nvme_sim_spoil(sim, &command, cq, &cqe);
	if (!nvme_sim_cq_is_full(cq))
		nvme_sim_post(sim, cq, cqe);
}

/* True: it has ended, and the last in flight stands in its place. */
static bool nvme_sim_complete(struct nvme_sim *sim, unsigned index)
{
	struct nvme_sim_command *command = &sim->flight[index];
	uint16_t status = NVME_SC_SUCCESS;
	uint32_t dw0 = 0;

	switch (command->fault) {
	case NVME_SIM_LOSE:
	case NVME_SIM_KEEP:
		command->due_ns = UINT64_MAX;
		return false;
	case NVME_SIM_FATAL:
	case NVME_SIM_GONE:
		nvme_sim_do_locked(sim, command->fault);
		return false;
	default:
		break;
	}
	if (command->qid == 0 && command->fault != NVME_SIM_STATUS) {
		if (!nvme_sim_admin(sim, &command->sqe, &status, &dw0)) {
			command->due_ns = UINT64_MAX;
			return false;
		}
		index = nvme_sim_flight_find(sim, 0, command->sqe.cid); /* others may have ended */
	} else if (command->qid && (command->fault != NVME_SIM_STATUS || nvme_sim_random(sim, 2))) {
		status = nvme_sim_execute(sim, &command->sqe);
	}
	if (sim->flight[index].fault == NVME_SIM_STATUS)
		status = sim->order.status ? sim->order.status : sim->chance_status;
	nvme_sim_end(sim, index, status, dw0);
	return true;
}

unsigned nvme_sim_flight_find(const struct nvme_sim *sim, unsigned qid, uint16_t cid)
{
	unsigned i = 0;

	while (i < sim->flight_count &&
		(sim->flight[i].qid != qid || sim->flight[i].sqe.cid != cid))
		i++;
	return i;
}

uint64_t nvme_sim_complete_due(struct nvme_sim *sim, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (unsigned i = 0; i < sim->flight_count; /* below */) {
		if (sim->csts & NVME_CSTS_CFS || sim->gone)
			return UINT64_MAX;
		if (sim->flight[i].due_ns <= now_ns && nvme_sim_complete(sim, i)) {
			continue; /* another stands there now */
		}
		if (i < sim->flight_count)
			next_ns = u64_min(next_ns, sim->flight[i].due_ns);
		i++;
	}
	nvme_sim_deliver_events(sim);
	return next_ns;
}

/* ---- commands on a namespace -------------------------------------------- */

static uint16_t nvme_sim_range(struct nvme_sim *sim, const struct nvme_sim_namespace *ns,
	uint64_t lba, uint64_t blocks, uint8_t **ret_data)
{
	if (lba > ns->blocks || blocks > ns->blocks - lba)
		return NVME_SC_LBA_RANGE;
	*ret_data = ns->data + (lba << sim->options.block_shift);
	return NVME_SC_SUCCESS;
}

static void nvme_sim_check_limits(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, uint64_t lba, uint64_t blocks)
{
	uint64_t bytes = blocks << sim->options.block_shift;
	unsigned boundary = sim->options.boundary;

	if (sim->options.mdts && bytes > UINT64_C(4096) << sim->options.mdts)
		nvme_sim_complain(
			sim, "is to transfer %llu bytes at once", (unsigned long long)bytes);
	if (boundary && lba / boundary != (lba + blocks - 1) / boundary)
		nvme_sim_complain(sim, "is to cross a boundary");
}

static uint16_t nvme_sim_deallocate(
	struct nvme_sim *sim, const struct nvme_sim_namespace *ns, const struct nvme_sqe *sqe)
{
	struct nvme_dsm_range range;
	uint8_t *data;
	uint16_t status;

	if (sqe->cdw10 != 0 || sqe->cdw11 != NVME_DSM_DEALLOCATE)
		return NVME_SC_INVALID_FIELD;
	if (!nvme_sim_transfer(sim, sqe, &range, sizeof(range), false))
		return NVME_SC_TRANSFER_ERROR;
	status = nvme_sim_range(sim, ns, range.lba, range.blocks, &data);
	if (!status && nvme_sim_random(sim, 2)) /* it need not */
		memset(data, 0, (size_t)range.blocks << sim->options.block_shift);
	return status;
}

uint16_t nvme_sim_execute(struct nvme_sim *sim, const struct nvme_sqe *sqe)
{
	struct nvme_sim_namespace *ns =
		sqe->nsid - 1 < sim->options.namespaces ? &sim->namespaces[sqe->nsid - 1] : NULL;
	uint64_t lba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32;
	uint64_t blocks = (sqe->cdw12 & 0xffff) + UINT64_C(1);
	size_t bytes = (size_t)blocks << sim->options.block_shift;
	uint16_t status;
	uint8_t *data;

	if (!ns || !ns->attached)
		return NVME_SC_INVALID_NAMESPACE;
	if (sqe->opcode == NVME_FLUSH)
		return NVME_SC_SUCCESS;
	if (sqe->opcode == NVME_DSM)
		return nvme_sim_deallocate(sim, ns, sqe);
	status = nvme_sim_range(sim, ns, lba, blocks, &data);
	if (status)
		return status;
	switch (sqe->opcode) {
	case NVME_READ:
	case NVME_WRITE:
		nvme_sim_check_limits(sim, sqe, lba, blocks);
		if (!nvme_sim_transfer(sim, sqe, data, bytes, sqe->opcode == NVME_READ))
			return NVME_SC_TRANSFER_ERROR;
		return NVME_SC_SUCCESS;
	case NVME_WRITE_ZEROES:
		memset(data, 0, bytes);
		return NVME_SC_SUCCESS;
	default:
		return NVME_SC_INVALID_OPCODE;
	}
}
