/* kind: reward */
/* Asks a model whether a response is good: the chance of "yes" among yes and no, or, with a schema,
 * whether the verdict of its answer is yes. */
#include <mete/model.h>
#include <mete/reward.h>
#include <mete/text.h>

struct asks {
    mete_node *judge;
    const char *schema;
};

static const mete_option options[] = {
    METE_MODEL(struct asks, judge, "judge", METE_REQUIRED, "the model asked"),
    METE_STRING(struct asks, schema, NULL, 0, "of the answer, which has a verdict"),
    METE_OPTIONS_END};

static double
verdict(mete_text text)
{
    mete_json *answer = mete_json_parse(text, NULL);
    int yes = mete_text_is(mete_json_text(mete_json_get(answer, "verdict")), "yes");
    mete_json_free(answer);
    return yes;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct asks *p = self;
    static const mete_text option[] = {{"yes", 3}, {"no", 2}};
    size_t rows = batch->episodes;
    mete_request *request = mete_arena(cx, rows * sizeof *request);
    mete_message *message = mete_arena(cx, rows * sizeof *message);
    if (!request || !message)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < rows; i++) {
        message[i] = (mete_message){METE_USER, 0, batch->response[i]};
        request[i] = (mete_request){.size = sizeof *request,
                                    .messages = 1,
                                    .message = &message[i],
                                    .option = option,
                                    .options = 2,
                                    .max_tokens = p->schema ? 60 : 0,
                                    .schema = mete_text_from(p->schema)};
    }
    const mete_replies *got = p->schema ? mete_generate(cx, p->judge, request, rows)
                                        : mete_choose(cx, p->judge, request, rows);
    if (!got)
        return METE_EIO;
    for (size_t i = 0; i < rows; i++) {
        const mete_reply *reply = mete_reply_at(got, i);
        if (reply->status == METE_VALID)
            out->episode[i] = p->schema ? verdict(reply->text) : reply->chance[0];
        else
            mete_row_fail(cx, i, (int)reply->status, "%.*s", (int)reply->reason.length,
                          reply->reason.data);
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(asks, "1", "asks a model", .options = options, .flags = METE_WAITS,
                   .state_size = sizeof(struct asks), .score = score);
