/* report.h - a run's folder as one page that stands alone. */
#ifndef METE_REPORT_REPORT_H
#define METE_REPORT_REPORT_H

#include <mete/text.h>

/* Appends the page: HTML without scripts and without anything from a network; all that comes from
 * the run is text in it. METE_EIO or METE_EDATA with a sentence where the folder holds no run. */
int mete__report_write(const char *folder, mete_buffer *out, mete_error *err);
/* The same for two runs set against each other. */
int mete__report_compare(const char *first, const char *second, mete_buffer *out, mete_error *err);

#endif
