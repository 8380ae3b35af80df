/* published.c - the matrices of a published checkpoint, in the layouts of Llama, Qwen2, Qwen3 and
 * GPT-2. A matrix of ours joins up to three of theirs, row after row; GPT-2 keeps its matrices the
 * other way round. */
#include "transformer.h"

#include <stdlib.h>
#include <string.h>

#define SCORE "score.weight" /* what reward models have in place of a head */
#define GPT2_PREFIX "transformer."

struct source {
    const char *part[PARTS];
    int turned; /* [columns x rows] in the file */
};

static const struct source llama[ROLES] = {
    [NORM1] = {{"input_layernorm.weight"}, 0},
    [QKV] = {{"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}, 0},
    [QKV_BIAS] = {{"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}, 0},
    [Q_NORM] = {{"self_attn.q_norm.weight"}, 0},
    [K_NORM] = {{"self_attn.k_norm.weight"}, 0},
    [OUT] = {{"self_attn.o_proj.weight"}, 0},
    [NORM2] = {{"post_attention_layernorm.weight"}, 0},
    [UP] = {{"mlp.gate_proj.weight", "mlp.up_proj.weight"}, 0},
    [DOWN] = {{"mlp.down_proj.weight"}, 0},
    [EMBED] = {{"model.embed_tokens.weight"}, 0},
    [NORM] = {{"model.norm.weight"}, 0},
    [HEAD] = {{"lm_head.weight"}, 0}};

static const struct source gpt2[ROLES] = {
    [NORM1] = {{"ln_1.weight"}, 0},      [NORM1_BIAS] = {{"ln_1.bias"}, 0},
    [QKV] = {{"attn.c_attn.weight"}, 1}, [QKV_BIAS] = {{"attn.c_attn.bias"}, 0},
    [OUT] = {{"attn.c_proj.weight"}, 1}, [OUT_BIAS] = {{"attn.c_proj.bias"}, 0},
    [NORM2] = {{"ln_2.weight"}, 0},      [NORM2_BIAS] = {{"ln_2.bias"}, 0},
    [UP] = {{"mlp.c_fc.weight"}, 1},     [UP_BIAS] = {{"mlp.c_fc.bias"}, 0},
    [DOWN] = {{"mlp.c_proj.weight"}, 1}, [DOWN_BIAS] = {{"mlp.c_proj.bias"}, 0},
    [EMBED] = {{"wte.weight"}, 0},       [POSITION] = {{"wpe.weight"}, 0},
    [NORM] = {{"ln_f.weight"}, 0},       [NORM_BIAS] = {{"ln_f.bias"}, 0},
    [HEAD] = {{"lm_head.weight"}, 0}};

/* What files may hold beside parameters: masks, and a head that is the embedding again. */
static int
harmless(const struct transformer *p, const char *name)
{
    static const char *const ends[] = {".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (length >= strlen(ends[i]) && strcmp(name + length - strlen(ends[i]), ends[i]) == 0)
            return 1;
    return (p->shape.tied && strcmp(name, "lm_head.weight") == 0) || strcmp(name, SCORE) == 0;
}

int
published_needs_head(mete_ctx *cx, const struct transformer *p)
{
    return p->headless
               ? mete_fail(cx, METE_ENOTSUP,
                           "%s: is a checkpoint that scores, without a head to write with", p->load)
               : METE_OK;
}

int
published_part(const struct transformer *p, size_t layer, enum role role, size_t k,
               struct part *part)
{
    const struct shape *s = &p->shape;
    int old = p->family == FAMILY_GPT2;
    const struct source *source = &(old ? gpt2 : llama)[role];
    size_t rows, columns;
    shape_of(p, role, &rows, &columns);
    if (!rows || k >= PARTS || !source->part[k])
        return 0;
    part->module = mete_text_from(source->part[k]);
    part->module.length = (size_t)(strrchr(source->part[k], '.') - source->part[k]);
    const char *prefix = old && role != HEAD ? GPT2_PREFIX : "";
    if (role < LAYER_ROLES)
        snprintf(part->name, sizeof part->name, "%s%s.%zu.%s", prefix, old ? "h" : "model.layers",
                 layer, source->part[k]);
    else
        snprintf(part->name, sizeof part->name, "%s%s", prefix, source->part[k]);
    size_t heads = (k ? s->groups : s->heads) * s->head;
    part->rows = rows;
    part->columns = columns;
    part->turned = source->turned;
    if (!old && role == QKV)
        part->rows = heads;
    else if (!old && role == QKV_BIAS)
        part->columns = heads;
    else if (!old && role == UP)
        part->rows = s->hidden;
    return 1;
}

/* The array in the files; some of GPT-2's lack the prefix of its name. */
static const mete_array *
find_part(const struct transformer *p, const struct part *part)
{
    const mete_array *found = mete_arrays_find(p->arrays, part->name);
    if (!found && strncmp(part->name, GPT2_PREFIX, strlen(GPT2_PREFIX)) == 0)
        found = mete_arrays_find(p->arrays, part->name + strlen(GPT2_PREFIX));
    return found;
}

static int
check_matrix(mete_ctx *cx, const struct transformer *p, size_t layer, enum role role, size_t *parts)
{
    struct part part;
    size_t rows, columns;
    shape_of(p, role, &rows, &columns);
    for (size_t k = 0; published_part(p, layer, role, k, &part); k++) {
        const mete_array *array = find_part(p, &part);
        size_t first = part.turned ? part.columns : part.rows;
        size_t second = part.turned ? part.rows : part.columns;
        if (!array)
            return mete_fail(cx, METE_EDATA, "%s: has no array \"%s\"", p->load, part.name);
        int fits = rows == 1 ? array->dimensions == 1 && array->shape[0] == part.columns
                             : array->dimensions == 2 && array->shape[0] == first &&
                                   array->shape[1] == second;
        if (!fits)
            return mete_fail(cx, METE_EDATA,
                             "%s: array \"%s\" is not %zu x %zu, as config.json says", p->load,
                             part.name, first, second);
        ++*parts;
    }
    return METE_OK;
}

int
published_open(mete_ctx *cx, struct transformer *p)
{
    mete_error err = {0};
    size_t parts = 0, spare = 0;
    int status = shape_from_config(cx, p);
    if (status)
        return status;
    if (!(p->arrays = mete_arrays_open(p->load, &err)))
        return mete_fail(cx, err.code, "%s", err.message);
    if (mete_arrays_find(p->arrays, SCORE) && !mete_arrays_find(p->arrays, "lm_head.weight"))
        p->headless = p->shape.tied = 1;
    for (size_t i = 0; i < p->shape.layers && !status; i++)
        for (int role = 0; role < LAYER_ROLES && !status; role++)
            status = check_matrix(cx, p, i, (enum role)role, &parts);
    for (int role = EMBED; role <= HEAD && !status; role++)
        status = check_matrix(cx, p, 0, (enum role)role, &parts);
    for (size_t i = 0; i < mete_arrays_count(p->arrays) && !status; i++)
        spare += (size_t)harmless(p, mete_arrays_at(p->arrays, i)->name);
    if (!status && mete_arrays_count(p->arrays) != parts + spare)
        status =
            mete_fail(cx, METE_EDATA, "%s: holds %zu arrays where a model of config.json's has %zu",
                      p->load, mete_arrays_count(p->arrays) - spare, parts);
    return status;
}

int
published_read(const struct transformer *p, size_t layer, enum role role, float *out,
               mete_error *err)
{
    struct part part;
    for (size_t k = 0; published_part(p, layer, role, k, &part); k++) {
        const mete_array *array = find_part(p, &part);
        int status = mete_array_read(array, 0, array->count, out, err);
        if (status)
            return status;
        if (part.turned) {
            float *turned = malloc(array->count * sizeof *turned);
            if (!turned)
                return mete_error_set(err, METE_ENOMEM, "out of memory");
            for (size_t i = 0; i < part.columns; i++)
                for (size_t j = 0; j < part.rows; j++)
                    turned[j * part.columns + i] = out[i * part.rows + j];
            memcpy(out, turned, array->count * sizeof *turned);
            free(turned);
        }
        out += array->count;
    }
    return METE_OK;
}
