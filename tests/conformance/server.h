/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real thing in the process of a test: the kernel's os, a control reactor and two data reactors
 * on their threads, one controller over a held_bdev, its socket in a directory of its own.
 */
#ifndef CONFORMANCE_SERVER_H
#define CONFORMANCE_SERVER_H

#include "conformance/held_bdev.h"
#include "frontend/frontend.h"
#include "vhost/controller.h"

#define SERVER_DATA_REACTORS 2
#define SERVER_DISK_BYTES    (16 * MIB)

struct server {
	struct os *os;
	struct os_ops os_ops; /* under the thread sanitizer */
	struct reactor *control;
	struct reactor *data[SERVER_DATA_REACTORS];
	struct bdev_registry *registry;
	struct vhost *vhost;
	struct vhost_controller *controller;
	struct held_bdev *disk;
	enum fe_bus bus;
	uint64_t drain_limit_ns; /* set before server_start_with */
	uint64_t overdue_limit_ns; /* the same */
	bool read_only;
	bool fails_when_full; /* blk */
	bool waits_for_space; /* scsi */
	char dir[32];
	char path[48];
};

/* The controller is "c"; a scsi controller has the disk as target 0. Every failure ends the test.
 */
void server_start(struct server *server, enum fe_bus bus);
/* The same with the members above set by the caller; the rest zero. */
void server_start_with(struct server *server, enum fe_bus bus);
void server_stop(struct server *server);

/* Runs fn on the control reactor and waits until it has returned. */
void server_call(struct server *server, void (*fn)(struct server *server, void *arg), void *arg);
/* Starts an operation on the control reactor and waits until it is done: its result. */
int server_await(struct server *server,
	void (*start)(struct server *server, void *arg, done_fn done, void *done_arg), void *arg);

/* A front-end with a running device; ends the test when it does not get there. */
struct fe *server_open(struct server *server);
struct fe *server_open_with(struct server *server, struct fe_options *options);
struct fe_options server_options(const struct server *server);
/* Connected, nothing sent. */
struct fe *server_connect(struct server *server);
/* Stops and destroys; ends the test when the stop fails. */
void server_close(struct fe *fe);

/* The disk goes while it is in use. */
void server_remove_disk(struct server *server);

/* Open descriptors of this process. */
unsigned count_fds(void);
/* Waits until condition(arg) is true: false after 5 seconds. */
bool await(bool (*condition)(void *arg), void *arg);
/* Is the session of the controller gone? */
bool server_is_idle(struct server *server);
bool server_await_idle(struct server *server);

/* Writes and reads back a pattern through the ring, one request at a time; asserts. */
void check_io(struct fe *fe, unsigned ring, unsigned requests);

/* Places and publishes one request; waits until it has ended and checks that it is the next one. */
void submit(struct fe *fe, unsigned ring, struct fe_io *io);
void finish(struct fe *fe, unsigned ring, struct fe_io *io);
/* Keeps up to depth blk reads and writes of random places in flight until total have ended, all
 * with status 0, and what is read is what was written last. */
void run_load(struct fe *fe, unsigned ring, unsigned total, unsigned depth, unsigned seed);

/* A memory region of the front-end; not announced. Returns its slot. */
uint32_t add_region(struct fe *fe, uint64_t gpa, uint64_t size);

/* Negotiated, with memory announced and rings created, but nothing started. */
struct fe *server_prepare(struct server *server, struct fe_options *options);

/* Sends the message with NEED_REPLY: its status. */
uint64_t ask(struct fe *fe, uint32_t id, const void *payload, uint32_t size, int fd);
/* Sends it without, and wants the connection to be closed. */
void assert_closed(struct fe *fe, uint32_t id, const void *payload, uint32_t size, int fd);

/* A checksum over all of the front-end's memory, to see that nobody writes to it. */
uint64_t memory_sum(const struct fe *fe);

#define assert_ok(fe, call)                                                                        \
	do {                                                                                       \
		int assert_ok_rc = (call);                                                         \
                                                                                                   \
		if (assert_ok_rc)                                                                  \
			fail_msg("%s: %d: %s", #call, assert_ok_rc, (fe)->conn.why);               \
	} while (0)

#endif
