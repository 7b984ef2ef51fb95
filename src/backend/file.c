/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device over a regular file or a block device: making it, describing it, its size, its end.
 * One kind of device with two faces, since RPC knows it as "aio" and as "uring".
 *
 * Size. The file can grow or shrink under us. bdev_aio_rescan looks; so does the control reactor by
 * itself, without being asked, after an unexpected end (file_doubt_size) and when the write claim
 * has been taken. In between a request beyond the end of a shrunk file ends with -EIO.
 *
 * Whether holes can be punched is asked before the device is registered, since users are told then
 * if UNMAP exists: with a hole far beyond the end of the file, which changes nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "backend/file_impl.h"

#define FILE_PROBE_DISTANCE (1 * GIB)
#define FILE_PROBE_ALIGN    (1 * MIB)

struct file_create_op {
	struct flow flow;
	struct bdev_registry *registry;
	struct file_bdev *file;
	struct os_io probe;
	struct reason *reason;
	struct bdev **ret_bdev;
	done_fn done;
	void *arg;
};

static const struct bdev_ops file_aio_ops;
static const struct bdev_ops file_uring_ops;

static void file_free(struct file_bdev *file)
{
	free((void *)(uintptr_t)file->options.filename);
	free((void *)(uintptr_t)file->options.name);
	free(file);
}

/* ---- size --------------------------------------------------------------- */

struct file_rescan_op {
	struct flow flow;
	struct file_bdev *file;
	struct bdev_gate_turn turn;
	struct worker_job job;
	struct os_file_info info;
	struct reason *reason;
	done_fn done;
	void *arg;
};

static int file_info_job(struct worker_job *job)
{
	struct file_rescan_op *op = container_of(job, struct file_rescan_op, job);
	struct os *os = job->reactor->os;

	return os->ops->file_info(os, op->file->fd, &op->info);
}

/* What is left of a block at the end is not part of the device. */
static void file_set_size(struct file_bdev *file, uint64_t size)
{
	struct bdev *bdev = &file->bdev;

	size = align_down(size, bdev->block_size);
	if (size == bdev_size(bdev))
		return;
	log_notice("%s: device %s has %llu bytes now, it had %llu", file->options.filename,
		bdev->name, (unsigned long long)size, (unsigned long long)bdev_size(bdev));
	bdev_set_size(bdev, size);
}

static enum flow_result file_rescan_run(struct flow *f)
{
	struct file_rescan_op *op = container_of(f, struct file_rescan_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->file->rescan_gate, &op->turn, flow_resume, f));
	AWAIT(f, worker_run(&op->job, f->reactor, file_info_job, flow_resume, f));
	if (flow_failed(f))
		reason_set(op->reason, f->error, "%s cannot be examined: %s",
			op->file->options.filename, strerror(-f->error));
	else
		file_set_size(op->file, op->info.size_bytes);
	bdev_gate_leave(&op->file->rescan_gate);
	op->done(op->arg, f->error);
	bdev_operation_end(&op->file->bdev);
	free(op);
	FLOW_END(f);
}

static void file_rescan(struct bdev *bdev, struct reason *reason, done_fn done, void *arg)
{
	struct file_rescan_op *op = alloc_op(sizeof(*op));

	op->file = file_bdev_of(bdev);
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	bdev_operation_begin(bdev);
	flow_start(
		&op->flow, bdev_registry_control(bdev->registry), "file_rescan", file_rescan_run);
}

static void file_size_checked(void *arg, int rc)
{
	struct file_bdev *file = arg;

	if (rc)
		log_warning(
			"%s: its size cannot be read: %s", file->options.filename, strerror(-rc));
}

void file_check_size(struct file_bdev *file)
{
	file_rescan(&file->bdev, NULL, file_size_checked, file);
}

static void file_doubt_ended(void *arg, int rc)
{
	struct file_bdev *file = arg;

	file_size_checked(file, rc);
	atomic_store_explicit(&file->size_doubted, false, memory_order_release);
}

static void file_doubt_run(struct message *message)
{
	struct file_bdev *file = container_of(message, struct file_bdev, doubt_message);

	file_rescan(&file->bdev, NULL, file_doubt_ended, file);
}

/* The acquire pairs with the release above: the message is free again. It arrives before the
 * channel that sent it can have been closed, so that the device is still there. */
void file_doubt_size(struct file_bdev *file)
{
	if (atomic_exchange_explicit(&file->size_doubted, true, memory_order_acquire))
		return;
	file->doubt_message.run = file_doubt_run;
	reactor_send(bdev_registry_control(file->bdev.registry), &file->doubt_message);
}

/* ---- life --------------------------------------------------------------- */

static void file_probe_done(struct os_io *os_io)
{
	struct file_create_op *op = container_of(os_io, struct file_create_op, probe);

	if (file_is_unsupported(os_io->result)) {
		op->file->can_unmap = false;
		op->file->bdev.unmap_reads_zeroes = false;
		atomic_init(&op->file->no_punch, true);
	}
	flow_resume(&op->flow, 0);
}

static void file_probe_unmap(struct file_create_op *op)
{
	op->probe.op = OS_IO_PUNCH_HOLE;
	op->probe.fd = op->file->fd;
	op->probe.offset =
		align_up(op->file->info.size_bytes, FILE_PROBE_ALIGN) + FILE_PROBE_DISTANCE;
	op->probe.length = FILE_PROBE_ALIGN;
	op->probe.done = file_probe_done;
	reactor_submit_io(op->flow.reactor, &op->probe);
}

static enum flow_result file_create_run(struct flow *f)
{
	struct file_create_op *op = container_of(f, struct file_create_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, worker_run(&op->file->job, f->reactor, file_open_job, flow_resume, f));
	if (flow_failed(f))
		goto free_file;
	if (op->file->can_unmap && !op->file->is_block)
		AWAIT(f, file_probe_unmap(op));
	flow_fail(f, bdev_register(op->registry, &op->file->bdev, op->reason));
	if (flow_failed(f))
		goto close_file;
	if (op->file->bdev.read_only && !op->file->options.read_only)
		log_notice("%s may not be written: device %s is read-only",
			op->file->options.filename, op->file->bdev.name);
	op->file->reason = NULL;
	*op->ret_bdev = &op->file->bdev;
	goto finish;

close_file:
	AWAIT(f, worker_run(&op->file->job, f->reactor, file_close_job, flow_resume, f));
free_file:
	file_free(op->file);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static char *file_copy_text(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(alloc_op(size), text, size);
}

static struct file_bdev *file_bdev_alloc(
	struct reactor *control, const struct file_bdev_options *options)
{
	struct file_bdev *file = alloc_op(sizeof(*file));

	file->options = *options;
	file->options.name = file_copy_text(options->name);
	file->options.filename = file_copy_text(options->filename);
	file->bdev.ops = options->face == FILE_BDEV_AIO ? &file_aio_ops : &file_uring_ops;
	file->bdev.name = file->options.name;
	uuid_copy(file->bdev.uuid, options->uuid);
	file->bdev.read_only = options->read_only;
	file->fd = -1;
	bdev_gate_init(&file->rescan_gate, control);
	return file;
}

void file_bdev_create(struct bdev_registry *registry, const struct file_bdev_options *options,
	struct reason *reason, struct bdev **ret_bdev, done_fn done, void *arg)
{
	struct file_create_op *op = alloc_op(sizeof(*op));
	struct reactor *control = bdev_registry_control(registry);

	op->registry = registry;
	op->file = file_bdev_alloc(control, options);
	op->file->reason = reason;
	op->reason = reason;
	op->ret_bdev = ret_bdev;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, control, "file_bdev_create", file_create_run);
}

static void file_closed(void *arg, int rc)
{
	struct file_bdev *file = arg;
	done_fn done = file->destroyed;
	void *done_arg = file->arg;

	file_free(file);
	done(done_arg, rc);
}

static void file_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct file_bdev *file = file_bdev_of(bdev);

	file_report_end(file);
	file->destroyed = done;
	file->arg = arg;
	worker_run(&file->job, bdev_registry_control(bdev->registry), file_close_job, file_closed,
		file);
}

/* ---- what it is --------------------------------------------------------- */

static bool file_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	switch (type) {
	case BDEV_IO_READ:
	case BDEV_IO_FLUSH:
		return true;
	case BDEV_IO_UNMAP:
		return file_bdev_of(bdev)->can_unmap;
	case BDEV_IO_WRITE:
	case BDEV_IO_WRITE_ZEROES:
		return !bdev->read_only;
	case BDEV_IO_EXTENT:
	case BDEV_IO_TYPES:
		break;
	}
	return false;
}

static json_t *file_describe_aio(const struct bdev *bdev)
{
	const struct file_bdev *file = file_bdev_of(bdev);

	return json_pack("{s{ss sb sb sb sb}}", "aio", "filename", file->options.filename,
		"block_size_override", file->options.block_size != 0, "readonly", bdev->read_only,
		"fallocate", file->options.fallocate, "nowait", file->options.nowait);
}

static json_t *file_describe_uring(const struct bdev *bdev)
{
	const struct file_bdev *file = file_bdev_of(bdev);

	return json_pack("{s{ss}}", "uring", "filename", file->options.filename);
}

static const struct bdev_ops file_aio_ops = {
	.product_name = "AIO disk",
	.module = "aio",
	.submit = file_submit,
	.channel_size = sizeof(struct file_channel),
	.channel_init = file_channel_init,
	.channel_fini = file_channel_fini,
	.supports = file_supports,
	.claim = file_claim,
	.release = file_release,
	.rescan = file_rescan,
	.describe = file_describe_aio,
	.destroy = file_destroy,
};

static const struct bdev_ops file_uring_ops = {
	.product_name = "URING bdev",
	.module = "uring",
	.submit = file_submit,
	.channel_size = sizeof(struct file_channel),
	.channel_init = file_channel_init,
	.channel_fini = file_channel_fini,
	.supports = file_supports,
	.claim = file_claim,
	.release = file_release,
	.rescan = file_rescan,
	.describe = file_describe_uring,
	.destroy = file_destroy,
};

const struct file_bdev_options *file_bdev_get_options(const struct bdev *bdev)
{
	return &file_bdev_of(bdev)->options;
}

bool bdev_is_file(const struct bdev *bdev, int face)
{
	return bdev->ops == (face == FILE_BDEV_AIO ? &file_aio_ops : &file_uring_ops);
}

bool bdev_is_any_file(const struct bdev *bdev)
{
	return bdev->ops == &file_aio_ops || bdev->ops == &file_uring_ops;
}
