/* vllm.c - the reward shapes of vLLM's and SGLang's servers: /classify, /pooling, /v1/embeddings,
 * /score, /rerank (and TEI's, which differs in names). A text is a whole dialogue by some chat
 * template, parted where its last answer begins.
 *
 * /classify and /pooling apply a sigmoid unless use_activation is false, as vLLM does; the other
 * answers carry scores as they are.
 */
#include "protocol/protocol.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "score/messages.h"

enum { VLLM, SGLANG, TOKENS, TEI };

/* ---- texts ----------------------------------------------------------------------------------- */

static int
take_dialogue(mete__call *call, size_t k, const mete__field *text, const char *name,
              mete_error *err)
{
    mete_text whole = text->text, before, answer;
    int status = METE_OK;
    if (text->type == METE_JSON_ARRAY)
        status = mete__call_decode(call, text->text, &whole, err);
    else if (text->type != METE_JSON_STRING)
        status = mete_error_set(err, METE_EDATA, "element %zu of \"%s\" is no text", k + 1, name);
    if (status)
        return status;
    mete_dialogue_split(whole, (mete_text){"", 0}, &before, &answer);
    mete__given_text(call, k, call->setting.prompt, before);
    mete__given_text(call, k, call->setting.response, answer);
    return METE_OK;
}

/* [1,2,..]: token ids of one text, where [[1,2],..] and ["a",..] are of several. */
static bool
is_ids(const mete__field *input)
{
    size_t at = 1;
    while (at < input->text.length && strchr(" \t\r\n", input->text.data[at]))
        at++;
    return input->type == METE_JSON_ARRAY && at < input->text.length &&
           (input->text.data[at] == '-' || isdigit((unsigned char)input->text.data[at]));
}

/* One text or a list of them; a text may be token ids. */
static int
read_texts(mete__call *call, const char *name, mete_error *err)
{
    const mete__field *input = mete__body_get(call, name);
    mete__field element;
    call->many = input->type == METE_JSON_ARRAY && !is_ids(input);
    if (!call->many) {
        int status = mete__call_room(call, 1, 2, err);
        return status ? status : take_dialogue(call, 0, input, name, err);
    }
    size_t count = mete__array_count(input->text), k = 0;
    int status = mete__call_room(call, count, 2, err), got = 0;
    if (!status)
        status = mete__items_begin(&call->items[0], input->text, err);
    while (!status && k < count && (got = mete__items_next(&call->items[0], &element, err)) > 0)
        status = take_dialogue(call, k++, &element, name, err);
    return status ? status : got < 0 ? got : METE_OK;
}

static int
read_messages(mete__call *call, const mete__field *messages, mete_error *err)
{
    int status = mete__call_room(call, 1, 2, err);
    mete_buffer prompt = {0};
    size_t before = mete__messages_before(messages->text);
    if (!status && before && mete__messages_prompt(messages->text, before, &prompt)) {
        const char *copy = mete__arena_string(call->arena, prompt.data, prompt.length);
        if (copy)
            mete__given_text(call, 0, call->setting.prompt, (mete_text){copy, prompt.length});
        else
            status = mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    mete_buffer_free(&prompt);
    if (!status)
        mete__given_field(call, 0, call->setting.response, messages);
    return status;
}

/* "input" or "messages", and the members all of vLLM's requests have. */
static int
read_input(mete__call *call, bool activate, mete_error *err)
{
    static const char *const names[] = {"use_activation", "softmax", "activation"};
    const mete__field *model = mete__body_get(call, "model");
    const mete__field *messages = mete__body_get(call, "messages");
    if (model && model->type == METE_JSON_STRING)
        call->model = model->text;
    call->activate = activate;
    for (size_t i = 0; i < 3; i++)
        if (mete__body_get(call, names[i])) {
            int status = mete__body_bool(call, names[i], activate, &call->activate, err);
            if (status)
                return status;
            break;
        }
    if (mete__body_get(call, "input"))
        return read_texts(call, "input", err);
    if (messages && messages->type == METE_JSON_ARRAY)
        return read_messages(call, messages, err);
    return mete_error_set(err, METE_EDATA, "\"input\" must be a text or a list of texts");
}

/* ---- objects of lists ------------------------------------------------------------------------ */

static void
put_head(const mete__call *call, const char *prefix, const char *object, mete_buffer *out)
{
    mete_buffer_format(out, "{\"id\":\"%s-mete\",", prefix);
    if (object)
        mete_buffer_format(out, "\"object\":\"%s\",\"created\":%lld,", object,
                           (long long)time(NULL));
    mete_buffer_string(out, "\"model\":");
    mete_json_put_text(out, call->model.length ? call->model : mete_text_from("mete"));
    mete_buffer_byte(out, ',');
}

static int
put_tail(const mete__scored *scored, mete_buffer *out)
{
    mete_buffer_string(out, "],\"usage\":{\"prompt_tokens\":0,\"total_tokens\":0,"
                            "\"completion_tokens\":0},");
    mete__put_version(scored, out);
    mete_buffer_byte(out, '}');
    return out->status;
}

/* The scores between a text before and one after each, commas between. */
static int
put_each(const mete__call *call, const mete__scored *scored, const char *before, const char *after,
         mete_buffer *out, mete_error *err)
{
    for (size_t k = 0; k < call->count; k++) {
        double value;
        int status = mete__scored_number(call, scored, k, &value, err);
        if (status)
            return status;
        mete_buffer_format(out, "%s{\"index\":%zu,%s", k ? "," : "", k, before);
        mete__put_score(out, value);
        mete_buffer_string(out, after);
    }
    return METE_OK;
}

/* ---- /classify ------------------------------------------------------------------------------- */

int
mete__classify_parse(mete__call *call, mete_error *err)
{
    const char *name = mete__body_get(call, "text") ? "text" : "input_ids";
    if (!mete__body_get(call, name) || mete__body_get(call, "input"))
        return read_input(call, true, err);
    call->shape = SGLANG;
    return read_texts(call, name, err);
}

/* The end of an element of SGLang's lists. */
static void
put_meta(const mete__scored *scored, size_t k, mete_buffer *out)
{
    mete_buffer_format(out, ",\"meta_info\":{\"id\":\"%zu\",\"prompt_tokens\":0,", k);
    mete__put_version(scored, out);
    mete_buffer_string(out, "}}");
}

int
mete__classify_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                      mete_error *err)
{
    int status = METE_OK;
    if (call->shape == VLLM) {
        put_head(call, "classify", "list", out);
        mete_buffer_string(out, "\"data\":[");
        status = put_each(call, scored, "\"label\":\"LABEL_0\",\"probs\":[", "],\"num_classes\":1}",
                          out, err);
        return status ? status : put_tail(scored, out);
    }
    if (call->many)
        mete_buffer_byte(out, '[');
    for (size_t k = 0; k < call->count && !status; k++) {
        double value;
        status = mete__scored_number(call, scored, k, &value, err);
        mete_buffer_string(out, k ? ",{\"embedding\":[" : "{\"embedding\":[");
        mete__put_score(out, value);
        mete_buffer_byte(out, ']');
        put_meta(scored, k, out);
    }
    if (call->many)
        mete_buffer_byte(out, ']');
    return status ? status : out->status;
}

/* ---- /pooling, /v1/embeddings ---------------------------------------------------------------- */

int
mete__pooling_parse(mete__call *call, mete_error *err)
{
    const mete__field *task = mete__body_get(call, "task");
    mete_text name = task && task->type == METE_JSON_STRING ? task->text : (mete_text){"", 0};
    if (mete_text_equal(name, mete_text_from("token_classify")))
        call->shape = TOKENS;
    else if (task && !mete_text_equal(name, mete_text_from("classify")))
        return mete_error_set(err, METE_EDATA,
                              "\"task\" must be classify or token_classify: a reward embeds "
                              "nothing");
    return read_input(call, true, err);
}

int
mete__pooling_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                     mete_error *err)
{
    bool tokens = call->shape == TOKENS;
    put_head(call, "pool", "list", out);
    mete_buffer_string(out, "\"data\":[");
    int status = put_each(call, scored,
                          tokens ? "\"object\":\"pooling\",\"data\":[["
                                 : "\"object\":\"pooling\",\"data\":[",
                          tokens ? "]]}" : "]}", out, err);
    return status ? status : put_tail(scored, out);
}

int
mete__embeddings_parse(mete__call *call, mete_error *err)
{
    return read_input(call, false, err);
}

int
mete__embeddings_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                        mete_error *err)
{
    put_head(call, "embd", "list", out);
    mete_buffer_string(out, "\"data\":[");
    int status = put_each(call, scored, "\"object\":\"embedding\",\"embedding\":[", "]}", out, err);
    return status ? status : put_tail(scored, out);
}

/* ---- /score ---------------------------------------------------------------------------------- */

static const char *const query_names[] = {"queries", "data_1", "text_1"};
static const char *const document_names[] = {"documents", "items", "data_2", "text_2"};

static size_t
list_count(const mete__field *field)
{
    return field->type == METE_JSON_ARRAY ? mete__array_count(field->text) : 1;
}

/* The next text of a list, or the text itself again. A document may be {"text":..}. */
static int
next_text(mete__call *call, size_t which, const mete__field *from, const char *name,
          mete_text *text, mete_error *err)
{
    mete__field element = *from;
    if (from->type == METE_JSON_ARRAY) {
        int got = mete__items_next(&call->items[which], &element, err);
        if (got <= 0)
            return got ? got : mete_error_set(err, METE_EDATA, "\"%s\" ends early", name);
    }
    if (element.type == METE_JSON_OBJECT) {
        mete_json *object = mete_json_parse(element.text, NULL);
        const mete_json *inner = mete_json_get(object, "text");
        mete_text said = mete_json_text(inner);
        if (mete_json_kind(inner) == METE_JSON_STRING) {
            element.type = METE_JSON_STRING;
            element.text =
                (mete_text){mete__arena_string(call->arena, said.data, said.length), said.length};
        }
        mete_json_free(object);
        if (!element.text.data)
            return mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    if (element.type != METE_JSON_STRING)
        return mete_error_set(err, METE_EDATA, "\"%s\" must be a text or a list of texts", name);
    *text = element.text;
    return METE_OK;
}

/* Pairs of a query, given once or for each, and documents. */
static int
read_pairs(mete__call *call, const mete__field *query, const char *query_name,
           const mete__field *documents, const char *name, mete_error *err)
{
    size_t queries = list_count(query), count = list_count(documents);
    mete_text asked = {"", 0};
    if (queries != 1 && queries != count)
        return mete_error_set(err, METE_EDATA,
                              "%zu in \"%s\" and %zu in \"%s\": one query, or as many as documents",
                              queries, query_name, count, name);
    int status = mete__call_room(call, count, 2, err);
    call->text = mete__arena_take(call->arena, count * sizeof *call->text);
    if (!status && !call->text)
        status = mete_error_set(err, METE_ENOMEM, "out of memory");
    if (!status && query->type == METE_JSON_ARRAY)
        status = mete__items_begin(&call->items[0], query->text, err);
    if (!status && documents->type == METE_JSON_ARRAY)
        status = mete__items_begin(&call->items[1], documents->text, err);
    for (size_t k = 0; k < count && !status; k++) {
        if (!k || queries > 1)
            status = next_text(call, 0, query, query_name, &asked, err);
        if (!status)
            status = next_text(call, 1, documents, name, &call->text[k], err);
        if (status)
            break;
        mete__given_text(call, k, call->setting.prompt, asked);
        mete__given_text(call, k, call->setting.response, call->text[k]);
    }
    const mete__field *model = mete__body_get(call, "model");
    if (model && model->type == METE_JSON_STRING)
        call->model = model->text;
    return status ? status : mete__body_bool(call, "use_activation", false, &call->activate, err);
}

int
mete__pairs_parse(mete__call *call, mete_error *err)
{
    const mete__field *query = mete__body_any(call, query_names, 3);
    const mete__field *documents = mete__body_any(call, document_names, 4);
    if (!query || !documents)
        return mete_error_set(err, METE_EDATA, "\"queries\" and \"documents\" must be there");
    return read_pairs(call, query, "queries", documents, "documents", err);
}

int
mete__pairs_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                   mete_error *err)
{
    put_head(call, "score", "list", out);
    mete_buffer_string(out, "\"data\":[");
    int status = put_each(call, scored, "\"object\":\"score\",\"score\":", "}", out, err);
    return status ? status : put_tail(scored, out);
}

/* ---- /rerank --------------------------------------------------------------------------------- */

/* The path that vLLM and SGLang answer differently. */
static bool
is_first_version(const mete__call *call)
{
    return strcmp(call->protocol->path, "/v1/rerank") == 0;
}

int
mete__rerank_parse(mete__call *call, mete_error *err)
{
    const mete__field *query = mete__body_get(call, "query");
    const mete__field *documents = mete__body_get(call, "documents");
    const mete__field *texts = mete__body_get(call, "texts");
    const mete__field *top = mete__body_get(call, "top_n");
    if (!query || query->type != METE_JSON_STRING)
        return mete_error_set(err, METE_EDATA, "\"query\" must be a text");
    if (!documents && !texts)
        return mete_error_set(err, METE_EDATA, "\"documents\" must be a list of texts");
    if (top &&
        (top->type != METE_JSON_NUMBER || !(top->number >= 0) || top->number != floor(top->number)))
        return mete_error_set(err, METE_EDATA, "\"top_n\" must be a whole number from 0");
    if (top && top->number >= 1 && top->number < 1e9)
        call->top = (size_t)top->number;
    int status = documents ? read_pairs(call, query, "query", documents, "documents", err)
                           : read_pairs(call, query, "query", texts, "texts", err);
    if (!status && documents && call->setting.bare && is_first_version(call)) {
        call->shape = SGLANG;
        return mete__body_bool(call, "return_documents", true, &call->many, err);
    }
    if (status || documents)
        return status;
    bool raw;
    call->shape = TEI;
    status = mete__body_bool(call, "raw_scores", false, &raw, err);
    call->activate = !raw;
    return status ? status : mete__body_bool(call, "return_text", false, &call->many, err);
}

typedef struct ranked {
    size_t index;
    double score;
} ranked;

/* From the best; equal ones in the order of the request; those without a score last. */
static int
by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    bool none = isnan(x->score), other = isnan(y->score);
    if (none != other)
        return none ? 1 : -1;
    if (!none && x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void
put_named(const char *before, mete_text text, const char *after, mete_buffer *out)
{
    mete_buffer_string(out, before);
    mete_json_put_text(out, text);
    mete_buffer_string(out, after);
}

static void
put_ranked(const mete__call *call, const mete__scored *scored, const ranked *r, mete_buffer *out)
{
    mete_text text = call->text[r->index];
    mete_buffer_format(out, "{\"index\":%zu,", r->index);
    if (call->shape == VLLM)
        put_named("\"document\":{\"text\":", text, "},", out);
    mete_buffer_string(out, call->shape == VLLM ? "\"relevance_score\":" : "\"score\":");
    mete__put_score(out, r->score);
    if (call->shape != VLLM && call->many)
        put_named(call->shape == TEI ? ",\"text\":" : ",\"document\":", text, "", out);
    if (call->shape == SGLANG)
        put_meta(scored, r->index, out);
    else
        mete_buffer_byte(out, '}');
}

int
mete__rerank_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                    mete_error *err)
{
    bool list = call->shape != VLLM;
    int status = METE_OK;
    ranked *all = malloc((call->count + 1) * sizeof *all);
    if (!all)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < call->count && !status; k++) {
        all[k].index = k;
        status = mete__scored_number(call, scored, k, &all[k].score, err);
    }
    if (!status) {
        qsort(all, call->count, sizeof *all, by_score);
        if (!list) {
            put_head(call, "rerank", NULL, out);
            mete_buffer_string(out, "\"results\":");
        }
        mete_buffer_byte(out, '[');
        for (size_t k = 0; k < call->count && k < call->top; k++) {
            if (k)
                mete_buffer_byte(out, ',');
            put_ranked(call, scored, &all[k], out);
        }
        if (list)
            mete_buffer_byte(out, ']');
        else
            put_tail(scored, out);
    }
    free(all);
    return status ? status : out->status;
}
