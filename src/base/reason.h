/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a control operation failed: one sentence, written where the cause is known, that tells the
 * user what to do. The code (-errno) travels as the return value or the rc of done; the sentence
 * beside it in a struct reason that the caller lends. The first sentence wins, so that an undo
 * cannot cover it. NULL is allowed everywhere: nobody wants to know.
 */
#ifndef BASE_REASON_H
#define BASE_REASON_H

#include "base/util.h"

#define REASON_MAX 256

struct reason {
	char text[REASON_MAX]; /* empty: no sentence given */
};

/* Stores the sentence unless one is there already and returns rc, so that a failure is one line:
 * return reason_set(reason, -EEXIST, "a device named %s exists: choose another name", name); */
int reason_set(struct reason *reason, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The sentence, or strerror(-rc) where none was given. */
const char *reason_text(const struct reason *reason, int rc);

#endif
