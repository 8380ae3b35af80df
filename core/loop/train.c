/* train.c - one accepted batch: what counts in it, and what is learnt from it. */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---------------------------------------------------------------------------------- */

void
mete__work_free(struct mete__work *w)
{
    if (!w)
        return;
    void *all[] = {w->reward,     w->advantage,    w->stream,      w->target,      w->value,
                   w->last,       w->row,          w->reference,   w->use,         w->valid,
                   w->flat,       w->stream_valid, w->weight,      w->index,       w->unit,
                   w->unit_p,     w->unit_scale,   w->query,       w->row_begin,   w->pair_p,
                   w->pair_scale, w->m_old,        w->m_reference, w->m_advantage, w->m_weight,
                   w->m_value,    w->m_target,     w->o_logp,      w->o_value,     w->o_entropy,
                   w->a_logp,     w->a_value,      w->a_entropy,   w->piece};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    for (size_t k = 0; k < METE__SHARDS; k++) {
        mete_tape_free(w->shard[k].tape);
        mete_tape_free(w->shard[k].teacher_tape);
        free(w->shard[k].logits);
        free(w->shard[k].logits_adjoint);
        free(w->shard[k].teacher);
        if (k)
            free(w->shard[k].grad);
    }
    free(w);
}

static bool
open_shards(struct mete__work *w, mete__loop *loop)
{
    for (size_t k = 0; k < METE__SHARDS; k++) {
        mete__shard *shard = &w->shard[k];
        shard->tape = mete_tape_new();
        shard->teacher_tape = mete_tape_new();
        shard->grad = k ? calloc(loop->parameters + 1, sizeof(float)) : loop->grad;
        if (!shard->tape || !shard->teacher_tape || !shard->grad)
            return false;
    }
    return true;
}

struct mete__work *
mete__work_for(mete__loop *loop, const mete_batch *batch, mete_error *err)
{
    struct mete__work *w = loop->work;
    size_t heads = batch->heads ? batch->heads : 1;
    if (w && w->steps >= batch->steps && w->rows >= batch->episodes)
        return w;
    mete__work_free(w);
    loop->work = w = calloc(1, sizeof *w);
    size_t n = batch->steps + batch->steps / 2 + 64;
    size_t rows = batch->episodes + batch->episodes / 2 + 64;
    bool good = w && open_shards(w, loop);
    if (good) {
        w->steps = n;
        w->rows = rows;
        good =
            (w->reward = calloc(n, sizeof(double))) && (w->advantage = calloc(n, sizeof(double))) &&
            (w->stream = calloc(n, sizeof(double))) &&
            (w->target = calloc(n * heads, sizeof(double))) &&
            (w->value = calloc(n, sizeof(double))) && (w->last = calloc(rows, sizeof(double))) &&
            (w->row = calloc(rows, sizeof(double))) && (w->reference = calloc(n, sizeof(float))) &&
            (w->use = calloc(n, 1)) && (w->valid = calloc(rows, 1)) &&
            (w->flat = calloc(rows, 1)) && (w->stream_valid = calloc(rows, 1)) &&
            (w->index = calloc(n, sizeof(uint32_t))) && (w->weight = calloc(n, sizeof(float)));
    }
    if (!good)
        mete_error_set(err, METE_ENOMEM, "out of memory for a batch of %zu steps", batch->steps);
    return good ? w : NULL;
}

/* ---- which rows count ------------------------------------------------------------------------ */

static int
too_many_failed(mete__loop *loop, const mete_batch *batch, size_t failed, size_t first,
                mete_error *err)
{
    /* The reason stands at the node that failed, which may be below the root. */
    const char *reason = mete__node_reason(loop->reward, first);
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t i = 0; i < nodes && !*reason; i++)
        if (node[i]->kind == METE_KIND_REWARD)
            reason = mete__node_reason(node[i], first);
    return mete_error_set(err, METE_EDATA,
                          "%zu of %zu episodes could not be scored, more than run.max_failed = %g "
                          "allows; the first: %s",
                          failed, batch->episodes, loop->max_failed,
                          *reason ? reason : "no reason given");
}

int
mete__check_failed(mete__loop *loop, const mete_batch *batch, mete__metrics *metrics,
                   const char *name, mete_error *err)
{
    const mete_scores *scores = mete__node_scores(loop->reward);
    size_t failed = 0, first = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        if (scores->status[i] > METE_NOT_APPLICABLE && failed++ == 0)
            first = i;
    if (failed)
        mete__metrics_add(metrics, (double)failed, "%s", name);
    if (batch->episodes && (double)failed > loop->max_failed * (double)batch->episodes)
        return too_many_failed(loop, batch, failed, first, err);
    return METE_OK;
}

static int
count_rows(mete__loop *loop, const mete_batch *batch, bool scored, mete_error *err)
{
    struct mete__work *w = loop->work;
    const mete_scores *scores = scored ? mete__node_scores(loop->reward) : NULL;
    size_t masked = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        w->valid[i] = !(scores && scores->status[i]) && !(batch->masked && batch->masked[i]);
        w->flat[i] = 0;
        masked += !w->valid[i];
    }
    if (masked)
        mete__metrics_add(&loop->metrics, (double)masked, "count/masked");
    return scored ? mete__check_failed(loop, batch, &loop->metrics, "count/failed", err) : METE_OK;
}

/* ---- filters: which of the sampled rows are learnt from -------------------------------------- */

/* The best row of each group (the first of equals), or the rows that reach a reward. */
static void
keep_rows(const mete__objective *o, const mete_batch *batch, const double *score, uint8_t *valid)
{
    if (o->keep == METE__KEEP_THRESHOLD)
        for (size_t i = 0; i < batch->episodes; i++)
            valid[i] &= score[i] >= o->keep_above;
    if (o->keep != METE__KEEP_BEST)
        return;
    for (size_t g = 0; g < batch->groups; g++) {
        size_t best = SIZE_MAX;
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            if (valid[i] && (best == SIZE_MAX || score[i] > score[best]))
                best = i;
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            valid[i] &= i == best;
    }
}

/* ---- units: rows, or pairs of rows ----------------------------------------------------------- */

static bool
add_unit(struct mete__work *w, size_t a, size_t b, bool pair)
{
    if (w->unit_rows + 2 > w->unit_room) {
        size_t room = w->unit_room ? 2 * w->unit_room : 256;
        uint32_t *unit = realloc(w->unit, room * sizeof *unit);
        float *p = realloc(w->unit_p, room * sizeof *p);
        float *scale = realloc(w->unit_scale, room * sizeof *scale);
        w->unit = unit ? unit : w->unit;
        w->unit_p = p ? p : w->unit_p;
        w->unit_scale = scale ? scale : w->unit_scale;
        if (!unit || !p || !scale)
            return false;
        w->unit_room = room;
    }
    w->unit_scale[w->units] = 1;
    w->unit_p[w->units++] = 1;
    w->unit[w->unit_rows++] = (uint32_t)a;
    if (pair)
        w->unit[w->unit_rows++] = (uint32_t)b;
    return true;
}

/* Is i followed by j when a group's valid rows stand by falling reward? */
static bool
next_in_rank(const mete_batch *batch, size_t g, const double *score, const uint8_t *valid, size_t i,
             size_t j)
{
    for (size_t k = batch->group[g]; k < batch->group[g + 1]; k++)
        if (valid[k] && score[k] < score[i] && score[k] > score[j])
            return false;
    return true;
}

static bool
group_pairs(struct mete__work *w, const mete__objective *o, const mete_batch *batch, size_t g,
            const double *score)
{
    size_t from = batch->group[g], to = batch->group[g + 1], best = SIZE_MAX, worst = SIZE_MAX;
    bool good = true;
    for (size_t i = from; i < to && good; i++) {
        if (!w->valid[i])
            continue;
        best = best == SIZE_MAX || score[i] > score[best] ? i : best;
        worst = worst == SIZE_MAX || score[i] < score[worst] ? i : worst;
        for (size_t j = from; j < to && good && o->pairing != METE__PAIR_BEST_WORST; j++) {
            if (!w->valid[j] || score[i] <= score[j] || score[i] - score[j] < o->pair_gap ||
                (o->pairing == METE__PAIR_NEXT && !next_in_rank(batch, g, score, w->valid, i, j)))
                continue;
            good = add_unit(w, i, j, true);
        }
    }
    if (o->pairing == METE__PAIR_BEST_WORST && best != SIZE_MAX && score[best] > score[worst] &&
        score[best] - score[worst] >= o->pair_gap)
        good = add_unit(w, best, worst, true);
    return good;
}

bool
mete__pair_groups(struct mete__work *w, const mete__objective *o, const mete_batch *batch,
                  const double *score)
{
    bool good = true;
    w->units = w->unit_rows = 0;
    for (size_t g = 0; g < batch->groups && good; g++)
        good = group_pairs(w, o, batch, g, score);
    return good;
}

static bool
find_units(struct mete__work *w, const mete__stage *stage, const mete_batch *batch,
           const double *score)
{
    const mete__objective *o = &stage->objective;
    bool good = true;
    w->units = w->unit_rows = 0;
    if (!(o->terms & METE__TERM_PAIR)) {
        for (size_t i = 0; i < batch->episodes && good; i++)
            if (w->valid[i] && !(o->drop_zero_variance && w->flat[i]))
                good = add_unit(w, i, 0, false);
        return good;
    }
    if (stage->against)
        for (size_t i = 0; i + 1 < batch->episodes && good; i += 2)
            good = !w->valid[i] || !w->valid[i + 1] || add_unit(w, i, i + 1, true);
    return good && (stage->against || mete__pair_groups(w, o, batch, score));
}

/* Each pair's beta by how much better the first is; the plain one where a side has no value. */
static void
scale_units(struct mete__work *w, const mete__objective *o, const mete_scores *scores)
{
    for (size_t k = 0; k < w->units; k++) {
        size_t a = w->unit[2 * k], b = w->unit[2 * k + 1];
        if (!scores->status[a] && !scores->status[b])
            w->unit_scale[k] = (float)mete__pair_scale(o, scores->episode[a] - scores->episode[b]);
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void
choose_steps(struct mete__work *w, const mete__objective *o, const mete_batch *batch)
{
    size_t rows = 0;
    w->count = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        bool use = w->valid[i] && !(o->drop_zero_variance && w->flat[i]);
        size_t steps = 0;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++) {
            w->use[t] = use && (!batch->loss_mask || batch->loss_mask[t]);
            if (!w->use[t])
                continue;
            w->index[w->count++] = (uint32_t)t;
            steps++;
        }
        rows += steps > 0;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
            w->weight[t] = steps ? 1.0f / (float)steps : 0;
    }
    /* Weights have mean 1 over the steps used, so a minibatch divides by its own size: steps count
     * alike, or rows do. */
    float scale = rows ? (float)((double)w->count / (double)rows) : 0;
    for (size_t k = 0; k < w->count; k++)
        w->weight[w->index[k]] = o->sequence_mean ? w->weight[w->index[k]] * scale : 1;
}

bool
mete__asks_nodes(const mete__objective *o)
{
    return *o->tokens || ((o->terms & METE__TERM_PAIR) && o->beta_gain > 0);
}

/* The node of that name, which was there when the config was read; "": the root. */
static const mete_node *
asked_node(const mete__loop *loop, const char *name)
{
    return *name ? mete__engine_find(loop->engine, name) : loop->reward;
}

int
mete__choose(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, mete_error *err)
{
    struct mete__work *w = loop->work;
    const mete__objective *o = &stage->objective;
    const mete_scores *scores = loop->reward ? mete__node_scores(loop->reward) : NULL;
    if (o->keep != METE__KEEP_ALL && scores)
        keep_rows(o, batch, scores->episode, w->valid);
    choose_steps(w, o, batch);
    if (!find_units(w, stage, batch, scores ? scores->episode : NULL))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu rows", batch->episodes);
    if ((o->terms & METE__TERM_PAIR) && o->beta_gain > 0)
        scale_units(w, o, mete__node_scores(asked_node(loop, o->beta_by)));
    mete__metrics_add(&loop->metrics, (double)w->count, "count/steps_used");
    if (o->terms & METE__TERM_PAIR)
        mete__metrics_add(&loop->metrics, (double)w->units, "count/pairs");
    return METE_OK;
}

/* ---- a batch --------------------------------------------------------------------------------- */

/* How far the sampled steps are from the reference, over the steps that count. */
static void
measure_reference(mete__loop *loop, const mete_batch *batch)
{
    const struct mete__work *w = loop->work;
    double k1 = 0, k3 = 0;
    size_t count = 0;
    for (size_t t = 0; t < batch->steps; t++) {
        if (!w->valid[batch->step_row[t]] || (batch->loss_mask && !batch->loss_mask[t]))
            continue;
        double x = (double)w->reference[t] - (double)batch->logp[t];
        k1 -= x;
        k3 += exp(fmin(x, 40)) - x - 1;
        count++;
    }
    if (!count)
        return;
    mete__metrics_add(&loop->metrics, k1 / (double)count, "policy/kl_reference_k1");
    mete__metrics_add(&loop->metrics, k3 / (double)count, "policy/kl_reference");
}

/* What the node `tokens` gives each step, in place of advantages; rows without a value get none. */
static int
take_tokens(mete__loop *loop, const mete__objective *o, const mete_batch *batch, mete_error *err)
{
    struct mete__work *w = loop->work;
    const mete_scores *scores = mete__node_scores(asked_node(loop, o->tokens));
    if (!scores->step)
        return mete_error_set(err, METE_EINVAL, "tokens = \"%s\" gives no values of single steps",
                              o->tokens);
    for (size_t t = 0; t < batch->steps; t++)
        w->advantage[t] = scores->status[batch->step_row[t]] ? 0 : scores->step[t];
    return METE_OK;
}

int
mete__train_batch(mete__loop *loop, const mete__stage *stage, const mete_batch *batch,
                  mete_error *err)
{
    const mete__objective *o = &stage->objective;
    bool scored = !stage->responses && loop->reward;
    struct mete__work *w = mete__work_for(loop, batch, err);
    if (!w)
        return err->code;
    int status = count_rows(loop, batch, scored, err);
    bool wants = scored && mete__watch_wants_kl(loop);
    if (o->terms & (METE__TERM_KL | METE__TERM_PAIR | METE__TERM_IMPLICIT) && !o->reference_free)
        wants = true;
    mete_params reference = mete__snapshot_params(loop, "reference");
    wants = wants && reference.vector;
    if (!status && wants)
        status = mete__logp_under(loop, &reference, batch, w->reference, err);
    if (!status && wants && batch->logp && !stage->responses)
        measure_reference(loop, batch);
    bool streams =
        !*o->tokens && (o->terms & (METE__TERM_RATIO | METE__TERM_VALUE | METE__TERM_IMPLICIT));
    if (!status && *o->tokens)
        status = take_tokens(loop, o, batch, err);
    if (!status && streams)
        status = mete__streams(loop, o, batch, (double)(loop->done - stage->first), err);
    if (!status)
        status = mete__choose(loop, stage, batch, err);
    if (status)
        return status;
    mete__timing_lap(loop, METE__LAP_LEARN);
    if (streams && scored)
        status = mete__attribute_advantage(loop, stage, batch, err);
    mete__timing_lap(loop, METE__LAP_ATTRIBUTION);
    if (status)
        return status;
    if (streams && o->normalise)
        mete__normalise(w->advantage, w->use, batch->steps, o->epsilon);
    for (size_t k = 0; streams && k < w->count; k++)
        if (!isfinite(w->advantage[w->index[k]]))
            return mete_error_set(err, METE_EPLUGIN, "the advantage of episode %llu is %g",
                                  (unsigned long long)batch->id[batch->step_row[w->index[k]]],
                                  w->advantage[w->index[k]]);
    return mete__learn(loop, stage, batch, err);
}
