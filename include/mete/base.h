/* base.h - what every other header of mete stands on: status codes, text, errors, enums.
 *
 * Rules that hold in every header (see docs/architecture.md, "The contract"):
 *  - Every struct passed by pointer starts with its size, so both sides may grow; rows of arrays
 *    that a plugin declares have their stride in the plugin's head.
 *  - Enums only grow; a plugin treats a value it does not know as absent.
 *  - Outputs belong to the host and are allocated before the call; scratch lives until the call
 *    returns; handles from `open` live as long as the instance; a batch lives until its iteration
 *    ends. Nothing else crosses the boundary.
 *  - Texts are bytes with a length: they may hold NUL and need not end in one.
 */
#ifndef METE_BASE_H
#define METE_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define METE_ABI_MAJOR 1
#define METE_ABI_MINOR 2

/* Marks what libmete exports; everything else is hidden. */
#define METE_API __attribute__((visibility("default")))
#define METE_PRINTF(string, first) __attribute__((format(printf, string, first)))
#define METE_CHECKED __attribute__((warn_unused_result))

/* Before a function: its loops are built once for each vector width, and the machine picks. Without
 * contraction (mete.pc says -ffp-contract=off) the bits are the same for each. Not under
 * sanitizers, whose run-time is not up yet when the choice is made. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define METE_WIDE __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define METE_WIDE
#endif

/* What functions return: METE_OK, or one of these. The message is recorded once, where it failed.
 * */
typedef enum mete_status {
    METE_OK = 0,
    METE_EINVAL = -1,   /* a bad option, argument or config */
    METE_ENOMEM = -2,   /* out of memory */
    METE_EIO = -3,      /* the operating system refused: file, network, process */
    METE_ENOTSUP = -4,  /* asked for what this build or plugin does not do */
    METE_ETIMEOUT = -5, /* took longer than allowed */
    METE_EDATA = -6,    /* bad input data: a record, a model's answer */
    METE_EPLUGIN = -7   /* a plugin broke the contract: NaN, wrong count, wrong ABI */
} mete_status;

/* The host's side of one call into one plugin instance: scratch memory, random streams, children,
 * models, error text. Valid until the call returns; never kept. */
typedef struct mete_ctx mete_ctx;

/* A piece of text: `length` bytes at `data`, which is never NULL when length > 0. Frozen layout. */
typedef struct mete_text {
    const char *data;
    size_t length;
} mete_text;

/* Where a value lives: one per batch, per group of samples of one prompt, per world, per episode,
 * per turn, per step (for text: per token), per relation between episodes, or a ragged list. */
typedef enum mete_level {
    METE_BATCH,
    METE_GROUP,
    METE_SCENE,
    METE_EPISODE,
    METE_TURN,
    METE_STEP,
    METE_PAIR,
    METE_LIST
} mete_level;

/* Element types of columns, tensors and signals. METE_JSON is a mete_text of one JSON value. */
typedef enum mete_type {
    METE_F32,
    METE_F64,
    METE_I32,
    METE_I64,
    METE_U8,
    METE_TEXT,
    METE_JSON
} mete_type;

/* What became of one row. Only METE_VALID rows count in means, baselines and losses. */
typedef enum mete_row_status {
    METE_VALID = 0,
    METE_NOT_APPLICABLE, /* this reward has nothing to say about this row */
    METE_FAILED,         /* a judge, a file or a program failed: the row's answer is unknown */
    METE_TIMED_OUT
} mete_row_status;

/* Who may see a column. A plugin's view of a batch leaves out what it may not see. */
typedef enum mete_visible {
    METE_SEE_POLICY = 0, /* may be acted on: everybody sees it */
    METE_SEE_REWARD = 1, /* answers, user truth: rewards and critics */
    METE_SEE_LEARN = 2,  /* full feedback: `learn` functions, and gold nodes */
    METE_SEE_GOLD = 3    /* only nodes marked gold, which measure and never train */
} mete_visible;

/* An error with its text, for functions that have no mete_ctx. `code` is a mete_status. */
typedef struct mete_error {
    int code;
    char message[1000];
} mete_error;

/* Records the message and returns `code`, so `return mete_error_set(err, METE_EIO, ...)` is the
 * idiom. `err` may be NULL. */
METE_API int mete_error_set(mete_error *err, int code, const char *format, ...) METE_PRINTF(3, 4);

/* A text of a C string, borrowed. */
static inline mete_text
mete_text_from(const char *string)
{
    mete_text text = {string, 0};
    if (string)
        while (string[text.length])
            text.length++;
    return text;
}

#ifdef __cplusplus
}
#endif
#endif
