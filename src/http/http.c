/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections. libmicrohttpd runs a thread of its own, which parses, times out and limits: 32
 * connections, 16 of one address, 16 KiB of head, 10 s without a byte; bodies are refused unread.
 * It is the one part of the daemon with sockets that are not the os table's.
 *
 * A GET waits, suspended, for a look at everything by the control reactor (look.c). All that come
 * while one is under way get the next; one that is less than LOOK_FRESH_NS old is given at once. So
 * the control reactor is asked once in that time, however many clients there are.
 *
 * The lock is over who waits, the last look and stopping. The JSON objects of a look are freed by
 * whichever thread lets go last, so their counts change under the lock only, and text is made from
 * them on the library's thread without it: nobody changes them.
 */
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/http_impl.h"

#define CONNECTIONS_MAX        32
#define CONNECTIONS_OF_ADDRESS 16
#define CONNECTION_BYTES       ((size_t)16 << 10)
#define CONNECTION_TIMEOUT_S   10u
#define LOOK_FRESH_NS          (500 * MSEC_NS)

enum http_want { HTTP_DATA, HTTP_METRICS };

/* A request that is answered from a look. */
struct asked {
	struct http *http;
	struct MHD_Connection *connection;
	enum http_want want;
	bool suspended; /* once */
	json_t *found; /* what it is answered from; NULL: not yet, or nothing */
	struct list link; /* http->waiting */
};

struct http {
	struct MHD_Daemon *server;
	struct reactor *control;
	struct rpc_server *rpc;
	bool loopback;

	pthread_mutex_t lock;
	struct list waiting;
	json_t *found; /* of the last look */
	uint64_t found_ns;
	bool looking; /* from the message on */
	bool stopping;

	struct message look_message;
	struct look look;
	done_fn stopped; /* control reactor's */
	void *stopped_arg;
	struct deferred stop_answer;
};

/* Any thread: a reactor's own time is for its thread alone. */
static uint64_t http_now(const struct http *http)
{
	struct os *os = http->control->os;

	return os->ops->now_ns(os);
}

/* ---- control reactor ----------------------------------------------------------------------- */

/* All that wait go on, with the last look. */
static void waiting_resume(struct http *http)
{
	struct asked *asked, *next;

	list_for_each_entry_safe (asked, next, &http->waiting, link) {
		list_remove(&asked->link);
		list_init(&asked->link);
		asked->found = http->stopping ? NULL : json_incref(http->found);
		MHD_resume_connection(asked->connection);
	}
}

static void looked(void *arg, int rc)
{
	struct http *http = arg;
	bool stopping;

	pthread_mutex_lock(&http->lock);
	json_decref(http->found);
	http->found = http->look.found;
	http->found_ns = http_now(http);
	http->looking = false;
	stopping = http->stopping;
	waiting_resume(http);
	pthread_mutex_unlock(&http->lock);
	if (stopping)
		http->stopped(http->stopped_arg, 0);
}

static void look_begin(struct message *message)
{
	struct http *http = container_of(message, struct http, look_message);

	look_start(&http->look, http->control, http->rpc, looked, http);
}

static void stop_answered(struct deferred *deferred)
{
	struct http *http = container_of(deferred, struct http, stop_answer);

	http->stopped(http->stopped_arg, 0);
}

void http_stop(struct http *http, done_fn done, void *arg)
{
	bool looking;

	http->stopped = done;
	http->stopped_arg = arg;
	pthread_mutex_lock(&http->lock);
	http->stopping = true;
	looking = http->looking;
	pthread_mutex_unlock(&http->lock);
	if (looking)
		return; /* looked tells */
	http->stop_answer.run = stop_answered;
	reactor_defer(http->control, DEFER_COMPLETE, &http->stop_answer);
}

/* ---- the library's thread ------------------------------------------------------------------ */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type,
	struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(response, "Content-Security-Policy",
		"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
		"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	result = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_sentence(
	struct MHD_Connection *connection, unsigned code, const char *sentence)
{
	return answer(connection, code, "text/plain; charset=utf-8",
		MHD_create_response_from_buffer(
			strlen(sentence), (void *)(uintptr_t)sentence, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, const char *type, char *text)
{
	if (!text)
		return MHD_NO;
	return answer(connection, MHD_HTTP_OK, type,
		MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
}

static enum MHD_Result asked_answer(struct asked *asked)
{
	if (!asked->found)
		return answer_sentence(
			asked->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "The daemon stops.\n");
	if (asked->want == HTTP_METRICS)
		return answer_text(asked->connection, "text/plain; version=0.0.4; charset=utf-8",
			metrics_format(asked->found));
	return answer_text(
		asked->connection, "application/json", json_dumps(asked->found, JSON_COMPACT));
}

/* Called again when it goes on. */
static enum MHD_Result asked_wait(struct asked *asked)
{
	struct http *http = asked->http;
	bool wait;

	pthread_mutex_lock(&http->lock);
	wait = !asked->suspended && !http->stopping;
	if (wait && http->found && !http->looking &&
		http_now(http) - http->found_ns < LOOK_FRESH_NS) {
		asked->found = json_incref(http->found);
		wait = false;
	}
	asked->suspended = true;
	if (wait) {
		MHD_suspend_connection(asked->connection);
		list_add_tail(&http->waiting, &asked->link);
		if (!http->looking) {
			http->looking = true;
			reactor_send(http->control, &http->look_message);
		}
	}
	pthread_mutex_unlock(&http->lock);
	return wait ? MHD_YES : asked_answer(asked);
}

/* Somebody else's page must not read this one under a name that leads to the loopback. */
static bool host_is_mine(const struct http *http, struct MHD_Connection *connection)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");

	if (!http->loopback || !host)
		return true;
	return host[0] == '[' || strncmp(host, "localhost:", 10) == 0 ||
	       strcmp(host, "localhost") == 0 || strspn(host, "0123456789.:") == strlen(host);
}

static enum MHD_Result begin(struct http *http, struct MHD_Connection *connection, const char *url,
	const char *method, void **context)
{
	bool metrics = strcmp(url, "/metrics") == 0;
	struct asked *asked;

	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer_sentence(
			connection, MHD_HTTP_METHOD_NOT_ALLOWED, "There is only GET here.\n");
	if (!host_is_mine(http, connection))
		return answer_sentence(
			connection, MHD_HTTP_FORBIDDEN, "Ask by the address or as localhost.\n");
	if (strcmp(url, "/") == 0)
		return answer(connection, MHD_HTTP_OK, "text/html; charset=utf-8",
			MHD_create_response_from_buffer(http_page_length,
				(void *)(uintptr_t)http_page, MHD_RESPMEM_PERSISTENT));
	if (!metrics && strcmp(url, "/data") != 0)
		return answer_sentence(
			connection, MHD_HTTP_NOT_FOUND, "There are /, /data and /metrics here.\n");
	asked = alloc_op(sizeof(*asked));
	asked->http = http;
	asked->connection = connection;
	asked->want = metrics ? HTTP_METRICS : HTTP_DATA;
	list_init(&asked->link);
	*context = asked;
	return MHD_YES; /* once more when all of it has been read */
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *body, size_t *body_length,
	void **context)
{
	struct asked *asked = *context;

	if (!asked)
		return begin(arg, connection, url, method, context);
	if (*body_length)
		return MHD_NO;
	return asked_wait(asked);
}

static void ended(void *arg, struct MHD_Connection *connection, void **context,
	enum MHD_RequestTerminationCode code)
{
	struct http *http = arg;
	struct asked *asked = *context;

	if (!asked)
		return;
	pthread_mutex_lock(&http->lock);
	if (!list_is_empty(&asked->link))
		list_remove(&asked->link);
	json_decref(asked->found);
	pthread_mutex_unlock(&http->lock);
	free(asked);
	*context = NULL;
}

/* ---- life ---------------------------------------------------------------------------------- */

static struct MHD_Daemon *server_start(struct http *http, const struct addrinfo *address)
{
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_POLL;

	if (address->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	return MHD_start_daemon(flags, 0, NULL, NULL, handle, http, MHD_OPTION_SOCK_ADDR,
		address->ai_addr, MHD_OPTION_NOTIFY_COMPLETED, ended, http,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		CONNECTIONS_OF_ADDRESS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S, MHD_OPTION_END);
}

/* "ADDRESS:PORT" in parts; the address may be in brackets, or absent. */
static int where_resolve(const char *where, struct reason *reason, struct addrinfo **ret_address)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	const char *colon = strrchr(where, ':');
	const char *port = colon ? colon + 1 : where;
	char host[64] = HTTP_ADDRESS_DEFAULT;
	size_t len = colon ? (size_t)(colon - where) : 0;
	bool is_number = *port && strspn(port, "0123456789") == strlen(port) && strlen(port) <= 9;
	bool bracketed = len > 2 && where[0] == '[' && where[len - 1] == ']';

	if (colon && len < sizeof(host))
		snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? len - 2 : len),
			where + bracketed);
	if (is_number && (atoi(port) < 1 || atoi(port) > UINT16_MAX))
		return reason_set(
			reason, -EINVAL, "%s is no port for HTTP: say one from 1 to 65535", port);
	if (len < sizeof(host) && is_number && getaddrinfo(host, port, &hints, ret_address) == 0)
		return 0;
	return reason_set(reason, -EINVAL,
		"'%s' is no place for HTTP: say PORT, ADDRESS:PORT or [ADDRESS]:PORT, in numbers",
		where);
}

static bool address_is_loopback(const struct addrinfo *address)
{
	const struct sockaddr_in *four = (const void *)address->ai_addr;
	const struct sockaddr_in6 *six = (const void *)address->ai_addr;

	if (address->ai_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

int http_create(const char *where, struct reactor *control, struct rpc_server *rpc,
	struct reason *reason, struct http **ret_http)
{
	struct addrinfo *address;
	struct http *http;
	int rc = where_resolve(where, reason, &address);

	if (rc)
		return rc;
	http = alloc_op(sizeof(*http));
	http->control = control;
	http->rpc = rpc;
	http->loopback = address_is_loopback(address);
	http->look_message.run = look_begin;
	list_init(&http->waiting);
	pthread_mutex_init(&http->lock, NULL);
	http->server = server_start(http, address);
	rc = http->server ? 0 : -errno;
	freeaddrinfo(address);
	if (!http->server) {
		pthread_mutex_destroy(&http->lock);
		free(http);
		return reason_set(reason, rc ? rc : -EIO,
			"cannot serve HTTP at %s (%s): choose another address or port", where,
			strerror(rc ? -rc : EIO));
	}
	log_notice("HTTP at %s", where);
	*ret_http = http;
	return 0;
}

void http_destroy(struct http *http)
{
	MHD_stop_daemon(http->server);
	json_decref(http->found);
	pthread_mutex_destroy(&http->lock);
	free(http);
}
