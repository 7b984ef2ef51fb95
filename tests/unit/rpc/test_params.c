/* SPDX-License-Identifier: BSD-2-Clause */
/* Which parameters fit, what they become, and what a call is refused with. */
#include <stdio.h>
#include <string.h>

#include "rpc_world.h"

static void expect_call(
	struct world *world, const char *method, const char *params, const char *member)
{
	char request[512], answer[512];

	snprintf(request, sizeof(request), "{\"method\":\"%s\",\"id\":1,\"params\":%s}", method,
		params);
	snprintf(answer, sizeof(answer), "{\"jsonrpc\":\"2.0\",\"id\":1,%s}\n", member);
	expect_exchange(world, request, answer, false);
}

#define DECODE_FAILED "\"error\":{\"code\":-32603,\"message\":\"spdk_json_decode_object failed\"}"

static void expect_refused(struct world *world, const char *params)
{
	expect_call(world, "echo", params, DECODE_FAILED);
	assert_int_equal(world->executed, 0);
}

/* Of echo: only the member that differs from the default is named. */
static void expect_echo(
	struct world *world, const char *params, const char *name, const char *value)
{
	static const char *const defaults[][2] = {
		{"text", "\"nothing\""},
		{"flag", "true"},
		{"u16", "7"},
		{"u32", "7"},
		{"u64", "7"},
		{"i32", "7"},
		{"choice", "0"},
		{"any_case", "1"},
	};
	char member[512] = "\"result\":{";
	bool found = false;

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		bool named = strcmp(defaults[i][0], name) == 0;
		size_t len = strlen(member);

		found = found || named;
		snprintf(member + len, sizeof(member) - len, "%s\"%s\":%s", i ? "," : "",
			defaults[i][0], named ? value : defaults[i][1]);
	}
	if (!found && name[0])
		snprintf(member + strlen(member), sizeof(member) - strlen(member), ",\"%s\":%s",
			name, value);
	strcat(member, "}");
	expect_call(world, "echo", params, member);
}

static void absent_parameters_have_their_defaults(void **state)
{
	struct world world;

	world_start(&world, 1);
	expect_echo(&world, "{}", "", "");
	expect_echo(&world, "null", "", "");
	world_end(&world);
}

static void an_integer_may_be_written_in_any_way(void **state)
{
	static const char *const fives[] = {
		"5",
		"5.0",
		"5e0",
		"0.5e1",
		"50e-1",
		"5.000E+0",
		"0.05e2",
	};
	struct world world;
	char params[64];

	world_start(&world, 2);
	for (size_t i = 0; i < sizeof(fives) / sizeof(fives[0]); i++) {
		snprintf(params, sizeof(params), "{\"u32\":%s}", fives[i]);
		expect_echo(&world, params, "u32", "5");
	}
	expect_echo(&world, "{\"i32\":-5.0}", "i32", "-5");
	expect_echo(&world, "{\"u64\":-0.0}", "u64", "0");
	world_end(&world);
}

static void integers_are_accepted_up_to_their_bounds(void **state)
{
	struct world world;

	world_start(&world, 3);
	expect_echo(&world, "{\"u16\":65535}", "u16", "65535");
	expect_echo(&world, "{\"u32\":4294967295}", "u32", "4294967295");
	expect_echo(&world, "{\"u64\":9223372036854775807}", "u64", "9223372036854775807");
	expect_echo(&world, "{\"i32\":-2147483648}", "i32", "-2147483648");
	expect_echo(&world, "{\"i32\":2147483647}", "i32", "2147483647");
	expect_echo(&world, "{\"u64\":9007199254740992.0}", "u64", "9007199254740992");
	world_end(&world);
}

static void numbers_that_do_not_fit_are_refused(void **state)
{
	static const char *const wrong[] = {
		"{\"u16\":65536}",
		"{\"u32\":4294967296}",
		"{\"u32\":-1}",
		"{\"u32\":5.5}",
		"{\"u32\":5e-1}",
		"{\"u32\":1e10}",
		"{\"u64\":-1}",
		"{\"u64\":9223372036854775808}",
		"{\"u64\":99999999999999999999999}",
		"{\"u64\":1e300}",
		"{\"u64\":1e400}",
		"{\"i32\":2147483648}",
		"{\"i32\":-2147483649}",
		"{\"u32\":\"5\"}",
		"{\"u32\":true}",
		"{\"u32\":null}",
		"{\"u32\":[5]}",
		"{\"u32\":{}}",
	};
	struct world world;

	world_start(&world, 4);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect_refused(&world, wrong[i]);
	world_end(&world);
}

static void values_of_another_type_are_refused(void **state)
{
	static const char *const wrong[] = {
		"{\"text\":5}",
		"{\"text\":null}",
		"{\"text\":\"a\\u0000b\"}",
		"{\"flag\":1}",
		"{\"flag\":0}",
		"{\"flag\":\"true\"}",
		"{\"flag\":null}",
		"{\"choice\":\"c\"}",
		"{\"choice\":\"A\"}",
		"{\"choice\":\"\"}",
		"{\"choice\":0}",
		"{\"any\":null}",
		"{\"uuid\":\"3f0e6a1c\"}",
		"{\"uuid\":\"3f0e6a1c-9d55-4a43-8d11-52c7be1f0a7\"}",
		"{\"uuid\":\"3f0e6a1c-9d55-4a43-8d11-52c7be1f0a777\"}",
		"{\"uuid\":\"3f0e6a1c-9d55-4a43-8d11-52c7be1f0a7g\"}",
		"{\"uuid\":\"3f0e6a1c09d55-4a43-8d11-52c7be1f0a77\"}",
		"{\"uuid\":\"\"}",
	};
	struct world world;

	world_start(&world, 5);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect_refused(&world, wrong[i]);
	world_end(&world);
}

static void values_are_taken_as_they_are(void **state)
{
	struct world world;

	world_start(&world, 6);
	expect_echo(&world, "{\"text\":\"\"}", "text", "\"\"");
	expect_echo(&world, "{\"text\":\"\\u00e9\xe2\x82\xac\\ud83d\\ude00\\t\\/\"}", "text",
		"\"\\u00E9\\u20AC\\uD83D\\uDE00\\t/\"");
	expect_echo(&world, "{\"flag\":false}", "flag", "false");
	expect_echo(&world, "{\"choice\":\"b\"}", "choice", "1");
	expect_echo(&world, "{\"any_case\":\"A\"}", "any_case", "0");
	expect_echo(&world, "{\"any\":[1,{\"a\":null}]}", "any", "[1,{\"a\":null}]");
	expect_echo(&world, "{\"uuid\":\"3F0e6a1c-9d55-4a43-8d11-52c7be1f0a77\"}", "uuid",
		"\"3F0e6a1c-9d55-4a43-8d11-52c7be1f0a77\"");
	world_end(&world);
}

static void unknown_and_double_names_refuse_the_call(void **state)
{
	struct world world;

	world_start(&world, 7);
	expect_refused(&world, "{\"zz\":1}");
	expect_refused(&world, "{\"u32\":1,\"zz\":1}");
	expect_refused(&world, "{\"u32\":1,\"u32\":1}");
	expect_refused(&world, "{\"u32\":1,\"u3\\u0032\":1}");
	expect_refused(&world, "{\"any\":{\"a\":1,\"a\":2}}");
	expect_refused(&world, "{\"a\\u0000\":1}");
	expect_refused(&world, "[]");
	expect_refused(&world, "[{\"u32\":1}]");
	world_end(&world);
}

static void each_method_is_refused_with_its_own_error(void **state)
{
	struct world world;

	world_start(&world, 8);
	expect_call(&world, "need", "{}", "\"error\":{\"code\":-22,\"message\":\"Needs x\"}");
	expect_call(&world, "need", "null", "\"error\":{\"code\":-22,\"message\":\"Needs x\"}");
	expect_call(
		&world, "need", "{\"x\":-1}", "\"error\":{\"code\":-22,\"message\":\"Needs x\"}");
	expect_call(&world, "none", "{\"x\":1}",
		"\"error\":{\"code\":-32602,\"message\":\"none requires no parameters\"}");
	expect_call(&world, "need", "{\"x\":1}", "\"result\":true");
	world_end(&world);
}

static void a_method_may_ignore_unknown_names(void **state)
{
	struct world world;

	world_start(&world, 9);
	expect_call(&world, "lenient", "{\"zz\":[],\"x\":1}", "\"result\":true");
	expect_call(&world, "lenient", "{\"zz\":[],\"x\":-1}", DECODE_FAILED);
	world_end(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_parameters_have_their_defaults),
		cmocka_unit_test(an_integer_may_be_written_in_any_way),
		cmocka_unit_test(integers_are_accepted_up_to_their_bounds),
		cmocka_unit_test(numbers_that_do_not_fit_are_refused),
		cmocka_unit_test(values_of_another_type_are_refused),
		cmocka_unit_test(values_are_taken_as_they_are),
		cmocka_unit_test(unknown_and_double_names_refuse_the_call),
		cmocka_unit_test(each_method_is_refused_with_its_own_error),
		cmocka_unit_test(a_method_may_ignore_unknown_names),
	};

	world_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
