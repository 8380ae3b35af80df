/* metrics.c - one iteration's numbers, in the order they came. */
#include "loop/inner.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void
mete__metrics_add(mete__metrics *metrics, double value, const char *format, ...)
{
    char name[1200];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    uint64_t hash = mete_hash(0, name, length < (int)sizeof name ? (size_t)length : sizeof name);
    for (size_t i = 0; i < metrics->count; i++)
        if (metrics->item[i].hash == hash && strcmp(metrics->item[i].name, name) == 0) {
            metrics->item[i].sum += value;
            metrics->item[i].count++;
            return;
        }
    if (metrics->count == metrics->room) {
        size_t room = metrics->room ? 2 * metrics->room : 64;
        void *grown = realloc(metrics->item, room * sizeof *metrics->item);
        if (!grown)
            return;
        metrics->item = grown;
        metrics->room = room;
    }
    char *copy = strdup(name);
    if (!copy)
        return;
    metrics->item[metrics->count].name = copy;
    metrics->item[metrics->count].hash = hash;
    metrics->item[metrics->count].sum = value;
    metrics->item[metrics->count++].count = 1;
}

void
mete__metrics_set(mete__metrics *metrics, const char *name, double value)
{
    for (size_t i = 0; i < metrics->count; i++)
        if (strcmp(metrics->item[i].name, name) == 0) {
            metrics->item[i].sum = value;
            metrics->item[i].count = 1;
            return;
        }
    mete__metrics_add(metrics, value, "%s", name);
}

void
mete__metrics_clear(mete__metrics *metrics)
{
    for (size_t i = 0; i < metrics->count; i++)
        free(metrics->item[i].name);
    metrics->count = 0;
}

void
mete__metrics_free(mete__metrics *metrics)
{
    mete__metrics_clear(metrics);
    free(metrics->item);
    *metrics = (mete__metrics){0};
}

double
mete__metrics_get(const mete__metrics *metrics, const char *name)
{
    for (size_t i = 0; i < metrics->count; i++)
        if (strcmp(metrics->item[i].name, name) == 0)
            return metrics->item[i].sum / (double)metrics->item[i].count;
    return NAN;
}

/* Mean, spread and (of one batch, where they mean something) extremes of a node's value over its
 * valid rows, and how the others ended. */
static void
add_node(mete__metrics *metrics, const mete_node *node, const mete_batch *batch, const char *name,
         bool extremes)
{
    const mete_scores *scores = mete__node_scores(node);
    static const char *const word[] = {"valid", "not_applicable", "failed", "timed_out"};
    double sum = 0, square = 0, least = INFINITY, most = -INFINITY;
    size_t count[4] = {0};
    for (size_t i = 0; i < batch->episodes; i++) {
        count[scores->status[i] & 3]++;
        if (scores->status[i])
            continue;
        sum += scores->episode[i];
        least = fmin(least, scores->episode[i]);
        most = fmax(most, scores->episode[i]);
    }
    double mean = count[0] ? sum / (double)count[0] : 0;
    for (size_t i = 0; i < batch->episodes; i++)
        if (!scores->status[i])
            square += (scores->episode[i] - mean) * (scores->episode[i] - mean);
    if (count[0])
        mete__metrics_add(metrics, mean, "%s", name);
    if (count[0] > 1)
        mete__metrics_add(metrics, sqrt(square / (double)(count[0] - 1)), "%s/sd", name);
    if (count[0] && extremes) {
        mete__metrics_add(metrics, least, "%s/min", name);
        mete__metrics_add(metrics, most, "%s/max", name);
    }
    for (int k = 1; k < 4; k++)
        if (count[k])
            mete__metrics_add(metrics, (double)count[k], "%s/%s", name, word[k]);
}

static void
add_signals(mete__metrics *metrics, const mete_node *node, const mete_batch *batch,
            const char *name)
{
    const mete_scores *scores = mete__node_scores(node);
    for (size_t k = 0; k < node->declareds; k++) {
        const mete__declared *declared = &node->declared[k];
        const double *signal = mete__node_signal(node, k);
        double sum = 0;
        size_t count = 0;
        if (declared->level == METE_EPISODE || declared->level == METE_STEP) {
            size_t rows = declared->level == METE_STEP ? batch->steps : batch->episodes;
            for (size_t i = 0; i < rows; i++) {
                size_t row = declared->level == METE_STEP ? batch->step_row[i] : i;
                if (scores->status[row])
                    continue;
                sum += signal[i];
                count++;
            }
        } else {
            size_t rows = declared->level == METE_GROUP ? batch->groups : 1;
            for (size_t i = 0; i < rows; i++, count++)
                sum += signal[i];
        }
        if (count)
            mete__metrics_add(metrics, sum / (double)count, "%s/%s", name, declared->name);
    }
}

bool
mete__belongs(const mete_node *node, const mete_node *root)
{
    const mete_node *at = node;
    while (at && at != root)
        at = at->parent;
    return at && node->kind == METE_KIND_REWARD;
}

bool
mete__measured(const mete_node *node, const mete_node *root)
{
    return mete__belongs(node, root) && mete__node_scores(node);
}

void
mete__metrics_name(const mete_node *node, const mete_node *root, char name[METE__METRIC_NAME])
{
    size_t used = (size_t)snprintf(name, METE__METRIC_NAME, "reward");
    for (const char *at = node->path + strlen(root->path); *at && used < METE__METRIC_NAME;) {
        size_t length = strcspn(at + 1, ".");
        used +=
            (size_t)snprintf(name + used, METE__METRIC_NAME - used, "/%.*s", (int)length, at + 1);
        at += 1 + length;
    }
}

void
mete__node_label(const mete_node *node, char name[METE__METRIC_NAME])
{
    snprintf(name, METE__METRIC_NAME, "%s", node->path);
    for (char *at = name; *at; at++)
        *at = *at == '.' ? '/' : *at;
}

void
mete__metrics_nodes(mete__metrics *metrics, mete__engine *engine, mete_node *root,
                    const mete_batch *batch, const char *prefix)
{
    size_t nodes;
    mete_node *const *node = mete__engine_nodes(engine, &nodes);
    for (size_t i = 0; i < nodes; i++) {
        if (!mete__measured(node[i], root))
            continue;
        char own[METE__METRIC_NAME], name[METE__METRIC_NAME + 16];
        mete__metrics_name(node[i], root, own);
        snprintf(name, sizeof name, "%s%s", prefix, own);
        add_node(metrics, node[i], batch, name, !*prefix);
        add_signals(metrics, node[i], batch, name);
    }
}
