/* rundir.h - a run's folder: one owner (lock), resolved config, journal, metrics, samples.
 *
 *   config.cfg      resolved, secrets left out       journal.jsonl   what happened, one event a
 *   line
 *   metrics.jsonl   one object an iteration          samples.jsonl   prompts, responses, node
 *   scores
 *   checkpoints/    see checkpoint.h                 lock            pid of the owner, held by
 *   flock
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
/* Appends one finished JSON object, without the newline. */
int mete__rundir_metrics(mete__rundir *rundir, const char *json, size_t length, mete_error *err);
int mete__rundir_sample(mete__rundir *rundir, const char *json, size_t length, mete_error *err);
/* Sizes of metrics.jsonl and samples.jsonl now, stored in a checkpoint; and the cut back to them.
 * */
void mete__rundir_marks(const mete__rundir *rundir, uint64_t mark[2]);
int mete__rundir_cut(mete__rundir *rundir, const uint64_t mark[2], mete_error *err);

#endif
