/* test_json.c - what the strict parser accepts and refuses, records, trees, writing, decimals.
 *
 * Each document goes through the record parser (as a member's value) and the tree parser; both must
 * give the same answer, as RFC 8259 and the rules in json.h say.
 */
#include <CUnit/CUnit.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/json.h"

static mete_text
t(const char *string)
{
    return mete_text_from(string);
}

static const char *const accepted[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "10",
    "123456789012345678901234567890",
    "0.5",
    "-0.0",
    "1.25e2",
    "1E+2",
    "1e-2",
    "0e0",
    "1e308",
    "1e-999",
    "9007199254740993",
    "\"\"",
    "\"a\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\\u0041\"",
    "\"\\u00e9\\u20AC\"",
    "\"\\ud83d\\ude00\"",
    "\"caf\xc3\xa9\"",
    "\"\xf0\x9f\x98\x80\"",
    "\"\xef\xbf\xbf\"",
    "\"\x7f\"",
    "\"a string that is longer than sixteen bytes, twice over\"",
    "[]",
    "[ ]",
    "[1]",
    "[1,2]",
    " [ 1 , 2 ] ",
    "\t[\r\n1]\n",
    "[[],{},[[]]]",
    "{}",
    "{ }",
    "{\"a\":1}",
    "{\"a\":1,\"A\":2}",
    "{\"a\":{\"a\":{\"a\":1}}}",
    "{\"\":1}",
    "[{\"k\":1},{\"k\":1}]",
    "{\"a\\u0062\":1,\"a\":2}",
    "{\"a\" : [true , false , null]}",
};

static const char *const refused[] = {
    "",
    " ",
    "nul",
    "nulll",
    "True",
    "NaN",
    "Infinity",
    "-Infinity",
    "undefined",
    "00",
    "01",
    "-01",
    "0123",
    "+1",
    "-",
    ".5",
    "1.",
    "1.e2",
    "1e",
    "1e+",
    "0x10",
    "1e999",
    "-1e999",
    "[1e400]",
    "1 2",
    "1,",
    "\"",
    "\"a",
    "\"a\\",
    "\"a\\\"",
    "'a'",
    "a",
    "\"\\x\"",
    "\"\\u\"",
    "\"\\u12\"",
    "\"\\u123g\"",
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "\"\\udc00\"",
    "\"\\ud800x\"",
    "\"\\ud800\\n\"",
    "\"\\ud800\\ud800\"",
    "\"\\ud83d\\u0041\"",
    "\"\t\"",
    "\"a\nb\"",
    "\"0123456789abcdef\x01\"",
    "\"\x80\"",
    "\"\xc0\xaf\"",
    "\"\xed\xa0\x80\"",
    "\"\xf5\x80\x80\x80\"",
    "\"\xe2\x82\"",
    "\"0123456789abcdef0123456789abcdef\xff\"",
    "\xef\xbb\xbf{}",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "[\"a\"",
    "{",
    "}",
    "{]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1",
    "{\"a\":1,}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\" 1}",
    "{a:1}",
    "{1:1}",
    "{'a':1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1}x",
    "{}{}",
    "{\"a\":1,\"a\":1}",
    "{\"a\":1,\"\\u0061\":2}",
    "{\"b\":{\"a\":1,\"a\":2}}",
    "[[{\"x\":[],\"x\":[]}]]",
    "{\"a\":1}\xff",
    "/**/1",
    "1//x",
    "[1]\v",
    "\f1",
};

/* The document as an element of a record. */
static int
in_record(const char *document)
{
    mete__record record = {0};
    mete_buffer line = {0};
    mete_buffer_format(&line, "{\"v\":%s}", document);
    int status = mete__record_parse(&record, line.data, line.length, NULL);
    mete_buffer_free(&line);
    mete__record_free(&record);
    return status;
}

static void
test_accepts(void)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        mete_error err = {0, ""};
        mete_json *root = mete_json_parse(t(accepted[i]), &err);
        if (!root || in_record(accepted[i]) || mete__json_check(t(accepted[i]), NULL))
            CU_FAIL(accepted[i]);
        CU_ASSERT_PTR_NOT_NULL(root);
        mete_json_free(root);
    }
}

static void
test_refuses(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        mete_error err = {0, ""};
        mete_json *root = mete_json_parse(t(refused[i]), &err);
        CU_ASSERT_PTR_NULL(root);
        CU_ASSERT_EQUAL(err.code, METE_EDATA);
        CU_ASSERT_EQUAL(strncmp(err.message, "byte ", 5), 0);
        if (root || in_record(refused[i]) != METE_EDATA)
            CU_FAIL(refused[i]);
        mete_json_free(root);
    }
}

/* Every prefix of a document is refused, and none is read past its end: each is its own block. */
static void
test_refuses_prefixes(void)
{
    static const char whole[] =
        "{\"key\\u00e9\":[1.5e3,true,null,\"\\ud83d\\ude00 and \xe2\x82\xac\"],\"b\":{\"c\":-0}}";
    mete__record record = {0};
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        char *copy = malloc(n + 1);
        memcpy(copy, whole, n);
        copy = realloc(copy, n ? n : 1);
        CU_ASSERT_EQUAL(mete__record_parse(&record, copy, n, NULL), METE_EDATA);
        CU_ASSERT_EQUAL(record.fields, 0);
        free(copy);
    }
    CU_ASSERT_EQUAL(mete__record_parse(&record, whole, sizeof whole - 1, NULL), METE_OK);
    mete__record_free(&record);
}

static void
test_nul_byte(void)
{
    CU_ASSERT_EQUAL(mete__json_check((mete_text){"\"a\0b\"", 5}, NULL), METE_EDATA);
    CU_ASSERT_EQUAL(mete__json_check((mete_text){"1\0", 2}, NULL), METE_EDATA);
    CU_ASSERT_EQUAL(mete__json_check((mete_text){"\"\\\0\"", 4}, NULL), METE_EDATA);
    CU_ASSERT_EQUAL(mete__json_check((mete_text){NULL, 0}, NULL), METE_EDATA);
}

static void
test_messages(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"a\":1,\"a\":2}", "byte 8: the key \"a\" stands twice in one object"},
        {"{\"a\":01}", "byte 7: a number must not start with 0"},
        {"{\"a\" 1}", "byte 6: found '1' where ':' after a key should be"},
        {"{\"a\":\"\\u0000\"}", "byte 7: \\u0000 is not allowed"},
        {"{\"a\":\"b", "byte 8: the text ends inside a string"},
        {"{\"a\":\"\xff\"}", "byte 7: byte 0xff is not UTF-8"},
        {"{\"a\":\"\t\"}", "byte 7: a raw control character 0x09 in a string must be escaped"},
        {"{} x", "byte 4: found 'x' where the end of the text should be"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mete_error err = {0, ""};
        CU_ASSERT_PTR_NULL(mete_json_parse(t(cases[i].text), &err));
        CU_ASSERT_STRING_EQUAL(err.message, cases[i].message);
    }
}

static void
test_depth(void)
{
    for (int depth = 127; depth <= 130; depth++) {
        mete_buffer b = {0};
        for (int i = 0; i < depth; i++)
            mete_buffer_byte(&b, '[');
        for (int i = 0; i < depth; i++)
            mete_buffer_byte(&b, ']');
        mete_json *root = mete_json_parse(mete_buffer_view(&b), NULL);
        CU_ASSERT_EQUAL(root != NULL, depth <= METE__JSON_DEPTH);
        mete_json_free(root);
        /* A record is one level more. */
        CU_ASSERT_EQUAL(in_record(b.data) == METE_OK, depth + 1 <= METE__JSON_DEPTH);
        mete_buffer_free(&b);
    }
}

/* Objects of many keys go through the table: duplicates are found wherever they stand, and the same
 * keys in two objects are none. */
static void
test_many_keys(void)
{
    enum { N = 3000 };
    for (int twice = -1; twice < N; twice += twice < 40 ? 1 : 487) {
        mete_buffer b = {0};
        mete_buffer_string(&b, "{\"o\":{");
        for (int i = 0; i < N; i++)
            mete_buffer_format(&b, "\"k%d\":%d,", i, i);
        mete_buffer_string(&b, "\"z\":{\"k1\":1}},\"p\":{");
        for (int i = 0; i < N; i++)
            mete_buffer_format(&b, "\"k%d\":%d,", i, i);
        mete_buffer_format(&b, "\"k%d\":0}}", twice);
        mete_error err = {0, ""};
        int status = mete__json_check(mete_buffer_view(&b), &err);
        CU_ASSERT_EQUAL(status, twice < 0 ? METE_OK : METE_EDATA);
        mete_buffer_free(&b);
    }
}

static void
test_record_fields(void)
{
    static const char line[] =
        " {\"id\": 7, \"text\": \"plain\", \"esc\\n\": \"a\\u00e9\\n\", \"yes\": true,"
        " \"no\": false, \"none\": null, \"list\": [1, \"x\"], \"map\": {\"k\": -2.5e1},"
        " \"big\": 9007199254740993} ";
    mete__record r = {0};
    for (int again = 0; again < 2; again++) {
        CU_ASSERT_EQUAL_FATAL(mete__record_parse(&r, line, sizeof line - 1, NULL), METE_OK);
        CU_ASSERT_EQUAL_FATAL(r.fields, 9);
        CU_ASSERT(r.field[0].type == METE_JSON_NUMBER && r.field[0].number == 7);
        CU_ASSERT(mete_text_is(r.field[0].text, "7"));
        CU_ASSERT(r.field[1].type == METE_JSON_STRING && mete_text_is(r.field[1].text, "plain"));
        /* Without escapes the text is the line's own. */
        CU_ASSERT(r.field[1].text.data >= line && r.field[1].text.data < line + sizeof line);
        CU_ASSERT(mete_text_is(r.field[2].key, "esc\n"));
        CU_ASSERT(mete_text_is(r.field[2].text, "a\xc3\xa9\n"));
        CU_ASSERT(r.field[3].type == METE_JSON_BOOL && r.field[3].truth);
        CU_ASSERT(r.field[4].type == METE_JSON_BOOL && !r.field[4].truth);
        CU_ASSERT(r.field[5].type == METE_JSON_NULL && isnan(r.field[5].number));
        CU_ASSERT_EQUAL(r.field[6].type, METE_JSON_ARRAY);
        CU_ASSERT(mete_text_is(r.field[6].text, "[1, \"x\"]"));
        CU_ASSERT(r.field[7].type == METE_JSON_OBJECT);
        CU_ASSERT(mete_text_is(r.field[7].text, "{\"k\": -2.5e1}"));
        CU_ASSERT(mete_text_is(r.field[8].text, "9007199254740993")); /* exact as text */
    }
    CU_ASSERT_PTR_EQUAL(mete__record_find(&r, t("yes")), &r.field[3]);
    CU_ASSERT_PTR_NULL(mete__record_find(&r, t("Yes")));
    CU_ASSERT_EQUAL(mete__record_parse(&r, "[1]", 3, NULL), METE_EDATA);
    mete__record_free(&r);
}

static void
test_record_paths(void)
{
    static const char line[] = "{\"a\":{\"b\":\"x\\ty\",\"c\":[10,{\"d\":20},\"s\"],\"e.f\":5},"
                               "\"a.b\":1,\"g\":{\"\\u0068\":true},\"s\":\"t\"}";
    mete__record r = {0};
    mete__field f;
    mete_buffer text = {0};
    CU_ASSERT_EQUAL_FATAL(mete__record_parse(&r, line, sizeof line - 1, NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__record_path(&r, t("a.b"), &f, &text), 1);
    CU_ASSERT_EQUAL(f.number, 1); /* the exact key goes first */
    CU_ASSERT_EQUAL(mete__record_path(&r, t("a.c.0"), &f, &text), 1);
    CU_ASSERT_EQUAL(f.number, 10);
    CU_ASSERT_EQUAL(mete__record_path(&r, t("a.c.1.d"), &f, &text), 1);
    CU_ASSERT_EQUAL(f.number, 20);
    CU_ASSERT_EQUAL(mete__record_path(&r, t("a.c.2"), &f, &text), 1);
    CU_ASSERT(f.type == METE_JSON_STRING && mete_text_is(f.text, "s"));
    CU_ASSERT_EQUAL(mete__record_path(&r, t("a.c"), &f, &text), 1);
    CU_ASSERT(mete_text_is(f.text, "[10,{\"d\":20},\"s\"]"));
    CU_ASSERT_EQUAL(mete__record_path(&r, t("g.h"), &f, &text), 1);
    CU_ASSERT(f.type == METE_JSON_BOOL && f.truth);
    static const char *const none[] = {
        "b",    "a.x", "a.c.3", "a.c.-1", "a.c.x", "a.c.0.x", "s.t",
        "a.c.", "a.",  ".a",    "",       "g.H",   "a.c.1.",  "a.c.99999999999"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        CU_ASSERT_EQUAL(mete__record_path(&r, t(none[i]), &f, &text), 0);
    mete_buffer_free(&text);
    mete__record_free(&r);
}

static void
test_tree(void)
{
    mete_json *root = mete_json_parse(
        t("{\"Key\":1,\"key\":[true,\"x\",null,{\"n\":-2.5}],\"s\":\"\\u00e9\"}"), NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(root);
    CU_ASSERT_EQUAL(mete_json_kind(root), METE_JSON_OBJECT);
    CU_ASSERT_EQUAL(mete_json_count(root), 3);
    CU_ASSERT_EQUAL(mete_json_number(mete_json_get(root, "Key")), 1);
    const mete_json *list = mete_json_get(root, "key");
    CU_ASSERT_EQUAL(mete_json_kind(list), METE_JSON_ARRAY);
    CU_ASSERT(mete_json_bool(mete_json_at(list, 0)));
    CU_ASSERT(mete_text_is(mete_json_text(mete_json_at(list, 1)), "x"));
    CU_ASSERT_EQUAL(mete_json_kind(mete_json_at(list, 2)), METE_JSON_NULL);
    CU_ASSERT_EQUAL(mete_json_number(mete_json_get(mete_json_at(list, 3), "n")), -2.5);
    CU_ASSERT_PTR_NULL(mete_json_at(list, 4));
    CU_ASSERT_PTR_NULL(mete_json_get(root, "KEY"));
    CU_ASSERT_PTR_NULL(mete_json_get(mete_json_get(root, "none"), "x"));
    CU_ASSERT(isnan(mete_json_number(NULL)));
    CU_ASSERT_EQUAL(mete_json_kind(NULL), METE_JSON_NONE);
    CU_ASSERT(mete_text_is(mete_json_text(mete_json_get(root, "s")), "\xc3\xa9"));
    CU_ASSERT(mete_text_is(mete_json_key(mete_json_first(root)), "Key"));
    mete_buffer out = {0};
    CU_ASSERT_EQUAL(mete_json_put(&out, root), METE_OK);
    CU_ASSERT_STRING_EQUAL(out.data,
                           "{\"Key\":1,\"key\":[true,\"x\",null,{\"n\":-2.5}],\"s\":\"\xc3\xa9\"}");
    mete_buffer_free(&out);
    mete_json_free(root);
}

static void
test_find(void)
{
    mete_text prose =
        t("a } b {no} {{\"n\": 1} ```{\"n\": 2, \"s\": \"}{\", \"in\": {\"n\": 9}}``` {\"n\"");
    size_t at = 0;
    for (int n = 1; n <= 2; n++) {
        mete_json *found = mete_json_find(prose, &at);
        CU_ASSERT_EQUAL(mete_json_number(mete_json_get(found, "n")), n);
        mete_json_free(found);
    }
    CU_ASSERT_PTR_NULL(mete_json_find(prose, &at));
    CU_ASSERT_EQUAL(at, prose.length);
    CU_ASSERT_PTR_NULL(mete_json_find(prose, &at));
}

/* cJSON cuts a number at 63 bytes; ours must not be. */
static void
test_long_numbers(void)
{
    mete_buffer b = {0};
    mete_buffer_string(&b, "{\"e\\\\\":\"11\\\"1\",\"n\":[0.");
    for (int i = 0; i < 200; i++)
        mete_buffer_byte(&b, '3');
    mete_buffer_string(&b, ",1");
    for (int i = 0; i < 99; i++)
        mete_buffer_byte(&b, '0');
    mete_buffer_string(&b, "]}");
    mete_json *root = mete_json_parse(mete_buffer_view(&b), NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(root);
    const mete_json *list = mete_json_get(root, "n");
    CU_ASSERT_EQUAL(mete_json_number(mete_json_at(list, 0)), 1.0 / 3);
    CU_ASSERT_EQUAL(mete_json_number(mete_json_at(list, 1)), 1e99);
    CU_ASSERT(mete_text_is(mete_json_text(mete_json_get(root, "e\\")), "11\"1"));
    mete_json_free(root);
    mete_buffer_free(&b);
}

static void
test_put_text(void)
{
    mete_buffer out = {0};
    mete_json_put_text(&out, (mete_text){"q\"b\\n\n\x01\0\xc3\xa9\xff/\x7f", 13});
    CU_ASSERT_STRING_EQUAL(out.data, "\"q\\\"b\\\\n\\n\\u0001\\u0000\xc3\xa9\xef\xbf\xbd/\x7f\"");
    mete_buffer_clear(&out);
    mete_json_put_text(&out, t("0123456789abcdef\"0123456\x1f"));
    CU_ASSERT_STRING_EQUAL(out.data, "\"0123456789abcdef\\\"0123456\\u001f\"");
    mete_buffer_free(&out);
}

static void
number_is(double number, const char *expected)
{
    mete_buffer out = {0};
    CU_ASSERT_EQUAL(mete_json_put_number(&out, number), METE_OK);
    CU_ASSERT_STRING_EQUAL(out.data, expected);
    mete_buffer_free(&out);
}

static void
test_put_number(void)
{
    number_is(0, "0");
    number_is(-0.0, "-0");
    number_is(1, "1");
    number_is(-17, "-17");
    number_is(0.1, "0.1");
    number_is(0.85, "0.85");
    number_is(-2.125, "-2.125");
    number_is(1.0 / 3, "0.3333333333333333");
    number_is(0.1 + 0.2, "0.30000000000000004");
    number_is(123456789012345, "123456789012345");
    number_is(1e21, "1e+21");
    number_is(5e-324, "4.94065645841247e-324");
    number_is(1.7976931348623157e308, "1.7976931348623157e+308");
    number_is(NAN, "null");
    number_is(-INFINITY, "null");
}

/* Random bits, as doubles, come back the same. */
static void
test_number_round_trip(void)
{
    uint64_t x = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 20000; i++) {
        double number, scale = (double)(1u << (i % 20));
        char text[40];
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(&number, &x, sizeof number);
        number = i % 2 ? number : round((double)(x >> 40)) / scale; /* short ones too */
        if (!isfinite(number))
            continue;
        size_t n = mete__number_write(text, number);
        CU_ASSERT(n < 32 && mete__number_read(text, n) == number);
    }
}

/* Full-length decimals are made by arithmetic; printf and strtod are the judges. */
static void
test_number_digits(void)
{
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 30000; i++) {
        char text[40], wanted[40];
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        double number = ldexp((double)(x >> 11), (int)(x % 62) - 66);
        number = i % 3 ? number : -number;
        text[mete__number_write(text, number)] = '\0';
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(wanted, sizeof wanted, "%.*g", digits, number);
            if (strtod(wanted, NULL) == number)
                break;
        }
        CU_ASSERT_STRING_EQUAL(text, wanted);
    }
}

/* Reading is correctly rounded: strtod in the C locale is the judge. */
static void
test_number_read(void)
{
    static const char *const cases[] = {
        "0.1",
        "3.14159265358979",
        "9007199254740993",
        "9007199254740992.5",
        "1e23",
        "8.5e-23",
        "123456789012345678",
        "1234567890123456789012",
        "2.2250738585072011e-308",
        "2.2250738585072014e-308",
        "4.9e-324",
        "2.4703282292062327e-324",
        "1.7976931348623158e308",
        "0.000000000000000000000000000000000000000000000001",
        "100000000000000000000000000000000000000000000000e-40",
        "0e99999999999",
        "-0.0",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CU_ASSERT_EQUAL(mete__number_read(cases[i], strlen(cases[i])), strtod(cases[i], NULL));
    CU_ASSERT(isinf(mete__number_read("1e309", 5)));
    /* 2^53 + 1 lies half way; a 1 after a thousand zeros rounds it up, to even otherwise. */
    mete_buffer b = {0};
    mete_buffer_string(&b, "9007199254740993.");
    for (int i = 0; i < 1000; i++)
        mete_buffer_byte(&b, '0');
    CU_ASSERT_EQUAL(mete__number_read(b.data, b.length), 9007199254740992.0);
    mete_buffer_byte(&b, '1');
    CU_ASSERT_EQUAL(mete__number_read(b.data, b.length), 9007199254740994.0);
    mete_buffer_free(&b);
}

/* A comma for the decimal point must not matter; skipped where no such locale is installed. */
static void
test_locale(void)
{
    char text[40];
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
        return;
    CU_ASSERT_EQUAL(mete__number_read("1.2345678901234567890", 21), 1.2345678901234567890);
    size_t n = mete__number_write(text, 1.0 / 3);
    CU_ASSERT(mete_text_is((mete_text){text, n}, "0.3333333333333333"));
    mete_json *root = mete_json_parse(t("[0.125]"), NULL);
    CU_ASSERT_EQUAL(mete_json_number(mete_json_at(root, 0)), 0.125);
    mete_json_free(root);
    setlocale(LC_NUMERIC, "C");
}

void
suite_json(void)
{
    CU_pSuite s = CU_add_suite("json", NULL, NULL);
    CU_add_test(s, "what RFC 8259 allows is accepted", test_accepts);
    CU_add_test(s, "all else is refused", test_refuses);
    CU_add_test(s, "every prefix is refused", test_refuses_prefixes);
    CU_add_test(s, "NUL bytes are refused", test_nul_byte);
    CU_add_test(s, "messages name the byte", test_messages);
    CU_add_test(s, "depth is capped", test_depth);
    CU_add_test(s, "duplicates among many keys", test_many_keys);
    CU_add_test(s, "fields of a record", test_record_fields);
    CU_add_test(s, "dotted paths", test_record_paths);
    CU_add_test(s, "trees", test_tree);
    CU_add_test(s, "objects in prose", test_find);
    CU_add_test(s, "numbers of hundreds of digits", test_long_numbers);
    CU_add_test(s, "strings are escaped", test_put_text);
    CU_add_test(s, "numbers are shortest", test_put_number);
    CU_add_test(s, "numbers read back the same", test_number_round_trip);
    CU_add_test(s, "numbers are written as printf does", test_number_digits);
    CU_add_test(s, "numbers are rounded correctly", test_number_read);
    CU_add_test(s, "the locale does not matter", test_locale);
}
