/* random.c - Philox4x32-10 and what is drawn from it; see include/mete/random.h. */
#include <mete/random.h>

#include <math.h>
#include <string.h>

/* Ten rounds of Salmon et al. 2011, table 2 constants. */
static void
philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c0 * 0xD2511F53u, b = (uint64_t)c2 * 0xCD9E8D57u;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

mete_rng
mete_rng_make(uint64_t key, uint64_t episode, uint32_t step)
{
    mete_rng rng = {.key = {(uint32_t)key, (uint32_t)(key >> 32)},
                    .counter = {0, step, (uint32_t)episode, (uint32_t)(episode >> 32)},
                    .used = 4};
    return rng;
}

uint32_t
mete_rng_bits(mete_rng *rng)
{
    if (rng->used == 4) {
        philox(rng->counter, rng->key, rng->block);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

double
mete_rng_uniform(mete_rng *rng)
{
    uint64_t high = mete_rng_bits(rng), low = mete_rng_bits(rng);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

uint32_t
mete_rng_below(mete_rng *rng, uint32_t n)
{
    uint64_t product = (uint64_t)mete_rng_bits(rng) * n;
    if ((uint32_t)product < n) {
        uint32_t least = -n % n;
        while ((uint32_t)product < least)
            product = (uint64_t)mete_rng_bits(rng) * n;
    }
    return (uint32_t)(product >> 32);
}

double
mete_rng_normal(mete_rng *rng)
{
    double a = ((double)mete_rng_bits(rng) + 0.5) * 0x1p-32; /* never 0 */
    double b = (double)mete_rng_bits(rng) * 0x1p-32;
    return sqrt(-2 * log(a)) * cos(6.283185307179586476925 * b);
}

size_t
mete_rng_choose(mete_rng *rng, const double *weight, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += weight[i];
    double left = mete_rng_uniform(rng) * total;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (weight[i] <= 0)
            continue;
        last = i;
        left -= weight[i];
        if (left < 0)
            return i;
    }
    return last; /* rounding ate the rest */
}

/* Half of the smallest even number of bits that holds n - 1. */
static unsigned
half_bits(uint64_t n)
{
    unsigned half = 1;
    while (half < 32 && (UINT64_C(1) << (2 * half)) < n)
        half++;
    return half;
}

/* One pass of a Feistel network of six rounds over 2 `half` bits. */
static inline uint64_t
feistel(uint64_t key, unsigned half, uint64_t i)
{
    uint64_t mask = (UINT64_C(1) << half) - 1;
    uint64_t left = i >> half, right = i & mask;
    for (uint64_t round = 0; round < 6; round++) {
        uint64_t mixed = mete_mix64(key ^ (right + (round << 40) + UINT64_C(0x9e3779b97f4a7c15)));
        uint64_t next = left ^ (mixed & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

uint64_t
mete_permute(uint64_t key, uint64_t i, uint64_t n)
{
    unsigned half = half_bits(n);
    do /* walk until inside */
        i = feistel(key, half, i);
    while (i >= n);
    return i;
}

METE_WIDE static void
feistel_all(uint64_t key, unsigned half, uint64_t *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = feistel(key, half, x[i]);
}

void
mete_permute_range(uint64_t key, uint64_t from, size_t count, uint64_t n, uint32_t *out)
{
    enum { BLOCK = 64 };
    uint64_t x[BLOCK];
    uint32_t at[BLOCK];
    unsigned half = half_bits(n);
    for (size_t done = 0; done < count; done += BLOCK) {
        size_t outside = count - done < BLOCK ? count - done : BLOCK;
        for (size_t k = 0; k < outside; k++) {
            x[k] = from + done + k;
            at[k] = (uint32_t)k;
        }
        while (outside) { /* those still outside walk on together, without a branch an element */
            feistel_all(key, half, x, outside);
            size_t left = 0;
            for (size_t k = 0; k < outside; k++) {
                uint64_t found = x[k];
                uint32_t where = at[k];
                out[done + where] = (uint32_t)found;
                x[left] = found;
                at[left] = where;
                left += found >= n;
            }
            outside = left;
        }
    }
}

uint64_t
mete_hash_mix(uint64_t a, uint64_t b)
{
    return mete_mix64(a + mete_mix64(b + UINT64_C(0x9e3779b97f4a7c15)));
}

uint64_t
mete_hash(uint64_t seed, const void *data, size_t length)
{
    const unsigned char *at = data;
    uint64_t hash = mete_hash_mix(seed, length);
    for (; length >= 8; length -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = mete_mix64((hash ^ word) * UINT64_C(0x9ddfea08eb382d69));
    }
    uint64_t rest = 0;
    for (size_t k = 0; k < length; k++)
        rest |= (uint64_t)at[k] << (8 * k);
    return mete_mix64(hash ^ rest);
}
