/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods on volume stores and volumes: results, and every error with its code and text. */
#include <stdio.h>
#include <string.h>

#include "control_world.h"

#define INVALID_PARAMS ERROR(-32602, "Invalid argument")
#define EXISTS_PARAMS  ERROR(-32602, "File exists")
#define NO_SPACE       ERROR(-32602, "No space left on device")
#define NOT_PERMITTED  ERROR(-32602, "Operation not permitted")
#define NAME_63        "a23456789b23456789c23456789d23456789e23456789f23456789g23456789"
#define NAME_64        NAME_63 "h"

struct uuid_text {
	char text[37];
};

/* A new store or volume: what it answers is a UUID. */
static struct uuid_text call_for_uuid(struct world *world, const char *method, const char *params)
{
	const char *answer = world_call(world, method, params);
	struct uuid_text uuid = {0};

	if (strncmp(answer, "\"result\":\"", 10) != 0 || strlen(answer) != 10 + 36 + 1)
		fail_msg("%s %s: %s", method, params, answer);
	memcpy(uuid.text, answer + 10, 36);
	return uuid;
}

/* The answer has that in it. */
static void expect_part(
	struct world *world, const char *method, const char *params, const char *part)
{
	const char *answer = world_call(world, method, params);

	if (!strstr(answer, part))
		fail_msg("%s %s: %s, expected to have %s in it", method, params ? params : "",
			answer, part);
}

#define STORE "{\"bdev_name\":\"disk\",\"lvs_name\":\"lvs0\",\"cluster_sz\":1048576}"

/* A store of 63 clusters of 1 MiB on a file. */
static struct world *world_with_store(void)
{
	struct world *world = world_start(false);

	sim_file_create(world->sim, "/disk", 64 * MIB);
	world_call(world, "bdev_aio_create",
		"{\"name\":\"disk\",\"filename\":\"/disk\",\"block_size\":4096}");
	call_for_uuid(world, "bdev_lvol_create_lvstore", STORE);
	return world;
}

static const struct exchange store_before[] = {
	{"bdev_lvol_get_lvstores", NULL, "\"result\":[]"},
	{"bdev_lvol_get_lvols", NULL, "\"result\":[]"},
	{"bdev_malloc_create", "{\"num_blocks\":16384,\"block_size\":4096,\"name\":\"m\"}",
		"\"result\":\"m\""},
	{"bdev_malloc_create", "{\"num_blocks\":16384,\"block_size\":4096,\"name\":\"n\"}",
		"\"result\":\"n\""},
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"zz\",\"lvs_name\":\"l\"}", NO_DEVICE},
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"\"}", INVALID},
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"" NAME_64 "\"}", INVALID},
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"l\",\"cluster_sz\":8191}",
		INVALID},
	{"bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"l\",\"cluster_sz\":134217728}",
		INVALID_PARAMS},
	{"bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"l\",\"clear_method\":\"wipe\"}",
		ERROR(-22, "Invalid clear_method parameter")},
	{"bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"l\",\"md_page_size\":5000}", INVALID},
	{"bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"l\","
		"\"num_md_pages_per_cluster_ratio\":0}",
		INVALID},
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\"}", DECODE},
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"l\",\"zz\":1}", DECODE},
	{"bdev_lvol_get_lvstores", "{}", "\"result\":[]"},
};

static const struct exchange store_after[] = {
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"other\"}",
		ERROR(-1, "Operation not permitted")},
	{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"n\",\"lvs_name\":\"" NAME_63 "\"}", EXISTS},
	{"bdev_lvol_get_lvstores", "{\"lvs_name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_get_lvstores", "{\"uuid\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_get_lvstores", "{\"uuid\":\"u\",\"lvs_name\":\"l\"}", INVALID},
	{"bdev_lvol_rename_lvstore", "{\"old_name\":\"zz\",\"new_name\":\"l\"}",
		ERROR(-2, "Lvol store zz not found")},
	{"bdev_lvol_rename_lvstore", "{\"old_name\":\"" NAME_63 "\",\"new_name\":\"" NAME_64 "\"}",
		INVALID_PARAMS},
	{"bdev_lvol_rename_lvstore", "{\"old_name\":\"" NAME_63 "\",\"new_name\":\"\"}",
		INVALID_PARAMS},
	{"bdev_lvol_rename_lvstore", "{\"old_name\":\"" NAME_63 "\",\"new_name\":\"" NAME_63 "\"}",
		TRUE_RESULT},
	{"bdev_lvol_rename_lvstore", "{\"old_name\":\"" NAME_63 "\",\"new_name\":\"l\"}",
		TRUE_RESULT},
	{"bdev_lvol_grow_lvstore", "{\"lvs_name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_grow_lvstore", "{}", INVALID},
	{"bdev_lvol_grow_lvstore", "{\"lvs_name\":\"l\"}", TRUE_RESULT},
	{"bdev_lvol_delete_lvstore", "{}", INVALID},
	{"bdev_lvol_delete_lvstore", "{\"uuid\":\"u\",\"lvs_name\":\"l\"}", INVALID},
	{"bdev_lvol_delete_lvstore", "{\"lvs_name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_delete_lvstore", "{\"lvs_name\":\"l\"}", TRUE_RESULT},
	{"bdev_lvol_delete_lvstore", "{\"lvs_name\":\"l\"}", NO_DEVICE},
	{"bdev_lvol_get_lvstores", NULL, "\"result\":[]"},
};

static void stores_are_created_and_refused_as_clients_expect(void **state)
{
	struct world *world = world_start(false);

	EXPECT(world, store_before);
	call_for_uuid(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"" NAME_63 "\",\"clear_method\":\"NONE\"}");
	EXPECT(world, store_after);
	call_for_uuid(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"l\",\"cluster_sz\":8192}");
	world_end(world);
}

static void a_store_is_listed_with_the_members_that_clients_know_in_order(void **state)
{
	struct world *world = world_start(false);
	struct uuid_text uuid;
	char expected[512];

	world_call(world, "bdev_malloc_create",
		"{\"num_blocks\":262144,\"block_size\":512,\"name\":\"m\"}");
	uuid = call_for_uuid(
		world, "bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"lvs0\"}");
	snprintf(expected, sizeof(expected),
		"\"result\":[{\"uuid\":\"%s\",\"name\":\"lvs0\",\"base_bdev\":\"m\","
		"\"total_data_clusters\":31,\"free_clusters\":31,\"block_size\":512,"
		"\"cluster_size\":4194304,\"max_growable_size\":137271181312,",
		uuid.text);
	expect_part(world, "bdev_lvol_get_lvstores", NULL, expected);
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"m\"}",
		"\"claimed\":true,\"claim_type\":\"read_many_write_one\"");
	world_end(world);
}

/* 31 pages of metadata: half of them are the mark. */
static void little_metadata_is_told_like_little_space(void **state)
{
	struct world *world = world_start(false);

	world_call(world, "bdev_malloc_create",
		"{\"num_blocks\":131072,\"block_size\":512,\"name\":\"m\"}");
	call_for_uuid(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"lvs0\",\"cluster_sz\":1048576,"
		"\"num_md_pages_per_cluster_ratio\":50}");
	world_call(world, "bdev_lvol_set_low_water", "{\"lvs_name\":\"lvs0\",\"percent\":50}");
	expect_part(world, "bdev_lvol_get_lvstores", NULL,
		"\"md_low\":false,\"md_full\":false,\"low_on_space\":false,\"full\":false");
	for (unsigned i = 0; i < 20; i++) {
		char params[100];

		snprintf(params, sizeof(params),
			"{\"lvol_name\":\"v%u\",\"size_in_mib\":1,\"lvs_name\":\"lvs0\","
			"\"thin_provision\":true}",
			i);
		call_for_uuid(world, "bdev_lvol_create", params);
	}
	sim_run_for(world->sim, 10 * MSEC_NS);
	expect_part(world, "bdev_lvol_get_lvstores", NULL,
		"\"md_low\":true,\"md_full\":false,\"low_on_space\":true,\"full\":false");
	expect_part(world, "notify_get_notifications", NULL, "\"type\":\"lvstore_space_low\"");
	world_end(world);
}

/* 63 clusters, of which 3 are the mark at first. */
static void little_space_is_told_and_where_that_begins_is_kept(void **state)
{
	static const struct exchange marks[] = {
		{"bdev_lvol_set_low_water", "{\"lvs_name\":\"lvs0\",\"percent\":51}",
			INVALID_PARAMS},
		{"bdev_lvol_set_low_water", "{\"percent\":5}", INVALID},
		{"bdev_lvol_set_low_water", "{\"lvs_name\":\"lvs0\"}", DECODE},
		{"bdev_lvol_set_low_water", "{\"lvs_name\":\"lvs0\",\"percent\":0}", TRUE_RESULT},
	};
	struct world *world = world_with_store();
	const char *listed = "\"low_on_space\":true,\"full\":true,\"low_water_percent\":50";

	expect_part(world, "bdev_lvol_get_lvstores", NULL,
		"\"low_on_space\":false,\"full\":false,\"low_water_percent\":5");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":61,\"lvs_name\":\"lvs0\"}");
	sim_run_for(world->sim, 10 * MSEC_NS);
	expect_part(world, "bdev_lvol_get_lvstores", NULL,
		"\"low_on_space\":true,\"full\":false,\"low_water_percent\":5");
	expect_part(world, "notify_get_notifications", NULL, "\"type\":\"lvstore_space_low\"");
	EXPECT(world, marks);
	sim_run_for(world->sim, 10 * MSEC_NS);
	expect_part(world, "notify_get_notifications", NULL, "\"type\":\"lvstore_space_ok\"");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"w\",\"size_in_mib\":2,\"lvs_name\":\"lvs0\"}");
	sim_run_for(world->sim, 10 * MSEC_NS);
	expect_part(world, "notify_get_notifications", NULL, "\"type\":\"lvstore_space_full\"");
	world_call(world, "bdev_lvol_set_low_water", "{\"lvs_name\":\"lvs0\",\"percent\":50}");
	expect_part(world, "bdev_lvol_get_lvstores", NULL, listed);
	world_call(world, "bdev_aio_delete", "{\"name\":\"disk\"}");
	world_call(world, "bdev_aio_create",
		"{\"name\":\"disk\",\"filename\":\"/disk\",\"block_size\":4096}");
	sim_run_for(world->sim, 10 * MSEC_NS);
	expect_part(world, "bdev_lvol_get_lvstores", NULL, listed);
	world_end(world);
}

static const struct exchange volume_exchanges[] = {
	{"bdev_lvol_create", "{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"zz\"}",
		NO_DEVICE},
	{"bdev_lvol_create", "{\"lvol_name\":\"v\",\"size_in_mib\":4}", INVALID},
	{"bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\","
		"\"uuid\":\"u\"}",
		INVALID},
	{"bdev_lvol_create", "{\"lvol_name\":\"v\",\"lvs_name\":\"lvs0\"}", DECODE},
	{"bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"size\":4,\"lvs_name\":\"lvs0\"}",
		INVALID},
	{"bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":9223372036854775807,"
		"\"lvs_name\":\"lvs0\"}",
		INVALID},
	{"bdev_lvol_create", "{\"lvol_name\":\"v\",\"size_in_mib\":64,\"lvs_name\":\"lvs0\"}",
		NO_SPACE},
	{"bdev_lvol_create", "{\"lvol_name\":\"\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\"}",
		INVALID},
	{"bdev_lvol_create",
		"{\"lvol_name\":\"" NAME_64 "\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\"}", INVALID},
	{"bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\","
		"\"clear_method\":\"wipe\"}",
		ERROR(-22, "Invalid clean_method option")},
};

static const struct exchange volume_after[] = {
	{"bdev_lvol_create", "{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\"}",
		EXISTS},
	{"bdev_lvol_rename", "{\"old_name\":\"lvs0/v\",\"new_name\":\"v\"}", EXISTS_PARAMS},
	{"bdev_lvol_rename", "{\"old_name\":\"lvs0/v\",\"new_name\":\"\"}", INVALID_PARAMS},
	{"bdev_lvol_rename", "{\"old_name\":\"lvs0/v\",\"new_name\":\"" NAME_64 "\"}",
		INVALID_PARAMS},
	{"bdev_lvol_rename", "{\"old_name\":\"zz\",\"new_name\":\"v\"}", NO_DEVICE},
	{"bdev_lvol_rename", "{\"old_name\":\"disk\",\"new_name\":\"v\"}", NO_DEVICE},
	{"bdev_lvol_rename", "{\"old_name\":\"lvs0/v\",\"new_name\":\"w\"}", TRUE_RESULT},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/v\",\"size_in_mib\":8}", NO_DEVICE},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/w\",\"size_in_mib\":8}", TRUE_RESULT},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/w\",\"size\":1}", TRUE_RESULT},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/w\",\"size_in_mib\":100}", NO_SPACE},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/w\",\"size_in_mib\":0}", TRUE_RESULT},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/w\"}", DECODE},
	{"bdev_lvol_set_read_only", "{\"name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_set_read_only", "{\"name\":\"lvs0/w\"}", TRUE_RESULT},
	{"bdev_lvol_set_read_only", "{\"name\":\"lvs0/w\"}", TRUE_RESULT},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/w\",\"size_in_mib\":8}", NOT_PERMITTED},
	{"bdev_lvol_delete", "{\"name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_delete", "{\"name\":\"disk\"}", NO_DEVICE},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/w\"}", TRUE_RESULT},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/w\"}", NO_DEVICE},
	{"bdev_lvol_get_lvols", "{\"lvs_name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_get_lvols", "{\"lvs_name\":\"lvs0\",\"lvs_uuid\":\"u\"}", INVALID},
	{"bdev_lvol_get_lvols", "{\"lvs_name\":\"lvs0\"}", "\"result\":[]"},
};

static void volumes_are_created_and_refused_as_clients_expect(void **state)
{
	struct world *world = world_with_store();
	struct uuid_text uuid;

	EXPECT(world, volume_exchanges);
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"" NAME_63 "\",\"size_in_mib\":1,\"lvs_name\":\"lvs0\"}");
	expect_part(world, "bdev_lvol_delete", "{\"name\":\"lvs0/" NAME_63 "\"}", TRUE_RESULT);
	/* As clients of older releases say it, and rounded up. */
	uuid = call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"old\",\"size\":1048577,\"lvs_name\":\"lvs0\"}");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/old\"}", "\"num_blocks\":512,");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/old\"}", uuid.text);
	expect_part(world, "bdev_lvol_delete", "{\"name\":\"lvs0/old\"}", TRUE_RESULT);
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":0,\"lvs_name\":\"lvs0\"}");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/v\"}", "\"num_blocks\":0,");
	EXPECT(world, volume_after);
	world_end(world);
}

static void expect_blocks(struct world *world, const char *volume, const char *blocks)
{
	char params[128];

	snprintf(params, sizeof(params), "{\"name\":\"lvs1/%s\"}", volume);
	expect_part(world, "bdev_get_bdevs", params, blocks);
}

static const struct exchange block_size_exchanges[] = {
	{"bdev_lvol_create",
		"{\"lvol_name\":\"w\",\"size_in_mib\":4,\"lvs_name\":\"lvs1\","
		"\"block_size\":1024}",
		INVALID},
	{"bdev_lvol_create",
		"{\"lvol_name\":\"w\",\"size_in_mib\":4,\"lvs_name\":\"lvs1\","
		"\"block_size\":\"512\"}",
		DECODE},
	{"bdev_lvol_clone_bdev",
		"{\"bdev\":\"parent\",\"lvs_name\":\"lvs1\",\"clone_name\":\"w\","
		"\"block_size\":8192}",
		INVALID_PARAMS},
	{"bdev_lvol_set_xattr",
		"{\"name\":\"lvs1/v\",\"xattr_name\":\"sluice.block_size\","
		"\"xattr_value\":\"512\"}",
		INVALID_PARAMS},
	{"bdev_lvol_get_xattr", "{\"name\":\"lvs1/v\",\"xattr_name\":\"sluice.block_size\"}",
		ERROR(-32603, "No such file or directory")},
	{"bdev_lvol_get_xattr", "{\"name\":\"lvs1/c\",\"xattr_name\":\"sluice.block_size\"}",
		"\"result\":\"512\""},
};

/* As clients know it, that of the device below; or as it is asked for, and then for good. */
static void a_volume_has_the_block_size_that_it_is_made_with(void **state)
{
	struct world *world = world_start(false);

	world_call(world, "bdev_malloc_create",
		"{\"num_blocks\":16384,\"block_size\":4096,\"name\":\"m\"}");
	world_call(world, "bdev_malloc_create",
		"{\"num_blocks\":8192,\"block_size\":512,\"name\":\"parent\"}");
	call_for_uuid(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"lvs1\",\"cluster_sz\":1048576}");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs1\"}");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"o\",\"size_in_mib\":4,\"lvs_name\":\"lvs1\","
		"\"block_size\":512}");
	call_for_uuid(
		world, "bdev_lvol_snapshot", "{\"lvol_name\":\"lvs1/o\",\"snapshot_name\":\"s\"}");
	call_for_uuid(
		world, "bdev_lvol_clone", "{\"snapshot_name\":\"lvs1/s\",\"clone_name\":\"c\"}");
	call_for_uuid(world, "bdev_lvol_clone_bdev",
		"{\"bdev\":\"parent\",\"lvs_name\":\"lvs1\",\"clone_name\":\"e\","
		"\"block_size\":512}");
	expect_blocks(world, "v", "\"block_size\":4096,\"num_blocks\":1024,");
	for (const char *volume = "osce"; *volume; volume++)
		expect_blocks(world, (const char[]){*volume, '\0'},
			"\"block_size\":512,\"num_blocks\":8192,");
	EXPECT(world, block_size_exchanges);
	expect_part(world, "bdev_lvol_get_lvols", NULL, "\"block_size\":4096,");
	world_end(world);
}

static const struct exchange snapshot_exchanges[] = {
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"zz\",\"snapshot_name\":\"s2\"}", NO_DEVICE},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"disk\",\"snapshot_name\":\"s2\"}", NO_DEVICE},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"s\"}", EXISTS_PARAMS},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"\"}", INVALID_PARAMS},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/s\",\"snapshot_name\":\"s2\"}",
		INVALID_PARAMS},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"s2\",\"xattrs\":[]}",
		DECODE},
	{"bdev_lvol_snapshot",
		"{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"s2\",\"xattrs\":{\"a\":1}}", DECODE},
	{"bdev_lvol_snapshot",
		"{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"s2\","
		"\"xattrs\":{\"uuid\":\"x\"}}",
		INVALID_PARAMS},
	{"bdev_lvol_clone", "{\"snapshot_name\":\"zz\",\"clone_name\":\"d\"}", NO_DEVICE},
	{"bdev_lvol_clone", "{\"snapshot_name\":\"lvs0/v\",\"clone_name\":\"d\"}", INVALID_PARAMS},
	{"bdev_lvol_clone", "{\"snapshot_name\":\"lvs0/s\",\"clone_name\":\"c\"}", EXISTS_PARAMS},
	{"bdev_lvol_clone", "{\"snapshot_name\":\"lvs0/s\",\"clone_name\":\"\"}", INVALID_PARAMS},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/s\"}", ERROR(-32603, "Operation not permitted")},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"zz\",\"parent_name\":\"lvs0/s\"}", NO_DEVICE},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"lvs0/c\",\"parent_name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"lvs0/c\",\"parent_name\":\"lvs0/s\"}",
		EXISTS_PARAMS},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"lvs0/c\",\"parent_name\":\"lvs0/c\"}",
		INVALID_PARAMS},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"lvs0/c\",\"parent_name\":\"lvs0/t\"}",
		INVALID_PARAMS},
	{"bdev_lvol_decouple_parent", "{\"name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_decouple_parent", "{\"name\":\"lvs0/t\"}", INVALID_PARAMS},
	{"bdev_lvol_decouple_parent", "{\"name\":\"lvs0/c\"}", TRUE_RESULT},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"lvs0/c\",\"parent_name\":\"lvs0/s\"}",
		TRUE_RESULT},
	{"bdev_lvol_detach_parent", "{\"name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_detach_parent", "{\"name\":\"lvs0/t\"}", INVALID_PARAMS},
	{"bdev_lvol_detach_parent", "{\"name\":\"lvs0/c\"}", TRUE_RESULT},
	{"bdev_lvol_detach_parent", "{\"name\":\"lvs0/c\"}", INVALID_PARAMS},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"lvs0/c\",\"parent_name\":\"lvs0/s\"}",
		TRUE_RESULT},
	{"bdev_lvol_inflate", "{\"name\":\"zz\"}", NO_DEVICE},
	{"bdev_lvol_inflate", "{\"name\":\"lvs0/c\"}", TRUE_RESULT},
	{"bdev_lvol_inflate", "{\"name\":\"lvs0/c\"}", TRUE_RESULT},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/s\"}", TRUE_RESULT},
};

static void snapshots_and_clones_are_made_and_refused_as_clients_expect(void **state)
{
	struct world *world = world_with_store();

	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\","
		"\"thin_provision\":true}");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"t\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\"}");
	call_for_uuid(world, "bdev_lvol_snapshot",
		"{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"s\",\"xattrs\":{\"by\":\"me\"}}");
	call_for_uuid(
		world, "bdev_lvol_clone", "{\"snapshot_name\":\"lvs0/s\",\"clone_name\":\"c\"}");
	expect_part(world, "bdev_lvol_get_xattr", "{\"name\":\"lvs0/s\",\"xattr_name\":\"by\"}",
		"\"result\":\"me\"");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/c\"}",
		"\"snapshot\":false,\"clone\":true,\"base_snapshot\":\"s\",\"esnap_clone\":false}"
		"}");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/s\"}",
		"\"snapshot\":true,\"clone\":false,\"clones\":[\"v\",\"c\"],"
		"\"esnap_clone\":false}}");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/s\"}",
		"\"supported_io_types\":{\"read\":true,\"write\":false,\"unmap\":false,"
		"\"flush\":true,\"reset\":true,");
	EXPECT(world, snapshot_exchanges);
	expect_part(world, "bdev_lvol_get_lvols", "{\"usage\":true}",
		"\"num_exclusive_clusters\":4,\"num_shared_clusters\":0}");
	world_end(world);
}

#define PARENT_UUID "3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77"

static const struct exchange foreign_before[] = {
	{"bdev_malloc_create",
		"{\"num_blocks\":8192,\"block_size\":512,\"name\":\"p\","
		"\"uuid\":\"" PARENT_UUID "\"}",
		"\"result\":\"p\""},
	{"bdev_malloc_create", "{\"num_blocks\":8193,\"block_size\":512,\"name\":\"odd\"}",
		"\"result\":\"odd\""},
	{"bdev_malloc_create", "{\"num_blocks\":512,\"block_size\":8192,\"name\":\"large\"}",
		"\"result\":\"large\""},
	{"bdev_lvol_clone_bdev", "{\"bdev\":\"zz\",\"lvs_name\":\"lvs0\",\"clone_name\":\"c\"}",
		ERROR(-32602, "bdev does not exist")},
	{"bdev_lvol_clone_bdev", "{\"bdev\":\"p\",\"lvs_name\":\"zz\",\"clone_name\":\"c\"}",
		ERROR(-32602, "lvs does not exist")},
	{"bdev_lvol_clone_bdev", "{\"bdev\":\"lvs0/v\",\"lvs_name\":\"lvs0\",\"clone_name\":\"c\"}",
		ERROR(-32602, "bdev is an lvol in same lvs as clone; use bdev_lvol_clone "
			      "instead")},
	{"bdev_lvol_clone_bdev", "{\"bdev\":\"odd\",\"lvs_name\":\"lvs0\",\"clone_name\":\"c\"}",
		INVALID_PARAMS},
	{"bdev_lvol_clone_bdev", "{\"bdev\":\"large\",\"lvs_name\":\"lvs0\",\"clone_name\":\"c\"}",
		INVALID_PARAMS},
	{"bdev_lvol_clone_bdev", "{\"bdev\":\"p\",\"lvs_name\":\"lvs0\",\"clone_name\":\"v\"}",
		EXISTS_PARAMS},
	{"bdev_lvol_clone_bdev", "{\"bdev\":\"disk\",\"lvs_name\":\"lvs0\",\"clone_name\":\"c\"}",
		NOT_PERMITTED},
};

static const struct exchange foreign_degraded[] = {
	{"bdev_malloc_delete", "{\"name\":\"p\"}", TRUE_RESULT},
	{"bdev_get_bdevs", "{\"name\":\"lvs0/c\"}", NO_DEVICE},
	{"bdev_get_bdevs", "{\"name\":\"lvs0/s\"}", NO_DEVICE},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/d\"}", TRUE_RESULT},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/d\"}", NO_DEVICE},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/c\",\"snapshot_name\":\"s2\"}", NO_DEVICE},
	{"bdev_malloc_create",
		"{\"num_blocks\":8192,\"block_size\":512,\"name\":\"q\","
		"\"uuid\":\"" PARENT_UUID "\"}",
		"\"result\":\"q\""},
};

static const struct exchange foreign_after[] = {
	{"bdev_lvol_set_parent_bdev", "{\"lvol_name\":\"zz\",\"parent_name\":\"q\"}", NO_DEVICE},
	{"bdev_lvol_set_parent_bdev", "{\"lvol_name\":\"lvs0/v\",\"parent_name\":\"zz\"}",
		ERROR(-32602, "No such device")},
	{"bdev_lvol_set_parent_bdev", "{\"lvol_name\":\"lvs0/v\",\"parent_name\":\"odd\"}",
		INVALID_PARAMS},
	{"bdev_lvol_set_parent_bdev", "{\"lvol_name\":\"lvs0/v\",\"parent_name\":\"q\"}",
		TRUE_RESULT},
	{"bdev_lvol_set_parent_bdev", "{\"lvol_name\":\"lvs0/v\",\"parent_name\":\"q\"}",
		EXISTS_PARAMS},
	{"bdev_lvol_detach_parent", "{\"name\":\"lvs0/v\"}", TRUE_RESULT},
	{"bdev_lvol_set_parent_bdev", "{\"lvol_name\":\"lvs0/v\",\"parent_name\":\"q\"}",
		TRUE_RESULT},
	{"bdev_lvol_inflate", "{\"name\":\"lvs0/v\"}", TRUE_RESULT},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/c\"}", TRUE_RESULT},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/s\"}", TRUE_RESULT},
	{"bdev_malloc_delete", "{\"name\":\"q\"}", TRUE_RESULT},
};

static void clones_of_foreign_devices_are_made_and_refused_as_clients_expect(void **state)
{
	struct world *world = world_with_store();

	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\","
		"\"thin_provision\":true}");
	EXPECT(world, foreign_before);
	call_for_uuid(world, "bdev_lvol_clone_bdev",
		"{\"bdev\":\"p\",\"lvs_name\":\"lvs0\",\"clone_name\":\"c\"}");
	call_for_uuid(world, "bdev_lvol_clone_bdev",
		"{\"bdev\":\"" PARENT_UUID "\",\"lvs_name\":\"lvs0\",\"clone_name\":\"d\"}");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/c\"}",
		"\"snapshot\":false,\"clone\":false,\"esnap_clone\":true,"
		"\"external_snapshot_name\":\"" PARENT_UUID "\"}}");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"p\"}",
		"\"claimed\":true,\"claim_type\":\"read_many_write_none\"");
	/* The snapshot takes the parent over. */
	call_for_uuid(
		world, "bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/c\",\"snapshot_name\":\"s\"}");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/s\"}",
		"\"clone\":false,\"clones\":[\"c\"],\"esnap_clone\":true,");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/c\"}",
		"\"clone\":true,\"base_snapshot\":\"s\",\"esnap_clone\":false}}");
	EXPECT(world, foreign_degraded);
	expect_part(world, "bdev_lvol_get_lvols", NULL, "\"is_degraded\":false");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/c\"}", "\"num_blocks\":1024,");
	EXPECT(world, foreign_after);
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/v\"}", "\"esnap_clone\":false}}");
	world_end(world);
}

static void attributes_are_set_and_told_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_lvol_get_xattr", "{\"name\":\"zz\",\"xattr_name\":\"a\"}", NO_DEVICE},
		{"bdev_lvol_get_xattr", "{\"name\":\"lvs0/v\",\"xattr_name\":\"a\"}",
			ERROR(-32603, "No such file or directory")},
		{"bdev_lvol_set_xattr",
			"{\"name\":\"zz\",\"xattr_name\":\"a\",\"xattr_value\":\"b\"}", NO_DEVICE},
		{"bdev_lvol_set_xattr",
			"{\"name\":\"lvs0/v\",\"xattr_name\":\"name\",\"xattr_value\":\"b\"}",
			INVALID_PARAMS},
		{"bdev_lvol_set_xattr",
			"{\"name\":\"lvs0/v\",\"xattr_name\":\"\",\"xattr_value\":\"b\"}",
			INVALID_PARAMS},
		{"bdev_lvol_set_xattr", "{\"name\":\"lvs0/v\",\"xattr_name\":\"a\"}", DECODE},
		{"bdev_lvol_set_xattr",
			"{\"name\":\"lvs0/v\",\"xattr_name\":\"a\",\"xattr_value\":\"b\"}",
			TRUE_RESULT},
		{"bdev_lvol_get_xattr", "{\"name\":\"lvs0/v\",\"xattr_name\":\"a\"}",
			"\"result\":\"b\""},
		{"bdev_lvol_set_xattr",
			"{\"name\":\"lvs0/v\",\"xattr_name\":\"a\",\"xattr_value\":\"\"}",
			TRUE_RESULT},
		{"bdev_lvol_get_xattr", "{\"name\":\"lvs0/v\",\"xattr_name\":\"a\"}",
			"\"result\":\"\""},
		{"bdev_lvol_get_fragmap", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_lvol_get_fragmap", "{\"name\":\"lvs0/v\",\"offset\":4194305}",
			INVALID_PARAMS},
		{"bdev_lvol_get_fragmap", "{\"name\":\"lvs0/v\"}",
			"\"result\":{\"cluster_size\":1048576,\"num_clusters\":4,"
			"\"num_allocated_clusters\":4,\"fragmap\":\"Dw==\"}"},
		{"bdev_lvol_get_fragmap", "{\"name\":\"lvs0/v\",\"offset\":1048575,\"size\":2}",
			"\"result\":{\"cluster_size\":1048576,\"num_clusters\":2,"
			"\"num_allocated_clusters\":2,\"fragmap\":\"Aw==\"}"},
	};
	struct world *world = world_with_store();

	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\"}");
	EXPECT(world, exchanges);
	world_end(world);
}

/* Until it has ended: the first answer that is not about one in progress. */
static void expect_copy_end(struct world *world, unsigned number, const char *expected)
{
	const char *answer;
	char params[64];

	snprintf(params, sizeof(params), "{\"operation_id\":%u}", number);
	do {
		answer = world_call(world, "bdev_lvol_check_shallow_copy", params);
	} while (strstr(answer, "in progress"));
	if (!strstr(answer, expected))
		fail_msg("copy %u: %s, expected %s", number, answer, expected);
	expect_part(world, "bdev_lvol_check_shallow_copy", params, NO_DEVICE);
}

static void shallow_copies_are_started_and_told_of_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_malloc_create", "{\"num_blocks\":1024,\"block_size\":4096,\"name\":\"to\"}",
			"\"result\":\"to\""},
		{"bdev_malloc_create",
			"{\"num_blocks\":1023,\"block_size\":4096,\"name\":\"small\"}",
			"\"result\":\"small\""},
		{"bdev_malloc_create",
			"{\"num_blocks\":8192,\"block_size\":512,\"name\":\"other\"}",
			"\"result\":\"other\""},
		{"bdev_lvol_start_shallow_copy",
			"{\"src_lvol_name\":\"zz\",\"dst_bdev_name\":\"to\"}", NO_DEVICE},
		{"bdev_lvol_start_shallow_copy",
			"{\"src_lvol_name\":\"lvs0/v\",\"dst_bdev_name\":\"zz\"}",
			ERROR(-32602, "No such device")},
		{"bdev_lvol_check_shallow_copy", "{\"operation_id\":1}", NO_DEVICE},
		{"bdev_lvol_start_shallow_copy",
			"{\"src_lvol_name\":\"lvs0/v\",\"dst_bdev_name\":\"to\"}",
			"\"result\":{\"operation_id\":1}"},
		{"bdev_lvol_start_shallow_copy",
			"{\"src_lvol_name\":\"lvs0/s\",\"dst_bdev_name\":\"small\"}",
			"\"result\":{\"operation_id\":2}"},
		{"bdev_lvol_start_shallow_copy",
			"{\"src_lvol_name\":\"lvs0/s\",\"dst_bdev_name\":\"other\"}",
			"\"result\":{\"operation_id\":3}"},
		{"bdev_lvol_start_shallow_copy",
			"{\"src_lvol_name\":\"lvs0/s\",\"dst_bdev_name\":\"disk\"}", NOT_PERMITTED},
		{"bdev_lvol_start_shallow_copy",
			"{\"src_lvol_name\":\"lvs0/s\",\"dst_bdev_name\":\"to\"}",
			"\"result\":{\"operation_id\":4}"},
	};
	struct world *world = world_with_store();

	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":4,\"lvs_name\":\"lvs0\"}");
	call_for_uuid(
		world, "bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"s\"}");
	EXPECT(world, exchanges);
	expect_copy_end(world, 1, "\"state\":\"error\",\"error\":\"Operation not permitted\"");
	expect_copy_end(world, 2, "\"state\":\"error\",\"error\":\"Invalid argument\"");
	expect_copy_end(world, 3, "\"state\":\"error\",\"error\":\"Invalid argument\"");
	expect_copy_end(world, 4,
		"\"result\":{\"copied_clusters\":4,\"total_clusters\":4,\"state\":\"complete\"}");
	world_end(world);
}

/* Two at once: one of them finds the name taken, whichever order their blobs come in. */
static void of_two_volumes_of_one_name_asked_for_at_once_one_is_made(void **state)
{
	struct world *world = world_with_store();
	unsigned made = 0, refused = 0;

	for (unsigned i = 0; i < 4; i++)
		world_say(world, "bdev_lvol_create",
			"{\"lvol_name\":\"v\",\"size_in_mib\":1,\"lvs_name\":\"lvs0\"}");
	for (unsigned i = 0; i < 4; i++) {
		const char *answer = world_hear(world);

		made += strncmp(answer, "\"result\":\"", 10) == 0;
		refused += strcmp(answer, EXISTS) == 0;
	}
	assert_int_equal(made, 1);
	assert_int_equal(refused, 3);
	world_end(world);
}

/* Operations that are waiting when their store is deleted. */
static void who_waits_for_a_store_that_is_deleted_hears_that_it_has_gone(void **state)
{
	struct world *world = world_with_store();

	world_say(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":1,\"lvs_name\":\"lvs0\"}");
	world_say(world, "bdev_lvol_delete_lvstore", "{\"lvs_name\":\"lvs0\"}");
	world_say(world, "bdev_lvol_create",
		"{\"lvol_name\":\"w\",\"size_in_mib\":1,\"lvs_name\":\"lvs0\"}");
	for (unsigned i = 0; i < 3; i++)
		world_hear(world);
	expect_part(world, "bdev_lvol_get_lvstores", NULL, "\"result\":[]");
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/v\"}", NO_DEVICE);
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/w\"}", NO_DEVICE);
	world_end(world);
}

/* Each of two stores has a volume that stands on one of the other's. */
static void deletions_that_cross_between_stores_do_not_wait_for_each_other(void **state)
{
	static const struct exchange deleted[] = {
		{"bdev_lvol_delete_lvstore", "{\"lvs_name\":\"lvs0\"}", TRUE_RESULT},
		{"bdev_lvol_delete_lvstore", "{\"lvs_name\":\"lvs1\"}", TRUE_RESULT},
	};
	struct world *world = world_with_store();

	world_call(world, "bdev_malloc_create",
		"{\"num_blocks\":16384,\"block_size\":4096,\"name\":\"m\"}");
	call_for_uuid(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"lvs1\",\"cluster_sz\":1048576}");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"a\",\"size_in_mib\":1,\"lvs_name\":\"lvs0\"}");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"b\",\"size_in_mib\":1,\"lvs_name\":\"lvs1\"}");
	call_for_uuid(world, "bdev_lvol_clone_bdev",
		"{\"bdev\":\"lvs0/a\",\"lvs_name\":\"lvs1\",\"clone_name\":\"on-a\"}");
	call_for_uuid(world, "bdev_lvol_clone_bdev",
		"{\"bdev\":\"lvs1/b\",\"lvs_name\":\"lvs0\",\"clone_name\":\"on-b\"}");
	/* Nothing may stand on itself, however far below. */
	expect_part(world, "bdev_lvol_set_parent_bdev",
		"{\"lvol_name\":\"lvs1/on-a\",\"parent_name\":\"lvs1/b\"}", INVALID_PARAMS);
	world_say(world, "bdev_lvol_delete", "{\"name\":\"lvs0/a\"}");
	world_say(world, "bdev_lvol_delete", "{\"name\":\"lvs1/b\"}");
	assert_string_equal(world_hear(world), TRUE_RESULT);
	assert_string_equal(world_hear(world), TRUE_RESULT);
	expect_part(
		world, "bdev_lvol_get_lvols", "{\"lvs_name\":\"lvs0\"}", "\"is_degraded\":true,");
	expect_part(
		world, "bdev_lvol_get_lvols", "{\"lvs_name\":\"lvs1\"}", "\"is_degraded\":true,");
	EXPECT(world, deleted);
	world_end(world);
}

static void a_volume_that_others_stand_on_keeps_its_parent(void **state)
{
	struct world *world = world_with_store();

	world_call(world, "bdev_malloc_create",
		"{\"num_blocks\":16384,\"block_size\":4096,\"name\":\"m\"}");
	call_for_uuid(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"lvs1\",\"cluster_sz\":1048576}");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"a\",\"size_in_mib\":1,\"lvs_name\":\"lvs0\","
		"\"thin_provision\":true}");
	call_for_uuid(world, "bdev_lvol_clone_bdev",
		"{\"bdev\":\"lvs0/a\",\"lvs_name\":\"lvs1\",\"clone_name\":\"on-a\"}");
	call_for_uuid(world, "bdev_lvol_snapshot",
		"{\"lvol_name\":\"lvs1/on-a\",\"snapshot_name\":\"s\"}");
	expect_part(world, "bdev_lvol_set_parent_bdev",
		"{\"lvol_name\":\"lvs0/a\",\"parent_name\":\"lvs1/s\"}",
		ERROR(-32602, "Device or resource busy"));
	world_end(world);
}

static void a_store_is_found_again_when_its_device_comes_back(void **state)
{
	static const struct exchange gone[] = {
		{"bdev_aio_delete", "{\"name\":\"disk\"}", TRUE_RESULT},
		{"bdev_lvol_get_lvstores", NULL, "\"result\":[]"},
		{"bdev_get_bdevs", NULL, "\"result\":[]"},
		{"bdev_aio_create",
			"{\"name\":\"again\",\"filename\":\"/disk\",\"block_size\":4096}",
			"\"result\":\"again\""},
	};
	static const struct exchange nested[] = {
		{"bdev_aio_delete", "{\"name\":\"again\"}", TRUE_RESULT},
		{"bdev_get_bdevs", NULL, "\"result\":[]"},
		{"bdev_aio_create",
			"{\"name\":\"disk\",\"filename\":\"/disk\",\"block_size\":4096}",
			"\"result\":\"disk\""},
		{"bdev_wait_for_examine", NULL, TRUE_RESULT},
		/* What a guest may have written into its disk is not looked at unasked. */
		{"bdev_get_bdevs", "{\"name\":\"inner/w\"}", ERROR(-19, "No such device")},
		{"bdev_examine", "{\"name\":\"disk\"}", ERROR(-22, "Invalid argument")},
		{"bdev_examine", "{\"name\":\"lvs0/v\"}", TRUE_RESULT},
	};
	struct world *world = world_with_store();
	struct uuid_text uuid = call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"v\",\"size_in_mib\":16,\"lvs_name\":\"lvs0\"}");

	EXPECT(world, gone);
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"lvs0/v\"}", uuid.text);
	expect_part(world, "bdev_lvol_get_lvstores", NULL, "\"recovered\":false");
	/* A store in a volume comes and goes with it. */
	call_for_uuid(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"lvs0/v\",\"lvs_name\":\"inner\",\"cluster_sz\":65536}");
	call_for_uuid(world, "bdev_lvol_create",
		"{\"lvol_name\":\"w\",\"size_in_mib\":1,\"lvs_name\":\"inner\"}");
	EXPECT(world, nested);
	expect_part(world, "bdev_get_bdevs", "{\"name\":\"inner/w\"}", "\"num_blocks\":256,");
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_space_is_told_and_where_that_begins_is_kept),
		cmocka_unit_test(little_metadata_is_told_like_little_space),
		cmocka_unit_test(stores_are_created_and_refused_as_clients_expect),
		cmocka_unit_test(a_store_is_listed_with_the_members_that_clients_know_in_order),
		cmocka_unit_test(volumes_are_created_and_refused_as_clients_expect),
		cmocka_unit_test(a_volume_has_the_block_size_that_it_is_made_with),
		cmocka_unit_test(snapshots_and_clones_are_made_and_refused_as_clients_expect),
		cmocka_unit_test(clones_of_foreign_devices_are_made_and_refused_as_clients_expect),
		cmocka_unit_test(attributes_are_set_and_told_as_clients_expect),
		cmocka_unit_test(shallow_copies_are_started_and_told_of_as_clients_expect),
		cmocka_unit_test(of_two_volumes_of_one_name_asked_for_at_once_one_is_made),
		cmocka_unit_test(who_waits_for_a_store_that_is_deleted_hears_that_it_has_gone),
		cmocka_unit_test(deletions_that_cross_between_stores_do_not_wait_for_each_other),
		cmocka_unit_test(a_volume_that_others_stand_on_keeps_its_parent),
		cmocka_unit_test(a_store_is_found_again_when_its_device_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
