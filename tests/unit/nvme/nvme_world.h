/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver with its simulated controller, for the tests: a control reactor that owns the controller
 * and resets it when it breaks, two data reactors with a queue pair each, and load on these.
 *
 * Load: each worker has blocks of its own and a shadow of what they hold, and makes one request
 * after the other: any kind, length, alignment and number of buffers, checks what it reads, and
 * that each request ends once. What failed leaves its blocks unknown until they are written again.
 */
#ifndef UNIT_NVME_WORLD_H
#define UNIT_NVME_WORLD_H

#include "host.h"
#include "nvme/controller.h"
#include "nvme/qpair.h"
#include "sim/nvme_sim.h"

#define NVME_WORLD_REACTORS 2
#define NVME_WORLD_MEMORY   (4 * MIB)

struct nvme_load;

struct nvme_world {
	struct host host;
	struct reactor *control;
	struct reactor *data[NVME_WORLD_REACTORS];
	struct nvme_sim *sim; /* NULL: a real controller */
	struct nvme_transport *transport;
	struct nvme_options options;
	struct nvme_controller *controller;
	struct nvme_qpair *qpairs[NVME_WORLD_REACTORS];
	struct nvme_namespace ns; /* the first */
	uint8_t *memory; /* of guests, so to say */
	int memory_fd;
	atomic_uint broken;
	atomic_uint changed;
	atomic_uint resets; /* that have ended */
	atomic_int reset_rc; /* of the last */
	atomic_bool resetting;
	struct reason reason;
};

/* Controller and driver; options and sim options may be NULL. */
void nvme_world_start(struct nvme_world *world, uint64_t seed,
	const struct nvme_sim_options *sim_options, const struct nvme_options *options);
/* The same without queue pairs: what opening says. */
int nvme_world_try(struct nvme_world *world, uint64_t seed,
	const struct nvme_sim_options *sim_options, const struct nvme_options *options,
	void (*before)(struct nvme_sim *sim));
/* With a PCI function that is bound to vfio-pci, on the real kernel. */
void nvme_world_start_real(struct nvme_world *world, const char *address);
/* Closes queue pairs and controller. */
void nvme_world_let_go(struct nvme_world *world);
void nvme_world_end(struct nvme_world *world); /* also after a try that failed */

/* Operations on the control reactor, to their end. */
int nvme_world_qpair_open(struct nvme_world *world, unsigned reactor, struct nvme_qpair **ret);
int nvme_world_qpair_close(struct nvme_world *world, struct nvme_qpair *qpair);
int nvme_world_reset(struct nvme_world *world);
int nvme_world_scan(struct nvme_world *world);
int nvme_world_read_log(struct nvme_world *world, unsigned page, void *buf, unsigned bytes);
int nvme_world_memory(struct nvme_world *world, bool add);
bool nvme_world_is_settled(void *world); /* no reset is under way */

/* One request on the first queue pair, or another, and its status. */
int nvme_world_io(struct nvme_world *world, unsigned reactor, enum nvme_request_type type,
	unsigned flags, const struct iovec *iov, unsigned iovcnt, uint64_t offset, uint64_t length);

struct nvme_load_options {
	uint64_t seed;
	unsigned workers; /* of a queue pair */
	unsigned requests; /* of a queue pair */
	bool mapped; /* buffers in the world's memory; else in memory that is not mapped */
	bool aligned; /* buffers of whole pages only */
};

struct nvme_load *nvme_load_start(
	struct nvme_world *world, const struct nvme_load_options *options);
bool nvme_load_has_ended(void *load);
/* Waits; how many failed. */
unsigned nvme_load_finish(struct nvme_load *load);

#endif
