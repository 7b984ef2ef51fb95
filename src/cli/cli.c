/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which command it is.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_impl.h"

static const char help[] =
	"usage: sluice COMMAND [OPTION...]\n"
	"\n"
	"Sluice gives virtual machines their disks, over vhost-user-scsi and vhost-user-blk.\n"
	"\n"
	"  serve                      run the daemon\n"
	"  disk attach|detach|list    put disks on machines\n"
	"  store create|open|list|grow|rename|close|delete\n"
	"                             volume stores on files and devices\n"
	"  volume create|list|resize|snapshot|clone|inflate|decouple|set-parent|read-only|\n"
	"         attribute|export|import|shallow-copy|rename|delete\n"
	"                             volumes in them\n"
	"  nvme list|bind|unbind      drives for the daemon's own driver\n"
	"  config save|load|missing|retry|forget\n"
	"                             what is configured, as a file; what could not be set up\n"
	"  top                        what disks and data threads do just now\n"
	"  io                         requests in flight: how old they are, and what holds them\n"
	"  check FILE                 look at a store that no daemon has open, and repair it\n"
	"  rpc METHOD [JSON]          call any method of the daemon\n"
	"\n"
	"  --help                     print this; sluice COMMAND --help explains a command\n"
	"  --version                  print the version\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"config", cli_config},
	{"disk", cli_disk},
	{"io", cli_io},
	{"nvme", cli_nvme},
	{"rpc", cli_rpc},
	{"store", cli_store},
	{"top", cli_top},
	{"volume", cli_volume},
};

int cli_main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "%s", help);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
		strcmp(argv[1], "help") == 0) {
		printf("%s", help);
		return CLI_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-v") == 0) {
		printf("sluice %s\n", SLUICE_VERSION);
		return CLI_OK;
	}
	for (int i = 1; i < argc; i++) {
		if (!cli_text_is_utf8(argv[i])) {
			cli_error("argument %d is not UTF-8, and JSON carries nothing else: rename "
				  "what it names",
				i);
			return CLI_USAGE;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	cli_error("there is no command '%s': see sluice --help", argv[1]);
	return CLI_USAGE;
}

int cli_flush(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	if (errno != EPIPE) /* else who read it has enough */
		cli_error("the output could not be written: %s", strerror(errno));
	return code ? code : CLI_FAILED;
}
