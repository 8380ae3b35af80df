/* loader.h - finds, checks and loads plugins. Nothing of a plugin runs before its file and its
 * descriptor have passed every check; a plugin once loaded stays loaded. */
#ifndef METE_ENGINE_LOADER_H
#define METE_ENGINE_LOADER_H

#include <mete/environment.h>
#include <mete/policy.h>
#include <mete/reward.h>
#include <mete/rubric.h>
#include <stdbool.h>

/* A loaded plugin: the host's own copy of its descriptor, zero beyond what the plugin gave. */
typedef struct mete__plugin {
    union {
        mete_plugin head;
        mete_reward reward;
        mete_rubric rubric;
        mete_policy policy;
        mete_environment environment;
    } as;
    const char *file; /* the shared object, absolute */
    bool outside;     /* it did not come with this mete */
} mete__plugin;

/* Where to look, in order: METE_PLUGIN_PATH (colon separated), ~/.local/lib/mete/plugins, the
 * installation's. */
const char *const *mete__plugin_path(size_t *count);
/* The plugin `name` of `kind`; loaded at most once. NULL with one sentence in err: not found (with
 * the nearest name), or which check refused it. Thread-safe. */
const mete__plugin *mete__plugin_get(mete_kind kind, const char *name, mete_error *err);
/* The plugin in this very file, which from now on goes before those of its name on the path;
 * checked as they are (selftest). */
const mete__plugin *mete__plugin_open(const char *file, mete_error *err);
/* Names of all plugins of a kind on the path, sorted, space separated. Caller frees. */
char *mete__plugin_names(mete_kind kind);
const char *mete__kind_word(mete_kind kind); /* "reward" ... */

#endif
