#define _GNU_SOURCE /* memrchr */
/* numeric_answer - 1 when the number a response ends on is the reference's.
 *
 * Where the number is looked for:
 *   last    the last number of the response (of its last `window` bytes when window > 0)
 *   marked  the first number after the last `mark` ("####", "A:"); "\boxed{" closes at its brace
 *   auto    marked when the mark is there, else last
 * Two numbers are equal when they differ by at most `absolute`, or by `relative` of the reference.
 */
#include <math.h>
#include <mete/reward.h>
#include <mete/text.h>
#include <string.h>

enum { LAST, MARKED, AUTO };

struct numeric_answer {
    mete_field reference;
    int from;
    const char *mark;
    int64_t window;
    double absolute, relative;
    int percent, fractions;
    int found; /* signal */
};

static const mete_option options[] = {
    METE_FIELD(struct numeric_answer, reference, "reference", METE_LIST, METE_TEXT, 0,
               "the right answer: a number, or a solution that carries the mark; one or a list"),
    METE_ENUM(struct numeric_answer, from, AUTO, "last|marked|auto", "where the number stands"),
    METE_STRING(struct numeric_answer, mark, "####", 0, "text before the answer"),
    METE_INT(struct numeric_answer, window, 0, 0, 1 << 30,
             "look only at so many last bytes; 0: all"),
    METE_REAL(struct numeric_answer, absolute, 1e-6, 0, 1e12, "absolute tolerance"),
    METE_REAL(struct numeric_answer, relative, 0, 0, 1, "tolerance as a share of the reference"),
    METE_BOOL(struct numeric_answer, percent, 0, "read 12% as 0.12 (else as 12)"),
    METE_BOOL(struct numeric_answer, fractions, 1, "read 3/4 as 0.75"),
    METE_OPTIONS_END};

static int
open_answer(mete_ctx *cx, void *self)
{
    struct numeric_answer *p = self;
    if (p->from != LAST && (!p->mark || !*p->mark))
        return mete_fail(cx, METE_EINVAL, "mark is empty; name one, or set from = \"last\"");
    p->found =
        mete_signal(cx, "found", METE_EPISODE, METE_ROLE_INFO, 0, 1, "1: a number was found");
    return p->found < 0 ? p->found : METE_OK;
}

/* The text after the last `mark`, or data NULL. */
static mete_text
after_mark(mete_text text, const char *mark)
{
    size_t length = strlen(mark);
    for (size_t at = text.length; at >= length;) {
        const char *last = memrchr(text.data, mark[0], at - length + 1);
        if (!last)
            break;
        at = (size_t)(last - text.data);
        if (memcmp(last, mark, length) == 0)
            return (mete_text){last + length, text.length - at - length};
        if (at + length == 0 || at == 0)
            break;
        at += length - 1;
    }
    return (mete_text){NULL, 0};
}

static int
answer_of(const struct numeric_answer *p, mete_text text, double *value)
{
    unsigned forms = METE_NUMBER_THOUSANDS | METE_NUMBER_CURRENCY | METE_NUMBER_EXPONENT |
                     (p->fractions ? METE_NUMBER_FRACTION : 0) |
                     (p->percent ? METE_NUMBER_PERCENT : 0);
    mete_number number;
    int found = 0;
    if (p->window && text.length > (size_t)p->window) {
        size_t from = mete_utf8_floor(text, text.length - (size_t)p->window);
        text = (mete_text){text.data + from, text.length - from};
    }
    mete_text rest =
        p->from == LAST || !text.length ? (mete_text){NULL, 0} : after_mark(text, p->mark);
    if (rest.data) {
        /* what the brace closes is the answer */
        const char *close = p->mark[strlen(p->mark) - 1] == '{' && rest.length
                                ? memchr(rest.data, '}', rest.length)
                                : NULL;
        if (close)
            rest.length = (size_t)(close - rest.data);
        found = mete_number_find(rest, 0, forms, &number);
    } else if (p->from != MARKED && text.length) {
        found = mete_number_last(text, forms, &number);
    }
    if (found)
        *value = number.value;
    return found;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct numeric_answer *p = self;
    double *found = mete_out(out, p->found);
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to read");
    for (size_t i = 0; i < batch->episodes; i++) {
        mete_texts reference = mete_texts_of(batch, &p->reference, i);
        double said, right;
        size_t readable = 0;
        out->episode[i] = 0;
        found[i] = answer_of(p, batch->response[i], &said);
        for (size_t k = 0; k < reference.count; k++) {
            mete_text text = reference.item[k];
            unsigned forms = METE_NUMBER_ALL & (p->percent ? ~0u : ~(unsigned)METE_NUMBER_PERCENT);
            if (!mete_number_parse(text, forms, &right) && !answer_of(p, text, &right))
                continue;
            readable++;
            double far = fabs(said - right);
            if (found[i] && (far <= p->absolute || far <= p->relative * fabs(right)))
                out->episode[i] = 1;
        }
        if (!readable)
            mete_row_fail(cx, i, reference.count ? METE_FAILED : METE_NOT_APPLICABLE,
                          reference.count ? "the reference holds no number" : "no reference");
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(
    numeric_answer, "1.0", "1 when the response's number is the reference's",
    .doc =
        "A response without a number scores 0; a record without a reference is not applicable,\n"
        "and one whose reference holds no number is failed. The mark \\boxed{ ends at its brace.",
    .options = options, .state_size = sizeof(struct numeric_answer), .open = open_answer,
    .score = score);
