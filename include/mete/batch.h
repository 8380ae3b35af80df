/* batch.h - the data every plugin sees: episodes in structure-of-arrays form.
 *
 * A batch is `episodes` rows of `steps` steps in all, ragged by offsets. A row is a fragment of one
 * agent's track: it begins at `first_step` of its episode (`starts` says whether that is the
 * episode's own start) and ends by termination, truncation, or because the collection stopped. For
 * text a step is a token of the response and the whole response also stands in `response`. Where
 * the policy answers several times in an episode, `prompt` is what was said before the row's first
 * answer and `response` its answers, both a message a line; the turns tell them apart. Rows of one
 * prompt are adjacent (a group), rows of one world too (a scene).
 *
 * The members are the hot ones; everything else is a named, typed column, asked for at `open` (a
 * METE_FIELD option, or mete_need) and read by the functions below. What a plugin may not see is
 * not in its view. A batch and all it points to is the host's and const.
 */
#ifndef METE_BATCH_H
#define METE_BATCH_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A column: values of one name at one level. */
typedef struct mete_column {
    uint32_t size;     /* sizeof(mete_column) of the writer */
    uint16_t level;    /* mete_level */
    uint16_t element;  /* mete_type */
    uint32_t visible;  /* mete_visible */
    uint32_t parent;   /* METE_LIST: level of the rows that own the items */
    uint32_t shape[4]; /* of one value; {1,0,0,0} for a scalar */
    const char *name;
    const void *data;       /* float, double, int32_t, int64_t, uint8_t or mete_text [rows] */
    const uint8_t *valid;   /* [rows] 1 where present; NULL: everywhere */
    const uint32_t *offset; /* METE_LIST: items of parent row r are data[offset[r]..offset[r+1]) */
} mete_column;

/* A column as a plugin asked for it; filled by the host before `open`. */
typedef struct mete_field {
    const char *name;
    uint32_t level;   /* mete_level */
    uint32_t element; /* mete_type */
    uint32_t flags;   /* METE_OPTIONAL */
} mete_field;

typedef struct mete_batch {
    uint32_t size;    /* sizeof(mete_batch) of the host */
    uint32_t columns; /* number of columns */
    size_t episodes, steps, groups, scenes, turns, pairs;

    /* per episode [episodes]; arrays marked "or NULL" may be absent as a whole */
    const uint64_t *id;         /* the episode's identity, unique in a run */
    const uint64_t *prompt_id;  /* equal for samples of one prompt */
    const uint64_t *task_id;    /* the task given at reset */
    const uint32_t *group;      /* [groups + 1]: rows of group g are group[g]..group[g+1] */
    const uint32_t *scene;      /* [scenes + 1], or NULL: every row its own world */
    const uint32_t *step_begin; /* [episodes + 1]: steps of row i are step_begin[i]..[i+1] */
    const uint32_t *first_step; /* number of the row's first step within its episode */
    const uint8_t *starts;      /* 1: the row begins where its episode began */
    const uint8_t *terminated;  /* 1: the episode ended by its own rule (nothing follows) */
    const uint8_t *truncated;   /* 1: the episode was cut (bootstrap from the final observation) */
    const uint8_t *masked;      /* 1: counts in no loss and no baseline; or NULL */
    const mete_text *prompt;    /* or NULL where the environment has no text */
    const mete_text *response;  /* or NULL */

    /* per step [steps] */
    const uint32_t *step_row;       /* the row each step belongs to */
    const float *observation;       /* [steps x observation_size], or NULL */
    const float *final_observation; /* [episodes x observation_size] after the last step; or NULL */
    const int32_t *action;          /* discrete action or token id; or NULL */
    const float *action_vector;     /* [steps x action_size], or NULL */
    const uint8_t *action_mask;     /* [steps x action_count] 1 = allowed; or NULL */
    const float *logp;              /* log-probability as sampled; or NULL */
    const float *value;             /* [steps x heads] critic as of the rollout; or NULL */
    const float *final_value;       /* [episodes x heads] value after the last step; or NULL */
    const uint8_t *loss_mask; /* 1: the policy's own step (0: an observation token); or NULL */
    const uint32_t *span;     /* [steps x 2] byte span of the token in `response`; or NULL */
    uint32_t observation_size, action_size, action_count, heads;

    /* turns (messages) of a conversation; NULL in single-turn batches. A row has all turns of its
     * episode up to its end: those before turn_first were there when the row began and have no
     * steps. Steps are tokens of the policy's own turns, none of them outside one */
    const uint32_t *turn_begin; /* [episodes + 1] */
    const uint32_t *turn_step;  /* [turns + 1]: steps of turn t */
    const mete_text *turn_text; /* [turns] */
    const uint8_t *turn_role;   /* [turns] 0 system, 1 user, 2 assistant (the policy), 3 tool */

    /* relations between episodes [pairs]: a preferred to b with probability p */
    const uint32_t *pair_a, *pair_b;
    const double *pair_p;

    const mete_column *column;  /* [columns] those this view may see */
    const uint32_t *parent_row; /* derived batches: the row each row came from; else NULL */
    const void *host;           /* the host's own */

    /* since ABI 1.2 */
    const uint32_t *turn_first;   /* [episodes] the first turn that is the row's own; with turns */
    const mete_text *turn_prompt; /* [turns] all that was said before the turn, a message a line */
    /* rows that are one answer each (what a policy gets, mete_batch_turns): the conversation that
     * `prompt` joins, message[message_begin[i]..message_begin[i + 1]); NULL: `prompt` alone */
    const uint32_t *message_begin;      /* [episodes + 1], or NULL */
    const struct mete_message *message; /* model.h */
} mete_batch;

/* The column that `field` names in this batch, or NULL when absent (only optional ones can be). */
METE_API const mete_column *mete_column_of(const mete_batch *batch, const mete_field *field);
/* Its values with the type checked: [episodes], [steps] ... by the field's level; NULL if absent.
 * */
METE_API const mete_text *mete_text_of(const mete_batch *batch, const mete_field *field);
METE_API const float *mete_f32_of(const mete_batch *batch, const mete_field *field);
METE_API const double *mete_f64_of(const mete_batch *batch, const mete_field *field);
METE_API const int32_t *mete_i32_of(const mete_batch *batch, const mete_field *field);
METE_API const int64_t *mete_i64_of(const mete_batch *batch, const mete_field *field);

/* The items of a METE_LIST column that belong to one parent row, borrowed. */
typedef struct mete_texts {
    const mete_text *item;
    size_t count;
} mete_texts;
METE_API mete_texts mete_texts_of(const mete_batch *batch, const mete_field *field, size_t row);

/* A data file in memory, for METE_DATA options: `rows` records of named fields. Every value is kept
 * as text (METE_TEXT: a string, decoded; METE_JSON: any other JSON value as written). */
typedef struct mete_table {
    uint32_t size;
    uint32_t fields;
    size_t rows;
    const char *const *name;       /* [fields] after the map of the config */
    const mete_text *const *value; /* [fields][rows]; data NULL where the record lacks it */
    const uint8_t *const *element; /* [fields][rows] METE_TEXT or METE_JSON */
    const char *file;              /* for messages */
    const uint64_t *line;          /* [rows] line number in the file, for messages */
} mete_table;

/* The column of `name`, [rows], or NULL. */
METE_API const mete_text *mete_table_text(const mete_table *table, const char *name);

#ifdef __cplusplus
}
#endif
#endif
