/* Attribution: shares of variance, advantage and gradient against closed forms and plain sums. */
#include "loops.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
chooses(const char *objective, const char *reward)
{
    static char text[3000];
    snprintf(text, sizeof text,
             "run = { seed = 7; iterations = 3; attribution_every = 2; };"
             "env = { use = \"candidates\"; data = \"attribution.jsonl\"; lanes = 32; group = 8; };"
             "policy = { use = \"scorer\"; };"
             "reward = %s; objective = { use = \"%s\"; };",
             reward, objective);
    return text;
}

static void
write_candidates(void)
{
    FILE *file = fopen("attribution.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (int row = 0; row < 12; row++)
        fprintf(file,
                "{\"prompt\":\"p%d\",\"candidates\":[\"a\",\"bb z\",\"c %*s\",\"z d %*s\"],"
                "\"scores\":[0,1,0,%d]}\n",
                row, row + 3, "x", 2 * row + 5, "y", row % 3);
    fclose(file);
}

static double
metric(const struct opened *o, const char *name)
{
    double value = mete__metrics_get(&o->loop->metrics, name);
    if (isnan(value))
        printf("%s is not measured\n", name);
    return value;
}

static struct opened
first_step(const char *objective, const char *reward)
{
    mete_error err = {0};
    write_candidates();
    struct opened o = open_loop(chooses(objective, reward));
    if (mete__loop_step(o.loop, &err))
        printf("%s\n", err.message);
    CU_ASSERT_EQUAL_FATAL(err.code, METE_OK);
    remove("attribution.jsonl");
    return o;
}

#define LONG "use = \"length\"; shape = \"linear\"; target = 10.0;"
#define HAS "use = \"regex\"; pattern = \"z\";"

/* x - x/2: of the total x/2 the first node is answerable for 2, the second for -1, in variance,
 * advantage and gradient alike; their gradients are along and against it, twice and once as long. */
static void
two_of_one_kind(void)
{
    static const char *const objective[] = {"rloo", "grpo", "reinforce", "reinforce_pp"};
    static const char *const kind[] = {"variance", "advantage", "gradient", "norm", "cosine"};
    static const double first[] = {2, 2, 2, 2, 1}, second[] = {-1, -1, -1, 1, -1};
    for (size_t k = 0; k < sizeof objective / sizeof *objective; k++) {
        struct opened o =
            first_step(objective[k], "{ use = \"sum\"; of = ( { name = \"a\"; " LONG " },"
                                     " { name = \"b\"; weight = -0.5; " LONG " },"
                                     " { name = \"none\"; weight = 0.0; " HAS " } ); }");
        for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
            char name[100];
            double near = i < 2 ? 1e-9 : 1e-4; /* gradients are single precision */
            snprintf(name, sizeof name, "attribution/%s/reward/a", kind[i]);
            double a = metric(&o, name);
            CU_ASSERT_DOUBLE_EQUAL(a, first[i], near);
            snprintf(name, sizeof name, "attribution/%s/reward/b", kind[i]);
            CU_ASSERT_DOUBLE_EQUAL(metric(&o, name), second[i], near);
        }
        CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/gradient/reward/none"), 0, 1e-12);
        CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/dominance"), 2. / 3, 1e-9);
        CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/correlation/reward/a,reward/b"), 1, 1e-9);
        close_loop(&o);
    }
}

/* Covariance of a node's contribution with the total, by the plain two-pass formula. */
static double
plain_share(const struct opened *o, const char *name, double coefficient)
{
    const mete_scores *own = mete__node_scores(mete__engine_find(o->engine, name));
    const mete_scores *total = mete__node_scores(o->loop->reward);
    double x = 0, y = 0, xy = 0, yy = 0, n = 32;
    for (size_t i = 0; i < 32; i++) {
        x += coefficient * own->episode[i] / n;
        y += total->episode[i] / n;
    }
    for (size_t i = 0; i < 32; i++) {
        xy += (coefficient * own->episode[i] - x) * (total->episode[i] - y);
        yy += (total->episode[i] - y) * (total->episode[i] - y);
    }
    return xy / yy;
}

/* A nested sum's share is its children's; the parts' shares of everything sum to 1; what is gold has
 * none. */
static void
shares_add_up(void)
{
    static const char *const kind[] = {"variance", "advantage", "gradient"};
    struct opened o =
        first_step("rloo", "{ use = \"sum\"; of = ( { name = \"in\"; use = \"sum\"; weight = 0.7;"
                           "   of = ( { name = \"a\"; " LONG " },"
                           "          { name = \"b\"; weight = 3.0; " HAS " } ); },"
                           " { name = \"most\"; use = \"max\"; weight = 0.25; of = ("
                           "   { name = \"c\"; " LONG " }, { name = \"d\"; " HAS " } ); },"
                           " { name = \"true\"; use = \"environment\"; gold = true; } ); }");
    CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/variance/reward/in/a"),
                           plain_share(&o, "reward.in.a", .7), 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/variance/reward/in/b"),
                           plain_share(&o, "reward.in.b", 2.1), 1e-9);
    for (size_t i = 0; i < 3; i++) {
        char name[100];
        snprintf(name, sizeof name, "attribution/%s/reward/in/a", kind[i]);
        double a = metric(&o, name);
        snprintf(name, sizeof name, "attribution/%s/reward/in/b", kind[i]);
        double b = metric(&o, name);
        snprintf(name, sizeof name, "attribution/%s/reward/most", kind[i]);
        CU_ASSERT_DOUBLE_EQUAL(a + b + metric(&o, name), 1, 1e-4);
        CU_ASSERT(a > 0 && b > 0);
        snprintf(name, sizeof name, "attribution/%s/reward/in", kind[i]);
        if (i < 2)
            CU_ASSERT_DOUBLE_EQUAL(metric(&o, name), a + b, 1e-9);
    }
    CU_ASSERT(isnan(mete__metrics_get(&o.loop->metrics, "attribution/variance/reward/true")));
    CU_ASSERT(!isnan(metric(&o, "attribution/correlation/reward,reward/true")));
    close_loop(&o);
}

/* Within a product the factors' shares are the product's, by Aumann and Shapley's prices (of two,
 * (y + mean y) / 2 (x - mean x) and the other way round); a factor that never varies has none. Sums
 * further down are told apart, too. */
static void
within_a_product(void)
{
    static const char *const kind[] = {"variance", "advantage", "gradient"};
    struct opened o = first_step(
        "rloo", "{ use = \"sum\"; of = ( { name = \"all\"; use = \"product\"; weight = 2.0;"
                "   of = ( { name = \"x\"; use = \"sum\";"
                "            of = ( { name = \"a\"; " LONG " }, { name = \"b\"; " HAS " } ); },"
                "          { name = \"y\"; " LONG " },"
                "          { name = \"one\"; use = \"regex\"; pattern = \"^\"; } ); },"
                " { name = \"c\"; " HAS " } ); }");
    const mete_scores *x = mete__node_scores(mete__engine_find(o.engine, "reward.all.x"));
    const mete_scores *y = mete__node_scores(mete__engine_find(o.engine, "reward.all.y"));
    const mete_scores *v = mete__node_scores(o.loop->reward);
    double mx = 0, my = 0, mv = 0, cov = 0, var = 0, n = 32;
    for (size_t i = 0; i < 32; i++) {
        mx += x->episode[i] / n;
        my += y->episode[i] / n;
        mv += v->episode[i] / n;
    }
    for (size_t i = 0; i < 32; i++) {
        cov += (y->episode[i] + my) * (x->episode[i] - mx) * (v->episode[i] - mv);
        var += (v->episode[i] - mv) * (v->episode[i] - mv);
    }
    CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/variance/reward/all/x"), cov / var, 1e-9);
    for (size_t i = 0; i < 3; i++) {
        static const char *const leaf[] = {"x/a", "x/b", "y", "one"};
        char name[100];
        double sum = 0;
        for (size_t k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "attribution/%s/reward/all/%s", kind[i], leaf[k]);
            double share = metric(&o, name);
            sum += share;
            CU_ASSERT(k < 3 ? fabs(share) > 1e-3 : fabs(share) < 1e-6);
        }
        snprintf(name, sizeof name, "attribution/%s/reward/all", kind[i]);
        CU_ASSERT_DOUBLE_EQUAL(metric(&o, name), sum, i < 2 ? 1e-9 : 1e-4);
    }
    close_loop(&o);
}

/* What a gate guards has what it pays; that the gate opened is the gate's own. Below what does not
 * say its slopes nothing is told. */
static void
within_others(void)
{
    struct opened o =
        first_step("rloo", "{ use = \"sum\"; of = ( { name = \"gate\"; use = \"gate\"; of = ("
                           "     { name = \"open\"; " HAS " }, { name = \"a\"; " LONG " } ); },"
                           " { name = \"dark\"; use = \"expr\"; value = \"2 * b\";"
                           "   of = ( { name = \"b\"; " LONG " } ); } ); }");
    double all = metric(&o, "attribution/variance/reward/gate"),
           guarded = metric(&o, "attribution/variance/reward/gate/a");
    CU_ASSERT_EQUAL(metric(&o, "attribution/variance/reward/gate/open"), 0);
    CU_ASSERT(guarded > 0.01 && guarded < all);
    CU_ASSERT(isnan(mete__metrics_get(&o.loop->metrics, "attribution/variance/reward/dark/b")));
    close_loop(&o);
}

/* A critic and GAE: what the nodes are answerable for is still linear in them; the critic has the
 * rest. */
static void
beside_a_critic(void)
{
    mete_error err = {0};
    struct opened o = open_loop(
        "run = { seed = 7; iterations = 1; };"
        "env = { use = \"cartpole\"; lanes = 4; steps = 64; }; policy = { use = \"mlp\"; };"
        "reward = { use = \"sum\"; of = ( { name = \"a\"; use = \"environment\"; },"
        " { name = \"b\"; use = \"environment\"; weight = -0.5; } ); };"
        "objective = { use = \"ppo\"; lambda = 0.9; };");
    CU_ASSERT_EQUAL_FATAL(mete__loop_step(o.loop, &err), METE_OK);
    static const char *const kind[] = {"advantage", "gradient"};
    for (int i = 0; i < 2; i++) {
        char name[100];
        snprintf(name, sizeof name, "attribution/%s/reward/a", kind[i]);
        double a = metric(&o, name);
        snprintf(name, sizeof name, "attribution/%s/reward/b", kind[i]);
        CU_ASSERT_DOUBLE_EQUAL(metric(&o, name), -0.5 * a, 1e-4);
        CU_ASSERT(a > 0.2 && fabs(0.5 * a - 1) > 1e-3);
    }
    close_loop(&o);
}

/* Ends of the range seen so far, and groups without spread, counted by hand. */
static void
ends_and_groups(void)
{
    struct opened o = first_step("rloo", "{ use = \"sum\"; of = ( { name = \"b\"; " HAS " },"
                                         " { name = \"a\"; weight = 0.1; " LONG " } ); }");
    mete_error err = {0};
    const mete_batch *batch = mete__builder_batch(o.loop->train.builder, &err);
    const mete_scores *b = mete__node_scores(mete__engine_find(o.engine, "reward.b"));
    double high = 0, flat = 0;
    for (size_t g = 0; g < 4; g++) {
        size_t ones = 0;
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++)
            ones += b->episode[i] == 1;
        high += (double)ones;
        flat += ones == 0 || ones == 8;
    }
    CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/ceiling/reward/b"), high / 32, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/floor/reward/b"), 1 - high / 32, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(metric(&o, "attribution/flat/reward/b"), flat / 4, 1e-12);
    /* correlations and gradients are sampled at iterations 0 and 2, not at 1 */
    write_candidates();
    CU_ASSERT_EQUAL(mete__loop_step(o.loop, &err), METE_OK);
    CU_ASSERT(isnan(mete__metrics_get(&o.loop->metrics, "attribution/gradient/reward/b")));
    CU_ASSERT(!isnan(metric(&o, "attribution/advantage/reward/b")));
    CU_ASSERT_EQUAL(mete__loop_step(o.loop, &err), METE_OK);
    CU_ASSERT(!isnan(metric(&o, "attribution/gradient/reward/b")));
    remove("attribution.jsonl");
    close_loop(&o);
}

/* The range is the run's, over a resume too: a total that shrinks never comes back to its top. */
static void
range_is_resumed(void)
{
    static const char *const reward = "{ use = \"sum\"; of = ( { name = \"a\"; " LONG
                                      " weight = { from = 1.0; to = 0.01; over = 1; }; },"
                                      " { name = \"b\"; weight = 0.0; " HAS " } ); }";
    mete_error err = {0};
    struct opened first = first_step("rloo", reward);
    write_candidates();
    struct opened second = open_loop(chooses("rloo", reward));
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    CU_ASSERT(metric(&first, "attribution/ceiling/reward") > 0);
    CU_ASSERT_EQUAL_FATAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
    CU_ASSERT_EQUAL_FATAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
    CU_ASSERT_EQUAL_FATAL(mete__loop_step(second.loop, &err), METE_OK);
    CU_ASSERT_EQUAL(metric(&second, "attribution/ceiling/reward"), 0);
    mete__checkpoint_free(checkpoint);
    remove("attribution.jsonl");
    close_loop(&first);
    close_loop(&second);
}

/* Sampling gradients only looks: the parameters are the same without. */
static void
looking_changes_nothing(void)
{
    static const char *const reward = "{ use = \"sum\"; of = ( { name = \"b\"; " HAS " },"
                                      " { name = \"a\"; weight = 0.1; " LONG " } ); }";
    char never[3000];
    write_candidates();
    struct opened with = open_loop(chooses("grpo", reward));
    snprintf(never, sizeof never, "%s", chooses("grpo", reward));
    char *at = strstr(never, "attribution_every = 2");
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    at[strlen("attribution_every = ")] = '0';
    struct opened without = open_loop(never);
    finish(&with);
    finish(&without);
    CU_ASSERT_EQUAL(memcmp(with.loop->parameter, without.loop->parameter,
                           with.loop->parameters * sizeof(float)),
                    0);
    remove("attribution.jsonl");
    close_loop(&with);
    close_loop(&without);
}

/* What a plugin measures is logged under its node's name. */
static void
own_measures(void)
{
    struct opened o =
        first_step("rloo", "{ use = \"sum\"; of = ( { name = \"n\"; use = \"normalize\";"
                           " of = ( { " LONG " } ); } ); }");
    double mean = metric(&o, "reward/n/length");
    CU_ASSERT_DOUBLE_EQUAL(metric(&o, "reward/n/mean"), mean, 1e-9);
    close_loop(&o);
}

/* What models were asked is counted, under the names of the config. */
static void
models_asked(void)
{
    mete_error err = {0};
    char text[3200];
    write_candidates();
    snprintf(
        text, sizeof text,
        "%s models = { m = { use = \"scripted\"; otherwise = \"{}\"; failure_rate = 0.5; }; };",
        chooses("rloo", "{ use = \"asks\"; judge = \"m\"; schema = \"{}\"; }"));
    struct opened o = open_loop(text);
    CU_ASSERT_EQUAL_FATAL(mete__loop_step(o.loop, &err), METE_OK);
    double failed = metric(&o, "models/m/failed");
    CU_ASSERT_EQUAL(metric(&o, "models/m/requests"), 32);
    CU_ASSERT(failed > 4 && failed < 28);
    CU_ASSERT_EQUAL(metric(&o, "reward/failed"), failed);
    remove("attribution.jsonl");
    close_loop(&o);
}

/* Parts that add up to a value add up to its group-relative advantage, divided or not. */
static void
group_parts_add_up(void)
{
    const uint32_t group[] = {0, 3, 4, 6};
    const mete_batch batch = {.episodes = 6, .groups = 3, .group = group};
    const uint8_t valid[] = {1, 1, 1, 1, 1, 0};
    const double a[] = {1, 5, 2, 7, 3, 100}, b[] = {4, -1, 0.5, 2, 2, -100};
    double whole[6], out[6], from_a[6], from_b[6];
    for (size_t i = 0; i < 6; i++)
        whole[i] = a[i] + b[i];
    for (int k = 0; k < 4; k++) {
        bool divide = k & 1, others = k & 2;
        if (others)
            mete__leave_one_out(&batch, whole, valid, divide, 1e-4, out, NULL);
        else
            mete__group_relative(&batch, whole, valid, divide, 1e-4, out, NULL);
        mete__group_part(&batch, whole, a, valid, divide, 1e-4, others, from_a);
        mete__group_part(&batch, whole, b, valid, divide, 1e-4, others, from_b);
        for (size_t i = 0; i < 6; i++)
            CU_ASSERT_DOUBLE_EQUAL(from_a[i] + from_b[i], out[i], 1e-12);
        CU_ASSERT(from_a[1] > 0 && from_b[1] < 0 && from_a[3] == 0 && from_a[5] == 0);
    }
}

void
suite_attribution(void)
{
    CU_pSuite suite = CU_add_suite("attribution", NULL, NULL);
    CU_add_test(suite, "two nodes of one kind", two_of_one_kind);
    CU_add_test(suite, "shares add up", shares_add_up);
    CU_add_test(suite, "within a product", within_a_product);
    CU_add_test(suite, "within others", within_others);
    CU_add_test(suite, "beside a critic", beside_a_critic);
    CU_add_test(suite, "ends and groups", ends_and_groups);
    CU_add_test(suite, "the range is resumed", range_is_resumed);
    CU_add_test(suite, "looking changes nothing", looking_changes_nothing);
    CU_add_test(suite, "what plugins measure", own_measures);
    CU_add_test(suite, "what models were asked", models_asked);
    CU_add_test(suite, "group parts add up", group_parts_add_up);
}
