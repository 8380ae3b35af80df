/* report.c - the page: what was optimised and why, what changed, which reward did it, samples, the
 * config. No script and nothing from a network, and the policy of the page forbids both. */
#include "report/report.h"

#include "engine/config.h"
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

#define SAMPLES_READ 256 /* the last of them, among which best and worst are sought */
#define SAMPLES_SHOWN 4  /* of each */
#define CHARTS_MOST 48   /* of one part of the page */

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1b1e23;--soft:#667080;--rule:#d9dde3;--paper:#fff;"
    "--tint:#f4f6f8;--line:#0072b2;--band:#0072b226;--other:#b3460f;--good:#00785c;--bad:#b3460f}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e7eb;--soft:#98a2b0;--rule:#333a44;"
    "--paper:#14171b;--tint:#1d2127;--line:#56b4e9;--band:#56b4e933;--other:#f08a4b;--good:#3cc29e;"
    "--bad:#f08a4b}}"
    "*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);"
    "background:var(--paper);max-width:1180px;margin:0 auto;padding:1.5rem 1.25rem 4rem}"
    "h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem;padding-top:.6rem;"
    "border-top:1px solid var(--rule)}p{margin:.4rem 0;max-width:70ch}.soft,figcaption span,dt"
    "{color:var(--soft)}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-"
    "nums}"
    ".wide{overflow-x:auto}th,td{text-align:right;padding:.25rem .6rem;white-space:nowrap;"
    "border-bottom:1px solid var(--rule)}th{color:var(--soft);font-weight:500}th:first-child,"
    "td:first-child{text-align:left;padding-left:0}.up{color:var(--good)}.down{color:var(--bad)}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(255px,1fr));gap:1rem "
    "1.4rem}"
    "figure{margin:0;display:flex;flex-direction:column;justify-content:flex-end}figcaption{font-"
    "size:.8rem;display:flex;justify-content:space-between;gap:"
    "1rem;"
    "overflow-wrap:anywhere}figcaption span{white-space:nowrap}svg{width:100%;height:auto;"
    "display:block}.g{stroke:var(--rule);"
    "stroke-width:.6}.s{stroke:var(--soft);stroke-width:.8;stroke-dasharray:3 3}.t{font-size:9px;"
    "fill:var(--soft)}.l{fill:none;stroke:var(--line);stroke-width:1.4;stroke-linejoin:round}"
    ".b{fill:var(--band)}.c{fill:var(--line)}.spark{width:110px;height:20px}.bar{display:inline-"
    "block;"
    "height:.6em;background:var(--line);border-radius:2px;vertical-align:middle;margin-left:.4em}"
    ".sample{background:var(--tint);border-radius:6px;padding:.7rem .9rem;margin:.6rem 0}"
    ".sample "
    "p{max-width:none;white-space:pre-wrap;overflow-wrap:anywhere}.chip{display:inline-block;"
    "font-size:.8rem;border:1px solid var(--rule);border-radius:99px;padding:0 .6em;margin:.15rem "
    ".3rem 0 0}details{margin:.8rem 0}summary{cursor:pointer;font-weight:600}pre{background:"
    "var(--tint);padding:.8rem;border-radius:6px;overflow-x:auto;font-size:.82rem}dl{display:grid;"
    "grid-template-columns:max-content 1fr;gap:.2rem 1rem}dd{margin:0}"
    ".one{color:var(--line)}.two{color:var(--other)}.other .l{stroke:var(--other);stroke-dasharray:"
    "5 2}.other .b{fill:var(--other);opacity:.14}.other .c{fill:var(--other)}"
    "th.text,td.text{text-align:left;white-space:normal;overflow-wrap:anywhere}"
    ".pair{display:grid;grid-template-columns:1fr 1fr;gap:0 1.4rem}"
    "@media(max-width:600px){body{padding:1rem .8rem 3rem}table{font-size:.82rem}th,td{padding:"
    ".2rem .35rem}.pair{grid-template-columns:1fr}}"
    "@media print{body{max-width:none;padding:0}details{display:block}figure,.sample{break-inside:"
    "avoid}}";

static void
put(mete_buffer *out, const char *html)
{
    mete_buffer_string(out, html);
}

static void
put_string(mete_buffer *out, const char *text)
{
    mete__page_text(out, mete_text_from(text ? text : ""));
}

static bool
starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static bool
ends(const char *name, const char *with)
{
    size_t n = strlen(name), k = strlen(with);
    return n >= k && strcmp(name + n - k, with) == 0;
}

static double
first_of(const mete__series *series)
{
    return series && series->count ? series->value[0] : NAN;
}

static double
last_of(const mete__series *series)
{
    return series && series->count ? series->value[series->count - 1] : NAN;
}

static const mete__series *
find(const mete__story *story, const char *before, const char *name, const char *after)
{
    char full[800];
    snprintf(full, sizeof full, "%s%s%s", before, name, after);
    return mete__story_find(story, full);
}

/* ---- head ------------------------------------------------------------------------------------ */

static const char *
word_of(mete__value *root, const char *path)
{
    const mete__value *at = root ? mete__value_find(root, path) : NULL;
    return at && at->kind == METE__STRING ? at->string : NULL;
}

const char *
mete__page_name(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return slash && slash[1] ? slash + 1 : folder;
}

void
mete__page_open(mete_buffer *out, const char *title)
{
    put(out, "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n<meta "
             "http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src "
             "'unsafe-inline'\">\n<meta name=viewport content=\"width=device-width, "
             "initial-scale=1\">\n<title>");
    put_string(out, title);
    put(out, "</title>\n<style>");
    put(out, style);
    put(out, "</style></head><body>\n<h1>");
    put_string(out, title);
    put(out, "</h1>\n");
}

void
mete__page_close(mete_buffer *out)
{
    put(out, "<p class=soft>mete ");
    put(out, PACKAGE_VERSION);
    put(out, "</p>\n</body></html>\n");
}

static void
put_head(mete_buffer *out, const mete__story *story, mete__value *root)
{
    mete__page_open(out, mete__page_name(story->folder));
    put(out, "<p class=soft>");
    mete_buffer_format(out, "%.0f iterations", story->last + 1); /* they count from 0 */
    for (size_t i = 0; i < story->stages; i++) {
        put(out, i ? " \xe2\x86\x92 " : ": ");
        put_string(out, story->stage[i].name);
    }
    if (word_of(root, "policy.use")) {
        put(out, "; policy ");
        put_string(out, word_of(root, "policy.use"));
    }
    if (word_of(root, "env.use")) {
        put(out, "; environment ");
        put_string(out, word_of(root, "env.use"));
    }
    const mete__value *seed = root ? mete__value_find(root, "run.seed") : NULL;
    if (seed && seed->kind == METE__INT)
        mete_buffer_format(out, "; seed %lld", (long long)seed->integer);
    put(out, "</p>\n");
}

/* What people said of the run: the members of the config's `report` (Gilbert et al. 2022). */
static void
put_reasons(mete_buffer *out, mete__value *root)
{
    const mete__value *report = root ? mete__value_find(root, "report") : NULL;
    if (!report || report->kind != METE__GROUP)
        return;
    put(out, "<h2>What is optimised, and why</h2>\n<dl>");
    for (const mete__value *m = report->first; m; m = m->next)
        if (m->kind == METE__STRING) {
            put(out, "<dt>");
            put_string(out, m->name);
            put(out, "</dt><dd>");
            put_string(out, m->string);
            put(out, "</dd>");
        }
    put(out, "</dl>\n");
}

/* ---- what changed ---------------------------------------------------------------------------- */

static void
put_cell(mete_buffer *out, double value)
{
    put(out, "<td>");
    mete__page_number(out, value);
    put(out, "</td>");
}

static void
put_changes(mete_buffer *out, const mete__story *story)
{
    bool any = false, given = false;
    for (size_t i = 0; i < story->count; i++) {
        any |= starts(story->series[i].name, "eval/");
        given |= starts(story->series[i].name, "given/");
    }
    if (!any)
        return;
    put(out, "<h2>What changed</h2>\n<p class=soft>Held-out episodes, before the first stage that "
             "samples and at the end");
    put(out, given ? "; and what the same reward makes of the given texts.</p>\n" : ".</p>\n");
    put(out, "<div class=wide><table><tr><th>held out<th>before<th>after<th>change");
    put(out, given ? "<th>given</tr>\n" : "</tr>\n");
    for (size_t i = 0; i < story->count; i++) {
        const mete__series *s = &story->series[i];
        if (!starts(s->name, "eval/") || ends(s->name, "/sd"))
            continue;
        double was = s->count > 1 ? first_of(s) : NAN, is = last_of(s);
        put(out, "<tr><td>");
        put_string(out, s->name + 5);
        put(out, "</td>");
        put_cell(out, was);
        put_cell(out, is);
        put_cell(out, is - was);
        if (given)
            put_cell(out, last_of(find(story, "given/", s->name + 5, "")));
        put(out, "</tr>\n");
    }
    put(out, "</table></div>\n");
}

/* ---- the tree -------------------------------------------------------------------------------- */

static void
put_share(mete_buffer *out, double share)
{
    put(out, "<td>");
    if (isfinite(share))
        mete_buffer_format(out, "%.0f%%<span class=bar style=\"width:%.0fpx\"></span>", 100 * share,
                           60 * fmin(fmax(share, 0), 1));
    else
        mete__page_number(out, NAN);
    put(out, "</td>");
}

static void
put_weight(mete_buffer *out, const mete__value *node)
{
    const mete__value *weight = NULL;
    for (const mete__value *m = node->first; m; m = m->next)
        if (m->name && strcmp(m->name, "weight") == 0)
            weight = m;
    if (!weight)
        put_cell(out, 1);
    else if (weight->kind == METE__INT || weight->kind == METE__REAL)
        put_cell(out, weight->real);
    else
        put(out, "<td>schedule</td>");
}

static const char *
member_word(const mete__value *group, const char *name)
{
    for (const mete__value *m = group->first; m; m = m->next)
        if (m->name && strcmp(m->name, name) == 0 && m->kind == METE__STRING)
            return m->string;
    return NULL;
}

/* A row a node, children under their parent. `path` is the metric's name: "reward/rubric". */
static void
put_node(mete_buffer *out, const mete__story *story, const mete__value *node, const char *path,
         int depth)
{
    const char *use = member_word(node, "use"), *slash = strrchr(path, '/');
    const mete__series *values = mete__story_find(story, path);
    if (depth > 32)
        return;
    mete_buffer_format(out, "<tr><td style=\"padding-left:%dpx\">", depth * 22);
    put(out, depth ? "<span class=soft>\xe2\x94\x94 </span>" : "");
    put_string(out, slash ? slash + 1 : path);
    put(out, "</td><td style=\"text-align:left\" class=soft>");
    put_string(out, use);
    put(out, "</td>");
    put_weight(out, node);
    put_cell(out, first_of(values));
    put_cell(out, last_of(values));
    put_share(out, last_of(find(story, "attribution/variance/", path, "")));
    put_share(out, last_of(find(story, "attribution/advantage/", path, "")));
    put(out, "<td>");
    if (values)
        mete__page_spark(out, values);
    put(out, "</td></tr>\n");
    for (const mete__value *m = node->first; m; m = m->next)
        for (const mete__value *child = m->name && strcmp(m->name, "of") == 0 ? m->first : NULL;
             child; child = child->next) {
            char under[700];
            const char *name = member_word(child, "name");
            name = name ? name : member_word(child, "use");
            int length = snprintf(under, sizeof under, "%s/%s", path, name ? name : "");
            if (length > 0 && (size_t)length < sizeof under)
                put_node(out, story, child, under, depth + 1);
        }
}

static void
put_tree(mete_buffer *out, const mete__story *story, mete__value *root)
{
    const mete__value *reward = root ? mete__value_find(root, "reward") : NULL;
    if (!reward || reward->kind != METE__GROUP)
        return;
    put(out,
        "<h2>The reward</h2>\n<p class=soft>Mean of each node in training, at its first and its "
        "last iteration; its share of the variance of the sum it is part of, and of the "
        "advantage (docs/metrics.md).</p>\n<div class=wide><table><tr><th>node<th "
        "style=\"text-align:left\">plugin<th>weight<th>first<th>last<th>of variance<th>of "
        "advantage<th></tr>\n");
    put_node(out, story, reward, "reward", 0);
    put(out, "</table></div>\n");
}

/* ---- events ---------------------------------------------------------------------------------- */

static void
put_events(mete_buffer *out, const mete__story *story)
{
    size_t at = 0, count = 0;
    mete_text line;
    while (mete_text_line(mete_buffer_view(&story->journal), &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        mete_text event = mete_json_text(mete_json_get(json, "event"));
        if (json && !mete_text_is(event, "checkpoint") && !mete_text_is(event, "stage") &&
            count < 500) {
            put(out, count++ ? ""
                             : "<h2>Events</h2>\n<div class=wide><table><tr><th>time<th "
                               "style=\"text-align:left\">event<th style=\"text-align:left\">"
                               "</tr>\n");
            put(out, "<tr><td>");
            mete__page_text(out, mete_json_text(mete_json_get(json, "time")));
            put(out, "</td><td style=\"text-align:left\">");
            mete__page_text(out, event);
            put(out, "</td><td style=\"text-align:left;white-space:normal\">");
            mete__page_text(out, mete_json_text(mete_json_get(json, "text")));
            put(out, "</td></tr>\n");
        }
        mete_json_free(json);
    }
    put(out, count ? "</table></div>\n" : "");
}

/* ---- charts ---------------------------------------------------------------------------------- */

/* The metrics that begin with one of `prefixes`, each a chart. */
static void
put_charts(mete_buffer *out, const mete__story *story, const char *title, const char *note,
           const char *const *prefix, size_t prefixes, bool open)
{
    size_t shown = 0;
    for (size_t i = 0; i < story->count; i++) {
        const mete__series *s = &story->series[i];
        bool wanted = false;
        for (size_t k = 0; k < prefixes; k++)
            wanted |= starts(s->name, prefix[k]);
        if (!wanted || s->count < 2 || ends(s->name, "/sd") || ends(s->name, "/min") ||
            ends(s->name, "/max") || shown >= CHARTS_MOST)
            continue;
        if (!shown++)
            mete_buffer_format(out,
                               "<details%s><summary>%s</summary>\n<p class=soft>%s</p>\n<div "
                               "class=charts>\n",
                               open ? " open" : "", title, note);
        mete__page_chart(out, story, s, find(story, s->name, "/sd", ""));
    }
    put(out, shown ? "</div></details>\n" : "");
}

static void
put_all_charts(mete_buffer *out, const mete__story *story)
{
    static const char *const reward[] = {"reward"}, *const held[] = {"eval/"},
                             *const policy[] = {"policy/", "loss", "advantage/", "episode/",
                                                "rate"},
                             *const rest[] = {"attribution/", "count/", "models/", "watch/",
                                              "fit/"};
    put(out, "<h2>Curves</h2>\n<p class=soft>Means of some 150 parts of the run; dashed lines are "
             "where a stage begins.</p>\n");
    put_charts(out, story, "Rewards in training", "Band: a standard deviation of a batch.", reward,
               1, true);
    put_charts(out, story, "Held out", "Band: a standard deviation of the episodes, where told.",
               held, 1, true);
    put_charts(out, story, "Policy and loss", "Band: from the least to the greatest of a part.",
               policy, 5, true);
    put_charts(out, story, "Attribution, counts, models",
               "Band: from the least to the greatest of a part.", rest, 5, false);
}

/* ---- samples --------------------------------------------------------------------------------- */

struct sample {
    mete_text line;
    double reward;
};

static int
by_reward(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return (x->reward < y->reward) - (x->reward > y->reward);
}

static void
put_sample(mete_buffer *out, const struct sample *sample)
{
    mete_json *json = mete_json_parse(sample->line, NULL);
    put(out, "<div class=sample><p class=soft>");
    mete__page_text(out, mete_json_text(mete_json_get(json, "prompt")));
    put(out, "</p><p>");
    mete__page_text(out, mete_json_text(mete_json_get(json, "response")));
    put(out, "</p>");
    const mete_json *nodes = mete_json_get(json, "nodes");
    for (const mete_json *m = mete_json_first(nodes); m; m = mete_json_next(m)) {
        put(out, "<span class=chip>");
        mete__page_text(out, mete_json_key(m));
        put(out, " ");
        mete__page_number(out, mete_json_number(m));
        put(out, "</span>");
    }
    put(out, "</div>\n");
    mete_json_free(json);
}

static void
put_samples(mete_buffer *out, const mete__story *story)
{
    struct sample sample[SAMPLES_READ];
    mete_text all = mete_buffer_view(&story->samples), line;
    size_t count = 0, at = 0, seen = 0;
    while (mete_text_line(all, &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        double reward = mete_json_number(mete_json_get(mete_json_get(json, "nodes"), "reward"));
        if (json && isfinite(reward))
            sample[seen++ % SAMPLES_READ] = (struct sample){line, reward};
        mete_json_free(json);
    }
    count = seen < SAMPLES_READ ? seen : SAMPLES_READ;
    if (!count)
        return;
    qsort(sample, count, sizeof *sample, by_reward);
    mete_buffer_format(out,
                       "<h2>Samples</h2>\n<p class=soft>Of the last %zu kept: the best, then the "
                       "worst.</p>\n",
                       count);
    size_t best = count < SAMPLES_SHOWN ? count : SAMPLES_SHOWN;
    for (size_t i = 0; i < best; i++)
        put_sample(out, &sample[i]);
    put(out, count > best ? "<p class=soft>The worst</p>\n" : "");
    for (size_t i = count > best + SAMPLES_SHOWN ? count - SAMPLES_SHOWN : best; i < count; i++)
        put_sample(out, &sample[i]);
}

/* ---- the whole ------------------------------------------------------------------------------- */

int
mete__report_write(const char *folder, mete_buffer *out, mete_error *err)
{
    mete__story story;
    mete__errors errors = {0};
    int status = mete__story_read(folder, &story, err);
    if (status)
        return status;
    /* A config of another version may not parse: the page then stands without the tree. */
    mete__config *config =
        mete__config_parse("config.cfg", story.config.data ? story.config.data : "",
                           story.config.length, NULL, 0, &errors);
    mete__value *root = config ? mete__config_root(config) : NULL;
    put_head(out, &story, root);
    put_reasons(out, root);
    put_changes(out, &story);
    put_tree(out, &story, root);
    put_events(out, &story);
    put_all_charts(out, &story);
    put_samples(out, &story);
    put(out, "<h2>Config</h2>\n<details><summary>As resolved</summary><pre>");
    mete__page_text(out, mete_buffer_view(&story.config));
    put(out, "</pre></details>\n");
    mete__page_close(out);
    if (config)
        mete__config_free(config);
    mete__errors_free(&errors);
    mete__story_free(&story);
    return out->status ? mete_error_set(err, METE_ENOMEM, "out of memory") : METE_OK;
}
