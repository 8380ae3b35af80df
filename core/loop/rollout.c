/* rollout.c - lets a policy act in an environment and keeps what happened.
 *
 * Two ways of collecting. Single-turn environments (texts, bandits) start every lane anew for each
 * batch: lane i works on task i / group, so the samples of a prompt are adjacent. Others keep their
 * lanes from batch to batch: `steps` steps a lane become fragments, cut where an episode ends; with
 * steps = 0 every lane starts anew, lane i on task i / group, and one whole episode a lane is kept.
 * Conversations are collected by turns.c. Episode ids follow from the batch's number and the lane,
 * so nothing depends on threads.
 */
#include "loop/inner.h"

#include <stdlib.h>
#include <string.h>

/* A whole episode longer than this is cut: an environment that never ends one must say `steps`. */
#define MOST_STEPS 100000

/* Step-major arrays of a multi-step collection; row t is all lanes at step t. */
struct mete__history {
    size_t room; /* steps allocated */
    float *observation, *final, *vector, *logp, *value, *reward, **signal;
    int32_t *action;
    uint8_t *mask, *ended, *cut;
    uint64_t *episode, *task;
    float *last_value; /* [lanes x heads] of the observation after the last step */
};

/* ---- setting up ------------------------------------------------------------------------------ */

static void
declare_columns(mete__rollout *r, mete__builder *builder)
{
    const mete_node *environment = r->environment;
    r->reward_column =
        mete__builder_column(builder, "reward", METE_STEP, METE_F32, METE_EPISODE, METE_SEE_REWARD);
    for (size_t i = 0; i < environment->declareds; i++) {
        const mete__declared *declared = &environment->declared[i];
        r->column[i] = mete__builder_column(builder, declared->name, declared->level,
                                            declared->element, declared->parent, declared->visible);
    }
}

/* What is shown, and what may be said, must be of kinds that can be kept together. */
static int
check_spaces(const mete_node *environment, mete_error *err)
{
    const mete_spaces *spaces = &environment->spaces;
    if (spaces->action.kind == METE_SPACE_TEXT && spaces->observation.kind != METE_SPACE_TEXT)
        return mete_error_set(err, METE_EPLUGIN,
                              "%s: an environment whose actions are texts must show texts",
                              environment->path);
    for (size_t i = 0; i < environment->declareds; i++) {
        const mete__declared *declared = &environment->declared[i];
        mete_level level = declared->level == METE_LIST ? declared->parent : declared->level;
        if (level == METE_TURN && !mete__converses(environment))
            return mete_error_set(err, METE_EPLUGIN,
                                  "%s: column '%s' is of turns, and the environment is no "
                                  "conversation (texts shown, several steps)",
                                  environment->path, declared->name);
        if (level == METE_STEP && !declared->signal &&
            (spaces->single_turn || mete__converses(environment)))
            return mete_error_set(err, METE_EPLUGIN,
                                  "%s: column '%s' is of steps; where every episode is one step "
                                  "it is of episodes, in a conversation of turns",
                                  environment->path, declared->name);
    }
    return METE_OK;
}

int
mete__rollout_open(mete__rollout *r, mete__engine *engine, mete_node *environment,
                   mete_node *policy, size_t lanes, size_t group, size_t steps, bool evaluation,
                   mete_error *err)
{
    const mete_spaces *spaces = &environment->spaces;
    *r = (mete__rollout){.engine = engine,
                         .environment = environment,
                         .policy = policy,
                         .lanes = lanes,
                         .group = group,
                         .together = group,
                         .steps = steps,
                         .evaluation = evaluation};
    int status = check_spaces(environment, err);
    if (status)
        return status;
    r->now = mete__observations_new(environment, lanes);
    r->moved = r->now ? mete__transitions_new(environment, r->now) : NULL;
    status = r->moved ? mete__observe_open(r, err) : METE_OK;
    if (status)
        return status;
    r->actions = mete__actions_new(spaces, &policy->info, lanes);
    r->builder = mete__builder_new();
    r->column = calloc(environment->declareds + 1, sizeof *r->column);
    r->age = calloc(lanes, sizeof *r->age);
    r->lane = calloc(lanes, sizeof *r->lane);
    r->history = calloc(1, sizeof *r->history);
    if (!r->now || !r->moved || !r->actions || !r->builder || !r->column || !r->age || !r->lane ||
        !r->history)
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    for (size_t i = 0; i < lanes; i++)
        r->lane[i] = (uint32_t)i;
    bool text =
        spaces->action.kind == METE_SPACE_TEXT || spaces->observation.kind == METE_SPACE_TEXT;
    mete__shape shape = {.text = text,
                         .observation_size = r->width,
                         .action_size =
                             spaces->action.kind == METE_SPACE_BOX ? spaces->action.size : 0,
                         .action_count = r->now->action_mask ? spaces->action.count : 0,
                         .heads = policy->info.heads,
                         .logp = true,
                         .turns = mete__converses(environment)};
    mete__builder_shape(r->builder, &shape);
    declare_columns(r, r->builder);
    if (mete__observe_live(r)) { /* the same columns by the same numbers */
        mete__builder_shape(mete__observe_live(r), &shape);
        declare_columns(r, mete__observe_live(r));
    }
    status = shape.turns ? mete__talks_open(r, err) : METE_OK;
    return status || spaces->single_turn ? status : mete__kept_open(r, err);
}

static void
history_free(struct mete__history *h, size_t signals)
{
    free(h->observation);
    free(h->final);
    free(h->vector);
    free(h->logp);
    free(h->value);
    free(h->reward);
    free(h->action);
    free(h->mask);
    free(h->ended);
    free(h->cut);
    free(h->episode);
    free(h->task);
    free(h->last_value);
    for (size_t i = 0; h->signal && i < signals; i++)
        free(h->signal[i]);
    free(h->signal);
    free(h);
}

void
mete__rollout_close(mete__rollout *r)
{
    if (r->history)
        history_free(r->history, r->environment->declareds);
    mete__observe_free(r);
    mete__talks_free(r);
    mete__kept_free(r->kept);
    mete__builder_free(r->builder);
    mete__actions_free(r->actions);
    mete__actions_free(r->rejected);
    mete__transitions_free(r->moved);
    mete__observations_free(r->now);
    free(r->column);
    free(r->age);
    free(r->lane);
    *r = (mete__rollout){0};
}

/* ---- acting ---------------------------------------------------------------------------------- */

static int
start_lanes(mete__rollout *r, mete_error *err)
{
    uint64_t first = r->id_base + r->collected * r->lanes;
    size_t prompts = r->lanes / r->together;
    for (size_t i = 0; i < r->lanes; i++) {
        r->moved->episode[i] = first + i + 1;
        uint64_t task = r->collected * prompts + i / r->together;
        r->moved->task[i] = r->onlys   ? r->only[task % r->onlys]
                            : r->tasks ? mete__tasks_at(r->tasks, task)
                                       : task;
        r->age[i] = 0;
    }
    /* Auto-reset ids leave the range of any later batch alone. */
    r->moved->stride = (uint64_t)1 << 40;
    r->moved->task_stride = prompts;
    if (!r->environment->spaces.single_turn && r->steps) {
        r->moved->stride = r->lanes;
        r->moved->task_stride = r->lanes;
    }
    mete_reset reset = {.size = sizeof reset,
                        .evaluation = r->evaluation,
                        .count = r->lanes,
                        .lane = r->lane,
                        .episode = r->moved->episode,
                        .task = r->moved->task,
                        .counted = r->given || r->tasks || r->onlys};
    return mete__environment_reset(r->environment, &reset, r->now, err);
}

int
mete__rollout_start(mete__rollout *r, mete_error *err)
{
    int status = start_lanes(r, err);
    if (!status)
        mete__observe_start(r);
    return status;
}

static mete_lanes
view_lanes(mete__rollout *r, const mete_batch *context, uint32_t mode, double temperature)
{
    return (mete_lanes){.size = sizeof(mete_lanes),
                        .mode = mode,
                        .count = r->lanes,
                        .episode = r->moved->episode,
                        .step = r->age,
                        .observation = r->observation,
                        .observation_size = r->width,
                        .action_count = r->environment->spaces.action.count,
                        .action_mask = r->now->action_mask,
                        .context = context,
                        .temperature = temperature};
}

static int
act(mete__rollout *r, const mete_params *params, uint32_t mode, double temperature, mete_error *err)
{
    const mete_batch *context = NULL;
    if (r->now->prompt || r->environment->declareds) {
        context =
            mete__lanes_context(r->environment, r->now, r->moved->episode, r->lane, r->lanes, err);
        if (!context)
            return err->code;
    }
    mete_lanes lanes = view_lanes(r, context, mode, temperature);
    mete__actions_clear(r->actions);
    return mete__policy_act(r->policy, params, &lanes, r->actions, err);
}

/* ---- one turn -------------------------------------------------------------------------------- */

/* Columns of lane i into the row just begun. */
static int
add_columns(mete__rollout *r, size_t lane)
{
    int status = METE_OK;
    for (size_t i = 0; i < r->environment->declareds && !status; i++) {
        const mete__declared *declared = &r->environment->declared[i];
        if (declared->signal)
            continue;
        mete_texts list;
        if (declared->level == METE_LIST) {
            list = mete__observations_list(r->now, i, lane);
            status = mete__builder_list(r->builder, r->column[i], list.item, list.count);
        } else if (declared->element == METE_TEXT || declared->element == METE_JSON) {
            mete__builder_text(r->builder, r->column[i], mete__observations_text(r->now, i, lane),
                               declared->element);
        } else {
            mete__builder_number(r->builder, r->column[i],
                                 mete__observations_number(r->now, i, lane));
        }
    }
    return status;
}

mete_text
mete__rollout_chosen(const mete__rollout *r, int32_t at, size_t lane)
{
    for (size_t i = 0; i < r->environment->declareds; i++)
        if (strcmp(r->environment->declared[i].name, "candidates") == 0) {
            mete_texts list = mete__observations_list(r->now, i, lane);
            if (at >= 0 && (size_t)at < list.count)
                return list.item[at];
        }
    return (mete_text){"", 0};
}

/* The row of a lane and what was decided for it; `second` of a pair of rows of one lane. */
static int
add_turn(mete__rollout *r, const mete_actions *a, size_t lane, bool second)
{
    uint32_t kind = r->environment->spaces.action.kind;
    uint64_t id = r->moved->episode[lane];
    mete__row row = {.id = second ? mete_hash_mix(id, 1) : id,
                     .prompt_id = r->now->prompt_id[lane],
                     .task_id = r->moved->task[lane],
                     .starts = true,
                     .terminated = true,
                     .joins = second || lane % r->together != 0};
    if (r->now->prompt)
        row.prompt = r->now->prompt[lane];
    row.response = kind == METE_SPACE_TEXT         ? a->text[lane]
                   : kind == METE_SPACE_CANDIDATES ? mete__rollout_chosen(r, a->action[lane], lane)
                                                   : (mete_text){"", 0};
    int status = mete__builder_row(r->builder, &row);
    if (!status)
        status = add_columns(r, lane);
    if (kind != METE_SPACE_TEXT && !status) {
        size_t width = r->width, actions = r->environment->spaces.action.count;
        status =
            mete__builder_steps(r->builder, 1, width ? r->observation + lane * width : NULL,
                                a->action ? a->action + lane : NULL,
                                a->vector ? a->vector + lane * a->vector_size : NULL,
                                r->now->action_mask ? r->now->action_mask + lane * actions : NULL,
                                a->logp + lane, a->value ? a->value + lane * a->heads : NULL);
        return status;
    }
    size_t count;
    const mete_token *token = mete_actions_tokens(a, lane, &count);
    for (size_t k = 0; k < count && !status; k++) {
        mete__step step = {.action = token[k].id,
                           .logp = token[k].logp,
                           .value = &token[k].value,
                           .begin = token[k].begin,
                           .end = token[k].end,
                           .loss_mask = 1};
        status = mete__builder_step(r->builder, &step);
    }
    return status;
}

int
mete__rollout_texts(const mete__rollout *r, const char *name, size_t *column, mete_error *err)
{
    const mete_node *environment = r->environment;
    for (size_t i = 0; i < environment->declareds; i++) {
        const mete__declared *declared = &environment->declared[i];
        bool texts = declared->element == METE_TEXT &&
                     (declared->level == METE_EPISODE ||
                      (declared->level == METE_LIST && declared->parent == METE_EPISODE));
        *column = i;
        if (texts && strcmp(declared->name, name) == 0)
            return METE_OK;
    }
    return mete_error_set(err, METE_EINVAL,
                          "environment '%s' provides no column of texts named '%s'",
                          environment->plugin->as.head.name, name);
}

/* One text of each lane's column: its value, or an item of its list. Lists of one length give the
 * same item, so that what stands side by side in two columns stays so. */
static int
lane_texts(mete__rollout *r, const char *name, mete_text *out, mete_error *err)
{
    const mete_node *environment = r->environment;
    size_t column;
    int status = mete__rollout_texts(r, name, &column, err);
    if (status)
        return status;
    const mete__declared *declared = &environment->declared[column];
    for (size_t i = 0; i < r->lanes; i++) {
        if (declared->level == METE_EPISODE) {
            out[i] = mete__observations_text(r->now, column, i);
            continue;
        }
        mete_texts list = mete__observations_list(r->now, column, i);
        mete_rng rng = mete_rng_make(environment->key, r->moved->episode[i], 1);
        if (list.count)
            out[i] = list.item[mete_rng_below(&rng, (uint32_t)list.count)];
    }
    return METE_OK;
}

/* Given texts as the lanes' actions, tokenised by the policy. */
static int
take_responses(mete__rollout *r, const char *column, mete_actions *out, mete_error *err)
{
    const mete_batch *context =
        mete__lanes_context(r->environment, r->now, r->moved->episode, r->lane, r->lanes, err);
    mete_text *text = context ? calloc(r->lanes, sizeof *text) : NULL;
    if (!text)
        return err->code ? err->code : mete_error_set(err, METE_ENOMEM, "out of memory");
    int status = lane_texts(r, column, text, err);
    mete_batch given = *context;
    given.response = text;
    mete__actions_clear(out);
    if (!status)
        status = mete__policy_encode(r->policy, &given, out, err);
    for (size_t i = 0; i < r->lanes && !status; i++)
        out->text[i] = out->text[i].data ? out->text[i] : (mete_text){"", 0};
    free(text);
    return status;
}

/* What each lane does: given texts, a second one beside it, or the policy's own choice. */
static int
decide(mete__rollout *r, const mete_params *params, uint32_t mode, double temperature,
       const char *responses, const char *against, mete_error *err)
{
    if (!responses)
        return act(r, params, mode, temperature, err);
    if (against && !r->rejected &&
        !(r->rejected = mete__actions_new(&r->environment->spaces, &r->policy->info, r->lanes)))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu lanes", r->lanes);
    int status = take_responses(r, responses, r->actions, err);
    if (!status && against)
        status = take_responses(r, against, r->rejected, err);
    return status;
}

static const mete_batch *
one_turn(mete__rollout *r, const mete_params *params, uint32_t mode, double temperature,
         const char *responses, const char *against, mete_error *err)
{
    int status = mete__rollout_start(r, err);
    size_t rows_a_lane = against ? 2 : 1;
    if (!status)
        status = decide(r, params, mode, temperature, responses, against, err);
    if (status)
        return NULL;
    mete__builder_reset(r->builder);
    for (size_t i = 0; i < r->lanes && !status; i++) {
        status = add_turn(r, r->actions, i, false);
        if (!status && against)
            status = add_turn(r, r->rejected, i, true);
    }
    if (status) {
        mete_error_set(err, METE_ENOMEM, "out of memory for a batch of %zu lanes", r->lanes);
        return NULL;
    }
    /* Stepping tells the environment's own reward and signals; its lanes then show the next task,
     * which the next batch resets anyway. */
    if (mete__environment_step(r->environment, r->actions, r->moved, err))
        return NULL;
    const mete_batch *batch = mete__builder_batch(r->builder, err);
    if (!batch)
        return NULL;
    /* Step columns: the value of the one decision stands at each row's last step. */
    for (uint32_t c = 0; c < batch->columns; c++) {
        const mete_column *column = &batch->column[c];
        if (column->level != METE_STEP || column->element != METE_F32)
            continue;
        const float *from = r->moved->reward;
        for (size_t i = 0; i < r->environment->declareds; i++)
            if (strcmp(r->environment->declared[i].name, column->name) == 0)
                from = mete_lane_signal(r->moved, (int)i);
        float *to = (float *)(uintptr_t)column->data;
        for (size_t i = 0; i < batch->episodes; i++)
            if (batch->step_begin[i + 1] > batch->step_begin[i])
                to[batch->step_begin[i + 1] - 1] = from[i / rows_a_lane];
    }
    return batch;
}

/* ---- many steps ------------------------------------------------------------------------------ */

static bool
grow(void *array, size_t count, size_t each)
{
    void **at = array;
    size_t bytes = count * each;
    void *grown = bytes > 0 ? realloc(*at, bytes) : *at;
    if (bytes > 0 && !grown)
        return false;
    *at = grown;
    return true;
}

static bool
history_room(mete__rollout *r, size_t steps)
{
    struct mete__history *h = r->history;
    size_t lanes = r->lanes, signals = r->environment->declareds;
    if (steps <= h->room)
        return true;
    size_t room = h->room ? 2 * h->room : 64;
    while (room < steps)
        room *= 2;
    size_t n = room * lanes, width = r->width;
    if (!h->signal && !(h->signal = calloc(signals + 1, sizeof *h->signal)))
        return false;
    if (!h->last_value && !(h->last_value = calloc(lanes * r->actions->heads + 1, sizeof(float))))
        return false;
    bool good =
        grow(&h->observation, n * width, sizeof(float)) &&
        grow(&h->final, n * width, sizeof(float)) &&
        grow(&h->vector, n * r->actions->vector_size, sizeof(float)) &&
        grow(&h->logp, n, sizeof(float)) && grow(&h->value, n * r->actions->heads, sizeof(float)) &&
        grow(&h->reward, n, sizeof(float)) && grow(&h->action, n, sizeof(int32_t)) &&
        grow(&h->mask, r->now->action_mask ? n * r->environment->spaces.action.count : 0, 1) &&
        grow(&h->ended, n, 1) && grow(&h->cut, n, 1) && grow(&h->episode, n, sizeof(uint64_t)) &&
        grow(&h->task, n, sizeof(uint64_t));
    for (size_t i = 0; i < signals && good; i++)
        good = !r->environment->declared[i].signal || grow(&h->signal[i], n, sizeof(float));
    h->room = good ? room : h->room;
    return good;
}

/* Gathers lane i's steps [from, to) from the step-major arrays into scratch and adds them. */
static int
add_fragment(mete__rollout *r, size_t lane, size_t from, size_t to, uint32_t first_step,
             char *scratch)
{
    struct mete__history *h = r->history;
    size_t lanes = r->lanes, n = to - from, width = r->width;
    size_t heads = r->actions->heads, vector = r->actions->vector_size;
    size_t actions = r->now->action_mask ? r->environment->spaces.action.count : 0;
    float *observation = (float *)(void *)scratch, *logp = observation + n * width;
    float *value = logp + n, *vectors = value + n * heads, *signal = vectors + n * vector;
    int32_t *action = (int32_t *)(void *)(signal + n);
    uint8_t *mask = (uint8_t *)(action + n);
    for (size_t k = 0; k < n; k++) {
        size_t at = (from + k) * lanes + lane;
        memcpy(observation + k * width, h->observation + at * width, width * sizeof(float));
        memcpy(value + k * heads, h->value + at * heads, heads * sizeof(float));
        if (vector)
            memcpy(vectors + k * vector, h->vector + at * vector, vector * sizeof(float));
        if (actions)
            memcpy(mask + k * actions, h->mask + at * actions, actions);
        logp[k] = h->logp[at];
        action[k] = vector ? 0 : h->action[at];
    }
    size_t last = (to - 1) * lanes + lane;
    bool ended = h->ended[last], cut = h->cut[last];
    mete__row row = {.id = h->episode[from * lanes + lane],
                     .prompt_id = h->task[from * lanes + lane],
                     .task_id = h->task[from * lanes + lane],
                     .first_step = first_step,
                     .starts = first_step == 0,
                     .joins = r->steps == 0 && lane % r->together != 0};
    int status = mete__builder_row(r->builder, &row);
    if (!status)
        status = mete__kept_put(r, lane, from, METE_EPISODE);
    size_t at_once = mete__kept_has(r, METE_STEP) ? 1 : n; /* a step's columns follow the step */
    for (size_t k = 0; k < n && !status; k += at_once) {
        status = mete__builder_steps(r->builder, at_once, observation + k * width, action + k,
                                     vector ? vectors + k * vector : NULL,
                                     actions ? mask + k * actions : NULL, logp + k,
                                     heads ? value + k * heads : NULL);
        if (!status && at_once == 1)
            status = mete__kept_put(r, lane, from + k, METE_STEP);
    }
    const float *final = ended || cut ? h->final + last * width : r->observation + lane * width;
    mete__builder_end(r->builder, ended, cut, final, heads ? h->last_value + lane * heads : NULL);
    for (size_t k = 0; k < n; k++)
        signal[k] = h->reward[(from + k) * lanes + lane];
    mete__builder_numbers(r->builder, r->reward_column, signal, n);
    for (size_t i = 0; i < r->environment->declareds; i++) {
        for (size_t k = 0; k < n && h->signal[i]; k++)
            signal[k] = h->signal[i][(from + k) * lanes + lane];
        if (h->signal[i])
            mete__builder_numbers(r->builder, r->column[i], signal, n);
    }
    return status;
}

/* Scratch that add_fragment needs for so many steps. */
static size_t
fragment_bytes(const mete__rollout *r, size_t steps)
{
    size_t each = (r->width + r->actions->heads + r->actions->vector_size + 4) * 4 +
                  r->environment->spaces.action.count + 64;
    return (steps + 1) * each;
}

/* What lanes that ended saw last. */
static void
keep_final(mete__rollout *r, size_t t)
{
    float *final = r->history->final + t * r->lanes * r->width;
    for (size_t i = 0; i < r->lanes; i++)
        if ((r->moved->terminated[i] | r->moved->truncated[i]) && r->width)
            memcpy(final + i * r->width, r->final_observation + i * r->width,
                   r->width * sizeof(float));
}

/* Scores step t, as fragments of one step, where the policy observes what a reward tells of it. */
static int
observe_rewards(mete__rollout *r, size_t t, mete_error *err)
{
    mete__builder *live = mete__observe_live(r), *builder = r->builder;
    if (!live)
        return METE_OK;
    char *scratch = malloc(fragment_bytes(r, 1));
    int status = scratch ? METE_OK : METE_ENOMEM;
    mete__builder_reset(live);
    r->builder = live;
    for (size_t i = 0; i < r->lanes && !status; i++)
        status = add_fragment(r, i, t, t + 1, r->age[i], scratch);
    r->builder = builder;
    free(scratch);
    if (status)
        return mete_error_set(err, METE_ENOMEM, "out of memory for a step of %zu lanes", r->lanes);
    status = mete__observe_score(r, err);
    keep_final(r, t);
    return status;
}

/* Acts once on every lane and keeps step t. */
static int
one_step(mete__rollout *r, size_t t, const mete_params *params, uint32_t mode, double temperature,
         mete_error *err)
{
    struct mete__history *h = r->history;
    size_t lanes = r->lanes, width = r->width, heads = r->actions->heads;
    size_t actions = r->environment->spaces.action.count;
    if (!history_room(r, t + 1))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu steps of %zu lanes", t,
                              lanes);
    if (width)
        memcpy(h->observation + t * lanes * width, r->observation, lanes * width * sizeof(float));
    if (r->now->action_mask)
        memcpy(h->mask + t * lanes * actions, r->now->action_mask, lanes * actions);
    memcpy(h->episode + t * lanes, r->moved->episode, lanes * sizeof(uint64_t));
    memcpy(h->task + t * lanes, r->moved->task, lanes * sizeof(uint64_t));
    int status = mete__kept_take(r, t, err);
    if (!status)
        status = act(r, params, mode, temperature, err);
    if (status)
        return status;
    if (r->actions->action)
        memcpy(h->action + t * lanes, r->actions->action, lanes * sizeof(int32_t));
    if (r->actions->vector)
        memcpy(h->vector + t * lanes * r->actions->vector_size, r->actions->vector,
               lanes * r->actions->vector_size * sizeof(float));
    memcpy(h->logp + t * lanes, r->actions->logp, lanes * sizeof(float));
    if (heads)
        memcpy(h->value + t * lanes * heads, r->actions->value, lanes * heads * sizeof(float));
    if ((status = mete__environment_step(r->environment, r->actions, r->moved, err)))
        return status;
    mete__observe_moved(r);
    memcpy(h->reward + t * lanes, r->moved->reward, lanes * sizeof(float));
    memcpy(h->ended + t * lanes, r->moved->terminated, lanes);
    memcpy(h->cut + t * lanes, r->moved->truncated, lanes);
    for (size_t i = 0; i < r->environment->declareds; i++)
        if (h->signal[i])
            memcpy(h->signal[i] + t * lanes, mete_lane_signal(r->moved, (int)i),
                   lanes * sizeof(float));
    keep_final(r, t);
    if ((status = observe_rewards(r, t, err)))
        return status;
    for (size_t i = 0; i < lanes; i++)
        r->age[i] = r->moved->terminated[i] | r->moved->truncated[i] ? 0 : r->age[i] + 1;
    return METE_OK;
}

/* The critic's value of `observation` [lanes x width], into out [lanes x heads]. */
static int
value_of(mete__rollout *r, const float *observation, const mete_params *params, float *out,
         mete_error *err)
{
    mete_lanes lanes = view_lanes(r, NULL, METE_ACT_EVALUATE, 1);
    lanes.observation = observation;
    lanes.action_mask = NULL;
    if (r->now->prompt || r->environment->declareds) {
        lanes.context =
            mete__lanes_context(r->environment, r->now, r->moved->episode, r->lane, r->lanes, err);
        if (!lanes.context)
            return err->code;
    }
    mete__actions_clear(r->actions);
    int status = mete__policy_act(r->policy, params, &lanes, r->actions, err);
    if (!status)
        memcpy(out, r->actions->value, r->lanes * r->actions->heads * sizeof(float));
    return status;
}

/* Values after truncated rows: the critic is asked a lane-wide batch at a time. */
static int
truncated_values(mete__rollout *r, const mete_batch *batch, const mete_params *params,
                 mete_error *err)
{
    size_t width = r->width, heads = r->actions->heads, waiting = 0;
    float *value = (float *)(uintptr_t)batch->final_value;
    float *observation = calloc(r->lanes * width + 1, sizeof(float));
    float *answer = calloc(r->lanes * heads + 1, sizeof(float));
    uint32_t *row = calloc(r->lanes, sizeof *row);
    int status =
        observation && answer && row ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i <= batch->episodes && !status; i++) {
        if (i < batch->episodes && batch->truncated[i]) {
            memcpy(observation + waiting * width, batch->final_observation + i * width,
                   width * sizeof(float));
            row[waiting++] = (uint32_t)i;
        }
        if (waiting == r->lanes || (i == batch->episodes && waiting)) {
            status = value_of(r, observation, params, answer, err);
            for (size_t k = 0; k < waiting && !status; k++)
                memcpy(value + row[k] * heads, answer + k * heads, heads * sizeof(float));
            waiting = 0;
        }
    }
    free(observation);
    free(answer);
    free(row);
    return status;
}

static const mete_batch *
many_steps(mete__rollout *r, const mete_params *params, uint32_t mode, double temperature,
           mete_error *err)
{
    struct mete__history *h = r->history;
    size_t lanes = r->lanes, steps = 0, finished = 0, heads = r->actions->heads;
    bool whole = r->steps == 0;
    int status = METE_OK;
    if (whole || !r->running)
        status = mete__rollout_start(r, err);
    r->running = !whole;
    mete__kept_clear(r);
    mete__observe_share(r);
    uint32_t *age = malloc(lanes * sizeof *age); /* of each lane's first step here */
    uint8_t *over = calloc(lanes, 1);
    if (!age || !over)
        status = mete_error_set(err, METE_ENOMEM, "out of memory");
    else
        memcpy(age, r->age, lanes * sizeof *age);
    while (!status && (whole ? finished < lanes && steps < MOST_STEPS : steps < r->steps)) {
        status = one_step(r, steps, params, mode, temperature, err);
        for (size_t i = 0; i < lanes && !status; i++)
            if (!over[i] && (r->moved->terminated[i] | r->moved->truncated[i])) {
                over[i] = 1;
                finished++;
            }
        steps++;
    }
    if (!status && heads)
        status = value_of(r, r->observation, params, h->last_value, err);
    char *scratch = status ? NULL : malloc(fragment_bytes(r, steps));
    if (!status && !scratch)
        status = mete_error_set(err, METE_ENOMEM, "out of memory");
    mete__builder_reset(r->builder);
    for (size_t i = 0; i < lanes && !status; i++) {
        uint32_t first = age[i];
        for (size_t from = 0, t = 0; t < steps && !status; t++) {
            bool end = h->ended[t * lanes + i] | h->cut[t * lanes + i];
            if (!end && t + 1 < steps)
                continue;
            status = add_fragment(r, i, from, t + 1, first, scratch);
            from = t + 1;
            first = 0;
            if (end && whole)
                break;
        }
    }
    free(age);
    free(over);
    free(scratch);
    const mete_batch *batch = status ? NULL : mete__builder_batch(r->builder, err);
    if (batch && heads && truncated_values(r, batch, params, err))
        return NULL;
    if (status && !err->code)
        mete_error_set(err, METE_ENOMEM, "out of memory for a batch");
    return batch;
}

const mete_batch *
mete__rollout_batch(mete__rollout *r, const mete_params *params, uint32_t mode, double temperature,
                    const char *responses, const char *against, mete_error *err)
{
    const mete_batch *batch;
    /* Given texts are compared with none, so each stands for a prompt of its own. */
    r->together = responses ? 1 : r->group;
    r->given = responses != NULL;
    if (r->environment->spaces.single_turn) {
        batch = one_turn(r, params, mode, temperature, responses, against, err);
    } else if (r->talks) {
        batch = mete__rollout_turns(r, params, mode, temperature, responses, against, err);
    } else if (responses) {
        mete_error_set(err, METE_ENOTSUP, "responses = ... needs an environment of texts");
        return NULL;
    } else {
        batch = many_steps(r, params, mode, temperature, err);
    }
    r->collected++;
    return batch;
}

/* ---- saving ---------------------------------------------------------------------------------- */

int
mete__rollout_save(const mete__rollout *r, mete__checkpoint *to, mete_error *err)
{
    size_t each = (size_t)r->environment->plugin->as.head.lane_size;
    int64_t counter[2] = {(int64_t)r->collected, r->running};
    int status = mete__checkpoint_add(to, "rollout/counters", METE_I64, 2, counter, err);
    if (status || !r->running)
        return status;
    const mete_environment *plugin = &r->environment->plugin->as.environment;
    if (!plugin->copy)
        return mete_error_set(
            err, METE_ENOTSUP,
            "%s: environment '%s' cannot save its lanes, so a run cannot be saved "
            "in the middle of its episodes",
            r->environment->path, r->environment->plugin->as.head.name);
    char *bytes = calloc(r->lanes * each + 1, 1);
    if (!bytes)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->lanes && !status; i++)
        status = mete__environment_copy(r->environment, r->lanes, i, bytes + i * each, err);
    if (!status)
        status = mete__checkpoint_add(to, "rollout/lanes", METE_U8, r->lanes * each, bytes, err);
    free(bytes);
    if (!status)
        status =
            mete__checkpoint_add(to, "rollout/episode", METE_I64, r->lanes, r->moved->episode, err);
    if (!status)
        status = mete__checkpoint_add(to, "rollout/task", METE_I64, r->lanes, r->moved->task, err);
    if (!status)
        status = mete__checkpoint_add(to, "rollout/age", METE_I32, r->lanes, r->age, err);
    if (!status)
        status = mete__observe_save(r, to, err);
    if (!status && r->talks)
        status = mete__talks_save(r, to, err);
    return status;
}

int
mete__rollout_load(mete__rollout *r, const mete__checkpoint *from, mete_error *err)
{
    size_t two = 2, lanes = r->lanes, same = r->lanes, age_lanes = r->lanes;
    size_t each = (size_t)r->environment->plugin->as.head.lane_size, bytes = r->lanes * each;
    const int64_t *counter = mete__checkpoint_get(from, "rollout/counters", METE_I64, &two);
    if (!counter)
        return mete_error_set(err, METE_EDATA, "the checkpoint has no rollout counters");
    r->collected = (uint64_t)counter[0];
    r->running = counter[1] != 0;
    if (!r->running)
        return METE_OK;
    int status = start_lanes(r, err); /* sets the strides; what nodes keep is loaded already */
    const char *lane = mete__checkpoint_get(from, "rollout/lanes", METE_U8, &bytes);
    const void *episode = mete__checkpoint_get(from, "rollout/episode", METE_I64, &lanes);
    const void *task = mete__checkpoint_get(from, "rollout/task", METE_I64, &same);
    const void *age = mete__checkpoint_get(from, "rollout/age", METE_I32, &age_lanes);
    const mete_environment *plugin = &r->environment->plugin->as.environment;
    if (!status && (!lane || !episode || !task || !age || !plugin->restore))
        return mete_error_set(err, METE_EDATA,
                              "the checkpoint's lanes do not fit env.lanes = %zu; was the config "
                              "changed?",
                              r->lanes);
    if (status)
        return status;
    memcpy(r->moved->episode, episode, r->lanes * sizeof(uint64_t));
    memcpy(r->moved->task, task, r->lanes * sizeof(uint64_t));
    memcpy(r->age, age, r->lanes * sizeof *r->age);
    for (size_t i = 0; i < r->lanes && !status; i++)
        status = mete__environment_restore(r->environment, i, lane + i * each, r->now, err);
    if (!status)
        status = mete__observe_load(r, from, err);
    if (!status && r->talks)
        status = mete__talks_load(r, from, err);
    return status;
}
