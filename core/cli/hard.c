/* hard.c - responses that break careless code, in four groups of three: made the same every time,
 * so that whatever differs between two scorings is the plugin's.
 */
#include "cli/selftest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BIG ((size_t)1 << 20)

bool
mete__hard_make(struct mete__hard *hard)
{
    static const char nul[] = "before\0after \0 42";
    static const char *const plain[METE__HARD_ROWS] = {
        "",
        "The answer is 42.",
        "a",
        NULL, /* 1 MiB */
        NULL, /* NUL */
        "\xff\xfe \xc3\x28 \xed\xa0\x80 \xf5\x80\x80\x80 cut \xe2\x82",
        " \t\r\n \n",
        "1e999 -0 .5 1,2,3 1/0 nan inf 99999999999999999999999999999999999999",
        "((((((((((((((((((((((((((((((((((((((((((((((((\\boxed{\\boxed{{{{}",
        "word word word word word word word word word word word word word word",
        "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x8c"
        "\x8d e\xcc\x81",
        "{\"json\":[1,2,{\"a\":null}],\"text\":\"#### 7\"}"};
    static const char *const what[METE__HARD_ROWS] = {
        "an empty response", "a sentence",     "one letter",      "1 MiB",
        "a NUL inside",      "invalid UTF-8",  "white space",     "extreme numbers",
        "unclosed brackets", "repeated words", "several scripts", "JSON"};
    hard->big = malloc(BIG);
    if (!hard->big)
        return false;
    for (size_t i = 0; i < BIG; i++)
        hard->big[i] = "the quick 12 brown, fox. "[i % 25];
    for (size_t i = 0; i < METE__HARD_ROWS; i++) {
        hard->what[i] = what[i];
        if (plain[i])
            hard->response[i] = mete_text_from(plain[i]);
    }
    hard->response[3] = (mete_text){hard->big, BIG};
    hard->response[4] = (mete_text){nul, sizeof nul - 1};
    return true;
}

void
mete__hard_free(struct mete__hard *hard)
{
    free(hard->big);
}

struct filled {
    int handle;
    const mete_field *field;
};

static size_t
declare(mete__engine *engine, mete__builder *builder, struct filled *out, size_t most)
{
    size_t count, n = 0;
    mete_node *const *node = mete__engine_nodes(engine, &count);
    for (size_t i = 0; i < count; i++)
        for (size_t f = 0; f < node[i]->fields; f++) {
            const mete_field *field = &node[i]->field[f];
            bool seen = !field->name || n == most ||
                        (field->level != METE_EPISODE && field->level != METE_LIST);
            for (size_t k = 0; k < n && !seen; k++)
                seen = strcmp(out[k].field->name, field->name) == 0 &&
                       out[k].field->level == field->level &&
                       out[k].field->element == field->element;
            if (seen)
                continue;
            int handle =
                mete__builder_column(builder, field->name, (mete_level)field->level,
                                     (mete_type)field->element, METE_EPISODE, METE_SEE_POLICY);
            if (handle >= 0)
                out[n++] = (struct filled){handle, field};
        }
    return n;
}

static bool
fill(mete__builder *builder, const struct filled *column, size_t row)
{
    const mete_field *field = column->field;
    static const char *const text[] = {"42", "The answer is 42.", "a cat, a dog"};
    mete_text value = mete_text_from(text[row / METE__HARD_GROUP % 3]);
    if (field->element == METE_JSON)
        value = mete_text_from("\"42\"");
    if (field->level == METE_LIST) {
        const mete_text item[2] = {value,
                                   field->element == METE_JSON ? value : mete_text_from("word")};
        return mete__builder_list(builder, column->handle, item, 2) == METE_OK;
    }
    if (field->element == METE_TEXT || field->element == METE_JSON)
        mete__builder_text(builder, column->handle, value, (mete_type)field->element);
    else
        mete__builder_number(builder, column->handle, 1 + (double)(size_t)(row / METE__HARD_GROUP));
    return true;
}

static bool
make_batch(const struct mete__hard *hard, mete__engine *engine, mete__builder *builder, size_t from,
           size_t to)
{
    struct filled column[64];
    mete__shape shape = {.text = true};
    mete__builder_shape(builder, &shape);
    size_t columns = declare(engine, builder, column, 64);
    for (size_t i = from; i < to; i++) {
        mete__row row = {.id = i + 1,
                         .prompt_id = i / METE__HARD_GROUP + 1,
                         .task_id = i / METE__HARD_GROUP + 1,
                         .starts = true,
                         .terminated = true,
                         .joins = i > from && i % METE__HARD_GROUP != 0,
                         .prompt = mete_text_from("What is six times seven?"),
                         .response = hard->response[i]};
        if (mete__builder_row(builder, &row))
            return false;
        for (size_t c = 0; c < columns; c++)
            if (!fill(builder, &column[c], i))
                return false;
    }
    return true;
}

bool
mete__hard_score(mete__engine *engine, const struct mete__hard *hard, size_t from, size_t to,
                 struct mete__scored *out, char *why, size_t room)
{
    mete_error err = {0};
    mete_node *root = mete__engine_reward(engine);
    mete__builder *builder = mete__builder_new();
    bool good = builder && make_batch(hard, engine, builder, from, to);
    const mete_batch *batch = good ? mete__builder_batch(builder, &err) : NULL;
    good = batch && mete__score(engine, root, batch, &err) == METE_OK;
    const mete_scores *scores = good ? mete__node_scores(root) : NULL;
    for (size_t i = from; scores && i < to && i < METE__HARD_ROWS; i++) {
        bool valid = scores->status[i - from] == METE_VALID;
        out->value[i] = valid ? scores->episode[i - from] : 0;
        out->status[i] = scores->status[i - from];
        out->sum[i] = 0;
        for (size_t k = 0; k < root->children; k++) {
            const mete_scores *child = mete__node_scores(root->child[k]);
            if (child && child->status[i - from] == METE_VALID)
                out->sum[i] += root->weight[k] * child->episode[i - from];
        }
    }
    if (!scores)
        snprintf(why, room, "%s", err.message[0] ? err.message : "out of memory");
    mete__engine_reset(engine);
    if (builder)
        mete__builder_free(builder);
    return scores != NULL;
}

bool
mete__hard_same(const struct mete__scored *a, const struct mete__scored *b,
                const struct mete__hard *hard, char *why, size_t room)
{
    for (size_t i = 0; i < METE__HARD_ROWS; i++)
        if (a->status[i] != b->status[i] ||
            memcmp(a->value + i, b->value + i, 8) != 0) { /* NOLINT: bits, not numbers */
            snprintf(why, room, "%s: %.17g (status %d), then %.17g (status %d)", hard->what[i],
                     a->value[i], a->status[i], b->value[i], b->status[i]);
            return false;
        }
    return true;
}

bool
mete__hard_finite(const struct mete__scored *s, const struct mete__hard *hard, char *why,
                  size_t room)
{
    for (size_t i = 0; i < METE__HARD_ROWS; i++)
        if (!isfinite(s->value[i])) {
            snprintf(why, room, "%s scores %g", hard->what[i], s->value[i]);
            return false;
        }
    return true;
}

bool
mete__hard_sums(const struct mete__scored *s, const struct mete__hard *hard, char *why, size_t room)
{
    for (size_t i = 0; i < METE__HARD_ROWS; i++)
        if (s->status[i] == METE_VALID &&
            !(fabs(s->value[i] - s->sum[i]) <= 1e-9 * (1 + fabs(s->sum[i])))) {
            snprintf(why, room, "%s: %.17g, but the children's sum is %.17g", hard->what[i],
                     s->value[i], s->sum[i]);
            return false;
        }
    return true;
}

bool
mete__hard_cut(mete__engine *engine, const struct mete__scored *whole,
               const struct mete__hard *hard, char *why, size_t room)
{
    for (size_t size = METE__HARD_GROUP; size < METE__HARD_ROWS; size += METE__HARD_GROUP) {
        struct mete__scored cut;
        for (size_t at = 0; at < METE__HARD_ROWS; at += size) {
            size_t end = at + size < METE__HARD_ROWS ? at + size : METE__HARD_ROWS;
            if (!mete__hard_score(engine, hard, at, end, &cut, why, room))
                return false;
        }
        if (!mete__hard_same(whole, &cut, hard, why, room))
            return false;
    }
    return true;
}
