/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keeper's process: one thread, one epoll, nothing of storage.
 *
 *	STARTING --it says that it is ready--> SERVING --dies--> WAITING (back-off) --> STARTING
 *
 * The serving process ends on purpose with an exit code: when it is ready, or the first one before
 * that, the keeper ends with that code. One that is ended by a signal, or a successor that fails
 * before it is ready, is followed by another: at once, and then later and later, until
 * FAILURES_MAX in a row; RECOVERED_NS of service make the count begin anew.
 *
 * Signals to stop are passed on; what the serving process makes of them decides. It dies with the
 * keeper (PDEATHSIG), so that a kill -9 of the process that others know kills the service.
 */
#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/relay.h"
#include "spec/keeper.h"

#define EVENTS_MAX       64
#define FAILURES_MAX     10
#define BACKOFF_FIRST_NS (50 * MSEC_NS)
#define RECOVERED_NS     (1 * SEC_NS)
#define LOST_LIMIT_NS    (5 * SEC_NS)

struct keeper {
	const struct keeper_options *options;
	int epoll_fd;
	struct watch signals;
	struct watch control;
	sigset_t mask_before;
	struct list relays;
	pid_t child; /* 0: none */
	bool ready; /* it has said so */
	bool first; /* there was none before it */
	int stopping; /* the signal that was passed on to it; 0: none */
	bool done;
	int exit_code;
	unsigned failures;
	uint64_t ready_ns;
	uint64_t start_ns; /* of the next one */
};

static unsigned relays_count(const struct keeper *keeper)
{
	unsigned count = 0;

	for (const struct list *l = keeper->relays.next; l != &keeper->relays; l = l->next)
		count++;
	return count;
}

/* ---- what the serving process says ------------------------------------------------------- */

static void session_add(struct keeper *keeper, const struct keeper_message *message, const int *fds)
{
	struct relay_options options = {
		.epoll_fd = keeper->epoll_fd,
		.name = message->text,
		.queues = message->queues,
		.front_fd = fds[0],
		.server_fd = fds[1],
	};
	struct relay *relay;
	int rc = relay_create(&options, &relay);

	if (rc)
		log_error("%s: the keeper cannot take a connection: %s", message->text,
			strerror(-rc));
	else
		list_add_tail(&keeper->relays, &relay->entry);
}

static void control_take(
	struct keeper *keeper, struct keeper_message *message, int *fds, unsigned fd_count)
{
	message->text[sizeof(message->text) - 1] = '\0';
	switch (message->kind) {
	case KEEPER_SESSION:
		if (fd_count != 2)
			break;
		session_add(keeper, message, fds);
		return;
	case KEEPER_TELL:
		keeper->options->tell(message->text);
		break;
	case KEEPER_READY:
		keeper->ready = true;
		keeper->ready_ns = keeper_now_ns();
		break;
	default:
		break;
	}
	for (unsigned i = 0; i < fd_count; i++)
		close(fds[i]);
}

/* One datagram; false: there is none. */
static bool control_read(struct keeper *keeper)
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct keeper_message message;
	struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t got = recvmsg(keeper->control.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	unsigned fd_count = 0;
	int fds[2];

	if (got != sizeof(message)) {
		if (got >= 0 || (errno != EAGAIN && errno != EINTR))
			watch_close(keeper->epoll_fd, &keeper->control);
		return false;
	}
	if (c && c->cmsg_type == SCM_RIGHTS) {
		fd_count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), fd_count * sizeof(int));
	}
	control_take(keeper, &message, fds, fd_count);
	return true;
}

static void control_ready(struct watch *watch, uint32_t events)
{
	struct keeper *keeper = container_of(watch, struct keeper, control);

	while (control_read(keeper))
		;
}

/* ---- starting ---------------------------------------------------------------------------- */

static _Noreturn void child_run(struct keeper *keeper, pid_t parent, int fd)
{
	char number[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	snprintf(number, sizeof(number), "%d", fd);
	setenv(KEEPER_FD_VARIABLE, number, 1);
	if (getenv("WATCHDOG_PID")) {
		char pid[16];

		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("WATCHDOG_PID", pid, 1);
	}
	fcntl(fd, F_SETFD, 0);
	sigprocmask(SIG_SETMASK, &keeper->mask_before, NULL);
	execv("/proc/self/exe", keeper->options->argv);
	_exit(127);
}

static int control_send(struct keeper *keeper, const struct keeper_message *message, int passed)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (passed >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &passed, sizeof(int));
	}
	return sendmsg(keeper->control.fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* A new server's end for a session of before. */
static int session_hand_over(struct keeper *keeper, struct relay *relay)
{
	struct keeper_message message = {.kind = KEEPER_SESSION};
	int pair[2];
	int rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	memcpy(message.text, relay->name, sizeof(message.text));
	rc = control_send(keeper, &message, pair[1]);
	close(pair[1]);
	if (rc)
		close(pair[0]);
	else
		relay_attach(relay, pair[0]);
	return rc;
}

static int sessions_hand_over(struct keeper *keeper)
{
	const struct keeper_message end = {.kind = KEEPER_SESSIONS_END};
	int rc = 0;

	for (struct list *l = keeper->relays.next; l != &keeper->relays && !rc; l = l->next)
		rc = session_hand_over(keeper, container_of(l, struct relay, entry));
	return rc ? rc : control_send(keeper, &end, -1);
}

static int child_start(struct keeper *keeper)
{
	pid_t parent = getpid();
	int pair[2];
	int rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	keeper->child = fork();
	if (keeper->child == 0)
		child_run(keeper, parent, pair[1]);
	rc = keeper->child < 0 ? -errno : 0;
	close(pair[1]);
	if (rc) {
		keeper->child = 0;
		close(pair[0]);
		return rc;
	}
	keeper->ready = false;
	keeper->control.fd = pair[0];
	watch_set(keeper->epoll_fd, &keeper->control, EPOLLIN);
	/* If it dies during this, its end is seen as any other. It ends if it is not told all. */
	rc = sessions_hand_over(keeper);
	if (rc) {
		log_error("keeper: the sessions cannot be handed over: %s", strerror(-rc));
		watch_close(keeper->epoll_fd, &keeper->control);
	}
	return 0;
}

/* ---- ending ------------------------------------------------------------------------------ */

static void keeper_end(struct keeper *keeper, int exit_code)
{
	keeper->done = true;
	keeper->exit_code = exit_code;
}

static void child_detach(struct keeper *keeper)
{
	if (keeper->control.fd >= 0)
		control_ready(&keeper->control, 0);
	watch_close(keeper->epoll_fd, &keeper->control);
	for (struct list *l = keeper->relays.next; l != &keeper->relays; l = l->next) {
		struct relay *relay = container_of(l, struct relay, entry);

		if (!relay->ended)
			relay_detach(relay);
	}
}

static void child_plan(struct keeper *keeper)
{
	uint64_t now_ns = keeper_now_ns();
	uint64_t delay_ns = 0;

	keeper->first = false;
	if (keeper->ready && now_ns - keeper->ready_ns >= RECOVERED_NS)
		keeper->failures = 0;
	if (++keeper->failures > FAILURES_MAX) {
		log_error("keeper: the serving process has failed %u times in a row: giving up, "
			  "see above for its reasons",
			FAILURES_MAX);
		keeper_end(keeper, 1);
		return;
	}
	if (keeper->failures > 1)
		delay_ns = BACKOFF_FIRST_NS << (keeper->failures - 2);
	keeper->start_ns = now_ns + delay_ns;
	log_warning("keeper: starting a successor in %u ms, %u front-ends wait",
		(unsigned)(delay_ns / MSEC_NS), relays_count(keeper));
}

static void child_ended(struct keeper *keeper, int status)
{
	pid_t pid = keeper->child;

	child_detach(keeper);
	keeper->child = 0;
	if (WIFEXITED(status) && (keeper->ready || keeper->first || keeper->stopping)) {
		keeper_end(keeper, WEXITSTATUS(status));
		return;
	}
	/* One that had not come so far as to take the signal. */
	if (keeper->stopping) {
		keeper_end(keeper,
			WIFSIGNALED(status) && WTERMSIG(status) == keeper->stopping ? 0 : 1);
		return;
	}
	if (WIFSIGNALED(status))
		log_error("keeper: the serving process %d was ended by SIG%s", (int)pid,
			sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
	else
		log_error("keeper: the serving process %d has failed to start", (int)pid);
	child_plan(keeper);
}

static void signal_take(struct keeper *keeper, int signal_number)
{
	int status;

	/* Of two signals at a time the death may be told last. */
	if (keeper->child && waitpid(keeper->child, &status, WNOHANG) == keeper->child)
		child_ended(keeper, status);
	if (signal_number == SIGCHLD || signal_number == SIGUSR1 || keeper->done)
		return;
	keeper->stopping = signal_number;
	if (keeper->child)
		kill(keeper->child, signal_number);
	else
		keeper_end(keeper, 0);
}

static void signals_ready(struct watch *watch, uint32_t events)
{
	struct keeper *keeper = container_of(watch, struct keeper, signals);
	struct signalfd_siginfo info;

	while (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		signal_take(keeper, (int)info.ssi_signo);
}

static int signals_open(struct keeper *keeper)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGCHLD};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, &keeper->mask_before);
	signal(SIGPIPE, SIG_IGN);
	keeper->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	keeper->signals.ready = signals_ready;
	return keeper->signals.fd < 0 ? -errno : 0;
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* A session whose server has gone without a word while the process lives: nobody will serve it. */
static bool relay_is_lost(const struct keeper *keeper, const struct relay *relay, uint64_t now_ns)
{
	return keeper->child && relay->server.fd < 0 && relay->lost_ns &&
	       now_ns - relay->lost_ns > LOST_LIMIT_NS;
}

static void relays_sweep(struct keeper *keeper)
{
	uint64_t now_ns = keeper_now_ns();

	for (struct list *l = keeper->relays.next, *next; l != &keeper->relays; l = next) {
		struct relay *relay = container_of(l, struct relay, entry);

		next = l->next;
		if (!relay->ended && !relay_is_lost(keeper, relay, now_ns))
			continue;
		list_remove(&relay->entry);
		relay_destroy(relay);
	}
}

static void keeper_start_due(struct keeper *keeper)
{
	int rc;

	if (keeper->child || keeper->done || keeper_now_ns() < keeper->start_ns)
		return;
	rc = child_start(keeper);
	if (!rc)
		return;
	log_error("keeper: no process can be started: %s", strerror(-rc));
	child_plan(keeper);
}

static int keeper_timeout_ms(const struct keeper *keeper)
{
	uint64_t now_ns = keeper_now_ns();

	if (keeper->child)
		return list_is_empty(&keeper->relays) ? -1 : 1000;
	return keeper->start_ns > now_ns ? (int)((keeper->start_ns - now_ns) / MSEC_NS) + 1 : 0;
}

static void keeper_turn(struct keeper *keeper)
{
	struct epoll_event events[EVENTS_MAX];
	int count;

	relays_sweep(keeper);
	keeper_start_due(keeper);
	count = epoll_wait(keeper->epoll_fd, events, EVENTS_MAX, keeper_timeout_ms(keeper));
	for (int i = 0; i < count; i++) {
		struct watch *watch = events[i].data.ptr;

		if (watch->fd >= 0)
			watch->ready(watch, events[i].events);
	}
}

/* A session needs some for its memory and three for each of its queues. */
static void limits_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int keeper_run(const struct keeper_options *options)
{
	struct keeper keeper = {.options = options, .first = true, .control.fd = -1};
	int rc;

	list_init(&keeper.relays);
	keeper.control.ready = control_ready;
	keeper.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = keeper.epoll_fd < 0 ? -errno : signals_open(&keeper);
	if (rc) {
		log_error("keeper: cannot start: %s", strerror(-rc));
		return 1;
	}
	limits_raise();
	watch_set(keeper.epoll_fd, &keeper.signals, EPOLLIN);
	while (!keeper.done)
		keeper_turn(&keeper);
	while (!list_is_empty(&keeper.relays)) {
		struct relay *relay = container_of(keeper.relays.next, struct relay, entry);

		list_remove(&relay->entry);
		relay_destroy(relay);
	}
	watch_close(keeper.epoll_fd, &keeper.signals);
	watch_close(keeper.epoll_fd, &keeper.control);
	close(keeper.epoll_fd);
	return keeper.exit_code;
}
