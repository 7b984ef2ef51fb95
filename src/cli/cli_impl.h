/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of this folder share.
 */
#ifndef CLI_CLI_IMPL_H
#define CLI_CLI_IMPL_H

#include <getopt.h>
#include <jansson.h>

#include "base/paths.h"
#include "cli/cli.h"

#define CLI_OK     0
#define CLI_FAILED 1
#define CLI_USAGE  2

/* ---- commands: argv[0] is the command's last word ---------------------------------------- */

int cli_config(int argc, char **argv);
int cli_rpc(int argc, char **argv);
int cli_disk(int argc, char **argv);
int cli_disk_attach(int argc, char **argv);
int cli_disk_detach(int argc, char **argv);
int cli_disk_list(int argc, char **argv);
int cli_io(int argc, char **argv);
int cli_nvme(int argc, char **argv);
int cli_store(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_volume(int argc, char **argv);

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

/* Its socket is there: for commands that do without a daemon. */
bool client_is_there(const struct client_options *options);
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

/* How people call it: a volume by its store and name, else its name. */
const char *bdev_label(const json_t *bdev);
/* What cannot be in the name of a socket or an id of QEMU's becomes "_". */
void name_make_plain(char *name);
/* For a block device over that file: the file's name without its suffix, not taken yet. */
void bdev_name_choose(const struct model *model, const char *file, char *ret_name, size_t size);
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

/* ---- volumes.c: stores and volumes ------------------------------------------------------- */

/* What a command of `sluice store` and `sluice volume` was asked for and works on. */
struct volume_command;

struct volume_work {
	struct client_options daemon;
	char **words;
	unsigned num_words;
	bool force, recursive, json, thick;
	uint64_t size_bytes; /* --size, 0: not said */
	uint64_t cluster_bytes; /* --cluster-size */
	int md_percent; /* --md-pages, 0: not said */
	int growth; /* --growth */
	uint32_t sector_bytes; /* --sector-size, 0: not said */
	const char *since; /* --since, NULL: not said */
	const char *format; /* --format, NULL: not said */
	const char *clear; /* --clear, NULL: not said */

	const struct volume_command *command;
	struct client *client;
	struct model model;
	json_t *stores; /* bdev_lvol_get_lvstores */
	json_t *volumes; /* bdev_lvol_get_lvols, always with our members */
};

struct volume_command {
	const char *name; /* the last word of the command */
	const char *program; /* all of its words, for sentences */
	const char *help;
	const char *short_options;
	const struct option *options;
	const char *wanted; /* the words that it takes, as in "name a store" */
	unsigned min_words, max_words;
	bool changes; /* one at a time on this machine */
	bool (*run)(struct volume_work *work); /* false after a sentence */
	bool usage; /* wants to know what is exclusive and what is shared */
};

#define OPTION_SIZE_TEXT_MAX 32
enum volume_option {
	VOLUME_SIZE = 256,
	VOLUME_RECURSIVE,
	VOLUME_JSON,
	VOLUME_THICK,
	VOLUME_MD_PAGES,
	VOLUME_GROWTH,
	VOLUME_SINCE,
	VOLUME_FORMAT,
	VOLUME_SECTOR_SIZE,
	VOLUME_CLEAR,
};

#define SECTOR_BYTES_DEFAULT 512u /* that images are made for */
#define SECTOR_BYTES_LARGE   4096u

/* The command among those (the last has no name) that argv[1] names; its exit code. */
int volume_command_run(
	const struct volume_command *commands, const char *help, int argc, char **argv);

/* Result (new reference) or NULL after "WORD: sentence" on stderr. */
json_t *volume_call(struct volume_work *work, const char *word, const char *method, json_t *params);
/* The same where the result does not matter. */
bool volume_do(struct volume_work *work, const char *word, const char *method, json_t *params);

/* Borrowed; NULL after a sentence on stderr. By name or UUID; a volume by "store/name". */
const json_t *store_find(const struct volume_work *work, const char *word);
const json_t *volume_find(const struct volume_work *work, const char *word);
/* NULL: there is none. */
const json_t *volume_bdev(const struct volume_work *work, const json_t *volume);
const char *volume_store_name(const json_t *volume);
json_t *volume_size(const json_t *volume); /* bytes; NULL: not known */
/* The name of its parent in the same store, "" when it has none. */
const char *volume_parent(const json_t *volume);
uint64_t store_cluster_bytes(const struct volume_work *work, const char *name);
/* "NAME" or "STORE/NAME" for something new in that store: its bare name, borrowed from word. NULL
 * after a sentence: another store's, or no name. */
const char *volume_new_name(const char *word, const char *store);
/* Of a bdev_lvol_create or bdev_lvol_resize: whole MiB as everybody understands them, else bytes,
 * which only ours does. */
void volume_size_set(json_t *params, uint64_t size_bytes);
/* Of a bdev_lvol_create or bdev_lvol_clone_bdev: --sector-size or, when it was not said, sectors of
 * that size. False after a sentence: this daemon cannot do what was said. */
bool volume_sectors_set(
	const struct volume_work *work, json_t *params, const json_t *store, uint32_t sector_bytes);
/* --clear, where it was said. */
void volume_clear_set(const struct volume_work *work, json_t *params);
/* "512M"; also where nothing is known: "-". */
json_t *size_cell(const json_t *bytes);
/* False after a sentence: somebody has it on a controller. */
bool bdev_check_unattached(const struct volume_work *work, const json_t *bdev, const char *word);

/* Commands that have a file of their own. */
extern const char store_create_help[], store_open_help[], volume_list_help[];
extern const char volume_attribute_help[], volume_shallow_copy_help[];
extern const char volume_export_help[], volume_import_help[];
bool volume_export_run(struct volume_work *work);
bool volume_import_run(struct volume_work *work);
bool store_create_run(struct volume_work *work);
bool store_open_run(struct volume_work *work);
bool volume_list_run(struct volume_work *work);
bool volume_attribute_run(struct volume_work *work);
bool volume_shallow_copy_run(struct volume_work *work);

/* Asks again what volumes and block devices there are. */
bool volumes_reload(struct volume_work *work);

/* ---- volume_copy.c: contents of volumes to and from files ------------------------------------ */

/* Parts of a volume, in clusters of the store that it is or was in. */
struct cluster_set {
	uint64_t cluster_bytes;
	uint64_t count; /* clusters */
	uint8_t *bits; /* the least significant first */
};

bool cluster_set_init(struct cluster_set *set, uint64_t cluster_bytes, uint64_t size_bytes);
void cluster_set_fini(struct cluster_set *set);
void cluster_set_add(struct cluster_set *set, uint64_t offset, uint64_t length); /* bytes */
/* Through the daemon, a part at a time, with progress on a terminal. False after a sentence, which
 * says when_full when there is no space. */
bool cluster_set_copy(struct volume_work *work, const struct cluster_set *set, uint64_t size_bytes,
	const char *source, const char *target, bool skip_zeroes, const char *when_full);
/* A block device over a file, for the time of a copy: its name, or false after a sentence. */
bool copy_file_open(struct volume_work *work, const char *path, bool readonly, uint32_t block_size,
	char *ret_bdev, size_t size);
bool copy_file_close(struct volume_work *work, const char *bdev);
/* Runs qemu-img with those arguments (the last is NULL). False after a sentence. */
bool qemu_img_run(const char *const *arguments);

/*
 * What an incremental export has behind the data, which is as large as the volume and holds only
 * what changed: a JSON object, then this. docs/volumes.md, "Export and import".
 */
#define INCREMENT_SIGNATURE    "Sluice increment" /* 16 bytes, no terminator */
#define INCREMENT_FOOTER_BYTES 24 /* the signature, and the length of the object (8) */

/* ---- image.c ----------------------------------------------------------------------------- */

/* A sparse file of that size, unless one is there. False after a sentence; *ret_made also then. */
bool image_make(const char *path, uint64_t size_bytes, bool *ret_made);
/* A kind of image whose bytes are not those of the disk, as qemu-img calls it; NULL: none known. */
const char *image_format_of(const char *path);
/* False after a sentence: nobody can want this as a disk. raw: whatever it looks like inside. */
bool image_check(const char *path, bool readonly, bool raw);
/* False after a sentence: something is on it, and that would be lost. */
bool image_check_blank(const char *path);

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
