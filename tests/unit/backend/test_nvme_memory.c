/* SPDX-License-Identifier: BSD-2-Clause */
/* Drives that reach a guest's memory by themselves, with simulated controllers. */
#include "backend/nvme_drives.h"
#include "bdev/memory.h"
#include "model.h"
#include "sim/nvme_sim.h"

#include <string.h>

#define MEMORY (4 * MIB)

static struct nvme_sim *sim;

struct memory_world {
	struct world world;
	struct nvme_drives *drives;
	struct nvme_attachment *attachment;
	struct reason reason;
	struct world_user user;
	struct bdev_channel *channels[2];
	struct bdev_memory memory;
	int fd;
};

static int sim_open(struct os *os, const char *address, struct reason *reason,
	struct nvme_transport **ret_transport)
{
	*ret_transport = nvme_sim_transport(sim);
	return 0;
}

static const struct nvme_kind kinds[] = {{"PCIe", sim_open}, {0}};

static struct memory_world *memory_world_of(struct world_call *call)
{
	return container_of(call->world, struct memory_world, world);
}

static int on_control(struct memory_world *mw, void (*run)(struct world_call *call))
{
	struct world_call call = {.run = run};

	return world_run(&mw->world, mw->world.control, &call);
}

static void attach_run(struct world_call *call)
{
	static const struct nvme_options options = NVME_OPTIONS_DEFAULT;
	struct memory_world *mw = memory_world_of(call);

	mw->drives = nvme_drives_create(mw->world.host.os, call->world->registry, kinds);
	nvme_drives_attach(mw->drives, &kinds[0], "Nvme0", "0000:5a:00.0", &options, &mw->reason,
		&mw->attachment, world_done, call);
}

static void close_run(struct world_call *call)
{
	nvme_drives_close(memory_world_of(call)->drives, world_done, call);
}

static void destroy_run(struct world_call *call)
{
	nvme_drives_destroy(memory_world_of(call)->drives);
	world_done(call, 0);
}

static void tell_run(struct world_call *call)
{
	bdev_memory_add(call->world->registry, &memory_world_of(call)->memory);
	world_done(call, 0);
}

static void leave_run(struct world_call *call)
{
	bdev_memory_remove(call->world->registry, &memory_world_of(call)->memory, world_done, call);
}

static void memory_make(struct memory_world *mw)
{
	struct os *os = mw->world.host.os;

	assert_int_equal(os->ops->memfd_create(os, "guest", MEMORY, &mw->fd), 0);
	mw->memory.len = MEMORY;
	assert_int_equal(os->ops->map(os, mw->fd, 0, MEMORY, false, (void **)&mw->memory.addr), 0);
}

static void memory_world_start(struct memory_world *mw, uint64_t seed)
{
	const struct nvme_sim_options options = {.seed = seed, .namespaces = 1};

	memset(mw, 0, sizeof(*mw));
	world_start(&mw->world, seed);
	sim = nvme_sim_create(mw->world.host.os, &options);
	assert_int_equal(on_control(mw, attach_run), 0);
	world_user_init(&mw->user, "first");
	assert_int_equal(
		world_open(&mw->world, world_find(&mw->world, "Nvme0n1"), &mw->user, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(world_channel_open(&mw->world, &mw->user, i, &mw->channels[i]), 0);
	memory_make(mw);
}

static void memory_world_leave(struct memory_world *mw)
{
	for (unsigned i = 0; i < 2; i++)
		world_channel_close(&mw->world, mw->channels[i]);
	world_close(&mw->world, &mw->user);
}

static void memory_world_end(struct memory_world *mw)
{
	struct os *os = mw->world.host.os;

	assert_int_equal(on_control(mw, close_run), 0);
	assert_int_equal(on_control(mw, destroy_run), 0);
	assert_int_equal(nvme_sim_destroy(sim), 0);
	os->ops->unmap(os, mw->memory.addr, MEMORY);
	os->ops->close(os, mw->fd);
	world_end(&mw->world);
}

/* Writes and reads with buffers in that memory, through both reactors. */
static void use(struct memory_world *mw, unsigned value)
{
	uint8_t *out = mw->memory.addr + 8192, *in = out + 65536;

	for (unsigned i = 0; i < 2; i++) {
		memset(out, (int)(value + i), 16384);
		memset(in, 0, 16384);
		assert_int_equal(
			world_write(&mw->world, mw->channels[i], out, i * 65536, 16384), 0);
		assert_int_equal(world_read(&mw->world, mw->channels[i], in, i * 65536, 16384), 0);
		assert_memory_equal(in, out, 16384);
	}
}

struct expected {
	unsigned mapped;
};

static bool is_mapped(void *expected)
{
	return nvme_sim_counts(sim).mapped == ((struct expected *)expected)->mapped;
}

static void memory_is_mapped_when_it_is_used_and_let_go_before_it_is_unmapped(void **state)
{
	HOST_FOR_EACH_SEED(seed, 8)
	{
		struct expected expected;
		struct memory_world mw;

		memory_world_start(&mw, seed);
		expected.mapped = nvme_sim_counts(sim).mapped;
		use(&mw, 1);
		host_sleep(&mw.world.host, 20 * MSEC_NS);
		assert_true(is_mapped(&expected)); /* nobody has told of it */
		on_control(&mw, tell_run);
		host_sleep(&mw.world.host, 20 * MSEC_NS);
		assert_true(is_mapped(&expected)); /* nobody has used it */
		use(&mw, 3);
		expected.mapped++;
		assert_true(host_wait(&mw.world.host, is_mapped, &expected));
		use(&mw, 5);
		on_control(&mw, leave_run);
		expected.mapped--;
		assert_true(is_mapped(&expected));
		use(&mw, 7);
		memory_world_leave(&mw);
		memory_world_end(&mw);
	}
}

static void memory_that_cannot_be_mapped_is_copied(void **state)
{
	struct expected expected;
	struct memory_world mw;

	memory_world_start(&mw, 1);
	expected.mapped = nvme_sim_counts(sim).mapped;
	on_control(&mw, tell_run);
	nvme_sim_fail_map(sim, 1);
	for (unsigned i = 0; i < 20; i++) {
		use(&mw, i);
		host_sleep(&mw.world.host, 5 * MSEC_NS);
	}
	assert_true(is_mapped(&expected));
	on_control(&mw, leave_run);
	memory_world_leave(&mw);
	memory_world_end(&mw);
}

/* At any moment of its being mapped, and of the drive's end. */
static void memory_may_go_while_it_is_being_mapped_or_the_drive_ends(void **state)
{
	HOST_FOR_EACH_SEED(seed, 40)
	{
		struct world_call leave = {.run = leave_run}, close = {.run = close_run};
		struct memory_world mw;
		unsigned before;

		memory_world_start(&mw, seed);
		before = nvme_sim_counts(sim).mapped;
		on_control(&mw, tell_run);
		use(&mw, 1);
		if (seed % 2)
			host_sleep(&mw.world.host, seed % 8 * MSEC_NS);
		if (seed % 4 < 2) {
			assert_int_equal(on_control(&mw, leave_run), 0);
			assert_int_equal(nvme_sim_counts(sim).mapped, before);
			memory_world_leave(&mw);
		} else {
			memory_world_leave(&mw);
			world_begin(&mw.world, mw.world.control, &close);
			host_sleep(&mw.world.host, seed % 16 * USEC_NS * 100);
			world_begin(&mw.world, mw.world.control, &leave);
			assert_int_equal(world_finish(&mw.world, &leave), 0);
			assert_int_equal(world_finish(&mw.world, &close), 0);
		}
		memory_world_end(&mw);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_mapped_when_it_is_used_and_let_go_before_it_is_unmapped),
		cmocka_unit_test(memory_that_cannot_be_mapped_is_copied),
		cmocka_unit_test(memory_may_go_while_it_is_being_mapped_or_the_drive_ends),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
