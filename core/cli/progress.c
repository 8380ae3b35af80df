/* progress.c - how far a run is: on a terminal one line rewritten in place, elsewhere a plain line
 * each 5% but at most one a second, and one each 10 seconds at least.
 */
#include "cli/train.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct mete__progress {
    bool quiet, terminal, open;
    uint64_t first, shown;
    bool any;
    double start, last;
};

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

mete__progress *
mete__progress_new(bool quiet, uint64_t done)
{
    mete__progress *progress = calloc(1, sizeof *progress);
    if (!progress)
        return NULL;
    progress->quiet = quiet;
    progress->terminal = isatty(STDERR_FILENO) == 1;
    progress->first = progress->shown = done;
    progress->start = now();
    return progress;
}

static bool
due(const mete__progress *progress, uint64_t done, uint64_t total, double time)
{
    double since = time - progress->last;
    if (!progress->any || done == total)
        return true;
    if (progress->terminal)
        return since >= 0.1;
    return since >= 10 || (since >= 1 && (done - progress->shown) * 20 >= total);
}

static void
duration(double seconds, char *out, size_t room)
{
    uint64_t s = seconds < 0 ? 0 : (uint64_t)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, room, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(out, room, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
}

static int
columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20)
        return size.ws_col;
    return 80;
}

void
mete__progress_show(mete__progress *progress, const char *stage, uint64_t done, uint64_t total,
                    const char *headline)
{
    char line[512], left[32] = "?";
    double time = now();
    if (!progress || progress->quiet || !due(progress, done, total, time))
        return;
    double spent = time - progress->start;
    double rate =
        spent > 0 && done > progress->first ? (double)(done - progress->first) / spent : 0;
    if (rate > 0)
        duration((double)(total - done) / rate, left, sizeof left);
    snprintf(line, sizeof line, "%s %" PRIu64 "/%" PRIu64 "  %.3g/s  %s left  %s",
             stage && *stage ? stage : "train", done, total, rate, left, headline ? headline : "");
    if (progress->terminal)
        fprintf(stderr, "\r%.*s\033[K", columns() - 1, line);
    else
        fprintf(stderr, "%s\n", line);
    fflush(stderr);
    progress->open = progress->terminal;
    progress->any = true;
    progress->last = time;
    progress->shown = done;
}

void
mete__progress_rest(mete__progress *progress)
{
    if (progress && progress->open) {
        fputc('\n', stderr);
        progress->open = false;
    }
}

void
mete__progress_free(mete__progress *progress)
{
    mete__progress_rest(progress);
    free(progress);
}
