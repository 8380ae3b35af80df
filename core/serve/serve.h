/* serve.h - mete serve: a config's reward tree behind HTTP.
 *
 * I/O threads (libmicrohttpd, epoll) read requests. A request to a tree that asks no model is
 * scored where it arrived when a tree is idle; any other waits in a bounded queue, from which
 * threads take as much as makes a batch. Requests have deadlines; a tree is replaced whole by a
 * reload, and those under way end on the one they began with.
 */
#ifndef METE_SERVE_SERVE_H
#define METE_SERVE_SERVE_H

#include "protocol/protocol.h"
#include "score/scorer.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

/* The group `serve` of a config. */
typedef struct mete__serve_options {
    const char *host;
    char port[8];
    unsigned threads;    /* trees, each with a thread */
    size_t batch;        /* most records scored at once */
    double wait;         /* seconds a batch that is not full waits for more */
    size_t queue;        /* most requests that wait */
    size_t body, memory; /* most bytes of a body, of all bodies at once */
    unsigned connections;
    double deadline;       /* seconds from a request's last byte to its answer */
    double header, upload; /* seconds for a client's first headers; for a body */
    double idle;           /* seconds a connection may rest */
    double drain;          /* seconds for what is under way at the end */
    mete__missing missing;
    bool bare;               /* /v1/rerank as SGLang */
    char *label;             /* the column of protocols with one label; or empty */
    char *token;             /* or NULL: anybody may ask */
    char *certificate, *key; /* TLS, in PEM; or NULL */
} mete__serve_options;

/* A tree and its version. */
typedef struct mete__tree {
    mete_scorer *scorer;
    mete__setting setting;
    char version[48];
    bool quick;           /* asks nobody: scored where it arrives */
    bool whole;           /* its scores depend on the batch: a request is one */
    uint64_t (*count)[4]; /* records by node and status, of the meter */
    double *sum;          /* values by node */
    size_t users;         /* under the server's lock: requests, and being the current one */
} mete__tree;

enum mete__stage { METE__READING, METE__QUEUED, METE__SCORING, METE__ANSWERED, METE__EXPIRED };

/* A request, from its headers to the last byte of its answer. */
typedef struct mete__exchange {
    struct mete__server *server;
    struct MHD_Connection *connection;
    const mete__protocol *protocol; /* or NULL: a page of the server's own */
    int page;
    unsigned users; /* under the lock: the connection, and who scores it */
    enum mete__stage stage;
    bool gzip, seen, over;
    mete__tree *tree;
    mete__call call;
    mete_buffer body, answer;
    size_t counted; /* bytes of the body in server->bytes */
    unsigned code;
    double begun, deadline;
    struct mete__exchange *next;           /* in the queue, or among those to be used again */
    struct mete__exchange *before, *after; /* among those under way */
} mete__exchange;

typedef struct mete__server {
    mete__serve_options options;
    const char *config;
    const char *const *set;
    size_t sets;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t *thread;
    size_t threads;
    bool stopping;
    atomic_bool draining;
    mete__tree *tree;
    unsigned loads;
    mete__exchange *first, *last; /* the queue */
    size_t waiting;
    mete__exchange *under_way, *spare;
    size_t active, spares;
    uint64_t begun; /* requests so far */
    atomic_size_t bytes;
    struct mete__meter *meter;
    struct mete__guests *guests;
} mete__server;

/* Serves until SIGTERM or SIGINT; the exit code's status (METE_OK, or what kept it from starting,
 * said on stderr by `say`). */
int mete__serve(mete__server *server, const mete__engine_options *engine);

double mete__now(void);

/* options.c */
bool mete__serve_options_read(mete__config *config, mete__serve_options *options,
                              mete__errors *errors);
void mete__serve_options_free(mete__serve_options *options);

/* tree.c: replaces the tree by the config as it is now; false, and the old one stays, after adding
 * errors. */
bool mete__tree_load(mete__server *server, const mete__engine_options *engine,
                     mete__errors *errors);
mete__tree *mete__tree_use(mete__server *server);
void mete__tree_leave(mete__server *server, mete__tree *tree);
void mete__tree_close(mete__tree *tree); /* one that nobody uses */

/* queue.c */
/* Scores a call that was read, here and now where that is right; true: it is answered. Else it is
 * in the queue, its connection suspended; or, with code 503, there was no room. */
bool mete__exchange_score(mete__exchange *exchange);
bool mete__queue_start(mete__server *server);
void mete__queue_stop(mete__server *server);
/* Answers what is past its deadline, as of `now`, by 504. */
void mete__queue_expire(mete__server *server, double now);
/* The exchange's answer becomes one sentence. */
void mete__exchange_fail(mete__exchange *exchange, unsigned code, const char *format, ...)
    METE_PRINTF(3, 4);

/* exchange.c */
mete__exchange *mete__exchange_new(mete__server *server);
/* One user less; the last puts it by. */
void mete__exchange_leave(mete__exchange *exchange);
void mete__exchanges_free(mete__server *server);

/* http.c */
bool mete__http_start(mete__server *server, mete_error *err);
void mete__http_drain(mete__server *server);
void mete__http_stop(mete__server *server);

/* guests.c: connections, so that those which take too long are cut. */
struct mete__guests *mete__guests_new(void);
void mete__guests_free(struct mete__guests *guests);
void mete__guest_notify(void *user, struct MHD_Connection *connection, void **socket_context,
                        enum MHD_ConnectionNotificationCode code);
/* So many seconds from now the client must have sent what is next; 0: it is not its turn. */
void mete__guest_hurry(struct MHD_Connection *connection, double seconds);
void mete__guests_cut(mete__server *server, double now);
/* Is anybody connected? */
bool mete__guests_any(mete__server *server);

/* meter.c: figures for /metrics. */
struct mete__meter *mete__meter_new(void);
void mete__meter_free(struct mete__meter *meter);
void mete__meter_answer(mete__server *server, const mete__exchange *exchange);
/* Takes over what the lane's tree counted. */
void mete__meter_batch(mete__server *server, mete__tree *tree, mete__scoring *scoring,
                       size_t calls);
void mete__meter_write(mete__server *server, mete_buffer *out);

/* pages.c: what the server answers itself. */
enum {
    METE__PAGE_NONE,
    METE__PAGE_HOME,
    METE__PAGE_HEALTH,
    METE__PAGE_METRICS,
    METE__PAGE_OPENAPI,
    METE__PAGE_REVERIFY
};
int mete__page_find(const char *path);
/* Writes it; its type. */
const char *mete__page_write(mete__server *server, int page, mete_buffer *out);

#endif
