/* convolution.c - convolutions along packed sequences and over images.
 *
 * Along a sequence, each tap is one product of whole runs of rows with a shifted view of them:
 * nothing is copied. Over an image, its patches are laid out as columns ("im2col") and the layer is
 * one product; backward lays them out again rather than keep them. */
#include "nn/tape.h"

#include <string.h>

/* ---- along sequences ------------------------------------------------------------------------- */

struct conv1d {
    size_t width, dilation, ahead, sequences;
    uint32_t *offset;
};

/* The rows [from, to) of a sequence whose tap falls inside it, `shift` rows away. */
struct run {
    size_t from, to;
    ptrdiff_t shift;
};

static struct run
run_of(const struct conv1d *c, size_t sequence, size_t tap)
{
    ptrdiff_t begin = c->offset[sequence], end = c->offset[sequence + 1];
    ptrdiff_t shift = (ptrdiff_t)(tap * c->dilation) + (ptrdiff_t)(c->ahead * c->dilation) -
                      (ptrdiff_t)((c->width - 1) * c->dilation);
    ptrdiff_t from = shift < 0 ? begin - shift : begin, to = shift > 0 ? end - shift : end;
    return (struct run){(size_t)from, (size_t)(to > from ? to : from), shift};
}

static void
conv1d_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct conv1d *c = memory;
    size_t channels = in[0]->columns, outs = y->columns, all = in[1]->columns;
    float *dx = mete_grad_of(tape, in[0]), *dw = mete_grad_of(tape, in[1]);
    float *db = in[2] ? mete_grad_of(tape, in[2]) : NULL;
    for (size_t s = 0; s < c->sequences; s++)
        for (size_t tap = 0; tap < c->width; tap++) {
            struct run r = run_of(c, s, tap);
            size_t n = r.to - r.from, source = (size_t)((ptrdiff_t)r.from + r.shift) * channels;
            if (!n)
                continue;
            const float *g = y->grad + r.from * outs, *w = in[1]->data + tap * channels;
            if (dw)
                mete__product(1, 0, outs, channels, n, 1, g, outs, in[0]->data + source, channels,
                              1, dw + tap * channels, all);
            if (dx)
                mete__product(0, 0, n, channels, outs, 1, g, outs, w, all, 1, dx + source,
                              channels);
        }
    if (db)
        mete__add_rows(y->grad, y->rows, outs, db);
}

mete_var *
mete_conv1d(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b, size_t width, size_t dilation,
            size_t ahead, const uint32_t *offset, size_t sequences)
{
    if (!x || !w || !width || !dilation || ahead >= width || w->columns != width * x->columns ||
        (b && b->rows * b->columns != w->rows) || !mete__packs(offset, sequences, x->rows))
        return mete__op_fail(tape, "conv1d", x, w);
    struct conv1d *c = mete_tape_take(tape, sizeof *c);
    uint32_t *kept = mete_tape_take(tape, (sequences + 1) * sizeof *kept);
    mete_var *y = mete__op_new(tape, x->rows, w->rows, conv1d_back, x, w, b, c);
    if (!y || !c || !kept)
        return NULL;
    memcpy(kept, offset, (sequences + 1) * sizeof *kept);
    *c = (struct conv1d){width, dilation, ahead, sequences, kept};
    for (size_t i = 0; i < y->rows; i++)
        if (b)
            memcpy(y->data + i * w->rows, b->data, w->rows * sizeof(float));
        else
            memset(y->data + i * w->rows, 0, w->rows * sizeof(float));
    for (size_t s = 0; s < sequences; s++)
        for (size_t tap = 0; tap < width; tap++) {
            struct run r = run_of(c, s, tap);
            size_t n = r.to - r.from, source = (size_t)((ptrdiff_t)r.from + r.shift) * x->columns;
            if (n)
                mete__product(0, 1, n, w->rows, x->columns, 1, x->data + source, x->columns,
                              w->data + tap * x->columns, w->columns, 1, y->data + r.from * w->rows,
                              w->rows);
        }
    return y;
}

/* ---- over images ----------------------------------------------------------------------------- */

struct conv2d {
    mete_conv2d_shape shape;
    size_t tall, broad; /* of the result */
    float *patch;       /* [channels x kernel x kernel, tall x broad] */
};

/* Lays an image's patches out, or (dimage) adds the patches there are onto where they came from. */
static void
patches(const struct conv2d *c, const float *image, float *dimage)
{
    const mete_conv2d_shape *s = &c->shape;
    size_t taps = s->kernel * s->kernel;
    float *to = c->patch;
    for (size_t k = 0; k < s->channels * taps; k++) {
        size_t plane = k / taps * s->height * s->width;
        size_t down = k % taps / s->kernel, right = k % s->kernel;
        for (size_t i = 0; i < c->tall; i++)
            for (size_t j = 0; j < c->broad; j++, to++) {
                /* unsigned: above or left of the image is far past its end */
                size_t row = i * s->stride + down - s->padding;
                size_t column = j * s->stride + right - s->padding;
                int inside = row < s->height && column < s->width;
                size_t at = inside ? plane + row * s->width + column : 0;
                if (!dimage)
                    *to = inside ? image[at] : 0;
                else if (inside)
                    dimage[at] += *to;
            }
    }
}

static void
conv2d_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct conv2d *c = memory;
    size_t places = c->tall * c->broad, outs = in[1]->rows, all = in[1]->columns;
    float *dx = mete_grad_of(tape, in[0]), *dw = mete_grad_of(tape, in[1]);
    float *db = in[2] ? mete_grad_of(tape, in[2]) : NULL;
    for (size_t i = 0; i < y->rows; i++) {
        const float *g = y->grad + i * y->columns;
        if (dw) {
            patches(c, in[0]->data + i * in[0]->columns, NULL);
            mete__product(0, 1, outs, all, places, 1, g, places, c->patch, places, 1, dw, all);
        }
        if (dx) {
            mete__product(1, 0, all, places, outs, 1, in[1]->data, all, g, places, 0, c->patch,
                          places);
            patches(c, NULL, dx + i * in[0]->columns);
        }
        for (size_t k = 0; db && k < outs * places; k++)
            db[k / places] += g[k];
    }
}

mete_var *
mete_conv2d(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b, mete_conv2d_shape shape)
{
    const mete_conv2d_shape *s = &shape;
    if (!x || !w || !s->channels || !s->stride || !s->kernel || s->padding >= s->kernel ||
        s->height + 2 * s->padding < s->kernel || s->width + 2 * s->padding < s->kernel ||
        x->columns != s->channels * s->height * s->width ||
        w->columns != s->channels * s->kernel * s->kernel || (b && b->rows * b->columns != w->rows))
        return mete__op_fail(tape, "conv2d", x, w);
    size_t tall = (s->height + 2 * s->padding - s->kernel) / s->stride + 1;
    size_t broad = (s->width + 2 * s->padding - s->kernel) / s->stride + 1, places = tall * broad;
    struct conv2d *c = mete_tape_take(tape, sizeof *c);
    float *patch = mete_tape_take(tape, w->columns * places * sizeof *patch);
    mete_var *y = mete__op_new(tape, x->rows, w->rows * places, conv2d_back, x, w, b, c);
    if (!y || !c || !patch)
        return NULL;
    *c = (struct conv2d){shape, tall, broad, patch};
    for (size_t i = 0; i < x->rows; i++) {
        float *out = y->data + i * y->columns;
        patches(c, x->data + i * x->columns, NULL);
        for (size_t k = 0; k < y->columns; k++)
            out[k] = b ? b->data[k / places] : 0;
        mete__product(0, 0, w->rows, places, w->columns, 1, w->data, w->columns, patch, places, 1,
                      out, places);
    }
    return y;
}
