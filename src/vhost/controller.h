/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Named vhost-user controllers: a socket in the vhost directory, a device model behind it, one
 * front-end at a time in front. What RPC and the command line manage. Control reactor.
 */
#ifndef VHOST_CONTROLLER_H
#define VHOST_CONTROLLER_H

#include "bdev/bdev.h"

struct scsi_store;
struct vhost; /* all controllers of the daemon */
struct vhost_controller;

/* Who owns the connections of front-ends instead of this process (docs/keeper.md). */
struct vhost_keeper {
	/* The connection of a session that a process before this one had with the controller of
	 * that name; -1: none. */
	int (*take)(void *arg, const char *name);
	/* A front-end has connected: what to talk to instead, or -errno. The descriptor is taken
	 * over only if it succeeds. */
	int (*give)(void *arg, const char *name, unsigned queues, int fd);
	void *arg;
};

struct vhost_options {
	struct os *os;
	struct reactor *control;
	struct reactor **data_reactors; /* borrowed for the life of vhost */
	unsigned data_reactor_count;
	struct bdev_registry *registry;
	const char *socket_dir; /* "" : current directory */
	/* Where SCSI reservations are kept; borrowed for the life of vhost. NULL: nowhere. */
	const char *state_dir;
	struct scsi_store *scsi_store; /* what SCSI disks save; NULL: nothing; borrowed */
	/* A front-end is disconnected when a message takes longer, such as GET_VRING_BASE while the
	 * storage does not answer. 0: 30 seconds. */
	uint64_t drain_limit_ns;
	uint64_t overdue_limit_ns; /* older requests are named in the log; 0: 30 seconds */
	uint64_t guest_memory_max_bytes; /* of one front-end; 0: 64 TiB */
	const struct vhost_keeper *keeper; /* NULL: nobody; borrowed for the life of vhost */
};

int vhost_create(const struct vhost_options *options, struct reason *reason,
	struct vhost **ret_vhost) MUST_CHECK;
/* Disconnects all front-ends, removes all controllers and their sockets. */
void vhost_destroy(struct vhost *vhost, done_fn done, void *arg);

enum vhost_kind { VHOST_BLK, VHOST_SCSI };

#define VHOST_SCSI_TARGETS_MAX 256
#define VHOST_SCSI_LUNS_MAX    16384 /* of a target */
#define VHOST_SCSI_LUN_UNSAID  (-1)

/* The error codes are those that rpc.md 11.1 gives texts for: -EEXIST name taken, -ENODEV no such
 * device, -EPERM claimed by another, -EINVAL mask, -EIO socket cannot be created. cpus: which data
 * reactors may serve it, NULL: all. */
struct vhost_blk_options {
	const char *name;
	const char *bdev_name;
	bool read_only;
	bool fails_when_full; /* else what finds no space waits until there is some */
	const struct cpu_set *cpus;
};

int vhost_blk_create(struct vhost *vhost, const struct vhost_blk_options *options,
	struct reason *reason, struct vhost_controller **ret_controller) MUST_CHECK;

struct vhost_scsi_options {
	const char *name;
	bool delay; /* no socket until vhost_scsi_start */
	bool waits_for_space; /* else a command that finds none ends with the status for it */
	const struct cpu_set *cpus;
};

int vhost_scsi_create(struct vhost *vhost, const struct vhost_scsi_options *options,
	struct reason *reason, struct vhost_controller **ret_controller) MUST_CHECK;
/* Idempotent; -EINVAL on a blk controller. */
int vhost_scsi_start(struct vhost_controller *controller, struct reason *reason) MUST_CHECK;

/* target -1: the lowest free of the first 8. lun UNSAID: LUN 0 of a target that is not in use;
 * otherwise a target that is in use gets one more. -EEXIST used, -ENOSPC all used, -EINVAL number
 * or device. Guests are told by an event. done gets the target number or -errno. */
void vhost_scsi_add_target(struct vhost_controller *controller, int target, int lun,
	const char *bdev_name, struct reason *reason, done_fn done, void *arg);
/* The same with more to say; options are borrowed until the call returns. */
struct vhost_scsi_lun_options {
	int target;
	int lun;
	const char *bdev_name;
	bool read_only; /* also when the block device is not */
	bool removable; /* a medium that the guest can eject; -EINVAL if it is not so elsewhere */
	bool short_cdbs; /* no commands of more than 16 bytes */
};

void vhost_scsi_add_lun(struct vhost_controller *controller,
	const struct vhost_scsi_lun_options *options, struct reason *reason, done_fn done,
	void *arg);
/* lun UNSAID: the whole target, which otherwise goes with its last LUN. Done when the guest's
 * commands have ended and the device is closed. -EBUSY: nothing there, or being added or removed
 * already. */
void vhost_scsi_remove_target(struct vhost_controller *controller, unsigned target, int lun,
	struct reason *reason, done_fn done, void *arg);

/* By hand: the data reactor on that CPU (as framework_get_reactors numbers them) serves the queue,
 * now and whenever it starts; it is not moved by load any more. cpu -1: no longer by hand. A queue
 * that runs is moved live. -EINVAL: no such queue, or no such CPU among the controller's; -EBUSY:
 * its requests did not end in time, or the guest is changing its queues; all is as it was. */
void vhost_controller_place_queue(struct vhost_controller *controller, unsigned queue, int cpu,
	struct reason *reason, done_fn done, void *arg);

struct vhost_queue_info {
	unsigned queue;
	bool running; /* else the place it will have is known only when it is pinned */
	bool pinned; /* by hand */
	bool moving;
	int cpu; /* -1: not known yet */
	unsigned size;
	unsigned in_flight;
	unsigned postponed; /* wait for space; not in in_flight */
	uint64_t requests; /* since it started */
	uint64_t bytes;
	uint64_t moves; /* in this connection */
};

/* Interrupt coalescing of all its queues, now and later; delay_base_us 0: none. -EINVAL: a
 * threshold below 100, a delay above 4 s. */
#define VHOST_IOPS_THRESHOLD_DEFAULT 60000
int vhost_controller_set_coalescing(struct vhost_controller *controller, uint32_t delay_base_us,
	uint32_t iops_threshold, struct reason *reason) MUST_CHECK;

/* Queues that a front-end has set up, and those placed by hand. */
void vhost_controller_for_each_queue(struct vhost_controller *controller,
	void (*fn)(const struct vhost_queue_info *info, void *arg), void *arg);

/* A connected front-end is disconnected (documented choice, rpc.md 14.5). Done when all is gone. */
void vhost_controller_delete(struct vhost_controller *controller, done_fn done, void *arg);

struct vhost_controller *vhost_controller_find(struct vhost *vhost, const char *name);
/* Sorted by name. */
void vhost_controller_for_each(
	struct vhost *vhost, void (*fn)(struct vhost_controller *controller, void *arg), void *arg);

/* Valid until it is deleted. */
const char *vhost_controller_name(const struct vhost_controller *controller);

struct vhost_session_info {
	unsigned vid; /* process-wide connection number */
	unsigned id; /* per controller */
	bool started;
	unsigned max_queues;
	unsigned in_flight;
};

struct vhost_controller_info {
	const char *name;
	enum vhost_kind kind;
	const char *socket_path;
	const struct cpu_set *cpus; /* NULL: all */
	uint32_t delay_base_us;
	uint32_t iops_threshold;
	bool waits_for_space; /* what finds none */
	bool read_only; /* blk */
	const char *bdev_name; /* blk; NULL after hot removal */
	bool delayed; /* scsi, not started */
	bool connected;
	struct vhost_session_info session; /* valid when connected */
};

/* Pointers are valid until the control reactor runs something else. */
void vhost_controller_get_info(
	const struct vhost_controller *controller, struct vhost_controller_info *ret_info);

struct vhost_lun_info {
	unsigned target;
	unsigned device_id; /* of the target: process-wide scsi device number */
	unsigned lun;
	const char *bdev_name;
	bool read_only; /* beyond what the block device is */
	bool removable;
	bool short_cdbs;
};

/* Of a scsi controller, by target and LUN; of a blk controller there are none. */
void vhost_scsi_for_each_lun(const struct vhost_controller *controller,
	void (*fn)(const struct vhost_lun_info *info, void *arg), void *arg);

#endif
