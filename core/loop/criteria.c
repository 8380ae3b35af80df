/* criteria.c - what criteria tell: how often each is met, whether those who meet it are better in
 * the rest, and whether a judge agrees with itself.
 *
 * Of each rubric and criterion, over the rows since the statistics were last told:
 *   pass            the mean grade
 *   discrimination  Pearson's correlation of the grade with the rest of the row's score, which for
 *                   grades of 0 and 1 is the point-biserial: the corrected item-total correlation
 *                   of test theory. The rest of a row is
 *                     sum of points x grade / sum of positive points, of all others without parts;
 *                   a row in which a grade is not known, or nothing else has points, is left out
 *   agreement       the mean share of pairs of verdicts that are equal, where there are several
 * A fault (negative points) that is worth its points has a negative discrimination. */
#include "loop/inner.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* Kinds of numbers of an item; they are saved as they stand. */
enum { NODE, POINTS, ROWS, UNKNOWN, GRADES, PAIRED, G, R, GG, RR, GR, AGREED, VOTED, NUMBERS };

typedef struct item {
    uint64_t hash; /* of the node and the criterion */
    char *text;
    double number[NUMBERS];
} item;

struct mete__criteria_stats {
    item *item;
    size_t count, room;
    size_t *slot; /* open addressing by hash: place + 1 */
    size_t slots;
};

/* ---- the table ------------------------------------------------------------------------------- */

static void
clear(struct mete__criteria_stats *stats)
{
    for (size_t i = 0; i < stats->count; i++)
        free(stats->item[i].text);
    stats->count = 0;
    if (stats->slot)
        memset(stats->slot, 0, stats->slots * sizeof *stats->slot);
}

void
mete__criteria_stats_free(struct mete__criteria_stats *stats)
{
    if (!stats)
        return;
    clear(stats);
    free(stats->item);
    free(stats->slot);
    free(stats);
}

static size_t
place_of(const struct mete__criteria_stats *stats, uint64_t hash)
{
    size_t at = (size_t)mete_hash_mix(hash, 3) & (stats->slots - 1);
    while (stats->slot[at] && stats->item[stats->slot[at] - 1].hash != hash)
        at = (at + 1) & (stats->slots - 1);
    return at;
}

static bool
grow(struct mete__criteria_stats *stats)
{
    size_t room = stats->room ? 2 * stats->room : 64;
    item *grown = realloc(stats->item, room * sizeof *grown);
    size_t *slot = calloc(4 * room, sizeof *slot);
    if (grown)
        stats->item = grown;
    if (!grown || !slot) {
        free(slot);
        return false;
    }
    free(stats->slot);
    stats->slot = slot;
    stats->slots = 4 * room;
    stats->room = room;
    for (size_t i = 0; i < stats->count; i++)
        stats->slot[place_of(stats, stats->item[i].hash)] = i + 1;
    return true;
}

/* The item of that hash, new with a copy of `text`; NULL: out of memory. */
static item *
item_of(struct mete__criteria_stats *stats, uint64_t hash, mete_text text)
{
    if (stats->count == stats->room && !grow(stats))
        return NULL;
    size_t at = place_of(stats, hash);
    if (stats->slot[at])
        return &stats->item[stats->slot[at] - 1];
    item *made = &stats->item[stats->count];
    *made = (item){.hash = hash, .text = strndup(text.data ? text.data : "", text.length)};
    if (!made->text)
        return NULL;
    stats->slot[at] = ++stats->count;
    return made;
}

/* ---- taking a batch -------------------------------------------------------------------------- */

/* What a row got for all its criteria together; NaN where a grade is not known. */
static double
earned_of(const mete__graded *row, double *possible)
{
    double earned = 0;
    *possible = 0;
    for (size_t k = 0; k < row->count; k++)
        if (row->item[k].kind != METE_CRITERION_PARTS) {
            earned += row->points[k] * row->grade[k];
            *possible += fmax(row->points[k], 0);
        }
    return earned;
}

static bool
take_row(struct mete__criteria_stats *stats, size_t node, const mete__graded *row)
{
    double possible, earned = earned_of(row, &possible);
    for (size_t k = 0; k < row->count; k++) {
        const mete_criterion *c = &row->item[k];
        double grade = row->grade[k], points = row->points[k], agreed = row->agreement[k];
        if (c->kind == METE_CRITERION_PARTS)
            continue;
        item *to = item_of(stats, mete_hash_mix(node, mete__criterion_identity(c)),
                           c->text.length ? c->text : c->check);
        if (!to)
            return false;
        double *n = to->number, others = possible - fmax(points, 0);
        n[NODE] = (double)node;
        n[POINTS] += points;
        n[ROWS]++;
        n[UNKNOWN] += isnan(grade);
        n[GRADES] += isnan(grade) ? 0 : grade;
        n[AGREED] += isnan(agreed) ? 0 : agreed;
        n[VOTED] += !isnan(agreed);
        if (isnan(earned) || others <= 1e-9 * possible)
            continue;
        double rest = (earned - points * grade) / others;
        n[PAIRED]++;
        n[G] += grade;
        n[R] += rest;
        n[GG] += grade * grade;
        n[RR] += rest * rest;
        n[GR] += grade * rest;
    }
    return true;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static double
pass_of(const item *at)
{
    return at->number[GRADES] / (at->number[ROWS] - at->number[UNKNOWN]); /* NaN: of nothing */
}

static double
discrimination_of(const item *at)
{
    const double *n = at->number;
    double g = n[GG] - n[G] * n[G] / n[PAIRED], r = n[RR] - n[R] * n[R] / n[PAIRED];
    double least = 1e-12 * n[PAIRED]; /* what rounding leaves of no variance */
    return g > least && r > least ? (n[GR] - n[G] * n[R] / n[PAIRED]) / sqrt(g * r) : NAN;
}

static double
agreement_of(const item *at)
{
    return at->number[AGREED] / at->number[VOTED];
}

static void
put_number(mete_buffer *out, const char *name, double value)
{
    mete_buffer_format(out, ",\"%s\":", name);
    mete_json_put_number(out, value);
}

static void
put_item(mete_buffer *out, const item *at)
{
    mete_buffer_string(out, "{\"criterion\":");
    mete_json_put_text(out, mete_text_from(at->text));
    put_number(out, "points", at->number[POINTS] / at->number[ROWS]);
    put_number(out, "rows", at->number[ROWS]);
    put_number(out, "unknown", at->number[UNKNOWN]);
    put_number(out, "pass", pass_of(at));
    put_number(out, "discrimination", discrimination_of(at));
    if (at->number[VOTED] > 0)
        put_number(out, "agreement", agreement_of(at));
    mete_buffer_byte(out, '}');
}

/* The most seen first, then by their texts. */
static int
by_rows(const void *a, const void *b)
{
    const item *x = *(const item *const *)a, *y = *(const item *const *)b;
    if (x->number[ROWS] != y->number[ROWS])
        return x->number[ROWS] < y->number[ROWS] ? 1 : -1;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->hash > y->hash) - (x->hash < y->hash);
}

/* The node's criteria sorted; count in *count. NULL: out of memory. */
static const item **
sorted(const struct mete__criteria_stats *stats, size_t node, size_t *count)
{
    const item **list = malloc((stats->count + 1) * sizeof *list);
    *count = 0;
    for (size_t i = 0; list && i < stats->count; i++)
        if (stats->item[i].number[NODE] == (double)node)
            list[(*count)++] = &stats->item[i];
    if (list)
        qsort(list, *count, sizeof *list, by_rows);
    return list;
}

/* Means over the node's criteria, and how many are always or never met, as metrics. */
static void
measure(mete__metrics *metrics, const char *name, const item *const *list, size_t count)
{
    double always = 0, never = 0;
    for (size_t i = 0; i < count; i++) {
        double pass = pass_of(list[i]), discrimination = discrimination_of(list[i]);
        always += pass == 1;
        never += pass == 0;
        if (!isnan(pass))
            mete__metrics_add(metrics, pass, "%s/criteria/pass", name);
        if (!isnan(discrimination))
            mete__metrics_add(metrics, discrimination, "%s/criteria/discrimination", name);
        if (!isnan(agreement_of(list[i])))
            mete__metrics_add(metrics, agreement_of(list[i]), "%s/criteria/agreement", name);
    }
    mete__metrics_add(metrics, (double)count, "%s/criteria", name);
    mete__metrics_add(metrics, always, "%s/criteria/always_met", name);
    mete__metrics_add(metrics, never, "%s/criteria/never_met", name);
}

static int
tell(mete__loop *loop, const mete_node *node, size_t number, mete_error *err)
{
    char name[METE__METRIC_NAME];
    size_t count, most;
    const item **list = sorted(loop->criteria, number, &count);
    int status = list ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory for criteria");
    if (status || !count) {
        free(list);
        return status;
    }
    mete__metrics_name(node, loop->reward, name);
    measure(&loop->metrics, name, list, count);
    most = count < METE__CRITERIA_TOLD ? count : METE__CRITERIA_TOLD;
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_format(&out, "{\"iteration\":%llu,\"node\":", (unsigned long long)loop->done);
    mete_json_put_text(&out, mete_text_from(name));
    put_number(&out, "count", (double)count);
    mete_buffer_string(&out, ",\"criteria\":[");
    for (size_t i = 0; i < most; i++) {
        mete_buffer_string(&out, i ? "," : "");
        put_item(&out, list[i]);
    }
    mete_buffer_string(&out, "]}");
    if (out.status)
        status = mete_error_set(err, METE_ENOMEM, "out of memory for criteria");
    else if (loop->sinks.criteria)
        status = loop->sinks.criteria(loop->sinks.user, out.data, out.length, err);
    mete_buffer_free(&out);
    free(list);
    return status;
}

/* ---- in the loop ----------------------------------------------------------------------------- */

int
mete__criteria_take(mete__loop *loop, const mete_batch *batch, mete_error *err)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t k = 0; k < nodes && loop->criteria_every; k++) {
        if (!mete__measured(node[k], loop->reward))
            continue;
        for (size_t i = 0; i < batch->episodes; i++) {
            const mete__graded *row = mete__node_graded(node[k], i);
            if (row && !loop->criteria)
                loop->criteria = calloc(1, sizeof *loop->criteria);
            if (row && (!loop->criteria || !take_row(loop->criteria, k, row)))
                return mete_error_set(err, METE_ENOMEM, "out of memory for criteria");
        }
    }
    return METE_OK;
}

int
mete__criteria_tell(mete__loop *loop, bool last, mete_error *err)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    struct mete__criteria_stats *stats = loop->criteria;
    int status = METE_OK;
    if (!stats || !stats->count || (!last && (loop->done + 1) % loop->criteria_every))
        return METE_OK;
    for (size_t k = 0; k < nodes && !status; k++)
        if (node[k]->kind == METE_KIND_REWARD)
            status = tell(loop, node[k], k, err);
    clear(stats);
    return status;
}

int
mete__criteria_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err)
{
    const struct mete__criteria_stats *stats = loop->criteria;
    mete_buffer texts = mete_buffer_make(0);
    size_t count = stats ? stats->count : 0;
    uint64_t *hash = calloc(count + 1, sizeof *hash);
    double *number = calloc(count * NUMBERS + 1, sizeof *number);
    for (size_t i = 0; hash && number && i < count; i++) {
        hash[i] = stats->item[i].hash;
        memcpy(number + i * NUMBERS, stats->item[i].number, sizeof stats->item[i].number);
        mete_buffer_append(&texts, stats->item[i].text, strlen(stats->item[i].text) + 1);
    }
    int status = !hash || !number || texts.status
                     ? mete_error_set(err, METE_ENOMEM, "out of memory for criteria")
                     : METE_OK;
    if (!status && count)
        status = mete__checkpoint_add(to, "criteria/hash", METE_I64, count, hash, err);
    if (!status && count)
        status =
            mete__checkpoint_add(to, "criteria/number", METE_F64, count * NUMBERS, number, err);
    if (!status && count)
        status = mete__checkpoint_add(to, "criteria/text", METE_U8, texts.length, texts.data, err);
    mete_buffer_free(&texts);
    free(hash);
    free(number);
    return status;
}

int
mete__criteria_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err)
{
    size_t count = SIZE_MAX, numbers, length = SIZE_MAX, at = 0;
    const int64_t *hash = mete__checkpoint_get(from, "criteria/hash", METE_I64, &count);
    numbers = hash ? count * NUMBERS : 0;
    const double *number = mete__checkpoint_get(from, "criteria/number", METE_F64, &numbers);
    const char *text = mete__checkpoint_get(from, "criteria/text", METE_U8, &length);
    mete__criteria_stats_free(loop->criteria);
    loop->criteria = calloc(1, sizeof *loop->criteria);
    if (!loop->criteria)
        return mete_error_set(err, METE_ENOMEM, "out of memory for criteria");
    if (!hash)
        return METE_OK;
    if (!number || !text || !length || text[length - 1])
        return mete_error_set(err, METE_EDATA,
                              "the checkpoint's statistics of criteria are damaged");
    for (size_t i = 0; i < count && at < length; i++) {
        item *to = item_of(loop->criteria, (uint64_t)hash[i], mete_text_from(text + at));
        if (!to)
            return mete_error_set(err, METE_ENOMEM, "out of memory for criteria");
        memcpy(to->number, number + i * NUMBERS, sizeof to->number);
        at += strlen(text + at) + 1;
    }
    return METE_OK;
}
