/* columns.c - how plugins read columns, and views that leave out what may not be seen. */
#include "engine/context.h"

#include <string.h>

const mete_column *
mete_column_of(const mete_batch *batch, const mete_field *field)
{
    for (uint32_t i = 0; field->name && i < batch->columns; i++) {
        const mete_column *column = &batch->column[i];
        if (column->level == field->level && column->element == field->element &&
            strcmp(column->name, field->name) == 0)
            return column;
    }
    return NULL;
}

static const void *
typed(const mete_batch *batch, const mete_field *field, mete_type element)
{
    const mete_column *column = field->element == element ? mete_column_of(batch, field) : NULL;
    return column ? column->data : NULL;
}

const mete_text *
mete_text_of(const mete_batch *batch, const mete_field *field)
{
    const mete_text *column = field->element == METE_JSON ? typed(batch, field, METE_JSON)
                                                          : typed(batch, field, METE_TEXT);
    if (column || !field->name)
        return column;
    if (strcmp(field->name, "prompt") == 0)
        return batch->prompt;
    if (strcmp(field->name, "response") == 0)
        return batch->response;
    return NULL;
}

const float *
mete_f32_of(const mete_batch *batch, const mete_field *field)
{
    return typed(batch, field, METE_F32);
}

const double *
mete_f64_of(const mete_batch *batch, const mete_field *field)
{
    return typed(batch, field, METE_F64);
}

const int32_t *
mete_i32_of(const mete_batch *batch, const mete_field *field)
{
    return typed(batch, field, METE_I32);
}

const int64_t *
mete_i64_of(const mete_batch *batch, const mete_field *field)
{
    return typed(batch, field, METE_I64);
}

mete_texts
mete_texts_of(const mete_batch *batch, const mete_field *field, size_t row)
{
    const mete_column *column = mete_column_of(batch, field);
    const mete_text *data;
    if (column && column->offset) {
        data = column->data;
        return (mete_texts){data + column->offset[row],
                            column->offset[row + 1] - column->offset[row]};
    }
    /* A list of one: the environment gives a single text under this name. */
    mete_field single = *field;
    single.level = METE_EPISODE;
    column = mete_column_of(batch, &single);
    data = column ? column->data : NULL;
    if (!data || !data[row].data || (column->valid && !column->valid[row]))
        return (mete_texts){NULL, 0};
    return (mete_texts){data + row, 1};
}

const mete_text *
mete_table_text(const mete_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->fields; i++)
        if (strcmp(table->name[i], name) == 0)
            return table->value[i];
    return NULL;
}

void
mete__view_filter(const mete_batch *batch, mete_visible most, mete__arena *arena, mete_batch *out)
{
    uint32_t kept = 0;
    *out = *batch;
    for (uint32_t i = 0; i < batch->columns; i++)
        kept += batch->column[i].visible <= (uint32_t)most;
    if (kept == batch->columns)
        return;
    mete_column *column = mete__arena_take(arena, (kept + 1) * sizeof *column);
    out->column = column;
    out->columns = 0;
    for (uint32_t i = 0; column && i < batch->columns; i++)
        if (batch->column[i].visible <= (uint32_t)most)
            column[out->columns++] = batch->column[i];
}
