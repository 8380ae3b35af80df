/* shape.c - the sizes of a transformer, from its options or from a published config.json. */
#include "transformer.h"

#include <math.h>
#include <string.h>

#define SIZE_MOST 10000000 /* of any one size in a config.json */
#define TWO_PI 6.28318530717958647692

static const char *const family_name[] = {"llama", "qwen2", "qwen3", "gpt2"};

/* What a family always has. */
static void
family_habits(struct shape *s, int family)
{
    int gpt2 = family == FAMILY_GPT2;
    s->gated = s->rotary = !gpt2;
    s->layer_norm = s->bias = gpt2;
    s->qkv_bias = gpt2 || family == FAMILY_QWEN2;
    s->qk_norm = family == FAMILY_QWEN3;
}

/* Frequencies of rotary positions: theta^(-2i/head). */
static int
frequencies(mete_ctx *cx, struct transformer *p, double theta)
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
    family_habits(s, p->family);
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
    return frequencies(cx, p, 10000);
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

/* ---- config.json ----------------------------------------------------------------------------- */

struct reading {
    mete_ctx *cx;
    const char *path;
    const mete_json *root;
    int status;
};

static size_t
size_in(struct reading *r, const char *key, size_t absent)
{
    const mete_json *at = mete_json_get(r->root, key);
    double n = mete_json_number(at);
    if (mete_json_kind(at) == METE_JSON_NONE || mete_json_kind(at) == METE_JSON_NULL) {
        if (!absent && !r->status)
            r->status = mete_fail(r->cx, METE_EDATA, "%s: \"%s\" is missing", r->path, key);
        return absent;
    }
    if (!(n >= 1 && n <= SIZE_MOST) || n != floor(n)) {
        if (!r->status)
            r->status = mete_fail(r->cx, METE_EDATA,
                                  "%s: \"%s\" must be a whole number from 1 to "
                                  "%d",
                                  r->path, key, SIZE_MOST);
        return 1;
    }
    return (size_t)n;
}

static double
number_in(struct reading *r, const mete_json *group, const char *key, double absent, double lo,
          double hi)
{
    const mete_json *at = mete_json_get(group, key);
    double n = mete_json_number(at);
    if (mete_json_kind(at) == METE_JSON_NONE || mete_json_kind(at) == METE_JSON_NULL)
        return absent;
    if (!(n >= lo && n <= hi) && !r->status)
        r->status = mete_fail(r->cx, METE_EDATA, "%s: \"%s\" must be a number from %g to %g",
                              r->path, key, lo, hi);
    return n;
}

/* Whether the head is the embedding; families differ in what they mean by silence. */
static int
tied_in(const struct reading *r, int absent)
{
    const mete_json *at = mete_json_get(r->root, "tie_word_embeddings");
    return mete_json_kind(at) == METE_JSON_BOOL ? mete_json_bool(at) : absent;
}

/* A setting that changes what is computed and that mete knows one value of. */
static void
only(struct reading *r, const char *key, const char *const *known, size_t count)
{
    const mete_json *at = mete_json_get(r->root, key);
    mete_text value = mete_json_text(at);
    if (mete_json_kind(at) == METE_JSON_BOOL)
        value = mete_text_from(mete_json_bool(at) ? "true" : "false");
    for (size_t i = 0; i < count; i++)
        if (mete_text_is(value, known[i]))
            return;
    if (mete_json_kind(at) != METE_JSON_NONE && mete_json_kind(at) != METE_JSON_NULL && !r->status)
        r->status = mete_fail(r->cx, METE_ENOTSUP, "%s: \"%s\" is \"%.*s\"; mete computes \"%s\"",
                              r->path, key, (int)(value.length < 40 ? value.length : 40),
                              value.data ? value.data : "", known[0]);
}

/* Llama 3.1's stretching of long wavelengths: those over `original / low` are slowed by `factor`,
 * those under `original / high` kept, the ones between in proportion. */
static void
stretch(struct reading *r, struct transformer *p, const mete_json *scaling)
{
    double factor = number_in(r, scaling, "factor", 1, 1e-3, 1e6);
    double low = number_in(r, scaling, "low_freq_factor", 1, 1e-3, 1e6);
    double high = number_in(r, scaling, "high_freq_factor", 4, 1e-3, 1e6);
    double original = number_in(r, scaling, "original_max_position_embeddings", 8192, 1, 1e9);
    if (!(low < high) && !r->status)
        r->status = mete_fail(r->cx, METE_EDATA,
                              "%s: \"high_freq_factor\" must exceed "
                              "\"low_freq_factor\"",
                              r->path);
    p->shape.factor = factor;
    p->shape.low = low;
    p->shape.high = high;
    p->shape.original = original;
    for (size_t i = 0; i < p->shape.head / 2 && !r->status; i++) {
        double f = (double)p->frequency[i], length = TWO_PI / f;
        double smooth = (original / length - low) / (high - low);
        smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
        p->frequency[i] = (float)((1 - smooth) * f / factor + smooth * f);
    }
}

static void
read_rope(struct reading *r, struct transformer *p)
{
    /* Newer files keep theta beside the scaling, under rope_parameters. */
    const mete_json *newer = mete_json_get(r->root, "rope_parameters");
    const mete_json *scaling = newer ? newer : mete_json_get(r->root, "rope_scaling");
    double theta = number_in(r, r->root, "rope_theta", 10000, 1, 1e12);
    theta = number_in(r, newer, "rope_theta", theta, 1, 1e12);
    if (!r->status)
        r->status = frequencies(r->cx, p, theta);
    mete_text type = mete_json_text(mete_json_get(scaling, "rope_type"));
    if (!type.length)
        type = mete_json_text(mete_json_get(scaling, "type"));
    if (r->status || !type.length || mete_text_is(type, "default"))
        return;
    if (mete_text_is(type, "llama3"))
        stretch(r, p, scaling);
    else
        r->status = mete_fail(r->cx, METE_ENOTSUP,
                              "%s: rope type \"%.*s\" is not known; \"default\" "
                              "and \"llama3\" are",
                              r->path, (int)(type.length < 40 ? type.length : 40), type.data);
}

static void
read_gpt2(struct reading *r, struct transformer *p)
{
    static const char *const gelu[] = {"gelu_new", "gelu_pytorch_tanh"}, *const yes[] = {"true"},
                             *const no[] = {"false"};
    struct shape *s = &p->shape;
    s->width = size_in(r, "n_embd", 0);
    s->layers = size_in(r, "n_layer", 0);
    s->heads = s->groups = size_in(r, "n_head", 0);
    s->context = size_in(r, "n_positions", 0);
    s->hidden = size_in(r, "n_inner", 4 * s->width);
    s->tied = tied_in(r, 1);
    s->epsilon = (float)number_in(r, r->root, "layer_norm_epsilon", 1e-5, 0, 1);
    only(r, "activation_function", gelu, 2);
    only(r, "scale_attn_weights", yes, 1);
    only(r, "scale_attn_by_inverse_layer_idx", no, 1);
    if (fabsf(s->epsilon - 1e-5f) > 1e-9f && !r->status)
        r->status = mete_fail(r->cx, METE_ENOTSUP,
                              "%s: \"layer_norm_epsilon\" is %g; mete computes "
                              "with 1e-05",
                              r->path, (double)s->epsilon);
    if (s->heads && s->width % s->heads && !r->status)
        r->status = mete_fail(r->cx, METE_EDATA, "%s: \"n_embd\" must be a multiple of \"n_head\"",
                              r->path);
    s->head = s->heads ? s->width / s->heads : 0;
}

static void
read_llama(struct reading *r, struct transformer *p)
{
    static const char *const silu[] = {"silu"}, *const no[] = {"false"};
    struct shape *s = &p->shape;
    s->width = size_in(r, "hidden_size", 0);
    s->layers = size_in(r, "num_hidden_layers", 0);
    s->heads = size_in(r, "num_attention_heads", 0);
    s->groups = size_in(r, "num_key_value_heads", s->heads ? s->heads : 1);
    s->hidden = size_in(r, "intermediate_size", 0);
    s->context = size_in(r, "max_position_embeddings", 0);
    s->head = size_in(r, "head_dim", s->heads ? s->width / s->heads + (s->width < s->heads) : 1);
    s->epsilon = (float)number_in(r, r->root, "rms_norm_eps", 1e-6, 0, 1);
    s->tied = tied_in(r, 0);
    only(r, "hidden_act", silu, 1);
    only(r, "mlp_bias", no, 1);
    only(r, "use_sliding_window", no, 1);
    if (p->family == FAMILY_LLAMA || p->family == FAMILY_QWEN3)
        only(r, "attention_bias", no, 1);
    if (!r->status && (s->heads % s->groups || s->head % 2))
        r->status = mete_fail(r->cx, METE_EDATA,
                              "%s: \"num_attention_heads\" must be a multiple of "
                              "\"num_key_value_heads\", and a head's size even",
                              r->path);
    if (!r->status)
        read_rope(r, p);
}

static int32_t
token_in(const mete_json *root, const char *key)
{
    const mete_json *at = mete_json_get(root, key);
    if (mete_json_kind(at) == METE_JSON_ARRAY)
        at = mete_json_at(at, 0);
    double n = mete_json_number(at);
    return n >= 0 && n < SIZE_MOST ? (int32_t)n : -1;
}

int
shape_from_config(mete_ctx *cx, struct transformer *p)
{
    char path[4096];
    mete_error err = {0};
    mete_buffer text = mete_buffer_make(0);
    snprintf(path, sizeof path, "%s/config.json", p->load);
    int status = mete_file_read(path, (size_t)1 << 20, &text, &err);
    mete_json *root = status ? NULL : mete_json_parse(mete_buffer_view(&text), &err);
    struct reading r = {cx, path, root, METE_OK};
    mete_text type = mete_json_text(mete_json_get(root, "model_type"));
    if (!root)
        r.status = status ? mete_fail(cx, err.code, "%s", err.message)
                          : mete_fail(cx, METE_EDATA, "%s: %s", path, err.message);
    int family = 0;
    while (!r.status && family < 4 && !mete_text_is(type, family_name[family]))
        family++;
    if (family == 4)
        r.status = mete_fail(
            cx, METE_ENOTSUP, "%s: \"model_type\" is \"%.*s\"; llama, qwen2, qwen3 and gpt2 load",
            path, (int)(type.length < 40 ? type.length : 40), type.data ? type.data : "");
    if (!r.status) {
        p->family = family;
        p->shape = (struct shape){0};
        family_habits(&p->shape, family);
        p->shape.vocabulary = size_in(&r, "vocab_size", 0);
        (family == FAMILY_GPT2 ? read_gpt2 : read_llama)(&r, p);
        p->shape.begin = token_in(root, "bos_token_id");
        p->shape.end = token_in(root, "eos_token_id");
    }
    mete_json_free(root);
    mete_buffer_free(&text);
    return r.status;
}
