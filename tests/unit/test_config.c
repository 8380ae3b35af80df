/* Configs: what is refused and how it is told, what --set and presets make, and writing back. */
#include "engine/config.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mete__config *
parse(const char *text, const char *const *set, size_t sets, mete__errors *errors)
{
    return mete__config_parse("a.cfg", text, strlen(text), set, sets, errors);
}

/* `text` is refused with one line that says `want`. */
static void
refused(const char *text, const char *want)
{
    mete__errors errors = {0};
    mete__config *config = parse(text, NULL, 0, &errors);
    CU_ASSERT_PTR_NULL(config);
    CU_ASSERT_FATAL(errors.count > 0);
    if (!strstr(errors.line[0], want))
        printf("got: %s\nwant: %s\n", errors.line[0], want);
    CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], want));
    mete__config_free(config);
    mete__errors_free(&errors);
}

static void
numbers_never_wrap(void)
{
    refused("a = 4294967297;", "a.cfg:1: 4294967297 does not fit 32 bits");
    refused("a = 1;\nb = 2147483648;", "a.cfg:2: 2147483648");
    refused("a = 04294967297;", "does not fit 32 bits");
    refused("a = 0XE00000000;", "does not fit 32 bits");
    refused("a = 99999999999999999999L;", "does not fit 64 bits");
    refused("a = 1e400;", "too large");
    refused("a = 0000000000000000000000000000000000000000000000000000000000000000000001;",
            "characters");
    mete__errors errors = {0};
    mete__config *config =
        parse("a = 4294967297L; # 4294967297\nb = \"4294967297\";", NULL, 0, &errors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(config);
    CU_ASSERT_EQUAL(mete__value_get(mete__config_root(config), "a")->integer, 4294967297);
    mete__config_free(config);
}

static void
hostile_text(void)
{
    static char brackets[1 << 20];
    memset(brackets, '(', sizeof brackets - 1);
    memcpy(brackets, "a = ", 4);
    refused(brackets, "nests deeper");
    refused("a = ", "a.cfg:1: syntax error");
    refused("a = 1; /* ", "not closed");
    FILE *one = fopen("one.cfg", "w"), *two = fopen("two.cfg", "w");
    fputs("@include \"two.cfg\"\n", one);
    fputs("@include \"one.cfg\"\n", two);
    fclose(one);
    fclose(two);
    mete__errors errors = {0};
    CU_ASSERT_PTR_NULL(mete__config_read("one.cfg", NULL, 0, &errors));
    CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], "includes itself"));
    mete__errors_free(&errors);
    one = fopen("one.cfg", "w");
    fputs("b = 4294967297;\n", one);
    fclose(one);
    CU_ASSERT_PTR_NULL(mete__config_read("two.cfg", NULL, 0, &errors));
    CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], "one.cfg:1: 4294967297"));
    mete__errors_free(&errors);
    unlink("one.cfg");
    unlink("two.cfg");
}

static void
all_errors_at_once(void)
{
    mete__errors errors = {0};
    mete__config *config = parse("g = { widht = 3;\n n = -1;\n s = 4; };", NULL, 0, &errors);
    mete__value *group = mete__value_get(mete__config_root(config), "g");
    mete__value_real(group, "width", 1, 0, 9, &errors);
    mete__value_int(group, "n", 1, 0, 9, &errors);
    mete__value_string(group, "s", "", &errors);
    mete__value_unknown(group, "width n s", &errors);
    CU_ASSERT_EQUAL_FATAL(errors.count, 3);
    CU_ASSERT_STRING_EQUAL(errors.line[0], "a.cfg:2: g.n = -1 is outside [0, 9]");
    CU_ASSERT_STRING_EQUAL(errors.line[1], "a.cfg:3: g.s is an integer; it must be a string");
    CU_ASSERT_STRING_EQUAL(errors.line[2],
                           "a.cfg:1: g: unknown option 'widht'; did you mean 'width'?");
    mete__errors_free(&errors);
    mete__config_free(config);
}

static void
set_and_find(void)
{
    static const char *const set[] = {"run.seed=7", "reward.of[1].weight=0.5", "@near.hi=3",
                                      "run.out=some/where", "reward.of[0]=@near"};
    mete__errors errors = {0};
    mete__config *config = parse("run = { seed = 1; }; reward = { of = ( { use = \"far\"; }, { "
                                 "name = \"near\"; use = \"x\"; } ); };",
                                 set, 5, &errors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(config);
    mete__value *root = mete__config_root(config);
    CU_ASSERT_EQUAL(mete__value_find(root, "run.seed")->integer, 7);
    CU_ASSERT_EQUAL(mete__value_find(root, "@near.weight")->real, .5);
    CU_ASSERT_EQUAL(mete__value_find(root, "reward.of[1].hi")->integer, 3);
    CU_ASSERT_STRING_EQUAL(mete__value_find(root, "run.out")->string, "some/where");
    CU_ASSERT_STRING_EQUAL(mete__value_find(root, "reward.of[0].use")->string, "x");
    CU_ASSERT_PTR_NULL(mete__value_find(root, "reward.of[9].use"));
    mete__config_free(config);
    /* A config may leave out its run; `--seed 3` still sets its seed. */
    config = parse("reward = { use = \"x\"; };", set, 1, &errors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(config);
    CU_ASSERT_EQUAL(mete__value_find(mete__config_root(config), "run.seed")->integer, 7);
    mete__config_free(config);
    static const char *const bad[] = {"rnu.seed=7", "run.a b=1"};
    CU_ASSERT_PTR_NULL(parse("run = { seed = 1; };", bad, 2, &errors));
    CU_ASSERT_EQUAL_FATAL(errors.count, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], "did you mean 'run'?"));
    mete__errors_free(&errors);
}

static void
preset_with_overrides(void)
{
    mete__errors errors = {0};
    mete__config *config = parse("o = { use = \"grpo\"; clip = 0.3; };", NULL, 0, &errors);
    mete__value *over = mete__value_get(mete__config_root(config), "o");
    mete__value *preset = mete__config_preset(config, "objective", "grpo", over, &errors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(preset);
    CU_ASSERT_EQUAL(mete__value_get(preset, "clip")->real, .3);
    CU_ASSERT_STRING_EQUAL(mete__value_get(preset, "advantage")->string, "group");
    CU_ASSERT_PTR_NULL(mete__config_preset(config, "objective", "gripo", over, &errors));
    CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], "did you mean 'grpo'?"));
    mete__errors_free(&errors);
    mete__config_free(config);
}

/* Written canonically and read again, a config writes the same text. */
static void
writes_what_it_reads(void)
{
    static const char text[] =
        "a = 1; b = -2.5e-300; c = 4294967297L; d = \"q\\\"\\\\ \\n\\x07\"; e = true;"
        " f = { g = ( 1, \"x\", { h = 0.1; } ); i = [ 1.0, 2.0 ]; j = ( ); k = { }; };";
    mete__errors errors = {0};
    mete__config *one = parse(text, NULL, 0, &errors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(one);
    char *first = mete__config_write(mete__config_root(one));
    mete__config *two = parse(first, NULL, 0, &errors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(two);
    char *second = mete__config_write(mete__config_root(two));
    CU_ASSERT_STRING_EQUAL(first, second);
    CU_ASSERT_EQUAL(mete__value_find(mete__config_root(two), "f.g[2].h")->real, .1);
    CU_ASSERT_STRING_EQUAL(mete__value_find(mete__config_root(two), "d")->string, "q\"\\ \n\a");
    free(first);
    free(second);
    mete__config_free(one);
    mete__config_free(two);
}

void
suite_config(void)
{
    CU_pSuite suite = CU_add_suite("config", NULL, NULL);
    CU_add_test(suite, "numbers never wrap", numbers_never_wrap);
    CU_add_test(suite, "hostile text", hostile_text);
    CU_add_test(suite, "all errors at once", all_errors_at_once);
    CU_add_test(suite, "--set and finding", set_and_find);
    CU_add_test(suite, "presets", preset_with_overrides);
    CU_add_test(suite, "writes what it reads", writes_what_it_reads);
}
