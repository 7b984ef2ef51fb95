/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where values end, and what is no JSON. The model is jansson, which reads whole texts only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "rpc/json_scan.h"

static const char *const whole_values[] = {
	"{}",
	"[]",
	"\"\"",
	"true",
	"false",
	"null",
	"{\"a\":1}",
	"[1,2 , 3\t,\r\n4]",
	"{\"a\":[{\"b\":{}},[],[[]],\"}\",\"]\"],\"c\":-0.5e+10}",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\uDE00\"",
	"\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf\"",
	"[0,-0,10,1.5,1e5,1E-5,1.25e+3]",
	"{ \"x\" : \"\\u0000\" }",
};

static const char *const wrong_values[] = {
	"}",
	"]",
	"nope",
	"tru ",
	"nulL",
	"{1:2}",
	"{\"a\" 1}",
	"{\"a\":1,}",
	"[1,]",
	"[,1]",
	"[1 2]",
	"{\"a\":1]",
	"[1}",
	"01",
	"[01]",
	"[-]",
	"[1.]",
	"[.5]",
	"[1e]",
	"[+1]",
	"[0x10]",
	"[1.5.5]",
	"'a'",
	"// comment",
	"/* comment */ 1",
	"\"\n\"",
	"\"\\x\"",
	"\"\\u12g4\"",
	"\"\\ud800\"",
	"\"\\ud800x\"",
	"\"\\ud800\\n\"",
	"\"\\ud800\\u0041\"",
	"\"\\udc00\"",
	"\"\x80\"",
	"\"\xc0\x80\"",
	"\"\xe0\x9f\xbf\"",
	"\"\xed\xa0\x80\"",
	"\"\xf0\x8f\xbf\xbf\"",
	"\"\xf4\x90\x80\x80\"",
	"\"\xf5\x80\x80\x80\"",
	"\"\xc3\"",
};

static enum json_scan_result scan_whole(const char *text, size_t len, size_t *ret_used)
{
	struct json_scan scan;

	json_scan_init(&scan);
	return json_scan_feed(&scan, text, len, ret_used);
}

static void values_end_at_their_last_byte_at_every_split(void **state)
{
	for (size_t i = 0; i < sizeof(whole_values) / sizeof(whole_values[0]); i++) {
		const char *text = whole_values[i];
		size_t len = strlen(text);

		for (size_t split = 0; split < len; split++) {
			struct json_scan scan;
			size_t used;

			json_scan_init(&scan);
			assert_int_equal(json_scan_feed(&scan, text, split, &used), JSON_SCAN_MORE);
			assert_int_equal(used, split);
			assert_int_equal(json_scan_feed(&scan, text + split, len - split, &used),
				JSON_SCAN_DONE);
			assert_int_equal(used, len - split);
		}
	}
}

static void what_follows_a_value_is_not_taken(void **state)
{
	size_t used;

	assert_int_equal(scan_whole("{}{}", 4, &used), JSON_SCAN_DONE);
	assert_int_equal(used, 2);
	assert_int_equal(scan_whole("12 ", 3, &used), JSON_SCAN_DONE);
	assert_int_equal(used, 2);
	assert_int_equal(scan_whole("12{", 3, &used), JSON_SCAN_DONE);
	assert_int_equal(used, 2);
	assert_int_equal(scan_whole("truefalse", 9, &used), JSON_SCAN_DONE);
	assert_int_equal(used, 4);
}

static void a_number_at_the_end_of_the_stream_is_whole_if_it_could_end_there(void **state)
{
	static const struct {
		const char *text;
		enum json_scan_result result;
	} cases[] = {
		{"0", JSON_SCAN_DONE},
		{"-12", JSON_SCAN_DONE},
		{"1.5", JSON_SCAN_DONE},
		{"1e5", JSON_SCAN_DONE},
		{"-", JSON_SCAN_BAD},
		{"1.", JSON_SCAN_BAD},
		{"1e", JSON_SCAN_BAD},
		{"1e+", JSON_SCAN_BAD},
		{"[1", JSON_SCAN_BAD},
		{"tru", JSON_SCAN_BAD},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_scan scan;
		size_t used;

		json_scan_init(&scan);
		assert_int_equal(json_scan_feed(&scan, cases[i].text, strlen(cases[i].text), &used),
			JSON_SCAN_MORE);
		assert_int_equal(json_scan_end(&scan), cases[i].result);
	}
}

static void wrong_text_is_refused_at_every_split(void **state)
{
	for (size_t i = 0; i < sizeof(wrong_values) / sizeof(wrong_values[0]); i++) {
		const char *text = wrong_values[i];
		size_t len = strlen(text);
		size_t used, bad_at;

		/* "01" is a zero and then something else. */
		if (scan_whole(text, len, &used) == JSON_SCAN_DONE) {
			assert_string_equal(text, "01");
			continue;
		}
		assert_int_equal(scan_whole(text, len, &bad_at), JSON_SCAN_BAD);
		for (size_t split = 0; split < len; split++) {
			struct json_scan scan;
			enum json_scan_result result;

			json_scan_init(&scan);
			result = json_scan_feed(&scan, text, split, &used);
			if (result == JSON_SCAN_MORE) {
				result = json_scan_feed(&scan, text + split, len - split, &used);
				used += split;
			}
			assert_int_equal(result, JSON_SCAN_BAD);
			assert_int_equal(used, bad_at);
		}
	}
}

static void nesting_of_64_is_accepted_and_of_65_is_not(void **state)
{
	char text[2 * 65];
	size_t used;

	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	assert_int_equal(scan_whole(text, 128, &used), JSON_SCAN_DONE);
	memset(text, '[', 65);
	assert_int_equal(scan_whole(text, 65, &used), JSON_SCAN_LIMIT);
	assert_int_equal(used, 65);
}

static void a_value_of_8192_tokens_is_accepted_and_of_8193_is_not(void **state)
{
	char text[3 * JSON_TOKENS_MAX];
	size_t used;

	for (unsigned scalars = JSON_TOKENS_MAX - 2; scalars < JSON_TOKENS_MAX; scalars++) {
		size_t len = 0;

		text[len++] = '[';
		for (unsigned i = 0; i < scalars; i++) {
			text[len++] = '7';
			text[len++] = ',';
		}
		text[len - 1] = ']';
		assert_int_equal(scan_whole(text, len, &used),
			scalars == JSON_TOKENS_MAX - 2 ? JSON_SCAN_DONE : JSON_SCAN_LIMIT);
	}
}

static void names_count_as_tokens(void **state)
{
	char *text = malloc(8 * JSON_TOKENS_MAX);
	size_t used, len = 0;

	/* {"a":1,...}: two brackets, 4096 members of two tokens are two too many. */
	text[len++] = '{';
	for (unsigned i = 0; i < JSON_TOKENS_MAX / 2; i++)
		len += (size_t)sprintf(text + len, "\"a\":1,");
	text[len - 1] = '}';
	assert_int_equal(scan_whole(text, len, &used), JSON_SCAN_LIMIT);
	memmove(text + 1, text + 7, len - 7);
	assert_int_equal(scan_whole(text, len - 6, &used), JSON_SCAN_DONE);
	free(text);
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static unsigned draw(unsigned below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state % below);
}

enum verdict { REFUSED, ACCEPTED, STOPPED };

/* STOPPED: jansson went no further for a reason that is not grammar. */
static enum verdict model_judge(const char *text, size_t len)
{
	json_error_t error;
	json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	json_decref(value);
	if (value)
		return ACCEPTED;
	if (json_error_code(&error) == json_error_numeric_overflow ||
		json_error_code(&error) == json_error_null_byte_in_key)
		return STOPPED;
	return REFUSED;
}

static bool scan_accepts(const char *text, size_t len)
{
	struct json_scan scan;
	enum json_scan_result result;
	size_t start = 0, used;

	while (start < len && json_is_space(text[start]))
		start++;
	if (start == len)
		return false;
	json_scan_init(&scan);
	result = json_scan_feed(&scan, text + start, len - start, &used);
	if (result == JSON_SCAN_MORE)
		result = json_scan_end(&scan);
	for (start += used; start < len && json_is_space(text[start]); start++)
		;
	return result == JSON_SCAN_DONE && start == len;
}

static void it_accepts_what_jansson_accepts(void **state)
{
	static const char alphabet[] = "{}[]:,\"\\ \n\t019.-+eEtrufalsn/u\x80\xc3\xa9\x7f\x1f";
	unsigned accepted = 0, refused = 0;

	for (unsigned run = 0; run < 200000; run++) {
		const char *from =
			whole_values[draw(sizeof(whole_values) / sizeof(whole_values[0]))];
		size_t len = strlen(from);
		char text[128];

		memcpy(text, from, len);
		for (unsigned changes = draw(4); changes; changes--) {
			size_t at = draw((unsigned)len);

			if (draw(3) == 0 && len > 1) {
				memmove(text + at, text + at + 1, len - at - 1);
				len--;
			} else {
				text[at] = alphabet[draw(sizeof(alphabet) - 1)];
			}
		}
		switch (model_judge(text, len)) {
		case STOPPED:
			break;
		case ACCEPTED:
			accepted++;
			if (!scan_accepts(text, len))
				fail_msg("run %u: '%.*s' is refused", run, (int)len, text);
			break;
		case REFUSED:
			refused++;
			if (scan_accepts(text, len))
				fail_msg("run %u: '%.*s' is accepted", run, (int)len, text);
			break;
		}
	}
	/* The texts are neither all right nor all wrong. */
	assert_true(accepted > 10000 && refused > 10000);
}

static void a_walk_visits_members_and_elements_as_they_were_written(void **state)
{
	const char *text = "{ \"a\" : 1.50 ,\"b\":[ true , \"x,]\" ,{}],\"c\":\"\"}";
	static const char *const names[] = {"\"a\"", "\"b\"", "\"c\""};
	static const char *const values[] = {"1.50", "[ true , \"x,]\" ,{}]", "\"\""};
	static const char *const elements[] = {"true", "\"x,]\"", "{}"};
	struct json_walk members = {.value = {text, strlen(text)}};
	struct json_walk list = {0};
	struct json_span name, value;

	for (size_t i = 0; i < 3; i++) {
		assert_true(json_walk_member(&members, &name, &value));
		assert_int_equal(name.len, strlen(names[i]));
		assert_memory_equal(name.text, names[i], name.len);
		assert_int_equal(value.len, strlen(values[i]));
		assert_memory_equal(value.text, values[i], value.len);
		if (i == 1)
			list.value = value;
	}
	assert_false(json_walk_member(&members, &name, &value));
	for (size_t i = 0; i < 3; i++) {
		assert_true(json_walk_element(&list, &value));
		assert_int_equal(value.len, strlen(elements[i]));
		assert_memory_equal(value.text, elements[i], value.len);
	}
	assert_false(json_walk_element(&list, &value));
	assert_false(json_walk_element(&(struct json_walk){.value = {"[ ]", 3}}, &value));
	assert_false(json_walk_member(&(struct json_walk){.value = {"{\n}", 3}}, &name, &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_end_at_their_last_byte_at_every_split),
		cmocka_unit_test(what_follows_a_value_is_not_taken),
		cmocka_unit_test(a_number_at_the_end_of_the_stream_is_whole_if_it_could_end_there),
		cmocka_unit_test(wrong_text_is_refused_at_every_split),
		cmocka_unit_test(nesting_of_64_is_accepted_and_of_65_is_not),
		cmocka_unit_test(a_value_of_8192_tokens_is_accepted_and_of_8193_is_not),
		cmocka_unit_test(names_count_as_tokens),
		cmocka_unit_test(it_accepts_what_jansson_accepts),
		cmocka_unit_test(a_walk_visits_members_and_elements_as_they_were_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
