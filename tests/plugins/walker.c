/* kind: environment */
/* A walk on a line that breaks the contract as `mode` says; selftest must name each breach. */
#include <math.h>
#include <mete/environment.h>
#include <string.h>

#define LENGTH 5

enum {
    HONEST,
    NO_NUMBER,
    MASKS_ALL,
    BOTH_ENDS,
    NO_FINAL,
    SAME_ID,
    ENDLESS,
    COUNTS_CALLS,
    LOOKS_ASIDE,
    DISTURBS,
    FORGETS,
    MOODY,
    NO_REWARD
};

struct lane {
    int32_t place, age;
    uint64_t episode;
};

struct walker {
    int mode;
    struct lane *lane;
    size_t lanes;
};

static const mete_option options[] = {
    METE_ENUM(struct walker, mode, HONEST,
              "honest|no_number|masks_all|both_ends|no_final|same_id|endless|counts_calls|"
              "looks_aside|disturbs|forgets|moody|no_reward",
              "what it does wrong"),
    METE_OPTIONS_END};

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct walker *p = self;
    p->lanes = lanes;
    p->lane = mete_alloc(cx, lanes * sizeof *p->lane);
    out->observation = (mete_space){.kind = METE_SPACE_BOX, .size = 2, .low = -10, .high = 10};
    if (p->mode == MOODY)
        out->observation = (mete_space){.kind = METE_SPACE_TEXT};
    out->action = (mete_space){.kind = METE_SPACE_DISCRETE, .count = 2};
    out->max_steps = LENGTH;
    return p->lane ? METE_OK : METE_ENOMEM;
}

static void
show(const struct walker *p, size_t i, mete_observations *out)
{
    static float calls;
    static const char *const mood[] = {"up", "down"};
    const struct lane *lane = &p->lane[i];
    if (p->mode == MOODY) {
        out->prompt[i] = mete_text_from(mood[lane->episode % 2]);
        return;
    }
    out->observation[2 * i] = (float)lane->place;
    out->observation[2 * i + 1] = (float)(lane->episode % 3);
    if (p->mode == NO_NUMBER && lane->age == 3)
        out->observation[2 * i] = NAN;
    if (p->mode == COUNTS_CALLS)
        out->observation[2 * i] = fmodf(calls++, 997) / 100;
    if (p->mode == LOOKS_ASIDE)
        out->observation[2 * i] = (float)p->lane[p->lanes - 1].place;
    memset(out->action_mask + 2 * i, p->mode != MASKS_ALL, 2);
    out->prompt_id[i] = 1;
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct walker *p = self;
    (void)cx;
    for (size_t k = 0; k < in->count; k++)
        p->lane[in->lane[k]] = (struct lane){.episode = in->episode[k]};
    for (size_t i = 0; i < p->lanes && p->mode == DISTURBS; i++)
        p->lane[i].place = 0;
    for (size_t i = 0; i < p->lanes; i++)
        show(p, i, out);
    return METE_OK;
}

static void
end(struct walker *p, size_t i, mete_transitions *out)
{
    struct lane *lane = &p->lane[i];
    out->terminated[i] = lane->place == 3 || p->mode == BOTH_ENDS;
    out->truncated[i] = lane->place != 3 || p->mode == BOTH_ENDS;
    if (p->mode != NO_FINAL && out->final_observation) {
        out->final_observation[2 * i] = (float)lane->place;
        out->final_observation[2 * i + 1] = (float)(lane->episode % 3);
    }
    out->episode[i] += p->mode == SAME_ID ? 0 : out->stride;
    out->task[i] += out->task_stride;
    *lane = (struct lane){.episode = out->episode[i]};
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct walker *p = self;
    (void)cx;
    for (size_t i = 0; i < p->lanes; i++) {
        struct lane *lane = &p->lane[i];
        lane->place += in->action[i] ? 1 : -1;
        lane->age++;
        out->reward[i] = p->mode == NO_REWARD && lane->place == 2 ? NAN : (float)lane->place;
        if (lane->place == 3 || (lane->age == LENGTH && p->mode != ENDLESS) || lane->age == 9)
            end(p, i, out);
        show(p, i, out->next);
    }
    return METE_OK;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    const struct walker *p = self;
    (void)cx;
    memcpy(bytes, &p->lane[lane], sizeof(struct lane));
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct walker *p = self;
    (void)cx;
    memcpy(&p->lane[lane], bytes, sizeof(struct lane));
    if (p->mode == FORGETS)
        p->lane[lane].place = 0;
    show(p, lane, out);
    return METE_OK;
}

METE_ENVIRONMENT_PLUGIN(walker, "1", "a walk on a line, with faults", .options = options,
                        .state_size = sizeof(struct walker), .lane_size = sizeof(struct lane),
                        .spaces = spaces, .reset = reset, .step = step, .copy = copy,
                        .restore = restore);
