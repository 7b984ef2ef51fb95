/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A function run by another reactor, awaited by flows.
 */
#ifndef CORE_CALL_H
#define CORE_CALL_H

#include "core/flow.h"

/* Embedded in its owner's op, borrowed until done. */
struct reactor_call {
	struct message message;
	struct reactor *home;
	int (*fn)(struct reactor_call *call);
	done_fn done;
	void *arg;
	int rc;
};

/* On home: fn runs on reactor, which may be home itself, then done(arg, rc) on home. */
void reactor_call(struct reactor_call *call, struct reactor *home, struct reactor *reactor,
	int (*fn)(struct reactor_call *call), done_fn done, void *arg);

#endif
