/* judge.c - verdicts by simple checks: a rule whose pattern matches the criterion says what to look
 * for in the response. */
#include "scripted.h"

#include <math.h>

static int
check_number(mete_text response, mete_text target)
{
    size_t semicolon = mete_text_find(target, mete_text_from(";"), 0), at = 0;
    double value, within = 0;
    mete_number number;
    if (!mete_number_parse(mete_text_slice(target, 0, semicolon), METE_NUMBER_ALL, &value) ||
        (semicolon != SIZE_MAX &&
         !mete_number_parse(mete_text_slice(target, semicolon + 1, target.length), METE_NUMBER_ALL,
                            &within)))
        return -1;
    while (mete_number_find(response, at, METE_NUMBER_ALL, &number)) {
        if (fabs(number.value - value) <= within)
            return 1;
        at = number.start + number.length;
    }
    return 0;
}

static int
check_words(mete_text response, mete_text target)
{
    size_t semicolon = mete_text_find(target, mete_text_from(";"), 0);
    double least, most;
    if (semicolon == SIZE_MAX ||
        !mete_number_parse(mete_text_slice(target, 0, semicolon), 0, &least) ||
        !mete_number_parse(mete_text_slice(target, semicolon + 1, target.length), 0, &most))
        return -1;
    double words = (double)mete_words(response, 0, NULL, 0);
    return words >= least && words <= most;
}

/* Does `target` stand in the response, whatever the case? Negative: out of memory. */
static int
check_contains(mete_text response, mete_text target)
{
    mete_buffer text = mete_buffer_make(0), part = mete_buffer_make(0);
    int status = mete_lower(response, &text);
    if (!status)
        status = mete_lower(target, &part);
    int found = mete_text_find(mete_buffer_view(&text), mete_buffer_view(&part), 0) != SIZE_MAX;
    mete_buffer_free(&text);
    mete_buffer_free(&part);
    return status ? -1 : found;
}

/* 1, 0, or negative: the match was given up, or the target is none. */
static int
check_pattern(const struct scripted *p, mete_text response, mete_text target, mete_matcher *matcher)
{
    mete_pattern *pattern = mete_pattern_new(target, 0, (uint32_t)p->match_limit, NULL);
    int found = pattern ? mete_pattern_find(pattern, response, matcher) : -1;
    mete_pattern_free(pattern);
    return found < 0 ? -1 : found > 0;
}

static int
check(const struct scripted *p, const struct rule *rule, mete_text target, mete_text response,
      mete_matcher *matcher)
{
    int found;
    switch (rule->check) {
    case CHECK_CONTAINS:
        return check_contains(response, target);
    case CHECK_NOT_CONTAINS:
        found = check_contains(response, target);
        return found < 0 ? found : !found;
    case CHECK_REGEX:
        return check_pattern(p, response, target, matcher);
    case CHECK_NOT_REGEX:
        found = check_pattern(p, response, target, matcher);
        return found < 0 ? found : !found;
    case CHECK_NUMBER:
        return check_number(response, target);
    default:
        return check_words(response, target);
    }
}

/* The part of the question that a pattern's first group finds; NULL data when it does not. */
static mete_text
part_of(const mete_pattern *pattern, mete_text question, mete_matcher *matcher)
{
    int found = mete_pattern_find(pattern, question, matcher);
    return found > 0 ? mete_matcher_group(matcher, question, found > 1) : (mete_text){NULL, 0};
}

/* The rule for this criterion, its target filled in; NULL after the reply was made a failed one. */
static const struct rule *
rule_for(mete_ctx *cx, const struct scripted *p, mete_text criterion, mete_matcher *matcher,
         mete_text *target, mete_reply *reply)
{
    const struct rule *rule = p->rules.item;
    for (size_t i = 0; i < p->rules.count; i++, rule++) {
        int found = mete_pattern_find(rule->pattern, criterion, matcher);
        if (found < 0) {
            mete_reply_fail(cx, reply, METE_FAILED, "a match was given up (PCRE2 error %d)", found);
            return NULL;
        }
        if (!found)
            continue;
        int quote = rule->check == CHECK_REGEX || rule->check == CHECK_NOT_REGEX;
        if (template_fill(cx, rule->target, rule->pattern, criterion, matcher, quote, target)) {
            mete_reply_fail(cx, reply, METE_FAILED, "out of memory");
            return NULL;
        }
        return rule;
    }
    mete_reply_fail(cx, reply, METE_FAILED, "the script has no rule for this criterion");
    return NULL;
}

int
judge_decide(mete_ctx *cx, const struct scripted *p, mete_text question, mete_matcher *matcher,
             mete_reply *reply)
{
    mete_text target, rival = {NULL, 0};
    mete_text criterion = part_of(p->criterion_pattern, question, matcher);
    mete_text response = part_of(p->response_pattern, question, matcher);
    if (p->rival_pattern)
        rival = part_of(p->rival_pattern, question, matcher);
    if (!criterion.data || !response.data) {
        mete_reply_fail(cx, reply, METE_FAILED, "found no %s in the question",
                        criterion.data ? "response" : "criterion");
        return -1;
    }
    const struct rule *rule = rule_for(cx, p, criterion, matcher, &target, reply);
    if (!rule)
        return -1;
    int met = check(p, rule, target, response, matcher);
    int other = rival.data ? check(p, rule, target, rival, matcher) : 0;
    if (met < 0 || other < 0) {
        mete_reply_fail(cx, reply, METE_FAILED,
                        "a rule's target is no %s, or its match was given up",
                        rule->check == CHECK_NUMBER ? "number" : "pattern or range");
        return -1;
    }
    /* Of two that fare alike either may be the better: the question itself decides. */
    if (rival.data && met == other)
        return (int)(mete_hash(mete_key(cx), question.data, question.length) & 1);
    return met;
}

int
judge_says(const mete_request *request, size_t k)
{
    static const char *const yes[] = {"yes", "true", "pass", "met", "a"};
    static const char *const no[] = {"no", "false", "fail", "unmet", "not met", "b"};
    mete_buffer lower = mete_buffer_make(0);
    int says = -1;
    if (!mete_lower(mete_text_trim(request->option[k]), &lower)) {
        for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
            says = mete_text_is(mete_buffer_view(&lower), yes[i]) ? 1 : says;
        for (size_t i = 0; i < sizeof no / sizeof *no; i++)
            says = mete_text_is(mete_buffer_view(&lower), no[i]) ? 0 : says;
    }
    mete_buffer_free(&lower);
    if (says >= 0)
        return says;
    /* Grades: the greatest of them is a yes, the least a no, and the rest are never said. */
    double mine, other;
    int least = 1, most = 1;
    if (!mete_number_parse(request->option[k], 0, &mine))
        return request->options == 2 && !k;
    for (size_t i = 0; i < request->options; i++)
        if (mete_number_parse(request->option[i], 0, &other)) {
            least &= mine <= other;
            most &= mine >= other;
        }
    return most ? 1 : least ? 0 : -1;
}
