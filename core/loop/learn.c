/* learn.c - epochs of minibatches: forward, terms, backward, one step of the optimiser.
 *
 * A minibatch is cut into pieces a tape can hold, and the pieces are dealt to a fixed number of
 * shards, each with a gradient of its own; the shards' sums are added in order. What a piece is and
 * where its gradient goes never depends on how many threads there are, so neither do the bits. */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steps a piece holds: bounds the tape. From half of it on, a minibatch is worth two workers. */
#define PIECE_STEPS 1024

typedef struct job {
    mete__loop *loop;
    const mete__objective *objective; /* NULL: log-probabilities alone */
    const mete__weights_now *now;
    const mete_batch *batch;
    mete_params params;
    mete_params teacher; /* of match; else its vector is NULL */
    bool rows;           /* the policy is asked row by row */
    bool reference;
    size_t heads;
    const double *advantage; /* [steps] */
    float *logp;             /* where log-probabilities go */
    double temperature;      /* of the policy's own distribution, as the batch was sampled; 0: 1 */
} job;

/* ---- room ------------------------------------------------------------------------------------ */

static bool
grow(void *at, size_t count, size_t each)
{
    void **pointer = at, *grown = realloc(*pointer, count * each);
    if (grown)
        *pointer = grown;
    return grown != NULL;
}

static bool
query_room(struct mete__work *w, size_t steps, size_t heads)
{
    if (steps <= w->most)
        return true;
    size_t room = steps + steps / 2;
    float **each[] = {&w->m_old,  &w->m_reference, &w->m_advantage, &w->m_weight,
                      &w->o_logp, &w->o_entropy,   &w->a_logp,      &w->a_entropy};
    float **wide[] = {&w->m_value, &w->m_target, &w->o_value, &w->a_value};
    bool good = grow(&w->query, room, sizeof *w->query);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        good = good && grow(each[i], room, sizeof(float));
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        good = good && grow(wide[i], room * (heads ? heads : 1), sizeof(float));
    if (good)
        w->most = room;
    return good;
}

static bool
row_room(struct mete__work *w, size_t rows)
{
    if (rows <= w->query_row_room)
        return true;
    size_t room = rows + rows / 2;
    bool good = grow(&w->row_begin, room + 1, sizeof *w->row_begin) &&
                grow(&w->pair_p, room, sizeof *w->pair_p) &&
                grow(&w->pair_scale, room, sizeof *w->pair_scale);
    if (good)
        w->query_row_room = room;
    return good;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static bool
add_piece(struct mete__work *w, uint32_t from, uint32_t to, uint32_t row_from, uint32_t row_to)
{
    if (w->pieces == w->piece_room) {
        size_t room = w->piece_room ? 2 * w->piece_room : 16;
        if (!grow(&w->piece, room, sizeof *w->piece))
            return false;
        w->piece_room = room;
    }
    w->piece[w->pieces++] = (mete__piece){from, to, row_from, row_to};
    return true;
}

/* Cuts the queries, at row boundaries (every `at_once` rows) when there are rows. */
static bool
cut(struct mete__work *w, bool rows, size_t at_once)
{
    size_t n = w->queries,
           most = n >= PIECE_STEPS / 2 && n < 2 * PIECE_STEPS ? (n + 1) / 2 : PIECE_STEPS;
    bool good = true;
    w->pieces = 0;
    for (size_t from = 0; !rows && from < n && good; from += most)
        good = add_piece(w, (uint32_t)from, (uint32_t)(n - from < most ? n : from + most), 0, 0);
    size_t first = 0;
    for (size_t r = at_once; rows && r <= w->query_rows && good; r += at_once) {
        bool last = r == w->query_rows;
        size_t next = last ? r : r + at_once, from = w->row_begin[first];
        if (!last && w->row_begin[next] - from <= most)
            continue;
        if (w->row_begin[r] > from)
            good = add_piece(w, (uint32_t)from, w->row_begin[r], (uint32_t)first, (uint32_t)r);
        first = r;
    }
    return good;
}

/* The temperature a batch of the stage is sampled at now. Given texts are nobody's samples. */
static double
sampled_at(const mete__loop *loop, const mete__stage *stage)
{
    return stage->responses
               ? 1
               : mete__schedule_at(&stage->temperature, (double)(loop->done - stage->first));
}

/* ---- one piece ------------------------------------------------------------------------------- */

/* A mete__losses is doubles throughout. */
static void
losses_add(mete__losses *to, const mete__losses *from)
{
    double *sum = (double *)to;
    const double *each = (const double *)from;
    for (size_t i = 0; i < sizeof *to / sizeof *sum; i++)
        sum[i] += each[i];
}

static bool
logits_room(mete__shard *shard, size_t count)
{
    if (count <= shard->logits_room)
        return true;
    bool good = grow(&shard->logits, count, sizeof(float)) &&
                grow(&shard->logits_adjoint, count, sizeof(float)) &&
                grow(&shard->teacher, count, sizeof(float));
    shard->logits_room = good ? count : shard->logits_room;
    return good;
}

/* The teacher's log-probabilities of every class at the piece's steps. */
static int
ask_teacher(const job *j, mete__shard *shard, mete_query *query, size_t classes)
{
    mete_query ask = *query;
    ask.want = METE_WANT_LOGITS;
    mete_outputs out = {.size = sizeof out, .classes = (uint32_t)classes, .logits = shard->teacher};
    mete_tape_reset(shard->teacher_tape);
    int status = mete__policy_forward(j->loop->policy, &j->teacher, &ask, &out, shard->teacher_tape,
                                      &shard->err);
    if (!status)
        mete_log_softmax_run(shard->teacher, query->count, classes, NULL);
    return status;
}

static mete__minibatch
view(const job *j, const mete__piece *piece)
{
    const struct mete__work *w = j->loop->work;
    size_t at = piece->from, wide = at * j->heads;
    return (mete__minibatch){.count = piece->to - piece->from,
                             .heads = j->heads,
                             .old_logp = w->m_old + at,
                             .reference_logp = j->reference ? w->m_reference + at : NULL,
                             .advantage = w->m_advantage + at,
                             .weight = w->m_weight + at,
                             .old_value = w->m_value + wide,
                             .target = w->m_target + wide,
                             .rows = piece->row_to - piece->row_from,
                             .row_begin = w->row_begin ? w->row_begin + piece->row_from : NULL,
                             .pair_p = w->pair_p ? w->pair_p + piece->row_from / 2 : NULL,
                             .pair_scale =
                                 w->pair_scale ? w->pair_scale + piece->row_from / 2 : NULL,
                             .pair_weight = w->query_rows ? 2.0 / (double)w->query_rows : 0,
                             .share = (double)(piece->to - piece->from) / (double)w->queries};
}

static int
learn_piece(const job *j, mete__shard *shard, const mete__piece *piece)
{
    struct mete__work *w = j->loop->work;
    const mete_policy_info *info = &j->loop->policy->info;
    const unsigned terms = j->objective->terms;
    size_t at = piece->from, count = piece->to - piece->from, classes = info->classes;
    bool entropy = terms & (METE__TERM_RATIO | METE__TERM_ENTROPY),
         match = terms & METE__TERM_MATCH;
    bool aux = (terms & METE__TERM_AUX) && info->auxes;
    float losses[16], slopes[16];
    mete__minibatch m = view(j, piece);
    mete_query query = {.size = sizeof query,
                        .flags = terms == METE__TERM_NLL ? METE_QUERY_FIT : 0,
                        .batch = j->batch,
                        .step = w->query + at,
                        .count = count,
                        .want = METE_WANT_LOGP | (j->heads ? METE_WANT_VALUE : 0) |
                                (entropy ? METE_WANT_ENTROPY : 0) | (match ? METE_WANT_LOGITS : 0) |
                                (aux ? METE_WANT_AUX : 0),
                        .temperature = j->temperature};
    mete_outputs out = {.size = sizeof out,
                        .heads = (uint32_t)j->heads,
                        .logp = w->o_logp + at,
                        .value = j->heads ? w->o_value + at * j->heads : NULL,
                        .entropy = entropy ? w->o_entropy + at : NULL};
    mete_outputs adjoint = {.size = sizeof adjoint,
                            .heads = (uint32_t)j->heads,
                            .logp = w->a_logp + at,
                            .value = j->heads ? w->a_value + at * j->heads : NULL,
                            .entropy = terms & METE__TERM_ENTROPY ? w->a_entropy + at : NULL};
    if (match) {
        if (!logits_room(shard, count * classes))
            return mete_error_set(&shard->err, METE_ENOMEM, "out of memory for %zu x %zu logits",
                                  count, classes);
        int status = ask_teacher(j, shard, &query, classes);
        if (status)
            return status;
        m.teacher = shard->teacher;
        m.classes = classes;
        out.classes = adjoint.classes = (uint32_t)classes;
        out.logits = shard->logits;
        adjoint.logits = shard->logits_adjoint;
    }
    if (aux) {
        out.auxes = adjoint.auxes = info->auxes < 16 ? info->auxes : 16;
        out.aux = losses;
        adjoint.aux = slopes;
    }
    mete_tape_reset(shard->tape);
    int status =
        mete__policy_forward(j->loop->policy, &j->params, &query, &out, shard->tape, &shard->err);
    if (status)
        return status;
    mete__losses piece_losses;
    mete__objective_terms(j->objective, j->now, &m, &out, &adjoint, &piece_losses);
    if (!isfinite(piece_losses.total))
        return mete_error_set(&shard->err, METE_EPLUGIN, "the loss is %g", piece_losses.total);
    losses_add(&shard->losses, &piece_losses);
    return mete__policy_backward(j->loop->policy, &j->params, &query, &adjoint, shard->tape,
                                 shard->grad, &shard->err);
}

static int
ask_piece(const job *j, mete__shard *shard, const mete__piece *piece)
{
    const struct mete__work *w = j->loop->work;
    mete_query query = {.size = sizeof query,
                        .batch = j->batch,
                        .step = w->query + piece->from,
                        .count = piece->to - piece->from,
                        .want = METE_WANT_LOGP};
    mete_outputs out = {.size = sizeof out, .logp = j->logp + piece->from};
    mete_tape_reset(shard->tape);
    return mete__policy_forward(j->loop->policy, &j->params, &query, &out, shard->tape,
                                &shard->err);
}

/* Every METE__SHARDS-th piece, from the k-th. */
static void
run_shard(void *user, size_t k)
{
    const job *j = user;
    struct mete__work *w = j->loop->work;
    mete__shard *shard = &w->shard[k];
    shard->losses = (mete__losses){0};
    shard->status = METE_OK;
    shard->err = (mete_error){0};
    if (j->objective)
        memset(shard->grad, 0, j->loop->parameters * sizeof(float));
    for (size_t p = k; p < w->pieces && !shard->status; p += METE__SHARDS)
        shard->status =
            j->objective ? learn_piece(j, shard, &w->piece[p]) : ask_piece(j, shard, &w->piece[p]);
}

static int
run_pieces(job *j, mete_error *err)
{
    struct mete__work *w = j->loop->work;
    size_t shards = w->pieces < METE__SHARDS ? w->pieces : METE__SHARDS;
    mete__workers_run(mete__engine_workers(j->loop->engine), shards, run_shard, j);
    for (size_t k = 0; k < shards; k++)
        if (w->shard[k].status) {
            *err = w->shard[k].err;
            return w->shard[k].status;
        }
    return METE_OK;
}

/* ---- log-probabilities under another vector -------------------------------------------------- */

int
mete__logp_under(mete__loop *loop, const mete_params *params, const mete_batch *batch, float *logp,
                 mete_error *err)
{
    struct mete__work *w = mete__work_for(loop, batch, err);
    job j = {.loop = loop, .batch = batch, .params = *params, .logp = logp};
    if (!w)
        return err->code;
    if (!batch->steps)
        return METE_OK;
    j.rows = !loop->policy->info.stepwise;
    if (!query_room(w, batch->steps, batch->heads) || (j.rows && !row_room(w, batch->episodes)))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu steps", batch->steps);
    for (size_t t = 0; t < batch->steps; t++)
        w->query[t] = (uint32_t)t;
    w->queries = batch->steps;
    w->query_rows = batch->episodes;
    if (j.rows)
        memcpy(w->row_begin, batch->step_begin, (batch->episodes + 1) * sizeof *w->row_begin);
    if (!cut(w, j.rows, 1))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu steps", batch->steps);
    return run_pieces(&j, err);
}

/* ---- minibatches ----------------------------------------------------------------------------- */

static void
gather(const job *j)
{
    struct mete__work *w = j->loop->work;
    const mete_batch *batch = j->batch;
    for (size_t k = 0; k < w->queries; k++) {
        uint32_t t = w->query[k];
        w->m_old[k] = batch->logp ? batch->logp[t] : 0;
        w->m_reference[k] = w->reference[t];
        w->m_advantage[k] = (float)j->advantage[t];
        w->m_weight[k] = w->weight[t] / (float)w->queries;
        for (size_t h = 0; h < j->heads; h++) {
            w->m_value[k * j->heads + h] = batch->value ? batch->value[t * j->heads + h] : 0;
            w->m_target[k * j->heads + h] = (float)w->target[h * w->steps + t];
        }
    }
}

/* Steps [from, from + minibatch) of the epoch's order; how many. 0: out of memory. */
static size_t
take_steps(struct mete__work *w, size_t from, size_t minibatch, uint64_t order, size_t heads)
{
    size_t n = w->count - from < minibatch ? w->count - from : minibatch;
    if (!query_room(w, n, heads))
        return 0;
    if (n == w->count)
        memcpy(w->query, w->index, n * sizeof *w->query);
    else
        mete_permute_range(order, from, n, w->count, w->query);
    for (size_t k = 0; n < w->count && k < n; k++)
        w->query[k] = w->index[w->query[k]];
    w->queries = n;
    w->query_rows = 0;
    return n;
}

static size_t
row_steps(const struct mete__work *w, const mete_batch *batch, size_t row)
{
    size_t steps = 0;
    for (size_t t = batch->step_begin[row]; t < batch->step_begin[row + 1]; t++)
        steps += w->use[t];
    return steps;
}

/* Units from `from` on, as many as fit in `minibatch` steps and at least one; how many. */
static size_t
take_units(struct mete__work *w, const mete_batch *batch, size_t from, size_t minibatch,
           uint64_t order, size_t heads, bool pairs)
{
    size_t each = pairs ? 2 : 1, taken = 0;
    w->queries = w->query_rows = 0;
    for (; from + taken < w->units; taken++) {
        size_t u =
            minibatch == SIZE_MAX ? from + taken : mete_permute(order, from + taken, w->units);
        const uint32_t *row = w->unit + u * each;
        size_t steps = row_steps(w, batch, row[0]) + (pairs ? row_steps(w, batch, row[1]) : 0);
        if (taken && w->queries + steps > minibatch)
            break;
        if (!query_room(w, w->queries + steps, heads) || !row_room(w, w->query_rows + each))
            return 0;
        w->pair_p[taken] = w->unit_p[u];
        w->pair_scale[taken] = w->unit_scale[u];
        for (size_t r = 0; r < each; r++) {
            w->row_begin[w->query_rows++] = (uint32_t)w->queries;
            for (size_t t = batch->step_begin[row[r]]; t < batch->step_begin[row[r] + 1]; t++)
                if (w->use[t])
                    w->query[w->queries++] = (uint32_t)t;
        }
        w->row_begin[w->query_rows] = (uint32_t)w->queries;
    }
    return taken;
}

/* Losses and gradient of the minibatch taken. */
static int
differentiate(job *j, mete__losses *losses, mete_error *err)
{
    mete__loop *loop = j->loop;
    struct mete__work *w = loop->work;
    gather(j);
    if (!cut(w, j->rows, j->objective->terms & METE__TERM_PAIR ? 2 : 1))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu steps", w->queries);
    j->params = mete__loop_params(loop);
    int status = run_pieces(j, err);
    if (status)
        return status;
    *losses = w->shard[0].losses;
    for (size_t k = 1; k < METE__SHARDS && k < w->pieces; k++) {
        losses_add(losses, &w->shard[k].losses);
        for (size_t i = 0; i < loop->parameters; i++)
            loop->grad[i] += w->shard[k].grad[i];
    }
    return METE_OK;
}

static int
one_minibatch(job *j, double rate, mete__losses *losses, double *norm, mete_error *err)
{
    mete__loop *loop = j->loop;
    int status = differentiate(j, losses, err);
    if (status)
        return status;
    status = mete__optimiser_step(&loop->optimiser, loop->parameter, loop->grad, rate, norm, err);
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
    if (o->terms & METE__TERM_PAIR) {
        mete__metrics_add(metrics, l->pair, "loss/pair");
        mete__metrics_add(metrics, l->pair_right / l->pair_seen, "policy/pair_accuracy");
        mete__metrics_add(metrics, l->pair_margin / l->pair_seen, "policy/pair_margin");
    }
    if (o->terms & METE__TERM_IMPLICIT)
        mete__metrics_add(metrics, l->implicit, "loss/implicit");
    if (o->terms & METE__TERM_MATCH)
        mete__metrics_add(metrics, l->match, "loss/match");
    if (o->terms & METE__TERM_AUX)
        mete__metrics_add(metrics, l->aux, "loss/aux");
    mete__metrics_add(metrics, norm, "policy/grad_norm");
}

int
mete__learn(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, mete_error *err)
{
    struct mete__work *w = loop->work;
    const mete__objective *o = &stage->objective;
    double at = (double)(loop->done - stage->first), rate = mete__schedule_at(&stage->rate, at);
    mete__weights_now now = mete__weights_at(o, at);
    bool pairs = o->terms & METE__TERM_PAIR;
    bool critic = (o->terms & METE__TERM_VALUE) && loop->policy->info.heads && batch->value;
    job j = {.loop = loop,
             .objective = o,
             .now = &now,
             .batch = batch,
             .temperature = sampled_at(loop, stage),
             .advantage = w->advantage,
             .teacher = mete__snapshot_params(loop, o->teacher),
             .rows = pairs || !loop->policy->info.stepwise,
             .reference = !o->reference_free && mete__snapshot_params(loop, "reference").vector,
             .heads = critic ? loop->policy->info.heads : 0};
    if ((o->terms & METE__TERM_MATCH) && !j.teacher.vector)
        return mete_error_set(err, METE_EINVAL, "no snapshot '%s' is taken yet to match",
                              o->teacher);
    size_t all = j.rows ? w->units : w->count;
    size_t minibatch = o->minibatch ? (size_t)o->minibatch : SIZE_MAX;
    uint64_t key = mete_hash_mix(loop->seed, mete_hash_mix(loop->done, 0x6d696e69));
    mete__metrics_add(&loop->metrics, rate, "rate");
    for (uint64_t epoch = 0; epoch < o->epochs; epoch++) {
        uint64_t order = mete_hash_mix(key, epoch);
        double kl = 0;
        size_t batches = 0;
        for (size_t from = 0, taken; from < all; from += taken) {
            mete__losses losses = {0};
            double norm;
            taken = j.rows ? take_units(w, batch, from, minibatch, order, j.heads, pairs)
                           : take_steps(w, from, minibatch, order, j.heads);
            if (!taken)
                return mete_error_set(err, METE_ENOMEM, "out of memory for a minibatch");
            if (!w->queries)
                continue; /* rows without steps */
            int status = one_minibatch(&j, rate, &losses, &norm, err);
            if (status)
                return status;
            add_losses(loop, o, &losses, norm);
            kl += losses.approx_kl;
            batches++;
        }
        if (o->target_kl > 0 && batches && kl / (double)batches > o->target_kl)
            break;
    }
    return METE_OK;
}

int
mete__gradient(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, size_t from,
               size_t count, const double *advantage, mete_error *err)
{
    struct mete__work *w = loop->work;
    mete__objective terms = stage->objective;
    terms.terms &= METE__TERM_RATIO | METE__TERM_IMPLICIT;
    mete__weights_now now = mete__weights_at(&terms, (double)(loop->done - stage->first));
    mete__losses losses;
    job j = {.loop = loop,
             .objective = &terms,
             .now = &now,
             .batch = batch,
             .temperature = sampled_at(loop, stage),
             .advantage = advantage,
             .rows = !loop->policy->info.stepwise,
             .reference = !terms.reference_free && mete__snapshot_params(loop, "reference").vector};
    size_t steps = batch->step_begin[from + count] - batch->step_begin[from];
    if (!query_room(w, steps, batch->heads) || !row_room(w, count))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu steps", steps);
    w->queries = w->query_rows = 0;
    for (size_t i = from; i < from + count; i++) {
        w->row_begin[w->query_rows++] = (uint32_t)w->queries;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
            if (w->use[t])
                w->query[w->queries++] = (uint32_t)t;
    }
    w->row_begin[w->query_rows] = (uint32_t)w->queries;
    memset(loop->grad, 0, loop->parameters * sizeof *loop->grad);
    return w->queries ? differentiate(&j, &losses, err) : METE_OK;
}
