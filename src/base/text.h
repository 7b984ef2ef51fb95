/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers, sizes and CPU sets as people write them. No state, any thread.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/util.h"

#define CPUS_MAX 1024

struct cpu_set {
	uint64_t bits[CPUS_MAX / 64];
};

static inline bool cpu_set_has(const struct cpu_set *set, unsigned cpu)
{
	return cpu < CPUS_MAX && (set->bits[cpu / 64] >> (cpu % 64) & 1);
}

static inline void cpu_set_add(struct cpu_set *set, unsigned cpu)
{
	set->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

unsigned cpu_set_count(const struct cpu_set *set);

/* "0x3", "3" (both hexadecimal masks), "[0,2-3]" or "0,2-3" with at least one comma or dash.
 * -EINVAL when malformed or empty, -ERANGE when a CPU is beyond CPUS_MAX. */
int cpu_set_parse(const char *text, struct cpu_set *ret_set) MUST_CHECK;

/* Lower-case hexadecimal without prefix ("3"); buf of at least CPUS_MAX / 4 + 1 bytes. */
void cpu_set_format(const struct cpu_set *set, char *buf, size_t size);

/* For people: "0,3-4,7"; "none" when empty. What does not fit is cut. */
void cpu_set_format_list(const struct cpu_set *set, char *buf, size_t size);

/* "512", "512K", "10G", "1.5T" (binary multiples, upper or lower case, "KiB" and "KB" accepted).
 * -EINVAL when malformed, -ERANGE beyond 64 bits. */
int size_parse(const char *text, uint64_t *ret_bytes) MUST_CHECK;

/* In the largest unit it fills, with one decimal at most: "512K", "10G", "1.5G", "1000". What that
 * cannot say exactly is rounded and says so: "~476.8G". */
void size_format(uint64_t bytes, char *buf, size_t size);

#endif
