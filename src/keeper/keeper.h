/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small process that owns the connections of front-ends and starts the process that serves
 * them, again and again as that dies. docs/keeper.md.
 */
#ifndef KEEPER_KEEPER_H
#define KEEPER_KEEPER_H

struct keeper_options {
	char *const *argv; /* of the serving process; the program is this executable */
	void (*tell)(const char *text); /* to the service manager */
};

/* Returns when both are to end: the exit code. No thread may have been started. */
int keeper_run(const struct keeper_options *options);

#endif
