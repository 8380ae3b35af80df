/* derive.c - batches made from batches: ranges, chosen rows, copies, other responses, masks.
 *
 * A range borrows its parent's arrays; the others copy. All keep identity and visibility. */
#include "engine/context.h"

#include <mete/model.h>
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
        out->turn_prompt = moved(batch->turn_prompt, turn, sizeof *batch->turn_prompt);
        uint32_t *first = mete__arena_take(arena, (rows + 1) * sizeof *first);
        for (size_t i = 0; first && i < rows; i++)
            first[i] = batch->turn_first[from + i] - (uint32_t)turn;
        out->turn_first = first;
        if (!first || !out->turn_begin || !out->turn_step)
            return false;
    }
    out->message_begin = moved(batch->message_begin, from, sizeof *batch->message_begin);
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

/* Offsets of the rows' parts, and the index of each part: those of row[i] are old[row[i]] to
 * old[row[i] + 1]. */
static bool
copy_offsets(const uint32_t *old, const uint32_t *row, size_t rows, mete__arena *arena,
             uint32_t **begin, uint32_t **part, size_t *parts)
{
    size_t total = 0;
    *begin = mete__arena_take(arena, (rows + 1) * sizeof **begin);
    for (size_t i = 0; *begin && i < rows; i++) {
        (*begin)[i] = (uint32_t)total;
        total += old[row[i] + 1] - old[row[i]];
    }
    *part = mete__arena_take(arena, (total + 1) * sizeof **part);
    if (!*begin || !*part)
        return false;
    (*begin)[rows] = (uint32_t)total;
    for (size_t i = 0; i < rows; i++)
        for (uint32_t k = (*begin)[i]; k < (*begin)[i + 1]; k++)
            (*part)[k] = old[row[i]] + k - (*begin)[i];
    *parts = total;
    return true;
}

static bool
copy_list(const mete_column *from, const uint32_t *row, size_t count, mete__arena *arena,
          mete_column *to)
{
    uint32_t *offset, *item;
    size_t total;
    if (!copy_offsets(from->offset, row, count, arena, &offset, &item, &total))
        return false;
    to->data = gathered(from->data, item, total, element_size(from->element), arena);
    to->offset = offset;
    return to->data || !total;
}

/* Which rows of each level make a new batch; NULL: none, so that columns there are dropped. */
typedef struct chosen {
    const uint32_t *row, *turn, *step;
    size_t rows, turns, steps;
    bool
        answers; /* each row is a turn, so what stood per turn stands per episode; all steps stay */
} chosen;

static const uint32_t *
chosen_at(const chosen *c, uint32_t level, size_t *count)
{
    *count = level == METE_EPISODE ? c->rows : level == METE_TURN ? c->turns : c->steps;
    return level == METE_EPISODE ? c->row
           : level == METE_TURN  ? c->turn
           : level == METE_STEP  ? c->step
                                 : NULL;
}

/* Columns of what is chosen. */
static bool
copy_columns(const mete_batch *batch, const chosen *c, mete__arena *arena, mete_batch *out)
{
    mete_column *column = mete__arena_zero(arena, (batch->columns + 1) * sizeof *column);
    if (!column)
        return false;
    out->column = column;
    out->columns = 0;
    for (uint32_t i = 0; i < batch->columns; i++) {
        const mete_column *from = &batch->column[i];
        mete_column *to = &column[out->columns];
        bool list = from->level == METE_LIST;
        uint32_t level = list ? from->parent : from->level;
        size_t count;
        const uint32_t *index = chosen_at(c, level, &count);
        *to = *from;
        if (index && list) {
            if (!copy_list(from, index, count, arena, to))
                return false;
        } else if (index) {
            to->data = gathered(from->data, index, count, mete__column_value_size(from), arena);
            to->valid = gathered(from->valid, index, count, 1, arena);
            if (!to->data)
                return false;
        } else if (level != METE_BATCH && !(c->answers && level == METE_STEP)) {
            continue;
        }
        if (c->answers && level == METE_TURN && list)
            to->parent = METE_EPISODE;
        else if (c->answers && level == METE_TURN)
            to->level = METE_EPISODE;
        out->columns++;
    }
    return true;
}

/* Members per row; `row` becomes the new rows' parents. */
static bool
copy_rows(const mete_batch *batch, const uint32_t *row, size_t count, mete__arena *arena,
          mete_batch *out)
{
    *out = *batch;
    out->episodes = count;
    out->scenes = out->turns = out->pairs = 0;
    out->scene = out->turn_begin = out->turn_step = out->turn_first = NULL;
    out->turn_text = out->turn_prompt = NULL;
    out->turn_role = NULL;
    out->message_begin = NULL;
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
    return out->id && out->prompt_id;
}

static bool
copy_messages(const mete_batch *batch, const chosen *c, mete__arena *arena, mete_batch *out)
{
    uint32_t *begin, *item;
    size_t total;
    if (!batch->message_begin)
        return true;
    if (!copy_offsets(batch->message_begin, c->row, c->rows, arena, &begin, &item, &total))
        return false;
    out->message_begin = begin;
    out->message = gathered(batch->message, item, total, sizeof(mete_message), arena);
    return out->message || !total;
}

static bool
copy_turns(const mete_batch *batch, chosen *c, mete__arena *arena, mete_batch *out)
{
    uint32_t *begin, *turn;
    if (!batch->turn_begin)
        return true;
    if (!copy_offsets(batch->turn_begin, c->row, c->rows, arena, &begin, &turn, &c->turns))
        return false;
    uint32_t *first = mete__arena_take(arena, (c->rows + 1) * sizeof *first);
    uint32_t *step = mete__arena_take(arena, (c->turns + 1) * sizeof *step);
    if (!first || !step)
        return false;
    size_t steps = 0;
    for (size_t i = 0; i < c->rows; i++) {
        first[i] = begin[i] + batch->turn_first[c->row[i]] - batch->turn_begin[c->row[i]];
        for (uint32_t k = begin[i]; k < begin[i + 1]; k++) {
            step[k] = (uint32_t)steps;
            steps += c->step ? batch->turn_step[turn[k] + 1] - batch->turn_step[turn[k]] : 0;
        }
    }
    step[c->turns] = (uint32_t)steps;
    c->turn = turn;
    out->turns = c->turns;
    out->turn_begin = begin;
    out->turn_first = first;
    out->turn_step = step;
    out->turn_text = gathered(batch->turn_text, turn, c->turns, sizeof(mete_text), arena);
    out->turn_prompt = gathered(batch->turn_prompt, turn, c->turns, sizeof(mete_text), arena);
    out->turn_role = gathered(batch->turn_role, turn, c->turns, 1, arena);
    return true;
}

static bool
copy_steps(const mete_batch *batch, const uint32_t *row, size_t count, bool steps,
           mete__arena *arena, mete_batch *out, const uint32_t **index)
{
    uint32_t *begin, *step;
    size_t total;
    if (!copy_offsets(batch->step_begin, row, steps ? count : 0, arena, &begin, &step, &total))
        return false;
    uint32_t *step_row = mete__arena_take(arena, (total + 1) * sizeof *step_row);
    if (!steps)
        begin = mete__arena_zero(arena, (count + 1) * sizeof *begin);
    if (!begin || !step_row)
        return false;
    for (size_t i = 0; i < count; i++)
        for (uint32_t t = begin[i]; t < begin[i + 1]; t++)
            step_row[t] = (uint32_t)i;
    out->step_begin = begin;
    out->step_row = step_row;
    out->steps = total;
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
    *index = steps ? step : NULL;
    return true;
}

const mete_batch *
mete__batch_rows(const mete_batch *batch, const uint32_t *row, size_t count, bool steps,
                 mete__arena *arena)
{
    mete_batch *out = mete__arena_take(arena, sizeof *out);
    chosen c = {.row = row, .rows = count};
    if (!out || !copy_rows(batch, row, count, arena, out) || !regroup(out, arena) ||
        !copy_steps(batch, row, count, steps, arena, out, &c.step))
        return NULL;
    c.steps = out->steps;
    if (!copy_messages(batch, &c, arena, out) || !copy_turns(batch, &c, arena, out) ||
        !copy_columns(batch, &c, arena, out))
        return NULL;
    return out;
}

/* ---- answers as rows ------------------------------------------------------------------------- */

/* The row's own turns that the policy wrote. */
static bool
is_answer(const mete_batch *batch, size_t row, size_t turn)
{
    return turn >= batch->turn_first[row] && batch->turn_role[turn] == METE_ASSISTANT;
}

/* Which turn, of which row, each answer is; how many messages stand before all of them. */
static size_t
find_answers(const mete_batch *batch, uint32_t *row, uint32_t *turn, size_t *messages)
{
    size_t count = 0;
    *messages = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        for (size_t t = batch->turn_begin[i]; t < batch->turn_begin[i + 1]; t++)
            if (is_answer(batch, i, t)) {
                row[count] = (uint32_t)i;
                turn[count++] = (uint32_t)t;
                *messages += t - batch->turn_begin[i];
            }
    return count;
}

static bool
put_messages(const mete_batch *batch, const chosen *c, size_t messages, mete__arena *arena,
             mete_batch *out)
{
    uint32_t *begin = mete__arena_take(arena, (c->rows + 1) * sizeof *begin);
    mete_message *message = mete__arena_take(arena, (messages + 1) * sizeof *message);
    size_t at = 0;
    if (!begin || !message)
        return false;
    for (size_t k = 0; k < c->rows; k++) {
        begin[k] = (uint32_t)at;
        for (size_t t = batch->turn_begin[c->row[k]]; t < c->turn[k]; t++)
            message[at++] = (mete_message){batch->turn_role[t], 0, batch->turn_text[t]};
    }
    begin[c->rows] = (uint32_t)at;
    out->message_begin = begin;
    out->message = message;
    return true;
}

/* The same steps, shared out among answers; spans count from each answer's begin, which in the
 * row's response follows the answers before it and a newline each. */
static bool
put_answer_steps(const mete_batch *batch, const chosen *c, mete__arena *arena, mete_batch *out)
{
    uint32_t *begin = mete__arena_take(arena, (c->rows + 1) * sizeof *begin);
    uint32_t *first = mete__arena_take(arena, (c->rows + 1) * sizeof *first);
    uint32_t *step_row = mete__arena_take(arena, (batch->steps + 1) * sizeof *step_row);
    uint32_t *span = mete__arena_take(arena, (2 * batch->steps + 1) * sizeof *span);
    uint8_t *starts = mete__arena_take(arena, c->rows + 1);
    uint8_t *ends = mete__arena_take(arena, 2 * c->rows + 1), *cut = ends + c->rows;
    if (!begin || !first || !step_row || !span || !starts || !ends)
        return false;
    size_t before = 0;
    for (size_t k = 0; k < c->rows; k++) {
        uint32_t row = c->row[k], from = batch->turn_step[c->turn[k]];
        bool opens = k == 0 || c->row[k - 1] != row;
        bool last = k + 1 == c->rows || c->row[k + 1] != row;
        before = opens ? 0 : before + batch->turn_text[c->turn[k - 1]].length + 1;
        begin[k] = from;
        first[k] = batch->first_step[row] + from - batch->step_begin[row];
        starts[k] = opens && batch->starts[row];
        ends[k] = last && batch->terminated[row];
        cut[k] = last && batch->truncated[row];
        for (uint32_t t = from; t < batch->turn_step[c->turn[k] + 1]; t++) {
            step_row[t] = (uint32_t)k;
            span[2 * t] = batch->span ? batch->span[2 * t] - (uint32_t)before : 0;
            span[2 * t + 1] = batch->span ? batch->span[2 * t + 1] - (uint32_t)before : 0;
        }
    }
    begin[c->rows] = (uint32_t)batch->steps;
    out->step_begin = begin;
    out->first_step = first;
    out->step_row = step_row;
    out->span = batch->span ? span : NULL;
    out->starts = starts;
    out->terminated = ends;
    out->truncated = cut;
    return true;
}

const mete_batch *
mete__batch_answers(const mete_batch *batch, mete__arena *arena)
{
    if (!batch->turn_begin)
        return batch;
    uint32_t *row = mete__arena_take(arena, (batch->turns + 1) * sizeof *row);
    uint32_t *turn = mete__arena_take(arena, (batch->turns + 1) * sizeof *turn);
    mete_batch *out = mete__arena_take(arena, sizeof *out);
    if (!row || !turn || !out)
        return NULL;
    size_t messages, count = find_answers(batch, row, turn, &messages);
    const chosen c = {.row = row, .turn = turn, .rows = count, .turns = count, .answers = true};
    uint64_t *prompt_id = mete__arena_take(arena, (count + 1) * sizeof *prompt_id);
    if (!prompt_id || !copy_rows(batch, row, count, arena, out))
        return NULL;
    for (size_t k = 0; k < count; k++)
        prompt_id[k] = mete__conversation_id(batch->turn_prompt[turn[k]]);
    out->prompt_id = prompt_id;
    out->prompt = gathered(batch->turn_prompt, turn, count, sizeof(mete_text), arena);
    out->response = gathered(batch->turn_text, turn, count, sizeof(mete_text), arena);
    if (!put_messages(batch, &c, messages, arena, out) ||
        !put_answer_steps(batch, &c, arena, out) || !regroup(out, arena) ||
        !copy_columns(batch, &c, arena, out))
        return NULL;
    return out;
}

uint64_t
mete__conversation_id(mete_text said)
{
    return mete_hash(0x7475726e, said.data, said.length);
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
mete_batch_turns(mete_ctx *cx, const mete_batch *batch)
{
    const mete_batch *answers = mete__batch_answers(batch, cx->arena);
    uint64_t *id = mete__arena_take(cx->arena, (batch->turns + 1) * sizeof *id);
    if (!answers || !id)
        return out_of_memory(cx);
    if (answers == batch)
        return batch;
    mete_batch *out = (mete_batch *)(uintptr_t)answers;
    for (size_t i = 0, nth = 0; i < out->episodes; i++) {
        nth = i && out->parent_row[i] == out->parent_row[i - 1] ? nth + 1 : 1;
        id[i] = mete_hash_mix(mete_hash_mix(out->id[i], cx->node->key), nth);
    }
    out->id = id;
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
