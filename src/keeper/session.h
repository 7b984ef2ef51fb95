/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one front-end has told about its device, as far as a successor of the serving process has to
 * know it, and the messages that tell it again. docs/keeper.md has the table.
 *
 * Nothing here is checked for sense: what is not well formed is not recorded, and the server, which
 * gets every message, refuses it.
 */
#ifndef KEEPER_SESSION_H
#define KEEPER_SESSION_H

#include "base/list.h"
#include "base/util.h"
#include "spec/vhost_user.h"

#define KEPT_QUEUES_MAX  256
#define KEPT_REGIONS_MAX 512
#define KEPT_FDS_MAX     253

struct kept_message {
	uint32_t unused; /* so that the payload follows the header at once */
	struct vhost_user_header header;
	union {
		uint8_t bytes[VHOST_USER_PAYLOAD_MAX];
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
		struct vhost_user_single_region single;
		struct vhost_user_inflight inflight;
		struct vhost_user_log log;
	} payload;
	int fds[KEPT_FDS_MAX]; /* owned; -1: taken out */
	unsigned fd_count;
};

static_assert(offsetof(struct kept_message, payload) ==
		      offsetof(struct kept_message, header) + sizeof(struct vhost_user_header),
	"as they come");

/* Of SET_VRING_KICK, CALL, ERR. */
struct kept_event {
	bool told;
	int fd; /* owned; -1: it was told that there is none */
};

struct kept_ring {
	bool has_num, has_base, has_addr;
	uint32_t num;
	uint32_t base;
	struct vhost_user_vring_addr addr;
	struct kept_event kick; /* told: the ring is started */
	struct kept_event call;
	struct kept_event err;
	bool enable_told;
	bool enabled;
	bool undrained; /* disabled by a message that asked for no answer */
};

struct kept_region {
	struct vhost_user_region region;
	int fd;
};

struct kept_state {
	uint64_t features;
	uint64_t protocol_features; /* the front-end's, and ours for the in-flight region */
	bool features_told;
	bool reply_ack;
	int backend_fd; /* -1: none, as all here */
	struct kept_region *regions;
	unsigned region_count;
	struct vhost_user_inflight inflight;
	uint32_t inflight_size; /* of its payload */
	int inflight_fd;
	bool inflight_is_ours;
	struct vhost_user_log log;
	int log_fd;
	unsigned queues;
	struct kept_ring *rings;
};

int kept_state_init(struct kept_state *state, unsigned queues) MUST_CHECK;
void kept_state_fini(struct kept_state *state);

/* Does the server answer it? */
bool kept_state_expects_reply(
	const struct kept_state *state, const struct vhost_user_header *header);
/* The server has done it, or will: no answer is due. Takes descriptors out of the message. reply:
 * NULL, or the answer. */
void kept_state_record(
	struct kept_state *state, struct kept_message *message, const struct kept_message *reply);
/* Before a SET_VRING_KICK: a front-end that has given no in-flight region gets one of ours. True:
 * the server has to be told by messages of kept_state_tell_inflight. */
bool kept_state_needs_inflight(const struct kept_state *state, const struct kept_message *message);
int kept_state_make_inflight(struct kept_state *state) MUST_CHECK;

/* Descriptors are borrowed. */
typedef int (*kept_send_fn)(void *arg, uint32_t request, const void *payload, uint32_t size,
	const int *fds, unsigned fd_count);

int kept_state_tell_inflight(const struct kept_state *state, kept_send_fn send, void *arg);
/* All of it; how many answers the server gives to that is in *ret_replies. */
int kept_state_replay(
	const struct kept_state *state, kept_send_fn send, void *arg, unsigned *ret_replies);

void kept_message_discard(struct kept_message *message);

#endif
