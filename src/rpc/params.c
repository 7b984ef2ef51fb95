/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parameters by table. Strict, as existing clients expect: an unknown name, a missing required one,
 * a value of another type or out of range refuse the whole call before anything has happened.
 * (Names that come twice were refused with the envelope.) A number is an integer if its value is
 * one, however it was written: 5, 5.0, 5e0. null is no value of any type.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "rpc/rpc_impl.h"

static bool param_read_integer(const json_t *value, int64_t min, int64_t max, int64_t *ret_number)
{
	int64_t number;

	if (json_is_integer(value)) {
		number = json_integer_value(value);
	} else if (json_is_real(value)) {
		double real = json_real_value(value);

		/* Beyond 2^53 a double no longer says which integer was written. */
		if (fabs(real) > 0x1p53 || real != floor(real))
			return false;
		number = (int64_t)real;
	} else {
		return false;
	}
	*ret_number = number;
	return number >= min && number <= max;
}

static bool text_is_uuid(const char *text)
{
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return text[36] == '\0';
}

static bool param_read_choice(const struct rpc_param *param, const json_t *value, int *ret_index)
{
	const char *text = json_string_value(value);

	if (!text)
		return false;
	for (int i = 0; param->choices[i]; i++) {
		int differs = param->flags & RPC_ANY_CASE ? strcasecmp(text, param->choices[i])
							  : strcmp(text, param->choices[i]);

		if (!differs) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

static void param_store_integer(const struct rpc_param *param, void *field, int64_t number)
{
	switch (param->type) {
	case RPC_U16:
		*(uint16_t *)field = (uint16_t)number;
		break;
	case RPC_U32:
		*(uint32_t *)field = (uint32_t)number;
		break;
	case RPC_I32:
		*(int32_t *)field = (int32_t)number;
		break;
	default:
		*(uint64_t *)field = (uint64_t)number;
		break;
	}
}

static void param_store_default(const struct rpc_param *param, void *field)
{
	switch (param->type) {
	case RPC_STRING:
	case RPC_UUID:
		*(const char **)field = param->text;
		break;
	case RPC_BOOL:
		*(bool *)field = param->value != 0;
		break;
	case RPC_ENUM:
		*(int *)field = (int)param->value;
		break;
	case RPC_JSON:
		*(const json_t **)field = NULL;
		break;
	default:
		param_store_integer(param, field, param->value);
		break;
	}
}

static bool param_read(const struct rpc_param *param, const json_t *value, void *field)
{
	static const struct {
		int64_t min, max;
	} bounds[] = {
		[RPC_U16] = {0, UINT16_MAX},
		[RPC_U32] = {0, UINT32_MAX},
		[RPC_U64] = {0, INT64_MAX},
		[RPC_I32] = {INT32_MIN, INT32_MAX},
	};
	int64_t number;

	switch (param->type) {
	case RPC_STRING:
	case RPC_UUID:
		*(const char **)field = json_string_value(value);
		return json_is_string(value) &&
		       (param->type == RPC_STRING || text_is_uuid(json_string_value(value)));
	case RPC_BOOL:
		*(bool *)field = json_is_true(value);
		return json_is_boolean(value);
	case RPC_ENUM:
		return param_read_choice(param, value, field);
	case RPC_JSON:
		*(const json_t **)field = value;
		return !json_is_null(value);
	default:
		if (!param_read_integer(
			    value, bounds[param->type].min, bounds[param->type].max, &number))
			return false;
		param_store_integer(param, field, number);
		return true;
	}
}

static int param_refuse(const struct rpc_param *param, struct reason *reason)
{
	static const char *const names[] = {
		[RPC_STRING] = "a string",
		[RPC_UUID] = "a UUID of 36 characters",
		[RPC_BOOL] = "true or false",
		[RPC_U16] = "an integer from 0 to 65535",
		[RPC_U32] = "an integer from 0 to 4294967295",
		[RPC_U64] = "an integer that is not negative",
		[RPC_I32] = "an integer of 32 bits",
		[RPC_JSON] = "anything but null",
	};
	char words[160] = "one of";
	size_t len = strlen(words);

	if (param->type != RPC_ENUM)
		return reason_set(reason, -EINVAL, "parameter %s must be %s", param->name,
			names[param->type]);
	for (unsigned i = 0; param->choices[i] && len < sizeof(words); i++)
		len += (size_t)snprintf(
			words + len, sizeof(words) - len, "%s %s", i ? "," : "", param->choices[i]);
	return reason_set(reason, -EINVAL, "parameter %s must be %s", param->name, words);
}

static int params_refuse_unknown(
	const struct rpc_method *method, const json_t *params, struct reason *reason)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)params, name, value)
	{
		const struct rpc_param *param = method->params;

		while (param && param->name && strcmp(param->name, name) != 0)
			param++;
		if (!param || !param->name)
			return reason_set(reason, -EINVAL, "%s has no parameter %s: leave it out",
				method->name, name);
	}
	return -EINVAL;
}

int rpc_params_decode(
	const struct rpc_method *method, const json_t *params, void *target, struct reason *reason)
{
	static const struct rpc_param none = {0};
	size_t known = 0;

	if (params && !json_is_object(params))
		return reason_set(reason, -EINVAL, "parameters are named: give an object");
	/* Clients send nothing, null or {} where there is nothing to say. */
	for (const struct rpc_param *param = method->params ? method->params : &none; param->name;
		param++) {
		const json_t *value = json_object_get(params, param->name);
		char *field = (char *)target + param->offset;

		if (value && !param_read(param, value, field))
			return param_refuse(param, reason);
		if (!value && param->flags & RPC_REQUIRED)
			return reason_set(reason, -EINVAL, "parameter %s is missing", param->name);
		if (!value)
			param_store_default(param, field);
		known += value != NULL;
	}
	if (!method->ignores_unknown && known < json_object_size(params))
		return params_refuse_unknown(method, params, reason);
	return 0;
}
