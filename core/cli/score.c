/* score.c - mete score CONFIG: records in, scores out, in batches of bounded memory.
 *
 * A chunk of lines is parsed in parts on all threads, scored as one batch, and written in parts on
 * all threads; the order of rows is the file's. A chunk ends between groups. Scores learn nothing,
 * so chunks never change a score.
 */
#include "cli/cli.h"
#include "score/scoring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: mete score CONFIG [--in FILE] [--out FILE] [--nodes] [--strict]\n"
    "                  [--set PATH=VALUE]... [--seed N] [--threads N] [--json] [--quiet]\n\n"
    "Scores records with CONFIG's reward tree. FILE in is JSONL, CSV or TSV (by its name), plain "
    "or\n"
    "gzip, or - for standard input (the default); FILE out is JSONL, or - (the default).\n\n"
    "A record has the text \"response\", and may have \"prompt\", \"id\", \"group\" (adjacent "
    "records of\n"
    "equal group are judged together) and what the nodes read. Other names: data.map in CONFIG,\n"
    "data = { map = { prompt = \"question\"; response = \"answer.text\"; }; };\n\n"
    "A line out: {\"id\":7,\"reward\":0.5,\"nodes\":{\"length\":1,\"exact\":0}}; without \"nodes\" "
    "where\n"
    "the tree is one node; \"row\", the number of the record, where it has no id. A record that "
    "could\n"
    "not be scored has \"reward\":null, a \"status\" (failed, not_applicable, timed_out) and a\n"
    "\"reason\".\n\n"
    "  --nodes   each node as an object: value, status, spread, signals and criteria\n"
    "  --strict  stop at the first record that cannot be read (exit code 2)\n"
    "  --json    the summary, on standard error, as one JSON object\n"
    "  --quiet   no summary\n";

struct scorer {
    const mete__args *args;
    mete__scoring scoring;
    mete__reader *reader;
    mete_buffer lines; /* the chunk's lines; those of a group cut by its end are kept */
    size_t *begin;     /* [slots + 1] where each record's line begins */
    uint64_t *number;  /* its line in the file */
    size_t slots, room;
    uint64_t first; /* number of the chunk's first record, from 1 */
    size_t indexed; /* bytes of `lines` cut into slots */
    FILE *out;
    uint64_t told; /* bad records named on stderr */
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool
add_slot(struct scorer *s, size_t begin, size_t end, uint64_t number)
{
    if (s->slots + 1 >= s->room) {
        size_t room = s->room ? 2 * s->room : 8192;
        size_t *b = realloc(s->begin, (room + 1) * 2 * sizeof *b);
        if (b)
            s->begin = b;
        uint64_t *n = b ? realloc(s->number, (room + 1) * sizeof *n) : NULL;
        if (!n)
            return false;
        s->number = n;
        s->room = room;
    }
    s->begin[2 * s->slots] = begin;
    s->begin[2 * s->slots + 1] = end;
    s->number[s->slots++] = number;
    return true;
}

/* Cuts what is new in `lines` into slots; blank lines are none. */
static bool
index_lines(struct scorer *s, uint64_t number)
{
    while (s->indexed < s->lines.length) {
        const char *at = s->lines.data + s->indexed;
        const char *newline = memchr(at, '\n', s->lines.length - s->indexed);
        size_t length = newline ? (size_t)(newline - at) : s->lines.length - s->indexed;
        size_t blank = 0;
        while (blank < length && (at[blank] == ' ' || at[blank] == '\t' || at[blank] == '\r'))
            blank++;
        size_t end = s->indexed + length;
        if (length && at[length - 1] == '\r')
            end--;
        if (blank < length && !add_slot(s, s->indexed, end, number))
            return false;
        s->indexed += length + (newline != NULL);
        number++;
    }
    return true;
}

/* More lines: 1, 0 at the end, or a status. */
static int
read_more(struct scorer *s, size_t most, mete_error *err)
{
    size_t had = s->slots;
    while (s->slots < had + most) {
        mete_text block;
        uint64_t number;
        int got = mete__reader_block(s->reader, &block, &number, NULL, err);
        if (got <= 0)
            return got < 0 ? got : s->slots > had;
        if (s->lines.length + block.length > METE__ROWS_BYTES)
            return mete_error_set(err, METE_EDATA,
                                  "%s:%" PRIu64 ": a group of more than %zu bytes; is the key of "
                                  "data.group right?",
                                  mete__reader_name(s->reader), number, METE__ROWS_BYTES);
        mete_buffer_text(&s->lines, block);
        if (block.length && block.data[block.length - 1] != '\n')
            mete_buffer_byte(&s->lines, '\n');
        if (s->lines.status || !index_lines(s, number))
            return mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    return 1;
}

/* ---- parsing --------------------------------------------------------------------------------- */

static void
parse_part(void *user, size_t p)
{
    struct scorer *s = user;
    mete__part *part = &s->scoring.part[p];
    for (size_t i = s->slots * p / s->scoring.parts; i < s->slots * (p + 1) / s->scoring.parts;
         i++) {
        mete_error err = {0};
        mete_text line = {s->lines.data + s->begin[2 * i], s->begin[2 * i + 1] - s->begin[2 * i]};
        if (mete__record_parse(&part->record, line.data, line.length, &err)) {
            s->scoring.rows->id_json[i] = (mete_text){NULL, 0};
            mete__rows_bad(s->scoring.rows, i, part, err.message);
            continue;
        }
        mete__rows_take(s->scoring.rows, i, part, &part->record, line);
    }
}

/* CSV records come one at a time; only lists and wide files would gain from threads. */
static int
take_records(struct scorer *s, mete_error *err)
{
    mete__part *part = &s->scoring.part[0];
    for (s->slots = 0; s->slots < METE__ROWS_MOST; s->slots++) {
        const mete__record *record;
        mete_error why = {0};
        int got = mete__reader_next(s->reader, &record, &why);
        if (got == 0)
            return s->slots > 0;
        if (got < 0 && got != METE_EDATA)
            return mete_error_set(err, got, "%s", why.message);
        if (got < 0) {
            s->scoring.rows->id_json[s->slots] = (mete_text){NULL, 0};
            mete__rows_bad(s->scoring.rows, s->slots, part, why.message);
            continue;
        }
        mete__rows_take(s->scoring.rows, s->slots, part, record, (mete_text){NULL, 0});
    }
    return 1;
}

/* ---- one chunk ------------------------------------------------------------------------------- */

static int
tell_bad(struct scorer *s, size_t slots)
{
    for (size_t i = 0; i < slots; i++) {
        if (!s->scoring.rows->bad[i])
            continue;
        const char *name = mete__reader_name(s->reader);
        if (s->told++ < 10 || s->args->strict) {
            if (strncmp(s->scoring.rows->bad[i], name, strlen(name)) == 0)
                mete__say("%s", s->scoring.rows->bad[i]);
            else
                mete__say("%s:%" PRIu64 ": %s", name, s->number ? s->number[i] : s->first + i + 1,
                          s->scoring.rows->bad[i]);
        }
        if (s->args->strict)
            return METE__EXIT_INPUT;
    }
    return METE__EXIT_DONE;
}

static void
write_part(void *user, size_t p)
{
    struct scorer *s = user;
    mete__score_write(&s->scoring.sum, s->scoring.rows, s->scoring.sum.slots * p / s->scoring.parts,
                      s->scoring.sum.slots * (p + 1) / s->scoring.parts, &s->scoring.part[p].out);
}

/* Scores and writes the first `slots`. */
static int
finish_chunk(struct scorer *s, size_t slots)
{
    mete_error err = {0};
    int code = tell_bad(s, slots);
    if (code)
        return code;
    if (mete__scoring_run(&s->scoring, slots, &err)) {
        mete__say("%s", err.message);
        return METE__EXIT_FAILED;
    }
    mete__workers_run(mete__engine_workers(s->scoring.engine), s->scoring.parts, write_part, s);
    for (size_t p = 0; p < s->scoring.parts; p++) {
        mete_buffer *out = &s->scoring.part[p].out;
        bool bad = out->status ||
                   (out->length && fwrite(out->data, 1, out->length, s->out) != out->length);
        if (bad) {
            mete__say("cannot write the scores: %s",
                      out->status ? "out of memory" : strerror(errno));
            return METE__EXIT_FAILED;
        }
        mete_buffer_clear(out);
    }
    mete__engine_reset(s->scoring.engine);
    return METE__EXIT_DONE;
}

/* What the chunk did not score moves to its front. */
static void
carry(struct scorer *s, size_t slots)
{
    size_t from = slots < s->slots ? s->begin[2 * slots] : s->lines.length;
    s->first += slots;
    s->slots -= slots;
    memmove(s->begin, s->begin + 2 * slots, 2 * s->slots * sizeof *s->begin);
    memmove(s->number, s->number + slots, s->slots * sizeof *s->number);
    for (size_t i = 0; i < 2 * s->slots; i++)
        s->begin[i] -= from;
    if (s->lines.length > from)
        memmove(s->lines.data, s->lines.data + from, s->lines.length - from);
    s->lines.length -= from;
    s->indexed -= from;
}

static int
score_lines(struct scorer *s)
{
    size_t most = METE__ROWS_MOST;
    bool more = true;
    while (more || s->slots) {
        mete_error err = {0};
        int got = more ? read_more(s, most, &err) : 0;
        if (got < 0) {
            mete__say("%s", err.message);
            return mete__exit_of(got);
        }
        more = got > 0;
        if (!s->slots)
            continue;
        if (!mete__scoring_begin(&s->scoring, s->slots, s->first)) {
            mete__say("out of memory");
            return METE__EXIT_FAILED;
        }
        mete__workers_run(mete__engine_workers(s->scoring.engine), s->scoring.parts, parse_part, s);
        size_t cut = s->slots;
        if (more && s->scoring.rows->group_key[s->slots - 1])
            cut = mete__rows_last_group(s->scoring.rows);
        most = cut ? METE__ROWS_MOST : 2 * most;
        if (!cut)
            continue; /* one group fills it: read on */
        int code = finish_chunk(s, cut);
        if (code)
            return code;
        carry(s, cut);
    }
    return METE__EXIT_DONE;
}

/* Groups of a CSV file are whole within chunks of METE__ROWS_MOST records only. */
static int
score_records(struct scorer *s)
{
    for (;;) {
        mete_error err = {0};
        if (!mete__scoring_begin(&s->scoring, METE__ROWS_MOST, s->first)) {
            mete__say("out of memory");
            return METE__EXIT_FAILED;
        }
        int got = take_records(s, &err);
        if (got < 0)
            mete__say("%s", err.message);
        if (got <= 0)
            return got ? mete__exit_of(got) : METE__EXIT_DONE;
        s->scoring.rows->slots = s->slots;
        int code = finish_chunk(s, s->slots);
        if (code)
            return code;
        s->first += s->slots;
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool
is_table(const char *path)
{
    size_t length = strlen(path);
    if (length > 3 && strcmp(path + length - 3, ".gz") == 0)
        length -= 3;
    return length > 4 && (strncmp(path + length - 4, ".csv", 4) == 0 ||
                          strncmp(path + length - 4, ".tsv", 4) == 0);
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int
score_file(struct scorer *s)
{
    mete_error err = {0};
    const char *in = s->args->in ? s->args->in : "-";
    const char *out = s->args->out && strcmp(s->args->out, "-") ? s->args->out : NULL;
    double start = now();
    s->reader = mete__reader_open(in, NULL, &err);
    if (!s->reader) {
        mete__say("%s", err.message);
        return METE__EXIT_INPUT;
    }
    s->out = out ? fopen(out, "w") : stdout;
    if (!s->out) {
        mete__say("cannot write %s: %s", out, strerror(errno));
        return METE__EXIT_FAILED;
    }
    s->first = 1;
    int code = is_table(in) ? score_records(s) : score_lines(s);
    bool bad = fflush(s->out) != 0;
    if (out && fclose(s->out))
        bad = true;
    if (bad && !code) {
        mete__say("cannot write %s: %s", out ? out : "standard output", strerror(errno));
        code = METE__EXIT_FAILED;
    }
    if (!code && !s->args->quiet)
        mete__score_summary(&s->scoring.sum, s->args->json, now() - start, stderr);
    return code;
}

static int
score(mete__config *config, const mete__args *args)
{
    mete__errors errors = {0};
    struct scorer s = {.args = args};
    mete__engine_options options = {.log = mete__log_stderr, .seed = 1};
    options.threads = mete__threads(args, config, &errors);
    int code = METE__EXIT_INPUT;
    if (mete__scoring_open(&s.scoring, config, args->operand[0], &options, args->nodes, &errors))
        code = score_file(&s);
    mete__report(&errors);
    mete_buffer_free(&s.lines);
    free(s.begin);
    free(s.number);
    if (s.reader)
        mete__reader_close(s.reader);
    mete__scoring_close(&s.scoring);
    return code;
}

int
mete__command_score(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "set seed threads json out in quiet nodes strict", 1, 1, usage,
                         &args, &code))
        return code;
    mete__config *config = mete__read_config(&args, args.operand[0]);
    code = config ? score(config, &args) : METE__EXIT_INPUT;
    if (config)
        mete__config_free(config);
    mete__args_free(&args);
    return code;
}
