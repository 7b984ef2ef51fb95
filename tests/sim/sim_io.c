/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations between submission and end. The whole effect of one happens at the moment it ends,
 * which is drawn when it is submitted: operations in flight together end in any order, and a write
 * may have reached the disk although nobody was told (its end lies in the ring when the process is
 * killed). A sync makes durable what had ended before the sync was submitted, and no more, though
 * the kernel may do more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim_impl.h"

#define OUTLIER_ONE_IN 32 /* operations that take much longer */
#define OUTLIER_FACTOR 8

_Static_assert((int)SIM_CALL_IO_ZERO_RANGE - (int)SIM_CALL_IO_READV ==
		       (int)OS_IO_ZERO_RANGE - (int)OS_IO_READV,
	"the kinds of calls name the operations in the same order");

static uint64_t iov_length(const struct os_io *io)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < io->iovcnt; i++)
		len += io->iov[i].iov_len;
	return len;
}

static void *iov_gather(const struct os_io *io, uint64_t len)
{
	unsigned char *data = sim_alloc(len);
	uint64_t at = 0;

	for (unsigned i = 0; i < io->iovcnt && at < len; i++) {
		uint64_t part = u64_min(io->iov[i].iov_len, len - at);

		if (part)
			memcpy(data + at, io->iov[i].iov_base, part);
		at += part;
	}
	return data;
}

static uint64_t draw_latency(struct sim *sim, const struct sim_file *file)
{
	uint64_t ns = file->latency_max_ns
			      ? sim_random_between(sim, file->latency_min_ns, file->latency_max_ns)
			      : sim_random_between(sim, sim->options.latency_min_ns,
					sim->options.latency_max_ns);

	return sim_chance(sim, OUTLIER_ONE_IN) ? ns * OUTLIER_FACTOR : ns;
}

void sim_io_submit(struct os_ring *ring, struct os_io *io)
{
	struct sim *sim = ring->process->sim;
	struct sim_open *open = sim_fd_open(ring->process, io->fd);
	struct sim_io *sio;

	sim_trace(sim, "submit", io->op, io->offset);
	if (!open || open->kind != SIM_OPEN_FILE) {
		io->result = open ? -EINVAL : -EBADF;
		sim_ring_end_io(ring, io);
		return;
	}
	sio = sim_alloc(sizeof(*sio));
	sio->sim = sim;
	sio->ring = ring;
	sio->io = io;
	sio->open = sim_open_get(open);
	sio->due_ns = sim->now_ns + draw_latency(sim, open->file);
	sio->flush_seq = sim->write_seq;
	list_add_tail(&sim->in_flight, &sio->link);
}

bool sim_io_is_held(const struct sim_io *sio)
{
	return sio->open->file->held;
}

/* ---- what an operation does ---- */

static int64_t run_read(struct sim_open *open, const struct os_io *io)
{
	struct sim_file *file = open->file;
	int64_t len = sim_file_admit(file, open, false, io->offset, iov_length(io));
	uint64_t at = 0;

	if (len <= 0)
		return len;
	for (unsigned i = 0; i < io->iovcnt && at < (uint64_t)len; i++) {
		uint64_t part = u64_min(io->iov[i].iov_len, (uint64_t)len - at);

		if (part)
			sim_file_peek(file, io->offset + at, io->iov[i].iov_base, part);
		at += part;
	}
	return len;
}

static int64_t run_write(struct sim *sim, struct sim_open *open, const struct os_io *io)
{
	struct sim_file *file = open->file;
	int64_t len;
	void *data;

	if (!(open->flags & OS_OPEN_WRITE))
		return -EBADF;
	len = sim_file_admit(file, open, true, io->offset, iov_length(io));
	if (len <= 0)
		return len;
	data = iov_gather(io, (uint64_t)len);
	if (io->flags & OS_IO_DSYNC)
		sim_file_poke(file, io->offset, data, (size_t)len);
	else
		sim_disk_write(&file->disk, ++sim->write_seq, io->offset, data, (uint64_t)len);
	free(data);
	return len;
}

/* PUNCH_HOLE and ZERO_RANGE: zeroes inside the file, which keeps its size. */
static int64_t run_zero(struct sim *sim, struct sim_open *open, const struct os_io *io)
{
	struct sim_file *file = open->file;
	bool supported =
		io->op == OS_IO_PUNCH_HOLE ? file->discard_granularity > 0 : file->zero_range;
	uint64_t size = file->disk.size;

	if (!(open->flags & OS_OPEN_WRITE))
		return -EBADF;
	if (!supported)
		return -EOPNOTSUPP;
	if (io->length == 0)
		return -EINVAL;
	if (file->kind == OS_FILE_BLOCK &&
		((io->offset | io->length) % file->block_size || io->offset > size ||
			io->length > size - io->offset))
		return -EINVAL;
	if (io->offset < size)
		sim_disk_write(&file->disk, ++sim->write_seq, io->offset, NULL,
			u64_min(io->length, size - io->offset));
	return 0;
}

static int sim_io_check(const struct sim_io *sio)
{
	const struct os_io *io = sio->io;
	const struct sim_open *open = sio->open;
	bool transfer = io->op == OS_IO_READV || io->op == OS_IO_WRITEV;
	unsigned misaligned = 0;
	uint64_t addresses = 0;

	if (!transfer)
		return sim_file_fault(open->file, io->offset, io->length);
	if (open->flags & OS_OPEN_DIRECT) {
		for (unsigned i = 0; i < io->iovcnt && sio->ring; i++)
			addresses |= (uintptr_t)io->iov[i].iov_base | io->iov[i].iov_len;
		misaligned |= (addresses & (open->file->memory_align - 1)) != 0;
		misaligned |= ((io->offset | iov_length(io)) & (open->file->offset_align - 1)) != 0;
	}
	if (misaligned)
		return -EINVAL;
	return sim_file_fault(open->file, io->offset, iov_length(io));
}

static int64_t io_execute(struct sim_io *sio)
{
	struct sim *sim = sio->sim;
	const struct os_io *io = sio->io;
	int rc;

	if (io->op > OS_IO_ZERO_RANGE || sio->open->file->memfd >= 0 ||
		sio->open->file->kind == OS_FILE_DIRECTORY)
		return -EINVAL;
	rc = sim_call(sim, SIM_CALL_IO_READV + io->op);
	if (!rc)
		rc = sim_io_check(sio);
	if (rc)
		return rc;
	switch (io->op) {
	case OS_IO_READV:
		return run_read(sio->open, io);
	case OS_IO_WRITEV:
		return run_write(sim, sio->open, io);
	case OS_IO_FDATASYNC:
		sim_disk_flush(&sio->open->file->disk, sio->flush_seq);
		return 0;
	default:
		return run_zero(sim, sio->open, io);
	}
}

void sim_io_drop(struct sim_io *sio)
{
	list_remove(&sio->link);
	if (sio->io == &sio->orphan)
		free(sio->orphan_iov.iov_base);
	sim_open_put(sio->open);
	free(sio);
}

void sim_io_run(struct sim_io *sio)
{
	int64_t result = sio->io ? io_execute(sio) : 0;

	if (sio->io)
		sim_trace(sio->sim, "io end", sio->io->offset, (uint64_t)result);
	if (sio->ring) {
		sio->io->result = result;
		sim_ring_end_io(sio->ring, sio->io);
	}
	sim_io_drop(sio);
}

void sim_io_orphan(struct sim_io *sio)
{
	uint64_t len = iov_length(sio->io);

	sio->ring = NULL;
	if (sio->io->op == OS_IO_READV) {
		sio->io = NULL; /* nobody is there to see what it read */
		return;
	}
	sio->orphan = *sio->io;
	sio->orphan.iov = &sio->orphan_iov;
	sio->orphan.iovcnt = sio->io->op == OS_IO_WRITEV ? 1 : 0;
	if (sio->orphan.iovcnt)
		sio->orphan_iov =
			(struct iovec){.iov_base = iov_gather(sio->io, len), .iov_len = len};
	sio->io = &sio->orphan;
}

/* ---- power cut ---- */

void sim_power_cut(struct sim *sim)
{
	struct sim_process *process;
	struct sim_io *sio, *next;
	struct sim_file *file;

	sim_trace(sim, "power cut", 0, 0);
	list_for_each_entry (process, &sim->processes, link)
		sim_process_kill(&process->os);
	/* What was in flight may have been done, but nothing of it is promised. */
	list_for_each_entry_safe (sio, next, &sim->in_flight, link) {
		if (sio->io && sio->io->op != OS_IO_FDATASYNC) {
			sio->orphan.flags = 0;
			(void)io_execute(sio);
		}
		sim_io_drop(sio);
	}
	list_for_each_entry (file, &sim->files, link) {
		file->held = false;
		sim_disk_cut(&file->disk, sim, sim->options.atomic_bytes);
	}
}
