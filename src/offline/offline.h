/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands of the executable that need no daemon, and must not have one at what they work on.
 * argv[0] is the command. Exit codes: 0, 1 failed or faults remain, 2 usage.
 */
#ifndef OFFLINE_OFFLINE_H
#define OFFLINE_OFFLINE_H

int offline_check(int argc, char **argv);

#endif
