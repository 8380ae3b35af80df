/* attribution.c - which node a run's reward, its advantage and its gradient come from.
 *
 * A METE_SUMS node is the sum of its children, each times its weight, so from the root down the
 * total is a sum of contributions c_k = coefficient_k x value_k: the coefficient is the product of
 * the weights on the way, and a row that the node could not score contributes 0. The last nodes on
 * these ways are the parts; an inner node's contribution is the sum of its parts'.
 *
 * A node that is no sum is a part, and what happens within it is told where its slopes are known
 * (mete__partial): a child's contribution is
 *
 *   c_k = S_k (x_k - mean x_k) + mean S_k mean x_k
 *   S_k = int_0^1 dv/dx_k (mean x + a (x - mean x)) da
 *
 * x being the children's values and v the node's: the integrated gradients of Sundararajan et al.
 * 2017 (Aumann and Shapley's prices) from the children's means over the batch, the integral by
 * Gauss and Legendre's rule. A child that never varies explains nothing, one under a sum counts as
 * in any sum, and together they are the node's, but for jumps (a gate's opening), which are the
 * node's own. Further down the slopes multiply. So the shares within a node add up to its own
 * where it is smooth; they are in its share already, not beside it.
 *
 *   variance   cov(c_k, total) / var(total) over the rows that count; the parts' sum to 1
 *   advantage  cov(A_k, A) / var(A) over the steps that are learnt from, A_k being what c_k alone
 *              is answerable for (mete__stream_part); what is missing to 1 is the critic's, a KL
 *              cost's or another stream's
 *   gradient   <g_k, g> / <g, g>, g_k being the gradient of the reward's own terms with A_k in
 *              place of the advantage: the share of the step's first-order effect on the objective
 *              that is this node's. Also |g_k| / |g| (norm) and their cosine. Sampled: every so
 *              many iterations, on so many rows that all passes together are one over the batch.
 */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A variance below this share of the squared size of the values is rounding. */
#define NO_SPREAD 1e-18

/* Contributions of the rows of one part within another, and where they are paid: at the steps, or
 * (NULL) at the last. */
struct paid {
    double *row, *step;
};

struct mete__attribution {
    size_t nodes;
    double *least, *most; /* [nodes] values seen so far in the run */
    mete__part *part;     /* of the last scored batch; those within others come after the parts */
    size_t parts, all, part_room;
    struct paid *paid;            /* [all - parts] what each of the latter gave */
    mete__arena *memory;          /* of these */
    double *reward, *share, *row; /* [steps], [steps], [rows] of one part */
    size_t steps, rows;
    float *whole; /* [parameters] the gradient that parts are compared with */
};

void
mete__attribution_free(struct mete__attribution *a)
{
    if (!a)
        return;
    free(a->least);
    free(a->most);
    free(a->part);
    free(a->paid);
    if (a->memory)
        mete__arena_free(a->memory);
    free(a->reward);
    free(a->share);
    free(a->row);
    free(a->whole);
    free(a);
}

static struct mete__attribution *
make(mete__loop *loop)
{
    size_t nodes;
    struct mete__attribution *a = loop->attribution;
    if (a)
        return a;
    mete__engine_nodes(loop->engine, &nodes);
    loop->attribution = a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->nodes = nodes;
    a->least = malloc((nodes + 1) * sizeof *a->least);
    a->most = malloc((nodes + 1) * sizeof *a->most);
    for (size_t i = 0; a->least && a->most && i < nodes; i++) {
        a->least[i] = INFINITY;
        a->most[i] = -INFINITY;
    }
    return a->least && a->most ? a : NULL;
}

static int
no_memory(mete_error *err)
{
    return mete_error_set(err, METE_ENOMEM, "out of memory for attribution");
}

/* ---- parts ----------------------------------------------------------------------------------- */

static bool
room_for_parts(struct mete__attribution *a)
{
    if (a->all < a->part_room)
        return true;
    size_t room = a->part_room ? 2 * a->part_room : 8;
    mete__part *part = realloc(a->part, room * sizeof *part);
    a->part = part ? part : a->part;
    struct paid *paid = part ? realloc(a->paid, room * sizeof *paid) : NULL;
    a->paid = paid ? paid : a->paid;
    if (!paid)
        return false;
    a->part_room = room;
    return true;
}

static bool
add_part(struct mete__attribution *a, const mete_node *node, const mete_node *root,
         double coefficient)
{
    size_t at = a->all;
    bool sums = (node->plugin->as.head.flags & METE_SUMS) && node->children, good = true;
    if (!room_for_parts(a))
        return false;
    a->part[at] = (mete__part){.node = node, .coefficient = coefficient, .inner = sums};
    a->parts = ++a->all;
    mete__metrics_name(node, root, a->part[at].name);
    for (size_t k = 0; sums && good && k < node->children; k++)
        good = add_part(a, node->child[k], root, coefficient * node->weight[k]);
    return good;
}

/* ---- within nodes that are no sums ----------------------------------------------------------- */

/* A factor on the way down: [steps], or [episodes]. */
struct slopes {
    double *value;
    bool per_step;
};

static double *
numbers(struct mete__attribution *a, size_t n)
{
    return mete__arena_zero(a->memory, (n + 1) * sizeof(double));
}

/* The slope of `node` in its child k, averaged over the way from the children's means: exact for
 * products of up to 8 children. */
static int
mean_slope(struct mete__attribution *a, mete_node *node, size_t k, size_t n, double *out,
           mete_error *err)
{
    static const double at[] = {0.06943184420297371, 0.33000947820757187, 0.6699905217924281,
                                0.9305681557970263},
                        weight[] = {0.17392742256872692, 0.32607257743127307, 0.32607257743127307,
                                    0.17392742256872692};
    bool sums = node->plugin->as.head.flags & METE_SUMS;
    double *one = numbers(a, n);
    int status = METE_OK;
    if (!one)
        return no_memory(err);
    for (size_t q = 0; q < (sums ? 1 : sizeof at / sizeof *at) && !status; q++) {
        status = mete__partial(node, k, sums ? 1 : at[q], one, err);
        for (size_t i = 0; i < n; i++)
            out[i] += (sums ? 1 : weight[q]) * one[i];
    }
    return status;
}

/* What the child's values give, times the slopes: S (x - mean x) + mean S mean x, into `slope`. */
static void
give(const mete_scores *child, const mete_batch *batch, const struct slopes *slope, bool by_step)
{
    size_t n = slope->per_step ? batch->steps : batch->episodes;
    double x_mean = 0, s_mean = 0, count = 0;
    for (size_t i = 0; i < n; i++) {
        size_t row = slope->per_step ? batch->step_row[i] : i;
        if (child->status[row])
            continue;
        x_mean += by_step ? child->step[i] : child->episode[row];
        s_mean += slope->value[i];
        count++;
    }
    x_mean /= fmax(count, 1);
    s_mean /= fmax(count, 1);
    for (size_t i = 0; i < n; i++) {
        size_t row = slope->per_step ? batch->step_row[i] : i;
        double x = by_step ? child->step[i] : child->episode[row];
        slope->value[i] = child->status[row] ? 0 : slope->value[i] * (x - x_mean) + s_mean * x_mean;
    }
}

/* The contribution as rows, and as steps where the part that it is within is per step. */
static bool
settle(struct mete__attribution *a, const mete_batch *batch, const struct slopes *given,
       bool per_step, struct paid *out)
{
    out->row = given->per_step ? numbers(a, batch->episodes) : given->value;
    out->step = per_step ? given->value : NULL;
    for (size_t t = 0; out->row && given->per_step && t < batch->steps; t++)
        out->row[batch->step_row[t]] += given->value[t];
    return out->row;
}

/* Adds the children of `node`, which stands within (or is) a part that is no sum. `factor`: the
 * slopes from that part down to here. */
static int
add_within(struct mete__attribution *a, mete_node *node, const mete_node *root,
           const mete_node *top, const mete_batch *batch, const struct slopes *factor,
           mete_error *err)
{
    for (size_t k = 0; k < node->children; k++) {
        mete_node *child = node->child[k];
        struct slopes slope = {.per_step = factor->per_step || node->per_step}, given = slope;
        size_t n = slope.per_step ? batch->steps : batch->episodes, at = a->all;
        double *own = numbers(a, node->per_step ? batch->steps : batch->episodes);
        slope.value = numbers(a, n);
        given.value = numbers(a, n);
        if (!own || !slope.value || !given.value || !room_for_parts(a))
            return no_memory(err);
        int status =
            mean_slope(a, node, k, node->per_step ? batch->steps : batch->episodes, own, err);
        if (status == METE_ENOTSUP) { /* nobody knows what is below */
            *err = (mete_error){0};
            return METE_OK;
        }
        if (status)
            return status;
        for (size_t i = 0; i < n; i++) {
            size_t row = slope.per_step ? batch->step_row[i] : i;
            given.value[i] = slope.value[i] =
                factor->value[factor->per_step ? i : row] * own[node->per_step ? i : row];
        }
        give(mete__node_scores(child), batch, &given, node->per_step && child->per_step);
        if (!settle(a, batch, &given, top->per_step, &a->paid[at]))
            return no_memory(err);
        a->part[at] = (mete__part){.node = child, .coefficient = 1};
        mete__metrics_name(child, root, a->part[at].name);
        a->all++;
        if ((status = add_within(a, child, root, top, batch, &slope, err)))
            return status;
        a->part[at].inner = a->all > at + 1;
    }
    return METE_OK;
}

static int
look_within(mete__loop *loop, const mete_batch *batch, mete_error *err)
{
    struct mete__attribution *a = loop->attribution;
    if (!a->memory && !(a->memory = mete__arena_new()))
        return no_memory(err);
    mete__arena_release(a->memory, (mete__arena_mark){0, 0});
    for (size_t k = 0; k < a->parts; k++) {
        mete_node *node = (mete_node *)(uintptr_t)a->part[k].node;
        struct slopes factor = {numbers(a, batch->episodes), false};
        if (!factor.value)
            return no_memory(err);
        if (a->part[k].inner)
            continue;
        for (size_t i = 0; i < batch->episodes; i++)
            factor.value[i] = a->part[k].coefficient;
        int status = add_within(a, node, loop->reward, node, batch, &factor, err);
        if (status)
            return status;
    }
    return METE_OK;
}

/* What a part gave to a row of the total. */
static double
given_to(const struct mete__attribution *a, size_t k, size_t row)
{
    const mete_scores *scores = mete__node_scores(a->part[k].node);
    if (k >= a->parts)
        return a->paid[k].row[row];
    return scores->status[row] ? 0 : a->part[k].coefficient * scores->episode[row];
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Sums over rows for a covariance. */
typedef struct moments {
    double n, x, y, xx, yy, xy;
} moments;

static void
moments_add(moments *m, double x, double y)
{
    /* Welford 1962, for two: no cancellation when means are large. */
    double dx = x - m->x, dy = y - m->y;
    m->n++;
    m->x += dx / m->n;
    m->y += dy / m->n;
    m->xx += dx * (x - m->x);
    m->yy += dy * (y - m->y);
    m->xy += dx * (y - m->y);
}

static bool
spread(double squares, double n, double mean)
{
    return n > 1 && squares > NO_SPREAD * n * (mean * mean + squares / n);
}

/* Share of the root's variance; NaN where it has none. */
static double
variance_share(const struct mete__attribution *a, size_t k, const mete_scores *total,
               const mete_batch *batch)
{
    moments m = {0};
    for (size_t i = 0; i < batch->episodes; i++)
        if (!total->status[i])
            moments_add(&m, given_to(a, k, i), total->episode[i]);
    return spread(m.yy, m.n, m.y) ? m.xy / m.yy : NAN;
}

static void
add_variances(mete__loop *loop, const struct mete__attribution *a, const mete_batch *batch)
{
    const mete_scores *total = mete__node_scores(loop->reward);
    double sum = 0, most = 0;
    for (size_t k = 1; k < a->all; k++) {
        double share = variance_share(a, k, total, batch);
        if (isnan(share))
            return;
        mete__metrics_add(&loop->metrics, share, "attribution/variance/%s", a->part[k].name);
        if (a->part[k].inner || k >= a->parts)
            continue;
        sum += fabs(share);
        most = fmax(most, fabs(share));
    }
    if (sum > 0)
        mete__metrics_add(&loop->metrics, most / sum, "attribution/dominance");
}

/* Shares of the valid rows at the least and the greatest value the node gave so far in the run. */
static void
add_saturation(mete__metrics *metrics, const mete_scores *scores, const mete_batch *batch,
               double *least, double *most, const char *name)
{
    size_t rows = 0, low = 0, high = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        if (!scores->status[i]) {
            *least = fmin(*least, scores->episode[i]);
            *most = fmax(*most, scores->episode[i]);
        }
    for (size_t i = 0; i < batch->episodes; i++)
        if (!scores->status[i]) {
            rows++;
            low += scores->episode[i] == *least;
            high += scores->episode[i] == *most;
        }
    if (!rows || *least == *most)
        return;
    mete__metrics_add(metrics, (double)low / (double)rows, "attribution/floor/%s", name);
    mete__metrics_add(metrics, (double)high / (double)rows, "attribution/ceiling/%s", name);
}

/* Share of the groups of at least two valid rows in which the node gives all the same value. */
static void
add_flat(mete__metrics *metrics, const mete_scores *scores, const mete_batch *batch,
         const char *name)
{
    size_t groups = 0, flat = 0;
    for (size_t g = 0; g < batch->groups; g++) {
        size_t rows = 0;
        double least = INFINITY, most = -INFINITY;
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            if (!scores->status[i]) {
                least = fmin(least, scores->episode[i]);
                most = fmax(most, scores->episode[i]);
                rows++;
            }
        groups += rows > 1;
        flat += rows > 1 && least == most;
    }
    if (groups)
        mete__metrics_add(metrics, (double)flat / (double)groups, "attribution/flat/%s", name);
}

/* Pearson's correlation of each pair of the root, the parts and gold nodes, over the rows valid in
 * both; pairs in which one does not vary are left out. */
static void
add_correlations(mete__loop *loop, const mete_batch *batch)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t i = 0; i < nodes; i++) {
        char first[METE__METRIC_NAME], second[METE__METRIC_NAME];
        if (!mete__measured(node[i], loop->reward))
            continue;
        const mete_scores *a = mete__node_scores(node[i]);
        mete__metrics_name(node[i], loop->reward, first);
        for (size_t k = i + 1; k < nodes; k++) {
            if (!mete__measured(node[k], loop->reward))
                continue;
            const mete_scores *b = mete__node_scores(node[k]);
            moments m = {0};
            for (size_t r = 0; r < batch->episodes; r++)
                if (!a->status[r] && !b->status[r])
                    moments_add(&m, a->episode[r], b->episode[r]);
            if (!spread(m.xx, m.n, m.x) || !spread(m.yy, m.n, m.y))
                continue;
            mete__metrics_name(node[k], loop->reward, second);
            mete__metrics_add(&loop->metrics, m.xy / sqrt(m.xx * m.yy),
                              "attribution/correlation/%s,%s", first, second);
        }
    }
}

const mete__part *
mete__attribution_parts(mete__loop *loop, size_t *count)
{
    struct mete__attribution *a = make(loop);
    *count = 0;
    if (!a || (!a->parts && !add_part(a, loop->reward, loop->reward, 1)))
        return NULL;
    *count = a->parts;
    return a->part;
}

static bool
sampled(const mete__loop *loop)
{
    return loop->attribution_every && loop->done % loop->attribution_every == 0;
}

int
mete__attribute_scores(mete__loop *loop, const mete_batch *batch, mete_error *err)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    struct mete__attribution *a = make(loop);
    if (!a)
        return no_memory(err);
    a->parts = a->all = 0;
    if (!add_part(a, loop->reward, loop->reward, 1))
        return no_memory(err);
    int status = look_within(loop, batch, err);
    if (status)
        return status;
    add_variances(loop, a, batch);
    for (size_t i = 0; i < nodes && i < a->nodes; i++) {
        char name[METE__METRIC_NAME];
        if (!mete__measured(node[i], loop->reward))
            continue;
        const mete_scores *scores = mete__node_scores(node[i]);
        mete__metrics_name(node[i], loop->reward, name);
        add_saturation(&loop->metrics, scores, batch, &a->least[i], &a->most[i], name);
        add_flat(&loop->metrics, scores, batch, name);
    }
    if (sampled(loop))
        add_correlations(loop, batch);
    return METE_OK;
}

/* ---- advantage and gradient ------------------------------------------------------------------ */

static bool
room_for(struct mete__attribution *a, const struct mete__work *w, size_t parameters)
{
    if (!a->whole)
        a->whole = calloc(parameters + 1, sizeof *a->whole);
    if (a->steps < w->steps) {
        free(a->reward);
        free(a->share);
        a->reward = calloc(w->steps, sizeof *a->reward);
        a->share = calloc(w->steps, sizeof *a->share);
        a->steps = a->reward && a->share ? w->steps : 0;
    }
    if (a->rows < w->rows) {
        free(a->row);
        a->row = calloc(w->rows, sizeof *a->row);
        a->rows = a->row ? w->rows : 0;
    }
    return a->whole && a->steps && a->rows;
}

/* Normalising centres the advantage over the steps used; its scale changes no share. */
static void
centre(const struct mete__work *w, double *advantage)
{
    double mean = 0;
    for (size_t k = 0; k < w->count; k++)
        mean += advantage[w->index[k]] / (double)w->count;
    for (size_t k = 0; k < w->count; k++)
        advantage[w->index[k]] -= mean;
}

/* A part's advantage into a->share. */
static void
part_advantage(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, size_t k)
{
    struct mete__attribution *a = loop->attribution;
    struct mete__work *w = loop->work;
    const mete_scores *scores = mete__node_scores(a->part[k].node);
    const double *step = k >= a->parts ? a->paid[k].step : scores->step;
    double at = (double)(loop->done - stage->first);
    memset(a->reward, 0, batch->steps * sizeof *a->reward);
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t from = batch->step_begin[i], to = batch->step_begin[i + 1];
        if (scores->status[i] || !w->stream_valid[i] || from == to)
            continue;
        for (size_t t = from; step && t < to; t++)
            a->reward[t] = a->part[k].coefficient * step[t];
        if (!step)
            a->reward[to - 1] = given_to(a, k, i);
    }
    mete__stream_part(w, &stage->objective, batch, mete__schedule_at(&stage->objective.gamma, at),
                      mete__schedule_at(&stage->objective.lambda, at), a->reward, a->row, a->share);
    if (stage->objective.normalise)
        centre(w, a->share);
}

static double
dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* The rows of this sample: so many that all passes are one over the batch, further on each time. */
static void
sample(const mete__loop *loop, const mete_batch *batch, size_t passes, size_t *from, size_t *count)
{
    *count = batch->episodes / passes ? batch->episodes / passes : 1;
    *from =
        (size_t)(loop->done / loop->attribution_every * *count % (batch->episodes - *count + 1));
}

static int
add_gradients(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, size_t passes,
              mete_error *err)
{
    struct mete__attribution *a = loop->attribution;
    size_t from, count;
    sample(loop, batch, passes, &from, &count);
    memcpy(a->share, loop->work->advantage, batch->steps * sizeof *a->share);
    if (stage->objective.normalise)
        centre(loop->work, a->share);
    int status = mete__gradient(loop, stage, batch, from, count, a->share, err);
    if (status)
        return status;
    memcpy(a->whole, loop->grad, loop->parameters * sizeof *a->whole);
    double whole = dot(a->whole, a->whole, loop->parameters);
    for (size_t k = 1; k < a->all && whole > 0; k++) {
        const mete__part *p = &a->part[k];
        if (p->inner)
            continue;
        part_advantage(loop, stage, batch, k);
        status = mete__gradient(loop, stage, batch, from, count, a->share, err);
        if (status)
            return status;
        double along = dot(loop->grad, a->whole, loop->parameters),
               own = dot(loop->grad, loop->grad, loop->parameters);
        mete__metrics_add(&loop->metrics, along / whole, "attribution/gradient/%s", p->name);
        mete__metrics_add(&loop->metrics, sqrt(own / whole), "attribution/norm/%s", p->name);
        if (own > 0)
            mete__metrics_add(&loop->metrics, along / sqrt(own * whole), "attribution/cosine/%s",
                              p->name);
    }
    return METE_OK;
}

int
mete__attribute_advantage(mete__loop *loop, const mete__stage *stage, const mete_batch *batch,
                          mete_error *err)
{
    struct mete__attribution *a = loop->attribution;
    struct mete__work *w = loop->work;
    size_t passes = 1;
    if (!a || a->all < 2 || !w->count || !batch->episodes)
        return METE_OK;
    if (!room_for(a, w, loop->parameters))
        return no_memory(err);
    for (size_t k = 1; k < a->all; k++) {
        moments m = {0};
        part_advantage(loop, stage, batch, k);
        for (size_t i = 0; i < w->count; i++)
            moments_add(&m, a->share[w->index[i]], w->advantage[w->index[i]]);
        if (spread(m.yy, m.n, m.y))
            mete__metrics_add(&loop->metrics, m.xy / m.yy, "attribution/advantage/%s",
                              a->part[k].name);
        passes += !a->part[k].inner;
    }
    return sampled(loop) ? add_gradients(loop, stage, batch, passes, err) : METE_OK;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

int
mete__attribution_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err)
{
    const struct mete__attribution *a = loop->attribution;
    if (!a)
        return METE_OK;
    int status = mete__checkpoint_add(to, "attribution/least", METE_F64, a->nodes, a->least, err);
    return status ? status
                  : mete__checkpoint_add(to, "attribution/most", METE_F64, a->nodes, a->most, err);
}

int
mete__attribution_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err)
{
    size_t nodes = SIZE_MAX, again;
    const double *least = mete__checkpoint_get(from, "attribution/least", METE_F64, &nodes);
    const double *most = mete__checkpoint_get(from, "attribution/most", METE_F64, &(size_t){nodes});
    if (!least) /* nothing was scored yet */
        return METE_OK;
    struct mete__attribution *a = make(loop);
    if (!a)
        return no_memory(err);
    mete__engine_nodes(loop->engine, &again);
    if (nodes != again || a->nodes != nodes || !most)
        return mete_error_set(err, METE_EDATA, "the checkpoint's attribution is of other nodes");
    memcpy(a->least, least, nodes * sizeof *least);
    memcpy(a->most, most, nodes * sizeof *most);
    return METE_OK;
}
