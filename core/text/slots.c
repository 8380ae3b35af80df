/* slots.c - reads "slot[value], slot[value]"; see include/mete/text.h. */
#include <mete/text.h>

#include <string.h>

int
mete_slot_next(mete_text text, size_t *position, mete_slot *slot)
{
    size_t at = *position;
    while (at < text.length && text.data[at] && strchr(", \t\r\n", text.data[at]))
        at++;
    size_t left = text.length - at;
    const char *name = left ? text.data + at : NULL;
    const char *open = name ? memchr(name, '[', left) : NULL;
    const char *close = open ? memchr(open, ']', left - (size_t)(open - name)) : NULL;
    if (!close)
        return 0;
    slot->name = (mete_text){name, (size_t)(open - name)};
    slot->value = (mete_text){open + 1, (size_t)(close - open) - 1};
    *position = (size_t)(close - text.data) + 1;
    return 1;
}
