/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

unsigned cpu_set_count(const struct cpu_set *set)
{
	unsigned count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
		count += (unsigned)__builtin_popcountll(set->bits[i]);
	return count;
}

static int cpu_list_parse(const char *p, char end, struct cpu_set *set)
{
	for (;;) {
		char *rest;
		unsigned long first, last;

		if (!isdigit((unsigned char)*p))
			return -EINVAL;
		first = last = strtoul(p, &rest, 10);
		if (*rest == '-') {
			if (!isdigit((unsigned char)rest[1]))
				return -EINVAL;
			last = strtoul(rest + 1, &rest, 10);
		}
		if (last < first)
			return -EINVAL;
		if (last >= CPUS_MAX)
			return -ERANGE;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			cpu_set_add(set, (unsigned)cpu);
		if (*rest != ',') {
			if (*rest != end)
				return -EINVAL;
			return end && rest[1] ? -EINVAL : 0;
		}
		p = rest + 1;
	}
}

static int cpu_mask_parse(const char *p, struct cpu_set *set)
{
	size_t len = strlen(p);

	if (len == 0)
		return -EINVAL;
	if (len > CPUS_MAX / 4)
		return -ERANGE;
	for (size_t i = 0; i < len; i++) {
		char digit = p[len - 1 - i];
		uint64_t value;

		if (!isxdigit((unsigned char)digit))
			return -EINVAL;
		value = isdigit((unsigned char)digit) ? (uint64_t)(digit - '0')
						      : (uint64_t)(tolower(digit) - 'a' + 10);
		set->bits[i / 16] |= value << (i % 16 * 4);
	}
	return 0;
}

int cpu_set_parse(const char *text, struct cpu_set *ret_set)
{
	struct cpu_set set = {0};
	int rc;

	if (text[0] == '[')
		rc = cpu_list_parse(text + 1, ']', &set);
	else if (strpbrk(text, ",-"))
		rc = cpu_list_parse(text, '\0', &set);
	else if (strncasecmp(text, "0x", 2) == 0)
		rc = cpu_mask_parse(text + 2, &set);
	else
		rc = cpu_mask_parse(text, &set);
	if (rc)
		return rc;
	if (cpu_set_count(&set) == 0)
		return -EINVAL;
	*ret_set = set;
	return 0;
}

void cpu_set_format(const struct cpu_set *set, char *buf, size_t size)
{
	size_t len = 0;

	if (size == 0)
		return;
	buf[0] = '\0';
	for (size_t i = ARRAY_SIZE(set->bits); i-- > 0 && len + 17 <= size;) {
		if (len)
			len += (size_t)snprintf(buf + len, size - len, "%016" PRIx64, set->bits[i]);
		else if (set->bits[i])
			len += (size_t)snprintf(buf, size, "%" PRIx64, set->bits[i]);
	}
	if (len == 0)
		snprintf(buf, size, "0");
}

void cpu_set_format_list(const struct cpu_set *set, char *buf, size_t size)
{
	size_t len = 0;

	snprintf(buf, size, "none");
	for (unsigned cpu = 0; cpu < CPUS_MAX && len < size; cpu++) {
		unsigned last = cpu;

		if (!cpu_set_has(set, cpu))
			continue;
		while (cpu_set_has(set, last + 1))
			last++;
		len += (size_t)snprintf(buf + len, size - len, "%s%u", len ? "," : "", cpu);
		if (last > cpu && len < size)
			len += (size_t)snprintf(buf + len, size - len, "-%u", last);
		cpu = last;
	}
}

static int size_unit_parse(const char *p, unsigned *ret_shift)
{
	static const char units[] = "KMGTPE";
	const char *unit;

	*ret_shift = 0;
	if (*p == '\0' || strcasecmp(p, "B") == 0)
		return 0;
	unit = strchr(units, toupper((unsigned char)*p));
	if (!unit)
		return -EINVAL;
	*ret_shift = (unsigned)(unit - units + 1) * 10;
	p++;
	if (*p == '\0' || strcasecmp(p, "B") == 0 || strcasecmp(p, "iB") == 0)
		return 0;
	return -EINVAL;
}

int size_parse(const char *text, uint64_t *ret_bytes)
{
	char *rest;
	uint64_t whole;
	double fraction = 0;
	unsigned shift;
	int rc;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	whole = strtoull(text, &rest, 10);
	if (errno == ERANGE)
		return -ERANGE;
	if (*rest == '.') {
		double scale = 0.1;

		if (!isdigit((unsigned char)rest[1]))
			return -EINVAL;
		for (rest++; isdigit((unsigned char)*rest); rest++, scale /= 10)
			fraction += scale * (*rest - '0');
	}
	rc = size_unit_parse(rest, &shift);
	if (rc)
		return rc;
	if (shift && whole > UINT64_MAX >> shift)
		return -ERANGE;
	if (!shift && fraction > 0)
		return -EINVAL;
	whole <<= shift;
	fraction *= (double)(UINT64_C(1) << shift);
	if (whole > UINT64_MAX - (uint64_t)(fraction + 0.5))
		return -ERANGE;
	*ret_bytes = whole + (uint64_t)(fraction + 0.5);
	return 0;
}

void size_format(uint64_t bytes, char *buf, size_t size)
{
	static const char units[] = "KMGTPE";
	unsigned i = ARRAY_SIZE(units) - 1; /* units[i - 1] is the unit; 0: bytes */
	uint64_t unit, whole, rest, tenths;

	while (i && bytes < UINT64_C(1) << i * 10)
		i--;
	unit = UINT64_C(1) << i * 10;
	whole = bytes / unit;
	rest = bytes % unit;
	/* Up to 2^60 * 10 + 2^59. */
	tenths = (rest * 10 + unit / 2) / unit;
	if (rest && tenths * unit != rest * 10) {
		if (tenths == 10) {
			tenths = 0;
			whole++;
		}
		if (whole == 1024 && i < ARRAY_SIZE(units) - 1) {
			whole = 1;
			i++;
		}
		snprintf(buf, size, "~%" PRIu64 ".%" PRIu64 "%c", whole, tenths, units[i - 1]);
	} else if (rest) {
		snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "%c", whole, tenths, units[i - 1]);
	} else if (i) {
		snprintf(buf, size, "%" PRIu64 "%c", whole, units[i - 1]);
	} else {
		snprintf(buf, size, "%" PRIu64, bytes);
	}
}
