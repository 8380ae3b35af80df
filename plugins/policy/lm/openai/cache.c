/* cache.c - replies kept in an SQLite file, known by what was asked: endpoint, model, every member
 * of the request, and the seed where the answer is drawn. Commands, runs and processes share it
 * (write-ahead log, busy timeout); with cache_mode "only" nothing else answers, so that a run is
 * replayed exactly. A row holds the request and the endpoint's answer as they were, never a key.
 */
#include "openai.h"

#include <string.h>

#define BUSY_MS 20000

static int
failed(mete_ctx *cx, const struct openai *p, const char *what)
{
    return mete_fail(cx, METE_EIO, "cannot %s the reply cache %s: %s", what, p->cache,
                     p->shared->cache ? sqlite3_errmsg(p->shared->cache) : "out of memory");
}

int
cache_open(mete_ctx *cx, const struct openai *p)
{
    static const char *const find = "SELECT target, request, answer FROM reply WHERE key = ?1";
    static const char *const keep = "INSERT OR IGNORE INTO reply (key, target, request, draw, "
                                    "answer) VALUES (?1, ?2, ?3, ?4, ?5)";
    static const char *const make =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE IF NOT EXISTS reply (key BLOB PRIMARY KEY, target TEXT, request TEXT, "
        "draw INTEGER, answer TEXT);";
    struct shared *shared = p->shared;
    int only = p->cache_mode == CACHE_ONLY;
    int flags = SQLITE_OPEN_FULLMUTEX |
                (only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (sqlite3_open_v2(p->cache, &shared->cache, flags, NULL) != SQLITE_OK)
        return failed(cx, p, "open");
    sqlite3_busy_timeout(shared->cache, BUSY_MS);
    if (!only && sqlite3_exec(shared->cache, make, NULL, NULL, NULL) != SQLITE_OK)
        return failed(cx, p, "set up");
    if (sqlite3_prepare_v2(shared->cache, find, -1, &shared->find, NULL) != SQLITE_OK ||
        (!only && sqlite3_prepare_v2(shared->cache, keep, -1, &shared->keep, NULL) != SQLITE_OK))
        return failed(cx, p, "read");
    return METE_OK;
}

void
cache_close(struct shared *shared)
{
    sqlite3_finalize(shared->find);
    sqlite3_finalize(shared->keep);
    sqlite3_close(shared->cache);
    shared->find = shared->keep = NULL;
    shared->cache = NULL;
}

static mete_text
column(sqlite3_stmt *from, int i)
{
    const void *data = sqlite3_column_blob(from, i);
    return (mete_text){data, data ? (size_t)sqlite3_column_bytes(from, i) : 0};
}

int
cache_find(mete_ctx *cx, const struct openai *p, struct job *job)
{
    struct shared *shared = p->shared;
    int found = 0;
    pthread_mutex_lock(&shared->lock);
    int status = shared->cache ? METE_OK : cache_open(cx, p);
    if (!status) {
        sqlite3_bind_blob(shared->find, 1, job->key.part, sizeof job->key.part, SQLITE_STATIC);
        int got = sqlite3_step(shared->find);
        /* Two questions of one hash are told apart by what they say. */
        if (got == SQLITE_ROW && mete_text_is(column(shared->find, 0), p->http.target) &&
            mete_text_equal(column(shared->find, 1),
                            (mete_text){job->http.body.data, job->canon})) {
            mete_buffer_clear(&job->http.answer);
            mete_buffer_text(&job->http.answer, column(shared->find, 2));
            found = !job->http.answer.status;
        } else if (got != SQLITE_ROW && got != SQLITE_DONE) {
            status = failed(cx, p, "read");
        }
        sqlite3_reset(shared->find);
    }
    pthread_mutex_unlock(&shared->lock);
    return status ? status : found;
}

void
cache_keep(mete_ctx *cx, const struct openai *p, const struct job *job)
{
    struct shared *shared = p->shared;
    if (job->http.answer.length > INT32_MAX || job->canon > INT32_MAX)
        return;
    pthread_mutex_lock(&shared->lock);
    if (shared->keep) {
        sqlite3_stmt *to = shared->keep;
        sqlite3_bind_blob(to, 1, job->key.part, sizeof job->key.part, SQLITE_STATIC);
        sqlite3_bind_text(to, 2, p->http.target, -1, SQLITE_STATIC);
        sqlite3_bind_text(to, 3, job->http.body.data, (int)job->canon, SQLITE_STATIC);
        sqlite3_bind_int64(to, 4, (sqlite3_int64)job->draw);
        sqlite3_bind_text(to, 5, job->http.answer.data, (int)job->http.answer.length,
                          SQLITE_STATIC);
        /* A reply that cannot be kept is still a reply. */
        if (sqlite3_step(to) != SQLITE_DONE && !shared->cache_broken++)
            mete_log(cx, 2, "a reply could not be kept in %s: %s", p->cache,
                     sqlite3_errmsg(shared->cache));
        sqlite3_reset(to);
    }
    pthread_mutex_unlock(&shared->lock);
}
