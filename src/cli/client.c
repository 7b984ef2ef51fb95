/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection, one call at a time. The daemon is asked to explain its errors; what does not know
 * that method (SPDK's own target) is spoken to all the same.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli_impl.h"

#define ANSWER_MAX       (64 * MIB)
#define CONNECT_TRIES    20
#define CONNECT_PAUSE_US 50000

struct client {
	int fd;
	char path[PATHS_MAX];
	json_int_t id;
	int error_code;
	char error_text[512];
};

static json_t *client_fail(struct client *client, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

static json_t *client_fail(struct client *client, int code, const char *fmt, ...)
{
	va_list args;

	client->error_code = code;
	va_start(args, fmt);
	vsnprintf(client->error_text, sizeof(client->error_text), fmt, args);
	va_end(args);
	return NULL;
}

int client_error_code(const struct client *client)
{
	return client->error_code;
}

const char *client_error_text(const struct client *client)
{
	return client->error_text;
}

static bool client_find_path(struct client *client, const char *path)
{
	struct reason reason = {0};
	int rc = 0;

	if (!path)
		path = getenv("SLUICE_RPC_SOCKET");
	if (path)
		snprintf(client->path, sizeof(client->path), "%s", path);
	else
		rc = paths_run(PATHS_RPC_SOCKET, client->path, sizeof(client->path), &reason);
	if (rc)
		cli_error("%s", reason_text(&reason, rc));
	return rc == 0;
}

/* A daemon that was started a moment ago needs a moment. */
static int client_connect_patiently(int fd, const struct sockaddr_un *address)
{
	for (unsigned tries = 0;; tries++) {
		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return 0;
		if ((errno != ENOENT && errno != ECONNREFUSED) || tries == CONNECT_TRIES)
			return -errno;
		usleep(CONNECT_PAUSE_US);
	}
}

static bool client_connect(struct client *client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *advice = "start one with 'sluice serve' or name its socket with --rpc-socket";
	int rc;

	if (strlen(client->path) >= sizeof(address.sun_path)) {
		cli_error("the socket path %s is too long: 107 characters at most", client->path);
		return false;
	}
	strcpy(address.sun_path, client->path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	rc = client->fd < 0 ? -errno : client_connect_patiently(client->fd, &address);
	if (rc) {
		cli_error("no daemon answers at %s (%s): %s", client->path, strerror(-rc),
			rc == -EACCES ? "run this as the user that runs it" : advice);
		return false;
	}
	return true;
}

struct client *client_open(const char *path)
{
	struct client *client = calloc(1, sizeof(*client));
	json_t *result;

	if (!client)
		return NULL;
	client->fd = -1;
	if (!client_find_path(client, path) || !client_connect(client)) {
		client_close(client);
		return NULL;
	}
	result = client_call(client, "rpc_explain_errors", json_pack("{s:b}", "enabled", 1));
	json_decref(result);
	return client;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client);
}

static int client_send(struct client *client, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = send(client->fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			sent += (size_t)n;
	}
	free(text);
	return len && sent == len ? 0 : -EPIPE;
}

struct answer_reader {
	int fd;
	size_t total;
	bool ended;
};

/* Up to the newline that ends an answer: nothing else is on its way. */
static size_t answer_read(void *buf, size_t len, void *arg)
{
	struct answer_reader *reader = arg;
	ssize_t n;

	if (reader->ended || reader->total > ANSWER_MAX)
		return 0;
	do {
		n = recv(reader->fd, buf, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return (size_t)n;
	reader->total += (size_t)n;
	reader->ended = ((char *)buf)[n - 1] == '\n';
	return (size_t)n;
}

static json_t *client_take_error(struct client *client, const json_t *error)
{
	const json_t *data = json_object_get(error, "data");
	const char *reason = json_string_value(json_object_get(data, "reason"));
	const char *message = json_member_text(error, "message");
	int code = (int)json_integer_value(json_object_get(error, "code"));

	return client_fail(client, code ? code : -1, "%s", reason ? reason : message);
}

json_t *client_call(struct client *client, const char *method, json_t *params)
{
	struct answer_reader reader = {.fd = client->fd};
	json_error_t where;
	json_t *request, *answer, *result;
	const json_t *error;
	int rc;

	request = json_pack(
		"{s:s, s:I, s:s}", "jsonrpc", "2.0", "id", ++client->id, "method", method);
	if (params)
		json_object_set_new(request, "params", params);
	rc = client_send(client, request);
	json_decref(request);
	if (rc)
		return client_fail(
			client, 0, "the daemon at %s has closed the connection", client->path);
	answer = json_load_callback(answer_read, &reader, 0, &where);
	if (!answer)
		return client_fail(client, 0,
			reader.total ? "what answers at %s is no Sluice daemon"
				     : "the daemon at %s has closed the connection: see its log",
			client->path);
	error = json_object_get(answer, "error");
	if (error)
		result = client_take_error(client, error);
	else
		result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	return result;
}
