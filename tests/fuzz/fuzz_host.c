/* SPDX-License-Identifier: BSD-2-Clause */
/* The host of the device fuzzers; its header says what it is. */
#include "fuzz/fuzz_host.h"

#include <string.h>

#include "backend/backends.h"

/* Far beyond any limit of ours: an operation that never ends is one of the things to find. */
#define AWAIT_NS (120 * SEC_NS)

void fuzz_host_done(void *arg, int rc)
{
	struct fuzz_host *host = arg;

	host->answered = true;
	host->rc = rc;
}

static bool fuzz_host_answered(void *arg)
{
	return ((struct fuzz_host *)arg)->answered;
}

static void fuzz_host_call(struct message *message)
{
	struct fuzz_host *host = container_of(message, struct fuzz_host, message);

	host->call(host->arg);
}

void fuzz_host_await(struct fuzz_host *host, void (*call)(void *arg), void *arg)
{
	host->answered = false;
	host->call = call;
	host->arg = arg;
	host->message.run = fuzz_host_call;
	reactor_send(host->control, &host->message);
	must(sim_run(host->sim, fuzz_host_answered, host, AWAIT_NS));
	must(host->rc == 0);
}

static void fuzz_host_create_disk(void *arg)
{
	struct fuzz_host *host = arg;
	const struct malloc_bdev_options disk = {
		.name = "disk", .num_blocks = FUZZ_DISK / 512, .block_size = 512};

	must(bdev_registry_create(host->os, host->control, &host->registry) == 0);
	must(malloc_bdev_create(host->registry, &disk, NULL, &host->bdev) == 0);
	fuzz_host_done(host, 0);
}

static void fuzz_host_destroy_disk(void *arg)
{
	struct fuzz_host *host = arg;

	bdev_unregister(host->bdev, fuzz_host_done, host);
}

void fuzz_host_create(struct fuzz_host *host, const struct sim_options *options)
{
	const struct reactor_options control = {.name = "control", .cpu = -1};
	const struct reactor_options data = {.name = "data", .cpu = -1};

	log_set_level(LOG_ERROR);
	host->sim = sim_create_with(options);
	host->os = sim_os(host->sim);
	must(reactor_create(host->os, &control, NULL, &host->control) == 0);
	must(reactor_start(host->control, NULL) == 0);
	must(reactor_create(host->os, &data, NULL, &host->data) == 0);
	must(reactor_start(host->data, NULL) == 0);
	fuzz_host_await(host, fuzz_host_create_disk, host);
}

void fuzz_host_destroy(struct fuzz_host *host)
{
	fuzz_host_await(host, fuzz_host_destroy_disk, host);
	reactor_stop(host->data);
	reactor_stop(host->control);
	reactor_destroy(host->data);
	bdev_registry_destroy(host->registry);
	reactor_destroy(host->control);
	must(sim_destroy(host->sim) == 0);
}

/* ---- the input --------------------------------------------------------------------------- */

void input_take(struct input *in, void *buf, size_t len)
{
	size_t part = len < in->left ? len : in->left;

	memcpy(buf, in->p, part);
	memset((uint8_t *)buf + part, 0, len - part);
	in->p += part;
	in->left -= part;
}

uint8_t input_u8(struct input *in)
{
	uint8_t value;

	input_take(in, &value, 1);
	return value;
}

uint16_t input_u16(struct input *in)
{
	uint16_t low = input_u8(in);

	return (uint16_t)(low | input_u8(in) << 8);
}
