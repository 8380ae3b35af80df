/* learnt.h - criteria for all prompts that a generator learnt: kept by the instance, saved with the
 * run as the JSON that criteria.h reads. */
#include "criteria.h"
#include <stdlib.h>
#include <string.h>

struct learnt {
    mete_buffer json; /* a list; empty: nothing was learnt */
};

static inline void
learnt_free(struct learnt *l)
{
    mete_buffer_free(&l->json);
}

static inline int
learnt_save(mete_ctx *cx, const struct learnt *l)
{
    return l->json.length ? mete_save_bytes(cx, l->json.data, l->json.length) : METE_OK;
}

static inline int
learnt_load(mete_ctx *cx, struct learnt *l, const void *bytes, size_t length)
{
    mete_text text = {bytes, length};
    mete_buffer_clear(&l->json);
    if (!length)
        return METE_OK;
    mete_json *list = criteria_parse(cx, text, "what was learnt: ");
    if (!list)
        return METE_EDATA;
    mete_json_free(list);
    return mete_buffer_text(&l->json, text) ? mete_fail(cx, METE_ENOMEM, "out of memory") : METE_OK;
}

/* Adds what was learnt to a prompt's criteria. */
static inline int
learnt_add(mete_ctx *cx, const struct learnt *l, const char *source, mete_criteria *out, size_t row)
{
    int status = METE_OK;
    if (!l->json.length)
        return METE_OK;
    mete_json *list = criteria_parse(cx, mete_buffer_view(&l->json), "what was learnt: ");
    for (const mete_json *at = mete_json_first(list); at && !status; at = mete_json_next(at)) {
        mete_criterion criterion;
        status = criterion_read(cx, at, "what was learnt: ", &criterion);
        criterion.source = mete_text_from(source);
        if (!status)
            status = mete_criterion_add(cx, out, row, &criterion);
    }
    mete_json_free(list);
    return list ? status : METE_EDATA;
}

/* Replaces what was learnt. */
static inline int
learnt_set(mete_ctx *cx, struct learnt *l, const mete_criterion *item, size_t count)
{
    mete_buffer_clear(&l->json);
    for (size_t k = 0; k < count; k++) {
        mete_buffer_string(&l->json, k ? ",{\"criterion\":" : "[{\"criterion\":");
        mete_json_put_text(&l->json, item[k].text);
        mete_buffer_string(&l->json, ",\"points\":");
        mete_json_put_number(&l->json, item[k].points);
        if (item[k].check.length) {
            mete_buffer_string(&l->json, ",\"check\":");
            mete_json_put_text(&l->json, item[k].check);
            mete_buffer_string(&l->json, ",\"target\":");
            mete_json_put_text(&l->json, item[k].target);
        }
        mete_buffer_byte(&l->json, '}');
    }
    mete_buffer_string(&l->json, count ? "]" : "");
    return l->json.status ? mete_fail(cx, METE_ENOMEM, "out of memory for criteria") : METE_OK;
}
