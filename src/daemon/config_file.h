/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration files of SPDK's form: JSON with comments, of whose root only "subsystems" counts.
 */
#ifndef DAEMON_CONFIG_FILE_H
#define DAEMON_CONFIG_FILE_H

#include <jansson.h>

#include "base/reason.h"
#include "os/os.h"

#define CONFIG_FILE_BYTES_MAX (64u << 20)

/* The whole file with a NUL behind it; the caller frees it. Blocks. -ENOENT, -EISDIR, -EFBIG... */
int file_read_text(struct os *os, const char *path, char **ret_text, size_t *ret_len) MUST_CHECK;

/* The value of "subsystems", a new reference; an empty array, and a warning, where there is none.
 * Blocks. */
int config_file_read(
	struct os *os, const char *path, struct reason *reason, json_t **ret_subsystems) MUST_CHECK;

/* Comments become blanks, so that lines and columns stay what they are. */
void config_text_blank_comments(char *text, size_t len);

#endif
