/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The edge to Linux. Nothing above this folder asks the kernel for time, files, sockets, eventfds,
 * threads or mappings: it calls through a `struct os`, which is a table of functions. There are
 *  - os_real(): the kernel; asynchronous I/O through io_uring, or through epoll and threads where
 *    io_uring is forbidden (os_real_options.io_uring = false, or found out at run time);
 *  - tests/sim: a simulated clock, disk, sockets and eventfds, in one thread, scheduled by a seed.
 *
 * Conventions: functions return 0 or a positive count, or -errno. A descriptor is an int >= 0; in
 * the simulation it means nothing to the kernel. Times are CLOCK_MONOTONIC nanoseconds. Functions
 * marked "blocks" may sleep in the kernel: only workers and the start of the process call them.
 */
#ifndef OS_OS_H
#define OS_OS_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/list.h"
#include "base/reason.h"
#include "base/text.h"

struct os;
struct os_ring;

/* ---- files ------------------------------------------------------------------------------ */

enum os_file_kind {
	OS_FILE_REGULAR, /* also memfd and hugetlbfs */
	OS_FILE_BLOCK,
	OS_FILE_CHAR,
	OS_FILE_SOCKET,
	OS_FILE_PIPE,
	OS_FILE_DIRECTORY,
	OS_FILE_ANON, /* eventfd and its like */
};

struct os_file_info {
	enum os_file_kind kind;
	uint64_t size_bytes; /* of a block device its capacity */
	uint64_t device; /* st_dev, of a block device st_rdev */
	uint64_t inode;
	uint32_t block_size; /* logical sector; 512 for files */
	uint32_t physical_block_size; /* what the device says; block_size where it says nothing */
	uint32_t dio_memory_align; /* O_DIRECT: alignment of buffers and of their lengths */
	uint32_t dio_offset_align; /* O_DIRECT: alignment of offset and length; 0: no O_DIRECT */
	uint32_t map_page_size; /* granularity of map(): huge page size on hugetlbfs */
	uint32_t discard_granularity; /* bytes; 0: no discard */
	uint32_t optimal_io_bytes; /* 0: not said */
	bool read_only; /* block device marked read-only */
	bool rotational;
};

enum os_open_flags {
	OS_OPEN_READ = 0,
	OS_OPEN_WRITE = 1 << 0, /* reading too */
	OS_OPEN_CREATE = 1 << 1,
	/* O_EXCL. Without CREATE, of a block device: fails while mounted or so opened elsewhere. */
	OS_OPEN_EXCLUSIVE = 1 << 2,
	OS_OPEN_DIRECT = 1 << 3, /* O_DIRECT */
	OS_OPEN_TRUNCATE = 1 << 4,
	OS_OPEN_DIRECTORY = 1 << 5,
};

/* ---- asynchronous operations ------------------------------------------------------------ */

enum os_io_op {
	OS_IO_READV,
	OS_IO_WRITEV,
	OS_IO_FDATASYNC,
	OS_IO_PUNCH_HOLE, /* fallocate(PUNCH_HOLE | KEEP_SIZE), on block devices BLKDISCARD */
	OS_IO_ZERO_RANGE, /* fallocate(ZERO_RANGE | KEEP_SIZE), BLKZEROOUT: reads zeroes after */
};

enum os_io_flags {
	OS_IO_DSYNC = 1 << 0, /* RWF_DSYNC: stable before it completes */
};

/*
 * One operation, embedded in its owner's request. The owner fills the first part and submits; the
 * ring writes result and calls done from os_ring_enter of the same ring, never from submit.
 * iov and what it points to are borrowed until done. More than 1024 pieces are allowed; only the
 * first 1024 are transferred, a short count.
 */
struct os_io {
	uint8_t op;
	uint8_t flags;
	uint16_t iovcnt;
	int fd;
	uint64_t offset;
	uint64_t length; /* PUNCH_HOLE, ZERO_RANGE */
	const struct iovec *iov;
	void (*done)(struct os_io *io);
	int64_t result; /* bytes, or -errno; a short count is delivered as it is */

	struct os_io *next; /* the ring's */
};

enum os_watch_kind {
	OS_WATCH_READABLE,
	OS_WATCH_WRITABLE,
	OS_WATCH_EVENT, /* eventfd-like: the ring reads (drains) it before ready is called */
};

/*
 * A descriptor to be told about. One shot: after ready it is disarmed until armed again. Ready is
 * called from os_ring_enter. A hang-up or error counts as readable. Level triggered: what was
 * there before arming is seen. Several watches of one fd are allowed.
 *
 * An OS_WATCH_EVENT whose descriptor is at its end or broken (a front-end may send a pipe and
 * close it) stays armed and is never ready again, so that nobody can keep a reactor busy with it.
 */
struct os_watch {
	int fd;
	enum os_watch_kind kind;
	void (*ready)(struct os_watch *watch);

	/* the ring's */
	bool armed;
	uint64_t token;
	struct list link;
};

/* ---- threads and workers ---------------------------------------------------------------- */

/*
 * A thread is a step that is called again and again until it returns false. The real side runs it
 * on a pthread, the simulation calls steps of all its threads in an order drawn from the seed.
 */
struct os_thread_options {
	const char *name; /* up to 15 characters shown by ps and top */
	int cpu; /* -1: not pinned */
	bool (*step)(void *arg);
	void *arg;
};

/* A call that may block, run by one of a few worker threads. finished is called on the worker and
 * must only hand the result on (core/worker.h sends a message). */
struct os_work {
	void (*run)(struct os_work *work);
	void (*finished)(struct os_work *work);
	struct list link; /* the pool's */
};

/* ---- the table --------------------------------------------------------------------------- */

struct os_ring_options {
	unsigned entries; /* operations in flight before submit falls back to a queue; a hint */
};

#define OS_WAIT_FOREVER UINT64_MAX
#define OS_FDS_MAX      253 /* descriptors in one message, the kernel's SCM_MAX_FD */

struct os_peer {
	uint32_t pid;
	uint32_t uid;
	uint32_t gid;
};

struct os_ops {
	/* clock */
	uint64_t (*now_ns)(struct os *os);

	/* files; all block */
	int (*file_open)(
		struct os *os, const char *path, unsigned flags, unsigned mode, int *ret_fd);
	int (*file_info)(struct os *os, int fd, struct os_file_info *ret_info);
	/* flock() of the open file description. -EWOULDBLOCK when another holds it; then reason
	 * names the holder (process id and program) where the kernel tells. */
	int (*file_lock)(struct os *os, int fd, bool exclusive, struct reason *reason);
	int (*file_unlock)(struct os *os, int fd);
	int (*file_truncate)(struct os *os, int fd, uint64_t size_bytes);
	int64_t (*file_read)(struct os *os, int fd, void *buf, size_t len, uint64_t offset);
	int64_t (*file_write)(struct os *os, int fd, const void *buf, size_t len, uint64_t offset);
	int (*file_sync)(struct os *os, int fd);
	int (*file_rename)(struct os *os, const char *from, const char *to);
	int (*file_unlink)(struct os *os, const char *path);
	int (*directory_create)(struct os *os, const char *path, unsigned mode);
	/* A zeroed memfd that can neither grow nor shrink. */
	int (*memfd_create)(struct os *os, const char *name, uint64_t size_bytes, int *ret_fd);

	/* mappings; map blocks when populate is set. offset is a multiple of map_page_size. Shared,
	 * readable and writable, left out of core dumps. */
	int (*map)(
		struct os *os, int fd, uint64_t offset, size_t len, bool populate, void **ret_addr);
	void (*unmap)(struct os *os, void *addr, size_t len);

	/* descriptors: close never blocks for long except on the last reference to a file */
	void (*close)(struct os *os, int fd);

	/* sockets (AF_UNIX stream); none blocks: -EAGAIN instead */
	int (*socket_listen)(
		struct os *os, const char *path, unsigned mode, struct reason *reason, int *ret_fd);
	int (*socket_connect)(struct os *os, const char *path, int *ret_fd);
	int (*socket_accept)(struct os *os, int fd, int *ret_fd);
	/* Bytes read; 0 at the end of the stream. Descriptors that came with the first byte are
	 * stored in fds (close-on-exec, the caller's to close), their number in *ret_nfds, which
	 * is set also on error. -EMSGSIZE when there were more than fds_max or the kernel had to
	 * drop some: none are returned. */
	int64_t (*socket_receive)(struct os *os, int fd, void *buf, size_t len, int *fds,
		unsigned fds_max, unsigned *ret_nfds);
	/* Bytes written, possibly fewer than len; fds (borrowed) go with the first byte. */
	int64_t (*socket_send)(
		struct os *os, int fd, const void *buf, size_t len, const int *fds, unsigned nfds);
	int (*socket_peer)(struct os *os, int fd, struct os_peer *ret_peer);
	void (*socket_shutdown)(struct os *os, int fd);

	/* eventfds */
	int (*event_create)(struct os *os, int *ret_fd);
	/* Adds 1 without blocking; a saturated counter is success. A pipe or socket takes 8 bytes.
	 * Somebody who shares the descriptor can make it block all the same: -EINTR when it was
	 * thread_interrupt that ended the wait. */
	int (*event_signal)(struct os *os, int fd);
	/* Makes a descriptor from outside safe for event_signal and OS_WATCH_EVENT: refuses regular
	 * files and directories with -EPERM, sets O_NONBLOCK. */
	int (*event_adopt)(struct os *os, int fd);

	/* rings: one for a reactor, used by its thread only, except ring_wake. Any thread makes and
	 * destroys it; the first to enter is its thread from then on. Before that, submit and watch
	 * may be called by the maker. Destroy: nothing pending, watches may be armed. */
	int (*ring_create)(
		struct os *os, const struct os_ring_options *options, struct os_ring **ret_ring);
	void (*ring_destroy)(struct os_ring *ring);
	/* Queues the operation; it goes to the kernel with the next enter. */
	void (*ring_submit)(struct os_ring *ring, struct os_io *io);
	void (*ring_watch)(struct os_ring *ring, struct os_watch *watch);
	/* Afterwards ready is not called any more and the fd may be closed. */
	void (*ring_unwatch)(struct os_ring *ring, struct os_watch *watch);
	/* Submits all, waits up to timeout_ns (0: not at all) unless something is there, calls done
	 * and ready of what is. Returns how many were called. */
	unsigned (*ring_enter)(struct os_ring *ring, uint64_t timeout_ns);
	/* This ring will do much I/O on the file: it may hold on to it to make that cheap. A hint,
	 * own thread; dropped when none of its operations is under way in this ring any more, and
	 * before it is closed. The file stays open until then, with its locks. */
	void (*ring_file_keep)(struct os_ring *ring, int fd);
	void (*ring_file_drop)(struct os_ring *ring, int fd);
	/* Operations submitted and not done. Watches do not count; what was watched or unwatched
	 * reaches the kernel with the next enter, so every turn enters. */
	unsigned (*ring_pending)(const struct os_ring *ring);
	/* Of those, the ones that threads do, the kernel's or the process's, which may need the
	 * core that the ring's thread would otherwise poll on. As far as it is known. */
	unsigned (*ring_with_threads)(const struct os_ring *ring);
	/* Any thread: makes a sleeping or the next sleeping enter return. */
	void (*ring_wake)(struct os_ring *ring);

	/* threads and workers */
	int (*thread_start)(
		struct os *os, const struct os_thread_options *options, void **ret_thread);
	void (*thread_join)(struct os *os, void *thread);
	/* Any thread: a call in which that thread waits is given up. */
	void (*thread_interrupt)(struct os *os, void *thread);
	void (*work_queue)(struct os *os, struct os_work *work); /* any thread */
};

struct os {
	const struct os_ops *ops;
};

struct os_real_options {
	bool io_uring; /* false: epoll and threads */
	unsigned workers; /* threads for os_work; 0: a sensible number */
};

/* The kernel. One per process is enough; destroy after all rings and threads are gone. When
 * io_uring is asked for but refused by the kernel, the other variant is used and a notice is
 * logged. From then on SIGPIPE and SIGXFSZ are ignored where they had their default action, and
 * SIGUSR2 is taken for thread_interrupt.
 * -errno with a sentence. */
int os_real_create(const struct os_real_options *options, struct reason *reason,
	struct os **ret_os) MUST_CHECK;
void os_real_destroy(struct os *os);
/* "io_uring" or "epoll", for logs and RPC. */
const char *os_real_engine(const struct os *os);

/* The process makes its sockets in that directory: what a process that was killed has left there is
 * removed, unless another one that lives uses the directory too, and socket_listen keeps record for
 * the next. One directory at a time. Closed: after all sockets were removed. Both block. */
void os_real_sockets_open(struct os *os, const char *directory);
void os_real_sockets_close(struct os *os);

#endif
