/* model.h - asking models for text: answers, log-probabilities of given text, and choices.
 *
 * A model is an instance of a policy: one named under `models` in the config, "policy" (what is
 * trained) or a snapshot such as "reference". Rewards, rubric generators, environments and policies
 * get it by a METE_MODEL option and ask it here, many requests at once. Local, remote and scripted
 * models answer alike: one reply a request, each with a status of its own, so a row whose judge
 * failed is a failed row and never a made-up score:
 *
 *     mete_message say = {METE_USER, 0, prompt};
 *     mete_request ask = {.size = sizeof ask, .message = &say, .messages = 1, .max_tokens = 64};
 *     const mete_replies *got = mete_generate(cx, p->judge, &ask, 1);
 *     if (!got)
 *         return METE_EIO;
 *     const mete_reply *reply = mete_reply_at(got, 0);
 *     if (reply->status != METE_VALID)
 *         mete_row_fail(cx, row, (int)reply->status, "%.*s", (int)reply->reason.length,
 *                       reply->reason.data);
 *
 * Everything a model says is untrusted text: it may hold any bytes, escapes and lies.
 */
#ifndef METE_MODEL_H
#define METE_MODEL_H

#include "nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Requests -------------------------------------------------------------------------------- */

/* Who speaks; the numbers of mete_batch.turn_role. */
typedef enum mete_speaker {
    METE_SYSTEM = 0,
    METE_USER = 1,
    METE_ASSISTANT = 2,
    METE_TOOL = 3
} mete_speaker;

/* One message of a conversation. Frozen layout. */
typedef struct mete_message {
    uint32_t speaker; /* mete_speaker */
    uint32_t reserved;
    mete_text text;
} mete_message;

enum mete_request_flags {
    METE_ASK_LOGP = 1u << 0, /* wants the log-probability of each token said */
    METE_ASK_FRESH = 1u << 1 /* not from a reply cache, though the reply may be kept in it */
};

/* One question. Zero it, set `size`, then what differs: a member that is 0 asks for nothing
 * special. Texts are borrowed until the call returns. A plain prompt is one METE_USER message. A
 * conversation that ends in METE_ASSISTANT is continued where the model can.
 *
 * `seed` keys the model's random stream: the same model, request and seed give the same reply, in
 * whatever batch it rides, and different seeds give independent ones. Make it from what is asked,
 * such as mete_hash_mix(batch->id[row], draw), and not from who asks, so that commands share the
 * cached replies. A greedy request (temperature 0) has no use for it. */
typedef struct mete_request {
    uint32_t size;     /* sizeof(mete_request) of the asker; also the stride of an array of them */
    uint32_t messages; /* at least 1 */
    const mete_message *message;
    uint64_t seed;
    double temperature;    /* 0: the most probable token each time; 1: the model itself */
    double top_p;          /* in (0, 1]: the smallest set of that mass; 0: all */
    double min_p;          /* in [0, 1]: at least that share of the best token's probability */
    double repeat_penalty; /* > 1 divides logits of what was said (Keskar 2019); 0: none */
    uint32_t top_k;        /* 0: all */
    uint32_t max_tokens;   /* 0: the model's own limit */
    uint32_t alternatives; /* wanted for each token, the most probable first; at most 20 */
    uint32_t flags;        /* mete_request_flags */
    const mete_text *stop; /* the answer ends before the first of these */
    size_t stops;
    mete_text schema; /* a JSON schema the answer shall obey; empty: none. The asker still checks */
    const mete_text *option; /* mete_choose: what may be answered, at least 2, all different */
    size_t options;
    mete_text given; /* mete_logprob: the answer to weigh */
} mete_request;

/* The conversation a row of a batch is to go on with: `message` where the batch has it, else its
 * prompt as what the user says, held in *single. Rows of one answer each, as policies get them. */
static inline const mete_message *
mete_row_messages(const mete_batch *batch, size_t row, mete_message *single, size_t *count)
{
    if (batch->message_begin) {
        *count = batch->message_begin[row + 1] - batch->message_begin[row];
        return batch->message + batch->message_begin[row];
    }
    *count = 1;
    single->speaker = METE_USER;
    single->reserved = 0;
    single->text.data = batch->prompt ? batch->prompt[row].data : "";
    single->text.length = batch->prompt ? batch->prompt[row].length : 0;
    return single;
}

/* A hash of a conversation: who says what, in order. Stable across versions. */
METE_API uint64_t mete_messages_hash(const mete_message *message, size_t count);

/* Requests as a model gets them, whole and of the host's size. */
typedef struct mete_requests {
    uint32_t size;
    uint32_t stride; /* bytes from one request to the next */
    size_t count;
    const mete_request *item;
} mete_requests;

static inline const mete_request *
mete_request_at(const mete_requests *requests, size_t i)
{
    return (const mete_request *)(const void *)((const char *)requests->item +
                                                i * requests->stride);
}

/* ---- Replies --------------------------------------------------------------------------------- */

/* A token of an answer: its id, log-probability, value, and byte span. Frozen layout. */
typedef struct mete_token {
    int32_t id; /* -1 where the model does not tell */
    float logp;
    float value;
    uint32_t begin, end;
} mete_token;

/* What could have stood in a token's place. Frozen layout. */
typedef struct mete_alternative {
    mete_text text; /* empty with logp -infinity where there were fewer */
    int32_t id;     /* or -1 */
    float logp;
} mete_alternative;

typedef enum mete_finish {
    METE_FINISH_STOP = 0, /* it was done, or met a stop text */
    METE_FINISH_LENGTH,   /* max_tokens: the answer is cut */
    METE_FINISH_OTHER     /* a content filter, a tool call, or what only the endpoint knows */
} mete_finish;

/* How the chances of a choice were found. */
typedef enum mete_chances {
    METE_CHANCE_EXACT = 0, /* every option was weighed by the model */
    METE_CHANCE_BOUNDED,   /* an option was not among the alternatives told: it has at most the
                              chance given, and `mass` says how much was told in all */
    METE_CHANCE_SAMPLED    /* one answer was drawn: 1 for what it said, 0 for the others */
} mete_chances;

/* One answer. All it points to lives in the asker's arena, until the asker's call returns. */
typedef struct mete_reply {
    uint32_t size;
    uint32_t status;         /* mete_row_status: METE_VALID, METE_FAILED or METE_TIMED_OUT */
    mete_text reason;        /* one sentence, when the status is not METE_VALID */
    mete_text text;          /* the answer; mete_logprob: what was given; mete_choose: the option */
    uint32_t finish;         /* mete_finish */
    uint32_t cached;         /* 1: from the reply cache; nothing was spent */
    double logp;             /* of the whole answer as sampled (mete_logprob: as given), or NaN */
    const mete_token *token; /* [tokens], or NULL where the model tells none */
    size_t tokens;
    uint32_t alternatives;               /* for each token; 0: none */
    uint32_t chances;                    /* mete_choose: mete_chances */
    const mete_alternative *alternative; /* [tokens x alternatives] */
    const double *chance;                /* mete_choose: [options], they sum to 1 */
    double mass;   /* mete_choose: probability of all options together before they were made to
                      sum to 1; small means the model wanted to say something else */
    size_t choice; /* mete_choose: the option of the greatest chance; drawn by `seed` when the
                      request has a temperature */
    uint64_t prompt_tokens, answer_tokens; /* as the model counts; 0 where it does not */
    double cost;                           /* in the currency of the model's prices; 0: free */
    double seconds;                        /* from asking to the answer, as the model tells it */
} mete_reply;

typedef struct mete_replies {
    uint32_t size;
    uint32_t stride; /* bytes from one reply to the next */
    size_t count;
    mete_reply *item;
} mete_replies;

static inline mete_reply *
mete_reply_at(const mete_replies *replies, size_t i)
{
    return (mete_reply *)(void *)((char *)replies->item + i * replies->stride);
}

/* ---- Asking ---------------------------------------------------------------------------------- */
/* Each asks `model` (a METE_MODEL option) all `count` requests, and returns as many replies in the
 * same order. NULL after an error that concerns the whole call (a bad request, a model that cannot
 * do this, no memory), which the asker passes on; whatever concerns one row is in its status. A
 * node that asks models should carry METE_WAITS. For a process of its own (isolate = "process") the
 * run asks. `mete check` asks no remote model (one that carries METE_WAITS): its replies fail,
 * saying so. [any function but open, close, save and load; from any thread] */

/* Samples an answer to each. A model with `act` alone, which knows single prompts, is asked through
 * it: one METE_USER message, no top_k, top_p, min_p, repeat_penalty, schema or alternatives. */
METE_API const mete_replies *mete_generate(mete_ctx *cx, mete_node *model,
                                           const mete_request *request, size_t count);
/* The log-probability of `given` as the answer, and of its tokens. Sampling settings are not
 * looked at. */
METE_API const mete_replies *mete_logprob(mete_ctx *cx, mete_node *model,
                                          const mete_request *request, size_t count);
/* Which of `option` the model answers, with the chance of each. A model without `choose` is asked
 * for the log-probability of every option; one without that for a sample, which counts for the one
 * option it equals once trimmed, and is a failed row otherwise. */
METE_API const mete_replies *mete_choose(mete_ctx *cx, mete_node *model,
                                         const mete_request *request, size_t count);

enum mete_model_abilities {
    METE_CAN_GENERATE = 1u << 0,
    METE_CAN_LOGPROB = 1u << 1,
    METE_CAN_CHOOSE = 1u << 2,  /* with chances, not from samples */
    METE_CAN_CONVERSE = 1u << 3 /* several messages, and the settings `act` has not */
};
/* What `model` can be asked for, derived ways included; in `open` and later. */
METE_API uint32_t mete_model_can(mete_ctx *cx, mete_node *model);

/* ---- Models as encoders ---------------------------------------------------------------------- */

/* What a model makes of texts it has read, for rewards that learn a head on it. */
typedef struct mete_encoder {
    size_t width;        /* numbers of a state */
    size_t parameters;   /* of the model */
    const float *vector; /* [parameters] its own; borrowed, as long as the call */
} mete_encoder;

/* METE_ENOTSUP where the model gives no states, or learns in the run and is asked from a process of
 * the node's own; METE_EINVAL where it has no parameters yet. Of a model named under `models`, in
 * `open` and later. */
METE_API int mete_encoder_of(mete_ctx *cx, mete_node *model, mete_encoder *out) METE_CHECKED;
/* The last hidden state of each row after prompt and response, as a variable [episodes x width] of
 * `tape`, which mete_tape_backward differentiates by `vector` [parameters] (NULL: the model's own).
 * NULL after an error. All rows are held at once: give long batches in pieces. */
METE_API mete_var *mete_embed(mete_ctx *cx, mete_node *model, const float *vector,
                              const mete_batch *batch, mete_tape *tape);

/* ---- Answering: for the policies that are models --------------------------------------------- */

/* A policy answers by up to three functions of one form, `generate`, `logprob` and `choose` of its
 * descriptor (policy.h). `replies` has a zeroed reply for each request with status METE_FAILED, so
 * that a row forgotten is no answer; these two set the rest. A negative status of the function
 * fails the whole call. `choose` fills `chance`, `chances` and `mass`; the host makes the choice of
 * them. Several threads may ask at once: `self` is const, and what a model keeps
 * between calls (connections, counts) has a lock of its own. Local models draw from
 * mete_random(cx, request->seed, ...) and nothing else. */
typedef int (*mete_answer)(mete_ctx *cx, const void *self, const struct mete_params *params,
                           const mete_requests *requests, mete_replies *replies);

/* Makes the reply valid with a copy of `text`. */
METE_API int mete_reply_say(mete_ctx *cx, mete_reply *reply, mete_text text) METE_CHECKED;
/* Makes the reply one that failed (status METE_FAILED or METE_TIMED_OUT), with a sentence. */
METE_API void mete_reply_fail(mete_ctx *cx, mete_reply *reply, int status, const char *format, ...)
    METE_PRINTF(4, 5);

/* The secret of a remote model, such as an API key, which no config holds: in `open`, the value of
 * environment variable `variable`, or the first line of `file` when that is given (an absolute
 * path, as METE_FILE options are). Neither given: the empty text. It lives as long as the instance,
 * is wiped after, and no log, journal, resolved config, checkpoint or error of the host shows it. A
 * variable that is not set and a file that cannot be read are errors (METE_EINVAL, METE_EIO). */
METE_API int mete_secret(mete_ctx *cx, const char *variable, const char *file,
                         mete_text *secret) METE_CHECKED;
/* Seconds of a steady clock that starts anywhere, for timeouts and rate limits. No result may
 * depend on it. */
METE_API double mete_seconds(void);

#ifdef __cplusplus
}
#endif
#endif
