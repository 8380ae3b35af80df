/* world.c - calls into environments, and the host's memory behind what lanes show. */
#include "engine/isolate_world.h"

#include <math.h>
#include <mete/model.h>
#include <stdlib.h>
#include <string.h>

/* One provided column over all lanes. Texts are copied after each call, so that a plugin may point
 * into memory of its own. */
typedef struct lane_column {
    void *data;       /* [lanes] mete_text, double, float, int32_t ... as the plugin writes */
    char **own;       /* [lanes] copies of texts and lists */
    size_t *room;     /* [lanes] bytes at own */
    mete_text **item; /* [lanes] list items */
    size_t *items, *item_room;
} lane_column;

typedef struct observations_host {
    const mete_node *environment;
    lane_column *column; /* [declareds] */
    lane_column prompt;
    float **signal; /* [declareds] step signals, of the transitions */
} observations_host;

static size_t
lane_each(const mete__declared *declared)
{
    switch (declared->element) {
    case METE_TEXT:
    case METE_JSON:
        return sizeof(mete_text);
    case METE_F32:
    case METE_I32:
        return 4;
    case METE_U8:
        return 1;
    default:
        return 8;
    }
}

bool
mete__converses(const mete_node *environment)
{
    return !environment->spaces.single_turn &&
           environment->spaces.observation.kind == METE_SPACE_TEXT;
}

static bool
is_text(const mete__declared *declared)
{
    return declared->element == METE_TEXT || declared->element == METE_JSON;
}

static bool
column_make(lane_column *column, size_t lanes, size_t each, bool list)
{
    column->data = calloc(lanes, each);
    column->own = calloc(lanes, sizeof *column->own);
    column->room = calloc(lanes, sizeof *column->room);
    if (list) {
        column->item = calloc(lanes, sizeof *column->item);
        column->items = calloc(lanes, sizeof *column->items);
        column->item_room = calloc(lanes, sizeof *column->item_room);
        if (!column->item || !column->items || !column->item_room)
            return false;
    }
    return column->data && column->own && column->room;
}

static void
column_free(lane_column *column, size_t lanes)
{
    for (size_t i = 0; column->own && i < lanes; i++)
        free(column->own[i]);
    for (size_t i = 0; column->item && i < lanes; i++)
        free(column->item[i]);
    free(column->data);
    free(column->own);
    free(column->room);
    free(column->item);
    free(column->items);
    free(column->item_room);
}

mete_observations *
mete__observations_new(const mete_node *environment, size_t lanes)
{
    const mete_spaces *spaces = &environment->spaces;
    mete_observations *out = calloc(1, sizeof *out);
    observations_host *host = calloc(1, sizeof *host);
    if (!out || !host) {
        free(out);
        free(host);
        return NULL;
    }
    out->size = sizeof *out;
    out->lanes = lanes;
    out->host = host;
    host->environment = environment;
    bool good = true;
    if (spaces->observation.kind == METE_SPACE_BOX)
        out->observation_size = spaces->observation.size;
    else if (spaces->observation.kind == METE_SPACE_DISCRETE)
        out->observation_size = 1;
    if (out->observation_size)
        good &= (out->observation = calloc(lanes * out->observation_size, sizeof(float))) != NULL;
    if (spaces->action.kind == METE_SPACE_DISCRETE && spaces->action.count) {
        good &= (out->action_mask = malloc(lanes * spaces->action.count)) != NULL;
        if (good)
            memset(out->action_mask, 1, lanes * spaces->action.count);
    }
    good &= (out->prompt_id = calloc(lanes, sizeof *out->prompt_id)) != NULL;
    if (spaces->observation.kind == METE_SPACE_TEXT) {
        good &= column_make(&host->prompt, lanes, sizeof(mete_text), false);
        good &= (out->role = malloc(lanes)) != NULL;
        if (out->role)
            memset(out->role, METE_USER, lanes);
        out->prompt = host->prompt.data;
    }
    host->column = calloc(environment->declareds + 1, sizeof *host->column);
    good &= host->column != NULL;
    for (size_t i = 0; good && i < environment->declareds; i++) {
        const mete__declared *declared = &environment->declared[i];
        if (!declared->signal)
            good = column_make(&host->column[i], lanes, lane_each(declared),
                               declared->level == METE_LIST);
    }
    if (good)
        return out;
    mete__observations_free(out);
    return NULL;
}

void
mete__observations_free(mete_observations *observations)
{
    if (!observations)
        return;
    observations_host *host = observations->host;
    for (size_t i = 0; host->column && i < host->environment->declareds; i++)
        column_free(&host->column[i], observations->lanes);
    column_free(&host->prompt, observations->lanes);
    free(host->column);
    free(host);
    free(observations->observation);
    free(observations->action_mask);
    free(observations->prompt_id);
    free(observations->role);
    free(observations);
}

void *
mete_lane_column(mete_observations *out, int handle)
{
    const observations_host *host = out->host;
    if (handle < 0 || (size_t)handle >= host->environment->declareds)
        return NULL;
    return host->column[handle].data;
}

int
mete_lane_list(mete_ctx *cx, mete_observations *out, int handle, size_t lane, const mete_text *item,
               size_t count)
{
    const observations_host *host = out->host;
    if (handle < 0 || (size_t)handle >= host->environment->declareds || lane >= out->lanes ||
        !host->column[handle].item)
        return mete_fail(cx, METE_EPLUGIN, "gave a list for a column or lane that has none");
    lane_column *column = &host->column[handle];
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += item[i].length;
    if (bytes + 1 > column->room[lane]) {
        char *grown = realloc(column->own[lane], 2 * (bytes + 1));
        if (!grown)
            return mete_fail(cx, METE_ENOMEM, "out of memory for a list of %zu texts", count);
        column->own[lane] = grown;
        column->room[lane] = 2 * (bytes + 1);
    }
    if (count + 1 > column->item_room[lane]) {
        mete_text *grown = realloc(column->item[lane], 2 * (count + 1) * sizeof *grown);
        if (!grown)
            return mete_fail(cx, METE_ENOMEM, "out of memory for a list of %zu texts", count);
        column->item[lane] = grown;
        column->item_room[lane] = 2 * (count + 1);
    }
    char *to = column->own[lane];
    for (size_t i = 0; i < count; i++) {
        if (item[i].length)
            memcpy(to, item[i].data, item[i].length);
        column->item[lane][i] = (mete_text){to, item[i].length};
        to += item[i].length;
    }
    column->items[lane] = count;
    return METE_OK;
}

mete_text
mete__observations_text(const mete_observations *observations, size_t declared, size_t lane)
{
    const observations_host *host = observations->host;
    return ((const mete_text *)host->column[declared].data)[lane];
}

double
mete__observations_number(const mete_observations *observations, size_t declared, size_t lane)
{
    const observations_host *host = observations->host;
    const void *data = host->column[declared].data;
    switch (host->environment->declared[declared].element) {
    case METE_F32:
        return ((const float *)data)[lane];
    case METE_F64:
        return ((const double *)data)[lane];
    case METE_I32:
        return ((const int32_t *)data)[lane];
    case METE_I64:
        return (double)((const int64_t *)data)[lane];
    case METE_U8:
        return ((const uint8_t *)data)[lane];
    default:
        return 0;
    }
}

mete_texts
mete__observations_list(const mete_observations *observations, size_t declared, size_t lane)
{
    const observations_host *host = observations->host;
    const lane_column *column = &host->column[declared];
    return (mete_texts){column->item[lane], column->items[lane]};
}

/* Copies one text that the plugin pointed to, unless it already is our copy. */
static bool
keep_text(lane_column *column, size_t lane)
{
    mete_text *text = &((mete_text *)column->data)[lane];
    if (!text->data || text->data == column->own[lane])
        return true;
    if (text->length + 1 > column->room[lane]) {
        char *grown = malloc(2 * (text->length + 1));
        if (!grown)
            return false;
        memcpy(grown, text->data, text->length);
        free(column->own[lane]);
        column->own[lane] = grown;
        column->room[lane] = 2 * (text->length + 1);
    } else {
        memmove(column->own[lane], text->data, text->length);
    }
    text->data = column->own[lane];
    return true;
}

static int
keep_texts(mete_observations *out, mete_error *err)
{
    const observations_host *host = out->host;
    bool good = true;
    for (size_t i = 0; i < host->environment->declareds; i++)
        if (host->environment->declared[i].level != METE_LIST &&
            is_text(&host->environment->declared[i]))
            for (size_t lane = 0; lane < out->lanes; lane++)
                good &= keep_text(&host->column[i], lane);
    if (out->prompt)
        for (size_t lane = 0; lane < out->lanes; lane++)
            good &= keep_text(&((observations_host *)out->host)->prompt, lane);
    return good ? METE_OK
                : mete_error_set(err, METE_ENOMEM, "out of memory for texts of the lanes");
}

/* ---- transitions ----------------------------------------------------------------------------- */

mete_transitions *
mete__transitions_new(const mete_node *environment, mete_observations *next)
{
    mete_transitions *out = calloc(1, sizeof *out);
    observations_host *host = next->host;
    size_t lanes = next->lanes;
    if (!out)
        return NULL;
    out->size = sizeof *out;
    out->lanes = lanes;
    out->next = next;
    out->stride = out->task_stride = lanes;
    out->reward = calloc(lanes, sizeof *out->reward);
    out->terminated = calloc(lanes, 1);
    out->truncated = calloc(lanes, 1);
    out->episode = calloc(lanes, sizeof *out->episode);
    out->task = calloc(lanes, sizeof *out->task);
    bool good = out->reward && out->terminated && out->truncated && out->episode && out->task;
    if (next->observation_size)
        good &= (out->final_observation = calloc(lanes * next->observation_size, sizeof(float))) !=
                NULL;
    if (next->prompt)
        good &= (out->final_prompt = calloc(lanes, sizeof *out->final_prompt)) != NULL;
    host->signal = calloc(environment->declareds + 1, sizeof *host->signal);
    good &= host->signal != NULL;
    for (size_t i = 0; good && i < environment->declareds; i++)
        if (environment->declared[i].signal)
            good &= (host->signal[i] = calloc(lanes, sizeof(float))) != NULL;
    if (good)
        return out;
    mete__transitions_free(out);
    return NULL;
}

void
mete__transitions_free(mete_transitions *transitions)
{
    if (!transitions)
        return;
    observations_host *host = transitions->next->host;
    for (size_t i = 0; host->signal && i < host->environment->declareds; i++)
        free(host->signal[i]);
    free(host->signal);
    host->signal = NULL;
    free(transitions->reward);
    free(transitions->terminated);
    free(transitions->truncated);
    free(transitions->episode);
    free(transitions->task);
    free(transitions->final_observation);
    free(transitions->final_prompt);
    free(transitions);
}

float *
mete_lane_signal(mete_transitions *out, int handle)
{
    const observations_host *host = out->next->host;
    if (handle < 0 || (size_t)handle >= host->environment->declareds)
        return NULL;
    return host->signal[handle];
}

/* ---- parts: lanes shared out among instances of one environment, each on a thread ------------ */

/* The first lane of part k. */
static size_t
part_from(const mete_node *environment, size_t lanes, size_t k)
{
    return k * lanes / (environment->private_->parts + 1);
}

static mete_node *
part_node(mete_node *environment, size_t k)
{
    return k ? environment->private_->part[k - 1] : environment;
}

/* Arrays of lanes from `from` on. */
static lane_column
column_slice(const lane_column *column, size_t from, size_t each)
{
    lane_column out = *column;
    if (out.data)
        out.data = (char *)out.data + from * each;
    out.own = out.own ? out.own + from : NULL;
    out.room = out.room ? out.room + from : NULL;
    out.item = out.item ? out.item + from : NULL;
    out.items = out.items ? out.items + from : NULL;
    out.item_room = out.item_room ? out.item_room + from : NULL;
    return out;
}

static bool
observations_slice(const mete_observations *all, size_t from, size_t count, mete__arena *arena,
                   mete_observations *out)
{
    const observations_host *host = all->host;
    const mete_node *environment = host->environment;
    size_t declareds = environment->declareds;
    observations_host *own = mete__arena_zero(arena, sizeof *own);
    if (!own || !(own->column = mete__arena_zero(arena, (declareds + 1) * sizeof *own->column)) ||
        !(own->signal = mete__arena_zero(arena, (declareds + 1) * sizeof *own->signal)))
        return false;
    own->environment = environment;
    own->prompt = column_slice(&host->prompt, from, sizeof(mete_text));
    for (size_t i = 0; i < declareds; i++) {
        own->column[i] = column_slice(&host->column[i], from, lane_each(&environment->declared[i]));
        if (host->signal && host->signal[i])
            own->signal[i] = host->signal[i] + from;
    }
    *out = *all;
    out->host = own;
    out->lanes = count;
    if (out->observation)
        out->observation += from * out->observation_size;
    if (out->action_mask)
        out->action_mask += from * environment->spaces.action.count;
    out->prompt = out->prompt ? out->prompt + from : NULL;
    out->role = out->role ? out->role + from : NULL;
    out->prompt_id += from;
    return true;
}

/* What the parts do at once. */
typedef struct part_work {
    mete_node *environment;
    const mete_reset *reset;     /* a reset, else */
    const mete_actions *actions; /* a step */
    mete_transitions *moved;
    mete_observations *next;
    mete_reset *own; /* [parts] each part's lanes of the reset */
    mete_observations *seen;
    mete_error *err;
    int *status;
} part_work;

static int
call_reset(mete_ctx *cx, const mete_reset *in, mete_observations *out)
{
    mete_node *node = cx->node;
    return node->private_->isolate ? mete__apart_reset(cx, in, out)
                                   : node->plugin->as.environment.reset(cx, node->self, in, out);
}

static int
call_step(mete_ctx *cx, const mete_actions *in, mete_transitions *out)
{
    mete_node *node = cx->node;
    return node->private_->isolate ? mete__apart_step(cx, in, out)
                                   : node->plugin->as.environment.step(cx, node->self, in, out);
}

static void
run_part(void *user, size_t k)
{
    const part_work *w = user;
    mete_node *node = part_node(w->environment, k);
    size_t from = part_from(w->environment, w->next->lanes, k);
    mete_ctx cx = mete__ctx_make(node, 0, &w->err[k]);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    if (w->reset) {
        w->status[k] = call_reset(&cx, &w->own[k], &w->seen[k]);
    } else {
        mete_transitions moved = *w->moved;
        mete_actions actions = *w->actions;
        moved.lanes = actions.lanes = w->seen[k].lanes;
        moved.next = &w->seen[k];
        moved.reward += from;
        moved.terminated += from;
        moved.truncated += from;
        moved.episode += from;
        moved.task += from;
        if (moved.final_observation)
            moved.final_observation += from * w->next->observation_size;
        if (moved.final_prompt)
            moved.final_prompt += from;
        actions.action = actions.action ? actions.action + from : NULL;
        actions.vector = actions.vector ? actions.vector + from * actions.vector_size : NULL;
        actions.text = actions.text ? actions.text + from : NULL;
        actions.logp += from;
        actions.value = actions.value ? actions.value + from * actions.heads : NULL;
        w->status[k] = call_step(&cx, &actions, &moved);
    }
    mete__arena_release(cx.arena, mark);
}

/* The reset's lanes that are of part k, counted from its first. */
static bool
reset_slice(const part_work *w, size_t k, mete__arena *arena)
{
    size_t lanes = w->next->lanes, from = part_from(w->environment, lanes, k);
    size_t to = part_from(w->environment, lanes, k + 1), n = w->reset->count;
    uint32_t *lane = mete__arena_take(arena, (n + 1) * sizeof *lane);
    uint64_t *episode = mete__arena_take(arena, (n + 1) * sizeof *episode);
    uint64_t *task = mete__arena_take(arena, (n + 1) * sizeof *task);
    if (!lane || !episode || !task)
        return false;
    w->own[k] = *w->reset;
    w->own[k].count = 0;
    w->own[k].lane = lane;
    w->own[k].episode = episode;
    w->own[k].task = task;
    for (size_t i = 0; i < n; i++)
        if (w->reset->lane[i] >= from && w->reset->lane[i] < to) {
            size_t at = w->own[k].count++;
            lane[at] = (uint32_t)(w->reset->lane[i] - from);
            episode[at] = w->reset->episode[i];
            task[at] = w->reset->task[i];
        }
    return true;
}

static int
run_parts(part_work *w, mete_ctx *cx)
{
    size_t parts = w->environment->private_->parts + 1, lanes = w->next->lanes;
    w->own = mete__arena_zero(cx->arena, parts * sizeof *w->own);
    w->seen = mete__arena_zero(cx->arena, parts * sizeof *w->seen);
    w->err = mete__arena_zero(cx->arena, parts * sizeof *w->err);
    w->status = mete__arena_zero(cx->arena, parts * sizeof *w->status);
    bool good = w->own && w->seen && w->err && w->status;
    for (size_t k = 0; good && k < parts; k++) {
        size_t from = part_from(w->environment, lanes, k);
        size_t count = part_from(w->environment, lanes, k + 1) - from;
        good = observations_slice(w->next, from, count, cx->arena, &w->seen[k]) &&
               (!w->reset || reset_slice(w, k, cx->arena));
    }
    if (!good)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    mete__workers_run(mete__engine_workers(w->environment->engine), parts, run_part, w);
    for (size_t k = 0; k < parts; k++)
        if (w->status[k])
            return mete_fail(cx, w->status[k], "%s", w->err[k].message);
    return METE_OK;
}

int
mete__environment_split(mete_node *environment, size_t parts, mete_error *err)
{
    mete__node_private *private_ = environment->private_;
    if (parts < 2)
        return METE_OK;
    if (!(private_->part = calloc(parts - 1, sizeof *private_->part)))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t k = 1; k < parts; k++) {
        char path[300];
        snprintf(path, sizeof path, "%s.part[%zu]", environment->path, k);
        mete_node *part = mete__engine_clone(environment->engine, environment, path, err);
        if (!part)
            return err->code ? err->code : METE_ENOMEM;
        private_->part[private_->parts++] = part;
    }
    return METE_OK;
}

/* ---- calls ----------------------------------------------------------------------------------- */

int
mete__environment_spaces(mete_node *environment, size_t lanes, mete_error *err)
{
    int status = METE_OK;
    for (size_t k = 0; k <= environment->private_->parts && !status; k++) {
        mete_node *node = part_node(environment, k);
        size_t own = part_from(environment, lanes, k + 1) - part_from(environment, lanes, k);
        mete_ctx cx = mete__ctx_make(node, METE__OPENING, err);
        mete__arena_mark mark = mete__arena_marked(cx.arena);
        node->spaces = (mete_spaces){.size = sizeof node->spaces};
        status = node->private_->isolate
                     ? mete__apart_spaces(&cx, own, &node->spaces)
                     : node->plugin->as.environment.spaces(&cx, node->self, own, &node->spaces);
        mete__arena_release(cx.arena, mark);
    }
    return mete__ctx_blame(environment, status, err);
}

int
mete__environment_reset(mete_node *environment, const mete_reset *reset, mete_observations *out,
                        mete_error *err)
{
    mete_ctx cx = mete__ctx_make(environment, 0, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    part_work work = {.environment = environment, .reset = reset, .next = out};
    int status = environment->private_->parts ? run_parts(&work, &cx) : call_reset(&cx, reset, out);
    mete__arena_release(cx.arena, mark);
    if (!status)
        status = keep_texts(out, err);
    return mete__ctx_blame(environment, status, err);
}

/* Is each a number? Bits, not sums: an OR has no order, so the loop vectorises. */
METE_WIDE static int
all_finite(const float *x, size_t n)
{
    uint32_t odd = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        odd |= (bits & 0x7f800000u) + 0x00800000u; /* an exponent all ones carries over */
    }
    return !(odd >> 31);
}

static int
check_rewards(mete_ctx *cx, const mete_transitions *out)
{
    if (all_finite(out->reward, out->lanes))
        return METE_OK;
    for (size_t i = 0; i < out->lanes; i++)
        if (!isfinite(out->reward[i]))
            return mete_fail(cx, METE_EPLUGIN, "gave a reward of %g in lane %zu",
                             (double)out->reward[i], i);
    return METE_OK;
}

int
mete__environment_step(mete_node *environment, const mete_actions *actions, mete_transitions *out,
                       mete_error *err)
{
    const observations_host *host = out->next->host;
    memset(out->reward, 0, out->lanes * sizeof *out->reward);
    memset(out->terminated, 0, out->lanes);
    memset(out->truncated, 0, out->lanes);
    if (out->final_prompt)
        memset(out->final_prompt, 0, out->lanes * sizeof *out->final_prompt);
    for (size_t i = 0; i < environment->declareds; i++)
        if (host->signal[i])
            memset(host->signal[i], 0, out->lanes * sizeof(float));
    mete_ctx cx = mete__ctx_make(environment, 0, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    part_work work = {
        .environment = environment, .actions = actions, .moved = out, .next = out->next};
    int status =
        environment->private_->parts ? run_parts(&work, &cx) : call_step(&cx, actions, out);
    if (!status)
        status = check_rewards(&cx, out);
    mete__arena_release(cx.arena, mark);
    if (!status)
        status = keep_texts(out->next, err);
    return mete__ctx_blame(environment, status, err);
}

/* The part that has the lane, which of its lanes that is, and how many it has from which on. */
static mete_node *
part_of(mete_node *environment, size_t lanes, size_t *lane, size_t *from, size_t *count)
{
    size_t k = environment->private_->parts;
    while (part_from(environment, lanes, k) > *lane)
        k--;
    *from = part_from(environment, lanes, k);
    *count = part_from(environment, lanes, k + 1) - *from;
    *lane -= *from;
    return part_node(environment, k);
}

int
mete__environment_copy(mete_node *environment, size_t lanes, size_t lane, void *bytes,
                       mete_error *err)
{
    size_t from, count;
    mete_node *node = part_of(environment, lanes, &lane, &from, &count);
    mete_ctx cx = mete__ctx_make(node, 0, err);
    const mete_environment *plugin = &node->plugin->as.environment;
    if (!plugin->copy)
        return mete_fail(&cx, METE_ENOTSUP, "environment '%s' cannot copy its lanes",
                         node->plugin->as.head.name);
    int status = node->private_->isolate ? mete__apart_copy(&cx, lane, bytes)
                                         : plugin->copy(&cx, node->self, lane, bytes);
    return mete__ctx_blame(environment, status, err);
}

int
mete__environment_restore(mete_node *environment, size_t lane, const void *bytes,
                          mete_observations *out, mete_error *err)
{
    size_t from, count;
    mete_node *node = part_of(environment, out->lanes, &lane, &from, &count);
    mete_ctx cx = mete__ctx_make(node, 0, err);
    const mete_environment *plugin = &node->plugin->as.environment;
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    mete_observations own;
    if (!plugin->restore)
        return mete_fail(&cx, METE_ENOTSUP, "environment '%s' cannot restore its lanes",
                         node->plugin->as.head.name);
    int status = observations_slice(out, from, count, cx.arena, &own)
                     ? node->private_->isolate ? mete__apart_restore(&cx, lane, bytes, &own)
                                               : plugin->restore(&cx, node->self, lane, bytes, &own)
                     : METE_ENOMEM;
    mete__arena_release(cx.arena, mark);
    if (!status)
        status = keep_texts(out, err);
    return mete__ctx_blame(environment, status, err);
}

/* ---- what a policy sees of lanes ------------------------------------------------------------- */

static bool
context_column(const mete_node *environment, const observations_host *host, size_t i,
               const uint32_t *lane, size_t count, mete__arena *arena, mete_column *out)
{
    const mete__declared *declared = &environment->declared[i];
    const lane_column *column = &host->column[i];
    /* A row here is a lane as it stands, so what is of its latest step or turn is of the row. */
    *out = (mete_column){.size = sizeof *out,
                         .level = declared->level == METE_LIST ? METE_LIST : METE_EPISODE,
                         .element = (uint16_t)declared->element,
                         .visible = (uint32_t)declared->visible,
                         .parent = METE_EPISODE,
                         .shape = {1},
                         .name = declared->name};
    if (declared->level != METE_LIST) {
        size_t each = lane_each(declared);
        char *data = mete__arena_take(arena, count * each);
        for (size_t k = 0; data && k < count; k++)
            memcpy(data + k * each, (const char *)column->data + lane[k] * each, each);
        out->data = data;
        return data != NULL;
    }
    size_t total = 0;
    for (size_t k = 0; k < count; k++)
        total += column->items[lane[k]];
    mete_text *item = mete__arena_take(arena, (total + 1) * sizeof *item);
    uint32_t *offset = mete__arena_take(arena, (count + 1) * sizeof *offset);
    if (!item || !offset)
        return false;
    offset[0] = 0;
    for (size_t k = 0; k < count; k++) {
        memcpy(item + offset[k], column->item[lane[k]], column->items[lane[k]] * sizeof *item);
        offset[k + 1] = offset[k] + (uint32_t)column->items[lane[k]];
    }
    out->data = item;
    out->offset = offset;
    return true;
}

const mete_batch *
mete__lanes_context(mete_node *environment, const mete_observations *observations,
                    const uint64_t *episode, const uint32_t *lane, size_t count, mete_error *err)
{
    mete__arena *arena = environment->engine->arena;
    const observations_host *host = observations->host;
    mete_batch *out = mete__arena_zero(arena, sizeof *out);
    uint64_t *prompt_id = mete__arena_take(arena, (count + 1) * sizeof *prompt_id);
    uint32_t *zero = mete__arena_zero(arena, (count + 1) * sizeof *zero);
    uint32_t *group = mete__arena_take(arena, (count + 1) * sizeof *group);
    uint8_t *flag = mete__arena_zero(arena, count + 1);
    mete_text *prompt = mete__arena_take(arena, (count + 1) * sizeof *prompt);
    mete_column *column = mete__arena_take(arena, (environment->declareds + 1) * sizeof *column);
    bool good = out && prompt_id && zero && group && flag && prompt && column;
    uint32_t columns = 0;
    for (size_t i = 0; good && i < environment->declareds; i++)
        if (!environment->declared[i].signal && environment->declared[i].visible == METE_SEE_POLICY)
            good = context_column(environment, host, i, lane, count, arena, &column[columns++]);
    if (!good) {
        mete_error_set(err, METE_ENOMEM, "out of memory for the context of %zu lanes", count);
        return NULL;
    }
    size_t groups = 0;
    for (size_t k = 0; k < count; k++) {
        prompt_id[k] = observations->prompt_id[lane[k]];
        if (k == 0 || prompt_id[k] != prompt_id[k - 1])
            group[groups++] = (uint32_t)k;
        if (observations->prompt)
            prompt[k] = observations->prompt[lane[k]];
    }
    group[groups] = (uint32_t)count;
    *out = (mete_batch){.size = sizeof *out,
                        .columns = columns,
                        .episodes = count,
                        .groups = groups,
                        .id = episode,
                        .prompt_id = prompt_id,
                        .group = group,
                        .step_begin = zero,
                        .first_step = zero,
                        .starts = flag,
                        .terminated = flag,
                        .truncated = flag,
                        .prompt = observations->prompt ? prompt : NULL,
                        .step_row = zero,
                        .column = column};
    return out;
}
