/* gym.c - NeMo-Gym's resource server: a row with a response object in, the row with its reward out.
 * A row that could not be judged is masked, and says why; it has no made-up reward that counts.
 */
#include "protocol/protocol.h"

#include "score/messages.h"

static const char *const own[] = {"responses_create_params", "response"};
static const char *const answered[] = {
    "reward", "reward_components", "mask_sample", "_ng_failure_class", "_ng_failure_judge_error",
    "version"};
#define ANSWERED (sizeof answered / sizeof *answered)

static bool
kept(mete__call *call, mete_buffer *text, mete_text key)
{
    mete_text view = mete_buffer_view(text);
    const char *copy = mete__arena_string(call->arena, view.data, view.length);
    if (copy)
        mete__given_text(call, 0, key, (mete_text){copy, view.length});
    mete_buffer_free(text);
    return copy != NULL;
}

/* The texts of all messages of a Responses object's output. */
static bool
read_output(mete_text response, mete_buffer *out)
{
    mete_json *root = mete_json_parse(response, NULL);
    const mete_json *output = mete_json_get(root, "output");
    bool found = false;
    for (const mete_json *item = mete_json_first(output); item; item = mete_json_next(item)) {
        const mete_json *content = mete_json_get(item, "content");
        mete_text type = mete_json_text(mete_json_get(item, "type"));
        if (type.length && !mete_text_equal(type, mete_text_from("message")))
            continue;
        found = true;
        mete_buffer_text(out, mete_json_text(content));
        for (const mete_json *part =
                 mete_json_kind(content) == METE_JSON_ARRAY ? mete_json_first(content) : NULL;
             part; part = mete_json_next(part))
            mete_buffer_text(out, mete_json_text(mete_json_get(part, "text")));
    }
    mete_json_free(root);
    return found;
}

static bool
read_input(mete_text params, mete_buffer *out)
{
    mete_json *root = mete_json_parse(params, NULL);
    const mete_json *input = mete_json_get(root, "input");
    mete_buffer json = {0};
    bool found = true;
    if (mete_json_kind(input) == METE_JSON_ARRAY) {
        mete_json_put(&json, input);
        found = mete__messages_prompt(mete_buffer_view(&json), SIZE_MAX, out);
    } else {
        mete_buffer_text(out, mete_json_text(input));
    }
    mete_buffer_free(&json);
    mete_json_free(root);
    return found;
}

int
mete__gym_parse(mete__call *call, mete_error *err)
{
    const mete__field *params = mete__body_get(call, own[0]);
    const mete__field *response = mete__body_get(call, own[1]);
    mete_buffer prompt = {0}, answer = {0};
    if (params && params->type != METE_JSON_OBJECT)
        return mete_error_set(err, METE_EDATA, "\"%s\" must be an object", own[0]);
    if (!response || response->type != METE_JSON_OBJECT || !read_output(response->text, &answer)) {
        mete_buffer_free(&answer);
        return mete_error_set(err, METE_EDATA,
                              "\"response\" must be an object whose \"output\" has a message");
    }
    int status = mete__call_room(call, 1, call->body.fields + 4, err);
    if (!status && params && !read_input(params->text, &prompt))
        status = mete_error_set(err, METE_EDATA, "the input of \"%s\" must be a text or messages",
                                own[0]);
    if (!status) {
        bool good = kept(call, &prompt, call->setting.prompt);
        good &= kept(call, &answer, call->setting.response);
        status = good ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    mete_buffer_free(&prompt);
    mete_buffer_free(&answer);
    if (status)
        return status;
    mete__given_rest(call, 0, own, 2);
    static const char *const truths[] = {"ground_truth", "expected_answer", "label", "answer"};
    const mete__field *truth = mete__body_any(call, truths, sizeof truths / sizeof *truths);
    return mete__given_label(call, 0, "label", truth, err);
}

/* The request's members but those the answer has. */
static void
put_request(const mete__call *call, mete_buffer *out)
{
    for (size_t i = 0; i < call->body.fields; i++) {
        const mete__field *field = &call->body.field[i];
        bool ours = false;
        for (size_t n = 0; n < ANSWERED; n++)
            ours |= mete_text_equal(field->key, mete_text_from(answered[n]));
        if (ours)
            continue;
        mete_json_put_text(out, field->key);
        mete_buffer_byte(out, ':');
        if (field->type == METE_JSON_STRING)
            mete_json_put_text(out, field->text);
        else
            mete_buffer_text(out, field->text);
        mete_buffer_byte(out, ',');
    }
}

int
mete__gym_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                 mete_error *err)
{
    (void)err;
    double value;
    const char *reason;
    bool any = false;
    uint8_t status = mete__scored_value(scored, 0, &value, &reason);
    mete_buffer_byte(out, '{');
    put_request(call, out);
    mete_buffer_string(out, "\"reward\":");
    mete__put_score(out, status == METE_VALID ? value : 0);
    mete_buffer_string(out, ",\"reward_components\":{");
    for (size_t n = 0; n < mete__scored_nodes(scored); n++) {
        if (mete__scored_node(scored, n, 0, &value) != METE_VALID)
            continue;
        if (any)
            mete_buffer_byte(out, ',');
        any = true;
        mete_json_put_text(out, mete_text_from(mete__scored_name(scored, n)));
        mete_buffer_byte(out, ':');
        mete__put_score(out, value);
    }
    mete_buffer_string(out, "},");
    if (status != METE_VALID) {
        mete_buffer_format(out, "\"mask_sample\":true,\"_ng_failure_class\":\"%s\",",
                           mete__status_name(status));
        mete_buffer_string(out, "\"_ng_failure_judge_error\":");
        mete_json_put_text(out, mete_text_from(reason));
        mete_buffer_byte(out, ',');
    }
    mete__put_version(scored, out);
    mete_buffer_byte(out, '}');
    return out->status;
}

int
mete__gym_seed_parse(mete__call *call, mete_error *err)
{
    (void)call, (void)err;
    return METE_OK;
}

int
mete__gym_seed_answer(const mete__call *call, const mete__scored *scored, mete_buffer *out,
                      mete_error *err)
{
    (void)call, (void)err;
    mete_buffer_byte(out, '{');
    mete__put_version(scored, out);
    mete_buffer_byte(out, '}');
    return out->status;
}
