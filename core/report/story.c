/* story.c - reads a run's folder for its report. */
#include "report/page.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define METRICS_MOST ((size_t)1 << 30)
#define FILE_MOST (64L << 20)
#define SERIES_MOST 4096

static bool
more(void **items, size_t *room, size_t need, size_t each)
{
    if (need <= *room)
        return true;
    size_t grown = *room ? 2 * *room : 64;
    void *data = realloc(*items, grown * each);
    if (!data)
        return false;
    *items = data;
    *room = grown;
    return true;
}

/* The series of this name; `hint` is where lines of the same shape have it. */
static mete__series *
series_of(mete__story *story, mete_text name, size_t hint)
{
    if (hint < story->count && mete_text_is(name, story->series[hint].name))
        return &story->series[hint];
    for (size_t i = 0; i < story->count; i++)
        if (mete_text_is(name, story->series[i].name))
            return &story->series[i];
    if (story->count >= SERIES_MOST ||
        !more((void **)&story->series, &story->room, story->count + 1, sizeof *story->series))
        return NULL;
    mete__series *made = &story->series[story->count];
    *made = (mete__series){.name = strndup(name.data, name.length)};
    story->count += made->name != NULL;
    return made->name ? made : NULL;
}

static bool
series_add(mete__series *series, double at, double value)
{
    size_t room = series->room;
    if (!more((void **)&series->value, &room, series->count + 1, sizeof(double)))
        return false;
    room = series->room;
    if (!more((void **)&series->at, &room, series->count + 1, sizeof(double)))
        return false;
    series->room = room;
    series->at[series->count] = at;
    series->value[series->count++] = value;
    return true;
}

static bool
note_stage(mete__story *story, double at, mete_text name)
{
    if (!name.length || (story->stages && mete_text_is(name, story->stage[story->stages - 1].name)))
        return true;
    mete__stage_mark *grown = realloc(story->stage, (story->stages + 1) * sizeof *grown);
    if (!grown)
        return false;
    story->stage = grown;
    grown[story->stages] = (mete__stage_mark){at, strndup(name.data, name.length)};
    return grown[story->stages++].name != NULL;
}

static bool
read_line(mete__story *story, const mete_json *line)
{
    double at = mete_json_number(mete_json_get(line, "iteration"));
    size_t hint = 0;
    bool good = true;
    if (isnan(at))
        return true;
    story->last = at;
    good = note_stage(story, at, mete_json_text(mete_json_get(line, "stage")));
    for (const mete_json *m = mete_json_first(line); m && good; m = mete_json_next(m)) {
        double value = mete_json_number(m);
        if (mete_json_kind(m) != METE_JSON_NUMBER || mete_text_is(mete_json_key(m), "iteration"))
            continue;
        mete__series *series = series_of(story, mete_json_key(m), hint);
        if (!series)
            continue; /* past the most there may be */
        hint = (size_t)(series - story->series) + 1;
        good = series_add(series, at, value);
    }
    return good;
}

static int
read_metrics(mete__story *story, mete_error *err)
{
    char path[4096];
    mete_buffer text = mete_buffer_make(0);
    size_t at = 0;
    mete_text line;
    snprintf(path, sizeof path, "%s/metrics.jsonl", story->folder);
    int status = mete_file_read(path, METRICS_MOST, &text, err);
    while (!status && mete_text_line(mete_buffer_view(&text), &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        if (json && !read_line(story, json))
            status = mete_error_set(err, METE_ENOMEM, "out of memory");
        mete_json_free(json);
    }
    mete_buffer_free(&text);
    return status;
}

/* A file that may be missing; of a long one the end, from the beginning of a line. */
static void
read_other(const mete__story *story, const char *name, mete_buffer *out)
{
    char path[4096], part[65536];
    snprintf(path, sizeof path, "%s/%s", story->folder, name);
    FILE *file = fopen(path, "rbe");
    if (!file)
        return;
    bool whole = fseek(file, -FILE_MOST, SEEK_END) != 0;
    if (whole)
        rewind(file);
    else
        while (getc(file) != '\n' && !feof(file))
            continue;
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;)
        mete_buffer_append(out, part, n);
    fclose(file);
}

/* Does a process hold the folder's lock? */
static bool
is_held(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", folder);
    int lock = open(path, O_RDONLY | O_CLOEXEC);
    if (lock < 0)
        return false;
    bool held = flock(lock, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
    close(lock);
    return held;
}

/* By the last event that tells, else by the lock. */
static void
read_state(mete__story *story)
{
    size_t at = 0;
    mete_text line;
    story->state = METE__STORY_CUT;
    while (mete_text_line(mete_buffer_view(&story->journal), &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        mete_text event = mete_json_text(mete_json_get(json, "event"));
        if (mete_text_is(event, "end"))
            story->state = METE__STORY_ENDED;
        else if (mete_text_is(event, "interrupted") || mete_text_is(event, "paused"))
            story->state = METE__STORY_WAITS;
        else if (mete_text_is(event, "start") || mete_text_is(event, "resume") ||
                 mete_text_is(event, "error"))
            story->state = METE__STORY_CUT;
        mete_json_free(json);
    }
    if (story->state == METE__STORY_CUT && is_held(story->folder))
        story->state = METE__STORY_RUNS;
}

int
mete__story_read(const char *folder, mete__story *out, mete_error *err)
{
    char path[4096];
    struct stat info;
    *out = (mete__story){.folder = folder};
    snprintf(path, sizeof path, "%s/config.cfg", folder);
    if (stat(path, &info))
        return mete_error_set(err, METE_EINVAL, "%s holds no run: it has no config.cfg", folder);
    read_other(out, "config.cfg", &out->config);
    read_other(out, "journal.jsonl", &out->journal);
    read_other(out, "samples.jsonl", &out->samples);
    read_other(out, "criteria.jsonl", &out->criteria);
    read_other(out, "timing.jsonl", &out->timing);
    read_state(out);
    int status = read_metrics(out, err);
    if (status)
        mete__story_free(out);
    return status;
}

void
mete__story_free(mete__story *story)
{
    for (size_t i = 0; i < story->count; i++) {
        free(story->series[i].name);
        free(story->series[i].at);
        free(story->series[i].value);
    }
    for (size_t i = 0; i < story->stages; i++)
        free(story->stage[i].name);
    free(story->series);
    free(story->stage);
    mete_buffer_free(&story->config);
    mete_buffer_free(&story->journal);
    mete_buffer_free(&story->samples);
    mete_buffer_free(&story->criteria);
    mete_buffer_free(&story->timing);
    *story = (mete__story){0};
}

const mete__series *
mete__story_find(const mete__story *story, const char *name)
{
    for (size_t i = 0; i < story->count; i++)
        if (strcmp(story->series[i].name, name) == 0)
            return &story->series[i];
    return NULL;
}
