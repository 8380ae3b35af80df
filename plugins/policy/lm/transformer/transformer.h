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
    double theta, factor, low, high, original; /* rotary positions; factor 0: not stretched */
    int32_t begin, end; /* tokens that begin a text and end an answer; -1: none */
};

/* Where a matrix is: in the parameter vector, or frozen in memory of the plugin's own. */
struct weight {
    size_t rows, columns; /* 0: the model has none */
    size_t offset;
    float *frozen;
    size_t rank, a, b; /* adapter: W + scale B A, B [rows x rank] and A [rank x columns]; 0: none */
};

struct transformer {
    /* options */
    const char *load, *tokeniser, *chat, *end;
    int family, tie, bf16, checkpoint, critic, overflow, prompt, split;
    int64_t layers, width, heads, groups, hidden, context, max_tokens, vocabulary;
    int64_t rank;
    double alpha, dropout;
    mete_strings targets;

    struct shape shape;
    mete_tokeniser *words;
    int trained; /* the tokeniser was learnt here, and is saved */
    mete_chat *template;
    int32_t answer; /* the token between prompt and response; -1: none */
    mete_arrays *arrays;
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

/* ---- shape.c: sizes, from options or a published config.json --------------------------------- */

int shape_from_options(mete_ctx *cx, struct transformer *p);
/* Reads DIR/config.json into p->shape and p->family. */
int shape_from_config(mete_ctx *cx, struct transformer *p);
/* Rows and columns of a matrix; 0 x 0 where this model has none. */
void shape_of(const struct transformer *p, enum role role, size_t *rows, size_t *columns);

/* ---- published.c: matrices of published checkpoints ------------------------------------------ */

/* Opens p->load and checks that it has every matrix in its shape, and no others. */
int published_open(mete_ctx *cx, struct transformer *p);
/* One array of theirs: so many rows of the matrix, or columns of one that is a row. */
struct part {
    char name[256];
    size_t rows, columns;
    int turned; /* [columns x rows] in the file */
};
/* The k-th array that a matrix is made of; 0 when there is none. */
int published_part(const struct transformer *p, size_t layer, enum role role, size_t k,
                   struct part *part);
/* The numbers of one matrix. */
int published_read(const struct transformer *p, size_t layer, enum role role, float *out,
                   mete_error *err);

/* ---- words.c: texts as tokens ---------------------------------------------------------------- */

int words_open(mete_ctx *cx, struct transformer *p);
int words_learn(mete_ctx *cx, struct transformer *p, const mete_batch *texts);
/* Tokens of the prompt of a row and what stands before an answer; at least one, at most `most`. */
int words_prompt(mete_ctx *cx, const struct transformer *p, mete_text prompt, size_t most,
                 mete_tokens *out);
int words_messages(mete_ctx *cx, const struct transformer *p, const mete_message *message,
                   size_t messages, size_t most, mete_tokens *out);
/* The longest prompt that leaves room for an answer of `answer` tokens. */
size_t words_room(const struct transformer *p, size_t answer);
/* Joins tokens to their text, in the arena, and gives each its span. */
int words_join(mete_ctx *cx, const struct transformer *p, mete_token *token, size_t count,
               mete_text *text);
int transformer_encode(mete_ctx *cx, const void *self, const mete_batch *batch, mete_actions *out);

/* ---- learn.c: the tape ----------------------------------------------------------------------- */

int transformer_forward(mete_ctx *cx, const void *self, const mete_params *params,
                        const mete_query *query, mete_outputs *out, mete_tape *tape);
int transformer_backward(mete_ctx *cx, const void *self, const mete_params *params,
                         const mete_query *query, const mete_outputs *adjoint, mete_tape *tape,
                         float *grad);

/* ---- write.c: a model in the layout it is published in --------------------------------------- */

int transformer_emit(mete_ctx *cx, const void *self, const mete_params *params, const char *folder);

/* ---- generate.c: answers with a cache of keys and values ------------------------------------- */

/* W + alpha/rank B A of a frozen matrix, in the arena; itself where it has no adapter. NULL when
 * out of memory. */
const float *transformer_merged(mete_ctx *cx, const struct transformer *p, const struct weight *w,
                                const float *vector);
int transformer_act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
                    mete_actions *out);
int transformer_generate(mete_ctx *cx, const void *self, const mete_params *params,
                         const mete_requests *requests, mete_replies *replies);

#endif
