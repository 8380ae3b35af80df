/* scan.h - the JSON scanner's state, shared by record.c (lines) and json.c (documents). */
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

/* Points the scanner at a text; strings it decodes go to `decoded`, which it empties. */
bool mete__scan_start(struct mete__scan *scan, mete_text text, mete_buffer *decoded);
/* Validates one value and nothing after it. */
bool mete__scan_document(struct mete__scan *scan);
/* Reports the fault; returns its status. */
int mete__scan_error(const struct mete__scan *scan, mete_error *err);
void mete__scan_free(struct mete__scan *scan);

#endif
