/* client.c - a client of one URL: its checks, its headers with the key, its connections.
 * pkg-config: libcurl
 */
#include "http.h"

#include <stdlib.h>
#include <string.h>

static int
is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "[::1]") == 0;
}

/* The scheme, no password, and no key in clear over a network. */
static int
check_url(mete_ctx *cx, struct http *p)
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
make_target(mete_ctx *cx, struct http *p, const char *path)
{
    size_t length = strlen(p->url), more = strlen(path) + 1;
    while (length && p->url[length - 1] == '/')
        length--;
    p->target = mete_alloc(cx, length + more);
    if (!p->target)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    memcpy(p->target, p->url, length);
    memcpy(p->target + length, path, more);
    return METE_OK;
}

static int
make_header(mete_ctx *cx, struct http *p)
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

int
http_open(mete_ctx *cx, struct http *p, const char *path, int asks)
{
    int status = METE_OK;
    pthread_once(&curl_once, curl_begin);
    if (curl_ready != CURLE_OK)
        return mete_fail(cx, METE_EIO, "libcurl does not start");
    if (asks && (status = mete_secret(cx, p->key_env, p->key_file, &p->key)))
        return status;
    if ((status = check_url(cx, p)) || (status = make_target(cx, p, path)) ||
        (status = make_header(cx, p)))
        return status;
    if (!(p->pool = calloc(1, sizeof *p->pool)))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    pthread_mutex_init(&p->pool->lock, NULL);
    p->endpoint = endpoint_of(p);
    return p->endpoint ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
}

void
http_close(struct http *p)
{
    for (struct curl_slist *at = p->header; at; at = at->next)
        explicit_bzero(at->data, strlen(at->data));
    curl_slist_free_all(p->header);
    p->header = NULL;
    if (!p->pool)
        return;
    while (p->pool->spares)
        curl_multi_cleanup(p->pool->spare[--p->pool->spares]);
    pthread_mutex_destroy(&p->pool->lock);
    free(p->pool);
    p->pool = NULL;
}

void
http_job_init(const struct http *p, struct http_job *job)
{
    job->body = mete_buffer_make(0);
    job->answer = mete_buffer_make((size_t)p->answer_limit);
}
