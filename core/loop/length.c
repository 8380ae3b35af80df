/* length.c - how much of what a reward gained is more than length (Singhal et al. 2023, "A Long Way
 * to Go", arXiv:2310.03716, non-length reward gain): held-out answers from before and after
 * learning are put into bins of like length, and the gain within bins is told as a share of the
 * whole.
 */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>

#define BINS 10 /* by quantiles of both together; the paper's are 20 tokens wide */

double *
mete__lengths_add(mete__lengths *all, size_t columns)
{
    all->columns = columns;
    if (all->rows == all->room) {
        size_t room = all->room ? 2 * all->room : 256;
        double *grown = realloc(all->row, room * columns * sizeof *grown);
        if (!grown)
            return NULL;
        all->row = grown;
        all->room = room;
    }
    return all->row + columns * all->rows++;
}

void
mete__lengths_free(mete__lengths *all)
{
    free(all->row);
    *all = (mete__lengths){0};
}

static int
by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Appends the lengths of rows that have a value in the column; how many. */
static size_t
take_lengths(const mete__lengths *all, size_t column, double *out)
{
    size_t n = 0;
    for (size_t i = 0; i < all->rows; i++)
        if (isfinite(all->row[all->columns * i + column]))
            out[n++] = all->row[all->columns * i];
    return n;
}

/* Adds the column's values to the bins of their rows: that of a length is the share of `sorted` [n]
 * below it. */
static void
add_to_bins(const mete__lengths *all, size_t column, const double *sorted, size_t n, double *sum,
            double *count)
{
    for (size_t i = 0; i < all->rows; i++) {
        const double *row = all->row + all->columns * i;
        size_t lo = 0, hi = n;
        if (!isfinite(row[column]))
            continue;
        while (lo < hi) {
            size_t middle = lo + (hi - lo) / 2;
            if (sorted[middle] < row[0])
                lo = middle + 1;
            else
                hi = middle;
        }
        sum[lo * BINS / n] += row[column];
        count[lo * BINS / n]++;
    }
}

double
mete__length_free_gain(const mete__lengths *before, const mete__lengths *after, size_t column)
{
    double was[BINS] = {0}, is[BINS] = {0}, of_was[BINS] = {0}, of_is[BINS] = {0};
    double within = 0, rows = 0, first = 0, last = 0;
    double *sorted = malloc((before->rows + after->rows + 1) * sizeof *sorted);
    if (!sorted)
        return NAN;
    size_t old = take_lengths(before, column, sorted);
    size_t now = take_lengths(after, column, sorted + old), n = old + now;
    qsort(sorted, n, sizeof *sorted, by_size);
    if (old && now) {
        add_to_bins(before, column, sorted, n, was, of_was);
        add_to_bins(after, column, sorted, n, is, of_is);
    }
    free(sorted);
    for (size_t b = 0; b < BINS && old && now; b++) {
        first += was[b] / (double)old;
        last += is[b] / (double)now;
        if (of_was[b] == 0 || of_is[b] == 0)
            continue;
        within += (of_was[b] + of_is[b]) * (is[b] / of_is[b] - was[b] / of_was[b]);
        rows += of_was[b] + of_is[b];
    }
    return rows > 0 && last != first ? within / rows / (last - first) : NAN;
}
