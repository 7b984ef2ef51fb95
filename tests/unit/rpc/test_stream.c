/* SPDX-License-Identifier: BSD-2-Clause */
/* Framing: any split of the stream gives the same answers; limits; malformed input; its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc_world.h"

#define PARSE_ERROR                                                                                \
	"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"Parse "         \
	"error\"}}\n"
#define INVALID                                                                                    \
	"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"Invalid "       \
	"request\"}}\n"
#define TRUE_OF(id) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":true}\n"

static const char *const pieces[] = {
	"{\"method\":\"none\",\"id\":1}",
	" \r\n\t "
	"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"text\":\"a\\u00e9\xc3\xa9\"},"
	"\"id\":\"x\"}",
	"{\"method\":\"nope\",\"id\":-1.5e3}",
	"[{\"method\":\"none\",\"id\":2},17,{\"method\":\"none\"},{\"method\":\"echo\",\"id\":3}]",
	"[]",
	"42 ",
	"null",
	"\"text\"",
	"{\"method\":\"fail\",\"params\":{\"rc\":-5},\"id\":4}",
	"{\"id\":5,\"id\":6}",
	"{\"method\":\"echo\",\"params\":{\"u32\":1e400},\"id\":7}",
	"true",
	"{\"method\":\"none\"}",
	"-0",
};

static size_t stream_make(struct sim *sim, char *text, bool malformed)
{
	size_t len = 0;

	for (unsigned i = 0; i < 12; i++) {
		const char *piece = pieces[sim_random(sim, sizeof(pieces) / sizeof(pieces[0]))];

		len += (size_t)sprintf(text + len, "%s%s", i ? " " : "", piece);
	}
	if (malformed)
		len += (size_t)sprintf(text + len, " {\"method\":\"none\",]");
	/* A last one that shows that all has been answered. */
	len += (size_t)sprintf(text + len, " {\"method\":\"none\",\"id\":\"last\"}");
	return len;
}

static void client_send_in_pieces(struct client *client, const char *text, size_t len)
{
	struct sim *sim = client->world->sim;

	for (size_t at = 0; at < len;) {
		size_t piece = 1 + sim_random(sim, sim_random(sim, 3) ? 8 : 200);

		if (piece > len - at)
			piece = len - at;
		client_send(client, text + at, piece);
		if (sim_random(sim, 2))
			world_sleep(client->world, sim_random(sim, 200) * USEC_NS);
		at += piece;
	}
}

static char *answers_until_last(struct client *client, bool malformed)
{
	const char *text;
	char *all;

	if (malformed)
		return strdup(client_rest(client));
	all = calloc(1, 1);
	do {
		text = client_lines(client, 1);
		all = realloc(all, strlen(all) + strlen(text) + 1);
		strcat(all, text);
	} while (!strstr(text, "\"last\"") && text[0]);
	return all;
}

static void stream_check(uint64_t seed, bool malformed)
{
	struct world world;
	struct client whole, split;
	char text[4096];
	char *expected, *answers;
	size_t len;

	world_start(&world, seed);
	len = stream_make(world.sim, text, malformed);
	client_open(&world, &whole);
	client_send(&whole, text, len);
	expected = answers_until_last(&whole, malformed);
	client_open(&world, &split);
	client_send_in_pieces(&split, text, len);
	answers = answers_until_last(&split, malformed);
	assert_string_equal(answers, expected);
	assert_true(strlen(answers) > 100);
	if (malformed)
		assert_non_null(strstr(answers, "Parse error"));
	free(answers);
	free(expected);
	client_close(&split);
	client_close(&whole);
	world_end(&world);
}

static void any_split_of_the_stream_gives_the_same_answers(void **state)
{
	SIM_FOR_EACH_SEED(seed, 60)
	{
		stream_check(seed, false);
	}
}

static void any_split_of_a_malformed_stream_gives_the_same_answers(void **state)
{
	SIM_FOR_EACH_SEED(seed, 40)
	{
		stream_check(seed, true);
	}
}

static void malformed_input_is_told_after_the_answers_that_are_due(void **state)
{
	static const char *const wrong[] = {
		"nope",
		"{\"a\":1,}",
		"// x",
		"\"\n\"",
		"{\"method\":\"none\",\"id\":01}",
		"}",
		"\xff",
		"1.x",
		"[{\"method\":\"none\",\"id\":1}",
	};
	struct world world;

	world_start(&world, 1);
	for (size_t i = 0; i < 7; i++) {
		char text[256];

		snprintf(text, sizeof(text),
			"{\"method\":\"delay\",\"params\":{\"x\":20},\"id\":1}{\"method\":\"none\","
			"\"id\":2}%s"
			"{\"method\":\"none\",\"id\":3}",
			wrong[i]);
		expect_exchange(&world, text, TRUE_OF("2") TRUE_OF("1") PARSE_ERROR, true);
	}
	expect_exchange(&world, wrong[7], INVALID PARSE_ERROR, true);
	/* Nothing of a batch is executed before all of it is there. */
	expect_exchange(&world, wrong[8], "", false);
	assert_int_equal(world.executed, 7);
	world_end(&world);
}

static void a_nul_byte_is_malformed(void **state)
{
	struct world world;
	struct client client;

	world_start(&world, 2);
	client_open(&world, &client);
	client_send(&client, "{\"method\":\"none\",\"id\":1}\0", 25);
	assert_string_equal(client_rest(&client), TRUE_OF("1") PARSE_ERROR);
	client_close(&client);
	world_end(&world);
}

static char *request_of_size(size_t size)
{
	static const char head[] = "{\"method\":\"none\",\"id\":\"";
	char *text = malloc(size + 1);

	memset(text, 'x', size);
	memcpy(text, head, strlen(head));
	memcpy(text + size - 2, "\"}", 3);
	return text;
}

static void a_request_of_262144_bytes_is_accepted_and_one_more_is_not(void **state)
{
	struct world world;
	struct client client;
	char *text = request_of_size(262144);
	const char *answer;

	world_start(&world, 3);
	client_open(&world, &client);
	client_say(&client, text);
	answer = client_lines(&client, 1);
	assert_int_equal(strlen(answer), 262144 - 22 - 1 + strlen(TRUE_OF("")));
	client_close(&client);
	free(text);

	text = request_of_size(262145);
	client_open(&world, &client);
	client_say(&client, "{\"method\":\"none\",\"id\":1}");
	client_say(&client, text);
	assert_string_equal(client_rest(&client), TRUE_OF("1"));
	client_close(&client);
	free(text);
	world_end(&world);
}

static void over_a_limit_the_connection_is_closed_and_nothing_written(void **state)
{
	struct world world;
	char deep[80], *many = malloc(40000);

	world_start(&world, 4);
	memset(deep, '[', 65);
	deep[65] = '\0';
	expect_exchange(&world, deep, "", true);

	strcpy(many, "{\"method\":\"echo\",\"id\":1,\"params\":{\"any\":[");
	for (unsigned i = 0; i < 8192; i++)
		strcat(many + 30, "0,");
	expect_exchange(&world, many, "", true);
	assert_int_equal(world.executed, 0);
	free(many);
	world_end(&world);
}

static void half_a_request_waits_without_time_limit(void **state)
{
	struct world world;
	struct client client;

	world_start(&world, 5);
	client_open(&world, &client);
	client_say(&client, "{\"method\":\"no");
	world_sleep(&world, 3600 * SEC_NS);
	assert_true(client_hears_nothing(&client));
	client_say(&client, "ne\",\"id\":1}");
	assert_string_equal(client_lines(&client, 1), TRUE_OF("1"));
	world_sleep(&world, 3600 * SEC_NS);
	client_say(&client, "{\"method\":\"none\",\"id\":2}");
	assert_string_equal(client_lines(&client, 1), TRUE_OF("2"));
	client_close(&client);
	world_end(&world);
}

static void a_client_that_has_ended_sending_gets_its_answers(void **state)
{
	static const struct {
		const char *text, *answers;
	} cases[] = {
		{"{\"method\":\"none\",\"id\":1}", TRUE_OF("1")},
		{"{\"method\":\"delay\",\"params\":{\"x\":30},\"id\":1}{\"method\":\"none\",\"id\":"
		 "2}",
			TRUE_OF("2") TRUE_OF("1")},
		{"", ""},
		{" \n ", ""},
		{"17", INVALID},
		{"{\"method\":\"none\",\"id\":1}{\"method", TRUE_OF("1") PARSE_ERROR},
		{"tru", PARSE_ERROR},
	};
	struct world world;

	world_start(&world, 6);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client client;

		client_open(&world, &client);
		client_say(&client, cases[i].text);
		client_end_sending(&client);
		assert_string_equal(client_rest(&client), cases[i].answers);
		client_close(&client);
	}
	world_end(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest simulated[] = {
		cmocka_unit_test(any_split_of_the_stream_gives_the_same_answers),
		cmocka_unit_test(any_split_of_a_malformed_stream_gives_the_same_answers),
		cmocka_unit_test(malformed_input_is_told_after_the_answers_that_are_due),
		cmocka_unit_test(a_nul_byte_is_malformed),
		cmocka_unit_test(a_request_of_262144_bytes_is_accepted_and_one_more_is_not),
		cmocka_unit_test(over_a_limit_the_connection_is_closed_and_nothing_written),
		cmocka_unit_test(half_a_request_waits_without_time_limit),
	};
	const struct CMUnitTest on_kernel[] = {
		cmocka_unit_test(malformed_input_is_told_after_the_answers_that_are_due),
		cmocka_unit_test(a_nul_byte_is_malformed),
		cmocka_unit_test(a_request_of_262144_bytes_is_accepted_and_one_more_is_not),
		cmocka_unit_test(over_a_limit_the_connection_is_closed_and_nothing_written),
		cmocka_unit_test(a_client_that_has_ended_sending_gets_its_answers),
	};

	world_select(argc, argv);
	if (world_is_simulated())
		return cmocka_run_group_tests(simulated, NULL, NULL);
	return cmocka_run_group_tests(on_kernel, NULL, NULL);
}
