/* tape.c - records operations and runs them backward. */
#include "nn/tape.h"

#include <stdlib.h>
#include <string.h>

mete_tape *
mete_tape_new(void)
{
    mete_tape *tape = calloc(1, sizeof *tape);
    if (!tape || !(tape->arena = mete__arena_new())) {
        free(tape);
        return NULL;
    }
    return tape;
}

void
mete_tape_free(mete_tape *tape)
{
    if (!tape)
        return;
    mete__arena_free(tape->arena);
    free(tape);
}

void
mete_tape_reset(mete_tape *tape)
{
    mete__arena_release(tape->arena, (mete__arena_mark){0, 0});
    tape->last = NULL;
    tape->kept = NULL;
    tape->err.code = METE_OK;
}

int
mete_tape_status(const mete_tape *tape, mete_error *err)
{
    if (err && tape->err.code)
        *err = tape->err;
    return tape->err.code;
}

void *
mete_tape_take(mete_tape *tape, size_t bytes)
{
    void *taken = mete__arena_take(tape->arena, bytes);
    if (!taken && !tape->err.code)
        mete_error_set(&tape->err, METE_ENOMEM, "out of memory for %zu bytes on a tape", bytes);
    return taken;
}

void
mete_tape_keep(mete_tape *tape, void *pointer)
{
    tape->kept = pointer;
}

void *
mete_tape_kept(const mete_tape *tape)
{
    return tape->kept;
}

size_t
mete__tape_blocks(const mete_tape *tape)
{
    return mete__arena_blocks(tape->arena);
}

mete_var *
mete__op_fail(mete_tape *tape, const char *what, const mete_var *a, const mete_var *b)
{
    if (tape->err.code)
        return NULL;
    if (a && b)
        mete_error_set(&tape->err, METE_EPLUGIN, "%s: %zu x %zu does not fit %zu x %zu", what,
                       a->rows, a->columns, b->rows, b->columns);
    else
        mete_error_set(&tape->err, METE_EPLUGIN, "%s: wrong shape or missing input", what);
    return NULL;
}

static mete__op *
record(mete_tape *tape, size_t rows, size_t columns)
{
    mete__op *op = tape->err.code ? NULL : mete_tape_take(tape, sizeof *op);
    if (!op)
        return NULL;
    memset(op, 0, sizeof *op);
    op->var.rows = rows;
    op->var.columns = columns;
    op->var.op = op;
    op->before = tape->last;
    tape->last = op;
    return op;
}

mete_var *
mete__op_new(mete_tape *tape, size_t rows, size_t columns, mete_back back, mete_var *a, mete_var *b,
             mete_var *c, void *memory)
{
    mete__op *op = record(tape, rows, columns);
    if (!op || !(op->var.data = mete_tape_take(tape, rows * columns * sizeof(float))))
        return NULL;
    mete_var *input[] = {a, b, c};
    for (size_t i = 0; i < 3; i++) {
        op->input[i] = input[i];
        op->wants |= input[i] && ((mete__op *)input[i]->op)->wants;
    }
    op->back = back;
    op->memory = memory;
    return &op->var;
}

void
mete__op_fourth(mete_var *y, mete_var *input)
{
    mete__op *op = y->op;
    op->input[3] = input;
    op->wants |= input && ((mete__op *)input->op)->wants;
}

int
mete__packs(const uint32_t *offset, size_t sequences, size_t n)
{
    int fits = offset[0] == 0 && offset[sequences] == n;
    for (size_t s = 0; s < sequences; s++)
        fits &= offset[s] <= offset[s + 1];
    return fits;
}

size_t
mete__longest(const uint32_t *offset, size_t sequences)
{
    size_t longest = 0;
    for (size_t s = 0; s < sequences; s++)
        longest = offset[s + 1] - offset[s] > longest ? offset[s + 1] - offset[s] : longest;
    return longest;
}

mete_var *
mete_custom(mete_tape *tape, size_t rows, size_t columns, mete_back back, mete_var *const *input,
            size_t inputs, void *memory)
{
    mete_var *var = mete__op_new(tape, rows, columns, back, NULL, NULL, NULL, memory);
    if (!var || inputs > METE__INPUTS)
        return var ? mete__op_fail(tape, "custom", NULL, NULL) : NULL;
    mete__op *op = var->op;
    for (size_t i = 0; i < inputs; i++) {
        if (!input[i])
            return mete__op_fail(tape, "custom", NULL, NULL);
        op->input[i] = input[i];
        op->wants |= ((mete__op *)input[i]->op)->wants;
    }
    return var;
}

mete_var *
mete_input(mete_tape *tape, const float *data, size_t rows, size_t columns)
{
    mete__op *op = record(tape, rows, columns);
    if (!op)
        return NULL;
    op->var.data = (float *)(uintptr_t)data; /* borrowed, and never written */
    return &op->var;
}

mete_var *
mete_weights(mete_tape *tape, const float *vector, size_t offset, size_t rows, size_t columns)
{
    mete_var *var = mete_input(tape, vector + offset, rows, columns);
    if (!var)
        return NULL;
    mete__op *op = var->op;
    op->wants = op->parameter = 1;
    op->offset = offset;
    return var;
}

float *
mete_grad_of(mete_tape *tape, mete_var *x)
{
    mete__op *op = x->op;
    if (!op->wants)
        return NULL;
    if (!x->grad && op->parameter)
        x->grad = tape->flat + op->offset; /* adds straight into the flat vector */
    else if (!x->grad && (x->grad = mete_tape_take(tape, x->rows * x->columns * sizeof(float))))
        memset(x->grad, 0, x->rows * x->columns * sizeof(float));
    return x->grad;
}

void
mete_seed(mete_tape *tape, mete_var *x, const float *adjoint)
{
    if (!x || !((mete__op *)x->op)->wants || ((mete__op *)x->op)->parameter)
        return;
    float *grad = mete_grad_of(tape, x);
    for (size_t i = 0; grad && i < x->rows * x->columns; i++)
        grad[i] += adjoint ? adjoint[i] : 1;
}

static void
backward_from(mete_tape *tape, mete__op *last)
{
    for (mete__op *op = last; op && !tape->err.code; op = op->before)
        if (op->back && op->wants && op->var.grad)
            op->back(tape, &op->var, op->input, op->memory);
}

int
mete_tape_backward(mete_tape *tape, float *grad)
{
    tape->flat = grad;
    backward_from(tape, tape->last);
    tape->flat = NULL;
    return tape->err.code;
}

struct checkpoint {
    mete_segment segment;
    void *memory;
    size_t inputs;
};

/* The segment once more, this time to stay until its own backward is done. The inputs' gradients
 * are made before the mark, for they outlive it. */
static void
checkpoint_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct checkpoint *c = memory;
    for (size_t i = 0; i < c->inputs; i++)
        mete_grad_of(tape, in[i]);
    mete__arena_mark mark = mete__arena_marked(tape->arena);
    mete__op *last = tape->last;
    tape->last = NULL;
    mete_var *again = c->segment(tape, in, c->memory);
    mete_seed(tape, again, y->grad);
    backward_from(tape, tape->last);
    tape->last = last;
    mete__arena_release(tape->arena, mark);
}

mete_var *
mete_checkpoint(mete_tape *tape, size_t rows, size_t columns, mete_segment segment,
                mete_var *const *input, size_t inputs, void *memory)
{
    struct checkpoint *c = mete_tape_take(tape, sizeof *c);
    mete_var *y = mete_custom(tape, rows, columns, checkpoint_back, input, inputs, c);
    if (!c || !y)
        return NULL;
    *c = (struct checkpoint){segment, memory, inputs};
    mete__op *op = y->op;
    mete__arena_mark mark = mete__arena_marked(tape->arena);
    mete_var *result = segment(tape, op->input, memory);
    if (result && (result->rows != rows || result->columns != columns))
        result = mete__op_fail(tape, "checkpoint", result, y);
    if (result) {
        memcpy(y->data, result->data, rows * columns * sizeof(float));
        op->wants = ((mete__op *)result->op)->wants;
    }
    tape->last = op;
    mete__arena_release(tape->arena, mark);
    return result ? y : NULL;
}
