/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The executable: `sluice serve` is the daemon, `sluice check` works without one, everything
 * else is the command line. Under the names spdk_tgt and vhost it is the daemon.
 */
#include <string.h>

#include "cli/cli.h"
#include "daemon/options.h"
#include "daemon/serve.h"
#include "offline/offline.h"

int main(int argc, char **argv)
{
	if (options_name_is_spdk(argv[0]))
		return serve_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve_main(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return cli_flush(offline_check(argc - 1, argv + 1));
	return cli_flush(cli_main(argc, argv));
}
