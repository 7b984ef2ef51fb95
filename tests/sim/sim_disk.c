/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contents of a file or device, twice: `now` is what a read sees, `durable` what no power cut can
 * take. Both are sparse tables of 4 KiB pages. Between them stand the unflushed writes in the order
 * in which they were done, each with its data:
 *
 *	now = durable + all unflushed writes, oldest first
 *
 * A flush applies writes to durable and forgets them. What becomes durable at once (DSYNC) is cut
 * out of the older unflushed writes, since they may no longer come through over it.
 *
 * A power cut keeps of the unflushed writes what the seed says, in one of four moods: none, all,
 * all up to some moment (a cache that writes back in order), or each by itself whole, torn or lost
 * (a cache that does not). Mixed per write rather than per sector: a record that has survived
 * whole while an older one is lost is what most mistakes need to show, and would never be drawn.
 */
#include <stdlib.h>
#include <string.h>

/* The only keys are page numbers, and clang warns about the default function. */
#define HASH_FUNCTION(key, len, hash) ((hash) = page_hash(key))
#include <uthash.h>

#include "sim/sim_impl.h"

#define PAGE 4096u

static unsigned page_hash(const uint64_t *number)
{
	return (unsigned)(*number * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

struct sim_page {
	UT_hash_handle hh;
	uint64_t number;
	unsigned char data[PAGE];
};

struct sim_write {
	struct list link;
	uint64_t seq;
	uint64_t offset;
	uint64_t len;
	unsigned char *data; /* NULL: zeroes */
};

/* ---- pages ---- */

static struct sim_page *page_find(struct sim_page *pages, uint64_t number)
{
	struct sim_page *page;

	HASH_FIND(hh, pages, &number, sizeof(number), page);
	return page;
}

static struct sim_page *page_make(struct sim_page **pages, uint64_t number)
{
	struct sim_page *page = page_find(*pages, number);

	if (page)
		return page;
	page = sim_alloc(sizeof(*page));
	page->number = number;
	HASH_ADD(hh, *pages, number, sizeof(page->number), page);
	return page;
}

static void page_drop(struct sim_page **pages, struct sim_page *page)
{
	HASH_DELETE(hh, *pages, page);
	free(page);
}

static void pages_zero_one(struct sim_page **pages, uint64_t number, unsigned start, unsigned end)
{
	struct sim_page *page = page_find(*pages, number);

	if (!page)
		return;
	if (start == 0 && end == PAGE)
		page_drop(pages, page);
	else
		memset(page->data + start, 0, end - start);
}

static void pages_zero(struct sim_page **pages, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len;

	/* A range with more pages than the table: go through the table. */
	if (len / PAGE > HASH_COUNT(*pages)) {
		struct sim_page *page, *next;

		HASH_ITER (hh, *pages, page, next) {
			uint64_t start = page->number * PAGE;

			if (start >= offset && start + PAGE <= end)
				page_drop(pages, page);
		}
		if (offset / PAGE != end / PAGE)
			pages_zero_one(pages, end / PAGE, 0, (unsigned)(end % PAGE));
		end = u64_min(end, align_up(offset, PAGE));
	}
	while (offset < end) {
		unsigned start = (unsigned)(offset % PAGE);
		unsigned part = (unsigned)u64_min(PAGE - start, end - offset);

		pages_zero_one(pages, offset / PAGE, start, start + part);
		offset += part;
	}
}

static void pages_write(
	struct sim_page **pages, uint64_t offset, const unsigned char *data, uint64_t len)
{
	if (!data) {
		pages_zero(pages, offset, len);
		return;
	}
	while (len > 0) {
		unsigned start = (unsigned)(offset % PAGE);
		unsigned part = (unsigned)u64_min(PAGE - start, len);

		memcpy(page_make(pages, offset / PAGE)->data + start, data, part);
		offset += part;
		data += part;
		len -= part;
	}
}

static void pages_free(struct sim_page **pages)
{
	struct sim_page *page, *next;

	HASH_ITER (hh, *pages, page, next) {
		page_drop(pages, page);
	}
}

static void pages_copy(struct sim_page **to, struct sim_page *from)
{
	pages_free(to);
	for (struct sim_page *page = from; page; page = page->hh.next)
		memcpy(page_make(to, page->number)->data, page->data, PAGE);
}

/* ---- unflushed writes ---- */

static void write_add(
	struct list *where, uint64_t seq, uint64_t offset, const unsigned char *data, uint64_t len)
{
	struct sim_write *write = sim_alloc(sizeof(*write));

	write->seq = seq;
	write->offset = offset;
	write->len = len;
	if (data) {
		write->data = sim_alloc(len);
		memcpy(write->data, data, len);
	}
	list_add_tail(where, &write->link);
}

static void write_free(struct sim_write *write)
{
	list_remove(&write->link);
	free(write->data);
	free(write);
}

/* Cuts the range out of the unflushed writes. */
static void writes_forget(struct sim_disk *disk, uint64_t offset, uint64_t len)
{
	struct sim_write *write, *next;
	uint64_t end = len > UINT64_MAX - offset ? UINT64_MAX : offset + len;

	list_for_each_entry_safe (write, next, &disk->unflushed, link) {
		uint64_t write_end = write->offset + write->len;

		if (write->offset >= end || write_end <= offset)
			continue;
		/* The pieces stand before the old one: the order stays. */
		if (write->offset < offset)
			write_add(&write->link, write->seq, write->offset, write->data,
				offset - write->offset);
		if (write_end > end)
			write_add(&write->link, write->seq, end,
				write->data ? write->data + (end - write->offset) : NULL,
				write_end - end);
		write_free(write);
	}
}

/* ---- the disk ---- */

void sim_disk_init(struct sim_disk *disk, uint64_t size)
{
	*disk = (struct sim_disk){.size = size, .durable_size = size};
	list_init(&disk->unflushed);
}

void sim_disk_fini(struct sim_disk *disk)
{
	struct sim_write *write, *next;

	list_for_each_entry_safe (write, next, &disk->unflushed, link)
		write_free(write);
	pages_free(&disk->now);
	pages_free(&disk->durable);
}

void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf, size_t len)
{
	unsigned char *to = buf;

	while (len > 0) {
		unsigned start = (unsigned)(offset % PAGE);
		unsigned part = (unsigned)u64_min(PAGE - start, len);
		const struct sim_page *page = page_find(disk->now, offset / PAGE);

		if (page)
			memcpy(to, page->data + start, part);
		else
			memset(to, 0, part);
		offset += part;
		to += part;
		len -= part;
	}
}

void sim_disk_write(
	struct sim_disk *disk, uint64_t seq, uint64_t offset, const void *data, uint64_t len)
{
	if (len == 0)
		return;
	pages_write(&disk->now, offset, data, len);
	write_add(&disk->unflushed, seq, offset, data, len);
	disk->size = u64_max(disk->size, offset + len);
}

void sim_disk_poke(struct sim_disk *disk, uint64_t offset, const void *data, uint64_t len)
{
	if (len == 0)
		return;
	writes_forget(disk, offset, len);
	pages_write(&disk->now, offset, data, len);
	pages_write(&disk->durable, offset, data, len);
	disk->size = u64_max(disk->size, offset + len);
	disk->durable_size = u64_max(disk->durable_size, offset + len);
}

static void write_survive(struct sim_disk *disk, const struct sim_write *write)
{
	pages_write(&disk->durable, write->offset, write->data, write->len);
	disk->durable_size = u64_max(disk->durable_size, write->offset + write->len);
}

void sim_disk_flush(struct sim_disk *disk, uint64_t seq)
{
	struct sim_write *write, *next;

	list_for_each_entry_safe (write, next, &disk->unflushed, link) {
		if (write->seq > seq)
			continue;
		write_survive(disk, write);
		write_free(write);
	}
}

void sim_disk_resize(struct sim_disk *disk, uint64_t size)
{
	if (size < disk->size) {
		writes_forget(disk, size, UINT64_MAX - size);
		pages_zero(&disk->now, size, align_up(disk->size, PAGE) - size);
		pages_zero(&disk->durable, size, align_up(disk->size, PAGE) - size);
	}
	disk->size = size;
	disk->durable_size = size;
}

unsigned sim_disk_unflushed(const struct sim_disk *disk)
{
	const struct sim_write *write;
	unsigned count = 0;

	list_for_each_entry (write, &disk->unflushed, link)
		count++;
	return count;
}

/* ---- power cut ---- */

static void write_tear(struct sim_disk *disk, struct sim *sim, const struct sim_write *write,
	unsigned atomic_bytes)
{
	uint64_t end = write->offset + write->len;
	uint64_t next;

	for (uint64_t at = write->offset; at < end; at = next) {
		next = u64_min(end, align_down(at, atomic_bytes) + atomic_bytes);
		if (sim_chance(sim, 2)) {
			pages_write(&disk->durable, at,
				write->data ? write->data + (at - write->offset) : NULL, next - at);
			disk->durable_size = u64_max(disk->durable_size, next);
		}
	}
}

static void write_draw(struct sim_disk *disk, struct sim *sim, const struct sim_write *write,
	unsigned atomic_bytes)
{
	switch (sim_random(sim, 5)) {
	case 0:
	case 1:
		break;
	case 2:
	case 3:
		write_survive(disk, write);
		break;
	default:
		write_tear(disk, sim, write, atomic_bytes);
		break;
	}
}

void sim_disk_cut(struct sim_disk *disk, struct sim *sim, unsigned atomic_bytes)
{
	enum { NONE, ALL, PREFIX, EACH } mood = (unsigned)sim_random(sim, 4);
	uint64_t kept = mood == ALL ? UINT64_MAX : 0;
	struct sim_write *write, *next;

	if (mood == PREFIX)
		kept = sim_random(sim, sim_disk_unflushed(disk) + 1);
	list_for_each_entry_safe (write, next, &disk->unflushed, link) {
		if (mood == EACH)
			write_draw(disk, sim, write, atomic_bytes);
		else if (kept > 0 && kept--)
			write_survive(disk, write);
		write_free(write);
	}
	pages_copy(&disk->now, disk->durable);
	disk->size = disk->durable_size;
}
