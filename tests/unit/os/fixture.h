/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of src/os against the real kernel: one os, one ring and one directory for each
 * test. Every program takes the engine as its argument and runs the same tests with either:
 *
 *	test_ring io_uring
 *	test_ring epoll
 *
 * Where the kernel refuses io_uring the first is skipped as a whole (exit code 77).
 */
#ifndef UNIT_OS_FIXTURE_H
#define UNIT_OS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/os.h"

#define TEST_RING_ENTRIES 4 /* so that every limit is met */

struct fixture {
	struct os *os;
	struct os_ring *ring;
	char directory[64];
	char path[128]; /* of the last fixture_path */
	bool keep; /* the ring keeps the files of the test's operations */
};

/* cmocka's setup and teardown of each test. */
int fixture_setup(void **state);
int fixture_setup_keeping(void **state);
int fixture_teardown(void **state);

#define FIXTURE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
#define KEEPING_TEST(fn)                                                                           \
	cmocka_unit_test_setup_teardown(fn, fixture_setup_keeping, fixture_teardown)

/* Reads the arguments of main; what it returns ends the program when it is not 0. */
int fixture_main(int argc, char **argv);

bool fixture_uses_io_uring(void);

/* A path in the test's directory; valid until the next call. */
const char *fixture_path(struct fixture *fixture, const char *name);
/* A new file in it. */
int fixture_file(struct fixture *fixture, const char *name, unsigned flags);
/* Enters until *count has reached target; fails the test after 5 s. */
void fixture_enter_until(struct fixture *fixture, const unsigned *count, unsigned target);
/* Enters for as long as nothing more is to be expected soon: submits, reaps, waits 20 ms. */
void fixture_settle(struct fixture *fixture);
/* How many descriptors this process has open. */
unsigned fixture_count_fds(void);

#endif
