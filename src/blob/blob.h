/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volume store: blobs of thin or thick clusters, snapshots and clones on one block device, in
 * the blobstore format (spec/blobstore.h, docs/volumes.md). A blob is what the lvol layer gives a
 * name and shows as a block device.
 *
 * All functions of the first part run on the control reactor; asynchronous ones call done there,
 * once, later. Inside, each open store has a metadata engine: a reactor of its own that alone
 * touches metadata, so that neither an RPC nor another store's work holds up a first write. Data
 * reactors reach a blob through channels (second part).
 *
 * Operations that change the structure of a store (create, delete, snapshot, resize ...) go one at
 * a time for each store, in the order they were asked for. Each is atomic under kill -9 and power
 * cut: what was reported done is there, what was under way is there whole or not at all.
 *
 * reason is borrowed until done. Results are stored before done(0).
 */
#ifndef BLOB_BLOB_H
#define BLOB_BLOB_H

#include "bdev/bdev.h"
#include "spec/blobstore.h"

struct blob;
struct blob_store;

/* ---- stores ------------------------------------------------------------------------------- */

struct blob_store_create_options {
	const char *bstype; /* up to 15 characters */
	uint32_t cluster_size; /* bytes: a multiple of the metadata page, up to 1 GiB */
	uint32_t md_page_size; /* 0: automatic */
	uint32_t md_pages_per_cluster_percent; /* 0: 100 */
	uint32_t growth_factor; /* 0: 1 (format.h) */
	enum blobstore_clear_method clear_method; /* of the whole device; DEFAULT: unmap */
};

/* How many of its clusters are free, or of its metadata pages: what there is less of. */
enum blob_store_space {
	BLOB_STORE_PLENTY,
	BLOB_STORE_LOW, /* fewer than the low-water mark, until half as many more are */
	BLOB_STORE_FULL, /* none, or too few pages for a first write; until half of the mark are */
};

struct blob_store_user {
	/* The device below goes: close all channels and blobs' devices, then blob_store_close. */
	void (*removed)(void *arg);
	/* It has become another, at opening from PLENTY. */
	void (*space)(void *arg, enum blob_store_space space);
	void *arg;
};

/* Makes a new store on a device, wiping what was there, and leaves it open. -EPERM: the device is
 * claimed; -EINVAL, -ENOSPC, -EIO. */
void blob_store_create(struct bdev *base, const struct blob_store_create_options *options,
	const struct blob_store_user *user, struct reason *reason, struct blob_store **ret_store,
	done_fn done, void *arg);

/* Opens one, recovering it where it was not closed. -EILSEQ: there is no store, or one that cannot
 * be read (the sentence tells); -ENXIO: of another type than bstype (NULL: any). */
void blob_store_load(struct bdev *base, const char *bstype, const struct blob_store_user *user,
	struct reason *reason, struct blob_store **ret_store, done_fn done, void *arg);

/* Is there a super block of a blobstore on it, whatever its state? done(0): yes, -ENOENT: no. */
void blob_store_probe(struct bdev *base, done_fn done, void *arg);

/* No blob has a device any more. Masks and the clean mark are written, unless the device below is
 * gone. The store is freed, also when that failed (the next load recovers it). */
void blob_store_close(struct blob_store *store, done_fn done, void *arg);
/* The same, and its super block is wiped: it is no store any more. */
void blob_store_destroy(struct blob_store *store, done_fn done, void *arg);

/* The device has grown: uses what is new. -ENOSPC: more than the mask's room allows. */
void blob_store_grow(struct blob_store *store, struct reason *reason, done_fn done, void *arg);

/* The mark, of all clusters and of all pages; 0: none. It is not stored. */
#define BLOB_STORE_LOW_WATER_PERCENT 5
void blob_store_set_low_water(struct blob_store *store, unsigned percent);

void blob_store_set_super(struct blob_store *store, uint64_t id, done_fn done, void *arg);
uint64_t blob_store_super(const struct blob_store *store); /* BLOBSTORE_NO_BLOB: none */

struct blob_store_info {
	uint32_t cluster_size;
	uint32_t io_unit_size;
	uint32_t md_page_size;
	uint64_t total_data_clusters;
	uint64_t free_clusters; /* clusters that data threads hold in reserve count as free */
	uint64_t max_growable_bytes;
	uint32_t md_pages;
	uint32_t md_pages_free;
	enum blob_store_space md_space; /* of pages alone */
	bool recovered; /* by this load */
};

void blob_store_get_info(const struct blob_store *store, struct blob_store_info *ret_info);
struct bdev *blob_store_base(const struct blob_store *store); /* NULL once it is closed */

/* Every blob, super blob included, in the order of their ids at load and then of creation. */
void blob_for_each(struct blob_store *store, void (*fn)(struct blob *blob, void *arg), void *arg);
struct blob *blob_find(struct blob_store *store, uint64_t id);

/* ---- blobs -------------------------------------------------------------------------------- */

/* What control knows of a blob: constant between operations on it. */
struct blob_info {
	uint64_t id;
	uint64_t num_clusters;
	uint64_t num_allocated; /* that it owns itself, this moment */
	bool thin;
	bool read_only;
	bool esnap; /* its parent is a foreign device */
	bool broken; /* a metadata write failed: read-only until the store is loaded again */
	enum blobstore_clear_method clear_method;
	struct blob *parent; /* a blob of the same store, or NULL */
	unsigned num_clones;
};

void blob_get_info(const struct blob *blob, struct blob_info *ret_info);
struct blob_store *blob_store_of(const struct blob *blob);
void blob_for_each_clone(
	const struct blob *blob, void (*fn)(struct blob *clone, void *arg), void *arg);

/* The user's own pointer, and the device that shows the blob: set before it is registered, NULL
 * when it is destroyed. I/O of a blob comes through that device, and is stopped through it. */
void blob_set_user(struct blob *blob, void *user);
void *blob_user(const struct blob *blob);
void blob_set_bdev(struct blob *blob, struct bdev *bdev);

struct blob_xattr {
	const char *name;
	const void *value;
	size_t length; /* at least 1 */
};

struct blob_create_options {
	uint64_t num_clusters;
	bool thin; /* false: all clusters are allocated, and read zeroes */
	enum blobstore_clear_method clear_method;
	const struct blob_xattr *xattrs; /* copied */
	unsigned num_xattrs;
	const void *esnap_id; /* thin: clone of a foreign device so named, or NULL */
	size_t esnap_id_length;
};

/* -ENOSPC: clusters or metadata pages. */
void blob_create(struct blob_store *store, const struct blob_create_options *options,
	struct reason *reason, struct blob **ret_blob, done_fn done, void *arg);
/* Of a blob that is not read-only (-EINVAL). It becomes a thin clone of the snapshot. */
void blob_snapshot(struct blob *blob, const struct blob_xattr *xattrs, unsigned num_xattrs,
	struct reason *reason, struct blob **ret_snapshot, done_fn done, void *arg);
/* Of a read-only blob (-EINVAL). */
void blob_clone(struct blob *blob, const struct blob_xattr *xattrs, unsigned num_xattrs,
	struct reason *reason, struct blob **ret_clone, done_fn done, void *arg);
/* It has no device. -EBUSY: two clones or more. With one clone its clusters pass to that. The blob
 * is freed before done(0). */
void blob_delete(struct blob *blob, struct reason *reason, done_fn done, void *arg);
/* -EPERM: read-only; -ENOSPC. When it shrinks nobody may have I/O beyond the new end. The caller
 * tells the block layer the new size: before a shrink, after a growth. */
void blob_resize(
	struct blob *blob, uint64_t num_clusters, struct reason *reason, done_fn done, void *arg);
void blob_set_read_only(struct blob *blob, struct reason *reason, done_fn done, void *arg);
/* It gets clusters of its own for all that it shows through its parent; decouple: for what the
 * parent itself holds. Its device is in use meanwhile, operations go on beside it: the blob and
 * those that it stands on may be changed, but for being given another parent. -ENODEV: it has no
 * device, or that goes; -ENOSPC; -EINVAL: decouple without a parent. What was copied stays. */
void blob_fill(struct blob *blob, bool decouple, struct reason *reason, done_fn done, void *arg);
/* After blob_fill. It is thick and has no parent; decoupled, the grandparent takes the parent's
 * place. -EAGAIN: clusters are missing again, for discards or operations took them away. */
void blob_inflate(struct blob *blob, struct reason *reason, done_fn done, void *arg);
void blob_decouple(struct blob *blob, struct reason *reason, done_fn done, void *arg);
/* Thin; the parent is read-only, of the same store and size. -EINVAL, -EEXIST (it is already).
 * parent NULL: none, and what the blob has not itself reads zeroes (-EINVAL: it has none). */
void blob_set_parent(
	struct blob *blob, struct blob *parent, struct reason *reason, done_fn done, void *arg);
void blob_set_esnap_parent(struct blob *blob, const void *id, size_t length, struct reason *reason,
	done_fn done, void *arg);

/* value NULL removes (-ENOENT). All of them in one write. */
void blob_set_xattrs(struct blob *blob, const struct blob_xattr *xattrs, unsigned num_xattrs,
	struct reason *reason, done_fn done, void *arg);
/* -ENOENT; -ENOSPC: size is too small. *ret_length is set also then. */
void blob_get_xattr(struct blob *blob, const char *name, void *ret_value, size_t size,
	size_t *ret_length, done_fn done, void *arg);

/* The foreign parent: its name as stored, and the device, opened and claimed by the caller until
 * the blob has none any more. Before the blob gets a device of its own. NULL: gone. */
void blob_get_esnap_id(
	struct blob *blob, void *ret_id, size_t size, size_t *ret_length, done_fn done, void *arg);
void blob_set_esnap_bdev(struct blob *blob, struct bdev_user *esnap);
/* It moves: to the snapshot of such a blob, and from a snapshot that is deleted to its clone. */
struct bdev_user *blob_esnap_bdev(const struct blob *blob);
/* Neither the blob nor one below it stands on a foreign device any more: the open channels of its
 * device let go of the one that they had. Requests wait meanwhile. */
void blob_esnap_release(struct blob *blob, done_fn done, void *arg);

/* While no operation on the blob is under way: has it a cluster of its own there; and the first of
 * these at or after `from` (its number of clusters when there is none). */
bool blob_owns(const struct blob *blob, uint64_t index);
uint64_t blob_next_owned(const struct blob *blob, uint64_t from);

/* ---- the data path: for the struct bdev_ops of the device that shows a blob ---------------- */

/* Part of bdev_channel.backend. */
extern const size_t blob_channel_size;

/* bdev_ops.channel_prepare and channel_release: control reactor. */
void blob_channel_prepare(struct blob *blob, struct bdev_channel *channel, done_fn done, void *arg);
void blob_channel_release(struct blob *blob, struct bdev_channel *channel, done_fn done, void *arg);
/* bdev_ops.channel_init and channel_fini: the channel's reactor. */
int blob_channel_init(struct blob *blob, struct bdev_channel *channel);
void blob_channel_fini(struct bdev_channel *channel);
/* bdev_ops.submit */
void blob_submit(struct bdev_channel *channel, struct bdev_io *io);

#endif
