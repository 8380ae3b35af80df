/* kept.c - what an environment's columns held at each step of a collection, until rows are made.
 *
 * A collection goes step by step over all lanes, and a batch row by row; lanes that end show the
 * next episode at once. So each step's columns are copied before the lanes move on. A value of an
 * episode is copied where the episode begins and shared by its later steps. */
#include "loop/inner.h"

#include <stdlib.h>

/* A text, the items of a list, or a number. */
typedef struct value {
    const void *data;
    size_t count;
    double number;
} value;

struct mete__kept {
    mete__arena *arena;
    value *value; /* [steps x lanes x declareds] */
    size_t room;  /* steps allocated */
};

static mete_level
level_of(const mete__declared *declared)
{
    return declared->level == METE_LIST ? declared->parent : declared->level;
}

bool
mete__kept_has(const mete__rollout *r, mete_level level)
{
    bool has = false;
    for (size_t i = 0; i < r->environment->declareds; i++)
        has |=
            !r->environment->declared[i].signal && level_of(&r->environment->declared[i]) == level;
    return has;
}

int
mete__kept_open(mete__rollout *r, mete_error *err)
{
    bool columns = false;
    for (size_t i = 0; i < r->environment->declareds; i++)
        columns |= !r->environment->declared[i].signal;
    if (!columns)
        return METE_OK;
    r->kept = calloc(1, sizeof *r->kept);
    if (!r->kept || !(r->kept->arena = mete__arena_new()))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    return METE_OK;
}

void
mete__kept_free(struct mete__kept *kept)
{
    if (!kept)
        return;
    mete__arena_free(kept->arena);
    free(kept->value);
    free(kept);
}

void
mete__kept_clear(mete__rollout *r)
{
    if (r->kept)
        mete__arena_release(r->kept->arena, (mete__arena_mark){0, 0});
}

static bool
copy_text(mete__arena *arena, mete_text from, mete_text *to)
{
    *to = (mete_text){from.data ? mete__arena_string(arena, from.data, from.length) : NULL,
                      from.length};
    return to->data || !from.data;
}

static bool
copy_list(mete__arena *arena, mete_texts from, value *to)
{
    mete_text *item = mete__arena_take(arena, from.count * sizeof *item);
    bool good = item != NULL;
    for (size_t k = 0; good && k < from.count; k++)
        good = copy_text(arena, from.item[k], &item[k]);
    *to = (value){.data = item, .count = from.count};
    return good;
}

static bool
copy_value(const mete__rollout *r, size_t column, size_t lane, value *to)
{
    const mete__declared *declared = &r->environment->declared[column];
    if (declared->level == METE_LIST)
        return copy_list(r->kept->arena, mete__observations_list(r->now, column, lane), to);
    if (declared->element != METE_TEXT && declared->element != METE_JSON) {
        *to = (value){.number = mete__observations_number(r->now, column, lane)};
        return true;
    }
    mete_text text;
    bool good = copy_text(r->kept->arena, mete__observations_text(r->now, column, lane), &text);
    *to = (value){.data = text.data, .count = text.length};
    return good;
}

int
mete__kept_take(mete__rollout *r, size_t step, mete_error *err)
{
    struct mete__kept *kept = r->kept;
    size_t columns = r->environment->declareds, each = r->lanes * columns;
    bool good = true;
    if (!kept)
        return METE_OK;
    if (step >= kept->room) {
        size_t room = kept->room ? 2 * kept->room : 16;
        value *grown = realloc(kept->value, room * each * sizeof *grown);
        if (!grown)
            return mete_error_set(err, METE_ENOMEM, "out of memory for columns of %zu steps", step);
        kept->value = grown;
        kept->room = room;
    }
    for (size_t lane = 0; lane < r->lanes; lane++)
        for (size_t c = 0; c < columns; c++) {
            value *to = &kept->value[step * each + lane * columns + c];
            if (r->environment->declared[c].signal)
                continue;
            if (step && r->age[lane] && level_of(&r->environment->declared[c]) == METE_EPISODE)
                *to = to[-(ptrdiff_t)each];
            else
                good &= copy_value(r, c, lane, to);
        }
    return good ? METE_OK
                : mete_error_set(err, METE_ENOMEM, "out of memory for columns of %zu lanes",
                                 r->lanes);
}

int
mete__kept_put(mete__rollout *r, size_t lane, size_t step, mete_level level)
{
    size_t columns = r->environment->declareds;
    int status = METE_OK;
    for (size_t c = 0; r->kept && c < columns && !status; c++) {
        const mete__declared *declared = &r->environment->declared[c];
        const value *from = &r->kept->value[(step * r->lanes + lane) * columns + c];
        if (declared->signal || level_of(declared) != level)
            continue;
        if (declared->level == METE_LIST)
            status = mete__builder_list(r->builder, r->column[c], from->data, from->count);
        else if (declared->element == METE_TEXT || declared->element == METE_JSON)
            mete__builder_text(r->builder, r->column[c], (mete_text){from->data, from->count},
                               declared->element);
        else
            mete__builder_number(r->builder, r->column[c], from->number);
    }
    return status;
}
