/* test_rundir.c - the run folder: one owner, whole lines, marks and cuts. */
#include "run/rundir.h"

#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], deep[128];

static int
begin(void)
{
    snprintf(folder, sizeof folder, "%s", "/tmp/mete-rundir-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(deep, sizeof deep, "%s/a/b", folder);
    return 0;
}

static int
end(void)
{
    static const char *const name[] = {"a/b/config.cfg",
                                       "a/b/journal.jsonl",
                                       "a/b/lock",
                                       "a/b/metrics.jsonl",
                                       "a/b/samples.jsonl",
                                       "a/b",
                                       "a",
                                       ""};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        remove(path);
    }
    return 0;
}

static size_t
content(const char *name, char *out, size_t room)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", deep, name);
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(out, 1, room - 1, file) : 0;
    if (file)
        fclose(file);
    out[n] = '\0';
    return n;
}

static void
test_create(void)
{
    mete_error err = {0};
    char text[512];
    mete__rundir *run = mete__rundir_create(deep, "run = { seed = 1; };\n", &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(run);
    CU_ASSERT_STRING_EQUAL(mete__rundir_folder(run), deep);
    CU_ASSERT_EQUAL(mete__rundir_line(run, METE__RUN_METRICS, "{\"i\":1}", 7, &err), METE_OK);
    CU_ASSERT_EQUAL(mete__rundir_journal(run, "start", "line one\nline \"two\""), METE_OK);
    CU_ASSERT_EQUAL(mete__rundir_line(run, METE__RUN_METRICS, "{\"i\":\n2}", 8, &err), METE_EINVAL);
    mete__rundir_close(run);
    content("config.cfg", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "run = { seed = 1; };\n");
    content("metrics.jsonl", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "{\"i\":1}\n");
    size_t n = content("journal.jsonl", text, sizeof text);
    CU_ASSERT(n > 0 && strchr(text, '\n') == text + n - 1);
    mete_json *event = mete_json_parse((mete_text){text, n - 1}, &err);
    CU_ASSERT(mete_text_is(mete_json_text(mete_json_get(event, "text")), "line one\nline \"two\""));
    CU_ASSERT(mete_text_is(mete_json_text(mete_json_get(event, "event")), "start"));
    mete_json_free(event);
}

static void
test_refusals(void)
{
    mete_error err = {0};
    CU_ASSERT_PTR_NULL(mete__rundir_create(deep, "", &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "mete resume"));
    CU_ASSERT_PTR_NULL(mete__rundir_reopen("/nonexistent", &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "holds no run"));
    CU_ASSERT_PTR_NULL(mete__rundir_create("", "", &err));
    CU_ASSERT_PTR_NULL(mete__rundir_create("/proc/nothing/here", "", &err));
    CU_ASSERT_EQUAL(err.code, METE_EIO);
}

/* flock is held by the open file, so a second open in this very process is refused as another
 * process would be; the pid named is the owner's. */
static void
test_lock(void)
{
    mete_error err = {0};
    char pid[32];
    mete__rundir *run = mete__rundir_reopen(deep, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(run);
    CU_ASSERT_PTR_NULL(mete__rundir_reopen(deep, &err));
    CU_ASSERT_EQUAL(err.code, METE_EIO);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, pid));
    mete__rundir_close(run);
    /* An owner that was killed holds nothing. */
    pid_t child = fork();
    if (child == 0) {
        mete__rundir *held = mete__rundir_reopen(deep, NULL);
        (void)held;
        _exit(held ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
    run = mete__rundir_reopen(deep, &err);
    CU_ASSERT_PTR_NOT_NULL(run);
    mete__rundir_close(run);
}

static void
test_torn_and_cut(void)
{
    mete_error err = {0};
    char path[256], text[16384];
    uint64_t mark[METE__RUN_MARKED];
    mete__rundir *run = mete__rundir_reopen(deep, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(run);
    mete__rundir_marks(run, mark);
    CU_ASSERT_EQUAL(mark[0], 8);
    CU_ASSERT_EQUAL(mark[1], 0);
    CU_ASSERT_EQUAL(mete__rundir_line(run, METE__RUN_METRICS, "{\"i\":2}", 7, &err), METE_OK);
    CU_ASSERT_EQUAL(mete__rundir_line(run, METE__RUN_SAMPLES, "{}", 2, &err), METE_OK);
    mete__rundir_close(run);
    /* A torn tail longer than any read block. */
    memset(text, 'x', 9000);
    snprintf(path, sizeof path, "%s/metrics.jsonl", deep);
    int fd = open(path, O_WRONLY | O_APPEND);
    CU_ASSERT_EQUAL(write(fd, text, 9000), 9000);
    close(fd);
    run = mete__rundir_reopen(deep, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(run);
    content("metrics.jsonl", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "{\"i\":1}\n{\"i\":2}\n");
    CU_ASSERT_EQUAL(mete__rundir_cut(run, mark, 2, &err), METE_OK);
    content("metrics.jsonl", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "{\"i\":1}\n");
    content("samples.jsonl", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "");
    CU_ASSERT_EQUAL(mete__rundir_line(run, METE__RUN_METRICS, "{\"i\":2}", 7, &err), METE_OK);
    content("metrics.jsonl", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "{\"i\":1}\n{\"i\":2}\n");
    mark[0] = 1000;
    CU_ASSERT_EQUAL(mete__rundir_cut(run, mark, 2, &err), METE_EDATA);
    mete__rundir_close(run);
}

void suite_rundir(void);

void
suite_rundir(void)
{
    CU_pSuite suite = CU_add_suite("rundir", begin, end);
    CU_add_test(suite, "create and append", test_create);
    CU_add_test(suite, "refusals", test_refusals);
    CU_add_test(suite, "one owner", test_lock);
    CU_add_test(suite, "torn tails and cuts", test_torn_and_cut);
}
