/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What front-end and back-end share beside guest memory: the dirty-page log, the inflight region
 * and the back channel.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend/frontend.h"
#include "frontend/frontend_impl.h"

#define LOG_PAGE 4096u

/* ---- dirty-page log ---- */

/* 8 bytes for every 256 KiB up to the end of the last region. */
static uint64_t log_size(const struct fe *fe)
{
	uint64_t end = 1;
	uint32_t slot;

	for (slot = 0; slot < fe->memory.region_end; slot++) {
		const struct fe_region *region = &fe->memory.region[slot];

		if (region->present && region->gpa + region->size > end)
			end = region->gpa + region->size;
	}
	return ((end - 1) / (64 * LOG_PAGE) + 1) * 8;
}

static int create_log(uint64_t size, struct fe_log *ret_log)
{
	struct fe_log log = {.fd = memfd_create("log", MFD_CLOEXEC), .size = size};
	int rc;

	if (log.fd < 0)
		return -errno;
	if (ftruncate(log.fd, (off_t)size) < 0)
		goto close_fd;
	log.ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, log.fd, 0);
	if (log.ptr == MAP_FAILED)
		goto close_fd;
	*ret_log = log;
	return 0;

close_fd:
	rc = -errno;
	close(log.fd);
	return rc;
}

static void destroy_log(struct fe_log *log)
{
	if (log->fd < 0)
		return;
	munmap(log->ptr, log->size);
	close(log->fd);
	*log = (struct fe_log){.fd = -1};
}

int fe_log_set_base(struct fe *fe, uint64_t extra)
{
	struct fe_msg request, reply;
	struct fe_log_base base;
	struct fe_log log;
	int rc = create_log(log_size(fe) + extra, &log);

	if (rc)
		return fe_conn_fail(&fe->conn, rc, "no memory for a dirty log");
	base = (struct fe_log_base){.size = log.size};
	fe_msg_init(&request, FE_SET_LOG_BASE, FE_FLAG_VERSION, &base, sizeof(base));
	fe_msg_add_fd(&request, log.fd);
	rc = fe_call(fe, &request, sizeof(base), 0, &reply);
	if (!rc && (reply.log.size != base.size || reply.log.offset))
		rc = fe_conn_fail(&fe->conn, -EPROTO, "SET_LOG_BASE was not echoed");
	if (rc) {
		destroy_log(&log);
		return rc;
	}
	destroy_log(&fe->log);
	fe->log = log;
	return 0;
}

int fe_log_enable(struct fe *fe, bool on)
{
	int rc = fe_set_features(fe, fe->features | (on ? FE_F_LOG_ALL : 0));
	uint32_t i;

	if (rc)
		return rc;
	fe->logging = on;
	for (i = 0; i < fe->ring_count && !rc; i++)
		if (fe->ring[i] && fe->started[i])
			rc = fe_set_vring_addr(fe, i, on);
	return rc;
}

bool fe_log_test(const struct fe *fe, uint64_t gpa)
{
	uint64_t page = gpa / LOG_PAGE;

	if (page / 8 >= fe->log.size)
		return false;
	return __atomic_load_n(&fe->log.ptr[page / 8], __ATOMIC_ACQUIRE) & 1u << page % 8;
}

bool fe_log_test_clear(struct fe *fe, uint64_t gpa)
{
	uint64_t page = gpa / LOG_PAGE;
	uint8_t bit = (uint8_t)(1u << page % 8);

	if (page / 8 >= fe->log.size)
		return false;
	return __atomic_fetch_and(&fe->log.ptr[page / 8], (uint8_t)~bit, __ATOMIC_ACQ_REL) & bit;
}

void fe_log_close(struct fe *fe)
{
	destroy_log(&fe->log);
}

/* ---- inflight region ---- */

uint64_t fe_inflight_stride(const struct fe *fe, bool packed)
{
	uint64_t n = fe->inflight.desc.queue_size;
	uint64_t bytes = packed ? 32 + 32 * n : 16 + 16 * n;

	return (bytes + 63) & ~UINT64_C(63);
}

static int map_inflight(struct fe_inflight *inflight)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t shift = inflight->desc.mmap_offset & (page - 1);

	inflight->mapping_size = (size_t)(inflight->desc.mmap_size + shift);
	inflight->mapping = mmap(NULL, inflight->mapping_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		inflight->fd, (off_t)(inflight->desc.mmap_offset - shift));
	if (inflight->mapping == MAP_FAILED)
		return -errno;
	inflight->ptr = (uint8_t *)inflight->mapping + shift;
	return 0;
}

int fe_inflight_get(struct fe *fe)
{
	struct fe_inflight_desc wish = {
		.queue_count = (uint16_t)fe->ring_count,
		.queue_size = (uint16_t)fe->options.ring_size,
	};
	struct fe_inflight fresh = {0};
	struct fe_msg request, reply;
	int rc;

	fe_msg_init(&request, FE_GET_INFLIGHT_FD, FE_FLAG_VERSION, &wish, sizeof(wish));
	rc = fe_call(fe, &request, sizeof(wish), 1, &reply);
	if (rc)
		return rc;
	fresh.desc = reply.inflight;
	fresh.fd = reply.fds[0];
	rc = fresh.desc.mmap_size ? map_inflight(&fresh) : -EPROTO;
	if (rc) {
		close(fresh.fd);
		return fe_conn_fail(&fe->conn, rc, "the inflight region of %llu bytes is of no use",
			(unsigned long long)fresh.desc.mmap_size);
	}
	fe_inflight_close(fe);
	fe->inflight = fresh;
	return 0;
}

int fe_inflight_set(struct fe *fe)
{
	struct fe_msg request;

	fe_msg_init(&request, FE_SET_INFLIGHT_FD, FE_FLAG_VERSION, &fe->inflight.desc,
		sizeof(fe->inflight.desc));
	fe_msg_add_fd(&request, fe->inflight.fd);
	return fe_tell(fe, &request);
}

void fe_inflight_close(struct fe *fe)
{
	struct fe_inflight *inflight = &fe->inflight;

	if (inflight->fd < 0)
		return;
	munmap(inflight->mapping, inflight->mapping_size);
	close(inflight->fd);
	*inflight = (struct fe_inflight){.fd = -1};
}

/* ---- back channel ---- */

int fe_back_open(struct fe *fe)
{
	struct fe_msg request;
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fe_conn_fail(&fe->conn, -errno, "no socket pair to be had");
	fe_msg_init(&request, FE_SET_BACKEND_REQ_FD, FE_FLAG_VERSION, NULL, 0);
	fe_msg_add_fd(&request, pair[1]);
	rc = fe_tell(fe, &request);
	close(pair[1]);
	if (rc) {
		close(pair[0]);
		return rc;
	}
	fe_conn_close(&fe->back);
	fe_conn_adopt(&fe->back, pair[0], fe->options.timeout_ms);
	return 0;
}

int fe_back_serve(struct fe *fe, int timeout_ms)
{
	struct pollfd entry = {.fd = fe->back.fd, .events = POLLIN};
	struct fe_msg request, reply;
	uint64_t status = 1;
	int rc;

	if (fe->back.fd < 0)
		return fe_conn_fail(&fe->conn, -ENOTCONN, "there is no back channel");
	rc = poll(&entry, 1, timeout_ms);
	if (rc <= 0)
		return rc < 0 ? -errno : 0;
	rc = fe_msg_recv(&fe->back, &request);
	if (rc)
		return rc;
	fe_msg_close_fds(&request);
	if (request.header.id == FE_BACK_CONFIG_CHANGE) {
		/* As QEMU: the config is read before the message is acknowledged. */
		rc = fe_get_config(fe, 0, 57, &fe->config);
		if (rc)
			return rc;
		fe->config_changes++;
		status = 0;
	}
	if (!(request.header.flags & FE_FLAG_NEED_REPLY))
		return 1;
	fe_msg_init(&reply, request.header.id, FE_FLAGS_OF_REPLY, &status, sizeof(status));
	rc = fe_msg_send(&fe->back, &reply);
	return rc ? rc : 1;
}
