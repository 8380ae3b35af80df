/* write.c - a model written as published: config.json, tokenizer.json and model.safetensors with
 * adapters merged; and, in its folder "adapter", the adapters alone, adapter_config.json and
 * adapter_model.safetensors, as PEFT writes them. Beside the model, programs that look for both
 * would add to it what it already holds. */
#include "transformer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAMES 320

/* Arrays to write, their names, and matrices made for them. */
struct writing {
    mete_ctx *cx;
    const struct transformer *p;
    const float *vector;
    mete_array_given *array;
    char (*name)[NAMES];
    size_t count, room;
};

static int
add_array(struct writing *w, size_t dimensions, size_t rows, size_t columns, const float *data)
{
    if (w->count == w->room)
        return mete_fail(w->cx, METE_EPLUGIN, "counted its arrays wrongly");
    w->array[w->count] = (mete_array_given){.name = w->name[w->count],
                                            .dimensions = dimensions,
                                            .shape = {rows, columns},
                                            .data = data};
    if (dimensions == 1)
        w->array[w->count].shape[0] = columns;
    w->count++;
    return METE_OK;
}

/* The matrix as the model computes with it. */
static const float *
numbers_of(struct writing *w, const struct weight *of)
{
    return of->frozen ? transformer_merged(w->cx, w->p, of, w->vector) : w->vector + of->offset;
}

/* The parts of one matrix, each an array; GPT-2's matrices the other way round. */
static int
add_matrix(struct writing *w, size_t layer, enum role role)
{
    const struct weight *of = weight_of(w->p, layer, role);
    struct part part;
    int status = METE_OK;
    const float *data = of->rows && role < VALUE ? numbers_of(w, of) : NULL;
    if (of->rows && role < VALUE && !data)
        return mete_fail(w->cx, METE_ENOMEM, "out of memory for a matrix");
    for (size_t k = 0; data && !status && published_part(w->p, layer, role, k, &part); k++) {
        snprintf(w->name[w->count], NAMES, "%s", part.name);
        if (part.turned) {
            float *turned = mete_arena(w->cx, part.rows * part.columns * sizeof *turned);
            if (!turned)
                return mete_fail(w->cx, METE_ENOMEM, "out of memory for a matrix");
            for (size_t i = 0; i < part.rows; i++)
                for (size_t j = 0; j < part.columns; j++)
                    turned[j * part.rows + i] = data[i * part.columns + j];
            status = add_array(w, 2, part.columns, part.rows, turned);
        } else {
            status = add_array(w, of->rows == 1 ? 1 : 2, part.rows, part.columns, data);
        }
        data += part.rows * part.columns;
    }
    return status;
}

static int
add_adapter(struct writing *w, size_t layer, enum role role)
{
    const struct weight *of = weight_of(w->p, layer, role);
    struct part part;
    int status = METE_OK;
    for (size_t k = 0; of->rank && !status && published_part(w->p, layer, role, k, &part); k++) {
        const struct adapter *d = &of->part[k];
        if (!d->has)
            continue;
        adapters_name(&part, 0, w->name[w->count], NAMES);
        status = add_array(w, 2, of->rank, of->columns, w->vector + d->a);
        if (status)
            return status;
        adapters_name(&part, 1, w->name[w->count], NAMES);
        status = add_array(w, 2, d->rows, of->rank, w->vector + d->b);
    }
    return status;
}

/* ---- json files ------------------------------------------------------------------------------ */

static int
write_text(mete_ctx *cx, const char *folder, const char *name, const mete_buffer *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = text->status ? NULL : fopen(path, "wbe");
    int bad = !file || fwrite(text->data, 1, text->length, file) != text->length;
    if (file && fclose(file))
        bad = 1;
    return bad ? mete_fail(cx, METE_EIO, "%s: cannot be written", path) : METE_OK;
}

static void
put_gpt2(const struct transformer *p, mete_buffer *out)
{
    const struct shape *s = &p->shape;
    mete_buffer_format(out,
                       "  \"architectures\": [\"GPT2LMHeadModel\"],\n  \"n_embd\": %zu,\n"
                       "  \"n_layer\": %zu,\n  \"n_head\": %zu,\n  \"n_positions\": %zu,\n"
                       "  \"n_inner\": %zu,\n  \"activation_function\": \"gelu_new\",\n"
                       "  \"layer_norm_epsilon\": 1e-05,\n  \"tie_word_embeddings\": %s,\n",
                       s->width, s->layers, s->heads, s->context, s->hidden,
                       s->tied ? "true" : "false");
}

static void
put_llama(const struct transformer *p, mete_buffer *out)
{
    static const char *const name[] = {"Llama", "Qwen2", "Qwen3"};
    const struct shape *s = &p->shape;
    mete_buffer_format(
        out,
        "  \"architectures\": [\"%sForCausalLM\"],\n  \"hidden_size\": %zu,\n"
        "  \"num_hidden_layers\": %zu,\n  \"num_attention_heads\": %zu,\n"
        "  \"num_key_value_heads\": %zu,\n  \"head_dim\": %zu,\n  \"intermediate_size\": %zu,\n"
        "  \"max_position_embeddings\": %zu,\n  \"hidden_act\": \"silu\",\n"
        "  \"rms_norm_eps\": %.9g,\n  \"tie_word_embeddings\": %s,\n  \"attention_bias\": %s,\n",
        name[p->family], s->width, s->layers, s->heads, s->groups, s->head, s->hidden, s->context,
        (double)s->epsilon, s->tied ? "true" : "false",
        p->family == FAMILY_QWEN2 ? "true" : "false");
    mete_buffer_format(out, "  \"rope_theta\": %.17g,\n", s->theta);
    if (s->rope == ROPE_LINEAR)
        mete_buffer_format(out,
                           "  \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": %.17g},\n",
                           s->factor);
    if (s->rope == ROPE_LLAMA3)
        mete_buffer_format(out,
                           "  \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": %.17g, "
                           "\"low_freq_factor\": %.17g, \"high_freq_factor\": %.17g, "
                           "\"original_max_position_embeddings\": %.17g},\n",
                           s->factor, s->low, s->high, s->original);
}

static int
write_config(mete_ctx *cx, const struct transformer *p, const char *folder)
{
    static const char *const name[] = {"llama", "qwen2", "qwen3", "gpt2"};
    const struct shape *s = &p->shape;
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_format(&out, "{\n  \"model_type\": \"%s\",\n", name[p->family]);
    (p->family == FAMILY_GPT2 ? put_gpt2 : put_llama)(p, &out);
    if (s->begin >= 0)
        mete_buffer_format(&out, "  \"bos_token_id\": %d,\n", s->begin);
    mete_buffer_format(&out,
                       "  \"eos_token_id\": %d,\n  \"vocab_size\": %zu,\n"
                       "  \"torch_dtype\": \"float32\"\n}\n",
                       s->end, s->vocabulary);
    int status = write_text(cx, folder, "config.json", &out);
    mete_buffer_free(&out);
    return status;
}

/* The modules that have adapters, by the names PEFT knows them by. */
static int
write_adapter_config(mete_ctx *cx, const struct transformer *p, const char *folder)
{
    mete_buffer out = mete_buffer_make(0);
    struct part part;
    int first = 1;
    mete_buffer_format(&out,
                       "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": \"CAUSAL_LM\",\n"
                       "  \"r\": %lld,\n  \"lora_alpha\": %.17g,\n  \"lora_dropout\": 0.0,\n"
                       "  \"use_rslora\": %s,\n  \"bias\": \"none\",\n"
                       "  \"fan_in_fan_out\": %s,\n  \"base_model_name_or_path\": ",
                       (long long)p->rank, p->alpha, p->stable ? "true" : "false",
                       p->family == FAMILY_GPT2 ? "true" : "false");
    mete_json_put_text(&out, mete_text_from(p->load));
    mete_buffer_string(&out, ",\n  \"target_modules\": [");
    for (int role = 0; role < LAYER_ROLES; role++)
        for (size_t k = 0; published_part(p, 0, (enum role)role, k, &part); k++) {
            if (!weight_of(p, 0, (enum role)role)->part[k].has)
                continue;
            mete_buffer_string(&out, first ? "" : ", ");
            mete_json_put_text(&out, adapters_module(p, &part));
            first = 0;
        }
    mete_buffer_string(&out, "]\n}\n");
    int status = write_text(cx, folder, "adapter_config.json", &out);
    mete_buffer_free(&out);
    return status;
}

static int
write_words(mete_ctx *cx, const struct transformer *p, const char *folder)
{
    mete_buffer out = mete_buffer_make(0);
    int status = mete_tokeniser_write(p->words, &out)
                     ? mete_fail(cx, METE_ENOMEM, "out of memory")
                     : write_text(cx, folder, "tokenizer.json", &out);
    mete_buffer_free(&out);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int
write_arrays(struct writing *w, const char *folder, int adapters)
{
    const struct transformer *p = w->p;
    char path[4096];
    mete_error err = {0};
    int status = METE_OK;
    w->count = 0;
    w->room = (p->shape.layers * LAYER_ROLES + ROLES) * 6;
    w->array = mete_arena(w->cx, w->room * sizeof *w->array);
    w->name = mete_arena(w->cx, w->room * sizeof *w->name);
    if (!w->array || !w->name)
        return mete_fail(w->cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->shape.layers; i++)
        for (int role = 0; role < LAYER_ROLES && !status; role++)
            status = (adapters ? add_adapter : add_matrix)(w, i, (enum role)role);
    for (int role = EMBED; role < ROLES && !status && !adapters; role++)
        status = add_matrix(w, 0, (enum role)role);
    snprintf(path, sizeof path, "%s/%s", folder,
             adapters ? "adapter_model.safetensors" : "model.safetensors");
    if (!status && mete_arrays_write(path, w->array, w->count, &err))
        status = mete_fail(w->cx, err.code, "%s", err.message);
    return status;
}

static int
write_adapters(struct writing *w, const char *folder)
{
    char own[4000];
    int length = snprintf(own, sizeof own, "%s/adapter", folder);
    if ((size_t)length >= sizeof own)
        return mete_fail(w->cx, METE_EIO, "%s: too long a name", folder);
    if (mkdir(own, 0777) && errno != EEXIST)
        return mete_fail(w->cx, METE_EIO, "%s: cannot be made: %s", own, strerror(errno));
    int status = write_arrays(w, own, 1);
    return status ? status : write_adapter_config(w->cx, w->p, own);
}

int
transformer_emit(mete_ctx *cx, const void *self, const mete_params *params, const char *folder)
{
    const struct transformer *p = self;
    struct writing w = {.cx = cx, .p = p, .vector = params->vector};
    int status = published_needs_head(cx, p);
    if (!status)
        status = write_arrays(&w, folder, 0);
    if (!status)
        status = write_config(cx, p, folder);
    if (!status)
        status = write_words(cx, p, folder);
    return !status && p->rank ? write_adapters(&w, folder) : status;
}
