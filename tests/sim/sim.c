/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world: what could happen next is collected from all processes, one is drawn, and what it did
 * goes into the hash of the trace. Candidates are drawn while they are found (the nth replaces the
 * earlier choice with a chance of one in n), so each is as likely as any other.
 *
 * A pick can be made inside a pick: a step that joins a thread, or the test that enters a ring,
 * runs the rest of the world until it may go on. A step can also be interrupted for a few picks at
 * some calls (sim_preempt): other threads then run between what it did before and what it does
 * after, which is how a lost wake-up shows. Steps that are on the C stack are not candidates.
 */
#include "sim/sim_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PICK_TIME_NS  1000 /* at most so much passes with a pick */
#define PREEMPT_DEPTH 3
#define HASH_START    UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME    UINT64_C(0x100000001b3)

static const char *const call_names[] = {
#define CALL_NAME(name) [SIM_CALL_##name] = #name,
	SIM_CALLS(CALL_NAME)
#undef CALL_NAME
};

/* The seed of a simulation that lives, for the message at exit of a test that failed. */
static struct sim *living;

static void tell_seed_at_exit(void)
{
	if (living)
		fprintf(stderr, "a simulation was not destroyed: repeat it with SIM_SEED=%llu\n",
			(unsigned long long)living->options.seed);
}

struct sim *sim_create(uint64_t seed)
{
	struct sim_options options = {.seed = seed};

	return sim_create_with(&options);
}

struct sim *sim_create_with(const struct sim_options *options)
{
	static bool registered;
	struct sim *sim = sim_alloc(sizeof(*sim));

	sim->options = *options;
	if (!sim->options.latency_max_ns) {
		sim->options.latency_min_ns = 5 * USEC_NS;
		sim->options.latency_max_ns = 200 * USEC_NS;
	}
	if (!sim->options.atomic_bytes)
		sim->options.atomic_bytes = 512;
	if (!sim->options.socket_bytes)
		sim->options.socket_bytes = 64 * KIB;
	sim->random = options->seed;
	sim->now_ns = 1000 * SEC_NS;
	sim->hash = HASH_START;
	sim->trace = getenv("SIM_TRACE") != NULL;
	list_init(&sim->processes);
	list_init(&sim->files);
	list_init(&sim->names);
	list_init(&sim->in_flight);
	sim_names_init(sim);
	sim->first = sim_process_create(sim, "test");
	if (!registered)
		atexit(tell_seed_at_exit);
	registered = true;
	living = sim;
	return sim;
}

unsigned sim_destroy(struct sim *sim)
{
	struct sim_process *process, *next_process;
	struct sim_file *file, *next_file;
	struct sim_io *sio, *next_sio;
	unsigned complaints;

	list_for_each_entry (process, &sim->processes, link)
		sim_process_check(process);
	list_for_each_entry_safe (sio, next_sio, &sim->in_flight, link) {
		if (sio->ring)
			sim_io_orphan(sio);
		sim_io_drop(sio);
	}
	list_for_each_entry_safe (process, next_process, &sim->processes, link)
		sim_process_free(process);
	sim_names_free(sim);
	list_for_each_entry_safe (file, next_file, &sim->files, link)
		sim_file_free(file);
	complaints = sim->complaints;
	if (complaints)
		fprintf(stderr, "sim: %u complaints: repeat with SIM_SEED=%llu\n", complaints,
			(unsigned long long)sim->options.seed);
	if (living == sim)
		living = NULL;
	free(sim);
	return complaints;
}

struct os *sim_os(struct sim *sim)
{
	return &sim->first->os;
}

uint64_t sim_now(const struct sim *sim)
{
	return sim->now_ns;
}

void *sim_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	invariant(p != NULL);
	return p;
}

/* ---- chance ---- */

/* splitmix64 */
static uint64_t random_next(struct sim *sim)
{
	uint64_t z = (sim->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t sim_random(struct sim *sim, uint64_t below)
{
	return below > 1 ? random_next(sim) % below : 0;
}

uint64_t sim_random_between(struct sim *sim, uint64_t min, uint64_t max)
{
	return max > min ? min + sim_random(sim, max - min + 1) : min;
}

static uint64_t seed_from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

bool sim_seeds_are_given(void)
{
	return getenv("SIM_SEED") || getenv("SIM_SEEDS");
}

uint64_t sim_seed_first(void)
{
	return seed_from_environment("SIM_SEED", 1);
}

uint64_t sim_seed_end(unsigned count)
{
	if (getenv("SIM_SEED"))
		return sim_seed_first() + 1;
	return 1 + seed_from_environment("SIM_SEEDS", count);
}

/* ---- trace and complaints ---- */

static uint64_t hash_u64(uint64_t hash, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++)
		hash = (hash ^ (value >> (i * 8) & 0xff)) * HASH_PRIME;
	return hash;
}

void sim_trace(struct sim *sim, const char *what, uint64_t a, uint64_t b)
{
	for (const char *p = what; *p; p++)
		sim->hash = (sim->hash ^ (unsigned char)*p) * HASH_PRIME;
	sim->hash = hash_u64(hash_u64(hash_u64(sim->hash, sim->now_ns), a), b);
	if (sim->trace)
		fprintf(stderr, "%12.6f ms  %-16s %llu %lld\n",
			(double)(sim->now_ns - 1000 * SEC_NS) / 1e6, what, (unsigned long long)a,
			(long long)b);
}

uint64_t sim_trace_hash(const struct sim *sim)
{
	return sim->hash;
}

void sim_complain(struct sim *sim, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(sim->complaint, sizeof(sim->complaint), fmt, args);
	va_end(args);
	fprintf(stderr, "sim: %s\n", sim->complaint);
	sim->complaints++;
}

const char *sim_complaint(const struct sim *sim)
{
	return sim->complaint;
}

void sim_forgive(struct sim *sim)
{
	sim->complaints = 0;
	sim->complaint[0] = '\0';
}

/* ---- failing calls ---- */

void sim_fail_call(struct sim *sim, enum sim_call call, unsigned nth, int error)
{
	sim->faults[call] = (struct sim_fault){.nth = nth, .error = error};
}

unsigned sim_count_calls(const struct sim *sim, enum sim_call call)
{
	return sim->calls[call];
}

static int fault_count_down(struct sim *sim, enum sim_call kind)
{
	struct sim_fault *fault = &sim->faults[kind];

	sim->calls[kind]++;
	if (fault->nth == 0 || --fault->nth > 0)
		return 0;
	return -fault->error;
}

int sim_call(struct sim *sim, enum sim_call call)
{
	int of_any = fault_count_down(sim, SIM_CALL_ANY);
	int of_kind = fault_count_down(sim, call);
	int rc = of_kind ? of_kind : of_any;

	sim_trace(sim, call_names[call], sim->calls[call], (uint64_t)(int64_t)rc);
	return rc;
}

int sim_call_blocking(struct sim_process *process, enum sim_call call)
{
	struct sim *sim = process->sim;

	if (sim->thread && !sim->options.allow_blocking)
		sim_complain(sim, "thread %s made a call that may block: %s", sim->thread->name,
			call_names[call]);
	if (process->dead)
		return -ESRCH;
	return sim_call(sim, call);
}

/* ---- what happens next ---- */

struct pick {
	unsigned count;
	struct sim_thread *thread;
	struct sim_io *io;
	struct sim_process *run;
	struct sim_process *finish;
	uint64_t next_ns; /* when something could happen if nothing can now */
};

static bool pick_offer(struct sim *sim, struct pick *pick)
{
	if (!sim_chance(sim, ++pick->count))
		return false;
	pick->thread = NULL;
	pick->io = NULL;
	pick->run = NULL;
	pick->finish = NULL;
	return true;
}

static void pick_from_process(struct sim *sim, struct pick *pick, struct sim_process *process)
{
	struct sim_thread *thread;

	if (process->dead)
		return;
	list_for_each_entry (thread, &process->threads, link) {
		if (thread->ended || thread->stepping)
			continue;
		if (!sim_thread_is_runnable(thread))
			pick->next_ns = u64_min(pick->next_ns, thread->deadline_ns);
		else if (pick_offer(sim, pick))
			pick->thread = thread;
	}
	/* Not inside a step: a job may join the very thread that stands there. */
	if (!sim->preempted && !list_is_empty(&process->jobs_queued) && pick_offer(sim, pick))
		pick->run = process;
	if (!list_is_empty(&process->jobs_ran) && pick_offer(sim, pick))
		pick->finish = process;
}

enum sim_pick sim_pick_one(struct sim *sim, uint64_t limit_ns)
{
	struct pick pick = {.next_ns = UINT64_MAX};
	struct sim_process *process;
	struct sim_io *sio;

	list_for_each_entry (process, &sim->processes, link)
		pick_from_process(sim, &pick, process);
	list_for_each_entry (sio, &sim->in_flight, link) {
		if (sim_io_is_held(sio))
			continue;
		if (sio->due_ns > sim->now_ns)
			pick.next_ns = u64_min(pick.next_ns, sio->due_ns);
		else if (pick_offer(sim, &pick))
			pick.io = sio;
	}
	if (pick.count == 0) {
		if (pick.next_ns == UINT64_MAX)
			return SIM_STUCK;
		sim->now_ns = u64_max(sim->now_ns, u64_min(pick.next_ns, limit_ns));
		return pick.next_ns <= limit_ns ? SIM_PICKED : SIM_TIME_REACHED;
	}
	if (pick.thread)
		sim_thread_run(pick.thread);
	else if (pick.io)
		sim_io_run(pick.io);
	else if (pick.run)
		sim_job_run(pick.run);
	else
		sim_job_finish(pick.finish);
	sim->now_ns += sim_random(sim, PICK_TIME_NS);
	return sim->now_ns < limit_ns ? SIM_PICKED : SIM_TIME_REACHED;
}

void sim_preempt(struct sim *sim, unsigned one_in)
{
	if (!sim->thread || sim->preempted >= PREEMPT_DEPTH || !sim_chance(sim, one_in))
		return;
	sim->preempted++;
	for (uint64_t picks = 1 + sim_random(sim, 4); picks > 0; picks--)
		(void)sim_pick_one(sim, sim->now_ns);
	sim->preempted--;
}

bool sim_step(struct sim *sim)
{
	return sim_pick_one(sim, UINT64_MAX) != SIM_STUCK;
}

bool sim_run(struct sim *sim, bool (*until)(void *arg), void *arg, uint64_t timeout_ns)
{
	uint64_t limit = sim->now_ns + timeout_ns;
	enum sim_pick pick = SIM_PICKED;

	for (;;) {
		if (until && until(arg))
			return true;
		if (pick != SIM_PICKED)
			return false;
		pick = sim_pick_one(sim, limit);
	}
}

void sim_run_for(struct sim *sim, uint64_t ns)
{
	uint64_t limit = sim->now_ns + ns;

	while (sim->now_ns < limit) {
		if (sim_pick_one(sim, limit) == SIM_STUCK)
			sim->now_ns = limit;
	}
}
