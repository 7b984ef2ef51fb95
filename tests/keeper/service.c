/* SPDX-License-Identifier: BSD-2-Clause */
#include "keeper/service.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

const char *service_program;

static const char config[] =
	"{\"subsystems\": [\n"
	"{\"subsystem\": \"bdev\", \"config\": [\n"
	" {\"method\": \"bdev_aio_create\", \"params\": {\"name\": \"b\", \"filename\": "
	"\"%s/disk\", \"block_size\": 512}}]},\n"
	"{\"subsystem\": \"vhost_blk\", \"config\": [\n"
	" {\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"c\", "
	"\"dev_name\": \"b\"}}]}]}\n";

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

bool service_await(bool (*condition)(void *arg), void *arg)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (condition(arg))
			return true;
		pause_ms(1);
	}
	return false;
}

/* ---- processes --------------------------------------------------------------------------- */

static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%d", &child) != 1)
		child = 0;
	fclose(file);
	return child;
}

static char state_of(pid_t pid)
{
	char path[64], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return '?';
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	fclose(file);
	return state;
}

pid_t service_await_server(const struct service *service, pid_t before)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		pid_t pid = child_of(service->keeper);

		if (pid && pid != before)
			return pid;
		pause_ms(1);
	}
	fail_msg("no process serves");
	return 0;
}

pid_t service_kill_server(const struct service *service)
{
	pid_t pid = service_await_server(service, 0);

	kill(pid, SIGKILL);
	return pid;
}

pid_t service_freeze_server(const struct service *service)
{
	pid_t pid = service_await_server(service, 0);

	kill(pid, SIGSTOP);
	while (state_of(pid) != 'T')
		pause_ms(1);
	return pid;
}

/* ---- life -------------------------------------------------------------------------------- */

void service_mend_config(const struct service *service)
{
	char fresh[80];
	FILE *file;

	snprintf(fresh, sizeof(fresh), "%s.new", service->config);
	file = fopen(fresh, "w");
	assert_non_null(file);
	fprintf(file, config, service->dir);
	fclose(file);
	assert_int_equal(rename(fresh, service->config), 0);
}

void service_spoil_config(const struct service *service)
{
	assert_int_equal(truncate(service->config, 10), 0);
}

static void service_exec(const struct service *service)
{
	char rpc[64], state[64], log[64];
	int fd;

	snprintf(rpc, sizeof(rpc), "%s/rpc", service->dir);
	snprintf(state, sizeof(state), "%s/state", service->dir);
	snprintf(log, sizeof(log), "%s/log", service->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 2);
	execl(service_program, "sluice", "serve", "--keeper", "-r", rpc, "-S", service->dir,
		"--state-dir", state, "-c", service->config, (char *)NULL);
	_exit(127);
}

static bool socket_is_there(void *arg)
{
	const struct service *service = arg;

	return access(service->socket, F_OK) == 0;
}

void service_start(struct service *service)
{
	char disk[64];
	int fd;

	strcpy(service->dir, "/tmp/sluice-keeper-XXXXXX");
	assert_non_null(mkdtemp(service->dir));
	snprintf(service->socket, sizeof(service->socket), "%s/c", service->dir);
	snprintf(service->config, sizeof(service->config), "%s/config", service->dir);
	snprintf(disk, sizeof(disk), "%s/disk", service->dir);
	fd = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && ftruncate(fd, SERVICE_DISK_BYTES) == 0);
	close(fd);
	service_mend_config(service);
	service->keeper = fork();
	if (service->keeper == 0)
		service_exec(service);
	assert_true(service_await(socket_is_there, service));
}

static void service_remove(const struct service *service)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -r %s", service->dir);
	assert_int_equal(system(command), 0);
}

void service_stop(struct service *service)
{
	pid_t server = service_await_server(service, 0);
	int status;

	kill(service->keeper, SIGTERM);
	assert_int_equal(waitpid(service->keeper, &status, 0), service->keeper);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(kill(server, 0), -1);
	service_remove(service);
}
