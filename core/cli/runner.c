/* runner.c - starts, watches and names the end of the runs of an ablation, a sweep or a soup. */
#include "cli/runner.h"

#include "report/report.h"
#include "run/crc.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <mete/text.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_AT_ONCE = 64 };

static volatile sig_atomic_t caught;

static void
on_signal(int number)
{
    caught = number;
}

static bool
is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static bool
make_folders(char *path)
{
    for (char *at = path + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char kept = *at;
        *at = 0;
        bool good = mkdir(path, 0777) == 0 || errno == EEXIST;
        *at = kept;
        if (!good)
            mete__say("%s: %s", path, strerror(errno));
        if (!good || !kept)
            return good;
    }
}

/* The runs of a runner that was killed hold its lock for the moment they take to die. */
static bool
take_lock(mete__runner *runner)
{
    char path[PATH_MAX + 8], text[32] = "";
    snprintf(path, sizeof path, "%s/lock", runner->folder);
    runner->lock = open(path, O_RDWR | O_CREAT, 0666); /* inherited, so not close-on-exec */
    if (runner->lock < 0) {
        mete__say("%s: %s", path, strerror(errno));
        return false;
    }
    for (int tries = 0; flock(runner->lock, LOCK_EX | LOCK_NB); tries++) {
        ssize_t n = pread(runner->lock, text, sizeof text - 1, 0);
        long pid = n > 0 ? strtol(text, NULL, 10) : 0;
        if (errno == EWOULDBLOCK && tries < 500 && pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH)
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        else {
            mete__say("%s is in use by process %ld", runner->folder, pid);
            return false;
        }
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    return ftruncate(runner->lock, 0) == 0 && pwrite(runner->lock, text, (size_t)n, 0) == n;
}

int
mete__runner_open(mete__runner *runner, const mete__args *args, const char *suffix)
{
    const char *name = strrchr(args->operand[0], '/');
    name = name ? name + 1 : args->operand[0];
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".cfg") == 0)
        length -= 4;
    runner->args = args;
    runner->config = args->operand[0];
    runner->lock = -1;
    int n = args->out
                ? snprintf(runner->folder, PATH_MAX, "%s", args->out)
                : snprintf(runner->folder, PATH_MAX, "runs/%.*s-%s", (int)length, name, suffix);
    if (n <= 0 || n >= PATH_MAX) {
        mete__say("the path of the folder must have 1 to %d bytes", PATH_MAX - 1);
        return METE__EXIT_INPUT;
    }
    return make_folders(runner->folder) && take_lock(runner) ? METE__EXIT_DONE : METE__EXIT_FAILED;
}

void
mete__runner_close(mete__runner *runner)
{
    if (runner->lock >= 0)
        close(runner->lock);
    runner->lock = -1;
}

bool
mete__job_path(const mete__runner *runner, const mete__job *job, const char *suffix,
               char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s/%s/%" PRIu64 "%s", runner->folder, job->group, job->seed,
                     suffix);
    return n > 0 && n < PATH_MAX;
}

bool
mete__runner_page(const mete__runner *runner, const char *name, const mete_buffer *table)
{
    char path[PATH_MAX + 32];
    mete_error err = {0};
    mete_buffer page = mete_buffer_make(0);
    snprintf(path, sizeof path, "%s/%s", runner->folder, name);
    int status = mete__report_save(path, table, &err);
    if (!status)
        status = mete__report_write(runner->folder, &page, &err);
    snprintf(path, sizeof path, "%s/report.html", runner->folder);
    if (!status)
        status = mete__report_save(path, &page, &err);
    mete_buffer_free(&page);
    if (status)
        mete__say("%s", err.message);
    else if (!runner->args->quiet)
        mete__say("the page is %s", path);
    return !status;
}

/* A summary up to `until` stands beside the one to the end. */
static bool
summary_path(const mete__runner *runner, const mete__job *job, char out[PATH_MAX])
{
    char suffix[40] = ".json";
    if (job->until)
        snprintf(suffix, sizeof suffix, ".%" PRIu64 ".json", job->until);
    return mete__job_path(runner, job, suffix, out);
}

bool
mete__job_whole(const mete__runner *runner, const mete__job *job)
{
    char path[PATH_MAX];
    return summary_path(runner, job, path) && is_there(path);
}

/* ---- one config a group ---------------------------------------------------------------------- */

/* What runs and their metrics depend on: all but what is asked of them afterwards. */
static bool
fingerprint(mete__config *config, char out[16])
{
    mete__value *root = mete__config_root(config);
    for (mete__value **at = &root->first; *at;) {
        if (strcmp((*at)->name, "ablate") == 0 || strcmp((*at)->name, "sweep") == 0)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    }
    char *text = mete__config_write(root);
    if (text)
        snprintf(out, 16, "%08" PRIx32 "\n", mete__crc32c(0, text, strlen(text)));
    free(text);
    return text != NULL;
}

/* The group's folder and the mark of its config in it, or the same mark that is there. */
static int
mark(const mete__runner *runner, const char *group, const char *now)
{
    char folder[PATH_MAX], path[PATH_MAX], part[PATH_MAX], then[16] = "";
    if (snprintf(folder, PATH_MAX, "%s/%s", runner->folder, group) >= PATH_MAX ||
        snprintf(path, PATH_MAX, "%s/config.crc", folder) >= PATH_MAX ||
        snprintf(part, PATH_MAX, "%s/config.part", folder) >= PATH_MAX) {
        mete__say("the path %s is too long", runner->folder);
        return METE__EXIT_INPUT;
    }
    FILE *file = fopen(path, "r");
    bool there = file && fgets(then, sizeof then, file);
    if (file)
        fclose(file);
    if (there && strcmp(then, now) != 0) {
        mete__say("%s holds runs of another config; name another folder by --out, or remove it",
                  folder);
        return METE__EXIT_INPUT;
    }
    if (there)
        return METE__EXIT_DONE;
    bool good = mkdir(folder, 0777) == 0 || errno == EEXIST;
    file = good ? fopen(part, "w") : NULL;
    good = file && fputs(now, file) >= 0;
    good = file && fclose(file) == 0 && good && rename(part, path) == 0;
    if (!good)
        mete__say("%s: %s", path, strerror(errno));
    return good ? METE__EXIT_DONE : METE__EXIT_FAILED;
}

int
mete__runner_group(const mete__runner *runner, const mete__job *job)
{
    char now[16];
    mete__args args = *runner->args;
    size_t common = args.sets;
    int code = METE__EXIT_FAILED;
    args.sets += job->sets;
    args.set = calloc(args.sets + 1, sizeof *args.set);
    for (size_t i = 0; args.set && i < args.sets; i++)
        args.set[i] = i < common ? runner->args->set[i] : job->set[i - common];
    mete__config *config = args.set ? mete__read_config(&args, runner->config) : NULL;
    if (!config) {
        mete__say("that is of \"%s\"", job->group);
        code = METE__EXIT_INPUT;
    } else if (fingerprint(config, now)) {
        code = mark(runner, job->group, now);
    } else {
        mete__say("out of memory");
    }
    mete__config_free(config);
    free(args.set);
    return code;
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* In the child: becomes `mete run` or `mete resume`, its summary in SEED.part, its talk in
 * SEED.log. Only returns when that fails. */
static void
become_run(const mete__runner *runner, const mete__job *job)
{
    static char folder[PATH_MAX], part[PATH_MAX], log[PATH_MAX], probe[PATH_MAX], seed[32],
        until[32];
    const mete__args *args = runner->args;
    const char **argv = calloc(16 + 2 * (job->sets + args->sets), sizeof *argv);
    size_t n = 0;
    if (!argv || !mete__job_path(runner, job, "", folder) ||
        !mete__job_path(runner, job, ".part", part) || !mete__job_path(runner, job, ".log", log) ||
        !mete__job_path(runner, job, "/config.cfg", probe))
        return;
    argv[n++] = "mete";
    if (is_there(probe)) {
        argv[n++] = "resume";
        argv[n++] = folder;
    } else {
        snprintf(seed, sizeof seed, "%" PRIu64, job->seed);
        argv[n++] = "run";
        argv[n++] = runner->config;
        argv[n++] = "--out";
        argv[n++] = folder;
        argv[n++] = "--seed";
        argv[n++] = seed;
        for (size_t k = 0; k < args->sets + job->sets; k++) {
            argv[n++] = "--set";
            argv[n++] = k < args->sets ? args->set[k] : job->set[k - args->sets];
        }
    }
    if (job->until) {
        snprintf(until, sizeof until, "%" PRIu64, job->until);
        argv[n++] = "--until";
        argv[n++] = until;
    }
    argv[n++] = "--threads";
    argv[n++] = "1";
    argv[n++] = "--json";
    argv[n++] = "--quiet";
    int out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int talk = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool ready = out >= 0 && talk >= 0 && dup2(out, 1) >= 0 && dup2(talk, 2) >= 0;
    if (ready && args->memory) {
        rlim_t most = (rlim_t)args->memory << 20;
        setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
    }
    if (ready)
        execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    free(argv);
}

static bool
start_run(const mete__runner *runner, const mete__job *job, pid_t *pid)
{
    pid_t parent = getpid();
    *pid = fork();
    if (*pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* what is checkpointed is all that counts */
        if (getppid() == parent)
            become_run(runner, job);
        _exit(127);
    }
    if (*pid < 0)
        mete__say("cannot start a run: %s", strerror(errno));
    return *pid > 0;
}

/* The last line of a log that says why, fit for a terminal: not the one that says how far. */
static void
last_line(const char *path, char *out, size_t room)
{
    static const char far[] = "mete: the run stopped after";
    char tail[2048];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = size > (off_t)sizeof tail ? size - (off_t)sizeof tail : 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, sizeof tail, from), begin = n > 0 ? n : 0;
    if (fd >= 0)
        close(fd);
    do {
        n = begin;
        while (n > 0 && tail[n - 1] == '\n')
            n--;
        begin = n;
        while (begin > 0 && tail[begin - 1] != '\n')
            begin--;
    } while (begin > 0 && n - begin > (ssize_t)strlen(far) &&
             memcmp(tail + begin, far, strlen(far)) == 0);
    size_t used = 0;
    for (; begin < n && used + 1 < room; begin++)
        out[used++] = iscntrl((unsigned char)tail[begin]) ? '?' : tail[begin];
    out[used] = 0;
}

/* What a run that ended with `status` left. A summary is moved to its place only when whole. What
 * became of one that was `asked` to end is not told. */
static bool
end_run(const mete__runner *runner, const mete__job *job, int status, bool asked)
{
    char part[PATH_MAX], summary[PATH_MAX], log[PATH_MAX], why[600];
    if (!mete__job_path(runner, job, ".part", part) || !summary_path(runner, job, summary) ||
        !mete__job_path(runner, job, ".log", log))
        return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == METE__EXIT_DONE) {
        if (rename(part, summary) == 0)
            return true;
        mete__say("%s: %s", summary, strerror(errno));
        return false;
    }
    unlink(part);
    if (asked)
        return false;
    if (WIFSIGNALED(status)) {
        mete__say("%s, seed %" PRIu64
                  " was ended by signal %d (%s); call it again to go on with it",
                  job->group, job->seed, WTERMSIG(status), strsignal(WTERMSIG(status)));
        return false;
    }
    last_line(log, why, sizeof why);
    mete__say("%s, seed %" PRIu64 " failed with exit code %d; the end of %s: %s", job->group,
              job->seed, WEXITSTATUS(status), log, *why ? why : "(it said nothing)");
    return false;
}

static size_t
at_once(const mete__args *args)
{
    long there = sysconf(_SC_NPROCESSORS_ONLN);
    size_t jobs = args->jobs ? (size_t)args->jobs : there < 1 ? 1 : (size_t)there;
    return jobs > MOST_AT_ONCE ? MOST_AT_ONCE : jobs;
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* `each`: seconds a run took of the runner's time. */
static void
say_progress(size_t done, size_t jobs, double each)
{
    double left = each * (double)(jobs - done) + 0.5;
    if (done < jobs)
        mete__say("%zu of %zu runs, %.0f:%02.0f left", done, jobs, floor(left / 60),
                  floor(fmod(left, 60)));
    else
        mete__say("%zu of %zu runs", done, jobs);
}

int
mete__runner_go(mete__runner *runner, const mete__job *job, size_t jobs)
{
    pid_t pid[MOST_AT_ONCE];
    size_t job_of[MOST_AT_ONCE], running = 0, next = 0, done = 0, most = at_once(runner->args);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    bool good = true, wanted = true, stopped = false;
    double began = now();
    size_t ran = 0;
    signal(SIGCHLD, SIG_DFL); /* ignored, it would leave nothing to wait for */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    while (running || (next < jobs && !caught && good && wanted)) {
        while (running < most && next < jobs && !caught && good && wanted) {
            size_t k = next++;
            if (mete__job_whole(runner, &job[k])) {
                done++;
                wanted = !runner->ended || runner->ended(runner->user, k);
                continue;
            }
            good = start_run(runner, &job[k], &pid[running]);
            job_of[running] = k;
            running += good;
        }
        if (!running)
            continue;
        for (size_t k = 0; k < running && !stopped && (caught || !wanted); k++)
            kill(pid[k], SIGTERM); /* each saves and ends; a second one would not let it */
        stopped = caught || !wanted;
        int status;
        pid_t ended = waitpid(-1, &status, 0);
        size_t k = 0;
        while (k < running && pid[k] != ended)
            k++;
        if (ended < 0 || k == running)
            continue; /* a signal came */
        size_t which = job_of[k];
        pid[k] = pid[--running];
        job_of[k] = job_of[running];
        done++;
        ran++;
        if (end_run(runner, &job[which], status, caught || !wanted) && wanted && runner->ended)
            wanted = runner->ended(runner->user, which);
        if (!runner->args->quiet && !caught && wanted)
            say_progress(done, jobs, (now() - began) / (double)ran);
    }
    if (caught)
        mete__say("interrupted; what is done stands in %s: call it again to go on", runner->folder);
    return caught    ? METE__EXIT_INTERRUPTED
           : !wanted ? METE__EXIT_INPUT
           : good    ? METE__EXIT_DONE
                     : METE__EXIT_FAILED;
}
