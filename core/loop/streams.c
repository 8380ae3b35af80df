/* streams.c - from rewards to advantages: the root's stream, and each node's that asks for one. */
#include "loop/inner.h"

#include <math.h>
#include <string.h>

#define MOST_STREAMS 16

/* A node's value as step rewards: its own steps, or its episode value on the row's last step. Rows
 * the node could not score leave the stream: they get no advantage and enter no baseline. */
static void
step_rewards(struct mete__work *w, const mete_node *node, const mete_batch *batch)
{
    const mete_scores *scores = mete__node_scores(node);
    memset(w->reward, 0, batch->steps * sizeof *w->reward);
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t from = batch->step_begin[i], to = batch->step_begin[i + 1];
        w->stream_valid[i] = w->valid[i] && !scores->status[i];
        if (scores->status[i] || from == to)
            continue;
        if (scores->step)
            memcpy(w->reward + from, scores->step + from, (to - from) * sizeof *w->reward);
        else
            w->reward[to - 1] = scores->episode[i];
    }
}

static size_t
row_advantage(struct mete__work *w, const mete__objective *o, const mete_batch *batch,
              double *target)
{
    size_t flat = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        w->row[i] = 0;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
            w->row[i] += w->reward[t];
    }
    if (o->form == METE__ADVANTAGE_GROUP)
        flat = mete__group_relative(batch, w->row, w->stream_valid, o->divide, o->epsilon, w->row,
                                    w->flat);
    else if (o->form == METE__ADVANTAGE_LEAVE_ONE_OUT)
        flat = mete__leave_one_out(batch, w->row, w->stream_valid, o->divide, o->epsilon, w->row,
                                   w->flat);
    for (size_t t = 0; t < batch->steps; t++) {
        w->stream[t] = w->row[batch->step_row[t]];
        target[t] = w->stream[t];
    }
    return flat;
}

/* Advantage of w->reward per step into w->stream, targets into head `head`; the number of groups
 * without spread. */
static size_t
stream_advantage(struct mete__work *w, const mete__objective *o, const mete_batch *batch,
                 double gamma, double lambda, size_t head)
{
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
        flat = row_advantage(w, o, batch, target);
    }
    for (size_t t = 0; t < batch->steps; t++)
        if (!w->stream_valid[batch->step_row[t]]) {
            w->stream[t] = 0;
            target[t] = NAN; /* the critic's head learns nothing of it */
        }
    return flat;
}

void
mete__stream_part(struct mete__work *w, const mete__objective *o, const mete_batch *batch,
                  double gamma, double lambda, const double *reward, double *row, double *out)
{
    bool others = o->form == METE__ADVANTAGE_LEAVE_ONE_OUT;
    memset(w->value, 0, batch->steps * sizeof *w->value);
    memset(w->last, 0, batch->episodes * sizeof *w->last);
    if (o->form == METE__ADVANTAGE_GAE) {
        mete__gae(batch, reward, w->value, w->last, gamma, lambda, out, w->stream);
    } else if (o->form == METE__ADVANTAGE_TOGO) {
        mete__returns(batch, reward, gamma, NULL, out);
    } else {
        for (size_t i = 0; i < batch->episodes; i++) {
            row[i] = w->row[i] = 0;
            for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++) {
                row[i] += reward[t];
                w->row[i] += w->reward[t];
            }
        }
        if (others || o->form == METE__ADVANTAGE_GROUP)
            mete__group_part(batch, w->row, row, w->stream_valid, o->divide, o->epsilon, others,
                             row);
        for (size_t t = 0; t < batch->steps; t++)
            out[t] = row[batch->step_row[t]];
    }
    for (size_t t = 0; t < batch->steps; t++)
        if (!w->stream_valid[batch->step_row[t]])
            out[t] = 0;
}

struct own {
    double gamma, lambda, coef;
    size_t head;
};

static int
read_own(mete__value *stream, const mete_batch *batch, struct own *own, mete_error *err)
{
    mete__errors errors = {0};
    own->gamma = mete__value_real(stream, "gamma", own->gamma, 0, 1, &errors);
    own->lambda = mete__value_real(stream, "lambda", own->lambda, 0, 1, &errors);
    own->coef = mete__value_real(stream, "coef", 1, -1e6, 1e6, &errors);
    own->head = (size_t)mete__value_int(stream, "head", 0, 0, MOST_STREAMS - 1, &errors);
    mete__value_unknown(stream, "gamma lambda coef head", &errors);
    if (!errors.count && own->head >= (batch->heads ? batch->heads : 1))
        mete__errors_add(&errors, "%s:%d: %s.head = %zu: the policy has %u value heads",
                         stream->file, stream->line, stream->path, own->head, batch->heads);
    if (!errors.count)
        return METE_OK;
    mete_error_set(err, METE_EINVAL, "%s", errors.line[0]);
    mete__errors_free(&errors);
    return METE_EINVAL;
}

static int
own_streams(mete__loop *loop, const mete__objective *o, const mete_batch *batch, double gamma,
            double lambda, mete_error *err)
{
    struct mete__work *w = loop->work;
    size_t nodes, streams = 1;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t i = 0; i < nodes; i++) {
        mete__value *core = node[i]->at ? mete__value_get(node[i]->at, "node") : NULL;
        mete__value *stream = core ? mete__value_get(core, "stream") : NULL;
        struct own own = {gamma, lambda, 1, 0};
        if (!stream || !mete__node_scores(node[i]))
            continue;
        if (streams++ == MOST_STREAMS)
            return mete_error_set(err, METE_ENOTSUP, "more than %d streams", MOST_STREAMS);
        int status = read_own(stream, batch, &own, err);
        if (status)
            return status;
        step_rewards(w, node[i], batch);
        stream_advantage(w, o, batch, own.gamma, own.lambda, own.head);
        for (size_t t = 0; t < batch->steps; t++)
            w->advantage[t] += own.coef * w->stream[t];
    }
    return METE_OK;
}

/* The KL to the reference as a cost of each step. */
static void
charge_kl(struct mete__work *w, const mete__objective *o, const mete_batch *batch, double beta)
{
    for (size_t t = 0; t < batch->steps; t++) {
        double x = (double)w->reference[t] - (double)batch->logp[t];
        double k = o->kl_estimator == 1   ? -x
                   : o->kl_estimator == 2 ? 0.5 * x * x
                                          : exp(fmin(x, 40)) - x - 1;
        w->reward[t] -= beta * k;
    }
}

static void
measure_advantage(mete__loop *loop, const mete_batch *batch)
{
    const struct mete__work *w = loop->work;
    double sum = 0, square = 0;
    size_t count = 0;
    for (size_t t = 0; t < batch->steps; t++) {
        if (!w->valid[batch->step_row[t]])
            continue;
        sum += w->advantage[t];
        square += w->advantage[t] * w->advantage[t];
        count++;
    }
    if (!count)
        return;
    double mean = sum / (double)count, n = (double)count;
    mete__metrics_add(&loop->metrics, mean, "advantage/mean");
    if (count > 1)
        mete__metrics_add(&loop->metrics, sqrt(fmax(0, square - n * mean * mean) / (n - 1)),
                          "advantage/sd");
}

int
mete__streams(mete__loop *loop, const mete__objective *o, const mete_batch *batch, double iteration,
              mete_error *err)
{
    struct mete__work *w = loop->work;
    double gamma = mete__schedule_at(&o->gamma, iteration);
    double lambda = mete__schedule_at(&o->lambda, iteration);
    memset(w->advantage, 0, batch->steps * sizeof *w->advantage);
    for (size_t k = 0; k < (batch->heads ? batch->heads : 1) * w->steps; k++)
        w->target[k] = NAN; /* a head that no stream has learns nothing */
    int status = own_streams(loop, o, batch, gamma, lambda, err);
    if (status)
        return status;
    /* The root comes last: its groups without spread and its critic's targets are the ones kept. */
    step_rewards(w, loop->reward, batch);
    if (o->kl_in_reward && (o->terms & METE__TERM_KL) &&
        mete__snapshot_params(loop, "reference").vector)
        charge_kl(w, o, batch, mete__schedule_at(&o->kl, iteration));
    size_t flat = stream_advantage(w, o, batch, gamma, lambda, 0);
    for (size_t t = 0; t < batch->steps; t++)
        w->advantage[t] += w->stream[t];
    mete__metrics_add(&loop->metrics, (double)flat, "count/zero_variance_groups");
    measure_advantage(loop, batch);
    return METE_OK;
}
