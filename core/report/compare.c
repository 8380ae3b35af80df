/* compare.c - the page that sets one run against another: what their configs and figures differ in,
 * curves laid over each other, answers to the same prompts side by side. */
#include "engine/config.h"
#include "report/page.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CHARTS_MOST 48
#define PAIRS_MOST 8
#define PROMPTS_READ 64 /* of the last samples */

struct side {
    mete__story story;
    mete__config *config;
    mete__errors errors;
};

static int
side_read(const char *folder, struct side *side, mete_error *err)
{
    int status = mete__story_read(folder, &side->story, err);
    const mete_buffer *text = &side->story.config;
    if (!status)
        side->config = mete__config_parse("config.cfg", text->data ? text->data : "", text->length,
                                          NULL, 0, &side->errors);
    return status;
}

static void
side_free(struct side *side)
{
    if (side->config)
        mete__config_free(side->config);
    mete__errors_free(&side->errors);
    mete__story_free(&side->story);
}

/* ---- configs --------------------------------------------------------------------------------- */

static bool
is_leaf(const mete__value *value)
{
    return value && value->kind != METE__GROUP && value->kind != METE__LIST;
}

static bool
same(const mete__value *a, const mete__value *b)
{
    if (!is_leaf(a) || !is_leaf(b) || a->kind != b->kind)
        return false;
    if (a->kind == METE__STRING)
        return strcmp(a->string, b->string) == 0;
    return a->kind == METE__REAL ? a->real == b->real : a->integer == b->integer;
}

static void
put_value(mete_buffer *out, const mete__value *value)
{
    mete_buffer_string(out, "<td class=text>");
    if (!is_leaf(value))
        mete_buffer_string(out, "\xe2\x80\x93");
    else if (value->kind == METE__STRING)
        mete__page_string(out, value->string);
    else if (value->kind == METE__BOOL)
        mete_buffer_string(out, value->integer ? "true" : "false");
    else if (value->kind == METE__INT)
        mete_buffer_format(out, "%lld", (long long)value->integer);
    else
        mete_buffer_format(out, "%.9g", value->real);
    mete_buffer_string(out, "</td>");
}

/* A row for each leaf under `from` that the other config has otherwise; with `lacking`, only for
 * those it has not. `from` is the second run's when `lacking`. */
static size_t
put_differences(mete_buffer *out, const mete__value *from, mete__value *other, bool lacking,
                size_t rows)
{
    for (const mete__value *m = from->first; m; m = m->next) {
        if (!is_leaf(m)) {
            rows = put_differences(out, m, other, lacking, rows);
            continue;
        }
        const mete__value *there = mete__value_find(other, m->path);
        if (lacking ? is_leaf(there) : same(m, there))
            continue;
        if (!rows++)
            mete_buffer_string(out, "<div class=wide><table><tr><th>value<th class=text>first<th "
                                    "class=text>second</tr>\n");
        mete_buffer_string(out, "<tr><td>");
        mete__page_string(out, m->path);
        mete_buffer_string(out, "</td>");
        put_value(out, lacking ? NULL : m);
        put_value(out, lacking ? m : there);
        mete_buffer_string(out, "</tr>\n");
    }
    return rows;
}

static void
put_configs(mete_buffer *out, struct side *a, struct side *b)
{
    size_t rows = 0;
    mete_buffer_string(out, "<h2>Config</h2>\n");
    if (!a->config || !b->config) {
        mete_buffer_string(out, "<p class=soft>A config does not parse in this version.</p>\n");
        return;
    }
    rows =
        put_differences(out, mete__config_root(a->config), mete__config_root(b->config), false, 0);
    rows = put_differences(out, mete__config_root(b->config), mete__config_root(a->config), true,
                           rows);
    mete_buffer_string(out,
                       rows ? "</table></div>\n" : "<p class=soft>The same in every value.</p>\n");
}

/* ---- figures --------------------------------------------------------------------------------- */

static double
last_of(const mete__story *story, const char *name, const char *after)
{
    char full[800];
    snprintf(full, sizeof full, "%s%s", name, after);
    const mete__series *s = mete__story_find(story, full);
    return s && s->count ? s->value[s->count - 1] : NAN;
}

static bool
ends(const char *name, const char *with)
{
    size_t n = strlen(name), k = strlen(with);
    return n >= k && strcmp(name + n - k, with) == 0;
}

/* The squared standard error of a held-out mean. */
static double
squared_error(const mete__story *story, const char *name)
{
    double sd = last_of(story, name, "/sd");
    return sd * sd / last_of(story, "eval/episodes", "");
}

static void
put_figures(mete_buffer *out, const mete__story *a, const mete__story *b)
{
    mete_buffer_string(
        out, "<h2>Held out, at the end</h2>\n<p class=soft>\xc2\xb1: 95% of the difference over "
             "held-out episodes, taken as independent. It does not cover what another seed would "
             "change: for that, mete ablate.</p>\n<div class=wide><table><tr><th>held out<th>first"
             "<th>second<th>difference<th>\xc2\xb1</tr>\n");
    for (size_t i = 0; i < a->count; i++) {
        const char *name = a->series[i].name;
        if (strncmp(name, "eval/", 5) != 0 || ends(name, "/sd") || !mete__story_find(b, name))
            continue;
        double was = last_of(a, name, ""), is = last_of(b, name, "");
        double cell[] = {was, is, is - was,
                         1.96 * sqrt(squared_error(a, name) + squared_error(b, name))};
        mete_buffer_string(out, "<tr><td>");
        mete__page_string(out, name + 5);
        mete_buffer_string(out, "</td>");
        for (size_t k = 0; k < sizeof cell / sizeof *cell; k++) {
            mete_buffer_string(out, "<td>");
            mete__page_number(out, cell[k]);
            mete_buffer_string(out, "</td>");
        }
        mete_buffer_string(out, "</tr>\n");
    }
    mete_buffer_string(out, "</table></div>\n");
}

static void
put_curves(mete_buffer *out, const mete__story *a, const mete__story *b)
{
    static const char *const prefix[] = {"reward", "eval/", "episode/", "policy/", "loss"};
    size_t shown = 0;
    mete_buffer_string(
        out,
        "<h2>Curves</h2>\n<p class=soft><b class=one>first</b>, <b class=two>second</b>: means "
        "of some 150 parts of a run; bands from the least to the greatest of a part.</p>\n<div "
        "class=charts>\n");
    for (size_t k = 0; k < sizeof prefix / sizeof *prefix; k++)
        for (size_t i = 0; i < a->count && shown < CHARTS_MOST; i++) {
            const mete__series *s = &a->series[i], *t = mete__story_find(b, s->name);
            if (strncmp(s->name, prefix[k], strlen(prefix[k])) != 0 || !t || s->count < 2 ||
                t->count < 2 || ends(s->name, "/sd") || ends(s->name, "/min") ||
                ends(s->name, "/max"))
                continue;
            mete__page_pair(out, s, t);
            shown++;
        }
    mete_buffer_string(out, "</div>\n");
}

/* ---- samples --------------------------------------------------------------------------------- */

/* The last samples, each parsed; the latest of a prompt counts. */
struct answers {
    mete_json *line[PROMPTS_READ];
    size_t seen;
};

static void
answers_read(const mete__story *story, struct answers *out)
{
    mete_text line;
    size_t at = 0;
    *out = (struct answers){0};
    while (mete_text_line(mete_buffer_view(&story->samples), &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        if (!json)
            continue;
        mete_json **place = &out->line[out->seen++ % PROMPTS_READ];
        mete_json_free(*place);
        *place = json;
    }
}

static void
answers_free(struct answers *answers)
{
    for (size_t i = 0; i < PROMPTS_READ; i++)
        mete_json_free(answers->line[i]);
}

static const mete_json *
answer_to(const struct answers *answers, mete_text prompt)
{
    for (size_t k = answers->seen, n = 0; k-- > 0 && n < PROMPTS_READ; n++) {
        const mete_json *line = answers->line[k % PROMPTS_READ];
        mete_text other = mete_json_text(mete_json_get(line, "prompt"));
        if (other.length == prompt.length && memcmp(other.data, prompt.data, prompt.length) == 0)
            return line;
    }
    return NULL;
}

static void
put_answer(mete_buffer *out, const mete_json *line, const char *side)
{
    mete_buffer_format(out, "<div><p><b class=%s>", side);
    mete__page_number(out, mete_json_number(mete_json_get(mete_json_get(line, "nodes"), "reward")));
    mete_buffer_string(out, "</b></p><p>");
    mete__page_text(out, mete_json_text(mete_json_get(line, "response")));
    mete_buffer_string(out, "</p></div>");
}

static void
put_samples(mete_buffer *out, const mete__story *first, const mete__story *second)
{
    struct answers a, b;
    size_t shown = 0;
    answers_read(first, &a);
    answers_read(second, &b);
    for (size_t k = a.seen, n = 0; k-- > 0 && n < PROMPTS_READ && shown < PAIRS_MOST; n++) {
        const mete_json *line = a.line[k % PROMPTS_READ];
        mete_text prompt = mete_json_text(mete_json_get(line, "prompt"));
        const mete_json *other = prompt.length ? answer_to(&b, prompt) : NULL;
        if (!other || answer_to(&a, prompt) != line) /* an older answer to a prompt shown */
            continue;
        mete_buffer_string(
            out, shown++ ? ""
                         : "<h2>The same prompts</h2>\n<p class=soft>The latest answer of "
                           "each run, with its reward by that run's tree.</p>\n");
        mete_buffer_string(out, "<div class=sample><p class=soft>");
        mete__page_text(out, prompt);
        mete_buffer_string(out, "</p><div class=pair>");
        put_answer(out, line, "one");
        put_answer(out, other, "two");
        mete_buffer_string(out, "</div></div>\n");
    }
    answers_free(&a);
    answers_free(&b);
}

/* ---- the whole ------------------------------------------------------------------------------- */

int
mete__report_compare(const char *first, const char *second, mete_buffer *out, mete_error *err)
{
    struct side a = {0}, b = {0};
    char title[1024];
    int status = side_read(first, &a, err);
    status = status ? status : side_read(second, &b, err);
    if (!status) {
        snprintf(title, sizeof title, "%s against %s", mete__page_name(first),
                 mete__page_name(second));
        mete__page_open(out, title, false);
        mete_buffer_string(out, "<p class=soft><b class=one>first</b>: ");
        mete__page_string(out, mete__page_name(first));
        mete_buffer_format(out, ", %.0f iterations; <b class=two>second</b>: ", a.story.last + 1);
        mete__page_string(out, mete__page_name(second));
        mete_buffer_format(out, ", %.0f iterations</p>\n", b.story.last + 1);
        put_configs(out, &a, &b);
        put_figures(out, &a.story, &b.story);
        put_curves(out, &a.story, &b.story);
        put_samples(out, &a.story, &b.story);
        mete__page_close(out);
    }
    side_free(&a);
    side_free(&b);
    return !status && out->status ? mete_error_set(err, METE_ENOMEM, "out of memory") : status;
}
