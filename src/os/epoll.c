/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Engine "epoll": the ring where io_uring is forbidden. Operations run on the pool of io workers
 * with blocking calls and come back through the offload queue; watches are entries of an epoll
 * instance. Complete, and slower by two thread switches for each operation.
 *
 * epoll knows an open file by its descriptor and by its file together, and keeps an entry as long
 * as anybody has the file open, which with a guest's eventfd is another process. So an entry
 * exists exactly while a watch of its descriptor is armed: added with the first, changed with
 * each further one, deleted when the last has fired or was unwatched. An entry therefore never
 * belongs to a descriptor that was closed and used again.
 *
 * Several watches of one descriptor are allowed (readable and writable of one socket); the table
 * by descriptor holds them in a list. What was unwatched has left its list and cannot be called,
 * though its event may be in the array that ring_enter is working on.
 *
 * What epoll refuses to watch (regular files) is ready at once, as poll would have it; event
 * descriptors that are at their end stay armed and silent, as in the other engine.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define JOBS_DEFAULT 256u
#define JOBS_MAX     4096u
#define EVENTS_MAX   256
#define FDS_FIRST    64u

/* What is watched of one descriptor. */
struct watched_fd {
	struct list watches; /* of os_watch */
	uint32_t interest; /* what epoll has; 0: no entry */
};

struct epoll_ring {
	struct os_ring ring;
	int epoll_fd;
	struct watched_fd **fds; /* by descriptor */
	unsigned fds_count;
	struct list refused; /* os_watch that are ready because epoll will not watch them */
};

static inline struct epoll_ring *epoll_ring_of(struct os_ring *ring)
{
	return container_of(ring, struct epoll_ring, ring);
}

static int epoll_create_ring(
	struct os *os, const struct os_ring_options *options, struct os_ring **ret_ring)
{
	struct epoll_ring *epoll = aligned_alloc(
		_Alignof(struct epoll_ring), align_up(sizeof(*epoll), _Alignof(struct epoll_ring)));
	unsigned jobs = options && options->entries ? options->entries : JOBS_DEFAULT;
	struct epoll_event event = {.events = EPOLLIN, .data.fd = -1};
	int rc;

	if (!epoll)
		return -ENOMEM;
	memset(epoll, 0, sizeof(*epoll));
	list_init(&epoll->refused);
	rc = os_ring_init(
		&epoll->ring, os_real_of(os), (unsigned)u64_min(jobs, JOBS_MAX), EFD_NONBLOCK);
	if (rc)
		goto free_epoll;
	epoll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll->epoll_fd < 0) {
		rc = -errno;
		goto fini_ring;
	}
	if (epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, epoll->ring.wake_fd, &event) < 0) {
		rc = -errno;
		goto close_epoll;
	}
	*ret_ring = &epoll->ring;
	return 0;

close_epoll:
	close(epoll->epoll_fd);
fini_ring:
	os_ring_fini(&epoll->ring);
free_epoll:
	free(epoll);
	return rc;
}

static void epoll_destroy_ring(struct os_ring *ring)
{
	struct epoll_ring *epoll = epoll_ring_of(ring);

	close(epoll->epoll_fd);
	os_ring_fini(ring);
	for (unsigned i = 0; i < epoll->fds_count; i++)
		free(epoll->fds[i]);
	free(epoll->fds);
	free(epoll);
}

static void epoll_submit(struct os_ring *ring, struct os_io *io)
{
	ring->in_flight++;
	offload_submit(&ring->offload, io);
}

/* There is no going on without the memory: watches cannot fail. */
static struct watched_fd *watched_fd_get(struct epoll_ring *epoll, int fd)
{
	unsigned index = (unsigned)fd;

	if (index >= epoll->fds_count) {
		unsigned count = epoll->fds_count ? epoll->fds_count : FDS_FIRST;
		struct watched_fd **fds;

		while (count <= index)
			count *= 2;
		fds = realloc(epoll->fds, count * sizeof(struct watched_fd *));
		invariant(fds != NULL);
		memset(fds + epoll->fds_count, 0,
			(count - epoll->fds_count) * sizeof(struct watched_fd *));
		epoll->fds = fds;
		epoll->fds_count = count;
	}
	if (!epoll->fds[index]) {
		struct watched_fd *watched = calloc(1, sizeof(*watched));

		invariant(watched != NULL);
		list_init(&watched->watches);
		epoll->fds[index] = watched;
	}
	return epoll->fds[index];
}

static uint32_t watch_interest(const struct os_watch *watch)
{
	return watch->kind == OS_WATCH_WRITABLE ? EPOLLOUT : EPOLLIN;
}

/* Brings epoll's entry in line with the armed watches. */
static int watched_fd_update(struct epoll_ring *epoll, struct watched_fd *watched, int fd)
{
	struct epoll_event event = {.data.fd = fd};
	struct os_watch *watch;
	int op = EPOLL_CTL_MOD;

	list_for_each_entry (watch, &watched->watches, link)
		event.events |= watch_interest(watch);
	if (event.events == watched->interest)
		return 0;
	if (watched->interest == 0)
		op = EPOLL_CTL_ADD;
	else if (event.events == 0)
		op = EPOLL_CTL_DEL;
	watched->interest = event.events;
	if (epoll_ctl(epoll->epoll_fd, op, fd, &event) == 0 || op == EPOLL_CTL_DEL)
		return 0;
	watched->interest = 0;
	return -errno;
}

static void epoll_watch(struct os_ring *ring, struct os_watch *watch)
{
	struct epoll_ring *epoll = epoll_ring_of(ring);
	struct watched_fd *watched;

	if (watch->armed)
		return;
	watch->armed = true;
	if (watch->fd < 0) {
		list_add_tail(&epoll->refused, &watch->link);
		return;
	}
	watched = watched_fd_get(epoll, watch->fd);
	list_add_tail(&watched->watches, &watch->link);
	if (watched_fd_update(epoll, watched, watch->fd) < 0)
		list_move_all(&epoll->refused, &watched->watches);
}

static void epoll_unwatch(struct os_ring *ring, struct os_watch *watch)
{
	struct epoll_ring *epoll = epoll_ring_of(ring);

	if (!watch->armed)
		return;
	watch->armed = false;
	list_remove(&watch->link);
	if (watch->fd >= 0)
		watched_fd_update(epoll, watched_fd_get(epoll, watch->fd), watch->fd);
}

/* The watch has left its list. */
static unsigned watch_fire(struct os_watch *watch)
{
	if (watch->kind == OS_WATCH_EVENT && !event_drain(watch->fd))
		return 0;
	watch->armed = false;
	watch->ready(watch);
	return 1;
}

/* Callbacks may unwatch others of the list, or arm again what has just fired. */
static unsigned watch_list_fire(struct list *ready)
{
	unsigned called = 0;

	while (!list_is_empty(ready)) {
		struct os_watch *watch = list_first_entry(ready, struct os_watch, link);

		list_remove(&watch->link);
		called += watch_fire(watch);
	}
	return called;
}

static unsigned watched_fd_ready(struct epoll_ring *epoll, int fd, uint32_t events)
{
	struct watched_fd *watched = watched_fd_get(epoll, fd);
	struct os_watch *watch;
	struct os_watch *tmp;
	struct list ready = LIST_INIT(ready);

	/* A hang-up or an error is for everybody. */
	if (events & (EPOLLERR | EPOLLHUP))
		events |= EPOLLIN | EPOLLOUT;
	list_for_each_entry_safe (watch, tmp, &watched->watches, link) {
		if (!(watch_interest(watch) & events))
			continue;
		list_remove(&watch->link);
		list_add_tail(&ready, &watch->link);
	}
	watched_fd_update(epoll, watched, fd);
	return watch_list_fire(&ready);
}

static int epoll_wait_ns(struct epoll_ring *epoll, struct epoll_event *events, uint64_t timeout_ns)
{
	static _Atomic bool coarse;
	struct timespec ts = {
		.tv_sec = (time_t)(timeout_ns / SEC_NS),
		.tv_nsec = (long)(timeout_ns % SEC_NS),
	};
	bool forever = timeout_ns == OS_WAIT_FOREVER;
	uint64_t timeout_ms;
	int n;

	if (timeout_ns && !atomic_load_explicit(&coarse, memory_order_relaxed)) {
		n = epoll_pwait2(epoll->epoll_fd, events, EVENTS_MAX, forever ? NULL : &ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		/* An old kernel, or a filter older than the call: milliseconds have to do. */
		atomic_store_explicit(&coarse, true, memory_order_relaxed);
	}
	timeout_ms = (timeout_ns + MSEC_NS - 1) / MSEC_NS;
	if (forever)
		return epoll_wait(epoll->epoll_fd, events, EVENTS_MAX, -1);
	return epoll_wait(epoll->epoll_fd, events, EVENTS_MAX, (int)u64_min(timeout_ms, INT32_MAX));
}

static unsigned epoll_enter(struct os_ring *ring, uint64_t timeout_ns)
{
	struct epoll_ring *epoll = epoll_ring_of(ring);
	struct epoll_event events[EVENTS_MAX];
	struct list refused = LIST_INIT(refused);
	unsigned called = 0;
	bool asleep = false;
	int n;

	list_move_all(&refused, &epoll->refused);
	if (!list_is_empty(&refused))
		timeout_ns = 0;
	if (timeout_ns)
		asleep = ring_sleep_begin(ring);
	n = epoll_wait_ns(epoll, events, asleep ? timeout_ns : 0);
	if (asleep)
		ring_sleep_end(ring);
	for (int i = 0; i < n; i++) {
		if (events[i].data.fd == -1)
			event_drain(ring->wake_fd);
		else
			called += watched_fd_ready(epoll, events[i].data.fd, events[i].events);
	}
	called += watch_list_fire(&refused);
	return called + offload_reap(&ring->offload);
}

/* A blocking call looks its descriptor up in any case. */
static void epoll_file_keep_nothing(struct os_ring *ring, int fd)
{
}

void epoll_fill_table(struct os_ops *ops)
{
	ops->ring_create = epoll_create_ring;
	ops->ring_destroy = epoll_destroy_ring;
	ops->ring_submit = epoll_submit;
	ops->ring_watch = epoll_watch;
	ops->ring_unwatch = epoll_unwatch;
	ops->ring_enter = epoll_enter;
	ops->ring_file_keep = epoll_file_keep_nothing;
	ops->ring_file_drop = epoll_file_keep_nothing;
}
