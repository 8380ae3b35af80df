/* endpoint.c - the limits of an endpoint, kept by URL for all of a plugin's instances: so many
 * requests at once, so many a minute, so many tokens a minute. Where two instances of one URL
 * differ, the tighter limit holds for both.
 *
 * A rate is kept by spacing: each request moves the earliest time of the next by its share of a
 * minute. Tokens are counted by an estimate at the start, put right at the end.
 */
#include "http.h"

#include <stdlib.h>
#include <string.h>

struct endpoint {
    struct endpoint *next;
    int64_t concurrency, running;
    double request_gap, token_gap; /* seconds for each; 0: no limit */
    double next_request, next_token, paused;
    char url[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct endpoint *all; /* as long as the process */

static double
tighter(double gap, double per_minute)
{
    double own = per_minute > 0 ? 60 / per_minute : 0;
    return own > gap ? own : gap;
}

struct endpoint *
endpoint_of(const struct http *p)
{
    size_t length = strlen(p->target) + 1;
    pthread_mutex_lock(&lock);
    struct endpoint *at = all;
    while (at && strcmp(at->url, p->target) != 0)
        at = at->next;
    if (!at && (at = calloc(1, sizeof *at + length))) {
        memcpy(at->url, p->target, length);
        at->concurrency = p->concurrency;
        at->next = all;
        all = at;
    }
    if (at) {
        at->concurrency = p->concurrency < at->concurrency ? p->concurrency : at->concurrency;
        at->request_gap = tighter(at->request_gap, p->requests_per_minute);
        at->token_gap = tighter(at->token_gap, p->tokens_per_minute);
    }
    pthread_mutex_unlock(&lock);
    return at;
}

double
endpoint_admit(struct endpoint *endpoint, double now, double estimate)
{
    double wait = 0;
    pthread_mutex_lock(&lock);
    double at = endpoint->paused;
    if (endpoint->request_gap > 0 && endpoint->next_request > at)
        at = endpoint->next_request;
    if (endpoint->token_gap > 0 && endpoint->next_token > at)
        at = endpoint->next_token;
    if (at > now)
        wait = at - now;
    else if (endpoint->running >= endpoint->concurrency)
        wait = 0.02; /* another thread's transfer ends when it ends */
    if (wait <= 0) {
        endpoint->running++;
        endpoint->next_request =
            (now > endpoint->next_request ? now : endpoint->next_request) + endpoint->request_gap;
        endpoint->next_token = (now > endpoint->next_token ? now : endpoint->next_token) +
                               estimate * endpoint->token_gap;
    }
    pthread_mutex_unlock(&lock);
    return wait;
}

void
endpoint_done(struct endpoint *endpoint, double now, double estimate, double used)
{
    pthread_mutex_lock(&lock);
    endpoint->running--;
    endpoint->next_token += (used - estimate) * endpoint->token_gap;
    if (endpoint->next_token < now)
        endpoint->next_token = now;
    pthread_mutex_unlock(&lock);
}

void
endpoint_pause(struct endpoint *endpoint, double until)
{
    pthread_mutex_lock(&lock);
    if (until > endpoint->paused)
        endpoint->paused = until;
    pthread_mutex_unlock(&lock);
}
