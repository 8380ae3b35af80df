/* bench_rubrics.c - HealthBench (Arora et al. 2025, arXiv:2505.08775): responses that rubrics
 * grade, and judges against physicians.
 *
 * The score by a tag is the score of the same response by the criteria that have the tag, so each
 * tag is a row of its own whose column `rubrics` has those alone. All rows of an example have its
 * id, by which a judge that is asked the same of the same response answers once. */
#include "cli/bench.h"
#include "cli/table.h"
#include "score/messages.h"

#include <math.h>
#include <stdlib.h>

#define MOST_CRITERIA 10000 /* of one record */

/* ---- records --------------------------------------------------------------------------------- */

/* The prompt, a text or messages, as rewards read it; false: it is neither. */
static bool
read_prompt(const mete_json *record, mete_buffer *out)
{
    const mete_json *prompt = mete_json_get(record, "prompt");
    mete_buffer json = mete_buffer_make(0);
    bool good = mete_json_kind(prompt) == METE_JSON_STRING
                    ? !mete_buffer_text(out, mete_json_text(prompt))
                    : mete_json_kind(prompt) == METE_JSON_ARRAY && !mete_json_put(&json, prompt) &&
                          mete__messages_prompt(mete_buffer_view(&json), SIZE_MAX, out);
    mete_buffer_free(&json);
    return good;
}

/* What is wrong with the record's rubrics; NULL: nothing. */
static const char *
fault_of(const mete_json *rubrics)
{
    double possible = 0;
    if (mete_json_kind(rubrics) != METE_JSON_ARRAY || mete_json_count(rubrics) > MOST_CRITERIA)
        return "its rubrics are no list of at most 10000 criteria";
    for (const mete_json *c = mete_json_first(rubrics); c; c = mete_json_next(c)) {
        double points = mete_json_number(mete_json_get(c, "points"));
        if (!mete_json_text(mete_json_get(c, "criterion")).length || !(fabs(points) <= 1e6))
            return "one of its rubrics has no text \"criterion\" or no number of \"points\"";
        possible += points > 0 ? points : 0;
    }
    return possible > 0 ? NULL : "has no criterion with positive points";
}

static bool
has_tag(const mete_json *list, mete_text tag)
{
    for (const mete_json *t = mete_json_first(list); t; t = mete_json_next(t))
        if (mete_json_kind(t) == METE_JSON_STRING && mete_text_equal(mete_json_text(t), tag))
            return true;
    return false;
}

/* The criteria that have the tag. */
static bool
put_tagged(const mete_json *rubrics, mete_text tag, mete_buffer *out)
{
    char before = '[';
    out->length = 0;
    for (const mete_json *c = mete_json_first(rubrics); c; c = mete_json_next(c))
        if (has_tag(mete_json_get(c, "tags"), tag)) {
            mete_buffer_byte(out, before);
            mete_json_put(out, c);
            before = ',';
        }
    return !mete_buffer_byte(out, ']');
}

static bool
mark_add(struct mete__bench *b, size_t score, size_t whole, size_t tag)
{
    b->mark = mete__bench_grow(b->mark, &b->mark_room, b->marks + 1, sizeof *b->mark);
    if (b->mark)
        b->mark[b->marks++] = (mete__mark){score, whole, tag};
    else
        mete__say("out of memory");
    return b->mark;
}

/* Was the tag marked since mark `from`? */
static bool
is_marked(const struct mete__bench *b, size_t from, size_t tag)
{
    for (size_t i = from; i < b->marks; i++)
        if (b->mark[i].tag == tag)
            return true;
    return false;
}

/* Example tags have the score of the whole example, also where criteria have a tag of the name. */
static bool
mark_example(struct mete__bench *b, const mete_json *tags, size_t whole)
{
    size_t from = b->marks;
    bool good = mark_add(b, whole, whole, SIZE_MAX);
    for (const mete_json *t = mete_json_first(tags); t && good; t = mete_json_next(t)) {
        if (mete_json_kind(t) != METE_JSON_STRING)
            continue;
        size_t tag = mete__bench_name(&b->tag, mete_json_text(t));
        good = tag != SIZE_MAX && (is_marked(b, from, tag) || mark_add(b, whole, whole, tag));
    }
    return good;
}

static bool
mark_criteria(struct mete__bench *b, const mete_json *rubrics, size_t from, mete__bench_row *row)
{
    mete_buffer some = mete_buffer_make(0);
    size_t whole = b->mark[from].whole;
    bool good = true;
    for (const mete_json *c = mete_json_first(rubrics); c && good; c = mete_json_next(c))
        for (const mete_json *t = mete_json_first(mete_json_get(c, "tags")); t && good;
             t = mete_json_next(t)) {
            if (mete_json_kind(t) != METE_JSON_STRING)
                continue;
            size_t tag = mete__bench_name(&b->tag, mete_json_text(t));
            if (tag != SIZE_MAX && is_marked(b, from, tag))
                continue;
            good = tag != SIZE_MAX && put_tagged(rubrics, mete_json_text(t), &some);
            row->rubrics = mete_buffer_view(&some);
            good = good && mark_add(b, b->scores, whole, tag) && mete__bench_row_add(b, row);
        }
    mete_buffer_free(&some);
    return good;
}

static const char unread[] =
    "no part of the reward reads a column `rubrics` (see mete plugins static)";

int
mete__bench_example(struct mete__bench *b, const mete_json *record)
{
    const mete_json *rubrics = mete_json_get(record, "rubrics");
    const mete_json *response = mete_json_get(record, "response");
    const char *fault = fault_of(rubrics);
    if (!mete_json_kind(response))
        response = mete_json_get(record, "completion");
    if (!fault && mete_json_kind(response) != METE_JSON_STRING)
        fault = "has no text \"response\" to grade";
    mete_buffer prompt = mete_buffer_make(0);
    if (!fault && !read_prompt(record, &prompt))
        fault = "its prompt is neither a text nor messages";
    if (!fault && !b->rubrics)
        fault = unread;
    size_t whole = b->scores, from = b->marks;
    mete__bench_row row = {.record = record,
                           .prompt = mete_buffer_view(&prompt),
                           .response = mete_json_text(response),
                           .id = whole};
    bool good = fault || (mete__bench_row_add(b, &row) &&
                          mark_example(b, mete_json_get(record, "example_tags"), whole) &&
                          mark_criteria(b, rubrics, from, &row));
    mete_buffer_free(&prompt);
    if (fault)
        return mete__bench_leave_out(b, fault);
    b->examples += good;
    return good ? 1 : -1;
}

/* The criterion as the only one, of one point, so that the score is whether it is met. */
static bool
put_criterion(mete_text criterion, mete_buffer *out)
{
    mete_buffer_string(out, "[{\"points\":1,\"criterion\":");
    mete_json_put_text(out, criterion);
    return !mete_buffer_string(out, "}]");
}

int
mete__bench_labelled(struct mete__bench *b, const mete_json *record)
{
    const mete_json *criterion = mete_json_get(record, "rubric"),
                    *completion = mete_json_get(record, "completion"),
                    *category = mete_json_get(record, "category"),
                    *labels = mete_json_get(record, "binary_labels");
    mete__labelled item = {.score = b->scores, .category = SIZE_MAX};
    for (const mete_json *l = mete_json_first(labels); l; l = mete_json_next(l)) {
        if (mete_json_kind(l) != METE_JSON_BOOL)
            return mete__bench_leave_out(b, "its binary_labels are not all true or false");
        *(mete_json_bool(l) ? &item.met : &item.unmet) += 1;
    }
    if (!item.met && !item.unmet)
        return mete__bench_leave_out(b, "has no binary_labels");
    if (mete_json_kind(criterion) != METE_JSON_STRING ||
        mete_json_kind(completion) != METE_JSON_STRING)
        return mete__bench_leave_out(b, "has no text \"rubric\" or no text \"completion\"");
    if (!b->rubrics)
        return mete__bench_leave_out(b, unread);
    mete_buffer prompt = mete_buffer_make(0), rubrics = mete_buffer_make(0);
    int got = read_prompt(record, &prompt)
                  ? 1
                  : mete__bench_leave_out(b, "its prompt is neither a text nor messages");
    if (got && mete_json_kind(category) == METE_JSON_STRING)
        item.category = mete__bench_name(&b->tag, mete_json_text(category));
    if (got && (!put_criterion(mete_json_text(criterion), &rubrics) ||
                (mete_json_kind(category) == METE_JSON_STRING && item.category == SIZE_MAX) ||
                !mete__bench_row_add(b, &(mete__bench_row){.record = record,
                                                           .prompt = mete_buffer_view(&prompt),
                                                           .response = mete_json_text(completion),
                                                           .rubrics = mete_buffer_view(&rubrics),
                                                           .id = b->scores})))
        got = -1;
    mete_buffer_free(&prompt);
    mete_buffer_free(&rubrics);
    if (got <= 0)
        return got;
    b->labelled = mete__bench_grow(b->labelled, &b->labelled_room, b->labelleds + 1, sizeof item);
    if (!b->labelled) {
        mete__say("out of memory");
        return -1;
    }
    b->labelled[b->labelleds++] = item;
    return 1;
}

/* ---- figures --------------------------------------------------------------------------------- */

size_t
mete__bench_rubrics_failed(const struct mete__bench *b)
{
    size_t failed = 0;
    for (size_t i = 0; i < b->marks; i++)
        failed += b->mark[i].tag == SIZE_MAX && isnan(b->score[b->mark[i].score]);
    for (size_t i = 0; i < b->labelleds; i++)
        failed += isnan(b->score[b->labelled[i].score]);
    return failed;
}

static const char *
name_of(const struct mete__bench *b, size_t tag)
{
    return tag == SIZE_MAX ? "all" : b->tag.item[tag];
}

static void
print_name(const char *name)
{
    mete_buffer plain = mete_buffer_make(0);
    mete__put_plain(&plain, mete_text_from(name), "");
    printf("%.*s\n", (int)plain.length, plain.data ? plain.data : "");
    mete_buffer_free(&plain);
}

/* Begins the object of a tag, or of all, and ends what stood before; false: as a line of text. */
static bool
begin_object(const struct mete__bench *b, size_t tag, bool first, const char *of, mete_buffer *json)
{
    if (!json)
        return false;
    if (tag == SIZE_MAX) {
        mete_buffer_string(json, "\"overall\":{");
    } else {
        mete_buffer_format(json, first ? ",\"%s\":{" : ",", of);
        mete_json_put_text(json, mete_text_from(b->tag.item[tag]));
        mete_buffer_string(json, ":{");
    }
    return true;
}

/* false: no example has a score by the tag. */
static bool
put_tag(const struct mete__bench *b, size_t tag, bool first, double *scratch, mete_buffer *json)
{
    size_t n = 0;
    for (size_t i = 0; i < b->marks; i++) {
        const mete__mark *m = &b->mark[i];
        if (m->tag == tag && !isnan(b->score[m->score]) && !isnan(b->score[m->whole]))
            scratch[n++] = b->score[m->score];
    }
    if (!n && tag != SIZE_MAX)
        return false;
    mete__clipped f = n ? mete__bench_clipped(scratch, n, 1) : (mete__clipped){NAN, NAN};
    if (begin_object(b, tag, first, "tags", json)) {
        mete_buffer_format(json, "\"cases\":%zu", n);
        mete__put_number(json, "value", f.mean);
        mete__put_number(json, "bootstrap_std", f.deviation);
        mete_buffer_byte(json, '}');
    } else {
        printf("%6.4f  %6.4f  %6zu  ", f.mean, f.deviation, n);
        print_name(name_of(b, tag));
    }
    return true;
}

static bool
put_category(const struct mete__bench *b, size_t category, bool first, mete_buffer *json)
{
    mete__agreement count = {0};
    size_t labels = 0;
    for (size_t i = 0; i < b->labelleds; i++) {
        const mete__labelled *item = &b->labelled[i];
        double score = b->score[item->score];
        if (isnan(score) || (category != SIZE_MAX && item->category != category))
            continue;
        bool met = score >= .5;
        *(met ? &count.both_met : &count.judge_unmet) += (double)item->met;
        *(met ? &count.judge_met : &count.both_unmet) += (double)item->unmet;
        labels += item->met + item->unmet;
    }
    if (!labels && category != SIZE_MAX)
        return false;
    mete__balanced f = mete__bench_balanced(&count);
    if (begin_object(b, category, first, "categories", json)) {
        mete_buffer_format(json, "\"labels\":%zu", labels);
        mete__put_number(json, "balanced_f1", f.mean);
        mete__put_number(json, "f1_met", f.met);
        mete__put_number(json, "f1_unmet", f.unmet);
        mete_buffer_byte(json, '}');
    } else {
        printf("%11.4f  %6.4f  %8.4f  %6zu  ", f.mean, f.met, f.unmet, labels);
        print_name(name_of(b, category));
    }
    return true;
}

bool
mete__bench_rubrics_put(const struct mete__bench *b, mete_buffer *json)
{
    double *scratch = malloc((b->marks + 1) * sizeof *scratch);
    bool first = true;
    if (!scratch) {
        mete__say("out of memory");
        return false;
    }
    if (b->examples) {
        if (json)
            mete_buffer_string(json, ",\"healthbench\":{");
        else
            printf("%6s  %6s  %6s  tag\n", "value", "std", "cases");
        put_tag(b, SIZE_MAX, first, scratch, json);
        for (size_t tag = 0; tag < b->tag.count; tag++)
            if (put_tag(b, tag, first, scratch, json))
                first = false;
        if (json)
            mete_buffer_string(json, first ? "}" : "}}");
    }
    free(scratch);
    first = true;
    if (b->labelleds) {
        if (json)
            mete_buffer_string(json, ",\"meta_evaluation\":{");
        else
            printf("%11s  %6s  %8s  %6s  category\n", "balanced F1", "F1 met", "F1 unmet",
                   "labels");
        put_category(b, SIZE_MAX, first, json);
        for (size_t category = 0; category < b->tag.count; category++)
            if (put_category(b, category, first, json))
                first = false;
        if (json)
            mete_buffer_string(json, first ? "}" : "}}");
    }
    return true;
}
