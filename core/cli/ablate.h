/* ablate.h - what the files of mete ablate share: arms, claims, the table. */
#ifndef METE_CLI_ABLATE_H
#define METE_CLI_ABLATE_H

#include "cli/cli.h"
#include "cli/measure.h"
#include "run/statistics.h"

enum {
    METE__MOST_ARMS = 64,
    METE__MOST_FACTORS = 6,
    METE__MOST_SEEDS = 1000,
    METE__MOST_CLAIMS = 64,
    METE__RESAMPLES = 2000
};

typedef struct mete__arm {
    char *name; /* its folder's too */
    char **set; /* "path=value" */
    size_t sets;
    double *value; /* [seeds] what is measured; NaN: the run failed or says nothing of it */
    size_t failed, censored; /* those, and those that never reached a threshold */
    mete__interval iqm, difference;
    double p, holm, effect, improvement;
    size_t pairs;
} mete__arm;

typedef struct mete__claim {
    const char *text;  /* the config's */
    size_t more, less; /* arms */
    double margin, confidence;
    size_t seeds; /* at least so many pairs */
    mete__interval difference;
    bool holds;
} mete__claim;

typedef struct mete__ablation {
    const mete__args *args;
    const char *config;
    uint64_t digest; /* of the config */
    mete__measure measure;
    double confidence;
    uint64_t first;
    size_t seeds, arms, claims;
    size_t factors; /* of a full factorial: arm k has factor j when bit j of k is set; 0: none */
    mete__arm arm[METE__MOST_ARMS];
    mete__claim claim[METE__MOST_CLAIMS];
    mete__interval main_effect[METE__MOST_FACTORS];
} mete__ablation;

/* The arms of the block, of --arm, or every named child of the reward out in turn. */
void mete__arms_read(mete__ablation *a, mete__value *root, mete__value *block,
                     mete__errors *errors);
void mete__arms_free(mete__ablation *a);

/* "ARM > ARM [by NUMBER] [at NUMBER%] [over N seeds]", one or a list, of the arms there are. */
void mete__claims_read(mete__ablation *a, mete__value *value, mete__errors *errors);

/* From the arms' values to intervals, tests and claims; false: out of memory. */
bool mete__ablation_compare(mete__ablation *a);
void mete__ablation_table(const mete__ablation *a);
/* Appends the table as one JSON object and a newline: what --json prints, and the folder keeps. */
void mete__ablation_json(const mete__ablation *a, mete_buffer *out);

#endif
