/* criteria.h - criteria as records hold them: a JSON list of objects, as in HealthBench's files
 * (Arora et al. 2025, arXiv:2505.08775):
 *   {"criterion": "Says when to see a doctor", "points": 5}
 * with, where a program decides, "check" and "target" (see the reward `rubric`), and "scale" for
 * one graded from 1 to that. "description" or "requirements" and "weight" stand for criterion and
 * points in others' files. One with a list "parts", in PaperBench's files "sub_tasks" (Starace et
 * al. 2025, arXiv:2504.01848), is a tree: met as far as its parts are, by their weights. */
#ifndef RUBRIC_CRITERIA_H
#define RUBRIC_CRITERIA_H

#include <math.h>
#include <mete/rubric.h>
#include <mete/text.h>

#define MOST_CRITERIA 10000 /* of one record */

#define DEEPEST 32 /* levels of a tree */

/* Fills in how the criterion is decided. */
static inline void
set_kind(mete_criterion *criterion)
{
    criterion->kind = criterion->check.length ? METE_CRITERION_PROGRAM
                      : criterion->scale      ? METE_CRITERION_ORDINAL
                                              : METE_CRITERION_JUDGED;
}

static inline const mete_json *
either(const mete_json *object, const char *one, const char *other)
{
    const mete_json *found = mete_json_get(object, one);
    return found ? found : mete_json_get(object, other);
}

/* The criteria a criterion is made of; NULL: none. */
static inline const mete_json *
parts_of(const mete_json *object)
{
    const mete_json *parts = either(object, "parts", "sub_tasks");
    return mete_json_kind(parts) == METE_JSON_ARRAY ? mete_json_first(parts) : NULL;
}

/* One object as a criterion; its texts are the object's. `where` begins the message of a failure.
 */
static inline int
criterion_read(mete_ctx *cx, const mete_json *object, const char *where, mete_criterion *out)
{
    const mete_json *points = either(object, "points", "weight");
    double scale = mete_json_number(mete_json_get(object, "scale"));
    const mete_json *text = either(object, "criterion", "description");
    *out = (mete_criterion){.size = sizeof *out,
                            .id = mete_json_text(mete_json_get(object, "id")),
                            .text =
                                mete_json_text(text ? text : mete_json_get(object, "requirements")),
                            .points = points ? mete_json_number(points) : 1,
                            .check = mete_json_text(mete_json_get(object, "check")),
                            .target = mete_json_text(mete_json_get(object, "target")),
                            .scale = scale >= 2 && scale <= 9 ? (int32_t)scale : 0,
                            .parent = -1};
    if (!out->text.length && !out->check.length)
        return mete_fail(cx, METE_EDATA, "%sa criterion has no text \"criterion\"", where);
    if (!isfinite(out->points) || fabs(out->points) > 1e6)
        return mete_fail(cx, METE_EDATA, "%scriterion '%.*s' has no number of \"points\"", where,
                         (int)(out->text.length < 60 ? out->text.length : 60),
                         out->text.data ? out->text.data : "");
    set_kind(out);
    if (parts_of(object))
        out->kind = METE_CRITERION_PARTS;
    return METE_OK;
}

/* The list in `text` (or the root of one tree), for the caller to free; NULL after a failure. */
static inline mete_json *
criteria_parse(mete_ctx *cx, mete_text text, const char *where)
{
    mete_error err = {0};
    mete_json *list = mete_json_parse(text, &err);
    if (mete_json_kind(list) == METE_JSON_ARRAY && mete_json_count(list) <= MOST_CRITERIA)
        return list;
    if (mete_json_kind(list) == METE_JSON_OBJECT)
        return list;
    mete_fail(cx, METE_EDATA, "%sa record's criteria are no JSON list of at most %d%s%s", where,
              MOST_CRITERIA, list ? "" : ": ", list ? "" : err.message);
    mete_json_free(list);
    return NULL;
}

#endif
