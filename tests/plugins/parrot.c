/* kind: policy */
/* A model for the tests of text services: answers what it was told last, weighs an answer by its
 * length, and breaks the contract when asked to. */
#include <math.h>
#include <mete/policy.h>
#include <mete/text.h>

enum { HONEST, FORGETS, LOUD, SPANS };

struct parrot {
    int mode;
};

static const mete_option options[] = {
    METE_ENUM(struct parrot, mode, HONEST, "honest|forgets|loud|spans", "what it gets wrong"),
    METE_OPTIONS_END};

static int
generate(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
         mete_replies *replies)
{
    const struct parrot *p = self;
    static const mete_token loud = {.logp = NAN}, wide = {.logp = -1, .end = 1000};
    for (size_t i = 0; i < requests->count; i++) {
        const mete_request *request = mete_request_at(requests, i);
        mete_reply *reply = mete_reply_at(replies, i);
        mete_text last = request->message[request->messages - 1].text;
        if (p->mode == FORGETS && i % 2)
            continue;
        if (mete_text_is(last, "fail")) {
            mete_reply_fail(cx, reply, METE_TIMED_OUT, "took %d s", 9);
            continue;
        }
        if (mete_reply_say(cx, reply, last))
            return METE_ENOMEM;
        if (p->mode == LOUD || p->mode == SPANS) {
            reply->token = p->mode == LOUD ? &loud : &wide;
            reply->tokens = 1;
        }
    }
    return METE_OK;
}

static int
logprob(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
        mete_replies *replies)
{
    for (size_t i = 0; i < requests->count; i++) {
        mete_reply *reply = mete_reply_at(replies, i);
        mete_text given = mete_request_at(requests, i)->given;
        if (mete_reply_say(cx, reply, given))
            return METE_ENOMEM;
        reply->logp = -0.5 * (double)given.length;
    }
    return METE_OK;
}

METE_POLICY_PLUGIN(parrot, "1", "says what it was told", .options = options,
                   .state_size = sizeof(struct parrot), .generate = generate, .logprob = logprob);
