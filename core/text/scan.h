/* scan.h - the strict JSON scanner, which record.c (lines) and json.c (documents) drive. Functions
 * return false after a fault, which the scanner keeps. */
#ifndef METE_TEXT_SCAN_H
#define METE_TEXT_SCAN_H

#include "text/json.h"

/* cJSON copies a number into 63 bytes and cuts what is longer. */
#define METE__NUMBER_SHORT 60

struct mete__key {
    mete_text text;
    uint64_t hash;
};

struct mete__scan {
    const char *start, *at, *end;
    char *out; /* where the next decoded string goes */
    int status;
    bool long_number;      /* saw one longer than METE__NUMBER_SHORT */
    struct mete__key *key; /* of all open objects */
    size_t keys, key_capacity;
    struct entry *table; /* keys of objects that have many */
    size_t slots, entries;
    uint64_t objects, seed;
    uint32_t epoch;
    char reason[200];
};

/* Points the scanner at a text, with nothing known of it; decoded strings go to `out`, which has
 * room for as many bytes. */
void mete__scan_point(struct mete__scan *scan, mete_text text, char *out);
/* The same with a buffer, which it empties and makes large enough. */
bool mete__scan_start(struct mete__scan *scan, mete_text text, mete_buffer *decoded);
/* Validates one value and nothing after it. */
bool mete__scan_document(struct mete__scan *scan);
/* Nothing but white space is left. */
bool mete__scan_end(struct mete__scan *scan);
/* Opens the outermost object; *more when it has a member. */
bool mete__scan_object(struct mete__scan *scan, bool *more);
/* Its next member, and the comma or bracket after it. */
bool mete__scan_member(struct mete__scan *scan, mete__field *field, bool *more);
/* The same for an array and its elements. */
bool mete__scan_array(struct mete__scan *scan, bool *more);
bool mete__scan_element(struct mete__scan *scan, mete__field *field, bool *more);
/* The value at scan->at: into a field (its key left alone), or passed over. */
bool mete__scan_field(struct mete__scan *scan, mete__field *field);
bool mete__scan_skip(struct mete__scan *scan);
/* Moves to the element `step` (a key, or an index) of the valid object or array at scan->at. 1, 0
 * when it is not there, or a status. */
int mete__scan_step(struct mete__scan *scan, mete_text step);
/* Notes that memory ran out; false. */
bool mete__scan_memory(struct mete__scan *scan);
/* Reports the fault; returns its status. */
int mete__scan_error(const struct mete__scan *scan, mete_error *err);
void mete__scan_free(struct mete__scan *scan);

#endif
