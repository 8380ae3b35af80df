/* transformer - a decoder of text: trained from nothing, or loaded as published and trained on.
 *
 * Layers as in GPT-2 (learned positions, layer norm, GELU; Radford et al. 2019), Llama (rotary
 * positions, RMS norm, gated SiLU; Touvron et al. 2023, arXiv:2302.13971), Qwen2 (with biases of
 * queries, keys and values) or Qwen3 (with each head's queries and keys normalised). `load` takes a
 * folder with config.json, model.safetensors (or its shards) and tokenizer.json.
 *
 * With `rank` the loaded matrices are frozen and low-rank adapters of the matrices in `targets`
 * alone are trained (Hu et al. 2021, arXiv:2106.09685); `adapters` goes on from published ones.
 *
 * A text is: prompt tokens, the token <|answer|> where the tokeniser has it, the answer, the token
 * that ends it. A tokeniser that is not loaded is learnt from the first texts to train on.
 */
#include "transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const mete_option options[] = {
    METE_FILE(struct transformer, load, 0,
              "folder of a published model; without it the sizes below hold"),
    METE_FILE(
        struct transformer, adapters, 0,
        "folder of adapters of that model, as PEFT writes them, to go on from; rank, alpha and "
        "targets are theirs"),
    METE_ENUM(struct transformer, family, FAMILY_LLAMA, "llama|qwen2|qwen3|gpt2",
              "how layers are made"),
    METE_INT(struct transformer, layers, 2, 1, 1000, "layers"),
    METE_INT(struct transformer, width, 96, 1, 65536, "numbers of a token's state"),
    METE_INT(struct transformer, heads, 4, 1, 1024, "attention heads"),
    METE_INT(struct transformer, groups, 0, 0, 1024, "heads of keys and values; 0: as heads"),
    METE_INT(struct transformer, hidden, 0, 0, 1 << 20,
             "width of the feed-forward part; 0: 8/3 of width where gated, else 4 times"),
    METE_INT(struct transformer, context, 256, 2, 1 << 20, "longest prompt and answer together"),
    METE_BOOL(struct transformer, tie, 1, "the output's matrix is the embedding's"),
    METE_INT(struct transformer, vocabulary, 1000, 258, 1000000,
             "tokens to learn, where no tokeniser is loaded"),
    METE_ENUM(
        struct transformer, tokens, TOKENS_BPE, "bpe|words|bytes",
        "what is learnt: parts of words, whole words, of which the others are <|unknown|>, or "
        "nothing, each byte being a token"),
    METE_ENUM(struct transformer, split, 0, "gpt2|llama3|qwen2|none",
              "where tokens to learn are cut: at words, by the pattern of a family, or nowhere, so "
              "that phrases become tokens"),
    METE_FILE(struct transformer, tokeniser, 0,
              "a tokenizer.json; absent: that in `load`, else one is learnt"),
    METE_STRING(struct transformer, chat, NULL, 0,
                "chat template of prompts, such as qwen2_5; absent: plain text"),
    METE_STRING(struct transformer, end, NULL, 0,
                "token that ends an answer; absent: the checkpoint's, else <|endoftext|>"),
    METE_INT(struct transformer, max_tokens, 80, 1, 1 << 20, "longest answer"),
    METE_ENUM(struct transformer, prompt, PROMPT_TEXT, "none|text|slots",
              "what of the prompt is read; slots: each part between commas is one token, where a "
              "tokeniser is learnt"),
    METE_ENUM(struct transformer, overflow, 1, "error|left",
              "a prompt too long for the context: refused, or cut at its beginning"),
    METE_REAL(struct transformer, dropout, 0, 0, 0.9,
              "share of each part's output dropped where given texts are learnt (Srivastava et al. "
              "2014)"),
    METE_BOOL(struct transformer, checkpoint, 0,
              "backward computes each layer anew, for a fraction of the memory and a third more "
              "work; the same gradients"),
    METE_BOOL(struct transformer, bf16, 0,
              "answers are made with matrices rounded to bfloat16, one at a time up to 1.6 times "
              "as fast; log-probabilities as sampled are then theirs, not those learning computes"),
    METE_BOOL(struct transformer, critic, 0, "has a value for each token"),
    METE_INT(struct transformer, rank, 0, 0, 4096, "rank of adapters; 0: every matrix is trained"),
    METE_REAL(struct transformer, alpha, 16, 1e-6, 1e6, "adapters count alpha / rank times"),
    METE_STRINGS(struct transformer, ignore, 0,
                 "settings of the published config.json that mete does not know and that you know "
                 "to change nothing; others it does not know are refused"),
    METE_STRINGS(
        struct transformer, targets, 0,
        "matrices with adapters, of qkv, out, up, down, or published names such as q_proj; "
        "absent: qkv and out"),
    METE_OPTIONS_END};

static void
close_transformer(mete_ctx *cx, void *self)
{
    struct transformer *p = self;
    (void)cx;
    mete_tokeniser_free(p->words);
    mete_chat_free(p->template);
    mete_arrays_close(p->arrays);
    mete_arrays_close(p->adapter_arrays);
    for (size_t i = 0; p->layer && i < p->shape.layers * LAYER_ROLES; i++)
        free(p->layer[i].frozen);
    for (int role = 0; role < ROLES; role++)
        free(p->whole[role].frozen);
    free(p->layer);
    p->layer = NULL;
}

static int
open_all(mete_ctx *cx, struct transformer *p)
{
    int status = p->load ? published_open(cx, p) : shape_from_options(cx, p);
    if (!status && p->adapters)
        status = adapters_open(cx, p);
    if (!status)
        status = words_open(cx, p);
    if (!status && (size_t)p->max_tokens >= p->shape.context)
        status = mete_fail(cx, METE_EINVAL, "max_tokens = %lld leaves no room in a context of %zu",
                           (long long)p->max_tokens, p->shape.context);
    return status;
}

static int
open_transformer(mete_ctx *cx, void *self)
{
    int status = open_all(cx, self);
    if (status) /* close is called after a good open only */
        close_transformer(cx, self);
    return status;
}

/* ---- the tokeniser that was learnt ----------------------------------------------------------- */

static int
vocabulary(mete_ctx *cx, void *self, const mete_batch *texts)
{
    return words_learn(cx, self, texts);
}

static int
save(mete_ctx *cx, const void *self)
{
    const struct transformer *p = self;
    mete_buffer json = mete_buffer_make(0);
    int status = METE_OK;
    if (!p->trained)
        return METE_OK;
    if (mete_tokeniser_write(p->words, &json))
        status = mete_fail(cx, METE_ENOMEM, "out of memory");
    else
        status = mete_save_bytes(cx, json.data, json.length);
    mete_buffer_free(&json);
    return status;
}

static int
load(mete_ctx *cx, void *self, const void *bytes, size_t length)
{
    struct transformer *p = self;
    mete_error err = {0};
    if (!length && !p->trained)
        return METE_OK;
    mete_tokeniser *saved = mete_tokeniser_read((mete_text){bytes, length}, &err);
    if (!saved)
        return mete_fail(cx, METE_EDATA, "the saved tokeniser is damaged: %s", err.message);
    if (p->layer && mete_tokeniser_size(saved) != p->shape.vocabulary) {
        mete_tokeniser_free(saved);
        return mete_fail(cx, METE_EDATA, "the saved tokeniser is of another size");
    }
    mete_tokeniser_free(p->words);
    p->words = saved;
    p->trained = 1;
    return METE_OK;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static const char *const role_name[ROLES] = {
    "norm1",    "norm1_bias", "qkv",        "qkv_bias",  "q_norm",  "k_norm", "out",
    "out_bias", "norm2",      "norm2_bias", "up",        "up_bias", "down",   "down_bias",
    "embed",    "position",   "norm",       "norm_bias", "head",    "value",  "value_bias"};

/* How a matrix starts: gains at 1, biases at 0, the others normal with deviations that keep the
 * size of what they make, smaller where they add to the state (Radford et al. 2019, part 2.3). */
static mete_init
start_of(const struct transformer *p, enum role role, size_t columns, double *gain)
{
    double depth = sqrt(2.0 * (double)p->shape.layers);
    *gain = 1;
    switch (role) {
    case NORM1:
    case NORM2:
    case NORM:
    case Q_NORM:
    case K_NORM:
        return METE_INIT_CONSTANT;
    case EMBED:
    case POSITION:
    case HEAD:
        *gain = 0.02;
        return METE_INIT_NORMAL;
    case QKV:
    case UP:
        *gain = 0.6 / sqrt((double)columns);
        return METE_INIT_NORMAL;
    case OUT:
    case DOWN:
        *gain = 0.6 / sqrt((double)columns) / depth;
        return METE_INIT_NORMAL;
    default:
        return METE_INIT_ZERO;
    }
}

static int
freeze(mete_ctx *cx, const struct transformer *p, size_t layer, enum role role, struct weight *w)
{
    mete_error err = {0};
    if (!(w->frozen = malloc(w->rows * w->columns * sizeof *w->frozen)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for the matrix %s", role_name[role]);
    int status = published_read(p, layer, role, w->frozen, &err);
    return status ? mete_fail(cx, status, "%s: %s", p->load, err.message) : METE_OK;
}

static int
declare(mete_ctx *cx, struct transformer *p, size_t layer, enum role role)
{
    struct weight *w = weight_of(p, layer, role);
    char name[64];
    double gain;
    shape_of(p, role, &w->rows, &w->columns);
    if (!w->rows)
        return METE_OK;
    if (role < LAYER_ROLES)
        snprintf(name, sizeof name, "layer/%zu/%s", layer, role_name[role]);
    else
        snprintf(name, sizeof name, "%s", role_name[role]);
    if (p->rank && role != VALUE && role != VALUE_BIAS) {
        int status = freeze(cx, p, layer, role, w);
        return status ? status : adapters_declare(cx, p, layer, role);
    }
    mete_init init = start_of(p, role, w->columns, &gain);
    return mete_parameter(cx, name, w->rows, w->columns, init, gain, &w->offset);
}

static int
describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)
{
    struct transformer *p = self;
    if (spaces->action.kind != METE_SPACE_TEXT)
        return mete_fail(cx, METE_EINVAL, "writes text; this environment wants another action");
    if (!p->words)
        return mete_fail(cx, METE_EINVAL,
                         "has no tokeniser: give `load` or `tokeniser`, or a stage that trains on "
                         "given responses, from which one is learnt");
    if (p->rank && !p->load)
        return mete_fail(cx, METE_EINVAL, "rank = %lld: adapters want a model to `load`",
                         (long long)p->rank);
    int status = adapters_check_targets(cx, p);
    p->layer = calloc(p->shape.layers * LAYER_ROLES, sizeof *p->layer);
    if (!p->layer)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (int role = EMBED; role < ROLES && !status; role++)
        status = declare(cx, p, 0, (enum role)role);
    for (size_t i = 0; i < p->shape.layers && !status; i++)
        for (int role = 0; role < LAYER_ROLES && !status; role++)
            status = declare(cx, p, i, (enum role)role);
    out->heads = p->critic ? 1 : 0;
    out->classes = (uint32_t)p->shape.vocabulary;
    out->gradient = 1;
    out->width = (uint32_t)p->shape.width;
    return status;
}

/* The published numbers in place of the drawn ones. Files were checked when they were opened. */
static int
start(mete_ctx *cx, const void *self, float *vector)
{
    const struct transformer *p = self;
    mete_error err = {0};
    int status = METE_OK;
    if (p->adapters)
        return adapters_start(cx, p, vector);
    if (!p->load || p->rank)
        return METE_OK;
    for (int role = EMBED; role <= HEAD && !status; role++) {
        const struct weight *w = weight_of(p, 0, (enum role)role);
        if (w->rows)
            status = published_read(p, 0, (enum role)role, vector + w->offset, &err);
    }
    for (size_t i = 0; i < p->shape.layers; i++)
        for (int role = 0; role < LAYER_ROLES && !status; role++) {
            const struct weight *w = weight_of(p, i, (enum role)role);
            if (w->rows)
                status = published_read(p, i, (enum role)role, vector + w->offset, &err);
        }
    return status ? mete_fail(cx, status, "%s: %s", p->load, err.message) : METE_OK;
}

METE_POLICY_PLUGIN(
    transformer, "1.0", "a transformer language model, from nothing or as published",
    .doc =
        "policy = { use = \"transformer\"; layers = 2; width = 96; };   # learns its own words\n"
        "policy = { use = \"transformer\"; load = \"Qwen2.5-0.5B-Instruct\"; chat = \"qwen2_5\";\n"
        "           rank = 8; max_tokens = 200; };\n"
        "\n"
        "config.json, tokenizer.json and model.safetensors (or shards) of Llama, Qwen2, Qwen3 and\n"
        "GPT-2 load; float32, bfloat16 and float16 are read, all is computed in float32.",
    .reference = "Vaswani et al. 2017, arXiv:1706.03762", .tags = "text language-model",
    .options = options, .state_size = sizeof(struct transformer), .element = METE_F32,
    .flags = METE_SAMPLES | METE_LANES_ALONE, .open = open_transformer, .close = close_transformer,
    .save = save, .load = load, .describe = describe, .act = transformer_act,
    .forward = transformer_forward, .backward = transformer_backward, .encode = transformer_encode,
    .embed = transformer_embed, .vocabulary = vocabulary, .generate = transformer_generate,
    .start = start, .emit = transformer_emit);
