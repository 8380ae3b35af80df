/* plugin.h - what every plugin has, whatever its kind: the head of its descriptor, its options, and
 * the services the host gives to each call.
 *
 * A plugin is one shared object that exports one const data symbol, `mete_plugin_v1`, made by the
 * macro of its kind (METE_REWARD_PLUGIN and so on). The file name is the plugin's name and its
 * directory the kind: $plugindir/reward/length.so. The host reads the descriptor, checks it, fills
 * the options into a zeroed state struct of `state_size` bytes, and calls `open`. A plugin never
 * prints, exits, forks, reads the clock, the environment or rand().
 */
#ifndef METE_PLUGIN_H
#define METE_PLUGIN_H

#include "base.h"
#include "batch.h"
#include "random.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Options --------------------------------------------------------------------------------- */

typedef enum mete_option_type {
    METE_OPTION_END,
    METE_OPTION_BOOL,     /* int: 0 or 1 */
    METE_OPTION_INT,      /* int64_t */
    METE_OPTION_REAL,     /* double; with METE_LIVE the config may give a schedule */
    METE_OPTION_STRING,   /* const char *; NULL when absent without a default */
    METE_OPTION_ENUM,     /* int: index into the words of `text`, "one|two|three" */
    METE_OPTION_FILE,     /* const char *: a path, relative to the config file that names it */
    METE_OPTION_INTS,     /* mete_ints */
    METE_OPTION_REALS,    /* mete_reals */
    METE_OPTION_STRINGS,  /* mete_strings */
    METE_OPTION_FIELD,    /* mete_field: a column of the batch, which the user may rename */
    METE_OPTION_DATA,     /* const mete_table *: { file; map; limit; on_bad; } or a file name */
    METE_OPTION_MODEL,    /* mete_node *: a model by name: "policy", "reference", or of `models` */
    METE_OPTION_REWARD,   /* mete_node *: a nested { use = ...; } of that kind */
    METE_OPTION_REWARDS,  /* mete_nodes */
    METE_OPTION_RUBRIC,   /* mete_node * */
    METE_OPTION_POLICY,   /* mete_node * */
    METE_OPTION_POLICIES, /* mete_nodes */
    METE_OPTION_ENVIRONMENT,  /* mete_node * */
    METE_OPTION_ENVIRONMENTS, /* mete_nodes */
    METE_OPTION_LIST          /* mete_list: a list of groups, each bound by `rows` to one element */
} mete_option_type;

enum mete_option_flags {
    METE_REQUIRED = 1u << 0,   /* the config must give it */
    METE_LIVE = 1u << 1,       /* may change while running: schedules, overrides */
    METE_SECRET = 1u << 2,     /* never logged, never written to a run directory */
    METE_DEPRECATED = 1u << 3, /* still read; `text` says what to use instead */
    METE_OPTIONAL = 1u << 4,   /* a field that may be absent from the batch */
    METE_LOG_SCALE = 1u << 5   /* a search over it should step by factors */
};

typedef struct mete_ints {
    const int64_t *item;
    size_t count;
} mete_ints;
typedef struct mete_reals {
    const double *item;
    size_t count;
} mete_reals;
typedef struct mete_strings {
    const char *const *item;
    size_t count;
} mete_strings;
typedef struct mete_list {
    void *item;
    size_t count;
} mete_list;

/* An instance of a plugin elsewhere in the config. Opaque; valid as long as the owner. */
typedef struct mete_node mete_node;
typedef struct mete_nodes {
    mete_node *const *item;
    size_t count;
} mete_nodes;

/* One row of an option table; write it with the macros below. Rows may grow at the end. */
typedef struct mete_option {
    const char *name;       /* as the config spells it: the struct member's own name */
    uint32_t type;          /* mete_option_type */
    uint32_t flags;         /* mete_option_flags */
    uint64_t offset;        /* of the member in the state struct (or list row) */
    double value, min, max; /* default and range, of numbers; the range of each item of a list */
    const char *text; /* default of a string, file or field; words of an enum; see DEPRECATED */
    const char *unit; /* "", or what a number counts */
    const char *help; /* one line for the manual; required */
    const struct mete_option *rows; /* METE_OPTION_LIST: the table of one element */
    uint64_t row_size;              /* METE_OPTION_LIST: sizeof one element */
    uint32_t level, element;        /* METE_OPTION_FIELD: mete_level and mete_type asked for */
} mete_option;

/* Adds a compile-time check that member `f` of struct `s` has type T. */
#define METE_AT(s, f, T) (offsetof(s, f) + 0 * sizeof((T *)0 == &((s *)0)->f))

#define METE_BOOL(s, f, def, text_)                                                                \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_BOOL, .offset = METE_AT(s, f, int), .value = (def),        \
        .max = 1, .help = text_                                                                    \
    }
#define METE_INT(s, f, def, lo, hi, text_)                                                         \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_INT, .offset = METE_AT(s, f, int64_t),                     \
        .value = (double)(def), .min = (double)(lo), .max = (double)(hi), .help = text_            \
    }
#define METE_REAL(s, f, def, lo, hi, text_)                                                        \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_REAL, .flags = METE_LIVE, .offset = METE_AT(s, f, double), \
        .value = (def), .min = (lo), .max = (hi), .help = text_                                    \
    }
#define METE_STRING(s, f, def, flag_, text_)                                                       \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_STRING, .flags = (flag_),                                  \
        .offset = METE_AT(s, f, const char *), .text = (def), .help = text_                        \
    }
#define METE_ENUM(s, f, def, words, text_)                                                         \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_ENUM, .offset = METE_AT(s, f, int), .value = (def),        \
        .text = (words), .help = text_                                                             \
    }
#define METE_FILE(s, f, flag_, text_)                                                              \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_FILE, .flags = (flag_),                                    \
        .offset = METE_AT(s, f, const char *), .help = text_                                       \
    }
#define METE_INTS(s, f, lo, hi, flag_, text_)                                                      \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_INTS, .flags = (flag_),                                    \
        .offset = METE_AT(s, f, mete_ints), .min = (double)(lo), .max = (double)(hi),              \
        .help = text_                                                                              \
    }
#define METE_REALS(s, f, lo, hi, flag_, text_)                                                     \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_REALS, .flags = (flag_),                                   \
        .offset = METE_AT(s, f, mete_reals), .min = (lo), .max = (hi), .help = text_               \
    }
#define METE_STRINGS(s, f, flag_, text_)                                                           \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_STRINGS, .flags = (flag_),                                 \
        .offset = METE_AT(s, f, mete_strings), .help = text_                                       \
    }
/* `def` is the column read unless the config names another. */
#define METE_FIELD(s, f, def, lvl, typ, flag_, text_)                                              \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_FIELD, .flags = (flag_),                                   \
        .offset = METE_AT(s, f, mete_field), .text = (def), .level = (lvl), .element = (typ),      \
        .help = text_                                                                              \
    }
#define METE_DATA(s, f, flag_, text_)                                                              \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_DATA, .flags = (flag_),                                    \
        .offset = METE_AT(s, f, const mete_table *), .help = text_                                 \
    }
#define METE_MODEL(s, f, def, flag_, text_)                                                        \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_MODEL, .flags = (flag_), .text = (def),                    \
        .offset = METE_AT(s, f, mete_node *), .help = text_                                        \
    }
#define METE_NODE_(s, f, kind_, flag_, text_)                                                      \
    {                                                                                              \
        .name = #f, .type = (kind_), .flags = (flag_), .offset = METE_AT(s, f, mete_node *),       \
        .help = text_                                                                              \
    }
#define METE_NODES_(s, f, kind_, flag_, text_)                                                     \
    {                                                                                              \
        .name = #f, .type = (kind_), .flags = (flag_), .offset = METE_AT(s, f, mete_nodes),        \
        .help = text_                                                                              \
    }
#define METE_REWARD(s, f, flag_, text_) METE_NODE_(s, f, METE_OPTION_REWARD, flag_, text_)
#define METE_REWARDS(s, f, flag_, text_) METE_NODES_(s, f, METE_OPTION_REWARDS, flag_, text_)
#define METE_RUBRIC(s, f, flag_, text_) METE_NODE_(s, f, METE_OPTION_RUBRIC, flag_, text_)
#define METE_POLICY(s, f, flag_, text_) METE_NODE_(s, f, METE_OPTION_POLICY, flag_, text_)
#define METE_POLICIES(s, f, flag_, text_) METE_NODES_(s, f, METE_OPTION_POLICIES, flag_, text_)
#define METE_ENVIRONMENT(s, f, flag_, text_) METE_NODE_(s, f, METE_OPTION_ENVIRONMENT, flag_, text_)
#define METE_ENVIRONMENTS(s, f, flag_, text_)                                                      \
    METE_NODES_(s, f, METE_OPTION_ENVIRONMENTS, flag_, text_)
#define METE_LIST_OF(s, f, row_struct, table, flag_, text_)                                        \
    {                                                                                              \
        .name = #f, .type = METE_OPTION_LIST, .flags = (flag_),                                    \
        .offset = METE_AT(s, f, mete_list), .rows = (table), .row_size = sizeof(row_struct),       \
        .help = text_                                                                              \
    }
#define METE_OPTIONS_END                                                                           \
    {                                                                                              \
        .name = NULL, .type = METE_OPTION_END                                                      \
    }

/* Names the core keeps in every node: an option table may not use them. `node = { }` holds every
 * later option of the core. */
#define METE_RESERVED_NAMES "name use of weight gold isolate on_error node"

/* ---- The head of every descriptor ------------------------------------------------------------ */

typedef enum mete_kind {
    METE_KIND_REWARD = 1,
    METE_KIND_RUBRIC,
    METE_KIND_POLICY,
    METE_KIND_ENVIRONMENT
} mete_kind;

enum mete_flags {
    METE_WHOLE_GROUP = 1u << 0, /* a call must hold whole groups (samples of one prompt) */
    METE_WHOLE_SCENE = 1u << 1, /* ... whole worlds */
    METE_WHOLE_BATCH = 1u << 2, /* ... the whole batch */
    METE_LAZY = 1u << 3,        /* children are evaluated only when asked (mete_child_rows) */
    METE_WAITS = 1u << 4,       /* blocks on a model or a network: runs beside its siblings */
    METE_SAMPLES = 1u << 5,     /* draws random numbers */
    METE_COMBINES = 1u << 6,  /* a reward that needs children (`of`); without it `of` is refused */
    METE_ONE_CHILD = 1u << 7, /* with METE_COMBINES: exactly one child */
    METE_PER_STEP = 1u << 8,  /* a reward whose value is per step: it fills out->step */
    METE_ANY_CHILDREN = 1u << 9, /* with METE_COMBINES: `of` may be absent */
    METE_SUMS = 1u << 10, /* with METE_COMBINES: the value is the sum of weight x value of the
                              children that are valid; each is then told its share of it */
    METE_LANES_ALONE =
        1u << 11,            /* a policy whose `act` answers each lane by that lane alone, to the
                                   bit: the host may split lanes over threads */
    METE_ISOLATED = 1u << 12 /* a reward, an environment that wants a process of its own: isolate is
                                "process" unless the config says "none" */
};

/* The members below stand at the start of every kind's descriptor and never change within a major
 * version. NULL and 0 mean absent. `size` is sizeof the whole descriptor as the plugin saw it: the
 * host copies min(size, its own) into a zeroed struct, so both sides may grow.
 *   state_size    bytes of the instance's struct, zeroed, then options filled in
 *   episode_size  bytes the host keeps per episode (mete_episode_state), zero at its start
 *   lane_size     policy: bytes of recurrent state per lane; environment: pointer-free bytes that
 *                 `copy` and `restore` move
 *   element       METE_F32 or METE_F64: element type of the parameter vector
 *   open          [setup] after options are bound: check rules that span options, declare signals,
 *                 tensors, parameters and columns. close undoes it (memory of mete_alloc is freed
 *                 by the host). close is called only after open succeeded.
 *   save, load    what is learnt and not in host tensors; see mete_save_bytes
 */
#define METE_HEAD                                                                                  \
    uint32_t abi;                                                                                  \
    uint32_t size;                                                                                 \
    uint32_t kind;                                                                                 \
    uint32_t option_size;                                                                          \
    const char *name;                                                                              \
    const char *version;                                                                           \
    const char *summary;                                                                           \
    const char *doc;                                                                               \
    const char *reference;                                                                         \
    const char *tags;                                                                              \
    const mete_option *options;                                                                    \
    uint64_t state_size;                                                                           \
    uint64_t episode_size;                                                                         \
    uint64_t lane_size;                                                                            \
    uint32_t element;                                                                              \
    uint32_t flags;                                                                                \
    int (*open)(mete_ctx * cx, void *self);                                                        \
    void (*close)(mete_ctx * cx, void *self);                                                      \
    int (*save)(mete_ctx * cx, const void *self);                                                  \
    int (*load)(mete_ctx * cx, void *self, const void *bytes, size_t length);                      \
    const void *(*extension)(const char *id);                                                      \
    const void *reserved[8]

/* The head alone, as the loader sees it before it knows the kind. */
typedef struct mete_plugin {
    METE_HEAD;
} mete_plugin;

#define METE_ABI ((uint32_t)METE_ABI_MAJOR << 16 | METE_ABI_MINOR)
#define METE_HEAD_INIT(type, kind_, id, ver, brief)                                                \
    .abi = METE_ABI, .size = sizeof(type), .kind = (kind_), .option_size = sizeof(mete_option),    \
    .name = #id, .version = (ver), .summary = (brief)
#ifdef __cplusplus
#define METE_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define METE_EXPORT __attribute__((visibility("default")))
#endif

/* ---- Services: errors, memory, identity ------------------------------------------------------ */

/* Records what went wrong and returns `code`: `return mete_fail(cx, METE_EINVAL, "hi (%g) must
 * exceed lo (%g)", hi, lo);`. The host adds the path of the node in the tree. [any] */
METE_API int mete_fail(mete_ctx *cx, int code, const char *format, ...) METE_PRINTF(3, 4);
/* Marks episode `row` of the batch being scored as METE_FAILED (or another mete_row_status), with a
 * reason that goes to the journal. The row then counts in no baseline. Scores only. */
METE_API void mete_row_fail(mete_ctx *cx, size_t row, int status, const char *format, ...)
    METE_PRINTF(4, 5);
/* Scratch of `bytes` zeroed bytes, 64-byte aligned, until the call returns; NULL when out of
 * memory. Cheap: no malloc once warm. */
METE_API void *mete_arena(mete_ctx *cx, size_t bytes);
/* Zeroed memory that lives as long as the instance; in `open` only. NULL when out of memory. */
METE_API void *mete_alloc(mete_ctx *cx, size_t bytes);
/* A copy of `text` in the arena. */
METE_API mete_text mete_text_copy(mete_ctx *cx, mete_text text);
/* This node's path in the config, such as "reward.rubric"; borrowed. */
METE_API const char *mete_path(const mete_ctx *cx);
/* 1 in a process of this node's own: where it is scored, where an environment's lanes are, or where
 * it is opened once for a trial before the run opens it; 0 in the run itself. */
METE_API int mete_isolated(const mete_ctx *cx);
/* The iteration of the run, from 0; 0 outside a run. */
METE_API uint64_t mete_iteration(const mete_ctx *cx);
/* A line in the run's journal. level: 0 debug, 1 info, 2 warning. Never printed by the plugin. */
METE_API void mete_log(mete_ctx *cx, int level, const char *format, ...) METE_PRINTF(3, 4);
/* A number in this iteration's metrics under <path>/<name>; called twice, the mean is kept. Not
 * from a worker thread's chunk: use it in update, learn and open. */
METE_API void mete_metric(mete_ctx *cx, const char *name, double value);

/* ---- Services: random streams ---------------------------------------------------------------- */

/* The key of this node's streams: hash(seed, node path). */
METE_API uint64_t mete_key(const mete_ctx *cx);
/* The stream of (this node, episode id, step). The same call gives the same stream. */
static inline mete_rng
mete_random(const mete_ctx *cx, uint64_t episode, uint32_t step)
{
    return mete_rng_make(mete_key(cx), episode, step);
}

/* ---- Services: what is learnt ---------------------------------------------------------------- */

/* Declares, in `open`, a named host-owned array of `count` elements (METE_F32, F64, I32, I64 or
 * U8), zeroed, saved in checkpoints. Returns a handle >= 0, or a negative status. */
METE_API int mete_tensor(mete_ctx *cx, const char *name, mete_type element, size_t count);
/* The array, to read; at any time. */
METE_API const void *mete_tensor_read(mete_ctx *cx, int handle);
/* The array, to write: in open, load, update, fit, adapt and learn; NULL (and the call fails)
 * elsewhere, because a score never learns. */
METE_API void *mete_tensor_write(mete_ctx *cx, int handle);
/* In `save`: appends bytes, which `load` is given back whole. */
METE_API int mete_save_bytes(mete_ctx *cx, const void *bytes, size_t length);

/* How a parameter starts. Gains: orthogonal and normal scale by `gain`; uniform draws from
 * +-gain/sqrt(columns). */
typedef enum mete_init {
    METE_INIT_ZERO,
    METE_INIT_CONSTANT,
    METE_INIT_NORMAL,
    METE_INIT_UNIFORM,
    METE_INIT_ORTHOGONAL
} mete_init;

/* Declares, in `open`, a trained matrix of rows x columns in the flat parameter vector (row-major;
 * rows = 1 for a bias). The host owns and initialises it, seeded by the parameter's own name.
 * Returns its offset in the vector in *offset. Policies and learnt rewards. */
METE_API int mete_parameter(mete_ctx *cx, const char *name, size_t rows, size_t columns,
                            mete_init init, double gain, size_t *offset) METE_CHECKED;

/* A version of an instance's parameters. Every function that depends on them receives one, so
 * several versions (a reference, an average, a population) act side by side. `vector` starts at the
 * instance's own first parameter. */
typedef struct mete_params {
    uint32_t size;
    uint32_t element;   /* METE_F32 or METE_F64 */
    const void *vector; /* float or double [count] */
    size_t count;
    uint64_t version;        /* grows by one each optimiser step */
    const void *const *lane; /* NULL, or one vector for each lane of the call */
} mete_params;

/* ---- Services: columns ----------------------------------------------------------------------- */

/* Declares, in `open`, that this node reads the column; `field` is filled. Beside METE_FIELD
 * options, for names the user does not choose. `mete check` verifies that somebody provides it. */
METE_API int mete_need(mete_ctx *cx, const char *name, mete_level level, mete_type element,
                       uint32_t flags, mete_field *field) METE_CHECKED;

/* ---- Services: derived batches (CAPABILITIES B23) -------------------------------------------- */
/* Each returns a batch that lives until the call returns, or NULL after recording an error. Derived
 * rows keep identity, visibility and columns of their parent row; their ids are
 * hash(parent id, node path, draw), so their random streams are their own. */

/* Rows `row[0..count)` of `batch`, in that order (ids unchanged). Groups are kept where adjacent.
 * */
METE_API const mete_batch *mete_batch_subset(mete_ctx *cx, const mete_batch *batch,
                                             const uint32_t *row, size_t count);
/* Every row `times` times, adjacent; a prompt's copies form one group. */
METE_API const mete_batch *mete_batch_repeat(mete_ctx *cx, const mete_batch *batch, size_t times);
/* The same rows with other responses [episodes]; steps (tokens) and step columns are dropped. */
METE_API const mete_batch *mete_batch_respond(mete_ctx *cx, const mete_batch *batch,
                                              const mete_text *response);
/* The policy's answers of a batch with turns, a row each: `prompt` (and `message`) is what was said
 * before it, `response` the answer, the steps its tokens; columns of turns stand per episode, other
 * columns are the row's that it came from (parent_row). A batch without turns comes back as it is.
 */
METE_API const mete_batch *mete_batch_turns(mete_ctx *cx, const mete_batch *batch);
/* The same rows without the bytes where keep[offset of row's response + byte] == 0. `keep` is laid
 * out row after row, response bytes of row 0 first. */
METE_API const mete_batch *mete_batch_mask(mete_ctx *cx, const mete_batch *batch,
                                           const uint8_t *keep);

#ifdef __cplusplus
}
#endif
#endif
