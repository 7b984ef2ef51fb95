/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of the driver:
 *
 *	vfio.c		a transport: a PCI function through the kernel's VFIO
 *	dma.c		memory that the controller may reach
 *	admin.c		the admin queue
 *	enable.c	registers: disable, enable, shut down
 *	identify.c	what the controller is, and features
 *	scan.c		what its namespaces are
 *	event.c		asynchronous events
 *	memory.c	other people's memory comes and goes
 *	controller.c	open, close, reset
 *	qpair.c		a queue pair on its reactor: requests, completions
 *	want.c		memory that is used and not mapped
 *	prp.c		the buffers of a command as PRPs; bounce pages
 *	qpair_open.c	a queue pair is made, ended, and taken through a reset
 *	alarm.c		commands that take too long
 */
#ifndef NVME_CONTROLLER_IMPL_H
#define NVME_CONTROLLER_IMPL_H

#include "base/bitmap.h"
#include "base/log.h"
#include "core/call.h"
#include "nvme/controller.h"
#include "nvme/dma.h"
#include "spec/nvme_pci.h"

#define NVME_ADMIN_ENTRIES 32u
#define NVME_ADMIN_SLOTS   16u /* with a page for data each */
#define NVME_EVENT_SLOTS   2u
#define NVME_QUEUES_MAX    1024u

/* ---- admin commands ------------------------------------------------------ */

/* Embedded in its owner's op, borrowed until done. rc is -EIO when the controller refused it;
 * cqe.status tells more. */
struct nvme_admin_command {
	struct nvme_sqe sqe; /* cid and prp1 are the queue's */
	void *data; /* gets what the controller answers */
	unsigned data_bytes; /* up to a page */
	struct nvme_cqe cqe;

	/* the queue's */
	struct list link;
	uint64_t deadline_ns;
	int rc;
	done_fn done;
	void *arg;
};

struct nvme_admin {
	struct nvme_area area;
	struct nvme_sqe *sq;
	struct nvme_cqe *cq;
	uint8_t *pages; /* one a slot */
	uint16_t tail;
	uint16_t head;
	uint16_t phase;
	bool running;
	struct nvme_admin_command *slots[NVME_ADMIN_SLOTS + NVME_EVENT_SLOTS];
	uint8_t generations[NVME_ADMIN_SLOTS + NVME_EVENT_SLOTS];
	struct list waiting;
	struct list ended; /* without the controller */
	struct deferred end;
	struct os_watch watch;
	struct timer timer;
};

/* ---- the controller ------------------------------------------------------ */

/* Waits for bits of CSTS. */
struct nvme_status_wait {
	struct timer timer;
	uint32_t mask;
	uint32_t value;
	uint64_t deadline_ns;
	done_fn done;
	void *arg;
};

struct nvme_event {
	struct flow flow;
	bool running;
	struct nvme_controller *controller;
	struct nvme_admin_command request;
	struct nvme_admin_command read;
	uint8_t log[NVME_IDENTIFY_BYTES];
};

struct nvme_controller {
	struct nvme_transport *transport;
	struct reactor *control;
	struct nvme_options options;
	const struct nvme_owner_ops *ops;
	void *owner;
	enum nvme_state state;
	bool break_again; /* during a reset */

	uint64_t cap;
	uint32_t version;
	struct nvme_identify_controller identity;
	bool write_cache;
	unsigned io_queues; /* granted */
	unsigned entries; /* of an I/O queue */
	uint32_t transfer_max; /* bytes of a command */

	struct nvme_namespace *namespaces;
	unsigned namespace_count;

	struct nvme_admin admin;
	struct nvme_event events[NVME_EVENT_SLOTS];
	struct nvme_status_wait wait;
	struct nvme_admin_command read_log;
	struct nvme_table *table;
	struct bitmap qids; /* in use; 0 is the admin queue's */
	struct list qpairs;
};

/* ---- admin.c ---- */

/* Enabled a moment ago; the area is there and cleared. */
void nvme_admin_start(struct nvme_controller *controller);
/* All commands end with rc, later. The controller may still write to the area. */
void nvme_admin_stop(struct nvme_controller *controller, int rc);
void nvme_admin_submit(struct nvme_controller *controller, struct nvme_admin_command *command,
	done_fn done, void *arg);
void nvme_admin_init(struct nvme_controller *controller);

/* ---- enable.c: -ETIMEDOUT, -ENODEV (gone), -EIO (fatal status) ---- */

void nvme_disable(struct nvme_controller *controller, done_fn done, void *arg);
/* Disabled; the admin queue runs at done(0). */
void nvme_enable(struct nvme_controller *controller, done_fn done, void *arg);
void nvme_shut_down(struct nvme_controller *controller, done_fn done, void *arg);
/* Reads the registers that say what it is; -ENODEV, -EOPNOTSUPP. */
int nvme_read_capabilities(struct nvme_controller *controller, struct reason *reason) MUST_CHECK;
bool nvme_is_gone(const struct nvme_controller *controller);

/* ---- identify.c ---- */

/* After nvme_enable: who it is, features, events. -ENODEV when it is not the one it was. */
void nvme_configure(
	struct nvme_controller *controller, struct reason *reason, done_fn done, void *arg);

void nvme_identify(struct nvme_controller *controller, struct nvme_admin_command *command,
	unsigned cns, uint32_t nsid, void *ret_data, done_fn done, void *arg);
void nvme_read_log(struct nvme_controller *controller, struct nvme_admin_command *command,
	unsigned page, void *buf, unsigned bytes, done_fn done, void *arg);

/* ---- event.c ---- */

void nvme_events_start(struct nvme_controller *controller);

/* ---- memory.c ---- */

/* All of the table, when no request is in flight. */
void nvme_tables_unmap(struct nvme_controller *controller, done_fn done, void *arg);

/* ---- controller.c ---- */

/* It does not do what it should: the admin queue stops; LIVE becomes BROKEN, and the owner is told.
 * Never from inside a call of controller.h. */
void nvme_controller_break(struct nvme_controller *controller, const char *what);

static inline uint32_t nvme_read32(const struct nvme_controller *controller, uint32_t reg)
{
	return controller->transport->ops->read32(controller->transport, reg);
}

static inline void nvme_write32(
	const struct nvme_controller *controller, uint32_t reg, uint32_t value)
{
	controller->transport->ops->write32(controller->transport, reg, value);
}

#endif
