/* SPDX-License-Identifier: BSD-2-Clause */
/* Encryption: what is on the device below, what comes back, and whose key. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "filter_world.h"

#define SIZE  (8 * MIB)
#define KEY_1 "27182818284590452353602874713526"
#define KEY_2 "31415926535897932384626433832795"
#define KEY_3 "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define KEY_4 "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

struct key_call {
	struct world_call call;
	struct filter_world *fw;
	struct crypto_key_options options;
	struct filter_options filter;
	const char *key_name;
	bool destroys;
};

static void key_run(struct world_call *call)
{
	struct key_call *key = container_of(call, struct key_call, call);

	world_done(call,
		key->destroys
			? crypto_key_destroy(key->fw->filters, key->options.name, call->reason)
			: crypto_key_create(key->fw->filters, &key->options, call->reason));
}

static int key_make(struct filter_world *fw, const char *name, const char *one, const char *two)
{
	struct key_call key = {
		.call.run = key_run, .fw = fw, .options = {.name = name, .key = one, .key2 = two}};

	return world_run(&fw->world, fw->world.control, &key.call);
}

static int key_drop(struct filter_world *fw, const char *name)
{
	struct key_call key = {
		.call.run = key_run, .fw = fw, .options.name = name, .destroys = true};

	return world_run(&fw->world, fw->world.control, &key.call);
}

static void crypto_run(struct world_call *call)
{
	struct key_call *key = container_of(call, struct key_call, call);

	crypto_create(
		key->fw->filters, &key->filter, key->key_name, call->reason, world_done, call);
}

static int crypto_make(struct filter_world *fw, const char *name, const char *key_name)
{
	struct key_call key = {.call.run = crypto_run,
		.fw = fw,
		.filter = {.name = name, .base = "base"},
		.key_name = key_name};

	return world_run(&fw->world, fw->world.control, &key.call);
}

static void crypto_start(struct filter_world *fw, struct opened *top)
{
	filter_world_start(fw, 1);
	malloc_make(fw, "base", SIZE);
	assert_int_equal(key_make(fw, "key", KEY_1, KEY_2), 0);
	assert_int_equal(crypto_make(fw, "secret", "key"), 0);
	opened_start(fw, top, "secret", 0);
}

static void crypto_end(struct filter_world *fw, struct opened *top)
{
	opened_end(fw, top);
	filter_world_end(fw);
}

static void fill(uint8_t *buf, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		buf[i] = (uint8_t)(seed >> 56);
	}
}

/* IEEE 1619-2007, annex B, vector 4. */
static void a_block_is_encrypted_as_the_standard_says(void **state)
{
	static const uint8_t expected[] = {0x27, 0xa7, 0x47, 0x9b, 0xef, 0xa1, 0xd4, 0x76, 0x48,
		0x9f, 0x30, 0x8c, 0xd4, 0xcf, 0xa6, 0xe2, 0xa9, 0x6e, 0x4b, 0xbe, 0x32, 0x08, 0xff,
		0x25, 0x28, 0x7d, 0xd3, 0x81, 0x96, 0x16, 0xe8, 0x9c};
	uint8_t plain[512], found[512];
	struct opened top, base;
	struct filter_world fw;

	crypto_start(&fw, &top);
	for (unsigned i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)i;
	assert_int_equal(world_write(&fw.world, top.channel, plain, 0, 512), 0);
	/* Its second block: the same plain text is another cipher text. */
	assert_int_equal(world_write(&fw.world, top.channel, plain, 512, 512), 0);
	opened_start(&fw, &base, "base", 1);
	assert_int_equal(world_read(&fw.world, base.channel, found, 0, 512), 0);
	assert_memory_equal(found, expected, sizeof(expected));
	assert_int_equal(world_read(&fw.world, base.channel, found, 512, 512), 0);
	assert_memory_not_equal(found, expected, sizeof(expected));
	opened_end(&fw, &base);
	crypto_end(&fw, &top);
}

/* Vectors whose entries end anywhere, as long as the whole is of blocks. */
static unsigned cut(uint8_t *buf, size_t length, struct iovec *iov, unsigned most, uint64_t seed)
{
	unsigned count = 0;

	while (length > 0) {
		size_t part;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		part = count + 1 == most ? length : u64_min(length, (seed >> 33) % 9000 + 1);
		iov[count++] = (struct iovec){buf, part};
		buf += part;
		length -= part;
	}
	return count;
}

static void what_was_written_comes_back_whatever_the_vectors(void **state)
{
	static const size_t lengths[] = {512, 4096, 4608, 100 * KIB + 512, 2 * MIB, 3 * MIB + 512};
	uint8_t *wrote = malloc(4 * MIB), *found = malloc(4 * MIB);
	struct iovec iov[256];
	struct filter_world fw;
	struct opened top;

	crypto_start(&fw, &top);
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint64_t offset = i * 1536;
		unsigned count;

		fill(wrote, lengths[i], i);
		count = cut(wrote, lengths[i], iov, ARRAY_SIZE(iov), i + 7);
		assert_int_equal(world_io(&fw.world, top.channel, BDEV_IO_WRITE, 0, iov, count,
					 offset, lengths[i]),
			0);
		memset(found, 0, lengths[i]);
		count = cut(found, lengths[i], iov, ARRAY_SIZE(iov), i + 99);
		assert_int_equal(world_io(&fw.world, top.channel, BDEV_IO_READ, 0, iov, count,
					 offset, lengths[i]),
			0);
		assert_memory_equal(wrote, found, lengths[i]);
		/* A single block of it, for itself. */
		assert_int_equal(
			world_read(&fw.world, top.channel, found, offset + lengths[i] - 512, 512),
			0);
		assert_memory_equal(wrote + lengths[i] - 512, found, 512);
	}
	crypto_end(&fw, &top);
	free(wrote);
	free(found);
}

static void zeroes_are_written_as_encrypted_data(void **state)
{
	static const uint8_t zeroes[4096];
	uint8_t found[4096];
	struct opened top, base;
	struct filter_world fw;

	crypto_start(&fw, &top);
	assert_int_equal(
		world_io(&fw.world, top.channel, BDEV_IO_WRITE_ZEROES, 0, NULL, 0, 0, 1 * MIB), 0);
	assert_int_equal(world_read(&fw.world, top.channel, found, 1 * MIB - 4096, 4096), 0);
	assert_memory_equal(found, zeroes, 4096);
	opened_start(&fw, &base, "base", 1);
	assert_int_equal(world_read(&fw.world, base.channel, found, 1 * MIB - 4096, 4096), 0);
	assert_memory_not_equal(found, zeroes, 4096);
	opened_end(&fw, &base);
	assert_int_equal(
		world_io(&fw.world, top.channel, BDEV_IO_UNMAP, 0, NULL, 0, 0, 1 * MIB), 0);
	assert_false(device_named(&fw, "secret")->unmap_reads_zeroes);
	assert_int_equal(world_io(&fw.world, top.channel, BDEV_IO_FLUSH, 0, NULL, 0, 0, SIZE), 0);
	crypto_end(&fw, &top);
}

static void another_key_reads_nothing_and_the_right_one_all(void **state)
{
	uint8_t wrote[4096], found[4096];
	struct filter_world fw;
	struct opened top;

	crypto_start(&fw, &top);
	fill(wrote, sizeof(wrote), 1);
	assert_int_equal(world_write(&fw.world, top.channel, wrote, 8192, 4096), 0);
	opened_end(&fw, &top);
	assert_int_equal(key_drop(&fw, "key"), -EBUSY);
	filter_remove(&fw, FILTER_CRYPTO, "secret");
	assert_int_equal(key_make(&fw, "other", KEY_3, KEY_4), 0);
	assert_int_equal(crypto_make(&fw, "secret", "other"), 0);
	opened_start(&fw, &top, "secret", 1);
	assert_int_equal(world_read(&fw.world, top.channel, found, 8192, 4096), 0);
	assert_memory_not_equal(wrote, found, 4096);
	opened_end(&fw, &top);
	filter_remove(&fw, FILTER_CRYPTO, "secret");
	assert_int_equal(crypto_make(&fw, "secret", "key"), 0);
	opened_start(&fw, &top, "secret", 1);
	assert_int_equal(world_read(&fw.world, top.channel, found, 8192, 4096), 0);
	assert_memory_equal(wrote, found, 4096);
	crypto_end(&fw, &top);
}

static void keys_that_are_none_are_refused(void **state)
{
	struct filter_world fw;

	filter_world_start(&fw, 1);
	malloc_make(&fw, "base", SIZE);
	assert_int_equal(key_make(&fw, "k", KEY_1, NULL), -EINVAL);
	assert_int_equal(key_make(&fw, "k", KEY_1, KEY_1), -EINVAL);
	assert_int_equal(key_make(&fw, "k", KEY_1, KEY_3), -EINVAL);
	assert_int_equal(key_make(&fw, "k", "2718281828", "3141592653"), -EINVAL);
	assert_int_equal(key_make(&fw, "k", KEY_1, "3141592653589793238462643383279g"), -EINVAL);
	assert_int_equal(key_make(&fw, "k", KEY_1, KEY_2), 0);
	assert_int_equal(key_make(&fw, "k", KEY_3, KEY_4), -EEXIST);
	assert_int_equal(crypto_make(&fw, "secret", "none"), -ENOENT);
	assert_int_equal(key_drop(&fw, "none"), -ENOENT);
	assert_int_equal(key_drop(&fw, "k"), 0);
	filter_world_end(&fw);
}

/* A piece that fails fails the request, once, and gives everything back. */
static void an_error_below_is_the_requests(void **state)
{
	struct filter_world fw;
	struct opened top;
	struct fake base;
	uint8_t *buf = calloc(1, 4 * MIB);

	filter_world_start(&fw, 1);
	fake_init(&base, "base", SIZE);
	base.latency_ns = 20 * USEC_NS;
	assert_int_equal(fake_register(&fw.world, &base, NULL), 0);
	assert_int_equal(key_make(&fw, "key", KEY_3, KEY_4), 0);
	assert_int_equal(crypto_make(&fw, "secret", "key"), 0);
	opened_start(&fw, &top, "secret", 0);
	assert_int_equal(world_write(&fw.world, top.channel, buf, 0, 4 * MIB), 0);
	assert_int_equal(atomic_load(&base.submitted), 32);
	atomic_store(&base.io_status, -EIO);
	assert_int_equal(world_write(&fw.world, top.channel, buf, 0, 4 * MIB), -EIO);
	assert_int_equal(world_read(&fw.world, top.channel, buf, 0, 4 * MIB), -EIO);
	assert_true(atomic_load(&base.submitted) < 32 + 32);
	opened_end(&fw, &top);
	filter_world_end(&fw);
	free(buf);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_is_encrypted_as_the_standard_says),
		cmocka_unit_test(what_was_written_comes_back_whatever_the_vectors),
		cmocka_unit_test(zeroes_are_written_as_encrypted_data),
		cmocka_unit_test(another_key_reads_nothing_and_the_right_one_all),
		cmocka_unit_test(keys_that_are_none_are_refused),
		cmocka_unit_test(an_error_below_is_the_requests),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
