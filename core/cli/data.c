/* data.c - mete data make CONFIG: samples of a policy as pairs or rows that a reward node labels,
 * one JSON line each, as mete fit and mete bench read them.
 */
#include "cli/train.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "usage: mete data make CONFIG|DIR [--label NODE] [--rows] [--held] [--records N]\n"
    "                      [--out FILE] [--temperature T] [--set PATH=VALUE]... [--seed N]\n"
    "                      [--threads N] [--quiet]\n\n"
    "Samples answers to the config's prompts and writes what a node of its reward makes of them.\n"
    "DIR is a run's folder: its policy answers as of the newest checkpoint. With CONFIG, the\n"
    "policy answers as it begins.\n\n"
    "  --label NODE     who labels, gold nodes too (default: the whole reward)\n"
    "  --rows           a line for each answer, with the node's value and its signals; else one\n"
    "                   for the best and the worst of each prompt's env.group answers: chosen,\n"
    "                   rejected, the chance that the node prefers the chosen one, and the\n"
    "                   difference of its values, which preference_model's `margin` may name\n"
    "  --held           held-out prompts, evaluate.group answers to each\n"
    "  --records N      lines (default 1000)\n"
    "  --temperature T  of sampling (default 1)\n"
    "  --out FILE       where lines go (default: standard output)\n"
    "  --quiet          no summary\n\n"
    "A line has the prompt and all texts of its episode that rewards may see, as well.\n";

/* Lines of `text` up to the first `most`, to `to`; false when they cannot be written. */
static bool
put_lines(FILE *to, const mete_buffer *text, uint64_t records, uint64_t most)
{
    size_t length = text->length;
    for (uint64_t spare = records > most ? records - most + 1 : 0; spare; spare--)
        while (length && text->data[--length] != '\n')
            ;
    length += records > most;
    return fwrite(text->data ? text->data : "", 1, length, to) == length;
}

static int
write_records(mete__training *t, const mete__collect *what, uint64_t most, FILE *to)
{
    mete_buffer lines = {0};
    mete_error err = {0};
    uint64_t written = 0, none = 0;
    int code = METE__EXIT_DONE;
    while (written < most && !code) {
        uint64_t records = 0;
        mete_buffer_clear(&lines);
        int status = mete__loop_collect(t->loop, what, &lines, &records, &err);
        none = records ? 0 : none + 1;
        if (!status && none == 100)
            status = mete_error_set(&err, METE_EDATA,
                                    "a hundred batches without a record: the node tells no two "
                                    "answers apart, or has no value");
        if (status) {
            mete__say("%s", err.message);
            code = mete__exit_of(status);
        } else if (!put_lines(to, &lines, records, most - written)) {
            mete__say("cannot write: %s", strerror(errno));
            code = METE__EXIT_FAILED;
        }
        written += records < most - written ? records : most - written;
    }
    mete_buffer_free(&lines);
    if (!code && !t->args->quiet)
        mete__say("%" PRIu64 " records", written);
    return code;
}

static int
make(mete__training *t, const char *folder)
{
    const mete__args *args = t->args;
    const mete__collect what = {.label = args->model,
                                .rows = args->check,
                                .held = args->nodes,
                                .temperature = args->temperature};
    if (!mete__training_open(t))
        return METE__EXIT_INPUT;
    int code = folder ? mete__training_load(t, folder) : mete__begin_from(t->loop, t->config);
    const char *out = args->out && strcmp(args->out, "-") ? args->out : NULL;
    FILE *to = code ? NULL : out ? fopen(out, "w") : stdout;
    if (!code && !to) {
        mete__say("cannot write %s: %s", out, strerror(errno));
        return METE__EXIT_FAILED;
    }
    if (!code)
        code = write_records(t, &what, args->records ? args->records : 1000, to);
    bool bad = to && fflush(to) != 0;
    if (to && out && fclose(to))
        bad = true;
    if (bad && !code) {
        mete__say("cannot write %s: %s", out ? out : "standard output", strerror(errno));
        code = METE__EXIT_FAILED;
    }
    return code;
}

int
mete__command_data(int argc, char **argv)
{
    mete__args args;
    char path[PATH_MAX];
    struct stat st;
    int code;
    if (!mete__args_read(argc, argv,
                         "label rows held records out temperature set seed threads quiet", 2, 2,
                         usage, &args, &code))
        return code;
    if (strcmp(args.operand[0], "make") != 0) {
        code = mete__misused("data", "\"%s\" is not make", args.operand[0]);
        mete__args_free(&args);
        return code;
    }
    const char *config = args.operand[1], *folder = NULL;
    if (!stat(config, &st) && S_ISDIR(st.st_mode)) {
        folder = config;
        snprintf(path, sizeof path, "%s/config.cfg", folder);
        config = path;
    }
    mete__training t = {.args = &args};
    t.config = mete__read_config(&args, config);
    code = t.config ? make(&t, folder) : METE__EXIT_INPUT;
    mete__training_close(&t);
    mete__args_free(&args);
    return code;
}
