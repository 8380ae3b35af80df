/* index.c - the table of a folder's runs, kept in SQLite; see index.h.
 *
 * A row is known to be current by its stamp: sizes and times of config, metrics and journal. A run
 * that has not ended is read each time, for whether somebody runs it stands in no file. */
#include "run/index.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <mete/text.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME ".mete-index.sqlite"
#define DEPTH 5
#define BUSY_MS 10000
/* Of the tables below: another number, and the file is made anew. */
#define LAYOUT 1

static const char layout[] =
    "CREATE TABLE run (path BLOB PRIMARY KEY, stamp TEXT, state TEXT, started TEXT, ended TEXT,"
    " policy TEXT, environment TEXT, objective TEXT, seed REAL, iterations REAL);"
    "CREATE TABLE metric (path BLOB, place INTEGER, name TEXT, value REAL,"
    " PRIMARY KEY (path, place)) WITHOUT ROWID;";

struct mete__index {
    mete__run_entry **entry;
    size_t count, room;
};

void
mete__index_close(mete__index *index)
{
    if (!index)
        return;
    for (size_t i = 0; i < index->count; i++)
        mete__run_entry_free(index->entry[i]);
    free(index->entry);
    free(index);
}

size_t
mete__index_count(const mete__index *index)
{
    return index->count;
}

const mete__run_entry *
mete__index_at(const mete__index *index, size_t i)
{
    return index->entry[i];
}

static bool
add(mete__index *index, mete__run_entry *entry)
{
    if (index->count == index->room) {
        size_t room = index->room ? 2 * index->room : 64;
        mete__run_entry **grown = realloc(index->entry, room * sizeof *grown);
        if (!grown)
            return false;
        index->entry = grown;
        index->room = room;
    }
    index->entry[index->count++] = entry;
    return true;
}

/* ---- the cache ------------------------------------------------------------------------------- */

static sqlite3 *
open_file(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *version = NULL;
    int found = -1;
    bool good = sqlite3_open(path, &db) == SQLITE_OK;
    if (good)
        sqlite3_busy_timeout(db, BUSY_MS);
    good = good && sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &version, NULL) == SQLITE_OK;
    if (good && sqlite3_step(version) == SQLITE_ROW)
        found = sqlite3_column_int(version, 0);
    sqlite3_finalize(version);
    if (found == LAYOUT)
        return db;
    if (found == 0 && sqlite3_exec(db, layout, NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, "PRAGMA user_version = 1", NULL, NULL, NULL) == SQLITE_OK)
        return db;
    sqlite3_close(db);
    return NULL;
}

/* The folder's own file; made anew where it is damaged or of another layout; none at all, and the
 * runs are read each time, where it cannot be written. */
static sqlite3 *
open_cache(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/" NAME, folder) >= (int)sizeof path)
        return NULL;
    sqlite3 *db = open_file(path);
    if (!db) {
        unlink(path);
        db = open_file(path);
    }
    if (db && sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN IMMEDIATE", NULL, NULL, NULL)) {
        sqlite3_close(db);
        db = NULL;
    }
    return db;
}

static char *
column_text(sqlite3_stmt *from, int i)
{
    const char *text = (const char *)sqlite3_column_text(from, i);
    return strdup(text ? text : "");
}

static void
load_metrics(sqlite3 *db, mete__run_entry *entry)
{
    sqlite3_stmt *s = NULL;
    size_t room = 0;
    if (sqlite3_prepare_v2(db, "SELECT name, value FROM metric WHERE path = ?1 ORDER BY place", -1,
                           &s, NULL) == SQLITE_OK)
        sqlite3_bind_blob(s, 1, entry->path, (int)strlen(entry->path), SQLITE_STATIC);
    while (s && sqlite3_step(s) == SQLITE_ROW) {
        if (entry->metrics == room) {
            room = room ? 2 * room : 64;
            char **name = realloc(entry->name, room * sizeof *name);
            entry->name = name ? name : entry->name;
            double *value = realloc(entry->value, room * sizeof *value);
            entry->value = value ? value : entry->value;
            if (!name || !value)
                break;
        }
        bool null = sqlite3_column_type(s, 1) == SQLITE_NULL;
        entry->name[entry->metrics] = column_text(s, 0);
        entry->value[entry->metrics++] = null ? NAN : sqlite3_column_double(s, 1);
    }
    sqlite3_finalize(s);
}

/* The run's row, where it is of this stamp and of a run that ended. */
static mete__run_entry *
load(sqlite3 *db, const char *path, const char *stamp)
{
    static const char find[] =
        "SELECT state, started, ended, policy, environment, objective, seed, iterations FROM run "
        "WHERE path = ?1 AND stamp = ?2 AND state IN ('finished', 'interrupted', 'failed')";
    sqlite3_stmt *s = NULL;
    mete__run_entry *entry = NULL;
    if (!db || sqlite3_prepare_v2(db, find, -1, &s, NULL) != SQLITE_OK)
        return NULL;
    sqlite3_bind_blob(s, 1, path, (int)strlen(path), SQLITE_STATIC);
    sqlite3_bind_text(s, 2, stamp, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW && (entry = calloc(1, sizeof *entry))) {
        bool null = sqlite3_column_type(s, 6) == SQLITE_NULL;
        *entry = (mete__run_entry){.path = strdup(path),
                                   .state = column_text(s, 0),
                                   .started = column_text(s, 1),
                                   .ended = column_text(s, 2),
                                   .policy = column_text(s, 3),
                                   .environment = column_text(s, 4),
                                   .objective = column_text(s, 5),
                                   .seed = null ? NAN : sqlite3_column_double(s, 6),
                                   .iterations = sqlite3_column_double(s, 7)};
        load_metrics(db, entry);
    }
    sqlite3_finalize(s);
    return entry;
}

static void
store(sqlite3 *db, const mete__run_entry *entry, const char *stamp)
{
    sqlite3_stmt *drop = NULL, *run = NULL, *metric = NULL;
    int length = (int)strlen(entry->path);
    if (sqlite3_prepare_v2(db, "DELETE FROM metric WHERE path = ?1", -1, &drop, NULL) ||
        sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO run VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
                           -1, &run, NULL) ||
        sqlite3_prepare_v2(db, "INSERT INTO metric VALUES (?1,?2,?3,?4)", -1, &metric, NULL))
        goto end;
    const char *text[] = {stamp,         entry->state,       entry->started,  entry->ended,
                          entry->policy, entry->environment, entry->objective};
    sqlite3_bind_blob(drop, 1, entry->path, length, SQLITE_STATIC);
    sqlite3_step(drop);
    sqlite3_bind_blob(run, 1, entry->path, length, SQLITE_STATIC);
    for (int i = 0; i < 7; i++)
        sqlite3_bind_text(run, 2 + i, text[i], -1, SQLITE_STATIC);
    sqlite3_bind_double(run, 9, entry->seed);
    sqlite3_bind_double(run, 10, entry->iterations);
    sqlite3_step(run);
    for (size_t i = 0; i < entry->metrics; i++) {
        sqlite3_bind_blob(metric, 1, entry->path, length, SQLITE_STATIC);
        sqlite3_bind_int64(metric, 2, (sqlite3_int64)i);
        sqlite3_bind_text(metric, 3, entry->name[i], -1, SQLITE_STATIC);
        sqlite3_bind_double(metric, 4, entry->value[i]); /* NaN is NULL */
        sqlite3_step(metric);
        sqlite3_reset(metric);
    }
end:
    sqlite3_finalize(drop);
    sqlite3_finalize(run);
    sqlite3_finalize(metric);
}

/* Drops the rows of runs that are there no more. */
static void
forget(sqlite3 *db, const mete__index *index)
{
    sqlite3_stmt *add = NULL;
    sqlite3_exec(db, "CREATE TEMP TABLE here (path BLOB PRIMARY KEY)", NULL, NULL, NULL);
    if (sqlite3_prepare_v2(db, "INSERT OR IGNORE INTO here VALUES (?1)", -1, &add, NULL))
        return;
    for (size_t i = 0; i < index->count; i++) {
        const char *path = index->entry[i]->path;
        sqlite3_bind_blob(add, 1, path, (int)strlen(path), SQLITE_STATIC);
        sqlite3_step(add);
        sqlite3_reset(add);
    }
    sqlite3_finalize(add);
    sqlite3_exec(db,
                 "DELETE FROM run WHERE path NOT IN (SELECT path FROM here);"
                 "DELETE FROM metric WHERE path NOT IN (SELECT path FROM here)",
                 NULL, NULL, NULL);
}

/* ---- the folders ----------------------------------------------------------------------------- */

static void
stamp_of(const char *folder, char *stamp, size_t room)
{
    static const char *const name[] = {"config.cfg", "metrics.jsonl", "journal.jsonl"};
    size_t used = 0;
    for (int i = 0; i < 3; i++) {
        char path[PATH_MAX];
        struct stat st = {0};
        snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        if (stat(path, &st) == 0 && used < room)
            used += (size_t)snprintf(stamp + used, room - used, "%lld %lld.%09ld ",
                                     (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                                     st.st_mtim.tv_nsec);
    }
}

static bool
is_folder(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int
take_run(mete__index *index, sqlite3 *db, const char *folder, const char *path, mete_error *err)
{
    char stamp[256] = "";
    stamp_of(folder, stamp, sizeof stamp);
    mete__run_entry *entry = load(db, path, stamp);
    if (!entry) {
        entry = mete__run_entry_read(folder, err);
        if (!entry) /* gone since it was seen */
            return err->code == METE_EINVAL ? METE_OK : err->code;
        free(entry->path);
        entry->path = strdup(path);
        if (db && entry->path)
            store(db, entry, stamp);
    }
    if (entry->path && add(index, entry))
        return METE_OK;
    mete__run_entry_free(entry);
    return mete_error_set(err, METE_ENOMEM, "out of memory for the runs");
}

/* A folder that holds a run is one; others are looked into. Links are not followed. */
static int
look(mete__index *index, sqlite3 *db, const char *folder, const char *path, int depth,
     mete_error *err)
{
    char inner[PATH_MAX], below[PATH_MAX];
    int status = METE_OK;
    if (mete__holds_run(folder))
        return take_run(index, db, folder, path, err);
    DIR *open = depth < DEPTH ? opendir(folder) : NULL;
    for (struct dirent *item; open && !status && (item = readdir(open));) {
        if (item->d_name[0] == '.' ||
            snprintf(inner, sizeof inner, "%s/%s", folder, item->d_name) >= (int)sizeof inner ||
            !is_folder(inner))
            continue;
        bool top = strcmp(path, ".") == 0;
        if (snprintf(below, sizeof below, "%s%s%s", top ? "" : path, top ? "" : "/", item->d_name) <
            (int)sizeof below)
            status = look(index, db, inner, below, depth + 1, err);
    }
    if (open)
        closedir(open);
    return status;
}

static int
by_path(const void *a, const void *b)
{
    return strcmp((*(mete__run_entry *const *)a)->path, (*(mete__run_entry *const *)b)->path);
}

mete__index *
mete__index_open(const char *folder, mete_error *err)
{
    DIR *open = opendir(folder);
    if (!open) {
        mete_error_set(err, METE_EINVAL, "%s: there is no such folder, or it cannot be read",
                       folder);
        return NULL;
    }
    closedir(open);
    mete__index *index = calloc(1, sizeof *index);
    if (!index) {
        mete_error_set(err, METE_ENOMEM, "out of memory for the runs");
        return NULL;
    }
    sqlite3 *db = open_cache(folder);
    int status = look(index, db, folder, ".", 0, err);
    if (db) {
        if (!status)
            forget(db, index);
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        sqlite3_close(db);
    }
    if (status) {
        mete__index_close(index);
        return NULL;
    }
    if (index->count)
        qsort(index->entry, index->count, sizeof *index->entry, by_path);
    return index;
}
