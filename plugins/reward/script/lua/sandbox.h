/* sandbox.h - a Lua state that can do nothing but compute, within a budget of steps and memory.
 *
 * What a script sees is listed in sandbox.c: no files, no modules, no bytecode, no metatables, no
 * clock, no addresses. What would make a result depend on anything but its input is replaced: pairs
 * goes by sorted keys, sort is stable, tostring of a table says only its type, patterns are matched
 * by counted steps. Running out of steps or memory cannot be caught by the script. */
#ifndef LUA_SANDBOX_H
#define LUA_SANDBOX_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stddef.h>
#include <stdint.h>

struct sandbox {
    int64_t steps;       /* left: instructions of the machine and steps of patterns and sorts */
    size_t memory, most; /* bytes in use; bytes allowed */
    int spent, frozen;   /* out of steps; globals may no longer be assigned */
    uint32_t (*bits)(void *); /* behind random(), or NULL */
    void *bits_of;
};

/* A state with the sandbox's globals; NULL when out of memory. */
lua_State *sandbox_open(struct sandbox *box);
/* Runs the text of a script (never bytecode) and freezes its globals. 0, or an error message on the
 * stack. */
int sandbox_load(lua_State *L, const char *text, size_t length, const char *name);
/* Pushes the script's global function `name`; 0 (and nothing pushed) when there is none. */
int sandbox_function(lua_State *L, const char *name);
/* Counts `steps` and raises the error that cannot be caught when none are left. */
void sandbox_count(lua_State *L, int64_t steps);
/* The box of a state. */
struct sandbox *sandbox_of(lua_State *L);
/* find, match, gmatch and gsub, added to the table on the stack's top. */
void sandbox_patterns(lua_State *L);

#endif
