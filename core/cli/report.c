/* report.c - mete report: a run, two, an ablation or a sweep as one page to open in a browser. */
#include "report/report.h"

#include "cli/cli.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: mete report DIR [--out FILE] [--quiet]\n"
    "       mete report --compare DIR DIR [--out FILE] [--quiet]\n\n"
    "Writes what the run in DIR did as one page that stands alone: what was optimised, what "
    "changed\n"
    "on held-out episodes, each reward's course and its share, events, curves, the best and worst\n"
    "samples, the config. It needs no network and holds no script. A run that still goes on is "
    "told\n"
    "of as far as it is. Of the folder of an ablation or a sweep: what each arm or value does.\n\n"
    "  --compare A  the run DIR set against the run A: what differs in their configs and on "
    "held-out\n"
    "               episodes, curves laid over each other, answers to the same prompts\n"
    "  --out FILE   the page (default: DIR/report.html, or compare.html); - is standard output\n"
    "  --quiet      no summary\n";

static int
write_page(const mete__args *args, const mete_buffer *page)
{
    char path[PATH_MAX];
    mete_error err = {0};
    if (args->out && strcmp(args->out, "-") == 0)
        return fwrite(page->data, 1, page->length, stdout) == page->length ? METE__EXIT_DONE
                                                                           : METE__EXIT_FAILED;
    if (args->out)
        snprintf(path, sizeof path, "%s", args->out);
    else
        snprintf(path, sizeof path, "%s/%s.html", args->operand[0],
                 args->in ? "compare" : "report");
    if (mete__report_save(path, page, &err)) {
        mete__say("%s", err.message);
        return METE__EXIT_FAILED;
    }
    if (!args->quiet)
        mete__say("the report is %s", path);
    return METE__EXIT_DONE;
}

int
mete__command_report(int argc, char **argv)
{
    mete__args args;
    mete_error err = {0};
    mete_buffer page = mete_buffer_make(0);
    int code;
    if (!mete__args_read(argc, argv, "out compare quiet", 1, 1, usage, &args, &code))
        return code;
    int status = args.in ? mete__report_compare(args.in, args.operand[0], &page, &err)
                         : mete__report_write(args.operand[0], &page, &err);
    if (status) {
        mete__say("%s", err.message);
        code = mete__exit_of(err.code);
    } else {
        code = write_page(&args, &page);
    }
    mete_buffer_free(&page);
    mete__args_free(&args);
    return code;
}
