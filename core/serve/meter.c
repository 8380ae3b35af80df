/* meter.c - what the server did, in the text format of Prometheus. */
#include "serve/serve.h"

#include <inttypes.h>
#include <stdlib.h>

static const unsigned codes[] = {200, 400, 401, 404, 405, 411, 413,
                                 415, 422, 431, 500, 502, 503, 504};
#define CODES (sizeof codes / sizeof *codes)
static const double bounds[] = {1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3, 10, 30, 100};
#define BOUNDS (sizeof bounds / sizeof *bounds)
#define MOST_PATHS 32

struct mete__meter {
    pthread_mutex_t lock;
    uint64_t answered[MOST_PATHS + 1][CODES]; /* the last: the server's own pages, unknown paths */
    uint64_t bucket[BOUNDS + 1];
    double seconds;
    uint64_t answers, records, batches, calls;
};

struct mete__meter *
mete__meter_new(void)
{
    struct mete__meter *meter = calloc(1, sizeof *meter);
    if (meter)
        pthread_mutex_init(&meter->lock, NULL);
    return meter;
}

void
mete__meter_free(struct mete__meter *meter)
{
    if (meter)
        pthread_mutex_destroy(&meter->lock);
    free(meter);
}

void
mete__meter_answer(mete__server *server, const mete__exchange *x)
{
    struct mete__meter *meter = server->meter;
    size_t count, path, code = 0, bound = 0;
    const mete__protocol *table = mete__protocols(&count);
    path = x->protocol ? (size_t)(x->protocol - table) : MOST_PATHS;
    while (code < CODES - 1 && codes[code] != x->code)
        code++;
    double seconds = mete__now() - x->begun;
    while (bound < BOUNDS && seconds > bounds[bound])
        bound++;
    pthread_mutex_lock(&meter->lock);
    meter->answered[path][code]++;
    meter->bucket[bound]++;
    meter->seconds += seconds;
    meter->answers++;
    pthread_mutex_unlock(&meter->lock);
}

void
mete__meter_batch(mete__server *server, mete__tree *tree, mete__scoring *scoring, size_t calls)
{
    struct mete__meter *meter = server->meter;
    mete__report_sum *sum = &scoring->sum;
    pthread_mutex_lock(&meter->lock);
    meter->batches++;
    meter->calls += calls;
    meter->records += sum->records;
    for (size_t k = 0; k < sum->showns; k++) {
        for (int status = 0; status < 4; status++) {
            tree->count[k][status] += sum->shown[k].count[status];
            sum->shown[k].count[status] = 0;
        }
        tree->sum[k] += sum->shown[k].sum;
        sum->shown[k].sum = 0;
    }
    pthread_mutex_unlock(&meter->lock);
    sum->records = sum->unread = 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void
head(mete_buffer *out, const char *name, const char *type, const char *help)
{
    mete_buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
count(mete_buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    head(out, name, type, help);
    mete_buffer_format(out, "%s %" PRIu64 "\n", name, value);
}

static void
put_requests(const struct mete__meter *meter, mete_buffer *out)
{
    size_t paths;
    const mete__protocol *table = mete__protocols(&paths);
    head(out, "mete_requests_total", "counter", "requests answered");
    for (size_t p = 0; p <= MOST_PATHS; p++)
        for (size_t c = 0; c < CODES; c++)
            if (meter->answered[p][c])
                mete_buffer_format(out,
                                   "mete_requests_total{path=\"%s\",code=\"%u\"} %" PRIu64 "\n",
                                   p < paths ? table[p].path : "", codes[c], meter->answered[p][c]);
    head(out, "mete_request_seconds", "histogram", "from a request's headers to its answer");
    uint64_t below = 0;
    for (size_t b = 0; b < BOUNDS; b++) {
        below += meter->bucket[b];
        mete_buffer_format(out, "mete_request_seconds_bucket{le=\"%g\"} %" PRIu64 "\n", bounds[b],
                           below);
    }
    mete_buffer_format(out,
                       "mete_request_seconds_bucket{le=\"+Inf\"} %" PRIu64
                       "\nmete_request_seconds_sum %.9g\nmete_request_seconds_count %" PRIu64 "\n",
                       meter->answers, meter->seconds, meter->answers);
}

/* A label's value: quoted as the format wants it. */
static void
put_label(mete_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            mete_buffer_byte(out, '\\');
        mete_buffer_byte(out, *text == '\n' ? ' ' : *text);
    }
}

static void
put_nodes(mete__tree *tree, mete_buffer *out)
{
    const mete__report_sum *sum = mete__scorer_sum(tree->scorer);
    head(out, "mete_node_records_total", "counter",
         "records by node and status, since the tree was loaded");
    for (size_t k = 0; k < sum->showns; k++)
        for (uint8_t status = 0; status < 4; status++) {
            mete_buffer_string(out, "mete_node_records_total{node=\"");
            put_label(out, sum->shown[k].name);
            mete_buffer_format(out, "\",status=\"%s\"} %" PRIu64 "\n", mete__status_name(status),
                               tree->count[k][status]);
        }
    head(out, "mete_node_value_sum", "gauge", "sum of the values of valid records");
    for (size_t k = 0; k < sum->showns; k++) {
        mete_buffer_string(out, "mete_node_value_sum{node=\"");
        put_label(out, sum->shown[k].name);
        mete_buffer_format(out, "\"} %.17g\n", tree->sum[k]);
    }
    head(out, "mete_tree_info", "gauge", "the tree that scores");
    mete_buffer_format(out, "mete_tree_info{version=\"%s\"} 1\n", tree->version);
}

void
mete__meter_write(mete__server *server, mete_buffer *out)
{
    struct mete__meter *meter = server->meter;
    mete__tree *tree = mete__tree_use(server);
    pthread_mutex_lock(&server->lock);
    size_t waiting = server->waiting, active = server->active;
    unsigned loads = server->loads;
    pthread_mutex_unlock(&server->lock);
    pthread_mutex_lock(&meter->lock);
    put_requests(meter, out);
    count(out, "mete_records_total", "counter", "records scored", meter->records);
    count(out, "mete_batches_total", "counter", "batches scored", meter->batches);
    count(out, "mete_batch_requests_total", "counter", "requests in those batches", meter->calls);
    put_nodes(tree, out);
    pthread_mutex_unlock(&meter->lock);
    count(out, "mete_queue_requests", "gauge", "requests that wait", waiting);
    count(out, "mete_active_requests", "gauge", "requests under way", active);
    count(out, "mete_body_bytes", "gauge", "bytes of bodies held", atomic_load(&server->bytes));
    count(out, "mete_loads_total", "counter", "times a tree was loaded", loads);
    mete__tree_leave(server, tree);
}
