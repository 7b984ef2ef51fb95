/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads of reactors: a pthread that calls a step until it returns false. Signals are for the
 * thread that runs main: all others block them, except those that a thread causes itself (SIGBUS
 * from a guest's memory that has shrunk must reach the handler on the thread that touched it) and
 * the one that interrupts it.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct real_thread {
	pthread_t thread;
	bool (*step)(void *arg);
	void *arg;
};

static int attr_set_cpu(pthread_attr_t *attr, int cpu)
{
	cpu_set_t *set;
	size_t size;
	int rc;

	if (cpu < 0)
		return 0;
	if (cpu >= CPUS_MAX)
		return -EINVAL;
	set = CPU_ALLOC(CPUS_MAX);
	if (!set)
		return -ENOMEM;
	size = CPU_ALLOC_SIZE(CPUS_MAX);
	CPU_ZERO_S(size, set);
	CPU_SET_S((size_t)cpu, size, set);
	rc = pthread_attr_setaffinity_np(attr, size, set);
	CPU_FREE(set);
	return -rc;
}

#define INTERRUPT_SIGNAL SIGUSR2

static void signals_block(sigset_t *ret_before)
{
	static const int taken[] = {
		SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, INTERRUPT_SIGNAL};
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		sigdelset(&set, taken[i]);
	pthread_sigmask(SIG_BLOCK, &set, ret_before);
}

int thread_create(
	const char *name, int cpu, void *(*run)(void *arg), void *arg, pthread_t *ret_thread)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t before;
	char short_name[16];
	int rc;

	rc = -pthread_attr_init(&attr);
	if (rc)
		return rc;
	rc = attr_set_cpu(&attr, cpu);
	if (rc)
		goto destroy_attr;
	/* The new thread inherits the mask: there is no moment in which it takes signals. */
	signals_block(&before);
	rc = -pthread_create(&thread, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		goto destroy_attr;
	snprintf(short_name, sizeof(short_name), "%s", name);
	pthread_setname_np(thread, short_name);
	*ret_thread = thread;
destroy_attr:
	pthread_attr_destroy(&attr);
	return rc;
}

static void *real_thread_run(void *arg)
{
	struct real_thread *thread = arg;

	while (thread->step(thread->arg))
		;
	return NULL;
}

int real_thread_start(struct os *os, const struct os_thread_options *options, void **ret_thread)
{
	struct real_thread *thread = calloc(1, sizeof(*thread));
	int rc;

	if (!thread)
		return -ENOMEM;
	thread->step = options->step;
	thread->arg = options->arg;
	rc = thread_create(options->name, options->cpu, real_thread_run, thread, &thread->thread);
	if (rc) {
		free(thread);
		return rc;
	}
	*ret_thread = thread;
	return 0;
}

void real_thread_join(struct os *os, void *arg)
{
	struct real_thread *thread = arg;

	pthread_join(thread->thread, NULL);
	free(thread);
}

static void interrupt_taken(int number)
{
}

/* A handler, though it does nothing, and without SA_RESTART: the call that waits ends. */
void thread_interrupt_install(void)
{
	struct sigaction action = {.sa_handler = interrupt_taken};

	sigemptyset(&action.sa_mask);
	sigaction(INTERRUPT_SIGNAL, &action, NULL);
}

void real_thread_interrupt(struct os *os, void *arg)
{
	struct real_thread *thread = arg;

	pthread_kill(thread->thread, INTERRUPT_SIGNAL);
}
