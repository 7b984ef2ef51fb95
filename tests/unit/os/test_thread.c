/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads, workers, and the choice of the engine.
 */
#include "fixture.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct observer {
	unsigned steps;
	char name[16];
	int cpu;
	sigset_t blocked;
};

static bool observe_step(void *arg)
{
	struct observer *observer = arg;

	pthread_getname_np(pthread_self(), observer->name, sizeof(observer->name));
	observer->cpu = sched_getcpu();
	pthread_sigmask(SIG_BLOCK, NULL, &observer->blocked);
	/* The starter gives the name just after starting. */
	usleep(1000);
	return ++observer->steps < 20;
}

/* A CPU that this process may use. */
static int allowed_cpu(void)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
		if (CPU_ISSET((size_t)cpu, &set))
			return cpu;
	}
	return -1;
}

static void a_thread_is_named_pinned_and_deaf_to_signals(void **state)
{
	struct fixture *f = *state;
	struct observer observer = {0};
	struct os_thread_options options = {
		.name = "a name that is too long",
		.cpu = allowed_cpu(),
		.step = observe_step,
		.arg = &observer,
	};
	sigset_t mine;
	void *thread;

	assert_int_equal(f->os->ops->thread_start(f->os, &options, &thread), 0);
	f->os->ops->thread_join(f->os, thread);
	assert_int_equal(observer.steps, 20);
	assert_string_equal(observer.name, "a name that is ");
	assert_int_equal(observer.cpu, options.cpu);
	assert_true(sigismember(&observer.blocked, SIGTERM));
	assert_true(sigismember(&observer.blocked, SIGINT));
	assert_true(sigismember(&observer.blocked, SIGUSR1));
	assert_false(sigismember(&observer.blocked, SIGBUS));
	assert_false(sigismember(&observer.blocked, SIGSEGV));
	pthread_sigmask(SIG_BLOCK, NULL, &mine);
	assert_false(sigismember(&mine, SIGTERM));
}

struct blocked {
	struct os *os;
	int fd;
	int rc;
	atomic_bool ended;
};

static bool blocked_step(void *arg)
{
	struct blocked *blocked = arg;

	blocked->rc = blocked->os->ops->event_signal(blocked->os, blocked->fd);
	atomic_store(&blocked->ended, true);
	return false;
}

static void a_thread_that_waits_in_a_call_is_interrupted(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	struct fixture *f = *state;
	struct blocked blocked = {.os = f->os, .fd = eventfd(UINT32_MAX, EFD_CLOEXEC)};
	struct os_thread_options options = {
		.name = "blocked", .cpu = -1, .step = blocked_step, .arg = &blocked};
	void *thread;

	assert_int_equal(write(blocked.fd, &(uint64_t){most - UINT32_MAX}, 8), 8);
	assert_int_equal(f->os->ops->thread_start(f->os, &options, &thread), 0);
	/* One that comes before the call is lost: nobody but a watchdog may rely on it. */
	for (unsigned i = 0; i < 5000 && !atomic_load(&blocked.ended); i++) {
		f->os->ops->thread_interrupt(f->os, thread);
		usleep(1000);
	}
	f->os->ops->thread_join(f->os, thread);
	assert_int_equal(blocked.rc, -EINTR);
	close(blocked.fd);
}

static void a_cpu_that_is_not_there_is_refused(void **state)
{
	struct fixture *f = *state;
	struct observer observer = {0};
	struct os_thread_options options = {
		.name = "lost", .cpu = CPUS_MAX - 1, .step = observe_step, .arg = &observer};
	void *thread;

	assert_int_equal(f->os->ops->thread_start(f->os, &options, &thread), -EINVAL);
	options.cpu = CPUS_MAX;
	assert_int_equal(f->os->ops->thread_start(f->os, &options, &thread), -EINVAL);
}

struct job {
	struct os_work work;
	pthread_t ran_on;
	_Atomic unsigned *together; /* meets the other before it ends */
	_Atomic bool finished;
};

static void job_run(struct os_work *work)
{
	struct job *job = container_of(work, struct job, work);

	job->ran_on = pthread_self();
	if (!job->together)
		return;
	atomic_fetch_add(job->together, 1);
	for (unsigned i = 0; atomic_load(job->together) < 2 && i < 5000; i++)
		usleep(1000);
}

static void job_finished(struct os_work *work)
{
	atomic_store(&container_of(work, struct job, work)->finished, true);
}

static void wait_finished(struct job *jobs, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned ms = 0; !atomic_load(&jobs[i].finished); ms++) {
			assert_true(ms < 5000);
			usleep(1000);
		}
	}
}

static void work_runs_elsewhere_and_side_by_side(void **state)
{
	struct fixture *f = *state;
	_Atomic unsigned together = 0;
	struct job jobs[2];

	for (unsigned i = 0; i < 2; i++) {
		jobs[i] = (struct job){
			.work = {.run = job_run, .finished = job_finished},
			.together = &together,
		};
		f->os->ops->work_queue(f->os, &jobs[i].work);
	}
	wait_finished(jobs, 2);
	assert_int_equal(atomic_load(&together), 2);
	assert_false(pthread_equal(jobs[0].ran_on, pthread_self()));
	assert_false(pthread_equal(jobs[0].ran_on, jobs[1].ran_on));
}

static void more_work_than_workers_is_all_done(void **state)
{
	enum { COUNT = 200 };
	struct fixture *f = *state;
	struct job *jobs = calloc(COUNT, sizeof(*jobs));

	for (unsigned i = 0; i < COUNT; i++) {
		jobs[i].work = (struct os_work){.run = job_run, .finished = job_finished};
		f->os->ops->work_queue(f->os, &jobs[i].work);
	}
	wait_finished(jobs, COUNT);
	free(jobs);
}

static void destroying_the_os_finishes_what_was_queued(void **state)
{
	enum { COUNT = 50 };
	const struct os_real_options options = {.io_uring = fixture_uses_io_uring(), .workers = 1};
	struct job *jobs = calloc(COUNT, sizeof(*jobs));
	struct reason reason = {0};
	struct os *os;

	assert_int_equal(os_real_create(&options, &reason, &os), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		jobs[i].work = (struct os_work){.run = job_run, .finished = job_finished};
		os->ops->work_queue(os, &jobs[i].work);
	}
	os_real_destroy(os);
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(atomic_load(&jobs[i].finished));
	free(jobs);
}

static void the_clock_is_the_monotonic_one(void **state)
{
	struct fixture *f = *state;
	struct timespec ts;
	uint64_t before = f->os->ops->now_ns(f->os);
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
	assert_true(before <= now);
	assert_true(now - before < 10 * SEC_NS);
}

static void the_engine_is_the_one_asked_for(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(os_real_engine(f->os), fixture_uses_io_uring() ? "io_uring" : "epoll");
}

/* From here on this process gets error for the system call. */
static bool forbid(unsigned number, unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void signal_seen(struct os_watch *watch)
{
	watch->fd = -1;
}

/* In a process of its own: 0 when the os came up with epoll and works, and 1 line was logged. */
static int run_forbidden(unsigned number, unsigned error)
{
	const struct os_real_options options = {.io_uring = true};
	struct os_watch watch = {.kind = OS_WATCH_EVENT, .ready = signal_seen};
	struct reason reason = {0};
	struct os_ring *ring;
	char notice[1024];
	struct os *os;
	int log[2];
	ssize_t n;

	if (pipe(log) < 0 || dup2(log[1], STDERR_FILENO) < 0 || !forbid(number, error))
		return 2;
	if (os_real_create(&options, &reason, &os) != 0 ||
		strcmp(os_real_engine(os), "epoll") != 0 ||
		os->ops->ring_create(os, NULL, &ring) != 0)
		return 3;
	n = read(log[0], notice, sizeof(notice) - 1);
	notice[n > 0 ? n : 0] = '\0';
	if (!strstr(notice, "io_uring cannot be used here") || strchr(notice, '\n')[1] != '\0')
		return 4;
	if (os->ops->event_create(os, &watch.fd) != 0)
		return 5;
	os->ops->event_signal(os, watch.fd);
	os->ops->ring_watch(ring, &watch);
	os->ops->ring_enter(ring, SEC_NS);
	return watch.fd == -1 ? 0 : 6;
}

static void assert_falls_back(unsigned number, unsigned error)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(run_forbidden(number, error));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_refused_io_uring_falls_back_to_epoll_with_one_notice(void **state)
{
	assert_falls_back(SYS_io_uring_setup, EPERM);
	assert_falls_back(SYS_io_uring_setup, ENOSYS);
	assert_falls_back(SYS_io_uring_enter, EPERM);
	assert_falls_back(SYS_io_uring_register, EPERM);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_thread_is_named_pinned_and_deaf_to_signals),
		FIXTURE_TEST(a_thread_that_waits_in_a_call_is_interrupted),
		FIXTURE_TEST(a_cpu_that_is_not_there_is_refused),
		FIXTURE_TEST(work_runs_elsewhere_and_side_by_side),
		FIXTURE_TEST(more_work_than_workers_is_all_done),
		FIXTURE_TEST(destroying_the_os_finishes_what_was_queued),
		FIXTURE_TEST(the_clock_is_the_monotonic_one),
		FIXTURE_TEST(the_engine_is_the_one_asked_for),
		FIXTURE_TEST(a_refused_io_uring_falls_back_to_epoll_with_one_notice),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
