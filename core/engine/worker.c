/* worker.c - see worker.h. */
#include "engine/worker.h"
#include "engine/talk.h"

#include <errno.h>
#include <fcntl.h>
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

/* A batch larger than this cannot be scored in another process; nor a question asked. */
#define REGION_SIZE ((size_t)4 << 30)
/* Seconds a worker outlives its limit where nobody is left to end it. */
#define GRACE 1.0
/* Bytes of what a worker prints in a call that are kept; the rest is lost to it. */
#define SAID_MOST ((off_t)1 << 20)
/* Looks at the socket before sleeping: some 20 to 40 microseconds. */
#define TRIES 64
/* Waits that sleep at once after one in which that was in vain. */
#define RESTS 64

/* Every worker of the program, so that a new one can close its elder siblings' sockets: the end of
 * a socket must mean the end of its one worker. Held across a fork. */
static pthread_mutex_t siblings_lock = PTHREAD_MUTEX_INITIALIZER;
static mete__worker *siblings;

static mete__worker *self_; /* of this process, in a worker */
static timer_t watch;       /* ends it, see mete__worker_watched */
static bool watch_made;

/* Waits for the other side's byte, as long as the socket was told to: 1 it came, 0 the other side
 * is gone, -1 time is up. Where both sides have a processor to themselves it comes sooner than a
 * process that sleeps is woken, so it is looked for before sleeping; where that did not pay,
 * because the work takes long or others want the processor, the next waits sleep at once. */
static int
hear(mete__worker *worker, char *byte)
{
    ssize_t got = -1;
    bool looks = !worker->rests;
    for (int try = 0; looks && try < TRIES && got < 0; try++)
        got = recv(worker->socket, byte, 1, MSG_DONTWAIT);
    if (looks && got < 0)
        worker->rests = RESTS;
    else if (!looks)
        worker->rests--;
    while (got < 0) {
        got = recv(worker->socket, byte, 1, 0);
        if (got < 0 && errno != EINTR)
            return errno == EAGAIN ? -1 : 0;
    }
    return got == 1;
}

static bool
say(int socket, char byte)
{
    /* MSG_NOSIGNAL: a side that died since the last word must not end the other */
    return send(socket, &byte, 1, MSG_NOSIGNAL) == 1;
}

/* ---- in the worker --------------------------------------------------------------------------- */

mete__worker *
mete__worker_self(void)
{
    return self_;
}

int
mete_isolated(const mete_ctx *cx)
{
    (void)cx;
    return self_ != NULL;
}

bool
mete__worker_hear(mete__worker *self)
{
    char byte;
    return hear(self, &byte) == 1;
}

bool
mete__worker_say(mete__worker *self, enum mete__word word)
{
    return say(self->socket, (char)word);
}

void
mete__worker_watched(const mete__worker *self, bool watched)
{
    double seconds = watched ? self->limits->timeout + GRACE : 0;
    struct itimerspec at = {0};
    at.it_value.tv_sec = (time_t)seconds;
    at.it_value.tv_nsec = (long)((seconds - (double)at.it_value.tv_sec) * 1e9);
    if (watch_made)
        timer_settime(watch, 0, &at, NULL);
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
settle_in(mete__engine *engine, const mete__worker *self)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1, SIGUSR2};
    struct sigevent kill_me = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    watch_made = timer_create(CLOCK_MONOTONIC, &kill_me, &watch) == 0;
    if (self->limits->memory > 0)
        limit_memory(self->limits->memory);
    __fpurge(stdout);
    dup2(self->said, STDOUT_FILENO);
    dup2(self->said, STDERR_FILENO);
    /* Only this thread lives on: locks the others held would stay shut, and nobody else would take
     * a share of the work. */
    engine->workers = NULL;
    engine->metric = NULL;
    pthread_mutex_init(&engine->lock, NULL);
    for (size_t i = 0; i < engine->nodes; i++) {
        pthread_mutex_init(&engine->node[i]->private_->lock, NULL);
        engine->node[i]->private_->isolate = NULL; /* one process is enough */
    }
    if (!self->limits->fork && !forbid_forks())
        fputs("cannot be kept from starting processes: the system refuses filters\n", stderr);
}

/* ---- in the run ------------------------------------------------------------------------------ */

static void
worker_free(mete__worker *gone)
{
    pthread_mutex_lock(&siblings_lock);
    for (mete__worker **at = &siblings; *at; at = &(*at)->sibling)
        if (*at == gone) {
            *at = gone->sibling;
            break;
        }
    if (gone->socket >= 0)
        close(gone->socket);
    pthread_mutex_unlock(&siblings_lock);
    if (gone->said >= 0)
        close(gone->said);
    mete__region_unmap(&gone->call);
    mete__region_unmap(&gone->talk);
    free(gone);
}

/* A file of fixed size in memory, which both sides write and read at one offset: how far it was
 * printed. */
static int
said_new(void)
{
    int file = memfd_create("said", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file >= 0 && (ftruncate(file, SAID_MOST) || fcntl(file, F_ADD_SEALS, F_SEAL_GROW))) {
        close(file);
        return -1;
    }
    return file;
}

/* How long a wait for the worker may take from now on. */
static void
limit_wait(const mete__worker *to, double seconds)
{
    seconds = seconds > 1e-5 ? seconds : 1e-5; /* 0 would be for ever */
    const struct timeval most = {(time_t)seconds, (suseconds_t)((seconds - floor(seconds)) * 1e6)};
    setsockopt(to->socket, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
}

/* Forks, with the siblings' lock held. In the child it does not return. */
static pid_t
fork_worker(mete__worker *made, mete_node *node, void (*work)(mete__worker *self, void *user),
            void *user)
{
    int pair[2];
    if (made->said < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        for (const mete__worker *elder = siblings; elder; elder = elder->sibling)
            close(elder->socket);
        close(pair[0]);
        made->socket = pair[1];
        self_ = made;
        settle_in(node->engine, made);
        work(made, user);
        _exit(0);
    }
    close(pair[1]);
    made->socket = pair[0];
    return pid;
}

mete__worker *
mete__worker_new(mete_node *node, const mete__limits *limits,
                 void (*work)(mete__worker *self, void *user), void *user, mete_error *err)
{
    mete__worker *made = calloc(1, sizeof *made);
    if (made)
        *made = (mete__worker){.limits = limits, .socket = -1, .said = -1};
    if (!made || !mete__region_map(&made->call, REGION_SIZE) ||
        !mete__region_map(&made->talk, REGION_SIZE)) {
        if (made)
            worker_free(made);
        mete_error_set(err, METE_ENOMEM, "%s: no memory to share with a process", node->path);
        return NULL;
    }
    made->said = said_new();
    pthread_mutex_lock(&siblings_lock);
    made->pid = fork_worker(made, node, work, user);
    int why = errno;
    made->sibling = siblings;
    siblings = made;
    pthread_mutex_unlock(&siblings_lock);
    if (made->pid > 0) {
        limit_wait(made, limits->timeout);
        setpgid(made->pid, made->pid); /* both sides: whoever comes first */
        return made;
    }
    mete_error_set(err, METE_EIO, "%s: cannot start a process: %s", node->path, strerror(why));
    worker_free(made);
    return NULL;
}

static void
last_words(const mete__worker *of, char *text, size_t size)
{
    char end[400];
    off_t length = lseek(of->said, 0, SEEK_CUR);
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

int
mete__worker_end(mete__worker *gone, char *words, size_t size)
{
    int status = 0;
    kill(gone->pid, SIGKILL);
    kill(-gone->pid, SIGKILL);
    while (waitpid(gone->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (size)
        last_words(gone, words, size);
    worker_free(gone);
    return status;
}

void
mete__worker_lose(mete__worker *gone, mete__outcome how, char *why, size_t size)
{
    char words[300];
    double timeout = gone->limits->timeout;
    int status = mete__worker_end(gone, words, sizeof words);
    if (how == METE__WORKER_LATE)
        snprintf(why, size, "gave no answer within %g s and was ended", timeout);
    else if (how == METE__WORKER_LIED)
        snprintf(why, size, "asked what is no question to a model");
    else if (WIFSIGNALED(status))
        snprintf(why, size, "its process died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(why, size, "its process ended by itself with exit code %d", WEXITSTATUS(status));
    size_t used = strlen(why);
    if (*words)
        snprintf(why + used, size - used, "; it last printed: %s", words);
}

mete__outcome
mete__worker_wait(mete__worker *to, mete_ctx *cx)
{
    double left = to->limits->timeout, begin = mete_seconds();
    mete__outcome outcome = METE__WORKER_GONE;
    bool asked = false;
    while (say(to->socket, 0)) {
        char word;
        int got = hear(to, &word);
        outcome = got == 1 ? METE__WORKER_DONE : got < 0 ? METE__WORKER_LATE : METE__WORKER_GONE;
        if (got != 1 || word != METE__ASKS)
            break;
        left -= mete_seconds() - begin;
        outcome = METE__WORKER_LIED;
        if (!mete__talk_answer(cx, to))
            break;
        outcome = METE__WORKER_GONE;
        asked = true;
        limit_wait(to, left);
        begin = mete_seconds();
    }
    if (asked)
        limit_wait(to, to->limits->timeout);
    return outcome;
}

void
mete__worker_relay(mete_ctx *cx, const mete__worker *of)
{
    char text[8192];
    off_t length = lseek(of->said, 0, SEEK_CUR);
    if (length <= 0)
        return;
    size_t most = length < (off_t)sizeof text ? (size_t)length : sizeof text - 1;
    ssize_t got = pread(of->said, text, most, 0);
    lseek(of->said, 0, SEEK_SET);
    if (got <= 0)
        return;
    text[got] = 0;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        mete_log(cx, 1, "printed: %s", line);
}
