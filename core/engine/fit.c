/* fit.c - offline learning: one minibatch, and the end of an epoch, of a node of any kind. */
#include "engine/isolate.h"

typedef int (*fit_batch)(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
typedef int (*fit_end)(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                       int *stop);

static fit_batch
batch_of(const mete_node *node)
{
    switch (node->kind) {
    case METE_KIND_REWARD:
        return node->plugin->as.reward.fit_batch;
    case METE_KIND_RUBRIC:
        return node->plugin->as.rubric.fit_batch;
    case METE_KIND_POLICY:
        return node->plugin->as.policy.fit_batch;
    default:
        return node->plugin->as.environment.fit_batch;
    }
}

static fit_end
end_of(const mete_node *node)
{
    switch (node->kind) {
    case METE_KIND_REWARD:
        return node->plugin->as.reward.fit_end;
    case METE_KIND_RUBRIC:
        return node->plugin->as.rubric.fit_end;
    case METE_KIND_POLICY:
        return node->plugin->as.policy.fit_end;
    default:
        return node->plugin->as.environment.fit_end;
    }
}

bool
mete__can_fit(const mete_node *node)
{
    return batch_of(node) != NULL;
}

/* Learners see full feedback; what is gold nobody who learns sees. */
static const mete_batch *
learner_view(mete_ctx *cx, const mete_batch *batch)
{
    mete_batch *view = mete__arena_take(cx->arena, sizeof *view);
    if (view)
        mete__view_filter(batch, METE_SEE_LEARN, cx->arena, view);
    return view;
}

/* One call of either function. */
typedef struct lesson {
    mete_node *node;
    const mete_batch *batch;
    uint64_t when; /* the step, or the epoch */
    bool end;
    int stop;
} lesson;

static int
call_fit(void *user, mete_error *err)
{
    lesson *what = user;
    mete_node *node = what->node;
    mete_ctx cx = mete__ctx_make(node, METE__LEARNING, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    cx.batch = learner_view(&cx, what->batch);
    int status = !cx.batch   ? mete_fail(&cx, METE_ENOMEM, "out of memory")
                 : what->end ? end_of(node)(&cx, node->self, what->when, cx.batch, &what->stop)
                             : batch_of(node)(&cx, node->self, cx.batch, what->when);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(node, status, err);
}

static int
learn(lesson *what, mete_error *err)
{
    mete_node *node = what->node;
    mete_ctx cx = mete__ctx_make(node, METE__LEARNING, err);
    cx.batch = what->batch;
    bool survived;
    int status = node->private_->isolate
                     ? mete__isolate_rehearse(&cx, what->end ? "fit_end" : "fit_batch", call_fit,
                                              what, &survived)
                     : METE_OK;
    if (!status)
        status = call_fit(what, err);
    node->private_->learnt++;
    return status;
}

int
mete__fit_batch(mete_node *node, const mete_batch *batch, uint64_t step, mete_error *err)
{
    return learn(&(lesson){.node = node, .batch = batch, .when = step}, err);
}

int
mete__fit_end(mete_node *node, uint64_t epoch, const mete_batch *validation, bool *stop,
              mete_error *err)
{
    lesson what = {.node = node, .batch = validation, .when = epoch, .end = true};
    int status = end_of(node) ? learn(&what, err) : METE_OK;
    *stop = what.stop != 0;
    return status;
}
