/* report.c - the page of a run: what was optimised and why, what changed, which reward did it, how
 * far gold went along, what failed, samples, costs, the config. */
#include "report/report.h"

#include "engine/config.h"
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHARTS_MOST 48 /* of one part of the page */

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

static void
put_head(mete_buffer *out, const mete__story *story, mete__value *root)
{
    static const char *const state[] = {"Cut off after", "Running, after", "Stopped, after",
                                        "Finished,"};
    mete__page_open(out, mete__page_name(story->folder), story->state == METE__STORY_RUNS);
    mete_buffer_string(out, "<p class=soft>");
    mete_buffer_format(out, "<b>%s</b> %.0f iterations", state[story->state],
                       story->last + 1); /* they count from 0 */
    for (size_t i = 0; i < story->stages; i++) {
        mete_buffer_string(out, i ? " \xe2\x86\x92 " : ": ");
        mete__page_string(out, story->stage[i].name);
    }
    if (word_of(root, "policy.use")) {
        mete_buffer_string(out, "; policy ");
        mete__page_string(out, word_of(root, "policy.use"));
    }
    if (word_of(root, "env.use")) {
        mete_buffer_string(out, "; environment ");
        mete__page_string(out, word_of(root, "env.use"));
    }
    const mete__value *seed = root ? mete__value_find(root, "run.seed") : NULL;
    if (seed && seed->kind == METE__INT)
        mete_buffer_format(out, "; seed %lld", (long long)seed->integer);
    mete_buffer_string(out, "</p>\n");
}

/* What people said of the run: the members of the config's `report` (Gilbert et al. 2022). */
static void
put_reasons(mete_buffer *out, mete__value *root)
{
    const mete__value *report = root ? mete__value_find(root, "report") : NULL;
    if (!report || report->kind != METE__GROUP)
        return;
    mete_buffer_string(out, "<h2>What is optimised, and why</h2>\n<dl>");
    for (const mete__value *m = report->first; m; m = m->next)
        if (m->kind == METE__STRING) {
            mete_buffer_string(out, "<dt>");
            mete__page_string(out, m->name);
            mete_buffer_string(out, "</dt><dd>");
            mete__page_string(out, m->string);
            mete_buffer_string(out, "</dd>");
        }
    mete_buffer_string(out, "</dl>\n");
}

/* ---- what changed ---------------------------------------------------------------------------- */

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
    mete_buffer_string(
        out, "<h2>What changed</h2>\n<p class=soft>Held-out episodes, before the first stage that "
             "samples and at the end");
    mete_buffer_string(out, given ? "; and what the same reward makes of the given texts.</p>\n"
                                  : ".</p>\n");
    mete_buffer_string(out, "<div class=wide><table><tr><th>held out<th>before<th>after<th>change");
    mete_buffer_string(out, given ? "<th>given</tr>\n" : "</tr>\n");
    for (size_t i = 0; i < story->count; i++) {
        const mete__series *s = &story->series[i];
        if (!starts(s->name, "eval/") || ends(s->name, "/sd"))
            continue;
        double was = s->count > 1 ? first_of(s) : NAN, is = last_of(s);
        mete_buffer_string(out, "<tr><td>");
        mete__page_string(out, s->name + 5);
        mete_buffer_string(out, "</td>");
        mete__page_cell(out, was);
        mete__page_cell(out, is);
        mete__page_cell(out, is - was);
        if (given)
            mete__page_cell(out, last_of(find(story, "given/", s->name + 5, "")));
        mete_buffer_string(out, "</tr>\n");
    }
    mete_buffer_string(out, "</table></div>\n");
}

/* ---- the tree -------------------------------------------------------------------------------- */

static void
put_share(mete_buffer *out, double share)
{
    mete_buffer_string(out, "<td>");
    if (isfinite(share))
        mete_buffer_format(out, "%.0f%%<span class=bar style=\"width:%.0fpx\"></span>", 100 * share,
                           60 * fmin(fmax(share, 0), 1));
    else
        mete__page_number(out, NAN);
    mete_buffer_string(out, "</td>");
}

static void
put_weight(mete_buffer *out, const mete__value *node)
{
    const mete__value *weight = NULL;
    for (const mete__value *m = node->first; m; m = m->next)
        if (m->name && strcmp(m->name, "weight") == 0)
            weight = m;
    if (!weight)
        mete__page_cell(out, 1);
    else if (weight->kind == METE__INT || weight->kind == METE__REAL)
        mete__page_cell(out, weight->real);
    else
        mete_buffer_string(out, "<td>schedule</td>");
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
    mete_buffer_string(out, depth ? "<span class=soft>\xe2\x94\x94 </span>" : "");
    mete__page_string(out, slash ? slash + 1 : path);
    mete_buffer_string(out, "</td><td style=\"text-align:left\" class=soft>");
    mete__page_string(out, use);
    mete_buffer_string(out, "</td>");
    put_weight(out, node);
    mete__page_cell(out, first_of(values));
    mete__page_cell(out, last_of(values));
    put_share(out, last_of(find(story, "attribution/variance/", path, "")));
    put_share(out, last_of(find(story, "attribution/advantage/", path, "")));
    mete_buffer_string(out, "<td>");
    if (values)
        mete__page_spark(out, values);
    mete_buffer_string(out, "</td></tr>\n");
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
    mete_buffer_string(
        out,
        "<h2>The reward</h2>\n<p class=soft>Mean of each node in training, at its first and its "
        "last iteration; its share of the variance of the sum it is part of, and of the "
        "advantage (docs/metrics.md).</p>\n<div class=wide><table><tr><th>node<th "
        "style=\"text-align:left\">plugin<th>weight<th>first<th>last<th>of variance<th>of "
        "advantage<th></tr>\n");
    put_node(out, story, reward, "reward", 0);
    mete_buffer_string(out, "</table></div>\n");
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
            !mete_text_is(event, "machine") && count < 500) {
            mete_buffer_string(
                out, count++ ? ""
                             : "<h2>Events</h2>\n<div class=wide><table><tr><th>time<th "
                               "style=\"text-align:left\">event<th style=\"text-align:left\">"
                               "</tr>\n");
            mete_buffer_string(out, "<tr><td>");
            mete__page_text(out, mete_json_text(mete_json_get(json, "time")));
            mete_buffer_string(out, "</td><td style=\"text-align:left\">");
            mete__page_text(out, event);
            mete_buffer_string(out, "</td><td style=\"text-align:left;white-space:normal\">");
            mete__page_text(out, mete_json_text(mete_json_get(json, "text")));
            mete_buffer_string(out, "</td></tr>\n");
        }
        mete_json_free(json);
    }
    mete_buffer_string(out, count ? "</table></div>\n" : "");
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
    mete_buffer_string(out, shown ? "</div></details>\n" : "");
}

static void
put_all_charts(mete_buffer *out, const mete__story *story)
{
    static const char *const reward[] = {"reward"}, *const held[] = {"eval/"},
                             *const policy[] = {"policy/", "loss", "advantage/", "episode/",
                                                "rate"},
                             *const rest[] = {"attribution/", "count/", "models/", "watch/",
                                              "fit/"};
    mete_buffer_string(
        out, "<h2>Curves</h2>\n<p class=soft>Means of some 150 parts of the run; dashed lines are "
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

/* ---- the whole ------------------------------------------------------------------------------- */

int
mete__report_run(const char *folder, mete_buffer *out, mete_error *err)
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
    mete__page_goodhart(out, &story);
    mete__page_failures(out, &story);
    put_events(out, &story);
    put_all_charts(out, &story);
    mete__page_criteria(out, &story);
    mete__page_samples(out, &story);
    mete__page_costs(out, &story);
    mete__page_machine(out, &story);
    mete_buffer_string(out, "<h2>Config</h2>\n<details><summary>As resolved</summary><pre>");
    mete__page_text(out, mete_buffer_view(&story.config));
    mete_buffer_string(out, "</pre></details>\n");
    mete__page_close(out);
    if (config)
        mete__config_free(config);
    mete__errors_free(&errors);
    mete__story_free(&story);
    return out->status ? mete_error_set(err, METE_ENOMEM, "out of memory") : METE_OK;
}

int
mete__report_write(const char *folder, mete_buffer *out, mete_error *err)
{
    static const struct {
        const char *file;
        int (*write)(const char *folder, mete_buffer *out, mete_error *err);
    } kind[] = {{"config.cfg", mete__report_run},
                {METE__ABLATION_FILE, mete__report_ablation},
                {METE__SWEEP_FILE, mete__report_sweep}};
    char path[4096];
    for (size_t k = 0; k < sizeof kind / sizeof *kind; k++) {
        snprintf(path, sizeof path, "%s/%s", folder, kind[k].file);
        if (access(path, F_OK) == 0)
            return kind[k].write(folder, out, err);
    }
    return mete_error_set(err, METE_EINVAL,
                          "%s holds no run, and no ablation or sweep that came to its table: it "
                          "has no config.cfg, " METE__ABLATION_FILE " or " METE__SWEEP_FILE,
                          folder);
}
