/* timing.c - where an iteration's time and its models' requests went. What the clock or a cache
 * decides goes to timing.jsonl, for metrics.jsonl must be the same bytes after a resume; what
 * models were asked is the same in both and is a metric. */
#include "loop/inner.h"

#include <mete/text.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const lap_name[METE__LAPS] = {"rollout", "score",    "attribution", "learn",
                                                 "watch",   "evaluate", "rest"};

struct mete__timing {
    double start, last, lap[METE__LAPS];
    double *node;       /* [nodes] seconds up to the last iteration */
    mete__usage *usage; /* [nodes] likewise */
};

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void
mete__timing_free(struct mete__timing *timing)
{
    if (!timing)
        return;
    free(timing->node);
    free(timing->usage);
    free(timing);
}

void
mete__timing_begin(mete__loop *loop)
{
    struct mete__timing *t = loop->timing;
    size_t nodes;
    mete__engine_nodes(loop->engine, &nodes);
    if (!t) {
        t = calloc(1, sizeof *t);
        if (t) {
            t->node = calloc(nodes + 1, sizeof *t->node);
            t->usage = calloc(nodes + 1, sizeof *t->usage);
        }
        if (!t || !t->node || !t->usage) { /* nothing depends on it */
            mete__timing_free(t);
            return;
        }
        loop->timing = t;
        mete__engine_timed(loop->engine);
    }
    memset(t->lap, 0, sizeof t->lap);
    t->start = t->last = now();
}

void
mete__timing_lap(mete__loop *loop, enum mete__lap lap)
{
    struct mete__timing *t = loop->timing;
    if (!t)
        return;
    double at = now();
    t->lap[lap] += at - t->last;
    t->last = at;
}

/* What a model was asked since the last iteration; false: nothing. */
static bool
usage_since(const mete__usage *all, const mete__usage *before, mete__usage *out)
{
    *out = (mete__usage){.requests = all->requests - before->requests,
                         .failed = all->failed - before->failed,
                         .cached = all->cached - before->cached,
                         .prompt_tokens = all->prompt_tokens - before->prompt_tokens,
                         .answer_tokens = all->answer_tokens - before->answer_tokens,
                         .cost = all->cost - before->cost,
                         .seconds = all->seconds - before->seconds};
    return out->requests > 0;
}

void
mete__timing_usage(mete__loop *loop)
{
    const struct mete__timing *t = loop->timing;
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    for (size_t i = 0; t && i < nodes; i++) {
        mete__usage all = mete__node_usage(node[i]), used;
        char name[METE__METRIC_NAME];
        if (!usage_since(&all, &t->usage[i], &used))
            continue;
        mete__node_label(node[i], name);
        mete__metrics_add(&loop->metrics, (double)used.requests, "%s/requests", name);
        mete__metrics_add(&loop->metrics, (double)used.failed, "%s/failed", name);
        mete__metrics_add(&loop->metrics, (double)used.prompt_tokens, "%s/prompt_tokens", name);
        mete__metrics_add(&loop->metrics, (double)used.answer_tokens, "%s/answer_tokens", name);
    }
}

static void
put(mete_buffer *out, const char *name, double value)
{
    if (out->length && out->data[out->length - 1] != '{')
        mete_buffer_byte(out, ',');
    mete_json_put_text(out, mete_text_from(name));
    mete_buffer_byte(out, ':');
    mete_json_put_number(out, value);
}

static void
put_nodes(mete_buffer *out, mete__loop *loop)
{
    struct mete__timing *t = loop->timing;
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    char name[METE__METRIC_NAME];
    mete_buffer_string(out, ",\"nodes\":{");
    for (size_t i = 0; i < nodes; i++) {
        double seconds = mete__node_seconds(node[i]);
        mete__node_label(node[i], name);
        if (seconds > t->node[i])
            put(out, name, seconds - t->node[i]);
        t->node[i] = seconds;
    }
    mete_buffer_string(out, "},\"models\":{");
    for (size_t i = 0; i < nodes; i++) {
        mete__usage all = mete__node_usage(node[i]), used;
        bool asked = usage_since(&all, &t->usage[i], &used);
        t->usage[i] = all;
        if (!asked)
            continue;
        mete__node_label(node[i], name);
        mete_buffer_string(out, out->data && out->data[out->length - 1] != '{' ? "," : "");
        mete_json_put_text(out, mete_text_from(name));
        mete_buffer_string(out, ":{");
        put(out, "requests", (double)used.requests);
        put(out, "cached", (double)used.cached);
        put(out, "failed", (double)used.failed);
        put(out, "prompt_tokens", (double)used.prompt_tokens);
        put(out, "answer_tokens", (double)used.answer_tokens);
        put(out, "cost", used.cost);
        put(out, "seconds", used.seconds);
        mete_buffer_byte(out, '}');
    }
    mete_buffer_byte(out, '}');
}

int
mete__timing_end(mete__loop *loop, const mete__stage *stage, mete_error *err)
{
    struct mete__timing *t = loop->timing;
    mete_buffer out = mete_buffer_make((size_t)4 << 20);
    if (!t || !loop->sinks.timing)
        return METE_OK;
    mete__timing_lap(loop, METE__LAP_REST);
    mete_buffer_format(&out, "{\"iteration\":%llu,\"stage\":", (unsigned long long)loop->done);
    mete_json_put_text(&out, mete_text_from(stage->name));
    mete_buffer_string(&out, ",\"seconds\":{");
    for (int k = 0; k < METE__LAPS; k++)
        put(&out, lap_name[k], t->lap[k]);
    put(&out, "total", t->last - t->start);
    mete_buffer_byte(&out, '}');
    put_nodes(&out, loop);
    mete_buffer_byte(&out, '}');
    int status =
        out.status ? mete_error_set(err, METE_ENOMEM, "out of memory for timing") : METE_OK;
    if (!status)
        status = loop->sinks.timing(loop->sinks.user, out.data, out.length, err);
    mete_buffer_free(&out);
    return status;
}
