/* rubric.c - criteria by prompt: asked of a generator once, then kept.
 *
 * A generator sees one row for each distinct prompt, without responses, and only what a policy may
 * see. Its criteria are cached by prompt id for as long as the node lives, so that all samples of a
 * prompt, in every command, are judged alike. What `refine` gave a prompt is kept until it is
 * refined again (refine.c). */
#include "engine/context.h"

#include <stdlib.h>
#include <string.h>

/* Prompts kept at most per node between batches; past that the cache starts over, which changes no
 * result. */
#define MOST_PROMPTS 200000

static mete_text
text_keep(mete_text text)
{
    char *copy = malloc(text.length + 1);
    if (!copy)
        return (mete_text){NULL, 0};
    if (text.length)
        memcpy(copy, text.data, text.length);
    copy[text.length] = 0;
    return (mete_text){copy, text.length};
}

static void
criterion_drop(mete_criterion *criterion)
{
    mete_text *text[] = {&criterion->id, &criterion->text, &criterion->check, &criterion->target,
                         &criterion->source};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        free((void *)(uintptr_t)text[i]->data);
}

int
mete_criterion_add(mete_ctx *cx, mete_criteria *out, size_t row, const mete_criterion *criterion)
{
    if (row >= out->rows)
        return mete_fail(cx, METE_EPLUGIN, "gave a criterion for prompt %zu of %zu", row,
                         out->rows);
    if (!(criterion->points - criterion->points == 0))
        return mete_fail(cx, METE_EPLUGIN, "gave a criterion with points that are no number");
    struct mete__criteria_list *list = &out->row[row];
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 8;
        mete_criterion *grown = realloc(list->item, room * sizeof *grown);
        if (!grown)
            return mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
        list->item = grown;
        list->room = room;
    }
    mete_criterion *to = &list->item[list->count];
    size_t size = criterion->size && criterion->size < sizeof *to ? criterion->size : sizeof *to;
    memset(to, 0, sizeof *to);
    memcpy(to, criterion, size);
    to->size = sizeof *to;
    to->id = text_keep(to->id);
    to->text = text_keep(to->text);
    to->check = text_keep(to->check);
    to->target = text_keep(to->target);
    to->source = text_keep(to->source);
    if (!to->id.data || !to->text.data || !to->check.data || !to->target.data || !to->source.data) {
        criterion_drop(to);
        return mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
    }
    list->count++;
    return METE_OK;
}

static void
items_drop(mete_criterion *item, size_t count)
{
    for (size_t k = 0; k < count; k++)
        criterion_drop(&item[k]);
    free(item);
}

bool
mete__criteria_make(mete_criteria *out, size_t rows)
{
    *out = (mete_criteria){.rows = rows, .row = calloc(rows + 1, sizeof *out->row)};
    return out->row;
}

void
mete__criteria_done(mete_criteria *criteria)
{
    for (size_t i = 0; criteria->row && i < criteria->rows; i++)
        items_drop(criteria->row[i].item, criteria->row[i].count);
    free(criteria->row);
    criteria->row = NULL;
}

static void
entry_drop(mete__criteria_entry *entry)
{
    items_drop(entry->item, entry->count);
    free(entry->key);
}

void
mete__criteria_free(mete__node_private *private_)
{
    for (size_t i = 0; i < private_->criterias; i++)
        entry_drop(&private_->criteria[i]);
    free(private_->criteria);
    free(private_->criteria_slot);
    private_->criteria = NULL;
    private_->criteria_slot = NULL;
    private_->criterias = private_->criteria_room = private_->criteria_slots = 0;
}

/* Puts entry i into the index, which has room. */
static void
index_add(mete__node_private *private_, size_t i)
{
    size_t mask = private_->criteria_slots - 1;
    size_t at = (size_t)mete_hash_mix(private_->criteria[i].prompt_id, 2) & mask;
    while (private_->criteria_slot[at])
        at = (at + 1) & mask;
    private_->criteria_slot[at] = i + 1;
}

void
mete__criteria_forget(mete__node_private *private_)
{
    size_t kept = 0;
    for (size_t i = 0; i < private_->criterias; i++)
        if (private_->criteria[i].refined)
            private_->criteria[kept++] = private_->criteria[i];
        else
            entry_drop(&private_->criteria[i]);
    private_->criterias = kept;
    for (size_t i = 0; i < private_->criteria_slots; i++)
        private_->criteria_slot[i] = 0;
    for (size_t i = 0; i < kept; i++)
        index_add(private_, i);
}

void
mete__criteria_trim(mete__node_private *private_)
{
    if (private_->criterias > MOST_PROMPTS)
        mete__criteria_forget(private_);
}

/* Index + 1 of the prompt's entry, or 0. Open addressing; slots are a power of two. */
static size_t
lookup(const mete__node_private *private_, uint64_t prompt)
{
    size_t mask = private_->criteria_slots - 1;
    if (!private_->criteria_slots)
        return 0;
    for (size_t at = (size_t)mete_hash_mix(prompt, 2) & mask;; at = (at + 1) & mask) {
        size_t found = private_->criteria_slot[at];
        if (!found || private_->criteria[found - 1].prompt_id == prompt)
            return found;
    }
}

static bool
index_grow(mete__node_private *private_)
{
    size_t slots = private_->criteria_slots ? 2 * private_->criteria_slots : 256;
    size_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return false;
    free(private_->criteria_slot);
    private_->criteria_slot = slot;
    private_->criteria_slots = slots;
    for (size_t i = 0; i < private_->criterias; i++)
        index_add(private_, i);
    return true;
}

/* Room for one more entry, in the list and in the index. */
static bool
entry_room(mete__node_private *private_)
{
    if (private_->criterias == private_->criteria_room) {
        size_t room = private_->criteria_room ? 2 * private_->criteria_room : 64;
        mete__criteria_entry *grown = realloc(private_->criteria, room * sizeof *grown);
        if (!grown)
            return false;
        private_->criteria = grown;
        private_->criteria_room = room;
    }
    return 2 * (private_->criterias + 1) < private_->criteria_slots || index_grow(private_);
}

bool
mete__criteria_keep(mete__node_private *private_, uint64_t prompt, struct mete__criteria_list *list,
                    bool refined)
{
    uint64_t *key = malloc((list->count + 1) * sizeof *key);
    if (!key || !entry_room(private_)) {
        free(key);
        return false;
    }
    for (size_t k = 0; k < list->count; k++) {
        const mete_criterion *c = &list->item[k];
        uint64_t hash = mete_hash(c->kind, c->check.data, c->check.length);
        key[k] = mete_hash(hash, c->target.data, c->target.length);
    }
    mete__criteria_entry entry = {prompt, list->item, key, list->count, refined};
    size_t known = lookup(private_, prompt);
    *list = (struct mete__criteria_list){NULL, 0, 0};
    if (known) {
        entry_drop(&private_->criteria[known - 1]);
        private_->criteria[known - 1] = entry;
        return true;
    }
    private_->criteria[private_->criterias++] = entry;
    index_add(private_, private_->criterias - 1);
    return true;
}

/* Asks the generator about the prompts (rows) not known yet. The node's lock is held. */
static int
generate(mete_ctx *cx, mete_node *node, const mete_batch *batch, const uint32_t *row, size_t count)
{
    mete__arena *arena = cx->arena;
    const mete_batch *rows = mete__batch_rows(batch, row, count, false, arena);
    mete_batch *view = mete__arena_take(arena, sizeof *view);
    mete_criteria criteria;
    bool made = mete__criteria_make(&criteria, count);
    int status = METE_ENOMEM;
    if (rows && view && made) {
        mete__view_filter(rows, METE_SEE_POLICY, arena, view);
        view->response = NULL;
        mete_ctx inner = mete__ctx_make(node, 0, cx->err);
        status = node->plugin->as.rubric.generate(&inner, node->self, view, &criteria);
        status = mete__ctx_blame(node, status, cx->err);
    } else {
        mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
    }
    for (size_t i = 0; i < count && !status; i++)
        if (!mete__criteria_keep(node->private_, rows->prompt_id[i], &criteria.row[i], false))
            status = mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
    mete__criteria_done(&criteria);
    return status;
}

/* First rows of groups whose prompt is not cached, each prompt once. */
static size_t
unknown_prompts(const mete__node_private *private_, const mete_batch *batch, uint32_t *row)
{
    size_t count = 0;
    for (size_t g = 0; g < batch->groups; g++) {
        uint64_t prompt = batch->prompt_id[batch->group[g]];
        bool known = lookup(private_, prompt) != 0;
        for (size_t i = 0; i < count && !known; i++)
            known = batch->prompt_id[row[i]] == prompt;
        if (!known)
            row[count++] = batch->group[g];
    }
    return count;
}

uint64_t
mete__criterion_identity(const mete_criterion *c)
{
    uint64_t hash = mete_hash(c->kind, c->check.data, c->check.length);
    hash = mete_hash(hash, c->target.data, c->target.length);
    return mete_hash(hash, c->text.data, c->text.length);
}

void
mete__engine_leaves_out(mete__engine *engine, bool leaves)
{
    engine->whole = !leaves;
}

static int
by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

bool
mete__rubric_leave_out(mete_node *node, const uint64_t *hash, size_t count)
{
    mete__node_private *private_ = node->private_;
    uint64_t *copy = count ? malloc(count * sizeof *copy) : NULL;
    if (count && !copy)
        return false;
    if (count) {
        memcpy(copy, hash, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, by_value);
    }
    free(private_->left_out);
    private_->left_out = copy;
    private_->lefts = count;
    return true;
}

const uint64_t *
mete__rubric_left_out(const mete_node *node, size_t *count)
{
    *count = node->private_->lefts;
    return node->private_->left_out;
}

/* Takes what is left out from the prompt's criteria; how many stay. */
static size_t
leave_out(const mete__node_private *private_, uint64_t prompt, mete_criterion *item, uint64_t *key,
          size_t count, int32_t *place)
{
    size_t stay = 0;
    for (size_t k = 0; k < count; k++) {
        uint64_t hash = mete_hash_mix(prompt, mete__criterion_identity(&item[k]));
        if (bsearch(&hash, private_->left_out, private_->lefts, sizeof hash, by_value))
            continue;
        place[k] = (int32_t)stay;
        item[stay] = item[k];
        key[stay] = key[k];
        if ((size_t)item[k].parent < k)
            item[stay].parent = place[item[stay].parent];
        stay++;
    }
    return stay;
}

/* Is criterion k part of one before it? */
static bool
is_part(const mete_criterion *item, size_t k)
{
    size_t parent = (size_t)item[k].parent; /* -1 is past all */
    return parent < k && item[parent].kind == METE_CRITERION_PARTS;
}

/* What each criterion of a prompt adds to its sum, in out [count]. */
static int
weigh(mete_ctx *cx, const mete_criterion *item, size_t count, double *out)
{
    double *parts = mete__arena_zero(cx->arena, (count + 1) * sizeof *parts);
    if (!parts)
        return mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
    for (size_t k = 0; k < count; k++) {
        if (!is_part(item, k))
            continue;
        if (item[k].points < 0)
            return mete_fail(cx, METE_EDATA,
                             "criterion '%.*s' is part of another and has %g points",
                             (int)(item[k].text.length < 60 ? item[k].text.length : 60),
                             item[k].text.data, item[k].points);
        parts[item[k].parent] += item[k].points;
    }
    for (size_t k = 0; k < count; k++) {
        if (item[k].kind == METE_CRITERION_PARTS && parts[k] <= 0)
            return mete_fail(cx, METE_EDATA, "criterion '%.*s' has no part of any weight",
                             (int)(item[k].text.length < 60 ? item[k].text.length : 60),
                             item[k].text.data);
        out[k] = is_part(item, k) ? out[item[k].parent] * (item[k].points / parts[item[k].parent])
                                  : item[k].points;
    }
    return METE_OK;
}

static mete_rubric_table *
collect(mete_ctx *cx, const mete__node_private *private_, const mete_batch *batch)
{
    mete_rubric_table *table = mete__arena_zero(cx->arena, sizeof *table);
    uint32_t *first = mete__arena_zero(cx->arena, (batch->groups + 1) * sizeof *first);
    size_t total = 0;
    for (size_t g = 0; g < batch->groups; g++)
        total += private_->criteria[lookup(private_, batch->prompt_id[batch->group[g]]) - 1].count;
    mete_criterion *item = mete__arena_take(cx->arena, (total + 1) * sizeof *item);
    uint64_t *key = mete__arena_take(cx->arena, (total + 1) * sizeof *key);
    double *points = mete__arena_take(cx->arena, (total + 1) * sizeof *points);
    if (!table || !first || !item || !key || !points) {
        mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
        return NULL;
    }
    for (size_t g = 0; g < batch->groups; g++) {
        const mete__criteria_entry *entry =
            &private_->criteria[lookup(private_, batch->prompt_id[batch->group[g]]) - 1];
        size_t count = entry->count;
        if (count) {
            memcpy(item + first[g], entry->item, count * sizeof *item);
            memcpy(key + first[g], entry->key, count * sizeof *key);
        }
        if (weigh(cx, item + first[g], count, points + first[g]))
            return NULL;
        if (private_->lefts && !cx->engine->whole) {
            int32_t *place = mete__arena_take(cx->arena, (count + 1) * sizeof *place);
            if (!place) {
                mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
                return NULL;
            }
            count = leave_out(private_, entry->prompt_id, item + first[g], key + first[g], count,
                              place);
            if (weigh(cx, item + first[g], count, points + first[g]))
                return NULL;
        }
        first[g + 1] = first[g] + (uint32_t)count;
    }
    total = first[batch->groups];
    *table = (mete_rubric_table){.size = sizeof *table,
                                 .stride = sizeof *item,
                                 .count = total,
                                 .item = item,
                                 .first = first,
                                 .key = key,
                                 .points = points};
    return table;
}

const mete_rubric_table *
mete_rubric_of(mete_ctx *cx, mete_node *node, const mete_batch *batch)
{
    if (!node || !node->plugin || node->kind != METE_KIND_RUBRIC) {
        mete_fail(cx, METE_EPLUGIN, "asked for criteria of something that generates none");
        return NULL;
    }
    mete__node_private *private_ = node->private_;
    uint32_t *row = mete__arena_take(cx->arena, (batch->groups + 1) * sizeof *row);
    if (!row) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    int status = METE_OK;
    mete_rubric_table *table = NULL;
    pthread_mutex_lock(&private_->lock);
    size_t count = unknown_prompts(private_, batch, row);
    if (count)
        status = generate(cx, node, batch, row, count);
    if (!status)
        table = collect(cx, private_, batch);
    pthread_mutex_unlock(&private_->lock);
    return table;
}

const mete_rubric_table *
mete__rubric_criteria(mete_node *node, const mete_batch *batch, mete_error *err)
{
    mete_ctx cx = mete__ctx_make(node, 0, err);
    cx.arena = node->engine->arena;
    return mete_rubric_of(&cx, node, batch);
}
