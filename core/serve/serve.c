/* serve.c - the life of a server: it starts, listens to signals, drains and ends. */
#include "serve/serve.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TICK_SECONDS 0.1

static void say(const char *format, ...) METE_PRINTF(1, 2);

static void
say(const char *format, ...)
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

/* As many files as the system lets it have: each connection is one. */
static void
raise_files(void)
{
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static bool
is_local(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 ||
           strcmp(host, "::1") == 0;
}

static void
announce(const mete__server *server)
{
    const mete__serve_options *o = &server->options;
    bool six = strchr(o->host, ':') != NULL;
    if (!o->token && !is_local(o->host))
        say("anybody who reaches %s may ask: set METE_SERVE_TOKEN or serve.token_file", o->host);
    say("serving %s at %s://%s%s%s:%s (version %s)", server->config,
        o->certificate ? "https" : "http", six ? "[" : "", o->host, six ? "]" : "", o->port,
        server->tree->version);
}

static void
reload(mete__server *server, const mete__engine_options *engine)
{
    mete__errors errors = {0};
    if (mete__tree_load(server, engine, &errors)) {
        say("reloaded %s (version %s)", server->config, server->tree->version);
    } else {
        mete__errors_print(&errors, stderr);
        say("the reload failed; version %s goes on", server->tree->version);
    }
    mete__errors_free(&errors);
}

static void
tick(mete__server *server)
{
    double now = mete__now();
    mete__queue_expire(server, now);
    mete__guests_cut(server, now);
}

/* Until a signal ends it. */
static void
run(mete__server *server, const mete__engine_options *engine, const sigset_t *signals)
{
    const struct timespec wait = {0, (long)(TICK_SECONDS * 1e9)};
    for (;;) {
        int got = sigtimedwait(signals, NULL, &wait);
        if (got == SIGTERM || got == SIGINT)
            return;
        if (got == SIGHUP)
            reload(server, engine);
        tick(server);
    }
}

static size_t
active(mete__server *server)
{
    pthread_mutex_lock(&server->lock);
    size_t count = server->active;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* What is under way is answered; a second signal, or the time for it, ends the wait. */
static void
drain(mete__server *server, const sigset_t *signals)
{
    const struct timespec wait = {0, (long)(TICK_SECONDS * 1e8)};
    double end = mete__now() + server->options.drain;
    mete__http_drain(server);
    while (active(server) && mete__now() < end) {
        int got = sigtimedwait(signals, NULL, &wait);
        if (got == SIGTERM || got == SIGINT)
            break;
        tick(server);
    }
    size_t left = active(server);
    if (left)
        say("%zu requests were cut", left);
    mete__queue_expire(server, INFINITY);
    mete__queue_stop(server);
    mete__http_stop(server);
}

static int
start(mete__server *server)
{
    mete_error err = {0};
    if (!mete__queue_start(server)) {
        say("cannot start threads");
        return METE_EIO;
    }
    if (mete__http_start(server, &err))
        return METE_OK;
    say("%s", err.message);
    mete__queue_stop(server);
    return err.code;
}

int
mete__serve(mete__server *server, const mete__engine_options *engine)
{
    sigset_t signals;
    pthread_condattr_t monotonic;
    mete__errors errors = {0};
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    raise_files();
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->work, &monotonic);
    server->meter = mete__meter_new();
    server->guests = mete__guests_new();
    int status = server->meter && server->guests ? METE_OK : METE_ENOMEM;
    if (!status && !mete__tree_load(server, engine, &errors))
        status = METE_EINVAL;
    mete__errors_print(&errors, stderr);
    mete__errors_free(&errors);
    if (!status)
        status = start(server);
    if (!status) {
        announce(server);
        run(server, engine, &signals);
        drain(server, &signals);
    }
    mete__exchanges_free(server);
    mete__tree_leave(server, server->tree);
    mete__guests_free(server->guests);
    mete__meter_free(server->meter);
    pthread_cond_destroy(&server->work);
    pthread_mutex_destroy(&server->lock);
    return status;
}
