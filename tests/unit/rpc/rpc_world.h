/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A server on a reactor of its own, methods to call, and clients that the test plays. On the
 * simulated host, scheduled by the seed, streams cut at random; or, when the test is run with the
 * argument "real", on the kernel.
 *
 * Methods (all take any state but "early" and "late"):
 *	echo{text? str, flag? bool=true, u16? u32? u64? i32? =7, choice? a|b, any_case? a|b, uuid?,
 *		any?}	its parameters as decoded
 *	need{x u32}	true; decode error of its own
 *	lenient{x? u32}	ignores unknown names
 *	none		true; takes no parameters
 *	fail{rc}	rpc_request_fail with a sentence
 *	delay{ms}	true after so long
 *	hold		answered by world_release
 *	blob{bytes}	a text so long
 *	explain{enabled}
 *	early, late	for STARTUP, for RUNTIME only
 */
#ifndef UNIT_RPC_RPC_WORLD_H
#define UNIT_RPC_RPC_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/server.h"
#include "sim/sim.h"

#define WORLD_HELD_MAX 4096

struct world {
	struct sim *sim; /* NULL on the kernel */
	struct os *os;
	struct reactor *reactor;
	struct rpc_server *server;
	char path[64];
	struct rpc_request *held[WORLD_HELD_MAX];
	_Atomic unsigned held_count;
	_Atomic unsigned executed; /* methods run */
	_Atomic unsigned executed_at_echo; /* of which before the last echo */
};

struct client {
	struct world *world;
	int fd;
	bool ended; /* the server has closed */
	char *text; /* received and not taken yet, with a NUL at the end */
	size_t len;
	size_t size;
};

/* "real" as the first argument. */
void world_select(int argc, char **argv);
bool world_is_simulated(void);

/* A server in RUNTIME that serves. */
void world_start(struct world *world, uint64_t seed);
/* Starts to stop; clients may still be open. */
void world_stop_server(struct world *world);
void world_end(struct world *world);
/* Runs fn on the reactor and waits. */
void world_call(struct world *world, void (*fn)(struct world *world, void *arg), void *arg);
void world_release(struct world *world);
void world_wait_executed(struct world *world, unsigned count);
void world_wait_held(struct world *world, unsigned count);
void world_sleep(struct world *world, uint64_t ns);

void client_open(struct world *world, struct client *client);
void client_close(struct client *client);
/* All of it, unless the server closes first. */
void client_send(struct client *client, const void *data, size_t len);
void client_say(struct client *client, const char *text);
/* No more will be sent. On the kernel only. */
void client_end_sending(struct client *client);
/* The next so many lines, in one text; "" for those that never come. Valid until the next call. */
const char *client_lines(struct client *client, unsigned count);
/* Everything until the server closes. */
const char *client_rest(struct client *client);
/* Whether the server says anything within 50 ms. */
bool client_hears_nothing(struct client *client);

/* Says text on a new connection and expects exactly these lines (with their newlines) and, if ends,
 * the end of the stream. */
void expect_exchange(struct world *world, const char *text, const char *lines, bool ends);

#endif
