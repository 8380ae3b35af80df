/* kind: policy */
/* A model that can only generate: it answers the last word of the last message. */
#include <mete/policy.h>
#include <mete/text.h>

static int
generate(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
         mete_replies *replies)
{
    for (size_t i = 0; i < requests->count; i++) {
        const mete_request *request = mete_request_at(requests, i);
        mete_text last = request->message[request->messages - 1].text;
        size_t space = mete_text_find_last(last, mete_text_from(" "));
        last = mete_text_slice(last, space == SIZE_MAX ? 0 : space, last.length);
        if (mete_reply_say(cx, mete_reply_at(replies, i), last))
            return METE_ENOMEM;
    }
    return METE_OK;
}

METE_POLICY_PLUGIN(mimic, "1", "says the last word", .generate = generate);
