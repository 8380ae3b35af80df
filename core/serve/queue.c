/* queue.c - from calls to batches: what waits is taken together, scored once, and parted again.
 *
 * An exchange in the queue or being scored is suspended in libmicrohttpd. Its stage changes under
 * the server's lock, and whoever moves it to ANSWERED or EXPIRED resumes its connection, once. A
 * fault of one call in a batch is no other's: the batch is then scored call by call.
 */
#include "serve/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define MOST_CALLS 512
/* A call as large as this is not scored where it arrived: others wait behind it there. */
#define INLINE_RECORDS 512

/* ---- scoring --------------------------------------------------------------------------------- */

static unsigned
code_of(int status)
{
    switch (status) {
    case METE_EDATA:
    case METE_EINVAL:
        return 400;
    case METE_ENOTSUP:
        return 422;
    case METE_ETIMEOUT:
        return 504;
    case METE_EIO:
        return 502;
    default:
        return 500;
    }
}

static void
answer(mete__exchange *x, const mete__scoring *scoring, size_t first)
{
    mete_error err = {0};
    mete__scored scored = {scoring, first, x->tree->version, x->server->options.missing};
    mete_buffer_clear(&x->answer);
    x->code = 200;
    int status = x->protocol->answer(&x->call, &scored, &x->answer, &err);
    if (status || x->answer.status)
        mete__exchange_fail(x, status ? code_of(status) : 500, "%s",
                            *err.message ? err.message : "out of memory for the answer");
}

/* Scores the calls as one batch; false, with what was wrong, after a fault of any. */
static bool
score_together(mete__lane *lane, mete__exchange **x, size_t count, mete_error *err)
{
    mete__scoring *scoring = &lane->scoring;
    size_t total = 0, first = 0;
    for (size_t i = 0; i < count; i++)
        total += x[i]->call.count;
    if (!mete__scoring_begin(scoring, total, 1)) {
        mete_error_set(err, METE_ENOMEM, "out of memory for %zu records", total);
        return false;
    }
    for (size_t i = 0; i < count; first += x[i++]->call.count) {
        mete__rows_call(scoring->rows, first, x[i]->call.count);
        for (size_t k = 0; k < x[i]->call.count; k++)
            mete__call_take(&x[i]->call, k, scoring, first + k);
    }
    if (mete__scoring_run(scoring, total, err))
        return false;
    first = 0;
    for (size_t i = 0; i < count; first += x[i++]->call.count)
        answer(x[i], scoring, first);
    return true;
}

static void
score_calls(mete__server *server, mete__lane *lane, mete__exchange **x, size_t count)
{
    mete_error err = {0};
    bool good = score_together(lane, x, count, &err);
    if (good)
        mete__meter_batch(server, x[0]->tree, &lane->scoring, count);
    mete__engine_reset(lane->scoring.engine);
    for (size_t i = 0; i < count && !good; i++) {
        mete_error own = {0};
        if (count > 1 && score_together(lane, x + i, 1, &own))
            mete__meter_batch(server, x[i]->tree, &lane->scoring, 1);
        else
            mete__exchange_fail(x[i], 500, "%s", count > 1 ? own.message : err.message);
        mete__engine_reset(lane->scoring.engine);
    }
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void
push(mete__server *server, mete__exchange *x)
{
    x->next = NULL;
    x->stage = METE__QUEUED;
    x->users++;
    if (server->last)
        server->last->next = x;
    else
        server->first = x;
    server->last = x;
    pthread_cond_signal(&server->work);
}

static mete__exchange *
pop(mete__server *server)
{
    mete__exchange *x = server->first;
    server->first = x->next;
    if (!server->first)
        server->last = NULL;
    server->waiting--;
    return x;
}

bool
mete__exchange_score(mete__exchange *x)
{
    mete__server *server = x->server;
    if (!x->call.count) {
        answer(x, NULL, 0);
        return true;
    }
    if (x->tree->quick && x->call.count <= INLINE_RECORDS) {
        mete__lane *lane = mete__scorer_take(x->tree->scorer, false);
        if (lane) {
            score_calls(server, lane, &x, 1);
            mete__scorer_give(x->tree->scorer, lane);
            return true;
        }
    }
    x->deadline = mete__now() + server->options.deadline;
    pthread_mutex_lock(&server->lock);
    bool room = server->waiting < server->options.queue && !server->stopping;
    server->waiting += room;
    pthread_mutex_unlock(&server->lock);
    if (!room) {
        mete__exchange_fail(x, 503, "the queue of %zu requests is full; try again",
                            server->options.queue);
        return true;
    }
    MHD_suspend_connection(x->connection); /* takes a lock of its own */
    pthread_mutex_lock(&server->lock);
    bool late = server->stopping; /* nobody would take it */
    if (late) {
        x->stage = METE__EXPIRED;
        server->waiting--;
    } else {
        push(server, x);
    }
    pthread_mutex_unlock(&server->lock);
    if (late)
        MHD_resume_connection(x->connection);
    return false;
}

/* Waits a little for a batch to fill. Under the lock. */
static void
linger(mete__server *server)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    double end = (double)until.tv_nsec * 1e-9 + server->options.wait;
    until.tv_sec += (time_t)end;
    until.tv_nsec = (long)((end - (double)(time_t)end) * 1e9);
    size_t records = 0;
    for (mete__exchange *x = server->first; x; x = x->next)
        records += x->call.count;
    while (records < server->options.batch && !server->stopping &&
           pthread_cond_timedwait(&server->work, &server->lock, &until) != ETIMEDOUT) {
        records = 0;
        for (mete__exchange *x = server->first; x; x = x->next)
            records += x->call.count;
    }
}

/* The calls of the next batch, of one tree. Under the lock. */
static size_t
take_batch(mete__server *server, mete__exchange **taken)
{
    size_t count = 0, records = 0;
    while (server->first && count < MOST_CALLS) {
        mete__exchange *x = server->first;
        if (count && (x->tree != taken[0]->tree || x->tree->whole ||
                      records + x->call.count > server->options.batch))
            break;
        records += x->call.count;
        taken[count] = pop(server);
        taken[count++]->stage = METE__SCORING;
    }
    return count;
}

static void
finish(mete__server *server, mete__exchange *x)
{
    pthread_mutex_lock(&server->lock);
    bool resume = x->stage == METE__SCORING;
    if (resume)
        x->stage = METE__ANSWERED;
    pthread_mutex_unlock(&server->lock);
    if (resume)
        MHD_resume_connection(x->connection);
    mete__exchange_leave(x);
}

static void *
work(void *user)
{
    mete__server *server = user;
    mete__exchange **taken = calloc(MOST_CALLS, sizeof(mete__exchange *));
    pthread_mutex_lock(&server->lock);
    while (taken) {
        while (!server->first && !server->stopping)
            pthread_cond_wait(&server->work, &server->lock);
        if (!server->first)
            break;
        if (server->options.wait > 0)
            linger(server);
        size_t count = take_batch(server, taken);
        pthread_mutex_unlock(&server->lock);
        if (count) {
            mete_scorer *scorer = taken[0]->tree->scorer;
            mete__lane *lane = mete__scorer_take(scorer, true);
            score_calls(server, lane, taken, count);
            mete__scorer_give(scorer, lane);
        }
        for (size_t i = 0; i < count; i++)
            finish(server, taken[i]);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    free(taken);
    return NULL;
}

bool
mete__queue_start(mete__server *server)
{
    server->thread = calloc(server->options.threads, sizeof *server->thread);
    while (server->thread && server->threads < server->options.threads &&
           !pthread_create(&server->thread[server->threads], NULL, work, server))
        server->threads++;
    return server->threads > 0;
}

void
mete__queue_stop(mete__server *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_cond_broadcast(&server->work);
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < server->threads; i++)
        pthread_join(server->thread[i], NULL);
    free(server->thread);
    server->thread = NULL;
    server->threads = 0;
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void
unlink_waiting(mete__server *server, mete__exchange *x)
{
    mete__exchange *before = NULL;
    for (mete__exchange *at = server->first; at != x; at = at->next)
        before = at;
    if (before)
        before->next = x->next;
    else
        server->first = x->next;
    if (server->last == x)
        server->last = before;
    server->waiting--;
}

/* One past its deadline; whoever was to score it is a user still where it is being scored. */
static mete__exchange *
find_late(mete__server *server, double now, bool *waited)
{
    for (mete__exchange *x = server->under_way; x; x = x->after) {
        if ((x->stage != METE__QUEUED && x->stage != METE__SCORING) || x->deadline > now)
            continue;
        *waited = x->stage == METE__QUEUED;
        if (*waited)
            unlink_waiting(server, x);
        x->stage = METE__EXPIRED;
        return x;
    }
    return NULL;
}

void
mete__queue_expire(mete__server *server, double now)
{
    for (;;) {
        bool waited = false;
        pthread_mutex_lock(&server->lock);
        mete__exchange *x = find_late(server, now, &waited);
        pthread_mutex_unlock(&server->lock);
        if (!x)
            return;
        MHD_resume_connection(x->connection);
        if (waited)
            mete__exchange_leave(x);
    }
}
