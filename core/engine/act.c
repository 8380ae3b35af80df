/* act.c - calls into policies: describe, act, forward, backward, encode, learn; snapshots; and the
 * services by which policies hold policies and rewards ask models. */
#include "engine/talk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- actions: arrays by lane, and each lane's tokens ----------------------------------------- */

typedef struct lane_tokens {
    mete_token *token;
    size_t count, room;
    char *text;
    size_t text_room;
} lane_tokens;

typedef struct actions_host {
    lane_tokens *lane; /* [lanes]; NULL unless the space is text */
    bool borrowed;     /* in an arena: nothing to free but token memory */
} actions_host;

static bool
actions_fill(mete_actions *actions, uint32_t kind, uint32_t vector_size, uint32_t heads,
             size_t lanes, void *(*take)(void *from, size_t bytes), void *from)
{
    actions_host *host = take(from, sizeof *host);
    *actions = (mete_actions){
        .size = sizeof *actions, .vector_size = vector_size, .heads = heads, .lanes = lanes};
    actions->host = host;
    actions->logp = take(from, lanes * sizeof(float));
    if (heads)
        actions->value = take(from, lanes * heads * sizeof(float));
    if (kind == METE_SPACE_BOX)
        actions->vector = take(from, lanes * vector_size * sizeof(float));
    else if (kind == METE_SPACE_TEXT)
        actions->text = take(from, lanes * sizeof *actions->text);
    else
        actions->action = take(from, lanes * sizeof(int32_t));
    if (!host || !actions->logp || (heads && !actions->value))
        return false;
    host->lane = kind == METE_SPACE_TEXT ? take(from, lanes * sizeof *host->lane) : NULL;
    if (kind == METE_SPACE_TEXT)
        return actions->text && host->lane;
    return actions->vector || actions->action;
}

static void *
take_heap(void *unused, size_t bytes)
{
    (void)unused;
    return calloc(1, bytes ? bytes : 1);
}

static void *
take_arena(void *arena, size_t bytes)
{
    return mete__arena_zero(arena, bytes);
}

mete_actions *
mete__actions_new(const mete_spaces *spaces, const mete_policy_info *info, size_t lanes)
{
    mete_actions *actions = calloc(1, sizeof *actions);
    if (!actions || !actions_fill(actions, spaces->action.kind, spaces->action.size,
                                  info ? info->heads : 0, lanes, take_heap, NULL)) {
        mete__actions_free(actions);
        return NULL;
    }
    return actions;
}

void
mete__actions_free(mete_actions *actions)
{
    if (!actions)
        return;
    actions_host *host = actions->host;
    for (size_t i = 0; host && host->lane && i < actions->lanes; i++) {
        free(host->lane[i].token);
        free(host->lane[i].text);
    }
    if (host)
        free(host->lane);
    free(host);
    free(actions->action);
    free(actions->vector);
    free(actions->text);
    free(actions->logp);
    free(actions->value);
    free(actions);
}

void
mete__actions_clear(mete_actions *actions)
{
    actions_host *host = actions->host;
    memset(actions->logp, 0, actions->lanes * sizeof(float));
    for (size_t i = 0; host->lane && i < actions->lanes; i++) {
        host->lane[i].count = 0;
        actions->text[i] = (mete_text){NULL, 0};
    }
}

/* Room that doubles; from the heap, or from the arena for actions that live there. */
static void *
enlarge(mete_ctx *cx, const actions_host *host, void *old, size_t used, size_t *room, size_t need,
        size_t each)
{
    if (need <= *room)
        return old;
    size_t grown = *room ? 2 * *room : 32;
    while (grown < need)
        grown *= 2;
    void *data =
        host->borrowed ? mete__arena_take(cx->arena, grown * each) : realloc(old, grown * each);
    if (!data)
        return NULL;
    if (host->borrowed && used)
        memcpy(data, old, used * each);
    *room = grown;
    return data;
}

int
mete_act_tokens(mete_ctx *cx, mete_actions *out, size_t lane, const mete_token *token, size_t count,
                mete_text text)
{
    actions_host *host = out->host;
    if (!host->lane || lane >= out->lanes)
        return mete_fail(cx, METE_EPLUGIN, "gave tokens for lane %zu of %zu", lane, out->lanes);
    lane_tokens *to = &host->lane[lane];
    mete_token *room = enlarge(cx, host, to->token, 0, &to->room, count + 1, sizeof *room);
    if (room)
        to->token = room;
    char *bytes = enlarge(cx, host, to->text, 0, &to->text_room, text.length + 1, 1);
    if (bytes)
        to->text = bytes;
    if (!room || !bytes)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu tokens", count);
    double logp = 0;
    for (size_t i = 0; i < count; i++) {
        if (token[i].begin > token[i].end || token[i].end > text.length)
            return mete_fail(cx, METE_EPLUGIN, "token %zu spans bytes %u to %u of a text of %zu", i,
                             token[i].begin, token[i].end, text.length);
        if (!isfinite(token[i].logp))
            return mete_fail(cx, METE_EPLUGIN, "token %zu has log-probability %g", i,
                             (double)token[i].logp);
        room[i] = token[i];
        logp += token[i].logp;
    }
    if (text.length)
        memcpy(bytes, text.data, text.length);
    bytes[text.length] = 0;
    to->count = count;
    out->text[lane] = (mete_text){bytes, text.length};
    out->logp[lane] = (float)logp;
    return METE_OK;
}

const mete_token *
mete_actions_tokens(const mete_actions *from, size_t lane, size_t *count)
{
    const actions_host *host = from->host;
    *count = host->lane ? host->lane[lane].count : 0;
    return host->lane ? host->lane[lane].token : NULL;
}

mete_actions *
mete_actions_new(mete_ctx *cx, const mete_actions *like, size_t lanes)
{
    uint32_t kind = like->text     ? METE_SPACE_TEXT
                    : like->vector ? METE_SPACE_BOX
                                   : METE_SPACE_DISCRETE;
    mete_actions *actions = mete__arena_zero(cx->arena, sizeof *actions);
    if (!actions || !actions_fill(actions, kind, like->vector_size, like->heads, lanes, take_arena,
                                  cx->arena)) {
        mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
        return NULL;
    }
    ((actions_host *)actions->host)->borrowed = true;
    return actions;
}

int
mete_actions_take(mete_ctx *cx, const mete_actions *from, size_t lane, mete_actions *out, size_t to)
{
    if (from->text) {
        size_t count;
        const mete_token *token = mete_actions_tokens(from, lane, &count);
        int status = mete_act_tokens(cx, out, to, token, count, from->text[lane]);
        if (status)
            return status;
    } else if (from->vector) {
        memcpy(out->vector + to * out->vector_size, from->vector + lane * from->vector_size,
               from->vector_size * sizeof(float));
    } else {
        out->action[to] = from->action[lane];
    }
    out->logp[to] = from->logp[lane];
    if (out->value && from->value)
        memcpy(out->value + to * out->heads, from->value + lane * from->heads,
               out->heads * sizeof(float));
    return METE_OK;
}

const mete_batch *
mete_batch_of_actions(mete_ctx *cx, const mete_lanes *lanes, const mete_actions *actions)
{
    size_t count = lanes->count;
    uint32_t *row = mete__arena_take(cx->arena, (count + 1) * sizeof *row);
    uint32_t *begin = mete__arena_take(cx->arena, (count + 1) * sizeof *begin);
    uint64_t *id = mete__arena_take(cx->arena, (count + 1) * sizeof *id);
    uint8_t *one = mete__arena_take(cx->arena, count + 1);
    if (!row || !begin || !id || !one) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i <= count; i++)
        begin[i] = row[i] = (uint32_t)i;
    memset(one, 1, count + 1);
    mete_batch *out =
        (mete_batch *)(uintptr_t)mete__batch_rows(lanes->context, row, count, false, cx->arena);
    if (!out) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        id[i] = mete_hash_mix(mete_hash_mix(lanes->episode[i], cx->node->key), i + 1);
    out->id = id;
    out->first_step = lanes->step;
    out->starts = out->terminated = one;
    if (actions->text) {
        out->response = actions->text;
        return out;
    }
    out->steps = count;
    out->step_begin = begin;
    out->step_row = row;
    out->observation = lanes->observation;
    out->observation_size = lanes->observation_size;
    out->action = actions->action;
    out->action_vector = actions->vector;
    out->action_size = actions->vector_size;
    return out;
}

/* ---- describing and parameters --------------------------------------------------------------- */

/* Policies a policy holds: their parameters follow its own, in the order they were built. */
static mete_node *
inner_next(const mete_node *owner, size_t *at)
{
    mete__engine *engine = owner->engine;
    while (++*at < engine->nodes) {
        mete_node *node = engine->node[*at];
        if (node->parent == owner && node->kind == METE_KIND_POLICY && node->plugin)
            return node;
    }
    return NULL;
}

int
mete__policy_describe(mete_node *policy, const mete_spaces *spaces, const mete_batch *texts,
                      mete_error *err)
{
    size_t at = policy->private_->number;
    for (mete_node *inner; (inner = inner_next(policy, &at));) {
        int status = mete__policy_describe(inner, spaces, texts, err);
        if (status)
            return status;
    }
    const mete_policy *plugin = &policy->plugin->as.policy;
    mete_ctx cx = mete__ctx_make(policy, METE__OPENING | METE__LEARNING, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    int status = METE_OK;
    if (plugin->vocabulary && texts)
        status = plugin->vocabulary(&cx, policy->self, texts);
    policy->info = (mete_policy_info){.size = sizeof policy->info};
    if (!status && plugin->describe)
        status = plugin->describe(&cx, policy->self, spaces, &policy->info);
    mete__arena_release(cx.arena, mark);
    if (status)
        return mete__ctx_blame(policy, status, err);
    at = policy->private_->number;
    for (mete_node *inner; (inner = inner_next(policy, &at));) {
        inner->parameter_offset = policy->parameter_count;
        policy->parameter_count += inner->parameter_count;
    }
    policy->spaces = *spaces;
    return METE_OK;
}

static void
put_layout(const mete_node *policy, mete_buffer *out)
{
    mete_buffer_format(out, "%s%s", out->length ? " | " : "", policy->plugin->as.head.name);
    for (size_t i = 0; i < policy->parameters; i++)
        mete_buffer_format(out, ", %s %zux%zu", policy->parameter[i].name,
                           policy->parameter[i].rows, policy->parameter[i].columns);
    size_t at = policy->private_->number;
    for (const mete_node *inner; (inner = inner_next(policy, &at));)
        put_layout(inner, out);
}

char *
mete__policy_layout(const mete_node *policy)
{
    mete_buffer out = mete_buffer_make(0);
    put_layout(policy, &out);
    char *text = out.status ? NULL : strndup(out.data, out.length);
    mete_buffer_free(&out);
    return text;
}

int
mete__policy_init(mete_node *policy, float *vector, mete_error *err)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    int status = METE_OK;
    for (size_t i = 0; i < policy->parameters; i++) {
        const mete__parameter *parameter = &policy->parameter[i];
        uint64_t name = mete_hash(0, parameter->name, strlen(parameter->name));
        mete_rng rng = mete_rng_make(mete_hash_mix(policy->key, name), 0, 0);
        mete_init_fill(parameter->init, parameter->gain, &rng, parameter->rows, parameter->columns,
                       vector + parameter->offset);
    }
    if (plugin->start) {
        mete_ctx cx = mete__ctx_make(policy, METE__OPENING, err);
        status = plugin->start(&cx, policy->self, vector);
        if (status)
            return mete__ctx_blame(policy, status, err);
    }
    size_t at = policy->private_->number;
    for (mete_node *inner; !status && (inner = inner_next(policy, &at));)
        status = mete__policy_init(inner, vector + inner->parameter_offset, err);
    return status;
}

void
mete__engine_snapshot(mete__engine *engine, const char *name, mete_node *policy,
                      const float *vector, uint64_t version)
{
    for (size_t i = 0; i < engine->snapshots; i++)
        if (strcmp(engine->snapshot[i].name, name) == 0) {
            engine->snapshot[i].policy = policy;
            engine->snapshot[i].vector = vector;
            engine->snapshot[i].version = version;
            return;
        }
    mete__snapshot *grown = realloc(engine->snapshot, (engine->snapshots + 1) * sizeof *grown);
    char *copy = strdup(name);
    if (grown)
        engine->snapshot = grown;
    if (!grown || !copy) {
        free(copy);
        return;
    }
    grown[engine->snapshots++] = (mete__snapshot){copy, policy, vector, version};
}

/* The policy and parameters a model option stands for. */
mete_node *
mete__model_resolve(const mete_node *model, mete_params *params)
{
    const mete__engine *engine = model->engine;
    const char *name = model->private_->alias ? model->private_->alias : model->path;
    for (size_t i = 0; i < engine->snapshots; i++)
        if (strcmp(engine->snapshot[i].name, name) == 0 && engine->snapshot[i].vector) {
            const mete__snapshot *snapshot = &engine->snapshot[i];
            *params = (mete_params){.size = sizeof *params,
                                    .element = METE_F32,
                                    .vector = snapshot->vector,
                                    .count = snapshot->policy->parameter_count,
                                    .version = snapshot->version};
            return snapshot->policy;
        }
    return NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int
absent(const mete_node *policy, const char *what, mete_error *err)
{
    return mete_error_set(err, METE_ENOTSUP, "%s: policy '%s' has no %s", policy->path,
                          policy->plugin->as.head.name, what);
}

/* A number that is none would poison everything after it: name the lane that has it. */
static int
check_actions(mete_ctx *cx, const mete_lanes *lanes, const mete_actions *out)
{
    double odd = 0;
    for (size_t i = 0; i < lanes->count; i++)
        odd += (double)out->logp[i] - (double)out->logp[i];
    for (size_t i = 0; i < lanes->count * out->heads; i++)
        odd += (double)out->value[i] - (double)out->value[i];
    for (size_t i = 0; out->vector && i < lanes->count * out->vector_size; i++)
        odd += (double)out->vector[i] - (double)out->vector[i];
    if (odd == 0)
        return METE_OK;
    for (size_t i = 0; i < lanes->count; i++)
        if (!isfinite(out->logp[i]) || (out->heads && !isfinite(out->value[i * out->heads])))
            return mete_fail(
                cx, METE_EPLUGIN,
                "acted with a log-probability or value that is no number (episode %llu)",
                (unsigned long long)lanes->episode[i]);
    return mete_fail(cx, METE_EPLUGIN, "acted with a vector that is no number");
}

/* A policy has `act`, or is a model that answers, or both (the loader saw to it). */
static int
policy_act(mete_ctx *cx, mete_node *policy, const mete_params *params, const mete_lanes *lanes,
           mete_actions *out)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    return plugin->act ? plugin->act(cx, policy->self, params, lanes, out)
                       : mete__act_by_generate(cx, policy, params, lanes, out);
}

/* Lanes split over threads: slice k has lanes [from[k], from[k + 1]). */
typedef struct slices {
    mete_node *policy;
    const mete_params *params;
    const mete_lanes *lanes;
    mete_actions *out;
    size_t *from;
    mete_batch *context; /* [slices] */
    mete_error *err;
    int *status;
} slices;

static void
act_slice(void *user, size_t k)
{
    const slices *s = user;
    size_t from = s->from[k], count = s->from[k + 1] - from;
    actions_host host = *(actions_host *)s->out->host;
    mete_actions out = *s->out;
    mete_lanes lanes = *s->lanes;
    mete_params params = *s->params;
    host.lane += from;
    out.host = &host;
    out.lanes = count;
    out.text += from;
    out.logp += from;
    out.value = out.value ? out.value + from * out.heads : NULL;
    lanes.count = count;
    lanes.episode += from;
    lanes.step += from;
    lanes.context = &s->context[k];
    params.lane = params.lane ? params.lane + from : NULL;
    mete_ctx cx = mete__ctx_make(s->policy, 0, &s->err[k]);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    cx.params = params;
    s->status[k] = policy_act(&cx, s->policy, &params, &lanes, &out);
    mete__arena_release(cx.arena, mark);
}

#define SLICE_LANES 8 /* fewest worth a thread */

/* May lanes go to several threads? What they say then goes to memory of the heap. */
static bool
splits(const mete_node *policy, const mete_lanes *lanes, const mete_actions *out)
{
    const mete__plugin *plugin = policy->plugin;
    return plugin->as.head.flags & METE_LANES_ALONE && out->text && lanes->context &&
           !((const actions_host *)out->host)->borrowed && lanes->count >= 2 * SLICE_LANES &&
           mete__workers_threads(mete__engine_workers(policy->engine)) > 1;
}

static int
act_split(mete_ctx *cx, mete_node *policy, const mete_params *params, const mete_lanes *lanes,
          mete_actions *out)
{
    mete__workers *workers = mete__engine_workers(policy->engine);
    size_t count = mete__workers_threads(workers);
    count = lanes->count / SLICE_LANES < count ? lanes->count / SLICE_LANES : count;
    slices s = {.policy = policy,
                .params = params,
                .lanes = lanes,
                .out = out,
                .from = mete__arena_take(cx->arena, (count + 1) * sizeof *s.from),
                .context = mete__arena_zero(cx->arena, count * sizeof *s.context),
                .err = mete__arena_zero(cx->arena, count * sizeof *s.err),
                .status = mete__arena_zero(cx->arena, count * sizeof *s.status)};
    if (!s.from || !s.context || !s.err || !s.status)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k <= count; k++)
        s.from[k] = k * lanes->count / count;
    for (size_t k = 0; k < count; k++)
        if (!mete__batch_range(lanes->context, s.from[k], s.from[k + 1], cx->arena, &s.context[k]))
            return mete_fail(cx, METE_ENOMEM, "out of memory");
    mete__workers_run(workers, count, act_slice, &s);
    for (size_t k = 0; k < count; k++)
        if (s.status[k])
            return mete_fail(cx, s.status[k], "%s", s.err[k].message);
    return METE_OK;
}

int
mete__policy_act(mete_node *policy, const mete_params *params, const mete_lanes *lanes,
                 mete_actions *out, mete_error *err)
{
    mete_ctx cx = mete__ctx_make(policy, 0, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    cx.params = *params;
    int status = splits(policy, lanes, out) ? act_split(&cx, policy, params, lanes, out)
                                            : policy_act(&cx, policy, params, lanes, out);
    if (!status)
        status = check_actions(&cx, lanes, out);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(policy, status, err);
}

int
mete__policy_emit(mete_node *policy, const mete_params *params, const char *folder, mete_error *err)
{
    if (!policy->plugin->as.policy.emit)
        return absent(policy, "form it is published in", err);
    mete_ctx cx = mete__ctx_make(policy, 0, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    int status = policy->plugin->as.policy.emit(&cx, policy->self, params, folder);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(policy, status, err);
}

/* What a policy is asked about a conversation is asked of each answer. */
static int
of_answers(const mete_query *query, mete_ctx *cx, mete_query *out)
{
    *out = *query;
    out->batch = mete__batch_answers(query->batch, cx->arena);
    return out->batch
               ? METE_OK
               : mete_fail(cx, METE_ENOMEM, "out of memory for %zu turns", query->batch->turns);
}

int
mete__policy_forward(mete_node *policy, const mete_params *params, const mete_query *query,
                     mete_outputs *out, mete_tape *tape, mete_error *err)
{
    if (!policy->plugin->as.policy.forward)
        return absent(policy, "forward: it cannot be trained by gradients", err);
    mete_ctx cx = mete__ctx_make(policy, 0, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    mete_query asked;
    int status = of_answers(query, &cx, &asked);
    if (!status)
        status = policy->plugin->as.policy.forward(&cx, policy->self, params, &asked, out, tape);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(policy, status, err);
}

int
mete__policy_backward(mete_node *policy, const mete_params *params, const mete_query *query,
                      const mete_outputs *adjoint, mete_tape *tape, float *grad, mete_error *err)
{
    if (!policy->plugin->as.policy.backward)
        return absent(policy, "backward", err);
    mete_ctx cx = mete__ctx_make(policy, 0, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    mete_query asked;
    int status = of_answers(query, &cx, &asked);
    if (!status)
        status = policy->plugin->as.policy.backward(&cx, policy->self, params, &asked, adjoint,
                                                    tape, grad);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(policy, status, err);
}

int
mete__policy_encode(mete_node *policy, const mete_batch *batch, mete_actions *out, mete_error *err)
{
    if (!policy->plugin->as.policy.encode)
        return absent(policy, "encode: it cannot learn from given texts", err);
    mete_ctx cx = mete__ctx_make(policy, 0, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    int status = policy->plugin->as.policy.encode(&cx, policy->self, batch, out);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(policy, status, err);
}

int
mete__policy_learn(mete_node *policy, const mete_batch *batch, const mete_scores *scores,
                   mete_error *err)
{
    if (!policy->plugin->as.policy.learn)
        return METE_OK;
    mete_ctx cx = mete__ctx_make(policy, METE__LEARNING, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    cx.batch = batch;
    int status = policy->plugin->as.policy.learn(&cx, policy->self, batch, scores);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(policy, status, err);
}

/* ---- wrappers -------------------------------------------------------------------------------- */

static mete_params
inner_params(const mete_node *inner, const mete_params *params)
{
    mete_params own = *params;
    own.vector = (const float *)params->vector + inner->parameter_offset;
    own.count = inner->parameter_count;
    return own;
}

int
mete_inner_act(mete_ctx *cx, mete_node *inner, const mete_params *params, const mete_lanes *in,
               mete_actions *out)
{
    mete_params own = inner_params(inner, params);
    mete_ctx call = mete__ctx_make(inner, 0, cx->err);
    call.params = own;
    int status = policy_act(&call, inner, &own, in, out);
    return mete__ctx_blame(inner, status, cx->err);
}

int
mete_inner_forward(mete_ctx *cx, mete_node *inner, const mete_params *params,
                   const mete_query *query, mete_outputs *out, mete_tape *tape)
{
    mete_params own = inner_params(inner, params);
    return mete__policy_forward(inner, &own, query, out, tape, cx->err);
}

int
mete_inner_backward(mete_ctx *cx, mete_node *inner, const mete_params *params,
                    const mete_query *query, const mete_outputs *adjoint, mete_tape *tape,
                    float *grad)
{
    mete_params own = inner_params(inner, params);
    return mete__policy_backward(inner, &own, query, adjoint, tape, grad + inner->parameter_offset,
                                 cx->err);
}

int
mete_inner_encode(mete_ctx *cx, mete_node *inner, const mete_batch *batch, mete_actions *out)
{
    return mete__policy_encode(inner, batch, out, cx->err);
}

const mete_policy_info *
mete_inner_info(mete_ctx *cx, mete_node *inner)
{
    (void)cx;
    return &inner->info;
}

/* ---- models asked by rewards ----------------------------------------------------------------- */

/* Steps asked about at once: bounds the tape's memory on long batches. */
#define ASK_STEPS 4096

const float *
mete_model_logp(mete_ctx *cx, mete_node *model, const mete_batch *batch)
{
    mete_params params;
    if (model && mete__talk_far())
        return mete__talk_steps(cx, model, batch);
    mete_node *policy = model ? mete__model_resolve(model, &params) : NULL;
    if (!policy) {
        mete_fail(cx, METE_EINVAL,
                  "the model '%s' has no parameters yet (no snapshot of it is taken)",
                  model ? model->name : "");
        return NULL;
    }
    if (!batch->steps || (!batch->action && !batch->action_vector)) {
        mete_fail(cx, METE_ENOTSUP, "asked model '%s' about a batch without steps", model->name);
        return NULL;
    }
    float *logp = mete__arena_take(cx->arena, batch->steps * sizeof *logp);
    uint32_t *step = mete__arena_take(cx->arena, batch->steps * sizeof *step);
    mete_tape *tape = mete__scratch_tape();
    if (!logp || !step || !tape) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < batch->steps; i++)
        step[i] = (uint32_t)i;
    bool stepwise = policy->info.stepwise;
    for (size_t from = 0; from < batch->steps;) {
        size_t count = batch->steps - from;
        if (stepwise && count > ASK_STEPS)
            count = ASK_STEPS;
        mete_query query = {.size = sizeof query,
                            .batch = batch,
                            .step = stepwise ? step + from : NULL,
                            .count = count,
                            .want = METE_WANT_LOGP};
        mete_outputs out = {.size = sizeof out, .logp = logp + from};
        mete_tape_reset(tape);
        if (mete__policy_forward(policy, &params, &query, &out, tape, cx->err))
            return NULL;
        from += count;
    }
    mete_tape_reset(tape);
    return logp;
}
