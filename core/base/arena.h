/* arena.h - bump memory for what dies together. Blocks grow by doubling and are kept on release, so
 * a warm arena never calls malloc. Not thread-safe: one thread, one arena. */
#ifndef METE_BASE_ARENA_H
#define METE_BASE_ARENA_H

#include <mete/base.h>

typedef struct mete__arena mete__arena;

typedef struct mete__arena_mark {
    size_t block, used;
} mete__arena_mark;

mete__arena *mete__arena_new(void);
void mete__arena_free(mete__arena *arena);
/* `bytes` at a 64-byte boundary, not zeroed; NULL when memory ran out. 0 bytes give a pointer. */
void *mete__arena_take(mete__arena *arena, size_t bytes);
void *mete__arena_zero(mete__arena *arena, size_t bytes);
char *mete__arena_string(mete__arena *arena, const char *data, size_t length);
/* Everything taken since the mark is gone. */
mete__arena_mark mete__arena_marked(const mete__arena *arena);
void mete__arena_release(mete__arena *arena, mete__arena_mark mark);
/* Number of blocks ever allocated; stays put once warm. For tests. */
size_t mete__arena_blocks(const mete__arena *arena);

#endif
