/* model.c - models that answer in text: requests checked and handed to the policy that answers,
 * replies checked and handed back. What a model does not do itself is derived in model_derive.c. */
#include "engine/talk.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which policy answers, with which parameters --------------------------------------------- */

/* A model of its own (named under `models`) with parameters is described and given its initial
 * vector when it is first asked. */
static int
own_ready(mete_node *node, mete_error *err)
{
    mete__node_private *private_ = node->private_;
    const mete_policy *plugin = &node->plugin->as.policy;
    const mete_spaces text = {.size = sizeof text,
                              .single_turn = 1,
                              .observation = {.kind = METE_SPACE_NONE},
                              .action = {.kind = METE_SPACE_TEXT}};
    int status = METE_OK;
    pthread_mutex_lock(&private_->lock);
    if (!private_->model_ready && plugin->describe) {
        status = mete__policy_describe(node, &text, NULL, err);
        if (!status && node->parameter_count) {
            private_->model_vector = calloc(node->parameter_count, sizeof(float));
            if (private_->model_vector)
                status = mete__policy_init(node, private_->model_vector, err);
            else
                status = mete_error_set(err, METE_ENOMEM, "%s: out of memory for %zu parameters",
                                        node->path, node->parameter_count);
        }
    }
    private_->model_ready |= !status;
    pthread_mutex_unlock(&private_->lock);
    return status;
}

/* The policy a model option stands for; NULL after an error. */
static mete_node *
answerer(mete_ctx *cx, mete_node *model, mete_params *params)
{
    if (!model) {
        mete_fail(cx, METE_EINVAL, "asked a model that the config does not name");
        return NULL;
    }
    mete_node *policy = mete__model_resolve(model, params);
    if (policy && mete__talk_far()) {
        mete_fail(cx, METE_ENOTSUP,
                  "the states of '%s', which learns in the run, are not known in a process of its "
                  "own; say isolate = \"none\"",
                  model->name);
        return NULL;
    }
    if (policy)
        return policy;
    if (!model->plugin) {
        mete_fail(cx, METE_EINVAL,
                  "the model '%s' has no parameters yet (no snapshot of it is taken)", model->name);
        return NULL;
    }
    if (own_ready(model, cx->err))
        return NULL;
    *params = (mete_params){.size = sizeof *params,
                            .element = METE_F32,
                            .vector = model->private_->model_vector,
                            .count = model->parameter_count};
    return model;
}

uint32_t
mete__policy_abilities(const mete_node *policy)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    uint32_t can = 0;
    if (plugin->generate)
        can |= METE_CAN_GENERATE | METE_CAN_CONVERSE;
    if (plugin->act)
        can |= METE_CAN_GENERATE;
    if (plugin->logprob || (plugin->encode && plugin->forward))
        can |= METE_CAN_LOGPROB | METE_CAN_CHOOSE;
    if (plugin->choose)
        can |= METE_CAN_CHOOSE;
    return can;
}

uint32_t
mete_model_can(mete_ctx *cx, mete_node *model)
{
    const mete_node *policy = model;
    if (model && !model->plugin) /* a snapshot is of the trained policy */
        policy = cx->engine->policy;
    return policy && policy->plugin ? mete__policy_abilities(policy) : 0;
}

uint64_t
mete_messages_hash(const mete_message *message, size_t count)
{
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++)
        hash = mete_hash(mete_hash_mix(hash, message[i].speaker), message[i].text.data,
                         message[i].text.length);
    return hash;
}

/* ---- requests -------------------------------------------------------------------------------- */

#define MOST_ALTERNATIVES 20

/* What is wrong with a request, or NULL. */
static const char *
request_fault(const mete_request *request, int what)
{
    if (!request->messages || !request->message)
        return "has no message";
    for (uint32_t i = 0; i < request->messages; i++)
        if (request->message[i].speaker > METE_TOOL)
            return "has a message by nobody known";
    if (!(request->temperature >= 0 && request->temperature <= 100))
        return "has a temperature outside 0 to 100";
    if (!(request->top_p >= 0 && request->top_p <= 1))
        return "has a top_p outside 0 to 1";
    if (!(request->min_p >= 0 && request->min_p <= 1))
        return "has a min_p outside 0 to 1";
    if (request->repeat_penalty && !(request->repeat_penalty >= 1 && request->repeat_penalty <= 10))
        return "has a repeat_penalty outside 1 to 10";
    if (request->alternatives > MOST_ALTERNATIVES)
        return "asks for more than 20 alternatives";
    for (size_t i = 0; i < request->stops; i++)
        if (!request->stop[i].length)
            return "has an empty stop text";
    if (what != METE__CHOOSE)
        return NULL;
    if (request->options < 2)
        return "offers fewer than two options";
    for (size_t i = 0; i < request->options; i++) {
        if (!request->option[i].length)
            return "offers an empty option";
        for (size_t k = 0; k < i; k++)
            if (mete_text_equal(request->option[i], request->option[k]))
                return "offers an option twice";
    }
    return NULL;
}

/* The asker's requests, of whatever size its header had, as the host's; NULL after an error. */
static const mete_requests *
requests_read(mete_ctx *cx, const mete_request *from, size_t count, int what)
{
    mete_requests *all = mete__arena_take(cx->arena, sizeof *all);
    mete_request *item = mete__arena_zero(cx->arena, (count + 1) * sizeof *item);
    if (!all || !item) {
        mete_fail(cx, METE_ENOMEM, "out of memory for %zu requests", count);
        return NULL;
    }
    size_t stride = count ? from->size : sizeof *item;
    if (stride < offsetof(mete_request, seed) || stride > 4096) {
        mete_fail(cx, METE_EPLUGIN, "asked with a request that does not say its size");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(&item[i], (const char *)from + i * stride,
               stride < sizeof *item ? stride : sizeof *item);
        const char *fault = item[i].size != stride ? "has another size than the first"
                                                   : request_fault(&item[i], what);
        if (fault) {
            mete_fail(cx, METE_EPLUGIN, "asked with a request (number %zu) that %s", i, fault);
            return NULL;
        }
        item[i].size = sizeof *item;
    }
    *all = (mete_requests){sizeof *all, sizeof *item, count, item};
    return all;
}

/* ---- replies --------------------------------------------------------------------------------- */

mete_replies *
mete__replies_new(mete_ctx *cx, size_t count)
{
    mete_replies *all = mete__arena_take(cx->arena, sizeof *all);
    mete_reply *item = mete__arena_zero(cx->arena, (count + 1) * sizeof *item);
    if (!all || !item) {
        mete_fail(cx, METE_ENOMEM, "out of memory for %zu replies", count);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        item[i].size = sizeof *item;
        item[i].status = METE_FAILED;
        item[i].reason = mete_text_from("the model gave no reply");
        item[i].logp = NAN;
    }
    *all = (mete_replies){sizeof *all, sizeof *item, count, item};
    return all;
}

int
mete_reply_say(mete_ctx *cx, mete_reply *reply, mete_text text)
{
    char *copy = mete__arena_string(cx->arena, text.data, text.length);
    if (!copy)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a reply of %zu bytes", text.length);
    reply->status = METE_VALID;
    reply->reason = (mete_text){NULL, 0};
    reply->text = (mete_text){copy, text.length};
    return METE_OK;
}

void
mete_reply_fail(mete_ctx *cx, mete_reply *reply, int status, const char *format, ...)
{
    char message[sizeof((mete_error *)0)->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const char *copy = mete__arena_string(cx->arena, message, strlen(message));
    reply->status = status == METE_TIMED_OUT ? METE_TIMED_OUT : METE_FAILED;
    reply->reason = mete_text_from(copy ? copy : "out of memory for the reason");
    reply->text = (mete_text){NULL, 0};
}

/* What a model got wrong in a reply, or NULL. */
static const char *
reply_fault(const mete_request *request, const mete_reply *reply, int what)
{
    if (reply->status == METE_NOT_APPLICABLE || reply->status > METE_TIMED_OUT)
        return "has a status that replies do not have";
    if (reply->status != METE_VALID)
        return reply->reason.length ? NULL : "failed without a reason";
    if (reply->cost < 0 || !isfinite(reply->cost) || reply->seconds < 0 ||
        !isfinite(reply->seconds))
        return "has a cost or duration that is no number";
    for (size_t i = 0; i < reply->tokens; i++)
        if (!isfinite(reply->token[i].logp) || reply->token[i].logp > 1e-3f ||
            reply->token[i].begin > reply->token[i].end || reply->token[i].end > reply->text.length)
            return "has a token outside its text, or with a log-probability that is none";
    if (what == METE__LOGPROB && !isfinite(reply->logp))
        return "has no log-probability";
    if (what != METE__CHOOSE)
        return NULL;
    double sum = 0;
    for (size_t i = 0; reply->chance && i < request->options; i++)
        sum += reply->chance[i] >= 0 ? reply->chance[i] : NAN;
    return fabs(sum - 1) < 1e-6 ? NULL : "has no chances that sum to 1";
}

static int
replies_check(mete_ctx *cx, const mete_node *policy, const mete_requests *requests,
              const mete_replies *replies, int what)
{
    for (size_t i = 0; i < requests->count; i++) {
        const char *fault = reply_fault(mete_request_at(requests, i), &replies->item[i], what);
        if (fault)
            return mete_fail(cx, METE_EPLUGIN, "model '%s' gave a reply (number %zu) that %s",
                             policy->path, i, fault);
    }
    return METE_OK;
}

/* The choice follows from the chances: the greatest, or one drawn from chance^(1/temperature). */
static void
choices_make(const mete_node *policy, const mete_requests *requests, mete_replies *replies,
             double *weight)
{
    for (size_t i = 0; i < requests->count; i++) {
        const mete_request *request = mete_request_at(requests, i);
        mete_reply *reply = &replies->item[i];
        if (reply->status != METE_VALID)
            continue;
        size_t best = 0;
        for (size_t k = 1; k < request->options; k++)
            if (reply->chance[k] > reply->chance[best])
                best = k;
        reply->choice = best;
        if (request->temperature > 0) {
            mete_rng rng = mete_rng_make(policy->key, request->seed, 0);
            for (size_t k = 0; k < request->options; k++)
                weight[k] = pow(reply->chance[k] / reply->chance[best], 1 / request->temperature);
            reply->choice = mete_rng_choose(&rng, weight, request->options);
        }
        reply->text = request->option[reply->choice];
    }
}

static int
choices_finish(mete_ctx *cx, const mete_node *policy, const mete_requests *requests,
               mete_replies *replies)
{
    size_t most = 0;
    for (size_t i = 0; i < requests->count; i++) {
        size_t options = mete_request_at(requests, i)->options;
        most = options > most ? options : most;
    }
    double *weight = mete__arena_take(cx->arena, (most + 1) * sizeof *weight);
    if (!weight)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu options", most);
    choices_make(policy, requests, replies, weight);
    return METE_OK;
}

/* ---- asking ---------------------------------------------------------------------------------- */

mete_ctx
mete__answer_ctx(const mete_ctx *cx, mete_node *policy, const mete_params *params)
{
    mete_ctx call = mete__ctx_make(policy, 0, cx->err);
    call.arena = cx->arena; /* replies live as long as the asker's call */
    call.params = *params;
    return call;
}

int
mete__answer(mete_ctx *cx, mete_node *policy, mete_answer function, const mete_params *params,
             const mete_requests *requests, mete_replies *replies)
{
    mete_ctx call = mete__answer_ctx(cx, policy, params);
    return mete__ctx_blame(policy, function(&call, policy->self, params, requests, replies),
                           cx->err);
}

static int
answer(mete_ctx *cx, mete_node *policy, const mete_params *params, const mete_requests *requests,
       mete_replies *replies, int what)
{
    const mete_policy *plugin = &policy->plugin->as.policy;
    mete_answer own = what == METE__GENERATE  ? plugin->generate
                      : what == METE__LOGPROB ? plugin->logprob
                                              : plugin->choose;
    if (own)
        return mete__answer(cx, policy, own, params, requests, replies);
    if (what == METE__GENERATE)
        return mete__generate_by_act(cx, policy, params, requests, replies);
    if (what == METE__LOGPROB)
        return mete__logprob_by_forward(cx, policy, params, requests, replies);
    return mete__choose_derived(cx, policy, params, requests, replies);
}

/* A check spends nothing: remote models are opened, and not asked. */
static const mete_replies *
replies_unasked(const mete_replies *replies)
{
    for (size_t i = 0; i < replies->count; i++)
        replies->item[i].reason = mete_text_from("a check asks no remote model");
    return replies;
}

static void
count_usage(mete_node *model, const mete_replies *replies)
{
    mete__usage *usage = &model->private_->usage;
    pthread_mutex_lock(&model->private_->lock);
    usage->requests += replies->count;
    for (size_t i = 0; i < replies->count; i++) {
        const mete_reply *reply = &replies->item[i];
        usage->failed += reply->status != METE_VALID;
        usage->cached += reply->cached != 0;
        usage->prompt_tokens += reply->prompt_tokens;
        usage->answer_tokens += reply->answer_tokens;
        usage->cost += reply->cost;
        usage->seconds += reply->seconds;
    }
    pthread_mutex_unlock(&model->private_->lock);
}

mete__usage
mete__node_usage(mete_node *node)
{
    pthread_mutex_lock(&node->private_->lock);
    mete__usage usage = node->private_->usage;
    pthread_mutex_unlock(&node->private_->lock);
    return usage;
}

const mete_replies *
mete__ask(mete_ctx *cx, mete_node *model, const mete_request *request, size_t count,
          enum mete__asking what)
{
    if (model && mete__talk_far()) {
        const mete_requests *far = requests_read(cx, request, count, what);
        return far ? mete__talk_ask(cx, model, far, what) : NULL;
    }
    mete_params params;
    mete_node *policy = answerer(cx, model, &params);
    const mete_requests *requests = policy ? requests_read(cx, request, count, what) : NULL;
    mete_replies *replies = requests ? mete__replies_new(cx, count) : NULL;
    if (!replies)
        return NULL;
    if (policy->engine->options.check_only && policy->plugin->as.head.flags & METE_WAITS)
        return replies_unasked(replies);
    if (count && (answer(cx, policy, &params, requests, replies, what) ||
                  replies_check(cx, policy, requests, replies, what)))
        return NULL;
    count_usage(model, replies);
    if (what == METE__CHOOSE && choices_finish(cx, policy, requests, replies))
        return NULL;
    return replies;
}

const mete_replies *
mete_generate(mete_ctx *cx, mete_node *model, const mete_request *request, size_t count)
{
    return mete__ask(cx, model, request, count, METE__GENERATE);
}

const mete_replies *
mete_logprob(mete_ctx *cx, mete_node *model, const mete_request *request, size_t count)
{
    return mete__ask(cx, model, request, count, METE__LOGPROB);
}

const mete_replies *
mete_choose(mete_ctx *cx, mete_node *model, const mete_request *request, size_t count)
{
    return mete__ask(cx, model, request, count, METE__CHOOSE);
}

/* ---- states ---------------------------------------------------------------------------------- */

int
mete_encoder_of(mete_ctx *cx, mete_node *model, mete_encoder *out)
{
    mete_params params;
    mete_node *policy = answerer(cx, model, &params);
    if (!policy)
        return METE_EINVAL;
    if (!policy->plugin->as.policy.embed || !policy->info.width)
        return mete_fail(cx, METE_ENOTSUP, "the model '%s' gives no states of texts", model->name);
    *out = (mete_encoder){policy->info.width, params.count, params.vector};
    return METE_OK;
}

mete_var *
mete_embed(mete_ctx *cx, mete_node *model, const float *vector, const mete_batch *batch,
           mete_tape *tape)
{
    mete_params params;
    mete_encoder encoder = {0};
    mete_var *out = NULL;
    if (mete_encoder_of(cx, model, &encoder))
        return NULL;
    mete_node *policy = answerer(cx, model, &params);
    if (vector)
        params.vector = vector;
    mete_ctx call = mete__answer_ctx(cx, policy, &params);
    int status = policy->plugin->as.policy.embed(&call, policy->self, &params, batch, tape, &out);
    if (mete__ctx_blame(policy, status, cx->err))
        return NULL;
    if (out && out->rows == batch->episodes && out->columns == encoder.width)
        return out;
    mete_fail(cx, METE_EPLUGIN, "model '%s' gave states of another shape", model->name);
    return NULL;
}

const mete_replies *
mete__model_generate(mete_node *model, const mete_request *request, size_t count, mete_error *err)
{
    mete_ctx cx = mete__ctx_make(model, 0, err);
    cx.arena = model->engine->arena;
    return mete__ask(&cx, model, request, count, METE__GENERATE);
}
