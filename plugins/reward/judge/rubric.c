/* rubric - points of the criteria a response meets.
 *
 * With HealthBench's arithmetic (Arora et al. 2025):
 *   value = sum of points of met criteria / sum of the positive points
 * Negative points take away; nothing is clipped. A prompt without positive points is not
 * applicable.
 *
 * Criteria come from a generator and are decided by programs; `target` is the argument:
 *   contains, not_contains   a literal, whatever its case
 *   regex, not_regex         a PCRE2 pattern
 *   count                    "pattern;least;most" matches
 *   number                   "value" or "value;tolerance": some number of the response equals it
 *   length                   "least..most" words
 */
#include <ctype.h>
#include <math.h>
#include <mete/pattern.h>
#include <mete/reward.h>
#include <mete/rubric.h>
#include <mete/text.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Distinct criteria kept compiled in one instance. */
#define MOST_COMPILED 65536

enum check { CONTAINS, NOT_CONTAINS, REGEX, NOT_REGEX, COUNT, NUMBER, LENGTH };

/* A criterion made ready; lives as long as the instance. */
struct ready {
    uint64_t key;
    enum check check;
    char *literal; /* lower case */
    size_t length;
    mete_pattern *pattern;
    double least, most;
};

struct rubric {
    mete_node *generator;
    int64_t match_limit;
    pthread_mutex_t lock;
    struct ready **slot; /* open addressing by key */
    size_t ready, slots;
    int met, errors;
};

static const mete_option options[] = {
    METE_RUBRIC(struct rubric, generator, METE_REQUIRED, "what gives each prompt its criteria"),
    METE_INT(struct rubric, match_limit, 100000, 1, 1 << 30,
             "steps a pattern may take on a response"),
    METE_OPTIONS_END};

static int
open_rubric(mete_ctx *cx, void *self)
{
    struct rubric *p = self;
    pthread_mutex_init(&p->lock, NULL);
    p->met = mete_signal(cx, "met", METE_EPISODE, METE_ROLE_INFO, 0, 1,
                         "share of the criteria with positive points that are met");
    p->errors = mete_signal(cx, "error_rate", METE_EPISODE, METE_ROLE_INFO, 0, INFINITY,
                            "(unmet positive + met negative criteria) / positive criteria");
    return p->met < 0 ? p->met : p->errors < 0 ? p->errors : METE_OK;
}

static void
ready_free(struct ready *ready)
{
    mete_pattern_free(ready->pattern);
    free(ready->literal);
    free(ready);
}

static void
close_rubric(mete_ctx *cx, void *self)
{
    struct rubric *p = self;
    (void)cx;
    for (size_t i = 0; i < p->slots; i++)
        if (p->slot[i])
            ready_free(p->slot[i]);
    free(p->slot);
    pthread_mutex_destroy(&p->lock);
}

/* ---- making criteria ready ------------------------------------------------------------------- */

static int
is_word(mete_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

static int
compile(mete_ctx *cx, const struct rubric *p, struct ready *ready, const char *pattern,
        size_t length)
{
    mete_error err = {0};
    ready->pattern =
        mete_pattern_new((mete_text){pattern, length}, 0, (uint32_t)p->match_limit, &err);
    return ready->pattern ? METE_OK
                          : mete_fail(cx, METE_EDATA, "the criterion's pattern '%.*s', %s",
                                      (int)length, pattern, err.message);
}

/* Reads a number that must fill `text`. */
static int
read_bound(mete_text text, double *out)
{
    return mete_number_parse(text, 0, out);
}

static int
prepare_count(mete_ctx *cx, const struct rubric *p, struct ready *ready, mete_text target)
{
    size_t second = target.length, first;
    while (second && target.data[second - 1] != ';')
        second--;
    first = second ? second - 1 : 0;
    while (first && target.data[first - 1] != ';')
        first--;
    mete_text least = {target.data + first, second ? second - 1 - first : 0};
    mete_text most = {target.data + second, target.length - second};
    if (!first || !read_bound(least, &ready->least) || !read_bound(most, &ready->most))
        return mete_fail(cx, METE_EDATA,
                         "a count criterion's target must be \"pattern;least;most\"");
    return compile(cx, p, ready, target.data, first - 1);
}

static int
prepare_number(mete_ctx *cx, struct ready *ready, mete_text target)
{
    const char *semicolon = memchr(target.data, ';', target.length);
    mete_text value = {target.data, semicolon ? (size_t)(semicolon - target.data) : target.length};
    double tolerance = 1e-9;
    if (!mete_number_parse(value, METE_NUMBER_ALL, &ready->least) ||
        (semicolon &&
         !read_bound((mete_text){semicolon + 1, target.length - value.length - 1}, &tolerance)))
        return mete_fail(cx, METE_EDATA, "a number criterion's target must be \"value;tolerance\"");
    ready->most = tolerance;
    return METE_OK;
}

static int
prepare_length(mete_ctx *cx, struct ready *ready, mete_text target)
{
    for (size_t i = 0; i + 1 < target.length; i++)
        if (target.data[i] == '.' && target.data[i + 1] == '.') {
            mete_text least = {target.data, i}, most = {target.data + i + 2, target.length - i - 2};
            if (read_bound(least, &ready->least) && read_bound(most, &ready->most))
                return METE_OK;
        }
    return mete_fail(cx, METE_EDATA, "a length criterion's target must be \"least..most\" words");
}

static struct ready *
prepare(mete_ctx *cx, const struct rubric *p, const mete_criterion *criterion, uint64_t key)
{
    static const char *const word[] = {"contains", "not_contains", "regex", "not_regex",
                                       "count",    "number",       "length"};
    struct ready *ready = calloc(1, sizeof *ready);
    size_t check = 0;
    int status = METE_OK;
    if (!ready) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    if (criterion->kind != METE_CRITERION_PROGRAM) {
        mete_fail(cx, METE_ENOTSUP,
                  "criterion '%.*s' needs a judge; this version decides by programs only",
                  (int)criterion->text.length, criterion->text.data);
        free(ready);
        return NULL;
    }
    while (check < 7 && !is_word(criterion->check, word[check]))
        check++;
    ready->key = key;
    ready->check = (enum check)check;
    switch (check) {
    case CONTAINS:
    case NOT_CONTAINS:
        ready->length = criterion->target.length;
        ready->literal = malloc(ready->length + 1);
        for (size_t i = 0; ready->literal && i < ready->length; i++)
            ready->literal[i] = (char)tolower((unsigned char)criterion->target.data[i]);
        status = ready->literal ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
        break;
    case REGEX:
    case NOT_REGEX:
        status = compile(cx, p, ready, criterion->target.data, criterion->target.length);
        break;
    case COUNT:
        status = prepare_count(cx, p, ready, criterion->target);
        break;
    case NUMBER:
        status = prepare_number(cx, ready, criterion->target);
        break;
    case LENGTH:
        status = prepare_length(cx, ready, criterion->target);
        break;
    default:
        status = mete_fail(cx, METE_EDATA,
                           "'%.*s' is no check: contains, not_contains, regex, "
                           "not_regex, count, number, length are",
                           (int)criterion->check.length, criterion->check.data);
    }
    if (!status)
        return ready;
    ready_free(ready);
    return NULL;
}

static int
make_room(struct rubric *p)
{
    if (2 * (p->ready + 1) <= p->slots)
        return 1;
    size_t slots = p->slots ? 2 * p->slots : 128;
    struct ready **slot = calloc(slots, sizeof *slot);
    if (!slot)
        return 0;
    for (size_t i = 0; i < p->slots; i++) {
        size_t at = p->slot[i] ? p->slot[i]->key & (slots - 1) : 0;
        while (p->slot[i] && slot[at])
            at = (at + 1) & (slots - 1);
        if (p->slot[i])
            slot[at] = p->slot[i];
    }
    free(p->slot);
    p->slot = slot;
    p->slots = slots;
    return 1;
}

/* The ready form of each criterion of the table, made where it is new. NULL after an error. */
static const struct ready **
prepare_all(mete_ctx *cx, struct rubric *p, const mete_rubric_table *table)
{
    const struct ready **out = mete_arena(cx, (table->count + 1) * sizeof *out);
    int good = out != NULL;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < table->count && good; i++) {
        const mete_criterion *criterion =
            (const mete_criterion *)(const void *)((const char *)table->item + i * table->stride);
        if (!make_room(p) || p->ready >= MOST_COMPILED) {
            mete_fail(cx, METE_ENOTSUP, "more than %d distinct criteria", MOST_COMPILED);
            good = 0;
            break;
        }
        size_t at = table->key[i] & (p->slots - 1);
        while (p->slot[at] && p->slot[at]->key != table->key[i])
            at = (at + 1) & (p->slots - 1);
        if (!p->slot[at] && (p->slot[at] = prepare(cx, p, criterion, table->key[i])))
            p->ready++;
        good = (out[i] = p->slot[at]) != NULL;
    }
    pthread_mutex_unlock(&p->lock);
    return good ? out : NULL;
}

/* ---- deciding -------------------------------------------------------------------------------- */

/* Does the lower-case literal stand in the text? */
static int
contains(mete_text text, const char *literal, size_t length)
{
    if (!length)
        return 1;
    for (size_t i = 0; i + length <= text.length; i++) {
        size_t k = 0;
        while (k < length && tolower((unsigned char)text.data[i + k]) == (unsigned char)literal[k])
            k++;
        if (k == length)
            return 1;
    }
    return 0;
}

/* 1 met, 0 not, negative: could not be decided. */
static int
decide(const struct ready *ready, mete_text text, mete_matcher *matcher)
{
    mete_number number;
    size_t words, at = 0;
    int count;
    switch (ready->check) {
    case CONTAINS:
    case NOT_CONTAINS:
        return contains(text, ready->literal, ready->length) == (ready->check == CONTAINS);
    case REGEX:
    case NOT_REGEX:
        count = mete_pattern_count(ready->pattern, text, 1, matcher);
        return count < 0 ? count : (count > 0) == (ready->check == REGEX);
    case COUNT:
        count = mete_pattern_count(ready->pattern, text, 1 << 20, matcher);
        return count < 0 ? count : count >= ready->least && count <= ready->most;
    case NUMBER:
        while (mete_number_find(text, at, METE_NUMBER_ALL, &number)) {
            if (fabs(number.value - ready->least) <= ready->most)
                return 1;
            at = number.start + number.length;
        }
        return 0;
    default:
        words = mete_words(text, 0, NULL, 0);
        return (double)words >= ready->least && (double)words <= ready->most;
    }
}

/* One response against the criteria [from, to). */
static void
judge(mete_ctx *cx, const struct rubric *p, const mete_rubric_table *table,
      const struct ready *const *ready, size_t g, mete_text text, size_t row, mete_scores *out,
      mete_matcher *matcher)
{
    double earned = 0, possible = 0, met = 0, positive = 0, wrong = 0;
    if (!text.data)
        text = (mete_text){"", 0};
    for (size_t k = table->first[g]; k < table->first[g + 1]; k++) {
        double points =
            ((const mete_criterion *)(const void *)((const char *)table->item + k * table->stride))
                ->points;
        int decided = decide(ready[k], text, matcher);
        if (decided < 0) {
            mete_row_fail(cx, row, METE_FAILED, "a criterion's pattern took more than %lld steps",
                          (long long)p->match_limit);
            return;
        }
        earned += decided ? points : 0;
        possible += points > 0 ? points : 0;
        positive += points > 0;
        met += points > 0 && decided;
        wrong += points > 0 ? !decided : decided;
    }
    if (possible <= 0) {
        mete_row_fail(cx, row, METE_NOT_APPLICABLE, "no criterion with positive points");
        return;
    }
    out->episode[row] = earned / possible;
    mete_out(out, p->met)[row] = met / positive;
    mete_out(out, p->errors)[row] = wrong / positive;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    /* The cache of ready criteria is not learnt: what it holds follows from the criteria alone. */
    struct rubric *p = (struct rubric *)(uintptr_t)self;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to judge");
    const mete_rubric_table *table = mete_rubric_of(cx, p->generator, batch);
    const struct ready **ready = table ? prepare_all(cx, p, table) : NULL;
    if (!ready)
        return METE_EDATA;
    mete_matcher *matcher = mete_matcher_new();
    if (!matcher)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t g = 0; g < batch->groups; g++)
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            judge(cx, p, table, ready, g, batch->response[i], i, out, matcher);
    mete_matcher_free(matcher);
    return METE_OK;
}

METE_REWARD_PLUGIN(
    rubric, "1.0", "points of the criteria a response meets",
    .doc = "Signals: met, the share of positive criteria met; error_rate, unmet positive and met\n"
           "negative criteria over the positive ones (for slots: the slot error rate).",
    .reference = "Arora et al. 2025, HealthBench, arXiv:2505.08775", .options = options,
    .state_size = sizeof(struct rubric), .open = open_rubric, .close = close_rubric,
    .score = score);
