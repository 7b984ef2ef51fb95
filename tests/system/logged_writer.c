/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs in a guest: writes blocks of a disk at random, and keeps a log that says for any moment what
 * had been acknowledged and what had been issued.
 *
 *	logged-writer DEVICE BLOCKS LOG
 *
 * Each block is full of stamps: its number on the disk, and that of the write, which are counted
 * from 1. Some requests are in flight at a time, never two for one block. Now and then a block is
 * read back, which must have what was acknowledged last.
 *
 * The log is an array of words, kind << 56 | block << 32 | write, in the order of what happened: a
 * write's ISSUED is there before the kernel hears of it, ACKNOWLEDGED after the kernel has said so.
 * On SIGUSR1 comes a MARK, and then a byte more in LOG.marks. On SIGTERM nothing more is issued,
 * and when all has ended the log is complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK_BYTES 4096u
#define STAMPS      (BLOCK_BYTES / sizeof(struct stamp))
#define DEPTH       8u
#define READ_EVERY  8u

enum kind { ISSUED = 1, ACKNOWLEDGED, MARK };

struct stamp {
	uint64_t magic;
	uint64_t block;
	uint64_t write;
	uint64_t check; /* ~write */
};

#define STAMP_MAGIC UINT64_C(0x656369756c732e77)

struct request {
	struct iocb iocb;
	struct stamp *data;
	uint32_t block;
	uint32_t write; /* 0: it reads */
	bool busy;
};

static volatile sig_atomic_t marks_wanted, stopping;
static struct request requests[DEPTH];
static uint32_t *written; /* by block: the last that was acknowledged */
static bool *block_busy;
static uint32_t blocks;
static uint32_t writes;
static uint64_t issued;
static uint64_t seed = 1;
static FILE *log_file;
static int marks_fd;

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static uint32_t chance(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((seed >> 33) % below);
}

static void log_add(enum kind kind, uint32_t block, uint32_t write)
{
	uint64_t word = (uint64_t)kind << 56 | (uint64_t)block << 32 | write;

	if (fwrite(&word, sizeof(word), 1, log_file) != 1)
		fail("the log: %s", strerror(errno));
}

/* ---- requests ----------------------------------------------------------- */

static void request_stamp(struct request *request)
{
	const struct stamp stamp = {
		STAMP_MAGIC, request->block, request->write, ~(uint64_t)request->write};

	for (size_t i = 0; i < STAMPS; i++)
		request->data[i] = stamp;
}

static void request_check(const struct request *request)
{
	uint32_t write = written[request->block];
	const struct stamp wanted = {STAMP_MAGIC, request->block, write, ~(uint64_t)write};

	for (size_t i = 0; i < STAMPS; i++)
		if (memcmp(&request->data[i], write ? &wanted : &(struct stamp){0}, sizeof(wanted)))
			fail("block %" PRIu32 " does not read what write %" PRIu32 " left there",
				request->block, write);
}

static void request_prepare(struct request *request, int device)
{
	bool reads = ++issued % READ_EVERY == 0;

	do
		request->block = chance(blocks);
	while (block_busy[request->block]);
	block_busy[request->block] = true;
	request->busy = true;
	request->write = reads ? 0 : ++writes;
	if (!reads) {
		request_stamp(request);
		log_add(ISSUED, request->block, request->write);
	}
	request->iocb = (struct iocb){
		.aio_data = (uint64_t)(uintptr_t)request,
		.aio_lio_opcode = reads ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)device,
		.aio_buf = (uint64_t)(uintptr_t)request->data,
		.aio_nbytes = BLOCK_BYTES,
		.aio_offset = (int64_t)request->block * BLOCK_BYTES,
	};
}

static void request_ended(struct request *request, int64_t result)
{
	if (result != BLOCK_BYTES)
		fail("a request for block %" PRIu32 " ended with %" PRId64, request->block, result);
	if (request->write) {
		log_add(ACKNOWLEDGED, request->block, request->write);
		written[request->block] = request->write;
	} else {
		request_check(request);
	}
	request->busy = false;
	block_busy[request->block] = false;
}

/* ---- the loop ----------------------------------------------------------- */

static void fill(aio_context_t context, int device)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct iocb *iocb = &requests[i].iocb;

		if (requests[i].busy)
			continue;
		request_prepare(&requests[i], device);
		if (syscall(SYS_io_submit, context, 1L, &iocb) != 1)
			fail("io_submit: %s", strerror(errno));
	}
}

/* Waits a little if need be; false: nothing is in flight. */
static bool reap(aio_context_t context)
{
	struct timespec patience = {.tv_nsec = 20 * 1000 * 1000};
	struct io_event events[DEPTH];
	bool any = false;
	long count;

	for (unsigned i = 0; i < DEPTH; i++)
		any |= requests[i].busy;
	if (!any)
		return false;
	count = syscall(SYS_io_getevents, context, 1L, (long)DEPTH, events, &patience);
	if (count < 0 && errno != EINTR)
		fail("io_getevents: %s", strerror(errno));
	for (long i = 0; i < count; i++)
		request_ended((struct request *)(uintptr_t)events[i].data, events[i].res);
	return true;
}

static void add_marks(void)
{
	static sig_atomic_t marks;

	for (; marks != marks_wanted; marks++) {
		log_add(MARK, 0, 0);
		if (write(marks_fd, ".", 1) != 1)
			fail("the marks: %s", strerror(errno));
	}
}

static void on_signal(int number)
{
	if (number == SIGUSR1)
		marks_wanted++;
	else
		stopping = 1;
}

static void prepare(const char *log_path)
{
	struct sigaction action = {.sa_handler = on_signal};
	char path[4096];

	written = calloc(blocks, sizeof(*written));
	block_busy = calloc(blocks, sizeof(*block_busy));
	snprintf(path, sizeof(path), "%s.marks", log_path);
	log_file = fopen(log_path, "w");
	marks_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (!written || !block_busy || !log_file || marks_fd < 0)
		fail("%s cannot be written", log_path);
	for (unsigned i = 0; i < DEPTH; i++) {
		requests[i].data = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
		if (!requests[i].data)
			fail("no memory");
	}
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int main(int argc, char **argv)
{
	aio_context_t context = 0;
	int device;

	if (argc != 4)
		fail("logged-writer DEVICE BLOCKS LOG");
	device = open(argv[1], O_RDWR | O_DIRECT);
	if (device < 0)
		fail("%s: %s", argv[1], strerror(errno));
	blocks = (uint32_t)strtoul(argv[2], NULL, 10);
	if (blocks <= DEPTH || blocks >= 1u << 24)
		fail("%s is no number of blocks", argv[2]);
	if (syscall(SYS_io_setup, DEPTH, &context))
		fail("io_setup: %s", strerror(errno));
	prepare(argv[3]);
	do {
		if (!stopping)
			fill(context, device);
		add_marks();
	} while (reap(context));
	return fclose(log_file) ? 1 : 0;
}
