/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real executable with a keeper, over a file, in a directory of its own: started, its serving
 * process found and killed, stopped. Failures end the test.
 */
#ifndef KEEPER_SERVICE_H
#define KEEPER_SERVICE_H

#include <stdbool.h>
#include <sys/types.h>

#include "frontend/frontend.h"

#define SERVICE_DISK_BYTES (16 * 1024 * 1024)

struct service {
	char dir[32];
	char socket[64]; /* of the blk controller */
	char config[64];
	pid_t keeper;
};

extern const char *service_program;

void service_start(struct service *service);
/* SIGTERM; both processes are gone, with exit code 0. */
void service_stop(struct service *service);

/* The process that serves; waits for one other than `before` (0: any). */
pid_t service_await_server(const struct service *service, pid_t before);
/* kill -9; the process that was killed. */
pid_t service_kill_server(const struct service *service);
/* SIGSTOP, and it stands still. */
pid_t service_freeze_server(const struct service *service);

/* Without it, a successor fails to start. */
void service_spoil_config(const struct service *service);
void service_mend_config(const struct service *service);

/* Waits until condition(arg) is true: false after 10 seconds. */
bool service_await(bool (*condition)(void *arg), void *arg);

#endif
