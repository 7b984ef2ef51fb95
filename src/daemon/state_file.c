/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files of the state directory that hold the configuration:
 *
 *	config.json		what is kept
 *	config.json.previous	what was kept before: used when the former is damaged
 *	config.json.new		being written, or space taken for the next write (zeroes)
 *	config.json.damaged	what could not be understood, set aside
 *	state.lock		held by the daemon that has the directory
 *
 * Each is a configuration file that could be given with -c as well:
 *
 *	{"sluice_state": {"format": 1, "generation": 7, "crc32c": 123}, "subsystems": [...]}
 *
 * crc32c is that of the text "7 N", N being that of the subsystems as compact JSON. config.json
 * counts if it is whole, else of the next two the one that is and has the higher generation.
 *
 * Writing, and what a start finds when the daemon or the power goes before the step:
 *
 *	write new, over the space taken for it	config.json
 *	sync it					config.json
 *	config.json becomes previous		config.json
 *	new becomes config.json			new, which is whole; config.json is not there
 *	sync the directory			config.json, either one, or new as above
 *	take space for the next			config.json, the new one
 *
 * What was answered before is in config.json or previous all the time, and nothing is answered
 * before the directory is stable. Space is taken ahead so that a disk that fills up refuses the
 * change after this one before it happens instead of the one that has.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "daemon/config_file.h"
#include "daemon/state_impl.h"

#define STATE_FORMAT       1
#define STATE_RESERVE_MORE (256 * KIB) /* beyond what is kept now */

/* ---- the directory ------------------------------------------------------------------------- */

static int state_lock(struct state_file *file, struct reason *reason)
{
	const struct os_ops *ops = file->os->ops;
	struct reason holder = {0};
	char *path;
	int rc;

	if (asprintf(&path, "%s/state.lock", file->directory) < 0)
		return -ENOMEM;
	rc = ops->file_open(file->os, path, OS_OPEN_READ | OS_OPEN_WRITE | OS_OPEN_CREATE, 0600,
		&file->lock_fd);
	if (rc) {
		file->lock_fd = -1;
		reason_set(reason, rc, "cannot open %s: %s", path, strerror(-rc));
	} else {
		rc = ops->file_lock(file->os, file->lock_fd, true, &holder);
		if (rc == -EWOULDBLOCK)
			rc = reason_set(reason, -EBUSY,
				"the state directory %s is in use (%s): give each daemon its own "
				"with --state-dir, or none with --no-state",
				file->directory, reason_text(&holder, -EWOULDBLOCK));
		else if (rc)
			reason_set(reason, rc, "cannot lock %s: %s", path, strerror(-rc));
	}
	free(path);
	return rc;
}

int state_file_open(
	struct state_file *file, struct os *os, const char *directory, struct reason *reason)
{
	*file = (struct state_file){.os = os, .lock_fd = -1, .directory = strdup(directory)};
	if (!file->directory || asprintf(&file->path, "%s/config.json", directory) < 0 ||
		asprintf(&file->path_new, "%s/config.json.new", directory) < 0 ||
		asprintf(&file->path_previous, "%s/config.json.previous", directory) < 0 ||
		asprintf(&file->path_damaged, "%s/config.json.damaged", directory) < 0)
		return -ENOMEM;
	return state_lock(file, reason);
}

void state_file_close(struct state_file *file)
{
	if (file->lock_fd >= 0)
		file->os->ops->close(file->os, file->lock_fd);
	free(file->kept);
	free(file->path_damaged);
	free(file->path_previous);
	free(file->path_new);
	free(file->path);
	free(file->directory);
}

static int state_sync_directory(const struct state_file *file)
{
	const struct os_ops *ops = file->os->ops;
	int fd;
	int rc = ops->file_open(file->os, file->directory, OS_OPEN_DIRECTORY, 0, &fd);

	if (rc)
		return rc;
	rc = ops->file_sync(file->os, fd);
	ops->close(file->os, fd);
	return rc;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* What is in one of the files. */
struct candidate {
	bool exists;
	uint64_t generation; /* 0: it is not whole */
	json_t *subsystems;
	char *kept;
	char why[JSON_ERROR_TEXT_LENGTH + 64]; /* it is not whole */
};

static void candidate_fini(struct candidate *candidate)
{
	json_decref(candidate->subsystems);
	free(candidate->kept);
}

static uint32_t state_crc(uint64_t generation, const char *kept)
{
	char text[64];
	int len = snprintf(
		text, sizeof(text), "%" PRIu64 " %" PRIu32, generation, crc32c(kept, strlen(kept)));

	return crc32c(text, (size_t)len);
}

static int candidate_check(
	struct candidate *candidate, const json_t *root, const char *path, struct reason *reason)
{
	const json_t *head = json_object_get(root, "sluice_state");
	json_int_t format = json_integer_value(json_object_get(head, "format"));
	json_int_t crc = json_integer_value(json_object_get(head, "crc32c"));
	uint64_t generation = (uint64_t)json_integer_value(json_object_get(head, "generation"));

	if (format > STATE_FORMAT)
		return reason_set(reason, -EINVAL,
			"%s is of another version of this program (format %d): use that, or move "
			"the file away to begin without what was configured",
			path, (int)format);
	candidate->subsystems = json_incref(json_object_get(root, "subsystems"));
	candidate->kept = json_dumps(candidate->subsystems, JSON_COMPACT);
	if (format != STATE_FORMAT || !json_is_array(candidate->subsystems) || !candidate->kept)
		snprintf(candidate->why, sizeof(candidate->why), "it is no state of a daemon");
	else if (crc != state_crc(generation, candidate->kept))
		snprintf(candidate->why, sizeof(candidate->why), "its checksum does not fit");
	else
		candidate->generation = generation;
	return 0;
}

static int candidate_read(const struct state_file *file, const char *path,
	struct candidate *candidate, struct reason *reason)
{
	json_error_t error;
	json_t *root;
	char *text;
	size_t len;
	int rc = file_read_text(file->os, path, &text, &len);

	*candidate = (struct candidate){.exists = rc != -ENOENT};
	if (rc == -ENOENT)
		return 0;
	if (rc)
		return reason_set(reason, rc,
			"cannot read the state %s (%s): mend that, or move the file away", path,
			strerror(-rc));
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	free(text);
	if (!root) {
		snprintf(candidate->why, sizeof(candidate->why), "line %d: %s", error.line,
			error.text);
		return 0;
	}
	rc = candidate_check(candidate, root, path, reason);
	json_decref(root);
	return rc;
}

static void state_set_aside(
	struct state_file *file, const struct candidate *current, bool there_is_another)
{
	int rc = file->os->ops->file_rename(file->os, file->path, file->path_damaged);

	log_error("the state %s is damaged (%s): %s %s. %s", file->path, current->why,
		rc ? "it could not be set aside as" : "it is set aside as", file->path_damaged,
		there_is_another ? "What was kept before the last change is used"
				 : "There is none from before: nothing is set up");
}

/* config.json is not there or not whole: which of the other two, NULL: neither. */
static int state_choose_other(struct state_file *file, const struct candidate *current,
	struct candidate *new, struct candidate *previous, struct candidate **ret_chosen,
	struct reason *reason)
{
	const struct os_ops *ops = file->os->ops;
	int rc = candidate_read(file, file->path_new, new, reason);

	if (!rc)
		rc = candidate_read(file, file->path_previous, previous, reason);
	if (rc)
		return rc;
	if (current->exists)
		state_set_aside(file, current, new->generation || previous->generation);
	if (new->generation > previous->generation) {
		/* The step of writing that was not made. */
		rc = ops->file_rename(file->os, file->path_new, file->path);
		if (!rc)
			rc = state_sync_directory(file);
		*ret_chosen = new;
	} else if (previous->generation) {
		*ret_chosen = previous;
	}
	return rc ? reason_set(reason, rc, "cannot rename %s: %s", file->path_new, strerror(-rc))
		  : 0;
}

int state_file_read(struct state_file *file, struct reason *reason, json_t **ret_subsystems)
{
	struct candidate current, new = {0}, previous = {0};
	struct candidate *chosen = NULL;
	int rc = candidate_read(file, file->path, &current, reason);

	if (!rc && current.generation)
		chosen = &current;
	else if (!rc)
		rc = state_choose_other(file, &current, &new, &previous, &chosen, reason);
	if (!rc && chosen) {
		file->generation = chosen->generation;
		/* What is in previous has to be written again. */
		if (chosen != &previous)
			file->kept = strdup(chosen->kept);
		*ret_subsystems = json_incref(chosen->subsystems);
	} else if (!rc) {
		*ret_subsystems = json_array();
	}
	candidate_fini(&current);
	candidate_fini(&new);
	candidate_fini(&previous);
	return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int state_write_bytes(const struct state_file *file, int fd, const char *text, size_t len)
{
	int64_t written = file->os->ops->file_write(file->os, fd, text, len, 0);

	if (written < 0)
		return (int)written;
	return (size_t)written == len ? 0 : -ENOSPC;
}

static int state_write_new(const struct state_file *file, const char *text)
{
	const struct os_ops *ops = file->os->ops;
	int fd;
	int rc =
		ops->file_open(file->os, file->path_new, OS_OPEN_WRITE | OS_OPEN_CREATE, 0600, &fd);

	if (rc)
		return rc;
	rc = state_write_bytes(file, fd, text, strlen(text));
	if (!rc)
		rc = ops->file_truncate(file->os, fd, strlen(text));
	if (!rc)
		rc = ops->file_sync(file->os, fd);
	ops->close(file->os, fd);
	return rc;
}

static int state_rename(const struct state_file *file)
{
	const struct os_ops *ops = file->os->ops;
	int rc = ops->file_rename(file->os, file->path, file->path_previous);

	if (rc && rc != -ENOENT)
		return rc;
	rc = ops->file_rename(file->os, file->path_new, file->path);
	return rc ? rc : state_sync_directory(file);
}

/* Compact text, but each call on a line of its own. What is looked for cannot be within a string:
 * the quotes would have backslashes. */
static char *text_break_lines(char *text, const char *kept)
{
	static const char call[] = "{\"method\":";
	const char *next;

	while ((next = strstr(kept, call))) {
		text = mempcpy(text, kept, (size_t)(next - kept));
		*text++ = '\n';
		text = mempcpy(text, call, strlen(call));
		kept = next + strlen(call);
	}
	return stpcpy(text, kept);
}

/* With everything around it; the caller frees it. NULL without memory. */
static char *state_text(const struct state_file *file, const char *kept)
{
	uint64_t generation = file->generation + 1;
	/* A call is longer than the line's end. */
	char *text = malloc(2 * strlen(kept) + 256);
	char *end = text;

	if (!text)
		return NULL;
	end += sprintf(end,
		"{\"sluice_state\": {\"format\": %d, \"generation\": %" PRIu64
		", \"crc32c\": %" PRIu32 "},\n\"subsystems\": ",
		STATE_FORMAT, generation, state_crc(generation, kept));
	strcpy(text_break_lines(end, kept), "}\n");
	return text;
}

int state_file_write(struct state_file *file, const json_t *subsystems)
{
	char *kept = json_dumps(subsystems, JSON_COMPACT);
	char *text = NULL;
	int rc = kept ? 0 : -ENOMEM;

	if (!rc && file->kept && strcmp(kept, file->kept) == 0) {
		free(kept);
		return 0;
	}
	if (!rc && !(text = state_text(file, kept)))
		rc = -ENOMEM;
	if (!rc)
		rc = state_write_new(file, text);
	if (!rc)
		rc = state_rename(file);
	free(text);
	free(file->kept);
	/* After a failure nobody knows which of the two it is. */
	file->kept = rc ? NULL : kept;
	file->generation++;
	if (rc)
		free(kept);
	return rc;
}

int state_file_reserve(struct state_file *file)
{
	const struct os_ops *ops = file->os->ops;
	size_t len = (file->kept ? strlen(file->kept) : 0) + STATE_RESERVE_MORE;
	char *zeroes = calloc(1, len);
	int fd;
	int rc = zeroes ? 0 : -ENOMEM;

	if (!rc)
		rc = ops->file_open(file->os, file->path_new,
			OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_TRUNCATE, 0600, &fd);
	if (rc) {
		free(zeroes);
		return rc;
	}
	rc = state_write_bytes(file, fd, zeroes, len);
	ops->close(file->os, fd);
	free(zeroes);
	return rc;
}
