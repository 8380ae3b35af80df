/* transfer.c - requests sent and answers received, many at once (libcurl multi).
 *
 * A job waits until the endpoint's limits and its own back-off let it start. What may pass (no
 * connection, a time-out, 408, 409, 429, 5xx, half an answer) is tried again after
 * min(backoff_most, backoff 2^k) seconds times a seeded number in [1/2, 1), or what Retry-After
 * asks if that is longer; what will not (any other 4xx, a redirect, a bad certificate, too long an
 * answer) is not. Everything is bounded: bytes of an answer, seconds of a try, seconds of all tries
 * of a row, tries of a row, and retries of all rows of a call together. When so many rows in a row
 * end without an answer that the endpoint must be gone, the rest are not asked.
 */
#include "http.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct run {
    mete_ctx *cx;
    const struct http *p;
    struct http_job **job;
    size_t jobs, first, left; /* first: all before it are done */
    CURLM *multi;
    http_take *take;
    const void *self;
    double retries_left;
    size_t lost; /* rows in a row without an answer */
};

static CURLM *
take_multi(struct http_pool *pool)
{
    CURLM *multi = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->spares)
        multi = pool->spare[--pool->spares];
    pthread_mutex_unlock(&pool->lock);
    return multi ? multi : curl_multi_init();
}

static void
give_multi(struct http_pool *pool, CURLM *multi)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->spares < sizeof pool->spare / sizeof *pool->spare) {
        pool->spare[pool->spares++] = multi;
        multi = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    curl_multi_cleanup(multi);
}

/* ---- one try --------------------------------------------------------------------------------- */

static size_t
receive(char *data, size_t one, size_t length, void *user)
{
    struct http_job *job = user;
    (void)one;
    return mete_buffer_append(&job->answer, data, length) ? 0 : length;
}

static int
start(struct run *run, struct http_job *job)
{
    const struct http *p = run->p;
    CURL *easy = job->easy ? job->easy : curl_easy_init();
    if (!easy)
        return mete_fail(run->cx, METE_ENOMEM, "out of memory for a transfer");
    job->easy = easy;
    curl_easy_reset(easy);
    mete_buffer_clear(&job->answer);
    curl_easy_setopt(easy, CURLOPT_URL, p->target);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, p->header);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)job->body.length);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, job->body.data);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, job);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, job);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(p->connect_timeout * 1000));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(p->timeout * 1000));
    if (job->attempts) /* libcurl itself repeats what failed on a kept connection */
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    if (p->loopback)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (p->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, p->ca_file);
    if (curl_multi_add_handle(run->multi, easy) != CURLM_OK)
        return mete_fail(run->cx, METE_ENOMEM, "out of memory for a transfer");
    job->state = JOB_RUNS;
    job->attempts++;
    return METE_OK;
}

/* ---- how a try ended ------------------------------------------------------------------------- */

static void
done(struct run *run, struct http_job *job, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(job->reason, sizeof job->reason, format, arguments);
    va_end(arguments);
    job->state = JOB_DONE;
    job->status = status;
    run->left--;
    run->lost = status == METE_VALID ? 0 : run->lost + 1;
}

/* Tries again when there is time, count and budget for it; else the job is done. */
static void
again(struct run *run, struct http_job *job, double asked, int status, const char *reason)
{
    const struct http *p = run->p;
    double now = mete_seconds(), wait = p->backoff * pow(2, job->attempts - 1);
    mete_rng rng = mete_random(run->cx, job->random, (uint32_t)job->attempts);
    wait = (wait < p->backoff_most ? wait : p->backoff_most) * (0.5 + 0.5 * mete_rng_uniform(&rng));
    wait = asked > wait ? asked : wait;
    if (job->attempts > p->retries) {
        done(run, job, status, "%s (try %d of %lld)", reason, job->attempts,
             (long long)p->retries + 1);
    } else if (now + wait - job->began > p->give_up) {
        done(run, job, METE_TIMED_OUT, "%s; another try would end after give_up = %g s", reason,
             p->give_up);
    } else if (run->retries_left < 1) {
        done(run, job, status, "%s; this call has no retries left (retry_share)", reason);
    } else {
        run->retries_left--;
        job->state = JOB_WAITS;
        job->not_before = now + wait;
        pthread_mutex_lock(&p->pool->lock);
        p->pool->retries++;
        pthread_mutex_unlock(&p->pool->lock);
    }
}

static int
passes(CURLcode code)
{
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_OUT_OF_MEMORY:
        return 0;
    default:
        return 1;
    }
}

static void
lost_connection(struct run *run, struct http_job *job, CURLcode code)
{
    char reason[200];
    int late = code == CURLE_OPERATION_TIMEDOUT;
    if (code == CURLE_WRITE_ERROR) {
        done(run, job, METE_FAILED, "the answer is longer than answer_limit = %lld bytes",
             (long long)run->p->answer_limit);
        return;
    }
    snprintf(reason, sizeof reason, "no answer from the endpoint: %s",
             late ? "timed out" : curl_easy_strerror(code));
    if (passes(code))
        again(run, job, 0, late ? METE_TIMED_OUT : METE_FAILED, reason);
    else
        done(run, job, METE_FAILED, "%s", reason);
}

/* A whole answer with status 200. */
static int
take_answer(struct run *run, struct http_job *job)
{
    char why[300] = "";
    if (http_leaks(run->p, mete_buffer_view(&job->answer))) {
        done(run, job, METE_FAILED, "%s", HTTP_LEAK);
        return METE_OK;
    }
    int status = run->take(run->cx, run->self, job, why, sizeof why);
    if (status == METE_ENOMEM)
        return mete_fail(run->cx, METE_ENOMEM, "out of memory for an answer");
    if (!status)
        done(run, job, METE_VALID, "%s", "");
    else if (status == METE_EINVAL || job->malformed++) /* once may be an accident */
        done(run, job, METE_FAILED, "%s", why);
    else
        again(run, job, 0, METE_FAILED, why);
    return METE_OK;
}

static void
refused(struct run *run, struct http_job *job, long code, double asked)
{
    char words[200], reason[300];
    int may_pass = code == 408 || code == 409 || code == 429 || code >= 500;
    http_complaint(run->p, mete_buffer_view(&job->answer), words, sizeof words);
    if (code >= 300 && code < 400)
        snprintf(reason, sizeof reason, "the endpoint redirects (HTTP %ld), which is not followed",
                 code);
    else
        snprintf(reason, sizeof reason, "the endpoint answered HTTP %ld: %s", code, words);
    if (!may_pass) {
        done(run, job, METE_FAILED, "%s", reason);
        return;
    }
    if ((code == 429 || code == 503) && asked > 0 && asked <= run->p->give_up)
        endpoint_pause(run->p->endpoint, mete_seconds() + asked);
    again(run, job, asked, METE_FAILED, reason);
}

/* What libcurl says ended. */
static int
settle(struct run *run, struct http_job *job, CURLcode code)
{
    long http = 0;
    curl_off_t asked = 0, micro = 0;
    curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(job->easy, CURLINFO_RETRY_AFTER, &asked);
    curl_easy_getinfo(job->easy, CURLINFO_TOTAL_TIME_T, &micro);
    curl_multi_remove_handle(run->multi, job->easy);
    job->seconds = (double)micro * 1e-6;
    job->code = code == CURLE_OK ? http : 0;
    job->used = 0;
    int status = METE_OK;
    if (code != CURLE_OK)
        lost_connection(run, job, code);
    else if (http >= 200 && http < 300)
        status = take_answer(run, job);
    else
        refused(run, job, http, (double)asked);
    endpoint_done(run->p->endpoint, mete_seconds(), job->estimate,
                  job->used > 0 ? job->used : job->estimate);
    if (job->state == JOB_DONE) {
        curl_easy_cleanup(job->easy);
        job->easy = NULL;
    }
    return status;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Starts what may start; *wait becomes the seconds until the next might. */
static int
start_due(struct run *run, double *wait)
{
    double now = mete_seconds();
    while (run->first < run->jobs && run->job[run->first]->state == JOB_DONE)
        run->first++;
    for (size_t i = run->first; i < run->jobs; i++) {
        struct http_job *job = run->job[i];
        if (job->state != JOB_WAITS)
            continue;
        if (job->not_before > now) {
            *wait = job->not_before - now < *wait ? job->not_before - now : *wait;
            continue;
        }
        double held = endpoint_admit(run->p->endpoint, now, job->estimate);
        if (held > 0) {
            *wait = held < *wait ? held : *wait;
            return METE_OK;
        }
        if (!job->attempts)
            job->began = now;
        int status = start(run, job);
        if (status) {
            endpoint_done(run->p->endpoint, now, job->estimate, 0);
            return status;
        }
    }
    return METE_OK;
}

/* An endpoint that answers nobody is not asked for the rest. */
static void
give_up(struct run *run)
{
    size_t most = 2 * (size_t)run->p->concurrency < 20 ? 20 : 2 * (size_t)run->p->concurrency;
    const char *last = "";
    if (run->lost < most)
        return;
    for (size_t i = run->first; i < run->jobs; i++)
        if (run->job[i]->state == JOB_DONE && run->job[i]->status != METE_VALID)
            last = run->job[i]->reason;
    for (size_t i = run->first; i < run->jobs; i++)
        if (run->job[i]->state == JOB_WAITS)
            done(run, run->job[i], METE_FAILED,
                 "not asked, as %zu questions in a row had no answer, the last: %.200s", most,
                 *last ? last : "no connection");
}

static int
step(struct run *run)
{
    double wait = 1;
    int running, more, status = start_due(run, &wait);
    CURLMsg *message;
    if (status)
        return status;
    if (curl_multi_perform(run->multi, &running) != CURLM_OK)
        return mete_fail(run->cx, METE_EIO, "libcurl cannot go on with its transfers");
    int ended = 0;
    while (!status && (message = curl_multi_info_read(run->multi, &more)))
        if (message->msg == CURLMSG_DONE) {
            char *job = NULL;
            CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &job);
            status = settle(run, (struct http_job *)(void *)job, code);
            ended = 1;
        }
    give_up(run);
    if (!status && !ended && run->left)
        curl_multi_poll(run->multi, NULL, 0, (int)(wait * 1000) + 1, NULL);
    return status;
}

int
http_run(mete_ctx *cx, const struct http *p, struct http_job **job, size_t jobs, http_take *take,
         const void *self)
{
    struct run run = {.cx = cx, .p = p, .job = job, .jobs = jobs, .take = take, .self = self};
    for (size_t i = 0; i < jobs; i++)
        run.left += job[i]->state == JOB_WAITS;
    if (!run.left)
        return METE_OK;
    run.retries_left = 10 + p->retry_share * (double)run.left;
    run.multi = take_multi(p->pool);
    if (!run.multi)
        return mete_fail(cx, METE_ENOMEM, "out of memory for transfers");
    curl_multi_setopt(run.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)p->concurrency);
    int status = METE_OK;
    while (run.left && !status)
        status = step(&run);
    for (size_t i = 0; i < jobs; i++) { /* after an error: what still runs is dropped */
        if (job[i]->state == JOB_RUNS) {
            curl_multi_remove_handle(run.multi, job[i]->easy);
            endpoint_done(p->endpoint, mete_seconds(), job[i]->estimate, 0);
        }
        curl_easy_cleanup(job[i]->easy);
        job[i]->easy = NULL;
    }
    give_multi(p->pool, run.multi);
    return status;
}
