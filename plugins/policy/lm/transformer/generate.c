/* generate.c - answers, token by token, with a cache of keys and values.
 *
 * A talk is one answer in the making. All live talks take their next step together: their rows go
 * through each matrix at once, each attends to its own cache. Every row's numbers are computed in
 * an order of its own (mete_dense_rows_run, mete_attention_run), so an answer depends on the
 * parameters, its prompt and its random stream, and not on who else is answered. A prompt that is
 * the same as the one before it, as in a group of samples, is read once and its cache copied. */
#include "transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 256 /* rows that go through the layers at once */

/* How the next token is drawn. */
struct sampling {
    double temperature, top_p, min_p, repeat; /* temperature 0: greedy */
    size_t top_k;
};

struct talk {
    int32_t *prompt;
    size_t prompts, said, most;
    mete_token *token; /* [most] */
    struct sampling how;
    mete_rng rng;
    const mete_text *stop;
    size_t stops;
    int done;    /* said its end, or met a stop text */
    float *keys; /* the cache: [layers][2][groups][room][head] */
};

struct decoder {
    mete_ctx *cx;
    const struct transformer *p;
    const float *vector;
    const float **matrix; /* [layers x LAYER_ROLES], then ROLES: as they count, adapters merged */
    uint16_t **half;      /* of those that make products, in bfloat16; NULL: not asked for */
    struct talk *talk;
    size_t talks, room; /* tokens of a cache */
    /* of the rows under way */
    size_t *of;        /* [ROWS] their talk */
    int32_t *position; /* [ROWS] */
    float *x, *h, *wide, *seen, *score;
    float *logits, *sorted;
};

/* ---- matrices -------------------------------------------------------------------------------- */

static size_t
index_of(const struct decoder *d, size_t layer, enum role role)
{
    return role < LAYER_ROLES ? layer * LAYER_ROLES + role
                              : d->p->shape.layers * LAYER_ROLES + role;
}

static const float *
matrix(const struct decoder *d, size_t layer, enum role role)
{
    return d->matrix[index_of(d, layer, role)];
}

/* out [n x outs] = act(x W' + b), W the rows [from, from + outs) of a matrix with `in` columns. */
static void
product(const struct decoder *d, size_t layer, enum role role, size_t from, const float *x,
        size_t n, size_t in, const float *b, size_t outs, mete_activation act, float *out)
{
    size_t i = index_of(d, layer, role);
    if (d->half)
        mete_dense_bf16_run(x, n, in, d->half[i] + from * in, b, outs, act, out);
    else
        mete_dense_rows_run(x, n, in, d->matrix[i] + from * in, b, outs, act, out);
}

const float *
transformer_merged(mete_ctx *cx, const struct transformer *p, const struct weight *w,
                   const float *vector)
{
    if (!w->rank)
        return w->frozen;
    float scale = adapters_scale(p);
    float *out = mete_arena(cx, w->rows * w->columns * sizeof *out);
    if (!out)
        return NULL;
    memcpy(out, w->frozen, w->rows * w->columns * sizeof *out);
    for (size_t i = 0; i < w->rows; i++) {
        const struct adapter *d = adapter_of(w, i);
        for (size_t r = 0; d && r < w->rank; r++) {
            float by = scale * vector[d->b + (i - d->from) * w->rank + r];
            const float *a = vector + d->a + r * w->columns;
            for (size_t k = 0; k < w->columns; k++)
                out[i * w->columns + k] += by * a[k];
        }
    }
    return out;
}

/* Rounds one that makes products. */
static int
round_matrix(struct decoder *d, size_t layer, enum role role)
{
    const struct weight *w = weight_of(d->p, layer, role);
    size_t i = index_of(d, layer, role), size = w->rows * w->columns;
    if (!(d->half[i] = mete_arena(d->cx, size * sizeof *d->half[i])))
        return mete_fail(d->cx, METE_ENOMEM, "out of memory for a matrix");
    mete_to_bf16(d->matrix[i], size, d->half[i]);
    return METE_OK;
}

static int
round_matrices(struct decoder *d)
{
    static const enum role roles[] = {QKV, OUT, UP, DOWN};
    const struct shape *s = &d->p->shape;
    if (!(d->half = mete_arena(d->cx, (s->layers * LAYER_ROLES + ROLES) * sizeof *d->half)))
        return mete_fail(d->cx, METE_ENOMEM, "out of memory");
    int status = round_matrix(d, 0, s->tied ? EMBED : HEAD);
    for (size_t k = 0; k < 4 * s->layers && !status; k++)
        status = round_matrix(d, k / 4, roles[k % 4]);
    return status;
}

static int
find_matrices(struct decoder *d)
{
    const struct transformer *p = d->p;
    size_t count = p->shape.layers * LAYER_ROLES + ROLES;
    if (!(d->matrix = mete_arena(d->cx, count * sizeof *d->matrix)))
        return mete_fail(d->cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        size_t layers = p->shape.layers * LAYER_ROLES;
        const struct weight *w = i < layers ? &p->layer[i] : &p->whole[i - layers];
        d->matrix[i] = !w->rows    ? NULL
                       : w->frozen ? transformer_merged(d->cx, p, w, d->vector)
                                   : d->vector + w->offset;
        if (w->rows && !d->matrix[i])
            return mete_fail(d->cx, METE_ENOMEM, "out of memory for a matrix");
    }
    return p->bf16 ? round_matrices(d) : METE_OK;
}

/* ---- the network on rows --------------------------------------------------------------------- */

static void
normalise(const struct decoder *d, size_t layer, enum role role, const float *x, size_t n,
          float *out)
{
    const struct shape *s = &d->p->shape;
    const float *gain = matrix(d, layer, role);
    if (s->layer_norm)
        mete_layer_norm_run(x, n, s->width, gain, matrix(d, layer, (enum role)(role + 1)), out);
    else
        mete_rms_norm_run(x, n, s->width, gain, s->epsilon, out);
}

static void
add_to(float *x, const float *more, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += more[i];
}

/* Turns the rows' queries and keys and puts keys and values where they are kept. */
static void
keep_keys(const struct decoder *d, size_t layer, size_t n)
{
    const struct shape *s = &d->p->shape;
    size_t queries = s->heads * s->head, keys = s->groups * s->head, all = queries + 2 * keys;
    for (size_t i = 0; i < n; i++) {
        float *q = d->wide + i * all, *k = q + queries, *v = k + keys;
        struct talk *talk = &d->talk[d->of[i]];
        float *cache = talk->keys + layer * 2 * keys * d->room;
        if (s->qk_norm) {
            mete_rms_norm_run(q, s->heads, s->head, matrix(d, layer, Q_NORM), s->epsilon, q);
            mete_rms_norm_run(k, s->groups, s->head, matrix(d, layer, K_NORM), s->epsilon, k);
        }
        if (s->rotary) {
            mete_rope_run(q, 1, s->heads, s->head, &d->position[i], d->p->frequency);
            mete_rope_run(k, 1, s->groups, s->head, &d->position[i], d->p->frequency);
        }
        for (size_t g = 0; g < s->groups; g++) {
            size_t at = (g * d->room + (size_t)d->position[i]) * s->head;
            memcpy(cache + at, k + g * s->head, s->head * sizeof *cache);
            memcpy(cache + keys * d->room + at, v + g * s->head, s->head * sizeof *cache);
        }
    }
}

static void
attend(const struct decoder *d, size_t layer, size_t n)
{
    const struct shape *s = &d->p->shape;
    size_t queries = s->heads * s->head, keys = s->groups * s->head, all = queries + 2 * keys;
    normalise(d, layer, NORM1, d->x, n, d->h);
    product(d, layer, QKV, 0, d->h, n, s->width, matrix(d, layer, QKV_BIAS), all, METE_LINEAR,
            d->wide);
    keep_keys(d, layer, n);
    for (size_t i = 0; i < n; i++) {
        const float *cache = d->talk[d->of[i]].keys + layer * 2 * keys * d->room;
        mete_attention_run(d->wide + i * all, s->heads, s->groups, s->head, cache,
                           cache + keys * d->room, (size_t)d->position[i] + 1, d->room,
                           1 / sqrtf((float)s->head), d->score, d->seen + i * queries);
    }
    product(d, layer, OUT, 0, d->seen, n, queries, matrix(d, layer, OUT_BIAS), s->width,
            METE_LINEAR, d->h);
    add_to(d->x, d->h, n * s->width);
}

static void
feed(const struct decoder *d, size_t layer, size_t n)
{
    const struct shape *s = &d->p->shape;
    normalise(d, layer, NORM2, d->x, n, d->h);
    if (s->gated) {
        float *more = d->wide + n * s->hidden;
        product(d, layer, UP, 0, d->h, n, s->width, NULL, s->hidden, METE_LINEAR, d->wide);
        product(d, layer, UP, s->hidden, d->h, n, s->width, NULL, s->hidden, METE_LINEAR, more);
        mete_gated_run(d->wide, more, n * s->hidden, METE_SILU);
    } else {
        product(d, layer, UP, 0, d->h, n, s->width, matrix(d, layer, UP_BIAS), s->hidden, METE_GELU,
                d->wide);
    }
    product(d, layer, DOWN, 0, d->wide, n, s->hidden, matrix(d, layer, DOWN_BIAS), s->width,
            METE_LINEAR, d->h);
    add_to(d->x, d->h, n * s->width);
}

/* Sends rows through the layers: tokens of talks d->of at d->position. d->x is their state. */
static void
run_rows(const struct decoder *d, const int32_t *token, size_t n)
{
    const struct shape *s = &d->p->shape;
    for (size_t i = 0; i < n; i++) {
        float *row = d->x + i * s->width;
        memcpy(row, matrix(d, 0, EMBED) + (size_t)token[i] * s->width, s->width * sizeof *row);
        if (!s->rotary)
            add_to(row, matrix(d, 0, POSITION) + (size_t)d->position[i] * s->width, s->width);
    }
    for (size_t layer = 0; layer < s->layers; layer++) {
        attend(d, layer, n);
        feed(d, layer, n);
    }
}

/* ---- drawing --------------------------------------------------------------------------------- */

static int
descending(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

/* Makes impossible what top_k, top_p and min_p leave out: every log-probability under a threshold.
 * Tokens as likely as the last one kept are kept too. */
static void
narrow(const struct decoder *d, const struct sampling *how, float *logp)
{
    size_t vocabulary = d->p->shape.vocabulary, kept = vocabulary;
    float least = -1e30f;
    if (how->top_k || (how->top_p > 0 && how->top_p < 1)) {
        memcpy(d->sorted, logp, vocabulary * sizeof *logp);
        qsort(d->sorted, vocabulary, sizeof *d->sorted, descending);
        if (how->top_k && how->top_k < kept)
            kept = how->top_k;
        double sum = 0, whole = 0;
        for (size_t i = 0; i < kept; i++)
            whole += exp((double)d->sorted[i]);
        for (size_t i = 0; how->top_p > 0 && how->top_p < 1 && i < kept; i++)
            if ((sum += exp((double)d->sorted[i])) >= how->top_p * whole)
                kept = i + 1;
        least = d->sorted[kept - 1];
    }
    if (how->min_p > 0) {
        float most = logp[0];
        for (size_t k = 1; k < vocabulary; k++)
            most = logp[k] > most ? logp[k] : most;
        float bound = most + (float)log(how->min_p);
        least = bound > least ? bound : least;
    }
    if (least <= -1e30f)
        return;
    for (size_t k = 0; k < vocabulary; k++)
        logp[k] = logp[k] < least ? -1e30f : logp[k];
    mete_log_softmax_run(logp, 1, vocabulary, NULL);
}

/* Logits of tokens already there are divided where positive, else multiplied (Keskar et al. 2019,
 * arXiv:1909.05858, section 4.1). */
static void
penalise(const struct talk *talk, float *logits)
{
    float by = (float)talk->how.repeat;
    for (size_t i = 0; i < talk->said; i++) {
        size_t id = (size_t)talk->token[i].id;
        int again = 0;
        for (size_t k = 0; k < i && !again; k++)
            again = talk->token[k].id == talk->token[i].id;
        if (!again)
            logits[id] = logits[id] > 0 ? logits[id] / by : logits[id] * by;
    }
}

/* Does what was said end in one of the stop texts? The text is cut when it is joined. */
static int
met_stop(const struct decoder *d, const struct talk *talk)
{
    for (size_t s = 0; s < talk->stops; s++) {
        mete_text stop = talk->stop[s];
        char tail[512];
        size_t have = 0, want = stop.length;
        if (!want || want > sizeof tail / 2)
            continue;
        /* The last tokens, until they hold the stop text and what may follow it in its token. */
        size_t from = talk->said;
        while (from && have < want + 1) {
            mete_text part = mete_tokeniser_token(d->p->words, talk->token[--from].id);
            if (have + part.length > sizeof tail)
                break;
            memmove(tail + part.length, tail, have);
            memcpy(tail, part.data, part.length);
            have += part.length;
        }
        if (mete_text_find((mete_text){tail, have}, stop, 0) != SIZE_MAX)
            return 1;
    }
    return 0;
}

static void
draw(const struct decoder *d, struct talk *talk, float *logits, const float *state)
{
    const struct transformer *p = d->p;
    int greedy = !(talk->how.temperature > 0);
    size_t vocabulary = p->shape.vocabulary;
    if (talk->how.repeat > 0 && talk->how.repeat != 1)
        penalise(talk, logits);
    for (size_t k = 0; !greedy && talk->how.temperature != 1 && k < vocabulary; k++)
        logits[k] = (float)((double)logits[k] / talk->how.temperature);
    mete_log_softmax_run(logits, 1, vocabulary, NULL);
    if (!greedy)
        narrow(d, &talk->how, logits);
    size_t id = mete_draw(logits, vocabulary, greedy, &talk->rng);
    mete_token *token = &talk->token[talk->said++];
    *token = (mete_token){.id = (int32_t)id, .logp = logits[id]};
    if (p->critic) {
        const float *w = matrix(d, 0, VALUE);
        token->value = *matrix(d, 0, VALUE_BIAS);
        for (size_t k = 0; k < p->shape.width; k++)
            token->value += w[k] * state[k];
    }
    talk->done = (int32_t)id == p->shape.end || (talk->stops && met_stop(d, talk));
}

/* Draws the next token of `n` talks, whose states stand in d->x from row 0 on. */
static void
draw_all(struct decoder *d, const size_t *talk, size_t n)
{
    const struct shape *s = &d->p->shape;
    normalise(d, 0, NORM, d->x, n, d->h);
    product(d, 0, s->tied ? EMBED : HEAD, 0, d->h, n, s->width, NULL, s->vocabulary, METE_LINEAR,
            d->logits);
    for (size_t i = 0; i < n; i++)
        draw(d, &d->talk[talk[i]], d->logits + i * s->vocabulary, d->h + i * s->width);
}

/* ---- answers --------------------------------------------------------------------------------- */

static int
same_prompt(const struct talk *a, const struct talk *b)
{
    return a->prompts == b->prompts &&
           memcmp(a->prompt, b->prompt, a->prompts * sizeof *a->prompt) == 0;
}

static size_t
cache_size(const struct decoder *d)
{
    const struct shape *s = &d->p->shape;
    return s->layers * 2 * s->groups * s->head * d->room;
}

/* Reads a prompt but for its last token, whose step draws the first of the answer. */
static void
read_prompt(struct decoder *d, size_t which)
{
    struct talk *talk = &d->talk[which];
    if (which && same_prompt(talk, talk - 1)) {
        memcpy(talk->keys, (talk - 1)->keys, cache_size(d) * sizeof *talk->keys);
        return;
    }
    for (size_t from = 0; from + 1 < talk->prompts; from += ROWS) {
        size_t n = talk->prompts - 1 - from < ROWS ? talk->prompts - 1 - from : ROWS;
        for (size_t i = 0; i < n; i++) {
            d->of[i] = which;
            d->position[i] = (int32_t)(from + i);
        }
        run_rows(d, talk->prompt + from, n);
    }
}

static void
answer_all(struct decoder *d, size_t *live)
{
    int32_t token[ROWS];
    size_t lives = 0;
    for (size_t i = 0; i < d->talks; i++) {
        read_prompt(d, i);
        if (d->talk[i].most)
            live[lives++] = i;
    }
    while (lives) {
        size_t left = 0;
        for (size_t from = 0; from < lives; from += ROWS) {
            size_t n = lives - from < ROWS ? lives - from : ROWS;
            for (size_t i = 0; i < n; i++) {
                const struct talk *talk = &d->talk[live[from + i]];
                d->of[i] = live[from + i];
                d->position[i] = (int32_t)(talk->prompts - 1 + talk->said);
                token[i] =
                    talk->said ? talk->token[talk->said - 1].id : talk->prompt[talk->prompts - 1];
            }
            run_rows(d, token, n);
            draw_all(d, live + from, n);
        }
        for (size_t i = 0; i < lives; i++)
            if (!d->talk[live[i]].done && d->talk[live[i]].said < d->talk[live[i]].most)
                live[left++] = live[i];
        lives = left;
    }
}

static int
decoder_room(struct decoder *d)
{
    const struct shape *s = &d->p->shape;
    size_t queries = s->heads * s->head, all = queries + 2 * s->groups * s->head;
    size_t wide = all > 2 * s->hidden ? all : 2 * s->hidden;
    size_t talks = d->talks > ROWS ? ROWS : d->talks, rows, longest = 1;
    d->room = 1;
    for (size_t i = 0; i < d->talks; i++) {
        const struct talk *talk = &d->talk[i];
        d->room = talk->prompts + talk->most > d->room ? talk->prompts + talk->most : d->room;
        longest = talk->prompts > longest ? talk->prompts : longest;
    }
    rows = longest > ROWS ? ROWS : longest > talks ? longest : talks;
    d->of = mete_arena(d->cx, rows * sizeof *d->of);
    d->position = mete_arena(d->cx, rows * sizeof *d->position);
    d->x = mete_arena(d->cx, rows * s->width * sizeof(float));
    d->h = mete_arena(d->cx, rows * s->width * sizeof(float));
    d->wide = mete_arena(d->cx, rows * wide * sizeof(float));
    d->seen = mete_arena(d->cx, rows * queries * sizeof(float));
    d->score = mete_arena(d->cx, d->room * sizeof(float));
    d->logits = mete_arena(d->cx, talks * s->vocabulary * sizeof(float));
    d->sorted = mete_arena(d->cx, s->vocabulary * sizeof(float));
    float *cache = mete_arena(d->cx, d->talks * cache_size(d) * sizeof(float));
    if (!d->of || !d->position || !d->x || !d->h || !d->wide || !d->seen || !d->score ||
        !d->logits || !d->sorted || !cache)
        return mete_fail(d->cx, METE_ENOMEM, "out of memory for %zu answers of up to %zu tokens",
                         d->talks, d->room);
    for (size_t i = 0; i < d->talks; i++)
        d->talk[i].keys = cache + i * cache_size(d);
    return METE_OK;
}

/* Answers talks [0, d->talks), all under d->vector. */
static int
decode(struct decoder *d)
{
    size_t *live = mete_arena(d->cx, (d->talks + 1) * sizeof *live);
    int status = live ? find_matrices(d) : mete_fail(d->cx, METE_ENOMEM, "out of memory");
    if (!status)
        status = decoder_room(d);
    if (!status)
        answer_all(d, live);
    return status;
}

static int
talk_make(struct decoder *d, struct talk *talk, const mete_tokens *prompt, size_t most)
{
    size_t left = d->p->shape.context - prompt->count;
    talk->most = most < left ? most : left;
    talk->prompts = prompt->count;
    talk->prompt = mete_arena(d->cx, prompt->count * sizeof *talk->prompt);
    talk->token = mete_arena(d->cx, (talk->most + 1) * sizeof *talk->token);
    if (!talk->prompt || !talk->token)
        return mete_fail(d->cx, METE_ENOMEM, "out of memory");
    memcpy(talk->prompt, prompt->id, prompt->count * sizeof *talk->prompt);
    return METE_OK;
}

/* ---- act ------------------------------------------------------------------------------------- */

static int
give_lane(mete_ctx *cx, const struct decoder *d, struct talk *talk, size_t lane, mete_actions *out)
{
    mete_text text;
    int status = words_join(cx, d->p, talk->token, talk->said, &text);
    if (!status && d->p->critic && out->value && talk->said)
        out->value[lane * out->heads] = talk->token[0].value;
    return status ? status : mete_act_tokens(cx, out, lane, talk->token, talk->said, text);
}

/* Lanes [from, to), which share a vector. */
static int
act_lanes(struct decoder *d, const mete_lanes *in, size_t from, size_t to, mete_tokens *prompt,
          mete_actions *out)
{
    const struct transformer *p = d->p;
    size_t most = (size_t)p->max_tokens;
    const struct sampling how = {.temperature = in->mode & METE_ACT_GREEDY ? 0
                                                : in->temperature > 0      ? in->temperature
                                                                           : 1};
    int status = METE_OK;
    d->talks = to - from;
    if (!(d->talk = mete_arena(d->cx, d->talks * sizeof *d->talk)))
        return mete_fail(d->cx, METE_ENOMEM, "out of memory");
    for (size_t i = from; i < to && !status; i++) {
        struct talk *talk = &d->talk[i - from];
        *talk = (struct talk){.how = how, .rng = mete_random(d->cx, in->episode[i], in->step[i])};
        status = words_row(d->cx, p, in->context, i, words_room(p, most), prompt);
        if (!status)
            status = talk_make(d, talk, prompt, most);
    }
    if (!status)
        status = decode(d);
    for (size_t i = from; i < to && !status; i++)
        status = give_lane(d->cx, d, &d->talk[i - from], i, out);
    return status;
}

int
transformer_act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
                mete_actions *out)
{
    mete_tokens prompt = {0};
    int status = METE_OK;
    if (in->count && !in->context)
        return mete_fail(cx, METE_EPLUGIN, "was given no prompts to answer");
    if (published_needs_head(cx, self))
        return METE_ENOTSUP;
    for (size_t from = 0, to; from < in->count && !status; from = to) {
        struct decoder d = {.cx = cx, .p = self};
        d.vector = params->lane ? params->lane[from] : params->vector;
        for (to = from + 1; to < in->count; to++)
            if (params->lane && params->lane[to] != params->lane[from])
                break;
        status = act_lanes(&d, in, from, to, &prompt, out);
    }
    mete_tokens_free(&prompt);
    return status;
}

/* ---- generate -------------------------------------------------------------------------------- */

static int
take_request(struct decoder *d, struct talk *talk, const mete_request *request, mete_tokens *prompt)
{
    const struct transformer *p = d->p;
    size_t most = request->max_tokens ? request->max_tokens : (size_t)p->max_tokens;
    if (most + 2 > p->shape.context)
        most = p->shape.context - 2;
    *talk = (struct talk){.how = {.temperature = request->temperature,
                                  .top_p = request->top_p,
                                  .min_p = request->min_p,
                                  .repeat = request->repeat_penalty,
                                  .top_k = request->top_k},
                          .rng = mete_random(d->cx, request->seed, 0),
                          .stop = request->stop,
                          .stops = request->stops};
    int status =
        words_messages(d->cx, p, request->message, request->messages, words_room(p, most), prompt);
    return status ? status : talk_make(d, talk, prompt, most);
}

/* The text ends before the first stop text. */
static mete_text
cut(const struct talk *talk, mete_text text)
{
    for (size_t s = 0; s < talk->stops; s++) {
        size_t at = talk->stop[s].length ? mete_text_find(text, talk->stop[s], 0) : SIZE_MAX;
        text.length = at < text.length ? at : text.length;
    }
    return text;
}

static int
give_reply(struct decoder *d, struct talk *talk, const mete_request *request, mete_reply *reply)
{
    mete_text text;
    int status = words_join(d->cx, d->p, talk->token, talk->said, &text);
    if (!status)
        status = mete_reply_say(d->cx, reply, cut(talk, text));
    if (status)
        return status;
    reply->finish = talk->done ? METE_FINISH_STOP : METE_FINISH_LENGTH;
    reply->prompt_tokens = talk->prompts;
    reply->answer_tokens = talk->said;
    reply->logp = 0;
    for (size_t i = 0; i < talk->said; i++)
        reply->logp += (double)talk->token[i].logp;
    if (request->flags & METE_ASK_LOGP) {
        reply->token = talk->token;
        reply->tokens = talk->said;
    }
    return METE_OK;
}

int
transformer_generate(mete_ctx *cx, const void *self, const mete_params *params,
                     const mete_requests *requests, mete_replies *replies)
{
    struct decoder d = {.cx = cx, .p = self, .vector = params->vector, .talks = requests->count};
    mete_tokens prompt = {0};
    int status = METE_OK;
    if (published_needs_head(cx, self))
        return METE_ENOTSUP;
    if (!(d.talk = mete_arena(cx, (d.talks + 1) * sizeof *d.talk)))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < d.talks && !status; i++)
        status = take_request(&d, &d.talk[i], mete_request_at(requests, i), &prompt);
    mete_tokens_free(&prompt);
    if (!status && d.talks)
        status = decode(&d);
    for (size_t i = 0; i < d.talks && !status; i++)
        status =
            give_reply(&d, &d.talk[i], mete_request_at(requests, i), mete_reply_at(replies, i));
    return status;
}
