/* test_reader.c - streams of records: formats, gzip, bad records, maps, limits, seeking.
 *
 * Each test writes its file in a fresh temporary folder; gzip files are made here with zlib.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "text/reader.h"

static char folder[200];

static int
start(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/mete-reader-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) == NULL;
}

static int
stop(void)
{
    return rmdir(folder);
}

static mete_text
t(const char *string)
{
    return mete_text_from(string);
}

/* The path of a file of these bytes; one at a time. */
static const char *
file(const char *name, const void *data, size_t length)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(fwrite(data, 1, length, f), length);
    fclose(f);
    return path;
}

static const char *
text_file(const char *name, const char *text)
{
    return file(name, text, strlen(text));
}

/* Appends one gzip member. */
static void
zip(mete_buffer *out, const char *text, size_t length)
{
    z_stream z = {0};
    unsigned char packed[4096];
    CU_ASSERT_EQUAL_FATAL(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (unsigned)length;
    int rc;
    do {
        z.next_out = packed;
        z.avail_out = sizeof packed;
        rc = deflate(&z, Z_FINISH);
        mete_buffer_append(out, packed, sizeof packed - z.avail_out);
    } while (rc == Z_OK);
    deflateEnd(&z);
}

/* Reads all, joining the values of `key` with '|'; returns the last status. */
static int
read_all(mete__reader *reader, const char *key, mete_buffer *out, mete_error *err)
{
    const mete__record *record;
    int got;
    mete_buffer_clear(out);
    while ((got = mete__reader_next(reader, &record, err)) > 0) {
        const mete__field *field = mete__record_find(record, t(key));
        mete_buffer_text(out, field ? field->text : t("-"));
        mete_buffer_byte(out, '|');
    }
    return got;
}

static void
check(const char *path, const mete__read_options *options, const char *key, const char *expected,
      const char *message)
{
    mete_error err = {0, ""};
    mete_buffer out = {0};
    mete__reader *reader = mete__reader_open(path, options, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(reader);
    int got = read_all(reader, key, &out, &err);
    mete_text view = mete_buffer_view(&out);
    CU_ASSERT(mete_text_is(view, expected));
    if (message) {
        CU_ASSERT(got < 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.message, message));
        if (!strstr(err.message, message))
            CU_FAIL(err.message);
    } else {
        CU_ASSERT_EQUAL(got, 0);
    }
    mete__reader_close(reader);
    mete_buffer_free(&out);
    unlink(path);
}

static void
test_jsonl(void)
{
    check(text_file("a.jsonl", "{\"a\":1}\n\n  \t\r\n{\"a\":\"x\"}\r\n{\"a\":[2]}"), NULL, "a",
          "1|x|[2]|", NULL);
    check(text_file("bom.jsonl", "\xef\xbb\xbf{\"a\":1}\n"), NULL, "a", "1|", NULL);
    check(text_file("empty.jsonl", ""), NULL, "a", "", NULL);
    check(text_file("blank.jsonl", "\n\n \n"), NULL, "a", "", NULL);
    check(text_file("one", "x"), NULL, "a", "", ":1: ");
}

static void
test_messages(void)
{
    check(text_file("a.jsonl", "{\"a\":1}\n\n{\"a\":01}\n"), NULL, "a", "1|",
          "a.jsonl:3: byte 7: a number must not start with 0");
    check(text_file("torn.jsonl", "{\"a\":1}\n{\"a\":"), NULL, "a", "1|",
          "torn.jsonl:2: the last line has no newline and may be cut short: byte 6: ");
    check(file("nul.jsonl", "{\"a\":\"\0\"}\n", 10), NULL, "a", "", "nul.jsonl:1: byte 7: ");
    check(text_file("bad.jsonl", "{\"a\":\"\xff\"}\n"), NULL, "a", "", "is not UTF-8");
    check(text_file("array.jsonl", "[1]\n"), NULL, "a", "", "array.jsonl:1: byte 1: ");
    mete_error err = {0, ""};
    CU_ASSERT_PTR_NULL(mete__reader_open("/nonexistent/x", NULL, &err));
    CU_ASSERT_EQUAL(err.code, METE_EIO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "/nonexistent/x: cannot open"));
    CU_ASSERT_PTR_NULL(mete__reader_open("/", NULL, &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "it is a folder"));
}

static void
note_skip(void *user, const char *message)
{
    mete_buffer_string(user, message);
    mete_buffer_byte(user, '\n');
}

/* One bad line among many: found, named, and all others read. */
static void
test_one_bad_line(void)
{
    enum { N = 20000, BAD = 12345 };
    mete_buffer b = {0}, notes = {0};
    for (int i = 1; i <= N; i++)
        mete_buffer_format(&b, i == BAD ? "{\"i\":%d,}\n" : "{\"i\":%d}\n", i);
    const char *path = file("many.jsonl", b.data, b.length);
    mete__read_options options = {.skip = true, .on_skip = note_skip, .user = &notes};
    mete_error err = {0, ""};
    mete__reader *reader = mete__reader_open(path, &options, &err);
    const mete__record *record;
    double sum = 0;
    while (mete__reader_next(reader, &record, &err) > 0) {
        CU_ASSERT_EQUAL(record->line, (uint64_t)record->field[0].number);
        sum += record->field[0].number;
    }
    CU_ASSERT_EQUAL(sum, (double)N * (N + 1) / 2 - BAD);
    CU_ASSERT_EQUAL(mete__reader_records(reader), N - 1);
    CU_ASSERT_EQUAL(mete__reader_skipped(reader), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(notes.data, "many.jsonl:12345: byte 12: "));
    mete__reader_close(reader);

    /* Without skipping it is an error, after which reading may go on. */
    reader = mete__reader_open(path, NULL, &err);
    int got, errors = 0;
    while ((got = mete__reader_next(reader, &record, &err)) != 0)
        errors += got == METE_EDATA;
    CU_ASSERT_EQUAL(errors, 1);
    CU_ASSERT_EQUAL(mete__reader_records(reader), N - 1);
    mete__reader_close(reader);
    unlink(path);
    mete_buffer_free(&b);
    mete_buffer_free(&notes);
}

static void
test_csv(void)
{
    check(text_file("a.csv", "a,b\n1,2\r\n\"x,\"\"y\"\"\nz\",3\n,\n"), NULL, "a", "1|x,\"y\"\nz||",
          NULL);
    check(text_file("a.csv", "a,b\n1,2\r\n\"x\",\"\"\n,last"), NULL, "b", "2||last|", NULL);
    check(text_file("bom.csv", "\xef\xbb\xbf\"a\",b\r\n\r\n1,2\r\n"), NULL, "a", "1|", NULL);
    check(text_file("header.csv", "a,b\n"), NULL, "a", "", NULL);
    check(text_file("empty.csv", ""), NULL, "a", "", NULL);
    check(text_file("a.tsv", "a\tb\n\"x\t2\n1,5\t\"\"\n"), NULL, "a", "\"x|1,5|", NULL);
    check(text_file("utf.csv", "a\n\xc3\xa9\n"), NULL, "a", "\xc3\xa9|", NULL);
}

static void
test_csv_faults(void)
{
    mete__read_options skip = {.skip = true};
    check(text_file("a.csv", "a,b\n1,2\n3\n"), NULL, "a", "1|",
          "a.csv:3: the row has 1 fields, the header has 2");
    check(text_file("a.csv", "a,b\n1,2\n\n3,4,5\n"), NULL, "a", "1|", "a.csv:4: the row has 3");
    check(text_file("a.csv", "a,a\n"), NULL, "a", "", "a.csv:1: the column \"a\" stands twice");
    check(text_file("a.csv", "a\nx\"y\n"), NULL, "a", "", "a.csv:2: byte 1: a quote in a field");
    check(text_file("a.csv", "a\n\"x\"y\n"), NULL, "a", "",
          "a.csv:2: byte 4: something follows a closing quote");
    check(file("a.csv", "a\nx\0y\n", 6), NULL, "a", "", "a.csv:2: byte 2: a NUL byte");
    check(text_file("a.csv", "a\n\xff\n"), NULL, "a", "", "is not UTF-8");
    check(text_file("a.csv", "a\n1\n\"x\n2\n"), NULL, "a", "1|",
          "a.csv:3: a quoted field does not end");
    /* Only the line with the open quote is lost. */
    check(text_file("a.csv", "a\n1\n\"x\n2\n3\n"), &skip, "a", "1|2|3|", NULL);
    check(text_file("a.csv", "a\n1\nx\"\n\"2\n2\"\n3"), &skip, "a", "1|2\n2|3|", NULL);
}

static void
test_gzip(void)
{
    mete_buffer b = {0};
    zip(&b, "{\"a\":1}\n{\"a\"", 12);
    zip(&b, ":2}\n", 4);
    zip(&b, "", 0);
    zip(&b, "{\"a\":3}", 7);
    /* By its bytes, whatever its name. */
    check(file("plain.jsonl", b.data, b.length), NULL, "a", "1|2|3|", NULL);
    mete_buffer_append(&b, "\0\0\0\0", 4);
    check(file("padded.gz", b.data, b.length), NULL, "a", "1|2|3|", NULL);
    mete_buffer_string(&b, "junk");
    check(file("junk.gz", b.data, b.length), NULL, "a", "1|2|",
          "junk.gz: there is something else after the gzip data");
    mete_buffer_clear(&b);
    zip(&b, "a,b\n1,2\n", 8);
    check(file("a.csv.gz", b.data, b.length), NULL, "b", "2|", NULL);
    mete_buffer_free(&b);
}

/* Cut anywhere, a gzip file is an error, and what was read before it is right. */
static void
test_gzip_truncated(void)
{
    mete_buffer b = {0};
    zip(&b, "{\"a\":1}\n{\"a\":2}\n", 16);
    for (size_t n = 2; n < b.length; n++) {
        mete_error err = {0, ""};
        const mete__record *record;
        const char *path = file("cut.gz", b.data, n);
        mete__reader *reader = mete__reader_open(path, NULL, &err);
        CU_ASSERT_PTR_NOT_NULL_FATAL(reader);
        int got, records = 0;
        while ((got = mete__reader_next(reader, &record, &err)) > 0)
            CU_ASSERT_EQUAL(record->field[0].number, ++records);
        CU_ASSERT_EQUAL(got, METE_EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "cut.gz: the gzip file is truncated"));
        mete__reader_close(reader);
        unlink(path);
    }
    b.data[b.length / 2] ^= 0x55;
    check(file("hurt.gz", b.data, b.length), NULL, "a", "", "hurt.gz");
    mete_buffer_free(&b);
}

/* Larger than every buffer, so records straddle them. */
static void
test_large(void)
{
    enum { N = 3000 };
    mete_buffer b = {0}, packed = {0};
    for (int i = 0; i < N; i++) {
        mete_buffer_format(&b, "{\"i\":%d,\"pad\":\"", i);
        for (int k = 0; k < i % 700; k++)
            mete_buffer_byte(&b, (char)('a' + k % 26));
        mete_buffer_string(&b, "\"}\n");
    }
    zip(&packed, b.data, b.length);
    CU_ASSERT(b.length > 1000000);
    for (int gzip = 0; gzip < 2; gzip++) {
        const char *path =
            gzip ? file("big", packed.data, packed.length) : file("big", b.data, b.length);
        mete__reader *reader = mete__reader_open(path, NULL, NULL);
        const mete__record *record;
        int i = 0;
        for (; mete__reader_next(reader, &record, NULL) > 0; i++) {
            CU_ASSERT_EQUAL(record->field[0].number, i);
            CU_ASSERT_EQUAL(record->field[1].text.length, (size_t)(i % 700));
        }
        CU_ASSERT_EQUAL(i, N);
        mete__reader_close(reader);
        unlink(path);
    }
    mete_buffer_free(&b);
    mete_buffer_free(&packed);
}

static void
test_limit(void)
{
    enum { LONG = 1 << 20 };
    mete_buffer b = {0};
    mete__read_options tight = {.limit = 20}, loose = {.limit = 2 << 20};
    mete__read_options skip = {.limit = 20, .skip = true};
    mete_buffer_string(&b, "{\"a\":1}\n{\"a\":\"");
    for (int i = 0; i < LONG; i++)
        mete_buffer_byte(&b, 'x');
    mete_buffer_string(&b, "\"}\n{\"a\":3}\n");
    check(file("long", b.data, b.length), &tight, "a", "1|",
          "long:2: the record is longer than the limit of 20 bytes");
    check(file("long", b.data, b.length), &skip, "a", "1|3|", NULL);
    check(text_file("edge", "{\"a\":\"345678901234\"}\n"), &tight, "a", "345678901234|", NULL);
    check(text_file("edge", "{\"a\":\"3456789012345\"}\n"), &tight, "a", "", "edge:1: ");
    const char *path = file("long", b.data, b.length);
    mete__reader *reader = mete__reader_open(path, &loose, NULL);
    const mete__record *record;
    CU_ASSERT_EQUAL(mete__reader_next(reader, &record, NULL), 1);
    CU_ASSERT_EQUAL(mete__reader_next(reader, &record, NULL), 1);
    CU_ASSERT_EQUAL(record->field[0].text.length, LONG);
    mete__reader_close(reader);
    unlink(path);
    mete_buffer_free(&b);
}

static void
test_map(void)
{
    mete__map map[] = {{t("prompt"), t("question")},
                       {t("answer"), t("label.values.0")},
                       {t("a"), t("b")},
                       {t("b"), t("a")},
                       {t("note"), t("meta.n\\")},
                       {t("lost"), t("nowhere")}};
    mete__read_options options = {.map = map, .maps = 6};
    const char *path = text_file(
        "m.jsonl", "{\"question\":\"q\",\"prompt\":\"old\",\"label\":{\"values\":[\"4\\u0032\",7]},"
                   "\"a\":1,\"b\":2,\"lost\":3,\"keep\":4,\"meta\":{\"n\\\\\":\"e\\n\"}}\n");
    mete__reader *reader = mete__reader_open(path, &options, NULL);
    const mete__record *r;
    CU_ASSERT_EQUAL_FATAL(mete__reader_next(reader, &r, NULL), 1);
    CU_ASSERT(mete_text_is(mete__record_find(r, t("prompt"))->text, "q"));
    CU_ASSERT(mete_text_is(mete__record_find(r, t("answer"))->text, "42"));
    CU_ASSERT(mete_text_is(mete__record_find(r, t("note"))->text, "e\n"));
    CU_ASSERT_EQUAL(mete__record_find(r, t("a"))->number, 2);
    CU_ASSERT_EQUAL(mete__record_find(r, t("b"))->number, 1);
    CU_ASSERT_EQUAL(mete__record_find(r, t("keep"))->number, 4);
    CU_ASSERT_PTR_NULL(mete__record_find(r, t("question")));
    CU_ASSERT_PTR_NULL(mete__record_find(r, t("lost")));
    CU_ASSERT_EQUAL(mete__reader_missed(reader, 5), 1);
    CU_ASSERT_EQUAL(mete__reader_missed(reader, 0), 0);
    mete__reader_close(reader);
    unlink(path);
    mete__map one = {t("prompt"), t("q")};
    mete__read_options csv = {.map = &one, .maps = 1};
    check(text_file("m.csv", "id,q\n1,why\n"), &csv, "prompt", "why|", NULL);
}

/* What follows a tell is what a seek to it gives, for each kind of file. */
static void
test_seek(void)
{
    static const char *const body[] = {"{\"a\":\"x\"}\n\n{\"a\":\"y\"}\n{\"a\":\"z\"}\n",
                                       "a\nx\n\"y\"\nz\n"};
    static const char *const name[] = {"s.jsonl", "s.csv"};
    for (int kind = 0; kind < 4; kind++) {
        mete_buffer b = {0}, out = {0};
        const mete__record *record;
        uint64_t offset, line;
        mete_error err = {0, ""};
        if (kind >= 2)
            zip(&b, body[kind % 2], strlen(body[kind % 2]));
        else
            mete_buffer_string(&b, body[kind % 2]);
        const char *path = file(name[kind % 2], b.data, b.length);
        mete__reader *reader = mete__reader_open(path, NULL, &err);
        CU_ASSERT_EQUAL(mete__reader_next(reader, &record, &err), 1);
        mete__reader_tell(reader, &offset, &line);
        CU_ASSERT_EQUAL(read_all(reader, "a", &out, &err), 0);
        CU_ASSERT_STRING_EQUAL(out.data, "y|z|");
        int back = mete__reader_seek(reader, offset, line, &err);
        CU_ASSERT_EQUAL(back, kind < 2 ? METE_OK : METE_ENOTSUP);
        if (kind < 2) {
            CU_ASSERT_EQUAL(mete__reader_next(reader, &record, &err), 1);
            CU_ASSERT_EQUAL(record->line, 3);
        }
        mete__reader_close(reader);
        reader = mete__reader_open(path, NULL, &err);
        CU_ASSERT_EQUAL(mete__reader_seek(reader, offset, line, &err), METE_OK);
        CU_ASSERT_EQUAL(read_all(reader, "a", &out, &err), 0);
        CU_ASSERT_STRING_EQUAL(out.data, "y|z|");
        CU_ASSERT_EQUAL(mete__reader_seek(reader, 0, 1, &err), kind < 2 ? METE_OK : METE_ENOTSUP);
        if (kind < 2) {
            CU_ASSERT_EQUAL(read_all(reader, "a", &out, &err), 0);
            CU_ASSERT_STRING_EQUAL(out.data, "x|y|z|");
        }
        CU_ASSERT(mete__reader_seek(reader, 1000, 99, &err) < 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "before byte 1000"));
        mete__reader_close(reader);
        unlink(path);
        mete_buffer_free(&b);
        mete_buffer_free(&out);
    }
}

static void
test_lines_and_blocks(void)
{
    enum { N = 5000 };
    mete_buffer b = {0}, again = {0};
    for (int i = 0; i < N; i++)
        mete_buffer_format(&b, "{\"i\":%d,\"pad\":\"%0*d\"}\n%s", i, i % 300, i, i % 7 ? "" : "\n");
    b.length--; /* no newline at the end */
    const char *path = file("l.jsonl", b.data, b.length);
    mete__reader *reader = mete__reader_open(path, NULL, NULL);
    mete_text line, block;
    uint64_t number, offset, lines = 1;
    int count = 0;
    while (mete__reader_line(reader, &line, &number, &offset, NULL) > 0) {
        CU_ASSERT(mete_text_equal(line, mete_text_slice(mete_buffer_view(&b), (size_t)offset,
                                                        (size_t)offset + line.length)));
        count++;
    }
    CU_ASSERT_EQUAL(count, N);
    mete__reader_close(reader);
    reader = mete__reader_open(path, NULL, NULL);
    while (mete__reader_block(reader, &block, &number, &offset, NULL) > 0) {
        CU_ASSERT_EQUAL(offset, again.length);
        CU_ASSERT_EQUAL(number, lines);
        for (size_t i = 0; i < block.length; i++)
            lines += block.data[i] == '\n';
        mete_buffer_text(&again, block);
    }
    CU_ASSERT(mete_text_equal(mete_buffer_view(&again), mete_buffer_view(&b)));
    mete__reader_close(reader);
    unlink(path);
    mete_buffer_free(&b);
    mete_buffer_free(&again);
    path = text_file("x.csv", "a\n1\n");
    reader = mete__reader_open(path, NULL, NULL);
    CU_ASSERT_EQUAL(mete__reader_line(reader, &line, NULL, NULL, NULL), METE_ENOTSUP);
    mete__reader_close(reader);
    unlink(path);
}

void
suite_reader(void)
{
    CU_pSuite s = CU_add_suite("reader", start, stop);
    CU_add_test(s, "JSONL", test_jsonl);
    CU_add_test(s, "messages name file, line and byte", test_messages);
    CU_add_test(s, "one bad line among many", test_one_bad_line);
    CU_add_test(s, "CSV and TSV", test_csv);
    CU_add_test(s, "faults in CSV", test_csv_faults);
    CU_add_test(s, "gzip, and members in a row", test_gzip);
    CU_add_test(s, "a truncated gzip file is an error", test_gzip_truncated);
    CU_add_test(s, "files larger than the buffers", test_large);
    CU_add_test(s, "the limit of a record", test_limit);
    CU_add_test(s, "field maps", test_map);
    CU_add_test(s, "tell and seek", test_seek);
    CU_add_test(s, "lines and blocks", test_lines_and_blocks);
}
