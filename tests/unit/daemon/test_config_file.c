/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration files: comments, and what is wrong with those that cannot be used. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "daemon/config_file.h"
#include "sim/sim.h"

static void comments_become_blanks_but_not_in_strings(void **state)
{
	static const struct {
		const char *text, *blanked;
	} cases[] = {
		{"{}", "{}"},
		{"// a\n{}", "    \n{}"},
		{"{/* b */}", "{       }"},
		{"/**//**/1", "        1"},
		{"/* a\nb */1", "    \n    1"},
		{"\"/* no */\"", "\"/* no */\""},
		{"\"a\\\"//\" //x", "\"a\\\"//\"    "},
		{"\"a\\\\\"//x", "\"a\\\\\"   "},
		{"1//", "1  "},
		{"/* open", "/* open"},
		{"/", "/"},
		{"\"open //", "\"open //"},
		{"\"\\", "\"\\"},
		{"/*/1", "/*/1"},
		{"//a\"\n\"b\"", "    \n\"b\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = strdup(cases[i].text);

		config_text_blank_comments(text, strlen(text));
		assert_string_equal(text, cases[i].blanked);
		free(text);
	}
}

static int read_text(const char *text, size_t len, struct reason *reason, json_t **ret_subsystems)
{
	struct sim *sim = sim_create(1);
	struct sim_file *file = sim_file_create(sim, "/c.json", len);
	int rc;

	log_set_level(LOG_ERROR);
	sim_file_poke(file, 0, text, len);
	rc = config_file_read(sim_os(sim), "/c.json", reason, ret_subsystems);
	assert_int_equal(sim_destroy(sim), 0);
	return rc;
}

static void only_the_subsystems_count(void **state)
{
	static const char text[] = "{\"x\":[], // more\n\"subsystems\":[1]}";
	static const char without[] = "{\"x\":[]}";
	struct reason reason = {0};
	json_t *subsystems;

	assert_int_equal(read_text(text, strlen(text), &reason, &subsystems), 0);
	assert_int_equal(json_array_size(subsystems), 1);
	json_decref(subsystems);
	assert_int_equal(read_text(without, strlen(without), &reason, &subsystems), 0);
	assert_int_equal(json_array_size(subsystems), 0);
	json_decref(subsystems);
}

static void what_is_wrong_is_told_with_its_place(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *why;
	} cases[] = {
		{"", 0, "line 1"},
		{"[]", 2, "no JSON object"},
		{"{\n\"a\":}", 7, "line 2"},
		{"{\"a\":1,\"a\":2}", 13, "duplicate"},
		{"{\"a\":1}x", 8, "line 1"},
		{"{}\0", 3, "line 1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct reason reason = {0};
		json_t *subsystems;

		assert_int_equal(
			read_text(cases[i].text, cases[i].len, &reason, &subsystems), -EINVAL);
		assert_non_null(strstr(reason.text, "/c.json"));
		if (!strstr(reason.text, cases[i].why))
			fail_msg("%s: %s", cases[i].text, reason.text);
	}
}

static void a_file_that_is_not_there_is_told(void **state)
{
	struct sim *sim = sim_create(1);
	struct reason reason = {0};
	json_t *subsystems;

	assert_int_equal(config_file_read(sim_os(sim), "/none", &reason, &subsystems), -ENOENT);
	assert_non_null(strstr(reason.text, "/none"));
	assert_int_equal(sim_destroy(sim), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments_become_blanks_but_not_in_strings),
		cmocka_unit_test(only_the_subsystems_count),
		cmocka_unit_test(what_is_wrong_is_told_with_its_place),
		cmocka_unit_test(a_file_that_is_not_there_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
