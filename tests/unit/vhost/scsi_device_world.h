/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio-scsi device with its rings on the simulated host: the test plays the session (device.h)
 * on one side and the driver (frontend/) on the other. No socket.
 */
#ifndef UNIT_VHOST_SCSI_DEVICE_WORLD_H
#define UNIT_VHOST_SCSI_DEVICE_WORLD_H

#include "disk.h"
#include "frontend/scsi.h"
#include "spec/virtio_ring.h"
#include "spec/virtio_scsi.h"
#include "vhost/scsi_device.h"

#define DW_RINGS         5 /* control, event, three of requests */
#define DW_DISKS         3
#define DW_EVENT_BUFFERS 64

struct device_ring {
	struct fe_ring *driver;
	struct virtqueue *vq; /* NULL: does not run */
	const struct virtqueue_ops *ops;
	void *context;
	unsigned reactor;
	int kick_fd;
};

struct device_world {
	struct world world;
	struct fe_memory memory;
	struct guest_memory *table;
	struct disk disks[DW_DISKS];
	struct vhost_device *device;
	const char *state_dir; /* or NULL */
	struct device_ring rings[DW_RINGS];
	uint64_t features;
	bool claimed;
	bool removable; /* the medium of what is added from now on */
	struct fe_scsi_event *buffers[DW_EVENT_BUFFERS]; /* that the event ring has had */
	unsigned buffer_count;
};

void dw_start(struct device_world *dw, uint64_t seed);
/* The same with a folder for what outlives the device. */
void dw_start_with_state(struct device_world *dw, uint64_t seed);
void dw_end(struct device_world *dw);

/* What the session does. */
void dw_session_begin(struct device_world *dw);
void dw_session_end(struct device_world *dw);
void dw_reset(struct device_world *dw);
void dw_claim(struct device_world *dw);
void dw_release(struct device_world *dw);
void dw_ring_run(struct device_world *dw, unsigned ring, unsigned reactor);
void dw_ring_halt(struct device_world *dw, unsigned ring);
/* Claims, and runs all rings: 0, 1 and 2 on reactor 0, 3 on 1, 4 on 2. */
void dw_run_all(struct device_world *dw);
void dw_halt_all(struct device_world *dw);

/* The rings first, then the session. */
void dw_end_session(struct device_world *dw);

/* What the control interface does. */
struct target_call {
	struct world_call call;
	struct device_world *dw;
	unsigned target;
	int lun;
	unsigned disk;
	struct scsi_device_lun_options options;
	struct reason reason;
	bool begun;
};

void dw_add_begin(
	struct device_world *dw, struct target_call *op, unsigned target, int lun, unsigned disk);
void dw_remove_begin(struct device_world *dw, struct target_call *op, unsigned target, int lun);
bool dw_call_has_ended(const struct target_call *op);
int dw_call_finish(struct target_call *op);
int dw_add_lun(struct device_world *dw, unsigned target, int lun, unsigned disk);
int dw_remove_lun(struct device_world *dw, unsigned target, int lun);
/* Without a LUN. */
int dw_add(struct device_world *dw, unsigned target, unsigned disk);
int dw_remove(struct device_world *dw, unsigned target);
void dw_disk_start(struct device_world *dw, unsigned disk);

/* What the driver does. Kicks go over simulated eventfds. */
void dw_publish(struct device_world *dw, unsigned ring);
void dw_submit(struct device_world *dw, unsigned ring, struct fe_io *io);
/* Takes what has ended; waits until this one has. */
void dw_finish(struct device_world *dw, unsigned ring, struct fe_io *io);
void dw_run(struct device_world *dw, unsigned ring, struct fe_io *io);
/* TEST UNIT READY or INQUIRY: response, and in the upper bytes the sense. */
uint32_t dw_probe_lun(
	struct device_world *dw, unsigned ring, uint8_t opcode, uint8_t target, uint16_t lun);
uint32_t dw_probe(struct device_world *dw, unsigned ring, uint8_t opcode, uint8_t target);
/* Task management functions; their answers. */
uint8_t dw_tmf_lun(struct device_world *dw, uint32_t subtype, uint8_t target, uint16_t lun);
uint8_t dw_tmf(struct device_world *dw, uint32_t subtype, uint8_t target, uint64_t tag);

struct dw_tmf {
	struct fe_tmf request;
	uint8_t response;
	struct fe_io io;
};

void dw_tmf_begin(struct device_world *dw, struct dw_tmf *tmf, uint32_t subtype, uint8_t target,
	uint16_t lun, uint64_t tag);

/* Buffers for events, published. */
void dw_post_buffers(struct device_world *dw, unsigned count);
/* The next event is this one; lun as it is encoded. */
void dw_wants_event(
	struct device_world *dw, uint32_t event, uint32_t reason, uint8_t target, uint16_t lun);
void dw_wants_no_event(struct device_world *dw);

#endif
