/* openai.h - what the files of the remote model share.
 *
 * One call is a list of jobs, one a distinct question. A job's body is built (body.c), looked up in
 * the cache (cache.c), sent with retries within the endpoint's limits (common/http), and its answer
 * parsed (parse.c) into the replies of all rows that asked it. Draws of one question may share a
 * request (together.c).
 */
#ifndef OPENAI_H
#define OPENAI_H

#include "../../../common/http/http.h"

#include <mete/policy.h>
#include <pthread.h>
#include <sqlite3.h>

enum { CACHE_ON, CACHE_OFF, CACHE_ONLY };
enum { SCHEMA_JSON_SCHEMA, SCHEMA_JSON_OBJECT, SCHEMA_NONE, SCHEMA_JSON_OBJECT_SCHEMA };
enum { TOKENS_MAX_TOKENS, TOKENS_MAX_COMPLETION };

/* What became of all questions so far. */
struct counts {
    uint64_t asked, answered, failed, cached, prompt_tokens, answer_tokens;
    double cost, seconds;
};

/* What changes between calls; behind a pointer, as `self` is const there. */
struct shared {
    pthread_mutex_t lock;
    sqlite3 *cache;
    sqlite3_stmt *find, *keep;
    int cache_broken; /* said once */
    int alone;        /* the endpoint does not know `n` */
    struct counts counts;
};

struct openai {
    struct http http; /* the first: HTTP_OPTIONS */
    const char *model, *extra, *cache;
    int cache_mode, schema, max_tokens_name, logprobs, send_seed;
    int64_t max_tokens, n;
    double price_in, price_out;
    mete_text members; /* of `extra`, without the braces */
    struct shared *shared;
};

struct cache_key {
    uint64_t part[2];
};

/* One distinct question of a call. */
struct job {
    struct http_job http; /* the first: take_answer */
    size_t row;           /* the first request that asks it */
    size_t same;          /* the next row + 1 of the same question; see openai.c */
    size_t canon;         /* bytes of the body without n and seed: what the cache knows it by */
    uint64_t question;    /* a hash of those */
    uint64_t draw;        /* the seed, or 0 for a greedy question */
    int drawn;            /* it is not greedy */
    struct cache_key key;
    int cached;
    int answered;     /* `reply` is there */
    mete_reply reply; /* as parsed */
    struct job *with; /* the next draw that its request asks for; see together.c */
    int carries;      /* the draws its request asks for, itself among them */
    int refused;      /* a request that asked for it with others was refused */
};

static inline struct job *
job_of(struct http_job *sent)
{
    return (struct job *)(void *)sent;
}

/* body.c */
int body_build(mete_ctx *cx, const struct openai *p, const mete_request *request, int choice,
               struct job *job);
/* Ends the body, after its first `canon` bytes, to ask for n answers. */
int body_seal(mete_ctx *cx, const struct openai *p, struct job *job, int n);

/* openai.c: parses job->http.answer into job->reply and keeps it in the cache; see http_take. */
int job_take(mete_ctx *cx, const struct openai *p, struct job *job, char *why, size_t size);

/* together.c */
/* The most answers to ask for in one request, as far as is known of the endpoint. */
int together_most(const struct openai *p);
/* Lists in `sent` [jobs] the requests that ask for all jobs that wait, at most so many in one. */
int together_plan(mete_ctx *cx, const struct openai *p, struct job *job, size_t jobs, int most,
                  struct http_job **sent, size_t *count);
/* Reads the answers to a request that carries several jobs; see http_take. */
int together_take(mete_ctx *cx, const struct openai *p, struct job *lead, char *why, size_t size);
/* Once all is sent: tells each job what became of its request. Those that may get an answer alone
 * wait again. */
int together_settle(mete_ctx *cx, const struct openai *p, struct job *job, size_t jobs);
/* Once those are sent: notes what the endpoint does not know. */
void together_learn(mete_ctx *cx, const struct openai *p, const struct job *job, size_t jobs);
/* Reads an answer into `reply`. METE_OK; METE_EDATA with a sentence in `why` when it is none (the
 * reply is untouched then); METE_ENOMEM. */
int answer_parse(mete_ctx *cx, const struct openai *p, mete_text body, mete_reply *reply, char *why,
                 size_t size);
/* The answers to a request for several, and the tokens of all of them together. */
struct answers {
    mete_json *root; /* to free, after a failure too */
    const mete_json *choices;
    size_t count; /* at least 1 */
    uint64_t prompt_tokens, answer_tokens;
};
/* Likewise; more than `most` answers, or none, are METE_EDATA. */
int answers_open(const struct openai *p, mete_text body, size_t most, struct answers *out,
                 char *why, size_t size);
/* Makes the chances of a choice from the first token's alternatives, or from the answer itself. */
int answer_choose(mete_ctx *cx, const mete_request *request, mete_reply *reply);

/* cache.c */
int cache_open(mete_ctx *cx, const struct openai *p);
void cache_close(struct shared *shared);
/* 1: job->http.answer is filled; 0: not there; negative after an error. */
int cache_find(mete_ctx *cx, const struct openai *p, struct job *job);
void cache_keep(mete_ctx *cx, const struct openai *p, const struct job *job);

#endif
