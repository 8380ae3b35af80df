/* remote.h - what the files of the remote reward share.
 *
 * The rows of a call are parted into questions of `batch` rows. A question's body is written and
 * its answer read by the protocol (protocol.c); it is sent with retries by common/http.
 */
#ifndef REMOTE_H
#define REMOTE_H

#include "../../../common/http/http.h"

#include <mete/reward.h>

enum { PROTOCOL_METE, PROTOCOL_OPENRLHF, PROTOCOL_CLASSIFY, PROTOCOL_PREDICT, PROTOCOL_SCORE };

struct remote {
    struct http http; /* the first: HTTP_OPTIONS */
    const char *path, *model, *before, *between, *after;
    int protocol;
    int64_t batch;
    mete_strings fields, signals;
    mete_field *column; /* [fields] */
    int *signal;        /* [signals] */
};

/* What the server said of the rows of a call. */
struct answers {
    double *value;     /* [rows] */
    double *signal;    /* [signals x rows], 0 where there is none */
    uint8_t *status;   /* [rows] mete_row_status */
    mete_text *reason; /* [rows] where it is not METE_VALID */
    size_t rows;
};

/* One request: rows first..first + count of the batch. */
struct question {
    struct http_job http; /* the first: answer_read */
    size_t first, count;
    struct answers *answers;
};

/* Where each protocol is served, unless `path` says otherwise. */
const char *protocol_path(int protocol);
/* Writes the question's body. METE_OK or METE_ENOMEM. */
int question_write(const struct remote *p, const mete_batch *batch, struct question *question);
/* Reads its answer into question->answers; see http_take. */
http_take answer_read;

#endif
