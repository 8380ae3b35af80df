/* train.c - drives the loop: sinks into the run folder, checkpoints by iterations and by time, and
 * an end that is always saved.
 *
 * When a checkpoint is taken never changes what is computed: saving only reads. The first SIGINT or
 * SIGTERM lets the iteration finish and saves; the second ends the process at once, which loses
 * nothing that was saved.
 */
#include "cli/train.h"

#include "cli/machine.h"
#include "nn/nn.h"
#include "report/report.h"
#include "run/crc.h"
#include "run/outputs.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile sig_atomic_t caught;

static void
on_signal(int number)
{
    caught = number;
}

static void
watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- sinks ----------------------------------------------------------------------------------- */

static int
sink_metrics(void *user, const char *json, size_t length, mete_error *err)
{
    return mete__rundir_line(((mete__training *)user)->rundir, METE__RUN_METRICS, json, length,
                             err);
}

static int
sink_timing(void *user, const char *json, size_t length, mete_error *err)
{
    return mete__rundir_line(((mete__training *)user)->rundir, METE__RUN_TIMING, json, length, err);
}

static int
sink_sample(void *user, const char *json, size_t length, mete_error *err)
{
    return mete__rundir_line(((mete__training *)user)->rundir, METE__RUN_SAMPLES, json, length,
                             err);
}

static int
sink_criteria(void *user, const char *json, size_t length, mete_error *err)
{
    return mete__rundir_line(((mete__training *)user)->rundir, METE__RUN_CRITERIA, json, length,
                             err);
}

static int
append_buffer(mete__rundir *rundir, enum mete__run_file which, mete_buffer *out, mete_error *err)
{
    int rc = out->status ? mete_error_set(err, out->status, "out of memory for metrics")
                         : mete__rundir_append(rundir, which, out->data, out->length, err);
    mete_buffer_free(out);
    return rc;
}

static int
sink_numbers(void *user, uint64_t iteration, const char *stage, const char *const *name,
             const double *value, size_t count, mete_error *err)
{
    const mete__training *training = user;
    mete__rundir *rundir = training->rundir;
    int rc = METE_OK;
    if (training->options.csv) {
        mete_buffer out = mete_buffer_make(0);
        if (!mete__rundir_size(rundir, METE__RUN_CSV))
            mete_buffer_string(&out, METE__CSV_HEADER);
        mete__csv_metrics(&out, iteration, stage, name, value, count);
        rc = append_buffer(rundir, METE__RUN_CSV, &out, err);
    }
    if (!rc && training->options.tensorboard) {
        mete_buffer out = mete_buffer_make(0);
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        double wall = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
        if (!mete__rundir_size(rundir, METE__RUN_EVENTS))
            mete__tensorboard_begin(&out, wall);
        mete__tensorboard_metrics(&out, wall, iteration, name, value, count);
        rc = append_buffer(rundir, METE__RUN_EVENTS, &out, err);
    }
    return rc;
}

/* Journal lines that are lost lose no result, so a full disk is noticed where it matters. */
static void
sink_event(void *user, const char *kind, const char *text)
{
    mete__training *training = user;
    if (training->rundir)
        mete__rundir_journal(training->rundir, kind, text);
    if (strcmp(kind, "warning") == 0) {
        mete__progress_rest(training->progress);
        mete__say("%s", text);
    }
}

static int
sink_rubric(void *user, const char *path, uint64_t version, mete_text criteria, mete_error *err)
{
    mete__training *training = user;
    char name[1200];
    if (!training->rundir)
        return METE_OK;
    snprintf(name, sizeof name, "rubrics/%s/%llu.jsonl", path, (unsigned long long)version);
    for (char *at = name + strlen("rubrics/"); (at = strchr(at, '/')) != strrchr(name, '/');)
        *at = '_'; /* of a node's name */
    return mete__rundir_file(training->rundir, name, criteria, err);
}

static void
sink_watch(void *user, const char *text, const char *members)
{
    mete__training *training = user;
    if (training->rundir)
        mete__rundir_event(training->rundir, "watch", text, members);
    mete__progress_rest(training->progress);
    mete_buffer plain = mete_buffer_make(0); /* a node's name may hold anything */
    mete__put_plain(&plain, mete_text_from(text), "");
    mete__say("%s", plain.data ? plain.data : "watch: a sign was raised");
    mete_buffer_free(&plain);
}

static void
sink_progress(void *user, const char *stage, uint64_t iteration, uint64_t total,
              const char *headline)
{
    mete__training *training = user;
    (void)iteration;
    (void)total;
    mete__progress_show(training->progress, stage, mete__loop_done(training->loop),
                        mete__loop_total(training->loop), headline);
}

static void
sink_log(void *user, const char *path, int level, const char *text)
{
    static const char *const kind[] = {"debug", "info", "warning"};
    char line[1200];
    snprintf(line, sizeof line, "%s: %s", path, text);
    sink_event(user, kind[level < 0 ? 0 : level > 2 ? 2 : level], line);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void
read_outputs(mete__value *run, mete__run_options *o, mete__errors *errors)
{
    mete__value *list = mete__value_get(run, "metrics");
    if (list && list->kind != METE__LIST)
        mete__errors_add(errors, "%s:%d: %s must be a list [ \"csv\", ... ]", list->file,
                         list->line, list->path);
    for (mete__value *item = list && list->kind == METE__LIST ? list->first : NULL; item;
         item = item->next) {
        int word = mete__value_word(item, "jsonl|csv|tensorboard", errors);
        o->csv |= word == 1;
        o->tensorboard |= word == 2;
    }
}

void
mete__run_options_read(const mete__args *args, mete__config *config, mete__run_options *o,
                       mete__errors *errors)
{
    mete__value *run = mete__value_get(mete__config_root(config), "run");
    *o = (mete__run_options){.every = 25, .seconds = 60, .keep = 3, .seed = 1};
    o->threads = mete__threads(args, config, errors);
    if (!run)
        return;
    if (run->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: run: must be a group, run = { ... };", run->file,
                         run->line);
        return;
    }
    o->out = mete__value_string(run, "out", NULL, errors);
    o->seed = (uint64_t)mete__value_int(run, "seed", 1, 0, INT64_MAX, errors);
    o->every = (uint64_t)mete__value_int(run, "checkpoint_every", 25, 0, INT64_MAX, errors);
    o->seconds = mete__value_real(run, "checkpoint_seconds", 60, 0, 1e9, errors);
    o->keep = (size_t)mete__value_int(run, "keep", 3, 1, 1000000, errors);
    read_outputs(run, o, errors);
}

bool
mete__training_open(mete__training *training)
{
    mete__errors errors = {0};
    mete__run_options_read(training->args, training->config, &training->options, &errors);
    mete__engine_options options = {.seed = training->options.seed,
                                    .threads = training->options.threads,
                                    .log = sink_log,
                                    .user = training};
    mete__loop_sinks sinks = {.user = training,
                              .metrics = sink_metrics,
                              .timing = sink_timing,
                              .numbers = sink_numbers,
                              .sample = sink_sample,
                              .criteria = sink_criteria,
                              .event = sink_event,
                              .rubric = sink_rubric,
                              .watch = sink_watch,
                              .progress = sink_progress};
    training->engine = mete__engine_open(training->config, &options, &errors);
    if (training->engine)
        training->loop = mete__loop_new(training->engine, training->config, &sinks, &errors);
    if (training->loop && !errors.count && mete__training_resolve(training))
        training->text = mete__config_write(mete__config_root(training->config));
    if (training->text)
        return true;
    if (!errors.count)
        mete__say("out of memory");
    mete__report(&errors);
    return false;
}

void
mete__training_close(mete__training *training)
{
    mete__progress_free(training->progress);
    if (training->loop)
        mete__loop_free(training->loop);
    if (training->engine)
        mete__engine_close(training->engine);
    mete__rundir_close(training->rundir);
    if (training->config)
        mete__config_free(training->config);
    for (size_t i = 0; i < training->paths; i++)
        free(training->path[i]);
    free(training->path);
    free(training->text);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static int
note_number(mete__checkpoint *checkpoint, const char *key, uint64_t number, mete_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return mete__checkpoint_note(checkpoint, key, text, err);
}

int
mete__training_facts(const mete__training *training, mete__checkpoint *checkpoint, mete_error *err)
{
    char blas[256];
    mete__nn_fingerprint(blas, sizeof blas);
    int rc = note_number(checkpoint, "seed", training->options.seed, err);
    if (!rc)
        rc = note_number(checkpoint, "config_crc32c",
                         mete__crc32c(0, training->text, strlen(training->text)), err);
    return rc ? rc : mete__checkpoint_note(checkpoint, "blas", blas, err);
}

int
mete__training_matches(const mete__training *training, const mete__checkpoint *checkpoint,
                       mete_error *err)
{
    static const char *const key[] = {"seed", "config_crc32c", "blas"};
    static const char *const what[] = {"seed", "config", "linear algebra library or processor"};
    mete__checkpoint *mine = mete__checkpoint_new();
    if (!mine)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    int rc = mete__training_facts(training, mine, err);
    for (int i = 0; i < 3 && !rc; i++) {
        const char *then = mete__checkpoint_noted(checkpoint, key[i]);
        const char *here = mete__checkpoint_noted(mine, key[i]);
        if (!then || strcmp(then, here) != 0)
            rc = mete_error_set(err, METE_EINVAL,
                                "the checkpoint was made with another %s (%s, here %s), so the run "
                                "would not end with the same bits; --force goes on all the same",
                                what[i], then ? then : "unknown", here);
    }
    mete__checkpoint_free(mine);
    return rc;
}

static int
save(mete__training *training, mete_error *err)
{
    uint64_t mark[METE__RUN_MARKED], done = mete__loop_done(training->loop);
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    if (!checkpoint)
        return mete_error_set(err, METE_ENOMEM, "out of memory for a checkpoint");
    mete__rundir_marks(training->rundir, mark);
    int rc = mete__loop_save(training->loop, checkpoint, err);
    if (!rc)
        rc = mete__training_facts(training, checkpoint, err);
    for (int i = 0; i < METE__RUN_MARKED && !rc; i++)
        rc = note_number(checkpoint, mete__rundir_mark_name[i], mark[i], err);
    if (!rc)
        rc = mete__checkpoint_write(checkpoint, mete__rundir_folder(training->rundir), done,
                                    training->options.keep, err);
    mete__checkpoint_free(checkpoint);
    if (!rc) {
        char text[64];
        snprintf(text, sizeof text, "iteration %" PRIu64, done);
        mete__rundir_journal(training->rundir, "checkpoint", text);
    }
    return rc;
}

/* ---- the run --------------------------------------------------------------------------------- */

static int
failed(mete__training *training, const mete_error *err)
{
    const char *folder = mete__rundir_folder(training->rundir);
    mete__progress_rest(training->progress);
    mete__rundir_journal(training->rundir, "error", err->message);
    mete__say("%s", err->message);
    mete__say("the run stopped after iteration %" PRIu64 "; what was saved stands in %s",
              mete__loop_done(training->loop), folder);
    return METE__EXIT_FAILED;
}

static int
interrupted(mete__training *training)
{
    const char *folder = mete__rundir_folder(training->rundir);
    mete__progress_rest(training->progress);
    mete__rundir_journal(training->rundir, "interrupted", strsignal(caught));
    mete__say("interrupted after iteration %" PRIu64 " of %" PRIu64
              " and saved; go on with: mete resume %s",
              mete__loop_done(training->loop), mete__loop_total(training->loop), folder);
    return METE__EXIT_INTERRUPTED;
}

static void
told(void *unused, const char *text)
{
    (void)unused;
    mete__say("%s; an older one is looked for", text);
}

int
mete__training_load(mete__training *training, const char *folder)
{
    mete_error err = {0};
    uint64_t iteration;
    mete__checkpoint *checkpoint = mete__checkpoint_read(folder, &iteration, told, NULL, &err);
    if (!checkpoint) {
        mete__say("%s", err.code ? err.message : "the run has no checkpoint yet");
        return err.code ? mete__exit_of(err.code) : METE__EXIT_INPUT;
    }
    int status = mete__loop_load(training->loop, checkpoint, &err);
    mete__checkpoint_free(checkpoint);
    if (status)
        mete__say("%s", err.message);
    return mete__exit_of(status);
}

int
mete__training_summary(const mete__training *training)
{
    bool json = training->args->json;
    char *text =
        json ? mete__loop_summary_json(training->loop) : mete__loop_summary(training->loop);
    if (!text) {
        mete__say("out of memory for the summary; the run itself is whole");
        return METE__EXIT_FAILED;
    }
    size_t length = strlen(text);
    fwrite(text, 1, length, stdout);
    if (!length || text[length - 1] != '\n')
        fputc('\n', stdout);
    free(text);
    return METE__EXIT_DONE;
}

static int
paused(mete__training *training)
{
    const char *folder = mete__rundir_folder(training->rundir);
    mete__progress_rest(training->progress);
    mete__rundir_journal(training->rundir, "paused", "as far as --until says");
    if (!training->args->quiet)
        mete__say("stands after iteration %" PRIu64 " of %" PRIu64 "; go on with: mete resume %s",
                  mete__loop_done(training->loop), mete__loop_total(training->loop), folder);
    return mete__training_summary(training);
}

static int
finished(mete__training *training)
{
    mete__progress_rest(training->progress);
    mete__rundir_journal(training->rundir, "end", "finished");
    if (!training->args->quiet)
        mete__say("the run is in %s", mete__rundir_folder(training->rundir));
    return mete__training_summary(training);
}

int
mete__training_outputs(mete__training *training, mete_error *err)
{
    int rc = METE_OK;
    if (training->options.csv)
        rc = mete__rundir_open(training->rundir, METE__RUN_CSV, err);
    if (!rc && training->options.tensorboard)
        rc = mete__rundir_open(training->rundir, METE__RUN_EVENTS, err);
    size_t nodes, rubrics = 0;
    mete_node *const *node = mete__engine_nodes(training->engine, &nodes);
    for (size_t i = 0; i < nodes; i++)
        rubrics += node[i]->kind == METE_KIND_RUBRIC;
    if (!rc && rubrics)
        rc = mete__rundir_open(training->rundir, METE__RUN_CRITERIA, err);
    return rc;
}

void
mete__training_machine(mete__training *training)
{
    mete_buffer text = mete_buffer_make(0);
    mete__machine_describe(&text);
    mete_buffer_byte(&text, 0);
    if (!text.status)
        mete__rundir_journal(training->rundir, "machine", text.data);
    mete_buffer_free(&text);
}

/* ---- the page -------------------------------------------------------------------------------- */

/* Writes the page anew; that it cannot stops no run. */
static void
write_page(mete__training *training)
{
    char path[PATH_MAX];
    mete_error err = {0};
    mete_buffer page = mete_buffer_make(0);
    const char *folder = mete__rundir_folder(training->rundir);
    double began = now();
    int n = snprintf(path, sizeof path, "%s/report.html", folder);
    if (n > 0 && (size_t)n < sizeof path && !mete__report_run(folder, &page, &err))
        mete__report_save(path, &page, &err);
    if (err.code && !training->page_told) {
        mete__progress_rest(training->progress);
        mete__say("the page is not kept: %s", err.message);
    }
    training->page_told |= err.code != 0;
    mete_buffer_free(&page);
    training->page_at = now();
    training->page_took = training->page_at - began;
}

/* While the run goes on the page takes at most a fiftieth of its time. */
static void
keep_page(mete__training *training)
{
    if (training->args->report && now() - training->page_at >= fmax(2, 50 * training->page_took))
        write_page(training);
}

/* ---- going ----------------------------------------------------------------------------------- */

static int
go(mete__training *training)
{
    mete__loop *loop = training->loop;
    const mete__run_options *o = &training->options;
    uint64_t total = mete__loop_total(loop), until = training->args->until;
    uint64_t end = until && until < total ? until : total;
    mete_error err = {0};
    double saved = now();
    training->progress = mete__progress_new(training->args->quiet, mete__loop_done(loop));
    watch_signals();
    if (mete__loop_done(loop) == 0 && save(training, &err))
        return failed(training, &err);
    while (mete__loop_done(loop) < end && !caught) {
        if (mete__loop_step(loop, &err))
            return failed(training, &err);
        uint64_t done = mete__loop_done(loop);
        bool by_count = o->every && done % o->every == 0;
        bool by_time = o->seconds > 0 && now() - saved >= o->seconds;
        if (done >= end || caught || by_count || by_time) {
            if (save(training, &err))
                return failed(training, &err);
            saved = now();
        }
        keep_page(training);
    }
    if (mete__loop_done(loop) >= total)
        return finished(training);
    return mete__loop_done(loop) < end ? interrupted(training) : paused(training);
}

int
mete__training_go(mete__training *training)
{
    int code = go(training);
    if (training->args->report)
        write_page(training);
    return code;
}
