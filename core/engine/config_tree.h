/* config_tree.h - the tree's inside, shared by the config files of this folder. */
#ifndef METE_ENGINE_CONFIG_TREE_H
#define METE_ENGINE_CONFIG_TREE_H

#include "base/arena.h"
#include "engine/config.h"

struct mete__config {
    char *path;
    mete__value *root;
    mete__arena *memory; /* values and strings die together */
};

mete__config *mete__config_new(const char *path);
const char *mete__config_keep(mete__config *config, const char *string);
/* A value appended to parent (which may be NULL); NULL when memory ran out. */
mete__value *mete__value_new(mete__config *config, mete__value *parent, const char *name);
mete__value *mete__value_copy(mete__config *config, const mete__value *value, mete__value *parent);
/* Members of `over` replace or join those of `base`; groups merge. */
void mete__value_merge(mete__config *config, mete__value *base, const mete__value *over);
/* Sets value->path of all below `value`, whose own path is given. */
void mete__value_paths(mete__config *config, mete__value *value, const char *path);
/* Replaces or creates what `path` names by `value`. */
void mete__value_put(mete__config *config, const char *path, mete__value *value,
                     mete__errors *errors);
/* The folder of a file; a path seen from a file. Caller frees. */
char *mete__path_folder(const char *file);
char *mete__path_beside(const char *file, const char *path);
/* conf/FOLDER/NAME.cfg where presets are looked for; names there, space separated. Caller frees. */
char *mete__conf_find(const mete__config *config, const char *folder, const char *name);
char *mete__conf_names(const mete__config *config, const char *folder);

#endif
