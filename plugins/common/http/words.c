/* words.c - what a server said, in a sentence: short, printable and without the key. */
#include "http.h"

#include <string.h>

#define SHOWN 8 /* so many bytes of the key in a row give it away */

static int
gives_away(const struct http *p, const char *at)
{
    for (size_t i = 0; i + SHOWN <= p->key.length; i++)
        if (memcmp(at, p->key.data + i, SHOWN) == 0)
            return 1;
    return 0;
}

void
http_clean(const struct http *p, mete_text text, char *out, size_t size)
{
    size_t length = text.length < size - 1 ? text.length : size - 1;
    size_t shown = p->key.length < SHOWN ? p->key.length : SHOWN;
    for (size_t i = 0; i < length; i++)
        out[i] = text.data[i] >= 32 && text.data[i] < 127 ? text.data[i] : ' ';
    out[length] = 0;
    if (!shown)
        return;
    for (size_t i = 0; i + shown <= text.length; i++)
        if (shown < SHOWN ? memcmp(text.data + i, p->key.data, shown) == 0
                          : gives_away(p, text.data + i))
            for (size_t k = i; k < i + shown && k < length; k++)
                out[k] = '*';
}

void
http_complaint(const struct http *p, mete_text body, char *out, size_t size)
{
    static const char *const other[] = {"message", "detail"};
    mete_json *root = mete_json_parse(body, NULL);
    const mete_json *error = mete_json_get(root, "error");
    mete_text text = mete_json_text(mete_json_get(error, "message"));
    if (!text.length)
        text = mete_json_text(error);
    for (size_t i = 0; i < 2 && !text.length; i++)
        text = mete_json_text(mete_json_get(root, other[i]));
    http_clean(p, text.length ? text : mete_text_slice(body, 0, 120), out, size < 200 ? size : 200);
    mete_json_free(root);
}

int
http_leaks(const struct http *p, mete_text text)
{
    return p->key.length && mete_text_find(text, p->key, 0) != SIZE_MAX;
}
