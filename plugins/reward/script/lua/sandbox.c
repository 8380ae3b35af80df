/* sandbox.c - what a script may call. Everything else of Lua is not there. */
#include "sandbox.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOOK_EVERY 1000

static void *
allocate(void *user, void *old, size_t was, size_t want)
{
    struct sandbox *box = user;
    if (!old)
        was = 0;
    if (want == 0) {
        box->memory -= was;
        free(old);
        return NULL;
    }
    if (want > was && box->memory + (want - was) > box->most)
        return NULL;
    void *grown = realloc(old, want);
    if (grown)
        box->memory += want - was;
    return grown;
}

struct sandbox *
sandbox_of(lua_State *L)
{
    return *(struct sandbox **)lua_getextraspace(L);
}

void
sandbox_count(lua_State *L, int64_t steps)
{
    struct sandbox *box = sandbox_of(L);
    if ((box->steps -= steps) >= 0 && !box->spent)
        return;
    box->spent = 1;
    luaL_error(L, "out of steps (see the option `steps`)");
}

static void
hook(lua_State *L, lua_Debug *where)
{
    (void)where;
    sandbox_count(L, HOOK_EVERY);
}

/* ---- base ------------------------------------------------------------------------------------ */

/* pcall that cannot catch the end of the budget. */
static int
base_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    if (status == LUA_ERRMEM)
        sandbox_of(L)->spent = 1;
    if (status && sandbox_of(L)->spent)
        return lua_error(L);
    lua_pushboolean(L, status == LUA_OK);
    lua_insert(L, 1);
    return lua_gettop(L);
}

/* Numbers, strings, booleans and nil as themselves; of anything else its type, never an address. */
static int
base_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) > LUA_TSTRING || lua_type(L, 1) == LUA_TLIGHTUSERDATA)
        lua_pushstring(L, luaL_typename(L, 1));
    else
        luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Numbers before strings, each in order; booleans last. */
static int
key_before(lua_State *L, int a, int b)
{
    int left = lua_type(L, a), right = lua_type(L, b);
    if (left != right)
        return left == LUA_TNUMBER || (left == LUA_TSTRING && right != LUA_TNUMBER);
    if (left == LUA_TBOOLEAN)
        return !lua_toboolean(L, a) && lua_toboolean(L, b);
    return lua_compare(L, a, b, LUA_OPLT);
}

/* Is item a of the comparison before b? By the function at `by`, or by `<`, or as keys. */
static int
before(lua_State *L, int a, int b, int by)
{
    sandbox_count(L, 1);
    if (by == 0)
        return key_before(L, a, b);
    if (by < 0)
        return lua_compare(L, a, b, LUA_OPLT);
    lua_pushvalue(L, by);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    int result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
}

/* Merges runs [from, middle) and [middle, to) of table `in` into `out`; stable. */
static void
merge(lua_State *L, int in, int out, lua_Integer from, lua_Integer middle, lua_Integer to, int by)
{
    lua_Integer left = from, right = middle;
    for (lua_Integer at = from; at < to; at++) {
        int take_right = left == middle;
        if (left < middle && right < to) {
            lua_rawgeti(L, in, left);
            lua_rawgeti(L, in, right);
            take_right = before(L, lua_gettop(L), lua_gettop(L) - 1, by);
            lua_pop(L, 2);
        }
        lua_rawgeti(L, in, take_right ? right++ : left++);
        lua_rawseti(L, out, at);
    }
}

/* Sorts items 1..n of table `table` by merging, with a second table that is made here. */
static void
sort(lua_State *L, int table, lua_Integer n, int by)
{
    lua_createtable(L, (int)(n < 1000000 ? n : 1000000), 0);
    int in = table, out = lua_gettop(L);
    for (lua_Integer run = 1; run < n; run *= 2) {
        for (lua_Integer from = 1; from <= n; from += 2 * run) {
            lua_Integer middle = from + run <= n + 1 ? from + run : n + 1;
            lua_Integer to = from + 2 * run <= n + 1 ? from + 2 * run : n + 1;
            merge(L, in, out, from, middle, to, by);
        }
        int kept = in;
        in = out;
        out = kept;
    }
    for (lua_Integer k = 1; in != table && k <= n; k++) {
        lua_rawgeti(L, in, k);
        lua_rawseti(L, table, k);
    }
    lua_pop(L, 1);
}

/* Upvalues: the table, its keys in order, how many were given. */
static int
pairs_next(lua_State *L)
{
    for (;;) {
        lua_Integer k = lua_tointeger(L, lua_upvalueindex(3)) + 1;
        lua_settop(L, 0);
        lua_pushinteger(L, k);
        lua_replace(L, lua_upvalueindex(3));
        if (lua_rawgeti(L, lua_upvalueindex(2), k) == LUA_TNIL)
            return 1;
        lua_pushvalue(L, 1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) /* taken out meanwhile: passed over */
            return 2;
    }
}

/* pairs by sorted keys: Lua's own order differs from run to run. */
static int
base_pairs(lua_State *L)
{
    lua_Integer n = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        int type = lua_type(L, -2);
        if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TBOOLEAN)
            return luaL_error(L, "pairs: a key is a %s, which has no order", luaL_typename(L, -2));
        sandbox_count(L, 1);
        lua_pushvalue(L, -2);
        lua_rawseti(L, 2, ++n);
    }
    sort(L, 2, n, 0);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, pairs_next, 3);
    return 1;
}

/* random(): uniform in [0, 1); random(n): an integer of 1..n. Drawn from the row's own stream. */
static int
base_random(lua_State *L)
{
    struct sandbox *box = sandbox_of(L);
    if (!box->bits)
        return luaL_error(L, "random: only within score(row), whose draws are the row's own");
    double u = (double)box->bits(box->bits_of) * 0x1p-32;
    if (lua_isnoneornil(L, 1)) {
        lua_pushnumber(L, u);
        return 1;
    }
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 1 && n <= 1 << 30, 1, "must be from 1 to 2^30");
    lua_pushinteger(L, 1 + (lua_Integer)floor(u * (double)n));
    return 1;
}

/* ---- string and table ------------------------------------------------------------------------ */

/* string.format over strings and numbers only; %p, an address, is refused. Upvalue: Lua's own. */
static int
string_format(lua_State *L)
{
    size_t length;
    const char *format = luaL_checklstring(L, 1, &length);
    for (size_t k = 0; k < length; k++) {
        if (format[k] != '%')
            continue;
        k++;
        while (k < length && (isdigit((unsigned char)format[k]) || strchr("-+ #.", format[k])))
            k++;
        if (k < length && format[k] == 'p')
            return luaL_error(L, "format: '%%p' gives addresses, which differ from run to run");
    }
    for (int k = 2; k <= lua_gettop(L); k++)
        if (lua_type(L, k) > LUA_TSTRING)
            return luaL_argerror(L, k, "a string, number, boolean or nil is wanted");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* table.sort, stable, so that equal items never stand in an order of chance. */
static int
table_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    sort(L, 1, (lua_Integer)lua_rawlen(L, 1), lua_isnil(L, 2) ? -1 : 2);
    return 0;
}

/* Copies `words` ("a b c") of the library table on the stack's top into a new table there. */
static void
keep_only(lua_State *L, const char *words)
{
    lua_newtable(L);
    while (*words) {
        size_t n = strcspn(words, " ");
        lua_pushlstring(L, words, n);
        lua_pushvalue(L, -1);
        lua_rawget(L, -4);
        lua_rawset(L, -3);
        words += n + (words[n] == ' ');
    }
    lua_remove(L, -2);
}

static void
add_library(lua_State *L, int globals, const char *name, lua_CFunction open, const char *words)
{
    luaL_requiref(L, name, open, 0);
    keep_only(L, words);
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, name);
}

/* ---- the state ------------------------------------------------------------------------------- */

/* __newindex of the script's globals: they are the script's while it is loaded, then nobody's. */
static int
assign_global(lua_State *L)
{
    if (sandbox_of(L)->frozen)
        return luaL_error(L,
                          "assigns the global '%s': a score must not depend on what was scored "
                          "before; use local",
                          luaL_tolstring(L, 2, NULL));
    lua_settop(L, 3);
    lua_rawset(L, lua_upvalueindex(1));
    return 0;
}

static int
build(lua_State *L)
{
    static const luaL_Reg own[] = {{"pcall", base_pcall},
                                   {"tostring", base_tostring},
                                   {"pairs", base_pairs},
                                   {"random", base_random},
                                   {NULL, NULL}};
    luaL_requiref(L, LUA_GNAME, luaopen_base, 0);
    keep_only(L, "assert error ipairs select tonumber type");
    int globals = lua_gettop(L);
    luaL_setfuncs(L, own, 0);
    add_library(L, globals, LUA_STRLIBNAME, luaopen_string,
                "byte char len lower rep reverse sub upper");
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, string_format, 1);
    lua_setfield(L, -3, "format");
    lua_pop(L, 1);
    sandbox_patterns(L);
    lua_pushliteral(L, ""); /* text:method() finds the same functions */
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 2);
    add_library(L, globals, LUA_TABLIBNAME, luaopen_table, "concat insert pack remove unpack");
    lua_pushcfunction(L, table_sort);
    lua_setfield(L, -2, "sort");
    lua_pop(L, 1);
    add_library(L, globals, LUA_MATHLIBNAME, luaopen_math,
                "abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min "
                "mininteger modf pi rad sin sqrt tan tointeger type ult");
    lua_pop(L, 1);
    add_library(L, globals, LUA_UTF8LIBNAME, luaopen_utf8,
                "char charpattern codepoint codes len offset");
    lua_pop(L, 1);
    /* What the script sees is an empty table in front of the globals, so that each assignment is
     * told to assign_global. */
    lua_newtable(L);
    lua_newtable(L);
    lua_pushvalue(L, globals);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, globals);
    lua_pushcclosure(L, assign_global, 1);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, "seen");
    lua_setfield(L, LUA_REGISTRYINDEX, "globals");
    /* Nothing of the full libraries stays within reach. */
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    return 0;
}

lua_State *
sandbox_open(struct sandbox *box)
{
    lua_State *L = lua_newstate(allocate, box);
    if (!L)
        return NULL;
    *(struct sandbox **)lua_getextraspace(L) = box;
    lua_pushcfunction(L, build);
    if (lua_pcall(L, 0, 0, 0)) {
        lua_close(L);
        return NULL;
    }
    lua_sethook(L, hook, LUA_MASKCOUNT, HOOK_EVERY);
    return L;
}

int
sandbox_load(lua_State *L, const char *text, size_t length, const char *name)
{
    int status = luaL_loadbufferx(L, text, length, name, "t");
    if (status)
        return status;
    lua_getfield(L, LUA_REGISTRYINDEX, "seen");
    lua_setupvalue(L, -2, 1); /* _ENV */
    status = lua_pcall(L, 0, 0, 0);
    sandbox_of(L)->frozen = 1;
    return status;
}

int
sandbox_function(lua_State *L, const char *name)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "globals");
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_isfunction(L, -1))
        return 1;
    lua_pop(L, 1);
    return 0;
}
