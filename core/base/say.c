/* say.c - a line on standard error. */
#include "base/say.h"

#include <stdarg.h>
#include <stdio.h>

void
mete__say(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    flockfile(stderr);
    fputs("mete: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(list);
}
