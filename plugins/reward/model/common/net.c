/* net.c - the forward pass, its gradient, and AdaGrad (Duchi et al. 2011): of a bag on what a
 * minibatch touched. */
#include "net.h"

#include <math.h>
#include <mete/arrays.h>
#include <string.h>

/* What is added to a root of squares: slopes that are small from the first move little. */
#define EPSILON 1e-3

/* ---- opening --------------------------------------------------------------------------------- */

static int
check(mete_ctx *cx, const struct net *p)
{
    if (p->buckets & (p->buckets - 1))
        return mete_fail(cx, METE_EINVAL, "buckets = %lld must be a power of two",
                         (long long)p->buckets);
    if (!p->words && !p->chars_to && !p->trunk)
        return mete_fail(cx, METE_EINVAL, "words and chars_to are both 0: there is nothing to see");
    if (p->chars_to && p->chars_from > p->chars_to)
        return mete_fail(cx, METE_EINVAL, "chars_from = %lld exceeds chars_to = %lld",
                         (long long)p->chars_from, (long long)p->chars_to);
    if (p->width > SIZE_MAX / sizeof(float) / p->rows / 4)
        return mete_fail(cx, METE_EINVAL, "buckets x members x hidden is too much");
    if (p->trunk && (p->context.count || p->crossed.count))
        return mete_fail(cx, METE_EINVAL,
                         "context and crossed are of n-grams, and a trunk has none: it reads the "
                         "prompt, and what `joined` names");
    if (p->head && (p->hidden || p->outs > 1))
        return mete_fail(cx, METE_EINVAL,
                         "head begins one linear output: without hidden units, "
                         "members or a second head");
    return METE_OK;
}

static int
declare(mete_ctx *cx, const char *name, size_t count, int *handle)
{
    *handle = mete_tensor(cx, name, METE_F32, count);
    return *handle < 0 ? *handle : METE_OK;
}

static int
declare_all(mete_ctx *cx, struct net *p)
{
    size_t table = p->rows * p->width, out = p->outs * (size_t)p->hidden;
    int status = declare(cx, "table", table, &p->table);
    status = status ? status : declare(cx, "table_sum", table, &p->table_sum);
    if (!status && p->patience)
        status = declare(cx, "best_table", table, &p->best_table);
    if (!status && p->hidden) {
        status = declare(cx, "bias", p->width, &p->bias);
        status = status ? status : declare(cx, "bias_sum", p->width, &p->bias_sum);
        status = status ? status : declare(cx, "out", out, &p->out);
        status = status ? status : declare(cx, "out_sum", out, &p->out_sum);
    }
    if (!status && p->hidden && p->patience) {
        status = declare(cx, "best_bias", p->width, &p->best_bias);
        status = status ? status : declare(cx, "best_out", out, &p->best_out);
    }
    p->state = status ? status : mete_tensor(cx, "state", METE_F64, STATE_NUMBERS);
    return p->state < 0 ? p->state : METE_OK;
}

/* The row of score.weight; a state's numbers are scaled by 1/sqrt(states) here and not there. */
static int
read_head(mete_ctx *cx, const struct net *p, float *table)
{
    mete_error err = {0};
    mete_arrays *arrays = mete_arrays_open(p->head, &err);
    if (!arrays)
        return mete_fail(cx, err.code, "%s", err.message);
    const mete_array *score = mete_arrays_find(arrays, "score.weight");
    int status = METE_OK;
    if (!score || score->count != p->states || score->shape[0] != 1)
        status = mete_fail(cx, METE_EDATA, "%s: has no array \"score.weight\" of 1 x %zu", p->head,
                           p->states);
    else if (mete_array_read(score, 0, p->states, table, &err))
        status = mete_fail(cx, err.code, "%s: %s", p->head, err.message);
    for (size_t k = 0; !status && k < p->states; k++)
        table[k] *= sqrtf((float)p->states);
    mete_arrays_close(arrays);
    return status;
}

/* Hidden units start small and different, and so do members; a linear model starts at 0, or as it
 * was published. */
static int
start(mete_ctx *cx, const struct net *p)
{
    double *state = mete_tensor_write(cx, p->state);
    float *table = mete_tensor_write(cx, p->table);
    if (!state || !table)
        return METE_ENOMEM;
    state[STATE_INVERSE_TEMPERATURE] = 1;
    if (p->head)
        return read_head(cx, p, table);
    if (!p->hidden)
        return METE_OK;
    float *out = mete_tensor_write(cx, p->out);
    if (!out)
        return METE_ENOMEM;
    mete_rng rng = mete_random(cx, 0, 0);
    for (size_t k = 0; k < p->rows * p->width; k++)
        table[k] = (float)(.2 * mete_rng_uniform(&rng) - .1);
    double gain = 1 / sqrt((double)p->hidden);
    for (size_t k = 0; k < p->outs * (size_t)p->hidden; k++)
        out[k] = (float)(gain * (2 * mete_rng_uniform(&rng) - 1));
    return METE_OK;
}

/* The columns a list names; "prompt" is no column, and its field stays empty. */
static int
need_columns(mete_ctx *cx, const mete_strings *names, mete_field **field)
{
    int status = METE_OK;
    *field = mete_alloc(cx, (names->count + 1) * sizeof **field);
    if (!*field)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < names->count && !status; k++)
        if (strcmp(names->item[k], "prompt") != 0)
            status =
                mete_need(cx, names->item[k], METE_EPISODE, METE_TEXT, METE_OPTIONAL, &(*field)[k]);
    return status;
}

int
net_open(mete_ctx *cx, struct net *p)
{
    p->outs = (size_t)p->members * p->columns;
    p->width = p->hidden ? (size_t)(p->members * p->hidden) : p->outs;
    int status = trunk_open(cx, p);
    p->rows = p->trunk ? p->states : (size_t)p->buckets;
    if (!status)
        status = check(cx, p);
    status = status ? status : need_columns(cx, &p->context, &p->context_field);
    status = status ? status : need_columns(cx, &p->joined, &p->joined_field);
    status = status ? status : need_columns(cx, &p->crossed, &p->crossed_field);
    if (status)
        return status;
    p->grad = mete_alloc(cx, p->rows * p->width * sizeof *p->grad);
    p->touched = mete_alloc(cx, p->rows);
    if (!p->grad || !p->touched)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu rows of weights", p->rows);
    status = declare_all(cx, p);
    status = status ? status : start(cx, p);
    if (!status && p->trunk && !(p->trunk_rate > 0) && p->trunk_cache)
        p->cache = cache_new(p->states, (size_t)p->trunk_cache << 20);
    return status;
}

void
net_close(struct net *p)
{
    cache_free(p->cache);
}

/* ---- weights --------------------------------------------------------------------------------- */

static const void *
read_if(mete_ctx *cx, int has, int handle)
{
    return has ? mete_tensor_read(cx, handle) : NULL;
}

struct weights
net_learning(mete_ctx *cx, const struct net *p)
{
    const double *state = mete_tensor_read(cx, p->state);
    int learns = p->trunk_rate > 0 && state[STATE_BODY] != 0;
    return (struct weights){mete_tensor_read(cx, p->table), read_if(cx, p->hidden > 0, p->bias),
                            read_if(cx, p->hidden > 0, p->out), read_if(cx, learns, p->body)};
}

int
net_keeps(mete_ctx *cx, const struct net *p)
{
    const double *state = mete_tensor_read(cx, p->state);
    return p->patience && state[STATE_KEPT] != 0;
}

struct weights
net_scoring(mete_ctx *cx, const struct net *p)
{
    const double *state = mete_tensor_read(cx, p->state);
    int learns = p->trunk_rate > 0 && state[STATE_BODY] != 0;
    if (!net_keeps(cx, p))
        return net_learning(cx, p);
    return (struct weights){
        mete_tensor_read(cx, p->best_table), read_if(cx, p->hidden > 0, p->best_bias),
        read_if(cx, p->hidden > 0, p->best_out), read_if(cx, learns, p->best_body)};
}

static int
keep(mete_ctx *cx, int from, int to, size_t count)
{
    float *best = mete_tensor_write(cx, to);
    if (!best)
        return METE_EPLUGIN;
    memcpy(best, mete_tensor_read(cx, from), count * sizeof *best);
    return METE_OK;
}

int
net_judge(mete_ctx *cx, const struct net *p, double loss, int *stop)
{
    double *state = mete_tensor_write(cx, p->state);
    if (!state)
        return METE_EPLUGIN;
    int better = state[STATE_KEPT] == 0 || loss < state[STATE_BEST];
    if (!p->patience)
        return 1;
    state[STATE_SINCE] = better ? 0 : state[STATE_SINCE] + 1;
    *stop = state[STATE_SINCE] >= (double)p->patience;
    if (!better)
        return 0;
    state[STATE_BEST] = loss;
    state[STATE_KEPT] = 1;
    int status = keep(cx, p->table, p->best_table, p->rows * p->width);
    if (!status && p->hidden)
        status = keep(cx, p->bias, p->best_bias, p->width);
    if (!status && p->hidden)
        status = keep(cx, p->out, p->best_out, p->outs * (size_t)p->hidden);
    if (!status && p->trunk_rate > 0)
        status = keep(cx, p->body, p->best_body, p->parameters);
    return status ? status : 1;
}

/* ---- forward --------------------------------------------------------------------------------- */

/* From what the table's rows sum to on to the outputs. */
static void
outputs(const struct net *p, const struct weights *w, float scale, float *unit, double *out)
{
    if (!p->hidden) {
        for (size_t j = 0; j < p->width; j++)
            out[j] = (double)(unit[j] * scale);
        return;
    }
    for (size_t j = 0; j < p->width; j++)
        unit[j] = tanhf(unit[j] * scale + w->bias[j]);
    for (size_t o = 0; o < p->outs; o++) {
        const float *v = w->out + o * (size_t)p->hidden;
        const float *h = unit + o / p->columns * (size_t)p->hidden;
        out[o] = 0;
        for (size_t j = 0; j < (size_t)p->hidden; j++)
            out[o] += (double)(v[j] * h[j]);
    }
}

static void
forward_bag(const struct net *p, const struct weights *w, const uint32_t *bucket, size_t n,
            float *unit, double *out)
{
    float scale = (float)bag_scale(p, n);
    if (p->width == 1) { /* one linear output: what is scored most */
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += (double)w->table[bucket[k]];
        *out = sum * (double)scale;
        return;
    }
    memset(unit, 0, p->width * sizeof *unit);
    for (size_t k = 0; k < n; k++) {
        const float *row = w->table + bucket[k] * p->width;
        for (size_t j = 0; j < p->width; j++)
            unit[j] += row[j];
    }
    outputs(p, w, scale, unit, out);
}

static void
forward_state(const struct net *p, const struct weights *w, const float *state, float *unit,
              double *out)
{
    memset(unit, 0, p->width * sizeof *unit);
    for (size_t k = 0; k < p->states; k++)
        for (size_t j = 0; j < p->width; j++)
            unit[j] += state[k] * w->table[k * p->width + j];
    outputs(p, w, 1, unit, out);
}

int
net_score(mete_ctx *cx, const struct net *p, const mete_batch *batch, double *out)
{
    struct weights w = net_scoring(cx, p);
    struct bag_scratch scratch;
    if (!batch->response)
        return mete_fail(cx, METE_EINVAL, "scores texts, and these episodes have none");
    float *unit = mete_arena(cx, p->width * sizeof *unit);
    float *states = mete_arena(cx, (batch->episodes * p->states + 1) * sizeof *states);
    if (!unit || !states)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    int status = p->trunk ? trunk_read(cx, p, w.body, batch, NULL, states)
                          : bag_scratch_make(cx, p, batch, &scratch);
    for (size_t i = 0, n; i < batch->episodes && !status; i++)
        if (p->trunk)
            forward_state(p, &w, states + i * p->states, unit, out + i * p->outs);
        else if (!(status = bag_of(p, batch, i, &scratch, &n)))
            forward_bag(p, &w, scratch.bucket, n, unit, out + i * p->outs);
    return status;
}

int
pass_start(mete_ctx *cx, const struct net *p, const mete_batch *batch, const struct weights *w,
           struct pass *t)
{
    size_t rows = batch->episodes;
    *t = (struct pass){.batch = batch};
    if (!batch->response)
        return mete_fail(cx, METE_EINVAL, "learns from texts, and these episodes have none");
    t->unit = mete_arena(cx, (rows + 1) * p->width * sizeof *t->unit);
    t->out = mete_arena(cx, (rows + 1) * p->outs * sizeof *t->out);
    t->slope = mete_arena(cx, (rows + 1) * p->outs * sizeof *t->slope);
    t->x = mete_arena(cx, (rows + 1) * sizeof *t->x);
    t->dx = mete_arena(cx, (rows + 1) * sizeof *t->dx);
    t->states = p->trunk ? mete_arena(cx, (rows + 1) * p->states * sizeof *t->states) : NULL;
    if (!t->unit || !t->out || !t->slope || !t->x || !t->dx || (p->trunk && !t->states))
        return mete_fail(cx, METE_ENOMEM, "out of memory for a minibatch");
    int status = p->trunk ? trunk_read(cx, p, w->body, batch, p->cache, t->states)
                          : bags_of(cx, p, batch, &t->bags);
    for (size_t i = 0; i < rows && !status; i++) {
        float *unit = t->unit + i * p->width;
        double *out = t->out + i * p->outs;
        if (p->trunk)
            forward_state(p, w, t->states + i * p->states, unit, out);
        else
            forward_bag(p, w, t->bags.bucket[i], t->bags.count[i], unit, out);
    }
    return status;
}

void
pass_take(const struct net *p, struct pass *t, size_t member, const uint32_t *head, size_t column)
{
    for (size_t i = 0; i < t->batch->episodes; i++) {
        size_t at = member * p->columns + (head ? head[i] : 0) + column;
        t->x[i] = t->out[i * p->outs + at];
        t->dx[i] = 0;
    }
}

void
pass_put(const struct net *p, struct pass *t, size_t member, const uint32_t *head, size_t column)
{
    for (size_t i = 0; i < t->batch->episodes; i++) {
        size_t at = member * p->columns + (head ? head[i] : 0) + column;
        t->slope[i * p->outs + at] += t->dx[i];
    }
}

double
net_times_drawn(mete_ctx *cx, const struct net *p, uint64_t id, size_t member)
{
    if (p->members == 1)
        return 1;
    mete_rng rng = mete_random(cx, id, (uint32_t)member);
    double u = mete_rng_uniform(&rng), mass = exp(-1), below = mass;
    int times = 0;
    while (u >= below && times < 20) {
        mass /= ++times;
        below += mass;
    }
    return times;
}

/* ---- backward and the step ------------------------------------------------------------------- */

void
net_adagrad(const struct net *p, double rate, float *x, float *sum, float *grad, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        double g = (double)grad[k] + p->decay * (double)x[k];
        double square = (double)sum[k] + g * g;
        sum[k] = (float)square;
        x[k] -= (float)(rate * g / (sqrt(square) + EPSILON));
        grad[k] = 0;
    }
}

/* Slopes by the outputs become slopes by what the table's rows sum to, in unit. */
static void
back_hidden(const struct net *p, struct pass *t, const float *v, float *bias_grad, float *out_grad)
{
    size_t hidden = (size_t)p->hidden;
    for (size_t i = 0; i < t->batch->episodes; i++) {
        float *h = t->unit + i * p->width;
        const double *slope = t->slope + i * p->outs;
        for (size_t j = 0; j < p->width; j++) {
            size_t first = j / hidden * p->columns, k = j % hidden;
            double sum = 0;
            for (size_t o = first; o < first + p->columns; o++) {
                double by = o + p->reversed < first + p->columns ? 1 : -p->reversal;
                sum += by * slope[o] * (double)v[o * hidden + k];
                out_grad[o * hidden + k] += (float)(slope[o] * (double)h[j]);
            }
            h[j] = (float)(sum * (1 - (double)h[j] * (double)h[j]));
            bias_grad[j] += h[j];
        }
    }
}

static void
back_bags(const struct net *p, struct pass *t, float *table, float *table_sum)
{
    for (size_t i = 0; i < t->batch->episodes; i++) {
        const uint32_t *bucket = t->bags.bucket[i];
        size_t n = t->bags.count[i];
        float scale = (float)bag_scale(p, n);
        for (size_t j = 0; j < p->width; j++)
            t->unit[i * p->width + j] *= scale;
        for (size_t k = 0; k < n; k++) {
            p->touched[bucket[k]] = 1;
            for (size_t j = 0; j < p->width; j++)
                p->grad[bucket[k] * p->width + j] += t->unit[i * p->width + j];
        }
    }
    for (size_t i = 0; i < t->batch->episodes; i++)
        for (size_t k = 0; k < t->bags.count[i]; k++) {
            size_t b = t->bags.bucket[i][k];
            if (!p->touched[b])
                continue;
            p->touched[b] = 0;
            net_adagrad(p, p->rate, table + b * p->width, table_sum + b * p->width,
                        p->grad + b * p->width, p->width);
        }
}

/* The states' part: slopes by the states, where the trunk learns, by the table as it was. */
static int
back_states(mete_ctx *cx, const struct net *p, struct pass *t, float *table, float *table_sum)
{
    int status = METE_OK;
    size_t rows = t->batch->episodes;
    float *by = p->trunk_rate > 0 ? mete_arena(cx, (rows + 1) * p->states * sizeof *by) : NULL;
    if (p->trunk_rate > 0 && !by)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a gradient");
    for (size_t i = 0; i < rows; i++) {
        const float *unit = t->unit + i * p->width;
        for (size_t k = 0; k < p->states; k++)
            for (size_t j = 0; j < p->width; j++) {
                p->grad[k * p->width + j] += t->states[i * p->states + k] * unit[j];
                if (by)
                    by[i * p->states + k] += table[k * p->width + j] * unit[j];
            }
    }
    if (by)
        status = trunk_step(cx, p, t->batch, by);
    net_adagrad(p, p->rate, table, table_sum, p->grad, p->states * p->width);
    return status;
}

int
pass_step(mete_ctx *cx, const struct net *p, struct pass *t, net_term term)
{
    float *table = mete_tensor_write(cx, p->table), *sum = mete_tensor_write(cx, p->table_sum);
    if (!table || !sum)
        return METE_EPLUGIN;
    if (p->hidden) {
        size_t count = p->outs * (size_t)p->hidden;
        float *v = mete_tensor_write(cx, p->out), *bias = mete_tensor_write(cx, p->bias);
        float *v_grad = mete_arena(cx, count * sizeof *v_grad);
        float *bias_grad = mete_arena(cx, p->width * sizeof *bias_grad);
        if (!v_grad || !bias_grad)
            return mete_fail(cx, METE_ENOMEM, "out of memory for a gradient");
        back_hidden(p, t, v, bias_grad, v_grad);
        if (term)
            t->loss += term(p, v, v_grad);
        net_adagrad(p, p->rate, v, mete_tensor_write(cx, p->out_sum), v_grad, count);
        net_adagrad(p, p->rate, bias, mete_tensor_write(cx, p->bias_sum), bias_grad, p->width);
    } else {
        for (size_t i = 0; i < t->batch->episodes * p->outs; i++)
            t->unit[i] = (float)t->slope[i];
    }
    if (p->trunk)
        return back_states(cx, p, t, table, sum);
    back_bags(p, t, table, sum);
    return METE_OK;
}
