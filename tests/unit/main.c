/* Runs every suite_NAME() of tests/unit/test_NAME.c; suites.h is made from the file names. */
#include <CUnit/Basic.h>
#include <CUnit/TestRun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITE(name) void suite_##name(void);
#include "suites.h"
#undef SUITE

int
main(int count, char **argument)
{
    const char *only = count > 1 ? argument[1] : NULL;
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
#define SUITE(name)                                                                                \
    if (!only || strcmp(only, #name) == 0)                                                         \
        suite_##name();
#include "suites.h"
#undef SUITE
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned run = CU_get_number_of_tests_run(), failed = CU_get_number_of_tests_failed();
    unsigned broken = CU_get_number_of_suites_failed();
    CU_cleanup_registry();
    printf("unit: %u passed, %u failed\n", run - failed, failed + broken);
    return failed + broken || !run ? 1 : 0;
}
