/* guests.c - clients that take too long: libmicrohttpd ends connections that rest, but one that
 * sends a byte now and then never rests. So each has a time by which its first headers, or a body,
 * must be whole; a connection past it is shut, which its I/O thread then notices.
 */
#include "serve/serve.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

typedef struct guest {
    int socket;
    _Atomic double until; /* 0: no hurry */
    struct guest *before, *after;
} guest;

struct mete__guests {
    pthread_mutex_t lock;
    guest *first;
};

struct mete__guests *
mete__guests_new(void)
{
    struct mete__guests *guests = calloc(1, sizeof *guests);
    if (guests)
        pthread_mutex_init(&guests->lock, NULL);
    return guests;
}

void
mete__guests_free(struct mete__guests *guests)
{
    if (guests)
        pthread_mutex_destroy(&guests->lock);
    free(guests);
}

static void
arrive(mete__server *server, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    guest *g = calloc(1, sizeof *g);
    int one = 1;
    *context = g;
    if (!g || !info)
        return;
    g->socket = info->connect_fd;
    g->until = mete__now() + server->options.header;
    setsockopt(g->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_mutex_lock(&server->guests->lock);
    g->after = server->guests->first;
    if (g->after)
        g->after->before = g;
    server->guests->first = g;
    pthread_mutex_unlock(&server->guests->lock);
}

static void
depart(mete__server *server, guest *g)
{
    pthread_mutex_lock(&server->guests->lock);
    if (g->before)
        g->before->after = g->after;
    else if (server->guests->first == g)
        server->guests->first = g->after;
    if (g->after)
        g->after->before = g->before;
    pthread_mutex_unlock(&server->guests->lock);
    free(g);
}

void
mete__guest_notify(void *user, struct MHD_Connection *connection, void **context,
                   enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        arrive(user, connection, context);
    else if (*context)
        depart(user, *context);
}

void
mete__guest_hurry(struct MHD_Connection *connection, double seconds)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    guest *g = info ? info->socket_context : NULL;
    if (!g)
        return;
    atomic_store_explicit(&g->until, seconds > 0 ? mete__now() + seconds : 0, memory_order_relaxed);
}

bool
mete__guests_any(mete__server *server)
{
    pthread_mutex_lock(&server->guests->lock);
    bool any = server->guests->first != NULL;
    pthread_mutex_unlock(&server->guests->lock);
    return any;
}

void
mete__guests_cut(mete__server *server, double now)
{
    pthread_mutex_lock(&server->guests->lock);
    for (guest *g = server->guests->first; g; g = g->after)
        if (g->until > 0 && g->until < now) {
            shutdown(g->socket, SHUT_RDWR);
            g->until = 0;
        }
    pthread_mutex_unlock(&server->guests->lock);
}
