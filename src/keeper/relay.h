/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One front-end's connection, whole messages of which go to the serving process and answers back.
 * It outlives serving processes. All in the keeper's one thread.
 */
#ifndef KEEPER_RELAY_H
#define KEEPER_RELAY_H

#include "keeper/session.h"

struct watch {
	int fd; /* -1: none */
	bool added;
	uint32_t events;
	void (*ready)(struct watch *watch, uint32_t events);
};

/* No more than is asked for, and the end of the other side; 0 keeps only that. */
void watch_set(int epoll_fd, struct watch *watch, uint32_t events);
void watch_close(int epoll_fd, struct watch *watch);

enum relay_phase {
	RELAY_READING, /* the next message of the front-end */
	RELAY_AWAITING, /* the answer to it */
	RELAY_REPLYING, /* the front-end takes the answer */
};

struct relay {
	struct list entry;
	int epoll_fd;
	char name[256]; /* of the controller */
	struct kept_state state;
	struct watch front;
	struct watch server; /* fd -1: there is none */
	uint64_t lost_ns; /* when it went without a word; 0: it is there */
	bool ended; /* to be destroyed; nothing is polled any more */
	enum relay_phase phase;
	struct kept_message current; /* of the front-end; kept until it is answered */
	size_t received;
	struct kept_message reply;
	size_t reply_received;
	size_t reply_sent;
	unsigned replies_to_replay; /* that the front-end has not asked for */
	struct list out; /* to the server */
};

struct relay_options {
	int epoll_fd;
	const char *name;
	unsigned queues;
	int front_fd; /* taken over, as is the other, whatever the result */
	int server_fd;
};

int relay_create(const struct relay_options *options, struct relay **ret_relay) MUST_CHECK;
void relay_destroy(struct relay *relay);
/* The server has died: what it said before counts. */
void relay_detach(struct relay *relay);
/* A successor: it is told everything, and what had no answer yet. */
void relay_attach(struct relay *relay, int server_fd);

uint64_t keeper_now_ns(void);

#endif
