/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations through a ring of a few entries, and waking it.
 */
#include "fixture.h"
#include "loop_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096

struct op {
	struct os_io io;
	struct iovec iov;
	unsigned *count;
};

static void op_done(struct os_io *io)
{
	++*container_of(io, struct op, io)->count;
}

static void op_init(struct op *op, enum os_io_op code, int fd, void *buf, size_t len,
	uint64_t offset, unsigned *count)
{
	*op = (struct op){
		.io = {.op = code, .fd = fd, .offset = offset, .length = len, .done = op_done},
		.count = count,
	};
	op->iov = (struct iovec){.iov_base = buf, .iov_len = len};
	op->io.iov = &op->iov;
	op->io.iovcnt = 1;
}

static int64_t op_run(
	struct fixture *f, enum os_io_op code, int fd, void *buf, size_t len, uint64_t offset)
{
	unsigned count = 0;
	struct op op;

	op_init(&op, code, fd, buf, len, offset, &count);
	if (f->keep && fd >= 0)
		f->os->ops->ring_file_keep(f->ring, fd);
	f->os->ops->ring_submit(f->ring, &op.io);
	assert_int_equal(count, 0);
	fixture_enter_until(f, &count, 1);
	assert_int_equal(count, 1);
	if (f->keep && fd >= 0)
		f->os->ops->ring_file_drop(f->ring, fd);
	assert_int_equal(f->os->ops->ring_pending(f->ring), 0);
	return op.io.result;
}

static bool all_bytes(const unsigned char *buf, size_t len, unsigned char value)
{
	for (size_t i = 0; i < len; i++) {
		if (buf[i] != value)
			return false;
	}
	return true;
}

static void what_was_written_is_read_back(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	char text[] = "at an offset";
	char buf[sizeof(text)] = {0};

	assert_int_equal(op_run(f, OS_IO_WRITEV, fd, text, sizeof(text), 10000), sizeof(text));
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, sizeof(buf), 10000), sizeof(buf));
	assert_string_equal(buf, text);
	f->os->ops->close(f->os, fd);
}

/* The rule is to drop first; breaking it shows whether the ring has the file for itself. */
static void a_kept_file_needs_no_descriptor_until_it_is_dropped(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	char text[] = "kept", buf[sizeof(text)] = {0};

	f->os->ops->ring_file_keep(f->ring, fd);
	f->os->ops->close(f->os, fd);
	assert_int_equal(op_run(f, OS_IO_WRITEV, fd, text, sizeof(text), 0), sizeof(text));
	assert_int_equal(op_run(f, OS_IO_FDATASYNC, fd, NULL, 0, 0), 0);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, sizeof(buf), 0), sizeof(buf));
	assert_string_equal(buf, text);
	f->os->ops->ring_file_drop(f->ring, fd);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, sizeof(buf), 0), -EBADF);
	/* The number belongs to another file now. */
	assert_int_equal(fixture_file(f, "other", 0), fd);
	f->os->ops->ring_file_keep(f->ring, fd);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, sizeof(buf), 0), 0);
	f->os->ops->ring_file_drop(f->ring, fd);
	f->os->ops->close(f->os, fd);
}

/* Neither must what is beyond its table. */
static void what_cannot_be_kept_works_all_the_same(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 20000);
	char text[] = "high";

	if (high >= 0) {
		f->os->ops->ring_file_keep(f->ring, high);
		assert_int_equal(
			op_run(f, OS_IO_WRITEV, high, text, sizeof(text), 0), sizeof(text));
		f->os->ops->ring_file_drop(f->ring, high);
		f->os->ops->close(f->os, high);
	}
	f->os->ops->ring_file_keep(f->ring, -1);
	assert_int_equal(op_run(f, OS_IO_READV, -1, text, sizeof(text), 0), -EBADF);
	f->os->ops->ring_file_drop(f->ring, -1);
	f->os->ops->close(f->os, fd);
}

/* On tmpfs the kernel's own threads do the work, beside operations that they do not. */
static void files_that_the_kernels_threads_serve_are_kept_too(void **state)
{
	enum { COUNT = 40, LENGTH = 512 };
	struct fixture *f = *state;
	int disk = fixture_file(f, "file", 0);
	unsigned char buf[LENGTH];
	struct op ops[COUNT];
	int memory;

	memset(buf, 0x77, sizeof(buf));
	assert_int_equal(f->os->ops->memfd_create(f->os, "memory", COUNT * LENGTH, &memory), 0);
	for (unsigned round = 0; round < 2; round++) {
		unsigned count = 0;

		f->os->ops->ring_file_keep(f->ring, memory);
		f->os->ops->ring_file_keep(f->ring, disk);
		for (unsigned i = 0; i < COUNT; i++) {
			op_init(&ops[i], OS_IO_WRITEV, i % 3 ? memory : disk, buf, LENGTH,
				i * LENGTH, &count);
			f->os->ops->ring_submit(f->ring, &ops[i].io);
		}
		/* As a reactor that polls. */
		for (uint64_t end = f->os->ops->now_ns(f->os) + 5 * SEC_NS;
			count < COUNT && f->os->ops->now_ns(f->os) < end;)
			f->os->ops->ring_enter(f->ring, 0);
		assert_int_equal(count, COUNT);
		for (unsigned i = 0; i < COUNT; i++)
			assert_int_equal(ops[i].io.result, LENGTH);
		f->os->ops->ring_file_drop(f->ring, disk);
		f->os->ops->ring_file_drop(f->ring, memory);
	}
	f->os->ops->close(f->os, memory);
	f->os->ops->close(f->os, disk);
}

/* The first of a burst is worked on while the rest is still being prepared. */
static void a_device_without_work_is_not_kept_waiting(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	uint64_t end = f->os->ops->now_ns(f->os) + 5 * SEC_NS;
	char text[] = "early", buf[sizeof(text)] = {0};
	struct iovec byte = {.iov_base = buf, .iov_len = 1};
	unsigned count = 0;
	struct op op;

	if (preadv2(fd, &byte, 1, 0, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP) {
		f->os->ops->close(f->os, fd);
		skip(); /* the kernel's threads would do it, for which there is no hurry */
	}
	f->os->ops->ring_file_keep(f->ring, fd);
	f->os->ops->ring_enter(f->ring, 0);
	op_init(&op, OS_IO_WRITEV, fd, text, sizeof(text), 0, &count);
	f->os->ops->ring_submit(f->ring, &op.io);
	while (strcmp(buf, text) != 0 && f->os->ops->now_ns(f->os) < end)
		f->os->ops->file_read(f->os, fd, buf, sizeof(buf), 0);
	assert_string_equal(buf, text);
	assert_int_equal(count, 0); /* done is called by ring_enter only */
	fixture_enter_until(f, &count, 1);
	assert_int_equal(op.io.result, sizeof(text));
	f->os->ops->ring_file_drop(f->ring, fd);
	f->os->ops->close(f->os, fd);
}

static void several_pieces_are_one_transfer(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	char words[] = "one two three";
	struct iovec pieces[] = {{words, 4}, {words + 4, 4}, {words + 8, 5}};
	unsigned count = 0;
	struct op op;
	char buf[13];

	op_init(&op, OS_IO_WRITEV, fd, NULL, 0, 0, &count);
	op.io.iov = pieces;
	op.io.iovcnt = ARRAY_SIZE(pieces);
	op.io.flags = OS_IO_DSYNC;
	f->os->ops->ring_submit(f->ring, &op.io);
	fixture_enter_until(f, &count, 1);
	assert_int_equal(op.io.result, 13);
	assert_int_equal(f->os->ops->file_read(f->os, fd, buf, sizeof(buf), 0), 13);
	assert_memory_equal(buf, "one two three", 13);
	f->os->ops->close(f->os, fd);
}

static void direct_writes_reach_the_file(void **state)
{
	struct fixture *f = *state;
	unsigned char *buf = aligned_alloc(BLOCK, BLOCK);
	unsigned count = 0;
	struct op op;
	int fd;

	if (f->os->ops->file_open(f->os, fixture_path(f, "file"),
		    OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_DIRECT, 0600, &fd) != 0) {
		free(buf);
		skip(); /* a file system without O_DIRECT */
	}
	memset(buf, 0x5a, BLOCK);
	op_init(&op, OS_IO_WRITEV, fd, buf, BLOCK, BLOCK, &count);
	op.io.flags = OS_IO_DSYNC;
	f->os->ops->ring_submit(f->ring, &op.io);
	fixture_enter_until(f, &count, 1);
	assert_int_equal(op.io.result, BLOCK);
	memset(buf, 0, BLOCK);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, BLOCK, BLOCK), BLOCK);
	assert_true(all_bytes(buf, BLOCK, 0x5a));
	f->os->ops->close(f->os, fd);
	free(buf);
}

static void a_read_over_the_end_is_short(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	char buf[100];

	assert_int_equal(f->os->ops->file_truncate(f->os, fd, 1000), 0);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, sizeof(buf), 950), 50);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, sizeof(buf), 1000), 0);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, sizeof(buf), 5000), 0);
	f->os->ops->close(f->os, fd);
}

static void more_pieces_than_the_kernel_takes_make_a_short_transfer(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	struct iovec pieces[2000];
	char byte = 'x';
	unsigned count = 0;
	struct op op;

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = (struct iovec){.iov_base = &byte, .iov_len = 1};
	op_init(&op, OS_IO_WRITEV, fd, NULL, 0, 0, &count);
	op.io.iov = pieces;
	op.io.iovcnt = ARRAY_SIZE(pieces);
	f->os->ops->ring_submit(f->ring, &op.io);
	fixture_enter_until(f, &count, 1);
	assert_int_equal(op.io.result, 1024);
	f->os->ops->close(f->os, fd);
}

static void errors_arrive_as_what_they_are(void **state)
{
	struct fixture *f = *state;
	char buf[16] = {0};
	int fd = fixture_file(f, "file", 0);
	int read_only;

	assert_int_equal(f->os->ops->file_open(f->os, f->path, OS_OPEN_READ, 0, &read_only), 0);
	assert_int_equal(op_run(f, OS_IO_WRITEV, read_only, buf, sizeof(buf), 0), -EBADF);
	assert_int_equal(op_run(f, OS_IO_READV, 9999, buf, sizeof(buf), 0), -EBADF);
	assert_int_equal(op_run(f, OS_IO_FDATASYNC, 9999, NULL, 0, 0), -EBADF);
	assert_int_equal(op_run(f, OS_IO_READV, fd, (void *)8, sizeof(buf), 0), 0);
	assert_int_equal(f->os->ops->file_truncate(f->os, fd, BLOCK), 0);
	assert_int_equal(op_run(f, OS_IO_READV, fd, (void *)8, sizeof(buf), 0), -EFAULT);
	f->os->ops->close(f->os, read_only);
	f->os->ops->close(f->os, fd);
}

static void a_file_at_its_limit_takes_a_part_and_then_efbig(void **state)
{
	struct fixture *f = *state;
	const struct rlimit limit = {.rlim_cur = 8192, .rlim_max = RLIM_INFINITY};
	static char buf[16384];
	int fd = fixture_file(f, "file", 0);
	struct rlimit before;
	int64_t first;
	int64_t second;

	getrlimit(RLIMIT_FSIZE, &before);
	setrlimit(RLIMIT_FSIZE, &limit);
	first = op_run(f, OS_IO_WRITEV, fd, buf, sizeof(buf), 0);
	second = op_run(f, OS_IO_WRITEV, fd, buf, sizeof(buf), 8192);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(first, 8192);
	assert_int_equal(second, -EFBIG);
	f->os->ops->close(f->os, fd);
}

static void a_full_file_system_is_enospc(void **state)
{
	struct fixture *f = *state;
	static char buf[262144];
	int64_t first;
	int fd;

	if (mount("tmpfs", f->directory, "tmpfs", 0, "size=64k") < 0)
		skip();
	fd = fixture_file(f, "file", 0);
	/* Lives on until the descriptor is closed. */
	assert_int_equal(umount2(f->directory, MNT_DETACH), 0);
	first = op_run(f, OS_IO_WRITEV, fd, buf, sizeof(buf), 0);
	assert_true(first > 0 && first < (int64_t)sizeof(buf));
	assert_int_equal(op_run(f, OS_IO_WRITEV, fd, buf, sizeof(buf), (uint64_t)first), -ENOSPC);
	f->os->ops->close(f->os, fd);
}

static void more_operations_than_entries_all_complete_once(void **state)
{
	enum { COUNT = 500 };
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	struct op *ops = calloc(COUNT, sizeof(*ops));
	uint32_t *values = calloc(COUNT, sizeof(*values));
	uint32_t value;
	unsigned count = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		values[i] = i;
		op_init(&ops[i], OS_IO_WRITEV, fd, &values[i], sizeof(values[i]), i * 512u, &count);
		f->os->ops->ring_submit(f->ring, &ops[i].io);
	}
	assert_int_equal(count, 0);
	assert_int_equal(f->os->ops->ring_pending(f->ring), COUNT);
	fixture_enter_until(f, &count, COUNT);
	fixture_settle(f);
	assert_int_equal(count, COUNT);
	assert_int_equal(f->os->ops->ring_pending(f->ring), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(ops[i].io.result, sizeof(uint32_t));
		assert_int_equal(f->os->ops->file_read(f->os, fd, &value, sizeof(value), i * 512u),
			sizeof(value));
		assert_int_equal(value, i);
	}
	f->os->ops->close(f->os, fd);
	free(ops);
	free(values);
}

struct chain {
	struct op op;
	struct fixture *f;
	unsigned left;
	unsigned ended;
};

static void chain_done(struct os_io *io)
{
	struct chain *chain = container_of(container_of(io, struct op, io), struct chain, op);

	chain->ended++;
	if (--chain->left > 0)
		chain->f->os->ops->ring_submit(chain->f->ring, io);
}

static void done_may_submit_again(void **state)
{
	enum { CHAINS = 20, LENGTH = 50 };
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	static struct chain chains[CHAINS];
	static char buf[512];

	for (unsigned i = 0; i < CHAINS; i++) {
		chains[i] = (struct chain){.f = f, .left = LENGTH};
		op_init(&chains[i].op, OS_IO_WRITEV, fd, buf, sizeof(buf), i * 512u, NULL);
		chains[i].op.io.done = chain_done;
		f->os->ops->ring_submit(f->ring, &chains[i].op.io);
	}
	for (unsigned i = 0; i < CHAINS; i++)
		fixture_enter_until(f, &chains[i].ended, LENGTH);
	assert_int_equal(f->os->ops->ring_pending(f->ring), 0);
	f->os->ops->close(f->os, fd);
}

static void flush_completes(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);

	assert_int_equal(op_run(f, OS_IO_FDATASYNC, fd, NULL, 0, 0), 0);
	f->os->ops->close(f->os, fd);
}

static void a_flush_is_known_to_be_done_by_a_thread_until_it_ends(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	unsigned count = 0;
	struct op op;

	assert_int_equal(f->os->ops->ring_with_threads(f->ring), 0);
	op_init(&op, OS_IO_FDATASYNC, fd, NULL, 0, 0, &count);
	f->os->ops->ring_submit(f->ring, &op.io);
	assert_int_equal(f->os->ops->ring_with_threads(f->ring), 1);
	fixture_enter_until(f, &count, 1);
	assert_int_equal(f->os->ops->ring_with_threads(f->ring), 0);
	f->os->ops->close(f->os, fd);
}

/* Both operations on four blocks of 0xff: the two in the middle are zero afterwards. */
static void middle_becomes_zero(struct fixture *f, enum os_io_op code, int fd)
{
	unsigned char *buf = aligned_alloc(BLOCK, 4 * BLOCK);
	int64_t result;

	memset(buf, 0xff, 4 * BLOCK);
	assert_int_equal(op_run(f, OS_IO_WRITEV, fd, buf, 4 * BLOCK, 0), 4 * BLOCK);
	assert_int_equal(op_run(f, OS_IO_FDATASYNC, fd, NULL, 0, 0), 0);
	result = op_run(f, code, fd, NULL, 2 * BLOCK, BLOCK);
	if (result == -EOPNOTSUPP) {
		free(buf);
		f->os->ops->close(f->os, fd);
		skip();
	}
	assert_int_equal(result, 0);
	assert_int_equal(op_run(f, OS_IO_READV, fd, buf, 4 * BLOCK, 0), 4 * BLOCK);
	assert_true(all_bytes(buf, BLOCK, 0xff));
	assert_true(all_bytes(buf + BLOCK, 2 * BLOCK, 0));
	assert_true(all_bytes(buf + 3 * BLOCK, BLOCK, 0xff));
	free(buf);
}

static void a_punched_hole_reads_as_zeroes_and_frees_space(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	struct stat st;

	middle_becomes_zero(f, OS_IO_PUNCH_HOLE, fd);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4 * BLOCK);
	assert_true(st.st_blocks <= 2 * BLOCK / 512);
	f->os->ops->close(f->os, fd);
}

static void a_zeroed_range_reads_as_zeroes_and_keeps_the_size(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_file(f, "file", 0);
	struct stat st;

	middle_becomes_zero(f, OS_IO_ZERO_RANGE, fd);
	/* Beyond the end: the size stays. */
	assert_int_equal(op_run(f, OS_IO_ZERO_RANGE, fd, NULL, BLOCK, 8 * BLOCK), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4 * BLOCK);
	f->os->ops->close(f->os, fd);
}

static void block_devices_discard_and_zero(void **state)
{
	struct fixture *f = *state;
	int fd = loop_device_open(f, MIB, 512, false);

	if (fd < 0)
		skip();
	middle_becomes_zero(f, OS_IO_PUNCH_HOLE, fd);
	middle_becomes_zero(f, OS_IO_ZERO_RANGE, fd);
	/* Beyond its end: refused, not ignored. */
	assert_true(op_run(f, OS_IO_PUNCH_HOLE, fd, NULL, BLOCK, MIB) < 0);
	f->os->ops->close(f->os, fd);
}

static void an_empty_enter_returns_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t start = f->os->ops->now_ns(f->os);

	assert_int_equal(f->os->ops->ring_enter(f->ring, 0), 0);
	assert_true(f->os->ops->now_ns(f->os) - start < SEC_NS);
}

static void an_enter_waits_as_long_as_it_was_told(void **state)
{
	struct fixture *f = *state;
	uint64_t start = f->os->ops->now_ns(f->os);
	uint64_t took;

	assert_int_equal(f->os->ops->ring_enter(f->ring, 30 * MSEC_NS), 0);
	took = f->os->ops->now_ns(f->os) - start;
	assert_true(took >= 30 * MSEC_NS && took < 2 * SEC_NS);
}

static void a_wake_before_sleeping_is_not_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t start = f->os->ops->now_ns(f->os);

	f->os->ops->ring_wake(f->ring);
	f->os->ops->ring_enter(f->ring, 0);
	f->os->ops->ring_wake(f->ring);
	f->os->ops->ring_wake(f->ring);
	f->os->ops->ring_enter(f->ring, OS_WAIT_FOREVER);
	assert_true(f->os->ops->now_ns(f->os) - start < SEC_NS);
	/* They count as one. */
	start = f->os->ops->now_ns(f->os);
	f->os->ops->ring_enter(f->ring, 30 * MSEC_NS);
	assert_true(f->os->ops->now_ns(f->os) - start >= 30 * MSEC_NS);
}

struct ping {
	struct fixture *f;
	struct os_ring *peer;
	_Atomic unsigned rounds;
};

enum { ROUNDS = 2000 };

/* Runs on the other thread: answers each round, wakes us for it. */
static bool ping_step(void *arg)
{
	struct ping *ping = arg;
	const struct os_ops *ops = ping->f->os->ops;

	ops->ring_enter(ping->peer, OS_WAIT_FOREVER);
	if (atomic_load(&ping->rounds) % 2 == 1) {
		atomic_fetch_add(&ping->rounds, 1);
		ops->ring_wake(ping->f->ring);
	}
	return atomic_load(&ping->rounds) < 2 * ROUNDS;
}

static void two_threads_wake_each_other_without_losing_a_wake(void **state)
{
	struct fixture *f = *state;
	struct ping ping = {.f = f};
	const struct os_thread_options options = {
		.name = "peer", .cpu = -1, .step = ping_step, .arg = &ping};
	uint64_t end = f->os->ops->now_ns(f->os) + 20 * SEC_NS;
	void *thread;

	/* Made here, entered there: as control thread and reactors do. */
	assert_int_equal(f->os->ops->ring_create(f->os, NULL, &ping.peer), 0);
	assert_int_equal(f->os->ops->thread_start(f->os, &options, &thread), 0);
	while (atomic_load(&ping.rounds) < 2 * ROUNDS) {
		if (atomic_load(&ping.rounds) % 2 == 0) {
			atomic_fetch_add(&ping.rounds, 1);
			f->os->ops->ring_wake(ping.peer);
		}
		f->os->ops->ring_enter(f->ring, SEC_NS);
		assert_true(f->os->ops->now_ns(f->os) < end);
	}
	f->os->ops->thread_join(f->os, thread);
	f->os->ops->ring_destroy(ping.peer);
}

#define IO_URING_ONLY 2

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(what_was_written_is_read_back),
		FIXTURE_TEST(what_cannot_be_kept_works_all_the_same),
		FIXTURE_TEST(files_that_the_kernels_threads_serve_are_kept_too),
		KEEPING_TEST(what_was_written_is_read_back),
		KEEPING_TEST(a_read_over_the_end_is_short),
		KEEPING_TEST(errors_arrive_as_what_they_are),
		KEEPING_TEST(a_file_at_its_limit_takes_a_part_and_then_efbig),
		KEEPING_TEST(a_full_file_system_is_enospc),
		KEEPING_TEST(a_punched_hole_reads_as_zeroes_and_frees_space),
		KEEPING_TEST(a_zeroed_range_reads_as_zeroes_and_keeps_the_size),
		KEEPING_TEST(block_devices_discard_and_zero),
		FIXTURE_TEST(several_pieces_are_one_transfer),
		FIXTURE_TEST(direct_writes_reach_the_file),
		FIXTURE_TEST(a_read_over_the_end_is_short),
		FIXTURE_TEST(more_pieces_than_the_kernel_takes_make_a_short_transfer),
		FIXTURE_TEST(errors_arrive_as_what_they_are),
		FIXTURE_TEST(a_file_at_its_limit_takes_a_part_and_then_efbig),
		FIXTURE_TEST(a_full_file_system_is_enospc),
		FIXTURE_TEST(more_operations_than_entries_all_complete_once),
		FIXTURE_TEST(done_may_submit_again),
		FIXTURE_TEST(flush_completes),
		FIXTURE_TEST(a_flush_is_known_to_be_done_by_a_thread_until_it_ends),
		FIXTURE_TEST(a_punched_hole_reads_as_zeroes_and_frees_space),
		FIXTURE_TEST(a_zeroed_range_reads_as_zeroes_and_keeps_the_size),
		FIXTURE_TEST(block_devices_discard_and_zero),
		FIXTURE_TEST(an_empty_enter_returns_at_once),
		FIXTURE_TEST(an_enter_waits_as_long_as_it_was_told),
		FIXTURE_TEST(a_wake_before_sleeping_is_not_lost),
		FIXTURE_TEST(two_threads_wake_each_other_without_losing_a_wake),
		/* IO_URING_ONLY: what io_uring can and blocking calls cannot */
		FIXTURE_TEST(a_device_without_work_is_not_kept_waiting),
		FIXTURE_TEST(a_kept_file_needs_no_descriptor_until_it_is_dropped),
	};
	int rc = fixture_main(argc, argv);

	return rc ? rc
		  : _cmocka_run_group_tests("tests", tests,
			    ARRAY_SIZE(tests) - (fixture_uses_io_uring() ? 0 : IO_URING_ONLY), NULL,
			    NULL);
}
