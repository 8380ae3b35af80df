/* selftest_environment.c - environments under random actions. A lane's actions are drawn by its
 * episode and its age alone, so whatever else differs between two walks is the environment's: the
 * same episodes must show the same bits again, in a lane alone, beside a neighbour that is started
 * anew, and after its state was moved to another instance.
 */
#include "cli/selftest.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

#define LANES ((size_t)6)
#define LEAST_STEPS ((size_t)64)
#define MOST_STEPS ((size_t)2000)

/* What the contract says of every step, whatever the environment. */
enum rule { RULE_SHOWN, RULE_MASKS, RULE_ENDS, RULE_FINAL, RULE_IDS, RULE_LENGTH, RULES };
static const char *const rule_name[RULES] = {
    [RULE_SHOWN] = "observations are finite and within their space",
    [RULE_MASKS] = "some action is allowed everywhere",
    [RULE_ENDS] = "episodes end by termination or by truncation",
    [RULE_FINAL] = "the last observation of an episode is kept",
    [RULE_IDS] = "episodes and tasks go on by the stride where one ended",
    [RULE_LENGTH] = "episodes are as long as declared"};

/* What a lane showed before a step, and what the step did. */
struct moment {
    uint64_t shown, did;
};

/* Lanes that are walked. `age` counts steps within episodes. */
struct world {
    mete__host host;
    mete_node *node;
    mete_observations *now;
    mete_transitions *moved;
    mete_actions *actions;
    size_t lanes;
    uint32_t age[LANES];
    mete_error broken[RULES]; /* the first time each rule was */
};

static void
breaks(struct world *w, enum rule rule, size_t lane, const char *what)
{
    if (!w->broken[rule].code)
        mete_error_set(&w->broken[rule], METE_EPLUGIN, "%s (episode %llu, step %u)", what,
                       (unsigned long long)w->moved->episode[lane], w->age[lane]);
}

static void
world_close(struct world *w)
{
    mete__actions_free(w->actions);
    mete__transitions_free(w->moved);
    mete__observations_free(w->now);
    mete__host_close(&w->host);
}

/* Close it whatever this returns. */
static bool
world_open(const mete__selftest *t, struct world *w, size_t lanes, mete_error *err)
{
    *w = (struct world){.lanes = lanes};
    if (!mete__host_open(t, &w->host, 1, err))
        return false;
    w->node = mete__engine_environment(w->host.engine);
    if (mete__environment_spaces(w->node, lanes, err))
        return false;
    w->now = mete__observations_new(w->node, lanes);
    w->moved = w->now ? mete__transitions_new(w->node, w->now) : NULL;
    w->actions = mete__actions_new(&w->node->spaces, NULL, lanes);
    if (!w->moved || !w->actions)
        mete_error_set(err, METE_ENOMEM, "out of memory");
    return w->moved && w->actions;
}

/* Starts `count` lanes from `lane` on with episodes and tasks of these numbers. */
static bool
world_reset(struct world *w, size_t lane, size_t count, uint64_t number, bool evaluation,
            mete_error *err)
{
    uint32_t which[LANES];
    for (size_t k = 0; k < count; k++) {
        which[k] = (uint32_t)(lane + k);
        w->moved->episode[lane + k] = number + k + 1;
        w->moved->task[lane + k] = number + k;
        w->age[lane + k] = 0;
    }
    w->moved->stride = w->moved->task_stride = LANES; /* also of a lane alone */
    mete_reset reset = {.size = sizeof reset,
                        .evaluation = evaluation,
                        .count = count,
                        .lane = which,
                        .episode = w->moved->episode + lane,
                        .task = w->moved->task + lane};
    return mete__environment_reset(w->node, &reset, w->now, err) == METE_OK;
}

/* ---- what lanes show ------------------------------------------------------------------------- */

static uint64_t
hash_text(uint64_t seed, mete_text text)
{
    return mete_hash(mete_hash_mix(seed, text.length), text.data, text.length);
}

static uint64_t
hash_column(const struct world *w, size_t i, size_t lane, uint64_t seed)
{
    const mete__declared *declared = &w->node->declared[i];
    if (declared->level == METE_STEP)
        return seed;
    if (declared->level == METE_LIST) {
        mete_texts list = mete__observations_list(w->now, i, lane);
        for (size_t k = 0; k < list.count; k++)
            seed = hash_text(seed, list.item[k]);
        return mete_hash_mix(seed, list.count);
    }
    if (declared->element == METE_TEXT || declared->element == METE_JSON)
        return hash_text(seed, mete__observations_text(w->now, i, lane));
    double number = mete__observations_number(w->now, i, lane);
    return mete_hash(seed, &number, sizeof number);
}

static uint64_t
shown(const struct world *w, size_t lane)
{
    const mete_observations *o = w->now;
    size_t width = o->observation_size, actions = w->node->spaces.action.count;
    uint64_t hash = mete_hash_mix(w->moved->episode[lane], o->prompt_id[lane]);
    if (o->observation)
        hash = mete_hash(hash, o->observation + lane * width, width * sizeof(float));
    if (o->action_mask)
        hash = mete_hash(hash, o->action_mask + lane * actions, actions);
    if (o->prompt)
        hash = hash_text(hash, o->prompt[lane]);
    for (size_t i = 0; i < w->node->declareds; i++)
        hash = hash_column(w, i, lane, hash);
    return hash;
}

static uint64_t
did(const struct world *w, size_t lane)
{
    const mete_transitions *m = w->moved;
    size_t width = w->now->observation_size;
    uint64_t hash = mete_hash(0, m->reward + lane, sizeof(float));
    hash = mete_hash_mix(hash, (uint64_t)m->terminated[lane] << 8 | m->truncated[lane]);
    if (m->final_observation && (m->terminated[lane] || m->truncated[lane]))
        hash = mete_hash(hash, m->final_observation + lane * width, width * sizeof(float));
    for (size_t i = 0; i < w->node->declareds; i++)
        if (w->node->declared[i].level == METE_STEP)
            hash = mete_hash(hash, mete_lane_signal(w->moved, (int)i) + lane, sizeof(float));
    return hash;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static bool
within(const mete_space *space, const float *x)
{
    bool good = true;
    if (space->kind == METE_SPACE_DISCRETE)
        return x[0] >= 0 && x[0] < (float)space->count && x[0] == floorf(x[0]);
    for (size_t i = 0; i < space->size; i++)
        good &= isfinite(x[i]) &&
                (!(space->low < space->high) || (x[i] >= space->low && x[i] <= space->high));
    return good;
}

static void
check_shown(struct world *w, size_t lane)
{
    const mete_observations *o = w->now;
    size_t actions = w->node->spaces.action.count, allowed = 0;
    if (o->observation &&
        !within(&w->node->spaces.observation, o->observation + lane * o->observation_size))
        breaks(w, RULE_SHOWN, lane, "shows a number outside its space, or none");
    if (!o->action_mask)
        return;
    for (size_t a = 0; a < actions; a++) {
        uint8_t mask = o->action_mask[lane * actions + a];
        allowed += mask != 0;
        if (mask > 1)
            breaks(w, RULE_MASKS, lane, "a mask is neither 0 nor 1");
    }
    if (!allowed)
        breaks(w, RULE_MASKS, lane, "every action is masked");
}

/* After a step; `was` is the lane's episode and task before it. */
static void
check_moved(struct world *w, size_t lane, const uint64_t was[2])
{
    const mete_transitions *m = w->moved;
    const mete_spaces *spaces = &w->node->spaces;
    size_t width = w->now->observation_size;
    bool over = m->terminated[lane] || m->truncated[lane];
    uint32_t length = w->age[lane] + 1;
    if (m->terminated[lane] > 1 || m->truncated[lane] > 1)
        breaks(w, RULE_ENDS, lane, "terminated and truncated must be 0 or 1");
    if (m->terminated[lane] && m->truncated[lane])
        breaks(w, RULE_ENDS, lane, "terminated and truncated at once");
    if (m->episode[lane] != was[0] + (over ? m->stride : 0))
        breaks(w, RULE_IDS, lane,
               over ? "the episode ended and its id did not grow by `stride`"
                    : "the episode's id changed before its end");
    if (m->task[lane] != was[1] + (over ? m->task_stride : 0))
        breaks(w, RULE_IDS, lane,
               over ? "the episode ended and its task did not grow by `task_stride`"
                    : "the episode's task changed before its end");
    if (over && m->final_observation &&
        !within(&spaces->observation, m->final_observation + lane * width))
        breaks(w, RULE_FINAL, lane, "ended and did not write final_observation");
    if (!over && (spaces->single_turn || (spaces->max_steps && length >= spaces->max_steps)))
        breaks(w, RULE_LENGTH, lane,
               spaces->single_turn ? "single_turn is declared and a step did not end the episode"
                                   : "goes on past max_steps");
}

static bool
space_good(const mete_space *space)
{
    return space->kind <= METE_SPACE_CANDIDATES &&
           (space->kind != METE_SPACE_DISCRETE || space->count) &&
           (space->kind != METE_SPACE_BOX || (space->size && space->low <= space->high));
}

/* ---- walking --------------------------------------------------------------------------------- */

static uint32_t
candidates(const struct world *w, size_t lane)
{
    for (size_t i = 0; i < w->node->declareds; i++)
        if (w->node->declared[i].level == METE_LIST &&
            strcmp(w->node->declared[i].name, "candidates") == 0)
            return (uint32_t)mete__observations_list(w->now, i, lane).count;
    return 0;
}

/* One of the actions that are allowed in the lane. */
static int32_t
draw_action(const struct world *w, size_t lane, mete_rng *rng)
{
    size_t count = w->node->spaces.action.count;
    const uint8_t *mask = w->now->action_mask ? w->now->action_mask + lane * count : NULL;
    if (w->node->spaces.action.kind == METE_SPACE_CANDIDATES)
        count = candidates(w, lane);
    uint32_t allowed = 0;
    for (size_t a = 0; a < count; a++)
        allowed += !mask || mask[a];
    if (!allowed)
        return 0;
    uint32_t left = mete_rng_below(rng, allowed);
    for (size_t a = 0; a < count; a++)
        if ((!mask || mask[a]) && left-- == 0)
            return (int32_t)a;
    return 0;
}

static void
draw(struct world *w, size_t lane)
{
    static const char *const said[] = {"", "42", "A cat sat on the mat.", "\xff\xc3 \xe4\xb8\x96"};
    const mete_space *space = &w->node->spaces.action;
    mete_rng rng = mete_rng_make(1, w->moved->episode[lane], w->age[lane]);
    if (w->actions->text)
        w->actions->text[lane] = mete_text_from(said[mete_rng_below(&rng, 4)]);
    else if (w->actions->vector)
        for (size_t i = 0; i < space->size; i++)
            w->actions->vector[lane * space->size + i] =
                space->low < space->high
                    ? space->low + (float)mete_rng_uniform(&rng) * (space->high - space->low)
                    : (float)mete_rng_normal(&rng);
    else
        w->actions->action[lane] = draw_action(w, lane, &rng);
}

/* One step of every lane; what happened to lane i into at[i]. */
static bool
walk(struct world *w, struct moment *at, mete_error *err)
{
    size_t width = w->now->observation_size;
    uint64_t was[LANES][2];
    for (size_t i = 0; i < w->lanes; i++) {
        check_shown(w, i);
        draw(w, i);
        at[i].shown = shown(w, i);
        was[i][0] = w->moved->episode[i];
        was[i][1] = w->moved->task[i];
    }
    for (size_t k = 0; w->moved->final_observation && k < w->lanes * width; k++)
        w->moved->final_observation[k] = NAN; /* is it written? */
    if (mete__environment_step(w->node, w->actions, w->moved, err))
        return false;
    for (size_t i = 0; i < w->lanes; i++) {
        check_moved(w, i, was[i]);
        at[i].did = did(w, i);
        bool over = w->moved->terminated[i] || w->moved->truncated[i];
        w->age[i] = over ? 0 : w->age[i] + 1;
    }
    return true;
}

/* Do moments at[0..lanes) say what lanes from `lane` on did at that step of the whole walk? */
static bool
alike(const struct moment *whole, const struct moment *at, size_t lane, size_t lanes, size_t step,
      mete_error *err)
{
    for (size_t i = 0; i < lanes; i++)
        if (whole[lane + i].shown != at[i].shown || whole[lane + i].did != at[i].did) {
            mete_error_set(err, METE_EPLUGIN, "lane %zu differs at step %zu in what it %s",
                           lane + i, step, whole[lane + i].shown != at[i].shown ? "shows" : "does");
            return false;
        }
    return true;
}

/* ---- checks: `whole` is [steps x LANES] of the first walk ------------------------------------ */

struct walked {
    struct moment *whole;
    size_t steps;
};

/* Lanes from `lane` on, `lanes` of them, in an instance of their own. */
static bool
again(const mete__selftest *t, const struct walked *walked, size_t lane, size_t lanes,
      mete_error *err)
{
    struct world w;
    struct moment at[LANES];
    bool good = world_open(t, &w, lanes, err) && world_reset(&w, 0, lanes, lane, false, err);
    for (size_t s = 0; s < walked->steps && good; s++)
        good = walk(&w, at, err) && alike(walked->whole + s * LANES, at, lane, lanes, s, err);
    world_close(&w);
    return good;
}

/* Half-way lane 1 is started anew; the others do not notice. */
static bool
undisturbed(const mete__selftest *t, const struct walked *walked, mete_error *err)
{
    struct world w;
    struct moment at[LANES];
    bool good = world_open(t, &w, LANES, err) && world_reset(&w, 0, LANES, 0, false, err);
    for (size_t s = 0; s < walked->steps && good; s++) {
        if (s == walked->steps / 2)
            good = world_reset(&w, 1, 1, 1000000, false, err);
        const struct moment *whole = walked->whole + s * LANES;
        good = good && walk(&w, at, err) && alike(whole, at, 0, 1, s, err) &&
               alike(whole, at + 2, 2, LANES - 2, s, err);
    }
    world_close(&w);
    return good;
}

/* Every lane of `from` into `to`, which was elsewhere before. */
static bool
move_lanes(struct world *from, struct world *to, mete_error *err)
{
    size_t each = (size_t)from->node->plugin->as.head.lane_size;
    char *bytes = malloc(each + 1);
    bool good = bytes && mete__host_copy(&from->host, &to->host, err);
    if (!bytes)
        mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < LANES && good; i++) {
        to->moved->episode[i] = from->moved->episode[i];
        to->moved->task[i] = from->moved->task[i];
        to->age[i] = from->age[i];
        good = !mete__environment_copy(from->node, LANES, i, bytes, err) &&
               !mete__environment_restore(to->node, i, bytes, to->now, err);
    }
    free(bytes);
    return good;
}

/* Half-way all lanes go on in another instance, which gets what the first saved. */
static bool
moved(const mete__selftest *t, const struct walked *walked, mete_error *err)
{
    struct world w, other;
    struct moment at[LANES];
    bool good = world_open(t, &w, LANES, err) && world_reset(&w, 0, LANES, 0, false, err);
    bool ready = world_open(t, &other, LANES, err) &&
                 world_reset(&other, 0, LANES, 2000000, false, err) && walk(&other, at, err);
    for (size_t s = 0; s < walked->steps && good && ready; s++) {
        if (s == walked->steps / 2)
            good = move_lanes(&w, &other, err);
        good = good && walk(s < walked->steps / 2 ? &w : &other, at, err) &&
               alike(walked->whole + s * LANES, at, 0, LANES, s, err);
    }
    world_close(&w);
    world_close(&other);
    return good && ready;
}

/* Samples of one prompt have one task, so two episodes of a task show one text. */
static bool
one_prompt(const mete__selftest *t, mete_error *err)
{
    struct world w;
    bool good = world_open(t, &w, LANES, err) && world_reset(&w, 0, LANES, 0, false, err);
    if (good) {
        uint32_t lane[2] = {0, 1};
        uint64_t episode[2] = {41, 42}, task[2] = {3, 3};
        mete_reset reset = {
            .size = sizeof reset, .count = 2, .lane = lane, .episode = episode, .task = task};
        good = mete__environment_reset(w.node, &reset, w.now, err) == METE_OK;
    }
    if (good && (w.now->prompt_id[0] != w.now->prompt_id[1] ||
                 hash_text(0, w.now->prompt[0]) != hash_text(0, w.now->prompt[1]))) {
        mete_error_set(err, METE_EPLUGIN, "two lanes of task 3 show different prompts or ids");
        good = false;
    }
    world_close(&w);
    return good;
}

static bool
held_out(const mete__selftest *t, mete_error *err)
{
    struct world w;
    struct moment at[LANES];
    bool good = world_open(t, &w, LANES, err) && world_reset(&w, 0, LANES, 0, true, err);
    for (size_t s = 0; s < LEAST_STEPS && good; s++)
        good = walk(&w, at, err);
    for (size_t r = 0; r < RULES && good; r++)
        if (w.broken[r].code) {
            mete_error_set(err, METE_EPLUGIN, "%s", w.broken[r].message);
            good = false;
        }
    world_close(&w);
    return good;
}

static void
check_again(mete__selftest *t, const struct walked *walked, const struct world *first)
{
    static const char copying[] = "lanes copied, saved and restored go on alike";
    const mete_environment *plugin = &t->plugin->as.environment;
    mete_error err = {0};
    mete__selftest_tell(t, again(t, walked, 0, LANES, &err), "the same seed, the same bits",
                        err.message);
    bool good = true;
    for (size_t i = 0; i < LANES && good; i++)
        good = again(t, walked, i, 1, &err);
    mete__selftest_tell(t, good, "a lane alone as among others", err.message);
    mete__selftest_tell(t, undisturbed(t, walked, &err), "a lane started anew disturbs no other",
                        err.message);
    if (plugin->copy && plugin->restore)
        mete__selftest_tell(t, moved(t, walked, &err), copying, err.message);
    else if (first->node->spaces.single_turn)
        mete__selftest_skip(t, copying, "every episode is one step");
    else
        mete__selftest_skip(t, copying,
                            "it has no `copy` and `restore`, so that runs of it whose lanes go on "
                            "from batch to batch cannot be saved");
    if (first->now->prompt)
        mete__selftest_tell(t, one_prompt(t, &err), "one task, one prompt", err.message);
    mete__selftest_tell(t, held_out(t, &err), "held-out episodes", err.message);
}

static void
check(mete__selftest *t, struct world *w)
{
    char what[64];
    const mete_spaces *spaces = &w->node->spaces;
    mete_error err = {0};
    bool good = space_good(&spaces->observation) && space_good(&spaces->action);
    mete__selftest_tell(t, good, "spaces", "a space has no values, no size or no range");
    size_t steps = 2 * (size_t)spaces->max_steps + 2;
    steps = steps < LEAST_STEPS ? LEAST_STEPS : steps > MOST_STEPS ? MOST_STEPS : steps;
    struct walked walked = {calloc(steps * LANES, sizeof *walked.whole), steps};
    if (!good || !walked.whole) {
        free(walked.whole);
        return;
    }
    good = world_reset(w, 0, LANES, 0, false, &err);
    for (size_t s = 0; s < steps && good; s++)
        good = walk(w, walked.whole + s * LANES, &err);
    snprintf(what, sizeof what, "%zu steps of %zu lanes with random actions", steps, LANES);
    mete__selftest_tell(t, good, what, err.message);
    for (size_t r = 0; r < RULES && good; r++)
        mete__selftest_tell(t, !w->broken[r].code, rule_name[r], w->broken[r].message);
    if (good)
        check_again(t, &walked, w);
    free(walked.whole);
}

void
mete__selftest_environment(mete__selftest *t)
{
    struct world w;
    mete_error err = {0};
    if (world_open(t, &w, LANES, &err))
        check(t, &w);
    else
        mete__selftest_tell(t, false, "opened with six lanes", err.message);
    world_close(&w);
}
