/* openai.h - what the files of the remote model share.
 *
 * One call is a list of jobs, one a distinct question. A job's body is built (body.c), looked up in
 * the cache (cache.c), sent with retries within the endpoint's limits (transfer.c, endpoint.c), and
 * its answer parsed (parse.c) into the replies of all rows that asked it.
 */
#ifndef OPENAI_H
#define OPENAI_H

#include <curl/curl.h>
#include <mete/policy.h>
#include <mete/text.h>
#include <pthread.h>
#include <sqlite3.h>

enum { CACHE_ON, CACHE_OFF, CACHE_ONLY };
enum { SCHEMA_JSON_SCHEMA, SCHEMA_JSON_OBJECT, SCHEMA_NONE, SCHEMA_JSON_OBJECT_SCHEMA };
enum { TOKENS_MAX_TOKENS, TOKENS_MAX_COMPLETION };

/* Limits of one URL, for all instances and threads of the process. */
struct endpoint;

/* What became of all questions so far. */
struct counts {
    uint64_t asked, answered, failed, cached, retries, prompt_tokens, answer_tokens;
    double cost, seconds;
};

/* What changes between calls; behind a pointer, as `self` is const there. */
struct shared {
    pthread_mutex_t lock;
    CURLM *spare[8]; /* with their open connections */
    size_t spares;
    sqlite3 *cache;
    sqlite3_stmt *find, *keep;
    int cache_broken; /* said once */
    struct counts counts;
};

struct openai {
    const char *url, *model, *key_env, *key_file, *ca_file, *extra, *cache;
    int cache_mode, schema, max_tokens_name, logprobs, send_seed;
    int64_t concurrency, max_tokens, retries, answer_limit;
    double requests_per_minute, tokens_per_minute;
    double connect_timeout, timeout, give_up, backoff, backoff_most, retry_share;
    double price_in, price_out;
    char *target; /* url + "/chat/completions" */
    mete_text key;
    mete_text members; /* of `extra`, without the braces */
    int loopback;
    struct curl_slist *header;
    struct endpoint *endpoint;
    struct shared *shared;
};

struct cache_key {
    uint64_t part[2];
};

enum { JOB_WAITS, JOB_RUNS, JOB_DONE };

/* One distinct question of a call. */
struct job {
    size_t row;       /* the first request that asks it */
    size_t same;      /* the next row + 1 of the same question; see openai.c */
    mete_buffer body; /* as sent */
    size_t canon;     /* bytes of it without the seed: what the cache knows it by */
    uint64_t draw;    /* the seed, or 0 for a greedy question */
    struct cache_key key;
    uint64_t random; /* of the back-off's jitter */
    int state;
    int cached;
    int attempts, malformed;
    double began, not_before, estimate; /* seconds of mete_seconds; tokens */
    CURL *easy;
    mete_buffer answer;
    mete_reply reply; /* as parsed; valid when the status is */
    double seconds;
    int status;       /* mete_row_status */
    char reason[400]; /* when it is not METE_VALID */
};

/* body.c */
int body_build(mete_ctx *cx, const struct openai *p, const mete_request *request, int choice,
               struct job *job);

/* parse.c */
/* Reads an answer into `reply`. METE_OK; METE_EDATA with a sentence in `why` when it is none (the
 * reply is untouched then); METE_ENOMEM. */
int answer_parse(mete_ctx *cx, const struct openai *p, mete_text body, mete_reply *reply, char *why,
                 size_t size);
/* The endpoint's own words on an error: short, printable, without the key. */
void answer_complaint(const struct openai *p, mete_text body, char *out, size_t size);
/* Makes the chances of a choice from the first token's alternatives, or from the answer itself. */
int answer_choose(mete_ctx *cx, const mete_request *request, mete_reply *reply);

/* endpoint.c */
struct endpoint *endpoint_of(const struct openai *p);
/* 0: go, and endpoint_done must follow; else seconds to wait before asking again. */
double endpoint_admit(struct endpoint *endpoint, double now, double estimate);
void endpoint_done(struct endpoint *endpoint, double now, double estimate, double used);
/* Nobody starts before `until`: the endpoint asked for a pause. */
void endpoint_pause(struct endpoint *endpoint, double until);

/* transfer.c: sends every job that waits. METE_OK, whatever became of each. */
int transfer_run(mete_ctx *cx, const struct openai *p, struct job *job, size_t jobs);

/* cache.c */
int cache_open(mete_ctx *cx, const struct openai *p);
void cache_close(struct shared *shared);
/* 1: job->answer is filled; 0: not there; negative after an error. */
int cache_find(mete_ctx *cx, const struct openai *p, struct job *job);
void cache_keep(mete_ctx *cx, const struct openai *p, const struct job *job);

#endif
