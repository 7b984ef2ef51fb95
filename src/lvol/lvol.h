/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Volume stores and volumes: names, UUIDs and lifetimes over the blobs of src/blob. A store (lvs)
 * has a name and sits on a block device; a volume (lvol) is a blob with a name and, as long as all
 * that it reads from is there, a block device of its own. docs/volumes.md says what is on the disk.
 *
 * Everything here runs on the control reactor. Operations go one at a time for each store, in the
 * order they were asked for; one that finds its volume or store gone when its turn comes ends with
 * -ENODEV. Strings and options are copied. reason is borrowed until done. Results are stored before
 * done(0). A volume or store that was found stays valid until the caller returns to the reactor.
 *
 *	a store		created or loaded (examined) -> open -> closed, deleted, or its device goes
 *	a volume	with a device; or without one while a foreign parent is missing (degraded),
 *			until a block device of that UUID is registered
 *
 * Differences from what the same operations do elsewhere: a volume that has no usable name is
 * listed under its identifier instead of making the whole store unusable; names are checked
 * whenever they are given; the contents of a deleted store are discarded after, not before, it has
 * ceased to be one; volumes are examined for a store inside them only when that is asked for.
 */
#ifndef LVOL_LVOL_H
#define LVOL_LVOL_H

#include "blob/blob.h"

#define LVOL_ID_MAX 64 /* UUID, or for old volumes without one <store's UUID>_<number>; with NUL */

struct lvols;
struct lvs;
struct lvol;

/* ---- all of a daemon ------------------------------------------------------------------- */

struct filters;

struct lvols_options { /* borrowed for the life of lvols */
	struct bdev_registry *registry;
	struct filters *filters; /* what they stand on is not examined; NULL: there are none */
	struct reactor *const *data; /* copies run there */
	unsigned data_count;
};

/* From now on every block device that is registered is examined: is there a store on it? */
int lvols_create(const struct lvols_options *options, struct lvols **ret_lvols) MUST_CHECK;
/* Nothing is examined any more; copies end, all stores are closed, those loaded last first. */
void lvols_close(struct lvols *lvols, done_fn done, void *arg);
/* Closed, and the registry tells no more events. */
void lvols_destroy(struct lvols *lvols);

/* A store inside that volume is loaded: lvols_wait_examined tells when that has ended. -EINVAL:
 * it is no volume (all else is examined by itself). */
int lvols_examine_volume(struct lvols *lvols, struct bdev *bdev) MUST_CHECK;
/* No device is being examined, no store being loaded. */
void lvols_wait_examined(struct lvols *lvols, done_fn done, void *arg);
/* The store on that device, if there is one, is closed in order: before the device goes. */
void lvols_leave_device(struct lvols *lvols, struct bdev *bdev, done_fn done, void *arg);

/* fn is called when a store that is open has another level of space than was told before. One
 * subscriber, for the life of lvols. */
void lvols_subscribe_space(struct lvols *lvols,
	void (*fn)(struct lvs *lvs, enum blob_store_space space, void *arg), void *arg);

/* ---- stores ---------------------------------------------------------------------------- */

struct lvs_info {
	const char *name;
	const char *uuid;
	const char *base_bdev; /* name of the device below */
	struct blob_store_info store;
	enum blob_store_space space;
	unsigned low_water_percent;
};

/* NULL when there is none (that is open). */
struct lvs *lvs_find(struct lvols *lvols, const char *name);
struct lvs *lvs_find_by_uuid(struct lvols *lvols, const char *uuid);
void lvs_for_each(struct lvols *lvols, void (*fn)(struct lvs *lvs, void *arg), void *arg);
void lvs_get_info(const struct lvs *lvs, struct lvs_info *ret_info);

struct lvs_create_options {
	const char *name; /* 1 to 63 bytes */
	uint32_t cluster_size;
	uint32_t md_page_size; /* 0: automatic */
	uint32_t md_pages_per_cluster_percent; /* 0: 100 */
	uint32_t growth_factor; /* 0: 1 */
	enum blobstore_clear_method clear_method;
};

/* -EEXIST: the name is taken; else as blob_store_create. */
void lvs_create(struct lvols *lvols, struct bdev *base, const struct lvs_create_options *options,
	struct reason *reason, struct lvs **ret_lvs, done_fn done, void *arg);
/* With all its volumes, whoever uses them. */
void lvs_delete(struct lvs *lvs, struct reason *reason, done_fn done, void *arg);
/* Every volume's alias changes. The same name is no change. -EEXIST, -EINVAL. */
void lvs_rename(struct lvs *lvs, const char *name, struct reason *reason, done_fn done, void *arg);
/* Uses what its device has more than before. -ENOSPC. */
void lvs_grow(struct lvs *lvs, struct reason *reason, done_fn done, void *arg);
/* When fewer clusters of a hundred are free than that, it is told; 0: never. Kept with the store.
 * -EINVAL. */
#define LVS_LOW_WATER_PERCENT_MAX 50
void lvs_set_low_water(
	struct lvs *lvs, unsigned percent, struct reason *reason, done_fn done, void *arg);

/* ---- volumes --------------------------------------------------------------------------- */

struct lvol_info {
	const char *id; /* name of its block device: its UUID */
	const char *name;
	struct lvs *lvs;
	struct blob_info blob;
	uint64_t size_bytes;
	struct lvol *parent; /* in the same store, or NULL */
	const char *esnap_id; /* of the foreign parent, or NULL */
	bool snapshot; /* has a clone, or had one since its store was opened */
	bool degraded; /* no block device: something that it reads from is missing */
	uint32_t block_size; /* of its block device */
};

/* By identifier (UUID), or "store/name". NULL when there is none. */
struct lvol *lvol_find(struct lvols *lvols, const char *text);
struct lvol *lvol_find_in(struct lvs *lvs, const char *name);
/* lvs NULL: of all stores. */
void lvol_for_each(
	struct lvols *lvols, struct lvs *lvs, void (*fn)(struct lvol *lvol, void *arg), void *arg);
/* What the store of a volume's device is on; NULL: it is no volume's. */
const struct bdev *lvol_bdev_below(const struct bdev *bdev);
const char *lvol_name(const struct lvol *lvol);
void lvol_get_info(const struct lvol *lvol, struct lvol_info *ret_info);
void lvol_for_each_clone(
	const struct lvol *lvol, void (*fn)(struct lvol *clone, void *arg), void *arg);

struct lvol_create_options {
	const char *name; /* 1 to 63 bytes */
	uint64_t size_bytes; /* rounded up to whole clusters */
	bool thin;
	enum blobstore_clear_method clear_method;
	uint32_t block_size; /* 512 or 4096; 0: as the device below. Snapshots and clones inherit */
};

/* -EEXIST: the name is taken; -EINVAL: it is none, or no block size; -ENOSPC. */
void lvol_create(struct lvs *lvs, const struct lvol_create_options *options, struct reason *reason,
	struct lvol **ret_lvol, done_fn done, void *arg);
/* Clone of a foreign device, which nobody writes from then on. -EINVAL: sizes do not fit, or it is
 * a volume of this store; -EPERM: it is being written. block_size as above. */
void lvol_create_from_bdev(struct lvs *lvs, struct bdev *parent, const char *name,
	uint32_t block_size, struct reason *reason, struct lvol **ret_lvol, done_fn done,
	void *arg);

/* Up to LVOL_XATTRS_MAX attributes for the snapshot. -EINVAL: it is read-only. */
#define LVOL_XATTRS_MAX 16
void lvol_snapshot(struct lvol *lvol, const char *name, const struct blob_xattr *xattrs,
	unsigned num_xattrs, struct reason *reason, struct lvol **ret_snapshot, done_fn done,
	void *arg);
/* -EINVAL: it is not read-only. */
void lvol_clone(struct lvol *lvol, const char *name, struct reason *reason, struct lvol **ret_clone,
	done_fn done, void *arg);
/* Taken from whoever uses it. -EPERM: it has several clones. */
void lvol_delete(struct lvol *lvol, struct reason *reason, done_fn done, void *arg);
/* -EEXIST: taken, also by itself. */
void lvol_rename(
	struct lvol *lvol, const char *name, struct reason *reason, done_fn done, void *arg);
/* -EPERM: read-only; -EBUSY: it would shrink and is in use; -ENOSPC. */
void lvol_resize(
	struct lvol *lvol, uint64_t size_bytes, struct reason *reason, done_fn done, void *arg);
void lvol_set_read_only(struct lvol *lvol, struct reason *reason, done_fn done, void *arg);
void lvol_inflate(struct lvol *lvol, struct reason *reason, done_fn done, void *arg);
void lvol_decouple(struct lvol *lvol, struct reason *reason, done_fn done, void *arg);
/* -EINVAL: not a snapshot, another store or size, itself; -EEXIST: it is already. */
void lvol_set_parent(
	struct lvol *lvol, struct lvol *parent, struct reason *reason, done_fn done, void *arg);
/* What it has not itself reads zeroes. -EINVAL: it has no parent. */
void lvol_detach_parent(struct lvol *lvol, struct reason *reason, done_fn done, void *arg);
/* As lvol_create_from_bdev; -EBUSY: the volume is in use. */
void lvol_set_parent_bdev(
	struct lvol *lvol, struct bdev *parent, struct reason *reason, done_fn done, void *arg);

/* The user's attributes; "name", "uuid" and that of the block size are not (-EINVAL). value NULL
 * removes (-ENOENT). */
void lvol_set_xattr(struct lvol *lvol, const char *name, const char *value, struct reason *reason,
	done_fn done, void *arg);
/* *ret_value is the caller's to free; ends with a NUL that may be one more. -ENOENT. */
void lvol_get_xattr(struct lvol *lvol, const char *name, struct reason *reason, char **ret_value,
	done_fn done, void *arg);

/* ---- what is allocated ----------------------------------------------------------------- */

struct lvol_usage { /* clusters */
	uint64_t exclusive; /* that it alone shows */
	uint64_t shared; /* that others show as well: its own or its parents' */
};

/* As many entries as volumes at the end, as lvol_for_each tells them for this store; the caller
 * frees the array (NULL without any). Walks all maps, a little in each turn; operations that are
 * asked for meanwhile come in between, so that each entry is of a moment of its own. */
struct lvs_usage {
	struct lvol *lvol; /* not to be used, to be compared only */
	struct lvol_usage usage;
};

void lvs_get_usage(struct lvs *lvs, struct lvs_usage **ret_usages, unsigned *ret_count,
	done_fn done, void *arg);

/* A bit (the least significant first) for each cluster that the volume owns itself, of the clusters
 * that the range of bytes touches; length 0: to the end. The caller frees it. */
struct lvol_fragments {
	uint64_t num_clusters; /* of the range */
	uint64_t num_allocated;
	uint8_t *bits;
	size_t bytes;
};

void lvol_get_fragments(struct lvol *lvol, uint64_t offset, uint64_t length, struct reason *reason,
	struct lvol_fragments *ret_fragments, done_fn done, void *arg);

/* ---- shallow copies -------------------------------------------------------------------- */

struct lvol_copy_status {
	uint64_t total_clusters;
	uint64_t copied_clusters;
	bool ended;
	int error; /* once it has ended: 0 or -errno */
	struct reason reason;
};

/*
 * Copies the clusters that a read-only volume owns itself to the same offsets of another device.
 * Goes on by itself; what is wrong with it the status tells (-EPERM: not read-only; -EINVAL: the
 * device does not fit). The number is not 0 and never used again.
 */
uint32_t lvol_copy_start(struct lvol *lvol, struct bdev *target);
/* -ENOENT: no such copy. One that has ended is forgotten when that was told. */
int lvol_copy_check(
	struct lvols *lvols, uint32_t number, struct lvol_copy_status *ret_status) MUST_CHECK;

#endif
