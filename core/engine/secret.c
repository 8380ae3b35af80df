/* secret.c - keys of remote models: read once, kept out of everything that is written, wiped. */
#include "engine/context.h"

#include <errno.h>
#include <mete/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONGEST_SECRET 8192

typedef struct mete__secret {
    struct mete__secret *next;
    size_t length;
    char byte[];
} mete__secret;

void
mete__secrets_free(mete__node_private *private_)
{
    while (private_->secret) {
        mete__secret *secret = private_->secret;
        private_->secret = secret->next;
        explicit_bzero(secret->byte, secret->length);
        free(secret);
    }
}

/* Keeps the bytes; they go into a header of a request, so a line break in them would be another. */
static int
keep(mete_ctx *cx, const char *from, size_t length, const char *where, mete_text *out)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)from[i] < 32 || from[i] == 127)
            return mete_fail(cx, METE_EINVAL, "the secret in %s holds a control character", where);
    if (!length)
        return mete_fail(cx, METE_EINVAL, "the secret in %s is empty", where);
    mete__secret *secret = malloc(sizeof *secret + length + 1);
    if (!secret)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a secret");
    memcpy(secret->byte, from, length);
    secret->byte[length] = 0;
    secret->length = length;
    secret->next = cx->node->private_->secret;
    cx->node->private_->secret = secret;
    *out = (mete_text){secret->byte, length};
    return METE_OK;
}

static int
read_file(mete_ctx *cx, const char *file, mete_text *out)
{
    char line[LONGEST_SECRET];
    FILE *from = fopen(file, "re");
    if (!from)
        return mete_fail(cx, METE_EIO, "cannot read the secret in %s: %s", file, strerror(errno));
    setvbuf(from, NULL, _IONBF, 0); /* no second copy of it in a stream's buffer */
    int read = fgets(line, sizeof line, from) != NULL, broken = ferror(from);
    fclose(from);
    int status = broken  ? mete_fail(cx, METE_EIO, "cannot read the secret in %s", file)
                 : !read ? mete_fail(cx, METE_EINVAL, "the secret in %s is empty", file)
                 : strlen(line) == sizeof line - 1
                     ? mete_fail(cx, METE_EINVAL, "the secret in %s is too long", file)
                     : keep(cx, line, strcspn(line, "\r\n"), file, out);
    explicit_bzero(line, sizeof line);
    return status;
}

int
mete_secret(mete_ctx *cx, const char *variable, const char *file, mete_text *secret)
{
    *secret = (mete_text){"", 0};
    if (!(cx->phase & METE__OPENING))
        return mete_fail(cx, METE_EPLUGIN, "asked for a secret outside open");
    if (file && *file)
        return read_file(cx, file, secret);
    if (!variable || !*variable)
        return METE_OK;
    const char *value = getenv(variable);
    char where[256];
    if (!value)
        return mete_fail(cx, METE_EINVAL, "the environment variable %.200s is not set", variable);
    snprintf(where, sizeof where, "the environment variable %.200s", variable);
    return keep(cx, value, strlen(value), where, secret);
}

double
mete_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
