/* scoring.h - a reward tree of a config text, asked about a few responses. */
#ifndef TESTS_SCORING_H
#define TESTS_SCORING_H

#include <stddef.h>

/* Scores responses (one group) with the tree of `text`; each row has one reference, or none where
 * `reference` is NULL. What failed row k is in reason[k] (NULL: not wanted). */
void scoring_reasons(const char *text, const char *const *response, const char *reference,
                     size_t rows, double *value, int *status, char (*reason)[300]);
void scoring(const char *text, const char *const *response, const char *reference, size_t rows,
             double *value, int *status);

#endif
