/* slime.c - slime's remote_rm: {"prompt","response","label"} in, a number out, or an object for
 * --reward-key.
 */
#include "protocol/protocol.h"

static const char *const own[] = {"prompt", "response", "label"};

int
mete__slime_parse(mete__call *call, mete_error *err)
{
    const mete__field *prompt = mete__body_get(call, own[0]);
    const mete__field *response = mete__body_get(call, own[1]);
    if (!response || response->type != METE_JSON_STRING)
        return mete_error_set(err, METE_EDATA, "\"response\" must be a text");
    int status = mete__call_room(call, 1, call->body.fields + 4, err);
    if (status)
        return status;
    if (prompt)
        mete__given_field(call, 0, call->setting.prompt, prompt);
    mete__given_field(call, 0, call->setting.response, response);
    status = mete__given_label(call, 0, "label", mete__body_get(call, own[2]), err);
    mete__given_rest(call, 0, own, 3);
    return status;
}

int
mete__slime_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                   mete_error *err)
{
    double value;
    int status = mete__scored_number(call, scored, 0, &value, err);
    return status ? status : mete__put_score(out, value);
}

int
mete__slime_answer_object(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                          mete_error *err)
{
    mete_buffer_string(out, "{\"reward\":");
    int status = mete__slime_answer(call, scored, out, err);
    for (size_t n = 0; !status && n < mete__scored_nodes(scored); n++) {
        double value;
        mete_buffer_string(out, n ? "," : ",\"components\":{");
        mete__scored_node(scored, n, 0, &value);
        mete_json_put_text(out, mete_text_from(mete__scored_name(scored, n)));
        mete_buffer_byte(out, ':');
        mete__put_score(out, value);
    }
    mete_buffer_string(out, mete__scored_nodes(scored) ? "}," : ",");
    mete__put_version(scored, out);
    mete_buffer_byte(out, '}');
    return status ? status : out->status;
}
