/* learn.c - minibatches of pairs: losses, penalties, and the end of an epoch. */
#include "preference_model.h"

#include <math.h>
#include <mete/text.h>

/* ---- a minibatch ----------------------------------------------------------------------------- */

/* Row a is preferred to row b with probability p. */
struct pair {
    size_t a, b;
    uint64_t id; /* of the record */
    double p, margin, weight;
    int own; /* of the data, and not made by `mismatch` */
};

/* What a minibatch of pairs has beside its rows. */
struct pairs {
    struct pass pass;
    const mete_batch *batch; /* its rows, and those made of them */
    struct pair *pair;
    size_t count;
    uint32_t *head; /* [rows] whose value a row's is */
    double **z;     /* [spurious] their values [rows] */
    uint32_t *rank;
    double forgets, told; /* cross-entropy of the adversary, summed, over rows of that weight */
};

/* The pairs of the data. */
static int
own_pairs(mete_ctx *cx, const struct preference_model *p, const mete_batch *batch, struct pairs *t)
{
    const mete_text *column = mete_text_of(batch, &p->margin);
    for (size_t k = 0; k < batch->pairs; k++) {
        size_t a = batch->pair_a[k], b = batch->pair_b[k];
        struct pair *pair = &t->pair[t->count++];
        *pair = (struct pair){a, b, batch->id[a], batch->pair_p[k], 0, 1, 1};
        mete_text text = column ? column[a] : (mete_text){NULL, 0};
        if (text.data && text.length &&
            (!mete_number_parse(text, METE_NUMBER_EXPONENT, &pair->margin) ||
             !isfinite(pair->margin) || pair->margin < 0))
            return mete_fail(cx, METE_EDATA, "a margin is \"%.*s\"; it must be a number from 0",
                             (int)(text.length < 40 ? text.length : 40), text.data);
    }
    return METE_OK;
}

/* Adds the responses of another record to each prompt: both of its own beat both of those, which
 * tie (RRM; Liu et al. 2024, arXiv:2409.13156, equation 8, without the filter). What makes a
 * response win whatever was asked is then worth nothing. */
static int
add_mismatched(mete_ctx *cx, const struct preference_model *p, uint64_t step, struct pairs *t)
{
    const mete_batch *batch = t->batch;
    size_t n = batch->pairs, rows = batch->episodes;
    mete_rng rng = mete_random(cx, mete_hash_mix(step, n), 1);
    size_t shift = 1 + (size_t)(mete_rng_uniform(&rng) * (double)(n - 1));
    uint32_t *row = mete_arena(cx, (rows + 2 * n) * sizeof *row);
    mete_text *said = mete_arena(cx, (rows + 2 * n) * sizeof *said);
    if (!row || !said)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a minibatch");
    for (size_t i = 0; i < rows; i++) {
        row[i] = (uint32_t)i;
        said[i] = batch->response[i];
    }
    for (size_t k = 0; k < n; k++) {
        size_t other = (k + shift) % n, at = rows + 2 * k;
        size_t a = batch->pair_a[k], b = batch->pair_b[k], c = batch->pair_a[other];
        int same = mete_text_equal(batch->prompt[a], batch->prompt[c]);
        double weight = same ? 0 : p->mismatch;
        row[at] = row[at + 1] = (uint32_t)a;
        said[at] = batch->response[c];
        said[at + 1] = batch->response[batch->pair_b[other]];
        for (size_t i = 0; i < 4; i++)
            t->pair[t->count++] =
                (struct pair){i < 2 ? a : b, at + i % 2, batch->id[a], 1, 0, weight, 0};
        t->pair[t->count++] = (struct pair){at, at + 1, batch->id[a], .5, 0, weight, 0};
    }
    t->batch = mete_batch_subset(cx, batch, row, rows + 2 * n);
    t->batch = t->batch ? mete_batch_respond(cx, t->batch, said) : NULL;
    return t->batch ? METE_OK : METE_EPLUGIN;
}

static int
find_heads(mete_ctx *cx, const struct preference_model *p, struct pairs *t)
{
    t->head = mete_arena(cx, (t->batch->episodes + 1) * sizeof *t->head);
    if (!t->head)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a minibatch");
    for (size_t i = 0; i < t->batch->episodes && p->heads.count; i++) {
        size_t head = named(&p->heads, &p->tag, t->batch, i);
        if (head == p->heads.count)
            return mete_fail(cx, METE_EDATA, "a record's \"%s\" is missing or none of heads",
                             p->tag.name);
        t->head[i] = (uint32_t)head;
    }
    return METE_OK;
}

/* `mixes`: with other records' responses, drawn by `step`. */
static int
pairs_start(mete_ctx *cx, const struct preference_model *p, const mete_batch *batch, int mixes,
            uint64_t step, struct pairs *t)
{
    struct weights w = net_learning(cx, &p->net);
    *t = (struct pairs){.batch = batch};
    mixes = mixes && p->mismatch > 0 && batch->pairs > 1;
    if (!batch->response)
        return mete_fail(cx, METE_EINVAL, "learns from texts, and these episodes have none");
    if (mixes && !batch->prompt)
        return mete_fail(cx, METE_EDATA, "mismatch: these records have no prompts");
    t->pair = mete_arena(cx, (mixes ? 6 : 1) * (batch->pairs + 1) * sizeof *t->pair);
    t->z = mete_arena(cx, (p->spurious.count + 1) * sizeof *t->z);
    t->rank = mete_arena(cx, (batch->episodes + 2 * batch->pairs + 1) * sizeof *t->rank);
    if (!t->pair || !t->z || !t->rank)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a minibatch");
    int status = own_pairs(cx, p, batch, t);
    if (!status && mixes)
        status = add_mismatched(cx, p, step, t);
    if (!status)
        status = find_heads(cx, p, t);
    return status ? status : pass_start(cx, &p->net, t->batch, &w, &t->pass);
}

static int
see_spurious(mete_ctx *cx, const struct preference_model *p, struct pairs *t)
{
    for (size_t k = 0; k < p->spurious.count; k++) {
        const mete_scores *scores = mete_evaluate(cx, p->spurious.item[k], t->batch);
        if (!scores)
            return METE_EPLUGIN;
        t->z[k] = scores->episode;
    }
    return METE_OK;
}

/* Losses of the pairs by the value, or by value and aside together (ODIN's ranking term). */
static void
add_pairs(mete_ctx *cx, const struct preference_model *p, struct pairs *pairs, size_t member)
{
    struct pass *t = &pairs->pass;
    size_t at = member * p->net.columns, outs = p->net.outs, n = 0;
    for (size_t k = 0; k < pairs->count; k++)
        n += (size_t)pairs->pair[k].own;
    for (size_t k = 0; k < pairs->count; k++) {
        const struct pair *pair = &pairs->pair[k];
        size_t a = pair->a * outs + at + pairs->head[pair->a],
               b = pair->b * outs + at + pairs->head[pair->b];
        double d = t->out[a] - t->out[b], slope;
        double weight = pair->weight * net_times_drawn(cx, &p->net, pair->id, member);
        double own = d;
        if (p->aside)
            d += t->out[a + 1] - t->out[b + 1];
        double loss = pair_loss(p, d, pair->p, pair->margin, &slope);
        t->loss += weight * loss / (double)n;
        if (pair->own) {
            t->right += weight * (own > 0 ? pair->p : own < 0 ? 1 - pair->p : .5);
            t->weight += weight;
        }
        slope *= weight / (double)n;
        double centre = pair->own ? p->centre * weight / (double)n : 0;
        double sum = t->out[a] + t->out[b];
        t->loss += centre * sum * sum;
        for (size_t c = 0; c < (p->aside ? 2 : 1); c++) {
            t->slope[a + c] += slope;
            t->slope[b + c] -= slope;
        }
        t->slope[a] += 2 * centre * sum;
        t->slope[b] += 2 * centre * sum;
    }
}

/* The adversary learns a row's attribute from the hidden units, which forget it (net.h, reversed).
 */
static void
add_adversary(mete_ctx *cx, const struct preference_model *p, struct pairs *pairs, size_t member)
{
    struct pass *t = &pairs->pass;
    size_t first = (member + 1) * p->net.columns - p->net.reversed;
    double n = 2 * (double)(pairs->count ? pairs->count : 1);
    for (size_t k = 0; k < 2 * pairs->count; k++) {
        const struct pair *pair = &pairs->pair[k / 2];
        size_t row = k % 2 ? pair->b : pair->a;
        size_t is = named(&p->classes, &p->attribute, t->batch, row);
        if (!pair->own || is == p->classes.count)
            continue;
        double weight = net_times_drawn(cx, &p->net, pair->id, member);
        size_t at = row * p->net.outs + first;
        pairs->forgets +=
            n * class_term(t->out + at, p->classes.count, is, weight / n, t->slope + at);
        pairs->told += weight;
    }
}

static void
add_penalties(const struct preference_model *p, struct pairs *pairs, size_t member)
{
    struct pass *t = &pairs->pass;
    size_t rows = t->batch->episodes;
    for (size_t c = 0; c < (p->aside ? 2 : 1); c++) {
        pass_take(&p->net, t, member, c ? NULL : pairs->head, c);
        for (size_t k = 0; k < p->spurious.count; k++) {
            double weight = c ? -p->correlation : p->correlation;
            if (weight != 0)
                t->loss += weight * correlation_term(t->x, pairs->z[k], rows, !c, weight, t->dx);
            if (p->mmd > 0 && !c)
                t->loss += p->mmd * mmd_term(t->x, pairs->z[k], rows, (size_t)p->bins, p->bandwidth,
                                             p->mmd, pairs->rank, t->dx);
        }
        pass_put(&p->net, t, member, c ? NULL : pairs->head, c);
    }
}

/* |cosine| of the two columns' weights over a member's hidden units, times `orthogonal` (ODIN's
 * orthogonality term); slopes into grad [2 x hidden]. */
static double
orthogonal_term(const struct preference_model *p, const float *v, float *grad)
{
    double dot = 0, a = 0, b = 0;
    size_t n = (size_t)p->net.hidden;
    for (size_t j = 0; j < n; j++) {
        dot += (double)v[j] * (double)v[n + j];
        a += (double)v[j] * (double)v[j];
        b += (double)v[n + j] * (double)v[n + j];
    }
    double norm = sqrt(a * b);
    if (!(norm > 1e-12))
        return 0;
    double sign = dot < 0 ? -p->orthogonal : p->orthogonal, cosine = dot / norm;
    for (size_t j = 0; j < n; j++) {
        grad[j] += (float)(sign * ((double)v[n + j] / norm - cosine * (double)v[j] / a));
        grad[n + j] += (float)(sign * ((double)v[j] / norm - cosine * (double)v[n + j] / b));
    }
    return sign * cosine;
}

/* The terms of all members: net.h, net_term. */
static double
orthogonal_terms(const struct net *net, const float *v, float *grad)
{
    const struct preference_model *p = (const struct preference_model *)(const void *)net;
    double sum = 0;
    for (size_t m = 0; m < (size_t)net->members; m++) {
        size_t at = m * net->columns * (size_t)net->hidden;
        sum += orthogonal_term(p, v + at, grad + at);
    }
    return sum;
}

int
preference_fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step)
{
    struct preference_model *p = self;
    struct pairs pairs;
    struct pass *t = &pairs.pass;
    if (!batch->pairs)
        return batch->episodes && !batch->pair_a
                   ? mete_fail(cx, METE_EDATA,
                               "learns from pairs, chosen and rejected; these "
                               "records are single responses")
                   : METE_OK;
    int status = pairs_start(cx, p, batch, 1, step, &pairs);
    if (!status)
        status = see_spurious(cx, p, &pairs);
    for (size_t m = 0; m < (size_t)p->net.members && !status; m++) {
        add_pairs(cx, p, &pairs, m);
        if (p->adversary > 0)
            add_adversary(cx, p, &pairs, m);
        add_penalties(p, &pairs, m);
    }
    if (!status)
        status = pass_step(cx, &p->net, t, p->orthogonal > 0 ? orthogonal_terms : NULL);
    if (!status && !isfinite(t->loss))
        status =
            mete_fail(cx, METE_EPLUGIN, "the loss is not finite; lower rate (%g)", p->net.rate);
    if (!status) {
        mete_metric(cx, "loss", t->loss / (double)p->net.members);
        if (t->weight > 0)
            mete_metric(cx, "accuracy", t->right / t->weight);
        if (pairs.told > 0)
            mete_metric(cx, "adversary_loss", pairs.forgets / pairs.told);
    }
    return status;
}

/* ---- the end of an epoch --------------------------------------------------------------------- */

int
preference_fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop)
{
    struct preference_model *p = self;
    struct pairs pairs;
    size_t n = validation->pairs, outs = p->net.outs;
    (void)epoch;
    if (!n)
        return METE_OK;
    int status = pairs_start(cx, p, validation, 0, 0, &pairs);
    double *d = mete_arena(cx, n * sizeof *d), loss = 0, right = 0, slope;
    if (!status && !d)
        status = mete_fail(cx, METE_ENOMEM, "out of memory");
    if (status)
        return status;
    for (size_t k = 0; k < n; k++) {
        size_t a = validation->pair_a[k], b = validation->pair_b[k];
        double chance = validation->pair_p[k];
        d[k] = combine(p, pairs.pass.out + a * outs, pairs.head[a], NULL) -
               combine(p, pairs.pass.out + b * outs, pairs.head[b], NULL);
        loss += pair_loss(p, d[k], chance, pairs.pair[k].margin, &slope) / (double)n;
        right += (d[k] > 0 ? chance : d[k] < 0 ? 1 - chance : .5) / (double)n;
    }
    mete_metric(cx, "held_loss", loss);
    mete_metric(cx, "held_accuracy", right);
    int better = net_judge(cx, &p->net, loss, stop);
    double *state = mete_tensor_write(cx, p->net.state);
    if (better < 0 || !state)
        return METE_EPLUGIN;
    if (better)
        state[STATE_INVERSE_TEMPERATURE] = p->calibrate ? calibrate(d, validation->pair_p, n) : 1;
    mete_metric(cx, "temperature", 1 / fmax(state[STATE_INVERSE_TEMPERATURE], 1e-6));
    return METE_OK;
}
