/* expr - a reward from an expression over children, their signals and columns of the batch.
 *
 *   value = "0.7 * rubric + 0.3 * min(format, length)";
 *
 * Names are children (their value times their weight), `child.signal`, the columns listed under
 * `fields`, and iteration, length (bytes of the response) and steps. It is compiled once; each
 * operation is one loop over the batch. An expression that keeps a value per step gives a reward
 * per step; sum, mean, last and peak bring steps to one value per row. A row whose inputs are not
 * all valid is not valid (or(NAME, fallback) says what to do instead), and a result that is not a
 * finite number fails its row.
 */
#include "program.h"

#include <math.h>
#include <mete/text.h>
#include <string.h>

struct expr_field {
    const char *name, *from;
    int level;
};

struct expr {
    const char *value;
    mete_list fields;
    struct expr_program *program;
};

static const mete_option field_options[] = {
    METE_STRING(struct expr_field, name, NULL, METE_REQUIRED, "how the expression calls it"),
    METE_STRING(struct expr_field, from, NULL, 0, "the column read; the same name when absent"),
    METE_ENUM(struct expr_field, level, 0, "row|step",
              "row: one text per row, read as a number; step: one number per step"),
    METE_OPTIONS_END};

static const mete_option options[] = {
    METE_STRING(struct expr, value, NULL, METE_REQUIRED,
                "the expression: + - * / ^, < <= > >= == !=, && || !, a ? b : c, and the functions "
                "abs exp log sqrt tanh sigmoid floor min max clip(x, lo, hi) or(name, fallback) "
                "sum mean last peak"),
    METE_LIST_OF(struct expr, fields, struct expr_field, field_options, 0,
                 "columns of the batch the expression reads"),
    METE_OPTIONS_END};

static int
unknown(mete_ctx *cx, const char *name, const char *signal)
{
    char known[400] = "";
    size_t at = 0;
    for (size_t k = 0; k < mete_child_count(cx) && at < sizeof known - EXPR_NAME - 2; k++) {
        size_t n = strnlen(mete_child_name(cx, k), EXPR_NAME);
        memcpy(known + at, mete_child_name(cx, k), n);
        at += n;
        known[at++] = ' ';
    }
    if (signal)
        return mete_fail(cx, METE_EINVAL, "value: '%s' has no signal '%s' per row or step", name,
                         signal);
    return mete_fail(cx, METE_EINVAL,
                     "value: nothing is called '%s' (children: %s; also what `fields` lists, and "
                     "iteration length steps)",
                     name, known);
}

static int
from_child(mete_ctx *cx, struct expr_input *in, const char *signal)
{
    int level;
    in->source = signal ? EXPR_SIGNAL : EXPR_CHILD;
    if (!signal) {
        in->per_step = mete_child_per_step(cx, in->child);
        return METE_OK;
    }
    level = mete_child_signal_level(cx, in->child, signal);
    if (level != METE_EPISODE && level != METE_STEP)
        return unknown(cx, mete_child_name(cx, in->child), signal);
    in->per_step = level == METE_STEP;
    memcpy(in->name, signal, strlen(signal) + 1);
    return METE_OK;
}

static int
from_field(mete_ctx *cx, const struct expr_field *field, struct expr_input *in)
{
    in->source = EXPR_FIELD;
    in->per_step = field->level == 1;
    return mete_need(cx, field->from ? field->from : field->name,
                     in->per_step ? METE_STEP : METE_EPISODE, in->per_step ? METE_F32 : METE_TEXT,
                     0, &in->field);
}

/* What a name stands for. */
static int
resolve(mete_ctx *cx, const struct expr *p, const char *name, const char *signal,
        struct expr_input *in)
{
    static const char *const builtin[] = {"iteration", "length", "steps"};
    for (size_t k = 0; k < mete_child_count(cx); k++)
        if (strcmp(mete_child_name(cx, k), name) == 0) {
            in->child = k;
            return from_child(cx, in, signal);
        }
    const struct expr_field *field = p->fields.item;
    for (size_t k = 0; !signal && k < p->fields.count; k++)
        if (strcmp(field[k].name, name) == 0)
            return from_field(cx, &field[k], in);
    for (size_t k = 0; !signal && k < 3; k++)
        if (strcmp(builtin[k], name) == 0) {
            in->source = (enum expr_source)(EXPR_ITERATION + (int)k);
            return METE_OK;
        }
    return unknown(cx, name, signal);
}

int
expr_input_find(mete_ctx *cx, void *self, const char *name, const char *signal)
{
    struct expr *p = self;
    struct expr_program *program = p->program;
    struct expr_input in = {0};
    int status = resolve(cx, p, name, signal, &in);
    if (status)
        return status;
    for (size_t k = 0; k < program->inputs; k++) {
        const struct expr_input *old = &program->input[k];
        if (old->source == in.source && old->child == in.child && strcmp(old->name, in.name) == 0 &&
            old->field.name == in.field.name)
            return (int)k;
    }
    if (program->inputs == EXPR_MOST_INPUTS)
        return mete_fail(cx, METE_EINVAL, "value: more than %d inputs", EXPR_MOST_INPUTS);
    program->input[program->inputs] = in;
    return (int)program->inputs++;
}

static int
open_expr(mete_ctx *cx, void *self)
{
    struct expr *p = self;
    if (!(p->program = mete_alloc(cx, sizeof *p->program)))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    int status = expr_compile(cx, p, p->value, p->program);
    if (!status && p->program->per_step)
        mete_per_step(cx);
    return status;
}

/* ---- reading inputs -------------------------------------------------------------------------- */

static const double *
weighted(mete_ctx *cx, const mete_batch *batch, const struct expr_input *in)
{
    const mete_scores *child = mete_child(cx, in->child);
    double weight = mete_child_weight(cx, in->child);
    const double *value = in->per_step ? child->step : child->episode;
    size_t n = in->per_step ? batch->steps : batch->episodes;
    if (weight == 1)
        return value;
    double *out = mete_arena(cx, (n + 1) * sizeof *out);
    for (size_t i = 0; out && i < n; i++)
        out[i] = weight * value[i];
    return out;
}

/* Texts read as numbers; a row whose text is none is not applicable. */
static const double *
numbers(mete_ctx *cx, const mete_batch *batch, const struct expr_input *in,
        struct expr_values *values)
{
    const float *step = in->per_step ? mete_f32_of(batch, &in->field) : NULL;
    const mete_text *text = in->per_step ? NULL : mete_text_of(batch, &in->field);
    size_t n = in->per_step ? batch->steps : batch->episodes;
    double *out = mete_arena(cx, (n + 1) * sizeof *out);
    uint8_t *status = mete_arena(cx, batch->episodes + 1);
    if (!out || !status)
        return NULL;
    for (size_t i = 0; step && i < n; i++)
        out[i] = (double)step[i];
    for (size_t i = 0; !step && i < n; i++)
        if (!text || !text[i].data || !mete_number_parse(text[i], 0, &out[i]))
            status[i] = METE_NOT_APPLICABLE;
    values->status = status;
    return out;
}

static const double *
counted(mete_ctx *cx, const mete_batch *batch, enum expr_source source)
{
    double *out = mete_arena(cx, (batch->episodes + 1) * sizeof *out);
    for (size_t i = 0; out && i < batch->episodes; i++)
        out[i] = source == EXPR_ITERATION ? (double)mete_iteration(cx)
                 : source == EXPR_STEPS ? (double)(batch->step_begin[i + 1] - batch->step_begin[i])
                 : batch->response      ? (double)batch->response[i].length
                                        : 0;
    return out;
}

static int
read_input(mete_ctx *cx, const mete_batch *batch, const struct expr_input *in,
           struct expr_values *out)
{
    if (in->source == EXPR_CHILD || in->source == EXPR_SIGNAL)
        out->status = mete_child(cx, in->child)->status;
    if (in->source == EXPR_CHILD)
        out->value = weighted(cx, batch, in);
    else if (in->source == EXPR_SIGNAL)
        out->value = mete_child_signal(cx, in->child, in->name);
    else if (in->source == EXPR_FIELD)
        out->value = numbers(cx, batch, in, out);
    else
        out->value = counted(cx, batch, in->source);
    return out->value ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct expr *p = self;
    const struct expr_program *program = p->program;
    struct expr_values values[EXPR_MOST_INPUTS] = {0};
    for (size_t k = 0; k < program->inputs; k++) {
        int status = read_input(cx, batch, &program->input[k], &values[k]);
        if (status)
            return status;
    }
    const double *value = expr_run(cx, program, batch, values, out->status);
    if (!value)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t from = program->per_step ? batch->step_begin[i] : i;
        size_t to = program->per_step ? batch->step_begin[i + 1] : i + 1;
        double *to_value = program->per_step ? out->step : out->episode;
        for (size_t t = from; t < to && !out->status[i]; t++) {
            if (isfinite(value[t]))
                to_value[t] = value[t];
            else
                mete_row_fail(cx, i, METE_FAILED, "the expression gives %g", value[t]);
        }
        if (!program->per_step && out->status[i])
            out->episode[i] = 0;
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(
    expr, "1.0", "an expression over children, their signals and columns",
    .doc =
        "value = \"0.7 * rubric + 0.3 * min(format, length)\"; a child's name is its value times\n"
        "its weight, child.signal one of its signals. or(NAME, fallback) stands in where NAME is\n"
        "not valid. sum, mean, last and peak bring a value per step to one per row. Comparisons\n"
        "give 1 or 0. A result that is not finite fails its row.",
    .options = options, .state_size = sizeof(struct expr),
    .flags = METE_COMBINES | METE_ANY_CHILDREN, .open = open_expr, .score = score);
