#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN 64
#define FIRST_BLOCK ((size_t)64 * 1024)
#define MOST_BLOCKS 48

struct mete__arena {
    struct {
        char *base;
        size_t size;
    } block[MOST_BLOCKS];
    size_t blocks;  /* allocated */
    size_t current; /* being filled */
    size_t used;    /* of the current block */
};

mete__arena *
mete__arena_new(void)
{
    return calloc(1, sizeof(mete__arena));
}

void
mete__arena_free(mete__arena *arena)
{
    if (!arena)
        return;
    for (size_t i = 0; i < arena->blocks; i++)
        free(arena->block[i].base);
    free(arena);
}

/* Adds a block that holds at least `bytes`, each at least twice the one before. */
static int
grow(mete__arena *arena, size_t bytes)
{
    if (arena->blocks == MOST_BLOCKS)
        return -1;
    size_t size = FIRST_BLOCK;
    if (arena->blocks)
        size = 2 * arena->block[arena->blocks - 1].size;
    if (size < bytes)
        size = (bytes + FIRST_BLOCK - 1) / FIRST_BLOCK * FIRST_BLOCK;
    char *base = aligned_alloc(ALIGN, size);
    if (!base)
        return -1;
    arena->block[arena->blocks].base = base;
    arena->block[arena->blocks].size = size;
    arena->blocks++;
    return 0;
}

void *
mete__arena_take(mete__arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    while (arena->current < arena->blocks) {
        if (arena->block[arena->current].size - arena->used >= bytes) {
            char *taken = arena->block[arena->current].base + arena->used;
            arena->used += bytes;
            return taken;
        }
        if (arena->current + 1 == arena->blocks)
            break;
        arena->current++;
        arena->used = 0;
    }
    if (grow(arena, bytes))
        return NULL;
    arena->current = arena->blocks - 1;
    arena->used = bytes;
    return arena->block[arena->current].base;
}

void *
mete__arena_zero(mete__arena *arena, size_t bytes)
{
    void *taken = mete__arena_take(arena, bytes);
    if (taken)
        memset(taken, 0, bytes);
    return taken;
}

char *
mete__arena_string(mete__arena *arena, const char *data, size_t length)
{
    char *taken = mete__arena_take(arena, length + 1);
    if (!taken)
        return NULL;
    if (length)
        memcpy(taken, data, length);
    taken[length] = 0;
    return taken;
}

mete__arena_mark
mete__arena_marked(const mete__arena *arena)
{
    return (mete__arena_mark){arena->current, arena->used};
}

void
mete__arena_release(mete__arena *arena, mete__arena_mark mark)
{
    arena->current = mark.block;
    arena->used = mark.used;
}

size_t
mete__arena_blocks(const mete__arena *arena)
{
    return arena->blocks;
}
