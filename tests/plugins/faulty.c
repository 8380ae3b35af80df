/* kind: reward */
/* Scores a response by its length, and does to its process whatever the response says. A counter
 * that `update` raises is added, as what a process of its own must know of too. */
#include <mete/reward.h>
#include <mete/text.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct faulty {
    const char *opening;  /* what to do at open */
    const char *learning; /* what to do in the update of the second iteration */
    int count;
};

static const mete_option options[] = {
    METE_STRING(struct faulty, opening, "", 0, "what happens at open"),
    METE_STRING(struct faulty, learning, "", 0, "what happens in the update of iteration 1"),
    METE_OPTIONS_END};

static volatile unsigned sink; /* counts for as long as it takes */

static int
deeper(int n)
{
    volatile char block[4096];
    block[n % 4096] = 1;
    return n < 0 ? 0 : deeper(n + 1) + block[0];
}

static void
forever(void)
{
    for (;;)
        sink++;
}

static void
misbehave(mete_ctx *cx, size_t row, mete_text what, mete_scores *out)
{
    if (mete_text_is(what, "crash"))
        raise(SIGSEGV);
    if (mete_text_is(what, "abort"))
        abort();
    if (mete_text_is(what, "deep"))
        sink = (unsigned)deeper(0);
    if (mete_text_is(what, "exit"))
        exit(7);
    if (mete_text_is(what, "hang")) {
        signal(SIGTERM, SIG_IGN);
        forever();
    }
    if (mete_text_is(what, "past"))
        for (volatile size_t i = 0; i < 4; i++)
            out->episode[row + 1 + i] = 1; /* the last row of its call */
    if (mete_text_is(what, "fork") && fork() == 0)
        forever();
    if (mete_text_is(what, "print"))
        puts("I was here");
    if (mete_text_is(what, "chatter"))
        for (int i = 0; i < 500000; i++)
            puts("and on and on");
    if (mete_text_is(what, "fail"))
        mete_row_fail(cx, row, METE_FAILED, "of its own accord");
}

static int
open_(mete_ctx *cx, void *self)
{
    const struct faulty *p = self;
    misbehave(cx, 0, mete_text_from(p->opening), NULL);
    mete_signal(cx, "twice", METE_EPISODE, METE_ROLE_INFO, 0, 1e6, "twice the length");
    return METE_OK;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct faulty *p = self;
    double *twice = mete_out(out, 0);
    for (size_t i = 0; i < batch->episodes; i++) {
        out->episode[i] =
            (double)batch->response[i].length + p->count + (double)mete_iteration(cx) / 1024;
        twice[i] = 2 * (double)batch->response[i].length;
    }
    for (size_t i = 0; i < batch->episodes; i++)
        misbehave(cx, i, batch->response[i], out);
    return METE_OK;
}

static int
update(mete_ctx *cx, void *self, const mete_batch *batch, const mete_scores *scores)
{
    struct faulty *p = self;
    (void)batch;
    (void)scores;
    if (mete_iteration(cx) == 1)
        misbehave(cx, 0, mete_text_from(p->learning), NULL);
    p->count++;
    return METE_OK;
}

METE_REWARD_PLUGIN(faulty, "1", "does what the response says", .options = options, .open = open_,
                   .state_size = sizeof(struct faulty), .score = score, .update = update);
