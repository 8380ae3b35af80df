/* scripted.h - what the files of the scripted model share. */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#include <mete/pattern.h>
#include <mete/policy.h>
#include <mete/text.h>

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
    mete_pattern *pattern;
};

struct scripted {
    int mode, over, sleep;
    mete_list rules; /* of struct rule */
    const char *otherwise;
    const char *criterion, *response, *rival, *yes, *no;
    double error_rate, failure_rate, delay;
    int64_t match_limit;
    const mete_table *transcripts;
    mete_pattern *criterion_pattern, *response_pattern, *rival_pattern;
    const mete_text *reply; /* the table's column */
    uint64_t *heard;        /* [transcripts->rows] hash of each conversation, ascending */
    uint32_t *row;          /* its row */
};

/* What may be said, and how probable it is. The first is said without a temperature. */
struct outcome {
    mete_text text;
    double chance;
};

/* fill.c: the template with $0 to $9, ${name} and $$ filled in from a match of `pattern` in `text`,
 * in the arena. `quote` escapes what is filled in, for a pattern. */
int template_fill(mete_ctx *cx, const char *template, const mete_pattern *pattern, mete_text text,
                  const mete_matcher *matcher, int quote, mete_text *out);

/* judge.c: 1 the criterion is met, 0 not, negative after `reply` was made a failed one. */
int judge_decide(mete_ctx *cx, const struct scripted *p, mete_text question, mete_matcher *matcher,
                 mete_reply *reply);
/* What option `k` of a choice says: 1 yes, 0 no. */
int judge_says(const mete_request *request, size_t k);

#endif
