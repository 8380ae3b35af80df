/* shape.c - the sizes of a transformer, from its options. */
#include "transformer.h"

#include <math.h>

void
shape_habits(struct shape *s, int family)
{
    int gpt2 = family == FAMILY_GPT2;
    s->gated = s->rotary = !gpt2;
    s->layer_norm = s->bias = gpt2;
    s->qkv_bias = gpt2 || family == FAMILY_QWEN2;
    s->qk_norm = family == FAMILY_QWEN3;
}

int
shape_frequencies(mete_ctx *cx, struct transformer *p, double theta)
{
    p->shape.theta = theta;
    size_t half = p->shape.head / 2;
    if (!p->shape.rotary)
        return METE_OK;
    if (!(p->frequency = mete_alloc(cx, (half + 1) * sizeof *p->frequency)))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < half; i++)
        p->frequency[i] = (float)pow(theta, -2.0 * (double)i / (double)p->shape.head);
    return METE_OK;
}

int
shape_from_options(mete_ctx *cx, struct transformer *p)
{
    struct shape *s = &p->shape;
    *s = (struct shape){.layers = (size_t)p->layers,
                        .width = (size_t)p->width,
                        .heads = (size_t)p->heads,
                        .groups = p->groups ? (size_t)p->groups : (size_t)p->heads,
                        .context = (size_t)p->context,
                        .tied = p->tie,
                        .epsilon = 1e-5f,
                        .begin = -1,
                        .end = -1};
    shape_habits(s, p->family);
    if (s->width % s->heads || (s->rotary && s->width / s->heads % 2))
        return mete_fail(cx, METE_EINVAL, "width = %zu must be a multiple of heads = %zu%s",
                         s->width, s->heads, s->rotary ? ", an even one" : "");
    if (s->heads % s->groups)
        return mete_fail(cx, METE_EINVAL, "heads = %zu must be a multiple of groups = %zu",
                         s->heads, s->groups);
    if (p->family == FAMILY_GPT2 && s->groups != s->heads)
        return mete_fail(cx, METE_EINVAL, "groups = %zu: gpt2 has as many as heads, %zu", s->groups,
                         s->heads);
    s->head = s->width / s->heads;
    /* A gated unit has three matrices where a plain one has two. */
    size_t usual = s->gated ? (s->width * 8 / 3 + 7) / 8 * 8 : 4 * s->width;
    s->hidden = p->hidden ? (size_t)p->hidden : usual;
    if (p->max_tokens >= p->context)
        return mete_fail(cx, METE_EINVAL, "max_tokens = %lld leaves no room in a context of %lld",
                         (long long)p->max_tokens, (long long)p->context);
    return shape_frequencies(cx, p, 10000);
}

void
shape_of(const struct transformer *p, enum role role, size_t *rows, size_t *columns)
{
    const struct shape *s = &p->shape;
    size_t queries = s->heads * s->head, keys = s->groups * s->head, up = s->hidden;
    up *= s->gated ? 2 : 1;
    const struct {
        int has;
        size_t rows, columns;
    } size[ROLES] = {[NORM1] = {1, 1, s->width},
                     [NORM1_BIAS] = {s->layer_norm, 1, s->width},
                     [QKV] = {1, queries + 2 * keys, s->width},
                     [QKV_BIAS] = {s->qkv_bias, 1, queries + 2 * keys},
                     [Q_NORM] = {s->qk_norm, 1, s->head},
                     [K_NORM] = {s->qk_norm, 1, s->head},
                     [OUT] = {1, s->width, queries},
                     [OUT_BIAS] = {s->bias, 1, s->width},
                     [NORM2] = {1, 1, s->width},
                     [NORM2_BIAS] = {s->layer_norm, 1, s->width},
                     [UP] = {1, up, s->width},
                     [UP_BIAS] = {s->bias, 1, up},
                     [DOWN] = {1, s->width, s->hidden},
                     [DOWN_BIAS] = {s->bias, 1, s->width},
                     [EMBED] = {1, s->vocabulary, s->width},
                     [POSITION] = {!s->rotary, s->context, s->width},
                     [NORM] = {1, 1, s->width},
                     [NORM_BIAS] = {s->layer_norm, 1, s->width},
                     [HEAD] = {!s->tied, s->vocabulary, s->width},
                     [VALUE] = {p->critic, 1, s->width},
                     [VALUE_BIAS] = {p->critic, 1, 1}};
    *rows = size[role].has ? size[role].rows : 0;
    *columns = size[role].has ? size[role].columns : 0;
}
