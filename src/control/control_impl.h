/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of this folder share: the context of every method, and small encoders.
 */
#ifndef CONTROL_CONTROL_IMPL_H
#define CONTROL_CONTROL_IMPL_H

#include "control/control.h"

#define NOTIFY_KEPT 1024 /* events */

struct notify_event {
	const char *type;
	char *name;
	uint64_t id;
};

/* What options.c takes and tells. is_set: by a call. */
struct iobuf_options {
	uint64_t small_pool_count;
	uint64_t large_pool_count;
	uint32_t small_bufsize;
	uint32_t large_bufsize;
	bool enable_numa;
	bool is_set;
};

struct bdev_options {
	uint32_t io_pool_size;
	uint32_t io_cache_size;
	uint32_t small_cache_size;
	uint32_t large_cache_size;
	bool is_set;
};

struct accel_options {
	uint32_t small_cache_size;
	uint32_t large_cache_size;
	uint32_t task_count;
	uint32_t sequence_count;
	uint32_t buf_count;
	bool is_set;
};

struct startup_options {
	struct iobuf_options iobuf;
	struct bdev_options bdev;
	struct accel_options accel;
};

extern const struct startup_options startup_options_default;

struct control {
	struct control_options options;
	struct startup_options startup;
	json_t *nvme_options; /* of bdev_nvme_set_options; NULL: none were set */
	bool ready; /* all of the start is done */
	struct list entries; /* of a configuration: config_entry_impl.h */
	enum config_failure on_failure; /* of one of them */
	bool applying; /* entries belongs to config_apply.c */
	bool stopping;
	json_t *limits_at_stop; /* bdev_set_qos_limit calls: the stop lifts the limits themselves */
	struct list init_waiters; /* framework_wait_init */
	struct list bdev_waiters; /* bdev_get_bdevs with a timeout */
	unsigned malloc_count; /* default names */
	unsigned next_copy; /* data reactors in turn */
	uint64_t *busy_ns; /* last told of each reactor, by that reactor (reactors.c) */
	struct notify_event events[NOTIFY_KEPT]; /* the event with id n is at n % NOTIFY_KEPT */
	uint64_t events_count; /* the next id */
};

#define PARAM(type_, struct_, field_)                                                              \
	.name = #field_, .type = (type_), .offset = offsetof(struct struct_, field_)

extern const struct rpc_method framework_methods[];
extern const struct rpc_method describe_methods[];
extern const struct rpc_method option_methods[];
extern const struct rpc_method config_methods[];
extern const struct rpc_method missing_methods[];
extern const struct rpc_method reactor_methods[];
extern const struct rpc_method log_methods[];
extern const struct rpc_method notify_methods[];
extern const struct rpc_method bdev_methods[];
extern const struct rpc_method memory_bdev_methods[]; /* null and malloc */
extern const struct rpc_method file_bdev_methods[]; /* aio and uring */
extern const struct rpc_method nvme_methods[];
extern const struct rpc_method nvme_list_methods[];
extern const struct rpc_method nvme_option_methods[];
extern const struct rpc_method bdev_histogram_methods[];
extern const struct rpc_method bdev_iostat_methods[];
extern const struct rpc_method bdev_limits_methods[];
extern const struct rpc_method filter_methods[]; /* passthru, split, delay */
extern const struct rpc_method filter_error_methods[];
extern const struct rpc_method crypto_methods[]; /* keys and the filter */
extern const struct rpc_method bdev_copy_methods[];
extern const struct rpc_method lvol_store_methods[];
extern const struct rpc_method lvol_volume_methods[];
extern const struct rpc_method lvol_list_methods[];
extern const struct rpc_method lvol_snapshot_methods[];
extern const struct rpc_method lvol_copy_methods[];
extern const struct rpc_method vhost_methods[];
extern const struct rpc_method vhost_list_methods[];
extern const struct rpc_method vhost_queue_methods[];
extern const struct rpc_method vhost_request_methods[];

/* Of methods on controllers. */
#define VHOST_DECODE_ERROR                                                                         \
	{                                                                                          \
		RPC_INVALID_PARAMS, "Invalid argument"                                             \
	}

/* The controller of that name, or NULL and the request answered. */
struct vhost_controller *vhost_controller_find_or_fail(
	struct control *control, struct rpc_request *request, const char *name);
/* true, or an error with the code that vhost methods have. */
void vhost_answer(struct rpc_request *request, int rc, const struct reason *reason);

/* Is there something to set in it? */
bool config_knows_subsystem(const char *name);

void framework_waiters_finish(struct control *control, bool initialised);

/* What happened to block devices: kept for notify_get_notifications. */
void notify_add(struct control *control, const struct bdev_event *event);
/* The same of a volume store's space. */
void notify_add_space(struct lvs *lvs, enum blob_store_space space, void *control);
void notify_fini(struct control *control);

/* Requests that wait for a device of that name. */
void bdev_waiters_wake(struct control *control, const char *name);
void bdev_waiters_cancel(struct control *control);

/* The element of bdev_get_bdevs. */
json_t *bdev_describe(const struct bdev *bdev);
/* Its assigned_rate_limits. */
json_t *limits_describe(const struct bdev *bdev);

/* NULL and the request answered when there is no such device. */
struct bdev *bdev_find_or_fail(
	struct control *control, struct rpc_request *request, const char *name);
/* A device of another kind than the method's is as good as none. */
void bdev_refuse_kind(struct rpc_request *request, const struct bdev *bdev);

/* Parameters of the methods that only name a device. */
struct bdev_name_params {
	const char *name;
};
extern const struct rpc_param bdev_name_table[];

/* Answers with the device's name, when it has been examined and a store on it is open, or with rc;
 * for methods that create. */
void bdev_answer_created(struct control *control, struct rpc_request *request,
	const struct bdev *bdev, int rc, const struct reason *reason);
/* Closes a store on it, unregisters it and then answers true. */
void bdev_delete(struct control *control, struct rpc_request *request, struct bdev *bdev);

/* Volume stores on it, and on what stands on it by filters, are closed in order: before it goes. */
void bdev_leave_stores(struct control *control, struct bdev *bdev, done_fn done, void *arg);

/* A method on a filter. */
struct filter_call {
	struct flow flow;
	struct control *control;
	struct rpc_request *request;
	struct filter_options filter; /* strings are the request's */
	struct split_options split;
	struct delay_options delay;
	const char *key_name;
	struct reason reason;
	void (*create)(struct filter_call *call, done_fn done, void *arg);
	json_t *(*result)(struct filter_call *call); /* the filter's name, unless set */
	void (*fail)(struct filter_call *call, int rc);
	struct filter *found; /* to be removed */
	struct bdev *device;
	unsigned at;
};

struct filter_call *filter_call_create(struct control *control, struct rpc_request *request,
	void (*create)(struct filter_call *call, done_fn done, void *arg));
void filter_call_start(struct filter_call *call);
void filter_remove(struct control *control, struct rpc_request *request, struct filter *filter);
/* For methods of one kind of filter. */
void filter_remove_named(
	struct rpc_request *request, const void *params, void *context, enum filter_type type);

/* text is NULL (no uuid given) or what RPC_UUID has accepted. */
void uuid_set(uuid_t uuid, const char *text);

#endif
