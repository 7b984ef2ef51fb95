/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A simulated host for tests: clock, files, sockets, eventfds, memfds, rings, threads and workers
 * behind `struct os` (os/os.h), all in the one real thread of the test, in an order drawn from a
 * seed. The same seed gives the same run (sim_trace_hash proves it), so a failing seed is a test
 * case for ever:
 *
 *	static bool echoed(void *arg)
 *	{
 *		return *(bool *)arg;
 *	}
 *
 *	static void disk_survives_a_power_cut_after_a_flush(void **state)
 *	{
 *		SIM_FOR_EACH_SEED(seed, 100) {
 *			struct sim *sim = sim_create(seed);
 *			struct sim_file *file = sim_file_create(sim, "/disk.img", 1 * MIB);
 *			struct os *os = sim_os(sim);
 *			bool done = false;
 *
 *			thing_start(os, "/disk.img", &done);	-- creates reactors and so on
 *			assert_true(sim_run(sim, echoed, &done, 10 * SEC_NS));
 *			thing_stop();
 *			sim_power_cut(sim);
 *			sim_file_peek(file, 0, buf, sizeof(buf));
 *			...
 *			assert_int_equal(sim_destroy(sim), 0);	-- nothing leaked, no rule broken
 *		}
 *	}
 *
 * SIM_SEED=n in the environment runs only that seed, SIM_SEEDS=n another number of them,
 * SIM_TRACE=1 prints every decision. A test that fails before sim_destroy has its seed printed at
 * exit.
 *
 * How things run. sim_run picks, again and again, one of what could happen now: a step of a thread
 * that is not asleep, half of a worker's job, the end of an operation in flight. Time passes by
 * less than a microsecond a pick, and in leaps when all sleep.
 *
 * ring_enter never blocks inside a step: when nothing is there it notes that the thread sleeps
 * (until the deadline, an event or a wake) and returns 0; the step is expected to return soon and
 * is called again once there is a reason. A thread's step must therefore count as asleep, for
 * whoever has to wake it, until its next step begins. Called from the test itself ring_enter does
 * block, by running everything else; so does thread_join. Sometimes ring_enter returns early with
 * nothing, as the kernel may. At some calls of a step (ring_enter, event_signal) other threads may
 * run first, as if the step had been interrupted there.
 *
 * Rules of os.h are checked. Breaking one is a complaint: printed at once, counted by sim_destroy.
 *  - a call marked "blocks" from a thread's step (workers and the test may)
 *  - closing a descriptor that is watched or not open, unmapping what is not mapped
 *  - at sim_destroy: descriptors open, mappings, threads not joined, rings not destroyed,
 *    operations in flight, jobs queued (of processes that were not killed)
 *
 * Left out: permissions, directories' contents, names that a power cut loses (creating, renaming
 * and unlinking are durable at once), mapping of anything but memfds.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "os/os.h"

struct sim;
struct sim_process;
struct sim_file;

struct sim_options {
	uint64_t seed;
	uint64_t latency_min_ns; /* of an operation on a file; both 0: 5 us to 200 us */
	uint64_t latency_max_ns;
	unsigned atomic_bytes; /* a power cut tears writes only at multiples: 0 or 512, or 4096 */
	unsigned socket_bytes; /* what a stream holds before -EAGAIN; 0: 64 KiB */
	bool whole_transfers; /* streams are not split at random */
	bool allow_blocking; /* steps of threads may make calls that block */
};

/* ---- the world -------------------------------------------------------------------------- */

struct sim *sim_create(uint64_t seed) MUST_CHECK;
struct sim *sim_create_with(const struct sim_options *options) MUST_CHECK;
/* Complaints and leaks, each printed; a test asserts 0. */
unsigned sim_destroy(struct sim *sim) MUST_CHECK;

/* Until until(arg) is true, asked before every pick: true. False: timeout_ns of simulated time have
 * passed, or nothing can ever happen any more. until may be NULL: run until then. */
bool sim_run(struct sim *sim, bool (*until)(void *arg), void *arg, uint64_t timeout_ns);
/* Lets so much simulated time pass. */
void sim_run_for(struct sim *sim, uint64_t ns);
/* One pick; false when nothing can ever happen. */
bool sim_step(struct sim *sim);

uint64_t sim_now(const struct sim *sim);
/* From a step: what it does just now takes so long. */
void sim_spend(struct os *os, uint64_t ns);
/* From now on rings say of all their operations that threads do them, and of one more. */
void sim_let_threads_work(struct sim *sim);
/* For decisions of the test that should depend on the seed as well: 0 .. below - 1. */
uint64_t sim_random(struct sim *sim, uint64_t below);
/* Of everything that happened until now: equal for equal seeds. */
uint64_t sim_trace_hash(const struct sim *sim);
/* What was complained about last ("" if nothing), and forgetting it: for tests of the checks. */
const char *sim_complaint(const struct sim *sim);
void sim_forgive(struct sim *sim);

#define SIM_FOR_EACH_SEED(seed, count)                                                             \
	for (uint64_t seed = sim_seed_first(), seed##_end = sim_seed_end(count);                   \
		seed < seed##_end; seed++)
/* Counts over all seeds mean something only when the environment chose none. */
bool sim_seeds_are_given(void);
uint64_t sim_seed_first(void);
uint64_t sim_seed_end(unsigned count);

/* ---- processes -------------------------------------------------------------------------- */

/* The os of the first process, "test". */
struct os *sim_os(struct sim *sim);
/* Another process of the same host: own descriptors, threads, workers; files and sockets are
 * shared by name. Freed by sim_destroy. */
struct os *sim_process_start(struct sim *sim, const char *name);
uint32_t sim_process_pid(const struct os *os);
/*
 * kill -9, from the test and not from a step: threads run no more, descriptors are closed (peers
 * see the hang-up). Operations in flight go on and keep their open file, with its lock, until they
 * end; the killed process's memory is not touched any more. Memory that the killed code had
 * allocated is the test's to free: rings may still be destroyed, unmap and close do nothing.
 */
void sim_process_kill(struct os *os);

/* ---- files ------------------------------------------------------------------------------ */

/* A regular file full of zeroes; its directories are made. The handle is valid until sim_destroy.
 */
struct sim_file *sim_file_create(struct sim *sim, const char *path, uint64_t size_bytes);
/* A block device of that size. */
struct sim_file *sim_device_create(
	struct sim *sim, const char *path, uint64_t size_bytes, unsigned block_size);
/* NULL when no such name exists. */
struct sim_file *sim_file_find(struct sim *sim, const char *path);

uint64_t sim_file_size(const struct sim_file *file);
/* What a read would see, past the end zeroes. poke is as if it had always been there. */
void sim_file_peek(const struct sim_file *file, uint64_t offset, void *buf, size_t len);
void sim_file_poke(struct sim_file *file, uint64_t offset, const void *buf, size_t len);
/* Somebody else truncates or grows it, or the device changes its size. */
void sim_file_resize(struct sim_file *file, uint64_t size_bytes);

/* The alignments that O_DIRECT requires and file_info tells; offset_align 0: open with
 * OS_OPEN_DIRECT fails with -EINVAL. Files start with 512 and 512, devices with 512 and their
 * block size. */
void sim_file_set_direct(struct sim_file *file, unsigned memory_align, unsigned offset_align);
/* 0: no discard, PUNCH_HOLE ends with -EOPNOTSUPP. Starts with 4096. */
void sim_file_set_discard(struct sim_file *file, unsigned granularity);
/* ZERO_RANGE ends with -EOPNOTSUPP. */
void sim_file_set_zero_range(struct sim_file *file, bool supported);
void sim_file_set_latency(struct sim_file *file, uint64_t min_ns, uint64_t max_ns);

/* The next `count` operations that touch the range end with -error and change nothing. */
void sim_file_fail_range(
	struct sim_file *file, uint64_t offset, uint64_t length, int error, unsigned count);
/* After so many more bytes written, writes are short and then end with -ENOSPC; UINT64_MAX lifts.
 */
void sim_file_limit(struct sim_file *file, uint64_t bytes);
/* The next `count` reads and writes transfer less than asked (whole blocks of 512, at least one,
 * where more than one was asked for). */
void sim_file_shorten(struct sim_file *file, unsigned count);
/* Operations do not end any more, also those in flight, until released. */
void sim_file_hold(struct sim_file *file);
void sim_file_release(struct sim_file *file);
unsigned sim_file_in_flight(const struct sim_file *file);
unsigned sim_file_unflushed(const struct sim_file *file); /* writes that a power cut could lose */

/*
 * Every process is killed; of each file stays what was flushed (file_sync, FDATASYNC, DSYNC)
 * before, and of the rest, in flight or ended, what the seed leaves: nothing, everything,
 * everything up to some moment, or each write whole, torn or lost by itself. Start new processes
 * afterwards.
 */
void sim_power_cut(struct sim *sim);

/* ---- failing calls ---------------------------------------------------------------------- */

/* clang-format would find a new form at each run. */
/* clang-format off */
#define SIM_CALLS(X) \
	X(FILE_OPEN) X(FILE_INFO) X(FILE_LOCK) X(FILE_UNLOCK) X(FILE_TRUNCATE) X(FILE_READ) \
	X(FILE_WRITE) X(FILE_SYNC) X(FILE_RENAME) X(FILE_UNLINK) X(DIRECTORY_CREATE) \
	X(MEMFD_CREATE) X(MAP) X(SOCKET_LISTEN) X(SOCKET_CONNECT) X(SOCKET_ACCEPT) \
	X(SOCKET_RECEIVE) X(SOCKET_SEND) X(SOCKET_PEER) X(EVENT_CREATE) X(EVENT_SIGNAL) \
	X(EVENT_ADOPT) X(RING_CREATE) X(THREAD_START) X(IO_READV) X(IO_WRITEV) \
	X(IO_FDATASYNC) X(IO_PUNCH_HOLE) X(IO_ZERO_RANGE)
/* clang-format on */

/* Calls of the table that can fail, and the operations of rings (they fail when they would end). */
enum sim_call {
#define SIM_CALL_NAME(name) SIM_CALL_##name,
	SIM_CALLS(SIM_CALL_NAME)
#undef SIM_CALL_NAME
		SIM_CALL_ANY, /* all kinds together */
	SIM_CALL_COUNT,
};

/* The nth from now (1: the next) of that kind, by any process, fails with -error and has no
 * effect. One such order for each kind at a time; nth 0 takes it back. To test every way out:
 * count the calls of a run that works, then fail each of them in a run of its own. */
void sim_fail_call(struct sim *sim, enum sim_call call, unsigned nth, int error);
unsigned sim_count_calls(const struct sim *sim, enum sim_call call);

#endif
