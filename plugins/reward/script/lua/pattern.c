/* pattern.c - Lua's patterns (reference manual 5.4, section 6.4.1), matched by counted steps.
 *
 * Lua's own matcher runs to its end whatever that costs, and a pattern a model wrote can make it
 * cost years. Here a pattern is compiled to items, each a set of bytes with a repetition or one of
 * the special forms, and every comparison is paid from the sandbox's budget. */
#include "sandbox.h"

#include <ctype.h>
#include <mete/text.h>
#include <string.h>

enum { MOST_ITEMS = 128, MOST_CAPTURES = 32, MOST_DEPTH = 200 };
enum kind { SET, OPEN, POSITION, CLOSE, BALANCE, FRONTIER, BACK, END };

struct item {
    enum kind kind;
    char repeat;                 /* of a SET: 1, *, +, - or ? */
    unsigned char first, second; /* BALANCE: its two bytes; BACK: capture number */
    uint32_t set[8];
};

struct pattern {
    struct item item[MOST_ITEMS];
    size_t items;
    int anchored;
};

struct capture {
    const char *start;
    ptrdiff_t length; /* IS_OPEN or IS_POSITION, or bytes */
};
enum { IS_OPEN = -1, IS_POSITION = -2 };

struct match {
    lua_State *L;
    const struct pattern *pattern;
    const char *begin, *end;
    struct capture capture[MOST_CAPTURES];
    size_t captures, depth;
};

/* ---- compiling ------------------------------------------------------------------------------- */

static void
set_add(uint32_t *set, unsigned byte)
{
    set[byte >> 5] |= 1u << (byte & 31);
}

static int
set_has(const uint32_t *set, unsigned char byte)
{
    return set[byte >> 5] >> (byte & 31) & 1;
}

static int
class_has(int class, int byte)
{
    switch (tolower(class)) {
    case 'a':
        return isalpha(byte);
    case 'c':
        return iscntrl(byte);
    case 'd':
        return isdigit(byte);
    case 'g':
        return isgraph(byte);
    case 'l':
        return islower(byte);
    case 'p':
        return ispunct(byte);
    case 's':
        return isspace(byte);
    case 'u':
        return isupper(byte);
    case 'w':
        return isalnum(byte);
    case 'x':
        return isxdigit(byte);
    default:
        return -1;
    }
}

/* What follows a '%': a class (upper case: its complement) or the byte itself. */
static void
add_class(uint32_t *set, unsigned char class)
{
    if (!isalpha(class) || class_has(class, 'a') < 0) {
        set_add(set, class);
        return;
    }
    for (int byte = 0; byte < 256; byte++)
        if ((class_has(class, byte) != 0) != (isupper(class) != 0))
            set_add(set, (unsigned)byte);
}

/* [...] from after its '['; the place after its ']'. */
static const char *
read_set(lua_State *L, const char *p, const char *end, uint32_t *set)
{
    int complement = p < end && *p == '^', first = 1;
    p += complement;
    for (;; first = 0) {
        if (p >= end)
            luaL_error(L, "malformed pattern (missing ']')");
        if (*p == ']' && !first)
            break;
        if (*p == '%') {
            if (p + 1 >= end)
                luaL_error(L, "malformed pattern (missing ']')");
            add_class(set, (unsigned char)p[1]);
            p += 2;
        } else if (p + 2 < end && p[1] == '-' && p[2] != ']') {
            for (unsigned byte = (unsigned char)p[0]; byte <= (unsigned char)p[2]; byte++)
                set_add(set, byte);
            p += 3;
        } else {
            set_add(set, (unsigned char)*p++);
        }
    }
    for (size_t k = 0; complement && k < 8; k++)
        set[k] = ~set[k];
    return p + 1;
}

/* %b, %f, %1 to %9: the place after it, or NULL for an ordinary class. */
static const char *
read_special(lua_State *L, const char *p, const char *end, struct item *item)
{
    if (p[1] == 'b') {
        if (p + 3 >= end)
            luaL_error(L, "malformed pattern (missing arguments to '%%b')");
        *item = (struct item){
            .kind = BALANCE, .first = (unsigned char)p[2], .second = (unsigned char)p[3]};
        return p + 4;
    }
    if (p[1] == 'f') {
        if (p + 2 >= end || p[2] != '[')
            luaL_error(L, "missing '[' after '%%f' in pattern");
        item->kind = FRONTIER;
        return read_set(L, p + 3, end, item->set);
    }
    if (!isdigit((unsigned char)p[1]))
        return NULL;
    *item = (struct item){.kind = BACK, .first = (unsigned char)(p[1] - '1')};
    if (p[1] == '0')
        luaL_error(L, "invalid capture index %%0 in pattern");
    return p + 2;
}

static const char *
read_item(lua_State *L, const char *p, const char *end, struct item *item)
{
    const char *next;
    *item = (struct item){.kind = SET, .repeat = '1'};
    if (*p == '(') {
        item->kind = p + 1 < end && p[1] == ')' ? POSITION : OPEN;
        return p + (item->kind == POSITION ? 2 : 1);
    }
    if (*p == ')') {
        item->kind = CLOSE;
        return p + 1;
    }
    if (*p == '$' && p + 1 == end) {
        item->kind = END;
        return p + 1;
    }
    if (*p == '%' && p + 1 >= end)
        luaL_error(L, "malformed pattern (ends with '%%')");
    if (*p == '%' && (next = read_special(L, p, end, item)))
        return next;
    if (*p == '%') {
        add_class(item->set, (unsigned char)p[1]);
        p += 2;
    } else if (*p == '[') {
        p = read_set(L, p + 1, end, item->set);
    } else if (*p == '.') {
        memset(item->set, 0xff, sizeof item->set);
        p++;
    } else {
        set_add(item->set, (unsigned char)*p++);
    }
    if (p < end && strchr("*+-?", *p) && *p)
        item->repeat = *p++;
    return p;
}

static void
compile(lua_State *L, const char *text, size_t length, struct pattern *out)
{
    const char *p = text, *end = text + length;
    out->items = 0;
    out->anchored = length > 0 && *p == '^';
    for (p += out->anchored; p < end; out->items++) {
        if (out->items == MOST_ITEMS)
            luaL_error(L, "pattern too long (over %d items)", MOST_ITEMS);
        p = read_item(L, p, end, &out->item[out->items]);
    }
    sandbox_count(L, (int64_t)length);
}

/* ---- matching -------------------------------------------------------------------------------- */

static const char *match_from(struct match *m, size_t at, const char *s);

static const char *
match_capture(struct match *m, size_t at, const char *s, ptrdiff_t length)
{
    if (m->captures == MOST_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->capture[m->captures++] = (struct capture){s, length};
    const char *end = match_from(m, at + 1, s);
    m->captures -= !end;
    return end;
}

static const char *
match_close(struct match *m, size_t at, const char *s)
{
    size_t k = m->captures;
    while (k > 0 && m->capture[k - 1].length != IS_OPEN)
        k--;
    if (k == 0)
        luaL_error(m->L, "invalid pattern capture");
    m->capture[k - 1].length = s - m->capture[k - 1].start;
    const char *end = match_from(m, at + 1, s);
    if (!end)
        m->capture[k - 1].length = IS_OPEN;
    return end;
}

/* The place after a balanced text, or NULL. */
static const char *
balanced(struct match *m, const struct item *item, const char *s)
{
    size_t depth = 0;
    for (const char *c = s; c < m->end; c++) {
        sandbox_count(m->L, 1);
        if (c == s && (unsigned char)*c != item->first)
            return NULL;
        if ((unsigned char)*c == item->second && c > s) {
            if (--depth == 0)
                return c + 1;
        } else if ((unsigned char)*c == item->first) {
            depth++;
        }
    }
    return NULL;
}

static int
at_frontier(const struct match *m, const struct item *item, const char *s)
{
    unsigned char before = s == m->begin ? 0 : (unsigned char)s[-1];
    unsigned char after = s == m->end ? 0 : (unsigned char)*s;
    return !set_has(item->set, before) && set_has(item->set, after);
}

/* The place after what capture item->first holds, said again; or NULL. */
static const char *
said_again(struct match *m, const struct item *item, const char *s)
{
    if (item->first >= m->captures || m->capture[item->first].length == IS_OPEN)
        luaL_error(m->L, "invalid capture index %%%d in pattern", item->first + 1);
    const struct capture *c = &m->capture[item->first];
    if (c->length == IS_POSITION) /* says nothing */
        return NULL;
    sandbox_count(m->L, c->length);
    return m->end - s >= c->length && memcmp(c->start, s, (size_t)c->length) == 0 ? s + c->length
                                                                                  : NULL;
}

/* As many as there are, then fewer. */
static const char *
match_most(struct match *m, size_t at, const char *s, ptrdiff_t least)
{
    const uint32_t *set = m->pattern->item[at].set;
    ptrdiff_t n = 0;
    while (s + n < m->end && set_has(set, (unsigned char)s[n]))
        n++;
    sandbox_count(m->L, n);
    for (; n >= least; n--) {
        const char *end = match_from(m, at + 1, s + n);
        if (end)
            return end;
    }
    return NULL;
}

/* As few as will do. */
static const char *
match_least(struct match *m, size_t at, const char *s)
{
    for (;; s++) {
        const char *end = match_from(m, at + 1, s);
        if (end)
            return end;
        if (s == m->end || !set_has(m->pattern->item[at].set, (unsigned char)*s))
            return NULL;
    }
}

/* The end of a match of items `at` and on from s, or NULL. */
static const char *
match_items(struct match *m, size_t at, const char *s)
{
    for (; at < m->pattern->items; at++) {
        const struct item *item = &m->pattern->item[at];
        int here = s < m->end && set_has(item->set, (unsigned char)*s);
        sandbox_count(m->L, 1);
        switch (item->kind) {
        case OPEN:
            return match_capture(m, at, s, IS_OPEN);
        case POSITION:
            return match_capture(m, at, s, IS_POSITION);
        case CLOSE:
            return match_close(m, at, s);
        case END:
            return s == m->end ? s : NULL;
        case FRONTIER:
            if (!at_frontier(m, item, s))
                return NULL;
            continue;
        case BALANCE:
            s = balanced(m, item, s);
            break;
        case BACK:
            s = said_again(m, item, s);
            break;
        case SET:
            if (item->repeat == '*' || item->repeat == '+')
                return match_most(m, at, s, item->repeat == '+');
            if (item->repeat == '-')
                return match_least(m, at, s);
            if (item->repeat == '?' && here) {
                const char *end = match_from(m, at + 1, s + 1);
                if (end)
                    return end;
            }
            s = item->repeat == '?' ? s : here ? s + 1 : NULL;
        }
        if (!s)
            return NULL;
    }
    return s;
}

static const char *
match_from(struct match *m, size_t at, const char *s)
{
    if (m->depth == MOST_DEPTH)
        luaL_error(m->L, "pattern too complex");
    m->depth++;
    const char *end = match_items(m, at, s);
    m->depth--;
    return end;
}

/* The first match at or after `from`: its start in *start, its end returned; or NULL. */
static const char *
search(struct match *m, const char *from, const char **start)
{
    for (const char *s = from; s <= m->end; s++) {
        m->captures = m->depth = 0;
        const char *end = match_from(m, 0, s);
        if (end) {
            *start = s;
            return end;
        }
        if (m->pattern->anchored)
            break;
    }
    return NULL;
}

/* ---- what scripts call ----------------------------------------------------------------------- */

/* Capture k, or the whole match when there are none. */
static void
push_capture(struct match *m, size_t k, const char *start, const char *end)
{
    if (k >= m->captures)
        lua_pushlstring(m->L, start, (size_t)(end - start));
    else if (m->capture[k].length == IS_POSITION)
        lua_pushinteger(m->L, m->capture[k].start - m->begin + 1);
    else if (m->capture[k].length == IS_OPEN)
        luaL_error(m->L, "unfinished capture");
    else
        lua_pushlstring(m->L, m->capture[k].start, (size_t)m->capture[k].length);
}

static int
push_captures(struct match *m, const char *start, const char *end, int whole)
{
    size_t n = m->captures ? m->captures : (size_t)whole;
    luaL_checkstack(m->L, (int)n + 2, "too many captures");
    for (size_t k = 0; k < n; k++)
        push_capture(m, k, start, end);
    return (int)n;
}

static void
begin(lua_State *L, struct match *m, struct pattern *pattern)
{
    size_t length, pattern_length;
    const char *text = luaL_checklstring(L, 1, &length);
    const char *p = luaL_checklstring(L, 2, &pattern_length);
    compile(L, p, pattern_length, pattern);
    *m = (struct match){.L = L, .pattern = pattern, .begin = text, .end = text + length};
}

/* Argument k as a place to start from, counted from 1 or from the end; NULL past the end. */
static const char *
place(lua_State *L, int k, const struct match *m)
{
    lua_Integer at = luaL_optinteger(L, k, 1), length = m->end - m->begin;
    if (at < 0)
        at = at < -length ? 1 : length + at + 1;
    else if (at == 0)
        at = 1;
    return at > length + 1 ? NULL : m->begin + at - 1;
}

static int
find_plain(lua_State *L)
{
    size_t length, sought;
    const char *text = luaL_checklstring(L, 1, &length), *what = luaL_checklstring(L, 2, &sought);
    struct match m = {.begin = text, .end = text + length};
    const char *from = place(L, 3, &m);
    size_t start = from ? (size_t)(from - text) : 0;
    mete_text all = {text, length}, needle = {what, sought};
    size_t at = from ? mete_text_find(all, needle, start) : SIZE_MAX;
    sandbox_count(L, (int64_t)(length / 8));
    if (at > length) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, (lua_Integer)at + 1);
    lua_pushinteger(L, (lua_Integer)at + (lua_Integer)sought);
    return 2;
}

static int
find_or_match(lua_State *L, int find)
{
    struct pattern pattern;
    struct match m;
    const char *start, *end, *from;
    begin(L, &m, &pattern);
    from = place(L, 3, &m);
    end = from ? search(&m, from, &start) : NULL;
    if (!end) {
        lua_pushnil(L);
        return 1;
    }
    if (!find)
        return push_captures(&m, start, end, 1);
    lua_pushinteger(L, start - m.begin + 1);
    lua_pushinteger(L, end - m.begin);
    return 2 + push_captures(&m, start, end, 0);
}

static int
string_find(lua_State *L)
{
    size_t length;
    const char *pattern = luaL_checklstring(L, 2, &length);
    int plain = lua_toboolean(L, 4);
    for (size_t k = 0; k < length && !plain; k++)
        if (pattern[k] && strchr("^$*+?.([%-", pattern[k]))
            return find_or_match(L, 1);
    return find_plain(L);
}

static int
string_match(lua_State *L)
{
    return find_or_match(L, 0);
}

/* Upvalues: text, pattern, where to go on, end of the last match (0: none). */
static int
gmatch_next(lua_State *L)
{
    struct pattern pattern;
    struct match m;
    const char *start, *end;
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, lua_upvalueindex(2));
    begin(L, &m, &pattern);
    const char *from = m.begin + lua_tointeger(L, lua_upvalueindex(3));
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    while (from <= m.end && (end = search(&m, from, &start))) {
        if (end - m.begin + 1 == last) { /* empty, where the last one ended */
            from = start + 1;
            continue;
        }
        lua_pushinteger(L, end - m.begin);
        lua_replace(L, lua_upvalueindex(3));
        lua_pushinteger(L, end - m.begin + 1);
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(&m, start, end, 1);
    }
    return 0;
}

static int
string_gmatch(lua_State *L)
{
    size_t length;
    luaL_checkstring(L, 1);
    const char *pattern = luaL_checklstring(L, 2, &length);
    if (length && *pattern == '^')
        return luaL_error(L, "gmatch takes no '^'");
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* Appends a replacement string, whose %0 to %9 are captures. */
static void
add_string(struct match *m, luaL_Buffer *out, const char *start, const char *end)
{
    size_t length;
    const char *with = lua_tolstring(m->L, 3, &length);
    for (size_t k = 0; k < length; k++) {
        if (with[k] != '%') {
            luaL_addchar(out, with[k]);
            continue;
        }
        char c = ++k < length ? with[k] : 0;
        if (c == '%') {
            luaL_addchar(out, '%');
        } else if (isdigit((unsigned char)c)) {
            if (c == '0')
                lua_pushlstring(m->L, start, (size_t)(end - start));
            else if (c > '1' && (size_t)(c - '0') > m->captures)
                luaL_error(m->L, "invalid capture index %%%c in replacement string", c);
            else
                push_capture(m, (size_t)(c - '1'), start, end);
            luaL_tolstring(m->L, -1, NULL); /* a position is a number */
            lua_remove(m->L, -2);
            luaL_addvalue(out);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
}

/* Appends what a table or function says for the match: false or nil keeps it. */
static void
add_value(struct match *m, luaL_Buffer *out, const char *start, const char *end)
{
    lua_State *L = m->L;
    if (lua_type(L, 3) == LUA_TTABLE) {
        push_capture(m, 0, start, end);
        lua_rawget(L, 3);
    } else {
        lua_pushvalue(L, 3);
        int n = push_captures(m, start, end, 1);
        lua_call(L, n, 1);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, start, (size_t)(end - start));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    luaL_addvalue(out);
}

static int
string_gsub(lua_State *L)
{
    struct pattern pattern;
    struct match m;
    luaL_Buffer out;
    int type = lua_type(L, 3);
    lua_Integer most, done = 0;
    const char *last = NULL, *start, *end;
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TTABLE && type != LUA_TFUNCTION)
        return luaL_argerror(L, 3, "a string, table or function is wanted");
    if (type == LUA_TNUMBER)
        lua_tostring(L, 3);
    begin(L, &m, &pattern);
    most = luaL_optinteger(L, 4, m.end - m.begin + 1);
    const char *from = m.begin, *copied = m.begin;
    luaL_buffinit(L, &out);
    while (done < most && from <= m.end && (end = search(&m, from, &start))) {
        if (end == last && start == end) {
            if (pattern.anchored)
                break;
            from = start + 1;
            continue;
        }
        luaL_addlstring(&out, copied, (size_t)(start - copied));
        if (type == LUA_TTABLE || type == LUA_TFUNCTION)
            add_value(&m, &out, start, end);
        else
            add_string(&m, &out, start, end);
        copied = from = last = end;
        done++;
        if (pattern.anchored)
            break;
    }
    luaL_addlstring(&out, copied, (size_t)(m.end - copied));
    luaL_pushresult(&out);
    lua_pushinteger(L, done);
    return 2;
}

void
sandbox_patterns(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", string_find},
                                         {"match", string_match},
                                         {"gmatch", string_gmatch},
                                         {"gsub", string_gsub},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
