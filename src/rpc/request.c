/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a request object to its answer. A request that is in order and known is handed to its
 * method, which finishes it now or later; all others are answered here. Answers are written into
 * the connection's buffer, or gathered in the batch: member order jsonrpc, id, then result or
 * error; compact; every non-ASCII character escaped; one newline at the end.
 *
 * A notification (no id, or null) that succeeds is not answered; one that fails is, with id null.
 *
 * A request that changes the configuration is admitted by the keeper before it is handed over, and
 * between its success and its answer stands the keeping. The daemon's own calls (call.c) are
 * requests without connection and batch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "rpc/rpc_impl.h"

static const char state_error_startup[] =
	"Method may only be called before framework is initialized. Use --wait-for-rpc command "
	"line "
	"parameter and then issue this RPC before the framework_start_init RPC.";
static const char state_error_runtime[] =
	"Method may only be called after framework is initialized using framework_start_init RPC.";

static int buffer_append_text(struct rpc_buffer *buffer, const char *text)
{
	return rpc_buffer_append(buffer, text, strlen(text));
}

static int buffer_append_bytes(const char *data, size_t len, void *buffer)
{
	return rpc_buffer_append(buffer, data, len);
}

/* Strings that are not ours may hold anything: a file's name, the name of a process. */
static json_t *json_text(const char *text)
{
	json_t *string = json_string(text);
	char *copy;

	if (string)
		return string;
	copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *c = copy; *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	string = json_string(copy);
	free(copy);
	return string;
}

static json_t *error_object(int code, const char *text, const char *sentence)
{
	json_t *error = json_object();

	if (json_object_set_new(error, "code", json_integer(code)) ||
		json_object_set_new(error, "message", json_text(text)) ||
		(sentence && json_object_set_new(error, "data",
				     json_pack("{s:o}", "reason", json_text(sentence))))) {
		json_decref(error);
		return NULL;
	}
	return error;
}

/* One answer object without anything around it. */
static int answer_append(
	struct rpc_buffer *buffer, const char *id, const char *member, const json_t *value)
{
	int rc = buffer_append_text(buffer, "{\"jsonrpc\":\"2.0\",\"id\":");

	if (!rc)
		rc = buffer_append_text(buffer, id ? id : "null");
	if (!rc)
		rc = buffer_append_text(buffer, member);
	if (!rc)
		rc = json_dump_callback(value, buffer_append_bytes, buffer,
			JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	if (!rc)
		rc = buffer_append_text(buffer, "}");
	return rc ? -ENOMEM : 0;
}

static int error_append(struct rpc_buffer *buffer, const char *id, json_t *error)
{
	int rc = error ? answer_append(buffer, id, ",\"error\":", error) : -ENOMEM;

	json_decref(error);
	return rc;
}

int rpc_error_append(struct rpc_buffer *buffer, const struct rpc_error *error)
{
	int rc = error_append(buffer, NULL, error_object(error->code, error->text, NULL));

	return rc ? rc : buffer_append_text(buffer, "\n");
}

/* ---- where an answer goes ------------------------------------------------------------------ */

static int request_append(struct rpc_request *request, const char *member, const json_t *value)
{
	struct rpc_batch *batch = request->batch;
	struct rpc_buffer *buffer = batch ? &batch->answers : &request->connection->out;
	size_t before;
	int rc = 0;

	if (batch)
		rc = buffer_append_text(buffer, rpc_buffer_len(buffer) ? "," : "[");
	before = rpc_buffer_len(buffer);
	if (!rc)
		rc = answer_append(buffer, request->envelope.id, member, value);
	if (!rc && rpc_buffer_len(buffer) - (batch ? 0 : before) > RPC_ANSWER_MAX) {
		json_t *error = error_object(RPC_INTERNAL_ERROR, "Answer too long", NULL);

		buffer->end = buffer->start + before;
		rc = error_append(buffer, request->envelope.id, error);
	}
	if (!rc && !batch)
		rc = buffer_append_text(buffer, "\n");
	return rc;
}

static void request_end(struct rpc_request *request)
{
	struct rpc_server *server = request->server;

	if (request->call)
		rpc_call_answered(server, request->call);
	if (request->connection) {
		list_remove(&request->link);
		request->connection->pending--;
		rpc_connection_activate(request->connection);
	}
	if (request->batch)
		rpc_batch_put(request->batch);
	rpc_envelope_fini(&request->envelope);
	free(request);
	rpc_server_request_ended(server);
}

static void request_answer(struct rpc_request *request, const char *member, const json_t *value)
{
	/* Without memory for its answer a client cannot be served: it must not wait for ever. */
	if (request->connection && (!value || request_append(request, member, value)))
		request->connection->state = RPC_CONNECTION_BROKEN;
	request_end(request);
}

static void request_succeed(struct rpc_request *request, json_t *result)
{
	if (request->call)
		request->call->result = json_incref(result);
	if (request->envelope.id)
		request_answer(request, ",\"result\":", result);
	else
		request_end(request);
	json_decref(result);
}

static void request_kept(void *arg, int rc)
{
	struct rpc_request *request = arg;
	json_t *result = request->result;

	if (rc) {
		json_decref(result);
		rpc_request_fail(request, rc, &request->reason);
	} else {
		request_succeed(request, result);
	}
}

/* NULL: what it changes, if it does, nobody keeps. */
static const struct rpc_keeper *request_keeper(const struct rpc_request *request)
{
	if (request->call || !request->method->changes_configuration)
		return NULL;
	return rpc_server_keeper(request->server);
}

void rpc_request_finish(struct rpc_request *request, json_t *result)
{
	const struct rpc_keeper *keeper = request_keeper(request);

	if (!result)
		result = json_true();
	if (keeper) {
		request->result = result;
		keeper->keep(keeper->arg, &request->reason, request_kept, request);
	} else {
		request_succeed(request, result);
	}
}

void rpc_request_fail_text(
	struct rpc_request *request, int code, const char *text, const struct reason *reason)
{
	const char *sentence = reason && reason->text[0] ? reason->text : NULL;
	bool explain = request->connection && request->connection->explain;
	json_t *error = error_object(code, text, explain ? sentence : NULL);

	if (request->call)
		rpc_call_fail(request->call, code, text, sentence);
	else if (sentence && request->method)
		log_info("%s: %s", request->method->name, sentence);
	request_answer(request, ",\"error\":", error);
	json_decref(error);
}

void rpc_request_fail_code(
	struct rpc_request *request, int code, int rc, const struct reason *reason)
{
	rpc_request_fail_text(request, code, strerror(-rc), reason);
}

void rpc_request_fail(struct rpc_request *request, int rc, const struct reason *reason)
{
	rpc_request_fail_code(request, rc, rc, reason);
}

void rpc_request_explain(struct rpc_request *request, bool enabled)
{
	if (request->connection)
		request->connection->explain = enabled;
}

struct rpc_server *rpc_request_server(const struct rpc_request *request)
{
	return request->server;
}

void rpc_batch_put(struct rpc_batch *batch)
{
	struct rpc_connection *connection = batch->connection;

	if (--batch->pending)
		return;
	if (connection && rpc_buffer_len(&batch->answers)) {
		struct rpc_buffer *answers = &batch->answers;

		if (buffer_append_text(answers, "]\n") ||
			rpc_buffer_append(&connection->out, rpc_buffer_head(answers),
				rpc_buffer_len(answers)))
			connection->state = RPC_CONNECTION_BROKEN;
		rpc_connection_activate(connection);
	}
	rpc_buffer_clear(&batch->answers);
	rpc_buffer_clear(&batch->text);
	free(batch);
}

/* ---- start --------------------------------------------------------------------------------- */

static void request_refuse_params(struct rpc_request *request, const struct reason *reason)
{
	const struct rpc_method *method = request->method;
	char text[128];

	if (method->decode_error.text) {
		rpc_request_fail_text(
			request, method->decode_error.code, method->decode_error.text, reason);
		return;
	}
	snprintf(text, sizeof(text), "%s requires no parameters", method->name);
	rpc_request_fail_text(request, RPC_INVALID_PARAMS, text, reason);
}

/* 0, or -EINVAL and why. */
static int request_decode(struct rpc_request *request, struct reason *reason)
{
	if (request->envelope.params_broken)
		return reason_set(reason, -EINVAL,
			"a parameter comes twice, holds a NUL or is a number beyond all bounds");
	return rpc_params_decode(
		request->method, request->envelope.params, request->params, reason);
}

static void request_refuse_method(struct rpc_request *request)
{
	struct reason reason = {0};

	reason_set(&reason, -ENOSYS, "there is no method %s: rpc_get_methods lists those there are",
		json_string_value(request->envelope.method));
	rpc_request_fail_text(request, RPC_METHOD_NOT_FOUND, "Method not found", &reason);
}

/* 0, or -errno and why. */
static int request_admit(const struct rpc_request *request, struct reason *reason)
{
	const struct rpc_keeper *keeper = request_keeper(request);

	return keeper ? keeper->admit(keeper->arg, reason) : 0;
}

void rpc_request_run(struct rpc_request *request, void *context)
{
	const struct rpc_method *method = request->method;
	struct reason reason = {0};
	int rc;
	enum rpc_state state = rpc_server_state(request->server);

	if (!method)
		request_refuse_method(request);
	else if (!(method->states & state))
		rpc_request_fail_text(request, -1,
			state == RPC_STARTUP ? state_error_runtime : state_error_startup, NULL);
	else if (request_decode(request, &reason))
		request_refuse_params(request, &reason);
	else if ((rc = request_admit(request, &reason)))
		rpc_request_fail(request, rc, &reason);
	else
		method->run(request, method->params ? (void *)request->params : NULL, context);
}

int rpc_request_start(
	struct rpc_connection *connection, struct rpc_batch *batch, struct json_span value)
{
	const struct rpc_method *method = NULL;
	struct rpc_envelope envelope;
	struct rpc_request *request;
	void *context = NULL;

	if (rpc_envelope_read(value, &envelope)) {
		rpc_envelope_fini(&envelope);
		return -ENOMEM;
	}
	if (!envelope.error.text)
		method = rpc_server_find_method(connection->server, envelope.method, &context);
	request = calloc(1, sizeof(*request) + (method ? method->params_size : 0));
	if (!request) {
		rpc_envelope_fini(&envelope);
		return -ENOMEM;
	}
	request->server = connection->server;
	request->connection = connection;
	request->batch = batch;
	request->envelope = envelope;
	request->method = method;
	list_add_tail(&connection->requests, &request->link);
	connection->pending++;
	if (batch)
		batch->pending++;
	rpc_server_request_started(connection->server);
	if (envelope.error.text)
		rpc_request_fail_text(request, envelope.error.code, envelope.error.text, NULL);
	else
		rpc_request_run(request, context);
	return 0;
}
