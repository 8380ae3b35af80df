/* bench.c - mete bench CONFIG FILE...: how often a reward prefers what people, or a benchmark's
 * authors, prefer; read from the files as they are published. bench_rubrics.c has the cases that
 * rubrics grade.
 */
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "run/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)1 << 30)
#define CHUNK ((size_t)4096)
#define RESAMPLES 2000
#define MOST_NAMES ((size_t)10000)

static const char usage[] =
    "usage: mete bench CONFIG FILE... [--set PATH=VALUE]... [--seed N] [--threads N] [--json]\n"
    "                  [--quiet]\n\n"
    "Measures CONFIG's reward by how it orders responses. Files are JSON Lines or a JSON array,\n"
    "plain or gzip; each record is one of\n"
    "  a pair           chosen and rejected, with prompt or as whole dialogues (HH-RLHF)\n"
    "  a labelled pair  input or question, output_1 and output_2 (or response_A and response_B), "
    "and\n"
    "                   label 1 or 2 (or A>B, B>A): LLMBar, PandaLM, JudgeBench\n"
    "  a matrix         three chosen and three rejected, plainest first (RM-Bench)\n"
    "  one to many      lists chosen and rejected (RewardBench 2)\n"
    "  an example       rubrics, prompt and response (or completion): HealthBench\n"
    "  a labelled one   rubric, prompt, completion and binary_labels: HealthBench's "
    "meta-evaluation\n"
    "Of RewardBench's subsets the sections are scored as published, of RewardBench 2's the Ties; "
    "of\n"
    "one to many also what best of n would choose. Of a pair a tie is no win. Intervals are of "
    "95%, by resampling cases.\n\n"
    "  --set PATH=VALUE  change one value of the config; repeatable\n"
    "  --threads N       worker threads; the results are the same for any number\n"
    "  --json            print one JSON object\n"
    "  --quiet           do not tell of records that were left out\n";

/* ---- records --------------------------------------------------------------------------------- */

void *
mete__bench_grow(void *old, size_t *room, size_t need, size_t each)
{
    if (need <= *room)
        return old;
    *room = 2 * need;
    return realloc(old, *room * each);
}

size_t
mete__bench_name(mete__names *names, mete_text text)
{
    for (size_t k = 0; k < names->count; k++)
        if (mete_text_is(text, names->item[k]))
            return k;
    if (names->count == MOST_NAMES) {
        mete__say("the files have more than %zu tags or subsets", MOST_NAMES);
        return SIZE_MAX;
    }
    char **grown = mete__bench_grow(names->item, &names->room, names->count + 1, sizeof *grown);
    if (grown)
        names->item = grown;
    if (!grown || !(names->item[names->count] = strndup(text.data, text.length))) {
        mete__say("out of memory");
        return SIZE_MAX;
    }
    return names->count++;
}

static void
names_free(mete__names *names)
{
    for (size_t k = 0; k < names->count; k++)
        free(names->item[k]);
    free(names->item);
}

static bool
flush(struct mete__bench *b)
{
    mete_error err = {0};
    mete_node *reward = mete__engine_reward(b->engine);
    const mete_batch *batch = b->waiting ? mete__builder_batch(b->builder, &err) : NULL;
    if (b->waiting && (!batch || mete__score(b->engine, reward, batch, &err))) {
        mete__say("%s", err.message);
        return false;
    }
    for (size_t i = 0; i < b->waiting; i++) {
        const mete_scores *scores = mete__node_scores(reward);
        b->score[b->scores - b->waiting + i] = scores->status[i] ? NAN : scores->episode[i];
    }
    b->waiting = 0;
    mete__builder_reset(b->builder);
    mete__engine_reset(b->engine);
    return true;
}

static bool
put_column(struct mete__bench *b, const mete__bench_column *column, const mete__bench_row *row)
{
    bool good = true;
    const mete_json *value = mete_json_get(row->record, column->name);
    if (column == b->rubrics && row->rubrics.length) {
        mete__builder_text(b->builder, column->handle, row->rubrics, METE_JSON);
    } else if (column->element == METE_JSON && mete_json_kind(value) > METE_JSON_NULL) {
        mete_buffer json = mete_buffer_make(0);
        good = !mete_json_put(&json, value);
        if (good)
            mete__builder_text(b->builder, column->handle, mete_buffer_view(&json), METE_JSON);
        mete_buffer_free(&json);
    } else if (column->element == METE_TEXT && mete_json_kind(value) == METE_JSON_STRING) {
        mete__builder_text(b->builder, column->handle, mete_json_text(value), METE_TEXT);
    }
    return good;
}

bool
mete__bench_row_add(struct mete__bench *b, const mete__bench_row *row)
{
    b->score = mete__bench_grow(b->score, &b->score_room, b->scores + 1, sizeof *b->score);
    if (!row->joins)
        b->group = b->scores;
    mete__row to = {.id = row->id,
                    .prompt_id = mete_hash(b->group, row->prompt.data, row->prompt.length),
                    .starts = true,
                    .terminated = true,
                    .joins = row->joins,
                    .prompt = row->prompt,
                    .response = row->response};
    bool good = b->score && !mete__builder_row(b->builder, &to);
    for (size_t k = 0; k < b->columns && good; k++)
        good = put_column(b, &b->column[k], row);
    if (!good) {
        mete__say("out of memory");
        return false;
    }
    b->scores++;
    b->waiting++;
    return true;
}

int
mete__bench_leave_out(struct mete__bench *b, const char *why)
{
    if (b->left_out++ < 10 && !b->args->quiet)
        mete__say("%s: record %zu: %s; left out", b->file, b->number, why);
    return 0;
}

static size_t
subset_of(struct mete__bench *b, const mete_json *record, bool matrix)
{
    static const char *const keys[] = {"subset", "domain", "source"};
    const mete_json *value = NULL;
    for (size_t k = matrix; k < sizeof keys / sizeof *keys && !mete_json_kind(value); k++)
        value = mete_json_get(record, keys[k]);
    char name[256];
    const char *base = strrchr(b->file, '/') ? strrchr(b->file, '/') + 1 : b->file;
    mete_text text = mete_json_text(value);
    if (mete_json_kind(value) == METE_JSON_STRING)
        snprintf(name, sizeof name, "%.*s", (int)(text.length < 200 ? text.length : 200),
                 text.data);
    else
        snprintf(name, sizeof name, "%.*s", (int)strcspn(base, matrix ? "_-." : "."), base);
    return mete__bench_name(&b->subset, mete_text_from(name));
}

/* The responses of one side: a text, or a list of texts; 0 where it is neither. */
static size_t
side(const mete_json *value, const mete_json **first)
{
    *first = value;
    if (mete_json_kind(value) == METE_JSON_STRING)
        return 1;
    if (mete_json_kind(value) != METE_JSON_ARRAY)
        return 0;
    for (const mete_json *item = *first = mete_json_first(value); item; item = mete_json_next(item))
        if (mete_json_kind(item) != METE_JSON_STRING)
            return 0;
    return mete_json_count(value);
}

/* A whole dialogue is its turns up to the last answer, and that answer. */
static void
cut_dialogue(mete_text whole, mete_text *prompt, mete_text *answer)
{
    static const char mark[] = "\n\nAssistant:";
    size_t at = mete_text_find_last(whole, mete_text_from(mark));
    *prompt = (mete_text){"", 0};
    *answer = whole;
    if (at >= whole.length)
        return;
    *prompt = (mete_text){whole.data, at};
    at += sizeof mark - 1;
    *answer = mete_text_trim((mete_text){whole.data + at, whole.length - at});
}

/* Which of output_1 and output_2 is preferred: 1 or 2, 0 for neither. */
static int
label_of(const mete_json *record)
{
    const mete_json *label = mete_json_get(record, "label");
    mete_text text = mete_json_text(label);
    double number = mete_json_number(label);
    if (mete_json_kind(label) == METE_JSON_STRING && text.length == 3 && text.data[1] == '>')
        return text.data[0] == 'A' ? 1 : text.data[0] == 'B' ? 2 : 0;
    return number == 1 ? 1 : number == 2 ? 2 : 0;
}

static const mete_json *
one_of(const mete_json *record, const char *first, const char *second)
{
    const mete_json *value = mete_json_get(record, first);
    return mete_json_kind(value) ? value : mete_json_get(record, second);
}

/* "ref:N" and "tied:N" of RewardBench 2. */
static int
tie_of(const mete_json *record, size_t *prompt)
{
    mete_text id = mete_json_text(mete_json_get(record, "id"));
    size_t head = id.length > 4 && memcmp(id.data, "ref:", 4) == 0    ? 4
                  : id.length > 5 && memcmp(id.data, "tied:", 5) == 0 ? 5
                                                                      : 0;
    double number;
    if (!head || !mete_number_parse((mete_text){id.data + head, id.length - head}, 0, &number) ||
        !(number >= 0 && number < 1e15))
        return 0;
    *prompt = (size_t)number;
    return head == 4 ? 1 : 2;
}

static int
take_case(struct mete__bench *b, const mete_json *record)
{
    const mete_json *good = mete_json_get(record, "chosen"),
                    *bad = mete_json_get(record, "rejected");
    const mete_json *asked = mete_json_get(record, "prompt");
    if (!mete_json_kind(good) && !mete_json_kind(bad)) {
        int label = label_of(record);
        const mete_json *one = one_of(record, "output_1", "response_A");
        const mete_json *two = one_of(record, "output_2", "response_B");
        asked = one_of(record, "input", "question");
        good = label == 1 ? one : label == 2 ? two : NULL;
        bad = label == 1 ? two : label == 2 ? one : NULL;
    }
    const mete_json *first_good, *first_bad;
    size_t chosen = side(good, &first_good), rejected = side(bad, &first_bad);
    if (!chosen || !rejected)
        return mete__bench_leave_out(b, "has no chosen and rejected responses");
    mete__case item = {.first = b->scores,
                       .chosen = chosen,
                       .rejected = rejected,
                       .matrix = chosen == 3 && rejected == 3 &&
                                 !mete_json_kind(mete_json_get(record, "num_correct"))};
    item.tie = tie_of(record, &item.prompt);
    item.matrix = item.matrix && !item.tie;
    item.subset = subset_of(b, record, item.matrix);
    if (item.subset == SIZE_MAX)
        return -1;
    b->item = mete__bench_grow(b->item, &b->item_room, b->items + 1, sizeof *b->item);
    if (!b->item) {
        mete__say("out of memory");
        return -1;
    }
    size_t length[2] = {0, 0};
    for (size_t i = 0; i < chosen + rejected; i++) {
        const mete_json *at = i < chosen ? first_good : first_bad;
        mete_text prompt = mete_json_text(asked), response = mete_json_text(at);
        if (!mete_json_kind(asked))
            cut_dialogue(mete_json_text(at), &prompt, &response);
        if (!mete__bench_row_add(b, &(mete__bench_row){.record = record,
                                                       .prompt = prompt,
                                                       .response = response,
                                                       .id = b->scores,
                                                       .joins = i > 0}))
            return -1;
        length[i >= chosen] = response.length;
        *(i < chosen ? &first_good : &first_bad) = mete_json_next(at);
    }
    item.longer = (length[0] > length[1]) - (length[0] < length[1]);
    b->item[b->items++] = item;
    return 1;
}

/* 1: taken; 0: left out, told; -1: failed, told. */
static int
take_record(struct mete__bench *b, const mete_json *record)
{
    bool pair = mete_json_kind(mete_json_get(record, "chosen"));
    int got = pair || !mete_json_kind(one_of(record, "rubrics", "binary_labels"))
                  ? take_case(b, record)
              : mete_json_kind(mete_json_get(record, "rubrics")) ? mete__bench_example(b, record)
                                                                 : mete__bench_labelled(b, record);
    return got <= 0 || b->waiting < CHUNK || flush(b) ? got : -1;
}

static int
refused(const struct mete__bench *b, const char *why)
{
    mete__say("%s: record %zu: %s", b->file, b->number, why);
    return METE__EXIT_INPUT;
}

static int
take_text(struct mete__bench *b, mete_text text)
{
    mete_error err = {0};
    mete_text line = mete_text_trim(text);
    b->number = 1;
    if (line.length && line.data[0] == '[') {
        mete_json *root = mete_json_parse(line, &err);
        int got = 1;
        for (const mete_json *r = mete_json_first(root); r && got >= 0; r = mete_json_next(r)) {
            got = take_record(b, r);
            b->number++;
        }
        mete_json_free(root);
        return !root ? refused(b, err.message) : got < 0 ? METE__EXIT_FAILED : METE__EXIT_DONE;
    }
    for (size_t at = 0; mete_text_line(text, &at, &line); b->number++) {
        if (!mete_text_trim(line).length)
            continue;
        mete_json *root = mete_json_parse(line, &err);
        int got = root ? take_record(b, root) : 0;
        mete_json_free(root);
        if (!root)
            return refused(b, err.message);
        if (got < 0)
            return METE__EXIT_FAILED;
    }
    return METE__EXIT_DONE;
}

static int
take_file(struct mete__bench *b, const char *path)
{
    mete_error err = {0};
    mete_buffer bytes = mete_buffer_make(MOST_BYTES);
    b->file = path;
    int code = METE__EXIT_INPUT;
    if (mete_file_read(path, MOST_BYTES, &bytes, &err))
        mete__say("%s", err.message);
    else
        code = take_text(b, mete_buffer_view(&bytes));
    mete_buffer_free(&bytes);
    return !code && !flush(b) ? METE__EXIT_FAILED : code;
}

/* ---- figures --------------------------------------------------------------------------------- */

static bool
is_whole(const struct mete__bench *b, const mete__case *item)
{
    for (size_t i = 0; i < item->chosen + item->rejected; i++)
        if (isnan(b->score[item->first + i]))
            return false;
    return true;
}

enum { PAIRS, LONGER, SHORTER, HARD, NORMAL, EASY, MATRIX, BEST, BEST_OF, FIGURES = BEST_OF + 7 };
static const char *const figure_name[FIGURES] = {[PAIRS] = "accuracy",
                                                 [LONGER] = "accuracy, chosen longer",
                                                 [SHORTER] = "accuracy, chosen shorter",
                                                 [HARD] = "hard",
                                                 [NORMAL] = "normal",
                                                 [EASY] = "easy",
                                                 [MATRIX] = "mean",
                                                 [BEST] = "best of many",
                                                 [BEST_OF] = "gold of best of 1",
                                                 "gold of best of 2",
                                                 "gold of best of 4",
                                                 "gold of best of 8",
                                                 "gold of best of 16",
                                                 "gold of best of 32",
                                                 "gold of best of 64"};

/* What a case adds to a figure, NaN: nothing. */
static double
figure(const struct mete__bench *b, const mete__case *item, int which)
{
    const double *score = b->score + item->first;
    bool pair = item->chosen == 1 && item->rejected == 1;
    if (!is_whole(b, item))
        return NAN;
    if (item->matrix) {
        double value[4];
        mete__bench_matrix(score, &value[0], &value[1], &value[2]);
        value[3] = (value[0] + value[1] + value[2]) / 3;
        return which >= HARD && which <= MATRIX ? value[which - HARD] : NAN;
    }
    if (item->tie)
        return NAN;
    if (!pair && which >= BEST_OF) {
        size_t n = (size_t)1 << (which - BEST_OF);
        return n <= item->chosen + item->rejected
                   ? mete__bench_best_of(score, item->chosen, item->rejected, n)
                   : NAN;
    }
    if (!pair)
        return which == BEST ? mete__bench_best(score, item->chosen, item->rejected) : NAN;
    bool counts = which == PAIRS || (which == LONGER && item->longer > 0) ||
                  (which == SHORTER && item->longer < 0);
    return counts ? score[0] > score[1] : NAN;
}

struct shown {
    mete__interval interval;
    size_t cases;
};

static struct shown
measure(const struct mete__bench *b, size_t subset, int which, double *scratch)
{
    struct shown shown = {.interval = {NAN, NAN, NAN}};
    for (size_t i = 0; i < b->items; i++) {
        double x =
            subset == SIZE_MAX || b->item[i].subset == subset ? figure(b, &b->item[i], which) : NAN;
        if (!isnan(x))
            scratch[shown.cases++] = x;
    }
    if (shown.cases)
        mete__bootstrap(scratch, &shown.cases, 1, mete__estimate_mean, RESAMPLES, .95, 1,
                        &shown.interval);
    return shown;
}

/* Pairs' other figures; false: there are none. */
static bool
measure_pairs(const struct mete__bench *b, mete__pair_figures *f, double *auroc)
{
    double *d = malloc((b->items + 1) * sizeof *d),
           *score = malloc((b->scores + 1) * sizeof *score);
    bool *chosen = malloc(b->scores + 1);
    size_t *order = malloc((b->scores + 1) * sizeof *order), n = 0;
    for (size_t i = 0; d && score && chosen && order && i < b->items; i++) {
        if (isnan(figure(b, &b->item[i], PAIRS)))
            continue;
        const double *at = b->score + b->item[i].first;
        d[n] = at[0] - at[1];
        for (size_t k = 0; k < 2; k++) {
            score[2 * n + k] = at[k];
            chosen[2 * n + k] = !k;
        }
        n++;
    }
    if (n) {
        *f = mete__bench_pairs(d, n);
        *auroc = mete__bench_auroc(score, chosen, 2 * n, order);
    }
    free(d);
    free(score);
    free(chosen);
    free(order);
    return n > 0;
}

static void
put_subset(const struct mete__bench *b, size_t subset, double *scratch, mete_buffer *json)
{
    const char *name = subset == SIZE_MAX ? "all" : b->subset.item[subset];
    bool first = true;
    if (json)
        mete_json_put_text(json, mete_text_from(name));
    if (json)
        mete_buffer_string(json, ":{");
    for (int which = 0; which < FIGURES; which++) {
        struct shown s = measure(b, subset, which, scratch);
        if (!s.cases)
            continue;
        if (json) {
            mete_buffer_format(json, "%s\"%s\":{\"cases\":%zu", first ? "" : ",",
                               figure_name[which], s.cases);
            mete__put_number(json, "value", s.interval.point);
            mete__put_number(json, "low", s.interval.lo);
            mete__put_number(json, "high", s.interval.hi);
            mete_buffer_byte(json, '}');
        } else {
            mete_buffer plain = mete_buffer_make(0);
            mete__put_plain(&plain, mete_text_from(name), "");
            printf("%-28.*s %-26s %6zu  %6.4f [%6.4f, %6.4f]\n", (int)plain.length,
                   plain.data ? plain.data : "", figure_name[which], s.cases, s.interval.point,
                   s.interval.lo, s.interval.hi);
            mete_buffer_free(&plain);
        }
        first = false;
    }
    if (json)
        mete_buffer_byte(json, '}');
}

/* ---- suites ---------------------------------------------------------------------------------- */

static void
put_figure(mete_buffer *json, const char *key, const char *name, const struct shown *s)
{
    if (!json) {
        printf("%-28s %-26s %6zu  %6.4f", key, name, s->cases, s->interval.point);
        if (isfinite(s->interval.lo))
            printf(" [%6.4f, %6.4f]", s->interval.lo, s->interval.hi);
        putchar('\n');
        return;
    }
    mete_json_put_text(json, mete_text_from(key));
    mete_buffer_format(json, ":{\"cases\":%zu", s->cases);
    mete__put_number(json, "value", s->interval.point);
    mete__put_number(json, "low", s->interval.lo);
    mete__put_number(json, "high", s->interval.hi);
    mete_buffer_byte(json, '}');
}

/* A section's weighted mean, with the normal interval of a stratified mean. */
static struct shown
measure_section(const struct mete__bench *b, size_t section, double *scratch)
{
    struct shown all = {0};
    double sum = 0, weights = 0, variance = 0, weight;
    for (size_t k = 0; k < b->subset.count; k++) {
        size_t of;
        if (!mete__bench_section(b->subset.item[k], &of, &weight) || of != section)
            continue;
        struct shown s = measure(b, k, PAIRS, scratch);
        if (!s.cases)
            continue;
        double share = s.interval.point;
        all.cases += s.cases;
        sum += weight * share;
        weights += weight;
        variance += weight * weight * share * (1 - share) / (double)s.cases;
    }
    double half = 1.96 * sqrt(variance) / weights;
    all.interval = (mete__interval){sum / weights - half, sum / weights, sum / weights + half};
    return all;
}

/* RewardBench's sections, those that have a subset in the files, and the mean of all four. */
static void
put_sections(const struct mete__bench *b, double *scratch, mete_buffer *json)
{
    struct shown mean = {.interval = {NAN, 0, NAN}};
    size_t shown = 0;
    for (size_t k = 0; k < METE__SECTIONS; k++) {
        struct shown s = measure_section(b, k, scratch);
        if (!s.cases)
            continue;
        if (json)
            mete_buffer_string(json, shown ? "," : ",\"sections\":{");
        put_figure(json, mete__bench_section_name[k], "section, weighted", &s);
        mean.cases += s.cases;
        mean.interval.point += s.interval.point / METE__SECTIONS;
        shown++;
    }
    if (shown == METE__SECTIONS) {
        if (json)
            mete_buffer_byte(json, ',');
        put_figure(json, "RewardBench", "mean of the sections", &mean);
    }
    if (json)
        mete_buffer_string(json, shown ? "}" : "");
}

/* RewardBench 2's Ties, and the mean over it and the other subsets. */
static void
put_ties(const struct mete__bench *b, double *scratch, mete_buffer *json)
{
    mete__tie *tie = calloc(b->items + 1, sizeof *tie);
    struct shown ties = {.interval = {NAN, NAN, NAN}}, mean = ties;
    double sum = 0, subsets = 1;
    for (size_t i = 0; tie && i < b->items; i++) {
        const mete__case *item = &b->item[i];
        if (!item->tie || !is_whole(b, item))
            continue;
        tie[ties.cases] = mete__bench_tie(b->score + item->first, item->chosen, item->rejected);
        tie[ties.cases].tied = item->tie == 2;
        tie[ties.cases++].prompt = item->prompt;
    }
    if (ties.cases) {
        ties.interval.point = sum = mete__bench_ties(tie, ties.cases);
        mean.cases = ties.cases;
        for (size_t k = 0; k < b->subset.count; k++) {
            struct shown s = measure(b, k, BEST, scratch);
            sum += s.cases ? s.interval.point : 0;
            subsets += s.cases > 0;
            mean.cases += s.cases;
        }
        mean.interval.point = sum / subsets;
        if (json)
            mete_buffer_string(json, ",\"reward_bench_2\":{");
        put_figure(json, "Ties", "score of ties", &ties);
        if (json)
            mete_buffer_byte(json, ',');
        put_figure(json, "RewardBench 2", "mean of the subsets", &mean);
        if (json)
            mete_buffer_byte(json, '}');
    }
    free(tie);
}

/* The figures of cases of order, in JSON as members. */
static bool
put_order(const struct mete__bench *b, mete_buffer *json)
{
    double *scratch = malloc((b->items + 1) * sizeof *scratch), auroc;
    mete__pair_figures f;
    if (!scratch) {
        mete__say("out of memory");
        return false;
    }
    if (json)
        mete_buffer_string(json, ",\"subsets\":{");
    else
        printf("%-28s %-26s %6s  value  [95%% interval]\n", "subset", "figure", "cases");
    for (size_t k = 0; k < b->subset.count && b->subset.count > 1; k++) {
        put_subset(b, k, scratch, json);
        if (json)
            mete_buffer_byte(json, ',');
    }
    put_subset(b, SIZE_MAX, scratch, json);
    if (json)
        mete_buffer_byte(json, '}');
    put_sections(b, scratch, json);
    put_ties(b, scratch, json);
    if (measure_pairs(b, &f, &auroc)) {
        const char *const name[] = {"ties", "auroc", "brier", "nll", "calibration_error"};
        const double value[] = {f.ties, auroc, f.brier, f.nll, f.ece};
        for (size_t k = 0; k < sizeof value / sizeof *value; k++)
            if (json)
                mete__put_number(json, name[k], value[k]);
            else
                printf("%-28s %-26s %6s  %6.4f\n", "all", name[k], "", value[k]);
    }
    free(scratch);
    return true;
}

static int
print(struct mete__bench *b)
{
    mete_buffer out = mete_buffer_make(0);
    mete_buffer *json = b->args->json ? &out : NULL;
    size_t failed = mete__bench_rubrics_failed(b);
    for (size_t i = 0; i < b->items; i++)
        failed += !is_whole(b, &b->item[i]);
    if (json)
        mete_buffer_format(json, "{\"cases\":%zu,\"left_out\":%zu,\"failed\":%zu",
                           b->items + b->examples + b->labelleds, b->left_out, failed);
    if ((b->items && !put_order(b, json)) || !mete__bench_rubrics_put(b, json)) {
        mete_buffer_free(&out);
        return METE__EXIT_FAILED;
    }
    if (json) {
        mete_buffer_string(json, "}\n");
        mete__put_out(json);
    } else if (b->left_out || failed) {
        printf("%zu records left out, %zu cases whose scores failed\n", b->left_out, failed);
    }
    return METE__EXIT_DONE;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Text and JSON columns that nodes read are taken from the record's fields of their names. */
static bool
open_columns(struct mete__bench *b)
{
    size_t nodes, most = 0;
    mete_node *const *node = mete__engine_nodes(b->engine, &nodes);
    for (size_t n = 0; n < nodes; n++)
        most += node[n]->fields;
    b->column = calloc(most + 1, sizeof *b->column);
    b->builder = mete__builder_new();
    if (!b->column || !b->builder)
        return false;
    mete__builder_shape(b->builder, &(mete__shape){.text = true});
    for (size_t n = 0; n < nodes; n++)
        for (size_t f = 0; f < node[n]->fields; f++) {
            const mete_field *field = &node[n]->field[f];
            bool known = field->level != METE_EPISODE ||
                         (field->element != METE_TEXT && field->element != METE_JSON);
            for (size_t k = 0; k < b->columns; k++)
                known |= strcmp(b->column[k].name, field->name) == 0;
            if (known)
                continue;
            b->column[b->columns] = (mete__bench_column){
                field->name,
                mete__builder_column(b->builder, field->name, METE_EPISODE, field->element,
                                     METE_EPISODE, METE_SEE_POLICY),
                field->element};
            if (field->element == METE_JSON && strcmp(field->name, "rubrics") == 0)
                b->rubrics = &b->column[b->columns];
            b->columns++;
        }
    return true;
}

static int
bench(mete__config *config, const mete__args *args)
{
    mete__errors errors = {0};
    struct mete__bench b = {.args = args};
    mete__value *run = mete__value_get(mete__config_root(config), "run");
    mete__engine_options options = {.log = mete__log_stderr, .seed = 1};
    options.threads = mete__threads(args, config, &errors);
    if (run && run->kind == METE__GROUP)
        options.seed = (uint64_t)mete__value_int(run, "seed", 1, 0, INT64_MAX, &errors);
    int code = METE__EXIT_INPUT;
    b.engine = mete__engine_open(config, &options, &errors);
    if (b.engine && !mete__engine_reward(b.engine))
        mete__errors_add(&errors, "%s: there is no reward = { ... } to measure", args->operand[0]);
    if (b.engine && !errors.count) {
        code = open_columns(&b) ? METE__EXIT_DONE : METE__EXIT_FAILED;
        for (size_t k = 1; k < args->operands && !code; k++)
            code = take_file(&b, args->operand[k]);
        if (!code && !b.items && !b.examples && !b.labelleds) {
            mete__say("no record of the files is a case; see mete bench --help");
            code = METE__EXIT_INPUT;
        }
        if (!code)
            code = print(&b);
    }
    mete__report(&errors);
    names_free(&b.subset);
    names_free(&b.tag);
    free(b.item);
    free(b.mark);
    free(b.labelled);
    free(b.score);
    free(b.column);
    if (b.builder)
        mete__builder_free(b.builder);
    if (b.engine)
        mete__engine_close(b.engine);
    return code;
}

int
mete__command_bench(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "set seed threads json quiet", 2, 1000, usage, &args, &code))
        return code;
    mete__config *config = mete__read_config(&args, args.operand[0]);
    code = config ? bench(config, &args) : METE__EXIT_INPUT;
    if (config)
        mete__config_free(config);
    mete__args_free(&args);
    return code;
}
