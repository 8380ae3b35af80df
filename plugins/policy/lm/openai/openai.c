/* openai - a remote model behind an OpenAI-compatible chat/completions endpoint.
 * pkg-config: sqlite3
 * common: http
 *
 * Answers rows of requests: those asked twice are sent once, those answered before come from the
 * cache, the rest go out within the endpoint's limits. A row that gets no answer is a failed row
 * with a sentence. The key is read by the host (mete_secret), stands in one header, and is wiped;
 * an answer that repeats it is not taken.
 */
#include "openai.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mete_option options[] = {
    METE_STRING(struct http, url, NULL, METE_REQUIRED,
                "base of the endpoint, such as https://api.openai.com/v1"),
    METE_STRING(struct openai, model, NULL, METE_REQUIRED, "the model's name there"),
    HTTP_OPTIONS,
    METE_REAL(struct http, tokens_per_minute, 0, 0, 1e12,
              "tokens of all users of this url, in and out; 0: no limit"),
    METE_INT(struct openai, max_tokens, 0, 0, 1 << 30,
             "longest answer where the asker sets none; 0: the endpoint's own limit"),
    METE_ENUM(struct openai, max_tokens_name, TOKENS_MAX_TOKENS, "max_tokens|max_completion_tokens",
              "what the endpoint calls that"),
    METE_ENUM(struct openai, schema, SCHEMA_JSON_SCHEMA,
              "json_schema|json_object|none|json_object_schema",
              "how an answer's schema is asked for (response_format); the last is json_object with "
              "the schema beside it, as llama-cpp-python wants it"),
    METE_BOOL(struct openai, logprobs, 1, "the endpoint tells log-probabilities (top_logprobs)"),
    METE_BOOL(struct openai, send_seed, 1, "sends `seed` with requests that have a temperature"),
    METE_INT(struct openai, n, 1, 1, 128,
             "most draws of a question in one request, for endpoints that take `n`; others are "
             "asked for one by one. The seed of several is that of the first, so that only the "
             "cache tells the same answers again"),
    METE_STRING(struct openai, extra, NULL, 0, "a JSON object of more members for every request"),
    METE_FILE(struct openai, cache, 0,
              "SQLite file of replies, shared by commands; none: no cache"),
    METE_ENUM(struct openai, cache_mode, CACHE_ON, "on|off|only",
              "only: nothing is sent, and what is not in the cache fails: an exact replay"),
    METE_REAL(struct openai, price_in, 0, 0, 1e9, "price of a million prompt tokens"),
    METE_REAL(struct openai, price_out, 0, 0, 1e9, "price of a million answer tokens"),
    METE_OPTIONS_END};

/* ---- opening --------------------------------------------------------------------------------- */

static int
read_extra(mete_ctx *cx, struct openai *p)
{
    mete_error err = {0};
    mete_buffer text = mete_buffer_make(0);
    mete_json *extra = mete_json_parse(mete_text_from(p->extra), &err);
    int status = METE_OK;
    if (mete_json_kind(extra) != METE_JSON_OBJECT)
        status = mete_fail(cx, METE_EINVAL, "extra must be one JSON object: %s",
                           err.code ? err.message : "it is another value");
    else if (mete_json_count(extra)) {
        mete_json_put(&text, extra);
        char *kept = text.status ? NULL : mete_alloc(cx, text.length);
        if (kept) {
            memcpy(kept, text.data + 1, text.length - 2);
            p->members = (mete_text){kept, text.length - 2};
        } else {
            status = mete_fail(cx, METE_ENOMEM, "out of memory");
        }
    }
    mete_buffer_free(&text);
    mete_json_free(extra);
    return status;
}

static void
drop(struct openai *p)
{
    http_close(&p->http);
    if (!p->shared)
        return;
    cache_close(p->shared);
    pthread_mutex_destroy(&p->shared->lock);
    free(p->shared);
    p->shared = NULL;
}

static int
open_all(mete_ctx *cx, struct openai *p)
{
    int only = p->cache_mode == CACHE_ONLY, status;
    if (only && !p->cache)
        return mete_fail(cx, METE_EINVAL, "cache_mode = \"only\" needs a cache");
    if ((status = http_open(cx, &p->http, "/chat/completions", !only)) ||
        (p->extra && (status = read_extra(cx, p))))
        return status;
    if (!(p->shared = calloc(1, sizeof *p->shared)))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    pthread_mutex_init(&p->shared->lock, NULL);
    return only ? cache_open(cx, p) : METE_OK;
}

static int
open_openai(mete_ctx *cx, void *self)
{
    int status = open_all(cx, self);
    if (status) /* close is called after a good open only */
        drop(self);
    return status;
}

static void
close_openai(mete_ctx *cx, void *self)
{
    struct openai *p = self;
    const struct counts *c = &p->shared->counts;
    if (c->asked)
        mete_log(cx, 1,
                 "%llu requests: %llu answered, %llu failed, %llu of them from the cache; %llu "
                 "retries, %llu + %llu tokens, cost %g, %.1f s of answers",
                 (unsigned long long)c->asked, (unsigned long long)c->answered,
                 (unsigned long long)c->failed, (unsigned long long)c->cached,
                 (unsigned long long)p->http.pool->retries, (unsigned long long)c->prompt_tokens,
                 (unsigned long long)c->answer_tokens, c->cost, c->seconds);
    drop(p);
}

/* ---- one call -------------------------------------------------------------------------------- */

struct call {
    mete_ctx *cx;
    const struct openai *p;
    const mete_requests *requests;
    mete_replies *replies;
    int choice;
    struct job *job;
    size_t jobs;
    uint32_t *slot; /* open-addressed index of jobs by key: job + 1 */
    size_t slots;
    size_t *next; /* [rows] the next row + 1 of the same question */
};

/* The job that asks the same, or NULL; *at is where a new one goes. */
static struct job *
same_question(const struct call *c, const struct job *job, size_t *at)
{
    size_t mask = c->slots - 1;
    for (*at = job->key.part[0] & mask; c->slot[*at]; *at = (*at + 1) & mask) {
        struct job *other = &c->job[c->slot[*at] - 1];
        if (memcmp(&other->key, &job->key, sizeof job->key) == 0 &&
            mete_text_equal(mete_buffer_view(&other->http.body), mete_buffer_view(&job->http.body)))
            return other;
    }
    return NULL;
}

/* Builds the jobs; rows that ask the same share one. */
static int
make_jobs(struct call *c)
{
    size_t rows = c->requests->count;
    for (c->slots = 16; c->slots < 2 * rows; c->slots *= 2)
        continue;
    c->job = mete_arena(c->cx, rows * sizeof *c->job);
    c->slot = mete_arena(c->cx, c->slots * sizeof *c->slot);
    c->next = mete_arena(c->cx, rows * sizeof *c->next);
    if (!c->job || !c->slot || !c->next)
        return mete_fail(c->cx, METE_ENOMEM, "out of memory for %zu requests", rows);
    for (size_t i = 0; i < rows; i++) {
        struct job *job = &c->job[c->jobs], *other;
        size_t at;
        *job = (struct job){.row = i};
        http_job_init(&c->p->http, &job->http);
        int status = body_build(c->cx, c->p, mete_request_at(c->requests, i), c->choice, job);
        if (status) {
            mete_buffer_free(&job->http.body);
            return status;
        }
        if ((other = same_question(c, job, &at))) {
            c->next[i] = other->same;
            other->same = i + 1;
            mete_buffer_free(&job->http.body);
            continue;
        }
        c->slot[at] = (uint32_t)++c->jobs;
    }
    return METE_OK;
}

static int
ask_cache(struct call *c)
{
    const struct openai *p = c->p;
    if (!p->cache || p->cache_mode == CACHE_OFF)
        return METE_OK;
    for (size_t i = 0; i < c->jobs; i++) {
        struct job *job = &c->job[i];
        char why[300];
        int only = p->cache_mode == CACHE_ONLY;
        if (!only && mete_request_at(c->requests, job->row)->flags & METE_ASK_FRESH)
            continue;
        int found = cache_find(c->cx, p, job);
        if (found < 0)
            return found;
        job->reply = (mete_reply){.size = sizeof job->reply, .logp = NAN};
        int status = found ? answer_parse(c->cx, p, mete_buffer_view(&job->http.answer),
                                          &job->reply, why, sizeof why)
                           : METE_EDATA;
        if (status == METE_ENOMEM)
            return mete_fail(c->cx, METE_ENOMEM, "out of memory for an answer");
        if (status && !only)
            continue; /* not there, or damaged: it is asked */
        job->http.state = JOB_DONE;
        job->cached = !status;
        job->http.status = status ? METE_FAILED : METE_VALID;
        if (status)
            snprintf(job->http.reason, sizeof job->http.reason,
                     "the reply cache %s (cache_mode = only): %s",
                     found ? "holds a damaged answer" : "does not hold this answer",
                     found ? why : p->cache);
    }
    return METE_OK;
}

int
job_take(mete_ctx *cx, const struct openai *p, struct job *job, char *why, size_t size)
{
    job->reply = (mete_reply){.size = sizeof job->reply, .logp = NAN};
    int status = answer_parse(cx, p, mete_buffer_view(&job->http.answer), &job->reply, why, size);
    if (status)
        return status;
    if (http_leaks(&p->http, job->reply.text)) { /* JSON escapes it */
        snprintf(why, size, "%s", HTTP_LEAK);
        return METE_EINVAL;
    }
    job->answered = 1;
    job->http.used = (double)(job->reply.prompt_tokens + job->reply.answer_tokens);
    if (p->cache_mode == CACHE_ON && p->cache)
        cache_keep(cx, p, job);
    return METE_OK;
}

/* A whole answer of the endpoint; see http_take. */
static int
take_answer(mete_ctx *cx, const void *self, struct http_job *sent, char *why, size_t size)
{
    struct job *job = job_of(sent);
    return (job->carries > 1 ? together_take : job_take)(cx, self, job, why, size);
}

/* Sends all that waits, at most so many draws of a question in a request. */
static int
send_waiting(struct call *c, int most)
{
    struct http_job **sent = mete_arena(c->cx, (c->jobs + 1) * sizeof *sent);
    size_t count = 0;
    if (!sent)
        return mete_fail(c->cx, METE_ENOMEM, "out of memory for %zu requests", c->jobs);
    int status = together_plan(c->cx, c->p, c->job, c->jobs, most, sent, &count);
    return status ? status : http_run(c->cx, &c->p->http, sent, count, take_answer, c->p);
}

static int
ask_endpoint(struct call *c)
{
    int most = together_most(c->p);
    int status = send_waiting(c, most);
    if (status || most == 1)
        return status;
    status = together_settle(c->cx, c->p, c->job, c->jobs);
    if (!status)
        status = send_waiting(c, 1);
    together_learn(c->cx, c->p, c->job, c->jobs);
    return status;
}

/* The answer of a job into one of its rows; only the first row pays. */
static int
fill(struct call *c, const struct job *job, size_t row)
{
    const mete_request *request = mete_request_at(c->requests, row);
    mete_reply *reply = mete_reply_at(c->replies, row);
    struct counts *counts = &c->p->shared->counts;
    int first = row == job->row;
    counts->asked++;
    if (job->http.status != METE_VALID) {
        counts->failed++;
        mete_reply_fail(c->cx, reply, job->http.status, "%s", job->http.reason);
        return METE_OK;
    }
    *reply = job->reply;
    reply->cached = job->cached || !first;
    reply->seconds = job->cached ? 0 : job->http.seconds;
    reply->cost = reply->cached ? 0
                                : ((double)reply->prompt_tokens * c->p->price_in +
                                   (double)reply->answer_tokens * c->p->price_out) *
                                      1e-6;
    counts->answered++;
    counts->cached += reply->cached;
    if (!reply->cached) {
        counts->prompt_tokens += reply->prompt_tokens;
        counts->answer_tokens += reply->answer_tokens;
        counts->cost += reply->cost;
        counts->seconds += reply->seconds;
    }
    return c->choice ? answer_choose(c->cx, request, reply) : METE_OK;
}

static int
fill_all(struct call *c)
{
    int status = METE_OK;
    pthread_mutex_lock(&c->p->shared->lock);
    for (size_t i = 0; i < c->jobs && !status; i++) {
        status = fill(c, &c->job[i], c->job[i].row);
        for (size_t row = c->job[i].same; row && !status; row = c->next[row - 1])
            status = fill(c, &c->job[i], row - 1);
    }
    pthread_mutex_unlock(&c->p->shared->lock);
    return status;
}

static int
answer_all(mete_ctx *cx, const struct openai *p, const mete_requests *requests,
           mete_replies *replies, int choice)
{
    struct call c = {.cx = cx, .p = p, .requests = requests, .replies = replies, .choice = choice};
    int status = make_jobs(&c);
    if (!status)
        status = ask_cache(&c);
    if (!status)
        status = ask_endpoint(&c);
    if (!status)
        status = fill_all(&c);
    for (size_t i = 0; i < c.jobs; i++) {
        mete_buffer_free(&c.job[i].http.body);
        mete_buffer_free(&c.job[i].http.answer);
    }
    return status;
}

static int
generate(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
         mete_replies *replies)
{
    (void)params;
    return answer_all(cx, self, requests, replies, 0);
}

static int
choose(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
       mete_replies *replies)
{
    (void)params;
    return answer_all(cx, self, requests, replies, 1);
}

METE_POLICY_PLUGIN(
    openai, "1.0", "a remote model behind an OpenAI-compatible chat/completions endpoint",
    .doc =
        "models = { judge = { use = \"openai\"; url = \"http://127.0.0.1:8080/v1\";\n"
        "    model = \"qwen3\"; cache = \"replies.sqlite\"; }; };\n"
        "\n"
        "The API key is named, never written: key_env says the environment variable, key_file\n"
        "the file. It is sent over https, or to this machine. Proxies are libcurl's (https_proxy\n"
        "and so on). A choice (mete_choose) is read from the first token's top_logprobs; without\n"
        "them from one answer. The cache holds requests and answers in full; its key is made of\n"
        "url, model, request and seed. top_k, min_p and repeat_penalty are sent as such, which\n"
        "vLLM and llama.cpp know and OpenAI does not. The log-probability of given text is not\n"
        "offered by such endpoints.",
    .options = options, .state_size = sizeof(struct openai), .flags = METE_WAITS,
    .tags = "text, remote", .open = open_openai, .close = close_openai, .generate = generate,
    .choose = choose);
