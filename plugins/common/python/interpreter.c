/* interpreter.c - see interpreter.h. */
#include "interpreter.h"

#include <dlfcn.h>
#include <pthread.h>

void
interpreter_start(void)
{
    static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&starting);
    if (!Py_IsInitialized()) {
        /* Modules in C look for the interpreter's symbols among everybody's. */
        Dl_info library;
        if (dladdr((void *)(uintptr_t)Py_InitializeEx, &library))
            dlopen(library.dli_fname, RTLD_LAZY | RTLD_GLOBAL | RTLD_NOLOAD);
        Py_InitializeEx(0);
        PyEval_SaveThread();
    }
    pthread_mutex_unlock(&starting);
}

PyObject *
interpreter_run(const char *program)
{
    PyObject *names = PyDict_New(), *ran = NULL;
    if (names && PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) == 0)
        ran = PyRun_String(program, Py_file_input, names, names);
    if (!ran)
        Py_CLEAR(names);
    Py_XDECREF(ran);
    return names;
}

PyObject *
interpreter_get(PyObject *names, const char *name)
{
    PyObject *got = PyDict_GetItemString(names, name);
    Py_XINCREF(got);
    return got;
}

void
interpreter_exception(char *text, size_t size)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *words = value ? PyObject_Str(value) : NULL;
    const char *name = type ? ((PyTypeObject *)type)->tp_name : "error";
    const char *said = words ? PyUnicode_AsUTF8(words) : NULL;
    snprintf(text, size, "%s: %s", name, said ? said : "");
    for (char *at = text; *at; at++)
        if (*at == '\n')
            *at = ' ';
    Py_XDECREF(words);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    PyErr_Clear();
}
