/* loop.c - stands before an iteration, does it, stands before the next; see loop.h.
 *
 * Order within an iteration is fixed: schedules, snapshots, rollout, scores, objective, updates of
 * what learns online, the policy's own rule, episode states, metrics. */
#include "loop/inner.h"

#include "nn/nn.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* ---- parameters and snapshots ---------------------------------------------------------------- */

mete_params
mete__loop_params(const mete__loop *loop)
{
    return (mete_params){.size = sizeof(mete_params),
                         .element = METE_F32,
                         .vector = loop->parameter,
                         .count = loop->parameters,
                         .version = loop->version};
}

mete_params
mete__snapshot_params(const mete__loop *loop, const char *name)
{
    mete_params params = mete__loop_params(loop);
    params.vector = NULL;
    for (size_t i = 0; i < loop->snapshots; i++)
        if (loop->snapshot[i].taken && strcmp(loop->snapshot[i].name, name) == 0) {
            params.vector = loop->snapshot[i].vector;
            params.version = loop->snapshot[i].version;
        }
    return params;
}

void
mete__loop_announce(mete__loop *loop)
{
    if (!loop->policy)
        return;
    mete__engine_snapshot(loop->engine, "policy", loop->policy, loop->parameter, loop->version);
    for (size_t i = 0; i < loop->snapshots; i++)
        if (loop->snapshot[i].taken)
            mete__engine_snapshot(loop->engine, loop->snapshot[i].name, loop->policy,
                                  loop->snapshot[i].vector, loop->snapshot[i].version);
}

/* Takes what is due before iteration loop->done, the first of stage `begins` or NULL. */
static int
take_snapshots(mete__loop *loop, const mete__stage *begins, mete_error *err)
{
    if (!loop->policy)
        return METE_OK;
    for (size_t i = 0; i < loop->snapshots; i++) {
        mete__snapshot_spec *s = &loop->snapshot[i];
        bool start = strcmp(s->at, "start") == 0;
        bool due = (start && loop->done == 0) ||
                   (!start && begins && strcmp(begins->name, s->at) == 0 && !s->taken) ||
                   (s->taken && s->every && loop->done % s->every == 0);
        if (!s->vector && !(s->vector = calloc(loop->parameters + 1, sizeof(float))))
            return mete_error_set(err, METE_ENOMEM, "out of memory for the snapshot '%s'", s->name);
        if (due) {
            memcpy(s->vector, loop->parameter, loop->parameters * sizeof(float));
            s->taken = true;
            s->version = loop->version;
        } else if (s->taken && s->decay > 0) {
            float keep = (float)s->decay;
            for (size_t k = 0; k < loop->parameters; k++)
                s->vector[k] = keep * s->vector[k] + (1 - keep) * loop->parameter[k];
            s->version = loop->version;
        }
    }
    mete__loop_announce(loop);
    return METE_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Texts a vocabulary is learnt from: those of every task's list `responses`, to its prompt, with
 * the columns of texts that the policy may see. */
typedef struct texts {
    mete__rollout *r;
    mete__builder *builder;
    size_t column; /* the list */
    int *handle;   /* [declareds] builder's columns + 1, or 0 */
} texts;

static int
add_text(const texts *t, uint64_t task, size_t lane, mete_text response)
{
    const mete_node *environment = t->r->environment;
    const mete_observations *now = t->r->now;
    mete__row row = {.id = task,
                     .prompt_id = now->prompt_id[lane],
                     .prompt = now->prompt[lane],
                     .response = response};
    int status = mete__builder_row(t->builder, &row);
    for (size_t c = 0; c < environment->declareds; c++)
        if (t->handle[c])
            mete__builder_text(t->builder, t->handle[c] - 1, mete__observations_text(now, c, lane),
                               METE_TEXT);
    return status;
}

/* A conversation's texts answer one after another, each what is shown by then. */
static int
converse(const texts *t, uint64_t from, mete_error *err)
{
    mete__rollout *r = t->r;
    uint8_t *over = calloc(r->lanes, 1);
    bool more = over && r->actions->text;
    int status = over ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t k = 0; more && !status; k++) {
        more = false;
        for (size_t i = 0; i < r->lanes && !status; i++) {
            mete_texts list = mete__observations_list(r->now, t->column, i);
            bool says = !over[i] && k < list.count;
            r->actions->text[i] = says ? list.item[k] : (mete_text){"", 0};
            if (says)
                status = add_text(t, from + i, i, list.item[k]);
            more |= says && k + 1 < list.count;
        }
        if (more && !status)
            status = mete__environment_step(r->environment, r->actions, r->moved, err);
        for (size_t i = 0; i < r->lanes; i++)
            over[i] |= r->moved->terminated[i] | r->moved->truncated[i];
    }
    free(over);
    return status;
}

static int
add_tasks(const texts *t, uint64_t from, uint64_t tasks, mete_error *err)
{
    mete__rollout *r = t->r;
    for (size_t i = 0; i < r->lanes; i++) {
        r->moved->task[i] = from + i;
        r->moved->episode[i] = i + 1;
    }
    mete_reset reset = {.size = sizeof reset,
                        .count = r->lanes,
                        .lane = r->lane,
                        .episode = r->moved->episode,
                        .task = r->moved->task,
                        .counted = 1};
    int status = mete__environment_reset(r->environment, &reset, r->now, err);
    if (!status && mete__converses(r->environment))
        return converse(t, from, err);
    for (size_t i = 0; i < r->lanes && from + i < tasks && !status; i++) {
        mete_texts list = mete__observations_list(r->now, t->column, i);
        for (size_t k = 0; k < list.count && !status; k++)
            status = add_text(t, from + i, i, list.item[k]);
    }
    return status;
}

/* NULL without error when there are none. */
static const mete_batch *
vocabulary_texts(mete__loop *loop, mete__builder *builder, const char *responses, mete_error *err)
{
    mete_node *environment = loop->train.environment;
    texts t = {.r = &loop->train, .builder = builder};
    uint64_t tasks = environment->spaces.tasks;
    while (t.column < environment->declareds &&
           strcmp(environment->declared[t.column].name, responses) != 0)
        t.column++;
    if (t.column == environment->declareds || environment->declared[t.column].level != METE_LIST ||
        environment->declared[t.column].parent != METE_EPISODE || !tasks)
        return NULL;
    mete__shape shape = {.text = true};
    mete__builder_shape(builder, &shape);
    if (!(t.handle = calloc(environment->declareds + 1, sizeof *t.handle))) {
        mete_error_set(err, METE_ENOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < environment->declareds; i++) {
        const mete__declared *declared = &environment->declared[i];
        if ((declared->level == METE_EPISODE || declared->level == METE_TURN) &&
            declared->visible == METE_SEE_POLICY && declared->element == METE_TEXT)
            t.handle[i] = 1 + mete__builder_column(builder, declared->name, METE_EPISODE, METE_TEXT,
                                                   METE_EPISODE, METE_SEE_POLICY);
    }
    int status = METE_OK;
    for (uint64_t from = 0; from < tasks && !status; from += t.r->lanes)
        status = add_tasks(&t, from, tasks, err);
    free(t.handle);
    if (status && !err->code)
        mete_error_set(err, status, "out of memory for texts");
    return status ? NULL : mete__builder_batch(builder, err);
}

static const char *
learns_from(const mete__loop *loop)
{
    for (size_t i = 0; i < loop->stages; i++)
        if (loop->stage[i].responses)
            return loop->stage[i].responses;
    return "reference";
}

static int
open_policy(mete__loop *loop, mete_error *err)
{
    mete_node *environment = loop->train.environment;
    mete__builder *builder = mete__builder_new();
    const mete_batch *said = NULL;
    int status = METE_OK;
    if (environment->spaces.action.kind == METE_SPACE_TEXT && builder) {
        said = vocabulary_texts(loop, builder, learns_from(loop), err);
        status = err->code;
    }
    const mete_spaces seen = mete__observe_spaces(&loop->train);
    if (!status)
        status = mete__policy_describe(loop->policy, &seen, said, err);
    mete__builder_free(builder);
    if (status)
        return status;
    loop->parameters = loop->policy->parameter_count;
    loop->parameter = calloc(loop->parameters + 1, sizeof(float));
    loop->grad = calloc(loop->parameters + 1, sizeof(float));
    if (!loop->parameter || !loop->grad)
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu parameters",
                              loop->parameters);
    status = mete__policy_init(loop->policy, loop->parameter, err);
    return status ? status : mete__optimiser_init(&loop->optimiser, loop->parameters, err);
}

static int
open_rollouts(mete__loop *loop, mete__errors *errors, mete_error *err)
{
    mete__engine *engine = loop->engine;
    mete_node *environment = mete__engine_environment(engine);
    mete__value *env = environment->at;
    size_t lanes = (size_t)mete__value_int(env, "lanes", 8, 1, 1 << 20, errors);
    size_t group = (size_t)mete__value_int(env, "group", 1, 1, 1 << 20, errors);
    size_t steps = (size_t)mete__value_int(env, "steps", 0, 0, 1 << 24, errors);
    size_t parts = (size_t)mete__value_int(env, "parts", 1, 1, 256, errors);
    if (parts > lanes)
        mete__errors_add(errors, "%s:%d: env.parts = %zu must be at most env.lanes = %zu",
                         env->file, env->line, parts, lanes);
    if (lanes % group)
        mete__errors_add(errors, "%s:%d: env.lanes = %zu must be a multiple of env.group = %zu",
                         env->file, env->line, lanes, group);
    if (errors->count)
        return METE_EINVAL;
    int status = mete__environment_split(environment, parts, err);
    if (!status)
        status = mete__environment_spaces(environment, lanes, err);
    if (!status)
        status = mete__engine_turns(engine, err);
    if (!status && environment->spaces.single_turn && steps > 1)
        status = mete_error_set(err, METE_EINVAL,
                                "env.steps = %zu: every episode of '%s' is one step; leave it out",
                                steps, environment->plugin->as.head.name);
    /* The policy's heads decide the shape of batches, so it is described between. */
    if (!status)
        status = mete__rollout_open(&loop->train, engine, environment, loop->policy, lanes, group,
                                    steps, false, err);
    if (!status)
        status = open_policy(loop, err);
    if (status)
        return status;
    mete__rollout_close(&loop->train);
    status = mete__rollout_open(&loop->train, engine, environment, loop->policy, lanes, group,
                                steps, false, err);
    if (status)
        return status;
    loop->train.tasks = mete__tasks_read(&loop->train, loop->config, loop->seed, errors);
    if (!loop->evaluates || errors->count)
        return status;
    mete_node *held = mete__engine_clone(engine, environment, "evaluate", err);
    size_t together = loop->evaluate_group;
    size_t held_lanes = loop->evaluate_episodes < 64 ? (size_t)loop->evaluate_episodes : 64;
    held_lanes = (held_lanes + together - 1) / together * together;
    if (!held || mete__environment_spaces(held, held_lanes, err))
        return err->code ? err->code : METE_ENOMEM;
    status = mete__rollout_open(&loop->held, engine, held, loop->policy, held_lanes, together, 0,
                                true, err);
    loop->held.id_base = (uint64_t)1 << 60; /* no training episode has such an id */
    return status;
}

/* A node that an objective asks by name is a reward that may be learnt from. */
static void
check_asked(const mete__loop *loop, const mete__stage *stage, const char *member, const char *name,
            mete__errors *errors)
{
    const mete_node *node = *name ? mete__engine_find(loop->engine, name) : NULL;
    if (*name && (!node || node->kind != METE_KIND_REWARD))
        mete__errors_add(errors, "stage '%s': %s = \"%s\" names no reward", stage->name, member,
                         name);
    else if (node && node->gold)
        mete__errors_add(errors, "stage '%s': %s = \"%s\" is gold, which is not learnt from",
                         stage->name, member, name);
}

/* What a stage learns from must be there: rewards, pairs, a teacher, losses of the policy's own. */
static void
check_terms(const mete__loop *loop, const mete__stage *stage, mete__errors *errors)
{
    const mete__objective *o = &stage->objective;
    const mete_policy_info *info = &loop->policy->info;
    const char *policy = loop->policy->plugin->as.head.name;
    bool teacher = false;
    for (size_t i = 0; i < loop->snapshots; i++)
        teacher |= strcmp(loop->snapshot[i].name, o->teacher) == 0;
    unsigned given = METE__TERMS_GIVEN | (*o->tokens ? METE__TERM_IMPLICIT : 0u);
    if (stage->responses && (o->terms & ~given))
        mete__errors_add(errors,
                         "stage '%s' learns from given responses, which are not scored: its "
                         "objective may have the terms nll, kl, entropy, pair, match and aux, not "
                         "ratio, value or implicit",
                         stage->name);
    if (*o->tokens &&
        ((o->terms & (METE__TERM_RATIO | METE__TERM_VALUE)) || !(o->terms & METE__TERM_IMPLICIT)))
        mete__errors_add(errors,
                         "stage '%s': tokens = \"%s\" weighs the term implicit, and goes with "
                         "neither ratio nor value",
                         stage->name, o->tokens);
    check_asked(loop, stage, "tokens", o->tokens, errors);
    check_asked(loop, stage, "beta_by", o->beta_by, errors);
    if (mete__asks_nodes(o) && !loop->reward)
        mete__errors_add(errors, "stage '%s' asks nodes, and the config has no reward",
                         stage->name);
    if (stage->responses && !stage->against && (o->terms & METE__TERM_PAIR))
        mete__errors_add(errors,
                         "stage '%s': the term pair wants two texts: say against = \"COLUMN\" "
                         "beside responses",
                         stage->name);
    if (stage->against && (!stage->responses || !(o->terms & METE__TERM_PAIR)))
        mete__errors_add(errors,
                         "stage '%s': against = \"%s\" is for the term pair, with responses",
                         stage->name, stage->against);
    if ((o->terms & METE__TERM_MATCH) && !teacher)
        mete__errors_add(errors,
                         "stage '%s': teacher = \"%s\" names no snapshot (say snapshots = { %s = { "
                         "at = ...; }; })",
                         stage->name, o->teacher, o->teacher);
    if ((o->terms & METE__TERM_MATCH) && !info->classes)
        mete__errors_add(errors, "stage '%s': policy '%s' has no classes for the term match",
                         stage->name, policy);
    if ((o->terms & METE__TERM_AUX) && (!info->auxes || info->auxes > 16))
        mete__errors_add(errors,
                         "stage '%s': policy '%s' has no losses of its own for the term aux",
                         stage->name, policy);
    bool wants_reward = (o->terms & ~(unsigned)METE__TERMS_GIVEN) || o->keep != METE__KEEP_ALL ||
                        (o->terms & (METE__TERM_PAIR | METE__TERM_NLL));
    if (!loop->reward && !stage->responses && wants_reward)
        mete__errors_add(errors, "stage '%s' samples, and the config has no reward", stage->name);
}

static void
check_use(mete__loop *loop, mete__errors *errors)
{
    for (size_t i = 0; i < loop->stages; i++) {
        const mete__stage *stage = &loop->stage[i];
        if (stage->evaluate && !loop->evaluates)
            mete__errors_add(errors, "stage '%s' evaluates; say evaluate = { episodes = ...; }",
                             stage->name);
        if (stage->evaluate || stage->fit)
            continue;
        bool learns = loop->policy->plugin->as.policy.learn != NULL;
        if (!loop->policy->info.gradient && !learns)
            mete__errors_add(errors, "stage '%s': policy '%s' cannot be trained", stage->name,
                             loop->policy->plugin->as.head.name);
        if (stage->objective.form == METE__ADVANTAGE_GAE && !loop->policy->info.heads)
            mete__errors_add(
                errors,
                "stage '%s': advantage = \"gae\" needs a critic, and policy '%s' has no "
                "value head",
                stage->name, loop->policy->plugin->as.head.name);
        check_terms(loop, stage, errors);
        mete__curriculum_check(loop, stage, errors);
    }
}

/* Top-level words nobody read. Those of later commands are known and left alone. */
static void
check_words(mete__config *config, mete__errors *errors)
{
    static const char *const word[] = {"run",       "env",       "policy",    "models", "reward",
                                       "objective", "optimiser", "snapshots", "stages", "evaluate",
                                       "tasks",     "ablate",    "report",    "data",   "version",
                                       "watch",     "sweep"};
    static const char *const run_word[] = {"seed",
                                           "out",
                                           "threads",
                                           "iterations",
                                           "checkpoint_every",
                                           "checkpoint_seconds",
                                           "keep",
                                           "max_failed",
                                           "samples_every",
                                           "attribution_every",
                                           "criteria_every",
                                           "metrics"};
    mete__value *root = mete__config_root(config), *run = mete__value_get(root, "run");
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        mete__value_get(root, word[i]);
    mete__value_unknown(root,
                        "run env policy models reward objective optimiser snapshots stages "
                        "evaluate tasks ablate sweep report data watch",
                        errors);
    if (!run)
        return;
    for (size_t i = 0; i < sizeof run_word / sizeof *run_word; i++)
        mete__value_get(run, run_word[i]);
    mete__value_unknown(run,
                        "seed out threads iterations checkpoint_every checkpoint_seconds keep "
                        "max_failed samples_every attribution_every criteria_every metrics",
                        errors);
}

/* Does every stage learn from a file? Then no policy and no environment is asked. */
static bool
only_reads(const mete__loop *loop)
{
    bool reads = loop->stages && !loop->evaluates;
    for (size_t i = 0; i < loop->stages; i++)
        reads &= mete__fit_reads(loop->stage[i].fit);
    return reads;
}

/* What plugins measure joins the iteration's own numbers. */
static void
take_metric(void *user, const char *name, double value)
{
    mete__metrics_add(&((mete__loop *)user)->metrics, value, "%s", name);
}

mete__loop *
mete__loop_new(mete__engine *engine, mete__config *config, const mete__loop_sinks *sinks,
               mete__errors *errors)
{
    mete__loop *loop = calloc(1, sizeof *loop);
    size_t before = errors->count;
    if (!loop)
        return NULL;
    mete__nn_init();
    loop->engine = engine;
    loop->config = config;
    mete__engine_measure(engine, take_metric, loop);
    mete__engine_grades(engine, true);
    if (sinks)
        loop->sinks = *sinks;
    loop->policy = mete__engine_policy(engine);
    loop->reward = mete__engine_reward(engine);
    mete__value *run = mete__value_get(mete__config_root(config), "run");
    loop->seed = run ? (uint64_t)mete__value_int(run, "seed", 1, 0, INT64_MAX, errors) : 1;
    check_words(config, errors);
    mete__stages_read(loop, errors);
    bool reads = only_reads(loop);
    if (reads)
        loop->policy = NULL;
    else if (!loop->policy || !mete__engine_environment(engine))
        mete__errors_add(errors, "a run needs env = { use = ...; } and policy = { use = ...; }, "
                                 "unless all its stages are fits that name a file");
    loop->watch = reads ? NULL : mete__watch_read(loop, errors);
    if (errors->count == before && !reads) {
        mete_error err = {0};
        int status = open_rollouts(loop, errors, &err);
        if (err.code)
            mete__errors_add(errors, "%s", err.message);
        if (!status && errors->count == before)
            check_use(loop, errors);
    }
    if (errors->count == before)
        return loop;
    mete__loop_free(loop);
    return NULL;
}

void
mete__loop_free(mete__loop *loop)
{
    if (!loop)
        return;
    mete__engine_measure(loop->engine, NULL, NULL);
    mete__tasks_free(loop->train.tasks);
    if (loop->train.environment)
        mete__rollout_close(&loop->train);
    if (loop->held.environment)
        mete__rollout_close(&loop->held);
    mete__curriculum_free(loop);
    for (size_t i = 0; i < loop->stages; i++) {
        free(loop->stage[i].name);
        free(loop->stage[i].responses);
        free(loop->stage[i].against);
        mete__fit_free(loop->stage[i].fit);
    }
    for (size_t i = 0; i < loop->snapshots; i++) {
        free(loop->snapshot[i].name);
        free(loop->snapshot[i].at);
        free(loop->snapshot[i].vector);
    }
    free(loop->stage);
    free(loop->snapshot);
    mete__optimiser_free(&loop->optimiser);
    mete__metrics_free(&loop->metrics);
    mete__judged_free(&loop->before);
    mete__judged_free(&loop->after);
    mete__work_free(loop->work);
    mete__attribution_free(loop->attribution);
    mete__criteria_stats_free(loop->criteria);
    mete__watch_free(loop->watch);
    mete__timing_free(loop->timing);
    free(loop->parameter);
    free(loop->grad);
    free(loop);
}

uint64_t
mete__loop_total(const mete__loop *loop)
{
    return loop->total;
}

uint64_t
mete__loop_done(const mete__loop *loop)
{
    return loop->done;
}

/* ---- an iteration ---------------------------------------------------------------------------- */

static mete__stage *
stage_at(mete__loop *loop, uint64_t iteration)
{
    for (size_t i = 0; i < loop->stages; i++)
        if (iteration < loop->stage[i].first + loop->stage[i].count)
            return &loop->stage[i];
    return NULL;
}

/* A stage's settings; moments start anew with each stage that begins. */
static void
begin_stage(mete__loop *loop, const mete__stage *stage, bool anew)
{
    float *m = loop->optimiser.m, *v = loop->optimiser.v;
    uint64_t t = anew ? 0 : loop->optimiser.t;
    loop->optimiser = stage->optimiser;
    loop->optimiser.m = m;
    loop->optimiser.v = v;
    loop->optimiser.count = loop->parameters;
    loop->optimiser.t = t;
    if (anew) {
        memset(m, 0, loop->parameters * sizeof *m);
        memset(v, 0, loop->parameters * sizeof *v);
    }
}

static int
give_numbers(mete__loop *loop, const mete__stage *stage, mete_error *err)
{
    size_t count = loop->metrics.count;
    const char **name = malloc((count + 1) * sizeof *name);
    double *value = malloc((count + 1) * sizeof *value);
    int status = name && value ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < count && !status; i++) {
        name[i] = loop->metrics.item[i].name;
        value[i] = loop->metrics.item[i].sum / (double)loop->metrics.item[i].count;
        value[i] = isfinite(value[i]) ? value[i] : NAN;
    }
    if (!status)
        status =
            loop->sinks.numbers(loop->sinks.user, loop->done, stage->name, name, value, count, err);
    free(name);
    free(value);
    return status;
}

static int
write_metrics(mete__loop *loop, const mete__stage *stage, mete_error *err)
{
    mete_buffer out = mete_buffer_make((size_t)4 << 20);
    char head[128];
    snprintf(head, sizeof head, "{\"iteration\":%llu,\"stage\":", (unsigned long long)loop->done);
    mete_buffer_string(&out, head);
    mete_json_put_text(&out, mete_text_from(stage->name));
    for (size_t i = 0; i < loop->metrics.count; i++) {
        double value = loop->metrics.item[i].sum / (double)loop->metrics.item[i].count;
        mete_buffer_string(&out, ",");
        mete_json_put_text(&out, mete_text_from(loop->metrics.item[i].name));
        mete_buffer_string(&out, ":");
        mete_json_put_number(&out, value);
    }
    mete_buffer_string(&out, "}");
    int status = out.data ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory for metrics");
    if (!status && loop->sinks.metrics)
        status = loop->sinks.metrics(loop->sinks.user, out.data, out.length, err);
    mete_buffer_free(&out);
    return status || !loop->sinks.numbers ? status : give_numbers(loop, stage, err);
}

static void
tell_progress(mete__loop *loop, const mete__stage *stage)
{
    static const char *const headline[] = {"reward", "eval/reward", "loss", "policy/kl_reference",
                                           "policy/entropy"};
    static const char *const learnt[] = {"loss", "accuracy", "held_accuracy"};
    char text[256] = "";
    if (!loop->sinks.progress)
        return;
    for (size_t i = 0; i < sizeof headline / sizeof *headline; i++) {
        double value = mete__metrics_get(&loop->metrics, headline[i]);
        size_t used = strlen(text);
        if (!isnan(value))
            snprintf(text + used, sizeof text - used, "%s%s %.4g", used ? "  " : "", headline[i],
                     value);
    }
    for (size_t i = 0; stage->fit && i < sizeof learnt / sizeof *learnt; i++) {
        char name[METE__METRIC_NAME];
        size_t used = strlen(text);
        snprintf(name, sizeof name, "%s/%s", mete__fit_node(stage->fit)->path, learnt[i]);
        double value = mete__metrics_get(&loop->metrics, name);
        if (!isnan(value))
            snprintf(text + used, sizeof text - used, "%s%s %.4g", used ? "  " : "", learnt[i],
                     value);
    }
    loop->sinks.progress(loop->sinks.user, stage->name, loop->done, loop->total, text);
}

static void
measure_batch(mete__loop *loop, const mete_batch *batch)
{
    mete__metrics *metrics = &loop->metrics;
    double ended = 0, length = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        bool over = batch->terminated[i] || batch->truncated[i];
        ended += over;
        length += over ? batch->first_step[i] + batch->step_begin[i + 1] - batch->step_begin[i] : 0;
    }
    mete__metrics_add(metrics, (double)batch->episodes, "count/rows");
    mete__metrics_add(metrics, (double)batch->steps, "count/steps");
    if (ended > 0) {
        mete__metrics_add(metrics, ended, "count/episodes");
        mete__metrics_add(metrics, length / ended, "episode/length");
    }
}

static int
train_once(mete__loop *loop, const mete__stage *stage, mete_error *err)
{
    mete_params params = mete__loop_params(loop);
    double temperature =
        mete__schedule_at(&stage->temperature, (double)(loop->done - stage->first));
    const mete_batch *batch = mete__rollout_batch(&loop->train, &params, 0, temperature,
                                                  stage->responses, stage->against, err);
    if (!batch)
        return err->code;
    mete__timing_lap(loop, METE__LAP_ROLLOUT);
    measure_batch(loop, batch);
    bool scored = loop->reward && !stage->responses;
    bool sampled = loop->samples_every && loop->done % loop->samples_every == 0;
    mete__engine_notes(loop->engine, sampled ? METE__SAMPLES : 0);
    bool asked = scored || mete__asks_nodes(&stage->objective);
    int status = asked ? mete__score(loop->engine, loop->reward, batch, err) : METE_OK;
    mete__timing_lap(loop, METE__LAP_SCORE);
    if (!status && scored)
        mete__metrics_nodes(&loop->metrics, loop->engine, loop->reward, batch, "");
    if (!status && scored)
        status = mete__criteria_take(loop, batch, err);
    if (!status && scored)
        status = mete__attribute_scores(loop, batch, err);
    mete__timing_lap(loop, METE__LAP_ATTRIBUTION);
    mete__engine_notes(loop->engine, 0);
    if (!status && scored && sampled)
        status = mete__loop_samples(loop, batch, err);
    if (!status && scored)
        status = mete__watch_look(loop, batch, temperature, err);
    mete__timing_lap(loop, METE__LAP_WATCH);
    if (!status && loop->policy->info.gradient)
        status = mete__train_batch(loop, stage, batch, err);
    if (!status && scored)
        status = mete__update(loop->engine, loop->reward, batch, err);
    if (!status && scored)
        status = mete__policy_learn(loop->policy, batch, mete__node_scores(loop->reward), err);
    mete__timing_lap(loop, METE__LAP_LEARN);
    if (!status && scored)
        status = mete__watch_step(loop, batch, err);
    mete__timing_lap(loop, METE__LAP_WATCH);
    if (!status)
        mete__episodes_end(loop->engine, batch);
    return status;
}

static void
note_judged(mete__loop *loop, const mete__judged *judged)
{
    for (size_t i = 0; i < judged->metrics.count; i++)
        mete__metrics_set(&loop->metrics, judged->metrics.item[i].name,
                          judged->metrics.item[i].sum / (double)judged->metrics.item[i].count);
}

/* Held-out measurements before the first stage that samples (or the start), at each `every`, and
 * after the last iteration. */
static int
evaluate_if_due(mete__loop *loop, const mete__stage *begins, bool last, mete_error *err)
{
    const mete__snapshot_spec *reference = NULL;
    for (size_t i = 0; i < loop->snapshots; i++)
        if (strcmp(loop->snapshot[i].name, "reference") == 0)
            reference = &loop->snapshot[i];
    bool first = begins && reference && reference->taken && loop->before.metrics.count == 0;
    bool due = last || first ||
               (loop->evaluate_every && loop->done && loop->done % loop->evaluate_every == 0);
    if (!loop->evaluates || !due)
        return METE_OK;
    if (reference && !reference->taken) /* until then it is the policy itself */
        mete__engine_snapshot(loop->engine, reference->name, loop->policy, loop->parameter,
                              loop->version);
    int status = mete__evaluate(loop, first ? &loop->before : &loop->after, err);
    const mete__judged *judged = first ? &loop->before : &loop->after;
    if (!status)
        note_judged(loop, judged);
    return status;
}

int
mete__loop_step(mete__loop *loop, mete_error *err)
{
    mete__stage *stage = stage_at(loop, loop->done);
    if (!stage)
        return METE_OK;
    bool begins = loop->done == stage->first, stop = false;
    mete__metrics_clear(&loop->metrics);
    mete__timing_begin(loop);
    mete__engine_reset(loop->engine);
    mete__engine_iteration(loop->engine, loop->done);
    mete__watch_weigh(loop);
    if (begins && loop->sinks.event)
        loop->sinks.event(loop->sinks.user, "stage", stage->name);
    if (!stage->evaluate && !stage->fit)
        begin_stage(loop, stage, begins);
    int status = take_snapshots(loop, begins ? stage : NULL, err);
    if (!status)
        status = evaluate_if_due(loop, begins ? stage : NULL, false, err);
    if (!status && begins && loop->policy)
        status = mete__curriculum_begin(loop, stage, err);
    mete__timing_lap(loop, METE__LAP_EVALUATE);
    if (!status)
        status = stage->fit        ? mete__fit_once(loop, stage, &stop, err)
                 : stage->evaluate ? mete__evaluate(loop, &loop->after, err)
                                   : train_once(loop, stage, err);
    if (stage->evaluate)
        mete__timing_lap(loop, METE__LAP_EVALUATE);
    if (!status && stage->evaluate)
        note_judged(loop, &loop->after);
    uint64_t next = stop ? stage->first + stage->count : loop->done + 1;
    if (mete__watch_stops(loop))
        next = loop->total;
    bool last = next == loop->total;
    if (!status && last) {
        mete__loop_announce(loop);
        status = evaluate_if_due(loop, NULL, true, err);
        mete__timing_lap(loop, METE__LAP_EVALUATE);
    }
    if (!status)
        status = mete__criteria_tell(loop, last, err);
    mete__timing_usage(loop);
    if (!status)
        status = write_metrics(loop, stage, err);
    if (!status)
        status = mete__timing_end(loop, stage, err);
    if (status) {
        char message[sizeof err->message];
        snprintf(message, sizeof message, "%s", err->message);
        return mete_error_set(err, status, "iteration %llu of stage '%s': %s",
                              (unsigned long long)loop->done, stage->name, message);
    }
    loop->done = next;
    tell_progress(loop, stage);
    if (last)
        mete__watch_end(loop);
    return METE_OK;
}
