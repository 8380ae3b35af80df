/* compile.c - an expression to a stack program, by precedence climbing. Every value is known to be
 * one per row or one per step when it is compiled, so nothing is decided per item. */
#include "program.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    mete_ctx *cx;
    void *self;
    const char *text, *at;
    struct expr_program *out;
    int per_step[EXPR_MOST_DEPTH]; /* of each value on the stack */
    size_t depth, nesting;
    int status;
};

static int
fail(struct parser *p, const char *what)
{
    if (!p->status)
        p->status = mete_fail(p->cx, METE_EINVAL, "value: %s at character %zu, before '%.20s'",
                              what, (size_t)(p->at - p->text) + 1, p->at);
    return p->status;
}

static void
skip(struct parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static int
accept(struct parser *p, const char *word)
{
    skip(p);
    size_t n = strlen(word);
    if (strncmp(p->at, word, n) != 0)
        return 0;
    p->at += n;
    return 1;
}

static void
expect(struct parser *p, const char *word, const char *what)
{
    if (!p->status && !accept(p, word))
        fail(p, what);
}

/* Appends a step; the stack loses `takes` values and gains one, per step or not. */
static void
emit(struct parser *p, struct expr_step step, size_t takes, int per_step)
{
    if (p->status)
        return;
    if (p->out->steps == EXPR_MOST_STEPS || p->depth - takes >= EXPR_MOST_DEPTH) {
        fail(p, "the expression is too long");
        return;
    }
    step.per_step = per_step;
    p->out->step[p->out->steps++] = step;
    p->depth -= takes;
    p->per_step[p->depth++] = per_step;
    p->out->depth = p->depth > p->out->depth ? p->depth : p->out->depth;
}

/* An operator over the top `count` values: brought to steps when any of them is per step. */
static void
apply(struct parser *p, enum expr_op op, size_t count)
{
    int per_step = 0;
    for (size_t k = 0; k < count && !p->status; k++)
        per_step |= p->per_step[p->depth - 1 - k];
    for (size_t k = 0; k < count && per_step && !p->status; k++) {
        int *slot = &p->per_step[p->depth - 1 - k];
        if (*slot)
            continue;
        if (p->out->steps == EXPR_MOST_STEPS) {
            fail(p, "the expression is too long");
            return;
        }
        p->out->step[p->out->steps++] =
            (struct expr_step){.op = EXPR_SPREAD, .depth = (uint16_t)k, .per_step = 1};
        *slot = 1;
    }
    emit(p, (struct expr_step){.op = op}, count, per_step);
}

static void expression(struct parser *p);

static int
read_name(struct parser *p, char *name)
{
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || p->at[n] == '_')
        n++;
    if (n == 0 || n >= EXPR_NAME) {
        fail(p, n ? "the name is too long" : "a name is missing");
        return 0;
    }
    memcpy(name, p->at, n);
    name[n] = 0;
    p->at += n;
    return 1;
}

/* NAME or NAME.signal, as the number of an input; -1 after an error. */
static int
input_of(struct parser *p, const char *name)
{
    char signal[EXPR_NAME];
    int dotted = *p->at == '.';
    if (dotted) {
        p->at++;
        if (!read_name(p, signal))
            return -1;
    }
    int input = expr_input_find(p->cx, p->self, name, dotted ? signal : NULL);
    if (input < 0)
        p->status = p->status ? p->status : input;
    return input;
}

/* or(NAME, fallback): the input where it is valid. */
static void
or_call(struct parser *p)
{
    char name[EXPR_NAME];
    skip(p);
    int input = read_name(p, name) ? input_of(p, name) : -1;
    expect(p, ",", "or(NAME, fallback) needs its ','");
    expression(p);
    expect(p, ")", "a ')' is missing");
    if (p->status)
        return;
    if (p->out->input[input].per_step) {
        fail(p, "or() takes a value per row");
        return;
    }
    if (p->per_step[p->depth - 1])
        fail(p, "the fallback of or() must be a value per row");
    emit(p, (struct expr_step){.op = EXPR_OR, .input = (uint16_t)input}, 1, 0);
}

static const struct {
    const char *name;
    enum expr_op op;
    size_t count;
} calls[] = {{"abs", EXPR_ABS, 1},   {"exp", EXPR_EXP, 1},     {"log", EXPR_LOG, 1},
             {"sqrt", EXPR_SQRT, 1}, {"tanh", EXPR_TANH, 1},   {"sigmoid", EXPR_SIGMOID, 1},
             {"sum", EXPR_SUM, 1},   {"floor", EXPR_FLOOR, 1}, {"mean", EXPR_MEAN, 1},
             {"last", EXPR_LAST, 1}, {"peak", EXPR_PEAK, 1},   {"min", EXPR_MIN, 2},
             {"max", EXPR_MAX, 2},   {"clip", EXPR_CLIP, 3}};

static void
call(struct parser *p, const char *name)
{
    size_t k = 0, count = 1, most = sizeof calls / sizeof *calls;
    while (k < most && strcmp(calls[k].name, name) != 0)
        k++;
    if (k == most) {
        fail(p, "no such function (abs exp log sqrt tanh sigmoid floor min max clip or, and of "
                "steps sum mean last peak), called");
        return;
    }
    expression(p);
    while (!p->status && accept(p, ",")) {
        expression(p);
        /* min and max take any number: fold as they come */
        if (calls[k].count == 2 && !p->status)
            apply(p, calls[k].op, 2);
        count++;
    }
    expect(p, ")", "a ')' is missing");
    if (!p->status && calls[k].count != (calls[k].count == 2 && count > 1 ? 2 : count))
        fail(p, "the wrong number of arguments");
    if (p->status || calls[k].count == 2)
        return;
    if (calls[k].op >= EXPR_SUM && calls[k].op <= EXPR_PEAK) {
        if (!p->per_step[p->depth - 1])
            fail(p, "sum, mean, last and peak take a value per step");
        emit(p, (struct expr_step){.op = calls[k].op}, 1, 0);
        return;
    }
    apply(p, calls[k].op, count);
}

static void
primary(struct parser *p)
{
    char name[EXPR_NAME];
    skip(p);
    if (p->status)
        return;
    if (accept(p, "(")) {
        expression(p);
        expect(p, ")", "a ')' is missing");
    } else if (isdigit((unsigned char)*p->at) || *p->at == '.') {
        char *end;
        double number = strtod(p->at, &end);
        if (end == p->at || number > 1e300) {
            fail(p, "not a number");
            return;
        }
        p->at = end;
        emit(p, (struct expr_step){.op = EXPR_NUMBER, .number = number}, 0, 0);
    } else if (isalpha((unsigned char)*p->at) || *p->at == '_') {
        if (!read_name(p, name))
            return;
        if (accept(p, "(")) {
            if (strcmp(name, "or") == 0)
                or_call(p);
            else
                call(p, name);
            return;
        }
        int input = input_of(p, name);
        if (input >= 0)
            emit(p, (struct expr_step){.op = EXPR_LOAD, .input = (uint16_t)input}, 0,
                 p->out->input[input].per_step);
    } else {
        fail(p, "a number, a name or '(' is missing");
    }
}

static void
unary(struct parser *p)
{
    if (++p->nesting > EXPR_MOST_DEPTH) {
        fail(p, "nested too deeply");
        return;
    }
    skip(p);
    if (accept(p, "-")) {
        unary(p);
        apply(p, EXPR_NEGATE, 1);
    } else if (p->at[0] == '!' && p->at[1] != '=') {
        p->at++;
        unary(p);
        apply(p, EXPR_NOT, 1);
    } else {
        primary(p);
        if (!p->status && accept(p, "^")) {
            unary(p);
            apply(p, EXPR_POWER, 2);
        }
    }
    p->nesting--;
}

/* Longer words come before their beginnings. `swap`: a > b is b < a, compiled by swapping. */
static const struct {
    const char *word;
    int level;
    enum expr_op op;
} operators[] = {{"||", 1, EXPR_OR_ELSE},   {"&&", 2, EXPR_AND},        {"==", 3, EXPR_EQUAL},
                 {"!=", 3, EXPR_NOT_EQUAL}, {"<=", 4, EXPR_LESS_EQUAL}, {">=", 4, EXPR_LESS},
                 {"<", 4, EXPR_LESS},       {">", 4, EXPR_LESS_EQUAL},  {"+", 5, EXPR_ADD},
                 {"-", 5, EXPR_SUBTRACT},   {"*", 6, EXPR_MULTIPLY},    {"/", 6, EXPR_DIVIDE}};

static void
binary(struct parser *p, int least)
{
    unary(p);
    while (!p->status) {
        size_t k = 0, most = sizeof operators / sizeof *operators;
        skip(p);
        while (k < most && strncmp(p->at, operators[k].word, strlen(operators[k].word)) != 0)
            k++;
        if (k == most || operators[k].level < least)
            return;
        p->at += strlen(operators[k].word);
        binary(p, operators[k].level + 1);
        apply(p, operators[k].op, 2);
        if (operators[k].word[0] == '>') /* a >= b is !(a < b), a > b is !(a <= b) */
            apply(p, EXPR_NOT, 1);
    }
}

static void
expression(struct parser *p)
{
    if (++p->nesting > EXPR_MOST_DEPTH) {
        fail(p, "nested too deeply");
        return;
    }
    binary(p, 1);
    if (!p->status && accept(p, "?")) {
        expression(p);
        expect(p, ":", "the ':' of a ? b : c is missing");
        expression(p);
        apply(p, EXPR_CHOOSE, 3);
    }
    p->nesting--;
}

int
expr_compile(mete_ctx *cx, void *self, const char *text, struct expr_program *out)
{
    struct parser p = {.cx = cx, .self = self, .text = text, .at = text, .out = out};
    expression(&p);
    skip(&p);
    if (!p.status && *p.at)
        fail(&p, "the expression ends, but more follows,");
    if (!p.status)
        out->per_step = p.per_step[0];
    return p.status;
}
