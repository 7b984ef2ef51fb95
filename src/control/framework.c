/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rpc_get_methods, spdk_get_version, spdk_kill_instance, framework_start_init,
 * framework_wait_init; and our own rpc_explain_errors.
 *
 * spdk_get_version tells the release whose interface this is, since clients compare its numbers to
 * decide which parameters to send; our own name and version stand behind the prefix they look for.
 *
 * rpc_explain_errors{enabled}: from now on errors on this connection carry error.data.reason, one
 * sentence on what to do. Other clients get none: some decode answers strictly.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "control/control_impl.h"

struct get_methods_params {
	bool current;
	bool include_aliases; /* there are none */
};

static const struct rpc_param get_methods_table[] = {
	{PARAM(RPC_BOOL, get_methods_params, current)},
	{PARAM(RPC_BOOL, get_methods_params, include_aliases)},
	{0},
};

static void method_append(const struct rpc_method *method, void *names)
{
	json_array_append_new(names, json_string(method->name));
}

static void rpc_get_methods(struct rpc_request *request, const void *params, void *context)
{
	const struct get_methods_params *wanted = params;
	json_t *names = json_array();

	rpc_server_for_each_method(
		rpc_request_server(request), wanted->current, method_append, names);
	rpc_request_finish(request, names);
}

static void spdk_get_version(struct rpc_request *request, const void *params, void *context)
{
	const struct control *control = context;
	json_t *version =
		json_sprintf("SPDK v26.05 compatible: Sluice %s", control->options.version);

	rpc_request_finish(
		request, json_pack("{s:o, s:{s:i, s:i, s:i, s:s}}", "version", version, "fields",
				 "major", 26, "minor", 5, "patch", 0, "suffix", ""));
}

struct kill_instance_params {
	int sig_name;
};

static const char *const signal_names[] = {
	"SIGINT",
	"SIGTERM",
	"SIGQUIT",
	"SIGHUP",
	"SIGKILL",
	"SIGUSR1",
	NULL,
};

static const struct rpc_param kill_instance_table[] = {
	{PARAM(RPC_ENUM, kill_instance_params, sig_name), .flags = RPC_REQUIRED,
		.choices = signal_names},
	{0},
};

static void spdk_kill_instance(struct rpc_request *request, const void *params, void *context)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGKILL, SIGUSR1};
	const struct kill_instance_params *wanted = params;
	int number = numbers[wanted->sig_name];

	rpc_request_finish(request, NULL);
	kill(getpid(), number);
}

struct start_call {
	struct control *control;
	struct rpc_request *request;
	struct reason reason;
};

static void framework_started(void *arg, int rc)
{
	struct start_call *call = arg;
	const struct control_options *options = &call->control->options;

	if (rc)
		rpc_request_fail_text(call->request, RPC_INTERNAL_ERROR,
			"framework_initialization failed", &call->reason);
	else
		rpc_request_finish(call->request, NULL);
	if (rc && options->failed)
		options->failed(options->failed_arg, rc, &call->reason);
	free(call);
}

static void framework_start_init(struct rpc_request *request, const void *params, void *context)
{
	struct start_call *call = alloc_op(sizeof(*call));

	call->control = context;
	call->request = request;
	control_begin_runtime(context, &call->reason, framework_started, call);
}

struct init_waiter {
	struct list link;
	struct rpc_request *request;
};

static void framework_wait_init(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	struct init_waiter *waiter;

	if (control->ready) {
		rpc_request_finish(request, NULL);
		return;
	}
	waiter = malloc(sizeof(*waiter));
	if (!waiter) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return;
	}
	waiter->request = request;
	list_add_tail(&control->init_waiters, &waiter->link);
}

void framework_waiters_finish(struct control *control, bool initialised)
{
	struct init_waiter *waiter, *next;

	list_for_each_entry_safe (waiter, next, &control->init_waiters, link) {
		list_remove(&waiter->link);
		if (initialised)
			rpc_request_finish(waiter->request, NULL);
		else
			rpc_request_fail(waiter->request, -ECANCELED, NULL);
		free(waiter);
	}
}

struct explain_errors_params {
	bool enabled;
};

static const struct rpc_param explain_errors_table[] = {
	{PARAM(RPC_BOOL, explain_errors_params, enabled), .flags = RPC_REQUIRED},
	{0},
};

static void rpc_explain_errors(struct rpc_request *request, const void *params, void *context)
{
	const struct explain_errors_params *wanted = params;

	rpc_request_explain(request, wanted->enabled);
	rpc_request_finish(request, NULL);
}

#define INVALID_PARAMETERS                                                                         \
	{                                                                                          \
		RPC_INVALID_PARAMS, "Invalid parameters"                                           \
	}

const struct rpc_method framework_methods[] = {
	{"rpc_get_methods", RPC_ANY_STATE, rpc_get_methods, get_methods_table,
		sizeof(struct get_methods_params), .decode_error = INVALID_PARAMETERS},
	{"rpc_explain_errors", RPC_ANY_STATE, rpc_explain_errors, explain_errors_table,
		sizeof(struct explain_errors_params), .decode_error = INVALID_PARAMETERS},
	{"spdk_get_version", RPC_ANY_STATE, spdk_get_version},
	{"spdk_kill_instance", RPC_RUNTIME, spdk_kill_instance, kill_instance_table,
		sizeof(struct kill_instance_params), .decode_error = INVALID_PARAMETERS},
	{"framework_start_init", RPC_STARTUP, framework_start_init},
	{"framework_wait_init", RPC_ANY_STATE, framework_wait_init},
	{0},
};
