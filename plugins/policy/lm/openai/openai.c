/* openai - a remote model behind an OpenAI-compatible chat/completions endpoint.
 * pkg-config: libcurl sqlite3
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
    METE_STRING(struct openai, url, NULL, METE_REQUIRED,
                "base of the endpoint, such as https://api.openai.com/v1"),
    METE_STRING(struct openai, model, NULL, METE_REQUIRED, "the model's name there"),
    METE_STRING(struct openai, key_env, NULL, 0,
                "environment variable that holds the API key (a name, never the key)"),
    METE_FILE(struct openai, key_file, 0, "file whose first line is the API key"),
    METE_FILE(struct openai, ca_file, 0, "certificates to trust instead of the system's (PEM)"),
    METE_INT(struct openai, concurrency, 8, 1, 1024,
             "most requests at once, over all users of this url in the process"),
    METE_REAL(struct openai, requests_per_minute, 0, 0, 1e9, "likewise; 0: no limit"),
    METE_REAL(struct openai, tokens_per_minute, 0, 0, 1e12, "likewise, in and out; 0: no limit"),
    METE_REAL(struct openai, connect_timeout, 10, 0.01, 3600, "seconds to connect"),
    METE_REAL(struct openai, timeout, 120, 0.01, 86400, "seconds one try may take in all"),
    METE_REAL(struct openai, give_up, 600, 0.01, 86400,
              "seconds after which a request is not tried again"),
    METE_INT(struct openai, retries, 5, 0, 100, "tries after the first"),
    METE_REAL(struct openai, retry_share, 0.5, 0, 100,
              "retries of one call together: 10 and so many for each request"),
    METE_REAL(struct openai, backoff, 0.5, 0.001, 3600, "seconds before the first retry, doubled"),
    METE_REAL(struct openai, backoff_most, 30, 0.001, 3600, "... at most"),
    METE_INT(struct openai, answer_limit, 8 << 20, 1024, 1 << 30, "bytes of an answer, at most"),
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
is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "[::1]") == 0;
}

/* The scheme, no password, and no key in clear over a network. */
static int
check_url(mete_ctx *cx, struct openai *p)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL;
    int status = url ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
    if (!status && (curl_url_set(url, CURLUPART_URL, p->url, 0) ||
                    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) ||
                    curl_url_get(url, CURLUPART_HOST, &host, 0) ||
                    (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)))
        status = mete_fail(cx, METE_EINVAL, "url must be http://HOST/... or https://HOST/...");
    if (!status && !curl_url_get(url, CURLUPART_USER, &user, 0))
        status = mete_fail(cx, METE_EINVAL,
                           "url must not hold a name or password; use key_env or key_file");
    if (!status) {
        p->loopback = is_loopback(host);
        if (p->key.length && strcmp(scheme, "http") == 0 && !p->loopback)
            status = mete_fail(cx, METE_EINVAL,
                               "would send the API key unencrypted to %s; use https", host);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(url);
    return status;
}

static int
make_target(mete_ctx *cx, struct openai *p)
{
    static const char tail[] = "/chat/completions";
    size_t length = strlen(p->url);
    while (length && p->url[length - 1] == '/')
        length--;
    p->target = mete_alloc(cx, length + sizeof tail);
    if (!p->target)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    memcpy(p->target, p->url, length);
    memcpy(p->target + length, tail, sizeof tail);
    return METE_OK;
}

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

static int
make_header(mete_ctx *cx, struct openai *p)
{
    struct curl_slist *first = curl_slist_append(NULL, "Content-Type: application/json"), *next;
    p->header = first;
    next = first ? curl_slist_append(first, "Expect:") : NULL;
    if (next && p->key.length) {
        mete_buffer line = mete_buffer_make(0);
        mete_buffer_string(&line, "Authorization: Bearer ");
        mete_buffer_text(&line, p->key);
        next = line.status ? NULL : curl_slist_append(first, line.data);
        if (line.data)
            explicit_bzero(line.data, line.length);
        mete_buffer_free(&line);
    }
    return next ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void
curl_begin(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void
drop(struct openai *p)
{
    for (struct curl_slist *at = p->header; at; at = at->next)
        explicit_bzero(at->data, strlen(at->data));
    curl_slist_free_all(p->header);
    p->header = NULL;
    if (!p->shared)
        return;
    while (p->shared->spares)
        curl_multi_cleanup(p->shared->spare[--p->shared->spares]);
    cache_close(p->shared);
    pthread_mutex_destroy(&p->shared->lock);
    free(p->shared);
    p->shared = NULL;
}

static int
open_all(mete_ctx *cx, struct openai *p)
{
    int only = p->cache_mode == CACHE_ONLY, status;
    pthread_once(&curl_once, curl_begin);
    if (curl_ready != CURLE_OK)
        return mete_fail(cx, METE_EIO, "libcurl does not start");
    if (only && !p->cache)
        return mete_fail(cx, METE_EINVAL, "cache_mode = \"only\" needs a cache");
    if (!only && (status = mete_secret(cx, p->key_env, p->key_file, &p->key)))
        return status;
    if ((status = check_url(cx, p)) || (status = make_target(cx, p)) ||
        (p->extra && (status = read_extra(cx, p))) || (status = make_header(cx, p)))
        return status;
    if (!(p->shared = calloc(1, sizeof *p->shared)))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    pthread_mutex_init(&p->shared->lock, NULL);
    if (!(p->endpoint = endpoint_of(p)))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
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
                 (unsigned long long)c->retries, (unsigned long long)c->prompt_tokens,
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
            mete_text_equal(mete_buffer_view(&other->body), mete_buffer_view(&job->body)))
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
        *job = (struct job){.row = i, .answer = mete_buffer_make((size_t)c->p->answer_limit)};
        int status = body_build(c->cx, c->p, mete_request_at(c->requests, i), c->choice, job);
        if (status) {
            mete_buffer_free(&job->body);
            return status;
        }
        if ((other = same_question(c, job, &at))) {
            c->next[i] = other->same;
            other->same = i + 1;
            mete_buffer_free(&job->body);
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
        int status = found ? answer_parse(c->cx, p, mete_buffer_view(&job->answer), &job->reply,
                                          why, sizeof why)
                           : METE_EDATA;
        if (status == METE_ENOMEM)
            return mete_fail(c->cx, METE_ENOMEM, "out of memory for an answer");
        if (status && !only)
            continue; /* not there, or damaged: it is asked */
        job->state = JOB_DONE;
        job->cached = !status;
        job->status = status ? METE_FAILED : METE_VALID;
        if (status)
            snprintf(job->reason, sizeof job->reason, "the reply cache %s (cache_mode = only): %s",
                     found ? "holds a damaged answer" : "does not hold this answer",
                     found ? why : p->cache);
    }
    return METE_OK;
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
    if (job->status != METE_VALID) {
        counts->failed++;
        mete_reply_fail(c->cx, reply, job->status, "%s", job->reason);
        return METE_OK;
    }
    *reply = job->reply;
    reply->cached = job->cached || !first;
    reply->seconds = job->cached ? 0 : job->seconds;
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
        status = transfer_run(cx, p, c.job, c.jobs);
    if (!status)
        status = fill_all(&c);
    for (size_t i = 0; i < c.jobs; i++) {
        mete_buffer_free(&c.job[i].body);
        mete_buffer_free(&c.job[i].answer);
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
