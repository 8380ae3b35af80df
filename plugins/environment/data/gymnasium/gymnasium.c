/* gymnasium - any Gymnasium environment, one a lane.  pkg-config: python3-embed
 * common: python
 *
 * Brockman et al. 2016, "OpenAI Gym"; Towers et al. 2024, "Gymnasium: A Standard Interface for
 * Reinforcement Learning Environments". What happens in an episode follows from its seed, a
 * function of the episode's id, and from its actions: lanes, restarts and resumed runs change
 * nothing, as long as the environment keeps Gymnasium's contract that a seed decides.
 *
 * It runs in a process of its own unless the config says otherwise: the interpreter starts there.
 */
#include "../../../common/python/interpreter.h"
#include "driver.h"

#include <math.h>
#include <mete/environment.h>
#include <pthread.h>
#include <string.h>

struct gymnasium {
    const char *id, *arguments;
    mete_strings path, signals;
    int64_t max_steps;
    /* filled by open */
    int *signal; /* [signals.count] */
    uint64_t key;
    struct python *python;
    /* filled by spaces */
    size_t lanes;
    mete_space observation, action;
};

/* The interpreter's side of an instance; made at its first call. */
struct python {
    pthread_mutex_t lock;
    PyObject *lanes; /* a Lanes of driver.h */
};

/* What copy and restore move; the actions are in what is saved. */
struct lane {
    uint64_t seed, steps;
};

static const mete_option options[] = {
    METE_STRING(struct gymnasium, id, NULL, METE_REQUIRED,
                "the environment, \"CartPole-v1\" or \"module:Name-v0\""),
    METE_STRING(struct gymnasium, arguments, "{}", 0, "a JSON object: arguments of gymnasium.make"),
    METE_STRINGS(struct gymnasium, path, 0, "folders that modules are looked for in first"),
    METE_STRINGS(struct gymnasium, signals, 0,
                 "names of numbers in `info`: numbers of a step, 0 where they are not there"),
    METE_INT(struct gymnasium, max_steps, 0, 0, 1000000000,
             "steps after which an episode is cut; 0: as the environment is registered"),
    METE_OPTIONS_END};

/* ---- calls of the driver --------------------------------------------------------------------- */

/* What was raised, as the call's error; ends a call that `enter` began. */
static int
fail(mete_ctx *cx, PyGILState_STATE state, int code)
{
    char why[600];
    interpreter_exception(why, sizeof why);
    PyGILState_Release(state);
    return mete_fail(cx, code, "%s", why);
}

static PyObject *
list_of(mete_strings texts)
{
    PyObject *list = PyList_New(0);
    for (size_t k = 0; list && k < texts.count; k++) {
        PyObject *item = PyUnicode_DecodeFSDefault(texts.item[k]);
        if (!item || PyList_Append(list, item))
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *
make_lanes(const struct gymnasium *p)
{
    PyObject *names = interpreter_run(driver);
    PyObject *class = names ? interpreter_get(names, "Lanes") : NULL;
    PyObject *path = list_of(p->path), *signals = list_of(p->signals), *made = NULL;
    if (class && path && signals)
        made = PyObject_CallFunction(class, "ssOLO", p->id, p->arguments, path,
                                     (long long)p->max_steps, signals);
    Py_XDECREF(signals);
    Py_XDECREF(path);
    Py_XDECREF(class);
    Py_XDECREF(names);
    return made;
}

/* The environments are there afterwards. Holds the interpreter's lock on METE_OK. */
static int
enter(mete_ctx *cx, const struct gymnasium *p, PyGILState_STATE *state)
{
    interpreter_start();
    pthread_mutex_lock(&p->python->lock);
    *state = PyGILState_Ensure();
    if (!p->python->lanes)
        p->python->lanes = make_lanes(p);
    int status = p->python->lanes ? METE_OK : fail(cx, *state, METE_EINVAL);
    pthread_mutex_unlock(&p->python->lock);
    return status;
}

/* Ends a call of the driver; `got` is released. */
static int
leave(mete_ctx *cx, PyGILState_STATE state, PyObject *got)
{
    if (!got)
        return fail(cx, state, METE_EPLUGIN);
    Py_DECREF(got);
    PyGILState_Release(state);
    return METE_OK;
}

static PyObject *
view(const void *array, size_t count, size_t each)
{
    char *bytes = (char *)(uintptr_t)array;
    return PyMemoryView_FromMemory(bytes, (Py_ssize_t)(count * each), PyBUF_WRITE);
}

static uint64_t
seed_of(const struct gymnasium *p, uint64_t episode)
{
    return mete_hash_mix(p->key, episode) >> 33; /* what any generator takes for a seed */
}

/* ---- opening --------------------------------------------------------------------------------- */

static int
open_gymnasium(mete_ctx *cx, void *self)
{
    struct gymnasium *p = self;
    p->key = mete_key(cx);
    p->python = mete_alloc(cx, sizeof *p->python);
    p->signal = mete_alloc(cx, (p->signals.count + 1) * sizeof *p->signal);
    if (!p->python || !p->signal)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < p->signals.count; k++) {
        p->signal[k] = mete_provide_signal(cx, p->signals.item[k], METE_SEE_REWARD, -INFINITY,
                                           INFINITY, "a number of the environment's info");
        if (p->signal[k] < 0)
            return p->signal[k];
    }
    pthread_mutex_init(&p->python->lock, NULL);
    if (!mete_isolated(cx))
        return METE_OK;
    /* In the process that is thrown away: what is wrong is told before a run. */
    PyGILState_STATE state;
    int status = enter(cx, p, &state);
    if (!status)
        PyGILState_Release(state);
    return status;
}

static void
close_gymnasium(mete_ctx *cx, void *self)
{
    struct gymnasium *p = self;
    (void)cx;
    if (p->python->lanes) {
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject *closed = PyObject_CallMethod(p->python->lanes, "close", NULL);
        Py_XDECREF(closed);
        PyErr_Clear();
        Py_CLEAR(p->python->lanes);
        PyGILState_Release(state);
    }
    pthread_mutex_destroy(&p->python->lock);
}

/* The driver's (kind, count, low, high); false with an exception. */
static int
read_space(PyObject *lanes, const char *name, mete_space *out)
{
    int kind;
    unsigned long long count;
    double low, high;
    PyObject *given = PyObject_GetAttrString(lanes, name);
    int good = given && PyArg_ParseTuple(given, "iKdd", &kind, &count, &low, &high);
    Py_XDECREF(given);
    if (!good)
        return 0;
    if (count < 1 || count > 1 << 28) {
        PyErr_Format(PyExc_ValueError, "%ss of %llu numbers: 1 to %d are allowed", name, count,
                     1 << 28);
        return 0;
    }
    *out = kind == 1 ? (mete_space){METE_SPACE_DISCRETE, (uint32_t)count, 0, 0, 0}
                     : (mete_space){METE_SPACE_BOX, 0, (uint32_t)count, 0, 0};
    if (isfinite(low) && isfinite(high) && isfinite((float)low) && isfinite((float)high)) {
        out->low = (float)low;
        out->high = (float)high;
    }
    return 1;
}

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct gymnasium *p = self;
    PyGILState_STATE state;
    int status = enter(cx, p, &state);
    if (status)
        return status;
    PyObject *there = p->python->lanes;
    if (!read_space(there, "observation", &p->observation) ||
        !read_space(there, "action", &p->action))
        return fail(cx, state, METE_EINVAL);
    PyObject *most = PyObject_GetAttrString(there, "most");
    unsigned long long steps = most ? PyLong_AsUnsignedLongLong(most) : 0;
    Py_XDECREF(most);
    PyObject *opened =
        PyErr_Occurred() ? NULL : PyObject_CallMethod(there, "open", "n", (Py_ssize_t)lanes);
    p->lanes = lanes;
    out->observation = p->observation;
    out->action = p->action;
    out->max_steps = steps < UINT32_MAX ? (uint32_t)steps : 0;
    return leave(cx, state, opened);
}

/* ---- going on -------------------------------------------------------------------------------- */

static size_t
width(const struct gymnasium *p)
{
    return p->observation.kind == METE_SPACE_BOX ? p->observation.size : 1;
}

static int
check_shown(mete_ctx *cx, const struct gymnasium *p, const float *shown, const uint64_t *episode)
{
    size_t each = width(p);
    for (size_t i = 0; i < p->lanes * each; i++)
        if (!isfinite(shown[i]))
            return mete_fail(cx, METE_EPLUGIN,
                             "%s: number %zu of the observation in episode %llu is no finite "
                             "number",
                             p->id, i % each,
                             (unsigned long long)(episode ? episode[i / each] : 0));
    return METE_OK;
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct gymnasium *p = self;
    PyGILState_STATE state;
    uint64_t *seed = mete_arena(cx, (in->count + 1) * sizeof *seed);
    if (!seed)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", in->count);
    for (size_t k = 0; k < in->count; k++) {
        if (in->lane[k] >= p->lanes)
            return mete_fail(cx, METE_EPLUGIN, "lane %u of %zu", in->lane[k], p->lanes);
        seed[k] = seed_of(p, in->episode[k]);
    }
    int status = enter(cx, p, &state);
    if (status)
        return status;
    PyObject *done = PyObject_CallMethod(
        p->python->lanes, "reset", "NNN", view(in->lane, in->count, 4), view(seed, in->count, 8),
        view(out->observation, p->lanes * width(p), sizeof(float)));
    return leave(cx, state, done);
}

/* What the driver's step is called with; NULL with an exception. */
static PyObject *
step_arguments(const struct gymnasium *p, const mete_actions *in, const uint64_t *seed,
               mete_transitions *out)
{
    size_t n = p->lanes, seen = n * width(p);
    const void *action = in->action ? (const void *)in->action : in->vector;
    size_t numbers = in->action ? n : n * in->vector_size;
    PyObject *all = PyTuple_New((Py_ssize_t)(7 + p->signals.count));
    PyObject *const array[] = {view(action, numbers, 4),
                               view(seed, n, 8),
                               view(out->next->observation, seen, 4),
                               view(out->final_observation, seen, 4),
                               view(out->reward, n, 4),
                               view(out->terminated, n, 1),
                               view(out->truncated, n, 1)};
    for (size_t k = 0; k < 7; k++)
        PyTuple_SET_ITEM(all, (Py_ssize_t)k, array[k]);
    for (size_t k = 0; k < p->signals.count; k++)
        PyTuple_SET_ITEM(all, (Py_ssize_t)(7 + k), view(mete_lane_signal(out, p->signal[k]), n, 4));
    return all;
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct gymnasium *p = self;
    PyGILState_STATE state;
    uint64_t *seed = mete_arena(cx, (p->lanes + 1) * sizeof *seed);
    if (!seed)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", p->lanes);
    for (size_t i = 0; i < p->lanes; i++)
        seed[i] = seed_of(p, out->episode[i] + out->stride);
    int status = enter(cx, p, &state);
    if (status)
        return status;
    PyObject *given = step_arguments(p, in, seed, out);
    PyObject *stepping = PyObject_GetAttrString(p->python->lanes, "step");
    PyObject *done = stepping && given ? PyObject_CallObject(stepping, given) : NULL;
    Py_XDECREF(stepping);
    Py_XDECREF(given);
    status = leave(cx, state, done);
    for (size_t i = 0; i < p->lanes && !status; i++)
        if (out->terminated[i] | out->truncated[i]) {
            out->episode[i] += out->stride;
            out->task[i] += out->task_stride;
        }
    return status ? status : check_shown(cx, p, out->next->observation, out->episode);
}

/* ---- saving ---------------------------------------------------------------------------------- */

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    const struct gymnasium *p = self;
    PyGILState_STATE state;
    unsigned long long seed = 0, steps = 0;
    int status = enter(cx, p, &state);
    if (status)
        return status;
    PyObject *at = PyObject_CallMethod(p->python->lanes, "place", "n", (Py_ssize_t)lane);
    if (at && !PyArg_ParseTuple(at, "KK", &seed, &steps))
        Py_CLEAR(at);
    struct lane found = {seed, steps};
    memcpy(bytes, &found, sizeof found);
    return leave(cx, state, at);
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct gymnasium *p = self;
    struct lane at;
    PyGILState_STATE state;
    int status = enter(cx, p, &state);
    if (status)
        return status;
    memcpy(&at, bytes, sizeof at);
    PyObject *done = PyObject_CallMethod(
        p->python->lanes, "restore", "nKKN", (Py_ssize_t)lane, (unsigned long long)at.seed,
        (unsigned long long)at.steps, view(out->observation, p->lanes * width(p), sizeof(float)));
    return leave(cx, state, done);
}

static int
save(mete_ctx *cx, const void *self)
{
    const struct gymnasium *p = self;
    PyGILState_STATE state;
    if (!p->lanes)
        return METE_OK;
    int status = enter(cx, p, &state);
    if (status)
        return status;
    PyObject *bytes = PyObject_CallMethod(p->python->lanes, "save", NULL);
    if (bytes && PyBytes_Check(bytes))
        status = mete_save_bytes(cx, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    int left = leave(cx, state, bytes);
    return left ? left : status;
}

static int
load(mete_ctx *cx, void *self, const void *bytes, size_t length)
{
    struct gymnasium *p = self;
    PyGILState_STATE state;
    int status = enter(cx, p, &state);
    if (status)
        return status;
    return leave(cx, state,
                 PyObject_CallMethod(p->python->lanes, "load", "y#", length ? bytes : "",
                                     (Py_ssize_t)length));
}

METE_ENVIRONMENT_PLUGIN(
    gymnasium, "1.0", "any environment of Gymnasium (Python), one a lane",
    .doc =
        "Gymnasium must be installed for the Python mete is built with, or its folder named in\n"
        "`path`, such as VENV/lib/python3.11/site-packages. Observations: Box (any shape, as one\n"
        "list), Discrete; MultiDiscrete, MultiBinary, Dict and Tuple are flattened as Gymnasium's\n"
        "FlattenObservation does. Actions: Discrete and Box; those of a Box are clipped to its\n"
        "bounds. An episode is begun with a seed that its id decides. A run goes on from a\n"
        "checkpoint by taking the actions of the episodes that were under way again. It may start\n"
        "no processes unless node = { fork = true; }.",
    .reference = "Towers et al. 2024, arXiv:2407.17032", .options = options,
    .state_size = sizeof(struct gymnasium), .lane_size = sizeof(struct lane),
    .flags = METE_ISOLATED, .open = open_gymnasium, .close = close_gymnasium, .save = save,
    .load = load, .spaces = spaces, .reset = reset, .step = step, .copy = copy, .restore = restore);
