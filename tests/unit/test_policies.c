/* test_policies.c - the policies that come with mete: gradients against differences, what is sampled
 * against what is said, parameter versions side by side, and responses that never depend on who else
 * is answered. */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 4096

/* One policy, opened and described, with parameters away from their symmetric start. */
struct subject {
    mete__config *config;
    mete__engine *engine;
    mete_node *policy;
    mete_spaces spaces;
    float *vector;
    size_t count;
    mete_error err;
};

static void
shake(float *vector, size_t count, uint64_t seed, double size)
{
    mete_rng rng = mete_rng_make(seed, 0, 0);
    for (size_t i = 0; i < count; i++)
        vector[i] += (float)(size * mete_rng_normal(&rng));
}

static int
begin(struct subject *s, const char *text, const mete_spaces *spaces, const mete_batch *texts)
{
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 7, .threads = 1};
    char path[4096];
    memset(s, 0, sizeof *s);
    snprintf(path, sizeof path, "%s/plugins",
             getenv("METE_BUILDDIR") ? getenv("METE_BUILDDIR") : ".");
    setenv("METE_PLUGIN_PATH", path, 1);
    s->config = mete__config_parse("test", text, strlen(text), NULL, 0, &errors);
    s->engine = s->config ? mete__engine_open(s->config, &options, &errors) : NULL;
    if (!s->engine) {
        mete__errors_print(&errors, stderr);
        CU_FAIL("the policy did not open");
        return 0;
    }
    s->policy = mete__engine_policy(s->engine);
    s->spaces = *spaces;
    int status = mete__policy_describe(s->policy, spaces, texts, &s->err);
    if (status)
        fprintf(stderr, "%s\n", s->err.message);
    CU_ASSERT_EQUAL_FATAL(status, METE_OK);
    s->count = s->policy->parameter_count;
    s->vector = calloc(s->count + 1, sizeof *s->vector);
    CU_ASSERT_EQUAL(mete__policy_init(s->policy, s->vector, &s->err), METE_OK);
    shake(s->vector, s->count, 3, 0.3);
    return 1;
}

static void
end(struct subject *s)
{
    free(s->vector);
    mete__engine_close(s->engine);
    mete__config_free(s->config);
}

static mete_params
params_of(const struct subject *s, const float *vector)
{
    return (mete_params){
        .size = sizeof(mete_params), .element = METE_F32, .vector = vector, .count = s->count};
}

/* Outputs of a query with room of their own. */
struct answers {
    mete_outputs out;
    float logp[MOST], value[MOST], entropy[MOST], logits[8 * MOST];
};

static struct answers *
answers_new(const struct subject *s)
{
    struct answers *a = calloc(1, sizeof *a);
    a->out = (mete_outputs){.size = sizeof a->out,
                            .heads = s->policy->info.heads,
                            .classes = s->policy->info.classes,
                            .logp = a->logp,
                            .value = s->policy->info.heads ? a->value : NULL,
                            .entropy = a->entropy,
                            .logits = s->policy->info.classes ? a->logits : NULL};
    return a;
}

static int
ask(struct subject *s, const float *vector, const mete_query *query, struct answers *a,
    mete_tape *tape)
{
    mete_params params = params_of(s, vector);
    mete_tape_reset(tape);
    int status = mete__policy_forward(s->policy, &params, query, &a->out, tape, &s->err);
    if (status)
        fprintf(stderr, "%s\n", s->err.message);
    return status;
}

/* A loss linear in every output: its adjoints are its coefficients. Masked logits carry none. */
static double
loss_of(const struct answers *a, const struct answers *by, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a->logp[i] * (double)by->logp[i];
        sum += (double)a->entropy[i] * (double)by->entropy[i];
    }
    for (size_t i = 0; i < n * a->out.heads; i++)
        sum += (double)a->value[i] * (double)by->value[i];
    for (size_t i = 0; i < n * a->out.classes; i++)
        sum += a->logits[i] > -1e29f ? (double)a->logits[i] * (double)by->logits[i] : 0;
    return sum;
}

/* d loss along random directions, by backward and by central differences. */
static void
check_gradient_of(struct subject *s, const mete_batch *batch, const uint32_t *step, size_t n,
                  uint64_t want)
{
    mete_query query = {
        .size = sizeof query, .batch = batch, .step = step, .count = n, .want = want};
    struct answers *a = answers_new(s), *by = answers_new(s);
    if (!(want & METE_WANT_LOGITS)) {
        a->out.classes = by->out.classes = 0;
        a->out.logits = by->out.logits = NULL;
    }
    mete_tape *tape = mete_tape_new();
    float *grad = calloc(s->count, sizeof *grad), *at = calloc(s->count, sizeof *at);
    float *along = calloc(s->count, sizeof *along);
    mete_params params = params_of(s, s->vector);
    CU_ASSERT_EQUAL_FATAL(ask(s, s->vector, &query, a, tape), METE_OK);
    shake(by->logp, n, 11, 1);
    shake(by->entropy, n, 12, 1);
    shake(by->value, n * by->out.heads, 13, 1);
    for (size_t i = 0; i < n * by->out.classes; i++)
        by->logits[i] = a->logits[i] > -1e29f ? (float)((i * 7) % 5) * 0.1f - 0.2f : 0;
    CU_ASSERT_EQUAL_FATAL(
        mete__policy_backward(s->policy, &params, &query, &by->out, tape, grad, &s->err), METE_OK);
    for (uint64_t trial = 0; trial < 6; trial++) {
        double slope = 0, size = 0, step_size = 2e-3;
        memset(along, 0, s->count * sizeof *along);
        shake(along, s->count, 100 + trial, 1);
        for (size_t i = 0; i < s->count; i++)
            size += (double)along[i] * (double)along[i];
        step_size /= sqrt(size / (double)s->count) * sqrt((double)s->count) * 0.05;
        for (size_t i = 0; i < s->count; i++)
            slope += (double)grad[i] * (double)along[i];
        /* Central differences of two steps, so that the cube's part falls out (Richardson). */
        static const double steps[] = {1, -1, 2, -2};
        double side[4];
        for (int k = 0; k < 4; k++) {
            for (size_t i = 0; i < s->count; i++)
                at[i] = s->vector[i] + (float)(steps[k] * step_size * (double)along[i]);
            CU_ASSERT_EQUAL_FATAL(ask(s, at, &query, a, tape), METE_OK);
            side[k] = loss_of(a, by, n);
        }
        double differences =
            (4 * (side[0] - side[1]) / 2 - (side[2] - side[3]) / 4) / (3 * step_size);
        if (fabs(differences - slope) > 0.01 * fabs(slope) + 0.02)
            fprintf(stderr, "%s: slope %g, differences %g\n", s->policy->plugin->as.head.name,
                    slope, differences);
        CU_ASSERT_DOUBLE_EQUAL(differences, slope, 0.01 * fabs(slope) + 0.02);
        CU_ASSERT(fabs(slope) > 1e-6);
    }
    mete_tape_free(tape);
    free(grad);
    free(at);
    free(along);
    free(a);
    free(by);
}

static void
check_gradient(struct subject *s, const mete_batch *batch, const uint32_t *step, size_t n)
{
    uint64_t want = METE_WANT_LOGP | METE_WANT_VALUE | METE_WANT_ENTROPY;
    check_gradient_of(s, batch, step, n, want | METE_WANT_LOGITS);
    check_gradient_of(s, batch, step, n, want);
}

/* ---- control --------------------------------------------------------------------------------------- */

#define LANES 24
#define SEEN 4
#define ARMS 5

static const mete_spaces discrete = {.size = sizeof(mete_spaces),
                                     .observation = {METE_SPACE_BOX, 0, SEEN, -1, 1},
                                     .action = {METE_SPACE_DISCRETE, ARMS, 0, 0, 0}};
static const mete_spaces continuous = {.size = sizeof(mete_spaces),
                                       .observation = {METE_SPACE_BOX, 0, SEEN, -1, 1},
                                       .action = {METE_SPACE_BOX, 0, 3, -1, 1}};
static const mete_spaces rooms = {.size = sizeof(mete_spaces),
                                  .observation = {METE_SPACE_DISCRETE, 6, 0, 0, 0},
                                  .action = {METE_SPACE_DISCRETE, ARMS, 0, 0, 0}};

/* Lanes that show random observations, some actions forbidden. */
struct scene {
    uint64_t episode[MOST];
    uint32_t step[MOST];
    float observation[MOST * SEEN];
    uint8_t mask[MOST * ARMS];
    mete_lanes lanes;
};

static struct scene *
scene_new(const struct subject *s, size_t count, int same)
{
    struct scene *scene = calloc(1, sizeof *scene);
    int rooms_seen = s->spaces.observation.kind == METE_SPACE_DISCRETE;
    uint32_t width = rooms_seen ? 1 : SEEN;
    shake(scene->observation, SEEN * MOST, 21, 1);
    for (size_t i = 0; i < count; i++) {
        scene->episode[i] = 1000 + i;
        for (size_t k = 0; same && k < width; k++)
            scene->observation[i * width + k] = scene->observation[k];
        if (rooms_seen)
            scene->observation[i] = (float)(same ? 2 : i % 6);
        for (size_t k = 0; k < ARMS; k++)
            scene->mask[i * ARMS + k] = same ? k != 3 : (i + k) % 4 != 0;
    }
    int masked = s->spaces.action.kind == METE_SPACE_DISCRETE;
    scene->lanes = (mete_lanes){.size = sizeof scene->lanes,
                                .count = count,
                                .episode = scene->episode,
                                .step = scene->step,
                                .observation = scene->observation,
                                .observation_size = width,
                                .action_count = masked ? ARMS : 0,
                                .action_mask = masked ? scene->mask : NULL,
                                .temperature = 1};
    return scene;
}

/* The lanes and what was decided for them, as a batch of one-step rows. */
static const mete_batch *
recorded(mete__builder *builder, const struct subject *s, const mete_lanes *lanes,
         const mete_actions *actions)
{
    mete__shape shape = {.observation_size = lanes->observation_size,
                         .action_size = actions->vector_size,
                         .action_count = lanes->action_count,
                         .heads = s->policy->info.heads,
                         .logp = true};
    mete_error err;
    mete__builder_shape(builder, &shape);
    for (size_t i = 0; i < lanes->count; i++) {
        mete__row row = {.id = lanes->episode[i], .starts = true, .terminated = true};
        mete__step step = {.observation = lanes->observation + i * lanes->observation_size,
                           .logp = actions->logp[i],
                           .value = actions->value ? actions->value + i * actions->heads : NULL,
                           .loss_mask = 1};
        if (lanes->action_mask)
            step.action_mask = lanes->action_mask + i * lanes->action_count;
        if (actions->vector)
            step.action_vector = actions->vector + i * actions->vector_size;
        else
            step.action = actions->action[i];
        CU_ASSERT_EQUAL_FATAL(mete__builder_row(builder, &row), METE_OK);
        CU_ASSERT_EQUAL_FATAL(mete__builder_step(builder, &step), METE_OK);
    }
    return mete__builder_batch(builder, &err);
}

/* act's log-probabilities and values are forward's; gradients hold for all steps and for some. */
static void
check_control_at(const char *config, const mete_spaces *spaces, double temperature)
{
    static const uint32_t some[] = {5, 2, 19, 2, 11};
    struct subject s;
    if (!begin(&s, config, spaces, NULL))
        return;
    struct scene *scene = scene_new(&s, LANES, 0);
    mete_actions *actions = mete__actions_new(spaces, &s.policy->info, LANES);
    mete_params params = params_of(&s, s.vector);
    mete__builder *builder = mete__builder_new();
    scene->lanes.temperature = temperature;
    CU_ASSERT_EQUAL_FATAL(mete__policy_act(s.policy, &params, &scene->lanes, actions, &s.err),
                          METE_OK);
    const mete_batch *batch = recorded(builder, &s, &scene->lanes, actions);
    CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
    mete_query query = {.size = sizeof query,
                        .batch = batch,
                        .count = LANES,
                        .want = METE_WANT_LOGP | METE_WANT_VALUE,
                        .temperature = temperature};
    struct answers *a = answers_new(&s);
    mete_tape *tape = mete_tape_new();
    CU_ASSERT_EQUAL_FATAL(ask(&s, s.vector, &query, a, tape), METE_OK);
    for (size_t i = 0; i < LANES; i++) {
        CU_ASSERT_DOUBLE_EQUAL(a->logp[i], actions->logp[i], 2e-5);
        if (actions->action && scene->lanes.action_mask)
            CU_ASSERT(scene->mask[i * ARMS + (size_t)actions->action[i]]);
        if (s.policy->info.heads)
            CU_ASSERT_DOUBLE_EQUAL(a->value[i], actions->value[i], 2e-5);
    }
    check_gradient(&s, batch, NULL, LANES);
    check_gradient(&s, batch, some, 5);
    mete_tape_free(tape);
    free(a);
    mete__builder_free(builder);
    mete__actions_free(actions);
    free(scene);
    end(&s);
}

static void
check_control(const char *config, const mete_spaces *spaces)
{
    check_control_at(config, spaces, 1);
    check_control_at(config, spaces, 1.7);
}

static void
test_control(void)
{
    check_control("policy = { use = \"mlp\"; hidden = [7, 6]; };", &discrete);
    check_control("policy = { use = \"mlp\"; hidden = [7]; activation = \"gelu\"; shared = true; "
                  "heads = 2; };",
                  &discrete);
    check_control("policy = { use = \"mlp\"; hidden = [8]; };", &continuous);
    check_control("policy = { use = \"mlp\"; hidden = [8]; critic = false; };", &rooms);
    check_control("policy = { use = \"tabular\"; };", &rooms);
    check_control(
        "policy = { use = \"tabular\"; inputs = [0, 2]; bins = [3, 4]; low = [-1.0, -1.0];"
        " high = [1.0, 1.0]; };",
        &discrete);
}

/* Pearson's statistic of 4,000 draws over four possible actions: above 21.1 (three degrees of
 * freedom) once in 10,000 for a right sampler; seeds are fixed, so the test does not flicker. */
static void
check_draws(const char *config, const mete_spaces *spaces)
{
    enum { DRAWS = 4000 };
    struct subject s;
    if (!begin(&s, config, spaces, NULL))
        return;
    struct scene *scene = scene_new(&s, DRAWS, 1);
    mete_actions *actions = mete__actions_new(spaces, &s.policy->info, DRAWS);
    mete_params params = params_of(&s, s.vector);
    CU_ASSERT_EQUAL_FATAL(mete__policy_act(s.policy, &params, &scene->lanes, actions, &s.err),
                          METE_OK);
    mete__builder *builder = mete__builder_new();
    const mete_batch *batch = recorded(builder, &s, &scene->lanes, actions);
    mete_query query = {.size = sizeof query, .batch = batch, .count = 1, .want = METE_WANT_LOGITS};
    uint32_t first = 0;
    query.step = &first;
    struct answers *a = answers_new(&s);
    mete_tape *tape = mete_tape_new();
    CU_ASSERT_EQUAL_FATAL(ask(&s, s.vector, &query, a, tape), METE_OK);
    double seen[ARMS] = {0}, statistic = 0;
    for (size_t i = 0; i < DRAWS; i++)
        seen[actions->action[i]]++;
    for (size_t k = 0; k < ARMS; k++) {
        double expected = DRAWS * exp((double)a->logits[k]);
        if (k != 3)
            statistic += (seen[k] - expected) * (seen[k] - expected) / expected;
    }
    CU_ASSERT_EQUAL(seen[3], 0); /* forbidden */
    CU_ASSERT(statistic < 21.1);
    mete_tape_free(tape);
    free(a);
    mete__builder_free(builder);
    mete__actions_free(actions);
    free(scene);
    end(&s);
}

static void
test_draws(void)
{
    check_draws("policy = { use = \"mlp\"; hidden = [8]; };", &discrete);
    check_draws("policy = { use = \"tabular\"; };", &rooms);
}

/* Lanes of two versions in one call answer as each version does alone. */
static void
test_versions(void)
{
    struct subject s;
    if (!begin(&s, "policy = { use = \"mlp\"; hidden = [8]; };", &discrete, NULL))
        return;
    struct scene *scene = scene_new(&s, 8, 0);
    float *other = malloc(s.count * sizeof *other);
    memcpy(other, s.vector, s.count * sizeof *other);
    shake(other, s.count, 77, 1);
    const void *lane[] = {s.vector, other, other, s.vector, other, s.vector, s.vector, other};
    mete_actions *mixed = mete__actions_new(&discrete, &s.policy->info, 8);
    mete_actions *alone[] = {mete__actions_new(&discrete, &s.policy->info, 8),
                             mete__actions_new(&discrete, &s.policy->info, 8)};
    mete_params both = params_of(&s, s.vector), one = params_of(&s, s.vector),
                two = params_of(&s, other);
    both.lane = lane;
    CU_ASSERT_EQUAL(mete__policy_act(s.policy, &both, &scene->lanes, mixed, &s.err), METE_OK);
    CU_ASSERT_EQUAL(mete__policy_act(s.policy, &one, &scene->lanes, alone[0], &s.err), METE_OK);
    CU_ASSERT_EQUAL(mete__policy_act(s.policy, &two, &scene->lanes, alone[1], &s.err), METE_OK);
    for (size_t i = 0; i < 8; i++) {
        const mete_actions *own = alone[lane[i] == other];
        CU_ASSERT_EQUAL(mixed->action[i], own->action[i]);
        CU_ASSERT_DOUBLE_EQUAL(mixed->logp[i], own->logp[i], 1e-5);
        CU_ASSERT_DOUBLE_EQUAL(mixed->value[i], own->value[i], 1e-5);
        CU_ASSERT(fabsf(alone[0]->value[i] - alone[1]->value[i]) > 1e-4f);
    }
    mete__actions_free(mixed);
    mete__actions_free(alone[0]);
    mete__actions_free(alone[1]);
    free(other);
    free(scene);
    end(&s);
}

/* ---- text -------------------------------------------------------------------------------------------- */

static const mete_spaces writing = {
    .size = sizeof(mete_spaces), .single_turn = 1, .action = {METE_SPACE_TEXT, 0, 0, 0, 0}};
static const char *const prompts[] = {"name[A], food[Thai]", "name[B], food[Italian]",
                                      "name[A], area[city, centre]", "food[Thai]"};
static const char *const texts[] = {"A is a Thai place, cheap.",
                                    "B serves Italian food; it's  good.",
                                    "A is in the city centre.", "Thai food is cheap, good."};

/* Four rows of prompt and response, without steps. */
static const mete_batch *
corpus(mete__builder *builder)
{
    mete_error err;
    mete__shape shape = {.text = true};
    mete__builder_shape(builder, &shape);
    for (size_t i = 0; i < 4; i++) {
        mete__row row = {.id = i + 1,
                         .prompt_id = i + 1,
                         .starts = true,
                         .terminated = true,
                         .prompt = mete_text_from(prompts[i]),
                         .response = mete_text_from(texts[i])};
        CU_ASSERT_EQUAL_FATAL(mete__builder_row(builder, &row), METE_OK);
    }
    return mete__builder_batch(builder, &err);
}

/* Rows with the tokens that `actions` holds. */
static const mete_batch *
spoken(mete__builder *builder, const mete_batch *from, const mete_actions *actions, uint32_t heads)
{
    mete_error err;
    mete__shape shape = {.text = true, .heads = heads, .logp = true};
    mete__builder_shape(builder, &shape);
    for (size_t i = 0; i < from->episodes; i++) {
        size_t count;
        const mete_token *token = mete_actions_tokens(actions, i, &count);
        mete__row row = {.id = from->id[i],
                         .prompt_id = from->prompt_id[i],
                         .starts = true,
                         .terminated = true,
                         .prompt = from->prompt[i],
                         .response = actions->text[i]};
        CU_ASSERT_EQUAL_FATAL(mete__builder_row(builder, &row), METE_OK);
        for (size_t k = 0; k < count; k++) {
            mete__step step = {.action = token[k].id,
                               .logp = token[k].logp,
                               .begin = token[k].begin,
                               .end = token[k].end,
                               .value = &token[k].value,
                               .loss_mask = 1};
            CU_ASSERT_EQUAL_FATAL(mete__builder_step(builder, &step), METE_OK);
        }
    }
    return mete__builder_batch(builder, &err);
}

/* Small ones of each kind of layer, that learn their words from the corpus. */
#define SMALL(more)                                                                                \
    "policy = { use = \"transformer\"; vocabulary = 264; max_tokens = 12; critic = true; layers "  \
    "= "                                                                                           \
    "2; width = 16; hidden = 12; heads = 4; " more " };"

static const char *const writers[] = {
    "policy = { use = \"window_lm\"; window = 3; embedding = 5; hidden = [37, 9]; max_tokens = 12; "
    "min_count = 1; critic = true; };",
    SMALL("groups = 2;"), SMALL("family = \"qwen2\"; tie = false;"),
    SMALL("family = \"qwen3\"; groups = 1;"), SMALL("family = \"gpt2\"; context = 60;")};
#define WRITERS (sizeof writers / sizeof *writers)

/* Given texts are cut into tokens that join to them exactly; the vocabulary knows all of them. */
static void
check_encode(const char *config)
{
    struct subject s;
    mete__builder *builder = mete__builder_new();
    const mete_batch *batch = corpus(builder);
    if (!begin(&s, config, &writing, batch))
        return;
    mete_actions *actions = mete__actions_new(&writing, &s.policy->info, 4);
    CU_ASSERT_EQUAL_FATAL(mete__policy_encode(s.policy, batch, actions, &s.err), METE_OK);
    for (size_t i = 0; i < 4; i++) {
        size_t count;
        const mete_token *token = mete_actions_tokens(actions, i, &count);
        uint32_t at = 0;
        for (size_t k = 0; k < count; k++) {
            CU_ASSERT_EQUAL(token[k].begin, at);
            at = token[k].end;
            CU_ASSERT(token[k].id >= 0 && (uint32_t)token[k].id < s.policy->info.classes);
        }
        if (count < 12) { /* not cut at max_tokens */
            CU_ASSERT_EQUAL(at, strlen(texts[i]));
            CU_ASSERT_EQUAL(token[count - 1].id, 0); /* the end */
        }
    }
    mete__builder *second = mete__builder_new();
    const mete_batch *steps = spoken(second, batch, actions, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(steps);
    check_gradient(&s, steps, NULL, steps->steps);
    mete__builder_free(second);
    mete__actions_free(actions);
    mete__builder_free(builder);
    end(&s);
}

static void
test_encode(void)
{
    for (size_t i = 0; i < WRITERS; i++)
        check_encode(writers[i]);
}

/* What a lane says is the same bits alone as among others, and forward agrees with act. */
static void
check_act(const char *config)
{
    struct subject s;
    mete__builder *builder = mete__builder_new();
    const mete_batch *batch = corpus(builder);
    if (!begin(&s, config, &writing, batch))
        return;
    static const uint64_t episode[] = {10, 11, 12, 13};
    static const uint32_t step[4];
    mete_lanes lanes = {.size = sizeof lanes,
                        .count = 4,
                        .episode = episode,
                        .step = step,
                        .context = batch,
                        .temperature = 1.7};
    mete_params params = params_of(&s, s.vector);
    mete_actions *all = mete__actions_new(&writing, &s.policy->info, 4);
    mete_actions *one = mete__actions_new(&writing, &s.policy->info, 1);
    CU_ASSERT_EQUAL_FATAL(mete__policy_act(s.policy, &params, &lanes, all, &s.err), METE_OK);
    for (size_t i = 0; i < 4; i++) {
        mete__builder *own = mete__builder_new();
        mete_error err;
        mete__shape shape = {.text = true};
        mete__row row = {.id = i + 1, .starts = true, .prompt = mete_text_from(prompts[i])};
        mete__builder_shape(own, &shape);
        mete__builder_row(own, &row);
        lanes.context = mete__builder_batch(own, &err);
        lanes.count = 1;
        lanes.episode = episode + i;
        CU_ASSERT_EQUAL_FATAL(mete__policy_act(s.policy, &params, &lanes, one, &s.err), METE_OK);
        CU_ASSERT_EQUAL(one->text[0].length, all->text[i].length);
        CU_ASSERT_EQUAL(memcmp(one->text[0].data, all->text[i].data, one->text[0].length), 0);
        CU_ASSERT_EQUAL(memcmp(one->logp, all->logp + i, sizeof(float)), 0);
        mete__builder_free(own);
    }
    mete__builder *second = mete__builder_new();
    const mete_batch *steps = spoken(second, batch, all, 1);
    mete_query query = {.size = sizeof query,
                        .batch = steps,
                        .count = steps->steps,
                        .want = METE_WANT_LOGP | METE_WANT_VALUE,
                        .temperature = 1.7};
    struct answers *a = answers_new(&s);
    mete_tape *tape = mete_tape_new();
    CU_ASSERT_EQUAL_FATAL(ask(&s, s.vector, &query, a, tape), METE_OK);
    for (size_t i = 0; i < steps->steps; i++) {
        CU_ASSERT_DOUBLE_EQUAL(a->logp[i], steps->logp[i], 2e-4);
        CU_ASSERT_DOUBLE_EQUAL(a->value[i], steps->value[i], 2e-4);
    }
    mete_tape_free(tape);
    free(a);
    mete__builder_free(second);
    mete__actions_free(all);
    mete__actions_free(one);
    mete__builder_free(builder);
    end(&s);
}

static void
test_act(void)
{
    for (size_t i = 0; i < WRITERS; i++)
        check_act(writers[i]);
}

/* ---- best of n ------------------------------------------------------------------------------- */

#define BEST(n, judge)                                                                             \
    "policy = { use = \"best_of_n\"; n = " n "; judge = " judge                                    \
    "; inner = { use = \"window_lm\"; "                                                            \
    "window = 3; embedding = 5; hidden = [37, 9]; max_tokens = 12; min_count = 1; }; };"
#define LONGER "{ use = \"length\"; shape = \"linear\"; target = 1.0; }"

/* What four lanes answer under a config, [4] copied out; the parameters are the same in all. */
static void
answers_of(const char *config, char (*text)[400], float *logp)
{
    struct subject s;
    mete__builder *builder = mete__builder_new();
    const mete_batch *batch = corpus(builder);
    static const uint64_t episode[] = {10, 11, 12, 13};
    static const uint32_t step[4];
    if (!begin(&s, config, &writing, batch))
        return;
    mete_lanes lanes = {.size = sizeof lanes,
                        .count = 4,
                        .episode = episode,
                        .step = step,
                        .context = batch,
                        .temperature = 1};
    mete_params params = params_of(&s, s.vector);
    mete_actions *actions = mete__actions_new(&writing, &s.policy->info, 4);
    CU_ASSERT_EQUAL_FATAL(mete__policy_act(s.policy, &params, &lanes, actions, &s.err), METE_OK);
    for (size_t i = 0; i < 4; i++) {
        snprintf(text[i], sizeof text[i], "%.*s", (int)actions->text[i].length,
                 actions->text[i].data);
        logp[i] = actions->logp[i];
    }
    mete__actions_free(actions);
    mete__builder_free(builder);
    end(&s);
}

/* With n = 1 it is the policy asked, bit for bit. The first of n samples is that one, so more
 * samples never score lower, and here some lane finds a longer text. A judge that can score none
 * leaves the first. */
static void
test_best_of_n(void)
{
    static char one[4][400], many[4][400], more[4][400], blind[4][400], shorter[4][400];
    float logp[4], same[4], other[4];
    int longer = 0;
    answers_of(BEST("1", LONGER), one, logp);
    answers_of(BEST("8", LONGER), many, other);
    answers_of(BEST("32", LONGER), more, other);
    answers_of(BEST("8", "{ use = \"expr\"; value = \"1 / (length < 0)\"; }"), blind, same);
    answers_of(BEST("8", "{ use = \"expr\"; value = \"-length\"; }"), shorter, other);
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT(strlen(many[i]) >= strlen(one[i]));
        CU_ASSERT(strlen(more[i]) >= strlen(many[i]));
        CU_ASSERT(strlen(shorter[i]) <= strlen(one[i]));
        longer += strlen(more[i]) > strlen(one[i]);
        CU_ASSERT_STRING_EQUAL(blind[i], one[i]);
        CU_ASSERT_EQUAL(memcmp(&same[i], &logp[i], sizeof(float)), 0);
    }
    CU_ASSERT(longer > 0);
}

/* A sample that cannot be scored is kept only when no other can: rows of an even number of bytes
 * fail here, and of 32 samples some is odd in each lane. */
static void
test_best_of_failing(void)
{
    static char text[4][400];
    float logp[4];
    answers_of(BEST("32", "{ use = \"expr\"; value = \"1 / (length - 2 * floor(length / 2))\"; }"),
               text, logp);
    for (size_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(strlen(text[i]) % 2, 1);
}

/* ---- candidates --------------------------------------------------------------------------------------- */

static void
check_scorer(const char *config)
{
    static const mete_spaces choosing = {.size = sizeof(mete_spaces),
                                         .single_turn = 1,
                                         .action = {METE_SPACE_CANDIDATES, 4, 0, 0, 0}};
    struct subject s;
    if (!begin(&s, config, &choosing, NULL))
        return;
    mete__builder *builder = mete__builder_new();
    mete__shape shape = {.text = true, .logp = true, .heads = s.policy->info.heads};
    mete__builder_shape(builder, &shape);
    int list = mete__builder_column(builder, "candidates", METE_LIST, METE_TEXT, METE_EPISODE,
                                    METE_SEE_POLICY);
    for (size_t i = 0; i < 4; i++) {
        mete_text item[4];
        for (size_t k = 0; k < 4; k++)
            item[k] = mete_text_from(texts[(i + k) % 4]);
        mete__row row = {
            .id = i + 1, .starts = true, .terminated = true, .prompt = mete_text_from(prompts[i])};
        float value[8] = {0};
        mete__step step = {.action = (int32_t)i / 2, .value = value, .loss_mask = 1};
        mete__builder_row(builder, &row);
        CU_ASSERT_EQUAL(mete__builder_list(builder, list, item, i == 3 ? 2 : 2 + i), METE_OK);
        mete__builder_step(builder, &step);
    }
    const mete_batch *batch = mete__builder_batch(builder, &s.err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
    check_gradient(&s, batch, NULL, 4);
    static const uint64_t episode[] = {10, 11, 12, 13};
    static const uint32_t step[4];
    mete_lanes lanes = {.size = sizeof lanes,
                        .count = 4,
                        .episode = episode,
                        .step = step,
                        .context = batch,
                        .temperature = 1,
                        .mode = METE_ACT_GREEDY};
    mete_params params = params_of(&s, s.vector);
    mete_actions *actions = mete__actions_new(&choosing, &s.policy->info, 4);
    struct answers *a = answers_new(&s);
    mete_tape *tape = mete_tape_new();
    mete_query query = {.size = sizeof query, .batch = batch, .count = 4, .want = METE_WANT_LOGITS};
    CU_ASSERT_EQUAL(mete__policy_act(s.policy, &params, &lanes, actions, &s.err), METE_OK);
    CU_ASSERT_EQUAL(ask(&s, s.vector, &query, a, tape), METE_OK);
    for (size_t i = 0; i < 4; i++) {
        double sum = 0;
        for (size_t k = 0; k < 4; k++) {
            sum += exp((double)a->logits[i * 4 + k]);
            CU_ASSERT(a->logits[i * 4 + k] <= actions->logp[i] + 1e-5f);
        }
        CU_ASSERT_DOUBLE_EQUAL(sum, 1, 1e-5);
    }
    mete_tape_free(tape);
    free(a);
    mete__actions_free(actions);
    mete__builder_free(builder);
    end(&s);
}

static void
test_scorer(void)
{
    check_scorer("policy = { use = \"scorer\"; bits = 8; critic = true; };");
    check_scorer("policy = { use = \"scorer\"; bits = 7; hidden = 5; };");
}

void
suite_policies(void)
{
    CU_pSuite suite = CU_add_suite("policies", NULL, NULL);
    CU_add_test(suite, "control: act, forward and backward agree", test_control);
    CU_add_test(suite, "draws follow the softmax", test_draws);
    CU_add_test(suite, "two versions in one call", test_versions);
    CU_add_test(suite, "writers: tokens and gradients", test_encode);
    CU_add_test(suite, "writers: a lane alone and among others", test_act);
    CU_add_test(suite, "best_of_n: one, more and none", test_best_of_n);
    CU_add_test(suite, "best_of_n: what fails is not kept", test_best_of_failing);
    CU_add_test(suite, "scorer: gradients and choice", test_scorer);
}
