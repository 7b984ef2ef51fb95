/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/crash_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void crash_log_init(struct crash_log *log)
{
	*log = (struct crash_log){0};
}

void crash_log_fini(struct crash_log *log)
{
	for (uint32_t i = 0; i < log->num_writes; i++)
		free(log->writes[i].data);
	free(log->writes);
	free(log->events);
}

/* Room for one more. */
static void *array_reserve(void *array, uint32_t count, uint32_t *room, size_t entry)
{
	if (count < *room)
		return array;
	*room = *room ? *room * 2 : 64;
	array = realloc(array, *room * entry);
	invariant(array != NULL);
	return array;
}

static uint64_t log_event(struct crash_log *log, uint32_t write, bool is_end)
{
	log->events = array_reserve(
		log->events, log->num_events, &log->room_events, sizeof(*log->events));
	log->events[log->num_events++] =
		(struct crash_event){.time = ++log->now, .write = write, .is_end = is_end};
	return log->now;
}

uint32_t crash_log_submit(struct crash_log *log, const struct crash_write *write)
{
	uint32_t number = log->num_writes++;

	log->writes = array_reserve(log->writes, number, &log->room_writes, sizeof(*log->writes));
	log->writes[number] = *write;
	log->writes[number].ended = 0;
	log->writes[number].submitted = log_event(log, number, false);
	return number;
}

void crash_log_end(struct crash_log *log, uint32_t write)
{
	invariant(log->writes[write].ended == 0);
	log->writes[write].ended = log_event(log, write, true);
}

void crash_write_apply(const struct crash_write *write, struct crash_image *image)
{
	if (write->is_flush)
		return;
	if (write->data)
		crash_image_write(image, write->offset, write->data, write->length);
	else
		crash_image_fill(image, write->offset, write->fill, write->length);
}
