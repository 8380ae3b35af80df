/* curriculum.c - before a stage: which tasks and which criteria it learns from (the incremental
 * filters of ORBIT, "InfiMed-ORBIT", 2025, arXiv:2510.15859).
 *
 *   curriculum = { rollouts = 8; lo = 0.1; hi = 0.9; met = 0.9; node = "rubric"; };
 *
 * Every task is answered `rollouts` times by the policy as it stands. A task stays if the mean of
 * the node's values over its answers is within [lo, hi], or if none has a value; of a prompt's
 * criteria those are left out that its answers met, in the mean, by more than `met`. Parts of trees
 * stay, and where no criterion with positive points would, all of the prompt's do. Nothing is
 * learnt meanwhile, and held-out episodes are judged by all criteria. What was chosen holds until
 * the next stage, and is in the checkpoint. */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mete__curriculum {
    uint64_t rollouts;
    double lo, hi, met;
    mete_node *node;
};

/* What a measurement found so far. */
typedef struct found {
    const struct mete__curriculum *c;
    double *sum;              /* [tasks] */
    uint64_t *seen, *counted; /* [tasks] answers, and those with a value */
    uint64_t tasks, rollouts, criteria, left;
    uint64_t **out; /* [nodes] by generator: hashes of criteria left out */
    size_t *outs;
    mete_node *const *node;
    size_t nodes;
} found;

/* ---- reading --------------------------------------------------------------------------------- */

struct mete__curriculum *
mete__curriculum_read(mete__loop *loop, mete__value *group, mete__errors *errors)
{
    mete__value *value = mete__value_get(group, "curriculum");
    size_t before = errors->count;
    if (!value)
        return NULL;
    struct mete__curriculum *c = calloc(1, sizeof *c);
    if (!c || value->kind != METE__GROUP) {
        mete__errors_add(errors,
                         "%s:%d: %s must be a group { rollouts = ...; lo = ...; hi = ...; }",
                         value->file, value->line, value->path);
        return c;
    }
    c->rollouts = (uint64_t)mete__value_int(value, "rollouts", 8, 1, 1 << 20, errors);
    c->lo = mete__value_real(value, "lo", -1e300, -1e300, 1e300, errors);
    c->hi = mete__value_real(value, "hi", 1e300, -1e300, 1e300, errors);
    c->met = mete__value_real(value, "met", 1, 0, 1, errors);
    const char *name = mete__value_string(value, "node", NULL, errors);
    mete__value_unknown(value, "rollouts lo hi met node", errors);
    c->node = name ? mete__engine_find(loop->engine, *name == '@' ? name + 1 : name) : loop->reward;
    if (!c->node || c->node->kind != METE_KIND_REWARD)
        mete__errors_add(errors, "%s:%d: %s.node = \"%s\" names no reward", value->file,
                         value->line, value->path, name ? name : "");
    if (errors->count == before && c->lo > c->hi)
        mete__errors_add(errors, "%s:%d: %s: lo = %g is above hi = %g", value->file, value->line,
                         value->path, c->lo, c->hi);
    return c;
}

void
mete__curriculum_check(const mete__loop *loop, const mete__stage *stage, mete__errors *errors)
{
    const struct mete__curriculum *c = stage->curriculum;
    const mete__rollout *r = &loop->train;
    if (!c)
        return;
    if (r->lanes % c->rollouts)
        mete__errors_add(errors,
                         "stage '%s': env.lanes = %zu must be a multiple of curriculum.rollouts = "
                         "%llu",
                         stage->name, r->lanes, (unsigned long long)c->rollouts);
    if (!r->environment->spaces.tasks || r->environment->spaces.tasks > UINT32_MAX)
        mete__errors_add(errors,
                         "stage '%s': curriculum: environment '%s' has no numbered tasks to choose "
                         "from",
                         stage->name, r->environment->plugin->as.head.name);
    if (!r->environment->spaces.single_turn && r->steps)
        mete__errors_add(errors,
                         "stage '%s': curriculum: with env.steps lanes go on to the next task by "
                         "themselves; leave env.steps out, for whole episodes",
                         stage->name);
    if (r->tasks)
        mete__errors_add(errors, "stage '%s': a curriculum and weighted tasks cannot both choose",
                         stage->name);
    if (stage->responses)
        mete__errors_add(errors, "stage '%s': a curriculum is for stages that sample", stage->name);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void
take_values(found *f, const mete_batch *batch)
{
    const mete_scores *scores = mete__node_scores(f->c->node);
    for (size_t i = 0; scores && i < batch->episodes; i++) {
        uint64_t task = batch->task_id[i];
        if (task >= f->tasks || f->seen[task]++ >= f->c->rollouts)
            continue; /* begun anew, to fill the last batch */
        f->rollouts++;
        f->counted[task] += !scores->status[i];
        f->sum[task] += scores->status[i] ? 0 : scores->episode[i];
    }
}

/* The mean of criterion k over the rows of group g whose grade is known; NaN: none is. */
static double
pass_of(const mete_node *node, const mete_batch *batch, size_t g, size_t k)
{
    double sum = 0, count = 0;
    for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++) {
        const mete__graded *row = mete__node_graded(node, i);
        if (row && !isnan(row->grade[k])) {
            sum += row->grade[k];
            count++;
        }
    }
    return sum / count;
}

static bool
leave(found *f, size_t generator, uint64_t hash)
{
    uint64_t *grown = realloc(f->out[generator], (f->outs[generator] + 1) * sizeof *grown);
    if (!grown)
        return false;
    f->out[generator] = grown;
    grown[f->outs[generator]++] = hash;
    return true;
}

/* The criteria of group g that node number `at` has met too often, by its generators. */
static bool
take_group(found *f, const mete_batch *batch, size_t at, size_t g)
{
    const mete__graded *row = mete__node_graded(f->node[at], batch->group[g]);
    size_t stay = 0, left = 0;
    if (!row)
        return true;
    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; k < row->count; k++) {
            const mete_criterion *criterion = &row->item[k];
            bool often = criterion->parent < 0 && criterion->kind != METE_CRITERION_PARTS &&
                         pass_of(f->node[at], batch, g, k) > f->c->met;
            if (!pass) {
                stay += !often && row->points[k] > 0;
                continue;
            }
            f->criteria++;
            if (!often || !stay)
                continue;
            left++;
            uint64_t hash = mete_hash_mix(batch->prompt_id[batch->group[g]],
                                          mete__criterion_identity(criterion));
            for (size_t n = 0; n < f->nodes; n++)
                if (f->node[n]->kind == METE_KIND_RUBRIC && f->node[n]->parent == f->node[at] &&
                    !leave(f, n, hash))
                    return false;
        }
    f->left += left;
    return true;
}

static bool
take_criteria(found *f, const mete__loop *loop, const mete_batch *batch)
{
    for (size_t n = 0; n < f->nodes; n++)
        for (size_t g = 0; g < batch->groups; g++)
            if (mete__measured(f->node[n], loop->reward) && !f->node[n]->gold &&
                !take_group(f, batch, n, g))
                return false;
    return true;
}

/* All tasks' answers. The rollout is as it was before, when it is done. */
static int
measure(mete__loop *loop, const mete__stage *stage, found *f, mete_error *err)
{
    mete__rollout *r = &loop->train;
    uint64_t collected = r->collected, id_base = r->id_base;
    size_t group = r->group;
    uint64_t *all = malloc(f->tasks * sizeof *all);
    mete_params params = mete__loop_params(loop);
    int status = all ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory for tasks");
    for (uint64_t i = 0; all && i < f->tasks; i++)
        all[i] = i;
    r->id_base = ((uint64_t)1 << 61) + (stage->first << 32); /* no other episode has such an id */
    r->group = (size_t)f->c->rollouts;
    r->collected = 0;
    r->only = all;
    r->onlys = (size_t)f->tasks;
    while (!status && r->collected * (r->lanes / r->group) < f->tasks) {
        mete__engine_reset(loop->engine);
        const mete_batch *batch = mete__rollout_batch(
            r, &params, 0, mete__schedule_at(&stage->temperature, 0), NULL, NULL, err);
        status = batch ? mete__score(loop->engine, loop->reward, batch, err) : err->code;
        if (!status && f->c->met < 1 && !take_criteria(f, loop, batch))
            status = mete_error_set(err, METE_ENOMEM, "out of memory for criteria");
        if (!status)
            take_values(f, batch);
    }
    mete__engine_reset(loop->engine);
    r->id_base = id_base;
    r->group = group;
    r->collected = collected;
    r->only = NULL;
    r->onlys = 0;
    free(all);
    return status;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static int
choose(mete__loop *loop, const found *f, mete_error *err)
{
    mete__rollout *r = &loop->train;
    uint64_t low = 0, high = 0, unscored = 0;
    loop->chosen = malloc((f->tasks + 1) * sizeof *loop->chosen);
    if (!loop->chosen)
        return mete_error_set(err, METE_ENOMEM, "out of memory for tasks");
    size_t count = 0;
    for (uint64_t i = 0; i < f->tasks; i++) {
        double mean = f->sum[i] / (double)f->counted[i];
        unscored += !f->counted[i];
        low += mean < f->c->lo;
        high += mean > f->c->hi;
        if (!(mean < f->c->lo || mean > f->c->hi))
            loop->chosen[count++] = i;
    }
    const struct {
        const char *name;
        uint64_t value;
    } told[] = {{"tasks", f->tasks},       {"kept", count},        {"too_low", low},
                {"too_high", high},        {"unscored", unscored}, {"rollouts", f->rollouts},
                {"criteria", f->criteria}, {"left_out", f->left}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        mete__metrics_add(&loop->metrics, (double)told[i].value, "curriculum/%s", told[i].name);
    if (!count)
        return mete_error_set(err, METE_EDATA,
                              "the curriculum keeps none of %llu tasks: %llu are below lo = %g, "
                              "%llu above hi = %g",
                              (unsigned long long)f->tasks, (unsigned long long)low, f->c->lo,
                              (unsigned long long)high, f->c->hi);
    r->only = loop->chosen;
    r->onlys = count;
    for (size_t n = 0; n < f->nodes; n++)
        if (f->outs[n] && !mete__rubric_leave_out(f->node[n], f->out[n], f->outs[n]))
            return mete_error_set(err, METE_ENOMEM, "out of memory for criteria");
    return METE_OK;
}

static void
forget(mete__loop *loop)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    free(loop->chosen);
    loop->chosen = NULL;
    loop->train.only = NULL;
    loop->train.onlys = 0;
    for (size_t n = 0; n < nodes; n++)
        if (node[n]->kind == METE_KIND_RUBRIC)
            mete__rubric_leave_out(node[n], NULL, 0);
}

int
mete__curriculum_begin(mete__loop *loop, const mete__stage *stage, mete_error *err)
{
    forget(loop);
    if (!stage->curriculum)
        return METE_OK;
    found f = {.c = stage->curriculum, .tasks = loop->train.environment->spaces.tasks};
    f.node = mete__engine_nodes(loop->engine, &f.nodes);
    f.sum = calloc(f.tasks + 1, sizeof *f.sum);
    f.seen = calloc(f.tasks + 1, sizeof *f.seen);
    f.counted = calloc(f.tasks + 1, sizeof *f.counted);
    f.out = calloc(f.nodes + 1, sizeof *f.out);
    f.outs = calloc(f.nodes + 1, sizeof *f.outs);
    int status = f.sum && f.seen && f.counted && f.out && f.outs
                     ? METE_OK
                     : mete_error_set(err, METE_ENOMEM, "out of memory for tasks");
    if (!status)
        status = measure(loop, stage, &f, err);
    if (!status)
        status = choose(loop, &f, err);
    for (size_t n = 0; f.out && n < f.nodes; n++)
        free(f.out[n]);
    free(f.sum);
    free(f.seen);
    free(f.counted);
    free(f.out);
    free(f.outs);
    return status;
}

/* ---- saving ---------------------------------------------------------------------------------- */

int
mete__curriculum_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err)
{
    size_t nodes, count;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    int status = METE_OK;
    if (loop->chosen)
        status = mete__checkpoint_add(to, "curriculum/tasks", METE_I64, loop->train.onlys,
                                      loop->chosen, err);
    for (size_t n = 0; n < nodes && !status; n++) {
        const uint64_t *left = mete__rubric_left_out(node[n], &count);
        char name[700];
        snprintf(name, sizeof name, "curriculum/left_out/%s", node[n]->path);
        if (count)
            status = mete__checkpoint_add(to, name, METE_I64, count, left, err);
    }
    return status;
}

int
mete__curriculum_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err)
{
    size_t nodes, count = SIZE_MAX;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    const uint64_t *task = mete__checkpoint_get(from, "curriculum/tasks", METE_I64, &count);
    bool good = true;
    forget(loop);
    if (task && count && (loop->chosen = malloc(count * sizeof *loop->chosen))) {
        memcpy(loop->chosen, task, count * sizeof *task);
        loop->train.only = loop->chosen;
        loop->train.onlys = count;
    }
    good = !task || loop->chosen;
    for (size_t n = 0; n < nodes && good; n++) {
        char name[700];
        snprintf(name, sizeof name, "curriculum/left_out/%s", node[n]->path);
        count = SIZE_MAX;
        const uint64_t *left = mete__checkpoint_get(from, name, METE_I64, &count);
        good = !left || mete__rubric_leave_out(node[n], left, count);
    }
    return good ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory for a curriculum");
}

void
mete__curriculum_free(mete__loop *loop)
{
    for (size_t i = 0; i < loop->stages; i++)
        free(loop->stage[i].curriculum);
    free(loop->chosen);
}
