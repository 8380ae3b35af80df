/* body.c - a request as the JSON that /chat/completions takes. The same question gives the same
 * bytes: members stand in one order, numbers have their shortest form, the seed comes last. */
#include "openai.h"

#include <string.h>

static void
put_number(mete_buffer *out, const char *name, double value)
{
    mete_buffer_format(out, ",\"%s\":", name);
    mete_json_put_number(out, value);
}

static void
put_messages(mete_buffer *out, const mete_request *request)
{
    static const char *const role[] = {"system", "user", "assistant", "tool"};
    mete_buffer_string(out, ",\"messages\":[");
    for (uint32_t i = 0; i < request->messages; i++) {
        mete_buffer_format(out, "%s{\"role\":\"%s\",\"content\":", i ? "," : "",
                           role[request->message[i].speaker & 3]);
        mete_json_put_text(out, request->message[i].text);
        mete_buffer_byte(out, '}');
    }
    mete_buffer_byte(out, ']');
}

static void
put_sampling(const struct openai *p, mete_buffer *out, const mete_request *request, int choice)
{
    uint32_t most = choice && p->logprobs ? 1 : request->max_tokens;
    /* A choice is read from the model's own chances; the host draws from them. */
    put_number(out, "temperature", choice && p->logprobs ? 1 : request->temperature);
    if (!choice && request->top_p > 0 && request->top_p < 1)
        put_number(out, "top_p", request->top_p);
    if (!choice && request->top_k)
        put_number(out, "top_k", request->top_k);
    if (!choice && request->min_p > 0)
        put_number(out, "min_p", request->min_p);
    if (!choice && request->repeat_penalty > 1)
        put_number(out, "repeat_penalty", request->repeat_penalty);
    if (!most && p->max_tokens)
        most = (uint32_t)p->max_tokens;
    if (most)
        put_number(out,
                   p->max_tokens_name == TOKENS_MAX_TOKENS ? "max_tokens" : "max_completion_tokens",
                   most);
}

static void
put_logprobs(const struct openai *p, mete_buffer *out, const mete_request *request, int choice)
{
    uint32_t others = choice ? 20 : request->alternatives;
    if (!p->logprobs || !(others || request->flags & METE_ASK_LOGP))
        return;
    mete_buffer_string(out, ",\"logprobs\":true");
    if (others)
        put_number(out, "top_logprobs", others);
}

/* The schema was parsed by the caller: it is one JSON value. */
static void
put_schema(const struct openai *p, mete_buffer *out, mete_text schema)
{
    if (p->schema == SCHEMA_JSON_OBJECT)
        mete_buffer_string(out, ",\"response_format\":{\"type\":\"json_object\"}");
    if (p->schema == SCHEMA_JSON_OBJECT_SCHEMA) {
        mete_buffer_string(out, ",\"response_format\":{\"type\":\"json_object\",\"schema\":");
        mete_buffer_text(out, schema);
        mete_buffer_byte(out, '}');
    }
    if (p->schema != SCHEMA_JSON_SCHEMA)
        return;
    mete_buffer_string(out, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
                            "{\"name\":\"answer\",\"strict\":true,\"schema\":");
    mete_buffer_text(out, schema);
    mete_buffer_string(out, "}}");
}

static int
check_schema(mete_ctx *cx, mete_text schema)
{
    mete_error err = {0};
    mete_json *value = mete_json_parse(schema, &err);
    int object = mete_json_kind(value) == METE_JSON_OBJECT;
    mete_json_free(value);
    if (object)
        return METE_OK;
    return mete_fail(cx, METE_EINVAL, "the answer's schema is no JSON object: %s",
                     err.code ? err.message : "it is another value");
}

int
body_seal(mete_ctx *cx, const struct openai *p, struct job *job, int n)
{
    mete_buffer *out = &job->http.body;
    out->length = job->canon;
    if (n > 1)
        put_number(out, "n", n);
    if (p->send_seed && job->drawn)
        put_number(out, "seed", (double)(job->draw & 0x7fffffff));
    mete_buffer_byte(out, '}');
    return out->status ? mete_fail(cx, METE_ENOMEM, "out of memory for a request") : METE_OK;
}

int
body_build(mete_ctx *cx, const struct openai *p, const mete_request *request, int choice,
           struct job *job)
{
    mete_buffer *out = &job->http.body;
    int status = METE_OK, greedy = choice ? p->logprobs : request->temperature <= 0;
    if (request->schema.length && !choice && (status = check_schema(cx, request->schema)))
        return status;
    mete_buffer_string(out, "{\"model\":");
    mete_json_put_text(out, mete_text_from(p->model));
    put_messages(out, request);
    put_sampling(p, out, request, choice);
    put_logprobs(p, out, request, choice);
    for (size_t i = 0; i < request->stops && !choice; i++) {
        mete_buffer_string(out, i ? "," : ",\"stop\":[");
        mete_json_put_text(out, request->stop[i]);
    }
    if (request->stops && !choice)
        mete_buffer_byte(out, ']');
    if (request->schema.length && !choice)
        put_schema(p, out, request->schema);
    if (p->members.length) {
        mete_buffer_byte(out, ',');
        mete_buffer_text(out, p->members);
    }
    job->canon = out->length;
    job->drawn = !greedy;
    job->draw = greedy ? 0 : request->seed;
    if ((status = body_seal(cx, p, job, 1)))
        return status;
    /* Two hashes of other seeds; the cache compares the text as well. */
    for (uint64_t k = 0; k < 2; k++) {
        uint64_t hash = mete_hash(k + 1, p->http.target, strlen(p->http.target));
        hash = mete_hash(hash, out->data, job->canon);
        job->question = hash;
        job->key.part[k] = mete_hash_mix(hash, job->draw);
    }
    job->http.random = mete_hash_mix(job->key.part[0], request->seed);
    job->http.estimate =
        (double)out->length / 4 + (double)(request->max_tokens ? request->max_tokens : 256);
    return METE_OK;
}
