/* token_bpe.c - merges the tokens of one piece: the pair of lowest rank first, leftmost of equals.
 *
 * A short piece is scanned for its best pair again and again; a long one keeps its pairs in a heap,
 * so a piece of n bytes takes n log n steps whatever it holds.
 */
#include "text/token.h"

#include <stdlib.h>

#define SHORT 48 /* up to here scanning is faster than a heap */
#define NONE UINT32_MAX

uint32_t
mete__pair_rank(const mete_tokeniser *t, uint32_t left, uint32_t right, uint32_t *made)
{
    uint64_t key = ((uint64_t)left << 32 | right) + 1;
    size_t at = (size_t)mete__pair_hash(key) & (t->pairs - 1);
    for (; t->pair[at].key; at = (at + 1) & (t->pairs - 1))
        if (t->pair[at].key == key) {
            *made = t->pair[at].made;
            return t->pair[at].rank;
        }
    return METE__NO_RANK;
}

int
mete__merger_reserve(mete__merger *merger, size_t tokens)
{
    if (tokens <= merger->room)
        return 0;
    size_t room = 2 * tokens;
    uint32_t *id = realloc(merger->id, room * sizeof *id);
    if (!id)
        return -1;
    merger->id = id;
    merger->room = room;
    return 0;
}

void
mete__merger_free(mete__merger *merger)
{
    free(merger->id);
    free(merger->symbol);
    free(merger->heap);
    *merger = (mete__merger){0};
}

static size_t
merge_short(const mete_tokeniser *t, uint32_t *id, size_t count)
{
    uint32_t rank[SHORT], made[SHORT];
    for (size_t i = 0; i + 1 < count; i++)
        rank[i] = mete__pair_rank(t, id[i], id[i + 1], &made[i]);
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == METE__NO_RANK)
            break;
        id[best] = made[best];
        count--;
        for (size_t i = best + 1; i < count; i++)
            id[i] = id[i + 1];
        for (size_t i = best + 1; i + 1 < count; i++) {
            rank[i] = rank[i + 1];
            made[i] = made[i + 1];
        }
        if (best > 0)
            rank[best - 1] = mete__pair_rank(t, id[best - 1], id[best], &made[best - 1]);
        if (best + 1 < count)
            rank[best] = mete__pair_rank(t, id[best], id[best + 1], &made[best]);
    }
    return count;
}

/* ---- long pieces ----------------------------------------------------------------------------- */

static bool
before(mete__candidate a, mete__candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void
sift_down(mete__merger *m, size_t at)
{
    mete__candidate moved = m->heap[at];
    for (size_t child; (child = 2 * at + 1) < m->count; at = child) {
        if (child + 1 < m->count && before(m->heap[child + 1], m->heap[child]))
            child++;
        if (!before(m->heap[child], moved))
            break;
        m->heap[at] = m->heap[child];
    }
    m->heap[at] = moved;
}

static void
push(mete__merger *m, mete__candidate candidate)
{
    size_t at = m->count++;
    while (at > 0 && before(candidate, m->heap[(at - 1) / 2])) {
        m->heap[at] = m->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    m->heap[at] = candidate;
}

static mete__candidate
pop(mete__merger *m)
{
    mete__candidate top = m->heap[0];
    m->heap[0] = m->heap[--m->count];
    if (m->count)
        sift_down(m, 0);
    return top;
}

static int
reserve_long(mete__merger *m, size_t count)
{
    /* Each merge takes a symbol away and adds at most two candidates. */
    if (m->symbols < count) {
        mete__symbol *symbol = realloc(m->symbol, count * sizeof *symbol);
        if (!symbol)
            return -1;
        m->symbol = symbol;
        m->symbols = count;
    }
    if (m->heap_room < 3 * count) {
        mete__candidate *heap = realloc(m->heap, 3 * count * sizeof *heap);
        if (!heap)
            return -1;
        m->heap = heap;
        m->heap_room = 3 * count;
    }
    return 0;
}

static void
consider(const mete_tokeniser *t, mete__merger *m, uint32_t at)
{
    uint32_t made, next = m->symbol[at].next;
    uint32_t rank = mete__pair_rank(t, m->symbol[at].id, m->symbol[next].id, &made);
    if (rank != METE__NO_RANK)
        push(m, (mete__candidate){rank, at, made});
}

static size_t
merge_long(const mete_tokeniser *t, mete__merger *m, size_t count)
{
    if (reserve_long(m, count))
        return SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        m->symbol[i] = (mete__symbol){m->id[i], i ? (uint32_t)i - 1 : NONE,
                                      i + 1 < count ? (uint32_t)i + 1 : NONE};
    m->count = 0;
    for (size_t i = 0; i + 1 < count; i++)
        consider(t, m, (uint32_t)i);
    while (m->count) {
        mete__candidate top = pop(m);
        mete__symbol *left = &m->symbol[top.at];
        uint32_t made;
        /* What was pushed may be gone since: merged into its left, or another pair by now. */
        if (left->id == NONE || left->next == NONE ||
            mete__pair_rank(t, left->id, m->symbol[left->next].id, &made) != top.rank)
            continue;
        mete__symbol *right = &m->symbol[left->next];
        left->id = top.made;
        left->next = right->next;
        right->id = NONE;
        if (left->next != NONE) {
            m->symbol[left->next].previous = top.at;
            consider(t, m, top.at);
        }
        if (left->previous != NONE)
            consider(t, m, left->previous);
    }
    size_t left = 0;
    for (uint32_t at = 0; at != NONE; at = m->symbol[at].next)
        m->id[left++] = m->symbol[at].id;
    return left;
}

size_t
mete__merge_run(const mete_tokeniser *t, mete__merger *merger, size_t count)
{
    if (count < 2 || !t->merges)
        return count;
    return count <= SHORT ? merge_short(t, merger->id, count) : merge_long(t, merger, count);
}
