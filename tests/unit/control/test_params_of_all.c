/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every method, by its own description: each parameter wrong in every way, or missing, and one that
 * does not exist. It is refused, the sentence names the parameter, and nothing has changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_world.h"

struct wrong {
	const char *types; /* that it is wrong for; "": for all of them */
	const char *text; /* JSON */
	bool named; /* the sentence names the parameter */
};

static const struct wrong wrongs[] = {
	{"", "null", true},
	{"string uuid bool enum", "5", true},
	{"bool u16 u32 u64 i32", "\"5\"", true},
	{"string uuid u16 u32 u64 i32 enum", "true", true},
	{"string uuid bool u16 u32 u64 i32 enum", "[]", true},
	{"string uuid bool u16 u32 u64 i32 enum", "{\"a\":{}}", true},
	{"u16 u32 u64", "-1", true},
	{"u16 u32 u64 i32", "0.5", true},
	{"u16 u32 u64 i32", "1e300", true},
	{"u16 u32 i32", "9223372036854775807", true},
	{"u16 u32 u64 i32", "9223372036854775808", false},
	{"string uuid enum", "\"a\\u0000b\"", false},
	{"uuid enum", "\"no such thing\"", true},
	{"uuid enum", "\"\"", true},
};

static const char *text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static bool is_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

/* A value that is decoded, JSON, the caller frees it. */
static char *right_value(const json_t *param)
{
	const char *type = text_of(param, "type");

	if (strcmp(type, "string") == 0)
		return strdup("\"x\"");
	if (strcmp(type, "uuid") == 0)
		return strdup("\"11111111-2222-3333-4444-555555555555\"");
	if (strcmp(type, "bool") == 0)
		return strdup("true");
	if (strcmp(type, "enum") == 0)
		return json_dumps(
			json_array_get(json_object_get(param, "choices"), 0), JSON_ENCODE_ANY);
	return strdup(strcmp(type, "json") == 0 ? "[]" : "1");
}

/* All required parameters, but for the one that is odd, which has the given value or (NULL) is left
 * out; more: behind them. */
static void params_write(
	char *text, size_t size, const json_t *params, const json_t *odd, const char *value)
{
	size_t len = (size_t)snprintf(text, size, "{");
	const json_t *param;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)params, i, param)
	{
		char *right = right_value(param);

		if (param == odd ? value != NULL : is_true(param, "required"))
			len += (size_t)snprintf(text + len, size - len, "%s\"%s\":%s",
				len > 1 ? "," : "", text_of(param, "name"),
				param == odd ? value : right);
		free(right);
	}
	assert_true(len + 2 < size);
	strcpy(text + len, "}");
}

static void expect_refused(
	struct world *world, const char *method, const char *params, const char *names)
{
	const char *answer = world_call(world, method, params);

	if (!strstr(answer, "\"error\":{") || (names && !strstr(answer, names)))
		fail_msg("%s %s: %s", method, params, answer);
}

static void param_test(
	struct world *world, const char *method, const json_t *params, const json_t *param)
{
	const char *type = text_of(param, "type");
	const char *name = text_of(param, "name");
	char text[2048];

	for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
		if (wrongs[i].types[0] && !strstr(wrongs[i].types, type))
			continue;
		params_write(text, sizeof(text), params, param, wrongs[i].text);
		expect_refused(world, method, text, wrongs[i].named ? name : "");
	}
	if (is_true(param, "required")) {
		params_write(text, sizeof(text), params, param, NULL);
		expect_refused(world, method, text, name);
	}
}

static void method_test(struct world *world, const json_t *described)
{
	const json_t *params = json_object_get(described, "params");
	const char *method = text_of(described, "name");
	const json_t *param;
	char text[2048];
	size_t i;

	if (!is_true(described, "runtime"))
		return;
	json_array_foreach((json_t *)(uintptr_t)params, i, param)
		param_test(world, method, params, param);
	expect_refused(world, method, "[]", "");
	if (is_true(described, "ignores_unknown"))
		return;
	params_write(text, sizeof(text), params, NULL, NULL);
	text[strlen(text) - 1] = '\0';
	strcat(text, text[1] ? ",\"surprise\":1}" : "\"surprise\":1}");
	expect_refused(world, method, text, "surprise");
}

static json_t *methods_described(struct world *world)
{
	char *text;
	json_t *answer, *methods;

	assert_true(asprintf(&text, "{%s}", world_call(world, "rpc_describe_methods", NULL)) > 0);
	answer = json_loads(text, 0, NULL);
	methods = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	free(text);
	assert_non_null(methods);
	return methods;
}

static void wrong_parameters_are_refused_by_name_and_change_nothing(void **state)
{
	struct world *world = world_start(false);
	json_t *methods = methods_described(world);
	json_t *before = control_get_config(world->methods);
	json_t *method, *after;
	size_t i;

	world_call(world, "rpc_explain_errors", "{\"enabled\":true}");
	json_array_foreach(methods, i, method) method_test(world, method);
	assert_true(i > 60);
	after = control_get_config(world->methods);
	assert_true(json_equal(before, after));
	assert_string_equal(world_call(world, "bdev_get_bdevs", NULL), "\"result\":[]");
	json_decref(after);
	json_decref(before);
	json_decref(methods);
	world_end(world);
}

static void a_description_says_what_is_taken(void **state)
{
	static const struct exchange exchanges[] = {
		{"rpc_describe_methods", "{\"name\":\"vhost_start_scsi_controller\"}",
			"\"result\":[{\"name\":\"vhost_start_scsi_controller\",\"startup\":false,"
			"\"runtime\":true,\"changes_configuration\":true,\"ignores_unknown\":false,"
			"\"params\":[{\"name\":\"ctrlr\",\"type\":\"string\",\"required\":true}]}"
			"]"},
		{"rpc_describe_methods", "{\"name\":\"bdev_examine\"}",
			"\"result\":[{\"name\":\"bdev_examine\",\"startup\":false,\"runtime\":true,"
			"\"changes_configuration\":true,\"ignores_unknown\":false,\"params\":[{"
			"\"name\":\"name\",\"type\":\"string\",\"required\":true}]}]"},
		{"rpc_describe_methods", "{\"name\":\"x\"}",
			ERROR(-2, "No such file or directory")},
	};
	struct world *world = world_start(false);
	const char *answer;

	EXPECT(world, exchanges);
	answer = world_call(world, "rpc_describe_methods", "{\"name\":\"log_set_print_level\"}");
	assert_non_null(strstr(answer, "\"choices\":[\"ERROR\",\"WARNING\""));
	assert_non_null(strstr(answer, "\"any_case\":true"));
	answer = world_call(
		world, "rpc_describe_methods", "{\"name\":\"vhost_create_blk_controller\"}");
	assert_non_null(strstr(answer, "\"required\":false,\"default\":\"vhost_user_blk\""));
	answer = world_call(
		world, "rpc_describe_methods", "{\"name\":\"bdev_nvme_attach_controller\"}");
	assert_non_null(strstr(answer, "\"choices\":[\"disable\",\"failover\",\"multipath\"]},"));
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_description_says_what_is_taken),
		cmocka_unit_test(wrong_parameters_are_refused_by_name_and_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
