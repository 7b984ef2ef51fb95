/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accepting clients, giving each its turn, and the end.
 *
 * Connections that have something to do are on the active list and run in this turn of the
 * reactor; those that have more to do than a turn's share go on the again list, which a message to
 * our own reactor makes active in the next turn. So a client with ten thousand requests in one
 * write delays another by RPC_TURN_REQUESTS of them.
 *
 * The socket is made by listen.c. Stopping: no new requests, then wait until the running ones have
 * ended (their owners were told by the daemon before), then one last attempt to send, then close.
 */
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc_impl.h"

#define ACCEPT_RETRY_NS (100 * MSEC_NS)

struct registered {
	const struct rpc_method *method;
	void *context;
	bool hidden; /* from clients */
};

struct rpc_server {
	struct reactor *control;
	enum rpc_state state;

	struct registered *methods; /* sorted by name */
	size_t methods_count;
	const struct rpc_keeper *keeper;

	struct rpc_listener listener;
	struct os_watch acceptable;
	struct timer accept_retry;

	struct list connections;
	unsigned connections_count;
	struct list active;
	struct deferred run_active;
	struct list again;
	struct message next_turn;
	bool next_turn_queued;
	unsigned running; /* requests */

	bool stopping;
	done_fn stopped;
	void *stopped_arg;
};

struct reactor *rpc_server_reactor(struct rpc_server *server)
{
	return server->control;
}

void rpc_server_set_state(struct rpc_server *server, enum rpc_state state)
{
	server->state = state;
}

enum rpc_state rpc_server_state(const struct rpc_server *server)
{
	return server->state;
}

/* ---- methods ------------------------------------------------------------------------------- */

static int registered_compare(const void *a, const void *b)
{
	const struct registered *left = a;
	const struct registered *right = b;

	return strcmp(left->method->name, right->method->name);
}

int rpc_server_register(struct rpc_server *server, const struct rpc_method *methods, void *context)
{
	struct registered *grown;
	size_t count = 0;

	while (methods[count].name)
		count++;
	grown = reallocarray(
		server->methods, server->methods_count + count, sizeof(*server->methods));
	if (!grown)
		return -ENOMEM;
	server->methods = grown;
	for (size_t i = 0; i < count; i++) {
		struct registered *entry = &grown[server->methods_count++];

		invariant(!methods[i].params == !methods[i].params_size);
		*entry = (struct registered){&methods[i], context, false};
	}
	qsort(grown, server->methods_count, sizeof(*grown), registered_compare);
	for (size_t i = 1; i < server->methods_count; i++)
		invariant(registered_compare(&grown[i - 1], &grown[i]) != 0);
	return 0;
}

static struct registered *server_find(const struct rpc_server *server, const char *name)
{
	struct rpc_method key_method = {.name = name};
	struct registered key = {.method = &key_method};

	return bsearch(
		&key, server->methods, server->methods_count, sizeof(key), registered_compare);
}

const struct rpc_method *rpc_server_find_method(
	struct rpc_server *server, const json_t *name, void **ret_context)
{
	const char *text = json_string_value(name);
	struct registered *found = server_find(server, text);

	/* A name may hold NUL bytes: then it is none of ours. */
	if (!found || found->hidden || strlen(text) != json_string_length(name))
		return NULL;
	*ret_context = found->context;
	return found->method;
}

const struct rpc_method *rpc_server_find_any_method(
	const struct rpc_server *server, const char *name, void **ret_context)
{
	struct registered *found = server_find(server, name);

	if (!found)
		return NULL;
	*ret_context = found->context;
	return found->method;
}

unsigned rpc_server_method_states(const struct rpc_server *server, const char *name)
{
	struct registered *found = server_find(server, name);

	return found ? found->method->states : 0;
}

int rpc_server_allow(struct rpc_server *server, const char *names, struct reason *reason)
{
	char *copy = strdup(names);
	char *rest = copy;
	char *name;
	int rc = copy ? 0 : -ENOMEM;

	for (size_t i = 0; i < server->methods_count; i++)
		server->methods[i].hidden = true;
	while (!rc && (name = strsep(&rest, ","))) {
		struct registered *found = server_find(server, name);

		if (found)
			found->hidden = false;
		else
			rc = reason_set(reason, -EINVAL,
				"there is no method %s to allow: see sluice rpc rpc_get_methods",
				name);
	}
	free(copy);
	return rc;
}

void rpc_server_set_keeper(struct rpc_server *server, const struct rpc_keeper *keeper)
{
	server->keeper = keeper;
}

const struct rpc_keeper *rpc_server_keeper(const struct rpc_server *server)
{
	return server->keeper;
}

void rpc_server_for_each_method(struct rpc_server *server, bool current,
	void (*fn)(const struct rpc_method *method, void *arg), void *arg)
{
	for (size_t i = 0; i < server->methods_count; i++) {
		const struct registered *entry = &server->methods[i];

		if (!entry->hidden && (!current || entry->method->states & server->state))
			fn(entry->method, arg);
	}
}

/* ---- turns --------------------------------------------------------------------------------- */

static void server_queue_next_turn(struct rpc_server *server)
{
	if (server->next_turn_queued)
		return;
	server->next_turn_queued = true;
	reactor_send(server->control, &server->next_turn);
}

void rpc_connection_activate(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;

	if (!list_is_empty(&connection->active))
		return;
	list_add_tail(&server->active, &connection->active);
	reactor_defer(server->control, DEFER_PUBLISH, &server->run_active);
}

static void server_run_active(struct deferred *deferred)
{
	struct rpc_server *server = container_of(deferred, struct rpc_server, run_active);
	struct list now = LIST_INIT(now);

	list_move_all(&now, &server->active);
	while (!list_is_empty(&now)) {
		struct rpc_connection *connection =
			list_first_entry(&now, struct rpc_connection, active);

		if (rpc_connection_run(connection))
			list_add_tail(&server->again, &connection->active);
	}
	if (!list_is_empty(&server->again))
		server_queue_next_turn(server);
}

static void server_finish_stop(struct rpc_server *server)
{
	struct rpc_connection *connection, *next;
	done_fn done = server->stopped;

	list_for_each_entry_safe (connection, next, &server->connections, link)
		rpc_connection_run(connection);
	list_for_each_entry_safe (connection, next, &server->connections, link)
		rpc_connection_close(connection);
	server->stopped = NULL;
	done(server->stopped_arg, 0);
}

static void server_next_turn(struct message *message)
{
	struct rpc_server *server = container_of(message, struct rpc_server, next_turn);

	server->next_turn_queued = false;
	list_move_all(&server->active, &server->again);
	if (!list_is_empty(&server->active))
		reactor_defer(server->control, DEFER_PUBLISH, &server->run_active);
	if (server->stopped && server->running == 0)
		server_finish_stop(server);
}

void rpc_server_request_started(struct rpc_server *server)
{
	server->running++;
}

void rpc_server_request_ended(struct rpc_server *server)
{
	server->running--;
	if (server->stopping && server->running == 0)
		server_queue_next_turn(server);
}

/* ---- clients ------------------------------------------------------------------------------- */

static void server_watch_clients(struct rpc_server *server)
{
	if (server->stopping || server->acceptable.armed ||
		server->connections_count >= RPC_CLIENTS_MAX)
		return;
	reactor_watch(server->control, &server->acceptable);
}

static void server_acceptable(struct os_watch *watch)
{
	struct rpc_server *server = container_of(watch, struct rpc_server, acceptable);
	struct os *os = server->control->os;
	int rc = 0;

	while (server->connections_count < RPC_CLIENTS_MAX) {
		int fd;

		rc = os->ops->socket_accept(os, server->acceptable.fd, &fd);
		if (rc)
			break;
		rc = rpc_connection_create(server, &server->connections, fd);
		if (rc) {
			os->ops->close(os, fd);
			break;
		}
		server->connections_count++;
	}
	if (!rc || rc == -EAGAIN || rc == -ECONNABORTED || rc == -EINTR) {
		server_watch_clients(server);
		return;
	}
	/* Out of descriptors or memory: the client stays in the backlog. */
	log_warning("cannot accept an RPC client: %s; trying again", strerror(-rc));
	timer_start(server->control, &server->accept_retry, ACCEPT_RETRY_NS);
}

static void server_accept_again(struct timer *timer)
{
	server_watch_clients(container_of(timer, struct rpc_server, accept_retry));
}

void rpc_server_connection_closed(struct rpc_server *server)
{
	server->connections_count--;
	if (!timer_is_started(&server->accept_retry))
		server_watch_clients(server);
}

/* ---- life ---------------------------------------------------------------------------------- */

int rpc_server_create(struct reactor *control, struct rpc_server **ret_server)
{
	struct rpc_server *server = calloc(1, sizeof(*server));

	if (!server)
		return -ENOMEM;
	server->control = control;
	server->state = RPC_STARTUP;
	server->listener.fd = -1;
	server->listener.lock_fd = -1;
	server->acceptable.kind = OS_WATCH_READABLE;
	server->acceptable.ready = server_acceptable;
	list_init(&server->acceptable.link);
	server->accept_retry.fired = server_accept_again;
	server->run_active.run = server_run_active;
	server->next_turn.run = server_next_turn;
	list_init(&server->connections);
	list_init(&server->active);
	list_init(&server->again);
	*ret_server = server;
	return 0;
}

void rpc_server_destroy(struct rpc_server *server)
{
	invariant(list_is_empty(&server->connections) && server->running == 0);
	invariant(!server->next_turn_queued && !server->run_active.queued);
	rpc_listener_close(&server->listener, server->control->os);
	free(server->methods);
	free(server);
}

int rpc_server_listen(struct rpc_server *server, const char *path, struct reason *reason)
{
	return rpc_listener_open(&server->listener, server->control->os, path, reason);
}

void rpc_server_serve(struct rpc_server *server)
{
	invariant(server->listener.fd >= 0);
	server->acceptable.fd = server->listener.fd;
	server_watch_clients(server);
}

void rpc_server_stop(struct rpc_server *server, done_fn done, void *arg)
{
	struct rpc_connection *connection;

	invariant(!server->stopping);
	server->stopping = true;
	server->stopped = done;
	server->stopped_arg = arg;
	if (server->acceptable.armed)
		reactor_unwatch(server->control, &server->acceptable);
	timer_stop(server->control, &server->accept_retry);
	list_for_each_entry (connection, &server->connections, link) {
		rpc_connection_stop(connection);
		rpc_connection_activate(connection);
	}
	if (server->running == 0)
		server_queue_next_turn(server);
}
