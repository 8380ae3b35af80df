/* place.c - where a quote stands in a text, and the pieces a text falls into. */
#include <mete/text.h>
#include <stdlib.h>

#define MOST_EDIT_STEPS ((size_t)1 << 26)

/* ---- quotes ---------------------------------------------------------------------------------- */

/* A text as it is compared: lower case, one space for white space, plain quotation marks and
 * dashes. Code point i came from byte at[i]; at[count] is the end. */
struct plain {
    uint32_t *code;
    size_t *at;
    size_t count;
};

static uint32_t
plain_code(uint32_t code)
{
    if (mete_code_is_space(code))
        return ' ';
    if ((code >= 0x2018 && code <= 0x201b) || code == '`')
        return '\'';
    if ((code >= 0x201c && code <= 0x201f) || code == 0xab || code == 0xbb)
        return '"';
    if ((code >= 0x2010 && code <= 0x2015) || code == 0x2212)
        return '-';
    return mete_code_lower(code);
}

static int
plain_make(mete_text text, size_t from, struct plain *out)
{
    size_t room = text.length + 1;
    *out = (struct plain){malloc(room * sizeof *out->code), malloc(room * sizeof *out->at), 0};
    if (!out->code || !out->at)
        return METE_ENOMEM;
    while (from < text.length) {
        size_t at = from;
        uint32_t code = plain_code(mete_utf8_next(text, &from));
        if (code == ' ' && out->count && out->code[out->count - 1] == ' ')
            continue;
        out->code[out->count] = code;
        out->at[out->count++] = at;
    }
    out->at[out->count] = text.length;
    return METE_OK;
}

static void
plain_free(struct plain *p)
{
    free(p->code);
    free(p->at);
}

/* Byte at which the quote's last code point ends: white space after it is not of it. */
static size_t
end_of(mete_text text, const struct plain *p, size_t last)
{
    size_t end = p->at[last];
    mete_utf8_next(text, &end);
    return end;
}

static int
find_same(const struct plain *text, const struct plain *quote, size_t *begin, size_t *last)
{
    for (size_t i = 0; i + quote->count <= text->count; i++)
        if (memcmp(text->code + i, quote->code, quote->count * sizeof *quote->code) == 0) {
            *begin = i;
            *last = i + quote->count - 1;
            return 1;
        }
    return 0;
}

/* A row of the table of edits: the distance of the quote's first k code points to the text's up to
 * here, and where in the text that match begins. */
struct cell {
    size_t edits, begin;
};

/* Sellers' search with Ukkonen's cut: rows beyond the last with at most `most` edits are not made.
 */
static int
find_near(const struct plain *text, const struct plain *quote, size_t most, size_t *begin,
          size_t *last, size_t *edits)
{
    size_t rows = quote->count, top = most < rows ? most + 1 : rows, steps = 0;
    struct cell *cell = malloc((rows + 1) * sizeof *cell);
    if (!cell)
        return METE_ENOMEM;
    for (size_t k = 0; k <= rows; k++)
        cell[k] = (struct cell){k, 0};
    *edits = most + 1;
    for (size_t j = 0; j < text->count && steps <= MOST_EDIT_STEPS; j++) {
        struct cell diagonal = {0, j};
        cell[0] = (struct cell){0, j + 1};
        for (size_t k = 1; k <= top; k++) {
            struct cell best = diagonal;
            best.edits += quote->code[k - 1] != text->code[j];
            if (cell[k].edits + 1 < best.edits)
                best = (struct cell){cell[k].edits + 1, cell[k].begin};
            if (cell[k - 1].edits + 1 < best.edits)
                best = (struct cell){cell[k - 1].edits + 1, cell[k - 1].begin};
            diagonal = cell[k];
            cell[k] = best;
        }
        steps += top;
        while (top && cell[top].edits > most)
            top--;
        if (top == rows && cell[rows].edits < *edits && cell[rows].begin <= j) {
            *edits = cell[rows].edits;
            *begin = cell[rows].begin;
            *last = j;
        }
        if (top < rows) {
            top++;
            cell[top] = (struct cell){most + 1, j + 1};
        }
    }
    free(cell);
    return steps > MOST_EDIT_STEPS ? METE_EDATA : *edits <= most;
}

int
mete_text_locate(mete_text text, mete_text quote, size_t from, double least, mete_place *place)
{
    struct plain t, q;
    size_t begin = 0, last = 0, edits = 0;
    int status = plain_make(text, from, &t);
    quote = mete_text_trim(quote);
    if (plain_make(quote, 0, &q))
        status = METE_ENOMEM;
    if (!status && q.count) {
        double room = (1 - least) * (double)q.count + 1e-9;
        status = find_same(&t, &q, &begin, &last);
        if (!status && room >= 1)
            status = find_near(&t, &q, (size_t)room, &begin, &last, &edits);
        if (status > 0)
            *place = (mete_place){t.at[begin], end_of(text, &t, last),
                                  1 - (double)edits / (double)q.count};
    }
    plain_free(&t);
    plain_free(&q);
    return status;
}

/* ---- segments -------------------------------------------------------------------------------- */

/* The kind that a mark ends; -1: none. *wide: it needs no white space after it. */
static int
ends(uint32_t code, int *wide)
{
    *wide = code >= 0x3000;
    switch (code) {
    case '.':
    case '!':
    case '?':
    case 0x2026:
    case 0x3002:
    case 0xff01:
    case 0xff1f:
        return METE_SEGMENT_SENTENCE;
    case ',':
    case ';':
    case ':':
    case 0x2013:
    case 0x2014:
    case 0x3001:
    case 0xff0c:
    case 0xff1a:
    case 0xff1b:
        return METE_SEGMENT_CLAUSE;
    default:
        return -1;
    }
}

static int
closes(uint32_t code)
{
    return code == '"' || code == '\'' || code == ')' || code == ']' || code == 0x2019 ||
           code == 0x201d || code == 0x300d || code == 0xff09;
}

int
mete_segment_next(mete_text text, mete_segment_kind kind, size_t *position, mete_text *segment)
{
    size_t from = *position, at = from;
    int ended = -1, wide = 0, spaced = 0, said = 0;
    if (from >= text.length)
        return 0;
    while (at < text.length) {
        size_t next = at;
        uint32_t code = mete_utf8_next(text, &next);
        if (mete_code_is_space(code)) {
            int line = code == '\n' ? METE_SEGMENT_LINE : METE_SEGMENT_WORD;
            spaced = 1;
            ended = line > ended ? line : ended;
        } else {
            if (said && ended >= (int)kind && (spaced || wide) && !(wide && closes(code)))
                break;
            int mark, is_wide;
            mark = ends(code, &is_wide);
            if (mark < 0 && closes(code) && ended > 0 && !spaced)
                mark = ended;
            else
                wide = is_wide && mark >= (int)kind;
            ended = mark;
            spaced = 0;
            said = 1;
        }
        at = next;
    }
    *segment = mete_text_slice(text, from, at);
    *position = at;
    return 1;
}
