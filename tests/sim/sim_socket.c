/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unix stream sockets. A stream's incoming bytes are a list of segments, one for each send, with
 * the descriptors that came with its first byte. As in the kernel, one receive takes bytes of
 * several segments but never goes on into, or out of, one that has descriptors.
 *
 * A connection exists from connect on; until it is accepted its server side waits in the
 * listener's backlog. Closing a socket that has unread bytes resets its peer.
 *
 * Unless options.whole_transfers is set, sends and receives transfer a random part of what they
 * could.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim_impl.h"

#define BACKLOG_MAX 128

struct segment {
	struct list link;
	unsigned char *data;
	size_t len;
	size_t at; /* bytes read already */
	struct sim_open **opens;
	unsigned opens_count;
	bool has_opens; /* also after they were taken */
};

struct sim_socket {
	struct sim *sim;
	uint64_t id;
	struct sim_process *owner;
	/* a stream */
	struct sim_socket *peer; /* NULL: closed */
	struct list segments;
	size_t queued_bytes;
	bool ended; /* the peer will send no more */
	bool shut; /* neither will this side */
	bool reset;
	struct os_peer credentials; /* of the peer */
	struct list link; /* in the listener's backlog */
	/* a listener */
	struct sim_file *file;
	struct list backlog;
	unsigned backlog_count;
};

static struct sim_socket *socket_create(struct sim_process *process)
{
	struct sim_socket *socket = sim_alloc(sizeof(*socket));

	socket->sim = process->sim;
	socket->id = process->sim->next_id++;
	socket->owner = process;
	list_init(&socket->segments);
	list_init(&socket->link);
	list_init(&socket->backlog);
	return socket;
}

static int socket_install(struct sim_process *process, struct sim_socket *socket, bool listener)
{
	struct sim_open *open =
		sim_open_create(process->sim, listener ? SIM_OPEN_LISTENER : SIM_OPEN_STREAM);

	open->socket = socket;
	return sim_fd_install(process, open);
}

static void segment_free(struct segment *segment)
{
	for (unsigned i = 0; i < segment->opens_count; i++)
		sim_open_put(segment->opens[i]);
	list_remove(&segment->link);
	free(segment->opens);
	free(segment->data);
	free(segment);
}

void sim_socket_drain(struct sim_socket *socket)
{
	struct segment *segment, *next;

	list_for_each_entry_safe (segment, next, &socket->segments, link)
		segment_free(segment);
	socket->queued_bytes = 0;
}

void sim_socket_release(struct sim_socket *socket)
{
	struct sim_socket *waiting, *next;

	list_for_each_entry_safe (waiting, next, &socket->backlog, link)
		sim_socket_release(waiting);
	if (socket->file)
		socket->file->listener = NULL;
	if (socket->peer) {
		socket->peer->reset = !list_is_empty(&socket->segments);
		socket->peer->ended = true;
		socket->peer->peer = NULL;
	}
	sim_socket_drain(socket);
	list_remove(&socket->link);
	free(socket);
}

/* ---- listening and connecting ---- */

int sim_socket_listen(
	struct os *os, const char *path, unsigned mode, struct reason *reason, int *ret_fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_file *file = sim_file_find(sim, path);
	struct sim_socket *socket;
	int rc = process->dead ? -ESRCH : sim_call(sim, SIM_CALL_SOCKET_LISTEN);

	if (rc)
		return reason_set(reason, rc, "cannot listen on %s: %s", path, strerror(-rc));
	if (file && (file->kind != OS_FILE_SOCKET || file->listener))
		return reason_set(reason, -EADDRINUSE,
			"%s is in use: choose another path or stop its owner", path);
	if (!file) {
		file = sim_file_new(sim, OS_FILE_SOCKET);
		rc = sim_name_add(sim, path, file);
		if (rc)
			return reason_set(
				reason, rc, "cannot listen on %s: %s", path, strerror(-rc));
	}
	socket = socket_create(process);
	socket->file = file;
	file->listener = socket;
	*ret_fd = socket_install(process, socket, true);
	return 0;
}

static void credentials_set(struct sim_socket *socket, const struct sim_process *peer)
{
	socket->credentials = (struct os_peer){.pid = peer->pid, .uid = 1000, .gid = 1000};
}

int sim_socket_connect(struct os *os, const char *path, int *ret_fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_file *file = sim_file_find(sim, path);
	struct sim_socket *here, *there;
	int rc = process->dead ? -ESRCH : sim_call(sim, SIM_CALL_SOCKET_CONNECT);

	if (rc)
		return rc;
	if (!file)
		return -ENOENT;
	if (file->kind != OS_FILE_SOCKET || !file->listener)
		return -ECONNREFUSED;
	if (file->listener->backlog_count >= BACKLOG_MAX)
		return -EAGAIN;
	here = socket_create(process);
	there = socket_create(file->listener->owner);
	here->peer = there;
	there->peer = here;
	credentials_set(here, there->owner);
	credentials_set(there, process);
	list_add_tail(&file->listener->backlog, &there->link);
	file->listener->backlog_count++;
	*ret_fd = socket_install(process, here, false);
	return 0;
}

static struct sim_open *fd_socket(struct sim_process *process, int fd, enum sim_open_kind kind)
{
	struct sim_open *open = sim_fd_open(process, fd);

	return open && open->kind == kind ? open : NULL;
}

int sim_socket_accept(struct os *os, int fd, int *ret_fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open = fd_socket(process, fd, SIM_OPEN_LISTENER);
	int rc = process->dead ? -ESRCH : sim_call(process->sim, SIM_CALL_SOCKET_ACCEPT);
	struct sim_socket *socket;

	if (rc)
		return rc;
	if (!open)
		return -EBADF;
	if (list_is_empty(&open->socket->backlog))
		return -EAGAIN;
	socket = list_first_entry(&open->socket->backlog, struct sim_socket, link);
	list_remove(&socket->link);
	open->socket->backlog_count--;
	socket->owner = process;
	*ret_fd = socket_install(process, socket, false);
	return 0;
}

/* ---- transfers ---- */

static size_t draw_part(struct sim *sim, size_t len)
{
	if (sim->options.whole_transfers || len < 2 || sim_chance(sim, 2))
		return len;
	return 1 + (size_t)sim_random(sim, len);
}

static void stream_append(struct sim_socket *to, const void *buf, size_t len)
{
	struct segment *segment = sim_alloc(sizeof(*segment));

	segment->data = sim_alloc(len);
	memcpy(segment->data, buf, len);
	segment->len = len;
	to->queued_bytes += len;
	list_add_tail(&to->segments, &segment->link);
}

static int send_check(struct sim_process *process, const int *fds, unsigned nfds)
{
	if (nfds > OS_FDS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < nfds; i++) {
		if (!sim_fd_open(process, fds[i]))
			return -EBADF;
	}
	return 0;
}

int64_t sim_socket_send(
	struct os *os, int fd, const void *buf, size_t len, const int *fds, unsigned nfds)
{
	struct sim_process *process = sim_process_of(os);
	struct sim *sim = process->sim;
	struct sim_open *open = fd_socket(process, fd, SIM_OPEN_STREAM);
	int rc = process->dead ? -ESRCH : sim_call(sim, SIM_CALL_SOCKET_SEND);
	struct segment *segment;
	struct sim_socket *to;

	if (!rc)
		rc = open ? send_check(process, fds, nfds) : -EBADF;
	if (rc)
		return rc;
	to = open->socket->peer;
	if (!to || open->socket->shut || to->shut)
		return -EPIPE;
	if (len == 0)
		return 0;
	if (to->queued_bytes >= sim->options.socket_bytes)
		return -EAGAIN;
	len = draw_part(sim, u64_min(len, sim->options.socket_bytes - to->queued_bytes));
	stream_append(to, buf, len);
	if (nfds) {
		segment = list_entry(to->segments.prev, struct segment, link);
		segment->has_opens = true;
		segment->opens = sim_alloc(nfds * sizeof(struct sim_open *));
		segment->opens_count = nfds;
		for (unsigned i = 0; i < nfds; i++)
			segment->opens[i] = sim_open_get(sim_fd_open(process, fds[i]));
	}
	sim_trace(sim, "sent", open->socket->id, len);
	return (int64_t)len;
}

int sim_socket_write_event(struct sim_open *open)
{
	static const uint64_t one = 1;
	struct sim_socket *to = open->socket->peer;

	if (!to || open->socket->shut)
		return -EPIPE;
	if (to->queued_bytes < open->sim->options.socket_bytes)
		stream_append(to, &one, sizeof(one));
	return 0;
}

/* Takes over the segment's descriptors, or drops them all when they are too many. */
static int segment_take_fds(struct sim_process *process, struct segment *segment, int *fds,
	unsigned fds_max, unsigned *ret_nfds)
{
	unsigned count = segment->opens_count;
	bool fits = count <= fds_max;

	for (unsigned i = 0; i < count; i++) {
		if (fits)
			fds[i] = sim_fd_install(process, segment->opens[i]);
		else
			sim_open_put(segment->opens[i]);
	}
	segment->opens_count = 0;
	*ret_nfds = fits ? count : 0;
	return fits ? 0 : -EMSGSIZE;
}

static size_t stream_read(struct sim_socket *socket, unsigned char *buf, size_t len)
{
	size_t done = 0;

	while (done < len && !list_is_empty(&socket->segments)) {
		struct segment *segment = list_first_entry(&socket->segments, struct segment, link);
		size_t part = (size_t)u64_min(len - done, segment->len - segment->at);
		bool had_opens = segment->has_opens;

		if (had_opens && done > 0)
			break;
		memcpy(buf + done, segment->data + segment->at, part);
		done += part;
		segment->at += part;
		socket->queued_bytes -= part;
		if (segment->at == segment->len)
			segment_free(segment);
		if (had_opens)
			break;
	}
	return done;
}

static int64_t receive_nothing(struct sim_socket *socket)
{
	if (socket->reset) {
		socket->reset = false; /* told once */
		return -ECONNRESET;
	}
	return socket->ended || socket->shut ? 0 : -EAGAIN;
}

int64_t sim_socket_receive(struct os *os, int fd, void *buf, size_t len, int *fds, unsigned fds_max,
	unsigned *ret_nfds)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open = fd_socket(process, fd, SIM_OPEN_STREAM);
	int rc = process->dead ? -ESRCH : sim_call(process->sim, SIM_CALL_SOCKET_RECEIVE);
	struct segment *first;
	size_t done;

	*ret_nfds = 0;
	if (!rc && !open)
		rc = -EBADF;
	if (rc)
		return rc;
	if (list_is_empty(&open->socket->segments))
		return receive_nothing(open->socket);
	if (len == 0)
		return 0;
	first = list_first_entry(&open->socket->segments, struct segment, link);
	rc = segment_take_fds(process, first, fds, fds_max, ret_nfds);
	done = stream_read(open->socket, buf,
		draw_part(process->sim, (size_t)u64_min(len, open->socket->queued_bytes)));
	sim_trace(process->sim, "received", open->socket->id, done);
	return rc ? rc : (int64_t)done;
}

/* ---- state ---- */

int sim_socket_peer(struct os *os, int fd, struct os_peer *ret_peer)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open = fd_socket(process, fd, SIM_OPEN_STREAM);
	int rc = process->dead ? -ESRCH : sim_call(process->sim, SIM_CALL_SOCKET_PEER);

	if (rc)
		return rc;
	if (!open)
		return -EBADF;
	*ret_peer = open->socket->credentials;
	return 0;
}

void sim_socket_shutdown(struct os *os, int fd)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_open *open = fd_socket(process, fd, SIM_OPEN_STREAM);

	if (!open)
		return;
	open->socket->shut = true;
	if (open->socket->peer)
		open->socket->peer->ended = true;
}

bool sim_socket_is_readable(const struct sim_socket *socket)
{
	return !list_is_empty(&socket->segments) || !list_is_empty(&socket->backlog) ||
	       socket->ended || socket->shut || socket->reset;
}

bool sim_socket_is_writable(const struct sim_socket *socket)
{
	/* Half empty, as the kernel has it; a hang-up counts. */
	return !socket->peer || socket->shut ||
	       socket->peer->queued_bytes <= socket->sim->options.socket_bytes / 2;
}
