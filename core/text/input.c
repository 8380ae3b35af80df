/* input.c - bytes of a file, plain or gzip (RFC 1952), through one window.
 *
 * The window holds unread bytes [begin, end) of `window`; reading more moves them to the front
 * when that makes room, else doubles the window up to the limit. Gzip is known by its first two
 * bytes; members may follow each other; zeros after the last are padding; a file that ends inside
 * a member is an error, never a short file. Lines are never held back: a pipe is read as it comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "text/input.h"

enum { WINDOW = 1 << 18, PACKED = 1 << 16 };

struct mete__input {
    int fd;
    bool plain_file; /* may seek */
    bool gzip, member, ended;
    char *name;
    char *window;
    size_t begin, end, size, limit;
    uint64_t offset;       /* of begin */
    unsigned char *packed; /* compressed bytes not yet inflated: [z.next_in, +z.avail_in) */
    z_stream z;
};

static ssize_t
read_some(mete__input *input, void *to, size_t size, mete_error *err)
{
    for (;;) {
        ssize_t got = read(input->fd, to, size);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return mete_error_set(err, METE_EIO, "%s: cannot read: %s", input->name,
                                  strerror(errno));
    }
}

/* ---- gzip ------------------------------------------------------------------------------------ */

static int
refill(mete__input *input, mete_error *err)
{
    ssize_t got = read_some(input, input->packed, PACKED, err);
    if (got < 0)
        return (int)got;
    input->z.next_in = input->packed;
    input->z.avail_in = (unsigned)got;
    return got > 0;
}

static int
fail_truncated(const mete__input *input, mete_error *err)
{
    return mete_error_set(err, METE_EINVAL,
                          "%s: the gzip file is truncated: it ends inside its data", input->name);
}

/* Between members: starts the next, or ends at the end of the file. 1, 0 or a status. */
static int
next_member(mete__input *input, mete_error *err)
{
    for (;;) {
        if (input->z.avail_in == 0) {
            int more = refill(input, err);
            if (more <= 0) {
                input->ended = more == 0;
                return more;
            }
        }
        if (*input->z.next_in != 0)
            break;
        input->z.next_in++;
        input->z.avail_in--;
    }
    if (*input->z.next_in != 0x1f)
        return mete_error_set(err, METE_EINVAL, "%s: there is something else after the gzip data",
                              input->name);
    if (inflateReset(&input->z) != Z_OK)
        return mete_error_set(err, METE_EIO, "%s: cannot start to unzip", input->name);
    input->member = true;
    return 1;
}

/* Inflates some bytes to `to`: how many, 0 at the end, or a status. */
static ssize_t
inflate_some(mete__input *input, char *to, size_t size, mete_error *err)
{
    z_stream *z = &input->z;
    size = size > (1u << 30) ? 1u << 30 : size;
    z->next_out = (unsigned char *)to;
    z->avail_out = (unsigned)size;
    while (z->avail_out == size) {
        if (!input->member) {
            int more = next_member(input, err);
            if (more <= 0)
                return more;
        }
        if (z->avail_in == 0) {
            int more = refill(input, err);
            if (more <= 0)
                return more < 0 ? more : fail_truncated(input, err);
        }
        int rc = inflate(z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END)
            input->member = false;
        else if (rc == Z_MEM_ERROR)
            return mete_error_set(err, METE_ENOMEM, "%s: out of memory", input->name);
        else if (rc != Z_OK && !(rc == Z_BUF_ERROR && z->avail_in == 0))
            return mete_error_set(err, METE_EINVAL, "%s: the gzip data is damaged: %s", input->name,
                                  z->msg ? z->msg : "bad data");
    }
    return (ssize_t)(size - z->avail_out);
}

/* Looks at the first bytes and gets ready. */
static int
detect(mete__input *input, mete_error *err)
{
    size_t have = 0;
    /* A pipe may give one byte at a time. */
    while (have < 2) {
        ssize_t got = read_some(input, input->window + have, input->size - have, err);
        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    const unsigned char *first = (const unsigned char *)input->window;
    if (have < 2 || first[0] != 0x1f || first[1] != 0x8b) {
        input->end = have;
        return METE_OK;
    }
    input->gzip = true;
    input->packed = malloc(have > PACKED ? have : PACKED);
    if (!input->packed || inflateInit2(&input->z, 15 + 16) != Z_OK) {
        free(input->packed);
        input->packed = NULL;
        return mete_error_set(err, METE_ENOMEM, "%s: out of memory", input->name);
    }
    input->member = true;
    memcpy(input->packed, first, have);
    input->z.next_in = input->packed;
    input->z.avail_in = (unsigned)have;
    return METE_OK;
}

/* ---- the window ------------------------------------------------------------------------------ */

static int
open_file(mete__input *input, const char *path, mete_error *err)
{
    struct stat st;
    if (strcmp(path, "-") == 0) {
        input->fd = STDIN_FILENO;
    } else {
        input->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (input->fd < 0)
            return mete_error_set(err, METE_EIO, "%s: cannot open: %s", path, strerror(errno));
    }
    if (fstat(input->fd, &st) != 0)
        return mete_error_set(err, METE_EIO, "%s: cannot read: %s", input->name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return mete_error_set(err, METE_EIO, "%s: cannot read: it is a folder", input->name);
    input->plain_file = S_ISREG(st.st_mode) && input->fd != STDIN_FILENO;
    return detect(input, err);
}

mete__input *
mete__input_open(const char *path, size_t limit, mete_error *err)
{
    mete__input *input = calloc(1, sizeof *input);
    if (input) {
        input->fd = -1;
        input->limit = limit < WINDOW ? WINDOW : limit;
        input->size = WINDOW;
        input->window = malloc(WINDOW);
        input->name = strdup(strcmp(path, "-") == 0 ? "stdin" : path);
    }
    if (!input || !input->window || !input->name)
        mete_error_set(err, METE_ENOMEM, "%s: out of memory", path);
    else if (open_file(input, path, err) == METE_OK)
        return input;
    mete__input_close(input);
    return NULL;
}

void
mete__input_close(mete__input *input)
{
    if (!input)
        return;
    if (input->gzip && input->packed)
        inflateEnd(&input->z);
    if (input->fd > STDIN_FILENO)
        close(input->fd);
    free(input->packed);
    free(input->window);
    free(input->name);
    free(input);
}

const char *
mete__input_name(const mete__input *input)
{
    return input->name;
}

mete_text
mete__input_view(const mete__input *input)
{
    mete_text view = {input->window + input->begin, input->end - input->begin};
    return view;
}

uint64_t
mete__input_offset(const mete__input *input)
{
    return input->offset;
}

void
mete__input_skip(mete__input *input, size_t length)
{
    input->begin += length;
    input->offset += length;
}

/* Room after `end`; METE_EDATA at the limit. */
static int
make_room(mete__input *input, mete_error *err)
{
    size_t have = input->end - input->begin;
    if (have == 0 || (input->end == input->size && input->begin >= input->size / 2)) {
        memmove(input->window, input->window + input->begin, have);
        input->begin = 0;
        input->end = have;
    }
    if (input->end < input->size)
        return METE_OK;
    if (have >= input->limit)
        return METE_EDATA;
    if (input->begin > 0) {
        memmove(input->window, input->window + input->begin, have);
        input->begin = 0;
        input->end = have;
        return METE_OK;
    }
    size_t size = input->size > input->limit / 2 ? input->limit : input->size * 2;
    size += size == 0; /* realloc of 0 bytes would free */
    char *window = realloc(input->window, size);
    if (!window)
        return mete_error_set(err, METE_ENOMEM, "%s: out of memory for a record of %zu bytes",
                              input->name, have);
    input->window = window;
    input->size = size;
    return METE_OK;
}

int
mete__input_more(mete__input *input, mete_error *err)
{
    if (input->ended)
        return 0;
    int status = make_room(input, err);
    if (status)
        return status;
    char *to = input->window + input->end;
    size_t room = input->size - input->end;
    ssize_t got =
        input->gzip ? inflate_some(input, to, room, err) : read_some(input, to, room, err);
    if (got < 0)
        return (int)got;
    input->ended = got == 0;
    input->end += (size_t)got;
    return got > 0;
}

/* Reads on to the offset. */
static int
read_to(mete__input *input, uint64_t offset, mete_error *err)
{
    while (input->offset < offset) {
        uint64_t want = offset - input->offset;
        size_t have = input->end - input->begin;
        if (have == 0) {
            int more = mete__input_more(input, err);
            if (more < 0)
                return more;
            if (more == 0)
                return mete_error_set(
                    err, METE_EDATA, "%s: ends at byte %llu, before byte %llu to go on from",
                    input->name, (unsigned long long)input->offset, (unsigned long long)offset);
            continue;
        }
        mete__input_skip(input, want < have ? (size_t)want : have);
    }
    return METE_OK;
}

int
mete__input_seek(mete__input *input, uint64_t offset, mete_error *err)
{
    if (input->plain_file && !input->gzip) {
        struct stat st;
        if (fstat(input->fd, &st) != 0 || lseek(input->fd, (off_t)offset, SEEK_SET) < 0)
            return mete_error_set(err, METE_EIO, "%s: cannot seek: %s", input->name,
                                  strerror(errno));
        if (offset > (uint64_t)st.st_size)
            return mete_error_set(
                err, METE_EDATA, "%s: ends at byte %llu, before byte %llu to go on from",
                input->name, (unsigned long long)st.st_size, (unsigned long long)offset);
        input->begin = input->end = 0;
        input->offset = offset;
        input->ended = false;
        return METE_OK;
    }
    if (offset < input->offset)
        return mete_error_set(err, METE_ENOTSUP, "%s: cannot go back in a gzip file or a pipe",
                              input->name);
    return read_to(input, offset, err);
}

int
mete_file_read(const char *path, size_t most, mete_buffer *out, mete_error *err)
{
    mete__input *input = mete__input_open(path, WINDOW, err);
    size_t before = out->length;
    int more = input ? 1 : METE_EIO;
    while (more > 0) { /* some bytes are at hand from the start; the window is emptied each time */
        mete_text view = mete__input_view(input);
        if (view.length > most - (out->length - before))
            more = mete_error_set(err, METE_EDATA, "%s: is larger than %zu bytes", path, most);
        else if (mete_buffer_text(out, view))
            more = mete_error_set(err, METE_ENOMEM, "%s: out of memory", path);
        mete__input_skip(input, view.length);
        if (more > 0)
            more = mete__input_more(input, err);
    }
    if (more < 0 && input)
        out->length = before;
    mete__input_close(input);
    return more < 0 ? (err && err->code ? err->code : more) : METE_OK;
}
