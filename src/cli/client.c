/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection, one call at a time. The daemon is asked to explain its errors; what does not know
 * that method (SPDK's own target) is spoken to all the same.
 *
 * The answer to that first question shows that somebody serves us: a daemon that has its maximum of
 * clients lets more connect and does not hear them, and what listens at the path may be no daemon
 * at all. So it has a limit of time. What is asked for afterwards may take as long as it takes,
 * unless the user has set a limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli_impl.h"

#define ANSWER_MAX       (64 * MIB)
#define CONNECT_TRIES    20
#define CONNECT_PAUSE_US 50000
#define FIRST_TIMEOUT_S  10
#define LOCK_PAUSE_US    5000
#define TIMEOUT_MAX_S    86400

struct client {
	int fd; /* does not block */
	int lock_fd; /* -1: none */
	unsigned timeout_s; /* 0: none */
	uint64_t deadline_ms; /* of the call at hand */
	char path[PATHS_MAX];
	json_int_t id;
	bool timed_out; /* why there was no answer */
	int error_code;
	char error_text[512];
	bool ours; /* Sluice, not SPDK */
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

bool client_is_ours(const struct client *client)
{
	return client->ours;
}

const char *client_error_text(const struct client *client)
{
	return client->error_text;
}

bool client_options_take(struct client_options *options, int option)
{
	char *end;
	unsigned long seconds;

	if (option == 'r')
		options->rpc_socket = optarg;
	if (option != 't')
		return option == 'r';
	seconds = strtoul(optarg, &end, 10);
	if (*optarg < '0' || *optarg > '9' || *end || !seconds || seconds > TIMEOUT_MAX_S) {
		cli_error("--timeout is a number of seconds from 1 to %d, not '%s'", TIMEOUT_MAX_S,
			optarg);
		return false;
	}
	options->timeout_s = (unsigned)seconds;
	return true;
}

/* ---- time -------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void client_set_limit(struct client *client, unsigned seconds)
{
	client->timeout_s = seconds;
	client->deadline_ms = seconds ? now_ms() + seconds * UINT64_C(1000) : UINT64_MAX;
}

static int client_ms_left(const struct client *client)
{
	uint64_t now = now_ms();

	if (client->deadline_ms == UINT64_MAX)
		return -1;
	return client->deadline_ms > now ? (int)u64_min(client->deadline_ms - now, INT_MAX) : 0;
}

/* 0 when the socket is ready, or -ETIMEDOUT. */
static int client_wait(const struct client *client, short events)
{
	struct pollfd pollfd = {.fd = client->fd, .events = events};
	int count;

	do {
		count = poll(&pollfd, 1, client_ms_left(client));
	} while (count < 0 && errno == EINTR);
	return count == 0 ? -ETIMEDOUT : 0;
}

/* ---- the connection ------------------------------------------------------------------------ */

static bool client_find_path(struct client *client, const char *path)
{
	struct reason reason = {0};
	int rc = 0;

	if (path && !path[0]) {
		cli_error("the name of the daemon's socket is empty: name one, or leave "
			  "--rpc-socket out");
		return false;
	}
	if (!path)
		path = getenv("SLUICE_RPC_SOCKET");
	if (path && path[0])
		snprintf(client->path, sizeof(client->path), "%s", path);
	else
		rc = paths_run(PATHS_RPC_SOCKET, client->path, sizeof(client->path), &reason);
	if (rc)
		cli_error("%s", reason_text(&reason, rc));
	return rc == 0;
}

/* A daemon that was started a moment ago needs a moment; one whose queue of connections is full
 * (EAGAIN) may need all the time there is. */
static int client_connect_patiently(struct client *client, const struct sockaddr_un *address)
{
	for (unsigned tries = 0;; tries++) {
		if (connect(client->fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return 0;
		if (errno == EAGAIN && client_ms_left(client) == 0)
			return -ETIMEDOUT;
		if (errno != EAGAIN &&
			((errno != ENOENT && errno != ECONNREFUSED) || tries == CONNECT_TRIES))
			return -errno;
		usleep(CONNECT_PAUSE_US);
	}
}

static bool client_refuse_silence(const struct client *client)
{
	cli_error(
		"%s does not answer within %u s: a daemon that serves its maximum of clients waits "
		"until one of them leaves, and what is no Sluice daemon may never answer "
		"(--timeout waits longer, --rpc-socket names another socket)",
		client->path, client->timeout_s);
	return false;
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
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = client->fd < 0 ? -errno : client_connect_patiently(client, &address);
	if (rc == -ETIMEDOUT)
		return client_refuse_silence(client);
	if (rc) {
		cli_error("no daemon answers at %s (%s): %s", client->path, strerror(-rc),
			rc == -EACCES ? "run this as the user that runs it" : advice);
		return false;
	}
	return true;
}

/* False after a sentence: nobody answers, or not as a daemon does. */
static bool client_greet(struct client *client)
{
	json_t *result =
		client_call(client, "rpc_explain_errors", json_pack("{s:b}", "enabled", 1));

	client->ours = result != NULL;
	if (result || client->error_code) {
		json_decref(result);
		return true;
	}
	if (client->timed_out)
		return client_refuse_silence(client);
	cli_error("%s", client->error_text);
	return false;
}

bool client_is_there(const struct client_options *options)
{
	struct client client = {0};

	return client_find_path(&client, options->rpc_socket) && access(client.path, F_OK) == 0;
}

struct client *client_open(const struct client_options *options)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->fd = -1;
	client->lock_fd = -1;
	client_set_limit(client, options->timeout_s ? options->timeout_s : FIRST_TIMEOUT_S);
	if (!client_find_path(client, options->rpc_socket) || !client_connect(client) ||
		!client_greet(client)) {
		client_close(client);
		return NULL;
	}
	client->timeout_s = options->timeout_s;
	return client;
}

bool client_lock(struct client *client)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATHS_MAX + sizeof(".lock")];

	snprintf(path, sizeof(path), "%s.lock", client->path);
	client->lock_fd = open(path, O_RDWR | O_CLOEXEC);
	client_set_limit(client, client->timeout_s ? client->timeout_s : FIRST_TIMEOUT_S);
	/* Where it cannot be had at all we do without. */
	while (client->lock_fd >= 0 && fcntl(client->lock_fd, F_OFD_SETLK, &lock) < 0 &&
		(errno == EAGAIN || errno == EACCES)) {
		if (client_ms_left(client) == 0) {
			cli_error(
				"another sluice command is at work on this daemon: try again when "
				"it has ended, or wait longer with --timeout");
			return false;
		}
		usleep(LOCK_PAUSE_US);
	}
	return true;
}

void client_close(struct client *client)
{
	if (client->lock_fd >= 0)
		close(client->lock_fd);
	if (client->fd >= 0)
		close(client->fd);
	free(client);
}

/* ---- a call ------------------------------------------------------------------------------ */

static int client_send(struct client *client, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;
	size_t sent = 0;
	int rc = len ? 0 : -ENOMEM;

	while (sent < len && rc == 0) {
		ssize_t n = send(client->fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			rc = client_wait(client, POLLOUT);
		else if (errno != EINTR)
			rc = -errno;
	}
	free(text);
	return rc;
}

struct answer_reader {
	const struct client *client;
	size_t total;
	bool ended;
	bool timed_out;
};

/* Up to the newline that ends an answer: nothing else is on its way. */
static size_t answer_read(void *buf, size_t len, void *arg)
{
	struct answer_reader *reader = arg;
	ssize_t n;

	if (reader->ended || reader->total > ANSWER_MAX)
		return 0;
	do {
		reader->timed_out = client_wait(reader->client, POLLIN) != 0;
		if (reader->timed_out)
			return (size_t)-1;
		n = recv(reader->client->fd, buf, len, 0);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
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

static json_t *client_no_answer(struct client *client, const struct answer_reader *reader)
{
	client->timed_out = reader->timed_out;
	if (reader->timed_out)
		return client_fail(client, 0,
			"no answer within %u s, but what was asked for may still be done: look "
			"what "
			"is there, and wait longer with --timeout",
			client->timeout_s);
	if (reader->total)
		return client_fail(client, 0,
			"what answers at %s is no Sluice daemon: name its socket with --rpc-socket",
			client->path);
	return client_fail(
		client, 0, "the daemon at %s has closed the connection: see its log", client->path);
}

json_t *client_call(struct client *client, const char *method, json_t *params)
{
	struct answer_reader reader = {.client = client};
	json_t *request, *answer = NULL, *result;
	const json_t *error;
	int rc;

	client_set_limit(client, client->timeout_s);
	request = json_pack(
		"{s:s, s:I, s:s}", "jsonrpc", "2.0", "id", ++client->id, "method", method);
	if (params)
		json_object_set_new(request, "params", params);
	rc = client_send(client, request);
	json_decref(request);
	reader.timed_out = rc == -ETIMEDOUT;
	if (!rc)
		answer = json_load_callback(answer_read, &reader, 0, NULL);
	if (!answer)
		return client_no_answer(client, &reader);
	error = json_object_get(answer, "error");
	if (error)
		result = client_take_error(client, error);
	else
		result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	return result;
}
