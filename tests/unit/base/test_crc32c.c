/* SPDX-License-Identifier: BSD-2-Clause */
/* Checksums: known ones, and those of a table-driven computation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"

static uint32_t crc32c_bitwise(const uint8_t *data, size_t length)
{
	uint32_t crc = UINT32_MAX;

	while (length--) {
		crc ^= *data++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

static void known_inputs_have_their_known_checksums(void **state)
{
	static const uint8_t zeroes[4092];

	assert_int_equal(crc32c("123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(zeroes, sizeof(zeroes)), 0xa732586e);
	assert_int_equal(crc32c("", 0), 0);
}

static void every_length_and_alignment_agrees_with_the_definition(void **state)
{
	uint8_t bytes[600];

	srandom(1);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)random();
	for (size_t at = 0; at < 17; at++) {
		for (size_t length = 0; length < sizeof(bytes) - 17; length++)
			assert_int_equal(
				crc32c(bytes + at, length), crc32c_bitwise(bytes + at, length));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_inputs_have_their_known_checksums),
		cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
