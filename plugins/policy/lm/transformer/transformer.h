/* transformer.h - what the files of the transformer share. */
#ifndef TRANSFORMER_H
#define TRANSFORMER_H

#include <mete/arrays.h>
#include <mete/chat.h>
#include <mete/policy.h>
#include <mete/text.h>
#include <mete/tokeniser.h>
#include <stdio.h>

enum { FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3, FAMILY_GPT2 };

enum { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 };

enum { TOKENS_BPE, TOKENS_WORDS, TOKENS_BYTES };

enum { PROMPT_NONE, PROMPT_TEXT, PROMPT_SLOTS };

/* The matrices of a layer, then those of the whole. A bias or gain is one row. QKV joins the rows
 * of query, key and value, UP those of gate and up where the unit is gated. */
enum role {
    NORM1,
    NORM1_BIAS,
    QKV,
    QKV_BIAS,
    Q_NORM,
    K_NORM,
    OUT,
    OUT_BIAS,
    NORM2,
    NORM2_BIAS,
    UP,
    UP_BIAS,
    DOWN,
    DOWN_BIAS,
    LAYER_ROLES,
    EMBED = LAYER_ROLES,
    POSITION,
    NORM,
    NORM_BIAS,
    HEAD,
    VALUE,
    VALUE_BIAS,
    ROLES
};

struct shape {
    size_t layers, width, heads, groups, head; /* head: numbers of one head */
    size_t hidden, vocabulary, context;
    int gated, rotary, layer_norm, qk_norm, qkv_bias, bias, tied;
    float epsilon;
    int rope; /* how rotary positions are scaled: */
    double theta, factor, low, high, original;
    int32_t begin, end; /* tokens that begin a text and end an answer; -1: none */
};

#define PARTS 3 /* published arrays that one matrix joins, at most */

/* Of rows [from, from + rows) of a matrix W: W + scale B A, B [rows x rank] and A [rank x columns]
 * in the parameter vector. */
struct adapter {
    size_t from, rows, a, b;
    int has;
};

/* Where a matrix is: in the parameter vector, or frozen in memory of the plugin's own. */
struct weight {
    size_t rows, columns; /* 0: the model has none */
    size_t offset;
    float *frozen;
    struct adapter part[PARTS]; /* of each published part, that has one */
    size_t rank;                /* 0: no part has one */
};

struct transformer {
    /* options */
    const char *load, *adapters, *tokeniser, *chat, *end;
    int family, tie, bf16, checkpoint, critic, overflow, prompt, split, tokens;
    int64_t layers, width, heads, groups, hidden, context, max_tokens, vocabulary;
    int64_t rank;
    double alpha, dropout;
    int stable; /* adapters count alpha / sqrt(rank) times, as their file said */
    mete_strings targets, ignore;

    struct shape shape;
    mete_tokeniser *words;
    int headless; /* the checkpoint has a score in place of a head: it reads, and writes nothing */
    int trained;  /* the tokeniser was learnt here, and is saved */
    mete_chat *template;
    int32_t answer; /* the token between prompt and response; -1: none */
    mete_arrays *arrays, *adapter_arrays;
    struct weight *layer; /* [layers x LAYER_ROLES] */
    struct weight whole[ROLES];
    float *frequency; /* [head / 2] */
};

static inline struct weight *
weight_of(const struct transformer *p, size_t layer, enum role role)
{
    return role < LAYER_ROLES ? &p->layer[layer * LAYER_ROLES + role]
                              : (struct weight *)(uintptr_t)&p->whole[role];
}

/* The adapter that row `from` of a matrix falls to, or NULL. */
static inline const struct adapter *
adapter_of(const struct weight *w, size_t from)
{
    for (size_t k = 0; k < PARTS && w->rank; k++)
        if (w->part[k].has && from >= w->part[k].from && from - w->part[k].from < w->part[k].rows)
            return &w->part[k];
    return NULL;
}

/* ---- settings.c: json files that say what a model is ----------------------------------------- */

#define SETTINGS_MOST 128

struct settings {
    mete_ctx *cx;
    char path[4096];
    mete_json *root; /* an object */
    int status;      /* of the first complaint; later ones are not recorded */
    struct {
        const mete_json *object;
        const char *key;
    } asked[SETTINGS_MOST]; /* what settings_get was asked for */
    size_t asks;
};

/* Reads FOLDER/NAME, which settings_close frees, after a failure too. Returns out->status. */
int settings_open(mete_ctx *cx, const char *folder, const char *name, struct settings *out);
void settings_close(struct settings *r);
/* A member of an object of the file, NULL where it has none. What is read by this and by those
 * below counts as known; see settings_closed. */
const mete_json *settings_get(struct settings *r, const mete_json *object, const char *key);
/* Is there no value, or null? */
int settings_absent(const mete_json *at);
/* A whole number of the root from 1 to ten millions; `absent` 0: it must be there. */
size_t settings_size(struct settings *r, const char *key, size_t absent);
double settings_number(struct settings *r, const mete_json *group, const char *key, double absent,
                       double lo, double hi);
int settings_flag(struct settings *r, const char *key, int absent);
/* A token's number, or the first of a list of them; -1: none. */
int32_t settings_token(struct settings *r, const char *key);
/* Complains of a value that is neither absent nor one of the two (`also` may be NULL); true and
 * false are such. */
void settings_only(struct settings *r, const char *key, const char *known, const char *also);
/* Complains of a value that asks for anything: that is not absent, false, 0, `idle` or empty. */
void settings_idle(struct settings *r, const mete_json *group, const char *key, double idle);
/* Complains of a member of the object that is not null and that nobody knows: that was not read,
 * and is none of the `harmless` ones, which say nothing of what is computed. Where `lenient`, one
 * that asks for nothing (settings_idle) passes, too. */
void settings_closed(struct settings *r, const mete_json *object, mete_strings harmless,
                     int lenient);

/* ---- config.c, shape.c: sizes, from a published config.json or from options ------------------ */

int shape_from_options(mete_ctx *cx, struct transformer *p);
/* Reads DIR/config.json into p->shape and p->family. */
int shape_from_config(mete_ctx *cx, struct transformer *p);
/* Sets what a family always has. */
void shape_habits(struct shape *s, int family);
/* Makes p->frequency for rotary positions, theta^(-2i/head), where the shape has them. */
int shape_frequencies(mete_ctx *cx, struct transformer *p, double theta);
/* Rows and columns of a matrix; 0 x 0 where this model has none. */
void shape_of(const struct transformer *p, enum role role, size_t *rows, size_t *columns);

/* ---- published.c: matrices of published checkpoints ------------------------------------------ */

/* Opens p->load and checks that it has every matrix in its shape, and no others. */
int published_open(mete_ctx *cx, struct transformer *p);
/* One array of theirs: so many rows of the matrix, or columns of one that is a row. */
struct part {
    char name[256];
    mete_text module; /* within its layer, such as self_attn.q_proj, and ".weight" or ".bias" off */
    size_t rows, columns;
    int turned; /* [columns x rows] in the file */
};
/* The k-th array that a matrix is made of; 0 when there is none. */
int published_part(const struct transformer *p, size_t layer, enum role role, size_t k,
                   struct part *part);
/* Complains of a checkpoint that has no head, in a call that needs one. */
int published_needs_head(mete_ctx *cx, const struct transformer *p);
/* The numbers of one matrix. */
int published_read(const struct transformer *p, size_t layer, enum role role, float *out,
                   mete_error *err);

/* ---- adapters.c: low-rank adapters, those of PEFT's files too -------------------------------- */

/* Reads what p->adapters says of itself into rank, alpha and targets, and checks its arrays. */
int adapters_open(mete_ctx *cx, struct transformer *p);
/* Are there adapters for this part of a matrix? */
int adapters_want(const struct transformer *p, enum role role, const struct part *part);
/* Complains of targets that the model does not have. */
int adapters_check_targets(mete_ctx *cx, const struct transformer *p);
/* Declares the parameters of the adapters of a matrix. */
int adapters_declare(mete_ctx *cx, const struct transformer *p, size_t layer, enum role role);
/* Puts the numbers of p->adapters into a fresh vector. */
int adapters_start(mete_ctx *cx, const struct transformer *p, float *vector);
/* What B A is multiplied by. */
float adapters_scale(const struct transformer *p);
/* Names of the arrays of a part's A (which 0) or B (1) in the file. */
void adapters_name(const struct part *part, int which, char *out, size_t room);
/* The name of a module that tells it from the others of a layer: "q_proj", but "attn.c_proj", for
 * GPT-2 calls two of them c_proj. */
mete_text adapters_module(const struct transformer *p, const struct part *part);

/* ---- words.c: texts as tokens ---------------------------------------------------------------- */

int words_open(mete_ctx *cx, struct transformer *p);
int words_learn(mete_ctx *cx, struct transformer *p, const mete_batch *texts);
/* Tokens of the prompt of a row and what stands before an answer; at least one, at most `most`. */
int words_prompt(mete_ctx *cx, const struct transformer *p, mete_text prompt, size_t most,
                 mete_tokens *out);
/* The same of what a row of a batch is to go on with. */
int words_row(mete_ctx *cx, const struct transformer *p, const mete_batch *batch, size_t row,
              size_t most, mete_tokens *out);
int words_messages(mete_ctx *cx, const struct transformer *p, const mete_message *message,
                   size_t messages, size_t most, mete_tokens *out);
/* The longest prompt that leaves room for an answer of `answer` tokens. */
size_t words_room(const struct transformer *p, size_t answer);
/* Joins tokens to their text, in the arena, and gives each its span. */
int words_join(mete_ctx *cx, const struct transformer *p, mete_token *token, size_t count,
               mete_text *text);
/* Tokens of a response, at most `most`, the one that ends it last where it fits. */
int words_response(mete_ctx *cx, const struct transformer *p, mete_text text, size_t most,
                   mete_tokens *out);
int transformer_encode(mete_ctx *cx, const void *self, const mete_batch *batch, mete_actions *out);

/* ---- learn.c: the tape ----------------------------------------------------------------------- */

int transformer_forward(mete_ctx *cx, const void *self, const mete_params *params,
                        const mete_query *query, mete_outputs *out, mete_tape *tape);
int transformer_embed(mete_ctx *cx, const void *self, const mete_params *params,
                      const mete_batch *batch, mete_tape *tape, mete_var **out);
int transformer_backward(mete_ctx *cx, const void *self, const mete_params *params,
                         const mete_query *query, const mete_outputs *adjoint, mete_tape *tape,
                         float *grad);

/* ---- write.c: a model in the layout it is published in --------------------------------------- */

int transformer_emit(mete_ctx *cx, const void *self, const mete_params *params, const char *folder);

/* ---- generate.c: answers with a cache of keys and values ------------------------------------- */

/* W + scale B A of a frozen matrix, in the arena; itself where it has no adapter. NULL when
 * out of memory. */
const float *transformer_merged(mete_ctx *cx, const struct transformer *p, const struct weight *w,
                                const float *vector);
int transformer_act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
                    mete_actions *out);
int transformer_generate(mete_ctx *cx, const void *self, const mete_params *params,
                         const mete_requests *requests, mete_replies *replies);

#endif
