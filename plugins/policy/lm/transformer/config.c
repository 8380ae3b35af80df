/* config.c - the shape of a published model, as its config.json has it. */
#include "transformer.h"

#include <math.h>
#include <string.h>

#define TWO_PI 6.28318530717958647692

static const char *const family_name[] = {"llama", "qwen2", "qwen3", "gpt2"};

/* Settings of kindred models that change what a layer computes, and the number, beside 0, that
 * leaves it as it is. A file that asks for one is not of a family that loads, whatever it says. */
static const struct {
    const char *key;
    double idle;
} foreign[] = {{"partial_rotary_factor", 1},
               {"rotary_pct", 1},
               {"rotary_dim", 0},
               {"rope_interleaved", 0},
               {"rope_local_base_freq", 0},
               {"no_rope_layers", 0},
               {"no_rope_layer_interval", 0},
               {"embedding_multiplier", 1},
               {"residual_multiplier", 1},
               {"attention_multiplier", 0},
               {"logits_scaling", 1},
               {"logit_scale", 1},
               {"scale_emb", 1},
               {"scale_depth", 0},
               {"dim_model_base", 0},
               {"final_logit_softcapping", 0},
               {"attn_logit_softcapping", 0},
               {"logits_soft_cap", 0},
               {"query_pre_attn_scalar", 0},
               {"clip_qkv", 0},
               {"use_qk_norm", 0},
               {"qk_layernorm", 0},
               {"num_experts", 0},
               {"num_local_experts", 0},
               {"n_routed_experts", 0},
               {"attention_chunk_size", 0},
               {"use_parallel_residual", 0},
               {"parallel_attn", 0},
               {"add_cross_attention", 0},
               {"use_bidirectional_attention", 0},
               {"pruned_heads", 0},
               {"quantization_config", 0},
               {"hidden_activation", 0},
               {"use_mrope", 0},
               {"is_encoder_decoder", 0},
               {"cross_attention_hidden_size", 0},
               {"tie_encoder_decoder", 0},
               {"is_decoder", 1},
               {"alibi", 0},
               {"multi_query", 0}};

/* Settings that say nothing of what a layer computes from given weights: where a file came from,
 * how a model was begun and trained, what programs do with it. */
static const char *const harmless[] = {"_attn_implementation",
                                       "_attn_implementation_autoset",
                                       "_commit_hash",
                                       "_name_or_path",
                                       "architectures",
                                       "attention_dropout",
                                       "attn_pdrop",
                                       "bad_words_ids",
                                       "begin_suppress_tokens",
                                       "chunk_size_feed_forward",
                                       "classifier_dropout",
                                       "decoder_start_token_id",
                                       "diversity_penalty",
                                       "do_sample",
                                       "dtype",
                                       "early_stopping",
                                       "embd_pdrop",
                                       "encoder_no_repeat_ngram_size",
                                       "exponential_decay_length_penalty",
                                       "finetuning_task",
                                       "forced_bos_token_id",
                                       "forced_eos_token_id",
                                       "gradient_checkpointing",
                                       "hidden_dropout",
                                       "id2label",
                                       "initializer_range",
                                       "label2id",
                                       "length_penalty",
                                       "max_length",
                                       "min_length",
                                       "model_parallel",
                                       "n_ctx",
                                       "no_repeat_ngram_size",
                                       "num_beam_groups",
                                       "num_beams",
                                       "num_labels",
                                       "num_return_sequences",
                                       "output_attentions",
                                       "output_hidden_states",
                                       "output_scores",
                                       "pad_token_id",
                                       "prefix",
                                       "pretraining_tp",
                                       "problem_type",
                                       "remove_invalid_values",
                                       "reorder_and_upcast_attn",
                                       "repetition_penalty",
                                       "resid_pdrop",
                                       "return_dict",
                                       "return_dict_in_generate",
                                       "sep_token_id",
                                       "summary_activation",
                                       "summary_first_dropout",
                                       "summary_proj_to_labels",
                                       "summary_type",
                                       "summary_use_proj",
                                       "suppress_tokens",
                                       "task_specific_params",
                                       "tf_legacy_loss",
                                       "temperature",
                                       "tokenizer_class",
                                       "top_k",
                                       "top_p",
                                       "torch_dtype",
                                       "torchscript",
                                       "transformers.js_config",
                                       "transformers_version",
                                       "typical_p",
                                       "unsloth_fixed",
                                       "unsloth_version",
                                       "use_bfloat16",
                                       "use_cache"};

static void
check_foreign(struct settings *r)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        settings_idle(r, r->root, foreign[i].key, foreign[i].idle);
    const mete_json *kinds = settings_get(r, r->root, "layer_types");
    for (size_t i = 0; i < mete_json_count(kinds) && !r->status; i++)
        if (!mete_text_is(mete_json_text(mete_json_at(kinds, i)), "full_attention"))
            r->status = mete_fail(r->cx, METE_ENOTSUP,
                                  "%s: \"layer_types\" has a layer that is not "
                                  "\"full_attention\", which is all that is done",
                                  r->path);
}

/* Any other setting is refused, but those the user answers for. */
static void
check_others(struct settings *r, const struct transformer *p)
{
    size_t known = sizeof harmless / sizeof *harmless, count = known + p->ignore.count;
    const char **name = mete_arena(r->cx, count * sizeof *name);
    if (!name) {
        r->status = mete_fail(r->cx, METE_ENOMEM, "out of memory");
        return;
    }
    for (size_t i = 0; i < count; i++)
        name[i] = i < known ? harmless[i] : p->ignore.item[i - known];
    settings_closed(r, r->root, (mete_strings){name, count}, 0);
}

/* ---- rotary positions ------------------------------------------------------------------------ */

/* Llama 3.1's stretching of long wavelengths: those over `original / low` are slowed by `factor`,
 * those under `original / high` kept, the ones between in proportion. */
static void
stretch(struct settings *r, struct transformer *p, const mete_json *scaling)
{
    struct shape *s = &p->shape;
    s->factor = settings_number(r, scaling, "factor", 1, 1e-3, 1e6);
    s->low = settings_number(r, scaling, "low_freq_factor", 1, 1e-3, 1e6);
    s->high = settings_number(r, scaling, "high_freq_factor", 4, 1e-3, 1e6);
    s->original = settings_number(r, scaling, "original_max_position_embeddings", 8192, 1, 1e9);
    if (!(s->low < s->high) && !r->status)
        r->status = mete_fail(r->cx, METE_EDATA,
                              "%s: \"high_freq_factor\" must exceed \"low_freq_factor\"", r->path);
    for (size_t i = 0; i < s->head / 2 && !r->status; i++) {
        double f = (double)p->frequency[i], length = TWO_PI / f;
        double smooth = (s->original / length - s->low) / (s->high - s->low);
        smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
        p->frequency[i] = (float)((1 - smooth) * f / s->factor + smooth * f);
    }
}

/* All positions closer by one factor (Chen et al. 2023, arXiv:2306.15595). */
static void
compress(struct settings *r, struct transformer *p, const mete_json *scaling)
{
    p->shape.factor = settings_number(r, scaling, "factor", 1, 1e-3, 1e6);
    for (size_t i = 0; i < p->shape.head / 2 && !r->status; i++)
        p->frequency[i] = (float)((double)p->frequency[i] / p->shape.factor);
}

/* What the scaling asks of p->frequency. */
static void
scale_positions(struct settings *r, struct transformer *p, const mete_json *scaling)
{
    mete_text type = mete_json_text(settings_get(r, scaling, "rope_type"));
    mete_text old = mete_json_text(settings_get(r, scaling, "type"));
    if (!type.length)
        type = old;
    if (!type.length || mete_text_is(type, "default")) {
        settings_idle(r, scaling, "factor", 1);
    } else if (mete_text_is(type, "llama3")) {
        p->shape.rope = ROPE_LLAMA3;
        stretch(r, p, scaling);
    } else if (mete_text_is(type, "linear")) {
        p->shape.rope = ROPE_LINEAR;
        compress(r, p, scaling);
    } else {
        r->status = mete_fail(r->cx, METE_ENOTSUP,
                              "%s: rope type \"%.*s\" is not known; \"default\", \"linear\" and "
                              "\"llama3\" are",
                              r->path, (int)(type.length < 40 ? type.length : 40), type.data);
    }
}

static void
read_rope(struct settings *r, struct transformer *p)
{
    static const char *const other[] = {"original_max_position_embeddings"}; /* of other types */
    /* Newer files keep theta beside the scaling, under rope_parameters. */
    const mete_json *newer = settings_get(r, r->root, "rope_parameters");
    const mete_json *older = settings_get(r, r->root, "rope_scaling");
    const mete_json *scaling = settings_absent(newer) ? older : newer;
    double theta = settings_number(r, r->root, "rope_theta", 10000, 1, 1e12);
    theta = settings_number(r, newer, "rope_theta", theta, 1, 1e12);
    settings_idle(r, scaling, "partial_rotary_factor", 1);
    settings_idle(r, scaling, "mrope_section", 0);
    settings_idle(r, scaling, "mrope_interleaved", 0);
    if (!r->status)
        r->status = shape_frequencies(r->cx, p, theta);
    if (!r->status)
        scale_positions(r, p, scaling);
    settings_closed(r, scaling, (mete_strings){other, 1}, 0);
}

/* ---- families -------------------------------------------------------------------------------- */

static void
read_gpt2(struct settings *r, struct transformer *p)
{
    struct shape *s = &p->shape;
    s->width = settings_size(r, "n_embd", 0);
    s->layers = settings_size(r, "n_layer", 0);
    s->heads = s->groups = settings_size(r, "n_head", 0);
    s->context = settings_size(r, "n_positions", 0);
    s->hidden = settings_size(r, "n_inner", 4 * s->width);
    s->tied = settings_flag(r, "tie_word_embeddings", 1);
    s->epsilon = (float)settings_number(r, r->root, "layer_norm_epsilon", 1e-5, 0, 1);
    settings_only(r, "activation_function", "gelu_new", "gelu_pytorch_tanh");
    settings_only(r, "scale_attn_weights", "true", NULL);
    settings_only(r, "scale_attn_by_inverse_layer_idx", "false", NULL);
    if (fabsf(s->epsilon - 1e-5f) > 1e-9f && !r->status)
        r->status = mete_fail(r->cx, METE_ENOTSUP,
                              "%s: \"layer_norm_epsilon\" is %g; mete computes with 1e-05", r->path,
                              (double)s->epsilon);
    if (s->heads && s->width % s->heads && !r->status)
        r->status = mete_fail(r->cx, METE_EDATA, "%s: \"n_embd\" must be a multiple of \"n_head\"",
                              r->path);
    s->head = s->heads ? s->width / s->heads : 0;
}

static void
read_llama(struct settings *r, struct transformer *p)
{
    struct shape *s = &p->shape;
    s->width = settings_size(r, "hidden_size", 0);
    s->layers = settings_size(r, "num_hidden_layers", 0);
    s->heads = settings_size(r, "num_attention_heads", 0);
    s->groups = settings_size(r, "num_key_value_heads", s->heads ? s->heads : 1);
    s->hidden = settings_size(r, "intermediate_size", 0);
    s->context = settings_size(r, "max_position_embeddings", 0);
    s->head =
        settings_size(r, "head_dim", s->heads ? s->width / s->heads + (s->width < s->heads) : 1);
    s->epsilon = (float)settings_number(r, r->root, "rms_norm_eps", 1e-6, 0, 1);
    s->tied = settings_flag(r, "tie_word_embeddings", 0);
    settings_only(r, "hidden_act", "silu", NULL);
    settings_only(r, "mlp_bias", "false", NULL);
    settings_only(r, "use_sliding_window", "false", NULL);
    if (p->family == FAMILY_QWEN2)
        settings_get(r, r->root, "attention_bias"); /* it has biases whatever this says */
    else
        settings_only(r, "attention_bias", "false", NULL);
    if (p->family == FAMILY_LLAMA)
        settings_idle(r, r->root, "sliding_window", 0);
    else { /* Qwen's files name a window that the switch above turns off */
        settings_get(r, r->root, "sliding_window");
        settings_get(r, r->root, "max_window_layers");
    }
    if (!r->status && (s->heads % s->groups || s->head % 2))
        r->status = mete_fail(r->cx, METE_EDATA,
                              "%s: \"num_attention_heads\" must be a multiple of "
                              "\"num_key_value_heads\", and a head's size even",
                              r->path);
    if (!r->status)
        read_rope(r, p);
}

static void
read_config(struct settings *r, struct transformer *p)
{
    mete_text type = mete_json_text(settings_get(r, r->root, "model_type"));
    int family = 0;
    while (family < 4 && !mete_text_is(type, family_name[family]))
        family++;
    if (family == 4) {
        r->status =
            mete_fail(r->cx, METE_ENOTSUP,
                      "%s: \"model_type\" is \"%.*s\"; llama, qwen2, qwen3 and gpt2 load", r->path,
                      (int)(type.length < 40 ? type.length : 40), type.data ? type.data : "");
        return;
    }
    p->family = family;
    p->shape = (struct shape){0};
    shape_habits(&p->shape, family);
    p->shape.vocabulary = settings_size(r, "vocab_size", 0);
    check_foreign(r);
    (family == FAMILY_GPT2 ? read_gpt2 : read_llama)(r, p);
    p->shape.begin = settings_token(r, "bos_token_id");
    p->shape.end = settings_token(r, "eos_token_id");
    check_others(r, p);
}

int
shape_from_config(mete_ctx *cx, struct transformer *p)
{
    struct settings r;
    if (settings_open(cx, p->load, "config.json", &r) == METE_OK)
        read_config(&r, p);
    settings_close(&r);
    return r.status;
}
