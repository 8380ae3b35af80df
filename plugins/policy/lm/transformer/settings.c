/* settings.c - reading the json files of published models. What is read is checked; what would
 * change the computation and is not done is refused, never passed over. */
#include "transformer.h"

#include <math.h>
#include <string.h>

#define SIZE_MOST 10000000 /* of any one size */
#define FILE_MOST ((size_t)1 << 20)

int
settings_open(mete_ctx *cx, const char *folder, const char *name, struct settings *out)
{
    mete_error err = {0};
    mete_buffer text = mete_buffer_make(0);
    *out = (struct settings){.cx = cx};
    int length = snprintf(out->path, sizeof out->path, "%s/%s", folder, name);
    if ((size_t)length >= sizeof out->path)
        return out->status = mete_fail(cx, METE_EIO, "%s: too long a name", folder);
    int status = mete_file_read(out->path, FILE_MOST, &text, &err);
    if (status)
        out->status = mete_fail(cx, err.code, "%s", err.message);
    else if (!(out->root = mete_json_parse(mete_buffer_view(&text), &err)))
        out->status = mete_fail(cx, METE_EDATA, "%s: %s", out->path, err.message);
    else if (mete_json_kind(out->root) != METE_JSON_OBJECT)
        out->status = mete_fail(cx, METE_EDATA, "%s: is no JSON object", out->path);
    mete_buffer_free(&text);
    return out->status;
}

void
settings_close(struct settings *r)
{
    mete_json_free(r->root);
    r->root = NULL;
}

const mete_json *
settings_get(struct settings *r, const mete_json *object, const char *key)
{
    if (r->asks < SETTINGS_MOST) {
        r->asked[r->asks].object = object;
        r->asked[r->asks++].key = key;
    }
    return mete_json_get(object, key);
}

int
settings_absent(const mete_json *at)
{
    return mete_json_kind(at) == METE_JSON_NONE || mete_json_kind(at) == METE_JSON_NULL;
}

size_t
settings_size(struct settings *r, const char *key, size_t absent)
{
    const mete_json *at = settings_get(r, r->root, key);
    double n = mete_json_number(at);
    if (settings_absent(at)) {
        if (!absent && !r->status)
            r->status = mete_fail(r->cx, METE_EDATA, "%s: \"%s\" is missing", r->path, key);
        return absent;
    }
    if (!(n >= 1 && n <= SIZE_MOST) || n != floor(n)) {
        if (!r->status)
            r->status =
                mete_fail(r->cx, METE_EDATA, "%s: \"%s\" must be a whole number from 1 to %d",
                          r->path, key, SIZE_MOST);
        return 1;
    }
    return (size_t)n;
}

double
settings_number(struct settings *r, const mete_json *group, const char *key, double absent,
                double lo, double hi)
{
    const mete_json *at = settings_get(r, group, key);
    double n = mete_json_number(at);
    if (settings_absent(at))
        return absent;
    if (!(n >= lo && n <= hi) && !r->status)
        r->status = mete_fail(r->cx, METE_EDATA, "%s: \"%s\" must be a number from %g to %g",
                              r->path, key, lo, hi);
    return n;
}

int
settings_flag(struct settings *r, const char *key, int absent)
{
    const mete_json *at = settings_get(r, r->root, key);
    if (settings_absent(at))
        return absent;
    if (mete_json_kind(at) != METE_JSON_BOOL && !r->status)
        r->status = mete_fail(r->cx, METE_EDATA, "%s: \"%s\" must be true or false", r->path, key);
    return mete_json_bool(at);
}

int32_t
settings_token(struct settings *r, const char *key)
{
    const mete_json *at = settings_get(r, r->root, key);
    if (mete_json_kind(at) == METE_JSON_ARRAY)
        at = mete_json_at(at, 0);
    double n = mete_json_number(at);
    return n >= 0 && n < SIZE_MOST ? (int32_t)n : -1;
}

/* A value as the file has it, for a sentence. */
static void
say_value(const mete_json *at, char *out, size_t room)
{
    mete_buffer text = mete_buffer_make(0);
    if (mete_json_put(&text, at) == METE_OK)
        snprintf(out, room, "%.*s", (int)(text.length < 40 ? text.length : 40), text.data);
    else
        snprintf(out, room, "?");
    mete_buffer_free(&text);
}

void
settings_only(struct settings *r, const char *key, const char *known, const char *also)
{
    const mete_json *at = settings_get(r, r->root, key);
    mete_text value = mete_json_text(at);
    char found[64];
    if (mete_json_kind(at) == METE_JSON_BOOL)
        value = mete_text_from(mete_json_bool(at) ? "true" : "false");
    if (settings_absent(at) || mete_text_is(value, known) || (also && mete_text_is(value, also)))
        return;
    say_value(at, found, sizeof found);
    if (!r->status)
        r->status = mete_fail(r->cx, METE_ENOTSUP, "%s: \"%s\" is %s; mete computes \"%s\"",
                              r->path, key, found, known);
}

/* null, false, 0, "", [] and {} ask for nothing, and so does the one number named. */
static int
is_idle(const mete_json *at, double idle)
{
    switch (mete_json_kind(at)) {
    case METE_JSON_NUMBER:
        return mete_json_number(at) == 0 || mete_json_number(at) == idle;
    case METE_JSON_BOOL:
        return !mete_json_bool(at);
    case METE_JSON_STRING:
        return mete_json_text(at).length == 0;
    case METE_JSON_ARRAY:
    case METE_JSON_OBJECT:
        return mete_json_count(at) == 0;
    default:
        return 1;
    }
}

void
settings_idle(struct settings *r, const mete_json *group, const char *key, double idle)
{
    const mete_json *at = settings_get(r, group, key);
    char found[64];
    if (r->status || is_idle(at, idle))
        return;
    say_value(at, found, sizeof found);
    r->status = mete_fail(r->cx, METE_ENOTSUP,
                          "%s: \"%s\" is %s, which changes what is computed and is not done",
                          r->path, key, found);
}

/* ---- what nobody knows ----------------------------------------------------------------------- */

static int
is_known(const struct settings *r, const mete_json *object, mete_text key, mete_strings harmless)
{
    for (size_t i = 0; i < r->asks; i++)
        if (r->asked[i].object == object && mete_text_is(key, r->asked[i].key))
            return 1;
    for (size_t i = 0; i < harmless.count; i++)
        if (mete_text_is(key, harmless.item[i]))
            return 1;
    return 0;
}

void
settings_closed(struct settings *r, const mete_json *object, mete_strings harmless, int lenient)
{
    for (const mete_json *at = mete_json_first(object); at && !r->status; at = mete_json_next(at)) {
        mete_text key = mete_json_key(at);
        char found[64];
        if (settings_absent(at) || (lenient && is_idle(at, 0)) ||
            is_known(r, object, key, harmless))
            continue;
        say_value(at, found, sizeof found);
        r->status = mete_fail(r->cx, METE_ENOTSUP,
                              "%s: \"%.*s\" is %s: a setting that is not known, which may change "
                              "what is computed",
                              r->path, (int)(key.length < 60 ? key.length : 60), key.data, found);
    }
}
