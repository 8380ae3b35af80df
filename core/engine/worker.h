/* worker.h - a process of a node's own: a fork of the run, memory both see, a socket between them.
 * Only isolate.c, isolate_world.c and talk.c include this.
 *
 * A byte over the socket hands the word to the other side: the run says "go on", the worker "done"
 * or "asks" (talk.h). The end of the socket says that the other process is gone. */
#ifndef METE_ENGINE_WORKER_H
#define METE_ENGINE_WORKER_H

#include "engine/isolate.h"
#include "engine/region.h"
#include <sys/types.h>

typedef struct mete__worker {
    struct mete__worker *next;    /* its owner's */
    struct mete__worker *sibling; /* every worker of the program */
    const mete__limits *limits;
    pid_t pid;
    int socket;        /* this process's end */
    int said;          /* what the worker printed */
    unsigned rests;    /* waits to come that sleep at once */
    uint64_t learnt;   /* what the node knew when it was forked */
    mete__region call; /* what the worker is to do, and what it did */
    mete__region talk; /* a question to a model, then the answers */
} mete__worker;

enum mete__word { METE__DONE, METE__ASKS };

/* How a wait for a worker ended. */
typedef enum mete__outcome {
    METE__WORKER_DONE,
    METE__WORKER_GONE,
    METE__WORKER_LATE,
    METE__WORKER_LIED /* asked what no honest plugin can ask */
} mete__outcome;

/* ---- in the run ---- */

/* Forks a process that runs `work` and ends when that returns. NULL with a sentence. */
mete__worker *mete__worker_new(mete_node *node, const mete__limits *limits,
                               void (*work)(mete__worker *self, void *user), void *user,
                               mete_error *err);
/* Ends the process and all it started; its wait status. The worker is freed. `words` [size] is the
 * last line that it printed, shortened. */
int mete__worker_end(mete__worker *gone, char *words, size_t size);
/* Ends a worker that was lost, and says how in a sentence without a subject. */
void mete__worker_lose(mete__worker *gone, mete__outcome how, char *why, size_t size);
/* Gives the word to the worker and waits until it is done. Its questions are answered with `cx` in
 * between, for as long as that takes: the limit is on the worker's own time. */
mete__outcome mete__worker_wait(mete__worker *to, mete_ctx *cx);
/* What the worker printed goes to the journal, line by line. */
void mete__worker_relay(mete_ctx *cx, const mete__worker *of);

/* ---- in the worker ---- */

/* The worker this process is; NULL in the run. */
mete__worker *mete__worker_self(void);
/* Waits for the run's word; false: the run is gone. */
bool mete__worker_hear(mete__worker *self);
/* Says a word to the run; false: it is gone. */
bool mete__worker_say(mete__worker *self, enum mete__word word);
/* Whether this process ends by itself when its limit is long over, whatever its plugin made of
 * signals: for the case that nobody is left to end it. */
void mete__worker_watched(const mete__worker *self, bool watched);

#endif
