/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HTTP for people and for Prometheus: a page, what it shows as JSON, and metrics. It only reads.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "core/flow.h"
#include "rpc/server.h"

#define HTTP_ADDRESS_DEFAULT "127.0.0.1"

struct http;

/* "PORT", "ADDRESS:PORT" or "[ADDRESS]:PORT"; without an address it is the loopback. -EINVAL, or
 * what keeps it from listening. Control reactor, which it is served from; rpc lives longer. */
int http_create(const char *where, struct reactor *control, struct rpc_server *rpc,
	struct reason *reason, struct http **ret_http) MUST_CHECK;
/* Control reactor: no more is asked of the RPC server from done on; before that one stops. */
void http_stop(struct http *http, done_fn done, void *arg);
/* Stopped, or nothing has run since create. Any thread; waits for those being answered. */
void http_destroy(struct http *http);

#endif
