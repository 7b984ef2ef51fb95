/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What blob_delete.c and blob_merge.c share.
 */
#ifndef BLOB_DELETE_IMPL_H
#define BLOB_DELETE_IMPL_H

#include "blob/store_impl.h"

struct delete_op {
	struct blob_op op;
	struct blob *blob;
	struct blob *clone; /* its only one */
	bool clone_takes_esnap;
	struct bdev_gate_turn turn;
	struct md md;
	uint32_t pages; /* promised, not taken */
};

/* Engine. Within the operation of delete: everything up to blob_op_end. */
void merge_into_clone(struct delete_op *op, done_fn done, void *arg);
/* All that map, extent table and chain of the blob still have is released. */
void delete_release_all(struct blob *blob);
/* It leaves the engine's books; control frees it. */
void delete_forget(struct delete_op *op);

#endif
