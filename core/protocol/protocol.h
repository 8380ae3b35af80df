/* protocol.h - other people's reward protocols: a request's body as records, scores as its answer.
 *
 * Only bytes: no sockets here. A row of the table is a path, what reads its requests and what
 * writes its answers; a family of protocols is a file. What a body says is untrusted; what is wrong
 * with it is one sentence.
 */
#ifndef METE_PROTOCOL_PROTOCOL_H
#define METE_PROTOCOL_PROTOCOL_H

#include "score/scoring.h"

#include <mete/mete.h>
#include <mete/tokeniser.h>

typedef struct mete__protocol mete__protocol;

/* What a server's config says of requests: the keys by which the tree reads a record's prompt and
 * response, and the one column that protocols with a single "label" or "ground_truth" fill. */
typedef struct mete__setting {
    mete_text prompt, response, label;
    const mete_tokeniser *tokeniser; /* of token ids sent for texts; or NULL */
    bool bare;                       /* /v1/rerank answers a list, as SGLang does */
} mete__setting;

/* What stands for a score that there is not, where a protocol has no word for that. */
typedef enum mete__missing {
    METE__MISSING_ERROR,
    METE__MISSING_NULL,
    METE__MISSING_ZERO
} mete__missing;

/* A record: its fields, or the JSON it came as. */
typedef struct mete__given {
    mete__record record; /* fields in the call's arena */
    mete_text json;      /* data NULL: the fields are all */
} mete__given;

/* One request. Zero it first, reuse it, free with mete__call_free. Texts are borrowed from the body
 * or lie in the call until its next read. */
typedef struct mete__call {
    const mete__protocol *protocol;
    mete__setting setting;
    mete__record body;
    mete__items items[3];
    mete__arena *arena;
    mete__given *given;
    size_t count;
    mete_text model; /* echoed; or empty */
    mete_text *text; /* [count] documents to give back; or NULL */
    bool many;       /* a list was sent, so a list is answered */
    bool activate;   /* scores go through a sigmoid */
    bool starved;    /* memory ran out for a field; the read ends so */
    size_t top;      /* of a ranking; SIZE_MAX: all */
    int shape;       /* which of a path's shapes it is; the family's own numbers */
    void *kept;      /* the family's own, in the arena */
} mete__call;

/* The scores of a call: slots first .. first + count of a batch. */
typedef struct mete__scored {
    const mete__scoring *scoring; /* NULL for a call without records */
    size_t first;
    const char *version;
    mete__missing missing;
} mete__scored;

struct mete__protocol {
    const char *path;
    const char *family;  /* whose it is */
    const char *summary; /* one line, for the description */
    const char *example; /* a body */
    /* Reads call->body; METE_EDATA and a sentence, or METE_ENOMEM. */
    int (*parse)(mete__call *call, mete_error *err);
    /* Appends the answer. METE_EDATA: a record that could not be read, METE_ENOTSUP: one that is
     * not applicable, METE_ETIMEOUT, METE_EIO: one that failed; with a sentence. */
    int (*answer)(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                  mete_error *err);
};

const mete__protocol *mete__protocols(size_t *count);
const mete__protocol *mete__protocol_find(mete_text path);

/* Reads a body; it is borrowed until the call's next read. */
int mete__call_read(mete__call *call, const mete__protocol *protocol, const mete__setting *setting,
                    mete_text body, mete_error *err);
void mete__call_free(mete__call *call);
/* Record k into a slot. */
void mete__call_take(const mete__call *call, size_t k, mete__scoring *scoring, size_t slot);

/* ---- for the families ------------------------------------------------------------------------ */

/* `count` records, each with room for so many fields before it must grow. */
int mete__call_room(mete__call *call, size_t count, size_t fields, mete_error *err);
/* One more field of record k; what stands under the key goes first. */
void mete__given_field(mete__call *call, size_t k, mete_text key, const mete__field *field);
void mete__given_text(mete__call *call, size_t k, mete_text key, mete_text text);
/* The label under the tree's name for it, and under `own`; a label that is an object gives its
 * members as columns, too. */
int mete__given_label(mete__call *call, size_t k, const char *own, const mete__field *label,
                      mete_error *err);
/* Members of an object as fields. */
int mete__given_members(mete__call *call, size_t k, mete_text object, mete_error *err);
/* All members of the body but those named. */
void mete__given_rest(mete__call *call, size_t k, const char *const *names, size_t count);
/* The text that a list of token numbers stands for, special tokens and all, in the call's arena;
 * METE_EDATA where the list is none, or the config names no tokeniser. */
int mete__call_decode(mete__call *call, mete_text list, mete_text *text, mete_error *err);
/* A member of the body, NULL where it is absent or null. */
const mete__field *mete__body_get(const mete__call *call, const char *name);
/* The first there is of several names. */
const mete__field *mete__body_any(const mete__call *call, const char *const *names, size_t count);
/* A bool of the body; METE_EDATA where it is something else. */
int mete__body_bool(const mete__call *call, const char *name, bool def, bool *out, mete_error *err);
/* Elements of an array. */
size_t mete__array_count(mete_text array);
/* The score of record k: its status, the value (NaN where there is none) and the reason. */
uint8_t mete__scored_value(const mete__scored *scored, size_t k, double *value,
                           const char **reason);
/* The same of node n below the root; its name. */
uint8_t mete__scored_node(const mete__scored *scored, size_t n, size_t k, double *value);
size_t mete__scored_nodes(const mete__scored *scored);
const char *mete__scored_name(const mete__scored *scored, size_t n);
/* The score of record k as the protocol wants it: activated where asked; where there is none, what
 * `missing` says, or the status and sentence that go to the client. NaN: null. */
int mete__scored_number(const mete__call *call, const mete__scored *scored, size_t k, double *value,
                        mete_error *err);
/* Appends "version":"..". */
void mete__put_version(const mete__scored *scored, mete_buffer *out);

/* ---- the families ---------------------------------------------------------------------------- */

int mete__openrlhf_parse(mete__call *call, mete_error *err);
int mete__openrlhf_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                          mete_error *err);
int mete__slime_parse(mete__call *call, mete_error *err);
int mete__slime_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                       mete_error *err);
int mete__slime_answer_object(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                              mete_error *err);
int mete__evaluation_parse(mete__call *call, mete_error *err);
int mete__evaluation_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                            mete_error *err);
int mete__gym_parse(mete__call *call, mete_error *err);
int mete__gym_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                     mete_error *err);
int mete__gym_metrics_parse(mete__call *call, mete_error *err);
int mete__gym_metrics_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                             mete_error *err);
int mete__gym_seed_parse(mete__call *call, mete_error *err);
int mete__gym_seed_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                          mete_error *err);
int mete__classify_parse(mete__call *call, mete_error *err);
int mete__classify_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                          mete_error *err);
int mete__pooling_parse(mete__call *call, mete_error *err);
int mete__pooling_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                         mete_error *err);
int mete__embeddings_parse(mete__call *call, mete_error *err);
int mete__embeddings_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                            mete_error *err);
int mete__pairs_parse(mete__call *call, mete_error *err);
int mete__pairs_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                       mete_error *err);
int mete__rerank_parse(mete__call *call, mete_error *err);
int mete__rerank_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                        mete_error *err);
int mete__predict_parse(mete__call *call, mete_error *err);
int mete__predict_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                         mete_error *err);
int mete__own_parse(mete__call *call, mete_error *err);
int mete__own_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                     mete_error *err);

#endif
