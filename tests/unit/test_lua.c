/* The sandboxed script reward: what it computes, and what it cannot do. */
#include "engine/loader.h"
#include "scoring.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const texts[] = {"ab", "abcd", "xyz"};

/* A script as a config: quotes and backslashes of the script are escaped here. */
static const char *
config(const char *code, const char *more)
{
    static char text[4000];
    size_t at = (size_t)snprintf(text, sizeof text, "reward = { use = \"lua\"; %s code = \"", more);
    for (; *code && at < sizeof text - 8; code++) {
        if (*code == '"' || *code == '\\')
            text[at++] = '\\';
        text[at++] = *code;
    }
    snprintf(text + at, sizeof text - at, "\"; };");
    return text;
}

static void
values(void)
{
    double v[3];
    int s[3];
    scoring(config("function score(row) return #row.response + (row.reference == 'r' and 0.5 or 0) "
                   "end",
                   ""),
            texts, "r", 3, v, s);
    CU_ASSERT(v[0] == 2.5 && v[1] == 4.5 && v[2] == 3.5);
    scoring(config("function score(row) if row.response:find('c') then return nil end "
                   "return row.response < 'b' end",
                   ""),
            texts, "r", 3, v, s);
    CU_ASSERT(v[0] == 1 && s[1] == METE_NOT_APPLICABLE && v[2] == 0 && s[2] == METE_VALID);
    scoring(config("function score_batch(b) local r = {} for i = 1, b.n do r[i] = #b.response[i] * "
                   "#b.reference[i] end return r end",
                   ""),
            texts, "rr", 3, v, s);
    CU_ASSERT(v[0] == 4 && v[1] == 8 && v[2] == 6);
    scoring(config("function score(row) return row.child.n * 10 end",
                   "of = ( { name = \"n\"; use = \"length\"; shape = \"linear\"; target = 1.0; "
                   "weight = 0.5; } );"),
            texts, "r", 3, v, s);
    CU_ASSERT(v[0] == 10 && v[1] == 20 && v[2] == 15);
}

/* Every line is true of Lua 5.4 by its reference manual, or is what this sandbox says it does. */
static void
library(void)
{
    static const char *const truth[] = {
        "('key = val'):match('^(%w+)%s*=%s*(%w+)$') == 'key'",
        "('hello world'):find('o w') == 5",
        "('a.b'):find('.', 1, true) == 2",
        "('THE (quick) fox'):find('%((%a+)%)') == 5",
        "('f(a(b)c)d'):match('%b()') == '(a(b)c)'",
        "('THE fox'):gsub('%f[%a]%a+', 'x') == 'x x'",
        "('abc'):gsub('%w', '%0%0') == 'aabbcc'",
        "('abc'):gsub('', '-') == '-a-b-c-'",
        "('$name is $age'):gsub('%$(%w+)', {name = 'lua', age = 5}) == 'lua is 5'",
        "('abc'):gsub('.', function(c) if c == 'b' then return 'B' end end) == 'aBc'",
        "('x=1, y=2'):match('(%w+)=(%w+), (%w+)=(%w+)') == 'x'",
        "('0123'):match('()2()') == 3",
        "('aa bb'):match('(%a)%1 (%a)%2') == 'a'",
        "('[[x]]'):match('[]x]+') == 'x]]'",
        "('a-z'):match('[a%-]+') == 'a-'",
        "('   x '):match('^%s*(.-)%s*$') == 'x'",
        "('x'):rep(3, ',') == 'x,x,x'",
        "string.format('%5.2f|%s|%d|%q', 1.5, true, 3, 'a') == ' 1.50|true|3|\"a\"'",
        "(function() local s = '' for w in ('one two'):gmatch('%a+') do s = s .. w .. ';' end "
        "return s end)() == 'one;two;'",
        "(function() local s = '' for k, v in pairs({b = 1, a = 2, [10] = 3, [2] = 4}) do "
        "s = s .. k .. v end return s end)() == '24103a2b1'",
        "(function() local t = {{3, 1}, {1, 2}, {3, 3}, {1, 4}} table.sort(t, function(a, b) "
        "return a[1] < b[1] end) return t[1][2] .. t[2][2] .. t[3][2] .. t[4][2] end)() == '2413'",
        "(function() local t = {5, 2, 4, 1, 3} table.sort(t) return table.concat(t) end)() == "
        "'12345'",
        "tostring({}) == 'table' and tostring(12) == '12'",
        "select('#', pcall(error, 'x')) == 2 and pcall(error) == false",
        "utf8.len('h\xc3\xa9') == 2",
        "math.max(1, 7, 3) == 7 and 7 // 2 == 3 and 2^10 == 1024.0",
        "random() >= 0 and random() < 1 and random(3) <= 3",
        /* what is not there */
        "io == nil and os == nil and require == nil and load == nil and dofile == nil",
        "debug == nil and package == nil and coroutine == nil and collectgarbage == nil",
        "setmetatable == nil and getmetatable == nil and rawset == nil and string.dump == nil",
        "_G == nil and next == nil and math.random == nil and table.move == nil",
    };
    for (size_t k = 0; k < sizeof truth / sizeof *truth; k++) {
        char code[600], reason[1][300];
        double v[1];
        int s[1];
        snprintf(code, sizeof code, "function score(row) return (%s) end", truth[k]);
        scoring_reasons(config(code, ""), texts, "r", 1, v, s, reason);
        if (s[0] || v[0] != 1)
            printf("%s: %g %s\n", truth[k], v[0], s[0] ? reason[0] : "");
        CU_ASSERT(s[0] == METE_VALID && v[0] == 1);
    }
}

/* A row that misbehaves fails alone, with the reason; the next is scored as if it had not been. */
static void
limits(void)
{
    static const char *const wrong[][2] = {
        {"while true do end", "out of steps"},
        {"while true do pcall(function() while true do end end) end", "out of steps"},
        {"return (('a'):rep(40)):match(('a?'):rep(40) .. ('a'):rep(40))", "out of steps"},
        {"local s = ('x'):rep(20000) return #s:gsub('.-b', '')", "out of steps"},
        {"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end", "memory"},
        {"return ('x'):rep(1e10)", "resulting string too large|memory"},
        {"local function f() return 1 + f() end return f()", "stack overflow|memory"},
        {"x = 1", "assigns the global 'x'"},
        {"score = nil", "assigns the global 'score'"},
        {"return 'seven'", "gives a string, not a number"},
        {"return 0/0", "gives"},
        {"return 1, { other = 2 }", "'other' is not"},
        {"error('no answer')", "no answer"},
        {"error({})", "an error that is no text"},
        {"return nothing.at.all", "nil value"},
        {"return string.format('%p', {})", "addresses"},
        {"return ('x'):find('[a')", "malformed pattern"},
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        char code[600], reason[2][300];
        double v[2];
        int s[2];
        snprintf(code, sizeof code,
                 "function score(row) if row.response == 'abcd' then return 4 end %s end",
                 wrong[k][0]);
        scoring_reasons(config(code, "steps = 3000000;"), texts, "r", 2, v, s, reason);
        CU_ASSERT_EQUAL(s[0], METE_FAILED);
        const char *either = strchr(wrong[k][1], '|');
        char first[80];
        snprintf(first, sizeof first, "%.*s",
                 either ? (int)(either - wrong[k][1]) : (int)strlen(wrong[k][1]), wrong[k][1]);
        if (!strstr(reason[0], first) && !(either && strstr(reason[0], either + 1)))
            printf("%s: %s\n", wrong[k][0], reason[0]);
        CU_ASSERT(strstr(reason[0], first) || (either && strstr(reason[0], either + 1)));
        CU_ASSERT(s[1] == METE_VALID && v[1] == 4);
    }
}

/* Uniform draws: the mean of n is within 5 standard errors of a half but once in two million. */
static void
draws(void)
{
    enum { ROWS = 2000 };
    static const char *response[ROWS];
    static double v[ROWS];
    static int s[ROWS];
    double sum = 0;
    for (size_t i = 0; i < ROWS; i++)
        response[i] = "x";
    scoring(config("function score(row) return random() end", ""), response, "r", ROWS, v, s);
    for (size_t i = 0; i < ROWS; i++)
        sum += v[i];
    CU_ASSERT(fabs(sum / ROWS - .5) < 5 / sqrt(12. * ROWS));
    double again[1], first = v[0];
    scoring(config("function score(row) return random() end", ""), response, "r", 1, again, s);
    CU_ASSERT_EQUAL(again[0], first); /* the row's own stream, whatever else is scored */
}

void
suite_lua(void)
{
    mete_error err = {0};
    if (!mete__plugin_get(METE_KIND_REWARD, "lua", &err)) {
        printf("lua: left out, the plugin is not built\n");
        return;
    }
    CU_pSuite suite = CU_add_suite("lua", NULL, NULL);
    CU_add_test(suite, "values", values);
    CU_add_test(suite, "library", library);
    CU_add_test(suite, "limits", limits);
    CU_add_test(suite, "draws", draws);
}
