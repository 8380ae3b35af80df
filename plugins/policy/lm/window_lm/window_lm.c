/* window_lm - a feed-forward neural n-gram language model, conditioned on the prompt.
 *
 * P(w_t | context) = softmax(b + U h), h = tanh(d + H x + C c + S s), after Bengio et al. 2003,
 * equation 1 without its direct connections: x joins the embeddings of the last `window` tokens, c
 * is the bag of the prompt's condition tokens (sum, or mean), s, with `said_bag`, the bag of all
 * tokens said so far, which is what keeps so short a memory from saying things twice. A second
 * hidden layer may follow. Words are learnt by `vocabulary` from given responses, by frequency;
 * <unk> and <bos> are read but are no classes, so neither is ever said. A step whose stored token
 * is <unk> has log-probability 0 and no gradient: a word the model cannot say teaches it nothing.
 *
 * Each token's log-probability is of the distribution it was drawn from: at a temperature other
 * than 1 that is softmax(logits / T); a greedy token records the model's own. A response that
 * reaches max_tokens ends without <eos>.
 */
#include "window_lm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT_SLOTS, PROMPT_WORDS, PROMPT_NONE };

static const mete_option options[] = {
    METE_INT(struct window_lm, window, 8, 1, 256, "tokens before that are seen in order"),
    METE_INT(struct window_lm, embedding, 48, 1, 4096, "numbers an embedded token has"),
    METE_INTS(struct window_lm, hidden, 1, 65536, 0, "widths of one or two hidden layers; 128"),
    METE_INT(struct window_lm, max_tokens, 60, 1, 100000, "longest response"),
    METE_INT(struct window_lm, max_words, 2000, 1, 1000000, "most words in the vocabulary"),
    METE_INT(struct window_lm, min_count, 2, 1, 1000000, "fewest times a word must be seen"),
    METE_STRINGS(struct window_lm, inputs, 0,
                 "columns to condition on, each as a token column=value; the prompt when absent"),
    METE_ENUM(struct window_lm, prompt, PROMPT_SLOTS, "slots|words|none",
              "condition tokens of a prompt: its parts between commas, its words, or none"),
    METE_ENUM(struct window_lm, condition_bag, 0, "sum|mean", "how condition tokens are joined"),
    METE_BOOL(struct window_lm, said_bag, 1, "sees which tokens were said so far"),
    METE_BOOL(struct window_lm, critic, 0, "has a value for each token"),
    METE_OPTIONS_END};

static int
open_window(mete_ctx *cx, void *self)
{
    struct window_lm *p = self;
    if (p->hidden.count > WINDOW_HIDDEN)
        return mete_fail(cx, METE_EINVAL, "hidden has %zu layers; 1 or %d are allowed",
                         p->hidden.count, WINDOW_HIDDEN);
    p->field = mete_alloc(cx, (p->inputs.count + 1) * sizeof *p->field);
    if (!p->field)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->inputs.count; i++) {
        int status =
            mete_need(cx, p->inputs.item[i], METE_EPISODE, METE_TEXT, METE_OPTIONAL, &p->field[i]);
        if (status)
            return status;
    }
    return METE_OK;
}

static void
close_window(mete_ctx *cx, void *self)
{
    struct window_lm *p = self;
    (void)cx;
    words_free(&p->say);
    words_free(&p->know);
}

/* ---- conditions ------------------------------------------------------------------------------ */

static int
slot_texts(mete_text prompt, int (*say)(void *user, mete_text text), void *user)
{
    size_t from = 0;
    int depth = 0, status = METE_OK;
    for (size_t i = 0; i <= prompt.length && !status; i++) {
        char c = i < prompt.length ? prompt.data[i] : '\n';
        depth += c == '[' ? 1 : c == ']' && depth ? -1 : 0;
        if (!(c == '\n' || (c == ',' && !depth)))
            continue;
        mete_text part = {prompt.data + from, i - from};
        while (part.length && part.data[0] == ' ')
            part = (mete_text){part.data + 1, part.length - 1};
        while (part.length && part.data[part.length - 1] == ' ')
            part.length--;
        if (part.length)
            status = say(user, part);
        from = i + 1;
        depth = 0;
    }
    return status;
}

static int
column_texts(mete_ctx *cx, const struct window_lm *p, const mete_batch *batch, size_t row,
             int (*say)(void *user, mete_text text), void *user)
{
    for (size_t i = 0; i < p->inputs.count; i++) {
        const mete_text *column = mete_text_of(batch, &p->field[i]);
        size_t name = strlen(p->inputs.item[i]);
        if (!column || !column[row].length)
            continue;
        char *text = mete_arena(cx, name + column[row].length + 2);
        if (!text)
            return mete_fail(cx, METE_ENOMEM, "out of memory");
        memcpy(text, p->inputs.item[i], name);
        text[name] = '=';
        memcpy(text + name + 1, column[row].data, column[row].length);
        int status = say(user, (mete_text){text, name + 1 + column[row].length});
        if (status)
            return status;
    }
    return METE_OK;
}

int
window_condition_texts(mete_ctx *cx, const struct window_lm *p, const mete_batch *batch, size_t row,
                       int (*say)(void *user, mete_text text), void *user)
{
    if (p->inputs.count)
        return column_texts(cx, p, batch, row, say, user);
    if (p->prompt == PROMPT_NONE || !batch->prompt)
        return METE_OK;
    mete_text prompt = batch->prompt[row], token;
    if (p->prompt == PROMPT_SLOTS)
        return slot_texts(prompt, say, user);
    int status = METE_OK;
    for (size_t at = 0; !status && token_next(prompt, &at, &token);) {
        if (token.length > 1 && token.data[0] == ' ')
            token = (mete_text){token.data + 1, token.length - 1};
        status = say(user, token);
    }
    return status;
}

struct found {
    const struct words *know;
    int32_t *token;
    size_t count, room;
    mete_ctx *cx;
};

static int
find_condition(void *user, mete_text text)
{
    struct found *found = user;
    int32_t number = words_find(found->know, text);
    if (number < 0)
        return METE_OK; /* never seen in training: there is nothing to say about it */
    if (found->count == found->room) {
        size_t room = found->room ? 2 * found->room : 16;
        int32_t *token = mete_arena(found->cx, room * sizeof *token);
        if (!token)
            return mete_fail(found->cx, METE_ENOMEM, "out of memory");
        if (found->count)
            memcpy(token, found->token, found->count * sizeof *token);
        found->token = token;
        found->room = room;
    }
    found->token[found->count++] = number;
    return METE_OK;
}

int
window_conditions(mete_ctx *cx, const struct window_lm *p, const mete_batch *batch, size_t row,
                  int32_t **token, size_t *count)
{
    struct found found = {&p->know, NULL, 0, 0, cx};
    int status = window_condition_texts(cx, p, batch, row, find_condition, &found);
    *token = found.token;
    *count = found.count;
    return status;
}

/* ---- vocabulary ------------------------------------------------------------------------------ */

static int
add_condition(void *user, mete_text text)
{
    return words_add(user, text) < 0 ? METE_ENOMEM : METE_OK;
}

static int
vocabulary(mete_ctx *cx, void *self, const mete_batch *texts)
{
    struct window_lm *p = self;
    if (!texts->response)
        return mete_fail(cx, METE_EDATA, "the texts to learn words from have no responses");
    words_free(&p->say);
    words_free(&p->know);
    int status = METE_OK;
    for (size_t row = 0; row < texts->episodes && !status; row++) {
        mete_text token;
        for (size_t at = 0; !status && token_next(texts->response[row], &at, &token);)
            status = words_add(&p->say, token) < 0 ? METE_ENOMEM : METE_OK;
        if (!status)
            status = window_condition_texts(cx, p, texts, row, add_condition, &p->know);
    }
    if (!status && (words_prune(&p->say, (size_t)p->max_words, (uint64_t)p->min_count) ||
                    words_prune(&p->know, (size_t)p->max_words, 1)))
        status = METE_ENOMEM;
    if (status)
        return mete_fail(cx, status, "out of memory for the vocabulary");
    return METE_OK;
}

static int
save_words(mete_ctx *cx, const struct words *words)
{
    uint64_t count = words->words;
    int status = mete_save_bytes(cx, &count, sizeof count);
    for (size_t i = 0; i < words->words && !status; i++) {
        mete_text text = words_text(words, i);
        uint64_t length = text.length;
        status = mete_save_bytes(cx, &length, sizeof length);
        if (!status && length)
            status = mete_save_bytes(cx, text.data, text.length);
    }
    return status;
}

static int
save(mete_ctx *cx, const void *self)
{
    const struct window_lm *p = self;
    int status = save_words(cx, &p->say);
    return status ? status : save_words(cx, &p->know);
}

/* Reads one list of words; -1 where the bytes are not one. */
static int
load_words(struct words *words, const char *bytes, size_t length, size_t *at)
{
    uint64_t count, size;
    if (length - *at < sizeof count)
        return -1;
    memcpy(&count, bytes + *at, sizeof count);
    *at += sizeof count;
    for (uint64_t i = 0; i < count; i++) {
        if (length - *at < sizeof size)
            return -1;
        memcpy(&size, bytes + *at, sizeof size);
        *at += sizeof size;
        if (size > length - *at ||
            words_add(words, (mete_text){bytes + *at, (size_t)size}) != (int)i)
            return -1;
        *at += (size_t)size;
    }
    return 0;
}

static int
load(mete_ctx *cx, void *self, const void *bytes, size_t length)
{
    struct window_lm *p = self;
    struct words say = {0}, know = {0};
    size_t at = 0;
    if (load_words(&say, bytes, length, &at) || load_words(&know, bytes, length, &at) ||
        at != length || (p->layers && (say.words != p->say.words || know.words != p->know.words))) {
        words_free(&say);
        words_free(&know);
        return mete_fail(cx, METE_EDATA, "the saved vocabulary is damaged or of another size");
    }
    words_free(&p->say);
    words_free(&p->know);
    p->say = say;
    p->know = know;
    return METE_OK;
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* Matrices are [in x out], as `product` in generate.c reads them. */
static int
declare(mete_ctx *cx, struct window_lm *p)
{
    static const char *const weight[] = {"hidden/0/weight", "hidden/1/weight", "out/weight"};
    static const char *const bias[] = {"hidden/0/bias", "hidden/1/bias", "out/bias"};
    size_t words = classes_of(p), wide = p->width[1], know = p->know.words;
    int status = mete_parameter(cx, "embedding", words + 2, (size_t)p->embedding, METE_INIT_NORMAL,
                                0.3, &p->embed_at);
    if (!status && know)
        status =
            mete_parameter(cx, "condition", know, wide, METE_INIT_NORMAL, 0.1, &p->condition_at);
    if (!status && p->said_bag)
        status = mete_parameter(cx, "said", words + 2, wide, METE_INIT_ZERO, 0, &p->said_at);
    for (size_t k = 0; k <= p->layers && !status; k++) {
        size_t in = p->width[k], out = k < p->layers ? p->width[k + 1] : words;
        size_t name = k < p->layers ? k : 2;
        status = mete_parameter(cx, weight[name], in, out, METE_INIT_NORMAL,
                                (k < p->layers ? 1 : 0.1) / sqrt((double)in), &p->weight[k]);
        if (!status)
            status = mete_parameter(cx, bias[name], 1, out, METE_INIT_ZERO, 0, &p->bias[k]);
    }
    if (!status && p->critic)
        status = mete_parameter(cx, "value/weight", p->width[p->layers], 1, METE_INIT_ZERO, 0,
                                &p->value_at);
    if (!status && p->critic)
        status = mete_parameter(cx, "value/bias", 1, 1, METE_INIT_ZERO, 0, &p->value_bias_at);
    return status;
}

static int
describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)
{
    struct window_lm *p = self;
    if (spaces->action.kind != METE_SPACE_TEXT)
        return mete_fail(cx, METE_EINVAL, "writes text; this environment wants another action");
    if (!p->say.words)
        return mete_fail(cx, METE_EINVAL,
                         "knows no words: a stage that trains on given responses "
                         "must come first, or min_count is too high");
    p->layers = p->hidden.count ? p->hidden.count : 1;
    p->width[0] = (size_t)(p->window * p->embedding);
    for (size_t k = 0; k < p->layers; k++)
        p->width[k + 1] = p->hidden.count ? (size_t)p->hidden.item[k] : 128;
    out->heads = p->critic ? 1 : 0;
    out->classes = (uint32_t)classes_of(p);
    out->gradient = out->stepwise = 1;
    return declare(cx, p);
}

/* ---- given responses ------------------------------------------------------------------------- */

static int
encode(mete_ctx *cx, const void *self, const mete_batch *batch, mete_actions *out)
{
    const struct window_lm *p = self;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to encode");
    for (size_t row = 0; row < batch->episodes; row++) {
        mete_text text = batch->response[row], word;
        size_t room = text.length < (size_t)p->max_tokens ? text.length : (size_t)p->max_tokens;
        mete_token *token = mete_arena(cx, (room + 1) * sizeof *token);
        size_t count = 0, at = 0, from = 0;
        if (!token)
            return mete_fail(cx, METE_ENOMEM, "out of memory");
        while (count < (size_t)p->max_tokens && token_next(text, &at, &word)) {
            int32_t number = words_find(&p->say, word);
            token[count++] = (mete_token){.id = number < 0 ? unknown_of(p) : number + 1,
                                          .begin = (uint32_t)from,
                                          .end = (uint32_t)at};
            from = at;
        }
        if (count < (size_t)p->max_tokens) /* a longer text is cut, and is not said to end there */
            token[count++] = (mete_token){.begin = (uint32_t)at, .end = (uint32_t)at};
        int status = mete_act_tokens(cx, out, row, token, count, text);
        if (status)
            return status;
    }
    return METE_OK;
}

/* ---- learning -------------------------------------------------------------------------------- */

/* What each step asked about had before it. */
struct context {
    int32_t *window, *action, *condition, *said;
    uint32_t *condition_begin, *said_begin;
};

static int
token_id(const struct window_lm *p, int32_t id)
{
    return id >= 0 && id <= unknown_of(p) ? id : unknown_of(p);
}

/* Sizes of the bags of words said, and the window of each step. */
static int
context_tokens(mete_ctx *cx, const struct window_lm *p, const mete_query *query, struct context *c,
               float *known)
{
    const mete_batch *batch = query->batch;
    size_t n = query->count, window = (size_t)p->window, total = 0;
    c->window = mete_arena(cx, n * window * sizeof *c->window);
    c->action = mete_arena(cx, n * sizeof *c->action);
    c->said_begin = mete_arena(cx, (n + 1) * sizeof *c->said_begin);
    if (!c->window || !c->action || !c->said_begin)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu steps", n);
    for (size_t i = 0; i < n; i++) {
        size_t step = query->step ? query->step[i] : i;
        size_t begin = batch->step_begin[batch->step_row[step]], said = step - begin;
        for (size_t k = 0; k < window; k++)
            c->window[i * window + k] =
                said + k >= window ? token_id(p, batch->action[step + k - window]) : bos_of(p);
        int32_t id = token_id(p, batch->action[step]);
        known[i] = id < bos_of(p);
        c->action[i] = id < bos_of(p) ? id : 0;
        c->said_begin[i] = (uint32_t)total;
        total += said;
    }
    c->said_begin[n] = (uint32_t)total;
    if (!p->said_bag)
        return METE_OK;
    if (!(c->said = mete_arena(cx, (total + 1) * sizeof *c->said)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu tokens", total);
    for (size_t i = 0; i < n; i++) {
        size_t step = query->step ? query->step[i] : i;
        size_t said = c->said_begin[i + 1] - c->said_begin[i];
        for (size_t k = 0; k < said; k++)
            c->said[c->said_begin[i] + k] = token_id(p, batch->action[step - said + k]);
    }
    return METE_OK;
}

/* Condition tokens of each step's row, found once a row. */
static int
context_conditions(mete_ctx *cx, const struct window_lm *p, const mete_query *query,
                   struct context *c)
{
    const mete_batch *batch = query->batch;
    size_t n = query->count, total = 0;
    struct {
        int32_t *token;
        size_t count;
        int known;
    } *row = mete_arena(cx, batch->episodes * sizeof *row), *at;
    c->condition_begin = mete_arena(cx, (n + 1) * sizeof *c->condition_begin);
    if (!row || !c->condition_begin)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu steps", n);
    for (size_t i = 0; i < n; i++) {
        size_t r = batch->step_row[query->step ? query->step[i] : i];
        at = &row[r];
        int status =
            at->known ? METE_OK : window_conditions(cx, p, batch, r, &at->token, &at->count);
        if (status)
            return status;
        at->known = 1;
        c->condition_begin[i] = (uint32_t)total;
        total += at->count;
    }
    c->condition_begin[n] = (uint32_t)total;
    if (!(c->condition = mete_arena(cx, (total + 1) * sizeof *c->condition)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu conditions", total);
    for (size_t i = 0; i < n; i++) {
        at = &row[batch->step_row[query->step ? query->step[i] : i]];
        if (at->count)
            memcpy(c->condition + c->condition_begin[i], at->token, at->count * sizeof(int32_t));
    }
    return METE_OK;
}

static mete_var *
tape_hidden(mete_tape *tape, const struct window_lm *p, const float *vector, size_t n,
            const struct context *c)
{
    size_t words = classes_of(p) + 2, wide = p->width[1];
    mete_var *table = mete_weights(tape, vector, p->embed_at, words, (size_t)p->embedding);
    mete_var *x = mete_reshape(tape, mete_rows_of(tape, table, c->window, n * (size_t)p->window), n,
                               p->width[0]);
    for (size_t k = 0; k < p->layers; k++) {
        mete_var *w = mete_weights(tape, vector, p->weight[k], p->width[k], p->width[k + 1]);
        x = mete_matmul(tape, x, w);
        x = mete_add(tape, x, mete_weights(tape, vector, p->bias[k], 1, p->width[k + 1]));
        if (!k && p->know.words) {
            table = mete_weights(tape, vector, p->condition_at, p->know.words, wide);
            x = mete_add(
                tape, x,
                mete_bag(tape, table, c->condition, c->condition_begin, n, p->condition_bag == 1));
        }
        if (!k && p->said_bag) {
            table = mete_weights(tape, vector, p->said_at, words, wide);
            x = mete_add(tape, x, mete_bag(tape, table, c->said, c->said_begin, n, 0));
        }
        x = mete_act_fn(tape, x, METE_TANH);
    }
    return x;
}

static void
tape_answers(mete_tape *tape, const struct window_lm *p, const float *vector,
             const mete_query *query, const struct context *c, const float *known, mete_answers *a)
{
    size_t last = p->width[p->layers], outs = classes_of(p);
    mete_var *h = tape_hidden(tape, p, vector, query->count, c);
    if (query->want & METE_WANT_VALUE && p->critic)
        a->value =
            mete_add(tape, mete_matmul(tape, h, mete_weights(tape, vector, p->value_at, last, 1)),
                     mete_weights(tape, vector, p->value_bias_at, 1, 1));
    if (!(query->want & ~METE_WANT_VALUE))
        return;
    mete_var *w = mete_weights(tape, vector, p->weight[p->layers], last, outs);
    mete_var *b = mete_weights(tape, vector, p->bias[p->layers], 1, outs);
    a->logits = mete_query_logits(tape, query, mete_add(tape, mete_matmul(tape, h, w), b), NULL);
    if (query->want & METE_WANT_LOGP)
        a->logp = mete_mul(tape, mete_pick(tape, a->logits, c->action),
                           mete_input(tape, known, query->count, 1));
    if (query->want & METE_WANT_ENTROPY)
        a->entropy = mete_entropy(tape, a->logits);
}

static int
forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
        mete_outputs *out, mete_tape *tape)
{
    const struct window_lm *p = self;
    size_t n = query->count;
    struct context c = {0};
    if (!query->batch->action)
        return mete_fail(cx, METE_EPLUGIN, "was asked about a batch without tokens");
    /* 0 where the stored token is no class: its log-probability is 0 and teaches nothing */
    float *known = mete_tape_take(tape, (n + 1) * sizeof *known);
    mete_answers a = {0};
    if (!known)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu steps", n);
    int status = n ? context_tokens(cx, p, query, &c, known) : METE_OK;
    if (n && !status)
        status = context_conditions(cx, p, query, &c);
    if (status)
        return status;
    if (n)
        tape_answers(tape, p, params->vector, query, &c, known, &a);
    return mete_answers_give(cx, tape, &a, out);
}

static int
backward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
         const mete_outputs *adjoint, mete_tape *tape, float *grad)
{
    (void)self;
    (void)params;
    (void)query;
    return mete_answers_back(cx, tape, adjoint, grad);
}

METE_POLICY_PLUGIN(
    window_lm, "1.0", "a feed-forward neural n-gram language model",
    .doc = "Writes a response token by token from the last `window` tokens, the bag of "
           "the prompt's fields and, with said_bag, the bag of what was said.",
    .reference = "Bengio et al. 2003, A neural probabilistic language model, JMLR 3",
    .tags = "text language-model", .options = options, .state_size = sizeof(struct window_lm),
    .element = METE_F32, .flags = METE_SAMPLES | METE_LANES_ALONE, .open = open_window,
    .close = close_window, .save = save, .load = load, .describe = describe, .act = window_act,
    .forward = forward, .backward = backward, .encode = encode, .vocabulary = vocabulary);
