/* together.c - several draws of one question asked for in one request (`n`).
 *
 * The first of them carries the rest: its body asks for so many answers, and each answer becomes a
 * body of its own with its share of the tokens, which is read and kept as if it had come alone. Not
 * every endpoint knows `n`. Draws that get no answer of such a request, for it was refused or had
 * fewer, are asked one by one; once an endpoint is known to be of that kind, at once.
 */
#include "openai.h"

#include <stdio.h>

int
together_most(const struct openai *p)
{
    pthread_mutex_lock(&p->shared->lock);
    int most = p->shared->alone ? 1 : (int)p->n;
    pthread_mutex_unlock(&p->shared->lock);
    return most;
}

static void
ask_alone(mete_ctx *cx, const struct openai *p, const char *why)
{
    pthread_mutex_lock(&p->shared->lock);
    int first = !p->shared->alone;
    p->shared->alone = 1;
    pthread_mutex_unlock(&p->shared->lock);
    if (first)
        mete_log(cx, 1, "%s: answers are asked for one by one from now on", why);
}

/* ---- before: who rides with whom ------------------------------------------------------------- */

static mete_text
question(const struct job *job)
{
    return (mete_text){job->http.body.data, job->canon};
}

/* The job that the question's next draw rides with, or NULL; *at is where a new one goes. */
static struct job *
carrier(struct job **slot, size_t slots, const struct job *job, size_t *at)
{
    for (*at = job->question & (slots - 1); slot[*at]; *at = (*at + 1) & (slots - 1))
        if (slot[*at]->question == job->question &&
            mete_text_equal(question(slot[*at]), question(job)))
            return slot[*at];
    return NULL;
}

int
together_plan(mete_ctx *cx, const struct openai *p, struct job *job, size_t jobs, int most,
              struct http_job **sent, size_t *count)
{
    size_t slots = 16, at;
    while (slots < 2 * jobs)
        slots *= 2;
    struct job **slot = mete_arena(cx, slots * sizeof *slot);
    if (!slot)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu requests", jobs);
    for (size_t i = 0; i < jobs; i++) {
        struct job *one = &job[i], *lead;
        if (one->http.state != JOB_WAITS)
            continue;
        one->with = NULL;
        one->carries = 1;
        if (most > 1 && one->drawn) {
            lead = carrier(slot, slots, one, &at);
            if (lead && lead->carries < most) {
                one->with = lead->with;
                lead->with = one;
                lead->carries++;
                lead->http.estimate += one->http.estimate - (double)one->http.body.length / 4;
                continue;
            }
            slot[at] = one;
        }
        sent[(*count)++] = &one->http;
    }
    int status = METE_OK;
    for (size_t i = 0; i < *count && !status; i++) {
        struct job *lead = job_of(sent[i]);
        if (lead->carries > 1)
            status = body_seal(cx, p, lead, lead->carries);
    }
    return status;
}

/* ---- an answer to many ----------------------------------------------------------------------- */

/* One answer as a body of its own. The prompt is paid for once, and the endpoint says of the
 * answers only how long they are together: they share that alike, the first has what is over. */
static int
put_share(mete_buffer *out, const mete_json *choice, size_t k, size_t count, uint64_t prompt,
          uint64_t answer)
{
    uint64_t share = answer / count + (k ? 0 : answer % count);
    mete_buffer_clear(out);
    mete_buffer_string(out, "{\"choices\":[");
    mete_json_put(out, choice);
    mete_buffer_format(out, "],\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu}}",
                       (unsigned long long)(k ? 0 : prompt), (unsigned long long)share);
    return out->status;
}

/* Each choice goes to one of those that ride along, to the carrier first. */
static int
share_out(mete_ctx *cx, const struct openai *p, struct job *lead, const struct answers *got,
          char *why, size_t size)
{
    const mete_json *choice = mete_json_first(got->choices);
    struct job *one = lead;
    for (size_t k = 0; k < got->count; k++, choice = mete_json_next(choice), one = one->with) {
        if (put_share(&one->http.answer, choice, k, got->count, got->prompt_tokens,
                      got->answer_tokens))
            return METE_ENOMEM;
        int status = job_take(cx, p, one, why, size); /* one that is none is asked for alone */
        if (status == METE_ENOMEM)
            return status;
    }
    lead->http.used = (double)(got->prompt_tokens + got->answer_tokens);
    return METE_OK;
}

int
together_take(mete_ctx *cx, const struct openai *p, struct job *lead, char *why, size_t size)
{
    struct answers got;
    int status = answers_open(p, mete_buffer_view(&lead->http.answer), (size_t)lead->carries, &got,
                              why, size);
    if (!status && got.count < (size_t)lead->carries)
        ask_alone(cx, p, "the endpoint gives fewer answers than `n` asks for");
    if (!status)
        status = share_out(cx, p, lead, &got, why, size);
    mete_json_free(got.root);
    return status;
}

/* ---- after: what has no answer yet ----------------------------------------------------------- */

/* Was the request refused in a way that asking for one answer may mend? */
static int
is_refused(const struct job *lead)
{
    long code = lead->http.code;
    return lead->http.status != METE_VALID && (code == 400 || code == 422 || code == 501);
}

/* What became of the request, for one that it asked for: an answer, the failure of all, or another
 * try alone. */
static int
settle(mete_ctx *cx, const struct openai *p, const struct job *lead, struct job *one, int refused)
{
    int done = one->answered || (lead->http.status != METE_VALID && !refused);
    one->http.seconds = lead->http.seconds;
    one->http.status = one->answered ? METE_VALID : (int)lead->http.status;
    if (one != lead)
        snprintf(one->http.reason, sizeof one->http.reason, "%s", lead->http.reason);
    one->http.state = done ? JOB_DONE : JOB_WAITS;
    one->http.attempts = one->http.malformed = 0;
    one->refused = refused;
    return done ? METE_OK : body_seal(cx, p, one, 1);
}

int
together_settle(mete_ctx *cx, const struct openai *p, struct job *job, size_t jobs)
{
    int status = METE_OK;
    for (size_t i = 0; i < jobs && !status; i++) {
        struct job *lead = &job[i];
        int refused = is_refused(lead);
        if (lead->carries < 2)
            continue;
        for (struct job *one = lead->with; one && !status; one = one->with)
            status = settle(cx, p, lead, one, refused);
        if (!status)
            status = settle(cx, p, lead, lead, refused);
    }
    return status;
}

void
together_learn(mete_ctx *cx, const struct openai *p, const struct job *job, size_t jobs)
{
    for (size_t i = 0; i < jobs; i++)
        if (job[i].refused && job[i].answered) {
            ask_alone(cx, p, "the endpoint refuses `n` and takes the same question without it");
            return;
        }
}
