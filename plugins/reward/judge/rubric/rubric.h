/* rubric.h - what the files of the reward share. */
#ifndef RUBRIC_H
#define RUBRIC_H

#include <mete/model.h>
#include <mete/pattern.h>
#include <mete/reward.h>
#include <mete/rubric.h>
#include <pthread.h>

#define MOST_VOTES 99

enum { ASK_VERDICT, ASK_CHOICE, ASK_HEALTHBENCH };

struct ready;

struct rubric {
    mete_node *generator, *judge;
    int ask;
    int64_t match_limit, votes, max_tokens;
    double temperature;
    const char *instructions;
    pthread_mutex_t lock;
    struct ready **slot; /* open addressing by key */
    size_t ready, slots;
    int met, errors;
};

static inline const mete_criterion *
criterion_at(const mete_rubric_table *table, size_t i)
{
    return (const mete_criterion *)(const void *)((const char *)table->item + i * table->stride);
}

static inline int
is_judged(const mete_criterion *criterion)
{
    return criterion->kind == METE_CRITERION_JUDGED || criterion->kind == METE_CRITERION_ORDINAL;
}

/* ---- program.c: criteria that programs decide ------------------------------------------------ */

/* The ready form of each criterion of the table, made where it is new (judged ones have one too).
 * NULL after an error. */
const struct ready **program_prepare(mete_ctx *cx, struct rubric *p,
                                     const mete_rubric_table *table);
/* 1 met, 0 not, negative: could not be decided. */
int program_decide(const struct ready *ready, mete_text text, mete_matcher *matcher);
void program_free(struct rubric *p);

/* ---- judged.c: criteria that a model decides ------------------------------------------------- */

/* Writes the grades of judged criteria (and how far their verdicts agree) of all rows; where the
 * judge gave no verdict the grade stays NaN and (*reason)[place of the grade] says why. */
int judged_ask(mete_ctx *cx, const struct rubric *p, const mete_rubric_table *table,
               const mete_batch *batch, mete_grades *grades, mete_text **reason);

#endif
