/* fuzz_reader.c - any bytes as a data file: no crash, no hang, and counts that add up.
 *
 * The first byte chooses the format and the policy, the rest is the file. What is read of text also
 * goes through the helpers that read model text: words, numbers, normal forms.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create */
#endif

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

static void
read_text(mete_text text)
{
    mete_buffer out = {0};
    mete_number number;
    mete_word word;
    for (size_t from = 0; mete_number_find(text, from, METE_NUMBER_ALL, &number);) {
        require(number.length > 0 && number.start >= from && isfinite(number.value));
        require(number.start + number.length <= text.length);
        from = number.start + number.length;
    }
    for (size_t at = 0, before = 0; mete_word_next(text, METE_WORDS_PUNCTUATION, &at, &word);) {
        require(word.text.length > 0 && at > before);
        before = at;
    }
    require(mete_normalise(text, METE_NORMAL_SQUAD, &out) == METE_OK);
    require(mete_utf8_count(text) <= text.length);
    mete_buffer_free(&out);
}

static void
read_file(const char *path, const mete__read_options *options)
{
    mete_error err = {0, ""};
    const mete__record *record;
    uint64_t records = 0, offset = 0, line = 0;
    mete__reader *reader = mete__reader_open(path, options, &err);
    if (!reader)
        return;
    for (int errors = 0; errors < 100;) {
        int got = mete__reader_next(reader, &record, &err);
        if (got == 0)
            break;
        require(got == 1 || err.message[0] != '\0');
        if (got < 0) {
            if (got != METE_EDATA)
                break;
            errors++;
            continue;
        }
        require(record->line > line || line == 0);
        require(record->offset >= offset);
        line = record->line;
        offset = record->offset;
        records++;
        for (size_t i = 0; i < record->fields; i++)
            read_text(record->field[i].text);
    }
    require(records == mete__reader_records(reader));
    mete__reader_close(reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mete__map map[] = {{{"prompt", 6}, {"question", 8}}, {{"x", 1}, {"a.b.0", 5}}};
    char path[40];
    if (size == 0)
        return 0;
    mete__read_options options = {.format = (mete__format)(data[0] % 4),
                                  .skip = data[0] & 4,
                                  .map = map,
                                  .maps = data[0] & 8 ? 2 : 0,
                                  .limit = data[0] & 16 ? 64 : 1 << 20};
    int fd = memfd_create("fuzz", 0);
    if (fd < 0)
        return 0;
    ssize_t wrote = size > 1 ? write(fd, data + 1, size - 1) : 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (wrote == (ssize_t)size - 1)
        read_file(path, &options);
    close(fd);
    return 0;
}
