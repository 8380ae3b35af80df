/* fuzz_endpoint.c - any bytes as an endpoint's answer: no crash; what is taken keeps what replies
 * promise; what is said about the rest is short, printable and without the key. */
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if __has_include(<curl/curl.h>) && __has_include(<sqlite3.h>)
#include "../../plugins/common/http/words.c"
#include "../../plugins/policy/lm/openai/parse.c"
#include "engine/context.h"

static void
require(int condition)
{
    if (!condition)
        abort();
}

static void
sentence(const char *text, const struct openai *p)
{
    require(strlen(text) < 400 && !strstr(text, p->http.key.data));
    for (; *text; text++)
        require(*text >= 32 && *text < 127);
}

static void
tokens(const mete_reply *reply)
{
    uint32_t at = 0;
    for (size_t i = 0; i < reply->tokens; i++) {
        require(reply->token[i].begin == at && reply->token[i].end >= at);
        require(isfinite(reply->token[i].logp) && reply->token[i].logp <= 0);
        at = reply->token[i].end;
        const mete_alternative *other = reply->alternative + i * reply->alternatives;
        for (size_t k = 1; k < reply->alternatives; k++)
            require(other[k].logp <= other[k - 1].logp);
    }
    require(at <= reply->text.length);
}

static void
chances(mete_ctx *cx, mete_reply *reply)
{
    const mete_text option[] = {{"yes", 3}, {"no", 2}, {"yesterday", 9}};
    const mete_request request = {.size = sizeof request, .option = option, .options = 3};
    double sum = 0;
    require(answer_choose(cx, &request, reply) == METE_OK);
    if (reply->status != METE_VALID) {
        require(reply->reason.length > 0);
        return;
    }
    for (size_t k = 0; k < 3; k++) {
        require(reply->chance[k] >= 0);
        sum += reply->chance[k];
    }
    require(fabs(sum - 1) < 1e-9 && reply->mass > 0 && reply->mass <= 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "models.m";
    static mete_node node = {.path = path};
    static const struct openai p = {.http = {.key = {"sk-secret-1234", 14}}};
    const mete_text body = {(const char *)data, size};
    mete_error err = {0};
    mete_ctx cx = {.node = &node, .arena = mete__scratch(), .err = &err};
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    mete_reply reply = {.size = sizeof reply, .status = METE_FAILED, .logp = NAN};
    char why[300] = "", words[200];
    int status = answer_parse(&cx, &p, body, &reply, why, sizeof why);
    require(status == METE_OK || status == METE_EDATA);
    require((status == METE_OK) == (reply.status == METE_VALID));
    http_complaint(&p.http, body, words, sizeof words);
    sentence(words, &p);
    sentence(why, &p);
    if (status == METE_OK) {
        require(reply.text.length > 0);
        tokens(&reply);
        chances(&cx, &reply);
    } else {
        require(*why);
    }
    mete__arena_release(cx.arena, mark);
    return 0;
}
#else
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data;
    return size > SIZE_MAX / 2;
}
#endif
