/* predict.c - TEI's /predict: one text, a pair ["a","b"] of prompt and response, or a batch of
 * [["a"],["b","c"],..]. Scores go through a sigmoid unless raw_scores is true.
 */
#include "protocol/protocol.h"

/* One input: a text, or a list of one or two. */
static int
take_input(mete__call *call, size_t k, mete_text list, mete_error *err)
{
    mete__field part[2];
    size_t count = mete__array_count(list);
    if (count < 1 || count > 2)
        return mete_error_set(err, METE_EDATA,
                              "input %zu has %zu texts: one, or a prompt and a response", k + 1,
                              count);
    int status = mete__items_begin(&call->items[1], list, err);
    for (size_t i = 0; i < count && !status; i++) {
        int got = mete__items_next(&call->items[1], &part[i], err);
        if (got != 1 || part[i].type != METE_JSON_STRING)
            return mete_error_set(err, METE_EDATA, "input %zu is no text", k + 1);
        /* decoded text lasts until the next list */
        part[i].text.data = mete__arena_string(call->arena, part[i].text.data, part[i].text.length);
        if (!part[i].text.data)
            status = mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    if (status)
        return status;
    mete_text prompt = part[0].text, response = part[count - 1].text;
    if (count == 1)
        mete_dialogue_split(part[0].text, (mete_text){"", 0}, &prompt, &response);
    mete__given_text(call, k, call->setting.prompt, prompt);
    mete__given_text(call, k, call->setting.response, response);
    return METE_OK;
}

static int
read_batch(mete__call *call, mete_text inputs, mete_error *err)
{
    mete__field element;
    size_t k = 0;
    int status = mete__call_room(call, mete__array_count(inputs), 2, err), got = 0;
    if (!status)
        status = mete__items_begin(&call->items[0], inputs, err);
    while (!status && k < call->count &&
           (got = mete__items_next(&call->items[0], &element, err)) > 0) {
        if (element.type != METE_JSON_ARRAY)
            return mete_error_set(err, METE_EDATA, "input %zu of the batch is no list of texts",
                                  k + 1);
        status = take_input(call, k++, element.text, err);
    }
    return status ? status : got < 0 ? got : METE_OK;
}

int
mete__predict_parse(mete__call *call, mete_error *err)
{
    const mete__field *inputs = mete__body_get(call, "inputs");
    mete__field first = {0};
    bool raw;
    int status = mete__body_bool(call, "raw_scores", false, &raw, err);
    call->activate = !raw;
    if (status)
        return status;
    if (inputs && inputs->type == METE_JSON_STRING) {
        mete_text before, answer;
        mete_dialogue_split(inputs->text, (mete_text){"", 0}, &before, &answer);
        status = mete__call_room(call, 1, 2, err);
        if (!status) {
            mete__given_text(call, 0, call->setting.prompt, before);
            mete__given_text(call, 0, call->setting.response, answer);
        }
        return status;
    }
    if (!inputs || inputs->type != METE_JSON_ARRAY)
        return mete_error_set(err, METE_EDATA, "\"inputs\" must be a text, a pair or a list");
    status = mete__items_begin(&call->items[0], inputs->text, err);
    int got = status ? status : mete__items_next(&call->items[0], &first, err);
    if (got < 0)
        return got;
    call->many = first.type == METE_JSON_ARRAY || !got;
    if (call->many)
        return read_batch(call, inputs->text, err);
    status = mete__call_room(call, 1, 2, err);
    return status ? status : take_input(call, 0, inputs->text, err);
}

int
mete__predict_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                     mete_error *err)
{
    if (call->many)
        mete_buffer_byte(out, '[');
    for (size_t k = 0; k < call->count; k++) {
        double value;
        int status = mete__scored_number(call, scored, k, &value, err);
        if (status)
            return status;
        mete_buffer_string(out, k ? ",[{\"score\":" : "[{\"score\":");
        mete__put_score(out, value);
        mete_buffer_string(out, ",\"label\":\"LABEL_0\"}]");
    }
    if (call->many)
        mete_buffer_byte(out, ']');
    return out->status;
}
