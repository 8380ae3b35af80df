/* openrlhf.c - OpenRLHF's remote reward model, all versions since 2024-07: {"query":[..]}, from
 * 2025-02 with "prompts" and "labels", from 2026-01 one record a request, and empty lists to all
 * servers but the first, which must be answered by empty lists.
 */
#include "protocol/protocol.h"

#include <math.h>

/* An optional list as long as the queries. */
static int
begin_list(mete__call *call, size_t which, const char *name, bool *given, mete_error *err)
{
    const mete__field *field = mete__body_get(call, name);
    *given = false;
    if (!field)
        return METE_OK;
    if (field->type != METE_JSON_ARRAY)
        return mete_error_set(err, METE_EDATA, "\"%s\" must be a list", name);
    size_t count = mete__array_count(field->text);
    if (count && count != call->count)
        return mete_error_set(err, METE_EDATA, "\"%s\" has %zu elements, \"query\" %zu", name,
                              count, call->count);
    *given = count > 0;
    return mete__items_begin(&call->items[which], field->text, err);
}

static int
read_one(mete__call *call, size_t k, bool prompts, bool labels, mete_error *err)
{
    mete__field query, prompt = {0}, label = {0};
    int got = mete__items_next(&call->items[0], &query, err);
    if (got > 0 && prompts)
        got = mete__items_next(&call->items[1], &prompt, err);
    if (got > 0 && labels)
        got = mete__items_next(&call->items[2], &label, err);
    if (got <= 0)
        return got ? got : mete_error_set(err, METE_EDATA, "a list ends early");
    if (query.type != METE_JSON_STRING)
        return mete_error_set(err, METE_EDATA, "query %zu is no text", k + 1);
    mete_text before, answer, none = {"", 0};
    bool text = prompt.type == METE_JSON_STRING;
    mete_dialogue_split(query.text, text ? prompt.text : none, &before, &answer);
    if (prompt.type == METE_JSON_ARRAY)
        mete__given_field(call, k, call->setting.prompt, &prompt);
    else
        mete__given_text(call, k, call->setting.prompt, before);
    mete__given_text(call, k, call->setting.response, answer);
    return mete__given_label(call, k, "label", labels ? &label : NULL, err);
}

int
mete__openrlhf_parse(mete__call *call, mete_error *err)
{
    const mete__field *query = mete__body_get(call, "query");
    bool prompts = false, labels = false;
    if (!query || query->type != METE_JSON_ARRAY)
        return mete_error_set(err, METE_EDATA, "\"query\" must be a list of texts");
    call->many = true;
    size_t count = mete__array_count(query->text);
    int status = mete__call_room(call, count, 4, err);
    if (!status)
        status = mete__items_begin(&call->items[0], query->text, err);
    if (!status)
        status = begin_list(call, 1, "prompts", &prompts, err);
    if (!status)
        status = begin_list(call, 2, "labels", &labels, err);
    for (size_t k = 0; k < count && !status; k++)
        status = read_one(call, k, prompts, labels, err);
    return status;
}

/* "name":[..] of a node; where it has no value 0, and 0 in "name_valid". Both are always there:
 * what logs them wants the same keys each time. */
static void
put_log(const mete__call *call, const mete__scored *scored, size_t n, bool valid, mete_buffer *out)
{
    mete_buffer key = {0};
    mete_buffer_format(&key, "%s%s", mete__scored_name(scored, n), valid ? "_valid" : "");
    mete_json_put_text(out, mete_buffer_view(&key));
    mete_buffer_free(&key);
    mete_buffer_string(out, ":[");
    for (size_t k = 0; k < call->count; k++) {
        double value;
        bool there = mete__scored_node(scored, n, k, &value) == METE_VALID;
        if (k)
            mete_buffer_byte(out, ',');
        mete__put_score(out, valid ? there : there ? value : 0);
    }
    mete_buffer_byte(out, ']');
}

int
mete__openrlhf_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                      mete_error *err)
{
    for (int clipped = 0; clipped < 2; clipped++) {
        mete_buffer_string(out, clipped ? "],\"scores\":[" : "{\"rewards\":[");
        for (size_t k = 0; k < call->count; k++) {
            double value;
            int status = mete__scored_number(call, scored, k, &value, err);
            if (status)
                return status;
            if (clipped && !isnan(value))
                value = value < 0 ? 0 : value > 1 ? 1 : value;
            if (k)
                mete_buffer_byte(out, ',');
            mete__put_score(out, value);
        }
    }
    mete_buffer_string(out, "],\"extra_logs\":{");
    for (size_t n = 0; call->count && n < mete__scored_nodes(scored); n++) {
        if (n)
            mete_buffer_byte(out, ',');
        put_log(call, scored, n, false, out);
        mete_buffer_byte(out, ',');
        put_log(call, scored, n, true, out);
    }
    mete_buffer_string(out, "},");
    mete__put_version(scored, out);
    mete_buffer_byte(out, '}');
    return out->status;
}
