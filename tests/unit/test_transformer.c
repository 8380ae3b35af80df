/* test_transformer.c - published layouts against the reference implementation, adapters, and
 * checkpoints that are not what they say. */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <mete/arrays.h>
#include <mete/nn.h>
#include <mete/tokeniser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEQUENCES 2
#define LENGTH 20
#define VOCABULARY 260
#define STEPS (SEQUENCES * LENGTH)

static char words[64] = "/tmp/mete-words-XXXXXX"; /* a tokenizer.json: bytes */

static const char *
source(const char *name)
{
    static char path[2][4096];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/tests/data/transformer/%s", getenv("METE_SRCDIR"),
             name);
    return path[turn];
}

struct subject {
    mete__config *config;
    mete__engine *engine;
    mete_node *policy;
    float *vector;
    mete_error err;
};

static void
end(struct subject *s)
{
    free(s->vector);
    mete__engine_close(s->engine);
    mete__config_free(s->config);
}

/* The checkpoint in `folder`, or what `more` asks for; 0 where it is refused, the sentence in
 * s->err. */
static int
begin(struct subject *s, const char *folder, const char *more)
{
    static const mete_spaces text = {
        .size = sizeof text, .single_turn = 1, .action = {.kind = METE_SPACE_TEXT}};
    char config[9000];
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 7, .threads = 1};
    memset(s, 0, sizeof *s);
    snprintf(config, sizeof config,
             "policy = { use = \"transformer\"; %s%s%s tokeniser = \"%s\"; prompt = \"none\"; "
             "max_tokens = 30; %s };",
             folder ? "load = \"" : "", folder ? folder : "", folder ? "\";" : "", words, more);
    s->config = mete__config_parse("test", config, strlen(config), NULL, 0, &errors);
    s->engine = mete__engine_open(s->config, &options, &errors);
    if (errors.count)
        snprintf(s->err.message, sizeof s->err.message, "%s", errors.line[0]);
    int good = s->engine && !errors.count;
    mete__errors_free(&errors);
    if (!good)
        return 0;
    s->policy = mete__engine_policy(s->engine);
    if (mete__policy_describe(s->policy, &text, NULL, &s->err))
        return 0;
    s->vector = calloc(s->policy->parameter_count + 1, sizeof *s->vector);
    return !mete__policy_init(s->policy, s->vector, &s->err);
}

/* Rows of the tokens, as if they had been said to nothing. */
static const mete_batch *
rows_of(mete__builder *builder, const float *token)
{
    mete_error err;
    mete__builder_shape(builder, &(mete__shape){.text = true});
    for (size_t i = 0; i < SEQUENCES; i++) {
        mete__row row = {.id = i + 1, .starts = true, .terminated = true};
        CU_ASSERT_EQUAL_FATAL(mete__builder_row(builder, &row), METE_OK);
        for (size_t t = 0; t < LENGTH; t++) {
            mete__step step = {.action = (int32_t)token[i * LENGTH + t], .loss_mask = 1};
            CU_ASSERT_EQUAL_FATAL(mete__builder_step(builder, &step), METE_OK);
        }
    }
    return mete__builder_batch(builder, &err);
}

static int
ask(struct subject *s, const mete_batch *batch, float *logits, mete_tape *tape)
{
    mete_params params = {
        .size = sizeof params, .vector = s->vector, .count = s->policy->parameter_count};
    mete_query query = {
        .size = sizeof query, .batch = batch, .count = STEPS, .want = METE_WANT_LOGITS};
    mete_outputs out = {.size = sizeof out, .classes = VOCABULARY, .logits = logits};
    mete_tape_reset(tape);
    return mete__policy_forward(s->policy, &params, &query, &out, tape, &s->err);
}

static float *
read_all(const mete_arrays *arrays, const char *name, size_t count)
{
    const mete_array *array = mete_arrays_find(arrays, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(array);
    CU_ASSERT_EQUAL_FATAL(array->count, count);
    float *out = malloc(count * sizeof *out);
    CU_ASSERT_EQUAL_FATAL(mete_array_read(array, 0, count, out, NULL), METE_OK);
    return out;
}

/* Log-probabilities of the checkpoint in `folder` are those of the reference implementation's
 * logits, array `which` beside `name`, to 1e-4. */
static void
check_against(const char *folder, const char *more, const char *name, const char *which)
{
    struct subject s;
    char file[64];
    mete_error err = {0};
    snprintf(file, sizeof file, "%s/expect.safetensors", name);
    mete_arrays *expect = mete_arrays_open(source(file), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(expect);
    float *token = read_all(expect, "tokens", STEPS);
    float *want = read_all(expect, which, STEPS * VOCABULARY);
    float *got = malloc(STEPS * VOCABULARY * sizeof *got);
    mete__builder *builder = mete__builder_new();
    mete_tape *tape = mete_tape_new();
    if (!begin(&s, folder, more))
        fprintf(stderr, "%s: %s\n", name, s.err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.vector);
    CU_ASSERT_EQUAL_FATAL(ask(&s, rows_of(builder, token), got, tape), METE_OK);
    double off = 0;
    for (size_t i = 0; i < STEPS; i++) {
        double sum = 0;
        for (size_t k = 0; k < VOCABULARY; k++)
            sum += exp((double)want[i * VOCABULARY + k]);
        for (size_t k = 0; k < VOCABULARY; k++)
            off = fmax(off, fabs((double)want[i * VOCABULARY + k] - log(sum) -
                                 (double)got[i * VOCABULARY + k]));
    }
    if (!(off < 1e-4))
        fprintf(stderr, "%s: off by %g\n", name, off);
    CU_ASSERT(off < 1e-4);
    mete_tape_free(tape);
    mete__builder_free(builder);
    mete_arrays_close(expect);
    end(&s);
    free(token);
    free(want);
    free(got);
}

static void
conformance(void)
{
    static const char *const name[] = {"llama", "qwen2", "qwen3", "gpt2"};
    char more[4200];
    for (int k = 0; k < 4; k++)
        check_against(source(name[k]), "", name[k], "logits");
    snprintf(more, sizeof more, "adapters = \"%s\";", source("qwen2_peft"));
    check_against(source("qwen2"), more, "qwen2_peft", "logits");
}

/* Adapters begin as nothing, are all that is trained, and act as forward does once they are
 * something. */
static void
adapters(void)
{
    struct subject plain, s;
    mete_tape *tape = mete_tape_new();
    mete__builder *builder = mete__builder_new();
    float token[STEPS], *one = malloc(STEPS * VOCABULARY * sizeof *one),
                        *two = malloc(STEPS * VOCABULARY * sizeof *two);
    for (size_t i = 0; i < STEPS; i++)
        token[i] = (float)(3 + i * 37 % 250);
    const mete_batch *batch = rows_of(builder, token);
    CU_ASSERT_FATAL(begin(&plain, source("qwen2"), ""));
    CU_ASSERT_FATAL(begin(&s, source("qwen2"),
                          "rank = 3; alpha = 6.0; targets = [\"qkv\", \"out\", \"up\", "
                          "\"down\"];"));
    /* B: 64 + 32 + 80 + 32 rows; A: 32 columns of q, k, v, out, gate and up each, 40 of down */
    CU_ASSERT_EQUAL(s.policy->parameter_count, 2 * 3 * (64 + 32 + 80 + 32 + 6 * 32 + 40));
    CU_ASSERT_EQUAL_FATAL(ask(&plain, batch, one, tape), METE_OK);
    CU_ASSERT_EQUAL_FATAL(ask(&s, batch, two, tape), METE_OK);
    for (size_t i = 0; i < STEPS * VOCABULARY; i++)
        CU_ASSERT_DOUBLE_EQUAL_FATAL(one[i], two[i], 1e-5);
    mete_rng rng = mete_rng_make(5, 0, 0);
    for (size_t i = 0; i < s.policy->parameter_count; i++)
        s.vector[i] += (float)(.1 * mete_rng_normal(&rng));

    /* The gradient of sum_k c_k logits_k along one direction. */
    size_t n = s.policy->parameter_count;
    float *grad = calloc(n, sizeof *grad), *along = malloc(n * sizeof *along);
    float *kept = malloc(n * sizeof *kept), *by = malloc(STEPS * VOCABULARY * sizeof *by);
    memcpy(kept, s.vector, n * sizeof *kept);
    for (size_t i = 0; i < n; i++)
        along[i] = (float)mete_rng_normal(&rng);
    for (size_t i = 0; i < STEPS * VOCABULARY; i++)
        by[i] = (float)(.01 * mete_rng_normal(&rng));
    mete_params params = {.size = sizeof params, .vector = s.vector, .count = n};
    mete_query query = {
        .size = sizeof query, .batch = batch, .count = STEPS, .want = METE_WANT_LOGITS};
    mete_outputs adjoint = {.size = sizeof adjoint, .classes = VOCABULARY, .logits = by};
    CU_ASSERT_EQUAL_FATAL(ask(&s, batch, one, tape), METE_OK);
    CU_ASSERT_EQUAL_FATAL(
        mete__policy_backward(s.policy, &params, &query, &adjoint, tape, grad, &s.err), METE_OK);
    double slope = 0, side[2], step = 1e-3;
    for (size_t i = 0; i < n; i++)
        slope += (double)grad[i] * (double)along[i];
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++)
            s.vector[i] = kept[i] + (float)((k ? -step : step) * (double)along[i]);
        CU_ASSERT_EQUAL_FATAL(ask(&s, batch, one, tape), METE_OK);
        side[k] = 0;
        for (size_t i = 0; i < STEPS * VOCABULARY; i++)
            side[k] += (double)by[i] * (double)one[i];
    }
    CU_ASSERT_DOUBLE_EQUAL((side[0] - side[1]) / (2 * step), slope, .02 * fabs(slope) + .01);
    CU_ASSERT(fabs(slope) > 1e-2);
    mete_tape_free(tape);
    mete__builder_free(builder);
    end(&plain);
    end(&s);
    free(one);
    free(two);
    free(grad);
    free(along);
    free(kept);
    free(by);
}

/* A gradient of the checkpoint in `name` with these options, with dropout. */
static float *
gradient(const char *name, const char *more, const mete_batch *batch, mete_tape *tape, size_t *n,
         float *logits)
{
    struct subject s;
    CU_ASSERT_FATAL(begin(&s, source(name), more));
    float *by = malloc(STEPS * VOCABULARY * sizeof *by);
    *n = s.policy->parameter_count;
    float *grad = calloc(*n, sizeof *grad);
    mete_rng rng = mete_rng_make(8, 0, 0);
    for (size_t i = 0; i < *n; i++)
        s.vector[i] += (float)(.05 * mete_rng_normal(&rng));
    for (size_t i = 0; i < STEPS * VOCABULARY; i++)
        by[i] = (float)mete_rng_normal(&rng);
    mete_params params = {.size = sizeof params, .vector = s.vector, .count = *n};
    mete_query query = {.size = sizeof query,
                        .batch = batch,
                        .count = STEPS,
                        .want = METE_WANT_LOGITS,
                        .flags = METE_QUERY_FIT};
    mete_outputs out = {.size = sizeof out, .classes = VOCABULARY, .logits = logits};
    mete_outputs adjoint = {.size = sizeof adjoint, .classes = VOCABULARY, .logits = by};
    mete_tape_reset(tape);
    CU_ASSERT_EQUAL_FATAL(mete__policy_forward(s.policy, &params, &query, &out, tape, &s.err),
                          METE_OK);
    CU_ASSERT_EQUAL_FATAL(
        mete__policy_backward(s.policy, &params, &query, &adjoint, tape, grad, &s.err), METE_OK);
    end(&s);
    free(by);
    return grad;
}

/* Layers computed anew in backward: the same bits, dropout and adapters and all. */
static void
layers_anew(void)
{
    static const char *const name[] = {"gpt2", "qwen3"};
    static const char *const more[][2] = {
        {"dropout = 0.2;", "dropout = 0.2; checkpoint = true;"},
        {"dropout = 0.2; rank = 2;", "dropout = 0.2; rank = 2; checkpoint = true;"}};
    mete_tape *tape = mete_tape_new();
    mete__builder *builder = mete__builder_new();
    float token[STEPS], *one = malloc(STEPS * VOCABULARY * sizeof *one),
                        *two = malloc(STEPS * VOCABULARY * sizeof *two);
    for (size_t i = 0; i < STEPS; i++)
        token[i] = (float)(3 + i * 41 % 250);
    const mete_batch *batch = rows_of(builder, token);
    for (int k = 0; k < 2; k++) {
        size_t n, m, moved = 0;
        float *plain = gradient(name[k], more[k][0], batch, tape, &n, one);
        float *anew = gradient(name[k], more[k][1], batch, tape, &m, two);
        CU_ASSERT_EQUAL_FATAL(n, m);
        CU_ASSERT(memcmp(one, two, STEPS * VOCABULARY * sizeof *one) == 0);
        CU_ASSERT(memcmp(plain, anew, n * sizeof *plain) == 0);
        for (size_t i = 0; i < n; i++)
            moved += plain[i] != 0;
        CU_ASSERT(moved > n / 2);
        free(plain);
        free(anew);
    }
    mete_tape_free(tape);
    mete__builder_free(builder);
    free(one);
    free(two);
}

/* What was sampled with a cache and merged adapters, warm, has forward's log-probability. */
static void
adapters_act(void)
{
    struct subject s;
    mete_error err;
    static const mete_spaces text = {
        .size = sizeof text, .single_turn = 1, .action = {.kind = METE_SPACE_TEXT}};
    static const uint64_t episode[] = {1, 2, 3};
    static const uint32_t step[3];
    CU_ASSERT_FATAL(begin(&s, source("qwen3"), "rank = 2;"));
    mete_rng rng = mete_rng_make(6, 0, 0);
    for (size_t i = 0; i < s.policy->parameter_count; i++)
        s.vector[i] += (float)(.1 * mete_rng_normal(&rng));
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    for (size_t i = 0; i < 3; i++)
        mete__builder_row(builder, &(mete__row){.id = i + 1, .starts = true});
    mete_lanes lanes = {.size = sizeof lanes,
                        .count = 3,
                        .episode = episode,
                        .step = step,
                        .context = mete__builder_batch(builder, &err),
                        .temperature = 1.7};
    mete_params params = {
        .size = sizeof params, .vector = s.vector, .count = s.policy->parameter_count};
    mete_actions *said = mete__actions_new(&text, &s.policy->info, 3);
    CU_ASSERT_EQUAL_FATAL(mete__policy_act(s.policy, &params, &lanes, said, &s.err), METE_OK);
    mete__builder *spoken = mete__builder_new();
    mete__builder_shape(spoken, &(mete__shape){.text = true});
    size_t total = 0;
    float logp[200], want[200];
    for (size_t i = 0; i < 3; i++) {
        size_t count;
        const mete_token *token = mete_actions_tokens(said, i, &count);
        mete__builder_row(spoken, &(mete__row){.id = i + 1, .starts = true});
        for (size_t k = 0; k < count; k++) {
            mete__builder_step(spoken, &(mete__step){.action = token[k].id, .loss_mask = 1});
            want[total++] = token[k].logp;
        }
    }
    mete_query query = {.size = sizeof query,
                        .batch = mete__builder_batch(spoken, &err),
                        .count = total,
                        .want = METE_WANT_LOGP,
                        .temperature = 1.7};
    mete_outputs out = {.size = sizeof out, .logp = logp};
    mete_tape *tape = mete_tape_new();
    CU_ASSERT_EQUAL_FATAL(mete__policy_forward(s.policy, &params, &query, &out, tape, &s.err),
                          METE_OK);
    CU_ASSERT(total >= 3);
    for (size_t i = 0; i < total; i++)
        CU_ASSERT_DOUBLE_EQUAL(logp[i], want[i], 1e-4);
    mete_tape_free(tape);
    mete__actions_free(said);
    mete__builder_free(builder);
    mete__builder_free(spoken);
    end(&s);
}

/* What is said from parameters that bfloat16 holds exactly, number by number. */
static size_t
say(const char *name, const char *more, float *told)
{
    struct subject s;
    mete_error err;
    static const mete_spaces text = {
        .size = sizeof text, .single_turn = 1, .action = {.kind = METE_SPACE_TEXT}};
    static const uint64_t episode[] = {1, 2, 3};
    static const uint32_t step[3];
    CU_ASSERT_FATAL(begin(&s, source(name), more));
    for (size_t i = 0; i < s.policy->parameter_count; i++) {
        uint16_t half;
        mete_to_bf16(&s.vector[i], 1, &half);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(&s.vector[i], &bits, sizeof bits);
    }
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    for (size_t i = 0; i < 3; i++)
        mete__builder_row(builder, &(mete__row){.id = i + 1, .starts = true});
    mete_lanes lanes = {.size = sizeof lanes,
                        .count = 3,
                        .episode = episode,
                        .step = step,
                        .context = mete__builder_batch(builder, &err),
                        .temperature = 1};
    mete_params params = {
        .size = sizeof params, .vector = s.vector, .count = s.policy->parameter_count};
    mete_actions *said = mete__actions_new(&text, &s.policy->info, 3);
    CU_ASSERT_EQUAL_FATAL(mete__policy_act(s.policy, &params, &lanes, said, &s.err), METE_OK);
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t count;
        const mete_token *token = mete_actions_tokens(said, i, &count);
        for (size_t k = 0; k < count; k++) {
            told[n++] = (float)token[k].id;
            told[n++] = token[k].logp;
        }
    }
    mete__actions_free(said);
    mete__builder_free(builder);
    end(&s);
    return n;
}

/* Rounding is all that bfloat16 does: of rounded matrices it says the same, to the bit. */
static void
half_matrices(void)
{
    static const char *const name[] = {"gpt2", "llama"};
    for (int k = 0; k < 2; k++) {
        float one[200], two[200];
        size_t n = say(name[k], "", one), m = say(name[k], "bf16 = true;", two);
        CU_ASSERT(n >= 6);
        CU_ASSERT_EQUAL(n, m);
        CU_ASSERT(memcmp(one, two, n * sizeof *one) == 0);
    }
}

static void
drop(const char *folder, const char *const *file, size_t files)
{
    char path[4096];
    for (size_t i = 0; i < files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, file[i]);
        CU_ASSERT_EQUAL(unlink(path), 0);
    }
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static const char *const model_files[] = {"config.json", "model.safetensors", "tokenizer.json"};

/* What is written loads again and computes the same, to the bit. */
static void
there_and_back(const char *from, const char *more)
{
    char folder[] = "/tmp/mete-model-XXXXXX";
    struct subject first, second;
    float token[STEPS], *one = malloc(STEPS * VOCABULARY * sizeof *one),
                        *two = malloc(STEPS * VOCABULARY * sizeof *two);
    mete_tape *tape = mete_tape_new();
    mete__builder *builder = mete__builder_new();
    for (size_t i = 0; i < STEPS; i++)
        token[i] = (float)(3 + i * 53 % 250);
    const mete_batch *batch = rows_of(builder, token);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    if (!begin(&first, from, more))
        fprintf(stderr, "%s%s: %s\n", from ? from : "", more, first.err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(first.vector);
    mete_rng rng = mete_rng_make(8, 0, 0); /* no number is what it starts as */
    for (size_t i = 0; i < first.policy->parameter_count; i++)
        first.vector[i] += (float)(.1 * mete_rng_normal(&rng));
    CU_ASSERT_EQUAL_FATAL(ask(&first, batch, one, tape), METE_OK);
    mete_params params = {
        .size = sizeof params, .vector = first.vector, .count = first.policy->parameter_count};
    CU_ASSERT_EQUAL(mete__policy_emit(first.policy, &params, folder, &first.err), METE_OK);
    if (!begin(&second, folder, ""))
        fprintf(stderr, "%s%s: %s\n", from ? from : "", more, second.err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(second.vector);
    CU_ASSERT_EQUAL(ask(&second, batch, two, tape), METE_OK);
    CU_ASSERT_EQUAL(memcmp(one, two, STEPS * VOCABULARY * sizeof *one), 0);
    drop(folder, model_files, 3);
    mete_tape_free(tape);
    mete__builder_free(builder);
    end(&first);
    end(&second);
    free(one);
    free(two);
}

static void
published_again(void)
{
    static const char *const family[] = {"llama", "qwen2", "qwen3", "gpt2"};
    char more[200];
    for (size_t i = 0; i < 4; i++) {
        there_and_back(source(family[i]), "");
        /* one trained from nothing, its head its own */
        snprintf(more, sizeof more,
                 "family = \"%s\"; width = 24; heads = 4; hidden = 20; tie = false; context = 64; "
                 "groups = %d;",
                 family[i], i == 3 ? 4 : 2);
        there_and_back(NULL, more);
    }
}

/* ---- adapters of files ----------------------------------------------------------------------- */

static void
put(const char *folder, const char *name, const void *bytes, size_t length)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fwrite(bytes, 1, length, file);
    fclose(file);
}

static char *
get(const char *name, size_t *length)
{
    mete_buffer out = mete_buffer_make(0);
    CU_ASSERT_EQUAL_FATAL(mete_file_read(source(name), 1 << 20, &out, NULL), METE_OK);
    *length = out.length;
    return out.data;
}

static const char *const adapter_files[] = {"adapter_config.json", "adapter_model.safetensors"};

/* Random numbers in the adapters of a checkpoint, written into `folder`. */
static void
write_adapters(struct subject *s, const char *name, const char *more, const char *folder)
{
    if (!begin(s, source(name), more))
        fprintf(stderr, "%s: %s\n", more, s->err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s->vector);
    mete_rng rng = mete_rng_make(9, 0, 0);
    for (size_t i = 0; i < s->policy->parameter_count; i++)
        s->vector[i] += (float)(.1 * mete_rng_normal(&rng));
    mete_params params = {
        .size = sizeof params, .vector = s->vector, .count = s->policy->parameter_count};
    CU_ASSERT_EQUAL_FATAL(mete__policy_emit(s->policy, &params, folder, &s->err), METE_OK);
}

/* Adapters that were written are gone on from: the same numbers, and the same file again. */
static void
adapters_there_and_back(void)
{
    static const char *const name[] = {"llama", "qwen2", "qwen3", "gpt2"};
    static const char *const more[] = {
        "rank = 2; targets = [\"q_proj\", \"v_proj\"];", "rank = 3; alpha = 5.0;",
        "rank = 2; targets = [\"up\", \"self_attn.o_proj\", \"k_proj\"];",
        "rank = 2; targets = [\"c_attn\", \"mlp.c_proj\"];"};
    static const size_t has[] = {4, 8, 8, 4}; /* modules of both layers */
    for (int k = 0; k < 4; k++) {
        struct subject first, second;
        char one[] = "/tmp/mete-model-XXXXXX", two[] = "/tmp/mete-model-XXXXXX";
        char own[2][64], given[200];
        CU_ASSERT_FATAL(mkdtemp(one) && mkdtemp(two));
        snprintf(own[0], sizeof own[0], "%s/adapter", one);
        snprintf(own[1], sizeof own[1], "%s/adapter", two);
        write_adapters(&first, name[k], more[k], one);
        snprintf(given, sizeof given, "adapters = \"%s\";", own[0]);
        if (!begin(&second, source(name[k]), given))
            fprintf(stderr, "%s: %s\n", name[k], second.err.message);
        CU_ASSERT_PTR_NOT_NULL_FATAL(second.vector);
        CU_ASSERT_EQUAL_FATAL(first.policy->parameter_count, second.policy->parameter_count);
        CU_ASSERT(memcmp(first.vector, second.vector,
                         first.policy->parameter_count * sizeof *first.vector) == 0);
        mete_params params = {.size = sizeof params,
                              .vector = second.vector,
                              .count = second.policy->parameter_count};
        CU_ASSERT_EQUAL_FATAL(mete__policy_emit(second.policy, &params, two, &second.err), METE_OK);
        for (size_t f = 0; f < 2; f++) {
            mete_buffer bytes[2] = {mete_buffer_make(0), mete_buffer_make(0)};
            for (int i = 0; i < 2; i++) {
                char path[200];
                snprintf(path, sizeof path, "%s/%s", own[i], adapter_files[f]);
                CU_ASSERT_EQUAL_FATAL(mete_file_read(path, 1 << 20, &bytes[i], NULL), METE_OK);
            }
            CU_ASSERT_EQUAL_FATAL(bytes[0].length, bytes[1].length);
            CU_ASSERT(memcmp(bytes[0].data, bytes[1].data, bytes[0].length) == 0);
            mete_buffer_free(&bytes[0]);
            mete_buffer_free(&bytes[1]);
        }
        snprintf(given, sizeof given, "%s/adapter_model.safetensors", own[1]);
        mete_arrays *arrays = mete_arrays_open(given, &first.err);
        CU_ASSERT_EQUAL(mete_arrays_count(arrays), 2 * has[k]);
        mete_arrays_close(arrays);
        for (int i = 0; i < 2; i++) {
            drop(own[i], adapter_files, 2);
            drop(i ? two : one, model_files, 3);
        }
        end(&first);
        end(&second);
    }
}

/* The adapters in `folder` with one place of their config changed are refused, saying `why`. */
static void
refuses_adapters(const char *folder, const char *config, const char *from, const char *to,
                 const char *more, const char *why)
{
    struct subject s;
    char changed[4000], given[400];
    const char *at = strstr(config, from);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - config), config, to,
             at + strlen(from));
    put(folder, "adapter_config.json", changed, strlen(changed));
    snprintf(given, sizeof given, "adapters = \"%s\"; %s", folder, more);
    CU_ASSERT_EQUAL(begin(&s, source("qwen2"), given), 0);
    if (!strstr(s.err.message, why))
        fprintf(stderr, "%s -> %s: %s\n", from, to, s.err.message);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.err.message, why));
    end(&s);
}

static void
adapters_that_lie(void)
{
    struct subject s;
    char folder[] = "/tmp/mete-model-XXXXXX", own[64], given[100];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(own, sizeof own, "%s/adapter", folder);
    write_adapters(&s, "qwen2", "rank = 3;", folder);
    end(&s);
    mete_buffer config = mete_buffer_make(0), arrays = mete_buffer_make(0);
    snprintf(given, sizeof given, "%s/adapter_config.json", own);
    CU_ASSERT_EQUAL_FATAL(mete_file_read(given, 4000, &config, NULL), METE_OK);
    mete_buffer_byte(&config, 0);
    snprintf(given, sizeof given, "%s/adapter_model.safetensors", own);
    CU_ASSERT_EQUAL_FATAL(mete_file_read(given, 1 << 20, &arrays, NULL), METE_OK);
    static const struct {
        const char *from, *to, *more, *why;
    } lie[] = {
        {"\"LORA\"", "\"LOHA\"", "", "\"peft_type\" is \"LOHA\"; mete computes \"LORA\""},
        {"\"r\": 3", "\"r\": 4", "", "is not 4 x 32, as the model and \"r\" say"},
        {"\"r\": 3", "\"r\": 5000", "", "\"r\" must be at most 4096"},
        {"\"r\": 3", "\"r\": -1", "", "whole number"},
        {"\"r\": 3", "\"r\": 3", "rank = 4;", "rank = 4, but"},
        {"\"r\": 3", "\"r\": 3", "targets = [\"qkv\"];", "leave targets out"},
        {"\"lora_alpha\": 16", "\"lora_alpha\": null, \"x\": 1", "", "\"x\" is 1: a setting"},
        {"\"lora_alpha\": 16", "\"lora_alpha\": 1e99", "", "\"lora_alpha\" must be a number"},
        {"\"r\": 3", "\"r\": 3, \"use_dora\": true", "", "\"use_dora\" is true"},
        {"\"r\": 3", "\"r\": 3, \"rank_pattern\": {\"q_proj\": 8}", "", "\"rank_pattern\" is"},
        {"\"r\": 3", "\"r\": 3, \"modules_to_save\": [\"lm_head\"]", "", "\"modules_to_save\""},
        {"\"r\": 3", "\"r\": 3, \"init_lora_weights\": \"pissa\"", "", "another base"},
        {"\"use_rslora\": false", "\"use_rslora\": 3", "", "true or false"},
        {"\"none\"", "\"all\"", "", "\"bias\" is \"all\"; mete computes \"none\""},
        {"\"k_proj\", ", "", "", "holds 16 arrays where adapters of \"target_modules\" are 12"},
        {"\"k_proj\"", "\"k_proj\", \"up_proj\"", "", "has no array"},
        {"\"k_proj\"", "\"experts\"", "", "no 'experts' can have adapters"},
        {"\"k_proj\"", "7", "", "must be a list of module names"},
        {"[\"q_proj\"", "\".*\", \"revision\": [\"\"", "", "must be a list of module names"},
        {"{", "[", "", "adapter_config.json"}};
    for (size_t i = 0; i < sizeof lie / sizeof *lie; i++)
        refuses_adapters(own, config.data, lie[i].from, lie[i].to, lie[i].more, lie[i].why);
    put(own, "adapter_config.json", config.data, config.length - 1);
    for (size_t cut = 0; cut < arrays.length; cut += cut < 200 ? 40 : arrays.length / 5) {
        put(own, "adapter_model.safetensors", arrays.data, cut);
        snprintf(given, sizeof given, "adapters = \"%s\";", own);
        CU_ASSERT_EQUAL(begin(&s, source("qwen2"), given), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(s.err.message, "adapter_model.safetensors"));
        end(&s);
    }
    memset(arrays.data + arrays.length - 4, 0xff, 4); /* not a number */
    put(own, "adapter_model.safetensors", arrays.data, arrays.length);
    CU_ASSERT_EQUAL(begin(&s, source("qwen2"), given), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.err.message, "not finite"));
    end(&s);
    CU_ASSERT_EQUAL(begin(&s, NULL, given), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.err.message, "give `load`"));
    end(&s);
    mete_buffer_free(&config);
    mete_buffer_free(&arrays);
    drop(own, adapter_files, 2);
    drop(folder, model_files, 3);
}

/* ---- checkpoints that are not what they say -------------------------------------------------- */

/* qwen2's config.json with one place of it changed, into `folder`. */
static void
changed_config(const char *folder, const char *from, const char *to)
{
    size_t length;
    char *config = get("qwen2/config.json", &length), changed[4000];
    const char *at = strstr(config, from);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - config), config, to,
             at + strlen(from));
    put(folder, "config.json", changed, strlen(changed));
    free(config);
}

/* Such a copy is refused with a sentence that says `why`. */
static void
refuses(const char *folder, const char *from, const char *to, const char *why)
{
    struct subject s;
    changed_config(folder, from, to);
    CU_ASSERT_EQUAL(begin(&s, folder, ""), 0);
    if (!strstr(s.err.message, why))
        fprintf(stderr, "%s -> %s: %s\n", from, to, s.err.message);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.err.message, why));
    end(&s);
}

static void
lies(void)
{
    struct subject s;
    char folder[] = "/tmp/mete-model-XXXXXX", path[4096];
    size_t length, weights;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    char *model = get("qwen2/model.safetensors", &weights);
    put(folder, "model.safetensors", model, weights);
    changed_config(folder, "\"default\"", "\"linear\", \"factor\": 4.0");
    check_against(folder, "", "qwen2_peft", "linear");
    refuses(folder, "\"qwen2\"", "\"mamba\"", "\"model_type\" is \"mamba\"; llama, qwen2");
    refuses(folder, "\"hidden_size\": 32", "\"hidden_size\": 64",
            "is not 1 x 64, as config.json says");
    refuses(folder, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "has no array");
    refuses(folder, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "arrays where");
    refuses(folder, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1e300", "whole number");
    refuses(folder, "\"hidden_size\": 32,", "", "\"hidden_size\" is missing");
    refuses(folder, "\"num_attention_heads\": 4", "\"num_attention_heads\": 3", "multiple");
    refuses(folder, "\"silu\"", "\"relu\"", "\"hidden_act\" is \"relu\"; mete computes \"silu\"");
    refuses(folder, "\"default\"", "\"yarn\"", "rope type \"yarn\"");
    refuses(folder, "\"default\"", "\"linear\", \"factor\": 0", "\"factor\" must be a number");
    static const char *const foreign[] = {"\"partial_rotary_factor\": 0.5",
                                          "\"final_logit_softcapping\": 30.0",
                                          "\"attn_logit_softcapping\": 50",
                                          "\"embedding_multiplier\": 12",
                                          "\"quantization_config\": {\"bits\": 4}",
                                          "\"num_experts\": 8",
                                          "\"use_sliding_window\": true",
                                          "\"layer_types\": [\"sliding_attention\"]",
                                          "\"mlp_bias\": true",
                                          "\"add_cross_attention\": true"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char to[200], why[100];
        snprintf(to, sizeof to, "\"qwen2\", %s", foreign[i]);
        snprintf(why, sizeof why, "%.*s", (int)strcspn(foreign[i], ":"), foreign[i]);
        refuses(folder, "\"qwen2\"", to, why);
    }
    /* What nobody knows, at the root and beside the scaling, unless it is not set. */
    refuses(folder, "\"qwen2\"", "\"qwen2\", \"logit_wobble\": 0.5",
            "\"logit_wobble\" is 0.5: a setting that is not known");
    refuses(folder, "\"qwen2\"", "\"qwen2\", \"use_wobble\": false", "\"use_wobble\" is false");
    refuses(folder, "\"qwen2\"", "\"qwen2\", \"n_embd\": 32", "\"n_embd\" is 32"); /* GPT-2's */
    refuses(folder, "\"qwen2\"", "\"qwen2\", \"auto_map\": {\"AutoModel\": \"m.M\"}",
            "\"auto_map\"");
    refuses(folder, "\"default\"", "\"default\", \"beta_fast\": 32", "\"beta_fast\" is 32");
    refuses(folder, "\"default\"", "\"default\", \"factor\": 4", "\"factor\" is 4");
    changed_config(folder, "\"qwen2\"",
                   "\"qwen2\", \"wobble\": null, \"top_p\": 0.8, \"num_labels\": 2, "
                   "\"logit_wobble\": 0.5");
    check_against(folder, "ignore = [ \"logit_wobble\" ];", "qwen2", "logits");
    refuses(folder, "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": 1",
            "must be true or false");
    refuses(folder, "{", "[", "config.json");
    char *config = get("qwen2/config.json", &length);
    put(folder, "config.json", config, length);
    for (size_t cut = 0; cut < weights; cut += cut < 200 ? 40 : weights / 5) {
        put(folder, "model.safetensors", model, cut);
        CU_ASSERT_EQUAL(begin(&s, folder, ""), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(s.err.message, "model.safetensors"));
        end(&s);
    }
    static const char *const indices[] = {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}",
                                          "{\"weight_map\": {\"a\": 3}}", "{\"weight_map\": []}",
                                          "{", "{\"weight_map\": {\"a\": \"/etc/passwd\"}}"};
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
        put(folder, "model.safetensors.index.json", indices[i], strlen(indices[i]));
        CU_ASSERT_EQUAL(begin(&s, folder, ""), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(s.err.message, "index.json"));
        end(&s);
    }
    static const char *const files[] = {"config.json", "model.safetensors",
                                        "model.safetensors.index.json"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    CU_ASSERT_EQUAL(begin(&s, folder, ""), 0);
    end(&s);
    rmdir(folder);
    free(config);
    free(model);
}

/* What is written is read, in its shape; half-precision numbers exactly. */
static void
arrays_there_and_back(void)
{
    char path[] = "/tmp/mete-arrays-XXXXXX";
    mete_error err = {0};
    static const float one[6] = {1, -2, 3.5f, 1e-30f, -0.0f, 6}, two[2] = {7, 8};
    const mete_array_given given[] = {{"b", 2, {2, 3}, one}, {"a", 1, {2}, two}};
    close(mkstemp(path));
    CU_ASSERT_EQUAL_FATAL(mete_arrays_write(path, given, 2, &err), METE_OK);
    mete_arrays *arrays = mete_arrays_open(path, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(arrays);
    CU_ASSERT_EQUAL(mete_arrays_count(arrays), 2);
    CU_ASSERT_STRING_EQUAL(mete_arrays_at(arrays, 0)->name, "a");
    const mete_array *b = mete_arrays_find(arrays, "b");
    float got[6];
    CU_ASSERT_EQUAL(b->dimensions, 2);
    CU_ASSERT_EQUAL(b->shape[1], 3);
    CU_ASSERT_EQUAL(mete_array_read(b, 0, 6, got, &err), METE_OK);
    CU_ASSERT_EQUAL(memcmp(got, one, sizeof got), 0);
    CU_ASSERT_EQUAL(mete_array_read(b, 4, 2, got, &err), METE_OK);
    CU_ASSERT_EQUAL(got[1], 6);
    CU_ASSERT_EQUAL(mete_array_read(b, 5, 2, got, &err), METE_EINVAL);
    CU_ASSERT_PTR_NULL(mete_arrays_find(arrays, "c"));
    mete_arrays_close(arrays);

    /* float16: 1, -2, the least subnormal, the largest, infinity; bfloat16: 1, -2, pi cut */
    static const char header[] =
        "{\"h\":{\"dtype\":\"F16\",\"shape\":[5],\"data_offsets\":[0,10]},"
        "\"g\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[10,16]}}";
    static const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x3f80, 0xc000, 0x4049};
    static const float halves[] = {1, -2, 0x1p-24f, 65504, INFINITY}, brains[] = {1, -2, 3.140625f};
    FILE *file = fopen(path, "w");
    uint64_t length = sizeof header - 1;
    fwrite(&length, 8, 1, file);
    fwrite(header, 1, length, file);
    fwrite(half, 1, sizeof half, file);
    fclose(file);
    CU_ASSERT_PTR_NOT_NULL_FATAL(arrays = mete_arrays_open(path, &err));
    CU_ASSERT_EQUAL(mete_array_read(mete_arrays_find(arrays, "h"), 0, 5, got, &err), METE_OK);
    CU_ASSERT_EQUAL(memcmp(got, halves, sizeof halves), 0);
    CU_ASSERT_EQUAL(mete_array_read(mete_arrays_find(arrays, "g"), 0, 3, got, &err), METE_OK);
    CU_ASSERT_EQUAL(memcmp(got, brains, sizeof brains), 0);
    mete_arrays_close(arrays);
    unlink(path);
}

static int
make_words(void)
{
    mete_buffer json = mete_buffer_make(0);
    static const char *const own[] = {"<|endoftext|>", "<|1|>", "<|2|>", "<|3|>"};
    mete_tokeniser *bytes = mete_tokeniser_bytes(own, VOCABULARY - 256, NULL);
    int fd = mkstemp(words);
    int bad = !bytes || fd < 0 || mete_tokeniser_write(bytes, &json) ||
              write(fd, json.data, json.length) != (ssize_t)json.length;
    close(fd);
    mete_tokeniser_free(bytes);
    mete_buffer_free(&json);
    return bad;
}

static int
drop_words(void)
{
    return unlink(words);
}

void
suite_transformer(void)
{
    CU_pSuite suite = CU_add_suite("transformer", make_words, drop_words);
    CU_add_test(suite, "published layouts against the reference", conformance);
    CU_add_test(suite, "published again", published_again);
    CU_add_test(suite, "adapters", adapters);
    CU_add_test(suite, "layers computed anew", layers_anew);
    CU_add_test(suite, "matrices in bfloat16", half_matrices);
    CU_add_test(suite, "adapters, acting", adapters_act);
    CU_add_test(suite, "adapters there and back", adapters_there_and_back);
    CU_add_test(suite, "adapters that lie", adapters_that_lie);
    CU_add_test(suite, "checkpoints that lie", lies);
    CU_add_test(suite, "arrays there and back", arrays_there_and_back);
}
