/* net.h - what models learnt from texts share: a response seen as a bag of hashed n-grams, or as
 * the state in which a language model ends after reading it; outputs linear in it, or with hidden
 * units between; several members; AdaGrad; the best weights so far. */
#ifndef NET_H
#define NET_H

#include <mete/model.h>
#include <mete/reward.h>

/* Numbers of the tensor "state". */
enum { STATE_BEST, STATE_SINCE, STATE_INVERSE_TEMPERATURE, STATE_KEPT, STATE_BODY, STATE_NUMBERS };

/* The first member of the plugin's own struct; the plugin sets `columns`, then calls net_open. */
struct net {
    /* options, of NET_OPTIONS */
    int64_t buckets, words, chars_from, chars_to, hidden, members, patience;
    double length_power, rate, decay, trunk_rate;
    int64_t trunk_cache;
    mete_strings context, joined, crossed;
    mete_node *trunk;
    const char *head;

    size_t columns;  /* outputs of a member */
    size_t reversed; /* the last of them: they learn along their slopes, and hidden units along
                        -reversal times those (gradient reversal; Ganin & Lempitsky 2015) */
    double reversal;

    mete_field *context_field, *joined_field, *crossed_field; /* [context.count], ... */
    size_t rows, width, outs;            /* of the table: buckets or numbers of a state, and what a
                                            row of it holds; all outputs */
    size_t states, parameters;           /* of the trunk; 0: none */
    int table, bias, out;                /* tensors: the weights, */
    int table_sum, bias_sum, out_sum;    /* their sums of squared gradients, */
    int best_table, best_bias, best_out; /* and the best so far, with patience; */
    int body, body_sum, best_body;       /* the same of the trunk, with trunk_rate */
    int state;
    float *grad;         /* [rows x width] zero between minibatches */
    uint8_t *touched;    /* [rows] likewise */
    struct cache *cache; /* of a trunk that stays as it is; fits alone use it */
};

#define NET_OPTIONS                                                                                \
    METE_INT(struct net, words, 2, 0, 8, "longest n-gram of words; 0: none"),                      \
        METE_INT(struct net, chars_from, 1, 1, 8, "shortest n-gram of characters"),                \
        METE_INT(struct net, chars_to, 0, 0, 8, "longest n-gram of characters; 0: none"),          \
        METE_INT(struct net, buckets, 262144, 16, 1 << 26,                                         \
                 "weights that n-grams are hashed to; a power of two"),                            \
        METE_STRINGS(struct net, context, 0,                                                       \
                     "columns whose words count anew where the response says them, such as "       \
                     "prompt"),                                                                    \
        METE_STRINGS(struct net, joined, 0,                                                        \
                     "columns read beside the response: n-grams of their own, or texts that a "    \
                     "trunk reads before the prompt, such as a rubric"),                           \
        METE_STRINGS(struct net, crossed, 0,                                                       \
                     "columns whose first 64 words count anew with each of the response's first "  \
                     "1024, and with its saying a word of theirs: a value that depends on them"),  \
        METE_REAL(struct net, length_power, 0.5, 0, 1,                                             \
                  "features are divided by their number to this power: 0 sums, 1 is a mean"),      \
        METE_MODEL(                                                                                \
            struct net, trunk, NULL, 0,                                                            \
            "a model under `models` whose state after prompt and response is seen in place "       \
            "of n-grams"),                                                                         \
        METE_REAL(struct net, trunk_rate, 0, 0, 10,                                                \
                  "step of AdaGrad of the trunk's own parameters; 0: it stays as it is"),          \
        METE_INT(struct net, trunk_cache, 256, 0, 1 << 20,                                         \
                 "MiB of states that a fit keeps of a trunk that stays as it is; 0: none"),        \
        METE_FILE(struct net, head, 0,                                                             \
                  "a published reward model whose score.weight the weights begin as"),             \
        METE_INT(struct net, hidden, 0, 0, 4096, "hidden units; 0: linear"),                       \
        METE_INT(struct net, members, 1, 1, 64, "models, each of a resample of its own"),          \
        METE_REAL(struct net, rate, 0.1, 1e-9, 100, "step of AdaGrad"),                            \
        METE_REAL(struct net, decay, 0, 0, 100, "pull of weights that are used towards 0"),        \
        METE_INT(struct net, patience, 2, 0, 1000000,                                              \
                 "epochs without a lower held-out loss before the fit stops, and the best "        \
                 "weights score; 0: the last do")

/* One version of the weights: the learning one, or the best so far on what is held out.
 * table [rows x width]; with hidden units bias [width] and out [members x columns x hidden]; body
 * [parameters] of a trunk that learns, NULL: as the model has them. */
struct weights {
    const float *table, *bias, *out, *body;
};

/* ---- features.c: a text as a bag of hashed n-grams ------------------------------------------- */

/* Of each row [rows] its buckets, with repeats. */
struct bags {
    uint32_t **bucket;
    size_t *count;
};
enum { CROSSED_CONTEXT = 64, CROSSED_RESPONSE = 1024 };
/* Room for the buckets of one row, and scratch for finding them. */
struct bag_scratch {
    mete_ctx *cx;
    uint64_t *word, *gram, *known; /* of the response, of either, of a column */
    size_t longest, longest_column;
    uint32_t *bucket;
    size_t room;
};

int bag_scratch_make(mete_ctx *cx, const struct net *p, const mete_batch *batch,
                     struct bag_scratch *out);
/* Buckets of row's text into scratch->bucket, their number into *count. */
int bag_of(const struct net *p, const mete_batch *batch, size_t row, struct bag_scratch *scratch,
           size_t *count);
int bags_of(mete_ctx *cx, const struct net *p, const mete_batch *batch, struct bags *out);
/* What the columns of a list say in a row; nothing where it lacks them. */
mete_text column_text(const mete_field *field, const mete_batch *batch, size_t row);
/* What the sum over n features is multiplied by: n^-length_power. */
double bag_scale(const struct net *p, size_t n);

/* ---- trunk.c: a text as the state of a model that has read it -------------------------------- */

/* Finds the trunk's sizes and declares what it learns. */
int trunk_open(mete_ctx *cx, struct net *p);
/* States [episodes x states] of a batch's texts, of length about 1, under `body`. A trunk that
 * stays as it is reads each text alone: its state is the text's own, whatever stands beside it.
 * `cache` (or NULL) has states read before and takes those read now. */
int trunk_read(mete_ctx *cx, const struct net *p, const float *body, const mete_batch *batch,
               struct cache *cache, float *states);
/* One step of the trunk along slopes [episodes x states] by its states. */
int trunk_step(mete_ctx *cx, const struct net *p, const mete_batch *batch, const float *slope);
/* The parameters the trunk has learnt so far, from the model's own at first; NULL after an error.
 */
float *trunk_body(mete_ctx *cx, const struct net *p);

/* ---- cache.c: states of texts that a trunk has read ------------------------------------------ */

/* At most `bytes` of states of `width` numbers; NULL: out of memory, and none are kept. Once full
 * it keeps what it has: a fit comes back to every text as often. */
struct cache *cache_new(size_t width, size_t bytes);
void cache_free(struct cache *cache);
/* Forgets all unless `key` is the one it was given last: states belong to a trunk's parameters. */
void cache_of(struct cache *cache, uint64_t key);
struct cache_key {
    uint64_t a, b;
};
/* Of a text in two parts: 128 bits, so that no two texts of a fit are ever taken for one. */
struct cache_key cache_key_of(mete_text prompt, mete_text response);
/* The state kept under a key [width], or NULL. */
const float *cache_find(const struct cache *cache, struct cache_key key);
void cache_put(struct cache *cache, struct cache_key key, const float *state);

/* ---- net.c ----------------------------------------------------------------------------------- */

int net_open(mete_ctx *cx, struct net *p);
void net_close(struct net *p);
struct weights net_learning(mete_ctx *cx, const struct net *p);
/* The weights that score: the best so far where they are kept, else the learning ones. */
struct weights net_scoring(mete_ctx *cx, const struct net *p);
/* Are the weights that score the best so far? */
int net_keeps(mete_ctx *cx, const struct net *p);
/* Outputs of a batch's rows [episodes x outs] by the weights that score. */
int net_score(mete_ctx *cx, const struct net *p, const mete_batch *batch, double *out);

/* One step of AdaGrad (Duchi et al. 2011); grad is then zero. */
void net_adagrad(const struct net *p, double rate, float *x, float *sum, float *grad, size_t n);

/* A minibatch on its way through. */
struct pass {
    const mete_batch *batch;
    struct bags bags;
    float *states;       /* [rows x states], or NULL */
    float *unit;         /* [rows x width] what comes before the outputs */
    double *out, *slope; /* [rows x outs] outputs, and slopes of the loss by them */
    double *x, *dx;      /* [rows] one output of all rows, and slopes by it */
    double loss, right, weight;
};

/* Runs a batch under the weights; slopes are 0. */
int pass_start(mete_ctx *cx, const struct net *p, const mete_batch *batch, const struct weights *w,
               struct pass *t);
/* Adds terms by the weights of the outputs: their value, and slopes into grad [outs x hidden]. */
typedef double (*net_term)(const struct net *p, const float *out, float *grad);
/* One step along t->slope. `term` (NULL: none) is added to the loss where there are hidden units.
 */
int pass_step(mete_ctx *cx, const struct net *p, struct pass *t, net_term term);
/* An output of a member over all rows, into t->x, and t->dx at 0: number `head[i] + column` in
 * row i, or `column` where head is NULL. pass_put adds t->dx back to the slopes. */
void pass_take(const struct net *p, struct pass *t, size_t member, const uint32_t *head,
               size_t column);
void pass_put(const struct net *p, struct pass *t, size_t member, const uint32_t *head,
              size_t column);
/* How often row `id` counts in a member's resample: Poisson(1), the bootstrap of a stream (Oza &
 * Russell 2001); always the same. */
double net_times_drawn(mete_ctx *cx, const struct net *p, uint64_t id, size_t member);
/* Has the held-out loss fallen? Keeps the best weights with patience, and sets *stop when it has
 * run out. A negative status after an error. */
int net_judge(mete_ctx *cx, const struct net *p, double loss, int *stop);

#endif
