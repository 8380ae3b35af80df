/* features.c - texts as bags of hashed n-grams of words and of characters.
 *
 * The bucket of an n-gram is a hash of it and of what it is (words or characters, n), so no
 * vocabulary is kept; n-grams that collide share a weight (Weinberger et al. 2009). A word of the
 * response that a context column holds too has a second feature of its own, and one that says so
 * alone: what a linear model can know of a response to a prompt.
 */
#include "net.h"

#include <math.h>
#include <mete/text.h>

static mete_text
context_of(const struct net *p, const mete_batch *batch, size_t k, size_t row)
{
    const mete_text *column = p->field[k].name ? mete_text_of(batch, &p->field[k]) : batch->prompt;
    return column && column[row].data ? column[row] : (mete_text){"", 0};
}

int
bag_scratch_make(mete_ctx *cx, const struct net *p, const mete_batch *batch,
                 struct bag_scratch *out)
{
    size_t longest = 0, kinds = (size_t)(p->words + p->chars_to) + 2 * p->context.count;
    size_t context = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        longest = batch->response[i].length > longest ? batch->response[i].length : longest;
        for (size_t k = 0; k < p->context.count; k++) {
            size_t length = context_of(p, batch, k, i).length;
            context = length > context ? length : context;
        }
    }
    out->room = longest;
    out->word = mete_arena(cx, (longest + 1) * sizeof *out->word);
    out->gram = mete_arena(cx, (longest + 1) * sizeof *out->gram);
    out->known = mete_arena(cx, (context + 1) * sizeof *out->known);
    out->bucket = mete_arena(cx, (longest + 1) * kinds * sizeof *out->bucket);
    return out->word && out->gram && out->known && out->bucket
               ? METE_OK
               : mete_fail(cx, METE_ENOMEM, "out of memory for features");
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

size_t
bag_of(const struct net *p, const mete_batch *batch, size_t row, struct bag_scratch *s)
{
    enum { WORDS = 0x100, CHARS = 0x200, CONTEXT = 0x10000 };
    mete_text text = batch->response[row];
    size_t words = mete_words(text, METE_WORDS_PUNCTUATION, s->word, s->room);
    size_t n = put_grams(p, s->word, words, 1, p->words, WORDS, s->gram, s->bucket);
    for (size_t k = 0; k < p->context.count; k++) {
        mete_text context = context_of(p, batch, k, row);
        uint64_t kind = CONTEXT + k;
        size_t known = mete_words(context, 0, s->known, context.length);
        mete_hashes_sort(s->known, known);
        for (size_t i = 0; i < words; i++)
            if (holds(s->known, known, s->word[i])) {
                s->bucket[n++] = bucket_of(p, s->word[i], kind);
                s->bucket[n++] = bucket_of(p, 0, kind);
            }
    }
    if (p->chars_to) {
        size_t codes = mete_codes(text, s->word, s->room);
        n +=
            put_grams(p, s->word, codes, p->chars_from, p->chars_to, CHARS, s->gram, s->bucket + n);
    }
    return n;
}

int
bags_of(mete_ctx *cx, const struct net *p, const mete_batch *batch, struct bags *out)
{
    struct bag_scratch scratch;
    int status = bag_scratch_make(cx, p, batch, &scratch);
    size_t bytes = 0, kinds = (size_t)(p->words + p->chars_to) + 2 * p->context.count;
    for (size_t i = 0; i < batch->episodes; i++)
        bytes += batch->response[i].length;
    out->offset = mete_arena(cx, (batch->episodes + 1) * sizeof *out->offset);
    out->bucket = mete_arena(cx, (bytes + 1) * kinds * sizeof *out->bucket);
    if (!status && (!out->offset || !out->bucket))
        status = mete_fail(cx, METE_ENOMEM, "out of memory for features");
    for (size_t i = 0; i < batch->episodes && !status; i++) {
        size_t n = bag_of(p, batch, i, &scratch);
        for (size_t k = 0; k < n; k++)
            out->bucket[out->offset[i] + k] = scratch.bucket[k];
        out->offset[i + 1] = out->offset[i] + n;
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
