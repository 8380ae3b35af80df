/* state.c - what a reward keeps for the length of one episode.
 *
 * A node's table holds the bytes of episodes that were still running when their last batch was
 * accepted. Scoring works on a copy in the frame, so a score repeated, chunked or asked of derived
 * data changes nothing; mete__episodes_end writes the copies of the accepted batch back.
 */
#include "engine/context.h"

#include <stdlib.h>
#include <string.h>

enum { RUNNING = 1, ENDED = 2 };

/* Index of the episode's entry, or of the free place it would take. room is a power of two. */
static size_t
slot_of(const mete__node_private *table, uint64_t episode)
{
    size_t mask = table->state_room - 1;
    size_t at = (size_t)mete_hash_mix(episode, 1) & mask;
    while (table->state_used[at] && table->state_id[at] != episode)
        at = (at + 1) & mask;
    return at;
}

bool
mete__states_load(const mete_node *node, const mete_batch *batch, char *copy)
{
    const mete__node_private *table = node->private_;
    size_t each = (size_t)node->plugin->as.head.episode_size;
    if (!copy)
        return false;
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t at = table->state_room ? slot_of(table, batch->id[i]) : 0;
        bool known = table->state_room && table->state_used[at];
        if (known && !(batch->starts && batch->starts[i]))
            memcpy(copy + i * each, table->state_bytes + at * each, each);
        else
            memset(copy + i * each, 0, each);
    }
    return true;
}

static bool
table_make(mete__node_private *table, size_t states, size_t each)
{
    size_t room = 64;
    while (room < 2 * states)
        room *= 2;
    table->state_id = calloc(room, sizeof *table->state_id);
    table->state_used = calloc(room, 1);
    table->state_bytes = malloc(room * each);
    table->states = 0;
    table->state_room = room;
    return table->state_id && table->state_used && table->state_bytes;
}

void
mete__states_free(mete__node_private *table)
{
    free(table->state_id);
    free(table->state_used);
    free(table->state_bytes);
    table->state_id = NULL;
    table->state_used = NULL;
    table->state_bytes = NULL;
    table->states = table->state_room = 0;
}

static void
table_put(mete__node_private *table, uint64_t episode, const char *bytes, size_t each)
{
    size_t at = slot_of(table, episode);
    table->states += !table->state_used[at];
    table->state_used[at] = RUNNING;
    table->state_id[at] = episode;
    memcpy(table->state_bytes + at * each, bytes, each);
}

/* A new table: the episodes of the old one that this batch does not hold, and those still running
 * after it. On out of memory the old one stands. */
static void
commit(mete_node *node, const mete_batch *batch, const char *copy)
{
    mete__node_private *table = node->private_;
    size_t each = (size_t)node->plugin->as.head.episode_size;
    mete__node_private fresh = {0};
    if (!table_make(&fresh, table->states + batch->episodes, each)) {
        mete__states_free(&fresh);
        return;
    }
    for (size_t i = 0; i < table->state_room; i++)
        if (table->state_used[i])
            table_put(&fresh, table->state_id[i], table->state_bytes + i * each, each);
    for (size_t i = 0; i < batch->episodes; i++) {
        table_put(&fresh, batch->id[i], copy + i * each, each);
        if (batch->terminated[i] || batch->truncated[i])
            fresh.state_used[slot_of(&fresh, batch->id[i])] = ENDED;
    }
    mete__states_free(table);
    if (!table_make(table, fresh.states, each))
        mete__states_free(table);
    for (size_t i = 0; table->state_room && i < fresh.state_room; i++)
        if (fresh.state_used[i] == RUNNING)
            table_put(table, fresh.state_id[i], fresh.state_bytes + i * each, each);
    mete__states_free(&fresh);
}

/* What stands in for a failed row that has none before it. */
static void
keep_last(mete_node *node, const mete_batch *batch, const mete_scores *scores)
{
    for (size_t i = batch->episodes; i-- > 0;)
        if (scores->status[i] == METE_VALID) {
            node->private_->last = scores->episode[i];
            return;
        }
}

void
mete__episodes_end(mete__engine *engine, const mete_batch *batch)
{
    const mete__frame *frame = engine->frame;
    if (!frame || frame->batch != batch)
        return;
    for (size_t n = 0; n < engine->nodes; n++) {
        mete__result *result = &frame->result[n];
        if (result->done && result->state)
            commit(engine->node[n], batch, result->state);
        if (result->done && engine->node[n]->private_->on_error == METE__ON_ERROR_LAST)
            keep_last(engine->node[n], batch, &result->scores);
    }
}

void
mete__episodes_forget(mete_node *node)
{
    mete__states_free(node->private_);
    for (size_t k = 0; k < node->children; k++)
        mete__episodes_forget(node->child[k]);
}

void *
mete_episode_state(mete_ctx *cx, size_t row)
{
    size_t each = (size_t)cx->node->plugin->as.head.episode_size;
    mete__result *result = cx->frame ? &cx->frame->result[cx->node->private_->number] : NULL;
    if (!result || !result->state || row >= cx->batch->episodes) {
        mete_fail(cx, METE_EPLUGIN, "asked for the state of an episode it was not given");
        return NULL;
    }
    return result->state + (cx->chunk->row + row) * each;
}

size_t
mete__states_count(const mete_node *node)
{
    return node->private_->states;
}

void
mete__states_write(const mete_node *node, uint64_t *id, char *bytes)
{
    const mete__node_private *table = node->private_;
    size_t each = (size_t)node->plugin->as.head.episode_size;
    size_t count = 0;
    for (size_t i = 0; i < table->state_room; i++)
        if (table->state_used[i]) {
            id[count] = table->state_id[i];
            memcpy(bytes + count++ * each, table->state_bytes + i * each, each);
        }
}

bool
mete__states_read(mete_node *node, size_t count, const uint64_t *id, const char *bytes)
{
    mete__node_private *table = node->private_;
    size_t each = (size_t)node->plugin->as.head.episode_size;
    mete__states_free(table);
    if (!table_make(table, count, each)) {
        mete__states_free(table);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        table_put(table, id[i], bytes + i * each, each);
    return true;
}
