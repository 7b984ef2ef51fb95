/* SPDX-License-Identifier: BSD-2-Clause */
/* The file device when files, kernels and calls fail: on the simulated host only. */
#include "file_world.h"
#include "model.h"
#include "unit/base/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (1 * MIB)

static struct sim *sim_of(const struct file_world *fw)
{
	return fw->world.host.sim;
}

static int clear(struct file_world *fw, enum bdev_io_type type, uint8_t flags, uint64_t offset,
	uint64_t length)
{
	return world_io(&fw->world, fw->channel, type, flags, NULL, 0, offset, length);
}

/* ---- transfers ---------------------------------------------------------- */

static void short_transfers_are_continued(void **state)
{
	SIM_FOR_EACH_SEED(seed, 30)
	{
		struct file_world fw;
		struct model model;

		file_world_prepare(&fw, seed, SIZE);
		if (seed % 3 == 0)
			sim_file_set_direct(fw.file, 1, 0);
		file_world_attach(&fw, 512);
		model_init(&model, &fw.world, fw.channel, 0, SIZE, seed);
		for (unsigned i = 0; i < 12; i++) {
			sim_file_shorten(fw.file, 6);
			model_run(&model, 5);
		}
		model_check(&model);
		model_fini(&model);
		file_world_end(&fw);
	}
}

/* The errors of the disk arrive as what they are, and only where they are. */
static void errors_of_the_disk_arrive_as_they_are(void **state)
{
	static const int errors[] = {EIO, ENOSPC, EDQUOT, ENODEV, EREMOTEIO};
	uint8_t buf[4096] = {1};
	struct file_world fw;

	file_world_start(&fw, 1, SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		sim_file_fail_range(fw.file, 8192, 4096, errors[i], 3);
		assert_int_equal(world_write(&fw.world, fw.channel, buf, 0, 4096), 0);
		assert_int_equal(world_write(&fw.world, fw.channel, buf, 8192, 4096), -errors[i]);
		assert_int_equal(world_read(&fw.world, fw.channel, buf, 8192, 512), -errors[i]);
		assert_int_equal(clear(&fw, BDEV_IO_WRITE_ZEROES, 0, 8192, 4096), -errors[i]);
		assert_int_equal(world_read(&fw.world, fw.channel, buf, 8192, 4096), 0);
	}
	sim_fail_call(sim_of(&fw), SIM_CALL_IO_FDATASYNC, 1, EIO);
	assert_int_equal(clear(&fw, BDEV_IO_FLUSH, 0, 0, 0), -EIO);
	assert_int_equal(clear(&fw, BDEV_IO_FLUSH, 0, 0, 0), 0);
	sim_fail_call(sim_of(&fw), SIM_CALL_IO_FDATASYNC, 1, EIO);
	assert_int_equal(clear(&fw, BDEV_IO_WRITE_ZEROES, BDEV_IO_FUA, 0, 512), -EIO);
	assert_int_equal(atomic_load(&fw.user.resized), 0); /* looked, and found no change */
	file_world_end(&fw);
}

static void a_full_disk_is_reported_and_recovers(void **state)
{
	static uint8_t buf[256 * 1024];
	struct file_world fw;

	file_world_start(&fw, 1, SIZE);
	memset(buf, 3, sizeof(buf));
	sim_file_limit(fw.file, 100 * 512); /* in the middle of the request */
	assert_int_equal(world_write(&fw.world, fw.channel, buf, 0, sizeof(buf)), -ENOSPC);
	assert_int_equal(world_write(&fw.world, fw.channel, buf, 0, 512), -ENOSPC);
	sim_file_limit(fw.file, UINT64_MAX);
	assert_int_equal(world_write(&fw.world, fw.channel, buf, 0, sizeof(buf)), 0);
	file_world_end(&fw);
}

/* The host's log, not only the guest, learns that a disk is full. */
static void failures_are_logged_at_once_and_then_counted(void **state)
{
	static struct capture capture;
	uint8_t buf[4096] = {1};
	struct file_world fw;

	file_world_start(&fw, 1, SIZE);
	sim_file_fail_range(fw.file, 8192, 4096, ENOSPC, 100);
	capture_begin(&capture);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(world_write(&fw.world, fw.channel, buf, 8192, 4096), -ENOSPC);
	sim_run_for(sim_of(&fw), SEC_NS);
	assert_int_equal(capture_end(&capture), 1);
	assert_non_null(strstr(capture.text, "write of 4096 bytes at 8192"));
	assert_non_null(strstr(capture.text, "No space left on device"));

	capture_begin(&capture);
	sim_run_for(sim_of(&fw), 60 * SEC_NS);
	assert_int_equal(capture_end(&capture), 1);
	assert_non_null(strstr(capture.text, " 99 more requests"));

	/* A new series; and the device goes in the middle of it. */
	capture_begin(&capture);
	sim_fail_call(sim_of(&fw), SIM_CALL_IO_FDATASYNC, 1, EIO);
	assert_int_equal(clear(&fw, BDEV_IO_FLUSH, 0, 0, 0), -EIO);
	sim_file_fail_range(fw.file, 0, 4096, EIO, 1);
	assert_int_equal(clear(&fw, BDEV_IO_WRITE_ZEROES, 0, 0, 4096), -EIO);
	file_world_end(&fw);
	assert_int_equal(capture_end(&capture), 1);
	assert_non_null(strstr(capture.text, "flush of"));
}

static void interrupted_calls_are_made_again_within_a_bound(void **state)
{
	uint8_t buf[512] = {1};
	struct file_world fw;

	file_world_start(&fw, 1, SIZE);
	sim_file_fail_range(fw.file, 0, 512, EAGAIN, 50);
	assert_int_equal(world_write(&fw.world, fw.channel, buf, 0, 512), 0);
	sim_file_fail_range(fw.file, 0, 512, EAGAIN, 50);
	assert_int_equal(clear(&fw, BDEV_IO_WRITE_ZEROES, 0, 0, 512), 0);
	sim_file_fail_range(fw.file, 0, 512, EAGAIN, 100000);
	assert_int_equal(world_read(&fw.world, fw.channel, buf, 0, 512), -EAGAIN);
	sim_file_fail_range(fw.file, 0, 512, 0, 0);
	file_world_end(&fw);
}

/* A file system that wants more than it says: found out by -EINVAL, then bounced. */
static void a_kernel_that_wants_more_alignment_gets_it(void **state)
{
	SIM_FOR_EACH_SEED(seed, 5)
	{
		struct file_world fw;
		struct model model;

		file_world_prepare(&fw, seed, SIZE);
		file_world_attach(&fw, 4096);
		sim_file_set_direct(fw.file, 4096, 512);
		model_init(&model, &fw.world, fw.channel, 0, SIZE, seed);
		model.aligned = true;
		model_run(&model, 60);
		model_check(&model);
		model_fini(&model);
		file_world_end(&fw);
	}
}

/* ---- holes and zeroes --------------------------------------------------- */

static void fill(struct file_world *fw, uint8_t value)
{
	static uint8_t buf[SIZE];

	memset(buf, value, sizeof(buf));
	sim_file_poke(fw->file, 0, buf, sizeof(buf));
}

static void expect_zeroes(struct file_world *fw, uint64_t offset, uint64_t length)
{
	static uint8_t buf[SIZE];
	uint64_t end = offset + length;

	sim_file_peek(fw->file, 0, buf, sizeof(buf));
	for (uint64_t i = 0; i < SIZE; i++)
		if ((buf[i] == 0) != (i >= offset && i < end))
			fail_msg("byte %llu is %u", (unsigned long long)i, buf[i]);
}

/* Each operation is refused once at most, then the next way is taken at once. */
static void what_the_kernel_cannot_zero_is_written(void **state)
{
	static const struct {
		bool device, punch, zero_range;
		enum bdev_io_type type;
		uint8_t flags;
		unsigned punches, zero_ranges; /* of three requests */
		bool written;
	} cases[] = {
		{false, true, true, BDEV_IO_UNMAP, 0, 3, 0, false},
		{false, true, true, BDEV_IO_WRITE_ZEROES, 0, 3, 0, false},
		{false, true, true, BDEV_IO_WRITE_ZEROES, BDEV_IO_NO_UNMAP, 0, 3, false},
		{false, true, false, BDEV_IO_WRITE_ZEROES, BDEV_IO_NO_UNMAP, 0, 1, true},
		{false, false, true, BDEV_IO_WRITE_ZEROES, 0, 1, 3, false},
		{false, false, false, BDEV_IO_WRITE_ZEROES, BDEV_IO_FUA, 1, 1, true},
		{true, true, true, BDEV_IO_WRITE_ZEROES, 0, 0, 3, false},
		{true, true, false, BDEV_IO_WRITE_ZEROES, 0, 0, 1, true},
		{true, true, true, BDEV_IO_UNMAP, BDEV_IO_FUA, 3, 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint64_t offset = 512, length = SIZE - 4096;
		unsigned punches, zero_ranges, writes;
		struct file_world fw;

		file_world_prepare(&fw, i, SIZE);
		if (cases[i].device) {
			fw.file = sim_device_create(sim_of(&fw), "/dev/sim", SIZE, 512);
			strcpy(fw.path, "/dev/sim");
		}
		file_world_attach(&fw, 512);
		if (!cases[i].punch)
			sim_file_set_discard(fw.file, 0);
		sim_file_set_zero_range(fw.file, cases[i].zero_range);
		punches = sim_count_calls(sim_of(&fw), SIM_CALL_IO_PUNCH_HOLE);
		zero_ranges = sim_count_calls(sim_of(&fw), SIM_CALL_IO_ZERO_RANGE);
		writes = sim_count_calls(sim_of(&fw), SIM_CALL_IO_WRITEV);
		for (unsigned round = 0; round < 3; round++) {
			fill(&fw, 9);
			sim_file_shorten(fw.file, 2);
			assert_int_equal(
				clear(&fw, cases[i].type, cases[i].flags, offset, length), 0);
			expect_zeroes(&fw, offset, length);
		}
		punches = sim_count_calls(sim_of(&fw), SIM_CALL_IO_PUNCH_HOLE) - punches;
		zero_ranges = sim_count_calls(sim_of(&fw), SIM_CALL_IO_ZERO_RANGE) - zero_ranges;
		writes = sim_count_calls(sim_of(&fw), SIM_CALL_IO_WRITEV) - writes;
		assert_int_equal(punches, cases[i].punches);
		assert_int_equal(zero_ranges, cases[i].zero_ranges);
		assert_int_equal(writes > 0, cases[i].written);
		file_world_end(&fw);
	}
}

static void without_holes_there_is_no_unmap(void **state)
{
	uint8_t buf[512], same[512];
	struct file_world fw;

	/* The file system says so when it is asked. */
	file_world_prepare(&fw, 1, SIZE);
	sim_fail_call(sim_of(&fw), SIM_CALL_IO_PUNCH_HOLE, 1, EOPNOTSUPP);
	file_world_attach(&fw, 512);
	assert_false(bdev_supports(fw.bdev, BDEV_IO_UNMAP));
	assert_false(fw.bdev->unmap_reads_zeroes);
	assert_true(bdev_supports(fw.bdev, BDEV_IO_WRITE_ZEROES));
	file_world_end(&fw);

	/* A device that loses its discard: the hint is taken and nothing happens. */
	file_world_prepare(&fw, 1, SIZE);
	fw.file = sim_device_create(sim_of(&fw), "/dev/sim", SIZE, 512);
	strcpy(fw.path, "/dev/sim");
	file_world_attach(&fw, 512);
	assert_true(bdev_supports(fw.bdev, BDEV_IO_UNMAP));
	assert_false(fw.bdev->unmap_reads_zeroes);
	sim_file_set_discard(fw.file, 0);
	fill(&fw, 5);
	assert_int_equal(clear(&fw, BDEV_IO_UNMAP, 0, 0, 4096), 0);
	assert_int_equal(clear(&fw, BDEV_IO_UNMAP, BDEV_IO_FUA, 0, 4096), 0);
	memset(same, 5, sizeof(same));
	assert_int_equal(world_read(&fw.world, fw.channel, buf, 0, 512), 0);
	assert_memory_equal(buf, same, 512);
	file_world_end(&fw);
}

/* ---- calls -------------------------------------------------------------- */

/* Each call of the way from nothing to a claimed, rescanned, removed device fails once. */
static void every_call_may_fail_and_nothing_is_left_behind(void **state)
{
	static const enum sim_call calls[] = {SIM_CALL_FILE_OPEN, SIM_CALL_FILE_INFO,
		SIM_CALL_FILE_LOCK, SIM_CALL_FILE_UNLOCK, SIM_CALL_IO_PUNCH_HOLE};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		for (unsigned nth = 1; nth <= 3; nth++) {
			struct file_bdev_options options = {.name = "disk"};
			struct reason reason = {0};
			struct world_user user;
			struct file_world fw;
			struct bdev *bdev;
			int rc;

			file_world_prepare(&fw, i * 10 + nth, SIZE);
			options.filename = fw.path;
			sim_fail_call(sim_of(&fw), calls[i], nth, EIO);
			rc = file_create(&fw.world, &options, &reason, &bdev);
			if (rc) {
				assert_int_equal(rc, -EIO);
				assert_string_not_equal(reason.text, "");
				assert_null(world_find(&fw.world, "disk"));
				file_world_clean(&fw);
				continue;
			}
			world_user_init(&user, "first");
			assert_int_equal(world_open(&fw.world, bdev, &user, NULL), 0);
			rc = world_claim(&fw.world, &user, BDEV_CLAIM_SHARED_WRITE, &reason);
			if (rc)
				assert_string_not_equal(reason.text, "");
			rc = file_rescan(&fw.world, bdev, &reason);
			if (rc)
				assert_string_not_equal(reason.text, "");
			(void)world_release(&fw.world, &user); /* gone in any case */
			world_close(&fw.world, &user);
			assert_int_equal(world_unregister(&fw.world, bdev), 0);
			file_world_clean(&fw);
		}
	}
}

static void a_file_that_may_not_be_written_is_opened_read_only(void **state)
{
	static const int errors[] = {EACCES, EROFS, EPERM};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct file_bdev_options options = {.name = "disk"};
		struct file_world fw;
		struct bdev *bdev;

		file_world_prepare(&fw, 1, SIZE);
		options.filename = fw.path;
		sim_fail_call(sim_of(&fw), SIM_CALL_FILE_OPEN, 1, errors[i]);
		assert_int_equal(file_create(&fw.world, &options, NULL, &bdev), 0);
		assert_true(bdev->read_only);
		assert_int_equal(world_unregister(&fw.world, bdev), 0);
		file_world_clean(&fw);
	}
}

/* ---- removal ------------------------------------------------------------ */

static void removal_waits_for_the_disk(void **state)
{
	SIM_FOR_EACH_SEED(seed, 20)
	{
		struct world_call remove = {.run = world_unregister_run};
		struct world_call io = {0};
		uint8_t buf[4096] = {7};
		struct iovec iov = {.iov_base = buf + seed % 2, .iov_len = 512};
		struct file_world fw;

		file_world_start(&fw, seed, SIZE);
		sim_file_hold(fw.file);
		io.channel = fw.channel;
		io.io = (struct bdev_io){
			.type = BDEV_IO_WRITE, .iov = &iov, .iovcnt = 1, .length = 512};
		world_io_begin(&fw.world, &io);
		host_sleep(&fw.world.host, 1 * MSEC_NS);
		remove.bdev = fw.bdev;
		world_begin(&fw.world, fw.world.control, &remove);
		host_sleep(&fw.world.host, 100 * MSEC_NS);
		assert_true(atomic_load(&fw.user.removed));
		assert_false(atomic_load(&remove.ended));
		assert_false(atomic_load(&io.ended));
		sim_file_release(fw.file);
		assert_int_equal(world_finish(&fw.world, &io), 0);
		world_channel_close(&fw.world, fw.channel);
		assert_int_equal(world_release(&fw.world, &fw.user), 0);
		world_close(&fw.world, &fw.user);
		assert_int_equal(world_finish(&fw.world, &remove), 0);
		file_world_clean(&fw);
	}
}

/* The last request meets the end of the file, and the device goes before anybody has looked. */
static void removal_waits_for_a_look_at_the_size(void **state)
{
	SIM_FOR_EACH_SEED(seed, 30)
	{
		uint8_t buf[512];
		struct file_world fw;

		file_world_start(&fw, seed, SIZE);
		sim_file_resize(fw.file, SIZE / 2);
		assert_int_equal(world_read(&fw.world, fw.channel, buf, SIZE - 512, 512), -EIO);
		file_world_end(&fw);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_transfers_are_continued),
		cmocka_unit_test(errors_of_the_disk_arrive_as_they_are),
		cmocka_unit_test(a_full_disk_is_reported_and_recovers),
		cmocka_unit_test(failures_are_logged_at_once_and_then_counted),
		cmocka_unit_test(interrupted_calls_are_made_again_within_a_bound),
		cmocka_unit_test(a_kernel_that_wants_more_alignment_gets_it),
		cmocka_unit_test(what_the_kernel_cannot_zero_is_written),
		cmocka_unit_test(without_holes_there_is_no_unmap),
		cmocka_unit_test(every_call_may_fail_and_nothing_is_left_behind),
		cmocka_unit_test(a_file_that_may_not_be_written_is_opened_read_only),
		cmocka_unit_test(removal_waits_for_the_disk),
		cmocka_unit_test(removal_waits_for_a_look_at_the_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
