/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * os_real: the table of os.h over the Linux kernel. One per process, made before the first reactor
 * and destroyed after the last; the table never changes in between, so any thread may read it.
 *
 * The engine is chosen here once: io_uring when it was asked for and a trial ring works, since
 * container runtimes forbid it in several ways (io_uring_setup answers ENOSYS or EPERM, or only
 * io_uring_enter does); otherwise epoll, with one notice that says why.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS_DEFAULT 4
#define IO_WORKERS_MAX  8

static uint64_t real_now_ns(struct os *os)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

static const struct os_ops real_ops = {
	.now_ns = real_now_ns,
	.file_open = real_file_open,
	.file_info = real_file_info,
	.file_lock = real_file_lock,
	.file_unlock = real_file_unlock,
	.file_truncate = real_file_truncate,
	.file_read = real_file_read,
	.file_write = real_file_write,
	.file_sync = real_file_sync,
	.file_rename = real_file_rename,
	.file_unlink = real_file_unlink,
	.directory_create = real_directory_create,
	.memfd_create = real_memfd_create,
	.map = real_map,
	.unmap = real_unmap,
	.close = real_close,
	.socket_listen = real_socket_listen,
	.socket_connect = real_socket_connect,
	.socket_accept = real_socket_accept,
	.socket_receive = real_socket_receive,
	.socket_send = real_socket_send,
	.socket_peer = real_socket_peer,
	.socket_shutdown = real_socket_shutdown,
	.event_create = real_event_create,
	.event_signal = real_event_signal,
	.event_adopt = real_event_adopt,
	.ring_pending = ring_pending,
	.ring_with_threads = ring_pending, /* unless the engine knows better */
	.ring_wake = ring_wake,
	.thread_start = real_thread_start,
	.thread_join = real_thread_join,
	.thread_interrupt = real_thread_interrupt,
	.work_queue = real_work_queue,
};

/* Signalling a guest may write into a pipe whose reader is gone, and a file may reach the limit of
 * this process: both are errors of that one call, not the end of the daemon. */
static void signal_ignore(int number)
{
	struct sigaction action;

	if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
		action.sa_handler = SIG_IGN;
		sigaction(number, &action, NULL);
	}
}

static void engine_choose(struct os_real *real, bool io_uring)
{
	int rc;

	if (io_uring) {
		rc = uring_probe(real);
		if (rc == 0) {
			real->engine = "io_uring";
			uring_fill_table(&real->ops);
			return;
		}
		log_notice("io_uring cannot be used here (%s): doing I/O through epoll and "
			   "threads, which is slower",
			strerror(-rc));
	}
	real->engine = "epoll";
	epoll_fill_table(&real->ops);
}

int os_real_create(const struct os_real_options *options, struct reason *reason, struct os **ret_os)
{
	struct os_real *real = calloc(1, sizeof(*real));
	int rc;

	if (!real)
		return reason_set(reason, -ENOMEM, "out of memory");
	rc = pool_create(
		"worker", options->workers ? options->workers : WORKERS_DEFAULT, &real->workers);
	if (rc)
		goto free_real;
	rc = pool_create("io-worker", IO_WORKERS_MAX, &real->io_workers);
	if (rc)
		goto destroy_workers;
	signal_ignore(SIGPIPE);
	signal_ignore(SIGXFSZ);
	thread_interrupt_install();
	real->ops = real_ops;
	real->sockets.record_fd = -1;
	engine_choose(real, options->io_uring);
	real->os.ops = &real->ops;
	*ret_os = &real->os;
	return 0;

destroy_workers:
	pool_destroy(real->workers);
free_real:
	free(real);
	return reason_set(reason, rc, "cannot set up worker threads: %s", strerror(-rc));
}

void os_real_destroy(struct os *os)
{
	struct os_real *real;

	if (!os)
		return;
	real = os_real_of(os);
	pool_destroy(real->workers);
	pool_destroy(real->io_workers);
	free(real);
}

const char *os_real_engine(const struct os *os)
{
	return container_of(os, struct os_real, os)->engine;
}
