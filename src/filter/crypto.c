/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device whose data is encrypted on the one below: AES-XTS (IEEE 1619), each logical block by
 * itself, its number the tweak (64 bits, little endian, the rest zero). An image is the same as one
 * of SPDK's with the tweak mode SIMPLE_LBA.
 *
 * READ, WRITE and WRITE_ZEROES are cut into pieces, a few of them at a time under way. A piece has
 * a buffer of its own for what is, or will be, on the device below; ciphers go from the guest's
 * memory to it and back, so a guest sees nothing encrypted, and there is no copy beside the cipher.
 *
 *	WRITE	buffer --encrypt--> write below --> done
 *	READ	buffer, read below --> decrypt --> done
 *
 * A piece is encrypted or decrypted at once while the turn has time and no other one waits;
 * otherwise by a poller, block after block, a share of each turn.
 *
 * UNMAP goes down, and what is read afterwards is anything: zeroes below are none here. FUA is each
 * piece's.
 */
#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#include "core/poller.h"
#include "filter/filter_impl.h"

#define CRYPTO_PIECE_BYTES (128 * KIB)
#define CRYPTO_PIECES_MAX  8 /* of a request, at a time */
#define CRYPTO_SHORT_BYTES (16 * KIB) /* done at once if there is time */
#define CRYPTO_STEP_BYTES  (16 * KIB) /* between two looks at the time */
#define CRYPTO_BLOCK_MAX   4096

struct crypto {
	struct filter filter;
	struct crypto_key *key;
};

struct crypto_channel {
	struct filter_channel filter;
	struct bdev_channel *channel;
	EVP_CIPHER_CTX *encrypt;
	EVP_CIPHER_CTX *decrypt;
	struct poller poller;
	struct list work; /* pieces to be encrypted or decrypted */
};

struct crypto_cursor {
	const struct iovec *iov;
	size_t skip;
};

struct crypto_piece {
	struct bdev_io io; /* to the device below */
	struct iovec iov;
	struct bdev_io *of;
	struct list link;
	struct crypto_cursor cursor; /* where its data is in the guest's memory */
	enum slab_class class;
	uint8_t *buffer;
	uint64_t offset; /* on this device */
	uint32_t length;
	uint32_t progress;
};

_Static_assert(sizeof(struct crypto_piece) <= 512, "fits in a SLAB_512");

/* In the backend's part of a request. */
struct crypto_io {
	struct slab_waiter waiter;
	struct crypto_cursor cursor; /* of the next piece */
	uint64_t at; /* pieces have begun up to here */
	unsigned pending;
	int status; /* the first error */
	bool waits;
	bool advancing;
};

_Static_assert(sizeof(struct crypto_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");

static struct crypto *crypto_of(const struct filter *filter)
{
	return container_of((struct filter *)(uintptr_t)filter, struct crypto, filter);
}

static struct crypto_channel *crypto_channel_of(struct bdev_channel *channel)
{
	return (struct crypto_channel *)channel->backend;
}

static struct crypto_io *crypto_io_of(struct bdev_io *io)
{
	return (struct crypto_io *)io->backend.bytes;
}

/* ---- blocks -------------------------------------------------------------------------------- */

static void cursor_skip(struct crypto_cursor *cursor, size_t bytes)
{
	while (bytes > 0) {
		size_t part = u64_min(bytes, cursor->iov->iov_len - cursor->skip);

		cursor->skip += part;
		bytes -= part;
		if (cursor->skip == cursor->iov->iov_len) {
			cursor->iov++;
			cursor->skip = 0;
		}
	}
}

/* Memory of so many bytes in one piece, or NULL. */
static uint8_t *cursor_straight(const struct crypto_cursor *cursor, size_t bytes)
{
	if (cursor->iov->iov_len - cursor->skip < bytes)
		return NULL;
	return (uint8_t *)cursor->iov->iov_base + cursor->skip;
}

/* Between its memory and ours. */
static void cursor_copy(struct crypto_cursor cursor, uint8_t *bytes, size_t length, bool from)
{
	while (length > 0) {
		size_t part = u64_min(length, cursor.iov->iov_len - cursor.skip);
		uint8_t *memory = (uint8_t *)cursor.iov->iov_base + cursor.skip;

		memcpy(from ? bytes : memory, from ? memory : bytes, part);
		bytes += part;
		length -= part;
		cursor_skip(&cursor, part);
	}
}

static int block_cipher(
	EVP_CIPHER_CTX *context, uint64_t lba, uint8_t *to, const uint8_t *from, uint32_t length)
{
	uint8_t tweak[16] = {0};
	int done;

	for (unsigned i = 0; i < 8; i++)
		tweak[i] = (uint8_t)(lba >> (8 * i));
	if (EVP_CipherInit_ex(context, NULL, NULL, NULL, tweak, -1) != 1 ||
		EVP_CipherUpdate(context, to, &done, from, (int)length) != 1)
		return -EIO;
	return 0;
}

static int block_encrypt(
	struct crypto_channel *own, struct crypto_piece *piece, uint64_t lba, uint32_t length)
{
	uint8_t *to = piece->buffer + piece->progress;
	const uint8_t *from;

	if (piece->of->type == BDEV_IO_WRITE_ZEROES) {
		memset(to, 0, length);
		return block_cipher(own->encrypt, lba, to, to, length);
	}
	from = cursor_straight(&piece->cursor, length);
	if (!from) {
		cursor_copy(piece->cursor, to, length, true);
		from = to;
	}
	cursor_skip(&piece->cursor, length);
	return block_cipher(own->encrypt, lba, to, from, length);
}

static int block_decrypt(
	struct crypto_channel *own, struct crypto_piece *piece, uint64_t lba, uint32_t length)
{
	uint8_t *from = piece->buffer + piece->progress;
	uint8_t *to = cursor_straight(&piece->cursor, length);
	int rc = block_cipher(own->decrypt, lba, to ? to : from, from, length);

	if (!to)
		cursor_copy(piece->cursor, from, length, false);
	cursor_skip(&piece->cursor, length);
	return rc;
}

/* ---- pieces -------------------------------------------------------------------------------- */

static void crypto_advance(struct bdev_io *io);

static void piece_end(struct crypto_piece *piece, int status)
{
	struct bdev_io *io = piece->of;
	struct crypto_io *state = crypto_io_of(io);
	struct reactor *reactor = io->channel->reactor;

	slab_put(reactor, piece->class, piece->buffer);
	slab_put(reactor, SLAB_512, piece);
	state->pending--;
	if (status && !state->status)
		state->status = status;
	crypto_advance(io);
}

/* Some blocks; the piece may be gone afterwards. Returns how many bytes. */
static uint32_t piece_work(struct crypto_channel *own, struct crypto_piece *piece, uint32_t most)
{
	uint32_t block = own->channel->bdev->block_size;
	uint32_t done = 0;
	int rc = 0;

	for (; !rc && done < most && piece->progress < piece->length; done += block) {
		uint64_t lba = (piece->offset + piece->progress) / block;

		rc = piece->of->type == BDEV_IO_READ ? block_decrypt(own, piece, lba, block)
						     : block_encrypt(own, piece, lba, block);
		piece->progress += block;
	}
	if (!rc && piece->progress < piece->length)
		return done;
	list_remove(&piece->link);
	if (rc || piece->of->type == BDEV_IO_READ)
		piece_end(piece, rc);
	else
		bdev_submit(own->filter.base, &piece->io);
	return done;
}

static void piece_cipher(struct crypto_channel *own, struct crypto_piece *piece)
{
	bool first = list_is_empty(&own->work);

	piece->progress = 0;
	list_add_tail(&own->work, &piece->link);
	if (first && piece->length <= CRYPTO_SHORT_BYTES &&
		reactor_has_time(own->channel->reactor, (unsigned)(piece->length / KIB)))
		piece_work(own, piece, piece->length);
	else
		poller_wake(&own->poller);
}

static void piece_done(struct bdev_io *io)
{
	struct crypto_piece *piece = container_of(io, struct crypto_piece, io);

	if (!io->status && piece->of->type == BDEV_IO_READ)
		piece_cipher(crypto_channel_of(piece->of->channel), piece);
	else
		piece_end(piece, io->status);
}

static struct poll_result crypto_poll(struct poller *poller, struct poll_budget budget)
{
	struct crypto_channel *own = container_of(poller, struct crypto_channel, poller);
	struct poll_result result = {0};

	while (!list_is_empty(&own->work) && result.bytes < budget.bytes &&
		result.requests < budget.requests) {
		struct crypto_piece *piece =
			list_first_entry(&own->work, struct crypto_piece, link);
		uint32_t bytes = piece_work(own, piece, CRYPTO_STEP_BYTES);

		result.bytes += bytes;
		result.requests++;
		if (!reactor_has_time(poller->reactor, (unsigned)(bytes / KIB)))
			break;
	}
	result.more = !list_is_empty(&own->work);
	return result;
}

static bool crypto_sleep(struct poller *poller)
{
	return list_is_empty(&container_of(poller, struct crypto_channel, poller)->work);
}

static void crypto_wake(struct poller *poller)
{
}

static const struct poller_ops crypto_poller_ops = {
	.poll = crypto_poll,
	.sleep = crypto_sleep,
	.wake = crypto_wake,
};

/* ---- requests ------------------------------------------------------------------------------ */

static void crypto_slab_ready(struct slab_waiter *waiter)
{
	struct crypto_io *state = container_of(waiter, struct crypto_io, waiter);
	struct bdev_io *io = container_of((uint8_t *)state, struct bdev_io, backend.bytes);

	state->waits = false;
	crypto_advance(io);
}

static void crypto_wait(struct bdev_io *io, enum slab_class class)
{
	struct crypto_io *state = crypto_io_of(io);

	state->waits = true;
	state->waiter.ready = crypto_slab_ready;
	slab_wait(io->channel->reactor, class, &state->waiter);
}

/* NULL: the request waits for memory. */
static struct crypto_piece *piece_create(struct bdev_io *io, uint32_t length)
{
	struct reactor *reactor = io->channel->reactor;
	struct crypto_piece *piece = slab_get(reactor, SLAB_512);
	enum slab_class class = slab_class_for(u64_max(length, slab_object_size(SLAB_4K)));

	if (!piece) {
		crypto_wait(io, SLAB_512);
		return NULL;
	}
	piece->buffer = slab_get(reactor, class);
	if (!piece->buffer) {
		slab_put(reactor, SLAB_512, piece);
		crypto_wait(io, class);
		return NULL;
	}
	piece->class = class;
	return piece;
}

static bool crypto_begin_piece(struct crypto_channel *own, struct bdev_io *io)
{
	struct crypto_io *state = crypto_io_of(io);
	uint32_t length = (uint32_t)u64_min(io->length - state->at, CRYPTO_PIECE_BYTES);
	struct crypto_piece *piece = piece_create(io, length);

	if (!piece)
		return false;
	piece->of = io;
	piece->offset = io->offset + state->at;
	piece->length = length;
	piece->cursor = state->cursor;
	piece->iov = (struct iovec){piece->buffer, length};
	piece->io = (struct bdev_io){
		.type = io->type == BDEV_IO_READ ? BDEV_IO_READ : BDEV_IO_WRITE,
		.flags = io->flags & BDEV_IO_FUA,
		.iov = &piece->iov,
		.iovcnt = 1,
		.offset = piece->offset,
		.length = length,
		.done = piece_done,
	};
	if (io->type != BDEV_IO_WRITE_ZEROES)
		cursor_skip(&state->cursor, length);
	state->at += length;
	state->pending++;
	if (io->type == BDEV_IO_READ)
		bdev_submit(own->filter.base, &piece->io);
	else
		piece_cipher(own, piece);
	return true;
}

/* Called again by what it begins: the outermost goes on. */
static void crypto_advance(struct bdev_io *io)
{
	struct crypto_channel *own = crypto_channel_of(io->channel);
	struct crypto_io *state = crypto_io_of(io);

	if (state->advancing || state->waits)
		return;
	state->advancing = true;
	while (state->at < io->length && !state->status && state->pending < CRYPTO_PIECES_MAX)
		if (!crypto_begin_piece(own, io))
			break;
	state->advancing = false;
	if (!state->pending && !state->waits)
		bdev_io_complete(io, state->status);
}

static void crypto_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	if (io->type != BDEV_IO_READ && io->type != BDEV_IO_WRITE &&
		io->type != BDEV_IO_WRITE_ZEROES) {
		filter_send(channel, io, bdev_io_complete);
		return;
	}
	*crypto_io_of(io) = (struct crypto_io){.cursor.iov = io->iov};
	crypto_advance(io);
}

/* ---- channels ------------------------------------------------------------------------------ */

static EVP_CIPHER_CTX *cipher_create(const struct crypto_key *key, int encrypts)
{
	const EVP_CIPHER *cipher = key->length == 64 ? EVP_aes_256_xts() : EVP_aes_128_xts();
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	if (context && EVP_CipherInit_ex(context, cipher, NULL, key->bytes, NULL, encrypts) != 1) {
		EVP_CIPHER_CTX_free(context);
		return NULL;
	}
	return context;
}

static int crypto_channel_init(struct bdev_channel *channel)
{
	struct crypto_channel *own = crypto_channel_of(channel);
	const struct crypto_key *key = crypto_of(filter_part_of(channel->bdev)->filter)->key;

	own->channel = channel;
	list_init(&own->work);
	own->encrypt = cipher_create(key, 1);
	own->decrypt = cipher_create(key, 0);
	if (!own->encrypt || !own->decrypt) {
		EVP_CIPHER_CTX_free(own->encrypt);
		EVP_CIPHER_CTX_free(own->decrypt);
		return -ENOMEM;
	}
	poller_start(channel->reactor, &own->poller, &crypto_poller_ops);
	return 0;
}

static void crypto_channel_fini(struct bdev_channel *channel)
{
	struct crypto_channel *own = crypto_channel_of(channel);

	invariant(list_is_empty(&own->work));
	poller_stop(&own->poller);
	EVP_CIPHER_CTX_free(own->encrypt);
	EVP_CIPHER_CTX_free(own->decrypt);
}

/* ---- the control reactor ------------------------------------------------------------------- */

static bool crypto_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return filter_supports(bdev, type == BDEV_IO_WRITE_ZEROES ? BDEV_IO_WRITE : type);
}

static int crypto_fit(struct filter *filter, const struct bdev *base, struct reason *reason)
{
	if (base->block_size > CRYPTO_BLOCK_MAX)
		return reason_set(reason, -EINVAL,
			"%s has blocks of %u bytes: those that are encrypted have %u at most",
			base->name, base->block_size, CRYPTO_BLOCK_MAX);
	return filter_fit_all(filter, base, reason);
}

static json_t *crypto_describe(const struct bdev *bdev)
{
	const struct filter *filter = filter_part_of(bdev)->filter;

	return json_pack("{s:{s:s, s:s, s:s}}", "crypto", "base_bdev_name", filter->base.bdev->name,
		"name", filter->name, "key_name", crypto_of(filter)->key->name);
}

static void crypto_fini(struct filter *filter)
{
	if (crypto_of(filter)->key)
		crypto_of(filter)->key->users--;
}

static const struct bdev_ops crypto_ops = {
	.product_name = "crypto",
	.module = "crypto",
	.submit = crypto_submit,
	.channel_size = sizeof(struct crypto_channel),
	.channel_init = crypto_channel_init,
	.channel_fini = crypto_channel_fini,
	.channel_prepare = filter_channel_prepare,
	.channel_release = filter_channel_release,
	.supports = crypto_supports,
	.describe = crypto_describe,
	.destroy = filter_part_destroy,
};

static const struct bdev_user_ops crypto_user_ops = FILTER_USER_OPS("crypto");

static const struct filter_kind crypto_kind = {
	.type = FILTER_CRYPTO,
	.namespace = "078e3cf7-f4b4-4545-b2c3-d40045a64ae2",
	.text = "crypto",
	.ops = &crypto_ops,
	.user_ops = &crypto_user_ops,
	.cuts_bytes = CRYPTO_PIECE_BYTES,
	.fit = crypto_fit,
	.fini = crypto_fini,
};

void crypto_create(struct filters *filters, const struct filter_options *options,
	const char *key_name, struct reason *reason, done_fn done, void *arg)
{
	struct crypto_key *key = crypto_key_find(filters, key_name);
	struct filter *filter = NULL;
	int rc = key ? 0 : reason_set(reason, -ENOENT, "there is no key %s", key_name);

	if (!rc) {
		filter = filter_alloc(filters, &crypto_kind, sizeof(struct crypto), options, 1);
		rc = filter ? filter_name_part(filter, 0, options->name, reason) : -ENOMEM;
	}
	if (filter) {
		crypto_of(filter)->key = key;
		key->users++;
	}
	filter_start(filters, filter, rc, reason, done, arg);
}

const char *crypto_key_name(const struct filter *filter)
{
	return crypto_of(filter)->key->name;
}
