/* page.h - what the files of the report share: the run as read, text made safe, charts. */
#ifndef METE_REPORT_PAGE_H
#define METE_REPORT_PAGE_H

#include <mete/text.h>
#include <stdbool.h>
#include <stdint.h>

/* One metric over the run. */
typedef struct mete__series {
    char *name;
    double *at, *value; /* iterations and values, [count] */
    size_t count, room;
} mete__series;

/* Where a stage begins. */
typedef struct mete__stage_mark {
    double at;
    char *name;
} mete__stage_mark;

/* A run as its folder tells it. */
typedef struct mete__story {
    const char *folder;
    mete__series *series;
    size_t count, room;
    mete__stage_mark *stage;
    size_t stages;
    double last; /* iteration, counted from 0 */
    /* the files, their ends where they are long */
    mete_buffer config, journal, samples, criteria, timing;
    enum { METE__STORY_CUT, METE__STORY_RUNS, METE__STORY_WAITS, METE__STORY_ENDED } state;
} mete__story;

/* Reads the folder; what it lacks is empty. An unfinished last line is left out. */
int mete__story_read(const char *folder, mete__story *out, mete_error *err);
void mete__story_free(mete__story *story);
/* The metric of this name, or NULL. */
const mete__series *mete__story_find(const mete__story *story, const char *name);

/* A folder's file that holds one JSON object, as ablate and sweep leave it; METE_EIO or METE_EDATA
 * with a sentence. Freed with mete_json_free. */
int mete__page_json(const char *folder, const char *name, mete_json **out, mete_error *err);
/* A member that is text, as a string; NULL where it is none. Caller frees. */
char *mete__page_member(const mete_json *object, const char *name);
/* A link to PATH/report.html below the page's folder where that is there; closed by the caller with
 * "</a>" when true. */
bool mete__page_link(mete_buffer *out, const char *folder, const char *group, uint64_t seed);

/* The last part of a folder's path. */
const char *mete__page_name(const char *folder);
/* All up to the title, and all after the last section. A page that is `live` asks to be loaded
 * anew every so often. */
void mete__page_open(mete_buffer *out, const char *title, bool live);
void mete__page_close(mete_buffer *out);

/* `text` for an element or a quoted attribute: markup escaped; what is not UTF-8, control
 * characters, and those that turn the direction of writing, as U+FFFD. */
void mete__page_text(mete_buffer *out, mete_text text);
void mete__page_string(mete_buffer *out, const char *text); /* the same; NULL is nothing */
/* A number to four significant digits; a dash where it is none. */
void mete__page_number(mete_buffer *out, double number);
void mete__page_cell(mete_buffer *out, double number); /* in a cell of a table */

/* A line chart as inline SVG with axes: the mean of each of some 150 parts of the run; the band is
 * `spread` to both sides where that is given, else from the least to the greatest of each part.
 * Stages are marked. */
void mete__page_chart(mete_buffer *out, const mete__story *story, const mete__series *series,
                      const mete__series *spread);
/* Two runs' series of one name in one chart, the second in the class "other". */
void mete__page_pair(mete_buffer *out, const mete__series *first, const mete__series *second);
/* A line of a table cell's height, without axes. */
void mete__page_spark(mete_buffer *out, const mete__series *series);

/* Sections of a run's page (account.c); the first is empty where there is no gold node. */
void mete__page_goodhart(mete_buffer *out, const mete__story *story);
void mete__page_failures(mete_buffer *out, const mete__story *story);
void mete__page_costs(mete_buffer *out, const mete__story *story);
void mete__page_machine(mete_buffer *out, const mete__story *story);
/* Statistics of criteria (criteria.c); empty where there are none. */
void mete__page_criteria(mete_buffer *out, const mete__story *story);
/* The best and the worst of the last samples (samples.c). */
void mete__page_samples(mete_buffer *out, const mete__story *story);

#endif
