/* grades.c - how far responses meet criteria, from the reward that found out to who asks.
 *
 * A reward's call gets one piece of memory for the grades of all its rows, which is scratch unless
 * somebody wants to know. What is kept lives in the engine's arena until it is reset; each row
 * points to its part, so that rows scored for another frame are handed on by copying pointers. */
#include "engine/context.h"

#include <math.h>
#include <string.h>

void
mete__engine_grades(mete__engine *engine, bool kept)
{
    engine->graded = kept;
}

/* Points each row of the call to its grades; the lock is held, and all is in the engine's arena. */
static bool
keep(mete_ctx *cx, const mete_rubric_table *table, const mete_batch *batch,
     const mete_grades *grades)
{
    mete__frame *frame = cx->frame;
    mete__arena *arena = frame->engine->arena;
    mete__result *result = &frame->result[cx->node->private_->number];
    mete_criterion *item = mete__arena_take(arena, (table->count + 1) * sizeof *item);
    double *points = mete__arena_take(arena, (table->count + 1) * sizeof *points);
    if (!result->graded)
        result->graded = mete__arena_zero(arena, frame->batch->episodes * sizeof *result->graded);
    if (!item || !points || !result->graded)
        return false;
    memcpy(item, table->item, table->count * sizeof *item); /* texts are the generator's */
    memcpy(points, table->points, table->count * sizeof *points);
    for (size_t g = 0; g < batch->groups; g++)
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            result->graded[cx->chunk->row + i] =
                (mete__graded){.count = table->first[g + 1] - table->first[g],
                               .item = item + table->first[g],
                               .points = points + table->first[g],
                               .grade = grades->grade + grades->begin[i],
                               .agreement = grades->agreement + grades->begin[i]};
    return true;
}

mete_grades *
mete_grades_of(mete_ctx *cx, const mete_rubric_table *table, const mete_batch *batch)
{
    const mete__frame *frame = cx->frame;
    bool kept = cx->engine->graded && frame && !frame->derived && batch == cx->batch;
    mete__arena *arena = kept ? cx->engine->arena : cx->arena;
    if (kept) /* chunks run side by side */
        pthread_mutex_lock(&cx->engine->lock);
    mete_grades *grades = mete__arena_zero(arena, sizeof *grades);
    size_t *begin = mete__arena_take(arena, (batch->episodes + 1) * sizeof *begin), count = 0;
    for (size_t g = 0; begin && g < batch->groups; g++)
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++) {
            begin[i] = count;
            count += table->first[g + 1] - table->first[g];
        }
    double *grade = mete__arena_take(arena, (2 * count + 1) * sizeof *grade);
    bool good = grades && begin && grade;
    if (good) {
        begin[batch->episodes] = count;
        for (size_t k = 0; k < 2 * count; k++)
            grade[k] = NAN;
        *grades = (mete_grades){
            .size = sizeof *grades, .begin = begin, .grade = grade, .agreement = grade + count};
        good = !kept || keep(cx, table, batch, grades);
    }
    if (kept)
        pthread_mutex_unlock(&cx->engine->lock);
    if (!good)
        mete_fail(cx, METE_ENOMEM, "out of memory for %zu grades", count);
    return good ? grades : NULL;
}

void
mete__grades_scatter(const mete__frame *from, mete__frame *to, const mete__chunk *chunk,
                     const mete_node *node, const uint32_t *row, size_t count)
{
    const mete__graded *source = from->result[node->private_->number].graded;
    mete__result *target = &to->result[node->private_->number];
    if (!source)
        return;
    pthread_mutex_lock(&to->engine->lock);
    if (!target->graded)
        target->graded =
            mete__arena_zero(to->engine->arena, to->batch->episodes * sizeof *target->graded);
    pthread_mutex_unlock(&to->engine->lock);
    for (size_t i = 0; target->graded && i < count; i++)
        target->graded[chunk->row + row[i]] = source[i];
}

const mete__graded *
mete__node_graded(const mete_node *node, size_t row)
{
    const mete__frame *frame = node->engine->frame;
    const mete__result *result = frame ? &frame->result[node->private_->number] : NULL;
    return result && result->graded && result->graded[row].item ? &result->graded[row] : NULL;
}

void
mete__put_graded(mete_buffer *out, const mete__graded *graded)
{
    for (size_t k = 0; k < graded->count; k++) {
        const mete_criterion *criterion = &graded->item[k];
        mete_buffer_string(out, k ? ",{\"criterion\":" : "[{\"criterion\":");
        mete_json_put_text(out, criterion->text.length ? criterion->text : criterion->check);
        mete_buffer_string(out, ",\"points\":");
        mete_json_put_number(out, criterion->points);
        mete_buffer_string(out, ",\"grade\":");
        if (isnan(graded->grade[k]))
            mete_buffer_string(out, "null");
        else
            mete_json_put_number(out, graded->grade[k]);
        if ((size_t)criterion->parent < k &&
            graded->item[criterion->parent].kind == METE_CRITERION_PARTS)
            mete_buffer_format(out, ",\"part_of\":%d", (int)criterion->parent);
        mete_buffer_byte(out, '}');
    }
    mete_buffer_string(out, graded->count ? "]" : "[]");
}
