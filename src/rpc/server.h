/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The JSON-RPC 2.0 server: a Unix socket, its clients, and a registry of methods. It knows no
 * method itself (method.h is what methods see). Runs on the control reactor alone.
 *
 * Life: create -> register -> listen -> serve -> stop (done when every request has been answered)
 * -> destroy. Listening and serving are two steps: without --wait-for-rpc the socket is there
 * early, and who connects early is answered when the daemon is ready.
 *
 * What a client may rely on is in docs/rpc/transport.md. In short: 64 clients are served at once,
 * later ones wait; requests are started in order and answered when they are done; what a client
 * does not read stops only that client.
 *
 * Methods that change the configuration have a keeper, if there is one: who does not want a change
 * refuses it before the method has run; who has taken it keeps it before the client is answered.
 */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include "core/flow.h"
#include "rpc/method.h"

struct rpc_server;

struct rpc_keeper {
	/* 0, or -errno and why nothing can be kept: the method does not run. */
	int (*admit)(void *arg, struct reason *reason);
	/* The method has succeeded. done when what it has changed is kept; reason is borrowed until
	 * then. A failure is the method's answer, though what it did is done. */
	void (*keep)(void *arg, struct reason *reason, done_fn done, void *done_arg);
	void *arg;
};

int rpc_server_create(struct reactor *control, struct rpc_server **ret_server) MUST_CHECK;
/* Stopped, or never served; the reactor does not run any more. Removes socket and lock file. May
 * block. */
void rpc_server_destroy(struct rpc_server *server);

/* methods is borrowed for the server's life and ends with an entry without name. context is what
 * run gets. Names are unique. */
int rpc_server_register(
	struct rpc_server *server, const struct rpc_method *methods, void *context) MUST_CHECK;
/* keeper is borrowed for the server's life; NULL: nothing is kept. */
void rpc_server_set_keeper(struct rpc_server *server, const struct rpc_keeper *keeper);
/* Only methods on this comma-separated list exist for clients from now on: the others are not
 * found. */
int rpc_server_allow(
	struct rpc_server *server, const char *names, struct reason *reason) MUST_CHECK;

/* Takes path.lock and makes the socket; a socket left by a dead process is replaced. -EBUSY when a
 * living one has it, -ENAMETOOLONG. May block: at the start of the process only. */
int rpc_server_listen(
	struct rpc_server *server, const char *path, struct reason *reason) MUST_CHECK;
/* Clients are accepted from now on. Control reactor. */
void rpc_server_serve(struct rpc_server *server);
/* Takes no more clients nor requests, waits for the answers that are due, closes. */
void rpc_server_stop(struct rpc_server *server, done_fn done, void *arg);

void rpc_server_set_state(struct rpc_server *server, enum rpc_state state);
enum rpc_state rpc_server_state(const struct rpc_server *server);

/* In alphabetical order; current: only those that may be called in the present state. */
void rpc_server_for_each_method(struct rpc_server *server, bool current,
	void (*fn)(const struct rpc_method *method, void *arg), void *arg);

/* ---- calls by the daemon itself ---------------------------------------------------------- */

/* Embedded in the caller's op; borrowed until done. */
struct rpc_call {
	const char *method;
	json_t *params; /* borrowed; NULL: none */

	/* what came of it, when done */
	int code; /* 0, or the code of the error that a client would have had */
	char text[128]; /* its text */
	struct reason reason; /* its sentence, or empty */
	json_t *result; /* of success; a reference that is the caller's */

	/* the server's */
	struct deferred answered;
	done_fn done;
	void *arg;
};

/* Runs the method as if a client had called it, but for the keeper, which is not asked, and the
 * list of those allowed. done gets 0 or -EREMOTEIO: code, text and reason tell more. */
void rpc_server_call(struct rpc_server *server, struct rpc_call *call, done_fn done, void *arg);
/* The states that a method of that name may be called in; 0: there is none. */
unsigned rpc_server_method_states(const struct rpc_server *server, const char *name);

#endif
