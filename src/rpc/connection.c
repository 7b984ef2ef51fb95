/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One client: bytes in, requests started in order, answers out.
 *
 *	OPEN --end of stream, bad JSON, limit, server stops--> ENDING --all answered--> closed
 *	 \---------- socket error, no memory --------------> BROKEN -----------------> closed
 *
 * All work is done in rpc_connection_run, which the server calls when something has happened (the
 * socket, the end of a request) and which does a bounded piece of it: one read, so many requests.
 * Nothing is read while the client owes us reading (RPC_UNREAD_MAX) or has many requests under way
 * (RPC_PENDING_MAX), so that what one client can make us hold is bounded.
 *
 * Input that is not JSON ends the connection: first everything that came before it is executed and
 * answered, then a parse error is told. Over a limit nothing is told, as clients know it. Neither
 * loses answers.
 *
 * A number at top level is no request; its end shows only with the byte after it, for which the
 * client might not care to wait, so it is refused at its first byte.
 */
#include <stdlib.h>

#include "rpc/rpc_impl.h"

#define DISCARD_READS 64

static const struct rpc_error invalid_request = {RPC_INVALID_REQUEST, "Invalid request"};
static const struct rpc_error parse_error = {RPC_PARSE_ERROR, "Parse error"};

static const struct os_ops *connection_os(struct rpc_connection *connection, struct os **ret_os)
{
	*ret_os = rpc_server_reactor(connection->server)->os;
	return (*ret_os)->ops;
}

static void connection_refuse(struct rpc_connection *connection, const struct rpc_error *error)
{
	if (rpc_error_append(&connection->out, error))
		connection->state = RPC_CONNECTION_BROKEN;
}

static bool connection_is_held_up(const struct rpc_connection *connection)
{
	return rpc_buffer_len(&connection->out) >= RPC_UNREAD_MAX ||
	       connection->pending >= RPC_PENDING_MAX;
}

/* ---- input --------------------------------------------------------------------------------- */

static void connection_receive(struct rpc_connection *connection)
{
	struct os *os;
	const struct os_ops *ops = connection_os(connection, &os);
	char *room = rpc_buffer_reserve(&connection->in, RPC_RECEIVE_BYTES);
	unsigned nfds;
	int64_t len;

	connection->may_read = false;
	if (!room) {
		connection->state = RPC_CONNECTION_BROKEN;
		return;
	}
	len = ops->socket_receive(os, connection->fd, room, RPC_RECEIVE_BYTES, NULL, 0, &nfds);
	if (len > 0) {
		rpc_buffer_extend(&connection->in, (size_t)len);
	} else if (len == 0) {
		connection->state = RPC_CONNECTION_ENDING;
	} else if (len != -EAGAIN) {
		connection->state = RPC_CONNECTION_BROKEN;
	}
	if (rpc_buffer_len(&connection->in) == 0)
		rpc_buffer_clear(&connection->in);
}

static void connection_skip_space(struct rpc_connection *connection)
{
	struct rpc_buffer *in = &connection->in;
	size_t len = rpc_buffer_len(in);
	size_t skip = 0;

	while (skip < len && json_is_space(rpc_buffer_head(in)[skip]))
		skip++;
	rpc_buffer_consume(in, skip);
}

/* No more input, whatever has come. */
static void connection_end(struct rpc_connection *connection, bool tell)
{
	if (connection->state == RPC_CONNECTION_OPEN)
		connection->state = RPC_CONNECTION_ENDING;
	connection->parse_error = tell;
	rpc_buffer_clear(&connection->in);
	connection->scanned = 0;
}

/* The next complete value at the head of the input; false: there is none yet. */
static bool connection_take_value(struct rpc_connection *connection, struct json_span *ret_value)
{
	struct rpc_buffer *in = &connection->in;
	enum json_scan_result result;
	size_t used, room;

	if (connection->scanned == 0) {
		connection_skip_space(connection);
		json_scan_init(&connection->scan);
		connection->answered = false;
	}
	if (rpc_buffer_len(in) == connection->scanned)
		return false;
	if (connection->scanned == 0 &&
		(*rpc_buffer_head(in) == '-' || (unsigned)(*rpc_buffer_head(in) - '0') < 10)) {
		connection_refuse(connection, &invalid_request);
		connection->answered = true;
	}
	room = RPC_REQUEST_MAX - connection->scanned;
	result = json_scan_feed(&connection->scan, rpc_buffer_head(in) + connection->scanned,
		u64_min(rpc_buffer_len(in) - connection->scanned, room), &used);
	connection->scanned += used;
	if (result == JSON_SCAN_DONE) {
		*ret_value = (struct json_span){rpc_buffer_head(in), connection->scanned};
		return true;
	}
	if (result == JSON_SCAN_BAD)
		connection_end(connection, true);
	else if (result == JSON_SCAN_LIMIT || rpc_buffer_len(in) > connection->scanned)
		connection_end(connection, false);
	return false;
}

/* ---- requests ------------------------------------------------------------------------------ */

static void connection_open_batch(struct rpc_connection *connection, struct json_span value)
{
	struct json_walk walk = {.value = value};
	struct json_span element;
	struct rpc_batch *batch;

	if (!json_walk_element(&walk, &element)) {
		connection_refuse(connection, &invalid_request);
		return;
	}
	batch = calloc(1, sizeof(*batch));
	if (!batch || rpc_buffer_append(&batch->text, value.text, value.len)) {
		free(batch);
		connection->state = RPC_CONNECTION_BROKEN;
		return;
	}
	batch->connection = connection;
	batch->pending = 1;
	batch->walk.value = (struct json_span){rpc_buffer_head(&batch->text), value.len};
	connection->batch = batch;
}

static void connection_close_batch(struct rpc_connection *connection)
{
	struct rpc_batch *batch = connection->batch;

	connection->batch = NULL;
	if (batch) {
		rpc_buffer_clear(&batch->text);
		rpc_batch_put(batch);
	}
}

static void connection_start_value(struct rpc_connection *connection, struct json_span value)
{
	if (value.text[0] == '[')
		connection_open_batch(connection, value);
	else if (value.text[0] != '{' && !connection->answered)
		connection_refuse(connection, &invalid_request);
	else if (value.text[0] == '{' && rpc_request_start(connection, NULL, value))
		connection->state = RPC_CONNECTION_BROKEN;
	rpc_buffer_consume(&connection->in, value.len);
	connection->scanned = 0;
}

/* One step; false: there is nothing to start at present. */
static bool connection_start_next(struct rpc_connection *connection)
{
	struct rpc_batch *batch = connection->batch;
	struct json_span value;

	if (connection->state == RPC_CONNECTION_BROKEN || connection_is_held_up(connection))
		return false;
	if (!batch) {
		if (!connection_take_value(connection, &value))
			return false;
		connection_start_value(connection, value);
	} else if (json_walk_element(&batch->walk, &value)) {
		if (rpc_request_start(connection, batch, value))
			connection->state = RPC_CONNECTION_BROKEN;
	} else {
		connection_close_batch(connection);
	}
	return true;
}

/* ---- output -------------------------------------------------------------------------------- */

static void connection_send(struct rpc_connection *connection)
{
	struct rpc_buffer *out = &connection->out;
	struct os *os;
	const struct os_ops *ops = connection_os(connection, &os);

	while (rpc_buffer_len(out)) {
		int64_t len = ops->socket_send(
			os, connection->fd, rpc_buffer_head(out), rpc_buffer_len(out), NULL, 0);

		if (len == -EAGAIN)
			return;
		if (len <= 0) {
			connection->state = RPC_CONNECTION_BROKEN;
			return;
		}
		rpc_buffer_consume(out, (size_t)len);
	}
}

/* ---- a turn -------------------------------------------------------------------------------- */

/* What is left unread in the socket at its close would make the client lose answers it has not
 * read yet on some systems, and see a reset instead of the end on Linux. */
static void connection_discard_input(struct rpc_connection *connection)
{
	struct os *os;
	const struct os_ops *ops = connection_os(connection, &os);
	char scrap[4096];
	unsigned nfds;

	for (unsigned i = 0; i < DISCARD_READS; i++) {
		if (ops->socket_receive(os, connection->fd, scrap, sizeof(scrap), NULL, 0, &nfds) <=
			0)
			return;
	}
}

/* ENDING: has everything been executed and answered? */
static bool connection_has_ended(struct rpc_connection *connection)
{
	if (connection->batch || connection->pending ||
		rpc_buffer_len(&connection->in) > connection->scanned)
		return false;
	/* The stream ended inside a value. */
	if (connection->scanned)
		connection_end(connection, !connection->answered);
	if (connection->parse_error) {
		connection->parse_error = false;
		connection_refuse(connection, &parse_error);
		connection_send(connection);
	}
	return rpc_buffer_len(&connection->out) == 0;
}

/* Is there input to be had without waiting for anybody? */
static bool connection_wants_turn(const struct rpc_connection *connection)
{
	if (connection_is_held_up(connection))
		return false;
	return connection->batch || rpc_buffer_len(&connection->in) > connection->scanned ||
	       (connection->may_read && connection->state == RPC_CONNECTION_OPEN);
}

static void connection_watch(struct rpc_connection *connection)
{
	struct reactor *reactor = rpc_server_reactor(connection->server);

	if (connection->state == RPC_CONNECTION_OPEN && !connection->may_read &&
		!connection->readable.armed && !connection_is_held_up(connection))
		reactor_watch(reactor, &connection->readable);
	if (rpc_buffer_len(&connection->out) && !connection->writable.armed)
		reactor_watch(reactor, &connection->writable);
}

bool rpc_connection_run(struct rpc_connection *connection)
{
	bool more = true;

	if (connection->may_read && connection->state == RPC_CONNECTION_OPEN &&
		!connection->batch && rpc_buffer_len(&connection->in) == connection->scanned &&
		!connection_is_held_up(connection))
		connection_receive(connection);
	for (unsigned i = 0; more && i < RPC_TURN_REQUESTS; i++)
		more = connection_start_next(connection);
	if (connection->state != RPC_CONNECTION_BROKEN)
		connection_send(connection);
	list_remove(&connection->active);
	if (connection->state == RPC_CONNECTION_ENDING && connection_has_ended(connection)) {
		connection_discard_input(connection);
		connection->state = RPC_CONNECTION_BROKEN;
	}
	if (connection->state == RPC_CONNECTION_BROKEN) {
		rpc_connection_close(connection);
		return false;
	}
	connection_watch(connection);
	return connection_wants_turn(connection);
}

void rpc_connection_stop(struct rpc_connection *connection)
{
	connection_close_batch(connection);
	connection_end(connection, false);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void connection_readable(struct os_watch *watch)
{
	struct rpc_connection *connection = container_of(watch, struct rpc_connection, readable);

	connection->may_read = true;
	rpc_connection_activate(connection);
}

static void connection_writable(struct os_watch *watch)
{
	rpc_connection_activate(container_of(watch, struct rpc_connection, writable));
}

int rpc_connection_create(struct rpc_server *server, struct list *connections, int fd)
{
	struct rpc_connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return -ENOMEM;
	connection->server = server;
	connection->fd = fd;
	connection->readable = (struct os_watch){
		.fd = fd, .kind = OS_WATCH_READABLE, .ready = connection_readable};
	connection->writable = (struct os_watch){
		.fd = fd, .kind = OS_WATCH_WRITABLE, .ready = connection_writable};
	list_init(&connection->readable.link);
	list_init(&connection->writable.link);
	list_init(&connection->active);
	list_init(&connection->requests);
	list_add_tail(connections, &connection->link);
	connection_watch(connection);
	return 0;
}

void rpc_connection_close(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;
	struct reactor *reactor = rpc_server_reactor(server);
	struct rpc_request *request, *next;

	list_for_each_entry_safe (request, next, &connection->requests, link) {
		list_remove(&request->link);
		request->connection = NULL;
		if (request->batch)
			request->batch->connection = NULL;
	}
	if (connection->batch)
		connection->batch->connection = NULL;
	connection_close_batch(connection);
	if (connection->readable.armed)
		reactor_unwatch(reactor, &connection->readable);
	if (connection->writable.armed)
		reactor_unwatch(reactor, &connection->writable);
	reactor->os->ops->close(reactor->os, connection->fd);
	rpc_buffer_clear(&connection->in);
	rpc_buffer_clear(&connection->out);
	list_remove(&connection->active);
	list_remove(&connection->link);
	free(connection);
	rpc_server_connection_closed(server);
}
