/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Methods called by the daemon itself: from a configuration file, or to set up again what was there
 * before a restart. Such a request goes the way of a client's, without an envelope that could be
 * wrong, and ends in the rpc_call of whoever made it.
 *
 * A method may answer before it has returned; done never comes before rpc_server_call has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc_impl.h"

static void call_answered(struct deferred *deferred)
{
	struct rpc_call *call = container_of(deferred, struct rpc_call, answered);

	call->done(call->arg, call->code ? -EREMOTEIO : 0);
}

void rpc_call_fail(struct rpc_call *call, int code, const char *text, const char *sentence)
{
	call->code = code;
	snprintf(call->text, sizeof(call->text), "%s", text);
	if (sentence)
		reason_set(&call->reason, -EREMOTEIO, "%s", sentence);
}

void rpc_call_answered(struct rpc_server *server, struct rpc_call *call)
{
	call->answered.run = call_answered;
	reactor_defer(rpc_server_reactor(server), DEFER_COMPLETE, &call->answered);
}

void rpc_server_call(struct rpc_server *server, struct rpc_call *call, done_fn done, void *arg)
{
	void *context = NULL;
	const struct rpc_method *method =
		rpc_server_find_any_method(server, call->method, &context);
	struct rpc_request *request =
		calloc(1, sizeof(*request) + (method ? method->params_size : 0));

	call->code = 0;
	call->text[0] = '\0';
	call->reason = (struct reason){0};
	call->result = NULL;
	call->answered = (struct deferred){0};
	call->done = done;
	call->arg = arg;
	if (!request) {
		rpc_call_fail(call, -ENOMEM, strerror(ENOMEM), NULL);
		rpc_call_answered(server, call);
		return;
	}
	request->server = server;
	request->call = call;
	request->method = method;
	request->envelope.method = json_string(call->method);
	request->envelope.params = json_incref(call->params);
	rpc_server_request_started(server);
	rpc_request_run(request, context);
}
