/* number.c - numbers as people write them in prose.
 *
 * One left-to-right walk; each try either yields a number or passes over the digits it looked at,
 * so the time is linear. Values are read by the exact decimal reader, and are finite.
 */
#include <math.h>

#include "text/json.h"

enum { LONGEST = 400 }; /* bytes of digits; longer is no number a person wrote */

struct cursor {
    mete_text text;
    size_t at;
    unsigned forms, form;
};

static bool
digit_at(mete_text text, size_t at)
{
    return at < text.length && text.data[at] >= '0' && text.data[at] <= '9';
}

static bool
letter_at(mete_text text, size_t at)
{
    if (at >= text.length)
        return false;
    unsigned char byte = (unsigned char)text.data[at], letter = byte | 0x20;
    return (letter >= 'a' && letter <= 'z') || byte == '_';
}

static bool
has(mete_text text, size_t at, const char *string)
{
    for (; *string; string++, at++)
        if (at >= text.length || text.data[at] != *string)
            return false;
    return true;
}

/* Bytes of the first of `list` that stands at `at`, or 0. */
static size_t
one_of(mete_text text, size_t at, const char *const *list)
{
    if (digit_at(text, at))
        return 0; /* no sign begins with a digit, and most numbers do */
    for (; *list; list++)
        if (has(text, at, *list))
            return strlen(*list);
    return 0;
}

static const char *const minus_signs[] = {"-", "\xe2\x88\x92", NULL};
static const char *const currencies[] = {"$", "\xc2\xa3", "\xe2\x82\xac", "\xc2\xa5", NULL};
static const char *const times_signs[] = {"x", "X", "*", "\xc3\x97", NULL};

static size_t
skip_digits(mete_text text, size_t at)
{
    while (digit_at(text, at))
        at++;
    return at;
}

static size_t
skip_blanks(mete_text text, size_t at)
{
    while (at < text.length && text.data[at] == ' ')
        at++;
    return at;
}

/* The end of 1,234,567 from `at`, whose first group ends at `end`; `end` when it is not so. */
static size_t
thousands_end(mete_text text, size_t at, size_t end)
{
    size_t last = end;
    if (end - at > 3 || end == at)
        return end;
    while (last - at < LONGEST && last < text.length && text.data[last] == ',' &&
           skip_digits(text, last + 1) == last + 4)
        last += 4;
    /* 1,234,5678 is a list, not a number. */
    return last < text.length && text.data[last] == ',' && digit_at(text, last + 1) ? end : last;
}

/* A decimal of at most 15 digits: both its digits and the power of ten are exact in a double, so
 * one division rounds right (Clinger 1990, "How to read floating point numbers accurately"). */
static bool
read_short(mete_text text, size_t from, size_t to, double *value)
{
    static const double ten[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    uint64_t digits = 0;
    size_t count = 0, after = 0;
    bool point = false;
    for (; from < to; from++) {
        char byte = text.data[from];
        if (byte == '.') {
            point = true;
        } else if (byte != ',') {
            digits = 10 * digits + (uint64_t)(byte - '0');
            after += point;
            if (++count > 15)
                return false;
        }
    }
    *value = (double)digits / ten[after];
    return true;
}

/* Reads bytes [from, to), commas left out, times a power of ten. */
static bool
read_plain(mete_text text, size_t from, size_t to, double scale, double *value)
{
    char copy[LONGEST + 40];
    size_t n = 0;
    if (to - from > LONGEST)
        return false;
    if (scale == 0 && read_short(text, from, to, value))
        return true;
    for (; from < to; from++)
        if (text.data[from] != ',')
            copy[n++] = text.data[from];
    if (scale != 0) {
        copy[n++] = 'e';
        n += mete__number_write(copy + n, scale);
    }
    *value = mete__number_read(copy, n);
    return isfinite(*value);
}

/* The digits from `at` to `end` as a power of ten; far beyond any double when there are many. */
static double
power(mete_text text, size_t at, size_t end)
{
    double value = 0;
    for (; at < end && value < 1e5; at++)
        value = value * 10 + (text.data[at] - '0');
    return value;
}

/* e+05 after the digits, or x 10^5. Returns where it ends, or `at`. */
static size_t
exponent_end(struct cursor *c, size_t at, double *scale)
{
    mete_text text = c->text;
    *scale = 0;
    if (!(c->forms & METE_NUMBER_EXPONENT) || at >= text.length)
        return at;
    if ((text.data[at] | 0x20) == 'e') {
        size_t minus = one_of(text, at + 1, minus_signs);
        size_t start = at + 1 + (minus ? minus : has(text, at + 1, "+"));
        size_t end = skip_digits(text, start);
        if (end == start || letter_at(text, end))
            return at;
        *scale = minus ? -power(text, start, end) : power(text, start, end);
        c->form |= METE_NUMBER_EXPONENT;
        return end;
    }
    size_t next = skip_blanks(text, at), sign = one_of(text, next, times_signs);
    next = skip_blanks(text, next + sign);
    if (sign == 0 || !has(text, next, "10^"))
        return at;
    bool brace = has(text, next + 3, "{");
    next += 3 + brace;
    size_t minus = one_of(text, next, minus_signs);
    size_t start = next + minus, end = skip_digits(text, start);
    if (end == start || (brace && !has(text, end, "}")))
        return at;
    *scale = minus ? -power(text, start, end) : power(text, start, end);
    c->form |= METE_NUMBER_EXPONENT;
    return end + brace;
}

/* The unsigned decimal at c->at. `whole` says it has neither point nor exponent. */
static bool
decimal(struct cursor *c, double *value, bool *whole)
{
    mete_text text = c->text;
    size_t start = c->at, end = skip_digits(text, start);
    double scale;
    if (c->forms & METE_NUMBER_THOUSANDS) {
        size_t grouped = thousands_end(text, start, end);
        c->form |= grouped > end ? METE_NUMBER_THOUSANDS : 0u;
        end = grouped;
    }
    size_t digits = end;
    if (has(text, end, ".") && digit_at(text, end + 1))
        end = skip_digits(text, end + 1);
    if (end == start)
        return false;
    c->at = exponent_end(c, end, &scale);
    *whole = c->at == digits;
    return read_plain(text, start, end, scale, value);
}

/* /b, or a b/c, after the whole number `value`. */
static void
fraction(struct cursor *c, double *value)
{
    mete_text text = c->text;
    size_t at = c->at;
    double top = *value, bottom, whole = 0;
    if (!(c->forms & METE_NUMBER_FRACTION))
        return;
    if (has(text, at, " ") && digit_at(text, at + 1)) {
        size_t end = skip_digits(text, at + 1);
        if (!has(text, end, "/") || !read_plain(text, at + 1, end, 0, &top))
            return;
        whole = *value;
        at = end;
    }
    size_t end = has(text, at, "/") ? skip_digits(text, at + 1) : at + 1;
    /* 1/2/2024 is a date, and 3/4x or 1/2.5 something else. */
    if (!has(text, at, "/") || end == at + 1 || letter_at(text, end) || has(text, end, "/") ||
        (has(text, end, ".") && digit_at(text, end + 1)) ||
        !read_plain(text, at + 1, end, 0, &bottom) || bottom == 0)
        return;
    *value = whole + top / bottom;
    c->at = end;
    c->form |= METE_NUMBER_FRACTION;
}

static void
suffix(struct cursor *c, double *value)
{
    mete_text text = c->text;
    size_t near = c->at, next = skip_blanks(text, near);
    size_t sign = one_of(text, next, currencies + 1);
    if ((c->forms & METE_NUMBER_CURRENCY) && sign && next - near <= 1 &&
        !digit_at(text, next + sign)) {
        c->at = next + sign;
        c->form |= METE_NUMBER_CURRENCY;
    }
    if (!(c->forms & METE_NUMBER_PERCENT))
        return;
    next = next - near <= 1 ? next : near;
    /* "\%" is how TeX writes it. */
    if (has(text, next, "%") || has(text, next, "\\%"))
        c->at = next + (has(text, next, "%") ? 1 : 2);
    else if (has(text, next, "percent") && !letter_at(text, next + 7))
        c->at = next + 7;
    else
        return;
    *value /= 100;
    c->form |= METE_NUMBER_PERCENT;
}

/* Is there, before `at`, what makes a number there part of a word? */
static bool
glued(mete_text text, size_t at)
{
    return at > 0 && (letter_at(text, at - 1) || digit_at(text, at - 1));
}

/* A number that starts exactly at `at`, signs included. */
static bool
number_at(struct cursor *c, size_t at, mete_number *number)
{
    mete_text text = c->text;
    bool whole = false;
    double value;
    if (glued(text, at))
        return false;
    c->at = at;
    c->form = 0;
    size_t minus = one_of(text, at, minus_signs);
    c->at += minus ? minus : has(text, at, "+");
    size_t sign = one_of(text, c->at, currencies);
    if (sign && !(c->forms & METE_NUMBER_CURRENCY))
        return false;
    if (sign) {
        c->at += sign;
        c->form |= METE_NUMBER_CURRENCY;
        size_t inner = minus ? 0 : one_of(text, c->at, minus_signs);
        c->at += inner;
        minus = minus ? minus : inner;
    }
    if (!decimal(c, &value, &whole))
        return false;
    if (whole)
        fraction(c, &value);
    suffix(c, &value);
    number->value = minus ? -value : value;
    number->start = at;
    number->length = c->at - at;
    number->form = c->form;
    return true;
}

/* Bytes a number may start with: digits, a point, signs, currencies; also of several bytes. */
static bool
may_start(unsigned char byte)
{
    return (unsigned char)(byte - '0') < 10 || byte == '.' || byte == '-' || byte == '+' ||
           byte == '$' || byte >= 0xc2;
}

int
mete_number_find(mete_text text, size_t from, unsigned forms, mete_number *number)
{
    struct cursor c = {text, 0, forms, 0};
    for (size_t at = from; at < text.length;) {
        /* letters and blanks, most of any text, are one test; '$' to '.' is 0x24 to 0x2e */
        unsigned char byte = (unsigned char)text.data[at];
        if (byte < '$' || (byte > '9' && byte < 0xc2)) {
            at++;
            continue;
        }
        if (may_start(byte) && number_at(&c, at, number))
            return 1;
        at = digit_at(text, at) ? skip_digits(text, at) : at + 1;
    }
    return 0;
}

/* A place before `end`, at least `back` bytes if there are so many, where no number can be cut:
 * between two letters. (The words of a number, percent, follow all its digits.) */
static size_t
safe_start(mete_text text, size_t end, size_t back)
{
    size_t at = end > back ? end - back : 0;
    while (at > 0 && !(letter_at(text, at) && letter_at(text, at - 1)))
        at--;
    return at;
}

/* Reads from ever further back until a number is found: most texts end near theirs. */
int
mete_number_last(mete_text text, unsigned forms, mete_number *number)
{
    mete_number next;
    size_t end = text.length;
    while (end > 0 && !digit_at(text, end - 1))
        end--; /* every number has a digit */
    for (size_t back = 16; end > 0; back *= 8) {
        int found = 0;
        size_t start = safe_start(text, end, back);
        for (size_t from = start; mete_number_find(text, from, forms, &next); found = 1) {
            *number = next;
            from = next.start + next.length;
        }
        if (found || start == 0)
            return found;
    }
    return 0;
}

int
mete_number_parse(mete_text text, unsigned forms, double *value)
{
    mete_number number;
    text = mete_text_trim(text);
    if (!mete_number_find(text, 0, forms, &number) || number.start != 0)
        return 0;
    size_t end = number.length;
    end += has(text, end, ".");
    if (end != text.length)
        return 0;
    *value = number.value;
    return 1;
}
