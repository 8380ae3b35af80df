/* hard.c - responses that break careless code, in four groups of three: made the same every time,
 * so that whatever differs between two scorings is the plugin's.
 */
#include "cli/hard.h"

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
    hard->json = mete_text_from("\"42\"");
    for (size_t i = 0; i < METE__HARD_ROWS / METE__HARD_GROUP; i++)
        hard->prompt[i] = mete_text_from("What is six times seven?");
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

void
mete__hard_begin(mete__engine *engine, mete__builder *builder, const mete__shape *shape,
                 struct mete__hard_columns *out)
{
    size_t count;
    mete_node *const *node = mete__engine_nodes(engine, &count);
    mete__builder_shape(builder, shape);
    out->columns = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t f = 0; f < node[i]->fields; f++) {
            const mete_field *field = &node[i]->field[f];
            bool seen = !field->name || out->columns == METE__HARD_COLUMNS ||
                        (field->level != METE_EPISODE && field->level != METE_LIST &&
                         (field->level != METE_STEP || field->element != METE_F32));
            for (size_t k = 0; k < out->columns && !seen; k++)
                seen = strcmp(out->field[k]->name, field->name) == 0 &&
                       out->field[k]->level == field->level &&
                       out->field[k]->element == field->element;
            int handle = seen ? -1
                              : mete__builder_column(builder, field->name, (mete_level)field->level,
                                                     (mete_type)field->element, METE_EPISODE,
                                                     METE_SEE_POLICY);
            if (handle >= 0) {
                out->handle[out->columns] = handle;
                out->field[out->columns++] = field;
            }
        }
}

static bool
fill(const struct mete__hard *hard, mete__builder *builder, int handle, const mete_field *field,
     size_t row)
{
    static const char *const text[] = {"42", "The answer is 42.", "a cat, a dog"};
    mete_text value = mete_text_from(text[row / METE__HARD_GROUP % 3]);
    if (field->element == METE_JSON)
        value = hard->json;
    if (field->level == METE_LIST) {
        const mete_text item[2] = {value,
                                   field->element == METE_JSON ? value : mete_text_from("word")};
        return mete__builder_list(builder, handle, item, 2) == METE_OK;
    }
    if (field->element == METE_TEXT || field->element == METE_JSON)
        mete__builder_text(builder, handle, value, (mete_type)field->element);
    else
        mete__builder_number(builder, handle, 1 + (double)(size_t)(row / METE__HARD_GROUP));
    return true;
}

bool
mete__hard_row(const struct mete__hard *hard, const struct mete__hard_columns *columns,
               mete__builder *builder, size_t i, mete_text response)
{
    mete__row row = {.id = i + 1,
                     .prompt_id = i / METE__HARD_GROUP + 1,
                     .task_id = i / METE__HARD_GROUP + 1,
                     .starts = true,
                     .terminated = true,
                     .joins = mete__builder_rows(builder) && i % METE__HARD_GROUP != 0,
                     .prompt = hard->prompt[i / METE__HARD_GROUP],
                     .response = response};
    bool good = mete__builder_row(builder, &row) == METE_OK;
    for (size_t c = 0; c < columns->columns && good; c++)
        if (columns->field[c]->level != METE_STEP)
            good = fill(hard, builder, columns->handle[c], columns->field[c], i);
    return good;
}

/* Where a node reads numbers of steps, every row has two. */
static bool
add_steps(const struct mete__hard_columns *columns, mete__builder *builder, size_t row)
{
    const float number[2] = {0.5F, (float)(row % METE__HARD_GROUP)};
    bool good = true, added = false;
    for (size_t c = 0; c < columns->columns && good; c++) {
        if (columns->field[c]->level != METE_STEP)
            continue;
        if (!added)
            good = mete__builder_steps(builder, 2, NULL, NULL, NULL, NULL, NULL, NULL) == METE_OK;
        added = true;
        mete__builder_numbers(builder, columns->handle[c], number, 2);
    }
    return good;
}

bool
mete__hard_batch(const struct mete__hard *hard, mete__engine *engine, mete__builder *builder,
                 size_t from, size_t to)
{
    struct mete__hard_columns columns;
    mete__hard_begin(engine, builder, &(mete__shape){.text = true}, &columns);
    bool good = true;
    for (size_t i = from; i < to && good; i++)
        good = mete__hard_row(hard, &columns, builder, i, hard->response[i]) &&
               add_steps(&columns, builder, i);
    return good;
}

bool
mete__hard_score(mete__engine *engine, const struct mete__hard *hard, size_t from, size_t to,
                 struct mete__scored *out, char *why, size_t room)
{
    mete_error err = {0};
    mete_node *root = mete__engine_reward(engine);
    mete__builder *builder = mete__builder_new();
    bool good = builder && mete__hard_batch(hard, engine, builder, from, to);
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
