/* run.c - a program over a whole batch: each step is one loop over all rows or all steps. */
#include "program.h"

#include <math.h>
#include <string.h>

#define EACH(result)                                                                               \
    for (size_t i = 0; i < n; i++)                                                                 \
    a[i] = (result)

static void
one(enum expr_op op, double *a, size_t n)
{
    switch (op) {
    case EXPR_NEGATE:
        EACH(-a[i]);
        break;
    case EXPR_NOT:
        EACH(a[i] == 0);
        break;
    case EXPR_ABS:
        EACH(fabs(a[i]));
        break;
    case EXPR_EXP:
        EACH(exp(a[i]));
        break;
    case EXPR_LOG:
        EACH(log(a[i]));
        break;
    case EXPR_SQRT:
        EACH(sqrt(a[i]));
        break;
    case EXPR_TANH:
        EACH(tanh(a[i]));
        break;
    case EXPR_SIGMOID:
        EACH(1 / (1 + exp(-a[i])));
        break;
    case EXPR_FLOOR:
        EACH(floor(a[i]));
        break;
    default:
        break;
    }
}

static void
two(enum expr_op op, double *a, const double *b, size_t n)
{
    switch (op) {
    case EXPR_ADD:
        EACH(a[i] + b[i]);
        break;
    case EXPR_SUBTRACT:
        EACH(a[i] - b[i]);
        break;
    case EXPR_MULTIPLY:
        EACH(a[i] * b[i]);
        break;
    case EXPR_DIVIDE:
        EACH(a[i] / b[i]);
        break;
    case EXPR_POWER:
        EACH(pow(a[i], b[i]));
        break;
    case EXPR_MIN:
        EACH(b[i] < a[i] ? b[i] : a[i]);
        break;
    case EXPR_MAX:
        EACH(b[i] > a[i] ? b[i] : a[i]);
        break;
    case EXPR_LESS:
        EACH(a[i] < b[i]);
        break;
    case EXPR_LESS_EQUAL:
        EACH(a[i] <= b[i]);
        break;
    case EXPR_EQUAL:
        EACH(a[i] == b[i]);
        break;
    case EXPR_NOT_EQUAL:
        EACH(a[i] != b[i]);
        break;
    case EXPR_AND:
        EACH(a[i] != 0 && b[i] != 0);
        break;
    case EXPR_OR_ELSE:
        EACH(a[i] != 0 || b[i] != 0);
        break;
    default:
        break;
    }
}

static void
three(enum expr_op op, double *a, const double *b, const double *c, size_t n)
{
    if (op == EXPR_CLIP)
        EACH(a[i] < b[i] ? b[i] : a[i] > c[i] ? c[i] : a[i]);
    else
        EACH(a[i] != 0 ? b[i] : c[i]);
}

static void
spread(const double *from, double *to, const mete_batch *batch)
{
    for (size_t t = 0; t < batch->steps; t++)
        to[t] = from[batch->step_row[t]];
}

static void
reduce(enum expr_op op, const double *a, double *out, const mete_batch *batch)
{
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t from = batch->step_begin[i], to = batch->step_begin[i + 1];
        double sum = 0, peak = from < to ? a[from] : 0;
        for (size_t t = from; t < to; t++) {
            sum += a[t];
            peak = a[t] > peak ? a[t] : peak;
        }
        out[i] = op == EXPR_SUM    ? sum
                 : op == EXPR_MEAN ? (from < to ? sum / (double)(to - from) : 0)
                 : op == EXPR_LAST ? (from < to ? a[to - 1] : 0)
                                   : peak;
    }
}

static void
swap(double **a, double **b)
{
    double *kept = *a;
    *a = *b;
    *b = kept;
}

static void
load(double *a, const struct expr_values *from, size_t n, const mete_batch *batch, uint8_t *status)
{
    memcpy(a, from->value, n * sizeof *a);
    for (size_t i = 0; from->status && i < batch->episodes; i++)
        status[i] = from->status[i] > status[i] ? from->status[i] : status[i];
}

const double *
expr_run(mete_ctx *cx, const struct expr_program *program, const mete_batch *batch,
         const struct expr_values *values, uint8_t *status)
{
    size_t most = batch->steps > batch->episodes ? batch->steps : batch->episodes, top = 0;
    double *stack[EXPR_MOST_DEPTH + 1]; /* the last is room for what changes its level */
    double **spare = &stack[program->depth];
    for (size_t k = 0; k <= program->depth; k++)
        if (!(stack[k] = mete_arena(cx, (most + 1) * sizeof **stack)))
            return NULL;
    for (size_t k = 0; k < program->steps; k++) {
        const struct expr_step *step = &program->step[k];
        size_t n = step->per_step ? batch->steps : batch->episodes;
        switch (step->op) {
        case EXPR_NUMBER:
            for (size_t i = 0; i < n; i++)
                stack[top][i] = step->number;
            top++;
            break;
        case EXPR_LOAD:
            load(stack[top++], &values[step->input], n, batch, status);
            break;
        case EXPR_OR:
            for (size_t i = 0; i < n; i++)
                if (!values[step->input].status || !values[step->input].status[i])
                    stack[top - 1][i] = values[step->input].value[i];
            break;
        case EXPR_SPREAD:
            spread(stack[top - 1 - step->depth], *spare, batch);
            swap(&stack[top - 1 - step->depth], spare);
            break;
        case EXPR_SUM:
        case EXPR_MEAN:
        case EXPR_LAST:
        case EXPR_PEAK:
            reduce(step->op, stack[top - 1], *spare, batch);
            swap(&stack[top - 1], spare);
            break;
        case EXPR_CLIP:
        case EXPR_CHOOSE:
            top -= 2;
            three(step->op, stack[top - 1], stack[top], stack[top + 1], n);
            break;
        default:
            if (step->op < EXPR_ADD) {
                one(step->op, stack[top - 1], n);
            } else {
                top--;
                two(step->op, stack[top - 1], stack[top], n);
            }
        }
    }
    return stack[0];
}
