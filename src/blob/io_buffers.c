/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory that first writes copy through is bounded: so many bytes for a store on a reactor, or
 * one buffer, if that is more. Who finds no room waits, first come first served; nobody overtakes,
 * so a large one is not starved by small ones.
 *
 * Nobody waits for ever: who has a buffer waits for nothing but memory of a slab and requests to
 * the devices below, and gives it back before he waits for his record. The slabs give the memory
 * back when it is idle.
 */
#include "blob/io_impl.h"

static bool buffers_have_room(const struct io_buffers *buffers, size_t bytes)
{
	return buffers->bytes == 0 || buffers->bytes + bytes <= IO_BUFFERS_MAX;
}

bool buffers_take(struct io_buffers *buffers, size_t bytes)
{
	if (!list_is_empty(&buffers->waiting) || !buffers_have_room(buffers, bytes))
		return false;
	buffers->bytes += bytes;
	return true;
}

void buffers_wait(struct io_buffers *buffers, struct io_buffers_wait *wait, size_t bytes,
	done_fn done, void *arg)
{
	wait->bytes = bytes;
	wait->done = done;
	wait->arg = arg;
	list_add_tail(&buffers->waiting, &wait->link);
}

/* Those that go on may give and wait again. */
static void buffers_serve(struct deferred *deferred)
{
	struct io_buffers *buffers = container_of(deferred, struct io_buffers, serve);

	while (!list_is_empty(&buffers->waiting)) {
		struct io_buffers_wait *wait =
			list_first_entry(&buffers->waiting, struct io_buffers_wait, link);

		if (!buffers_have_room(buffers, wait->bytes))
			return;
		list_remove(&wait->link);
		buffers->bytes += wait->bytes;
		wait->done(wait->arg, 0);
	}
}

void buffers_give(struct io_buffers *buffers, size_t bytes)
{
	invariant(buffers->bytes >= bytes);
	buffers->bytes -= bytes;
	if (!list_is_empty(&buffers->waiting))
		reactor_defer(buffers->reactor, DEFER_COMPLETE, &buffers->serve);
}

void buffers_init(struct io_buffers *buffers, struct reactor *reactor)
{
	buffers->reactor = reactor;
	buffers->serve.run = buffers_serve;
	list_init(&buffers->waiting);
}

bool buffers_are_unused(const struct io_buffers *buffers)
{
	return buffers->bytes == 0 && list_is_empty(&buffers->waiting);
}
