/* test_corpus.c - stretches of a plain text: joined they are the file, held out is its end, an
 * epoch shows each once.
 */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <mete/random.h>
#include <mete/text.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 400

/* Texts the environment shows for tasks 0, 1, ... of `tasks`, joined; their number is checked
 * against the environment's own where `tasks` is 0. Each text is also copied into `each`. */
typedef struct shown {
    mete_buffer joined;
    char *each[MOST];
    size_t count;
} shown;

static shown
show_all(const char *options, bool evaluation, size_t tasks)
{
    shown out = {0};
    char text[800], folder[400] = "";
    mete_error err = {0};
    mete__errors errors = {0};
    mete__engine_options how = {.seed = 9, .threads = 1};
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(folder, sizeof folder));
    snprintf(text, sizeof text, "env = { use = \"corpus\"; file = \"%s/c.txt\"; %s };", folder,
             options);
    mete__config *config = mete__config_parse("w.cfg", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = config ? mete__engine_open(config, &how, &errors) : NULL;
    mete__errors_print(&errors, stderr);
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    mete_node *node = mete__engine_environment(engine);
    CU_ASSERT_EQUAL_FATAL(mete__environment_spaces(node, 1, &err), METE_OK);
    mete_observations *seen = mete__observations_new(node, 1);
    tasks = tasks ? tasks : (size_t)node->spaces.tasks;
    size_t column = 0;
    while (column < node->declareds && strcmp(node->declared[column].name, "text") != 0)
        column++;
    CU_ASSERT_FATAL(column < node->declareds);
    for (size_t i = 0; i < tasks && i < MOST; i++) {
        uint32_t lane = 0;
        uint64_t number = i;
        mete_reset reset = {.size = sizeof reset,
                            .count = 1,
                            .evaluation = evaluation,
                            .lane = &lane,
                            .episode = &number,
                            .task = &number};
        CU_ASSERT_EQUAL_FATAL(mete__environment_reset(node, &reset, seen, &err), METE_OK);
        CU_ASSERT_EQUAL(seen->prompt[0].length, 0);
        mete_texts list = mete__observations_list(seen, column, 0);
        CU_ASSERT_EQUAL_FATAL(list.count, 1);
        mete_buffer_text(&out.joined, list.item[0]);
        out.each[out.count++] = strndup(list.item[0].data, list.item[0].length);
    }
    mete__observations_free(seen);
    mete__engine_close(engine);
    mete__config_free(config);
    mete__errors_free(&errors);
    return out;
}

static void
shown_free(shown *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->each[i]);
    mete_buffer_free(&s->joined);
}

/* Words of one to nine letters, some of two bytes a letter, with spaces and line ends between. */
static mete_buffer
write_text(void)
{
    mete_buffer text = {0};
    for (uint64_t i = 0; text.length < 8000; i++) {
        uint64_t r = mete_hash_mix(3, i);
        for (uint64_t k = 0; k <= r % 9; k++)
            mete_buffer_code(&text, r & 16 ? 0xe9 : 'a' + (uint32_t)(r >> 8) % 26);
        mete_buffer_string(&text, r >> 32 & 7 ? " " : "\n\n");
    }
    FILE *file = fopen("c.txt", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fwrite(text.data, 1, text.length, file);
    fclose(file);
    return text;
}

/* What is learnt from, then what is held out, is the file; no stretch is long or cuts a word. */
static void
lengths(void)
{
    mete_buffer text = write_text();
    shown a = show_all("length = 100; holdout = 0.25; shuffle = 0;", false, 0);
    shown b = show_all("length = 100; holdout = 0.25; shuffle = 0;", true, a.count / 3);
    CU_ASSERT(a.count >= 60 && a.count < MOST);
    mete_buffer_text(&a.joined, mete_buffer_view(&b.joined));
    mete_text whole = mete_buffer_view(&text), got = mete_buffer_view(&a.joined);
    CU_ASSERT(mete_text_starts(whole, got));
    CU_ASSERT(whole.length - got.length <= 200); /* a quarter is rounded down */
    for (size_t i = 0; i < a.count; i++) {
        mete_text one = mete_text_from(a.each[i]);
        CU_ASSERT(one.length > 50 && one.length <= 100);
        CU_ASSERT(one.data[one.length - 1] == ' ' || one.data[one.length - 1] == '\n');
    }
    shown_free(&a);
    shown_free(&b);
    mete_buffer_free(&text);
}

/* Documents are what stands between separators; none is empty. An epoch shows each once. */
static void
documents(void)
{
    mete_buffer text = write_text();
    shown a =
        show_all("separator = \"\\n\\n\"; length = 4000; holdout = 0.0; shuffle = 0;", false, 0);
    shown b = show_all("separator = \"\\n\\n\"; length = 4000; holdout = 0.0;", false, 0);
    size_t at = 0, moved = 0;
    mete_text whole = mete_buffer_view(&text);
    for (size_t i = 0; i < a.count; i++) {
        while (mete_text_starts(mete_text_slice(whole, at, whole.length), mete_text_from("\n\n")))
            at += 2;
        mete_text one = mete_text_from(a.each[i]);
        CU_ASSERT(one.length > 0 && mete_text_find(one, mete_text_from("\n\n"), 0) == SIZE_MAX);
        CU_ASSERT(mete_text_starts(mete_text_slice(whole, at, whole.length), one));
        at += one.length;
    }
    CU_ASSERT(whole.length - at <= 2);
    CU_ASSERT_EQUAL(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        size_t in_a = 0, in_b = 0;
        for (size_t k = 0; k < a.count; k++) {
            in_a += strcmp(a.each[i], a.each[k]) == 0;
            in_b += strcmp(a.each[i], b.each[k]) == 0;
        }
        CU_ASSERT_EQUAL(in_a, in_b);
        moved += strcmp(a.each[i], b.each[i]) != 0;
    }
    CU_ASSERT(moved > a.count / 2);
    shown_free(&a);
    shown_free(&b);
    mete_buffer_free(&text);
    unlink("c.txt");
}

/* A file is read whole or not at all. */
static void
files(void)
{
    mete_error err = {0};
    mete_buffer text = write_text(), read = {0};
    mete_buffer_string(&read, "x");
    CU_ASSERT_EQUAL(mete_file_read("c.txt", text.length, &read, &err), METE_OK);
    CU_ASSERT(read.length == text.length + 1 && memcmp(read.data + 1, text.data, text.length) == 0);
    CU_ASSERT_EQUAL(mete_file_read("c.txt", text.length - 1, &read, &err), METE_EDATA);
    CU_ASSERT(read.length == text.length + 1 && strstr(err.message, "c.txt"));
    CU_ASSERT_EQUAL(mete_file_read("nowhere.txt", 10, &read, &err), METE_EIO);
    /* Larger than the window it is read through. */
    FILE *file = fopen("c.txt", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    mete_buffer_clear(&text);
    for (uint64_t i = 0; i < 150000; i++) {
        uint64_t r = mete_hash_mix(4, i);
        mete_buffer_append(&text, &r, sizeof r);
    }
    fwrite(text.data, 1, text.length, file);
    fclose(file);
    mete_buffer_clear(&read);
    CU_ASSERT_EQUAL(mete_file_read("c.txt", 1 << 30, &read, &err), METE_OK);
    CU_ASSERT(mete_text_equal(mete_buffer_view(&read), mete_buffer_view(&text)));
    mete_buffer_free(&read);
    mete_buffer_free(&text);
    unlink("c.txt");
}

void suite_corpus(void);

void
suite_corpus(void)
{
    CU_pSuite s = CU_add_suite("corpus", NULL, NULL);
    CU_add_test(s, "stretches joined are the file", lengths);
    CU_add_test(s, "documents", documents);
    CU_add_test(s, "a file is read whole", files);
}
