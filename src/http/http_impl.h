/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of this folder:
 *
 *	http.c		connections: the library's thread, its limits, who waits
 *	look.c		what the daemon says, collected by its own methods
 *	metrics.c	that as text for Prometheus
 *	page.html	the page
 */
#ifndef HTTP_HTTP_IMPL_H
#define HTTP_HTTP_IMPL_H

#include "http/http.h"

/* One look at everything: what methods have answered, by their names; those that failed are absent.
 * Counted by its JSON object: whoever has a reference only reads. */
struct look {
	struct flow flow;
	struct rpc_server *rpc;
	struct rpc_call call;
	unsigned at;
	json_t *found;
	done_fn done;
	void *arg;
};

/* Control reactor; look->found is set, a reference that is the caller's. */
void look_start(struct look *look, struct reactor *control, struct rpc_server *rpc, done_fn done,
	void *arg);

/* To be freed; NULL: out of memory. */
char *metrics_format(const json_t *found);

extern const char http_page[];
extern const unsigned http_page_length;

#endif
