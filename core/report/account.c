/* account.c - what a run's page tells beside its rewards: how far gold went with the reward, which
 * rows failed, what it cost, on which machine. The first is Goodhart's law as Gao et al. 2023 plot
 * it. */
#include "report/page.h"
#include "report/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS 300 /* of a line; more are left out evenly */

/* ---- Goodhart -------------------------------------------------------------------------------- */

static double
last_of(const mete__series *series)
{
    return series && series->count ? series->value[series->count - 1] : NAN;
}

/* The values over their own range, from 0 to 1: gold and the reward have no common unit. */
static void
put_over_range(mete_buffer *out, const mete__plot *plot, const mete__series *at,
               const mete__series *series, const mete__axis *range, size_t hue)
{
    double x[POINTS], y[POINTS];
    size_t n = 0, all = at->count < series->count ? at->count : series->count;
    size_t points = all < POINTS ? all : POINTS;
    for (size_t k = 0; k < points; k++) {
        size_t i = points > 1 ? k * (all - 1) / (points - 1) : 0;
        if (!isfinite(at->value[i]) || !isfinite(series->value[i]))
            continue;
        x[n] = at->value[i];
        y[n++] = mete__axis_part(range, series->value[i]);
    }
    mete__plot_line(out, plot, x, y, n, hue);
}

static mete__axis
range_of(const mete__series *series)
{
    mete__axis range = mete__axis_make(NULL);
    for (size_t i = 0; i < series->count; i++)
        mete__axis_take(&range, series->value[i]);
    if (!(range.hi > range.lo))
        mete__axis_settle(&range);
    return range;
}

static void
put_range(mete_buffer *out, const char *name, const mete__axis *range, size_t hue)
{
    char text[100];
    snprintf(text, sizeof text, "%s, %.4g to %.4g", name, range->lo, range->hi);
    mete__plot_key(out, text, hue);
}

void
mete__page_goodhart(mete_buffer *out, const mete__story *story)
{
    const mete__series *at = mete__story_find(story, "watch/sqrt_kl");
    const mete__series *reward = mete__story_find(story, "watch/reward");
    const mete__series *gold = mete__story_find(story, "watch/gold");
    double best = last_of(mete__story_find(story, "watch/best_sqrt_kl"));
    double iteration = last_of(mete__story_find(story, "watch/best_iteration"));
    if (!at || !reward || !gold || at->count < 2)
        return;
    mete__plot plot = {mete__axis_make("sqrt(KL to the reference), nats per step under the root"),
                       {.lo = -0.03, .hi = 1.03, .label = "part of its own range"}};
    mete__axis reward_range = range_of(reward), gold_range = range_of(gold);
    for (size_t i = 0; i < at->count; i++)
        mete__axis_take(&plot.x, at->value[i]);
    mete__axis_take(&plot.x, best);
    mete__axis_settle(&plot.x);
    mete_buffer_string(out, "<h2>Reward and gold</h2>\n<p class=soft>Smoothed means by how far the "
                            "policy is from its reference; each over its own range. Gold is not "
                            "trained on: where it turns while the reward climbs, the reward is "
                            "bought at its expense.</p>\n");
    if (isfinite(best) && isfinite(iteration)) {
        mete_buffer_format(out, "<p>Gold was best at iteration %.0f, at sqrt(KL) ", iteration);
        mete__page_number(out, best);
        mete_buffer_string(out, ": the best stopping point there was.</p>\n");
    }
    mete_buffer_string(out, "<p>");
    put_range(out, "reward", &reward_range, 0);
    put_range(out, "gold", &gold_range, 1);
    mete_buffer_string(out, "</p>\n<div class=plots>");
    mete__plot_open(out, &plot, "Reward and gold against sqrt(KL)");
    if (isfinite(best))
        mete__plot_mark(out, &plot, best, "gold best");
    put_over_range(out, &plot, at, reward, &reward_range, 0);
    put_over_range(out, &plot, at, gold, &gold_range, 1);
    mete__plot_close(out);
    mete_buffer_string(out, "</div>\n");
}

/* ---- failures -------------------------------------------------------------------------------- */

static const char *const failure[] = {"/not_applicable", "/failed", "/timed_out"};
enum { FAILURES = sizeof failure / sizeof *failure };

/* Which of the endings the name has, or FAILURES. */
static size_t
failure_of(const char *name, size_t *stem)
{
    size_t length = strlen(name);
    for (size_t k = 0; k < FAILURES; k++) {
        size_t ending = strlen(failure[k]);
        *stem = length - ending;
        if (length > ending && strcmp(name + *stem, failure[k]) == 0)
            return k;
    }
    return FAILURES;
}

static double
sum_of(const mete__series *series)
{
    double sum = 0;
    for (size_t i = 0; series && i < series->count; i++)
        sum += isfinite(series->value[i]) ? series->value[i] : 0;
    return sum;
}

static double
failures_of(const mete__story *story, const char *name, size_t stem, size_t k)
{
    char full[700];
    snprintf(full, sizeof full, "%.*s%s", (int)stem, name, failure[k]);
    return sum_of(mete__story_find(story, full));
}

static bool
told_before(const mete__story *story, size_t upto, const char *name, size_t stem)
{
    for (size_t i = 0; i < upto; i++) {
        size_t other;
        if (failure_of(story->series[i].name, &other) < FAILURES && other == stem &&
            strncmp(story->series[i].name, name, stem) == 0)
            return true;
    }
    return false;
}

void
mete__page_failures(mete_buffer *out, const mete__story *story)
{
    double masked = sum_of(mete__story_find(story, "count/masked"));
    double rows = sum_of(mete__story_find(story, "count/rows"));
    size_t shown = 0, stem;
    mete_buffer_string(out, "<h2>Failures</h2>\n");
    for (size_t i = 0; i < story->count; i++) {
        const char *name = story->series[i].name;
        bool node = strncmp(name, "reward", 6) == 0 || strncmp(name, "models/", 7) == 0;
        if (!node || failure_of(name, &stem) == FAILURES || told_before(story, i, name, stem))
            continue;
        double count[FAILURES], all = 0;
        for (size_t k = 0; k < FAILURES; k++)
            all += count[k] = failures_of(story, name, stem, k);
        if (all <= 0)
            continue;
        mete_buffer_string(out, shown++ ? ""
                                        : "<div class=wide><table><tr><th>rows of<th>not "
                                          "applicable<th>failed<th>timed out</tr>\n");
        mete_buffer_string(out, "<tr><td>");
        mete__page_text(out, (mete_text){name, stem});
        mete_buffer_string(out, "</td>");
        for (size_t k = 0; k < FAILURES; k++)
            mete__page_cell(out, count[k]);
        mete_buffer_string(out, "</tr>\n");
    }
    mete_buffer_string(out, shown ? "</table></div>\n" : "");
    if (!shown && masked <= 0)
        mete_buffer_string(out, "<p class=soft>None: every row was scored by every node.</p>\n");
    else if (masked > 0)
        mete_buffer_format(out, "<p class=soft>%.0f of %.0f rows counted in no loss.</p>\n", masked,
                           rows);
}

/* ---- costs ----------------------------------------------------------------------------------- */

/* Sums of timing.jsonl, by name. */
struct account {
    char *name;
    double value[7];
};

struct ledger {
    struct account *account;
    size_t count;
};

enum { ACCOUNTS_MOST = 256, MODEL_COLUMNS = 7 };
static const char *const model_column[MODEL_COLUMNS] = {
    "requests", "cached", "failed", "prompt_tokens", "answer_tokens", "cost", "seconds"};

static struct account *
account_of(struct ledger *ledger, mete_text name)
{
    for (size_t k = 0; k < ledger->count; k++)
        if (mete_text_is(name, ledger->account[k].name))
            return &ledger->account[k];
    if (!ledger->account)
        ledger->account = calloc(ACCOUNTS_MOST, sizeof *ledger->account);
    char *kept =
        ledger->account && ledger->count < ACCOUNTS_MOST ? strndup(name.data, name.length) : NULL;
    if (!kept)
        return NULL;
    ledger->account[ledger->count].name = kept;
    return &ledger->account[ledger->count++];
}

static void
ledger_free(struct ledger *ledger)
{
    for (size_t k = 0; k < ledger->count; k++)
        free(ledger->account[k].name);
    free(ledger->account);
}

static void
add(double *sum, const mete_json *number)
{
    double value = mete_json_number(number);
    *sum += isfinite(value) ? value : 0;
}

static void
add_seconds(struct ledger *ledger, const mete_json *object)
{
    for (const mete_json *m = mete_json_first(object); m; m = mete_json_next(m)) {
        struct account *account = account_of(ledger, mete_json_key(m));
        if (account)
            add(&account->value[0], m);
    }
}

static void
add_models(struct ledger *ledger, const mete_json *object)
{
    for (const mete_json *m = mete_json_first(object); m; m = mete_json_next(m)) {
        struct account *account = account_of(ledger, mete_json_key(m));
        for (size_t k = 0; account && k < MODEL_COLUMNS; k++)
            add(&account->value[k], mete_json_get(m, model_column[k]));
    }
}

/* "1:02:03", or seconds where it is less than a minute. */
static void
put_time(mete_buffer *out, double seconds)
{
    if (seconds < 60)
        mete_buffer_format(out, "%.3g s", seconds);
    else
        mete_buffer_format(out, "%.0f:%02.0f:%02.0f", floor(seconds / 3600),
                           floor(fmod(seconds, 3600) / 60), floor(fmod(seconds, 60)));
}

static void
put_seconds(mete_buffer *out, const struct ledger *ledger, const char *title)
{
    double most = 0;
    for (size_t k = 0; k < ledger->count; k++)
        most = fmax(most, ledger->account[k].value[0]);
    if (most <= 0)
        return;
    mete_buffer_format(out, "<div><table><tr><th>%s<th>time</tr>\n", title);
    for (size_t k = 0; k < ledger->count; k++) {
        double seconds = ledger->account[k].value[0];
        mete_buffer_string(out, "<tr><td>");
        mete__page_string(out, ledger->account[k].name);
        mete_buffer_string(out, "</td><td>");
        put_time(out, seconds);
        mete_buffer_format(out,
                           "<span class=lane><span class=bar style=\"width:%.0fpx\"></span>"
                           "</span></td></tr>\n",
                           60 * seconds / most);
    }
    mete_buffer_string(out, "</table></div>\n");
}

static void
put_models(mete_buffer *out, const struct ledger *ledger)
{
    if (!ledger->count)
        return;
    mete_buffer_string(out, "<div class=wide><table><tr><th>model<th>requests<th>of them cached<th>"
                            "failed<th>prompt tokens<th>answer tokens<th>cost<th>time</tr>\n");
    for (size_t k = 0; k < ledger->count; k++) {
        const struct account *account = &ledger->account[k];
        mete_buffer_string(out, "<tr><td>");
        mete__page_string(out, account->name);
        mete_buffer_string(out, "</td>");
        for (size_t c = 0; c + 1 < MODEL_COLUMNS; c++)
            mete_buffer_format(out, c == 5 ? "<td>%.4g</td>" : "<td>%.0f</td>", account->value[c]);
        mete_buffer_string(out, "<td>");
        put_time(out, account->value[MODEL_COLUMNS - 1]);
        mete_buffer_string(out, "</td></tr>\n");
    }
    mete_buffer_string(out, "</table></div>\n<p class=soft>Cost is in the unit of the model's "
                            "prices, of what was not cached.</p>\n");
}

void
mete__page_costs(mete_buffer *out, const mete__story *story)
{
    struct ledger phases = {0}, nodes = {0}, models = {0};
    mete_text line;
    size_t at = 0;
    while (mete_text_line(mete_buffer_view(&story->timing), &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        add_seconds(&phases, mete_json_get(json, "seconds"));
        add_seconds(&nodes, mete_json_get(json, "nodes"));
        add_models(&models, mete_json_get(json, "models"));
        mete_json_free(json);
    }
    if (phases.count) {
        mete_buffer_string(out,
                           "<h2>Costs</h2>\n<p class=soft>Time by what it went to; a node's is "
                           "that of its own scoring, all threads added.</p>\n<div "
                           "class=plots>\n");
        put_seconds(out, &phases, "phase");
        put_seconds(out, &nodes, "node");
        mete_buffer_string(out, "</div>\n");
        put_models(out, &models);
    }
    ledger_free(&phases);
    ledger_free(&nodes);
    ledger_free(&models);
}

/* ---- the machine ----------------------------------------------------------------------------- */

void
mete__page_machine(mete_buffer *out, const mete__story *story)
{
    size_t at = 0, shown = 0;
    char *last = NULL;
    mete_text line;
    while (mete_text_line(mete_buffer_view(&story->journal), &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        mete_text text = mete_json_text(mete_json_get(json, "text"));
        if (mete_text_is(mete_json_text(mete_json_get(json, "event")), "machine") &&
            !(last && mete_text_is(text, last)) && shown < 20) {
            mete_buffer_string(out, shown++ ? "" : "<h2>Machine and versions</h2>\n<ul>");
            mete_buffer_string(out, "<li>");
            mete__page_text(out, text);
            mete_buffer_string(out, "</li>\n");
            free(last);
            last = text.data ? strndup(text.data, text.length) : NULL;
        }
        mete_json_free(json);
    }
    free(last);
    mete_buffer_string(out, shown ? "</ul>\n" : "");
}
