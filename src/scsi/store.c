/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store (store.h).
 *
 * A change is made in memory at once and written by a worker as a whole new file, which takes the
 * place of the old one. One write at a time: changes that come meanwhile are all in the next, and
 * done when that one is.
 *
 *	the power goes			the next start reads
 *	before the rename is stable	the file before; a new file that was not renamed is
 *					overwritten by the next write
 *	after it			the new file, which was stable before it was renamed
 */
#include "scsi/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/worker.h"

#define STORE_FORMAT    1
#define STORE_BYTES_MAX (64 << 20)

struct store_waiter {
	struct list link;
	done_fn done;
	void *arg;
};

struct scsi_store {
	struct os *os;
	struct reactor *control;
	char *directory;
	char *path;
	char *new_path;
	json_t *root;
	json_t *units; /* borrowed from root */

	struct worker_job job;
	char *text; /* being written; NULL: nothing is */
	struct list written; /* waiters whose changes are in text */
	struct list waiting; /* those of later changes */
};

/* ---- reading ------------------------------------------------------------------------------- */

static int store_parse(struct scsi_store *store, const char *text, struct reason *reason)
{
	json_error_t error;
	json_int_t format;

	store->root = json_loads(text, 0, &error);
	if (!store->root)
		return reason_set(reason, -EINVAL,
			"%s cannot be read (%s): restore it, or remove it to begin without what "
			"SCSI disks had saved",
			store->path, error.text);
	format = json_integer_value(json_object_get(store->root, "format"));
	store->units = json_object_get(store->root, "units");
	if (format == STORE_FORMAT && json_is_object(store->units))
		return 0;
	return reason_set(reason, -EINVAL,
		"%s is of another version of this program (format %d): use that, or remove it",
		store->path, (int)format);
}

static int store_begin_empty(struct scsi_store *store)
{
	store->root = json_pack("{s:i, s:{}}", "format", STORE_FORMAT, "units");
	store->units = json_object_get(store->root, "units");
	return store->units ? 0 : -ENOMEM;
}

static int store_read_file(struct scsi_store *store, int fd, struct reason *reason)
{
	struct os_file_info info;
	char *text;
	int64_t len;
	int rc = store->os->ops->file_info(store->os, fd, &info);

	if (!rc && info.size_bytes > STORE_BYTES_MAX)
		rc = -EFBIG;
	if (rc)
		return reason_set(reason, rc, "cannot read %s: %s", store->path, strerror(-rc));
	text = calloc(1, info.size_bytes + 1);
	if (!text)
		return -ENOMEM;
	len = store->os->ops->file_read(store->os, fd, text, info.size_bytes, 0);
	if (len < 0 || (uint64_t)len != info.size_bytes) {
		rc = len < 0 ? (int)len : -EIO;
		reason_set(reason, rc, "cannot read %s: %s", store->path, strerror(-rc));
	} else {
		rc = store_parse(store, text, reason);
	}
	free(text);
	return rc;
}

static int store_read(struct scsi_store *store, struct reason *reason)
{
	int fd;
	int rc = store->os->ops->file_open(store->os, store->path, OS_OPEN_READ, 0, &fd);

	if (rc == -ENOENT)
		return store_begin_empty(store);
	if (rc)
		return reason_set(reason, rc, "cannot open %s: %s", store->path, strerror(-rc));
	rc = store_read_file(store, fd, reason);
	store->os->ops->close(store->os, fd);
	return rc;
}

int scsi_store_open(struct os *os, struct reactor *control, const char *directory,
	struct reason *reason, struct scsi_store **ret_store)
{
	struct scsi_store *store = calloc(1, sizeof(*store));
	int rc = -ENOMEM;

	if (!store)
		return rc;
	store->os = os;
	store->control = control;
	list_init(&store->written);
	list_init(&store->waiting);
	store->directory = strdup(directory);
	if (store->directory && asprintf(&store->path, "%s/scsi.json", directory) >= 0 &&
		asprintf(&store->new_path, "%s/scsi.json.new", directory) >= 0)
		rc = store_read(store, reason);
	if (rc) {
		scsi_store_close(store);
		return rc;
	}
	*ret_store = store;
	return 0;
}

void scsi_store_close(struct scsi_store *store)
{
	invariant(!store->text);
	json_decref(store->root);
	free(store->new_path);
	free(store->path);
	free(store->directory);
	free(store);
}

/* ---- writing ------------------------------------------------------------------------------- */

/* On a worker. */
static int store_write_new(const struct scsi_store *store)
{
	const struct os_ops *ops = store->os->ops;
	size_t len = strlen(store->text);
	int64_t written;
	int fd;
	int rc = ops->file_open(store->os, store->new_path,
		OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_TRUNCATE, 0600, &fd);

	if (rc)
		return rc;
	written = ops->file_write(store->os, fd, store->text, len, 0);
	if (written < 0)
		rc = (int)written;
	else if ((size_t)written != len)
		rc = -EIO;
	if (!rc)
		rc = ops->file_sync(store->os, fd);
	ops->close(store->os, fd);
	return rc;
}

static int store_sync_directory(const struct scsi_store *store)
{
	const struct os_ops *ops = store->os->ops;
	int fd;
	int rc = ops->file_open(store->os, store->directory, OS_OPEN_DIRECTORY, 0, &fd);

	if (rc)
		return rc;
	rc = ops->file_sync(store->os, fd);
	ops->close(store->os, fd);
	return rc;
}

static int store_write(struct worker_job *job)
{
	const struct scsi_store *store = container_of(job, struct scsi_store, job);
	int rc = store_write_new(store);

	if (!rc)
		rc = store->os->ops->file_rename(store->os, store->new_path, store->path);
	if (!rc)
		rc = store_sync_directory(store);
	return rc;
}

static void store_written(void *arg, int rc);

static void store_start_write(struct scsi_store *store)
{
	store->text = json_dumps(store->root, JSON_INDENT(1) | JSON_SORT_KEYS);
	invariant(store->text);
	list_move_all(&store->written, &store->waiting);
	worker_run(&store->job, store->control, store_write, store_written, store);
}

static void store_written(void *arg, int rc)
{
	struct scsi_store *store = arg;
	struct list ended;
	struct store_waiter *waiter, *next;

	if (rc)
		log_error("cannot write %s: %s", store->path, strerror(-rc));
	free(store->text);
	store->text = NULL;
	list_init(&ended);
	list_move_all(&ended, &store->written);
	if (!list_is_empty(&store->waiting))
		store_start_write(store);
	list_for_each_entry_safe (waiter, next, &ended, link) {
		waiter->done(waiter->arg, rc);
		free(waiter);
	}
}

/* ---- values -------------------------------------------------------------------------------- */

const json_t *scsi_store_get(const struct scsi_store *store, const char *serial, const char *key)
{
	return store ? json_object_get(json_object_get(store->units, serial), key) : NULL;
}

static void store_change(
	struct scsi_store *store, const char *serial, const char *key, json_t *value)
{
	json_t *unit = json_object_get(store->units, serial);

	if (!unit && value) {
		unit = json_object();
		json_object_set_new(store->units, serial, unit);
	}
	if (value)
		json_object_set_new(unit, key, value);
	else
		json_object_del(unit, key);
	if (unit && json_object_size(unit) == 0)
		json_object_del(store->units, serial);
}

void scsi_store_set(struct scsi_store *store, const char *serial, const char *key, json_t *value,
	done_fn done, void *arg)
{
	struct store_waiter *waiter = alloc_op(sizeof(*waiter));

	waiter->done = done;
	waiter->arg = arg;
	store_change(store, serial, key, value);
	list_add_tail(&store->waiting, &waiter->link);
	if (!store->text)
		store_start_write(store);
}
