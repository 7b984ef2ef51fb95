/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes on the management socket: the daemon answers in JSON lines or closes, nobody else is
 * affected, nothing leaks.
 *
 * The first bytes of the input are the seed of the simulated host (how the stream is cut, which
 * thread runs when) and say whether the client reads; the rest is what the client sends. Afterwards
 * every line that came back must be an answer, another client must be served, and the server must
 * stop in order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/server.h"
#include "sim/sim.h"

#define INPUT_MAX (512 * 1024)
#define HELD_MAX  64

struct fuzz {
	struct sim *sim;
	struct os *os;
	struct reactor *reactor;
	struct rpc_server *server;
	struct rpc_request *held[HELD_MAX];
	unsigned held_count;
	struct message message;
	bool served;
	bool stopped;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- methods that take everything a table can say ---- */

static const char *const words[] = {"a", "b", NULL};

struct all_params {
	const char *text;
	const char *uuid;
	const json_t *any;
	bool flag;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	int32_t i32;
	int word;
};

#define FIELD(type_, field_)                                                                       \
	.name = #field_, .type = (type_), .offset = offsetof(struct all_params, field_)

static const struct rpc_param all_table[] = {
	{FIELD(RPC_STRING, text)},
	{FIELD(RPC_UUID, uuid)},
	{FIELD(RPC_JSON, any)},
	{FIELD(RPC_BOOL, flag)},
	{FIELD(RPC_U16, u16)},
	{FIELD(RPC_U32, u32)},
	{FIELD(RPC_U64, u64)},
	{FIELD(RPC_I32, i32)},
	{FIELD(RPC_ENUM, word), .choices = words, .flags = RPC_ANY_CASE},
	{0},
};

static void echo(struct rpc_request *request, const void *params, void *context)
{
	const struct all_params *all = params;

	if (all->flag)
		rpc_request_explain(request, true);
	if (all->any)
		rpc_request_finish(request, json_deep_copy(all->any));
	else if (all->text)
		rpc_request_finish(request, json_string(all->text));
	else
		rpc_request_fail(request, -(int)(all->u16 % 130) - 1, NULL);
}

static void hold(struct rpc_request *request, const void *params, void *context)
{
	struct fuzz *fuzz = context;

	if (fuzz->held_count < HELD_MAX)
		fuzz->held[fuzz->held_count++] = request;
	else
		rpc_request_finish(request, NULL);
}

static const struct rpc_method methods[] = {
	{"e", RPC_ANY_STATE, echo, all_table, sizeof(struct all_params),
		.decode_error = RPC_DECODE_ERROR},
	{"h", RPC_ANY_STATE, hold},
	{"late", RPC_RUNTIME, hold},
	{0},
};

/* ---- the server ---- */

static void release(struct fuzz *fuzz)
{
	for (unsigned i = 0; i < fuzz->held_count; i++)
		rpc_request_finish(fuzz->held[i], NULL);
	fuzz->held_count = 0;
}

static void serve_run(struct message *message)
{
	struct fuzz *fuzz = container_of(message, struct fuzz, message);

	rpc_server_serve(fuzz->server);
	fuzz->served = true;
}

static void stop_done(void *arg, int rc)
{
	struct fuzz *fuzz = arg;

	fuzz->stopped = true;
}

static void stop_run(struct message *message)
{
	struct fuzz *fuzz = container_of(message, struct fuzz, message);

	rpc_server_stop(fuzz->server, stop_done, fuzz);
	release(fuzz);
}

static bool is_set(void *flag)
{
	return *(bool *)flag;
}

static void fuzz_call(struct fuzz *fuzz, void (*run)(struct message *message), bool *done)
{
	fuzz->message.run = run;
	reactor_send(fuzz->reactor, &fuzz->message);
	invariant(sim_run(fuzz->sim, is_set, done, SEC_NS));
}

static void fuzz_start(struct fuzz *fuzz, uint64_t seed)
{
	const struct reactor_options options = {.name = "control", .cpu = -1};

	fuzz->sim = sim_create(seed);
	fuzz->os = sim_os(fuzz->sim);
	invariant(reactor_create(fuzz->os, &options, NULL, &fuzz->reactor) == 0);
	invariant(rpc_server_create(fuzz->reactor, &fuzz->server) == 0);
	invariant(rpc_server_register(fuzz->server, methods, fuzz) == 0);
	invariant(rpc_server_listen(fuzz->server, "/rpc", NULL) == 0);
	invariant(reactor_start(fuzz->reactor, NULL) == 0);
	fuzz_call(fuzz, serve_run, &fuzz->served);
}

static void fuzz_end(struct fuzz *fuzz)
{
	fuzz_call(fuzz, stop_run, &fuzz->stopped);
	reactor_stop(fuzz->reactor);
	rpc_server_destroy(fuzz->server);
	reactor_destroy(fuzz->reactor);
	invariant(sim_destroy(fuzz->sim) == 0);
}

/* ---- the client ---- */

struct answers {
	char *text;
	size_t len;
	bool ended;
};

static void answers_receive(struct fuzz *fuzz, int fd, struct answers *answers)
{
	char buf[4096];
	unsigned nfds;
	int64_t len;

	while ((len = fuzz->os->ops->socket_receive(
			fuzz->os, fd, buf, sizeof(buf), NULL, 0, &nfds)) > 0) {
		answers->text = realloc(answers->text, answers->len + (size_t)len);
		memcpy(answers->text + answers->len, buf, (size_t)len);
		answers->len += (size_t)len;
	}
	answers->ended = answers->ended || len != -EAGAIN;
}

static bool answer_is_one(const json_t *answer)
{
	const json_t *version = json_object_get(answer, "jsonrpc");

	return json_is_string(version) && strcmp(json_string_value(version), "2.0") == 0 &&
	       json_object_get(answer, "id") && json_object_size(answer) == 3 &&
	       !json_object_get(answer, "result") != !json_object_get(answer, "error");
}

/* Every byte that leaves is part of a line that is an answer or an array of answers, in ASCII. */
static void answers_check(const struct answers *answers)
{
	const char *line = answers->text;
	size_t left = answers->len;

	while (left) {
		const char *end = memchr(line, '\n', left);
		size_t len, i;
		json_t *value, *answer;
		json_error_t error;

		if (!end)
			break; /* the client stopped reading */
		len = (size_t)(end - line);
		for (i = 0; i < len; i++)
			invariant((unsigned char)line[i] >= 0x20 && (unsigned char)line[i] < 0x80);
		value = json_loadb(line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
		/* What an id may be and jansson may not read. */
		invariant(value || json_error_code(&error) == json_error_numeric_overflow);
		if (json_is_object(value))
			invariant(answer_is_one(value));
		invariant(!json_is_array(value) || json_array_size(value) > 0);
		json_array_foreach(value, i, answer) invariant(answer_is_one(answer));
		json_decref(value);
		left -= len + 1;
		line = end + 1;
	}
}

static void client_play(struct fuzz *fuzz, bool reads, const uint8_t *data, size_t size)
{
	struct answers answers = {0};
	unsigned stalled = 0;
	int fd;

	invariant(fuzz->os->ops->socket_connect(fuzz->os, "/rpc", &fd) == 0);
	while (size && !answers.ended && stalled < 100) {
		int64_t sent = fuzz->os->ops->socket_send(fuzz->os, fd, data, size, NULL, 0);

		if (sent > 0) {
			data += sent;
			size -= (size_t)sent;
			stalled = 0;
		} else if (sent != -EAGAIN) {
			break;
		}
		stalled++;
		sim_run_for(fuzz->sim, 50 * USEC_NS);
		if (reads)
			answers_receive(fuzz, fd, &answers);
		if (stalled > 50)
			release(fuzz);
	}
	sim_run_for(fuzz->sim, MSEC_NS);
	if (reads)
		answers_receive(fuzz, fd, &answers);
	answers_check(&answers);
	free(answers.text);
	fuzz->os->ops->close(fuzz->os, fd);
}

static void another_is_served(struct fuzz *fuzz)
{
	static const char ask[] = "{\"method\":\"e\",\"params\":{\"text\":\"x\"},\"id\":1}";
	static const char expected[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"x\"}\n";
	struct answers answers = {0};
	int fd;

	invariant(fuzz->os->ops->socket_connect(fuzz->os, "/rpc", &fd) == 0);
	for (size_t sent = 0; sent < strlen(ask);) {
		int64_t n = fuzz->os->ops->socket_send(
			fuzz->os, fd, ask + sent, strlen(ask) - sent, NULL, 0);

		invariant(n > 0);
		sent += (size_t)n;
	}
	for (unsigned i = 0; i < 1000 && answers.len < strlen(expected); i++) {
		sim_run_for(fuzz->sim, 50 * USEC_NS);
		answers_receive(fuzz, fd, &answers);
	}
	invariant(answers.len == strlen(expected) &&
		  memcmp(answers.text, expected, answers.len) == 0);
	free(answers.text);
	fuzz->os->ops->close(fuzz->os, fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz *fuzz;

	if (size < 2 || size > INPUT_MAX)
		return -1;
	log_set_level(LOG_ERROR);
	fuzz = calloc(1, sizeof(*fuzz));
	fuzz_start(fuzz, data[0]);
	client_play(fuzz, data[1] & 1, data + 2, size - 2);
	another_is_served(fuzz);
	fuzz_end(fuzz);
	free(fuzz);
	return 0;
}
