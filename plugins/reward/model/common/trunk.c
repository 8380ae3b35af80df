/* trunk.c - the state in which a language model ends after reading a prompt and a response, as it
 * is or learning too. */
#include "net.h"

#include <math.h>
#include <mete/text.h>
#include <string.h>

#define PIECE 4096 /* bytes of text that a trunk which learns reads at once, or one row */

int
trunk_open(mete_ctx *cx, struct net *p)
{
    mete_encoder encoder;
    if (!p->trunk)
        return p->trunk_rate > 0 || p->head
                   ? mete_fail(cx, METE_EINVAL, "trunk_rate and head need a trunk")
                   : METE_OK;
    int status = mete_encoder_of(cx, p->trunk, &encoder);
    if (status)
        return status;
    p->states = encoder.width;
    p->parameters = encoder.parameters;
    if (!(p->trunk_rate > 0))
        return METE_OK;
    if (!p->parameters)
        return mete_fail(cx, METE_EINVAL, "trunk_rate: the trunk has no parameters to learn");
    p->body = mete_tensor(cx, "trunk", METE_F32, p->parameters);
    p->body_sum = p->body < 0 ? p->body : mete_tensor(cx, "trunk_sum", METE_F32, p->parameters);
    if (p->body_sum < 0 || !p->patience)
        return p->body_sum < 0 ? p->body_sum : METE_OK;
    p->best_body = mete_tensor(cx, "best_trunk", METE_F32, p->parameters);
    return p->best_body < 0 ? p->best_body : METE_OK;
}

/* The prompt as the trunk reads it: a line of each joined column before it. */
static int
joined_prompt(mete_ctx *cx, const struct net *p, const mete_batch *batch, size_t row,
              mete_text *out)
{
    mete_buffer text = mete_buffer_make(0);
    for (size_t k = 0; k < p->joined.count; k++) {
        mete_buffer_text(&text, column_text(&p->joined_field[k], batch, row));
        mete_buffer_byte(&text, '\n');
    }
    mete_buffer_text(&text, batch->prompt ? batch->prompt[row] : (mete_text){"", 0});
    *out = mete_text_copy(cx, mete_buffer_view(&text));
    int failed = text.status || !out->data;
    mete_buffer_free(&text);
    return failed ? mete_fail(cx, METE_ENOMEM, "out of memory for a prompt") : METE_OK;
}

/* The batch whose prompts are what the trunk reads. */
static int
with_prompts(mete_ctx *cx, const struct net *p, const mete_batch *batch, mete_batch *out)
{
    *out = *batch;
    if (!p->joined.count)
        return METE_OK;
    mete_text *prompt = mete_arena(cx, (batch->episodes + 1) * sizeof *prompt);
    int status = prompt ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory for prompts");
    for (size_t i = 0; i < batch->episodes && !status; i++)
        status = joined_prompt(cx, p, batch, i, &prompt[i]);
    out->prompt = prompt;
    return status;
}

/* Rows [from, *to): about a PIECE, or one. */
static const mete_batch *
piece_of(mete_ctx *cx, const struct net *p, const mete_batch *batch, size_t from, size_t *to)
{
    size_t bytes = 0, at = from;
    do
        bytes += batch->response[at].length + (batch->prompt ? batch->prompt[at].length : 0);
    while (++at < batch->episodes && bytes < PIECE && p->trunk_rate > 0);
    *to = at;
    uint32_t *row = mete_arena(cx, (at - from) * sizeof *row);
    for (size_t i = from; row && i < at; i++)
        row[i - from] = (uint32_t)i;
    return row ? mete_batch_subset(cx, batch, row, at - from) : NULL;
}

/* A normalised state has numbers of size 1; so scaled, one output moves as with a bag. */
static float
scale_of(const struct net *p)
{
    return (float)(1 / sqrt((double)p->states));
}

/* Rows from `from` on, as many as are read at once: those before *to. */
static int
read_piece(mete_ctx *cx, const struct net *p, const float *body, const mete_batch *batch,
           mete_tape *tape, float *states, size_t from, size_t *to)
{
    const mete_batch *piece = piece_of(cx, p, batch, from, to);
    mete_tape_reset(tape);
    mete_var *read = piece ? mete_embed(cx, p->trunk, body, piece, tape) : NULL;
    for (size_t k = 0; read && k < (*to - from) * p->states; k++)
        states[from * p->states + k] = scale_of(p) * read->data[k];
    return read ? METE_OK : METE_EPLUGIN;
}

/* States of a trunk change with its parameters: those of a policy that learns do at every step. */
static int
open_for(mete_ctx *cx, const struct net *p, struct cache *cache)
{
    mete_encoder encoder;
    int status = mete_encoder_of(cx, p->trunk, &encoder);
    if (!status)
        cache_of(cache, mete_hash(3, encoder.vector, encoder.parameters * sizeof(float)));
    return status;
}

int
trunk_read(mete_ctx *cx, const struct net *p, const float *body, const mete_batch *given,
           struct cache *cache, float *states)
{
    mete_batch batch;
    mete_tape *tape = mete_tape_new();
    int status = tape ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
    if (!status)
        status = with_prompts(cx, p, given, &batch);
    if (!status && cache)
        status = open_for(cx, p, cache);
    for (size_t from = 0, to; !status && from < given->episodes; from = to) {
        struct cache_key key = {0};
        const float *known = NULL;
        if (cache) {
            mete_text prompt = batch.prompt ? batch.prompt[from] : (mete_text){"", 0};
            key = cache_key_of(prompt, batch.response[from]);
            known = cache_find(cache, key);
        }
        to = from + 1;
        if (known)
            memcpy(states + from * p->states, known, p->states * sizeof *states);
        else
            status = read_piece(cx, p, body, &batch, tape, states, from, &to);
        if (cache && !known && !status)
            cache_put(cache, key, states + from * p->states);
    }
    mete_tape_free(tape);
    return status;
}

float *
trunk_body(mete_ctx *cx, const struct net *p)
{
    mete_encoder encoder;
    double *state = mete_tensor_write(cx, p->state);
    float *body = mete_tensor_write(cx, p->body);
    if (!state || !body || mete_encoder_of(cx, p->trunk, &encoder))
        return NULL;
    if (state[STATE_BODY] == 0)
        memcpy(body, encoder.vector, p->parameters * sizeof *body);
    state[STATE_BODY] = 1;
    return body;
}

int
trunk_step(mete_ctx *cx, const struct net *p, const mete_batch *given, const float *slope)
{
    mete_batch with, *batch = &with;
    float *body = trunk_body(cx, p), *sum = mete_tensor_write(cx, p->body_sum);
    float *grad = mete_arena(cx, p->parameters * sizeof *grad);
    float *adjoint = mete_arena(cx, given->episodes * p->states * sizeof *adjoint);
    mete_tape *tape = mete_tape_new();
    int status = with_prompts(cx, p, given, batch);
    if (!body || !sum)
        status = METE_EPLUGIN;
    else if (!grad || !adjoint || !tape)
        status = mete_fail(cx, METE_ENOMEM, "out of memory for the trunk's gradient");
    for (size_t k = 0; !status && k < batch->episodes * p->states; k++)
        adjoint[k] = scale_of(p) * slope[k];
    for (size_t from = 0, to; !status && from < batch->episodes; from = to) {
        const mete_batch *piece = piece_of(cx, p, batch, from, &to);
        mete_tape_reset(tape);
        mete_var *read = piece ? mete_embed(cx, p->trunk, body, piece, tape) : NULL;
        if (!read) {
            status = METE_EPLUGIN;
            break;
        }
        mete_seed(tape, read, adjoint + from * p->states);
        status = mete_tape_backward(tape, grad);
        if (status)
            status = mete_fail(cx, status, "the trunk's gradient failed");
    }
    if (!status)
        net_adagrad(p, p->trunk_rate, body, sum, grad, p->parameters);
    mete_tape_free(tape);
    return status;
}
