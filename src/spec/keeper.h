/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the keeper and the serving process say to each other (docs/keeper.md): datagrams on one
 * socket of kind SEQPACKET, and one message of its own kind on the connection of a session.
 * Both ends are the same executable, so there is no version.
 */
#ifndef SPEC_KEEPER_H
#define SPEC_KEEPER_H

#include <assert.h>
#include <stdint.h>

/* Environment: the number of the serving process's descriptor of that socket. */
#define KEEPER_FD_VARIABLE "SLUICE_KEPT"

enum keeper_kind {
	/* To the keeper: text is the name of the controller, queues how many the device has; the
	 * descriptors of the front-end's connection and of the keeper's end of a socket pair.
	 * From the keeper, at the start: text is the name; the server's end of a socket pair. */
	KEEPER_SESSION = 1,
	/* From the keeper: these were all. */
	KEEPER_SESSIONS_END = 2,
	/* To the keeper: text is for the service manager. */
	KEEPER_TELL = 3,
	/* To the keeper: the start is done. */
	KEEPER_READY = 4,
};

struct keeper_message {
	uint32_t kind;
	uint32_t queues;
	char text[256];
};
static_assert(sizeof(struct keeper_message) == 264, "keeper message");

/* Request of a header without payload: the server ends this session on purpose. */
#define KEEPER_SESSION_CLOSED 0x10000u

#endif
