/* report.h - a run's folder, an ablation's or a sweep's as one page that stands alone. */
#ifndef METE_REPORT_REPORT_H
#define METE_REPORT_REPORT_H

#include <mete/text.h>

/* What ablate and sweep leave in their folder for its page: their table as one JSON object. */
#define METE__ABLATION_FILE "ablation.json"
#define METE__SWEEP_FILE "sweep.json"

/* Appends the page: HTML without scripts and without anything from a network; all that comes from
 * the folder is text in it. METE_EIO or METE_EDATA with a sentence where the folder holds none of
 * the three. */
int mete__report_write(const char *folder, mete_buffer *out, mete_error *err);
/* Two runs set against each other. */
int mete__report_compare(const char *first, const char *second, mete_buffer *out, mete_error *err);

/* The three kinds of page; mete__report_write chooses. */
int mete__report_run(const char *folder, mete_buffer *out, mete_error *err);
int mete__report_ablation(const char *folder, mete_buffer *out, mete_error *err);
int mete__report_sweep(const char *folder, mete_buffer *out, mete_error *err);

/* Writes a file whole or not at all: a reader never sees a part of it. */
int mete__report_save(const char *path, const mete_buffer *text, mete_error *err);

#endif
