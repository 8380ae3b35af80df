/* selftest_rubric.c - rubric generators, asked about plain and difficult prompts: criteria that
 * somebody could decide, and the same whenever and beside whomever a prompt is asked about.
 */
#include "cli/hard.h"
#include "cli/selftest.h"

#include <mete/text.h>
#include <string.h>

#define PROMPTS ((size_t)(METE__HARD_ROWS / METE__HARD_GROUP))

/* What each prompt was given: a hash of all of it, and how many criteria that is. */
struct given {
    uint64_t hash[PROMPTS];
    size_t count[PROMPTS];
};

static uint64_t
hash_text(uint64_t seed, mete_text text)
{
    return mete_hash(mete_hash_mix(seed, text.length), text.data, text.length);
}

static uint64_t
hash_of(uint64_t seed, const mete_criterion *c)
{
    seed = mete_hash(seed, &c->kind, sizeof c->kind);
    seed = mete_hash(seed, &c->points, sizeof c->points);
    seed = mete_hash(seed, &c->scale, sizeof c->scale);
    seed = mete_hash(seed, &c->parent, sizeof c->parent);
    seed = hash_text(hash_text(seed, c->id), c->text);
    return hash_text(hash_text(hash_text(seed, c->check), c->target), c->source);
}

/* Is criterion k of a prompt's `item` one that can be decided? */
static bool
well_formed(const mete_criterion *item, size_t k, mete_error *err)
{
    const mete_criterion *c = &item[k];
    const char *fault = NULL;
    if (c->kind == METE_CRITERION_PROGRAM ? !c->check.length : !mete_text_trim(c->text).length)
        fault = c->kind == METE_CRITERION_PROGRAM ? "names no check" : "has no text";
    else if (c->kind > METE_CRITERION_PARTS)
        fault = "is of a kind that does not exist";
    else if (c->kind == METE_CRITERION_ORDINAL && c->scale < 2)
        fault = "is a scale of less than two grades";
    else if (c->parent < -1 || (c->parent >= 0 && (size_t)c->parent >= k))
        fault = "is part of one that does not come before it";
    for (size_t i = 0; i < k && !fault; i++)
        if (c->id.length && c->id.length == item[i].id.length &&
            memcmp(c->id.data, item[i].id.data, c->id.length) == 0)
            fault = "has the id of another";
    if (fault)
        mete_error_set(err, METE_EPLUGIN, "criterion %zu %s", k, fault);
    return !fault;
}

/* Criteria of prompts [from, to). `wrong` is told of the first that nobody could decide. */
static bool
ask(mete__host *host, const struct mete__hard *hard, size_t from, size_t to, struct given *out,
    mete_error *wrong, mete_error *err)
{
    mete_node *node = mete__engine_find(host->engine, "reward.generator");
    mete__builder *builder = mete__builder_new();
    const mete_batch *batch = NULL;
    const mete_rubric_table *table = NULL;
    if (builder && mete__hard_batch(hard, host->engine, builder, from * METE__HARD_GROUP,
                                    to * METE__HARD_GROUP))
        batch = mete__builder_batch(builder, err);
    if (node && batch)
        table = mete__rubric_criteria(node, batch, err);
    for (size_t g = 0; table && g < to - from; g++) {
        const mete_criterion *item = table->item + table->first[g];
        out->count[from + g] = table->first[g + 1] - table->first[g];
        out->hash[from + g] = 0;
        for (size_t k = 0; k < out->count[from + g]; k++) {
            out->hash[from + g] = hash_of(out->hash[from + g], &item[k]);
            if (wrong && !wrong->code && !well_formed(item, k, wrong))
                snprintf(wrong->message + strlen(wrong->message),
                         sizeof wrong->message - strlen(wrong->message), " (prompt %zu)", from + g);
        }
    }
    if (!table && !err->code)
        mete_error_set(err, METE_ENOMEM, "out of memory");
    mete__engine_reset(host->engine);
    if (builder)
        mete__builder_free(builder);
    return table != NULL;
}

static bool
same(const struct given *a, const struct given *b, mete_error *err)
{
    for (size_t g = 0; g < PROMPTS; g++)
        if (a->count[g] != b->count[g] || a->hash[g] != b->hash[g]) {
            mete_error_set(err, METE_EPLUGIN, "prompt %zu was given %zu criteria, then %zu%s", g,
                           a->count[g], b->count[g],
                           a->count[g] == b->count[g] ? " that differ" : "");
            return false;
        }
    return true;
}

/* A fresh instance is asked about one prompt after another, the last first; `kept`: after it was
 * given what the first saved. */
static bool
again(mete__selftest *t, const mete__host *first, const struct mete__hard *hard,
      const struct given *whole, bool kept, mete_error *err)
{
    mete__host host;
    struct given alone = {0};
    bool good = mete__host_open(t, &host, 1, err) && (!kept || mete__host_copy(first, &host, err));
    for (size_t g = PROMPTS; good && g-- > 0;)
        good = ask(&host, hard, g, g + 1, &alone, NULL, err);
    mete__host_close(&host);
    return good && same(whole, &alone, err);
}

static void
check(mete__selftest *t, mete__host *host, const struct mete__hard *hard)
{
    mete_error err = {0}, wrong = {0};
    struct given whole = {0}, twice = {0};
    size_t count = 0;
    bool good = ask(host, hard, 0, PROMPTS, &whole, &wrong, &err);
    mete__selftest_tell(t, good, "criteria for prompts (plain, empty, NUL, invalid UTF-8)",
                        err.message);
    if (!good)
        return;
    for (size_t g = 0; g < PROMPTS; g++)
        count += whole.count[g];
    if (!count)
        mete__selftest_skip(t, "criteria", "these prompts were given none");
    mete__selftest_tell(t, !wrong.code, "criteria are well formed", wrong.message);
    good = ask(host, hard, 0, PROMPTS, &twice, NULL, &err) && same(&whole, &twice, &err);
    mete__selftest_tell(t, good, "asked twice alike", err.message);
    mete__selftest_tell(t, again(t, host, hard, &whole, false, &err),
                        "each prompt alone as among others", err.message);
    mete__selftest_tell(t, again(t, host, hard, &whole, true, &err), "saved and loaded, alike",
                        err.message);
}

void
mete__selftest_rubric(mete__selftest *t)
{
    static const char nul[] = "Name three primes.\0 And four?";
    mete_error err = {0};
    mete__host host;
    struct mete__hard hard;
    bool opened = mete__host_open(t, &host, 2, &err);
    if (opened && mete__hard_make(&hard)) {
        hard.json = mete_text_from("[{\"criterion\": \"Says 42\", \"points\": 5, \"tags\": []},"
                                   " {\"criterion\": \"Invents\", \"points\": -3, \"tags\": []}]");
        hard.prompt[1] = mete_text_from("");
        hard.prompt[2] = (mete_text){nul, sizeof nul - 1};
        hard.prompt[3] = mete_text_from("\xff\xfe \xc3\x28 Qu\xc3\xa9 \xe4\xb8\x96?");
        check(t, &host, &hard);
        mete__hard_free(&hard);
    } else {
        mete__selftest_tell(t, false, "opened for criteria",
                            opened ? "out of memory" : err.message);
    }
    mete__host_close(&host);
}
