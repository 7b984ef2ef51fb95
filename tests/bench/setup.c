/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From options to guests that are ready to run: connections, sizes of the disks, guest memory and
 * queues. A guest whose queues are all idle sends nothing, not even to ask for its disk's size.
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/bench.h"

int bench_fail(struct bench *bench, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(bench->why, sizeof(bench->why), format, args);
	va_end(args);
	return rc;
}

static bool is_scsi(const struct bench *bench)
{
	return bench->options.bus == FE_BUS_SCSI;
}

/* ---- connection ---- */

uint32_t role_ring_size(const struct role_options *options)
{
	uint32_t need = options->depth, size = 128;

	if (options->ring_size)
		return options->ring_size;
	if (!options->indirect)
		need *= CHAIN_SLOTS;
	while (size < need)
		size *= 2;
	return size;
}

static uint64_t memory_size(const struct role_options *options)
{
	uint64_t data_stride = (options->block_size + 4095ull) & ~4095ull;
	uint64_t request = data_stride + SCSI_STRIDE + 64;
	uint64_t ring = role_ring_size(options) * 40ull + 4096;
	uint64_t need = (request * options->depth + ring) * options->queues;

	/* Room for control and event rings, the setup's own requests and alignment. */
	need += (options->idle_queues + 2) * ring + (8ull << 20);
	if (options->memory > need)
		need = options->memory;
	return (need + 4095) & ~4095ull;
}

/* The socket's path with the guest's number for %u. */
static int guest_path(struct bench *bench, uint32_t number, char *path, size_t size)
{
	const char *pattern = bench->options.socket;
	const char *mark = strstr(pattern, "%u");
	int len;

	if (!mark && bench->guest_count > 1)
		return bench_fail(bench, -EINVAL,
			"several guests need a socket each: put %%u for the guest's number into %s",
			pattern);
	if (mark)
		len = snprintf(
			path, size, "%.*s%u%s", (int)(mark - pattern), pattern, number, mark + 2);
	else
		len = snprintf(path, size, "%s", pattern);
	if (len < 0 || (size_t)len >= size)
		return bench_fail(bench, -ENAMETOOLONG, "%s is too long for a socket", pattern);
	return 0;
}

static int check_ring(struct bench *bench, const struct role_options *options)
{
	uint32_t size = role_ring_size(options);
	bool packed = bench->options.packed;

	if (size > FE_RING_MAX || (!packed && (size & (size - 1))))
		return bench_fail(bench, -EINVAL, "a ring of %u entries does not do", size);
	if (size < options->depth * (options->indirect ? 1 : packed ? 3 : CHAIN_SLOTS))
		return bench_fail(
			bench, -EINVAL, "%u entries do not hold %u requests", size, options->depth);
	return 0;
}

static int check_features(struct bench *bench, const struct bench_guest *guest, uint32_t rings)
{
	const struct fe *fe = guest->fe;

	if (bench->options.packed && !(fe->features & FE_F_PACKED))
		return bench_fail(bench, -ENOTSUP, "the target has no packed rings");
	if (guest->role->options->indirect && !(fe->features & FE_F_INDIRECT))
		return bench_fail(bench, -ENOTSUP, "the target has no indirect descriptors");
	if (fe->queue_num < rings)
		return bench_fail(bench, -ENOTSUP, "the target has %llu rings of the %u asked for",
			(unsigned long long)fe->queue_num, rings);
	return 0;
}

static int connect_guest(struct bench *bench, struct bench_guest *guest)
{
	const struct role_options *options = guest->role->options;
	char path[256] = "";
	struct fe_options wish = fe_options_default(bench->options.bus, path);
	int rc = check_ring(bench, options);

	if (!rc)
		rc = guest_path(bench, (uint32_t)(guest - bench->guest), path, sizeof(path));
	if (rc)
		return rc;
	wish.ring_count = options->queues + options->idle_queues +
			  (is_scsi(bench) ? FE_SCSI_RING_REQUEST : 0);
	wish.ring_size = role_ring_size(options);
	wish.memory_size = memory_size(options);
	wish.skip_inflight = bench->options.no_inflight;
	wish.notified = bench->options.notified;
	wish.timeout_ms = 10000;
	if (bench->options.packed)
		wish.features |= FE_F_PACKED;
	if (!bench->options.event_idx)
		wish.features &= ~FE_F_EVENT_IDX;
	rc = fe_open(&wish, &guest->fe);
	if (rc)
		return bench_fail(bench, rc, "%s", wish.why);
	guest->fe->options.path = NULL; /* was ours */
	return check_features(bench, guest, wish.ring_count);
}

/* ---- size of the disk ---- */

static int scsi_command(struct bench *bench, struct bench_guest *guest, const void *cdb,
	uint32_t cdb_len, void *in, uint32_t in_len, struct fe_scsi_response *ret_response)
{
	const struct role_options *options = guest->role->options;
	struct fe_ring *ring = guest->fe->ring[FE_SCSI_RING_REQUEST];
	struct fe_scsi request;
	int rc;

	fe_scsi_init(&request, (uint8_t)options->target, (uint16_t)options->lun, cdb, cdb_len, NULL,
		0, in, in_len);
	rc = fe_scsi_run(ring, &request, 10000);
	if (rc)
		return bench_fail(bench, rc, "a SCSI command got no answer: %s %s", strerror(-rc),
			ring->fault);
	*ret_response = request.response;
	return 0;
}

static int scsi_size(
	struct bench *bench, struct bench_guest *guest, uint64_t *ret_bytes, uint32_t *ret_unit)
{
	const struct role_options *options = guest->role->options;
	static const uint8_t test_unit_ready[6] = {0};
	static const uint8_t read_capacity[16] = {[0] = 0x9e, [1] = 0x10, [13] = 32};
	struct fe_scsi_response response = {.response = FE_SCSI_FAILURE};
	uint8_t answer[32];
	uint64_t last;
	uint32_t unit, tries;
	int rc;

	/* Unit attentions of a fresh nexus are reported first, one a command. */
	for (tries = 0; tries < 8; tries++) {
		rc = scsi_command(bench, guest, test_unit_ready, 6, NULL, 0, &response);
		if (rc)
			return rc;
		if (!response.response && !response.status)
			break;
	}
	if (response.response || response.status)
		return bench_fail(bench, -ENXIO,
			"target %u lun %u is not ready: response %u status %u", options->target,
			options->lun, response.response, response.status);
	rc = scsi_command(bench, guest, read_capacity, 16, answer, sizeof(answer), &response);
	if (rc)
		return rc;
	if (response.response || response.status)
		return bench_fail(bench, -EIO, "READ CAPACITY (16) failed with sense %06x",
			fe_scsi_sense(&response));
	memcpy(&last, answer, 8);
	memcpy(&unit, answer + 8, 4);
	*ret_unit = be32toh(unit);
	*ret_bytes = (be64toh(last) + 1) * *ret_unit;
	return 0;
}

static int find_size(struct bench *bench, struct bench_guest *guest)
{
	const struct role_options *options = guest->role->options;
	uint64_t bytes = guest->fe->config.capacity * 512;
	uint32_t unit = 512;
	int rc = 0;

	if (is_scsi(bench))
		rc = scsi_size(bench, guest, &bytes, &unit);
	if (rc)
		return rc;
	if (!unit || options->block_size % unit)
		return bench_fail(bench, -EINVAL, "blocks of %u bytes are no multiple of %u",
			options->block_size, unit);
	if (options->range && options->range < bytes)
		bytes = options->range;
	guest->blocks = bytes / options->block_size;
	guest->units = options->block_size / unit;
	if (!guest->blocks)
		return bench_fail(bench, -EINVAL, "the disk is smaller than one block");
	if (is_scsi(bench) && guest->blocks * guest->units > UINT32_MAX)
		return bench_fail(bench, -E2BIG, "READ (10) does not reach that far: use --range");
	return 0;
}

/* ---- all ---- */

static int open_guest(struct bench *bench, struct bench_guest *guest)
{
	const struct role_options *options = guest->role->options;
	int rc = connect_guest(bench, guest);
	uint32_t i;

	if (rc || !options->queues)
		return rc;
	rc = find_size(bench, guest);
	for (i = 0; i < options->queues && !rc; i++)
		rc = queue_create(bench, guest, i);
	if (!rc && options->verify)
		rc = verify_create(bench, guest);
	return rc;
}

static void init_role(struct bench *bench, uint32_t index)
{
	const struct role_options *options = &bench->options.role[index];
	struct bench_role *role = &bench->role[index];

	role->options = options;
	role->first_guest = bench->guest_count;
	role->random = options->mode != MODE_READ && options->mode != MODE_WRITE;
	role->mix = options->mode == MODE_MIX;
	role->open = options->interarrival_us > 0;
	role->read_threshold = (uint32_t)(options->read_share * UINT64_C(0xffffffff) / 100);
	bench->guest_count += options->guests;
	bench->queue_count += options->guests * options->queues;
	bench->open |= role->open;
}

/* Each guest has a handful of descriptors, and some more for each ring. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int bench_open(struct bench *bench)
{
	uint32_t i, j, guests = 0, queues = 0;
	int rc = 0;

	for (i = 0; i < bench->options.role_count; i++)
		init_role(bench, i);
	raise_descriptor_limit();
	bench->guest = calloc(bench->guest_count, sizeof(*bench->guest));
	bench->queue = calloc(bench->queue_count + 1, sizeof(*bench->queue));
	if (!bench->guest || !bench->queue)
		return bench_fail(bench, -ENOMEM, "no memory for %u guests", bench->guest_count);
	for (i = 0; i < bench->options.role_count && !rc; i++) {
		struct bench_role *role = &bench->role[i];

		for (j = 0; j < role->options->guests && !rc; j++) {
			struct bench_guest *guest = &bench->guest[guests++];

			guest->role = role;
			guest->queue = &bench->queue[queues];
			queues += role->options->queues;
			rc = open_guest(bench, guest);
		}
	}
	return rc;
}

void bench_close(struct bench *bench)
{
	uint32_t i;

	for (i = 0; bench->queue && i < bench->queue_count; i++)
		queue_destroy(&bench->queue[i]);
	for (i = 0; bench->guest && i < bench->guest_count; i++) {
		verify_destroy(&bench->guest[i]);
		if (bench->guest[i].fe)
			fe_close(bench->guest[i].fe);
	}
	free(bench->queue);
	free(bench->guest);
	free(bench->drain);
}
