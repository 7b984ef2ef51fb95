/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REPORT TIMESTAMP, SET TIMESTAMP: SPC-4 6.38, 6.46, 5.2. Milliseconds, 48 bits. The time stamp is
 * 0 when the logical unit comes into being and goes on by the daemon's clock; a reset does not
 * touch it. Any reactor reads it; each has its own reading of the same clock.
 */
#include "base/endian.h"
#include "scsi/buffer.h"
#include "scsi/command.h"
#include "scsi/sense.h"
#include "scsi/steps.h"

#define TIMESTAMP_BYTES 12

#define ORIGIN_SET 0x2 /* by SET TIMESTAMP; 0: zero at power on */

static struct scsi_lun *task_lun(const struct scsi_task *task)
{
	return task->channel->attachment->lun;
}

enum scsi_run scsi_run_report_timestamp(struct scsi_task *task)
{
	const struct scsi_lun *lun = task_lun(task);
	int64_t zero = atomic_load_explicit(&lun->timestamp_zero_ns, memory_order_relaxed);
	int64_t passed = (int64_t)reactor_now(task->reactor) - zero;
	/* The reactor that made the unit may have been a little ahead. */
	uint64_t ms = passed > 0 ? (uint64_t)passed / MSEC_NS : 0;
	uint8_t data[TIMESTAMP_BYTES] = {0, TIMESTAMP_BYTES - 2};

	data[2] = atomic_load_explicit(&lun->timestamp_origin, memory_order_relaxed);
	be16_put(data + 4, (uint16_t)(ms >> 32));
	be32_put(data + 6, (uint32_t)ms);
	return scsi_reply(task, be32_get(task->cdb + 6), data, sizeof(data));
}

/* On the control reactor; the time stamp is in task->offset. */
static void timestamp_set(struct scsi_task *task)
{
	struct scsi_lun *lun = task_lun(task);
	int64_t now = (int64_t)reactor_now(lun->control);

	atomic_store_explicit(&lun->timestamp_zero_ns, now - (int64_t)(task->offset * MSEC_NS),
		memory_order_relaxed);
	atomic_store_explicit(&lun->timestamp_origin, ORIGIN_SET, memory_order_relaxed);
	scsi_lun_raise_others(lun, task->channel->attachment, SCSI_UA_TIMESTAMP_CHANGED);
}

enum scsi_run scsi_run_set_timestamp(struct scsi_task *task)
{
	uint32_t len = be32_get(task->cdb + 6);
	uint8_t data[TIMESTAMP_BYTES];

	if (len == 0)
		return SCSI_ENDED;
	if (len < sizeof(data))
		return scsi_task_check(
			task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	if (task->out_bytes < len) {
		task->response = SCSI_RESPONSE_OVERRUN;
		return SCSI_ENDED;
	}
	scsi_iov_read(task->out, task->out_iovs, 0, data, sizeof(data));
	task->offset = (uint64_t)be16_get(data + 4) << 32 | be32_get(data + 6);
	task->moved = len;
	/* Beyond what 64 bits of nanoseconds can say (the year 2262 from 1970 on). */
	if (task->offset > INT64_MAX / MSEC_NS / 2)
		return scsi_task_check_parameters(task, 4, -1);
	return scsi_task_on_control(task, timestamp_set, scsi_task_good);
}
