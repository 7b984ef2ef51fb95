/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An operation of a scenario: scenario_op.c picks what it is done to and does it, scenario.c says
 * which and when.
 */
#ifndef CRASH_SCENARIO_IMPL_H
#define CRASH_SCENARIO_IMPL_H

#include "crash/scenario.h"

#define SCENARIO_PAD_BYTES 4050u /* an xattr of that size has a page of the chain to itself */

struct scenario_op {
	struct store_call call;
	struct scenario *scenario;
	enum scenario_op_kind kind;
	struct scenario_volume *target; /* NULL: none is needed */
	struct scenario_volume *other; /* the new parent */
	uint64_t clusters;
	bool thin;
	enum blobstore_clear_method clear_method;
	uint64_t called;
	struct model_volume *born; /* makes that */
	struct model_span *span; /* of what it changes, or NULL */
	struct blob *ret_blob;
	uint32_t tag, name;
	uint8_t pad[SCENARIO_PAD_BYTES];
	struct blob_xattr xattrs[3];
	unsigned num_xattrs;
};

/* False: there is nothing that it could be done to. Closes what must be closed. */
bool scenario_op_prepare(
	struct scenario *scenario, struct scenario_op *op, enum scenario_op_kind kind);
void scenario_op_begin(struct scenario_op *op);
void scenario_op_finish(struct scenario_op *op);

void scenario_volume_open(struct scenario *scenario, struct scenario_volume *volume);
void scenario_volume_close(struct scenario *scenario, struct scenario_volume *volume);
/* Its guest makes no requests any more. */
void scenario_volume_quiet(struct scenario *scenario, struct scenario_volume *volume);

#endif
