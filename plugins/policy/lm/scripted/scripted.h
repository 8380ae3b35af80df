/* scripted.h - what the files of the scripted model share. */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <mete/policy.h>
#include <mete/text.h>
#include <pcre2.h>

enum { MODE_TABLE, MODE_JUDGE };
enum { OVER_USER, OVER_CONVERSATION };
enum {
    CHECK_CONTAINS,
    CHECK_NOT_CONTAINS,
    CHECK_REGEX,
    CHECK_NOT_REGEX,
    CHECK_NUMBER,
    CHECK_WORDS
};

/* One row of the script; the first whose pattern matches answers. */
struct rule {
    const char *when;
    const char *say, *wrong;
    mete_strings choose;
    mete_reals chance;
    int check;
    const char *target;
    pcre2_code *code;
};

struct scripted {
    int mode, over, sleep;
    mete_list rules; /* of struct rule */
    const char *otherwise;
    const char *criterion, *response, *rival, *yes, *no;
    double error_rate, failure_rate, delay;
    int64_t match_limit;
    const mete_table *transcripts;
    pcre2_code *criterion_code, *response_code, *rival_code;
    pcre2_match_context *limits;
    const mete_text *reply; /* the table's column */
    uint64_t *heard;        /* [transcripts->rows] hash of each conversation, ascending */
    uint32_t *row;          /* its row */
};

/* What may be said, and how probable it is. The first is said without a temperature. */
struct outcome {
    mete_text text;
    double chance;
};

/* A match: the text it was found in, and the groups, until the next of the same `data`. */
struct match {
    mete_text text;
    pcre2_match_data *data;
    int groups; /* > 0: found; 0: not; negative: given up */
};

/* pattern.c */
pcre2_code *pattern_compile(mete_ctx *cx, const char *what, mete_text pattern);
struct match pattern_find(const struct scripted *p, const pcre2_code *code, mete_text text,
                          pcre2_match_data *data);
/* Group `number`, empty when it took no part. */
mete_text match_group(const struct match *match, uint32_t number);
/* The template with $0 to $9, ${name} and $$ filled in, in the arena. `quote` escapes what is
 * filled in, for a pattern. */
int template_fill(mete_ctx *cx, const char *text, const struct match *match, const pcre2_code *code,
                  int quote, mete_text *out);

/* judge.c: 1 the criterion is met, 0 not, negative after `reply` was made a failed one. */
int judge_decide(mete_ctx *cx, const struct scripted *p, mete_text question, pcre2_match_data *data,
                 mete_reply *reply);
/* What option `k` of a choice says: 1 yes, 0 no. */
int judge_says(const mete_request *request, size_t k);

#endif
