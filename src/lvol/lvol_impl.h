/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of this folder:
 *
 *	lvols.c		all stores: found, closed at the end
 *	examine.c	devices that come: is there a store on them, does a volume wait for them?
 *	store.c		a store's life in memory, rename, grow
 *	store_create.c, store_load.c, store_close.c	one each
 *	discard.c	what a deleted store held
 *	volume.c	a volume's life in memory, names, listing
 *	volume_bdev.c	a volume as a block device
 *	op.c		what operations begin and end with
 *	space.c		little space left: who is told
 *	settle.c	after an operation: who has a device, which foreign parents are open
 *	esnap.c		a foreign parent: opened, lost
 *	create.c, change.c, own.c, parent.c, delete.c, xattrs.c	operations on volumes
 *	usage.c		what is allocated, and where
 *	copy.c		shallow copies
 *
 * Gates. Whatever changes a store or its volumes holds lvs->gate: so names are unique, and a list
 * that was walked across waits has not changed. Only what needs no gate to be true is read outside.
 *
 * Nobody waits for a device in use to be given up while he holds a gate: it may be a volume of
 * another store that stands on it, or a store inside it, which need a gate of their own for that,
 * and may be waiting for this one. Deleting and closing leave the gate for that time, with a mark
 * that keeps others away (lvol->leaving, lvs->state). Nor does anybody hold it while clusters are
 * copied (lvol->filling, copy.c).
 *
 * Memory. A store is counted by its operations and by the list of stores; a volume by its
 * operations and by its store, which lets go when the blob is gone.
 */
#ifndef LVOL_LVOL_IMPL_H
#define LVOL_LVOL_IMPL_H

#include "base/alloc.h"
#include "core/call.h"
#include "lvol/lvol.h"

#define LVOL_NAME_SIZE (LVOLSTORE_NAME_MAX + 1)

/* Of a volume whose block size was chosen: "512" or "4096", and a NUL. SPDK keeps attributes that
 * it does not know, and goes by the device below. */
#define LVOL_XATTR_BLOCK_SIZE "sluice.block_size"
#define LVOL_BLOCK_SIZE_SMALL 512u
#define LVOL_BLOCK_SIZE_LARGE 4096u

struct lvol_copy;

struct lvols {
	struct lvols_options options;
	struct reactor *control;
	struct bdev_ops bdev_ops; /* of volumes */
	struct list stores; /* in the order they came; those being opened or closed too */
	struct list copies;
	uint32_t copies_count;
	unsigned next_reactor; /* for copies */
	unsigned examines; /* under way */
	struct list examine_waiters;
	bool closing;
	void (*space)(struct lvs *lvs, enum blob_store_space space, void *arg); /* NULL: nobody */
	void *space_arg;
};

enum lvs_state {
	LVS_OPENING, /* being created or loaded */
	LVS_OPEN,
	LVS_CLOSING,
	LVS_CLOSED,
};

struct lvs {
	struct lvols *lvols;
	struct list link; /* lvols->stores, until it is closed */
	unsigned refs;
	enum lvs_state state;
	struct bdev_gate gate;
	struct bdev_gate close_gate; /* whoever closes it, before the other one */
	struct blob_store *store;
	struct list volumes; /* struct lvol.link, super blob not among them */
	struct list esnaps;
	char name[LVOL_NAME_SIZE];
	char new_name[LVOL_NAME_SIZE]; /* while it is renamed: taken as well */
	char uuid[UUID_STR_LEN];
	enum blob_store_space space;
	enum blob_store_space space_told;
	unsigned low_water_percent;
};

struct lvol {
	struct bdev bdev; /* while registered */
	struct lvs *lvs;
	struct blob *blob; /* NULL: gone */
	struct list link;
	unsigned refs;
	bool registered;
	bool leaving; /* is being deleted: as good as gone */
	bool filling; /* own.c: clusters are being copied */
	struct bdev_gate device_gate; /* whoever unregisters its device */
	bool was_snapshot;
	bool no_name; /* its name is its identifier, for want of one */
	_Atomic bool read_only; /* for ops->supports, any reactor */
	char id[LVOL_ID_MAX];
	uuid_t uuid; /* null: it has none */
	char name[LVOL_NAME_SIZE];
	uint32_t block_size; /* that was chosen; 0: none was */
	char *esnap_id; /* NULL: none, or not known yet */
	struct lvol_esnap *under; /* while registered */
	struct deferred destroyed; /* ops->destroy */
	done_fn destroyed_done;
	void *destroyed_arg;
};

/*
 * A foreign parent of one blob (blob_esnap_bdev), open and claimed so that nobody writes it. It
 * moves between blobs with snapshots and deletions. A device's channels hold on to the one that
 * was at the end of their chain when they were opened (lvol->under), until settling makes them let
 * go.
 */
struct lvol_esnap {
	struct bdev_user user;
	struct list link; /* lvs->esnaps */
	struct lvs *lvs;
	bool removed; /* its device goes */
};

static inline bool list_is_end(const struct list *head, const struct list *at)
{
	return at == head;
}

/* ---- lvols.c --------------------------------------------------------------------------- */

/* Of a store: is it taken by another one, open or about to be? */
bool lvs_name_is_taken(const struct lvols *lvols, const char *name, const struct lvs *but);
bool lvs_uuid_is_taken(const struct lvols *lvols, const char *uuid, const struct lvs *but);
/* -EINVAL with a sentence unless it has 1 to 63 bytes. */
int lvol_check_name(const char *name, const char *what, struct reason *reason) MUST_CHECK;

/* ---- examine.c ------------------------------------------------------------------------- */

void lvols_bdev_event(const struct bdev_event *event, void *arg);

/* ---- store.c --------------------------------------------------------------------------- */

/* OPENING, in the list of stores. One reference is the list's. */
struct lvs *lvs_alloc(struct lvols *lvols);
void lvs_get(struct lvs *lvs);
void lvs_put(struct lvs *lvs);
/* CLOSED: leaves the list. */
void lvs_drop(struct lvs *lvs);
extern const struct blob_store_user lvs_store_user_template;

/* ---- store_load.c, store_close.c ------------------------------------------------------- */

/* -EILSEQ, -ENXIO: no store of volumes (a sentence in reason), and what else can fail. */
void lvs_load(
	struct lvols *lvols, struct bdev *base, struct reason *reason, done_fn done, void *arg);

enum lvs_close_kind {
	LVS_CLOSE,
	LVS_DESTROY, /* it is no store any more, and its contents are discarded */
};

/* -ENODEV: it has been closed before. */
void lvs_close(struct lvs *lvs, enum lvs_close_kind kind, done_fn done, void *arg);

/* discard.c. UNMAP or WRITE_ZEROES of a whole device that nobody has claimed. Best effort: a
 * failure is logged. */
void bdev_discard_all(struct bdev *bdev, enum bdev_io_type type, done_fn done, void *arg);

/* ---- volume.c -------------------------------------------------------------------------- */

/* In its store's list, blob's user. */
struct lvol *lvol_alloc(struct lvs *lvs, struct blob *blob);
void lvol_get(struct lvol *lvol);
void lvol_put(struct lvol *lvol);
/* What its device has. */
uint32_t lvol_block_size(const struct lvol *lvol);
/* Leaves the list; its blob is gone. */
void lvol_drop(struct lvol *lvol);
void lvol_set_uuid(struct lvol *lvol, const char *text); /* NULL: none */
void lvol_alias_format(const char *store, const char *name, char *buf, size_t size);
#define LVOL_ALIAS_MAX (2 * LVOL_NAME_SIZE)
/* Is there a volume of that name in the store, or a device of that alias? -EEXIST. */
int lvol_check_free(struct lvs *lvs, const char *name, struct reason *reason) MUST_CHECK;

/* ---- volume_bdev.c --------------------------------------------------------------------- */

void lvol_bdev_ops_fill(struct bdev_ops *ops);
bool bdev_is_lvol(const struct bdev *bdev);
struct lvol *lvol_of_bdev(struct bdev *bdev);
int lvol_register(struct lvol *lvol, struct reason *reason) MUST_CHECK;
/* done(0), when it has no device any more. A store inside is closed first. */
void lvol_unregister(struct lvol *lvol, done_fn done, void *arg);
/* Does somebody have it open? */
bool lvol_is_used(const struct lvol *lvol);

/* ---- settle.c -------------------------------------------------------------------------- */

/* Gate held. Foreign parents that are there are opened, volumes that can have a device get one,
 * foreign parents that nobody needs any more are closed. Never fails: what is not possible stays
 * degraded, and is logged. */
void lvs_settle(struct lvs *lvs, done_fn done, void *arg);

/* ---- esnap.c --------------------------------------------------------------------------- */

/* Open and claimed; belongs to the store, which closes it at the next settling if no blob has it.
 * -EPERM, -ENODEV, -EINVAL: it does not fit. */
void lvs_esnap_open(struct lvs *lvs, struct bdev *bdev, struct reason *reason,
	struct lvol_esnap **ret_esnap, done_fn done, void *arg);
/* No channel is open through it; no blob has it. */
void lvol_esnap_close(struct lvol_esnap *esnap, done_fn done, void *arg);
/* At the end of the volume's chain; NULL: none. *ret_missing: there should be one. */
struct lvol_esnap *lvol_esnap_below(const struct lvol *lvol, bool *ret_missing);
/* Is `top` the volume itself or one of its ancestors? */
bool lvol_is_below(const struct lvol *lvol, const struct lvol *top);

/* ---- op.c ------------------------------------------------------------------------------ */

/* What all operations on volumes and stores have; each uses what it needs. */
struct lvol_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct lvs *lvs; /* counted */
	struct lvol *lvol; /* counted, or NULL: about the store */
	struct lvol *other; /* counted, or NULL */
	struct lvol *made;
	struct lvol **ret_lvol;
	struct blob *blob; /* made */
	struct list *at; /* a walk */
	struct bdev *device; /* another one, held by bdev_operation_begin, or NULL */
	struct lvol_esnap *esnap;
	char name[LVOL_NAME_SIZE]; /* a new one */
	char padded[LVOLSTORE_NAME_BYTES]; /* the same as a volume's attribute when it is made */
	char uuid[UUID_STR_LEN];
	char esnap_id[UUID_STR_LEN];
	uint64_t bytes; /* asked for */
	uint64_t num_clusters; /* the same */
	uint64_t old_bytes;
	bool thin;
	bool decouple;
	enum blobstore_clear_method clear_method;
	uint32_t block_size; /* of the new volume; 0: not chosen */
	char block_size_text[8];
	struct blob_xattr xattrs[3 + LVOL_XATTRS_MAX];
	unsigned num_xattrs;
	char *key; /* owned, as is value */
	char *value;
	char **ret_value;
	size_t length;
	bool any_state; /* also of a degraded volume */
	int refusal; /* found before it began */
	struct reason *reason;
	done_fn done;
	void *arg;
	done_fn entered;
	void *entered_arg;
};

/* lvol NULL: about the store. */
struct lvol_op *lvol_op_create(
	struct lvs *lvs, struct lvol *lvol, struct reason *reason, done_fn done, void *arg);
void lvol_op_start(
	struct lvol_op *op, const char *name, enum flow_result (*run)(struct flow *flow));
/* First wait, and again after one without the gate: it is this one's, done with -ENODEV when store
 * or volume have gone meanwhile or the volume is degraded, or with op->refusal. */
void lvol_op_enter(struct lvol_op *op, done_fn done, void *arg);
/* Last line: leaves the gate, calls done, frees. */
void lvol_op_end(struct lvol_op *op, int rc);
/* A copy for the op, cut never: -EINVAL becomes op->refusal. */
void lvol_op_take_name(struct lvol_op *op, const char *name);
/* It will be the foreign parent: held, and its UUID is what names it. */
void lvol_op_take_device(struct lvol_op *op, struct bdev *device);
/* The attributes of a new volume of op->name and op->block_size, with a new UUID. */
void lvol_op_make_xattrs(struct lvol_op *op);
/* A choice for a new volume: -EINVAL becomes op->refusal. */
void lvol_op_take_block_size(struct lvol_op *op, uint32_t block_size);

/* ---- own.c ----------------------------------------------------------------------------- */

/* -EBUSY: it is being inflated or decoupled; one that stands on it is. */
int lvol_check_filling(const struct lvol *lvol, struct reason *reason) MUST_CHECK;
int lvol_check_filling_above(const struct lvol *lvol, struct reason *reason) MUST_CHECK;

/* ---- space.c --------------------------------------------------------------------------- */

/* Of the blob layer. */
void lvs_space_changed(void *arg, enum blob_store_space space);
/* The store has been opened: if there is little, that is told. */
void lvs_tell_space(struct lvs *lvs);
/* The mark as stored; NULL: none is. */
void lvs_take_low_water(struct lvs *lvs, const char *text);

/* ---- xattrs.c -------------------------------------------------------------------------- */

/* -EINVAL: one that a user cannot set. length: of the value. */
int lvol_check_xattr(const char *name, size_t length, struct reason *reason) MUST_CHECK;

/* ---- copy.c ---------------------------------------------------------------------------- */

/* All end as soon as they can. */
void lvol_copies_cancel(struct lvols *lvols);
void lvol_copies_free(struct lvols *lvols);

#endif
