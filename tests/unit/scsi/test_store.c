/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What logical units keep over a restart: it is stable when set is done, whole or not at all, and
 * never overwritten when it cannot be understood.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scsi/store.h"
#include "world.h"

static struct world w;
static char directory[64];
static struct reason reason;

static struct os *os(void)
{
	return w.host.os;
}

static void file_name(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, "%s/%s", directory, name);
}

static int setup(void **state)
{
	memset(&reason, 0, sizeof(reason));
	world_start(&w, 1);
	snprintf(directory, sizeof(directory), "/tmp/scsi-store-%d", (int)getpid());
	os()->ops->directory_create(os(), "/tmp", 0700);
	assert_int_equal(os()->ops->directory_create(os(), directory, 0700), 0);
	return 0;
}

static void directory_remove(void)
{
	char path[128];

	file_name(path, sizeof(path), "scsi.json");
	os()->ops->file_unlink(os(), path);
	file_name(path, sizeof(path), "scsi.json.new");
	os()->ops->file_unlink(os(), path);
	rmdir(directory);
}

static int teardown(void **state)
{
	directory_remove();
	world_end(&w);
	return 0;
}

static struct scsi_store *store_open(void)
{
	struct scsi_store *store;

	assert_int_equal(scsi_store_open(os(), w.control, directory, &reason, &store), 0);
	return store;
}

struct set_call {
	struct world_call call;
	struct scsi_store *store;
	const char *serial;
	const char *key;
	json_t *value;
};

static void set_run(struct world_call *call)
{
	struct set_call *op = container_of(call, struct set_call, call);

	scsi_store_set(op->store, op->serial, op->key, op->value, world_done, call);
}

static void set_begin(struct set_call *op, struct scsi_store *store, const char *serial,
	const char *key, int value)
{
	*op = (struct set_call){.call.run = set_run,
		.store = store,
		.serial = serial,
		.key = key,
		.value = value ? json_integer(value) : NULL};
	world_begin(&w, w.control, &op->call);
}

static void set(struct scsi_store *store, const char *serial, const char *key, int value)
{
	struct set_call op;

	set_begin(&op, store, serial, key, value);
	assert_int_equal(world_finish(&w, &op.call), 0);
}

static int get(const struct scsi_store *store, const char *serial, const char *key)
{
	return (int)json_integer_value(scsi_store_get(store, serial, key));
}

static void what_is_set_is_there_after_a_restart_and_what_is_removed_is_not(void **state)
{
	struct scsi_store *store = store_open();

	assert_null(scsi_store_get(store, "a", "mode"));
	set(store, "a", "mode", 1);
	set(store, "a", "timer", 2);
	set(store, "b", "mode", 3);
	set(store, "a", "mode", 4);
	set(store, "b", "mode", 0);
	set(store, "c", "mode", 0);
	scsi_store_close(store);
	store = store_open();
	assert_int_equal(get(store, "a", "mode"), 4);
	assert_int_equal(get(store, "a", "timer"), 2);
	assert_null(scsi_store_get(store, "b", "mode"));
	assert_null(scsi_store_get(NULL, "a", "mode"));
	scsi_store_close(store);
}

static void changes_that_come_while_one_is_written_are_all_kept(void **state)
{
	static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
	struct set_call ops[ARRAY_SIZE(keys)];
	struct scsi_store *store = store_open();

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		set_begin(&ops[i], store, "a", keys[i], (int)i + 1);
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(world_finish(&w, &ops[i].call), 0);
	scsi_store_close(store);
	store = store_open();
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(get(store, "a", keys[i]), i + 1);
	scsi_store_close(store);
}

static void a_change_that_cannot_be_written_is_told_and_written_with_the_next(void **state)
{
	struct scsi_store *store;
	struct set_call op;
	char whole[64];

	memcpy(whole, directory, sizeof(whole));
	snprintf(directory, sizeof(directory), "/tmp/scsi-store-%d-later", (int)getpid());
	store = store_open();
	set_begin(&op, store, "a", "mode", 1);
	assert_int_equal(world_finish(&w, &op.call), -ENOENT);
	assert_int_equal(get(store, "a", "mode"), 1);
	assert_int_equal(os()->ops->directory_create(os(), directory, 0700), 0);
	set(store, "b", "mode", 2);
	scsi_store_close(store);
	store = store_open();
	assert_int_equal(get(store, "a", "mode"), 1);
	assert_int_equal(get(store, "b", "mode"), 2);
	scsi_store_close(store);
	directory_remove();
	memcpy(directory, whole, sizeof(whole));
}

static void write_file(const char *text)
{
	char path[128];
	int fd;

	file_name(path, sizeof(path), "scsi.json");
	assert_int_equal(os()->ops->file_open(os(), path,
				 OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_TRUNCATE, 0600, &fd),
		0);
	assert_int_equal(
		os()->ops->file_write(os(), fd, text, strlen(text), 0), (int64_t)strlen(text));
	os()->ops->close(os(), fd);
}

static void a_file_that_is_not_understood_is_refused_and_left_alone(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{\"format\": 2, \"units\": {}}",
		"{\"format\": 1}", "{\"format\": 1, \"units\": []}"};
	struct scsi_store *store;

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		reason.text[0] = '\0';
		write_file(texts[i]);
		assert_int_equal(
			scsi_store_open(os(), w.control, directory, &reason, &store), -EINVAL);
		assert_non_null(strstr(reason.text, "scsi.json"));
	}
	write_file("{\"format\": 1, \"units\": {\"a\": {\"mode\": 7}}}");
	store = store_open();
	assert_int_equal(get(store, "a", "mode"), 7);
	scsi_store_close(store);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_set_is_there_after_a_restart_and_what_is_removed_is_not),
		TEST(changes_that_come_while_one_is_written_are_all_kept),
		TEST(a_change_that_cannot_be_written_is_told_and_written_with_the_next),
		TEST(a_file_that_is_not_understood_is_refused_and_left_alone),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
