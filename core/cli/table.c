/* table.c - bars and numbers of tables. */
#include "cli/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CELLS = 24 };

static bool
has_room(size_t columns)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col ||
           columns + 2 + CELLS <= size.ws_col;
}

bool
mete__bars_wanted(size_t columns)
{
    static const char *const variable[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(variable[i]);
        if (value && *value)
            return isatty(STDOUT_FILENO) && has_room(columns) &&
                   (strstr(value, "UTF-8") || strstr(value, "utf8"));
    }
    return false;
}

static int
cell(double x, double least, double most)
{
    double at = floor((x - least) / (most - least) * CELLS);
    return at < 0 ? 0 : at >= CELLS ? CELLS - 1 : (int)at;
}

void
mete__bar_print(const mete__interval *interval, double least, double most)
{
    if (!(most > least) || !isfinite(most - least) || !isfinite(interval->point))
        return;
    int point = cell(interval->point, least, most), lo = point, hi = point;
    if (isfinite(interval->lo) && isfinite(interval->hi)) {
        lo = cell(interval->lo, least, most);
        hi = cell(interval->hi, least, most);
    }
    fputs("  ", stdout);
    for (int i = 0; i < CELLS; i++)
        fputs(i == point ? "\u25cf" : i >= lo && i <= hi ? "\u2500" : " ", stdout);
}

void
mete__put_number(mete_buffer *out, const char *name, double value)
{
    mete_buffer_format(out, ",\"%s\":", name);
    mete_json_put_number(out, value);
}

void
mete__put_out(mete_buffer *out)
{
    if (out->data && !out->status)
        fwrite(out->data, 1, out->length, stdout);
    mete_buffer_free(out);
}
