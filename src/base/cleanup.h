/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a scope owns frees itself. Not for functions that AWAIT (core/flow.h): they return in the
 * middle of a scope.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_mutex(pthread_mutex_t **mutex)
{
	pthread_mutex_unlock(*mutex);
}

#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))
#define CLEANUP_FD   __attribute__((cleanup(cleanup_fd)))

/* Holds the mutex until the end of the enclosing block. */
#define SCOPED_LOCK(mutex)                                                                         \
	pthread_mutex_lock(mutex);                                                                 \
	pthread_mutex_t *scoped_lock __attribute__((cleanup(cleanup_mutex), unused)) = (mutex)

#endif
