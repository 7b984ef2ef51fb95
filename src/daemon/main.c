/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The executable: `sluice serve` is the daemon, everything else the command line.
 */
#include <string.h>

#include "cli/cli.h"
#include "daemon/serve.h"

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve_main(argc - 1, argv + 1);
	return cli_flush(cli_main(argc, argv));
}
