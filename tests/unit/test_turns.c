/* Conversations: turns, spans, columns and rows of environments of several steps with texts. */
#include "engine/context.h"
#include "loops.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <mete/model.h>
#include <mete/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
talk_config(const char *env, const char *policy, const char *stages)
{
    static char text[2000];
    snprintf(text, sizeof text,
             "run = { seed = 7; };"
             "env = { use = \"chatworld\"; ask_cost = 0.125; %s };"
             "policy = { %s };"
             "reward = { use = \"environment\"; };"
             "stages = ( %s );",
             env, policy, stages);
    return text;
}

#define WRITES "use = \"window_lm\"; prompt = \"words\"; max_tokens = 3; hidden = [ 24 ];"
#define ATTENDS                                                                                    \
    "use = \"transformer\"; layers = 1; width = 16; heads = 2; context = 160; max_tokens = 6; "    \
    "vocabulary = 300;"
#define CHOOSES "use = \"scorer\"; bits = 10; critic = true;"
#define PPO "{ iterations = 6; objective = { use = \"ppo\"; }; optimiser = { rate = 0.02; }; }"
#define GRPO "{ iterations = 6; objective = { use = \"grpo\"; }; optimiser = { rate = 0.02; }; }"

static bool
says(mete_text text, const char *want)
{
    return mete_text_equal(text, mete_text_from(want));
}

/* The good conversation, given: four messages and the user's last word, the tokens of each answer
 * inside its turn and at its bytes, columns at their levels. */
static void
turns_and_columns(void)
{
    static const char *const things[] = {"boots", "pan", "novel", "brush"};
    static const char *const types[] = {"hiker", "cook", "reader", "painter"};
    struct opened o = open_loop(talk_config("lanes = 8;", WRITES, GRPO));
    const mete_batch *b = collect(&o, "reference");
    CU_ASSERT_EQUAL_FATAL(b->episodes, 8);
    CU_ASSERT_EQUAL_FATAL(b->turns, 5 * 8);
    const mete_text *type = column(b, "user_type", METE_EPISODE)->data;
    const mete_text *heard = column(b, "heard", METE_TURN)->data;
    const float *own = column(b, "reward", METE_TURN)->data;
    const float *step = column(b, "reward", METE_STEP)->data;
    const float *asked = column(b, "asked", METE_TURN)->data;
    CU_ASSERT_EQUAL(column(b, "heard", METE_TURN)->visible, METE_SEE_REWARD);
    for (size_t i = 0; i < 8; i++) {
        size_t t = b->turn_begin[i], known = 0;
        char want[64];
        while (known < 4 && !says(type[i], types[known]))
            known++;
        CU_ASSERT_FATAL(known < 4);
        snprintf(want, sizeof want, "ask\nrecommend %s", things[known]);
        CU_ASSERT(says(b->response[i], want));
        CU_ASSERT(b->starts[i] && b->terminated[i] && !b->truncated[i]);
        CU_ASSERT_EQUAL(b->turn_first[i], t);
        CU_ASSERT_EQUAL(b->turn_begin[i + 1], t + 5);
        static const uint8_t role[] = {METE_USER, METE_ASSISTANT, METE_USER, METE_ASSISTANT,
                                       METE_USER};
        CU_ASSERT_EQUAL(memcmp(b->turn_role + t, role, 5), 0);
        CU_ASSERT(mete_text_equal(b->prompt[i], b->turn_text[t]));
        CU_ASSERT(says(b->turn_text[t + 1], "ask"));
        CU_ASSERT(says(b->turn_text[t + 4], "thank you , that is for me"));
        /* what stood before the second answer: three messages, one a line */
        mete_text before = b->turn_prompt[t + 3];
        CU_ASSERT_EQUAL(before.length,
                        b->turn_text[t].length + 1 + 3 + 1 + b->turn_text[t + 2].length);
        CU_ASSERT(says((mete_text){before.data + b->turn_text[t].length, 5}, "\nask\n"));
        CU_ASSERT(says(heard[t], "") && says(heard[t + 1], ""));
        CU_ASSERT(mete_text_equal(heard[t + 2], type[i]) && mete_text_equal(heard[t + 3], type[i]));
        CU_ASSERT(own[t + 1] == -.125f && own[t + 3] == 1 && own[t + 2] == 0 && own[t + 4] == 0);
        CU_ASSERT(asked[t + 1] == 1 && asked[t + 3] == 0);
        /* steps: none in what the user says; all of the row's in the two answers */
        CU_ASSERT_EQUAL(b->turn_step[t], b->step_begin[i]);
        CU_ASSERT_EQUAL(b->turn_step[t + 1], b->turn_step[t]);
        CU_ASSERT_EQUAL(b->turn_step[t + 3], b->turn_step[t + 2]);
        CU_ASSERT_EQUAL(b->turn_step[t + 4], b->step_begin[i + 1]);
        uint32_t last = b->turn_step[t + 2] - 1, end = b->step_begin[i + 1] - 1;
        CU_ASSERT(step[last] == -.125f && step[end] == 1);
        CU_ASSERT_EQUAL(b->span[2 * b->turn_step[t + 3]], 4); /* after "ask" and its newline */
        CU_ASSERT_EQUAL(b->span[2 * end + 1], b->response[i].length);
    }
    close_loop(&o);
}

/* What the policy gives its own answers, asked afterwards, is what they were drawn with: `forward`
 * sees each answer with what stood before it, as `act` did. */
static void
forward_sees_what_act_saw(const char *env, const char *policy)
{
    struct opened o = open_loop(talk_config(env, policy, PPO));
    mete_error err = {0};
    finish(&o);
    for (int k = 0; k < 3; k++) {
        const mete_batch *b = collect(&o, NULL);
        float *logp = calloc(b->steps, sizeof *logp), worst = 0;
        mete_tape *tape = mete_tape_new();
        mete_params params = mete__loop_params(o.loop);
        mete_query query = {
            .size = sizeof query, .batch = b, .count = b->steps, .want = METE_WANT_LOGP};
        mete_outputs out = {.size = sizeof out, .logp = logp};
        CU_ASSERT_EQUAL_FATAL(
            mete__policy_forward(o.loop->policy, &params, &query, &out, tape, &err), METE_OK);
        mete_tape_free(tape);
        for (size_t t = 0; t < b->steps; t++)
            worst = fmaxf(worst, fabsf(logp[t] - b->logp[t]));
        CU_ASSERT(worst < 1e-4f);
        free(logp);
    }
    close_loop(&o);
}

static void
forward_after_act(void)
{
    forward_sees_what_act_saw("lanes = 16; steps = 2;", WRITES " critic = true;");
    forward_sees_what_act_saw("lanes = 16;", WRITES " critic = true;");
    forward_sees_what_act_saw("lanes = 16; steps = 3;", ATTENDS " critic = true;");
    forward_sees_what_act_saw("lanes = 16; steps = 2; act = \"choose\";", CHOOSES);
}

/* Fragments of one answer, joined, are the whole episodes; what was said before is not theirs. */
static void
fragments_join(void)
{
    struct opened whole = open_loop(talk_config("lanes = 16;", WRITES, GRPO));
    struct opened parts = open_loop(talk_config("lanes = 16; steps = 1;", WRITES, GRPO));
    const mete_batch *all = collect(&whole, NULL);
    uint32_t turn[16] = {0}, over = 0;
    for (size_t i = 0; i < 16; i++)
        turn[i] = all->turn_begin[i];
    while (over < 16) {
        const mete_batch *b = collect(&parts, NULL);
        CU_ASSERT_EQUAL_FATAL(b->episodes, 16);
        over = 0;
        for (size_t i = 0; i < 16; i++) {
            over += turn[i] == all->turn_begin[i + 1];
            if (turn[i] == all->turn_begin[i + 1])
                continue;
            CU_ASSERT_EQUAL(b->id[i], all->id[i]);
            CU_ASSERT_EQUAL(b->turn_first[i] - b->turn_begin[i], turn[i] - all->turn_begin[i]);
            CU_ASSERT_EQUAL(b->turn_step[b->turn_first[i]], b->step_begin[i]);
            CU_ASSERT_EQUAL(b->starts[i], turn[i] == all->turn_begin[i]);
            uint32_t answer = b->turn_first[i] + 1;
            CU_ASSERT(mete_text_equal(b->prompt[i], all->turn_prompt[turn[i] + 1]));
            CU_ASSERT(mete_text_equal(b->response[i], b->turn_text[answer]));
            for (uint32_t t = b->turn_first[i]; t < b->turn_begin[i + 1]; t++)
                CU_ASSERT(mete_text_equal(b->turn_text[t], all->turn_text[turn[i]++]));
        }
    }
    close_loop(&whole);
    close_loop(&parts);
}

/* Chosen rows and answers as rows keep text, steps and columns together. */
static void
derived(void)
{
    static const uint32_t row[] = {5, 2};
    struct opened o = open_loop(talk_config("lanes = 8;", WRITES, GRPO));
    const mete_batch *b = collect(&o, "reference");
    mete__arena *arena = mete__arena_new();
    const mete_batch *rows = mete__batch_rows(b, row, 2, true, arena);
    const mete_batch *answers = mete__batch_answers(rows, arena);
    CU_ASSERT_EQUAL_FATAL(rows->turns, 10);
    CU_ASSERT_EQUAL_FATAL(answers->episodes, 4);
    CU_ASSERT_EQUAL(answers->steps, rows->steps);
    const mete_text *heard = column(answers, "heard", METE_EPISODE)->data;
    const mete_text *type = column(b, "user_type", METE_EPISODE)->data;
    for (size_t k = 0; k < 4; k++) {
        uint32_t from = row[k / 2], t = b->turn_begin[from] + (k % 2 ? 3 : 1);
        CU_ASSERT(mete_text_equal(answers->response[k], b->turn_text[t]));
        CU_ASSERT(mete_text_equal(answers->prompt[k], b->turn_prompt[t]));
        CU_ASSERT_EQUAL(answers->message_begin[k + 1] - answers->message_begin[k], k % 2 ? 3 : 1);
        CU_ASSERT(k % 2 ? mete_text_equal(heard[k], type[from]) : says(heard[k], ""));
        CU_ASSERT_EQUAL(answers->parent_row[k], k / 2);
        CU_ASSERT_EQUAL(answers->terminated[k], k % 2);
        uint32_t end = answers->step_begin[k + 1];
        CU_ASSERT_EQUAL(answers->span[2 * answers->step_begin[k]], 0);
        CU_ASSERT_EQUAL(answers->span[2 * end - 1], answers->response[k].length);
        CU_ASSERT_EQUAL(answers->action[end - 1], b->action[b->turn_step[t + 1] - 1]);
    }
    mete__arena_free(arena);
    close_loop(&o);
}

/* A chunk, which is what a reward is given, has its own turns and nothing else. */
static void
chunks(void)
{
    static const uint32_t row[] = {3, 4, 5};
    struct opened o = open_loop(talk_config("lanes = 8; steps = 2;", WRITES, GRPO));
    mete__arena *arena = mete__arena_new();
    collect(&o, NULL);
    const mete_batch *b = collect(&o, NULL);
    CU_ASSERT_FATAL(b->episodes > 6);
    const mete_batch *want = mete__batch_rows(b, row, 3, true, arena);
    mete_batch got;
    CU_ASSERT_FATAL(mete__batch_range(b, 3, 6, arena, &got));
    CU_ASSERT_EQUAL_FATAL(got.turns, want->turns);
    size_t offsets = 4 * sizeof(uint32_t);
    CU_ASSERT_EQUAL(memcmp(got.turn_begin, want->turn_begin, offsets), 0);
    CU_ASSERT_EQUAL(memcmp(got.turn_first, want->turn_first, 3 * sizeof(uint32_t)), 0);
    CU_ASSERT_EQUAL(memcmp(got.turn_step, want->turn_step, (got.turns + 1) * sizeof(uint32_t)), 0);
    const mete_text *heard = column(&got, "heard", METE_TURN)->data;
    const mete_text *there = column(want, "heard", METE_TURN)->data;
    for (size_t t = 0; t < got.turns; t++) {
        CU_ASSERT(mete_text_equal(got.turn_text[t], want->turn_text[t]));
        CU_ASSERT(mete_text_equal(got.turn_prompt[t], want->turn_prompt[t]));
        CU_ASSERT(mete_text_equal(heard[t], there[t]));
    }
    mete__arena_free(arena);
    close_loop(&o);
}

/* Samples of a group meet the same user; each row is one whole episode. */
static void
groups_share_a_start(void)
{
    struct opened o = open_loop(talk_config("lanes = 24; group = 4; users = 1000;", WRITES, GRPO));
    const mete_batch *b = collect(&o, NULL);
    const mete_text *type = column(b, "user_type", METE_EPISODE)->data;
    CU_ASSERT_EQUAL_FATAL(b->groups, 6);
    for (size_t i = 0; i < 24; i++) {
        CU_ASSERT_EQUAL(b->prompt_id[i], b->prompt_id[i - i % 4]);
        CU_ASSERT(mete_text_equal(type[i], type[i - i % 4]));
        CU_ASSERT(mete_text_equal(b->prompt[i], b->prompt[i - i % 4]));
        CU_ASSERT(b->terminated[i]);
    }
    close_loop(&o);
}

static bool
same_end(struct opened *a, struct opened *b)
{
    return a->loop->parameters == b->loop->parameters &&
           memcmp(a->loop->parameter, b->loop->parameter, a->loop->parameters * sizeof(float)) == 0;
}

/* Threads, instances of the world and an interruption in the middle of episodes change no bit. */
static void
same_bits(const char *env, const char *policy)
{
    char parts[200];
    mete_error err = {0};
    snprintf(parts, sizeof parts, "%s parts = 3;", env);
    struct opened one = open_loop_on(talk_config(env, policy, PPO), 1);
    struct opened two = open_loop_on(talk_config(parts, policy, PPO), 2);
    finish(&one);
    finish(&two);
    CU_ASSERT(same_end(&one, &two));
    for (uint64_t cut = 1; cut < 6; cut += 2) {
        struct opened first = open_loop(talk_config(env, policy, PPO));
        struct opened second = open_loop(talk_config(env, policy, PPO));
        mete__checkpoint *checkpoint = mete__checkpoint_new();
        while (mete__loop_done(first.loop) < cut)
            CU_ASSERT_EQUAL_FATAL(mete__loop_step(first.loop, &err), METE_OK);
        CU_ASSERT_EQUAL_FATAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
        CU_ASSERT_EQUAL_FATAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
        finish(&second);
        CU_ASSERT(same_end(&one, &second));
        mete__checkpoint_free(checkpoint);
        close_loop(&first);
        close_loop(&second);
    }
    close_loop(&one);
    close_loop(&two);
}

static void
threads_and_resume(void)
{
    same_bits("lanes = 24; steps = 2; noise = 0.3; limit = \"cut\";", WRITES " critic = true;");
    same_bits("lanes = 24; steps = 2; act = \"choose\";", CHOOSES);
}

/* Damage is told, not followed. */
static void
damaged_talks(void)
{
    mete_error err = {0};
    const char *env = "lanes = 4; steps = 2; act = \"choose\";";
    struct opened o = open_loop(talk_config(env, CHOOSES, PPO));
    struct opened to = open_loop(talk_config(env, CHOOSES, PPO));
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    CU_ASSERT_EQUAL_FATAL(mete__loop_step(o.loop, &err), METE_OK);
    CU_ASSERT_EQUAL_FATAL(mete__loop_save(o.loop, checkpoint, &err), METE_OK);
    size_t count = SIZE_MAX;
    CU_ASSERT_PTR_NOT_NULL_FATAL(
        mete__checkpoint_get(checkpoint, "rollout/talk/length", METE_I64, &count));
    int64_t *length = mete__checkpoint_edit(checkpoint, "rollout/talk/length", METE_I64, count);
    CU_ASSERT_PTR_NOT_NULL_FATAL(length);
    length[count - 1] += 1000;
    CU_ASSERT_EQUAL(mete__loop_load(to.loop, checkpoint, &err), METE_EDATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "conversations are damaged"));
    mete__checkpoint_free(checkpoint);
    close_loop(&o);
    close_loop(&to);
}

/* A user is 1 in 4: recommending blindly is worth .25, asking first .875. Learnt from given
 * conversations, and by PPO from fragments. */
static void
learns_to_ask(void)
{
    static const char *const how[][3] = {
        {"lanes = 32;", WRITES,
         "{ iterations = 40; responses = \"reference\"; objective = { use = \"sft\"; };"
         "  optimiser = { rate = 0.02; }; }"},
        {"lanes = 32; steps = 4; act = \"choose\";", CHOOSES,
         "{ iterations = 100; objective = { use = \"ppo\"; entropy = 0.01; };"
         "  optimiser = { rate = 0.02; }; }"}};
    for (size_t k = 0; k < 2; k++) {
        struct opened o = open_loop(talk_config(how[k][0], how[k][1], how[k][2]));
        double won = 0, rows = 0;
        finish(&o);
        for (int n = 0; n < 8; n++) {
            const mete_batch *b = collect(&o, NULL);
            const float *fits = column(b, "fits", METE_TURN)->data;
            for (size_t t = 0; t < b->turns; t++)
                won += (double)fits[t];
            for (size_t i = 0; i < b->episodes; i++)
                rows += b->terminated[i];
        }
        CU_ASSERT(won / rows > .6);
        close_loop(&o);
    }
}

void
suite_turns(void)
{
    CU_pSuite suite = CU_add_suite("turns", NULL, NULL);
    CU_add_test(suite, "turns, spans and columns", turns_and_columns);
    CU_add_test(suite, "forward sees what act saw", forward_after_act);
    CU_add_test(suite, "fragments join to episodes", fragments_join);
    CU_add_test(suite, "derived batches", derived);
    CU_add_test(suite, "chunks", chunks);
    CU_add_test(suite, "groups share a start", groups_share_a_start);
    CU_add_test(suite, "threads and resume", threads_and_resume);
    CU_add_test(suite, "damaged conversations", damaged_talks);
    CU_add_test(suite, "learns to ask", learns_to_ask);
}
