/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A real block device for a test: a loop device over a file in the test's directory. Gone when its
 * last descriptor is closed.
 */
#ifndef UNIT_OS_LOOP_DEVICE_H
#define UNIT_OS_LOOP_DEVICE_H

#include "fixture.h"

/* -1 where this process may not make one. */
int loop_device_open(
	struct fixture *fixture, uint64_t size_bytes, uint32_t block_size, bool read_only);

#endif
