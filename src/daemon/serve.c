/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start and stop, in this order and the reverse of it:
 *
 *	main thread       os, reactors and their threads, directories, what was configured, what
 *			  SCSI disks have saved
 *	control reactor   device registry, vhost, RPC methods, RPC socket; then clients are served
 *
 * The main thread does nothing but wait for signals: SIGTERM, SIGINT, SIGHUP and SIGQUIT stop the
 * daemon in order, SIGUSR1 is ignored. One that comes during the stop ends it at once; several in
 * the same moment are one. They are blocked in all threads, which inherit the mask, and taken with
 * sigwait, so that no code ever runs in a signal handler. Whoever wants the daemon to end from
 * within sends it SIGTERM (spdk_kill_instance).
 *
 * What a configuration file or the state says is set up before clients are served, or with
 * --wait-for-rpc when framework_start_init comes (src/control/config_apply.c). A signal during that
 * ends the start.
 *
 * Stop: RPC first, so that nothing new begins and what runs is answered; then the controllers, with
 * their front-ends; then the volume stores, in order; then the block devices. A start that fails
 * half way takes the same road.
 *
 * The state directory is made at the start, so that a place that cannot be written shows at once.
 * What was configured is kept there (state.h), unless a configuration file is given or nothing is
 * to be kept.
 */
#include "daemon/serve.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/nvme_drives.h"
#include "control/control.h"
#include "daemon/config_file.h"
#include "daemon/kept.h"
#include "daemon/options.h"
#include "daemon/service.h"
#include "daemon/state.h"
#include "http/http.h"
#include "keeper/keeper.h"
#include "scsi/store.h"

#define FORCE_AFTER_MS 250

struct serve {
	struct serve_options options;
	struct os *os;
	struct reactor *control;
	struct reactor *data[CPUS_MAX];
	unsigned data_count;
	char directory[PATHS_MAX]; /* where it was started; "": unknown */
	json_t *config; /* to be set up at the start; NULL: nothing */
	bool cancelled; /* a signal has ended the start */

	/* control reactor */
	struct bdev_registry *registry;
	struct nvme_drives *drives;
	struct filters *filters;
	struct lvols *lvols;
	struct scsi_store *scsi_store;
	struct state *state; /* NULL: nothing is kept */
	struct vhost *vhost;
	struct rpc_server *rpc;
	struct control *methods;
	struct http *http; /* NULL: nobody asked for it */
	struct service_watchdog *watchdog; /* NULL: nobody watches */
	struct kept *kept; /* NULL: there is no keeper */
	struct message begin;
	struct message cancel;
	struct message end;
	struct flow start;
	struct flow stop;
	struct bdev *last; /* the device being unregistered */

	/* handed to the main thread with the semaphore */
	sem_t event;
	int rc;
	bool config_failed; /* that is what rc says */
	struct reason reason;
};

/* ---- control reactor ----------------------------------------------------------------------- */

/* framework_start_init has failed. */
static void serve_failed(void *arg, int rc, const struct reason *reason)
{
	struct serve *serve = arg;

	serve->rc = rc;
	serve->config_failed = true;
	serve->reason = *reason;
	kill(getpid(), SIGTERM);
}

static int serve_make_rpc(struct serve *serve)
{
	const struct control_options options = {
		.control = serve->control,
		.data = serve->data,
		.data_count = serve->data_count,
		.registry = serve->registry,
		.drives = serve->drives,
		.filters = serve->filters,
		.lvols = serve->lvols,
		.vhost = serve->vhost,
		.rpc = serve->rpc,
		.cpus = serve->options.cpus,
		.pinned = serve->options.pinned,
		.version = SLUICE_VERSION,
		.failed = serve_failed,
		.failed_arg = serve,
		.directory = serve->directory[0] ? serve->directory : NULL,
	};
	int rc = control_create(&options, &serve->methods);

	if (!rc && serve->options.rpcs_allowed)
		rc = rpc_server_allow(serve->rpc, serve->options.rpcs_allowed, &serve->reason);
	if (!rc && serve->options.rpc_socket[0])
		rc = rpc_server_listen(serve->rpc, serve->options.rpc_socket, &serve->reason);
	return rc;
}

static int serve_make_lvols(struct serve *serve)
{
	const struct lvols_options options = {
		.registry = serve->registry,
		.filters = serve->filters,
		.data = serve->data,
		.data_count = serve->data_count,
	};

	return lvols_create(&options, &serve->lvols);
}

static int serve_make(struct serve *serve)
{
	struct vhost_options options = {
		.os = serve->os,
		.control = serve->control,
		.data_reactors = serve->data,
		.data_reactor_count = serve->data_count,
		.socket_dir = serve->options.vhost_dir,
		.state_dir = serve->options.state_dir,
		.scsi_store = serve->scsi_store,
		.keeper = kept_get_vhost_keeper(serve->kept),
	};
	int rc = bdev_registry_create(serve->os, serve->control, &serve->registry);

	if (rc)
		return rc;
	serve->drives = nvme_drives_create(serve->os, serve->registry, nvme_kinds_real);
	rc = filters_create(serve->registry, &serve->filters);
	if (!rc)
		rc = serve_make_lvols(serve);
	if (rc)
		return rc;
	options.registry = serve->registry;
	rc = vhost_create(&options, &serve->reason, &serve->vhost);
	if (!rc)
		rc = rpc_server_create(serve->control, &serve->rpc);
	if (!rc)
		rc = serve_make_rpc(serve);
	if (!rc && serve->options.http)
		rc = http_create(serve->options.http, serve->control, serve->rpc, &serve->reason,
			&serve->http);
	return rc;
}

/* From the file that was given, or from the state. */
static int serve_load_config(struct serve *serve)
{
	const char *file = serve->options.config_file;
	enum config_failure on_failure = CONFIG_STOP;
	struct reason reason = {0};
	int rc;

	if (!serve->config)
		return 0;
	if (!file)
		on_failure = CONFIG_KEEP;
	else if (serve->options.ignore_init_errors)
		on_failure = CONFIG_SKIP;
	rc = control_load_config(serve->methods, serve->config, on_failure, &reason);
	if (rc)
		reason_set(&serve->reason, rc, "%s%s: %s",
			file ? "configuration file " : "the configuration in the state directory ",
			file ? file : serve->options.state_dir, reason_text(&reason, rc));
	return rc;
}

static json_t *serve_collect_config(void *arg)
{
	return control_get_config(arg);
}

static void serve_keep_state(struct serve *serve)
{
	if (!serve->state)
		return;
	state_set_source(serve->state, serve_collect_config, serve->methods);
	rpc_server_set_keeper(serve->rpc, state_get_keeper(serve->state));
}

static void serve_tell_ready(const struct serve *serve)
{
	log_notice("ready: management socket %s, data threads %u, I/O through %s",
		serve->options.rpc_socket[0] ? serve->options.rpc_socket : "none",
		serve->data_count, os_real_engine(serve->os));
}

static enum flow_result serve_start_run(struct flow *f)
{
	struct serve *serve = container_of(f, struct serve, start);

	FLOW_BEGIN(f);
	f->error = serve_make(serve);
	if (f->error)
		goto finish;
	serve_keep_state(serve);
	f->error = serve_load_config(serve);
	serve->config_failed = true; /* if it fails now */
	if (f->error)
		goto finish;
	AWAIT(f, control_begin_startup(serve->methods, &serve->reason, flow_resume, f));
	if (!f->error && !serve->options.wait_for_rpc)
		AWAIT(f, control_begin_runtime(serve->methods, &serve->reason, flow_resume, f));
	if (f->error)
		goto finish;
	serve->config_failed = false;
	/* Before clients can fill a log that nobody reads: the main thread has to see signals. */
	serve_tell_ready(serve);
	if (serve->options.rpc_socket[0])
		rpc_server_serve(serve->rpc);
	serve->watchdog = service_watchdog_start(serve->control, serve->data, serve->data_count);
finish:
	serve->rc = f->error;
	sem_post(&serve->event);
	FLOW_END(f);
}

static void serve_begin(struct message *message)
{
	struct serve *serve = container_of(message, struct serve, begin);

	flow_start(&serve->start, serve->control, "start", serve_start_run);
}

/* A signal has come before the start was done. */
static void serve_cancel(struct message *message)
{
	struct serve *serve = container_of(message, struct serve, cancel);

	if (serve->methods)
		control_stop(serve->methods);
}

static void serve_find_first(struct bdev *bdev, void *arg)
{
	struct bdev **first = arg;

	if (!*first)
		*first = bdev;
}

static struct bdev *serve_first_bdev(struct serve *serve)
{
	struct bdev *first = NULL;

	bdev_for_each(serve->registry, serve_find_first, &first);
	return first;
}

static void serve_limits_lifted(void *arg, int rc)
{
}

/* What waits for its time would hold the end up for as long. */
static void serve_lift_limits(struct bdev *bdev, void *arg)
{
	static const struct bdev_limits none;

	bdev_set_limits(bdev, &none, serve_limits_lifted, NULL);
}

static enum flow_result serve_stop_run(struct flow *f)
{
	struct serve *serve = container_of(f, struct serve, stop);

	FLOW_BEGIN(f);
	if (serve->watchdog)
		AWAIT(f, service_watchdog_stop(serve->watchdog, flow_resume, f));
	if (serve->http)
		AWAIT(f, http_stop(serve->http, flow_resume, f));
	if (serve->methods)
		control_stop(serve->methods);
	if (serve->filters)
		filters_close(serve->filters);
	if (serve->registry)
		bdev_for_each(serve->registry, serve_lift_limits, NULL);
	if (serve->rpc)
		AWAIT(f, rpc_server_stop(serve->rpc, flow_resume, f));
	if (serve->state)
		AWAIT(f, state_stop(serve->state, flow_resume, f));
	if (serve->vhost)
		AWAIT(f, vhost_destroy(serve->vhost, flow_resume, f));
	if (serve->lvols)
		AWAIT(f, lvols_close(serve->lvols, flow_resume, f));
	while (serve->registry && (serve->last = serve_first_bdev(serve)))
		AWAIT(f, bdev_unregister(serve->last, flow_resume, f));
	if (serve->drives)
		AWAIT(f, nvme_drives_close(serve->drives, flow_resume, f));
	sem_post(&serve->event);
	FLOW_END(f);
}

static void serve_end(struct message *message)
{
	struct serve *serve = container_of(message, struct serve, end);

	flow_start(&serve->stop, serve->control, "stop", serve_stop_run);
}

/* ---- main thread --------------------------------------------------------------------------- */

static void serve_call(struct serve *serve, struct message *message)
{
	reactor_send(serve->control, message);
	while (sem_wait(&serve->event) < 0)
		;
}

/* The start may take as long as what is set up takes; a signal ends it. */
static void serve_await_begin(struct serve *serve, const sigset_t *signals)
{
	const struct timespec moment = {.tv_nsec = 5 * MSEC_NS};

	serve->begin.run = serve_begin;
	serve->cancel.run = serve_cancel;
	reactor_send(serve->control, &serve->begin);
	while (sem_trywait(&serve->event) < 0) {
		int signal_number = sigtimedwait(signals, NULL, &moment);

		if (signal_number <= 0 || signal_number == SIGUSR1 || serve->cancelled)
			continue;
		serve->cancelled = true;
		log_notice("stopping before the start is done: received SIG%s",
			sigabbrev_np(signal_number));
		reactor_send(serve->control, &serve->cancel);
	}
}

static int serve_make_directory(struct serve *serve, const char *path)
{
	char partial[PATHS_MAX];
	int rc;

	for (const char *end = path; *end;) {
		end = strchrnul(end + 1, '/');
		snprintf(partial, sizeof(partial), "%.*s", (int)(end - path), path);
		rc = serve->os->ops->directory_create(serve->os, partial, 0700);
		if (rc && rc != -EEXIST)
			return reason_set(&serve->reason, rc,
				"cannot make the directory %s (%s): choose another with "
				"--state-dir, --rpc-socket and --vhost-dir",
				partial, strerror(-rc));
	}
	return 0;
}

/* Better now than at the first disk. */
static int serve_check_directory(struct serve *serve, const char *path)
{
	const struct os_ops *ops = serve->os->ops;
	int fd;
	int rc = ops->file_open(serve->os, *path ? path : ".", OS_OPEN_DIRECTORY, 0, &fd);

	if (rc)
		return reason_set(&serve->reason, rc,
			"%s cannot hold sockets (%s): name a directory with --vhost-dir", path,
			strerror(-rc));
	ops->close(serve->os, fd);
	return 0;
}

static int serve_make_directories(struct serve *serve)
{
	char run[PATHS_MAX];
	int rc = serve_make_directory(serve, serve->options.state_dir);

	if (rc)
		return rc;
	if (serve->options.default_rpc_socket) {
		rc = paths_run("", run, sizeof(run), &serve->reason);
		if (!rc)
			rc = serve_make_directory(serve, run);
	}
	if (!rc)
		rc = serve_make_directory(serve, serve->options.vhost_dir);
	return rc ? rc : serve_check_directory(serve, serve->options.vhost_dir);
}

static int serve_write_pid(struct serve *serve)
{
	const struct os_ops *ops = serve->os->ops;
	const char *path = serve->options.pid_file;
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", (int)(serve->kept ? getppid() : getpid()));
	int fd;
	int rc = ops->file_open(
		serve->os, path, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_TRUNCATE, 0644, &fd);

	if (!rc) {
		int64_t written = ops->file_write(serve->os, fd, text, (size_t)len, 0);

		rc = written < 0 ? (int)written : written == len ? 0 : -EIO;
		ops->close(serve->os, fd);
	}
	if (rc)
		reason_set(&serve->reason, rc, "cannot write the process id to %s: %s", path,
			strerror(-rc));
	return rc;
}

static int serve_make_reactor(
	struct serve *serve, const struct reactor_options *options, struct reactor **ret_reactor)
{
	struct reactor *reactor;
	int rc = reactor_create(serve->os, options, &serve->reason, &reactor);

	if (rc)
		return rc;
	rc = reactor_start(reactor, &serve->reason);
	if (rc) {
		reactor_destroy(reactor);
		return rc;
	}
	*ret_reactor = reactor;
	return 0;
}

/* Which of them can be had only the attempt tells: cgroups and hot-plug have their say. */
static int serve_refuse_cpu(struct serve *serve, unsigned cpu)
{
	struct cpu_set mine = {0};
	char asked[128], usable[128];
	cpu_set_t affinity;

	CPU_ZERO(&affinity);
	sched_getaffinity(0, sizeof(affinity), &affinity);
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &affinity))
			cpu_set_add(&mine, i);
	}
	cpu_set_format_list(&serve->options.cpus, asked, sizeof(asked));
	cpu_set_format_list(&mine, usable, sizeof(usable));
	serve->reason.text[0] = '\0';
	return reason_set(&serve->reason, -EINVAL,
		"--cores asks for CPUs %s and CPU %u is not there or not allowed, this process has "
		"%s: a list is written [1-2] or 1,2, a single number is a hexadecimal mask",
		asked, cpu, usable);
}

static int serve_make_reactors(struct serve *serve)
{
	const struct reactor_options control = {
		.name = "control", .cpu = -1, .poll_mode = POLL_NEVER};
	int rc = serve_make_reactor(serve, &control, &serve->control);

	for (unsigned cpu = 0; !rc && cpu < CPUS_MAX; cpu++) {
		char name[16];
		const struct reactor_options data = {
			.name = name,
			.cpu = serve->options.pinned ? (int)cpu : -1,
			.poll_mode = serve->options.poll_mode,
		};

		if (!cpu_set_has(&serve->options.cpus, cpu))
			continue;
		snprintf(name, sizeof(name), "data%u", serve->data_count);
		rc = serve_make_reactor(serve, &data, &serve->data[serve->data_count]);
		if (!rc)
			serve->data_count++;
		else if (rc == -EINVAL && serve->options.pinned)
			rc = serve_refuse_cpu(serve, cpu);
	}
	return rc;
}

static int serve_read_config(struct serve *serve)
{
	if (!serve->options.config_file)
		return 0;
	return config_file_read(
		serve->os, serve->options.config_file, &serve->reason, &serve->config);
}

static int serve_start(struct serve *serve, const sigset_t *signals)
{
	const struct os_real_options options = {.io_uring = serve->options.io_uring};
	int rc = os_real_create(&options, &serve->reason, &serve->os);

	if (!getcwd(serve->directory, sizeof(serve->directory)))
		serve->directory[0] = '\0';
	if (!rc)
		rc = serve_read_config(serve);
	if (!rc)
		rc = serve_make_directories(serve);
	if (!rc)
		os_real_sockets_open(
			serve->os, serve->options.vhost_dir[0] ? serve->options.vhost_dir : ".");
	if (!rc && serve->options.pid_file)
		rc = serve_write_pid(serve);
	if (!rc)
		rc = serve_make_reactors(serve);
	if (!rc && serve->options.keeps_state)
		rc = state_open(serve->os, serve->control, serve->options.state_dir, &serve->reason,
			&serve->state, &serve->config);
	if (!rc)
		rc = scsi_store_open(serve->os, serve->control, serve->options.state_dir,
			&serve->reason, &serve->scsi_store);
	if (rc)
		return rc;
	serve_await_begin(serve, signals);
	return serve->rc;
}

static void serve_stop(struct serve *serve)
{
	serve->end.run = serve_end;
	if (serve->control)
		serve_call(serve, &serve->end);
	for (unsigned i = 0; i < serve->data_count; i++)
		reactor_stop(serve->data[i]);
	if (serve->control)
		reactor_stop(serve->control);
	/* The control thread had references of its own, and a free is no atomic operation. */
	json_decref(serve->config);
	if (serve->http)
		http_destroy(serve->http);
	if (serve->methods)
		control_destroy(serve->methods);
	if (serve->rpc)
		rpc_server_destroy(serve->rpc);
	if (serve->lvols)
		lvols_destroy(serve->lvols);
	if (serve->filters)
		filters_destroy(serve->filters);
	nvme_drives_destroy(serve->drives);
	if (serve->scsi_store)
		scsi_store_close(serve->scsi_store);
	if (serve->state)
		state_close(serve->state);
	if (serve->registry)
		bdev_registry_destroy(serve->registry);
	for (unsigned i = 0; i < serve->data_count; i++)
		reactor_destroy(serve->data[i]);
	if (serve->control)
		reactor_destroy(serve->control);
	if (serve->os && serve->options.pid_file)
		serve->os->ops->file_unlink(serve->os, serve->options.pid_file);
	if (serve->os) {
		os_real_sockets_close(serve->os);
		os_real_destroy(serve->os);
	}
}

/* Every guest brings descriptors for its memory and two for each of its queues. */
static void serve_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void signals_block(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGTERM);
	sigaddset(ret_set, SIGINT);
	sigaddset(ret_set, SIGHUP);
	sigaddset(ret_set, SIGQUIT);
	sigaddset(ret_set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, ret_set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int signals_await(const sigset_t *set)
{
	int signal_number;

	do {
		while (sigwait(set, &signal_number))
			;
	} while (signal_number == SIGUSR1);
	return signal_number;
}

/* Whatever the stop waits for, a log that nobody reads included. */
static void *signals_force(void *arg)
{
	const struct timespec together = {.tv_nsec = FORCE_AFTER_MS * 1000000};
	const struct timespec now = {0};

	nanosleep(&together, NULL);
	while (sigtimedwait(arg, NULL, &now) > 0)
		;
	signals_await(arg);
	_exit(1);
}

static void signals_force_begin(const sigset_t *set)
{
	static sigset_t copy;
	pthread_t thread;

	copy = *set;
	if (pthread_create(&thread, NULL, signals_force, &copy) == 0)
		pthread_detach(thread);
}

static void signals_await_stop(const sigset_t *set)
{
	int signal_number = signals_await(set);

	signals_force_begin(set);
	service_tell("STOPPING=1");
	log_notice("stopping: received SIG%s", sigabbrev_np(signal_number));
}

/* What scripts know: the code of the call that failed, cut to 8 bits. */
static int serve_exit_status(const struct serve *serve, int rc)
{
	if (!rc || !serve->config_failed)
		return rc ? 1 : 0;
	return (uint8_t)rc ? (uint8_t)rc : 1;
}

/* The serving process gets the same command line, and by the environment the keeper. */
static int serve_under_keeper(int argc, char **argv)
{
	static char program[] = "sluice";
	char **child_argv = calloc((size_t)argc + 2, sizeof(*child_argv));
	struct keeper_options options = {.argv = child_argv, .tell = service_tell};
	unsigned count = 0;
	int rc;

	if (!child_argv)
		return 1;
	if (!options_name_is_spdk(argv[0]))
		child_argv[count++] = program;
	for (int i = 0; i < argc; i++)
		child_argv[count++] = argv[i];
	rc = keeper_run(&options);
	free(child_argv);
	return rc;
}

static int serve_run(struct serve *serve)
{
	sigset_t signals;
	int rc;

	signals_block(&signals);
	serve_raise_limits();
	sem_init(&serve->event, 0, 0);
	rc = serve_start(serve, &signals);
	if (serve->cancelled) {
		rc = 0;
	} else if (rc) {
		log_error("%s", reason_text(&serve->reason, rc));
	} else {
		kept_tell_ready(serve->kept);
		service_tell("READY=1");
		signals_await_stop(&signals);
	}
	serve_stop(serve);
	if (!rc && serve->rc && !serve->cancelled) {
		rc = serve->rc;
		log_error("%s", reason_text(&serve->reason, rc));
	}
	rc = serve_exit_status(serve, rc);
	sem_destroy(&serve->event);
	return rc;
}

int serve_main(int argc, char **argv)
{
	struct serve *serve = calloc(1, sizeof(*serve));
	char *name = argv[0];
	enum options_result parsed;
	int rc;

	if (!serve)
		return 1;
	parsed = serve_options_parse(argc, argv, &serve->options);
	argv[0] = name;
	rc = parsed == OPTIONS_SERVE ? kept_open(&serve->kept) : 0;
	if (parsed != OPTIONS_SERVE) {
		rc = parsed == OPTIONS_EXIT ? 0 : 2;
	} else if (rc) {
		log_error("the keeper has not handed over its sessions: %s", strerror(-rc));
		rc = 1;
	} else if (serve->options.keeper && !serve->kept) {
		rc = serve_under_keeper(argc, argv);
	} else {
		rc = serve_run(serve);
	}
	kept_close(serve->kept);
	free(serve);
	return rc;
}
