/* contrast_prompts - token rewards from what a model finds more likely under a good prompt than
 * under a bad one (T-REG; Zhou et al. 2024, arXiv:2412.02685):
 *
 *   r_t = scale (sigma(log p(y_t | better, x, y_<t) - log p(y_t | worse, x, y_<t)) - 1/2)
 *
 * `better` and `worse` stand before and after the prompt as text. The model needs no training for
 * it but must know log-probabilities. Its tokens need not be the batch's: a token of the batch gets
 * the log-ratios of the model's tokens by the bytes they share.
 */
#include <math.h>
#include <mete/model.h>
#include <mete/reward.h>
#include <mete/text.h>

struct contrast_prompts {
    mete_node *model;
    const char *better, *worse, *better_after, *worse_after;
    double scale;
    int ratio;
};

static const mete_option options[] = {
    METE_MODEL(struct contrast_prompts, model, "reference", 0, "whose log-probabilities count"),
    METE_STRING(struct contrast_prompts, better,
                "Give the best answer: correct, complete and clear.\n\n", 0,
                "before the prompt, for a good response"),
    METE_STRING(struct contrast_prompts, worse,
                "Give the worst answer: wrong, incomplete and confused.\n\n", 0,
                "before the prompt, for a bad response"),
    METE_STRING(struct contrast_prompts, better_after, "", 0, "after the prompt, for a good one"),
    METE_STRING(struct contrast_prompts, worse_after, "", 0, "after the prompt, for a bad one"),
    METE_REAL(struct contrast_prompts, scale, 1, 0, 1e6, "a token gets at most half of it"),
    METE_OPTIONS_END};

static int
open_contrast(mete_ctx *cx, void *self)
{
    struct contrast_prompts *p = self;
    if (!(mete_model_can(cx, p->model) & METE_CAN_LOGPROB))
        return mete_fail(cx, METE_EINVAL, "the model tells no log-probability of given text");
    p->ratio = mete_signal(cx, "log_ratio", METE_STEP, METE_ROLE_INFO, -INFINITY, INFINITY,
                           "log p under the better prompt - log p under the worse");
    return p->ratio < 0 ? p->ratio : METE_OK;
}

static int
framed(mete_ctx *cx, const char *before, mete_text prompt, const char *after, mete_message *out)
{
    mete_buffer text = mete_buffer_make(0);
    mete_buffer_string(&text, before);
    mete_buffer_text(&text, prompt);
    mete_buffer_string(&text, after);
    *out = (mete_message){METE_USER, 0, mete_text_copy(cx, mete_buffer_view(&text))};
    int failed = text.status || !out->text.data;
    mete_buffer_free(&text);
    return failed ? mete_fail(cx, METE_ENOMEM, "out of memory for a prompt") : METE_OK;
}

/* Adds `sign` times the log-probabilities of the reply's tokens to the steps [from, to) of the
 * batch, by the bytes they share; 0 when they cannot be placed. */
static int
place(const mete_batch *batch, size_t from, size_t to, const mete_reply *reply, double sign,
      double *ratio)
{
    size_t first = from;
    for (size_t k = 0; k < reply->tokens; k++) {
        const mete_token *token = &reply->token[k];
        double bytes = (double)token->end - token->begin;
        for (size_t t = first; t < to && bytes > 0; t++) {
            uint32_t begin = batch->span[2 * t], end = batch->span[2 * t + 1];
            uint32_t low = begin > token->begin ? begin : token->begin;
            uint32_t high = end < token->end ? end : token->end;
            if (end <= token->begin)
                first = t + 1; /* spans ascend: no later token reaches back here */
            if (begin >= token->end)
                break;
            if (low < high)
                ratio[t] += sign * (double)token->logp * (high - low) / bytes;
        }
    }
    return reply->token != NULL;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct contrast_prompts *p = self;
    size_t rows = batch->episodes;
    mete_message *message = mete_arena(cx, (2 * rows + 1) * sizeof *message);
    mete_request *request = mete_arena(cx, (2 * rows + 1) * sizeof *request);
    double *ratio = mete_out(out, p->ratio);
    if (!batch->response || !batch->prompt)
        return mete_fail(cx, METE_EDATA, "there are no %s",
                         batch->response ? "prompts" : "responses");
    if (!message || !request)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu requests", 2 * rows);
    for (size_t i = 0; i < 2 * rows; i++) {
        size_t row = i / 2;
        int status = i % 2
                         ? framed(cx, p->worse, batch->prompt[row], p->worse_after, &message[i])
                         : framed(cx, p->better, batch->prompt[row], p->better_after, &message[i]);
        if (status)
            return status;
        request[i] = (mete_request){.size = sizeof *request,
                                    .messages = 1,
                                    .message = &message[i],
                                    .given = batch->response[row]};
    }
    const mete_replies *got = mete_logprob(cx, p->model, request, 2 * rows);
    if (!got)
        return METE_EIO;
    for (size_t i = 0; i < rows; i++) {
        const mete_reply *good = mete_reply_at(got, 2 * i), *bad = mete_reply_at(got, 2 * i + 1);
        size_t from = batch->step_begin[i], to = batch->step_begin[i + 1];
        const mete_reply *failed = good->status ? good : bad;
        out->episode[i] = 0;
        if (failed->status) {
            mete_row_fail(cx, i, (int)failed->status, "%.*s", (int)failed->reason.length,
                          failed->reason.data ? failed->reason.data : "");
        } else if (from == to || !batch->span) {
            mete_row_fail(cx, i, METE_NOT_APPLICABLE, "the row has no tokens");
        } else if (!place(batch, from, to, good, 1, ratio) ||
                   !place(batch, from, to, bad, -1, ratio)) {
            mete_row_fail(cx, i, METE_FAILED, "the model told no log-probability of each token");
        } else {
            for (size_t t = from; t < to; t++)
                out->step[t] = p->scale * (1 / (1 + exp(-ratio[t])) - 0.5);
        }
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(
    contrast_prompts, "1.0", "token rewards from a model's log-ratio under a good and a bad prompt",
    .doc = "A row without tokens (a text scored from a file) is not applicable. A token that ends\n"
           "the response and has no bytes gets 0. Signal: log_ratio, by token.\n"
           "\n"
           "reward = { use = \"contrast_prompts\"; model = \"reference\"; scale = 0.1; };\n",
    .reference = "Zhou et al. 2024, T-REG, arXiv:2412.02685", .options = options,
    .state_size = sizeof(struct contrast_prompts), .flags = METE_PER_STEP, .open = open_contrast,
    .score = score);
