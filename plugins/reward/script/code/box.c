/* box.c - starts programs in bubblewrap and waits for them. */
#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Where the child finds what it is handed. */
enum { FD_FILE = 10, FD_FILTER, FD_STATUS, FD_FIRST = 20 };
enum { MOST_WORDS = 96, NOBODY = 65534 };

struct running {
    struct program *program;
    pid_t pid;
    int process; /* pidfd */
    int output, error, status;
    double end;
};

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A file in memory that holds `text`, at its beginning; above the numbers the child uses. */
static int
file_of(mete_text text)
{
    int low = memfd_create("box", MFD_CLOEXEC);
    int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, FD_FIRST);
    if (low >= 0)
        close(low);
    for (size_t at = 0; fd >= 0 && at < text.length;) {
        ssize_t wrote = write(fd, text.data + at, text.length - at);
        if (wrote <= 0) {
            close(fd);
            return -1;
        }
        at += (size_t)wrote;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

/* System calls that no program under test needs and that reach for the machine. */
static int
filter_file(void)
{
    static const int call[] = {SCMP_SYS(ptrace),
                               SCMP_SYS(process_vm_readv),
                               SCMP_SYS(process_vm_writev),
                               SCMP_SYS(mount),
                               SCMP_SYS(umount2),
                               SCMP_SYS(pivot_root),
                               SCMP_SYS(unshare),
                               SCMP_SYS(setns),
                               SCMP_SYS(bpf),
                               SCMP_SYS(perf_event_open),
                               SCMP_SYS(userfaultfd),
                               SCMP_SYS(keyctl),
                               SCMP_SYS(add_key),
                               SCMP_SYS(request_key),
                               SCMP_SYS(kexec_load),
                               SCMP_SYS(init_module),
                               SCMP_SYS(finit_module),
                               SCMP_SYS(io_uring_setup)};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int fd = file_of((mete_text){NULL, 0});
    int bad = !filter || fd < 0;
    for (size_t i = 0; !bad && i < sizeof call / sizeof *call; i++)
        bad = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call[i], 0);
    bad = bad || seccomp_export_bpf(filter, fd) || lseek(fd, 0, SEEK_SET);
    seccomp_release(filter);
    if (bad && fd >= 0)
        close(fd);
    return bad ? -1 : fd;
}

/* The words of the command line: setpriv (root alone), bwrap, limits, the program's command. */
static void
words_of(const struct program *program, const char *path, const char *limit, const char **word)
{
    static const char *const down[] = {"setpriv", "--reuid=65534", "--regid=65534",
                                       "--clear-groups", NULL};
    static const char *const box[] = {"bwrap",
                                      "--unshare-all",
                                      "--die-with-parent",
                                      "--new-session",
                                      "--ro-bind",
                                      "/usr",
                                      "/usr",
                                      "--symlink",
                                      "usr/bin",
                                      "/bin",
                                      "--symlink",
                                      "usr/lib",
                                      "/lib",
                                      "--symlink",
                                      "usr/lib64",
                                      "/lib64",
                                      "--ro-bind-try",
                                      "/etc/alternatives",
                                      "/etc/alternatives",
                                      "--ro-bind-try",
                                      "/etc/ld.so.cache",
                                      "/etc/ld.so.cache",
                                      "--proc",
                                      "/proc",
                                      "--dev",
                                      "/dev",
                                      "--tmpfs",
                                      "/tmp",
                                      "--chdir",
                                      "/tmp",
                                      "--clearenv",
                                      "--setenv",
                                      "PATH",
                                      "/usr/bin:/bin",
                                      "--setenv",
                                      "HOME",
                                      "/tmp",
                                      "--setenv",
                                      "LANG",
                                      "C.UTF-8",
                                      "--json-status-fd",
                                      "12",
                                      "--seccomp",
                                      "11",
                                      "--file",
                                      "10",
                                      NULL};
    const char *const *part[] = {geteuid() == 0 ? down : down + 4, box};
    size_t count = 0;
    for (size_t k = 0; k < 2; k++)
        for (const char *const *at = part[k]; *at; at++)
            word[count++] = *at;
    word[count++] = path;
    word[count++] = "--";
    word[count++] = "sh";
    word[count++] = "-c";
    word[count++] = limit;
    for (const char *const *at = program->command; *at && count + 1 < MOST_WORDS; at++)
        word[count++] = *at;
    word[count] = NULL;
}

/* Without a box: in a new folder under /tmp, with the limits alone. For those who said so. */
static void
open_words(const struct program *program, char *script, size_t size, const char *limit,
           const char **word)
{
    snprintf(
        script, size,
        "d=$(mktemp -d) && trap 'rm -rf \"$d\"' EXIT && cd \"$d\" && cat /dev/fd/10 > %s && (%s)",
        program->name, limit);
    size_t count = 0;
    word[count++] = "sh";
    word[count++] = "-c";
    word[count++] = script;
    for (const char *const *at = program->command; *at && count + 1 < MOST_WORDS; at++)
        word[count++] = *at;
    word[count] = NULL;
}

/* All that a file in memory holds, NUL-terminated; NULL where memory ran out. */
static char *
all_of(int fd, size_t *length)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size >= 0 ? malloc((size_t)size + 1) : NULL;
    ssize_t got = text ? pread(fd, text, (size_t)size, 0) : -1;
    if (text)
        text[got > 0 ? got : 0] = 0;
    *length = got > 0 ? (size_t)got : 0;
    return text;
}

static void
finish(struct running *job, int late, int open_air)
{
    struct program *program = job->program;
    int status = 0;
    size_t length;
    if (late) {
        kill(job->pid, SIGKILL);
        kill(-job->pid, SIGKILL);
    }
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (open_air)
        kill(-job->pid, SIGKILL); /* what it left behind */
    program->output = all_of(job->output, &program->length);
    char *said = all_of(job->error, &length);
    size_t from = said && length >= sizeof program->said ? length - sizeof program->said + 1 : 0;
    snprintf(program->said, sizeof program->said, "%s", said ? said + from : "");
    free(said);
    char *told = all_of(job->status, &length);
    int boxed = open_air || (told && strstr(told, "child-pid"));
    const char *code = told ? strstr(told, "\"exit-code\":") : NULL;
    program->ending = !boxed ? UNBOXED : late ? LATE : ENDED;
    program->code = code                ? (int)strtol(code + strlen("\"exit-code\":"), NULL, 10)
                    : WIFEXITED(status) ? WEXITSTATUS(status)
                                        : 128 + WTERMSIG(status);
    free(told);
    close(job->output);
    close(job->error);
    close(job->status);
    if (job->process >= 0)
        close(job->process);
}

/* The same file opened anew, to be read from its beginning. */
static int
opened_anew(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int low = open(path, O_RDONLY | O_CLOEXEC);
    int high = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, FD_FIRST);
    if (low >= 0)
        close(low);
    return high;
}

static int
start(struct running *to, struct program *program, const struct limits *limits, int open_air,
      int filter)
{
    extern char **environ;
    char path[128], limit[300], script[700];
    const char *word[MOST_WORDS];
    snprintf(path, sizeof path, "/tmp/%s", program->name);
    snprintf(limit, sizeof limit,
             "ulimit -c 0; ulimit -t %d; ulimit -v %lld; ulimit -f %lld; "
             "ulimit -p %lld 2>/dev/null; exec \"$0\" \"$@\"",
             (int)limits->seconds + 1, (long long)limits->memory * 1024,
             (long long)limits->output * 2, (long long)limits->processes);
    if (open_air)
        open_words(program, script, sizeof script, limit, word);
    else
        words_of(program, path, limit, word);
    static const mete_text none;
    int file = file_of(program->file), input = file_of(program->input);
    int own_filter = opened_anew(filter);
    *to = (struct running){.program = program, .process = -1};
    to->output = file_of(none);
    to->error = file_of(none);
    to->status = file_of(none);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, 0);
    posix_spawn_file_actions_adddup2(&files, to->output, 1);
    posix_spawn_file_actions_adddup2(&files, to->error, 2);
    posix_spawn_file_actions_adddup2(&files, file, FD_FILE);
    posix_spawn_file_actions_adddup2(&files, own_filter, FD_FILTER);
    posix_spawn_file_actions_adddup2(&files, to->status, FD_STATUS);
    posix_spawnattr_t how;
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP);
    int bad =
        file < 0 || input < 0 || to->output < 0 || to->error < 0 || to->status < 0
            ? EMFILE
            : posix_spawnp(&to->pid, word[0], &files, &how, (char **)(uintptr_t)word, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    if (file >= 0)
        close(file);
    if (input >= 0)
        close(input);
    if (own_filter >= 0)
        close(own_filter);
    if (bad) {
        close(to->output);
        close(to->error);
        close(to->status);
        errno = bad;
        return -1;
    }
    to->process = (int)syscall(SYS_pidfd_open, to->pid, 0);
    to->end = now() + limits->seconds;
    if (to->process >= 0)
        return 0;
    bad = errno; /* nobody would tell when it ends */
    finish(to, 1, open_air);
    errno = bad;
    return -1;
}

/* Waits until at least one of the jobs has ended, and takes those that have off the list. */
static size_t
await(struct running *job, size_t count, int open_air)
{
    struct pollfd *ready = calloc(count, sizeof *ready);
    double end = job[0].end;
    for (size_t i = 0; i < count; i++) {
        if (ready)
            ready[i] = (struct pollfd){.fd = job[i].process, .events = POLLIN};
        end = job[i].end < end ? job[i].end : end;
    }
    double left = end - now();
    if (ready)
        poll(ready, count, left > 0 ? (int)(left * 1000) + 1 : 0);
    double at = now();
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        int ended = !ready || ready[i].revents;
        if (ended || at >= job[i].end)
            finish(&job[i], !ended, open_air);
        else
            job[kept++] = job[i];
    }
    free(ready);
    return kept;
}

int
box_run(struct program *program, size_t count, size_t side_by_side, const struct limits *limits,
        int open_air)
{
    struct running *job = calloc(side_by_side, sizeof *job);
    int filter = job ? filter_file() : -1, why = errno;
    size_t running = 0;
    int bad = filter < 0;
    for (size_t next = 0; !bad && (next < count || running);) {
        while (!bad && running < side_by_side && next < count) {
            bad = start(&job[running], &program[next], limits, open_air, filter);
            why = errno;
            running += !bad;
            next += !bad;
        }
        if (running)
            running = await(job, running, open_air);
    }
    while (running)
        running = await(job, running, open_air);
    if (filter >= 0)
        close(filter);
    free(job);
    errno = why;
    return bad ? -1 : 0;
}
