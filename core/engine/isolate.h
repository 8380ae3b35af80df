/* isolate.h - a reward scored in a process of its own (`isolate = "process"`), which may crash,
 * hang or exit without hurting the run. Only the engine's own files include this. */
#ifndef METE_ENGINE_ISOLATE_H
#define METE_ENGINE_ISOLATE_H

#include "engine/context.h"

typedef struct mete__isolate mete__isolate;

/* The limits of a node's processes, as `node = { }` gives them. */
typedef struct mete__limits {
    double timeout; /* seconds a call may take */
    double memory;  /* MiB beyond what the run had when the process began; 0: no limit */
    int64_t losses; /* processes lost before the node is given up */
    bool fork;      /* may start processes of its own */
} mete__limits;

/* NULL: out of memory. No process is started before it is needed. */
mete__isolate *mete__isolate_new(const mete__limits *limits);
/* Ends its processes. NULL is fine. */
void mete__isolate_free(mete__isolate *isolate);
const mete__limits *mete__isolate_limits(const mete__isolate *isolate);
/* As mete__score_here, in another process. Rows whose scoring lost the process are marked failed or
 * timed out, each with its reason; the others keep the scores they have without it: a call that was
 * lost is tried again in halves, down to the row (or group, or batch, where the plugin wants them
 * whole). */
int mete__isolate_score(mete__frame *frame, mete_node *node, const mete__chunk *chunk,
                        mete_error *err);
/* Something of a node's that runs in the run itself: METE_OK, or a status with a sentence. */
typedef int (*mete__act)(void *user, mete_error *err);
/* Does it in a process that is thrown away, for the sake of what becomes of that process: what it
 * came to there, or METE_EPLUGIN, a sentence and *survived false where the process was lost, which
 * counts as one of its losses. `what` names it: "open". Models it asks are asked by the run. */
int mete__isolate_rehearse(mete_ctx *cx, const char *what, mete__act act, void *user,
                           bool *survived);
/* Whether so many of its processes were lost that it is asked no more. */
bool mete__isolate_given_up(const mete__isolate *isolate);

#endif
