/* sensitivity.c - see sensitivity.h. A file is read once, a chunk at a time; of each chunk the
 * records are scored as they are, then once for each edit with the twins in their places, so that
 * pair and group columns, prompts and ids are the same for both. Records of a group are edited
 * together. What is kept grows by a number for each record and edit.
 */
#include "cli/sensitivity.h"
#include "cli/table.h"
#include "run/statistics.h"
#include "score/edits.h"
#include "score/scoring.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESAMPLES 1000
#define STEADY 0.1 /* standard deviations that do not matter */
#define LEAST 5    /* rows for a verdict */
#define NAMED 3    /* nodes named in the table */

/* Mean and spread of a node's scores as the records are (Welford 1962). */
struct moments {
    uint64_t n;
    double mean, squares;
};

/* What an edit did to a node. */
struct change {
    double sum; /* of differences, over `rows` with a score both times */
    uint64_t rows;
    double added; /* sum over the rows of the effect, no score counting as 0 as in a sum */
};

/* What an edit did. */
struct effect {
    double *d; /* [rows] twin's score less the record's */
    size_t rows, room;
    uint64_t failed;     /* twins without a score, of records with one */
    struct change *node; /* [nodes] */
};

struct study {
    const mete__args *args;
    mete__scoring scoring;
    mete__reader *reader;
    const mete__edit *edit;
    size_t edits, nodes; /* node 0 is the root */
    struct effect *effect;
    struct moments *moments; /* [nodes] */
    double *coefficient;     /* [nodes] in the sum that the root is; NaN: it is no part of one */
    double *base;            /* [nodes x METE__ROWS_MOST] scores as they are; NaN: none */
    mete_text *original;     /* [METE__ROWS_MOST] */
    bool *applies;           /* [METE__ROWS_MOST] */
    mete_buffer twin;
    uint64_t records, bad;
};

/* ---- scoring pairs --------------------------------------------------------------------------- */

static int
failed(const char *message)
{
    mete__say("%s", message);
    return METE__EXIT_FAILED;
}

static void
tell_bad(struct study *s, size_t slots)
{
    for (size_t i = 0; i < slots; i++)
        if (s->scoring.rows->bad[i] && s->bad++ < 10)
            mete__say("%s: record %" PRIu64 ": %s", mete__reader_name(s->reader),
                      s->records + i + 1, s->scoring.rows->bad[i]);
}

/* The next chunk of records: *slots of them, 0 at the end. */
static int
take_records(struct study *s, size_t *slots)
{
    mete__part *part = &s->scoring.part[0];
    if (!mete__scoring_begin(&s->scoring, METE__ROWS_MOST, s->records + 1))
        return failed("out of memory");
    for (*slots = 0; *slots < METE__ROWS_MOST; ++*slots) {
        const mete__record *record;
        mete_error err = {0};
        int got = mete__reader_next(s->reader, &record, &err);
        if (got == 0)
            break;
        if (got == METE_EDATA) {
            s->scoring.rows->id_json[*slots] = (mete_text){NULL, 0};
            mete__rows_bad(s->scoring.rows, *slots, part, err.message);
        } else if (got < 0) {
            mete__say("%s", err.message);
            return mete__exit_of(got);
        } else {
            mete__rows_take(s->scoring.rows, *slots, part, record, (mete_text){NULL, 0});
        }
    }
    s->scoring.rows->slots = *slots;
    return METE__EXIT_DONE;
}

static double
score_of(const struct study *s, size_t node, size_t row)
{
    const mete_scores *scores = mete__node_scores(s->scoring.sum.shown[node].node);
    return scores && scores->status[row] == METE_VALID ? scores->episode[row] : NAN;
}

static void
note(struct moments *m, double x)
{
    double step = x - m->mean;
    m->mean += step / (double)++m->n;
    m->squares += step * (x - m->mean);
}

static int
score_as_they_are(struct study *s, size_t slots)
{
    mete_error err = {0};
    if (mete__scoring_run(&s->scoring, slots, &err))
        return failed(err.message);
    for (size_t k = 0; k < s->nodes; k++)
        for (size_t i = 0; i < s->scoring.rows->batch.episodes; i++) {
            double x = s->base[k * METE__ROWS_MOST + i] = score_of(s, k, i);
            if (isfinite(x))
                note(&s->moments[k], x);
        }
    mete__engine_reset(s->scoring.engine);
    return METE__EXIT_DONE;
}

/* Puts the twins in the places of the responses. How many there are, or -1: out of memory. */
static int
put_twins(struct study *s, const mete__edit *edit)
{
    mete__rows *rows = s->scoring.rows;
    int count = 0;
    for (size_t i = 0; i < rows->batch.episodes; i++) {
        mete_buffer_clear(&s->twin);
        s->applies[i] = edit->make(s->original[i], &s->twin);
        if (s->twin.status)
            return -1;
        rows->response[i] = s->original[i];
        if (!s->applies[i])
            continue;
        mete_text twin = mete_buffer_view(&s->twin);
        rows->response[i].data =
            mete__arena_string(s->scoring.part[0].arena, twin.data, twin.length);
        rows->response[i].length = twin.length;
        if (!rows->response[i].data)
            return -1;
        count++;
    }
    return count;
}

static bool
add_difference(struct effect *e, double d)
{
    if (e->rows == e->room) {
        size_t room = e->room ? 2 * e->room : 1024;
        double *wider = realloc(e->d, room * sizeof *wider);
        if (!wider)
            return false;
        e->d = wider;
        e->room = room;
    }
    e->d[e->rows++] = d;
    return true;
}

static double
or_zero(double x)
{
    return isfinite(x) ? x : 0;
}

static bool
compare_row(struct study *s, struct effect *e, size_t row)
{
    double d = score_of(s, 0, row) - s->base[row];
    if (isfinite(s->base[row]) && !isfinite(d))
        e->failed++;
    if (!isfinite(d))
        return true;
    for (size_t k = 1; k < s->nodes; k++) {
        double was = s->base[k * METE__ROWS_MOST + row], is = score_of(s, k, row);
        e->node[k].added += or_zero(is) - or_zero(was);
        if (isfinite(is - was)) {
            e->node[k].sum += is - was;
            e->node[k].rows++;
        }
    }
    return add_difference(e, d);
}

static bool
compare(struct study *s, struct effect *e)
{
    bool good = true;
    for (size_t i = 0; good && i < s->scoring.rows->batch.episodes; i++)
        good = !s->applies[i] || compare_row(s, e, i);
    return good;
}

static int
score_twins(struct study *s, size_t which)
{
    mete_error err = {0};
    mete__arena *arena = s->scoring.part[0].arena;
    mete__arena_mark mark = mete__arena_marked(arena);
    int count = put_twins(s, &s->edit[which]), status = METE_OK;
    if (count > 0)
        status = mete__score(s->scoring.engine, mete__engine_reward(s->scoring.engine),
                             &s->scoring.rows->batch, &err);
    if (status)
        return failed(err.message);
    if (count < 0 || (count && !compare(s, &s->effect[which])))
        return failed("out of memory");
    mete__engine_reset(s->scoring.engine);
    mete__arena_release(arena, mark);
    return METE__EXIT_DONE;
}

static int
read_file(struct study *s)
{
    mete_error err = {0};
    s->reader = mete__reader_open(s->args->in, NULL, &err);
    if (!s->reader) {
        mete__say("%s", err.message);
        return METE__EXIT_INPUT;
    }
    for (;;) {
        size_t slots;
        int code = take_records(s, &slots);
        if (code || !slots)
            return code;
        tell_bad(s, slots);
        code = score_as_they_are(s, slots);
        size_t rows = s->scoring.rows->batch.episodes;
        memcpy(s->original, s->scoring.rows->response, rows * sizeof *s->original);
        for (size_t e = 0; !code && rows && e < s->edits; e++)
            code = score_twins(s, e);
        if (code)
            return code;
        s->records += slots;
    }
}

/* ---- what came out --------------------------------------------------------------------------- */

static double
deviation(const struct moments *m)
{
    return m->n > 1 ? sqrt(m->squares / (double)(m->n - 1)) : 0;
}

/* What differences of a node are divided by: its standard deviation over the file, if any. */
static double
unit(const struct moments *m)
{
    return deviation(m) > 0 ? deviation(m) : 1;
}

struct figures {
    mete__interval mean;        /* of the differences, with its 95% interval */
    double moved, rises, falls; /* mean size; shares of rows */
    const char *verdict;
};

/* Differences are divided by the unit on the way. false: out of memory. */
static bool
summarise(struct effect *e, double by, uint64_t key, struct figures *f)
{
    *f = (struct figures){.mean = {NAN, NAN, NAN}, .moved = NAN, .rises = NAN, .falls = NAN};
    f->verdict = e->rows ? "few rows" : "no rows";
    if (!e->rows)
        return true;
    f->moved = f->rises = f->falls = 0;
    for (size_t i = 0; i < e->rows; i++) {
        f->rises += (e->d[i] > 0) / (double)e->rows;
        f->falls += (e->d[i] < 0) / (double)e->rows;
        e->d[i] /= by;
        f->moved += fabs(e->d[i]) / (double)e->rows;
    }
    if (mete__bootstrap(e->d, &e->rows, 1, mete__estimate_mean, RESAMPLES, .95, key, &f->mean))
        return false;
    if (e->rows < LEAST)
        return true;
    f->verdict = f->moved <= STEADY ? "steady"
                 : f->mean.lo > 0   ? "leans up"
                 : f->mean.hi < 0   ? "leans down"
                                    : "varies";
    return true;
}

/* The node's share of the mean difference, of which the shares of a sum's parts are the whole. */
static double
share(const struct study *s, const struct effect *e, size_t k)
{
    return s->coefficient[k] * e->node[k].added / (double)e->rows / unit(&s->moments[0]);
}

/* The mean difference of a node in its own standard deviations; NaN where nothing is known. */
static double
own(const struct study *s, const struct effect *e, size_t k)
{
    const struct change *c = &e->node[k];
    return c->rows ? c->sum / (double)c->rows / unit(&s->moments[k]) : NAN;
}

static double
largest(const struct study *s, const struct effect *e, size_t k)
{
    double part = share(s, e, k);
    return fabs(isnan(part) ? own(s, e, k) : part);
}

/* The nodes that moved most, the largest first. */
static void
print_nodes(const struct study *s, const struct effect *e, int indent)
{
    double last = INFINITY;
    size_t last_k = 0;
    for (int shown = 0; shown < NAMED; shown++) {
        double best = 0;
        size_t at = 0;
        for (size_t k = 1; k < s->nodes; k++) {
            double size = largest(s, e, k);
            bool left = size < last || (size == last && k > last_k);
            if (left && size > best && size >= .005) {
                best = size;
                at = k;
            }
        }
        if (!at)
            return;
        double part = share(s, e, at);
        printf("%*s%s %+.2f%s", shown ? 2 : indent, shown ? ", " : "",
               s->scoring.sum.shown[at].name, isnan(part) ? own(s, e, at) : part,
               isnan(part) ? " of its own" : "");
        last = best;
        last_k = at;
    }
}

static void
print_row(const struct study *s, size_t which, const struct figures *f)
{
    const mete__edit *edit = &s->edit[which];
    const struct effect *e = &s->effect[which];
    char range[64];
    printf("%-10s  %-10s  %6zu  ", edit->kind, edit->name, e->rows);
    if (!e->rows) {
        printf("no rows: %s\n", e->failed ? "every twin failed" : edit->lack);
        return;
    }
    snprintf(range, sizeof range, "[%+.2f, %+.2f]", f->mean.lo, f->mean.hi);
    printf("%+6.2f %-16s  %5.2f  %4.0f%%  %s", f->mean.point, range, f->moved, 100 * f->rises,
           f->verdict);
    print_nodes(s, e, 12 - (int)strlen(f->verdict));
    if (e->failed)
        printf("  (%" PRIu64 " failed)", e->failed);
    putchar('\n');
}

static void
print_head(const struct study *s)
{
    const struct moments *m = &s->moments[0];
    double sd = deviation(m);
    printf("%" PRIu64 " records, %" PRIu64 " scored; reward %.4g, standard deviation %.4g%s\n",
           s->records, m->n, m->mean, sd, sd > 0 ? "" : ": differences are not divided by it");
    printf("%-10s  %-10s  %6s  %6s %-16s  %5s  %5s  %-10s  %s\n", "kind", "edit", "rows", "mean",
           "95%", "moved", "rises", "verdict", s->nodes > 1 ? "nodes" : "");
}

static void
put_row(const struct study *s, size_t which, const struct figures *f, mete_buffer *out)
{
    const mete__edit *edit = &s->edit[which];
    const struct effect *e = &s->effect[which];
    mete_buffer_format(out, "%s\n{\"kind\":\"%s\",\"edit\":\"%s\",\"what\":", which ? "," : "",
                       edit->kind, edit->name);
    mete_json_put_text(out, mete_text_from(edit->what));
    mete_buffer_format(out, ",\"rows\":%zu,\"failed\":%" PRIu64, e->rows, e->failed);
    mete__put_number(out, "mean", f->mean.point);
    mete__put_number(out, "lo", f->mean.lo);
    mete__put_number(out, "hi", f->mean.hi);
    mete__put_number(out, "moved", f->moved);
    mete__put_number(out, "rises", f->rises);
    mete__put_number(out, "falls", f->falls);
    mete_buffer_format(out, ",\"verdict\":\"%s\",\"nodes\":{", f->verdict);
    for (size_t k = 1; k < s->nodes; k++) {
        if (k > 1)
            mete_buffer_byte(out, ',');
        mete_buffer_append(out, s->scoring.sum.shown[k].key, s->scoring.sum.shown[k].key_length);
        mete_buffer_string(out, "{\"share\":");
        mete_json_put_number(out, e->rows ? share(s, e, k) : NAN);
        mete__put_number(out, "own", own(s, e, k));
        mete_buffer_byte(out, '}');
    }
    mete_buffer_string(out, "}}");
}

static int
print(struct study *s)
{
    const struct moments *m = &s->moments[0];
    mete_buffer out = {0};
    mete_buffer_format(&out, "{\"records\":%" PRIu64 ",\"scored\":%" PRIu64, s->records, m->n);
    mete__put_number(&out, "mean", m->mean);
    mete__put_number(&out, "sd", deviation(m));
    mete_buffer_string(&out, ",\"edits\":[");
    if (!s->args->json)
        print_head(s);
    for (size_t e = 0; e < s->edits; e++) {
        struct figures f;
        if (!summarise(&s->effect[e], unit(m), e, &f))
            out.status = METE_ENOMEM;
        if (s->args->json)
            put_row(s, e, &f, &out);
        else
            print_row(s, e, &f);
    }
    mete_buffer_string(&out, "]}\n");
    int code = out.status ? failed("out of memory") : METE__EXIT_DONE;
    if (s->args->json)
        mete__put_out(&out);
    mete_buffer_free(&out);
    return code;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Coefficients of what the root sums. An inner sum has none: its parts have. */
static void
weigh(struct study *s, const mete_node *node, double coefficient)
{
    if (node->plugin && (node->plugin->as.head.flags & METE_SUMS) && node->children) {
        for (size_t i = 0; i < node->children; i++)
            weigh(s, node->child[i], coefficient * node->weight[i]);
        return;
    }
    for (size_t k = 0; k < s->nodes; k++)
        if (s->scoring.sum.shown[k].node == node)
            s->coefficient[k] = coefficient;
}

static bool
make_room(struct study *s)
{
    bool good = true;
    s->nodes = s->scoring.sum.showns;
    s->effect = calloc(s->edits, sizeof *s->effect);
    s->moments = calloc(s->nodes, sizeof *s->moments);
    s->coefficient = malloc(s->nodes * sizeof *s->coefficient);
    s->base = malloc(s->nodes * METE__ROWS_MOST * sizeof *s->base);
    s->original = malloc(METE__ROWS_MOST * sizeof *s->original);
    s->applies = malloc(METE__ROWS_MOST * sizeof *s->applies);
    for (size_t e = 0; s->effect && e < s->edits; e++)
        good &= (s->effect[e].node = calloc(s->nodes, sizeof(struct change))) != NULL;
    if (!good || !s->effect || !s->moments || !s->coefficient || !s->base || !s->original ||
        !s->applies)
        return false;
    for (size_t k = 0; k < s->nodes; k++)
        s->coefficient[k] = NAN;
    weigh(s, s->scoring.sum.shown[0].node, 1);
    return true;
}

static void
free_study(struct study *s)
{
    for (size_t e = 0; s->effect && e < s->edits; e++) {
        free(s->effect[e].d);
        free(s->effect[e].node);
    }
    free(s->effect);
    free(s->moments);
    free(s->coefficient);
    free(s->base);
    free(s->original);
    free(s->applies);
    mete_buffer_free(&s->twin);
    if (s->reader)
        mete__reader_close(s->reader);
    mete__scoring_close(&s->scoring);
}

static int
study(struct study *s)
{
    int code = make_room(s) ? read_file(s) : failed("out of memory");
    if (code)
        return code;
    if (s->bad > 10)
        mete__say("%s: %" PRIu64 " records could not be read, of which 10 are told of",
                  mete__reader_name(s->reader), s->bad);
    if (s->moments[0].n)
        return print(s);
    mete__say("%s: no record could be scored (%" PRIu64 " records, %" PRIu64 " unread)",
              mete__reader_name(s->reader), s->records, s->bad);
    return METE__EXIT_INPUT;
}

int
mete__sensitivity(mete__config *config, const mete__args *args)
{
    mete__errors errors = {0};
    struct study s = {.args = args};
    mete__engine_options options = {.log = mete__log_stderr, .seed = 1};
    int code = METE__EXIT_INPUT;
    options.threads = mete__threads(args, config, &errors);
    s.edit = mete__edits(&s.edits);
    if (mete__scoring_open(&s.scoring, config, args->operand[0], &options, false, &errors))
        code = study(&s);
    mete__report(&errors);
    free_study(&s);
    return code;
}
