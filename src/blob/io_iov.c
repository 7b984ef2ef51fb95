/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parts of vectors. A part is a vector of its own whose first and last entries are cut; nothing is
 * copied but entries.
 */
#include "blob/io_impl.h"

static uint8_t io_zeroes[IO_ZEROES] __attribute__((aligned(4096)));

void iov_skip(struct iov_cursor *cursor, uint64_t bytes)
{
	while (bytes > 0) {
		size_t left = cursor->iov->iov_len - cursor->skip;

		if (bytes < left) {
			cursor->skip += bytes;
			return;
		}
		bytes -= left;
		cursor->iov++;
		cursor->skip = 0;
	}
}

unsigned iov_count(const struct iov_cursor *cursor, uint64_t bytes)
{
	const struct iovec *iov = cursor->iov;
	size_t skip = cursor->skip;
	unsigned count = 0;

	while (bytes > 0) {
		bytes -= u64_min(bytes, iov->iov_len - skip);
		skip = 0;
		iov++;
		count++;
	}
	return count;
}

unsigned iov_take(struct iov_cursor *cursor, uint64_t bytes, struct iovec *ret_iov)
{
	unsigned count = 0;

	while (bytes > 0) {
		size_t part = u64_min(bytes, cursor->iov->iov_len - cursor->skip);

		ret_iov[count++] = (struct iovec){
			.iov_base = (uint8_t *)cursor->iov->iov_base + cursor->skip,
			.iov_len = part,
		};
		bytes -= part;
		iov_skip(cursor, part);
	}
	return count;
}

enum slab_class iov_class(unsigned count)
{
	return slab_class_for(count * sizeof(struct iovec));
}

unsigned iov_add_zeroes(struct iovec *ret_iov, uint64_t bytes)
{
	unsigned count = 0;

	for (; bytes > 0; count++) {
		ret_iov[count] = (struct iovec){
			.iov_base = io_zeroes,
			.iov_len = u64_min(bytes, IO_ZEROES),
		};
		bytes -= ret_iov[count].iov_len;
	}
	return count;
}
