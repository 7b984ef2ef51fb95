/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block devices over another one. Control reactor, all of it.
 *
 * A filter is named together with the device that it stands on. While that device is not there the
 * filter waits; when it comes the filter's own devices come, and when it goes they go and the
 * filter waits again. So the order in which a configuration is replayed does not matter.
 *
 *	WAITING --device below comes--> RAISING --claimed--> STANDING --device below goes--> SINKING
 *	   ^------------------------------- could not ------------'                             |
 *	   '------------------------------------------------------------------------------------'
 *
 * Deleting ends a filter in any of these states.
 *
 * The device below is claimed against other writers for as long as the filter stands (one that is
 * read-only: against all writers), so it shows as claimed and can be used through the filter only.
 */
#ifndef FILTER_FILTERS_H
#define FILTER_FILTERS_H

#include "bdev/bdev.h"

struct filter;
struct filters;

int filters_create(struct bdev_registry *registry, struct filters **ret_filters) MUST_CHECK;
/* Those whose base has come in the meantime have their devices, or could not. */
void filters_wait_settled(struct filters *filters, done_fn done, void *arg);
/* Is there a filter, waiting or standing, over this device? */
bool filters_want(struct filters *filters, const struct bdev *bdev);
/* The daemon stops: what filters hold back goes on its way, no device comes back any more. */
void filters_close(struct filters *filters);
/* All devices are gone. */
void filters_destroy(struct filters *filters);

/* What every filter is told; strings are copied. */
struct filter_options {
	const char *name; /* of its device; of a split the device below */
	const char *base; /* name, alias or uuid */
	uuid_t uuid; /* null: made from the base's, the same each time */
};

/*
 * The creators: done(0) when the filter's devices are there, or when the base is not there yet and
 * the filter waits. -EEXIST: a device or waiting filter has the name; -EINVAL: impossible options;
 * else what opening, claiming (bdev_claim) or registering say, and there is no filter. reason is
 * borrowed until done.
 */

/* Requests pass unchanged. */
void passthru_create(struct filters *filters, const struct filter_options *options,
	struct reason *reason, done_fn done, void *arg);

/* Parts of equal size, each a device: BASEp0, BASEp1, ... as far as there is room for them. */
struct split_options {
	const char *base;
	uint32_t count;
	uint64_t size_mib; /* of a part; 0: what is there is divided by count */
};

void split_create(struct filters *filters, const struct split_options *options,
	struct reason *reason, done_fn done, void *arg);

/* Requests are held for a time before they go down: every hundredth, by chance, for the longer
 * one. FLUSH, UNMAP and WRITE_ZEROES count as writes. */
enum delay_latency {
	DELAY_AVG_READ,
	DELAY_P99_READ,
	DELAY_AVG_WRITE,
	DELAY_P99_WRITE,
	DELAY_LATENCIES,
};

struct delay_options {
	struct filter_options filter;
	uint64_t latency_us[DELAY_LATENCIES]; /* -EINVAL when a p99 is below its average */
};

void delay_create(struct filters *filters, const struct delay_options *options,
	struct reason *reason, done_fn done, void *arg);
/* From the next request on. */
void delay_set_latency(struct filter *filter, enum delay_latency which, uint64_t latency_us);
uint64_t delay_get_latency(const struct filter *filter, enum delay_latency which);

/* Requests fail, stay, or are corrupted, as it is told to; passes them unchanged until then. Its
 * device is called EE_BASE. options.name is not looked at. */
void error_create(struct filters *filters, const struct filter_options *options,
	struct reason *reason, done_fn done, void *arg);

enum error_kind {
	ERROR_FAILURE, /* -EIO */
	ERROR_PENDING, /* stay until error_resume, or until the device goes */
	ERROR_CORRUPT_DATA, /* one byte is changed on its way */
	ERROR_NOMEM, /* waits as a request does for which there is no memory: tried again later */
};

struct error_injection {
	enum error_kind kind;
	uint64_t count; /* so many requests */
	uint64_t queue_depth; /* only those that find so many in flight on their reactor */
	uint64_t corrupt_offset; /* bytes from a request's beginning */
	uint8_t corrupt_value; /* exclusive or; not 0 */
};

#define ERROR_ALL_TYPES (-1)

/* type: READ, WRITE, UNMAP, FLUSH, or ERROR_ALL_TYPES of these. Replaces what was there for it. */
void error_inject(struct filter *filter, int type, const struct error_injection *injection);
/* Of all types. */
void error_clear(struct filter *filter);
/* What is pending goes down as it came. done when all reactors have begun. */
void error_resume(struct filter *filter, done_fn done, void *arg);

/*
 * Encryption: AES-XTS, each logical block a unit of its own under its number. What is on the device
 * below is unreadable without the key; deleting the key erases it. Keys are known by names.
 */
struct crypto_key_options {
	const char *name;
	const char *key; /* hexadecimal, 16 or 32 bytes */
	const char *key2; /* as long as key, and another */
};

/* -EEXIST; -EINVAL lengths, digits, halves that are equal; -ENOMEM. Copied; nothing tells it. */
int crypto_key_create(struct filters *filters, const struct crypto_key_options *options,
	struct reason *reason) MUST_CHECK;
/* -ENOENT; -EBUSY while filters use it. Its memory is overwritten. */
int crypto_key_destroy(struct filters *filters, const char *name, struct reason *reason) MUST_CHECK;
bool crypto_key_exists(struct filters *filters, const char *name);
void crypto_key_for_each(
	struct filters *filters, void (*fn)(const char *name, void *arg), void *arg);

/* -ENOENT: no such key. The device has no promise of what is read after UNMAP. */
void crypto_create(struct filters *filters, const struct filter_options *options,
	const char *key_name, struct reason *reason, done_fn done, void *arg);
const char *crypto_key_name(const struct filter *filter);

/* ---- found and told ------------------------------------------------------------------------- */

enum filter_type {
	FILTER_PASSTHRU,
	FILTER_SPLIT,
	FILTER_DELAY,
	FILTER_ERROR,
	FILTER_CRYPTO,
};

/* By the name of a device of its own (of a split: of its base), waiting ones too; NULL. */
struct filter *filter_find(struct filters *filters, enum filter_type type, const char *name);
/* Its devices go, with what stands on them; then it is no more, and done is called. */
void filter_delete(struct filter *filter, done_fn done, void *arg);

enum filter_type filter_type(const struct filter *filter);
const char *filter_name(const struct filter *filter);
const char *filter_base_name(const struct filter *filter);
/* Null when none was given. */
void filter_get_uuid(const struct filter *filter, uuid_t ret_uuid);
bool filter_is_standing(const struct filter *filter);
/* NULL while it does not stand, or from count on. */
struct bdev *filter_device(const struct filter *filter, unsigned index);
void split_get_options(const struct filter *filter, struct split_options *ret_options);

/* In the order of creation; fn must not create or delete. */
void filter_for_each(
	struct filters *filters, void (*fn)(struct filter *filter, void *arg), void *arg);
/* The device that this one is over by a filter, or NULL. */
const struct bdev *filter_bdev_below(const struct bdev *bdev);
/* The index-th device that stands on bdev by filters, over any number of them; NULL: no more. */
struct bdev *filter_bdev_above(struct filters *filters, const struct bdev *bdev, unsigned index);

#endif
