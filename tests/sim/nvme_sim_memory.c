/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory as the controller sees it. I/O virtual addresses have nothing to do with our own but the
 * place in a page, and lie below 2^39, with gaps between mappings: who confuses the two, or goes
 * past an end, is caught.
 */
#include <errno.h>
#include <string.h>

#include "sim/nvme_sim_impl.h"

#define PAGE UINT64_C(4096)

int nvme_sim_dma_map(struct nvme_transport *transport, void *addr, size_t len, uint64_t *ret_iova)
{
	struct nvme_sim *sim = nvme_sim_of(transport);
	unsigned i = 0;

	SCOPED_LOCK(&sim->mutex);
	if (sim->fail_map && --sim->fail_map == 0)
		return -ENOMEM;
	if (((uintptr_t)addr | len) & (PAGE - 1) || len == 0)
		return -EINVAL;
	while (i < NVME_SIM_MAPPINGS && sim->mappings[i].len)
		i++;
	if (i == NVME_SIM_MAPPINGS)
		return -ENOSPC;
	sim->next_iova += PAGE * (1 + nvme_sim_random(sim, 4));
	sim->mappings[i] = (struct nvme_sim_mapping){addr, len, sim->next_iova};
	sim->counts.mapped++;
	*ret_iova = sim->next_iova;
	sim->next_iova += len;
	return 0;
}

void nvme_sim_dma_unmap(struct nvme_transport *transport, uint64_t iova, size_t len)
{
	struct nvme_sim *sim = nvme_sim_of(transport);

	SCOPED_LOCK(&sim->mutex);
	for (unsigned i = 0; i < NVME_SIM_MAPPINGS; i++) {
		struct nvme_sim_mapping *mapping = &sim->mappings[i];

		if (mapping->len == len && mapping->iova == iova) {
			mapping->len = 0;
			sim->counts.mapped--;
			return;
		}
	}
	nvme_sim_complain(sim, "unmaps what is not mapped");
}

void *nvme_sim_reach(struct nvme_sim *sim, uint64_t iova, size_t len)
{
	for (unsigned i = 0; i < NVME_SIM_MAPPINGS; i++) {
		unsigned index = (sim->mapping_hint + i) % NVME_SIM_MAPPINGS;
		const struct nvme_sim_mapping *mapping = &sim->mappings[index];

		if (iova - mapping->iova < mapping->len &&
			len <= mapping->len - (iova - mapping->iova)) {
			sim->mapping_hint = index;
			return mapping->addr + (iova - mapping->iova);
		}
	}
	nvme_sim_complain(
		sim, "touches memory at 0x%llx that is not mapped", (unsigned long long)iova);
	return NULL;
}

static bool nvme_sim_copy(struct nvme_sim *sim, uint64_t iova, void *buf, size_t len, bool to_host)
{
	void *host = nvme_sim_reach(sim, iova, len);

	if (!host)
		return false;
	if (to_host)
		memcpy(host, buf, len);
	else
		memcpy(buf, host, len);
	return true;
}

/* The PRP of the nth page behind the first. */
static uint64_t nvme_sim_prp(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, const uint64_t *list, unsigned n)
{
	uint64_t prp = list ? list[n] : sqe->prp2;

	if (prp & (PAGE - 1))
		nvme_sim_complain(sim, "is given PRP %u of 0x%llx, in the midst of a page", n + 2,
			(unsigned long long)prp);
	return prp;
}

bool nvme_sim_transfer(
	struct nvme_sim *sim, const struct nvme_sqe *sqe, void *buf, size_t len, bool to_host)
{
	size_t first = u64_min(len, PAGE - (sqe->prp1 & (PAGE - 1)));
	const uint64_t *list = NULL;
	uint8_t *at = buf;

	if (sqe->prp1 & 3)
		nvme_sim_complain(sim, "is given an odd PRP1");
	if (!sim->bus_master)
		return false;
	if (!nvme_sim_copy(sim, sqe->prp1, at, first, to_host))
		return false;
	at += first;
	len -= first;
	if (len > PAGE) {
		unsigned entries = (unsigned)((len + PAGE - 1) / PAGE);

		if ((sqe->prp2 & 7) || (sqe->prp2 & (PAGE - 1)) + entries * 8 > PAGE)
			nvme_sim_complain(sim, "is given a PRP list that leaves its page");
		list = nvme_sim_reach(sim, sqe->prp2, entries * sizeof(*list));
		if (!list)
			return false;
	}
	for (unsigned n = 0; len > 0; n++) {
		size_t part = u64_min(len, PAGE);

		if (!nvme_sim_copy(sim, nvme_sim_prp(sim, sqe, list, n), at, part, to_host))
			return false;
		at += part;
		len -= part;
	}
	return true;
}
