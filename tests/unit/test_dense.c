/* test_dense.c - values per token: Shapley values against all orders, what sums to the child's value,
 * quotes of a critic, segments. */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST 64

/* The tree's value of one response by token (a token is a word and the space before it); *whole is
 * the row's value. Returns the row's status. */
static int
tokens_of(const char *tree, const char *response, double *step, size_t *tokens, double *whole)
{
    mete__errors errors = {0};
    mete_error err = {0};
    mete__engine_options options = {.seed = 1, .threads = 1};
    mete__config *config = mete__config_parse("r.cfg", tree, strlen(tree), NULL, 0, &errors);
    mete__engine *engine = config ? mete__engine_open(config, &options, &errors) : NULL;
    if (errors.count)
        printf("%s\n", errors.line[0]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    mete__builder_row(builder, &(mete__row){.id = 7,
                                            .prompt_id = 1,
                                            .prompt = mete_text_from("p"),
                                            .response = mete_text_from(response)});
    *tokens = 0;
    for (size_t at = 0, end; response[at]; at = end, ++*tokens) {
        for (end = at + 1; response[end] && response[end] != ' ';)
            end++;
        mete__step part = {.begin = (uint32_t)at, .end = (uint32_t)end};
        mete__builder_step(builder, &part);
    }
    mete_node *root = mete__engine_reward(engine);
    int scored = mete__score(engine, root, mete__builder_batch(builder, &err), &err);
    if (scored)
        printf("%s\n", err.message);
    CU_ASSERT_EQUAL_FATAL(scored, METE_OK);
    const mete_scores *scores = mete__node_scores(root);
    int status = scores->status[0];
    *whole = scores->episode[0];
    CU_ASSERT_FATAL(*tokens < MOST && scores->step != NULL);
    memcpy(step, scores->step, *tokens * sizeof *step);
    mete__builder_free(builder);
    mete__engine_close(engine);
    mete__config_free(config);
    mete__errors_free(&errors);
    return status;
}

/* ---- redistribute ---------------------------------------------------------------------------- */

/* A value with interactions: a counts alone, b before c, a before d, and e takes away from d. */
#define GAME                                                                                       \
    "of = ( { use = \"sum\"; of = ( { name = \"r1\"; use = \"regex\"; pattern = \"a\"; },"         \
    " { name = \"r2\"; use = \"regex\"; pattern = \"b.*c\"; weight = 2.0; },"                      \
    " { name = \"r3\"; use = \"regex\"; pattern = \"a.*d\"; weight = 3.0; },"                      \
    " { name = \"r4\"; use = \"regex\"; pattern = \"d.*e\"; weight = -1.5; },"                     \
    " { name = \"r5\"; use = \"regex\"; pattern = \"^\"; weight = 0.25; } ); } );"

static double
game(unsigned set)
{
    int a = set & 1, b = set >> 1 & 1, c = set >> 2 & 1, d = set >> 3 & 1, e = set >> 4 & 1;
    return a + 2 * (b && c) + 3 * (a && d) - 1.5 * (d && e) + .25;
}

/* By the definition: the mean over all orders of what each adds to those before it. */
static void
over_orders(unsigned n, unsigned set, double *share, double *orders)
{
    if (set + 1 == 1u << n) {
        *orders += 1;
        return;
    }
    for (unsigned u = 0; u < n; u++)
        if (!(set >> u & 1)) {
            double before = *orders;
            over_orders(n, set | 1u << u, share, orders);
            share[u] += (*orders - before) * (game(set | 1u << u) - game(set));
        }
}

static void
shapley(void)
{
    static const char *const said[] = {"", "a", "a b", "a b c", "a b c d", "a b c d e"};
    for (unsigned n = 1; n <= 5; n++)
        for (int sampled = 0; sampled < 2; sampled++) {
            double share[5] = {0}, orders = 0, step[MOST], whole, sum = 0;
            size_t tokens;
            char tree[1000];
            over_orders(n, 0, share, &orders);
            snprintf(tree, sizeof tree,
                     "reward = { use = \"redistribute\"; unit = \"token\"; exact = %d; orders = "
                     "4000; " GAME " };",
                     sampled ? 0 : 16);
            CU_ASSERT_EQUAL(tokens_of(tree, said[n], step, &tokens, &whole), 0);
            CU_ASSERT_EQUAL(tokens, n);
            CU_ASSERT_DOUBLE_EQUAL(whole, game((1u << n) - 1), 1e-12);
            for (unsigned u = 0; u < n; u++) {
                /* what the empty response is worth stands on the last token */
                double want = share[u] / orders + (u + 1 == n ? .25 : 0);
                CU_ASSERT_DOUBLE_EQUAL(step[u], want, sampled ? 5 * 3 / sqrt(4000) : 1e-12);
                sum += step[u];
            }
            CU_ASSERT_DOUBLE_EQUAL(sum, whole, 1e-12);
        }
}

/* Whatever the weights, the steps sum to the child's value; an additive value has its own terms. */
static void
mixtures(void)
{
    static const char text[] = "one three fourteen a";
    static const struct {
        const char *options;
        double want[4];
    } cases[] = {
        {"unit = \"token\"; lime = 1.0; shapley = 0.0; ridge = 1e-9; masks = 500;", {3, 6, 9, 2}},
        {"unit = \"token\"; exact = 0; orders = 2;", {3, 6, 9, 2}},
        {"uniform = 1.0; shapley = 0.0;", {5, 5, 5, 5}},
        {"last = 1.0; shapley = 0.0;", {0, 0, 0, 20}},
        {"unit = \"token\"; shapley = 2.0; last = 1.0; uniform = 1.0;",
         {1.5 + 1.25, 3 + 1.25, 4.5 + 1.25, 1 + 5 + 1.25}},
        {"unit = \"sentence\";", {5, 5, 5, 5}},
        {"unit = \"token\"; most = 2;", {4.5, 4.5, 5.5, 5.5}},
        {"unit = \"word\"; exact = 0;", {4, 6, 9, 1}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char tree[1000];
        double step[MOST], whole, sum = 0;
        size_t tokens;
        snprintf(tree, sizeof tree,
                 "reward = { use = \"redistribute\"; %s of = ( { use = \"length\"; shape = "
                 "\"linear\"; target = 1.0; } ); };",
                 cases[c].options);
        CU_ASSERT_EQUAL(tokens_of(tree, text, step, &tokens, &whole), 0);
        CU_ASSERT_EQUAL(tokens, 4);
        for (size_t t = 0; t < 4; t++) {
            CU_ASSERT_DOUBLE_EQUAL(step[t], cases[c].want[t], 1e-6);
            sum += step[t];
        }
        CU_ASSERT_DOUBLE_EQUAL(sum, whole, 1e-12);
        CU_ASSERT_DOUBLE_EQUAL(whole, 20, 1e-12);
    }
}

/* ---- critic_spans ---------------------------------------------------------------------------- */

#define CRITIC(answer, more)                                                                       \
    "models = { c = { use = \"scripted\"; rules = ( { when = \"(?s).*\"; say = \"" answer          \
    "\"; } ); }; }; reward = { use = \"critic_spans\"; critic = \"c\"; " more " };"
#define Q(text) "\\\"" text "\\\""
#define CHILD "of = ( { use = \"length\"; shape = \"linear\"; target = 10.0; } );"

static void
quotes(void)
{
    static const char text[] = "it was cheap and very nice indeed cheap food"; /* 44 bytes */
    static const struct {
        const char *tree;
        double whole, step[9];
    } cases[] = {
        {CRITIC("{" Q("good") ": [" Q("Very nice") "], " Q("bad") ": [" Q("cheap") "]}", ""),
         1,
         {0, 0, -1, 0, 1, 1, 0, 0, 0}},
        /* a quote told twice stands twice; prose, a fence and a quote that is not there */
        {CRITIC("Well: ```json\\n{" Q("bad") ": [" Q("cheap") ", " Q("cheap") ", " Q(
                    "expensive as it is") "]}\\n``` So.",
                "bad = 0.5;"),
         -1,
         {0, 0, -.5, 0, 0, 0, 0, -.5, 0}},
        /* with edits: "verry nise" is 2 edits of 10 away */
        {CRITIC("{" Q("good") ": [" Q("verry nise") "]}", "unit = \"span\"; good = 3.0;"),
         3,
         {0, 0, 0, 0, 1.5, 1.5, 0, 0, 0}},
        {CRITIC("{" Q("good") ": [" Q("verry nise") "]}", "similarity = 0.9;"), 0, {0}},
        {CRITIC("{" Q("good") ": [" Q("nice") "], " Q("bad") ": [" Q("nice indeed") "]}", ""),
         -1,
         {0, 0, 0, 0, 0, 0, -1, 0, 0}},
        {CRITIC("{" Q("good") ": [], " Q("bad") ": []}", ""), 0, {0}},
        /* with a child the sum is the child's */
        {CRITIC("{" Q("good") ": [" Q("very nice") "], " Q("bad") ": [" Q("it") "]}", CHILD),
         4.4,
         {-1, 0, 0, 0, 1, 1, 0, 0, 3.4}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double step[MOST], whole, sum = 0;
        size_t tokens;
        CU_ASSERT_EQUAL(tokens_of(cases[c].tree, text, step, &tokens, &whole), 0);
        CU_ASSERT_EQUAL(tokens, 9);
        CU_ASSERT_DOUBLE_EQUAL(whole, cases[c].whole, 1e-12);
        for (size_t t = 0; t < 9; t++) {
            CU_ASSERT_DOUBLE_EQUAL(step[t], cases[c].step[t], 1e-12);
            sum += step[t];
        }
        CU_ASSERT_DOUBLE_EQUAL(sum, whole, 1e-12);
    }
}

/* What is no answer fails the row. */
static void
no_answers(void)
{
    static const char *const trees[] = {
        CRITIC("I like it.", ""),
        CRITIC("[" Q("nice") "]", ""),
        CRITIC("{" Q("good") ": " Q("nice") "}", ""),
        CRITIC("{" Q("good") ": [1]}", ""),
        CRITIC("{" Q("other") ": [" Q("nice") "]}", ""),
        CRITIC("{" Q("good") ": [" Q("nice") "]} {" Q("bad") ": [" Q("nice") "]}", ""),
        CRITIC("{" Q("good") ": [" Q("nice") "}", CHILD)};
    for (size_t c = 0; c < sizeof trees / sizeof *trees; c++) {
        double step[MOST], whole;
        size_t tokens;
        CU_ASSERT_EQUAL(tokens_of(trees[c], "it was nice", step, &tokens, &whole), METE_FAILED);
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

static void
clauses(void)
{
    static const char text[] = "red cars, blue. Green cars";
    for (size_t c = 0; c < 2; c++) {
        double step[MOST], whole;
        size_t tokens;
        char tree[1000];
        /* a tenth of the segment's bytes, and 2 where it says cars */
        snprintf(tree, sizeof tree,
                 "reward = { use = \"segments\"; %s of = ("
                 "{ name = \"n\"; use = \"length\"; shape = \"linear\"; target = 10.0; },"
                 "{ name = \"h\"; use = \"regex\"; pattern = \"cars\"; weight = 2.0; } ); };",
                 c ? "by = \"sentence\"; average = true;" : "");
        CU_ASSERT_EQUAL(tokens_of(tree, text, step, &tokens, &whole), 0);
        CU_ASSERT_EQUAL(tokens, 5);
        /* "red cars," 9 bytes, "blue." 5, "Green cars" 10; "red cars, blue." 15 */
        static const double want[2][5] = {{0, 2.9, .5, 0, 3}, {0, 0, 3.5 / 2, 0, 1.5}};
        for (size_t t = 0; t < 5; t++)
            CU_ASSERT_DOUBLE_EQUAL(step[t], want[c][t], 1e-12);
        CU_ASSERT_DOUBLE_EQUAL(whole, c ? 3.25 : 6.4, 1e-12);
    }
}

/* ---- contrast_prompts ------------------------------------------------------------------------ */

/* p+ = .4 and p- = .1 make sigma(log 4) - 1/2 = .3 of every token, and the other way round -.3. */
static void
contrasts(void)
{
    static const char *const order[][2] = {{"0.4", "0.1"}, {"0.1", "0.4"}, {"0.2", "0.2"}};
    static const double want[] = {.3, -.3, 0};
    for (int k = 0; k < 3; k++) {
        double step[MOST], whole;
        size_t tokens;
        char tree[300];
        snprintf(tree, sizeof tree,
                 "models = { m = { use = \"weigher\"; }; }; reward = { use = \"contrast_prompts\"; "
                 "model = \"m\"; better = \"%s \"; worse = \"%s \"; };",
                 order[k][0], order[k][1]);
        CU_ASSERT_EQUAL(tokens_of(tree, "two red cars", step, &tokens, &whole), 0);
        CU_ASSERT_EQUAL(tokens, 3);
        for (size_t t = 0; t < tokens; t++)
            CU_ASSERT_DOUBLE_EQUAL(step[t], want[k], 1e-7);
    }
}

void suite_dense(void);
void
suite_dense(void)
{
    CU_pSuite s = CU_add_suite("dense", NULL, NULL);
    CU_add_test(s, "Shapley values against all orders", shapley);
    CU_add_test(s, "mixtures sum to the child's value", mixtures);
    CU_add_test(s, "quotes of a critic by token", quotes);
    CU_add_test(s, "a critic without an answer fails the row", no_answers);
    CU_add_test(s, "a token's reward by hand", contrasts);
    CU_add_test(s, "clauses are paid at their ends", clauses);
}
