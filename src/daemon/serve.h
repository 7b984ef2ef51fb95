/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's life from its options to its exit code.
 */
#ifndef DAEMON_SERVE_H
#define DAEMON_SERVE_H

/* argv[0] is "serve". The exit code: 0, 1 failed, 2 usage. */
int serve_main(int argc, char **argv);

#endif
