/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the log says of requests that the file or its disk has failed: without it a full file system
 * would show in the guests only.
 *
 * A data reactor counts and, for the first of a series, leaves what it was and sends the control
 * reactor a message: nothing there writes to a log, which may block. The control reactor tells the
 * first at once and, every ten seconds, how many more there were; a silent interval ends the
 * series. failures.told belongs to the series: who sets it from false owns message and first until
 * the control reactor has set it back (acquire and release keep these apart).
 */
#include <inttypes.h>
#include <string.h>

#include "backend/file_impl.h"

#define REPORT_INTERVAL_NS (10 * SEC_NS)

static const char *const file_io_names[] = {
	[BDEV_IO_READ] = "read",
	[BDEV_IO_WRITE] = "write",
	[BDEV_IO_FLUSH] = "flush",
	[BDEV_IO_UNMAP] = "discard",
	[BDEV_IO_WRITE_ZEROES] = "zeroing",
};

static void file_report_more(struct timer *timer);

static void file_report_first(struct message *message)
{
	struct file_bdev *file = container_of(message, struct file_bdev, failures.message);
	const struct file_failures *failures = &file->failures;

	log_error("%s: %s of %" PRIu64 " bytes at %" PRIu64 " of device %s failed: %s",
		file->options.filename, file_io_names[failures->first_type], failures->first_length,
		failures->first_offset, file->bdev.name, strerror(-failures->first_status));
	file->failures.timer.fired = file_report_more;
	timer_start(bdev_registry_control(file->bdev.registry), &file->failures.timer,
		REPORT_INTERVAL_NS);
}

static void file_report_more(struct timer *timer)
{
	struct file_bdev *file = container_of(timer, struct file_bdev, failures.timer);
	struct reactor *control = bdev_registry_control(file->bdev.registry);
	uint32_t more = atomic_exchange_explicit(&file->failures.more, 0, memory_order_relaxed);

	if (!more) {
		atomic_store_explicit(&file->failures.told, false, memory_order_release);
		return;
	}
	log_error("%s: %u more requests to device %s have failed in %u s", file->options.filename,
		more, file->bdev.name, (unsigned)(REPORT_INTERVAL_NS / SEC_NS));
	timer_start(control, timer, REPORT_INTERVAL_NS);
}

/* As with file_doubt_size: the message arrives before the device can have gone. */
void file_report_failure(struct file_bdev *file, const struct bdev_io *io, int status)
{
	struct file_failures *failures = &file->failures;

	if (atomic_exchange_explicit(&failures->told, true, memory_order_acquire)) {
		atomic_fetch_add_explicit(&failures->more, 1, memory_order_relaxed);
		return;
	}
	failures->first_type = io->type;
	failures->first_offset = io->offset;
	failures->first_length = io->length;
	failures->first_status = status;
	failures->message.run = file_report_first;
	reactor_send(bdev_registry_control(file->bdev.registry), &failures->message);
}

void file_report_end(struct file_bdev *file)
{
	if (timer_is_started(&file->failures.timer))
		timer_stop(bdev_registry_control(file->bdev.registry), &file->failures.timer);
}
