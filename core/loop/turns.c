/* turns.c - conversations: a policy and an environment that answer each other.
 *
 * An environment of several steps whose observation is a text shows a message; the policy is given
 * all that was said in the episode and answers; the host keeps the talk. Each answer is a turn with
 * the tokens as its steps, each message shown a turn without. A row is an episode, or, with
 * `steps` answers a lane and batch, a fragment of one: it then has the earlier messages as turns
 * that are not its own. With whole episodes a lane that is done is not asked again.
 */
#include "loop/inner.h"

#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* A conversation longer than this is cut: an environment that never ends one must say `steps`. */
#define MOST_ANSWERS 10000

/* A message: bytes of a talk. */
typedef struct span {
    size_t from, length;
    uint8_t role;
} span;

/* What was said in the episode a lane is in. */
typedef struct dialogue {
    mete_buffer bytes; /* a message a line */
    span *message;
    size_t count, room;
    uint64_t prompt_id; /* of the first message */
} dialogue;

/* What the policy said once, and what came of it. */
typedef struct answer {
    struct answer *next;
    const mete_token *token; /* NULL: one action */
    size_t tokens, step;     /* step of the collection: whose columns are its */
    int32_t action;
    float logp, reward;
    const float *value, *signal;
    const uint8_t *mask;
} answer;

/* A row to be. */
typedef struct fragment {
    struct fragment *next;
    uint64_t id, task, prompt_id;
    uint32_t first_step;
    answer *first, *last;
    size_t old;          /* messages before its own */
    const span *message; /* [messages] */
    size_t messages;
    const char *bytes;
    mete_text after; /* all that was said, for the value of what follows */
    bool ended, cut;
} fragment;

struct mete__talks {
    mete__arena *arena;      /* fragments of the running collection */
    dialogue *talk;          /* [lanes] */
    fragment *row;           /* [lanes] under way */
    fragment **rows, **last; /* [lanes] finished ones, in order */
    uint32_t *asked;         /* [lanes] those asked in this step */
    size_t count;
    uint64_t *episode; /* [count] of those asked */
    uint32_t *age;
    mete_actions *given; /* by lane, as the environment gets them */
    int *turn_column;    /* [declareds + 1] builder's handles; the last is of the reward */
};

int
mete__talks_open(mete__rollout *r, mete_error *err)
{
    struct mete__talks *t = r->talks = calloc(1, sizeof *t);
    const mete_node *environment = r->environment;
    if (!t)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    t->arena = mete__arena_new();
    t->talk = calloc(r->lanes, sizeof *t->talk);
    t->row = calloc(r->lanes, sizeof *t->row);
    t->rows = calloc(r->lanes, sizeof *t->rows);
    t->last = calloc(r->lanes, sizeof *t->last);
    t->asked = calloc(r->lanes, sizeof *t->asked);
    t->episode = calloc(r->lanes, sizeof *t->episode);
    t->age = calloc(r->lanes, sizeof *t->age);
    t->turn_column = calloc(environment->declareds + 1, sizeof *t->turn_column);
    t->given = mete__actions_new(&environment->spaces, NULL, r->lanes);
    if (!t->arena || !t->talk || !t->row || !t->rows || !t->last || !t->asked || !t->episode ||
        !t->age || !t->turn_column || !t->given)
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu lanes", r->lanes);
    for (size_t i = 0; i <= environment->declareds; i++) {
        bool reward = i == environment->declareds;
        if (reward || environment->declared[i].signal)
            t->turn_column[i] = mete__builder_column(
                r->builder, reward ? "reward" : environment->declared[i].name, METE_TURN, METE_F32,
                METE_EPISODE, reward ? METE_SEE_REWARD : environment->declared[i].visible);
    }
    return METE_OK;
}

void
mete__talks_free(mete__rollout *r)
{
    struct mete__talks *t = r->talks;
    if (!t)
        return;
    for (size_t i = 0; t->talk && i < r->lanes; i++) {
        mete_buffer_free(&t->talk[i].bytes);
        free(t->talk[i].message);
    }
    mete__arena_free(t->arena);
    free(t->talk);
    free(t->row);
    free(t->rows);
    free(t->last);
    free(t->asked);
    free(t->episode);
    free(t->age);
    free(t->turn_column);
    mete__actions_free(t->given);
    free(t);
    r->talks = NULL;
}

/* ---- a talk ---------------------------------------------------------------------------------- */

static bool
say(dialogue *t, uint8_t role, mete_text text)
{
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 16;
        span *grown = realloc(t->message, room * sizeof *grown);
        if (!grown)
            return false;
        t->message = grown;
        t->room = room;
    }
    if (t->bytes.length)
        mete_buffer_byte(&t->bytes, '\n');
    t->message[t->count++] = (span){t->bytes.length, text.length, role};
    return mete_buffer_append(&t->bytes, text.length ? text.data : "", text.length) == METE_OK;
}

static void
hush(dialogue *t)
{
    mete_buffer_clear(&t->bytes);
    t->count = 0;
}

static mete_text
said_so_far(const dialogue *t)
{
    return (mete_text){t->bytes.length ? t->bytes.data : "", t->bytes.length};
}

/* The message a lane shows opens the episode it is in. */
static bool
open_talk(mete__rollout *r, size_t lane)
{
    dialogue *t = &r->talks->talk[lane];
    hush(t);
    t->prompt_id = r->now->prompt_id[lane];
    return say(t, r->now->role[lane], r->now->prompt[lane]);
}

/* ---- fragments ------------------------------------------------------------------------------- */

static void
begin_row(mete__rollout *r, size_t lane)
{
    const dialogue *t = &r->talks->talk[lane];
    r->talks->row[lane] = (fragment){.id = r->moved->episode[lane],
                                     .task = r->moved->task[lane],
                                     .prompt_id = t->prompt_id,
                                     .first_step = r->age[lane],
                                     .old = t->count - 1};
}

/* The row under way is whole: `shown` messages of the talk are its. */
static bool
end_row(mete__rollout *r, size_t lane, size_t shown)
{
    struct mete__talks *t = r->talks;
    const dialogue *talk = &t->talk[lane];
    fragment *row = mete__arena_take(t->arena, sizeof *row);
    span *message = mete__arena_take(t->arena, (shown + 1) * sizeof *message);
    const mete_text all = said_so_far(talk);
    char *bytes = mete__arena_string(t->arena, all.data, all.length);
    if (!row || !message || !bytes)
        return false;
    memcpy(message, talk->message, shown * sizeof *message);
    *row = t->row[lane];
    row->message = message;
    row->messages = shown;
    row->bytes = bytes;
    row->after = (mete_text){bytes, all.length};
    if (t->last[lane])
        t->last[lane]->next = row;
    else
        t->rows[lane] = row;
    t->last[lane] = row;
    return true;
}

/* What lane's k-th question was answered with, kept with the lane's row. */
static answer *
keep_answer(mete__rollout *r, size_t k, size_t step)
{
    struct mete__talks *t = r->talks;
    size_t lane = t->asked[k], heads = r->actions->heads;
    fragment *row = &t->row[lane];
    answer *a = mete__arena_zero(t->arena, sizeof *a);
    size_t count = 0;
    const mete_token *said = mete_actions_tokens(r->actions, k, &count);
    mete_token *token = mete__arena_take(t->arena, (count + 1) * sizeof *token);
    float *value = mete__arena_zero(t->arena, (heads + 1) * sizeof *value);
    if (!a || !token || !value)
        return NULL;
    uint32_t actions = r->now->action_mask ? r->environment->spaces.action.count : 0;
    uint8_t *mask = mete__arena_take(t->arena, actions + 1);
    if (!mask)
        return NULL;
    if (actions)
        memcpy(mask, r->now->action_mask + lane * actions, actions);
    if (count)
        memcpy(token, said, count * sizeof *token);
    if (heads)
        memcpy(value, r->actions->value + k * heads, heads * sizeof *value);
    *a = (answer){.token = r->actions->text ? token : NULL,
                  .tokens = r->actions->text ? count : 1,
                  .step = step,
                  .action = r->actions->action ? r->actions->action[k] : 0,
                  .logp = r->actions->logp[k],
                  .value = value,
                  .mask = actions ? mask : NULL};
    if (row->last)
        row->last->next = a;
    else
        row->first = a;
    row->last = a;
    return a;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* What the policy sees of the lanes asked: the whole talk of each. */
static const mete_batch *
context_of(mete__rollout *r, mete_error *err)
{
    struct mete__talks *t = r->talks;
    size_t messages = 0;
    for (size_t k = 0; k < t->count; k++) {
        t->episode[k] = r->moved->episode[t->asked[k]];
        t->age[k] = r->age[t->asked[k]];
        messages += t->talk[t->asked[k]].count;
    }
    const mete_batch *lanes =
        mete__lanes_context(r->environment, r->now, t->episode, t->asked, t->count, err);
    if (!lanes)
        return NULL;
    mete_batch *out = mete__arena_take(t->arena, sizeof *out);
    mete_text *prompt = mete__arena_take(t->arena, (t->count + 1) * sizeof *prompt);
    uint64_t *prompt_id = mete__arena_take(t->arena, (t->count + 1) * sizeof *prompt_id);
    uint32_t *begin = mete__arena_take(t->arena, (t->count + 1) * sizeof *begin);
    mete_message *message = mete__arena_take(t->arena, (messages + 1) * sizeof *message);
    if (!out || !prompt || !prompt_id || !begin || !message) {
        mete_error_set(err, METE_ENOMEM, "out of memory for %zu messages", messages);
        return NULL;
    }
    messages = 0;
    for (size_t k = 0; k < t->count; k++) {
        const dialogue *talk = &t->talk[t->asked[k]];
        prompt[k] = said_so_far(talk);
        prompt_id[k] = mete__conversation_id(prompt[k]);
        begin[k] = (uint32_t)messages;
        for (size_t m = 0; m < talk->count; m++)
            message[messages++] =
                (mete_message){talk->message[m].role,
                               0,
                               {prompt[k].data + talk->message[m].from, talk->message[m].length}};
    }
    begin[t->count] = (uint32_t)messages;
    *out = *lanes;
    out->prompt = prompt;
    out->prompt_id = prompt_id;
    out->message_begin = begin;
    out->message = message;
    return out;
}

static mete_lanes
lanes_of(const mete__rollout *r, const mete_batch *context, uint32_t mode, double temperature)
{
    return (mete_lanes){.size = sizeof(mete_lanes),
                        .mode = mode,
                        .count = r->talks->count,
                        .episode = r->talks->episode,
                        .step = r->talks->age,
                        .action_count = r->environment->spaces.action.count,
                        .context = context,
                        .temperature = temperature};
}

/* The texts given as the answers of those asked; a lane whose list is at its end falls out. */
static int
give_texts(mete__rollout *r, size_t column, size_t step, mete_text *text)
{
    struct mete__talks *t = r->talks;
    bool list = r->environment->declared[column].level == METE_LIST;
    size_t count = 0;
    for (size_t k = 0; k < t->count; k++) {
        uint32_t lane = t->asked[k];
        mete_text one = list ? (mete_text){NULL, 0} : mete__observations_text(r->now, column, lane);
        mete_texts items = list ? mete__observations_list(r->now, column, lane)
                                : (mete_texts){&one, one.data != NULL};
        if (step < items.count) {
            t->asked[count] = lane;
            text[count++] = items.item[step];
        } else if (t->row[lane].first && !end_row(r, lane, t->talk[lane].count - 1)) {
            return METE_ENOMEM;
        }
    }
    t->count = count;
    return METE_OK;
}

static int
encode_texts(mete__rollout *r, size_t column, size_t step, mete_error *err)
{
    struct mete__talks *t = r->talks;
    mete_text *text = mete__arena_zero(t->arena, (t->count + 1) * sizeof *text);
    if (!text || give_texts(r, column, step, text))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu texts", t->count);
    if (!t->count)
        return METE_OK;
    const mete_batch *context = context_of(r, err);
    if (!context)
        return err->code;
    mete_batch given = *context;
    given.response = text;
    return mete__policy_encode(r->policy, &given, r->actions, err);
}

static int
ask(mete__rollout *r, const mete_params *params, uint32_t mode, double temperature, mete_error *err)
{
    const mete_batch *context = context_of(r, err);
    if (!context)
        return err->code;
    mete_lanes lanes = lanes_of(r, context, mode, temperature);
    uint32_t count = r->environment->spaces.action.count;
    if (r->now->action_mask) {
        uint8_t *mask = mete__arena_take(r->talks->arena, lanes.count * count);
        for (size_t k = 0; mask && k < lanes.count; k++)
            memcpy(mask + k * count, r->now->action_mask + r->talks->asked[k] * (size_t)count,
                   count);
        if (!mask)
            return mete_error_set(err, METE_ENOMEM, "out of memory for %zu lanes", lanes.count);
        lanes.action_mask = mask;
    }
    return mete__policy_act(r->policy, params, &lanes, r->actions, err);
}

/* ---- one step -------------------------------------------------------------------------------- */

/* Answers to the environment's lanes; those not asked say nothing. */
static int
take_answers(mete__rollout *r, size_t step, answer **kept)
{
    struct mete__talks *t = r->talks;
    mete_actions *given = t->given;
    bool good = true;
    mete__actions_clear(given);
    for (size_t i = 0; given->text && i < r->lanes; i++)
        given->text[i] = (mete_text){"", 0};
    for (size_t k = 0; k < t->count && good; k++) {
        uint32_t lane = t->asked[k];
        mete_text text = {"", 0};
        if (given->text) {
            if (r->actions->text[k].data)
                text = r->actions->text[k];
            given->text[lane] = text;
        } else {
            given->action[lane] = r->actions->action[k];
            text = mete__rollout_chosen(r, r->actions->action[k], lane);
        }
        given->logp[lane] = r->actions->logp[k];
        kept[k] = keep_answer(r, k, step);
        good = kept[k] && say(&t->talk[lane], METE_ASSISTANT, text);
    }
    return good ? METE_OK : METE_ENOMEM;
}

/* What the environment made of the k-th answer. */
static bool
note_step(mete__rollout *r, size_t k, answer *a, bool goes_on)
{
    struct mete__talks *t = r->talks;
    const mete_transitions *moved = r->moved;
    size_t lane = t->asked[k], declareds = r->environment->declareds;
    float *signal = mete__arena_zero(t->arena, (declareds + 1) * sizeof *signal);
    bool over = moved->terminated[lane] | moved->truncated[lane];
    if (!signal)
        return false;
    for (size_t i = 0; i < declareds; i++)
        if (r->environment->declared[i].signal)
            signal[i] = mete_lane_signal(r->moved, (int)i)[lane];
    a->signal = signal;
    a->reward = moved->reward[lane];
    r->age[lane] += (uint32_t)a->tokens;
    if (!over)
        return say(&t->talk[lane], r->now->role[lane], r->now->prompt[lane]);
    t->row[lane].ended = moved->terminated[lane];
    t->row[lane].cut = moved->truncated[lane];
    dialogue *talk = &t->talk[lane];
    uint8_t role = talk->message[talk->count - 2].role; /* who was answered has the last word */
    if (moved->final_prompt[lane].data && !say(talk, role, moved->final_prompt[lane]))
        return false;
    r->age[lane] = 0;
    if (!end_row(r, lane, talk->count))
        return false;
    if (!goes_on)
        return true;
    bool good = open_talk(r, lane);
    begin_row(r, lane);
    return good;
}

/* All lanes asked say something once; with whole episodes those that ended are asked no more. */
static int
one_answer(mete__rollout *r, size_t step, const mete_params *params, uint32_t mode,
           double temperature, const char *responses, mete_error *err)
{
    struct mete__talks *t = r->talks;
    bool whole = r->steps == 0 || responses;
    size_t column = 0, count = 0;
    int status = mete__kept_take(r, step, err);
    mete__actions_clear(r->actions);
    if (!status && responses)
        status = mete__rollout_texts(r, responses, &column, err);
    if (!status)
        status =
            responses ? encode_texts(r, column, step, err) : ask(r, params, mode, temperature, err);
    if (status || !t->count)
        return status;
    answer **kept = mete__arena_take(t->arena, t->count * sizeof(answer *));
    if (!kept || take_answers(r, step, kept))
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu answers", t->count);
    if ((status = mete__environment_step(r->environment, t->given, r->moved, err)))
        return status;
    for (size_t k = 0; k < t->count; k++) {
        uint32_t lane = t->asked[k];
        if (!note_step(r, k, kept[k], !whole))
            return mete_error_set(err, METE_ENOMEM, "out of memory for %zu answers", t->count);
        if (!whole || !(r->moved->terminated[lane] | r->moved->truncated[lane]))
            t->asked[count++] = lane;
    }
    t->count = count;
    return METE_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The row's answers, one a line. */
static bool
join_answers(mete__rollout *r, const fragment *row, mete_text *out)
{
    char *bytes = mete__arena_take(r->talks->arena, row->after.length + 1);
    *out = (mete_text){bytes, 0};
    for (size_t m = row->old, n = 0; bytes && m < row->messages; m++)
        if (row->message[m].role == METE_ASSISTANT) {
            if (n++)
                bytes[out->length++] = '\n';
            memcpy(bytes + out->length, row->bytes + row->message[m].from, row->message[m].length);
            out->length += row->message[m].length;
        }
    return bytes != NULL;
}

/* Numbers of what an answer led to: at its turn, and at its last token. */
static void
put_numbers(mete__rollout *r, const answer *a)
{
    const struct mete__talks *t = r->talks;
    size_t declareds = r->environment->declareds;
    for (size_t i = 0; i <= declareds; i++) {
        if (i < declareds && !r->environment->declared[i].signal)
            continue;
        double number = i < declareds ? a->signal[i] : a->reward;
        mete__builder_number(r->builder, t->turn_column[i], number);
        if (a->tokens)
            mete__builder_number(r->builder, i < declareds ? r->column[i] : r->reward_column,
                                 number);
    }
}

/* The answer's steps; tokens' spans count from the begin of the row's response. */
static int
put_answer(mete__rollout *r, size_t lane, const answer *a, size_t offset)
{
    int status = mete__kept_put(r, lane, a->step, METE_TURN);
    for (size_t k = 0; k < a->tokens && !status; k++) {
        mete__step step = {.action_mask = a->mask,
                           .action = a->token ? a->token[k].id : a->action,
                           .logp = a->token ? a->token[k].logp : a->logp,
                           .value = a->token ? &a->token[k].value : a->value,
                           .begin = (uint32_t)offset + (a->token ? a->token[k].begin : 0),
                           .end = (uint32_t)offset + (a->token ? a->token[k].end : 0),
                           .loss_mask = 1};
        status = mete__builder_step(r->builder, &step);
    }
    if (!status)
        put_numbers(r, a);
    return status;
}

static int
put_row(mete__rollout *r, size_t lane, const fragment *f)
{
    mete_text response;
    span before = f->message[f->old]; /* what the first answer answers ends the prompt */
    if (!join_answers(r, f, &response))
        return METE_ENOMEM;
    mete__row row = {.id = f->id,
                     .prompt_id = f->prompt_id,
                     .task_id = f->task,
                     .first_step = f->first_step,
                     .starts = f->old == 0,
                     .terminated = f->ended,
                     .truncated = f->cut,
                     .joins = r->steps == 0 && lane % r->together != 0,
                     .prompt = {f->bytes, before.from + before.length},
                     .response = response};
    int status = mete__builder_row(r->builder, &row);
    if (!status && f->first)
        status = mete__kept_put(r, lane, f->first->step, METE_EPISODE);
    const answer *a = f->first;
    size_t offset = 0;
    for (size_t m = 0; m < f->messages && !status; m++) {
        mete_text text = {f->bytes + f->message[m].from, f->message[m].length};
        bool own = m >= f->old;
        status = mete__builder_turn(r->builder, f->message[m].role, text, own);
        if (!own || status || !a)
            continue;
        if (f->message[m].role != METE_ASSISTANT) {
            status = mete__kept_put(r, lane, a->step, METE_TURN);
            continue;
        }
        status = put_answer(r, lane, a, offset);
        offset += text.length + 1;
        a = a->next;
    }
    return status;
}

/* The critic's value of what follows rows that did not come to an end of their own. */
static int
follow_values(mete__rollout *r, const mete_batch *batch, const mete_params *params, mete_error *err)
{
    struct mete__talks *t = r->talks;
    size_t heads = r->actions->heads, waiting = 0, at = 0;
    float *value = (float *)(uintptr_t)batch->final_value;
    uint32_t *row = mete__arena_take(t->arena, (r->lanes + 1) * sizeof *row);
    mete_text *after = mete__arena_take(t->arena, (r->lanes + 1) * sizeof *after);
    int status = row && after ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
    mete_batch seen;
    mete__view_filter(batch, METE_SEE_POLICY, t->arena, &seen);
    for (size_t lane = 0; lane < r->lanes; lane++)
        for (const fragment *f = t->rows[lane]; f && !status; f = f->next, at++) {
            if (!f->ended) {
                row[waiting] = (uint32_t)at;
                after[waiting++] = f->after;
            }
            if (!waiting || (waiting < r->lanes && at + 1 < batch->episodes))
                continue;
            const mete_batch *rows = mete__batch_rows(&seen, row, waiting, false, t->arena);
            if (!rows)
                return mete_error_set(err, METE_ENOMEM, "out of memory");
            mete_batch context = *rows;
            context.prompt = after;
            context.turn_begin = NULL;
            t->count = waiting;
            memcpy(t->episode, context.id, waiting * sizeof *t->episode);
            for (size_t k = 0; k < waiting; k++)
                t->age[k] = context.first_step[k] + batch->step_begin[row[k] + 1] -
                            batch->step_begin[row[k]];
            mete_lanes lanes = lanes_of(r, &context, METE_ACT_EVALUATE, 1);
            mete__actions_clear(r->actions);
            status = mete__policy_act(r->policy, params, &lanes, r->actions, err);
            for (size_t k = 0; k < waiting && !status; k++)
                memcpy(value + row[k] * heads, r->actions->value + k * heads,
                       heads * sizeof *value);
            waiting = 0;
        }
    return status;
}

/* ---- a collection ---------------------------------------------------------------------------- */

static int
begin_collection(mete__rollout *r, bool whole, mete_error *err)
{
    struct mete__talks *t = r->talks;
    bool anew = whole || !r->running, good = true;
    int status = anew ? mete__rollout_start(r, err) : METE_OK;
    r->running = !whole;
    mete__arena_release(t->arena, (mete__arena_mark){0, 0});
    mete__kept_clear(r);
    t->count = r->lanes;
    for (size_t i = 0; i < r->lanes && !status; i++) {
        t->asked[i] = (uint32_t)i;
        t->rows[i] = t->last[i] = NULL;
        if (anew)
            good &= open_talk(r, i);
        begin_row(r, i);
    }
    return good ? status
                : mete_error_set(err, METE_ENOMEM, "out of memory for %zu lanes", r->lanes);
}

/* Lanes still in the middle of an episode: their rows end with an answer. */
static bool
end_collection(mete__rollout *r, size_t lanes)
{
    bool good = true;
    for (size_t k = 0; k < lanes && good; k++) {
        uint32_t lane = r->talks->asked[k];
        if (r->talks->row[lane].first)
            good = end_row(r, lane, r->talks->talk[lane].count - 1);
    }
    return good;
}

const mete_batch *
mete__rollout_turns(mete__rollout *r, const mete_params *params, uint32_t mode, double temperature,
                    const char *responses, const char *against, mete_error *err)
{
    struct mete__talks *t = r->talks;
    bool whole = r->steps == 0 || responses;
    if (against) {
        mete_error_set(err, METE_ENOTSUP, "against = ... needs an environment of one turn");
        return NULL;
    }
    int status = begin_collection(r, whole, err);
    for (size_t step = 0; !status && t->count && step < (whole ? MOST_ANSWERS : r->steps); step++)
        status = one_answer(r, step, params, mode, temperature, responses, err);
    if (!status && !end_collection(r, t->count))
        status = METE_ENOMEM;
    mete__builder_reset(r->builder);
    for (size_t lane = 0; lane < r->lanes && !status; lane++)
        for (const fragment *f = t->rows[lane]; f && !status; f = f->next)
            status = put_row(r, lane, f);
    if (status && !err->code)
        mete_error_set(err, METE_ENOMEM, "out of memory for a batch");
    const mete_batch *batch = status ? NULL : mete__builder_batch(r->builder, err);
    if (batch && r->actions->heads && !responses && follow_values(r, batch, params, err))
        return NULL;
    return batch;
}

/* ---- saving ---------------------------------------------------------------------------------- */

int
mete__talks_save(const mete__rollout *r, mete__checkpoint *to, mete_error *err)
{
    const struct mete__talks *t = r->talks;
    size_t messages = 0, at = 0;
    mete_buffer bytes = {0};
    for (size_t i = 0; i < r->lanes; i++) {
        messages += t->talk[i].count;
        mete_buffer_text(&bytes, said_so_far(&t->talk[i]));
    }
    int64_t *lane = calloc(2 * r->lanes, sizeof *lane),
            *length = calloc(messages + 1, sizeof *length);
    uint8_t *role = calloc(messages + 1, 1);
    int status = lane && length && role && !bytes.status
                     ? METE_OK
                     : mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->lanes && !status; i++) {
        const dialogue *talk = &t->talk[i];
        lane[2 * i] = (int64_t)talk->count;
        lane[2 * i + 1] = (int64_t)talk->prompt_id;
        for (size_t m = 0; m < talk->count; m++, at++) {
            length[at] = (int64_t)talk->message[m].length;
            role[at] = talk->message[m].role;
        }
    }
    if (!status)
        status = mete__checkpoint_add(to, "rollout/talk", METE_I64, 2 * r->lanes, lane, err);
    if (!status)
        status = mete__checkpoint_add(to, "rollout/talk/length", METE_I64, messages, length, err);
    if (!status)
        status = mete__checkpoint_add(to, "rollout/talk/role", METE_U8, messages, role, err);
    if (!status)
        status =
            mete__checkpoint_add(to, "rollout/talk/bytes", METE_U8, bytes.length, bytes.data, err);
    free(lane);
    free(length);
    free(role);
    mete_buffer_free(&bytes);
    return status;
}

/* One lane's `count` messages out of at most `left` bytes at `from`; how many bytes, or -1. */
static int64_t
load_talk(dialogue *t, const int64_t *length, const uint8_t *role, size_t count, const char *from,
          size_t left)
{
    size_t at = 0;
    hush(t);
    for (size_t m = 0; m < count; m++) {
        at += at > 0; /* the newline between */
        if (length[m] < 0 || at > left || (uint64_t)length[m] > left - at || role[m] > METE_TOOL ||
            !say(t, role[m], (mete_text){from + at, (size_t)length[m]}))
            return -1;
        at += (size_t)length[m];
    }
    return (int64_t)at;
}

int
mete__talks_load(mete__rollout *r, const mete__checkpoint *from, mete_error *err)
{
    size_t twice = 2 * r->lanes, messages = SIZE_MAX, bytes = SIZE_MAX, first = 0, at = 0;
    const int64_t *lane = mete__checkpoint_get(from, "rollout/talk", METE_I64, &twice);
    const int64_t *length = mete__checkpoint_get(from, "rollout/talk/length", METE_I64, &messages);
    size_t roles = messages;
    const uint8_t *role = mete__checkpoint_get(from, "rollout/talk/role", METE_U8, &roles);
    const char *byte = mete__checkpoint_get(from, "rollout/talk/bytes", METE_U8, &bytes);
    bool good = lane && length && role && byte;
    for (size_t i = 0; good && i < r->lanes; i++) {
        size_t count = (size_t)lane[2 * i];
        good = lane[2 * i] > 0 && count <= messages - first;
        int64_t used = good ? load_talk(&r->talks->talk[i], length + first, role + first, count,
                                        byte + at, bytes - at)
                            : -1;
        good = used >= 0;
        r->talks->talk[i].prompt_id = (uint64_t)lane[2 * i + 1];
        first += count;
        at += good ? (size_t)used : 0;
    }
    return good ? METE_OK
                : mete_error_set(err, METE_EDATA, "the checkpoint's conversations are damaged");
}
