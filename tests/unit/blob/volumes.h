/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Volumes for tests of the store: a store on a block device of the test's world, and each blob
 * shown as a block device of 512-byte sectors, as the lvol layer shows them. Each function has its
 * work done on the control reactor and waits for it; results are those of blob.h.
 *
 *	world_start(&world, seed);
 *	base = ...register a gate_bdev...
 *	assert_int_equal(volumes_create(&volumes, &world, base, 16 * KIB), 0);
 *	blob = volume_create(&volumes, 8, true);
 *	assert_int_equal(volume_show(&volumes, blob, "a"), 0);
 *	volume_write(&volumes, blob, 0, 0, 4096, 'x');	-- through data reactor 0
 */
#ifndef UNIT_BLOB_VOLUMES_H
#define UNIT_BLOB_VOLUMES_H

#include "blob/blob.h"
#include "world.h"

#define VOLUMES_MAX 32

struct volumes {
	struct world *world;
	struct bdev *base;
	struct blob_store *store;
	struct reason reason; /* of the last call */
	atomic_bool removed;
	atomic_uint space; /* enum blob_store_space, as the store has told */
	atomic_bool low; /* it is not plenty */
	struct shown { /* volumes.c */
		struct bdev bdev;
		struct blob *blob;
		struct volumes *volumes;
		char name[32];
		struct world_user user;
		struct bdev_channel *channels[WORLD_REACTORS]; /* opened when used first */
		struct timer timer;
		done_fn destroyed;
		void *destroyed_arg;
		bool used;
	} shown[VOLUMES_MAX];
};

int volumes_create(struct volumes *volumes, struct world *world, struct bdev *base,
	const struct blob_store_create_options *options);
int volumes_load(struct volumes *volumes, struct world *world, struct bdev *base);
/* Hides all, then closes. */
int volumes_close(struct volumes *volumes);
void volumes_hide_all(struct volumes *volumes);
int volumes_destroy(struct volumes *volumes);
int volumes_grow(struct volumes *volumes);
void volumes_info(struct volumes *volumes, struct blob_store_info *ret_info);
struct blob *volumes_find(struct volumes *volumes, uint64_t id);
unsigned volumes_count(struct volumes *volumes);

/* A device for the blob, named after it: "v" and the low half of its id. */
int volume_show(struct volumes *volumes, struct blob *blob);
void volume_hide(struct volumes *volumes, struct blob *blob); /* nothing where it has none */
bool volume_is_shown(struct volumes *volumes, const struct blob *blob);
/* Its channel on that data reactor, opened if need be. */
struct bdev_channel *volume_channel(struct volumes *volumes, struct blob *blob, unsigned reactor);

/* These show what they make. */
int volume_create(struct volumes *volumes, uint64_t clusters, bool thin, struct blob **ret_blob);
int volume_snapshot(struct volumes *volumes, struct blob *blob, struct blob **ret_snapshot);
int volume_clone(struct volumes *volumes, struct blob *blob, struct blob **ret_clone);
/* Hidden first; shown again when that fails. */
int volume_delete(struct volumes *volumes, struct blob *blob);
int volume_resize(struct volumes *volumes, struct blob *blob, uint64_t clusters);
int volume_set_read_only(struct volumes *volumes, struct blob *blob);
int volume_inflate(struct volumes *volumes, struct blob *blob);
int volume_decouple(struct volumes *volumes, struct blob *blob);
int volume_set_parent(struct volumes *volumes, struct blob *blob, struct blob *parent);
int volume_set_xattr(
	struct volumes *volumes, struct blob *blob, const char *name, const char *value);
/* value has size bytes of room; the length or -errno. */
int volume_get_xattr(
	struct volumes *volumes, struct blob *blob, const char *name, char *ret_value, size_t size);
void volume_info(struct volumes *volumes, struct blob *blob, struct blob_info *ret_info);

/* To be waited for with world_finish: a call under way. op as above. */
struct volume_call {
	struct world_call call;
	struct volumes *volumes;
	struct blob *blob;
	struct blob *other;
	uint64_t number;
	bool flag;
	const char *text;
	const char *value;
	char *buf;
	size_t size;
	size_t length;
	struct blob *result;
	struct reason reason; /* of what goes on beside other calls */
};

void volume_snapshot_begin(struct volumes *volumes, struct blob *blob, struct volume_call *call);
/* It is hidden. */
void volume_delete_begin(struct volumes *volumes, struct blob *blob, struct volume_call *call);
void volume_set_parent_begin(
	struct volumes *volumes, struct blob *blob, struct blob *parent, struct volume_call *call);
/* Inflates or decouples it. */
void volume_own_begin(
	struct volumes *volumes, struct blob *blob, bool decouple, struct volume_call *call);

/* Bytes of that value; statuses of the block layer. */
int volume_write(struct volumes *volumes, struct blob *blob, unsigned reactor, uint64_t offset,
	size_t length, int byte);
int volume_clear(struct volumes *volumes, struct blob *blob, unsigned reactor,
	enum bdev_io_type type, uint64_t offset, uint64_t length); /* UNMAP, WRITE_ZEROES, FLUSH */
/* Does every byte of the range have that value? */
bool volume_holds(
	struct volumes *volumes, struct blob *blob, uint64_t offset, size_t length, int byte);

#endif
