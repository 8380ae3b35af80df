/* What learnt models share: gradients that are turned round on their way to hidden units, and the
 * states of texts that are kept. */
#include "../../plugins/reward/model/common/cache.c"
#include "../../plugins/reward/model/common/features.c"
#include "../../plugins/reward/model/common/net.c"
#include "../../plugins/reward/model/common/trunk.c"

#include <CUnit/CUnit.h>
#include <stdio.h>

enum { ROWS = 2, HIDDEN = 3, COLUMNS = 3 };
static const double REVERSAL = .7;

/* (value - 1)^2 / 2 of one row, and the cross-entropy of its class (0) by the two other outputs. */
static void
losses(const double *z, const double *v, double *value_loss, double *class_loss)
{
    double out[COLUMNS] = {0};
    for (int o = 0; o < COLUMNS; o++)
        for (int k = 0; k < HIDDEN; k++)
            out[o] += v[o * HIDDEN + k] * tanh(z[k]);
    *value_loss = .5 * (out[0] - 1) * (out[0] - 1);
    *class_loss = log(exp(out[1]) + exp(out[2])) - out[1];
}

/* What hidden units see: the value's loss less REVERSAL times the adversary's. What the outputs'
 * weights see: both as they are. */
static double
seen(const double *z, const double *v, double sign)
{
    double sum = 0, value, class;
    for (int i = 0; i < ROWS; i++) {
        losses(z + i * HIDDEN, v, &value, &class);
        sum += value + sign * class;
    }
    return sum;
}

static void
gradients_turn_round(void)
{
    double z[ROWS * HIDDEN] = {.3, -.8, .5, 1.1, -.2, .4}, h = 1e-6;
    double v[COLUMNS * HIDDEN] = {.5, -.7, 1.2, .9, .3, -.4, -.6, .8, .2};
    struct net p = {.hidden = HIDDEN,
                    .members = 1,
                    .columns = COLUMNS,
                    .outs = COLUMNS,
                    .width = HIDDEN,
                    .reversed = 2,
                    .reversal = REVERSAL};
    float unit[ROWS * HIDDEN], weight[COLUMNS * HIDDEN];
    float bias_grad[HIDDEN] = {0}, grad[COLUMNS * HIDDEN] = {0};
    double slope[ROWS * COLUMNS];
    mete_batch batch = {.episodes = ROWS};
    struct pass t = {.batch = &batch, .unit = unit, .slope = slope};
    for (int k = 0; k < COLUMNS * HIDDEN; k++)
        weight[k] = (float)v[k];
    for (int i = 0; i < ROWS; i++) {
        double out[COLUMNS] = {0};
        for (int k = 0; k < HIDDEN; k++)
            unit[i * HIDDEN + k] = (float)tanh(z[i * HIDDEN + k]);
        for (int o = 0; o < COLUMNS; o++)
            for (int k = 0; k < HIDDEN; k++)
                out[o] += v[o * HIDDEN + k] * tanh(z[i * HIDDEN + k]);
        slope[i * COLUMNS] = out[0] - 1;
        double first = 1 / (1 + exp(out[2] - out[1]));
        slope[i * COLUMNS + 1] = first - 1;
        slope[i * COLUMNS + 2] = 1 - first;
    }
    back_hidden(&p, &t, weight, bias_grad, grad);
    for (int k = 0; k < ROWS * HIDDEN; k++) {
        double at = z[k];
        z[k] = at + h;
        double up = seen(z, v, -REVERSAL);
        z[k] = at - h;
        double down = seen(z, v, -REVERSAL);
        z[k] = at;
        CU_ASSERT_DOUBLE_EQUAL(unit[k], (up - down) / (2 * h), 1e-5);
    }
    for (int k = 0; k < COLUMNS * HIDDEN; k++) {
        double at = v[k];
        v[k] = at + h;
        double up = seen(z, v, 1);
        v[k] = at - h;
        double down = seen(z, v, 1);
        v[k] = at;
        CU_ASSERT_DOUBLE_EQUAL(grad[k], (up - down) / (2 * h), 1e-5);
    }
}

static struct cache_key
key_of(int k)
{
    char text[20];
    snprintf(text, sizeof text, "text %d", k);
    return cache_key_of(mete_text_from("prompt"), mete_text_from(text));
}

/* The first 1500 states stay, found by their texts; another owner's are none of them. */
static void
states_are_kept(void)
{
    size_t each = 3 * sizeof(float) + sizeof(struct cache_key) + 4 * sizeof(uint32_t);
    struct cache *cache = cache_new(3, 1500 * each);
    CU_ASSERT_PTR_NOT_NULL_FATAL(cache);
    cache_of(cache, 7);
    for (int k = 0; k < 3000; k++) {
        const float state[3] = {(float)k, (float)k + .5f, -1};
        CU_ASSERT_PTR_NULL(cache_find(cache, key_of(k)));
        cache_put(cache, key_of(k), state);
        cache_put(cache, key_of(k), (const float[3]){0});
    }
    for (int k = 0; k < 3000; k++) {
        const float *found = cache_find(cache, key_of(k));
        CU_ASSERT_EQUAL(found != NULL, k < 1500);
        CU_ASSERT(!found || (found[0] == (float)k && found[1] == (float)k + .5f));
    }
    cache_of(cache, 7);
    CU_ASSERT_PTR_NOT_NULL(cache_find(cache, key_of(3)));
    cache_of(cache, 8);
    CU_ASSERT_PTR_NULL(cache_find(cache, key_of(3)));
    cache_free(cache);
    /* where a text ends and the next begins counts */
    struct cache_key a = cache_key_of(mete_text_from("ab"), mete_text_from("c"));
    struct cache_key b = cache_key_of(mete_text_from("a"), mete_text_from("bc"));
    CU_ASSERT(a.a != b.a && a.b != b.b && a.a != a.b);
}

void
suite_net(void)
{
    CU_pSuite suite = CU_add_suite("net", NULL, NULL);
    CU_add_test(suite, "gradients turn round", gradients_turn_round);
    CU_add_test(suite, "states are kept", states_are_kept);
}
