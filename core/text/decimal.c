/* decimal.c - doubles to and from decimal text, exactly and whatever the locale.
 *
 * Reading: Clinger's fast path (1990) where the digits fit 53 bits and the power of ten is exact;
 * otherwise strtod in the C locale on a bounded copy. 800 digits and a sticky one decide any
 * rounding, as a double's midpoint has at most 768. Writing: short decimals by exact division, the
 * rest by the fewest of 15 to 17 digits that read back the same, as printf writes them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strtod_l */
#endif

#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/json.h"

enum { DIGITS_KEPT = 800 };

static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void
make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* strtod, where a comma for the decimal point cannot happen. */
static double
read_c(const char *string)
{
    pthread_once(&c_locale_once, make_c_locale);
    return c_locale ? strtod_l(string, NULL, c_locale) : strtod(string, NULL);
}

/* Rewrites the number as digits and one exponent, so its length is bounded. */
static double
read_slow(const char *p, const char *end, bool negative)
{
    char copy[DIGITS_KEPT + 40];
    size_t kept = 0;
    long long scale = 0, exponent = 0;
    bool point = false, sticky = false;

    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        scale -= point;
        if (kept == 0 && *p == '0')
            continue;
        if (kept < DIGITS_KEPT) {
            copy[kept++] = *p;
        } else {
            scale++;
            sticky = sticky || *p != '0';
        }
    }
    if (kept == 0)
        return negative ? -0.0 : 0.0;
    if (sticky)
        copy[kept - 1] |= 1; /* never falls on a midpoint: see above */
    if (p < end) {
        bool down = false;
        p++;
        if (p < end && (*p == '-' || *p == '+'))
            down = *p++ == '-';
        for (; p < end; p++)
            if (exponent < 1000000000)
                exponent = exponent * 10 + (*p - '0');
        exponent = down ? -exponent : exponent;
    }
    snprintf(copy + kept, sizeof copy - kept, "e%lld", exponent + scale);
    double value = read_c(copy);
    return negative ? -value : value;
}

double
mete__number_read(const char *text, size_t length)
{
    const char *p = text, *end = text + length;
    bool negative = false;
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    const char *start = p;
    uint64_t mantissa = 0;
    int digits = 0, scale = 0, exponent = 0;

    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        mantissa = mantissa * 10 + (uint64_t)(*p - '0');
        digits += mantissa != 0;
        if (digits > 18)
            return read_slow(start, end, negative);
    }
    if (p < end && *p == '.')
        for (p++; p < end && *p >= '0' && *p <= '9'; p++) {
            mantissa = mantissa * 10 + (uint64_t)(*p - '0');
            digits += mantissa != 0;
            scale--;
            if (digits > 18 || scale < -400)
                return read_slow(start, end, negative);
        }
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool down = false;
        p++;
        if (p < end && (*p == '-' || *p == '+'))
            down = *p++ == '-';
        for (; p < end && *p >= '0' && *p <= '9'; p++)
            if ((exponent = exponent * 10 + (*p - '0')) > 10000)
                return read_slow(start, end, negative);
        exponent = down ? -exponent : exponent;
    }
    scale += exponent;
    if (mantissa > (UINT64_C(1) << 53) || scale < -22 || scale > 22)
        return read_slow(start, end, negative);
    double value = (double)mantissa;
    value = scale < 0 ? value / power_of_ten[-scale] : value * power_of_ten[scale];
    return negative ? -value : value;
}

static size_t
write_integer(char *out, uint64_t value)
{
    char reversed[20];
    size_t n = 0;
    do
        reversed[n++] = (char)('0' + value % 10);
    while (value /= 10);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

/* A number of at most 15 digits, `places` of them after the point: n / 10^places is rounded once,
 * so when it is the number, its decimal reads back as it. 0 when it has no such form. */
static size_t
write_short(char *out, double number)
{
    double size = fabs(number);
    if (!(size < 1e15) || (size != 0 && size < 1e-5))
        return 0;
    for (int places = 0; places <= 12; places++) {
        double scaled = size * power_of_ten[places];
        if (scaled >= 1e15)
            return 0;
        uint64_t whole = (uint64_t)(scaled + 0.5);
        if ((double)whole / power_of_ten[places] != size)
            continue;
        size_t n = 0;
        if (signbit(number))
            out[n++] = '-';
        uint64_t unit = (uint64_t)power_of_ten[places];
        n += write_integer(out + n, whole / unit);
        if (places) {
            out[n++] = '.';
            uint64_t rest = whole % unit;
            for (int i = 0; i < places; i++) {
                unit /= 10;
                out[n++] = (char)('0' + rest / unit % 10);
            }
        }
        return n;
    }
    return 0;
}

/* Digits with `places` of them after the point, zeros at the end left out. */
static size_t
put_point(char *out, uint64_t digits, int places)
{
    char text[24];
    size_t n = 0, length = write_integer(text, digits), after = (size_t)places;
    if (length <= after) {
        out[n++] = '0';
        out[n++] = '.';
        for (size_t i = length; i < after; i++)
            out[n++] = '0';
        memcpy(out + n, text, length);
        n += length;
    } else {
        memcpy(out, text, length - after);
        out[length - after] = '.';
        memcpy(out + length - after + 1, text + length - after, after);
        n = length + 1;
    }
    while (out[n - 1] == '0')
        n--;
    return n - (out[n - 1] == '.');
}

/* What printf would give of 15 to 17 digits, by arithmetic of 64 bits: `scaled` holds 17 digits
 * before its point and is off by at most 2^-8, so whatever is decided by more than sure is right.
 * 0 when something is closer than that, or the form is not fixed. */
static size_t
write_fixed(char *out, double number)
{
#if LDBL_MANT_DIG == 64
    const long double sure = 0x1p-6L;
    double size = fabs(number);
    int exponent, places = 20;
    if (!(size >= 1e-4 && size < 1e15) || frexp(size, &exponent) == 0.5)
        return 0;
    long double scaled = (long double)size * 1e20L;
    for (; scaled >= 1e17L; places--)
        scaled = (long double)size * (long double)power_of_ten[places - 1];
    /* Half the distance to the next double, on that scale. */
    long double half = ldexpl((long double)power_of_ten[places], exponent - 54);
    uint64_t unit = 100;
    for (int digits = 15; digits <= 17; digits++, unit /= 10) {
        uint64_t below = (uint64_t)scaled / unit;
        long double rest = scaled - (long double)(below * unit), middle = (long double)unit / 2;
        if (fabsl(rest - middle) < sure)
            return 0;
        uint64_t rounded = below + (rest > middle);
        long double off = fabsl((long double)(rounded * unit) - scaled);
        if (fabsl(off - half) < sure || rounded * unit >= UINT64_C(100000000000000000))
            return 0;
        if (off > half)
            continue;
        size_t sign = number < 0;
        out[0] = '-';
        return sign + put_point(out + sign, rounded, places - (17 - digits));
    }
#else
    (void)out;
    (void)number;
    (void)put_point;
#endif
    return 0;
}

size_t
mete__number_write(char *out, double number)
{
    if (!isfinite(number)) {
        memcpy(out, "null", 4);
        return 4;
    }
    size_t n = write_short(out, number);
    if (n == 0)
        n = write_fixed(out, number);
    if (n)
        return n;
    for (int digits = 15; digits <= 17; digits++) {
        int written = snprintf(out, 32, "%.*g", digits, number);
        n = written > 0 ? (size_t)written : 0;
        for (size_t i = 0; i < n; i++)
            if (!strchr("0123456789+-e", out[i]))
                out[i] = '.'; /* a locale's decimal comma */
        if (mete__number_read(out, n) == number)
            break;
    }
    return n;
}
