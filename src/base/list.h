/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive circular doubly linked list. A head and an entry are the same type; an entry that is
 * on no list points to itself, so that list_remove may be called twice. Not thread safe.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/util.h"

struct list {
	struct list *prev;
	struct list *next;
};

#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}

static inline void list_init(struct list *l)
{
	l->prev = l;
	l->next = l;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_insert_between(struct list *entry, struct list *prev, struct list *next)
{
	entry->prev = prev;
	entry->next = next;
	prev->next = entry;
	next->prev = entry;
}

static inline void list_add_head(struct list *head, struct list *entry)
{
	list_insert_between(entry, head, head->next);
}

static inline void list_add_tail(struct list *head, struct list *entry)
{
	list_insert_between(entry, head->prev, head);
}

static inline void list_remove(struct list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	list_init(entry);
}

/* Moves all entries of from to the end of to; from is empty afterwards. */
static inline void list_move_all(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)

#define list_first_entry(head, type, member) list_entry((head)->next, type, member)

/* Where the member is. At the end of a walk pos is the head minus an offset, no entry: its members
 * must not be named, not even for their address. */
#define list_member(pos, member)                                                                   \
	((struct list *)((uintptr_t)(pos) + offsetof(__typeof__(*(pos)), member)))

#define list_for_each_entry(pos, head, member)                                                     \
	for (pos = list_entry((head)->next, __typeof__(*pos), member);                             \
		list_member(pos, member) != (head);                                                \
		pos = list_entry(list_member(pos, member)->next, __typeof__(*pos), member))

/* The current entry may be removed in the body. */
#define list_for_each_entry_safe(pos, tmp, head, member)                                           \
	for (pos = list_entry((head)->next, __typeof__(*pos), member),                             \
	    tmp = list_entry(list_member(pos, member)->next, __typeof__(*pos), member);            \
		list_member(pos, member) != (head); pos = tmp,                                     \
	    tmp = list_entry(list_member(tmp, member)->next, __typeof__(*tmp), member))

#endif
