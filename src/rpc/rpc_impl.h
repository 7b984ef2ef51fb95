/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who owns what inside the server (control reactor only):
 *
 *	server --owns--> connections --own--> buffers, the batch being read
 *	server --lists-> requests (being executed) --point to--> batch, connection (NULL: gone)
 *
 * A request outlives its client: when a connection closes, its requests are cut loose and their
 * answers dropped. A batch belongs to its requests and, while it is being read, to its connection;
 * the last one frees it.
 */
#ifndef RPC_RPC_IMPL_H
#define RPC_RPC_IMPL_H

#include "rpc/json_scan.h"
#include "rpc/server.h"

#define RPC_REQUEST_MAX   262144 /* bytes of one request */
#define RPC_ANSWER_MAX    (32 * MIB) /* bytes of one answer, or of all in one batch */
#define RPC_CLIENTS_MAX   64 /* served at once */
#define RPC_PENDING_MAX   256 /* requests of one client being executed */
#define RPC_UNREAD_MAX    (256 * KIB) /* answers a client has not read before it is held up */
#define RPC_TURN_REQUESTS 32 /* of one client in one turn of the reactor */
#define RPC_RECEIVE_BYTES 16384 /* read from one client at once */

/* ---- buffer.c ---------------------------------------------------------------------------- */

/* Bytes from start to end are there; memory is given back when it is empty. */
struct rpc_buffer {
	char *data;
	size_t start;
	size_t end;
	size_t size;
};

static inline size_t rpc_buffer_len(const struct rpc_buffer *buffer)
{
	return buffer->end - buffer->start;
}

static inline const char *rpc_buffer_head(const struct rpc_buffer *buffer)
{
	return buffer->data + buffer->start;
}

/* Room for len more bytes at the end, NULL without memory; rpc_buffer_extend makes them count. */
char *rpc_buffer_reserve(struct rpc_buffer *buffer, size_t len);
void rpc_buffer_extend(struct rpc_buffer *buffer, size_t len);
int rpc_buffer_append(struct rpc_buffer *buffer, const char *data, size_t len);
void rpc_buffer_consume(struct rpc_buffer *buffer, size_t len);
void rpc_buffer_clear(struct rpc_buffer *buffer);

/* ---- envelope.c -------------------------------------------------------------------------- */

/* A request object taken apart. Everything is owned; error.text is NULL when it is in order. */
struct rpc_envelope {
	char *id; /* JSON text to echo; NULL: absent or null, a notification */
	json_t *method; /* string */
	json_t *params; /* NULL: absent or null */
	bool params_broken; /* duplicate names, NUL in strings, numbers out of range */
	struct rpc_error error;
};

/* value is one that json_scan has accepted. -ENOMEM, or 0 with everything else in *envelope. */
int rpc_envelope_read(struct json_span value, struct rpc_envelope *envelope);
void rpc_envelope_fini(struct rpc_envelope *envelope);

/* ---- params.c ---------------------------------------------------------------------------- */

/* Decodes into the struct at target (params_size bytes). -EINVAL and which one does not fit. */
int rpc_params_decode(
	const struct rpc_method *method, const json_t *params, void *target, struct reason *reason);

/* ---- request.c --------------------------------------------------------------------------- */

struct rpc_connection;

struct rpc_batch {
	struct rpc_connection *connection; /* NULL: gone */
	struct rpc_buffer text; /* the request's, until all elements have started */
	struct json_walk walk;
	struct rpc_buffer answers; /* "[..,..": without the closing bracket */
	unsigned pending; /* requests being executed, and 1 while it is being read */
};

struct rpc_request {
	struct rpc_server *server;
	struct rpc_connection *connection; /* NULL: the client has gone */
	struct rpc_batch *batch; /* NULL: alone */
	struct rpc_call *call; /* by the daemon itself; NULL: by a client */
	struct rpc_envelope envelope;
	const struct rpc_method *method; /* NULL: not found, or not a request */
	struct list link; /* connection's requests */
	json_t *result; /* while it is being kept */
	struct reason reason; /* of keeping */
	uint64_t params[]; /* aligned for any member of a method's struct */
};

/* Starts one request of a connection; its answer goes to the batch if there is one. */
int rpc_request_start(
	struct rpc_connection *connection, struct rpc_batch *batch, struct json_span value);
/* An error that belongs to no request: {"jsonrpc":"2.0","id":null,"error":...}. */
int rpc_error_append(struct rpc_buffer *buffer, const struct rpc_error *error);
void rpc_batch_put(struct rpc_batch *batch);
/* Its method, or what is to be answered when there is none. */
void rpc_request_run(struct rpc_request *request, void *context);

/* ---- call.c ------------------------------------------------------------------------------ */

void rpc_call_fail(struct rpc_call *call, int code, const char *text, const char *sentence);
void rpc_call_answered(struct rpc_server *server, struct rpc_call *call);

/* ---- connection.c ------------------------------------------------------------------------ */

enum rpc_connection_state {
	RPC_CONNECTION_OPEN,
	RPC_CONNECTION_ENDING, /* nothing is read any more; what is due is executed and answered */
	RPC_CONNECTION_BROKEN, /* closed as soon as it is its turn */
};

struct rpc_connection {
	struct rpc_server *server;
	struct list link; /* server's connections */
	struct list active; /* server's active list */
	enum rpc_connection_state state;
	int fd;
	struct os_watch readable;
	struct os_watch writable;
	bool may_read; /* the watch said so */
	struct rpc_buffer in;
	struct json_scan scan;
	size_t scanned; /* bytes of in that scan has seen; 0: no value has begun */
	bool answered; /* the number at top level has already been refused */
	bool parse_error; /* to be told when everything else has been answered */
	bool explain; /* errors carry their sentence */
	struct rpc_batch *batch; /* being read */
	struct list requests;
	unsigned pending; /* length of requests */
	struct rpc_buffer out;
};

/* Joins the list; fd is the caller's again when it fails. */
int rpc_connection_create(struct rpc_server *server, struct list *connections, int fd);
/* One turn's work: read, start requests, write. May free it. True: it wants another turn. */
bool rpc_connection_run(struct rpc_connection *connection);
/* The server stops: what has not been started never is. */
void rpc_connection_stop(struct rpc_connection *connection);
void rpc_connection_close(struct rpc_connection *connection);

/* ---- listen.c ---------------------------------------------------------------------------- */

struct rpc_listener {
	int fd; /* -1: not open */
	int lock_fd;
	char path[108];
};

int rpc_listener_open(
	struct rpc_listener *listener, struct os *os, const char *path, struct reason *reason);
void rpc_listener_close(struct rpc_listener *listener, struct os *os);

/* ---- server.c ---------------------------------------------------------------------------- */

/* There may be something to do: rpc_connection_run before this turn of the reactor ends. */
void rpc_connection_activate(struct rpc_connection *connection);
void rpc_server_connection_closed(struct rpc_server *server);
void rpc_server_request_started(struct rpc_server *server);
void rpc_server_request_ended(struct rpc_server *server);
/* NULL: there is none. */
const struct rpc_method *rpc_server_find_method(
	struct rpc_server *server, const json_t *name, void **ret_context);
/* The same for the daemon itself: also those that are not allowed to clients. */
const struct rpc_method *rpc_server_find_any_method(
	const struct rpc_server *server, const char *name, void **ret_context);
const struct rpc_keeper *rpc_server_keeper(const struct rpc_server *server);
struct reactor *rpc_server_reactor(struct rpc_server *server);

#endif
