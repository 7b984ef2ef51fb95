/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue of bytes in one piece: consumed at the front, extended at the end. What bounds it is its
 * owner's business.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "rpc/rpc_impl.h"

#define BUFFER_SIZE_MIN 1024

void rpc_buffer_clear(struct rpc_buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}

char *rpc_buffer_reserve(struct rpc_buffer *buffer, size_t len)
{
	size_t used = rpc_buffer_len(buffer);
	size_t size = buffer->size ? buffer->size : BUFFER_SIZE_MIN;
	char *data;

	if (len <= buffer->size - buffer->end)
		return buffer->data + buffer->end;
	/* Moving costs no more than what was consumed since the last move. */
	if (buffer->start >= used && len <= buffer->size - used) {
		memmove(buffer->data, buffer->data + buffer->start, used);
		buffer->start = 0;
		buffer->end = used;
		return buffer->data + used;
	}
	while (size - used < len)
		size *= 2;
	data = malloc(size);
	if (!data)
		return NULL;
	if (used)
		memcpy(data, buffer->data + buffer->start, used);
	free(buffer->data);
	*buffer = (struct rpc_buffer){.data = data, .end = used, .size = size};
	return data + used;
}

void rpc_buffer_extend(struct rpc_buffer *buffer, size_t len)
{
	invariant(len <= buffer->size - buffer->end);
	buffer->end += len;
}

int rpc_buffer_append(struct rpc_buffer *buffer, const char *data, size_t len)
{
	char *room = rpc_buffer_reserve(buffer, len);

	if (!room)
		return -ENOMEM;
	memcpy(room, data, len);
	buffer->end += len;
	return 0;
}

void rpc_buffer_consume(struct rpc_buffer *buffer, size_t len)
{
	invariant(len <= rpc_buffer_len(buffer));
	buffer->start += len;
	if (buffer->start == buffer->end)
		rpc_buffer_clear(buffer);
}
