/* static - criteria that are the same for every prompt, from the config, or that stand in each
 * record as HealthBench has them (see criteria.h). */
#include "criteria.h"

struct item {
    const char *text, *check, *target;
    double points;
    int64_t scale;
    mete_strings tags;
};

struct fixed {
    mete_list criteria; /* of struct item */
    mete_strings tags;  /* none: criteria of any tags, or without */
    mete_field rubrics;
};

static const mete_option item_options[] = {
    METE_STRING(struct item, text, NULL, METE_REQUIRED, "the criterion, for people and judges"),
    METE_REAL(struct item, points, 1, -1e6, 1e6, "points when met; negative for a fault"),
    METE_STRING(struct item, check, NULL, 0, "the program that decides it; absent: a judge does"),
    METE_STRING(struct item, target, NULL, 0, "the program's argument"),
    METE_INT(struct item, scale, 0, 0, 9, "grades of a scale; 0: it is met or not"),
    METE_STRINGS(struct item, tags, 0, "what it is about"),
    METE_OPTIONS_END};

static const mete_option options[] = {
    METE_LIST_OF(struct fixed, criteria, struct item, item_options, 0, "criteria of every prompt"),
    METE_STRINGS(struct fixed, tags, 0, "only the criteria that have one of these tags"),
    METE_FIELD(struct fixed, rubrics, "rubrics", METE_EPISODE, METE_JSON, METE_OPTIONAL,
               "the column that holds each record's own"),
    METE_OPTIONS_END};

static int
is_wanted(const struct fixed *p, mete_text tag)
{
    for (size_t i = 0; i < p->tags.count; i++)
        if (mete_text_is(tag, p->tags.item[i]))
            return 1;
    return 0;
}

static int
wants_item(const struct fixed *p, const struct item *item)
{
    int wanted = !p->tags.count;
    for (size_t i = 0; i < item->tags.count; i++)
        wanted |= is_wanted(p, mete_text_from(item->tags.item[i]));
    return wanted;
}

static int
wants_object(const struct fixed *p, const mete_json *object)
{
    int wanted = !p->tags.count;
    const mete_json *tag = mete_json_first(mete_json_get(object, "tags"));
    for (; tag; tag = mete_json_next(tag))
        wanted |= mete_json_kind(tag) == METE_JSON_STRING && is_wanted(p, mete_json_text(tag));
    return wanted;
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

static int
add_column(mete_ctx *cx, const struct fixed *p, mete_criteria *out, size_t row, mete_text text)
{
    mete_json *list = criteria_parse(cx, text, "");
    int status = list ? METE_OK : METE_EDATA;
    for (const mete_json *at = mete_json_first(list); at && !status; at = mete_json_next(at)) {
        mete_criterion criterion;
        status = criterion_read(cx, at, "", &criterion);
        if (!status && wants_object(p, at))
            status = mete_criterion_add(cx, out, row, &criterion);
    }
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
            if (wants_item(p, &item[k]))
                status = add_item(cx, out, row, &item[k]);
        if (!status && own && own[row].length)
            status = add_column(cx, p, out, row, own[row]);
    }
    return status;
}

METE_RUBRIC_PLUGIN(
    static, "1.1", "criteria of the config, or of each record",
    .doc = "generator = { use = \"static\"; criteria = (\n"
           "    { text = \"Says when to see a doctor\"; points = 5.0; },\n"
           "    { text = \"Invents a number\"; points = -3.0; },\n"
           "    { text = \"Clear\"; scale = 5; },\n"
           "    { text = \"Short\"; check = \"length\"; target = \"1..120\"; } ); };\n"
           "generator = { use = \"static\"; };   # of a column `rubrics`, as in HealthBench\n"
           "generator = { use = \"static\"; tags = [ \"axis:accuracy\" ]; };   # a part of it\n",
    .options = options, .state_size = sizeof(struct fixed), .generate = generate);
