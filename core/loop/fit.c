/* fit.c - the stages `do = "fit"`, in which a node learns offline, and `do = "refine"`, in which a
 * rubric generator is shown what its criteria made of: from records of a file or from pairs of what
 * the policy samples. A refinement sees all of the file at once, or one batch of samples.
 *
 * A record is either a pair (a prompt with a preferred and another response: two rows and one
 * relation) or one labelled response; every other field of the file becomes a column of text of its
 * rows. So what is fitted has the form of what is scored. Records are shuffled by counter: an
 * epoch's order is a function of seed, stage and epoch, and a resumed fit goes on with the same
 * bits. What is held out is chosen once and never learnt from. */
#include "base/arena.h"
#include "engine/options.h"
#include "loop/inner.h"
#include <mete/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Records of a file, and what makes batches of them. */
struct source {
    const mete_table *table; /* NULL: there is none */
    mete__builder *builder;
    const mete_text *prompt, *first, *second, *chance; /* [table->rows]; the last two or NULL */
    int *column;                                       /* [table->fields] builder's handles */
};

struct mete__fit {
    mete_node *node;
    bool refines;
    mete__arena *memory;
    /* from a file, and pairs of another that are only measured */
    struct source data, test;
    size_t train, held, minibatch;
    /* from samples: the node whose score says which is preferred; NULL: its own tree's root */
    mete_node *label;
    uint32_t *pair_a, *pair_b;
    double *pair_p;
    size_t room;
};

void
mete__fit_free(struct mete__fit *fit)
{
    if (!fit)
        return;
    mete__builder_free(fit->data.builder);
    mete__builder_free(fit->test.builder);
    mete__arena_free(fit->memory);
    free(fit->pair_a);
    free(fit->pair_b);
    free(fit->pair_p);
    free(fit);
}

bool
mete__fit_reads(const struct mete__fit *fit)
{
    return fit && fit->data.table;
}

mete_node *
mete__fit_node(const struct mete__fit *fit)
{
    return fit->node;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void *
take(void *user, size_t bytes)
{
    return mete__arena_zero(((struct mete__fit *)user)->memory, bytes);
}

static mete_node *
find_node(mete__loop *loop, mete__value *group, const char *member, mete__errors *errors)
{
    const char *name = mete__value_string(group, member, NULL, errors);
    mete__value *value = mete__value_get(group, member);
    if (!name)
        return NULL;
    mete_node *node = mete__engine_find(loop->engine, *name == '@' ? name + 1 : name);
    if (!node)
        mete__errors_add(errors, "%s:%d: %s = \"%s\" names no node", value->file, value->line,
                         value->path, name);
    return node;
}

/* The column of the file that `member` names; an error when it is required and not there. */
static const mete_text *
find_field(const struct source *from, mete__value *group, const char *member, const char *def,
           bool required, mete__errors *errors)
{
    const char *name = mete__value_string(group, member, def, errors);
    const mete_text *text = mete_table_text(from->table, name);
    if (!text && (required || mete__value_get(group, member)))
        mete__errors_add(errors, "%s:%d: %s.%s: %s has no field '%s'", group->file, group->line,
                         group->path, member, from->table->file, name);
    return text;
}

static void
read_fields(struct mete__fit *fit, struct source *to, mete__value *group, mete__errors *errors)
{
    bool pairs = mete_table_text(to->table, "chosen") || mete__value_get(group, "chosen");
    to->prompt = find_field(to, group, "prompt", "prompt", false, errors);
    to->first = pairs ? find_field(to, group, "chosen", "chosen", true, errors)
                      : find_field(to, group, "response", "response", true, errors);
    to->second = pairs ? find_field(to, group, "rejected", "rejected", true, errors) : NULL;
    to->chance = pairs ? find_field(to, group, "chance", "chance", false, errors) : NULL;
    to->builder = mete__builder_new();
    to->column = take(fit, (to->table->fields + 1) * sizeof *to->column);
    if (!to->builder || !to->column) {
        mete__errors_add(errors, "out of memory");
        return;
    }
    mete__builder_shape(to->builder, &(mete__shape){.text = true});
    for (uint32_t k = 0; k < to->table->fields; k++) {
        const mete_text *value = to->table->value[k];
        bool own = value == to->prompt || value == to->first || value == to->second;
        to->column[k] = own ? -1
                            : mete__builder_column(to->builder, to->table->name[k], METE_EPISODE,
                                                   METE_TEXT, METE_EPISODE, METE_SEE_REWARD);
    }
}

/* The first record that lacks a response, or whose chance is none, is told before anything runs. */
static void
check_records(const struct source *from, mete__errors *errors)
{
    for (size_t k = 0; from->first && k < from->table->rows; k++) {
        unsigned long long line = (unsigned long long)from->table->line[k];
        double p = 1;
        bool lacks = !from->first[k].data || (from->second && !from->second[k].data);
        bool odd = from->chance && from->chance[k].data &&
                   (!mete_number_parse(from->chance[k], 0, &p) || p < 0 || p > 1);
        if (!lacks && !odd)
            continue;
        mete__errors_add(errors, "%s:%llu: %s", from->table->file, line,
                         lacks ? "a response is missing" : "a chance must be a number from 0 to 1");
        return;
    }
}

/* Whether all of it could be read. */
static bool
read_source(struct mete__fit *fit, struct source *to, mete__value *group, mete__value *data,
            mete__errors *errors)
{
    mete__binder binder = {.user = fit, .alloc = take};
    size_t before = errors->count;
    to->table = mete__table_read(data, &binder, errors);
    if (to->table && errors->count == before)
        read_fields(fit, to, group, errors);
    if (errors->count == before)
        check_records(to, errors);
    return errors->count == before;
}

static void
read_file(struct mete__fit *fit, mete__value *group, mete__value *data, mete__stage *stage,
          mete__errors *errors)
{
    mete__value *test = mete__value_get(group, "test");
    uint64_t epochs = (uint64_t)mete__value_int(group, "epochs", 1, 1, 1000000, errors);
    fit->minibatch = (size_t)mete__value_int(group, "minibatch", 32, 1, 1 << 24, errors);
    double validation =
        mete__value_real(group, "validation", fit->refines ? 0 : 0.1, 0, 0.9, errors);
    if (!read_source(fit, &fit->data, group, data, errors))
        return;
    if (test && read_source(fit, &fit->test, group, test, errors) && !fit->test.second)
        mete__errors_add(errors, "%s:%d: %s: %s has no pairs to test on", test->file, test->line,
                         test->path, fit->test.table->file);
    fit->held = (size_t)(validation * (double)fit->data.table->rows);
    fit->train = fit->data.table->rows - fit->held;
    if (fit->refines)
        fit->minibatch = fit->train ? fit->train : 1;
    stage->count = epochs * ((fit->train + fit->minibatch - 1) / fit->minibatch);
}

/* Can the node do what the stage asks of it? */
static void
check_node(const struct mete__fit *fit, mete__value *group, mete__errors *errors)
{
    const char *plugin = fit->node->plugin->as.head.name;
    if (fit->refines && !mete__can_refine(fit->node))
        mete__errors_add(errors, "%s:%d: %s: '%s' refines no criteria", group->file, group->line,
                         fit->node->path, plugin);
    else if (!fit->refines && !mete__can_fit(fit->node))
        mete__errors_add(errors, "%s:%d: %s: '%s' learns nothing from data", group->file,
                         group->line, fit->node->path, plugin);
}

struct mete__fit *
mete__fit_read(mete__loop *loop, mete__value *group, bool refines, mete__stage *stage,
               mete__errors *errors)
{
    struct mete__fit *fit = calloc(1, sizeof *fit);
    mete__value *data = mete__value_get(group, "data");
    size_t before = errors->count;
    if (!fit || !(fit->memory = mete__arena_new())) {
        mete__errors_add(errors, "out of memory");
        return fit;
    }
    fit->refines = refines;
    fit->node = find_node(loop, group, "node", errors);
    if (!fit->node && errors->count == before)
        mete__errors_add(errors, "%s:%d: %s: a %s says what learns: node = \"NAME\"", group->file,
                         group->line, group->path, refines ? "refinement" : "fit");
    else if (fit->node)
        check_node(fit, group, errors);
    if (data) {
        read_file(fit, group, data, stage, errors);
        mete__value_unknown(group,
                            refines
                                ? "do name node data prompt response chosen rejected chance"
                                : "do name node data test prompt response chosen rejected chance "
                                  "epochs minibatch validation",
                            errors);
        return fit;
    }
    fit->label = find_node(loop, group, "label", errors);
    if (!fit->label)
        fit->label = loop->reward;
    if (!fit->label || fit->label->kind != METE_KIND_REWARD)
        mete__errors_add(
            errors,
            "%s:%d: %s: a fit learns from data = { file = ...; }, or from samples that "
            "a reward labels",
            group->file, group->line, group->path);
    mete__pairing_read(group, &stage->objective, errors);
    if (refines && !mete__value_get(group, "pairing"))
        stage->objective.pairing = METE__PAIR_ALL;
    mete__value_unknown(group, "do name iterations node label pairing gap", errors);
    return fit;
}

/* ---- from a file ----------------------------------------------------------------------------- */

static int
add_row(const struct source *from, size_t record, size_t side, mete_text response)
{
    mete_text prompt = from->prompt ? from->prompt[record] : (mete_text){"", 0};
    mete__row row = {.id = 2 * (uint64_t)record + side,
                     .prompt_id = mete_hash(0, prompt.data, prompt.length),
                     .starts = true,
                     .terminated = true,
                     .joins = side > 0,
                     .prompt = prompt,
                     .response = response};
    int status = mete__builder_row(from->builder, &row);
    for (uint32_t k = 0; k < from->table->fields && !status; k++)
        if (from->column[k] >= 0)
            mete__builder_text(from->builder, from->column[k], from->table->value[k][record],
                               METE_TEXT);
    return status;
}

static int
add_record(const struct source *from, size_t record, mete_error *err)
{
    double p = 1;
    size_t row = mete__builder_rows(from->builder);
    if (from->chance && from->chance[record].data)
        mete_number_parse(from->chance[record], 0, &p); /* checked when read */
    int status = add_row(from, record, 0, from->first[record]);
    if (!status && from->second)
        status = add_row(from, record, 1, from->second[record]);
    if (!status && from->second)
        status = mete__builder_pair(from->builder, row, row + 1, p);
    return status ? mete_error_set(err, METE_ENOMEM, "out of memory for a minibatch") : METE_OK;
}

/* Records [from, from + count) of an order, a permutation of `of` records that begin at `base` of
 * the stage's own order. */
static const mete_batch *
make_batch(const mete__loop *loop, struct mete__fit *fit, size_t base, size_t of, size_t from,
           size_t count, uint64_t order, mete_error *err)
{
    const struct source *data = &fit->data;
    uint64_t split = mete_hash_mix(loop->seed, 0x66697473706c6974);
    mete__builder_reset(data->builder);
    for (size_t k = from; k < from + count; k++) {
        uint64_t at = base + (order ? mete_permute(order, k, of) : k);
        if (add_record(data, (size_t)mete_permute(split, at, data->table->rows), err))
            return NULL;
    }
    return mete__builder_batch(data->builder, err);
}

/* The share of the test's pairs that the node orders as they are labelled, in all and by `slice`,
 * where the file has that field. Pairs that it cannot score count as halves. */
static int
measure_test(mete__loop *loop, const struct mete__fit *fit, mete_error *err)
{
    const struct source *test = &fit->test;
    const mete_text *slice = mete_table_text(test->table, "slice");
    mete__builder_reset(test->builder);
    for (size_t k = 0; k < test->table->rows; k++)
        if (add_record(test, k, err))
            return err->code;
    const mete_batch *batch = mete__builder_batch(test->builder, err);
    int status = batch ? mete__score(loop->engine, fit->node, batch, err) : err->code;
    const mete_scores *scores = status ? NULL : mete__node_scores(fit->node);
    for (size_t k = 0; !status && k < batch->pairs; k++) {
        size_t a = batch->pair_a[k], b = batch->pair_b[k];
        bool scored = !scores->status[a] && !scores->status[b];
        double d = scored ? scores->episode[a] - scores->episode[b] : 0, p = batch->pair_p[k];
        double right = d > 0 ? p : d < 0 ? 1 - p : .5;
        mete__metrics_add(&loop->metrics, right, "test/accuracy");
        if (slice && slice[k].data)
            mete__metrics_add(&loop->metrics, right, "test/accuracy/%.*s",
                              (int)(slice[k].length < 64 ? slice[k].length : 64), slice[k].data);
    }
    mete__engine_reset(loop->engine);
    return status;
}

/* The reward that holds the node, or NULL. */
static const mete_node *
holder_of(const mete_node *node)
{
    const mete_node *at = node->parent;
    while (at && at->kind != METE_KIND_REWARD)
        at = at->parent;
    return at;
}

/* A new version: told in the journal and the metrics, the criteria kept in the run folder. */
static int
refine(mete__loop *loop, struct mete__fit *fit, const mete_batch *batch, mete_error *err)
{
    mete_buffer before = mete_buffer_make(0), after = mete_buffer_make(0);
    const mete_node *holder = fit->data.table ? NULL : holder_of(fit->node);
    mete__refined is;
    char label[METE__METRIC_NAME], text[2 * METE__METRIC_NAME];
    int status = mete__rubric_refine(fit->node, batch, holder ? mete__node_scores(holder) : NULL,
                                     &before, &after, &is, err);
    if (!status && loop->sinks.rubric && is.version == 1)
        status = loop->sinks.rubric(loop->sinks.user, fit->node->path, 0, mete_buffer_view(&before),
                                    err);
    if (!status && loop->sinks.rubric)
        status = loop->sinks.rubric(loop->sinks.user, fit->node->path, is.version,
                                    mete_buffer_view(&after), err);
    mete_buffer_free(&before);
    mete_buffer_free(&after);
    if (status)
        return status;
    mete__node_label(fit->node, label);
    mete__metrics_add(&loop->metrics, (double)is.version, "%s/version", label);
    mete__metrics_add(&loop->metrics, is.criteria, "%s/criteria", label);
    mete__metrics_add(&loop->metrics, (double)is.changed / (double)(is.prompts ? is.prompts : 1),
                      "%s/changed", label);
    snprintf(text, sizeof text, "%s: version %llu changes %zu of %zu prompts, %.3g criteria each",
             fit->node->path, (unsigned long long)is.version, is.changed, is.prompts, is.criteria);
    if (loop->sinks.event)
        loop->sinks.event(loop->sinks.user, "rubric", text);
    return METE_OK;
}

static int
fit_file(mete__loop *loop, const mete__stage *stage, bool *stop, mete_error *err)
{
    struct mete__fit *fit = stage->fit;
    uint64_t each = (fit->train + fit->minibatch - 1) / fit->minibatch;
    uint64_t step = loop->done - stage->first, epoch = step / each;
    size_t from = (size_t)(step % each) * fit->minibatch;
    size_t count = fit->train - from < fit->minibatch ? fit->train - from : fit->minibatch;
    uint64_t order = mete_hash_mix(mete_hash_mix(loop->seed, stage->first), epoch) | 1;
    const mete_batch *batch = make_batch(loop, fit, 0, fit->train, from, count, order, err);
    if (batch && fit->refines)
        return refine(loop, fit, batch, err);
    int status = batch ? mete__fit_batch(fit->node, batch, step, err) : err->code;
    mete__metrics_add(&loop->metrics, (double)epoch, "fit/epoch");
    if (status || step % each + 1 < each)
        return status;
    batch = make_batch(loop, fit, fit->train, fit->held, 0, fit->held, 0, err);
    status = batch ? mete__fit_end(fit->node, epoch, batch, stop, err) : err->code;
    return !status && fit->test.table ? measure_test(loop, fit, err) : status;
}

/* ---- from samples ---------------------------------------------------------------------------- */

static bool
room_for(struct mete__fit *fit, size_t pairs)
{
    if (pairs <= fit->room)
        return true;
    uint32_t *a = realloc(fit->pair_a, pairs * sizeof *a);
    fit->pair_a = a ? a : fit->pair_a;
    uint32_t *b = realloc(fit->pair_b, pairs * sizeof *b);
    fit->pair_b = b ? b : fit->pair_b;
    double *p = realloc(fit->pair_p, pairs * sizeof *p);
    fit->pair_p = p ? p : fit->pair_p;
    fit->room = a && b && p ? pairs : fit->room;
    return a && b && p;
}

static int
fit_samples(mete__loop *loop, const mete__stage *stage, mete_error *err)
{
    struct mete__fit *fit = stage->fit;
    mete_params params = mete__loop_params(loop);
    const mete_batch *batch = mete__rollout_batch(&loop->train, &params, 0, 1, NULL, NULL, err);
    int status = batch ? mete__score(loop->engine, loop->reward, batch, err) : err->code;
    if (status)
        return status;
    mete__metrics_nodes(&loop->metrics, loop->engine, loop->reward, batch, "");
    struct mete__work *w = mete__pairs_label(loop, fit->label, &stage->objective, batch, err);
    if (!w)
        return err->code;
    if (!room_for(fit, w->units + 1))
        return mete_error_set(err, METE_ENOMEM, "out of memory for pairs");
    for (size_t k = 0; k < w->units; k++) {
        fit->pair_a[k] = w->unit[2 * k];
        fit->pair_b[k] = w->unit[2 * k + 1];
        fit->pair_p[k] = (double)w->unit_p[k];
    }
    mete_batch with = *batch;
    with.pairs = w->units;
    with.pair_a = fit->pair_a;
    with.pair_b = fit->pair_b;
    with.pair_p = fit->pair_p;
    mete__metrics_add(&loop->metrics, (double)w->units, "count/pairs");
    status = fit->refines ? refine(loop, fit, &with, err)
                          : mete__fit_batch(fit->node, &with, loop->done - stage->first, err);
    mete__episodes_end(loop->engine, batch);
    return status;
}

int
mete__fit_once(mete__loop *loop, const mete__stage *stage, bool *stop, mete_error *err)
{
    *stop = false;
    return stage->fit->data.table ? fit_file(loop, stage, stop, err)
                                  : fit_samples(loop, stage, err);
}
