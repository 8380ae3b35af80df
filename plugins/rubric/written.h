/* written.h - criteria in a model's answer: {"criteria": [{"criterion": "...", "points": 5}]}. What
 * a model writes is for judges: no programs. */
#include "ask.h"
#include "criteria.h"

/* Is this a list of objects, each with a text, and points that are a number within the bounds or
 * absent? */
static inline int
is_rubric(const mete_json *list)
{
    for (const mete_json *at = mete_json_first(list); at; at = mete_json_next(at)) {
        const mete_json *points = either(at, "points", "weight");
        if (!mete_json_text(either(at, "criterion", "description")).length ||
            (points && !(fabs(mete_json_number(points)) <= 100)))
            return 0;
    }
    return mete_json_kind(list) == METE_JSON_ARRAY && mete_json_count(list) > 0;
}

/* Adds the first `most` criteria of the answer; *found says whether it had any. */
static inline int
read_written(mete_ctx *cx, mete_text answer, int64_t most, const char *source, mete_criteria *out,
             size_t row, int *found)
{
    mete_json *last = last_object(answer, "criteria", is_rubric);
    const mete_json *item = mete_json_first(mete_json_get(last, "criteria"));
    int status = METE_OK;
    for (int64_t k = 0; item && k < most && !status; k++, item = mete_json_next(item)) {
        const mete_json *points = either(item, "points", "weight");
        mete_criterion criterion = {.size = sizeof criterion,
                                    .kind = METE_CRITERION_JUDGED,
                                    .text =
                                        mete_json_text(either(item, "criterion", "description")),
                                    .points = points ? mete_json_number(points) : 1,
                                    .parent = -1,
                                    .source = mete_text_from(source)};
        status = mete_criterion_add(cx, out, row, &criterion);
    }
    *found = last != NULL;
    mete_json_free(last);
    return status;
}
