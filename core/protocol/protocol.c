/* protocol.c - the table of protocols, and what its families share. */
#include "protocol/protocol.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a body or a label: columns are looked up one after another. */
#define MOST_MEMBERS 1000

static const mete__protocol table[] = {
    {"/v1/score", "mete, vLLM",
     "records in, every node's value, spread and status out; or queries and documents",
     "{\"records\":[{\"prompt\":\"What is 2 + 2?\",\"response\":\"4\"}]}", mete__own_parse,
     mete__own_answer},
    {"/score", "vLLM", "queries and documents: a score a pair",
     "{\"queries\":\"What is 2 + 2?\",\"documents\":[\"4\",\"5\"]}", mete__own_parse,
     mete__own_answer},
    {"/get_reward", "OpenRLHF", "the remote reward model of all versions",
     "{\"query\":[\"What is 2 + 2? 4\"],\"prompts\":[\"What is 2 + 2?\"],\"labels\":[\"4\"]}",
     mete__openrlhf_parse, mete__openrlhf_answer},
    {"/rm", "slime", "remote_rm: a number",
     "{\"prompt\":\"What is 2 + 2?\",\"response\":\"4\",\"label\":\"4\"}", mete__slime_parse,
     mete__slime_answer},
    {"/rm_dict", "slime", "remote_rm with --reward-key reward",
     "{\"prompt\":\"What is 2 + 2?\",\"response\":\"4\",\"label\":\"4\"}", mete__slime_parse,
     mete__slime_answer_object},
    {"/reward", "eval-protocol", "messages judged, with metrics",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"2 + 2?\"},"
     "{\"role\":\"assistant\",\"content\":\"4\"}],\"ground_truth\":\"4\"}",
     mete__evaluation_parse, mete__evaluation_answer},
    {"/evaluate", "eval-protocol", "messages judged, further columns under kwargs",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"2 + 2?\"},"
     "{\"role\":\"assistant\",\"content\":\"4\"}],\"ground_truth\":\"4\",\"kwargs\":{}}",
     mete__evaluation_parse, mete__evaluation_answer},
    {"/verify", "NeMo-Gym", "a response object verified: the request with its reward",
     "{\"responses_create_params\":{\"input\":\"2 + 2?\"},\"response\":{\"output\":["
     "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"4\"}]}]}}",
     mete__gym_parse, mete__gym_answer},
    {"/seed_session", "NeMo-Gym", "nothing to seed: scores have no session", "{}",
     mete__gym_seed_parse, mete__gym_seed_answer},
    {"/classify", "vLLM, SGLang", "texts (input or messages: vLLM; text: SGLang) classified",
     "{\"input\":\"What is 2 + 2? 4\",\"use_activation\":false}", mete__classify_parse,
     mete__classify_answer},
    {"/v1/classify", "SGLang", "as vLLM's /classify", "{\"input\":[\"What is 2 + 2? 4\"]}",
     mete__classify_parse, mete__classify_answer},
    {"/pooling", "vLLM", "tasks classify and token_classify",
     "{\"input\":\"What is 2 + 2? 4\",\"task\":\"classify\",\"use_activation\":false}",
     mete__pooling_parse, mete__pooling_answer},
    {"/v1/embeddings", "SGLang", "a reward model's score as an embedding of one number",
     "{\"input\":\"What is 2 + 2? 4\"}", mete__embeddings_parse, mete__embeddings_answer},
    {"/rerank", "vLLM, TEI", "documents (vLLM) or texts (TEI) from the best to the worst",
     "{\"query\":\"What is 2 + 2?\",\"documents\":[\"5\",\"4\"]}", mete__rerank_parse,
     mete__rerank_answer},
    {"/v1/rerank", "vLLM, SGLang", "as /rerank; a list, as SGLang's, where serve.rerank says so",
     "{\"query\":\"What is 2 + 2?\",\"documents\":[\"4\"]}", mete__rerank_parse,
     mete__rerank_answer},
    {"/v2/rerank", "vLLM", "as /rerank", "{\"query\":\"What is 2 + 2?\",\"documents\":[\"4\"]}",
     mete__rerank_parse, mete__rerank_answer},
    {"/predict", "TEI", "a text, a pair or a batch of them",
     "{\"inputs\":[\"What is 2 + 2?\",\"4\"],\"raw_scores\":true}", mete__predict_parse,
     mete__predict_answer},
    {"/aggregate_metrics", "NeMo-Gym", "statistics of what /verify answered, by task and of all",
     "{\"verify_responses\":[{\"_ng_task_index\":0,\"_ng_rollout_index\":0,\"reward\":1.0}]}",
     mete__gym_metrics_parse, mete__gym_metrics_answer}};

const mete__protocol *
mete__protocols(size_t *count)
{
    *count = sizeof table / sizeof *table;
    return table;
}

const mete__protocol *
mete__protocol_find(mete_text path)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (mete_text_equal(path, mete_text_from(table[i].path)))
            return &table[i];
    return NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

int
mete__call_read(mete__call *call, const mete__protocol *protocol, const mete__setting *setting,
                mete_text body, mete_error *err)
{
    if (!call->arena && !(call->arena = mete__arena_new()))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    mete__arena_release(call->arena, (mete__arena_mark){0, 0});
    call->protocol = protocol;
    call->setting = *setting;
    call->given = NULL;
    call->count = 0;
    call->text = NULL;
    call->model = (mete_text){"", 0};
    call->many = call->activate = call->starved = false;
    call->top = SIZE_MAX;
    call->shape = 0;
    call->kept = NULL;
    int status = mete__record_parse(&call->body, body.data, body.length, err);
    if (!status && call->body.fields > MOST_MEMBERS)
        status = mete_error_set(err, METE_EDATA, "the body has more than %d members", MOST_MEMBERS);
    if (!status)
        status = protocol->parse(call, err);
    return status || !call->starved ? status : mete_error_set(err, METE_ENOMEM, "out of memory");
}

void
mete__call_free(mete__call *call)
{
    mete__record_free(&call->body);
    for (size_t i = 0; i < 3; i++)
        mete__items_free(&call->items[i]);
    if (call->arena)
        mete__arena_free(call->arena);
    *call = (mete__call){0};
}

void
mete__call_take(const mete__call *call, size_t k, mete__scoring *scoring, size_t slot)
{
    mete__part *part = &scoring->part[0];
    mete__given *given = &call->given[k];
    mete_error err = {0};
    if (!given->json.data) {
        /* dotted paths are walked with this thread's scanner, not the call's */
        if (!part->record.scan && mete__record_parse(&part->record, "{}", 2, NULL)) {
            mete__rows_bad(scoring->rows, slot, part, "out of memory");
            return;
        }
        given->record.scan = part->record.scan;
        mete__rows_take(scoring->rows, slot, part, &given->record, call->body.raw);
    } else if (mete__record_parse(&part->record, given->json.data, given->json.length, &err)) {
        scoring->rows->id_json[slot] = (mete_text){NULL, 0};
        mete__rows_bad(scoring->rows, slot, part, err.message);
    } else {
        mete__rows_take(scoring->rows, slot, part, &part->record, given->json);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

int
mete__call_room(mete__call *call, size_t count, size_t fields, mete_error *err)
{
    call->given = mete__arena_zero(call->arena, count * sizeof *call->given);
    mete__field *field = mete__arena_take(call->arena, count * fields * sizeof *field);
    if (!call->given || !field)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < count; k++) {
        call->given[k].record.field = field + k * fields;
        call->given[k].record.capacity = fields;
    }
    call->count = count;
    return METE_OK;
}

/* Twice the room, in the arena too. */
static bool
widen(mete__call *call, mete__record *record)
{
    size_t capacity = 2 * record->capacity + 4;
    mete__field *field = mete__arena_take(call->arena, capacity * sizeof *field);
    if (!field)
        return false;
    if (record->fields)
        memcpy(field, record->field, record->fields * sizeof *field);
    record->field = field;
    record->capacity = capacity;
    return true;
}

void
mete__given_field(mete__call *call, size_t k, mete_text key, const mete__field *field)
{
    mete__record *record = &call->given[k].record;
    if (mete__record_find(record, key))
        return;
    if (record->fields == record->capacity && !widen(call, record)) {
        call->starved = true;
        return;
    }
    record->field[record->fields] = *field;
    record->field[record->fields++].key = key;
}

void
mete__given_text(mete__call *call, size_t k, mete_text key, mete_text text)
{
    mete__field field = {.text = text, .number = NAN, .type = METE_JSON_STRING};
    mete__given_field(call, k, key, &field);
}

int
mete__given_members(mete__call *call, size_t k, mete_text object, mete_error *err)
{
    mete__record members = {0};
    int status = mete__record_parse(&members, object.data, object.length, err);
    if (!status && members.fields > MOST_MEMBERS)
        status = mete_error_set(err, METE_EDATA, "a label has more than %d members", MOST_MEMBERS);
    for (size_t i = 0; i < members.fields && !status; i++) {
        mete__field field = members.field[i];
        field.text.data = mete__arena_string(call->arena, field.text.data, field.text.length);
        const char *key = mete__arena_string(call->arena, field.key.data, field.key.length);
        if (!field.text.data || !key)
            status = mete_error_set(err, METE_ENOMEM, "out of memory");
        else
            mete__given_field(call, k, (mete_text){key, field.key.length}, &field);
    }
    mete__record_free(&members);
    return status;
}

int
mete__given_label(mete__call *call, size_t k, const char *own, const mete__field *label,
                  mete_error *err)
{
    if (!label || label->type == METE_JSON_NULL)
        return METE_OK;
    int status =
        label->type == METE_JSON_OBJECT ? mete__given_members(call, k, label->text, err) : METE_OK;
    mete__given_field(call, k, mete_text_from(own), label);
    if (call->setting.label.length)
        mete__given_field(call, k, call->setting.label, label);
    return status;
}

void
mete__given_rest(mete__call *call, size_t k, const char *const *names, size_t count)
{
    for (size_t i = 0; i < call->body.fields; i++) {
        const mete__field *field = &call->body.field[i];
        size_t n = 0;
        while (n < count && !mete_text_equal(field->key, mete_text_from(names[n])))
            n++;
        if (n == count)
            mete__given_field(call, k, field->key, field);
    }
}

int
mete__call_decode(mete__call *call, mete_text list, mete_text *text, mete_error *err)
{
    const mete_tokeniser *tokeniser = call->setting.tokeniser;
    if (!tokeniser)
        return mete_error_set(err, METE_EDATA,
                              "token ids cannot be read: the server's config names no "
                              "data.tokeniser; send the text");
    size_t most = mete__array_count(list), count = 0;
    int32_t *id = mete__arena_take(call->arena, (most + 1) * sizeof *id);
    mete_buffer out = {0};
    mete__field element;
    int got = 0, status = id ? mete__items_begin(&call->items[1], list, err)
                             : mete_error_set(err, METE_ENOMEM, "out of memory");
    while (!status && count < most &&
           (got = mete__items_next(&call->items[1], &element, err)) > 0) {
        if (element.type != METE_JSON_NUMBER || !(element.number >= 0) ||
            element.number >= METE_TOKENS_MOST || element.number != floor(element.number))
            status = mete_error_set(err, METE_EDATA, "token %zu is no token number", count + 1);
        else
            id[count++] = (int32_t)element.number;
    }
    if (!status)
        status = got < 0 ? got : mete_tokeniser_decode(tokeniser, id, count, 0, &out, err);
    const char *kept =
        status ? NULL : mete__arena_string(call->arena, out.data ? out.data : "", out.length);
    if (!status && !kept)
        status = mete_error_set(err, METE_ENOMEM, "out of memory");
    *text = (mete_text){kept, out.length};
    mete_buffer_free(&out);
    return status;
}

const mete__field *
mete__body_get(const mete__call *call, const char *name)
{
    const mete__field *field = mete__record_find(&call->body, mete_text_from(name));
    return field && field->type != METE_JSON_NULL ? field : NULL;
}

const mete__field *
mete__body_any(const mete__call *call, const char *const *names, size_t count)
{
    const mete__field *found = NULL;
    for (size_t i = 0; i < count && !found; i++)
        found = mete__body_get(call, names[i]);
    return found;
}

int
mete__body_bool(const mete__call *call, const char *name, bool def, bool *out, mete_error *err)
{
    const mete__field *field = mete__body_get(call, name);
    *out = field ? field->truth : def;
    if (field && field->type != METE_JSON_BOOL)
        return mete_error_set(err, METE_EDATA, "\"%s\" must be true or false", name);
    return METE_OK;
}

/* The quote that ends the string which begins at `at`: the first with an even number of backslashes
 * before it. */
static size_t
string_end(mete_text text, size_t at)
{
    for (size_t from = at; from < text.length; from++) {
        const char *quote = memchr(text.data + from, '"', text.length - from);
        if (!quote)
            break;
        size_t end = (size_t)(quote - text.data), slashes = 0;
        while (end - slashes > at && text.data[end - slashes - 1] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            return end;
        from = end;
    }
    return text.length;
}

/* The array stands in a body that was found valid, so commas outside strings and brackets part its
 * elements. */
size_t
mete__array_count(mete_text array)
{
    size_t depth = 0, commas = 0;
    bool any = false;
    for (size_t i = 0; i < array.length; i++)
        switch (array.data[i]) {
        case '"':
            any = true;
            i = string_end(array, i + 1);
            break;
        case '[':
        case '{':
            any |= depth > 0;
            depth++;
            break;
        case ']':
        case '}':
            depth--;
            break;
        case ',':
            commas += depth == 1;
            break;
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            break;
        default:
            any = true;
        }
    return any ? commas + 1 : 0;
}

/* ---- scores ---------------------------------------------------------------------------------- */

static uint8_t
node_value(const mete__scored *scored, size_t n, size_t k, double *value)
{
    const mete__report_sum *sum = &scored->scoring->sum;
    const mete__shown *shown = &sum->shown[n];
    uint32_t row = sum->row[scored->first + k];
    uint8_t status = row == UINT32_MAX ? METE_FAILED
                     : !shown->scores  ? METE_NOT_APPLICABLE
                                       : shown->scores->status[row];
    *value = status == METE_VALID ? shown->scores->episode[row] : NAN;
    return status;
}

uint8_t
mete__scored_value(const mete__scored *scored, size_t k, double *value, const char **reason)
{
    const mete__report_sum *sum = &scored->scoring->sum;
    uint8_t status = node_value(scored, 0, k, value);
    uint32_t row = sum->row[scored->first + k];
    if (status == METE_VALID)
        *reason = "";
    else if (row == UINT32_MAX)
        *reason = scored->scoring->rows->bad[scored->first + k];
    else
        *reason = mete__node_reason(sum->shown[0].node, row);
    return status;
}

uint8_t
mete__scored_node(const mete__scored *scored, size_t n, size_t k, double *value)
{
    return node_value(scored, n + 1, k, value);
}

size_t
mete__scored_nodes(const mete__scored *scored)
{
    return scored->scoring ? scored->scoring->sum.showns - 1 : 0;
}

const char *
mete__scored_name(const mete__scored *scored, size_t n)
{
    return scored->scoring->sum.shown[n + 1].name;
}

int
mete__scored_number(const mete__call *call, const mete__scored *scored, size_t k, double *value,
                    mete_error *err)
{
    const char *reason;
    uint8_t status = mete__scored_value(scored, k, value, &reason);
    if (status == METE_VALID) {
        *value = call->activate ? 1 / (1 + exp(-*value)) : *value;
        return METE_OK;
    }
    *value = scored->missing == METE__MISSING_ZERO ? 0 : NAN;
    if (scored->missing != METE__MISSING_ERROR)
        return METE_OK;
    bool unread = scored->scoring->sum.row[scored->first + k] == UINT32_MAX;
    int code = unread                          ? METE_EDATA
               : status == METE_NOT_APPLICABLE ? METE_ENOTSUP
               : status == METE_TIMED_OUT      ? METE_ETIMEOUT
                                               : METE_EIO;
    return mete_error_set(err, code, "record %zu has no score (%s)%s%s", k + 1,
                          mete__status_name(status), *reason ? ": " : "", reason);
}

void
mete__put_version(const mete__scored *scored, mete_buffer *out)
{
    mete_buffer_string(out, "\"version\":");
    mete_json_put_text(out, mete_text_from(scored->version));
}
