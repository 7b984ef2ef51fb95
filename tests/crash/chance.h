/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers drawn from a seed (splitmix64): the same seed, the same numbers. Own streams for own
 * purposes, so that one more draw here does not change what happens there.
 */
#ifndef CRASH_CHANCE_H
#define CRASH_CHANCE_H

#include "base/util.h"

struct chance {
	uint64_t state;
};

static inline uint64_t chance_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint64_t chance_next(struct chance *chance)
{
	return chance_mix(chance->state += UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint64_t chance_below(struct chance *chance, uint64_t below) /* 0 .. below - 1 */
{
	return below > 1 ? chance_next(chance) % below : 0;
}

static inline bool chance_one_in(struct chance *chance, unsigned n)
{
	return chance_below(chance, n) == 0;
}

#endif
