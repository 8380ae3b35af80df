/* score.c - evaluates the reward tree on a batch.
 *
 * Children are scored before their parent, each node over the whole batch in chunks of rows that
 * respect groups and scenes. Chunks depend on the batch alone, never on the number of threads, and
 * each writes its own rows, so any number of threads gives the same bits. A node that must see more
 * than a group at once gets one chunk.
 */
#include "engine/context.h"
#include "engine/isolate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Rows in a chunk: enough that a call's cost vanishes, few enough to share out. */
#define CHUNK_ROWS 512

/* ---- frames and results ---------------------------------------------------------------------- */

mete__frame *
mete__frame_new(mete__engine *engine, const mete_batch *batch, mete__arena *arena, bool derived)
{
    mete__frame *frame = mete__arena_zero(arena, sizeof *frame);
    if (!frame)
        return NULL;
    *frame = (mete__frame){.engine = engine, .batch = batch, .arena = arena, .derived = derived};
    frame->result = mete__arena_zero(arena, engine->nodes * sizeof *frame->result);
    return frame->result ? frame : NULL;
}

size_t
mete__chunk_at(const mete__chunk *chunk, mete_level level)
{
    switch (level) {
    case METE_BATCH:
        return 0;
    case METE_GROUP:
        return chunk->group;
    case METE_TURN:
        return chunk->turn;
    case METE_STEP:
        return chunk->step;
    default:
        return chunk->row;
    }
}

static bool
result_make(mete__frame *frame, const mete_node *node, mete__result *result)
{
    const mete_batch *batch = frame->batch;
    mete__arena *arena = frame->arena;
    mete_scores *scores = &result->scores;
    scores->size = sizeof *scores;
    scores->episode = node->per_step ? mete__arena_zero(arena, batch->episodes * sizeof(double))
                                     : mete__arena_take(arena, batch->episodes * sizeof(double));
    scores->status = mete__arena_zero(arena, batch->episodes);
    if (node->per_step)
        scores->step = mete__arena_zero(arena, batch->steps * sizeof(double));
    if (node->spread)
        scores->spread = mete__arena_zero(arena, batch->episodes * sizeof(double));
    result->reason = NULL;
    result->note = result->last_note = NULL;
    result->graded = NULL;
    result->signal = mete__arena_take(arena, node->declareds * sizeof *result->signal);
    if (!scores->episode || !scores->status || !result->signal || (node->per_step && !scores->step))
        return false;
    for (size_t i = 0; i < node->declareds; i++) {
        size_t rows = mete__batch_rows_at(batch, node->declared[i].level);
        result->signal[i] = mete__arena_zero(arena, rows * sizeof(double));
        if (!result->signal[i])
            return false;
    }
    scores->steps_given = node->per_step;
    size_t each = (size_t)node->plugin->as.head.episode_size;
    if (!each)
        return true;
    result->state = mete__arena_take(arena, batch->episodes * each);
    return mete__states_load(node, batch, result->state);
}

/* The part of a result that a chunk sees. */
static mete_scores
shifted(const mete_scores *scores, const mete__chunk *chunk, mete__scores_host *host)
{
    mete_scores part = *scores;
    part.episode += chunk->row;
    part.status += chunk->row;
    if (part.step)
        part.step += chunk->step;
    if (part.spread)
        part.spread += chunk->row;
    part.host = host;
    return part;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* The end of the chunk that begins at `from`: at least CHUNK_ROWS on, at a group's and scene's end.
 * */
static size_t
chunk_end(const mete_batch *batch, size_t from, size_t *group, size_t *scene)
{
    size_t end = from + CHUNK_ROWS;
    if (end >= batch->episodes)
        return batch->episodes;
    for (;;) {
        size_t was = end;
        while (*group < batch->groups && batch->group[*group] < end)
            ++*group;
        if (batch->groups && batch->group[*group] > end)
            end = batch->group[*group];
        if (batch->scene) {
            while (*scene < batch->scenes && batch->scene[*scene] < end)
                ++*scene;
            if (batch->scene[*scene] > end)
                end = batch->scene[*scene];
        }
        if (end == was)
            return end;
    }
}

static bool
chunk_make(mete__frame *frame, size_t from, size_t to, mete__chunk *chunk)
{
    const mete_batch *batch = frame->batch;
    if (from == 0 && to == batch->episodes)
        chunk->all = *batch;
    else if (!mete__batch_range(batch, from, to, frame->arena, &chunk->all))
        return false;
    chunk->row = from;
    chunk->step = batch->step_begin && from < batch->episodes ? batch->step_begin[from] : 0;
    chunk->turn = batch->turn_begin && from < batch->episodes ? batch->turn_begin[from] : 0;
    chunk->group = mete__offset_find(batch->group, batch->groups, from);
    mete__view_filter(&chunk->all, METE_SEE_REWARD, frame->arena, &chunk->reward);
    return true;
}

/* chunk[0] is the whole batch; chunk[1..] the pieces, when there is more than one. */
static bool
chunks_make(mete__frame *frame)
{
    const mete_batch *batch = frame->batch;
    size_t most = batch->episodes / CHUNK_ROWS + 2;
    frame->chunk = mete__arena_zero(frame->arena, (most + 1) * sizeof *frame->chunk);
    if (!frame->chunk || !chunk_make(frame, 0, batch->episodes, &frame->chunk[0]))
        return false;
    size_t group = 0, scene = 0, from = 0;
    while (!frame->derived && batch->episodes > CHUNK_ROWS && from < batch->episodes) {
        size_t to = chunk_end(batch, from, &group, &scene);
        if (!chunk_make(frame, from, to, &frame->chunk[1 + frame->chunks++]))
            return false;
        from = to;
    }
    return true;
}

/* ---- one node on one chunk ------------------------------------------------------------------- */

typedef struct scoring {
    mete__frame *frame;
    mete_node *node;
    const mete__chunk *chunk; /* array of `chunks` */
    size_t chunks;
    mete_error *err; /* [chunks] */
    int *status;     /* [chunks] */
} scoring;

mete_ctx
mete__scoring_ctx(mete__frame *frame, mete_node *node, const mete__chunk *chunk, unsigned phase,
                  mete_error *err)
{
    mete_ctx cx = mete__ctx_make(node, phase, err);
    cx.frame = frame;
    cx.chunk = chunk;
    cx.batch = node->gold ? &chunk->all : &chunk->reward;
    return cx;
}

bool
mete__see_children(mete_ctx *cx)
{
    mete_node *node = cx->node;
    if (!node->children)
        return true;
    cx->child = mete__arena_take(cx->arena, node->children * sizeof *cx->child);
    mete__scores_host *host = mete__arena_take(cx->arena, node->children * sizeof *host);
    if (!cx->child || !host)
        return false;
    for (size_t k = 0; k < node->children; k++) {
        mete__result *result = &cx->frame->result[node->child[k]->private_->number];
        host[k] = (mete__scores_host){node->child[k], result, cx->chunk};
        cx->child[k] = shifted(&result->scores, cx->chunk, &host[k]);
    }
    return true;
}

#define EXPONENT UINT64_C(0x7ff0000000000000)
#define EXPONENT_ONE UINT64_C(0x0010000000000000)
#define SIGN UINT64_C(0x8000000000000000)

/* Is each a number? Bits, not sums: an OR has no order, so the loop vectorises; infinities and NaN
 * are the numbers whose exponent is all ones. */
METE_WIDE static bool
all_finite(const double *x, size_t n)
{
    uint64_t odd = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        odd |= (bits & EXPONENT) + EXPONENT_ONE;
    }
    return !(odd & SIGN);
}

/* Sums steps into episodes where the value is per step (a row without steps keeps what the plugin
 * gave it), and refuses numbers that are none. */
static int
settle(mete_ctx *cx, const mete_batch *batch, mete_scores *out)
{
    const double *step = out->step;
    if (step)
        for (size_t i = 0; i < batch->episodes; i++) {
            double sum = 0;
            for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
                sum += step[t];
            if (batch->step_begin[i] < batch->step_begin[i + 1])
                out->episode[i] = sum;
        }
    uint8_t marked = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        marked |= out->status[i];
    for (size_t i = 0; marked && i < batch->episodes; i++)
        if (out->status[i])
            out->episode[i] = 0;
    if (all_finite(out->episode, batch->episodes))
        return METE_OK;
    for (size_t i = 0; i < batch->episodes; i++)
        if (!isfinite(out->episode[i]))
            return mete_fail(
                cx, METE_EPLUGIN,
                "gave %g for episode %llu (row %zu); a value must be finite, or the row "
                "marked failed",
                out->episode[i], (unsigned long long)batch->id[i], cx->chunk->row + i);
    return METE_OK;
}

static uint64_t
nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void
mete__engine_timed(mete__engine *engine)
{
    engine->timed = true;
}

double
mete__node_seconds(const mete_node *node)
{
    return (double)atomic_load_explicit(&node->private_->spent, memory_order_relaxed) * 1e-9;
}

int
mete__score_here(mete__frame *frame, mete_node *node, const mete__chunk *chunk, mete_error *err)
{
    mete_ctx cx = mete__scoring_ctx(frame, node, chunk, METE__SCORING, err);
    mete__result *result = &frame->result[node->private_->number];
    mete__scores_host host = {node, result, chunk};
    mete_scores out = shifted(&result->scores, chunk, &host);
    if (!mete__see_children(&cx))
        return mete_fail(&cx, METE_ENOMEM, "out of memory");
    int status = node->plugin->as.reward.score(&cx, node->self, cx.batch, &out);
    if (status > 0)
        return mete_fail(&cx, METE_EPLUGIN, "score returned %d, which is no status", status);
    return status ? status : err->code; /* it failed in a service and did not pass that on */
}

static void
score_chunk(void *user, size_t i)
{
    scoring *job = user;
    mete__frame *frame = job->frame;
    mete_node *node = job->node;
    const mete__chunk *chunk = &job->chunk[i];
    mete_ctx cx = mete__scoring_ctx(frame, node, chunk, METE__SCORING, &job->err[i]);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    mete__result *result = &frame->result[node->private_->number];
    mete__scores_host host = {node, result, chunk};
    mete_scores out = shifted(&result->scores, chunk, &host);
    uint64_t begin = frame->engine->timed ? nanoseconds() : 0;
    int status = node->private_->isolate ? mete__isolate_score(frame, node, chunk, &job->err[i])
                                         : mete__score_here(frame, node, chunk, &job->err[i]);
    if (frame->engine->timed)
        atomic_fetch_add_explicit(&node->private_->spent, nanoseconds() - begin,
                                  memory_order_relaxed);
    if (!status)
        status = settle(&cx, cx.batch, &out);
    job->status[i] = mete__ctx_blame(node, status, &job->err[i]);
    if (mete__scratch() != frame->arena)
        mete__arena_release(cx.arena, mark);
}

/* What a failed row gets for its value: with "last" the value of the valid row before it in its
 * group, else the last of the batch accepted before; NaN where there is none. A group, and not what
 * else happens to be in the batch, so that a score depends on nobody else's rows. */
static double
stand_in(const mete_node *node, const mete_scores *scores, size_t row, size_t group_begin)
{
    if (node->private_->on_error == METE__ON_ERROR_VALUE)
        return node->private_->on_error_value;
    while (row-- > group_begin)
        if (scores->status[row] == METE_VALID)
            return scores->episode[row];
    return node->private_->last;
}

static void
replace(const mete_batch *batch, const mete_scores *scores, size_t row, double value)
{
    scores->status[row] = METE_VALID;
    scores->episode[row] = value;
    size_t from = scores->step ? batch->step_begin[row] : 0;
    size_t to = scores->step ? batch->step_begin[row + 1] : 0;
    for (size_t t = from; t < to; t++)
        scores->step[t] = t + 1 == to ? value : 0;
}

/* What `on_error` asks for rows that failed: "fail" ends the run at the first, "value" and "last"
 * give them a value; "skip" leaves them out, which is what their status does. */
static int
answer_failed(mete__frame *frame, const mete_node *node, mete_error *err)
{
    const mete__result *result = &frame->result[node->private_->number];
    const mete_batch *batch = frame->batch;
    const mete_scores *scores = &result->scores;
    for (size_t i = 0, group = 0; i < batch->episodes; i++) {
        while (group < batch->groups && batch->group[group + 1] <= i)
            group++;
        if (scores->status[i] < METE_FAILED)
            continue;
        if (node->private_->on_error == METE__ON_ERROR_FAIL)
            return mete_error_set(err, METE_EDATA, "%s: episode %llu: %s", node->path,
                                  (unsigned long long)batch->id[i],
                                  result->reason && result->reason[i] ? result->reason[i]
                                                                      : "failed");
        double value = stand_in(node, scores, i, group < batch->groups ? batch->group[group] : i);
        if (isfinite(value))
            replace(batch, scores, i, value);
    }
    return METE_OK;
}

static int
score_node(mete__frame *frame, mete_node *node, mete_error *err)
{
    mete__result *result = &frame->result[node->private_->number];
    unsigned flags = node->plugin->as.head.flags;
    if (result->done)
        return METE_OK;
    if (!(flags & METE_LAZY))
        for (size_t k = 0; k < node->children; k++) {
            int status = score_node(frame, node->child[k], err);
            if (status)
                return status;
        }
    if (!result_make(frame, node, result))
        return mete_error_set(err, METE_ENOMEM, "%s: out of memory for the scores of %zu episodes",
                              node->path, frame->batch->episodes);
    if (flags & METE_LAZY) /* rows never asked for: not applicable */
        for (size_t k = 0; k < node->children; k++) {
            mete__result *child = &frame->result[node->child[k]->private_->number];
            if (!result_make(frame, node->child[k], child))
                return mete_error_set(err, METE_ENOMEM, "%s: out of memory", node->path);
            memset(child->scores.status, METE_NOT_APPLICABLE, frame->batch->episodes);
            memset(child->scores.episode, 0, frame->batch->episodes * sizeof(double));
            child->done = true;
        }
    bool whole = !frame->chunks || (flags & METE_WHOLE_BATCH);
    size_t count = whole ? 1 : frame->chunks;
    mete_error single;
    int status = METE_OK;
    scoring job = {frame, node, whole ? frame->chunk : frame->chunk + 1, count, &single, &status};
    single.code = 0;
    single.message[0] = 0;
    if (frame->batch->episodes == 0) {
        result->done = true;
        return METE_OK;
    }
    if (count == 1) {
        score_chunk(&job, 0);
        if (status)
            *err = single;
    } else {
        job.err = calloc(count, sizeof *job.err);
        job.status = calloc(count, sizeof *job.status);
        if (!job.err || !job.status) {
            status = mete_error_set(err, METE_ENOMEM, "%s: out of memory", node->path);
        } else {
            mete__workers_run(frame->engine->workers, count, score_chunk, &job);
            for (size_t i = 0; i < count && !status; i++)
                if ((status = job.status[i]))
                    *err = job.err[i];
        }
        free(job.err);
        free(job.status);
    }
    result->done = true;
    if (!status && node->private_->on_error != METE__ON_ERROR_SKIP)
        status = answer_failed(frame, node, err);
    for (size_t k = 0; k < node->private_->golds && !status; k++)
        status = score_node(frame, node->private_->gold[k], err);
    return status;
}

int
mete__frame_score(mete__frame *frame, mete_node *node, mete_error *err)
{
    if (!frame->chunk && !chunks_make(frame))
        return mete_error_set(err, METE_ENOMEM, "%s: out of memory for views of %zu episodes",
                              node->path, frame->batch->episodes);
    return score_node(frame, node, err);
}

int
mete__score(mete__engine *engine, mete_node *root, const mete_batch *batch, mete_error *err)
{
    mete__frame *frame = engine->frame;
    if (!frame || frame->batch != batch)
        frame = mete__frame_new(engine, batch, engine->arena, false);
    if (!frame)
        return mete_error_set(err, METE_ENOMEM, "out of memory for a frame of scores");
    engine->frame = frame;
    return mete__frame_score(frame, root, err);
}

const mete_scores *
mete__node_scores(const mete_node *node)
{
    const mete__frame *frame = node->engine->frame;
    const mete__result *result = frame ? &frame->result[node->private_->number] : NULL;
    return result && result->done ? &result->scores : NULL;
}

const double *
mete__node_signal(const mete_node *node, size_t declared)
{
    const mete__frame *frame = node->engine->frame;
    const mete__result *result = frame ? &frame->result[node->private_->number] : NULL;
    return result && result->done && declared < node->declareds ? result->signal[declared] : NULL;
}

const char *
mete__node_reason(const mete_node *node, size_t row)
{
    const mete__frame *frame = node->engine->frame;
    const mete__result *result = frame ? &frame->result[node->private_->number] : NULL;
    const char *reason = result && result->reason ? result->reason[row] : NULL;
    return reason ? reason : "";
}

/* ---- services of a scoring call -------------------------------------------------------------- */

void
mete_row_fail(mete_ctx *cx, size_t row, int status, const char *format, ...)
{
    mete__frame *frame = cx->frame;
    if (!frame || row >= cx->batch->episodes)
        return;
    mete__result *result = &frame->result[cx->node->private_->number];
    size_t at = cx->chunk->row + row;
    result->scores.status[at] = (uint8_t)status;
    char message[500];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    /* Chunks run side by side, the frame's arena is shared: failing rows are rare. */
    pthread_mutex_lock(&frame->engine->lock);
    if (!result->reason)
        result->reason =
            mete__arena_zero(frame->arena, frame->batch->episodes * sizeof *result->reason);
    if (result->reason)
        result->reason[at] = mete__arena_string(frame->arena, message, strlen(message));
    pthread_mutex_unlock(&frame->engine->lock);
}

void
mete__engine_notes(mete__engine *engine, size_t rows)
{
    engine->noted = rows;
}

void
mete_row_note(mete_ctx *cx, size_t row, mete_text text, double value)
{
    mete__frame *frame = cx->frame;
    size_t at = frame ? cx->chunk->row + row : 0;
    if (!frame || row >= cx->batch->episodes || at >= frame->engine->noted)
        return;
    mete__result *result = &frame->result[cx->node->private_->number];
    pthread_mutex_lock(&frame->engine->lock);
    mete__note *note = mete__arena_zero(frame->arena, sizeof *note);
    if (note &&
        (note->text = mete__arena_string(frame->arena, text.data ? text.data : "", text.length))) {
        note->row = at;
        note->value = value;
        *(result->last_note ? &result->last_note->next : &result->note) = note;
        result->last_note = note;
    }
    pthread_mutex_unlock(&frame->engine->lock);
}

bool
mete__node_notes(const mete_node *node, size_t row, mete_buffer *out)
{
    const mete__frame *frame = node->engine->frame;
    const mete__note *note = frame ? frame->result[node->private_->number].note : NULL;
    bool any = false;
    for (; note; note = note->next) {
        if (note->row != row)
            continue;
        mete_buffer_string(out, any ? ",{\"text\":" : "[{\"text\":");
        mete_json_put_text(out, mete_text_from(note->text));
        mete_buffer_string(out, ",\"value\":");
        mete_json_put_number(out, note->value);
        mete_buffer_string(out, "}");
        any = true;
    }
    mete_buffer_string(out, any ? "]" : "");
    return any;
}

double *
mete_out(mete_scores *out, int handle)
{
    const mete__scores_host *host = out->host;
    if (handle < 0 || (size_t)handle >= host->node->declareds)
        return NULL;
    return host->result->signal[handle] +
           mete__chunk_at(host->chunk, host->node->declared[handle].level);
}

size_t
mete_child_count(const mete_ctx *cx)
{
    return cx->node->children;
}

const char *
mete_child_name(const mete_ctx *cx, size_t k)
{
    return cx->node->child[k]->name;
}

double
mete_child_weight(const mete_ctx *cx, size_t k)
{
    return cx->node->weight[k];
}

mete_node *
mete_child_node(const mete_ctx *cx, size_t k)
{
    return cx->node->child[k];
}

const mete_scores *
mete_child(const mete_ctx *cx, size_t k)
{
    return &cx->child[k];
}

int
mete_child_per_step(const mete_ctx *cx, size_t k)
{
    return cx->node->child[k]->per_step;
}

int
mete_child_signal_level(const mete_ctx *cx, size_t k, const char *name)
{
    const mete_node *child = cx->node->child[k];
    for (size_t i = 0; i < child->declareds; i++)
        if (strcmp(child->declared[i].name, name) == 0)
            return (int)child->declared[i].level;
    return -1;
}

const double *
mete_child_signal(const mete_ctx *cx, size_t k, const char *name)
{
    const mete_node *child = cx->node->child[k];
    for (int i = 0; (size_t)i < child->declareds; i++)
        if (strcmp(child->declared[i].name, name) == 0)
            return mete_out(&cx->child[k], i);
    return NULL;
}

const double *
mete_child_steps(mete_ctx *cx, const mete_batch *batch, size_t k)
{
    const mete_scores *child = &cx->child[k];
    if (child->step)
        return child->step;
    double *step = mete__arena_zero(cx->arena, batch->steps * sizeof *step);
    if (!step) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < batch->episodes; i++)
        if (batch->step_begin[i + 1] > batch->step_begin[i])
            step[batch->step_begin[i + 1] - 1] = child->episode[i];
    return step;
}

/* Copies what a nested frame found for `node` and below into the rows of the outer one. */
static void
scatter(const mete__frame *from, mete__frame *to, const mete__chunk *chunk, const mete_node *node,
        const uint32_t *row, size_t count)
{
    const mete__result *source = &from->result[node->private_->number];
    mete__result *target = &to->result[node->private_->number];
    if (!source->done)
        return;
    mete__grades_scatter(from, to, chunk, node, row, count);
    for (size_t i = 0; i < count; i++) {
        size_t at = chunk->row + row[i];
        target->scores.episode[at] = source->scores.episode[i];
        target->scores.status[at] = source->scores.status[i];
        size_t each = (size_t)node->plugin->as.head.episode_size;
        if (each)
            memcpy(target->state + at * each, source->state + i * each, each);
        if (target->scores.spread)
            target->scores.spread[at] = source->scores.spread[i];
        size_t first = from->batch->step_begin ? from->batch->step_begin[i] : 0;
        size_t steps = from->batch->step_begin ? from->batch->step_begin[i + 1] - first : 0;
        size_t into = to->batch->step_begin ? to->batch->step_begin[at] : 0;
        if (target->scores.step)
            memcpy(target->scores.step + into, source->scores.step + first, steps * sizeof(double));
        for (size_t k = 0; k < node->declareds; k++) {
            if (node->declared[k].level == METE_EPISODE)
                target->signal[k][at] = source->signal[k][i];
            else if (node->declared[k].level == METE_STEP)
                memcpy(target->signal[k] + into, source->signal[k] + first, steps * sizeof(double));
        }
    }
    for (size_t k = 0; k < node->children; k++)
        scatter(from, to, chunk, node->child[k], row, count);
}

/* Results for everything below a lazily scored child, so that scatter has where to write. */
static bool
results_below(mete__frame *frame, const mete_node *node)
{
    for (size_t k = 0; k < node->children; k++) {
        mete__result *result = &frame->result[node->child[k]->private_->number];
        if (!result->done) {
            if (!result_make(frame, node->child[k], result))
                return false;
            memset(result->scores.status, METE_NOT_APPLICABLE, frame->batch->episodes);
            memset(result->scores.episode, 0, frame->batch->episodes * sizeof(double));
            result->done = true;
        }
        if (!results_below(frame, node->child[k]))
            return false;
    }
    return true;
}

const mete_scores *
mete_child_rows(mete_ctx *cx, size_t k, const uint8_t *mask)
{
    mete_node *child = cx->node->child[k];
    const mete_batch *all = &cx->chunk->all;
    uint32_t *row = mete__arena_take(cx->arena, all->episodes * sizeof *row);
    size_t count = 0;
    for (size_t i = 0; row && i < all->episodes; i++)
        if (!mask || mask[i])
            row[count++] = (uint32_t)i;
    const mete_batch *part = row ? mete__batch_rows(all, row, count, true, cx->arena) : NULL;
    mete__frame *frame = part ? mete__frame_new(cx->engine, part, cx->arena, true) : NULL;
    if (frame)
        frame->derived = cx->frame->derived;
    if (!frame) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    if (count && mete__frame_score(frame, child, cx->err))
        return NULL;
    pthread_mutex_lock(&cx->engine->lock);
    bool ready = results_below(cx->frame, child);
    pthread_mutex_unlock(&cx->engine->lock);
    if (!ready) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    if (count)
        scatter(frame, cx->frame, cx->chunk, child, row, count);
    return &cx->child[k];
}

const mete_scores *
mete_evaluate(mete_ctx *cx, mete_node *node, const mete_batch *batch)
{
    if (!node || !node->plugin || node->kind != METE_KIND_REWARD) {
        mete_fail(cx, METE_EPLUGIN, "asked for the score of something that is no reward");
        return NULL;
    }
    mete__frame *frame = mete__frame_new(cx->engine, batch, cx->arena, true);
    if (!frame) {
        mete_fail(cx, METE_ENOMEM, "out of memory");
        return NULL;
    }
    if (mete__frame_score(frame, node, cx->err))
        return NULL;
    return &frame->result[node->private_->number].scores;
}

int
mete_compare(mete_ctx *cx, mete_node *node, const mete_batch *batch, const uint32_t *a,
             const uint32_t *b, size_t pairs, double *p)
{
    if (!node || !node->plugin || node->kind != METE_KIND_REWARD)
        return mete_fail(cx, METE_EPLUGIN, "asked something that is no reward to compare");
    for (size_t i = 0; i < pairs; i++)
        if (a[i] >= batch->episodes || b[i] >= batch->episodes)
            return mete_fail(cx, METE_EPLUGIN, "pair %zu names a row past the batch's %zu", i,
                             batch->episodes);
    if (node->plugin->as.reward.compare) {
        mete_ctx inner = mete__ctx_make(node, METE__SCORING, cx->err);
        inner.batch = batch;
        int status = node->plugin->as.reward.compare(&inner, node->self, batch, a, b, pairs, p);
        return mete__ctx_blame(node, status, cx->err);
    }
    const mete_scores *scores = mete_evaluate(cx, node, batch);
    if (!scores)
        return cx->err->code;
    for (size_t i = 0; i < pairs; i++)
        p[i] = scores->status[a[i]] || scores->status[b[i]]
                   ? NAN
                   : 1 / (1 + exp(scores->episode[b[i]] - scores->episode[a[i]]));
    return METE_OK;
}

bool
mete__compares(const mete_node *node)
{
    return node->plugin->as.reward.compare != NULL;
}

int
mete__compare(mete_node *node, const mete_batch *batch, const uint32_t *a, const uint32_t *b,
              size_t pairs, double *p, mete_error *err)
{
    mete_ctx cx = mete__ctx_make(node, METE__SCORING, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    cx.batch = batch;
    int status = mete_compare(&cx, node, batch, a, b, pairs, p);
    mete__arena_release(cx.arena, mark);
    return status;
}

/* ---- learning online ------------------------------------------------------------------------- */

typedef struct learning {
    mete__frame *frame;
    mete_node *node;
} learning;

static int
call_update(void *user, mete_error *err)
{
    const learning *what = user;
    mete_node *node = what->node;
    mete__result *result = &what->frame->result[node->private_->number];
    const mete__chunk *chunk = &what->frame->chunk[0];
    mete_ctx cx = mete__scoring_ctx(what->frame, node, chunk, METE__LEARNING, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    mete__scores_host host = {node, result, chunk};
    mete_scores own = shifted(&result->scores, chunk, &host);
    int status = mete__see_children(&cx)
                     ? node->plugin->as.reward.update(&cx, node->self, cx.batch, &own)
                     : mete_fail(&cx, METE_ENOMEM, "out of memory");
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(node, status, err);
}

/* Whether an isolated node may learn from this batch in the run: a process that did the same came
 * back. One that did not costs what would have been learnt from the batch, and `on_error = "fail"`
 * ends the run there. */
static int
rehearse_update(learning *what, bool *survived, mete_error *err)
{
    mete_node *node = what->node;
    mete_ctx cx = mete__scoring_ctx(what->frame, node, &what->frame->chunk[0], METE__LEARNING, err);
    *survived = !mete__isolate_given_up(node->private_->isolate);
    int status =
        *survived ? mete__isolate_rehearse(&cx, "update", call_update, what, survived) : METE_OK;
    if (*survived || node->private_->on_error == METE__ON_ERROR_FAIL)
        return status;
    if (status)
        mete_log(&cx, 2, "learnt nothing from this batch: %s", err->message);
    *err = (mete_error){0};
    return METE_OK;
}

static int
update_node(mete__frame *frame, mete_node *node, mete_error *err)
{
    int status = METE_OK;
    for (size_t k = 0; k < node->children && !status; k++)
        status = update_node(frame, node->child[k], err);
    for (size_t k = 0; k < node->private_->golds && !status; k++)
        status = update_node(frame, node->private_->gold[k], err);
    if (status || !node->plugin->as.reward.update || !frame->result[node->private_->number].done ||
        frame->engine->iteration % node->private_->update_every)
        return status;
    learning what = {frame, node};
    bool survived = true;
    if (node->private_->isolate)
        status = rehearse_update(&what, &survived, err);
    if (status || !survived)
        return status;
    status = call_update(&what, err);
    node->private_->learnt++;
    return status;
}

int
mete__update(mete__engine *engine, mete_node *root, const mete_batch *batch, mete_error *err)
{
    if (!engine->frame || engine->frame->batch != batch)
        return mete_error_set(err, METE_EPLUGIN, "%s: updated before it was scored", root->path);
    return batch->episodes ? update_node(engine->frame, root, err) : METE_OK;
}
