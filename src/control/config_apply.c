/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entries of a configuration are called, one after the other, each after the answer to the one
 * before. What comes of an entry that fails is said when the configuration is loaded:
 *
 *	CONFIG_STOP	that is the end: the daemon does not start
 *	CONFIG_SKIP	it is told and forgotten
 *	CONFIG_KEEP	it stays, and is tried again as long as others succeed, in case it came
 *			before what it needs. What remains in the end is told: the file or device it
 *			needs may come back
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "control/config_entry_impl.h"

#define LONG_CALL_NS (10 * SEC_NS)

struct apply_op {
	struct flow flow;
	struct control *control;
	unsigned pass;
	struct config_entry *entry; /* being called; NULL: none is left */
	struct config_entry *next;
	struct rpc_call call;
	bool some_succeeded; /* in this round */
	bool some_kept;
	struct timer patience; /* tells which call takes long */
	int rc;
	struct reason *reason;
	done_fn done;
	void *arg;
};

/* What a user knows it by. */
static const char *entry_subject(const struct config_entry *entry)
{
	static const char *const names[] = {"name", "ctrlr", "base_bdev", "bdev_name"};
	const json_t *params = json_object_get(entry->call, "params");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *name = json_string_value(json_object_get(params, names[i]));

		if (name)
			return name;
	}
	return "";
}

static void apply_takes_long(struct timer *timer)
{
	struct apply_op *op = container_of(timer, struct apply_op, patience);

	log_warning("%s %s of the configuration is taking long: still waiting",
		config_entry_method(op->entry), entry_subject(op->entry));
	timer_start(op->control->options.control, timer, LONG_CALL_NS);
}

static struct config_entry *entry_after(const struct apply_op *op, struct list *link)
{
	for (link = link->next; link != &op->control->entries; link = link->next) {
		struct config_entry *entry = container_of(link, struct config_entry, link);

		if (entry->pass == op->pass)
			return entry;
	}
	return NULL;
}

static void apply_begin_round(struct apply_op *op)
{
	op->entry = entry_after(op, &op->control->entries);
	op->some_succeeded = false;
	op->some_kept = false;
}

static void apply_begin_call(struct apply_op *op)
{
	op->next = entry_after(op, &op->entry->link);
	op->call.method = config_entry_method(op->entry);
	op->call.params = json_object_get(op->entry->call, "params");
	timer_start(op->control->options.control, &op->patience, LONG_CALL_NS);
	rpc_server_call(op->control->options.rpc, &op->call, flow_resume, &op->flow);
}

static void apply_tell_kept(const struct apply_op *op)
{
	const struct config_entry *entry;

	list_for_each_entry (entry, &op->control->entries, link) {
		if (entry->pass == op->pass && entry->error)
			log_warning("%s %s of the configuration is missing: %s. It stays in the "
				    "state: sluice config retry tries again",
				config_entry_method(entry), entry_subject(entry), entry->error);
	}
}

static void apply_failed(struct apply_op *op)
{
	const struct rpc_call *call = &op->call;
	const char *why = call->reason.text[0] ? call->reason.text : call->text;

	switch (op->control->on_failure) {
	case CONFIG_KEEP:
		free(op->entry->error);
		op->entry->error = strdup(why);
		op->some_kept = true;
		break;
	case CONFIG_SKIP:
		log_warning("%s %s of the configuration failed and is passed over: %s",
			config_entry_method(op->entry), entry_subject(op->entry), why);
		config_entry_free(op->entry);
		break;
	case CONFIG_STOP:
		op->rc = reason_set(op->reason, call->code, "%s %s of the configuration failed: %s",
			config_entry_method(op->entry), entry_subject(op->entry), why);
		break;
	}
}

static void apply_end_call(struct apply_op *op)
{
	timer_stop(op->control->options.control, &op->patience);
	json_decref(op->call.result);
	if (op->call.code) {
		apply_failed(op);
	} else {
		config_entry_free(op->entry);
		op->some_succeeded = true;
	}
	op->entry = op->next;
	if (op->control->stopping && !op->rc)
		op->rc = -ECANCELED;
}

static enum flow_result apply_run(struct flow *f)
{
	struct apply_op *op = container_of(f, struct apply_op, flow);

	FLOW_BEGIN(f);
	do {
		apply_begin_round(op);
		while (op->entry && !op->rc) {
			AWAIT(f, apply_begin_call(op));
			apply_end_call(op);
		}
	} while (op->some_succeeded && op->some_kept && !op->rc);
	apply_tell_kept(op);
	op->control->applying = false;
	op->done(op->arg, op->rc);
	free(op);
	FLOW_END(f);
}

void config_apply(
	struct control *control, unsigned pass, struct reason *reason, done_fn done, void *arg)
{
	struct apply_op *op = alloc_op(sizeof(*op));

	invariant(!control->applying);
	control->applying = true;
	op->control = control;
	op->pass = pass;
	op->reason = reason;
	op->patience.fired = apply_takes_long;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, control->options.control, "config_apply", apply_run);
}

/* ---- the start ----------------------------------------------------------------------------- */

void control_begin_startup(struct control *control, struct reason *reason, done_fn done, void *arg)
{
	config_apply(control, RPC_STARTUP, reason, done, arg);
}

struct begin_op {
	struct control *control;
	done_fn done;
	void *arg;
};

static void runtime_begun(void *arg, int rc)
{
	struct begin_op *op = arg;

	op->control->ready = !rc;
	framework_waiters_finish(op->control, !rc);
	op->done(op->arg, rc);
	free(op);
}

void control_begin_runtime(struct control *control, struct reason *reason, done_fn done, void *arg)
{
	struct begin_op *op = alloc_op(sizeof(*op));

	op->control = control;
	op->done = done;
	op->arg = arg;
	rpc_server_set_state(control->options.rpc, RPC_RUNTIME);
	config_apply(control, RPC_RUNTIME, reason, runtime_begun, op);
}
