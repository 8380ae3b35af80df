/* evaluation.c - eval-protocol's /reward and /evaluate: a dialogue and its ground truth in; a
 * score, whether it is one, and a metric a node out.
 */
#include "protocol/protocol.h"

#include "score/messages.h"

static const char *const own[] = {"messages", "ground_truth", "kwargs"};

/* The texts of the dialogue: its last answer, and what was said before. */
static int
read_messages(mete__call *call, mete_text messages, mete_error *err)
{
    mete_buffer prompt = {0}, answer = {0};
    size_t before = mete__messages_before(messages);
    bool good = mete__messages_answer(messages, &answer);
    if (good && before)
        good = mete__messages_prompt(messages, before, &prompt);
    const char *p = mete__arena_string(call->arena, mete_buffer_view(&prompt).data, prompt.length);
    const char *a = mete__arena_string(call->arena, mete_buffer_view(&answer).data, answer.length);
    if (good && p && a) {
        mete__given_text(call, 0, call->setting.prompt, (mete_text){p, prompt.length});
        mete__given_text(call, 0, call->setting.response, (mete_text){a, answer.length});
    }
    mete_buffer_free(&prompt);
    mete_buffer_free(&answer);
    if (!good)
        return mete_error_set(err, METE_EDATA,
                              "\"messages\" must be a list of {\"role\",\"content\"} with one by "
                              "the assistant");
    return p && a ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
}

int
mete__evaluation_parse(mete__call *call, mete_error *err)
{
    const mete__field *messages = mete__body_get(call, own[0]);
    const mete__field *kwargs = mete__body_get(call, own[2]);
    if (!messages || messages->type != METE_JSON_ARRAY)
        return mete_error_set(err, METE_EDATA, "\"messages\" must be a list");
    if (kwargs && kwargs->type != METE_JSON_OBJECT)
        return mete_error_set(err, METE_EDATA, "\"kwargs\" must be an object");
    int status = mete__call_room(call, 1, call->body.fields + 4, err);
    if (!status)
        status = read_messages(call, messages->text, err);
    const mete__field *truth = mete__body_get(call, own[1]);
    if (!status && truth && truth->type == METE_JSON_ARRAY) { /* messages: the answer in them */
        mete_buffer said = {0};
        mete__field field = *truth;
        if (mete__messages_answer(truth->text, &said)) {
            field.type = METE_JSON_STRING;
            field.text.data =
                mete__arena_string(call->arena, mete_buffer_view(&said).data, said.length);
            field.text.length = said.length;
        }
        mete_buffer_free(&said);
        status = field.text.data ? mete__given_label(call, 0, own[1], &field, err)
                                 : mete_error_set(err, METE_ENOMEM, "out of memory");
    } else if (!status) {
        status = mete__given_label(call, 0, own[1], truth, err);
    }
    if (!status && kwargs)
        status = mete__given_members(call, 0, kwargs->text, err);
    if (!status)
        mete__given_rest(call, 0, own, 3);
    return status;
}

/* "score":..,"is_score_valid":..,"reason":"..": within 0 and 1 where the protocol's metrics are. */
static void
put_metric(mete_buffer *out, uint8_t status, double value, const char *reason, bool clip)
{
    bool valid = status == METE_VALID, high = clip && value > 1, low = clip && value < 0;
    mete_buffer_string(out, "\"score\":");
    mete__put_score(out, !valid || low ? 0 : high ? 1 : value);
    mete_buffer_format(out, ",\"is_score_valid\":%s,\"reason\":", valid ? "true" : "false");
    if (valid && (low || high)) {
        mete_buffer_string(out, "\"clipped from ");
        mete__put_score(out, value);
        mete_buffer_byte(out, '"');
    } else {
        mete_json_put_text(out, mete_text_from(valid     ? ""
                                               : *reason ? reason
                                                         : mete__status_name(status)));
    }
}

int
mete__evaluation_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                        mete_error *err)
{
    (void)call, (void)err;
    double value;
    const char *reason;
    uint8_t status = mete__scored_value(scored, 0, &value, &reason);
    mete_buffer_byte(out, '{');
    put_metric(out, status, value, reason, false);
    mete_buffer_string(out, ",\"metrics\":{");
    for (size_t n = 0; n < mete__scored_nodes(scored); n++) {
        uint8_t own_status = mete__scored_node(scored, n, 0, &value);
        if (n)
            mete_buffer_byte(out, ',');
        mete_json_put_text(out, mete_text_from(mete__scored_name(scored, n)));
        mete_buffer_string(out, ":{");
        put_metric(out, own_status, value, "", true);
        mete_buffer_byte(out, '}');
    }
    mete_buffer_string(out, "},\"step_outputs\":null,\"error\":");
    if (status == METE_VALID)
        mete_buffer_string(out, "null");
    else
        mete_json_put_text(out, mete_text_from(*reason ? reason : mete__status_name(status)));
    mete_buffer_byte(out, ',');
    mete__put_version(scored, out);
    mete_buffer_byte(out, '}');
    return out->status;
}
