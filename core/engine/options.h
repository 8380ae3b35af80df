/* options.h - binds a config group to a plugin's option table, and prints the manual from it. */
#ifndef METE_ENGINE_OPTIONS_H
#define METE_ENGINE_OPTIONS_H

#include "engine/config.h"
#include "nn/schedule.h"
#include <mete/plugin.h>

/* What the binder cannot make itself: other instances, models, tables. Each returns METE_OK or adds
 * errors; `user` is the caller's. */
typedef struct mete__binder {
    void *user;
    /* an instance for a nested group { use = ...; }; `option` names the member it is for */
    mete_node *(*node)(void *user, mete_kind kind, mete__value *group, const char *option);
    /* a model by name */
    mete_node *(*model)(void *user, const char *name, mete__value *at);
    /* a field the plugin will read */
    void (*field)(void *user, const mete_field *field);
    /* memory that lives as long as the instance */
    void *(*alloc)(void *user, size_t bytes);
    /* a live number given as a schedule { from; to; over; shape; }: the host writes its value to
     * `target` at the start of every iteration */
    void (*schedule)(void *user, double *target, const mete__schedule *schedule);
} mete__binder;

/* Binds `group` to `state` (already zeroed). Reads METE_RESERVED_NAMES never; the caller did. Adds
 * every error it finds: unknown key (with the nearest name), wrong type, out of range, missing.
 * METE_OK, or METE_EINVAL when it added any. */
int mete__options_bind(const mete_plugin *plugin, mete__value *group, void *state,
                       const mete__binder *binder, mete__errors *errors);
/* Checks the table itself, as the loader does: names, help, defaults in range, members inside the
 * state, an END within 256 rows, no reserved name. */
int mete__options_lint(const mete_plugin *plugin, mete_error *err);
/* The manual of a plugin: summary, doc, reference, options with type, default, range and unit. */
void mete__options_manual(const mete_plugin *plugin, const char *file, FILE *to);
/* The same as one JSON object. */
void mete__options_json(const mete_plugin *plugin, const char *file, FILE *to);
/* A data file in memory for METE_OPTION_DATA: group { file; map; limit; on_bad; shuffle } or a
 * string. Cached by its resolved settings within the process? No: owned by `alloc`'s owner. */
const mete_table *mete__table_read(mete__value *value, const mete__binder *binder,
                                   mete__errors *errors);

#endif
