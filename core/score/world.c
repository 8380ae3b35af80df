/* world.c - mete.h over one environment: its lanes stepped by a program. */
#include <mete/mete.h>

#include "engine/engine.h"
#include "score/scorer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What stands behind a mete_world. */
typedef struct held {
    mete_world world;
    mete__config *config;
    mete__engine *engine;
    mete_node *environment;
    mete_observations *now;
    mete_transitions *moved;
    mete_world_column *column;
    uint32_t *lane; /* 0, 1, ... for resets that name none */
    bool *started;  /* [lanes] */
    size_t waiting; /* lanes that are not */
} held;

static held *
behind(const mete_world *world)
{
    return (held *)(uintptr_t)world;
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool
read_config(held *h, const char *config, const mete_world_options *options, mete__errors *errors)
{
    mete__engine_options own = {.seed = 1,
                                .threads = options->threads ? options->threads : 1,
                                .log = options->log,
                                .user = options->user};
    static const char bare[] = "run = { }; env = { };"; /* `set` fills groups that there are */
    h->config = config ? mete__config_read(config, options->set, options->sets, errors)
                       : mete__config_parse("config", bare, sizeof bare - 1, options->set,
                                            options->sets, errors);
    if (!h->config)
        return false;
    own.seed = mete__config_seed(h->config, own.seed, errors);
    h->engine = mete__engine_open(h->config, &own, errors);
    if (!h->engine)
        return false;
    h->environment = mete__engine_environment(h->engine);
    if (!h->environment)
        mete__errors_add(errors, "%s: there is no env = { ... } to step",
                         config ? config : "config");
    return !errors->count;
}

/* The lists that actions are indices into. */
static const mete_world_column *
candidates(const held *h)
{
    for (uint32_t i = 0; i < h->world.columns; i++)
        if (h->column[i].level == METE_LIST && strcmp(h->column[i].name, "candidates") == 0)
            return &h->column[i];
    return NULL;
}

static bool
show_columns(held *h)
{
    size_t count = h->environment->declareds;
    h->column = calloc(count + 1, sizeof *h->column);
    for (size_t i = 0; h->column && i < count; i++) {
        const mete__declared *declared = &h->environment->declared[i];
        bool list = declared->level == METE_LIST;
        h->column[i] = (mete_world_column){
            .size = sizeof *h->column,
            .level = (uint32_t)declared->level,
            .element = (uint32_t)(declared->signal ? METE_F32 : declared->element),
            .visible = (uint32_t)declared->visible,
            .signal = declared->signal,
            .name = declared->name,
            .help = declared->help,
            .value = declared->signal ? mete_lane_signal(h->moved, (int)i)
                     : list           ? NULL
                                      : mete_lane_column(h->now, (int)i)};
    }
    h->world.columns = (uint32_t)count;
    h->world.column = h->column;
    return h->column != NULL;
}

static bool
make_lanes(held *h, size_t lanes, unsigned threads, mete_error *err)
{
    size_t parts = threads < lanes ? threads : lanes;
    if (mete__environment_split(h->environment, parts, err) ||
        mete__environment_spaces(h->environment, lanes, err))
        return false;
    h->now = mete__observations_new(h->environment, lanes);
    h->moved = h->now ? mete__transitions_new(h->environment, h->now) : NULL;
    h->lane = calloc(lanes, sizeof *h->lane);
    h->started = calloc(lanes, sizeof *h->started);
    h->world = (mete_world){.size = sizeof h->world,
                            .lanes = lanes,
                            .spaces = &h->environment->spaces,
                            .actions = mete__actions_new(&h->environment->spaces, NULL, lanes),
                            .now = h->now,
                            .moved = h->moved};
    if (!h->moved || !h->lane || !h->started || !h->world.actions || !show_columns(h)) {
        mete_error_set(err, METE_ENOMEM, "out of memory for %zu lanes", lanes);
        return false;
    }
    for (size_t i = 0; i < lanes; i++)
        h->lane[i] = (uint32_t)i;
    h->waiting = lanes;
    return true;
}

mete_world *
mete_world_open(const char *config, const mete_world_options *options, mete_error *err)
{
    mete_world_options own = {0};
    mete__errors errors = {0};
    held *h = calloc(1, sizeof *h);
    if (options)
        memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    if (!h) {
        mete_error_set(err, METE_ENOMEM, "out of memory");
        return NULL;
    }
    bool good = read_config(h, config, &own, &errors);
    if (!good)
        mete__errors_tell(&errors, err);
    mete__errors_free(&errors);
    if (good && make_lanes(h, own.lanes ? own.lanes : 1, own.threads, err))
        return &h->world;
    mete_world_close(&h->world);
    return NULL;
}

void
mete_world_close(mete_world *world)
{
    if (!world)
        return;
    held *h = behind(world);
    mete__actions_free(h->world.actions);
    mete__transitions_free(h->moved);
    mete__observations_free(h->now);
    free(h->column);
    free(h->lane);
    free(h->started);
    if (h->engine)
        mete__engine_close(h->engine);
    if (h->config)
        mete__config_free(h->config);
    free(h);
}

/* ---- going on -------------------------------------------------------------------------------- */

int
mete_world_reset(mete_world *world, const uint32_t *lane, size_t count, const uint64_t *episode,
                 const uint64_t *task, int evaluation, mete_error *err)
{
    held *h = behind(world);
    const uint32_t *which = lane ? lane : h->lane;
    if (count > world->lanes)
        return mete_error_set(err, METE_EINVAL, "%zu lanes to start, and there are %zu", count,
                              world->lanes);
    for (size_t k = 0; k < count; k++)
        if (which[k] >= world->lanes)
            return mete_error_set(err, METE_EINVAL, "there is no lane %u: they are 0 to %zu",
                                  which[k], world->lanes - 1);
    mete_reset reset = {.size = sizeof reset,
                        .evaluation = evaluation != 0,
                        .count = count,
                        .lane = which,
                        .episode = episode,
                        .task = task};
    int status = mete__environment_reset(h->environment, &reset, h->now, err);
    for (size_t k = 0; k < count && !status; k++) {
        h->moved->episode[which[k]] = episode[k];
        h->moved->task[which[k]] = task[k];
        h->waiting -= !h->started[which[k]];
        h->started[which[k]] = true;
    }
    return status;
}

/* Is the lane's action one of its space? */
static int
check_action(const held *h, const mete_world_column *list, size_t lane, mete_error *err)
{
    const mete_actions *actions = h->world.actions;
    const mete_space *space = &h->environment->spaces.action;
    if (space->kind == METE_SPACE_BOX) {
        const float *x = actions->vector + lane * actions->vector_size;
        for (size_t i = 0; i < actions->vector_size; i++)
            if (!isfinite(x[i]))
                return mete_error_set(err, METE_EINVAL,
                                      "lane %zu: number %zu of the action is no finite number",
                                      lane, i);
        return METE_OK;
    }
    if (!actions->action)
        return METE_OK;
    size_t most = space->count;
    if (list)
        most = mete_world_list(&h->world, (size_t)(list - h->column), lane).count;
    if (actions->action[lane] < 0 || (size_t)actions->action[lane] >= most)
        return mete_error_set(err, METE_EINVAL, "lane %zu: action %d is none of 0 to %zu", lane,
                              actions->action[lane], most ? most - 1 : 0);
    return METE_OK;
}

int
mete_world_step(mete_world *world, mete_error *err)
{
    held *h = behind(world);
    const mete_world_column *list =
        world->spaces->action.kind == METE_SPACE_CANDIDATES ? candidates(h) : NULL;
    if (h->waiting)
        return mete_error_set(err, METE_EINVAL, "%zu lanes were never started: reset them first",
                              h->waiting);
    for (size_t i = 0; i < world->lanes; i++) {
        int status = check_action(h, list, i, err);
        if (status)
            return status;
    }
    return mete__environment_step(h->environment, world->actions, h->moved, err);
}

mete_texts
mete_world_list(const mete_world *world, size_t column, size_t lane)
{
    if (column >= world->columns || lane >= world->lanes || world->column[column].value)
        return (mete_texts){NULL, 0};
    return mete__observations_list(world->now, column, lane);
}

size_t
mete_plugin_names(mete_kind kind, char *text, size_t size)
{
    char *names = mete__plugin_names(kind);
    int length = snprintf(text, size, "%s", names ? names : "");
    free(names);
    return length > 0 ? (size_t)length : 0;
}
