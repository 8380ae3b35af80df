/* window_lm.h - what the files of the window language model share. */
#ifndef WINDOW_LM_H
#define WINDOW_LM_H

#include <mete/policy.h>

#define WINDOW_HIDDEN 2 /* most hidden layers */

/* Words by number, in a growing open-addressed table. Numbers go by order of adding. */
struct words {
    char *bytes;
    size_t length, room;
    struct word {
        size_t at, length;
        uint64_t hash;
        uint64_t count;
    } * word;
    size_t words, word_room;
    uint32_t *slot; /* number + 1; 0: empty */
    size_t slots;
};

int words_add(struct words *words, mete_text text);            /* number, or -1 out of memory */
int32_t words_find(const struct words *words, mete_text text); /* number, or -1 */
mete_text words_text(const struct words *words, size_t number);
/* Keeps the `most` most frequent with at least `least` occurrences, most frequent first. */
int words_prune(struct words *words, size_t most, uint64_t least);
void words_free(struct words *words);

/* The next token from *at: one leading space may belong to it. 0 at the end. */
int token_next(mete_text text, size_t *at, mete_text *token);

struct window_lm {
    int64_t window, embedding, max_tokens, max_words, min_count;
    mete_ints hidden;
    mete_strings inputs;
    int prompt, condition_bag, said_bag, critic;

    mete_field *field;                       /* [inputs.count] */
    struct words say;                        /* what is said: number k is token k + 1 */
    struct words know;                       /* conditions */
    size_t layers, width[WINDOW_HIDDEN + 1]; /* width[0]: window x embedding */
    size_t embed_at, condition_at, said_at, value_at, value_bias_at;
    size_t weight[WINDOW_HIDDEN + 1], bias[WINDOW_HIDDEN + 1]; /* the last is the output */
};

/* Token numbers: 0 is <eos>, then the words, which are the classes; <bos> and <unk> are only read.
 * */
static inline size_t
classes_of(const struct window_lm *p)
{
    return p->say.words + 1;
}
static inline int32_t
bos_of(const struct window_lm *p)
{
    return (int32_t)classes_of(p);
}
static inline int32_t
unknown_of(const struct window_lm *p)
{
    return (int32_t)classes_of(p) + 1;
}

/* Condition tokens of a row, in the arena. NULL and *status on an error. */
int window_conditions(mete_ctx *cx, const struct window_lm *p, const mete_batch *batch, size_t row,
                      int32_t **token, size_t *count);
/* Calls say(user, text) for each condition of a row as text. */
int window_condition_texts(mete_ctx *cx, const struct window_lm *p, const mete_batch *batch,
                           size_t row, int (*say)(void *user, mete_text text), void *user);
int window_act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
               mete_actions *out);

#endif
