/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One byte at a time through the grammar of RFC 8259. What may come next is the state; which
 * bracket closes is a bit per level. A string or number that has ended leads to AFTER (inside a
 * bracket) or to the end of the value.
 */
#include "rpc/json_scan.h"

#include <string.h>

#include "base/log.h"

enum scan_state {
	SCAN_VALUE, /* a value must come */
	SCAN_VALUE_OR_END, /* after '[' */
	SCAN_NAME_OR_END, /* after '{' */
	SCAN_NAME, /* after ',' in an object */
	SCAN_COLON,
	SCAN_AFTER, /* ',' or the closing bracket */
	SCAN_LITERAL, /* inside true, false, null */
	SCAN_STRING,
	SCAN_ESCAPE, /* after '\' */
	SCAN_HEX, /* after '\u' */
	SCAN_LOW_ESCAPE, /* a low surrogate's '\' */
	SCAN_LOW_U, /* its 'u' */
	SCAN_UTF8, /* continuation bytes */
	SCAN_NUMBER_MINUS, /* the states of a number, in the order of the grammar */
	SCAN_NUMBER_ZERO,
	SCAN_NUMBER_INT,
	SCAN_NUMBER_POINT,
	SCAN_NUMBER_FRACTION,
	SCAN_NUMBER_E,
	SCAN_NUMBER_SIGN,
	SCAN_NUMBER_EXPONENT,
	SCAN_ENDED,
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

void json_scan_init(struct json_scan *scan)
{
	memset(scan, 0, sizeof(*scan));
	scan->state = SCAN_VALUE;
}

static enum json_scan_result scan_count_token(struct json_scan *scan)
{
	return ++scan->tokens > JSON_TOKENS_MAX ? JSON_SCAN_LIMIT : JSON_SCAN_MORE;
}

static void scan_end_value(struct json_scan *scan)
{
	scan->state = scan->depth ? SCAN_AFTER : SCAN_ENDED;
}

static bool scan_in_object(const struct json_scan *scan)
{
	return scan->depth && (scan->objects >> (scan->depth - 1) & 1);
}

static enum json_scan_result scan_open(struct json_scan *scan, bool object)
{
	uint64_t bit;

	if (scan->depth == JSON_DEPTH_MAX)
		return JSON_SCAN_LIMIT;
	bit = UINT64_C(1) << scan->depth;
	scan->objects = object ? scan->objects | bit : scan->objects & ~bit;
	scan->depth++;
	scan->state = object ? SCAN_NAME_OR_END : SCAN_VALUE_OR_END;
	return scan_count_token(scan);
}

static enum json_scan_result scan_close(struct json_scan *scan)
{
	scan->depth--;
	scan_end_value(scan);
	return scan_count_token(scan);
}

static enum json_scan_result scan_open_string(struct json_scan *scan, bool key)
{
	scan->key = key;
	scan->high = false;
	scan->state = SCAN_STRING;
	return scan_count_token(scan);
}

static enum json_scan_result scan_open_literal(struct json_scan *scan, const char *rest)
{
	scan->rest = rest;
	scan->state = SCAN_LITERAL;
	return scan_count_token(scan);
}

static enum json_scan_result scan_open_value(struct json_scan *scan, char c)
{
	switch (c) {
	case '{':
		return scan_open(scan, true);
	case '[':
		return scan_open(scan, false);
	case '"':
		return scan_open_string(scan, false);
	case 't':
		return scan_open_literal(scan, "rue");
	case 'f':
		return scan_open_literal(scan, "alse");
	case 'n':
		return scan_open_literal(scan, "ull");
	default:
		break;
	}
	if (c != '-' && !is_digit(c))
		return JSON_SCAN_BAD;
	scan->state = c == '-' ? SCAN_NUMBER_MINUS : c == '0' ? SCAN_NUMBER_ZERO : SCAN_NUMBER_INT;
	return scan_count_token(scan);
}

/* Between tokens. */
static enum json_scan_result scan_structure(struct json_scan *scan, char c)
{
	bool object = scan_in_object(scan);

	if (json_is_space(c))
		return JSON_SCAN_MORE;
	switch (scan->state) {
	case SCAN_VALUE_OR_END:
		if (c == ']')
			return scan_close(scan);
		return scan_open_value(scan, c);
	case SCAN_NAME_OR_END:
		if (c == '}')
			return scan_close(scan);
		return c == '"' ? scan_open_string(scan, true) : JSON_SCAN_BAD;
	case SCAN_NAME:
		return c == '"' ? scan_open_string(scan, true) : JSON_SCAN_BAD;
	case SCAN_COLON:
		scan->state = SCAN_VALUE;
		return c == ':' ? JSON_SCAN_MORE : JSON_SCAN_BAD;
	case SCAN_AFTER:
		if (c == (object ? '}' : ']'))
			return scan_close(scan);
		scan->state = object ? SCAN_NAME : SCAN_VALUE;
		return c == ',' ? JSON_SCAN_MORE : JSON_SCAN_BAD;
	default:
		return scan_open_value(scan, c);
	}
}

static enum json_scan_result scan_literal(struct json_scan *scan, char c)
{
	if (c != *scan->rest)
		return JSON_SCAN_BAD;
	if (*++scan->rest == '\0')
		scan_end_value(scan);
	return JSON_SCAN_MORE;
}

/* The first byte of a character of several (RFC 3629: no overlong forms, no surrogates). */
static enum json_scan_result scan_utf8_lead(struct json_scan *scan, uint8_t c)
{
	if (c < 0xc2 || c > 0xf4)
		return JSON_SCAN_BAD;
	scan->utf8 = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	scan->utf8_lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	scan->utf8_hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	scan->state = SCAN_UTF8;
	return JSON_SCAN_MORE;
}

static enum json_scan_result scan_utf8(struct json_scan *scan, uint8_t c)
{
	if (c < scan->utf8_lo || c > scan->utf8_hi)
		return JSON_SCAN_BAD;
	scan->utf8_lo = 0x80;
	scan->utf8_hi = 0xbf;
	if (--scan->utf8 == 0)
		scan->state = SCAN_STRING;
	return JSON_SCAN_MORE;
}

static enum json_scan_result scan_hex(struct json_scan *scan, char c)
{
	unsigned digit;

	if (is_digit(c))
		digit = (unsigned)(c - '0');
	else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		digit = (unsigned)((c | 0x20) - 'a' + 10);
	else
		return JSON_SCAN_BAD;
	scan->unit = scan->unit << 4 | digit;
	if (--scan->digits)
		return JSON_SCAN_MORE;
	scan->state = SCAN_STRING;
	if (scan->high) {
		scan->high = false;
		return scan->unit >> 10 == 0xdc00 >> 10 ? JSON_SCAN_MORE : JSON_SCAN_BAD;
	}
	if (scan->unit >> 10 == 0xdc00 >> 10)
		return JSON_SCAN_BAD;
	if (scan->unit >> 10 == 0xd800 >> 10) {
		scan->high = true;
		scan->state = SCAN_LOW_ESCAPE;
	}
	return JSON_SCAN_MORE;
}

static enum json_scan_result scan_escape(struct json_scan *scan, char c)
{
	if (c == 'u') {
		scan->unit = 0;
		scan->digits = 4;
		scan->state = SCAN_HEX;
		return JSON_SCAN_MORE;
	}
	scan->state = SCAN_STRING;
	return c != '\0' && strchr("\"\\/bfnrt", c) ? JSON_SCAN_MORE : JSON_SCAN_BAD;
}

static enum json_scan_result scan_string(struct json_scan *scan, char c)
{
	switch (scan->state) {
	case SCAN_ESCAPE:
		return scan_escape(scan, c);
	case SCAN_HEX:
		return scan_hex(scan, c);
	case SCAN_LOW_ESCAPE:
		scan->state = SCAN_LOW_U;
		return c == '\\' ? JSON_SCAN_MORE : JSON_SCAN_BAD;
	case SCAN_LOW_U:
		return c == 'u' ? scan_escape(scan, c) : JSON_SCAN_BAD;
	case SCAN_UTF8:
		return scan_utf8(scan, (uint8_t)c);
	default:
		break;
	}
	if (c == '"' && scan->key)
		scan->state = SCAN_COLON;
	else if (c == '"')
		scan_end_value(scan);
	else if (c == '\\')
		scan->state = SCAN_ESCAPE;
	else if ((uint8_t)c >= 0x80)
		return scan_utf8_lead(scan, (uint8_t)c);
	else if ((uint8_t)c < 0x20)
		return JSON_SCAN_BAD;
	return JSON_SCAN_MORE;
}

static bool scan_number_is_whole(uint8_t state)
{
	return state == SCAN_NUMBER_ZERO || state == SCAN_NUMBER_INT ||
	       state == SCAN_NUMBER_FRACTION || state == SCAN_NUMBER_EXPONENT;
}

/* The state after c, or SCAN_ENDED when c does not belong to the number any more. */
static uint8_t scan_number_next(uint8_t state, char c)
{
	bool exponent = c == 'e' || c == 'E';

	switch (state) {
	case SCAN_NUMBER_MINUS:
		return c == '0' ? SCAN_NUMBER_ZERO : is_digit(c) ? SCAN_NUMBER_INT : SCAN_ENDED;
	case SCAN_NUMBER_ZERO:
		return c == '.' ? SCAN_NUMBER_POINT : exponent ? SCAN_NUMBER_E : SCAN_ENDED;
	case SCAN_NUMBER_INT:
		if (is_digit(c))
			return SCAN_NUMBER_INT;
		return c == '.' ? SCAN_NUMBER_POINT : exponent ? SCAN_NUMBER_E : SCAN_ENDED;
	case SCAN_NUMBER_POINT:
		return is_digit(c) ? SCAN_NUMBER_FRACTION : SCAN_ENDED;
	case SCAN_NUMBER_FRACTION:
		return is_digit(c) ? SCAN_NUMBER_FRACTION : exponent ? SCAN_NUMBER_E : SCAN_ENDED;
	case SCAN_NUMBER_E:
		if (c == '+' || c == '-')
			return SCAN_NUMBER_SIGN;
		return is_digit(c) ? SCAN_NUMBER_EXPONENT : SCAN_ENDED;
	default:
		return is_digit(c) ? SCAN_NUMBER_EXPONENT : SCAN_ENDED;
	}
}

/* *ret_taken: false when c is the byte after a number. */
static enum json_scan_result scan_byte(struct json_scan *scan, char c, bool *ret_taken)
{
	*ret_taken = true;
	if (scan->state >= SCAN_NUMBER_MINUS) {
		uint8_t next = scan_number_next(scan->state, c);

		if (next != SCAN_ENDED) {
			scan->state = next;
			return JSON_SCAN_MORE;
		}
		if (!scan_number_is_whole(scan->state))
			return JSON_SCAN_BAD;
		*ret_taken = false;
		scan_end_value(scan);
		return JSON_SCAN_MORE;
	}
	if (scan->state == SCAN_LITERAL)
		return scan_literal(scan, c);
	if (scan->state >= SCAN_STRING)
		return scan_string(scan, c);
	return scan_structure(scan, c);
}

enum json_scan_result json_scan_feed(
	struct json_scan *scan, const char *data, size_t len, size_t *ret_used)
{
	size_t used = 0;

	invariant(scan->state != SCAN_ENDED);
	while (used < len) {
		bool taken;
		enum json_scan_result result = scan_byte(scan, data[used], &taken);

		used += taken;
		*ret_used = used;
		if (result != JSON_SCAN_MORE)
			return result;
		if (scan->state == SCAN_ENDED)
			return JSON_SCAN_DONE;
	}
	*ret_used = used;
	return JSON_SCAN_MORE;
}

enum json_scan_result json_scan_end(const struct json_scan *scan)
{
	if (scan->depth == 0 && scan_number_is_whole(scan->state))
		return JSON_SCAN_DONE;
	return JSON_SCAN_BAD;
}

static void walk_skip(struct json_walk *walk, char also)
{
	const struct json_span *in = &walk->value;

	while (walk->offset < in->len) {
		char c = in->text[walk->offset];

		if (!json_is_space(c) && c != also)
			return;
		walk->offset++;
	}
}

/* The value at the offset; the walk stands behind it afterwards. */
static struct json_span walk_take(struct json_walk *walk)
{
	struct json_span span = {.text = walk->value.text + walk->offset};
	struct json_scan scan;
	enum json_scan_result result;

	json_scan_init(&scan);
	result = json_scan_feed(&scan, span.text, walk->value.len - walk->offset, &span.len);
	invariant(result == JSON_SCAN_DONE);
	walk->offset += span.len;
	return span;
}

/* To the next value: over the opening bracket or the comma. False at the closing bracket. */
static bool walk_next(struct json_walk *walk)
{
	if (walk->offset == 0)
		walk->offset = 1;
	walk_skip(walk, ',');
	return walk->offset < walk->value.len - 1;
}

bool json_walk_element(struct json_walk *walk, struct json_span *ret_value)
{
	invariant(walk->value.text[0] == '[');
	if (!walk_next(walk))
		return false;
	*ret_value = walk_take(walk);
	return true;
}

bool json_walk_member(
	struct json_walk *walk, struct json_span *ret_name, struct json_span *ret_value)
{
	invariant(walk->value.text[0] == '{');
	if (!walk_next(walk))
		return false;
	*ret_name = walk_take(walk);
	walk_skip(walk, ':');
	*ret_value = walk_take(walk);
	return true;
}
