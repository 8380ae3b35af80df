/* token.h - a tokeniser as its files share it: the store of tokens, merges, added tokens, settings.
 *
 * token.c holds the store and decodes, token_json.c reads and writes tokenizer.json, token_split.c
 * cuts texts into pieces, token_bpe.c merges the bytes of a piece, token_encode.c runs a text
 * through all of it, token_train.c learns merges.
 */
#ifndef METE_TEXT_TOKEN_H
#define METE_TEXT_TOKEN_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include <stdbool.h>

#include <mete/tokeniser.h>
#include <pcre2.h>

#define METE__STEPS_MOST 8      /* of a pre_tokenizer */
#define METE__SPECIAL_MOST 4096 /* bytes of an added token */
#define METE__ADDED_MOST 65536
#define METE__NO_RANK UINT32_MAX

/* A token: its name as a vocabulary spells it (each byte as a character of the byte alphabet) and
 * its bytes. A number that is no token has no name. */
typedef struct mete__token {
    size_t name, bytes; /* where they begin in the pools */
    uint32_t name_length, length;
    bool known, added, special;
    bool outside; /* the vocabulary of the model does not have it */
} mete__token;

typedef struct mete__merge {
    uint32_t left, right, made;
} mete__merge;

/* What a pair becomes, in a table with open addressing. */
typedef struct mete__pair {
    uint64_t key; /* left << 32 | right, plus one; 0: free */
    uint32_t rank, made;
} mete__pair;

typedef struct mete__added {
    uint32_t id;
    bool special, normalized, lstrip, rstrip, single_word;
} mete__added;

/* Contents of added tokens as a tree of bytes; node 0 is the root. */
typedef struct mete__node {
    uint32_t child, sibling; /* 0: none */
    uint32_t added;          /* index + 1 of the one that ends here */
    unsigned char byte;
} mete__node;

typedef struct mete__trie {
    mete__node *node;
    size_t nodes, room;
    unsigned char first[256]; /* does one begin with this byte? */
} mete__trie;

/* One step of the pre-tokeniser: the last may be ByteLevel, the others cut. */
typedef struct mete__step {
    bool byte_level, prefix_space, trim_offsets;
    mete_split split; /* METE_SPLIT_NONE of ByteLevel: use_regex is false */
} mete__step;

/* What the post-processor puts before and after a text. */
typedef struct mete__template {
    uint32_t *id;
    size_t before, count;
} mete__template;

struct mete_tokeniser {
    uint64_t serial; /* of this tokeniser in the process: scratch knows whose it is */
    mete__token *token;
    size_t size, room;
    uint32_t most; /* no number is as large: a small file cannot ask for a large table */
    mete_buffer names, bytes;
    uint32_t *name_slot; /* [name_slots] token number + 1 by its name */
    size_t name_slots;
    uint32_t *length;  /* [size] bytes of each token */
    int32_t byte[256]; /* token of each byte, or -1 */
    bool whole;        /* every byte has one */

    mete__merge *merge; /* in the order of their ranks */
    size_t merges, merge_room;
    mete__pair *pair; /* [pairs], a power of two */
    size_t pairs;
    int32_t unknown; /* or -1 */
    bool fuse_unknown, ignore_merges, byte_fallback;
    bool words; /* a piece is a token or unknown: no merges */

    mete__added *added;
    size_t addeds;
    mete__trie trie[2]; /* of the texts before and after normalisation */
    bool nfc;
    mete__step step[METE__STEPS_MOST];
    size_t steps;
    mete__template around;
    pcre2_code *pattern[METE_SPLIT_QWEN2 + 1], *word;
    uint8_t kind[256]; /* of bytes, for what of a text is ASCII (token_split.c) */
};

/* ---- the store (token.c) ---- */

mete_tokeniser *mete__tokeniser_new(mete_error *err);
/* Defines token `id` by its name, or by its bytes (then the name is spelt here). METE_EDATA when
 * the number or the name is taken, or out of range. */
int mete__token_add(mete_tokeniser *t, uint32_t id, mete_text name, mete_error *err);
int mete__token_add_bytes(mete_tokeniser *t, uint32_t id, mete_text bytes, mete_error *err);
/* Number of a token by its name, or -1. */
int32_t mete__token_find(const mete_tokeniser *t, mete_text name);
mete_text mete__token_name(const mete_tokeniser *t, uint32_t id);
/* The next merge in rank: left, right -> made. */
int mete__merge_add(mete_tokeniser *t, uint32_t left, uint32_t right, uint32_t made,
                    mete_error *err);
/* An added token; `added.id` may be a token of the vocabulary with the same name. */
int mete__added_add(mete_tokeniser *t, mete_text content, mete__added added, mete_error *err);
mete_text mete__added_text(const mete_tokeniser *t, const mete__added *added);
/* Makes the tables that encoding reads; again after more was added. */
int mete__tokeniser_finish(mete_tokeniser *t, mete_error *err);
/* Appends bytes as characters of the byte alphabet. */
int mete__byte_names(mete_buffer *out, mete_text bytes);
/* Reads a name back: appends its bytes and returns 1, or 0 where a character is not of the alphabet
 * (nothing is appended), or a status. */
int mete__byte_values(mete_buffer *out, mete_text name);
/* What an id-keyed table starts its search from. */
static inline uint64_t
mete__pair_hash(uint64_t key)
{
    key *= 0x9e3779b97f4a7c15u;
    return key ^ (key >> 29);
}

/* ---- pieces (token_split.c) ---- */

/* The pattern of a split as tokenizer.json spells it; NULL for METE_SPLIT_NONE. */
const char *mete__split_pattern(mete_split split);
/* Compiles what the steps and added tokens of `t` match with. */
int mete__split_compile(mete_tokeniser *t, mete_error *err);

typedef struct mete__matcher {
    pcre2_match_data *data;
    pcre2_match_context *limits;
} mete__matcher;

int mete__matcher_open(mete__matcher *matcher, mete_error *err);
void mete__matcher_close(mete__matcher *matcher);
/* The next piece of a valid UTF-8 text from byte `at` on: its end, or SIZE_MAX with an error. */
size_t mete__split_next(const mete_tokeniser *t, mete__matcher *matcher, mete_split split,
                        mete_text text, size_t at, mete_error *err);
/* Does the code point that starts (or ends) the text match \w? Length of the white space it starts
 * (or ends) with. */
bool mete__is_word(const mete_tokeniser *t, mete__matcher *matcher, mete_text text, bool at_end);
size_t mete__spaces_first(mete_text text);
size_t mete__spaces_last(mete_text text);

/* ---- normalising (token_nfc.c) ---- */

/* Bytes [from, to) of the normalised text are [source_from, source_to) of the source. */
typedef struct mete__change {
    size_t from, to, source_from, source_to;
} mete__change;

typedef struct mete__nfc {
    mete_buffer text;
    mete__change *change;
    size_t changes, room, cursor;
    int32_t *code; /* [2 codes] of the part at hand, and for sorting */
    size_t codes;
} mete__nfc;

/* The NFC of a valid UTF-8 text: 0 and `text` itself where it is so already, 1 and a text borrowed
 * from `nfc` until its next run, or -1 when out of memory. */
int mete__nfc_run(mete__nfc *nfc, mete_text text, mete_text *normal);
/* Byte of the source that byte `at` of the last normalised text came from, as the start or end of a
 * span. */
size_t mete__nfc_source(mete__nfc *nfc, size_t at, bool is_end);
void mete__nfc_free(mete__nfc *nfc);

/* ---- merging (token_bpe.c) ---- */

/* A symbol of a long piece: a token and its neighbours. */
typedef struct mete__symbol {
    uint32_t id, previous, next; /* UINT32_MAX: none */
} mete__symbol;

typedef struct mete__candidate {
    uint32_t rank, at, made;
} mete__candidate;

typedef struct mete__merger {
    uint32_t *id; /* tokens of the piece, in and out */
    size_t room;
    mete__symbol *symbol;
    size_t symbols;
    mete__candidate *heap;
    size_t count, heap_room;
} mete__merger;

int mete__merger_reserve(mete__merger *merger, size_t tokens);
void mete__merger_free(mete__merger *merger);
/* Merges merger->id[0..count) as the ranks say; returns how many are left, or SIZE_MAX when out of
 * memory. */
size_t mete__merge_run(const mete_tokeniser *t, mete__merger *merger, size_t count);
/* Rank and result of a pair; METE__NO_RANK when there is none. */
uint32_t mete__pair_rank(const mete_tokeniser *t, uint32_t left, uint32_t right, uint32_t *made);

#endif
