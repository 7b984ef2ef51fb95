/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the methods on stores and volumes share: an operation on behalf of a request, finding what a
 * request names, and how failures are told.
 */
#ifndef CONTROL_LVOL_IMPL_H
#define CONTROL_LVOL_IMPL_H

#include "control/control_impl.h"
#include "lvol/lvol.h"

#define LVS_CLUSTER_BYTES_DEFAULT (4 * MIB)

/* How the result is told. */
enum lvol_result {
	LVOL_RESULT_TRUE,
	LVOL_RESULT_LVOL, /* the new volume's identifier */
	LVOL_RESULT_LVS, /* the new store's UUID */
};

struct lvol_call {
	struct rpc_request *request;
	struct reason reason;
	enum lvol_result result;
	int eperm_code; /* of -EPERM; 0: as all others */
	struct lvol *on; /* what the request names */
	struct lvol *lvol; /* what it makes */
	struct lvs *lvs;
};

struct lvol_call *lvol_call_create(struct rpc_request *request, enum lvol_result result);
/* A done_fn. -ENODEV is told as it is, everything else as invalid parameters with its text. */
void lvol_call_end(void *arg, int rc);
/* The same for a failure before anything was begun. */
void lvol_refuse(struct rpc_request *request, int rc, const struct reason *reason);

/* Stores are named by exactly one of these. */
struct lvs_choice {
	const char *uuid;
	const char *lvs_name;
};

/* NULL and the request answered: -EINVAL both or none, -ENODEV. */
struct lvs *lvs_choose_or_fail(
	struct control *control, struct rpc_request *request, const struct lvs_choice *choice);
/* NULL and answered with -ENODEV. */
struct lvol *lvol_find_or_fail(
	struct control *control, struct rpc_request *request, const char *name);
/* The same, and a call on what was found. */
struct lvol_call *lvol_call_on(struct control *control, struct rpc_request *request,
	const char *name, enum lvol_result result);

/* -EINVAL: not none, unmap or write_zeroes, in any case of letters; NULL is what is given. */
int clear_method_parse(const char *text, enum blobstore_clear_method *method) MUST_CHECK;
/* MiB, or bytes as older clients say. -EINVAL with a sentence for both and for what is too large;
 * -ENOENT for none. */
int lvol_size_parse(const uint64_t *size_in_mib, const uint64_t *size, uint64_t *ret_bytes,
	struct reason *reason) MUST_CHECK;

/* Of methods that only name a volume. */
struct lvol_name_params {
	const char *name;
};
extern const struct rpc_param lvol_name_table[];

#endif
