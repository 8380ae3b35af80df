/* program.c - criteria that programs decide: made ready once, then asked of each response. */
#include "rubric.h"

#include <ctype.h>
#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* Distinct criteria kept compiled in one instance. */
#define MOST_COMPILED 65536

enum check { CONTAINS, NOT_CONTAINS, REGEX, NOT_REGEX, COUNT, NUMBER, LENGTH, ASKED };

/* A criterion made ready; lives as long as the instance. */
struct ready {
    uint64_t key;
    enum check check;
    char *literal; /* lower case */
    size_t length;
    mete_pattern *pattern;
    double least, most;
};

static void
ready_free(struct ready *ready)
{
    mete_pattern_free(ready->pattern);
    free(ready->literal);
    free(ready);
}

void
program_free(struct rubric *p)
{
    for (size_t i = 0; i < p->slots; i++)
        if (p->slot[i])
            ready_free(p->slot[i]);
    free(p->slot);
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
    ready->key = key;
    ready->check = ASKED;
    if (is_judged(criterion) || criterion->kind == METE_CRITERION_PARTS)
        return ready;
    if (criterion->kind != METE_CRITERION_PROGRAM) {
        mete_fail(cx, METE_ENOTSUP, "criterion '%.*s' is of a kind that a rubric does not decide",
                  (int)criterion->text.length, criterion->text.data);
        free(ready);
        return NULL;
    }
    while (check < 7 && !is_word(criterion->check, word[check]))
        check++;
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

const struct ready **
program_prepare(mete_ctx *cx, struct rubric *p, const mete_rubric_table *table)
{
    const struct ready **out = mete_arena(cx, (table->count + 1) * sizeof *out);
    int good = out != NULL;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < table->count && good; i++) {
        const mete_criterion *criterion = criterion_at(table, i);
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

int
program_decide(const struct ready *ready, mete_text text, mete_matcher *matcher)
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
