/* lua - a reward in Lua 5.4, sandboxed.  pkg-config: lua5.4
 *
 *   function score(row)                      -- once for each row
 *     if not row.reference then return nil end           -- nil: not applicable
 *     return #row.response < 100 and row.response:find(row.reference, 1, true) and 1 or 0
 *   end
 *
 * or `score_batch(batch)`, asked once with lists (batch.response[i], i = 1..batch.n) and answering
 * a list. The result is a number, a boolean (1 or 0) or nil; error("why") fails the row. A second
 * result may be a table of the signals listed in the config. A script can only compute, within
 * `steps` a row and `memory` (sandbox.h), so it may come from a model. It is compiled anew for each
 * batch: nothing is remembered between batches.
 */
#include "../common/names.h"
#include "sandbox.h"

#include <math.h>
#include <mete/reward.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SCRIPT = 1 << 20 };

struct lua {
    const char *script, *code;
    mete_strings fields, signals;
    int64_t steps, memory;
    mete_field reference;
    /* filled by open */
    const char *text;
    size_t length;
    mete_field *column; /* [fields.count] */
    int *signal;        /* [signals.count] */
};

static const mete_option options[] = {
    METE_FILE(struct lua, script, 0, "file of the script"),
    METE_STRING(struct lua, code, NULL, 0, "the script itself, in place of a file"),
    METE_STRINGS(struct lua, fields, 0, "columns of text the script reads as row.NAME"),
    METE_STRINGS(struct lua, signals, 0, "names the script may give in its second result"),
    METE_INT(struct lua, steps, 1000000, 1000, 1e12, "most instructions for one row"),
    METE_INT(struct lua, memory, 16, 1, 4096, "most memory of the script, in MiB"),
    METE_FIELD(struct lua, reference, "reference", METE_LIST, METE_TEXT, METE_OPTIONAL,
               "right answers: row.reference is the first, row.references all"),
    METE_OPTIONS_END};

/* ---- opening --------------------------------------------------------------------------------- */

static int
read_script(mete_ctx *cx, struct lua *p)
{
    if (!p->script == !p->code)
        return mete_fail(cx, METE_EINVAL, "needs either `script` (a file) or `code`");
    if (p->code) {
        p->text = p->code;
        p->length = strlen(p->code);
        return METE_OK;
    }
    FILE *file = fopen(p->script, "rb");
    char *text = file ? mete_alloc(cx, MOST_SCRIPT + 1) : NULL;
    p->length = text ? fread(text, 1, MOST_SCRIPT + 1, file) : 0;
    int bad = !text || ferror(file);
    if (file)
        fclose(file);
    p->text = text;
    if (bad)
        return mete_fail(cx, METE_EIO, "script: cannot read %s", p->script);
    return p->length > MOST_SCRIPT
               ? mete_fail(cx, METE_EINVAL, "script: %s is larger than 1 MiB", p->script)
               : METE_OK;
}

static const char *
message_of(lua_State *L)
{
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error that is no text";
}

static struct sandbox
new_box(const struct lua *p)
{
    return (struct sandbox){.steps = p->steps, .most = (size_t)p->memory << 20};
}

/* Loads the script once, so that what is wrong with it is told before anything runs. */
static int
try_script(mete_ctx *cx, const struct lua *p)
{
    struct sandbox box = new_box(p);
    lua_State *L = sandbox_open(&box);
    const char *name = p->script ? p->script : "code";
    int status = METE_OK;
    if (!L)
        return mete_fail(cx, METE_EINVAL, "memory: %lld MiB do not hold an empty script",
                         (long long)p->memory);
    if (sandbox_load(L, p->text, p->length, p->script ? "@script" : "=code"))
        status = mete_fail(cx, METE_EINVAL, "%s: %s", name, message_of(L));
    else if (!sandbox_function(L, "score") && !sandbox_function(L, "score_batch"))
        status = mete_fail(cx, METE_EINVAL, "%s defines neither score(row) nor score_batch(batch)",
                           name);
    lua_close(L);
    return status;
}

static int
open_lua(mete_ctx *cx, void *self)
{
    struct lua *p = self;
    int status = read_script(cx, p);
    if (!status)
        status = names_columns(cx, p->fields, METE_TEXT, &p->column);
    if (!status)
        status = names_signals(cx, p->signals, "given by the script", &p->signal);
    return status ? status : try_script(cx, p);
}

/* ---- scoring --------------------------------------------------------------------------------- */

struct job {
    mete_ctx *cx;
    const struct lua *self;
    struct sandbox *box;
    const mete_batch *batch;
    mete_scores *out;
    mete_rng rng;
};

static void
set_text(lua_State *L, const char *name, const mete_text *text)
{
    if (text && text->data)
        lua_pushlstring(L, text->data, text->length);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, name);
}

/* Fills the row table on the stack's top. */
static void
fill_row(lua_State *L, const struct job *j, size_t i)
{
    const mete_batch *batch = j->batch;
    mete_texts right = mete_texts_of(batch, &j->self->reference, i);
    set_text(L, "prompt", batch->prompt ? &batch->prompt[i] : NULL);
    set_text(L, "response", batch->response ? &batch->response[i] : NULL);
    set_text(L, "reference", right.count ? right.item : NULL);
    lua_createtable(L, (int)right.count, 0);
    for (size_t k = 0; k < right.count; k++) {
        lua_pushlstring(L, right.item[k].data, right.item[k].length);
        lua_rawseti(L, -2, (lua_Integer)k + 1);
    }
    lua_setfield(L, -2, "references");
    lua_pushinteger(L, batch->step_begin[i + 1] - batch->step_begin[i]);
    lua_setfield(L, -2, "steps");
    for (size_t k = 0; k < j->self->fields.count; k++) {
        const mete_text *text = mete_text_of(batch, &j->self->column[k]);
        set_text(L, j->self->fields.item[k], text ? &text[i] : NULL);
    }
    lua_createtable(L, 0, (int)mete_child_count(j->cx));
    for (size_t k = 0; k < mete_child_count(j->cx); k++) {
        const mete_scores *child = mete_child(j->cx, k);
        if (child->status[i])
            continue;
        lua_pushnumber(L, mete_child_weight(j->cx, k) * child->episode[i]);
        lua_setfield(L, -2, mete_child_name(j->cx, k));
    }
    lua_setfield(L, -2, "child");
}

/* The value at `at` becomes row i's. */
static void
take_value(lua_State *L, const struct job *j, size_t i, int at)
{
    double value = lua_isboolean(L, at) ? lua_toboolean(L, at) : lua_tonumber(L, at);
    if (lua_isnoneornil(L, at))
        j->out->status[i] = METE_NOT_APPLICABLE;
    else if (lua_type(L, at) != LUA_TNUMBER && !lua_isboolean(L, at))
        mete_row_fail(j->cx, i, METE_FAILED, "the script gives a %s, not a number",
                      luaL_typename(L, at));
    else if (!isfinite(value))
        mete_row_fail(j->cx, i, METE_FAILED, "the script gives %g", value);
    else
        j->out->episode[i] = value;
}

static void
take_signals(lua_State *L, const struct job *j, size_t i, int at)
{
    if (lua_isnoneornil(L, at))
        return;
    if (!lua_istable(L, at)) {
        mete_row_fail(j->cx, i, METE_FAILED, "the script's second result is a %s, not a table",
                      luaL_typename(L, at));
        return;
    }
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t k = 0;
        while (k < j->self->signals.count && strcmp(j->self->signals.item[k], name) != 0)
            k++;
        if (k == j->self->signals.count || !isfinite(lua_tonumber(L, -1)))
            mete_row_fail(j->cx, i, METE_FAILED,
                          "the script's signal '%.40s' is not a finite "
                          "number listed in `signals`",
                          name);
        else
            mete_out(j->out, j->self->signal[k])[i] = lua_tonumber(L, -1);
    }
}

static uint32_t
draw(void *job)
{
    return mete_rng_bits(&((struct job *)job)->rng);
}

static void
renew(lua_State *L, struct job *j, size_t rows)
{
    if (j->box->spent)
        lua_gc(L, LUA_GCCOLLECT);
    j->box->spent = 0;
    j->box->steps = j->self->steps > INT64_MAX / (int64_t)(rows + 1)
                        ? INT64_MAX
                        : j->self->steps * (int64_t)(rows ? rows : 1);
}

/* Stack: the job, score. */
static void
score_rows(lua_State *L, struct job *j)
{
    lua_createtable(L, 0, 8);
    int row = lua_gettop(L), function = row - 1;
    j->box->bits = draw;
    j->box->bits_of = j;
    for (size_t i = 0; i < j->batch->episodes; i++) {
        renew(L, j, 1);
        j->rng = mete_random(j->cx, j->batch->id[i], 0);
        lua_settop(L, row);
        fill_row(L, j, i);
        lua_pushvalue(L, function);
        lua_pushvalue(L, row);
        if (lua_pcall(L, 1, 2, 0)) {
            mete_row_fail(j->cx, i, METE_FAILED, "%.200s", message_of(L));
            continue;
        }
        take_value(L, j, i, row + 1);
        if (!j->out->status[i])
            take_signals(L, j, i, row + 2);
    }
}

static void
set_texts(lua_State *L, const char *name, const mete_text *text, size_t n)
{
    lua_createtable(L, text ? (int)n : 0, 0);
    for (size_t i = 0; text && i < n; i++) {
        if (!text[i].data)
            continue;
        lua_pushlstring(L, text[i].data, text[i].length);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, name);
}

static void
fill_batch(lua_State *L, const struct job *j)
{
    const mete_batch *batch = j->batch;
    size_t n = batch->episodes;
    lua_createtable(L, 0, 8);
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, "n");
    set_texts(L, "prompt", batch->prompt, n);
    set_texts(L, "response", batch->response, n);
    for (size_t k = 0; k < j->self->fields.count; k++)
        set_texts(L, j->self->fields.item[k], mete_text_of(batch, &j->self->column[k]), n);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        mete_texts right = mete_texts_of(batch, &j->self->reference, i);
        if (!right.count)
            continue;
        lua_pushlstring(L, right.item->data, right.item->length);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "reference");
    lua_newtable(L);
    for (size_t k = 0; k < mete_child_count(j->cx); k++) {
        const mete_scores *child = mete_child(j->cx, k);
        lua_createtable(L, (int)n, 0);
        for (size_t i = 0; i < n; i++) {
            if (child->status[i])
                continue;
            lua_pushnumber(L, mete_child_weight(j->cx, k) * child->episode[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        lua_setfield(L, -2, mete_child_name(j->cx, k));
    }
    lua_setfield(L, -2, "child");
}

/* Stack: the job, score_batch. */
static void
score_batch(lua_State *L, struct job *j)
{
    size_t n = j->batch->episodes;
    char why[220] = "";
    renew(L, j, n);
    fill_batch(L, j);
    if (lua_pcall(L, 1, 1, 0))
        snprintf(why, sizeof why, "%.200s", message_of(L));
    else if (!lua_istable(L, -1))
        snprintf(why, sizeof why, "score_batch gives a %s, not a list", luaL_typename(L, -1));
    else if (lua_rawlen(L, -1) > n)
        snprintf(why, sizeof why, "score_batch gives %llu values for %zu rows",
                 (unsigned long long)lua_rawlen(L, -1), n);
    for (size_t i = 0; i < n; i++) {
        if (*why) {
            mete_row_fail(j->cx, i, METE_FAILED, "%s", why);
            continue;
        }
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        take_value(L, j, i, lua_gettop(L));
        lua_pop(L, 1);
    }
}

/* Runs under lua_pcall, so that running out of memory anywhere comes back as an error. */
static int
run(lua_State *L)
{
    struct job *j = lua_touserdata(L, 1);
    if (sandbox_load(L, j->self->text, j->self->length, j->self->script ? "@script" : "=code"))
        return lua_error(L);
    if (sandbox_function(L, "score_batch")) {
        score_batch(L, j);
    } else {
        sandbox_function(L, "score");
        score_rows(L, j);
    }
    return 0;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    struct sandbox box = new_box(self);
    struct job j = {.cx = cx, .self = self, .box = &box, .batch = batch, .out = out};
    lua_State *L = sandbox_open(&box);
    if (!L)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    memset(out->episode, 0, batch->episodes * sizeof *out->episode);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, &j);
    int status = METE_OK;
    if (lua_pcall(L, 1, 0, 0))
        status = mete_fail(cx, METE_EPLUGIN, "%.200s", message_of(L));
    lua_close(L);
    return status;
}

METE_REWARD_PLUGIN(
    lua, "1.0", "a sandboxed script in Lua 5.4",
    .doc =
        "function score(row) ... return number end, with row.prompt, response, reference,\n"
        "references, steps, child.NAME and the listed fields; nil: not applicable; error(\"why\")\n"
        "fails the row; a second result may be a table of signals. Or score_batch(batch) with\n"
        "lists. The script sees string, table, math and utf8, pcall and random(), and no files,\n"
        "modules, clock or metatables. Running out of steps or memory fails the row.",
    .options = options, .state_size = sizeof(struct lua),
    .flags = METE_COMBINES | METE_ANY_CHILDREN | METE_SAMPLES, .open = open_lua, .score = score);
