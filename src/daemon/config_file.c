/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a configuration file (config_file.h). What its entries mean is for src/control; here it
 * is only found that it is a JSON object, and where it is not.
 */
#include "daemon/config_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

int file_read_text(struct os *os, const char *path, char **ret_text, size_t *ret_len)
{
	const struct os_ops *ops = os->ops;
	struct os_file_info info;
	char *text = NULL;
	int64_t len;
	int fd;
	int rc = ops->file_open(os, path, OS_OPEN_READ, 0, &fd);

	if (rc)
		return rc;
	rc = ops->file_info(os, fd, &info);
	if (!rc && info.size_bytes > CONFIG_FILE_BYTES_MAX)
		rc = -EFBIG;
	if (!rc && !(text = calloc(1, info.size_bytes + 1)))
		rc = -ENOMEM;
	if (!rc) {
		len = ops->file_read(os, fd, text, info.size_bytes, 0);
		rc = len < 0 ? (int)len : (uint64_t)len != info.size_bytes ? -EIO : 0;
	}
	ops->close(os, fd);
	if (rc) {
		free(text);
		return rc;
	}
	*ret_text = text;
	*ret_len = info.size_bytes;
	return 0;
}

/* The character after a comment that begins at text[i]; i when there is none. */
static size_t comment_end(const char *text, size_t len, size_t i)
{
	const char *end;

	if (i + 1 >= len || text[i] != '/')
		return i;
	if (text[i + 1] == '/') {
		end = memchr(text + i, '\n', len - i);
		return end ? (size_t)(end - text) : len;
	}
	if (text[i + 1] != '*')
		return i;
	end = memmem(text + i + 2, len - i - 2, "*/", 2);
	/* One without an end is left for the parser to refuse. */
	return end ? (size_t)(end - text) + 2 : i;
}

/* The character after the string that begins at text[i]. */
static size_t string_end(const char *text, size_t len, size_t i)
{
	for (i++; i < len && text[i] != '"'; i++) {
		if (text[i] == '\\')
			i++;
	}
	return i + 1;
}

void config_text_blank_comments(char *text, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t end = comment_end(text, len, i);

		if (text[i] == '"')
			i = string_end(text, len, i);
		else if (end == i)
			i++;
		for (; i < end; i++) {
			if (text[i] != '\n')
				text[i] = ' ';
		}
	}
}

static int config_text_parse(const char *text, size_t len, const char *path, struct reason *reason,
	json_t **ret_subsystems)
{
	json_error_t error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	json_t *subsystems;

	if (!root)
		return reason_set(reason, -EINVAL, "configuration file %s, line %d, column %d: %s",
			path, error.line, error.column, error.text);
	if (!json_is_object(root)) {
		json_decref(root);
		return reason_set(
			reason, -EINVAL, "configuration file %s holds no JSON object", path);
	}
	subsystems = json_incref(json_object_get(root, "subsystems"));
	if (!subsystems) {
		log_warning("configuration file %s has no subsystems: nothing is set up", path);
		subsystems = json_array();
	}
	json_decref(root);
	*ret_subsystems = subsystems;
	return 0;
}

int config_file_read(
	struct os *os, const char *path, struct reason *reason, json_t **ret_subsystems)
{
	size_t len;
	char *text;
	int rc = file_read_text(os, path, &text, &len);

	if (rc)
		return reason_set(reason, rc, "cannot read the configuration file %s: %s", path,
			strerror(-rc));
	config_text_blank_comments(text, len);
	rc = config_text_parse(text, len, path, reason, ret_subsystems);
	free(text);
	return rc;
}
