/* serve.c - the life of a server: it starts, listens to signals, drains and ends. */
#include "serve/serve.h"

#include "base/say.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define TICK_MS 100
#define DRAIN_TICK_MS 10
/* Seconds in which a client that was about to ask when the end came has asked. */
#define LINGER 0.25
/* Seconds until a connection that was let in is known. */
#define ARRIVAL 0.05

/* Libraries have threads that block no signal, so it is handled wherever it arrives, and the main
 * thread is rung for. */
static atomic_int ends, reloads;
static int bell = -1;

static void
on_signal(int number)
{
    const uint64_t one = 1;
    int was = errno;
    atomic_fetch_add(number == SIGHUP ? &reloads : &ends, 1);
    ssize_t written = write(bell, &one, sizeof one); /* full: it rings already */
    (void)written;
    errno = was;
}

/* Waits for a signal, or so long. */
static void
listen_for_signal(int ms)
{
    struct pollfd at = {.fd = bell, .events = POLLIN};
    uint64_t rung;
    if (poll(&at, 1, ms) > 0 && read(bell, &rung, sizeof rung) < 0)
        return;
}

static bool
catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell >= 0 && !sigaction(SIGTERM, &action, NULL) && !sigaction(SIGINT, &action, NULL) &&
           !sigaction(SIGHUP, &action, NULL);
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
        mete__say("anybody who reaches %s may ask: set METE_SERVE_TOKEN or serve.token_file",
                  o->host);
    mete__say("serving %s at %s://%s%s%s:%s (version %s)", server->config,
              o->certificate ? "https" : "http", six ? "[" : "", o->host, six ? "]" : "", o->port,
              server->tree->version);
}

static void
reload(mete__server *server, const mete__engine_options *engine)
{
    mete__errors errors = {0};
    if (mete__tree_load(server, engine, &errors)) {
        mete__say("reloaded %s (version %s)", server->config, server->tree->version);
    } else {
        mete__errors_print(&errors, stderr);
        mete__say("the reload failed; version %s goes on", server->tree->version);
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
run(mete__server *server, const mete__engine_options *engine)
{
    while (!atomic_load(&ends)) {
        listen_for_signal(TICK_MS);
        if (atomic_exchange(&reloads, 0))
            reload(server, engine);
        tick(server);
    }
}

/* Requests under way; those so far. */
static size_t
active(mete__server *server, uint64_t *begun)
{
    pthread_mutex_lock(&server->lock);
    size_t count = server->active;
    *begun = server->begun;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* What is under way is answered, and what connected clients send until they have been told that
 * this is the last answer, or have been silent for a little; a second signal, or the time for it,
 * ends the wait. */
static void
drain(mete__server *server)
{
    double end = mete__now() + server->options.drain, quiet = mete__now();
    int first = atomic_load(&ends);
    uint64_t before, begun;
    mete__http_drain(server);
    size_t left = active(server, &before);
    while (mete__now() < end && atomic_load(&ends) == first) {
        listen_for_signal(DRAIN_TICK_MS);
        tick(server);
        left = active(server, &begun);
        if (left || begun != before)
            quiet = mete__now();
        else if (mete__now() > quiet + (mete__guests_any(server) ? LINGER : ARRIVAL))
            break;
        before = begun;
    }
    if (left)
        mete__say("%zu requests were cut", left);
    mete__queue_expire(server, INFINITY);
    mete__queue_stop(server);
    mete__http_stop(server);
}

static int
start(mete__server *server)
{
    mete_error err = {0};
    if (!mete__queue_start(server)) {
        mete__say("cannot start threads");
        return METE_EIO;
    }
    if (mete__http_start(server, &err))
        return METE_OK;
    mete__say("%s", err.message);
    mete__queue_stop(server);
    return err.code;
}

int
mete__serve(mete__server *server, const mete__engine_options *engine)
{
    pthread_condattr_t monotonic;
    mete__errors errors = {0};
    raise_files();
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->work, &monotonic);
    server->meter = mete__meter_new();
    server->guests = mete__guests_new();
    int status = server->meter && server->guests && catch_signals() ? METE_OK : METE_ENOMEM;
    if (!status && !mete__tree_load(server, engine, &errors))
        status = METE_EINVAL;
    mete__errors_print(&errors, stderr);
    mete__errors_free(&errors);
    if (!status)
        status = start(server);
    if (!status) {
        announce(server);
        run(server, engine);
        drain(server);
    }
    mete__exchanges_free(server);
    mete__tree_leave(server, server->tree);
    mete__guests_free(server->guests);
    mete__meter_free(server->meter);
    pthread_cond_destroy(&server->work);
    pthread_mutex_destroy(&server->lock);
    return status;
}
