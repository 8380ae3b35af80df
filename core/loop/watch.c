/* watch.c - is the run still buying what it was meant to buy? (Goodhart's law.)
 *
 * Signs, each raised when its evidence is beyond chance, as one event with that evidence. With a
 * gold node:
 *   gold       the smoothed gold fell from its peak, beyond `significance` standard errors, while
 *              the smoothed reward did not (Gao et al. 2023: proxy and gold over sqrt(KL) part)
 *   turn       the policy's own steps lower gold. With s = log pi_t - log pi_t-1 of a row, a step
 *              changed the mean of gold by exactly -Cov_t(gold, e^-s) (Price's equation, 1970: the
 *              change of a mean is the covariance with fitness), which is known far better than a
 *              difference of two noisy means. Summed from its highest point it fell, beyond
 *              `significance` standard errors. Costs a forward pass an iteration.
 * Without:
 *   dominance  one node has the share `dominance` of the variance, and what all others pay fell
 *              from its peak, beyond `significance` standard errors and by a tenth of what the node
 *              gained since, itself beyond chance: it is bought at their expense
 *   length     responses have moved by `length` of their first standard deviations, and within
 *              groups the reward goes with length that way, by a correlation of 1/2 or more
 *   slope      the reward broke with its trend: CUSUMs (Page 1954), both ways, of the standardised
 *              errors of Holt's one-step forecasts (1957) passed `cusum`
 *   variance   the spread within groups fell under `variance` of what it was, yet the mean has not
 *              come half-way to what the best of a group was at first, and less than nine rows in
 *              ten have the greatest reward of the run: the policy settled on something poor
 *   groups     the same where a share `groups` of all groups has no spread left
 * What is first is measured over the first `warmup` iterations; nothing is raised in them. Means
 * are exponentially weighted with the half-life `smooth`; standard errors are of means of groups.
 * All state is in the checkpoint, so a resumed run raises the same.
 */
#include "loop/inner.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

enum { GOLD, TURN, DOMINANCE, LENGTH, SLOPE, VARIANCE, GROUPS, SIGNS };
static const char *const sign_name[SIGNS] = {"gold",  "turn",     "dominance", "length",
                                             "slope", "variance", "groups"};
#define SIGN_WORDS "gold|turn|dominance|length|slope|variance|groups"
enum { LOG, STOP, LOWER };
static const char *const deed[] = {"log", "stop", "lower"};

/* Half a standard deviation: the shift a CUSUM is the fastest for is one (Page 1954). */
#define ALLOWANCE 0.5
#define HOLT_LEVEL 0.1
#define HOLT_TREND 0.2

/* An exponentially weighted mean and the variance of its sum; all numbers of the state are doubles,
 * so that it is saved as one array. */
typedef struct smoothed {
    double sum, weight, variance;
} smoothed;

typedef struct state {
    double seen; /* iterations watched */
    smoothed gold, reward, kl, length, paid, flat, spread;
    /* of the first iterations: sums, then divided by `seen` at the end of them */
    double first_mean, first_best, first_spread, first_length, first_length_sd, first_flat;
    double peak, peak_error, peak_reward, peak_iteration;
    /* gold as the policy's steps changed it: the sum, its highest, the variance since then */
    double moved, highest, moved_variance;
    double best, best_iteration, best_kl; /* of `moved`: the best stopping point so far */
    double level, trend, scale, up, down;
    double raised[SIGNS]; /* 1 + the iteration; 0: not raised */
    double held;          /* no sign is raised before so many iterations are watched */
} state;

/* Of each part of the total. */
typedef struct part_state {
    smoothed share, others, with_gold, with_length;
    double others_peak, others_error, own_then; /* own_then: the part's mean at that peak */
    double factor;                              /* its weight is multiplied by this */
} part_state;

struct mete__watch {
    unsigned signs;
    int on;
    double factor, smooth, significance, cusum;
    double dominance, length, variance, groups;
    uint64_t warmup;
    const mete_node *node; /* to be lowered, or NULL: the one the evidence names */
    const mete_node *gold; /* or NULL */
    state now;
    part_state *part;
    size_t parts;
    double *reward, *other; /* [rows] centred within groups */
    double *step;           /* [rows] e^-s of each row, with a gold node */
    size_t rows;
    float *logp; /* [steps] */
    size_t steps;
    float *previous; /* [parameters] those before the last step, in the runs that watch gold */
    int64_t previous_version;
    bool stepped; /* `step` is of this batch */
    bool stops;
};

/* ---- config ---------------------------------------------------------------------------------- */

const mete_node *
mete__gold_node(const mete__loop *loop)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t i = 0; i < nodes; i++)
        if (node[i]->kind == METE_KIND_REWARD && node[i]->gold)
            return node[i];
    return NULL;
}

static unsigned
read_signs(mete__value *group, bool gold, mete__errors *errors)
{
    const unsigned of_gold = 1u << GOLD | 1u << TURN, all = (1u << SIGNS) - 1;
    /* who knows gold needs no guesses from other signs, unless they are asked for */
    mete__value *list = mete__value_get(group, "signs");
    unsigned signs = 0;
    if (!list)
        return gold ? of_gold : all & ~of_gold;
    if (list->kind != METE__LIST)
        mete__errors_add(errors, "%s:%d: %s must be a list [ \"length\", ... ]", list->file,
                         list->line, list->path);
    for (mete__value *item = list->kind == METE__LIST ? list->first : NULL; item;
         item = item->next) {
        int sign = mete__value_word(item, SIGN_WORDS, errors);
        if (sign >= 0)
            signs |= 1u << sign;
        if (sign >= 0 && (1u << sign & of_gold) && !gold)
            mete__errors_add(errors, "%s:%d: %s: \"%s\" wants a reward with gold = true",
                             item->file, item->line, item->path, sign_name[sign]);
    }
    return signs;
}

static void
read_node(mete__loop *loop, struct mete__watch *w, mete__value *group, mete__errors *errors)
{
    const char *name = mete__value_string(group, "node", NULL, errors);
    if (!name)
        return;
    const mete_node *node = mete__engine_find(loop->engine, name);
    size_t parts;
    const mete__part *part = mete__attribution_parts(loop, &parts);
    for (size_t k = 1; part && k < parts; k++)
        if (part[k].node == node && !part[k].inner)
            w->node = node;
    if (!w->node)
        mete__errors_add(errors,
                         "%s:%d: %s.node = \"%s\" names no reward that the total is a sum of",
                         group->file, group->line, group->path, name);
}

struct mete__watch *
mete__watch_read(mete__loop *loop, mete__errors *errors)
{
    mete__value *group = mete__value_get(mete__config_root(loop->config), "watch");
    const mete_node *gold = mete__gold_node(loop);
    if (group && group->kind != METE__GROUP)
        mete__errors_add(errors, "%s:%d: watch must be a group { on = \"log\"; }", group->file,
                         group->line);
    if (group && !loop->reward)
        mete__errors_add(errors, "%s:%d: watch: the config has no reward to watch", group->file,
                         group->line);
    if ((!group && !gold) || (group && group->kind != METE__GROUP) || !loop->reward)
        return NULL;
    struct mete__watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    *w = (struct mete__watch){.signs = 1u << GOLD | 1u << TURN,
                              .factor = 0.5,
                              .smooth = 10,
                              .significance = 4,
                              .cusum = 10,
                              .dominance = 0.8,
                              .length = 0.5,
                              .variance = 0.05,
                              .groups = 0.9,
                              .warmup = 20,
                              .gold = gold};
    if (!group)
        return w;
    w->signs = read_signs(group, gold, errors);
    w->on = mete__value_enum(group, "on", LOG, "log|stop|lower", errors);
    w->factor = mete__value_real(group, "factor", w->factor, 0, 1, errors);
    w->smooth = mete__value_real(group, "smooth", w->smooth, 1, 1e6, errors);
    w->significance = mete__value_real(group, "significance", w->significance, 1, 100, errors);
    w->cusum = mete__value_real(group, "cusum", w->cusum, 1, 1e6, errors);
    w->dominance = mete__value_real(group, "dominance", w->dominance, 0, 1, errors);
    w->length = mete__value_real(group, "length", w->length, 0, 1e6, errors);
    w->variance = mete__value_real(group, "variance", w->variance, 0, 1, errors);
    w->groups = mete__value_real(group, "groups", w->groups, 0, 1, errors);
    w->warmup = (uint64_t)mete__value_int(group, "warmup", 20, 2, INT32_MAX, errors);
    read_node(loop, w, group, errors);
    mete__value_unknown(group,
                        "signs on factor smooth significance cusum dominance length variance "
                        "groups warmup node",
                        errors);
    return w;
}

void
mete__watch_free(struct mete__watch *w)
{
    if (!w)
        return;
    free(w->part);
    free(w->reward);
    free(w->other);
    free(w->step);
    free(w->logp);
    free(w->previous);
    free(w);
}

bool
mete__watch_wants_kl(const mete__loop *loop)
{
    return loop->watch && loop->watch->gold;
}

bool
mete__watch_stops(const mete__loop *loop)
{
    return loop->watch && loop->watch->stops;
}

/* ---- moments --------------------------------------------------------------------------------- */

static void
smooth(const struct mete__watch *w, smoothed *s, double value, double error)
{
    double a = 1 - exp2(-1 / w->smooth);
    s->sum = (1 - a) * s->sum + a * value;
    s->weight = (1 - a) * s->weight + a;
    s->variance = (1 - a) * (1 - a) * s->variance + a * a * error * error;
}

static double
mean_of(const smoothed *s)
{
    return s->weight > 0 ? s->sum / s->weight : 0;
}

static double
error_of(const smoothed *s)
{
    return s->weight > 0 ? sqrt(s->variance) / s->weight : 0;
}

/* What a node gives a row, times a coefficient; rows it could not score give 0. */
static double
value_at(const mete_scores *scores, double coefficient, size_t row)
{
    return scores->status[row] ? 0 : coefficient * scores->episode[row];
}

/* Mean over the rows that count and its standard error, from the means of groups: samples of one
 * prompt are alike. */
static double
mean_and_error(const mete__loop *loop, const mete_batch *batch, const double *value, double *error)
{
    const mete_scores *total = mete__node_scores(loop->reward);
    double sum = 0, squares = 0, rows = 0, groups = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        if (!total->status[i]) {
            sum += value[i];
            rows++;
        }
    double mean = rows > 0 ? sum / rows : 0;
    for (size_t g = 0; g < batch->groups; g++) {
        double within = 0, count = 0;
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            if (!total->status[i]) {
                within += value[i] - mean;
                count++;
            }
        squares += within * within;
        groups += count > 0;
    }
    *error = groups > 1 && rows > 0 ? sqrt(squares * groups / (groups - 1)) / rows : 0;
    return mean;
}

/* Takes the mean of each group from its rows that count (of the batch where no group has two); the
 * sum of squares left. *df is set to the degrees of freedom. */
static double
centre(const mete__loop *loop, const mete_batch *batch, double *value, double *df)
{
    const mete_scores *total = mete__node_scores(loop->reward);
    bool grouped = batch->groups < batch->episodes;
    size_t groups = grouped ? batch->groups : 1;
    double squares = 0;
    *df = 0;
    for (size_t g = 0; g < groups; g++) {
        size_t from = grouped ? batch->group[g] : 0;
        size_t to = grouped ? batch->group[g + 1] : batch->episodes;
        double mean = 0, count = 0;
        for (size_t i = from; i < to; i++)
            if (!total->status[i])
                mean += (value[i] - mean) / ++count;
        for (size_t i = from; i < to; i++) {
            value[i] = total->status[i] ? 0 : value[i] - mean;
            squares += value[i] * value[i];
        }
        *df += count > 1 ? count - 1 : 0;
    }
    return squares;
}

static double
dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- one iteration's evidence ---------------------------------------------------------------- */

typedef struct evidence {
    double reward, reward_error, spread, df; /* spread: within groups */
    double best; /* mean of groups' best rewards, or a standard deviation above the mean */
    double gold, gold_error, agrees; /* agrees: its correlation with the reward, within groups */
    double change, change_variance;  /* of the mean of gold by the last step */
    double length, length_sd, paid;  /* paid: its correlation with the reward */
    double flat, kl;
} evidence;

static double
length_of(const mete_batch *batch, size_t row)
{
    return batch->response ? (double)batch->response[row].length
                           : batch->step_begin[row + 1] - batch->step_begin[row];
}

/* Correlation within groups of w->other, filled with plain values, and the centred reward. */
static double
correlation(const mete__loop *loop, const mete_batch *batch, double squares)
{
    struct mete__watch *w = loop->watch;
    double df, other = centre(loop, batch, w->other, &df);
    double product = sqrt(squares) * sqrt(other);
    return product > 1e-12 ? dot(w->reward, w->other, batch->episodes) / product : 0;
}

static void
gather_parts(mete__loop *loop, const mete_batch *batch, double reward_sd)
{
    struct mete__watch *w = loop->watch;
    size_t parts, at = 0;
    const mete__part *part = mete__attribution_parts(loop, &parts);
    const mete_scores *total = mete__node_scores(loop->reward);
    const mete_scores *gold = w->gold ? mete__node_scores(w->gold) : NULL;
    double *own = w->reward, *other = w->other, df;
    for (size_t k = 0; k < parts && at < w->parts; k++) {
        const mete_scores *scores = mete__node_scores(part[k].node);
        part_state *s = &w->part[at];
        double error, mean;
        if (part[k].inner)
            continue;
        at++;
        char name[METE__METRIC_NAME + 32];
        snprintf(name, sizeof name, "attribution/variance/%s", part[k].name);
        double share = mete__metrics_get(&loop->metrics, name);
        smooth(w, &s->share, isnan(share) ? 0 : share, 0);
        for (size_t i = 0; i < batch->episodes; i++)
            own[i] =
                total->status[i] ? 0 : total->episode[i] - value_at(scores, part[k].coefficient, i);
        mean = mean_and_error(loop, batch, own, &error);
        smooth(w, &s->others, mean, error);
        if (w->now.seen >= (double)w->warmup && mean_of(&s->others) > s->others_peak) {
            s->others_peak = mean_of(&s->others);
            s->others_error = error_of(&s->others);
            s->own_then = mean_of(&w->now.reward) - s->others_peak;
        }
        /* covariances with gold and with length, in units of the total's and the other's spread */
        for (size_t i = 0; i < batch->episodes; i++)
            own[i] = value_at(scores, part[k].coefficient, i);
        centre(loop, batch, own, &df);
        for (int of_length = gold ? 0 : 1; of_length < 2; of_length++) {
            for (size_t i = 0; i < batch->episodes; i++)
                other[i] = of_length ? length_of(batch, i) : value_at(gold, 1, i);
            double scale = sqrt(centre(loop, batch, other, &df)) * reward_sd;
            smooth(w, of_length ? &s->with_length : &s->with_gold,
                   scale > 1e-12 ? dot(own, other, batch->episodes) / scale : 0, 0);
        }
    }
}

static double
best_of_groups(const mete_batch *batch, const mete_scores *scores)
{
    double sum = 0, groups = 0;
    for (size_t g = 0; g < batch->groups; g++) {
        double best = -INFINITY;
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            if (!scores->status[i])
                best = fmax(best, scores->episode[i]);
        if (isfinite(best))
            sum += (best - sum) / ++groups;
    }
    return sum;
}

/* -Cov(gold, e^-s) within groups, w->reward holding gold, and the variance of that estimate. */
static void
change_of(const mete__loop *loop, const mete_batch *batch, evidence *e)
{
    struct mete__watch *w = loop->watch;
    double df, sum = 0, squares = 0, n = 0;
    centre(loop, batch, w->reward, &df);
    centre(loop, batch, w->step, &df);
    for (size_t i = 0; i < batch->episodes; i++) {
        double product = w->reward[i] * w->step[i];
        sum += product;
        squares += product * product;
        n++;
    }
    if (df < 2)
        return;
    e->change = -sum / df;
    e->change_variance = fmax(0, squares - sum * sum / n) / (df * df);
}

static evidence
gather(mete__loop *loop, const mete_batch *batch)
{
    struct mete__watch *w = loop->watch;
    const mete_scores *total = mete__node_scores(loop->reward);
    const mete_scores *gold = w->gold ? mete__node_scores(w->gold) : NULL;
    double error, squares;
    evidence e = {.kl = mete__metrics_get(&loop->metrics, "policy/kl_reference"),
                  .flat = mete__metrics_get(&loop->metrics, "attribution/flat/reward")};
    for (size_t i = 0; i < batch->episodes; i++)
        w->reward[i] = value_at(total, 1, i);
    e.reward = mean_and_error(loop, batch, w->reward, &e.reward_error);
    e.best = best_of_groups(batch, total);
    squares = centre(loop, batch, w->reward, &e.df);
    e.spread = e.df > 0 ? sqrt(squares / e.df) : 0;
    if (batch->groups == batch->episodes)
        e.best = e.reward + e.spread;
    for (size_t i = 0; gold && i < batch->episodes; i++)
        w->other[i] = value_at(gold, 1, i);
    if (gold) {
        e.gold = mean_and_error(loop, batch, w->other, &e.gold_error);
        e.agrees = correlation(loop, batch, squares);
        for (size_t i = 0; w->stepped && i < batch->episodes; i++)
            w->reward[i] = value_at(gold, 1, i);
        if (w->stepped)
            change_of(loop, batch, &e);
        for (size_t i = 0; w->stepped && i < batch->episodes; i++)
            w->reward[i] = value_at(total, 1, i);
        if (w->stepped)
            centre(loop, batch, w->reward, &e.df);
    }
    for (size_t i = 0; i < batch->episodes; i++)
        w->other[i] = length_of(batch, i);
    e.length = mean_and_error(loop, batch, w->other, &error);
    for (size_t i = 0; i < batch->episodes; i++)
        e.length_sd += (w->other[i] - e.length) * (w->other[i] - e.length);
    e.length_sd = batch->episodes > 1 ? sqrt(e.length_sd / (double)(batch->episodes - 1)) : 0;
    e.paid = correlation(loop, batch, squares);
    gather_parts(loop, batch, sqrt(squares));
    return e;
}

/* Errors of Holt's forecasts, standardised by their own smoothed size. */
static void
forecast(const struct mete__watch *w, state *s, double reward)
{
    if (s->seen == 0) {
        s->level = reward;
        return;
    }
    double error = reward - (s->level + s->trend), a = 1 - exp2(-1 / (2 * w->smooth));
    double z = s->seen > (double)w->warmup && s->scale > 0 ? error / sqrt(s->scale) : 0;
    z = fmax(-4, fmin(4, z)); /* one outlier is no break */
    s->up = fmax(0, s->up + z - ALLOWANCE);
    s->down = fmax(0, s->down - z - ALLOWANCE);
    s->scale = s->seen < (double)w->warmup
                   ? s->scale + (error * error - s->scale) / s->seen
                   : (1 - a) * s->scale + a * fmin(error * error, 9 * s->scale);
    s->level += s->trend + HOLT_LEVEL * error;
    s->trend += HOLT_LEVEL * HOLT_TREND * error;
}

static void
take(struct mete__watch *w, const evidence *e, uint64_t iteration)
{
    state *s = &w->now;
    bool warm = s->seen >= (double)w->warmup;
    smooth(w, &s->reward, e->reward, e->reward_error);
    smooth(w, &s->gold, e->gold, e->gold_error);
    smooth(w, &s->kl, isnan(e->kl) ? 0 : e->kl, 0);
    smooth(w, &s->length, e->length, 0);
    smooth(w, &s->paid, e->paid, 0);
    smooth(w, &s->flat, isnan(e->flat) ? 0 : e->flat, 0);
    smooth(w, &s->spread, e->spread, 0);
    forecast(w, s, e->reward);
    s->moved += e->change;
    s->moved_variance += e->change_variance;
    if (!warm || s->moved > s->highest) {
        s->highest = s->moved;
        s->moved_variance = 0;
    }
    if (s->seen == 0 || s->moved > s->best) {
        s->best = s->moved;
        s->best_iteration = (double)iteration;
        s->best_kl = isnan(e->kl) ? 0 : e->kl;
    }
    if (!warm) {
        double n = s->seen + 1;
        s->first_mean += (e->reward - s->first_mean) / n;
        s->first_best += (e->best - s->first_best) / n;
        s->first_spread += (e->spread - s->first_spread) / n;
        s->first_length += (e->length - s->first_length) / n;
        s->first_length_sd += (e->length_sd - s->first_length_sd) / n;
        s->first_flat += ((isnan(e->flat) ? 0 : e->flat) - s->first_flat) / n;
    }
    if (s->seen == 0 || mean_of(&s->gold) > s->peak) {
        s->peak = mean_of(&s->gold);
        s->peak_error = error_of(&s->gold);
        s->peak_reward = mean_of(&s->reward);
        s->peak_iteration = (double)iteration;
    }
    s->seen++;
}

/* ---- what is raised -------------------------------------------------------------------------- */

/* The part whose `field` is least (most of it negative) or greatest; parts when there is none. */
static size_t
suspect(const struct mete__watch *w, size_t field, double sign)
{
    size_t found = w->parts;
    for (size_t k = 0; k < w->parts; k++) {
        double value = sign * mean_of((const smoothed *)((const char *)&w->part[k] + field));
        if (value > 0 &&
            (found == w->parts ||
             value > sign * mean_of((const smoothed *)((const char *)&w->part[found] + field))))
            found = k;
    }
    return found;
}

static const mete__part *
part_named(mete__loop *loop, size_t wanted)
{
    size_t parts, at = 0;
    const mete__part *part = mete__attribution_parts(loop, &parts);
    for (size_t k = 0; k < parts; k++)
        if (!part[k].inner && at++ == wanted)
            return &part[k];
    return NULL;
}

static void
put_evidence(mete_buffer *out, const char *name, double value)
{
    mete_buffer_format(
        out, "%s\"%s\":", out->length && out->data[out->length - 1] == '{' ? "" : ",", name);
    mete_json_put_number(out, value);
}

static void
lower(mete__loop *loop, size_t k, char *said, size_t room)
{
    struct mete__watch *w = loop->watch;
    const mete__part *part = part_named(loop, k);
    if (!part || !part->node->parent) {
        snprintf(said, room, "; no node to lower is known, name one as watch.node");
        return;
    }
    w->part[k].factor *= w->factor;
    w->now.held = w->now.seen + (double)w->warmup;
    snprintf(said, room, "; the weight of %s is now %.3g times its config's", part->name,
             w->part[k].factor);
}

/* One event: a line for people, and an object with the numbers in `out`, whose brace is open. */
static void
raise(mete__loop *loop, int sign, size_t k, mete_buffer *out, const char *what)
{
    struct mete__watch *w = loop->watch;
    char text[1400], said[METE__METRIC_NAME + 100] = "";
    const mete__part *part;
    for (size_t i = 0; w->node && i < w->parts; i++)
        if ((part = part_named(loop, i)) && part->node == w->node)
            k = i;
    part = part_named(loop, k);
    if (w->now.raised[sign] == 0)
        w->now.raised[sign] = (double)loop->done + 1;
    if (w->on == STOP) {
        w->stops = true;
        snprintf(said, sizeof said, "; the run stops");
    } else if (w->on == LOWER) {
        lower(loop, k, said, sizeof said);
    }
    mete_buffer head = mete_buffer_make(0);
    mete_buffer_format(&head, "\"sign\":\"%s\",\"iteration\":%llu,\"action\":\"%s\"",
                       sign_name[sign], (unsigned long long)loop->done, deed[w->on]);
    if (part) {
        mete_buffer_string(&head, ",\"node\":");
        mete_json_put_text(&head, mete_text_from(part->name));
    }
    mete_buffer_string(&head, ",\"evidence\":");
    mete_buffer_append(&head, out->data, out->length);
    mete_buffer_string(&head, "}");
    snprintf(text, sizeof text, "watch: %s at iteration %llu: %s%s%s%s", sign_name[sign],
             (unsigned long long)loop->done, what, part ? "; foremost " : "",
             part ? part->name : "", said);
    if (loop->sinks.watch && head.data)
        loop->sinks.watch(loop->sinks.user, text, head.data);
    mete_buffer_free(&head);
}

/* May the sign be raised now? Once in a run; where weights are lowered, again after a while. */
static bool
open_sign(const struct mete__watch *w, int sign)
{
    const state *s = &w->now;
    return (w->signs >> sign & 1) && s->seen > (double)w->warmup && s->seen >= s->held &&
           (w->on == LOWER || s->raised[sign] == 0);
}

static void
judge_gold(mete__loop *loop)
{
    struct mete__watch *w = loop->watch;
    state *s = &w->now;
    char what[400];
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_string(&out, "{");
    double gold = mean_of(&s->gold), error = hypot(error_of(&s->gold), s->peak_error);
    double drop = s->highest - s->moved, drop_error = sqrt(s->moved_variance);
    if (open_sign(w, TURN) && drop > w->significance * drop_error && drop_error > 0) {
        put_evidence(&out, "drop", drop);
        put_evidence(&out, "error", drop_error);
        put_evidence(&out, "best_iteration", s->best_iteration);
        put_evidence(&out, "best_sqrt_kl", sqrt(fmax(0, s->best_kl)));
        put_evidence(&out, "gold", gold);
        put_evidence(&out, "reward", mean_of(&s->reward));
        snprintf(what, sizeof what,
                 "the policy's steps since iteration %.0f lowered gold by %.3g, %.1f standard "
                 "errors (gold %.4g, reward %.4g)",
                 s->best_iteration, drop, drop / drop_error, gold, mean_of(&s->reward));
        raise(loop, TURN, suspect(w, offsetof(part_state, with_gold), -1), &out, what);
        s->highest = s->moved;
        s->moved_variance = 0;
    } else if (open_sign(w, GOLD) && s->peak - gold > w->significance * error &&
               mean_of(&s->reward) >= s->peak_reward) {
        put_evidence(&out, "gold", gold);
        put_evidence(&out, "peak", s->peak);
        put_evidence(&out, "error", error);
        put_evidence(&out, "reward", mean_of(&s->reward));
        put_evidence(&out, "reward_at_peak", s->peak_reward);
        put_evidence(&out, "peak_iteration", s->peak_iteration);
        snprintf(what, sizeof what,
                 "gold fell from %.4g (iteration %.0f) to %.4g, %.1f standard errors, while the "
                 "reward did not",
                 s->peak, s->peak_iteration, gold, error > 0 ? (s->peak - gold) / error : INFINITY);
        raise(loop, GOLD, suspect(w, offsetof(part_state, with_gold), -1), &out, what);
    }
    mete_buffer_free(&out);
}

static void
judge_dominance(mete__loop *loop)
{
    struct mete__watch *w = loop->watch;
    char what[300];
    for (size_t k = 0; k < w->parts && w->parts > 1 && open_sign(w, DOMINANCE); k++) {
        part_state *p = &w->part[k];
        double others = mean_of(&p->others), error = hypot(error_of(&p->others), p->others_error);
        double gained = mean_of(&w->now.reward) - others - p->own_then;
        if (mean_of(&p->share) < w->dominance || w->now.seen <= (double)w->warmup + 1 ||
            p->others_peak - others <= w->significance * error ||
            p->others_peak - others <= 0.1 * gained ||
            gained <= w->significance * error_of(&w->now.reward))
            continue;
        mete_buffer out = mete_buffer_make(0);
        mete_buffer_string(&out, "{");
        put_evidence(&out, "share", mean_of(&p->share));
        put_evidence(&out, "others", others);
        put_evidence(&out, "others_peak", p->others_peak);
        put_evidence(&out, "gained", gained);
        put_evidence(&out, "error", error);
        snprintf(what, sizeof what,
                 "one node has %.0f%% of the variance and the others fell from %.4g to %.4g",
                 100 * mean_of(&p->share), p->others_peak, others);
        raise(loop, DOMINANCE, k, &out, what);
        mete_buffer_free(&out);
        return;
    }
}

static void
judge_length(mete__loop *loop)
{
    struct mete__watch *w = loop->watch;
    const state *s = &w->now;
    char what[300];
    double drift =
        s->first_length_sd > 0 ? (mean_of(&s->length) - s->first_length) / s->first_length_sd : 0;
    double paid = mean_of(&s->paid);
    if (!open_sign(w, LENGTH) || fabs(drift) < w->length || paid * (drift < 0 ? -1 : 1) < 0.5)
        return;
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_string(&out, "{");
    put_evidence(&out, "length", mean_of(&s->length));
    put_evidence(&out, "first_length", s->first_length);
    put_evidence(&out, "first_sd", s->first_length_sd);
    put_evidence(&out, "correlation", paid);
    snprintf(what, sizeof what,
             "the mean length went from %.4g to %.4g, and the reward goes with length "
             "(correlation %.2f)",
             s->first_length, mean_of(&s->length), paid);
    raise(loop, LENGTH, suspect(w, offsetof(part_state, with_length), drift < 0 ? -1 : 1), &out,
          what);
    mete_buffer_free(&out);
}

static void
judge_slope(mete__loop *loop)
{
    struct mete__watch *w = loop->watch;
    state *s = &w->now;
    char what[300];
    if (!open_sign(w, SLOPE) || fmax(s->up, s->down) <= w->cusum)
        return;
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_string(&out, "{");
    put_evidence(&out, "up", s->up);
    put_evidence(&out, "down", s->down);
    put_evidence(&out, "threshold", w->cusum);
    put_evidence(&out, "trend", s->trend);
    snprintf(what, sizeof what, "the reward broke with its trend, %s (CUSUM %.3g of %.3g)",
             s->up > s->down ? "upwards" : "downwards", fmax(s->up, s->down), w->cusum);
    raise(loop, SLOPE, w->parts, &out, what);
    s->up = s->down = 0;
    mete_buffer_free(&out);
}

/* The policy repeats itself, and what it repeats is no better than what it began with. */
static void
judge_collapse(mete__loop *loop)
{
    struct mete__watch *w = loop->watch;
    const state *s = &w->now;
    char what[300];
    double spread = mean_of(&s->spread), flat = mean_of(&s->flat);
    double solved = mete__metrics_get(&loop->metrics, "attribution/ceiling/reward");
    bool poor = mean_of(&s->reward) < 0.5 * (s->first_mean + s->first_best) && !(solved > 0.9);
    bool variance =
        open_sign(w, VARIANCE) && s->first_spread > 0 && spread < w->variance * s->first_spread;
    bool groups = open_sign(w, GROUPS) && flat > w->groups && s->first_flat < w->groups / 2;
    if (!poor || (!variance && !groups))
        return;
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_string(&out, "{");
    put_evidence(&out, "spread", spread);
    put_evidence(&out, "first_spread", s->first_spread);
    put_evidence(&out, "flat_groups", flat);
    put_evidence(&out, "reward", mean_of(&s->reward));
    put_evidence(&out, "first_reward", s->first_mean);
    put_evidence(&out, "first_best", s->first_best);
    if (variance)
        snprintf(what, sizeof what,
                 "the spread within groups fell from %.4g to %.4g with the reward still at %.4g",
                 s->first_spread, spread, mean_of(&s->reward));
    else
        snprintf(what, sizeof what,
                 "%.0f%% of the groups have no spread left with the reward still at %.4g",
                 100 * flat, mean_of(&s->reward));
    raise(loop, variance ? VARIANCE : GROUPS, w->parts, &out, what);
    mete_buffer_free(&out);
}

/* ---- the loop's side ------------------------------------------------------------------------- */

static bool
make_parts(mete__loop *loop)
{
    struct mete__watch *w = loop->watch;
    size_t parts;
    const mete__part *part = mete__attribution_parts(loop, &parts);
    if (w->part)
        return true;
    for (size_t k = 0; k < parts; k++)
        w->parts += !part[k].inner;
    w->part = part ? calloc(w->parts + 1, sizeof *w->part) : NULL;
    for (size_t k = 0; w->part && k < w->parts; k++) {
        w->part[k].factor = 1;
        w->part[k].others_peak = -INFINITY;
    }
    return w->part;
}

static int
ready(mete__loop *loop, const mete_batch *batch, mete_error *err)
{
    struct mete__watch *w = loop->watch;
    if (w->rows < batch->episodes) {
        free(w->reward);
        free(w->other);
        free(w->step);
        w->reward = calloc(batch->episodes, sizeof *w->reward);
        w->other = calloc(batch->episodes, sizeof *w->other);
        w->step = calloc(batch->episodes, sizeof *w->step);
        w->rows = w->reward && w->other && w->step ? batch->episodes : 0;
    }
    return w->rows && make_parts(loop)
               ? METE_OK
               : mete_error_set(err, METE_ENOMEM, "out of memory for the watch");
}

static void
add_metrics(mete__loop *loop)
{
    const struct mete__watch *w = loop->watch;
    const state *s = &w->now;
    mete__metrics *metrics = &loop->metrics;
    mete__metrics_add(metrics, mean_of(&s->reward), "watch/reward");
    if (w->gold) {
        mete__metrics_add(metrics, mean_of(&s->gold), "watch/gold");
        mete__metrics_add(metrics, s->moved - s->highest, "watch/gold_drop");
        mete__metrics_add(metrics, sqrt(fmax(0, mean_of(&s->kl))), "watch/sqrt_kl");
        mete__metrics_add(metrics, s->best_iteration, "watch/best_iteration");
        mete__metrics_add(metrics, sqrt(fmax(0, s->best_kl)), "watch/best_sqrt_kl");
    }
    mete__metrics_add(metrics, mean_of(&s->length), "watch/length");
    mete__metrics_add(metrics, mean_of(&s->paid), "watch/length_correlation");
    mete__metrics_add(metrics, fmax(s->up, s->down), "watch/slope_cusum");
    double raised = 0;
    for (int k = 0; k < SIGNS; k++)
        raised += s->raised[k] > 0;
    mete__metrics_add(metrics, raised, "watch/raised");
    for (size_t k = 0; k < w->parts; k++)
        if (w->part[k].factor != 1)
            mete__metrics_add(metrics, w->part[k].factor, "watch/factor/%s",
                              part_named(loop, k)->name);
}

int
mete__watch_look(mete__loop *loop, const mete_batch *batch, double temperature, mete_error *err)
{
    struct mete__watch *w = loop->watch;
    size_t bytes = loop->parameters * sizeof(float);
    bool first;
    if (!w)
        return METE_OK;
    w->stepped = false;
    /* only at temperature 1 is the distribution that was sampled from the policy's own */
    if (!w->gold || !batch->episodes || !batch->logp || !loop->policy->info.gradient ||
        temperature < 1 || temperature > 1)
        return METE_OK;
    int status = ready(loop, batch, err);
    if (status)
        return status;
    if (w->steps < batch->steps) {
        free(w->logp);
        w->logp = malloc(batch->steps * sizeof *w->logp);
        w->steps = w->logp ? batch->steps : 0;
    }
    if ((first = !w->previous))
        w->previous = malloc(bytes + 1);
    if (!w->previous || (batch->steps && !w->logp))
        return mete_error_set(err, METE_ENOMEM, "out of memory for the watch");
    w->stepped = !first;
    mete_params previous = mete__loop_params(loop);
    previous.vector = w->previous;
    previous.version = (uint64_t)w->previous_version;
    if (!first)
        status = mete__logp_under(loop, &previous, batch, w->logp, err);
    for (size_t i = 0; i < batch->episodes && !first && !status; i++) {
        double s = 0;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
            if (!batch->loss_mask || batch->loss_mask[t])
                s += (double)batch->logp[t] - (double)w->logp[t];
        w->step[i] = exp(fmin(-s, 40));
    }
    memcpy(w->previous, loop->parameter, bytes);
    w->previous_version = (int64_t)loop->version;
    return status;
}

int
mete__watch_step(mete__loop *loop, const mete_batch *batch, mete_error *err)
{
    struct mete__watch *w = loop->watch;
    if (!w || !batch->episodes)
        return METE_OK;
    int status = ready(loop, batch, err);
    if (status)
        return status;
    evidence e = gather(loop, batch);
    take(w, &e, loop->done);
    if (w->gold) {
        mete__metrics_add(&loop->metrics, e.agrees, "watch/gold_correlation");
        mete__metrics_add(&loop->metrics, e.change, "watch/gold_change");
        judge_gold(loop);
    }
    judge_dominance(loop);
    judge_length(loop);
    judge_slope(loop);
    judge_collapse(loop);
    add_metrics(loop);
    return METE_OK;
}

void
mete__watch_weigh(mete__loop *loop)
{
    struct mete__watch *w = loop->watch;
    size_t parts, at = 0;
    const mete__part *part = w && w->part ? mete__attribution_parts(loop, &parts) : NULL;
    for (size_t k = 0; part && k < parts; k++) {
        const mete_node *parent = part[k].node->parent;
        if (part[k].inner)
            continue;
        for (size_t c = 0; parent && c < parent->children; c++)
            if (parent->child[c] == part[k].node)
                parent->weight[c] *= w->part[at].factor;
        at++;
    }
}

bool
mete__watch_gold(const mete__loop *loop, mete__gold *out)
{
    const struct mete__watch *w = loop->watch;
    if (!w || !w->gold || w->now.seen < 1)
        return false;
    const state *s = &w->now;
    *out = (mete__gold){.best_iteration = s->best_iteration,
                        .best_sqrt_kl = sqrt(fmax(0, s->best_kl)),
                        .change_since = s->moved - s->best,
                        .highest = s->peak,
                        .last = mean_of(&s->gold)};
    return true;
}

void
mete__watch_end(mete__loop *loop)
{
    char text[300];
    mete__gold g;
    if (!mete__watch_gold(loop, &g) || !loop->sinks.event)
        return;
    snprintf(text, sizeof text, METE__GOLD_FORMAT, g.best_iteration, g.best_sqrt_kl, g.change_since,
             g.highest, g.last);
    loop->sinks.event(loop->sinks.user, "gold", text);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

int
mete__watch_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err)
{
    const struct mete__watch *w = loop->watch;
    if (!w || !w->part)
        return METE_OK;
    int status = mete__checkpoint_add(to, "watch/state", METE_F64, sizeof w->now / sizeof(double),
                                      &w->now, err);
    if (!status)
        status = mete__checkpoint_add(to, "watch/parts", METE_F64,
                                      w->parts * sizeof *w->part / sizeof(double), w->part, err);
    if (!status && w->previous)
        status = mete__checkpoint_add(to, "watch/previous", METE_F32, loop->parameters, w->previous,
                                      err);
    if (!status && w->previous)
        status = mete__checkpoint_add(to, "watch/previous/version", METE_I64, 1,
                                      &w->previous_version, err);
    return status;
}

int
mete__watch_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err)
{
    struct mete__watch *w = loop->watch;
    size_t count = sizeof w->now / sizeof(double), each = sizeof *w->part / sizeof(double);
    size_t all = SIZE_MAX, parameters = loop->parameters;
    const void *now = w ? mete__checkpoint_get(from, "watch/state", METE_F64, &count) : NULL;
    const void *part = now ? mete__checkpoint_get(from, "watch/parts", METE_F64, &all) : NULL;
    if (!now) /* nothing was watched yet */
        return METE_OK;
    if (!make_parts(loop))
        return mete_error_set(err, METE_ENOMEM, "out of memory for the watch");
    if (!part || all != w->parts * each)
        return mete_error_set(err, METE_EDATA, "the checkpoint's watch is of other nodes");
    const void *previous = mete__checkpoint_get(from, "watch/previous", METE_F32, &parameters);
    if (w->gold && previous) {
        w->previous = malloc(parameters * sizeof(float) + 1);
        if (!w->previous)
            return mete_error_set(err, METE_ENOMEM, "out of memory for the watch");
        memcpy(w->previous, previous, parameters * sizeof(float));
        size_t one = 1;
        const int64_t *version =
            mete__checkpoint_get(from, "watch/previous/version", METE_I64, &one);
        w->previous_version = version ? *version : (int64_t)loop->version;
    }
    memcpy(&w->now, now, sizeof w->now);
    memcpy(w->part, part, all * sizeof(double));
    for (int k = 0; k < SIGNS; k++)
        w->stops |= w->on == STOP && w->now.raised[k] > 0;
    return METE_OK;
}
