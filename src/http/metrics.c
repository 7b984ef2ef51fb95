/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A look at everything as text for Prometheus (exposition format 0.0.4). A value of a label is
 * escaped; names are those of the daemon, and a volume's is store/name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_impl.h"

#define STUCK_US 5000000

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static double number_of(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

static void label_print(FILE *out, const char *name, const char *value)
{
	fprintf(out, "{%s=\"", name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
	fputs("\"}", out);
}

struct metric {
	const char *name;
	const char *type;
	const char *help;
	const char *member;
	double scale;
};

static void head_print(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}

/* One metric of all objects of a list. */
static void metric_print(FILE *out, const struct metric *metric, const json_t *list,
	const char *label, const char *(*name_of)(const json_t *found, const json_t *object),
	const json_t *found)
{
	json_t *object;
	size_t i;

	head_print(out, metric->name, metric->type, metric->help);
	json_array_foreach((json_t *)(uintptr_t)list, i, object)
	{
		fprintf(out, "sluice_%s", metric->name);
		label_print(out, label, name_of(found, object));
		fprintf(out, " %.17g\n", number_of(object, metric->member) * metric->scale);
	}
}

/* ---- disks --------------------------------------------------------------------------------- */

static const struct metric disk_metrics[] = {
	{"disk_reads_total", "counter", "Reads that ended.", "num_read_ops", 1},
	{"disk_writes_total", "counter", "Writes that ended.", "num_write_ops", 1},
	{"disk_unmaps_total", "counter", "Unmaps that ended.", "num_unmap_ops", 1},
	{"disk_read_bytes_total", "counter", "Bytes read.", "bytes_read", 1},
	{"disk_written_bytes_total", "counter", "Bytes written.", "bytes_written", 1},
	{"disk_read_seconds_total", "counter", "Time that reads took, together.",
		"read_latency_ticks", 1e-9},
	{"disk_write_seconds_total", "counter", "Time that writes took, together.",
		"write_latency_ticks", 1e-9},
};

/* The counters are under a device's own name: a volume's is its UUID, its alias is better known. */
static const char *disk_name(const json_t *found, const json_t *disk)
{
	const char *name = text_of(disk, "name");
	json_t *bdev;
	size_t i;

	json_array_foreach(json_object_get(found, "bdev_get_bdevs"), i, bdev)
	{
		const json_t *alias = json_array_get(json_object_get(bdev, "aliases"), 0);

		if (strcmp(text_of(bdev, "name"), name) == 0 && json_is_string(alias) &&
			json_object_get(json_object_get(bdev, "driver_specific"), "lvol"))
			return json_string_value(alias);
	}
	return name;
}

/* ---- the rest ------------------------------------------------------------------------------ */

static const char *own_name(const json_t *found, const json_t *object)
{
	return text_of(object, "name");
}

static const char *thread_name(const json_t *found, const json_t *reactor)
{
	return text_of(json_array_get(json_object_get(reactor, "lw_threads"), 0), "name");
}

static const char *controller_name(const json_t *found, const json_t *controller)
{
	return text_of(controller, "ctrlr");
}

static void stores_print(FILE *out, const json_t *found)
{
	static const struct metric metrics[] = {
		{"store_clusters", "gauge", "Clusters for data.", "total_data_clusters", 1},
		{"store_free_clusters", "gauge", "Clusters that are free.", "free_clusters", 1},
		{"store_cluster_bytes", "gauge", "Size of a cluster.", "cluster_size", 1},
	};
	const json_t *stores = json_object_get(found, "bdev_lvol_get_lvstores");

	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		metric_print(out, &metrics[i], stores, "store", own_name, found);
}

static void threads_print(FILE *out, const json_t *found)
{
	static const struct metric busy = {"thread_busy_seconds_total", "counter",
		"Time that a thread has worked.", "busy", 1e-9};
	const json_t *reactors = json_object_get(found, "framework_get_reactors");

	metric_print(
		out, &busy, json_object_get(reactors, "reactors"), "thread", thread_name, found);
}

static void controllers_print(FILE *out, const json_t *found)
{
	json_t *controller;
	size_t i;

	head_print(out, "controller_connected", "gauge", "1: a machine is connected.");
	json_array_foreach(json_object_get(found, "vhost_get_controllers"), i, controller)
	{
		fputs("sluice_controller_connected", out);
		label_print(out, "controller", controller_name(found, controller));
		fprintf(out, " %d\n", json_array_size(json_object_get(controller, "sessions")) > 0);
	}
}

static void requests_print(FILE *out, const json_t *found)
{
	const json_t *told = json_object_get(found, "vhost_get_requests");
	const json_t *requests = json_object_get(told, "requests");
	double oldest_us = 0;
	unsigned stuck = 0;
	json_t *request;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)requests, i, request)
	{
		double age_us = number_of(request, "age_us");

		stuck += age_us > STUCK_US;
		if (age_us > oldest_us)
			oldest_us = age_us;
	}
	head_print(out, "requests_in_flight", "gauge", "Requests of all machines in flight.");
	fprintf(out, "sluice_requests_in_flight %.0f\n",
		(double)json_array_size(requests) + number_of(told, "more"));
	head_print(out, "requests_stuck", "gauge", "Those that are older than 5 s.");
	fprintf(out, "sluice_requests_stuck %u\n", stuck);
	head_print(out, "request_oldest_seconds", "gauge", "Age of the oldest request.");
	fprintf(out, "sluice_request_oldest_seconds %.9g\n", oldest_us / 1e6);
}

char *metrics_format(const json_t *found)
{
	const json_t *iostat = json_object_get(found, "bdev_get_iostat");
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(disk_metrics); i++)
		metric_print(out, &disk_metrics[i], json_object_get(iostat, "bdevs"), "disk",
			disk_name, found);
	stores_print(out, found);
	threads_print(out, found);
	controllers_print(out, found);
	requests_print(out, found);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
