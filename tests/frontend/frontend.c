/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions: what they own, and the way to a running device in one call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frontend/frontend.h"
#include "frontend/frontend_impl.h"

struct fe_options fe_options_default(enum fe_bus bus, const char *path)
{
	return (struct fe_options){
		.path = path,
		.bus = bus,
		.order = FE_QEMU_10,
		.features = ~(FE_F_PACKED | FE_F_LOG_ALL | FE_F_ACCESS_PLATFORM | FE_F_IN_ORDER |
			      FE_F_RING_RESET | FE_F_NOTIFY_ON_EMPTY),
		.protocol_features = FE_PF_MQ | FE_PF_LOG_SHMFD | FE_PF_REPLY_ACK |
				     FE_PF_BACKEND_REQ | FE_PF_CONFIG | FE_PF_INFLIGHT_SHMFD |
				     FE_PF_RESET_DEVICE | FE_PF_MEM_SLOTS,
		.ring_count = bus == FE_BUS_BLK ? 1 : 3,
		.ring_size = 128,
		.memory_size = UINT64_C(64) << 20,
		.timeout_ms = 5000,
	};
}

struct fe *fe_create(const struct fe_options *options)
{
	struct fe *fe = calloc(1, sizeof(*fe));
	uint32_t i;

	if (!fe)
		return NULL;
	fe->options = *options;
	fe->ring_count = options->ring_count < FE_MAX_RINGS ? options->ring_count : FE_MAX_RINGS;
	fe->conn.fd = fe->back.fd = -1;
	fe->conn.timeout_ms = options->timeout_ms;
	fe->inflight.fd = -1;
	fe->log.fd = -1;
	for (i = 0; i < FE_MAX_RINGS; i++)
		fe->err_fd[i] = -1;
	fe_memory_init(&fe->memory);
	return fe;
}

void fe_destroy(struct fe *fe)
{
	uint32_t i;

	if (!fe)
		return;
	fe_disconnect(fe);
	for (i = 0; i < FE_MAX_RINGS; i++) {
		if (fe->ring[i])
			fe_ring_destroy(fe->ring[i]);
		if (fe->err_fd[i] >= 0)
			close(fe->err_fd[i]);
	}
	fe_inflight_close(fe);
	fe_log_close(fe);
	fe_memory_fini(&fe->memory);
	free(fe);
}

static int add_default_memory(struct fe *fe)
{
	struct fe_region_spec spec = {
		.gpa = fe->options.memory_gpa,
		.size = fe->options.memory_size,
		.fd = FE_NEW_FILE,
		.sealed = true,
	};
	uint32_t slot;
	int rc;

	if (!spec.size)
		return 0;
	rc = fe_memory_add(&fe->memory, &spec, &slot);
	if (rc)
		return fe_conn_fail(&fe->conn, rc, "%llu bytes of guest memory: %s",
			(unsigned long long)spec.size, strerror(-rc));
	return 0;
}

int fe_open(struct fe_options *options, struct fe **ret_fe)
{
	struct fe *fe = fe_create(options);
	int rc;

	if (!fe)
		return -ENOMEM;
	rc = fe_conn_connect(&fe->conn, options->path, options->timeout_ms);
	if (!rc)
		rc = fe_negotiate(fe);
	if (!rc)
		rc = add_default_memory(fe);
	if (!rc)
		rc = fe_create_rings(fe);
	if (!rc)
		rc = fe_start(fe);
	if (rc) {
		memcpy(options->why, fe->conn.why, sizeof(options->why));
		fe_destroy(fe);
		return rc;
	}
	*ret_fe = fe;
	return 0;
}

int fe_close(struct fe *fe)
{
	int rc = fe_stop(fe);

	fe_destroy(fe);
	return rc;
}
