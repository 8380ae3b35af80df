/* agreement - how near a response is to its references: token F1, BLEU or ROUGE-L.
 *
 * Of several references the best counts for F1 and ROUGE-L; BLEU takes them together (Papineni et
 * al. 2002), smoothed by adding one to orders above 1 (Lin & Och 2004) unless switched off.
 */
#include <mete/reward.h>
#include <mete/text.h>

#define MOST_REFERENCES 64
/* LCS costs the product of the lengths: what a model writes past this is not read. */
#define MOST_WORDS 4096

enum { F1, BLEU, ROUGE_L };

struct agreement {
    mete_field reference;
    int measure, smooth;
};

static const mete_option options[] = {
    METE_FIELD(struct agreement, reference, "reference", METE_LIST, METE_TEXT, 0,
               "the texts to agree with: one, or a list"),
    METE_ENUM(struct agreement, measure, F1, "f1|bleu|rouge_l", "the measure"),
    METE_BOOL(struct agreement, smooth, 1, "smooth sentence BLEU"), METE_OPTIONS_END};

struct words {
    uint64_t *hash;
    size_t count;
};

static struct words
words_of(mete_ctx *cx, mete_text text, unsigned flags)
{
    size_t most = text.length < MOST_WORDS ? text.length : MOST_WORDS;
    struct words words = {mete_arena(cx, (most + 1) * sizeof(uint64_t)), 0};
    if (words.hash)
        words.count = mete_words(text, flags, words.hash, most);
    if (words.count > most)
        words.count = most;
    return words;
}

static double
agree(mete_ctx *cx, const struct agreement *p, struct words said, const struct words *right,
      size_t count)
{
    double best = 0;
    if (p->measure == BLEU) {
        const uint64_t *hash[MOST_REFERENCES];
        size_t length[MOST_REFERENCES], longest = 0;
        for (size_t k = 0; k < count; k++) {
            hash[k] = right[k].hash;
            length[k] = right[k].count;
            longest = length[k] > longest ? length[k] : longest;
        }
        mete_bleu sum = {.candidate = 0};
        uint64_t *scratch =
            mete_arena(cx, mete_bleu_scratch(said.count, longest) * sizeof *scratch);
        if (!scratch)
            return -1;
        mete_bleu_add(&sum, said.hash, said.count, hash, length, count, scratch);
        return mete_bleu_score(&sum, METE_BLEU_ORDER, p->smooth);
    }
    for (size_t k = 0; k < count; k++) {
        void *scratch = mete_arena(cx, (said.count + right[k].count + 2) * sizeof(uint64_t));
        double value = -1;
        if (!scratch)
            return -1;
        if (p->measure == F1)
            value =
                mete_overlap_words(said.hash, said.count, right[k].hash, right[k].count, scratch)
                    .f1;
        else
            value = mete_rouge_l(
                mete_lcs(said.hash, said.count, right[k].hash, right[k].count, scratch), said.count,
                right[k].count, 1);
        best = value > best ? value : best;
    }
    return best;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct agreement *p = self;
    unsigned flags = p->measure == BLEU ? METE_WORDS_PUNCTUATION : 0;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to compare");
    for (size_t i = 0; i < batch->episodes; i++) {
        mete_texts reference = mete_texts_of(batch, &p->reference, i);
        struct words right[MOST_REFERENCES];
        size_t count = reference.count < MOST_REFERENCES ? reference.count : MOST_REFERENCES;
        if (!count) {
            mete_row_fail(cx, i, METE_NOT_APPLICABLE, "no reference");
            continue;
        }
        for (size_t k = 0; k < count; k++)
            right[k] = words_of(cx, reference.item[k], flags);
        out->episode[i] = agree(cx, p, words_of(cx, batch->response[i], flags), right, count);
        if (out->episode[i] < 0)
            return mete_fail(cx, METE_ENOMEM, "out of memory while comparing");
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(
    agreement, "1.0", "token F1, BLEU or ROUGE-L with references",
    .doc =
        "Words are lower-cased and split at white space and punctuation (BLEU counts punctuation\n"
        "as words). Texts past 4096 words are cut there.",
    .reference = "BLEU: Papineni et al. 2002, ACL; ROUGE-L: Lin 2004, ACL workshop",
    .options = options, .state_size = sizeof(struct agreement), .score = score);
