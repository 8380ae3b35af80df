/* entry.c - what a run's folder says of the run; see index.h. Files may be cut, damaged, or
 * written at this moment: what cannot be read is left out, and nothing is an error but a folder
 * without a run. */
#include "run/index.h"

#include "engine/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much of the end of a file is read: some hundred iterations' numbers. */
#define TAIL ((size_t)1 << 20)

void
mete__run_entry_free(mete__run_entry *entry)
{
    if (!entry)
        return;
    char *text[] = {entry->path,   entry->state,       entry->started,  entry->ended,
                    entry->policy, entry->environment, entry->objective};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        free(text[i]);
    for (size_t i = 0; i < entry->metrics; i++)
        free(entry->name[i]);
    free(entry->name);
    free(entry->value);
    free(entry);
}

/* The last bytes of folder/name from the beginning of a line to the end of the last whole one; ""
 * when there is none. NULL: out of memory. */
static char *
tail_of(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    int fd = snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                 : -1;
    size_t size = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
    size_t length = size < TAIL ? size : TAIL;
    char *data = malloc(length + 1);
    ssize_t got = data && length ? pread(fd, data, length, (off_t)(size - length)) : 0;
    if (fd >= 0)
        close(fd);
    if (!data)
        return NULL;
    data[got > 0 ? got : 0] = 0;
    char *end = strrchr(data, '\n');
    if (end)
        end[1] = 0;
    else
        *data = 0;
    char *begin = length < size ? strchr(data, '\n') : NULL;
    if (begin)
        memmove(data, begin + 1, strlen(begin + 1) + 1);
    return data;
}

/* The next line, cut off its text; NULL past the last. */
static char *
next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (!end)
        return NULL;
    *end = 0;
    *at = end + 1;
    return line;
}

static void
set_metric(mete__run_entry *entry, mete_text name, double value)
{
    for (size_t i = 0; i < entry->metrics; i++)
        if (mete_text_is(name, entry->name[i])) {
            entry->value[i] = value;
            return;
        }
    char **names = realloc(entry->name, (entry->metrics + 1) * sizeof *names);
    entry->name = names ? names : entry->name;
    double *values = realloc(entry->value, (entry->metrics + 1) * sizeof *values);
    entry->value = values ? values : entry->value;
    char *copy = names && values ? strndup(name.data, name.length) : NULL;
    if (!copy)
        return;
    entry->name[entry->metrics] = copy;
    entry->value[entry->metrics++] = value;
}

static void
read_metrics(mete__run_entry *entry, char *text)
{
    for (char *line; (line = next_line(&text));) {
        mete_json *json = mete_json_parse(mete_text_from(line), NULL);
        double iteration = mete_json_number(mete_json_get(json, "iteration"));
        if (iteration >= 0)
            entry->iterations = iteration + 1;
        for (const mete_json *at = mete_json_first(json); at; at = mete_json_next(at))
            if (!mete_text_is(mete_json_key(at), "iteration") &&
                (mete_json_kind(at) == METE_JSON_NUMBER || mete_json_kind(at) == METE_JSON_NULL))
                set_metric(entry, mete_json_key(at), mete_json_number(at));
        mete_json_free(json);
    }
}

/* Is the folder's lock held by a process that lives? */
static bool
locked(const char *folder)
{
    char path[PATH_MAX];
    int fd = snprintf(path, sizeof path, "%s/lock", folder) < (int)sizeof path
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                 : -1;
    bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return held;
}

static void
keep(char **to, mete_text text)
{
    free(*to);
    *to = strndup(text.data ? text.data : "", text.length);
}

/* How it ended, by the last event that says so; later ones mean that it went on. */
static void
read_journal(mete__run_entry *entry, const char *folder, char *text)
{
    const char *state = NULL;
    for (char *line; (line = next_line(&text));) {
        mete_json *json = mete_json_parse(mete_text_from(line), NULL);
        mete_text event = mete_json_text(mete_json_get(json, "event"));
        mete_text time = mete_json_text(mete_json_get(json, "time"));
        state = mete_text_is(event, "end")           ? "finished"
                : mete_text_is(event, "interrupted") ? "interrupted"
                : mete_text_is(event, "error")       ? "failed"
                                                     : NULL;
        if (mete_text_is(event, "start") || !*entry->started)
            keep(&entry->started, time);
        keep(&entry->ended, time);
        mete_json_free(json);
    }
    bool running = !state && locked(folder);
    if (running)
        keep(&entry->ended, (mete_text){"", 0});
    keep(&entry->state, mete_text_from(state ? state : running ? "running" : "stopped"));
}

static void
used_by(mete__value *root, const char *what, char **to)
{
    mete__value *group = mete__value_get(root, what);
    mete__value *use = group && group->kind == METE__GROUP ? mete__value_get(group, "use") : NULL;
    if (use && use->kind == METE__STRING)
        keep(to, mete_text_from(use->string));
}

static void
read_config(mete__run_entry *entry, const char *path)
{
    mete__errors errors = {0};
    mete__config *config = mete__config_read(path, NULL, 0, &errors);
    mete__value *root = config ? mete__config_root(config) : NULL;
    if (root) {
        mete__value *seed = mete__value_find(root, "run.seed");
        entry->seed = seed && seed->kind == METE__INT ? seed->real : 1;
        used_by(root, "policy", &entry->policy);
        used_by(root, "env", &entry->environment);
        used_by(root, "objective", &entry->objective);
        mete__config_free(config);
    }
    mete__errors_free(&errors);
}

bool
mete__holds_run(const char *folder)
{
    static const char *const name[] = {"config.cfg", "journal.jsonl"};
    char path[PATH_MAX];
    struct stat st;
    bool good = true;
    for (int i = 0; i < 2 && good; i++) /* a pipe of that name would be waited for */
        good = snprintf(path, sizeof path, "%s/%s", folder, name[i]) < (int)sizeof path &&
               stat(path, &st) == 0 && S_ISREG(st.st_mode);
    return good;
}

mete__run_entry *
mete__run_entry_read(const char *folder, mete_error *err)
{
    char path[PATH_MAX];
    if (!mete__holds_run(folder) ||
        snprintf(path, sizeof path, "%s/config.cfg", folder) >= (int)sizeof path) {
        mete_error_set(err, METE_EINVAL, "%s holds no run: there is no config.cfg in it", folder);
        return NULL;
    }
    mete__run_entry *entry = calloc(1, sizeof *entry);
    char *metrics = tail_of(folder, "metrics.jsonl"), *journal = tail_of(folder, "journal.jsonl");
    char **text[] = {&entry->path,   &entry->state,       &entry->started,  &entry->ended,
                     &entry->policy, &entry->environment, &entry->objective};
    bool good = entry && metrics && journal;
    for (size_t i = 0; good && i < sizeof text / sizeof *text; i++)
        good = (*text[i] = strdup(i ? "" : folder)) != NULL;
    if (good) {
        entry->seed = NAN;
        read_config(entry, path);
        read_metrics(entry, metrics);
        read_journal(entry, folder, journal);
    } else {
        mete__run_entry_free(entry);
        entry = NULL;
        mete_error_set(err, METE_ENOMEM, "out of memory for the run in %s", folder);
    }
    free(metrics);
    free(journal);
    return entry;
}
