/* talk.c - see talk.h.
 *
 * Requests go from the worker's memory to the shared, from there to the run's; replies the other
 * way. Both are moved by the same functions: `carry` takes memory on the other side, and where it
 * carries what a worker laid down, it believes no pointer and no length. */
#include "engine/talk.h"
#include "engine/worker.h"

#include <string.h>
#include <unistd.h>

typedef struct carrier {
    mete__region *to;         /* takes the copies; NULL: */
    mete__arena *arena;       /* ... this does */
    const mete__region *from; /* where not NULL: what is carried must lie here, */
    size_t left;              /* and be so many bytes at most in all */
    bool bad;                 /* it does not, or there is no memory */
} carrier;

static bool
lies_in(const mete__region *region, const void *at, size_t bytes)
{
    uintptr_t begin = (uintptr_t)region->base, from = (uintptr_t)at;
    return from >= begin && from - begin <= region->size && bytes <= region->size - (from - begin);
}

/* An array on the other side; NULL of NULL. */
static void *
carry(carrier *c, const void *from, size_t count, size_t each)
{
    size_t bytes;
    if (!from && !count)
        return NULL;
    if (c->bad || !from || __builtin_mul_overflow(count, each, &bytes) || bytes > c->left ||
        (c->from && !lies_in(c->from, from, bytes))) {
        c->bad = true;
        return NULL;
    }
    c->left -= bytes;
    void *to = c->to ? mete__region_take(c->to, bytes) : mete__arena_take(c->arena, bytes);
    if (!to)
        c->bad = true;
    else if (bytes)
        memcpy(to, from, bytes);
    return to;
}

static void
carry_text(carrier *c, mete_text *text)
{
    text->data = carry(c, text->data, text->length, 1);
}

static void
carry_texts(carrier *c, const mete_text **text, size_t count)
{
    mete_text *to = carry(c, *text, count, sizeof *to);
    for (size_t i = 0; i < count && !c->bad; i++)
        carry_text(c, &to[i]);
    *text = to;
}

static const mete_request *
carry_requests(carrier *c, const mete_request *from, size_t count)
{
    mete_request *to = carry(c, from, count, sizeof *to);
    for (size_t i = 0; i < count && !c->bad; i++) {
        mete_message *message = carry(c, to[i].message, to[i].messages, sizeof *message);
        for (uint32_t k = 0; k < to[i].messages && !c->bad; k++)
            carry_text(c, &message[k].text);
        to[i].size = sizeof *to;
        to[i].message = message;
        carry_texts(c, &to[i].stop, to[i].stops);
        carry_texts(c, &to[i].option, to[i].options);
        carry_text(c, &to[i].schema);
        carry_text(c, &to[i].given);
    }
    return to;
}

/* `options` of each are those of its request. */
static mete_reply *
carry_replies(carrier *c, const mete_reply *from, const mete_request *request, size_t count)
{
    mete_reply *to = carry(c, from, count, sizeof *to);
    for (size_t i = 0; i < count && !c->bad; i++) {
        size_t tokens = to[i].token ? to[i].tokens : 0;
        size_t others = to[i].alternative ? tokens * to[i].alternatives : 0;
        carry_text(c, &to[i].reason);
        carry_text(c, &to[i].text);
        to[i].token = carry(c, to[i].token, tokens, sizeof *to[i].token);
        mete_alternative *other = carry(c, to[i].alternative, others, sizeof *other);
        for (size_t k = 0; k < others && !c->bad; k++)
            carry_text(c, &other[k].text);
        to[i].alternative = other;
        to[i].chance =
            carry(c, to[i].chance, to[i].chance ? request[i].options : 0, sizeof *to[i].chance);
    }
    return to;
}

/* ---- in the worker --------------------------------------------------------------------------- */

/* A plugin's threads may ask side by side. */
static pthread_mutex_t talking = PTHREAD_MUTEX_INITIALIZER;

bool
mete__talk_far(void)
{
    return mete__worker_self() != NULL;
}

static mete__question *
question_begin(mete__worker *self, const mete_node *model, enum mete__asking what)
{
    pthread_mutex_lock(&talking);
    mete__region_rewind(&self->talk, 0);
    mete__question *q = mete__region_take(&self->talk, sizeof *q);
    *q = (mete__question){.what = what, .model = model->private_->number};
    return q;
}

/* Hands the question to the run and waits for its answer; without a run there is nothing left to
 * do. Nobody counts the time that takes. */
static void
question_ask(mete__worker *self)
{
    mete__worker_watched(self, false);
    if (!mete__worker_say(self, METE__ASKS) || !mete__worker_hear(self))
        _exit(0);
    mete__worker_watched(self, true);
}

/* Whether the question was answered; what the run said of it where not. */
static bool
question_end(mete_ctx *cx, const mete__question *q, const void *answered)
{
    if (!answered)
        mete_fail(cx, q->err.code ? q->err.code : METE_ENOMEM, "%s",
                  q->err.code ? q->err.message : "out of memory for a question to a model");
    pthread_mutex_unlock(&talking);
    return answered != NULL;
}

const mete_replies *
mete__talk_ask(mete_ctx *cx, mete_node *model, const mete_requests *requests,
               enum mete__asking what)
{
    mete__worker *self = mete__worker_self();
    mete_replies *replies = mete__arena_take(cx->arena, sizeof *replies);
    mete_reply *reply = NULL;
    mete__question *q = question_begin(self, model, what);
    carrier there = {.to = &self->talk, .left = SIZE_MAX};
    carrier back = {.arena = cx->arena, .left = SIZE_MAX};
    q->count = requests->count;
    q->request = carry_requests(&there, requests->item, requests->count);
    if (!there.bad && replies) {
        question_ask(self);
        reply = q->reply ? carry_replies(&back, q->reply, requests->item, requests->count) : NULL;
    }
    if (!question_end(cx, q, back.bad ? NULL : reply))
        return NULL;
    *replies = (mete_replies){sizeof *replies, sizeof *reply, requests->count, reply};
    return replies;
}

const float *
mete__talk_steps(mete_ctx *cx, mete_node *model, const mete_batch *batch)
{
    mete__worker *self = mete__worker_self();
    if (batch != cx->batch) {
        mete_fail(cx, METE_ENOTSUP,
                  "a process of its own can ask '%s' about the batch it scores, not about one made "
                  "from it; say isolate = \"none\"",
                  model->name);
        return NULL;
    }
    mete__question *q = question_begin(self, model, METE__STEPS);
    carrier back = {.arena = cx->arena, .left = SIZE_MAX};
    question_ask(self);
    const float *logp = q->logp ? carry(&back, q->logp, batch->steps, sizeof *logp) : NULL;
    return question_end(cx, q, logp) ? logp : NULL;
}

/* ---- in the run ------------------------------------------------------------------------------ */

/* Answers into the memory after `q`, which is the run's own copy. */
static bool
answer(mete_ctx *cx, mete_node *model, mete__region *talk, mete__question *q)
{
    carrier here = {.arena = cx->arena, .from = talk, .left = talk->size};
    carrier back = {.to = talk, .left = SIZE_MAX};
    mete__region_rewind(talk, sizeof *q);
    if (q->what == METE__STEPS) {
        const float *logp = mete_model_logp(cx, model, cx->batch);
        q->logp = logp ? carry(&back, logp, cx->batch->steps, sizeof *logp) : NULL;
        return true;
    }
    const mete_request *request = carry_requests(&here, q->request, q->count);
    if (here.bad)
        return false;
    const mete_replies *got = mete__ask(cx, model, request, q->count, q->what);
    const mete_reply *reply = got ? carry_replies(&back, got->item, request, q->count) : NULL;
    q->reply = back.bad ? NULL : reply;
    return true;
}

bool
mete__talk_answer(mete_ctx *cx, mete__worker *from)
{
    mete__region *talk = &from->talk;
    mete__engine *engine = cx->engine;
    mete__question q;
    memcpy(&q, talk->base, sizeof q);
    mete_node *model = q.model < engine->nodes ? engine->node[q.model] : NULL;
    if (!model || model->kind != METE_KIND_POLICY || q.what > METE__STEPS)
        return false;
    q.reply = NULL;
    q.logp = NULL;
    q.err = (mete_error){0};
    mete_ctx asker = *cx;
    asker.err = &q.err;
    mete__arena_mark mark = mete__arena_marked(cx->arena);
    bool fair = answer(&asker, model, talk, &q);
    mete__arena_release(cx->arena, mark);
    memcpy(talk->base, &q, sizeof q);
    return fair;
}
