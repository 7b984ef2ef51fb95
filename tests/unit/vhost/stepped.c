/* SPDX-License-Identifier: BSD-2-Clause */
#include "stepped.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXIT_NOT_TRACED 99

void *stepped_alloc(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

void stepped_free(void *memory, size_t size)
{
	munmap(memory, size);
}

void stepped_begin(void)
{
	raise(SIGUSR1);
}

void stepped_end(void)
{
	raise(SIGUSR2);
}

static void stepped_child_main(const struct stepped_child *child)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(EXIT_NOT_TRACED);
	child->run(child->arg);
	_exit(0);
}

/* Signals are for us and do not reach the child. */
static int stepped_child_follow(const struct stepped_child *child, pid_t pid)
{
	bool stepping = false;
	int status;

	for (;;) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (!WIFSTOPPED(status))
			fail_msg("the child ended by signal %d", WTERMSIG(status));
		if (WSTOPSIG(status) == SIGABRT || WSTOPSIG(status) == SIGSEGV)
			fail_msg("the child got signal %d", WSTOPSIG(status));
		if (WSTOPSIG(status) == SIGUSR1)
			stepping = true;
		if (WSTOPSIG(status) == SIGUSR2)
			stepping = false;
		if (stepping)
			child->step(child->step_arg);
		if (ptrace(stepping ? PTRACE_SINGLESTEP : PTRACE_CONT, pid, NULL, NULL) < 0)
			fail_msg("ptrace: %s", strerror(errno));
	}
}

int stepped_child_run(const struct stepped_child *child)
{
	pid_t pid = fork();
	int code;

	assert_true(pid >= 0);
	if (pid == 0)
		stepped_child_main(child);
	code = stepped_child_follow(child, pid);
	if (code == EXIT_NOT_TRACED)
		return -EPERM;
	assert_int_equal(code, 0);
	return 0;
}

/* ---- one piece of memory ------------------------------------------------------------------- */

struct stepped_memory {
	const struct stepped *stepped;
	uint8_t *before;
	uint8_t *copy;
};

static void stepped_memory_step(void *arg)
{
	struct stepped_memory *memory = arg;
	const struct stepped *stepped = memory->stepped;

	if (memcmp(memory->before, stepped->memory, stepped->size) == 0)
		return;
	memcpy(memory->before, stepped->memory, stepped->size);
	memcpy(memory->copy, memory->before, stepped->size);
	stepped->look(memory->copy, stepped->arg);
}

int stepped_run(const struct stepped *stepped)
{
	/* At the alignment of the original: what lies in it is used in place. */
	struct stepped_memory memory = {
		.stepped = stepped,
		.before = aligned_alloc(4096, (stepped->size + 4095) & ~(size_t)4095),
		.copy = aligned_alloc(4096, (stepped->size + 4095) & ~(size_t)4095),
	};
	const struct stepped_child child = {
		.run = stepped->run,
		.arg = stepped->memory,
		.step = stepped_memory_step,
		.step_arg = &memory,
	};
	int rc;

	assert_non_null(memory.before);
	assert_non_null(memory.copy);
	memcpy(memory.before, stepped->memory, stepped->size);
	rc = stepped_child_run(&child);
	free(memory.before);
	free(memory.copy);
	return rc;
}
