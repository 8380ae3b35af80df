/* stages.c - reads what a run does, in which order: stages, optimisers, snapshots, evaluation. */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STAGES 1000

/* The default where a stage or the run does not say: Adam of Kingma & Ba 2015. */
static void
read_optimiser(mete__value *value, mete__stage *stage, mete__errors *errors)
{
    static const char *const words = "sgd|adam|adamw";
    mete__optimiser *o = &stage->optimiser;
    *o = (mete__optimiser){
        .kind = METE__ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip_norm = 0.5};
    stage->rate = mete__schedule_constant(3e-4);
    if (!value)
        return;
    if (value->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: %s must be a group { use = \"adam\"; rate = ...; }",
                         value->file, value->line, value->path);
        return;
    }
    o->kind = (mete__optimiser_kind)mete__value_enum(value, "use", METE__ADAM, words, errors);
    if (o->kind == METE__ADAMW)
        o->weight_decay = 0.01;
    if (o->kind == METE__SGD)
        o->beta1 = 0;
    mete__value *rate = mete__value_get(value, "rate");
    if (rate)
        mete__schedule_read(rate, &stage->rate, errors);
    o->beta1 = mete__value_real(value, o->kind == METE__SGD ? "momentum" : "beta1", o->beta1, 0, 1,
                                errors);
    o->beta2 = mete__value_real(value, "beta2", o->beta2, 0, 1, errors);
    o->epsilon = mete__value_real(value, "epsilon", o->epsilon, 0, 1, errors);
    o->weight_decay = mete__value_real(value, "weight_decay", o->weight_decay, 0, 1e6, errors);
    o->clip_norm = mete__value_real(value, "clip_norm", o->clip_norm, 0, 1e12, errors);
    mete__value_unknown(value, "use rate momentum beta1 beta2 epsilon weight_decay clip_norm",
                        errors);
}

static mete__stage *
stage_new(mete__loop *loop, const char *name, uint64_t count, mete__errors *errors)
{
    if (loop->stages == MOST_STAGES) {
        mete__errors_add(errors, "stages: more than %d", MOST_STAGES);
        return NULL;
    }
    mete__stage *grown = realloc(loop->stage, (loop->stages + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    loop->stage = grown;
    mete__stage *stage = &grown[loop->stages++];
    memset(stage, 0, sizeof *stage);
    stage->name = strdup(name);
    stage->first = loop->total;
    stage->count = count;
    stage->temperature = mete__schedule_constant(1);
    loop->total += count;
    return stage;
}

/* A temperature of sampling, or its schedule. */
static void
read_temperature(mete__value *group, mete__schedule *out, mete__errors *errors)
{
    mete__value *value = mete__value_get(group, "temperature");
    if (value && mete__schedule_read(value, out, errors) == METE_OK &&
        (fmin(out->from, out->to) < 0.01 || fmax(out->from, out->to) > 100))
        mete__errors_add(errors, "%s:%d: %s is outside [0.01, 100]", value->file, value->line,
                         value->path);
}

static void read_list(mete__loop *loop, mete__value *list, mete__errors *errors);

static void
read_stage(mete__loop *loop, mete__value *group, mete__errors *errors)
{
    mete__value *root = mete__config_root(loop->config), *inner, *value;
    if (group->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: %s must be a group { do = \"train\"; ... }", group->file,
                         group->line, group->path);
        return;
    }
    if ((inner = mete__value_get(group, "stages"))) {
        int64_t repeat = mete__value_int(group, "repeat", 1, 1, MOST_STAGES, errors);
        mete__value_unknown(group, "repeat stages", errors);
        for (int64_t i = 0; i < repeat && loop->stages < MOST_STAGES; i++)
            read_list(loop, inner, errors);
        return;
    }
    static const char *const deeds = "train|evaluate|fit|refine";
    static const char *const deed[] = {"train", "evaluate", "fit", "refine"};
    int what = mete__value_enum(group, "do", 0, deeds, errors);
    bool evaluate = what == 1;
    const char *name = mete__value_string(group, "name", deed[what], errors);
    mete__value *run = mete__value_get(root, "run");
    int64_t whole = run ? mete__value_int(run, "iterations", 100, 0, INT64_MAX / 4, errors) : 100;
    int64_t count = mete__value_int(group, "iterations", evaluate || what == 3 ? 1 : whole, 0,
                                    INT64_MAX / 4, errors);
    mete__stage *stage = stage_new(loop, name, (uint64_t)count, errors);
    if (!stage)
        return;
    stage->evaluate = evaluate;
    if (what >= 2) {
        loop->total -= stage->count;
        stage->fit = mete__fit_read(loop, group, what == 3, stage, errors);
        loop->total += stage->count;
        return;
    }
    if (evaluate) {
        mete__value_unknown(group, "do name iterations", errors);
        return;
    }
    value = mete__value_get(group, "objective");
    mete__objective_read(loop->config, value ? value : mete__value_get(root, "objective"),
                         &stage->objective, errors);
    value = mete__value_get(group, "optimiser");
    read_optimiser(value ? value : mete__value_get(root, "optimiser"), stage, errors);
    const char *responses = mete__value_string(group, "responses", NULL, errors);
    stage->responses = responses ? strdup(responses) : NULL;
    const char *against = mete__value_string(group, "against", NULL, errors);
    stage->against = against ? strdup(against) : NULL;
    read_temperature(group, &stage->temperature, errors);
    stage->curriculum = mete__curriculum_read(loop, group, errors);
    mete__value_unknown(
        group, "curriculum do name iterations objective optimiser responses against temperature",
        errors);
}

static void
read_list(mete__loop *loop, mete__value *list, mete__errors *errors)
{
    if (list->kind != METE__LIST) {
        mete__errors_add(errors, "%s:%d: %s must be a list ( { do = \"train\"; ... }, ... )",
                         list->file, list->line, list->path);
        return;
    }
    for (mete__value *item = list->first; item; item = item->next) {
        item->used = true;
        read_stage(loop, item, errors);
    }
}

static void
read_snapshot(mete__loop *loop, const char *name, const char *at, mete__value *group,
              mete__errors *errors)
{
    mete__snapshot_spec *grown = realloc(loop->snapshot, (loop->snapshots + 1) * sizeof *grown);
    if (!grown)
        return;
    loop->snapshot = grown;
    mete__snapshot_spec *snapshot = &grown[loop->snapshots++];
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->name = strdup(name);
    if (group) {
        at = mete__value_string(group, "at", "start", errors);
        snapshot->decay = mete__value_real(group, "decay", 0, 0, 1, errors);
        snapshot->every = (uint64_t)mete__value_int(group, "every", 0, 0, INT64_MAX / 4, errors);
        mete__value_unknown(group, "at decay every", errors);
        bool known = strcmp(at, "start") == 0;
        for (size_t i = 0; i < loop->stages; i++)
            known |= strcmp(loop->stage[i].name, at) == 0;
        if (!known)
            mete__errors_add(errors, "%s:%d: %s.at = \"%s\" names no stage (nor \"start\")",
                             group->file, group->line, group->path, at);
    }
    snapshot->at = strdup(at);
}

/* Does the stage learn from given texts alone, asking no reference? */
static bool
imitates(const mete__stage *stage)
{
    return stage->responses &&
           !(stage->objective.terms & (METE__TERM_PAIR | METE__TERM_IMPLICIT | METE__TERM_KL));
}

/* "reference" is there whether the config says so or not: the policy as the first stage finds it
 * that samples, or compares with a reference. */
static void
read_snapshots(mete__loop *loop, mete__errors *errors)
{
    mete__value *group = mete__value_get(mete__config_root(loop->config), "snapshots");
    bool reference = false;
    for (mete__value *item = group && group->kind == METE__GROUP ? group->first : NULL; item;
         item = item->next) {
        item->used = true;
        reference |= strcmp(item->name, "reference") == 0;
        if (item->kind == METE__GROUP)
            read_snapshot(loop, item->name, NULL, item, errors);
        else
            mete__errors_add(errors, "%s:%d: %s must be a group { at = \"start\"; }", item->file,
                             item->line, item->path);
    }
    if (group && group->kind != METE__GROUP)
        mete__errors_add(errors, "%s:%d: snapshots must be a group", group->file, group->line);
    size_t first = 0;
    while (first + 1 < loop->stages &&
           (imitates(&loop->stage[first]) || loop->stage[first].evaluate || loop->stage[first].fit))
        first++;
    if (!reference && loop->stages)
        read_snapshot(loop, "reference", loop->stage[first].name, NULL, errors);
}

static void
read_evaluate(mete__loop *loop, mete__errors *errors)
{
    mete__value *group = mete__value_get(mete__config_root(loop->config), "evaluate");
    if (loop->stages) /* as the policy is sampled in the end */
        loop->evaluate_temperature = mete__schedule_constant(
            mete__schedule_at(&loop->stage[loop->stages - 1].temperature, 1e18));
    if (!group)
        return;
    loop->evaluates = true;
    loop->evaluate_every = (uint64_t)mete__value_int(group, "every", 0, 0, INT64_MAX / 4, errors);
    loop->evaluate_episodes = (uint64_t)mete__value_int(group, "episodes", 64, 1, 10000000, errors);
    loop->evaluate_group = (size_t)mete__value_int(group, "group", 1, 1, 64, errors);
    loop->evaluate_greedy = mete__value_bool(group, "greedy", false, errors);
    loop->evaluate_responses = mete__value_string(group, "responses", NULL, errors);
    read_temperature(group, &loop->evaluate_temperature, errors);
    mete__value_unknown(group, "every episodes greedy responses temperature", errors);
}

void
mete__stages_read(mete__loop *loop, mete__errors *errors)
{
    mete__value *root = mete__config_root(loop->config);
    mete__value *list = mete__value_get(root, "stages");
    mete__value *run = mete__value_get(root, "run");
    if (list) {
        read_list(loop, list, errors);
    } else {
        int64_t count =
            run ? mete__value_int(run, "iterations", 100, 0, INT64_MAX / 4, errors) : 100;
        mete__stage *stage = stage_new(loop, "train", (uint64_t)count, errors);
        if (stage) {
            mete__objective_read(loop->config, mete__value_get(root, "objective"),
                                 &stage->objective, errors);
            read_optimiser(mete__value_get(root, "optimiser"), stage, errors);
        }
    }
    if (!loop->stages && !errors->count)
        mete__errors_add(errors, "stages: there are none");
    read_snapshots(loop, errors);
    read_evaluate(loop, errors);
    loop->max_failed = run ? mete__value_real(run, "max_failed", 0.5, 0, 1, errors) : 0.5;
    loop->attribution_every =
        run ? (uint64_t)mete__value_int(run, "attribution_every", 50, 0, INT64_MAX / 4, errors)
            : 50;
    loop->criteria_every =
        run ? (uint64_t)mete__value_int(run, "criteria_every", 50, 0, INT64_MAX / 4, errors) : 50;
    loop->samples_every =
        run ? (uint64_t)mete__value_int(run, "samples_every", 25, 0, INT64_MAX / 4, errors) : 25;
}
