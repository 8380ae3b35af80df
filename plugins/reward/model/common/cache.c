/* cache.c - states of texts that a trunk has read, in an open-addressed table that doubles up to a
 * bound. */
#include "net.h"

#include <mete/random.h>
#include <stdlib.h>
#include <string.h>

struct cache {
    size_t width, most; /* states at most */
    size_t count, room; /* states there are, and have room */
    size_t slots;       /* a power of two, at least 2 x room; 0 at first */
    uint64_t owner;
    struct cache_key *key; /* [room] */
    float *state;          /* [room x width] */
    uint32_t *slot;        /* [slots] 1 + the number of a state; 0: free */
};

struct cache *
cache_new(size_t width, size_t bytes)
{
    struct cache *cache = calloc(1, sizeof *cache);
    size_t each = width * sizeof(float) + sizeof(struct cache_key) + 4 * sizeof(uint32_t);
    size_t most = bytes / each;
    if (cache)
        *cache = (struct cache){.width = width, .most = most < UINT32_MAX ? most : UINT32_MAX - 1};
    return cache;
}

void
cache_free(struct cache *cache)
{
    if (!cache)
        return;
    free(cache->key);
    free(cache->state);
    free(cache->slot);
    free(cache);
}

void
cache_of(struct cache *cache, uint64_t key)
{
    if (cache->owner == key)
        return;
    cache->owner = key;
    cache->count = 0;
    if (cache->slots)
        memset(cache->slot, 0, cache->slots * sizeof *cache->slot);
}

struct cache_key
cache_key_of(mete_text prompt, mete_text response)
{
    uint64_t a = mete_hash(1, prompt.data, prompt.length);
    uint64_t b = mete_hash(2, prompt.data, prompt.length);
    return (struct cache_key){mete_hash(a, response.data, response.length),
                              mete_hash(b, response.data, response.length)};
}

/* Where a key is, or would be put. */
static size_t
place_of(const struct cache *cache, struct cache_key key)
{
    size_t at = (size_t)key.a & (cache->slots - 1);
    for (; cache->slot[at]; at = (at + 1) & (cache->slots - 1)) {
        struct cache_key there = cache->key[cache->slot[at] - 1];
        if (there.a == key.a && there.b == key.b)
            break;
    }
    return at;
}

const float *
cache_find(const struct cache *cache, struct cache_key key)
{
    uint32_t found = cache->slots ? cache->slot[place_of(cache, key)] : 0;
    return found ? cache->state + (found - 1) * cache->width : NULL;
}

/* Room for one more state; 0: there is none. What has grown so far stays good. */
static int
grow(struct cache *cache)
{
    if (cache->count < cache->room)
        return 1;
    size_t room = cache->room ? 2 * cache->room : 1024, slots = 2048;
    room = room < cache->most ? room : cache->most;
    while (slots < 2 * room)
        slots *= 2;
    if (room <= cache->room)
        return 0;
    struct cache_key *key = realloc(cache->key, room * sizeof *key);
    cache->key = key ? key : cache->key;
    float *state = realloc(cache->state, room * cache->width * sizeof *state);
    cache->state = state ? state : cache->state;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!key || !state || !slot) {
        free(slot);
        return 0;
    }
    free(cache->slot);
    cache->slot = slot;
    cache->slots = slots;
    cache->room = room;
    for (size_t k = 0; k < cache->count; k++)
        cache->slot[place_of(cache, cache->key[k])] = (uint32_t)k + 1;
    return 1;
}

void
cache_put(struct cache *cache, struct cache_key key, const float *state)
{
    if (!grow(cache))
        return;
    size_t at = place_of(cache, key);
    if (cache->slot[at])
        return;
    cache->key[cache->count] = key;
    memcpy(cache->state + cache->count * cache->width, state, cache->width * sizeof *state);
    cache->slot[at] = (uint32_t)++cache->count;
}
