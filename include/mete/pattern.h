/* pattern.h - regular expressions over what a model wrote: PCRE2, compiled by its JIT.
 *
 * A text may be hostile to a backtracking matcher, so a match may take `limit` steps and no more;
 * one that reaches them is given up, which is neither a match nor none. Bytes that are not UTF-8
 * match nothing. A pattern may be used by several threads at once, each with its own matcher.
 */
#ifndef METE_PATTERN_H
#define METE_PATTERN_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mete_pattern mete_pattern;
typedef struct mete_matcher mete_matcher;

enum mete_pattern_flags {
    METE_PATTERN_WHOLE = 1u << 0 /* a match is the whole text */
};

/* The compiled pattern, in PCRE2's syntax; NULL with the place and the reason in err (METE_EINVAL),
 * or out of memory. The caller frees it. */
METE_API mete_pattern *mete_pattern_new(mete_text pattern, unsigned flags, uint32_t limit,
                                        mete_error *err);
METE_API void mete_pattern_free(mete_pattern *pattern);

/* The room matching needs, for any pattern, for one thread at a time; NULL when out of memory. */
METE_API mete_matcher *mete_matcher_new(void);
METE_API void mete_matcher_free(mete_matcher *matcher);

/* How often the pattern matches, one match after another, counted up to `most` (1: whether it
 * does). Negative (PCRE2's error number) when a match was given up. */
METE_API int mete_pattern_count(const mete_pattern *pattern, mete_text text, int most,
                                mete_matcher *matcher);

/* The first match: 1 + the last group that took part, 0 when there is none, negative when it was
 * given up. The groups are in the matcher until it is used again. */
METE_API int mete_pattern_find(const mete_pattern *pattern, mete_text text, mete_matcher *matcher);
/* Group `number` (0: the match) of a match found in `text`, borrowed from it; empty when it took no
 * part. */
METE_API mete_text mete_matcher_group(const mete_matcher *matcher, mete_text text, uint32_t number);
/* The number of the group of this name, -1 when there is none. */
METE_API int mete_pattern_named(const mete_pattern *pattern, mete_text name);

#ifdef __cplusplus
}
#endif
#endif
