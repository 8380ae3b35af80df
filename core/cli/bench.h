/* bench.h - what a reward is measured by: cases of a file, and figures from its scores. */
#ifndef METE_CLI_BENCH_H
#define METE_CLI_BENCH_H

#include "cli/cli.h"

#include <mete/text.h>
#include <stdbool.h>
#include <stddef.h>

/* A case: `chosen` responses that should score higher than `rejected` others, those first. */
typedef struct mete__case {
    size_t first; /* of its scores */
    size_t chosen, rejected;
    size_t subset;
    bool matrix;   /* three styles each, plainest first (RM-Bench) */
    int tie;       /* of RewardBench 2's Ties: 1 with one right answer ("ref:N"), 2 with several
                    ("tied:N"); 0: none of them */
    size_t prompt; /* its N */
    int longer;    /* a pair: 1 the chosen one has more bytes, -1 the rejected one, 0 neither */
} mete__case;

/* Distinct names, by the order they were first seen in. */
typedef struct mete__names {
    char **item;
    size_t count, room;
} mete__names;

/* Part of a HealthBench example's figures: a score that counts for a tag. */
typedef struct mete__mark {
    size_t score; /* of the response by the criteria of the tag, or by all */
    size_t whole; /* of the response by all criteria; where it failed, the mark counts nowhere */
    size_t tag;   /* SIZE_MAX: the example as a whole */
} mete__mark;

/* A response and a criterion that physicians decided, too. */
typedef struct mete__labelled {
    size_t score, category; /* SIZE_MAX: none */
    size_t met, unmet;      /* how many said so */
} mete__labelled;

/* A column that a node reads, from the records' field of its name. */
typedef struct mete__bench_column {
    const char *name;
    int handle;
    mete_type element;
} mete__bench_column;

struct mete__bench {
    const mete__args *args;
    mete__engine *engine;
    mete__builder *builder;
    mete__case *item;
    size_t items, item_room;
    mete__mark *mark;
    size_t marks, mark_room, examples;
    mete__labelled *labelled;
    size_t labelleds, labelled_room;
    double *score; /* NaN where a response failed */
    size_t scores, score_room, waiting;
    size_t group; /* the first score of the last row's group */
    mete__names subset, tag;
    mete__bench_column *column;
    const mete__bench_column *rubrics; /* one of them, or NULL */
    size_t columns;
    size_t left_out;
    const char *file;
    size_t number; /* of the record, from 1 */
};

/* ---- bench.c --------------------------------------------------------------------------------- */

/* A response to score, with the columns that `record` has; `rubrics`, where it is not empty, stands
 * in place of the record's. Rows of one id draw alike. */
typedef struct mete__bench_row {
    const mete_json *record;
    mete_text prompt, response, rubrics;
    uint64_t id;
    bool joins; /* the group of the row before */
} mete__bench_row;
bool mete__bench_row_add(struct mete__bench *b, const mete__bench_row *row);
/* `old` with room for `need` elements, NULL when memory ran out. */
void *mete__bench_grow(void *old, size_t *room, size_t need, size_t each);
/* The number of a name, which is added where it is new; SIZE_MAX after an error, told. */
size_t mete__bench_name(mete__names *names, mete_text text);
/* Counts the record as left out, tells why, and returns 0. */
int mete__bench_leave_out(struct mete__bench *b, const char *why);

/* ---- bench_rubrics.c: HealthBench ------------------------------------------------------------ */

/* Take a record; 1: taken, 0: left out, told, -1: failed, told. */
int mete__bench_example(struct mete__bench *b, const mete_json *record);
int mete__bench_labelled(struct mete__bench *b, const mete_json *record);
/* Cases whose score failed. */
size_t mete__bench_rubrics_failed(const struct mete__bench *b);
/* Prints the figures, in JSON as members; false when memory ran out, told. */
bool mete__bench_rubrics_put(const struct mete__bench *b, mete_buffer *json);

/* ---- bench_figures.c ------------------------------------------------------------------------- */

/* Pairs: d[k] is the chosen one's score less the rejected one's. */
typedef struct mete__pair_figures {
    double accuracy, ties; /* d > 0 (a tie is no win), d = 0 */
    double brier;          /* mean of (1 - sigma(d))^2 */
    double nll;            /* mean of -log sigma(d) */
    double ece; /* expected calibration error of sigma(|d|), ten equal bins (Guo et al. 2017) */
} mete__pair_figures;
mete__pair_figures mete__bench_pairs(const double *d, size_t n);

/* Area under the ROC curve of telling chosen from rejected by score, ties half: Mann & Whitney
 * by ranks. score [n] and chosen [n]; order [n] is scratch. NaN where one kind is missing. */
double mete__bench_auroc(const double *score, const bool *chosen, size_t n, size_t *order);

/* RM-Bench (Liu et al. 2025): win[i][j] is chosen style i above rejected style j; hard is above the
 * diagonal, normal on it, easy below. score [6]: chosen, then rejected. */
void mete__bench_matrix(const double *score, double *hard, double *normal, double *easy);

/* One to many (RewardBench 2): the share of the highest scores that are chosen ones. */
double mete__bench_best(const double *score, size_t chosen, size_t rejected);

/* The expected share of chosen ones among the best by score of n drawn out of all without
 * replacement, ties drawn from evenly: gold of best-of-n without bias. KL to the drawn from is
 * log n - (n - 1) / n. n is at most chosen + rejected. */
double mete__bench_best_of(const double *score, size_t chosen, size_t rejected, size_t n);

/* HealthBench (Arora et al. 2025): the mean of x [n], clipped to [0, 1], and the standard deviation
 * (divided by the number of them) of the clipped means of 1000 resamples; drawn by `key`. */
typedef struct mete__clipped {
    double mean, deviation;
} mete__clipped;
mete__clipped mete__bench_clipped(const double *x, size_t n, uint64_t key);

/* What a judge decided against what physicians did, a count for each of their labels. */
typedef struct mete__agreement {
    double both_met, judge_met, judge_unmet, both_unmet; /* judge_met: the physician said unmet */
} mete__agreement;
/* 2 TP / (2 TP + FP + FN) of "met" and of "unmet", and their mean, HealthBench's meta-evaluation;
 * NaN where neither ever says so. */
typedef struct mete__balanced {
    double met, unmet, mean;
} mete__balanced;
mete__balanced mete__bench_balanced(const mete__agreement *count);

/* ---- suites (bench_suites.c) ----------------------------------------------------------------- */

/* RewardBench: a section's score is the mean of its subsets' accuracies, each weighing as many
 * pairs as the benchmark counts it for. False: no subset of it is called so. */
enum { METE__SECTIONS = 4 };
extern const char *const mete__bench_section_name[METE__SECTIONS];
bool mete__bench_section(const char *subset, size_t *section, double *weight);

/* A case of RewardBench 2's Ties: how far right answers lie apart, and the worst of them above the
 * best wrong one. */
typedef struct mete__tie {
    bool tied;
    size_t prompt;
    double spread, gap;
} mete__tie;
mete__tie mete__bench_tie(const double *score, size_t chosen, size_t rejected);
/* .3 accuracy (gap > 0) of tied + .3 of ref + .2 share with gap > spread + .2 the same with the
 * lesser gap of the tied case and its ref + .01 mean of tanh(that gap / spread - 1), 0 where it is
 * none; the last three over prompts that have both. */
double mete__bench_ties(const mete__tie *tie, size_t n);

#endif
