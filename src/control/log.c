/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log_set_print_level, log_get_print_level: what goes to stderr. (There is no other log: the
 * methods for syslog and for flags of single components do not exist.)
 */
#include "base/log.h"
#include "control/control_impl.h"

static const char *const level_names[] = {
	[LOG_ERROR] = "ERROR",
	[LOG_WARNING] = "WARNING",
	[LOG_NOTICE] = "NOTICE",
	[LOG_INFO] = "INFO",
	[LOG_DEBUG] = "DEBUG",
	NULL,
};

struct level_params {
	int level;
};

static const struct rpc_param level_table[] = {
	{PARAM(RPC_ENUM, level_params, level), .flags = RPC_REQUIRED | RPC_ANY_CASE,
		.choices = level_names},
	{0},
};

static void log_set_print_level(struct rpc_request *request, const void *params, void *context)
{
	const struct level_params *wanted = params;

	log_set_level((enum log_level)wanted->level);
	rpc_request_finish(request, NULL);
}

static void log_get_print_level(struct rpc_request *request, const void *params, void *context)
{
	rpc_request_finish(request, json_string(level_names[log_get_level()]));
}

const struct rpc_method log_methods[] = {
	{"log_set_print_level", RPC_ANY_STATE, log_set_print_level, level_table,
		sizeof(struct level_params), .decode_error = RPC_DECODE_ERROR},
	{"log_get_print_level", RPC_ANY_STATE, log_get_print_level},
	{0},
};
