/* segments - the response in pieces, each scored by the children, paid where the piece ends (after
 * FGAIF; Jing & Du 2024, arXiv:2404.05046): children are models of one kind of fault each, and
 *
 *   r_t = sum over children k and segments j of [t is the last token of j] weight_k value_k(x, s_j)
 *
 * A child sees each segment as a response of its own to the same prompt. One that does not apply to
 * a segment (no such fact there) pays nothing for it.
 */
#include <math.h>
#include <mete/reward.h>
#include <mete/text.h>
#include <stdio.h>

#define MOST_CHILDREN 64

struct segments {
    int by, average;
    int count, paid[MOST_CHILDREN];
};

static const mete_option options[] = {
    METE_ENUM(struct segments, by, METE_SEGMENT_CLAUSE, "word|clause|sentence|line",
              "what ends a segment"),
    METE_BOOL(struct segments, average, 0, "divides by the number of segments"), METE_OPTIONS_END};

static int
open_segments(mete_ctx *cx, void *self)
{
    struct segments *p = self;
    if (mete_child_count(cx) > MOST_CHILDREN)
        return mete_fail(cx, METE_EINVAL, "more than %d children", MOST_CHILDREN);
    p->count = mete_signal(cx, "segments", METE_EPISODE, METE_ROLE_INFO, 0, INFINITY,
                           "segments of the response");
    for (size_t k = 0; k < mete_child_count(cx) && p->count >= 0; k++) {
        char name[200];
        snprintf(name, sizeof name, "paid_%s", mete_child_name(cx, k));
        p->paid[k] = mete_signal(cx, name, METE_EPISODE, METE_ROLE_INFO, -INFINITY, INFINITY,
                                 "what the child pays in all, before its weight");
        if (p->paid[k] < 0)
            return p->paid[k];
    }
    return p->count < 0 ? p->count : METE_OK;
}

/* All segments of a batch: of which row each is, its text, its last byte in the response. */
struct pieces {
    uint32_t *row;
    mete_text *text;
    size_t *last, count;
};

static int
cut(mete_ctx *cx, const struct segments *p, const mete_batch *batch, struct pieces *out)
{
    size_t most = 0;
    for (size_t i = 0; i < batch->episodes; i++) {
        mete_text part;
        for (size_t at = 0;
             mete_segment_next(batch->response[i], (mete_segment_kind)p->by, &at, &part);)
            most++;
    }
    out->row = mete_arena(cx, (most + 1) * sizeof *out->row);
    out->text = mete_arena(cx, (most + 1) * sizeof *out->text);
    out->last = mete_arena(cx, (most + 1) * sizeof *out->last);
    out->count = 0;
    if (!out->row || !out->text || !out->last)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu segments", most);
    for (size_t i = 0; i < batch->episodes; i++) {
        mete_text whole = batch->response[i], part;
        for (size_t at = 0; mete_segment_next(whole, (mete_segment_kind)p->by, &at, &part);) {
            mete_text trimmed = mete_text_trim(part);
            if (!trimmed.length)
                continue;
            out->row[out->count] = (uint32_t)i;
            out->text[out->count] = trimmed;
            out->last[out->count++] = (size_t)(trimmed.data - whole.data) + trimmed.length - 1;
        }
    }
    return METE_OK;
}

/* The token that holds the byte, or the last before it; batch->steps where the row has none. */
static size_t
token_at(const mete_batch *batch, size_t row, size_t byte)
{
    size_t from = batch->step_begin[row], to = batch->step_begin[row + 1], best = from;
    if (from == to || !batch->span)
        return batch->steps;
    for (size_t t = from; t < to; t++)
        if (batch->span[2 * t] < batch->span[2 * t + 1] && batch->span[2 * t] <= byte)
            best = t;
    return best;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct segments *p = self;
    struct pieces all;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to cut");
    uint8_t *applies = mete_arena(cx, batch->episodes + 1);
    int status = cut(cx, p, batch, &all);
    if (status || !applies)
        return status ? status : mete_fail(cx, METE_ENOMEM, "out of memory");
    double *count = mete_out(out, p->count);
    for (size_t j = 0; j < all.count; j++)
        count[all.row[j]] += 1;
    for (size_t i = 0; i < batch->episodes; i++) {
        out->episode[i] = 0;
        applies[i] = count[i] == 0; /* nothing said, nothing paid */
    }
    const mete_batch *rows = mete_batch_subset(cx, batch, all.row, all.count);
    rows = rows ? mete_batch_respond(cx, rows, all.text) : NULL;
    if (!rows)
        return METE_ENOMEM;
    for (size_t k = 0; k < mete_child_count(cx) && all.count; k++) {
        const mete_scores *got = mete_evaluate(cx, mete_child_node(cx, k), rows);
        double weight = mete_child_weight(cx, k), *paid = mete_out(out, p->paid[k]);
        if (!got)
            return METE_EPLUGIN;
        for (size_t j = 0; j < all.count; j++) {
            size_t row = all.row[j], token = token_at(batch, row, all.last[j]);
            double value = got->episode[j] / (p->average ? count[row] : 1);
            applies[row] |= got->status[j] == METE_VALID;
            if (got->status[j] > METE_NOT_APPLICABLE && weight != 0)
                mete_row_fail(cx, row, got->status[j], "'%s' has no value of a segment",
                              mete_child_name(cx, k));
            if (got->status[j] != METE_VALID)
                continue;
            paid[row] += value;
            out->episode[row] += weight * value;
            if (token < batch->steps)
                out->step[token] += weight * value;
        }
    }
    for (size_t i = 0; i < batch->episodes; i++)
        if (!applies[i] && !out->status[i])
            out->status[i] = METE_NOT_APPLICABLE;
    return METE_OK;
}

METE_REWARD_PLUGIN(
    segments, "1.0", "the children's values of each clause, paid at its end",
    .doc = "The children are scored on segments alone, never on the whole response; a learnt one\n"
           "is fitted on segments by a stage `fit` that names it. A row to none of whose segments\n"
           "a child applies is not applicable; one without any segment has value 0. Signals:\n"
           "segments; paid_NAME, what child NAME pays.\n"
           "\n"
           "reward = { use = \"segments\"; of = (\n"
           "    { name = \"objects\"; use = \"preference_model\"; weight = 1.0; },\n"
           "    { name = \"relations\"; use = \"preference_model\"; weight = 0.5; } ); };\n",
    .reference = "Jing & Du 2024, arXiv:2404.05046", .options = options,
    .state_size = sizeof(struct segments), .flags = METE_COMBINES | METE_LAZY | METE_PER_STEP,
    .open = open_segments, .score = score);
