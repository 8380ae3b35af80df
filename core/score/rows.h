/* rows.h - records as batches for scoring: only what the tree's nodes read is taken.
 *
 * A prompt may be given as messages, [{"role":..,"content":..}]: its text is the content of the
 * only one, else "role: content" of each, a blank line between. A response so given is the content
 * of its last message by the assistant.
 *
 * Filled in parallel by parts; texts are borrowed from the lines where they stand there verbatim,
 * and copied into the part's arena where not. Nothing is allocated per row once warm.
 */
#ifndef METE_SCORE_ROWS_H
#define METE_SCORE_ROWS_H

#include "base/arena.h"
#include "engine/engine.h"
#include "text/reader.h"

#include <mete/tokeniser.h>

/* Rows of one batch unless one group is larger, and the most bytes of lines in one. */
#define METE__ROWS_MOST ((size_t)4096)
#define METE__ROWS_BYTES ((size_t)512 << 20)

/* A column some node reads. */
typedef struct mete__wanted {
    const char *name;
    mete_text from; /* key or dotted path in the record */
    uint32_t level, element;
    bool required;
    const char *node; /* path of the first node that reads it */
    char *value;      /* [slots] of its element's size; lists: mete_texts */
    uint8_t *valid;   /* [slots] */
    uint32_t *offset; /* lists: [rows + 1] */
    mete_text *item;  /* lists: all items */
    size_t item_room;
    void *group; /* group level: [groups] */
    uint8_t *group_valid;
} mete__wanted;

/* A slot is a record of the file, good or bad; a row is a good one. */
typedef struct mete__rows {
    mete__wanted *wanted;
    size_t wanteds;
    mete_text prompt_from, response_from, group_from, id_from;
    bool words;                /* without a tokeniser, words are the tokens */
    mete_tokeniser *tokeniser; /* of `data.tokeniser`; NULL: rows have no steps, or words */
    mete_tokens tokens;
    uint32_t *span, *step_row; /* [step_room x 2], [step_room] */
    size_t step_room;
    bool hash_all;   /* a prompt's identity covers its columns: criteria depend on them */
    uint64_t number; /* of the first slot's record */
    size_t slots, room;
    mete_text *prompt, *response;
    mete_text *id_json;       /* the record's id as JSON; empty: none */
    uint64_t *group_key;      /* 0: alone */
    uint32_t *call;           /* first slot of the call that the slot belongs to */
    const char **bad;         /* why the record is no row, or NULL */
    uint64_t *id, *prompt_id; /* by slot, then by row */
    uint32_t *slot_of;        /* [rows] */
    uint32_t *group, *zero, *step_begin;
    uint8_t *zeros, *ones;
    mete_column *column;
    mete_batch batch;
} mete__rows;

/* What a part of the work has for itself. */
typedef struct mete__part {
    mete__record record;
    mete__arena *arena;
    mete_buffer path; /* decoded strings of dotted paths */
    mete_buffer out;
} mete__part;

/* Columns of all reward and rubric nodes; names from the config's `data`. Errors are added. */
mete__rows *mete__rows_new(mete__engine *engine, mete__config *config, mete__errors *errors);
void mete__rows_free(mete__rows *rows);
/* Room for so many slots, the first of which is record `number` (from 1); what was there is gone.
 * false: out of memory. */
bool mete__rows_begin(mete__rows *rows, size_t slots, uint64_t number);
/* From slot `first` on, `slots` are the records of a call of their own, numbered from the first's
 * number on: they are in no group with others, and are scored as if they were alone. */
void mete__rows_call(mete__rows *rows, size_t first, size_t slots);
/* Record `slot`, and the line its texts may be borrowed from ({NULL, 0}:
 * none). */
void mete__rows_take(mete__rows *rows, size_t slot, mete__part *part, const mete__record *record,
                     mete_text line);
void mete__rows_bad(mete__rows *rows, size_t slot, mete__part *part, const char *reason);
/* First slot of the last group, where a batch may be cut so that groups stay whole. */
size_t mete__rows_last_group(const mete__rows *rows);
/* The batch of the good ones among the first `slots`; NULL: out of memory. */
const mete_batch *mete__rows_batch(mete__rows *rows, size_t slots);

#endif
