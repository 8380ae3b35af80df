/* gym_metrics.c - NeMo-Gym's /aggregate_metrics: what a run's /verify answers come to, by task and
 * over all. Each number of an answer, bools and those of its response's usage included, is a
 * column; of a column there are mean, max, min, median and std (of n - 1), as "mean/reward". A
 * single answer has a std of 0, as there; statistics that do not exist are left out.
 */
#include "protocol/protocol.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TASK "_ng_task_index"
#define ROLLOUT "_ng_rollout_index"
#define MOST_COLUMNS 256

typedef struct answered {
    int64_t task, rollout;
    size_t first, count; /* of its numbers */
} answered;

typedef struct number {
    size_t column;
    double value;
} number;

/* All of it lies in the call's arena. */
typedef struct table {
    mete__arena *arena;
    answered *row;
    number *number;
    double *value; /* [rows] room for those of a column */
    size_t rows, numbers, room;
    mete_text column[MOST_COLUMNS];
    size_t columns;
} table;

/* ---- reading --------------------------------------------------------------------------------- */

static bool
is_number(const mete_json *value, double *out)
{
    mete_json_type kind = mete_json_kind(value);
    *out = kind == METE_JSON_BOOL ? mete_json_bool(value) : mete_json_number(value);
    return (kind == METE_JSON_BOOL || kind == METE_JSON_NUMBER) && isfinite(*out);
}

static int
no_memory(mete_error *err)
{
    return mete_error_set(err, METE_ENOMEM, "out of memory");
}

static int
find_column(table *t, mete_text name, size_t *found, mete_error *err)
{
    for (*found = 0; *found < t->columns; ++*found)
        if (mete_text_equal(t->column[*found], name))
            return METE_OK;
    if (t->columns == MOST_COLUMNS)
        return mete_error_set(err, METE_EDATA, "the answers have more than %d different numbers",
                              MOST_COLUMNS);
    const char *copy = mete__arena_string(t->arena, name.data, name.length);
    t->column[t->columns++] = (mete_text){copy, name.length};
    return copy ? METE_OK : no_memory(err);
}

static bool
numbers_grow(table *t)
{
    size_t room = t->room ? 2 * t->room : 256;
    number *wider = mete__arena_take(t->arena, room * sizeof *wider);
    if (!wider)
        return false;
    if (t->numbers)
        memcpy(wider, t->number, t->numbers * sizeof *wider);
    t->number = wider;
    t->room = room;
    return true;
}

/* Into the last row; a number it has already is replaced. */
static int
put_number(table *t, mete_text name, double value, mete_error *err)
{
    answered *row = &t->row[t->rows - 1];
    size_t column;
    int status = find_column(t, name, &column, err);
    for (size_t i = row->first; i < t->numbers && !status; i++)
        if (t->number[i].column == column) {
            t->number[i].value = value;
            return METE_OK;
        }
    if (!status && t->numbers == t->room && !numbers_grow(t))
        status = no_memory(err);
    if (status)
        return status;
    t->number[t->numbers++] = (number){column, value};
    row->count++;
    return METE_OK;
}

static int
put_members(table *t, const mete_json *object, mete_error *err)
{
    int status = METE_OK;
    double value;
    for (const mete_json *v = mete_json_first(object); v && !status; v = mete_json_next(v)) {
        mete_text name = mete_json_key(v);
        bool index = mete_text_is(name, TASK) || mete_text_is(name, ROLLOUT);
        if (!index && is_number(v, &value))
            status = put_number(t, name, value, err);
    }
    return status;
}

static bool
read_index(const mete_json *answer, const char *name, int64_t *out)
{
    const mete_json *value = mete_json_get(answer, name);
    double index = value ? mete_json_number(value) : 0;
    bool whole = fabs(index) <= 9007199254740992.0 && index == floor(index);
    *out = whole ? (int64_t)index : 0;
    return whole;
}

static int
read_answer(table *t, const mete_json *answer, mete_error *err)
{
    answered *row = &t->row[t->rows++];
    *row = (answered){.first = t->numbers};
    if (mete_json_kind(answer) != METE_JSON_OBJECT)
        return mete_error_set(err, METE_EDATA, "answer %zu is no object", t->rows);
    if (!read_index(answer, TASK, &row->task) || !read_index(answer, ROLLOUT, &row->rollout))
        return mete_error_set(err, METE_EDATA, "%s and %s of answer %zu must be whole numbers",
                              TASK, ROLLOUT, t->rows);
    int status = put_members(t, answer, err);
    const mete_json *response = mete_json_get(answer, "response");
    return status ? status : put_members(t, mete_json_get(response, "usage"), err);
}

static int
by_rollout(const void *a, const void *b)
{
    const answered *x = a, *y = b;
    if (x->task != y->task)
        return x->task < y->task ? -1 : 1;
    return x->rollout < y->rollout ? -1 : x->rollout > y->rollout;
}

/* The rows by task, and there by rollout. */
static int
read_table(table *t, const mete_json *list, mete_error *err)
{
    int status = METE_OK;
    size_t rows = mete_json_count(list) + 1;
    t->row = mete__arena_zero(t->arena, rows * sizeof *t->row);
    t->value = mete__arena_take(t->arena, rows * sizeof *t->value);
    if (!t->row || !t->value)
        return no_memory(err);
    for (const mete_json *v = mete_json_first(list); v && !status; v = mete_json_next(v))
        status = read_answer(t, v, err);
    if (status)
        return status;
    qsort(t->row, t->rows, sizeof *t->row, by_rollout);
    for (size_t i = 1; i < t->rows; i++)
        if (by_rollout(&t->row[i - 1], &t->row[i]) == 0)
            return mete_error_set(err, METE_EDATA, "rollout %lld of task %lld stands there twice",
                                  (long long)t->row[i].rollout, (long long)t->row[i].task);
    return METE_OK;
}

/* ---- statistics ------------------------------------------------------------------------------ */

enum { MEAN, MAX, MIN, MEDIAN, STD, STATISTICS };
static const char *const word[STATISTICS] = {"mean", "max", "min", "median", "std"};

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void
describe(double *x, size_t n, double out[STATISTICS])
{
    double sum = 0, squares = 0;
    qsort(x, n, sizeof *x, by_value);
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    out[MEAN] = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - out[MEAN]) * (x[i] - out[MEAN]);
    out[MAX] = x[n - 1];
    out[MIN] = x[0];
    out[MEDIAN] = (x[(n - 1) / 2] + x[n / 2]) / 2;
    out[STD] = n > 1 ? sqrt(squares / (double)(n - 1)) : NAN;
}

/* The values of a column in rows [from, to), into t->value; how many. */
static size_t
gather(const table *t, size_t column, size_t from, size_t to)
{
    size_t n = 0;
    for (size_t r = from; r < to; r++)
        for (size_t i = t->row[r].first; i < t->row[r].first + t->row[r].count; i++)
            if (t->number[i].column == column)
                t->value[n++] = t->number[i].value;
    return n;
}

/* Which columns rows [from, to) have. */
static void
columns_of(const table *t, size_t from, size_t to, bool *there)
{
    memset(there, 0, t->columns);
    for (size_t r = from; r < to; r++)
        for (size_t i = t->row[r].first; i < t->row[r].first + t->row[r].count; i++)
            there[t->number[i].column] = true;
}

static void
put_key(const char *statistic, mete_text column, mete_buffer *out)
{
    mete_buffer key = {0};
    mete_buffer_format(&key, "%s/%.*s", statistic, (int)column.length, column.data);
    mete_json_put_text(out, mete_buffer_view(&key));
    mete_buffer_byte(out, ':');
    mete_buffer_free(&key);
}

/* "mean/reward":..,.. of rows [from, to), each with a comma before it but the first. With `means`
 * the means alone. */
static void
put_statistics(const table *t, size_t from, size_t to, bool means, mete_buffer *out)
{
    bool there[MOST_COLUMNS], any = false;
    columns_of(t, from, to, there);
    for (size_t c = 0; c < t->columns; c++) {
        size_t n = there[c] ? gather(t, c, from, to) : 0;
        double value[STATISTICS];
        if (!n)
            continue;
        describe(t->value, n, value);
        if (to - from == 1)
            value[STD] = 0;
        for (int k = 0; k < (means ? MEAN + 1 : STATISTICS); k++) {
            if (!isfinite(value[k]))
                continue;
            mete_buffer_string(out, any ? "," : "");
            put_key(word[k], t->column[c], out);
            mete_json_put_number(out, value[k]);
            any = true;
        }
    }
}

/* A rollout as a line of its task: what it is, and its numbers. */
static void
put_rollout(const table *t, const answered *row, mete_buffer *out)
{
    mete_buffer_format(out, "{\"rollout_id\":\"%lld:%lld\",\"" TASK "\":%lld,\"" ROLLOUT "\":%lld",
                       (long long)row->task, (long long)row->rollout, (long long)row->task,
                       (long long)row->rollout);
    for (size_t i = row->first; i < row->first + row->count; i++) {
        mete_buffer_byte(out, ',');
        mete_json_put_text(out, t->column[t->number[i].column]);
        mete_buffer_byte(out, ':');
        mete_json_put_number(out, t->number[i].value);
    }
    mete_buffer_byte(out, '}');
}

static void
put_task(const table *t, size_t from, size_t to, mete_buffer *out)
{
    size_t rollouts = to - from;
    mete_buffer statistics = {0};
    put_statistics(t, from, to, false, &statistics);
    mete_buffer_format(out, "{\"" TASK "\":%lld", (long long)t->row[from].task);
    mete_buffer_string(out, statistics.length ? "," : "");
    mete_buffer_text(out, mete_buffer_view(&statistics));
    mete_buffer_free(&statistics);
    mete_buffer_format(out,
                       ",\"sample\":{\"agent_ref\":{\"name\":\"agent\"}},\"num_rollouts\":%zu,"
                       "\"expected_num_rollouts\":%zu,\"missing_num_rollouts\":0,"
                       "\"reward_profile_completion_pct\":100.0,\"rollout_infos\":[",
                       rollouts, rollouts);
    for (size_t r = from; r < to; r++) {
        if (r > from)
            mete_buffer_byte(out, ',');
        put_rollout(t, &t->row[r], out);
    }
    mete_buffer_string(out, "]}");
}

static void
put_table(const table *t, mete_buffer *out)
{
    mete_buffer_string(out, "{\"group_level_metrics\":[");
    for (size_t from = 0, to; from < t->rows; from = to) {
        for (to = from + 1; to < t->rows && t->row[to].task == t->row[from].task;)
            to++;
        mete_buffer_string(out, from ? "," : "");
        put_task(t, from, to, out);
    }
    mete_buffer_string(out, "],\"agent_metrics\":{");
    put_statistics(t, 0, t->rows, false, out);
    mete_buffer_string(out, "},\"key_metrics\":{");
    put_statistics(t, 0, t->rows, true, out);
    mete_buffer_string(out, "}}");
}

/* ---- the protocol ---------------------------------------------------------------------------- */

int
mete__gym_metrics_parse(mete__call *call, mete_error *err)
{
    const mete__field *answers = mete__body_get(call, "verify_responses");
    if (!answers || answers->type != METE_JSON_ARRAY)
        return mete_error_set(err, METE_EDATA, "\"verify_responses\" must be a list of objects");
    table *t = mete__arena_zero(call->arena, sizeof *t);
    mete_json *list = t ? mete_json_parse(answers->text, err) : NULL;
    if (!list)
        return t ? METE_EDATA : no_memory(err);
    t->arena = call->arena;
    call->kept = t;
    int status = read_table(t, list, err);
    mete_json_free(list);
    return status;
}

int
mete__gym_metrics_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                         mete_error *err)
{
    (void)scored, (void)err;
    put_table(call->kept, out);
    return out->status;
}
