/* derive.c - batches made from batches: ranges, chosen rows, copies, other responses, masks.
 *
 * A range borrows its parent's arrays; the others copy. All keep identity and visibility. */
#include "engine/context.h"

#include <string.h>

static size_t
element_size(uint16_t element)
{
    static const size_t size[] = {[METE_F32] = sizeof(float),
                                  [METE_F64] = sizeof(double),
                                  [METE_I32] = sizeof(int32_t),
                                  [METE_I64] = sizeof(int64_t),
                                  [METE_U8] = 1,
                                  [METE_TEXT] = sizeof(mete_text),
                                  [METE_JSON] = sizeof(mete_text)};
    return element <= METE_JSON ? size[element] : 0;
}

size_t
mete__column_value_size(const mete_column *column)
{
    size_t size = element_size(column->element);
    for (int i = 0; i < 4 && column->shape[i]; i++)
        size *= column->shape[i];
    return size;
}

size_t
mete__batch_rows_at(const mete_batch *batch, uint32_t level)
{
    switch (level) {
    case METE_GROUP:
        return batch->groups;
    case METE_SCENE:
        return batch->scenes;
    case METE_EPISODE:
        return batch->episodes;
    case METE_TURN:
        return batch->turns;
    case METE_STEP:
        return batch->steps;
    case METE_PAIR:
        return batch->pairs;
    default:
        return 1;
    }
}

static const void *
moved(const void *array, size_t by, size_t each)
{
    return array ? (const char *)array + by * each : NULL;
}

/* Offsets [count + 1] minus their first. */
static const uint32_t *
rebased(const uint32_t *offset, size_t count, mete__arena *arena)
{
    uint32_t *copy = mete__arena_take(arena, (count + 1) * sizeof *copy);
    for (size_t i = 0; copy && i <= count; i++)
        copy[i] = offset[i] - offset[0];
    return copy;
}

/* First row of a column at `level` for the range that begins at these rows. */
static size_t
start_at(uint32_t level, size_t row, size_t step, size_t group, size_t turn)
{
    switch (level) {
    case METE_GROUP:
        return group;
    case METE_TURN:
        return turn;
    case METE_STEP:
        return step;
    case METE_EPISODE:
        return row;
    default:
        return 0;
    }
}

size_t
mete__offset_find(const uint32_t *offset, size_t count, size_t row)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (offset[middle] < row)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

bool
mete__batch_range(const mete_batch *batch, size_t from, size_t to, mete__arena *arena,
                  mete_batch *out)
{
    size_t rows = to - from;
    *out = *batch;
    out->episodes = rows;
    out->id += from;
    out->prompt_id += from;
    out->task_id = moved(batch->task_id, from, sizeof *batch->task_id);
    out->first_step = moved(batch->first_step, from, sizeof *batch->first_step);
    out->starts = moved(batch->starts, from, 1);
    out->terminated = moved(batch->terminated, from, 1);
    out->truncated = moved(batch->truncated, from, 1);
    out->masked = moved(batch->masked, from, 1);
    out->prompt = moved(batch->prompt, from, sizeof *batch->prompt);
    out->response = moved(batch->response, from, sizeof *batch->response);
    out->parent_row = moved(batch->parent_row, from, sizeof *batch->parent_row);
    out->final_observation =
        moved(batch->final_observation, from, batch->observation_size * sizeof(float));
    out->final_value = moved(batch->final_value, from, batch->heads * sizeof(float));

    size_t group = mete__offset_find(batch->group, batch->groups, from);
    size_t groups = mete__offset_find(batch->group, batch->groups, to) - group;
    out->groups = groups;
    if (groups && !(out->group = rebased(batch->group + group, groups, arena)))
        return false;
    if (batch->scene) {
        size_t scene = mete__offset_find(batch->scene, batch->scenes, from);
        size_t scenes = mete__offset_find(batch->scene, batch->scenes, to) - scene;
        out->scenes = scenes;
        if (!(out->scene = rebased(batch->scene + scene, scenes, arena)))
            return false;
    }

    size_t step = batch->step_begin[from];
    out->steps = batch->step_begin[to] - step;
    if (!(out->step_begin = rebased(batch->step_begin + from, rows, arena)))
        return false;
    uint32_t *row_of = mete__arena_take(arena, out->steps * sizeof *row_of);
    if (!row_of)
        return false;
    for (size_t i = 0; i < out->steps; i++)
        row_of[i] = batch->step_row[step + i] - (uint32_t)from;
    out->step_row = row_of;
    out->observation = moved(batch->observation, step, batch->observation_size * sizeof(float));
    out->action = moved(batch->action, step, sizeof(int32_t));
    out->action_vector = moved(batch->action_vector, step, batch->action_size * sizeof(float));
    out->action_mask = moved(batch->action_mask, step, batch->action_count);
    out->logp = moved(batch->logp, step, sizeof(float));
    out->value = moved(batch->value, step, batch->heads * sizeof(float));
    out->loss_mask = moved(batch->loss_mask, step, 1);
    out->span = moved(batch->span, step, 2 * sizeof(uint32_t));

    size_t turn = 0;
    if (batch->turn_begin) {
        turn = batch->turn_begin[from];
        out->turns = batch->turn_begin[to] - turn;
        out->turn_begin = rebased(batch->turn_begin + from, rows, arena);
        out->turn_step = rebased(batch->turn_step + turn, out->turns, arena);
        out->turn_text = moved(batch->turn_text, turn, sizeof *batch->turn_text);
        out->turn_role = moved(batch->turn_role, turn, 1);
        if (!out->turn_begin || !out->turn_step)
            return false;
    }
    out->pairs = 0; /* relations span rows: nodes that read them see whole batches */
    mete_column *column = mete__arena_take(arena, (batch->columns + 1) * sizeof *column);
    if (!column)
        return false;
    for (uint32_t i = 0; i < batch->columns; i++) {
        column[i] = batch->column[i];
        bool list = column[i].level == METE_LIST;
        size_t by = start_at(list ? column[i].parent : column[i].level, from, step, group, turn);
        if (list) {
            column[i].offset += by; /* items stay where they are */
        } else {
            column[i].data = moved(column[i].data, by, mete__column_value_size(&column[i]));
            column[i].valid = moved(column[i].valid, by, 1);
        }
    }
    out->column = column;
    return true;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Elements `from[index[i]]`, each of `each` bytes. */
static const void *
gathered(const void *from, const uint32_t *index, size_t count, size_t each, mete__arena *arena)
{
    if (!from || !each)
        return NULL;
    char *to = mete__arena_take(arena, count * each);
    for (size_t i = 0; to && i < count; i++)
        memcpy(to + i * each, (const char *)from + index[i] * each, each);
    return to;
}

/* Groups of the new rows: adjacent rows of one prompt that shared a group before. */
static bool
regroup(mete_batch *out, mete__arena *arena)
{
    uint32_t *group = mete__arena_take(arena, (out->episodes + 1) * sizeof *group);
    if (!group)
        return false;
    out->groups = 0;
    for (size_t i = 0; i < out->episodes; i++)
        if (i == 0 || out->prompt_id[i] != out->prompt_id[i - 1])
            group[out->groups++] = (uint32_t)i;
    group[out->groups] = (uint32_t)out->episodes;
    out->group = group;
    return true;
}

static bool
copy_list(const mete_column *from, const uint32_t *row, size_t count, mete__arena *arena,
          mete_column *to)
{
    size_t each = element_size(from->element), total = 0;
    uint32_t *offset = mete__arena_take(arena, (count + 1) * sizeof *offset);
    if (!offset)
        return false;
    for (size_t i = 0; i < count; i++) {
        offset[i] = (uint32_t)total;
        total += from->offset[row[i] + 1] - from->offset[row[i]];
    }
    offset[count] = (uint32_t)total;
    char *data = mete__arena_take(arena, total * each);
    if (!data)
        return false;
    for (size_t i = 0; i < count; i++)
        memcpy(data + offset[i] * each, (const char *)from->data + from->offset[row[i]] * each,
               (offset[i + 1] - offset[i]) * each);
    to->data = data;
    to->offset = offset;
    return true;
}

/* Columns of the rows (and steps) chosen; those at other levels are dropped. */
static bool
copy_columns(const mete_batch *batch, const uint32_t *row, size_t rows, const uint32_t *step,
             size_t steps, mete__arena *arena, mete_batch *out)
{
    mete_column *column = mete__arena_zero(arena, (batch->columns + 1) * sizeof *column);
    if (!column)
        return false;
    out->column = column;
    out->columns = 0;
    for (uint32_t i = 0; i < batch->columns; i++) {
        const mete_column *from = &batch->column[i];
        mete_column *to = &column[out->columns];
        const uint32_t *index = from->level == METE_STEP ? step : row;
        size_t count = from->level == METE_STEP ? steps : rows;
        *to = *from;
        if (from->level == METE_LIST && from->parent == METE_EPISODE) {
            if (!copy_list(from, row, rows, arena, to))
                return false;
        } else if (from->level == METE_EPISODE || (from->level == METE_STEP && step)) {
            to->data = gathered(from->data, index, count, mete__column_value_size(from), arena);
            to->valid = gathered(from->valid, index, count, 1, arena);
            if (!to->data)
                return false;
        } else if (from->level != METE_BATCH) {
            continue;
        }
        out->columns++;
    }
    return true;
}

/* Rows `row[0..count)` as a batch of its own, with their steps or without. */
const mete_batch *
mete__batch_rows(const mete_batch *batch, const uint32_t *row, size_t count, bool steps,
                 mete__arena *arena)
{
    mete_batch *out = mete__arena_take(arena, sizeof *out);
    uint32_t *begin = mete__arena_zero(arena, (count + 1) * sizeof *begin);
    if (!out || !begin)
        return NULL;
    *out = *batch;
    out->episodes = count;
    out->scenes = out->turns = out->pairs = 0;
    out->scene = out->turn_begin = out->turn_step = NULL;
    out->turn_text = NULL;
    out->turn_role = NULL;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        begin[i] = (uint32_t)total;
        total += steps ? batch->step_begin[row[i] + 1] - batch->step_begin[row[i]] : 0;
    }
    begin[count] = (uint32_t)total;
    uint32_t *step = mete__arena_take(arena, (total + 1) * sizeof *step);
    uint32_t *step_row = mete__arena_take(arena, (total + 1) * sizeof *step_row);
    if (!step || !step_row)
        return NULL;
    for (size_t i = 0, t = 0; i < count; i++)
        for (uint32_t k = 0; k < begin[i + 1] - begin[i]; k++, t++) {
            step[t] = batch->step_begin[row[i]] + k;
            step_row[t] = (uint32_t)i;
        }
    out->step_begin = begin;
    out->step_row = step_row;
    out->steps = total;
    out->id = gathered(batch->id, row, count, sizeof *batch->id, arena);
    out->prompt_id = gathered(batch->prompt_id, row, count, sizeof *batch->prompt_id, arena);
    out->task_id = gathered(batch->task_id, row, count, sizeof *batch->task_id, arena);
    out->first_step = gathered(batch->first_step, row, count, sizeof(uint32_t), arena);
    out->starts = gathered(batch->starts, row, count, 1, arena);
    out->terminated = gathered(batch->terminated, row, count, 1, arena);
    out->truncated = gathered(batch->truncated, row, count, 1, arena);
    out->masked = gathered(batch->masked, row, count, 1, arena);
    out->prompt = gathered(batch->prompt, row, count, sizeof *batch->prompt, arena);
    out->response = gathered(batch->response, row, count, sizeof *batch->response, arena);
    out->final_observation = gathered(batch->final_observation, row, count,
                                      batch->observation_size * sizeof(float), arena);
    out->final_value =
        gathered(batch->final_value, row, count, batch->heads * sizeof(float), arena);
    out->parent_row = row;
    out->observation =
        gathered(batch->observation, step, total, batch->observation_size * sizeof(float), arena);
    out->action = gathered(batch->action, step, total, sizeof(int32_t), arena);
    out->action_vector =
        gathered(batch->action_vector, step, total, batch->action_size * sizeof(float), arena);
    out->action_mask = gathered(batch->action_mask, step, total, batch->action_count, arena);
    out->logp = gathered(batch->logp, step, total, sizeof(float), arena);
    out->value = gathered(batch->value, step, total, batch->heads * sizeof(float), arena);
    out->loss_mask = gathered(batch->loss_mask, step, total, 1, arena);
    out->span = gathered(batch->span, step, total, 2 * sizeof(uint32_t), arena);
    if (!out->id || !out->prompt_id || !regroup(out, arena))
        return NULL;
    if (!copy_columns(batch, row, count, steps ? step : NULL, total, arena, out))
        return NULL;
    return out;
}

/* ---- the builders plugins have --------------------------------------------------------------- */

/* New identities: hash(parent id, caller, draw). */
static bool
rename_rows(const mete_ctx *cx, const mete_batch *batch, size_t times, mete_batch *out)
{
    uint64_t *id = mete__arena_take(cx->arena, out->episodes * sizeof *id);
    for (size_t i = 0; id && i < out->episodes; i++)
        id[i] = mete_hash_mix(mete_hash_mix(batch->id[i / times], cx->node->key), i % times + 1);
    out->id = id;
    return id != NULL;
}

static const mete_batch *
out_of_memory(mete_ctx *cx)
{
    mete_fail(cx, METE_ENOMEM, "out of memory for a derived batch");
    return NULL;
}

/* The batch as this call may see everything of it: rows scored keep gold columns out anyway. */
const mete_batch *
mete_batch_subset(mete_ctx *cx, const mete_batch *batch, const uint32_t *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row[i] >= batch->episodes) {
            mete_fail(cx, METE_EPLUGIN, "row %u of a batch of %zu", row[i], batch->episodes);
            return NULL;
        }
    uint32_t *copy = mete__arena_take(cx->arena, (count + 1) * sizeof *copy);
    if (!copy)
        return out_of_memory(cx);
    if (count)
        memcpy(copy, row, count * sizeof *copy);
    const mete_batch *out = mete__batch_rows(batch, copy, count, true, cx->arena);
    return out ? out : out_of_memory(cx);
}

const mete_batch *
mete_batch_repeat(mete_ctx *cx, const mete_batch *batch, size_t times)
{
    size_t count = batch->episodes * times;
    uint32_t *row = mete__arena_take(cx->arena, (count + 1) * sizeof *row);
    if (!row)
        return out_of_memory(cx);
    for (size_t i = 0; i < count; i++)
        row[i] = (uint32_t)(i / times);
    mete_batch *out = (mete_batch *)(uintptr_t)mete__batch_rows(batch, row, count, true, cx->arena);
    if (!out || !rename_rows(cx, batch, times, out))
        return out_of_memory(cx);
    return out;
}

const mete_batch *
mete_batch_respond(mete_ctx *cx, const mete_batch *batch, const mete_text *response)
{
    size_t count = batch->episodes;
    uint32_t *row = mete__arena_take(cx->arena, (count + 1) * sizeof *row);
    mete_text *text = mete__arena_take(cx->arena, (count + 1) * sizeof *text);
    if (!row || !text)
        return out_of_memory(cx);
    for (size_t i = 0; i < count; i++) {
        row[i] = (uint32_t)i;
        text[i] = mete_text_copy(cx, response[i]);
    }
    mete_batch *out =
        (mete_batch *)(uintptr_t)mete__batch_rows(batch, row, count, false, cx->arena);
    if (!out || !rename_rows(cx, batch, 1, out))
        return out_of_memory(cx);
    out->response = text;
    return out;
}

const mete_batch *
mete_batch_mask(mete_ctx *cx, const mete_batch *batch, const uint8_t *keep)
{
    size_t count = batch->episodes, at = 0;
    mete_text *text = mete__arena_take(cx->arena, (count + 1) * sizeof *text);
    if (!text || !batch->response)
        return out_of_memory(cx);
    for (size_t i = 0; i < count; i++) {
        mete_text from = batch->response[i];
        char *to = mete__arena_take(cx->arena, from.length + 1);
        if (!to)
            return out_of_memory(cx);
        text[i] = (mete_text){to, 0};
        for (size_t k = 0; k < from.length; k++)
            if (keep[at++])
                to[text[i].length++] = from.data[k];
    }
    return mete_batch_respond(cx, batch, text);
}
