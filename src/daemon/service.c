/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/service.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A name in the file system, or with '@' an abstract one. */
static socklen_t service_address(struct sockaddr_un *ret_address)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t len = name ? strlen(name) : 0;

	if (len < 2 || len >= sizeof(ret_address->sun_path) || (name[0] != '/' && name[0] != '@'))
		return 0;
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_address->sun_path, name, len);
	if (name[0] == '@')
		ret_address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static void (*service_relay)(const char *state); /* NULL: none */

void service_set_relay(void (*relay)(const char *state))
{
	service_relay = relay;
}

void service_tell(const char *state)
{
	struct sockaddr_un address;
	socklen_t len = service_address(&address);
	int fd;

	if (service_relay) {
		service_relay(state);
		return;
	}
	if (!len)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
	close(fd);
}

/* ---- life signs ---------------------------------------------------------------------------- */

struct service_probe {
	struct message message;
	struct service_watchdog *watchdog;
	struct reactor *reactor;
};

struct service_watchdog {
	struct reactor *control;
	struct timer timer;
	uint64_t period_ns;
	unsigned waiting; /* probes that are under way */
	done_fn stopped; /* NULL: it runs */
	void *arg;
	struct deferred stop;
	unsigned count;
	struct service_probe probes[];
};

static void watchdog_end(struct deferred *deferred)
{
	struct service_watchdog *watchdog = container_of(deferred, struct service_watchdog, stop);
	done_fn done = watchdog->stopped;
	void *arg = watchdog->arg;

	free(watchdog);
	done(arg, 0);
}

/* Back on the control reactor. */
static void probe_back(struct message *message)
{
	struct service_watchdog *watchdog =
		container_of(message, struct service_probe, message)->watchdog;

	if (--watchdog->waiting)
		return;
	if (watchdog->stopped)
		reactor_defer(watchdog->control, DEFER_COMPLETE, &watchdog->stop);
	else
		service_tell("WATCHDOG=1");
}

static void probe_run(struct message *message)
{
	struct service_probe *probe = container_of(message, struct service_probe, message);

	message->run = probe_back;
	reactor_send(probe->watchdog->control, message);
}

static void watchdog_fired(struct timer *timer)
{
	struct service_watchdog *watchdog = container_of(timer, struct service_watchdog, timer);

	timer_start(watchdog->control, timer, watchdog->period_ns);
	if (watchdog->waiting)
		return; /* one of them does not come round */
	watchdog->waiting = watchdog->count;
	for (unsigned i = 0; i < watchdog->count; i++) {
		watchdog->probes[i].message.run = probe_run;
		reactor_send(watchdog->probes[i].reactor, &watchdog->probes[i].message);
	}
}

/* 0: nobody watches this process. */
static uint64_t watchdog_us(void)
{
	const char *period = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (!period || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	return strtoull(period, NULL, 10);
}

struct service_watchdog *service_watchdog_start(
	struct reactor *control, struct reactor *const *reactors, unsigned count)
{
	uint64_t us = watchdog_us();
	struct service_watchdog *watchdog;

	if (!us || us > UINT64_MAX / USEC_NS || !count)
		return NULL;
	watchdog = calloc(1, sizeof(*watchdog) + count * sizeof(watchdog->probes[0]));
	if (!watchdog)
		return NULL;
	watchdog->control = control;
	watchdog->timer.fired = watchdog_fired;
	watchdog->stop.run = watchdog_end;
	watchdog->period_ns = us * USEC_NS / 2;
	watchdog->count = count;
	for (unsigned i = 0; i < count; i++) {
		watchdog->probes[i].watchdog = watchdog;
		watchdog->probes[i].reactor = reactors[i];
	}
	timer_start(control, &watchdog->timer, watchdog->period_ns);
	return watchdog;
}

void service_watchdog_stop(struct service_watchdog *watchdog, done_fn done, void *arg)
{
	watchdog->stopped = done;
	watchdog->arg = arg;
	timer_stop(watchdog->control, &watchdog->timer);
	if (!watchdog->waiting)
		reactor_defer(watchdog->control, DEFER_COMPLETE, &watchdog->stop);
}
