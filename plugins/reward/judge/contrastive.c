/* contrastive - the child's value of a response against its values b_1..b_k of baseline responses
 * to the same prompt, so that what the child gives to every response of a prompt cancels.
 *
 *   difference    r - statistic(b): the contrastive reward (Shen et al. 2024, arXiv:2403.07708)
 *   standardised  (r - mean b) / sd b: relative to a group that is not the policy's own
 *   sigmoid       mean_j sigma((r - b_j) / scale): preference as reward (PAR; Fu et al. 2025,
 *                 arXiv:2502.18770)
 *   compare       mean_j P(response preferred to b_j) by the child's own comparison (Xu et al.
 *                 2025, arXiv:2504.04950)
 *
 * Baselines are drawn from a model, read from a file, or stand in the record. What is drawn depends
 * on the prompt and the seed of the model alone, so it is drawn once and kept. A baseline that
 * could not be had or scored is left out and asked for again; a prompt with too few of them is
 * failed.
 */
#include <math.h>
#include <mete/model.h>
#include <mete/reward.h>
#include <mete/text.h>
#include <pthread.h>
#include <stdlib.h>

#define MOST_BASELINES 256

enum { DIFFERENCE, STANDARDISED, SIGMOID, COMPARE };
enum { MEAN, MEDIAN, LARGEST, LEAST };
enum { KEEP_RESPONSES, KEEP_SCORES, KEEP_NOTHING };

/* What is kept of one prompt. */
struct kept {
    uint64_t key;
    mete_text *response; /* [count], one block with their bytes; NULL when only scores are kept */
    double *score;       /* [count], or NULL */
    size_t count;
};

struct contrastive {
    mete_node *model;
    const mete_table *data;
    mete_field references;
    int mode, statistic, keep;
    int64_t samples, least, max_tokens;
    double temperature, scale;
    int baseline, wins;
    uint64_t *first; /* [rows of data] hash of each prompt, ascending, and its row */
    uint32_t *row;
    pthread_mutex_t lock;
    struct kept *slot; /* open addressing by key; a free one has count 0 */
    size_t slots, taken;
};

static const mete_option options[] = {
    METE_MODEL(struct contrastive, model, NULL, 0,
               "draws the baselines: \"reference\", or one of the models"),
    METE_DATA(struct contrastive, data, 0,
              "baselines from a file: records with prompt and response (a text, or a list)"),
    METE_FIELD(struct contrastive, references, "reference", METE_LIST, METE_TEXT, METE_OPTIONAL,
               "baselines of the record, where neither model nor data is given"),
    METE_ENUM(struct contrastive, mode, DIFFERENCE, "difference|standardised|sigmoid|compare",
              "how the response is set against them"),
    METE_ENUM(struct contrastive, statistic, MEAN, "mean|median|max|min",
              "difference: which of their values is taken off"),
    METE_INT(struct contrastive, samples, 5, 1, MOST_BASELINES, "baselines drawn for each prompt"),
    METE_INT(struct contrastive, least, 1, 1, MOST_BASELINES,
             "a prompt with fewer baselines that have a value is failed"),
    METE_REAL(struct contrastive, temperature, 1, 0, 100, "of the baselines drawn"),
    METE_INT(struct contrastive, max_tokens, 0, 0, 1 << 20,
             "tokens of a baseline; 0: the model's own limit"),
    METE_REAL(struct contrastive, scale, 1, 1e-9, 1e12, "sigmoid: the difference that counts as 1"),
    METE_ENUM(struct contrastive, keep, KEEP_RESPONSES, "responses|scores|nothing",
              "responses: drawn once, scored each time; scores: scored once, too, for a child that "
              "never learns; nothing: drawn each iteration, for a model that learns"),
    METE_OPTIONS_END};

/* ---- baselines from a file ------------------------------------------------------------------- */

static int
by_hash(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b; /* hash, then row: the file's order within a prompt */
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

static uint64_t
prompt_hash(mete_text prompt)
{
    return mete_hash(0, prompt.data, prompt.length);
}

static int
open_data(mete_ctx *cx, struct contrastive *p)
{
    const mete_text *prompt = mete_table_text(p->data, "prompt");
    size_t rows = p->data->rows;
    struct {
        uint64_t hash, row;
    } *pair = mete_arena(cx, (rows + 1) * sizeof *pair);
    p->first = mete_alloc(cx, (rows + 1) * sizeof *p->first);
    p->row = mete_alloc(cx, (rows + 1) * sizeof *p->row);
    if (!prompt || !mete_table_text(p->data, "response"))
        return mete_fail(cx, METE_EDATA, "%s: no field \"%s\"; give map = { %s = ...; }",
                         p->data->file, prompt ? "response" : "prompt",
                         prompt ? "response" : "prompt");
    if (!pair || !p->first || !p->row)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu baselines", rows);
    for (size_t i = 0; i < rows; i++) {
        pair[i].hash = prompt_hash(prompt[i]);
        pair[i].row = i;
    }
    qsort(pair, rows, sizeof *pair, by_hash);
    for (size_t i = 0; i < rows; i++) {
        p->first[i] = pair[i].hash;
        p->row[i] = (uint32_t)pair[i].row;
    }
    return METE_OK;
}

/* Baselines of one prompt: `response[0..count)` in the arena, with room for MOST_BASELINES. */
struct baselines {
    mete_text *response; /* NULL: there is none at all */
    double *score;       /* NaN where there is none */
    size_t count;
    const char *why; /* the last reason one is missing */
};

static void
add_list(mete_ctx *cx, struct baselines *b, mete_text list)
{
    mete_json *root = mete_json_parse(list, NULL);
    for (const mete_json *at = mete_json_first(root); at; at = mete_json_next(at))
        if (mete_json_kind(at) == METE_JSON_STRING && b->count < MOST_BASELINES)
            b->response[b->count++] = mete_text_copy(cx, mete_json_text(at));
    mete_json_free(root);
}

static void
from_data(mete_ctx *cx, const struct contrastive *p, mete_text prompt, struct baselines *b)
{
    uint64_t hash = prompt_hash(prompt);
    const mete_text *response = mete_table_text(p->data, "response");
    size_t low = 0, high = p->data->rows, field = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->first[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    while (p->data->value[field] != response)
        field++;
    for (; low < p->data->rows && p->first[low] == hash; low++) {
        mete_text text = response[p->row[low]];
        if (p->data->element[field][p->row[low]] == METE_JSON)
            add_list(cx, b, text);
        else if (text.data && b->count < MOST_BASELINES)
            b->response[b->count++] = text;
    }
    b->why = "the file has no response to this prompt";
}

/* ---- what is kept ---------------------------------------------------------------------------- */

static struct kept *
find_slot(const struct contrastive *p, uint64_t key)
{
    size_t at = key & (p->slots - 1);
    while (p->slot[at].count && p->slot[at].key != key)
        at = (at + 1) & (p->slots - 1);
    return &p->slot[at];
}

static int
grow(struct contrastive *p)
{
    struct kept *old = p->slot;
    size_t slots = p->slots;
    if (2 * (p->taken + 1) <= slots)
        return 1;
    p->slots = slots ? 2 * slots : 256;
    p->slot = calloc(p->slots, sizeof *p->slot);
    if (!p->slot) {
        p->slot = old;
        p->slots = slots;
        return 0;
    }
    for (size_t i = 0; i < slots; i++)
        if (old[i].count)
            *find_slot(p, old[i].key) = old[i];
    free(old);
    return 1;
}

/* Keeps a copy; what there is no memory for is made anew the next time. */
static void
keep(struct contrastive *p, uint64_t key, const struct baselines *b)
{
    struct kept made = {.key = key, .count = b->count};
    size_t bytes = 0;
    for (size_t k = 0; k < b->count; k++)
        bytes += b->response[k].length;
    if (p->keep == KEEP_SCORES && p->mode != COMPARE) {
        made.score = malloc(b->count * sizeof *made.score);
        for (size_t k = 0; made.score && k < b->count; k++)
            made.score[k] = b->score[k];
    } else if ((made.response = malloc(b->count * sizeof *made.response + bytes))) {
        char *at = (char *)(made.response + b->count);
        for (size_t k = 0; k < b->count; at += b->response[k++].length) {
            if (b->response[k].length)
                memcpy(at, b->response[k].data, b->response[k].length);
            made.response[k] = (mete_text){at, b->response[k].length};
        }
    }
    pthread_mutex_lock(&p->lock);
    struct kept *slot = (made.score || made.response) && grow(p) ? find_slot(p, key) : NULL;
    int fresh = slot && !slot->count;
    if (fresh) {
        *slot = made;
        p->taken++;
    }
    pthread_mutex_unlock(&p->lock);
    if (!fresh) {
        free(made.score);
        free(made.response);
    }
}

/* A kept slot is never changed, so its arrays may be borrowed once found. */
static void
recall(struct contrastive *p, uint64_t key, struct baselines *b)
{
    pthread_mutex_lock(&p->lock);
    const struct kept *slot = p->slots ? find_slot(p, key) : NULL;
    if (slot && slot->count) {
        b->count = slot->count;
        b->score = slot->score;
        b->response = slot->response;
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- the baselines of a batch ---------------------------------------------------------------- */

static int
draw(mete_ctx *cx, const struct contrastive *p, const mete_batch *batch, const size_t *group,
     size_t count, struct baselines *b)
{
    size_t each = (size_t)p->samples;
    mete_message *message = mete_arena(cx, (count + 1) * sizeof *message);
    mete_request *request = mete_arena(cx, (count * each + 1) * sizeof *request);
    uint64_t round = p->keep == KEEP_NOTHING ? mete_iteration(cx) : 0;
    if (!message || !request)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu requests", count * each);
    for (size_t i = 0; i < count; i++) {
        mete_text prompt = batch->prompt[batch->group[group[i]]];
        message[i] = (mete_message){METE_USER, 0, prompt};
        for (size_t k = 0; k < each; k++)
            request[i * each + k] = (mete_request){
                .size = sizeof *request,
                .messages = 1,
                .message = &message[i],
                .seed = mete_hash_mix(prompt_hash(prompt), round * MOST_BASELINES + k),
                .temperature = p->temperature,
                .max_tokens = (uint32_t)p->max_tokens};
    }
    const mete_replies *got = mete_generate(cx, p->model, request, count * each);
    if (!got)
        return METE_EIO;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < each; k++) {
            const mete_reply *reply = mete_reply_at(got, i * each + k);
            struct baselines *of = &b[group[i]];
            if (reply->status == METE_VALID)
                of->response[of->count++] = reply->text;
            else
                of->why = reply->reason.data ? reply->reason.data : "the model gave no reply";
        }
    return METE_OK;
}

/* Responses of every group, kept or new; fresh[g] says which are new. */
static int
gather(mete_ctx *cx, struct contrastive *p, const mete_batch *batch, const uint64_t *key,
       struct baselines *b, uint8_t *fresh)
{
    size_t *ask = mete_arena(cx, (batch->groups + 1) * sizeof *ask), asked = 0;
    if (!ask)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t g = 0; g < batch->groups; g++) {
        size_t row = batch->group[g];
        recall(p, key[g], &b[g]);
        if (b[g].count)
            continue;
        fresh[g] = 1;
        b[g].response = mete_arena(cx, MOST_BASELINES * sizeof *b[g].response);
        if (!b[g].response)
            return mete_fail(cx, METE_ENOMEM, "out of memory for baselines");
        if (p->model) {
            ask[asked++] = g;
        } else if (p->data) {
            from_data(cx, p, batch->prompt[row], &b[g]);
        } else {
            mete_texts of = mete_texts_of(batch, &p->references, row);
            b[g].count = of.count < MOST_BASELINES ? of.count : MOST_BASELINES;
            for (size_t k = 0; k < b[g].count; k++)
                b[g].response[k] = of.item[k];
            if (!b[g].count) {
                b[g].response = NULL;
                b[g].why = "the record has no reference";
            }
        }
    }
    return asked ? draw(cx, p, batch, ask, asked, b) : METE_OK;
}

/* The rows of the batch, if `responses`, and after them every baseline of the groups wanted, as a
 * batch of their own; at[g] is the first baseline of group g. */
static const mete_batch *
beside(mete_ctx *cx, const mete_batch *batch, const struct baselines *b, const uint8_t *wanted,
       int responses, size_t *at)
{
    size_t count = responses ? batch->episodes : 0, rows = count;
    for (size_t g = 0; g < batch->groups; g++)
        rows += wanted[g] ? b[g].count : 0;
    uint32_t *row = mete_arena(cx, (rows + 1) * sizeof *row);
    mete_text *text = mete_arena(cx, (rows + 1) * sizeof *text);
    if (!row || !text) {
        mete_fail(cx, METE_ENOMEM, "out of memory for %zu baselines", rows);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        row[i] = (uint32_t)i;
        text[i] = batch->response[i];
    }
    for (size_t g = 0; g < batch->groups; g++) {
        at[g] = count;
        for (size_t k = 0; wanted[g] && k < b[g].count; k++) {
            row[count] = batch->group[g];
            text[count++] = b[g].response[k];
        }
    }
    const mete_batch *part = mete_batch_subset(cx, batch, row, rows);
    return part ? mete_batch_respond(cx, part, text) : NULL;
}

/* Scores what has no score yet and keeps what is complete. Baselines without a value leave. */
static int
score_baselines(mete_ctx *cx, struct contrastive *p, const mete_batch *batch, const uint64_t *key,
                const uint8_t *fresh, struct baselines *b)
{
    uint8_t *wanted = mete_arena(cx, batch->groups + 1);
    size_t *at = mete_arena(cx, (batch->groups + 1) * sizeof *at), open = 0;
    if (!wanted || !at)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t g = 0; g < batch->groups; g++)
        open += wanted[g] = b[g].count && !b[g].score;
    if (!open)
        return METE_OK;
    const mete_batch *rows = beside(cx, batch, b, wanted, 0, at);
    const mete_scores *got = rows ? mete_evaluate(cx, mete_child_node(cx, 0), rows) : NULL;
    if (!got)
        return METE_EPLUGIN;
    for (size_t g = 0; g < batch->groups; g++) {
        size_t valid = 0, had = b[g].count;
        if (!wanted[g])
            continue;
        b[g].score = mete_arena(cx, had * sizeof *b[g].score);
        if (!b[g].score)
            return mete_fail(cx, METE_ENOMEM, "out of memory");
        for (size_t k = 0; k < had; k++)
            if (got->status[at[g] + k] == METE_VALID)
                b[g].score[valid++] = got->episode[at[g] + k];
        if (valid < had)
            b[g].why = "the child has no value of it";
        if (fresh[g] && valid == had && (!p->model || had == (size_t)p->samples) &&
            p->keep != KEEP_NOTHING)
            keep(p, key[g], &b[g]);
        b[g].count = valid;
    }
    return METE_OK;
}

/* ---- setting a response against them --------------------------------------------------------- */

static int
ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double
statistic_of(mete_ctx *cx, int statistic, const double *value, size_t count)
{
    double sum = 0, least = INFINITY, largest = -INFINITY;
    for (size_t k = 0; k < count; k++) {
        sum += value[k];
        least = fmin(least, value[k]);
        largest = fmax(largest, value[k]);
    }
    if (statistic == MEAN)
        return sum / (double)count;
    if (statistic != MEDIAN)
        return statistic == LARGEST ? largest : least;
    double *sorted = mete_arena(cx, count * sizeof *sorted);
    if (!sorted)
        return NAN;
    memcpy(sorted, value, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    return 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]);
}

static double
against(const struct contrastive *p, const struct baselines *b, double taken, double value)
{
    double sum = 0;
    switch (p->mode) {
    case STANDARDISED:
        for (size_t k = 0; k < b->count; k++)
            sum += (b->score[k] - taken) * (b->score[k] - taken);
        sum = b->count > 1 ? sqrt(sum / (double)(b->count - 1)) : 0;
        return sum > 0 ? (value - taken) / sum : value - taken; /* no spread: none to divide by */
    case SIGMOID:
        for (size_t k = 0; k < b->count; k++)
            sum += 1 / (1 + exp((b->score[k] - value) / p->scale));
        return sum / (double)b->count;
    default:
        return value - taken;
    }
}

static void
fail_row(mete_ctx *cx, const struct contrastive *p, const struct baselines *b, size_t row)
{
    int absent = !p->model && !p->data && !b->count && !b->response;
    mete_row_fail(cx, row, absent ? METE_NOT_APPLICABLE : METE_FAILED,
                  "%zu baselines of this prompt have a value, %lld are needed: %s", b->count,
                  (long long)p->least, b->why ? b->why : "there are no more");
}

static int
by_value(mete_ctx *cx, const struct contrastive *p, const mete_batch *batch,
         const struct baselines *b, mete_scores *out)
{
    const mete_scores *child = mete_child(cx, 0);
    double *baseline = mete_out(out, p->baseline), *wins = mete_out(out, p->wins);
    int statistic = p->mode == DIFFERENCE ? p->statistic : MEAN;
    for (size_t t = 0; out->step && t < batch->steps; t++)
        out->step[t] = child->step[t];
    for (size_t g = 0; g < batch->groups; g++) {
        int enough = b[g].count && b[g].count >= (size_t)p->least;
        double taken = enough ? statistic_of(cx, statistic, b[g].score, b[g].count) : 0;
        if (isnan(taken))
            return mete_fail(cx, METE_ENOMEM, "out of memory");
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++) {
            size_t last = batch->step_begin[i + 1];
            if (child->status[i] || !enough) {
                out->status[i] = child->status[i];
                out->episode[i] = 0;
                if (!child->status[i])
                    fail_row(cx, p, &b[g], i);
                continue;
            }
            for (size_t k = 0; k < b[g].count; k++)
                wins[i] += (b[g].score[k] < child->episode[i]    ? 1
                            : b[g].score[k] == child->episode[i] ? 0.5
                                                                 : 0) /
                           (double)b[g].count;
            baseline[i] = taken;
            out->episode[i] = against(p, &b[g], taken, child->episode[i]);
            if (out->step && last > batch->step_begin[i])
                out->step[last - 1] -= taken;
        }
    }
    return METE_OK;
}

/* Every response against every baseline of its group, by the child's own comparison. */
static int
by_comparison(mete_ctx *cx, struct contrastive *p, const mete_batch *batch, const uint64_t *key,
              const uint8_t *fresh, const struct baselines *b, mete_scores *out)
{
    const mete_scores *child = mete_child(cx, 0);
    size_t *at = mete_arena(cx, (batch->groups + 1) * sizeof *at), pairs = 0, pair = 0;
    uint8_t *all = mete_arena(cx, batch->groups + 1);
    double *wins = mete_out(out, p->wins);
    for (size_t g = 0; g < batch->groups; g++) {
        pairs += (batch->group[g + 1] - batch->group[g]) * b[g].count;
        if (all)
            all[g] = 1;
        if (fresh[g] && b[g].count && p->keep != KEEP_NOTHING &&
            (!p->model || b[g].count == (size_t)p->samples))
            keep(p, key[g], &b[g]);
    }
    uint32_t *one = mete_arena(cx, (pairs + 1) * sizeof *one);
    uint32_t *other = mete_arena(cx, (pairs + 1) * sizeof *other);
    double *chance = mete_arena(cx, (pairs + 1) * sizeof *chance);
    if (!at || !all || !one || !other || !chance)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu pairs", pairs);
    const mete_batch *rows = beside(cx, batch, b, all, 1, at);
    if (!rows)
        return METE_ENOMEM;
    for (size_t g = 0; g < batch->groups; g++)
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            for (size_t k = 0; k < b[g].count; k++) {
                one[pair] = (uint32_t)i;
                other[pair++] = (uint32_t)(at[g] + k);
            }
    int status = mete_compare(cx, mete_child_node(cx, 0), rows, one, other, pairs, chance);
    pair = 0;
    for (size_t g = 0; g < batch->groups && !status; g++)
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++) {
            struct baselines valued = {.response = b[g].response, .why = b[g].why};
            out->status[i] = child->status[i];
            out->episode[i] = 0;
            for (size_t k = 0; k < b[g].count; k++, pair++)
                if (isnan(chance[pair])) {
                    valued.why = "the child has no value of it";
                } else {
                    valued.count++;
                    out->episode[i] += chance[pair];
                }
            if (!child->status[i] && valued.count < (size_t)p->least)
                fail_row(cx, p, &valued, i);
            else if (!child->status[i])
                wins[i] = out->episode[i] /= (double)valued.count;
        }
    return status;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    /* What is kept is not learnt: it follows from the config and the prompt alone. */
    struct contrastive *p = (struct contrastive *)(uintptr_t)self;
    struct baselines *b = mete_arena(cx, (batch->groups + 1) * sizeof *b);
    uint64_t *key = mete_arena(cx, (batch->groups + 1) * sizeof *key);
    uint8_t *fresh = mete_arena(cx, batch->groups + 1);
    if (!b || !key || !fresh)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    if (!batch->response || !batch->prompt)
        return mete_fail(cx, METE_EDATA, "there are no %s to compare",
                         batch->response ? "prompts" : "responses");
    for (size_t g = 0; g < batch->groups; g++) {
        mete_texts of = mete_texts_of(batch, &p->references, batch->group[g]);
        size_t row = batch->group[g];
        key[g] =
            mete_hash(batch->prompt_id[row], batch->prompt[row].data, batch->prompt[row].length);
        for (size_t k = 0; k < of.count; k++) /* a child may read them, too */
            key[g] = mete_hash(key[g], of.item[k].data, of.item[k].length);
    }
    int status = gather(cx, p, batch, key, b, fresh);
    if (!status && p->mode == COMPARE)
        return by_comparison(cx, p, batch, key, fresh, b, out);
    status = status ? status : score_baselines(cx, p, batch, key, fresh, b);
    return status ? status : by_value(cx, p, batch, b, out);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int
open_contrastive(mete_ctx *cx, void *self)
{
    struct contrastive *p = self;
    int status = METE_OK;
    if (p->model && p->data)
        return mete_fail(cx, METE_EINVAL, "model and data both give baselines: name one");
    if (p->model && p->least > p->samples)
        return mete_fail(cx, METE_EINVAL, "least = %lld baselines of samples = %lld",
                         (long long)p->least, (long long)p->samples);
    if (p->model && p->mode == STANDARDISED && p->samples < 2)
        return mete_fail(cx, METE_EINVAL, "standardised needs samples of at least 2");
    if (!p->model && !p->data)
        status = mete_need(cx, p->references.name, METE_LIST, METE_TEXT, 0, &p->references);
    else if (p->data)
        status = open_data(cx, p);
    if (status)
        return status;
    if (p->mode == DIFFERENCE && mete_child_per_step(cx, 0))
        mete_per_step(cx);
    p->baseline = mete_signal(cx, "baseline", METE_EPISODE, METE_ROLE_INFO, -INFINITY, INFINITY,
                              "the child's value of the baselines: their statistic, or mean");
    p->wins = mete_signal(cx, "wins", METE_EPISODE, METE_ROLE_INFO, 0, 1,
                          "share of the baselines that the response beats; a draw is half");
    pthread_mutex_init(&p->lock, NULL);
    return p->baseline < 0 ? p->baseline : p->wins < 0 ? p->wins : METE_OK;
}

static void
close_contrastive(mete_ctx *cx, void *self)
{
    struct contrastive *p = self;
    (void)cx;
    for (size_t i = 0; i < p->slots; i++) {
        free(p->slot[i].score);
        free(p->slot[i].response);
    }
    free(p->slot);
    pthread_mutex_destroy(&p->lock);
}

METE_REWARD_PLUGIN(
    contrastive, "1.0", "the child's value against its values of baseline responses",
    .doc = "A row is failed where fewer than `least` baselines have a value, and not applicable\n"
           "where its record has none. A child that is per step stays so in mode difference: the\n"
           "baseline is taken off at the last step. The child sees baselines as texts, without\n"
           "tokens: put kl_penalty beside this node, not below it. Signals: baseline; wins, the\n"
           "share of the baselines that the response beats.\n"
           "\n"
           "reward = { use = \"contrastive\"; model = \"reference\"; samples = 5;\n"
           "    of = ( { use = \"preference_model\"; node = { from = \"runs/rm\"; }; } ); };\n",
    .reference = "Shen et al. 2024, arXiv:2403.07708; PAR: Fu et al. 2025, arXiv:2502.18770",
    .options = options, .state_size = sizeof(struct contrastive),
    .flags = METE_COMBINES | METE_ONE_CHILD | METE_WHOLE_GROUP, .open = open_contrastive,
    .close = close_contrastive, .score = score);
