/* exact - 1 when the response equals one of its references, after normalising both.
 *
 * The normal form is SQuAD's (Rajpurkar et al. 2016): lower case, no punctuation, no articles, one
 * space; each step can be switched off. */
#include <mete/reward.h>
#include <mete/text.h>
#include <string.h>

struct exact {
    mete_field reference;
    int lower, punctuation, articles, spaces;
};

static const mete_option options[] = {METE_FIELD(struct exact, reference, "reference", METE_LIST,
                                                 METE_TEXT, 0,
                                                 "the answers that count as right: one, or a list"),
                                      METE_BOOL(struct exact, lower, 1, "ignore case"),
                                      METE_BOOL(struct exact, punctuation, 1, "drop punctuation"),
                                      METE_BOOL(struct exact, articles, 1, "drop a, an, the"),
                                      METE_BOOL(struct exact, spaces, 1, "fold white space"),
                                      METE_OPTIONS_END};

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct exact *p = self;
    unsigned flags =
        (p->lower ? METE_NORMAL_CASE : 0) | (p->punctuation ? METE_NORMAL_PUNCTUATION : 0) |
        (p->articles ? METE_NORMAL_ARTICLES : 0) | (p->spaces ? METE_NORMAL_SPACES : 0);
    mete_buffer said = mete_buffer_make((size_t)1 << 30), right = mete_buffer_make((size_t)1 << 30);
    int status = METE_OK;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to compare");
    for (size_t i = 0; i < batch->episodes && !status; i++) {
        mete_texts reference = mete_texts_of(batch, &p->reference, i);
        if (!reference.count) {
            mete_row_fail(cx, i, METE_NOT_APPLICABLE, "no reference");
            continue;
        }
        mete_buffer_clear(&said);
        status = mete_normalise(batch->response[i], flags, &said);
        out->episode[i] = 0;
        for (size_t k = 0; k < reference.count && !status; k++) {
            mete_buffer_clear(&right);
            status = mete_normalise(reference.item[k], flags, &right);
            if (!status && right.length == said.length &&
                (!said.length || memcmp(right.data, said.data, said.length) == 0))
                out->episode[i] = 1;
        }
    }
    mete_buffer_free(&said);
    mete_buffer_free(&right);
    return status ? mete_fail(cx, METE_ENOMEM, "out of memory while normalising") : METE_OK;
}

METE_REWARD_PLUGIN(exact, "1.0", "1 when the response equals a reference",
                   .reference = "Rajpurkar et al. 2016, EMNLP, arXiv:1606.05250 (normal form)",
                   .options = options, .state_size = sizeof(struct exact), .score = score);
