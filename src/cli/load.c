/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters are the daemon's (bdev_get_iostat), rates the difference between two looks. Percentiles
 * need a histogram, which is switched on for a disk when it is first seen to do something, coarse
 * enough to be asked for every second, unless somebody has one on it already.
 */
#include "cli/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/endian.h"

#define HISTOGRAM_GRANULARITY 3 /* bits: an eighth of the time */
#define HISTOGRAM_BUCKETS_MAX 65536

struct load_histogram {
	unsigned granularity;
	unsigned min_range;
	unsigned buckets;
	uint64_t counts[];
};

static uint64_t member_number(const json_t *object, const char *name)
{
	json_int_t number = json_integer_value(json_object_get(object, name));

	return number > 0 ? (uint64_t)number : 0;
}

void load_init(struct load *load, struct client *client)
{
	*load = (struct load){.client = client};
}

static void disk_forget(struct load *load, struct load_disk *disk)
{
	if (disk->counts_for_us)
		json_decref(client_call(load->client, "bdev_enable_histogram",
			json_pack("{s:s, s:b}", "name", disk->name, "enable", 0)));
	free(disk->histogram);
	free(disk->label);
	free(disk->name);
	*disk = load->disks[--load->disks_count];
}

void load_fini(struct load *load)
{
	while (load->disks_count)
		disk_forget(load, &load->disks[0]);
	free(load->disks);
}

/* ---- histograms ---------------------------------------------------------------------------- */

static struct load_histogram *histogram_decode(const json_t *told)
{
	const char *text = json_string_value(json_object_get(told, "histogram"));
	size_t size = HISTOGRAM_BUCKETS_MAX * sizeof(uint64_t);
	struct load_histogram *histogram = calloc(1, sizeof(*histogram) + size);
	int64_t bytes = text && histogram ? base64_decode(text, histogram->counts, size) : -1;

	if (bytes < 0) {
		free(histogram);
		return NULL;
	}
	histogram->granularity = (unsigned)member_number(told, "granularity") & 31;
	histogram->min_range = (unsigned)member_number(told, "min_range") & 63;
	histogram->buckets = (unsigned)((size_t)bytes / sizeof(uint64_t));
	for (unsigned i = 0; i < histogram->buckets; i++)
		histogram->counts[i] = le64_get(&histogram->counts[i]);
	return histogram;
}

/* The middle of a bucket, in us. */
static double bucket_us(const struct load_histogram *histogram, unsigned bucket)
{
	unsigned range = histogram->min_range + (bucket >> histogram->granularity);
	double per_range = (double)(UINT64_C(1) << histogram->granularity);
	double within = (double)(bucket & ((1u << histogram->granularity) - 1)) + 0.5;

	if (range == 0)
		return within / 1000;
	return (per_range + within) * (double)(UINT64_C(1) << (range - 1)) / 1000;
}

static void percentiles_find(struct load_disk *disk, const struct load_histogram *now)
{
	static const double shares[LOAD_PERCENTILES] = {0.5, 0.99, 0.999};
	const struct load_histogram *before = disk->histogram;
	uint64_t all = 0, so_far = 0;
	unsigned found = 0;

	if (!before || before->buckets != now->buckets)
		return;
	for (unsigned i = 0; i < now->buckets; i++)
		all += now->counts[i] - before->counts[i];
	for (unsigned i = 0; all && i < now->buckets; i++) {
		so_far += now->counts[i] - before->counts[i];
		while (found < LOAD_PERCENTILES && (double)so_far >= shares[found] * (double)all)
			disk->percentile_us[found++] = bucket_us(now, i);
	}
}

static void histogram_begin(struct load *load, struct load_disk *disk)
{
	json_t *begun = client_call(load->client, "bdev_enable_histogram",
		json_pack("{s:s, s:b, s:i, s:i}", "name", disk->name, "enable", 1, "min_nsec", 0,
			"granularity", HISTOGRAM_GRANULARITY));

	disk->counts_for_us = begun != NULL;
	json_decref(begun);
}

static void histogram_look(struct load *load, struct load_disk *disk)
{
	json_t *told;
	struct load_histogram *now;

	for (unsigned i = 0; i < LOAD_PERCENTILES; i++)
		disk->percentile_us[i] = -1;
	if (!load_requests(disk) && !disk->histogram)
		return;
	told = client_call(
		load->client, "bdev_get_histogram", json_pack("{s:s}", "name", disk->name));
	if (!told && !disk->histogram) {
		histogram_begin(load, disk);
		told = client_call(
			load->client, "bdev_get_histogram", json_pack("{s:s}", "name", disk->name));
	}
	now = told ? histogram_decode(told) : NULL;
	json_decref(told);
	if (now)
		percentiles_find(disk, now);
	free(disk->histogram);
	disk->histogram = now;
}

/* ---- disks --------------------------------------------------------------------------------- */

uint64_t load_requests(const struct load_disk *disk)
{
	return disk->more.reads + disk->more.writes;
}

double load_average_us(const struct load_disk *disk)
{
	uint64_t requests = load_requests(disk);

	return requests ? (double)disk->more.latency_ns / (double)requests / 1000 : -1;
}

double load_per_second(const struct load *load, uint64_t more)
{
	return load->seconds > 0 ? (double)more / load->seconds : 0;
}

static char *label_find(struct load *load, const char *name)
{
	json_t *told =
		client_call(load->client, "bdev_get_bdevs", json_pack("{s:s}", "name", name));
	const json_t *bdev = json_array_get(told, 0);
	char *label = strdup(bdev ? bdev_label(bdev) : name);

	json_decref(told);
	return label;
}

static struct load_disk *disk_find(struct load *load, const char *name)
{
	struct load_disk *disks;

	for (unsigned i = 0; i < load->disks_count; i++)
		if (strcmp(load->disks[i].name, name) == 0)
			return &load->disks[i];
	disks = realloc(load->disks, (load->disks_count + 1) * sizeof(*disks));
	if (!disks)
		return NULL;
	load->disks = disks;
	disks[load->disks_count] = (struct load_disk){.name = strdup(name)};
	disks[load->disks_count].label = label_find(load, name);
	return &disks[load->disks_count++];
}

static uint64_t errors_count(const json_t *told)
{
	uint64_t errors = 0;
	const char *name;
	json_t *count;

	json_object_foreach(json_object_get(told, "io_error"), name, count)
	{
		errors += (uint64_t)json_integer_value(count);
	}
	return errors;
}

static uint64_t advance(uint64_t *at, uint64_t now, bool first)
{
	uint64_t more = first || now < *at ? 0 : now - *at; /* somebody has reset them */

	*at = now;
	return more;
}

static void disk_look(struct load *load, const json_t *told)
{
	struct load_disk *disk = disk_find(load, json_member_text(told, "name"));
	bool first = disk && !disk->seen;

	if (!disk)
		return;
	disk->seen = load->looks;
	disk->more.reads = advance(&disk->at.reads, member_number(told, "num_read_ops"), first);
	disk->more.writes = advance(&disk->at.writes,
		member_number(told, "num_write_ops") + member_number(told, "num_unmap_ops"), first);
	disk->more.read_bytes =
		advance(&disk->at.read_bytes, member_number(told, "bytes_read"), first);
	disk->more.written_bytes =
		advance(&disk->at.written_bytes, member_number(told, "bytes_written"), first);
	disk->more.latency_ns = advance(&disk->at.latency_ns,
		member_number(told, "read_latency_ticks") +
			member_number(told, "write_latency_ticks") +
			member_number(told, "unmap_latency_ticks"),
		first);
	disk->more.errors = advance(&disk->at.errors, errors_count(told), first);
	histogram_look(load, disk);
}

/* ---- threads ------------------------------------------------------------------------------- */

static void threads_look(struct load *load, const json_t *told)
{
	size_t i;
	json_t *line;

	load->threads_count = 0;
	json_array_foreach(json_object_get(told, "threads"), i, line)
	{
		struct load_thread *thread = &load->threads[load->threads_count];
		uint64_t more =
			advance(&thread->busy_ns, member_number(line, "busy"), load->looks == 1);

		if (++load->threads_count > ARRAY_SIZE(load->threads) - 1)
			break;
		snprintf(thread->name, sizeof(thread->name), "%s", json_member_text(line, "name"));
		thread->busy = load_per_second(load, more) / 1e9;
	}
}

bool load_look(struct load *load)
{
	json_t *disks = client_call(load->client, "bdev_get_iostat", NULL);
	json_t *threads = disks ? client_call(load->client, "thread_get_stats", NULL) : NULL;
	uint64_t now_ns = member_number(disks, "ticks");
	size_t i;
	json_t *told;

	if (!threads) {
		cli_error("%s", client_error_text(load->client));
		json_decref(disks);
		return false;
	}
	load->looks++;
	load->seconds = load->at_ns ? (double)(now_ns - load->at_ns) / 1e9 : 0;
	load->at_ns = now_ns;
	json_array_foreach(json_object_get(disks, "bdevs"), i, told)
	{
		disk_look(load, told);
	}
	for (unsigned d = load->disks_count; d-- > 0;)
		if (load->disks[d].seen != load->looks)
			disk_forget(load, &load->disks[d]);
	threads_look(load, threads);
	json_decref(threads);
	json_decref(disks);
	return true;
}
