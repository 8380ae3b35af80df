/* token_nfc.c - Unicode's normalisation form C (Unicode Standard Annex 15), by utf8proc, with a map
 * back to the bytes it came from.
 *
 * A text is cut at code points that never join what is before them; a cut part that NFC does not
 * change is copied, so most texts are looked at once and stay where they are.
 */
#include "text/token.h"

#include <stdlib.h>

#include <utf8proc.h>

void
mete__nfc_free(mete__nfc *nfc)
{
    mete_buffer_free(&nfc->text);
    free(nfc->change);
    free(nfc->code);
    *nfc = (mete__nfc){0};
}

/* Code points of combining class 0 that still bear on what is before them: vowel signs and Hangul's
 * medials and finals join it (NFC_Quick_Check=Maybe), three Tibetan vowels decompose to marks. */
static bool
joins_back(uint32_t code)
{
    static const uint32_t vowels[] = {
        0x9be,   0x9d7,   0xb3e,   0xb56,   0xb57,   0xbbe,   0xbd7,   0xcc2,   0xcd5,   0xcd6,
        0xd3e,   0xd57,   0xdcf,   0xddf,   0xf73,   0xf75,   0xf81,   0x102e,  0x1b35,  0x11127,
        0x1133e, 0x11357, 0x113b8, 0x113bb, 0x113c2, 0x113c5, 0x113c7, 0x113c8, 0x113c9, 0x114b0,
        0x114ba, 0x114bd, 0x115af, 0x11930, 0x16d63, 0x16d67, 0x16d68, 0x1611e, 0x1611f, 0x16120,
        0x16121, 0x16122, 0x16123, 0x16124, 0x16125, 0x16126, 0x16127, 0x16128, 0x16129};
    if ((code >= 0x1161 && code <= 0x1175) || (code >= 0x11a8 && code <= 0x11c2))
        return true;
    for (size_t i = 0; i < sizeof vowels / sizeof *vowels; i++)
        if (vowels[i] == code)
            return true;
    return false;
}

static bool
starts_part(uint32_t code)
{
    return code < 0x300 || (utf8proc_get_property((utf8proc_int32_t)code)->combining_class == 0 &&
                            !joins_back(code));
}

/* Byte of the first code point from U+0300 on, where normalising may begin to matter; the one
 * before it is included. */
static size_t
plain_bytes(mete_text text)
{
    size_t at = 0, previous = 0;
    while (at < text.length && (unsigned char)text.data[at] < 0xcc) {
        previous = at;
        at += (unsigned char)text.data[at] < 0x80 ? 1 : 2;
    }
    return at < text.length ? previous : text.length;
}

static unsigned
class_of(int32_t code)
{
    return (unsigned)utf8proc_get_property(code)->combining_class & 0xff;
}

/* Puts a run of marks in the order of their classes, equals as they stand: a counting sort, so no
 * run is slow. `spare` has room for as many. */
static void
order_marks(int32_t *code, size_t count, int32_t *spare)
{
    uint32_t place[257] = {0};
    for (size_t i = 0; i < count; i++)
        place[class_of(code[i]) + 1]++;
    for (size_t c = 1; c < 257; c++)
        place[c] += place[c - 1];
    for (size_t i = 0; i < count; i++)
        spare[place[class_of(code[i])]++] = code[i];
    memcpy(code, spare, count * sizeof *code);
}

/* The canonical decomposition of a part, in canonical order; its length, or -1. */
static utf8proc_ssize_t
decompose(mete__nfc *nfc, mete_text part)
{
    utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    size_t most = 4 * part.length + 4; /* no canonical decomposition is of more than 4 */
    if (nfc->codes < most) {
        int32_t *code = realloc(nfc->code, 4 * most * sizeof *code);
        if (!code)
            return -1;
        nfc->code = code;
        nfc->codes = 2 * most; /* and as many for sorting */
    }
    size_t count = 0, marks = 0;
    for (size_t at = 0; at < part.length;) {
        int boundary = 0;
        utf8proc_ssize_t put =
            utf8proc_decompose_char((utf8proc_int32_t)mete_utf8_next(part, &at), nfc->code + count,
                                    (utf8proc_ssize_t)(nfc->codes - count), how, &boundary);
        if (put < 0 || (size_t)put > nfc->codes - count)
            return -1;
        count += (size_t)put;
    }
    for (size_t i = 0; i <= count; i++) {
        if (i < count && class_of(nfc->code[i])) {
            marks++;
            continue;
        }
        if (marks > 1)
            order_marks(nfc->code + i - marks, marks, nfc->code + nfc->codes);
        marks = 0;
    }
    return (utf8proc_ssize_t)count;
}

/* Appends the NFC of a part; 1 where it differs from the part, -1 when out of memory. */
static int
put_part(mete__nfc *nfc, mete_text part)
{
    size_t before = nfc->text.length;
    utf8proc_ssize_t count = decompose(nfc, part);
    if (count >= 0)
        count = utf8proc_normalize_utf32(nfc->code, count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < count; i++)
        mete_buffer_code(&nfc->text, (uint32_t)nfc->code[i]);
    if (count < 0 || nfc->text.status)
        return -1;
    mete_text put = {nfc->text.data + before, nfc->text.length - before};
    return !mete_text_equal(put, part);
}

static int
note_change(mete__nfc *nfc, size_t from, size_t to, size_t source_from, size_t source_to)
{
    if (nfc->changes == nfc->room) {
        size_t room = nfc->room ? 2 * nfc->room : 64;
        mete__change *change = realloc(nfc->change, room * sizeof *change);
        if (!change)
            return -1;
        nfc->change = change;
        nfc->room = room;
    }
    nfc->change[nfc->changes++] = (mete__change){from, to, source_from, source_to};
    return 0;
}

int
mete__nfc_run(mete__nfc *nfc, mete_text text, mete_text *normal)
{
    size_t at = plain_bytes(text);
    *normal = text;
    nfc->changes = nfc->cursor = 0;
    if (at == text.length)
        return 0;
    mete_buffer_clear(&nfc->text);
    if (mete_buffer_text(&nfc->text, mete_text_slice(text, 0, at)))
        return -1;
    while (at < text.length) {
        size_t end = at, from = nfc->text.length;
        mete_utf8_next(text, &end);
        for (size_t next = end; next < text.length; end = next)
            if (starts_part(mete_utf8_next(text, &next)))
                break;
        int changed = put_part(nfc, mete_text_slice(text, at, end));
        if (changed < 0 || (changed && note_change(nfc, from, nfc->text.length, at, end)))
            return -1;
        at = end;
    }
    if (!nfc->changes)
        return 0;
    *normal = mete_buffer_view(&nfc->text);
    return 1;
}

size_t
mete__nfc_source(mete__nfc *nfc, size_t at, bool is_end)
{
    /* Positions come in order but for a few steps back. */
    while (nfc->cursor > 0 && at < nfc->change[nfc->cursor - 1].to)
        nfc->cursor--;
    while (nfc->cursor < nfc->changes && at >= nfc->change[nfc->cursor].to)
        nfc->cursor++;
    const mete__change *next = nfc->cursor < nfc->changes ? &nfc->change[nfc->cursor] : NULL;
    if (next && at > next->from)
        return is_end ? next->source_to : next->source_from;
    if (!nfc->cursor)
        return at;
    const mete__change *last = &nfc->change[nfc->cursor - 1];
    return last->source_to + (at - last->to);
}
