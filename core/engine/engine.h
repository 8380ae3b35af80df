/* engine.h - instances of plugins, the reward tree, and one call into any of them.
 *
 * The engine builds every node a config names (environment, policy, models, rewards), owns what
 * they declare (tensors, parameters, columns, signals), and evaluates: the reward tree on a batch,
 * children first, in chunks over worker threads where a node allows it; a policy's act, forward and
 * backward; an environment's reset and step. Results are the same bits for any number of threads.
 */
#ifndef METE_ENGINE_ENGINE_H
#define METE_ENGINE_ENGINE_H

#include "base/arena.h"
#include "engine/config.h"
#include "engine/loader.h"
#include <mete/text.h>
#include <stdbool.h>

typedef struct mete__engine mete__engine;
typedef struct mete__workers mete__workers;

/* A named host-owned array of a node (mete_tensor). */
typedef struct mete__tensor {
    char *name;
    mete_type element;
    size_t count;
    void *data;
} mete__tensor;

/* A declared sub-signal (mete_signal, mete_provide_signal) or column (mete_provide). */
typedef struct mete__declared {
    char *name;
    mete_level level;
    mete_type element;
    mete_role role;
    mete_visible visible;
    mete_level parent; /* METE_LIST: whose lists they are */
    bool signal;       /* of a reward, or a number a step of an environment; else a column */
    double lo, hi;
    char *help;
} mete__declared;

/* A matrix in the flat parameter vector. */
typedef struct mete__parameter {
    char *name;
    size_t rows, columns, offset; /* offset within the node's own slice */
    mete_init init;
    double gain;
} mete__parameter;

/* One instance. Read by the loop, the run directory and the commands; written by the engine. */
struct mete_node {
    mete__engine *engine;
    const mete__plugin *plugin;
    mete_kind kind;
    char *name;        /* the config's name, else the plugin's */
    char *path;        /* unique: "reward", "reward.rubric", "policy", "models.judge" */
    mete__value *at;   /* its group in the config */
    mete_node *parent; /* the node that holds it, or NULL */
    mete_node **child; /* under `of`, in order */
    size_t children;
    double *weight; /* live weight of each child */
    bool gold;      /* measured, never optimised */
    uint64_t key;   /* of its random streams: hash(seed, path) */
    void *self;     /* the plugin's state struct */
    bool opened;
    mete__tensor *tensor;
    size_t tensors;
    mete__declared *declared; /* signals of a reward; columns and signals of an environment */
    size_t declareds;
    mete_field *field; /* columns it reads */
    size_t fields;
    mete__parameter *parameter;
    size_t parameters;
    size_t parameter_count;  /* floats of its own and of policies it holds */
    size_t parameter_offset; /* where its slice starts in its owner's vector */
    bool per_step, spread;
    mete_policy_info info; /* policies, after describe */
    mete_spaces spaces;    /* environments */
    struct mete__node_private *private_;
};

typedef struct mete__engine_options {
    uint64_t seed;
    unsigned threads; /* workers, at least 1 */
    bool check_only;  /* build and open, but read no more than needed */
    /* sink of mete_log; may be NULL */
    void (*log)(void *user, const char *path, int level, const char *text);
    void *user;
} mete__engine_options;

/* Builds `models`, `env`, `policy` and `reward` of the config (those present), binds and opens all,
 * and checks that every column a node needs is provided (when there is an environment). NULL when
 * errors were added. The config must outlive the engine. */
mete__engine *mete__engine_open(mete__config *config, const mete__engine_options *options,
                                mete__errors *errors);
void mete__engine_close(mete__engine *engine);
mete_node *mete__engine_reward(mete__engine *engine); /* root of the tree, or NULL */
mete_node *mete__engine_policy(mete__engine *engine);
mete_node *mete__engine_environment(mete__engine *engine);
/* Every node, parents before children, in the config's order. */
mete_node *const *mete__engine_nodes(mete__engine *engine, size_t *count);
mete_node *mete__engine_find(mete__engine *engine, const char *path_or_name);
mete__workers *mete__engine_workers(mete__engine *engine);
/* Another instance of a node's config, opened on its own (a second environment for evaluation).
 * `path` names it. It is the same world (its key is the original's); what happens in it
 * differs by episode ids. Owned by the engine. */
mete_node *mete__engine_clone(mete__engine *engine, mete_node *node, const char *path,
                              mete_error *err);
/* Builds a reward tree from a config group outside `reward` (an evaluation's own nodes). */
mete_node *mete__engine_build(mete__engine *engine, mete_kind kind, mete__value *group,
                              const char *path, mete__errors *errors);
/* Where mete_metric goes from now on; NULL: nowhere. */
void mete__engine_measure(mete__engine *engine,
                          void (*metric)(void *user, const char *name, double value), void *user);
/* The iteration that schedules and mete_iteration see; writes all live numbers. */
void mete__engine_iteration(mete__engine *engine, uint64_t iteration);
/* Releases scratch of all calls since the last; batches and scores made by them are gone. */
void mete__engine_reset(mete__engine *engine);

/* ---- Batches --------------------------------------------------------------------------------- */

/* A growing batch, filled by rollouts and readers. Memory is reused by mete__builder_reset. */
typedef struct mete__builder mete__builder;
mete__builder *mete__builder_new(void);
void mete__builder_free(mete__builder *builder);
void mete__builder_reset(mete__builder *builder);
/* What each row and step will carry; call after new or reset, before rows. */
typedef struct mete__shape {
    bool text;                 /* prompt and response */
    uint32_t observation_size; /* 0: none */
    uint32_t action_size;      /* >0: action_vector; else discrete `action` */
    uint32_t action_count;     /* >0: action_mask is kept */
    uint32_t heads;            /* value heads; 0: none */
    bool logp;
    bool turns; /* rows have turns */
} mete__shape;
void mete__builder_shape(mete__builder *builder, const mete__shape *shape);
/* A column, before rows; values are set per row below. A list has `parent` rows, others ignore it.
 * Returns its handle. */
int mete__builder_column(mete__builder *builder, const char *name, mete_level level,
                         mete_type element, mete_level parent, mete_visible visible);
/* Starts a row; its steps follow. Rows of one group are added one after another: a row with the
 * prompt id of the one before joins its group when `joins`. */
typedef struct mete__row {
    uint64_t id, prompt_id, task_id;
    uint32_t first_step;
    bool starts, terminated, truncated, masked, joins;
    mete_text prompt, response; /* copied */
} mete__row;
int mete__builder_row(mete__builder *builder, const mete__row *row);
typedef struct mete__step {
    const float *observation, *action_vector;
    const uint8_t *action_mask;
    int32_t action;
    float logp;
    const float *value;
    uint32_t begin, end; /* byte span, text */
    uint8_t loss_mask;
} mete__step;
int mete__builder_step(mete__builder *builder, const mete__step *step);
/* Many plain steps of the current row at once: arrays as in mete_batch. Any may be NULL. */
int mete__builder_steps(mete__builder *builder, size_t count, const float *observation,
                        const int32_t *action, const float *action_vector,
                        const uint8_t *action_mask, const float *logp, const float *value);
/* Starts a turn of the current row; steps that follow are its. `own`: it belongs to this row, and
 * is not only what was said before. */
int mete__builder_turn(mete__builder *builder, uint8_t role, mete_text text, bool own);
/* End of the current row, where its outcome is known only now. */
void mete__builder_end(mete__builder *builder, bool terminated, bool truncated,
                       const float *final_observation, const float *final_value);
/* Column values of the current row (episode level), or of its latest step or turn; texts are
 * copied. */
void mete__builder_text(mete__builder *builder, int column, mete_text value, mete_type element);
void mete__builder_number(mete__builder *builder, int column, double value);
int mete__builder_list(mete__builder *builder, int column, const mete_text *item, size_t count);
/* Step-level numbers of all of the current row's steps at once. */
void mete__builder_numbers(mete__builder *builder, int column, const float *value, size_t count);
/* A relation between two rows: a preferred to b with probability p. */
int mete__builder_pair(mete__builder *builder, size_t a, size_t b, double p);
size_t mete__builder_rows(const mete__builder *builder);
/* The batch, valid until the builder changes. NULL when memory ran out. Sees everything. */
const mete_batch *mete__builder_batch(mete__builder *builder, mete_error *err);

/* The batch without the columns that are not visible to `most`. */
void mete__view_filter(const mete_batch *batch, mete_visible most, mete__arena *arena,
                       mete_batch *out);
/* Rows row[0..count) as a batch of their own, with their steps or without. NULL: out of memory. */
const mete_batch *mete__batch_rows(const mete_batch *batch, const uint32_t *row, size_t count,
                                   bool steps, mete__arena *arena);
/* The policy's answers of a batch with turns as rows, see mete_batch_turns; a batch without turns
 * is itself. The ids are the rows' own. NULL: out of memory. */
const mete_batch *mete__batch_answers(const mete_batch *batch, mete__arena *arena);
/* The prompt_id of what was said so far in a conversation. */
uint64_t mete__conversation_id(mete_text said);

/* ---- Scoring --------------------------------------------------------------------------------- */

/* Scores the tree under `root` on `batch`, gold nodes included. Each node's result stays readable
 * by mete__node_scores until the next mete__engine_reset. METE_OK, or the status of the first node
 * that failed, its message in err with the node's path. */
int mete__score(mete__engine *engine, mete_node *root, const mete_batch *batch, mete_error *err);
const mete_scores *mete__node_scores(const mete_node *node);
/* Values of one declared signal of the node on the last scored batch. */
const double *mete__node_signal(const mete_node *node, size_t declared);
/* d value / d value of child k of `node` in the last mete__score -> slope: [steps] where the node's
 * value is per step (of each step, by the child's same step, or its value where it is not per
 * step), else [episodes]; 0 in rows in which one of the two has no value. Not at the children's
 * values but at `share` of their way there from their means over the valid rows, 1 being the
 * values. METE_ENOTSUP where nobody knows. */
int mete__partial(mete_node *node, size_t k, double share, double *slope, mete_error *err);
/* Rows before `rows` become samples: what nodes note of them (mete_row_note) is kept. */
void mete__engine_notes(mete__engine *engine, size_t rows);
/* Appends what the node noted of the row in the last mete__score, [{"text":...,"value":...},...];
 * false, and nothing, where that is nothing. */
bool mete__node_notes(const mete_node *node, size_t row, mete_buffer *out);
/* Grades of criteria (mete_grades_of) are kept of all rows from now on, or not. */
void mete__engine_grades(mete__engine *engine, bool kept);
/* What a row was graded by, and how; as mete_rubric_table and mete_grades have it. */
typedef struct mete__graded {
    size_t count;
    const mete_criterion *item;
    const double *points, *grade, *agreement;
} mete__graded;
/* Of the last mete__score; until mete__engine_reset. NULL: the node grades none, or none is kept.
 */
const mete__graded *mete__node_graded(const mete_node *node, size_t row);
/* [{"criterion":..,"points":..,"grade":..},...]; those that are part of another say "part_of", its
 * place in the list. */
void mete__put_graded(mete_buffer *out, const mete__graded *graded);
/* What makes a criterion the same as another: kind, check, target and text. */
uint64_t mete__criterion_identity(const mete_criterion *criterion);
/* A generator's criteria that are left out of prompts from now on, in place of those before:
 * mete_hash_mix(prompt_id, identity) of each, copied; none where `count` is 0. None that others are
 * part of. false: out of memory. */
bool mete__rubric_leave_out(mete_node *node, const uint64_t *hash, size_t count);
const uint64_t *mete__rubric_left_out(const mete_node *node, size_t *count);
/* They are left out, as at first, or for a time are not. */
void mete__engine_leaves_out(mete__engine *engine, bool leaves);
/* Reason of a row that is not valid, or "". */
const char *mete__node_reason(const mete_node *node, size_t row);
/* `update` of every node that learns online, in tree order, with the scores of the last
 * mete__score. */
/* Does a reward label pairs itself (`compare`), and p[k], the chance that row a[k] of the batch is
 * preferred to row b[k], as mete_compare of reward.h has it. */
bool mete__compares(const mete_node *node);
int mete__compare(mete_node *node, const mete_batch *batch, const uint32_t *a, const uint32_t *b,
                  size_t pairs, double *p, mete_error *err);
/* Offline learning of a node of any kind (fit_batch, fit_end); a node without fit_end never asks to
 * stop. The plugin sees what learners may see. */
bool mete__can_fit(const mete_node *node);
int mete__fit_batch(mete_node *node, const mete_batch *batch, uint64_t step, mete_error *err);
int mete__fit_end(mete_node *node, uint64_t epoch, const mete_batch *validation, bool *stop,
                  mete_error *err);
int mete__update(mete__engine *engine, mete_node *root, const mete_batch *batch, mete_error *err);
/* The batch is accepted: episode states move on, those of ended episodes are dropped. Called once,
 * after the last mete__score of it. */
void mete__episodes_end(mete__engine *engine, const mete_batch *batch);
/* Episode states of the node and those below it are gone. */
void mete__episodes_forget(mete_node *node);

/* Everything nodes learnt or keep: tensors, saved bytes, episode states; not parameter vectors and
 * lanes, which are the loop's. Names are "node/<path>/...". */
struct mete__checkpoint;
int mete__engine_save(mete__engine *engine, struct mete__checkpoint *to, mete_error *err);
/* A node's learnt state from the newest checkpoint of a run folder, where its path was `as` (NULL:
 * the same). */
int mete__node_load_from(mete_node *node, const char *folder, const char *as, mete_error *err);
int mete__engine_load(mete__engine *engine, const struct mete__checkpoint *from, mete_error *err);
/* What a node and those below it learnt, from the checkpoint of another run; not episode states. */
int mete__engine_adopt(mete__engine *engine, const mete_node *node,
                       const struct mete__checkpoint *from, mete_error *err);

/* From now on the time that `score` of each node takes is added up, over all threads; a node that
 * asks for its children itself (METE_LAZY) is told theirs too. */
void mete__engine_timed(mete__engine *engine);
double mete__node_seconds(const mete_node *node);
/* What a model was asked so far, and what that took. */
typedef struct mete__usage {
    uint64_t requests, failed, cached, prompt_tokens, answer_tokens;
    double cost, seconds;
} mete__usage;
mete__usage mete__node_usage(mete_node *node);

/* ---- Policies and environments --------------------------------------------------------------- */

/* Lets a text policy learn its vocabulary, then describes it: parameters are known after. */
int mete__policy_describe(mete_node *policy, const mete_spaces *spaces, const mete_batch *texts,
                          mete_error *err);
/* Plugins, names and shapes of its parameters in their order: equal for two policies just when the
 * numbers of one mean the same in the other. Caller frees; NULL: out of memory. */
char *mete__policy_layout(const mete_node *policy);
/* Fills vector [parameter_count] with the declared initial values, seeded by parameter names. */
/* Has the policy write itself into the folder; METE_ENOTSUP where it cannot. */
int mete__policy_emit(mete_node *policy, const mete_params *params, const char *folder,
                      mete_error *err);
int mete__policy_init(mete_node *policy, float *vector, mete_error *err);
/* Models by name that rewards may ask ("policy", "reference", "old", ...): the vector to use, kept
 * by pointer until changed. NULL removes it. */
void mete__engine_snapshot(mete__engine *engine, const char *name, mete_node *policy,
                           const float *vector, uint64_t version);
/* Asks a model from outside any node, as mete_generate does. Replies live until
 * mete__engine_reset; NULL after an error. From one thread at a time. */
const mete_replies *mete__model_generate(mete_node *model, const mete_request *request,
                                         size_t count, mete_error *err);
/* The criteria a rubric generator gives each group of the batch, as mete_rubric_of; from outside
 * any node. They live until mete__engine_reset. */
const mete_rubric_table *mete__rubric_criteria(mete_node *node, const mete_batch *batch,
                                               mete_error *err);
/* A new version of a generator's criteria (the rubric plugin's `refine`); scores may be NULL. What
 * was done is told in *out; the criteria of the batch's prompts before and after, a line of JSONL a
 * prompt as the generator `retrieve` reads it, are appended to the buffers. */
typedef struct mete__refined {
    uint64_t version; /* 1 after the first time */
    size_t prompts, changed;
    double criteria; /* mean number a prompt */
} mete__refined;
bool mete__can_refine(const mete_node *node);
int mete__rubric_refine(mete_node *node, const mete_batch *batch, const mete_scores *scores,
                        mete_buffer *before, mete_buffer *after, mete__refined *out,
                        mete_error *err);
mete_actions *mete__actions_new(const mete_spaces *spaces, const mete_policy_info *info,
                                size_t lanes);
void mete__actions_free(mete_actions *actions);
void mete__actions_clear(mete_actions *actions);
int mete__policy_act(mete_node *policy, const mete_params *params, const mete_lanes *lanes,
                     mete_actions *out, mete_error *err);
int mete__policy_forward(mete_node *policy, const mete_params *params, const mete_query *query,
                         mete_outputs *out, mete_tape *tape, mete_error *err);
int mete__policy_backward(mete_node *policy, const mete_params *params, const mete_query *query,
                          const mete_outputs *adjoint, mete_tape *tape, float *grad,
                          mete_error *err);
int mete__policy_encode(mete_node *policy, const mete_batch *batch, mete_actions *out,
                        mete_error *err);
int mete__policy_learn(mete_node *policy, const mete_batch *batch, const mete_scores *scores,
                       mete_error *err);

/* Host memory behind an environment's observations: columns by lane, copied texts. */
mete_observations *mete__observations_new(const mete_node *environment, size_t lanes);
void mete__observations_free(mete_observations *observations);
/* Values of provided column `declared` for a lane. */
mete_text mete__observations_text(const mete_observations *observations, size_t declared,
                                  size_t lane);
double mete__observations_number(const mete_observations *observations, size_t declared,
                                 size_t lane);
mete_texts mete__observations_list(const mete_observations *observations, size_t declared,
                                   size_t lane);
mete_transitions *mete__transitions_new(const mete_node *environment, mete_observations *next);
void mete__transitions_free(mete_transitions *transitions);
/* Shares lanes out among so many instances of the environment, each stepped by a thread of its own;
 * before mete__environment_spaces. What a lane does is the same for any number: it depends on its
 * episode alone. */
int mete__environment_split(mete_node *environment, size_t parts, mete_error *err);
int mete__environment_spaces(mete_node *environment, size_t lanes, mete_error *err);
/* Several steps, with a text as the observation: after mete__environment_spaces. */
bool mete__converses(const mete_node *environment);
/* Columns of turns that nodes need are there only in conversations; once the spaces are known. */
int mete__engine_turns(const mete__engine *engine, mete_error *err);
int mete__environment_reset(mete_node *environment, const mete_reset *reset, mete_observations *out,
                            mete_error *err);
/* Zeroes reward, terminated, truncated and signals, then steps. */
int mete__environment_step(mete_node *environment, const mete_actions *actions,
                           mete_transitions *out, mete_error *err);
/* A lane's whole state, lane_size bytes, out and back in. */
int mete__environment_copy(mete_node *environment, size_t lanes, size_t lane, void *bytes,
                           mete_error *err);
int mete__environment_restore(mete_node *environment, size_t lane, const void *bytes,
                              mete_observations *out, mete_error *err);
/* The context batch of some lanes: prompt, ids and columns a policy may see. Lives until
 * mete__engine_reset. */
const mete_batch *mete__lanes_context(mete_node *environment, const mete_observations *observations,
                                      const uint64_t *episode, const uint32_t *lane, size_t count,
                                      mete_error *err);

/* ---- Worker threads -------------------------------------------------------------------------- */

/* Threads that work, the caller among them. */
unsigned mete__workers_threads(const mete__workers *workers);
/* Calls work(user, i) for i in [0, count) on the engine's threads (the caller's among them). The
 * split never changes results: each i is whole and writes only its own. */
void mete__workers_run(mete__workers *workers, size_t count, void (*work)(void *user, size_t i),
                       void *user);
mete__workers *mete__workers_new(unsigned threads);
void mete__workers_free(mete__workers *workers);

#endif
