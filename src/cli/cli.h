/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line but for `sluice serve`: a client of the daemon's RPC socket. It runs in a
 * process of its own and waits where it has to, so it uses blocking system calls directly.
 *
 * Exit codes: 0, 1 failed, 2 usage. Errors are one sentence on stderr that says what to do.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_main(int argc, char **argv);
/* The exit code, or 1 with a sentence when the output could not be written. */
int cli_flush(int code);

#endif
