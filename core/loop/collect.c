/* collect.c - samples as records: pairs that a node labels, and rows that it rates, in the form
 * that a fit reads. What is written of a row is what it says and the texts that rewards may see:
 * gold is in the labels alone. */
#include "loop/inner.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* ---- pairs ----------------------------------------------------------------------------------- */

/* What the node itself says of the units, in place of 1. */
static int
compare_units(mete_node *label, const mete_batch *batch, struct mete__work *w, mete_error *err)
{
    uint32_t *a = malloc((w->units + 1) * sizeof *a), *b = malloc((w->units + 1) * sizeof *b);
    double *p = malloc((w->units + 1) * sizeof *p);
    int status =
        a && b && p ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory for pairs");
    for (size_t k = 0; k < w->units && !status; k++) {
        a[k] = w->unit[2 * k];
        b[k] = w->unit[2 * k + 1];
    }
    if (!status)
        status = mete__compare(label, batch, a, b, w->units, p, err);
    for (size_t k = 0; k < w->units && !status; k++)
        w->unit_p[k] = (float)p[k];
    free(a);
    free(b);
    free(p);
    return status;
}

struct mete__work *
mete__pairs_label(mete__loop *loop, mete_node *label, const mete__objective *objective,
                  const mete_batch *batch, mete_error *err)
{
    const mete_scores *scores = mete__node_scores(label);
    struct mete__work *w = scores ? mete__work_for(loop, batch, err) : NULL;
    if (!scores)
        mete_error_set(err, METE_EPLUGIN, "%s: was not scored, so it labels nothing", label->path);
    if (!w)
        return NULL;
    for (size_t i = 0; i < batch->episodes; i++)
        w->valid[i] = !scores->status[i] && !(batch->masked && batch->masked[i]);
    if (!mete__pair_groups(w, objective, batch, scores->episode)) {
        mete_error_set(err, METE_ENOMEM, "out of memory for pairs");
        return NULL;
    }
    return mete__compares(label) && compare_units(label, batch, w, err) ? NULL : w;
}

/* ---- records --------------------------------------------------------------------------------- */

static void
put_member(mete_buffer *out, const char *name, mete_text text)
{
    mete_buffer_byte(out, out->length && out->data[out->length - 1] != '\n' ? ',' : '{');
    mete_json_put_text(out, mete_text_from(name));
    mete_buffer_byte(out, ':');
    mete_json_put_text(out, text);
}

static void
put_number(mete_buffer *out, const char *name, double value)
{
    mete_buffer_byte(out, ',');
    mete_json_put_text(out, mete_text_from(name));
    mete_buffer_byte(out, ':');
    mete_json_put_number(out, value);
}

/* The texts of a row that are one an episode and that rewards may see. */
static void
put_columns(mete_buffer *out, const mete_batch *batch, size_t row)
{
    for (uint32_t c = 0; c < batch->columns; c++) {
        const mete_column *column = &batch->column[c];
        const mete_text *text = column->data;
        if (column->level == METE_EPISODE && column->element == METE_TEXT &&
            column->visible <= METE_SEE_REWARD && text[row].data && text[row].length)
            put_member(out, column->name, text[row]);
    }
}

static void
put_pair(mete_buffer *out, const mete_batch *batch, const mete_scores *scores, uint32_t a,
         uint32_t b, double p)
{
    uint32_t chosen = p < .5 ? b : a, rejected = p < .5 ? a : b;
    put_member(out, "prompt", batch->prompt[a]);
    put_member(out, "chosen", batch->response[chosen]);
    put_member(out, "rejected", batch->response[rejected]);
    put_columns(out, batch, a);
    put_number(out, "chance", p < .5 ? 1 - p : p);
    put_number(out, "difference", fabs(scores->episode[a] - scores->episode[b]));
    mete_buffer_string(out, "}\n");
}

static void
put_row(mete_buffer *out, const mete_batch *batch, const mete_node *label, size_t row)
{
    put_member(out, "prompt", batch->prompt[row]);
    put_member(out, "response", batch->response[row]);
    put_columns(out, batch, row);
    put_number(out, "value", mete__node_scores(label)->episode[row]);
    for (size_t k = 0; k < label->declareds; k++)
        if (label->declared[k].level == METE_EPISODE)
            put_number(out, label->declared[k].name, mete__node_signal(label, k)[row]);
    mete_buffer_string(out, "}\n");
}

static int
put_records(mete__loop *loop, mete_node *label, bool rows, const mete_batch *batch,
            mete_buffer *out, uint64_t *records, mete_error *err)
{
    const mete__objective best_and_worst = {.pairing = METE__PAIR_BEST_WORST};
    const mete_scores *scores = mete__node_scores(label);
    struct mete__work *w =
        rows ? NULL : mete__pairs_label(loop, label, &best_and_worst, batch, err);
    if (!rows && !w)
        return err->code;
    for (size_t k = 0; w && k < w->units; k++) {
        put_pair(out, batch, scores, w->unit[2 * k], w->unit[2 * k + 1], (double)w->unit_p[k]);
        ++*records;
    }
    for (size_t i = 0; rows && i < batch->episodes; i++)
        if (!scores->status[i]) {
            put_row(out, batch, label, i);
            ++*records;
        }
    return METE_OK;
}

/* The node that labels, by its name; NULL after saying why not. */
static mete_node *
label_of(mete__loop *loop, const mete__collect *what, mete_error *err)
{
    mete_node *label = what->label ? mete__engine_find(loop->engine, what->label) : loop->reward;
    if (label && label->kind == METE_KIND_REWARD)
        return label;
    mete_error_set(err, METE_EINVAL, "the reward has no node '%s'",
                   what->label ? what->label : "reward");
    return NULL;
}

static int
check(const mete__collect *what, const mete__rollout *from, mete_error *err)
{
    if (!from->environment)
        return mete_error_set(err, METE_EINVAL, "held-out episodes want a block `evaluate`");
    if (!what->rows && from->group < 2)
        return mete_error_set(err, METE_EINVAL,
                              "pairs are of answers to one prompt: set %s.group to 2 or more, or "
                              "ask for rows",
                              what->held ? "evaluate" : "env");
    return METE_OK;
}

int
mete__loop_collect(mete__loop *loop, const mete__collect *what, mete_buffer *out, uint64_t *records,
                   mete_error *err)
{
    mete__rollout *from = what->held ? &loop->held : &loop->train;
    mete_params params = mete__loop_params(loop);
    mete_node *label = label_of(loop, what, err);
    uint32_t mode = what->held ? METE_ACT_EVALUATE : 0;
    int status = label ? check(what, from, err) : err->code;
    if (status)
        return status;
    mete__loop_announce(loop);
    mete__engine_reset(loop->engine);
    const mete_batch *batch =
        mete__rollout_batch(from, &params, mode, what->temperature, NULL, NULL, err);
    if (!batch || mete__score(loop->engine, loop->reward, batch, err))
        return err->code;
    if (!batch->response || !batch->prompt)
        return mete_error_set(err, METE_EINVAL, "the environment is not of texts");
    if (!mete__measured(label, loop->reward))
        return mete_error_set(err, METE_EINVAL, "'%s' is no part of the reward", label->path);
    status = put_records(loop, label, what->rows, batch, out, records, err);
    return status || !out->status ? status
                                  : mete_error_set(err, METE_ENOMEM, "out of memory for records");
}
