/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the methods on stores and volumes share (lvol_impl.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "base/alloc.h"
#include "control/lvol_impl.h"

struct lvol_call *lvol_call_create(struct rpc_request *request, enum lvol_result result)
{
	struct lvol_call *call = alloc_op(sizeof(*call));

	call->request = request;
	call->result = result;
	return call;
}

void lvol_refuse(struct rpc_request *request, int rc, const struct reason *reason)
{
	if (rc == -ENODEV)
		rpc_request_fail(request, rc, reason);
	else
		rpc_request_fail_code(request, RPC_INVALID_PARAMS, rc, reason);
}

static json_t *lvol_call_result(const struct lvol_call *call)
{
	struct lvol_info lvol;
	struct lvs_info lvs;

	switch (call->result) {
	case LVOL_RESULT_LVOL:
		lvol_get_info(call->lvol, &lvol);
		return json_string(lvol.id);
	case LVOL_RESULT_LVS:
		lvs_get_info(call->lvs, &lvs);
		return json_string(lvs.uuid);
	default:
		return NULL;
	}
}

void lvol_call_end(void *arg, int rc)
{
	struct lvol_call *call = arg;

	if (!rc)
		rpc_request_finish(call->request, lvol_call_result(call));
	else if (rc == -EPERM && call->eperm_code)
		rpc_request_fail_code(call->request, call->eperm_code, rc, &call->reason);
	else
		lvol_refuse(call->request, rc, &call->reason);
	free(call);
}

struct lvs *lvs_choose_or_fail(
	struct control *control, struct rpc_request *request, const struct lvs_choice *choice)
{
	struct lvols *lvols = control->options.lvols;
	struct reason reason = {0};
	struct lvs *lvs;

	if (!choice->uuid == !choice->lvs_name) {
		reason_set(&reason, -EINVAL, "name the store by exactly one of uuid and lvs_name");
		rpc_request_fail(request, -EINVAL, &reason);
		return NULL;
	}
	lvs = choice->uuid ? lvs_find_by_uuid(lvols, choice->uuid)
			   : lvs_find(lvols, choice->lvs_name);
	if (!lvs) {
		reason_set(&reason, -ENODEV,
			"there is no volume store %s: bdev_lvol_get_lvstores lists those there are",
			choice->uuid ? choice->uuid : choice->lvs_name);
		rpc_request_fail(request, -ENODEV, &reason);
	}
	return lvs;
}

struct lvol *lvol_find_or_fail(
	struct control *control, struct rpc_request *request, const char *name)
{
	struct lvol *lvol = lvol_find(control->options.lvols, name);
	struct reason reason = {0};

	if (!lvol) {
		reason_set(&reason, -ENODEV,
			"there is no volume %s: bdev_lvol_get_lvols lists those there are, by "
			"UUID or store/name",
			name);
		rpc_request_fail(request, -ENODEV, &reason);
	}
	return lvol;
}

struct lvol_call *lvol_call_on(struct control *control, struct rpc_request *request,
	const char *name, enum lvol_result result)
{
	struct lvol *lvol = lvol_find_or_fail(control, request, name);
	struct lvol_call *call;

	if (!lvol)
		return NULL;
	call = lvol_call_create(request, result);
	call->on = lvol;
	return call;
}

int clear_method_parse(const char *text, enum blobstore_clear_method *method)
{
	static const struct {
		const char *text;
		enum blobstore_clear_method method;
	} methods[] = {
		{"none", BLOBSTORE_CLEAR_NONE},
		{"unmap", BLOBSTORE_CLEAR_UNMAP},
		{"write_zeroes", BLOBSTORE_CLEAR_WRITE_ZEROES},
	};

	if (!text)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcasecmp(text, methods[i].text) == 0) {
			*method = methods[i].method;
			return 0;
		}
	}
	return -EINVAL;
}

int lvol_size_parse(const uint64_t *size_in_mib, const uint64_t *size, uint64_t *ret_bytes,
	struct reason *reason)
{
	if (*size_in_mib == UINT64_MAX && *size == UINT64_MAX)
		return reason_set(reason, -ENOENT, "parameter size_in_mib is missing");
	if (*size_in_mib != UINT64_MAX && *size != UINT64_MAX)
		return reason_set(
			reason, -EINVAL, "give size_in_mib only: size is its old form, in bytes");
	if (*size != UINT64_MAX)
		*ret_bytes = *size;
	else if (*size_in_mib > INT64_MAX / MIB)
		return reason_set(
			reason, -EINVAL, "size_in_mib is in MiB: a volume cannot be that large");
	else
		*ret_bytes = *size_in_mib * MIB;
	return 0;
}

const struct rpc_param lvol_name_table[] = {
	{PARAM(RPC_STRING, lvol_name_params, name), .flags = RPC_REQUIRED},
	{0},
};
