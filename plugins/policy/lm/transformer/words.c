/* words.c - texts as tokens: the tokeniser, prompts, given responses. */
#include "transformer.h"

#include <stdlib.h>
#include <string.h>

#define END "<|endoftext|>"
#define ANSWER "<|answer|>"
#define UNKNOWN "<|unknown|>"

/* ---- the tokeniser --------------------------------------------------------------------------- */

/* A name for the file beside the weights. */
static int
open_file(mete_ctx *cx, struct transformer *p)
{
    char path[4096];
    mete_error err = {0};
    snprintf(path, sizeof path, "%s%s", p->tokeniser ? p->tokeniser : p->load,
             p->tokeniser ? "" : "/tokenizer.json");
    if (!(p->words = mete_tokeniser_open(path, &err)))
        return mete_fail(cx, err.code, "%s", err.message);
    return METE_OK;
}

int
words_open(mete_ctx *cx, struct transformer *p)
{
    mete_error err = {0};
    p->answer = -1;
    if (p->chat && !(p->template = mete_chat_open(p->chat, &err)))
        return mete_fail(cx, err.code, "chat: %s", err.message);
    if (!p->load && !p->tokeniser)
        return METE_OK; /* learnt from the first texts */
    int status = open_file(cx, p);
    if (status)
        return status;
    size_t known = mete_tokeniser_size(p->words);
    if (!p->load)
        p->shape.vocabulary = known;
    else if (known > p->shape.vocabulary)
        return mete_fail(cx, METE_EINVAL,
                         "the tokeniser has %zu tokens, the checkpoint's vocabulary %zu", known,
                         p->shape.vocabulary);
    const char *end = p->end ? p->end : p->load ? NULL : END;
    if (end)
        p->shape.end = mete_tokeniser_special(p->words, mete_text_from(end));
    if (p->shape.end < 0 || (size_t)p->shape.end >= p->shape.vocabulary)
        return mete_fail(
            cx, METE_EINVAL,
            "no token ends an answer: give `end` one of the tokeniser's own tokens%s%s",
            end ? ", not " : "", end ? end : "");
    if (p->shape.begin >= (int32_t)p->shape.vocabulary)
        p->shape.begin = -1;
    p->answer = mete_tokeniser_special(p->words, mete_text_from(ANSWER));
    return METE_OK;
}

/* The whole "slot[value]". */
static mete_text
slot_text(const mete_slot *slot)
{
    const char *end = slot->value.data + slot->value.length + 1;
    return (mete_text){slot->name.data, (size_t)(end - slot->name.data)};
}

static int
by_text(const void *a, const void *b)
{
    const mete_text *x = a, *y = b;
    size_t least = x->length < y->length ? x->length : y->length;
    int order = least ? memcmp(x->data, y->data, least) : 0;
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* The distinct slots of all prompts, as strings after what `special` holds already. */
static int
learn_slots(mete_ctx *cx, const mete_batch *texts, const char ***special, size_t *specials)
{
    mete_slot slot;
    size_t count = 0, room = 0;
    for (size_t i = 0; i < texts->episodes; i++)
        for (size_t at = 0; mete_slot_next(texts->prompt[i], &at, &slot);)
            room++;
    mete_text *all = mete_arena(cx, (room + 1) * sizeof *all);
    const char **out = mete_arena(cx, (room + *specials) * sizeof *out);
    if (!all || !out)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu slots", room);
    for (size_t i = 0; i < texts->episodes; i++)
        for (size_t at = 0; mete_slot_next(texts->prompt[i], &at, &slot);)
            all[count++] = slot_text(&slot);
    qsort(all, count, sizeof *all, by_text);
    memcpy(out, *special, *specials * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        if (i && by_text(&all[i - 1], &all[i]) == 0)
            continue;
        char *copy = mete_arena(cx, all[i].length + 1);
        if (!copy)
            return mete_fail(cx, METE_ENOMEM, "out of memory for %zu slots", room);
        memcpy(copy, all[i].data, all[i].length);
        copy[all[i].length] = 0;
        out[(*specials)++] = copy;
    }
    *special = out;
    return METE_OK;
}

int
words_learn(mete_ctx *cx, struct transformer *p, const mete_batch *texts)
{
    static const char *own[] = {END, ANSWER, UNKNOWN};
    const char **special = own;
    size_t fixed = p->tokens == TOKENS_WORDS ? 3 : 2, specials = fixed;
    static const mete_split split[] = {METE_SPLIT_GPT2, METE_SPLIT_LLAMA3, METE_SPLIT_QWEN2,
                                       METE_SPLIT_NONE};
    mete_error err = {0};
    size_t count = 0;
    if (p->words && !p->trained)
        return METE_OK;
    if (!texts->response)
        return mete_fail(cx, METE_EDATA, "the texts to learn words from have no responses");
    mete_text *all = mete_arena(cx, (2 * texts->episodes + 1) * sizeof *all);
    if (!all)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < texts->episodes; i++) {
        all[count++] = texts->response[i];
        if (texts->prompt && texts->prompt[i].length)
            all[count++] = texts->prompt[i];
    }
    if (p->prompt == PROMPT_SLOTS && texts->prompt && learn_slots(cx, texts, &special, &specials))
        return METE_ENOMEM;
    const mete_token_plan plan = {.size = sizeof plan,
                                  .vocabulary = (size_t)p->vocabulary + specials - fixed,
                                  .split = split[p->split],
                                  .least = 2,
                                  .special = special,
                                  .specials = specials,
                                  .kind = p->tokens == TOKENS_WORDS ? METE_TOKENS_WORDS
                                                                    : METE_TOKENS_BPE,
                                  .unknown = 2};
    mete_tokeniser *learnt = p->tokens == TOKENS_BYTES
                                 ? mete_tokeniser_bytes(special, specials, &err)
                                 : mete_tokeniser_train(all, count, &plan, &err);
    if (!learnt)
        return mete_fail(cx, err.code, "%s", err.message);
    mete_tokeniser_free(p->words);
    p->words = learnt;
    p->trained = 1;
    p->shape.vocabulary = mete_tokeniser_size(learnt);
    p->shape.end = mete_tokeniser_special(learnt, mete_text_from(END));
    p->answer = mete_tokeniser_special(learnt, mete_text_from(ANSWER));
    return METE_OK;
}

/* ---- prompts --------------------------------------------------------------------------------- */

size_t
words_room(const struct transformer *p, size_t answer)
{
    return p->shape.context > answer + 1 ? p->shape.context - answer : 1;
}

/* Puts the token that begins a text in front, where the model has one and the tokeniser did not. */
static int
append(mete_ctx *cx, mete_tokens *out, int32_t id)
{
    if (out->count == out->room) {
        size_t room = 2 * out->room + 16;
        int32_t *ids = realloc(out->id, room * sizeof *ids);
        out->id = ids ? ids : out->id;
        uint32_t *start = realloc(out->start, room * sizeof *start);
        out->start = start ? start : out->start;
        uint32_t *end = realloc(out->end, room * sizeof *end);
        out->end = end ? end : out->end;
        if (!ids || !start || !end)
            return mete_fail(cx, METE_ENOMEM, "out of memory");
        out->room = room;
    }
    out->id[out->count] = id;
    out->start[out->count] = out->end[out->count] = 0;
    out->count++;
    return METE_OK;
}

static int
append_plain(mete_ctx *cx, const struct transformer *p, mete_text text, mete_tokens *out)
{
    mete_error err = {0};
    return mete_tokeniser_encode(p->words, text, 0, out, &err)
               ? mete_fail(cx, err.code, "%s", err.message)
               : METE_OK;
}

/* A prompt's tokens. A slot that was learnt is one; what is no slot, and other slots, are read as
 * any text. */
static int
append_text(mete_ctx *cx, const struct transformer *p, mete_text text, mete_tokens *out)
{
    mete_slot slot;
    int status = METE_OK;
    if (p->prompt != PROMPT_SLOTS)
        return append_plain(cx, p, text, out);
    size_t at = 0;
    while (!status && mete_slot_next(text, &at, &slot)) {
        int32_t id = mete_tokeniser_special(p->words, slot_text(&slot));
        status = id >= 0 ? append(cx, out, id) : append_plain(cx, p, slot_text(&slot), out);
    }
    mete_text rest = {text.data + at, text.length - at};
    return !status && mete_text_trim(rest).length ? append_plain(cx, p, rest, out) : status;
}

/* Marks where the answer begins, and cuts what is too long from its beginning. */
static int
finish_prompt(mete_ctx *cx, const struct transformer *p, size_t most, mete_tokens *out)
{
    int status = METE_OK;
    if (p->answer >= 0 && !p->template)
        status = append(cx, out, p->answer);
    if (!status && !out->count)
        status = append(cx, out, p->shape.begin >= 0 ? p->shape.begin : p->shape.end);
    if (status || out->count <= most)
        return status;
    if (p->overflow == 0)
        return mete_fail(cx, METE_EDATA,
                         "a prompt has %zu tokens; %zu of the context of %zu are left for it",
                         out->count, most, p->shape.context);
    memmove(out->id, out->id + (out->count - most), most * sizeof *out->id);
    out->count = most;
    return METE_OK;
}

int
words_messages(mete_ctx *cx, const struct transformer *p, const mete_message *message,
               size_t messages, size_t most, mete_tokens *out)
{
    static const char *const role[] = {"system", "user", "assistant", "tool"};
    mete_error err = {0};
    out->count = 0;
    if (!p->template) {
        int status = METE_OK;
        if (p->shape.begin >= 0)
            status = append(cx, out, p->shape.begin);
        for (size_t i = 0; i < messages && !status; i++)
            status = append_text(cx, p, message[i].text, out);
        return status ? status : finish_prompt(cx, p, most, out);
    }
    mete_chat_message *said = mete_arena(cx, (messages + 1) * sizeof *said);
    mete_pieces pieces = {0};
    if (!said)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < messages; i++)
        said[i] =
            (mete_chat_message){mete_text_from(role[message[i].speaker & 3]), message[i].text};
    int status = mete_chat_render(p->template, said, messages, METE_CHAT_ANSWER, &pieces, &err);
    if (!status)
        status = mete_pieces_encode(p->words, &pieces, out, &err);
    mete_pieces_free(&pieces);
    return status ? mete_fail(cx, status, "%s", err.message) : finish_prompt(cx, p, most, out);
}

int
words_prompt(mete_ctx *cx, const struct transformer *p, mete_text prompt, size_t most,
             mete_tokens *out)
{
    const mete_message said = {METE_USER, 0, prompt};
    return words_messages(cx, p, &said, p->prompt != PROMPT_NONE, most, out);
}

int
words_row(mete_ctx *cx, const struct transformer *p, const mete_batch *batch, size_t row,
          size_t most, mete_tokens *out)
{
    mete_message single;
    size_t count;
    const mete_message *said = mete_row_messages(batch, row, &single, &count);
    if (p->template && p->prompt != PROMPT_NONE) /* it tells the speakers apart */
        return words_messages(cx, p, said, count, most, out);
    return words_prompt(cx, p, batch->prompt ? batch->prompt[row] : (mete_text){NULL, 0}, most,
                        out);
}

/* ---- responses ------------------------------------------------------------------------------- */

int
words_join(mete_ctx *cx, const struct transformer *p, mete_token *token, size_t count,
           mete_text *text)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        if (token[i].id != p->shape.end)
            length += mete_tokeniser_token(p->words, token[i].id).length;
    char *joined = mete_arena(cx, length + 1);
    if (!joined)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a response");
    length = 0;
    for (size_t i = 0; i < count; i++) {
        mete_text part = mete_tokeniser_token(p->words, token[i].id);
        if (token[i].id == p->shape.end)
            part.length = 0;
        token[i].begin = (uint32_t)length;
        if (part.length)
            memcpy(joined + length, part.data, part.length);
        length += part.length;
        token[i].end = (uint32_t)length;
    }
    *text = (mete_text){joined, length};
    return METE_OK;
}

int
words_response(mete_ctx *cx, const struct transformer *p, mete_text text, size_t most,
               mete_tokens *out)
{
    out->count = 0;
    int status = append_plain(cx, p, text, out);
    if (!status && out->count < most) {
        status = append(cx, out, p->shape.end);
        if (!status)
            out->start[out->count - 1] = out->end[out->count - 1] = (uint32_t)text.length;
    }
    return status;
}

/* A text that is cut is not said to end there. */
static int
encode_row(mete_ctx *cx, const struct transformer *p, const mete_batch *batch, size_t row,
           mete_tokens *tokens, mete_actions *out)
{
    size_t most = (size_t)p->max_tokens;
    mete_text text = batch->response[row];
    int status = words_response(cx, p, text, most, tokens);
    if (status)
        return status;
    size_t count = tokens->count < most ? tokens->count : most;
    mete_token *token = mete_arena(cx, (count + 1) * sizeof *token);
    if (!token)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        token[i] =
            (mete_token){.id = tokens->id[i], .begin = tokens->start[i], .end = tokens->end[i]};
    return mete_act_tokens(cx, out, row, token, count, text);
}

int
transformer_encode(mete_ctx *cx, const void *self, const mete_batch *batch, mete_actions *out)
{
    mete_tokens tokens = {0};
    int status = METE_OK;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to encode");
    for (size_t row = 0; row < batch->episodes && !status; row++)
        status = encode_row(cx, self, batch, row, &tokens, out);
    mete_tokens_free(&tokens);
    return status;
}
