/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests, ids, notifications, batches, errors, states. */
#include <stdio.h>
#include <string.h>

#include "rpc_world.h"

#define INVALID                                                                                    \
	"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"Invalid "       \
	"request\"}}"
#define INVALID_LINE INVALID "\n"

struct exchange {
	const char *request;
	const char *answer;
};

static void expect_all(const struct exchange *exchanges, size_t count)
{
	struct world world;

	world_start(&world, 1);
	for (size_t i = 0; i < count; i++)
		expect_exchange(&world, exchanges[i].request, exchanges[i].answer, false);
	world_end(&world);
}

#define EXPECT_ALL(exchanges) expect_all(exchanges, sizeof(exchanges) / sizeof((exchanges)[0]))

#define TRUE_OF(id) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":true}\n"

static void ids_are_echoed_byte_for_byte(void **state)
{
	static const struct exchange exchanges[] = {
		{"{\"method\":\"none\",\"id\":1}", TRUE_OF("1")},
		{"{\"method\":\"none\",\"id\":1.50}", TRUE_OF("1.50")},
		{"{\"method\":\"none\",\"id\":-0}", TRUE_OF("-0")},
		{"{\"method\":\"none\",\"id\":1E+400}", TRUE_OF("1E+400")},
		{"{\"method\":\"none\",\"id\":123456789012345678901234567890}",
			TRUE_OF("123456789012345678901234567890")},
		{"{\"method\":\"none\",\"id\":\"\"}", TRUE_OF("\"\"")},
		{"{\"method\":\"none\",\"id\":\"a\\/b\\u0041\\n\"}",
			TRUE_OF("\"a\\/b\\u0041\\n\"")},
		{"{\"method\":\"none\",\"id\":\"x\\u0000y\"}", TRUE_OF("\"x\\u0000y\"")},
		{"{\"method\":\"none\",\"id\":\"\xc3\xa9\xf0\x9f\x98\x80\"}",
			TRUE_OF("\"\\u00E9\\uD83D\\uDE00\"")},
		{"{\"\\u0069d\":5,\"meth\\u006Fd\":\"n\\u006fne\"}", TRUE_OF("5")},
	};

	EXPECT_ALL(exchanges);
}

static void a_wrong_envelope_is_an_invalid_request_without_id(void **state)
{
	static const struct exchange exchanges[] = {
		{"{}", INVALID_LINE},
		{"{\"id\":1}", INVALID_LINE},
		{"{\"method\":5,\"id\":1}", INVALID_LINE},
		{"{\"method\":null,\"id\":1}", INVALID_LINE},
		{"{\"method\":\"none\",\"id\":1,\"more\":2}", INVALID_LINE},
		{"{\"method\":\"none\",\"id\":1,\"id\":1}", INVALID_LINE},
		{"{\"method\":\"none\",\"method\":\"none\",\"id\":1}", INVALID_LINE},
		{"{\"jsonrpc\":\"1.0\",\"method\":\"none\",\"id\":1}", INVALID_LINE},
		{"{\"jsonrpc\":2.0,\"method\":\"none\",\"id\":1}", INVALID_LINE},
		{"{\"jsonrpc\":null,\"method\":\"none\",\"id\":1}", INVALID_LINE},
		{"{\"method\":\"none\",\"id\":true}", INVALID_LINE},
		{"{\"method\":\"none\",\"id\":[1]}", INVALID_LINE},
		{"{\"method\":\"none\",\"id\":{}}", INVALID_LINE},
		{"5 ", INVALID_LINE},
		{"5", INVALID_LINE},
		{"-1.5e3 \"text\" true false null",
			INVALID_LINE INVALID_LINE INVALID_LINE INVALID_LINE INVALID_LINE},
		{"[]", INVALID_LINE},
	};

	EXPECT_ALL(exchanges);
}

static void params_of_scalar_type_are_an_invalid_request_with_id(void **state)
{
	static const struct exchange exchanges[] = {
		{"{\"method\":\"none\",\"id\":7,\"params\":5}",
			"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32600,"
			"\"message\":\"Invalid request\"}}\n"},
		{"{\"method\":\"none\",\"id\":7,\"params\":\"x\"}",
			"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32600,"
			"\"message\":\"Invalid request\"}}\n"},
		{"{\"method\":\"none\",\"id\":7,\"params\":false}",
			"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32600,"
			"\"message\":\"Invalid request\"}}\n"},
		{"{\"method\":\"none\",\"id\":7,\"params\":null}", TRUE_OF("7")},
		{"{\"method\":\"none\",\"id\":7,\"params\":{}}", TRUE_OF("7")},
		{"{\"method\":\"none\",\"id\":7,\"params\":[]}",
			"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32602,"
			"\"message\":\"none requires no parameters\"}}\n"},
	};

	EXPECT_ALL(exchanges);
}

static void notifications_are_answered_only_when_they_fail(void **state)
{
	static const struct exchange exchanges[] = {
		{"{\"method\":\"none\"}", ""},
		{"{\"method\":\"none\",\"id\":null}", ""},
		{"{\"method\":\"nope\"}",
			"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32601,"
			"\"message\":\"Method not found\"}}\n"},
		{"{\"method\":\"fail\",\"params\":{\"rc\":-19},\"id\":null}",
			"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-19,"
			"\"message\":\"No such device\"}}\n"},
	};

	EXPECT_ALL(exchanges);
}

static void unknown_methods_are_not_found(void **state)
{
	static const struct exchange exchanges[] = {
		{"{\"method\":\"nope\",\"id\":1}",
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,"
			"\"message\":\"Method not found\"}}\n"},
		{"{\"method\":\"\",\"id\":1}",
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,"
			"\"message\":\"Method not found\"}}\n"},
		{"{\"method\":\"none\\u0000\",\"id\":1}",
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,"
			"\"message\":\"Method not found\"}}\n"},
		{"{\"method\":\"NONE\",\"id\":1}",
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,"
			"\"message\":\"Method not found\"}}\n"},
	};

	EXPECT_ALL(exchanges);
}

static void a_batch_is_answered_by_one_array(void **state)
{
	static const struct exchange exchanges[] = {
		{"[{\"method\":\"none\",\"id\":1},{\"method\":\"none\",\"id\":\"b\"}]",
			"[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true},"
			"{\"jsonrpc\":\"2.0\",\"id\":\"b\",\"result\":true}]\n"},
		{"[1,{\"method\":\"none\"},[],{\"method\":\"none\",\"id\":2}]",
			"[" INVALID "," INVALID
			",{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":true}]\n"},
		{"[{\"method\":\"none\"},{\"method\":\"none\",\"id\":null}]", ""},
		{"[{\"method\":\"none\"}]{\"method\":\"none\",\"id\":3}", TRUE_OF("3")},
	};

	EXPECT_ALL(exchanges);
}

static void elements_of_a_batch_are_answered_in_the_order_they_end(void **state)
{
	struct world world;

	world_start(&world, 3);
	expect_exchange(&world,
		"[{\"method\":\"delay\",\"params\":{\"x\":20},\"id\":1},"
		"{\"method\":\"delay\",\"params\":{\"x\":5},\"id\":2},"
		"{\"method\":\"none\",\"id\":3}]",
		"[{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":true},"
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":true},"
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}]\n",
		false);
	world_end(&world);
}

static void a_slow_request_is_overtaken_by_the_next(void **state)
{
	struct world world;

	world_start(&world, 4);
	expect_exchange(&world,
		"{\"method\":\"delay\",\"params\":{\"x\":20},\"id\":1}"
		"{\"method\":\"none\",\"id\":2}{\"method\":\"none\",\"id\":3}",
		TRUE_OF("2") TRUE_OF("3") TRUE_OF("1"), false);
	world_end(&world);
}

static void errors_have_the_number_and_text_of_the_c_library(void **state)
{
	static const struct {
		int rc;
		const char *text;
	} errors[] = {
		{-1, "Operation not permitted"},
		{-2, "No such file or directory"},
		{-5, "Input/output error"},
		{-6, "No such device or address"},
		{-11, "Resource temporarily unavailable"},
		{-12, "Cannot allocate memory"},
		{-16, "Device or resource busy"},
		{-17, "File exists"},
		{-19, "No such device"},
		{-22, "Invalid argument"},
		{-28, "No space left on device"},
		{-95, "Operation not supported"},
		{-110, "Connection timed out"},
		{-114, "Operation already in progress"},
	};
	struct world world;

	world_start(&world, 5);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		char request[128], answer[256];

		snprintf(request, sizeof(request),
			"{\"method\":\"fail\",\"id\":1,\"params\":{\"rc\":%d}}", errors[i].rc);
		snprintf(answer, sizeof(answer),
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":%d,\"message\":\"%s\"}}"
			"\n",
			errors[i].rc, errors[i].text);
		expect_exchange(&world, request, answer, false);
	}
	world_end(&world);
}

static void errors_carry_their_sentence_on_connections_that_asked(void **state)
{
	struct world world;

	world_start(&world, 6);
	/* A byte that is no UTF-8 does not make the answer wrong. */
	expect_exchange(&world,
		"{\"method\":\"explain\",\"id\":1,\"params\":{\"enabled\":true}}"
		"{\"method\":\"fail\",\"id\":2,\"params\":{\"rc\":-22}}"
		"{\"method\":\"nope\",\"id\":3}"
		"{\"method\":\"explain\",\"id\":4,\"params\":{\"enabled\":false}}"
		"{\"method\":\"fail\",\"id\":5,\"params\":{\"rc\":-22}}",
		TRUE_OF("1") "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-22,\"message\":"
			     "\"Invalid argument\",\"data\":{\"reason\":\"do \\\"this\\\"? "
			     "instead\"}}}\n"
			     "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-32601,\"message\":"
			     "\"Method not found\",\"data\":{\"reason\":\"there is no method "
			     "nope: rpc_get_methods lists those there are\"}}}\n" TRUE_OF(
				     "4") "{\"jsonrpc\":\"2.0\",\"id\":5,\"error\":{\"code\":-22,"
					  "\"message\":"
					  "\"Invalid argument\"}}\n",
		false);
	world_end(&world);
}

static void set_startup(struct world *world, void *arg)
{
	rpc_server_set_state(world->server, RPC_STARTUP);
}

static void methods_are_refused_in_the_wrong_state(void **state)
{
	struct world world;

	world_start(&world, 7);
	expect_exchange(&world, "{\"method\":\"late\",\"id\":1}", TRUE_OF("1"), false);
	expect_exchange(&world, "{\"method\":\"early\",\"id\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"Method may "
		"only be "
		"called before framework is initialized. Use --wait-for-rpc command line parameter "
		"and then issue this RPC before the framework_start_init RPC.\"}}\n",
		false);
	world_call(&world, set_startup, NULL);
	expect_exchange(&world, "{\"method\":\"early\",\"id\":1}", TRUE_OF("1"), false);
	expect_exchange(&world, "{\"method\":\"late\",\"id\":1,\"params\":{\"x\":1}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"Method may "
		"only be "
		"called after framework is initialized using framework_start_init RPC.\"}}\n",
		false);
	world_end(&world);
}

static void allow_some(struct world *world, void *arg)
{
	assert_int_equal(rpc_server_allow(world->server, "none,echo,none", NULL), 0);
}

static void allow_unknown(struct world *world, void *arg)
{
	struct reason reason = {0};

	assert_int_equal(rpc_server_allow(world->server, "none,zz", &reason), -22);
	assert_non_null(strstr(reason.text, "zz"));
}

static void count_method(const struct rpc_method *method, void *arg)
{
	char *names = arg;

	strcat(names, method->name);
	strcat(names, " ");
}

static void list_methods(struct world *world, void *arg)
{
	rpc_server_for_each_method(world->server, false, count_method, arg);
}

static void only_allowed_methods_exist(void **state)
{
	struct world world;
	char names[256] = "";

	world_start(&world, 8);
	world_call(&world, allow_unknown, NULL);
	world_call(&world, allow_some, NULL);
	world_call(&world, list_methods, names);
	assert_string_equal(names, "echo none ");
	expect_exchange(&world, "{\"method\":\"none\",\"id\":1}", TRUE_OF("1"), false);
	expect_exchange(&world, "{\"method\":\"late\",\"id\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,"
		"\"message\":\"Method not found\"}}\n",
		false);
	world_end(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_echoed_byte_for_byte),
		cmocka_unit_test(a_wrong_envelope_is_an_invalid_request_without_id),
		cmocka_unit_test(params_of_scalar_type_are_an_invalid_request_with_id),
		cmocka_unit_test(notifications_are_answered_only_when_they_fail),
		cmocka_unit_test(unknown_methods_are_not_found),
		cmocka_unit_test(a_batch_is_answered_by_one_array),
		cmocka_unit_test(elements_of_a_batch_are_answered_in_the_order_they_end),
		cmocka_unit_test(a_slow_request_is_overtaken_by_the_next),
		cmocka_unit_test(errors_have_the_number_and_text_of_the_c_library),
		cmocka_unit_test(errors_carry_their_sentence_on_connections_that_asked),
		cmocka_unit_test(methods_are_refused_in_the_wrong_state),
		cmocka_unit_test(only_allowed_methods_exist),
	};

	world_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
