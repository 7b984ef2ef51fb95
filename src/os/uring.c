/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Engine "io_uring": one ring for a reactor. Submitting writes an entry into the submission queue;
 * one io_uring_enter of ring_enter hands all of them over, waits, and runs the kernel's deferred
 * completion work. There is none when nothing is queued, the kernel has nothing for us (the
 * TASKRUN flag of the submission ring says so) and no time to wait was given: a busy reactor with
 * idle watches makes no system call at all.
 *
 * Starting early: a device without work waits while a burst is taken from a guest's ring and
 * prepared, and devices that end many requests with one interrupt are often without. So a
 * submission enters at once when at least as much waits in the queue as the kernel has: a burst
 * goes in parts that double.
 *
 * Who enters: with SINGLE_ISSUER the kernel binds a ring to the thread that enables it. Rings are
 * made by the control thread before the reactor's thread exists, so they are made disabled and
 * the first ring_enter enables them. From then on only that thread may enter.
 *
 * Limits: as many os_ios as the completion queue has entries are in the kernel at once, the others
 * wait in the overflow list in the order they came. Polls of watches come on top; should
 * completions ever exceed the queue, the kernel keeps them (NODROP) and says so in a flag.
 *
 * Flags of the kernel's ring are tried from the newest kernel's set downwards; the first level
 * that was taken is remembered for all later rings. Needed at least: EXT_ARG and NODROP (5.11).
 *
 * Files that do much I/O are registered (uring_file.c). A reactor that finds nothing to do while
 * the kernel's threads do its I/O gives them the core: they are bound to the same one.
 *
 * Left out for now: registered buffers, a registered ring descriptor (has to be given back by the
 * thread that registered it), rings with polled completion.
 */
#include "os/uring_impl.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENTRIES_DEFAULT 512u
#define ENTRIES_MAX     4096u
#define CQ_FACTOR       4u
#define OFFLOAD_JOBS    16u
#define REAP_MAX        256u /* callbacks of one enter: a turn must end */

/* By kernel: 6.1, 6.0, 5.19, 5.18, 5.11. */
static const unsigned uring_flags[] = {
	IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		IORING_SETUP_SINGLE_ISSUER,
	IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_SUBMIT_ALL,
	0,
};

static int uring_queue_init(struct os_real *real, unsigned entries, struct io_uring *uring)
{
	unsigned level = atomic_load_explicit(&real->uring_level, memory_order_relaxed);
	int rc = -EINVAL;

	for (; level < ARRAY_SIZE(uring_flags); level++) {
		struct io_uring_params params = {
			.flags = uring_flags[level] | IORING_SETUP_R_DISABLED |
				 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = entries * CQ_FACTOR,
		};

		rc = io_uring_queue_init_params(entries, uring, &params);
		if (rc != -EINVAL)
			break;
	}
	if (rc == 0)
		atomic_store_explicit(&real->uring_level, level, memory_order_relaxed);
	return rc;
}

/* (liburing 2.3 has io_uring_enable_rings, but its shared library does not export it.) */
static int uring_enable(struct io_uring *uring)
{
	return io_uring_register((unsigned)uring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/* A system call filter may allow io_uring_setup and forbid io_uring_enter: try them all. */
int uring_probe(struct os_real *real)
{
	const unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
	struct __kernel_timespec timeout = {.tv_sec = 5};
	struct io_uring uring;
	struct io_uring_cqe *cqe;
	int rc;

	rc = uring_queue_init(real, 2, &uring);
	if (rc)
		return rc;
	rc = -ENOSYS;
	if ((uring.features & needed) != needed)
		goto exit_queue;
	rc = uring_enable(&uring);
	if (rc)
		goto exit_queue;
	io_uring_prep_nop(io_uring_get_sqe(&uring));
	rc = io_uring_submit_and_wait_timeout(&uring, &cqe, 1, &timeout, NULL);
	rc = rc < 0 ? rc : 0;
exit_queue:
	io_uring_queue_exit(&uring);
	return rc;
}

static int uring_create(
	struct os *os, const struct os_ring_options *options, struct os_ring **ret_ring)
{
	struct os_real *real = os_real_of(os);
	struct uring *uring = aligned_alloc(
		_Alignof(struct uring), align_up(sizeof(*uring), _Alignof(struct uring)));
	unsigned entries = options && options->entries ? options->entries : ENTRIES_DEFAULT;
	int rc;

	if (!uring)
		return -ENOMEM;
	memset(uring, 0, sizeof(*uring));
	/* The wake is a read that waits in the kernel: a non-blocking descriptor would fail it. */
	rc = os_ring_init(&uring->ring, real, OFFLOAD_JOBS, 0);
	if (rc)
		goto free_uring;
	rc = uring_queue_init(real, (unsigned)u64_min(entries, ENTRIES_MAX), &uring->uring);
	if (rc)
		goto fini_ring;
	uring->in_kernel_max = uring->uring.cq.ring_entries;
	os_io_list_init(&uring->overflow);
	watch_table_init(&uring->watches);
	*ret_ring = &uring->ring;
	return 0;

fini_ring:
	os_ring_fini(&uring->ring);
free_uring:
	free(uring);
	return rc;
}

static void uring_destroy(struct os_ring *ring)
{
	struct uring *uring = uring_of(ring);

	invariant(uring->with_threads == 0);
	io_uring_queue_exit(&uring->uring);
	os_ring_fini(ring);
	watch_table_fini(&uring->watches);
	file_table_fini(&uring->files);
	free(uring);
}

static void sqe_set_transfer(struct io_uring_sqe *sqe, const struct os_io *io)
{
	unsigned iovcnt = io->iovcnt > IO_IOV_MAX ? IO_IOV_MAX : io->iovcnt;
	bool write = io->op == OS_IO_WRITEV;

	/* One piece: the kernel need not copy an array. Its length has 32 bits there. */
	if (iovcnt == 1 && io->iov[0].iov_len <= INT32_MAX)
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, io->fd,
			io->iov[0].iov_base, (unsigned)io->iov[0].iov_len, io->offset);
	else
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, io->fd, io->iov,
			iovcnt, io->offset);
	if (write && (io->flags & OS_IO_DSYNC))
		sqe->rw_flags = RWF_DSYNC;
}

/* The kernel never does these by itself, and nothing at once on a slow file. */
static bool uring_needs_thread(const struct uring *uring, const struct os_io *io)
{
	if (io->op != OS_IO_READV && io->op != OS_IO_WRITEV)
		return true;
	return file_table_has(&uring->files, io->fd) && file_table_is_slow(&uring->files, io->fd);
}

static void sqe_set_io(struct uring *uring, struct io_uring_sqe *sqe, struct os_io *io)
{
	switch ((enum os_io_op)io->op) {
	case OS_IO_READV:
	case OS_IO_WRITEV:
		sqe_set_transfer(sqe, io);
		break;
	case OS_IO_FDATASYNC:
		io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
		break;
	case OS_IO_PUNCH_HOLE:
	case OS_IO_ZERO_RANGE:
		io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, io->fd,
			(const void *)(uintptr_t)io->length,
			(unsigned)blocking_io_fallocate_mode(io), io->offset);
		break;
	}
	/* The index in the kernel's table is the descriptor. */
	if (likely(file_table_has(&uring->files, io->fd)))
		sqe->flags |= IOSQE_FIXED_FILE;
	uring->with_threads += uring_needs_thread(uring, io);
	sqe->user_data = (uintptr_t)io | URING_IO;
}

/* False: no room. */
static bool uring_queue_io(struct uring *uring, struct os_io *io)
{
	struct io_uring_sqe *sqe;

	if (uring->in_kernel >= uring->in_kernel_max)
		return false;
	sqe = io_uring_get_sqe(&uring->uring);
	if (!sqe)
		return false;
	sqe_set_io(uring, sqe, io);
	uring->in_kernel++;
	return true;
}

/* Not where the kernel's threads do the work: they have this thread's core, and each part costs
 * them a wake-up. */
static void uring_hurry(struct uring *uring, int fd)
{
	if (!file_table_has(&uring->files, fd) || file_table_is_slow(&uring->files, fd))
		return;
	if (io_uring_sq_ready(&uring->uring) * 2 > uring->in_kernel && uring->enabled)
		io_uring_submit(&uring->uring);
}

static void uring_submit(struct os_ring *ring, struct os_io *io)
{
	struct uring *uring = uring_of(ring);

	ring->in_flight++;
	if (unlikely(io->op == OS_IO_PUNCH_HOLE) && blocking_io_is_discard(io))
		offload_submit(&ring->offload, io);
	else if (uring->overflow.head || !uring_queue_io(uring, io))
		os_io_list_add(&uring->overflow, io);
	else
		uring_hurry(uring, io->fd);
}

/* Queues what waits; true when the submission queue was too short for it. */
static bool uring_fill(struct uring *uring)
{
	if (watch_table_fill(uring))
		return true;
	while (uring->overflow.head) {
		struct os_io *next = uring->overflow.head->next;

		if (!uring_queue_io(uring, uring->overflow.head))
			return uring->in_kernel < uring->in_kernel_max;
		/* Its owner gets it back only through done: next is still ours. */
		uring->overflow.head = next;
		if (!next)
			uring->overflow.tail = &uring->overflow.head;
	}
	return false;
}

/* Does the kernel hold completions back until somebody enters? */
static bool uring_has_task_work(const struct uring *uring)
{
	/* Acquire is not needed: the enter that follows orders everything. */
	return IO_URING_READ_ONCE(*uring->uring.sq.kflags) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Without waiting, and without a system call when there is no need for one. */
static void uring_enter_now(struct uring *uring)
{
	if (io_uring_sq_ready(&uring->uring))
		io_uring_submit_and_get_events(&uring->uring);
	else if (uring_has_task_work(uring))
		io_uring_get_events(&uring->uring);
	else if (unlikely(uring->with_threads) && !io_uring_cq_ready(&uring->uring))
		sched_yield();
}

static unsigned uring_with_threads(const struct os_ring *ring)
{
	const struct uring *uring = container_of(ring, const struct uring, ring);

	return uring->with_threads;
}

static bool uring_arm_wake(struct uring *uring)
{
	struct io_uring_sqe *sqe;

	if (uring->wake_armed)
		return true;
	sqe = io_uring_get_sqe(&uring->uring);
	if (!sqe)
		return false;
	io_uring_prep_rw(IORING_OP_READ, sqe, uring->ring.wake_fd, &uring->wake_value,
		sizeof(uring->wake_value), 0);
	sqe->user_data = URING_WAKE;
	uring->wake_armed = true;
	return true;
}

static void uring_enter_wait(struct uring *uring, uint64_t timeout_ns)
{
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)(timeout_ns / SEC_NS),
		.tv_nsec = (long long)(timeout_ns % SEC_NS),
	};
	struct io_uring_cqe *cqe;

	if (io_uring_cq_ready(&uring->uring) || !uring_arm_wake(uring) ||
		!ring_sleep_begin(&uring->ring)) {
		uring_enter_now(uring);
		return;
	}
	/* Timeouts, signals and a lack of memory all mean: look what is there, come again. */
	io_uring_submit_and_wait_timeout(
		&uring->uring, &cqe, 1, timeout_ns == OS_WAIT_FOREVER ? NULL : &ts, NULL);
	ring_sleep_end(&uring->ring);
}

static unsigned uring_complete(struct uring *uring, uint64_t user_data, int32_t res)
{
	struct os_io *io;

	switch ((enum uring_tag)(user_data & URING_TAG_MASK)) {
	case URING_IO:
		io = (struct os_io *)(uintptr_t)user_data;
		uring->in_kernel--;
		if (unlikely(uring->with_threads))
			uring->with_threads -= uring_needs_thread(uring, io);
		io->result = res;
		ring_complete(&uring->ring, io);
		return 1;
	case URING_WATCH:
		return watch_complete(uring, user_data, res);
	case URING_WAKE:
		uring->wake_armed = false;
		return 0;
	case URING_CANCEL:
	case URING_TAG_MASK:
		break;
	}
	return 0;
}

static unsigned uring_reap(struct uring *uring)
{
	struct io_uring_cqe *cqe;
	unsigned head;
	unsigned seen = 0;
	unsigned called = 0;

	/* The callbacks submit and watch, but only ring_enter touches the completion queue. */
	io_uring_for_each_cqe(&uring->uring, head, cqe)
	{
		called += uring_complete(uring, cqe->user_data, cqe->res);
		if (++seen == REAP_MAX)
			break;
	}
	io_uring_cq_advance(&uring->uring, seen);
	return called;
}

static unsigned uring_enter(struct os_ring *ring, uint64_t timeout_ns)
{
	struct uring *uring = uring_of(ring);

	if (unlikely(!uring->enabled)) {
		int rc = uring_enable(&uring->uring);

		invariant(rc == 0);
		uring->enabled = true;
	}
	/* More than the queue holds: the only case of more than one io_uring_enter. */
	while (unlikely(uring_fill(uring))) {
		if (io_uring_submit(&uring->uring) < 0)
			break;
	}
	if (timeout_ns == 0)
		uring_enter_now(uring);
	else
		uring_enter_wait(uring, timeout_ns);
	return uring_reap(uring) + offload_reap(&ring->offload);
}

void uring_fill_table(struct os_ops *ops)
{
	ops->ring_create = uring_create;
	ops->ring_destroy = uring_destroy;
	ops->ring_submit = uring_submit;
	ops->ring_watch = uring_watch;
	ops->ring_unwatch = uring_unwatch;
	ops->ring_enter = uring_enter;
	ops->ring_with_threads = uring_with_threads;
	ops->ring_file_keep = uring_file_keep;
	ops->ring_file_drop = uring_file_drop;
}
