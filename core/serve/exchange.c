/* exchange.c - requests and their memory, which is used again. */
#include "serve/serve.h"

#include <stdarg.h>
#include <stdlib.h>

#define SPARES 256
#define SPARE_BYTES ((size_t)1 << 18) /* one that grew beyond is not kept */

double
mete__now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

mete__exchange *
mete__exchange_new(mete__server *server)
{
    pthread_mutex_lock(&server->lock);
    mete__exchange *x = server->spare;
    if (x) {
        server->spare = x->next;
        server->spares--;
    } else {
        x = calloc(1, sizeof *x);
    }
    if (x) {
        x->server = server;
        x->users = 1;
        x->stage = METE__READING;
        x->next = x->before = NULL;
        x->tree = server->tree;
        x->tree->users++;
        x->after = server->under_way;
        if (x->after)
            x->after->before = x;
        server->under_way = x;
        server->active++;
        server->begun++;
    }
    pthread_mutex_unlock(&server->lock);
    if (!x)
        return NULL;
    x->connection = NULL;
    x->protocol = NULL;
    x->page = METE__PAGE_NONE;
    x->gzip = x->seen = x->over = false;
    x->counted = 0;
    x->code = 0;
    x->begun = mete__now();
    x->deadline = 0;
    mete_buffer_clear(&x->body);
    mete_buffer_clear(&x->answer);
    return x;
}

static void
destroy(mete__exchange *x)
{
    mete__call_free(&x->call);
    mete_buffer_free(&x->body);
    mete_buffer_free(&x->answer);
    free(x);
}

void
mete__exchange_leave(mete__exchange *x)
{
    mete__server *server = x->server;
    pthread_mutex_lock(&server->lock);
    if (--x->users) {
        pthread_mutex_unlock(&server->lock);
        return;
    }
    mete__tree *left = --x->tree->users ? NULL : x->tree;
    if (x->before)
        x->before->after = x->after;
    else
        server->under_way = x->after;
    if (x->after)
        x->after->before = x->before;
    server->active--;
    atomic_fetch_sub(&server->bytes, x->counted);
    bool keep = server->spares < SPARES && x->body.capacity + x->answer.capacity < SPARE_BYTES;
    if (keep) {
        x->next = server->spare;
        server->spare = x;
        server->spares++;
    }
    pthread_mutex_unlock(&server->lock);
    if (!keep)
        destroy(x);
    if (left)
        mete__tree_close(left);
}

void
mete__exchanges_free(mete__server *server)
{
    while (server->spare) {
        mete__exchange *x = server->spare;
        server->spare = x->next;
        destroy(x);
    }
}

void
mete__exchange_fail(mete__exchange *x, unsigned code, const char *format, ...)
{
    char sentence[1200];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    x->code = code;
    mete_buffer_clear(&x->answer);
    mete_buffer_string(&x->answer, "{\"error\":");
    mete_json_put_text(&x->answer, mete_text_from(sentence));
    mete_buffer_string(&x->answer, ",\"version\":");
    mete_json_put_text(&x->answer, mete_text_from(x->tree->version));
    mete_buffer_byte(&x->answer, '}');
}
