/* isolate_world.c - environments in processes of their own.
 *
 * The worker is forked before `spaces` and keeps lanes of its own. A call goes over in the memory
 * both see: what is asked, then all that the lanes show. Texts and lists come back as pointers into
 * that memory, which the run checks before it copies them.
 */
#include "engine/isolate_world.h"
#include "engine/worker.h"

#include <stdio.h>
#include <string.h>

enum what { SPACES, RESET, STEP, COPY, RESTORE, SAVE, LOAD };

/* One list of a lane. */
typedef struct list {
    const mete_text *item;
    size_t count;
} list;

/* What lanes show, laid down. Arrays are [lanes x ...], NULL where the environment has none. */
typedef struct sight {
    const float *observation;
    const uint8_t *action_mask, *role;
    const uint64_t *prompt_id;
    const mete_text *prompt;
    const void **column; /* [declareds] values, texts, lists */
    /* a step */
    const float *reward, *final_observation;
    const uint8_t *terminated, *truncated;
    const uint64_t *episode, *task;
    const mete_text *final_prompt;
} sight;

/* What stands at the beginning of the memory of a call: written by the run up to `used`, `bytes`
 * by either, the rest by the worker. */
typedef struct call {
    enum what what;
    const double *live; /* [lives] live numbers of the node, as they are in the run */
    uint64_t iteration;
    size_t lanes, lane;
    mete_reset reset;
    mete_actions actions;
    const uint64_t *episode, *task; /* [lanes], of a step */
    uint64_t stride, task_stride;
    const void *bytes; /* of a lane, or what was saved */
    size_t length;
    size_t used; /* of the memory, by the run */
    int status;
    mete_error err;
    mete_spaces spaces;
    sight shown;
} call;

/* ---- arrays of texts ------------------------------------------------------------------------- */

/* Is [at, at + bytes) of the memory both see? */
static bool
inside(const mete__region *region, const void *at, size_t bytes)
{
    uintptr_t from = (uintptr_t)at, base = (uintptr_t)region->base;
    return from >= base && from - base <= region->size && bytes <= region->size - (from - base);
}

static bool
copy_in(const mete__region *region, void *to, const void *from, size_t bytes)
{
    if (!to || !bytes)
        return true;
    if (!inside(region, from, bytes))
        return false;
    memcpy(to, from, bytes);
    return true;
}

/* The texts themselves stay where they are until the host copies them. */
static bool
copy_texts(const mete__region *region, mete_text *to, const mete_text *from, size_t count)
{
    if (!copy_in(region, to, from, count * sizeof *to))
        return false;
    for (size_t i = 0; to && i < count; i++)
        if (to[i].data && !inside(region, to[i].data, to[i].length))
            return false;
    return true;
}

static size_t
value_size(const mete__declared *declared)
{
    static const size_t size[] = {[METE_F32] = 4, [METE_F64] = 8,  [METE_I32] = 4, [METE_I64] = 8,
                                  [METE_U8] = 1,  [METE_TEXT] = 0, [METE_JSON] = 0};
    return size[declared->element];
}

static bool
is_list(const mete__declared *declared)
{
    return declared->level == METE_LIST;
}

static bool
is_text(const mete__declared *declared)
{
    return declared->element == METE_TEXT || declared->element == METE_JSON;
}

/* ---- in the worker --------------------------------------------------------------------------- */

/* The lanes of this process. */
typedef struct keeper {
    mete_node *node;
    mete_observations *now;
    mete_transitions *moved;
} keeper;

static const void *
put_lists(mete__region *region, const mete_observations *now, size_t declared)
{
    list *all = mete__region_take(region, now->lanes * sizeof *all);
    for (size_t i = 0; all && i < now->lanes; i++) {
        mete_texts texts = mete__observations_list(now, declared, i);
        all[i] = (list){mete__region_texts(region, texts.item, texts.count), texts.count};
    }
    return all;
}

static void
put_columns(mete__region *region, const keeper *own, sight *out)
{
    const mete_node *node = own->node;
    size_t n = own->now->lanes;
    out->column = mete__region_take(region, (node->declareds + 1) * sizeof *out->column);
    for (size_t k = 0; out->column && k < node->declareds; k++) {
        const mete__declared *declared = &node->declared[k];
        const void *from = declared->signal ? (const void *)mete_lane_signal(own->moved, (int)k)
                                            : mete_lane_column(own->now, (int)k);
        out->column[k] = declared->signal    ? mete__region_put(region, from, n * sizeof(float))
                         : is_list(declared) ? put_lists(region, own->now, k)
                         : is_text(declared)
                             ? mete__region_texts(region, from, n)
                             : mete__region_put(region, from, n * value_size(declared));
    }
}

static void
put_shown(mete__region *region, const keeper *own, bool stepped, sight *out)
{
    const mete_observations *now = own->now;
    const mete_transitions *moved = own->moved;
    size_t n = now->lanes, seen = n * now->observation_size * sizeof(float);
    *out = (sight){.observation = mete__region_put(region, now->observation, seen),
                   .action_mask = mete__region_put(region, now->action_mask,
                                                   n * own->node->spaces.action.count),
                   .role = mete__region_put(region, now->role, n),
                   .prompt_id = mete__region_put(region, now->prompt_id, n * sizeof(uint64_t)),
                   .prompt = mete__region_texts(region, now->prompt, n)};
    put_columns(region, own, out);
    if (!stepped)
        return;
    out->reward = mete__region_put(region, moved->reward, n * sizeof(float));
    out->final_observation = mete__region_put(region, moved->final_observation, seen);
    out->terminated = mete__region_put(region, moved->terminated, n);
    out->truncated = mete__region_put(region, moved->truncated, n);
    out->episode = mete__region_put(region, moved->episode, n * sizeof(uint64_t));
    out->task = mete__region_put(region, moved->task, n * sizeof(uint64_t));
    out->final_prompt = mete__region_texts(region, moved->final_prompt, n);
}

static int
make_lanes(keeper *own, const call *asked, mete_error *err)
{
    int status = mete__environment_spaces(own->node, asked->lanes, err);
    if (status)
        return status;
    own->now = mete__observations_new(own->node, asked->lanes);
    own->moved = own->now ? mete__transitions_new(own->node, own->now) : NULL;
    return own->moved ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
}

static int
take_step(keeper *own, const call *asked, mete_error *err)
{
    size_t bytes = own->now->lanes * sizeof(uint64_t);
    memcpy(own->moved->episode, asked->episode, bytes);
    memcpy(own->moved->task, asked->task, bytes);
    own->moved->stride = asked->stride;
    own->moved->task_stride = asked->task_stride;
    return mete__environment_step(own->node, &asked->actions, own->moved, err);
}

static int
save_here(keeper *own, mete__region *region, call *asked, mete_error *err)
{
    mete__bytes bytes = {0};
    mete_ctx cx = mete__ctx_make(own->node, METE__SAVING, err);
    cx.bytes = &bytes;
    int status = own->node->plugin->as.head.save(&cx, own->node->self);
    asked->length = bytes.length;
    asked->bytes = mete__region_put(region, bytes.data, bytes.length);
    return status;
}

static int
load_here(keeper *own, const call *asked, mete_error *err)
{
    mete_ctx cx = mete__ctx_make(own->node, METE__LEARNING, err);
    return own->node->plugin->as.head.load(&cx, own->node->self, asked->bytes, asked->length);
}

static int
copy_here(keeper *own, mete__region *region, call *asked, mete_error *err)
{
    size_t each = (size_t)own->node->plugin->as.head.lane_size;
    void *bytes = mete__region_take(region, each + 1);
    asked->bytes = bytes;
    return bytes ? mete__environment_copy(own->node, own->now->lanes, asked->lane, bytes, err)
                 : METE_ENOMEM;
}

static int
do_here(keeper *own, mete__region *region, call *asked, mete_error *err)
{
    switch (asked->what) {
    case SPACES:
        return make_lanes(own, asked, err);
    case RESET:
        return mete__environment_reset(own->node, &asked->reset, own->now, err);
    case STEP:
        return take_step(own, asked, err);
    case COPY:
        return copy_here(own, region, asked, err);
    case RESTORE:
        return mete__environment_restore(own->node, asked->lane, asked->bytes, own->now, err);
    case SAVE:
        return save_here(own, region, asked, err);
    case LOAD:
        return load_here(own, asked, err);
    }
    return METE_ENOTSUP;
}

static void
answer(mete__worker *self, keeper *own)
{
    call *asked = (call *)(void *)self->call.base;
    mete__region *region = &self->call;
    mete__arena *arena = mete__scratch();
    mete__arena_mark mark = mete__arena_marked(arena);
    mete_error err = {0};
    region->used = asked->used;
    region->full = false;
    own->node->engine->iteration = asked->iteration;
    for (size_t i = 0; i < own->node->private_->lives; i++)
        *own->node->private_->live[i].target = asked->live[i];
    asked->status = do_here(own, region, asked, &err);
    if (!asked->status && own->moved)
        put_shown(region, own, asked->what == STEP, &asked->shown);
    if (!asked->status && region->full)
        asked->status = mete_error_set(&err, METE_ENOMEM, "its lanes show too much");
    asked->spaces = own->node->spaces;
    asked->err = err;
    mete__arena_release(arena, mark);
    fflush(stdout);
    fflush(stderr);
}

static void
print(void *user, const char *path, int level, const char *text)
{
    (void)user;
    (void)path;
    (void)level;
    printf("%s\n", text);
}

static void
work(mete__worker *self, void *user)
{
    keeper own = {.node = user};
    own.node->private_->parts = 0; /* the others' lanes are in processes of theirs */
    if (own.node->engine->options.log)
        own.node->engine->options.log = print; /* what is printed goes to the journal */
    while (mete__worker_hear(self)) {
        mete__worker_watched(self, true);
        answer(self, &own);
        mete__worker_watched(self, false);
        if (!mete__worker_say(self, METE__DONE))
            return;
    }
}

/* ---- in the run ------------------------------------------------------------------------------ */

/* What the run and the node's process both see. */
static mete__region *
memory(const mete_ctx *cx)
{
    return &cx->node->private_->keeper->call;
}

/* A call with nothing asked yet, in the memory of the node's process; NULL where that is gone. */
static call *
begin(mete_ctx *cx, enum what what, size_t lanes)
{
    mete__worker *to = cx->node->private_->keeper;
    if (!to) {
        mete_fail(cx, METE_EPLUGIN, "its process is gone, and its lanes with it");
        return NULL;
    }
    const mete__node_private *private_ = cx->node->private_;
    mete__region_rewind(&to->call, 0);
    call *asked = mete__region_take(&to->call, sizeof *asked);
    double *live = mete__region_take(&to->call, (private_->lives + 1) * sizeof *live);
    for (size_t i = 0; i < private_->lives; i++)
        live[i] = *private_->live[i].target;
    *asked = (call){
        .what = what, .live = live, .iteration = cx->node->engine->iteration, .lanes = lanes};
    return asked;
}

/* Has it done. METE_OK, or what it came to there, or how the process was lost. */
static int
finish(mete_ctx *cx, call *asked)
{
    mete__worker *to = cx->node->private_->keeper;
    if (to->call.full)
        return mete_fail(cx, METE_ENOMEM, "out of memory to share with its process");
    asked->used = to->call.used;
    mete__outcome how = mete__worker_wait(to, cx);
    if (how != METE__WORKER_DONE) {
        char why[600];
        cx->node->private_->keeper = NULL;
        mete__worker_lose(to, how, why, sizeof why);
        return mete_fail(cx, METE_EPLUGIN, "%s", why);
    }
    mete__worker_relay(cx, to);
    int status = asked->status;
    if (status) {
        mete_error said = asked->err;
        said.message[sizeof said.message - 1] = 0;
        mete_fail(cx, status, "%s", said.message);
    }
    return status;
}

static int
take_lists(mete_ctx *cx, const mete__region *region, mete_observations *out, size_t declared,
           const list *from)
{
    for (size_t i = 0; i < out->lanes; i++) {
        list one = {NULL, 0};
        if (!copy_in(region, &one, &from[i], sizeof one) ||
            !inside(region, one.item, one.count * sizeof *one.item))
            return METE_EPLUGIN;
        for (size_t k = 0; k < one.count; k++)
            if (!inside(region, one.item[k].data, one.item[k].length))
                return METE_EPLUGIN;
        int status = mete_lane_list(cx, out, (int)declared, i, one.item, one.count);
        if (status)
            return status;
    }
    return METE_OK;
}

static int
take_column(mete_ctx *cx, const mete__region *region, const void *from, size_t k,
            mete_observations *out, mete_transitions *moved)
{
    const mete__declared *declared = &cx->node->declared[k];
    size_t n = out->lanes;
    if (declared->signal)
        return !moved || copy_in(region, mete_lane_signal(moved, (int)k), from, n * sizeof(float))
                   ? METE_OK
                   : METE_EPLUGIN;
    if (is_list(declared))
        return take_lists(cx, region, out, k, from);
    void *to = mete_lane_column(out, (int)k);
    bool good = is_text(declared) ? copy_texts(region, to, from, n)
                                  : copy_in(region, to, from, n * value_size(declared));
    return good ? METE_OK : METE_EPLUGIN;
}

/* All that lanes show comes over. `moved`: a step's results too, or NULL. */
static int
take_shown(mete_ctx *cx, const sight *shown, mete_observations *out, mete_transitions *moved)
{
    const mete__region *region = memory(cx);
    size_t n = out->lanes, seen = n * out->observation_size * sizeof(float);
    bool good =
        copy_in(region, out->observation, shown->observation, seen) &&
        copy_in(region, out->action_mask, shown->action_mask, n * cx->node->spaces.action.count) &&
        copy_in(region, out->role, shown->role, n) &&
        copy_in(region, out->prompt_id, shown->prompt_id, n * sizeof(uint64_t)) &&
        copy_texts(region, out->prompt, shown->prompt, n);
    if (moved)
        good = good && copy_in(region, moved->reward, shown->reward, n * sizeof(float)) &&
               copy_in(region, moved->final_observation, shown->final_observation, seen) &&
               copy_in(region, moved->terminated, shown->terminated, n) &&
               copy_in(region, moved->truncated, shown->truncated, n) &&
               copy_in(region, moved->episode, shown->episode, n * sizeof(uint64_t)) &&
               copy_in(region, moved->task, shown->task, n * sizeof(uint64_t)) &&
               copy_texts(region, moved->final_prompt, shown->final_prompt, n);
    const void *column[1];
    int status = good ? METE_OK : METE_EPLUGIN;
    for (size_t k = 0; k < cx->node->declareds && !status; k++)
        status = copy_in(region, column, &shown->column[k], sizeof *column)
                     ? take_column(cx, region, *column, k, out, moved)
                     : METE_EPLUGIN;
    return status == METE_EPLUGIN ? mete_fail(cx, status, "its process gave what is no answer")
                                  : status;
}

int
mete__apart_spaces(mete_ctx *cx, size_t lanes, mete_spaces *out)
{
    mete_node *node = cx->node;
    mete__apart_free(node);
    node->private_->keeper =
        mete__worker_new(node, mete__isolate_limits(node->private_->isolate), work, node, cx->err);
    if (!node->private_->keeper)
        return cx->err->code;
    call *asked = begin(cx, SPACES, lanes);
    int status = finish(cx, asked);
    if (!status)
        *out = asked->spaces;
    return status;
}

int
mete__apart_reset(mete_ctx *cx, const mete_reset *in, mete_observations *out)
{
    call *asked = begin(cx, RESET, out->lanes);
    if (!asked)
        return METE_EPLUGIN;
    mete__region *region = memory(cx);
    asked->reset = *in;
    asked->reset.lane = mete__region_put(region, in->lane, in->count * sizeof *in->lane);
    asked->reset.episode = mete__region_put(region, in->episode, in->count * sizeof *in->episode);
    asked->reset.task = mete__region_put(region, in->task, in->count * sizeof *in->task);
    int status = finish(cx, asked);
    return status ? status : take_shown(cx, &asked->shown, out, NULL);
}

int
mete__apart_step(mete_ctx *cx, const mete_actions *in, mete_transitions *out)
{
    size_t n = out->lanes;
    call *asked = begin(cx, STEP, n);
    if (!asked)
        return METE_EPLUGIN;
    mete__region *region = memory(cx);
    asked->actions = *in;
    asked->actions.host = NULL;
    asked->actions.action = mete__region_put(region, in->action, n * sizeof *in->action);
    asked->actions.vector =
        mete__region_put(region, in->vector, n * in->vector_size * sizeof *in->vector);
    asked->actions.text = mete__region_texts(region, in->text, n);
    asked->actions.logp = mete__region_put(region, in->logp, n * sizeof *in->logp);
    asked->actions.value = mete__region_put(region, in->value, n * in->heads * sizeof *in->value);
    asked->episode = mete__region_put(region, out->episode, n * sizeof *out->episode);
    asked->task = mete__region_put(region, out->task, n * sizeof *out->task);
    asked->stride = out->stride;
    asked->task_stride = out->task_stride;
    int status = finish(cx, asked);
    return status ? status : take_shown(cx, &asked->shown, out->next, out);
}

int
mete__apart_copy(mete_ctx *cx, size_t lane, void *bytes)
{
    call *asked = begin(cx, COPY, 0);
    if (!asked)
        return METE_EPLUGIN;
    asked->lane = lane;
    int status = finish(cx, asked);
    if (!status &&
        !copy_in(memory(cx), bytes, asked->bytes, (size_t)cx->node->plugin->as.head.lane_size))
        status = mete_fail(cx, METE_EPLUGIN, "its process gave what is no lane");
    return status;
}

int
mete__apart_restore(mete_ctx *cx, size_t lane, const void *bytes, mete_observations *out)
{
    call *asked = begin(cx, RESTORE, 0);
    if (!asked)
        return METE_EPLUGIN;
    asked->lane = lane;
    asked->bytes = mete__region_put(memory(cx), bytes, (size_t)cx->node->plugin->as.head.lane_size);
    int status = finish(cx, asked);
    return status ? status : take_shown(cx, &asked->shown, out, NULL);
}

int
mete__apart_save(mete_ctx *cx)
{
    if (!cx->node->private_->keeper)
        return METE_OK; /* no lanes, nothing kept */
    call *asked = begin(cx, SAVE, 0);
    int status = finish(cx, asked);
    size_t length = asked->length;
    if (status || !length)
        return status;
    const void *bytes = asked->bytes;
    return inside(memory(cx), bytes, length)
               ? mete_save_bytes(cx, bytes, length)
               : mete_fail(cx, METE_EPLUGIN, "its process gave what cannot be saved");
}

int
mete__apart_load(mete_ctx *cx, const void *bytes, size_t length)
{
    if (!cx->node->private_->keeper)
        return METE_OK;
    call *asked = begin(cx, LOAD, 0);
    asked->bytes = mete__region_put(memory(cx), bytes, length);
    asked->length = length;
    return finish(cx, asked);
}

void
mete__apart_free(mete_node *node)
{
    if (node->private_->keeper)
        mete__worker_end(node->private_->keeper, NULL, 0);
    node->private_->keeper = NULL;
}
