/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real side of os.h, an index by file:
 *
 *	real.c         the table, create and destroy, the clock
 *	real_file.c    files, directories, memfd, mappings
 *	real_info.c    what a file or block device is: sizes, alignments, discard
 *	real_lock.c    flock() and who holds it
 *	real_listen.c  listening and connecting sockets
 *	real_sockets.c	what is left in the directory of sockets
 *	real_socket.c  bytes and descriptors through a socket
 *	real_event.c   eventfds and what is used in their place
 *	real_thread.c  threads of reactors
 *	real_worker.c  pools of threads for calls that block
 *	blocking_io.c  one os_io done with blocking calls
 *	offload.c      os_ios of a ring done by a pool
 *	ring.c         what both engines share: waking, counting
 *	uring.c        engine "io_uring": ring, submission, completion
 *	uring_watch.c  its watches
 *	uring_file.c   its registered files
 *	epoll.c        engine "epoll": the ring without io_uring
 *
 * Two pools: workers run os_works, io_workers run os_ios that cannot be had asynchronously. They
 * are apart so that a discard of minutes does not stop the mapping of a guest's memory.
 */
#ifndef OS_REAL_IMPL_H
#define OS_REAL_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mpsc.h"
#include "os/os.h"

struct pool;
struct os_real;

struct os_real {
	struct os os;
	struct os_ops ops;
	const char *engine;
	struct pool *workers;
	struct pool *io_workers;
	_Atomic unsigned uring_level; /* flags the kernel takes, see uring.c */
	struct {
		int record_fd; /* -1: none */
		size_t record_limit; /* bytes */
		char *directory; /* and which that is: */
		dev_t device;
		ino_t inode;
	} sockets; /* real_sockets.c */
};

static inline struct os_real *os_real_of(struct os *os)
{
	return container_of(os, struct os_real, os);
}

/* ---- sockets and their directory: real_listen.c, real_sockets.c -------------------------- */

/* A descriptor that has the directory's lock for as long as it is open, or -1. Others than us may
 * hold such a lock: it is waited for 200 ms. */
int directory_lock(const char *directory);
/* A connection: is the process that listens there no more? */
bool socket_listener_is_dead(int fd);
/* Directory locked: a socket of that name is about to appear. */
void sockets_record(struct os_real *real, int directory, const char *name);

/* ---- pools: real_worker.c -------------------------------------------------------------- */

/* Up to max threads, started when needed, named name. */
int pool_create(const char *name, unsigned max, struct pool **ret_pool) MUST_CHECK;
/* Runs what is queued to its end and joins. NULL is allowed. */
void pool_destroy(struct pool *pool);
/* Any thread. */
void pool_queue(struct pool *pool, struct os_work *work);

void real_work_queue(struct os *os, struct os_work *work);

/* ---- an os_io with blocking calls: blocking_io.c ------------------------------------------ */

/* The kernel takes no more in one call; the rest is a short transfer. */
#define IO_IOV_MAX 1024u

/* Bytes, 0 or -errno. Blocks. */
int64_t blocking_io_run(const struct os_io *io);
/* Is this PUNCH_HOLE a discard of a block device? Does not block. */
bool blocking_io_is_discard(const struct os_io *io);
/* mode argument of fallocate for PUNCH_HOLE and ZERO_RANGE. */
int blocking_io_fallocate_mode(const struct os_io *io);

/* ---- os_ios of a ring on a pool: offload.c ------------------------------------------------ */

struct os_io_list {
	struct os_io *head;
	struct os_io **tail;
};

static inline void os_io_list_init(struct os_io_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static inline void os_io_list_add(struct os_io_list *list, struct os_io *io)
{
	io->next = NULL;
	*list->tail = io;
	list->tail = &io->next;
}

/* The list must not be empty. */
static inline struct os_io *os_io_list_take(struct os_io_list *list)
{
	struct os_io *io = list->head;

	list->head = io->next;
	if (!list->head)
		list->tail = &list->head;
	return io;
}

struct offload_job;

struct offload {
	struct pool *pool;
	struct os_ring *ring; /* woken when a job has ended */
	struct offload_job *jobs;
	struct offload_job *free;
	struct os_io_list waiting; /* no free job */
	struct mpsc ended; /* of offload_job, pushed by workers */
	_Atomic unsigned busy; /* workers that may still touch the ring */
};

/* Ring's thread, all of them. */
int offload_init(
	struct offload *offload, struct os_ring *ring, struct pool *pool, unsigned jobs) MUST_CHECK;
/* Nothing may be in flight. */
void offload_fini(struct offload *offload);
void offload_submit(struct offload *offload, struct os_io *io);
/* Calls done of what has ended; returns how many. */
unsigned offload_reap(struct offload *offload);

/* ---- common part of a ring: ring.c -------------------------------------------------------- */

struct os_ring {
	struct os_real *real;
	struct offload offload;
	unsigned in_flight; /* os_ios submitted and not done */
	int wake_fd;

	/* Written by other threads. A waker sets woken, then looks at sleeping; the sleeper sets
	 * sleeping, then looks at woken (all seq_cst), so that one of them sees the other. */
	CACHE_ALIGNED _Atomic bool woken;
	_Atomic bool sleeping;
};

/* wake_flags: flags of the eventfd that wakes a sleeper. */
int os_ring_init(
	struct os_ring *ring, struct os_real *real, unsigned jobs, int wake_flags) MUST_CHECK;
void os_ring_fini(struct os_ring *ring);
/* False: somebody has called, do not sleep. True: sleep, then ring_sleep_end. */
bool ring_sleep_begin(struct os_ring *ring);
void ring_sleep_end(struct os_ring *ring);
/* An offloaded os_io has ended. Any thread. */
void ring_notify(struct os_ring *ring);
/* The table's. */
unsigned ring_pending(const struct os_ring *ring);
void ring_wake(struct os_ring *ring);
/* result is set: takes it out of the count and calls done. */
void ring_complete(struct os_ring *ring, struct os_io *io);

/* ---- engines ------------------------------------------------------------------------------ */

/* 0 when this process may use io_uring and it is new enough, else -errno. */
int uring_probe(struct os_real *real) MUST_CHECK;
void uring_fill_table(struct os_ops *ops);
void epoll_fill_table(struct os_ops *ops);

/* ---- entries of the table that stand in files of their own --------------------------------- */

int real_file_open(struct os *os, const char *path, unsigned flags, unsigned mode, int *ret_fd);
int real_file_info(struct os *os, int fd, struct os_file_info *ret_info);
int real_file_lock(struct os *os, int fd, bool exclusive, struct reason *reason);
int real_file_unlock(struct os *os, int fd);
int real_file_truncate(struct os *os, int fd, uint64_t size_bytes);
int64_t real_file_read(struct os *os, int fd, void *buf, size_t len, uint64_t offset);
int64_t real_file_write(struct os *os, int fd, const void *buf, size_t len, uint64_t offset);
int real_file_sync(struct os *os, int fd);
int real_file_rename(struct os *os, const char *from, const char *to);
int real_file_unlink(struct os *os, const char *path);
int real_directory_create(struct os *os, const char *path, unsigned mode);
int real_memfd_create(struct os *os, const char *name, uint64_t size_bytes, int *ret_fd);
int real_map(struct os *os, int fd, uint64_t offset, size_t len, bool populate, void **ret_addr);
void real_unmap(struct os *os, void *addr, size_t len);
void real_close(struct os *os, int fd);

int real_socket_listen(
	struct os *os, const char *path, unsigned mode, struct reason *reason, int *ret_fd);
int real_socket_connect(struct os *os, const char *path, int *ret_fd);
int real_socket_accept(struct os *os, int fd, int *ret_fd);
int64_t real_socket_receive(struct os *os, int fd, void *buf, size_t len, int *fds,
	unsigned fds_max, unsigned *ret_nfds);
int64_t real_socket_send(
	struct os *os, int fd, const void *buf, size_t len, const int *fds, unsigned nfds);
int real_socket_peer(struct os *os, int fd, struct os_peer *ret_peer);
void real_socket_shutdown(struct os *os, int fd);

int real_event_create(struct os *os, int *ret_fd);
int real_event_signal(struct os *os, int fd);
int real_event_adopt(struct os *os, int fd);
/* For OS_WATCH_EVENT. False: at its end or failed, it will never tell anything again. */
bool event_drain(int fd);

int real_thread_start(struct os *os, const struct os_thread_options *options, void **ret_thread);
void real_thread_join(struct os *os, void *thread);
void real_thread_interrupt(struct os *os, void *thread);
/* The handler that it needs. */
void thread_interrupt_install(void);
/* pthread_create with all signals blocked that are not the thread's own fault. cpu -1: anywhere. */
int thread_create(const char *name, int cpu, void *(*run)(void *arg), void *arg,
	pthread_t *ret_thread) MUST_CHECK;

#endif
