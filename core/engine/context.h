/* context.h - what stands behind a mete_ctx, a frame of scores and a node's private part. Only the
 * engine's own files include this. */
#ifndef METE_ENGINE_CONTEXT_H
#define METE_ENGINE_CONTEXT_H

#include "base/arena.h"
#include "engine/engine.h"
#include "nn/schedule.h"
#include <pthread.h>
#include <stdatomic.h>

/* What the running call may do. */
enum mete__phase {
    METE__OPENING = 1u << 0,  /* declare, allocate */
    METE__LEARNING = 1u << 1, /* write tensors */
    METE__SCORING = 1u << 2,
    METE__SAVING = 1u << 3
};

/* What a node found in a row (mete_row_note). */
typedef struct mete__note {
    size_t row;
    const char *text;
    double value;
    struct mete__note *next;
} mete__note;

/* The scores of one node on a frame's batch. `at` is the size of the arrays. */
typedef struct mete__result {
    mete_scores scores;
    double **signal;     /* [declareds], each by its level */
    const char **reason; /* [episodes], lazily; NULL: none */
    mete__note *note, *last_note;
    mete__graded *graded; /* [episodes], lazily; NULL: none */
    char *state;          /* [episodes x episode_size] working copies; NULL: none kept */
    bool done;
} mete__result;

/* One evaluation of (a part of) the tree on one batch. */
typedef struct mete__frame {
    mete__engine *engine;
    const mete_batch *batch; /* sees everything */
    mete__arena *arena;      /* results live here */
    mete__result *result;    /* [engine->nodes] by node number */
    bool derived;            /* episode states are throw-away copies */
    struct mete__chunk *chunk;
    size_t chunks;
} mete__frame;

/* A range of rows, aligned to groups and scenes, with its views. */
typedef struct mete__chunk {
    size_t row, step, group, turn; /* where it begins in the frame's batch */
    mete_batch all;                /* sees everything */
    mete_batch reward;             /* without gold and learn columns */
} mete__chunk;

struct mete_ctx {
    mete_node *node;
    mete__engine *engine;
    mete__arena *arena;
    mete_error *err;
    unsigned phase;
    mete__frame *frame;        /* scoring and update */
    const mete__chunk *chunk;  /* rows of the frame this call has */
    const mete_batch *batch;   /* as the plugin sees it */
    mete_scores *child;        /* [children] shifted to the chunk */
    struct mete__bytes *bytes; /* mete_save_bytes */
    mete_params params;        /* of the running policy call */
};

/* Behind mete_scores.host: which node's arrays, and where this view begins. */
typedef struct mete__scores_host {
    const mete_node *node;
    mete__result *result;
    const mete__chunk *chunk;
} mete__scores_host;

typedef struct mete__bytes {
    char *data;
    size_t length, room;
} mete__bytes;

typedef struct mete__live {
    double *target;
    mete__schedule schedule;
} mete__live;

/* A rubric generator's criteria by prompt; guarded by lock. */
typedef struct mete__criteria_entry {
    uint64_t prompt_id;
    mete_criterion *item;
    uint64_t *key;
    size_t count;
    bool refined; /* from `refine`: kept until refined again; else it can be generated anew */
} mete__criteria_entry;

/* What a generator adds criteria to: a list a row. */
struct mete_criteria {
    struct mete__criteria_list {
        mete_criterion *item;
        size_t count, room;
    } * row;
    size_t rows;
};

typedef struct mete__node_private {
    size_t number;    /* index in engine->node */
    mete_node **gold; /* gold children, apart */
    size_t golds;
    mete__live *live;
    size_t lives;
    mete__arena *memory; /* mete_alloc */
    const char *alias;   /* a snapshot's name: this node stands for it */
    bool model_ready;    /* a model of its own: described, its vector initialised; under lock */
    float *model_vector;
    struct mete__secret *secret; /* mete_secret */
    mete__usage usage;           /* as a model; under lock */
    atomic_uint_fast64_t spent;  /* nanoseconds in `score`, where the engine is timed */
    mete_node **part;            /* of an environment: instances that have lanes beside its own */
    size_t parts;
    enum {
        METE__ON_ERROR_SKIP,
        METE__ON_ERROR_FAIL,
        METE__ON_ERROR_VALUE,
        METE__ON_ERROR_LAST
    } on_error;
    double on_error_value;
    double last; /* of the last accepted batch, where on_error is last; NaN: none yet */
    struct mete__isolate *isolate; /* where it is scored in a process of its own; else NULL */
    struct mete__worker *keeper;   /* the process that has the lanes of an isolated environment */
    uint64_t learnt;               /* grows when what it learnt may have changed */
    uint64_t update_every;
    /* rubric cache */
    pthread_mutex_t lock;
    mete__criteria_entry *criteria;
    size_t criterias, criteria_room;
    size_t *criteria_slot; /* open-addressed index */
    size_t criteria_slots;
    uint64_t rubric_version; /* times it was refined */
    uint64_t *left_out;      /* [lefts] sorted; see mete__rubric_leave_out */
    size_t lefts;
    /* states of running episodes, open-addressed by episode id */
    uint64_t *state_id;
    uint8_t *state_used;
    char *state_bytes;
    size_t states, state_room;
} mete__node_private;

typedef struct mete__snapshot {
    char *name;
    mete_node *policy;
    const float *vector;
    uint64_t version;
} mete__snapshot;

struct mete__engine {
    mete__config *config;
    mete__engine_options options;
    void (*metric)(void *user, const char *name, double value);
    void *metric_user;
    mete__workers *workers;
    mete_node **node;
    size_t nodes, node_room;
    mete_node *reward, *policy, *environment;
    mete__snapshot *snapshot;
    size_t snapshots;
    mete__arena *arena; /* frames and contexts until mete__engine_reset */
    mete__frame *frame; /* of the last mete__score */
    uint64_t iteration;
    bool timed;
    size_t noted; /* rows before it are worth mete_row_note */
    bool graded;  /* grades are kept */
    bool whole;   /* no criteria are left out */
    pthread_mutex_t lock;
    mete__errors *errors;              /* while opening */
    const char *clone_path, *clone_of; /* while a clone is built: its path, and the original's */
};

/* The calling thread's scratch arena and tape, made on first use. */
mete__arena *mete__scratch(void);
mete_tape *mete__scratch_tape(void);
void mete__scratch_drop(void);

/* Notes that the node reads a column; false: out of memory. */
bool mete__node_reads(mete_node *node, const mete_field *field);
/* A context for a call outside scoring. */
mete_ctx mete__ctx_make(mete_node *node, unsigned phase, mete_error *err);
/* Prefixes err with the node's path unless it is there already. */
int mete__ctx_blame(const mete_node *node, int code, mete_error *err);

/* batch.c */
/* The first of `count` rising offsets that is not below `row`; count when none is. */
size_t mete__offset_find(const uint32_t *offset, size_t count, size_t row);
/* Rows [from, to) as a batch of their own; false when memory ran out. */
bool mete__batch_range(const mete_batch *batch, size_t from, size_t to, mete__arena *arena,
                       mete_batch *out);
/* Rows of a batch at a level (1 at METE_BATCH and METE_LIST); bytes of one value of a column. */
size_t mete__batch_rows_at(const mete_batch *batch, uint32_t level);
size_t mete__column_value_size(const mete_column *column);

/* score.c */
mete__frame *mete__frame_new(mete__engine *engine, const mete_batch *batch, mete__arena *arena,
                             bool derived);
int mete__frame_score(mete__frame *frame, mete_node *node, mete_error *err);
/* One call of the plugin's `score`, in this process; its values are not checked yet. */
int mete__score_here(mete__frame *frame, mete_node *node, const mete__chunk *chunk,
                     mete_error *err);
/* A context of a call about rows of a frame, and in it shifted views of the children's results;
 * false when memory ran out. */
mete_ctx mete__scoring_ctx(mete__frame *frame, mete_node *node, const mete__chunk *chunk,
                           unsigned phase, mete_error *err);
bool mete__see_children(mete_ctx *cx);
/* partial.c: mete__partial on a frame that was scored */
int mete__frame_partial(mete__frame *frame, mete_node *node, size_t k, double share, double *slope,
                        mete_error *err);
/* Where the chunk's values at a level begin in the frame's arrays. */
size_t mete__chunk_at(const mete__chunk *chunk, mete_level level);
/* grades.c: what a nested frame kept of a node's grades, into the rows of the outer one */
void mete__grades_scatter(const mete__frame *from, mete__frame *to, const mete__chunk *chunk,
                          const mete_node *node, const uint32_t *row, size_t count);
/* secret.c */
void mete__secrets_free(mete__node_private *private_);
/* rubric.c */
bool mete__criteria_make(mete_criteria *out, size_t rows);
void mete__criteria_done(mete_criteria *criteria);
/* The prompt's criteria are these from now on; the list is emptied. false: out of memory. */
bool mete__criteria_keep(mete__node_private *private_, uint64_t prompt,
                         struct mete__criteria_list *list, bool refined);
/* Drops what can be generated anew. */
void mete__criteria_forget(mete__node_private *private_);
void mete__criteria_free(mete__node_private *private_);
void mete__criteria_trim(mete__node_private *private_);
/* refine.c: versions in checkpoints */
int mete__rubric_save(const mete_node *node, struct mete__checkpoint *to, mete_error *err);
int mete__rubric_load(mete_node *node, const char *path, const struct mete__checkpoint *from,
                      mete_error *err);
/* state.c */
bool mete__states_load(const mete_node *node, const mete_batch *batch, char *copy);
void mete__states_free(mete__node_private *table);
size_t mete__states_count(const mete_node *node);
void mete__states_write(const mete_node *node, uint64_t *id, char *bytes);
bool mete__states_read(mete_node *node, size_t count, const uint64_t *id, const char *bytes);

#endif
