/* scorer - chooses among candidate texts by hashed features of prompt and candidate.
 *
 * score(x, c) = <w, phi(x, c)>, or v . tanh(W phi(x, c) + b) with `hidden` units; the choice is a
 * softmax over the scores of the row's candidates. phi holds word n-grams of the candidate and,
 * with `cross`, pairs (word of the prompt, word of the candidate), folded into 2^bits places with a
 * sign from the hash, so that collisions cancel in the mean (Weinberger et al. 2009, equation 2),
 * and divided by the square root of their number. Rows of one call with equal texts are scored
 * once. Logits given out are normalised log-probabilities; places past a row's last candidate hold
 * -1e30.
 */
#include <math.h>
#include <mete/policy.h>
#include <mete/text.h>
#include <string.h>

#define WORDS_MOST 256 /* of a prompt or candidate; later ones are not read */

struct scorer {
    mete_field candidates;
    int64_t bits, order, hidden;
    int cross, critic;

    uint32_t classes;
    size_t table, bias, top, value;
};

static const mete_option options[] = {
    METE_FIELD(struct scorer, candidates, "candidates", METE_LIST, METE_TEXT, 0,
               "list of the texts to choose among"),
    METE_INT(struct scorer, bits, 14, 4, 24, "the table has 2^bits places"),
    METE_INT(struct scorer, order, 2, 1, 5, "longest n-gram of words"),
    METE_INT(struct scorer, hidden, 0, 0, 4096, "hidden units; 0: linear"),
    METE_BOOL(struct scorer, cross, 1, "pairs of a prompt's and a candidate's word, too"),
    METE_BOOL(struct scorer, critic, 0, "has a critic: linear in the prompt's n-grams"),
    METE_OPTIONS_END};

static int
describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)
{
    struct scorer *p = self;
    size_t places = (size_t)1 << p->bits, width = p->hidden ? (size_t)p->hidden : 1;
    if (spaces->action.kind != METE_SPACE_CANDIDATES)
        return mete_fail(cx, METE_EINVAL, "chooses among candidates; this environment offers none");
    p->classes = spaces->action.count;
    mete_init init = p->hidden ? METE_INIT_NORMAL : METE_INIT_ZERO;
    int status = mete_parameter(cx, "table", places, width, init, 0.5, &p->table);
    if (!status && p->hidden)
        status = mete_parameter(cx, "bias", 1, width, METE_INIT_ZERO, 0, &p->bias);
    if (!status && p->hidden)
        status = mete_parameter(cx, "top", 1, width, METE_INIT_UNIFORM, 1, &p->top);
    if (!status && p->critic)
        status = mete_parameter(cx, "value", places, 1, METE_INIT_ZERO, 0, &p->value);
    out->heads = p->critic ? 1 : 0;
    out->classes = p->classes;
    out->gradient = out->stepwise = 1;
    return status;
}

/* ---- features -------------------------------------------------------------------------------- */

/* Sparse rows: place[k] with sign[k] / sqrt(count) for k in [begin[i], begin[i + 1]). */
struct sparse {
    uint32_t *place, *begin;
    float *share;
    size_t rows, used, room, row_room;
};

/* The distinct (prompt, candidates) of one call. */
struct contexts {
    struct sparse candidate, prompt;
    uint32_t *first; /* [distinct + 1] first candidate row of each */
    uint64_t *hash;  /* [distinct] */
    uint32_t *of;    /* [rows asked] which distinct one */
    size_t distinct, most;
};

static void *
larger(mete_ctx *cx, const void *old, size_t used, size_t room, size_t each)
{
    char *data = mete_arena(cx, room * each);
    if (data && used)
        memcpy(data, old, used * each);
    return data;
}

static int
sparse_room(mete_ctx *cx, struct sparse *s, size_t more)
{
    if (s->rows + 2 > s->row_room) {
        s->row_room = 2 * s->row_room + 16;
        if (!(s->begin =
                  larger(cx, s->begin, s->rows ? s->rows + 1 : 0, s->row_room, sizeof *s->begin)))
            return mete_fail(cx, METE_ENOMEM, "out of memory");
    }
    if (s->used + more <= s->room)
        return METE_OK;
    s->room = 2 * (s->used + more);
    s->place = larger(cx, s->place, s->used, s->room, sizeof *s->place);
    s->share = larger(cx, s->share, s->used, s->room, sizeof *s->share);
    return s->place && s->share ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
}

static void
sparse_add(struct sparse *s, uint64_t hash, int64_t bits)
{
    hash = mete_mix64(hash);
    s->place[s->used] = (uint32_t)(hash & (((uint64_t)1 << bits) - 1));
    s->share[s->used++] = hash >> 63 ? 1 : -1;
}

static size_t
words_of(mete_text text, uint64_t *out)
{
    size_t count = mete_words(text, 0, out, WORDS_MOST);
    return count < WORDS_MOST ? count : WORDS_MOST;
}

/* One more row: n-grams of `word`, and pairs with `other` (may be none). */
static int
sparse_row(mete_ctx *cx, const struct scorer *p, struct sparse *s, const uint64_t *word,
           size_t words, const uint64_t *other, size_t others)
{
    uint64_t gram[WORDS_MOST];
    size_t from = s->used;
    int status = sparse_room(cx, s, words * ((size_t)p->order + others) + 1);
    if (status)
        return status;
    s->begin[s->rows] = (uint32_t)from;
    for (int64_t n = 1; n <= p->order; n++) {
        size_t grams = mete_ngrams(word, words, (size_t)n, gram);
        for (size_t i = 0; i < grams; i++)
            sparse_add(s, mete_hash_mix(gram[i], (uint64_t)n), p->bits);
    }
    for (size_t i = 0; i < others; i++)
        for (size_t k = 0; k < words; k++)
            sparse_add(s, mete_hash_mix(other[i], word[k]), p->bits);
    float scale = s->used > from ? (float)(1 / sqrt((double)(s->used - from))) : 0;
    for (size_t k = from; k < s->used; k++)
        s->share[k] *= scale;
    s->begin[++s->rows] = (uint32_t)s->used;
    return METE_OK;
}

static uint64_t
context_hash(mete_text prompt, mete_texts list)
{
    uint64_t hash = mete_hash(list.count, prompt.data, prompt.length);
    for (size_t k = 0; k < list.count; k++)
        hash = mete_hash(hash, list.item[k].data, list.item[k].length);
    return hash;
}

static int
add_context(mete_ctx *cx, const struct scorer *p, struct contexts *c, mete_text prompt,
            mete_texts list)
{
    uint64_t asked[WORDS_MOST], said[WORDS_MOST];
    size_t words = words_of(prompt, asked);
    int status = p->critic ? sparse_row(cx, p, &c->prompt, asked, words, NULL, 0) : METE_OK;
    for (size_t k = 0; k < list.count && !status; k++) {
        size_t count = words_of(list.item[k], said);
        status = sparse_row(cx, p, &c->candidate, said, count, asked, p->cross ? words : 0);
    }
    c->most = list.count > c->most ? list.count : c->most;
    c->first[++c->distinct] = (uint32_t)c->candidate.rows;
    return status;
}

/* Features of the rows asked about, each distinct text once, found by the hash of all its bytes. */
static int
contexts_make(mete_ctx *cx, const struct scorer *p, const mete_batch *batch, const uint32_t *row,
              size_t count, struct contexts *c)
{
    uint32_t *slot;
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    memset(c, 0, sizeof *c);
    c->first = mete_arena(cx, (count + 1) * sizeof *c->first);
    c->hash = mete_arena(cx, (count + 1) * sizeof *c->hash);
    c->of = mete_arena(cx, (count + 1) * sizeof *c->of);
    slot = mete_arena(cx, slots * sizeof *slot);
    if (!c->first || !c->hash || !c->of || !slot)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu rows", count);
    for (size_t i = 0; i < count; i++) {
        mete_text prompt = batch->prompt ? batch->prompt[row[i]] : (mete_text){NULL, 0};
        mete_texts list = mete_texts_of(batch, &p->candidates, row[i]);
        if (!list.count || (p->classes && list.count > p->classes))
            return mete_fail(cx, METE_EDATA, "row %u has %zu candidates; 1 to %u are allowed",
                             row[i], list.count, p->classes ? p->classes : UINT32_MAX);
        uint64_t hash = context_hash(prompt, list);
        size_t at = hash & (slots - 1);
        while (slot[at] && c->hash[slot[at] - 1] != hash)
            at = (at + 1) & (slots - 1);
        if (!slot[at]) {
            c->hash[c->distinct] = hash;
            int status = add_context(cx, p, c, prompt, list);
            if (status)
                return status;
            slot[at] = (uint32_t)c->distinct;
        }
        c->of[i] = slot[at] - 1;
    }
    return METE_OK;
}

/* ---- scores without a tape ------------------------------------------------------------------- */

static void
bag_row(const struct sparse *s, size_t row, const float *table, size_t width, float *out)
{
    memset(out, 0, width * sizeof *out);
    for (uint32_t k = s->begin[row]; k < s->begin[row + 1]; k++)
        for (size_t j = 0; j < width; j++)
            out[j] += s->share[k] * table[s->place[k] * width + j];
}

static float
score_row(const struct scorer *p, const struct sparse *s, size_t row, const float *vector,
          float *room)
{
    size_t width = p->hidden ? (size_t)p->hidden : 1;
    float score = 0;
    bag_row(s, row, vector + p->table, width, room);
    if (!p->hidden)
        return room[0];
    for (size_t j = 0; j < width; j++)
        score += vector[p->top + j] * tanhf(room[j] + vector[p->bias + j]);
    return score;
}

static int
act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
    mete_actions *out)
{
    const struct scorer *p = self;
    struct contexts c;
    int greedy = (in->mode & METE_ACT_GREEDY) != 0;
    uint32_t *row = mete_arena(cx, (in->count + 1) * sizeof *row);
    if (!row || !in->context)
        return mete_fail(cx, row ? METE_EPLUGIN : METE_ENOMEM, "has no rows to choose for");
    for (size_t i = 0; i < in->count; i++)
        row[i] = (uint32_t)i;
    int status = contexts_make(cx, p, in->context, row, in->count, &c);
    float *logp = status ? NULL : mete_arena(cx, (c.most + 1) * sizeof *logp);
    float *room = mete_arena(cx, ((size_t)p->hidden + 1) * sizeof *room);
    if (status || !logp || !room)
        return status ? status : mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < in->count; i++) {
        const float *vector = params->lane ? params->lane[i] : params->vector;
        size_t first = c.first[c.of[i]], n = c.first[c.of[i] + 1] - first;
        for (size_t k = 0; k < n; k++) {
            logp[k] = score_row(p, &c.candidate, first + k, vector, room);
            if (!greedy && in->temperature > 0)
                logp[k] = (float)((double)logp[k] / in->temperature);
        }
        mete_log_softmax_run(logp, 1, n, NULL);
        mete_rng rng = mete_random(cx, in->episode[i], in->step[i]);
        size_t action = mete_draw(logp, n, greedy, &rng);
        out->action[i] = (int32_t)action;
        out->logp[i] = logp[action];
        if (p->critic)
            bag_row(&c.prompt, c.of[i], vector + p->value, 1, out->value + i);
    }
    return METE_OK;
}

/* ---- learning -------------------------------------------------------------------------------- */

static void
sparse_back(mete_tape *tape, mete_var *y, mete_var *const *input, void *memory)
{
    const struct sparse *s = memory;
    float *grad = mete_grad_of(tape, input[0]);
    size_t width = y->columns;
    for (size_t i = 0; grad && i < y->rows; i++)
        for (uint32_t k = s->begin[i]; k < s->begin[i + 1]; k++)
            for (size_t j = 0; j < width; j++)
                grad[s->place[k] * width + j] += s->share[k] * y->grad[i * width + j];
}

/* Signed sums of table rows; the features move to the tape, which outlives the call. */
static mete_var *
tape_sparse(mete_tape *tape, mete_var *table, const struct sparse *from)
{
    struct sparse *s = mete_tape_take(tape, sizeof *s);
    uint32_t *begin = mete_tape_take(tape, (from->rows + 1) * sizeof *begin);
    uint32_t *place = mete_tape_take(tape, (from->used + 1) * sizeof *place);
    float *share = mete_tape_take(tape, (from->used + 1) * sizeof *share);
    mete_var *y = s && begin && place && share && table
                      ? mete_custom(tape, from->rows, table->columns, sparse_back, &table, 1, s)
                      : NULL;
    if (!y)
        return NULL;
    memcpy(begin, from->begin, (from->rows + 1) * sizeof *begin);
    memcpy(place, from->place, from->used * sizeof *place);
    memcpy(share, from->share, from->used * sizeof *share);
    *s = (struct sparse){.place = place, .begin = begin, .share = share, .rows = from->rows};
    for (size_t i = 0; i < from->rows; i++)
        bag_row(s, i, table->data, table->columns, y->data + i * table->columns);
    return y;
}

static mete_var *
tape_scores(mete_tape *tape, const struct scorer *p, const float *vector, const struct sparse *s)
{
    size_t places = (size_t)1 << p->bits, width = p->hidden ? (size_t)p->hidden : 1;
    mete_var *x = tape_sparse(tape, mete_weights(tape, vector, p->table, places, width), s);
    if (!p->hidden)
        return x;
    x = mete_add(tape, x, mete_weights(tape, vector, p->bias, 1, width));
    return mete_dense(tape, mete_act_fn(tape, x, METE_TANH),
                      mete_weights(tape, vector, p->top, 1, width), NULL, METE_LINEAR);
}

/* The rows and actions the query is about. */
static int
asked(mete_ctx *cx, const mete_query *query, uint32_t **row, int32_t **action)
{
    const mete_batch *batch = query->batch;
    *row = mete_arena(cx, (query->count + 1) * sizeof **row);
    *action = mete_arena(cx, (query->count + 1) * sizeof **action);
    if (!*row || !*action)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu steps", query->count);
    for (size_t i = 0; i < query->count; i++) {
        size_t step = query->step ? query->step[i] : i;
        (*row)[i] = batch->step_row[step];
        (*action)[i] = batch->action ? batch->action[step] : 0;
    }
    return METE_OK;
}

/* Scores of ragged lists, laid out in a rectangle with what is missing masked. */
static mete_var *
tape_table(mete_ctx *cx, mete_tape *tape, const mete_query *query, const struct contexts *c,
           mete_var *score, size_t width)
{
    size_t n = query->count;
    int32_t *index = mete_arena(cx, (n * width + 1) * sizeof *index);
    uint8_t *mask = mete_arena(cx, n * width + 1);
    if (!index || !mask)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t first = c->first[c->of[i]], items = c->first[c->of[i] + 1] - first;
        for (size_t k = 0; k < width; k++) {
            index[i * width + k] = k < items ? (int32_t)(first + k) : -1;
            mask[i * width + k] = k < items;
        }
    }
    mete_var *x = mete_reshape(tape, mete_rows_of(tape, score, index, n * width), n, width);
    return mete_query_logits(tape, query, x, mask);
}

static int
forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
        mete_outputs *out, mete_tape *tape)
{
    const struct scorer *p = self;
    struct contexts c;
    uint32_t *row;
    int32_t *action, *of;
    size_t n = query->count;
    int status = asked(cx, query, &row, &action);
    if (!status)
        status = contexts_make(cx, p, query->batch, row, n, &c);
    if (status)
        return status;
    mete_answers a = {0};
    mete_var *score = tape_scores(tape, p, params->vector, &c.candidate);
    a.logits = tape_table(cx, tape, query, &c, score, p->classes ? p->classes : c.most);
    if (query->want & METE_WANT_LOGP)
        a.logp = mete_pick(tape, a.logits, action);
    if (query->want & METE_WANT_ENTROPY)
        a.entropy = mete_entropy(tape, a.logits);
    if (query->want & METE_WANT_VALUE && p->critic && (of = mete_arena(cx, (n + 1) * sizeof *of))) {
        for (size_t i = 0; i < n; i++)
            of[i] = (int32_t)c.of[i];
        mete_var *table = mete_weights(tape, params->vector, p->value, (size_t)1 << p->bits, 1);
        a.value = mete_rows_of(tape, tape_sparse(tape, table, &c.prompt), of, n);
    }
    if (!p->classes)
        a.logits = NULL; /* lists of many lengths have no common width */
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

METE_POLICY_PLUGIN(scorer, "1.0", "chooses among candidate texts by hashed features",
                   .doc = "Word n-grams of the candidate and pairs of a prompt's and a candidate's "
                          "word, hashed with signs; linear or with one hidden layer; softmax over "
                          "the row's candidates.",
                   .reference = "Weinberger et al. 2009, arXiv:0902.2206",
                   .tags = "text candidates", .options = options,
                   .state_size = sizeof(struct scorer), .element = METE_F32, .flags = METE_SAMPLES,
                   .describe = describe, .act = act, .forward = forward, .backward = backward);
