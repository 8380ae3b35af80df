/* gridworld - walk a map of text: walls, pits, goals, keys and doors, slippery ground.
 *
 *   #  wall     . or space  floor     S  start (one is drawn)     G  goal     P  pit
 *   a b c  keys, picked up by walking over them     A B C  doors, open to who has the key
 *
 * Actions 0 up, 1 right, 2 down, 3 left. With probability `slip` the move goes to one of the two
 * sides instead, each as likely (Russell & Norvig's grid). What happens in an episode follows from
 * its id and step alone. The world is the observation (Sutton & Barto 2018, chapter 3): the cell as
 * one of rows x columns, then a flag for each key held.
 */
#include <mete/environment.h>
#include <string.h>

#define MOST_CELLS 65536
#define KEYS 3

enum { ONEHOT, VECTOR };

struct lane {
    uint64_t episode;
    uint32_t cell, age;
    uint32_t keys; /* bit k: key k is held */
};

struct gridworld {
    mete_strings map;
    double slip, goal_reward, pit_reward, step_reward;
    int64_t max_steps;
    int render;

    char *cell; /* [rows x columns] */
    size_t rows, columns;
    uint32_t *start;
    size_t starts;
    struct lane *lane;
    size_t lanes;
    uint64_t key;
    uint32_t width; /* of the observation */
    int goal, keys;
};

static const char *const default_map[] = {"S...#", ".##..", ".#G.P", "...#.", "..#.."};

static const mete_option options[] = {
    METE_STRINGS(struct gridworld, map, 0,
                 "rows of the map, all of one length; a 5 x 5 one if absent"),
    METE_REAL(struct gridworld, slip, 0, 0, 1, "probability that a move goes to a side"),
    METE_REAL(struct gridworld, goal_reward, 1, -1e6, 1e6, "reward of reaching a goal"),
    METE_REAL(struct gridworld, pit_reward, -1, -1e6, 1e6, "reward of falling into a pit"),
    METE_REAL(struct gridworld, step_reward, 0, -1e6, 1e6, "reward of every step"),
    METE_INT(struct gridworld, max_steps, 100, 1, 1000000000,
             "steps after which an episode is cut"),
    METE_ENUM(struct gridworld, render, ONEHOT, "onehot|vector",
              "onehot: a flag for each cell; vector: row and column in [0, 1]; then the keys held"),
    METE_OPTIONS_END};

static int
read_map(mete_ctx *cx, struct gridworld *p)
{
    const char *const *row = p->map.count ? p->map.item : default_map;
    p->rows = p->map.count ? p->map.count : sizeof default_map / sizeof *default_map;
    p->columns = strlen(row[0]);
    if (!p->columns || p->rows > MOST_CELLS / p->columns)
        return mete_fail(cx, METE_EINVAL,
                         "the map has %zu rows of %zu cells; 1 to %d cells are allowed", p->rows,
                         p->columns, MOST_CELLS);
    p->cell = mete_alloc(cx, p->rows * p->columns);
    p->start = mete_alloc(cx, p->rows * p->columns * sizeof *p->start);
    if (!p->cell || !p->start)
        return mete_fail(cx, METE_ENOMEM, "out of memory for the map");
    for (size_t r = 0; r < p->rows; r++) {
        if (strlen(row[r]) != p->columns)
            return mete_fail(cx, METE_EINVAL, "row %zu of the map has %zu cells, row 1 has %zu",
                             r + 1, strlen(row[r]), p->columns);
        for (size_t c = 0; c < p->columns; c++) {
            char symbol = row[r][c];
            if (!strchr("#. SGPabcABC", symbol))
                return mete_fail(cx, METE_EINVAL,
                                 "'%c' in row %zu of the map is none of # . S G P a b c A B C",
                                 symbol, r + 1);
            if (symbol == 'S')
                p->start[p->starts++] = (uint32_t)(r * p->columns + c);
            p->cell[r * p->columns + c] = symbol;
        }
    }
    return p->starts ? METE_OK : mete_fail(cx, METE_EINVAL, "the map has no start (S)");
}

static int
open_gridworld(mete_ctx *cx, void *self)
{
    struct gridworld *p = self;
    int status = read_map(cx, p);
    if (status)
        return status;
    p->key = mete_key(cx);
    p->goal = mete_provide_signal(cx, "goal", METE_SEE_REWARD, 0, 1, "1: the step reached a goal");
    p->keys =
        mete_provide_signal(cx, "picked", METE_SEE_REWARD, 0, 1, "1: the step picked up a key");
    return p->goal < 0 ? p->goal : p->keys < 0 ? p->keys : METE_OK;
}

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct gridworld *p = self;
    p->lane = mete_alloc(cx, lanes * sizeof *p->lane);
    if (!p->lane)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    p->width = (uint32_t)(KEYS + (p->render == ONEHOT ? p->rows * p->columns : 2));
    out->observation = (mete_space){METE_SPACE_BOX, 0, p->width, 0, 1};
    out->action = (mete_space){METE_SPACE_DISCRETE, 4, 0, 0, 3};
    out->max_steps = (uint32_t)p->max_steps;
    return METE_OK;
}

static void
show(const struct gridworld *p, size_t lane, float *observation)
{
    const struct lane *at = &p->lane[lane];
    memset(observation, 0, p->width * sizeof *observation);
    float *keys = observation + p->width - KEYS;
    if (p->render == ONEHOT) {
        observation[at->cell] = 1;
    } else {
        size_t row = at->cell / p->columns, column = at->cell % p->columns;
        observation[0] = p->rows > 1 ? (float)row / (float)(p->rows - 1) : 0;
        observation[1] = p->columns > 1 ? (float)column / (float)(p->columns - 1) : 0;
    }
    for (int k = 0; k < KEYS; k++)
        keys[k] = (float)(at->keys >> k & 1);
}

static void
start(struct gridworld *p, size_t lane, uint64_t episode, float *observation)
{
    mete_rng rng = mete_rng_make(p->key, episode, UINT32_MAX);
    uint32_t which = p->starts > 1 ? mete_rng_below(&rng, (uint32_t)p->starts) : 0;
    p->lane[lane] = (struct lane){.episode = episode, .cell = p->start[which]};
    show(p, lane, observation + lane * p->width);
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct gridworld *p = self;
    for (size_t k = 0; k < in->count; k++) {
        if (in->lane[k] >= p->lanes)
            return mete_fail(cx, METE_EPLUGIN, "lane %u of %zu", in->lane[k], p->lanes);
        start(p, in->lane[k], in->episode[k], out->observation);
    }
    return METE_OK;
}

/* Where a move leads: the cell itself when a wall, the edge or a locked door is in the way. */
static uint32_t
moved(const struct gridworld *p, const struct lane *at, int action)
{
    static const int up[] = {-1, 0, 1, 0}, right[] = {0, 1, 0, -1};
    int64_t row = (int64_t)(at->cell / p->columns) + up[action];
    int64_t column = (int64_t)(at->cell % p->columns) + right[action];
    if (row < 0 || column < 0 || row >= (int64_t)p->rows || column >= (int64_t)p->columns)
        return at->cell;
    uint32_t cell = (uint32_t)((size_t)row * p->columns + (size_t)column);
    char symbol = p->cell[cell];
    if (symbol == '#' || (symbol >= 'A' && symbol <= 'C' && !(at->keys >> (symbol - 'A') & 1)))
        return at->cell;
    return cell;
}

static void
step_lane(struct gridworld *p, size_t lane, int action, mete_transitions *out)
{
    struct lane *at = &p->lane[lane];
    mete_rng rng = mete_rng_make(p->key, at->episode, at->age++);
    if (p->slip > 0 && mete_rng_uniform(&rng) < p->slip)
        action = (action + (mete_rng_bits(&rng) & 1 ? 1 : 3)) % 4;
    at->cell = moved(p, at, action);
    char symbol = p->cell[at->cell];
    out->reward[lane] = (float)p->step_reward;
    if (symbol >= 'a' && symbol <= 'c' && !(at->keys >> (symbol - 'a') & 1)) {
        at->keys |= 1u << (symbol - 'a');
        mete_lane_signal(out, p->keys)[lane] = 1;
    }
    if (symbol == 'G') {
        out->reward[lane] += (float)p->goal_reward;
        mete_lane_signal(out, p->goal)[lane] = 1;
    } else if (symbol == 'P') {
        out->reward[lane] += (float)p->pit_reward;
    }
    out->terminated[lane] = symbol == 'G' || symbol == 'P';
    out->truncated[lane] = !out->terminated[lane] && at->age >= (uint32_t)p->max_steps;
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct gridworld *p = self;
    for (size_t lane = 0; lane < p->lanes; lane++) {
        if (in->action[lane] < 0 || in->action[lane] > 3)
            return mete_fail(cx, METE_EINVAL, "action %d is none of 0 up, 1 right, 2 down, 3 left",
                             in->action[lane]);
        step_lane(p, lane, in->action[lane], out);
        float *observation = out->next->observation + lane * p->width;
        show(p, lane, observation);
        if (!(out->terminated[lane] | out->truncated[lane]))
            continue;
        memcpy(out->final_observation + lane * p->width, observation, p->width * sizeof(float));
        out->episode[lane] += out->stride;
        out->task[lane] += out->task_stride;
        start(p, lane, out->episode[lane], out->next->observation);
    }
    return METE_OK;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    (void)cx;
    memcpy(bytes, &((const struct gridworld *)self)->lane[lane], sizeof(struct lane));
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct gridworld *p = self;
    struct lane at;
    memcpy(&at, bytes, sizeof at);
    if (at.cell >= p->rows * p->columns)
        return mete_fail(cx, METE_EDATA, "a saved lane stands at cell %u of %zu", at.cell,
                         p->rows * p->columns);
    p->lane[lane] = at;
    show(p, lane, out->observation + lane * p->width);
    return METE_OK;
}

METE_ENVIRONMENT_PLUGIN(gridworld, "1.0",
                        "a map of text to walk: walls, pits, goals, keys and doors",
                        .doc = "map = [ \"S.a#\", \"..AG\" ]; is a world with a key and its door.",
                        .reference = "Sutton & Barto 2018, Reinforcement Learning, chapter 3",
                        .options = options, .state_size = sizeof(struct gridworld),
                        .lane_size = sizeof(struct lane), .open = open_gridworld, .spaces = spaces,
                        .reset = reset, .step = step, .copy = copy, .restore = restore);
