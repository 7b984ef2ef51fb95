/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A shared file can be truncated by its owner, and hugetlbfs or a full tmpfs can fail at first
 * touch: then the thread of ours that touches the page gets SIGBUS. The handler finds the mapping
 * that holds the address, maps anonymous zero pages over all of it, marks its owner dead and wakes
 * the control reactor; the thread goes on over zero pages, and the session is taken down. A fault
 * at an address of nobody goes where it would have gone without us: to the handler that was there
 * before, or the default action.
 *
 * The table is read by the handler on any thread at any time, so it takes no lock and allocates
 * nothing: blocks of slots that are only ever appended, never freed while the handler is installed.
 * A slot is written by the control reactor alone, its fields between two increments of a sequence
 * number (odd: being written); the handler skips a slot that changes while it reads. It cannot skip
 * the right one: the slot of a mapping that a thread is touching is not being written.
 *
 * System calls through io_uring, read or write get EFAULT instead of a signal: the device models
 * turn that into an I/O error.
 *
 * mmap is not on POSIX's list of async-signal-safe functions; on Linux it is a bare system call.
 * Signals have no place in the os table: a simulated host has none.
 */
#include "vhost/sigbus_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "os/os.h"

#define SIGBUS_BLOCK_SLOTS 256

struct sigbus_slot {
	_Atomic unsigned sequence;
	_Atomic uintptr_t addr; /* 0: free */
	_Atomic size_t len;
	_Atomic(struct sigbus_owner *) owner;
};

struct sigbus_block {
	_Atomic(struct sigbus_block *) next;
	struct sigbus_slot slots[SIGBUS_BLOCK_SLOTS];
};

static _Atomic(struct sigbus_block *) sigbus_blocks;
static struct sigaction sigbus_previous;
static unsigned sigbus_users;

/* ---- the handler ------------------------------------------------------------------------- */

struct sigbus_range {
	uintptr_t addr;
	size_t len;
	struct sigbus_owner *owner;
};

static bool sigbus_slot_read(struct sigbus_slot *slot, struct sigbus_range *range)
{
	unsigned sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);

	range->addr = atomic_load_explicit(&slot->addr, memory_order_relaxed);
	range->len = atomic_load_explicit(&slot->len, memory_order_relaxed);
	range->owner = atomic_load_explicit(&slot->owner, memory_order_relaxed);
	/* The fields are read before the second look at the number. */
	atomic_thread_fence(memory_order_acquire);
	return !(sequence & 1) && range->addr &&
	       atomic_load_explicit(&slot->sequence, memory_order_relaxed) == sequence;
}

static bool sigbus_find(uintptr_t addr, struct sigbus_range *ret_range)
{
	struct sigbus_block *block = atomic_load_explicit(&sigbus_blocks, memory_order_acquire);

	for (; block; block = atomic_load_explicit(&block->next, memory_order_acquire)) {
		for (unsigned i = 0; i < SIGBUS_BLOCK_SLOTS; i++) {
			if (sigbus_slot_read(&block->slots[i], ret_range) &&
				addr - ret_range->addr < ret_range->len)
				return true;
		}
	}
	return false;
}

static bool sigbus_replace(uintptr_t addr)
{
	struct sigbus_range range;
	void *zero;

	if (!sigbus_find(addr, &range))
		return false;
	zero = mmap((void *)range.addr, range.len, PROT_READ | PROT_WRITE, /* NOLINT */
		MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (zero == MAP_FAILED)
		return false;
	atomic_store_explicit(&range.owner->hit, true, memory_order_release);
	range.owner->os->ops->event_signal(range.owner->os, range.owner->event_fd);
	return true;
}

static void sigbus_pass_on(int number, siginfo_t *info, void *context)
{
	if (sigbus_previous.sa_flags & SA_SIGINFO) {
		sigbus_previous.sa_sigaction(number, info, context);
	} else if (sigbus_previous.sa_handler != SIG_DFL && sigbus_previous.sa_handler != SIG_IGN) {
		sigbus_previous.sa_handler(number);
	} else {
		/* The instruction runs again, faults again, and the process ends with a core. */
		signal(SIGBUS, SIG_DFL);
		if (info->si_code <= 0) /* sent by kill: there is no instruction to repeat */
			raise(SIGBUS);
	}
}

static void sigbus_handle(int number, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if (info->si_code <= 0 || !sigbus_replace((uintptr_t)info->si_addr))
		sigbus_pass_on(number, info, context);
	errno = saved_errno;
}

/* ---- the table --------------------------------------------------------------------------- */

int sigbus_install(void)
{
	struct sigaction action = {.sa_sigaction = sigbus_handle, .sa_flags = SA_SIGINFO};

	if (sigbus_users++ > 0)
		return 0;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &sigbus_previous) < 0) {
		sigbus_users--;
		return -errno;
	}
	return 0;
}

void sigbus_uninstall(void)
{
	struct sigbus_block *block;

	if (--sigbus_users > 0)
		return;
	sigaction(SIGBUS, &sigbus_previous, NULL);
	block = atomic_exchange(&sigbus_blocks, NULL);
	while (block) {
		struct sigbus_block *next = atomic_load(&block->next);

		free(block);
		block = next;
	}
}

static void sigbus_slot_write(
	struct sigbus_slot *slot, uintptr_t addr, size_t len, struct sigbus_owner *owner)
{
	unsigned sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);

	atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
	/* The odd number is seen before the fields change ... */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&slot->addr, addr, memory_order_relaxed);
	atomic_store_explicit(&slot->len, len, memory_order_relaxed);
	atomic_store_explicit(&slot->owner, owner, memory_order_relaxed);
	/* ... and they before the even one. */
	atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
}

static struct sigbus_slot *sigbus_free_slot(struct sigbus_block *block)
{
	for (unsigned i = 0; i < SIGBUS_BLOCK_SLOTS; i++) {
		if (!atomic_load_explicit(&block->slots[i].addr, memory_order_relaxed))
			return &block->slots[i];
	}
	return NULL;
}

int sigbus_add(void *addr, size_t len, struct sigbus_owner *owner, struct sigbus_slot **ret_slot)
{
	_Atomic(struct sigbus_block *) *link = &sigbus_blocks;
	struct sigbus_block *block;
	struct sigbus_slot *slot = NULL;

	while ((block = atomic_load_explicit(link, memory_order_relaxed)) != NULL) {
		slot = sigbus_free_slot(block);
		if (slot)
			break;
		link = &block->next;
	}
	if (!slot) {
		block = calloc(1, sizeof(*block));
		if (!block)
			return -ENOMEM;
		atomic_store_explicit(link, block, memory_order_release);
		slot = &block->slots[0];
	}
	sigbus_slot_write(slot, (uintptr_t)addr, len, owner);
	*ret_slot = slot;
	return 0;
}

void sigbus_remove(struct sigbus_slot *slot)
{
	if (slot)
		sigbus_slot_write(slot, 0, 0, NULL);
}
