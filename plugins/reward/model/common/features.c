/* features.c - texts as bags of hashed n-grams of words and of characters.
 *
 * The bucket of an n-gram is a hash of it and of what it is (words or characters, n), so no
 * vocabulary is kept; n-grams that collide share a weight (Weinberger et al. 2009). A word of the
 * response that a context column holds too has a second feature of its own, and one that says so
 * alone: what a linear model can know of a response to a prompt. The words of a crossed column have
 * features with each word of the response: phi(z) x phi(y), what a model needs whose order of two
 * responses is another under another z.
 */
#include "net.h"

#include <math.h>
#include <mete/text.h>

enum { WORDS = 0x100, CHARS = 0x200, CONTEXT = 0x10000, JOINED = 0x20000, CROSSED = 0x40000 };

mete_text
column_text(const mete_field *field, const mete_batch *batch, size_t row)
{
    const mete_text *column = field->name ? mete_text_of(batch, field) : batch->prompt;
    return column && column[row].data ? column[row] : (mete_text){"", 0};
}

static size_t
longest_of(const mete_strings *names, const mete_field *field, const mete_batch *batch)
{
    size_t longest = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        for (size_t k = 0; k < names->count; k++) {
            size_t length = column_text(&field[k], batch, i).length;
            longest = length > longest ? length : longest;
        }
    return longest;
}

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

int
bag_scratch_make(mete_ctx *cx, const struct net *p, const mete_batch *batch,
                 struct bag_scratch *out)
{
    *out = (struct bag_scratch){.cx = cx};
    for (size_t i = 0; i < batch->episodes; i++)
        out->longest = larger(batch->response[i].length, out->longest);
    out->longest_column = larger(longest_of(&p->context, p->context_field, batch),
                                 larger(longest_of(&p->joined, p->joined_field, batch),
                                        longest_of(&p->crossed, p->crossed_field, batch)));
    size_t either = larger(out->longest, out->longest_column);
    out->word = mete_arena(cx, (out->longest + 1) * sizeof *out->word);
    out->gram = mete_arena(cx, (either + 1) * sizeof *out->gram);
    out->known = mete_arena(cx, (out->longest_column + 1) * sizeof *out->known);
    return out->word && out->gram && out->known
               ? METE_OK
               : mete_fail(cx, METE_ENOMEM, "out of memory for features");
}

/* ---- what a row may have --------------------------------------------------------------------- */

/* Room for all features of a row whose response has that many words. */
static int
make_room(const struct net *p, const mete_batch *batch, size_t row, size_t words,
          struct bag_scratch *s)
{
    size_t most = words * ((size_t)p->words + 2 * p->context.count) +
                  batch->response[row].length * (size_t)p->chars_to;
    for (size_t k = 0; k < p->joined.count; k++)
        most += column_text(&p->joined_field[k], batch, row).length * (size_t)p->words;
    size_t crossed = words < CROSSED_RESPONSE ? words : CROSSED_RESPONSE;
    most += p->crossed.count * 2 * crossed * CROSSED_CONTEXT;
    if (most <= s->room)
        return METE_OK;
    s->room = most + most / 2;
    s->bucket = mete_arena(s->cx, s->room * sizeof *s->bucket);
    return s->bucket ? METE_OK : mete_fail(s->cx, METE_ENOMEM, "out of memory for features");
}

static uint32_t
bucket_of(const struct net *p, uint64_t hash, uint64_t kind)
{
    return (uint32_t)(mete_mix64(hash + kind * UINT64_C(0x9e3779b97f4a7c15)) &
                      (uint64_t)(p->buckets - 1));
}

static size_t
put_grams(const struct net *p, const uint64_t *item, size_t items, int64_t from, int64_t to,
          uint64_t kind, uint64_t *gram, uint32_t *out)
{
    size_t n = 0;
    for (int64_t order = from; order <= to && (size_t)order <= items; order++) {
        size_t grams = mete_ngrams(item, items, (size_t)order, gram);
        for (size_t k = 0; k < grams; k++)
            out[n++] = bucket_of(p, gram[k], kind + (uint64_t)order);
    }
    return n;
}

static int
holds(const uint64_t *sorted, size_t n, uint64_t hash)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (sorted[middle] < hash)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo < n && sorted[lo] == hash;
}

/* Words of the response that a context holds too, each with a feature that says so alone. */
static size_t
put_context(const struct net *p, mete_text context, uint64_t kind, size_t words,
            struct bag_scratch *s, uint32_t *out)
{
    size_t known = mete_words(context, 0, s->known, s->longest_column), n = 0;
    mete_hashes_sort(s->known, known);
    for (size_t i = 0; i < words; i++)
        if (holds(s->known, known, s->word[i])) {
            out[n++] = bucket_of(p, s->word[i], kind);
            out[n++] = bucket_of(p, 0, kind);
        }
    return n;
}

/* The first distinct words into `out`; how many. */
static size_t
first_words(const uint64_t *word, size_t words, uint64_t out[CROSSED_CONTEXT])
{
    size_t n = 0;
    for (size_t i = 0; i < words && n < CROSSED_CONTEXT; i++) {
        size_t k = 0;
        while (k < n && out[k] != word[i])
            k++;
        if (k == n)
            out[n++] = word[i];
    }
    return n;
}

/* Each word of a column with each of the response, and with each that the column holds too. */
static size_t
put_crossed(const struct net *p, mete_text column, uint64_t kind, size_t words,
            struct bag_scratch *s, uint32_t *out)
{
    uint64_t first[CROSSED_CONTEXT];
    size_t known = mete_words(column, METE_WORDS_PUNCTUATION, s->known, s->longest_column), n = 0;
    size_t firsts = first_words(s->known, known, first);
    mete_hashes_sort(s->known, known);
    for (size_t i = 0; i < words && i < CROSSED_RESPONSE; i++) {
        int said = holds(s->known, known, s->word[i]);
        for (size_t k = 0; k < firsts; k++) {
            out[n++] = bucket_of(p, mete_hash_mix(first[k], s->word[i]), kind);
            if (said)
                out[n++] = bucket_of(p, first[k], kind);
        }
    }
    return n;
}

int
bag_of(const struct net *p, const mete_batch *batch, size_t row, struct bag_scratch *s,
       size_t *count)
{
    mete_text text = batch->response[row];
    size_t words = mete_words(text, METE_WORDS_PUNCTUATION, s->word, s->longest);
    int status = make_room(p, batch, row, words, s);
    if (status)
        return status;
    size_t n = put_grams(p, s->word, words, 1, p->words, WORDS, s->gram, s->bucket);
    for (size_t k = 0; k < p->context.count; k++)
        n += put_context(p, column_text(&p->context_field[k], batch, row), CONTEXT + k, words, s,
                         s->bucket + n);
    for (size_t k = 0; k < p->crossed.count; k++)
        n += put_crossed(p, column_text(&p->crossed_field[k], batch, row), CROSSED + k, words, s,
                         s->bucket + n);
    for (size_t k = 0; k < p->joined.count; k++) {
        size_t beside = mete_words(column_text(&p->joined_field[k], batch, row),
                                   METE_WORDS_PUNCTUATION, s->known, s->longest_column);
        n += put_grams(p, s->known, beside, 1, p->words, JOINED + 16 * k, s->gram, s->bucket + n);
    }
    if (p->chars_to) {
        size_t codes = mete_codes(text, s->word, s->longest);
        n +=
            put_grams(p, s->word, codes, p->chars_from, p->chars_to, CHARS, s->gram, s->bucket + n);
    }
    *count = n;
    return METE_OK;
}

int
bags_of(mete_ctx *cx, const struct net *p, const mete_batch *batch, struct bags *out)
{
    struct bag_scratch scratch;
    size_t rows = batch->episodes;
    int status = bag_scratch_make(cx, p, batch, &scratch);
    out->bucket = mete_arena(cx, (rows + 1) * sizeof *out->bucket);
    out->count = mete_arena(cx, (rows + 1) * sizeof *out->count);
    if (!status && (!out->bucket || !out->count))
        status = mete_fail(cx, METE_ENOMEM, "out of memory for features");
    for (size_t i = 0; i < rows && !status; i++) {
        status = bag_of(p, batch, i, &scratch, &out->count[i]);
        size_t n = out->count[i];
        out->bucket[i] = status ? NULL : mete_arena(cx, (n + 1) * sizeof *out->bucket[i]);
        if (!status && !out->bucket[i])
            status = mete_fail(cx, METE_ENOMEM, "out of memory for features");
        for (size_t k = 0; k < n && !status; k++)
            out->bucket[i][k] = scratch.bucket[k];
    }
    return status;
}

double
bag_scale(const struct net *p, size_t n)
{
    if (!n || p->length_power == 0)
        return 1;
    return p->length_power == .5 ? 1 / sqrt((double)n) : pow((double)n, -p->length_power);
}
