/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An NVMe controller that this process drives by itself. Everything here runs on the control
 * reactor; requests go through qpair.h on data reactors.
 *
 *	OPENING --enabled, looked at--> LIVE --answers no more, or wrongly--> BROKEN
 *	BROKEN, LIVE, DEAD --nvme_controller_reset--> RESETTING --> LIVE, or DEAD
 *	any but OPENING --nvme_controller_close--> CLOSING --> freed
 *
 * One operation at a time: the owner sees to that (bdev/gate.h), also for what owner ops ask for.
 *
 * Whatever happens, a request that a queue pair has taken is answered once, and not before the
 * controller can no longer touch its memory: after its completion, or after the controller was
 * disabled, or after it was cut off from memory (set_bus_master).
 */
#ifndef NVME_CONTROLLER_H
#define NVME_CONTROLLER_H

#include <uuid/uuid.h>

#include "core/flow.h"
#include "nvme/transport.h"
#include "spec/nvme.h"

struct nvme_controller;
struct nvme_qpair;

enum nvme_state {
	NVME_OPENING,
	NVME_LIVE,
	NVME_BROKEN, /* requests wait for a reset */
	NVME_RESETTING,
	NVME_DEAD, /* requests fail */
	NVME_CLOSING,
};

/* Called from anywhere on the control reactor but from inside a call of this header. */
struct nvme_owner_ops {
	/* Has become BROKEN: call nvme_controller_reset. */
	void (*broken)(void *owner);
	/* Namespaces have come, gone or changed: call nvme_controller_scan. */
	void (*changed)(void *owner);
	/* A request has buffers at addr, in memory that was not added, and was copied: the owner
	 * may call nvme_memory_add. Told now and then. Optional. */
	void (*unmapped)(void *owner, const void *addr);
};

enum nvme_timeout_action {
	NVME_TIMEOUT_ABORT, /* and, when that does not help, reset */
	NVME_TIMEOUT_RESET,
	NVME_TIMEOUT_NONE, /* wait for ever, unless the controller says that it failed or is gone */
};

struct nvme_options {
	uint64_t timeout_ns; /* of a request's command */
	uint64_t admin_timeout_ns;
	enum nvme_timeout_action action;
	unsigned retries; /* of a command that a reset or a passing error has ended */
	unsigned io_queues; /* at most so many */
};

#define NVME_OPTIONS_DEFAULT                                                                       \
	{                                                                                          \
		.timeout_ns = 30 * SEC_NS, .admin_timeout_ns = 30 * SEC_NS,                        \
		.action = NVME_TIMEOUT_ABORT, .retries = 3, .io_queues = 1024                      \
	}

/* A namespace as it was at the last scan. */
struct nvme_namespace {
	uint32_t nsid;
	uint64_t blocks;
	uint8_t block_shift;
	bool shared; /* other controllers may have it as well */
	bool zeroes_deallocate; /* WRITE ZEROES may */
	uint32_t boundary; /* blocks: commands do not cross a multiple; 0: none */
	uint32_t atomic_blocks; /* of a write through a power failure */
	uuid_t uuid; /* from UUID, NGUID or EUI64; null: it has none */
	const char *problem; /* why it cannot be used, or NULL */
};

/* Takes the transport over, closes it when this fails. -ENODEV, -ETIMEDOUT, -EIO, -EOPNOTSUPP.
 * *ret_controller is set before done(0): LIVE and scanned. */
void nvme_controller_open(struct nvme_transport *transport, struct reactor *control,
	const struct nvme_options *options, const struct nvme_owner_ops *ops, void *owner,
	struct reason *reason, struct nvme_controller **ret_controller, done_fn done, void *arg);
/* Tells the controller to shut down, frees it. All queue pairs are closed. */
void nvme_controller_close(struct nvme_controller *controller, done_fn done, void *arg);
/* Disables and enables it again. Requests in flight are repeated or, when they have been repeated
 * too often or this fails, end with -EIO; with -ENODEV when the controller is gone. */
void nvme_controller_reset(
	struct nvme_controller *controller, struct reason *reason, done_fn done, void *arg);
/* Looks at all namespaces anew. */
void nvme_controller_scan(struct nvme_controller *controller, done_fn done, void *arg);
/* Up to 4096 bytes of a log page. */
void nvme_controller_read_log(struct nvme_controller *controller, unsigned page, void *buf,
	unsigned bytes, done_fn done, void *arg);

/* Memory that requests' buffers are in, whole pages: without this they are copied. On failure
 * nothing has changed. */
void nvme_memory_add(
	struct nvme_controller *controller, void *addr, size_t len, done_fn done, void *arg);
/* What begins at addr, if it was added; no request in flight has buffers there. Cannot fail. */
void nvme_memory_remove(struct nvme_controller *controller, void *addr, done_fn done, void *arg);

/* A queue pair for that reactor; -ENOSPC when the controller has no more. */
void nvme_qpair_open(struct nvme_controller *controller, struct reactor *reactor,
	struct nvme_qpair **ret_qpair, done_fn done, void *arg);
/* No request is in it. */
void nvme_qpair_close(struct nvme_qpair *qpair, done_fn done, void *arg);

enum nvme_state nvme_controller_state(const struct nvme_controller *controller);
struct nvme_transport *nvme_controller_transport(const struct nvme_controller *controller);
const struct nvme_identify_controller *nvme_controller_identity(
	const struct nvme_controller *controller);
uint32_t nvme_controller_version(const struct nvme_controller *controller); /* NVME_REG_VS */
/* In order of their ids; valid until the next scan or close. */
const struct nvme_namespace *nvme_controller_namespaces(
	const struct nvme_controller *controller, unsigned *ret_count);

#endif
