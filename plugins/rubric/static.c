/* static - criteria that are the same for every prompt, from the config, or that stand in each
 * record as HealthBench has them.
 *
 * A record's column holds a JSON list of objects:
 *   {"criterion": "Says when to see a doctor", "points": 5}
 * as in HealthBench's files (Arora et al. 2025, arXiv:2505.08775), with, where a program decides,
 * "check" and "target" (see the reward `rubric`), and "scale" for one graded from 1 to that.
 * "description" and "weight" stand for criterion and points in others' files.
 */
#include <math.h>
#include <mete/rubric.h>
#include <mete/text.h>
#include <string.h>

#define MOST_CRITERIA 10000 /* of one record */

struct item {
    const char *text, *check, *target;
    double points;
    int64_t scale;
};

struct fixed {
    mete_list criteria; /* of struct item */
    mete_field rubrics;
};

static const mete_option item_options[] = {
    METE_STRING(struct item, text, NULL, METE_REQUIRED, "the criterion, for people and judges"),
    METE_REAL(struct item, points, 1, -1e6, 1e6, "points when met; negative for a fault"),
    METE_STRING(struct item, check, NULL, 0, "the program that decides it; absent: a judge does"),
    METE_STRING(struct item, target, NULL, 0, "the program's argument"),
    METE_INT(struct item, scale, 0, 0, 9, "grades of a scale; 0: it is met or not"),
    METE_OPTIONS_END};

static const mete_option options[] = {
    METE_LIST_OF(struct fixed, criteria, struct item, item_options, 0, "criteria of every prompt"),
    METE_FIELD(struct fixed, rubrics, "rubrics", METE_EPISODE, METE_JSON, METE_OPTIONAL,
               "the column that holds each record's own"),
    METE_OPTIONS_END};

/* Fills in how the criterion is decided. */
static void
set_kind(mete_criterion *criterion)
{
    criterion->kind = criterion->check.length ? METE_CRITERION_PROGRAM
                      : criterion->scale      ? METE_CRITERION_ORDINAL
                                              : METE_CRITERION_JUDGED;
}

static int
add_item(mete_ctx *cx, mete_criteria *out, size_t row, const struct item *item)
{
    mete_criterion criterion = {.size = sizeof criterion,
                                .text = mete_text_from(item->text),
                                .points = item->points,
                                .check = mete_text_from(item->check ? item->check : ""),
                                .target = mete_text_from(item->target ? item->target : ""),
                                .scale = (int32_t)item->scale,
                                .parent = -1};
    set_kind(&criterion);
    return mete_criterion_add(cx, out, row, &criterion);
}

static const mete_json *
either(const mete_json *object, const char *one, const char *other)
{
    const mete_json *found = mete_json_get(object, one);
    return found ? found : mete_json_get(object, other);
}

static int
add_object(mete_ctx *cx, mete_criteria *out, size_t row, const mete_json *object)
{
    const mete_json *points = either(object, "points", "weight");
    mete_criterion criterion = {.size = sizeof criterion,
                                .text = mete_json_text(either(object, "criterion", "description")),
                                .points = points ? mete_json_number(points) : 1,
                                .check = mete_json_text(mete_json_get(object, "check")),
                                .target = mete_json_text(mete_json_get(object, "target")),
                                .parent = -1};
    double scale = mete_json_number(mete_json_get(object, "scale"));
    criterion.scale = scale >= 2 && scale <= 9 ? (int32_t)scale : 0;
    if (!criterion.text.length && !criterion.check.length)
        return mete_fail(cx, METE_EDATA, "a criterion has no text \"criterion\"");
    if (!isfinite(criterion.points) || fabs(criterion.points) > 1e6)
        return mete_fail(cx, METE_EDATA, "criterion '%.*s' has no number of \"points\"",
                         (int)(criterion.text.length < 60 ? criterion.text.length : 60),
                         criterion.text.data ? criterion.text.data : "");
    set_kind(&criterion);
    return mete_criterion_add(cx, out, row, &criterion);
}

static int
add_column(mete_ctx *cx, mete_criteria *out, size_t row, mete_text text)
{
    mete_error err = {0};
    mete_json *list = mete_json_parse(text, &err);
    int status = METE_OK;
    if (mete_json_kind(list) != METE_JSON_ARRAY || mete_json_count(list) > MOST_CRITERIA)
        status = mete_fail(cx, METE_EDATA, "a record's criteria are no JSON list of at most %d%s%s",
                           MOST_CRITERIA, list ? "" : ": ", list ? "" : err.message);
    for (const mete_json *at = mete_json_first(list); at && !status; at = mete_json_next(at))
        status = add_object(cx, out, row, at);
    mete_json_free(list);
    return status;
}

static int
generate(mete_ctx *cx, const void *self, const mete_batch *prompts, mete_criteria *out)
{
    const struct fixed *p = self;
    const struct item *item = p->criteria.item;
    const mete_text *own = mete_text_of(prompts, &p->rubrics);
    int status = METE_OK;
    if (!own && !p->criteria.count)
        return mete_fail(cx, METE_EDATA,
                         "has no criteria: give `criteria`, or records with a column '%s'",
                         p->rubrics.name);
    for (size_t row = 0; row < prompts->episodes && !status; row++) {
        for (size_t k = 0; k < p->criteria.count && !status; k++)
            status = add_item(cx, out, row, &item[k]);
        if (!status && own && own[row].length)
            status = add_column(cx, out, row, own[row]);
    }
    return status;
}

METE_RUBRIC_PLUGIN(
    static, "1.0", "criteria of the config, or of each record",
    .doc = "generator = { use = \"static\"; criteria = (\n"
           "    { text = \"Says when to see a doctor\"; points = 5.0; },\n"
           "    { text = \"Invents a number\"; points = -3.0; },\n"
           "    { text = \"Clear\"; scale = 5; },\n"
           "    { text = \"Short\"; check = \"length\"; target = \"1..120\"; } ); };\n"
           "generator = { use = \"static\"; };   # of a column `rubrics`, as in HealthBench\n",
    .options = options, .state_size = sizeof(struct fixed), .generate = generate);
