/* load.c - a load of POST requests over kept connections: load PORT PATH BODYFILE CONNECTIONS
 * SECONDS. Prints one JSON object: answers a second, percentiles of their time in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    int socket;
    size_t got, want; /* bytes of the answer; 0: its length is not known yet */
    double sent;
    char head[4096];
};

static char *request;
static size_t length;
static double *taken;
static size_t answers, room;

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
fail(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static void
ask(struct client *c)
{
    c->got = c->want = 0;
    c->sent = now();
    for (size_t at = 0; at < length;) {
        ssize_t n = send(c->socket, request + at, length - at, MSG_NOSIGNAL);
        if (n <= 0)
            fail("cannot send");
        at += (size_t)n;
    }
}

/* One whole answer? */
static int
hear(struct client *c)
{
    static char rest[1 << 16];
    size_t space = c->got < sizeof c->head - 1 ? sizeof c->head - 1 - c->got : 0;
    ssize_t n =
        space ? recv(c->socket, c->head + c->got, space, 0) : recv(c->socket, rest, sizeof rest, 0);
    if (n <= 0)
        fail("the connection ended");
    c->got += (size_t)n;
    if (!c->want) {
        c->head[c->got] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        char *size = end ? strcasestr(c->head, "content-length:") : NULL;
        if (strncmp(c->head, "HTTP/1.1 200", 12) != 0)
            fail(c->head);
        if (size)
            c->want = (size_t)(end + 4 - c->head) + strtoul(size + 15, NULL, 10);
    }
    return c->want && c->got >= c->want;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void
read_request(const char *path, const char *file)
{
    static char body[1 << 24];
    FILE *f = fopen(file, "rb");
    size_t n = f ? fread(body, 1, sizeof body, f) : 0;
    if (!f || asprintf(&request,
                       "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       path, n) < 0)
        fail("cannot read the body");
    size_t head = strlen(request);
    request = realloc(request, head + n);
    memcpy(request + head, body, n);
    length = head + n;
}

int
main(int argc, char **argv)
{
    if (argc != 6)
        fail("load PORT PATH BODYFILE CONNECTIONS SECONDS");
    size_t clients = strtoul(argv[4], NULL, 10);
    double seconds = strtod(argv[5], NULL);
    struct client *client = calloc(clients, sizeof *client);
    struct epoll_event event[64];
    int poll = epoll_create1(0), one = 1;
    read_request(argv[2], argv[3]);
    for (size_t i = 0; i < clients; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        client[i].socket = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client[i].socket, (struct sockaddr *)&at, sizeof at))
            fail("cannot connect");
        setsockopt(client[i].socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event in = {.events = EPOLLIN, .data.ptr = &client[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, client[i].socket, &in);
        ask(&client[i]);
    }
    double begin = now(), end = begin + seconds, at = begin;
    while (at < end) {
        int n = epoll_wait(poll, event, 64, 1000);
        at = now();
        for (int i = 0; i < n; i++) {
            struct client *c = event[i].data.ptr;
            if (!hear(c))
                continue;
            if (answers == room) {
                room = room ? 2 * room : 65536;
                taken = realloc(taken, room * sizeof *taken);
            }
            taken[answers++] = now() - c->sent;
            ask(c);
        }
    }
    qsort(taken, answers, sizeof *taken, by_value);
    printf("{\"per_second\":%.1f,\"p50\":%.1f,\"p99\":%.1f}\n", (double)answers / (at - begin),
           1e6 * taken[answers / 2], 1e6 * taken[answers * 99 / 100]);
    return 0;
}
