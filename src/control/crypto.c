/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * accel_crypto_key_create, accel_crypto_key_destroy, accel_crypto_keys_get; bdev_crypto_create,
 * bdev_crypto_delete.
 *
 * A key that has been given is not told any more: accel_crypto_keys_get says names and ciphers.
 * AES-XTS with the block number as tweak is what there is; other ciphers and tweak modes are
 * refused, as SPDK's software refuses them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/control_impl.h"

#define CRYPTO_DECODE_ERROR                                                                        \
	{                                                                                          \
		RPC_PARSE_ERROR, "spdk_json_decode_object failed"                                  \
	}

/* ---- keys ---------------------------------------------------------------------------------- */

struct key_params {
	int cipher;
	int tweak_mode;
	const char *key;
	const char *key2;
	const char *name;
};

static const char *const ciphers[] = {"AES_CBC", "AES_XTS", NULL};
static const char *const tweak_modes[] = {
	"SIMPLE_LBA", "JOIN_NEG_LBA_WITH_LBA", "INCR_512_FULL_LBA", "INCR_512_UPPER_LBA", NULL};

static const struct rpc_param key_table[] = {
	{PARAM(RPC_ENUM, key_params, cipher), .flags = RPC_REQUIRED, .choices = ciphers},
	{PARAM(RPC_STRING, key_params, key), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, key_params, key2)},
	{PARAM(RPC_ENUM, key_params, tweak_mode), .choices = tweak_modes},
	{PARAM(RPC_STRING, key_params, name), .flags = RPC_REQUIRED},
	{0},
};

static int key_check(const struct key_params *wanted, struct reason *reason)
{
	if (strcmp(ciphers[wanted->cipher], "AES_XTS") != 0)
		return reason_set(reason, -EINVAL, "the cipher %s is not for disks: use AES_XTS",
			ciphers[wanted->cipher]);
	if (wanted->tweak_mode != 0)
		return reason_set(reason, -EINVAL,
			"the tweak is the number of the block: leave tweak_mode out, or say %s",
			tweak_modes[0]);
	return 0;
}

static void accel_crypto_key_create(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct key_params *wanted = params;
	const struct crypto_key_options options = {
		.name = wanted->name, .key = wanted->key, .key2 = wanted->key2};
	struct reason reason = {0};
	char text[64];
	int rc = key_check(wanted, &reason);

	if (!rc)
		rc = crypto_key_create(control->options.filters, &options, &reason);
	if (!rc) {
		rpc_request_finish(request, NULL);
		return;
	}
	snprintf(text, sizeof(text), "failed to create DEK, rc %d", rc);
	rpc_request_fail_text(request, RPC_INVALID_PARAMS, text, &reason);
}

struct key_name_params {
	const char *key_name;
};

static const struct rpc_param key_name_table[] = {
	{PARAM(RPC_STRING, key_name_params, key_name), .flags = RPC_REQUIRED},
	{0},
};

static void accel_crypto_key_destroy(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct key_name_params *wanted = params;
	struct reason reason = {0};
	int rc = crypto_key_destroy(control->options.filters, wanted->key_name, &reason);
	char text[64];

	if (!rc) {
		rpc_request_finish(request, NULL);
		return;
	}
	snprintf(text, sizeof(text), "Failed to destroy key, rc %d", rc);
	rpc_request_fail_text(
		request, RPC_INVALID_PARAMS, rc == -ENOENT ? "No key object found" : text, &reason);
}

static json_t *key_describe(const char *name)
{
	return json_pack(
		"{s:s, s:s, s:s}", "name", name, "cipher", "AES_XTS", "tweak_mode", tweak_modes[0]);
}

static void key_append(const char *name, void *list)
{
	json_array_append_new(list, key_describe(name));
}

static const struct rpc_param keys_get_table[] = {
	{PARAM(RPC_STRING, key_name_params, key_name)},
	{0},
};

static void accel_crypto_keys_get(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct key_name_params *wanted = params;
	json_t *list;

	if (wanted->key_name && !crypto_key_exists(control->options.filters, wanted->key_name)) {
		rpc_request_fail_text(request, RPC_INVALID_PARAMS, "key was not found", NULL);
		return;
	}
	list = json_array();
	if (wanted->key_name)
		key_append(wanted->key_name, list);
	else
		crypto_key_for_each(control->options.filters, key_append, list);
	rpc_request_finish(request, list);
}

/* ---- devices ------------------------------------------------------------------------------- */

struct crypto_params {
	const char *base_bdev_name;
	const char *name;
	const char *key_name;
	const char *crypto_pmd; /* of older releases, as the next three */
	const char *key;
	const char *cipher;
	const char *key2;
};

static const struct rpc_param crypto_table[] = {
	{PARAM(RPC_STRING, crypto_params, base_bdev_name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, crypto_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, crypto_params, key_name)},
	{PARAM(RPC_STRING, crypto_params, crypto_pmd)},
	{PARAM(RPC_STRING, crypto_params, key)},
	{PARAM(RPC_STRING, crypto_params, cipher)},
	{PARAM(RPC_STRING, crypto_params, key2)},
	{0},
};

static void crypto_call(struct filter_call *call, done_fn done, void *arg)
{
	crypto_create(call->control->options.filters, &call->filter, call->key_name, &call->reason,
		done, arg);
}

static void crypto_call_fail(struct filter_call *call, int rc)
{
	if (rc == -ENOENT)
		rpc_request_fail_text(
			call->request, RPC_INVALID_PARAMS, "Key was not found", &call->reason);
	else
		rpc_request_fail(call->request, rc, &call->reason);
}

/* Unlike other filters it is not made before the device below it. */
static void bdev_crypto_create(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct crypto_params *wanted = params;
	struct filter_call *call;

	if (!wanted->key_name) {
		struct reason reason = {0};

		reason_set(&reason, -EINVAL,
			"name a key with key_name: accel_crypto_key_create makes it");
		rpc_request_fail_text(request, RPC_INVALID_PARAMS, "Key was not found", &reason);
		return;
	}
	if (crypto_key_exists(control->options.filters, wanted->key_name) &&
		!bdev_find_or_fail(control, request, wanted->base_bdev_name))
		return;
	call = filter_call_create(control, request, crypto_call);
	call->filter.name = wanted->name;
	call->filter.base = wanted->base_bdev_name;
	call->key_name = wanted->key_name;
	call->fail = crypto_call_fail;
	filter_call_start(call);
}

static void bdev_crypto_delete(struct rpc_request *request, const void *params, void *context)
{
	filter_remove_named(request, params, context, FILTER_CRYPTO);
}

const struct rpc_method crypto_methods[] = {
	{"accel_crypto_key_create", RPC_RUNTIME, accel_crypto_key_create, key_table,
		sizeof(struct key_params), .decode_error = CRYPTO_DECODE_ERROR},
	{"accel_crypto_key_destroy", RPC_RUNTIME, accel_crypto_key_destroy, key_name_table,
		sizeof(struct key_name_params), .decode_error = CRYPTO_DECODE_ERROR},
	{"accel_crypto_keys_get", RPC_RUNTIME, accel_crypto_keys_get, keys_get_table,
		sizeof(struct key_name_params), .decode_error = CRYPTO_DECODE_ERROR},
	{"bdev_crypto_create", RPC_RUNTIME, bdev_crypto_create, crypto_table,
		sizeof(struct crypto_params), .changes_configuration = true,
		.decode_error = {RPC_PARSE_ERROR,
			"Failed to decode crypto disk create parameters."}},
	{"bdev_crypto_delete", RPC_RUNTIME, bdev_crypto_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = {RPC_INVALID_PARAMS, "Invalid parameters"}},
	{0},
};
