/* random.h - counter-based random numbers: same key, same bits, on any thread, in any order.
 *
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). A stream is a
 * key (seed and node path, hashed) and a counter (episode id, step); draws count on from there. Two
 * streams of different key or counter are independent for every practical purpose, so results do
 * not depend on threads, batch split, resume, or which other nodes are in the tree.
 */
#ifndef METE_RANDOM_H
#define METE_RANDOM_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One stream. Plain data: copy it to fork it. `block` holds four words, `used` of them spent. */
typedef struct mete_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* counter[0] counts blocks; [1] is the step; [2..3] the episode id */
    uint32_t block[4];
    uint32_t used;
} mete_rng;

/* The stream of (key, episode, step). A node's key is mete_key(cx); see plugin.h. */
METE_API mete_rng mete_rng_make(uint64_t key, uint64_t episode, uint32_t step);
/* The next 32 random bits. */
METE_API uint32_t mete_rng_bits(mete_rng *rng);
/* Uniform in [0, 1), a multiple of 2^-53. */
METE_API double mete_rng_uniform(mete_rng *rng);
/* Uniform integer in [0, n), without bias (Lemire 2019); n > 0. */
METE_API uint32_t mete_rng_below(mete_rng *rng, uint32_t n);
/* Standard normal (Box-Muller; two words a draw, so the stream stays countable). */
METE_API double mete_rng_normal(mete_rng *rng);
/* An index in [0, n) with probability proportional to weight[i] >= 0. */
METE_API size_t mete_rng_choose(mete_rng *rng, const double *weight, size_t n);
/* Element i of a pseudo-random permutation of 0..n-1 chosen by `key` (a Feistel network with cycle
 * walking), without storing it. i < n. */
METE_API uint64_t mete_permute(uint64_t key, uint64_t i, uint64_t n);
/* Its elements [from, from + count) into out [count], several times as fast. n <= 2^32. */
METE_API void mete_permute_range(uint64_t key, uint64_t from, size_t count, uint64_t n,
                                 uint32_t *out);

/* 64-bit hash of bytes (wyhash-like mixing of this project's own; stable across versions: ids in
 * checkpoints depend on it). `seed` chains hashes. */
METE_API uint64_t mete_hash(uint64_t seed, const void *data, size_t length);
METE_API uint64_t mete_hash_mix(uint64_t a, uint64_t b);

/* A 64-bit finaliser (SplitMix64; Steele, Lea & Flood 2014), inline for hot loops that need a few
 * random bits a lane: mix(key + episode * odd + draw) has no state and vectorises. */
static inline uint64_t
mete_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#ifdef __cplusplus
}
#endif
#endif
