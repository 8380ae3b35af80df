/* protocol.c - requests and answers of each server. An answer is hostile: it is parsed strictly,
 * has one score for each row asked, in the order asked, and each score is a finite number. */
#include "remote.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

const char *
protocol_path(int protocol)
{
    static const char *const path[] = {"/v1/score", "/get_reward", "/classify", "/predict",
                                       "/score"};
    return path[protocol];
}

/* ---- requests -------------------------------------------------------------------------------- */

static mete_text
prompt_of(const mete_batch *batch, size_t row)
{
    return batch->prompt ? batch->prompt[row] : (mete_text){"", 0};
}

/* Column k of a row, or null. */
static void
put_field(const struct remote *p, const mete_batch *batch, size_t k, size_t row, mete_buffer *out)
{
    const mete_column *column = mete_column_of(batch, &p->column[k]);
    const mete_text *text = mete_text_of(batch, &p->column[k]);
    if (text && (!column->valid || column->valid[row]))
        mete_json_put_text(out, text[row]);
    else
        mete_buffer_string(out, "null");
}

static void
put_record(const struct remote *p, const mete_batch *batch, size_t row, mete_buffer *out)
{
    mete_buffer_string(out, "{\"prompt\":");
    mete_json_put_text(out, prompt_of(batch, row));
    mete_buffer_string(out, ",\"response\":");
    mete_json_put_text(out, batch->response[row]);
    for (size_t k = 0; k < p->fields.count; k++) {
        mete_buffer_byte(out, ',');
        mete_json_put_text(out, mete_text_from(p->fields.item[k]));
        mete_buffer_byte(out, ':');
        put_field(p, batch, k, row, out);
    }
    mete_buffer_byte(out, '}');
}

/* Prompt and response as the one text that a model reads. */
static void
put_whole(const struct remote *p, const mete_batch *batch, size_t row, mete_buffer *out)
{
    mete_buffer text = mete_buffer_make(0);
    mete_buffer_string(&text, p->before);
    mete_buffer_text(&text, prompt_of(batch, row));
    mete_buffer_string(&text, p->between);
    mete_buffer_text(&text, batch->response[row]);
    mete_buffer_string(&text, p->after);
    mete_json_put_text(out, mete_buffer_view(&text));
    out->status = out->status ? out->status : text.status;
    mete_buffer_free(&text);
}

static void
put_prompt(const struct remote *p, const mete_batch *batch, size_t row, mete_buffer *out)
{
    (void)p;
    mete_json_put_text(out, prompt_of(batch, row));
}

static void
put_response(const struct remote *p, const mete_batch *batch, size_t row, mete_buffer *out)
{
    (void)p;
    mete_json_put_text(out, batch->response[row]);
}

static void
put_pair(const struct remote *p, const mete_batch *batch, size_t row, mete_buffer *out)
{
    mete_buffer_byte(out, '[');
    put_prompt(p, batch, row, out);
    mete_buffer_byte(out, ',');
    put_response(p, batch, row, out);
    mete_buffer_byte(out, ']');
}

static void
put_label(const struct remote *p, const mete_batch *batch, size_t row, mete_buffer *out)
{
    put_field(p, batch, 0, row, out);
}

typedef void put_row(const struct remote *p, const mete_batch *batch, size_t row, mete_buffer *out);

/* "name":[one of each row] */
static void
put_list(const struct remote *p, const mete_batch *batch, const struct question *q,
         const char *name, put_row *put, mete_buffer *out)
{
    mete_buffer_format(out, "\"%s\":[", name);
    for (size_t i = 0; i < q->count; i++) {
        if (i)
            mete_buffer_byte(out, ',');
        put(p, batch, q->first + i, out);
    }
    mete_buffer_byte(out, ']');
}

int
question_write(const struct remote *p, const mete_batch *batch, struct question *q)
{
    mete_buffer *out = &q->http.body;
    mete_buffer_byte(out, '{');
    if (p->model) {
        mete_buffer_string(out, "\"model\":");
        mete_json_put_text(out, mete_text_from(p->model));
        mete_buffer_byte(out, ',');
    }
    switch (p->protocol) {
    case PROTOCOL_METE:
        put_list(p, batch, q, "records", put_record, out);
        break;
    case PROTOCOL_OPENRLHF:
        put_list(p, batch, q, "query", put_whole, out);
        mete_buffer_byte(out, ',');
        put_list(p, batch, q, "prompts", put_prompt, out);
        if (p->fields.count) {
            mete_buffer_byte(out, ',');
            put_list(p, batch, q, "labels", put_label, out);
        }
        break;
    case PROTOCOL_CLASSIFY:
        put_list(p, batch, q, "input", put_whole, out);
        mete_buffer_string(out, ",\"use_activation\":false");
        break;
    case PROTOCOL_PREDICT:
        put_list(p, batch, q, "inputs", put_pair, out);
        mete_buffer_string(out, ",\"raw_scores\":true");
        break;
    default:
        put_list(p, batch, q, "queries", put_prompt, out);
        mete_buffer_byte(out, ',');
        put_list(p, batch, q, "documents", put_response, out);
        mete_buffer_string(out, ",\"use_activation\":false");
    }
    mete_buffer_byte(out, '}');
    return out->status ? METE_ENOMEM : METE_OK;
}

/* ---- answers --------------------------------------------------------------------------------- */

struct reading {
    mete_ctx *cx;
    const struct remote *p;
    struct question *q;
    char *why;
    size_t size;
};

static int
bad(struct reading *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->why, r->size, format, arguments);
    va_end(arguments);
    return METE_EDATA;
}

/* A list of one element for each row. */
static int
check_list(struct reading *r, const mete_json *list, const char *name)
{
    if (mete_json_kind(list) != METE_JSON_ARRAY)
        return bad(r, "the answer has no list%s%s", *name ? " " : "", name);
    if (mete_json_count(list) != r->q->count)
        return bad(r, "the answer has %zu scores%s%s where %zu were asked for",
                   mete_json_count(list), *name ? " in " : "", name, r->q->count);
    return METE_OK;
}

/* The k-th row's score. null: the server has none, which is the row's own failure. */
static int
take_value(struct reading *r, size_t k, const mete_json *score)
{
    struct answers *answers = r->q->answers;
    size_t row = r->q->first + k;
    double value = mete_json_number(score);
    if (mete_json_kind(score) == METE_JSON_NULL) {
        answers->status[row] = METE_FAILED;
        answers->reason[row] = mete_text_from("the server gave no score");
        return METE_OK;
    }
    if (!isfinite(value))
        return bad(r, "score %zu of the answer is no number", k + 1);
    answers->status[row] = METE_VALID;
    answers->value[row] = value;
    return METE_OK;
}

/* Why a record of mete's has no reward, in the server's words. */
static int
take_refusal(struct reading *r, size_t k, const mete_json *result)
{
    static const char *const name[] = {"valid", "not_applicable", "failed", "timed_out"};
    struct answers *answers = r->q->answers;
    size_t row = r->q->first + k;
    mete_text said = mete_json_text(mete_json_get(result, "reason"));
    char words[300];
    for (int status = METE_NOT_APPLICABLE; status <= METE_TIMED_OUT; status++)
        if (mete_text_is(mete_json_text(mete_json_get(result, "status")), name[status]))
            answers->status[row] = (uint8_t)status;
    if (!said.length)
        return METE_OK;
    http_clean(&r->p->http, said, words, sizeof words);
    answers->reason[row] = mete_text_copy(r->cx, mete_text_from(words));
    return answers->reason[row].data ? METE_OK : METE_ENOMEM;
}

/* A signal of the k-th row: `value` is null where the server's node has none. */
static int
take_signal(struct reading *r, size_t s, size_t k, const mete_json *value)
{
    struct answers *answers = r->q->answers;
    double number = mete_json_number(value);
    if (mete_json_kind(value) != METE_JSON_NULL && !isfinite(number))
        return bad(r, "the answer has no number '%s' of row %zu", r->p->signals.item[s], k + 1);
    answers->signal[s * answers->rows + r->q->first + k] = isfinite(number) ? number : 0;
    return METE_OK;
}

static int
read_mete(struct reading *r, const mete_json *root)
{
    const mete_json *results = mete_json_get(root, "results");
    const mete_json *result = mete_json_first(results);
    int status = check_list(r, results, "results");
    for (size_t k = 0; k < r->q->count && !status; k++, result = mete_json_next(result)) {
        const mete_json *reward = mete_json_get(result, "reward");
        const mete_json *nodes = mete_json_get(result, "nodes");
        int given = mete_json_kind(reward) != METE_JSON_NULL;
        status = take_value(r, k, reward);
        if (!status && !given)
            status = take_refusal(r, k, result);
        for (size_t s = 0; s < r->p->signals.count && given && !status; s++) {
            const mete_json *node = mete_json_get(nodes, r->p->signals.item[s]);
            status = take_signal(r, s, k, mete_json_get(node, "value"));
        }
    }
    return status;
}

static int
read_openrlhf(struct reading *r, const mete_json *root)
{
    const mete_json *rewards = mete_json_get(root, "rewards");
    const mete_json *reward = mete_json_first(rewards);
    if (r->q->count == 1 && mete_json_kind(rewards) == METE_JSON_NUMBER)
        return take_value(r, 0, rewards);
    int status = check_list(r, rewards, "rewards");
    for (size_t k = 0; k < r->q->count && !status; k++, reward = mete_json_next(reward))
        status = take_value(r, k, reward);
    for (size_t s = 0; s < r->p->signals.count && !status; s++) {
        const char *name = r->p->signals.item[s];
        const mete_json *list = mete_json_get(mete_json_get(root, "extra_logs"), name);
        const mete_json *value = mete_json_first(list);
        status = check_list(r, list, name);
        for (size_t k = 0; k < r->q->count && !status; k++, value = mete_json_next(value))
            status = take_signal(r, s, k, value);
    }
    return status;
}

/* The score in one element of the list that vLLM and TEI answer. */
static const mete_json *
score_of(int protocol, const mete_json *element)
{
    const mete_json *probs = mete_json_get(element, "probs");
    switch (protocol) {
    case PROTOCOL_CLASSIFY:
        return mete_json_at(probs, mete_json_count(probs) - 1); /* as verl reads it */
    case PROTOCOL_PREDICT:
        if (mete_json_kind(element) == METE_JSON_ARRAY)
            element = mete_json_count(element) == 1 ? mete_json_first(element) : NULL;
        return mete_json_get(element, "score");
    default:
        return mete_json_get(element, "score");
    }
}

static int
read_list(struct reading *r, const mete_json *root)
{
    int bare = r->p->protocol == PROTOCOL_PREDICT;
    const mete_json *list = bare ? root : mete_json_get(root, "data");
    const mete_json *element = mete_json_first(list);
    int status = check_list(r, list, bare ? "" : "data");
    for (size_t k = 0; k < r->q->count && !status; k++, element = mete_json_next(element)) {
        double index = mete_json_number(mete_json_get(element, "index"));
        if (index == index && index != (double)k)
            return bad(r, "element %zu of the answer has index %g", k, index);
        status = take_value(r, k, score_of(r->p->protocol, element));
    }
    return status;
}

int
answer_read(mete_ctx *cx, const void *self, struct http_job *job, char *why, size_t size)
{
    struct reading r = {cx, self, (struct question *)(void *)job, why, size};
    mete_error err = {0};
    mete_json *root = mete_json_parse(mete_buffer_view(&job->answer), &err);
    int status;
    if (!root && err.code == METE_ENOMEM) {
        status = METE_ENOMEM;
    } else if (!root) {
        char words[160];
        http_clean(&r.p->http, mete_text_from(err.message), words, sizeof words);
        status = bad(&r, "the answer is no JSON: %s", words);
    } else if (r.p->protocol == PROTOCOL_METE) {
        status = read_mete(&r, root);
    } else if (r.p->protocol == PROTOCOL_OPENRLHF) {
        status = read_openrlhf(&r, root);
    } else {
        status = read_list(&r, root);
    }
    mete_json_free(root);
    return status;
}
