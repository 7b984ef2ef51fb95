/* SPDX-License-Identifier: BSD-2-Clause */
/* The tests' own block device: holding, order, failing, memory of what was asked. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/gate_bdev.h"
#include "sim/sim.h"

#define BLOCK 512

/* A control reactor that is the only data reactor too. */
struct host {
	struct sim *sim;
	struct reactor *reactor;
	struct bdev_registry *registry;
	struct gate_bdev *gate;
	struct bdev_user user;
	struct bdev_channel *channel;
};

struct call {
	struct message message;
	struct host *host;
	void (*run)(struct call *call);
	struct bdev_io io;
	struct iovec iov;
	uint8_t data[BLOCK];
	int rc;
	bool done;
};

static void call_done(void *arg, int rc)
{
	struct call *call = arg;

	call->rc = rc;
	call->done = true;
}

static void call_message(struct message *message)
{
	struct call *call = container_of(message, struct call, message);

	call->run(call);
}

static bool call_is_done(void *arg)
{
	return ((struct call *)arg)->done;
}

static void call_begin(struct host *host, struct call *call, void (*run)(struct call *call))
{
	call->host = host;
	call->run = run;
	call->done = false;
	call->message.run = call_message;
	reactor_send(host->reactor, &call->message);
}

static int call_wait(struct host *host, struct call *call)
{
	assert_true(sim_run(host->sim, call_is_done, call, 10 * SEC_NS));
	return call->rc;
}

static void host_run(struct host *host, void (*run)(struct call *call))
{
	struct call call = {0};

	call_begin(host, &call, run);
	assert_int_equal(call_wait(host, &call), 0);
}

/* ---- life ---- */

static void host_removed(struct bdev_user *user)
{
}

static const struct bdev_user_ops host_user_ops = {.name = "test", .removed = host_removed};

static void run_register(struct call *call)
{
	struct host *host = call->host;
	int rc = bdev_registry_create(sim_os(host->sim), host->reactor, &host->registry);

	if (!rc)
		rc = gate_bdev_register(host->gate, host->registry, NULL);
	host->user.ops = &host_user_ops;
	if (!rc)
		rc = bdev_open(gate_bdev_of(host->gate), &host->user, NULL);
	call_done(call, rc);
}

static void run_channel_open(struct call *call)
{
	bdev_channel_open(
		&call->host->user, call->host->reactor, &call->host->channel, call_done, call);
}

static void run_channel_close(struct call *call)
{
	bdev_channel_close(call->host->channel, call_done, call);
}

static void run_close(struct call *call)
{
	bdev_close(&call->host->user);
	bdev_unregister(gate_bdev_of(call->host->gate), call_done, call);
}

static void run_registry_destroy(struct call *call)
{
	bdev_registry_destroy(call->host->registry);
	call_done(call, 0);
}

static void host_start(struct host *host, uint64_t seed)
{
	const struct reactor_options options = {.name = "control", .cpu = -1};

	*host = (struct host){.sim = sim_create(seed)};
	host->gate = gate_bdev_create(&(struct gate_bdev_options){
		.name = "gate0", .size_bytes = 64 * KIB, .block_size = BLOCK});
	assert_int_equal(reactor_create(sim_os(host->sim), &options, NULL, &host->reactor), 0);
	assert_int_equal(reactor_start(host->reactor, NULL), 0);
	host_run(host, run_register);
	host_run(host, run_channel_open);
}

static void host_end(struct host *host)
{
	host_run(host, run_channel_close);
	host_run(host, run_close);
	host_run(host, run_registry_destroy);
	reactor_stop(host->reactor);
	reactor_destroy(host->reactor);
	gate_bdev_destroy(host->gate);
	assert_int_equal(sim_destroy(host->sim), 0);
}

/* ---- requests ---- */

static void io_done(struct bdev_io *io)
{
	struct call *call = container_of(io, struct call, io);

	call_done(call, io->status);
}

static void run_io(struct call *call)
{
	bdev_submit(call->host->channel, &call->io);
}

static void io_begin(struct host *host, struct call *call, enum bdev_io_type type, uint8_t flags,
	unsigned block, uint8_t fill)
{
	*call = (struct call){0};
	memset(call->data, fill, sizeof(call->data));
	call->iov = (struct iovec){call->data, sizeof(call->data)};
	call->io.type = type;
	call->io.flags = flags;
	call->io.offset = (uint64_t)block * BLOCK;
	call->io.length = type == BDEV_IO_FLUSH ? 0 : BLOCK;
	call->io.iov = &call->iov;
	call->io.iovcnt = 1;
	call->io.done = io_done;
	call_begin(host, call, run_io);
}

static int io_run(struct host *host, enum bdev_io_type type, uint8_t flags, unsigned block,
	uint8_t fill, uint8_t *ret_first)
{
	struct call call;

	io_begin(host, &call, type, flags, block, fill);
	call_wait(host, &call);
	if (ret_first)
		*ret_first = call.data[0];
	return call.rc;
}

static uint8_t first_byte(struct host *host, unsigned block)
{
	uint8_t byte;

	gate_bdev_peek(host->gate, (uint64_t)block * BLOCK, &byte, 1);
	return byte;
}

/* ---- tests ---- */

static void what_is_written_is_read_and_remembered(void **state)
{
	struct gate_record record;
	struct host host;
	uint8_t byte;

	host_start(&host, 1);
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, BDEV_IO_FUA, 3, 7, NULL), 0);
	assert_int_equal(io_run(&host, BDEV_IO_READ, 0, 3, 0, &byte), 0);
	assert_int_equal(byte, 7);
	assert_int_equal(io_run(&host, BDEV_IO_UNMAP, 0, 3, 0, NULL), 0);
	assert_int_equal(first_byte(&host, 3), 0);
	assert_int_equal(gate_bdev_record_count(host.gate), 3);
	gate_bdev_record_at(host.gate, 0, &record);
	assert_int_equal(record.type, BDEV_IO_WRITE);
	assert_int_equal(record.flags, BDEV_IO_FUA);
	assert_int_equal(record.offset, 3 * BLOCK);
	assert_int_equal(record.length, BLOCK);
	assert_true(record.ended && record.status == 0 && record.end_order == 1);
	assert_ptr_equal(record.reactor, host.reactor);
	gate_bdev_forget(host.gate);
	assert_int_equal(gate_bdev_record_count(host.gate), 0);
	host_end(&host);
}

static bool two_are_held(void *arg)
{
	return gate_bdev_held(arg) == 2;
}

static void held_requests_have_no_effect_until_released_in_any_order(void **state)
{
	SIM_FOR_EACH_SEED(seed, 20)
	{
		struct gate_record record;
		struct call first, second;
		struct host host;

		host_start(&host, seed);
		gate_bdev_hold(host.gate, true);
		io_begin(&host, &first, BDEV_IO_WRITE, 0, 0, 1);
		io_begin(&host, &second, BDEV_IO_WRITE, 0, 0, 2);
		assert_true(sim_run(host.sim, two_are_held, host.gate, SEC_NS));
		sim_run_for(host.sim, SEC_NS);
		assert_false(first.done || second.done);
		assert_int_equal(first_byte(&host, 0), 0);
		gate_bdev_release(host.gate, 1, 0);
		gate_bdev_forget(host.gate); /* nothing has ended yet */
		assert_int_equal(call_wait(&host, &second), 0);
		assert_false(first.done);
		assert_int_equal(first_byte(&host, 0), 2);
		gate_bdev_release(host.gate, 0, seed % 2 ? -EIO : 0);
		assert_int_equal(call_wait(&host, &first), seed % 2 ? -EIO : 0);
		assert_int_equal(first_byte(&host, 0), seed % 2 ? 2 : 1);
		gate_bdev_record_at(host.gate, 0, &record);
		assert_int_equal(record.end_order, 2);
		gate_bdev_hold(host.gate, false);
		assert_int_equal(io_run(&host, BDEV_IO_WRITE, 0, 1, 3, NULL), 0);
		host_end(&host);
	}
}

static void only_the_types_that_should_be_are_held(void **state)
{
	struct call write;
	struct host host;

	host_start(&host, 1);
	gate_bdev_hold_types(host.gate, 1u << BDEV_IO_WRITE);
	gate_bdev_hold(host.gate, true);
	io_begin(&host, &write, BDEV_IO_WRITE, 0, 0, 1);
	assert_int_equal(io_run(&host, BDEV_IO_READ, 0, 0, 0, NULL), 0);
	assert_int_equal(gate_bdev_held(host.gate), 1);
	gate_bdev_release_all(host.gate, 0);
	assert_int_equal(call_wait(&host, &write), 0);
	host_end(&host);
}

static void a_scripted_failure_hits_its_range_and_type_so_many_times(void **state)
{
	struct host host;

	host_start(&host, 1);
	gate_bdev_fail(host.gate, 1u << BDEV_IO_WRITE, 4 * BLOCK, BLOCK, -ENOSPC, 2);
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, 0, 3, 1, NULL), 0);
	assert_int_equal(io_run(&host, BDEV_IO_READ, 0, 4, 1, NULL), 0);
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, 0, 4, 1, NULL), -ENOSPC);
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, 0, 4, 1, NULL), -ENOSPC);
	assert_int_equal(first_byte(&host, 4), 0);
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, 0, 4, 1, NULL), 0);
	assert_int_equal(first_byte(&host, 4), 1);
	host_end(&host);
}

static void only_flush_and_fua_make_writes_stable(void **state)
{
	struct call flush;
	struct host host;

	host_start(&host, 1);
	assert_true(gate_bdev_is_stable(host.gate, 0, 64 * KIB));
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, BDEV_IO_FUA, 0, 1, NULL), 0);
	assert_true(gate_bdev_is_stable(host.gate, 0, BLOCK));
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, 0, 1, 1, NULL), 0);
	assert_false(gate_bdev_is_stable(host.gate, 0, 2 * BLOCK));

	/* A write that ends while the flush is under way is not covered by it. */
	gate_bdev_hold_types(host.gate, 1u << BDEV_IO_FLUSH);
	gate_bdev_hold(host.gate, true);
	io_begin(&host, &flush, BDEV_IO_FLUSH, 0, 0, 0);
	assert_int_equal(io_run(&host, BDEV_IO_WRITE, 0, 2, 1, NULL), 0);
	assert_false(gate_bdev_is_stable(host.gate, BLOCK, BLOCK));
	gate_bdev_release_all(host.gate, 0);
	assert_int_equal(call_wait(&host, &flush), 0);
	assert_true(gate_bdev_is_stable(host.gate, BLOCK, BLOCK));
	assert_false(gate_bdev_is_stable(host.gate, 2 * BLOCK, BLOCK));

	/* A flush that failed promises nothing. */
	io_begin(&host, &flush, BDEV_IO_FLUSH, 0, 0, 0);
	sim_run_for(host.sim, MSEC_NS);
	gate_bdev_release_all(host.gate, -EIO);
	assert_int_equal(call_wait(&host, &flush), -EIO);
	assert_false(gate_bdev_is_stable(host.gate, 2 * BLOCK, BLOCK));
	host_end(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_and_remembered),
		cmocka_unit_test(held_requests_have_no_effect_until_released_in_any_order),
		cmocka_unit_test(only_the_types_that_should_be_are_held),
		cmocka_unit_test(a_scripted_failure_hits_its_range_and_type_so_many_times),
		cmocka_unit_test(only_flush_and_fua_make_writes_stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
