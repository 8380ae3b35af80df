/* http.h - what plugins that ask a server over HTTP share: JSON posted to one URL, many requests at
 * once, with retries, limits and a key. A plugin whose source says `common: http` is linked with it
 * (plugins.mk); `struct http` is the first member of its state, so that HTTP_OPTIONS fill it.
 */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include <curl/curl.h>
#include <mete/model.h>
#include <mete/plugin.h>
#include <mete/text.h>
#include <pthread.h>

/* Limits of one URL, for all instances and threads of the plugin. */
struct endpoint;

/* What changes between calls; behind a pointer, as a plugin's state is const there. */
struct http_pool {
    pthread_mutex_t lock;
    CURLM *spare[8]; /* with their open connections */
    size_t spares;
    uint64_t retries; /* so far */
};

struct http {
    const char *url, *key_env, *key_file, *ca_file;
    int64_t concurrency, retries, answer_limit;
    double requests_per_minute, tokens_per_minute;
    double connect_timeout, timeout, give_up, backoff, backoff_most, retry_share;
    /* made by http_open */
    char *target; /* url and path */
    mete_text key;
    int loopback;
    struct curl_slist *header;
    struct endpoint *endpoint;
    struct http_pool *pool;
};

/* All options but `url`, which each plugin explains, and tokens_per_minute. */
#define HTTP_OPTIONS                                                                               \
    METE_STRING(struct http, key_env, NULL, 0,                                                     \
                "environment variable that holds the API key (a name, never the key)"),            \
        METE_FILE(struct http, key_file, 0, "file whose first line is the API key"),               \
        METE_FILE(struct http, ca_file, 0, "certificates to trust instead of the system's (PEM)"), \
        METE_INT(struct http, concurrency, 8, 1, 1024,                                             \
                 "most requests at once, over all users of this url in the process"),              \
        METE_REAL(struct http, requests_per_minute, 0, 0, 1e9, "likewise; 0: no limit"),           \
        METE_REAL(struct http, connect_timeout, 10, 0.01, 3600, "seconds to connect"),             \
        METE_REAL(struct http, timeout, 120, 0.01, 86400, "seconds one try may take in all"),      \
        METE_REAL(struct http, give_up, 600, 0.01, 86400,                                          \
                  "seconds after which a request is not tried again"),                             \
        METE_INT(struct http, retries, 5, 0, 100, "tries after the first"),                        \
        METE_REAL(struct http, retry_share, 0.5, 0, 100,                                           \
                  "retries of one call together: 10 and so many for each request"),                \
        METE_REAL(struct http, backoff, 0.5, 0.001, 3600,                                          \
                  "seconds before the first retry, doubled"),                                      \
        METE_REAL(struct http, backoff_most, 30, 0.001, 3600, "... at most"),                      \
        METE_INT(struct http, answer_limit, 8 << 20, 1024, 1 << 30, "bytes of an answer, at most")

enum { JOB_WAITS, JOB_RUNS, JOB_DONE };

/* One request of a call. */
struct http_job {
    mete_buffer body; /* as sent */
    uint64_t random;  /* of the back-off's jitter */
    double estimate;  /* tokens, against tokens_per_minute; 0: not counted */
    double used;      /* tokens it took, where an answer tells; set by http_take */
    int state, attempts, malformed;
    double began, not_before; /* seconds of mete_seconds */
    CURL *easy;
    mete_buffer answer;
    double seconds;
    long code;        /* of the last try: an HTTP status, or 0 without a whole answer */
    int status;       /* mete_row_status */
    char reason[400]; /* when it is not METE_VALID */
};

/* Reads job->answer, which came with status 2xx. METE_OK; METE_EDATA with a sentence in `why` when
 * it is none (asked once more: it may be an accident); METE_EINVAL likewise, not asked again;
 * METE_ENOMEM. */
typedef int http_take(mete_ctx *cx, const void *self, struct http_job *job, char *why, size_t size);

/* client.c */
/* Checks url and key and makes what requests to url + path need; http_close must follow, whatever
 * it returns. asks 0: nothing will be sent, and no key is wanted. [setup] */
int http_open(mete_ctx *cx, struct http *p, const char *path, int asks);
void http_close(struct http *p);
/* Makes a zeroed job ready; its buffers are the caller's to free. */
void http_job_init(const struct http *p, struct http_job *job);

/* transfer.c: sends every job that waits. METE_OK, whatever became of each. */
int http_run(mete_ctx *cx, const struct http *p, struct http_job **job, size_t jobs,
             http_take *take, const void *self);

/* endpoint.c */
struct endpoint *endpoint_of(const struct http *p);
/* 0: go, and endpoint_done must follow; else seconds to wait before asking again. */
double endpoint_admit(struct endpoint *endpoint, double now, double estimate);
void endpoint_done(struct endpoint *endpoint, double now, double estimate, double used);
/* Nobody starts before `until`: the endpoint asked for a pause. */
void endpoint_pause(struct endpoint *endpoint, double until);

/* words.c */
#define HTTP_LEAK "the answer repeats the API key, and is not taken"
/* 1 when the text holds the key. */
int http_leaks(const struct http *p, mete_text text);
/* `text`, cut and printable, with every piece of the key starred. */
void http_clean(const struct http *p, mete_text text, char *out, size_t size);
/* The server's own words on an error: short, printable, without the key. */
void http_complaint(const struct http *p, mete_text body, char *out, size_t size);

#endif
