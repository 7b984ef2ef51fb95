/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A list: a machine has a handful of regions, and it is looked at only when a device meets memory
 * that it does not know.
 */
#include "bdev/memory.h"

#include "bdev/bdev_impl.h"

struct bdev_memory_op {
	struct flow flow;
	struct bdev_registry *registry;
	struct bdev_memory *memory;
	done_fn done;
	void *arg;
};

void bdev_memory_set_user(struct bdev_registry *registry, bdev_memory_leave_fn leave, void *user)
{
	registry->memory_leave = leave;
	registry->memory_user = user;
}

void bdev_memory_add(struct bdev_registry *registry, struct bdev_memory *memory)
{
	list_add_tail(&registry->memories, &memory->link);
}

const struct bdev_memory *bdev_memory_find(struct bdev_registry *registry, const void *addr)
{
	const struct bdev_memory *memory;

	list_for_each_entry (memory, &registry->memories, link) {
		if ((uintptr_t)addr - (uintptr_t)memory->addr < memory->len)
			return memory;
	}
	return NULL;
}

static enum flow_result bdev_memory_remove_run(struct flow *f)
{
	struct bdev_memory_op *op = container_of(f, struct bdev_memory_op, flow);

	FLOW_BEGIN(f);
	if (op->registry->memory_leave)
		AWAIT(f, op->registry->memory_leave(
				 op->registry->memory_user, op->memory, flow_resume, f));
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void bdev_memory_remove(
	struct bdev_registry *registry, struct bdev_memory *memory, done_fn done, void *arg)
{
	struct bdev_memory_op *op = alloc_op(sizeof(*op));

	op->registry = registry;
	op->memory = memory;
	op->done = done;
	op->arg = arg;
	list_remove(&memory->link);
	flow_start(&op->flow, registry->control, "bdev_memory_remove", bdev_memory_remove_run);
}
