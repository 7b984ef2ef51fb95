/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order in which known front-ends send their messages: QEMU 7.2 and 10 as seen on the wire,
 * cloud-hypervisor and libblkio as their sources have it. A back-end may rely on none of it.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "frontend/frontend.h"
#include "frontend/frontend_impl.h"

#define QEMU_BLK_CONFIG_SIZE 57u /* with discard and write-zeroes */

static bool is_qemu(const struct fe *fe)
{
	return fe->options.order == FE_QEMU_7_2 || fe->options.order == FE_QEMU_10;
}

static uint64_t agreed_features(const struct fe *fe)
{
	const struct fe_options *options = &fe->options;
	uint64_t unasked = 0;

	if (options->bus == FE_BUS_SCSI)
		unasked = FE_F_VERSION_1 | FE_F_ANY_LAYOUT | FE_SCSI_F_CHANGE;
	return (options->features & (fe->offered | unasked)) | options->force_features;
}

/* ---- negotiation ---- */

static int negotiate_protocol(struct fe *fe)
{
	int rc;

	fe->queue_num = 1;
	fe->mem_slots = 8;
	if (!(fe->offered & FE_F_PROTOCOL_FEATURES))
		return 0;
	rc = fe_get_u64(fe, FE_GET_PROTOCOL_FEATURES, &fe->protocol_offered);
	if (rc)
		return rc;
	fe->protocol_features = (fe->options.protocol_features & fe->protocol_offered) |
				fe->options.force_protocol_features;
	rc = fe_set_u64(fe, FE_SET_PROTOCOL_FEATURES, fe->protocol_features);
	if (!rc && fe->protocol_features & FE_PF_MQ)
		rc = fe_get_u64(fe, FE_GET_QUEUE_NUM, &fe->queue_num);
	if (!rc && fe->protocol_features & FE_PF_MEM_SLOTS)
		rc = fe_get_u64(fe, FE_GET_MAX_MEM_SLOTS, &fe->mem_slots);
	return rc;
}

/* QEMU gives every ring a call and an error fd at once. The call fd is a placeholder. */
static int send_placeholders(struct fe *fe)
{
	int call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = call_fd < 0 ? -errno : 0;
	uint32_t i;

	for (i = 0; i < fe->ring_count && !rc; i++) {
		rc = fe_set_vring_fd(fe, FE_SET_VRING_CALL, i, call_fd);
		if (!rc)
			rc = fe_set_vring_fd(fe, FE_SET_VRING_ERR, i, fe->err_fd[i]);
	}
	if (call_fd >= 0)
		close(call_fd);
	return rc;
}

static bool resets_device(const struct fe *fe)
{
	if (!(fe->protocol_features & FE_PF_RESET_DEVICE) || !is_qemu(fe))
		return false;
	return fe->options.bus == FE_BUS_SCSI || fe->options.order == FE_QEMU_10;
}

static int read_blk_config(struct fe *fe)
{
	if (fe->options.bus != FE_BUS_BLK || !(fe->protocol_features & FE_PF_CONFIG))
		return 0;
	return fe_get_config(fe, 0, QEMU_BLK_CONFIG_SIZE, &fe->config);
}

static int negotiate_qemu(struct fe *fe, bool again)
{
	int rc = fe_get_u64(fe, FE_GET_FEATURES, &fe->offered);

	if (!rc)
		rc = negotiate_protocol(fe);
	if (!rc && fe->protocol_features & FE_PF_BACKEND_REQ)
		rc = fe_back_open(fe);
	if (!rc)
		rc = fe_set_empty(fe, FE_SET_OWNER);
	if (!rc)
		rc = fe_get_u64(fe, FE_GET_FEATURES, &fe->offered);
	if (!rc)
		rc = send_placeholders(fe);
	if (!rc && !again)
		rc = read_blk_config(fe);
	if (!rc && !again && resets_device(fe))
		rc = fe_set_empty(fe, FE_RESET_DEVICE);
	return rc;
}

static int negotiate_others(struct fe *fe)
{
	int rc = fe_set_empty(fe, FE_SET_OWNER);

	if (!rc)
		rc = fe_get_u64(fe, FE_GET_FEATURES, &fe->offered);
	if (!rc && fe->options.order == FE_LIBBLKIO)
		rc = fe_set_features(fe, agreed_features(fe));
	if (!rc)
		rc = negotiate_protocol(fe);
	if (!rc)
		rc = read_blk_config(fe);
	return rc;
}

static int negotiate(struct fe *fe, bool again)
{
	uint32_t i;

	fe->protocol_features = 0;
	fe->features_acknowledged = false;
	for (i = 0; i < FE_MAX_REGIONS; i++)
		fe->announced[i] = false;
	for (i = 0; i < fe->ring_count; i++) {
		fe->started[i] = fe->enabled[i] = false;
		if (fe->err_fd[i] < 0)
			fe->err_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fe->err_fd[i] < 0)
			return fe_conn_fail(&fe->conn, -errno, "no eventfd to be had");
	}
	return is_qemu(fe) ? negotiate_qemu(fe, again) : negotiate_others(fe);
}

int fe_negotiate(struct fe *fe)
{
	return negotiate(fe, false);
}

/* ---- start ---- */

static bool is_configured(const struct fe *fe, uint32_t index)
{
	uint32_t bits = fe->options.configured_rings;

	return !bits || index >= 32 || bits & 1u << index;
}

int fe_create_rings(struct fe *fe)
{
	uint64_t features = fe->features_acknowledged ? fe->features : agreed_features(fe);
	struct fe_ring_options options = {
		.size = fe->options.ring_size,
		.packed = features & FE_F_PACKED,
		.event_idx = features & FE_F_EVENT_IDX,
		.notified = fe->options.notified,
	};
	uint32_t i;
	int rc;

	for (i = 0; i < fe->ring_count; i++) {
		if (fe->ring[i] || !is_configured(fe, i))
			continue;
		rc = fe_ring_create(&fe->memory, &options, &fe->ring[i]);
		if (rc)
			return fe_conn_fail(&fe->conn, rc, "no room for ring %u of %u entries", i,
				options.size);
		fe->base[i] = fe_ring_base(fe->ring[i]);
	}
	return 0;
}

static int start_inflight(struct fe *fe, bool always_new)
{
	int rc = 0;

	if (!(fe->protocol_features & FE_PF_INFLIGHT_SHMFD) || fe->options.skip_inflight)
		return 0;
	if (fe->inflight.fd < 0 || always_new)
		rc = fe_inflight_get(fe);
	return rc ? rc : fe_inflight_set(fe);
}

static int send_calls(struct fe *fe)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < fe->ring_count && !rc; i++)
		if (fe->ring[i])
			rc = fe_set_vring_fd(fe, FE_SET_VRING_CALL, i, fe->ring[i]->call_fd);
	return rc;
}

static int send_kick(struct fe *fe, uint32_t index)
{
	int rc;

	/* QEMU's eventfds are created signalled. */
	if (is_qemu(fe))
		fe_ring_kick_always(fe->ring[index]);
	rc = fe_set_vring_fd(fe, FE_SET_VRING_KICK, index, fe->ring[index]->kick_fd);
	if (!rc)
		fe->started[index] = true;
	return rc;
}

static int enable_all(struct fe *fe, bool on)
{
	uint32_t i;
	int rc = 0;

	if (!(fe->features & FE_F_PROTOCOL_FEATURES))
		return 0;
	for (i = 0; i < fe->ring_count && !rc; i++)
		rc = fe_enable_ring(fe, i, on);
	return rc;
}

static int start_rings_qemu(struct fe *fe)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < fe->ring_count && !rc; i++) {
		if (!fe->ring[i])
			continue;
		rc = fe_set_vring_state(fe, FE_SET_VRING_NUM, i, fe->ring[i]->size);
		if (!rc)
			rc = fe_set_vring_state(fe, FE_SET_VRING_BASE, i, fe->base[i]);
		if (!rc)
			rc = fe_set_vring_addr(fe, i, fe->logging);
		if (!rc)
			rc = send_kick(fe, i);
	}
	return rc ? rc : enable_all(fe, true);
}

static int start_qemu(struct fe *fe, bool again)
{
	uint64_t word = agreed_features(fe) | (fe->logging ? FE_F_LOG_ALL : 0);
	bool scsi = fe->options.bus == FE_BUS_SCSI;
	bool old_scsi = scsi && fe->options.order == FE_QEMU_7_2;
	int rc = 0;

	if (old_scsi)
		rc = start_inflight(fe, !again);
	if (!rc)
		rc = fe_set_features(fe, word);
	if (!rc && !old_scsi)
		rc = start_inflight(fe, false);
	if (!rc && !scsi)
		rc = send_calls(fe);
	if (!rc && !old_scsi)
		rc = fe_set_features(fe, word);
	if (!rc)
		rc = fe_memory_announce(fe);
	if (!rc)
		rc = start_rings_qemu(fe);
	if (!rc && scsi)
		rc = send_calls(fe);
	return rc;
}

static int start_ring_cloud_hypervisor(struct fe *fe, uint32_t i)
{
	int rc = fe_set_vring_addr(fe, i, fe->logging);

	if (!rc)
		rc = fe_set_vring_state(fe, FE_SET_VRING_BASE, i, fe->base[i]);
	if (!rc)
		rc = fe_set_vring_fd(fe, FE_SET_VRING_CALL, i, fe->ring[i]->call_fd);
	if (!rc)
		rc = send_kick(fe, i);
	if (!rc)
		rc = fe_enable_ring(fe, i, true);
	return rc;
}

static int start_cloud_hypervisor(struct fe *fe)
{
	int rc = fe_set_features(fe, agreed_features(fe));
	uint32_t i;

	if (!rc)
		rc = fe_set_mem_table(fe);
	for (i = 0; i < fe->ring_count && !rc; i++)
		if (fe->ring[i])
			rc = fe_set_vring_state(fe, FE_SET_VRING_NUM, i, fe->ring[i]->size);
	if (!rc)
		rc = start_inflight(fe, false);
	for (i = 0; i < fe->ring_count && !rc; i++)
		if (fe->ring[i])
			rc = start_ring_cloud_hypervisor(fe, i);
	if (!rc && fe->protocol_features & FE_PF_BACKEND_REQ)
		rc = fe_back_open(fe);
	return rc;
}

static int start_ring_libblkio(struct fe *fe, uint32_t i)
{
	int rc = fe_set_vring_state(fe, FE_SET_VRING_NUM, i, fe->ring[i]->size);

	if (!rc)
		rc = fe_set_vring_state(fe, FE_SET_VRING_BASE, i, fe->base[i]);
	if (!rc)
		rc = fe_set_vring_addr(fe, i, false);
	if (!rc)
		rc = send_kick(fe, i);
	if (!rc)
		rc = fe_set_vring_fd(fe, FE_SET_VRING_CALL, i, fe->ring[i]->call_fd);
	if (!rc)
		rc = fe_enable_ring(fe, i, true);
	return rc;
}

static int start_libblkio(struct fe *fe)
{
	int rc = fe_memory_announce(fe);
	uint32_t i;

	for (i = 0; i < fe->ring_count && !rc; i++)
		if (fe->ring[i])
			rc = start_ring_libblkio(fe, i);
	return rc;
}

static int start(struct fe *fe, bool again)
{
	switch (fe->options.order) {
	case FE_CLOUD_HYPERVISOR:
		return start_cloud_hypervisor(fe);
	case FE_LIBBLKIO:
		return start_libblkio(fe);
	default:
		return start_qemu(fe, again);
	}
}

int fe_start(struct fe *fe)
{
	return start(fe, false);
}

/* ---- stop, reset, reconnect ---- */

int fe_stop(struct fe *fe)
{
	int rc = enable_all(fe, false);
	uint32_t i;

	for (i = 0; i < fe->ring_count && !rc; i++)
		if (fe->ring[i])
			rc = fe_stop_ring(fe, i);
	return rc;
}

int fe_reset(struct fe *fe)
{
	bool running = false;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < fe->ring_count; i++)
		running |= fe->started[i];
	if (running)
		rc = fe_stop(fe);
	if (!rc && resets_device(fe))
		rc = fe_set_empty(fe, FE_RESET_DEVICE);
	if (rc)
		return rc;
	for (i = 0; i < fe->ring_count; i++) {
		if (fe->ring[i])
			fe_ring_destroy(fe->ring[i]);
		fe->ring[i] = NULL;
		fe->base[i] = 0;
		fe->enabled[i] = false;
	}
	fe_inflight_close(fe);
	/* libblkio acknowledges once a connection, in its negotiation. */
	if (fe->options.order != FE_LIBBLKIO)
		fe->features_acknowledged = false;
	return 0;
}

void fe_disconnect(struct fe *fe)
{
	fe_conn_close(&fe->conn);
	fe_conn_close(&fe->back);
}

static int connect_again(struct fe *fe)
{
	int64_t deadline_ms = fe_now_ms() + fe->options.timeout_ms;
	int rc;

	for (;;) {
		rc = fe_conn_connect(&fe->conn, fe->options.path, fe->options.timeout_ms);
		if (!rc || fe_now_ms() >= deadline_ms)
			return rc;
		usleep(2000);
	}
}

/* cloud-hypervisor says the available index where QEMU says the used one. */
static uint32_t base_after_loss(const struct fe *fe, const struct fe_ring *ring)
{
	if (fe->options.order == FE_CLOUD_HYPERVISOR && !ring->packed)
		return ring->published_idx;
	return fe_ring_base(ring);
}

int fe_reconnect(struct fe *fe)
{
	uint32_t i;
	int rc;

	fe_disconnect(fe);
	rc = connect_again(fe);
	if (!rc)
		rc = negotiate(fe, true);
	for (i = 0; i < fe->ring_count; i++)
		if (fe->ring[i])
			fe->base[i] = base_after_loss(fe, fe->ring[i]);
	return rc ? rc : start(fe, true);
}
