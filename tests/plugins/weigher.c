/* kind: policy */
/* A model for the tests of what is made of log-probabilities: every word it is given is as likely as
 * the number that begins the prompt says. */
#include <math.h>
#include <mete/policy.h>
#include <mete/text.h>
#include <string.h>

enum { MOST = 64 };

struct weigher {
    int64_t nothing;
};

static const mete_option options[] = {METE_INT(struct weigher, nothing, 0, 0, 1, "has no options"),
                                      METE_OPTIONS_END};

static int
weigh(mete_ctx *cx, mete_text given, double chance, mete_reply *reply)
{
    mete_token *token = mete_arena(cx, MOST * sizeof *token);
    if (!token || mete_reply_say(cx, reply, given))
        return METE_ENOMEM;
    for (size_t at = 0, end; at < given.length && reply->tokens < MOST; at = end) {
        for (end = at + 1; end < given.length && given.data[end] != ' ';)
            end++;
        token[reply->tokens++] =
            (mete_token){-1, (float)log(chance), 0, (uint32_t)at, (uint32_t)end};
    }
    reply->logp = (double)reply->tokens * log(chance);
    reply->token = token;
    return METE_OK;
}

static int
logprob(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
        mete_replies *replies)
{
    (void)self;
    (void)params;
    for (size_t i = 0; i < requests->count; i++) {
        const mete_request *request = mete_request_at(requests, i);
        mete_text last = request->message[request->messages - 1].text;
        const char *space = memchr(last.data, ' ', last.length);
        double chance = .5;
        mete_number_parse((mete_text){last.data, space ? (size_t)(space - last.data) : last.length},
                          0, &chance);
        if (weigh(cx, request->given, chance, mete_reply_at(replies, i)))
            return METE_ENOMEM;
    }
    return METE_OK;
}

static int
generate(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
         mete_replies *replies)
{
    (void)self;
    (void)params;
    for (size_t i = 0; i < requests->count; i++)
        mete_reply_fail(cx, mete_reply_at(replies, i), METE_FAILED, "only weighs");
    return METE_OK;
}

METE_POLICY_PLUGIN(weigher, "1", "words as likely as the prompt says", .options = options,
                   .state_size = sizeof(struct weigher), .generate = generate, .logprob = logprob);
