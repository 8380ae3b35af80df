/* generate.c - whole responses for many lanes in lock-step, one token a lane at a time.
 *
 * A lane's response depends on the parameters, its own prompt and its own stream, and not on which
 * lanes it rides with: each output of `product` is summed over its inputs in one fixed order, which
 * a BLAS does not promise when the number of rows changes.
 */
#include "window_lm.h"

#include <math.h>
#include <string.h>

#define BLOCK 32

/* out[i][o] += sum over k of x[i][k] w[k][o], k ascending; w is [in x outs]. A block of outputs is
 * kept in registers while k runs, so w is read once a row from the nearest cache. */
METE_WIDE static void
product(const float *x, size_t n, size_t in, const float *w, size_t outs, float *out)
{
    size_t o = 0;
    for (; o + BLOCK <= outs; o += BLOCK)
        for (size_t i = 0; i < n; i++) {
            float sum[BLOCK];
            for (size_t j = 0; j < BLOCK; j++)
                sum[j] = out[i * outs + o + j];
            for (size_t k = 0; k < in; k++) {
                const float *row = w + k * outs + o;
                float v = x[i * in + k];
                for (size_t j = 0; j < BLOCK; j++)
                    sum[j] += v * row[j];
            }
            for (size_t j = 0; j < BLOCK; j++)
                out[i * outs + o + j] = sum[j];
        }
    for (size_t i = 0; i < n && o < outs; i++)
        for (size_t k = 0; k < in; k++)
            for (size_t j = o; j < outs; j++)
                out[i * outs + j] += x[i * in + k] * w[k * outs + j];
}

/* The lanes still talking, with one vector of parameters. */
struct talk {
    const struct window_lm *p;
    const float *vector;
    size_t *lane; /* [live] */
    size_t live;
    float *sum;        /* [lanes x width[1]] bias, conditions and words said so far, by lane */
    mete_token *token; /* [lanes x (max_tokens + 1)] */
    size_t *count;     /* [lanes] tokens so far */
    float *x, *h[WINDOW_HIDDEN], *logits; /* of the live rows */
};

static void
add_row(float *to, const float *table, int32_t row, size_t width, float scale)
{
    for (size_t k = 0; k < width; k++)
        to[k] += scale * table[(size_t)row * width + k];
}

static int
talk_start(mete_ctx *cx, struct talk *t, const mete_lanes *in, size_t lane)
{
    const struct window_lm *p = t->p;
    int32_t *condition;
    size_t count, width = p->width[1];
    float *sum = t->sum + lane * width;
    int status = window_conditions(cx, p, in->context, lane, &condition, &count);
    if (status)
        return status;
    memcpy(sum, t->vector + p->bias[0], width * sizeof *sum);
    for (size_t k = 0; k < count; k++)
        add_row(sum, t->vector + p->condition_at, condition[k], width,
                p->condition_bag == 1 ? 1.0f / (float)count : 1.0f);
    return METE_OK;
}

/* Distributions over the next token of all live lanes, and their values. */
static void
talk_step(struct talk *t)
{
    const struct window_lm *p = t->p;
    size_t window = (size_t)p->window, each = (size_t)p->embedding,
           room = (size_t)p->max_tokens + 1;
    for (size_t i = 0; i < t->live; i++) {
        size_t lane = t->lane[i], said = t->count[lane];
        for (size_t k = 0; k < window; k++) {
            int32_t id =
                said + k >= window ? t->token[lane * room + said + k - window].id : bos_of(p);
            memcpy(t->x + (i * window + k) * each, t->vector + p->embed_at + (size_t)id * each,
                   each * sizeof(float));
        }
        memcpy(t->h[0] + i * p->width[1], t->sum + lane * p->width[1], p->width[1] * sizeof(float));
    }
    const float *x = t->x;
    for (size_t layer = 0; layer < p->layers; layer++) {
        size_t width = p->width[layer + 1];
        for (size_t i = 0; i < t->live && layer; i++)
            memcpy(t->h[layer] + i * width, t->vector + p->bias[layer], width * sizeof(float));
        product(x, t->live, p->width[layer], t->vector + p->weight[layer], width, t->h[layer]);
        for (size_t i = 0; i < t->live * width; i++)
            t->h[layer][i] = tanhf(t->h[layer][i]);
        x = t->h[layer];
    }
    size_t outs = classes_of(p);
    for (size_t i = 0; i < t->live; i++)
        memcpy(t->logits + i * outs, t->vector + p->bias[p->layers], outs * sizeof(float));
    product(x, t->live, p->width[p->layers], t->vector + p->weight[p->layers], outs, t->logits);
}

/* Draws the next token of every live lane; those that said <eos> or have no room left fall silent.
 * */
static void
talk_draw(mete_ctx *cx, struct talk *t, const mete_lanes *in)
{
    const struct window_lm *p = t->p;
    size_t outs = classes_of(p), last = p->width[p->layers], live = 0;
    int greedy = (in->mode & METE_ACT_GREEDY) != 0;
    if (!greedy && in->temperature > 0 && in->temperature != 1)
        for (size_t i = 0; i < t->live * outs; i++)
            t->logits[i] = (float)((double)t->logits[i] / in->temperature);
    mete_log_softmax_run(t->logits, t->live, outs, NULL);
    for (size_t i = 0; i < t->live; i++) {
        size_t lane = t->lane[i], said = t->count[lane]++;
        const float *h = t->h[p->layers - 1] + i * last, *logp = t->logits + i * outs;
        mete_rng rng = mete_random(cx, in->episode[lane], in->step[lane] + (uint32_t)said);
        size_t id = mete_draw(logp, outs, greedy, &rng);
        mete_token *token = &t->token[lane * ((size_t)p->max_tokens + 1) + said];
        *token = (mete_token){.id = (int32_t)id, .logp = logp[id]};
        if (p->critic) {
            float value = t->vector[p->value_bias_at];
            for (size_t k = 0; k < last; k++)
                value += h[k] * t->vector[p->value_at + k];
            token->value = value;
        }
        if (!id || said + 1 >= (size_t)p->max_tokens)
            continue;
        if (p->said_bag)
            add_row(t->sum + lane * p->width[1], t->vector + p->said_at, (int32_t)id, p->width[1],
                    1);
        t->lane[live++] = lane;
    }
    t->live = live;
}

/* Joins the tokens of a lane to its text and hands both over. */
static int
talk_give(mete_ctx *cx, const struct talk *t, size_t lane, mete_actions *out)
{
    const struct window_lm *p = t->p;
    mete_token *token = t->token + lane * ((size_t)p->max_tokens + 1);
    size_t length = 0;
    for (size_t k = 0; k < t->count[lane]; k++)
        length += token[k].id ? words_text(&p->say, (size_t)token[k].id - 1).length : 0;
    char *text = mete_arena(cx, length + 1);
    if (!text)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a response");
    length = 0;
    for (size_t k = 0; k < t->count[lane]; k++) {
        mete_text word =
            token[k].id ? words_text(&p->say, (size_t)token[k].id - 1) : (mete_text){"", 0};
        token[k].begin = (uint32_t)length;
        memcpy(text + length, word.data, word.length);
        length += word.length;
        token[k].end = (uint32_t)length;
    }
    if (p->critic && out->value)
        out->value[lane * out->heads] = token[0].value;
    return mete_act_tokens(cx, out, lane, token, t->count[lane], (mete_text){text, length});
}

static int
talk_room(mete_ctx *cx, struct talk *t, size_t lanes)
{
    const struct window_lm *p = t->p;
    t->lane = mete_arena(cx, lanes * sizeof *t->lane);
    t->count = mete_arena(cx, lanes * sizeof *t->count);
    t->token = mete_arena(cx, lanes * ((size_t)p->max_tokens + 1) * sizeof *t->token);
    t->sum = mete_arena(cx, lanes * p->width[1] * sizeof(float));
    t->x = mete_arena(cx, lanes * p->width[0] * sizeof(float));
    t->logits = mete_arena(cx, lanes * classes_of(p) * sizeof(float));
    int good = t->lane && t->count && t->token && t->sum && t->x && t->logits;
    for (size_t k = 0; k < p->layers; k++)
        good &= (t->h[k] = mete_arena(cx, lanes * p->width[k + 1] * sizeof(float))) != NULL;
    return good ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
}

int
window_act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
           mete_actions *out)
{
    struct talk t = {.p = self};
    if (!in->count)
        return METE_OK;
    if (!in->context)
        return mete_fail(cx, METE_EPLUGIN, "was given no prompts to answer");
    int status = talk_room(cx, &t, in->count);
    for (size_t from = 0, to; from < in->count && !status; from = to) {
        t.vector = params->lane ? params->lane[from] : params->vector;
        for (to = from; to < in->count && !status; to++) {
            if (params->lane && params->lane[to] != params->lane[from])
                break;
            status = talk_start(cx, &t, in, to);
            t.lane[t.live++] = to;
        }
        while (t.live && !status) {
            talk_step(&t);
            talk_draw(cx, &t, in);
        }
    }
    for (size_t i = 0; i < in->count && !status; i++)
        status = talk_give(cx, &t, i, out);
    return status;
}
