/* model_derive.c - one text service by way of another: an answer by `act`, log-probabilities by
 * `forward`, a choice by log-probabilities or by a sample, `act` by an answer. */
#include "engine/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Steps asked about at once: bounds the tape's memory. */
#define STEPS_AT_ONCE 4096

static int
no_memory(mete_ctx *cx, size_t count)
{
    return mete_fail(cx, METE_ENOMEM, "out of memory for %zu requests", count);
}

/* ---- prompts as a batch ---------------------------------------------------------------------- */

/* One row a request, its only message the prompt. NULL when memory ran out. */
static mete_batch *
prompts_batch(mete__arena *arena, const mete_requests *requests, size_t from, size_t count)
{
    mete_batch *out = mete__arena_zero(arena, sizeof *out);
    uint64_t *id = mete__arena_take(arena, (count + 1) * sizeof *id);
    uint64_t *prompt_id = mete__arena_take(arena, (count + 1) * sizeof *prompt_id);
    uint32_t *group = mete__arena_take(arena, (count + 1) * sizeof *group);
    uint32_t *zero = mete__arena_zero(arena, (count + 1) * sizeof *zero);
    uint8_t *one = mete__arena_take(arena, count + 1), *none = mete__arena_zero(arena, count + 1);
    mete_text *prompt = mete__arena_take(arena, (count + 1) * sizeof *prompt);
    if (!out || !id || !prompt_id || !group || !zero || !one || !none || !prompt)
        return NULL;
    size_t groups = 0;
    memset(one, 1, count + 1);
    for (size_t k = 0; k < count; k++) {
        const mete_request *request = mete_request_at(requests, from + k);
        prompt[k] = request->message[0].text;
        prompt_id[k] = mete_hash(0, prompt[k].data, prompt[k].length);
        id[k] = request->seed;
        if (!k || prompt_id[k] != prompt_id[k - 1])
            group[groups++] = (uint32_t)k;
    }
    group[groups] = (uint32_t)count;
    *out = (mete_batch){.size = sizeof *out,
                        .episodes = count,
                        .groups = groups,
                        .id = id,
                        .prompt_id = prompt_id,
                        .task_id = prompt_id,
                        .group = group,
                        .step_begin = zero,
                        .first_step = zero,
                        .starts = one,
                        .terminated = one,
                        .truncated = none,
                        .prompt = prompt,
                        .step_row = zero};
    return out;
}

/* What a model that knows single prompts cannot do of this request, or NULL. */
static const char *
too_much(const mete_request *request, int sampling)
{
    if (request->messages != 1 || request->message[0].speaker != METE_USER)
        return "conversations (it knows single prompts)";
    if (!sampling)
        return NULL;
    if (request->top_k)
        return "top_k";
    if (request->top_p > 0 && request->top_p < 1)
        return "top_p";
    if (request->min_p > 0)
        return "min_p";
    if (request->repeat_penalty > 1)
        return "repeat_penalty";
    if (request->schema.length)
        return "answers by a schema";
    if (request->alternatives)
        return "alternatives of its tokens";
    return NULL;
}

static int
check_simple(mete_ctx *cx, const mete_node *policy, const mete_requests *requests, int sampling)
{
    for (size_t i = 0; i < requests->count; i++) {
        const char *what = too_much(mete_request_at(requests, i), sampling);
        if (what)
            return mete_fail(cx, METE_ENOTSUP, "model '%s' (%s) does not do %s", policy->path,
                             policy->plugin->as.head.name, what);
    }
    return METE_OK;
}

/* ---- an answer by `act` ---------------------------------------------------------------------- */

static mete_actions *
text_actions(mete_ctx *cx, const mete_node *policy, size_t lanes)
{
    mete_text none;
    mete_actions like = {.size = sizeof like, .heads = policy->info.heads, .text = &none};
    return mete_actions_new(cx, &like, lanes);
}

/* Ends the answer before the first stop text, and after max_tokens tokens. */
static void
cut_answer(const mete_request *request, mete_reply *reply)
{
    size_t end = reply->text.length;
    for (size_t i = 0; i < request->stops; i++) {
        size_t at = mete_text_find(reply->text, request->stop[i], 0);
        end = at < end ? at : end;
    }
    if (request->max_tokens && reply->tokens > request->max_tokens &&
        reply->token[request->max_tokens - 1].end <= end) {
        end = reply->token[request->max_tokens - 1].end;
        reply->tokens = request->max_tokens;
        reply->finish = METE_FINISH_LENGTH;
    }
    if (end < reply->text.length) /* tokens of what was cut go, the one cut through with them */
        while (reply->tokens && reply->token[reply->tokens - 1].end > end)
            reply->tokens--;
    reply->text.length = end;
}

static int
act_run(mete_ctx *cx, mete_node *policy, const mete_params *params, const mete_requests *requests,
        mete_replies *replies, size_t from, size_t count)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    double temperature = mete_request_at(requests, from)->temperature;
    mete_batch *context = prompts_batch(cx->arena, requests, from, count);
    mete_actions *out = context ? text_actions(cx, policy, count) : NULL;
    void *state = mete__arena_zero(cx->arena, count * plugin->lane_size + 1);
    if (!out || !state)
        return no_memory(cx, count);
    mete_lanes lanes = {.size = sizeof lanes,
                        .mode = METE_ACT_EVALUATE | (temperature > 0 ? 0u : METE_ACT_GREEDY),
                        .count = count,
                        .episode = context->id,
                        .step = context->first_step,
                        .context = context,
                        .state = state,
                        .temperature = temperature > 0 ? temperature : 1};
    mete_ctx call = mete__answer_ctx(cx, policy, params);
    int status = plugin->act(&call, policy->self, params, &lanes, out);
    if (status)
        return mete__ctx_blame(policy, status, cx->err);
    for (size_t k = 0; k < count; k++) {
        mete_reply *reply = mete_reply_at(replies, from + k);
        reply->status = METE_VALID;
        reply->reason = (mete_text){NULL, 0};
        reply->text = out->text[k];
        reply->token = mete_actions_tokens(out, k, &reply->tokens);
        cut_answer(mete_request_at(requests, from + k), reply);
        reply->answer_tokens = reply->tokens;
        reply->logp = 0;
        for (size_t t = 0; t < reply->tokens; t++)
            reply->logp += (double)reply->token[t].logp;
    }
    return METE_OK;
}

int
mete__generate_by_act(mete_ctx *cx, mete_node *policy, const mete_params *params,
                      const mete_requests *requests, mete_replies *replies)
{
    int status = policy->plugin->as.policy.act
                     ? check_simple(cx, policy, requests, 1)
                     : mete_fail(cx, METE_ENOTSUP, "model '%s' (%s) generates nothing",
                                 policy->path, policy->plugin->as.head.name);
    /* Lanes of one call share a temperature. */
    for (size_t from = 0, to; from < requests->count && !status; from = to) {
        double temperature = mete_request_at(requests, from)->temperature;
        for (to = from + 1; to < requests->count; to++)
            if (mete_request_at(requests, to)->temperature != temperature)
                break;
        status = act_run(cx, policy, params, requests, replies, from, to - from);
    }
    return status;
}

/* ---- log-probabilities by `encode` and `forward` --------------------------------------------- */

/* Makes the tokens the steps of `batch`. */
static int
add_steps(mete_ctx *cx, mete_batch *batch, const mete_actions *said)
{
    size_t rows = batch->episodes, steps = 0, at = 0, count;
    for (size_t i = 0; i < rows; i++) {
        mete_actions_tokens(said, i, &count);
        steps += count;
    }
    uint32_t *begin = mete__arena_take(cx->arena, (rows + 1) * sizeof *begin);
    uint32_t *row = mete__arena_take(cx->arena, (steps + 1) * sizeof *row);
    uint32_t *span = mete__arena_take(cx->arena, (2 * steps + 1) * sizeof *span);
    int32_t *action = mete__arena_take(cx->arena, (steps + 1) * sizeof *action);
    if (!begin || !row || !span || !action || steps > UINT32_MAX)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu tokens", steps);
    for (size_t i = 0; i < rows; i++) {
        const mete_token *token = mete_actions_tokens(said, i, &count);
        begin[i] = (uint32_t)at;
        for (size_t t = 0; t < count; t++, at++) {
            row[at] = (uint32_t)i;
            action[at] = token[t].id;
            span[2 * at] = token[t].begin;
            span[2 * at + 1] = token[t].end;
        }
    }
    begin[rows] = (uint32_t)at;
    batch->steps = steps;
    batch->step_begin = begin;
    batch->step_row = row;
    batch->action = action;
    batch->span = span;
    return METE_OK;
}

static int
forward_logp(mete_ctx *cx, mete_node *policy, const mete_params *params, const mete_batch *batch,
             float *logp)
{
    uint32_t *step = mete__arena_take(cx->arena, (batch->steps + 1) * sizeof *step);
    mete_tape *tape = mete__scratch_tape();
    if (!step || !tape)
        return no_memory(cx, batch->episodes);
    for (size_t i = 0; i < batch->steps; i++)
        step[i] = (uint32_t)i;
    int stepwise = policy->info.stepwise != 0, status = METE_OK;
    for (size_t from = 0; from < batch->steps && !status;) {
        size_t count = batch->steps - from;
        count = stepwise && count > STEPS_AT_ONCE ? STEPS_AT_ONCE : count;
        mete_query query = {.size = sizeof query,
                            .batch = batch,
                            .step = stepwise ? step + from : NULL,
                            .count = count,
                            .want = METE_WANT_LOGP};
        mete_outputs out = {.size = sizeof out, .logp = logp + from};
        mete_tape_reset(tape);
        status = mete__policy_forward(policy, params, &query, &out, tape, cx->err);
        from += count;
    }
    mete_tape_reset(tape);
    return status;
}

int
mete__logprob_by_forward(mete_ctx *cx, mete_node *policy, const mete_params *params,
                         const mete_requests *requests, mete_replies *replies)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    size_t count = requests->count;
    if (!plugin->encode || !plugin->forward)
        return mete_fail(cx, METE_ENOTSUP,
                         "model '%s' (%s) does not tell the log-probability of given text",
                         policy->path, plugin->name);
    if (check_simple(cx, policy, requests, 0))
        return METE_ENOTSUP;
    mete_batch *batch = prompts_batch(cx->arena, requests, 0, count);
    mete_text *given = mete__arena_take(cx->arena, (count + 1) * sizeof *given);
    mete_actions *said = batch && given ? text_actions(cx, policy, count) : NULL;
    if (!said)
        return no_memory(cx, count);
    for (size_t i = 0; i < count; i++)
        given[i] = mete_request_at(requests, i)->given;
    batch->response = given;
    mete_ctx call = mete__answer_ctx(cx, policy, params);
    int status = plugin->encode(&call, policy->self, batch, said);
    if (status)
        return mete__ctx_blame(policy, status, cx->err);
    if ((status = add_steps(cx, batch, said)))
        return status;
    float *logp = mete__arena_take(cx->arena, (batch->steps + 1) * sizeof *logp);
    if (!logp)
        return no_memory(cx, count);
    if ((status = forward_logp(cx, policy, params, batch, logp)))
        return status;
    for (size_t i = 0; i < count; i++) {
        mete_reply *reply = mete_reply_at(replies, i);
        mete_token *token = (mete_token *)(uintptr_t)mete_actions_tokens(said, i, &reply->tokens);
        reply->status = METE_VALID;
        reply->reason = (mete_text){NULL, 0};
        reply->text = said->text[i];
        reply->token = token;
        reply->logp = 0;
        for (size_t t = 0; t < reply->tokens; t++) {
            token[t].logp = logp[batch->step_begin[i] + t];
            reply->logp += (double)token[t].logp;
        }
    }
    return METE_OK;
}

/* ---- a choice -------------------------------------------------------------------------------- */

/* Chances from the log-probability of every option. */
static int
choose_by_logprob(mete_ctx *cx, mete_node *policy, const mete_params *params,
                  const mete_requests *requests, mete_replies *replies)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < requests->count; i++)
        total += mete_request_at(requests, i)->options;
    mete_request *each = mete__arena_take(cx->arena, (total + 1) * sizeof *each);
    mete_replies *weighed = each ? mete__replies_new(cx, total) : NULL;
    if (!weighed)
        return no_memory(cx, total);
    for (size_t i = 0; i < requests->count; i++) {
        const mete_request *request = mete_request_at(requests, i);
        for (size_t k = 0; k < request->options; k++, at++) {
            each[at] = *request;
            each[at].given = request->option[k];
        }
    }
    mete_requests all = {sizeof all, sizeof *each, total, each};
    int status = plugin->logprob ? mete__answer(cx, policy, plugin->logprob, params, &all, weighed)
                                 : mete__logprob_by_forward(cx, policy, params, &all, weighed);
    at = 0;
    for (size_t i = 0; i < requests->count && !status; i++) {
        size_t options = mete_request_at(requests, i)->options;
        const mete_reply *one = &weighed->item[at];
        mete_reply *reply = mete_reply_at(replies, i);
        double *chance = mete__arena_take(cx->arena, options * sizeof *chance), most = -INFINITY;
        if (!chance)
            return no_memory(cx, total);
        at += options;
        reply->status = METE_VALID;
        for (size_t k = 0; k < options; k++) {
            reply->prompt_tokens += one[k].prompt_tokens;
            reply->answer_tokens += one[k].answer_tokens;
            reply->cost += one[k].cost;
            reply->seconds += one[k].seconds;
            if (one[k].status == METE_VALID && isfinite(one[k].logp)) {
                most = one[k].logp > most ? one[k].logp : most;
            } else if (reply->status == METE_VALID) {
                reply->status = one[k].status ? one[k].status : METE_FAILED;
                reply->reason = one[k].reason;
            }
        }
        if (reply->status != METE_VALID)
            continue;
        double sum = 0;
        for (size_t k = 0; k < options; k++)
            sum += chance[k] = exp(one[k].logp - most);
        for (size_t k = 0; k < options; k++)
            chance[k] /= sum;
        reply->chance = chance;
        reply->chances = METE_CHANCE_EXACT;
        reply->mass = sum * exp(most);
        reply->reason = (mete_text){NULL, 0};
    }
    return status;
}

/* `text`, short and printable, for a sentence. */
static const char *
quoted(mete_text text, char out[64])
{
    size_t length = text.length < 60 ? text.length : 60;
    for (size_t i = 0; i < length; i++)
        out[i] = text.data[i] >= 32 && text.data[i] < 127 ? text.data[i] : '?';
    out[length] = 0;
    return out;
}

/* One answer drawn, which counts for the option it is. */
static int
choose_by_sample(mete_ctx *cx, mete_node *policy, const mete_params *params,
                 const mete_requests *requests, mete_replies *replies)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    int status = plugin->generate
                     ? mete__answer(cx, policy, plugin->generate, params, requests, replies)
                     : mete__generate_by_act(cx, policy, params, requests, replies);
    for (size_t i = 0; i < requests->count && !status; i++) {
        const mete_request *request = mete_request_at(requests, i);
        mete_reply *reply = mete_reply_at(replies, i);
        if (reply->status != METE_VALID)
            continue;
        mete_text said = mete_text_trim(reply->text);
        double *chance = mete__arena_zero(cx->arena, request->options * sizeof *chance);
        size_t found = request->options;
        if (!chance)
            return no_memory(cx, requests->count);
        for (size_t k = 0; k < request->options; k++)
            if (mete_text_equal(said, request->option[k]))
                found = k;
        if (found == request->options) {
            char text[64];
            mete_reply_fail(cx, reply, METE_FAILED,
                            "the model answered '%s', which is none of the options",
                            quoted(said, text));
            continue;
        }
        chance[found] = 1;
        reply->chance = chance;
        reply->chances = METE_CHANCE_SAMPLED;
        reply->mass = 1;
    }
    return status;
}

int
mete__choose_derived(mete_ctx *cx, mete_node *policy, const mete_params *params,
                     const mete_requests *requests, mete_replies *replies)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    if (plugin->logprob || (plugin->encode && plugin->forward))
        return choose_by_logprob(cx, policy, params, requests, replies);
    return choose_by_sample(cx, policy, params, requests, replies);
}

/* ---- `act` by an answer ---------------------------------------------------------------------- */

/* The answer's tokens; one token of the whole where the model tells none. */
static int
act_take(mete_ctx *cx, const mete_reply *reply, size_t lane, mete_actions *out)
{
    mete_token whole = {.id = -1, .end = (uint32_t)reply->text.length};
    if (reply->text.length > UINT32_MAX)
        return mete_fail(cx, METE_EDATA, "answered with more than 4 GiB");
    if (reply->token)
        return mete_act_tokens(cx, out, lane, reply->token, reply->tokens, reply->text);
    return mete_act_tokens(cx, out, lane, &whole, 1, reply->text);
}

int
mete__act_by_generate(mete_ctx *cx, mete_node *policy, const mete_params *params,
                      const mete_lanes *lanes, mete_actions *out)
{
    size_t count = lanes->count;
    if (!lanes->context || !lanes->context->prompt || !out->text)
        return mete_fail(cx, METE_ENOTSUP,
                         "answers prompts with text; this environment wants something else");
    mete_request *item = mete__arena_zero(cx->arena, (count + 1) * sizeof *item);
    mete_message *message = mete__arena_zero(cx->arena, (count + 1) * sizeof *message);
    mete_replies *replies = item && message ? mete__replies_new(cx, count) : NULL;
    if (!replies)
        return no_memory(cx, count);
    for (size_t i = 0; i < count; i++) {
        size_t messages;
        const mete_message *said = mete_row_messages(lanes->context, i, &message[i], &messages);
        item[i] =
            (mete_request){.size = sizeof *item,
                           .messages = (uint32_t)messages,
                           .message = said,
                           .seed = mete_hash_mix(lanes->episode[i], lanes->step[i]),
                           .temperature = lanes->mode & METE_ACT_GREEDY ? 0 : lanes->temperature};
    }
    mete_requests requests = {sizeof requests, sizeof *item, count, item};
    int status = policy->plugin->as.policy.generate(cx, policy->self, params, &requests, replies);
    for (size_t i = 0; i < count && !status; i++) {
        const mete_reply *reply = &replies->item[i];
        if (reply->status != METE_VALID) /* acting has no status a lane: the run cannot go on */
            return mete_fail(cx, METE_EIO, "gave no answer for episode %llu: %.*s",
                             (unsigned long long)lanes->episode[i], (int)reply->reason.length,
                             reply->reason.data);
        status = act_take(cx, reply, i, out);
    }
    return status;
}
