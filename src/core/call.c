/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/call.h"

static void reactor_call_back(struct message *message)
{
	struct reactor_call *call = container_of(message, struct reactor_call, message);

	call->done(call->arg, call->rc);
}

static void reactor_call_run(struct message *message)
{
	struct reactor_call *call = container_of(message, struct reactor_call, message);

	call->rc = call->fn(call);
	call->message.run = reactor_call_back;
	reactor_send(call->home, &call->message);
}

void reactor_call(struct reactor_call *call, struct reactor *home, struct reactor *reactor,
	int (*fn)(struct reactor_call *call), done_fn done, void *arg)
{
	call->home = home;
	call->fn = fn;
	call->done = done;
	call->arg = arg;
	call->message.run = reactor_call_run;
	reactor_send(reactor, &call->message);
}
