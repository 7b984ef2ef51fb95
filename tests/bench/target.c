/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the target used between two moments, told three ways that must not be mixed up:
 *   process: user and system time of /proc/PID/stat, in clock ticks of 10 ms
 *   threads: run time of each thread from /proc/PID/task/TID/schedstat, in ns; their sum is exact
 *	      but for threads that ended in between
 *   busy:    what the target's reactors themselves count as work (JSON-RPC framework_get_reactors):
 *	      the only figure that tells for a target which polls at 100 per cent
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

#define MAX_THREADS 512u

struct thread_usage {
	int tid;
	char name[32];
	uint64_t run_ns;
};

struct target_usage {
	uint64_t taken_ns;
	bool has_process, has_reactors;
	uint64_t process_ns;
	uint64_t rss_bytes, anon_bytes; /* resident; of that, its own: not guests' memory */
	uint32_t thread_count;
	struct thread_usage threads[MAX_THREADS];
	double busy_ns, idle_ns;
};

static bool read_file(const char *path, char *bytes, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t got;

	if (!file)
		return false;
	got = fread(bytes, 1, size - 1, file);
	bytes[got] = 0;
	fclose(file);
	return got > 0;
}

static void read_process(int pid, struct target_usage *usage)
{
	char path[64], text[1024], *after_name;
	unsigned long long user, system;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!read_file(path, text, sizeof(text)))
		return;
	/* The name in brackets may contain anything: count fields behind the last bracket. */
	after_name = strrchr(text, ')');
	if (!after_name ||
		sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
			&user, &system) != 2)
		return;
	usage->process_ns = (user + system) * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK));
	usage->has_process = true;
}

static uint64_t status_bytes(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static void read_memory(int pid, struct target_usage *usage)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!read_file(path, text, sizeof(text)))
		return;
	usage->rss_bytes = status_bytes(text, "VmRSS:");
	usage->anon_bytes = status_bytes(text, "RssAnon:");
}

static void read_threads(int pid, struct target_usage *usage)
{
	char path[320];
	const struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) && usage->thread_count < MAX_THREADS) {
		struct thread_usage *thread = &usage->threads[usage->thread_count];
		unsigned long long run_ns;
		char text[128];

		thread->tid = atoi(entry->d_name);
		if (!thread->tid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, thread->tid);
		if (!read_file(path, text, sizeof(text)) || sscanf(text, "%llu", &run_ns) != 1)
			continue;
		thread->run_ns = run_ns;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, thread->tid);
		if (!read_file(path, thread->name, sizeof(thread->name)))
			strcpy(thread->name, "?");
		thread->name[strcspn(thread->name, "\n")] = 0;
		usage->thread_count++;
	}
	if (dir)
		closedir(dir);
}

static json_t *call_rpc(const char *socket_path, const char *method)
{
	char request[128];
	struct fe_conn conn;
	struct fe_msg unused = {.fd_count = 0};
	char *text = NULL;
	size_t len = 0, room = 0;
	json_t *answer = NULL;

	if (fe_conn_connect(&conn, socket_path, 2000))
		return NULL;
	snprintf(request, sizeof(request), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}",
		method);
	if (fe_conn_send(&conn, request, strlen(request), NULL, 0))
		goto close_conn;
	/* Answers have no frame: it is whole when it parses. */
	while (!answer) {
		if (len + 2 > room) {
			char *more = realloc(text, room * 2 + 4096);

			if (!more)
				break;
			text = more;
			room = room * 2 + 4096;
		}
		if (fe_conn_recv(&conn, text + len, 1, &unused))
			break;
		len++;
		if (text[len - 1] == '}')
			answer = json_loadb(text, len, 0, NULL);
	}
close_conn:
	free(text);
	fe_conn_close(&conn);
	return answer;
}

static void read_reactors(const char *socket_path, struct target_usage *usage)
{
	json_t *answer = call_rpc(socket_path, "framework_get_reactors");
	const json_t *result = json_object_get(answer, "result");
	double rate = json_number_value(json_object_get(result, "tick_rate"));
	json_t *reactor;
	size_t i;

	if (rate > 0) {
		json_array_foreach(json_object_get(result, "reactors"), i, reactor)
		{
			double busy = json_number_value(json_object_get(reactor, "busy"));
			double idle = json_number_value(json_object_get(reactor, "idle"));

			usage->busy_ns += busy * 1e9 / rate;
			usage->idle_ns += idle * 1e9 / rate;
			usage->has_reactors = true;
		}
	}
	json_decref(answer);
}

struct target_usage *target_usage_take(const struct bench_options *options)
{
	struct target_usage *usage = calloc(1, sizeof(*usage));

	if (!usage)
		return NULL;
	if (options->rpc)
		read_reactors(options->rpc, usage);
	usage->taken_ns = now_ns();
	if (options->target_pid) {
		read_process(options->target_pid, usage);
		read_memory(options->target_pid, usage);
		read_threads(options->target_pid, usage);
	}
	return usage;
}

static uint64_t run_ns_before(const struct target_usage *before, int tid)
{
	uint32_t i;

	for (i = 0; i < before->thread_count; i++)
		if (before->threads[i].tid == tid)
			return before->threads[i].run_ns;
	return 0;
}

json_t *target_usage_report(
	const struct target_usage *before, const struct target_usage *after, uint64_t requests)
{
	double elapsed_ns = (double)(after->taken_ns - before->taken_ns);
	double per_request = requests ? 1.0 / (double)requests : 0;
	json_t *report = json_object();

	json_object_set_new(report, "elapsed_ns", json_real(elapsed_ns));
	if (before->has_process && after->has_process) {
		double process_ns = (double)(after->process_ns - before->process_ns), sum = 0;
		json_t *threads = json_array();
		uint32_t i;

		for (i = 0; i < after->thread_count; i++) {
			const struct thread_usage *thread = &after->threads[i];
			uint64_t run_ns = thread->run_ns - run_ns_before(before, thread->tid);

			sum += (double)run_ns;
			if (run_ns)
				json_array_append_new(threads,
					json_pack("{s:i, s:s, s:I}", "tid", thread->tid, "name",
						thread->name, "run_ns", (json_int_t)run_ns));
		}
		json_object_set_new(report, "process_ns", json_real(process_ns));
		json_object_set_new(report, "threads_ns", json_real(sum));
		json_object_set_new(report, "threads_ns_per_request", json_real(sum * per_request));
		json_object_set_new(report, "cores", json_real(sum / elapsed_ns));
		json_object_set_new(report, "threads", threads);
		json_object_set_new(
			report, "rss_bytes", json_integer((json_int_t)after->rss_bytes));
		json_object_set_new(
			report, "anon_bytes", json_integer((json_int_t)after->anon_bytes));
	}
	if (before->has_reactors && after->has_reactors) {
		double busy = after->busy_ns - before->busy_ns;
		double idle = after->idle_ns - before->idle_ns;

		json_object_set_new(report, "busy_ns", json_real(busy));
		json_object_set_new(report, "busy_ns_per_request", json_real(busy * per_request));
		json_object_set_new(report, "busy_share",
			json_real(busy + idle > 0 ? busy / (busy + idle) : 0));
	}
	return report;
}
