/* isolate.c - rewards in processes of their own.
 *
 * A worker (worker.h) is a fork of the run, so the instance stands in it as it stood, at the same
 * addresses. A call is laid down in memory both see (region.h): the batch, the children's scores,
 * room for its own. The run reads back numbers and bounded texts alone: its own pointers and counts
 * are the ones it kept.
 *
 * What a node learns, it learns in the run, after a process that is thrown away did the same and
 * came back; a worker forked before that is replaced. Live numbers and the iteration travel with
 * each call.
 */
#include "engine/isolate.h"
#include "engine/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Bytes behind each array of scores that must stay as they are. */
#define GUARD 64
#define GUARD_BYTE 0xa5

/* What stands at the beginning of the memory of a call. Written by the run; status, err and
 * notes_end by the worker. */
typedef struct call {
    const mete_batch *batch;
    mete__result *result; /* [engine->nodes]: the node's and its children's are filled */
    const double *live;   /* [lives] */
    uint64_t iteration;
    size_t noted; /* rows whose notes are kept */
    bool derived;
    int status;
    mete_error err;
    size_t notes, notes_end; /* offsets in the region */
} call;

enum { NOTE_REASON, NOTE_LOG, NOTE_FOUND };

/* Something said while scoring: why row `at` failed, a line for the journal of level `at`, or what
 * was found in row `at` and how far it holds. */
typedef struct note {
    uint32_t kind, length;
    uint64_t at;
    double value;
} note;

struct mete__isolate {
    mete__limits limits;
    pthread_mutex_t lock;
    mete__worker *idle;
    atomic_int_fast64_t lost;
    atomic_bool given_up;
};

/* ---- in the worker --------------------------------------------------------------------------- */

static void
note_put(uint32_t kind, uint64_t at, double value, const char *text, size_t length)
{
    note *to = mete__region_take(&mete__worker_self()->call, sizeof *to + length);
    if (!to)
        return;
    *to = (note){kind, (uint32_t)length, at, value};
    memcpy(to + 1, text, length);
}

static void
note_log(void *user, const char *path, int level, const char *text)
{
    (void)user;
    (void)path;
    note_put(NOTE_LOG, (uint64_t)level, 0, text, strlen(text));
}

/* Grades cross as findings, of the rows that become samples alone. */
static void
note_grades(const mete__graded *graded, const call *asked)
{
    for (size_t i = 0; graded && i < asked->noted && i < asked->batch->episodes; i++)
        for (size_t k = 0; k < graded[i].count; k++) {
            mete_text text = graded[i].item[k].text;
            note_put(NOTE_FOUND, i, graded[i].grade[k], text.data, text.length);
        }
}

static void
answer(mete__worker *self, mete_node *node)
{
    call *asked = (call *)(void *)self->call.base;
    mete__engine *engine = node->engine;
    mete__arena *arena = mete__scratch();
    mete__arena_mark mark = mete__arena_marked(arena), kept = mete__arena_marked(engine->arena);
    mete__chunk chunk = {.all = *asked->batch, .reward = *asked->batch};
    mete__frame frame = {.engine = engine,
                         .batch = asked->batch,
                         .arena = arena,
                         .result = asked->result,
                         .derived = asked->derived};
    engine->iteration = asked->iteration;
    engine->noted = asked->noted;
    engine->graded = asked->noted > 0;
    asked->result[node->private_->number].graded = NULL;
    for (size_t i = 0; i < node->private_->lives; i++)
        *node->private_->live[i].target = asked->live[i];
    self->call.used = asked->notes;
    self->call.full = false;
    asked->status = mete__score_here(&frame, node, &chunk, &asked->err);
    const mete__result *result = &asked->result[node->private_->number];
    char **reason = (char **)(uintptr_t)result->reason;
    for (size_t i = 0; reason && i < asked->batch->episodes; i++)
        if (reason[i])
            note_put(NOTE_REASON, i, 0, reason[i], strlen(reason[i]));
    for (const mete__note *found = result->note; found; found = found->next)
        note_put(NOTE_FOUND, found->row, found->value, found->text, strlen(found->text));
    note_grades(result->graded, asked);
    asked->notes_end = self->call.used;
    mete__arena_release(engine->arena, kept);
    mete__arena_release(arena, mark);
    fflush(stdout);
    fflush(stderr);
}

static void
work(mete__worker *self, void *user)
{
    mete_node *node = user;
    if (node->engine->options.log)
        node->engine->options.log = note_log;
    while (mete__worker_hear(self)) {
        mete__worker_watched(self, true);
        answer(self, node);
        mete__worker_watched(self, false);
        if (!mete__worker_say(self, METE__DONE))
            return;
    }
}

/* ---- processes ------------------------------------------------------------------------------- */

/* Grows whenever the node, or a node it holds, may have learnt. */
static uint64_t
learnt(const mete_node *node)
{
    const mete__engine *engine = node->engine;
    uint64_t sum = 0;
    for (size_t i = 0; i < engine->nodes; i++)
        for (const mete_node *up = engine->node[i]; up; up = up->parent)
            if (up == node) {
                sum += engine->node[i]->private_->learnt;
                break;
            }
    return sum;
}

/* A worker that knows all that was learnt so far. */
static mete__worker *
worker_take(mete__isolate *isolate, mete_node *node, mete_error *err)
{
    uint64_t now = learnt(node);
    for (;;) {
        pthread_mutex_lock(&isolate->lock);
        mete__worker *found = isolate->idle;
        if (found)
            isolate->idle = found->next;
        pthread_mutex_unlock(&isolate->lock);
        if (!found) {
            found = mete__worker_new(node, &isolate->limits, work, node, err);
            if (found)
                found->learnt = now;
            return found;
        }
        if (found->learnt == now)
            return found;
        mete__worker_end(found, NULL, 0);
    }
}

static void
worker_give(mete__isolate *isolate, mete__worker *done)
{
    pthread_mutex_lock(&isolate->lock);
    done->next = isolate->idle;
    isolate->idle = done;
    pthread_mutex_unlock(&isolate->lock);
}

/* ---- a call ---------------------------------------------------------------------------------- */

typedef struct loss {
    int status; /* mete_row_status */
    char why[600];
} loss;

/* An array the worker writes, with its guard. */
static void *
lay_out(mete__region *region, size_t bytes)
{
    char *array = mete__region_take(region, bytes + GUARD);
    if (!array)
        return NULL;
    memset(array, 0, bytes);
    memset(array + bytes, GUARD_BYTE, GUARD);
    return array;
}

static bool
intact(const void *array, size_t bytes)
{
    const unsigned char *guard = (const unsigned char *)array + bytes;
    for (size_t i = 0; array && i < GUARD; i++)
        if (guard[i] != GUARD_BYTE)
            return false;
    return true;
}

/* A child's scores of the chunk. */
static void
lay_child(mete__region *region, const mete_batch *view, const mete__chunk *chunk,
          const mete_node *child, const mete__result *from, mete__result *to)
{
    size_t rows = view->episodes;
    const mete_scores *scores = &from->scores;
    to->scores = *scores;
    to->scores.episode =
        mete__region_put(region, scores->episode + chunk->row, rows * sizeof(double));
    to->scores.status = mete__region_put(region, scores->status + chunk->row, rows);
    if (scores->step)
        to->scores.step =
            mete__region_put(region, scores->step + chunk->step, view->steps * sizeof(double));
    if (scores->spread)
        to->scores.spread =
            mete__region_put(region, scores->spread + chunk->row, rows * sizeof(double));
    to->signal = mete__region_take(region, (child->declareds + 1) * sizeof *to->signal);
    for (size_t i = 0; to->signal && i < child->declareds; i++) {
        mete_level level = child->declared[i].level;
        to->signal[i] = mete__region_put(region, from->signal[i] + mete__chunk_at(chunk, level),
                                         mete__batch_rows_at(view, level) * sizeof(double));
    }
    to->done = true;
}

/* Room for the node's own scores; `own` is the run's copy of where they are. */
static void
lay_own(mete__region *region, const mete_batch *view, const mete__chunk *chunk,
        const mete_node *node, const mete__result *from, mete__result *own)
{
    size_t rows = view->episodes, each = (size_t)node->plugin->as.head.episode_size;
    *own = (mete__result){.scores = from->scores};
    own->scores.host = NULL;
    own->scores.episode = lay_out(region, rows * sizeof(double));
    own->scores.status = lay_out(region, rows);
    if (from->scores.step)
        own->scores.step = lay_out(region, view->steps * sizeof(double));
    if (from->scores.spread)
        own->scores.spread = lay_out(region, rows * sizeof(double));
    own->signal = mete__region_take(region, (node->declareds + 1) * sizeof *own->signal);
    for (size_t i = 0; own->signal && i < node->declareds; i++)
        own->signal[i] =
            lay_out(region, mete__batch_rows_at(view, node->declared[i].level) * sizeof(double));
    own->state = from->state ? lay_out(region, rows * each) : NULL;
    if (own->state)
        memcpy(own->state, from->state + chunk->row * each, rows * each);
}

/* Lays the call down; false when it does not fit. `signal` [declareds] keeps where the node's
 * signals are, out of the worker's reach. */
static bool
lay_call(mete__worker *to, const mete__frame *frame, const mete_node *node, const mete_batch *view,
         const mete__chunk *chunk, mete__result *own, double **signal)
{
    mete__region *region = &to->call;
    const mete__node_private *private_ = node->private_;
    mete__region_rewind(region, 0);
    call *asked = mete__region_take(region, sizeof *asked);
    size_t nodes = frame->engine->nodes;
    mete__result *result = mete__region_take(region, nodes * sizeof *result);
    double *live = mete__region_take(region, (private_->lives + 1) * sizeof *live);
    const mete_batch *batch = mete__region_batch(region, view);
    if (!asked || !result || !live || !batch)
        return false;
    memset(result, 0, nodes * sizeof *result);
    for (size_t i = 0; i < private_->lives; i++)
        live[i] = *private_->live[i].target;
    for (size_t k = 0; k < node->children; k++) {
        size_t number = node->child[k]->private_->number;
        lay_child(region, view, chunk, node->child[k], &frame->result[number], &result[number]);
    }
    lay_own(region, view, chunk, node, &frame->result[private_->number], own);
    result[private_->number] = *own;
    for (size_t i = 0; own->signal && i < node->declareds; i++)
        signal[i] = own->signal[i];
    *asked =
        (call){.batch = batch,
               .result = result,
               .live = live,
               .iteration = frame->engine->iteration,
               .noted = frame->engine->noted > chunk->row ? frame->engine->noted - chunk->row : 0,
               .derived = frame->derived,
               .notes = region->used,
               .notes_end = region->used};
    return !region->full;
}

/* The name of what it wrote past, or NULL. */
static const char *
overrun(const mete_node *node, const mete_batch *view, const mete__result *own,
        double *const *signal)
{
    size_t rows = view->episodes;
    if (!intact(own->scores.episode, rows * sizeof(double)) || !intact(own->scores.status, rows) ||
        !intact(own->scores.step, view->steps * sizeof(double)) ||
        !intact(own->scores.spread, rows * sizeof(double)) ||
        !intact(own->state, rows * (size_t)node->plugin->as.head.episode_size))
        return "its scores";
    for (size_t i = 0; i < node->declareds; i++)
        if (!intact(signal[i], mete__batch_rows_at(view, node->declared[i].level) * sizeof(double)))
            return node->declared[i].name;
    return NULL;
}

static void
copy_out(mete__frame *frame, const mete_node *node, const mete_batch *view,
         const mete__chunk *chunk, const mete__result *own, double *const *signal)
{
    mete__result *to = &frame->result[node->private_->number];
    size_t rows = view->episodes, each = (size_t)node->plugin->as.head.episode_size;
    memcpy(to->scores.episode + chunk->row, own->scores.episode, rows * sizeof(double));
    memcpy(to->scores.status + chunk->row, own->scores.status, rows);
    if (own->scores.step)
        memcpy(to->scores.step + chunk->step, own->scores.step, view->steps * sizeof(double));
    if (own->scores.spread)
        memcpy(to->scores.spread + chunk->row, own->scores.spread, rows * sizeof(double));
    for (size_t i = 0; i < node->declareds; i++) {
        mete_level level = node->declared[i].level;
        memcpy(to->signal[i] + mete__chunk_at(chunk, level), signal[i],
               mete__batch_rows_at(view, level) * sizeof(double));
    }
    if (own->state)
        memcpy(to->state + chunk->row * each, own->state, rows * each);
}

/* Reasons, findings and log lines; `notes` is where they began. */
static void
read_notes(mete_ctx *cx, const mete__worker *from, size_t notes)
{
    const call *asked = (const call *)(const void *)from->call.base;
    size_t end = asked->notes_end < from->call.size ? asked->notes_end : notes;
    for (size_t at = (notes + 63) & ~(size_t)63; at + sizeof(note) <= end;) {
        note what;
        memcpy(&what, from->call.base + at, sizeof what);
        if (what.length > end - at - sizeof what)
            return;
        const char *text = from->call.base + at + sizeof what;
        if (what.kind == NOTE_LOG)
            mete_log(cx, what.at > 2 ? 2 : (int)what.at, "%.*s", (int)what.length, text);
        else if (what.at < cx->batch->episodes && what.kind == NOTE_FOUND) {
            mete_row_note(cx, what.at, (mete_text){text, what.length}, what.value);
        } else if (what.at < cx->batch->episodes) {
            const mete__result *result = &cx->frame->result[cx->node->private_->number];
            mete_row_fail(cx, what.at, result->scores.status[cx->chunk->row + what.at], "%.*s",
                          (int)what.length, text);
        }
        at = (at + sizeof what + what.length + 63) & ~(size_t)63;
    }
}

/* What the worker said went wrong, or 0. */
static int
said_wrong(const mete_error *there, int status, mete_error *err)
{
    mete_error said = *there;
    said.message[sizeof said.message - 1] = 0;
    return status ? mete_error_set(err, status, "%s", said.message) : METE_OK;
}

/* One call to a worker. METE_OK with lost->why set when the worker was lost. */
static int
ask(mete__isolate *isolate, mete_ctx *cx, loss *lost)
{
    mete_node *node = cx->node;
    double **signal = mete__arena_take(cx->arena, (node->declareds + 1) * sizeof *signal);
    mete__worker *to = signal ? worker_take(isolate, node, cx->err) : NULL;
    if (!to)
        return signal ? cx->err->code : mete_fail(cx, METE_ENOMEM, "out of memory");
    mete__result own;
    lost->why[0] = 0;
    if (!lay_call(to, cx->frame, node, cx->batch, cx->chunk, &own, signal)) {
        worker_give(isolate, to);
        return mete_fail(cx, METE_ENOMEM,
                         "%zu episodes do not fit the %zu MiB shared with its process",
                         cx->batch->episodes, to->call.size >> 20);
    }
    size_t notes = to->call.used;
    call *asked = (call *)(void *)to->call.base;
    mete__outcome how = mete__worker_wait(to, cx);
    const char *past = how == METE__WORKER_DONE ? overrun(node, cx->batch, &own, signal) : NULL;
    if (how != METE__WORKER_DONE || past) {
        lost->status = how == METE__WORKER_LATE ? METE_TIMED_OUT : METE_FAILED;
        mete__worker_lose(to, how, lost->why, sizeof lost->why);
        if (past)
            snprintf(lost->why, sizeof lost->why, "wrote past the end of %s", past);
        return METE_OK;
    }
    copy_out(cx->frame, node, cx->batch, cx->chunk, &own, signal);
    read_notes(cx, to, notes);
    mete__worker_relay(cx, to);
    int status = said_wrong(&asked->err, asked->status, cx->err);
    worker_give(isolate, to);
    return status;
}

/* ---- rows that lose the process -------------------------------------------------------------- */

/* Where to cut [0, episodes) so that what the plugin wants whole stays whole; 0: nowhere. */
static size_t
halfway(const mete_node *node, const mete_batch *batch)
{
    unsigned flags = node->plugin->as.head.flags;
    size_t middle = batch->episodes / 2;
    if (flags & METE_WHOLE_BATCH)
        return 0;
    if (flags & METE_WHOLE_SCENE && batch->scene)
        return batch->scene[batch->scenes / 2];
    if (flags & METE_WHOLE_GROUP)
        return batch->group[batch->groups / 2];
    return middle;
}

static void
mark(mete_ctx *cx, const loss *lost)
{
    for (size_t i = 0; i < cx->batch->episodes; i++)
        mete_row_fail(cx, i, lost->status, "%s", lost->why);
}

static void
count_loss(mete__isolate *isolate, mete_ctx *cx)
{
    if (atomic_fetch_add(&isolate->lost, 1) + 1 >= isolate->limits.losses &&
        !atomic_exchange(&isolate->given_up, true))
        mete_log(cx, 2, "%lld processes were lost: its rows fail from now on",
                 (long long)isolate->limits.losses);
}

static int score_part(mete__frame *frame, mete_node *node, const mete__chunk *chunk,
                      const mete_batch *view, mete_error *err);

/* Rows [from, to) of a view, on their own. */
static int
score_rows(mete__frame *frame, mete_node *node, const mete__chunk *chunk, const mete_batch *view,
           size_t from, size_t to, mete_error *err)
{
    mete_batch part;
    if (!mete__batch_range(view, from, to, mete__scratch(), &part))
        return mete_error_set(err, METE_ENOMEM, "%s: out of memory", node->path);
    mete__chunk begins = {.row = chunk->row + from,
                          .step = chunk->step + view->step_begin[from],
                          .turn = chunk->turn + (view->turn_begin ? view->turn_begin[from] : 0),
                          .group =
                              chunk->group + mete__offset_find(view->group, view->groups, from)};
    return score_part(frame, node, &begins, &part, err);
}

static int
score_part(mete__frame *frame, mete_node *node, const mete__chunk *chunk, const mete_batch *view,
           mete_error *err)
{
    mete__isolate *isolate = node->private_->isolate;
    mete_ctx cx = mete__ctx_make(node, METE__SCORING, err);
    cx.frame = frame;
    cx.chunk = chunk;
    cx.batch = view;
    loss lost = {METE_FAILED, "not asked: too many of its processes were lost before"};
    if (!atomic_load(&isolate->given_up)) {
        int status = ask(isolate, &cx, &lost);
        if (status || !lost.why[0])
            return status;
        count_loss(isolate, &cx);
        size_t middle = halfway(node, view);
        if (middle) {
            status = score_rows(frame, node, chunk, view, 0, middle, err);
            return status ? status
                          : score_rows(frame, node, chunk, view, middle, view->episodes, err);
        }
        mete_log(&cx, 2, "episode %llu: %s", (unsigned long long)view->id[0], lost.why);
    }
    mark(&cx, &lost);
    return METE_OK;
}

int
mete__isolate_score(mete__frame *frame, mete_node *node, const mete__chunk *chunk, mete_error *err)
{
    return score_part(frame, node, chunk, node->gold ? &chunk->all : &chunk->reward, err);
}

/* ---- what is done in the run, tried before --------------------------------------------------- */

typedef struct rehearsal {
    mete_node *node;
    mete__act act;
    void *user;
} rehearsal;

/* In the worker: leaves what it came to at the beginning of the shared memory. */
static void
rehearse(mete__worker *self, void *user)
{
    const rehearsal *what = user;
    call *asked = (call *)(void *)self->call.base;
    what->node->engine->options.log = NULL; /* the run will say it */
    if (!mete__worker_hear(self))
        return;
    mete__worker_watched(self, true);
    asked->status = what->act(what->user, &asked->err);
    mete__worker_say(self, METE__DONE);
}

int
mete__isolate_rehearse(mete_ctx *cx, const char *what, mete__act act, void *user, bool *survived)
{
    mete__isolate *isolate = cx->node->private_->isolate;
    rehearsal todo = {cx->node, act, user};
    *survived = true;
    mete__worker *stage = mete__worker_new(cx->node, &isolate->limits, rehearse, &todo, cx->err);
    if (!stage)
        return cx->err->code;
    mete__outcome how = mete__worker_wait(stage, cx);
    const call *asked = (const call *)(const void *)stage->call.base;
    if (how == METE__WORKER_DONE) {
        int status = said_wrong(&asked->err, asked->status, cx->err);
        mete__worker_end(stage, NULL, 0);
        return status;
    }
    loss lost;
    mete__worker_lose(stage, how, lost.why, sizeof lost.why);
    count_loss(isolate, cx);
    *survived = false;
    return mete_fail(cx, METE_EPLUGIN, "%s: %s", what, lost.why);
}

/* ---- settings -------------------------------------------------------------------------------- */

mete__isolate *
mete__isolate_new(const mete__limits *limits)
{
    mete__isolate *isolate = calloc(1, sizeof *isolate);
    if (!isolate)
        return NULL;
    isolate->limits = *limits;
    pthread_mutex_init(&isolate->lock, NULL);
    return isolate;
}

void
mete__isolate_free(mete__isolate *isolate)
{
    if (!isolate)
        return;
    while (isolate->idle) {
        mete__worker *gone = isolate->idle;
        isolate->idle = gone->next;
        mete__worker_end(gone, NULL, 0);
    }
    pthread_mutex_destroy(&isolate->lock);
    free(isolate);
}

const mete__limits *
mete__isolate_limits(const mete__isolate *isolate)
{
    return &isolate->limits;
}

bool
mete__isolate_given_up(const mete__isolate *isolate)
{
    return atomic_load(&isolate->given_up);
}
