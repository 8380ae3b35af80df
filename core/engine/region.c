/* region.c - shared memory and the deep copy of a batch into it. */
#include "engine/region.h"
#include "engine/context.h"

#include <mete/model.h>
#include <string.h>
#include <sys/mman.h>

/* More than this is given back to the system between calls. */
#define KEPT ((size_t)16 << 20)

bool
mete__region_map(mete__region *region, size_t size)
{
    void *base =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    *region = (mete__region){.base = base, .size = size};
    return true;
}

void
mete__region_unmap(mete__region *region)
{
    if (region->base)
        munmap(region->base, region->size);
    *region = (mete__region){0};
}

void
mete__region_rewind(mete__region *region, size_t keep)
{
    size_t kept = keep > KEPT ? keep : KEPT;
    if (region->used > kept) {
        size_t page = 4096, from = (kept + page - 1) / page * page;
        if (from < region->used)
            madvise(region->base + from, region->used - from, MADV_REMOVE);
    }
    region->used = keep;
    region->full = false;
}

void *
mete__region_take(mete__region *region, size_t bytes)
{
    size_t at = (region->used + 63) & ~(size_t)63;
    if (at > region->size || bytes > region->size - at) {
        region->full = true;
        return NULL;
    }
    region->used = at + bytes;
    return region->base + at;
}

void *
mete__region_put(mete__region *region, const void *from, size_t bytes)
{
    void *to = from ? mete__region_take(region, bytes) : NULL;
    if (to && bytes)
        memcpy(to, from, bytes);
    return to;
}

mete_text *
mete__region_texts(mete__region *region, const mete_text *from, size_t count)
{
    mete_text *to = mete__region_put(region, from, count * sizeof *to);
    size_t bytes = 0, at = 0;
    for (size_t i = 0; to && i < count; i++)
        bytes += to[i].length;
    char *text = to ? mete__region_take(region, bytes) : NULL;
    if (!text)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!to[i].data)
            continue;
        if (to[i].length)
            memcpy(text + at, to[i].data, to[i].length);
        to[i].data = text + at;
        at += to[i].length;
    }
    return to;
}

static void
put_column(mete__region *region, const mete_batch *batch, mete_column *column)
{
    size_t rows = mete__batch_rows_at(batch, column->level), first = 0;
    bool texts = column->element == METE_TEXT || column->element == METE_JSON;
    if (column->level == METE_LIST) {
        size_t owners = mete__batch_rows_at(batch, column->parent);
        uint32_t *offset =
            mete__region_put(region, column->offset, (owners + 1) * sizeof *column->offset);
        if (!offset)
            return;
        first = offset[0];
        rows = offset[owners] - first;
        for (size_t i = 0; i <= owners; i++)
            offset[i] -= (uint32_t)first;
        column->offset = offset;
    }
    const char *data = column->data;
    size_t each = mete__column_value_size(column);
    if (data)
        data += first * each;
    column->data = texts ? (const void *)mete__region_texts(
                               region, (const mete_text *)(const void *)data, data ? rows : 0)
                         : mete__region_put(region, data, rows * each);
    column->valid = mete__region_put(region, column->valid ? column->valid + first : NULL, rows);
    column->name = mete__region_put(region, column->name, strlen(column->name) + 1);
}

/* What was said before each turn of a row is the beginning of what was said before its last. */
static const mete_text *
put_prompts(mete__region *region, const mete_batch *batch)
{
    mete_text *to = mete__region_put(region, batch->turn_prompt, batch->turns * sizeof *to);
    for (size_t i = 0; to && i < batch->episodes; i++) {
        uint32_t begin = batch->turn_begin[i], end = batch->turn_begin[i + 1];
        char *text =
            end > begin ? mete__region_put(region, to[end - 1].data, to[end - 1].length) : NULL;
        for (uint32_t t = begin; t < end; t++)
            to[t].data = text;
    }
    return to;
}

/* Messages of the rows, which may begin anywhere in the array they are of. */
static void
put_messages(mete__region *region, const mete_batch *from, mete_batch *to)
{
    size_t rows = from->episodes, first = from->message_begin[0];
    size_t count = from->message_begin[rows] - first;
    uint32_t *begin =
        mete__region_put(region, from->message_begin, (rows + 1) * sizeof *from->message_begin);
    mete_message *message =
        mete__region_put(region, from->message + first, count * sizeof *message);
    for (size_t i = 0; begin && i <= rows; i++)
        begin[i] -= (uint32_t)first;
    for (size_t i = 0; message && i < count; i++)
        message[i].text.data =
            mete__region_put(region, message[i].text.data, message[i].text.length);
    to->message_begin = begin;
    to->message = message;
}

/* A new member must be laid down below, too. */
_Static_assert(sizeof(mete_batch) == 376 || sizeof(void *) != 8, "mete_batch has grown");

mete_batch *
mete__region_batch(mete__region *region, const mete_batch *from)
{
    mete_batch *to = mete__region_put(region, from, sizeof *from);
    if (!to)
        return NULL;
    size_t rows = from->episodes, steps = from->steps;
#define PUT(member, count)                                                                         \
    to->member = mete__region_put(region, from->member, (count) * sizeof *from->member)
    PUT(id, rows);
    PUT(prompt_id, rows);
    PUT(task_id, rows);
    PUT(group, from->groups + 1);
    PUT(scene, from->scenes + 1);
    PUT(step_begin, rows + 1);
    PUT(first_step, rows);
    PUT(starts, rows);
    PUT(terminated, rows);
    PUT(truncated, rows);
    PUT(masked, rows);
    PUT(step_row, steps);
    PUT(observation, steps * from->observation_size);
    PUT(final_observation, rows * from->observation_size);
    PUT(action, steps);
    PUT(action_vector, steps * from->action_size);
    PUT(action_mask, steps * from->action_count);
    PUT(logp, steps);
    PUT(value, steps * from->heads);
    PUT(final_value, rows * from->heads);
    PUT(loss_mask, steps);
    PUT(span, 2 * steps);
    PUT(turn_begin, rows + 1);
    PUT(turn_step, from->turns + 1);
    PUT(turn_role, from->turns);
    PUT(turn_first, rows);
    PUT(pair_a, from->pairs);
    PUT(pair_b, from->pairs);
    PUT(pair_p, from->pairs);
    PUT(parent_row, rows);
#undef PUT
    to->prompt = from->prompt ? mete__region_texts(region, from->prompt, rows) : NULL;
    to->response = from->response ? mete__region_texts(region, from->response, rows) : NULL;
    to->turn_text =
        from->turn_text ? mete__region_texts(region, from->turn_text, from->turns) : NULL;
    to->turn_prompt = from->turn_prompt ? put_prompts(region, from) : NULL;
    if (from->message_begin)
        put_messages(region, from, to);
    to->host = NULL;
    mete_column *column =
        mete__region_put(region, from->column, from->columns * sizeof *from->column);
    for (uint32_t i = 0; column && i < from->columns; i++)
        put_column(region, from, &column[i]);
    to->column = column;
    return region->full ? NULL : to;
}
