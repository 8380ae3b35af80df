/* templates.c - the plugins `mete new` starts from: one small real plugin a kind. A test builds
 * each, loads it and runs its config.
 */
#include "cli/templates.h"

#define MAKEFILE(kind, command)                                                                    \
    "KIND = " kind "\n"                                                                            \
    "NAMES = @NAME@\n"                                                                             \
    "include $(shell pkg-config --variable=mkfile mete)\n"                                         \
    "\n"                                                                                           \
    "check: all\n"                                                                                 \
    "\tmkdir -p plugins/$(KIND) && cp $(PLUGINS) plugins/$(KIND)/\n"                               \
    "\tMETE_PLUGIN_PATH=plugins:$$METE_PLUGIN_PATH mete selftest plugins/$(KIND)/@NAME@.so\n"      \
    "\tMETE_PLUGIN_PATH=plugins:$$METE_PLUGIN_PATH mete " command " test.cfg" TAIL

#define TAIL " --in test.jsonl\n"
static const char reward_makefile[] = MAKEFILE("reward", "score");
static const char rubric_makefile[] = MAKEFILE("rubric", "score");
#undef TAIL
#define TAIL "\n"
static const char policy_makefile[] = MAKEFILE("policy", "run");
static const char environment_makefile[] = MAKEFILE("environment", "run");
#undef TAIL

static const char readme_score[] =
    "# @NAME@\n\n"
    "A mete reward. `make` builds @NAME@.so, `make check` tests it and scores\n"
    "test.jsonl with test.cfg. `mete plugins reward/@NAME@` (with METE_PLUGIN_PATH=plugins) "
    "prints\n"
    "its manual; copy the .so to ~/.local/lib/mete/plugins/reward/ to have it always.\n";

static const char reward_source[] =
    "/* @NAME@ - score a response by how near its length is to a target. */\n"
    "#include <math.h>\n"
    "#include <mete/reward.h>\n"
    "\n"
    "struct @NAME@ { double target, width; };\n"
    "\n"
    "static const mete_option options[] = {\n"
    "    METE_REAL(struct @NAME@, target, 400, 1, 1e6, \"response length, in bytes, that scores "
    "1\"),\n"
    "    METE_REAL(struct @NAME@, width, 100, 1e-3, 1e6, \"standard deviation of the bell, in "
    "bytes\"),\n"
    "    METE_OPTIONS_END\n"
    "};\n"
    "\n"
    "static int\n"
    "score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)\n"
    "{\n"
    "    const struct @NAME@ *p = self;\n"
    "    (void)cx;\n"
    "    for (size_t i = 0; i < batch->episodes; i++) {\n"
    "        double z = ((double)batch->response[i].length - p->target) / p->width;\n"
    "        out->episode[i] = exp(-0.5 * z * z);\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "METE_REWARD_PLUGIN(@NAME@, \"0.1\", \"bell-shaped reward on response length\",\n"
    "    .options = options, .state_size = sizeof(struct @NAME@), .score = score);\n";

static const char data_text[] =
    "{\"prompt\":\"Say hello.\",\"response\":\"Hello there, and a very good morning to you.\"}\n"
    "{\"prompt\":\"Say hello.\",\"response\":\"Hi\"}\n";

static const char rubric_source[] =
    "/* @NAME@ - the same criteria for every prompt: a response must not be empty, and should hold "
    "a\n"
    " * given word. */\n"
    "#include <mete/rubric.h>\n"
    "\n"
    "struct @NAME@ { const char *word; double points; };\n"
    "\n"
    "static const mete_option options[] = {\n"
    "    METE_STRING(struct @NAME@, word, \"hello\", 0, \"the word a response should hold\"),\n"
    "    METE_REAL(struct @NAME@, points, 1, -100, 100, \"what the word is worth\"),\n"
    "    METE_OPTIONS_END\n"
    "};\n"
    "\n"
    "static int\n"
    "generate(mete_ctx *cx, const void *self, const mete_batch *prompts, mete_criteria *out)\n"
    "{\n"
    "    const struct @NAME@ *p = self;\n"
    "    for (size_t i = 0; i < prompts->episodes; i++) {\n"
    "        mete_criterion word = {.size = sizeof word, .kind = METE_CRITERION_PROGRAM,\n"
    "            .id = mete_text_from(\"word\"), .text = mete_text_from(\"holds the word\"),\n"
    "            .points = p->points, .check = mete_text_from(\"contains\"),\n"
    "            .target = mete_text_from(p->word), .parent = -1};\n"
    "        int rc = mete_criterion_add(cx, out, i, &word);\n"
    "        if (rc)\n"
    "            return rc;\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "METE_RUBRIC_PLUGIN(@NAME@, \"0.1\", \"one word that every response should hold\",\n"
    "    .options = options, .state_size = sizeof(struct @NAME@), .generate = generate);\n";

static const char policy_source[] =
    "/* @NAME@ - one preference per action, whatever is seen, trained by gradient: the smallest "
    "policy\n"
    " * that learns.\n"
    " */\n"
    "#include <mete/policy.h>\n"
    "#include <string.h>\n"
    "\n"
    "struct @NAME@ { uint32_t actions; size_t at; };\n"
    "\n"
    "static int\n"
    "describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)\n"
    "{\n"
    "    struct @NAME@ *p = self;\n"
    "    if (spaces->action.kind != METE_SPACE_DISCRETE)\n"
    "        return mete_fail(cx, METE_EINVAL, \"needs discrete actions\");\n"
    "    p->actions = spaces->action.count;\n"
    "    out->classes = p->actions;\n"
    "    out->gradient = out->stepwise = 1;\n"
    "    return mete_parameter(cx, \"preference\", 1, p->actions, METE_INIT_ZERO, 0, &p->at);\n"
    "}\n"
    "\n"
    "static int\n"
    "act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,\n"
    "    mete_actions *out)\n"
    "{\n"
    "    const struct @NAME@ *p = self;\n"
    "    const float *preference = (const float *)params->vector + p->at;\n"
    "    float *logp = mete_arena(cx, p->actions * sizeof *logp);\n"
    "    if (!logp)\n"
    "        return mete_fail(cx, METE_ENOMEM, \"out of memory\");\n"
    "    for (size_t i = 0; i < in->count; i++) {\n"
    "        const uint8_t *mask = in->action_mask ? in->action_mask + i * p->actions : NULL;\n"
    "        mete_rng rng = mete_random(cx, in->episode[i], in->step[i]);\n"
    "        memcpy(logp, preference, p->actions * sizeof *logp);\n"
    "        mete_log_softmax_run(logp, 1, p->actions, mask);\n"
    "        size_t a = mete_draw(logp, p->actions, in->mode & METE_ACT_GREEDY, &rng);\n"
    "        out->action[i] = (int32_t)a;\n"
    "        out->logp[i] = logp[a];\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "/* The same on stored steps, on the tape, which knows the gradient of each operation. */\n"
    "static int\n"
    "forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,\n"
    "        mete_outputs *out, mete_tape *tape)\n"
    "{\n"
    "    const struct @NAME@ *p = self;\n"
    "    const mete_batch *batch = query->batch;\n"
    "    size_t n = query->count;\n"
    "    int32_t *row = mete_arena(cx, (n + 1) * sizeof *row); /* zeros: the one row there is */\n"
    "    int32_t *action = mete_arena(cx, (n + 1) * sizeof *action);\n"
    "    uint8_t *mask = mete_arena(cx, n * p->actions + 1);\n"
    "    if (!row || !action || !mask)\n"
    "        return mete_fail(cx, METE_ENOMEM, \"out of memory\");\n"
    "    for (size_t i = 0; i < n; i++) {\n"
    "        size_t step = query->step ? query->step[i] : i;\n"
    "        action[i] = batch->action[step];\n"
    "        if (batch->action_mask)\n"
    "            memcpy(mask + i * p->actions, batch->action_mask + step * p->actions, "
    "p->actions);\n"
    "    }\n"
    "    mete_var *preference = mete_weights(tape, params->vector, p->at, 1, p->actions);\n"
    "    mete_answers a = {.logits = mete_log_softmax(tape, mete_rows_of(tape, preference, row, "
    "n),\n"
    "                                                 batch->action_mask ? mask : NULL)};\n"
    "    a.logp = mete_pick(tape, a.logits, action);\n"
    "    a.entropy = mete_entropy(tape, a.logits);\n"
    "    return mete_answers_give(cx, tape, &a, out);\n"
    "}\n"
    "\n"
    "static int\n"
    "backward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,\n"
    "         const mete_outputs *adjoint, mete_tape *tape, float *grad)\n"
    "{\n"
    "    return mete_answers_back(cx, tape, adjoint, grad);\n"
    "}\n"
    "\n"
    "METE_POLICY_PLUGIN(@NAME@, \"0.1\", \"one preference per action, whatever is seen\",\n"
    "    .element = METE_F32, .flags = METE_SAMPLES, .state_size = sizeof(struct @NAME@),\n"
    "    .describe = describe, .act = act, .forward = forward, .backward = backward);\n";

static const char environment_source[] =
    "/* @NAME@ - a corridor: start in the middle, step left (0) or right (1); the right end pays "
    "1, the\n"
    " * left end 0. The observation is where the lane stands, from -1 to 1.\n"
    " */\n"
    "#include <mete/environment.h>\n"
    "\n"
    "struct @NAME@ { int64_t length; int32_t *place; size_t lanes; };\n"
    "\n"
    "static const mete_option options[] = {\n"
    "    METE_INT(struct @NAME@, length, 5, 1, 1000, \"steps from the middle to either end\"),\n"
    "    METE_OPTIONS_END\n"
    "};\n"
    "\n"
    "enum { MOST_LANES = 4096 };\n"
    "\n"
    "static int\n"
    "open_(mete_ctx *cx, void *self)\n"
    "{\n"
    "    struct @NAME@ *p = self;\n"
    "    p->place = mete_alloc(cx, MOST_LANES * sizeof *p->place);\n"
    "    return p->place ? METE_OK : mete_fail(cx, METE_ENOMEM, \"out of memory\");\n"
    "}\n"
    "\n"
    "static int\n"
    "spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)\n"
    "{\n"
    "    struct @NAME@ *p = self;\n"
    "    if (lanes > MOST_LANES)\n"
    "        return mete_fail(cx, METE_EINVAL, \"has at most %d lanes\", MOST_LANES);\n"
    "    p->lanes = lanes;\n"
    "    out->observation = (mete_space){.kind = METE_SPACE_BOX, .size = 1, .low = -1, .high = "
    "1};\n"
    "    out->action = (mete_space){.kind = METE_SPACE_DISCRETE, .count = 2};\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "static int\n"
    "reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)\n"
    "{\n"
    "    struct @NAME@ *p = self;\n"
    "    (void)cx;\n"
    "    for (size_t i = 0; i < in->count; i++) {\n"
    "        p->place[in->lane[i]] = 0;\n"
    "        out->observation[in->lane[i]] = 0;\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "static int\n"
    "step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)\n"
    "{\n"
    "    struct @NAME@ *p = self;\n"
    "    (void)cx;\n"
    "    for (size_t i = 0; i < p->lanes; i++) {\n"
    "        p->place[i] += in->action[i] ? 1 : -1;\n"
    "        if (p->place[i] == p->length || p->place[i] == -p->length) {\n"
    "            out->reward[i] = p->place[i] > 0;\n"
    "            out->terminated[i] = 1;\n"
    "            if (out->final_observation)\n"
    "                out->final_observation[i] = p->place[i] > 0 ? 1 : -1;\n"
    "            out->episode[i] += out->stride;\n"
    "            out->task[i] += out->task_stride;\n"
    "            p->place[i] = 0;\n"
    "        }\n"
    "        out->next->observation[i] = (float)p->place[i] / (float)p->length;\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "static int\n"
    "copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)\n"
    "{\n"
    "    (void)cx;\n"
    "    *(int32_t *)bytes = ((const struct @NAME@ *)self)->place[lane];\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "static int\n"
    "restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)\n"
    "{\n"
    "    struct @NAME@ *p = self;\n"
    "    (void)cx;\n"
    "    p->place[lane] = *(const int32_t *)bytes;\n"
    "    out->observation[lane] = (float)p->place[lane] / (float)p->length;\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "METE_ENVIRONMENT_PLUGIN(@NAME@, \"0.1\", \"a corridor that pays at its right end\",\n"
    "    .options = options, .state_size = sizeof(struct @NAME@), .lane_size = sizeof(int32_t),\n"
    "    .open = open_, .spaces = spaces, .reset = reset, .step = step, .copy = copy,\n"
    "    .restore = restore);\n";

static const char readme_run[] =
    "# @NAME@\n\n"
    "A mete plugin. `make` builds it under plugins/, `make check` tests it and trains with "
    "test.cfg.\n"
    "Set METE_PLUGIN_PATH=plugins, or copy the .so below ~/.local/lib/mete/plugins/, to use it.\n";

const struct mete__template mete__template[] = {
    {.kind = "reward",
     .source = reward_source,
     .makefile = reward_makefile,
     .config = "reward = { use = \"@NAME@\"; target = 40; width = 20; };\n",
     .readme = readme_score,
     .data = data_text},
    {.kind = "rubric",
     .source = rubric_source,
     .makefile = rubric_makefile,
     .config =
         "reward = { use = \"rubric\"; generator = { use = \"@NAME@\"; word = \"morning\"; }; };\n",
     .readme = readme_score,
     .data = data_text},
    {.kind = "policy",
     .source = policy_source,
     .makefile = policy_makefile,
     .config = "run = { seed = 1; iterations = 20; };\n"
               "env = { use = \"bandit\"; lanes = 32; };\n"
               "policy = { use = \"@NAME@\"; };\n"
               "reward = { use = \"environment\"; };\n"
               "objective = { use = \"reinforce\"; };\n",
     .readme = readme_run},
    {.kind = "environment",
     .source = environment_source,
     .makefile = environment_makefile,
     .config = "run = { seed = 1; iterations = 20; };\n"
               "env = { use = \"@NAME@\"; lanes = 8; steps = 64; };\n"
               "policy = { use = \"mlp\"; };\n"
               "reward = { use = \"environment\"; };\n"
               "objective = { use = \"a2c\"; };\n",
     .readme = readme_run},
};

const size_t mete__templates = sizeof mete__template / sizeof *mete__template;
