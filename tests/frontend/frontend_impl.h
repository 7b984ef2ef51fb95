/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share and tests do not need. */
#ifndef FRONTEND_FRONTEND_IMPL_H
#define FRONTEND_FRONTEND_IMPL_H

#include <stdint.h>
#include <time.h>

#include "frontend/connection.h"
#include "frontend/ring.h"

static inline int64_t fe_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Writes the sentence, returns rc. */
int fe_conn_fail(struct fe_conn *conn, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The two kinds of ring behind ring.c. add() has a chain that fits and, when it needs one, a
 * filled indirect table. pop() has checked nothing. */
int fe_split_create(struct fe_ring *ring, bool tight);
void fe_split_reset_at(struct fe_ring *ring, uint16_t index);
int fe_split_add(struct fe_ring *ring, const struct fe_chain *chain, void *table, uint16_t *ret_id);
void fe_split_publish(struct fe_ring *ring);
bool fe_split_wants_kick(struct fe_ring *ring);
bool fe_split_ready(const struct fe_ring *ring);
int fe_split_pop(struct fe_ring *ring, struct fe_completion *ret_completion);
void fe_split_interrupts(struct fe_ring *ring, bool on);

int fe_packed_create(struct fe_ring *ring, bool tight);
void fe_packed_reset_at(struct fe_ring *ring, uint16_t index);
int fe_packed_add(
	struct fe_ring *ring, const struct fe_chain *chain, void *table, uint16_t *ret_id);
void fe_packed_publish(struct fe_ring *ring);
bool fe_packed_wants_kick(struct fe_ring *ring);
bool fe_packed_ready(const struct fe_ring *ring);
int fe_packed_pop(struct fe_ring *ring, struct fe_completion *ret_completion);
void fe_packed_interrupts(struct fe_ring *ring, bool on);

/* Shared bookkeeping. place: one area of `size` bytes, on a cache line or `shift` bytes behind. */
void *fe_ring_place(struct fe_ring *ring, uint32_t area, size_t size, uint32_t shift);
struct fe_slot *fe_ring_fill_slot(struct fe_ring *ring, uint16_t id, const struct fe_chain *chain,
	void *table, uint16_t descriptors);
/* Of a returned id: checks it, frees its table, fills the completion. */
int fe_ring_take_slot(
	struct fe_ring *ring, uint32_t id, uint32_t len, struct fe_completion *ret_completion);
int fe_ring_fault(struct fe_ring *ring, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
