/* repetition - the share of a response's n-grams that were there before.
 *
 *   repeated = 1 - distinct n-grams / n-grams          (0 when there are none)
 *
 * over words (punctuation counts); Welleck et al. 2020 call it rep-n. Signals: `repeated` as above
 * and `looping`, 1 when any n-gram of the response occurs twice.
 */
#include <mete/reward.h>
#include <mete/text.h>

enum { SHARE, ANY };

struct repetition {
    int64_t n;
    int measure;
    double scale;
    int repeated, looping;
};

static const mete_option options[] = {
    METE_INT(struct repetition, n, 4, 1, 64, "words in an n-gram"),
    METE_ENUM(struct repetition, measure, SHARE, "share|any",
              "share: of repeated n-grams; any: 1 when one comes twice"),
    METE_REAL(struct repetition, scale, -1, -1e6, 1e6, "score of a response that only repeats"),
    METE_OPTIONS_END};

static int
open_repetition(mete_ctx *cx, void *self)
{
    struct repetition *p = self;
    p->repeated = mete_signal(cx, "repeated", METE_EPISODE, METE_ROLE_INFO, 0, 1,
                              "share of n-grams said before");
    p->looping =
        mete_signal(cx, "looping", METE_EPISODE, METE_ROLE_INFO, 0, 1, "1: an n-gram comes twice");
    return p->repeated < 0 ? p->repeated : p->looping < 0 ? p->looping : METE_OK;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct repetition *p = self;
    double *repeated = mete_out(out, p->repeated), *looping = mete_out(out, p->looping);
    size_t most = 0;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to read");
    for (size_t i = 0; i < batch->episodes; i++)
        most = batch->response[i].length > most ? batch->response[i].length : most;
    uint64_t *hash = mete_arena(cx, (most + 1) * sizeof *hash);
    if (!hash)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a response of %zu bytes", most);
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t words = mete_words(batch->response[i], METE_WORDS_PUNCTUATION, hash, most + 1);
        size_t grams = mete_ngrams(hash, words, (size_t)p->n, hash), same = 0;
        mete_hashes_sort(hash, grams);
        for (size_t k = 1; k < grams; k++)
            same += hash[k] == hash[k - 1];
        repeated[i] = grams ? (double)same / (double)grams : 0;
        looping[i] = same > 0;
        out->episode[i] = p->scale * (p->measure == ANY ? looping[i] : repeated[i]);
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(repetition, "1.0", "penalty on repeated n-grams",
                   .reference = "Welleck et al. 2020, ICLR, arXiv:1908.04319 (rep-n)",
                   .options = options, .state_size = sizeof(struct repetition),
                   .open = open_repetition, .score = score);
