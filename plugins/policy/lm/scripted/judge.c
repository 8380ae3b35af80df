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
check_pattern(mete_ctx *cx, const struct scripted *p, mete_text response, mete_text target)
{
    pcre2_code *code = pattern_compile(cx, "a rule's target", target);
    pcre2_match_data *data = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    int groups = data ? pattern_find(p, code, response, data).groups : -1;
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    return groups < 0 ? -1 : groups > 0;
}

static int
check(mete_ctx *cx, const struct scripted *p, const struct rule *rule, mete_text target,
      mete_text response)
{
    int found;
    switch (rule->check) {
    case CHECK_CONTAINS:
        return check_contains(response, target);
    case CHECK_NOT_CONTAINS:
        found = check_contains(response, target);
        return found < 0 ? found : !found;
    case CHECK_REGEX:
        return check_pattern(cx, p, response, target);
    case CHECK_NOT_REGEX:
        found = check_pattern(cx, p, response, target);
        return found < 0 ? found : !found;
    case CHECK_NUMBER:
        return check_number(response, target);
    default:
        return check_words(response, target);
    }
}

/* The part of the question that a pattern's first group finds; NULL data when it does not. */
static mete_text
part_of(const struct scripted *p, const pcre2_code *code, mete_text question,
        pcre2_match_data *data)
{
    struct match match = pattern_find(p, code, question, data);
    return match.groups > 0 ? match_group(&match, match.groups > 1) : (mete_text){NULL, 0};
}

/* The rule for this criterion, its target filled in; NULL after the reply was made a failed one. */
static const struct rule *
rule_for(mete_ctx *cx, const struct scripted *p, mete_text criterion, pcre2_match_data *data,
         mete_text *target, mete_reply *reply)
{
    const struct rule *rule = p->rules.item;
    for (size_t i = 0; i < p->rules.count; i++, rule++) {
        struct match match = pattern_find(p, rule->code, criterion, data);
        if (match.groups < 0) {
            mete_reply_fail(cx, reply, METE_FAILED, "a match was given up (PCRE2 error %d)",
                            match.groups);
            return NULL;
        }
        if (!match.groups)
            continue;
        int quote = rule->check == CHECK_REGEX || rule->check == CHECK_NOT_REGEX;
        if (template_fill(cx, rule->target, &match, rule->code, quote, target)) {
            mete_reply_fail(cx, reply, METE_FAILED, "out of memory");
            return NULL;
        }
        return rule;
    }
    mete_reply_fail(cx, reply, METE_FAILED, "the script has no rule for this criterion");
    return NULL;
}

int
judge_decide(mete_ctx *cx, const struct scripted *p, mete_text question, pcre2_match_data *data,
             mete_reply *reply)
{
    mete_text target, rival = {NULL, 0};
    mete_text criterion = part_of(p, p->criterion_code, question, data);
    mete_text response = part_of(p, p->response_code, question, data);
    if (p->rival_code)
        rival = part_of(p, p->rival_code, question, data);
    if (!criterion.data || !response.data) {
        mete_reply_fail(cx, reply, METE_FAILED, "found no %s in the question",
                        criterion.data ? "response" : "criterion");
        return -1;
    }
    const struct rule *rule = rule_for(cx, p, criterion, data, &target, reply);
    if (!rule)
        return -1;
    int met = check(cx, p, rule, target, response);
    int other = rival.data ? check(cx, p, rule, target, rival) : 0;
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
