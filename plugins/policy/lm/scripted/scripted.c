/* scripted - a deterministic local language model: it answers from a table of patterns, or judges
 * by simple checks, with the errors, failures and delay it is told to have.
 *
 * A question makes a list of outcomes with chances. Without a temperature the first is said; with
 * one, an outcome is drawn with probability proportional to chance^(1/temperature), by the seed of
 * the request. An error of probability `error_rate` is a matter of the question in the first case,
 * and of the question and the seed in the second: so greedy answers err alike each time they are
 * asked, as a model's do, and votes err independently.
 */
#include "scripted.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_CHANCE 1e-9 /* no log-probability is infinite */

static const mete_option rule_options[] = {
    METE_STRING(struct rule, when, NULL, METE_REQUIRED, "pattern (PCRE2) of what this answers"),
    METE_STRING(struct rule, say, NULL, 0, "the answer; $1 or ${name} is a group of the pattern"),
    METE_STRINGS(struct rule, choose, 0, "several answers, of which one is drawn"),
    METE_REALS(struct rule, chance, 0, 1e12, 0, "weight of each answer; all alike when absent"),
    METE_STRING(struct rule, wrong, NULL, 0, "what is said in error"),
    METE_ENUM(struct rule, check, CHECK_CONTAINS,
              "contains|not_contains|regex|not_regex|number|words",
              "judge: what the response must do; contains knows no case, number is \"value\" or "
              "\"value;tolerance\", words is \"least;most\""),
    METE_STRING(struct rule, target, "$1", 0, "judge: the check's argument, with groups"),
    METE_OPTIONS_END};

static const mete_option options[] = {
    METE_ENUM(struct scripted, mode, MODE_TABLE, "table|judge",
              "table: the rules say answers; judge: they check a response by a criterion"),
    METE_ENUM(struct scripted, over, OVER_USER, "user|conversation",
              "what patterns see: the last user message, or all, as \"role: text\" lines"),
    METE_LIST_OF(struct scripted, rules, struct rule, rule_options, 0,
                 "the script: the first rule that matches answers"),
    METE_STRING(struct scripted, otherwise, NULL, 0,
                "answer when no rule matches; without it the reply is a failed one"),
    METE_STRING(struct scripted, criterion, "(?s)<criterion>\\s*(.*?)\\s*</criterion>", 0,
                "judge: where the criterion stands in the question"),
    METE_STRING(struct scripted, response, "(?s)<response>\\n?(.*)\\n?</response>", 0,
                "judge: where the response stands"),
    METE_STRING(struct scripted, rival, NULL, 0,
                "judge: where another response stands; yes then says the first is the better"),
    METE_STRING(struct scripted, yes, "{\"verdict\": \"yes\"}", 0, "judge: says it is met"),
    METE_STRING(struct scripted, no, "{\"verdict\": \"no\"}", 0, "judge: says it is not met"),
    METE_REAL(struct scripted, error_rate, 0, 0, 1, "probability of the wrong answer"),
    METE_REAL(struct scripted, failure_rate, 0, 0, 1, "probability of a failed reply"),
    METE_REAL(struct scripted, delay, 0, 0, 60, "seconds a reply takes, as it reports"),
    METE_BOOL(struct scripted, sleep, 0, "really waits that long, once a call"),
    METE_INT(struct scripted, match_limit, 1000000, 1, 1 << 30, "steps a match may take"),
    METE_DATA(struct scripted, transcripts, 0,
              "recorded answers: records with `reply` and `prompt` (the only message), or "
              "`conversation` (its hash, 16 hexadecimal digits); they go before the rules"),
    METE_OPTIONS_END};

/* ---- opening --------------------------------------------------------------------------------- */

static int
open_pattern(mete_ctx *cx, const struct scripted *p, const char *what, const char *text,
             mete_pattern **out)
{
    mete_error err;
    *out = mete_pattern_new(mete_text_from(text), 0, (uint32_t)p->match_limit, &err);
    return *out ? METE_OK : mete_fail(cx, err.code, "%s, %s", what, err.message);
}

static int
open_rule(mete_ctx *cx, struct scripted *p, struct rule *rule, size_t i)
{
    if (p->mode == MODE_TABLE && !rule->say == !rule->choose.count)
        return mete_fail(cx, METE_EINVAL, "rules[%zu] must have say or choose, and not both", i);
    if (rule->chance.count && rule->chance.count != rule->choose.count)
        return mete_fail(cx, METE_EINVAL, "rules[%zu].chance has %zu numbers for %zu answers", i,
                         rule->chance.count, rule->choose.count);
    double sum = 0;
    for (size_t k = 0; k < rule->chance.count; k++)
        sum += rule->chance.item[k];
    if (rule->chance.count && !(sum > 0))
        return mete_fail(cx, METE_EINVAL, "rules[%zu].chance is 0 everywhere", i);
    if (p->mode == MODE_TABLE && p->error_rate > 0 && !rule->wrong)
        return mete_fail(cx, METE_EINVAL,
                         "rules[%zu] needs `wrong`, what to say in error, as error_rate is not 0",
                         i);
    return open_pattern(cx, p, "a rule's pattern", rule->when, &rule->pattern);
}

static int
by_hash(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b; /* hash, then row: the file's order within a conversation */
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

static int
hash_read(mete_text text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.length; i++) {
        const char *hex = "0123456789abcdef", *at = memchr(hex, text.data[i], 16);
        if (!at)
            return 0;
        *out = *out << 4 | (uint64_t)(at - hex);
    }
    return text.length == 16;
}

static int
open_transcripts(mete_ctx *cx, struct scripted *p)
{
    const mete_table *table = p->transcripts;
    const mete_text *prompt = mete_table_text(table, "prompt");
    const mete_text *conversation = mete_table_text(table, "conversation");
    struct {
        uint64_t hash, row;
    } *heard = mete_arena(cx, (table->rows + 1) * sizeof *heard);
    p->reply = mete_table_text(table, "reply");
    p->heard = mete_alloc(cx, (table->rows + 1) * sizeof *p->heard);
    p->row = mete_alloc(cx, (table->rows + 1) * sizeof *p->row);
    if (!heard || !p->heard || !p->row)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu transcripts", table->rows);
    for (size_t i = 0; i < table->rows; i++) {
        heard[i].row = i;
        mete_message message = {METE_USER, 0, {NULL, 0}};
        if (prompt && prompt[i].data) {
            message.text = prompt[i];
            heard[i].hash = mete_messages_hash(&message, 1);
        } else if (!conversation || !hash_read(conversation[i], &heard[i].hash)) {
            return mete_fail(cx, METE_EDATA,
                             "%s:%llu: a transcript has neither `prompt` nor `conversation` (16 "
                             "hexadecimal digits)",
                             table->file, (unsigned long long)table->line[i]);
        }
        if (!p->reply || !p->reply[i].data)
            return mete_fail(cx, METE_EDATA, "%s:%llu: a transcript has no `reply`", table->file,
                             (unsigned long long)table->line[i]);
    }
    qsort(heard, table->rows, sizeof *heard, by_hash);
    for (size_t i = 0; i < table->rows; i++) {
        p->heard[i] = heard[i].hash;
        p->row[i] = (uint32_t)heard[i].row;
    }
    return METE_OK;
}

static void
close_scripted(mete_ctx *cx, void *self)
{
    struct scripted *p = self;
    struct rule *rule = p->rules.item;
    (void)cx;
    for (size_t i = 0; i < p->rules.count; i++)
        mete_pattern_free(rule[i].pattern);
    mete_pattern_free(p->criterion_pattern);
    mete_pattern_free(p->response_pattern);
    mete_pattern_free(p->rival_pattern);
}

static int
open_judge(mete_ctx *cx, struct scripted *p)
{
    int status = open_pattern(cx, p, "criterion", p->criterion, &p->criterion_pattern);
    if (!status)
        status = open_pattern(cx, p, "response", p->response, &p->response_pattern);
    if (!status && p->rival)
        status = open_pattern(cx, p, "rival", p->rival, &p->rival_pattern);
    return status;
}

static int
open_all(mete_ctx *cx, struct scripted *p)
{
    struct rule *rule = p->rules.item;
    int status = METE_OK;
    if (!p->rules.count && !p->otherwise && !p->transcripts)
        return mete_fail(cx, METE_EINVAL,
                         "has nothing to say: give rules, otherwise or transcripts");
    for (size_t i = 0; i < p->rules.count && !status; i++)
        status = open_rule(cx, p, &rule[i], i);
    if (!status && p->mode == MODE_JUDGE)
        status = open_judge(cx, p);
    if (!status && p->transcripts)
        status = open_transcripts(cx, p);
    return status;
}

static int
open_scripted(mete_ctx *cx, void *self)
{
    int status = open_all(cx, self);
    if (status) /* close is called after a good open only */
        close_scripted(cx, self);
    return status;
}

/* ---- outcomes of a question ------------------------------------------------------------------ */

/* One call's work on one request. */
struct question {
    const struct scripted *p;
    const mete_request *request;
    mete_reply *reply;
    mete_matcher *matcher;
    mete_text text; /* what patterns see */
    uint64_t key;   /* of the question and, with a temperature, the seed */
    struct outcome *outcome;
    size_t outcomes;
};

static int
ask_text(mete_ctx *cx, struct question *q)
{
    static const char *const role[] = {"system: ", "user: ", "assistant: ", "tool: "};
    const mete_request *request = q->request;
    q->text = (mete_text){"", 0};
    if (q->p->over == OVER_USER) {
        for (uint32_t i = 0; i < request->messages; i++)
            if (request->message[i].speaker == METE_USER)
                q->text = request->message[i].text;
        return METE_OK;
    }
    mete_buffer all = mete_buffer_make(0);
    for (uint32_t i = 0; i < request->messages; i++) {
        mete_buffer_string(&all, role[request->message[i].speaker & 3]);
        mete_buffer_text(&all, request->message[i].text);
        mete_buffer_byte(&all, '\n');
    }
    q->text = mete_text_copy(cx, mete_buffer_view(&all));
    int status = all.status || !q->text.data ? METE_ENOMEM : METE_OK;
    mete_buffer_free(&all);
    return status ? mete_fail(cx, status, "out of memory for a conversation") : METE_OK;
}

static int
make_room(mete_ctx *cx, struct question *q, size_t outcomes)
{
    q->outcome = mete_arena(cx, outcomes * sizeof *q->outcome);
    q->outcomes = 0;
    return q->outcome ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory for outcomes");
}

static void
add(struct question *q, mete_text text, double chance)
{
    q->outcome[q->outcomes++] = (struct outcome){text, chance};
}

/* A recorded answer: those of one conversation take turns by the seed. */
static int
recorded(mete_ctx *cx, struct question *q)
{
    const struct scripted *p = q->p;
    size_t rows = p->transcripts->rows, low = 0, high = rows;
    uint64_t hash = mete_messages_hash(q->request->message, q->request->messages);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->heard[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (high = low; high < rows && p->heard[high] == hash;)
        high++;
    if (low == high)
        return METE_OK;
    size_t turn = q->request->temperature > 0 ? (size_t)(q->request->seed % (high - low)) : 0;
    if (make_room(cx, q, 1))
        return METE_ENOMEM;
    add(q, p->reply[p->row[low + turn]], 1);
    return METE_OK;
}

static int
fill_rule(mete_ctx *cx, struct question *q, const struct rule *rule, const char *template,
          mete_text *out)
{
    return template_fill(cx, template, rule->pattern, q->text, q->matcher, 0, out);
}

static int
from_rule(mete_ctx *cx, struct question *q, const struct rule *rule)
{
    double error = rule->wrong ? q->p->error_rate : 0, sum = 0;
    mete_text text;
    int status = make_room(cx, q, rule->choose.count + 2);
    for (size_t k = 0; k < rule->choose.count; k++)
        sum += rule->chance.count ? rule->chance.item[k] : 1;
    if (!status && rule->say && !(status = fill_rule(cx, q, rule, rule->say, &text)))
        add(q, text, 1 - error);
    for (size_t k = 0; k < rule->choose.count && !status; k++) {
        double weight = rule->chance.count ? rule->chance.item[k] : 1;
        status = fill_rule(cx, q, rule, rule->choose.item[k], &text);
        add(q, text, (1 - error) * weight / sum);
    }
    /* The most probable first, as a greedy answer takes it. */
    for (size_t k = 1; k < q->outcomes; k++)
        if (q->outcome[k].chance > q->outcome[0].chance) {
            struct outcome swap = q->outcome[0];
            q->outcome[0] = q->outcome[k];
            q->outcome[k] = swap;
        }
    if (!status && error > 0) {
        status = fill_rule(cx, q, rule, rule->wrong, &text);
        add(q, text, error);
    }
    return status;
}

static int
by_table(mete_ctx *cx, struct question *q)
{
    const struct rule *rule = q->p->rules.item;
    for (size_t i = 0; i < q->p->rules.count; i++) {
        int found = mete_pattern_find(rule[i].pattern, q->text, q->matcher);
        if (found > 0)
            return from_rule(cx, q, &rule[i]);
        if (found < 0) {
            mete_reply_fail(cx, q->reply, METE_FAILED, "a match was given up (PCRE2 error %d)",
                            found);
            return METE_OK;
        }
    }
    mete_reply_fail(cx, q->reply, METE_FAILED, "the script has no rule for this question");
    return METE_OK;
}

static int
by_judge(mete_ctx *cx, struct question *q)
{
    int met = judge_decide(cx, q->p, q->text, q->matcher, q->reply);
    if (met < 0)
        return METE_OK;
    if (make_room(cx, q, 2))
        return METE_ENOMEM;
    add(q, mete_text_from(met ? q->p->yes : q->p->no), 1 - q->p->error_rate);
    add(q, mete_text_from(met ? q->p->no : q->p->yes), q->p->error_rate);
    return METE_OK;
}

/* Without a temperature the question alone decides whether it is answered in error: the wrong
 * answer, the last, then stands first, as sure of itself as the right one would be. */
static void
err_greedily(mete_ctx *cx, struct question *q)
{
    mete_rng rng = mete_random(cx, q->key, 0);
    size_t last = q->outcomes - 1;
    if (q->request->temperature > 0 || !last || q->p->error_rate <= 0 ||
        mete_rng_uniform(&rng) >= q->p->error_rate)
        return;
    struct outcome right = q->outcome[0];
    q->outcome[0].text = q->outcome[last].text;
    q->outcome[last].text = right.text;
}

/* Fills q->outcome, or makes the reply a failed one and leaves it empty. */
static int
outcomes(mete_ctx *cx, struct question *q)
{
    const struct scripted *p = q->p;
    uint64_t hash = mete_messages_hash(q->request->message, q->request->messages);
    q->key = q->request->temperature > 0 ? mete_hash_mix(hash, q->request->seed) : hash;
    q->outcomes = 0;
    mete_rng rng = mete_random(cx, q->key, 1);
    if (p->failure_rate > 0 && mete_rng_uniform(&rng) < p->failure_rate) {
        mete_reply_fail(cx, q->reply, METE_FAILED, "a scripted failure");
        return METE_OK;
    }
    int status = ask_text(cx, q);
    if (!status && p->transcripts)
        status = recorded(cx, q);
    if (status || q->outcomes)
        return status;
    status = p->mode == MODE_JUDGE ? by_judge(cx, q) : by_table(cx, q);
    if (!status && !q->outcomes && p->otherwise) {
        status = make_room(cx, q, 1);
        if (!status)
            add(q, mete_text_from(p->otherwise), 1);
    }
    if (!status && q->outcomes)
        err_greedily(cx, q);
    return status;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Before the first stop text, and no more than max_tokens words. */
static mete_text
cut(const mete_request *request, mete_text text, uint32_t *finish)
{
    mete_word word;
    size_t at = 0, words = 0;
    for (size_t i = 0; i < request->stops; i++)
        text = mete_text_slice(text, 0, mete_text_find(text, request->stop[i], 0));
    while (request->max_tokens && mete_word_next(text, METE_WORDS_SPACES, &at, &word))
        if (++words > request->max_tokens) {
            *finish = METE_FINISH_LENGTH;
            return mete_text_trim(mete_text_slice(text, 0, (size_t)(word.text.data - text.data)));
        }
    return text;
}

/* One token, the whole answer, and what could have been said instead. */
static int
tell_tokens(mete_ctx *cx, const struct question *q, size_t said)
{
    mete_reply *reply = q->reply;
    size_t wanted = q->request->alternatives;
    mete_token *token = mete_arena(cx, sizeof *token);
    mete_alternative *other = mete_arena(cx, (wanted + 1) * sizeof *other);
    uint8_t *taken = mete_arena(cx, q->outcomes);
    if (!token || !other || !taken)
        return mete_fail(cx, METE_ENOMEM, "out of memory for an answer");
    double chance = q->outcome[said].chance;
    reply->logp = log(chance > LEAST_CHANCE ? chance : LEAST_CHANCE);
    *token =
        (mete_token){.id = -1, .logp = (float)reply->logp, .end = (uint32_t)reply->text.length};
    reply->token = token;
    reply->tokens = 1;
    for (size_t k = 0; k < wanted; k++) {
        size_t best = q->outcomes;
        for (size_t i = 0; i < q->outcomes; i++)
            if (!taken[i] &&
                (best == q->outcomes || q->outcome[i].chance > q->outcome[best].chance))
                best = i;
        other[k] = (mete_alternative){{NULL, 0}, -1, -INFINITY};
        if (best == q->outcomes)
            continue;
        taken[best] = 1;
        chance = q->outcome[best].chance;
        other[k].text = q->outcome[best].text;
        other[k].logp = (float)log(chance > LEAST_CHANCE ? chance : LEAST_CHANCE);
    }
    reply->alternative = wanted ? other : NULL;
    reply->alternatives = (uint32_t)wanted;
    return METE_OK;
}

static int
tell_answer(mete_ctx *cx, struct question *q)
{
    size_t said = 0;
    if (q->request->temperature > 0) {
        double *weight = mete_arena(cx, q->outcomes * sizeof *weight);
        mete_rng rng = mete_random(cx, q->key, 2);
        if (!weight)
            return mete_fail(cx, METE_ENOMEM, "out of memory for an answer");
        for (size_t i = 0; i < q->outcomes; i++)
            weight[i] = pow(q->outcome[i].chance, 1 / q->request->temperature);
        said = mete_rng_choose(&rng, weight, q->outcomes);
    }
    uint32_t finish = METE_FINISH_STOP;
    mete_text text = cut(q->request, q->outcome[said].text, &finish);
    if (mete_reply_say(cx, q->reply, text))
        return METE_ENOMEM;
    q->reply->finish = finish;
    q->reply->answer_tokens = mete_words(text, METE_WORDS_SPACES, NULL, 0);
    return tell_tokens(cx, q, said);
}

static int
tell_logprob(mete_ctx *cx, struct question *q)
{
    double chance = 0;
    for (size_t i = 0; i < q->outcomes; i++)
        if (mete_text_equal(q->outcome[i].text, q->request->given))
            chance += q->outcome[i].chance;
    if (mete_reply_say(cx, q->reply, q->request->given))
        return METE_ENOMEM;
    q->reply->logp = log(chance > LEAST_CHANCE ? chance : LEAST_CHANCE);
    return METE_OK;
}

/* The chance of an option is that of the outcomes it equals; a judge's verdict stands for every
 * option that says the same. */
static int
tell_choice(mete_ctx *cx, struct question *q)
{
    const mete_request *request = q->request;
    double *chance = mete_arena(cx, request->options * sizeof *chance), sum = 0;
    mete_text yes = mete_text_from(q->p->yes), no = mete_text_from(q->p->no);
    if (!chance)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu options", request->options);
    for (size_t i = 0; i < q->outcomes; i++) {
        mete_text said = q->outcome[i].text;
        int verdict = q->p->mode != MODE_JUDGE     ? -2
                      : mete_text_equal(said, yes) ? 1
                      : mete_text_equal(said, no)  ? 0
                                                   : -2;
        for (size_t k = 0; k < request->options; k++)
            if (verdict >= 0 ? judge_says(request, k) == verdict
                             : mete_text_equal(mete_text_trim(said), request->option[k])) {
                chance[k] += q->outcome[i].chance;
                break;
            }
    }
    for (size_t k = 0; k < request->options; k++)
        sum += chance[k];
    if (!(sum > LEAST_CHANCE)) {
        mete_reply_fail(cx, q->reply, METE_FAILED, "the script says none of the options");
        return METE_OK;
    }
    for (size_t k = 0; k < request->options; k++)
        chance[k] /= sum;
    q->reply->status = METE_VALID;
    q->reply->reason = (mete_text){NULL, 0};
    q->reply->chance = chance;
    q->reply->chances = METE_CHANCE_EXACT;
    q->reply->mass = sum;
    return METE_OK;
}

static uint64_t
words_of(const mete_request *request)
{
    uint64_t words = 0;
    for (uint32_t i = 0; i < request->messages; i++)
        words += mete_words(request->message[i].text, METE_WORDS_SPACES, NULL, 0);
    return words;
}

static int
answer_all(mete_ctx *cx, const struct scripted *p, const mete_requests *requests,
           mete_replies *replies, int (*tell)(mete_ctx *cx, struct question *q))
{
    mete_matcher *matcher = mete_matcher_new();
    int status = matcher ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < requests->count && !status; i++) {
        struct question q = {.p = p,
                             .request = mete_request_at(requests, i),
                             .reply = mete_reply_at(replies, i),
                             .matcher = matcher};
        status = outcomes(cx, &q);
        if (!status && q.outcomes)
            status = tell(cx, &q);
        q.reply->prompt_tokens = words_of(q.request);
        q.reply->seconds = p->delay;
    }
    mete_matcher_free(matcher);
    if (!status && p->sleep && p->delay > 0)
        poll(NULL, 0, (int)(p->delay * 1000));
    return status;
}

static int
generate(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
         mete_replies *replies)
{
    (void)params;
    return answer_all(cx, self, requests, replies, tell_answer);
}

static int
logprob(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
        mete_replies *replies)
{
    (void)params;
    return answer_all(cx, self, requests, replies, tell_logprob);
}

static int
choose(mete_ctx *cx, const void *self, const mete_params *params, const mete_requests *requests,
       mete_replies *replies)
{
    (void)params;
    return answer_all(cx, self, requests, replies, tell_choice);
}

METE_POLICY_PLUGIN(
    scripted, "1.0", "a scripted model: answers from a table of patterns, or judges by checks",
    .doc =
        "models = { judge = { use = \"scripted\"; mode = \"judge\"; error_rate = 0.1; rules = (\n"
        "    { when = \"mentions (.+)\"; check = \"contains\"; target = \"$1\"; } ); }; };\n"
        "\n"
        "It is no language model: it follows a script, for tests and for judging offline, and\n"
        "reports call it scripted. An answer is one token; its log-probability is that of the\n"
        "outcome. Tokens are counted as words.",
    .options = options, .state_size = sizeof(struct scripted), .tags = "text, scripted",
    .open = open_scripted, .close = close_scripted, .generate = generate, .logprob = logprob,
    .choose = choose);
