/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the simulation share (sim.h tells what it does):
 *  sim.c          the world: random numbers, trace, picking what happens next, injected failures
 *  sim_process.c  processes: the table of functions, descriptors, threads, workers, kill
 *  sim_ring.c     rings and watches
 *  sim_io.c       operations of rings between submission and end, power cut
 *  sim_file.c     names, files and their scripted faults
 *  sim_open.c     open files, locks, blocking calls on files
 *  sim_disk.c     contents: what is there now, what would survive
 *  sim_socket.c   streams and listeners
 *  sim_memory.c   eventfds, memfds, mappings
 *
 * Ownership: the world owns processes and files until sim_destroy. Descriptors of processes,
 * operations in flight and messages under way each hold a reference to a sim_open, which is what
 * the kernel calls an open file description.
 *
 * No decision may depend on an address or on real time.
 */
#ifndef SIM_IMPL_H
#define SIM_IMPL_H

#include "base/list.h"
#include "base/log.h"
#include "sim/sim.h"

#define SIM_PAGE_BYTES 4096u

/* ---- the world ---- */

struct sim_fault {
	unsigned nth; /* 0: none */
	int error;
};

struct sim_thread {
	struct list link; /* sim_process.threads */
	struct sim_process *process;
	uint64_t id;
	char name[16];
	bool (*step)(void *arg);
	void *arg;
	bool stepping; /* on the C stack now */
	bool ended;
	/* asleep in ring_enter of ring until deadline_ns */
	struct os_ring *ring;
	uint64_t deadline_ns;
	unsigned enters; /* with a timeout, in this step */
};

struct sim {
	struct sim_options options;
	bool threads_work;
	uint64_t random;
	uint64_t now_ns;
	uint64_t hash;
	bool trace;
	uint64_t next_id;
	uint64_t write_seq; /* of the youngest write to any file */
	struct list processes;
	struct list files;
	struct list names;
	struct list in_flight; /* sim_io */
	struct sim_process *first;
	struct sim_thread *thread; /* whose step runs; NULL: the test, or a worker's job */
	unsigned preempted; /* depth */
	unsigned complaints;
	char complaint[160];
	unsigned calls[SIM_CALL_COUNT];
	struct sim_fault faults[SIM_CALL_COUNT];
};

void sim_trace(struct sim *sim, const char *what, uint64_t a, uint64_t b);
void sim_complain(struct sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);
uint64_t sim_random_between(struct sim *sim, uint64_t min, uint64_t max);
static inline bool sim_chance(struct sim *sim, unsigned one_in)
{
	return sim_random(sim, one_in) == 0;
}
/* Allocation never fails: that is what a test dies of. */
void *sim_alloc(size_t size);
/* Counts the call; -errno when it was ordered to fail. */
int sim_call(struct sim *sim, enum sim_call call) MUST_CHECK;
/* For calls marked "blocks". */
int sim_call_blocking(struct sim_process *process, enum sim_call call) MUST_CHECK;

enum sim_pick { SIM_PICKED, SIM_TIME_REACHED, SIM_STUCK };
/* One pick, or a leap in time to limit_ns at most. */
enum sim_pick sim_pick_one(struct sim *sim, uint64_t limit_ns);
/* Inside a step, once in so many calls: others run now. */
void sim_preempt(struct sim *sim, unsigned one_in);

/* ---- open files ---- */

enum sim_open_kind {
	SIM_OPEN_FILE, /* regular, block, directory, memfd */
	SIM_OPEN_EVENT,
	SIM_OPEN_STREAM,
	SIM_OPEN_LISTENER,
};

enum sim_lock { SIM_UNLOCKED, SIM_LOCK_SHARED, SIM_LOCK_EXCLUSIVE };

struct sim_open {
	struct sim *sim;
	unsigned refs;
	enum sim_open_kind kind;
	unsigned flags; /* enum os_open_flags */
	struct sim_file *file;
	struct list link; /* sim_file.opens */
	enum sim_lock lock;
	uint32_t lock_pid;
	char lock_name[16];
	uint64_t event_count;
	struct sim_socket *socket;
};

struct sim_open *sim_open_create(struct sim *sim, enum sim_open_kind kind);
struct sim_open *sim_open_get(struct sim_open *open);
void sim_open_put(struct sim_open *open);
bool sim_open_is_ready(const struct sim_open *open, enum os_watch_kind kind);

/* ---- processes ---- */

struct sim_mapping {
	struct list link;
	void *addr;
	size_t len;
};

struct sim_process {
	struct os os;
	struct list link;
	struct sim *sim;
	char name[16];
	uint32_t pid;
	bool dead;
	struct sim_open **fds;
	unsigned fds_size;
	struct list threads;
	struct list jobs_queued;
	struct list jobs_ran; /* run has returned, finished not yet called */
	struct list mappings;
	struct list rings;
};

static inline struct sim_process *sim_process_of(struct os *os)
{
	return container_of(os, struct sim_process, os);
}

struct sim_process *sim_process_create(struct sim *sim, const char *name);
void sim_process_check(struct sim_process *process); /* complains about what is left */
void sim_process_free(struct sim_process *process);
/* NULL: not open. Borrowed. */
struct sim_open *sim_fd_open(struct sim_process *process, int fd);
/* The lowest free number; takes the reference over. */
int sim_fd_install(struct sim_process *process, struct sim_open *open);
void sim_thread_run(struct sim_thread *thread);
bool sim_thread_is_runnable(const struct sim_thread *thread);
void sim_job_run(struct sim_process *process);
void sim_job_finish(struct sim_process *process);

/* ---- rings ---- */

struct os_ring {
	struct sim_process *process;
	struct list link;
	uint64_t id;
	struct os_io *queued;
	struct os_io **queued_tail;
	struct os_io *ended;
	struct os_io **ended_tail;
	unsigned queued_count;
	unsigned in_flight;
	unsigned ended_count;
	struct list armed;
	bool woken;
	struct list kept; /* sim_kept_file */
};

struct sim_kept_file {
	struct list link;
	int fd;
	struct sim_open *open;
};

bool sim_ring_has_work(const struct os_ring *ring);
void sim_ring_end_io(struct os_ring *ring, struct os_io *io);

/* ---- operations in flight ---- */

struct sim_io {
	struct list link; /* sim.in_flight, in the order of submission */
	struct sim *sim;
	struct os_ring *ring; /* NULL: its process was killed */
	struct os_io *io; /* then points to orphan, or NULL for a read */
	struct sim_open *open;
	uint64_t due_ns;
	uint64_t flush_seq; /* a sync makes what was written until then durable */
	struct os_io orphan;
	struct iovec orphan_iov;
};

void sim_io_submit(struct os_ring *ring, struct os_io *io);
bool sim_io_is_held(const struct sim_io *sio);
void sim_io_run(struct sim_io *sio);
/* The process of this ring is gone: the operation goes on without touching its memory. */
void sim_io_orphan(struct sim_io *sio);
void sim_io_drop(struct sim_io *sio);

/* ---- files ---- */

struct sim_write;

struct sim_disk {
	struct sim_page *now; /* what a read sees */
	struct sim_page *durable; /* what is there after a power cut whatever the seed */
	struct list unflushed; /* sim_write, oldest first */
	uint64_t size;
	uint64_t durable_size;
};

struct sim_file_fault {
	struct list link;
	uint64_t offset;
	uint64_t length;
	int error;
	unsigned count;
};

struct sim_file {
	struct list link; /* sim.files */
	struct sim *sim;
	uint64_t id;
	enum os_file_kind kind;
	struct sim_disk disk;
	struct list opens;
	struct list faults;
	int memfd; /* the kernel's, of a memfd; else -1 */
	unsigned block_size;
	unsigned memory_align;
	unsigned offset_align;
	unsigned discard_granularity;
	bool zero_range;
	bool held;
	uint64_t latency_min_ns;
	uint64_t latency_max_ns;
	uint64_t limit;
	unsigned shorten;
	struct sim_socket *listener; /* of a socket's name */
};

struct sim_file *sim_file_new(struct sim *sim, enum os_file_kind kind);
void sim_file_free(struct sim_file *file);
struct sim_name *sim_name_find(struct sim *sim, const char *path);
int sim_name_add(struct sim *sim, const char *path, struct sim_file *file);
void sim_names_init(struct sim *sim);
void sim_names_free(struct sim *sim);

/* What a read or write meets before it touches the disk: the number of bytes to transfer, or
 * -errno. */
int64_t sim_file_admit(struct sim_file *file, const struct sim_open *open, bool write,
	uint64_t offset, uint64_t len);
/* A fault of sim_file_fail_range, or 0. */
int sim_file_fault(struct sim_file *file, uint64_t offset, uint64_t len);

/* ---- contents ---- */

void sim_disk_init(struct sim_disk *disk, uint64_t size);
void sim_disk_fini(struct sim_disk *disk);
void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf, size_t len);
/* data NULL: zeroes. Seen at once, durable after a flush; grows the disk. */
void sim_disk_write(
	struct sim_disk *disk, uint64_t seq, uint64_t offset, const void *data, uint64_t len);
/* Durable at once, over all older writes. */
void sim_disk_poke(struct sim_disk *disk, uint64_t offset, const void *data, uint64_t len);
void sim_disk_flush(struct sim_disk *disk, uint64_t seq); /* writes up to seq become durable */
void sim_disk_resize(struct sim_disk *disk, uint64_t size);
void sim_disk_cut(struct sim_disk *disk, struct sim *sim, unsigned atomic_bytes);
unsigned sim_disk_unflushed(const struct sim_disk *disk);

/* ---- the table's functions, by file ---- */

int sim_file_open(struct os *os, const char *path, unsigned flags, unsigned mode, int *ret_fd);
int sim_file_info(struct os *os, int fd, struct os_file_info *ret_info);
int sim_file_lock(struct os *os, int fd, bool exclusive, struct reason *reason);
int sim_file_unlock(struct os *os, int fd);
int sim_file_truncate(struct os *os, int fd, uint64_t size_bytes);
int64_t sim_file_read(struct os *os, int fd, void *buf, size_t len, uint64_t offset);
int64_t sim_file_write(struct os *os, int fd, const void *buf, size_t len, uint64_t offset);
int sim_file_sync(struct os *os, int fd);
int sim_file_rename(struct os *os, const char *from, const char *to);
int sim_file_unlink(struct os *os, const char *path);
int sim_directory_create(struct os *os, const char *path, unsigned mode);

int sim_memfd_create(struct os *os, const char *name, uint64_t size_bytes, int *ret_fd);
int sim_map(struct os *os, int fd, uint64_t offset, size_t len, bool populate, void **ret_addr);
void sim_unmap(struct os *os, void *addr, size_t len);
int sim_event_create(struct os *os, int *ret_fd);
int sim_event_signal(struct os *os, int fd);
int sim_event_adopt(struct os *os, int fd);
void sim_mappings_free(struct sim_process *process);

int sim_socket_listen(
	struct os *os, const char *path, unsigned mode, struct reason *reason, int *ret_fd);
int sim_socket_connect(struct os *os, const char *path, int *ret_fd);
int sim_socket_accept(struct os *os, int fd, int *ret_fd);
int64_t sim_socket_receive(struct os *os, int fd, void *buf, size_t len, int *fds, unsigned fds_max,
	unsigned *ret_nfds);
int64_t sim_socket_send(
	struct os *os, int fd, const void *buf, size_t len, const int *fds, unsigned nfds);
int sim_socket_peer(struct os *os, int fd, struct os_peer *ret_peer);
void sim_socket_shutdown(struct os *os, int fd);
void sim_socket_release(struct sim_socket *socket); /* its last reference is gone */
bool sim_socket_is_readable(const struct sim_socket *socket);
bool sim_socket_is_writable(const struct sim_socket *socket);
void sim_socket_drain(struct sim_socket *socket);
int sim_socket_write_event(struct sim_open *open);

int sim_ring_create(
	struct os *os, const struct os_ring_options *options, struct os_ring **ret_ring);
void sim_ring_destroy(struct os_ring *ring);
void sim_ring_submit(struct os_ring *ring, struct os_io *io);
void sim_ring_watch(struct os_ring *ring, struct os_watch *watch);
void sim_ring_unwatch(struct os_ring *ring, struct os_watch *watch);
unsigned sim_ring_enter(struct os_ring *ring, uint64_t timeout_ns);
unsigned sim_ring_pending(const struct os_ring *ring);
unsigned sim_ring_with_threads(const struct os_ring *ring);
void sim_ring_wake(struct os_ring *ring);
void sim_ring_file_keep(struct os_ring *ring, int fd);
void sim_ring_file_drop(struct os_ring *ring, int fd);
void sim_ring_drop_kept(struct os_ring *ring);
struct sim_kept_file *sim_ring_kept_file(const struct os_ring *ring, int fd);

#endif
