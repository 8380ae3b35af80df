/* messages.c - see messages.h. Only prompts and responses that come as messages pay for a tree. */
#include "score/messages.h"

#include <mete/mete.h>
#include <string.h>

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

/* ---- dialogues in one text ------------------------------------------------------------------- */

static mete_text
without_end(mete_text answer)
{
    static const char *const mark[] = {
        "<|im_end|>",    "</s>",  "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>",
        "<end_of_turn>", "<eos>", "<|end|>",    "<pad>",         "<|finetune_right_pad_id|>"};
    for (bool more = true; more;) {
        mete_text trimmed = answer;
        more = false;
        while (trimmed.length && (trimmed.data[trimmed.length - 1] == '\n' ||
                                  trimmed.data[trimmed.length - 1] == ' '))
            trimmed.length--;
        for (size_t i = 0; i < sizeof mark / sizeof *mark && !more; i++) {
            size_t length = strlen(mark[i]);
            if (trimmed.length < length ||
                memcmp(trimmed.data + trimmed.length - length, mark[i], length) != 0)
                continue;
            answer = trimmed;
            answer.length -= length;
            more = true;
        }
    }
    return answer;
}

/* Where the last answer begins, by the marks of chat templates before it; SIZE_MAX: nowhere. */
static size_t
answer_begins(mete_text whole)
{
    static const char *const mark[] = {"<|im_start|>assistant\n",
                                       "<|start_header_id|>assistant<|end_header_id|>\n\n",
                                       "<start_of_turn>model\n", "<|assistant|>\n", "[/INST]"};
    size_t begin = SIZE_MAX;
    for (size_t i = 0; i < sizeof mark / sizeof *mark; i++) {
        mete_text needle = mete_text_from(mark[i]);
        size_t at = mete_text_find_last(whole, needle);
        if (at != SIZE_MAX && (begin == SIZE_MAX || at + needle.length > begin))
            begin = at + needle.length;
    }
    return begin;
}

void
mete_dialogue_split(mete_text whole, mete_text prompt, mete_text *before, mete_text *answer)
{
    size_t at = prompt.length ? mete_text_find(whole, prompt, 0) : SIZE_MAX;
    size_t begin = at != SIZE_MAX ? at + prompt.length : answer_begins(whole);
    if (begin == SIZE_MAX)
        begin = 0;
    *before = prompt.length ? prompt : mete_text_slice(whole, 0, begin);
    *answer = without_end(mete_text_slice(whole, begin, whole.length));
}
