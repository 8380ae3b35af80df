/* code - runs a response's program against tests, in a box.  pkg-config: libseccomp
 *
 * A program that fails, crashes or takes too long has failed its tests: that is its score. A row is
 * marked failed only where the box itself could not be set up, for then nothing is known.
 */
#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <mete/reward.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

struct code {
    int language, join, score, sandbox;
    mete_strings command;
    int64_t memory, output, processes, parallel;
    double seconds;
    mete_field test, entry_point, tests, input, expected;
    /* filled by open */
    const char *const *words;
    int share, late;
};

enum { PYTHON, C, SHELL, COMMAND };

static const char *const file_name[] = {"main.py", "main.c", "main.sh", "main"};

static const mete_option options[] = {
    METE_ENUM(struct code, language, PYTHON, "python|c|shell|command",
              "of the program; with \"command\" the option `command` runs its file, main"),
    METE_STRINGS(struct code, command, 0, "words that run the file main in the current folder"),
    METE_ENUM(struct code, join, 0, "response|prompt",
              "the program is the response, or the prompt and then the response"),
    METE_ENUM(struct code, score, 0, "share|all", "share of the tests passed, or 1 where all are"),
    METE_ENUM(struct code, sandbox, 0, "bubblewrap|none",
              "none: programs run with the rights of mete itself"),
    METE_REAL(struct code, seconds, 10, 0.05, 3600, "most time of one test"),
    METE_INT(struct code, memory, 1024, 16, 1 << 20, "most memory of a process, in MiB"),
    METE_INT(struct code, output, 1024, 1, 1 << 20, "largest file or output, in KiB"),
    METE_INT(struct code, processes, 64, 1, 100000, "most processes and threads"),
    METE_INT(struct code, parallel, 2, 1, 256, "tests run side by side"),
    METE_FIELD(struct code, test, "test", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "code that comes after the program, such as HumanEval's check"),
    METE_FIELD(struct code, entry_point, "entry_point", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "a function's name: check(NAME) is called after `test`"),
    METE_FIELD(struct code, tests, "tests", METE_LIST, METE_TEXT, METE_OPTIONAL,
               "pieces of code, each run after the program on its own"),
    METE_FIELD(struct code, input, "input", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "given on standard input"),
    METE_FIELD(struct code, expected, "expected", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "standard output must be this, but for space at the ends"),
    METE_OPTIONS_END};

static const char doc[] =
    "The program is the last block between ``` marks of the response, or all of it. It passes a "
    "test\n"
    "when it ends with exit code 0 (and prints what is expected). It runs under bubblewrap: "
    "without\n"
    "network, with the system's files to read and an empty /tmp in memory, with few system calls\n"
    "forbidden and time, memory, output and processes limited; as root mete gives its rights up\n"
    "first. Where bubblewrap does not work the config is refused. HumanEval's files fit as they "
    "are:\n"
    "  env = { use = \"prompts\"; data = \"HumanEval.jsonl.gz\"; ... };\n"
    "  reward = { use = \"code\"; join = \"prompt\"; };";

/* ---- the programs of a row ------------------------------------------------------------------- */

/* The last fenced block of a text without the line that opens it, or the whole text. */
static mete_text
program_in(mete_text text)
{
    mete_text found = text;
    const char *end = text.data + text.length;
    for (const char *at = text.data; at && at < end;) {
        const char *open = memmem(at, (size_t)(end - at), "```", 3);
        const char *line = open ? memchr(open, '\n', (size_t)(end - open)) : NULL;
        if (!line)
            break;
        const char *close = memmem(line, (size_t)(end - line), "\n```", 4);
        found.data = line + 1;
        found.length = (size_t)((close ? close + 1 : end) - found.data);
        at = close ? close + 4 : end;
    }
    return found;
}

static mete_text
text_at(const mete_batch *batch, const mete_field *field, size_t row)
{
    const mete_text *column = mete_text_of(batch, field);
    return column ? column[row] : (mete_text){NULL, 0};
}

/* The pieces one after another, a line end after each. */
static mete_text
joined(mete_ctx *cx, const mete_text *piece, size_t count)
{
    size_t length = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        length += piece[i].length + 1;
    char *text = mete_arena(cx, length + 1);
    for (size_t i = 0; text && i < count; i++) {
        if (!piece[i].length)
            continue;
        memcpy(text + at, piece[i].data, piece[i].length);
        at += piece[i].length;
        text[at++] = '\n';
    }
    return (mete_text){text, text ? at : 0};
}

static size_t
tests_of(const struct code *p, const mete_batch *batch, size_t row)
{
    mete_texts tests = mete_texts_of(batch, &p->tests, row);
    return tests.count ? tests.count : 1;
}

/* Writes a row's programs, tests_of() many; 0 where memory ran out. */
static int
write_row(mete_ctx *cx, const struct code *p, const mete_batch *batch, size_t row,
          struct program *program)
{
    mete_text response = batch->response ? program_in(batch->response[row]) : (mete_text){NULL, 0};
    mete_text prompt = p->join && batch->prompt ? batch->prompt[row] : (mete_text){NULL, 0};
    mete_text entry = text_at(batch, &p->entry_point, row);
    mete_text test = text_at(batch, &p->test, row);
    mete_texts tests = mete_texts_of(batch, &p->tests, row);
    mete_text call = {NULL, 0};
    if (entry.length && test.length) {
        const mete_text words[] = {{"check(", 6}, entry, {")", 1}};
        call = joined(cx, words, 3); /* on three lines, as brackets allow */
        if (!call.data)
            return 0;
    }
    /* The prompt ends where the response goes on, mid-line perhaps. */
    char *base = mete_arena(cx, prompt.length + response.length + 1);
    if (!base)
        return 0;
    if (prompt.length)
        memcpy(base, prompt.data, prompt.length);
    if (response.length)
        memcpy(base + prompt.length, response.data, response.length);
    for (size_t k = 0; k < (tests.count ? tests.count : 1); k++) {
        const mete_text piece[] = {
            {base, prompt.length + response.length}, tests.count ? tests.item[k] : test, call};
        program[k] = (struct program){.file = joined(cx, piece, 3),
                                      .name = file_name[p->language],
                                      .command = p->words,
                                      .input = text_at(batch, &p->input, row)};
        if (!program[k].file.data)
            return 0;
    }
    return 1;
}

/* ---- scoring --------------------------------------------------------------------------------- */

static mete_text
trimmed(mete_text text)
{
    while (text.length && strchr(" \t\r\n", text.data[text.length - 1]))
        text.length--;
    while (text.length && strchr(" \t\r\n", *text.data)) {
        text.data++;
        text.length--;
    }
    return text;
}

static int
passed(const struct program *program, mete_text expected)
{
    if (program->ending != ENDED || program->code)
        return 0;
    if (!expected.data)
        return 1;
    mete_text got = trimmed((mete_text){program->output, program->length});
    expected = trimmed(expected);
    return got.length == expected.length && memcmp(got.data, expected.data, got.length) == 0;
}

static void
judge_row(mete_ctx *cx, const struct code *p, const mete_batch *batch, size_t row,
          const struct program *program, size_t tests, mete_scores *out)
{
    mete_text expected = text_at(batch, &p->expected, row);
    size_t good = 0, late = 0;
    for (size_t k = 0; k < tests; k++) {
        if (program[k].ending == UNBOXED) {
            mete_row_fail(cx, row, METE_FAILED, "the sandbox could not be set up: %s",
                          program[k].said);
            return;
        }
        good += (size_t)passed(&program[k], expected);
        late += program[k].ending == LATE;
    }
    double share = (double)good / (double)tests;
    mete_out(out, p->share)[row] = share;
    mete_out(out, p->late)[row] = (double)late / (double)tests;
    out->episode[row] = p->score ? good == tests : share;
}

static struct limits
limits_of(const struct code *p)
{
    return (struct limits){
        .seconds = p->seconds, .memory = p->memory, .output = p->output, .processes = p->processes};
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct code *p = self;
    struct limits limits = limits_of(p);
    size_t count = 0, at = 0;
    for (size_t i = 0; i < batch->episodes; i++)
        count += tests_of(p, batch, i);
    struct program *program = mete_arena(cx, (count + 1) * sizeof *program);
    for (size_t i = 0; program && i < batch->episodes; i++) {
        if (!write_row(cx, p, batch, i, program + at))
            return mete_fail(cx, METE_ENOMEM, "out of memory");
        at += tests_of(p, batch, i);
    }
    if (!program)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    int bad = box_run(program, count, (size_t)p->parallel, &limits, p->sandbox);
    int why = errno;
    at = 0;
    for (size_t i = 0; !bad && i < batch->episodes; i++) {
        judge_row(cx, p, batch, i, program + at, tests_of(p, batch, i), out);
        at += tests_of(p, batch, i);
    }
    for (size_t k = 0; k < count; k++)
        free(program[k].output);
    return bad ? mete_fail(cx, METE_EIO, "cannot run programs: %s", strerror(why)) : METE_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int
set_words(mete_ctx *cx, struct code *p)
{
    static const char *const word[][5] = {
        [PYTHON] = {"python3", "main.py", NULL},
        [C] = {"sh", "-c", "cc -O1 -o main main.c -lm && exec ./main", NULL},
        [SHELL] = {"sh", "main.sh", NULL}};
    if ((p->language == COMMAND) != (p->command.count > 0))
        return mete_fail(cx, METE_EINVAL,
                         "`command` and language = \"command\" go together: the words that run "
                         "the file main");
    if (p->language != COMMAND) {
        p->words = word[p->language];
        return METE_OK;
    }
    if (p->command.count > 32)
        return mete_fail(cx, METE_EINVAL, "command: more than 32 words");
    const char **words = mete_alloc(cx, (p->command.count + 1) * sizeof *words);
    for (size_t i = 0; words && i < p->command.count; i++)
        words[i] = p->command.item[i];
    p->words = words;
    return words ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
}

/* Refuses to go on where programs would not run in a box. */
static int
try_box(mete_ctx *cx, const struct code *p)
{
    static const char *const nothing[] = {"true", NULL};
    struct program program = {.name = "main", .command = nothing};
    struct limits limits = limits_of(p);
    int bad = box_run(&program, 1, 1, &limits, p->sandbox), why = errno;
    free(program.output);
    if (!bad && program.ending == ENDED && program.code == 0)
        return METE_OK;
    return mete_fail(
        cx, METE_EINVAL,
        "programs cannot be run in a sandbox here (%s): install bubblewrap, allow user "
        "namespaces, or say sandbox = \"none\", which runs them with mete's own rights",
        bad                      ? strerror(why)
        : program.ending == LATE ? "it takes too long to start"
        : *program.said          ? program.said
                                 : "it does not start");
}

static int
open_code(mete_ctx *cx, void *self)
{
    struct code *p = self;
    int status = set_words(cx, p);
    if (status)
        return status;
    p->share = mete_signal(cx, "passed", METE_EPISODE, METE_ROLE_INFO, 0, 1, "share of the tests");
    p->late = mete_signal(cx, "late", METE_EPISODE, METE_ROLE_INFO, 0, 1,
                          "share of the tests that were ended for taking too long");
    if (p->share < 0 || p->late < 0)
        return p->share < 0 ? p->share : p->late;
    return try_box(cx, p);
}

METE_REWARD_PLUGIN(
    code, "1.0", "runs a response's program against tests, in a sandbox", .doc = doc,
    .reference = "Chen et al. 2021, Evaluating Large Language Models Trained on Code",
    .options = options, .state_size = sizeof(struct code), .flags = METE_WAITS, .open = open_code,
    .score = score);
