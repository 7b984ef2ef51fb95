/* SPDX-License-Identifier: BSD-2-Clause */
/* Base64: RFC 4648's own examples, every length, and what is none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

static const struct {
	const char *bytes, *text;
} examples[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

static void the_examples_of_the_standard_go_both_ways(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		size_t length = strlen(examples[i].bytes);
		char text[16], bytes[16];

		base64_encode(examples[i].bytes, length, text);
		assert_string_equal(text, examples[i].text);
		assert_int_equal(strlen(text), base64_length(length));
		assert_int_equal(base64_decode(text, bytes, sizeof(bytes)), length);
		assert_memory_equal(bytes, examples[i].bytes, length);
	}
}

static void all_bytes_come_back(void **state)
{
	uint8_t bytes[256], again[256];
	char text[512];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167 + 13);
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		base64_encode(bytes, length, text);
		assert_int_equal(base64_decode(text, again, length), length);
		assert_memory_equal(again, bytes, length);
		if (length)
			assert_int_equal(base64_decode(text, again, length - 1), -EINVAL);
	}
}

static void what_is_no_base64_is_refused(void **state)
{
	static const char *const wrong[] = {"Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9v\n",
		"Zm9 ", "Zm-_", "Zg=a", "=g==", "Zm8=Zm8="};
	uint8_t bytes[16];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(base64_decode(wrong[i], bytes, sizeof(bytes)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_standard_go_both_ways),
		cmocka_unit_test(all_bytes_come_back),
		cmocka_unit_test(what_is_no_base64_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
