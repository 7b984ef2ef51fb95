/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys of encryption. They are in memory that is neither swapped out nor in core dumps as far as
 * the host allows it, they are overwritten before it is given back, and nothing tells them.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/crypto.h>

#include "base/log.h"
#include "filter/filter_impl.h"

static struct crypto_key *key_alloc(void)
{
	struct crypto_key *key = mmap(
		NULL, sizeof(*key), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (key == MAP_FAILED)
		return NULL;
	if (mlock(key, sizeof(*key)))
		log_warning("a key may be swapped out: no memory can be locked (RLIMIT_MEMLOCK)");
	madvise(key, sizeof(*key), MADV_DONTDUMP);
	return key;
}

static void key_free(struct crypto_key *key)
{
	free(key->name);
	OPENSSL_cleanse(key->bytes, sizeof(key->bytes));
	munmap(key, sizeof(*key));
}

static int digit_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit = (char)tolower((unsigned char)digit);
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool key_decode(const char *text, uint8_t *ret_bytes)
{
	for (size_t i = 0; text[i]; i += 2) {
		int high = digit_value(text[i]);
		int low = high < 0 ? -1 : digit_value(text[i + 1]);

		if (low < 0)
			return false;
		ret_bytes[i / 2] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static int key_fill(
	struct crypto_key *key, const struct crypto_key_options *options, struct reason *reason)
{
	size_t length = strlen(options->key) / 2;

	if (strlen(options->key) != 32 && strlen(options->key) != 64)
		return reason_set(reason, -EINVAL,
			"a key of AES-XTS is 32 or 64 hexadecimal digits, for each of its halves");
	if (!options->key2 || strlen(options->key2) != strlen(options->key))
		return reason_set(
			reason, -EINVAL, "key2, the key's second half, must be as long as key");
	if (!key_decode(options->key, key->bytes) ||
		!key_decode(options->key2, key->bytes + length))
		return reason_set(reason, -EINVAL, "a key is written in hexadecimal digits");
	if (CRYPTO_memcmp(key->bytes, key->bytes + length, length) == 0)
		return reason_set(reason, -EINVAL, "the halves of a key must differ");
	key->length = (unsigned)length * 2;
	return 0;
}

struct crypto_key *crypto_key_find(struct filters *filters, const char *name)
{
	struct crypto_key *key;

	list_for_each_entry (key, &filters->keys, link)
		if (strcmp(key->name, name) == 0)
			return key;
	return NULL;
}

int crypto_key_create(
	struct filters *filters, const struct crypto_key_options *options, struct reason *reason)
{
	struct crypto_key *key;
	int rc;

	if (crypto_key_find(filters, options->name))
		return reason_set(
			reason, -EEXIST, "there is a key %s: choose another name", options->name);
	key = key_alloc();
	if (!key)
		return -ENOMEM;
	rc = key_fill(key, options, reason);
	key->name = strdup(options->name);
	if (!rc && !key->name)
		rc = -ENOMEM;
	if (rc) {
		key_free(key);
		return rc;
	}
	list_add_tail(&filters->keys, &key->link);
	return 0;
}

int crypto_key_destroy(struct filters *filters, const char *name, struct reason *reason)
{
	struct crypto_key *key = crypto_key_find(filters, name);

	if (!key)
		return reason_set(reason, -ENOENT, "there is no key %s", name);
	if (key->users)
		return reason_set(reason, -EBUSY,
			"the key %s is used by %u devices: delete them first", name, key->users);
	list_remove(&key->link);
	key_free(key);
	return 0;
}

bool crypto_key_exists(struct filters *filters, const char *name)
{
	return crypto_key_find(filters, name) != NULL;
}

void crypto_key_for_each(
	struct filters *filters, void (*fn)(const char *name, void *arg), void *arg)
{
	const struct crypto_key *key;

	list_for_each_entry (key, &filters->keys, link)
		fn(key->name, arg);
}

void crypto_keys_free(struct filters *filters)
{
	struct crypto_key *key, *next;

	list_for_each_entry_safe (key, next, &filters->keys, link) {
		invariant(key->users == 0);
		list_remove(&key->link);
		key_free(key);
	}
}
