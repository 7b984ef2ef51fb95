/* SPDX-License-Identifier: BSD-2-Clause */
#include "bdev/bdev_impl.h"

static void bdev_call_back(struct message *message)
{
	struct bdev_call *call = container_of(message, struct bdev_call, message);

	call->done(call->arg, call->rc);
}

static void bdev_call_run(struct message *message)
{
	struct bdev_call *call = container_of(message, struct bdev_call, message);

	call->rc = call->fn(call);
	call->message.run = bdev_call_back;
	reactor_send(call->home, &call->message);
}

void bdev_call(struct bdev_call *call, struct reactor *home, struct reactor *reactor,
	int (*fn)(struct bdev_call *call), done_fn done, void *arg)
{
	call->home = home;
	call->fn = fn;
	call->done = done;
	call->arg = arg;
	call->message.run = bdev_call_run;
	reactor_send(reactor, &call->message);
}
