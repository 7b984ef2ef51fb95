/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One function a message: builds it, sends it, and takes the reply that is due: its own, or a
 * status when the front-end being played would ask for one.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "frontend/frontend.h"
#include "frontend/frontend_impl.h"

int fe_call(struct fe *fe, struct fe_msg *request, uint32_t reply_size, uint32_t reply_fds,
	struct fe_msg *ret_reply)
{
	int rc = fe_msg_send(&fe->conn, request);

	if (rc || reply_size == FE_NO_REPLY)
		return rc;
	return fe_msg_recv_reply(&fe->conn, request->header.id, reply_size, reply_fds, ret_reply);
}

/* What QEMU asks a status for; the others of FE_ACK_BY_ORDER ask always. */
static bool qemu_wants_status(const struct fe *fe, const struct fe_msg *request)
{
	switch (request->header.id) {
	case FE_SET_BACKEND_REQ_FD:
	case FE_SET_MEM_TABLE:
	case FE_ADD_MEM_REG:
	case FE_REM_MEM_REG:
	case FE_SET_CONFIG:
	case FE_IOTLB_MSG:
	case FE_POSTCOPY_LISTEN:
		return true;
	case FE_SET_FEATURES:
		return request->u64 & FE_F_LOG_ALL;
	case FE_SET_VRING_ADDR:
		return request->addr.flags & FE_VRING_F_LOG;
	case FE_SET_VRING_ENABLE:
		return fe->options.order != FE_QEMU_7_2;
	default:
		return false;
	}
}

static bool wants_status(const struct fe *fe, const struct fe_msg *request)
{
	bool qemu = fe->options.order == FE_QEMU_7_2 || fe->options.order == FE_QEMU_10;

	if (!(fe->protocol_features & FE_PF_REPLY_ACK) || fe->options.ack == FE_ACK_NEVER)
		return false;
	if (request->header.id == FE_SET_PROTOCOL_FEATURES)
		return false; /* this very message agrees on it */
	return fe->options.ack == FE_ACK_ALWAYS || !qemu || qemu_wants_status(fe, request);
}

int fe_tell(struct fe *fe, struct fe_msg *request)
{
	bool status = wants_status(fe, request);
	struct fe_msg reply;
	int rc;

	if (status)
		request->header.flags |= FE_FLAG_NEED_REPLY;
	rc = fe_call(fe, request, status ? sizeof(uint64_t) : FE_NO_REPLY, 0, &reply);
	if (!rc && status && reply.u64)
		rc = fe_conn_fail(&fe->conn, -EREMOTEIO, "%s was refused with status %llu",
			fe_msg_name(request->header.id), (unsigned long long)reply.u64);
	return rc;
}

static int tell(struct fe *fe, uint32_t id, const void *payload, uint32_t size, int fd)
{
	struct fe_msg request;

	fe_msg_init(&request, id, FE_FLAG_VERSION, payload, size);
	if (fd >= 0)
		fe_msg_add_fd(&request, fd);
	return fe_tell(fe, &request);
}

int fe_get_u64(struct fe *fe, uint32_t id, uint64_t *ret_value)
{
	struct fe_msg request, reply;
	int rc;

	fe_msg_init(&request, id, FE_FLAG_VERSION, NULL, 0);
	rc = fe_call(fe, &request, sizeof(uint64_t), 0, &reply);
	if (!rc)
		*ret_value = reply.u64;
	return rc;
}

int fe_set_u64(struct fe *fe, uint32_t id, uint64_t value)
{
	return tell(fe, id, &value, sizeof(value), -1);
}

int fe_set_empty(struct fe *fe, uint32_t id)
{
	return tell(fe, id, NULL, 0, -1);
}

int fe_set_features(struct fe *fe, uint64_t features)
{
	int rc = fe_set_u64(fe, FE_SET_FEATURES, features);

	if (rc)
		return rc;
	fe->features = features & ~FE_F_LOG_ALL;
	fe->features_acknowledged = true;
	return 0;
}

int fe_set_vring_state(struct fe *fe, uint32_t id, uint32_t index, uint32_t num)
{
	struct fe_vring_state state = {.index = index, .num = num};

	return tell(fe, id, &state, sizeof(state), -1);
}

int fe_get_vring_base(struct fe *fe, uint32_t index, uint32_t *ret_base)
{
	struct fe_vring_state state = {.index = index};
	struct fe_msg request, reply;
	int rc;

	fe_msg_init(&request, FE_GET_VRING_BASE, FE_FLAG_VERSION, &state, sizeof(state));
	rc = fe_call(fe, &request, sizeof(state), 0, &reply);
	if (rc)
		return rc;
	if (reply.state.index != index)
		return fe_conn_fail(&fe->conn, -EPROTO,
			"reply to GET_VRING_BASE of ring %u is about ring %u", index,
			reply.state.index);
	*ret_base = reply.state.num;
	return 0;
}

int fe_set_vring_addr(struct fe *fe, uint32_t index, bool log)
{
	const struct fe_ring *ring = fe->ring[index];
	struct fe_vring_addr addr = {.index = index, .flags = log ? FE_VRING_F_LOG : 0};
	const void *desc = ring->packed ? (const void *)ring->packed_desc : ring->desc;
	const void *driver = ring->packed ? (const void *)ring->driver_event : ring->avail;
	const void *device = ring->packed ? (const void *)ring->device_event : ring->used;

	addr.desc = fe_memory_user(&fe->memory, desc);
	addr.avail = fe_memory_user(&fe->memory, driver);
	addr.used = fe_memory_user(&fe->memory, device);
	addr.log = fe_memory_gpa(&fe->memory, device);
	return tell(fe, FE_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

int fe_set_vring_fd(struct fe *fe, uint32_t id, uint32_t index, int fd)
{
	uint64_t word = index | (fd < 0 ? FE_NO_FD : 0);

	return tell(fe, id, &word, sizeof(word), fd);
}

/* ---- config space ---- */

int fe_get_config(struct fe *fe, uint32_t offset, uint32_t size, void *ret_bytes)
{
	uint32_t total = (uint32_t)sizeof(struct fe_config_header) + size;
	struct fe_msg request, reply;
	int rc;

	fe_msg_init(&request, FE_GET_CONFIG, FE_FLAG_VERSION, NULL, total);
	request.config = (struct fe_config_header){
		.offset = offset,
		.size = size,
		.flags = fe->options.order == FE_CLOUD_HYPERVISOR ? 1 : 0,
	};
	rc = fe_msg_send(&fe->conn, &request);
	if (!rc)
		rc = fe_msg_recv(&fe->conn, &reply);
	if (rc)
		return rc;
	if (reply.header.id == FE_GET_CONFIG && reply.header.flags == FE_FLAGS_OF_REPLY &&
		!reply.header.size)
		return fe_conn_fail(&fe->conn, -EREMOTEIO, "GET_CONFIG was refused");
	if (reply.header.id != FE_GET_CONFIG || reply.header.flags != FE_FLAGS_OF_REPLY ||
		reply.header.size != total || reply.fd_count || reply.config.offset != offset ||
		reply.config.size != size) {
		fe_msg_close_fds(&reply);
		return fe_conn_fail(&fe->conn, -EPROTO,
			"reply to GET_CONFIG of %u bytes at %u: id %u flags %#x size %u", size,
			offset, reply.header.id, reply.header.flags, reply.header.size);
	}
	memcpy(ret_bytes, reply.bytes + sizeof(struct fe_config_header), size);
	return 0;
}

int fe_set_config(struct fe *fe, uint32_t offset, uint32_t size, uint32_t flags, const void *bytes)
{
	struct fe_msg request;

	if (size > FE_MAX_PAYLOAD - sizeof(struct fe_config_header))
		return -EINVAL;
	fe_msg_init(&request, FE_SET_CONFIG, FE_FLAG_VERSION, NULL,
		(uint32_t)sizeof(struct fe_config_header) + size);
	request.config = (struct fe_config_header){.offset = offset, .size = size, .flags = flags};
	memcpy(request.bytes + sizeof(struct fe_config_header), bytes, size);
	return fe_tell(fe, &request);
}

/* ---- memory ---- */

static struct fe_mem_entry entry_of(const struct fe_region *region)
{
	return (struct fe_mem_entry){
		.gpa = region->gpa,
		.size = region->size,
		.user = region->user,
		.fd_offset = region->fd_offset,
	};
}

/* Without REPLY_ACK QEMU makes sure by a request that must be answered in its turn. */
static int settle(struct fe *fe, int rc)
{
	uint64_t features;

	if (rc || fe->protocol_features & FE_PF_REPLY_ACK)
		return rc;
	return fe_get_u64(fe, FE_GET_FEATURES, &features);
}

int fe_set_mem_table(struct fe *fe)
{
	struct {
		uint32_t count, zero;
		struct fe_mem_entry entry[(FE_MAX_PAYLOAD - 8) / sizeof(struct fe_mem_entry)];
	} table = {0};
	struct fe_msg request;
	uint32_t slot;
	int rc;

	fe_msg_init(&request, FE_SET_MEM_TABLE, FE_FLAG_VERSION, NULL, 0);
	for (slot = 0; slot < fe->memory.region_end; slot++) {
		const struct fe_region *region = &fe->memory.region[slot];

		if (!region->present)
			continue;
		if (table.count == sizeof(table.entry) / sizeof(table.entry[0]))
			return -E2BIG;
		table.entry[table.count++] = entry_of(region);
		fe_msg_add_fd(&request, region->fd);
	}
	request.header.size = 8 + table.count * (uint32_t)sizeof(struct fe_mem_entry);
	memcpy(request.bytes, &table, request.header.size);
	rc = settle(fe, fe_tell(fe, &request));
	for (slot = 0; slot < FE_MAX_REGIONS && !rc; slot++) {
		fe->announced[slot] = fe->memory.region[slot].present;
		fe->told[slot] = entry_of(&fe->memory.region[slot]);
	}
	return rc;
}

int fe_add_mem_reg(struct fe *fe, uint32_t slot)
{
	struct fe_mem_single single = {.entry = entry_of(&fe->memory.region[slot])};
	int rc = settle(
		fe, tell(fe, FE_ADD_MEM_REG, &single, sizeof(single), fe->memory.region[slot].fd));

	if (rc)
		return rc;
	fe->announced[slot] = true;
	fe->told[slot] = single.entry;
	return 0;
}

int fe_rem_mem_reg(struct fe *fe, uint32_t slot)
{
	struct fe_mem_single single = {.entry = fe->told[slot]};
	int rc;

	if (!fe->announced[slot])
		single.entry = entry_of(&fe->memory.region[slot]);
	rc = settle(fe, tell(fe, FE_REM_MEM_REG, &single, sizeof(single), -1));
	if (!rc)
		fe->announced[slot] = false;
	return rc;
}

static bool is_stale(const struct fe *fe, uint32_t slot)
{
	struct fe_mem_entry now = entry_of(&fe->memory.region[slot]);

	return fe->announced[slot] && memcmp(&now, &fe->told[slot], sizeof(now)) != 0;
}

int fe_memory_announce(struct fe *fe)
{
	uint32_t slot;
	int rc = 0;

	if (fe->options.mem_table || !(fe->protocol_features & FE_PF_MEM_SLOTS))
		return fe_set_mem_table(fe);
	/* QEMU removes before it adds. */
	for (slot = 0; slot < FE_MAX_REGIONS && !rc; slot++)
		if (is_stale(fe, slot))
			rc = fe_rem_mem_reg(fe, slot);
	for (slot = 0; slot < fe->memory.region_end && !rc; slot++)
		if (fe->memory.region[slot].present && !fe->announced[slot])
			rc = fe_add_mem_reg(fe, slot);
	return rc;
}

/* ---- rings ---- */

int fe_enable_ring(struct fe *fe, uint32_t index, bool on)
{
	int rc = fe_set_vring_state(fe, FE_SET_VRING_ENABLE, index, on);

	if (!rc)
		fe->enabled[index] = on;
	return rc;
}

int fe_stop_ring(struct fe *fe, uint32_t index)
{
	int rc = fe_get_vring_base(fe, index, &fe->base[index]);

	if (!rc)
		fe->started[index] = false;
	return rc;
}

int fe_setup_ring(struct fe *fe, uint32_t index)
{
	const struct fe_ring *ring = fe->ring[index];
	int rc = fe_set_vring_state(fe, FE_SET_VRING_NUM, index, ring->size);

	if (!rc)
		rc = fe_set_vring_state(fe, FE_SET_VRING_BASE, index, fe->base[index]);
	if (!rc)
		rc = fe_set_vring_addr(fe, index, fe->logging);
	if (!rc)
		rc = fe_set_vring_fd(fe, FE_SET_VRING_CALL, index, ring->call_fd);
	if (!rc && fe->err_fd[index] >= 0)
		rc = fe_set_vring_fd(fe, FE_SET_VRING_ERR, index, fe->err_fd[index]);
	if (!rc)
		rc = fe_set_vring_fd(fe, FE_SET_VRING_KICK, index, ring->kick_fd);
	if (!rc)
		fe->started[index] = true;
	return rc;
}
