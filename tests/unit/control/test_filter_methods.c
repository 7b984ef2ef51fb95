/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods on filters: results, and every error with its code and text. */
#include <string.h>

#include "control_world.h"

#define MALLOC_BASE                                                                                \
	{                                                                                          \
		"bdev_malloc_create",                                                              \
			"{\"name\":\"base\",\"num_blocks\":16384,\"block_size\":512,"              \
			"\"uuid\":\"3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77\"}",                      \
			"\"result\":\"base\""                                                      \
	}
#define PASSTHRU_UUID      "cb16276d-b25a-5387-a0e9-4fc87afcd1dc"
#define INVALID_TEXT(text) "\"error\":{\"code\":-32602,\"message\":\"" text "\"}"

static void devices_under_a_second_name_come_and_go(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_passthru_create", "{\"name\":\"p0\",\"base_bdev_name\":\"base\"}",
			"\"result\":\"p0\""},
		{"bdev_get_bdevs", "{\"name\":\"p0\"}", NO_DEVICE},
		{"bdev_passthru_create", "{\"name\":\"p0\",\"base_bdev_name\":\"other\"}", EXISTS},
		MALLOC_BASE,
		{"bdev_passthru_create", "{\"name\":\"p1\",\"base_bdev_name\":\"base\"}",
			ERROR(-1, "Operation not permitted")},
		{"bdev_passthru_create", "{\"name\":\"p1\"}", DECODE},
		{"bdev_passthru_delete", "{\"name\":\"base\"}", NO_DEVICE},
		{"bdev_passthru_delete", "{\"name\":\"p1\"}", NO_DEVICE},
		{"bdev_passthru_delete", "{\"name\":\"p0\"}", TRUE_RESULT},
		{"bdev_passthru_delete", "{\"name\":\"p0\"}", NO_DEVICE},
		{"bdev_passthru_create", "{\"name\":\"p0\",\"base_bdev_name\":\"base\"}",
			"\"result\":\"p0\""},
		{"bdev_malloc_delete", "{\"name\":\"base\"}", TRUE_RESULT},
		{"bdev_get_bdevs", "{\"name\":\"p0\"}", NO_DEVICE},
		{"bdev_passthru_delete", "{\"name\":\"p0\"}", TRUE_RESULT},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

/* The uuid is the one that the known implementation gives it. */
static void a_filter_says_what_it_stands_on(void **state)
{
	static const struct exchange exchanges[] = {
		MALLOC_BASE,
		{"bdev_passthru_create", "{\"name\":\"p0\",\"base_bdev_name\":\"base\"}",
			"\"result\":\"p0\""},
	};
	struct world *world = world_start(false);
	const char *told;

	EXPECT(world, exchanges);
	told = world_call(world, "bdev_get_bdevs", "{\"name\":\"p0\"}");
	assert_non_null(strstr(told, "\"product_name\":\"passthru\""));
	assert_non_null(strstr(told, "\"passthru\":{\"name\":\"p0\",\"base_bdev_name\":\"base\"}"));
	assert_non_null(strstr(told, "\"uuid\":\"" PASSTHRU_UUID "\""));
	told = world_call(world, "bdev_get_bdevs", "{\"name\":\"base\"}");
	assert_non_null(strstr(told, "\"claim_type\":\"exclusive_write\""));
	world_end(world);
}

static void a_device_is_split_and_put_together(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_split_create", "{\"base_bdev\":\"base\",\"split_count\":2}",
			"\"result\":[]"},
		MALLOC_BASE,
		{"bdev_split_create", "{\"base_bdev\":\"base\",\"split_count\":2}",
			INVALID_TEXT("Failed to create 2 split bdevs from 'base': File exists")},
		{"bdev_split_delete", "{\"base_bdev\":\"base\"}", TRUE_RESULT},
		{"bdev_split_delete", "{\"base_bdev\":\"base\"}",
			INVALID_TEXT("No such file or directory")},
		{"bdev_split_create",
			"{\"base_bdev\":\"base\",\"split_count\":4,\"split_size_mb\":2}",
			"\"result\":[\"basep0\",\"basep1\",\"basep2\",\"basep3\"]"},
		{"bdev_split_delete", "{\"base_bdev\":\"base\"}", TRUE_RESULT},
		{"bdev_split_create", "{\"base_bdev\":\"base\",\"split_count\":0}",
			INVALID_TEXT(
				"Failed to create 0 split bdevs from 'base': Invalid argument")},
		{"bdev_split_create", "{\"base_bdev\":\"base\"}",
			INVALID_TEXT("Invalid parameters")},
		{"bdev_split_delete", "{}", INVALID_TEXT("Invalid parameters")},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

#define LATENCIES                                                                                  \
	"\"avg_read_latency\":10,\"p99_read_latency\":20,\"avg_write_latency\":30,"                \
	"\"p99_write_latency\":40"

static void latencies_are_set_and_told(void **state)
{
	static const struct exchange exchanges[] = {
		MALLOC_BASE,
		{"bdev_delay_create", "{\"name\":\"d0\",\"base_bdev_name\":\"base\"," LATENCIES "}",
			"\"result\":\"d0\""},
		{"bdev_delay_create",
			"{\"name\":\"d1\",\"base_bdev_name\":\"x\",\"avg_read_latency\":10,"
			"\"p99_read_latency\":9,\"avg_write_latency\":1,\"p99_write_latency\":1}",
			INVALID},
		{"bdev_delay_update_latency",
			"{\"delay_bdev_name\":\"d0\",\"latency_type\":\"avg_write\","
			"\"latency_us\":35}",
			TRUE_RESULT},
		{"bdev_delay_update_latency",
			"{\"delay_bdev_name\":\"zz\",\"latency_type\":\"avg_write\","
			"\"latency_us\":35}",
			INVALID_TEXT("The requested bdev does not exist.")},
		{"bdev_delay_update_latency",
			"{\"delay_bdev_name\":\"base\",\"latency_type\":\"avg_write\","
			"\"latency_us\":35}",
			ERROR(-32600, "The requested bdev is not a delay bdev.")},
		{"bdev_delay_update_latency",
			"{\"delay_bdev_name\":\"d0\",\"latency_type\":\"zz\",\"latency_us\":35}",
			DECODE},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	assert_non_null(strstr(world_call(world, "bdev_get_bdevs", "{\"name\":\"d0\"}"),
		"\"avg_read_latency\":10,\"p99_read_latency\":20,\"avg_write_latency\":35,"
		"\"p99_write_latency\":40"));
	assert_string_equal(
		world_call(world, "bdev_delay_delete", "{\"name\":\"d0\"}"), TRUE_RESULT);
	world_end(world);
}

static void errors_are_injected_where_there_is_a_filter_for_them(void **state)
{
	static const struct exchange exchanges[] = {
		MALLOC_BASE,
		{"bdev_error_create", "{\"base_name\":\"base\"}", TRUE_RESULT},
		{"bdev_error_create", "{\"base_name\":\"base\"}", EXISTS},
		{"bdev_error_inject_error",
			"{\"name\":\"EE_base\",\"io_type\":\"read\",\"error_type\":\"failure\"}",
			TRUE_RESULT},
		{"bdev_error_inject_error",
			"{\"name\":\"EE_base\",\"io_type\":\"clear\",\"error_type\":\"failure\"}",
			TRUE_RESULT},
		{"bdev_error_inject_error",
			"{\"name\":\"EE_base\",\"io_type\":\"all\",\"error_type\":\"pending\","
			"\"num\":5,\"queue_depth\":3}",
			TRUE_RESULT},
		{"bdev_error_inject_error",
			"{\"name\":\"EE_base\",\"io_type\":\"write\","
			"\"error_type\":\"corrupt_data\",\"corrupt_offset\":7}",
			INVALID},
		{"bdev_error_inject_error",
			"{\"name\":\"EE_base\",\"io_type\":\"write\","
			"\"error_type\":\"corrupt_data\",\"corrupt_value\":256}",
			INVALID},
		{"bdev_error_inject_error",
			"{\"name\":\"EE_base\",\"io_type\":\"read\","
			"\"error_type\":\"nvme_failure\"}",
			ERROR(-22, "nvme_sct or nvme_sc should be specified for NVMe error "
				   "injection")},
		{"bdev_error_inject_error",
			"{\"name\":\"base\",\"io_type\":\"read\",\"error_type\":\"failure\"}",
			NO_DEVICE},
		{"bdev_error_inject_error",
			"{\"name\":\"EE_base\",\"io_type\":\"zz\",\"error_type\":\"failure\"}",
			DECODE},
		{"bdev_error_resume_pending", "{\"name\":\"EE_base\"}", TRUE_RESULT},
		{"bdev_error_resume_pending", "{\"name\":\"base\"}", NO_DEVICE},
		{"bdev_error_delete", "{\"name\":\"base\"}", NO_DEVICE},
		{"bdev_error_delete", "{\"name\":\"EE_base\"}", TRUE_RESULT},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

/* And its volumes are there when the base is created again. */
static void a_store_on_a_filter_is_closed_in_order_when_the_device_below_is_deleted(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_passthru_create", "{\"name\":\"p0\",\"base_bdev_name\":\"base\"}",
			"\"result\":\"p0\""},
		MALLOC_BASE,
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	assert_non_null(strstr(world_call(world, "bdev_lvol_create_lvstore",
				       "{\"bdev_name\":\"p0\",\"lvs_name\":\"s\","
				       "\"cluster_sz\":65536}"),
		"\"result\""));
	assert_string_equal(
		world_call(world, "bdev_malloc_delete", "{\"name\":\"base\"}"), TRUE_RESULT);
	assert_string_equal(world_call(world, "bdev_lvol_get_lvstores", NULL), "\"result\":[]");
	world_end(world);
}

#define KEY_1 "\"key\":\"27182818284590452353602874713526\""
#define KEY_2 "\"key2\":\"31415926535897932384626433832795\""

static void devices_are_encrypted_with_keys_that_are_not_told(void **state)
{
	static const struct exchange exchanges[] = {
		{"accel_crypto_key_create",
			"{\"cipher\":\"AES_XTS\"," KEY_1 "," KEY_2 ",\"name\":\"k0\"}",
			TRUE_RESULT},
		{"accel_crypto_key_create",
			"{\"cipher\":\"AES_XTS\"," KEY_1 "," KEY_2 ",\"name\":\"k0\"}",
			INVALID_TEXT("failed to create DEK, rc -17")},
		{"accel_crypto_key_create",
			"{\"cipher\":\"AES_CBC\"," KEY_1 "," KEY_2 ",\"name\":\"k1\"}",
			INVALID_TEXT("failed to create DEK, rc -22")},
		{"accel_crypto_key_create",
			"{\"cipher\":\"AES_XTS\"," KEY_1 "," KEY_2
			",\"name\":\"k1\",\"tweak_mode\":\"INCR_512_FULL_LBA\"}",
			INVALID_TEXT("failed to create DEK, rc -22")},
		{"accel_crypto_key_create", "{\"cipher\":\"AES_XTS\"," KEY_1 ",\"name\":\"k1\"}",
			INVALID_TEXT("failed to create DEK, rc -22")},
		{"accel_crypto_key_create", "{\"cipher\":\"AES_XTS\"}",
			ERROR(-32700, "spdk_json_decode_object failed")},
		{"accel_crypto_keys_get", NULL,
			"\"result\":[{\"name\":\"k0\",\"cipher\":\"AES_XTS\","
			"\"tweak_mode\":\"SIMPLE_LBA\"}]"},
		{"accel_crypto_keys_get", "{\"key_name\":\"zz\"}",
			INVALID_TEXT("key was not found")},
		{"bdev_crypto_create",
			"{\"base_bdev_name\":\"base\",\"name\":\"c0\",\"key_name\":\"k0\"}",
			NO_DEVICE},
		MALLOC_BASE,
		{"bdev_crypto_create",
			"{\"base_bdev_name\":\"base\",\"name\":\"c0\",\"key_name\":\"zz\"}",
			INVALID_TEXT("Key was not found")},
		{"bdev_crypto_create", "{\"base_bdev_name\":\"base\",\"name\":\"c0\"}",
			INVALID_TEXT("Key was not found")},
		{"bdev_crypto_create", "{\"name\":\"c0\"}",
			ERROR(-32700, "Failed to decode crypto disk create parameters.")},
		{"bdev_crypto_create",
			"{\"base_bdev_name\":\"base\",\"name\":\"c0\",\"key_name\":\"k0\"}",
			"\"result\":\"c0\""},
		{"accel_crypto_key_destroy", "{\"key_name\":\"k0\"}",
			INVALID_TEXT("Failed to destroy key, rc -16")},
		{"bdev_crypto_delete", "{\"name\":\"base\"}", NO_DEVICE},
		{"bdev_crypto_delete", "{\"name\":\"c0\"}", TRUE_RESULT},
		{"accel_crypto_key_destroy", "{\"key_name\":\"k0\"}", TRUE_RESULT},
		{"accel_crypto_key_destroy", "{\"key_name\":\"k0\"}",
			INVALID_TEXT("No key object found")},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_under_a_second_name_come_and_go),
		cmocka_unit_test(a_filter_says_what_it_stands_on),
		cmocka_unit_test(a_device_is_split_and_put_together),
		cmocka_unit_test(latencies_are_set_and_told),
		cmocka_unit_test(errors_are_injected_where_there_is_a_filter_for_them),
		cmocka_unit_test(devices_are_encrypted_with_keys_that_are_not_told),
		cmocka_unit_test(
			a_store_on_a_filter_is_closed_in_order_when_the_device_below_is_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
