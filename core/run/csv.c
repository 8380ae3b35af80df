/* csv.c - metrics as rows; see outputs.h. */
#include "run/outputs.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static void
put_field(mete_buffer *out, const char *text)
{
    bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted)
        mete_buffer_byte(out, '"');
    for (const char *at = text; *at; at++) {
        if (*at == '"')
            mete_buffer_byte(out, '"');
        mete_buffer_byte(out, *at);
    }
    if (quoted)
        mete_buffer_byte(out, '"');
}

void
mete__csv_metrics(mete_buffer *out, uint64_t iteration, const char *stage, const char *const *name,
                  const double *value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mete_buffer_format(out, "%llu,", (unsigned long long)iteration);
        put_field(out, stage);
        mete_buffer_byte(out, ',');
        put_field(out, name[i]);
        mete_buffer_byte(out, ',');
        if (isfinite(value[i]))
            mete_json_put_number(out, value[i]);
        mete_buffer_string(out, "\r\n");
    }
}
