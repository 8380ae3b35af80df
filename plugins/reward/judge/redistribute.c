/* redistribute - the child's value spread over the tokens that earn it (after Koo et al. 2025,
 * "Learning Explainable Dense Reward Shapes via Bayesian Optimization").
 *
 * Units are tokens, words, clauses or sentences; v(S) is the child's value of the response with the
 * units of S alone. Each method gives every unit a share of R = v(all):
 *   shapley  mean over orders of v(before and u) - v(before) (Shapley 1953): exact where there are
 *            few units, else over random orders, each with its reverse
 *   lime     coefficients of a ridge regression of v on which units are there, near ones weighted
 *            more (Ribeiro et al. 2016, with their kernel on texts)
 *   uniform  R / tokens
 *   last     R on the last token
 * What a method's shares leave of R (v of the empty response) goes to the last token. The steps are
 * the methods' mean by their weights, so they sum to R whatever the weights are: the weights say
 * when the value is paid, never how much.
 */
#include <math.h>
#include <mete/reward.h>
#include <mete/text.h>

#define NO_UNIT UINT32_MAX
#define CALL_ROWS 4096 /* rows scored in one call, about */
#define LIME_WIDTH 25.0

enum { UNIT_TOKEN, UNIT_WORD, UNIT_CLAUSE, UNIT_SENTENCE };

struct redistribute {
    int unit;
    int64_t exact, orders, masks, most;
    double shapley, lime, uniform, last, ridge;
    int unsaid;
};

static const mete_option options[] = {
    METE_ENUM(struct redistribute, unit, UNIT_WORD, "token|word|clause|sentence",
              "what is taken out together"),
    METE_REAL(struct redistribute, shapley, 1, 0, 1e6, "weight of Shapley values"),
    METE_REAL(struct redistribute, lime, 0, 0, 1e6, "weight of LIME's coefficients"),
    METE_REAL(struct redistribute, uniform, 0, 0, 1e6, "weight of equal shares"),
    METE_REAL(struct redistribute, last, 0, 0, 1e6, "weight of the last token"),
    METE_INT(struct redistribute, exact, 4, 0, 16,
             "up to so many units Shapley values are of all 2^units subsets"),
    METE_INT(struct redistribute, orders, 4, 2, 4096,
             "orders drawn for more units, an even number: each costs units - 1 scores"),
    METE_INT(struct redistribute, masks, 64, 2, 65536, "LIME: subsets drawn"),
    METE_REAL(struct redistribute, ridge, 1, 1e-9, 1e9, "LIME: penalty on squared coefficients"),
    METE_INT(struct redistribute, most, 64, 1, 1024,
             "units of a response; with more, neighbours are taken together"),
    METE_OPTIONS_END};

static int
open_redistribute(mete_ctx *cx, void *self)
{
    struct redistribute *p = self;
    if (mete_child_per_step(cx, 0))
        return mete_fail(cx, METE_EINVAL, "'%s' is per step already", mete_child_name(cx, 0));
    if (!(p->shapley + p->lime + p->uniform + p->last > 0))
        return mete_fail(cx, METE_EINVAL, "shapley, lime, uniform and last are all 0");
    if (p->orders % 2)
        return mete_fail(cx, METE_EINVAL, "orders = %lld: an even number is needed",
                         (long long)p->orders);
    p->unsaid = mete_signal(cx, "unsaid", METE_EPISODE, METE_ROLE_INFO, -INFINITY, INFINITY,
                            "the child's value of the empty response");
    return p->unsaid < 0 ? p->unsaid : METE_OK;
}

/* ---- units ----------------------------------------------------------------------------------- */

/* One row: its bytes and tokens by unit, the subsets asked about, and their values. */
struct row {
    size_t row, tokens, units;
    mete_text response;
    uint32_t *of_byte;  /* [response.length] unit, or NO_UNIT: a byte that always stays */
    uint32_t *of_token; /* [tokens] */
    uint32_t *weight;   /* [units] tokens of each */
    uint32_t *order;    /* [orders x units]; NULL: all subsets */
    uint8_t *mask;      /* LIME [masks x units] 1: there */
    size_t subsets, limes;
    double *value; /* [subsets + limes] */
};

static void
units_of_segments(const struct redistribute *p, struct row *r)
{
    static const mete_segment_kind kind[] = {[UNIT_WORD] = METE_SEGMENT_WORD,
                                             [UNIT_CLAUSE] = METE_SEGMENT_CLAUSE,
                                             [UNIT_SENTENCE] = METE_SEGMENT_SENTENCE};
    mete_text part;
    for (size_t at = 0; mete_segment_next(r->response, kind[p->unit], &at, &part); r->units++)
        for (size_t i = at - part.length; i < at; i++)
            r->of_byte[i] = (uint32_t)r->units;
}

static void
units_of_tokens(const uint32_t *span, struct row *r)
{
    for (size_t t = 0; t < r->tokens; t++) {
        if (span[2 * t] >= span[2 * t + 1] || span[2 * t + 1] > r->response.length)
            continue;
        for (size_t i = span[2 * t]; i < span[2 * t + 1]; i++)
            r->of_byte[i] = (uint32_t)r->units;
        r->units++;
    }
}

/* The token's unit is that of its first byte that is no space: a word's token often begins with
 * the space before it. */
static uint32_t
unit_at(const struct row *r, const uint32_t *span)
{
    size_t end = span[1] < r->response.length ? span[1] : r->response.length, at = span[0];
    while (at + 1 < end && (unsigned char)r->response.data[at] <= ' ')
        at++;
    return at < end ? r->of_byte[at] : NO_UNIT;
}

static int
find_units(mete_ctx *cx, const struct redistribute *p, const mete_batch *batch, struct row *r)
{
    const uint32_t *span = batch->span + 2 * (size_t)batch->step_begin[r->row];
    r->of_byte = mete_arena(cx, (r->response.length + 1) * sizeof *r->of_byte);
    r->of_token = mete_arena(cx, (r->tokens + 1) * sizeof *r->of_token);
    if (!r->of_byte || !r->of_token)
        return mete_fail(cx, METE_ENOMEM, "out of memory for units");
    for (size_t i = 0; i < r->response.length; i++)
        r->of_byte[i] = NO_UNIT;
    if (p->unit == UNIT_TOKEN)
        units_of_tokens(span, r);
    else
        units_of_segments(p, r);
    size_t together = (r->units + (size_t)p->most - 1) / (size_t)p->most;
    for (size_t i = 0; together > 1 && i < r->response.length; i++)
        if (r->of_byte[i] != NO_UNIT)
            r->of_byte[i] /= (uint32_t)together;
    if (together > 1)
        r->units = (r->units + together - 1) / together;
    r->weight = mete_arena(cx, (r->units + 1) * sizeof *r->weight);
    if (!r->weight)
        return mete_fail(cx, METE_ENOMEM, "out of memory for units");
    for (size_t t = 0; t < r->tokens; t++) {
        r->of_token[t] = unit_at(r, span + 2 * t);
        if (r->of_token[t] != NO_UNIT)
            r->weight[r->of_token[t]]++;
    }
    return METE_OK;
}

/* ---- subsets --------------------------------------------------------------------------------- */

/* The first subset of a row is the empty one. Then come, for Shapley values, all others but the
 * whole (number s has the units of the bits of s), or of each order the first 1 to units - 1. */
static int
plan(mete_ctx *cx, const struct redistribute *p, uint64_t id, struct row *r)
{
    mete_rng rng = mete_random(cx, id, 0);
    size_t n = r->units;
    r->subsets = 1;
    if (p->shapley > 0 && n > 1 && n <= (size_t)p->exact) {
        r->subsets = ((size_t)1 << n) - 1;
    } else if (p->shapley > 0 && n > 1) {
        r->subsets = 1 + (size_t)p->orders * (n - 1);
        r->order = mete_arena(cx, (size_t)p->orders * n * sizeof *r->order);
        if (!r->order)
            return mete_fail(cx, METE_ENOMEM, "out of memory for orders");
        for (size_t o = 0; o < (size_t)p->orders; o += 2) {
            uint32_t *forth = r->order + o * n, *back = forth + n;
            for (size_t i = 0; i < n; i++) { /* Fisher and Yates, from the inside */
                size_t k = mete_rng_below(&rng, (uint32_t)i + 1);
                forth[i] = forth[k];
                forth[k] = (uint32_t)i;
            }
            for (size_t i = 0; i < n; i++)
                back[i] = forth[n - 1 - i];
        }
    }
    if (p->lime > 0 && n) {
        r->limes = (size_t)p->masks;
        r->mask = mete_arena(cx, r->limes * n);
        if (!r->mask)
            return mete_fail(cx, METE_ENOMEM, "out of memory for masks");
        for (size_t m = 0; m < r->limes; m++) { /* as many gone as LIME draws: 1 to n */
            size_t gone = 1 + mete_rng_below(&rng, (uint32_t)n);
            for (size_t u = 0; u < n; u++) {
                int goes = mete_rng_below(&rng, (uint32_t)(n - u)) < gone;
                r->mask[m * n + u] = !goes;
                gone -= (size_t)goes;
            }
        }
    }
    r->value = mete_arena(cx, (r->subsets + r->limes) * sizeof *r->value);
    return r->value ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory for subsets");
}

/* there[u] says whether unit u is in subset s of the row. */
static void
subset(const struct row *r, size_t s, uint8_t *there)
{
    size_t n = r->units;
    for (size_t u = 0; u < n; u++)
        there[u] = s >= r->subsets ? r->mask[(s - r->subsets) * n + u]
                   : r->order      ? 0
                                   : (uint8_t)(s >> u & 1);
    if (s >= r->subsets || !r->order || !s)
        return;
    const uint32_t *order = r->order + (s - 1) / (n - 1) * n;
    for (size_t i = 0; i < 1 + (s - 1) % (n - 1); i++)
        there[order[i]] = 1;
}

/* Scores all subsets of rows [0, count) of `r` in one call; a row with a subset that the child
 * could not score is failed. */
static int
score_subsets(mete_ctx *cx, const mete_batch *lean, struct row *r, size_t count)
{
    size_t rows = 0, bytes = 0, at = 0, byte = 0, units = 0;
    for (size_t i = 0; i < count; i++) {
        rows += r[i].subsets + r[i].limes;
        bytes += (r[i].subsets + r[i].limes) * r[i].response.length;
        units = r[i].units > units ? r[i].units : units;
    }
    uint32_t *row = mete_arena(cx, (rows + 1) * sizeof *row);
    uint8_t *keep = mete_arena(cx, bytes + 1), *there = mete_arena(cx, units + 1);
    if (!row || !keep || !there)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu subsets", rows);
    for (size_t i = 0; i < count; i++)
        for (size_t s = 0; s < r[i].subsets + r[i].limes; s++) {
            subset(&r[i], s, there);
            row[at++] = (uint32_t)r[i].row;
            for (size_t k = 0; k < r[i].response.length; k++)
                keep[byte++] = r[i].of_byte[k] == NO_UNIT || there[r[i].of_byte[k]];
        }
    const mete_batch *part = mete_batch_subset(cx, lean, row, rows);
    part = part ? mete_batch_mask(cx, part, keep) : NULL;
    const mete_scores *got = part ? mete_evaluate(cx, mete_child_node(cx, 0), part) : NULL;
    if (!got)
        return METE_EPLUGIN;
    at = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t s = 0; s < r[i].subsets + r[i].limes; s++, at++) {
            r[i].value[s] = got->episode[at];
            if (got->status[at])
                mete_row_fail(cx, r[i].row, METE_FAILED,
                              "the child has no value of the response without some of it");
        }
    return METE_OK;
}

/* ---- shares ---------------------------------------------------------------------------------- */

/* sum over S without u of |S|! (n - |S| - 1)! / n! (v(S + u) - v(S)). */
static void
shapley_exact(const struct row *r, double whole, double *share)
{
    size_t n = r->units;
    double weight[17];
    for (size_t size = 0; size < n; size++) {
        weight[size] = 1 / (double)n; /* 1 / (n C(n - 1, size)) */
        for (size_t i = 1; i <= size; i++)
            weight[size] *= (double)i / (double)(n - i);
    }
    for (size_t s = 0; s + 1 < (size_t)1 << n; s++)
        for (size_t u = 0; u < n; u++) {
            size_t with = s | (size_t)1 << u;
            if (with == s)
                continue;
            double value = with + 1 == (size_t)1 << n ? whole : r->value[with];
            share[u] += weight[__builtin_popcountll(s)] * (value - r->value[s]);
        }
}

static void
shapley_sampled(const struct redistribute *p, const struct row *r, double whole, double *share)
{
    size_t n = r->units, orders = (size_t)p->orders;
    for (size_t o = 0; o < orders; o++) {
        double before = r->value[0];
        for (size_t i = 0; i < n; i++) {
            double after = i + 1 < n ? r->value[1 + o * (n - 1) + i] : whole;
            share[r->order[o * n + i]] += (after - before) / (double)orders;
            before = after;
        }
    }
}

/* Solves a x = b in place for a symmetric positive definite a, by Cholesky's factors. */
static void
solve(double *a, double *b, size_t n)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            b[i] -= a[i * n + k] * b[k];
        b[i] /= a[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++)
            b[i] -= a[k * n + i] * b[k];
        b[i] /= a[i * n + i];
    }
}

/* Weighted ridge regression with an intercept: both sides are centred first. */
static int
lime(mete_ctx *cx, const struct redistribute *p, const struct row *r, double *share)
{
    size_t n = r->units;
    double *mean = mete_arena(cx, (n + 1) * sizeof *mean), total = 0, level = 0;
    double *matrix = mete_arena(cx, (n * n + 1) * sizeof *matrix);
    double *near = mete_arena(cx, r->limes * sizeof *near);
    if (!mean || !matrix || !near)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu units", n);
    for (size_t m = 0; m < r->limes; m++) {
        double kept = 0;
        for (size_t u = 0; u < n; u++)
            kept += r->mask[m * n + u];
        double distance = 100 * (1 - sqrt(kept / (double)n)); /* cosine distance to the whole */
        near[m] = sqrt(exp(-distance * distance / (LIME_WIDTH * LIME_WIDTH)));
        total += near[m];
        level += near[m] * r->value[r->subsets + m];
        for (size_t u = 0; u < n; u++)
            mean[u] += near[m] * r->mask[m * n + u];
    }
    for (size_t u = 0; u < n; u++)
        mean[u] /= total;
    for (size_t m = 0; m < r->limes; m++)
        for (size_t u = 0; u < n; u++) {
            double x = near[m] * (r->mask[m * n + u] - mean[u]);
            share[u] += x * (r->value[r->subsets + m] - level / total);
            for (size_t k = 0; k <= u; k++)
                matrix[u * n + k] += x * (r->mask[m * n + k] - mean[k]);
        }
    for (size_t u = 0; u < n; u++)
        matrix[u * n + u] += p->ridge;
    solve(matrix, share, n);
    return METE_OK;
}

/* Adds `weight` times the units' shares to their tokens, alike to the tokens of one unit; a unit
 * that holds no token leaves its share to the last. */
static void
spread(const struct row *r, const double *share, double weight, double *step)
{
    for (size_t t = 0; t < r->tokens; t++)
        if (r->of_token[t] != NO_UNIT)
            step[t] += weight * share[r->of_token[t]] / r->weight[r->of_token[t]];
}

static int
share_out(mete_ctx *cx, const struct redistribute *p, const struct row *r, double whole,
          double *step)
{
    double all = p->shapley + p->lime + p->uniform + p->last, paid = 0;
    double *share = mete_arena(cx, (2 * r->units + 2) * sizeof *share);
    double *linear = share + r->units + 1;
    if (!share)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu units", r->units);
    if (p->shapley > 0 && r->units == 1)
        share[0] = whole - r->value[0];
    else if (p->shapley > 0 && r->units)
        r->order ? shapley_sampled(p, r, whole, share) : shapley_exact(r, whole, share);
    if (r->limes && lime(cx, p, r, linear))
        return METE_ENOMEM;
    spread(r, share, p->shapley / all, step);
    spread(r, linear, p->lime / all, step);
    for (size_t t = 0; t < r->tokens; t++)
        step[t] += p->uniform / all * whole / (double)r->tokens;
    for (size_t t = 0; t < r->tokens; t++)
        paid += step[t];
    step[r->tokens - 1] += whole - paid;
    return METE_OK;
}

/* ---- scoring --------------------------------------------------------------------------------- */

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct redistribute *p = self;
    const mete_scores *child = mete_child(cx, 0);
    struct row *row = mete_arena(cx, (batch->episodes + 1) * sizeof *row);
    size_t rows = 0, open = 0, asked = 0;
    int status = METE_OK;
    if (!row)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu rows", batch->episodes);
    for (size_t i = 0; i < batch->episodes && !status; i++) {
        size_t tokens = batch->step_begin[i + 1] - batch->step_begin[i];
        out->status[i] = child->status[i];
        out->episode[i] = child->episode[i];
        if (child->status[i] || !tokens)
            continue;
        if (!batch->response || !batch->span)
            return mete_fail(cx, METE_EDATA, "the steps are no tokens of a response");
        row[rows] = (struct row){.row = i, .tokens = tokens, .response = batch->response[i]};
        status = find_units(cx, p, batch, &row[rows]);
        status = status ? status : plan(cx, p, batch->id[i], &row[rows]);
        rows++;
    }
    const mete_batch *lean =
        rows && !status ? mete_batch_respond(cx, batch, batch->response) : NULL; /* no steps */
    if (rows && !status && !lean)
        return METE_ENOMEM;
    for (size_t i = 0; i < rows && !status; i++) {
        asked += row[i].subsets + row[i].limes;
        if (asked < CALL_ROWS && i + 1 < rows)
            continue;
        status = score_subsets(cx, lean, row + open, i + 1 - open);
        open = i + 1;
        asked = 0;
    }
    for (size_t i = 0; i < rows && !status; i++) {
        size_t at = row[i].row;
        if (out->status[at])
            continue;
        mete_out(out, p->unsaid)[at] = row[i].value[0];
        status = share_out(cx, p, &row[i], child->episode[at], out->step + batch->step_begin[at]);
    }
    return status;
}

METE_REWARD_PLUGIN(
    redistribute, "1.0", "the child's value spread over the tokens that earn it",
    .doc = "The child is scored on the response without some of its units: one that asks a model\n"
           "costs orders x (units - 1) questions a response. A row without tokens keeps the\n"
           "child's value. The paper divides each attribution by its sum and multiplies by the\n"
           "value; here what is left over goes to the last token, which needs no division by a\n"
           "sum near 0. Its attention weights are not there: models do not tell them.\n"
           "Signal: unsaid, the child's value of the empty response.\n"
           "\n"
           "reward = { use = \"redistribute\"; shapley = 0.7; last = 0.3; of = ( { use = ...; } ); "
           "};\n"
           "mete sweep CONFIG --over reward.shapley=0,0.5,1 --over reward.lime=0,1\n",
    .reference = "Koo et al. 2025; Shapley 1953; LIME: Ribeiro et al. 2016, arXiv:1602.04938",
    .options = options, .state_size = sizeof(struct redistribute),
    .flags = METE_COMBINES | METE_ONE_CHILD | METE_PER_STEP | METE_SAMPLES,
    .open = open_redistribute, .score = score);
