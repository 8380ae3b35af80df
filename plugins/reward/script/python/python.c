/* python - a reward function in Python, as it stands.  pkg-config: python3-embed
 * common: python
 *
 * The function is called in the form its trainer calls it (`call`), so a file written for that
 * trainer needs no change. An exception fails the row it belongs to, or the whole call where the
 * form is one call a batch, with its text as the reason. It runs in a process of its own unless the
 * config says isolate = "none": the interpreter starts there, at the first call, and a crash, a
 * hang or an exit costs the rows that caused it.
 */
#include "../../../common/python/interpreter.h"
#include "../common/names.h"
#include "driver.h"

#include <math.h>
#include <mete/reward.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct python {
    const char *file, *function;
    int call, chat;
    mete_strings fields, json, signals;
    mete_field reference;
    /* filled by open */
    mete_field *column;  /* [fields.count] */
    mete_field *decoded; /* [json.count] */
    int *signal;         /* [signals.count] */
    struct loaded *loaded;
};

/* The interpreter's side of an instance; made at its first call. */
struct loaded {
    pthread_mutex_t lock;
    PyObject *function, *score;
};

/* The forms of `call`: the driver's function for each, and how the user's is called by default. */
static const struct {
    const char *name, *function;
} form[] = {{"trl", "reward_func"},
            {"verl", "compute_score"},
            {"verl_batch", "compute_score"},
            {"openrlhf", "reward_func"},
            {"verifiers", "reward_func"}};

static const mete_option options[] = {
    METE_FILE(struct python, file, METE_REQUIRED, "the Python file"),
    METE_STRING(struct python, function, NULL, 0,
                "its function; by default compute_score for verl's forms, else reward_func"),
    METE_ENUM(struct python, call, 0, "trl|verl|verl_batch|openrlhf|verifiers",
              "the form it is called in (see above)"),
    METE_BOOL(struct python, chat, 0,
              "trl and verifiers: texts are lists of messages {role, content}"),
    METE_STRINGS(struct python, fields, 0, "columns of text it is given beside the usual ones"),
    METE_STRINGS(struct python, json, 0, "columns it is given that hold JSON, decoded"),
    METE_STRINGS(struct python, signals, 0, "names of further numbers it may give"),
    METE_FIELD(struct python, reference, "reference", METE_LIST, METE_TEXT, METE_OPTIONAL,
               "right answers; the first is the ground truth"),
    METE_OPTIONS_END};

static const char doc[] =
    "call = \"trl\":        f(prompts, completions, **columns) -> list of float or None\n"
    "call = \"verl\":       f(data_source, solution_str, ground_truth, extra_info) -> float or\n"
    "                     {\"score\": float, ...}, once for each row\n"
    "call = \"verl_batch\": the same with lists (data_sources, solution_strs, ...)\n"
    "call = \"openrlhf\":   f(queries, prompts, labels) -> {\"rewards\", \"scores\", "
    "\"extra_logs\"}\n"
    "call = \"verifiers\":  f(prompt, completion, answer, state, info, ...) -> float, each row\n"
    "\n"
    "None means not applicable. Async functions are awaited. What the function prints goes to the\n"
    "run's journal. It may start no processes unless node = { fork = true; }; large libraries "
    "want\n"
    "more than the 4096 MiB of node.memory.";

/* ---- the function ---------------------------------------------------------------------------- */

static int
load_function(mete_ctx *cx, const struct python *p)
{
    const char *name = p->function ? p->function : form[p->call].function;
    PyObject *names = interpreter_run(driver);
    PyObject *load = names ? interpreter_get(names, "load") : NULL;
    if (load) {
        p->loaded->function = PyObject_CallFunction(load, "ss", p->file, name);
        p->loaded->score = interpreter_get(names, "score");
    }
    char why[400] = "";
    if (!p->loaded->function)
        interpreter_exception(why, sizeof why);
    Py_XDECREF(load);
    Py_XDECREF(names);
    return p->loaded->function ? METE_OK : mete_fail(cx, METE_EINVAL, "%s: %s", p->file, why);
}

/* The user's function is there afterwards. Holds the interpreter's lock on METE_OK. */
static int
enter(mete_ctx *cx, const struct python *p, PyGILState_STATE *state)
{
    interpreter_start();
    pthread_mutex_lock(&p->loaded->lock);
    *state = PyGILState_Ensure();
    int status = p->loaded->function ? METE_OK : load_function(cx, p);
    if (status)
        PyGILState_Release(*state);
    pthread_mutex_unlock(&p->loaded->lock);
    return status;
}

/* ---- what goes in ---------------------------------------------------------------------------- */

static PyObject *
text_of(const mete_text *text)
{
    if (!text || !text->data)
        Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(text->data, (Py_ssize_t)text->length, "replace");
}

/* Puts a list [n] under a name; steals the list. */
static int
put(PyObject *to, const char *name, PyObject *list)
{
    int bad = !list || PyDict_SetItemString(to, name, list);
    Py_XDECREF(list);
    return bad;
}

static PyObject *
texts(const mete_text *text, size_t n, int absent_is_empty)
{
    static const mete_text empty = {"", 0};
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list && i < n; i++) {
        const mete_text *one = text && text[i].data ? &text[i] : absent_is_empty ? &empty : NULL;
        PyObject *item = text_of(one);
        if (!item) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

/* The first of each row's right answers. */
static PyObject *
references(mete_ctx *cx, const struct python *p, const mete_batch *batch)
{
    mete_text *first = mete_arena(cx, (batch->episodes + 1) * sizeof *first);
    for (size_t i = 0; first && i < batch->episodes; i++) {
        mete_texts right = mete_texts_of(batch, &p->reference, i);
        if (right.count)
            first[i] = *right.item;
    }
    return first ? texts(first, batch->episodes, 0) : PyErr_NoMemory();
}

static PyObject *
arguments(mete_ctx *cx, const struct python *p, const mete_batch *batch)
{
    size_t n = batch->episodes;
    PyObject *rows = PyDict_New(), *others = PyDict_New();
    PyObject *decoded = PyList_New(0);
    int bad = !rows || !others || !decoded;
    bad = bad || put(rows, "prompt", texts(batch->prompt, n, 1));
    bad = bad || put(rows, "response", texts(batch->response, n, 1));
    bad = bad || put(rows, "reference", references(cx, p, batch));
    for (size_t k = 0; !bad && k < p->fields.count; k++)
        bad = put(others, p->fields.item[k], texts(mete_text_of(batch, &p->column[k]), n, 0));
    for (size_t k = 0; !bad && k < p->json.count; k++) {
        PyObject *word = PyUnicode_FromString(p->json.item[k]);
        bad = !word || PyList_Append(decoded, word) ||
              put(others, p->json.item[k], texts(mete_text_of(batch, &p->decoded[k]), n, 0));
        Py_XDECREF(word);
    }
    PyObject *all = bad ? NULL
                        : Py_BuildValue("(sOOOOi)", form[p->call].name, p->loaded->function, rows,
                                        others, decoded, p->chat);
    Py_XDECREF(rows);
    Py_XDECREF(others);
    Py_XDECREF(decoded);
    return all;
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* Item i of a list as a number: 1 it is one, 0 it is None or absent, -1 it is neither. */
static int
number_at(PyObject *list, size_t i, double *value)
{
    PyObject *item = list && PyList_Check(list) && (Py_ssize_t)i < PyList_GET_SIZE(list)
                         ? PyList_GET_ITEM(list, (Py_ssize_t)i)
                         : Py_None;
    if (item == Py_None)
        return 0;
    *value = PyFloat_AsDouble(item);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    return isfinite(*value) ? 1 : -1;
}

static void
take_row(mete_ctx *cx, const struct python *p, size_t i, PyObject *values, PyObject *reasons,
         PyObject *signals, mete_scores *out)
{
    PyObject *reason = PyList_GET_ITEM(reasons, (Py_ssize_t)i);
    const char *why = PyUnicode_Check(reason) ? PyUnicode_AsUTF8(reason) : NULL;
    double value = 0;
    if (why) {
        mete_row_fail(cx, i, METE_FAILED, "%.400s", why);
        return;
    }
    int got = number_at(values, i, &value);
    if (got < 0)
        mete_row_fail(cx, i, METE_FAILED, "the function gives what is no finite number");
    else if (!got)
        out->status[i] = METE_NOT_APPLICABLE;
    else
        out->episode[i] = value;
    for (size_t k = 0; k < p->signals.count; k++)
        if (number_at(PyDict_GetItemString(signals, p->signals.item[k]), i, &value) > 0)
            mete_out(out, p->signal[k])[i] = value;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct python *p = self;
    PyGILState_STATE state;
    int status = enter(cx, p, &state);
    if (status)
        return status;
    char why[400] = "";
    PyObject *given = arguments(cx, p, batch);
    PyObject *got = given ? PyObject_CallObject(p->loaded->score, given) : NULL;
    PyObject *values, *reasons, *signals;
    if (!got || !PyArg_ParseTuple(got, "O!O!O!", &PyList_Type, &values, &PyList_Type, &reasons,
                                  &PyDict_Type, &signals))
        interpreter_exception(why, sizeof why);
    for (size_t i = 0; i < batch->episodes; i++) {
        if (*why)
            mete_row_fail(cx, i, METE_FAILED, "%s", why);
        else
            take_row(cx, p, i, values, reasons, signals, out);
    }
    Py_XDECREF(got);
    Py_XDECREF(given);
    PyGILState_Release(state);
    return METE_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int
open_python(mete_ctx *cx, void *self)
{
    struct python *p = self;
    if (access(p->file, R_OK))
        return mete_fail(cx, METE_EIO, "file: cannot read %s", p->file);
    p->loaded = mete_alloc(cx, sizeof *p->loaded);
    if (!p->loaded)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    pthread_mutex_init(&p->loaded->lock, NULL);
    int status = names_columns(cx, p->fields, METE_TEXT, &p->column);
    if (!status)
        status = names_columns(cx, p->json, METE_JSON, &p->decoded);
    if (!status)
        status = names_signals(cx, p->signals, "given by the function", &p->signal);
    if (status || !mete_isolated(cx))
        return status;
    /* In the process that is thrown away: what is wrong with the file is told before a run. */
    PyGILState_STATE state;
    status = enter(cx, p, &state);
    if (!status)
        PyGILState_Release(state);
    return status;
}

static void
close_python(mete_ctx *cx, void *self)
{
    struct python *p = self;
    (void)cx;
    if (p->loaded->function) {
        PyGILState_STATE state = PyGILState_Ensure();
        Py_CLEAR(p->loaded->function);
        Py_CLEAR(p->loaded->score);
        PyGILState_Release(state);
    }
    pthread_mutex_destroy(&p->loaded->lock);
}

METE_REWARD_PLUGIN(python, "1.0", "a reward function in Python, in the form its trainer calls it",
                   .doc = doc, .options = options, .state_size = sizeof(struct python),
                   .flags = METE_ISOLATED, .open = open_python, .close = close_python,
                   .score = score);
