/* parse.c - what an endpoint answered. Every byte of it is hostile: JSON is parsed strictly, each
 * member is checked for kind and range, and what goes into a sentence is short, printable and
 * without the key. */
#include "openai.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LEAST_LOGP -1e4

static int
bad(char *why, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, size, format, arguments);
    va_end(arguments);
    return METE_EDATA;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static float
logp_of(const mete_json *item)
{
    double logp = mete_json_number(mete_json_get(item, "logprob"));
    if (!(logp <= 1e-3))
        return NAN;
    return (float)(logp > 0 ? 0 : logp < LEAST_LOGP ? LEAST_LOGP : logp);
}

static int
take_alternatives(mete_ctx *cx, const mete_json *list, mete_alternative *out, size_t most)
{
    size_t k = 0;
    for (const mete_json *item = mete_json_first(list); item && k < most;
         item = mete_json_next(item)) {
        const mete_json *token = mete_json_get(item, "token");
        float logp = logp_of(item);
        if (mete_json_kind(token) != METE_JSON_STRING || logp != logp)
            continue;
        mete_text text = mete_text_copy(cx, mete_json_text(token));
        if (!text.data)
            return METE_ENOMEM;
        size_t at = k++;
        for (; at && out[at - 1].logp < logp; at--) /* servers do not all sort */
            out[at] = out[at - 1];
        out[at] = (mete_alternative){text, -1, logp};
    }
    for (; k < most; k++)
        out[k] = (mete_alternative){{NULL, 0}, -1, -INFINITY};
    return METE_OK;
}

/* Tokens that do not spell the answer (a server that tells bytes, or other text) are not told. */
static int
take_tokens(mete_ctx *cx, const mete_json *content, mete_reply *reply)
{
    size_t count = mete_json_count(content), most = 0, at = 0, i = 0;
    if (!count || mete_json_kind(content) != METE_JSON_ARRAY)
        return METE_OK;
    for (const mete_json *item = mete_json_first(content); item; item = mete_json_next(item)) {
        size_t others = mete_json_count(mete_json_get(item, "top_logprobs"));
        most = others > most ? others : most;
    }
    most = most > 20 ? 20 : most;
    mete_token *token = mete_arena(cx, count * sizeof *token);
    mete_alternative *other = mete_arena(cx, (count * most + 1) * sizeof *other);
    if (!token || !other)
        return METE_ENOMEM;
    double sum = 0;
    for (const mete_json *item = mete_json_first(content); item; item = mete_json_next(item), i++) {
        mete_text said = mete_json_text(mete_json_get(item, "token"));
        float logp = logp_of(item);
        if (logp != logp || said.length > reply->text.length - at ||
            (said.length && memcmp(reply->text.data + at, said.data, said.length) != 0))
            return METE_OK;
        token[i] = (mete_token){
            .id = -1, .logp = logp, .begin = (uint32_t)at, .end = (uint32_t)(at + said.length)};
        at += said.length;
        sum += (double)logp;
        if (take_alternatives(cx, mete_json_get(item, "top_logprobs"), other + i * most, most))
            return METE_ENOMEM;
    }
    reply->token = token;
    reply->tokens = count;
    reply->logp = sum;
    reply->alternatives = (uint32_t)most;
    reply->alternative = most ? other : NULL;
    return METE_OK;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static uint64_t
count_of(const mete_json *usage, const char *name)
{
    double value = mete_json_number(mete_json_get(usage, name));
    return value >= 0 && value < 1e12 ? (uint64_t)value : 0;
}

static int
take_choice(mete_ctx *cx, const mete_json *choice, mete_reply *reply, char *why, size_t size)
{
    const mete_json *message = mete_json_get(choice, "message");
    const mete_json *content = mete_json_get(message, "content");
    mete_text finish = mete_json_text(mete_json_get(choice, "finish_reason"));
    if (mete_json_text(mete_json_get(message, "refusal")).length)
        return bad(why, size, "the model refused to answer");
    if (mete_json_kind(content) != METE_JSON_STRING)
        return bad(why, size, "the answer has no text (choices[0].message.content)");
    if (!mete_json_text(content).length)
        return bad(why, size, "the answer is empty");
    if (mete_json_text(content).length > UINT32_MAX / 2)
        return bad(why, size, "the answer is too long");
    if (mete_reply_say(cx, reply, mete_json_text(content)))
        return METE_ENOMEM;
    reply->finish = mete_text_is(finish, "stop")     ? METE_FINISH_STOP
                    : mete_text_is(finish, "length") ? METE_FINISH_LENGTH
                                                     : METE_FINISH_OTHER;
    return take_tokens(cx, mete_json_get(mete_json_get(choice, "logprobs"), "content"), reply);
}

int
answers_open(const struct openai *p, mete_text body, size_t most, struct answers *out, char *why,
             size_t size)
{
    mete_error err = {0};
    char message[200];
    *out = (struct answers){.root = mete_json_parse(body, &err)};
    const mete_json *usage = mete_json_get(out->root, "usage");
    out->choices = mete_json_get(out->root, "choices");
    out->count = mete_json_count(out->choices);
    out->prompt_tokens = count_of(usage, "prompt_tokens");
    out->answer_tokens = count_of(usage, "completion_tokens");
    if (!out->root && err.code == METE_ENOMEM)
        return METE_ENOMEM;
    if (!out->root) {
        http_clean(&p->http, mete_text_from(err.message), message, 160);
        return bad(why, size, "the answer is no JSON: %s", message);
    }
    if (mete_json_kind(mete_json_get(out->root, "error")) > METE_JSON_NULL) {
        http_complaint(&p->http, body, message, sizeof message);
        return bad(why, size, "the endpoint reports an error: %s", message);
    }
    if (mete_json_kind(out->choices) != METE_JSON_ARRAY || !out->count || out->count > most)
        return bad(why, size, "the answer has %zu choices where %zu %s asked for", out->count, most,
                   most == 1 ? "was" : "were");
    return METE_OK;
}

int
answer_parse(mete_ctx *cx, const struct openai *p, mete_text body, mete_reply *reply, char *why,
             size_t size)
{
    struct answers got;
    int status = answers_open(p, body, 1, &got, why, size);
    if (!status) {
        reply->prompt_tokens = got.prompt_tokens;
        reply->answer_tokens = got.answer_tokens;
        status = take_choice(cx, mete_json_first(got.choices), reply, why, size);
    }
    mete_json_free(got.root);
    return status;
}

/* ---- choices --------------------------------------------------------------------------------- */

static int
same_letter(char a, char b)
{
    if (a >= 'A' && a <= 'Z')
        a = (char)(a + 32);
    if (b >= 'A' && b <= 'Z')
        b = (char)(b + 32);
    return a == b;
}

/* Does the option begin with the text, whatever the case? 2: it is it. */
static int
begins(mete_text option, mete_text text)
{
    if (!text.length || text.length > option.length)
        return 0;
    for (size_t i = 0; i < text.length; i++)
        if (!same_letter(option.data[i], text.data[i]))
            return 0;
    return text.length == option.length ? 2 : 1;
}

/* The option a first token stands for, or `options`: the one it is, else the only one it begins. */
static size_t
option_of(const mete_request *request, mete_text text)
{
    size_t found = request->options, starts = 0;
    text = mete_text_trim(text);
    for (size_t k = 0; k < request->options; k++) {
        int how = begins(request->option[k], text);
        if (how == 2)
            return k;
        if (how && !starts++)
            found = k;
    }
    return starts == 1 ? found : request->options;
}

static int
choose_said(mete_ctx *cx, const mete_request *request, mete_reply *reply, double *chance)
{
    mete_text said = mete_text_trim(reply->text);
    size_t found = request->options;
    for (size_t k = 0; k < request->options; k++)
        if (begins(request->option[k], said) == 2)
            found = k;
    if (found == request->options) {
        char text[61] = "";
        for (size_t i = 0; i < said.length && i < 60; i++)
            text[i] = said.data[i] >= 32 && said.data[i] < 127 ? said.data[i] : ' ';
        mete_reply_fail(cx, reply, METE_FAILED,
                        "the model answered '%s', which is none of the options", text);
        return METE_OK;
    }
    chance[found] = reply->mass = 1;
    reply->chance = chance;
    reply->chances = METE_CHANCE_SAMPLED;
    return METE_OK;
}

int
answer_choose(mete_ctx *cx, const mete_request *request, mete_reply *reply)
{
    double *chance = mete_arena(cx, request->options * sizeof *chance), least = 1, sum = 0;
    if (!chance)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu options", request->options);
    if (!reply->tokens || !reply->alternatives)
        return choose_said(cx, request, reply, chance);
    reply->mass = 0;
    reply->chances = METE_CHANCE_EXACT;
    for (size_t i = 0; i < reply->alternatives; i++) {
        const mete_alternative *other = &reply->alternative[i];
        double p = exp((double)other->logp);
        if (!(p > 0))
            continue;
        size_t k = option_of(request, other->text);
        least = p < least ? p : least;
        if (k < request->options) {
            chance[k] += p;
            reply->mass += p;
        }
    }
    if (!(reply->mass > 0))
        return choose_said(cx, request, reply, chance);
    /* What was not told has no more than the least that was, and than what is left. */
    for (size_t k = 0; k < request->options; k++)
        if (chance[k] <= 0) {
            double left = 1 - reply->mass;
            chance[k] = left < least ? (left > 0 ? left : 0) : least;
            reply->chances = METE_CHANCE_BOUNDED;
        }
    for (size_t k = 0; k < request->options; k++)
        sum += chance[k];
    for (size_t k = 0; k < request->options; k++)
        chance[k] /= sum;
    if (reply->mass > 1)
        reply->mass = 1;
    reply->chance = chance;
    return METE_OK;
}
