/* messages.c - see messages.h. Only prompts and responses that come as messages pay for a tree. */
#include "score/messages.h"

static bool
put_content(const mete_json *content, mete_buffer *out)
{
    switch (mete_json_kind(content)) {
    case METE_JSON_STRING:
        return !mete_buffer_text(out, mete_json_text(content));
    case METE_JSON_NULL:
        return true;
    case METE_JSON_ARRAY:
        for (const mete_json *p = mete_json_first(content); p; p = mete_json_next(p))
            mete_buffer_text(out, mete_json_text(mete_json_get(p, "text")));
        return !out->status;
    default:
        return false;
    }
}

static bool
is_messages(const mete_json *root)
{
    for (const mete_json *m = mete_json_first(root); m; m = mete_json_next(m))
        if (mete_json_kind(m) != METE_JSON_OBJECT || !mete_json_get(m, "content"))
            return false;
    return mete_json_kind(root) == METE_JSON_ARRAY && mete_json_first(root);
}

/* Number of the last message by the assistant; SIZE_MAX: there is none. */
static size_t
last_answer(const mete_json *root)
{
    size_t at = 0, found = SIZE_MAX;
    bool named = false;
    for (const mete_json *m = mete_json_first(root); m; m = mete_json_next(m), at++) {
        mete_text role = mete_json_text(mete_json_get(m, "role"));
        named |= role.length > 0;
        if (mete_text_equal(role, mete_text_from("assistant")))
            found = at;
    }
    return found == SIZE_MAX && !named && at ? at - 1 : found;
}

bool
mete__messages_prompt(mete_text json, size_t most, mete_buffer *out)
{
    mete_json *root = mete_json_parse(json, NULL);
    size_t before = out->length, count = mete_json_count(root), at = 0;
    bool good = is_messages(root);
    count = count < most ? count : most;
    for (const mete_json *m = mete_json_first(root); good && at < count;
         m = mete_json_next(m), at++) {
        if (at)
            mete_buffer_string(out, "\n\n");
        if (count > 1) {
            mete_buffer_text(out, mete_json_text(mete_json_get(m, "role")));
            mete_buffer_string(out, ": ");
        }
        good = put_content(mete_json_get(m, "content"), out);
    }
    mete_json_free(root);
    if (!good)
        out->length = before;
    return good;
}

bool
mete__messages_answer(mete_text json, mete_buffer *out)
{
    mete_json *root = mete_json_parse(json, NULL);
    size_t before = out->length, at = is_messages(root) ? last_answer(root) : SIZE_MAX;
    bool good =
        at != SIZE_MAX && put_content(mete_json_get(mete_json_at(root, at), "content"), out);
    mete_json_free(root);
    if (!good)
        out->length = before;
    return good;
}

size_t
mete__messages_before(mete_text json)
{
    mete_json *root = mete_json_parse(json, NULL);
    size_t at = is_messages(root) ? last_answer(root) : SIZE_MAX;
    mete_json_free(root);
    return at == SIZE_MAX ? 0 : at;
}
