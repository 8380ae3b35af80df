/* edits.h - edits of a response that keep what it says: the twins of counterfactual pairs.
 *
 * A reward should score a response and its twin alike; where it does not, it has come to depend on
 * length, format, flattery, who is spoken of, or the surface of the text. Names are those of the
 * audit study of Bertrand & Mullainathan 2004, "Are Emily and Greg more employable than Lakisha and
 * Jamal?". All is for English but length, format and surface.
 */
#ifndef METE_SCORE_EDITS_H
#define METE_SCORE_EDITS_H

#include <mete/text.h>
#include <stdbool.h>

typedef struct mete__edit {
    const char *kind; /* length, format, sycophancy, identity, surface, order */
    const char *name; /* one word */
    const char *what; /* what it does, for people */
    const char *lack; /* what a text lacks that it does not apply to: "no he", for people */
    /* Appends the twin of `text`. false: the edit does not apply, and what was appended is no twin;
     * out->status tells of a failure. */
    bool (*make)(mete_text text, mete_buffer *out);
} mete__edit;

/* All edits, those of a kind together; *count of them. */
const mete__edit *mete__edits(size_t *count);

#endif
