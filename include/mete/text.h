/* text.h - text for plugins: buffers, UTF-8, words, numbers in prose, overlap measures, JSON.
 *
 * Plain functions: none needs a mete_ctx, none keeps state, all may be called from any thread.
 * Texts are borrowed and may hold any bytes; what is not UTF-8 is read as U+FFFD, one byte at a
 * time, and never refused unless a function says so. Structs here are plain values of frozen
 * layout. "Words" are compared by 64-bit hashes, so a measure over a million words allocates
 * nothing and compares no strings.
 */
#ifndef METE_TEXT_H
#define METE_TEXT_H

#include <string.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- texts ----------------------------------------------------------------------------------- */

static inline int
mete_text_equal(mete_text a, mete_text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* Is `text` the C string `string`? */
static inline int
mete_text_is(mete_text text, const char *string)
{
    return mete_text_equal(text, mete_text_from(string));
}

static inline int
mete_text_starts(mete_text text, mete_text head)
{
    return text.length >= head.length &&
           (head.length == 0 || memcmp(text.data, head.data, head.length) == 0);
}

static inline int
mete_text_ends(mete_text text, mete_text tail)
{
    return text.length >= tail.length &&
           (tail.length == 0 ||
            memcmp(text.data + (text.length - tail.length), tail.data, tail.length) == 0);
}

/* Bytes [from, to) of `text`, cut to what is there. */
static inline mete_text
mete_text_slice(mete_text text, size_t from, size_t to)
{
    mete_text part;
    to = to > text.length ? text.length : to;
    from = from > to ? to : from;
    part.data = text.data ? text.data + from : text.data;
    part.length = to - from;
    return part;
}

/* Without white space (ASCII) at either end. */
METE_API mete_text mete_text_trim(mete_text text);
/* Byte offset of the first `needle` from `from` on, or SIZE_MAX. An empty needle is at `from`. */
METE_API size_t mete_text_find(mete_text text, mete_text needle, size_t from);
/* Byte offset of the last `needle`, or SIZE_MAX. */
METE_API size_t mete_text_find_last(mete_text text, mete_text needle);
/* The next line of `text` from *position, without its \n or \r\n; 0 at the end. */
METE_API int mete_text_line(mete_text text, size_t *position, mete_text *line);

/* ---- growing buffers ------------------------------------------------------------------------- */

/* Bytes that grow up to `limit`. A zeroed struct is an empty buffer of no limit. The first failure
 * sticks: later appends do nothing and return it, so a run of appends needs one check at its end.
 * `data` ends in a NUL that `length` does not count, once anything was appended. */
typedef struct mete_buffer {
    char *data;
    size_t length;
    size_t capacity; /* bytes allocated */
    size_t limit;    /* the greatest length; 0: none */
    int status;      /* METE_OK, METE_ENOMEM, or METE_EDATA: over the limit */
} mete_buffer;

METE_API mete_buffer mete_buffer_make(size_t limit);
METE_API void mete_buffer_free(mete_buffer *buffer);
/* Empties it, forgets a failure, keeps the memory. */
METE_API void mete_buffer_clear(mete_buffer *buffer);
/* Makes room for `more` bytes after `length`; what was there may move. */
METE_API int mete_buffer_reserve(mete_buffer *buffer, size_t more);
METE_API int mete_buffer_append(mete_buffer *buffer, const void *data, size_t length);
METE_API int mete_buffer_text(mete_buffer *buffer, mete_text text);
METE_API int mete_buffer_string(mete_buffer *buffer, const char *string);
METE_API int mete_buffer_byte(mete_buffer *buffer, char byte);
METE_API int mete_buffer_format(mete_buffer *buffer, const char *format, ...) METE_PRINTF(2, 3);
/* One code point as UTF-8; what is no code point becomes U+FFFD. */
METE_API int mete_buffer_code(mete_buffer *buffer, uint32_t code);

static inline mete_text
mete_buffer_view(const mete_buffer *buffer)
{
    mete_text text;
    text.data = buffer->data ? buffer->data : "";
    text.length = buffer->length;
    return text;
}

/* Appends "<NAME>\n", `text`, "\n</NAME>", where NAME is name[which]: a part of a question to a
 * model. In the text "<" of a tag of any of the names is written "&lt;", so that it cannot end its
 * part nor begin another. */
METE_API int mete_buffer_part(mete_buffer *buffer, const char *const *name, size_t names,
                              size_t which, mete_text text);

/* Appends the bytes of a file, plain or gzip (known by its first bytes), of at most `most` bytes
 * once unzipped. METE_EIO, METE_ENOMEM, or METE_EDATA: larger, or a damaged gzip; with a sentence
 * that names the file. */
METE_API int mete_file_read(const char *path, size_t most, mete_buffer *out, mete_error *err);

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* Bytes before the first that is not UTF-8 (no overlong forms, no surrogates, at most U+10FFFF);
 * text.length when all is well. */
METE_API size_t mete_utf8_check(mete_text text);
/* The code point at *position, which moves past it; U+FFFD, and one byte, for a bad one.
 * *position must be less than text.length. */
METE_API uint32_t mete_utf8_next(mete_text text, size_t *position);
/* How many code points mete_utf8_next finds. */
METE_API size_t mete_utf8_count(mete_text text);
/* The greatest offset <= `at` that does not split a code point: for cutting text to a size. */
METE_API size_t mete_utf8_floor(mete_text text, size_t at);
/* Simple (one to one) lower case of ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic; any other
 * code point is itself. */
METE_API uint32_t mete_code_lower(uint32_t code);
METE_API int mete_code_is_space(uint32_t code); /* Unicode White_Space */
/* Appends `text` in lower case; bytes that are not UTF-8 stay as they are. */
METE_API int mete_lower(mete_text text, mete_buffer *out);

/* ---- words ----------------------------------------------------------------------------------- */

/* What a word is, for every overlap measure: text is read in lower case and split at white space
 * and punctuation; a word is a longest run of the rest. ASCII letters and digits are the rest, as
 * is every code point from U+0080 that is not a space, a mark of the blocks Latin-1 punctuation,
 * General Punctuation, CJK Symbols or Full-width punctuation. Han, Hiragana and Katakana code
 * points are each a word, as these scripts do not part words. For ASCII this is the tokeniser of
 * ROUGE ([^a-z0-9]+ splits). */
enum {
    METE_WORDS_CASE = 1,        /* keep case */
    METE_WORDS_PUNCTUATION = 2, /* each punctuation mark is a word too, as BLEU counts */
    METE_WORDS_SPACES = 4       /* split at white space only */
};

typedef struct mete_word {
    mete_text text; /* as it stands in the source */
    uint64_t hash;  /* of its lower case, or of its bytes with METE_WORDS_CASE */
} mete_word;

/* The next word from *position on, which moves past it; 0 when there is none. */
METE_API int mete_word_next(mete_text text, unsigned flags, size_t *position, mete_word *word);
/* Hashes of all words in order into `out`, at most `capacity`; returns how many words there are.
 * A text has at most text.length words. */
METE_API size_t mete_words(mete_text text, unsigned flags, uint64_t *out, size_t capacity);
/* The same for code points as they are: for measures over characters. */
METE_API size_t mete_codes(mete_text text, uint64_t *out, size_t capacity);
/* Hashes of the n-grams of `words`: words - n + 1 of them, or none; returns how many. `out` may be
 * `word` itself. */
METE_API size_t mete_ngrams(const uint64_t *word, size_t words, size_t n, uint64_t *out);
/* Sorts hashes ascending in place. */
METE_API void mete_hashes_sort(uint64_t *hash, size_t count);

/* ---- overlap of two texts, over word hashes -------------------------------------------------- */

/* Multiset overlap. F1 and its parts are 0 where they would divide by 0, but 1 when both are empty,
 * as SQuAD scores it. */
typedef struct mete_overlap {
    size_t common, candidate, reference; /* words in both (with repeats), in each */
    double precision, recall, f1;
} mete_overlap;

/* `scratch` holds candidates + references hashes. */
METE_API mete_overlap mete_overlap_words(const uint64_t *candidate, size_t candidates,
                                         const uint64_t *reference, size_t references,
                                         uint64_t *scratch);

#define METE_BLEU_ORDER 4

/* Clipped n-gram matches and totals, which add over sentences to corpus BLEU (Papineni 2002). */
typedef struct mete_bleu {
    size_t match[METE_BLEU_ORDER], total[METE_BLEU_ORDER];
    size_t candidate, reference; /* lengths; of references the nearest, the shorter on a tie */
} mete_bleu;

/* Adds one sentence against its references to `sum`. `scratch` holds
 * mete_bleu_scratch(candidates, longest reference) hashes. */
METE_API void mete_bleu_add(mete_bleu *sum, const uint64_t *candidate, size_t candidates,
                            const uint64_t *const *reference, const size_t *reference_length,
                            size_t references, uint64_t *scratch);
METE_API size_t mete_bleu_scratch(size_t candidates, size_t longest_reference);
/* Brevity penalty times the geometric mean of the precisions of order 1..order (1 to 4). `smooth`
 * adds one to matches and totals of orders above 1 (Lin and Och 2004). 0 when an order has no
 * match. */
METE_API double mete_bleu_score(const mete_bleu *sum, int order, int smooth);

/* Length of the longest common subsequence, in time candidates * references
 * (what both begin and end with is free). `scratch` holds references + 1 elements. */
METE_API size_t mete_lcs(const uint64_t *candidate, size_t candidates, const uint64_t *reference,
                         size_t references, uint32_t *scratch);
/* ROUGE-L (Lin 2004, equations 2 to 4): (1 + b^2) R P / (R + b^2 P) of an LCS of `lcs` words.
 * beta = 1 is the usual F1. */
METE_API double mete_rouge_l(size_t lcs, size_t candidates, size_t references, double beta);
/* Levenshtein distance over hashes; `scratch` holds references + 1 elements. */
METE_API size_t mete_edit_distance(const uint64_t *candidate, size_t candidates,
                                   const uint64_t *reference, size_t references, uint32_t *scratch);

/* ---- places in a text ------------------------------------------------------------------------ */

typedef struct mete_place {
    size_t begin, end; /* bytes [begin, end) of the text */
    double similarity; /* 1 - edits / code points of the quote; 1: found as it is */
} mete_place;

/* Where a quote stands in `text` at or after byte `from`, as people and models quote: whatever the
 * case and the kind of white space, quotation mark and dash; if it is not there so, then where the
 * fewest edits (Levenshtein; Sellers 1980 for the search) make it, at most 1 - `least` of its code
 * points. Of several places the first of the best. 1 found, 0 not; negative: out of memory, or more
 * than 2^26 steps of edits (METE_EDATA). White space at the ends of the quote does not count; an
 * empty quote is nowhere. */
METE_API int mete_text_locate(mete_text text, mete_text quote, size_t from, double least,
                              mete_place *place);

/* Where a piece of text ends. Each kind ends at the ends of those after it, too. */
typedef enum mete_segment_kind {
    METE_SEGMENT_WORD = 0, /* after white space */
    METE_SEGMENT_CLAUSE,   /* after , ; : or a dash, before white space or the end */
    METE_SEGMENT_SENTENCE, /* after . ! ? or an ellipsis, and closing marks, before the same */
    METE_SEGMENT_LINE      /* after a line feed */
} mete_segment_kind;

/* The next segment from *position on, with the marks and the white space that follow it, so that
 * all of them together are the text; *position moves past it. 0 at the end. Full-width marks need
 * no white space after them. Abbreviations are not known: "e.g. " ends a sentence. */
METE_API int mete_segment_next(mete_text text, mete_segment_kind kind, size_t *position,
                               mete_text *segment);

/* ---- exact match ----------------------------------------------------------------------------- */

enum {
    METE_NORMAL_CASE = 1,        /* lower case */
    METE_NORMAL_PUNCTUATION = 2, /* drop ASCII punctuation */
    METE_NORMAL_ARTICLES = 4,    /* drop the words a, an, the */
    METE_NORMAL_SPACES = 8,      /* one space between words, none at the ends */
    METE_NORMAL_SQUAD = 15       /* all, in that order: the SQuAD v1.1 evaluation */
};

/* Appends `text` so normalised. */
METE_API int mete_normalise(mete_text text, unsigned flags, mete_buffer *out);

/* ---- numbers in prose ------------------------------------------------------------------------ */

enum {
    METE_NUMBER_THOUSANDS = 1, /* 1,234,567.5 (groups of three after the first) */
    METE_NUMBER_FRACTION = 2,  /* 3/4, and 1 3/4 */
    METE_NUMBER_PERCENT = 4,   /* 12%, 12 percent: the value is 0.12 */
    METE_NUMBER_CURRENCY = 8,  /* $ before; also pound, euro and yen signs, before or after */
    METE_NUMBER_EXPONENT = 16, /* 1.5e3, 1.5 x 10^3 */
    METE_NUMBER_ALL = 31
};

typedef struct mete_number {
    double value;         /* finite */
    size_t start, length; /* its bytes in the text, signs included */
    unsigned form;        /* which METE_NUMBER_* forms it used */
} mete_number;

/* The first number at or after byte `from`; 0 when there is none. A form not in `forms` is not
 * read: "12%" is then 12. A minus counts where it does not follow a letter or digit, so 3-4 is
 * 3, then 4. A number glued to letters before it (as in x2) is none. */
METE_API int mete_number_find(mete_text text, size_t from, unsigned forms, mete_number *number);
/* The last number of the text. */
METE_API int mete_number_last(mete_text text, unsigned forms, mete_number *number);
/* Is the whole text, trimmed, one number? A full stop after it is allowed. */
METE_API int mete_number_parse(mete_text text, unsigned forms, double *value);

/* ---- meaning representations ---- */

/* One "slot[value]" of a text such as "name[Alimentum], area[city centre]"; borrowed. */
typedef struct mete_slot {
    mete_text name, value;
} mete_slot;

/* The next slot from *position on, which moves past it; 0 when there is none whole. Commas and
 * white space between slots are skipped. */
METE_API int mete_slot_next(mete_text text, size_t *position, mete_slot *slot);

/* ---- JSON ------------------------------------------------------------------------------------ */

/* One value of a parsed document: strict RFC 8259, UTF-8, depth at most 128, no key twice in an
 * object, no \u0000, no number beyond a double. Integers beyond 2^53 are rounded to a double. Keys
 * are compared exactly. */
typedef struct mete_json mete_json;

typedef enum mete_json_type {
    METE_JSON_NONE = 0, /* no value: what the accessors give for what is not there */
    METE_JSON_NULL,
    METE_JSON_BOOL,
    METE_JSON_NUMBER,
    METE_JSON_STRING,
    METE_JSON_ARRAY,
    METE_JSON_OBJECT
} mete_json_type;

/* NULL with a sentence and the byte in `err`. Free the root, and only the root. */
METE_API mete_json *mete_json_parse(mete_text text, mete_error *err);
METE_API void mete_json_free(mete_json *root);
/* The next whole object in prose from *position on, which moves past it; NULL when there is none.
 * Of objects in one another the outermost that parses is found. For what models answer, with words
 * and fences around. */
METE_API mete_json *mete_json_find(mete_text text, size_t *position);
/* All accessors take NULL and give NONE, NULL, 0 or the empty text, so lookups chain. */
METE_API mete_json_type mete_json_kind(const mete_json *value);
METE_API const mete_json *mete_json_get(const mete_json *object, const char *key);
/* Elements of an array or object: the i-th takes i steps; iterate with first and next. */
METE_API size_t mete_json_count(const mete_json *value);
METE_API const mete_json *mete_json_at(const mete_json *value, size_t index);
METE_API const mete_json *mete_json_first(const mete_json *value);
METE_API const mete_json *mete_json_next(const mete_json *value);
METE_API mete_text mete_json_key(const mete_json *member);
METE_API mete_text mete_json_text(const mete_json *string);
METE_API double mete_json_number(const mete_json *number); /* NaN when it is none */
METE_API int mete_json_bool(const mete_json *value);

/* Writing: appends one value in JSON. A number has the fewest digits, from 15 to 17 where it is not
 * short, that read back the same; one that is not finite is null. Bytes that are not UTF-8 become
 * U+FFFD. */
METE_API int mete_json_put_text(mete_buffer *out, mete_text text);
METE_API int mete_json_put_number(mete_buffer *out, double number);
METE_API int mete_json_put(mete_buffer *out, const mete_json *value);

#ifdef __cplusplus
}
#endif
#endif
