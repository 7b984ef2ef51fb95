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

static void stepped_child(const struct stepped *stepped)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(EXIT_NOT_TRACED);
	stepped->run(stepped->memory);
	_exit(0);
}

/* Signals are for us and do not reach the child. */
static int stepped_follow(
	const struct stepped *stepped, pid_t child, uint8_t *before, uint8_t *copy)
{
	bool stepping = false;
	int status;

	for (;;) {
		assert_int_equal(waitpid(child, &status, 0), child);
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
		if (stepping && memcmp(before, stepped->memory, stepped->size) != 0) {
			memcpy(before, stepped->memory, stepped->size);
			memcpy(copy, before, stepped->size);
			stepped->look(copy, stepped->arg);
		}
		if (ptrace(stepping ? PTRACE_SINGLESTEP : PTRACE_CONT, child, NULL, NULL) < 0)
			fail_msg("ptrace: %s", strerror(errno));
	}
}

int stepped_run(const struct stepped *stepped)
{
	/* At the alignment of the original: what lies in it is used in place. */
	uint8_t *before = aligned_alloc(4096, (stepped->size + 4095) & ~(size_t)4095);
	uint8_t *copy = aligned_alloc(4096, (stepped->size + 4095) & ~(size_t)4095);
	pid_t child;
	int code;

	assert_non_null(before);
	assert_non_null(copy);
	memcpy(before, stepped->memory, stepped->size);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		stepped_child(stepped);
	code = stepped_follow(stepped, child, before, copy);
	free(before);
	free(copy);
	if (code == EXIT_NOT_TRACED)
		return -EPERM;
	assert_int_equal(code, 0);
	return 0;
}
