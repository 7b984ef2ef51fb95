/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the rings of both engines share: the count of operations, the pool that does what the
 * engine cannot, and waking. A wake costs a system call only when the ring's thread sleeps or is
 * just going to; otherwise it is remembered and the next enter with a timeout does not sleep.
 */
#include "os/real_impl.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int os_ring_init(struct os_ring *ring, struct os_real *real, unsigned jobs, int wake_flags)
{
	int rc;

	ring->real = real;
	ring->wake_fd = eventfd(0, EFD_CLOEXEC | wake_flags);
	if (ring->wake_fd < 0)
		return -errno;
	rc = offload_init(&ring->offload, ring, real->io_workers, jobs);
	if (rc)
		close(ring->wake_fd);
	return rc;
}

void os_ring_fini(struct os_ring *ring)
{
	invariant(ring->in_flight == 0);
	offload_fini(&ring->offload);
	close(ring->wake_fd);
}

void ring_notify(struct os_ring *ring)
{
	const uint64_t one = 1;

	/* Only one of several wakers pays. Blocking or full is impossible with an eventfd that
	 * gets one for every time somebody has slept. */
	if (atomic_load_explicit(&ring->sleeping, memory_order_seq_cst) &&
		atomic_exchange_explicit(&ring->sleeping, false, memory_order_seq_cst)) {
		if (write(ring->wake_fd, &one, sizeof(one)) < 0)
			log_error("cannot wake a reactor: errno %d", errno);
	}
}

void ring_wake(struct os_ring *ring)
{
	atomic_store_explicit(&ring->woken, true, memory_order_seq_cst);
	ring_notify(ring);
}

bool ring_sleep_begin(struct os_ring *ring)
{
	atomic_store_explicit(&ring->sleeping, true, memory_order_seq_cst);
	if (!atomic_load_explicit(&ring->woken, memory_order_seq_cst) &&
		mpsc_is_empty(&ring->offload.ended))
		return true;
	ring_sleep_end(ring);
	return false;
}

void ring_sleep_end(struct os_ring *ring)
{
	atomic_store_explicit(&ring->sleeping, false, memory_order_seq_cst);
	/* Acquire with the exchange: what the waker wrote before it woke us is seen after. */
	atomic_exchange_explicit(&ring->woken, false, memory_order_acq_rel);
}

unsigned ring_pending(const struct os_ring *ring)
{
	return ring->in_flight;
}

void ring_complete(struct os_ring *ring, struct os_io *io)
{
	ring->in_flight--;
	io->done(io);
}
