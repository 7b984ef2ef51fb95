/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The write claim of a file: flock() on the open file that does the I/O. A lock that is held is
 * tried again for a second, since the source of a live migration, or a daemon that was just killed,
 * may be about to let go; then the holder is named.
 *
 * Two devices of this daemon over one file exclude each other too. The kernel would say only that
 * this process has the lock, so that case is looked up here.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "backend/file_impl.h"

#define FILE_CLAIM_PATIENCE_NS (1 * SEC_NS)
#define FILE_CLAIM_RETRY_NS    (20 * MSEC_NS)

struct file_claim_op {
	struct flow flow;
	struct file_bdev *file;
	struct worker_job job;
	struct timer timer;
	uint64_t deadline_ns;
	const struct file_bdev *holder; /* in this daemon */
	int rc; /* of the last try */
	struct reason refusal; /* of the last try */
	struct reason *reason;
	done_fn done;
	void *arg;
};

static bool file_is_same(const struct file_bdev *a, const struct file_bdev *b)
{
	return a->is_block == b->is_block && a->info.device == b->info.device &&
	       (a->is_block || a->info.inode == b->info.inode);
}

static void file_find_holder(struct bdev *bdev, void *arg)
{
	struct file_claim_op *op = arg;
	const struct file_bdev *other;

	if (!bdev_is_any_file(bdev))
		return;
	other = file_bdev_of(bdev);
	if (other != op->file && other->claimed && file_is_same(other, op->file))
		op->holder = other;
}

static int file_lock_job(struct worker_job *job)
{
	struct file_claim_op *op = container_of(job, struct file_claim_op, job);
	struct os *os = job->reactor->os;

	op->refusal.text[0] = '\0';
	return os->ops->file_lock(os, op->file->fd, true, &op->refusal);
}

static int file_unlock_job(struct worker_job *job)
{
	struct file_claim_op *op = container_of(job, struct file_claim_op, job);
	struct os *os = job->reactor->os;

	return os->ops->file_unlock(os, op->file->fd);
}

/* A refusal is no failure of the flow yet. */
static void file_lock_tried(void *arg, int rc)
{
	struct file_claim_op *op = arg;

	op->rc = rc;
	flow_resume(&op->flow, 0);
}

static void file_claim_timer_fired(struct timer *timer)
{
	flow_resume(&container_of(timer, struct file_claim_op, timer)->flow, 0);
}

static int file_claim_refuse(struct file_claim_op *op)
{
	int rc = op->rc == -EWOULDBLOCK ? -EBUSY : op->rc;

	return reason_set(op->reason, rc, "%s: %s", op->file->options.filename,
		reason_text(&op->refusal, rc));
}

static int file_claim_refuse_here(const struct file_claim_op *op)
{
	return reason_set(op->reason, -EBUSY,
		"%s is written through device %s of this daemon: use that device, or remove it "
		"first",
		op->file->options.filename, op->holder->bdev.name);
}

static enum flow_result file_claim_run(struct flow *f)
{
	struct file_claim_op *op = container_of(f, struct file_claim_op, flow);

	FLOW_BEGIN(f);
	for (;;) {
		op->holder = NULL;
		bdev_for_each(op->file->bdev.registry, file_find_holder, op);
		if (op->holder) {
			flow_fail(f, file_claim_refuse_here(op));
			break;
		}
		AWAIT(f, worker_run(&op->job, f->reactor, file_lock_job, file_lock_tried, op));
		if (op->rc == 0)
			break;
		if (op->rc != -EWOULDBLOCK || reactor_now(f->reactor) >= op->deadline_ns) {
			flow_fail(f, file_claim_refuse(op));
			break;
		}
		AWAIT(f, timer_start(f->reactor, &op->timer, FILE_CLAIM_RETRY_NS));
	}
	if (!f->error) {
		op->file->claimed = true;
		file_check_size(op->file); /* who had it before may have changed that */
	}
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static enum flow_result file_release_run(struct flow *f)
{
	struct file_claim_op *op = container_of(f, struct file_claim_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, worker_run(&op->job, f->reactor, file_unlock_job, flow_resume, f));
	op->file->claimed = false;
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static struct file_claim_op *file_claim_op_create(
	struct bdev *bdev, struct reason *reason, done_fn done, void *arg)
{
	struct file_claim_op *op = alloc_op(sizeof(*op));

	op->file = file_bdev_of(bdev);
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	op->timer.fired = file_claim_timer_fired;
	return op;
}

void file_claim(struct bdev *bdev, struct reason *reason, done_fn done, void *arg)
{
	struct file_claim_op *op = file_claim_op_create(bdev, reason, done, arg);
	struct reactor *control = bdev_registry_control(bdev->registry);

	op->deadline_ns = reactor_now(control) + FILE_CLAIM_PATIENCE_NS;
	flow_start(&op->flow, control, "file_claim", file_claim_run);
}

void file_release(struct bdev *bdev, done_fn done, void *arg)
{
	struct file_claim_op *op = file_claim_op_create(bdev, NULL, done, arg);

	flow_start(
		&op->flow, bdev_registry_control(bdev->registry), "file_release", file_release_run);
}
