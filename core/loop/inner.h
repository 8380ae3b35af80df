/* inner.h - what the loop's own files share. */
#ifndef METE_LOOP_INNER_H
#define METE_LOOP_INNER_H

#include "loop/advantage.h"
#include "loop/loop.h"
#include "nn/optimiser.h"
#include "nn/schedule.h"

/* ---- metrics: names and numbers in the order they came --------------------------------------- */

typedef struct mete__metrics {
    struct {
        char *name;
        uint64_t hash; /* of the name */
        double sum;
        uint64_t count;
    } * item;
    size_t count, room;
} mete__metrics;

void mete__metrics_add(mete__metrics *metrics, double value, const char *format, ...)
    METE_PRINTF(3, 4);
/* One number under a name, in place of what was there. */
void mete__metrics_set(mete__metrics *metrics, const char *name, double value);
void mete__metrics_clear(mete__metrics *metrics);
void mete__metrics_free(mete__metrics *metrics);
/* The mean under a name, or NaN. */
double mete__metrics_get(const mete__metrics *metrics, const char *name);
/* Is `node` a reward at or below `root`, and has it scores of the last batch? */
bool mete__belongs(const mete_node *node, const mete_node *root);
bool mete__measured(const mete_node *node, const mete_node *root);
/* What such a node is called: its path below the root, "reward", "reward/safe/rubric". */
#define METE__METRIC_NAME 520
void mete__metrics_name(const mete_node *node, const mete_node *root, char name[METE__METRIC_NAME]);
/* The same of any node by its path: "policy", "models/judge". */
void mete__node_label(const mete_node *node, char name[METE__METRIC_NAME]);
/* Nodes' means, spreads and signals of the last scored batch, valid rows only, under `prefix`. */
void mete__metrics_nodes(mete__metrics *metrics, mete__engine *engine, mete_node *root,
                         const mete_batch *batch, const char *prefix);

/* ---- rollout --------------------------------------------------------------------------------- */

/* Lanes of one environment instance, and the batch they fill. */
typedef struct mete__rollout {
    mete__engine *engine;
    mete_node *environment, *policy;
    size_t lanes, group, steps; /* steps 0: whole episodes */
    size_t together;            /* lanes that share a task in the batch under way */
    bool given;                 /* its answers are texts of a column */
    bool evaluation;
    uint64_t id_base; /* episode ids of this rollout start here */
    mete_observations *now;
    mete_transitions *moved;
    mete_actions *actions;
    mete_actions *rejected; /* the second texts of pairs, made when first wanted */
    mete__builder *builder;
    int *column; /* [declareds] builder's handle */
    int reward_column;
    uint64_t collected; /* batches so far */
    bool running;       /* lanes stand in the middle of episodes */
    uint32_t *age;      /* [lanes] steps since the episode's start */
    uint32_t *lane;     /* [lanes] 0, 1, 2 ... */
    struct mete__history *history;
    /* what the policy observes, [lanes x width]: the environment's own, or env.observe's */
    uint32_t width;
    const float *observation, *final_observation;
    struct mete__observe *observe; /* NULL: the environment's own */
    struct mete__tasks *tasks;     /* which tasks lanes are given, or NULL: in turn; the loop's */
    const uint64_t *only;          /* [onlys] the tasks there are, in turn; NULL: all; the loop's */
    size_t onlys;
    struct mete__kept *kept;   /* columns of several steps; NULL: none but signals */
    struct mete__talks *talks; /* conversations, or NULL */
} mete__rollout;

int mete__rollout_open(mete__rollout *rollout, mete__engine *engine, mete_node *environment,
                       mete_node *policy, size_t lanes, size_t group, size_t steps, bool evaluation,
                       mete_error *err);
void mete__rollout_close(mete__rollout *rollout);
/* The next batch, acted by the policy, or, when `responses` names a column of texts, with responses
 * drawn from it and no acting; with `against` too, each lane gives two rows, the first preferred to
 * the second. Valid until the next call. NULL + err. */
const mete_batch *mete__rollout_batch(mete__rollout *rollout, const mete_params *params,
                                      uint32_t mode, double temperature, const char *responses,
                                      const char *against, mete_error *err);
/* Starts every lane anew, those of a group on one task. */
int mete__rollout_start(mete__rollout *rollout, mete_error *err);
/* The environment's column of that name if it is one text or one list of texts an episode. */
int mete__rollout_texts(const mete__rollout *rollout, const char *name, size_t *column,
                        mete_error *err);
/* The lane's candidate number `at`; empty where there is none. */
mete_text mete__rollout_chosen(const mete__rollout *rollout, int32_t at, size_t lane);
/* kept.c: columns by step of a collection (mete__kept_take before the lanes move), put into the
 * row, or the latest turn or step, that the builder is at. All do nothing without columns. */
int mete__kept_open(mete__rollout *rollout, mete_error *err);
void mete__kept_free(struct mete__kept *kept);
void mete__kept_clear(mete__rollout *rollout);
bool mete__kept_has(const mete__rollout *rollout, mete_level level);
int mete__kept_take(mete__rollout *rollout, size_t step, mete_error *err);
int mete__kept_put(mete__rollout *rollout, size_t lane, size_t step, mete_level level);
/* observe.c: what the policy observes (env.observe). All but open do nothing without the list. */
int mete__observe_open(mete__rollout *rollout, mete_error *err);
void mete__observe_free(mete__rollout *rollout);
/* The spaces as the policy knows them. */
mete_spaces mete__observe_spaces(const mete__rollout *rollout);
/* Every lane starts anew. */
void mete__observe_start(mete__rollout *rollout);
/* A collection begins: rewards observed know what those of the tree learnt by now. */
void mete__observe_share(mete__rollout *rollout);
/* After a step of the environment: all but what rewards tell of it. */
void mete__observe_moved(mete__rollout *rollout);
/* Where the step just done goes, a fragment a lane, to be scored by mete__observe_score; NULL: no
 * reward is observed. */
mete__builder *mete__observe_live(const mete__rollout *rollout);
int mete__observe_score(mete__rollout *rollout, mete_error *err);
int mete__observe_save(const mete__rollout *rollout, mete__checkpoint *to, mete_error *err);
int mete__observe_load(mete__rollout *rollout, const mete__checkpoint *from, mete_error *err);
/* tasks.c: the block `tasks`, for an environment with numbered tasks. NULL: there is none, or an
 * error was added. */
struct mete__tasks *mete__tasks_read(mete__rollout *rollout, mete__config *config, uint64_t seed,
                                     mete__errors *errors);
void mete__tasks_free(struct mete__tasks *tasks);
/* The n-th task drawn. */
uint64_t mete__tasks_at(const struct mete__tasks *tasks, uint64_t n);
/* turns.c: what lanes of a conversation said, and the batches made of it. */
int mete__talks_open(mete__rollout *rollout, mete_error *err);
void mete__talks_free(mete__rollout *rollout);
const mete_batch *mete__rollout_turns(mete__rollout *rollout, const mete_params *params,
                                      uint32_t mode, double temperature, const char *responses,
                                      const char *against, mete_error *err);
int mete__talks_save(const mete__rollout *rollout, mete__checkpoint *to, mete_error *err);
int mete__talks_load(mete__rollout *rollout, const mete__checkpoint *from, mete_error *err);
int mete__rollout_save(const mete__rollout *rollout, mete__checkpoint *to, mete_error *err);
int mete__rollout_load(mete__rollout *rollout, const mete__checkpoint *from, mete_error *err);

/* ---- objective ------------------------------------------------------------------------------- */

enum mete__term {
    METE__TERM_NLL = 1u << 0,
    METE__TERM_RATIO = 1u << 1,
    METE__TERM_VALUE = 1u << 2,
    METE__TERM_KL = 1u << 3,
    METE__TERM_ENTROPY = 1u << 4,
    METE__TERM_PAIR = 1u << 5,
    METE__TERM_IMPLICIT = 1u << 6,
    METE__TERM_MATCH = 1u << 7,
    METE__TERM_AUX = 1u << 8
};
/* Terms that want no reward: they learn from given texts, or from the policy's own losses. */
#define METE__TERMS_GIVEN                                                                          \
    (METE__TERM_NLL | METE__TERM_KL | METE__TERM_ENTROPY | METE__TERM_PAIR | METE__TERM_MATCH |    \
     METE__TERM_AUX)

enum mete__link { METE__LINK_LOGISTIC, METE__LINK_SQUARE, METE__LINK_HINGE };
/* Which rows of a group become pairs (a preferred to b). */
enum mete__pairing { METE__PAIR_BEST_WORST, METE__PAIR_ALL, METE__PAIR_NEXT };
/* Which sampled rows are learnt from. */
enum mete__keep { METE__KEEP_ALL, METE__KEEP_BEST, METE__KEEP_THRESHOLD };

typedef struct mete__objective {
    const char *name;
    unsigned terms;
    mete__advantage_form form;
    bool divide;    /* by the group's standard deviation */
    bool normalise; /* over the batch */
    bool drop_zero_variance;
    bool kl_in_reward;
    bool sequence_mean;  /* mean of rows' means, not of steps */
    bool pair_mean;      /* pair: mean log-ratio of a row's steps, not their sum */
    bool reference_free; /* pair, implicit: log-probabilities in place of log-ratios */
    int kl_estimator;    /* 1, 2, 3 */
    enum mete__link link;
    enum mete__pairing pairing;
    enum mete__keep keep;
    double keep_above; /* METE__KEEP_THRESHOLD: reward a kept row must reach */
    double pair_gap;   /* smallest difference of rewards that makes a pair */
    double epsilon;
    char teacher[64]; /* match: the snapshot whose distribution is matched */
    char tokens[128]; /* implicit: the node whose step rewards stand for advantages; "": none */
    /* pair: beta grows with how much better the preferred is, by a node's score; "": the root's */
    char beta_by[128];
    double beta_gain, beta_rate;
    mete__schedule gamma, lambda, clip, clip_high, value_clip, beta, margin;
    mete__schedule nll, ratio, value, kl, entropy, pair, implicit, match, aux;
    double target_kl; /* stop the epochs past it; 0: never */
    uint64_t epochs, minibatch;
} mete__objective;

/* Reads objective = { use = ...; }; `value` may be NULL for the default. */
/* `pairing` and `gap` alone, of a group that is no objective. */
void mete__pairing_read(mete__value *group, mete__objective *out, mete__errors *errors);
void mete__objective_read(mete__config *config, mete__value *value, mete__objective *out,
                          mete__errors *errors);

/* Numbers of the objective at an iteration. */
typedef struct mete__weights_now {
    double clip, clip_high, value_clip, nll, ratio, value, kl, entropy;
    double pair, implicit, match, aux, beta, margin;
} mete__weights_now;

mete__weights_now mete__weights_at(const mete__objective *objective, double iteration);

/* A minibatch, or a piece of one: arrays [count] in the query's order; heads values a step. */
typedef struct mete__minibatch {
    size_t count, heads;
    const float *old_logp, *reference_logp, *advantage, *weight;
    const float *old_value, *target; /* [count x heads]; target NaN: there is none */
    /* pair: rows 2k and 2k + 1 are a pair; row r has queries row_begin[r]..row_begin[r + 1] */
    size_t rows;
    const uint32_t *row_begin; /* [rows + 1] */
    const float *pair_p;       /* [rows / 2] probability that the first is preferred */
    const float *pair_scale;   /* [rows / 2] what beta is multiplied by; NULL: 1 */
    double pair_weight;        /* of each pair: 1 / pairs of the whole minibatch */
    /* match: the teacher's log-probabilities [count x classes] */
    const float *teacher;
    size_t classes;
    double share; /* of the minibatch's steps: weighs what the policy gives once a call (aux) */
} mete__minibatch;

typedef struct mete__losses {
    double total, nll, ratio, value, kl, entropy; /* weighted sums over the minibatch */
    double pair, implicit, match, aux;
    double clipped, entropy_mean, approx_kl;   /* means */
    double pair_right, pair_margin, pair_seen; /* pairs ordered right, their z; of how many */
} mete__losses;

/* What beta is multiplied by for a pair whose first is better by delta. */
double mete__pair_scale(const mete__objective *objective, double delta);
/* The loss of a minibatch and d loss / d outputs. Adjoint arrays are written, not added to. */
void mete__objective_terms(const mete__objective *objective, const mete__weights_now *now,
                           const mete__minibatch *minibatch, const mete_outputs *out,
                           mete_outputs *adjoint, mete__losses *losses);

/* ---- the running batch ----------------------------------------------------------------------- */

/* Queries [from, to) of a minibatch and the rows they come from: what one tape holds at a time. */
typedef struct mete__piece {
    uint32_t from, to, row_from, row_to;
} mete__piece;

/* Where one worker's pieces go. Their number is fixed, so that sums do not depend on threads. */
#define METE__SHARDS 2
typedef struct mete__shard {
    mete_tape *tape, *teacher_tape;
    float *grad; /* [parameters]; the first is the loop's own */
    float *logits, *logits_adjoint, *teacher;
    size_t logits_room;
    mete__losses losses;
    int status;
    mete_error err;
} mete__shard;

/* Arrays of the running batch, grown and kept. */
struct mete__work {
    size_t steps, rows, most;
    /* per step or row of the batch */
    double *reward, *advantage, *stream, *target, *value, *last, *row;
    float *reference;
    uint8_t *use, *valid, *flat, *stream_valid;
    float *weight;
    /* what an epoch goes through: steps used, or rows with their steps, or pairs of rows */
    uint32_t *index;
    uint32_t *unit;             /* rows, a pair's two adjacent */
    float *unit_p, *unit_scale; /* [pairs] */
    size_t count, units, unit_rows, unit_room;
    /* one minibatch, in its query's order */
    uint32_t *query, *row_begin;
    float *pair_p, *pair_scale;
    size_t queries, query_rows, query_row_room;
    float *m_old, *m_reference, *m_advantage, *m_weight, *m_value, *m_target;
    float *o_logp, *o_value, *o_entropy, *a_logp, *a_value, *a_entropy;
    mete__piece *piece;
    size_t pieces, piece_room;
    mete__shard shard[METE__SHARDS];
};

/* ---- the loop -------------------------------------------------------------------------------- */

typedef struct mete__snapshot_spec {
    char *name;
    char *at;       /* "start" or a stage's name: taken when that stage begins; NULL: by decay */
    double decay;   /* ema */
    uint64_t every; /* taken anew every so many iterations; 0: once */
    bool taken;
    uint64_t version; /* of the parameters it was taken from */
    float *vector;
} mete__snapshot_spec;

struct mete__fit;
typedef struct mete__stage {
    char *name;
    struct mete__fit *fit;               /* do = "fit" or "refine", else NULL */
    bool evaluate;                       /* do = "evaluate" */
    struct mete__curriculum *curriculum; /* or NULL */
    uint64_t first, count;               /* iterations [first, first + count) of the run */
    mete__objective objective;
    mete__optimiser optimiser; /* settings; moments are the loop's */
    mete__schedule rate;
    char *responses; /* column of texts to learn from, or NULL: the policy acts */
    char *against;   /* column of texts that `responses` are preferred to, or NULL */
    mete__schedule temperature;
} mete__stage;

/* A sampled text kept to show what changed. */
typedef struct mete__shown {
    char *prompt, *response;
    double reward;
} mete__shown;

#define METE__SHOWN 3

/* collect.c: the pairs that `objective` picks of a scored batch by the node's score, labelled by
 * the node where it compares, as units of the running batch's work; NULL after an error. */
struct mete__work *mete__pairs_label(mete__loop *loop, mete_node *label,
                                     const mete__objective *objective, const mete_batch *batch,
                                     mete_error *err);

/* length.c: lengths of rows, and values of each, NaN where there is none: [rows x columns], the
 * first column the length. */
typedef struct mete__lengths {
    double *row;
    size_t columns, rows, room;
} mete__lengths;

/* One more row, to write; NULL: out of memory. */
double *mete__lengths_add(mete__lengths *all, size_t columns);
void mete__lengths_free(mete__lengths *all);
/* The gain of a column's value within bins of like length, over its whole gain: 0 where answers
 * only became longer, 1 where length had no part in it. NaN: no bin has rows of both, or nothing
 * was gained. */
double mete__length_free_gain(const mete__lengths *before, const mete__lengths *after,
                              size_t column);

typedef struct mete__judged {
    mete__metrics metrics;
    mete__shown shown[METE__SHOWN];
    size_t count;
    mete__lengths lengths; /* of the rows, and what each node of the reward makes of them */
} mete__judged;

struct mete__loop {
    mete__engine *engine;
    mete__config *config;
    mete__loop_sinks sinks;
    mete_node *policy, *reward;
    uint64_t seed;
    double max_failed;
    float *parameter, *grad;
    size_t parameters;
    uint64_t version;
    mete__optimiser optimiser; /* of the running stage, with moments */
    mete__stage *stage;
    size_t stages;
    uint64_t total, done;
    mete__snapshot_spec *snapshot;
    size_t snapshots;
    mete__rollout train, held;
    bool evaluates;
    uint64_t evaluate_every, evaluate_episodes;
    size_t evaluate_group; /* held-out samples that share a prompt */
    bool evaluate_greedy;
    const char *evaluate_responses;      /* column of texts to weigh, or NULL; the config's */
    mete__schedule evaluate_temperature; /* by iterations since the measurement before */
    mete__judged before, after;
    mete__metrics metrics;
    struct mete__work *work;
    uint64_t samples_every, attribution_every;
    struct mete__attribution *attribution; /* made when first wanted */
    struct mete__watch *watch;             /* or NULL */
    struct mete__timing *timing;           /* made with the first iteration */
    uint64_t *chosen;                      /* the curriculum's tasks, train.only; or NULL */
    uint64_t criteria_every;               /* 0: no statistics of criteria */
    struct mete__criteria_stats *criteria; /* made when first wanted */
};

/* One pass of the objective over a batch; metrics are added. */
int mete__train_batch(mete__loop *loop, const mete__stage *stage, const mete_batch *batch,
                      mete_error *err);
/* Gradient of the reward's own terms (ratio, implicit) with `advantage` [steps] in place of the
 * batch's, over the used steps of rows [from, from + count), into loop->grad. */
int mete__gradient(mete__loop *loop, const mete__stage *stage, const mete_batch *batch, size_t from,
                   size_t count, const double *advantage, mete_error *err);
/* Arrays large enough for a batch; NULL + err when out of memory. */
struct mete__work *mete__work_for(mete__loop *loop, const mete_batch *batch, mete_error *err);
void mete__work_free(struct mete__work *work);
/* Rewards of the last scored batch to work->advantage and work->target. */
int mete__streams(mete__loop *loop, const mete__objective *objective, const mete_batch *batch,
                  double iteration, mete_error *err);
/* What step rewards [steps] are answerable for in the root's advantage (before it is normalised) of
 * the mete__streams before: the forms are linear, so the parts of rewards, critic and costs add up.
 * `row` [episodes] is scratch. */
void mete__stream_part(struct mete__work *work, const mete__objective *objective,
                       const mete_batch *batch, double gamma, double lambda, const double *reward,
                       double *row, double *out);
/* Does the stage learn from what nodes of the tree say of each row or step, given texts too? */
bool mete__asks_nodes(const mete__objective *objective);
/* Which rows, steps and pairs count, and each step's share of the loss. */
int mete__choose(mete__loop *loop, const mete__stage *stage, const mete_batch *batch,
                 mete_error *err);
/* Pairs of the valid rows of each group, by falling score, to work->unit; false: out of memory. */
bool mete__pair_groups(struct mete__work *work, const mete__objective *objective,
                       const mete_batch *batch, const double *score);
/* A stage `do = "fit"` or "refine": reads it (never NULL but when out of memory), learns one
 * minibatch (or makes one new version), and says when the node wants to stop before its epochs are
 * done. */
struct mete__fit *mete__fit_read(mete__loop *loop, mete__value *group, bool refines,
                                 mete__stage *stage, mete__errors *errors);
/* Does it learn from a file, and not from samples? NULL: no. */
bool mete__fit_reads(const struct mete__fit *fit);
mete_node *mete__fit_node(const struct mete__fit *fit);
int mete__fit_once(mete__loop *loop, const mete__stage *stage, bool *stop, mete_error *err);
void mete__fit_free(struct mete__fit *fit);
/* Epochs of minibatches over what was chosen. */
int mete__learn(mete__loop *loop, const mete__stage *stage, const mete_batch *batch,
                mete_error *err);
/* Counts rows whose reward failed under `name`; METE_EDATA where they are more than
 * run.max_failed. */
int mete__check_failed(mete__loop *loop, const mete_batch *batch, mete__metrics *metrics,
                       const char *name, mete_error *err);
/* The parameters that were kept under a name; vector NULL: none are yet. */
mete_params mete__snapshot_params(const mete__loop *loop, const char *name);
/* Log-probability of every step of the batch under these parameters -> logp [steps]. */
int mete__logp_under(mete__loop *loop, const mete_params *params, const mete_batch *batch,
                     float *logp, mete_error *err);
int mete__evaluate(mete__loop *loop, mete__judged *out, mete_error *err);
void mete__judged_free(mete__judged *judged);
int mete__judged_save(const mete__judged *judged, const char *name, mete__checkpoint *to,
                      mete_error *err);
int mete__judged_load(mete__judged *judged, const char *name, const mete__checkpoint *from,
                      mete_error *err);

/* ---- attribution: which node the reward comes from ------------------------------------------- */

/* A reward and what its value is multiplied by on its way up to the root, through sums alone. */
typedef struct mete__part {
    const mete_node *node;
    double coefficient;
    bool inner; /* its contribution is that of parts below it */
    char name[METE__METRIC_NAME];
} mete__part;

/* The root first, then each node under sums; NULL when out of memory. Valid until the next batch is
 * scored. */
const mete__part *mete__attribution_parts(mete__loop *loop, size_t *count);
/* Of the last scored batch: shares of the root's variance, saturation, groups without spread. */
int mete__attribute_scores(mete__loop *loop, const mete_batch *batch, mete_error *err);
/* After mete__streams and mete__choose, before the advantage is normalised: shares of it, and every
 * run.attribution_every iterations of the gradient. */
int mete__attribute_advantage(mete__loop *loop, const mete__stage *stage, const mete_batch *batch,
                              mete_error *err);
void mete__attribution_free(struct mete__attribution *attribution);
int mete__attribution_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err);
int mete__attribution_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err);

/* ---- criteria: what they tell ---------------------------------------------------------------- */

#define METE__CRITERIA_TOLD 200 /* of a node, the most seen, one by one */

/* Adds the grades of the last scored batch. */
int mete__criteria_take(mete__loop *loop, const mete_batch *batch, mete_error *err);
/* Every run.criteria_every iterations, and after the last: metrics, and a line for sinks.criteria;
 * then the statistics begin anew. */
int mete__criteria_tell(mete__loop *loop, bool last, mete_error *err);
void mete__criteria_stats_free(struct mete__criteria_stats *stats);
int mete__criteria_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err);
int mete__criteria_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err);

/* ---- curriculum: which tasks and criteria a stage learns from -------------------------------- */

/* `curriculum` of a stage; NULL: it has none. */
struct mete__curriculum *mete__curriculum_read(mete__loop *loop, mete__value *group,
                                               mete__errors *errors);
void mete__curriculum_check(const mete__loop *loop, const mete__stage *stage, mete__errors *errors);
/* A stage begins: what the one before chose is forgotten; measures, chooses, and adds metrics. */
int mete__curriculum_begin(mete__loop *loop, const mete__stage *stage, mete_error *err);
int mete__curriculum_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err);
int mete__curriculum_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err);
void mete__curriculum_free(mete__loop *loop);

/* ---- timing ---------------------------------------------------------------------------------- */

enum mete__lap {
    METE__LAP_ROLLOUT,
    METE__LAP_SCORE,
    METE__LAP_ATTRIBUTION,
    METE__LAP_LEARN,
    METE__LAP_WATCH,
    METE__LAP_EVALUATE,
    METE__LAP_REST,
    METE__LAPS
};
void mete__timing_begin(mete__loop *loop);
/* The time since the last lap (or the beginning) was this one's. */
void mete__timing_lap(mete__loop *loop, enum mete__lap lap);
/* Metrics of what models were asked this iteration. */
void mete__timing_usage(mete__loop *loop);
/* The iteration's line for sinks.timing. */
int mete__timing_end(mete__loop *loop, const mete__stage *stage, mete_error *err);
void mete__timing_free(struct mete__timing *timing);

/* ---- watch: signs that the reward is gamed --------------------------------------------------- */

/* The block `watch`, or what a gold node asks for without one; NULL: nothing is watched. */
struct mete__watch *mete__watch_read(mete__loop *loop, mete__errors *errors);
void mete__watch_free(struct mete__watch *watch);
/* Before a scored batch is learnt from: what the last step did to its rows' probabilities. */
int mete__watch_look(mete__loop *loop, const mete_batch *batch, double temperature,
                     mete_error *err);
/* Takes the batch just learnt from, and raises what it shows. */
int mete__watch_step(mete__loop *loop, const mete_batch *batch, mete_error *err);
/* Multiplies weights that were lowered, after the schedules wrote them. */
void mete__watch_weigh(mete__loop *loop);
bool mete__watch_stops(const mete__loop *loop);
bool mete__watch_wants_kl(const mete__loop *loop);
/* The first reward marked gold, in the config's order; NULL: there is none. */
const mete_node *mete__gold_node(const mete__loop *loop);
/* Where stopping would have been best so far; false where gold is not watched. */
typedef struct mete__gold {
    double best_iteration, best_sqrt_kl, change_since; /* of gold, by the steps after it */
    double highest, last;                              /* smoothed means of gold */
} mete__gold;
#define METE__GOLD_FORMAT                                                                          \
    "gold was best at iteration %.0f, at sqrt(KL) %.3g: the steps after it changed gold by "       \
    "%.3g; its smoothed mean was %.4g at most and is %.4g"
bool mete__watch_gold(const mete__loop *loop, mete__gold *out);
/* The run is over: the same as an event. */
void mete__watch_end(mete__loop *loop);
int mete__watch_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err);
int mete__watch_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err);

void mete__stages_read(mete__loop *loop, mete__errors *errors);
enum { METE__SAMPLES = 4 }; /* rows of a batch that are written as samples */
int mete__loop_samples(mete__loop *loop, const mete_batch *batch, mete_error *err);

#endif
