/* keep.c - the loop's state into a checkpoint and back. */
#include "loop/inner.h"

#include <stdlib.h>
#include <string.h>

/* A run that only fits from files has no policy. */
static int
save_policy(const mete__loop *loop, mete__checkpoint *to, mete_error *err)
{
    size_t n = loop->parameters;
    char *layout = mete__policy_layout(loop->policy);
    int status = layout ? mete__checkpoint_note(to, "layout", layout, err)
                        : mete_error_set(err, METE_ENOMEM, "out of memory");
    free(layout);
    if (!status)
        status = mete__checkpoint_add(to, "policy/parameters", METE_F32, n, loop->parameter, err);
    if (!status)
        status = mete__checkpoint_add(to, "optimiser/m", METE_F32, n, loop->optimiser.m, err);
    if (!status)
        status = mete__checkpoint_add(to, "optimiser/v", METE_F32, n, loop->optimiser.v, err);
    for (size_t i = 0; i < loop->snapshots && !status; i++) {
        char name[300];
        snprintf(name, sizeof name, "snapshot/%s", loop->snapshot[i].name);
        if (!loop->snapshot[i].taken)
            continue;
        status = mete__checkpoint_add(to, name, METE_F32, n, loop->snapshot[i].vector, err);
        snprintf(name, sizeof name, "snapshot/%s/version", loop->snapshot[i].name);
        int64_t version = (int64_t)loop->snapshot[i].version;
        if (!status)
            status = mete__checkpoint_add(to, name, METE_I64, 1, &version, err);
    }
    return status ? status : mete__rollout_save(&loop->train, to, err);
}

int
mete__loop_save(const mete__loop *loop, mete__checkpoint *to, mete_error *err)
{
    int64_t counter[3] = {(int64_t)loop->done, (int64_t)loop->version, (int64_t)loop->optimiser.t};
    int status = mete__checkpoint_add(to, "loop/counters", METE_I64, 3, counter, err);
    if (!status && loop->policy)
        status = save_policy(loop, to, err);
    if (!status)
        status = mete__judged_save(&loop->before, "before", to, err);
    if (!status)
        status = mete__judged_save(&loop->after, "after", to, err);
    if (!status)
        status = mete__attribution_save(loop, to, err);
    if (!status)
        status = mete__criteria_save(loop, to, err);
    if (!status)
        status = mete__curriculum_save(loop, to, err);
    if (!status)
        status = mete__watch_save(loop, to, err);
    if (!status)
        status = mete__engine_save(loop->engine, to, err);
    return status;
}

static int
take(const mete__checkpoint *from, const char *name, size_t count, float *out, mete_error *err)
{
    size_t found = count;
    const float *data = mete__checkpoint_get(from, name, METE_F32, &found);
    if (!data && count)
        return mete_error_set(
            err, METE_EDATA,
            "the checkpoint's '%s' does not have the %zu numbers of this policy; was "
            "the config changed?",
            name, count);
    if (count)
        memcpy(out, data, count * sizeof *out);
    return METE_OK;
}

static int
load_policy(mete__loop *loop, const mete__checkpoint *from, mete_error *err)
{
    size_t n = loop->parameters;
    int status = take(from, "policy/parameters", n, loop->parameter, err);
    if (!status)
        status = take(from, "optimiser/m", n, loop->optimiser.m, err);
    if (!status)
        status = take(from, "optimiser/v", n, loop->optimiser.v, err);
    for (size_t i = 0; i < loop->snapshots && !status; i++) {
        mete__snapshot_spec *s = &loop->snapshot[i];
        char name[300];
        snprintf(name, sizeof name, "snapshot/%s", s->name);
        size_t count = n;
        s->taken = mete__checkpoint_get(from, name, METE_F32, &count) != NULL;
        if (!s->taken)
            continue;
        if (!s->vector && !(s->vector = calloc(n + 1, sizeof(float))))
            return mete_error_set(err, METE_ENOMEM, "out of memory");
        status = take(from, name, n, s->vector, err);
        snprintf(name, sizeof name, "snapshot/%s/version", s->name);
        count = 1;
        const int64_t *version = mete__checkpoint_get(from, name, METE_I64, &count);
        s->version = version ? (uint64_t)*version : loop->version;
    }
    return status;
}

int
mete__loop_load(mete__loop *loop, const mete__checkpoint *from, mete_error *err)
{
    size_t three = 3;
    const int64_t *counter = mete__checkpoint_get(from, "loop/counters", METE_I64, &three);
    if (!counter || counter[0] < 0 || (uint64_t)counter[0] > loop->total)
        return mete_error_set(err, METE_EDATA, "the checkpoint's counters do not fit this config");
    loop->done = (uint64_t)counter[0];
    loop->version = (uint64_t)counter[1];
    loop->optimiser.t = (uint64_t)counter[2];
    int status = loop->policy ? load_policy(loop, from, err) : METE_OK;
    if (!status)
        status = mete__judged_load(&loop->before, "before", from, err);
    if (!status)
        status = mete__judged_load(&loop->after, "after", from, err);
    if (!status)
        status = mete__attribution_load(loop, from, err);
    if (!status)
        status = mete__criteria_load(loop, from, err);
    if (!status)
        status = mete__curriculum_load(loop, from, err);
    if (!status)
        status = mete__watch_load(loop, from, err);
    if (!status)
        status = mete__engine_load(loop->engine, from, err);
    /* lanes may go on from what their environment saved */
    return status || !loop->policy ? status : mete__rollout_load(&loop->train, from, err);
}

int
mete__loop_adopt(mete__loop *loop, const mete__checkpoint *from, mete_error *err)
{
    if (!loop->policy)
        return METE_OK;
    const char *then = mete__checkpoint_noted(from, "layout");
    char *here = mete__policy_layout(loop->policy);
    int status = here ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
    if (!status && then)
        status = mete__layouts_agree(then, here, err);
    free(here);
    if (!status)
        status = take(from, "policy/parameters", loop->parameters, loop->parameter, err);
    return status ? status : mete__engine_adopt(loop->engine, loop->policy, from, err);
}
