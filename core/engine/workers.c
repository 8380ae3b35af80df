/* workers.c - a pool of threads that shares out numbered pieces of work. */
#include "engine/engine.h"
#include "engine/context.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct mete__workers {
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    pthread_t *thread;
    unsigned threads; /* beside the caller */
    uint64_t round;   /* grows by one each run */
    unsigned busy;
    int stop;
    atomic_size_t next;
    size_t count;
    void (*work)(void *user, size_t i);
    void *user;
};

static void
drain(mete__workers *workers)
{
    size_t i;
    while ((i = atomic_fetch_add(&workers->next, 1)) < workers->count)
        workers->work(workers->user, i);
}

static void *
run(void *argument)
{
    mete__workers *workers = argument;
    uint64_t seen = 0;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (!workers->stop && workers->round == seen)
            pthread_cond_wait(&workers->start, &workers->lock);
        if (workers->stop)
            break;
        seen = workers->round;
        pthread_mutex_unlock(&workers->lock);
        drain(workers);
        pthread_mutex_lock(&workers->lock);
        if (--workers->busy == 0)
            pthread_cond_signal(&workers->done);
    }
    pthread_mutex_unlock(&workers->lock);
    mete__scratch_drop();
    return NULL;
}

mete__workers *
mete__workers_new(unsigned threads)
{
    mete__workers *workers = calloc(1, sizeof *workers);
    if (!workers)
        return NULL;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->start, NULL);
    pthread_cond_init(&workers->done, NULL);
    if (threads < 2)
        return workers;
    workers->thread = calloc(threads - 1, sizeof *workers->thread);
    /* Fewer threads than asked for change the speed, never the results. */
    for (unsigned i = 0; workers->thread && i + 1 < threads; i++) {
        if (pthread_create(&workers->thread[i], NULL, run, workers))
            break;
        workers->threads++;
    }
    return workers;
}

unsigned
mete__workers_threads(const mete__workers *workers)
{
    return workers ? workers->threads + 1 : 1;
}

void
mete__workers_free(mete__workers *workers)
{
    if (!workers)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->stop = 1;
    pthread_cond_broadcast(&workers->start);
    pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->threads; i++)
        pthread_join(workers->thread[i], NULL);
    pthread_cond_destroy(&workers->start);
    pthread_cond_destroy(&workers->done);
    pthread_mutex_destroy(&workers->lock);
    free(workers->thread);
    free(workers);
}

void
mete__workers_run(mete__workers *workers, size_t count, void (*work)(void *user, size_t i),
                  void *user)
{
    if (!workers || !workers->threads || count < 2) {
        for (size_t i = 0; i < count; i++)
            work(user, i);
        return;
    }
    pthread_mutex_lock(&workers->lock);
    workers->work = work;
    workers->user = user;
    workers->count = count;
    atomic_store(&workers->next, 0);
    workers->busy = workers->threads;
    workers->round++;
    pthread_cond_broadcast(&workers->start);
    pthread_mutex_unlock(&workers->lock);
    drain(workers);
    pthread_mutex_lock(&workers->lock);
    while (workers->busy)
        pthread_cond_wait(&workers->done, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
}
