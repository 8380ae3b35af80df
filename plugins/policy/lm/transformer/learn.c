/* learn.c - the transformer on a tape.
 *
 * Rows asked about are packed one after another, prompt and response, without padding. After the
 * last layer's attention only the positions that say a token asked about go on: a prompt pays
 * neither the last feed-forward part nor the head. */
#include "transformer.h"

#include <math.h>
#include <string.h>

/* The packed rows. */
struct packed {
    int32_t *token, *position;
    uint32_t *offset; /* [rows + 1] */
    size_t rows, tokens;
    int32_t *asks;   /* [count] the packed position that says a step's token */
    int32_t *target; /* [count] that token */
};

/* ---- packing --------------------------------------------------------------------------------- */

struct packing {
    mete_ctx *cx;
    mete_tape *tape; /* rows are kept there, for backward may read them again */
    const struct transformer *p;
    const mete_batch *batch;
    struct packed *out;
    size_t room;
    mete_tokens prompt;
};

static int
make_room(struct packing *k, size_t more)
{
    struct packed *out = k->out;
    if (out->tokens + more <= k->room)
        return METE_OK;
    size_t room = 2 * k->room + more;
    int32_t *token = mete_tape_take(k->tape, room * sizeof *token);
    int32_t *position = mete_tape_take(k->tape, room * sizeof *position);
    if (!token || !position)
        return mete_fail(k->cx, METE_ENOMEM, "out of memory for %zu tokens", room);
    if (out->tokens) {
        memcpy(token, out->token, out->tokens * sizeof *token);
        memcpy(position, out->position, out->tokens * sizeof *position);
    }
    out->token = token;
    out->position = position;
    k->room = room;
    return METE_OK;
}

/* Appends a row; returns through `first` the packed position that says its first token. */
static int
pack_row(struct packing *k, size_t row, size_t *first)
{
    const mete_batch *batch = k->batch;
    struct packed *out = k->out;
    size_t from = batch->step_begin[row], steps = batch->step_begin[row + 1] - from;
    int status = words_row(k->cx, k->p, batch, row, words_room(k->p, steps), &k->prompt);
    if (!status)
        status = make_room(k, k->prompt.count + steps);
    if (status)
        return status;
    size_t begin = out->tokens;
    memcpy(out->token + begin, k->prompt.id, k->prompt.count * sizeof *out->token);
    out->tokens += k->prompt.count;
    *first = out->tokens - 1;
    for (size_t t = 0; t + 1 < steps; t++) /* nothing comes after the last */
        out->token[out->tokens++] = batch->action[from + t];
    for (size_t i = begin; i < out->tokens; i++)
        out->position[i] = (int32_t)(i - begin);
    out->offset[++out->rows] = (uint32_t)out->tokens;
    return METE_OK;
}

/* Appends a row's prompt and its whole response as text; the last position is asked about. */
static int
pack_text(struct packing *k, size_t row, mete_tokens *said)
{
    const mete_batch *batch = k->batch;
    const struct transformer *p = k->p;
    struct packed *out = k->out;
    size_t most = p->shape.context - 1, begin = out->tokens;
    mete_text prompt = batch->prompt ? batch->prompt[row] : (mete_text){NULL, 0};
    int status = words_response(k->cx, p, batch->response[row], SIZE_MAX, said);
    if (!status && said->count > most && !p->overflow)
        status = mete_fail(k->cx, METE_EDATA, "a response has %zu tokens; the context is %zu",
                           said->count, p->shape.context);
    if (status)
        return status;
    size_t count = said->count < most ? said->count : most;
    status = words_prompt(k->cx, p, prompt, p->shape.context - count, &k->prompt);
    if (!status)
        status = make_room(k, k->prompt.count + count);
    if (status)
        return status;
    memcpy(out->token + out->tokens, k->prompt.id, k->prompt.count * sizeof *out->token);
    out->tokens += k->prompt.count;
    memcpy(out->token + out->tokens, said->id + (said->count - count), count * sizeof *out->token);
    out->tokens += count;
    for (size_t i = begin; i < out->tokens; i++)
        out->position[i] = (int32_t)(i - begin);
    out->asks[out->rows] = (int32_t)out->tokens - 1;
    out->offset[++out->rows] = (uint32_t)out->tokens;
    return METE_OK;
}

static int
pack_texts(mete_ctx *cx, const struct transformer *p, const mete_batch *batch, mete_tape *tape,
           struct packed *out)
{
    struct packing k = {.cx = cx, .tape = tape, .p = p, .batch = batch, .out = out};
    mete_tokens said = {0};
    size_t n = batch->episodes;
    *out = (struct packed){.offset = mete_tape_take(tape, (n + 1) * sizeof *out->offset),
                           .asks = mete_tape_take(tape, (n + 1) * sizeof *out->asks)};
    if (!out->offset || !out->asks)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu texts", n);
    out->offset[0] = 0;
    int status = METE_OK;
    for (size_t row = 0; row < n && !status; row++)
        status = pack_text(&k, row, &said);
    mete_tokens_free(&k.prompt);
    mete_tokens_free(&said);
    return status;
}

static int
pack(mete_ctx *cx, const struct transformer *p, const mete_query *query, mete_tape *tape,
     struct packed *out)
{
    const mete_batch *batch = query->batch;
    struct packing k = {.cx = cx, .tape = tape, .p = p, .batch = batch, .out = out};
    size_t n = query->count;
    size_t *first = mete_arena(cx, (batch->episodes + 1) * sizeof *first);
    *out =
        (struct packed){.offset = mete_tape_take(tape, (batch->episodes + 1) * sizeof *out->offset),
                        .asks = mete_tape_take(tape, (n + 1) * sizeof *out->asks),
                        .target = mete_tape_take(tape, (n + 1) * sizeof *out->target)};
    if (!first || !out->offset || !out->asks || !out->target)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu steps", n);
    int status = METE_OK;
    out->offset[0] = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        first[i] = SIZE_MAX;
    for (size_t i = 0; i < n && !status; i++) {
        size_t step = query->step ? query->step[i] : i, row = batch->step_row[step];
        if (first[row] == SIZE_MAX)
            status = pack_row(&k, row, &first[row]);
        int32_t token = batch->action[step];
        if (!status && (token < 0 || (size_t)token >= p->shape.vocabulary))
            status = mete_fail(cx, METE_EPLUGIN, "was asked about token %d of %zu", token,
                               p->shape.vocabulary);
        out->asks[i] = (int32_t)(first[row] + step - batch->step_begin[row]);
        out->target[i] = token;
    }
    mete_tokens_free(&k.prompt);
    return status;
}

/* ---- the network ----------------------------------------------------------------------------- */

struct net {
    const struct transformer *p;
    const float *vector;
    mete_tape *tape;
    const struct packed *rows;
    uint64_t key; /* of dropout; 0: none */
};

/* `place` tells the parts of the network apart. */
static mete_var *
drop(const struct net *n, mete_var *x, uint64_t place)
{
    return n->key ? mete_dropout(n->tape, x, (float)n->p->dropout, mete_hash_mix(n->key, place), 0)
                  : x;
}

/* Rows [from, from + count) of a matrix. */
static mete_var *
part(const struct net *n, const struct weight *w, size_t from, size_t count)
{
    if (!w->rows)
        return NULL;
    if (w->frozen)
        return mete_input(n->tape, w->frozen + from * w->columns, count, w->columns);
    return mete_weights(n->tape, n->vector, w->offset + from * w->columns, count, w->columns);
}

static mete_var *
whole(const struct net *n, size_t layer, enum role role)
{
    const struct weight *w = weight_of(n->p, layer, role);
    return part(n, w, 0, w->rows);
}

/* x times rows [from, from + count) of a matrix, its bias (the role after it) and its adapter:
 * y = x W' + b + scale (x A') B' (Hu et al. 2021, arXiv:2106.09685). */
static mete_var *
linear(const struct net *n, size_t layer, enum role role, mete_var *x, size_t from, size_t count,
       mete_activation act)
{
    const struct weight *w = weight_of(n->p, layer, role);
    const struct weight *b = weight_of(n->p, layer, (enum role)(role + 1));
    mete_var *bias = NULL;
    if (b->rows && b->frozen)
        bias = mete_input(n->tape, b->frozen + from, 1, count);
    else if (b->rows)
        bias = mete_weights(n->tape, n->vector, b->offset + from, 1, count);
    const struct adapter *d = adapter_of(w, from);
    if (!d)
        return mete_dense(n->tape, x, part(n, w, from, count), bias, act);
    mete_var *y = mete_dense(n->tape, x, part(n, w, from, count), bias, METE_LINEAR);
    mete_var *a = mete_weights(n->tape, n->vector, d->a, w->rank, w->columns);
    mete_var *up =
        mete_weights(n->tape, n->vector, d->b + (from - d->from) * w->rank, count, w->rank);
    mete_var *low = mete_dense(n->tape, x, a, NULL, METE_LINEAR);
    low = mete_affine(n->tape, low, adapters_scale(n->p), 0);
    y = mete_add(n->tape, y, mete_dense(n->tape, low, up, NULL, METE_LINEAR));
    return act == METE_LINEAR ? y : mete_act_fn(n->tape, y, act);
}

static mete_var *
norm(const struct net *n, size_t layer, enum role role, mete_var *x)
{
    mete_var *gain = whole(n, layer, role);
    if (n->p->shape.layer_norm)
        return mete_layer_norm(n->tape, x, gain, whole(n, layer, (enum role)(role + 1)));
    return mete_rms_norm(n->tape, x, gain, n->p->shape.epsilon);
}

/* Each head's numbers normalised on their own (Qwen3). */
static mete_var *
head_norm(const struct net *n, size_t layer, enum role role, mete_var *x)
{
    const struct shape *s = &n->p->shape;
    size_t rows = x ? x->rows : 0, columns = x ? x->columns : 0;
    if (!s->qk_norm)
        return x;
    x = mete_reshape(n->tape, x, rows * columns / s->head, s->head);
    x = mete_rms_norm(n->tape, x, whole(n, layer, role), s->epsilon);
    return mete_reshape(n->tape, x, rows, columns);
}

static mete_var *
attend(const struct net *n, size_t layer, mete_var *h)
{
    const struct shape *s = &n->p->shape;
    size_t queries = s->heads * s->head, keys = s->groups * s->head;
    mete_var *q = linear(n, layer, QKV, h, 0, queries, METE_LINEAR);
    mete_var *k = linear(n, layer, QKV, h, queries, keys, METE_LINEAR);
    mete_var *v = linear(n, layer, QKV, h, queries + keys, keys, METE_LINEAR);
    q = head_norm(n, layer, Q_NORM, q);
    k = head_norm(n, layer, K_NORM, k);
    if (s->rotary) {
        q = mete_rope(n->tape, q, s->heads, n->rows->position, n->p->frequency);
        k = mete_rope(n->tape, k, s->groups, n->rows->position, n->p->frequency);
    }
    return mete_attention(n->tape, q, k, v, s->heads, s->groups, n->rows->offset, n->rows->rows,
                          1 / sqrtf((float)s->head));
}

static mete_var *
feed(const struct net *n, size_t layer, mete_var *h)
{
    const struct shape *s = &n->p->shape;
    mete_var *m;
    if (s->gated)
        m = mete_gated(n->tape, linear(n, layer, UP, h, 0, s->hidden, METE_LINEAR),
                       linear(n, layer, UP, h, s->hidden, s->hidden, METE_LINEAR), METE_SILU);
    else
        m = linear(n, layer, UP, h, 0, s->hidden, METE_GELU);
    return linear(n, layer, DOWN, m, 0, s->width, METE_LINEAR);
}

/* One layer, as a segment of a checkpointed pass may be. */
struct layer {
    const struct net *net;
    size_t number, asked; /* steps asked about, which alone go on from the last layer */
};

static mete_var *
layer(mete_tape *tape, mete_var *const *input, void *memory)
{
    const struct layer *l = memory;
    const struct net *n = l->net;
    size_t i = l->number;
    mete_var *x = input[0], *seen = attend(n, i, norm(n, i, NORM1, x));
    if (i + 1 == n->p->shape.layers) {
        x = mete_rows_of(tape, x, n->rows->asks, l->asked);
        seen = mete_rows_of(tape, seen, n->rows->asks, l->asked);
    }
    seen = linear(n, i, OUT, seen, 0, n->p->shape.width, METE_LINEAR);
    x = mete_add(tape, x, drop(n, seen, 2 * i + 1));
    return mete_add(tape, x, drop(n, feed(n, i, norm(n, i, NORM2, x)), 2 * i + 2));
}

/* The last hidden state of each step asked about. */
static mete_var *
hidden(const struct net *n, size_t count)
{
    const struct shape *s = &n->p->shape;
    const struct packed *rows = n->rows;
    mete_var *x = mete_rows_of(n->tape, whole(n, 0, EMBED), rows->token, rows->tokens);
    if (!s->rotary)
        x = mete_add(n->tape, x,
                     mete_rows_of(n->tape, whole(n, 0, POSITION), rows->position, rows->tokens));
    x = drop(n, x, 0);
    struct layer *l = mete_tape_take(n->tape, s->layers * sizeof *l);
    for (size_t i = 0; l && i < s->layers; i++) {
        l[i] = (struct layer){n, i, count};
        x = n->p->checkpoint ? mete_checkpoint(n->tape, i + 1 == s->layers ? count : rows->tokens,
                                               s->width, layer, &x, 1, &l[i])
                             : layer(n->tape, &x, &l[i]);
    }
    return norm(n, 0, NORM, x);
}

int
transformer_forward(mete_ctx *cx, const void *self, const mete_params *params,
                    const mete_query *query, mete_outputs *out, mete_tape *tape)
{
    const struct transformer *p = self;
    struct packed *rows = mete_tape_take(tape, sizeof *rows);
    struct net *n = mete_tape_take(tape, sizeof *n);
    mete_answers a = {0};
    if (!query->batch->action)
        return mete_fail(cx, METE_EPLUGIN, "was asked about a batch without tokens");
    if (!query->count)
        return mete_answers_give(cx, tape, &a, out);
    if (published_needs_head(cx, p))
        return METE_ENOTSUP;
    if (!rows || !n)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a network");
    int status = pack(cx, p, query, tape, rows);
    if (status)
        return status;
    *n = (struct net){p, params->vector, tape, rows, 0};
    if (query->flags & METE_QUERY_FIT && p->dropout > 0) {
        size_t first = query->batch->step_row[query->step ? query->step[0] : 0];
        n->key =
            mete_hash_mix(mete_hash_mix(mete_key(cx), params->version), query->batch->id[first]);
        n->key += n->key == 0;
    }
    mete_var *h = hidden(n, query->count);
    mete_var *head = whole(n, 0, p->shape.tied ? EMBED : HEAD);
    int wants_entropy = (query->want & METE_WANT_ENTROPY) != 0;
    if (query->want & METE_WANT_LOGITS) {
        a.logits =
            mete_query_logits(tape, query, mete_dense(tape, h, head, NULL, METE_LINEAR), NULL);
        if (query->want & METE_WANT_LOGP)
            a.logp = mete_pick(tape, a.logits, rows->target);
        if (wants_entropy)
            a.entropy = mete_entropy(tape, a.logits);
    } else if (query->want & (METE_WANT_LOGP | METE_WANT_ENTROPY)) {
        float temperature = (float)mete_query_temperature(query);
        mete_var *both =
            mete_vocab_logp(tape, h, head, NULL, rows->target, temperature, wants_entropy);
        a.logp = wants_entropy ? mete_columns(tape, both, 0, 1) : both;
        a.entropy = wants_entropy ? mete_columns(tape, both, 1, 1) : NULL;
    }
    if (query->want & METE_WANT_VALUE && p->critic)
        a.value = linear(n, 0, VALUE, h, 0, 1, METE_LINEAR);
    return mete_answers_give(cx, tape, &a, out);
}

int
transformer_embed(mete_ctx *cx, const void *self, const mete_params *params,
                  const mete_batch *batch, mete_tape *tape, mete_var **out)
{
    const struct transformer *p = self;
    struct packed *rows = mete_tape_take(tape, sizeof *rows);
    struct net *n = mete_tape_take(tape, sizeof *n);
    mete_error err = {0};
    if (!batch->response || !batch->episodes)
        return mete_fail(cx, METE_EINVAL, "was given no texts to read");
    if (!rows || !n)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a network");
    int status = pack_texts(cx, p, batch, tape, rows);
    if (status)
        return status;
    *n = (struct net){p, params->vector, tape, rows, 0};
    *out = hidden(n, batch->episodes);
    return mete_tape_status(tape, &err) ? mete_fail(cx, err.code, "%s", err.message) : METE_OK;
}

int
transformer_backward(mete_ctx *cx, const void *self, const mete_params *params,
                     const mete_query *query, const mete_outputs *adjoint, mete_tape *tape,
                     float *grad)
{
    (void)self;
    (void)params;
    (void)query;
    return mete_answers_back(cx, tape, adjoint, grad);
}
