/* SPDX-License-Identifier: BSD-2-Clause */
#include "fault_world.h"

static bool is_set(void *flag)
{
	return *(bool *)flag;
}

static void fault_run_begin(struct fault_world *fw, void (*run)(struct message *message))
{
	fw->done = false;
	fw->message.run = run;
	reactor_send(fw->world->control, &fw->message);
}

static void fault_run_finish(struct fault_world *fw)
{
	assert_true(sim_run(fw->world->sim, is_set, &fw->done, 60 * SEC_NS));
}

static void gate_register(struct message *message)
{
	struct fault_world *fw = container_of(message, struct fault_world, message);

	assert_int_equal(gate_bdev_register(fw->gate, fw->world->registry, NULL), 0);
	fw->done = true;
}

static void gate_gone(void *arg, int rc)
{
	struct fault_world *fw = arg;

	assert_int_equal(rc, 0);
	fw->done = true;
}

static void gate_unregister(struct message *message)
{
	struct fault_world *fw = container_of(message, struct fault_world, message);

	bdev_unregister(gate_bdev_of(fw->gate), gate_gone, fw);
}

void fault_world_register(struct fault_world *fw)
{
	fault_run_begin(fw, gate_register);
	fault_run_finish(fw);
}

void fault_world_unregister_begin(struct fault_world *fw)
{
	fault_run_begin(fw, gate_unregister);
}

void fault_world_unregister_finish(struct fault_world *fw)
{
	fault_run_finish(fw);
}

void fault_world_unregister(struct fault_world *fw)
{
	fault_world_unregister_begin(fw);
	fault_world_unregister_finish(fw);
}

void fault_world_start(struct fault_world *fw)
{
	const struct gate_bdev_options options = {.name = "gate",
		.size_bytes = 8 * MIB,
		.block_size = 512,
		.physical_block_size = 4096};

	fw->world = world_start(false);
	log_set_level(LOG_ERROR);
	fw->gate = gate_bdev_create(&options);
	fault_world_register(fw);
}

void fault_world_end(struct fault_world *fw)
{
	world_end(fw->world);
	gate_bdev_destroy(fw->gate);
}
