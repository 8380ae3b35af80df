/* rundir.c - a run's folder: its lock and its append-only files.
 *
 * Invariants: the folder's files are written only by the holder of the flock on `lock`; a line is
 * one write, and a write that falls short is cut back, so each file always ends in a whole line
 * unless the process was killed in the write itself, which reopening repairs.
 */
#include "run/rundir.h"

#include "run/checkpoint_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const file_name[METE__RUN_FILES] = {
    "metrics.jsonl",  "samples.jsonl", "metrics.csv",  "events.out.tfevents.mete",
    "criteria.jsonl", "timing.jsonl",  "journal.jsonl"};
const char *const mete__rundir_mark_name[METE__RUN_MARKED] = {
    "metrics_bytes", "samples_bytes", "csv_bytes", "events_bytes", "criteria_bytes"};

struct mete__rundir {
    char folder[PATH_MAX];
    int lock;
    int fd[METE__RUN_FILES];
    uint64_t size[METE__RUN_FILES];
    pthread_mutex_t mutex; /* journal lines may come from worker threads */
    mete_buffer line;
};

static int
refused(mete_error *err, const char *what, const char *folder, const char *name)
{
    int why = errno;
    return mete_error_set(err, METE_EIO, "cannot %s %s/%s: %s", what, folder, name, strerror(why));
}

static int
path_of(const mete__rundir *rundir, const char *name, char path[PATH_MAX], mete_error *err)
{
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", rundir->folder, name) >= PATH_MAX)
        return mete_error_set(err, METE_EINVAL, "the path %s is too long", rundir->folder);
    return METE_OK;
}

/* mkdir -p. */
static int
make_folders(const char *folder, mete_error *err)
{
    char path[PATH_MAX];
    size_t length = strlen(folder);
    if (!length || length >= sizeof path)
        return mete_error_set(err, METE_EINVAL, "a run folder's path has 1 to %zu bytes, not %zu",
                              sizeof path - 1, length);
    memcpy(path, folder, length + 1);
    for (char *at = path + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char was = *at;
        *at = '\0';
        if (mkdir(path, 0755) && errno != EEXIST)
            return refused(err, "create", path, "");
        if (!was)
            return METE_OK;
        *at = was;
    }
}

/* flock goes with the process, so a lock left by a kill is no lock. */
static int
take_lock(mete__rundir *rundir, mete_error *err)
{
    char path[PATH_MAX], text[32] = "";
    int rc = path_of(rundir, "lock", path, err);
    if (rc)
        return rc;
    rundir->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (rundir->lock < 0)
        return refused(err, "open", rundir->folder, "lock");
    if (flock(rundir->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return refused(err, "lock", rundir->folder, "lock");
        ssize_t n = pread(rundir->lock, text, sizeof text - 1, 0);
        long pid = n > 0 ? strtol(text, NULL, 10) : 0;
        return mete_error_set(err, METE_EIO, "%s is in use by process %ld, which is still running",
                              rundir->folder, pid);
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(rundir->lock, 0) || pwrite(rundir->lock, text, (size_t)n, 0) != n)
        return refused(err, "write", rundir->folder, "lock");
    return METE_OK;
}

static mete__rundir *
make(const char *folder, mete_error *err)
{
    mete__rundir *rundir = calloc(1, sizeof *rundir);
    if (!rundir || strlen(folder) >= sizeof rundir->folder) {
        mete_error_set(err, rundir ? METE_EINVAL : METE_ENOMEM,
                       rundir ? "the path of the run folder is too long" : "out of memory");
        free(rundir);
        return NULL;
    }
    memcpy(rundir->folder, folder, strlen(folder) + 1);
    for (size_t n = strlen(folder); n > 1 && rundir->folder[n - 1] == '/'; n--)
        rundir->folder[n - 1] = '\0';
    pthread_mutex_init(&rundir->mutex, NULL);
    rundir->lock = -1;
    for (int i = 0; i < METE__RUN_FILES; i++)
        rundir->fd[i] = -1;
    return rundir;
}

/* Bytes up to and with the last newline: what follows is a torn line. */
static int
whole_lines(int fd, uint64_t size, uint64_t *whole)
{
    char chunk[4096];
    while (size) {
        size_t n = size < sizeof chunk ? (size_t)size : sizeof chunk;
        ssize_t got = pread(fd, chunk, n, (off_t)(size - n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got != (ssize_t)n)
            return -1;
        for (size_t i = n; i-- > 0;)
            if (chunk[i] == '\n') {
                *whole = size - n + i + 1;
                return 0;
            }
        size -= n;
    }
    *whole = 0;
    return 0;
}

static int
open_file(mete__rundir *rundir, enum mete__run_file i, bool fresh, mete_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = path_of(rundir, file_name[i], path, err);
    if (rc)
        return rc;
    rundir->fd[i] =
        open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (fresh ? O_TRUNC : 0), 0644);
    if (rundir->fd[i] < 0 || fstat(rundir->fd[i], &st))
        return refused(err, "open", rundir->folder, file_name[i]);
    rundir->size[i] = (uint64_t)st.st_size;
    if (i == METE__RUN_EVENTS) /* records, not lines: what is torn lies behind any checkpoint */
        return METE_OK;
    if (whole_lines(rundir->fd[i], (uint64_t)st.st_size, &rundir->size[i]))
        return refused(err, "read", rundir->folder, file_name[i]);
    if (rundir->size[i] != (uint64_t)st.st_size && ftruncate(rundir->fd[i], (off_t)rundir->size[i]))
        return refused(err, "cut the torn last line of", rundir->folder, file_name[i]);
    return METE_OK;
}

static int
open_files(mete__rundir *rundir, bool fresh, mete_error *err)
{
    static const enum mete__run_file always[] = {METE__RUN_METRICS, METE__RUN_SAMPLES,
                                                 METE__RUN_TIMING, METE__RUN_JOURNAL};
    int rc = METE_OK;
    for (size_t k = 0; k < sizeof always / sizeof *always && !rc; k++)
        rc = open_file(rundir, always[k], fresh, err);
    return rc;
}

int
mete__rundir_open(mete__rundir *rundir, enum mete__run_file which, mete_error *err)
{
    return open_file(rundir, which, false, err);
}

/* Makes the folders that `path` names below the run's own, which is `length` bytes of it. */
static bool
make_parents(char *path, size_t length)
{
    bool good = true;
    for (char *at = strchr(path + length + 1, '/'); at && good; at = strchr(at + 1, '/')) {
        *at = 0;
        good = mkdir(path, 0755) == 0 || errno == EEXIST;
        *at = '/';
    }
    return good;
}

int
mete__rundir_file(mete__rundir *rundir, const char *name, mete_text content, mete_error *err)
{
    char tmp[PATH_MAX], path[PATH_MAX], unfinished[PATH_MAX];
    int rc = path_of(rundir, name, path, err);
    snprintf(unfinished, sizeof unfinished, "%s.tmp", name);
    if (!rc)
        rc = path_of(rundir, unfinished, tmp, err);
    if (rc)
        return rc;
    if (!make_parents(path, strlen(rundir->folder)))
        return refused(err, "write", rundir->folder, name);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool bad = fd < 0 || mete__file_write(fd, content.data, content.length) || fsync(fd);
    if (bad)
        rc = refused(err, "write", rundir->folder, name);
    if (fd >= 0)
        close(fd);
    if (!bad && rename(tmp, path))
        rc = refused(err, "write", rundir->folder, name);
    if (rc)
        unlink(tmp);
    fd = open(rundir->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    return rc;
}

/* config.cfg makes a folder a run, so it appears last and whole. */
static int
write_config(mete__rundir *rundir, const char *text, mete_error *err)
{
    return mete__rundir_file(rundir, "config.cfg", mete_text_from(text), err);
}

static bool
holds_run(const mete__rundir *rundir)
{
    char path[PATH_MAX];
    return path_of(rundir, "config.cfg", path, NULL) == METE_OK && access(path, F_OK) == 0;
}

mete__rundir *
mete__rundir_create(const char *folder, const char *config_text, mete_error *err)
{
    mete__rundir *rundir = make(folder, err);
    if (!rundir)
        return NULL;
    int rc = make_folders(rundir->folder, err);
    if (!rc)
        rc = take_lock(rundir, err);
    if (!rc && holds_run(rundir))
        rc = mete_error_set(err, METE_EINVAL,
                            "%s already holds a run; go on with `mete resume %s`, or name another "
                            "folder as run.out",
                            rundir->folder, rundir->folder);
    if (!rc)
        rc = open_files(rundir, true, err);
    if (!rc)
        rc = write_config(rundir, config_text, err);
    if (!rc)
        return rundir;
    mete__rundir_close(rundir);
    return NULL;
}

mete__rundir *
mete__rundir_reopen(const char *folder, mete_error *err)
{
    mete__rundir *rundir = make(folder, err);
    if (!rundir)
        return NULL;
    int rc = METE_OK;
    if (!holds_run(rundir))
        rc = mete_error_set(err, METE_EINVAL, "%s holds no run: there is no config.cfg in it",
                            rundir->folder);
    if (!rc)
        rc = take_lock(rundir, err);
    if (!rc)
        rc = open_files(rundir, false, err);
    if (!rc)
        return rundir;
    mete__rundir_close(rundir);
    return NULL;
}

void
mete__rundir_close(mete__rundir *rundir)
{
    if (!rundir)
        return;
    for (int i = 0; i < METE__RUN_FILES; i++)
        if (rundir->fd[i] >= 0)
            close(rundir->fd[i]);
    if (rundir->lock >= 0)
        close(rundir->lock);
    mete_buffer_free(&rundir->line);
    pthread_mutex_destroy(&rundir->mutex);
    free(rundir);
}

const char *
mete__rundir_folder(const mete__rundir *rundir)
{
    return rundir->folder;
}

/* All in one write; a short one is taken back. */
static int
append_bytes(mete__rundir *rundir, int which, const char *data, size_t length, mete_error *err)
{
    if (mete__file_write(rundir->fd[which], data, length)) {
        int why = errno;
        int undone = ftruncate(rundir->fd[which], (off_t)rundir->size[which]);
        return mete_error_set(err, METE_EIO, "cannot write %s/%s: %s%s", rundir->folder,
                              file_name[which], strerror(why),
                              undone ? " (and its last line is torn)" : "");
    }
    rundir->size[which] += length;
    return METE_OK;
}

static int
append_line(mete__rundir *rundir, int which, const char *data, size_t length, mete_error *err)
{
    mete_buffer *line = &rundir->line;
    mete_buffer_clear(line);
    mete_buffer_append(line, data, length);
    mete_buffer_byte(line, '\n');
    if (line->status)
        return mete_error_set(err, line->status, "out of memory for a line of %s",
                              file_name[which]);
    return append_bytes(rundir, which, line->data, line->length, err);
}

int
mete__rundir_line(mete__rundir *rundir, enum mete__run_file which, const char *data, size_t length,
                  mete_error *err)
{
    if (memchr(data, '\n', length))
        return mete_error_set(err, METE_EINVAL, "a line of %s holds a newline", file_name[which]);
    pthread_mutex_lock(&rundir->mutex);
    int rc = append_line(rundir, which, data, length, err);
    pthread_mutex_unlock(&rundir->mutex);
    return rc;
}

int
mete__rundir_append(mete__rundir *rundir, enum mete__run_file which, const char *data,
                    size_t length, mete_error *err)
{
    pthread_mutex_lock(&rundir->mutex);
    int rc = append_bytes(rundir, which, data, length, err);
    pthread_mutex_unlock(&rundir->mutex);
    return rc;
}

uint64_t
mete__rundir_size(const mete__rundir *rundir, enum mete__run_file which)
{
    return rundir->size[which];
}

int
mete__rundir_journal(mete__rundir *rundir, const char *kind, const char *text)
{
    return mete__rundir_event(rundir, kind, text, "");
}

int
mete__rundir_event(mete__rundir *rundir, const char *kind, const char *text, const char *members)
{
    struct timespec now;
    struct tm tm;
    mete_buffer json = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    mete_buffer_format(
        &json, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"event\":", tm.tm_year + 1900,
        tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now.tv_nsec / 1000000));
    mete_json_put_text(&json, mete_text_from(kind));
    mete_buffer_string(&json, ",\"text\":");
    mete_json_put_text(&json, mete_text_from(text));
    mete_buffer_string(&json, *members ? "," : "");
    mete_buffer_string(&json, members);
    mete_buffer_byte(&json, '}');
    int rc = json.status;
    if (!rc)
        rc = mete__rundir_line(rundir, METE__RUN_JOURNAL, json.data, json.length, NULL);
    mete_buffer_free(&json);
    return rc;
}

void
mete__rundir_marks(const mete__rundir *rundir, uint64_t mark[METE__RUN_MARKED])
{
    /* A checkpoint must never outlive the lines it counts on. */
    for (int i = 0; i < METE__RUN_MARKED; i++) {
        if (rundir->fd[i] >= 0)
            fdatasync(rundir->fd[i]);
        mark[i] = rundir->size[i];
    }
}

/* Lines begin with their iteration, which rises. */
static int
cut_timing(mete__rundir *rundir, uint64_t iteration, mete_error *err)
{
    static const char head[] = "{\"iteration\":";
    char path[PATH_MAX], *line = NULL;
    size_t room = 0;
    uint64_t keep = 0;
    int rc = path_of(rundir, file_name[METE__RUN_TIMING], path, err);
    FILE *file = rc ? NULL : fopen(path, "re");
    if (!file)
        return rc ? rc : refused(err, "read", rundir->folder, file_name[METE__RUN_TIMING]);
    for (ssize_t n; (n = getline(&line, &room, file)) > 0; keep += (uint64_t)n)
        if (strncmp(line, head, sizeof head - 1) != 0 ||
            strtoull(line + sizeof head - 1, NULL, 10) >= iteration)
            break;
    free(line);
    fclose(file);
    if (ftruncate(rundir->fd[METE__RUN_TIMING], (off_t)keep))
        return refused(err, "cut", rundir->folder, file_name[METE__RUN_TIMING]);
    rundir->size[METE__RUN_TIMING] = keep;
    return METE_OK;
}

int
mete__rundir_cut(mete__rundir *rundir, const uint64_t mark[METE__RUN_MARKED], uint64_t iteration,
                 mete_error *err)
{
    for (int i = 0; i < METE__RUN_MARKED; i++) {
        if (rundir->fd[i] < 0)
            continue;
        if (mark[i] > rundir->size[i])
            return mete_error_set(err, METE_EDATA,
                                  "%s/%s has %" PRIu64
                                  " bytes where the checkpoint was taken at %" PRIu64
                                  ": lines of it are lost",
                                  rundir->folder, file_name[i], rundir->size[i], mark[i]);
        if (ftruncate(rundir->fd[i], (off_t)mark[i]))
            return refused(err, "cut", rundir->folder, file_name[i]);
        rundir->size[i] = mark[i];
    }
    return cut_timing(rundir, iteration, err);
}
