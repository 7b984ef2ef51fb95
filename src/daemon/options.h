/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `sluice serve` was told on its command line. Strings are those of argv or of this struct.
 */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include "base/paths.h"
#include "core/reactor.h"

struct serve_options {
	char rpc_socket[PATHS_MAX]; /* "": none */
	char vhost_dir[PATHS_MAX];
	char state_dir[PATHS_MAX];
	bool default_rpc_socket; /* its directory is ours to make */
	const char *config_file; /* NULL: none */
	bool ignore_init_errors; /* entries of it that fail are passed over */
	bool keeps_state; /* what is configured is there again after a restart */
	const char *http; /* where it is served (http/http.h); NULL: nowhere */
	const char *rpcs_allowed; /* NULL: all */
	const char *pid_file; /* NULL: none */
	struct cpu_set cpus; /* of the data reactors */
	bool pinned; /* cpus was given: one data reactor on each */
	enum poll_mode poll_mode;
	bool wait_for_rpc;
	bool keeper; /* a process of its own keeps the front-ends' connections */
	bool io_uring;
};

enum options_result { OPTIONS_SERVE, OPTIONS_EXIT, OPTIONS_USAGE };

/* Is a program of that name one that scripts written for SPDK start? */
bool options_name_is_spdk(const char *program);
/* argv[0] is "serve", or such a name. Prints help and version, or one sentence on what is wrong. */
enum options_result serve_options_parse(int argc, char **argv, struct serve_options *options);

#endif
