/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The members of a request object (JSON-RPC 2.0, section 4; batches are taken apart before).
 *
 * jsonrpc may be absent; params null is the same as absent, and an id that is null makes a
 * notification. A member that is unknown or comes twice, or one of the wrong type, makes the whole
 * object invalid, and then its id is not trusted either: the answer has id null. Only where params
 * has the wrong type is the id echoed. The id goes back byte for byte, so it is kept as text.
 */
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc_impl.h"

static const struct rpc_error invalid_request = {RPC_INVALID_REQUEST, "Invalid request"};

/* NULL also where jansson is stricter than the grammar. */
static json_t *span_load(struct json_span span, size_t flags)
{
	return json_loadb(span.text, span.len, flags | JSON_DECODE_ANY, NULL);
}

static bool span_is_null(struct json_span span)
{
	return span.text[0] == 'n';
}

/* Text that is ASCII goes back as it came; the rest with escapes, as everything that leaves. */
static int envelope_read_id(struct rpc_envelope *envelope, struct json_span value)
{
	char first = value.text[0];
	json_t *string;

	if (span_is_null(value))
		return 0;
	if (first != '"' && first != '-' && !(first >= '0' && first <= '9')) {
		envelope->error = invalid_request;
		return 0;
	}
	envelope->id = strndup(value.text, value.len);
	if (!envelope->id)
		return -ENOMEM;
	for (size_t i = 0; i < value.len; i++) {
		if ((unsigned char)value.text[i] < 0x80)
			continue;
		string = span_load(value, JSON_ALLOW_NUL);
		free(envelope->id);
		envelope->id = json_dumps(string, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
		json_decref(string);
		return envelope->id ? 0 : -ENOMEM;
	}
	return 0;
}

static void envelope_read_params(struct rpc_envelope *envelope, struct json_span value)
{
	if (span_is_null(value))
		return;
	envelope->params = span_load(value, JSON_REJECT_DUPLICATES);
	envelope->params_broken = !envelope->params;
}

static bool span_is_version(struct json_span value)
{
	json_t *text = span_load(value, 0);
	bool ok = json_is_string(text) && strcmp(json_string_value(text), "2.0") == 0;

	json_decref(text);
	return ok;
}

enum envelope_member { MEMBER_JSONRPC, MEMBER_METHOD, MEMBER_PARAMS, MEMBER_ID, MEMBERS };

static enum envelope_member envelope_member_find(struct json_span name)
{
	static const char *const names[] = {"jsonrpc", "method", "params", "id"};
	json_t *text = span_load(name, 0);
	enum envelope_member member = 0;

	while (member < MEMBERS && (!text || strcmp(json_string_value(text), names[member]) != 0))
		member++;
	json_decref(text);
	return member;
}

/* The spans of the members; false: unknown or twice. */
static bool envelope_split(struct json_span object, struct json_span spans[MEMBERS])
{
	struct json_walk walk = {.value = object};
	struct json_span name, value;

	while (json_walk_member(&walk, &name, &value)) {
		enum envelope_member member = envelope_member_find(name);

		if (member == MEMBERS || spans[member].text)
			return false;
		spans[member] = value;
	}
	return true;
}

int rpc_envelope_read(struct json_span value, struct rpc_envelope *envelope)
{
	struct json_span spans[MEMBERS] = {0};
	int rc;

	memset(envelope, 0, sizeof(*envelope));
	envelope->error = invalid_request;
	if (value.text[0] != '{' || !envelope_split(value, spans))
		return 0;
	if (spans[MEMBER_JSONRPC].text && !span_is_version(spans[MEMBER_JSONRPC]))
		return 0;
	if (!spans[MEMBER_METHOD].text || spans[MEMBER_METHOD].text[0] != '"')
		return 0;
	envelope->method = span_load(spans[MEMBER_METHOD], JSON_ALLOW_NUL);
	if (!envelope->method)
		return -ENOMEM;
	envelope->error = (struct rpc_error){0};
	if (spans[MEMBER_ID].text) {
		rc = envelope_read_id(envelope, spans[MEMBER_ID]);
		if (rc || envelope->error.text)
			return rc;
	}
	if (spans[MEMBER_PARAMS].text) {
		if (!strchr("{[n", spans[MEMBER_PARAMS].text[0]))
			envelope->error = invalid_request;
		else
			envelope_read_params(envelope, spans[MEMBER_PARAMS]);
	}
	return 0;
}

void rpc_envelope_fini(struct rpc_envelope *envelope)
{
	free(envelope->id);
	json_decref(envelope->method);
	json_decref(envelope->params);
}
