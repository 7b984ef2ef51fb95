/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash_points.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

size_t crash_areas_bytes(const struct crash_areas *areas)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < areas->count; i++)
		bytes += areas->area[i].len;
	return bytes;
}

void crash_areas_save(const struct crash_areas *areas, uint8_t *state)
{
	for (unsigned i = 0; i < areas->count; i++) {
		memcpy(state, areas->area[i].addr, areas->area[i].len);
		state += areas->area[i].len;
	}
}

void crash_areas_load(const struct crash_areas *areas, const uint8_t *state)
{
	for (unsigned i = 0; i < areas->count; i++) {
		memcpy(areas->area[i].addr, state, areas->area[i].len);
		state += areas->area[i].len;
	}
}

static bool crash_areas_differ(const struct crash_areas *areas, const uint8_t *state)
{
	for (unsigned i = 0; i < areas->count; i++) {
		if (memcmp(state, areas->area[i].addr, areas->area[i].len) != 0)
			return true;
		state += areas->area[i].len;
	}
	return false;
}

/* Keeps the memory's state if it is a new one. False: too many. */
static bool crash_points_look(struct crash_points *points, const struct crash_areas *areas)
{
	if (points->count &&
		!crash_areas_differ(areas, points->states + (points->count - 1) * points->bytes))
		return true;
	if (points->count == CRASH_POINTS_MAX)
		return false;
	crash_areas_save(areas, points->states + points->count++ * points->bytes);
	return true;
}

static void crash_child_run(void (*fn)(void *arg), void *arg)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(EPERM);
	raise(SIGSTOP);
	fn(arg);
	_exit(0);
}

/* Steps until it exits; its exit code, or -EPROTO. */
static int crash_child_step(
	pid_t child, const struct crash_areas *areas, struct crash_points *points)
{
	int status;

	for (;;) {
		if (waitpid(child, &status, 0) != child)
			return -EPROTO;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (!WIFSTOPPED(status) ||
			(WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP))
			return -EPROTO;
		if (!crash_points_look(points, areas))
			return -EPROTO;
		if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0)
			return -EPERM;
	}
}

int crash_points_collect(const struct crash_areas *areas, void (*fn)(void *arg), void *arg,
	struct crash_points *ret_points)
{
	struct crash_points points = {.bytes = crash_areas_bytes(areas)};
	pid_t child;
	int rc;

	points.states = malloc(CRASH_POINTS_MAX * points.bytes);
	if (!points.states)
		return -ENOMEM;
	child = fork();
	if (child == 0)
		crash_child_run(fn, arg);
	rc = child < 0 ? -errno : crash_child_step(child, areas, &points);
	if (rc < 0 && child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	if (rc) {
		free(points.states);
		return rc < 0 ? rc : rc == EPERM ? -EPERM : -EPROTO;
	}
	*ret_points = points;
	return 0;
}

void crash_points_free(struct crash_points *points)
{
	free(points->states);
}

void crash_points_restore(
	const struct crash_areas *areas, const struct crash_points *points, unsigned point)
{
	crash_areas_load(areas, points->states + point * points->bytes);
}
