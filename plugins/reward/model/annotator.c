/* annotator - labels as people give them: what is right, what they like beside it, and noise.
 *
 * The utility of a response is the sum of weight x value of the children: gold, and whatever else
 * this annotator is moved by (length, marks, flattery). What the annotator perceives is the utility
 * with noise of its own for each response,
 *
 *   v = utility + temperature g,   g ~ Gumbel(0, 1),
 *
 * which is the node's value. Responses that are compared by it are so labelled by Bradley and
 * Terry's model, P(a over b) = sigma((utility a - utility b) / temperature), and more of them are
 * ranked by Plackett and Luce's (Yellott 1977). `compare` gives the label of a pair: 1, 0, or 1/2
 * within `tie`, which is Rao and Kupper's model (1967); turned round with probability `flip`; with
 * several `annotators`, each with noise of its own, the mean of their labels. The signal `rating`
 * is what one response is rated, from 0 to levels - 1, by a rater whose standard is shifted for
 * each prompt.
 */
#include <math.h>
#include <mete/reward.h>

struct annotator {
    int64_t annotators, levels;
    double temperature, flip, tie, low, high, standard;
    int rating;
};

static const mete_option options[] = {
    METE_REAL(struct annotator, temperature, 1, 0, 1e6,
              "scale of the noise of a response's utility; 0: none"),
    METE_REAL(struct annotator, flip, 0, 0, 0.5, "chance that the label of a pair is turned round"),
    METE_REAL(struct annotator, tie, 0, 0, 1e6,
              "difference of perceived utilities up to which a pair is a tie"),
    METE_INT(struct annotator, annotators, 1, 1, 1000, "people whose labels are averaged"),
    METE_INT(struct annotator, levels, 5, 2, 1000, "levels of the signal `rating`"),
    METE_REAL(struct annotator, low, 0, -1e6, 1e6, "perceived utility of the lowest rating"),
    METE_REAL(struct annotator, high, 1, -1e6, 1e6, "perceived utility of the highest rating"),
    METE_REAL(struct annotator, standard, 0, 0, 1e6,
              "standard deviation, over prompts, of what a rating's standard is shifted by"),
    METE_OPTIONS_END};

enum { OF_NOISE = 0, OF_FLIPS = 0x40000000, OF_STANDARD = 0x50000000 }; /* streams' steps */

static int
open_annotator(mete_ctx *cx, void *self)
{
    struct annotator *p = self;
    if (p->low >= p->high)
        return mete_fail(cx, METE_EINVAL, "low (%g) must be below high (%g)", p->low, p->high);
    p->rating = mete_signal(cx, "rating", METE_EPISODE, METE_ROLE_LABEL, 0, (double)p->levels - 1,
                            "rating of the response");
    return p->rating < 0 ? p->rating : METE_OK;
}

/* What person k perceives of a response of this utility. */
static double
perceived(const mete_ctx *cx, const struct annotator *p, uint64_t id, int64_t k, double utility)
{
    mete_rng rng = mete_random(cx, id, OF_NOISE + (uint32_t)k);
    double u = mete_rng_uniform(&rng) + 0x1p-54; /* never 0 */
    return p->temperature > 0 ? utility - p->temperature * log(-log(u)) : utility;
}

static double
rate(const mete_ctx *cx, const struct annotator *p, uint64_t prompt, double value)
{
    mete_rng rng = mete_random(cx, prompt, OF_STANDARD);
    double shifted = value + p->standard * mete_rng_normal(&rng);
    double level = (shifted - p->low) / (p->high - p->low) * (double)(p->levels - 1);
    return fmax(0, fmin((double)(p->levels - 1), nearbyint(level)));
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct annotator *p = self;
    double *rating = mete_out(out, p->rating);
    for (size_t i = 0; i < batch->episodes; i++) {
        double utility = 0, sum = 0;
        for (size_t c = 0; c < mete_child_count(cx); c++) {
            const mete_scores *child = mete_child(cx, c);
            if (child->status[i] && !out->status[i])
                mete_row_fail(cx, i, child->status[i], "'%s' has no value", mete_child_name(cx, c));
            utility += mete_child_weight(cx, c) * child->episode[i];
        }
        for (int64_t k = 0; k < p->annotators; k++)
            sum += perceived(cx, p, batch->id[i], k, utility);
        out->episode[i] = sum / (double)p->annotators;
        rating[i] = rate(cx, p, batch->prompt_id[i], out->episode[i]);
    }
    return METE_OK;
}

/* Utilities of the rows; NaN where a child has no value. */
static int
utilities(mete_ctx *cx, const mete_batch *batch, double *utility)
{
    for (size_t c = 0; c < mete_child_count(cx); c++) {
        const mete_scores *child = mete_evaluate(cx, mete_child_node(cx, c), batch);
        if (!child)
            return METE_EPLUGIN;
        for (size_t i = 0; i < batch->episodes; i++)
            utility[i] += child->status[i] ? NAN : mete_child_weight(cx, c) * child->episode[i];
    }
    return METE_OK;
}

/* The stream of a pair, the same whichever of the two comes first. */
static mete_rng
flips_of(const mete_ctx *cx, uint64_t a, uint64_t b, int64_t k)
{
    uint64_t pair = a < b ? mete_hash_mix(a, b) : mete_hash_mix(b, a);
    return mete_random(cx, pair, OF_FLIPS + (uint32_t)k);
}

static int
compare(mete_ctx *cx, const void *self, const mete_batch *batch, const uint32_t *a,
        const uint32_t *b, size_t pairs, double *p)
{
    const struct annotator *who = self;
    double *utility = mete_arena(cx, (batch->episodes + 1) * sizeof *utility);
    int status = utility ? utilities(cx, batch, utility)
                         : mete_fail(cx, METE_ENOMEM, "out of memory for utilities");
    for (size_t i = 0; i < pairs && !status; i++) {
        uint64_t first = batch->id[a[i]], second = batch->id[b[i]];
        double sum = 0;
        for (int64_t k = 0; k < who->annotators; k++) {
            double d = perceived(cx, who, first, k, utility[a[i]]) -
                       perceived(cx, who, second, k, utility[b[i]]);
            mete_rng rng = flips_of(cx, first, second, k);
            double label = fabs(d) <= who->tie ? 0.5 : d > 0;
            sum += mete_rng_uniform(&rng) < who->flip ? 1 - label : label;
        }
        p[i] = isnan(utility[a[i]] - utility[b[i]]) ? NAN : sum / (double)who->annotators;
    }
    return status;
}

METE_REWARD_PLUGIN(
    annotator, "1.0", "simulated labels: gold, what is liked beside it, and noise",
    .doc = "With gold = true it sees gold; then its values are in no sum, and a stage\n"
           "{ do = \"fit\"; label = \"annotator\"; ... } teaches a model what it prefers.\n"
           "The value is the perceived utility, noise included; a pair's label may also be a tie,\n"
           "be turned round, or be a mean over people.",
    .reference = "Yellott 1977, J. Math. Psychology 15(2); Rao & Kupper 1967, JASA 62(317)",
    .options = options, .state_size = sizeof(struct annotator),
    .flags = METE_COMBINES | METE_SAMPLES, .open = open_annotator, .score = score,
    .compare = compare);
