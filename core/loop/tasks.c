/* tasks.c - the block `tasks`: how often tasks of each kind are drawn, in place of all in turn.
 *
 *   tasks = { by = "subset"; weights = { math = 3.0; chat = 1.0; }; other = 0.0; };
 *
 * `by` is a column of texts that an environment with numbered tasks (rows of its files) shows at
 * reset; each of its values is a kind. A draw takes a kind with probability proportional to its
 * weight, and any of its tasks alike. The n-th draw is a function of the seed and n. */
#include "loop/inner.h"

#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

typedef struct kind {
    char *name;
    uint64_t *task;
    size_t tasks, room;
} kind;

struct mete__tasks {
    kind *kind;
    double *weight; /* [kinds] */
    size_t kinds;
    uint64_t key;
};

void
mete__tasks_free(struct mete__tasks *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->kinds; i++) {
        free(t->kind[i].name);
        free(t->kind[i].task);
    }
    free(t->kind);
    free(t->weight);
    free(t);
}

uint64_t
mete__tasks_at(const struct mete__tasks *t, uint64_t n)
{
    mete_rng rng = mete_rng_make(t->key, n, 0);
    const kind *drawn = &t->kind[mete_rng_choose(&rng, t->weight, t->kinds)];
    return drawn->task[mete_rng_below(&rng, (uint32_t)drawn->tasks)];
}

/* The kind of that name, made when it is new; NULL: out of memory. */
static kind *
kind_of(struct mete__tasks *t, mete_text name)
{
    for (size_t i = 0; i < t->kinds; i++)
        if (strlen(t->kind[i].name) == name.length &&
            memcmp(t->kind[i].name, name.data, name.length) == 0)
            return &t->kind[i];
    kind *grown = realloc(t->kind, (t->kinds + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    t->kind = grown;
    grown[t->kinds] = (kind){.name = strndup(name.data ? name.data : "", name.length)};
    return grown[t->kinds].name ? &grown[t->kinds++] : NULL;
}

static bool
add_task(struct mete__tasks *t, mete_text name, uint64_t task)
{
    kind *to = kind_of(t, name);
    if (to && to->tasks == to->room) {
        size_t room = to->room ? 2 * to->room : 64;
        uint64_t *grown = realloc(to->task, room * sizeof *grown);
        if (!grown)
            return false;
        to->task = grown;
        to->room = room;
    }
    if (to)
        to->task[to->tasks++] = task;
    return to != NULL;
}

/* Shows every task once, to learn its kind. */
static int
sort_tasks(struct mete__tasks *t, mete__rollout *r, size_t column, mete_error *err)
{
    uint64_t tasks = r->environment->spaces.tasks;
    int status = METE_OK;
    for (uint64_t from = 0; from < tasks && !status; from += r->lanes) {
        for (size_t i = 0; i < r->lanes; i++) {
            r->moved->task[i] = (from + i) % tasks;
            r->moved->episode[i] = i + 1;
        }
        mete_reset reset = {.size = sizeof reset,
                            .count = r->lanes,
                            .lane = r->lane,
                            .episode = r->moved->episode,
                            .task = r->moved->task,
                            .counted = 1};
        status = mete__environment_reset(r->environment, &reset, r->now, err);
        for (size_t i = 0; i < r->lanes && from + i < tasks && !status; i++)
            if (!add_task(t, mete__observations_text(r->now, column, i), from + i))
                status = mete_error_set(err, METE_ENOMEM, "out of memory for %llu tasks",
                                        (unsigned long long)tasks);
    }
    return status;
}

/* Weights by name; each must be of a kind that there is, and one must be above 0. */
static void
read_weights(struct mete__tasks *t, mete__value *group, const char *by, mete__errors *errors)
{
    mete__value *weights = mete__value_get(group, "weights");
    double other = mete__value_real(group, "other", 1, 0, 1e9, errors), sum = 0;
    mete_buffer names = {0};
    for (size_t i = 0; i < t->kinds; i++)
        mete_buffer_format(&names, "%s%s", i ? " " : "", t->kind[i].name);
    if (!(t->weight = calloc(t->kinds + 1, sizeof *t->weight)))
        mete__errors_add(errors, "out of memory");
    for (size_t i = 0; t->weight && i < t->kinds; i++) {
        bool named = weights && weights->kind == METE__GROUP;
        t->weight[i] =
            named ? mete__value_real(weights, t->kind[i].name, other, 0, 1e9, errors) : other;
        sum += t->weight[i];
    }
    if (weights && weights->kind == METE__GROUP)
        mete__value_unknown(weights, names.data ? names.data : "", errors);
    if (weights && weights->kind != METE__GROUP)
        mete__errors_add(errors, "%s:%d: tasks.weights is a group of numbers by the values of '%s'",
                         weights->file, weights->line, by);
    else if (t->weight && sum <= 0)
        mete__errors_add(errors, "%s:%d: tasks: no kind has a weight above 0; there are: %s",
                         group->file, group->line, names.data ? names.data : "none");
    mete_buffer_free(&names);
}

static size_t
find_column(const mete_node *environment, const char *by)
{
    size_t i = 0;
    while (i < environment->declareds && (strcmp(environment->declared[i].name, by) != 0 ||
                                          environment->declared[i].level != METE_EPISODE ||
                                          environment->declared[i].element != METE_TEXT))
        i++;
    return i;
}

struct mete__tasks *
mete__tasks_read(mete__rollout *r, mete__config *config, uint64_t seed, mete__errors *errors)
{
    const mete_node *environment = r->environment;
    const char *name = environment->plugin->as.head.name;
    mete__value *group = mete__value_get(mete__config_root(config), "tasks");
    size_t before = errors->count;
    mete_error err = {0};
    if (!group)
        return NULL;
    const char *by = mete__value_string(group, "by", "", errors);
    size_t column = find_column(environment, by);
    if (column == environment->declareds)
        mete__errors_add(errors,
                         "%s:%d: tasks.by = \"%s\" is no text an episode that environment '%s' "
                         "shows; name the column whose values are the kinds of tasks",
                         group->file, group->line, by, name);
    else if (!environment->spaces.tasks || environment->spaces.tasks > UINT32_MAX)
        mete__errors_add(errors,
                         "%s:%d: tasks: environment '%s' has no numbered tasks to draw from",
                         group->file, group->line, name);
    else if (!environment->spaces.single_turn && r->steps)
        mete__errors_add(errors,
                         "%s:%d: tasks: with env.steps lanes go on to the next task by "
                         "themselves; leave env.steps out, for whole episodes",
                         group->file, group->line);
    if (errors->count != before)
        return NULL;
    struct mete__tasks *t = calloc(1, sizeof *t);
    if (!t || sort_tasks(t, r, column, &err))
        mete__errors_add(errors, "%s", err.code ? err.message : "out of memory");
    else
        read_weights(t, group, by, errors);
    mete__value_get(group, "weights");
    mete__value_get(group, "other");
    mete__value_unknown(group, "by weights other", errors);
    if (t)
        t->key = mete_hash_mix(seed, mete_hash(0, "tasks", 5));
    if (errors->count == before)
        return t;
    mete__tasks_free(t);
    return NULL;
}
