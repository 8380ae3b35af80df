/* program.h - what the parser and the evaluator of `expr` share: a typed stack program. */
#ifndef EXPR_PROGRAM_H
#define EXPR_PROGRAM_H

#include <mete/reward.h>

enum { EXPR_MOST_STEPS = 512, EXPR_MOST_INPUTS = 64, EXPR_MOST_DEPTH = 48, EXPR_NAME = 64 };

/* What an expression reads. */
enum expr_source {
    EXPR_CHILD,     /* a child's value times its weight */
    EXPR_SIGNAL,    /* child.signal */
    EXPR_FIELD,     /* a column: text read as a number, or a number per step */
    EXPR_ITERATION, /* of the run, from 0 */
    EXPR_LENGTH,    /* bytes of the response */
    EXPR_STEPS      /* steps of the row (for text: tokens) */
};

struct expr_input {
    enum expr_source source;
    int per_step;
    size_t child;
    char name[EXPR_NAME]; /* of the signal or field */
    mete_field field;
};

enum expr_op {
    EXPR_NUMBER, /* pushes `number` */
    EXPR_LOAD,   /* pushes input; a row it is not valid for is not valid */
    EXPR_OR,     /* top = the input where it is valid, else top */
    EXPR_SPREAD, /* slot `depth` below the top: a value per row becomes one per step */
    EXPR_SUM,    /* of a row's steps */
    EXPR_MEAN,
    EXPR_LAST,
    EXPR_PEAK, /* largest of a row's steps */
    EXPR_NEGATE,
    EXPR_NOT,
    EXPR_ABS,
    EXPR_EXP,
    EXPR_LOG,
    EXPR_SQRT,
    EXPR_TANH,
    EXPR_SIGMOID,
    EXPR_FLOOR,
    EXPR_ADD,
    EXPR_SUBTRACT,
    EXPR_MULTIPLY,
    EXPR_DIVIDE,
    EXPR_POWER,
    EXPR_MIN,
    EXPR_MAX,
    EXPR_LESS,
    EXPR_LESS_EQUAL,
    EXPR_EQUAL,
    EXPR_NOT_EQUAL,
    EXPR_AND,
    EXPR_OR_ELSE,
    EXPR_CLIP,  /* x, lo, hi */
    EXPR_CHOOSE /* condition, then, else */
};

struct expr_step {
    enum expr_op op;
    uint16_t input, depth;
    int per_step; /* of the result */
    double number;
};

struct expr_program {
    struct expr_step step[EXPR_MOST_STEPS];
    struct expr_input input[EXPR_MOST_INPUTS];
    size_t steps, inputs, depth; /* depth: most values on the stack */
    int per_step;                /* of the whole */
};

/* Number of the input that `name` (and `signal`, or NULL) stands for, or -1 with the error
 * recorded; asked by the parser, answered by the plugin, which knows children and columns. */
int expr_input_find(mete_ctx *cx, void *self, const char *name, const char *signal);

/* Compiles `text`; errors name the place. */
int expr_compile(mete_ctx *cx, void *self, const char *text, struct expr_program *out);

/* Values of one input over the rows or steps of a batch; valid [episodes] or NULL (everywhere). */
struct expr_values {
    const double *value;
    const uint8_t *status;
};

/* Runs the program: the result [episodes], or [steps] when program->per_step. Rows whose inputs
 * are not valid get the worst of their statuses in `status`. NULL when out of memory. */
const double *expr_run(mete_ctx *cx, const struct expr_program *program, const mete_batch *batch,
                       const struct expr_values *values, uint8_t *status);

#endif
