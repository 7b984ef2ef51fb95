/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All drives of the daemon, by name, and the kinds of transport that they are reached through: a
 * table, so that another kind is one more entry. Control reactor.
 *
 *	attach		a worker opens the transport, the controller is opened (backend/nvme.h)
 *	ATTACHED	there, or gone as a device and still here as a name
 *	detach		its block devices go, then the drive
 *
 * From the beginning of attach to the end of detach its name and its address are taken.
 */
#ifndef BACKEND_NVME_DRIVES_H
#define BACKEND_NVME_DRIVES_H

#include "backend/nvme.h"

struct nvme_kind {
	const char *type; /* "PCIe": trtype of RPC, compared without regard to case */
	/* On a worker; *ret_transport is closed by its ops. */
	int (*open)(struct os *os, const char *address, struct reason *reason,
		struct nvme_transport **ret_transport);
};

extern const struct nvme_kind nvme_kinds_real[]; /* ends with one without type */

struct nvme_drives;

/* kinds is borrowed. */
struct nvme_drives *nvme_drives_create(
	struct os *os, struct bdev_registry *registry, const struct nvme_kind *kinds);
/* All are detached; nothing is being attached. */
void nvme_drives_close(struct nvme_drives *drives, done_fn done, void *arg);
void nvme_drives_destroy(struct nvme_drives *drives); /* closed; NULL is allowed */

const struct nvme_kind *nvme_drives_kind(const struct nvme_drives *drives, const char *type);

enum nvme_attachment_state { NVME_ATTACHING, NVME_ATTACHED, NVME_DETACHING };

/* A drive's place in the list. */
struct nvme_attachment {
	struct list link;
	struct nvme_drives *drives;
	char *name;
	char *address;
	const struct nvme_kind *kind;
	struct nvme_options options;
	enum nvme_attachment_state state;
	struct nvme_drive *drive; /* unless ATTACHING */
};

/* NULL: none of that name. */
struct nvme_attachment *nvme_drives_find(struct nvme_drives *drives, const char *name);
void nvme_drives_for_each(struct nvme_drives *drives,
	void (*fn)(struct nvme_attachment *attachment, void *arg), void *arg);
bool nvme_drives_is_empty(const struct nvme_drives *drives);

/* What is passed is copied, reason is borrowed. -EALREADY: name or address is taken; else what
 * kind's open and nvme_drive_attach say. *ret_attachment is set before done(0). */
void nvme_drives_attach(struct nvme_drives *drives, const struct nvme_kind *kind, const char *name,
	const char *address, const struct nvme_options *options, struct reason *reason,
	struct nvme_attachment **ret_attachment, done_fn done, void *arg);
/* ATTACHED becomes DETACHING at once; at done it is freed. */
void nvme_drives_detach(struct nvme_attachment *attachment, done_fn done, void *arg);

#endif
