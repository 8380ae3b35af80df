/* selftest_reward.c - rewards, scored on batches made to hurt: empty responses, a megabyte, NUL,
 * bytes that are no UTF-8. What the contract says of every reward is tested here without knowing
 * what it computes: scores are finite, the same twice, the same whole and cut, and the same after
 * save and load.
 */
#include "cli/hard.h"
#include "cli/selftest.h"

static void
check_one_by_one(mete__selftest *t, mete__host *host, const struct mete__scored *whole,
                 const struct mete__hard *hard)
{
    char why[1100] = "";
    struct mete__scored each;
    bool good = true;
    for (size_t i = 0; i < METE__HARD_ROWS && good; i++)
        good = mete__hard_score(host->engine, hard, i, i + 1, &each, why, sizeof why);
    mete__selftest_tell(t, good && mete__hard_same(whole, &each, hard, why, sizeof why),
                        "scored row by row as in the whole", why);
}

/* Everything saved goes into a fresh instance, which then scores alike. */
static void
check_saved(mete__selftest *t, mete__host *host, const struct mete__scored *whole,
            const struct mete__hard *hard)
{
    mete__host other;
    struct mete__scored again;
    mete_error err = {0};
    char *why = err.message;
    bool good =
        mete__host_open(t, &other, 1, &err) && mete__host_copy(host, &other, &err) &&
        mete__hard_score(other.engine, hard, 0, METE__HARD_ROWS, &again, why, sizeof err.message) &&
        mete__hard_same(whole, &again, hard, why, sizeof err.message);
    mete__host_close(&other);
    mete__selftest_tell(t, good, "saved and loaded, scores alike", why);
}

static void
check_scores(mete__selftest *t, mete__host *host, const struct mete__hard *hard)
{
    char why[1100] = "";
    struct mete__scored whole, twice;
    uint32_t flags = t->plugin->as.head.flags;
    bool good = mete__hard_score(host->engine, hard, 0, 0, &whole, why, sizeof why);
    mete__selftest_tell(t, good, "an empty batch", why);
    good = mete__hard_score(host->engine, hard, 0, METE__HARD_ROWS, &whole, why, sizeof why);
    mete__selftest_tell(t, good, "difficult responses (empty, 1 MiB, NUL, invalid UTF-8)", why);
    if (!good)
        return;
    if (flags & METE_SUMS)
        mete__selftest_tell(t, mete__hard_sums(&whole, hard, why, sizeof why),
                            "the sum of its children, as declared", why);
    mete__selftest_tell(t, mete__hard_finite(&whole, hard, why, sizeof why), "scores are finite",
                        why);
    good = mete__hard_score(host->engine, hard, 0, METE__HARD_ROWS, &twice, why, sizeof why) &&
           mete__hard_same(&whole, &twice, hard, why, sizeof why);
    mete__selftest_tell(t, good, "scored twice alike", why);
    if (!(flags & METE_WHOLE_BATCH))
        mete__selftest_tell(t, mete__hard_cut(host->engine, &whole, hard, why, sizeof why),
                            "scored in pieces as in the whole", why);
    if (!(flags & (METE_WHOLE_BATCH | METE_WHOLE_GROUP | METE_WHOLE_SCENE)))
        check_one_by_one(t, host, &whole, hard);
    check_saved(t, host, &whole, hard);
}

void
mete__selftest_reward(mete__selftest *t)
{
    mete_error err = {0};
    mete__host host;
    struct mete__hard hard;
    bool opened = mete__host_open(t, &host, 2, &err);
    if (opened && mete__hard_make(&hard)) {
        check_scores(t, &host, &hard);
        mete__hard_free(&hard);
    } else {
        mete__selftest_tell(t, false, "opened for scoring", opened ? "out of memory" : err.message);
    }
    mete__host_close(&host);
}
