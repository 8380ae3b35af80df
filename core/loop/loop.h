/* loop.h - the optimisation loop: stages of rollout, scores, advantages, objective, optimiser.
 *
 * Knows no method: advantages are forms and baselines, objectives are sums of generic terms, both
 * read from the config (conf/objective/NAME.cfg are presets). One iteration is a function of the
 * loop's state alone, so a run resumed from a checkpoint goes on with the same bits.
 */
#ifndef METE_LOOP_LOOP_H
#define METE_LOOP_LOOP_H

#include "engine/engine.h"
#include "run/checkpoint.h"

typedef struct mete__loop mete__loop;

/* What the loop tells whoever runs it. All may be NULL. `metrics` gets one finished JSON object an
 * iteration (names in a fixed order); `sample` one of prompt, response and each node's score. */
typedef struct mete__loop_sinks {
    void *user;
    int (*metrics)(void *user, const char *json, size_t length, mete_error *err);
    /* the same numbers unwritten: value[i] is called name[i], NaN where it is not finite */
    int (*numbers)(void *user, uint64_t iteration, const char *stage, const char *const *name,
                   const double *value, size_t count, mete_error *err);
    /* one JSON object an iteration of where time and requests went */
    int (*timing)(void *user, const char *json, size_t length, mete_error *err);
    int (*sample)(void *user, const char *json, size_t length, mete_error *err);
    /* one JSON object a rubric, each time its criteria's statistics are told */
    int (*criteria)(void *user, const char *json, size_t length, mete_error *err);
    void (*event)(void *user, const char *kind, const char *text);
    /* a sign that the reward is gamed: a line for people, and members of a JSON object (without its
     * braces) with the numbers behind it */
    void (*watch)(void *user, const char *text, const char *members);
    /* a version of a generator's criteria, JSONL; told again, with the same bytes, when a resumed
     * run makes it again */
    int (*rubric)(void *user, const char *path, uint64_t version, mete_text criteria,
                  mete_error *err);
    /* progress: stage name, iteration of total, and a few headline numbers to print */
    void (*progress)(void *user, const char *stage, uint64_t iteration, uint64_t total,
                     const char *headline);
} mete__loop_sinks;

/* Reads run, env.group, env.lanes, objective, optimiser, snapshots, stages, evaluate of the config,
 * describes the policy, and stands before the first iteration. NULL when errors were added. */
mete__loop *mete__loop_new(mete__engine *engine, mete__config *config,
                           const mete__loop_sinks *sinks, mete__errors *errors);
void mete__loop_free(mete__loop *loop);
/* The policy's parameters as they stand; borrowed. */
mete_params mete__loop_params(const mete__loop *loop);
/* Total iterations of all stages, and those done. */
uint64_t mete__loop_total(const mete__loop *loop);
uint64_t mete__loop_done(const mete__loop *loop);
/* One iteration. METE_OK; the error names stage and node. The loop's state is then as before the
 * iteration only in what is checkpointed: stop, or resume from the last checkpoint. */
int mete__loop_step(mete__loop *loop, mete_error *err);
/* All state: parameters, optimiser moments, snapshots, every node's tensors and bytes, lanes,
 * counters, episode states. */
int mete__loop_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err);
int mete__loop_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err);
/* Takes the policy's parameters, and what else it learnt, from a checkpoint of another run, before
 * the first iteration. The layouts must agree; the error says where they do not. */
int mete__loop_adopt(mete__loop *loop, const mete__checkpoint *from, mete_error *err);
/* Makes the parameters, as they are now, known to the engine as the model "policy", and snapshots
 * taken by their names. An iteration does so itself. */
void mete__loop_announce(mete__loop *loop);
/* Samples as lines of JSON, in the form that a fit reads. */
typedef struct mete__collect {
    const char *label; /* the reward node that labels, by name or path; NULL: the root */
    bool rows;         /* every sample with the node's value; else the best and the worst, by it, of
                          each prompt's samples */
    bool held;         /* of held-out prompts */
    double temperature;
} mete__collect;
/* Appends those of one more batch, and adds their number to *records. */
int mete__loop_collect(mete__loop *loop, const mete__collect *what, mete_buffer *out,
                       uint64_t *records, mete_error *err);
/* After the last iteration: a summary for people (before and after, samples, per-node rewards) and
 * the same as one JSON object. Caller frees with free(). */
char *mete__loop_summary(const mete__loop *loop);
char *mete__loop_summary_json(const mete__loop *loop);

#endif
