/* utf8.c - UTF-8: checking, walking, lower case.
 *
 * The table of well-formed sequences is Unicode's table 3-7. A bad byte counts as one U+FFFD, so
 * every walk ends and no byte is lost.
 */
#include <mete/text.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Length of the sequence at p, or 0 when it is not well formed. */
static inline size_t
sequence(const unsigned char *p, size_t left)
{
    unsigned lead = p[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2)
        return 0;
    if (lead < 0xe0)
        return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if (lead < 0xf0) {
        unsigned low = lead == 0xe0 ? 0xa0 : 0x80;
        unsigned high = lead == 0xed ? 0x9f : 0xbf;
        return left >= 3 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (lead < 0xf5) {
        unsigned low = lead == 0xf0 ? 0x90 : 0x80;
        unsigned high = lead == 0xf4 ? 0x8f : 0xbf;
        return left >= 4 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 &&
                       (p[3] & 0xc0) == 0x80
                   ? 4
                   : 0;
    }
    return 0;
}

/* Bytes below 0x80 at the front, counted in steps of 16 or 8. */
static inline size_t
ascii_run(const unsigned char *p, size_t left)
{
    size_t at = 0;
#ifdef __SSE2__
    for (; at + 16 <= left; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
        unsigned high = (unsigned)_mm_movemask_epi8(block);
        if (high)
            return at + (unsigned)__builtin_ctz(high);
    }
#else
    for (; at + 8 <= left; at += 8) {
        uint64_t word;
        memcpy(&word, p + at, 8);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
#endif
    while (at < left && p[at] < 0x80)
        at++;
    return at;
}

size_t
mete_utf8_check(mete_text text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    size_t at = 0;
    while (at < text.length) {
        if (p[at] < 0x80) {
            at += ascii_run(p + at, text.length - at);
            continue;
        }
        size_t step = sequence(p + at, text.length - at);
        if (step == 0)
            return at;
        at += step;
    }
    return at;
}

uint32_t
mete_utf8_next(mete_text text, size_t *position)
{
    const unsigned char *p = (const unsigned char *)text.data + *position;
    size_t step = sequence(p, text.length - *position);
    *position += step ? step : 1;
    switch (step) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default:
        return 0xfffd;
    }
}

size_t
mete_utf8_count(mete_text text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    size_t at = 0, count = 0;
    while (at < text.length) {
        size_t run = ascii_run(p + at, text.length - at);
        count += run;
        at += run;
        if (at < text.length) {
            size_t step = sequence(p + at, text.length - at);
            at += step ? step : 1;
            count++;
        }
    }
    return count;
}

size_t
mete_utf8_floor(mete_text text, size_t at)
{
    if (at >= text.length)
        return text.length;
    /* A sequence that reaches over `at` starts at most three bytes before it. */
    for (size_t back = 1; back <= 3 && back <= at; back++) {
        size_t start = at - back;
        size_t step = sequence((const unsigned char *)text.data + start, text.length - start);
        if (step > back)
            return start;
        if (((unsigned char)text.data[start] & 0xc0) != 0x80)
            break;
    }
    return at;
}

/* Latin Extended-A pairs upper and lower case as neighbours, even first or odd first. */
static uint32_t
latin_extended_lower(uint32_t code)
{
    if (code == 0x130)
        return 'i';
    if (code == 0x178)
        return 0xff;
    if ((code >= 0x139 && code <= 0x148) || (code >= 0x179 && code <= 0x17e))
        return code & 1 ? code + 1 : code;
    if (code == 0x138 || code == 0x149 || code == 0x17f)
        return code;
    return code & 1 ? code : code + 1;
}

static uint32_t
greek_lower(uint32_t code)
{
    if (code == 0x386)
        return 0x3ac;
    if (code >= 0x388 && code <= 0x38a)
        return code + 37;
    if (code == 0x38c)
        return 0x3cc;
    if (code == 0x38e || code == 0x38f)
        return code + 63;
    if (code >= 0x391 && code <= 0x3ab && code != 0x3a2)
        return code + 32;
    return code;
}

uint32_t
mete_code_lower(uint32_t code)
{
    if (code < 0x80)
        return code >= 'A' && code <= 'Z' ? code + 32 : code;
    if (code < 0x100)
        return code >= 0xc0 && code <= 0xde && code != 0xd7 ? code + 32 : code;
    if (code < 0x180)
        return latin_extended_lower(code);
    if (code >= 0x386 && code <= 0x3ab)
        return greek_lower(code);
    if (code >= 0x400 && code <= 0x40f)
        return code + 80;
    if (code >= 0x410 && code <= 0x42f)
        return code + 32;
    if (code >= 0x460 && code <= 0x481)
        return code | 1;
    return code;
}

int
mete_code_is_space(uint32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= '\t' && code <= '\r');
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
           code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

int
mete_lower(mete_text text, mete_buffer *out)
{
    const unsigned char *p = (const unsigned char *)text.data;
    /* Lower case is never longer: of what mete_code_lower maps, none grows in UTF-8. */
    int status = mete_buffer_reserve(out, text.length);
    for (size_t at = 0; at < text.length && status == METE_OK;) {
        if (p[at] < 0x80) {
            size_t run = ascii_run(p + at, text.length - at);
            char *to = out->data + out->length;
            for (size_t i = 0; i < run; i++) {
                unsigned char byte = p[at + i];
                to[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
            }
            to[run] = '\0';
            out->length += run;
            at += run;
            continue;
        }
        size_t step = sequence(p + at, text.length - at), next = at;
        uint32_t code = mete_utf8_next(text, &next);
        if (step == 0)
            status = mete_buffer_append(out, p + at, 1);
        else
            status = mete_buffer_code(out, mete_code_lower(code));
        at = next;
    }
    return status;
}
