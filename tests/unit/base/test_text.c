/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes, CPU sets, numbers in buffers, sentences of errors, default paths. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/paths.h"
#include "base/pci.h"
#include "base/text.h"

/* ---- sizes ---- */

static void sizes_are_read_as_people_write_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"512", 512},
		{"512B", 512},
		{"512K", 512 * KIB},
		{"512k", 512 * KIB},
		{"512KB", 512 * KIB},
		{"512KiB", 512 * KIB},
		{"512kib", 512 * KIB},
		{"10G", 10 * GIB},
		{"1.5T", 1536 * GIB},
		{"1.25M", 1280 * KIB},
		{"0.5K", 512},
		{"2P", UINT64_C(2) << 50},
		{"15E", UINT64_C(15) << 60},
		{"18446744073709551615", UINT64_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t bytes = 1;

		assert_int_equal(size_parse(good[i].text, &bytes), 0);
		assert_true(bytes == good[i].bytes);
	}
}

static void a_malformed_or_impossible_size_is_refused_and_stores_nothing(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} bad[] = {
		{"", -EINVAL},
		{"K", -EINVAL},
		{"-1", -EINVAL},
		{" 1", -EINVAL},
		{"1 ", -EINVAL},
		{"1.5", -EINVAL},
		{"1.K", -EINVAL},
		{"1.5.5K", -EINVAL},
		{".5K", -EINVAL},
		{"0x10", -EINVAL},
		{"1KK", -EINVAL},
		{"1BK", -EINVAL},
		{"1KiBs", -EINVAL},
		{"1Z", -EINVAL},
		{"16E", -ERANGE},
		{"15.99999999999999999999E", -ERANGE},
		{"18446744073709551616", -ERANGE},
		{"99999999999999999999999", -ERANGE},
		{"18014398509481984K", -ERANGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t bytes = 77;

		assert_int_equal(size_parse(bad[i].text, &bytes), bad[i].rc);
		assert_true(bytes == 77);
	}
}

static void a_formatted_size_is_short_and_exact_or_says_that_it_is_not(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0"},
		{1000, "1000"},
		{1536, "1.5K"},
		{512 * KIB, "512K"},
		{1536 * MIB, "1.5G"},
		{10 * GIB, "10G"},
		{UINT64_C(512000000000), "~476.8G"},
		{1025, "~1.0K"},
		{GIB - 512, "~1.0G"},
		{MIB - 1, "~1.0M"},
		{UINT64_MAX, "~16.0E"},
	};
	uint64_t random = 1;
	char text[32];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		size_format(cases[i].bytes, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
	}
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t bytes, back;
		bool rounded;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		bytes = random >> (i % 64) << (i % 53);
		size_format(bytes, text, sizeof(text));
		rounded = text[0] == '~';
		assert_true(strlen(text) <= 8);
		if (strcmp(text, "~16.0E") == 0)
			continue;
		assert_int_equal(size_parse(text + rounded, &back), 0);
		assert_true(rounded ? u64_max(back, bytes) - u64_min(back, bytes) <= bytes / 19
				    : back == bytes);
	}
}

/* ---- CPU sets ---- */

static void cpu_sets_are_written_as_people_read_them(void **state)
{
	static const struct {
		const char *text, *list;
	} cases[] = {{"99", "0,3-4,7"}, {"3", "0-1"}, {"[5]", "5"}, {"0-2,1023", "0-2,1023"}};
	struct cpu_set set = {0};
	char text[32];

	cpu_set_format_list(&set, text, sizeof(text));
	assert_string_equal(text, "none");
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(cpu_set_parse(cases[i].text, &set), 0);
		cpu_set_format_list(&set, text, sizeof(text));
		assert_string_equal(text, cases[i].list);
	}
	cpu_set_format_list(&set, text, 5);
	assert_string_equal(text, "0-2,");
}

static void cpu_sets_are_read_as_masks_and_as_lists(void **state)
{
	static const struct {
		const char *text;
		uint64_t low;
		unsigned count;
	} good[] = {
		{"0x3", 0x3, 2},
		{"3", 0x3, 2},
		{"F0", 0xf0, 4},
		{"0X10", 0x10, 1},
		{"[0]", 0x1, 1},
		{"[0,2-3]", 0xd, 3},
		{"0,2-3", 0xd, 3},
		{"5-5", 0x20, 1},
		{"[1-4,3-6]", 0x7e, 6},
		{"[1023]", 0, 1},
		{"0x10000000000000000", 0, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct cpu_set set;

		assert_int_equal(cpu_set_parse(good[i].text, &set), 0);
		assert_true(set.bits[0] == good[i].low);
		assert_int_equal(cpu_set_count(&set), good[i].count);
	}
}

static void a_malformed_cpu_set_is_refused(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} bad[] = {
		{"", -EINVAL},
		{"0", -EINVAL}, /* a mask without a CPU */
		{"0x", -EINVAL},
		{"0x0", -EINVAL},
		{"xyz", -EINVAL},
		{"[]", -EINVAL},
		{"[0", -EINVAL},
		{"[0]x", -EINVAL},
		{"[0,]", -EINVAL},
		{"0,", -EINVAL},
		{"1-", -EINVAL},
		{"-1", -EINVAL},
		{"3-1", -EINVAL},
		{"0,1]", -EINVAL},
		{"[1024]", -ERANGE},
		{"0-1024", -ERANGE},
		{"0-99999999999999999999999", -ERANGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cpu_set set;

		assert_int_equal(cpu_set_parse(bad[i].text, &set), bad[i].rc);
	}
}

static void a_formatted_cpu_set_reads_back_as_the_same(void **state)
{
	char text[CPUS_MAX / 4 + 1];

	for (unsigned i = 0; i < CPUS_MAX; i += 7) {
		struct cpu_set set = {0}, back;

		cpu_set_add(&set, i);
		cpu_set_add(&set, i / 3);
		assert_true(cpu_set_has(&set, i));
		cpu_set_format(&set, text, sizeof(text));
		assert_true(text[0] != '0');
		assert_int_equal(cpu_set_parse(text, &back), 0);
		assert_memory_equal(&set, &back, sizeof(set));
	}
	for (unsigned i = 0; i < 2; i++) {
		struct cpu_set all, back;

		memset(&all, i ? 0xff : 0, sizeof(all));
		cpu_set_format(&all, text, sizeof(text));
		assert_int_equal(strlen(text), i ? CPUS_MAX / 4 : 1);
		assert_int_equal(cpu_set_parse(text, &back), i ? 0 : -EINVAL);
	}
}

static void a_cpu_beyond_the_largest_set_is_in_none(void **state)
{
	struct cpu_set all;

	memset(&all, 0xff, sizeof(all));
	assert_true(cpu_set_has(&all, CPUS_MAX - 1));
	assert_false(cpu_set_has(&all, CPUS_MAX));
}

/* ---- numbers in buffers ---- */

static void big_endian_numbers_are_read_and_written_at_any_alignment(void **state)
{
	uint8_t buf[16];

	for (unsigned at = 0; at < 8; at++) {
		memset(buf, 0, sizeof(buf));
		be64_put(buf + at, UINT64_C(0x0102030405060708));
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(buf[at + i], i + 1);
		assert_true(be64_get(buf + at) == UINT64_C(0x0102030405060708));
		assert_int_equal(be32_get(buf + at), 0x01020304);
		assert_int_equal(be24_get(buf + at), 0x010203);
		assert_int_equal(be16_get(buf + at), 0x0102);
		be32_put(buf + at, 0xa1b2c3d4);
		be16_put(buf + at + 4, 0xe5f6);
		assert_int_equal(be32_get(buf + at), 0xa1b2c3d4);
		assert_int_equal(be16_get(buf + at + 4), 0xe5f6);
	}
}

/* ---- reasons ---- */

static void the_first_sentence_wins_and_the_code_is_passed_on(void **state)
{
	struct reason reason = {0};

	assert_int_equal(reason_set(&reason, -EEXIST, "a device named %s exists", "x"), -EEXIST);
	assert_int_equal(reason_set(&reason, -EIO, "the undo failed"), -EIO);
	assert_string_equal(reason_text(&reason, -EEXIST), "a device named x exists");
}

static void without_a_sentence_the_code_is_explained(void **state)
{
	struct reason reason = {0};

	assert_string_equal(reason_text(&reason, -ENOSPC), strerror(ENOSPC));
	assert_string_equal(reason_text(NULL, -EIO), strerror(EIO));
	assert_int_equal(reason_set(NULL, -EIO, "nobody wants to know"), -EIO);
}

static void a_long_sentence_is_cut_and_ended(void **state)
{
	struct reason reason = {0};
	char name[1000];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(reason_set(&reason, -EINVAL, "%s", name), -EINVAL);
	assert_int_equal(strlen(reason.text), REASON_MAX - 1);
}

/* ---- paths ---- */

static void expect_path(int (*fn)(const char *, char *, size_t, struct reason *), const char *name,
	const char *path)
{
	char buf[PATHS_MAX];

	assert_int_equal(fn(name, buf, sizeof(buf), NULL), 0);
	assert_string_equal(buf, path);
}

/* Leaves the effective user as it found it. */
static void paths_of_root_and_of_others_are_as_documented(void **state)
{
	struct reason reason = {0};
	char buf[PATHS_MAX];
	bool root = geteuid() == 0;

	if (root) {
		expect_path(paths_run, "rpc.sock", "/run/sluice/rpc.sock");
		expect_path(paths_state, "", "/var/lib/sluice");
		assert_int_equal(seteuid(65534), 0);
	}
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	setenv("XDG_STATE_HOME", "/s", 1);
	expect_path(paths_run, "vhost", "/run/user/7/sluice/vhost");
	expect_path(paths_state, "", "/s/sluice");
	unsetenv("XDG_RUNTIME_DIR");
	expect_path(paths_run, "vhost", "/s/sluice/run/vhost");
	setenv("XDG_STATE_HOME", "relative", 1);
	setenv("HOME", "/home/u", 1);
	expect_path(paths_state, "disk", "/home/u/.local/state/sluice/disk");
	assert_int_equal(paths_state("disk", buf, 10, &reason), -ENAMETOOLONG);
	assert_true(reason.text[0] != '\0');
	reason.text[0] = '\0';
	unsetenv("HOME");
	assert_int_equal(paths_state("", buf, sizeof(buf), &reason), -ENOENT);
	assert_non_null(strstr(reason.text, "--state-dir"));
	if (root)
		assert_int_equal(seteuid(0), 0);
}

static void addresses_of_pci_functions_are_read_strictly(void **state)
{
	static const char *const right[][2] = {
		{"0000:01:00.0", "0000:01:00.0"},
		{"1:0.7", "0000:01:00.7"},
		{"00Ab:fF:1f.3", "00ab:ff:1f.3"},
		{"10000.01.02.1", "10000:01:02.1"},
	};
	static const char *const wrong[] = {"", "1", "1:0", "0:0:0:0:0", "100:0.0", "0:20.0",
		"0:0.8", "0:0.", ":0.0", "0:0.0 ", " 0:0.0", "0x1:0.0", "0:0.-1", "123456789:0:0.0",
		"0:0.00"};
	char text[PCI_ADDRESS_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(right); i++) {
		assert_int_equal(pci_address_parse(right[i][0], text), 0);
		assert_string_equal(text, right[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(pci_address_parse(wrong[i], text), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_of_pci_functions_are_read_strictly),
		cmocka_unit_test(sizes_are_read_as_people_write_them),
		cmocka_unit_test(a_malformed_or_impossible_size_is_refused_and_stores_nothing),
		cmocka_unit_test(a_formatted_size_is_short_and_exact_or_says_that_it_is_not),
		cmocka_unit_test(cpu_sets_are_written_as_people_read_them),
		cmocka_unit_test(cpu_sets_are_read_as_masks_and_as_lists),
		cmocka_unit_test(a_malformed_cpu_set_is_refused),
		cmocka_unit_test(a_formatted_cpu_set_reads_back_as_the_same),
		cmocka_unit_test(a_cpu_beyond_the_largest_set_is_in_none),
		cmocka_unit_test(big_endian_numbers_are_read_and_written_at_any_alignment),
		cmocka_unit_test(the_first_sentence_wins_and_the_code_is_passed_on),
		cmocka_unit_test(without_a_sentence_the_code_is_explained),
		cmocka_unit_test(a_long_sentence_is_cut_and_ended),
		cmocka_unit_test(paths_of_root_and_of_others_are_as_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
