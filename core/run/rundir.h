/* rundir.h - a run's folder: one owner (lock), resolved config, journal, metrics, samples.
 *
 *   config.cfg      resolved, secrets left out
 *   journal.jsonl   what happened, one event a line
 *   metrics.jsonl   one object an iteration
 *   samples.jsonl   prompts, responses, node scores
 *   rubrics/NODE/N.jsonl   versions of criteria that were refined, 0 the first
 *   criteria.jsonl  statistics of criteria, one object a rubric each time; where there are rubrics
 *   timing.jsonl    where time and requests went, one object an iteration
 *   metrics.csv, events.out.tfevents.mete   where asked for, see outputs.h
 *   checkpoints/    see checkpoint.h
 *   lock            pid of the owner, held by flock
 *
 * Lines are whole or absent: each is one write; a torn tail left by a kill is cut on resume, and
 * metrics and samples past the checkpoint resumed from are cut too, so a resumed run ends with the
 * bytes an uninterrupted one would have.
 */
#ifndef METE_RUN_RUNDIR_H
#define METE_RUN_RUNDIR_H

#include <mete/base.h>
#include <mete/text.h>

typedef struct mete__rundir mete__rundir;

/* Files that are only appended to. Those before METE__RUN_MARKED belong to iterations, and are cut
 * back to the checkpoint that is resumed from. */
enum mete__run_file {
    METE__RUN_METRICS,
    METE__RUN_SAMPLES,
    METE__RUN_CSV,
    METE__RUN_EVENTS,
    METE__RUN_CRITERIA,
    METE__RUN_MARKED,
    METE__RUN_TIMING = METE__RUN_MARKED,
    METE__RUN_JOURNAL,
    METE__RUN_FILES
};
/* What the size of each is called in a checkpoint. */
extern const char *const mete__rundir_mark_name[METE__RUN_MARKED];

/* Creates (refusing a folder that already holds a run) or reopens the folder, and locks it; a lock
 * held by a live process is METE_EIO naming its pid. */
mete__rundir *mete__rundir_create(const char *folder, const char *config_text, mete_error *err);
mete__rundir *mete__rundir_reopen(const char *folder, mete_error *err);
void mete__rundir_close(mete__rundir *rundir);
const char *mete__rundir_folder(const mete__rundir *rundir);
/* One journal event: kind ("start", "stage", "warning", "checkpoint", "end" ...) and text. Journal
 * lines carry the wall clock; metrics never do. */
int mete__rundir_journal(mete__rundir *rundir, const char *kind, const char *text);
/* The same with further members of the event, a JSON object's without its braces. */
int mete__rundir_event(mete__rundir *rundir, const char *kind, const char *text,
                       const char *members);
/* Writes a file of the folder whole, in place of one that is there: `name` may begin with folders,
 * which are made. */
int mete__rundir_file(mete__rundir *rundir, const char *name, mete_text content, mete_error *err);
/* Opens metrics.csv, the event file or criteria.jsonl, which are not without it. */
int mete__rundir_open(mete__rundir *rundir, enum mete__run_file which, mete_error *err);
/* Appends one finished JSON object, without the newline. */
int mete__rundir_line(mete__rundir *rundir, enum mete__run_file which, const char *json,
                      size_t length, mete_error *err);
/* Appends bytes as they are, all or none. */
int mete__rundir_append(mete__rundir *rundir, enum mete__run_file which, const char *data,
                        size_t length, mete_error *err);
uint64_t mete__rundir_size(const mete__rundir *rundir, enum mete__run_file which);
/* Sizes of the files now, stored in a checkpoint; and the cut back to them, and of timing.jsonl,
 * whose size the clock decides, to its lines of iterations before `iteration`. */
void mete__rundir_marks(const mete__rundir *rundir, uint64_t mark[METE__RUN_MARKED]);
int mete__rundir_cut(mete__rundir *rundir, const uint64_t mark[METE__RUN_MARKED],
                     uint64_t iteration, mete_error *err);

#endif
