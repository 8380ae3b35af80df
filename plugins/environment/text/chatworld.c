/* chatworld - a conversation with a simulated user who wants a present, and whose type is hidden.
 *
 * The user opens with a greeting. The policy may say "ask", to which the user tells something that
 * only a person of one type says (of the user's own, but for `noise`); "recommend THING", which
 * ends the episode with reward 1 if the thing is what the type likes; anything else is chat. After
 * `turns` answers the user leaves. The type of user k is drawn from `prior`, so the samples of a
 * group meet the same user; which words are chosen follows from the episode's id and the turn.
 *
 * After the hidden-type dialogues of Wan et al. 2025 (CURIO), with types of our own.
 */
#include <mete/environment.h>
#include <mete/model.h>
#include <mete/text.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WRITE, CHOOSE };
enum { LEAVES, CUT };
enum { GREETING, HINT, SMALL_TALK }; /* what the user is saying */

#define WORDINGS 2
#define CHOICES 9 /* "ask" and each type's thing */

static const struct type {
    const char *name, *thing, *hint[WORDINGS];
} types[] = {
    {"hiker", "boots", {"i walk in the hills", "on sundays i go up a mountain"}},
    {"cook", "pan", {"i cook for my friends", "there is soup on my stove"}},
    {"reader", "novel", {"i read every night", "my shelves are full of stories"}},
    {"painter", "brush", {"i paint the sea", "my hands are blue of colour"}},
    {"gardener", "seeds", {"i grow beans and roses", "the garden needs me every morning"}},
    {"musician", "strings", {"i play in a band", "my guitar is never far away"}},
    {"cyclist", "bell", {"i ride to work", "two wheels are enough for me"}},
    {"tailor", "thread", {"i sew my own coats", "a needle is always in my sleeve"}},
};
enum { TYPES = sizeof types / sizeof *types };

static const char *const greeting[WORDINGS] = {"hello , i want a present",
                                               "good day , what can you give me"};
static const char *const small_talk[WORDINGS] = {"i see", "well , go on"};

struct lane {
    uint64_t episode, user;
    uint32_t type, evaluation, answers;
    uint32_t saying, about, wording; /* about: the type hinted at */
};

struct chatworld {
    int64_t types, turns, users;
    mete_reals prior;
    double noise, ask_cost;
    int act, limit;

    struct lane *lane;
    size_t lanes;
    uint64_t key;
    int user_type, reference, heard, candidates, asked, fits;
    char choice[CHOICES][32];
};

static const mete_option options[] = {
    METE_INT(struct chatworld, types, 4, 2, TYPES, "kinds of users"),
    METE_REALS(struct chatworld, prior, 0, 1e6, 0,
               "how frequent each type is, up to a factor; all alike when absent"),
    METE_INT(struct chatworld, users, 256, 1, 1000000000, "different users"),
    METE_INT(struct chatworld, turns, 6, 1, 10000, "answers that a user waits for"),
    METE_REAL(struct chatworld, noise, 0, 0, 1,
              "chance that a hint is of a type drawn among all of them"),
    METE_REAL(struct chatworld, ask_cost, 0, 0, 1e6, "reward that asking costs"),
    METE_ENUM(struct chatworld, act, WRITE, "write|choose",
              "write: an answer is a text; choose: it is one of the column `candidates`"),
    METE_ENUM(struct chatworld, limit, LEAVES, "leaves|cut",
              "an episode of `turns` answers is over (terminated), or is cut there (truncated)"),
    METE_OPTIONS_END};

static int
provide(mete_ctx *cx, struct chatworld *p)
{
    p->user_type = mete_provide(cx, "user_type", METE_EPISODE, METE_TEXT, METE_SEE_REWARD,
                                "the user's hidden type");
    p->reference = mete_provide(cx, "reference", METE_LIST, METE_TEXT, METE_SEE_REWARD,
                                "answers of a good conversation, in order");
    p->heard = mete_provide(cx, "heard", METE_TURN, METE_TEXT, METE_SEE_REWARD,
                            "the type that the message hints at; empty: none");
    p->asked = mete_provide_signal(cx, "asked", METE_SEE_REWARD, 0, 1, "1: the answer was to ask");
    p->fits = mete_provide_signal(cx, "fits", METE_SEE_REWARD, 0, 1,
                                  "1: the answer recommended what the user likes");
    p->candidates = p->act == CHOOSE ? mete_provide_lists(cx, "candidates", METE_TURN,
                                                          METE_SEE_POLICY, "what may be said")
                                     : 0;
    int all[] = {p->user_type, p->reference, p->heard, p->asked, p->fits, p->candidates};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] < 0)
            return all[i];
    return METE_OK;
}

static int
open_chatworld(mete_ctx *cx, void *self)
{
    struct chatworld *p = self;
    double sum = 0;
    if (p->prior.count && p->prior.count != (size_t)p->types)
        return mete_fail(cx, METE_EINVAL, "prior has %zu numbers for %lld types", p->prior.count,
                         (long long)p->types);
    for (size_t i = 0; i < p->prior.count; i++)
        sum += p->prior.item[i];
    if (p->prior.count && sum <= 0)
        return mete_fail(cx, METE_EINVAL, "prior must have a number above 0");
    p->key = mete_key(cx);
    snprintf(p->choice[0], sizeof p->choice[0], "ask");
    for (size_t i = 0; i < TYPES; i++)
        snprintf(p->choice[i + 1], sizeof p->choice[0], "recommend %s", types[i].thing);
    return provide(cx, p);
}

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct chatworld *p = self;
    if (!(p->lane = mete_alloc(cx, lanes * sizeof *p->lane)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    out->observation.kind = METE_SPACE_TEXT;
    out->action.kind = p->act == CHOOSE ? METE_SPACE_CANDIDATES : METE_SPACE_TEXT;
    out->action.count = p->act == CHOOSE ? (uint32_t)p->types + 1 : 0;
    out->max_steps = (uint32_t)p->turns;
    out->tasks = (uint64_t)p->users;
    return METE_OK;
}

static uint32_t
draw_type(const struct chatworld *p, mete_rng *rng)
{
    return p->prior.count ? (uint32_t)mete_rng_choose(rng, p->prior.item, p->prior.count)
                          : mete_rng_below(rng, (uint32_t)p->types);
}

/* The message the lane is at, and what is known of it. */
static int
show(mete_ctx *cx, struct chatworld *p, size_t i, mete_observations *out)
{
    const struct lane *lane = &p->lane[i];
    const char *const *words = lane->saying == GREETING ? greeting
                               : lane->saying == HINT   ? types[lane->about].hint
                                                        : small_talk;
    mete_text *type = mete_lane_column(out, p->user_type), *heard = mete_lane_column(out, p->heard);
    out->prompt[i] = mete_text_from(words[lane->wording]);
    out->prompt_id[i] = mete_hash_mix(p->key, mete_hash_mix(lane->user, lane->evaluation));
    type[i] = mete_text_from(types[lane->type].name);
    heard[i] = mete_text_from(lane->saying == HINT ? types[lane->about].name : "");
    mete_text say[CHOICES];
    for (size_t k = 0; k <= (size_t)p->types; k++)
        say[k] = mete_text_from(p->choice[k]);
    if (p->act == CHOOSE) {
        int status = mete_lane_list(cx, out, p->candidates, i, say, (size_t)p->types + 1);
        if (status)
            return status;
    }
    const mete_text good[] = {say[0], say[lane->type + 1]};
    return mete_lane_list(cx, out, p->reference, i, good, 2);
}

static int
greet(mete_ctx *cx, struct chatworld *p, size_t i, uint64_t episode, uint64_t task,
      uint32_t evaluation, mete_observations *out)
{
    uint64_t user = task % (uint64_t)p->users;
    mete_rng who = mete_rng_make(mete_hash_mix(p->key, evaluation), user, 0);
    mete_rng how = mete_rng_make(mete_hash_mix(p->key, 2), user, evaluation);
    p->lane[i] = (struct lane){.episode = episode,
                               .user = user,
                               .evaluation = evaluation,
                               .type = draw_type(p, &who),
                               .saying = GREETING,
                               .wording = mete_rng_below(&how, WORDINGS)};
    return show(cx, p, i, out);
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    int status = METE_OK;
    for (size_t k = 0; k < in->count && !status; k++)
        status =
            greet(cx, self, in->lane[k], in->episode[k], in->task[k], in->evaluation != 0, out);
    return status;
}

/* Which of the choices was said, or types + 1: chat. */
static size_t
understand(const struct chatworld *p, mete_text said)
{
    size_t k = 0;
    said = mete_text_trim(said);
    while (k <= (size_t)p->types && !mete_text_equal(said, mete_text_from(p->choice[k])))
        k++;
    return k;
}

/* Asked, the user hints at a type; else there is small talk. */
static void
react(const struct chatworld *p, struct lane *lane, bool asked)
{
    mete_rng rng = mete_rng_make(mete_hash_mix(p->key, 3), lane->episode, lane->answers);
    lane->saying = asked ? HINT : SMALL_TALK;
    lane->wording = mete_rng_below(&rng, WORDINGS);
    lane->about = lane->type;
    if (asked && mete_rng_uniform(&rng) < p->noise)
        lane->about = draw_type(p, &rng);
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct chatworld *p = self;
    float *asked = mete_lane_signal(out, p->asked), *fits = mete_lane_signal(out, p->fits);
    int status = METE_OK;
    for (size_t i = 0; i < p->lanes && !status; i++) {
        struct lane *lane = &p->lane[i];
        size_t what = in->text ? understand(p, in->text[i]) : (size_t)in->action[i];
        bool gives = what >= 1 && what <= (size_t)p->types;
        asked[i] = what == 0;
        fits[i] = gives && what == lane->type + 1;
        out->reward[i] = fits[i] - (float)p->ask_cost * asked[i];
        lane->answers++;
        if (!gives && lane->answers < (uint32_t)p->turns) {
            react(p, lane, what == 0);
            status = show(cx, p, i, out->next);
            continue;
        }
        bool late = !gives && p->limit == CUT;
        out->terminated[i] = !late;
        out->truncated[i] = late;
        out->final_prompt[i] = mete_text_from(!gives        ? "i have to go"
                                              : fits[i] > 0 ? "thank you , that is for me"
                                                            : "no , that is not for me");
        out->episode[i] += out->stride;
        out->task[i] += out->task_stride;
        status = greet(cx, p, i, out->episode[i], out->task[i], lane->evaluation, out->next);
    }
    return status;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    (void)cx;
    memcpy(bytes, &((const struct chatworld *)self)->lane[lane], sizeof(struct lane));
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct chatworld *p = self;
    struct lane at;
    memcpy(&at, bytes, sizeof at);
    if (at.type >= (uint32_t)p->types || at.about >= TYPES || at.wording >= WORDINGS ||
        at.saying > SMALL_TALK)
        return mete_fail(cx, METE_EDATA, "a saved lane is of a user of type %u of %lld", at.type,
                         (long long)p->types);
    p->lane[lane] = at;
    return show(cx, p, lane, out);
}

METE_ENVIRONMENT_PLUGIN(
    chatworld, "1.0", "a conversation with a simulated user whose type is hidden",
    .doc =
        "The policy says \"ask\", \"recommend THING\", or anything else, which is chat. Its own\n"
        "reward is 1 for what the user's type likes. Columns: user_type (episode) and heard "
        "(turn),\n"
        "for rewards; reference, the answers of a good conversation, which `responses =\n"
        "\"reference\"` learns from; signals asked and fits.",
    .reference =
        "Wan et al. 2025, Enhancing Personalized Multi-Turn Dialogue with Curiosity Reward, "
        "arXiv:2504.03206",
    .options = options, .state_size = sizeof(struct chatworld), .lane_size = sizeof(struct lane),
    .open = open_chatworld, .spaces = spaces, .reset = reset, .step = step, .copy = copy,
    .restore = restore);
