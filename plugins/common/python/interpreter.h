/* interpreter.h - CPython in this process, for plugins that call it.
 *
 * Started at the first call, so that a plugin in a process of its own starts it there. All but
 * interpreter_start want the interpreter's lock held (PyGILState_Ensure). */
#ifndef INTERPRETER_H
#define INTERPRETER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Starts the interpreter if nobody has, with its lock free; leaves signals alone. */
void interpreter_start(void);
/* What the program defines, in a dict of its own. NULL with an exception. */
PyObject *interpreter_run(const char *program);
/* What is called so there: a new reference, or NULL without an exception. */
PyObject *interpreter_get(PyObject *names, const char *name);
/* The exception at hand as one line, "TypeError: ..."; it is cleared. */
void interpreter_exception(char *text, size_t size);

#endif
