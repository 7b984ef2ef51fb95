/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a method sees of the JSON-RPC server: its entry in the registry, its decoded parameters,
 * and the request that it answers, now or later. All of it runs on the control reactor.
 *
 * A method's run is called once for each call with its parameters decoded as its table says; when
 * they do not fit, the caller has had the method's decode error and run is not called. run then
 * owes exactly one rpc_request_finish or rpc_request_fail..., at once or in any later turn. The
 * request lives until then, also when its client has gone in the meantime; parameters and their
 * strings live as long as the request.
 */
#ifndef RPC_METHOD_H
#define RPC_METHOD_H

#include <errno.h>
#include <jansson.h>

#include "base/reason.h"

struct rpc_request;

enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
};

/* A method may be called in the states of its mask. */
enum rpc_state {
	RPC_STARTUP = 1 << 0, /* --wait-for-rpc, before framework_start_init */
	RPC_RUNTIME = 1 << 1,
	RPC_ANY_STATE = RPC_STARTUP | RPC_RUNTIME,
};

struct rpc_error {
	int code;
	const char *text;
};

enum rpc_type {
	RPC_STRING, /* const char *; no NUL inside */
	RPC_UUID, /* const char *: 36 characters, 8-4-4-4-12 hexadecimal digits */
	RPC_BOOL, /* bool */
	RPC_U16,
	RPC_U32,
	RPC_U64, /* up to 2^63 - 1 */
	RPC_I32,
	RPC_ENUM, /* int: index into choices */
	RPC_JSON, /* const json_t *, whatever it is but null */
};

enum rpc_param_flags {
	RPC_REQUIRED = 1 << 0,
	RPC_ANY_CASE = 1 << 1, /* RPC_ENUM */
	RPC_UNSAID = 1 << 2, /* value says that it was left out, and is none that can be given */
};

/* One parameter: where its value goes in the struct that run gets, which starts zeroed. */
struct rpc_param {
	const char *name;
	enum rpc_type type;
	unsigned flags;
	size_t offset;
	int64_t value; /* default of a number, bool, enum */
	const char *text; /* default of a string */
	const char *const *choices;
};

struct rpc_method {
	const char *name;
	unsigned states;
	void (*run)(struct rpc_request *request, const void *params, void *context);
	const struct rpc_param *params; /* ends with an entry without name; NULL: takes none */
	size_t params_size;
	bool ignores_unknown; /* parameters that are not in the table */
	/* What it changes is there again after a restart: the server's keeper (server.h) is asked
	 * before it runs, and has kept the change before its success is answered. */
	bool changes_configuration;
	struct rpc_error decode_error; /* text NULL: see rpc_method_default_error */
};

/* The decode error of most methods. */
#define RPC_DECODE_ERROR                                                                           \
	{                                                                                          \
		RPC_INTERNAL_ERROR, "spdk_json_decode_object failed"                               \
	}

/* result is handed over; NULL stands for true. */
void rpc_request_finish(struct rpc_request *request, json_t *result);

/*
 * The one place where a code and a sentence become a JSON-RPC error. rc is -errno. Existing clients
 * compare both number and text, so the text is the C library's for rc; the sentence goes to the log
 * and, for connections that asked for it (rpc_request_explain), into error.data.reason.
 * reason is borrowed and may be NULL.
 *  - rpc_request_fail: the code is rc itself;
 *  - rpc_request_fail_code: the code is given, the text is still that of rc;
 *  - rpc_request_fail_text: code and text are given.
 */
void rpc_request_fail(struct rpc_request *request, int rc, const struct reason *reason);
void rpc_request_fail_code(
	struct rpc_request *request, int code, int rc, const struct reason *reason);
void rpc_request_fail_text(
	struct rpc_request *request, int code, const char *text, const struct reason *reason);

/* Errors on this client's connection carry the sentence from now on, or no more. */
void rpc_request_explain(struct rpc_request *request, bool enabled);

struct rpc_server *rpc_request_server(const struct rpc_request *request);

#endif
