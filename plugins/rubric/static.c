/* static - criteria that are the same for every prompt, from the config, or that stand in each
 * record as HealthBench or PaperBench have them (see criteria.h). */
#include "criteria.h"

struct item {
    const char *text, *check, *target, *id, *part_of;
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
    METE_STRING(struct item, id, NULL, 0, "a name by which others are part of it"),
    METE_STRING(struct item, part_of, NULL, 0,
                "the id of one before it that is met as far as its parts are, by their points"),
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

/* The criteria of a row as they are added. */
struct adding {
    mete_ctx *cx;
    const struct fixed *p;
    mete_criteria *out;
    size_t row;
    int32_t count;
};

static int
add(struct adding *a, const mete_criterion *criterion)
{
    if (a->count == MOST_CRITERIA)
        return mete_fail(a->cx, METE_EDATA, "more than %d criteria of one prompt", MOST_CRITERIA);
    a->count++;
    return mete_criterion_add(a->cx, a->out, a->row, criterion);
}

/* Place of the item that this one is part of among those before it; -1: of none. */
static int32_t
place_of(const struct item *item, size_t count, const char *id)
{
    for (size_t i = 0; id && i < count; i++)
        if (item[i].id && mete_text_is(mete_text_from(item[i].id), id))
            return (int32_t)i;
    return -1;
}

static int
has_parts(const struct fixed *p, const char *id)
{
    const struct item *item = p->criteria.item;
    for (size_t i = 0; id && i < p->criteria.count; i++)
        if (item[i].part_of && mete_text_is(mete_text_from(item[i].part_of), id))
            return 1;
    return 0;
}

/* Items of the config. Where tags choose, whole trees are chosen by their roots. */
static int
add_items(struct adding *a)
{
    const struct item *item = a->p->criteria.item;
    size_t count = a->p->criteria.count;
    int32_t *place = mete_arena(a->cx, (count + 1) * sizeof *place); /* in the row, plus 1 */
    int status = place ? METE_OK : mete_fail(a->cx, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < count && !status; k++) {
        int32_t parent = place_of(item, k, item[k].part_of);
        if (parent >= 0 ? !place[parent] : !wants_item(a->p, &item[k]))
            continue;
        mete_criterion criterion = {.size = sizeof criterion,
                                    .id = mete_text_from(item[k].id ? item[k].id : ""),
                                    .text = mete_text_from(item[k].text),
                                    .points = item[k].points,
                                    .check = mete_text_from(item[k].check ? item[k].check : ""),
                                    .target = mete_text_from(item[k].target ? item[k].target : ""),
                                    .scale = (int32_t)item[k].scale,
                                    .parent = parent >= 0 ? place[parent] - 1 : -1};
        set_kind(&criterion);
        if (has_parts(a->p, item[k].id))
            criterion.kind = METE_CRITERION_PARTS;
        status = add(a, &criterion);
        place[k] = a->count;
    }
    return status;
}

/* An object and what it is made of. */
static int
add_object(struct adding *a, const mete_json *object, int32_t parent, int depth)
{
    mete_criterion criterion;
    int status = criterion_read(a->cx, object, "", &criterion);
    int32_t place = a->count;
    if (status)
        return status;
    if (depth > DEEPEST)
        return mete_fail(a->cx, METE_EDATA, "a tree of criteria has more than %d levels", DEEPEST);
    criterion.parent = parent;
    status = add(a, &criterion);
    for (const mete_json *at = parts_of(object); at && !status; at = mete_json_next(at))
        status = add_object(a, at, place, depth + 1);
    return status;
}

static int
add_column(struct adding *a, mete_text text)
{
    mete_json *list = criteria_parse(a->cx, text, "");
    int status = list ? METE_OK : METE_EDATA;
    if (mete_json_kind(list) == METE_JSON_OBJECT)
        status = add_object(a, list, -1, 1);
    for (const mete_json *at = mete_json_kind(list) == METE_JSON_ARRAY ? mete_json_first(list)
                                                                       : NULL;
         at && !status; at = mete_json_next(at))
        if (wants_object(a->p, at))
            status = add_object(a, at, -1, 1);
    mete_json_free(list);
    return status;
}

static int
open_fixed(mete_ctx *cx, void *self)
{
    const struct fixed *p = self;
    const struct item *item = p->criteria.item;
    for (size_t k = 0; k < p->criteria.count; k++) {
        if (item[k].part_of && place_of(item, k, item[k].part_of) < 0)
            return mete_fail(cx, METE_EINVAL,
                             "criterion '%s' is part_of '%s', which no criterion before it has as "
                             "its id",
                             item[k].text, item[k].part_of);
        if (item[k].part_of && item[k].points < 0)
            return mete_fail(cx, METE_EINVAL,
                             "criterion '%s' is part of another and has negative points",
                             item[k].text);
        if (item[k].id && place_of(item, k, item[k].id) >= 0)
            return mete_fail(cx, METE_EINVAL, "two criteria have the id '%s'", item[k].id);
        if (item[k].check && has_parts(p, item[k].id))
            return mete_fail(cx, METE_EINVAL,
                             "criterion '%s' has parts, which decide it: it can have no check",
                             item[k].text);
    }
    return METE_OK;
}

static int
generate(mete_ctx *cx, const void *self, const mete_batch *prompts, mete_criteria *out)
{
    const struct fixed *p = self;
    const mete_text *own = mete_text_of(prompts, &p->rubrics);
    int status = METE_OK;
    if (!own && !p->criteria.count)
        return mete_fail(cx, METE_EDATA,
                         "has no criteria: give `criteria`, or records with a column '%s'",
                         p->rubrics.name);
    for (size_t row = 0; row < prompts->episodes && !status; row++) {
        struct adding a = {.cx = cx, .p = p, .out = out, .row = row};
        status = add_items(&a);
        if (!status && own && own[row].length)
            status = add_column(&a, own[row]);
    }
    return status;
}

METE_RUBRIC_PLUGIN(
    static, "1.2", "criteria of the config, or of each record",
    .doc = "generator = { use = \"static\"; criteria = (\n"
           "    { text = \"Says when to see a doctor\"; points = 5.0; },\n"
           "    { text = \"Invents a number\"; points = -3.0; },\n"
           "    { text = \"Clear\"; scale = 5; },\n"
           "    { text = \"Short\"; check = \"length\"; target = \"1..120\"; } ); };\n"
           "# a tree: 3 points, shared 2 to 1\n"
           "generator = { use = \"static\"; criteria = (\n"
           "    { id = \"plan\"; text = \"A plan\"; points = 3.0; },\n"
           "    { part_of = \"plan\"; text = \"Says what to do\"; points = 2.0; },\n"
           "    { part_of = \"plan\"; text = \"Says when\"; points = 1.0; } ); };\n"
           "generator = { use = \"static\"; };   # of a column `rubrics`, as in HealthBench\n"
           "generator = { use = \"static\"; tags = [ \"axis:accuracy\" ]; };   # a part of it\n",
    .options = options, .state_size = sizeof(struct fixed), .open = open_fixed,
    .generate = generate);
