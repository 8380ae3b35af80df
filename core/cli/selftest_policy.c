/* selftest_policy.c - policies, in each kind of world that they say they can act in: actions that
 * are allowed, the same again; `forward` on the steps that `act` made says what `act` said; the
 * gradient of `backward` is that of finite differences, parameter by parameter.
 */
#include "cli/hard.h"
#include "cli/selftest.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

#define LANES ((size_t)METE__HARD_ROWS)
#define TOLERANCE 1e-3 /* of float32 log-probabilities computed in two ways */

/* The worlds tried. A policy refuses those it is not made for (describe fails). */
static const struct situation {
    const char *what;
    mete_spaces spaces;
} situations[] = {{"numbers, discrete actions",
                   {.size = sizeof(mete_spaces),
                    .observation = {.kind = METE_SPACE_BOX, .size = 4, .low = -1, .high = 1},
                    .action = {.kind = METE_SPACE_DISCRETE, .count = 3}}},
                  {"states, discrete actions",
                   {.size = sizeof(mete_spaces),
                    .observation = {.kind = METE_SPACE_DISCRETE, .count = 7},
                    .action = {.kind = METE_SPACE_DISCRETE, .count = 3}}},
                  {"numbers, vectors as actions",
                   {.size = sizeof(mete_spaces),
                    .observation = {.kind = METE_SPACE_BOX, .size = 4, .low = -1, .high = 1},
                    .action = {.kind = METE_SPACE_BOX, .size = 2, .low = -1, .high = 1}}},
                  {"candidates",
                   {.size = sizeof(mete_spaces),
                    .single_turn = 1,
                    .max_steps = 1,
                    .observation = {.kind = METE_SPACE_TEXT},
                    .action = {.kind = METE_SPACE_CANDIDATES, .count = 2}}},
                  {"texts",
                   {.size = sizeof(mete_spaces),
                    .single_turn = 1,
                    .max_steps = 1,
                    .observation = {.kind = METE_SPACE_TEXT},
                    .action = {.kind = METE_SPACE_TEXT}}}};

/* A policy in one situation. */
struct actor {
    mete__host host;
    mete_node *node;
    const mete_spaces *spaces;
    struct mete__hard hard;
    float *vector; /* its parameters */
    float observation[LANES * 4];
    uint8_t mask[LANES * 3];
    uint64_t episode[LANES];
    uint32_t step[LANES];
    void *state; /* [LANES x lane_size] */
};

static bool
out_of_memory(mete_error *err)
{
    mete_error_set(err, METE_ENOMEM, "out of memory");
    return false;
}

static void
actor_close(struct actor *a)
{
    mete__hard_free(&a->hard);
    free(a->vector);
    free(a->state);
    mete__host_close(&a->host);
}

/* What the lanes show: drawn, the same each time. */
static void
fill_lanes(struct actor *a)
{
    const mete_space *see = &a->spaces->observation;
    for (size_t i = 0; i < LANES; i++) {
        mete_rng rng = mete_rng_make(2, i, 0);
        a->episode[i] = 100 + i;
        for (size_t k = 0; k < 4; k++)
            a->observation[i * 4 + k] = (float)(2 * mete_rng_uniform(&rng) - 1);
        for (size_t k = 0; k < 3; k++)
            a->mask[i * 3 + k] = k == i % 3 || mete_rng_below(&rng, 2);
    }
    for (size_t i = 0; see->kind == METE_SPACE_DISCRETE && i < LANES; i++)
        a->observation[i] = (float)(i % see->count);
}

/* Parameters as declared, and a little off: what starts at zero shows nothing of itself. */
static bool
fill_vector(struct actor *a, mete_error *err)
{
    mete_rng rng = mete_rng_make(3, 0, 0);
    size_t count = a->node->parameter_count;
    a->vector = calloc(count + 1, sizeof *a->vector);
    if (!a->vector)
        return out_of_memory(err);
    if (mete__policy_init(a->node, a->vector, err))
        return false;
    for (size_t k = 0; k < count; k++) {
        if (!isfinite(a->vector[k])) {
            mete_error_set(err, METE_EPLUGIN, "parameter %zu starts as %g", k,
                           (double)a->vector[k]);
            return false;
        }
        a->vector[k] += (float)(0.05 * mete_rng_normal(&rng));
    }
    return true;
}

/* Close it whatever this returns. `refused`: the policy is not made for this situation. */
static bool
actor_open(const mete__selftest *t, const mete_spaces *spaces, struct actor *a, bool *refused,
           mete_error *err)
{
    *a = (struct actor){.spaces = spaces};
    /* A model that only answers is asked about texts; any other says what it is made for. */
    *refused = !t->plugin->as.policy.act && spaces->action.kind != METE_SPACE_TEXT;
    if (*refused || !mete__host_open(t, &a->host, 1, err))
        return false;
    a->node = mete__engine_policy(a->host.engine);
    a->state = calloc(LANES, (size_t)t->plugin->as.head.lane_size + 1);
    mete__builder *texts = mete__builder_new();
    const mete_batch *batch = NULL;
    if (a->state && texts && mete__hard_make(&a->hard) &&
        mete__hard_batch(&a->hard, a->host.engine, texts, 0, LANES))
        batch = mete__builder_batch(texts, err);
    if (batch)
        *refused = mete__policy_describe(a->node, spaces, batch, err) != METE_OK;
    else
        out_of_memory(err);
    if (texts)
        mete__builder_free(texts);
    fill_lanes(a);
    return batch && !*refused && fill_vector(a, err);
}

static mete_params
params_of(const struct actor *a, const float *vector)
{
    return (mete_params){.size = sizeof(mete_params),
                         .element = METE_F32,
                         .vector = vector,
                         .count = a->node->parameter_count,
                         .version = 1};
}

/* ---- acting ---------------------------------------------------------------------------------- */

static mete_actions *
actions_new(const struct actor *a, size_t lanes, mete_error *err)
{
    mete_actions *actions = mete__actions_new(a->spaces, &a->node->info, lanes);
    if (!actions)
        out_of_memory(err);
    return actions;
}

/* Lanes [from, from + count), into actions of as many lanes. */
static bool
act(struct actor *a, size_t from, size_t count, uint32_t mode, mete_actions *out, mete_error *err)
{
    const mete_space *see = &a->spaces->observation;
    bool text = see->kind == METE_SPACE_TEXT, masks = a->spaces->action.kind == METE_SPACE_DISCRETE;
    uint32_t width = see->kind == METE_SPACE_BOX ? see->size : 1;
    mete__builder *part = mete__builder_new();
    mete_batch context = {0};
    bool good = part && mete__hard_batch(&a->hard, a->host.engine, part, from, from + count);
    const mete_batch *rows = good ? mete__builder_batch(part, err) : NULL;
    if (rows) {
        context = *rows;
        context.response = NULL; /* nothing was said yet */
        context.id = a->episode + from;
    }
    memset(a->state, 0, LANES * (size_t)a->node->plugin->as.head.lane_size);
    mete_params params = params_of(a, a->vector);
    mete_lanes lanes = {.size = sizeof lanes,
                        .mode = mode,
                        .count = count,
                        .episode = a->episode + from,
                        .step = a->step + from,
                        .observation = text ? NULL : a->observation + from * width,
                        .observation_size = text ? 0 : width,
                        .action_count = a->spaces->action.count,
                        .action_mask = masks ? a->mask + from * a->spaces->action.count : NULL,
                        .context = text ? &context : NULL,
                        .state = a->state,
                        .temperature = 1};
    mete__actions_clear(out);
    good = rows && !mete__policy_act(a->node, &params, &lanes, out, err);
    if (!rows && !err->code)
        out_of_memory(err);
    if (part)
        mete__builder_free(part);
    mete__engine_reset(a->host.engine);
    return good;
}

static bool
same_bits(const void *a, const void *b, size_t bytes)
{
    return !bytes || memcmp(a, b, bytes) == 0;
}

static bool
same_tokens(const mete_actions *a, size_t at, const mete_actions *b, size_t to)
{
    size_t n, m;
    const mete_token *x = mete_actions_tokens(a, at, &n), *y = mete_actions_tokens(b, to, &m);
    bool good = n == m;
    for (size_t k = 0; k < n && good; k++)
        good = x[k].id == y[k].id && same_bits(&x[k].logp, &y[k].logp, sizeof x[k].logp);
    return good;
}

/* Did lane `at` of a and lane `to` of b decide the same, to the bit? */
static bool
same_lane(const mete_actions *a, size_t at, const mete_actions *b, size_t to, mete_error *err)
{
    const char *what = NULL;
    if (!same_bits(a->logp + at, b->logp + to, sizeof(float)))
        what = "log-probability";
    if (a->heads &&
        !same_bits(a->value + at * a->heads, b->value + to * a->heads, a->heads * sizeof(float)))
        what = "value";
    if (a->action && a->action[at] != b->action[to])
        what = "action";
    if (a->vector && !same_bits(a->vector + at * a->vector_size, b->vector + to * a->vector_size,
                                a->vector_size * sizeof(float)))
        what = "vector";
    if (a->text && (a->text[at].length != b->text[to].length ||
                    !same_bits(a->text[at].data, b->text[to].data, a->text[at].length) ||
                    !same_tokens(a, at, b, to)))
        what = "text";
    if (what)
        mete_error_set(err, METE_EPLUGIN, "lane %zu: the %s differs", at, what);
    return !what;
}

/* Acts again on slices of `size` lanes; each lane decides as in `whole`. */
static bool
acts_alike(struct actor *a, const mete_actions *whole, size_t size, mete_error *err)
{
    mete_actions *part = actions_new(a, size, err);
    bool good = part != NULL;
    for (size_t from = 0; from < LANES && good; from += size) {
        good = act(a, from, size, 0, part, err);
        for (size_t i = 0; i < size && good; i++)
            good = same_lane(whole, from + i, part, i, err);
    }
    mete__actions_free(part);
    return good;
}

static bool
allowed(const struct actor *a, const mete_actions *out, mete_error *err)
{
    const mete_space *space = &a->spaces->action;
    for (size_t i = 0; i < LANES; i++) {
        if (out->action && (out->action[i] < 0 || (uint32_t)out->action[i] >= space->count)) {
            mete_error_set(err, METE_EPLUGIN, "lane %zu: action %d of %u", i, out->action[i],
                           space->count);
            return false;
        }
        if (space->kind == METE_SPACE_DISCRETE &&
            !a->mask[i * space->count + (size_t)out->action[i]]) {
            mete_error_set(err, METE_EPLUGIN, "lane %zu: action %d, which its mask forbids", i,
                           out->action[i]);
            return false;
        }
        if (!out->vector && !(out->logp[i] <= (float)TOLERANCE)) {
            mete_error_set(err, METE_EPLUGIN, "lane %zu: log-probability %g, above 0", i,
                           (double)out->logp[i]);
            return false;
        }
    }
    return true;
}

/* Greedy decisions are not drawn, so other episodes that see the same decide the same. */
static bool
greedy(struct actor *a, mete_error *err)
{
    mete_actions *one = actions_new(a, LANES, err), *other = actions_new(a, LANES, err);
    bool good = one && other && act(a, 0, LANES, METE_ACT_GREEDY, one, err);
    for (size_t i = 0; i < LANES; i++)
        a->episode[i] += 5000;
    good = good && act(a, 0, LANES, METE_ACT_GREEDY, other, err);
    for (size_t i = 0; i < LANES; i++) {
        a->episode[i] -= 5000;
        good = good && same_lane(one, i, other, i, err);
    }
    mete__actions_free(one);
    mete__actions_free(other);
    return good;
}

/* An instance that was given what this one saved decides alike. */
static bool
saved(const mete__selftest *t, struct actor *a, const mete_actions *whole, mete_error *err)
{
    struct actor other;
    bool refused;
    bool good = actor_open(t, a->spaces, &other, &refused, err) &&
                mete__host_copy(&a->host, &other.host, err);
    if (good)
        memcpy(other.vector, a->vector, a->node->parameter_count * sizeof *a->vector);
    good = good && acts_alike(&other, whole, LANES, err);
    actor_close(&other);
    return good;
}

/* ---- forward and backward -------------------------------------------------------------------- */

/* Does the space's observation stand in numbers, and how many a lane? */
static uint32_t
width_of(const struct actor *a)
{
    const mete_space *see = &a->spaces->observation;
    return see->kind == METE_SPACE_BOX ? see->size : see->kind == METE_SPACE_DISCRETE;
}

/* The steps the actions were, as a rollout stores them. */
static bool
store(const struct actor *a, const mete_actions *done, mete__builder *to)
{
    uint32_t width = width_of(a), count = a->spaces->action.count;
    bool masks = a->spaces->action.kind == METE_SPACE_DISCRETE, good = true;
    struct mete__hard_columns columns;
    mete__shape shape = {.text = !width,
                         .observation_size = width,
                         .action_size = done->vector_size,
                         .action_count = masks ? count : 0,
                         .heads = done->heads,
                         .logp = true};
    mete__hard_begin(a->host.engine, to, &shape, &columns);
    for (size_t i = 0; i < LANES && good; i++) {
        size_t tokens;
        const mete_token *token = mete_actions_tokens(done, i, &tokens);
        good = mete__hard_row(&a->hard, &columns, to, i,
                              done->text ? done->text[i] : mete_text_from(""));
        if (good && !done->text)
            good = !mete__builder_steps(to, 1, width ? a->observation + i * width : NULL,
                                        done->action ? done->action + i : NULL,
                                        done->vector ? done->vector + i * done->vector_size : NULL,
                                        masks ? a->mask + i * count : NULL, done->logp + i,
                                        done->value ? done->value + i * done->heads : NULL);
        for (size_t k = 0; k < tokens && good; k++) {
            mete__step step = {.action = token[k].id,
                               .logp = token[k].logp,
                               .value = &token[k].value,
                               .begin = token[k].begin,
                               .end = token[k].end,
                               .loss_mask = 1};
            good = !mete__builder_step(to, &step);
        }
    }
    return good;
}

/* Steps that are asked about, and what is answered. */
struct asked {
    const mete_batch *batch;
    mete_query query;
    mete_outputs out;
    float *numbers; /* all of out's arrays */
    mete_tape *tape;
};

static void
asked_free(struct asked *q)
{
    free(q->numbers);
    if (q->tape)
        mete_tape_free(q->tape);
}

/* Outputs (or adjoints) of n steps in one piece of memory. */
static size_t
lay_out(const struct actor *a, size_t n, float *at, mete_outputs *out)
{
    const mete_policy_info *info = &a->node->info;
    *out = (mete_outputs){.size = sizeof *out, .heads = info->heads};
    out->logp = at;
    out->entropy = at + n;
    out->value = info->heads ? at + 2 * n : NULL;
    return (2 + info->heads) * n;
}

static bool
asked_make(const struct actor *a, const mete_batch *batch, struct asked *q, mete_error *err)
{
    size_t n = batch->steps;
    *q = (struct asked){.batch = batch, .tape = mete_tape_new()};
    q->numbers = calloc((2 + (size_t)a->node->info.heads) * n + 1, sizeof *q->numbers);
    if (!q->tape || !q->numbers)
        return out_of_memory(err);
    lay_out(a, n, q->numbers, &q->out);
    q->query = (mete_query){.size = sizeof q->query,
                            .batch = batch,
                            .count = n,
                            .want = METE_WANT_LOGP | METE_WANT_ENTROPY |
                                    (q->out.value ? METE_WANT_VALUE : 0)};
    return true;
}

static bool
forward(const struct actor *a, const float *vector, struct asked *q, mete_error *err)
{
    mete_params params = params_of(a, vector);
    mete_tape_reset(q->tape);
    bool good = !mete__policy_forward(a->node, &params, &q->query, &q->out, q->tape, err);
    for (size_t k = 0; k < lay_out(a, q->query.count, q->numbers, &q->out) && good; k++)
        if (!isfinite(q->numbers[k])) {
            mete_error_set(err, METE_EPLUGIN, "forward answers %g", (double)q->numbers[k]);
            good = false;
        }
    return good;
}

static bool
near(double x, double y, double scale)
{
    return fabs(x - y) <= TOLERANCE * (1 + fabs(scale));
}

/* What act said of its steps, forward says too. */
static bool
says_alike(const struct actor *a, const struct asked *q, mete_error *err)
{
    const mete_batch *b = q->batch;
    size_t heads = a->node->info.heads;
    for (size_t k = 0; k < q->query.count; k++) {
        if (b->logp && !near(b->logp[k], q->out.logp[k], b->logp[k])) {
            mete_error_set(err, METE_EPLUGIN,
                           "step %zu: act says log-probability %.6g, forward %.6g", k,
                           (double)b->logp[k], (double)q->out.logp[k]);
            return false;
        }
        for (size_t h = 0; h < heads && b->value; h++)
            if (!near(b->value[k * heads + h], q->out.value[k * heads + h],
                      b->value[k * heads + h])) {
                mete_error_set(err, METE_EPLUGIN, "step %zu: act says value %.6g, forward %.6g", k,
                               (double)b->value[k * heads + h],
                               (double)q->out.value[k * heads + h]);
                return false;
            }
    }
    return true;
}

/* Every other step alone: answered as among all. */
static bool
subset_alike(const struct actor *a, const struct asked *whole, mete_error *err)
{
    struct asked q;
    size_t n = whole->query.count / 2;
    uint32_t *step = calloc(n + 1, sizeof *step);
    bool good = asked_make(a, whole->batch, &q, err) && (step || out_of_memory(err));
    for (size_t k = 0; k < n && good; k++)
        step[k] = (uint32_t)(2 * k + 1);
    q.query.step = step;
    q.query.count = n;
    good = good && forward(a, a->vector, &q, err);
    for (size_t k = 0; k < n && good; k++)
        if (!near(q.out.logp[k], whole->out.logp[step[k]], whole->out.logp[step[k]])) {
            mete_error_set(err, METE_EPLUGIN, "step %u: %.6g alone, %.6g among all", step[k],
                           (double)q.out.logp[k], (double)whole->out.logp[step[k]]);
            good = false;
        }
    asked_free(&q);
    free(step);
    return good;
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* A loss: the outputs, each times a weight drawn once. */
struct loss {
    mete_outputs weight;
    float *numbers;
    size_t count;
};

static double
loss_of(const struct loss *loss, const struct asked *q, double *size)
{
    double sum = 0;
    *size = 0;
    for (size_t k = 0; k < loss->count; k++) {
        double term = (double)loss->numbers[k] * (double)q->numbers[k];
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

/* The slope of the loss along `direction` by central differences of the length `step`. */
static bool
slope(const struct actor *a, struct asked *q, const struct loss *loss, const float *direction,
      double step, double *out, double *noise, mete_error *err)
{
    size_t count = a->node->parameter_count;
    float *moved = malloc((count + 1) * sizeof *moved);
    double side[2] = {0}, size = 0;
    bool good = moved || out_of_memory(err);
    for (int s = 0; s < 2 && good; s++) {
        for (size_t k = 0; k < count; k++)
            moved[k] = a->vector[k] + (float)((s ? step : -step) * (double)direction[k]);
        good = forward(a, moved, q, err);
        if (good)
            side[s] = loss_of(loss, q, &size);
    }
    free(moved);
    *out = (side[1] - side[0]) / (2 * step);
    *noise = 1e-6 * (1 + size) / step;
    return good;
}

/* Is the gradient's slope along `direction` the one of differences? Of two steps one must say so: a
 * long one where rounding hides the slope, a short one where it bends. */
static bool
slope_agrees(const struct actor *a, struct asked *q, const struct loss *loss, const float *grad,
             const float *direction, const char *name, mete_error *err)
{
    double said = 0, seen = 0, noise = 0;
    for (size_t k = 0; k < a->node->parameter_count; k++)
        said += (double)grad[k] * (double)direction[k];
    for (int tried = 0; tried < 3; tried++) {
        const double step[] = {1e-2, 1e-3, 1e-1};
        if (!slope(a, q, loss, direction, step[tried], &seen, &noise, err))
            return false;
        if (noise < 0.2 * (1e-3 + fabs(seen)) && fabs(said - seen) <= 0.02 * fabs(seen) + noise)
            return true;
        if (fabs(said) <= noise && fabs(seen) <= noise)
            return true;
    }
    mete_error_set(err, METE_EPLUGIN,
                   "parameter '%s': backward says a slope of %.6g, differences %.6g", name, said,
                   seen);
    return false;
}

/* Along the gradient of one parameter and along random signs. */
static bool
parameter_agrees(const struct actor *a, const mete_node *owner, size_t offset, size_t p,
                 struct asked *q, const struct loss *loss, const float *grad, mete_error *err)
{
    const mete__parameter *parameter = &owner->parameter[p];
    size_t from = offset + parameter->offset, count = parameter->rows * parameter->columns;
    float *direction = calloc(a->node->parameter_count + 1, sizeof *direction);
    double length = 0;
    bool good = direction || out_of_memory(err);
    for (size_t k = 0; k < count; k++)
        length += (double)grad[from + k] * (double)grad[from + k];
    length = sqrt(length);
    for (size_t k = 0; k < count && good && length > 0; k++)
        direction[from + k] = (float)((double)grad[from + k] / length);
    good =
        good && (!(length > 0) || slope_agrees(a, q, loss, grad, direction, parameter->name, err));
    mete_rng rng = mete_rng_make(4, from, 0);
    for (size_t k = 0; k < count && good; k++)
        direction[from + k] = (mete_rng_bits(&rng) & 1 ? 1 : -1) / sqrtf((float)count);
    good = good && slope_agrees(a, q, loss, grad, direction, parameter->name, err);
    free(direction);
    return good;
}

static bool
parameters_agree(const struct actor *a, const mete_node *owner, size_t offset, struct asked *q,
                 const struct loss *loss, const float *grad, mete_error *err)
{
    size_t count;
    mete_node *const *node = mete__engine_nodes(a->host.engine, &count);
    for (size_t p = 0; p < owner->parameters; p++)
        if (!parameter_agrees(a, owner, offset, p, q, loss, grad, err))
            return false;
    for (size_t i = 0; i < count; i++) /* policies it holds */
        if (node[i]->parent == owner && node[i]->kind == METE_KIND_POLICY && node[i]->plugin &&
            !parameters_agree(a, node[i], offset + node[i]->parameter_offset, q, loss, grad, err))
            return false;
    return true;
}

static bool
gradient_agrees(const struct actor *a, struct asked *q, mete_error *err)
{
    size_t n = q->query.count, count = a->node->parameter_count;
    struct loss loss = {.count = (2 + (size_t)a->node->info.heads) * n};
    float *grad = calloc(count + 1, sizeof *grad);
    loss.numbers = calloc(loss.count + 1, sizeof *loss.numbers);
    bool good = (grad && loss.numbers) || out_of_memory(err);
    mete_rng rng = mete_rng_make(5, 0, 0);
    for (size_t k = 0; k < loss.count && good; k++)
        loss.numbers[k] = (float)mete_rng_normal(&rng);
    if (good) {
        mete_params params = params_of(a, a->vector);
        lay_out(a, n, loss.numbers, &loss.weight);
        good =
            forward(a, a->vector, q, err) &&
            !mete__policy_backward(a->node, &params, &q->query, &loss.weight, q->tape, grad, err) &&
            parameters_agree(a, a->node, 0, q, &loss, grad, err);
    }
    free(loss.numbers);
    free(grad);
    return good;
}

/* ---- the checks ------------------------------------------------------------------------------ */

static void
check_outputs(mete__selftest *t, struct actor *a, const mete_actions *done)
{
    mete_error err = {0};
    struct asked q = {0};
    mete__builder *builder = mete__builder_new();
    const mete_batch *batch =
        builder && store(a, done, builder) ? mete__builder_batch(builder, &err) : NULL;
    bool good = (batch || out_of_memory(&err)) && asked_make(a, batch, &q, &err) &&
                forward(a, a->vector, &q, &err);
    mete__selftest_tell(t, good, "forward on these steps", err.message);
    if (good) {
        mete__selftest_tell(t, says_alike(a, &q, &err), "forward says what act said", err.message);
        if (a->node->info.stepwise)
            mete__selftest_tell(t, subset_alike(a, &q, &err), "some steps as among all",
                                err.message);
        if (a->node->parameter_count)
            mete__selftest_tell(t, gradient_agrees(a, &q, &err),
                                "the gradient is that of finite differences", err.message);
    }
    asked_free(&q);
    if (builder)
        mete__builder_free(builder);
}

static void
check_acts(mete__selftest *t, struct actor *a, mete_actions *whole)
{
    mete_error err = {0};
    bool good = act(a, 0, LANES, 0, whole, &err);
    mete__selftest_tell(t, good, "acts", err.message);
    if (!good)
        return;
    mete__selftest_tell(t, allowed(a, whole, &err), "actions are allowed", err.message);
    mete__selftest_tell(t, acts_alike(a, whole, LANES, &err), "acts twice alike", err.message);
    if (t->plugin->as.head.flags & METE_LANES_ALONE)
        mete__selftest_tell(t, acts_alike(a, whole, 1, &err) && acts_alike(a, whole, 3, &err),
                            "acts on a lane alone as among others, as declared", err.message);
    mete__selftest_tell(t, greedy(a, &err), "greedy is not drawn", err.message);
    mete__selftest_tell(t, saved(t, a, whole, &err), "saved and loaded, acts alike", err.message);
    if (a->node->info.gradient)
        check_outputs(t, a, whole);
}

void
mete__selftest_policy(mete__selftest *t)
{
    size_t made_for = 0;
    mete_error err = {0};
    for (size_t s = 0; s < sizeof situations / sizeof *situations; s++) {
        struct actor a;
        bool refused;
        bool opened = actor_open(t, &situations[s].spaces, &a, &refused, &err);
        mete_actions *whole = opened ? actions_new(&a, LANES, &err) : NULL;
        made_for += !refused;
        if (!refused)
            mete__selftest_tell(t, whole != NULL, situations[s].what, err.message);
        if (whole && t->plugin->as.head.flags & METE_WAITS)
            mete__selftest_skip(t, "acting", "it waits on somebody else's model");
        else if (whole)
            check_acts(t, &a, whole);
        mete__actions_free(whole);
        actor_close(&a);
    }
    if (!made_for)
        mete__selftest_tell(t, false, "is made for some world", err.message);
}
