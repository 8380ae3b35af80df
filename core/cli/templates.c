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
    "A mete reward. `make` builds plugins/reward/@NAME@.so, `make check` tests it and scores\n"
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
    "/* @NAME@ - a table of one preference per action, trained by gradient: the smallest policy "
    "with\n"
    " * forward and backward. It does not look at the observation, so it suits bandits.\n"
    " *\n"
    " * p(a) = exp(w[a]) / sum_b exp(w[b]);  d log p(a) / d w[b] = [a = b] - p(b).\n"
    " */\n"
    "#include <math.h>\n"
    "#include <mete/policy.h>\n"
    "\n"
    "struct @NAME@ { size_t at; uint32_t actions; };\n"
    "\n"
    "static int\n"
    "describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)\n"
    "{\n"
    "    struct @NAME@ *p = self;\n"
    "    if (spaces->action.kind != METE_SPACE_DISCRETE)\n"
    "        return mete_fail(cx, METE_EINVAL, \"needs discrete actions\");\n"
    "    p->actions = spaces->action.count;\n"
    "    out->classes = p->actions;\n"
    "    out->gradient = 1;\n"
    "    out->stepwise = 1;\n"
    "    return mete_parameter(cx, \"preference\", 1, p->actions, METE_INIT_ZERO, 0, &p->at);\n"
    "}\n"
    "\n"
    "/* log of the sum of exponentials, without overflow. */\n"
    "static float\n"
    "log_sum(const float *w, uint32_t count)\n"
    "{\n"
    "    float most = w[0], sum = 0;\n"
    "    for (uint32_t a = 1; a < count; a++)\n"
    "        most = w[a] > most ? w[a] : most;\n"
    "    for (uint32_t a = 0; a < count; a++)\n"
    "        sum += expf(w[a] - most);\n"
    "    return most + logf(sum);\n"
    "}\n"
    "\n"
    "static int\n"
    "act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,\n"
    "    mete_actions *out)\n"
    "{\n"
    "    const struct @NAME@ *p = self;\n"
    "    const float *w = (const float *)params->vector + p->at;\n"
    "    float total = log_sum(w, p->actions);\n"
    "    for (size_t i = 0; i < in->count; i++) {\n"
    "        mete_rng rng = mete_random(cx, in->episode[i], in->step[i]);\n"
    "        double left = mete_rng_uniform(&rng);\n"
    "        uint32_t best = 0, a = 0;\n"
    "        for (uint32_t b = 1; b < p->actions; b++)\n"
    "            best = w[b] > w[best] ? b : best;\n"
    "        while (a + 1 < p->actions && (left -= exp(w[a] - total)) >= 0)\n"
    "            a++;\n"
    "        a = in->mode & METE_ACT_GREEDY ? best : a;\n"
    "        out->action[i] = (int32_t)a;\n"
    "        out->logp[i] = w[a] - total;\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "static int\n"
    "forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,\n"
    "        mete_outputs *out, mete_tape *tape)\n"
    "{\n"
    "    const struct @NAME@ *p = self;\n"
    "    const float *w = (const float *)params->vector + p->at;\n"
    "    float total = log_sum(w, p->actions), entropy = 0;\n"
    "    (void)cx, (void)tape;\n"
    "    for (uint32_t a = 0; a < p->actions; a++)\n"
    "        entropy -= expf(w[a] - total) * (w[a] - total);\n"
    "    for (size_t i = 0; i < query->count; i++) {\n"
    "        size_t step = query->step ? query->step[i] : i;\n"
    "        if (out->logp)\n"
    "            out->logp[i] = w[query->batch->action[step]] - total;\n"
    "        if (out->entropy)\n"
    "            out->entropy[i] = entropy;\n"
    "        for (uint32_t a = 0; out->logits && a < p->actions; a++)\n"
    "            out->logits[i * p->actions + a] = w[a];\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "static int\n"
    "backward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,\n"
    "         const mete_outputs *adjoint, mete_tape *tape, float *grad)\n"
    "{\n"
    "    const struct @NAME@ *p = self;\n"
    "    const float *w = (const float *)params->vector + p->at;\n"
    "    float total = log_sum(w, p->actions), mean = 0;\n"
    "    (void)cx, (void)tape;\n"
    "    grad += p->at;\n"
    "    for (uint32_t a = 0; a < p->actions; a++)\n"
    "        mean += expf(w[a] - total) * (w[a] - total);\n"
    "    for (size_t i = 0; i < query->count; i++) {\n"
    "        size_t step = query->step ? query->step[i] : i;\n"
    "        for (uint32_t a = 0; a < p->actions; a++) {\n"
    "            float q = expf(w[a] - total);\n"
    "            if (adjoint->logp)\n"
    "                grad[a] += adjoint->logp[i] *\n"
    "                           (((uint32_t)query->batch->action[step] == a) - q);\n"
    "            if (adjoint->entropy)\n"
    "                grad[a] -= adjoint->entropy[i] * q * (w[a] - total - mean);\n"
    "            if (adjoint->logits)\n"
    "                grad[a] += adjoint->logits[i * p->actions + a];\n"
    "        }\n"
    "    }\n"
    "    return METE_OK;\n"
    "}\n"
    "\n"
    "METE_POLICY_PLUGIN(@NAME@, \"0.1\", \"one preference per action, whatever is seen\",\n"
    "    .element = METE_F32, .state_size = sizeof(struct @NAME@), .describe = describe, .act = "
    "act,\n"
    "    .forward = forward, .backward = backward);\n";

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
