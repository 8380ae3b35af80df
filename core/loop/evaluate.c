/* evaluate.c - held-out episodes: measured, never learnt from. */
#include "loop/inner.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

void
mete__judged_free(mete__judged *judged)
{
    mete__metrics_free(&judged->metrics);
    for (size_t i = 0; i < METE__SHOWN; i++) {
        free(judged->shown[i].prompt);
        free(judged->shown[i].response);
    }
    mete__lengths_free(&judged->lengths);
    *judged = (mete__judged){0};
}

static void
show(mete__judged *out, const mete_batch *batch, const mete_scores *scores)
{
    for (size_t g = 0; batch->response && g < batch->groups && out->count < METE__SHOWN; g++) {
        size_t i = batch->group[g];
        mete__shown *shown = &out->shown[out->count++];
        mete_text prompt = batch->prompt[i], response = batch->response[i];
        shown->prompt = strndup(prompt.data ? prompt.data : "", prompt.length);
        shown->response = strndup(response.data ? response.data : "", response.length);
        shown->reward = scores && !scores->status[i] ? scores->episode[i] : NAN;
    }
}

/* Sums over all held-out batches. */
typedef struct sums {
    double length, nll, returned;
    uint64_t rows, tokens, bytes;
    mete_buffer pairs; /* hash of each pair of neighbouring words */
} sums;

static int
add_pairs(sums *s, const mete_batch *batch, mete_error *err)
{
    for (size_t i = 0; batch->response && i < batch->episodes; i++) {
        size_t most = batch->response[i].length + 1;
        if (mete_buffer_reserve(&s->pairs, most * sizeof(uint64_t)))
            return mete_error_set(err, METE_ENOMEM, "out of memory");
        uint64_t *hash = (uint64_t *)(void *)(s->pairs.data + s->pairs.length);
        size_t words = mete_words(batch->response[i], METE_WORDS_PUNCTUATION, hash, most);
        s->pairs.length += mete_ngrams(hash, words, 2, hash) * sizeof *hash;
    }
    return METE_OK;
}

/* Of all pairs of neighbouring words in what was said, the share that differs (distinct-2; Li et
 * al. 2016, arXiv:1510.03055): it falls as a policy says the same to every prompt. */
static void
note_distinct(sums *s, mete__judged *out)
{
    uint64_t *hash = (uint64_t *)(void *)s->pairs.data;
    size_t count = s->pairs.length / sizeof *hash, distinct = count > 0;
    if (count) {
        mete_hashes_sort(hash, count);
        for (size_t k = 1; k < count; k++)
            distinct += hash[k] != hash[k - 1];
        mete__metrics_add(&out->metrics, (double)distinct / (double)count, "eval/distinct_2");
    }
    mete_buffer_free(&s->pairs);
}

/* Of the pairs of answers to one prompt that gold tells apart, the share that a node orders as gold
 * does; pairs it has no order for count half. NAN: there is no such pair. */
static double
agreement(const mete_batch *batch, const mete_scores *gold, const mete_scores *scores)
{
    double right = 0, pairs = 0;
    for (size_t g = 0; g < batch->groups; g++)
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            for (size_t j = batch->group[g]; j < i; j++) {
                double by_gold = gold->episode[i] - gold->episode[j];
                double by_node = scores->episode[i] - scores->episode[j];
                if (gold->status[i] || gold->status[j] || scores->status[i] || scores->status[j] ||
                    by_gold == 0)
                    continue;
                right += by_node == 0 ? .5 : (by_node > 0) == (by_gold > 0);
                pairs++;
            }
    return right / pairs;
}

static void
note_agreement(const mete__loop *loop, const mete_batch *batch, mete__judged *out)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    const mete_node *gold = mete__gold_node(loop);
    for (size_t i = 0; gold && loop->evaluate_group > 1 && i < nodes; i++) {
        char name[METE__METRIC_NAME];
        if (node[i] == gold || !mete__measured(node[i], loop->reward))
            continue;
        double share = agreement(batch, mete__node_scores(gold), mete__node_scores(node[i]));
        mete__metrics_name(node[i], loop->reward, name);
        if (!isnan(share))
            mete__metrics_add(&out->metrics, share, "eval/agreement/%s", name);
    }
}

static int
note_lengths(const mete__loop *loop, const mete_batch *batch, mete__judged *out, mete_error *err)
{
    size_t nodes, columns = 1;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t k = 0; k < nodes; k++)
        columns += mete__belongs(node[k], loop->reward);
    for (size_t i = 0; i < batch->episodes; i++) {
        double *row = mete__lengths_add(&out->lengths, columns);
        if (!row)
            return mete_error_set(err, METE_ENOMEM, "out of memory");
        *row++ = batch->step_begin[i + 1] - batch->step_begin[i];
        for (size_t k = 0; k < nodes; k++) {
            if (!mete__belongs(node[k], loop->reward))
                continue;
            const mete_scores *scores = mete__node_scores(node[k]);
            *row++ = !scores || scores->status[i] ? NAN : scores->episode[i];
        }
    }
    return METE_OK;
}

static void
note_gains(mete__loop *loop, mete__judged *out)
{
    size_t nodes, column = 0;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    if (out != &loop->after || loop->before.lengths.columns != out->lengths.columns)
        return;
    for (size_t k = 0; k < nodes; k++) {
        char name[METE__METRIC_NAME];
        if (!mete__belongs(node[k], loop->reward))
            continue;
        double share = mete__length_free_gain(&loop->before.lengths, &out->lengths, ++column);
        mete__metrics_name(node[k], loop->reward, name);
        if (isfinite(share))
            mete__metrics_add(&out->metrics, share, "eval/length_free_gain/%s", name);
    }
}

static int
judge_batch(mete__loop *loop, const mete_batch *batch, mete__judged *out, sums *s, mete_error *err)
{
    int status = loop->reward ? mete__score(loop->engine, loop->reward, batch, err) : METE_OK;
    mete_params reference = mete__snapshot_params(loop, "reference");
    if (status)
        return status;
    if (loop->reward) {
        mete__metrics_nodes(&out->metrics, loop->engine, loop->reward, batch, "eval/");
        note_agreement(loop, batch, out);
        if (batch->response)
            status = note_lengths(loop, batch, out, err);
        if (!status)
            status = mete__check_failed(loop, batch, &out->metrics, "eval/failed", err);
    }
    if (status)
        return status;
    show(out, batch, loop->reward ? mete__node_scores(loop->reward) : NULL);
    for (size_t i = 0; i < batch->episodes; i++) {
        s->length += batch->step_begin[i + 1] - batch->step_begin[i];
        s->rows++;
    }
    status = add_pairs(s, batch, err);
    if (status)
        return status;
    for (uint32_t c = 0; c < batch->columns; c++)
        if (batch->column[c].level == METE_STEP && strcmp(batch->column[c].name, "reward") == 0)
            for (size_t t = 0; t < batch->steps; t++)
                s->returned += (double)((const float *)batch->column[c].data)[t];
    if (!reference.vector || !batch->response || !batch->steps)
        return METE_OK;
    float *logp = malloc(batch->steps * sizeof *logp);
    if (!logp)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    status = mete__logp_under(loop, &reference, batch, logp, err);
    for (size_t t = 0; t < batch->steps && !status; t++)
        s->nll -= (double)logp[t];
    s->tokens += batch->steps;
    free(logp);
    return status;
}

/* Scores given texts as if the policy had said them with the probability it gives them: what the
 * reward makes of people's own texts is the floor a policy is to be measured against. */
static int
score_given(mete__loop *loop, const mete_batch *batch, const float *logp, mete__judged *out,
            mete_error *err)
{
    mete_batch said = *batch;
    if (!loop->reward)
        return METE_OK;
    said.logp = logp;
    int status = mete__score(loop->engine, loop->reward, &said, err);
    if (!status) {
        mete__metrics_nodes(&out->metrics, loop->engine, loop->reward, &said, "given/");
        status = mete__check_failed(loop, &said, &out->metrics, "given/failed", err);
    }
    mete__engine_reset(loop->engine); /* forgets `said` */
    return status;
}

/* Adds what the policy gives the steps of a batch of given texts, and the bytes they stand for: a
 * policy that cuts a text is asked about what it kept. */
static int
weigh_batch(mete__loop *loop, const mete_batch *batch, const mete_params *params, mete__judged *out,
            sums *s, mete_error *err)
{
    float *logp = malloc((batch->steps + 1) * sizeof *logp);
    if (!logp)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    int status = mete__logp_under(loop, params, batch, logp, err);
    for (size_t t = 0; t < batch->steps && !status; t++)
        s->nll -= (double)logp[t];
    s->tokens += batch->steps;
    for (size_t i = 0; i < batch->episodes; i++) {
        uint32_t last = 0;
        for (size_t t = batch->step_begin[i]; batch->span && t < batch->step_begin[i + 1]; t++)
            last = batch->span[2 * t + 1] > last ? batch->span[2 * t + 1] : last;
        s->bytes += batch->span ? last : batch->response[i].length;
        s->rows++;
    }
    if (!status)
        status = score_given(loop, batch, logp, out, err);
    free(logp);
    return status;
}

/* How likely the policy finds held-out texts of the environment, and what the reward makes of them.
 * */
static int
weigh_texts(mete__loop *loop, mete__judged *out, sums *s, mete_error *err)
{
    mete_params params = mete__loop_params(loop);
    loop->held.collected = 0;
    while (s->rows < loop->evaluate_episodes) {
        mete__engine_reset(loop->engine);
        const mete_batch *batch = mete__rollout_batch(&loop->held, &params, METE_ACT_EVALUATE, 1,
                                                      loop->evaluate_responses, NULL, err);
        if (!batch)
            return err->code;
        if (!batch->episodes)
            break;
        int status = weigh_batch(loop, batch, &params, out, s, err);
        if (status)
            return status;
    }
    mete__engine_reset(loop->engine);
    if (s->tokens)
        mete__metrics_add(&out->metrics, exp(s->nll / (double)s->tokens), "eval/perplexity");
    if (s->bytes)
        mete__metrics_add(&out->metrics, s->nll / log(2) / (double)s->bytes, "eval/bits_per_byte");
    return METE_OK;
}

/* Iterations since held-out episodes were first measured: since the reference was taken. */
static double
since_before(const mete__loop *loop)
{
    uint64_t first = loop->total;
    for (size_t k = 0; k < loop->snapshots; k++) {
        if (strcmp(loop->snapshot[k].name, "reference") != 0)
            continue;
        first = 0; /* at the start, unless it names a stage */
        for (size_t i = loop->stages; i-- > 0;)
            if (strcmp(loop->snapshot[k].at, loop->stage[i].name) == 0)
                first = loop->stage[i].first;
    }
    return loop->done > first ? (double)(loop->done - first) : 0;
}

/* What the policy itself does in held-out episodes. */
static int
judge_episodes(mete__loop *loop, mete__judged *out, sums *s, mete_error *err)
{
    mete_params params = mete__loop_params(loop);
    uint32_t mode = METE_ACT_EVALUATE | (loop->evaluate_greedy ? METE_ACT_GREEDY : 0);
    double temperature = mete__schedule_at(&loop->evaluate_temperature, since_before(loop));
    loop->held.collected = 0; /* the same episodes every time */
    while (s->rows < loop->evaluate_episodes) {
        mete__engine_reset(loop->engine);
        const mete_batch *batch =
            mete__rollout_batch(&loop->held, &params, mode, temperature, NULL, NULL, err);
        if (!batch)
            return err->code;
        if (!batch->episodes)
            break;
        int status = judge_batch(loop, batch, out, s, err);
        if (status)
            return status;
    }
    if (loop->reward)
        note_gains(loop, out);
    mete__engine_reset(loop->engine);
    mete__metrics_add(&out->metrics, (double)s->rows, "eval/episodes");
    if (s->rows)
        mete__metrics_add(&out->metrics, s->length / (double)s->rows, "eval/length");
    if (s->rows && !loop->held.now->prompt)
        mete__metrics_add(&out->metrics, s->returned / (double)s->rows, "eval/return");
    if (s->tokens)
        mete__metrics_add(&out->metrics, exp(s->nll / (double)s->tokens),
                          "eval/reference_perplexity");
    note_distinct(s, out);
    return METE_OK;
}

int
mete__evaluate(mete__loop *loop, mete__judged *out, mete_error *err)
{
    sums said = {0}, given = {0};
    mete__judged_free(out);
    mete__engine_leaves_out(loop->engine, false); /* held-out episodes mean the same in any stage */
    int status = judge_episodes(loop, out, &said, err);
    mete_buffer_free(&said.pairs);
    if (!status && loop->evaluate_responses)
        status = weigh_texts(loop, out, &given, err);
    mete__engine_leaves_out(loop->engine, true);
    return status;
}

/* ---- kept with a checkpoint, so that a resumed run can still say what changed ---------------- */

int
mete__judged_save(const mete__judged *judged, const char *name, mete__checkpoint *to,
                  mete_error *err)
{
    char key[128];
    size_t length = 0, at = 0;
    for (size_t i = 0; i < judged->metrics.count; i++)
        length += strlen(judged->metrics.item[i].name) + 1;
    for (size_t i = 0; i < judged->count; i++)
        length += strlen(judged->shown[i].prompt) + strlen(judged->shown[i].response) + 2;
    char *text = calloc(length + 1, 1);
    double *value = calloc(judged->metrics.count + METE__SHOWN + 2, sizeof *value);
    if (!text || !value) {
        free(text);
        free(value);
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    size_t n = 0;
    value[n++] = (double)judged->metrics.count;
    value[n++] = (double)judged->count;
    for (size_t i = 0; i < judged->metrics.count; i++) {
        value[n++] = judged->metrics.item[i].sum / (double)judged->metrics.item[i].count;
        at += (size_t)snprintf(text + at, length + 1 - at, "%s", judged->metrics.item[i].name) + 1;
    }
    for (size_t i = 0; i < judged->count; i++) {
        value[n++] = judged->shown[i].reward;
        at += (size_t)snprintf(text + at, length + 1 - at, "%s", judged->shown[i].prompt) + 1;
        at += (size_t)snprintf(text + at, length + 1 - at, "%s", judged->shown[i].response) + 1;
    }
    snprintf(key, sizeof key, "judged/%s/value", name);
    int status = mete__checkpoint_add(to, key, METE_F64, n, value, err);
    snprintf(key, sizeof key, "judged/%s/lengths", name);
    if (!status && judged->lengths.rows)
        status =
            mete__checkpoint_add(to, key, METE_F64, judged->lengths.rows * judged->lengths.columns,
                                 judged->lengths.row, err);
    int64_t columns = (int64_t)judged->lengths.columns;
    snprintf(key, sizeof key, "judged/%s/columns", name);
    if (!status)
        status = mete__checkpoint_add(to, key, METE_I64, 1, &columns, err);
    snprintf(key, sizeof key, "judged/%s/text", name);
    if (!status)
        status = mete__checkpoint_add(to, key, METE_U8, length, text, err);
    free(text);
    free(value);
    return status;
}

static int
load_lengths(mete__judged *judged, const char *name, const mete__checkpoint *from, mete_error *err)
{
    char key[128];
    size_t numbers = SIZE_MAX, one = 1;
    snprintf(key, sizeof key, "judged/%s/lengths", name);
    const double *from_row = mete__checkpoint_get(from, key, METE_F64, &numbers);
    snprintf(key, sizeof key, "judged/%s/columns", name);
    const int64_t *columns = mete__checkpoint_get(from, key, METE_I64, &one);
    if (!from_row || !columns || *columns < 1)
        return METE_OK;
    for (size_t at = 0; numbers - at >= (size_t)*columns; at += (size_t)*columns) {
        double *row = mete__lengths_add(&judged->lengths, (size_t)*columns);
        if (!row)
            return mete_error_set(err, METE_ENOMEM, "out of memory");
        memcpy(row, from_row + at, (size_t)*columns * sizeof *row);
    }
    return METE_OK;
}

int
mete__judged_load(mete__judged *judged, const char *name, const mete__checkpoint *from,
                  mete_error *err)
{
    char key[128];
    size_t values = SIZE_MAX, length = SIZE_MAX, n = 2;
    snprintf(key, sizeof key, "judged/%s/value", name);
    const double *value = mete__checkpoint_get(from, key, METE_F64, &values);
    snprintf(key, sizeof key, "judged/%s/text", name);
    const char *text = mete__checkpoint_get(from, key, METE_U8, &length);
    mete__judged_free(judged);
    if (!value || values < 2 || (values > 2 && (!text || !length || text[length - 1])))
        return mete_error_set(err, METE_EDATA, "the checkpoint's evaluation '%s' is damaged", name);
    const char *end = text + length;
    for (size_t i = 0; i < (size_t)value[0] && text < end && n < values; i++) {
        mete__metrics_add(&judged->metrics, value[n++], "%s", text);
        text += strlen(text) + 1;
    }
    for (size_t i = 0; i < (size_t)value[1] && i < METE__SHOWN && text < end && n < values; i++) {
        mete__shown *shown = &judged->shown[judged->count++];
        shown->reward = value[n++];
        shown->prompt = strdup(text);
        text += strlen(text) + 1;
        shown->response = strdup(text < end ? text : "");
        text += text < end ? strlen(text) + 1 : 0;
    }
    return load_lengths(judged, name, from, err);
}
