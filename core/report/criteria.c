/* criteria.c - a run's criteria: how often each is met, at first and at last, whether it tells good
 * responses from bad ones, whether the judge agrees with itself; core/loop/criteria.c has the
 * definitions. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NODES_MOST 16
#define NAMED_MOST 20 /* criteria that are always or never met, by name */

/* The first and the last statistics of a rubric. */
struct told {
    mete_json *first, *last;
};

static mete_text
node_of(const struct told *told)
{
    return mete_json_text(mete_json_get(told->first, "node"));
}

static size_t
read_told(const mete__story *story, struct told *told)
{
    size_t count = 0, at = 0;
    mete_text line;
    while (mete_text_line(mete_buffer_view(&story->criteria), &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        mete_text node = mete_json_text(mete_json_get(json, "node"));
        size_t i = 0;
        while (i < count && !mete_text_equal(node_of(&told[i]), node))
            i++;
        if (!node.length || i == NODES_MOST) {
            mete_json_free(json);
        } else if (i == count) {
            told[count++] = (struct told){json, NULL};
        } else {
            mete_json_free(told[i].last);
            told[i].last = json;
        }
    }
    return count;
}

static const mete_json *
find(const mete_json *told, mete_text criterion)
{
    const mete_json *at = mete_json_first(mete_json_get(told, "criteria"));
    while (at && !mete_text_equal(mete_json_text(mete_json_get(at, "criterion")), criterion))
        at = mete_json_next(at);
    return at;
}

static double
number(const mete_json *object, const char *name)
{
    return mete_json_number(mete_json_get(object, name));
}

static void
put_row(mete_buffer *out, const mete_json *criterion, const struct told *told)
{
    mete_text text = mete_json_text(mete_json_get(criterion, "criterion"));
    mete_buffer_string(out, "<tr><td style=\"text-align:left;white-space:normal\">");
    mete__page_text(out, text);
    mete_buffer_string(out, "</td>");
    mete__page_cell(out, number(criterion, "points"));
    mete__page_cell(out, number(criterion, "rows"));
    mete__page_cell(out, told->last ? number(find(told->first, text), "pass") : NAN);
    mete__page_cell(out, number(criterion, "pass"));
    mete__page_cell(out, number(criterion, "discrimination"));
    mete__page_cell(out, number(criterion, "agreement"));
    mete_buffer_string(out, "</tr>\n");
}

/* The criteria whose pass rate is `pass`. */
static void
put_named(mete_buffer *out, const mete_json *told, double pass, const char *what)
{
    size_t count = 0;
    const mete_json *at = mete_json_first(mete_json_get(told, "criteria"));
    for (; at; at = mete_json_next(at)) {
        if (number(at, "pass") != pass || count++ >= NAMED_MOST)
            continue;
        mete_buffer_format(out, count > 1 ? "; " : "<p>%s: ", what);
        mete__page_text(out, mete_json_text(mete_json_get(at, "criterion")));
    }
    if (count > NAMED_MOST)
        mete_buffer_format(out, "; and %zu more", count - NAMED_MOST);
    mete_buffer_string(out, count ? ".</p>\n" : "");
}

static void
put_node(mete_buffer *out, const struct told *told)
{
    const mete_json *last = told->last ? told->last : told->first;
    const mete_json *at = mete_json_first(mete_json_get(last, "criteria"));
    mete_buffer_string(out, "<details open><summary>");
    mete__page_text(out, node_of(told));
    mete_buffer_format(out, ", up to iteration %.0f</summary>\n", number(last, "iteration"));
    mete_buffer_string(
        out, "<div class=wide><table><tr><th style=\"text-align:left\">criterion<th>points<th>rows"
             "<th>met at first<th>met<th>discrimination<th>agreement</tr>\n");
    for (; at; at = mete_json_next(at))
        put_row(out, at, told);
    mete_buffer_string(out, "</table></div>\n");
    size_t shown = mete_json_count(mete_json_get(last, "criteria"));
    if (number(last, "count") > (double)shown)
        mete_buffer_format(out, "<p class=soft>The %zu seen most often, of %.0f.</p>\n", shown,
                           number(last, "count"));
    put_named(out, last, 1, "Always met");
    put_named(out, last, 0, "Never met");
    mete_buffer_string(out, "</details>\n");
}

void
mete__page_criteria(mete_buffer *out, const mete__story *story)
{
    struct told told[NODES_MOST];
    size_t count = read_told(story, told);
    if (count)
        mete_buffer_string(
            out, "<h2>Criteria</h2>\n<p class=soft>The share of responses that meet each, in the "
                 "first iterations it was told of and in the last; the correlation of meeting it "
                 "with the rest of the score; the share of pairs of a judge's verdicts that agree "
                 "(docs/metrics.md).</p>\n");
    for (size_t i = 0; i < count; i++) {
        put_node(out, &told[i]);
        mete_json_free(told[i].first);
        mete_json_free(told[i].last);
    }
}
