/* buffer.c - growable byte buffers with a maximum size, and small helpers over texts.
 *
 * Invariants: length <= limit (when there is one); capacity > length whenever data is set, for the
 * NUL that follows; a failed buffer never changes until it is cleared.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <mete/text.h>

mete_buffer
mete_buffer_make(size_t limit)
{
    mete_buffer buffer = {NULL, 0, 0, limit, METE_OK};
    return buffer;
}

void
mete_buffer_free(mete_buffer *buffer)
{
    if (!buffer)
        return;
    free(buffer->data);
    *buffer = mete_buffer_make(buffer->limit);
}

void
mete_buffer_clear(mete_buffer *buffer)
{
    buffer->length = 0;
    buffer->status = METE_OK;
    if (buffer->data)
        buffer->data[0] = '\0';
}

static int
grow(mete_buffer *buffer, size_t more)
{
    size_t limit = buffer->limit ? buffer->limit : SIZE_MAX / 4;
    if (more > limit || buffer->length > limit - more)
        return buffer->status = METE_EDATA;
    size_t need = buffer->length + more + 1;
    size_t capacity = buffer->capacity < 32 ? 64 : buffer->capacity;
    while (capacity < need)
        capacity += capacity / 2;
    if (capacity > limit + 1)
        capacity = limit + 1;
    char *data = realloc(buffer->data, capacity);
    if (!data)
        return buffer->status = METE_ENOMEM;
    buffer->data = data;
    buffer->capacity = capacity;
    data[buffer->length] = '\0';
    return METE_OK;
}

int
mete_buffer_reserve(mete_buffer *buffer, size_t more)
{
    if (buffer->status)
        return buffer->status;
    /* The limit binds where capacity was rounded up past it too, so compare both. */
    if (more < buffer->capacity && buffer->length < buffer->capacity - more &&
        (!buffer->limit || more <= buffer->limit - buffer->length))
        return METE_OK;
    return grow(buffer, more);
}

int
mete_buffer_append(mete_buffer *buffer, const void *data, size_t length)
{
    int status = mete_buffer_reserve(buffer, length);
    if (status)
        return status;
    if (length)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
    return METE_OK;
}

int
mete_buffer_text(mete_buffer *buffer, mete_text text)
{
    return mete_buffer_append(buffer, text.data, text.length);
}

int
mete_buffer_string(mete_buffer *buffer, const char *string)
{
    return mete_buffer_append(buffer, string, string ? strlen(string) : 0);
}

int
mete_buffer_byte(mete_buffer *buffer, char byte)
{
    return mete_buffer_append(buffer, &byte, 1);
}

int
mete_buffer_format(mete_buffer *buffer, const char *format, ...)
{
    va_list list, again;
    int status = mete_buffer_reserve(buffer, 0);
    if (status)
        return status;
    va_start(list, format);
    va_copy(again, list);
    int length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length < 0)
        status = buffer->status = METE_EINVAL;
    else
        status = mete_buffer_reserve(buffer, (size_t)length);
    if (status == METE_OK) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    return status;
}

int
mete_buffer_code(mete_buffer *buffer, uint32_t code)
{
    char byte[4];
    size_t n = 0;
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        code = 0xfffd;
    if (code < 0x80) {
        byte[n++] = (char)code;
    } else if (code < 0x800) {
        byte[n++] = (char)(0xc0 | code >> 6);
        byte[n++] = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        byte[n++] = (char)(0xe0 | code >> 12);
        byte[n++] = (char)(0x80 | (code >> 6 & 0x3f));
        byte[n++] = (char)(0x80 | (code & 0x3f));
    } else {
        byte[n++] = (char)(0xf0 | code >> 18);
        byte[n++] = (char)(0x80 | (code >> 12 & 0x3f));
        byte[n++] = (char)(0x80 | (code >> 6 & 0x3f));
        byte[n++] = (char)(0x80 | (code & 0x3f));
    }
    return mete_buffer_append(buffer, byte, n);
}

static int
is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

mete_text
mete_text_trim(mete_text text)
{
    while (text.length && is_space(text.data[text.length - 1]))
        text.length--;
    while (text.length && is_space(text.data[0])) {
        text.data++;
        text.length--;
    }
    return text;
}

size_t
mete_text_find(mete_text text, mete_text needle, size_t from)
{
    if (from > text.length || needle.length > text.length - from)
        return SIZE_MAX;
    if (needle.length == 0)
        return from;
    const char *found = memmem(text.data + from, text.length - from, needle.data, needle.length);
    return found ? (size_t)(found - text.data) : SIZE_MAX;
}

size_t
mete_text_find_last(mete_text text, mete_text needle)
{
    if (needle.length > text.length)
        return SIZE_MAX;
    for (size_t at = text.length - needle.length + 1; at-- > 0;)
        if (needle.length == 0 || memcmp(text.data + at, needle.data, needle.length) == 0)
            return at;
    return SIZE_MAX;
}

int
mete_text_line(mete_text text, size_t *position, mete_text *line)
{
    if (*position >= text.length)
        return 0;
    const char *start = text.data + *position;
    size_t left = text.length - *position;
    const char *end = memchr(start, '\n', left);
    line->data = start;
    line->length = end ? (size_t)(end - start) : left;
    *position += line->length + (end ? 1 : 0);
    if (line->length && start[line->length - 1] == '\r')
        line->length--;
    return 1;
}

/* Does a tag of `name` begin at byte `at`? */
static int
is_tag(mete_text text, size_t at, const char *name)
{
    size_t length = strlen(name);
    at += 1 + (at + 1 < text.length && text.data[at + 1] == '/');
    return at + length <= text.length && memcmp(text.data + at, name, length) == 0;
}

int
mete_buffer_part(mete_buffer *buffer, const char *const *name, size_t names, size_t which,
                 mete_text text)
{
    size_t from = 0;
    mete_buffer_format(buffer, "<%s>\n", name[which]);
    for (size_t i = 0; i < text.length; i++) {
        int tag = 0;
        for (size_t k = 0; text.data[i] == '<' && k < names; k++)
            tag |= is_tag(text, i, name[k]);
        if (!tag)
            continue;
        mete_buffer_text(buffer, mete_text_slice(text, from, i));
        mete_buffer_string(buffer, "&lt;");
        from = i + 1;
    }
    mete_buffer_text(buffer, mete_text_slice(text, from, text.length));
    return mete_buffer_format(buffer, "\n</%s>", name[which]);
}
