/* rubric - points of the criteria a response meets.
 *
 * With HealthBench's arithmetic (Arora et al. 2025):
 *   value = sum of points of met criteria / sum of the positive points
 * Negative points take away; nothing is clipped. A prompt without positive points is not
 * applicable. A criterion with parts is met as far as they are, by their weighted mean (PaperBench;
 * Starace et al. 2025), so that its parts share its points.
 *
 * Criteria come from a generator. Some are decided by programs; `target` is the argument:
 *   contains, not_contains   a literal, whatever its case
 *   regex, not_regex         a PCRE2 pattern
 *   count                    "pattern;least;most" matches
 *   number                   "value" or "value;tolerance": some number of the response equals it
 *   length                   "least..most" words
 * The others are asked of a judge (judged.c), and may be met in part: by votes, by the judge's
 * chances, or as one grade of a scale. A response whose judge fails is failed.
 */
#include "rubric.h"

#include <math.h>
#include <mete/text.h>

static const mete_option options[] = {
    METE_RUBRIC(struct rubric, generator, METE_REQUIRED, "what gives each prompt its criteria"),
    METE_MODEL(struct rubric, judge, NULL, 0, "the model that decides judged criteria"),
    METE_ENUM(struct rubric, ask, ASK_VERDICT, "verdict|choice|healthbench",
              "verdict: the judge writes a JSON verdict; choice: the chances of its one word; "
              "healthbench: it sees the points before the criterion, and must say criteria_met as "
              "true or false"),
    METE_INT(struct rubric, votes, 1, 1, MOST_VOTES,
             "verdicts for each criterion; their mean counts"),
    METE_REAL(struct rubric, temperature, 0, 0, 10, "of the judge; votes want more than 0"),
    METE_INT(struct rubric, max_tokens, 512, 1, 1 << 20, "longest answer of the judge"),
    METE_STRING(struct rubric, instructions, NULL, 0,
                "what the judge is told to do, in place of the usual"),
    METE_INT(struct rubric, match_limit, 100000, 1, 1 << 30,
             "steps a pattern may take on a response"),
    METE_OPTIONS_END};

static int
open_rubric(mete_ctx *cx, void *self)
{
    struct rubric *p = self;
    if (p->votes > 1 && p->temperature == 0)
        return mete_fail(cx, METE_EINVAL,
                         "votes = %lld: without a temperature all verdicts are the same",
                         (long long)p->votes);
    pthread_mutex_init(&p->lock, NULL);
    p->met = mete_signal(cx, "met", METE_EPISODE, METE_ROLE_INFO, 0, 1,
                         "share of the criteria with positive points that are met");
    p->errors = mete_signal(cx, "error_rate", METE_EPISODE, METE_ROLE_INFO, 0, INFINITY,
                            "(unmet positive + met negative criteria) / positive criteria");
    return p->met < 0 ? p->met : p->errors < 0 ? p->errors : METE_OK;
}

static void
close_rubric(mete_ctx *cx, void *self)
{
    struct rubric *p = self;
    (void)cx;
    program_free(p);
    pthread_mutex_destroy(&p->lock);
}

/* What a call knows of its criteria. */
struct judging {
    const struct rubric *p;
    const mete_rubric_table *table;
    const struct ready **ready;
    mete_grades *grades;
    mete_text *reason; /* why a judge gave no grade; NULL: none was asked */
    mete_matcher *matcher;
};

/* How far the response meets criterion k, at `at` in the grades; NaN after the row was failed. */
static double
decide(mete_ctx *cx, const struct judging *j, size_t k, size_t at, mete_text text, size_t row)
{
    const mete_criterion *criterion = criterion_at(j->table, k);
    double *grade = &j->grades->grade[at];
    if (is_judged(criterion)) {
        if (isnan(*grade))
            mete_row_fail(cx, row, METE_FAILED, "criterion '%.*s': %.*s",
                          (int)(criterion->text.length < 60 ? criterion->text.length : 60),
                          criterion->text.data, (int)j->reason[at].length, j->reason[at].data);
        return *grade;
    }
    int decided = program_decide(j->ready[k], text, j->matcher);
    if (decided >= 0)
        return *grade = decided;
    mete_row_fail(cx, row, METE_FAILED, "a criterion's pattern took more than %lld steps",
                  (long long)j->p->match_limit);
    return NAN;
}

/* The values of those that have parts: means of their parts, which come after them. */
static void
grade_parts(const mete_rubric_table *table, size_t first, size_t end, double *grade)
{
    for (size_t k = first; k < end; k++)
        if (criterion_at(table, k)->kind == METE_CRITERION_PARTS)
            grade[k - first] = table->points[k] != 0 ? 0 : NAN;
    for (size_t k = end; k-- > first;) {
        size_t parent = (size_t)criterion_at(table, k)->parent; /* -1 is past all */
        if (parent < k - first && table->points[k] != 0 &&
            criterion_at(table, first + parent)->kind == METE_CRITERION_PARTS)
            grade[parent] += table->points[k] / table->points[first + parent] * grade[k - first];
    }
}

/* One response against the criteria of its group. */
static void
judge(mete_ctx *cx, const struct judging *j, size_t g, mete_text text, size_t row, mete_scores *out)
{
    const mete_rubric_table *table = j->table;
    double earned = 0, possible = 0, met = 0, positive = 0, wrong = 0;
    size_t first = table->first[g], end = table->first[g + 1], parts = 0;
    if (!text.data)
        text = (mete_text){"", 0};
    for (size_t k = first; k < end; k++) {
        if (criterion_at(table, k)->kind == METE_CRITERION_PARTS) {
            parts++;
            continue;
        }
        double points = table->points[k];
        double grade = decide(cx, j, k, j->grades->begin[row] + k - first, text, row);
        earned += grade * points;
        possible += points > 0 ? points : 0;
        positive += points > 0;
        met += points > 0 ? grade : 0;
        wrong += points > 0 ? 1 - grade : grade;
    }
    if (parts)
        grade_parts(table, first, end, j->grades->grade + j->grades->begin[row]);
    if (isnan(earned))
        return;
    if (possible <= 0) {
        mete_row_fail(cx, row, METE_NOT_APPLICABLE, "no criterion with positive points");
        return;
    }
    out->episode[row] = earned / possible;
    mete_out(out, j->p->met)[row] = met / positive;
    mete_out(out, j->p->errors)[row] = wrong / positive;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    /* The cache of ready criteria is not learnt: what it holds follows from the criteria alone. */
    struct rubric *p = (struct rubric *)(uintptr_t)self;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to judge");
    const mete_rubric_table *table = mete_rubric_of(cx, p->generator, batch);
    struct judging j = {.p = p, .table = table};
    if (!table || !(j.ready = program_prepare(cx, p, table)))
        return METE_EDATA;
    if (!(j.grades = mete_grades_of(cx, table, batch)))
        return METE_ENOMEM;
    int status = judged_ask(cx, p, table, batch, j.grades, &j.reason);
    if (status)
        return status;
    if (!(j.matcher = mete_matcher_new()))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t g = 0; g < batch->groups; g++)
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            judge(cx, &j, g, batch->response[i], i, out);
    mete_matcher_free(j.matcher);
    return METE_OK;
}

METE_REWARD_PLUGIN(
    rubric, "1.3", "points of the criteria a response meets",
    .doc = "Signals: met, the share of positive criteria met; error_rate, unmet positive and met\n"
           "negative criteria over the positive ones (for slots: the slot error rate).\n"
           "A criterion that stands twice among a response's is asked once.\n"
           "\n"
           "models = { judge = { use = \"openai\"; url = ...; model = ...; }; };\n"
           "reward = { use = \"rubric\"; judge = \"judge\"; generator = { use = \"static\";\n"
           "    criteria = ( { text = \"Says when to see a doctor\"; points = 5.0; } ); }; };\n",
    .reference = "Arora et al. 2025, HealthBench, arXiv:2505.08775", .options = options,
    .state_size = sizeof(struct rubric), .open = open_rubric, .close = close_rubric,
    .score = score);
