/* SPDX-License-Identifier: BSD-2-Clause */
#include "control_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct nvme_kind no_kinds[] = {{0}};
static const struct nvme_kind *world_kinds = no_kinds;
static void (*world_drives_ended)(void);

void world_set_drives(const struct nvme_kind *kinds, void (*ended)(void))
{
	world_kinds = kinds;
	world_drives_ended = ended;
}

static bool is_set(void *flag)
{
	return *(bool *)flag;
}

static void world_run(struct world *world, void (*run)(struct message *message))
{
	world->done = false;
	world->message.run = run;
	reactor_send(world->control, &world->message);
	assert_true(sim_run(world->sim, is_set, &world->done, 10 * SEC_NS));
}

static struct reactor *reactor_make(struct world *world, const char *name)
{
	const struct reactor_options options = {.name = name, .cpu = -1};
	struct reactor *reactor;

	assert_int_equal(reactor_create(world->os, &options, NULL, &reactor), 0);
	assert_int_equal(reactor_start(reactor, NULL), 0);
	return reactor;
}

static void runtime_begun(void *arg, int rc)
{
	struct world *world = arg;

	world->start_rc = rc;
	if (!rc)
		rpc_server_serve(world->rpc);
	world->done = true;
}

static void startup_begun(void *arg, int rc)
{
	struct world *world = arg;

	if (rc || world->wait_for_rpc)
		runtime_begun(world, rc);
	else
		control_begin_runtime(world->methods, &world->reason, runtime_begun, world);
}

static void begin(struct world *world)
{
	if (world->config)
		world->start_rc = control_load_config(
			world->methods, world->config, world->on_failure, &world->reason);
	if (world->start_rc)
		world->done = true;
	else
		control_begin_startup(world->methods, &world->reason, startup_begun, world);
}

static void failed(void *arg, int rc, const struct reason *reason)
{
	struct world *world = arg;

	world->failed_rc = rc;
	world->reason = *reason;
}

static void make_run(struct message *message)
{
	struct world *world = container_of(message, struct world, message);
	struct vhost_options vhost = {
		.os = world->os,
		.control = world->control,
		.data_reactors = world->data,
		.data_reactor_count = 1,
		.socket_dir = "/vhost",
	};
	struct control_options control = {
		.control = world->control,
		.data = world->data,
		.data_count = 1,
		.cpus = {.bits = {1}},
		.version = "test",
		.failed = failed,
		.failed_arg = world,
		.directory = "/started/here",
	};
	struct lvols_options lvols = {.data = world->data, .data_count = 1};
	struct reason reason = {0};

	assert_int_equal(bdev_registry_create(world->os, world->control, &world->registry), 0);
	world->drives = nvme_drives_create(world->os, world->registry, world_kinds);
	assert_int_equal(filters_create(world->registry, &world->filters), 0);
	lvols.registry = world->registry;
	lvols.filters = world->filters;
	assert_int_equal(lvols_create(&lvols, &world->lvols), 0);
	vhost.registry = world->registry;
	assert_int_equal(vhost_create(&vhost, &reason, &world->vhost), 0);
	assert_int_equal(rpc_server_create(world->control, &world->rpc), 0);
	control.registry = world->registry;
	control.drives = world->drives;
	control.filters = world->filters;
	control.lvols = world->lvols;
	control.vhost = world->vhost;
	control.rpc = world->rpc;
	assert_int_equal(control_create(&control, &world->methods), 0);
	assert_int_equal(rpc_server_listen(world->rpc, "/rpc", &reason), 0);
	begin(world);
}

static struct world *start(json_t *config, enum config_failure on_failure, bool wait_for_rpc)
{
	const struct sim_options options = {.seed = 1, .allow_blocking = true};
	struct world *world = calloc(1, sizeof(*world));

	log_set_level(LOG_WARNING);
	world->sim = sim_create_with(&options);
	world->os = sim_os(world->sim);
	assert_int_equal(world->os->ops->directory_create(world->os, "/vhost", 0700), 0);
	world->control = reactor_make(world, "control");
	world->data[0] = reactor_make(world, "data0");
	world->wait_for_rpc = wait_for_rpc;
	world->config = config;
	world->on_failure = on_failure;
	world_run(world, make_run);
	assert_int_equal(world->os->ops->socket_connect(world->os, "/rpc", &world->fd), 0);
	return world;
}

struct world *world_start(bool wait_for_rpc)
{
	return start(NULL, CONFIG_STOP, wait_for_rpc);
}

struct world *world_start_configured(
	const char *config, enum config_failure on_failure, bool wait_for_rpc)
{
	json_t *subsystems = json_loads(config, 0, NULL);

	assert_non_null(subsystems);
	return start(subsystems, on_failure, wait_for_rpc);
}

static void find_first(struct bdev *bdev, void *arg)
{
	struct bdev **first = arg;

	if (!*first)
		*first = bdev;
}

static bool has_bdev(struct world *world)
{
	world->last = NULL;
	bdev_for_each(world->registry, find_first, &world->last);
	return world->last != NULL;
}

static enum flow_result stop_run(struct flow *f)
{
	struct world *world = container_of(f, struct world, stop);

	FLOW_BEGIN(f);
	control_stop(world->methods);
	filters_close(world->filters);
	AWAIT(f, rpc_server_stop(world->rpc, flow_resume, f));
	AWAIT(f, vhost_destroy(world->vhost, flow_resume, f));
	AWAIT(f, lvols_close(world->lvols, flow_resume, f));
	while (has_bdev(world))
		AWAIT(f, bdev_unregister(world->last, flow_resume, f));
	AWAIT(f, nvme_drives_close(world->drives, flow_resume, f));
	world->done = true;
	FLOW_END(f);
}

static void stop_start(struct message *message)
{
	struct world *world = container_of(message, struct world, message);

	flow_start(&world->stop, world->control, "stop", stop_run);
}

void world_end(struct world *world)
{
	world_run(world, stop_start);
	if (world_drives_ended)
		world_drives_ended();
	world->os->ops->close(world->os, world->fd);
	reactor_stop(world->data[0]);
	reactor_stop(world->control);
	control_destroy(world->methods);
	rpc_server_destroy(world->rpc);
	lvols_destroy(world->lvols);
	filters_destroy(world->filters);
	nvme_drives_destroy(world->drives);
	bdev_registry_destroy(world->registry);
	reactor_destroy(world->data[0]);
	reactor_destroy(world->control);
	assert_int_equal(sim_destroy(world->sim), 0);
	json_decref(world->config);
	free(world);
}

void world_say(struct world *world, const char *method, const char *params)
{
	char text[4096];
	size_t len = (size_t)snprintf(text, sizeof(text), "{\"method\":\"%s\",\"id\":1%s%s}",
		method, params ? ",\"params\":" : "", params ? params : "");
	size_t sent = 0;

	while (sent < len) {
		int64_t n = world->os->ops->socket_send(
			world->os, world->fd, text + sent, len - sent, NULL, 0);

		assert_true(n > 0);
		sent += (size_t)n;
	}
}

static bool has_line(void *arg)
{
	struct world *world = arg;
	unsigned nfds;
	int64_t n =
		world->os->ops->socket_receive(world->os, world->fd, world->received + world->len,
			sizeof(world->received) - world->len - 1, NULL, 0, &nfds);

	assert_true(n > 0 || n == -EAGAIN);
	if (n > 0)
		world->len += (size_t)n;
	return memchr(world->received, '\n', world->len) != NULL;
}

const char *world_hear(struct world *world)
{
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,";
	static char *line;
	char *end;
	size_t len;

	for (unsigned i = 0; !has_line(world); i++) {
		assert_true(i < 100000);
		sim_run_for(world->sim, 100 * USEC_NS);
	}
	end = memchr(world->received, '\n', world->len);
	len = (size_t)(end - world->received);
	assert_true(len > strlen(head));
	assert_memory_equal(world->received, head, strlen(head));
	free(line);
	/* Without the closing brace. */
	line = strndup(world->received + strlen(head), len - strlen(head) - 1);
	world->len -= len + 1;
	memmove(world->received, end + 1, world->len);
	return line;
}

bool world_hears_nothing(struct world *world)
{
	sim_run_for(world->sim, 50 * MSEC_NS);
	return !has_line(world);
}

const char *world_call(struct world *world, const char *method, const char *params)
{
	world_say(world, method, params);
	return world_hear(world);
}

void expect_exchanges(struct world *world, const struct exchange *exchanges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct exchange *exchange = &exchanges[i];
		const char *answer = world_call(world, exchange->method, exchange->params);

		if (strcmp(answer, exchange->answer) != 0)
			fail_msg("%s %s: %s, expected %s", exchange->method,
				exchange->params ? exchange->params : "", answer, exchange->answer);
	}
}
