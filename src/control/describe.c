/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rpc_describe_methods (ours): what each method takes, from the very tables that requests are
 * decoded with. So what help, completion, documentation and tests are made from cannot differ from
 * what is accepted.
 */
#include <string.h>

#include "control/control_impl.h"

static json_t *choices_describe(const struct rpc_param *param)
{
	json_t *list = json_array();

	for (unsigned i = 0; param->choices[i]; i++)
		json_array_append_new(list, json_string(param->choices[i]));
	return list;
}

/* NULL: there is none; what is not given is not there. */
static json_t *default_describe(const struct rpc_param *param)
{
	if (param->flags & RPC_UNSAID)
		return NULL;
	switch (param->type) {
	case RPC_STRING:
	case RPC_UUID:
		return param->text ? json_string(param->text) : NULL;
	case RPC_BOOL:
		return json_boolean(param->value != 0);
	case RPC_ENUM:
		return json_string(param->choices[param->value]);
	case RPC_JSON:
		return NULL;
	default:
		return json_integer(param->value);
	}
}

static json_t *param_describe(const struct rpc_param *param)
{
	static const char *const types[] = {
		[RPC_STRING] = "string",
		[RPC_UUID] = "uuid",
		[RPC_BOOL] = "bool",
		[RPC_U16] = "u16",
		[RPC_U32] = "u32",
		[RPC_U64] = "u64",
		[RPC_I32] = "i32",
		[RPC_ENUM] = "enum",
		[RPC_JSON] = "json",
	};
	bool required = param->flags & RPC_REQUIRED;
	json_t *described = json_pack("{s:s, s:s, s:b}", "name", param->name, "type",
		types[param->type], "required", (int)required);

	if (param->type == RPC_ENUM)
		json_object_set_new(described, "choices", choices_describe(param));
	if (param->flags & RPC_ANY_CASE)
		json_object_set_new(described, "any_case", json_true());
	if (!required)
		json_object_set_new(described, "default", default_describe(param));
	return described;
}

static json_t *method_describe(const struct rpc_method *method)
{
	json_t *params = json_array();

	for (const struct rpc_param *param = method->params; param && param->name; param++)
		json_array_append_new(params, param_describe(param));
	return json_pack("{s:s, s:b, s:b, s:b, s:b, s:o}", "name", method->name, "startup",
		!!(method->states & RPC_STARTUP), "runtime", !!(method->states & RPC_RUNTIME),
		"changes_configuration", (int)method->changes_configuration, "ignores_unknown",
		(int)method->ignores_unknown, "params", params);
}

struct describe_params {
	const char *name;
};

static const struct rpc_param describe_table[] = {
	{PARAM(RPC_STRING, describe_params, name)},
	{0},
};

struct describe_call {
	const char *name; /* NULL: all */
	json_t *list;
};

static void method_append(const struct rpc_method *method, void *arg)
{
	struct describe_call *call = arg;

	if (!call->name || strcmp(call->name, method->name) == 0)
		json_array_append_new(call->list, method_describe(method));
}

static void rpc_describe_methods(struct rpc_request *request, const void *params, void *context)
{
	const struct describe_params *wanted = params;
	struct describe_call call = {.name = wanted->name, .list = json_array()};
	struct reason reason = {0};

	rpc_server_for_each_method(rpc_request_server(request), false, method_append, &call);
	if (wanted->name && json_array_size(call.list) == 0) {
		json_decref(call.list);
		reason_set(&reason, -ENOENT,
			"there is no method %s: rpc_get_methods lists those there are",
			wanted->name);
		rpc_request_fail(request, -ENOENT, &reason);
		return;
	}
	rpc_request_finish(request, call.list);
}

const struct rpc_method describe_methods[] = {
	{"rpc_describe_methods", RPC_ANY_STATE, rpc_describe_methods, describe_table,
		sizeof(struct describe_params),
		.decode_error = {RPC_INVALID_PARAMS, "Invalid parameters"}},
	{0},
};
