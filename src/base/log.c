/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line is formatted into a buffer on the stack and written at once. The level is read without
 * order: whether a line that races with log_set_level appears is nobody's concern.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024
#define LOG_BURST    10 /* lines a second from one limited place */

static _Atomic int log_level = LOG_NOTICE;

static const char *const log_level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARNING] = "warning",
	[LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

static void PRINTF_LIKE(2, 0) log_line(enum log_level level, const char *fmt, va_list args)
{
	char line[LOG_LINE_MAX];
	int head = snprintf(line, sizeof(line), "sluice: %s: ", log_level_names[level]);
	int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, args);
	size_t len = (size_t)head;

	if (body > 0)
		len += u64_min((uint64_t)body, sizeof(line) - (size_t)head - 2);
	/* What came from outside must not forge lines or terminal sequences. */
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* there is nowhere left to complain */
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list args;

	if (level > log_get_level())
		return;
	va_start(args, fmt);
	log_line(level, fmt, args);
	va_end(args);
}

static uint64_t log_clock_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec + 1; /* never 0, the value of a fresh limit */
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	uint64_t now = log_clock_s();
	uint64_t window = atomic_load_explicit(&limit->window_s, memory_order_relaxed);
	va_list args;

	if (level > log_get_level())
		return;
	if (window != now && atomic_compare_exchange_strong(&limit->window_s, &window, now)) {
		uint32_t held = atomic_exchange(&limit->held, 0);

		atomic_store(&limit->count, 0);
		if (held)
			log_write(level, "%u similar lines were held back", held);
	}
	if (atomic_fetch_add(&limit->count, 1) >= LOG_BURST) {
		atomic_fetch_add(&limit->held, 1);
		return;
	}
	va_start(args, fmt);
	log_line(level, fmt, args);
	va_end(args);
}

void invariant_failed(const char *cond, const char *file, int line, const char *func)
{
	log_error("%s:%d: %s: invariant does not hold: %s", file, line, func, cond);
	abort();
}
