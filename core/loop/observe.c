/* observe.c - env.observe: what the policy observes, put together of what there is to see.
 *
 * The list names, in order, "observation" (the environment's own, or a part of it), numbers that
 * the environment tells (its columns and signals) and "@NODE:SIGNAL", numbers a step that a reward
 * tells. Signals and what rewards tell are of the step before, 0 where an episode starts. A reward
 * that is observed is scored while the lanes are stepped, by an instance of its own whose episode
 * states are those of the lanes, on fragments of one step that are the batch's steps to be; what it
 * learnt is the tree's. A list without "observation" adds to the whole of it.
 */
#include "loop/inner.h"
#include "run/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum source { OWN, NUMBER, SIGNAL, REWARD } source;

typedef struct part {
    source from;
    size_t at, width; /* OWN: first number; NUMBER, SIGNAL, REWARD: the declared one */
    mete_node *node;  /* REWARD: the instance that is scored */
    const mete_node *tree;
} part;

struct mete__observe {
    part *part;
    size_t parts, width;
    float *seen, *final; /* [lanes x width] */
    mete__builder *live; /* the step just done, where a reward is observed */
    mete_batch step[2];  /* in turns: a batch scored again is not scored anew */
    unsigned steps;
};

/* ---- reading --------------------------------------------------------------------------------- */

/* "observation", "observation[2]", "observation[0:3]" (without the last). */
static bool
read_own(const char *text, size_t width, part *out)
{
    size_t from = 0, to = width;
    int end = 0;
    if (strncmp(text, "observation", 11) != 0)
        return false;
    text += 11;
    if (*text && sscanf(text, "[%zu]%n", &from, &end) == 1 && end && !text[end])
        to = from + 1;
    else if (*text && (sscanf(text, "[%zu:%zu]%n", &from, &to, &end) != 2 || !end || text[end]))
        return false;
    *out = (part){.from = OWN, .at = from, .width = to - from};
    return from < to && to <= width;
}

static bool
read_number(const mete_node *environment, const char *text, part *out)
{
    for (size_t i = 0; i < environment->declareds; i++) {
        const mete__declared *declared = &environment->declared[i];
        bool number = declared->element != METE_TEXT && declared->element != METE_JSON;
        if (strcmp(declared->name, text) != 0 || !number || declared->visible != METE_SEE_POLICY)
            continue;
        *out = (part){.from = declared->signal ? SIGNAL : NUMBER, .at = i, .width = 1};
        return true;
    }
    return false;
}

/* Does what a node, or one below it, learnt stand in its tensors, so that it can be shared? */
static bool
shareable(const mete_node *node)
{
    bool good = !node->plugin->as.head.save;
    for (size_t k = 0; k < node->children && good; k++)
        good = shareable(node->child[k]);
    return good;
}

static int
read_reward(mete__rollout *r, const char *text, part *out, mete_error *err)
{
    char name[256], path[600];
    const char *signal = strchr(text, ':');
    snprintf(name, sizeof name, "%.*s", signal ? (int)(signal - text - 1) : 0, text + 1);
    mete_node *node = mete__engine_find(r->engine, name);
    size_t at = 0;
    if (!signal || !node || node->kind != METE_KIND_REWARD || node->gold)
        return mete_error_set(
            err, METE_EINVAL,
            "env.observe: '%s' names no reward of the tree (say \"@NODE:SIGNAL\")", text);
    while (at < node->declareds && strcmp(node->declared[at].name, signal + 1) != 0)
        at++;
    bool step = strcmp(signal, ":value") == 0
                    ? node->per_step
                    : at < node->declareds && node->declared[at].level == METE_STEP;
    if (!step)
        return mete_error_set(err, METE_EINVAL,
                              "env.observe: reward '%s' tells no '%s' at each step", name,
                              signal + 1);
    if (!shareable(node))
        return mete_error_set(err, METE_ENOTSUP,
                              "env.observe: reward '%s' keeps what it learnt in a form of its own, "
                              "so it cannot be observed",
                              name);
    snprintf(path, sizeof path, "%s.observe.%s", r->evaluation ? "evaluate" : "env", node->path);
    *out = (part){.from = REWARD, .at = at, .width = 1, .tree = node};
    out->node = mete__engine_find(r->engine, path); /* one instance for all its signals */
    if (!out->node)
        out->node = mete__engine_clone(r->engine, node, path, err);
    return out->node ? METE_OK : err->code;
}

static int
read_part(mete__rollout *r, const mete__value *item, mete_error *err)
{
    struct mete__observe *o = r->observe;
    part *out = &o->part[o->parts];
    const char *text = item->kind == METE__STRING ? item->string : "";
    if (*text == '@') {
        int status = read_reward(r, text, out, err);
        if (status)
            return status;
    } else if (!read_own(text, r->now->observation_size, out) &&
               !read_number(r->environment, text, out)) {
        return mete_error_set(
            err, METE_EINVAL,
            "%s:%d: %s: '%s' is nothing the policy may observe; allowed are \"observation\", "
            "\"observation[FROM:TO]\" within its %u numbers, a number that environment '%s' shows "
            "the policy, and \"@NODE:SIGNAL\"",
            item->file, item->line, item->path, text, r->now->observation_size,
            r->environment->plugin->as.head.name);
    }
    o->width += out->width;
    o->parts++;
    return METE_OK;
}

int
mete__observe_open(mete__rollout *r, mete_error *err)
{
    mete__value *list = mete__value_get(r->environment->at, "observe");
    r->width = r->now->observation_size;
    r->observation = r->now->observation;
    r->final_observation = r->moved->final_observation;
    if (!list)
        return METE_OK;
    if (list->kind != METE__LIST || !list->count || r->now->prompt || !r->width)
        return mete_error_set(err, METE_EINVAL,
                              "%s:%d: env.observe is a list of what a vector is made of, for an "
                              "environment that shows one",
                              list->file, list->line);
    struct mete__observe *o = r->observe = calloc(1, sizeof *o);
    if (!o || !(o->part = calloc(list->count + 1, sizeof *o->part)))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    bool own = false;
    for (const mete__value *item = list->first; item; item = item->next)
        own |= item->kind == METE__STRING && strncmp(item->string, "observation", 11) == 0;
    if (!own) {
        o->part[o->parts++] = (part){.from = OWN, .width = r->width};
        o->width = r->width;
    }
    int status = METE_OK;
    for (const mete__value *item = list->first; item && !status; item = item->next)
        status = read_part(r, item, err);
    if (status)
        return status;
    o->seen = calloc(r->lanes * o->width, sizeof *o->seen);
    o->final = calloc(r->lanes * o->width, sizeof *o->final);
    o->live = mete__builder_new();
    if (!o->seen || !o->final || !o->live)
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu lanes", r->lanes);
    r->width = (uint32_t)o->width;
    r->observation = o->seen;
    r->final_observation = o->final;
    return METE_OK;
}

void
mete__observe_free(mete__rollout *r)
{
    struct mete__observe *o = r->observe;
    if (!o)
        return;
    mete__builder_free(o->live);
    free(o->part);
    free(o->seen);
    free(o->final);
    free(o);
    r->observe = NULL;
}

mete_spaces
mete__observe_spaces(const mete__rollout *r)
{
    mete_spaces spaces = r->environment->spaces;
    if (r->observe)
        spaces.observation = (mete_space){METE_SPACE_BOX, 0, r->width, -INFINITY, INFINITY};
    return spaces;
}

mete__builder *
mete__observe_live(const mete__rollout *r)
{
    for (size_t i = 0; r->observe && i < r->observe->parts; i++)
        if (r->observe->part[i].from == REWARD)
            return r->observe->live;
    return NULL;
}

/* ---- putting together ------------------------------------------------------------------------ */

/* One lane's numbers, but for those that rewards tell: of the step before, 0 where it starts. */
static void
put_lane(const mete__rollout *r, size_t lane, const float *own, bool starts, float *out)
{
    const struct mete__observe *o = r->observe;
    for (size_t k = 0; k < o->parts; k++) {
        const part *p = &o->part[k];
        if (p->from == OWN)
            memcpy(out, own + p->at, p->width * sizeof *out);
        else if (p->from == NUMBER)
            *out = (float)mete__observations_number(r->now, p->at, lane);
        else if (starts)
            *out = 0;
        else if (p->from == SIGNAL)
            *out = mete_lane_signal(r->moved, (int)p->at)[lane];
        out += p->width;
    }
}

void
mete__observe_start(mete__rollout *r)
{
    struct mete__observe *o = r->observe;
    size_t width = r->now->observation_size;
    for (size_t i = 0; o && i < r->lanes; i++)
        put_lane(r, i, r->now->observation + i * width, true, o->seen + i * o->width);
    for (size_t k = 0; o && k < o->parts; k++)
        if (o->part[k].from == REWARD)
            mete__episodes_forget(o->part[k].node);
}

void
mete__observe_moved(mete__rollout *r)
{
    struct mete__observe *o = r->observe;
    size_t width = r->now->observation_size;
    for (size_t i = 0; o && i < r->lanes; i++) {
        bool over = r->moved->terminated[i] | r->moved->truncated[i];
        float *seen = o->seen + i * o->width, *final = o->final + i * o->width;
        if (over)
            put_lane(r, i, r->moved->final_observation + i * width, false, final);
        put_lane(r, i, r->now->observation + i * width, over, seen);
    }
}

/* What the tree's node and those below it learnt. */
static void
share(mete_node *to, const mete_node *from)
{
    for (size_t i = 0; i < to->tensors && i < from->tensors; i++)
        memcpy(to->tensor[i].data, from->tensor[i].data,
               from->tensor[i].count * mete__element_size(from->tensor[i].element));
    for (size_t k = 0; k < to->children; k++)
        share(to->child[k], from->child[k]);
}

void
mete__observe_share(mete__rollout *r)
{
    for (size_t k = 0; r->observe && k < r->observe->parts; k++)
        if (r->observe->part[k].from == REWARD)
            share(r->observe->part[k].node, r->observe->part[k].tree);
}

/* The numbers a scored node tells into column `at` of the lanes; those that ended see it last. */
static int
take_told(mete__rollout *r, const part *p, size_t at, mete_error *err)
{
    const struct mete__observe *o = r->observe;
    const mete_scores *scores = mete__node_scores(p->node);
    const double *told =
        p->at < p->node->declareds ? mete__node_signal(p->node, p->at) : scores->step;
    for (size_t i = 0; i < r->lanes; i++) {
        bool over = r->moved->terminated[i] | r->moved->truncated[i];
        if (scores->status[i] > METE_NOT_APPLICABLE)
            return mete_error_set(err, METE_EDATA,
                                  "env.observe: %s could not be scored on a step: %s",
                                  p->tree->path, mete__node_reason(p->node, i));
        float *to = (over ? o->final : o->seen) + i * o->width + at;
        *to = scores->status[i] ? 0 : (float)told[i];
    }
    return METE_OK;
}

/* Is part k the first of its reward? The node is scored there, for all its parts. */
static bool
first_of(const struct mete__observe *o, size_t k)
{
    bool first = o->part[k].from == REWARD;
    for (size_t i = 0; i < k; i++)
        first &= o->part[i].node != o->part[k].node;
    return first;
}

int
mete__observe_score(mete__rollout *r, mete_error *err)
{
    struct mete__observe *o = r->observe;
    const mete_batch *built = mete__builder_batch(o->live, err);
    mete_batch *batch = &o->step[o->steps++ % 2];
    int status = built ? METE_OK : err->code;
    if (built)
        *batch = *built;
    for (size_t k = 0; k < o->parts && !status; k++) {
        if (!first_of(o, k))
            continue;
        status = mete__score(r->engine, o->part[k].node, batch, err);
        for (size_t i = 0, at = 0; i < o->parts && !status; at += o->part[i++].width)
            if (o->part[i].node == o->part[k].node)
                status = take_told(r, &o->part[i], at, err);
        if (!status)
            mete__episodes_end(r->engine, batch);
    }
    return status;
}

/* ---- saving ---------------------------------------------------------------------------------- */

int
mete__observe_save(const mete__rollout *r, mete__checkpoint *to, mete_error *err)
{
    const struct mete__observe *o = r->observe;
    return o ? mete__checkpoint_add(to, "rollout/observe", METE_F32, r->lanes * o->width, o->seen,
                                    err)
             : METE_OK;
}

int
mete__observe_load(mete__rollout *r, const mete__checkpoint *from, mete_error *err)
{
    struct mete__observe *o = r->observe;
    size_t count = o ? r->lanes * o->width : 0;
    const float *seen = o ? mete__checkpoint_get(from, "rollout/observe", METE_F32, &count) : NULL;
    if (o && !seen)
        return mete_error_set(err, METE_EDATA,
                              "the checkpoint does not have what env.observe lists; was the config "
                              "changed?");
    if (o)
        memcpy(o->seen, seen, count * sizeof *seen);
    return METE_OK;
}
