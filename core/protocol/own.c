/* own.c - mete's own shape: {"records":[..]}, or a record as the body; results as `mete score
 * --nodes` writes them. Bodies with documents are vLLM's, which has the same path.
 */
#include "protocol/protocol.h"

enum { OWN, PAIRS };

int
mete__own_parse(mete__call *call, mete_error *err)
{
    static const char *const foreign[] = {"documents", "items", "data_2", "text_2"};
    const mete__field *records = mete__body_get(call, "records");
    mete__field element;
    if (!records && mete__body_any(call, foreign, 4)) {
        call->shape = PAIRS;
        return mete__pairs_parse(call, err);
    }
    call->many = records != NULL;
    if (!records) {
        int status = mete__call_room(call, 1, 0, err);
        if (!status)
            call->given[0].json = call->body.raw;
        return status;
    }
    if (records->type != METE_JSON_ARRAY)
        return mete_error_set(err, METE_EDATA, "\"records\" must be a list of objects");
    size_t k = 0;
    int status = mete__call_room(call, mete__array_count(records->text), 0, err), got = 0;
    if (!status)
        status = mete__items_begin(&call->items[0], records->text, err);
    while (!status && k < call->count &&
           (got = mete__items_next(&call->items[0], &element, err)) > 0) {
        if (element.type != METE_JSON_OBJECT)
            return mete_error_set(err, METE_EDATA, "record %zu is no object", k + 1);
        call->given[k++].json = element.text;
    }
    return status ? status : got < 0 ? got : METE_OK;
}

int
mete__own_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                 mete_error *err)
{
    if (call->shape == PAIRS)
        return mete__pairs_answer(call, scored, out, err);
    mete_buffer_byte(out, '{');
    mete__put_version(scored, out);
    mete_buffer_string(out, ",\"results\":[");
    for (size_t k = 0; k < call->count; k++) {
        size_t slot = scored->first + k;
        if (k)
            mete_buffer_byte(out, ',');
        mete__score_write(&scored->scoring->sum, scored->scoring->rows, slot, slot + 1, out);
        if (!out->status && out->length)
            out->length--; /* its line break */
    }
    mete_buffer_string(out, "]}");
    return out->status;
}
