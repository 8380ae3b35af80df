/* isolate.c - rewards in processes of their own.
 *
 * A worker is a fork of the run, so the instance stands in it as it stood, at the same addresses. A
 * call is laid down in memory both see (region.h): the batch, the children's scores, room for its
 * own. One byte over a socket says "score", one says "done"; the end of the socket says that
 * the worker is gone. The run reads back numbers and bounded texts alone: its own pointers and
 * counts are the ones it kept.
 *
 * What a node learns, it learns in the run; a worker forked before that is replaced. Live numbers
 * and the iteration travel with each call.
 */
#include "engine/isolate.h"
#include "engine/region.h"

#include <errno.h>
#include <math.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A batch larger than this cannot be scored in another process. */
#define REGION_SIZE ((size_t)4 << 30)
/* Bytes behind each array of scores that must stay as they are. */
#define GUARD 64
#define GUARD_BYTE 0xa5
/* Seconds a worker outlives its limit where nobody is left to end it. */
#define GRACE 1.0
/* Looks at the socket before sleeping: some 20 to 40 microseconds. */
#define TRIES 64

/* What stands at the beginning of the region. Written by the run; status, err and notes_end by the
 * worker. */
typedef struct call {
    const mete_batch *batch;
    mete__result *result; /* [engine->nodes]: the node's and its children's are filled */
    const double *live;   /* [lives] */
    uint64_t iteration;
    size_t noted; /* rows whose notes are kept */
    bool derived;
    int status;
    mete_error err;
    size_t notes, notes_end; /* offsets in the region */
} call;

enum { NOTE_REASON, NOTE_LOG, NOTE_FOUND };

/* Something said while scoring: why row `at` failed, a line for the journal of level `at`, or what
 * was found in row `at` and how far it holds. */
typedef struct note {
    uint32_t kind, length;
    uint64_t at;
    double value;
} note;

typedef struct worker {
    struct worker *next, *sibling;
    pid_t pid;
    int socket; /* the run's end */
    int said;   /* what it printed */
    uint64_t learnt;
    mete__region region;
} worker;

struct mete__isolate {
    mete__limits limits;
    pthread_mutex_t lock;
    worker *idle;
    atomic_int_fast64_t lost;
    atomic_bool given_up;
};

/* Every worker of the program, so that a new one can close its elder siblings' sockets: the end of
 * a socket must mean the end of its one worker. Held across a fork. */
static pthread_mutex_t siblings_lock = PTHREAD_MUTEX_INITIALIZER;
static worker *siblings;

/* Waits for the other side's byte, as long as the socket was told to: 1 it came, 0 the other side
 * is gone, -1 time is up. It mostly comes sooner than a process that sleeps is woken, so the first
 * tries do not sleep. */
static int
hear(int socket)
{
    char byte;
    ssize_t got = -1;
    for (int try = 0; try < TRIES && got < 0; try++)
        got = recv(socket, &byte, 1, MSG_DONTWAIT);
    while (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        got = recv(socket, &byte, 1, 0);
        if (got < 0 && errno == EAGAIN)
            return -1;
    }
    return got == 1;
}

/* ---- in the worker --------------------------------------------------------------------------- */

static worker *self; /* of this process, in a worker */

static bool within; /* this process is a node's own */

int
mete_isolated(const mete_ctx *cx)
{
    (void)cx;
    return within;
}

static void
note_put(uint32_t kind, uint64_t at, double value, const char *text, size_t length)
{
    note *to = mete__region_take(&self->region, sizeof *to + length);
    if (!to)
        return;
    *to = (note){kind, (uint32_t)length, at, value};
    memcpy(to + 1, text, length);
}

static void
note_log(void *user, const char *path, int level, const char *text)
{
    (void)user;
    (void)path;
    note_put(NOTE_LOG, (uint64_t)level, 0, text, strlen(text));
}

/* Grades cross as findings, of the rows that become samples alone. */
static void
note_grades(const mete__graded *graded, const call *asked)
{
    for (size_t i = 0; graded && i < asked->noted && i < asked->batch->episodes; i++)
        for (size_t k = 0; k < graded[i].count; k++) {
            mete_text text = graded[i].item[k].text;
            note_put(NOTE_FOUND, i, graded[i].grade[k], text.data, text.length);
        }
}

static void
answer(mete_node *node, call *asked)
{
    mete__engine *engine = node->engine;
    mete__arena *arena = mete__scratch();
    mete__arena_mark mark = mete__arena_marked(arena), kept = mete__arena_marked(engine->arena);
    mete__chunk chunk = {.all = *asked->batch, .reward = *asked->batch};
    mete__frame frame = {.engine = engine,
                         .batch = asked->batch,
                         .arena = arena,
                         .result = asked->result,
                         .derived = asked->derived};
    engine->iteration = asked->iteration;
    engine->noted = asked->noted;
    engine->graded = asked->noted > 0;
    asked->result[node->private_->number].graded = NULL;
    for (size_t i = 0; i < node->private_->lives; i++)
        *node->private_->live[i].target = asked->live[i];
    self->region.used = asked->notes;
    self->region.full = false;
    asked->status = mete__score_here(&frame, node, &chunk, &asked->err);
    const mete__result *result = &asked->result[node->private_->number];
    char **reason = (char **)(uintptr_t)result->reason;
    for (size_t i = 0; reason && i < asked->batch->episodes; i++)
        if (reason[i])
            note_put(NOTE_REASON, i, 0, reason[i], strlen(reason[i]));
    for (const mete__note *found = result->note; found; found = found->next)
        note_put(NOTE_FOUND, found->row, found->value, found->text, strlen(found->text));
    note_grades(result->graded, asked);
    asked->notes_end = self->region.used;
    mete__arena_release(engine->arena, kept);
    mete__arena_release(arena, mark);
    fflush(stdout);
    fflush(stderr);
}

/* No new processes: neither forks nor other programs. Threads stay allowed; clone3, whose flags a
 * filter cannot see, is refused as unknown, and the C library then asks for clone. */
static bool
forbid_forks(void)
{
    const uint32_t no = SCMP_ACT_ERRNO(EPERM);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return false;
    int bad = seccomp_rule_add(filter, no, SCMP_SYS(fork), 0);
    bad |= seccomp_rule_add(filter, no, SCMP_SYS(vfork), 0);
    bad |= seccomp_rule_add(filter, no, SCMP_SYS(execve), 0);
    bad |= seccomp_rule_add(filter, no, SCMP_SYS(execveat), 0);
    bad |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    bad |= seccomp_rule_add(filter, no, SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, 0x00010000 /* CLONE_THREAD */, 0));
    bad |= seccomp_load(filter);
    seccomp_release(filter);
    return !bad;
}

static void
limit_memory(double megabytes)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return;
    if (fscanf(file, "%lu", &pages) == 1) {
        rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (rlim_t)(megabytes * 1048576);
        setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
    }
    fclose(file);
}

/* The state a forked process needs before a plugin's code runs in it. */
static void
settle_in(mete__engine *engine, const mete__limits *limits, int said)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (limits->memory > 0)
        limit_memory(limits->memory);
    __fpurge(stdout);
    dup2(said, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    /* Only this thread lives on: locks the others held would stay shut, and nobody else would take
     * a share of the work. */
    within = true;
    engine->workers = NULL;
    engine->metric = NULL;
    pthread_mutex_init(&engine->lock, NULL);
    for (size_t i = 0; i < engine->nodes; i++) {
        pthread_mutex_init(&engine->node[i]->private_->lock, NULL);
        engine->node[i]->private_->isolate = NULL; /* one process is enough */
    }
    if (!limits->fork && !forbid_forks())
        fputs("cannot be kept from starting processes: the system refuses filters\n", stderr);
}

/* A timer that ends this process, whatever its plugin made of signals; false: there is none. */
static bool
deadline_make(timer_t *timer)
{
    struct sigevent kill_me = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    return timer_create(CLOCK_MONOTONIC, &kill_me, timer) == 0;
}

/* Sets it to so many seconds from now; 0: never mind. */
static void
deadline(timer_t timer, double seconds)
{
    struct itimerspec at = {0};
    at.it_value.tv_sec = (time_t)seconds;
    at.it_value.tv_nsec = (long)((seconds - (double)at.it_value.tv_sec) * 1e9);
    timer_settime(timer, 0, &at, NULL);
}

static void __attribute__((noreturn)) work(mete__isolate *isolate, mete_node *node, int socket)
{
    timer_t timer;
    bool timed = deadline_make(&timer);
    settle_in(node->engine, &isolate->limits, self->said);
    if (node->engine->options.log)
        node->engine->options.log = note_log;
    while (hear(socket) == 1) {
        if (timed)
            deadline(timer, isolate->limits.timeout + GRACE);
        answer(node, (call *)(void *)self->region.base);
        if (timed)
            deadline(timer, 0);
        if (write(socket, "", 1) != 1)
            break;
    }
    _exit(0);
}

/* ---- processes, seen from the run ------------------------------------------------------------ */

/* Grows whenever the node, or a node it holds, may have learnt. */
static uint64_t
learnt(const mete_node *node)
{
    const mete__engine *engine = node->engine;
    uint64_t sum = 0;
    for (size_t i = 0; i < engine->nodes; i++)
        for (const mete_node *up = engine->node[i]; up; up = up->parent)
            if (up == node) {
                sum += engine->node[i]->private_->learnt;
                break;
            }
    return sum;
}

static void
worker_free(worker *gone)
{
    pthread_mutex_lock(&siblings_lock);
    for (worker **at = &siblings; *at; at = &(*at)->sibling)
        if (*at == gone) {
            *at = gone->sibling;
            break;
        }
    close(gone->socket);
    pthread_mutex_unlock(&siblings_lock);
    close(gone->said);
    mete__region_unmap(&gone->region);
    free(gone);
}

/* Ends the process and all it started; its wait status. */
static int
put_down(pid_t pid)
{
    int status = 0;
    kill(pid, SIGKILL);
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static worker *
worker_new(mete__isolate *isolate, mete_node *node, mete_error *err)
{
    worker *made = calloc(1, sizeof *made);
    int pair[2] = {-1, -1};
    if (!made || !mete__region_map(&made->region, REGION_SIZE)) {
        free(made);
        mete_error_set(err, METE_ENOMEM, "%s: no memory to share with a process", node->path);
        return NULL;
    }
    made->said = memfd_create("said", MFD_CLOEXEC);
    made->learnt = learnt(node);
    pthread_mutex_lock(&siblings_lock);
    bool ready = made->said >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0;
    made->pid = ready ? fork() : -1;
    if (made->pid == 0) {
        self = made;
        for (const worker *elder = siblings; elder; elder = elder->sibling)
            close(elder->socket);
        close(pair[0]);
        work(isolate, node, pair[1]);
    }
    int why = errno;
    if (ready)
        close(pair[1]);
    made->socket = pair[0];
    made->sibling = siblings;
    siblings = made;
    pthread_mutex_unlock(&siblings_lock);
    if (made->pid > 0) {
        const double limit = isolate->limits.timeout;
        const struct timeval most = {(time_t)limit, (suseconds_t)((limit - floor(limit)) * 1e6)};
        setsockopt(made->socket, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
        setpgid(made->pid, made->pid); /* both sides: whoever comes first */
        return made;
    }
    mete_error_set(err, METE_EIO, "%s: cannot start a process: %s", node->path, strerror(why));
    worker_free(made);
    return NULL;
}

/* A worker that knows all that was learnt so far. */
static worker *
worker_take(mete__isolate *isolate, mete_node *node, mete_error *err)
{
    uint64_t now = learnt(node);
    for (;;) {
        pthread_mutex_lock(&isolate->lock);
        worker *found = isolate->idle;
        if (found)
            isolate->idle = found->next;
        pthread_mutex_unlock(&isolate->lock);
        if (!found)
            return worker_new(isolate, node, err);
        if (found->learnt == now)
            return found;
        put_down(found->pid);
        worker_free(found);
    }
}

static void
worker_give(mete__isolate *isolate, worker *done)
{
    pthread_mutex_lock(&isolate->lock);
    done->next = isolate->idle;
    isolate->idle = done;
    pthread_mutex_unlock(&isolate->lock);
}

/* The last line that the worker printed, shortened; "" when it printed none. */
static void
last_words(const worker *of, char *text, size_t size)
{
    char end[400];
    off_t length = lseek(of->said, 0, SEEK_END);
    off_t from = length > (off_t)sizeof end ? length - (off_t)sizeof end : 0;
    ssize_t got = length > 0 ? pread(of->said, end, sizeof end, from) : 0;
    while (got > 0 && (end[got - 1] == '\n' || end[got - 1] == ' '))
        got--;
    ssize_t line = got;
    while (line > 0 && end[line - 1] != '\n')
        line--;
    snprintf(text, size, "%.*s", got > 0 ? (int)(got - line) : 0, end + (line > 0 ? line : 0));
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
}

/* What the worker printed goes to the journal, line by line. */
static void
relay(mete_ctx *cx, const worker *of)
{
    char text[8192];
    off_t length = lseek(of->said, 0, SEEK_END);
    if (length <= 0)
        return;
    ssize_t got = pread(of->said, text, sizeof text - 1, 0);
    if (ftruncate(of->said, 0) == 0)
        lseek(of->said, 0, SEEK_SET);
    if (got <= 0)
        return;
    text[got] = 0;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        mete_log(cx, 1, "printed: %s", line);
}

/* ---- a call ---------------------------------------------------------------------------------- */

typedef struct loss {
    int status; /* mete_row_status */
    char why[600];
} loss;

/* An array the worker writes, with its guard. */
static void *
lay_out(mete__region *region, size_t bytes)
{
    char *array = mete__region_take(region, bytes + GUARD);
    if (!array)
        return NULL;
    memset(array, 0, bytes);
    memset(array + bytes, GUARD_BYTE, GUARD);
    return array;
}

static bool
intact(const void *array, size_t bytes)
{
    const unsigned char *guard = (const unsigned char *)array + bytes;
    for (size_t i = 0; array && i < GUARD; i++)
        if (guard[i] != GUARD_BYTE)
            return false;
    return true;
}

/* A child's scores of the chunk. */
static void
lay_child(mete__region *region, const mete_batch *view, const mete__chunk *chunk,
          const mete_node *child, const mete__result *from, mete__result *to)
{
    size_t rows = view->episodes;
    const mete_scores *scores = &from->scores;
    to->scores = *scores;
    to->scores.episode =
        mete__region_put(region, scores->episode + chunk->row, rows * sizeof(double));
    to->scores.status = mete__region_put(region, scores->status + chunk->row, rows);
    if (scores->step)
        to->scores.step =
            mete__region_put(region, scores->step + chunk->step, view->steps * sizeof(double));
    if (scores->spread)
        to->scores.spread =
            mete__region_put(region, scores->spread + chunk->row, rows * sizeof(double));
    to->signal = mete__region_take(region, (child->declareds + 1) * sizeof *to->signal);
    for (size_t i = 0; to->signal && i < child->declareds; i++) {
        mete_level level = child->declared[i].level;
        to->signal[i] = mete__region_put(region, from->signal[i] + mete__chunk_at(chunk, level),
                                         mete__batch_rows_at(view, level) * sizeof(double));
    }
    to->done = true;
}

/* Room for the node's own scores; `own` is the run's copy of where they are. */
static void
lay_own(mete__region *region, const mete_batch *view, const mete__chunk *chunk,
        const mete_node *node, const mete__result *from, mete__result *own)
{
    size_t rows = view->episodes, each = (size_t)node->plugin->as.head.episode_size;
    *own = (mete__result){.scores = from->scores};
    own->scores.host = NULL;
    own->scores.episode = lay_out(region, rows * sizeof(double));
    own->scores.status = lay_out(region, rows);
    if (from->scores.step)
        own->scores.step = lay_out(region, view->steps * sizeof(double));
    if (from->scores.spread)
        own->scores.spread = lay_out(region, rows * sizeof(double));
    own->signal = mete__region_take(region, (node->declareds + 1) * sizeof *own->signal);
    for (size_t i = 0; own->signal && i < node->declareds; i++)
        own->signal[i] =
            lay_out(region, mete__batch_rows_at(view, node->declared[i].level) * sizeof(double));
    own->state = from->state ? lay_out(region, rows * each) : NULL;
    if (own->state)
        memcpy(own->state, from->state + chunk->row * each, rows * each);
}

/* Lays the call down; false when it does not fit. `signal` [declareds] keeps where the node's
 * signals are, out of the worker's reach. */
static bool
lay_call(worker *to, const mete__frame *frame, const mete_node *node, const mete_batch *view,
         const mete__chunk *chunk, mete__result *own, double **signal)
{
    mete__region *region = &to->region;
    const mete__node_private *private_ = node->private_;
    mete__region_rewind(region, 0);
    call *asked = mete__region_take(region, sizeof *asked);
    size_t nodes = frame->engine->nodes;
    mete__result *result = mete__region_take(region, nodes * sizeof *result);
    double *live = mete__region_take(region, (private_->lives + 1) * sizeof *live);
    const mete_batch *batch = mete__region_batch(region, view);
    if (!asked || !result || !live || !batch)
        return false;
    memset(result, 0, nodes * sizeof *result);
    for (size_t i = 0; i < private_->lives; i++)
        live[i] = *private_->live[i].target;
    for (size_t k = 0; k < node->children; k++) {
        size_t number = node->child[k]->private_->number;
        lay_child(region, view, chunk, node->child[k], &frame->result[number], &result[number]);
    }
    lay_own(region, view, chunk, node, &frame->result[private_->number], own);
    result[private_->number] = *own;
    for (size_t i = 0; own->signal && i < node->declareds; i++)
        signal[i] = own->signal[i];
    *asked =
        (call){.batch = batch,
               .result = result,
               .live = live,
               .iteration = frame->engine->iteration,
               .noted = frame->engine->noted > chunk->row ? frame->engine->noted - chunk->row : 0,
               .derived = frame->derived,
               .notes = region->used,
               .notes_end = region->used};
    return !region->full;
}

/* The name of what it wrote past, or NULL. */
static const char *
overrun(const mete_node *node, const mete_batch *view, const mete__result *own,
        double *const *signal)
{
    size_t rows = view->episodes;
    if (!intact(own->scores.episode, rows * sizeof(double)) || !intact(own->scores.status, rows) ||
        !intact(own->scores.step, view->steps * sizeof(double)) ||
        !intact(own->scores.spread, rows * sizeof(double)) ||
        !intact(own->state, rows * (size_t)node->plugin->as.head.episode_size))
        return "its scores";
    for (size_t i = 0; i < node->declareds; i++)
        if (!intact(signal[i], mete__batch_rows_at(view, node->declared[i].level) * sizeof(double)))
            return node->declared[i].name;
    return NULL;
}

static void
copy_out(mete__frame *frame, const mete_node *node, const mete_batch *view,
         const mete__chunk *chunk, const mete__result *own, double *const *signal)
{
    mete__result *to = &frame->result[node->private_->number];
    size_t rows = view->episodes, each = (size_t)node->plugin->as.head.episode_size;
    memcpy(to->scores.episode + chunk->row, own->scores.episode, rows * sizeof(double));
    memcpy(to->scores.status + chunk->row, own->scores.status, rows);
    if (own->scores.step)
        memcpy(to->scores.step + chunk->step, own->scores.step, view->steps * sizeof(double));
    if (own->scores.spread)
        memcpy(to->scores.spread + chunk->row, own->scores.spread, rows * sizeof(double));
    for (size_t i = 0; i < node->declareds; i++) {
        mete_level level = node->declared[i].level;
        memcpy(to->signal[i] + mete__chunk_at(chunk, level), signal[i],
               mete__batch_rows_at(view, level) * sizeof(double));
    }
    if (own->state)
        memcpy(to->state + chunk->row * each, own->state, rows * each);
}

/* Reasons, findings and log lines; `notes` is where they began. */
static void
read_notes(mete_ctx *cx, const worker *from, size_t notes)
{
    const call *asked = (const call *)(const void *)from->region.base;
    size_t end = asked->notes_end < from->region.size ? asked->notes_end : notes;
    for (size_t at = (notes + 63) & ~(size_t)63; at + sizeof(note) <= end;) {
        note what;
        memcpy(&what, from->region.base + at, sizeof what);
        if (what.length > end - at - sizeof what)
            return;
        const char *text = from->region.base + at + sizeof what;
        if (what.kind == NOTE_LOG)
            mete_log(cx, what.at > 2 ? 2 : (int)what.at, "%.*s", (int)what.length, text);
        else if (what.at < cx->batch->episodes && what.kind == NOTE_FOUND) {
            mete_row_note(cx, what.at, (mete_text){text, what.length}, what.value);
        } else if (what.at < cx->batch->episodes) {
            const mete__result *result = &cx->frame->result[cx->node->private_->number];
            mete_row_fail(cx, what.at, result->scores.status[cx->chunk->row + what.at], "%.*s",
                          (int)what.length, text);
        }
        at = (at + sizeof what + what.length + 63) & ~(size_t)63;
    }
}

/* Ends a worker that will not be used again, and says why. */
static void
lose(mete__isolate *isolate, worker *gone, int how, loss *lost)
{
    char words[300];
    int status = put_down(gone->pid);
    last_words(gone, words, sizeof words);
    lost->status = how < 0 ? METE_TIMED_OUT : METE_FAILED;
    size_t length = sizeof lost->why;
    if (how < 0)
        snprintf(lost->why, length, "gave no answer within %g s and was ended",
                 isolate->limits.timeout);
    else if (WIFSIGNALED(status))
        snprintf(lost->why, length, "its process died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(lost->why, length, "its process ended by itself with exit code %d",
                 WEXITSTATUS(status));
    size_t used = strlen(lost->why);
    if (*words)
        snprintf(lost->why + used, length - used, "; it last printed: %s", words);
    worker_free(gone);
}

/* One call to a worker. METE_OK with lost->why set when the worker was lost. */
static int
ask(mete__isolate *isolate, mete_ctx *cx, loss *lost)
{
    mete_node *node = cx->node;
    double **signal = mete__arena_take(cx->arena, (node->declareds + 1) * sizeof *signal);
    worker *to = signal ? worker_take(isolate, node, cx->err) : NULL;
    if (!to)
        return signal ? cx->err->code : mete_fail(cx, METE_ENOMEM, "out of memory");
    mete__result own;
    lost->why[0] = 0;
    if (!lay_call(to, cx->frame, node, cx->batch, cx->chunk, &own, signal)) {
        worker_give(isolate, to);
        return mete_fail(cx, METE_ENOMEM,
                         "%zu episodes do not fit the %zu MiB shared with its process",
                         cx->batch->episodes, REGION_SIZE >> 20);
    }
    size_t notes = to->region.used;
    call *asked = (call *)(void *)to->region.base;
    /* MSG_NOSIGNAL: a worker that died since its last call must not end the run */
    int answered = send(to->socket, "", 1, MSG_NOSIGNAL) == 1 ? hear(to->socket) : 0;
    const char *past = answered == 1 ? overrun(node, cx->batch, &own, signal) : NULL;
    if (answered != 1 || past) {
        lose(isolate, to, answered, lost);
        if (past) {
            lost->status = METE_FAILED;
            snprintf(lost->why, sizeof lost->why, "wrote past the end of %s", past);
        }
        return METE_OK;
    }
    copy_out(cx->frame, node, cx->batch, cx->chunk, &own, signal);
    read_notes(cx, to, notes);
    relay(cx, to);
    int status = asked->status;
    if (status) {
        mete_error said = asked->err;
        said.message[sizeof said.message - 1] = 0;
        mete_error_set(cx->err, status, "%s", said.message);
    }
    worker_give(isolate, to);
    return status;
}

/* ---- rows that lose the process -------------------------------------------------------------- */

/* Where to cut [0, episodes) so that what the plugin wants whole stays whole; 0: nowhere. */
static size_t
halfway(const mete_node *node, const mete_batch *batch)
{
    unsigned flags = node->plugin->as.head.flags;
    size_t middle = batch->episodes / 2;
    if (flags & METE_WHOLE_BATCH)
        return 0;
    if (flags & METE_WHOLE_SCENE && batch->scene)
        return batch->scene[batch->scenes / 2];
    if (flags & METE_WHOLE_GROUP)
        return batch->group[batch->groups / 2];
    return middle;
}

static void
mark(mete_ctx *cx, const loss *lost)
{
    for (size_t i = 0; i < cx->batch->episodes; i++)
        mete_row_fail(cx, i, lost->status, "%s", lost->why);
}

static int score_part(mete__frame *frame, mete_node *node, const mete__chunk *chunk,
                      const mete_batch *view, mete_error *err);

/* Rows [from, to) of a view, on their own. */
static int
score_rows(mete__frame *frame, mete_node *node, const mete__chunk *chunk, const mete_batch *view,
           size_t from, size_t to, mete_error *err)
{
    mete_batch part;
    if (!mete__batch_range(view, from, to, mete__scratch(), &part))
        return mete_error_set(err, METE_ENOMEM, "%s: out of memory", node->path);
    mete__chunk begins = {.row = chunk->row + from,
                          .step = chunk->step + view->step_begin[from],
                          .turn = chunk->turn + (view->turn_begin ? view->turn_begin[from] : 0),
                          .group =
                              chunk->group + mete__offset_find(view->group, view->groups, from)};
    return score_part(frame, node, &begins, &part, err);
}

static int
score_part(mete__frame *frame, mete_node *node, const mete__chunk *chunk, const mete_batch *view,
           mete_error *err)
{
    mete__isolate *isolate = node->private_->isolate;
    mete_ctx cx = mete__ctx_make(node, METE__SCORING, err);
    cx.frame = frame;
    cx.chunk = chunk;
    cx.batch = view;
    loss lost = {METE_FAILED, "not asked: too many of its processes were lost before"};
    if (!atomic_load(&isolate->given_up)) {
        int status = ask(isolate, &cx, &lost);
        if (status || !lost.why[0])
            return status;
        if (atomic_fetch_add(&isolate->lost, 1) + 1 >= isolate->limits.losses &&
            !atomic_exchange(&isolate->given_up, true))
            mete_log(&cx, 2, "%lld processes were lost: its rows fail from now on",
                     (long long)isolate->limits.losses);
        size_t middle = halfway(node, view);
        if (middle) {
            status = score_rows(frame, node, chunk, view, 0, middle, err);
            return status ? status
                          : score_rows(frame, node, chunk, view, middle, view->episodes, err);
        }
        mete_log(&cx, 2, "episode %llu: %s", (unsigned long long)view->id[0], lost.why);
    }
    mark(&cx, &lost);
    return METE_OK;
}

int
mete__isolate_score(mete__frame *frame, mete_node *node, const mete__chunk *chunk, mete_error *err)
{
    return score_part(frame, node, chunk, node->gold ? &chunk->all : &chunk->reward, err);
}

/* ---- settings -------------------------------------------------------------------------------- */

mete__isolate *
mete__isolate_new(const mete__limits *limits)
{
    mete__isolate *isolate = calloc(1, sizeof *isolate);
    if (!isolate)
        return NULL;
    isolate->limits = *limits;
    pthread_mutex_init(&isolate->lock, NULL);
    return isolate;
}

void
mete__isolate_free(mete__isolate *isolate)
{
    if (!isolate)
        return;
    while (isolate->idle) {
        worker *gone = isolate->idle;
        isolate->idle = gone->next;
        put_down(gone->pid);
        worker_free(gone);
    }
    pthread_mutex_destroy(&isolate->lock);
    free(isolate);
}

/* In a forked process: opens the plugin and leaves what it said in `heard`. */
static void __attribute__((noreturn)) rehearse(mete_node *node, int said, mete_error *heard)
{
    const mete__limits *limits = &node->private_->isolate->limits;
    timer_t timer;
    if (deadline_make(&timer))
        deadline(timer, limits->timeout);
    settle_in(node->engine, limits, said);
    node->engine->options.log = NULL;
    mete_error err = {0};
    mete_ctx cx = mete__ctx_make(node, METE__OPENING, &err);
    int status = node->plugin->as.head.open(&cx, node->self);
    mete__ctx_blame(node, status, &err);
    *heard = err;
    _exit(0);
}

int
mete__isolate_rehearse(mete_node *node, mete_error *err)
{
    mete__region region = {0};
    char words[300] = "";
    int status = 0;
    if (!node->plugin->as.head.open)
        return METE_OK;
    worker stage = {.said = memfd_create("said", MFD_CLOEXEC)};
    bool ready = stage.said >= 0 && mete__region_map(&region, sizeof *err);
    mete_error *heard = (mete_error *)(void *)region.base;
    pid_t pid = ready ? fork() : -1;
    if (pid == 0)
        rehearse(node, stage.said, heard);
    int why = errno;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid > 0)
        last_words(&stage, words, sizeof words);
    if (stage.said >= 0)
        close(stage.said);
    const char *then = *words ? "; it last printed: " : "";
    int code;
    if (pid < 0) {
        code = mete_error_set(err, METE_EIO, "cannot start a process: %s", strerror(why));
    } else if (WIFSIGNALED(status)) {
        code = mete_error_set(err, METE_EPLUGIN, "open died of signal %d (%s)%s%s",
                              WTERMSIG(status), strsignal(WTERMSIG(status)), then, words);
    } else if (WEXITSTATUS(status)) {
        code = mete_error_set(err, METE_EPLUGIN, "open ended the process with exit code %d%s%s",
                              WEXITSTATUS(status), then, words);
    } else {
        heard->message[sizeof heard->message - 1] = 0;
        code = heard->code ? mete_error_set(err, heard->code, "%s", heard->message) : METE_OK;
    }
    mete__region_unmap(&region);
    return code;
}
