/* tokeniser.h - text to token numbers and back: bytes, byte-level BPE, and words.
 *
 * Byte-level BPE (Sennrich et al. 2016, ACL; Radford et al. 2019, "Language Models are Unsupervised
 * Multitask Learners"): a text is cut into pieces by a pattern, the bytes of a piece are its first
 * tokens, and the pair of neighbours with the lowest rank is merged, leftmost first, until none has
 * one. Every byte is a token, so nothing is unknown and a text comes back byte for byte. The kind
 * "bytes" is the same without merges: token i is byte i.
 *
 * Words: a piece, with the space before it, is one token where the vocabulary has it, and else the
 * unknown token. What is known comes back byte for byte; what is not comes back as that token is
 * written.
 *
 * A tokeniser is made once and never changes: any number of threads may use it. What a call needs
 * lives in the caller's mete_tokens, one for a thread, which stops allocating once it is warm.
 *
 * One format is read and written, the published `tokenizer.json`; it is also what a checkpoint
 * keeps. What mete does not do exactly is refused when it is read, with the name of the field:
 *   model           WordLevel, with an unk_token of the vocabulary; BPE; merges as "a b" or
 *                   ["a","b"]; unk_token, fuse_unk, ignore_merges; no dropout, prefix or suffix;
 *                   byte_fallback only where every byte is a token
 *   added_tokens    all flags: special, normalized, lstrip, rstrip, single_word
 *   normalizer      null, NFC, or a Sequence of these
 *   pre_tokenizer   ByteLevel, alone or last in a Sequence after Split; Split by the patterns of
 *                   GPT-2, Llama 3 and Qwen 2 (Isolated, not inverted)
 *   post_processor  null, ByteLevel, TemplateProcessing (of one text), or a Sequence of these
 *   decoder         null or ByteLevel
 *   truncation, padding   ignored: the caller decides on lengths
 *
 * Where the result may still differ from the reference's (tokenizers 0.23): NFC knows the marks
 * that Unicode added since its version 9, 59 of which change the order or the joining of marks
 * beside them; single_word does not know the letters added since the version PCRE2 has.
 */
#ifndef METE_TOKENISER_H
#define METE_TOKENISER_H

#include "text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mete_tokeniser mete_tokeniser;

/* Token numbers are in [0, METE_TOKENS_MOST), in a file of n tokens also under 65536 + 4 n; texts
 * have less than 4 GiB. */
#define METE_TOKENS_MOST (1 << 24)

/* Patterns that cut a text into pieces; tokens never cross a cut. */
typedef enum mete_split {
    METE_SPLIT_NONE, /* none: the whole text is one piece */
    METE_SPLIT_GPT2, /* letters, digits, others, each with a space before; spaces; 's 't 're ... */
    METE_SPLIT_LLAMA3, /* any one mark before letters; at most three digits; line ends apart */
    METE_SPLIT_QWEN2   /* the same with each digit alone */
} mete_split;

/* ---- making one ------------------------------------------------------------------------------ */

/* All return NULL with a sentence in `err`; free with mete_tokeniser_free. */

/* Bytes: token i is byte i, then `special[k]` is token 256 + k. */
METE_API mete_tokeniser *mete_tokeniser_bytes(const char *const *special, size_t specials,
                                              mete_error *err);
/* The tokenizer.json in a text (METE_EDATA: what is wrong with it; METE_ENOTSUP: what is not done).
 */
METE_API mete_tokeniser *mete_tokeniser_read(mete_text json, mete_error *err);
/* The tokenizer.json at `path`; also METE_EIO. A file over 256 MiB is refused. */
METE_API mete_tokeniser *mete_tokeniser_open(const char *path, mete_error *err);
/* Appends its tokenizer.json, which mete_tokeniser_read and the reference implementation (the
 * package `tokenizers`) read back to the same tokeniser. */
METE_API int mete_tokeniser_write(const mete_tokeniser *tokeniser, mete_buffer *out);
METE_API void mete_tokeniser_free(mete_tokeniser *tokeniser);

typedef enum mete_token_kind { METE_TOKENS_BPE, METE_TOKENS_WORDS } mete_token_kind;

/* What mete_tokeniser_train makes. Zero is a default where one is named. */
typedef struct mete_token_plan {
    size_t size;                /* of this struct */
    size_t vocabulary;          /* tokens wanted, specials and BPE's 256 bytes among them */
    mete_split split;           /* METE_SPLIT_GPT2 is usual */
    uint64_t least;             /* a pair, or word, met less often is none; 0: 1 */
    const char *const *special; /* these get the numbers from 0 on, the bytes those after */
    size_t specials;
    mete_token_kind kind; /* METE_TOKENS_BPE is 0 */
    size_t unknown;       /* words: which of `special` stands for what is not in the vocabulary */
} mete_token_plan;

/* BPE: learns merges from texts, the most frequent pair of neighbouring tokens first, and of equals
 * the one with the smaller numbers (left, then right), until the vocabulary is full or no pair is
 * left. Bytes are numbered as GPT-2 numbers them, so the result is the reference trainer's with
 * ByteLevel's alphabet, merge by merge. Time grows with the distinct pieces, not the text.
 * Words: the most frequent pieces, and of equals the first in the order of their spelling, as the
 * reference trainer's. */
METE_API mete_tokeniser *mete_tokeniser_train(const mete_text *text, size_t texts,
                                              const mete_token_plan *plan, mete_error *err);

/* ---- asking ---------------------------------------------------------------------------------- */

/* The greatest token number + 1: rows of an embedding. A read vocabulary may have holes. */
METE_API size_t mete_tokeniser_size(const mete_tokeniser *tokeniser);
/* Number of the added token whose content is `text` (such as "<|endoftext|>"), or -1. */
METE_API int32_t mete_tokeniser_special(const mete_tokeniser *tokeniser, mete_text text);
/* Is it an added token marked special? 0 for numbers that are none. */
METE_API int mete_tokeniser_is_special(const mete_tokeniser *tokeniser, int32_t id);
/* Bytes of a token, borrowed from the tokeniser; data is NULL for a number that is none. */
METE_API mete_text mete_tokeniser_token(const mete_tokeniser *tokeniser, int32_t id);

/* ---- encoding and decoding ------------------------------------------------------------------- */

/* Tokens of a caller; zero it first, keep it for the next call, free it with mete_tokens_free.
 * Token i stands for bytes [start[i], end[i]) of the text it was encoded from. The spans are in
 * order and tile the text, but where one token stands for what NFC joined, an added token took the
 * white space beside it, or the template put a token in (an empty span). */
typedef struct mete_tokens {
    int32_t *id;           /* [count] */
    uint32_t *start, *end; /* [count] */
    size_t count, room;
    void *scratch; /* the tokeniser's own: one thread at a time */
} mete_tokens;

METE_API void mete_tokens_free(mete_tokens *tokens);

enum {
    METE_ENCODE_SPECIALS = 1, /* special tokens written in the text are those tokens; without it
                               * they are plain text, as what a user wrote has to be */
    METE_ENCODE_TEMPLATE = 2  /* add what the post_processor adds (a beginning-of-text token) */
};

/* Appends the tokens of `text`. Any bytes may be given: those that are not UTF-8 are pieces of
 * their own, and are neither normalised nor lost. METE_EINVAL: 4 GiB or more; METE_ENOMEM;
 * METE_EDATA: the pattern matcher gave up. On failure count is what it was. */
METE_API int mete_tokeniser_encode(const mete_tokeniser *tokeniser, mete_text text, unsigned flags,
                                   mete_tokens *out, mete_error *err);

enum {
    METE_DECODE_SKIP_SPECIALS = 1 /* leave special tokens out */
};

/* Appends the bytes of the tokens, exactly; an added token's are what is written of it, where the
 * reference turns one that is all letters of its byte alphabet ("caf\u00e9") into other bytes.
 * A sequence that was cut inside a character gives the part of it there is, which is not UTF-8
 * (mete_utf8_next reads each such byte as U+FFFD). A number that is no token is METE_EDATA, and
 * nothing is appended. */
METE_API int mete_tokeniser_decode(const mete_tokeniser *tokeniser, const int32_t *id, size_t count,
                                   unsigned flags, mete_buffer *out, mete_error *err);

#ifdef __cplusplus
}
#endif
#endif
