/* train.c - one accepted batch: rewards to advantages, then epochs of minibatches. */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STREAMS 16
/* Steps in one minibatch when the objective does not say: bounds the tape. */
#define ASK_STEPS 4096

/* Arrays of the running batch, grown and kept. */
struct mete__work {
    size_t steps, rows, most;
    double *reward, *advantage, *stream, *target, *value, *last, *row;
    float *reference, *logp;
    uint8_t *use, *valid, *flat;
    uint32_t *index;
    float *weight;
    /* one minibatch, in its query's order */
    uint32_t *query;
    float *m_old, *m_reference, *m_advantage, *m_weight, *m_value, *m_target;
    float *o_logp, *o_value, *o_entropy, *a_logp, *a_value, *a_entropy;
};

void
mete__work_free(struct mete__work *w)
{
    if (!w)
        return;
    void *all[] = {w->reward,   w->advantage,   w->stream,      w->target,    w->value,
                   w->last,     w->row,         w->reference,   w->logp,      w->use,
                   w->valid,    w->flat,        w->index,       w->weight,    w->query,
                   w->m_old,    w->m_reference, w->m_advantage, w->m_weight,  w->m_value,
                   w->m_target, w->o_logp,      w->o_value,     w->o_entropy, w->a_logp,
                   w->a_value,  w->a_entropy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(w);
}

/* Arrays large enough for the batch; contents are not kept. */
static struct mete__work *
work_for(mete__loop *loop, const mete_batch *batch, size_t most)
{
    struct mete__work *w = loop->work;
    size_t heads = batch->heads ? batch->heads : 1;
    if (w && w->steps >= batch->steps && w->rows >= batch->episodes && w->most >= most)
        return w;
    mete__work_free(w);
    loop->work = w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    size_t n = w->steps = batch->steps + batch->steps / 2 + 64;
    size_t rows = w->rows = batch->episodes + batch->episodes / 2 + 64;
    size_t m = w->most = most;
    w->reward = calloc(n, sizeof(double));
    w->advantage = calloc(n, sizeof(double));
    w->stream = calloc(n, sizeof(double));
    w->target = calloc(n * heads, sizeof(double));
    w->value = calloc(n, sizeof(double));
    w->last = calloc(rows, sizeof(double));
    w->row = calloc(rows, sizeof(double));
    w->reference = calloc(n, sizeof(float));
    w->logp = calloc(n, sizeof(float));
    w->use = calloc(n, 1);
    w->valid = calloc(rows, 1);
    w->flat = calloc(rows, 1);
    w->index = calloc(n, sizeof(uint32_t));
    w->weight = calloc(n, sizeof(float));
    w->query = calloc(m, sizeof(uint32_t));
    float **each[] = {&w->m_old,  &w->m_reference, &w->m_advantage, &w->m_weight,
                      &w->o_logp, &w->o_entropy,   &w->a_logp,      &w->a_entropy};
    bool good = true;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        good &= (*each[i] = calloc(m, sizeof(float))) != NULL;
    float **wide[] = {&w->m_value, &w->m_target, &w->o_value, &w->a_value};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        good &= (*wide[i] = calloc(m * heads, sizeof(float))) != NULL;
    good &= w->reward && w->advantage && w->stream && w->target && w->value && w->last && w->row &&
            w->reference && w->logp && w->use && w->valid && w->flat && w->index && w->weight &&
            w->query;
    return good ? w : NULL;
}

int
mete__logp_under(mete__loop *loop, const float *vector, const mete_batch *batch, float *logp,
                 mete_error *err)
{
    mete_params params = mete__loop_params(loop);
    params.vector = vector;
    bool stepwise = loop->policy->info.stepwise;
    uint32_t step[ASK_STEPS];
    for (size_t from = 0; from < batch->steps;) {
        size_t count = batch->steps - from;
        if (stepwise && count > ASK_STEPS)
            count = ASK_STEPS;
        for (size_t i = 0; stepwise && i < count; i++)
            step[i] = (uint32_t)(from + i);
        mete_query query = {.size = sizeof query,
                            .batch = batch,
                            .step = stepwise ? step : NULL,
                            .count = count,
                            .want = METE_WANT_LOGP};
        mete_outputs out = {.size = sizeof out, .logp = logp + from};
        mete_tape_reset(loop->tape);
        int status = mete__policy_forward(loop->policy, &params, &query, &out, loop->tape, err);
        if (status)
            return status;
        from += count;
    }
    return METE_OK;
}

/* ---- rewards and advantages ------------------------------------------------------------------ */

/* A node's value as step rewards: its own steps, or its episode value on the row's last step. */
static void
step_rewards(const mete_node *node, const mete_batch *batch, double *out)
{
    const mete_scores *scores = mete__node_scores(node);
    memset(out, 0, batch->steps * sizeof *out);
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t from = batch->step_begin[i], to = batch->step_begin[i + 1];
        if (scores->status[i] || from == to)
            continue;
        if (scores->step)
            memcpy(out + from, scores->step + from, (to - from) * sizeof *out);
        else
            out[to - 1] = scores->episode[i];
    }
}

/* Advantage of one reward per step into work->stream (per step), targets into head `head`. */
static size_t
stream_advantage(mete__loop *loop, const mete__objective *o, const mete_batch *batch, double gamma,
                 double lambda, size_t head)
{
    struct mete__work *w = loop->work;
    size_t heads = batch->heads, flat = 0;
    bool critic = batch->value && heads > head;
    for (size_t t = 0; t < batch->steps; t++)
        w->value[t] = critic ? (double)batch->value[t * heads + head] : 0;
    for (size_t i = 0; i < batch->episodes; i++)
        w->last[i] = critic ? (double)batch->final_value[i * heads + head] : 0;
    double *target = w->target + head * w->steps;
    switch (o->form) {
    case METE__ADVANTAGE_GAE:
        mete__gae(batch, w->reward, w->value, w->last, gamma, lambda, w->stream, target);
        break;
    case METE__ADVANTAGE_TOGO:
        mete__returns(batch, w->reward, gamma, critic ? w->last : NULL, target);
        for (size_t t = 0; t < batch->steps; t++)
            w->stream[t] = target[t] - w->value[t];
        break;
    default:
        for (size_t i = 0; i < batch->episodes; i++) {
            w->row[i] = 0;
            for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
                w->row[i] += w->reward[t];
        }
        if (o->form == METE__ADVANTAGE_GROUP)
            flat = mete__group_relative(batch, w->row, w->valid, o->divide, o->epsilon, w->row,
                                        w->flat);
        else if (o->form == METE__ADVANTAGE_LEAVE_ONE_OUT)
            flat = mete__leave_one_out(batch, w->row, w->valid, o->divide, o->epsilon, w->row,
                                       w->flat);
        for (size_t t = 0; t < batch->steps; t++) {
            w->stream[t] = w->row[batch->step_row[t]];
            target[t] = w->stream[t];
        }
    }
    return flat;
}

/* The streams of the tree: the root's, and each node's that asks for one of its own. */
static int
all_streams(mete__loop *loop, const mete__objective *o, const mete_batch *batch, double iteration,
            mete_error *err)
{
    struct mete__work *w = loop->work;
    double gamma = mete__schedule_at(&o->gamma, iteration);
    double lambda = mete__schedule_at(&o->lambda, iteration);
    memset(w->advantage, 0, batch->steps * sizeof *w->advantage);
    size_t nodes, streams = 1;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t i = 0; i < nodes; i++) {
        mete__value *core = node[i]->at ? mete__value_get(node[i]->at, "node") : NULL;
        mete__value *stream = core ? mete__value_get(core, "stream") : NULL;
        if (!stream || !mete__node_scores(node[i]))
            continue;
        if (streams == MOST_STREAMS)
            return mete_error_set(err, METE_ENOTSUP, "more than %d streams", MOST_STREAMS);
        mete__errors errors = {0};
        double own = mete__value_real(stream, "gamma", gamma, 0, 1, &errors);
        double trace = mete__value_real(stream, "lambda", lambda, 0, 1, &errors);
        double coef = mete__value_real(stream, "coef", 1, -1e6, 1e6, &errors);
        size_t head = (size_t)mete__value_int(stream, "head", 0, 0, MOST_STREAMS - 1, &errors);
        mete__value_unknown(stream, "gamma lambda coef head", &errors);
        if (!errors.count && head >= (batch->heads ? batch->heads : 1))
            mete__errors_add(&errors, "%s:%d: %s.head = %zu: the policy has %u value heads",
                             stream->file, stream->line, stream->path, head, batch->heads);
        if (errors.count) {
            mete_error_set(err, METE_EINVAL, "%s", errors.line[0]);
            mete__errors_free(&errors);
            return METE_EINVAL;
        }
        step_rewards(node[i], batch, w->reward);
        stream_advantage(loop, o, batch, own, trace, head);
        for (size_t t = 0; t < batch->steps; t++)
            w->advantage[t] += coef * w->stream[t];
        streams++;
    }
    /* The root comes last: its groups without spread and its critic's targets are the ones kept. */
    step_rewards(loop->reward, batch, w->reward);
    if (o->kl_in_reward && (o->terms & METE__TERM_KL) && mete__snapshot_vector(loop, "reference")) {
        double beta = mete__schedule_at(&o->kl, iteration);
        for (size_t t = 0; t < batch->steps; t++) {
            double x = (double)w->reference[t] - (double)batch->logp[t];
            double k = o->kl_estimator == 1   ? -x
                       : o->kl_estimator == 2 ? 0.5 * x * x
                                              : exp(fmin(x, 40)) - x - 1;
            w->reward[t] -= beta * k;
        }
    }
    size_t flat = stream_advantage(loop, o, batch, gamma, lambda, 0);
    for (size_t t = 0; t < batch->steps; t++)
        w->advantage[t] += w->stream[t];
    mete__metrics_add(&loop->metrics, (double)flat, "count/zero_variance_groups");
    return METE_OK;
}

/* Which rows count, which steps are learnt from, and each step's share of the loss. */
static size_t
choose_steps(mete__loop *loop, const mete__objective *o, const mete_batch *batch)
{
    struct mete__work *w = loop->work;
    size_t count = 0, rows = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        bool use = w->valid[i] && !(o->drop_zero_variance && w->flat[i]);
        size_t steps = 0;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++) {
            w->use[t] = use && (!batch->loss_mask || batch->loss_mask[t]);
            if (!w->use[t])
                continue;
            w->index[count++] = (uint32_t)t;
            steps++;
        }
        rows += steps > 0;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
            w->weight[t] = steps ? 1.0f / (float)steps : 0;
    }
    /* Weights have mean 1 over the steps used, so a minibatch divides by its own size: steps count
     * alike, or rows do. */
    float scale = rows ? (float)((double)count / (double)rows) : 0;
    for (size_t k = 0; k < count; k++)
        w->weight[w->index[k]] = o->sequence_mean ? w->weight[w->index[k]] * scale : 1;
    return count;
}

/* ---- minibatches ----------------------------------------------------------------------------- */

static void
gather(const struct mete__work *w, const mete_batch *batch, size_t count, size_t heads,
       mete__minibatch *m)
{
    for (size_t k = 0; k < count; k++) {
        uint32_t t = w->query[k];
        w->m_old[k] = batch->logp ? batch->logp[t] : 0;
        w->m_reference[k] = w->reference[t];
        w->m_advantage[k] = (float)w->advantage[t];
        w->m_weight[k] = w->weight[t] / (float)count;
        for (size_t h = 0; h < heads; h++) {
            w->m_value[k * heads + h] = batch->value ? batch->value[t * heads + h] : 0;
            w->m_target[k * heads + h] = (float)w->target[h * w->steps + t];
        }
    }
    *m = (mete__minibatch){count,          heads,       w->m_old,   w->m_reference,
                           w->m_advantage, w->m_weight, w->m_value, w->m_target};
}

static int
one_minibatch(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, size_t count,
              const mete__weights_now *now, double rate, mete__losses *losses, double *norm,
              mete_error *err)
{
    struct mete__work *w = loop->work;
    const mete__objective *o = &stage->objective;
    bool critic = (o->terms & METE__TERM_VALUE) && loop->policy->info.heads && batch->value;
    bool entropy = o->terms & (METE__TERM_RATIO | METE__TERM_ENTROPY);
    size_t heads = critic ? loop->policy->info.heads : 0;
    mete__minibatch m;
    gather(w, batch, count, heads, &m);
    if (!mete__snapshot_vector(loop, "reference"))
        m.reference_logp = NULL; /* none is taken yet: nothing to stay near */
    mete_params params = mete__loop_params(loop);
    mete_query query = {.size = sizeof query,
                        .batch = batch,
                        .step = w->query,
                        .count = count,
                        .want = METE_WANT_LOGP | (critic ? METE_WANT_VALUE : 0) |
                                (entropy ? METE_WANT_ENTROPY : 0)};
    mete_outputs out = {.size = sizeof out,
                        .heads = (uint32_t)heads,
                        .logp = w->o_logp,
                        .value = critic ? w->o_value : NULL,
                        .entropy = entropy ? w->o_entropy : NULL};
    mete_outputs adjoint = {.size = sizeof adjoint,
                            .heads = (uint32_t)heads,
                            .logp = w->a_logp,
                            .value = critic ? w->a_value : NULL,
                            .entropy = entropy ? w->a_entropy : NULL};
    mete_tape_reset(loop->tape);
    int status = mete__policy_forward(loop->policy, &params, &query, &out, loop->tape, err);
    if (status)
        return status;
    mete__objective_terms(o, now, &m, &out, &adjoint, losses);
    if (!isfinite(losses->total))
        return mete_error_set(err, METE_EPLUGIN, "the loss is %g", losses->total);
    memset(loop->grad, 0, loop->parameters * sizeof(float));
    status =
        mete__policy_backward(loop->policy, &params, &query, &adjoint, loop->tape, loop->grad, err);
    if (!status)
        status =
            mete__optimiser_step(&loop->optimiser, loop->parameter, loop->grad, rate, norm, err);
    loop->version += !status;
    return status;
}

static void
add_losses(mete__loop *loop, const mete__objective *o, const mete__losses *l, double norm)
{
    mete__metrics *metrics = &loop->metrics;
    mete__metrics_add(metrics, l->total, "loss");
    if (o->terms & METE__TERM_NLL)
        mete__metrics_add(metrics, l->nll, "loss/nll");
    if (o->terms & METE__TERM_RATIO) {
        mete__metrics_add(metrics, l->ratio, "loss/ratio");
        mete__metrics_add(metrics, l->clipped, "policy/clip_fraction");
        mete__metrics_add(metrics, l->approx_kl, "policy/kl_step");
        mete__metrics_add(metrics, l->entropy_mean, "policy/entropy");
    }
    if (o->terms & METE__TERM_VALUE)
        mete__metrics_add(metrics, l->value, "loss/value");
    if ((o->terms & METE__TERM_KL) && !o->kl_in_reward)
        mete__metrics_add(metrics, l->kl, "loss/kl");
    mete__metrics_add(metrics, norm, "policy/grad_norm");
}

static int
epochs(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, size_t count,
       size_t minibatch, mete_error *err)
{
    struct mete__work *w = loop->work;
    const mete__objective *o = &stage->objective;
    double at = (double)(loop->done - stage->first);
    mete__weights_now now = {
        mete__schedule_at(&o->clip, at),       mete__schedule_at(&o->clip_high, at),
        mete__schedule_at(&o->value_clip, at), mete__schedule_at(&o->nll, at),
        mete__schedule_at(&o->ratio, at),      mete__schedule_at(&o->value, at),
        mete__schedule_at(&o->kl, at),         mete__schedule_at(&o->entropy, at)};
    double rate = mete__schedule_at(&stage->rate, at);
    uint64_t key = mete_hash_mix(loop->seed, mete_hash_mix(loop->done, 0x6d696e69));
    mete__metrics_add(&loop->metrics, rate, "rate");
    for (uint64_t epoch = 0; epoch < o->epochs; epoch++) {
        uint64_t order = mete_hash_mix(key, epoch);
        double kl = 0;
        size_t batches = 0;
        for (size_t from = 0; from < count; from += minibatch, batches++) {
            size_t n = count - from < minibatch ? count - from : minibatch;
            mete__losses losses;
            double norm;
            for (size_t k = 0; k < n; k++)
                w->query[k] = w->index[n == count ? k : mete_permute(order, from + k, count)];
            int status = one_minibatch(loop, stage, batch, n, &now, rate, &losses, &norm, err);
            if (status)
                return status;
            add_losses(loop, o, &losses, norm);
            kl += losses.approx_kl;
        }
        if (o->target_kl > 0 && kl / (double)batches > o->target_kl)
            break;
    }
    return METE_OK;
}

/* ---- a batch --------------------------------------------------------------------------------- */

static int
count_rows(mete__loop *loop, const mete_batch *batch, bool scored, mete_error *err)
{
    struct mete__work *w = loop->work;
    const mete_scores *scores = scored ? mete__node_scores(loop->reward) : NULL;
    size_t masked = 0, failed = 0, first = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        w->valid[i] = !(scores && scores->status[i]) && !(batch->masked && batch->masked[i]);
        w->flat[i] = 0;
        masked += !w->valid[i];
        if (scores && scores->status[i] > METE_NOT_APPLICABLE && failed++ == 0)
            first = i;
    }
    if (masked)
        mete__metrics_add(&loop->metrics, (double)masked, "count/masked");
    if (failed)
        mete__metrics_add(&loop->metrics, (double)failed, "count/failed");
    if (batch->episodes && (double)failed > loop->max_failed * (double)batch->episodes) {
        /* The reason stands at the node that failed, which may be below the root. */
        const char *reason = mete__node_reason(loop->reward, first);
        size_t nodes;
        mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
        for (size_t i = 0; i < nodes && !*reason; i++)
            if (node[i]->kind == METE_KIND_REWARD)
                reason = mete__node_reason(node[i], first);
        return mete_error_set(
            err, METE_EDATA,
            "%zu of %zu episodes could not be scored, more than run.max_failed = %g "
            "allows; the first: %s",
            failed, batch->episodes, loop->max_failed, *reason ? reason : "no reason given");
    }
    return METE_OK;
}

int
mete__train_batch(mete__loop *loop, const mete__stage *stage, const mete_batch *batch,
                  mete_error *err)
{
    const mete__objective *o = &stage->objective;
    bool rewards = (o->terms & (METE__TERM_RATIO | METE__TERM_VALUE)) != 0;
    size_t most = o->minibatch ? (size_t)o->minibatch : ASK_STEPS;
    struct mete__work *w = work_for(loop, batch, most);
    if (!w)
        return mete_error_set(err, METE_ENOMEM, "out of memory for a batch of %zu steps",
                              batch->steps);
    int status = count_rows(loop, batch, rewards, err);
    const float *reference =
        o->terms & METE__TERM_KL ? mete__snapshot_vector(loop, "reference") : NULL;
    if (!status && reference)
        status = mete__logp_under(loop, reference, batch, w->reference, err);
    if (!status && reference && batch->logp) {
        double k1 = 0, k3 = 0;
        for (size_t t = 0; t < batch->steps; t++) {
            double x = (double)w->reference[t] - (double)batch->logp[t];
            k1 -= x;
            k3 += exp(fmin(x, 40)) - x - 1;
        }
        if (batch->steps) {
            mete__metrics_add(&loop->metrics, k1 / (double)batch->steps, "policy/kl_reference_k1");
            mete__metrics_add(&loop->metrics, k3 / (double)batch->steps, "policy/kl_reference");
        }
    }
    if (!status && rewards)
        status = all_streams(loop, o, batch, (double)(loop->done - stage->first), err);
    if (status)
        return status;
    size_t count = choose_steps(loop, o, batch);
    if (rewards && o->normalise)
        mete__normalise(w->advantage, w->use, batch->steps, o->epsilon);
    for (size_t k = 0; rewards && k < count; k++)
        if (!isfinite(w->advantage[w->index[k]]))
            return mete_error_set(err, METE_EPLUGIN, "the advantage of episode %llu is %g",
                                  (unsigned long long)batch->id[batch->step_row[w->index[k]]],
                                  w->advantage[w->index[k]]);
    mete__metrics_add(&loop->metrics, (double)count, "count/steps_used");
    return epochs(loop, stage, batch, count, most, err);
}
