/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log lines to stderr (where systemd's journal takes them), one write(2) each, so that lines of
 * several threads never mix. Any thread. Text that a guest or a front-end can cause goes through
 * log_limited, which lets a burst through and then one line a second, and says how many it held
 * back. Log once, where it is decided what to do about it.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdatomic.h>

#include "base/util.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped. Default LOG_NOTICE. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* One per place or per object; zero-initialised. Shared by threads. */
struct log_limit {
	_Atomic uint64_t window_s;
	_Atomic uint32_t count;
	_Atomic uint32_t held;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

#define log_error(...)   log_write(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)

/* Our own mistake, never something from outside: says where and aborts, in release builds too. */
#define invariant(cond)                                                                            \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			invariant_failed(#cond, __FILE__, __LINE__, __func__);                     \
	} while (0)

_Noreturn void invariant_failed(const char *cond, const char *file, int line, const char *func);

#endif
