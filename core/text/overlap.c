/* overlap.c - how much two texts share: token F1, BLEU, LCS and ROUGE-L, edit distance.
 *
 * BLEU: Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation",
 * section 2; smoothing: Lin and Och 2004, "ORANGE", BLEU+1. ROUGE-L: Lin 2004, "ROUGE: a package
 * for automatic evaluation of summaries", equations 2 to 4. Texts are arrays of word hashes; n-gram
 * counts are runs of equal hashes in sorted arrays, so nothing is allocated.
 */
#include <math.h>

#include <mete/text.h>

/* Multiset intersection of two sorted arrays. */
static size_t
common_sorted(const uint64_t *a, size_t n, const uint64_t *b, size_t m)
{
    size_t i = 0, j = 0, common = 0;
    while (i < n && j < m) {
        if (a[i] == b[j]) {
            common++;
            i++;
            j++;
        } else if (a[i] < b[j]) {
            i++;
        } else {
            j++;
        }
    }
    return common;
}

static void
copy_hashes(uint64_t *to, const uint64_t *from, size_t count)
{
    if (count)
        memcpy(to, from, count * sizeof *to);
}

mete_overlap
mete_overlap_words(const uint64_t *candidate, size_t candidates, const uint64_t *reference,
                   size_t references, uint64_t *scratch)
{
    mete_overlap overlap = {0, candidates, references, 0, 0, 0};
    uint64_t *sorted = scratch + candidates;
    if (candidates == 0 && references == 0) {
        overlap.precision = overlap.recall = overlap.f1 = 1;
        return overlap;
    }
    copy_hashes(scratch, candidate, candidates);
    copy_hashes(sorted, reference, references);
    mete_hashes_sort(scratch, candidates);
    mete_hashes_sort(sorted, references);
    overlap.common = common_sorted(scratch, candidates, sorted, references);
    if (overlap.common == 0)
        return overlap;
    overlap.precision = (double)overlap.common / (double)candidates;
    overlap.recall = (double)overlap.common / (double)references;
    overlap.f1 = 2 * overlap.precision * overlap.recall / (overlap.precision + overlap.recall);
    return overlap;
}

/* ---- BLEU ------------------------------------------------------------------------------------ */

size_t
mete_bleu_scratch(size_t candidates, size_t longest_reference)
{
    return 2 * candidates + longest_reference;
}

/* Raises best[i], for the first of each run of equal n-grams in `mine`, to how often the reference
 * has it, at most as often as the candidate does. */
static void
clip_counts(const uint64_t *mine, size_t n, const uint64_t *theirs, size_t m, uint64_t *best)
{
    size_t j = 0;
    for (size_t i = 0, end; i < n; i = end) {
        size_t shared = 0;
        for (end = i + 1; end < n && mine[end] == mine[i];)
            end++;
        while (j < m && theirs[j] < mine[i])
            j++;
        for (; j < m && theirs[j] == mine[i]; j++)
            shared++;
        shared = shared > end - i ? end - i : shared;
        best[i] = shared > best[i] ? shared : best[i];
    }
}

/* Is length a nearer to the candidate's than b, or as near and shorter? */
static int
is_nearer(size_t candidate, size_t a, size_t b)
{
    size_t far_a = a > candidate ? a - candidate : candidate - a;
    size_t far_b = b > candidate ? b - candidate : candidate - b;
    return far_a < far_b || (far_a == far_b && a < b);
}

void
mete_bleu_add(mete_bleu *sum, const uint64_t *candidate, size_t candidates,
              const uint64_t *const *reference, const size_t *reference_length, size_t references,
              uint64_t *scratch)
{
    uint64_t *mine = scratch, *best = mine + candidates, *theirs = best + candidates;
    size_t nearest = references ? reference_length[0] : 0;
    for (size_t r = 1; r < references; r++)
        if (is_nearer(candidates, reference_length[r], nearest))
            nearest = reference_length[r];
    sum->candidate += candidates;
    sum->reference += nearest;

    for (size_t order = 1; order <= METE_BLEU_ORDER; order++) {
        size_t n = mete_ngrams(candidate, candidates, order, mine);
        mete_hashes_sort(mine, n);
        for (size_t i = 0; i < n; i++)
            best[i] = 0;
        for (size_t r = 0; r < references; r++) {
            size_t m = mete_ngrams(reference[r], reference_length[r], order, theirs);
            mete_hashes_sort(theirs, m);
            clip_counts(mine, n, theirs, m, best);
        }
        for (size_t i = 0; i < n; i++)
            sum->match[order - 1] += best[i];
        sum->total[order - 1] += n;
    }
}

double
mete_bleu_score(const mete_bleu *sum, int order, int smooth)
{
    double logs = 0;
    order = order < 1 ? 1 : order > METE_BLEU_ORDER ? METE_BLEU_ORDER : order;
    for (int i = 0; i < order; i++) {
        double more = smooth && i > 0 ? 1 : 0;
        double match = (double)sum->match[i] + more, total = (double)sum->total[i] + more;
        if (match == 0)
            return 0;
        logs += log(match / total);
    }
    double penalty = 0;
    if (sum->candidate < sum->reference)
        penalty = 1 - (double)sum->reference / (double)sum->candidate;
    return exp(penalty + logs / order);
}

/* ---- subsequences ---------------------------------------------------------------------------- */

size_t
mete_lcs(const uint64_t *candidate, size_t candidates, const uint64_t *reference, size_t references,
         uint32_t *scratch)
{
    /* What both begin and end with is in some longest subsequence. */
    size_t same = 0;
    while (candidates && references && candidate[0] == reference[0]) {
        candidate++;
        reference++;
        candidates--;
        references--;
        same++;
    }
    while (candidates && references && candidate[candidates - 1] == reference[references - 1]) {
        candidates--;
        references--;
        same++;
    }
    for (size_t j = 0; j <= references; j++)
        scratch[j] = 0;
    for (size_t i = 0; i < candidates; i++) {
        uint32_t diagonal = 0, left = 0;
        for (size_t j = 0; j < references; j++) {
            uint32_t above = scratch[j + 1];
            uint32_t best = left > above ? left : above;
            if (candidate[i] == reference[j])
                best = diagonal + 1;
            diagonal = above;
            scratch[j + 1] = left = best;
        }
    }
    return same + scratch[references];
}

double
mete_rouge_l(size_t lcs, size_t candidates, size_t references, double beta)
{
    if (lcs == 0 || candidates == 0 || references == 0)
        return 0;
    double recall = (double)lcs / (double)references;
    double precision = (double)lcs / (double)candidates;
    double square = beta * beta;
    return (1 + square) * recall * precision / (recall + square * precision);
}

size_t
mete_edit_distance(const uint64_t *candidate, size_t candidates, const uint64_t *reference,
                   size_t references, uint32_t *scratch)
{
    for (size_t j = 0; j <= references; j++)
        scratch[j] = (uint32_t)j;
    for (size_t i = 0; i < candidates; i++) {
        uint32_t diagonal = (uint32_t)i, left = (uint32_t)i + 1;
        scratch[0] = left;
        for (size_t j = 0; j < references; j++) {
            uint32_t above = scratch[j + 1];
            uint32_t best = diagonal + (candidate[i] != reference[j]);
            best = above + 1 < best ? above + 1 : best;
            best = left + 1 < best ? left + 1 : best;
            diagonal = above;
            scratch[j + 1] = left = best;
        }
    }
    return scratch[references];
}
