/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The whole control plane on the simulated host: a control and a data reactor, the registry, the
 * vhost controllers, the RPC server with all methods, and one client that calls them.
 */
#ifndef UNIT_CONTROL_CONTROL_WORLD_H
#define UNIT_CONTROL_CONTROL_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/control.h"
#include "sim/sim.h"

struct world {
	struct sim *sim;
	struct os *os;
	struct reactor *control;
	struct reactor *data[1];
	struct bdev_registry *registry;
	struct nvme_drives *drives;
	struct filters *filters;
	struct lvols *lvols;
	struct vhost *vhost;
	struct rpc_server *rpc;
	struct control *methods;
	int fd;
	char received[1 << 20];
	size_t len;
	struct message message;
	struct flow stop;
	struct bdev *last;
	bool wait_for_rpc;
	json_t *config; /* applied at the start; NULL: none */
	enum config_failure on_failure;
	int start_rc; /* of the start */
	int failed_rc; /* what framework_start_init was told to end for */
	struct reason reason;
	bool done;
};

/* wait_for_rpc: in STARTUP. */
struct world *world_start(bool wait_for_rpc);
/* The next worlds have drives of these kinds, borrowed; ended is called when a world has let them
 * go. */
void world_set_drives(const struct nvme_kind *kinds, void (*ended)(void));
/* Applies what these entries say; the outcome is in start_rc. Without success there are no clients:
 * world_end is all that may follow. */
struct world *world_start_configured(
	const char *config, enum config_failure on_failure, bool wait_for_rpc);
/* Removes everything and checks that nothing is left. */
void world_end(struct world *world);

/* Calls and gives the answer's members behind the id: "\"result\":true". Valid until the next. */
const char *world_call(struct world *world, const char *method, const char *params);
/* Without waiting for the answer, and the next answer. */
void world_say(struct world *world, const char *method, const char *params);
const char *world_hear(struct world *world);
bool world_hears_nothing(struct world *world);

struct exchange {
	const char *method;
	const char *params;
	const char *answer; /* members behind the id */
};

/* One after the other on one world. */
void expect_exchanges(struct world *world, const struct exchange *exchanges, size_t count);

#define EXPECT(world, exchanges)                                                                   \
	expect_exchanges(world, exchanges, sizeof(exchanges) / sizeof((exchanges)[0]))

#define TRUE_RESULT       "\"result\":true"
#define ERROR(code, text) "\"error\":{\"code\":" #code ",\"message\":\"" text "\"}"
#define NO_DEVICE         ERROR(-19, "No such device")
#define EXISTS            ERROR(-17, "File exists")
#define INVALID           ERROR(-22, "Invalid argument")
#define DECODE            ERROR(-32603, "spdk_json_decode_object failed")

#endif
