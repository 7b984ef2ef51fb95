/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a request takes that meets a kill of the process that serves: the pause that a guest
 * sees.
 */
#ifndef KEEPER_PAUSE_H
#define KEEPER_PAUSE_H

/* So many kills, a little more than a second apart; prints the distribution. The exit code. */
int pause_measure(unsigned kills);

#endif
