/* options.c - the group `serve`, and secrets from outside the config. */
#include "serve/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONGEST_FILE ((size_t)1 << 20)

/* A file's text, its last line break gone where it is a token's. */
static char *
read_text(mete__value *at, const char *path, bool line, mete__errors *errors)
{
    mete_error err = {0};
    mete_buffer text = {0};
    if (mete_file_read(path, LONGEST_FILE, &text, &err)) {
        mete__errors_add(errors, "%s:%d: %s: %s", at->file, at->line, at->path, err.message);
        mete_buffer_free(&text);
        return NULL;
    }
    while (line && text.length && strchr("\r\n", text.data[text.length - 1]))
        text.data[--text.length] = 0;
    if (!text.length)
        mete__errors_add(errors, "%s:%d: %s: %s is empty", at->file, at->line, at->path, path);
    return text.data;
}

static char *
text_of(mete__value *group, const char *name, bool line, mete__errors *errors)
{
    mete__value *value = group ? mete__value_get(group, name) : NULL;
    if (!value || !mete__value_string(group, name, NULL, errors))
        return NULL;
    char *path = mete__value_file(value);
    char *text = path ? read_text(value, path, line, errors) : NULL;
    free(path);
    return text;
}

static size_t
size_of(mete__value *group, const char *name, int64_t def, int64_t lo, int64_t hi,
        mete__errors *errors)
{
    return (size_t)(group ? mete__value_int(group, name, def, lo, hi, errors) : def);
}

static double
seconds_of(mete__value *group, const char *name, double def, double lo, mete__errors *errors)
{
    return group ? mete__value_real(group, name, def, lo, 1e6, errors) : def;
}

bool
mete__serve_options_read(mete__config *config, mete__serve_options *o, mete__errors *errors)
{
    mete__value *g = mete__value_get(mete__config_root(config), "serve");
    if (g && g->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: serve: must be a group, serve = { ... };", g->file,
                         g->line);
        return false;
    }
    o->host = g ? mete__value_string(g, "host", "127.0.0.1", errors) : "127.0.0.1";
    snprintf(o->port, sizeof o->port, "%u",
             (unsigned)size_of(g, "port", 5000, 0, 65535, errors) & 0xffff);
    o->batch = size_of(g, "batch", 256, 1, 1 << 20, errors);
    o->queue = size_of(g, "queue", 1024, 1, 1 << 20, errors);
    o->body = size_of(g, "body_mib", 8, 1, 1024, errors) << 20;
    o->memory = size_of(g, "memory_mib", 512, 1, 1 << 20, errors) << 20;
    o->connections = (unsigned)size_of(g, "connections", 4096, 1, 1 << 20, errors);
    o->wait = seconds_of(g, "wait", 0, 0, errors);
    o->deadline = seconds_of(g, "deadline", 120, 1e-3, errors);
    o->header = seconds_of(g, "header_seconds", 10, 0.1, errors);
    o->upload = seconds_of(g, "body_seconds", 30, 0.1, errors);
    o->idle = seconds_of(g, "idle_seconds", 75, 1, errors);
    o->drain = seconds_of(g, "drain", 30, 0, errors);
    o->missing =
        (mete__missing)(g ? mete__value_enum(g, "missing", 0, "error|null|zero", errors) : 0);
    o->bare = g && mete__value_enum(g, "rerank", 0, "vllm|sglang", errors) == 1;
    const char *label = g ? mete__value_string(g, "label", "", errors) : "";
    o->label = strdup(label ? label : "");
    o->token = text_of(g, "token_file", true, errors);
    if (!o->token && getenv("METE_SERVE_TOKEN") && *getenv("METE_SERVE_TOKEN"))
        o->token = strdup(getenv("METE_SERVE_TOKEN"));
    o->certificate = text_of(g, "tls_certificate", false, errors);
    o->key = text_of(g, "tls_key", false, errors);
    if (!o->certificate != !o->key && !errors->count)
        mete__errors_add(errors, "%s:%d: serve: tls_certificate and tls_key go together", g->file,
                         g->line);
    if (g)
        mete__value_unknown(g,
                            "host port batch queue body_mib memory_mib connections wait deadline "
                            "header_seconds body_seconds idle_seconds drain missing label rerank "
                            "token_file tls_certificate tls_key",
                            errors);
    return !errors->count;
}

static void
wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void
mete__serve_options_free(mete__serve_options *o)
{
    free(o->label);
    wipe(o->token);
    wipe(o->key);
    free(o->certificate);
}
