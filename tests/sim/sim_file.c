/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names and files, and what a test does to them. Names are one flat table; what a name stands for
 * lives until sim_destroy, so that a test's handle does. Creating, renaming and unlinking are
 * durable at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/sim_impl.h"

struct sim_name {
	struct list link;
	struct sim_file *file;
	char path[];
};

/* ---- names ---- */

struct sim_name *sim_name_find(struct sim *sim, const char *path)
{
	struct sim_name *name;

	list_for_each_entry (name, &sim->names, link) {
		if (strcmp(name->path, path) == 0)
			return name;
	}
	return NULL;
}

struct sim_file *sim_file_find(struct sim *sim, const char *path)
{
	struct sim_name *name = sim_name_find(sim, path);

	return name ? name->file : NULL;
}

static void name_set(struct sim *sim, const char *path, struct sim_file *file)
{
	struct sim_name *name = sim_alloc(sizeof(*name) + strlen(path) + 1);

	strcpy(name->path, path);
	name->file = file;
	list_add_tail(&sim->names, &name->link);
}

static void name_remove(struct sim_name *name)
{
	list_remove(&name->link);
	free(name);
}

void sim_names_free(struct sim *sim)
{
	struct sim_name *name, *next;

	list_for_each_entry_safe (name, next, &sim->names, link)
		name_remove(name);
}

/* Every simulated host has these. */
void sim_names_init(struct sim *sim)
{
	static const char *const given[] = {
		"", "/", ".", "/run", "/tmp", "/dev", "/var", "/var/lib"};

	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		name_set(sim, given[i], sim_file_new(sim, OS_FILE_DIRECTORY));
}

static int parent_check(struct sim *sim, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct sim_file *parent;
	char *directory;

	if (!slash)
		return 0;
	directory = sim_alloc((size_t)(slash - path) + 1);
	memcpy(directory, path, (size_t)(slash - path));
	parent = sim_file_find(sim, directory);
	free(directory);
	if (!parent)
		return -ENOENT;
	return parent->kind == OS_FILE_DIRECTORY ? 0 : -ENOTDIR;
}

int sim_name_add(struct sim *sim, const char *path, struct sim_file *file)
{
	int rc = parent_check(sim, path);

	if (!rc)
		name_set(sim, path, file);
	return rc;
}

/* ---- files ---- */

struct sim_file *sim_file_new(struct sim *sim, enum os_file_kind kind)
{
	struct sim_file *file = sim_alloc(sizeof(*file));

	file->sim = sim;
	file->id = sim->next_id++;
	file->kind = kind;
	sim_disk_init(&file->disk, 0);
	list_init(&file->opens);
	list_init(&file->faults);
	file->memfd = -1;
	file->block_size = 512;
	file->memory_align = 512;
	file->offset_align = 512;
	file->discard_granularity = 4096;
	file->zero_range = true;
	file->limit = UINT64_MAX;
	list_add_tail(&sim->files, &file->link);
	return file;
}

void sim_file_free(struct sim_file *file)
{
	struct sim_file_fault *fault, *next;

	list_for_each_entry_safe (fault, next, &file->faults, link) {
		list_remove(&fault->link);
		free(fault);
	}
	if (file->memfd >= 0)
		close(file->memfd);
	sim_disk_fini(&file->disk);
	list_remove(&file->link);
	free(file);
}

static void make_parents(struct sim *sim, const char *path)
{
	char *directory = strdup(path);

	invariant(directory != NULL);
	for (char *p = directory + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (!sim_file_find(sim, directory))
			name_set(sim, directory, sim_file_new(sim, OS_FILE_DIRECTORY));
		*p = '/';
	}
	free(directory);
}

struct sim_file *sim_file_create(struct sim *sim, const char *path, uint64_t size_bytes)
{
	struct sim_file *file = sim_file_new(sim, OS_FILE_REGULAR);

	make_parents(sim, path);
	name_set(sim, path, file);
	sim_disk_resize(&file->disk, size_bytes);
	return file;
}

struct sim_file *sim_device_create(
	struct sim *sim, const char *path, uint64_t size_bytes, unsigned block_size)
{
	struct sim_file *file = sim_file_create(sim, path, size_bytes);

	file->kind = OS_FILE_BLOCK;
	file->block_size = block_size;
	file->offset_align = block_size;
	return file;
}

uint64_t sim_file_size(const struct sim_file *file)
{
	return file->disk.size;
}

void sim_file_peek(const struct sim_file *file, uint64_t offset, void *buf, size_t len)
{
	sim_disk_read(&file->disk, offset, buf, len);
}

void sim_file_poke(struct sim_file *file, uint64_t offset, const void *buf, size_t len)
{
	sim_disk_poke(&file->disk, offset, buf, len);
}

void sim_file_resize(struct sim_file *file, uint64_t size_bytes)
{
	sim_disk_resize(&file->disk, size_bytes);
}

void sim_file_set_direct(struct sim_file *file, unsigned memory_align, unsigned offset_align)
{
	file->memory_align = memory_align;
	file->offset_align = offset_align;
}

void sim_file_set_discard(struct sim_file *file, unsigned granularity)
{
	file->discard_granularity = granularity;
}

void sim_file_set_zero_range(struct sim_file *file, bool supported)
{
	file->zero_range = supported;
}

void sim_file_set_latency(struct sim_file *file, uint64_t min_ns, uint64_t max_ns)
{
	file->latency_min_ns = min_ns;
	file->latency_max_ns = max_ns;
}

void sim_file_fail_range(
	struct sim_file *file, uint64_t offset, uint64_t length, int error, unsigned count)
{
	struct sim_file_fault *fault = sim_alloc(sizeof(*fault));

	*fault = (struct sim_file_fault){
		.offset = offset, .length = length, .error = error, .count = count};
	list_add_tail(&file->faults, &fault->link);
}

void sim_file_limit(struct sim_file *file, uint64_t bytes)
{
	file->limit = bytes;
}

void sim_file_shorten(struct sim_file *file, unsigned count)
{
	file->shorten = count;
}

void sim_file_hold(struct sim_file *file)
{
	file->held = true;
}

void sim_file_release(struct sim_file *file)
{
	file->held = false;
}

unsigned sim_file_in_flight(const struct sim_file *file)
{
	const struct sim_io *sio;
	unsigned count = 0;

	list_for_each_entry (sio, &file->sim->in_flight, link)
		count += sio->open->file == file;
	return count;
}

unsigned sim_file_unflushed(const struct sim_file *file)
{
	return sim_disk_unflushed(&file->disk);
}

int sim_file_fault(struct sim_file *file, uint64_t offset, uint64_t len)
{
	struct sim_file_fault *fault;

	list_for_each_entry (fault, &file->faults, link) {
		bool apart = offset >= fault->offset + fault->length ||
			     offset + u64_max(len, 1) <= fault->offset;

		if (fault->count > 0 && !apart) {
			fault->count--;
			return -fault->error;
		}
	}
	return 0;
}

int64_t sim_file_admit(struct sim_file *file, const struct sim_open *open, bool write,
	uint64_t offset, uint64_t len)
{
	bool bounded = !write || file->kind == OS_FILE_BLOCK;

	if (len == 0)
		return 0;
	if (bounded && offset >= file->disk.size)
		return write ? -ENOSPC : 0;
	if (bounded)
		len = u64_min(len, file->disk.size - offset);
	if (file->shorten > 0 && len > 512) {
		file->shorten--;
		len = 512 * (1 + sim_random(file->sim, (len + 511) / 512 - 1));
	}
	if (write && file->limit == 0)
		return -ENOSPC;
	if (write && file->limit != UINT64_MAX) {
		len = u64_min(len, file->limit);
		file->limit -= len;
	}
	return (int64_t)len;
}

/* ---- calls on names ---- */

int sim_file_rename(struct os *os, const char *from, const char *to)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_name *name = sim_name_find(sim, from);
	struct sim_name *covered = sim_name_find(sim, to);
	struct sim_file *file;
	int rc = sim_call_blocking(process, SIM_CALL_FILE_RENAME);

	if (rc)
		return rc;
	if (!name)
		return -ENOENT;
	if (name == covered)
		return 0;
	rc = parent_check(sim, to);
	if (rc)
		return rc;
	if (covered)
		name_remove(covered);
	file = name->file;
	name_remove(name);
	name_set(sim, to, file);
	return 0;
}

int sim_file_unlink(struct os *os, const char *path)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_name *name = sim_name_find(process->sim, path);
	int rc = sim_call_blocking(process, SIM_CALL_FILE_UNLINK);

	if (rc)
		return rc;
	if (!name)
		return -ENOENT;
	if (name->file->kind == OS_FILE_DIRECTORY)
		return -EISDIR;
	name_remove(name);
	return 0;
}

int sim_directory_create(struct os *os, const char *path, unsigned mode)
{
	struct sim_process *process = sim_process_of(os);
	int rc = sim_call_blocking(process, SIM_CALL_DIRECTORY_CREATE);

	if (!rc)
		rc = parent_check(process->sim, path);
	if (rc)
		return rc;
	if (sim_file_find(process->sim, path))
		return -EEXIST;
	return sim_name_add(process->sim, path, sim_file_new(process->sim, OS_FILE_DIRECTORY));
}
