/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of this folder share.
 */
#ifndef CLI_CLI_IMPL_H
#define CLI_CLI_IMPL_H

#include <jansson.h>

#include "base/paths.h"
#include "cli/cli.h"

#define CLI_OK     0
#define CLI_FAILED 1
#define CLI_USAGE  2

/* ---- commands: argv[0] is the command's last word ---------------------------------------- */

int cli_rpc(int argc, char **argv);
int cli_disk(int argc, char **argv);
int cli_disk_attach(int argc, char **argv);
int cli_disk_detach(int argc, char **argv);
int cli_disk_list(int argc, char **argv);

/* ---- client.c ---------------------------------------------------------------------------- */

struct client;

struct client_options {
	const char *rpc_socket; /* NULL: $SLUICE_RPC_SOCKET or the daemon's default */
	unsigned timeout_s; /* for each answer; 0: a default for the first, none for others */
};

/* The options of every command that has a client: "rpc-socket" (r) and "timeout" (t). */
#define CLIENT_SHORT_OPTIONS "r:t:h"
#define CLIENT_LONG_OPTIONS                                                                        \
	{"rpc-socket", required_argument, NULL, 'r'}, {"timeout", required_argument, NULL, 't'},   \
	{                                                                                          \
		"help", no_argument, NULL, 'h'                                                     \
	}
#define CLIENT_HELP                                                                                \
	"  -r, --rpc-socket PATH  the daemon's management socket\n"                                \
	"  -t, --timeout SECONDS  give up when an answer takes longer (default: 10 for the "       \
	"first,\n"                                                                                 \
	"                         no limit for the operation itself)\n"
/* optarg into options; false after a sentence on stderr, also for an option that is neither. */
bool client_options_take(struct client_options *options, int option);

/* NULL after a sentence on stderr. The daemon has answered once. */
struct client *client_open(const struct client_options *options);
/* For commands that look what is there and then change it: one at a time on this machine, until the
 * client is closed. A record lock on the daemon's own lock file, whose flock it does not disturb.
 * False after a sentence on stderr. */
bool client_lock(struct client *client);
void client_close(struct client *client);

/* params is handed over, NULL: none. The result (new reference), or NULL with the answer's code in
 * client_error_code (0: there was no answer) and a sentence in client_error_text. */
json_t *client_call(struct client *client, const char *method, json_t *params);
int client_error_code(const struct client *client);
const char *client_error_text(const struct client *client);
/* It knows what only we have: parameters that SPDK's target would refuse. */
bool client_is_ours(const struct client *client);

/* ---- model.c: what the daemon has -------------------------------------------------------- */

struct model {
	json_t *bdevs; /* bdev_get_bdevs */
	json_t *controllers; /* vhost_get_controllers */
};

/* False after a sentence on stderr. */
bool model_load(struct client *client, struct model *model);
void model_free(struct model *model);

/* Borrowed; NULL: there is none. By name, alias or UUID. */
const json_t *model_bdev(const struct model *model, const char *name);
/* The one over that file (absolute path, or a link to what is there). */
const json_t *model_bdev_of_file(const struct model *model, const char *filename);
const json_t *model_controller(const struct model *model, const char *name);

/* What a word on the command line means: a block device by its name, or a file, whose absolute path
 * is in *ret_file (to be freed; NULL: no file was meant or it does not exist) and whose block
 * device in *ret_bdev, if it has one. file_is_open: only a file that has one can be meant. False
 * after a sentence on stderr: it may be two things. */
bool disk_word_find(const struct model *model, const char *word, bool file_is_open,
	const json_t **ret_bdev, char **ret_file);

/* A text member, "" when absent. */
const char *json_member_text(const json_t *object, const char *name);
const char *bdev_filename(const json_t *bdev);
bool bdev_is_read_only(const json_t *bdev);
/* Of a controller: its SCSI targets (array), or NULL when it is a block controller. */
const json_t *controller_targets(const json_t *controller);
/* Of a block controller: the device's name, "" after its removal. */
const char *controller_bdev(const json_t *controller);
bool controller_is_connected(const json_t *controller);
bool controller_is_empty(const json_t *controller); /* no disk on it */

/* A place is where a disk is attached, or could be: an object with bus, controller, socket,
 * connected, of a SCSI controller also target and lun, of a disk also readonly. New references. */
json_t *places_of_bdev(const struct model *model, const json_t *bdev);
json_t *place_of_controller(const json_t *controller, const json_t *target, const json_t *lun);

/* ---- image.c ----------------------------------------------------------------------------- */

/* A sparse file of that size, unless one is there. False after a sentence; *ret_made also then. */
bool image_make(const char *path, uint64_t size_bytes, bool *ret_made);
/* False after a sentence: nobody can want this as a disk. raw: whatever it looks like inside. */
bool image_check(const char *path, bool readonly, bool raw);

/* ---- output.c ---------------------------------------------------------------------------- */

/* "sluice COMMAND: sentence" on stderr. */
void cli_error(const char *fmt, ...) PRINTF_LIKE(1, 2);

void json_print(const json_t *value); /* indented, with a newline */
#define CLI_TARGET_MAX 255
#define CLI_LUN_MAX    16383
/* An option's number, 0 to max; false after a sentence on stderr. */
bool cli_number_read(const char *option, const char *text, int max, int *ret_number);

/* JSON can carry no other. */
bool cli_text_is_utf8(const char *text);
void shell_print(const char *word); /* quoted for a shell */

/* Rows of text; on a terminal in columns under the head, elsewhere one tab between cells. */
void table_print(const char *const *head, unsigned columns, const json_t *rows);

#endif
