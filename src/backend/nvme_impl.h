/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of NVMe drives:
 *
 *	nvme.c		a drive: attach, detach, resets, changes of namespaces
 *	nvme_bdev.c	a namespace as a block device
 *	nvme_memory.c	guests' memory that it reaches
 *	nvme_channel.c	a drive on a reactor: the queue pair that its namespaces share there
 */
#ifndef BACKEND_NVME_IMPL_H
#define BACKEND_NVME_IMPL_H

#include "backend/nvme.h"
#include "nvme/qpair.h"

struct nvme_drive {
	char *name;
	struct bdev_registry *registry;
	struct reactor *control;
	struct nvme_controller *controller;
	struct bdev_gate gate; /* operations on the controller, one at a time */
	struct list bdevs;
	struct list seats;
	struct list spans; /* of guests' memory: nvme_memory.c */
	struct list leavers;
	bool scan_asked;
	bool detaching;
	bool closing; /* the controller is, so it takes no operations any more */
	unsigned busy; /* operations that it has begun itself */
	done_fn idle; /* detach waits until there are neither those nor block devices */
	void *idle_arg;
	struct deferred idle_check;
};

struct nvme_bdev {
	struct bdev bdev;
	struct list link; /* drive's */
	struct nvme_drive *drive;
	struct nvme_namespace ns; /* constant but blocks */
	char *name;
	bool seen; /* by the scan under way */
	struct deferred destroy;
	done_fn destroyed;
	void *arg;
};

/* A drive on a reactor. */
struct nvme_seat {
	struct list link;
	struct reactor *reactor;
	struct nvme_qpair *qpair;
	unsigned users; /* channels */
};

struct nvme_channel {
	struct nvme_qpair *qpair;
	struct nvme_seat *seat;
};

static inline struct nvme_bdev *nvme_bdev_of(const struct bdev *bdev)
{
	return container_of(bdev, struct nvme_bdev, bdev);
}

static inline struct nvme_channel *nvme_channel_of(struct bdev_channel *channel)
{
	return (struct nvme_channel *)channel->backend;
}

/* Registers; what cannot be is logged. */
void nvme_bdev_create(struct nvme_drive *drive, const struct nvme_namespace *ns);
/* It has lost a block device or ended an operation of its own. */
void nvme_drive_check_idle(struct nvme_drive *drive);

/* Of nvme_owner_ops. */
void nvme_drive_unmapped(void *owner, const void *addr);
/* Of a drive that is closed: those that wait for it are ended by the second, when nobody finds the
 * drive any more. */
void nvme_drive_free_memory(struct nvme_drive *drive, struct list *ret_leavers);
void nvme_leavers_end(struct list *leavers);

void nvme_channel_prepare(struct bdev_channel *channel, done_fn done, void *arg);
void nvme_channel_release(struct bdev_channel *channel, done_fn done, void *arg);

#endif
