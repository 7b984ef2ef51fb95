/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * framework_get_reactors and thread_get_stats, for spdk_top and for our own figures. Times are
 * nanoseconds (tick_rate 1e9). Each reactor is asked by a message and fills its own line; the last
 * to come back answers the request.
 *
 * spdk_top decodes strictly: no member may be added. There the first thread is the application's:
 * ours is the control reactor, app_thread; its "lcore" follows those of the data reactors, and a
 * reactor that is not pinned has its number instead of a CPU's. sys and usr are what the thread has
 * used, in hundredths of a second, as in /proc/stat.
 *
 * busy is what the thread did, by the clock of its turns. The call in which a reactor goes to sleep
 * submits I/O too, though, and waking up costs time as well, which those clocks cannot tell from
 * the sleep. So where the thread has used more CPU time than its turns were busy and its polling
 * was idle, that is busy too. (Idle polling is taken by the clock: other processes on the same CPU
 * make the correction smaller, never the result.)
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "control/control_impl.h"

struct reactor_line {
	struct message message;
	struct reactors_call *call;
	struct reactor *reactor;
	struct reactor_stats stats;
	uint64_t *told_ns; /* busy_ns as it was told before: it never goes back */
	unsigned hot;
	unsigned cold;
	unsigned cpu;
	int cpu_pinned; /* -1: none */
	int tid;
	bool polls_always;
	uint64_t user_cs;
	uint64_t system_cs;
};

struct reactors_call {
	struct rpc_request *request;
	struct control *control;
	json_t *(*encode)(const struct reactors_call *call);
	unsigned waiting;
	unsigned count;
	struct reactor_line lines[];
};

static const struct reactor_line *reactors_control_line(const struct reactors_call *call)
{
	return &call->lines[0];
}

static uint64_t centiseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 100 + (uint64_t)time->tv_usec / 10000;
}

/* Back on the control reactor. */
static void reactor_line_back(struct message *message)
{
	struct reactor_line *line = container_of(message, struct reactor_line, message);
	struct reactors_call *call = line->call;

	if (--call->waiting)
		return;
	rpc_request_finish(call->request, call->encode(call));
	free(call);
}

static void reactor_line_correct(struct reactor_line *line)
{
	struct reactor_stats *stats = &line->stats;
	uint64_t spun_ns = stats->idle_ns - stats->asleep_ns;
	uint64_t all_ns = stats->busy_ns + stats->idle_ns;
	uint64_t used_ns;
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	used_ns = (uint64_t)used.tv_sec * SEC_NS + (uint64_t)used.tv_nsec;
	if (used_ns > spun_ns)
		stats->busy_ns = u64_max(stats->busy_ns, used_ns - spun_ns);
	stats->busy_ns = u64_min(u64_max(stats->busy_ns, *line->told_ns), all_ns);
	stats->idle_ns = all_ns - stats->busy_ns;
	*line->told_ns = stats->busy_ns;
}

/* On the reactor that is asked. */
static void reactor_line_fill(struct message *message)
{
	struct reactor_line *line = container_of(message, struct reactor_line, message);
	struct rusage usage = {0};

	reactor_get_stats(line->reactor, &line->stats);
	reactor_line_correct(line);
	line->hot = line->reactor->hot_count;
	line->cold = line->reactor->cold_count;
	line->cpu_pinned = line->reactor->cpu;
	line->polls_always = line->reactor->poll_mode == POLL_ALWAYS;
	line->tid = gettid();
	getrusage(RUSAGE_THREAD, &usage);
	line->user_cs = centiseconds(&usage.ru_utime);
	line->system_cs = centiseconds(&usage.ru_stime);
	line->message.run = reactor_line_back;
	reactor_send(line->call->control->options.control, &line->message);
}

static void reactors_ask(struct control *control, struct rpc_request *request,
	json_t *(*encode)(const struct reactors_call *call))
{
	unsigned count = control->options.data_count + 1;
	struct reactors_call *call = calloc(1, sizeof(*call) + count * sizeof(call->lines[0]));

	if (!call) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return;
	}
	*call = (struct reactors_call){
		.request = request,
		.control = control,
		.encode = encode,
		.waiting = count,
		.count = count,
	};
	for (unsigned i = 0; i < count; i++) {
		struct reactor_line *line = &call->lines[i];

		line->call = call;
		line->told_ns = &control->busy_ns[i];
		line->cpu = i ? i - 1 : count - 1;
		line->reactor = i ? control->options.data[i - 1] : control->options.control;
		line->message.run = reactor_line_fill;
		reactor_send(line->reactor, &line->message);
	}
}

static const char *line_name(const struct reactors_call *call, const struct reactor_line *line)
{
	return line == reactors_control_line(call) ? "app_thread" : line->reactor->name;
}

static unsigned line_cpu(const struct reactor_line *line)
{
	return line->cpu_pinned >= 0 ? (unsigned)line->cpu_pinned : line->cpu;
}

static json_t *line_cpumask(const struct reactor_line *line)
{
	struct cpu_set set = {0};
	char mask[CPUS_MAX / 4 + 1];

	cpu_set_add(&set, line_cpu(line));
	cpu_set_format(&set, mask, sizeof(mask));
	return json_string(mask);
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *reactors_encode(const struct reactors_call *call)
{
	json_t *reactors = json_array();

	for (unsigned i = 0; i < call->count; i++) {
		const struct reactor_line *line = &call->lines[i];
		uint64_t elapsed = line->stats.busy_ns + line->stats.idle_ns;
		json_t *thread = json_pack("{s:s, s:i, s:o, s:o}", "name", line_name(call, line),
			"id", (int)i + 1, "cpumask", line_cpumask(line), "elapsed",
			number(elapsed));

		json_array_append_new(reactors,
			json_pack("{s:i, s:i, s:i, s:o, s:o, s:b, s:i, s:o, s:o, s:[o]}", "lcore",
				(int)line_cpu(line), "numa_id", 0, "tid", line->tid, "busy",
				number(line->stats.busy_ns), "idle", number(line->stats.idle_ns),
				"in_interrupt", !line->polls_always, "irq", 0, "sys",
				number(line->system_cs), "usr", number(line->user_cs), "lw_threads",
				thread));
	}
	return json_pack("{s:o, s:i, s:o}", "tick_rate", number(SEC_NS), "pid", (int)getpid(),
		"reactors", reactors);
}

static json_t *threads_encode(const struct reactors_call *call)
{
	json_t *threads = json_array();

	for (unsigned i = 0; i < call->count; i++) {
		const struct reactor_line *line = &call->lines[i];

		json_array_append_new(threads,
			json_pack("{s:s, s:i, s:o, s:o, s:o, s:i, s:i, s:i}", "name",
				line_name(call, line), "id", (int)i + 1, "cpumask",
				line_cpumask(line), "busy", number(line->stats.busy_ns), "idle",
				number(line->stats.idle_ns), "active_pollers_count", (int)line->hot,
				"timed_pollers_count", 0, "paused_pollers_count", (int)line->cold));
	}
	return json_pack("{s:o, s:o}", "tick_rate", number(SEC_NS), "threads", threads);
}

static void framework_get_reactors(struct rpc_request *request, const void *params, void *context)
{
	reactors_ask(context, request, reactors_encode);
}

static void thread_get_stats(struct rpc_request *request, const void *params, void *context)
{
	reactors_ask(context, request, threads_encode);
}

const struct rpc_method reactor_methods[] = {
	{"framework_get_reactors", RPC_RUNTIME, framework_get_reactors,
		.decode_error = {RPC_INVALID_PARAMS,
			"`framework_get_reactors` requires no arguments"}},
	{"thread_get_stats", RPC_RUNTIME, thread_get_stats,
		.decode_error = {RPC_INVALID_PARAMS, "'thread_get_stats' requires no arguments"}},
	{0},
};
