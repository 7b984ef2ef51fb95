/* SPDX-License-Identifier: BSD-2-Clause */
#include "rpc_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/flow.h"

#define PATIENCE_NS (10 * SEC_NS)

static bool on_kernel;

void world_select(int argc, char **argv)
{
	on_kernel = argc > 1 && strcmp(argv[1], "real") == 0;
}

bool world_is_simulated(void)
{
	return !on_kernel;
}

void world_sleep(struct world *world, uint64_t ns)
{
	if (world->sim)
		sim_run_for(world->sim, ns);
	else
		nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

/* ---- methods ------------------------------------------------------------------------------- */

static const char *const choices[] = {"a", "b", NULL};

struct echo_params {
	const char *text;
	const char *uuid;
	const json_t *any;
	bool flag;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	int32_t i32;
	int choice;
	int any_case;
};

#define FIELD(type_, struct_, field_)                                                              \
	.name = #field_, .type = (type_), .offset = offsetof(struct struct_, field_)

static const struct rpc_param echo_table[] = {
	{FIELD(RPC_STRING, echo_params, text), .text = "nothing"},
	{FIELD(RPC_UUID, echo_params, uuid)},
	{FIELD(RPC_JSON, echo_params, any)},
	{FIELD(RPC_BOOL, echo_params, flag), .value = true},
	{FIELD(RPC_U16, echo_params, u16), .value = 7},
	{FIELD(RPC_U32, echo_params, u32), .value = 7},
	{FIELD(RPC_U64, echo_params, u64), .value = 7},
	{FIELD(RPC_I32, echo_params, i32), .value = 7},
	{FIELD(RPC_ENUM, echo_params, choice), .choices = choices},
	{FIELD(RPC_ENUM, echo_params, any_case), .choices = choices, .flags = RPC_ANY_CASE,
		.value = 1},
	{0},
};

static void echo(struct rpc_request *request, const void *params, void *context)
{
	const struct echo_params *echo = params;
	struct world *world = context;
	json_t *result = json_pack("{s:s, s:b, s:i, s:I, s:I, s:i, s:i, s:i}", "text", echo->text,
		"flag", (int)echo->flag, "u16", (int)echo->u16, "u32", (json_int_t)echo->u32, "u64",
		(json_int_t)echo->u64, "i32", (int)echo->i32, "choice", echo->choice, "any_case",
		echo->any_case);

	world->executed_at_echo = world->executed++;
	if (echo->uuid)
		json_object_set_new(result, "uuid", json_string(echo->uuid));
	if (echo->any)
		json_object_set_new(result, "any", json_deep_copy(echo->any));
	rpc_request_finish(request, result);
}

struct number_params {
	uint32_t x;
};

static const struct rpc_param need_table[] = {
	{FIELD(RPC_U32, number_params, x), .flags = RPC_REQUIRED},
	{0},
};

static const struct rpc_param lenient_table[] = {
	{FIELD(RPC_U32, number_params, x)},
	{0},
};

static void answer_true(struct rpc_request *request, const void *params, void *context)
{
	struct world *world = context;

	world->executed++;
	rpc_request_finish(request, NULL);
}

struct fail_params {
	int32_t rc;
};

static const struct rpc_param fail_table[] = {
	{FIELD(RPC_I32, fail_params, rc), .flags = RPC_REQUIRED},
	{0},
};

static void fail_method(struct rpc_request *request, const void *params, void *context)
{
	const struct fail_params *wanted = params;
	struct reason reason = {0};

	reason_set(&reason, wanted->rc, "do \"this\"\x80 instead");
	rpc_request_fail(request, wanted->rc, &reason);
}

struct delay {
	struct timer timer;
	struct rpc_request *request;
};

static void delay_fired(struct timer *timer)
{
	struct delay *delay = container_of(timer, struct delay, timer);

	rpc_request_finish(delay->request, NULL);
	free(delay);
}

static void delay_method(struct rpc_request *request, const void *params, void *context)
{
	const struct number_params *wanted = params;
	struct world *world = context;
	struct delay *delay = calloc(1, sizeof(*delay));

	delay->request = request;
	delay->timer.fired = delay_fired;
	timer_start(world->reactor, &delay->timer, wanted->x * MSEC_NS);
}

static void hold_method(struct rpc_request *request, const void *params, void *context)
{
	struct world *world = context;

	world->held[world->held_count] = request;
	world->held_count++;
}

static void blob_method(struct rpc_request *request, const void *params, void *context)
{
	const struct number_params *wanted = params;
	struct world *world = context;
	char *text = malloc(wanted->x + 1);

	memset(text, 'x', wanted->x);
	world->executed++;
	rpc_request_finish(request, json_stringn(text, wanted->x));
	free(text);
}

struct explain_params {
	bool enabled;
};

static const struct rpc_param explain_table[] = {
	{FIELD(RPC_BOOL, explain_params, enabled), .flags = RPC_REQUIRED},
	{0},
};

static void explain_method(struct rpc_request *request, const void *params, void *context)
{
	const struct explain_params *wanted = params;

	rpc_request_explain(request, wanted->enabled);
	rpc_request_finish(request, NULL);
}

static const struct rpc_method methods[] = {
	{"echo", RPC_ANY_STATE, echo, echo_table, sizeof(struct echo_params),
		.decode_error = RPC_DECODE_ERROR},
	{"need", RPC_ANY_STATE, answer_true, need_table, sizeof(struct number_params),
		.decode_error = {-22, "Needs x"}},
	{"lenient", RPC_ANY_STATE, answer_true, lenient_table, sizeof(struct number_params),
		.ignores_unknown = true, .decode_error = RPC_DECODE_ERROR},
	{"none", RPC_ANY_STATE, answer_true},
	{"fail", RPC_ANY_STATE, fail_method, fail_table, sizeof(struct fail_params),
		.decode_error = RPC_DECODE_ERROR},
	{"delay", RPC_ANY_STATE, delay_method, need_table, sizeof(struct number_params),
		.decode_error = RPC_DECODE_ERROR},
	{"hold", RPC_ANY_STATE, hold_method},
	{"blob", RPC_ANY_STATE, blob_method, need_table, sizeof(struct number_params),
		.decode_error = RPC_DECODE_ERROR},
	{"explain", RPC_ANY_STATE, explain_method, explain_table, sizeof(struct explain_params),
		.decode_error = RPC_DECODE_ERROR},
	{"early", RPC_STARTUP, answer_true},
	{"late", RPC_RUNTIME, answer_true},
	{0},
};

/* ---- the world ----------------------------------------------------------------------------- */

struct call {
	struct message message;
	struct world *world;
	void (*fn)(struct world *world, void *arg);
	void *arg;
	_Atomic bool done;
};

static void call_run(struct message *message)
{
	struct call *call = container_of(message, struct call, message);

	call->fn(call->world, call->arg);
	call->done = true;
}

static bool flag_is_set(void *flag)
{
	return *(_Atomic bool *)flag;
}

static void world_wait(struct world *world, bool (*until)(void *arg), void *arg)
{
	if (world->sim) {
		assert_true(sim_run(world->sim, until, arg, PATIENCE_NS));
		return;
	}
	for (unsigned i = 0; i < PATIENCE_NS / MSEC_NS && !until(arg); i++)
		world_sleep(world, MSEC_NS);
	assert_true(until(arg));
}

void world_call(struct world *world, void (*fn)(struct world *world, void *arg), void *arg)
{
	struct call call = {.message.run = call_run, .world = world, .fn = fn, .arg = arg};

	reactor_send(world->reactor, &call.message);
	world_wait(world, flag_is_set, &call.done);
}

static void release_run(struct world *world, void *arg)
{
	for (unsigned i = 0; i < world->held_count; i++)
		rpc_request_finish(world->held[i], NULL);
	world->held_count = 0;
}

void world_release(struct world *world)
{
	world_call(world, release_run, NULL);
}

struct count_wait {
	_Atomic unsigned *count;
	unsigned wanted;
};

static bool count_is_reached(void *arg)
{
	const struct count_wait *wait = arg;

	return *wait->count >= wait->wanted;
}

void world_wait_executed(struct world *world, unsigned count)
{
	struct count_wait wait = {&world->executed, count};

	world_wait(world, count_is_reached, &wait);
}

void world_wait_held(struct world *world, unsigned count)
{
	struct count_wait wait = {&world->held_count, count};

	world_wait(world, count_is_reached, &wait);
}

static void serve_run(struct world *world, void *arg)
{
	rpc_server_set_state(world->server, RPC_RUNTIME);
	rpc_server_serve(world->server);
}

void world_start(struct world *world, uint64_t seed)
{
	const struct reactor_options options = {
		.name = "control", .cpu = -1, .poll_mode = POLL_NEVER};
	struct reason reason = {0};

	memset(world, 0, sizeof(*world));
	snprintf(world->path, sizeof(world->path), "/tmp/sluice-test-rpc-%d", (int)getpid());
	if (on_kernel) {
		assert_int_equal(os_real_create(&(struct os_real_options){.io_uring = true},
					 &reason, &world->os),
			0);
	} else {
		world->sim = sim_create(seed);
		world->os = sim_os(world->sim);
	}
	assert_int_equal(reactor_create(world->os, &options, &reason, &world->reactor), 0);
	assert_int_equal(rpc_server_create(world->reactor, &world->server), 0);
	assert_int_equal(rpc_server_register(world->server, methods, world), 0);
	assert_int_equal(rpc_server_listen(world->server, world->path, &reason), 0);
	assert_int_equal(reactor_start(world->reactor, &reason), 0);
	world_call(world, serve_run, NULL);
}

static void stopped(void *arg, int rc)
{
	assert_int_equal(rc, 0);
	*(_Atomic bool *)arg = true;
}

static void stop_run(struct world *world, void *arg)
{
	rpc_server_stop(world->server, stopped, arg);
	release_run(world, NULL);
}

void world_stop_server(struct world *world)
{
	_Atomic bool done = false;

	world_call(world, stop_run, &done);
	world_wait(world, flag_is_set, &done);
}

void world_end(struct world *world)
{
	world_stop_server(world);
	reactor_stop(world->reactor);
	rpc_server_destroy(world->server);
	reactor_destroy(world->reactor);
	if (world->sim)
		assert_int_equal(sim_destroy(world->sim), 0);
	else
		os_real_destroy(world->os);
}

/* ---- clients ------------------------------------------------------------------------------- */

void client_open(struct world *world, struct client *client)
{
	int rc;

	*client = (struct client){.world = world};
	rc = world->os->ops->socket_connect(world->os, world->path, &client->fd);
	assert_int_equal(rc, 0);
}

void client_close(struct client *client)
{
	client->world->os->ops->close(client->world->os, client->fd);
	free(client->text);
	client->text = NULL;
}

/* Takes what is there; false: nothing. */
static bool client_receive(struct client *client)
{
	struct os *os = client->world->os;
	unsigned nfds;
	int64_t len;

	if (client->ended)
		return false;
	if (client->size - client->len < 65536) {
		client->size = client->size * 2 + 65536;
		client->text = realloc(client->text, client->size + 1);
	}
	len = os->ops->socket_receive(os, client->fd, client->text + client->len,
		client->size - client->len, NULL, 0, &nfds);
	if (len == -EAGAIN)
		return false;
	if (len <= 0)
		client->ended = true;
	else
		client->len += (size_t)len;
	client->text[client->len] = '\0';
	return true;
}

static void client_pause(struct client *client, unsigned attempt)
{
	world_sleep(client->world, client->world->sim ? 100 * USEC_NS : MSEC_NS);
	if (attempt > 100000)
		fail_msg("the server does nothing more");
}

void client_send(struct client *client, const void *data, size_t len)
{
	struct os *os = client->world->os;
	unsigned attempt = 0;

	while (len && !client->ended) {
		int64_t sent = os->ops->socket_send(os, client->fd, data, len, NULL, 0);

		if (sent == -EPIPE || sent == -ECONNRESET)
			return;
		if (sent == -EAGAIN) {
			client_pause(client, attempt++);
			continue;
		}
		assert_true(sent > 0);
		attempt = 0;
		data = (const char *)data + sent;
		len -= (size_t)sent;
	}
}

void client_say(struct client *client, const char *text)
{
	client_send(client, text, strlen(text));
}

void client_end_sending(struct client *client)
{
	assert_true(on_kernel);
	assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
}

/* The end of so many lines at the head of the text, or 0. */
static size_t client_find_lines(const struct client *client, unsigned count)
{
	const char *at = client->text;

	for (; at && count; count--) {
		at = memchr(at, '\n', client->len - (size_t)(at - client->text));
		at = at ? at + 1 : NULL;
	}
	return at ? (size_t)(at - client->text) : 0;
}

/* Moves the head of the text into one that stays until the next call. */
static const char *client_take(struct client *client, size_t len)
{
	static char *taken;

	free(taken);
	taken = calloc(1, len + 1);
	if (len)
		memcpy(taken, client->text, len);
	if (client->text)
		memmove(client->text, client->text + len, client->len - len + 1);
	client->len -= len;
	return taken;
}

const char *client_lines(struct client *client, unsigned count)
{
	size_t len;

	for (unsigned attempt = 0; !(len = client_find_lines(client, count)) && !client->ended;) {
		if (!client_receive(client))
			client_pause(client, attempt++);
	}
	return client_take(client, len);
}

const char *client_rest(struct client *client)
{
	for (unsigned attempt = 0; !client->ended;) {
		if (!client_receive(client))
			client_pause(client, attempt++);
	}
	return client_take(client, client->len);
}

bool client_hears_nothing(struct client *client)
{
	size_t before = client->len;

	world_sleep(client->world, 50 * MSEC_NS);
	while (client_receive(client))
		;
	return client->len == before && !client->ended;
}

void expect_exchange(struct world *world, const char *text, const char *lines, bool ends)
{
	struct client client;
	unsigned count = 0;

	for (const char *c = lines; *c; c++)
		count += *c == '\n';
	client_open(world, &client);
	client_say(&client, text);
	if (ends) {
		assert_string_equal(client_rest(&client), lines);
	} else {
		if (count)
			assert_string_equal(client_lines(&client, count), lines);
		assert_true(client_hears_nothing(&client));
	}
	client_close(&client);
}
