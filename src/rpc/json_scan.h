/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds where a JSON value ends in a stream of bytes (RFC 8259), looking at each byte once however
 * the stream was cut, and refuses at the first byte that cannot belong to one. The values
 * themselves are decoded by jansson afterwards; jansson alone cannot tell an unfinished value from
 * a wrong one, and would read a long request again from its start with every piece that arrives.
 *
 * A second use is walking over the members of a value that has already been accepted: jansson
 * forgets how a number was written, and an id has to go back as it came.
 */
#ifndef RPC_JSON_SCAN_H
#define RPC_JSON_SCAN_H

#include "base/util.h"

#define JSON_DEPTH_MAX  64
#define JSON_TOKENS_MAX 8192 /* names, scalars, opening and closing brackets */

enum json_scan_result {
	JSON_SCAN_MORE, /* everything was taken, the value goes on */
	JSON_SCAN_DONE, /* the value is complete */
	JSON_SCAN_BAD, /* not JSON */
	JSON_SCAN_LIMIT, /* nested too deep or too many tokens */
};

struct json_scan {
	uint64_t objects; /* bit n: bracket n is an object's */
	const char *rest; /* of true, false or null */
	unsigned depth;
	unsigned tokens;
	unsigned unit; /* of \uXXXX, so far */
	uint8_t state;
	uint8_t digits; /* of \uXXXX */
	uint8_t utf8; /* bytes still to come */
	uint8_t utf8_lo; /* bounds of the next one */
	uint8_t utf8_hi;
	bool key; /* the string is a member's name */
	bool high; /* a high surrogate waits for its low one */
};

/* The first byte fed must be that of the value: white space before it is the caller's. */
void json_scan_init(struct json_scan *scan);

/* *ret_used: how many bytes belong to the value. A number ends with the byte after it, which is
 * not taken. After anything but MORE the scan must be started anew. */
enum json_scan_result json_scan_feed(
	struct json_scan *scan, const char *data, size_t len, size_t *ret_used);

/* The stream ends here: DONE if what was fed is a whole number, BAD otherwise. */
enum json_scan_result json_scan_end(const struct json_scan *scan);

static inline bool json_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A piece of an accepted value, without the white space around it. Borrowed. */
struct json_span {
	const char *text;
	size_t len;
};

/* A walk over the members of an object or the elements of an array that json_scan_feed has
 * accepted; offset starts at 0. False at the end. */
struct json_walk {
	struct json_span value;
	size_t offset;
};

bool json_walk_member(
	struct json_walk *walk, struct json_span *ret_name, struct json_span *ret_value);
bool json_walk_element(struct json_walk *walk, struct json_span *ret_value);

#endif
