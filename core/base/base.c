#include <mete/base.h>

#include <stdarg.h>
#include <stdio.h>

int
mete_error_set(mete_error *err, int code, const char *format, ...)
{
    if (!err)
        return code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    err->code = code;
    return code;
}
