/* loader.c - see loader.h. Loaded plugins are kept in one list for the life of the process, under
 * one lock; what is returned is never freed. */
#include "engine/loader.h"
#include "engine/config.h"
#include "engine/elf.h"
#include "engine/options.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef METE_PLUGIN_DIR
#define METE_PLUGIN_DIR "/usr/local/lib/mete"
#endif
#define MOST_PATHS 32
#define MOST_OPTIONS 256
#define LEAST_ROW offsetof(mete_option, rows) /* what the first minor version had */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct loaded {
    struct loaded *next;
    mete__plugin plugin;
    bool named; /* by its file: goes before what the path holds under its name */
} * all;

const char *
mete__kind_word(mete_kind kind)
{
    static const char *const word[] = {"plugin", "reward", "rubric", "policy", "environment"};
    return kind <= METE_KIND_ENVIRONMENT ? word[kind] : word[0];
}

/* ---- where plugins are ----------------------------------------------------------------------- */

static char *path_item[MOST_PATHS];
static size_t path_items;
static pthread_once_t path_once = PTHREAD_ONCE_INIT;

static void
path_make(void)
{
    const char *own = getenv("METE_PLUGIN_PATH"), *home = getenv("HOME");
    while (own && *own && path_items < MOST_PATHS - 2) {
        size_t length = strcspn(own, ":");
        if (length && (path_item[path_items] = strndup(own, length)))
            path_items++;
        own += length + (own[length] != 0);
    }
    if (home && *home) {
        size_t size = strlen(home) + 32;
        if ((path_item[path_items] = malloc(size)))
            snprintf(path_item[path_items++], size, "%s/.local/lib/mete/plugins", home);
    }
    if ((path_item[path_items] = strdup(METE_PLUGIN_DIR)))
        path_items++;
}

const char *const *
mete__plugin_path(size_t *count)
{
    pthread_once(&path_once, path_make);
    *count = path_items;
    return (const char *const *)path_item;
}

/* The folder whose plugins came with this mete, where it is another than METE_PLUGIN_DIR: beside
 * the library of a relocated installation, above that of a build tree. */
static void
own_folder(char *folder, size_t size)
{
    Dl_info library;
    char *file = dladdr((void *)&path_once, &library) ? realpath(library.dli_fname, NULL) : NULL;
    char *slash = file ? strrchr(file, '/') : NULL;
    *folder = 0;
    if (slash) {
        *slash = 0;
        char *libs = strrchr(file, '/');
        bool built = libs && strcmp(libs, "/.libs") == 0;
        snprintf(folder, size, "%.*s%s", built ? (int)(libs - file) : (int)strlen(file), file,
                 built ? "" : "/mete");
    }
    free(file);
}

static bool
lies_under(const char *file, const char *folder)
{
    char *real = *folder ? realpath(folder, NULL) : NULL;
    size_t length = real ? strlen(real) : 0;
    bool under = real && strncmp(file, real, length) == 0 && file[length] == '/';
    free(real);
    return under;
}

/* Whether the plugin did not come with this mete. */
static bool
is_outside(const char *file)
{
    char own[4096], *real = realpath(file, NULL);
    own_folder(own, sizeof own);
    bool outside = !real || (!lies_under(real, METE_PLUGIN_DIR) && !lies_under(real, own));
    free(real);
    return outside;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *
mete__plugin_names(mete_kind kind)
{
    size_t paths, count = 0, room = 0, length = 1;
    const char *const *path = mete__plugin_path(&paths);
    char **name = NULL;
    for (size_t i = 0; i < paths; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/%s", path[i], mete__kind_word(kind));
        DIR *dir = opendir(folder);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
            size_t n = strlen(entry->d_name);
            if (n < 4 || strcmp(entry->d_name + n - 3, ".so") != 0)
                continue;
            if (count == room) {
                room = room ? 2 * room : 64;
                char **grown = realloc(name, room * sizeof *grown);
                if (!grown)
                    break;
                name = grown;
            }
            if ((name[count] = strndup(entry->d_name, n - 3)))
                length += strlen(name[count++]) + 1;
        }
        if (dir)
            closedir(dir);
    }
    if (count)
        qsort(name, count, sizeof *name, by_name);
    char *out = calloc(1, length);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (out && (i == 0 || strcmp(name[i], name[i - 1]) != 0))
            at += (size_t)snprintf(out + at, length - at, "%s%s", at ? " " : "", name[i]);
    }
    for (size_t i = 0; i < count; i++)
        free(name[i]);
    free(name);
    return out;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static size_t
own_size(uint32_t kind)
{
    switch (kind) {
    case METE_KIND_REWARD:
        return sizeof(mete_reward);
    case METE_KIND_RUBRIC:
        return sizeof(mete_rubric);
    case METE_KIND_POLICY:
        return sizeof(mete_policy);
    case METE_KIND_ENVIRONMENT:
        return sizeof(mete_environment);
    default:
        return 0;
    }
}

/* The table with rows of this host's size, whatever the plugin's were; tables of list elements too.
 * NULL when one has no end. */
static const mete_option *
normalise_rows(const mete_option *table, size_t stride, int depth)
{
    const char *from = (const char *)table;
    size_t count = 0;
    while (count < MOST_OPTIONS &&
           ((const mete_option *)(const void *)(from + count * stride))->name)
        count++;
    mete_option *to = count < MOST_OPTIONS ? calloc(count + 1, sizeof *to) : NULL;
    for (size_t i = 0; to && i < count; i++) {
        memcpy(&to[i], from + i * stride, stride < sizeof *to ? stride : sizeof *to);
        if (to[i].type != METE_OPTION_LIST || !to[i].rows)
            continue;
        to[i].rows = depth ? NULL : normalise_rows(to[i].rows, stride, depth + 1);
        if (!to[i].rows) {
            free(to);
            return NULL;
        }
    }
    return to;
}

static void
free_rows(const mete_option *table)
{
    for (const mete_option *row = table; row && row->name; row++)
        if (row->type == METE_OPTION_LIST)
            free_rows(row->rows);
    free((void *)(uintptr_t)table);
}

static int
check_functions(const char *file, const mete__plugin *plugin, mete_error *err)
{
    const char *missing = NULL;
    switch (plugin->as.head.kind) {
    case METE_KIND_REWARD:
        missing = plugin->as.reward.score ? NULL : "score";
        break;
    case METE_KIND_RUBRIC:
        missing = plugin->as.rubric.generate ? NULL : "generate";
        break;
    case METE_KIND_POLICY:
        missing = plugin->as.policy.act || plugin->as.policy.generate ? NULL : "act";
        break;
    default:
        missing = !plugin->as.environment.spaces  ? "spaces"
                  : !plugin->as.environment.reset ? "reset"
                  : !plugin->as.environment.step  ? "step"
                                                  : NULL;
    }
    if (missing)
        return mete_error_set(err, METE_EPLUGIN, "%s has no function `%s`, which every %s needs",
                              file, missing, mete__kind_word(plugin->as.head.kind));
    return METE_OK;
}

/* Copies and checks what the symbol points to. */
static int
check_descriptor(const char *file, const char *name, mete_kind kind, const mete_plugin *from,
                 mete__plugin *to, mete_error *err)
{
    static const mete_option none[] = {METE_OPTIONS_END};
    if (from->abi >> 16 != METE_ABI_MAJOR)
        return mete_error_set(
            err, METE_EPLUGIN,
            "%s is built for mete ABI %u; this mete speaks %d: rebuild the plugin", file,
            from->abi >> 16, METE_ABI_MAJOR);
    size_t size = own_size(from->kind);
    if (!size || (kind && from->kind != kind))
        return mete_error_set(err, METE_EPLUGIN, "%s is a %s plugin, in the folder of %s plugins",
                              file, mete__kind_word((mete_kind)from->kind), mete__kind_word(kind));
    if (from->size < sizeof(mete_plugin) || from->size > 65536)
        return mete_error_set(err, METE_EPLUGIN,
                              "%s has a descriptor of %u bytes, shorter than its head", file,
                              from->size);
    memset(to, 0, sizeof *to);
    memcpy(&to->as, from, from->size < size ? from->size : size);
    to->as.head.size = (uint32_t)size;
    mete_plugin *head = &to->as.head;
    if (!head->name || strcmp(head->name, name) != 0)
        return mete_error_set(err, METE_EPLUGIN,
                              "%s calls itself '%s'; its file name must be its name", file,
                              head->name ? head->name : "");
    if (!head->version || !*head->version || !head->summary || !*head->summary)
        return mete_error_set(err, METE_EPLUGIN, "%s has no version or no summary", file);
    if (head->state_size > ((uint64_t)1 << 32) || head->episode_size > ((uint64_t)1 << 28) ||
        head->lane_size > ((uint64_t)1 << 28))
        return mete_error_set(err, METE_EPLUGIN, "%s asks for a state of absurd size", file);
    if (head->options && (head->option_size < LEAST_ROW || head->option_size > 65536))
        return mete_error_set(err, METE_EPLUGIN, "%s has option rows of %u bytes", file,
                              head->option_size);
    head->options = head->options ? normalise_rows(head->options, head->option_size, 0) : none;
    head->option_size = sizeof(mete_option);
    if (!head->options)
        return mete_error_set(err, METE_EPLUGIN, "%s has an option table without an end", file);
    mete_error inner = {0};
    int status = mete__options_lint(head, &inner)
                     ? mete_error_set(err, METE_EPLUGIN, "%s: %s", file, inner.message)
                     : check_functions(file, to, err);
    if (status && head->options != none)
        free_rows(head->options);
    return status;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Regular, not a link, not writable by everybody; nor its folder. */
static int
check_file(const char *file, mete_error *err)
{
    struct stat is;
    char folder[4096];
    const char *slash = strrchr(file, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file) : 1, slash ? file : ".");
    if (lstat(file, &is))
        return mete_error_set(err, METE_EIO, "%s: %s", file, strerror(errno));
    if (!S_ISREG(is.st_mode))
        return mete_error_set(err, METE_EPLUGIN,
                              "%s is not a regular file; plugins are not followed "
                              "through links",
                              file);
    if (is.st_mode & S_IWOTH)
        return mete_error_set(err, METE_EPLUGIN, "%s may be written by everybody: chmod o-w it",
                              file);
    if (stat(folder, &is) == 0 && (is.st_mode & S_IWOTH) && !(is.st_mode & S_ISVTX))
        return mete_error_set(err, METE_EPLUGIN, "%s may be written by everybody: chmod o-w it",
                              folder);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mete_error_set(err, METE_EIO, "%s: %s", file, strerror(errno));
    int status = mete__elf_check(fd, file, err);
    close(fd);
    return status;
}

static int
no_symbol(const char *file, void *handle, mete_error *err)
{
    for (int major = 0; major < 10; major++) {
        char symbol[32];
        snprintf(symbol, sizeof symbol, "mete_plugin_v%d", major);
        if (dlsym(handle, symbol))
            return mete_error_set(
                err, METE_EPLUGIN,
                "%s is built for mete ABI %d; this mete speaks %d: rebuild the plugin", file, major,
                METE_ABI_MAJOR);
    }
    return mete_error_set(err, METE_EPLUGIN, "%s is no mete plugin: it exports no mete_plugin_v%d",
                          file, METE_ABI_MAJOR);
}

/* Loads one file; the lock is held. */
static struct loaded *
load(const char *file, const char *name, mete_kind kind, mete_error *err)
{
    for (struct loaded *at = all; at; at = at->next)
        if (strcmp(at->plugin.file, file) == 0)
            return at;
    if (check_file(file, err))
        return NULL;
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        mete_error_set(err, METE_EPLUGIN, "%s cannot be loaded: %s", file, dlerror());
        return NULL;
    }
    const mete_plugin *symbol = dlsym(handle, "mete_plugin_v1");
    struct loaded *entry = calloc(1, sizeof *entry);
    if (!symbol || !entry) {
        if (!symbol)
            no_symbol(file, handle, err);
        free(entry);
        return NULL;
    }
    if (check_descriptor(file, name, kind, symbol, &entry->plugin, err) ||
        !(entry->plugin.file = strdup(file))) {
        free(entry);
        return NULL;
    }
    entry->plugin.outside = is_outside(file);
    entry->next = all;
    all = entry;
    return entry;
}

/* A plugin opened by its file. */
static const mete__plugin *
named(mete_kind kind, const char *name)
{
    for (const struct loaded *at = all; at; at = at->next)
        if (at->named && at->plugin.as.head.kind == kind &&
            strcmp(at->plugin.as.head.name, name) == 0)
            return &at->plugin;
    return NULL;
}

static int
good_name(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 63 || !islower((unsigned char)name[0]))
        return 0;
    for (size_t i = 0; i < length; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) && name[i] != '_')
            return 0;
    return 1;
}

static void
tell_unknown(mete_kind kind, const char *name, mete_error *err)
{
    char *names = mete__plugin_names(kind), *near = names ? mete__nearest(name, names) : NULL;
    mete_error_set(err, METE_EINVAL, "no %s plugin is called '%s'%s%s%s (mete plugins lists them)",
                   mete__kind_word(kind), name, near ? "; did you mean '" : "", near ? near : "",
                   near ? "'?" : "");
    free(names);
    free(near);
}

const mete__plugin *
mete__plugin_get(mete_kind kind, const char *name, mete_error *err)
{
    if (!good_name(name)) {
        mete_error_set(err, METE_EINVAL,
                       "'%s' is no plugin name: lower-case letters, digits and _, at most 63",
                       name);
        return NULL;
    }
    size_t paths;
    const char *const *path = mete__plugin_path(&paths);
    bool found = false;
    pthread_mutex_lock(&lock);
    const mete__plugin *plugin = named(kind, name);
    for (size_t i = 0; i < paths && !plugin && !found; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s/%s.so", path[i], mete__kind_word(kind), name);
        if ((found = access(file, F_OK) == 0)) {
            struct loaded *loaded = load(file, name, kind, err);
            plugin = loaded ? &loaded->plugin : NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    if (!plugin && !found)
        tell_unknown(kind, name, err);
    return plugin;
}

const mete__plugin *
mete__plugin_open(const char *file, mete_error *err)
{
    char name[64];
    char *full = check_file(file, err) ? NULL : realpath(file, NULL);
    if (!full) {
        if (!err->code)
            mete_error_set(err, METE_EIO, "%s: %s", file, strerror(errno));
        return NULL;
    }
    const char *base = strrchr(full, '/') + 1;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(base, "."), base);
    pthread_mutex_lock(&lock);
    struct loaded *loaded = load(full, name, 0, err);
    if (loaded)
        loaded->named = true;
    pthread_mutex_unlock(&lock);
    free(full);
    return loaded ? &loaded->plugin : NULL;
}
